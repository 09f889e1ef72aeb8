#include "password_rate.h"

#include <string.h>

#include "tokenhop/base/random.h"
#include "tokenhop/gate/caller.h"

void th_password_rates_init(struct th_password_rates *rates)
{
    memset(rates, 0, sizeof *rates);
    th_random_bytes(&rates->key, sizeof rates->key);
}

uint64_t th_password_rate_id(const struct th_password_rates *rates, const struct in6_addr *peer,
                             struct th_str user)
{
    unsigned char text[sizeof *peer + 1 + TH_CALLER_TEXT_MAX];
    size_t len = user.len < TH_CALLER_TEXT_MAX ? user.len : TH_CALLER_TEXT_MAX;
    bool is_whole = IN6_IS_ADDR_V4MAPPED(peer) || peer->s6_addr[0] == 0xff;

    memset(text, 0, sizeof *peer + 1);
    memcpy(text, peer, is_whole ? sizeof *peer : 8);
    text[sizeof *peer] = user.ptr != NULL;
    if (len > 0)
        memcpy(text + sizeof *peer + 1, user.ptr, len);
    return th_hash_bytes(&rates->key, text, sizeof *peer + 1 + len) | 1; /* 0 is of free places */
}

static struct th_password_rate *find(struct th_password_rates *rates, uint64_t id)
{
    struct th_password_rate *set = rates->rates[(id >> 1) % TH_PASSWORD_RATE_SETS];

    for (size_t i = 0; i < TH_PASSWORD_RATE_WAYS; i++)
        if (set[i].id == id)
            return &set[i];
    return NULL;
}

int64_t th_password_rate_wait(struct th_password_rates *rates, uint64_t id,
                              const struct th_password_bound *bound, int64_t now_ms,
                              bool *ret_is_news)
{
    struct th_password_rate *rate = find(rates, id);

    if (rate == NULL)
        return 0;
    int64_t wait_ms = rate->whole_at_ms - (bound->burst - 1) * bound->period_ms - now_ms;
    if (wait_ms <= 0)
        return 0;
    *ret_is_news = !rate->is_told;
    rate->is_told = true;
    return wait_ms;
}

void th_password_rate_charge(struct th_password_rates *rates, uint64_t id,
                             const struct th_password_bound *bound, int64_t now_ms)
{
    struct th_password_rate *rate = find(rates, id);

    if (rate == NULL) {
        struct th_password_rate *set = rates->rates[(id >> 1) % TH_PASSWORD_RATE_SETS];
        rate = &set[0];
        for (size_t i = 1; i < TH_PASSWORD_RATE_WAYS; i++)
            if (set[i].whole_at_ms < rate->whole_at_ms)
                rate = &set[i];
        *rate = (struct th_password_rate){.id = id};
    }
    if (rate->whole_at_ms < now_ms) {
        rate->whole_at_ms = now_ms;
        rate->is_told = false;
    }
    rate->whole_at_ms += bound->period_ms;
}
