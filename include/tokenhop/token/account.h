/* Accounts: what one caller, or all that act as one agent, have in use and may (limits.per_caller,
 * limits.per_agent). A caller that proves who it is has one by its name; one that only reaches a
 * listener has one by its address (an IPv6 address by its first 64 bits) and the agent that it acts
 * as. Those by name live as long as the process, so that a reload forgets nothing. Those by address
 * are in a table of a fixed size: an account gives up its place only when nothing is in use and its
 * rates have recovered, so that it is worth no more than a new one; where all are in use, the
 * newcomers share one.
 *
 * Counts are atomics, so that no worker waits for another. Finding an account by address takes a
 * lock, once a client connection at most. The limits are not the account's: they are of the
 * configuration that the request goes by. Any thread. */
#ifndef TOKENHOP_TOKEN_ACCOUNT_H
#define TOKENHOP_TOKEN_ACCOUNT_H

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "tokenhop/base/error.h"
#include "tokenhop/base/str.h"
#include "tokenhop/config/model.h"

enum th_account_kind { TH_ACCOUNT_CALLER, TH_ACCOUNT_AGENT };
enum { TH_ACCOUNT_KINDS = 2 };

/* What can be refused, each by its limit. */
enum th_account_bound {
    TH_BOUND_CONNECTIONS,
    TH_BOUND_REQUESTS,
    TH_BOUND_EXCHANGES,
    TH_BOUND_WAITING,
    TH_BOUND_COUNT
};
const char *th_account_bound_name(enum th_account_bound bound); /* the key of its limit */

/* A rate: as many a second, and as many at once. The time at which it will have recovered whole. */
struct th_rate {
    atomic_int_least64_t whole_at_ns;
};
/* Whether one more may be; else *ret_wait_ms is when. `per_second` 0: any number. */
bool th_rate_take(struct th_rate *rate, uint64_t per_second, int64_t now_ms, int64_t *ret_wait_ms);
/* Takes back one that was taken at the same `per_second`, for what another limit has refused. */
void th_rate_give(struct th_rate *rate, uint64_t per_second);

struct th_account {
    enum th_account_kind kind;
    struct th_rate requests, exchanges;
    atomic_uint_least64_t n_connections;
    atomic_uint_least64_t n_waiting; /* requests that wait for an exchange */
    atomic_uint_least64_t n_flights; /* exchanges that were started for it */
    atomic_uint_least64_t n_requests;
    atomic_uint_least64_t n_refused[TH_BOUND_COUNT];
    atomic_uint_least64_t n_pins; /* of those by address: they keep their place */
};

/* One of the counts; `max` 0: any number. */
bool th_account_take(atomic_uint_least64_t *count, uint64_t max);
void th_account_give(atomic_uint_least64_t *count);
void th_account_note_refusal(struct th_account *account, enum th_account_bound bound);

/* Whose a request's exchange is. */
struct th_account_share {
    struct th_account *account; /* NULL: nobody's */
    const struct th_config_share *limits;
    /* Without a limit of waiting ones: no more than there is room left for others. */
    bool is_fair;
};

struct th_accounts;

int th_accounts_new(struct th_accounts **ret_accounts) TH_MUST;
struct th_accounts *th_accounts_free(struct th_accounts *accounts); /* NULL is fine */

/* The same name has the same one. Never NULL: beyond some thousands they share one. */
struct th_account *th_accounts_find(struct th_accounts *accounts, enum th_account_kind kind,
                                    struct th_str name);
/* That of a caller at `address`, which acts as `agent`: pinned, until it is let go of. Never NULL. */
struct th_account *th_accounts_pin(struct th_accounts *accounts, const struct in6_addr *address,
                                   struct th_str agent, int64_t now_ms);
void th_accounts_let_go(struct th_account *account); /* NULL is fine */

/* What an account has in use, and what it was refused. */
struct th_account_figures {
    uint64_t connections, waiting, exchanges, requests;
    uint64_t refused[TH_BOUND_COUNT];
};
/* Each that has a name, and the ones by address together under the name "(addresses)". */
typedef void th_accounts_show_fn(void *arg, enum th_account_kind kind, struct th_str name,
                                 const struct th_account_figures *figures);
void th_accounts_show(struct th_accounts *accounts, th_accounts_show_fn *fn, void *arg);

#endif
