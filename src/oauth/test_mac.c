#include <stdlib.h>

#include "test_support.h"
#include "tokenhop/base/check.h"
#include "tokenhop/oauth/mac.h"

static struct th_secret *secret_of(const char *base64url)
{
    struct th_buf bytes;
    th_buf_init_secret(&bytes, 1024);
    assert_int_equal(th_base64url_decode(&bytes, th_str_of(base64url)), 0);
    struct th_secret *secret = th_secret_new(bytes.ptr, bytes.len);
    assert_non_null(secret);
    th_buf_fini(&bytes);
    return secret;
}

static int verify(const char *token, const struct th_secret *secret)
{
    struct th_jwt jwt;
    assert_int_equal(th_jwt_parse(th_str_of(token), &jwt), 0);
    int error = th_jwt_verify_mac(&jwt, secret);
    th_jwt_fini(&jwt);
    return error;
}

static char *sign(enum th_mac mac, const struct th_secret *secret, const char *typ)
{
    struct th_secret *token = NULL;
    json_t *claims = json_pack("{s:s}", "sub", "x");
    assert_int_equal(th_jwt_sign_mac(secret, mac, th_str_of(typ), claims, &token), 0);
    json_decref(claims);
    char *copy = strdup(th_secret_expose(token).ptr);
    th_secret_unref(token);
    return copy;
}

static void the_example_of_rfc7515(void **state)
{
    (void)state;
    struct th_secret *secret = secret_of(RFC7515_A1_SECRET);
    char token[] = RFC7515_A1_TOKEN;
    assert_int_equal(verify(token, secret), 0);
    for (size_t i = 1; i <= 5; i++) { /* in the signature, from its end */
        char *at = &token[sizeof token - 1 - 4 * i], was = *at;
        *at = was == 'A' ? 'B' : 'A';
        assert_int_equal(verify(token, secret), TH_E_SUBJECT_MALFORMED);
        *at = was;
    }
    token[sizeof token - 1 - 3] = '\0'; /* a signature that is cut short */
    assert_int_equal(verify(token, secret), TH_E_SUBJECT_MALFORMED);
    th_secret_unref(secret);
}

/* HMAC-SHA-384 and -512 of the same bytes, made by another implementation (Python's hmac). */
static void what_is_signed(void **state)
{
    (void)state;
    static const struct {
        enum th_mac mac;
        const char *typ, *token;
    } cases[] = {
        {TH_MAC_HS256, "",
         "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0."
         "lAtPrm9HvkWK-hh_e9icTiW-akxsWKRnw6IZ18ZcWBk"},
        {TH_MAC_HS384, "JWT",
         "eyJhbGciOiJIUzM4NCIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ4In0."
         "7n1orVkDfkkm87LeigJutW6bpHLVtbZ7W6sn0E5uBIxnIoa_S110tnNl1ajjKWOR"},
        {TH_MAC_HS512, "client-authentication+jwt",
         "eyJhbGciOiJIUzUxMiIsInR5cCI6ImNsaWVudC1hdXRoZW50aWNhdGlvbitqd3QifQ.eyJzdWIiOiJ4In0."
         "KfWM_r_XDig78o8H2ofuCJtIFZam8AbaGDtQJp-CWmnZlrjQlmcFnnlPM0tBvQ9UPlcBeRqzOEizGCs7Ei3tXg"},
    };
    struct th_secret *secret = secret_of(RFC7515_A1_SECRET);
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        char *token = sign(cases[i].mac, secret, cases[i].typ);
        assert_string_equal(token, cases[i].token);
        assert_int_equal(verify(token, secret), 0);
        free(token);
    }
    th_secret_unref(secret);
}

/* RFC 7518, 3.2: as long as the digest, at the least. */
static void a_short_secret_signs_nothing(void **state)
{
    (void)state;
    static const struct {
        enum th_mac mac;
        size_t len;
        int error;
    } cases[] = {
        {TH_MAC_HS256, 31, TH_E_CONFIG}, {TH_MAC_HS256, 32, 0},
        {TH_MAC_HS384, 47, TH_E_CONFIG}, {TH_MAC_HS384, 48, 0},
        {TH_MAC_HS512, 63, TH_E_CONFIG}, {TH_MAC_HS512, 64, 0},
        {TH_MAC_NONE, 64, TH_E_CONFIG},
    };
    json_t *claims = json_object();
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        char bytes[64];
        memset(bytes, 's', sizeof bytes);
        struct th_secret *secret = th_secret_new(bytes, cases[i].len), *token = NULL;
        assert_int_equal(th_jwt_sign_mac(secret, cases[i].mac, TH_STR_NONE, claims, &token),
                         cases[i].error);
        assert_int_equal(token != NULL, cases[i].error == 0);
        th_secret_unref(token);
        th_secret_unref(secret);
    }
    json_decref(claims);
}

/* No token of one kind is taken by the other, whatever it says of itself. */
static void keys_and_secrets_are_apart(void **state)
{
    (void)state;
    struct th_key *key;
    struct th_jwt jwt;
    static const char *const names[] = {"HS256", "HS384", "HS512"};
    for (size_t i = 0; i < TH_COUNT_OF(names); i++)
        assert_int_equal(th_alg_find(th_str_of(names[i])), TH_JWS_NONE);
    for (int alg = TH_JWS_NONE; alg <= TH_JWS_EDDSA; alg++)
        assert_int_equal(th_mac_find(th_alg_name((enum th_alg)alg)), TH_MAC_NONE);
    assert_int_equal(th_mac_find(TH_STR("none")), TH_MAC_NONE);
    assert_int_equal(th_mac_find(TH_STR("hs256")), TH_MAC_NONE);

    /* a public key as the secret, as the text that everybody may have */
    const char *public_key = "{" RFC7515_A2_PUBLIC "}";
    struct th_secret *secret = th_secret_new(public_key, strlen(public_key));
    char *token = sign(TH_MAC_HS256, secret, "");
    assert_int_equal(th_key_parse(th_str_of(public_key), &key, NULL), 0);
    assert_int_equal(th_jwt_parse(th_str_of(token), &jwt), 0);
    assert_int_equal(th_jwt_verify(&jwt, key), TH_E_SUBJECT_MALFORMED);
    th_jwt_fini(&jwt);
    assert_int_equal(verify(RFC7515_A2_TOKEN, secret), TH_E_SUBJECT_MALFORMED);
    free(token);
    th_key_unref(key);
    th_secret_unref(secret);
}

static void short_of_memory(void **state)
{
    (void)state;
    struct th_secret *secret = secret_of(RFC7515_A1_SECRET);
    json_t *claims = json_pack("{s:s}", "sub", "x");
    int error = TH_E_NOMEM;
    unsigned long nth;
    for (nth = 1; error != 0; nth++) {
        struct th_secret *token = NULL;
        th_mem_fail_after(nth, 1);
        error = th_jwt_sign_mac(secret, TH_MAC_HS512, TH_STR("JWT"), claims, &token);
        bool reached = th_mem_count() >= nth;
        th_mem_fail_after(0, 0);
        assert_true(reached || error == 0); /* where none failed, it works */
        assert_true(error == 0 || (error == TH_E_NOMEM && token == NULL));
        th_secret_unref(token);
    }
    json_decref(claims);
    th_secret_unref(secret);
}

static int nothing_is_left(void **state)
{
    (void)state;
    return th_secret_bytes_held() == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(the_example_of_rfc7515, nothing_is_left),
        cmocka_unit_test_teardown(what_is_signed, nothing_is_left),
        cmocka_unit_test_teardown(a_short_secret_signs_nothing, nothing_is_left),
        cmocka_unit_test_teardown(keys_and_secrets_are_apart, nothing_is_left),
        cmocka_unit_test_teardown(short_of_memory, nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
