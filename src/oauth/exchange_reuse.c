/* A first leg is saved where what it yielded before is still valid ("reuse_id_jag"). */
#include "exchange_run.h"
#include "issued.h"

/* The first leg of two: what it yields is for the second. With a subject token that is a new one each time
 * there is nothing to find again. */
static bool is_reusable(const struct th_exchange *ex)
{
    return ex->connection->reuse_id_jag && ex->exchanger->grants != NULL && !ex->is_revoking &&
           ex->leg == ex->legs.n_before && ex->leg + 2 == ex->legs.n && !ex->result.gets_subject;
}

static int make_key(const struct th_exchange *ex, uint8_t ret_key[TH_GRANT_KEY_LEN])
{
    return th_grant_key(ex->agent, ex->connection, th_secret_expose(ex->subject_token), ret_key);
}

void th_exchange_reuse_grant(struct th_exchange *ex)
{
    uint8_t key[TH_GRANT_KEY_LEN];
    if (!is_reusable(ex) || ex->result.n_legs > ex->n_revocations || make_key(ex, key) != 0)
        return;
    ex->previous =
        th_grants_find(ex->exchanger->grants, key, th_clock_monotonic_ms(ex->worker->clock));
    if (ex->previous == NULL)
        return;
    ex->n_saved = 1;
    ex->leg++;
}

void th_exchange_keep_grant(struct th_exchange *ex, const json_t *claims)
{
    uint8_t key[TH_GRANT_KEY_LEN];
    if (!is_reusable(ex) || make_key(ex, key) != 0)
        return;
    int64_t lifetime_ms = th_issued_lifetime_ms(ex->answer.expires_in_ms, claims,
                                                th_clock_wall_ms(ex->worker->clock));
    if (lifetime_ms > TH_GRANT_MARGIN_MS)
        th_grants_keep(ex->exchanger->grants, key, ex->grants_epoch, ex->answer.token,
                       th_clock_monotonic_ms(ex->worker->clock) + lifetime_ms - TH_GRANT_MARGIN_MS);
}

void th_exchange_drop_grant(struct th_exchange *ex)
{
    uint8_t key[TH_GRANT_KEY_LEN];
    bool was_saved = ex->n_saved > 0;
    ex->n_saved = 0;
    if (was_saved) /* the place of the second leg's report is the first's from now on */
        ex->result.legs[th_exchange_report_at(ex)].duration_us = 0;
    if (is_reusable(ex) && make_key(ex, key) == 0)
        th_grants_drop(ex->exchanger->grants, key);
}
