#include "agent_verify.h"

#include <stdio.h>
#include <strings.h>

#include "chain.h"
#include "provider.h"
#include "scopes.h"
#include "tokenhop/base/buf.h"
#include "tokens.h"

const struct th_registry_server *th_agent_find_at(const struct th_sandbox *sandbox,
                                                  const char *path, const char **ret_rest)
{
    if (strncmp(path, TH_AT, strlen(TH_AT)) != 0)
        return NULL;
    const char *name = path + strlen(TH_AT);
    struct th_str text = {name, strcspn(name, "/")};
    const struct th_registry_server *server = th_registry_find_server(&sandbox->registry, text);
    *ret_rest = name + text.len;
    return server != NULL && th_provider_of(server) != NULL ? server : NULL;
}

/* 401 or 403 with where this agent's metadata is (RFC 9728, 5.1). */
static bool refuse_by(struct th_web_call *call, bool by_dpop, int status, const char *error,
                      const char *reason, const char *scope)
{
    const struct th_sandbox_agent *agent = call->owner;
    struct th_buf text;
    const char *rest = NULL;
    const struct th_registry_server *at = th_agent_find_at(agent->sandbox, call->path, &rest);
    th_stats_count(&agent->sandbox->stats, "agent_refused", agent->resource->row->name, reason);
    th_buf_init(&text, 2048);
    if (by_dpop) /* RFC 9449, 7.1 */
        th_buf_printf(&text, "DPoP algs=\"" TH_PROOF_ALGS "\", ");
    else
        th_buf_printf(&text, "Bearer ");
    if (error != NULL)
        th_buf_printf(&text, "error=\"%s\", error_description=\"%s\", ", error, reason);
    if (scope != NULL)
        th_buf_printf(&text, "scope=\"%s\", ", scope);
    th_buf_printf(&text, "resource_metadata=\"%s/.well-known/oauth-protected-resource%s%s\"",
                  agent->resource->url, at != NULL ? TH_AT : "", at != NULL ? at->row->name : "");
    th_web_add_field(call, "WWW-Authenticate", text.failed ? "Bearer" : text.ptr);
    th_buf_fini(&text);
    th_web_reply_json(
        call, status,
        json_pack("{s:s, s:s}", "error", error != NULL ? error : "unauthorized", "reason", reason));
    return false;
}

static bool refuse(struct th_web_call *call, int status, const char *error, const char *reason,
                   const char *scope)
{
    return refuse_by(call, false, status, error, reason, scope);
}

/* What only its server can explain. */
static const char *check_opaque(struct th_idp *idp, const struct th_registry_server *at,
                                struct th_verified *verified)
{
    const struct th_ledger_entry *entry = th_ledger_find(&idp->issued, &verified->token, 1);
    if (entry == NULL || entry->server != at)
        return "token_issuer";
    if (entry->revoked)
        return "token_revoked";
    if (entry->expires_ms <= th_idp_now_ms(idp))
        return "token_expired";
    verified->jwt.claims = json_pack("{s:s?}", "sub", entry->user != NULL ? entry->user->id : NULL);
    return verified->jwt.claims != NULL ? NULL : "no_memory";
}

/* Whether it is for the first target of that server. */
static bool is_at(const struct th_registry_server *at, const json_t *claims)
{
    return th_jwt_has_audience(claims, th_str_of(th_provider_of(at)->targets[0].name));
}

/* Which check fails, or NULL. */
static const char *check_token(const struct th_sandbox_agent *agent,
                               const struct th_registry_server *at, struct th_verified *verified)
{
    struct th_idp *idp = &agent->sandbox->idp;
    const struct th_registry_server *server = NULL;
    const struct th_registry_server *wanted =
        at != NULL ? at : &agent->sandbox->registry.servers[agent->resource->row->server];
    const json_t *aud;
    if (at != NULL && th_provider_of(at)->opaque)
        return check_opaque(idp, at, verified);
    switch (th_token_verify_offline(idp, verified->token, &verified->jwt, &server)) {
    case TH_TOKEN_FINE:
        break;
    case TH_TOKEN_MALFORMED:
        return "token_malformed";
    case TH_TOKEN_ISSUER:
        return "token_issuer";
    case TH_TOKEN_SIGNATURE:
        return "token_signature";
    case TH_TOKEN_EXPIRED:
        return "token_expired";
    case TH_TOKEN_REVOKED:
        return "token_revoked";
    }
    if (server != wanted)
        return "token_issuer";
    if (th_str_equal(th_jwt_text(verified->jwt.header, "typ"), TH_STR("oauth-id-jag+jwt")))
        return "token_is_id_jag";
    aud = json_object_get(verified->jwt.claims, "aud");
    if (at != NULL ? !is_at(at, verified->jwt.claims)
                   : !json_is_string(aud) ||
                         strcmp(json_string_value(aud), agent->resource->audience) != 0)
        return "token_audience";
    if (idp->settings.introspect && th_token_is_revoked(idp, verified->token))
        return "token_revoked";
    return NULL;
}

/* `scope` as documented, `scp` as measured (reference 4.4). */
static void read_scope(struct th_verified *verified)
{
    struct th_buf text;
    const json_t *list = json_object_get(verified->jwt.claims, "scp");
    verified->scope = th_jwt_text(verified->jwt.claims, "scope");
    if (verified->scope.len == 0)
        verified->scope = th_jwt_text(verified->jwt.claims, "scp"); /* Entra's is a string */
    if (verified->scope.len > 0 || !json_is_array(list))
        return;
    th_buf_init(&text, sizeof verified->scope_text - 1);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *one = json_string_value(json_array_get(list, i));
        th_buf_printf(&text, "%s%s", i > 0 ? " " : "", one != NULL ? one : "");
    }
    if (!text.failed && text.len > 0) {
        memcpy(verified->scope_text, text.ptr, text.len);
        verified->scope = (struct th_str){verified->scope_text, text.len};
    }
    th_buf_fini(&text);
}

/* RFC 9449, 7: the proof of a request that bears a bound token, and where nonces are wanted the nonce for
 * the next one. */
static bool check_proof(struct th_web_call *call, const struct th_verified *verified)
{
    const struct th_sandbox_agent *agent = call->owner;
    struct th_idp *idp = &agent->sandbox->idp;
    struct th_proof_desk *desk = &idp->agent_proofs[agent->resource - idp->registry->resources];
    char url[1024], jkt[TH_PROOF_JKT_LEN + 1];
    snprintf(url, sizeof url, "%s%s", agent->resource->url, call->path);
    const struct th_proof_request proof = {
        .proof = th_web_field(call, "DPoP"),
        .n_proofs = th_web_field_count(call, "DPoP"),
        .method = th_str_of(call->method),
        .url = th_str_of(url),
        .token = verified->token,
        .now_ms = th_idp_now_ms(idp),
        .window_s = idp->settings.dpop_window,
        .wants_nonce = idp->settings.agent_dpop_nonce != 0,
        .requests_of_a_nonce = idp->settings.dpop_nonce_requests,
    };
    const char *reason = th_proof_check(desk, &proof, jkt);
    if (proof.wants_nonce)
        th_web_add_field(call, "DPoP-Nonce", desk->nonces.now);
    if (reason == NULL && strcmp(jkt, verified->jkt) != 0)
        reason = "proof_other_key";
    if (reason == NULL)
        return true;
    return refuse_by(call, true, 401,
                     strcmp(reason, TH_PROOF_NONCE) == 0 ? "use_dpop_nonce" : "invalid_dpop_proof",
                     reason, NULL);
}

/* Whether the token came by the scheme that it must come by (RFC 9449, 7.1 and 7.2). */
static const char *check_scheme(const struct th_sandbox_agent *agent, struct th_verified *verified,
                                bool by_dpop)
{
    verified->jkt =
        json_string_value(json_object_get(json_object_get(verified->jwt.claims, "cnf"), "jkt"));
    if (by_dpop && verified->jkt == NULL)
        return "token_not_bound";
    if (!by_dpop && verified->jkt != NULL)
        return "token_is_bound";
    if (!by_dpop && agent->sandbox->idp.settings.agent_dpop_required)
        return "bearer_not_taken";
    return NULL;
}

bool th_agent_authenticate(struct th_web_call *call, struct th_verified *ret_verified)
{
    const struct th_sandbox_agent *agent = call->owner;
    const char *rest = NULL;
    const struct th_registry_server *at = th_agent_find_at(agent->sandbox, call->path, &rest);
    struct th_str field = th_web_field(call, "Authorization");
    bool by_dpop = field.len > 5 && strncasecmp(field.ptr, "DPoP ", 5) == 0;
    size_t scheme_len = by_dpop ? 5 : 7;
    struct th_str scheme = {field.ptr, field.len < scheme_len ? field.len : scheme_len};
    memset(ret_verified, 0, sizeof *ret_verified);
    if (field.len == 0)
        return refuse(call, 401, NULL, "token_missing", NULL);
    if (th_web_field_count(call, "Authorization") != 1)
        return refuse(call, 401, "invalid_request", "authorization_twice", NULL);
    ret_verified->token = (struct th_str){field.ptr + scheme.len, field.len - scheme.len};
    if ((!by_dpop && !th_str_equal_nocase(scheme, TH_STR("Bearer "))) ||
        !th_str_is_token68(ret_verified->token))
        return refuse(call, 401, "invalid_token", "authorization_malformed", NULL);
    const char *reason = check_token(agent, at, ret_verified);
    if (reason == NULL)
        reason = check_scheme(agent, ret_verified, by_dpop);
    if (reason == NULL && (!by_dpop || check_proof(call, ret_verified))) {
        read_scope(ret_verified);
        return true;
    }
    bool is_answered = reason == NULL;
    th_verified_fini(ret_verified);
    return is_answered ? false : refuse_by(call, by_dpop, 401, "invalid_token", reason, NULL);
}

bool th_agent_authorize(struct th_web_call *call, const struct th_verified *verified,
                        const char *scope)
{
    if (scope == NULL || th_scopes_contain(verified->scope, th_str_of(scope)))
        return true;
    return refuse(call, 403, "insufficient_scope", "scope_missing", scope);
}

void th_verified_fini(struct th_verified *verified)
{
    th_jwt_fini(&verified->jwt);
    memset(verified, 0, sizeof *verified);
}

json_t *th_verified_json(const struct th_sandbox_agent *agent, const struct th_verified *verified)
{
    char name[TH_LEDGER_NAME_LEN + 1];
    json_t *scopes = json_array();
    struct th_str rest = verified->scope, one;
    const json_t *claims = verified->jwt.claims;
    const json_t *uid = json_object_get(claims, "uid");
    const json_t *sub = uid != NULL ? uid : json_object_get(claims, "sub");
    const char *subject = json_string_value(sub);
    const struct th_user_row *user = th_registry_find_user(th_str_of(subject));
    while (th_scopes_next(&rest, &one))
        json_array_append_new(scopes, json_stringn(one.ptr, one.len));
    th_ledger_name(verified->token, name);
    return json_pack("{s:s, s:s, s:b, s:s?, s:s?, s:o, s:o, s:O}", "agent",
                     agent->resource->row->name, "token_sha256", name, "bound",
                     verified->jkt != NULL, "sub", subject, "user",
                     user != NULL ? user->name : NULL, "scopes", scopes, "chain",
                     th_chain_list(json_object_get(claims, "act")), "claims", (json_t *)claims);
}
