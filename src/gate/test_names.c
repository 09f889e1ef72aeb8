#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/dn.h"
#include "tokenhop/gate/names.h"
#include "tokenhop/token/broker.h"

static bool bears(const struct th_caller_names *names, enum th_caller_proof proof, const char *text)
{
    uint8_t digest[32];

    th_broker_digest(th_str_of(text), digest);
    for (size_t i = 0; i < names->n; i++)
        if (names->items[i].proof == proof && memcmp(names->items[i].digest, digest, 32) == 0)
            return true;
    return false;
}

static bool has_subject(const struct th_caller_names *names, const char *text)
{
    char canonical[TH_DN_MAX + 1];
    struct th_buf buf;

    th_buf_init(&buf, TH_DN_MAX);
    assert_int_equal(th_dn_read(th_str_of(text), &buf, NULL), 0);
    snprintf(canonical, sizeof canonical, "%.*s", TH_STR_ARGS(th_buf_str(&buf)));
    th_buf_fini(&buf);
    return bears(names, TH_CALLER_SUBJECT, canonical);
}

/* --- of a certificate --- */

static X509 *certificate_of(const char *cn, const char *alternatives)
{
    X509 *certificate = X509_new();
    X509V3_CTX ctx;

    if (cn != NULL)
        X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                                   (const unsigned char *)cn, -1, -1, 0);
    X509V3_set_ctx(&ctx, NULL, certificate, NULL, NULL, 0);
    if (alternatives != NULL) {
        X509_EXTENSION *extension =
            X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_alt_name, alternatives);
        assert_non_null(extension);
        X509_add_ext(certificate, extension, -1);
        X509_EXTENSION_free(extension);
    }
    return certificate;
}

static void names_of(const char *cn, const char *alternatives, struct th_caller_names *ret_names)
{
    X509 *certificate = certificate_of(cn, alternatives);

    th_caller_names_of(certificate, ret_names);
    X509_free(certificate);
}

static void of_certificates(void **state)
{
    struct th_caller_names names;

    (void)state;
    names_of("agent1",
             "URI:spiffe://mesh/a,DNS:Agent1.Example.COM,DNS:*.wild.test,email:a@b.c,IP:1.2.3.4",
             &names);
    assert_int_equal(names.n, 4);
    assert_true(bears(&names, TH_CALLER_URI, "spiffe://mesh/a"));
    assert_true(bears(&names, TH_CALLER_DNS, "agent1.example.com"));
    assert_false(bears(&names, TH_CALLER_DNS, "a.wild.test"));
    assert_false(bears(&names, TH_CALLER_URI, "agent1.example.com"));
    assert_true(has_subject(&names, "CN=agent1"));
    /* a name is of its kind */
    names_of("agent1", "DNS:mesh,URI:https://agent1.test/x", &names);
    assert_true(bears(&names, TH_CALLER_URI, "https://agent1.test/x"));
    assert_false(bears(&names, TH_CALLER_DNS, "https://agent1.test/x"));
    names_of(NULL, NULL, &names);
    assert_int_equal(names.n, 0);
}

static void one_spiffe_id(void **state)
{
    struct th_caller_names names;

    (void)state;
    names_of("x", "URI:spiffe://mesh/a,URI:spiffe://mesh/b", &names);
    assert_int_equal(names.n, 1);
    names_of("x", "URI:spiffe://mesh/a,URI:https://b.test/", &names);
    assert_false(bears(&names, TH_CALLER_URI, "spiffe://mesh/a"));
    assert_true(bears(&names, TH_CALLER_URI, "https://b.test/"));
    names_of("x", "URI:https://a.test/,URI:https://b.test/", &names);
    assert_int_equal(names.n, 3);
}

static void many_names(void **state)
{
    char text[4096];
    struct th_caller_names names;

    (void)state;
    for (int n = TH_CALLER_NAMES_MAX - 1; n <= TH_CALLER_NAMES_MAX + 1; n++) {
        int len = 0;
        for (int i = 0; i < n; i++)
            len += snprintf(text + len, sizeof text - (size_t)len, "%sDNS:n%d.test",
                            i > 0 ? "," : "", i);
        names_of("x", text, &names);
        assert_int_equal(names.too_many, n >= TH_CALLER_NAMES_MAX); /* the subject is one too */
        assert_int_equal(names.n, names.too_many ? 0 : n + 1);
    }
}

static void a_name_with_a_nul(void **state)
{
    X509 *certificate = X509_new();
    GENERAL_NAMES *alternatives = GENERAL_NAMES_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    struct th_caller_names names;

    (void)state;
    ASN1_STRING_set(text, "good.test\0.evil.test", 20);
    GENERAL_NAME_set0_value(name, GEN_DNS, text);
    sk_GENERAL_NAME_push(alternatives, name);
    X509_add1_ext_i2d(certificate, NID_subject_alt_name, alternatives, 0, 0);
    th_caller_names_of(certificate, &names);
    assert_false(bears(&names, TH_CALLER_DNS, "good.test"));
    GENERAL_NAMES_free(alternatives);
    X509_free(certificate);
}

/* --- of one that is forwarded --- */

static void forwarded(void **state)
{
    struct th_caller_names names;

    (void)state;
    assert_int_equal(
        th_caller_names_forwarded(
            TH_STR("By=spiffe://mesh/x;URI=spiffe://mesh/other,By=spiffe://mesh/us;Hash=00;"
                   "Subject=\"CN=agent1,O=Ex\\, Inc\";URI=spiffe://mesh/a;DNS=A.test;DNS=b.test"),
            &names),
        0);
    assert_int_equal(names.n, 4);
    assert_true(bears(&names, TH_CALLER_URI, "spiffe://mesh/a"));
    assert_false(bears(&names, TH_CALLER_URI, "spiffe://mesh/other"));
    assert_false(bears(&names, TH_CALLER_URI, "spiffe://mesh/us"));
    assert_true(bears(&names, TH_CALLER_DNS, "a.test"));
    assert_true(bears(&names, TH_CALLER_DNS, "b.test"));
    assert_true(has_subject(&names, "CN=agent1,O=Ex\\, Inc"));
    assert_int_equal(th_caller_names_forwarded(TH_STR("Hash=00;Subject=\"\";URI="), &names), 0);
    assert_int_equal(names.n, 0);
    assert_int_equal(
        th_caller_names_forwarded(TH_STR("Subject=\"/C=US/CN=old\";URI=a;URI=spiffe://b"), &names),
        0);
    assert_int_equal(names.n, 1);
    assert_int_equal(th_caller_names_forwarded(TH_STR("URI=a b"), &names), TH_E_BAD_REQUEST);
    assert_int_equal(th_caller_names_forwarded(TH_STR(""), &names), TH_E_BAD_REQUEST);
}

static void who_is_believed(void **state)
{
    static const struct th_config_network from[] = {
        {.address = {{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1}}}, .prefix = 128},
        {.address = {{{0xfd}}}, .prefix = 8},
    };
    struct th_config_forwarded_certificate forwarded_by = {
        .header = TH_STR("X"), .from = from, .n_from = TH_COUNT_OF(from)};
    static const struct {
        const char *address;
        bool wanted;
    } rows[] = {{"127.0.0.1", true}, {"127.0.0.2", false}, {"::ffff:127.0.0.1", true},
                {"fd00::1", true},   {"fe80::1", false},   {"::1", false}};
    struct th_address peer;

    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        assert_int_equal(th_address_parse(th_str_of(rows[i].address), 1234, &peer), 0);
        if (th_caller_names_trusts(&forwarded_by, &peer) != rows[i].wanted)
            fail_msg("%s", rows[i].address);
    }
    memset(&peer, 0, sizeof peer);
    peer.any.sa_family = AF_UNIX;
    assert_false(th_caller_names_trusts(&forwarded_by, &peer));
    forwarded_by.from_unix = true;
    assert_true(th_caller_names_trusts(&forwarded_by, &peer));
    peer.any.sa_family = AF_UNSPEC;
    assert_false(th_caller_names_trusts(&forwarded_by, &peer));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_certificates), cmocka_unit_test(one_spiffe_id),
        cmocka_unit_test(many_names),      cmocka_unit_test(a_name_with_a_nul),
        cmocka_unit_test(forwarded),       cmocka_unit_test(who_is_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
