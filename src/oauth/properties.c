#include "properties.h"

#include "issued.h"
#include "testdata.h"
#include "token_endpoint.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/oauth/jose.h"
#include "tokenhop/oauth/jwks.h"
#include "tokenhop/oauth/metadata.h"
#include "tokenhop/oauth/subject.h"

#define WALL_MS INT64_C(1700000000000)
#define ISSUER "https://example.okta.com"
#define NOBODYS_TOKEN "eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl"

static const struct th_config_authorization_server server = {.name = TH_STR("org"),
                                                             .issuer = TH_STR(ISSUER)};
static const struct th_config_agent agent = {.client_id = TH_STR("wlpA1"),
                                             .resource = TH_STR("https://agent1.example.com"),
                                             .server = &server};
static const struct th_str scopes[] = {TH_STR("chat.read"), TH_STR("chat.history")};
static const struct th_config_connection connection = {
    .server = &server,
    .audience = TH_STR("https://example.okta.com/oauth2/aus1"),
    .resource = TH_STR("https://agent2.example.com"),
    .scopes = scopes,
    .n_scopes = 2,
    .issued_checks = {true, true, true, true},
};

static void check_text(const char *text, size_t size)
{
    size_t len = strnlen(text, size);
    TH_REQUIRE(len < size);
    for (size_t i = 0; i < len; i++)
        TH_REQUIRE(text[i] >= 0x20 && text[i] < 0x7f);
}

static void check_key(const char *bytes, size_t len)
{
    struct th_key *key, *again;
    struct th_errinfo err = {0};
    int error = th_key_parse((struct th_str){bytes, len}, &key, &err);
    if (error != 0) {
        TH_REQUIRE(err.error == error && err.what[0] != '\0');
        return;
    }
    struct th_buf one, two;
    th_buf_init(&one, 100);
    th_buf_init(&two, 100);
    json_t *jwk = th_key_to_public_jwk(key, th_key_kid(key), TH_JWS_NONE);
    /* a name that is no UTF-8 has no place in JSON, but a JWK's kid was in some */
    TH_REQUIRE(jwk != NULL && json_object_get(jwk, "d") == NULL);
    TH_REQUIRE(th_key_from_jwk(jwk, &again, NULL) == 0 && !th_key_is_private(again));
    TH_REQUIRE(th_key_thumbprint(key, &one) == 0 && th_key_thumbprint(again, &two) == 0);
    TH_REQUIRE(th_str_equal(th_buf_str(&one), th_buf_str(&two)));
    th_buf_fini(&one);
    th_buf_fini(&two);
    json_decref(jwk);
    th_key_unref(key);
    th_key_unref(again);
}

/* A signature that holds is one that was made: by the algorithm of the key, spelled in one way. */
static void check_signature(const struct th_jwt *jwt)
{
    static const char *const keys[] = {"{" RFC7515_A2_PUBLIC "}", "{" RFC7515_A3_PUBLIC "}",
                                       "{" RFC8037_PUBLIC "}"};
    for (size_t i = 0; i < TH_COUNT_OF(keys); i++) {
        struct th_key *key;
        struct th_buf bytes, text;
        TH_REQUIRE(th_key_parse(th_str_of(keys[i]), &key, NULL) == 0);
        if (th_jwt_verify(jwt, key) == 0) {
            th_buf_init(&bytes, 4096);
            th_buf_init(&text, 4096);
            TH_REQUIRE(th_key_fits(key, th_alg_find(th_jwt_text(jwt->header, "alg"))));
            TH_REQUIRE(th_base64url_decode(&bytes, jwt->signature) == 0);
            th_base64url_encode(&text, bytes.ptr, bytes.len);
            TH_REQUIRE(th_str_equal(th_buf_str(&text), jwt->signature));
            th_buf_fini(&bytes);
            th_buf_fini(&text);
        }
        th_key_unref(key);
    }
}

static void check_subject(struct th_str token)
{
    struct th_subject subject;
    struct th_errinfo err = {0};
    int error = th_subject_inspect(token, &agent, TH_SUBJECT_AUTO, WALL_MS, &subject, &err);
    if (error != 0) {
        TH_REQUIRE(err.error == error && th_error_get(error)->status == 401);
        TH_REQUIRE(token.len < 16 ||
                   memmem(err.what, strlen(err.what), token.ptr, token.len) == NULL);
        return;
    }
    TH_REQUIRE(th_subject_is_token68(token));
    TH_REQUIRE(subject.type != TH_SUBJECT_AUTO && subject.chain <= 32);
    TH_REQUIRE(subject.expires_wall_ms == -1 || subject.expires_wall_ms > WALL_MS);
    check_text(subject.iss, sizeof subject.iss);
    check_text(subject.sub, sizeof subject.sub);
}

static void check_issued(const struct th_plan_leg *row, const struct th_config_connection *of,
                         const json_t *answer, struct th_str token)
{
    struct th_jwt jwt = {0};
    const char *why = NULL;
    int error = th_jwt_parse(token, &jwt);
    TH_REQUIRE(error == 0 || jwt.claims == NULL); /* opaque */
    const struct th_issued issued = {.agent = &agent,
                                     .connection = of,
                                     .subject_type = TH_SUBJECT_ACCESS_TOKEN,
                                     .subject = jwt.claims,
                                     .header = jwt.header,
                                     .claims = jwt.claims,
                                     .answer = answer};
    error = row->check != NULL ? row->check(&issued, &why) : 0;
    TH_REQUIRE((error == 0) == (why == NULL));
    if (row->note != NULL)
        (void)row->note(&issued);
    TH_REQUIRE(th_issued_lifetime_ms(TH_ANSWER_EXPIRES_ABSENT, jwt.claims, WALL_MS) >= 0);
    th_jwt_fini(&jwt);
}

void th_property_token(const char *bytes, size_t len)
{
    struct th_str token = {bytes, len};
    struct th_jwt jwt;
    if (len > 0 && (bytes[0] == '{' || bytes[0] == '-')) {
        check_key(bytes, len);
        return;
    }
    check_subject(token);
    int error = th_jwt_parse(token, &jwt);
    if (error != 0) {
        TH_REQUIRE(error == TH_E_SUBJECT_MALFORMED);
        return;
    }
    check_signature(&jwt);
    th_jwt_fini(&jwt);
    json_t *answer = json_object();
    struct th_plan_legs legs;
    th_plan_select(&connection, &legs);
    for (size_t i = 0; i < legs.n; i++)
        check_issued(legs.items[i], &connection, answer, token);
    json_decref(answer);
}

/* No line's end, and nothing that a template could not name. */
static void check_values(const struct th_values *values)
{
    for (size_t i = 0; values != NULL && i < values->n; i++) {
        struct th_str text = th_secret_expose(values->items[i].secret);
        TH_REQUIRE(th_value_name_is_fine(th_str_of(values->items[i].name)));
        TH_REQUIRE(text.len <= TH_VALUE_LEN_MAX && memchr(text.ptr, '\n', text.len) == NULL &&
                   memchr(text.ptr, '\r', text.len) == NULL &&
                   memchr(text.ptr, '\0', text.len) == NULL);
    }
}

void th_property_token_response(const char *bytes, size_t len)
{
    static const int statuses[] = {200, 400, 401, 429, 500, 503, 302, 204};
    if (len < 2)
        return;
    /* The two legs of an ID-JAG, then the one of each other type. */
    static const enum th_resource_type types[] = {
        TH_TYPE_AGENT_TO_AGENT,  TH_TYPE_AGENT_TO_AGENT,    TH_TYPE_SECRET,
        TH_TYPE_SERVICE_ACCOUNT, TH_TYPE_RESOURCE_SERVER,   TH_TYPE_TOKEN_EXCHANGE,
        TH_TYPE_ON_BEHALF_OF,    TH_TYPE_CLIENT_CREDENTIALS};
    size_t index = (unsigned char)(bytes[0] - '0') % TH_COUNT_OF(types);
    struct th_config_connection other = connection;
    struct th_plan_legs legs;
    other.type = types[index];
    th_plan_select(&other, &legs);
    const struct th_plan_leg *row = legs.items[index == 1 ? 1 : 0];
    const struct th_fetch_response response = {
        .status = statuses[(unsigned char)bytes[1] & 7],
        .content_type = TH_STR("application/json"),
        .retry_after_ms = -1,
        .rate_limit_reset_ms = 1000,
        .body = {bytes + 2, len - 2},
    };
    struct th_token_answer answer;
    th_token_answer_read(&response, row, TH_STR(ISSUER), &answer);
    check_text(answer.why, sizeof answer.why);
    check_text(answer.oauth_error, sizeof answer.oauth_error);
    check_text(answer.interaction_uri, sizeof answer.interaction_uri);
    check_text(answer.challenge, sizeof answer.challenge);
    TH_REQUIRE(strstr(answer.why, "eyJ") == NULL);
    TH_REQUIRE((answer.error == 0) == (answer.token != NULL || answer.values != NULL));
    TH_REQUIRE(answer.values == NULL || row->object != NULL);
    if (answer.error == 0) {
        TH_REQUIRE(response.status == 200);
        check_values(answer.values);
        TH_REQUIRE(answer.token == NULL || th_subject_is_token68(th_secret_expose(answer.token)));
        TH_REQUIRE(answer.expires_in_ms >= TH_ANSWER_EXPIRES_ABSENT &&
                   answer.expires_in_ms <= TH_ANSWER_EXPIRES_MAX_MS);
        if (answer.token != NULL)
            check_issued(row, &other, answer.object, th_secret_expose(answer.token));
    } else {
        int status = th_error_get(answer.error)->status;
        TH_REQUIRE(answer.why[0] != '\0' && status >= 400);
        /* R28: only what the server says of the subject by name */
        TH_REQUIRE(status >= 500 || answer.oauth_error[0] != '\0');
    }
    if (answer.interaction_uri[0] != '\0')
        TH_REQUIRE(answer.error == TH_E_INTERACTION &&
                   strncasecmp(answer.interaction_uri, ISSUER, strlen(ISSUER)) == 0);
    th_token_answer_fini(&answer);
}

static void check_metadata(struct th_str text, bool allow_cleartext)
{
    const struct th_metadata *m;
    const char *why = NULL;
    int error = th_metadata_parse(text, TH_STR(ISSUER), allow_cleartext, &m, &why);
    if (error != 0) {
        TH_REQUIRE(error == TH_E_EXCHANGE_FAILED && why != NULL);
        return;
    }
    const struct th_str endpoints[] = {m->token_endpoint, m->revocation_endpoint, m->jwks_uri};
    TH_REQUIRE(th_str_equal(m->issuer, TH_STR(ISSUER)));
    for (size_t i = 0; i < TH_COUNT_OF(endpoints); i++) {
        struct th_str at = endpoints[i];
        TH_REQUIRE(at.len == 0 || strlen(at.ptr) == at.len);
        TH_REQUIRE(at.len == 0 || strncasecmp(at.ptr, "https://", 8) == 0 ||
                   (allow_cleartext && strncasecmp(at.ptr, "http://", 7) == 0));
    }
    TH_REQUIRE(m->grant_types.n == 0 || m->grant_types.items != NULL);
    th_metadata_unref(m);
}

static void check_jwks(struct th_str text)
{
    const struct th_jwks *jwks;
    const char *why = NULL;
    int error = th_jwks_parse(text, &jwks, &why);
    if (error != 0) {
        TH_REQUIRE(error == TH_E_EXCHANGE_FAILED && why != NULL);
        return;
    }
    struct th_jwt jwt;
    TH_REQUIRE(jwks->n_keys <= TH_JWKS_KEYS_MAX);
    TH_REQUIRE(th_jwt_parse(TH_STR(NOBODYS_TOKEN), &jwt) == 0);
    for (size_t i = 0; i < jwks->n_keys; i++)
        TH_REQUIRE(!th_key_is_private(jwks->keys[i]));
    TH_REQUIRE(th_jwks_verify(jwks, &jwt) != 0);
    th_jwt_fini(&jwt);
    th_jwks_unref(jwks);
}

void th_property_document(const char *bytes, size_t len)
{
    if (len > 0 && bytes[0] == 'M') {
        check_metadata((struct th_str){bytes + 1, len - 1}, false);
        check_metadata((struct th_str){bytes + 1, len - 1}, true);
    } else {
        check_jwks((struct th_str){bytes, len});
    }
}
