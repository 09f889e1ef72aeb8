/* Fetching over TLS: who is trusted, and that no connection is shared by those who trust
 * differently. */
#include "test_support.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#include "test_server.h"
#include "tokenhop/net/fetch.h"
#include "tokenhop/net/init.h"

struct setting {
    struct server server;
    SSL_CTX *tls;
    struct th_helpers *helpers;
    struct bench bench;
    struct th_fetcher *fetcher;
    char ca_file[64];
    char other_file[64];
};

static void add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX context;

    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    assert_non_null(extension);
    X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
}

static X509 *make_certificate(EVP_PKEY *key, const char *names, long valid_s)
{
    X509 *cert = X509_new();
    X509_NAME *name;

    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -7200);
    X509_gmtime_adj(X509_getm_notAfter(cert), valid_s);
    X509_set_pubkey(cert, key);
    name = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(cert, name);
    add_extension(cert, NID_subject_alt_name, names);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    return cert;
}

static void write_certificate(X509 *cert, char path[64])
{
    strcpy(path, "/tmp/tokenhop-net-XXXXXX");
    int fd = mkstemp(path);
    FILE *file = fdopen(fd, "w");

    assert_true(PEM_write_X509(file, cert));
    fclose(file);
}

static void make_tls(struct setting *s, const char *names, long valid_s, int max_version)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    EVP_PKEY *other_key = EVP_EC_gen("P-256");
    X509 *cert = make_certificate(key, names, valid_s);
    X509 *other = make_certificate(other_key, names, 7200);

    s->tls = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(s->tls, cert);
    SSL_CTX_use_PrivateKey(s->tls, key);
    if (max_version != 0) {
        SSL_CTX_set_security_level(s->tls, 0);
        SSL_CTX_set_min_proto_version(s->tls, TLS1_VERSION);
        SSL_CTX_set_max_proto_version(s->tls, max_version);
    }
    write_certificate(cert, s->ca_file);
    write_certificate(other, s->other_file);
    X509_free(cert);
    X509_free(other);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other_key);
}

static void setting_open(struct setting *s, const char *names, long valid_s, int max_version,
                         bool with_helpers)
{
    struct th_worker_options options = {0};

    memset(s, 0, sizeof(*s));
    make_tls(s, names, valid_s, max_version);
    server_start(&s->server, s->tls);
    if (with_helpers)
        assert_int_equal(th_helpers_new(1, 10, &s->helpers), 0);
    options.helpers = s->helpers;
    assert_int_equal(th_worker_new(&options, &s->bench.worker), 0);
    assert_int_equal(th_fetcher_new_curl(s->bench.worker, &s->fetcher), 0);
}

static void setting_close(struct setting *s)
{
    s->fetcher->free(s->fetcher);
    assert_int_equal(s->bench.worker->wheel.n_timers, 0);
    if (s->helpers != NULL)
        th_helpers_stop(s->helpers);
    bench_close(&s->bench);
    th_helpers_free(s->helpers);
    server_stop(&s->server);
    SSL_CTX_free(s->tls);
    unlink(s->ca_file);
    unlink(s->other_file);
}

struct answer {
    int called;
    int error;
    int status;
    char detail[256];
};

static void on_fetched(void *arg, int error, const struct th_fetch_response *response,
                       const char *detail)
{
    struct answer *answer = arg;

    answer->called++;
    answer->error = error;
    answer->status = error == 0 ? response->status : 0;
    snprintf(answer->detail, sizeof(answer->detail), "%s", detail);
}

static void start_as(struct setting *s, const char *ca_file, struct th_identity *identity,
                     struct answer *answer, struct th_fetch **ret_fetch)
{
    char url[128];
    struct th_fetch_request request = {
        .ca_file = th_str_of(ca_file), .identity = identity, .timeout_ms = 5000};

    snprintf(url, sizeof(url), "https://127.0.0.1:%u/ok", s->server.port);
    request.url = th_str_of(url);
    memset(answer, 0, sizeof(*answer));
    assert_int_equal(s->fetcher->start(s->fetcher, &request, on_fetched, answer, ret_fetch), 0);
    assert_int_equal(answer->called, 0);
}

static void start(struct setting *s, const char *ca_file, struct answer *answer,
                  struct th_fetch **ret_fetch)
{
    start_as(s, ca_file, NULL, answer, ret_fetch);
}

static int fetch_as(struct setting *s, const char *ca_file, struct th_identity *identity)
{
    struct answer answer;
    struct th_fetch *fetch_;

    start_as(s, ca_file, identity, &answer, &fetch_);
    wait_for(&s->bench, &answer.called);
    if (answer.error == 0)
        assert_int_equal(answer.status, 200);
    else
        assert_string_not_equal(answer.detail, "");
    return answer.error;
}

static int fetch(struct setting *s, const char *ca_file)
{
    return fetch_as(s, ca_file, NULL);
}

static struct th_identity *identity_new(void)
{
    struct th_identity *identity;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = make_certificate(key, "DNS:agent", 7200);
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;

    assert_true(PEM_write_bio_X509(bio, cert));
    assert_true(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL));
    size_t len = (size_t)BIO_get_mem_data(bio, &text);
    assert_int_equal(th_identity_new((struct th_str){text, len}, &identity, NULL), 0);
    assert_int_equal(th_identity_set_key(identity, (struct th_str){text, len}, NULL), 0);
    BIO_free(bio);
    X509_free(cert);
    EVP_PKEY_free(key);
    return identity;
}

/* A kept connection serves who shows what it was opened with, and nobody else. */
static void test_identities(void **state)
{
    struct setting s;
    struct answer answer;
    struct th_fetch *fetch_;
    struct th_identity *one = identity_new(), *other = identity_new();

    setting_open(&s, "IP:127.0.0.1", 7200, 0, true);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fetch_as(&s, s.ca_file, one), 0);
        assert_int_equal(fetch_as(&s, s.ca_file, other), 0);
        assert_int_equal(fetch_as(&s, s.ca_file, NULL), 0);
    }
    assert_int_equal(s.server.n_connections, 3);
    assert_int_equal(s.server.n_requests, 6);
    assert_int_equal(fetch_as(&s, s.other_file, one), TH_E_EXCHANGE_FAILED);
    /* It is held as long as it is needed, whoever else has let go. */
    start_as(&s, s.ca_file, one, &answer, &fetch_);
    th_identity_unref(one);
    wait_for(&s.bench, &answer.called);
    assert_int_equal(answer.error, 0);
    const struct th_fetch_request cleartext = {
        .url = TH_STR("http://127.0.0.1:1/"), .identity = other, .timeout_ms = 1000};
    assert_int_equal(s.fetcher->start(s.fetcher, &cleartext, on_fetched, &answer, &fetch_),
                     TH_E_BAD_TARGET);
    th_identity_unref(other);
    setting_close(&s);
}

static void test_trust(void **state)
{
    struct setting s;

    for (int helpers = 0; helpers < 2; helpers++) {
        setting_open(&s, "IP:127.0.0.1", 7200, 0, helpers);
        assert_int_equal(fetch(&s, s.ca_file), 0);
        assert_int_equal(fetch(&s, s.ca_file), 0);
        assert_int_equal(s.server.n_connections, 1);
        assert_int_equal(s.server.n_requests, 2);
        /* The kept connection is verified, but not by those whom these trust. */
        assert_int_equal(fetch(&s, s.other_file), TH_E_EXCHANGE_FAILED);
        assert_int_equal(fetch(&s, ""), TH_E_EXCHANGE_FAILED);
        assert_int_equal(fetch(&s, "/nowhere/ca.pem"), TH_E_EXCHANGE_FAILED);
        assert_int_equal(s.server.n_requests, 2);
        setting_close(&s);
    }
}

static void copy_file(const char *from, const char *to)
{
    char text[8192];
    FILE *in = fopen(from, "r"), *out = fopen(to, "w");

    assert_non_null(in);
    assert_non_null(out);
    size_t len = fread(text, 1, sizeof(text), in);
    assert_int_equal(fwrite(text, 1, len, out), len);
    fclose(in);
    fclose(out);
}

/* Whom nobody trusts any more is not reached, neither anew nor over a kept connection. */
static void test_trust_is_read_again(void **state)
{
    struct setting s;
    struct answer under_way;
    struct th_fetch *fetch_;
    char ca_file[80];

    for (int helpers = 0; helpers < 2; helpers++) {
        setting_open(&s, "IP:127.0.0.1", 7200, 0, helpers);
        snprintf(ca_file, sizeof(ca_file), "%s.again", s.ca_file);
        copy_file(s.ca_file, ca_file);
        assert_int_equal(fetch(&s, ca_file), 0);
        copy_file(s.other_file, ca_file);
        assert_int_equal(fetch(&s, ca_file), 0); /* as read a moment ago */
        start(&s, ca_file, &under_way, &fetch_);
        th_fetcher_forget_ca(s.fetcher, th_str_of("/nowhere/ca.pem"));
        th_fetcher_forget_ca(s.fetcher, th_str_of(ca_file));
        assert_int_equal(fetch(&s, ca_file), TH_E_EXCHANGE_FAILED);
        wait_for(&s.bench, &under_way.called);
        assert_int_equal(under_way.error, 0); /* it had begun before */
        copy_file(s.ca_file, ca_file);
        th_fetcher_forget_ca(s.fetcher, th_str_of(ca_file));
        assert_int_equal(fetch(&s, ca_file), 0);
        assert_int_equal(s.server.n_requests, 4);
        start(&s, ca_file, &under_way, &fetch_);
        th_fetcher_forget_ca(s.fetcher, th_str_of(ca_file));
        setting_close(&s); /* with one outdated that is still in use */
        unlink(ca_file);
    }
}

static void test_certificate_must_hold(void **state)
{
    struct setting s;

    setting_open(&s, "DNS:localhost,IP:127.0.0.2", 7200, 0, false); /* another name */
    assert_int_equal(fetch(&s, s.ca_file), TH_E_EXCHANGE_FAILED);
    assert_int_equal(s.server.n_requests, 0);
    setting_close(&s);
    setting_open(&s, "IP:127.0.0.1", -3600, 0, false); /* expired */
    assert_int_equal(fetch(&s, s.ca_file), TH_E_EXCHANGE_FAILED);
    assert_int_equal(s.server.n_requests, 0);
    setting_close(&s);
    setting_open(&s, "IP:127.0.0.1", 7200, TLS1_1_VERSION, false); /* too old a protocol */
    assert_int_not_equal(fetch(&s, s.ca_file), 0);
    assert_int_equal(s.server.n_requests, 0);
    setting_close(&s);
}

static void test_cancel_while_certificates_are_read(void **state)
{
    struct setting s;
    struct answer answer, other;
    struct th_fetch *fetch_;

    setting_open(&s, "IP:127.0.0.1", 7200, 0, true);
    start(&s, s.ca_file, &answer, &fetch_);
    s.fetcher->cancel(s.fetcher, fetch_);
    start(&s, s.other_file, &other, &fetch_); /* goes with the fetcher */
    setting_close(&s);
    assert_int_equal(answer.called, 0);
    assert_int_equal(other.called, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trust),
        cmocka_unit_test(test_identities),
        cmocka_unit_test(test_trust_is_read_again),
        cmocka_unit_test(test_certificate_must_hold),
        cmocka_unit_test(test_cancel_while_certificates_are_read),
    };
    int failed;

    if (th_net_global_init() != 0)
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    th_net_global_fini();
    return failed;
}
