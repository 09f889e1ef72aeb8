/* Who a workload says it is, by a token that the platform it runs on has given it: a Kubernetes service account
 * token (a JWT of the cluster's issuer; bound, so that it ends). Verified by the issuer's key set, which is
 * fetched when it is first needed and kept (documents.h): nobody waits but the request that needs it. */
#ifndef TOKENHOP_OAUTH_WORKLOAD_H
#define TOKENHOP_OAUTH_WORKLOAD_H

#include "tokenhop/config/model.h"
#include "tokenhop/oauth/jose.h"
#include "tokenhop/oauth/jwks.h"

/* Whether the claims are those of this workload, whoever has written them: issuer, audience, namespace and
 * service account, the latter two in every place that has them. Times are not looked at. */
bool th_workload_is_claimed(const struct th_config_workload *workload, const json_t *claims);
/* Whether they hold at this time: 0, or TH_E_CALLER with *ret_why (constant text). */
int th_workload_check_times(const json_t *claims, int64_t wall_ms, const char **ret_why) TH_MUST;

/* Embedded in who waits for keys; zeroed, but for `document.fn`, which is told to ask again. */
struct th_workload_waiter {
    struct th_document_waiter document;
    const struct th_jwks *lacking; /* keys among which the token's was not */
    int64_t since_wall_ms;         /* when the token came here; 0: now */
};

/* The signature, by a key of the issuer: 0; TH_AGAIN: the waiter waits; TH_E_CALLER with *ret_why (constant text);
 * TH_E_EXCHANGE_DOWN with *ret_failure when there are no keys to tell by, which is not the caller's fault
 * (R28); TH_E_NOMEM. On the desk's worker. */
int th_workload_verify(struct th_document_desk *desk,
                       const struct th_config_authorization_server *issuer,
                       const struct th_jwt *jwt, int64_t wall_ms, struct th_workload_waiter *waiter,
                       const char **ret_why, struct th_document_failure *ret_failure) TH_MUST;
/* Waits no more, and may be used anew. Zeroed is fine. */
void th_workload_leave(struct th_workload_waiter *waiter);

#endif
