#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "key.h"
#include "testdata.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/oauth/json.h"

static struct th_key *parse(const char *text)
{
    struct th_key *key;
    struct th_errinfo err = {0};
    if (th_key_parse(th_str_of(text), &key, &err) != 0)
        fail_msg("%s", err.what);
    return key;
}

static void refuse(const char *text, const char *because)
{
    struct th_key *key = NULL;
    struct th_errinfo err = {0};
    int error = th_key_parse(th_str_of(text), &key, &err);
    if (error != TH_E_BAD_REQUEST || key != NULL)
        fail_msg("accepted: %s", text);
    if (strstr(err.what, because) == NULL)
        fail_msg("\"%s\" instead of \"%s\"", err.what, because);
}

static void thumbprints(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{RFC7638_KEY, RFC7638_THUMBPRINT},
                                           {"{" RFC8037_PUBLIC "}", RFC8037_THUMBPRINT},
                                           {"{" RFC8037_PRIVATE "}", RFC8037_THUMBPRINT}};
    for (size_t i = 0; i < TH_COUNT_OF(pairs); i++) {
        struct th_key *key = parse(pairs[i][0]);
        struct th_buf out;
        th_buf_init(&out, 100);
        assert_int_equal(th_key_thumbprint(key, &out), 0);
        assert_string_equal(out.ptr, pairs[i][1]);
        th_buf_fini(&out);
        th_key_unref(key);
    }
}

static void check_member(const json_t *jwk, const char *name, const json_t *of)
{
    const char *want = json_string_value(json_object_get(of, name));
    if (want == NULL)
        assert_null(json_object_get(jwk, name));
    else
        assert_string_equal(json_string_value(json_object_get(jwk, name)), want);
}

static void public_jwk_is_what_came_in(void **state)
{
    (void)state;
    static const char *const keys[] = {"{" RFC7515_A2_PUBLIC "}",  "{" RFC7515_A3_PUBLIC "}",
                                       "{" RFC8037_PUBLIC "}",     "{" RFC7515_A2_PRIVATE "}",
                                       "{" RFC7515_A3_PRIVATE "}", "{" RFC8037_PRIVATE "}"};
    static const char *const members[] = {"kty", "n", "e", "crv", "x", "y"};
    for (size_t i = 0; i < TH_COUNT_OF(keys); i++) {
        struct th_key *key = parse(keys[i]);
        json_t *in = json_loads(keys[i], 0, NULL);
        json_t *out = th_key_to_public_jwk(key, TH_STR("k1"), TH_JWS_NONE);
        assert_non_null(out);
        for (size_t m = 0; m < TH_COUNT_OF(members); m++)
            check_member(out, members[m], in);
        assert_null(json_object_get(out, "d"));
        assert_null(json_object_get(out, "alg"));
        assert_string_equal(json_string_value(json_object_get(out, "kid")), "k1");
        assert_int_equal(th_key_is_private(key), i >= 3);
        json_decref(in);
        json_decref(out);
        th_key_unref(key);
    }
}

/* A coordinate may begin with zero bytes, and keeps its full length then (RFC 7518, 6.2.1.2). */
static void generated_keys_survive_pem_and_jwk(void **state)
{
    (void)state;
    static const enum th_alg algs[] = {TH_JWS_RS256, TH_JWS_ES256, TH_JWS_ES384, TH_JWS_ES512,
                                       TH_JWS_EDDSA};
    for (size_t i = 0; i < 300; i++) {
        enum th_alg alg = i < 5 ? algs[i] : TH_JWS_ES256;
        struct th_key *key, *again, *public;
        struct th_secret *pem;
        assert_int_equal(th_key_generate(alg, &key), 0);
        assert_true(th_key_is_private(key));
        assert_true(th_key_fits(key, alg));
        assert_int_equal(th_key_to_private_pem(key, &pem), 0);
        assert_int_equal(th_key_parse(th_secret_expose(pem), &again, NULL), 0);
        json_t *jwk = th_key_to_public_jwk(again, TH_STR("kid-1"), alg);
        assert_int_equal(th_key_from_jwk(jwk, &public, NULL), 0);
        assert_false(th_key_is_private(public));
        assert_true(th_str_equal(th_key_kid(public), TH_STR("kid-1")));
        struct th_secret *none;
        assert_int_equal(th_key_to_private_pem(public, &none), TH_E_BAD_REQUEST);
        struct th_buf signature;
        th_buf_init(&signature, 1024);
        assert_int_equal(th_signature_make(key, alg, TH_STR("x"), &signature), 0);
        assert_int_equal(th_signature_check(public, alg, TH_STR("x"), th_buf_str(&signature)), 0);
        assert_int_equal(th_signature_check(public, alg, TH_STR("y"), th_buf_str(&signature)),
                         TH_E_BAD_REQUEST);
        th_buf_fini(&signature);
        json_decref(jwk);
        th_secret_unref(pem);
        th_key_unref(th_key_ref(key));
        th_key_unref(key);
        th_key_unref(again);
        th_key_unref(public);
    }
    assert_int_equal(th_secret_bytes_held(), 0);
}

static const char sec1[] = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n"
                           "-----END EC PARAMETERS-----\n-----BEGIN EC PRIVATE KEY-----\n"
                           "MHcCAQEEIGr3i7R1o5Bf7EqgE4rBGzfx4AvJUuRR9gVBWrI2Xg/FoAoGCCqGSM49\n"
                           "AwEHoUQDQgAEWHj8YePhmMzvzb2PPjRAqjKa1NdmsKSNMss6Cj9PpRPMHaMd+qxw\n"
                           "besDakVf2+isE39TLrlPnrWaOlaqaWjmLw==\n"
                           ""
                           "-----END EC PRIVATE KEY-----\n";
static const char pkcs1_public[] =
    "-----BEGIN RSA PUBLIC KEY-----\nMIIBCgKCAQEAidhXg1zZN9bh7fe27XvPLWUIq2fmph4ZK53fCFjg8XB4WmWiqgBd\n"
    "M3odfowh8So7pE8bt/K9uh56zjXCbsITcrMUineJNCYrmN+C5T4i5nDVFFrPZuCz\n"
    "rGf3T3Ba9Kk5txu/5UfzXCL9o6/06Jq00tyQlpWmMgFPE+X+ve0PJ4R6Ab/3xBCx\n"
    "W8wZDeBSU1fCsPayMzaAtCP3U6ozXTLgrYcrQHeaRkTKjuIKISUx5tn1QcuWuJBY\n"
    "dJ7PoMaGTN3aY7ljUVuGJah7l+tJf9uOo45uLwXl8vzitoaZpxyRn0oDVIHT+t2H\n"
    "MbEPRJb/Unpn4xNlb5rB+Xgfc0eFW0dtlQIDAQAB\n"
    ""
    "-----END RSA PUBLIC KEY-----\n";
static const char spki[] =
    "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEWHj8YePhmMzvzb2PPjRAqjKa1Ndm\n"
    "sKSNMss6Cj9PpRPMHaMd+qxwbesDakVf2+isE39TLrlPnrWaOlaqaWjmLw==\n"
    "-----END PUBLIC KEY-----\n";
static const char pkcs1[] =
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEogIBAAKCAQEAidhXg1zZN9bh7fe27XvPLWUIq2fmph4ZK53fCFjg8XB4WmWi\n"
    "qgBdM3odfowh8So7pE8bt/K9uh56zjXCbsITcrMUineJNCYrmN+C5T4i5nDVFFrP\n"
    "ZuCzrGf3T3Ba9Kk5txu/5UfzXCL9o6/06Jq00tyQlpWmMgFPE+X+ve0PJ4R6Ab/3\n"
    "xBCxW8wZDeBSU1fCsPayMzaAtCP3U6ozXTLgrYcrQHeaRkTKjuIKISUx5tn1QcuW\n"
    "uJBYdJ7PoMaGTN3aY7ljUVuGJah7l+tJf9uOo45uLwXl8vzitoaZpxyRn0oDVIHT\n"
    "+t2HMbEPRJb/Unpn4xNlb5rB+Xgfc0eFW0dtlQIDAQABAoIBABDGq5/pJOaO2GBF\n"
    "zZWJg+Vabnut4XxGHXoZdJNnfbjkn0EhLXLTKISjUAOeumLHaQrONellOYH1Q6zl\n"
    "Dgy8wfErqkxPz/rwyk2Ipj2QGl9BTC11/9fdcQCChq68VdWA4u1OC0S0RQHpoETT\n"
    "nVLRwUAIZ/BrthZP4nfhfedPepCseRJvei3DcoxLRS4iQGUzNrBdz8CKQ//VMpg5\n"
    "9taunq1PjFSPrFrYCbDh7W5U2RL2tmlRzJMzxBp1Ua/cJX1CjhdM4J6C0m39ZXje\n"
    "oM06r6Na64MUwH8UeiVJ7ZqwMJHJQrshalJonG8PlOhJXJdeS8Eb1kHl1wCN0fZZ\n"
    "cAmhZwECgYEAvh9ICmuthjvcS3sze3coEtsazFpm2AlZ1EHRI6hA4WytQ34TrRKV\n"
    "nrqnNzRrFEn8TcdcRuH/eqiGU/0fGl9CUofdpJKqmJbnwuL+a2UiWf3D66eU4aXb\n"
    "WRJZ+1me82uI5C9QUUhuxShNd17Q0jOT6EHaeOX5UWCbeh4gVDIrp60CgYEAuZvW\n"
    "yLc2OUFjC6qSsijYQpfVN88+85OkUFgOf+UK/RKwgzrxomaj/ApKzD2JWTCD/0rs\n"
    "8KwwFhZBsJ/fOdAT2TIJtaYv/8MjuUajomjtLH5sT8CxWfCIuFEbUmhD/zKrJrUb\n"
    "xE62LWCP4yKvKslNnrfUzcxCZ+shYSeYesFTuokCgYBmVdglI8iHVHlDd9FCR+Ue\n"
    "ISnPjWmGJ6Jeif7UvqANtr2ccqSMqFA43Cddo61vglN4WjLlRIiLsWJ8mua+/z9n\n"
    "xRIcn4WMFM4zLJPdotZWsi1fDxkoTGpBC4u7q4XPaLaKfJ0y41YccZEhC7xDKNgY\n"
    "UDoUkVUd5G5L0SN9rnOpEQKBgDs+wh1JVdaKx4m2xaJ2pSkEe/uXfHmVW/KFWQN7\n"
    "4bkMGSmaS/zRlHBj/KIa1leQw+FeUik0XRj/u7IcJc23XE6MyUqhJFsYN7PxF1RE\n"
    "98enBv2h/To/K/Thdr4kJ+gyjS0KzDUqBr6PPv56WL1oig0qkpOqKlwvUnVHhUVR\n"
    "pl85AoGAP7tTPR6P1FoOOgJR6MiR8Tz98ZuHp5ERGwIxg+r/gCth8UXrbjLrYti0\n"
    "jmIRTLBGQtLydHA0G4gCF4U1+4taZt7UwnncLNNUvxcVAsZ82hZf/CiwhhpRFJyc\n"
    "Jf1AE7h7ky8LGVN0TFTnnqRX8QrLBXEESik6ApSEnUQc9oS7qFg=\n"
    ""
    "-----END RSA PRIVATE KEY-----\n";
static const char small[] =
    "-----BEGIN PUBLIC KEY-----\nMIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDcvw9Ybimjl+DgW3RPS1FuP/de\n"
    "lfPbjqUcaRZImjD+s7z2+EU7IRDHQFyInlQa6okaJWZLN/ZrXKDx26OuuDO2MVT4\n"
    "uvtDkNm06jYfluQ1NcexNQDbNaadwornMv7Xhn41FHcLVlD6fTO2r7yQUbzskqg3\n"
    "LEII7h1cZTtx/0MuVwIDAQAB\n"
    "-----END PUBLIC KEY-----\n";
static const char k256[] =
    "-----BEGIN PUBLIC KEY-----\nMFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEcufYN4wgIrJZPHS36bKLCFJOwDBuJfkr\n"
    "/UHxPPUxtvvW4LbKQ84606rVA+pT3A4B6bt5fhfoleM5/b6YJitVbQ==\n"
    "-----END PUBLIC KEY-----\n";
static const char encrypted[] =
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAiSNolR5s8MKQICCAAw\n"
    "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEKWUOjL8vbogsNmSRnyTbXkEgZCF\n"
    "IAP2IXyt9RF3lWvHfBWGzDd5RIZFNIc7tHc8L4WcKBO7pFVC1/eLSJ6k+ifcj658\n"
    "eb4AvifExcdmpwEabqxCf+29XEBiecPwen+wN7Qz2a5KntiALT0Qp92Tdczl5mgu\n"
    "Uft0ccjWQ7FJzW7UoSNI+0z5tRdGjojxxOVM2fjRtsR+XOgOpu3ba+mHFyfVSC8=\n"
    ""
    "-----END ENCRYPTED PRIVATE KEY-----\n";
static const char encrypted_old[] = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
                                    "DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\n"
                                    "AAAA\n-----END RSA PRIVATE KEY-----\n";

static void pem_forms(void **state)
{
    (void)state;
    struct th_key *key = parse(sec1);
    assert_true(th_key_is_private(key) && th_key_fits(key, TH_JWS_ES256));
    th_key_unref(key);
    key = parse(pkcs1_public);
    assert_true(!th_key_is_private(key) && th_key_fits(key, TH_JWS_PS384));
    th_key_unref(key);
    key = parse(spki);
    assert_true(!th_key_is_private(key) && th_key_fits(key, TH_JWS_ES256));
    th_key_unref(key);
    key = parse(pkcs1);
    assert_true(th_key_is_private(key) && th_key_fits(key, TH_JWS_RS512));
    th_key_unref(key);
    refuse(small, "1024 bits");
    refuse(k256, "not supported");
    refuse(encrypted, "passphrase");
    refuse(encrypted_old, "passphrase");
    refuse("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "cannot be read");
    refuse("hello", "cannot be read");
    refuse("", "empty");
}

static void bad_jwks(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{}", "\"kty\""},
        {"{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T\"}", "\"kty\""},
        {"{\"kty\":\"EC\",\"crv\":\"secp256k1\"}", "\"kty\""},
        {"{\"kty\":\"OKP\",\"crv\":\"X25519\"}", "\"kty\""},
        {"{\"kty\":\"RSA\",\"e\":\"AQAB\"}", "\"n\""},
        {"{\"kty\":\"RSA\",\"n\":5,\"e\":\"AQAB\"}", "\"n\""},
        {"{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}", "bits"},
        {"{" RFC7515_A2_PUBLIC ",\"d\":\"AQ=B\"}", "\"d\""},
        {"{" RFC7515_A2_PUBLIC ",\"d\":\"AQAB\",\"p\":\"AQAB\"}", "\"q\""},
        {"{" RFC7515_A2_PRIVATE ",\"oth\":[]}", "\"oth\""},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AQAB\",\"y\":\"AQAB\"}", "\"x\""},
        {"{" RFC7515_A3_PUBLIC ",\"d\":\"AQAB\"}", "\"d\""},
        /* not on the curve: y of x */
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
         "\"y\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\"}",
         "cannot be read"},
        /* another key's d */
        {"{" RFC7515_A3_PUBLIC ",\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\"}",
         "belong together"},
        {"{" RFC8037_PUBLIC ",\"d\":\"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI\"}", "\"x\""},
        {"{\"kty\":\"RSA\",\"kty\":\"EC\"}", "not a JSON object"},
        {"{\"kty\":", "not a JSON object"},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++)
        refuse(cases[i][0], cases[i][1]);
}

/* RFC 7517, 4.2 and 4.4 */
static void use_and_alg_restrict(void **state)
{
    (void)state;
    struct th_key *key = parse("{" RFC7515_A2_PUBLIC ",\"alg\":\"RS256\",\"use\":\"sig\"}");
    assert_true(th_key_fits(key, TH_JWS_RS256));
    assert_false(th_key_fits(key, TH_JWS_PS256));
    th_key_unref(key);
    key = parse("{" RFC7515_A2_PUBLIC ",\"use\":\"enc\"}");
    assert_false(th_key_fits(key, TH_JWS_RS256));
    th_key_unref(key);
    key = parse("{" RFC7515_A2_PUBLIC ",\"alg\":\"RSA-OAEP\"}");
    assert_false(th_key_fits(key, TH_JWS_RS256));
    th_key_unref(key);
    key = parse("{" RFC7515_A2_PUBLIC ",\"kid\":\"2\"}");
    for (enum th_alg alg = TH_JWS_NONE; alg <= TH_JWS_EDDSA; alg++)
        assert_int_equal(th_key_fits(key, alg), alg >= TH_JWS_RS256 && alg <= TH_JWS_PS512);
    assert_true(th_str_equal(th_key_kid(key), TH_STR("2")));
    th_key_unref(key);
    key = parse("{" RFC7515_A3_PUBLIC "}");
    for (enum th_alg alg = TH_JWS_NONE; alg <= TH_JWS_EDDSA; alg++)
        assert_int_equal(th_key_fits(key, alg), alg == TH_JWS_ES256);
    th_key_unref(key);
}

static void names_of_algorithms(void **state)
{
    (void)state;
    for (enum th_alg alg = TH_JWS_RS256; alg <= TH_JWS_EDDSA; alg++)
        assert_int_equal(th_alg_find(th_alg_name(alg)), alg);
    static const char *const others[] = {"none", "None", "", "HS256", "rs256", "RS256 ", "ES256K"};
    for (size_t i = 0; i < TH_COUNT_OF(others); i++)
        assert_int_equal(th_alg_find(th_str_of(others[i])), TH_JWS_NONE);
}

int main(void)
{
    th_json_start();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thumbprints),
        cmocka_unit_test(public_jwk_is_what_came_in),
        cmocka_unit_test(generated_keys_survive_pem_and_jwk),
        cmocka_unit_test(pem_forms),
        cmocka_unit_test(bad_jwks),
        cmocka_unit_test(use_and_alg_restrict),
        cmocka_unit_test(names_of_algorithms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
