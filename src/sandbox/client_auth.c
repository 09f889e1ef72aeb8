#include "client_auth.h"

#include "answer.h"
#include "certificate.h"
#include "provider.h"
#include "tokenhop/base/check.h"
#include "tokenhop/oauth/mac.h"

#define MAX_AHEAD_MS (3600 * INT64_C(1000))
#define BASIC_MAX 8192

/* A client as the server that was asked knows it. */
struct registered {
    const struct th_registry_client *client;
    const struct th_registry_registration *registration; /* NULL: at Okta's servers */
    struct th_str id;
    enum th_client_method method;
    const struct th_secret *secret;
    const struct th_provider_row *provider; /* NULL: Okta's */
};

/* Each client is registered for one method at a server; what else is right of another is refused. False:
 * nobody has this id there. */
static bool find_registered(const struct th_idp *idp, const struct th_idp_request *request,
                            struct th_str client_id, struct registered *ret)
{
    const struct th_provider_row *provider = th_provider_of(request->server);
    memset(ret, 0, sizeof *ret);
    ret->provider = provider;
    if (provider != NULL) {
        ret->registration = th_registry_find_registration(request->server, client_id);
        if (ret->registration == NULL)
            return false;
        ret->client = ret->registration->client;
        ret->id = th_str_of(ret->registration->row->client_id);
        ret->method = ret->registration->row->method;
        ret->secret = ret->registration->secret;
        return true;
    }
    ret->client = th_registry_find_client(idp->registry, client_id);
    if (ret->client == NULL)
        return false;
    ret->id = th_str_of(ret->client->row->client_id);
    ret->method = ret->client == &idp->registry->clients[TH_CLIENT_AGENT1]
                      ? (enum th_client_method)idp->settings.agent1_auth_method
                      : TH_CLIENT_BY_KEY;
    ret->secret = ret->client->secret;
    return true;
}

static bool refuse_client(struct th_idp_answer *answer, const char *reason, const char *description)
{
    return th_answer_refuse(answer, "invalid_client", reason, description);
}

/* Okta's list (reference, section 2); other servers take more, Entra less. */
static bool is_listed(enum th_alg alg, const struct registered *who)
{
    if (who->method == TH_CLIENT_BY_CERTIFICATE)
        return alg == TH_JWS_RS256 || alg == TH_JWS_PS256;
    switch (alg) {
    case TH_JWS_RS256:
    case TH_JWS_RS384:
    case TH_JWS_RS512:
    case TH_JWS_ES256:
    case TH_JWS_ES384:
    case TH_JWS_ES512:
        return true;
    case TH_JWS_PS256:
    case TH_JWS_PS384:
    case TH_JWS_PS512:
    case TH_JWS_EDDSA:
        return who->provider != NULL;
    case TH_JWS_NONE:
        return false;
    }
    return false;
}

/* At most one way to authenticate (RFC 6749, 2.3). */
static bool check_ways(bool assertion, bool secret, bool header, struct th_idp_answer *answer)
{
    if ((int)assertion + (int)secret + (int)header <= 1)
        return true;
    return th_answer_refuse(answer, "invalid_request", "two_client_authentications",
                            "Cannot supply multiple client credentials.");
}

static bool check_header(const json_t *header, const struct registered *who,
                         struct th_idp_answer *answer)
{
    struct th_str typ = th_jwt_text(header, "typ");
    struct th_str alg = th_jwt_text(header, "alg");
    bool fits = who->method == TH_CLIENT_BY_SECRET_JWT ? th_mac_find(alg) != TH_MAC_NONE
                                                       : is_listed(th_alg_find(alg), who);
    if (!fits)
        return refuse_client(answer, "assertion_alg",
                             "The alg of the client_assertion is not supported.");
    if (json_object_get(header, "crit") != NULL)
        return refuse_client(answer, "assertion_crit",
                             "The client_assertion has extensions that are not understood.");
    if (json_object_get(header, "typ") != NULL && !th_str_equal_nocase(typ, TH_STR("JWT")) &&
        !th_str_equal(typ, TH_STR("client-authentication+jwt")))
        return refuse_client(answer, "assertion_typ",
                             "The typ of the client_assertion is invalid.");
    return true;
}

/* By a key of the client's JWKSet, which the kid names. */
static bool check_key_signature(const struct th_jwt *jwt, const struct registered *who,
                                struct th_idp_answer *answer)
{
    struct th_str kid = th_jwt_text(jwt->header, "kid");
    if (kid.len == 0)
        return refuse_client(answer, "assertion_kid_missing",
                             "The client_assertion has no kid in its header.");
    const struct th_registry_key *key = th_registry_find_key(who->client, kid);
    if (key == NULL)
        return refuse_client(answer, "assertion_kid_unknown",
                             "The kid is invalid: the client has no such key in its JWKSet.");
    if (th_jwt_verify(jwt, key->key) != 0)
        return refuse_client(answer, "assertion_signature",
                             "The client_assertion signature is invalid.");
    return true;
}

static bool check_secret_signature(const struct th_jwt *jwt, const struct registered *who,
                                   struct th_idp_answer *answer)
{
    if (th_jwt_verify_mac(jwt, who->secret) != 0)
        return refuse_client(answer, "assertion_signature",
                             "The client_assertion signature is invalid.");
    return true;
}

/* Entra finds the key by the certificate's digest; either will do, and what is there must be right. */
static bool check_certificate_signature(const struct th_jwt *jwt, const struct registered *who,
                                        struct th_idp_answer *answer)
{
    const struct th_registry_registration *own = who->registration;
    struct th_str x5t = th_jwt_text(jwt->header, "x5t");
    struct th_str s256 = th_jwt_text(jwt->header, "x5t#S256");
    if (x5t.len == 0 && s256.len == 0)
        return refuse_client(answer, "assertion_x5t_missing",
                             "The client_assertion names no certificate.");
    if ((x5t.len > 0 && !th_str_equal(x5t, th_str_of(own->x5t))) ||
        (s256.len > 0 && !th_str_equal(s256, th_str_of(own->x5t_s256))))
        return refuse_client(answer, "assertion_x5t_unknown",
                             "The certificate of the client_assertion is not registered.");
    if (th_jwt_verify(jwt, own->client->keys[0].key) != 0)
        return refuse_client(answer, "assertion_signature",
                             "The client_assertion signature is invalid.");
    return true;
}

static bool check_signature(const struct th_jwt *jwt, const struct registered *who,
                            struct th_idp_answer *answer)
{
    switch (who->method) {
    case TH_CLIENT_BY_KEY:
        return check_key_signature(jwt, who, answer);
    case TH_CLIENT_BY_SECRET_JWT:
        return check_secret_signature(jwt, who, answer);
    case TH_CLIENT_BY_CERTIFICATE:
        return check_certificate_signature(jwt, who, answer);
    case TH_CLIENT_BY_BASIC:
    case TH_CLIENT_BY_POST:
    case TH_CLIENT_BY_NOTHING:
    case TH_CLIENT_BY_TLS:
        break;
    }
    return refuse_client(answer, "assertion_not_allowed",
                         "The client is not registered for a client_assertion.");
}

static bool check_times(const json_t *claims, int64_t now_ms, struct th_idp_answer *answer)
{
    int64_t exp = th_jwt_time_ms(claims, "exp");
    int64_t iat = th_jwt_time_ms(claims, "iat");
    int64_t nbf = th_jwt_time_ms(claims, "nbf");
    if (exp < 0)
        return refuse_client(answer, "assertion_exp_missing", "The client_assertion has no exp.");
    if (exp <= now_ms)
        return refuse_client(answer, "assertion_expired", "The client_assertion token is expired.");
    if (exp > now_ms + MAX_AHEAD_MS)
        return refuse_client(answer, "assertion_exp_far",
                             "The client_assertion expires more than an hour ahead.");
    if (json_object_get(claims, "iat") != NULL && (iat < 0 || iat > now_ms))
        return refuse_client(answer, "assertion_iat",
                             "The client_assertion was issued in the future.");
    if (json_object_get(claims, "nbf") != NULL && (nbf < 0 || nbf > now_ms))
        return refuse_client(answer, "assertion_nbf", "The client_assertion is not valid yet.");
    return true;
}

/* One string, as Okta's guides have it; a list would let one assertion serve two endpoints. Many others
 * take their issuer as well. */
static bool is_for(const json_t *claims, const char *audience, const char *issuer)
{
    const char *aud = json_string_value(json_object_get(claims, "aud"));
    return aud != NULL &&
           (strcmp(aud, audience) == 0 || (issuer != NULL && strcmp(aud, issuer) == 0));
}

static bool check_claims(const struct th_idp *idp, const json_t *claims,
                         const struct registered *who, struct th_str client_id,
                         const char *audience, const char *issuer, struct th_idp_answer *answer)
{
    struct th_str iss = th_jwt_text(claims, "iss");
    struct th_str sub = th_jwt_text(claims, "sub");
    if (iss.len == 0 || !th_str_equal(iss, sub))
        return refuse_client(answer, "assertion_iss_sub",
                             "The iss and sub of the client_assertion must be the client id.");
    if (client_id.len > 0 && !th_str_equal(client_id, sub))
        return refuse_client(answer, "assertion_client_id",
                             "The client_id is not the sub of the client_assertion.");
    if (!is_for(claims, audience, issuer))
        return refuse_client(answer, "assertion_aud",
                             "The aud of the client_assertion must be the URL of this endpoint.");
    if (json_object_get(claims, "jti") != NULL && th_jwt_text(claims, "jti").len == 0)
        return refuse_client(answer, "assertion_jti",
                             "The jti of the client_assertion is invalid.");
    if (idp->settings.jti_required && json_object_get(claims, "jti") == NULL)
        return refuse_client(answer, "assertion_jti", "The client_assertion has no jti.");
    if (who->method == TH_CLIENT_BY_CERTIFICATE && json_object_get(claims, "nbf") == NULL)
        return refuse_client(answer, "assertion_nbf", "The client_assertion has no nbf.");
    return check_times(claims, th_idp_now_ms(idp), answer);
}

static bool check_replay(struct th_idp *idp, const json_t *claims, const struct registered *who,
                         struct th_idp_answer *answer)
{
    struct th_str pieces[2] = {who->id, th_jwt_text(claims, "jti")};
    if (pieces[1].len == 0)
        return true;
    if (th_ledger_find(&idp->assertions, pieces, 2) != NULL)
        return refuse_client(answer, "assertion_replayed",
                             "The client_assertion with this jti was used before.");
    int e = th_ledger_add(&idp->assertions, pieces, 2, th_jwt_time_ms(claims, "exp"),
                          th_idp_now_ms(idp), NULL);
    return e == 0 || th_answer_fail(answer, e);
}

/* The request limit of a minute counts only what was authenticated: nobody spends another's. */
static bool check_rate(struct th_idp *idp, const struct th_registry_client *client,
                       struct th_idp_answer *answer)
{
    int64_t minute = th_idp_now_ms(idp) / 60000;
    if (minute != idp->rate_minute) {
        idp->rate_minute = minute;
        memset(idp->rate_count, 0, sizeof idp->rate_count);
    }
    long *count = &idp->rate_count[client - idp->registry->clients];
    ++*count;
    if (idp->settings.rate_limit > 0 && *count > idp->settings.rate_limit)
        return th_answer_refuse(answer, "too_many_requests", "rate_limit",
                                "API call exceeded rate limit due to too many requests.");
    return true;
}

static bool accept(const struct registered *who, struct th_idp *idp, struct th_idp_answer *answer)
{
    if (!check_rate(idp, who->client, answer))
        return false;
    answer->client = who->client;
    answer->registration = who->registration;
    return true;
}

static bool check_assertion(struct th_idp *idp, const struct th_idp_request *request,
                            const struct th_jwt *jwt, const struct th_form *form,
                            const char *audience, struct th_idp_answer *answer)
{
    struct registered who;
    if (!find_registered(idp, request, th_jwt_text(jwt->claims, "sub"), &who))
        return refuse_client(answer, "client_unknown", "Invalid value for client_id.");
    const char *issuer =
        who.provider != NULL && who.provider->issuer_is_audience ? request->server->issuer : NULL;
    return check_header(jwt->header, &who, answer) && check_signature(jwt, &who, answer) &&
           check_claims(idp, jwt->claims, &who, th_form_get(form, "client_id"), audience, issuer,
                        answer) &&
           check_replay(idp, jwt->claims, &who, answer) && accept(&who, idp, answer);
}

static bool check_assertion_text(struct th_idp *idp, const struct th_idp_request *request,
                                 const struct th_form *form, const char *audience,
                                 struct th_idp_answer *answer)
{
    struct th_jwt jwt = {0};
    if (!th_str_equal(th_form_get(form, "client_assertion_type"), TH_STR(TH_ASSERTION_TYPE)))
        return refuse_client(answer, "assertion_type", "The client_assertion_type is invalid.");
    if (th_jwt_parse(th_form_get(form, "client_assertion"), &jwt) != 0)
        return refuse_client(answer, "assertion_malformed", "The client_assertion is not a JWT.");
    bool fine = check_assertion(idp, request, &jwt, form, audience, answer);
    th_jwt_fini(&jwt);
    return fine;
}

/* A client and its secret, which came by `method`. */
static bool check_secret(struct th_idp *idp, const struct th_idp_request *request,
                         enum th_client_method method, struct th_str client_id,
                         struct th_str secret, struct th_idp_answer *answer)
{
    struct registered who;
    if (!find_registered(idp, request, client_id, &who))
        return refuse_client(answer, "client_unknown", "Invalid value for client_id.");
    if (who.method != method || who.secret == NULL)
        return refuse_client(answer, "client_secret_not_allowed",
                             method == TH_CLIENT_BY_BASIC
                                 ? "The client is not registered for client_secret_basic."
                                 : "The client is not registered for client_secret_post.");
    struct th_str own = th_secret_expose(who.secret);
    if (own.len != secret.len || !th_secret_equal_bytes(own.ptr, secret.ptr, own.len))
        return refuse_client(answer, "client_secret_wrong", "The client secret is invalid.");
    return accept(&who, idp, answer);
}

/* RFC 7617 and RFC 6749, 2.3.1: "Basic", and in Base64 id and secret, each form-encoded, with a colon
 * between. False: malformed. `room` holds what the texts point to. */
static bool decode_basic(struct th_str field, struct th_buf *room, struct th_str *ret_id,
                         struct th_str *ret_secret)
{
    struct th_str basic = TH_STR("Basic ");
    if (field.len <= basic.len || field.len > BASIC_MAX / 2 ||
        !th_str_equal_nocase((struct th_str){field.ptr, basic.len}, basic))
        return false;
    struct th_str text = {field.ptr + basic.len, field.len - basic.len};
    if (text.len % 4 != 0)
        return false;
    for (int i = 0; i < 2 && text.ptr[text.len - 1] == '='; i++)
        text.len--;
    struct th_buf url; /* the decoder at hand is that of the other alphabet */
    th_buf_init_secret(&url, BASIC_MAX);
    bool fine = true;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        fine = fine && c != '-' && c != '_';
        th_buf_add_char(&url, c == '+' ? '-' : c == '/' ? '_' : c);
    }
    fine = fine && !url.failed && th_base64url_decode(room, th_buf_str(&url)) == 0 && room->len > 0;
    th_buf_fini(&url);
    char *colon = fine ? memchr(room->ptr, ':', room->len) : NULL;
    if (colon == NULL)
        return false;
    char *id_at = room->ptr, *secret_at = colon + 1; /* in place: decoding never grows */
    struct th_str id = {id_at, (size_t)(colon - id_at)};
    struct th_str secret = {secret_at, room->len - id.len - 1};
    return th_form_decode(id, &id_at, ret_id) && th_form_decode(secret, &secret_at, ret_secret);
}

static bool check_basic(struct th_idp *idp, const struct th_idp_request *request,
                        const struct th_form *form, struct th_idp_answer *answer)
{
    struct th_str id, secret, beside = th_form_get(form, "client_id");
    struct th_buf room;
    bool fine;
    th_buf_init_secret(&room, BASIC_MAX);
    if (!decode_basic(request->authorization, &room, &id, &secret))
        fine = refuse_client(answer, "basic_malformed", "The Authorization field is malformed.");
    else if (beside.len > 0 && !th_str_equal(beside, id))
        fine = refuse_client(answer, "client_id_differs",
                             "The client_id is not that of the Authorization field.");
    else
        fine = check_secret(idp, request, TH_CLIENT_BY_BASIC, id, secret, answer);
    th_buf_fini(&room);
    answer->challenge_basic = !fine;
    return fine;
}

/* Registered is a key; whatever certificate of it is shown, who shows it has the key. */
static bool check_certificate(const struct th_idp_request *request, const struct registered *who,
                              struct th_idp_answer *answer)
{
    if (request->certificate == NULL)
        return refuse_client(answer, "certificate_missing",
                             "The client must show its certificate in TLS.");
    if (!th_sandbox_certificate_is_of(request->certificate, who->client->keys[0].file))
        return refuse_client(answer, "certificate_unknown",
                             "The certificate is of another key than the client's.");
    return true;
}

static bool check_nothing(struct th_idp *idp, const struct th_idp_request *request,
                          const struct th_form *form, struct th_idp_answer *answer)
{
    struct registered who;
    bool is_known = find_registered(idp, request, th_form_get(form, "client_id"), &who);
    if (is_known && who.method == TH_CLIENT_BY_TLS)
        return check_certificate(request, &who, answer) && accept(&who, idp, answer);
    if (!is_known || who.method != TH_CLIENT_BY_NOTHING)
        return refuse_client(answer, "client_unauthenticated",
                             "Client authentication is required; client_id alone is not enough.");
    return accept(&who, idp, answer);
}

bool th_client_auth_check(struct th_idp *idp, const struct th_idp_request *request,
                          const struct th_form *form, const char *audience,
                          struct th_idp_answer *answer)
{
    const struct th_provider_row *provider = th_provider_of(request->server);
    struct th_str secret = th_form_get(form, "client_secret");
    bool has_assertion = th_form_get(form, "client_assertion").len > 0 ||
                         th_form_get(form, "client_assertion_type").len > 0;
    bool has_header = request->authorization.len > 0;
    if (!check_ways(has_assertion, secret.len > 0, has_header, answer))
        return false;
    if (provider != NULL && provider->anonymous && (has_header || secret.len > 0 || has_assertion))
        return refuse_client(answer, "client_authenticated", "No client is registered here.");
    if (provider != NULL && provider->anonymous)
        return true;
    if (has_header)
        return check_basic(idp, request, form, answer);
    if (secret.len > 0)
        return check_secret(idp, request, TH_CLIENT_BY_POST, th_form_get(form, "client_id"), secret,
                            answer);
    if (has_assertion)
        return check_assertion_text(idp, request, form, audience, answer);
    return check_nothing(idp, request, form, answer);
}
