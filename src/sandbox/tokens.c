#include "tokens.h"

#include <stdio.h>

#include "tokenhop/base/random.h"

static enum th_token_state verify(const struct th_idp *idp, struct th_jwt *jwt,
                                  const struct th_registry_server **ret_server)
{
    const struct th_registry_server *server =
        th_registry_find_issuer(idp->registry, th_jwt_text(jwt->claims, "iss"));
    int64_t now_ms = th_idp_now_ms(idp);
    if (server == NULL)
        return TH_TOKEN_ISSUER;
    if (!th_str_equal(th_jwt_text(jwt->header, "kid"), th_str_of(server->signing.kid)) ||
        th_alg_find(th_jwt_text(jwt->header, "alg")) != server->signing.alg ||
        th_jwt_verify(jwt, server->signing.key) != 0)
        return TH_TOKEN_SIGNATURE;
    int64_t exp = th_jwt_time_ms(jwt->claims, "exp");
    int64_t nbf = th_jwt_time_ms(jwt->claims, "nbf");
    if (exp <= now_ms || nbf > now_ms)
        return TH_TOKEN_EXPIRED;
    *ret_server = server;
    return TH_TOKEN_FINE;
}

enum th_token_state th_token_verify_offline(const struct th_idp *idp, struct th_str token,
                                            struct th_jwt *ret_jwt,
                                            const struct th_registry_server **ret_server)
{
    if (th_jwt_parse(token, ret_jwt) != 0)
        return TH_TOKEN_MALFORMED;
    return verify(idp, ret_jwt, ret_server);
}

bool th_token_is_revoked(struct th_idp *idp, struct th_str token)
{
    const struct th_ledger_entry *entry = th_ledger_find(&idp->issued, &token, 1);
    return entry != NULL && entry->revoked;
}

enum th_token_state th_token_verify(struct th_idp *idp, struct th_str token, struct th_jwt *ret_jwt,
                                    const struct th_registry_server **ret_server)
{
    enum th_token_state state = th_token_verify_offline(idp, token, ret_jwt, ret_server);
    if (state == TH_TOKEN_FINE && th_token_is_revoked(idp, token))
        return TH_TOKEN_REVOKED;
    return state;
}

struct th_str th_token_one_text(const json_t *value)
{
    const json_t *one = json_array_size(value) == 1 ? json_array_get(value, 0) : value;
    return json_is_string(one) ? (struct th_str){json_string_value(one), json_string_length(one)}
                               : TH_STR("");
}

void th_token_make_id(const char *prefix, char ret_id[64])
{
    uint8_t bytes[20];
    int len = snprintf(ret_id, 16, "%s", prefix);
    th_random_bytes(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        len += snprintf(ret_id + len, 64 - (size_t)len, "%02x", bytes[i]);
}

const char *th_token_access_typ(const struct th_idp *idp)
{
    return idp->settings.measured_shape ? "at+jwt" : "";
}

static json_t *scope_list(struct th_str scope)
{
    json_t *list = json_array();
    for (size_t i = 0, start = 0; list != NULL && i <= scope.len; i++) {
        if (i < scope.len && scope.ptr[i] != ' ')
            continue;
        if (i > start)
            json_array_append_new(list, json_stringn(scope.ptr + start, i - start));
        start = i + 1;
    }
    return list;
}

/* The table of reference 4.4. `jti` is in both shapes: Okta's example leaves it out, but without it two
 * tokens of one second would be the same bytes, and revoking one would revoke both. */
json_t *th_token_access_claims(const struct th_idp *idp, const struct th_token_plan *plan)
{
    char jti[64];
    json_int_t now = (json_int_t)(th_idp_now_ms(idp) / 1000);
    json_int_t exp = now + (json_int_t)idp->settings.access_token_lifetime;
    bool measured = idp->settings.measured_shape != 0;
    bool login = measured && plan->user != NULL;
    th_token_make_id("AT.", jti);
    json_t *claims =
        json_pack("{s:s, s:s, s:s%, s:I, s:I, s:s}", "jti", jti, "iss", plan->server->issuer, "aud",
                  plan->aud.ptr, plan->aud.len, "iat", now, "exp", exp, "sub_profile",
                  plan->user != NULL ? "user" : "service");
    if (claims == NULL)
        return NULL;
    json_object_set_new(claims, "sub",
                        login ? json_string(plan->user->login)
                              : json_stringn(plan->sub.ptr, plan->sub.len));
    if (measured) {
        json_object_set_new(claims, "ver", json_integer(1));
        json_object_set_new(claims, "scp", scope_list(plan->scope));
    } else {
        json_object_set_new(claims, "scope", json_stringn(plan->scope.ptr, plan->scope.len));
    }
    if (login)
        json_object_set_new(claims, "uid", json_string(plan->user->id));
    if (measured && plan->user != NULL)
        json_object_set_new(claims, "auth_time", json_integer(now));
    /* A token without a chain has to say its client somewhere, in both shapes. */
    if (measured || plan->act == NULL)
        json_object_set_new(claims, "cid", json_string(plan->client->row->client_id));
    if (plan->act != NULL)
        json_object_set_new(claims, "act", json_deep_copy(plan->act));
    if (plan->jkt != NULL && plan->jkt[0] != '\0')
        json_object_set_new(claims, "cnf", json_pack("{s:s}", "jkt", plan->jkt));
    return claims;
}

int th_token_sign(const struct th_idp *idp, const struct th_registry_server *server,
                  const char *typ, json_t *claims, const struct th_fault *fault,
                  struct th_secret **ret_token)
{
    const struct th_key *key = server->signing.key;
    if (fault != NULL && fault->phase == TH_FAULT_PHASE_CLAIMS)
        th_fault_twist(fault, claims);
    if (fault != NULL && fault->kind == TH_FAULT_BAD_SIGNATURE)
        key = server->signing.alg == TH_JWS_ES256 ? idp->registry->stranger_es256.key
                                                  : idp->registry->stranger.key;
    return th_jwt_sign(key, server->signing.alg, th_str_of(server->signing.kid), th_str_of(typ),
                       claims, ret_token);
}

int th_token_sign_access(struct th_idp *idp, const struct th_token_plan *plan, json_t *claims,
                         const struct th_fault *fault, struct th_secret **ret_token)
{
    return th_token_sign_issued(idp, plan, th_token_access_typ(idp), claims, fault, ret_token);
}

int th_token_sign_issued(struct th_idp *idp, const struct th_token_plan *plan, const char *typ,
                         json_t *claims, const struct th_fault *fault, struct th_secret **ret_token)
{
    struct th_secret *token = NULL;
    struct th_ledger_entry *entry = NULL;
    int e = th_token_sign(idp, plan->server, typ, claims, fault, &token);
    if (e != 0)
        return e;
    struct th_str text = th_secret_expose(token);
    e = th_ledger_add(&idp->issued, &text, 1, th_jwt_time_ms(claims, "exp"), th_idp_now_ms(idp),
                      &entry);
    if (e != 0) {
        th_secret_unref(token);
        return e;
    }
    entry->server = plan->server;
    entry->client = plan->client;
    entry->user = plan->user;
    *ret_token = token;
    return 0;
}
