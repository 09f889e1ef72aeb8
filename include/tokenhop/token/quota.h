/* Quotas: how many exchanges each authorization server has granted in this month (UTC), and to how many
 * users how many, as some servers allow a user only so many (reference, 4.1: 250 a month). Counted here
 * since the start of the process, so that a restart begins anew: it is a warning, not an account, and
 * nobody is refused by it.
 *
 * Users are told apart by issuer and subject of a token that the server has accepted, kept as a keyed
 * hash, TH_QUOTA_USERS of them, and only of servers whose quota is configured; beyond, the one longest
 * without an exchange is forgotten, and counts from 0 when it comes again. There is no metric by user, as
 * these are without bound: the sum, the most of one user, and how many have reached the warning are.
 *
 * Any thread. One lock, a leaf, taken once an exchange. */
#ifndef TOKENHOP_TOKEN_QUOTA_H
#define TOKENHOP_TOKEN_QUOTA_H

#include "tokenhop/base/clock.h"
#include "tokenhop/config/model.h"

#define TH_QUOTA_USERS 65536
/* Servers that are counted; those of configurations before among them until the month ends. */
#define TH_QUOTA_SERVERS 64

struct th_quotas;

/* `max_users` 0: TH_QUOTA_USERS. */
int th_quotas_new(const struct th_clock *clock, size_t max_users,
                  struct th_quotas **ret_quotas) TH_MUST;
struct th_quotas *th_quotas_free(struct th_quotas *quotas); /* NULL is fine */

/* One exchange was granted. `issuer` and `subject` empty: nobody knows to whom. Returns the user's count when
 * it has just reached the server's warning, which is once a month; else 0. */
uint64_t th_quotas_count(struct th_quotas *quotas,
                         const struct th_config_authorization_server *server, struct th_str issuer,
                         struct th_str subject) TH_MUST;

struct th_quota_shown {
    struct th_str server; /* its name */
    uint64_t limit; /* exchanges a user and month, as configured when it was last asked; 0: none */
    uint64_t exchanges;
    uint64_t most;   /* of one user */
    uint64_t warned; /* users that have reached the warning */
};
typedef void th_quota_fn(void *arg, const struct th_quota_shown *shown);
/* Of this month. No lock is held while `fn` runs. */
void th_quotas_show(struct th_quotas *quotas, th_quota_fn *fn, void *arg);

#endif
