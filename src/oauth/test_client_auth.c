/* What of an agent's authentication goes over the wire, for every method; and the change of keys. */
#include <stdlib.h>

#include "refused.h"
#include "test_bench.h"
#include "tokenhop/base/check.h"
#include "tokenhop/oauth/mac.h"

#define SECRET "0123456789abcdef 0123456789abcde:%+&=~"

static void open_with(struct bench *b, struct tokens *t, enum th_auth_method method,
                      enum th_signing_alg alg, const char *secret)
{
    bench_open(b, ES256_KEY, TH_ALG_ES256, NULL);
    tokens_open(t);
    struct th_config_auth *auth = &b->world.agent.auth;
    auth->key = th_secret_unref(auth->key);
    *auth = (struct th_config_auth){.method = method,
                                    .alg = alg,
                                    .secret = secret != NULL ? th_secret_new(secret, strlen(secret))
                                                             : NULL};
}

static void close_with(struct bench *b, struct tokens *t)
{
    struct th_config_auth *auth = &b->world.agent.auth;
    auth->secret = th_secret_unref(auth->secret);
    tokens_close(t);
    bench_close(b);
}

static void assert_no_field(const struct bench *b, size_t request, const char *name)
{
    char *value = field(b, request, name);
    if (value != NULL)
        fail_msg("request %zu has %s", request, name);
}

/* The second leg authenticates as the first does. */
static void run_both(struct bench *b, struct tokens *t)
{
    start(b, t->subject.ptr);
    settle(b);
    answer(b, 200, ID_JAG_OK, t->id_jag.ptr);
    answer(b, 200, ACCESS_OK, t->access.ptr);
    if (b->result.error != 0)
        fail_msg("%s", b->result.detail);
    assert_int_equal(b->n_asked, 2);
}

/* RFC 6749, 2.3.1: form-encoded one by one, so that the one colon left is the one between. */
static void basic(void **state)
{
    (void)state;
    static const struct {
        const char *id, *secret, *want;
    } cases[] = {
        /* base64 of "wlpA1:s" */
        {"wlpA1", "s", "Basic d2xwQTE6cw=="},
        /* of "https%3A%2F%2Fa.example%2Fid:a+b%3Ac%25d%2B%2F%26%3D%7E*-._" */
        {"https://a.example/id", "a b:c%d+/&=~*-._",
         "Basic aHR0cHMlM0ElMkYlMkZhLmV4YW1wbGUlMkZpZDphK2IlM0FjJTI1ZCUyQiUyRiUyNiUzRCU3RSotLl8="},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct bench b;
        struct tokens t;
        open_with(&b, &t, TH_AUTH_CLIENT_SECRET_BASIC, TH_ALG_UNSAID, cases[i].secret);
        b.world.agent.client_id = th_str_of(cases[i].id);
        start(&b, "opaque");
        assert_int_equal(b.n_asked, 1);
        assert_string_equal(b.asked[0].authorization, cases[i].want);
        assert_no_field(&b, 0, "client_id");
        assert_no_field(&b, 0, "client_secret");
        assert_no_field(&b, 0, "client_assertion");
        assert_no_field(&b, 0, "client_assertion_type");
        close_with(&b, &t);
    }
}

static void in_the_form(void **state)
{
    (void)state;
    struct bench b;
    struct tokens t;
    open_with(&b, &t, TH_AUTH_CLIENT_SECRET_POST, TH_ALG_UNSAID, SECRET);
    run_both(&b, &t);
    for (size_t i = 0; i < 2; i++) {
        assert_null(b.asked[i].authorization);
        assert_field(&b, i, "client_id", "wlpA1");
        assert_field(&b, i, "client_secret", SECRET);
        assert_no_field(&b, i, "client_assertion");
    }
    close_with(&b, &t);
    open_with(&b, &t, TH_AUTH_NONE, TH_ALG_UNSAID, NULL);
    run_both(&b, &t);
    for (size_t i = 0; i < 2; i++) {
        assert_null(b.asked[i].authorization);
        assert_field(&b, i, "client_id", "wlpA1");
        assert_no_field(&b, i, "client_secret");
        assert_no_field(&b, i, "client_assertion");
    }
    close_with(&b, &t);
}

/* RFC 7515, 4.1.7 and 4.1.8: one digest, never both; nbf only where the server asks for it. */
static void by_certificate_digest(void **state)
{
    (void)state;
    struct th_identity identity = {.sha256 = {0xfb, 0xff}, .sha1 = {0xfb, 0xff}};
    static const struct {
        enum th_x5t x5t;
        const char *kid, *name, *digest, *absent;
    } cases[] = {
        {TH_X5T_S256, "", "x5t#S256", "-_8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "x5t"},
        {TH_X5T_SHA1, "", "x5t", "-_8AAAAAAAAAAAAAAAAAAAAAAAA", "x5t#S256"},
        {TH_X5T_S256, "k1", "x5t#S256", "-_8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "x5t"},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct bench b;
        struct th_jwt jwt;
        bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
        b.world.agent.auth.identity = &identity;
        b.world.agent.auth.x5t = cases[i].x5t;
        b.world.agent.auth.kid = th_str_of(cases[i].kid);
        b.world.org.assertion_nbf = i == 0;
        start(&b, "opaque");
        assert_int_equal(b.n_asked, 1);
        char *assertion = field(&b, 0, "client_assertion");
        assert_non_null(assertion);
        assert_int_equal(th_jwt_parse(th_str_of(assertion), &jwt), 0);
        assert_true(
            th_str_equal(th_jwt_text(jwt.header, cases[i].name), th_str_of(cases[i].digest)));
        assert_null(json_object_get(jwt.header, cases[i].absent));
        assert_int_equal(json_object_get(jwt.header, "kid") != NULL, cases[i].kid[0] != '\0');
        assert_int_equal(th_jwt_time_ms(jwt.claims, "nbf"), i == 0 ? NOW_MS - 5000 : -1);
        th_jwt_fini(&jwt);
        free(assertion);
        bench_close(&b);
    }
}

/* The parts of a client assertion that the secret signs; returns its jti, to be freed. */
static char *check_signed(const struct bench *b, size_t request, const char *audience,
                          const char *secret_text, const char *alg, const char *typ)
{
    struct th_jwt jwt;
    struct th_secret *secret = th_secret_new(secret_text, strlen(secret_text));
    char *assertion = field(b, request, "client_assertion");
    assert_non_null(assertion);
    assert_int_equal(th_jwt_parse(th_str_of(assertion), &jwt), 0);
    assert_int_equal(th_jwt_verify_mac(&jwt, secret), 0);
    assert_true(th_str_equal(th_jwt_text(jwt.header, "alg"), th_str_of(alg)));
    assert_true(th_str_equal(th_jwt_text(jwt.header, "typ"), th_str_of(typ)));
    assert_null(json_object_get(jwt.header, "kid"));
    assert_true(th_str_equal(th_jwt_text(jwt.claims, "iss"), TH_STR("wlpA1")));
    assert_true(th_str_equal(th_jwt_text(jwt.claims, "sub"), TH_STR("wlpA1")));
    assert_true(th_str_equal(th_jwt_text(jwt.claims, "aud"), th_str_of(audience)));
    assert_int_equal(th_jwt_time_ms(jwt.claims, "exp"), NOW_MS + 60000);
    struct th_str jti = th_jwt_text(jwt.claims, "jti");
    assert_int_equal(jti.len, 22);
    char *copy = strndup(jti.ptr, jti.len);
    th_jwt_fini(&jwt);
    th_secret_unref(secret);
    free(assertion);
    assert_no_field(b, request, "client_secret");
    assert_null(b->asked[request].authorization);
    return copy;
}

static void r12_a_secret_signs_every_try_anew(void **state)
{
    (void)state;
    struct bench b;
    struct tokens t;
    open_with(&b, &t, TH_AUTH_CLIENT_SECRET_JWT, TH_ALG_HS256, SECRET);
    start(&b, t.subject.ptr);
    answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
    break_off(&b, TH_E_EXCHANGE_DOWN); /* leg 2 is tried once more */
    assert_int_equal(b.n_asked, 3);
    char *jtis[3];
    for (size_t i = 0; i < 3; i++) {
        jtis[i] = check_signed(&b, i, i == 0 ? ORG_TOKEN : CUSTOM_TOKEN, SECRET, "HS256", "");
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(jtis[i], jtis[j]);
    }
    for (size_t i = 0; i < 3; i++)
        free(jtis[i]);
    close_with(&b, &t);
}

static void what_a_server_wants_beside(void **state)
{
    (void)state;
    static const struct {
        enum th_signing_alg alg;
        const char *name, *typ;
        bool in_body;
    } cases[] = {{TH_ALG_HS256, "HS256", "client-authentication+jwt", false},
                 {TH_ALG_HS384, "HS384", "JWT", true},
                 {TH_ALG_HS512, "HS512", "", true}};
    const char *secret = SECRET SECRET;
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct bench b;
        struct tokens t;
        open_with(&b, &t, TH_AUTH_CLIENT_SECRET_JWT, cases[i].alg, secret);
        b.world.org.assertion_typ = th_str_of(cases[i].typ);
        b.world.org.client_id_in_body = cases[i].in_body;
        start(&b, "opaque");
        free(check_signed(&b, 0, ORG_TOKEN, secret, cases[i].name, cases[i].typ));
        if (cases[i].in_body)
            assert_field(&b, 0, "client_id", "wlpA1");
        else
            assert_no_field(&b, 0, "client_id");
        close_with(&b, &t);
    }
}

/* Key confusion: an algorithm of the other kind signs nothing, whatever the configuration's check let pass. */
static void no_algorithm_of_the_other_kind(void **state)
{
    (void)state;
    for (int alg = TH_ALG_UNSAID; alg <= TH_ALG_HS512; alg++) {
        bool by_secret = alg >= TH_ALG_HS256;
        for (int method = 0; method < 2; method++) {
            struct bench b;
            struct tokens t;
            bench_open(&b, RS256_KEY, (enum th_signing_alg)alg, NULL);
            tokens_open(&t);
            struct th_config_auth *auth = &b.world.agent.auth;
            auth->secret = th_secret_new(SECRET SECRET, strlen(SECRET SECRET));
            auth->method = method == 0 ? TH_AUTH_PRIVATE_KEY_JWT : TH_AUTH_CLIENT_SECRET_JWT;
            bool fits = method == 0 ? alg >= TH_ALG_RS256 && alg <= TH_ALG_PS512 : by_secret;
            start(&b, "opaque");
            settle(&b);
            assert_int_equal(b.n_asked, fits ? 1 : 0);
            if (!fits)
                assert_int_equal(b.result.error, TH_E_CONFIG);
            close_with(&b, &t);
        }
    }
}

static void every_algorithm_of_a_key(void **state)
{
    (void)state;
    for (int alg = TH_ALG_RS256; alg <= TH_ALG_EDDSA; alg++) {
        static const enum th_alg same[] = {
            [TH_ALG_RS256] = TH_JWS_RS256, [TH_ALG_RS384] = TH_JWS_RS384,
            [TH_ALG_RS512] = TH_JWS_RS512, [TH_ALG_PS256] = TH_JWS_PS256,
            [TH_ALG_PS384] = TH_JWS_PS384, [TH_ALG_PS512] = TH_JWS_PS512,
            [TH_ALG_ES256] = TH_JWS_ES256, [TH_ALG_ES384] = TH_JWS_ES384,
            [TH_ALG_ES512] = TH_JWS_ES512, [TH_ALG_EDDSA] = TH_JWS_EDDSA};
        struct bench b;
        struct th_key *key;
        struct th_jwt jwt;
        struct th_secret *pem;
        assert_int_equal(th_key_generate(same[alg], &key), 0);
        assert_int_equal(th_key_to_private_pem(key, &pem), 0);
        bench_open(&b, th_secret_expose(pem).ptr, (enum th_signing_alg)alg, NULL);
        start(&b, "opaque");
        char *assertion = field(&b, 0, "client_assertion");
        assert_non_null(assertion);
        assert_int_equal(th_jwt_parse(th_str_of(assertion), &jwt), 0);
        assert_int_equal(th_jwt_verify(&jwt, key), 0);
        assert_true(th_str_equal(th_jwt_text(jwt.header, "alg"), th_alg_name(same[alg])));
        free(assertion);
        th_jwt_fini(&jwt);
        th_secret_unref(pem);
        th_key_unref(key);
        bench_close(&b);
    }
}

/* The words of a server that has got the secret are not trusted to keep it. */
static void r11_a_secret_that_comes_back(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{'error':'invalid_client','error_description':'no client has the secret " SECRET "'}",
        "{'error':'invalid_client','error_description':'" SECRET "'}",
        "{'error':'" SECRET "','error_description':'" SECRET "'}",
        "{'errorCode':'E1','errorSummary':'" SECRET " is wrong'}",
        SECRET,
    };
    for (size_t i = 0; i < TH_COUNT_OF(bodies); i++) {
        struct bench b;
        struct tokens t;
        open_with(&b, &t, TH_AUTH_CLIENT_SECRET_POST, TH_ALG_UNSAID, SECRET);
        start(&b, "opaque");
        answer(&b, 401, "%s", bodies[i]);
        assert_int_equal(b.n_ends, 1);
        assert_int_not_equal(b.result.error, 0);
        assert_null(strstr(b.result.detail, "0123456789"));
        assert_null(strstr(b.result.oauth_error, "0123456789"));
        close_with(&b, &t);
    }
}

#ifdef TH_FAIL_ALLOC
static void r24_out_of_memory_sends_no_half_of_a_secret(void **state)
{
    (void)state;
    for (int method = TH_AUTH_CLIENT_SECRET_BASIC; method <= TH_AUTH_NONE; method++) {
        bool reached = true;
        for (unsigned long nth = 1; reached; nth++) {
            struct bench b;
            struct tokens t;
            open_with(&b, &t, (enum th_auth_method)method,
                      method == TH_AUTH_CLIENT_SECRET_JWT ? TH_ALG_HS256 : TH_ALG_UNSAID,
                      method == TH_AUTH_NONE ? NULL : SECRET);
            assert_true(nth < 1000);
            th_mem_fail_after(nth, 1);
            int error = try_start(&b, "opaque", NULL);
            settle(&b);
            reached = th_mem_count() >= nth;
            th_mem_fail_after(0, 0);
            if (error == 0)
                error = b.result.error;
            assert_int_equal(b.n_asked, error == 0 ? 1 : 0);
            assert_true(error == 0 || (error == TH_E_NOMEM && reached));
            close_with(&b, &t);
        }
    }
}
#endif

/* --- two keys --- */

static void open_two(struct bench *b, struct tokens *t, struct th_config_auth *next)
{
    bench_open(b, RS256_KEY, TH_ALG_RS256, NULL);
    tokens_open(t);
    *next = (struct th_config_auth){.method = TH_AUTH_PRIVATE_KEY_JWT,
                                    .alg = TH_ALG_ES256,
                                    .kid = TH_STR("k2"),
                                    .key = th_secret_new(ES256_KEY, strlen(ES256_KEY))};
    b->world.agent.auth.next = next;
}

static void close_two(struct bench *b, struct tokens *t, struct th_config_auth *next)
{
    th_secret_unref(next->key);
    tokens_close(t);
    bench_close(b);
}

static void assert_kid(const struct bench *b, size_t request, const char *kid)
{
    struct th_jwt jwt;
    struct th_key *key;
    char *assertion = field(b, request, "client_assertion");
    assert_non_null(assertion);
    assert_int_equal(th_jwt_parse(th_str_of(assertion), &jwt), 0);
    assert_true(th_str_equal(th_jwt_text(jwt.header, "kid"), th_str_of(kid)));
    const char *text = strcmp(kid, "k1") == 0 ? RS256_KEY : ES256_KEY;
    assert_int_equal(th_key_parse(th_str_of(text), &key, NULL), 0);
    assert_int_equal(th_jwt_verify(&jwt, key), 0);
    th_key_unref(key);
    th_jwt_fini(&jwt);
    free(assertion);
}

static void the_other_key_after_a_refusal(void **state)
{
    (void)state;
    struct bench b;
    struct tokens t;
    struct th_config_auth next;
    open_two(&b, &t, &next);
    start(&b, t.subject.ptr);
    assert_kid(&b, 0, "k1");
    answer(&b, 401, "{'error':'invalid_client'}");
    assert_int_equal(b.n_ends, 0);
    assert_int_equal(b.n_asked, 2);
    assert_kid(&b, 1, "k2");
    answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
    assert_kid(&b, 2, "k2"); /* the same registration holds at the second server */
    answer(&b, 200, ACCESS_OK, t.access.ptr);
    assert_int_equal(b.result.error, 0);
    forget_asked(&b);
    start(&b, t.subject.ptr); /* and was learned */
    assert_kid(&b, 0, "k2");
    answer(&b, 401, "{'error':'invalid_client'}"); /* it can go back, too */
    assert_kid(&b, 1, "k1");
    answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
    answer(&b, 200, ACCESS_OK, t.access.ptr);
    assert_int_equal(b.result.error, 0);
    forget_asked(&b);
    start(&b, t.subject.ptr);
    assert_kid(&b, 0, "k1");
    close_two(&b, &t, &next);
}

static void the_other_key_is_tried_once(void **state)
{
    (void)state;
    struct bench b;
    struct tokens t;
    struct th_config_auth next;
    open_two(&b, &t, &next);
    start(&b, t.subject.ptr);
    answer(&b, 401, "{'error':'invalid_client'}");
    answer(&b, 401, "{'error':'invalid_client'}");
    assert_int_equal(b.n_ends, 1);
    assert_int_equal(b.n_asked, 2);
    assert_int_equal(b.result.error, TH_E_EXCHANGE_CLIENT);
    forget_asked(&b);
    pass(&b, TH_REFUSED_REST_MS);
    start(&b, t.subject.ptr); /* nothing was learned */
    assert_kid(&b, 0, "k1");
    /* accepted on the first leg, and refused on the second: the other there, then no more */
    answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
    answer(&b, 401, "{'error':'invalid_client'}");
    assert_kid(&b, 2, "k2");
    answer(&b, 401, "{'error':'invalid_client'}");
    assert_int_equal(b.n_ends, 2);
    assert_int_equal(b.n_asked, 3);
    assert_int_equal(b.result.error, TH_E_EXCHANGE_CLIENT);
    close_two(&b, &t, &next);
}

static void other_failures_do_not_change_keys(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
    } cases[] = {{400, "{'error':'invalid_grant'}"},
                 {400, "{'error':'unauthorized_client'}"},
                 {401, "{'error':'invalid_token'}"},
                 {401, "{}"},
                 {503, "{'error':'temporarily_unavailable'}"}};
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct bench b;
        struct tokens t;
        struct th_config_auth next;
        open_two(&b, &t, &next);
        start(&b, t.subject.ptr);
        answer(&b, cases[i].status, "%s", cases[i].body);
        assert_int_equal(b.n_ends, 1);
        assert_int_equal(b.n_asked, 1);
        close_two(&b, &t, &next);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(basic),
        cmocka_unit_test(in_the_form),
        cmocka_unit_test(by_certificate_digest),
        cmocka_unit_test(r12_a_secret_signs_every_try_anew),
        cmocka_unit_test(what_a_server_wants_beside),
        cmocka_unit_test(no_algorithm_of_the_other_kind),
        cmocka_unit_test(every_algorithm_of_a_key),
        cmocka_unit_test(r11_a_secret_that_comes_back),
#ifdef TH_FAIL_ALLOC
        cmocka_unit_test(r24_out_of_memory_sends_no_half_of_a_secret),
#endif
        cmocka_unit_test(the_other_key_after_a_refusal),
        cmocka_unit_test(the_other_key_is_tried_once),
        cmocka_unit_test(other_failures_do_not_change_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
