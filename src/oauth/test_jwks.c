/* Key sets and metadata as texts: what is taken, what is passed over, what a token is verified by. */
#include "test_support.h"
#include "tokenhop/oauth/jwks.h"
#include "tokenhop/oauth/metadata.h"

#define EC(more) "{" RFC7515_A3_PUBLIC more "}"
#define RSA(more) "{" RFC7515_A2_PUBLIC more "}"
#define OKP(more) "{" RFC8037_PUBLIC more "}"
#define KID(kid) ",\"kid\":\"" kid "\""

static const struct {
    const char *name, *text;
    int n_keys; /* -1: no key set */
} sets[] = {
    {"empty", "{\"keys\":[]}", 0},
    {"three kinds", "{\"keys\":[" EC(KID("a")) "," RSA(KID("b")) "," OKP(KID("c")) "]}", 3},
    {"for signatures", "{\"keys\":[" EC(",\"use\":\"sig\"") "]}", 1},
    {"for encryption", "{\"keys\":[" EC(",\"use\":\"enc\"") "]}", 0},
    {"use is no text", "{\"keys\":[" EC(",\"use\":7") "]}", 0},
    {"may verify", "{\"keys\":[" EC(",\"key_ops\":[\"sign\",\"verify\"]") "]}", 1},
    {"may do something else", "{\"keys\":[" EC(",\"key_ops\":[\"deriveKey\"]") "]}", 0},
    {"symmetric", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}," EC("") "]}", 1},
    {"unknown kind", "{\"keys\":[{\"kty\":\"AKP\",\"pub\":\"AA\"}," EC("") "]}", 1},
    {"unknown curve",
     "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"AA\",\"y\":\"AA\"}]}", 0},
    {"not on the curve",
     "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
     "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
     "\"y\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\"}]}",
     0},
    {"short RSA", "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0t\",\"e\":\"AQAB\"}]}", 0},
    {"a private one", "{\"keys\":[{" RFC7515_A3_PRIVATE "}]}", 0},
    {"an alg that is none", "{\"keys\":[" EC(",\"alg\":\"none\"") "]}", 1},
    {"items that are none", "{\"keys\":[null,7,\"x\",[]," EC("") "]}", 1},
    {"other members", "{\"keys\":[" EC(",\"x5c\":[\"AA\"],\"issuer\":\"x\"") "],\"more\":{}}", 1},
    {"no list", "{\"keys\":{}}", -1},
    {"no keys", "{}", -1},
    {"an array", "[]", -1},
    {"one key", EC(""), -1},
    {"half", "{\"keys\":[" EC(""), -1},
    {"empty text", "", -1},
    {"a member twice", "{\"keys\":[],\"keys\":[]}", -1},
};

static void sets_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(sets); i++) {
        const struct th_jwks *jwks = NULL;
        const char *why = NULL;
        int error = th_jwks_parse(th_str_of(sets[i].text), &jwks, &why);
        int n_keys = error == 0 ? (int)jwks->n_keys : -1;
        if (n_keys != sets[i].n_keys)
            fail_msg("%s: %d keys", sets[i].name, n_keys);
        assert_int_equal(error != 0, why != NULL && jwks == NULL);
        th_jwks_unref(jwks);
    }
}

static void sets_are_bounded(void **state)
{
    (void)state;
    struct th_buf text;
    const struct th_jwks *jwks;
    const char *why;
    th_buf_init(&text, 1 << 20);
    th_buf_add_str(&text, TH_STR("{\"keys\":["));
    for (int i = 0; i < 2 * TH_JWKS_KEYS_MAX; i++)
        th_buf_printf(&text, "%s" EC(",\"kid\":\"%d\""), i > 0 ? "," : "", i);
    th_buf_add_str(&text, TH_STR("]}"));
    assert_int_equal(th_jwks_parse(th_buf_str(&text), &jwks, &why), 0);
    assert_int_equal(jwks->n_keys, TH_JWKS_KEYS_MAX);
    assert_true(th_str_equal(th_key_kid(jwks->keys[63]), TH_STR("63")));
    th_jwks_unref(jwks);
    while (text.len <= TH_JWKS_BYTES_MAX)
        th_buf_add_char(&text, ' ');
    assert_int_equal(th_jwks_parse(th_buf_str(&text), &jwks, &why), TH_E_EXCHANGE_FAILED);
    th_buf_fini(&text);
}

/* -- verifying ----------------------------------------------------------------------------------- */

#define A3 "{" RFC7515_A3_PRIVATE "}"
#define A2 "{" RFC7515_A2_PRIVATE "}"
#define ED "{" RFC8037_PRIVATE "}"

static const struct {
    const char *name, *set;
    const char *key; /* signs */
    enum th_alg alg;
    const char *kid; /* NULL: none */
    int want;
} verifications[] = {
    {"its key", "{\"keys\":[" EC(KID("a")) "]}", A3, TH_JWS_ES256, "a", 0},
    {"among others", "{\"keys\":[" RSA(KID("b")) "," EC(KID("a")) "]}", A3, TH_JWS_ES256, "a", 0},
    {"RS256", "{\"keys\":[" RSA(KID("b")) "]}", A2, TH_JWS_RS256, "b", 0},
    {"RS512", "{\"keys\":[" RSA(KID("b")) "]}", A2, TH_JWS_RS512, "b", 0},
    {"PS256", "{\"keys\":[" RSA(KID("b")) "]}", A2, TH_JWS_PS256, "b", 0},
    {"EdDSA", "{\"keys\":[" OKP(KID("c")) "]}", ED, TH_JWS_EDDSA, "c", 0},
    {"the key's own alg", "{\"keys\":[" RSA(KID("b") ",\"alg\":\"RS256\"") "]}", A2, TH_JWS_RS256,
     "b", 0},
    {"another alg than the key's", "{\"keys\":[" RSA(KID("b") ",\"alg\":\"RS256\"") "]}", A2,
     TH_JWS_PS256, "b", TH_E_SUBJECT_UNTRUSTED},
    {"another kind than the key's", "{\"keys\":[" RSA(KID("a")) "]}", A3, TH_JWS_ES256, "a",
     TH_E_SUBJECT_UNTRUSTED},
    {"the same id twice", "{\"keys\":[" RSA(KID("a")) "," EC(KID("a")) "]}", A3, TH_JWS_ES256, "a",
     0},
    {"unknown id", "{\"keys\":[" EC(KID("a")) "]}", A3, TH_JWS_ES256, "z", TH_JWKS_UNKNOWN},
    {"empty set", "{\"keys\":[]}", A3, TH_JWS_ES256, "a", TH_JWKS_UNKNOWN},
    {"no id", "{\"keys\":[" RSA(KID("b")) "," EC(KID("a")) "]}", A3, TH_JWS_ES256, NULL, 0},
    {"no id, none of them", "{\"keys\":[" RSA(KID("b")) "]}", A3, TH_JWS_ES256, NULL,
     TH_JWKS_UNKNOWN},
    {"the id is of a key without one", "{\"keys\":[" EC("") "]}", A3, TH_JWS_ES256, "a",
     TH_JWKS_UNKNOWN},
};

static int verify(const char *set, struct th_str token)
{
    const struct th_jwks *jwks;
    const char *why;
    struct th_jwt jwt = {0};
    assert_int_equal(th_jwks_parse(th_str_of(set), &jwks, &why), 0);
    assert_int_equal(th_jwt_parse(token, &jwt), 0);
    int result = th_jwks_verify(jwks, &jwt);
    th_jwt_fini(&jwt);
    th_jwks_unref(jwks);
    return result;
}

/* The same token, its header or its signature another. */
static int verify_spoilt(const char *set, struct th_str token, const char *header, bool cut)
{
    struct th_buf text;
    const char *dot = memchr(token.ptr, '.', token.len);
    const char *last = memrchr(token.ptr, '.', token.len);
    th_buf_init(&text, 100000);
    if (header != NULL)
        th_base64url_encode(&text, header, strlen(header));
    else
        th_buf_add(&text, token.ptr, (size_t)(dot - token.ptr));
    th_buf_add(&text, dot, (size_t)(last - dot) + 1);
    if (!cut)
        th_buf_add(&text, last + 1, token.len - (size_t)(last + 1 - token.ptr));
    int result = verify(set, th_buf_str(&text));
    th_buf_fini(&text);
    return result;
}

static void tokens_are_verified(void **state)
{
    (void)state;
    json_t *claims = json_pack("{s:s}", "sub", "x");
    for (size_t i = 0; i < TH_COUNT_OF(verifications); i++) {
        struct th_key *key;
        struct th_secret *token;
        const char *set = verifications[i].set;
        assert_int_equal(th_key_parse(th_str_of(verifications[i].key), &key, NULL), 0);
        assert_int_equal(th_jwt_sign(key, verifications[i].alg, th_str_of(verifications[i].kid),
                                     TH_STR_NONE, claims, &token),
                         0);
        int result = verify(set, th_secret_expose(token));
        if (result != verifications[i].want)
            fail_msg("%s: %d", verifications[i].name, result);
        if (result == 0) {
            struct th_str text = th_secret_expose(token);
            assert_int_not_equal(verify_spoilt(set, text, NULL, true), 0);
            assert_int_not_equal(verify_spoilt(set, text, "{\"alg\":\"none\"}", true), 0);
            assert_int_not_equal(verify_spoilt(set, text, "{\"alg\":\"none\"}", false), 0);
            assert_int_not_equal(verify_spoilt(set, text, "{\"alg\":\"HS256\"}", false), 0);
            assert_int_not_equal(verify_spoilt(set, text, "{\"alg\":\"ES256\",\"crit\":[]}", false),
                                 0);
        }
        th_secret_unref(token);
        th_key_unref(key);
    }
    json_decref(claims);
}

/* -- metadata ------------------------------------------------------------------------------------ */

#define ISSUER "https://idp.example/"
#define OF "{\"issuer\":\"" ISSUER "\""

static const struct {
    const char *name, *text;
    const char *why; /* NULL: good */
    const char *token_endpoint;
    bool cleartext;
} documents[] = {
    {"all of it",
     OF
     ",\"token_endpoint\":\"https://idp.example/t\",\"jwks_uri\":\"https://k.example/k\","
     "\"revocation_endpoint\":\"https://idp.example/r\",\"grant_types_supported\":[\"a\",7,\"b\"],"
     "\"token_endpoint_auth_methods_supported\":[\"private_key_jwt\"]}",
     NULL, "https://idp.example/t"},
    {"issuer only", OF "}", NULL, ""},
    {"with a query", OF ",\"token_endpoint\":\"https://idp.example/t?p=x\"}", NULL,
     "https://idp.example/t?p=x"},
    {"null", OF ",\"token_endpoint\":null}", NULL, ""},
    {"lists that are none", OF ",\"grant_types_supported\":\"a\"}", NULL, ""},
    {"without the slash", "{\"issuer\":\"https://idp.example\"}", "issuer"},
    {"another case", "{\"issuer\":\"https://IDP.example/\"}", "issuer"},
    {"no issuer", "{\"token_endpoint\":\"https://idp.example/t\"}", "issuer"},
    {"issuer is no text", "{\"issuer\":[\"" ISSUER "\"]}", "issuer"},
    {"cleartext", OF ",\"token_endpoint\":\"http://idp.example/t\"}", "token_endpoint"},
    {"cleartext where allowed", OF ",\"token_endpoint\":\"http://idp.example/t\"}", NULL,
     "http://idp.example/t", true},
    {"another scheme", OF ",\"jwks_uri\":\"file:///etc/passwd\"}", "jwks_uri", NULL, true},
    {"a user in it", OF ",\"token_endpoint\":\"https://a@idp.example/t\"}", "token_endpoint"},
    {"relative", OF ",\"revocation_endpoint\":\"/r\"}", "revocation_endpoint"},
    {"no text", OF ",\"token_endpoint\":7}", "token_endpoint"},
    {"control", OF ",\"token_endpoint\":\"https://idp.example/\\u0000t\"}", "JSON"},
    {"space", OF ",\"token_endpoint\":\"https://idp.example/ t\"}", "token_endpoint"},
    {"not JSON", "<html>", "JSON"},
    {"a member twice", OF ",\"issuer\":\"" ISSUER "\"}", "JSON"},
};

static void metadata_is_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(documents); i++) {
        const struct th_metadata *m = NULL;
        const char *why = "";
        int error = th_metadata_parse(th_str_of(documents[i].text), TH_STR(ISSUER),
                                      documents[i].cleartext, &m, &why);
        if (documents[i].why != NULL) {
            if (error != TH_E_EXCHANGE_FAILED || strstr(why, documents[i].why) == NULL)
                fail_msg("%s: %d, %s", documents[i].name, error, why);
            continue;
        }
        if (error != 0)
            fail_msg("%s: %s", documents[i].name, why);
        assert_true(th_str_equal(m->token_endpoint, th_str_of(documents[i].token_endpoint)));
        if (i == 0) {
            assert_true(th_str_equal(m->jwks_uri, TH_STR("https://k.example/k")));
            assert_true(th_str_equal(m->revocation_endpoint, TH_STR("https://idp.example/r")));
            assert_int_equal(m->grant_types.n, 2);
            assert_true(th_str_equal(m->grant_types.items[1], TH_STR("b")));
            assert_int_equal(m->auth_methods.n, 1);
            assert_int_equal(m->auth_algs.n, 0);
        }
        th_metadata_unref(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_are_read),
        cmocka_unit_test(sets_are_bounded),
        cmocka_unit_test(tokens_are_verified),
        cmocka_unit_test(metadata_is_read),
    };
    th_json_start();
    return cmocka_run_group_tests_name("oauth jwks", tests, NULL, NULL);
}
