#include "refusal.h"

#include <stdio.h>
#include <string.h>

#include "tokenhop/base/mem.h"

/* Reference, sections 8 and 13. A refusal of the subject is its own affair; one that the user can
 * mend at any moment reaches those who wait for it, and nobody after them. What went
 * wrong with our form is not remembered: a changed configuration shall show at once. */
static const struct th_failure failures[] = {
    /* error                 withdraws remembered ours  retry-after first max  level */
    {TH_E_SUBJECT_MALFORMED, true, true, false, false, 1000, 30000, TH_LEVEL_DEBUG},
    {TH_E_SUBJECT_EXPIRED, true, true, false, false, 1000, 30000, TH_LEVEL_DEBUG},
    {TH_E_SUBJECT_AUDIENCE, true, true, false, false, 1000, 30000, TH_LEVEL_DEBUG},
    {TH_E_SUBJECT_UNTRUSTED, true, true, false, false, 1000, 30000, TH_LEVEL_INFO},
    {TH_E_SUBJECT_REFUSED, true, true, false, false, 1000, 30000, TH_LEVEL_INFO},
    {TH_E_ACCESS_DENIED, true, true, false, false, 1000, 30000, TH_LEVEL_INFO},
    {TH_E_SUBJECT_CLAIMS, true, true, false, false, 1000, 30000, TH_LEVEL_INFO},
    {TH_E_INTERACTION, true, false, false, false, 1000, 1000, TH_LEVEL_INFO},
    {TH_E_EXCHANGE_DOWN, false, true, false, true, 1000, 30000, TH_LEVEL_WARN},
    {TH_E_EXCHANGE_TIMEOUT, false, true, false, true, 1000, 30000, TH_LEVEL_WARN},
    {TH_E_EXCHANGE_FAILED, false, true, true, true, 1000, 30000, TH_LEVEL_WARN},
    {TH_E_EXCHANGE_MISMATCH, false, true, true, false, 1000, 30000, TH_LEVEL_ERROR},
    {TH_E_EXCHANGE_CLIENT, false, true, true, false, 1000, 30000, TH_LEVEL_ERROR},
    {TH_E_EXCHANGE_REQUEST, false, false, true, false, 1000, 30000, TH_LEVEL_ERROR},
};

/* NOMEM, OVERLOADED, DRAINING, CANCELLED, EXCHANGE_QUEUE ...: this process's trouble of the
 * moment. The pause is that of a renewal ahead of time, which always has one. */
static const struct th_failure other = {0, false, false, false, false, 1000, 30000, TH_LEVEL_WARN};

const struct th_failure *th_failure_get(int error)
{
    for (size_t i = 0; i < TH_COUNT_OF(failures); i++) {
        if (failures[i].error == error)
            return &failures[i];
    }
    return &other;
}

int64_t th_failure_pause(const struct th_failure *failure, int64_t previous_ms,
                         int64_t retry_after_ms)
{
    int64_t pause_ms = failure->first_ms;
    if (previous_ms > 0)
        pause_ms = previous_ms < failure->max_ms / 2 ? previous_ms * 2 : failure->max_ms;
    if (pause_ms < failure->first_ms)
        pause_ms = failure->first_ms;
    if (!failure->heeds_retry_after || retry_after_ms <= pause_ms)
        return pause_ms;
    return retry_after_ms < TH_RETRY_AFTER_MAX_MS ? retry_after_ms : TH_RETRY_AFTER_MAX_MS;
}

struct th_refusal *th_refusal_new(int error, int64_t retry_after_ms)
{
    struct th_refusal *refusal = th_calloc(1, sizeof *refusal);
    if (refusal == NULL)
        return NULL;
    th_ref_init(&refusal->ref);
    refusal->error = error;
    refusal->retry_after_ms = retry_after_ms;
    return refusal;
}

struct th_refusal *th_refusal_of_result(const struct th_exchange_result *result)
{
    struct th_refusal *refusal = th_refusal_new(result->error, result->retry_after_ms);
    if (refusal == NULL)
        return NULL;
    if (result->delegation != NULL)
        refusal->delegation = th_delegation_ref(result->delegation);
    (void)snprintf(refusal->oauth_error, sizeof refusal->oauth_error, "%s", result->oauth_error);
    (void)snprintf(refusal->detail, sizeof refusal->detail, "%s", result->detail);
    (void)snprintf(refusal->interaction_uri, sizeof refusal->interaction_uri, "%s",
                   result->interaction_uri);
    (void)snprintf(refusal->challenge, sizeof refusal->challenge, "%s", result->challenge);
    return refusal;
}

struct th_refusal *th_refusal_of_errinfo(int error, const struct th_errinfo *info)
{
    struct th_refusal *refusal = th_refusal_new(error, -1);
    if (refusal == NULL)
        return NULL;
    /* What does not fit is cut: `what` alone may be longer than a detail. */
    const char *joint = info->what[0] != '\0' && info->mend[0] != '\0' ? "; " : "";
    int len =
        snprintf(refusal->detail, sizeof refusal->detail, "%.*s%s%.*s", TH_EXCHANGE_DETAIL_MAX / 2,
                 info->what, joint, TH_EXCHANGE_DETAIL_MAX / 2 - 4, info->mend);
    (void)len;
    return refusal;
}

struct th_refusal *th_refusal_ref(struct th_refusal *refusal)
{
    th_ref_take(&refusal->ref);
    return refusal;
}

struct th_refusal *th_refusal_unref(struct th_refusal *refusal)
{
    if (refusal != NULL && th_ref_release(&refusal->ref)) {
        th_delegation_unref(refusal->delegation);
        th_free(refusal);
    }
    return NULL;
}
