#include "client_auth.h"

#include "answer.h"
#include "tokenhop/base/check.h"

#define MAX_AHEAD_MS (3600 * INT64_C(1000))

static bool refuse_client(struct th_idp_answer *answer, const char *reason, const char *description)
{
    return th_answer_refuse(answer, "invalid_client", reason, description);
}

/* Okta's list (reference, section 2); other servers take more. */
static bool is_listed(enum th_alg alg)
{
    switch (alg) {
    case TH_JWS_RS256:
    case TH_JWS_RS384:
    case TH_JWS_RS512:
    case TH_JWS_ES256:
    case TH_JWS_ES384:
    case TH_JWS_ES512:
        return true;
    case TH_JWS_NONE:
    case TH_JWS_PS256:
    case TH_JWS_PS384:
    case TH_JWS_PS512:
    case TH_JWS_EDDSA:
        return false;
    }
    return false;
}

/* Exactly one way to authenticate, and it is the assertion. */
static bool check_method(const struct th_idp_request *request, const struct th_form *form,
                         struct th_idp_answer *answer)
{
    bool assertion = th_form_get(form, "client_assertion").len > 0 ||
                     th_form_get(form, "client_assertion_type").len > 0;
    bool secret = th_form_get(form, "client_secret").len > 0;
    bool header = request->authorization.len > 0;
    if ((int)assertion + (int)secret + (int)header > 1)
        return th_answer_refuse(answer, "invalid_request", "two_client_authentications",
                                "Cannot supply multiple client credentials.");
    if (header) {
        answer->challenge_basic = true;
        return refuse_client(answer, "client_secret_not_allowed",
                             "The client is not registered for client_secret_basic.");
    }
    if (secret)
        return refuse_client(answer, "client_secret_not_allowed",
                             "The client is not registered for client_secret_post.");
    if (!assertion)
        return refuse_client(answer, "client_unauthenticated",
                             "Client authentication is required; client_id alone is not enough.");
    if (!th_str_equal(th_form_get(form, "client_assertion_type"), TH_STR(TH_ASSERTION_TYPE)))
        return refuse_client(answer, "assertion_type", "The client_assertion_type is invalid.");
    return true;
}

static bool check_header(const json_t *header, const struct th_registry_client *client,
                         const struct th_registry_key **ret_key, struct th_idp_answer *answer)
{
    struct th_str typ = th_jwt_text(header, "typ");
    struct th_str kid = th_jwt_text(header, "kid");
    if (!is_listed(th_alg_find(th_jwt_text(header, "alg"))))
        return refuse_client(answer, "assertion_alg",
                             "The alg of the client_assertion is not supported.");
    if (json_object_get(header, "crit") != NULL)
        return refuse_client(answer, "assertion_crit",
                             "The client_assertion has extensions that are not understood.");
    if (json_object_get(header, "typ") != NULL && !th_str_equal_nocase(typ, TH_STR("JWT")) &&
        !th_str_equal(typ, TH_STR("client-authentication+jwt")))
        return refuse_client(answer, "assertion_typ",
                             "The typ of the client_assertion is invalid.");
    if (kid.len == 0)
        return refuse_client(answer, "assertion_kid_missing",
                             "The client_assertion has no kid in its header.");
    *ret_key = th_registry_find_key(client, kid);
    if (*ret_key == NULL)
        return refuse_client(answer, "assertion_kid_unknown",
                             "The kid is invalid: the client has no such key in its JWKSet.");
    return true;
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

static bool check_claims(const struct th_idp *idp, const json_t *claims, struct th_str client_id,
                         const char *audience, struct th_idp_answer *answer)
{
    struct th_str iss = th_jwt_text(claims, "iss");
    struct th_str sub = th_jwt_text(claims, "sub");
    const json_t *aud = json_object_get(claims, "aud");
    if (iss.len == 0 || !th_str_equal(iss, sub))
        return refuse_client(answer, "assertion_iss_sub",
                             "The iss and sub of the client_assertion must be the client id.");
    if (client_id.len > 0 && !th_str_equal(client_id, sub))
        return refuse_client(answer, "assertion_client_id",
                             "The client_id is not the sub of the client_assertion.");
    /* One string, as Okta's guides have it; a list would let one assertion serve two endpoints. */
    if (!json_is_string(aud) || strcmp(json_string_value(aud), audience) != 0)
        return refuse_client(answer, "assertion_aud",
                             "The aud of the client_assertion must be the URL of this endpoint.");
    if (json_object_get(claims, "jti") != NULL && th_jwt_text(claims, "jti").len == 0)
        return refuse_client(answer, "assertion_jti",
                             "The jti of the client_assertion is invalid.");
    if (idp->settings.jti_required && json_object_get(claims, "jti") == NULL)
        return refuse_client(answer, "assertion_jti", "The client_assertion has no jti.");
    return check_times(claims, th_idp_now_ms(idp), answer);
}

static bool check_replay(struct th_idp *idp, const json_t *claims,
                         const struct th_registry_client *client, struct th_idp_answer *answer)
{
    struct th_str pieces[2] = {th_str_of(client->row->client_id), th_jwt_text(claims, "jti")};
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

static bool check_assertion(struct th_idp *idp, const struct th_jwt *jwt,
                            const struct th_form *form, const char *audience,
                            struct th_idp_answer *answer)
{
    const struct th_registry_key *key = NULL;
    const struct th_registry_client *client =
        th_registry_find_client(idp->registry, th_jwt_text(jwt->claims, "sub"));
    if (client == NULL)
        return refuse_client(answer, "client_unknown", "Invalid value for client_id.");
    if (!check_header(jwt->header, client, &key, answer))
        return false;
    if (th_jwt_verify(jwt, key->key) != 0)
        return refuse_client(answer, "assertion_signature",
                             "The client_assertion signature is invalid.");
    if (!check_claims(idp, jwt->claims, th_form_get(form, "client_id"), audience, answer) ||
        !check_replay(idp, jwt->claims, client, answer) || !check_rate(idp, client, answer))
        return false;
    answer->client = client;
    return true;
}

bool th_client_auth_check(struct th_idp *idp, const struct th_idp_request *request,
                          const struct th_form *form, const char *audience,
                          struct th_idp_answer *answer)
{
    struct th_jwt jwt = {0};
    if (!check_method(request, form, answer))
        return false;
    if (th_jwt_parse(th_form_get(form, "client_assertion"), &jwt) != 0)
        return refuse_client(answer, "assertion_malformed", "The client_assertion is not a JWT.");
    bool fine = check_assertion(idp, &jwt, form, audience, answer);
    th_jwt_fini(&jwt);
    return fine;
}
