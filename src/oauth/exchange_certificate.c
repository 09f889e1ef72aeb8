#include "exchange_certificate.h"

#include "tokenhop/base/check.h"
#include "tokenhop/oauth/jose.h"

struct th_str th_exchange_endpoint_at(const struct th_exchange *ex, const struct th_plan_leg *leg,
                                      const struct th_metadata *metadata, bool revokes)
{
    const struct th_config_authorization_server *server =
        th_plan_leg_server(leg, ex->agent, ex->connection);
    struct th_str configured = revokes ? server->revocation_endpoint : server->token_endpoint;
    const struct th_config_auth *auth;
    struct th_str client_id;
    if (configured.len > 0 || metadata == NULL)
        return configured;
    th_plan_leg_client(leg, ex->agent, ex->connection, &client_id, &auth);
    if (th_config_auth_is_by_certificate(auth)) {
        struct th_str alias =
            revokes ? metadata->mtls_revocation_endpoint : metadata->mtls_token_endpoint;
        if (alias.len > 0)
            return alias;
    }
    return revokes ? metadata->revocation_endpoint : metadata->token_endpoint;
}

struct th_identity *th_exchange_identity(const struct th_exchange *ex)
{
    const struct th_config_auth *auth = ex->client.auth;
    return th_config_auth_is_by_certificate(auth) ? auth->identity : NULL;
}

bool th_exchange_can_show(const struct th_exchange *ex)
{
    return !th_config_auth_is_by_certificate(ex->client.auth) ||
           th_str_starts_with(th_exchange_endpoint(ex), TH_STR("https://"));
}

int th_exchange_check_certificate(const struct th_exchange *ex, const json_t *claims,
                                  const char **ret_why, const char **ret_note)
{
    const json_t *cnf = json_object_get(claims, "cnf");
    const struct th_identity *identity = ex->connection->client_certificate;
    struct th_buf own;
    *ret_note = NULL;
    if (ex->leg + 1 != ex->legs.n || json_object_get(cnf, "x5t#S256") == NULL)
        return 0;
    if (identity == NULL) {
        *ret_why = "the token is bound to a certificate (cnf, x5t#S256), and the connection has no "
                   "client_certificate to show to the destination";
        return TH_E_EXCHANGE_MISMATCH;
    }
    th_buf_init(&own, 2 * TH_IDENTITY_SHA256_LEN);
    th_base64url_encode(&own, identity->sha256, TH_IDENTITY_SHA256_LEN);
    int error = own.failed ? TH_E_NOMEM : 0;
    if (error == 0 && !th_str_equal(th_jwt_text(cnf, "x5t#S256"), th_buf_str(&own)))
        error = TH_E_EXCHANGE_MISMATCH;
    th_buf_fini(&own);
    *ret_why = error == TH_E_NOMEM
                   ? "no memory to look at the token"
                   : "the token is bound to another certificate (cnf, x5t#S256) than the "
                     "connection's client_certificate, which the destination is shown";
    if (error == 0)
        *ret_note = "the token is bound to the connection's client_certificate (cnf, x5t#S256)";
    return error;
}
