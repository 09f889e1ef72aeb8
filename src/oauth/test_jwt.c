#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "key.h"
#include "testdata.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/oauth/json.h"

static struct th_key *parse_key(const char *text)
{
    struct th_key *key;
    assert_int_equal(th_key_parse(th_str_of(text), &key, NULL), 0);
    return key;
}

static int verify(const char *token, const char *key_text)
{
    struct th_key *key = parse_key(key_text);
    struct th_jwt jwt;
    assert_int_equal(th_jwt_parse(th_str_of(token), &jwt), 0);
    int error = th_jwt_verify(&jwt, key);
    th_jwt_fini(&jwt);
    th_key_unref(key);
    return error;
}

static void rfc7515_vectors(void **state)
{
    (void)state;
    assert_int_equal(verify(RFC7515_A2_TOKEN, "{" RFC7515_A2_PUBLIC "}"), 0);
    assert_int_equal(verify(RFC7515_A3_TOKEN, "{" RFC7515_A3_PUBLIC "}"), 0);
    struct th_jwt jwt;
    assert_int_equal(th_jwt_parse(th_str_of(RFC7515_A3_TOKEN), &jwt), 0);
    assert_true(th_str_equal(th_jwt_text(jwt.claims, "iss"), TH_STR("joe")));
    assert_int_equal(th_jwt_time_ms(jwt.claims, "exp"), 1300819380000);
    th_jwt_fini(&jwt);
}

/* RSASSA-PKCS1-v1_5 and EdDSA have one signature only: ours must be theirs. */
static void signatures_are_those_of_the_rfcs(void **state)
{
    (void)state;
    struct th_buf signature;
    th_buf_init(&signature, 1024);
    struct th_key *key = parse_key("{" RFC7515_A2_PRIVATE "}");
    assert_int_equal(th_signature_make(key, TH_JWS_RS256,
                                       TH_STR("eyJhbGciOiJSUzI1NiJ9." RFC7515_CLAIMS), &signature),
                     0);
    struct th_buf text;
    th_buf_init(&text, 1024);
    th_base64url_encode(&text, signature.ptr, signature.len);
    assert_string_equal(text.ptr, strrchr(RFC7515_A2_TOKEN, '.') + 1);
    th_key_unref(key);
    key = parse_key("{" RFC8037_PRIVATE "}");
    th_buf_clear(&signature);
    th_buf_clear(&text);
    assert_int_equal(th_signature_make(key, TH_JWS_EDDSA, TH_STR(RFC8037_SIGNED), &signature), 0);
    th_base64url_encode(&text, signature.ptr, signature.len);
    assert_string_equal(text.ptr, RFC8037_SIGNATURE);
    assert_int_equal(
        th_signature_check(key, TH_JWS_EDDSA, TH_STR(RFC8037_SIGNED), th_buf_str(&signature)), 0);
    th_key_unref(key);
    th_buf_fini(&signature);
    th_buf_fini(&text);
}

static struct th_secret *sign(const struct th_key *key, enum th_alg alg, const char *claims_text)
{
    json_t *claims = json_loads(claims_text, 0, NULL);
    struct th_secret *token;
    assert_int_equal(th_jwt_sign(key, alg, TH_STR("k\"1"), TH_STR("at+jwt"), claims, &token), 0);
    json_decref(claims);
    return token;
}

static void every_algorithm_round_trips(void **state)
{
    (void)state;
    struct th_key *key = NULL, *other = NULL;
    for (enum th_alg alg = TH_JWS_RS256; alg <= TH_JWS_EDDSA; alg++) {
        if (key == NULL || !th_key_fits(key, alg)) { /* RSA keys take their time */
            th_key_unref(key);
            th_key_unref(other);
            assert_int_equal(th_key_generate(alg, &key), 0);
            assert_int_equal(th_key_generate(alg, &other), 0);
        }
        struct th_secret *token = sign(key, alg, "{\"sub\":\"x\"}");
        struct th_jwt jwt;
        assert_int_equal(th_jwt_parse(th_secret_expose(token), &jwt), 0);
        assert_int_equal(th_jwt_verify(&jwt, key), 0);
        assert_int_not_equal(th_jwt_verify(&jwt, other), 0);
        assert_true(th_str_equal(th_jwt_text(jwt.header, "alg"), th_alg_name(alg)));
        assert_true(th_str_equal(th_jwt_text(jwt.header, "kid"), TH_STR("k\"1")));
        assert_true(th_str_equal(th_jwt_text(jwt.header, "typ"), TH_STR("at+jwt")));
        assert_true(th_str_equal(th_jwt_text(jwt.claims, "sub"), TH_STR("x")));
        th_jwt_fini(&jwt);
        th_secret_unref(token);
    }
    th_key_unref(key);
    th_key_unref(other);
    assert_int_equal(th_secret_bytes_held(), 0);
}

static void every_changed_character_is_noticed(void **state)
{
    (void)state;
    struct th_key *key = parse_key("{" RFC7515_A3_PRIVATE "}");
    struct th_secret *token = sign(key, TH_JWS_ES256, "{\"iss\":\"https://a\",\"n\":12}");
    struct th_str text = th_secret_expose(token);
    char copy[400];
    for (size_t i = 0; i < text.len; i++) {
        struct th_jwt jwt;
        memcpy(copy, text.ptr, text.len);
        copy[i] = copy[i] == 'A' ? 'B' : 'A';
        if (th_jwt_parse((struct th_str){copy, text.len}, &jwt) != 0)
            continue;
        assert_int_not_equal(th_jwt_verify(&jwt, key), 0);
        th_jwt_fini(&jwt);
    }
    th_secret_unref(token);
    th_key_unref(key);
}

static void forged_headers_are_refused(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "{\"alg\":\"none\"}",    "{\"alg\":\"None\"}",  "{\"alg\":\"\"}",      "{}",
        "{\"alg\":[\"ES256\"]}", "{\"alg\":\"HS256\"}", /* key confusion: HMAC with the public key as secret */
        "{\"alg\":\"RS256\"}",   "{\"alg\":\"ES384\"}", "{\"alg\":\"EdDSA\"}",
    };
    struct th_key *key = parse_key("{" RFC7515_A3_PRIVATE "}");
    for (size_t i = 0; i < TH_COUNT_OF(headers); i++) {
        for (int is_signed = 0; is_signed < 2; is_signed++) {
            struct th_buf token, signature;
            th_buf_init(&token, 1000);
            th_buf_init(&signature, 100);
            th_base64url_encode(&token, headers[i], strlen(headers[i]));
            th_buf_add_str(&token, TH_STR("." RFC7515_CLAIMS));
            assert_int_equal(th_signature_make(key, TH_JWS_ES256, th_buf_str(&token), &signature),
                             0);
            th_buf_add_char(&token, '.');
            if (is_signed)
                th_base64url_encode(&token, signature.ptr, signature.len);
            struct th_jwt jwt;
            assert_int_equal(th_jwt_parse(th_buf_str(&token), &jwt), 0);
            assert_int_equal(th_jwt_verify(&jwt, key), TH_E_SUBJECT_MALFORMED);
            th_jwt_fini(&jwt);
            th_buf_fini(&token);
            th_buf_fini(&signature);
        }
    }
    th_key_unref(key);
}

/* RFC 7515, 4.1.11: a rightly signed token whose extensions nobody here knows. */
static void critical_extensions_are_refused(void **state)
{
    (void)state;
    static const char header[] = "{\"alg\":\"ES256\",\"crit\":[\"b64\"],\"b64\":false}";
    struct th_key *key = parse_key("{" RFC7515_A3_PRIVATE "}");
    struct th_buf token, signature;
    th_buf_init(&token, 1000);
    th_buf_init(&signature, 100);
    th_base64url_encode(&token, header, strlen(header));
    th_buf_add_str(&token, TH_STR("." RFC7515_CLAIMS));
    assert_int_equal(th_signature_make(key, TH_JWS_ES256, th_buf_str(&token), &signature), 0);
    th_buf_add_char(&token, '.');
    th_base64url_encode(&token, signature.ptr, signature.len);
    struct th_jwt jwt;
    assert_int_equal(th_jwt_parse(th_buf_str(&token), &jwt), 0);
    assert_int_not_equal(th_jwt_verify(&jwt, key), 0);
    th_jwt_fini(&jwt);
    th_buf_fini(&token);
    th_buf_fini(&signature);
    th_key_unref(key);
}

static void a_der_signature_is_refused(void **state)
{
    (void)state;
    struct th_key *key = parse_key("{" RFC7515_A3_PRIVATE "}");
    struct th_buf raw;
    th_buf_init(&raw, 100);
    assert_int_equal(th_signature_make(key, TH_JWS_ES256, TH_STR("x"), &raw), 0);
    assert_int_equal(raw.len, 64);
    th_buf_add_char(&raw, '\0');
    assert_int_not_equal(th_signature_check(key, TH_JWS_ES256, TH_STR("x"), th_buf_str(&raw)), 0);
    char zeros[64] = {0}; /* CVE-2022-21449 */
    assert_int_not_equal(
        th_signature_check(key, TH_JWS_ES256, TH_STR("x"), (struct th_str){zeros, 64}), 0);
    th_buf_fini(&raw);
    th_key_unref(key);
}

static void signing_needs_a_private_key_that_fits(void **state)
{
    (void)state;
    struct th_key *private = parse_key("{" RFC7515_A3_PRIVATE "}");
    struct th_key *public = parse_key("{" RFC7515_A3_PUBLIC "}");
    json_t *claims = json_object();
    struct th_secret *token;
    assert_int_equal(th_jwt_sign(public, TH_JWS_ES256, TH_STR_NONE, TH_STR_NONE, claims, &token),
                     TH_E_BAD_REQUEST);
    assert_int_equal(th_jwt_sign(private, TH_JWS_RS256, TH_STR_NONE, TH_STR_NONE, claims, &token),
                     TH_E_BAD_REQUEST);
    assert_int_equal(th_jwt_sign(private, TH_JWS_NONE, TH_STR_NONE, TH_STR_NONE, claims, &token),
                     TH_E_BAD_REQUEST);
    json_decref(claims);
    th_key_unref(private);
    th_key_unref(public);
}

#define E "e30" /* {} */

static void what_is_not_a_token_is_opaque(void **state)
{
    (void)state;
    static const char *const opaque[] = {
        "",
        "abc",
        "a.b",
        ".",
        "..",
        "...",
        E "." E,
        E "." E "." E "." E,
        E "." E "."
          "Zg==",
        E ".." E,
        "." E "." E,
        E "=." E ".",
        E "." E " .",
        "W10." E ".", /* [] */
        E ".W10.",
        "bnVsbA." E ".",                     /* null */
        "eyJhIjoxLCJhIjoyfQ." E ".",         /* {"a":1,"a":2} */
        "eyJhIjp7ImIiOjEsImIiOjJ9fQ." E ".", /* {"a":{"b":1,"b":2}} */
        "eyJhIjoiXHUwMDAwIn0." E ".",        /* {"a":"\u0000"} */
        "e30K." E ".!",
    };
    for (size_t i = 0; i < TH_COUNT_OF(opaque); i++) {
        struct th_jwt jwt;
        if (th_jwt_parse(th_str_of(opaque[i]), &jwt) != TH_E_SUBJECT_MALFORMED)
            fail_msg("parsed: %s", opaque[i]);
    }
    struct th_jwt jwt;
    assert_int_equal(th_jwt_parse(TH_STR(E "." E "."), &jwt), 0);
    th_jwt_fini(&jwt);
    th_jwt_fini(&jwt);
}

static int parse_claims(const char *claims)
{
    struct th_buf token;
    th_buf_init(&token, 200000);
    th_buf_add_str(&token, TH_STR(E "."));
    th_base64url_encode(&token, claims, strlen(claims));
    th_buf_add_str(&token, TH_STR(".AAAA"));
    struct th_jwt jwt;
    int error = th_jwt_parse(th_buf_str(&token), &jwt);
    if (error == 0)
        th_jwt_fini(&jwt);
    th_buf_fini(&token);
    return error;
}

static void nesting_and_size_are_bounded(void **state)
{
    (void)state;
    struct th_buf text;
    for (int depth = 30; depth <= 34; depth++) {
        th_buf_init(&text, 1000);
        th_buf_add_str(&text, TH_STR("{\"a[[\\\"[[\":"));
        for (int i = 1; i < depth; i++)
            th_buf_add_char(&text, '[');
        for (int i = 1; i < depth; i++)
            th_buf_add_char(&text, ']');
        th_buf_add_char(&text, '}');
        assert_int_equal(parse_claims(text.ptr), depth <= 32 ? 0 : TH_E_SUBJECT_MALFORMED);
        th_buf_fini(&text);
    }
    for (size_t len = 49000; len <= 49200; len += 200) { /* 64 KiB once encoded lie between */
        th_buf_init(&text, 100000);
        th_buf_add_str(&text, TH_STR("{\"a\":\""));
        while (text.len < len - 2)
            th_buf_add_char(&text, 'x');
        th_buf_add_str(&text, TH_STR("\"}"));
        assert_int_equal(parse_claims(text.ptr), len == 49000 ? 0 : TH_E_SUBJECT_MALFORMED);
        th_buf_fini(&text);
    }
}

static void times(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        int64_t ms;
    } cases[] = {
        {"{\"exp\":0}", 0},
        {"{\"exp\":1700000000}", 1700000000000},
        {"{\"exp\":1700000000.25}", 1700000000250},
        {"{\"exp\":1.7e9}", 1700000000000},
        {"{\"exp\":-5}", 0},
        {"{\"exp\":99999999999999999999999}", 253402300799000},
        {"{\"exp\":9223372036854775807}", 253402300799000},
        {"{\"exp\":1e300}", 253402300799000},
        {"{\"exp\":\"1700000000\"}", -1},
        {"{\"exp\":null}", -1},
        {"{\"exp\":[1700000000]}", -1},
        {"{}", -1},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        json_t *claims;
        assert_int_equal(th_json_parse_object(th_str_of(cases[i].json), 1000, &claims), 0);
        if (th_jwt_time_ms(claims, "exp") != cases[i].ms)
            fail_msg("%s", cases[i].json);
        json_decref(claims);
    }
}

static void audiences(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        bool has;
    } cases[] = {
        {"{\"aud\":\"https://a\"}", true},
        {"{\"aud\":[\"https://a\"]}", true},
        {"{\"aud\":[\"x\",\"https://a\"]}", true},
        {"{\"aud\":\"https://a/\"}", false},
        {"{\"aud\":\"https://A\"}", false},
        {"{\"aud\":[]}", false},
        {"{\"aud\":[[\"https://a\"]]}", false},
        {"{\"aud\":{\"https://a\":1}}", false},
        {"{\"aud\":null}", false},
        {"{\"aud\":1}", false},
        {"{}", false},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        json_t *claims = json_loads(cases[i].json, 0, NULL);
        if (th_jwt_has_audience(claims, TH_STR("https://a")) != cases[i].has)
            fail_msg("%s", cases[i].json);
        json_decref(claims);
    }
    json_t *claims = json_loads("{\"aud\":\"\"}", 0, NULL);
    assert_true(th_jwt_has_audience(claims, TH_STR("")));
    json_decref(claims);
}

#ifdef TH_FAIL_ALLOC
static void out_of_memory_is_an_error_each_time(void **state)
{
    (void)state;
    struct th_key *key = parse_key("{" RFC7515_A3_PRIVATE "}");
    json_t *claims = json_loads("{\"iss\":\"a\",\"aud\":[\"b\"]}", 0, NULL);
    int error = TH_E_NOMEM;
    for (unsigned long nth = 1; error != 0; nth++) {
        struct th_secret *token = NULL;
        struct th_jwt jwt = {0};
        assert_true(nth < 200);
        th_mem_fail_after(nth, 1);
        error = th_jwt_sign(key, TH_JWS_ES256, TH_STR("k"), TH_STR_NONE, claims, &token);
        if (error == 0)
            error = th_jwt_parse(th_secret_expose(token), &jwt);
        if (error == 0)
            error = th_jwt_verify(&jwt, key);
        th_mem_fail_after(0, 0);
        assert_true(error == 0 || error == TH_E_NOMEM);
        th_jwt_fini(&jwt);
        th_secret_unref(token);
    }
    json_decref(claims);
    th_key_unref(key);
}
#endif

int main(void)
{
    th_json_start();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc7515_vectors),
        cmocka_unit_test(signatures_are_those_of_the_rfcs),
        cmocka_unit_test(every_algorithm_round_trips),
        cmocka_unit_test(every_changed_character_is_noticed),
        cmocka_unit_test(forged_headers_are_refused),
        cmocka_unit_test(critical_extensions_are_refused),
        cmocka_unit_test(a_der_signature_is_refused),
        cmocka_unit_test(signing_needs_a_private_key_that_fits),
        cmocka_unit_test(what_is_not_a_token_is_opaque),
        cmocka_unit_test(nesting_and_size_are_bounded),
        cmocka_unit_test(times),
        cmocka_unit_test(audiences),
#ifdef TH_FAIL_ALLOC
        cmocka_unit_test(out_of_memory_is_an_error_each_time),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
