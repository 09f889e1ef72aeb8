/* What of an exchange is whose: taken under a shard's lock, so that nothing here waits or allocates. */
#include <stdio.h>

#include "broker_private.h"
#include "refusal.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"

/* Of all that may be there at a time, no more for one than is left for others: one alone gets half,
 * and each that comes finds room. */
static bool has_fair_room(uint64_t own, const atomic_uint_least64_t *all, uint64_t max)
{
    uint64_t used = atomic_load_explicit(all, memory_order_relaxed);
    return own == 0 || (used < max && own < max - used);
}

/* One of the account's counts, within the limit that is given, or else within what is fair. */
static bool take(const struct th_account_share *share, atomic_uint_least64_t *own,
                 const atomic_uint_least64_t *all, uint64_t max)
{
    if (share->limits->waiting != 0 || !share->is_fair)
        return th_account_take(own, share->limits->waiting);
    uint64_t before = atomic_fetch_add_explicit(own, 1, memory_order_relaxed);
    if (has_fair_room(before, all, max))
        return true;
    th_account_give(own);
    return false;
}

bool th_shares_take_waiting(struct th_broker *broker, const struct th_account_share *shares,
                            struct th_account *ret_accounts[TH_ACCOUNT_KINDS],
                            struct th_share_refused *ret_refused)
{
    for (size_t i = 0; i < TH_ACCOUNT_KINDS; i++) {
        struct th_account *account = shares[i].account;
        ret_accounts[i] = NULL;
        if (account == NULL)
            continue;
        if (!take(&shares[i], &account->n_waiting, &broker->n_waiting, broker->max_waiting)) {
            *ret_refused = (struct th_share_refused){account, TH_BOUND_WAITING, -1};
            th_shares_give_waiting(ret_accounts);
            return false;
        }
        ret_accounts[i] = account;
    }
    return true;
}

bool th_shares_take_exchange(struct th_broker *broker, const struct th_account_share *shares,
                             int64_t now_ms, struct th_account *ret_accounts[TH_ACCOUNT_KINDS],
                             struct th_share_refused *ret_refused)
{
    for (size_t i = 0; i < TH_ACCOUNT_KINDS; i++) {
        struct th_account *account = shares[i].account;
        struct th_share_refused refused = {account, TH_BOUND_WAITING, -1};
        ret_accounts[i] = NULL;
        if (account == NULL)
            continue;
        /* Also those that nobody waits for any more: who leaves and comes again gains nothing. */
        bool fits = take(&shares[i], &account->n_flights, &broker->n_flights, broker->max_waiting);
        if (fits) {
            ret_accounts[i] = account;
            refused.bound = TH_BOUND_EXCHANGES;
            fits = th_rate_take(&account->exchanges, shares[i].limits->exchanges_per_second, now_ms,
                                &refused.retry_after_ms);
        }
        if (!fits) {
            *ret_refused = refused;
            if (ret_accounts[i] != NULL)
                th_account_give(&th_take(&ret_accounts[i])->n_flights);
            th_shares_undo_exchange(shares, ret_accounts);
            return false;
        }
    }
    return true;
}

void th_shares_give_waiting(struct th_account *accounts[TH_ACCOUNT_KINDS])
{
    for (size_t i = 0; i < TH_ACCOUNT_KINDS; i++) {
        if (accounts[i] != NULL)
            th_account_give(&accounts[i]->n_waiting);
        accounts[i] = NULL;
    }
}

void th_shares_give_exchange(struct th_account *accounts[TH_ACCOUNT_KINDS])
{
    for (size_t i = 0; i < TH_ACCOUNT_KINDS; i++) {
        if (accounts[i] != NULL)
            th_account_give(&accounts[i]->n_flights);
        accounts[i] = NULL;
    }
}

void th_shares_undo_exchange(const struct th_account_share *shares,
                             struct th_account *accounts[TH_ACCOUNT_KINDS])
{
    for (size_t i = 0; i < TH_ACCOUNT_KINDS; i++)
        if (accounts[i] != NULL)
            th_rate_give(&accounts[i]->exchanges, shares[i].limits->exchanges_per_second);
    th_shares_give_exchange(accounts);
}

struct th_refusal *th_broker_limited(const struct th_account *account, enum th_account_bound bound,
                                     int64_t retry_after_ms)
{
    struct th_refusal *refusal = th_refusal_new(TH_E_CALLER_LIMIT, retry_after_ms);

    if (refusal != NULL)
        snprintf(refusal->detail, sizeof refusal->detail, "limits.%s.%s is reached",
                 account->kind == TH_ACCOUNT_AGENT ? "per_agent" : "per_caller",
                 th_account_bound_name(bound));
    return refusal;
}

struct th_accounts *th_broker_accounts(struct th_broker *broker)
{
    return broker->accounts;
}
