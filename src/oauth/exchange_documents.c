/* The states of an exchange that need what authorization servers publish: the keys that its subject
 * token is verified by, and where its legs go. */
#include <stdio.h>

#include "exchange_certificate.h"
#include "exchange_run.h"
#include "printable.h"
#include "subject_private.h"

static void on_document(struct th_document_waiter *waiter)
{
    struct th_exchange *ex = TH_CONTAINER_OF(waiter, struct th_exchange, document);
    TH_REQUIRE(ex->magic == TH_EXCHANGE_MAGIC);
    th_exchange_run(ex,
                    ex->state == TH_EXCHANGE_VERIFYING ? TH_EXCHANGE_VERIFY : TH_EXCHANGE_DISCOVER);
}

static struct th_document_waiter *waiter_of(struct th_exchange *ex)
{
    ex->document.fn = on_document;
    return &ex->document;
}

/* A document is not to be had: nobody's fault but the server's, or the configuration's (R28). */
static enum th_exchange_state lack(struct th_exchange *ex, const char *what,
                                   const struct th_config_authorization_server *server,
                                   const struct th_document_failure *failure)
{
    char name[56];
    th_printable_copy(name, sizeof name, server->name);
    ex->result.error = failure->error;
    ex->result.retry_after_ms = failure->retry_after_ms;
    (void)snprintf(ex->result.detail, sizeof ex->result.detail,
                   "the %s of authorization server \"%s\" cannot be had: %s", what, name,
                   failure->why);
    return TH_EXCHANGE_END;
}

static enum th_exchange_state refuse(struct th_exchange *ex, int error, const char *why)
{
    ex->result.error = error;
    (void)snprintf(ex->result.detail, sizeof ex->result.detail,
                   error == TH_E_NOMEM ? "%s" : "the subject token is not accepted: %s", why);
    return TH_EXCHANGE_END;
}

/* -- where a leg goes ---------------------------------------------------------------------------- */

enum th_exchange_state th_exchange_enter_discover(struct th_exchange *ex)
{
    th_exchange_reuse_grant(ex);
    const struct th_config_authorization_server *server = th_exchange_server(ex);
    struct th_document_failure failure;
    bool revokes = ex->only_revokes; /* else it is the leg's endpoint that cannot be done without */
    struct th_str configured = revokes ? server->revocation_endpoint : server->token_endpoint;
    if (configured.len > 0 || ex->metadata[th_exchange_metadata_at(ex)] != NULL)
        return TH_EXCHANGE_PROVE;
    int error = th_metadata_get(ex->exchanger->documents, server, waiter_of(ex),
                                &ex->metadata[th_exchange_metadata_at(ex)], &failure);
    if (error == TH_AGAIN)
        return TH_EXCHANGE_DISCOVERING;
    if (error != 0)
        return lack(ex, "metadata", server, &failure);
    if (th_exchange_endpoint_at(ex, th_exchange_leg(ex), ex->metadata[th_exchange_metadata_at(ex)],
                                revokes)
            .len > 0)
        return TH_EXCHANGE_PROVE;
    failure = (struct th_document_failure){
        .error = TH_E_EXCHANGE_FAILED, .retry_after_ms = -1, .why = "its metadata names none"};
    return lack(ex, revokes ? "revocation endpoint" : "token endpoint", server, &failure);
}

/* -- whether the subject token is to be trusted -------------------------------------------------- */

/* The server that the token says it is of, among those that may issue for this agent here: issuers
 * are compared byte for byte (RFC 8414, 2; OpenID Connect Core, 3.1.3.7). */
static const struct th_config_authorization_server *find_issuer(const struct th_exchange *ex)
{
    const struct th_config_connection *connection = ex->connection;
    bool is_own = connection->n_subject_issuers > 0;
    size_t n = is_own ? connection->n_subject_issuers : ex->agent->n_subject_issuers;
    const struct th_config_authorization_server *const *issuers =
        is_own ? connection->subject_issuers : ex->agent->subject_issuers;
    struct th_str iss = th_jwt_text(ex->subject_claims, "iss");
    for (size_t i = 0; i < n; i++) {
        if (th_str_equal(issuers[i]->issuer, iss))
            return issuers[i];
    }
    return NULL;
}

/* As th_jwks_get(), of the issuer; asks for its metadata first where that alone says where the keys
 * are. */
static int get_keys(struct th_exchange *ex, const struct th_config_authorization_server *issuer,
                    const struct th_jwks **ret_keys, struct th_document_failure *ret_failure)
{
    struct th_document_desk *desk = ex->exchanger->documents;
    const struct th_metadata *metadata = NULL;
    struct th_str uri = issuer->jwks_uri;
    if (uri.len == 0) {
        int error = th_metadata_get(desk, issuer, waiter_of(ex), &metadata, ret_failure);
        if (error != 0)
            return error;
        uri = metadata->jwks_uri;
    }
    int error;
    if (uri.len > 0) {
        error = th_jwks_get(desk, uri, issuer->ca_file, issuer->allow_cleartext, ex->lacking,
                            waiter_of(ex), ret_keys, ret_failure);
    } else {
        *ret_failure = (struct th_document_failure){.error = TH_E_EXCHANGE_FAILED,
                                                    .retry_after_ms = -1,
                                                    .why = "its metadata names no jwks_uri"};
        error = ret_failure->error;
    }
    th_metadata_unref(metadata);
    return error;
}

/* Whether the key of a token would be in the set if it were one: the set was asked for after the
 * token came here, or after it was issued, as far as it says. */
static bool would_be_there(const struct th_exchange *ex, const struct th_jwks *keys)
{
    int64_t asked_ms = th_jwks_asked_wall_ms(keys);
    int64_t issued_ms = th_jwt_time_ms(ex->subject_claims, "iat");
    return asked_ms >= ex->subject_wall_ms || (issued_ms >= 0 && asked_ms >= issued_ms);
}

static enum th_exchange_state refuse_unknown(struct th_exchange *ex)
{
    return refuse(ex, TH_E_SUBJECT_UNTRUSTED,
                  "it is signed by a key that its issuer does not publish");
}

static enum th_exchange_state verify_by_keys(struct th_exchange *ex,
                                             const struct th_config_authorization_server *issuer,
                                             const struct th_jwt *jwt)
{
    struct th_document_failure failure;
    const struct th_jwks *keys;
    int error = get_keys(ex, issuer, &keys, &failure);
    if (error == TH_AGAIN)
        return TH_EXCHANGE_VERIFYING;
    if (error != 0 && ex->lacking != NULL && would_be_there(ex, ex->lacking))
        return refuse_unknown(ex); /* no newer set is needed to know it */
    if (error != 0)
        return lack(ex, "keys", issuer, &failure);
    error = th_jwks_verify(keys, jwt);
    bool is_renewed = ex->lacking != NULL;
    if (error == TH_JWKS_UNKNOWN && !is_renewed) {
        ex->lacking = keys; /* kept */
        return verify_by_keys(ex, issuer, jwt);
    }
    th_jwks_unref(keys);
    ex->is_subject_verified = error == 0;
    if (error == 0)
        return TH_EXCHANGE_DISCOVER;
    if (error == TH_JWKS_UNKNOWN)
        return refuse_unknown(ex);
    if (error == TH_E_NOMEM)
        return refuse(ex, error, "no memory to verify the subject token");
    return refuse(ex, TH_E_SUBJECT_UNTRUSTED, "its signature is not right");
}

static enum th_exchange_state verify_signature(struct th_exchange *ex,
                                               const struct th_config_authorization_server *issuer)
{
    struct th_jwt jwt = {0};
    int error = th_jwt_parse(th_secret_expose(ex->subject_token), &jwt);
    if (error != 0)
        return refuse(ex, TH_E_NOMEM, "no memory to verify the subject token");
    enum th_exchange_state next;
    /* `none`, and HS256 with a public key for a secret, are not in the table of algorithms. */
    if (th_alg_find(th_jwt_text(jwt.header, "alg")) == TH_JWS_NONE)
        next = refuse(ex, TH_E_SUBJECT_UNTRUSTED, "it is not signed by an accepted algorithm");
    else
        next = verify_by_keys(ex, issuer, &jwt);
    th_jwt_fini(&jwt);
    return next;
}

enum th_exchange_state th_exchange_enter_verify(struct th_exchange *ex)
{
    enum th_subject_verify verify = ex->connection->subject_verify;
    if (verify == TH_SUBJECT_VERIFY_NEVER || ex->subject_token == NULL)
        return TH_EXCHANGE_DISCOVER;
    const struct th_config_authorization_server *issuer = find_issuer(ex);
    if (issuer == NULL && verify == TH_SUBJECT_VERIFY_KNOWN)
        return TH_EXCHANGE_DISCOVER; /* the authorization server knows, or refuses it */
    if (issuer == NULL)
        return refuse(ex, TH_E_SUBJECT_UNTRUSTED,
                      ex->subject_claims == NULL
                          ? "it is opaque, and only what can be verified is taken here"
                          : "its issuer is none that may issue tokens for this agent");
    const char *why;
    int error = th_subject_check_claims(ex->subject_claims, ex->agent, ex->result.subject.type,
                                        ex->subject_wall_ms, &why);
    return error == 0 ? verify_signature(ex, issuer) : refuse(ex, error, why);
}
