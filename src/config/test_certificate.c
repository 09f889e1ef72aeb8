/* Certificates of our own (RFC 8705; x5t), and what destinations' are looked at with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "test_support.h"
#include "tokenhop/base/check.h"
#include "tokenhop/config/load.h"

#define DAY (24 * 60 * 60)

static char *folder;

static EVP_PKEY *read_key(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    fclose(file);
    assert_non_null(key);
    return key;
}

struct spec {
    const char *file;
    const char *key;                 /* whose it is */
    const char *issuer, *issuer_key; /* certificate's file and key; NULL: self-signed */
    long from, to;                   /* 0: an hour ago, in a day */
    const char *usage;               /* extendedKeyUsage */
    const EVP_MD *(*digest)(void);
};

static X509 *read_certificate(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    return certificate;
}

static void write_certificate(const struct spec *spec)
{
    char path[256];
    EVP_PKEY *key = read_key(spec->key);
    X509 *certificate = X509_new();
    X509 *issuer = spec->issuer != NULL ? read_certificate(spec->issuer) : certificate;
    EVP_PKEY *issuer_key = spec->issuer_key != NULL ? read_key(spec->issuer_key) : key;
    X509_NAME *name = X509_get_subject_name(certificate);
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), spec->from != 0 ? spec->from : -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), spec->to != 0 ? spec->to : DAY);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)spec->file, -1, -1,
                               0);
    X509_set_issuer_name(certificate, X509_get_subject_name(issuer));
    X509_set_pubkey(certificate, key);
    if (spec->usage != NULL) {
        X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_ext_key_usage, spec->usage);
        X509_add_ext(certificate, extension, -1);
        X509_EXTENSION_free(extension);
    }
    assert_true(X509_sign(certificate, issuer_key,
                          spec->digest != NULL ? spec->digest() : EVP_sha256()) > 0);
    snprintf(path, sizeof path, "%s/%s", folder, spec->file);
    FILE *file = fopen(path, "w");
    assert_true(PEM_write_X509(file, certificate) == 1);
    fclose(file);
    if (issuer != certificate)
        X509_free(issuer);
    X509_free(certificate);
    if (issuer_key != key)
        EVP_PKEY_free(issuer_key);
    EVP_PKEY_free(key);
}

static void join(const char *name, const char *const *parts)
{
    char path[256], line[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *out = fopen(path, "w");
    for (; *parts != NULL; parts++) {
        snprintf(path, sizeof path, "%s/%s", folder, *parts);
        FILE *in = fopen(path, "r");
        assert_non_null(in);
        while (fgets(line, sizeof line, in) != NULL)
            fputs(line, out);
        fclose(in);
    }
    fclose(out);
}

static void write_list(const char *name)
{
    char path[256];
    EVP_PKEY *key = read_key("ca.key");
    X509 *issuer = read_certificate("ca.pem");
    X509_CRL *list = X509_CRL_new();
    ASN1_TIME *time = X509_gmtime_adj(NULL, 0);
    X509_CRL_set_version(list, 1);
    X509_CRL_set_issuer_name(list, X509_get_subject_name(issuer));
    X509_CRL_set1_lastUpdate(list, time);
    X509_CRL_set1_nextUpdate(list, X509_gmtime_adj(time, DAY));
    assert_true(X509_CRL_sign(list, key, EVP_sha256()) > 0);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_int_equal(PEM_write_X509_CRL(file, list), 1);
    fclose(file);
    ASN1_TIME_free(time);
    X509_CRL_free(list);
    X509_free(issuer);
    EVP_PKEY_free(key);
}

static int load(const char *auth, const char *connection, const char *server,
                struct th_config **ret_config, struct th_config_mistakes *mistakes)
{
    char *text;
    assert_true(
        asprintf(&text,
                 "{\"listeners\": [{\"name\": \"in\", \"address\": \"127.0.0.1:8080\","
                 "                \"agent\": \"a\"}],"
                 " \"authorization_servers\": {\"org\": {\"issuer\": \"https://idp.example\"%s}},"
                 " \"agents\": {\"a\": {\"client_id\": \"c\", \"authorization_server\": \"org\","
                 "   \"auth\": {%s}}},"
                 " \"connections\": [{\"name\": \"b\", \"url\": \"https://b.example/\","
                 "   \"type\": \"agent_to_agent\", \"authorization_server\": \"org\","
                 "   \"resource\": \"https://b.example\", \"agents\": [\"a\"]%s}]}",
                 server, auth, connection) > 0);
    int error = th_config_load_text(th_str_of(text), folder, ret_config, mistakes);
    free(text);
    return error;
}

#define NONE "\"method\": \"none\""
#define TLS "\"method\": \"tls_client_auth\", "
#define JWT "\"method\": \"private_key_jwt\", "

static struct th_config *load_well(const char *auth, const char *connection)
{
    struct th_config_mistakes mistakes;
    struct th_config *config = NULL;
    int error = load(auth, connection, "", &config, &mistakes);
    if (error != 0)
        th_config_mistakes_print(&mistakes, "file", stderr);
    assert_int_equal(error, 0);
    th_config_mistakes_fini(&mistakes);
    return config;
}

static void digest_of(const char *file, const EVP_MD *md, uint8_t *ret_digest)
{
    X509 *certificate = read_certificate(file);
    assert_int_equal(X509_digest(certificate, md, ret_digest, NULL), 1);
    X509_free(certificate);
}

static void test_of_an_agent(void **state)
{
    static const struct {
        const char *auth;
        enum th_auth_method method;
        const char *certificate;
        int n_chain;
        bool has_key;
    } cases[] = {
        {TLS "\"cert_file\": \"a.pem\", \"key_file\": \"a.key\"", TH_AUTH_TLS_CLIENT, "a.pem", 0,
         true},
        {TLS "\"cert_file\": \"chain.pem\", \"key_file\": \"a.key\"", TH_AUTH_TLS_CLIENT, "a.pem",
         1, true},
        {TLS "\"cert_file\": \"both.pem\", \"key_file\": \"a.key\"", TH_AUTH_TLS_CLIENT, "a.pem", 0,
         true}, /* with a key in the file too */
        {"\"method\": \"self_signed_tls_client_auth\", \"cert_file\": \"self.pem\", \"key_file\": "
         "\"rsa.key\"",
         TH_AUTH_SELF_SIGNED_TLS_CLIENT, "self.pem", 0, true},
        {JWT "\"cert_file\": \"self.pem\", \"key_file\": \"rsa.key\", \"x5t\": \"SHA1\"",
         TH_AUTH_PRIVATE_KEY_JWT, "self.pem", 0, false},
        {JWT "\"cert_file\": \"server.pem\", \"key_file\": \"a.key\", \"alg\": \"ES256\"",
         TH_AUTH_PRIVATE_KEY_JWT, "server.pem", 0, false}, /* for what is said of TLS alone */
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        uint8_t digest[32];
        struct th_config *config = load_well(cases[i].auth, "");
        const struct th_config_auth *auth = &th_config_get(config)->agents[0].auth;
        assert_int_equal(auth->method, cases[i].method);
        assert_non_null(auth->identity);
        assert_int_equal(auth->identity->key != NULL, cases[i].has_key);
        assert_int_equal(sk_X509_num(auth->identity->chain), cases[i].n_chain);
        digest_of(cases[i].certificate, EVP_sha256(), digest);
        assert_memory_equal(auth->identity->sha256, digest, 32);
        digest_of(cases[i].certificate, EVP_sha1(), digest);
        assert_memory_equal(auth->identity->sha1, digest, 20);
        assert_int_equal(auth->x5t, i == 4 ? TH_X5T_SHA1 : TH_X5T_S256);
        /* it lives on in whoever counts on it */
        struct th_identity *identity = th_identity_ref(auth->identity);
        th_config_unref(config);
        assert_true(th_identity_equal(identity, identity));
        th_identity_unref(identity);
    }
}

static void test_with_a_jwk(void **state)
{
    static const char *const kinds[] = {"rsa", "ec"};
    for (size_t i = 0; i < TH_COUNT_OF(kinds); i++) {
        char auth[256];
        struct th_config_mistakes mistakes;
        struct th_config *config = NULL;
        const char *alg = i == 0 ? "PS256" : "ES256";
        snprintf(auth, sizeof auth,
                 JWT "\"cert_file\": \"%s-jwk.pem\", \"key_file\": \"%s.jwk\", \"alg\": \"%s\"",
                 kinds[i], kinds[i], alg);
        th_config_unref(load_well(auth, ""));
        snprintf(auth, sizeof auth,
                 JWT "\"cert_file\": \"%s\", \"key_file\": \"%s.jwk\", \"alg\": \"%s\"",
                 i == 0 ? "self.pem" : "a.pem", kinds[i], alg);
        assert_int_equal(load(auth, "", "", &config, &mistakes), TH_E_CONFIG);
        assert_int_equal(mistakes.count, 1);
        assert_non_null(strstr(mistakes.items[0].what, "not that of the private key"));
        th_config_mistakes_fini(&mistakes);
    }
}

static void test_r19_mistakes(void **state)
{
    static const struct {
        const char *auth, *connection, *server, *path, *what;
    } cases[] = {
        {TLS "\"cert_file\": \"a.pem\", \"key_file\": \"rsa.key\"", "", "",
         "$.agents.a.auth.key_file", "not that of the certificate"},
        {TLS "\"cert_file\": \"expired.pem\", \"key_file\": \"a.key\"", "", "",
         "$.agents.a.auth.cert_file", "has expired"},
        {TLS "\"cert_file\": \"early.pem\", \"key_file\": \"a.key\"", "", "",
         "$.agents.a.auth.cert_file", "not yet valid"},
        {TLS "\"cert_file\": \"server.pem\", \"key_file\": \"a.key\"", "", "",
         "$.agents.a.auth.cert_file", "not for clients"},
        {TLS "\"cert_file\": \"sha1.pem\", \"key_file\": \"a.key\"", "", "",
         "$.agents.a.auth.cert_file", "SHA-1"},
        {TLS "\"cert_file\": \"small.pem\", \"key_file\": \"small.key\"", "", "",
         "$.agents.a.auth.cert_file", "2048 bits"},
        {TLS "\"cert_file\": \"disorder.pem\", \"key_file\": \"a.key\"", "", "",
         "$.agents.a.auth.cert_file", "not in order"},
        {TLS "\"cert_file\": \"stale-chain.pem\", \"key_file\": \"a.key\"", "", "",
         "$.agents.a.auth.cert_file", "has expired"},
        {TLS "\"cert_file\": \"a.key\", \"key_file\": \"a.key\"", "", "",
         "$.agents.a.auth.cert_file", "no certificate"},
        {TLS "\"cert_file\": \"broken.pem\", \"key_file\": \"a.key\"", "", "",
         "$.agents.a.auth.cert_file", "cannot be read"},
        {TLS "\"cert_file\": \"nowhere.pem\", \"key_file\": \"a.key\"", "", "",
         "$.agents.a.auth.cert_file", "cannot be opened"},
        {TLS "\"cert_file\": \".\", \"key_file\": \"a.key\"", "", "", "$.agents.a.auth.cert_file",
         "not a regular file"},
        {TLS "\"cert_file\": \"a.pem\", \"key_file\": \"locked.key\"", "", "",
         "$.agents.a.auth.key_file", "encrypted"},
        {TLS "\"cert_file\": \"a.pem\", \"key_file\": \"ec.jwk\"", "", "",
         "$.agents.a.auth.key_file", "no private key in PEM"},
        {TLS "\"cert_file\": \"a.pem\", \"key_file\": \"open.key\"", "", "",
         "$.agents.a.auth.key_file", "others"},
        {TLS "\"cert_file\": \"a.pem\"", "", "", "$.agents.a.auth", "\"key\" is missing"},
        {TLS "\"key_file\": \"a.key\"", "", "", "$.agents.a.auth", "\"cert_file\" is missing"},
        {TLS "\"cert_file\": \"a.pem\", \"key_file\": \"a.key\", \"kid\": \"k\"", "", "",
         "$.agents.a.auth.kid", "has no \"kid\""},
        {TLS "\"cert_file\": \"a.pem\", \"key_file\": \"a.key\"", "",
         ", \"token_endpoint\": \"http://127.0.0.1:1/t\"", "$.agents.a.auth.method",
         "no certificate is shown"},
        {JWT "\"cert_file\": \"a.pem\", \"key_file\": \"rsa.key\"", "", "",
         "$.agents.a.auth.cert_file", "not that of the private key"},
        {JWT "\"kid\": \"k\", \"key_file\": \"rsa.key\", \"x5t\": \"S256\"", "", "",
         "$.agents.a.auth.x5t", "no certificate"},
        {JWT "\"cert_file\": \"self.pem\", \"key_file\": \"rsa.key\", \"x5t\": \"MD5\"", "", "",
         "$.agents.a.auth.x5t", "none of the values"},
        {NONE ", \"cert_file\": \"a.pem\"", "", "", "$.agents.a.auth.cert_file", "has no"},
        {NONE, ", \"client_certificate\": {\"cert_file\": \"a.pem\", \"key_file\": \"rsa.key\"}",
         "", "$.connections[0].client_certificate.key_file", "not that of the certificate"},
        {NONE,
         ", \"client_certificate\": {\"cert_file\": \"expired.pem\", \"key_file\": \"a.key\"}", "",
         "$.connections[0].client_certificate.cert_file", "has expired"},
        {NONE, ", \"client_certificate\": {\"cert_file\": \"a.pem\"}", "",
         "$.connections[0].client_certificate", "\"key\" is missing"},
        {NONE, ", \"ca_file\": \"a.key\"", "", "$.connections[0].ca_file", "no certificate"},
        {NONE, ", \"ca_file\": \"ca.pem\", \"crl_file\": \"ca.pem\"", "",
         "$.connections[0].crl_file", "no revocation list"},
        {NONE, ", \"crl_file\": \"ca.crl\"", "", "$.connections[0].crl_file",
         "of its own authorities"},
        {NONE,
         "}, {\"name\": \"plain\", \"url\": \"http://c.example/\", \"type\": \"passthrough\","
         " \"agents\": [\"a\"], \"ca_file\": \"ca.pem\"",
         "", "$.connections[1].ca_file", "without TLS"},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_config_mistakes mistakes;
        struct th_config *config = NULL;
        assert_int_equal(
            load(cases[i].auth, cases[i].connection, cases[i].server, &config, &mistakes),
            TH_E_CONFIG);
        if (mistakes.count != 1 || strcmp(mistakes.items[0].path, cases[i].path) != 0 ||
            strstr(mistakes.items[0].what, cases[i].what) == NULL) {
            th_config_mistakes_print(&mistakes, "file", stderr);
            fail_msg("case %zu: wanted %s: %s", i, cases[i].path, cases[i].what);
        }
        th_config_mistakes_fini(&mistakes);
    }
}

static void test_of_a_connection(void **state)
{
    struct th_config *none = load_well(NONE, "");
    struct th_config *config = load_well(
        NONE, ", \"ca_file\": \"ca.pem\", \"crl_file\": \"ca.crl\", \"client_certificate\": "
              "{\"cert_file\": \"a.pem\", \"key_file\": \"a.key\"}");
    const struct th_config_connection *connection = th_config_get(config)->connections;
    assert_non_null(connection->client_certificate->key);
    assert_non_null(strstr(connection->ca_file.ptr, "/ca.pem"));
    assert_non_null(strstr(connection->crl_file.ptr, "/ca.crl"));
    assert_null(th_config_get(none)->connections->client_certificate);
    assert_int_equal(th_config_get(none)->connections->ca_file.len, 0);
    /* What was issued for one certificate is no use with another. */
    struct th_config *other = load_well(
        NONE, ", \"client_certificate\": {\"cert_file\": \"self.pem\", \"key_file\": \"rsa.key\"}");
    const uint8_t *versions[] = {connection->version, th_config_get(other)->connections->version,
                                 th_config_get(none)->connections->version};
    for (int i = 0; i < 3; i++)
        assert_memory_not_equal(versions[i], versions[(i + 1) % 3], 16);
    th_config_unref(none);
    th_config_unref(config);
    th_config_unref(other);
}

static int make_folder(void **state)
{
    static const struct spec specs[] = {
        {.file = "ca.pem", .key = "ca.key"},
        {.file = "a.pem", .key = "a.key", .issuer = "ca.pem", .issuer_key = "ca.key"},
        {.file = "self.pem", .key = "rsa.key"},
        {.file = "expired.pem", .key = "a.key", .from = -2 * DAY, .to = -DAY},
        {.file = "early.pem", .key = "a.key", .from = DAY, .to = 2 * DAY},
        {.file = "server.pem", .key = "a.key", .usage = "serverAuth"},
        {.file = "sha1.pem",
         .key = "a.key",
         .issuer = "ca.pem",
         .issuer_key = "ca.key",
         .digest = EVP_sha1},
        {.file = "small.pem", .key = "small.key"},
        {.file = "stale-ca.pem", .key = "ca.key", .from = -2 * DAY, .to = -DAY},
        {.file = "under-stale.pem",
         .key = "a.key",
         .issuer = "stale-ca.pem",
         .issuer_key = "ca.key"},
        {.file = "rsa-jwk.pem", .key = "rsa-of-jwk.key"},
        {.file = "ec-jwk.pem", .key = "ec-of-jwk.key"},
    };
    folder = test_folder_new();
    test_write_pem(folder, "ca.key", 0, "P-256");
    test_write_pem(folder, "a.key", 0, "P-256");
    test_write_pem(folder, "rsa.key", 2048, NULL);
    test_write_pem(folder, "small.key", 1024, NULL);
    test_write_encrypted_pem(folder, "locked.key");
    test_write_jwk_pair(folder, "rsa.jwk", "rsa-of-jwk.key", 2048, NULL);
    test_write_jwk_pair(folder, "ec.jwk", "ec-of-jwk.key", 0, "P-256");
    for (size_t i = 0; i < TH_COUNT_OF(specs); i++)
        write_certificate(&specs[i]);
    write_list("ca.crl");
    join("chain.pem", (const char *[]){"a.pem", "ca.pem", NULL});
    join("disorder.pem", (const char *[]){"a.pem", "self.pem", NULL});
    join("stale-chain.pem", (const char *[]){"under-stale.pem", "stale-ca.pem", NULL});
    join("both.pem", (const char *[]){"a.key", "a.pem", NULL});
    test_write_file(folder, "broken.pem",
                    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0644);
    test_write_file(folder, "open.key", "", 0644); /* it is not even looked into */
    return 0;
}

static int remove_folder(void **state)
{
    test_folder_remove(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_of_an_agent),
        cmocka_unit_test(test_with_a_jwk),
        cmocka_unit_test(test_r19_mistakes),
        cmocka_unit_test(test_of_a_connection),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
