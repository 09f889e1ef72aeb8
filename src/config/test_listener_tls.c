/* TLS of listeners, certificates that are forwarded to them, callers by certificate: what the sections become, and
 * their mistakes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "test_mistake.h"
#include "test_support.h"
#include "tokenhop/base/check.h"

static char *folder;

static FILE *open_file(const char *name, unsigned mode)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(chmod(path, mode), 0);
    return file;
}

/* A self-signed certificate and its key; `until` seconds from now. */
static void write_pair(const char *certificate_name, const char *key_name, const char *usage,
                       long until)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    X509_NAME *name = X509_get_subject_name(certificate);
    X509_set_version(certificate, 2);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -7200);
    X509_gmtime_adj(X509_getm_notAfter(certificate), until);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"x", -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    X509_set_pubkey(certificate, key);
    if (usage != NULL) {
        X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_ext_key_usage, usage);
        X509_add_ext(certificate, extension, -1);
        X509_EXTENSION_free(extension);
    }
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    FILE *file = open_file(certificate_name, 0644);
    PEM_write_X509(file, certificate);
    (void)fclose(file);
    file = open_file(key_name, 0600);
    PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
    (void)fclose(file);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static int setup(void **state)
{
    (void)state;
    char path[256];
    folder = test_folder_new();
    write_pair("proxy.pem", "proxy.key", "serverAuth", 3600);
    write_pair("old.pem", "old.key", NULL, -60);
    write_pair("client.pem", "client.key", "clientAuth", 3600);
    write_pair("ca.pem", "ca.key", NULL, 3600);
    write_pair("open.pem", "open.key", NULL, 3600);
    (void)snprintf(path, sizeof path, "%s/open.key", folder);
    assert_int_equal(chmod(path, 0644), 0);
    test_write_file(folder, "nothing.pem", "nothing\n", 0644);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_folder_remove(folder);
    return 0;
}

static const char *text_of(const char *listener, const char *rest, char room[4096])
{
    return test_listener_text("\"address\": \"127.0.0.1:1\", ", listener, rest, room);
}

static struct th_config *load(const char *listener, const char *rest)
{
    char room[4096];
    return test_config_load(text_of(listener, rest, room), folder);
}

#define AS_A "\"agent\": \"a\", "
#define TLS(rest) "\"tls\": {\"cert_file\": \"proxy.pem\", \"key_file\": \"proxy.key\"" rest "}"
#define ASKS ", \"client_certificate\": \"required\", \"client_ca_file\": \"ca.pem\""
#define CALLER(proof) "\"callers\": [{\"name\": \"c\", \"agent\": \"a\", " proof "}]"
#define CERTIFICATE(name) "\"certificate\": {" name "}"

static void what_it_becomes(void **state)
{
    (void)state;
    struct th_config *config = load(AS_A "\"mode\": \"gateway\"", "");
    const struct th_config_listener *listener = th_config_get(config)->listeners;
    assert_false(listener->tls.is_spoken);
    assert_false(th_config_listener_takes_certificates(listener));
    th_config_unref(config);

    config = load(AS_A TLS(""), "");
    listener = th_config_get(config)->listeners;
    assert_true(listener->tls.is_spoken && listener->tls.identity != NULL);
    assert_int_equal(listener->tls.client_certificate, TH_CLIENT_CERTIFICATE_NONE);
    th_config_unref(config);

    config = load(TLS(ASKS), CALLER(CERTIFICATE("\"san\": \"spiffe://x/y\"")));
    listener = th_config_get(config)->listeners;
    assert_int_equal(listener->tls.client_certificate, TH_CLIENT_CERTIFICATE_REQUIRED);
    assert_true(th_str_starts_with(listener->tls.client_authorities, TH_STR("-----BEGIN CERT")));
    assert_int_equal(listener->tls.client_lists.len, 0);
    assert_int_equal(th_config_get(config)->callers[0].proof, TH_CALLER_URI);
    th_config_unref(config);

    config = load("\"forwarded_certificate\": {\"from\": [\"127.0.0.1\", \"10.0.0.0/8\"]}",
                  CALLER(CERTIFICATE("\"subject\": \"CN=a, O=b\"")));
    listener = th_config_get(config)->listeners;
    assert_true(th_str_equal(listener->forwarded.header, TH_STR("X-Forwarded-Client-Cert")));
    assert_int_equal(listener->forwarded.n_from, 2);
    assert_false(listener->forwarded.from_unix);
    assert_int_equal(th_config_get(config)->callers[0].proof, TH_CALLER_SUBJECT);
    th_config_unref(config);
}

#define TLS_AT "$.listeners[0].tls"
#define FROM_AT "$.listeners[0].forwarded_certificate"
#define CALLER_AT "$.callers[0].certificate"
#define FORWARDED(rest) AS_A "\"forwarded_certificate\": {" rest "}"

static void mistakes(void **state)
{
    static const struct {
        const char *listener, *rest;
        struct test_mistake wanted;
    } rows[] = {
        {AS_A "\"tls\": {\"cert_file\": \"proxy.pem\"}",
         "",
         {"", TLS_AT, "\"key_file\" is missing", ""}},
        {AS_A "\"tls\": {\"key_file\": \"proxy.key\"}",
         "",
         {"", TLS_AT, "\"cert_file\" is missing", ""}},
        {AS_A "\"tls\": {\"cert_file\": \"proxy.pem\", \"key_file\": \"ca.key\"}",
         "",
         {"", TLS_AT ".key_file", "not that of the certificate", ""}},
        {AS_A "\"tls\": {\"cert_file\": \"open.pem\", \"key_file\": \"open.key\"}",
         "",
         {"", TLS_AT ".key_file", "others", ""}},
        {AS_A "\"tls\": {\"cert_file\": \"proxy.pem\", \"key_file\": \"none.key\"}",
         "",
         {"", TLS_AT ".key_file", "cannot be found", ""}},
        {AS_A "\"tls\": {\"cert_file\": \"old.pem\", \"key_file\": \"old.key\"}",
         "",
         {"", TLS_AT ".cert_file", "has expired", ""}},
        {AS_A "\"tls\": {\"cert_file\": \"client.pem\", \"key_file\": \"client.key\"}",
         "",
         {"", TLS_AT ".cert_file", "not for servers", "serverAuth"}},
        {AS_A "\"tls\": {\"cert_file\": \"nothing.pem\", \"key_file\": \"proxy.key\"}",
         "",
         {"", TLS_AT ".cert_file", "no certificate", ""}},
        {AS_A TLS(", \"client_certificate\": \"optional\""),
         "",
         {"", TLS_AT, "\"client_ca_file\" is missing", ""}},
        {AS_A TLS(", \"client_certificate\": \"required\""),
         "",
         {"", TLS_AT, "\"client_ca_file\" is missing", ""}},
        {AS_A TLS(", \"client_ca_file\": \"ca.pem\""),
         "",
         {"", TLS_AT ".client_ca_file", "no client is asked", "client_certificate"}},
        {AS_A TLS(", \"client_certificate\": \"none\", \"client_ca_file\": \"ca.pem\""),
         "",
         {"", TLS_AT ".client_ca_file", "has no \"client_ca_file\"", "leave it out"}},
        {AS_A TLS(", \"client_certificate\": \"optional\", \"client_ca_file\": \"nothing.pem\""),
         "",
         {"", TLS_AT ".client_ca_file", "no certificate", ""}},
        {AS_A TLS(ASKS ", \"client_crl_file\": \"ca.pem\""),
         "",
         {"", TLS_AT ".client_crl_file", "no revocation list", ""}},
        {FORWARDED(""), "", {"", FROM_AT, "\"from\" is missing", ""}},
        {FORWARDED("\"from\": [\"unix\"]"), "", {"", FROM_AT ".from[0]", "unix socket", ""}},
        {FORWARDED("\"from\": [\"127.0.0.1:80\"]"), "", {"", FROM_AT ".from[0]", "port", ""}},
        {FORWARDED("\"from\": [\"10.1.0.0/8\"]"), "", {"", FROM_AT ".from[0]", "", ""}},
        {FORWARDED("\"from\": [\"::1\"], \"header\": \"Host\""),
         "",
         {"", FROM_AT ".header", "meaning of its own", ""}},
        {FORWARDED("\"from\": [\"::1\"], \"header\": \"authorization\""),
         "",
         {"", FROM_AT ".header", "meaning of its own", ""}},
        {TLS(""),
         CALLER(CERTIFICATE("\"san\": \"a.test\"")),
         {"", "$.listeners[0]", "none can be shown", "client_certificate"}},
        {TLS(ASKS), CALLER(CERTIFICATE("")), {"", CALLER_AT, "one of the keys", ""}},
        {TLS(ASKS),
         CALLER(CERTIFICATE("\"san\": \"*.test\"")),
         {"", CALLER_AT ".san", "neither a URI nor a DNS name", ""}},
        {TLS(ASKS),
         CALLER(CERTIFICATE("\"subject\": \"/CN=x\"")),
         {"", CALLER_AT ".subject", "RFC 4514", "openssl x509"}},
        {TLS(ASKS),
         CALLER(CERTIFICATE("\"subject\": \"XX=x\"")),
         {"", CALLER_AT ".subject", "not known by name", ""}},
        {TLS(ASKS),
         "\"callers\": [{\"name\": \"c\", \"agent\": \"a\", " CERTIFICATE(
             "\"subject\": \"CN=a,O=b\"") "}, "
                                          "{\"name\": \"d\", \"agent\": \"a\", " CERTIFICATE(
                                              "\"subject\": \"cn=a, o=b\"") "}]",
         {"", "$.callers[1]", "cannot be told apart", "certificate"}},
    };
    char room[4096];
    bool fine = true;
    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++)
        fine &= test_mistake_is_found(&rows[i].wanted, i,
                                      text_of(rows[i].listener, rows[i].rest, room), folder);
    assert_true(fine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_becomes),
        cmocka_unit_test(mistakes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
