#include "tokenhop/oauth/workload.h"

#include <stdio.h>
#include <string.h>

#include "tokenhop/oauth/metadata.h"

#define SKEW_MS 60000 /* between the issuer's clock and ours */

static const char unpublished[] = "it is signed by a key that its issuer does not publish";

/* --- the claims --- */

/* "system:serviceaccount:NAMESPACE:NAME"; neither has a colon in it. */
static bool is_subject(struct th_str sub, const struct th_config_workload *workload)
{
    const struct th_str prefix = TH_STR("system:serviceaccount:");
    size_t at = prefix.len + workload->namespace_name.len;

    return sub.len == at + 1 + workload->service_account.len && th_str_starts_with(sub, prefix) &&
           memcmp(sub.ptr + prefix.len, workload->namespace_name.ptr,
                  workload->namespace_name.len) == 0 &&
           sub.ptr[at] == ':' &&
           memcmp(sub.ptr + at + 1, workload->service_account.ptr, workload->service_account.len) ==
               0;
}

/* {"namespace": ..., "serviceaccount": {"name": ...}, "pod": ...} */
static bool is_bound_to(const json_t *bound, const struct th_config_workload *workload)
{
    const json_t *account = json_object_get(bound, "serviceaccount");

    return th_str_equal(th_jwt_text(bound, "namespace"), workload->namespace_name) &&
           th_str_equal(th_jwt_text(account, "name"), workload->service_account);
}

bool th_workload_is_claimed(const struct th_config_workload *workload, const json_t *claims)
{
    const json_t *bound = json_object_get(claims, "kubernetes.io");

    return th_str_equal(th_jwt_text(claims, "iss"), workload->issuer->issuer) &&
           th_jwt_has_audience(claims, workload->audience) &&
           is_subject(th_jwt_text(claims, "sub"), workload) &&
           (bound == NULL || is_bound_to(bound, workload));
}

/* Absent is fine; there, it must be a number, and not ahead of us. */
static bool is_past(const json_t *claims, const char *name, int64_t wall_ms)
{
    int64_t at_ms = th_jwt_time_ms(claims, name);
    return json_object_get(claims, name) == NULL || (at_ms >= 0 && at_ms <= wall_ms + SKEW_MS);
}

int th_workload_check_times(const json_t *claims, int64_t wall_ms, const char **ret_why)
{
    int64_t expires_ms = th_jwt_time_ms(claims, "exp");

    *ret_why = "it does not say when it expires: let it be projected (serviceAccountToken)";
    if (expires_ms < 0)
        return TH_E_CALLER;
    *ret_why = "it has expired";
    if (expires_ms <= wall_ms)
        return TH_E_CALLER;
    *ret_why = "it is not valid yet: are the clocks right?";
    return is_past(claims, "nbf", wall_ms) && is_past(claims, "iat", wall_ms) ? 0 : TH_E_CALLER;
}

/* --- the keys --- */

/* As th_jwks_get(); asks for the issuer's metadata first where that alone says where the keys are. */
static int get_keys(struct th_document_desk *desk,
                    const struct th_config_authorization_server *issuer,
                    struct th_workload_waiter *waiter, const struct th_jwks **ret_keys,
                    struct th_document_failure *ret_failure)
{
    const struct th_metadata *metadata = NULL;
    struct th_str uri = issuer->jwks_uri;
    int error;

    if (uri.len == 0) {
        error = th_metadata_get(desk, issuer, &waiter->document, &metadata, ret_failure);
        if (error != 0)
            return error;
        uri = metadata->jwks_uri;
    }
    if (uri.len > 0) {
        error = th_jwks_get(desk, uri, issuer->ca_file, issuer->allow_cleartext, waiter->lacking,
                            &waiter->document, ret_keys, ret_failure);
    } else {
        error = TH_E_EXCHANGE_FAILED;
        *ret_failure = (struct th_document_failure){.error = error, .retry_after_ms = -1};
        (void)snprintf(ret_failure->why, sizeof ret_failure->why, "its metadata names no jwks_uri");
    }
    th_metadata_unref(metadata);
    return error;
}

/* Whether the token's key would be in the set if there were one: it was asked for after the token came here, or after
 * it was issued, as far as it says. */
static bool would_be_there(const struct th_workload_waiter *waiter, const struct th_jwt *jwt)
{
    int64_t asked_ms = th_jwks_asked_wall_ms(waiter->lacking);
    int64_t issued_ms = th_jwt_time_ms(jwt->claims, "iat");

    return asked_ms >= waiter->since_wall_ms || (issued_ms >= 0 && asked_ms >= issued_ms);
}

/* No keys: nobody's fault but the issuer's. */
static int lack(const struct th_document_failure *failure)
{
    return failure->error == TH_E_NOMEM ? TH_E_NOMEM : TH_E_EXCHANGE_DOWN;
}

int th_workload_verify(struct th_document_desk *desk,
                       const struct th_config_authorization_server *issuer,
                       const struct th_jwt *jwt, int64_t wall_ms, struct th_workload_waiter *waiter,
                       const char **ret_why, struct th_document_failure *ret_failure)
{
    /* `none`, and HS256 with a public key for a secret, are not in the table of algorithms. */
    *ret_why = "it is not signed by an accepted algorithm";
    if (th_alg_find(th_jwt_text(jwt->header, "alg")) == TH_JWS_NONE)
        return TH_E_CALLER;
    if (waiter->since_wall_ms == 0)
        waiter->since_wall_ms = wall_ms;
    for (;;) {
        const struct th_jwks *keys;
        int error = get_keys(desk, issuer, waiter, &keys, ret_failure);
        if (error == TH_AGAIN)
            return TH_AGAIN;
        *ret_why = unpublished;
        if (error != 0 && waiter->lacking != NULL && would_be_there(waiter, jwt))
            return TH_E_CALLER; /* no newer set is needed to know it */
        if (error != 0)
            return lack(ret_failure);
        error = th_jwks_verify(keys, jwt);
        if (error == TH_JWKS_UNKNOWN && waiter->lacking == NULL) {
            waiter->lacking = keys; /* kept */
            continue;
        }
        th_jwks_unref(keys);
        if (error == 0 || error == TH_E_NOMEM)
            return error;
        *ret_why = error == TH_JWKS_UNKNOWN ? unpublished : "its signature is not right";
        return TH_E_CALLER;
    }
}

void th_workload_leave(struct th_workload_waiter *waiter)
{
    th_document_leave(&waiter->document);
    th_jwks_unref(waiter->lacking);
    waiter->lacking = NULL;
    waiter->since_wall_ms = 0;
}
