#include "server.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "faults.h"
#include "tokenhop/base/check.h"

#define TOKEN_EXCHANGE "urn:ietf:params:oauth:grant-type:token-exchange"
#define JWT_BEARER "urn:ietf:params:oauth:grant-type:jwt-bearer"
#define JWT_DPOP "urn:ietf:params:oauth:grant-type:jwt-dpop"
#define ID_JAG "urn:ietf:params:oauth:token-type:id-jag"
#define JWT "urn:ietf:params:oauth:token-type:jwt"
#define ACCESS_TOKEN "urn:ietf:params:oauth:token-type:access_token"

static void TH_PRINTF(2, 3) violate(struct server *server, const char *format, ...)
{
    va_list args;

    if (server->violation[0] != '\0')
        return;
    va_start(args, format);
    vsnprintf(server->violation, sizeof server->violation, format, args);
    va_end(args);
}

/* --- the fetcher --- */

static void deliver(struct th_soon *soon)
{
    struct th_fetch *ask = TH_CONTAINER_OF(soon, struct th_fetch, soon);
    th_fetch_fn *fn = ask->fn;

    ask->fn = NULL;
    fn(ask->arg, ask->error, ask->error == 0 ? &ask->response : NULL,
       ask->error == 0 ? NULL : "as the scenario has it");
}

static int start(struct th_fetcher *base, const struct th_fetch_request *request, th_fetch_fn *fn,
                 void *arg, struct th_fetch **ret_fetch)
{
    struct fake_fetcher *fetcher = TH_CONTAINER_OF(base, struct fake_fetcher, base);

    fault_pause();
    struct th_fetch *ask = zeroed(sizeof *ask), **end = &fetcher->server->asks;

    ask->server = fetcher->server;
    ask->worker = fetcher->worker;
    ask->fn = fn;
    ask->arg = arg;
    ask->soon.fn = deliver;
    ask->url = copy_text(request->url.ptr, request->url.len);
    ask->timeout_ms = request->timeout_ms;
    bytes_add_str(&ask->body, request->body);
    if (request->dpop.ptr != NULL)
        bytes_add_str(&ask->dpop, request->dpop);
    while (*end != NULL)
        end = &(*end)->next;
    *end = ask;
    *ret_fetch = ask;
    fault_resume();
    return 0;
}

static void cancel(struct th_fetcher *base, struct th_fetch *ask)
{
    (void)base;
    th_soon_cancel(&ask->soon);
    ask->fn = NULL;
    ask->cancelled = true;
}

static struct th_fetcher *free_fetcher(struct th_fetcher *base)
{
    struct fake_fetcher *fetcher = TH_CONTAINER_OF(base, struct fake_fetcher, base);

    for (struct th_fetch *ask = fetcher->server->asks; ask != NULL; ask = ask->next)
        if (ask->worker == fetcher->worker && ask->fn != NULL)
            cancel(base, ask);
    return NULL;
}

void server_make_fetcher(struct server *server, struct th_worker *worker,
                         struct fake_fetcher *fetcher)
{
    *fetcher =
        (struct fake_fetcher){.base = {.start = start, .cancel = cancel, .free = free_fetcher},
                              .server = server,
                              .worker = worker};
}

void server_init(struct server *server, const struct th_clock *clock, struct tokens *tokens)
{
    *server = (struct server){.clock = clock, .tokens = tokens};
}

void server_fini(struct server *server)
{
    while (server->asks != NULL) {
        struct th_fetch *ask = server->asks;
        server->asks = ask->next;
        for (size_t i = 0; i < ask->n_params; i++) {
            free(ask->params[i].name);
            free(ask->params[i].value);
        }
        bytes_fini(&ask->body);
        bytes_fini(&ask->dpop);
        bytes_fini(&ask->answer);
        free(ask->url);
        free(ask);
    }
    for (size_t i = 0; i < server->n_jtis; i++)
        free(server->seen_jtis[i]);
    proofs_fini(&server->proofs);
    th_key_unref(server->agent_key);
}

/* --- what is asked --- */

static int hex(char c)
{
    const char *digits = "0123456789abcdef", *at = strchr(digits, c | 0x20);

    return c != '\0' && at != NULL ? (int)(at - digits) : 0;
}

static char *decode(const char *from, size_t len, size_t *ret_len)
{
    struct bytes out = {0};

    bytes_add(&out, "", 0);
    for (size_t i = 0; i < len; i++) {
        char c = from[i] == '+' ? ' ' : from[i];
        if (c == '%' && i + 2 < len) {
            c = (char)(hex(from[i + 1]) * 16 + hex(from[i + 2]));
            i += 2;
        }
        bytes_add(&out, &c, 1);
    }
    *ret_len = out.len;
    return out.ptr;
}

static void read_form(struct th_fetch *ask)
{
    const char *at = ask->body.ptr, *end = at + ask->body.len;

    while (at < end && ask->n_params < ASK_PARAMS_MAX) {
        const char *stop = memchr(at, '&', (size_t)(end - at));
        stop = stop != NULL ? stop : end;
        const char *equal = memchr(at, '=', (size_t)(stop - at));
        size_t ignored;
        if (equal == NULL) {
            violate(ask->server, "a parameter of the form has no value");
            return;
        }
        ask->params[ask->n_params].name = decode(at, (size_t)(equal - at), &ignored);
        ask->params[ask->n_params].value =
            decode(equal + 1, (size_t)(stop - equal - 1), &ask->params[ask->n_params].value_len);
        ask->n_params++;
        at = stop + 1;
    }
}

struct th_str ask_param(const struct th_fetch *ask, const char *name)
{
    for (size_t i = 0; i < ask->n_params; i++)
        if (strcmp(ask->params[i].name, name) == 0)
            return (struct th_str){ask->params[i].value, ask->params[i].value_len};
    return TH_STR_NONE;
}

/* By what is presented: an assertion of a first leg, or the subject token itself. */
static const char *jwt_kind(const struct th_fetch *ask)
{
    const struct token *token = token_find_text(ask->server->tokens, ask_param(ask, "assertion"));

    return token != NULL && token->kind == TOKEN_SUBJECT ? "jwt_subject" : "jwt_bearer";
}

const char *ask_kind(const struct th_fetch *ask)
{
    struct th_str grant = ask_param(ask, "grant_type");
    struct th_str requested = ask_param(ask, "requested_token_type");

    if (th_str_equal(grant, TH_STR(TOKEN_EXCHANGE)) && th_str_equal(requested, TH_STR(ID_JAG)))
        return "id_jag";
    if (th_str_equal(grant, TH_STR(TOKEN_EXCHANGE)) && th_str_equal(requested, TH_STR(JWT)))
        return "jwt_grant";
    if (th_str_equal(grant, TH_STR("client_credentials")))
        return "client_credentials";
    if (th_str_equal(grant, TH_STR(JWT_DPOP)))
        return "jwt_dpop";
    if (th_str_equal(grant, TH_STR(JWT_BEARER)))
        return ask_param(ask, "requested_token_use").len > 0 ? "on_behalf_of" : jwt_kind(ask);
    return ask_param(ask, "subject_token").len > 0 ? "token_exchange" : "other";
}

bool ask_waits(const struct th_fetch *ask)
{
    return ask->fn != NULL && !ask->answered;
}

/* RFC 7523, 3, and R12: signed by the agent, for this endpoint, of now, and never seen before. */
static void check_assertion(struct server *server, struct th_fetch *ask, const char *name)
{
    struct th_jwt jwt = {0};
    int64_t now_ms = th_clock_wall_ms(server->clock);

    if (th_jwt_parse(ask_param(ask, name), &jwt) != 0) {
        violate(server, "a request to %s has no %s", ask->url, name);
        return;
    }
    struct th_str jti = th_jwt_text(jwt.claims, "jti");
    if (th_jwt_verify(&jwt, server->agent_key) != 0)
        violate(server, "the client assertion is not signed by the agent's key");
    else if (!th_jwt_has_audience(jwt.claims, th_str_of(ask->url)))
        violate(server, "the client assertion is not for %s", ask->url);
    else if (th_jwt_time_ms(jwt.claims, "iat") > now_ms ||
             th_jwt_time_ms(jwt.claims, "exp") <= now_ms)
        violate(server, "the client assertion is not of now");
    for (size_t i = 0; i < server->n_jtis; i++)
        if (th_str_equal(jti, th_str_of(server->seen_jtis[i])))
            violate(server, "the jti of a client assertion was used before");
    if (jti.len < 16)
        violate(server, "the jti of a client assertion is missing or can be guessed");
    else if (server->n_jtis < TH_COUNT_OF(server->seen_jtis))
        server->seen_jtis[server->n_jtis++] = copy_text(jti.ptr, jti.len);
    th_jwt_fini(&jwt);
}

static void check_proof(struct server *server, struct th_fetch *ask)
{
    struct th_str url = th_str_of(ask->url);

    url.len = strcspn(ask->url, "?#");
    const char *why = proof_check(&server->proofs, bytes_str(&ask->dpop), "POST", url, TH_STR_NONE,
                                  th_clock_wall_ms(server->clock), &ask->proof);
    if (why != NULL)
        violate(server, "the DPoP proof at %s: %s", ask->url, why);
}

/* Where a token of which kind is due. */
static const struct due {
    const char *ask;
    const char *param;
    enum token_kind kind;
    bool may_be_signed; /* by the agent, and so be of no server */
    bool may_lack;
} dues[] = {
    {"id_jag", "subject_token", TOKEN_SUBJECT, false, false},
    {"jwt_grant", "subject_token", TOKEN_SUBJECT, false, false},
    {"token_exchange", "subject_token", TOKEN_SUBJECT, false, false},
    {"token_exchange", "actor_token", TOKEN_ACTOR, true, true},
    {"on_behalf_of", "assertion", TOKEN_SUBJECT, false, false},
    {"jwt_subject", "assertion", TOKEN_SUBJECT, false, false},
    {"jwt_bearer", "assertion", TOKEN_ID_JAG, false, false},
    {"jwt_dpop", "assertion", TOKEN_ID_JAG, false, false},
};

static const struct due *find_due(const char *kind, const char *param)
{
    for (size_t i = 0; i < TH_COUNT_OF(dues); i++)
        if (strcmp(dues[i].ask, kind) == 0 && strcmp(dues[i].param, param) == 0)
            return &dues[i];
    return NULL;
}

/* No token stands anywhere but where it belongs. */
static void check_strays(struct server *server, const struct th_fetch *ask, const char *kind)
{
    for (size_t i = 0; i < ask->n_params; i++) {
        struct th_str value = {ask->params[i].value, ask->params[i].value_len};
        const struct token *token = token_find_text(server->tokens, value);
        const struct due *due = find_due(kind, ask->params[i].name);
        if (token != NULL && (due == NULL || token->kind != due->kind))
            violate(server, "the parameter %s bears a token of another kind than is due",
                    ask->params[i].name);
    }
}

static void check_dues(struct server *server, struct th_fetch *ask, const char *kind)
{
    for (size_t i = 0; i < TH_COUNT_OF(dues); i++) {
        struct th_str value = ask_param(ask, dues[i].param);
        if (strcmp(dues[i].ask, kind) != 0 || (value.len == 0 && dues[i].may_lack) ||
            token_find_text(server->tokens, value) != NULL)
            continue;
        if (dues[i].may_be_signed)
            check_assertion(server, ask, dues[i].param);
        else
            violate(server, "a request bears a token that nobody has made");
    }
}

/* Those that RFC 8693, 2.1 lets come again. */
static bool may_repeat(const char *kind, const char *name)
{
    return strcmp(kind, "token_exchange") == 0 &&
           (strcmp(name, "audience") == 0 || strcmp(name, "resource") == 0);
}

static void check_ask(struct server *server, struct th_fetch *ask)
{
    const char *kind = ask_kind(ask);

    check_assertion(server, ask, "client_assertion");
    if (ask->dpop.ptr != NULL)
        check_proof(server, ask);
    for (size_t i = 0; i < ask->n_params; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(ask->params[i].name, ask->params[k].name) == 0 &&
                !may_repeat(kind, ask->params[i].name))
                violate(server, "the parameter %s came twice", ask->params[i].name);
    if ((ask_param(ask, "actor_token").len > 0) != (ask_param(ask, "actor_token_type").len > 0))
        violate(server, "an actor token came without its type, or that without it");
    if (strcmp(kind, "other") == 0)
        violate(server, "a request of a kind that nobody knows");
    check_strays(server, ask, kind);
    check_dues(server, ask, kind);
}

void server_check(struct server *server)
{
    for (struct th_fetch *ask = server->asks; ask != NULL; ask = ask->next) {
        if (ask->checked)
            continue;
        ask->checked = true;
        read_form(ask);
        check_ask(server, ask);
    }
}

struct th_fetch *server_oldest(const struct server *server)
{
    struct th_fetch *ask = server->asks;

    while (ask != NULL && ask->claimed)
        ask = ask->next;
    return ask;
}

size_t server_count(const struct server *server, bool id_jag_only)
{
    size_t n = 0;

    for (struct th_fetch *ask = server->asks; ask != NULL; ask = ask->next)
        n += !id_jag_only || strcmp(ask_kind(ask), "id_jag") == 0;
    return n;
}

/* --- what is answered --- */

static void copy_param(json_t *claims, const char *name, const struct th_fetch *ask)
{
    struct th_str value = ask_param(ask, name);

    if (value.len > 0)
        json_object_set_new(claims, name, json_stringn(value.ptr, value.len));
}

static json_t *id_jag_claims(const struct th_fetch *ask, const struct token *subject)
{
    struct th_jwt assertion = {0};
    json_t *claims = json_object(), *act = json_object(), *before;

    TH_REQUIRE(th_jwt_parse(ask_param(ask, "client_assertion"), &assertion) == 0);
    json_t *client = json_object_get(assertion.claims, "iss");
    json_object_set(act, "sub", client);
    before = subject != NULL ? json_object_get(subject->claims, "act") : NULL;
    if (before != NULL)
        json_object_set(act, "act", before);
    json_object_set_new(claims, "act", act);
    json_object_set(claims, "client_id", client);
    json_object_set_new(claims, "aud", json_string(ask_param(ask, "audience").ptr));
    copy_param(claims, "resource", ask);
    copy_param(claims, "scope", ask);
    if (subject != NULL)
        json_object_set(claims, "sub", json_object_get(subject->claims, "sub"));
    th_jwt_fini(&assertion);
    return claims;
}

static json_t *redeemed_claims(const struct token *id_jag)
{
    static const char *const kept[] = {"sub", "scope", "act"};
    json_t *claims = json_object();
    json_t *resource = json_object_get(id_jag->claims, "resource");

    for (size_t i = 0; i < TH_COUNT_OF(kept); i++) {
        json_t *value = json_object_get(id_jag->claims, kept[i]);
        if (value != NULL)
            json_object_set(claims, kept[i], value);
    }
    json_object_set(claims, "aud",
                    resource != NULL ? resource : json_object_get(id_jag->claims, "aud"));
    return claims;
}

static json_t *client_of(const struct th_fetch *ask)
{
    struct th_jwt assertion = {0};

    TH_REQUIRE(th_jwt_parse(ask_param(ask, "client_assertion"), &assertion) == 0);
    json_t *client = json_incref(json_object_get(assertion.claims, "iss"));
    th_jwt_fini(&assertion);
    return client;
}

struct th_str ask_client(struct th_fetch *ask)
{
    json_t *client = client_of(ask);

    snprintf(ask->client, sizeof ask->client, "%s", json_string_value(client));
    json_decref(client);
    return th_str_of(ask->client);
}

/* In one leg: the subject's, or of the client alone; for what was asked. */
static json_t *exchanged_claims(const struct th_fetch *ask, const struct token *subject)
{
    json_t *claims = json_object(), *client = client_of(ask);
    struct th_str audience = ask_param(ask, "audience");

    if (audience.len == 0)
        audience = ask_param(ask, "resource");
    if (audience.len > 0)
        json_object_set_new(claims, "aud", json_string(audience.ptr));
    json_object_set(claims, "sub",
                    subject != NULL ? json_object_get(subject->claims, "sub") : client);
    json_object_set(claims, "client_id", client);
    copy_param(claims, "scope", ask);
    json_decref(client);
    return claims;
}

/* What the request presents; NULL: a client for itself. */
static struct token *given_by(struct server *server, const struct th_fetch *ask)
{
    struct th_str given = ask_param(ask, "subject_token");

    return token_find_text(server->tokens, given.len > 0 ? given : ask_param(ask, "assertion"));
}

struct token *server_issue(struct server *server, const struct th_fetch *ask, enum token_kind kind,
                           const char *name, json_t *changes)
{
    bool is_assertion = kind == TOKEN_ID_JAG;
    bool redeems =
        strcmp(ask_kind(ask), "jwt_bearer") == 0 || strcmp(ask_kind(ask), "jwt_dpop") == 0;
    struct token *of = given_by(server, ask);
    json_int_t now = th_clock_wall_ms(server->clock) / 1000;

    if ((of == NULL && strcmp(ask_kind(ask), "client_credentials") != 0) ||
        (redeems && of->claims == NULL))
        return NULL;
    json_t *claims = is_assertion ? id_jag_claims(ask, of)
                     : redeems    ? redeemed_claims(of)
                                  : exchanged_claims(ask, of);
    json_object_set_new(claims, "iat", json_integer(now));
    json_object_set_new(claims, "exp", json_integer(now + (is_assertion ? 300 : 3600)));
    if (changes != NULL)
        json_object_update(claims, changes);
    struct token *token =
        token_add(server->tokens, kind, name, is_assertion ? "oauth-id-jag+jwt" : "at+jwt", claims);
    token->of = of;
    return token;
}

json_t *server_good_answer(const struct th_fetch *ask, const struct token *token)
{
    bool is_assertion = token->kind == TOKEN_ID_JAG;
    const char *kind = ask_kind(ask);
    json_t *answer =
        json_pack("{s:s, s:s, s:i}", "access_token", token->text, "token_type",
                  is_assertion ? "N_A" : "Bearer", "expires_in", is_assertion ? 300 : 3600);
    struct th_str requested = ask_param(ask, "requested_token_type");

    if (is_assertion || strcmp(kind, "token_exchange") == 0)
        json_object_set_new(answer, "issued_token_type",
                            json_string(requested.len > 0 ? requested.ptr : ACCESS_TOKEN));
    return answer;
}

static void settle(struct th_fetch *ask, int error)
{
    ask->answered = true;
    ask->error = error;
    if (ask->fn != NULL)
        th_worker_soon(ask->worker, &ask->soon);
}

void server_answer(struct th_fetch *ask, int status, struct th_str body, const char *content_type,
                   int64_t retry_after_ms)
{
    bytes_add_str(&ask->answer, body);
    snprintf(ask->content_type, sizeof ask->content_type, "%s", content_type);
    ask->response = (struct th_fetch_response){.status = status,
                                               .content_type = th_str_of(ask->content_type),
                                               .dpop_nonce = th_str_of(ask->nonce),
                                               .retry_after_ms = retry_after_ms,
                                               .rate_limit_reset_ms = -1,
                                               .body = bytes_str(&ask->answer)};
    settle(ask, 0);
}

void server_answer_well(struct th_fetch *ask, json_t *answer)
{
    char *text = json_dumps(answer, JSON_COMPACT);

    server_answer(ask, 200, th_str_of(text), "application/json", -1);
    json_text_free(text);
    json_decref(answer);
}

void server_fail(struct th_fetch *ask, int error)
{
    settle(ask, error);
}
