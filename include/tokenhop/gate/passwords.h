/* Passwords, and tokens, that are held against hashes which take long on purpose (caller_password.h). The work is the
 * helpers', never a worker's. Shared by all workers.
 *
 *   - What has proved right is remembered, by a keyed digest of it, and costs no more work; likewise, for a shorter
 *     while, what has proved wrong. Neither holds beyond a change of the hashes.
 *   - The same question is worked on once, whoever asks it meanwhile.
 *   - Little work is under way at a time, so that the helpers and processors are there for others; the rest waits its
 *     turn, peer by peer, and never more than a fixed number.
 *   - A peer that has been wrong too often, or too often about one user, is told to come back later, without work. What
 *     is remembered is answered all the same: who is known is kept out by nobody else's mistakes.
 *
 * Counts and rates are in passwords.c. One lock, in whose hold only that of the helpers is taken. */
#ifndef TOKENHOP_GATE_PASSWORDS_H
#define TOKENHOP_GATE_PASSWORDS_H

#include <netinet/in.h>

#include "tokenhop/config/model.h"
#include "tokenhop/net/worker.h"

struct th_passwords;
/* `max_running`: how many hashes are worked on at a time. */
int th_passwords_new(unsigned max_running, struct th_passwords **ret_passwords) TH_MUST;
/* After all workers and helpers. NULL is fine. */
struct th_passwords *th_passwords_free(struct th_passwords *passwords);
/* Any thread, after a reload: what the configuration's hashes do not prove any more is forgotten. */
void th_passwords_keep(struct th_passwords *passwords, const struct th_config_view *config);

/* All borrowed, but for `config`, on which a reference is held until the work is done. */
struct th_password_question {
    struct th_config *config; /* of the hashes */
    const struct th_config_passwords *hashes;
    bool is_stand_in;
    struct th_str user, password;
    struct in6_addr peer; /* whose question it is: th_admit_address() of proxy */
};

struct th_password_answer {
    /* 0: it is that of a line; TH_E_CALLER: it is not; TH_E_CALLER_LIMIT: the peer has been wrong too often;
     * TH_E_OVERLOADED, TH_E_NOMEM, TH_E_DRAINING: it is not known. */
    int error;
    bool is_news;       /* of that limit: nobody was told since it was reached */
    int64_t wait_ms;    /* of that limit: when to come again */
    uint8_t digest[32]; /* of the line (model.h) */
};
typedef void th_password_fn(void *arg, const struct th_password_answer *answer);
struct th_password_waiter;

/* On the worker's thread. True: here is the answer. False: `fn` is called in a later turn, unless *ret_waiter is let go
 * of before; which it must not be afterwards. */
bool th_passwords_ask(struct th_passwords *passwords, struct th_worker *worker,
                      const struct th_password_question *question, th_password_fn *fn, void *arg,
                      struct th_password_answer *ret_answer,
                      struct th_password_waiter **ret_waiter) TH_MUST;
/* Work that nobody waits for any more, and that has not begun, is not done. NULL is fine. */
void th_passwords_leave(struct th_password_waiter *waiter);

/* For tests and the status. */
struct th_passwords_figures {
    size_t running, waiting; /* hashes */
    size_t right, wrong;     /* that are remembered */
};
void th_passwords_count(struct th_passwords *passwords, struct th_passwords_figures *ret_figures);

#endif
