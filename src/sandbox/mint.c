/* Tokens as a login or another agent would have got them, without either: /sandbox/mint.
 *
 *   type         id_token (default), access_token, or refresh_token (opaque, of other servers than Okta's)
 *   user         alice (default), bob, carol; `service` or `rogue`: a machine, access tokens only
 *   audience     agent1 (default), agent2, agent3, webapp, api
 *   server       issuer: org (default of ID tokens), or the one that protects the audience; one that is
 *                not Okta's issues for its own registration of the audience
 *   client       access tokens: to whom it was issued (webapp; for a machine, itself)
 *   scope        access tokens: those of the audience's server
 *   expires_in   seconds, may be negative: expired
 *   aud, iss, sub, typ   put as they are
 *   signature    bad: signed by a key that nobody knows; none: alg none
 *   cnf          1: bound to a key (cnf.jkt)
 *   chain        access tokens: so many actors in `act`
 *   nonce        put as it is
 *   claims       JSON object, members added or replaced; null removes one
 *   format       text: the token alone */
#include <stdio.h>

#include "chain.h"
#include "form.h"
#include "provider.h"
#include "sandbox.h"
#include "text.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokens.h"

struct mint {
    const struct th_registry_server *server;
    const struct th_registry_client *client; /* issued to */
    const struct th_user_row *user;          /* NULL: a machine */
    const struct th_registry_resource *resource;
    const struct th_registry_client *audience_client;
    const struct th_registry_registration *registration; /* at other servers than Okta's */
    bool access;
    bool refresh;
    long expires_in;
    size_t chain;
};

static struct th_str or_else(struct th_str text, const char *otherwise)
{
    return text.len > 0 ? text : th_str_of(otherwise);
}

static int bad(struct th_errinfo *reterr, const char *where)
{
    (void)th_errinfo_set(reterr, TH_E_BAD_REQUEST, where, NULL, "unknown or out of place");
    return TH_E_BAD_REQUEST;
}

static int parse_seconds(struct th_str text, long otherwise, long *ret)
{
    uint64_t value = 0;
    bool minus = text.len > 0 && text.ptr[0] == '-';
    struct th_str digits = {text.ptr + minus, text.len - minus};
    *ret = otherwise;
    if (text.len == 0)
        return 0;
    if (th_str_to_u64(digits, INT32_MAX, &value) != 0)
        return TH_E_BAD_REQUEST;
    *ret = minus ? -(long)value : (long)value;
    return 0;
}

static int parse_parties(const struct th_registry *registry, const struct th_form *form,
                         struct mint *mint, struct th_errinfo *reterr)
{
    struct th_str who = or_else(th_form_get(form, "user"), "alice");
    struct th_str audience = or_else(th_form_get(form, "audience"), "agent1");
    mint->user = th_registry_find_user_name(who);
    mint->client = th_registry_find_client_name(
        registry, mint->user == NULL ? who : or_else(th_form_get(form, "client"), "webapp"));
    mint->audience_client = th_registry_find_client_name(registry, audience);
    mint->resource = th_registry_find_resource(registry, audience);
    if (mint->client == NULL || (mint->user == NULL && !mint->access))
        return bad(reterr, "user or client");
    if (mint->server != NULL && th_provider_of(mint->server) != NULL) {
        mint->registration = th_registry_registration_of(mint->server, mint->audience_client);
        return mint->registration != NULL ? 0 : bad(reterr, "audience");
    }
    if (mint->access ? mint->resource == NULL : mint->audience_client == NULL)
        return bad(reterr, "audience");
    return 0;
}

static int parse_mint(const struct th_sandbox *sandbox, const struct th_form *form,
                      struct mint *mint, struct th_errinfo *reterr)
{
    const struct th_sandbox_settings *settings = &sandbox->idp.settings;
    const struct th_registry *registry = &sandbox->registry;
    struct th_str type = or_else(th_form_get(form, "type"), "id_token");
    struct th_str server = th_form_get(form, "server");
    uint64_t chain = 0;
    mint->refresh = th_str_equal(type, TH_STR("refresh_token"));
    mint->access = mint->refresh || th_str_equal(type, TH_STR("access_token"));
    if (!mint->access && !th_str_equal(type, TH_STR("id_token")))
        return bad(reterr, "type");
    if (server.len > 0) {
        mint->server = th_registry_find_server(registry, server);
        if (mint->server == NULL)
            return bad(reterr, "server");
    }
    int e = parse_parties(registry, form, mint, reterr);
    if (e != 0)
        return e;
    if (mint->refresh && mint->registration == NULL)
        return bad(reterr, "type");
    if (mint->server == NULL)
        mint->server =
            &registry->servers[mint->access ? mint->resource->row->server : TH_SERVER_ORG];
    if (parse_seconds(th_form_get(form, "expires_in"),
                      mint->access ? settings->access_token_lifetime : settings->id_token_lifetime,
                      &mint->expires_in) != 0)
        return bad(reterr, "expires_in");
    if (th_form_get(form, "chain").len > 0 &&
        th_str_to_u64(th_form_get(form, "chain"), 30, &chain) != 0)
        return bad(reterr, "chain");
    mint->chain = (size_t)chain;
    return 0;
}

static json_t *make_id_claims(const struct th_sandbox *sandbox, const struct mint *mint)
{
    json_int_t now = (json_int_t)(th_idp_now_ms(&sandbox->idp) / 1000);
    char jti[64];
    th_token_make_id("ID.", jti);
    return json_pack("{s:s, s:s, s:s, s:i, s:s, s:s, s:I, s:I, s:I, s:[s], s:[s]}", "iss",
                     mint->server->issuer, "sub", mint->user->id, "aud",
                     mint->registration != NULL ? mint->registration->row->client_id
                                                : mint->audience_client->row->client_id,
                     "ver", 1, "jti", jti, "email", mint->user->login, "iat", now, "exp", now,
                     "auth_time", now, "amr", "pwd", "groups", mint->user->groups);
}

/* `length` actors: the client outermost, then other agents, and at the end the one who started. */
static json_t *make_actors(const struct th_registry *registry, const struct mint *mint)
{
    json_t *act = NULL;
    for (size_t i = mint->chain; i-- > 0;) {
        const struct th_registry_client *actor =
            i == 0 ? mint->client
                   : &registry->clients[i % 2 != 0 ? TH_CLIENT_AGENT3 : TH_CLIENT_AGENT1];
        json_t *next = th_chain_extend(actor, act);
        json_decref(act);
        act = next;
        if (act == NULL)
            return NULL;
    }
    return act;
}

static json_t *make_access_claims(const struct th_sandbox *sandbox, const struct th_form *form,
                                  const struct mint *mint)
{
    json_t *act = make_actors(&sandbox->registry, mint);
    const char *aud =
        mint->registration != NULL ? mint->registration->row->audience : mint->resource->audience;
    const char *scopes = mint->registration != NULL ? "agent.invoke" : mint->resource->row->scopes;
    struct th_token_plan plan = {
        .server = mint->server,
        .client = mint->client,
        .user = mint->user,
        .sub = th_str_of(mint->user != NULL ? mint->user->id : mint->client->row->client_id),
        .aud = th_str_of(aud),
        .scope = or_else(th_form_get(form, "scope"), scopes),
        .act = act,
    };
    json_t *claims = th_token_access_claims(&sandbox->idp, &plan);
    json_decref(act);
    return claims;
}

static int apply_overrides(const struct th_form *form, json_t *claims, struct th_errinfo *reterr)
{
    static const char *const names[] = {"aud", "iss", "sub", "nonce"};
    struct th_str extra = th_form_get(form, "claims");
    const char *name;
    json_t *value;
    for (size_t i = 0; i < TH_COUNT_OF(names); i++) {
        struct th_str text = th_form_get(form, names[i]);
        if (text.len > 0)
            json_object_set_new(claims, names[i], json_stringn(text.ptr, text.len));
    }
    if (th_form_get(form, "cnf").len > 0)
        json_object_set_new(
            claims, "cnf",
            json_pack("{s:s}", "jkt", "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"));
    if (extra.len == 0)
        return 0;
    json_t *object = json_loadb(extra.ptr, extra.len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(object)) {
        json_decref(object);
        return bad(reterr, "claims");
    }
    json_object_foreach(object, name, value)
    {
        if (json_is_null(value))
            json_object_del(claims, name);
        else
            json_object_set(claims, name, value);
    }
    json_decref(object);
    return 0;
}

/* alg none (RFC 7519, 6): what no verifier may take. */
static int make_unsigned(const json_t *claims, struct th_secret **ret_token)
{
    struct th_buf text;
    struct th_buf json;
    th_buf_init_secret(&json, 65536);
    th_text_add_json(&json, claims, JSON_COMPACT);
    th_buf_init_secret(&text, 2 * 65536);
    th_base64url_encode(&text, "{\"alg\":\"none\"}", 14);
    th_buf_add_char(&text, '.');
    th_base64url_encode(&text, json.ptr, json.len);
    th_buf_add_char(&text, '.');
    if (!json.failed && !text.failed)
        *ret_token = th_secret_new(text.ptr, text.len);
    th_buf_fini(&json);
    th_buf_fini(&text);
    return *ret_token != NULL ? 0 : TH_E_NOMEM;
}

static int sign(struct th_sandbox *sandbox, const struct th_form *form, const struct mint *mint,
                json_t *claims, struct th_secret **ret_token)
{
    char typ[64];
    struct th_str signature = th_form_get(form, "signature");
    struct th_str given = th_form_get(form, "typ");
    struct th_fault stranger = {.kind = TH_FAULT_BAD_SIGNATURE};
    struct th_token_plan plan = {
        .server = mint->server, .client = mint->client, .user = mint->user};
    if (th_str_equal(signature, TH_STR("none")))
        return make_unsigned(claims, ret_token);
    const struct th_fault *fault = th_str_equal(signature, TH_STR("bad")) ? &stranger : NULL;
    if (mint->access && given.len == 0)
        return th_token_sign_access(&sandbox->idp, &plan, claims, fault, ret_token);
    snprintf(typ, sizeof typ, "%.*s", (int)(given.len < 60 ? given.len : 60),
             given.len > 0 ? given.ptr : "");
    return th_token_sign(&sandbox->idp, mint->server, typ, claims, fault, ret_token);
}

/* Opaque, and remembered as the registration's. */
static int make_refresh(struct th_sandbox *sandbox, const struct mint *mint,
                        struct th_secret **ret_token)
{
    char text[64];
    struct th_ledger_entry *entry = NULL;
    int64_t now_ms = th_idp_now_ms(&sandbox->idp);
    th_token_make_id("v1.", text);
    struct th_str token = th_str_of(text);
    int e = th_ledger_add(&sandbox->idp.issued, &token, 1, now_ms + mint->expires_in * 1000, now_ms,
                          &entry);
    if (e != 0)
        return e;
    entry->server = mint->server;
    entry->client = mint->registration->client;
    entry->user = mint->user;
    *ret_token = th_secret_new(token.ptr, token.len);
    return *ret_token != NULL ? 0 : TH_E_NOMEM;
}

json_t *th_sandbox_mint(struct th_sandbox *sandbox, const struct th_form *form,
                        struct th_errinfo *reterr)
{
    struct mint mint = {0};
    TH_CLEANUP(th_secret_unrefp) struct th_secret *token = NULL;
    json_t *minted = NULL;
    if (parse_mint(sandbox, form, &mint, reterr) != 0)
        return NULL;
    json_t *claims =
        mint.access ? make_access_claims(sandbox, form, &mint) : make_id_claims(sandbox, &mint);
    json_int_t now = (json_int_t)(th_idp_now_ms(&sandbox->idp) / 1000);
    if (claims != NULL)
        json_object_set_new(claims, "exp", json_integer(now + mint.expires_in));
    if (claims != NULL && apply_overrides(form, claims, reterr) == 0 &&
        (mint.refresh ? make_refresh(sandbox, &mint, &token)
                      : sign(sandbox, form, &mint, claims, &token)) == 0) {
        struct th_str text = th_secret_expose(token);
        minted = json_pack("{s:s%, s:s, s:O}", "token", text.ptr, text.len, "type",
                           mint.refresh  ? TH_TYPE_REFRESH_TOKEN
                           : mint.access ? TH_TYPE_ACCESS_TOKEN
                                         : TH_TYPE_ID_TOKEN,
                           "claims", claims);
    }
    if (minted == NULL && reterr->error == 0)
        th_errinfo_set(reterr, TH_E_NOMEM, NULL, NULL, "cannot make the token");
    json_decref(claims);
    return minted;
}
