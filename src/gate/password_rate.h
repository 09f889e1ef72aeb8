/* How often somebody has been wrong of late. A table of a fixed size: where it is full, those go first that
 * have had the longest time to recover. Under its owner's lock. Private to the room. */
#ifndef TOKENHOP_GATE_PASSWORD_RATE_H
#define TOKENHOP_GATE_PASSWORD_RATE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "tokenhop/base/hash.h"
#include "tokenhop/base/str.h"

#define TH_PASSWORD_RATE_SETS 1024
#define TH_PASSWORD_RATE_WAYS 4

struct th_password_rates {
    struct th_hash_key key;
    struct th_password_rate {
        uint64_t id;
        int64_t whole_at_ms; /* by then all is forgotten */
        bool is_told;
    } rates[TH_PASSWORD_RATE_SETS][TH_PASSWORD_RATE_WAYS];
};

/* As many mistakes at once, and then one in each period. */
struct th_password_bound {
    int64_t burst;
    int64_t period_ms;
};

void th_password_rates_init(struct th_password_rates *rates);
/* Of a peer, and of what it says of one user; an IPv6 peer counts by its first 64 bits, as the rest is its own choice.
 * `user` TH_STR_NONE: of the peer. */
uint64_t th_password_rate_id(const struct th_password_rates *rates, const struct in6_addr *peer,
                             struct th_str user);
/* How long until one more may be; 0: now. *ret_is_news: nobody has been told of this one. */
int64_t th_password_rate_wait(struct th_password_rates *rates, uint64_t id,
                              const struct th_password_bound *bound, int64_t now_ms,
                              bool *ret_is_news);
void th_password_rate_charge(struct th_password_rates *rates, uint64_t id,
                             const struct th_password_bound *bound, int64_t now_ms);

#endif
