/* The identity provider's port: token, revocation, keys, metadata, and /sandbox/. */
#include <stdio.h>

#include "form.h"
#include "provider.h"
#include "sandbox.h"
#include "scopes.h"
#include "text.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/base/check.h"

#define NO_STORE "no-store"
#define MAX_ANSWER (32 * 1024 * 1024)
#define LIMIT_SHOWN 1200 /* what Okta's headers say when no limit is set here */

enum endpoint { AT_TOKEN, AT_REVOKE, AT_KEYS, AT_METADATA, AT_STS };
static const char *const endpoint_names[] = {"token", "revoke", "keys", "metadata", "sts"};

/* The paths of a server that is not Okta's, whole. */
static bool find_provider_endpoint(const struct th_provider_row *provider, const char *path,
                                   enum endpoint *ret_at)
{
    const struct {
        const char *path;
        enum endpoint at;
    } paths[] = {
        {provider->token_path, AT_TOKEN},
        {provider->revoke_path, AT_REVOKE},
        {provider->keys_path, AT_KEYS},
        {provider->metadata_paths[0], AT_METADATA},
        {provider->metadata_paths[1], AT_METADATA},
    };
    for (size_t i = 0; i < TH_COUNT_OF(paths); i++) {
        if (paths[i].path != NULL && strcmp(paths[i].path, path) == 0) {
            *ret_at = paths[i].at;
            return true;
        }
    }
    return false;
}

/* Where a path leads. The paths of section 1 of the reference, nothing else. */
static bool find_endpoint(const struct th_sandbox *sandbox, const char *path,
                          const struct th_registry_server **ret_server, enum endpoint *ret_at)
{
    static const struct {
        const char *before, *after; /* of the issuer's path */
        enum endpoint at;
        bool org, custom;
    } paths[] = {
        {"", "/oauth2/v1/token", AT_TOKEN, true, false},
        {"", "/v1/token", AT_TOKEN, false, true},
        {"", "/oauth2/v1/revoke", AT_REVOKE, true, false},
        {"", "/v1/revoke", AT_REVOKE, false, true},
        {"", "/oauth2/v1/keys", AT_KEYS, true, false},
        {"", "/v1/keys", AT_KEYS, false, true},
        {"", TH_STS_PAGE, AT_STS, true, false},
        {"", "/.well-known/openid-configuration", AT_METADATA, true, true},
        {"/.well-known/oauth-authorization-server", "", AT_METADATA, true, true},
    };
    char text[128];
    for (size_t s = 0; s < TH_SERVER_COUNT; s++) {
        const struct th_server_row *row = &th_world_servers[s];
        const struct th_provider_row *provider = th_world_providers[s];
        if (provider != NULL && find_provider_endpoint(provider, path, ret_at)) {
            *ret_server = &sandbox->registry.servers[s];
            return true;
        }
        if (provider != NULL)
            continue;
        for (size_t i = 0; i < TH_COUNT_OF(paths); i++) {
            snprintf(text, sizeof text, "%s%s%s", paths[i].before, row->path, paths[i].after);
            if ((row->org ? paths[i].org : paths[i].custom) && strcmp(text, path) == 0) {
                *ret_server = &sandbox->registry.servers[s];
                *ret_at = paths[i].at;
                return true;
            }
        }
    }
    return false;
}

/* On every answer of Okta's token endpoint (reference, section 8). */
static void add_rate_fields(struct th_web_call *call, const struct th_sandbox *sandbox,
                            const struct th_registry_server *server,
                            const struct th_registry_client *client)
{
    char text[32];
    const struct th_idp *idp = &sandbox->idp;
    long limit = idp->settings.rate_limit > 0 ? idp->settings.rate_limit : LIMIT_SHOWN;
    long used = client != NULL ? idp->rate_count[client - idp->registry->clients] : 0;
    long reset = (long)(th_idp_now_ms(idp) / 60000 + 1) * 60;
    th_web_add_field(call, "Cache-Control", NO_STORE);
    th_web_add_field(call, "Pragma", "no-cache");
    if (th_provider_of(server) != NULL)
        return;
    snprintf(text, sizeof text, "%ld", limit);
    th_web_add_field(call, "X-Rate-Limit-Limit", text);
    snprintf(text, sizeof text, "%ld", used < limit ? limit - used : 0);
    th_web_add_field(call, "X-Rate-Limit-Remaining", text);
    snprintf(text, sizeof text, "%ld", reset);
    th_web_add_field(call, "X-Rate-Limit-Reset", text);
}

static void reply_text(struct th_web_call *call, const char *content_type, struct th_buf *text)
{
    if (text->failed)
        th_web_reply_error(call, 503, "out of memory");
    else
        th_web_reply(call, 200, content_type, th_buf_str(text));
    th_buf_fini(text);
}

/* `body` is taken. */
static void reply_twisted(struct th_web_call *call, const struct th_fault *fault, json_t *body)
{
    struct th_buf text;
    const char *token;
    th_fault_twist(fault, body);
    th_buf_init_secret(&text, MAX_ANSWER);
    if (fault->kind == TH_FAULT_DUPLICATE) { /* which no JSON library writes */
        token = json_string_value(json_object_get(body, "access_token"));
        th_buf_printf(&text, "{\"access_token\":\"%s\",", token != NULL ? token : "");
        th_text_add_json(&text, body, JSON_COMPACT | JSON_EMBED);
        th_buf_add_char(&text, '}');
    } else {
        th_text_add_json(&text, body, JSON_COMPACT);
    }
    json_decref(body);
    reply_text(call,
               fault->kind == TH_FAULT_CONTENT_TYPE ? th_fault_text(fault, "value", "text/html")
                                                    : "application/json",
               &text);
}

static void serve_form(struct th_web_call *call, struct th_sandbox *sandbox,
                       const struct th_registry_server *server, enum endpoint at, const char *place,
                       struct th_fault *fault)
{
    struct th_idp_answer answer;
    struct th_idp_request request = {
        .server = server,
        .endpoint = at == AT_TOKEN ? TH_ENDPOINT_TOKEN : TH_ENDPOINT_REVOKE,
        .method = th_str_of(call->method),
        .content_type = th_web_field(call, "Content-Type"),
        .authorization = th_web_field(call, "Authorization"),
        .certificate = th_web_tls_peer(call->request),
        .dpop = th_web_field(call, "DPoP"),
        .n_dpop = th_web_field_count(call, "DPoP"),
        .body = call->body,
        .fault = fault,
    };
    th_idp_handle(&sandbox->idp, &request, &answer);
    th_stats_add_answer(&sandbox->stats, place, th_idp_now_ms(&sandbox->idp), &answer);
    add_rate_fields(call, sandbox, server, answer.client);
    if (answer.nonce[0] != '\0')
        th_web_add_field(call, "DPoP-Nonce", answer.nonce);
    if (answer.status == 405)
        th_web_add_field(call, "Allow", "POST");
    if (answer.challenge_basic)
        th_web_add_field(call, "WWW-Authenticate", "Basic realm=\"sandbox\"");
    json_t *body = answer.body;
    answer.body = NULL;
    if (answer.reason == NULL && body == NULL)
        th_web_reply(call, answer.status, NULL, TH_STR(""));
    else if (answer.reason == NULL && fault->phase == TH_FAULT_PHASE_BODY &&
             fault->kind != TH_FAULT_NONE)
        reply_twisted(call, fault, body);
    else
        th_web_reply_json(call, answer.status, body);
    th_idp_answer_fini(&answer);
}

static json_t *make_keys(const struct th_registry_server *server)
{
    const struct th_registry_key *key = &server->signing;
    json_t *jwk = th_key_to_public_jwk(key->key, th_str_of(key->kid), key->alg);
    return json_pack("{s:[o]}", "keys", jwk);
}

static json_t *make_algs(void)
{
    json_t *list = json_array();
    struct th_str rest = TH_STR(TH_PROOF_ALGS), one;
    while (list != NULL && th_scopes_next(&rest, &one))
        json_array_append_new(list, json_stringn(one.ptr, one.len));
    return list;
}

static json_t *list_methods(const struct th_provider_row *provider)
{
    static const char *const names[] = {
        [TH_CLIENT_BY_KEY] = "private_key_jwt",
        [TH_CLIENT_BY_BASIC] = "client_secret_basic",
        [TH_CLIENT_BY_POST] = "client_secret_post",
        [TH_CLIENT_BY_SECRET_JWT] = "client_secret_jwt",
        [TH_CLIENT_BY_NOTHING] = "none",
        [TH_CLIENT_BY_TLS] = "self_signed_tls_client_auth",
        [TH_CLIENT_BY_CERTIFICATE] = "private_key_jwt",
    };
    json_t *list = json_array();
    for (size_t i = 0; i < TH_REGISTRY_REGISTRATIONS; i++)
        json_array_append_new(list, json_string(names[provider->clients[i].method]));
    return list;
}

static json_t *make_provider_metadata(const struct th_registry_server *server,
                                      const struct th_provider_row *provider)
{
    json_t *grants = json_array();
    for (size_t i = 0; i < TH_PROVIDER_GRANTS && provider->grants[i].grant_type != NULL; i++)
        json_array_append_new(grants, json_string(provider->grants[i].grant_type));
    json_t *metadata = json_pack(
        "{s:s, s:s, s:s*, s:s*, s:o, s:o, s:[s], s:[s], s:[s]}", "issuer", server->issuer,
        "token_endpoint", server->token_url, "revocation_endpoint", server->revoke_url, "jwks_uri",
        server->keys_url, "grant_types_supported", grants, "token_endpoint_auth_methods_supported",
        list_methods(provider), "response_types_supported", "code", "subject_types_supported",
        "public", "id_token_signing_alg_values_supported", "ES256");
    if (metadata != NULL && provider->wants_id_jag)
        json_object_set_new(metadata, "authorization_grant_profiles_supported",
                            json_pack("[s]", "urn:ietf:params:oauth:grant-profile:id-jag"));
    return metadata;
}

static json_t *make_metadata(const struct th_registry_server *server, bool takes_proofs)
{
    if (th_provider_of(server) != NULL)
        return make_provider_metadata(server, th_provider_of(server));
    bool org = server->row->org;
    json_t *grants = org ? json_pack("[s,s]", "authorization_code", TH_GRANT_EXCHANGE)
                         : json_pack("[s,s,s,s]", "authorization_code", TH_GRANT_CLIENT_CREDENTIALS,
                                     TH_GRANT_EXCHANGE, TH_GRANT_JWT_BEARER);
    json_t *metadata = json_pack(
        "{s:s, s:s, s:s, s:s, s:o, s:[s,s,s,s,s], s:[s,s,s,s,s,s,s,s,s], s:[s], s:[s], s:[s]}",
        "issuer", server->issuer, "token_endpoint", server->token_url, "revocation_endpoint",
        server->revoke_url, "jwks_uri", server->keys_url, "grant_types_supported", grants,
        "token_endpoint_auth_methods_supported", "private_key_jwt", "client_secret_basic",
        "client_secret_post", "client_secret_jwt", "none",
        "token_endpoint_auth_signing_alg_values_supported", "RS256", "RS384", "RS512", "ES256",
        "ES384", "ES512", "HS256", "HS384", "HS512", "response_types_supported", "code",
        "subject_types_supported", "public", "id_token_signing_alg_values_supported", "RS256");
    if (metadata != NULL && takes_proofs)
        json_object_set_new(metadata, "dpop_signing_alg_values_supported", make_algs());
    if (metadata != NULL && org)
        json_object_set_new(metadata, "identity_chaining_requested_token_types_supported",
                            json_pack("[s]", TH_TYPE_ID_JAG));
    if (metadata != NULL && !org)
        json_object_set_new(metadata, "authorization_grant_profiles_supported",
                            json_pack("[s]", "urn:ietf:params:oauth:grant-profile:id-jag"));
    return metadata;
}

static void serve_document(struct th_web_call *call, const struct th_sandbox *sandbox,
                           const struct th_registry_server *server, enum endpoint at)
{
    if (strcmp(call->method, "GET") != 0 && strcmp(call->method, "HEAD") != 0) {
        th_web_add_field(call, "Allow", "GET");
        th_web_reply_error(call, 405, "only GET here");
        return;
    }
    th_web_add_field(call, "Cache-Control", "max-age=300, must-revalidate");
    th_web_reply_json(call, 200,
                      at == AT_KEYS ? make_keys(server)
                                    : make_metadata(server, sandbox->idp.settings.dpop > 0));
}

/* The page that a user opens (reference, section 7): here opening it is consenting. Each address is
 * good for once. */
static void serve_consent(struct th_web_call *call, struct th_sandbox *sandbox)
{
    struct th_form form;
    bool is_get = strcmp(call->method, "GET") == 0;
    bool done = th_form_init(&form, th_str_of(call->query)) == TH_FORM_FINE && is_get &&
                th_vault_consent(&sandbox->idp.vault, th_form_get(&form, "dataHandle"),
                                 th_idp_now_ms(&sandbox->idp));
    th_form_fini(&form);
    th_stats_count(&sandbox->stats, "endpoints", "org_sts", done ? "consented" : "refused");
    th_web_add_field(call, "Cache-Control", NO_STORE);
    if (done)
        th_web_reply(
            call, 200, "text/html; charset=utf-8",
            TH_STR("<!doctype html><title>Consent</title><p>You have consented. Go back to "
                   "your agent.\n"));
    else
        th_web_reply(call, is_get ? 400 : 405, "text/html; charset=utf-8",
                     TH_STR("<!doctype html><title>Consent</title><p>This page has been used, or "
                            "never was.\n"));
}

static void serve_again(struct th_web_call *call);

static void serve(struct th_web_call *call, bool with_faults)
{
    struct th_sandbox *sandbox = call->owner;
    const struct th_registry_server *server = NULL;
    struct th_fault fault = {TH_FAULT_NONE};
    enum endpoint at = AT_TOKEN;
    char place[64];
    if (strncmp(call->path, "/sandbox/", strlen("/sandbox/")) == 0) {
        th_sandbox_serve_admin(call, sandbox);
        return;
    }
    if (!find_endpoint(sandbox, call->path, &server, &at)) {
        th_stats_count(&sandbox->stats, "endpoints", "other", "404");
        th_web_reply_error(call, 404, "no such endpoint");
        return;
    }
    snprintf(place, sizeof place, "%s_%s", server->row->name, endpoint_names[at]);
    if (with_faults && th_sandbox_play_fault(call, sandbox, place, serve_again, &fault))
        return;
    if (at == AT_TOKEN || at == AT_REVOKE) {
        serve_form(call, sandbox, server, at, place, &fault);
    } else if (at == AT_STS) {
        th_stats_count(&sandbox->stats, "endpoints", place, "requests");
        serve_consent(call, sandbox);
    } else {
        th_stats_count(&sandbox->stats, "endpoints", place, "requests");
        serve_document(call, sandbox, server, at);
    }
    th_fault_fini(&fault);
}

static void serve_again(struct th_web_call *call)
{
    serve(call, false);
}

void th_sandbox_serve_idp(struct th_web_call *call)
{
    serve(call, true);
}
