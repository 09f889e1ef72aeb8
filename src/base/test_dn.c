#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/dn.h"

static char *read_text(const char *text)
{
    struct th_buf buf;
    struct th_errinfo info = {0};
    char *found = NULL;

    th_buf_init(&buf, TH_DN_MAX);
    if (th_dn_read(th_str_of(text), &buf, &info) == 0 && !buf.failed)
        found = strndup(buf.ptr, buf.len);
    th_buf_fini(&buf);
    return found;
}

static void test_written_forms(void **state)
{
    /* Whatever stands in a row is one name. */
    static const char *const alike[][4] = {
        {"CN=agent1,O=Example", "cn=agent1, o = Example", "2.5.4.3=agent1,2.5.4.10=Example",
         "CN=\\61gent1,O=Exa\\6dple"},
        {"CN=a\\,b", "CN=a\\2cb", "CN=a\\2Cb", "  CN =  a\\,b  "},
        {"OU=x+CN=y,C=DE", "CN=y+OU=x,C=DE", "cn=y + ou=x , c=DE", "2.5.4.11=x+2.5.4.3=y,C=DE"},
        {"CN=Lu\\C4\\8Di\\C4\\87", "CN=Lu\xc4\x8di\xc4\x87", NULL, NULL},
        {"CN=#0c0161", "CN=a", "CN=#0C0161", "CN=#130161"},
        {"CN=", "CN= ", "cn=", NULL},
        {"1.3.6.1.4.1.99999=#0403010203", "1.3.6.1.4.1.99999=#0403010203 ", NULL, NULL},
        {"CN=a\\ ,O=b", "CN=a\\20,O=b", NULL, NULL},
        {"CN=a=b", "CN=a\\=b", "CN=a\\3db", NULL},
        {"CN=\\#1", "CN=\\231", NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(alike); i++) {
        char *first = read_text(alike[i][0]);
        assert_non_null(first);
        for (size_t k = 1; k < 4 && alike[i][k] != NULL; k++) {
            char *other = read_text(alike[i][k]);
            if (other == NULL || strcmp(first, other) != 0)
                fail_msg("%s: %s, not %s", alike[i][k], other != NULL ? other : "?", first);
            free(other);
        }
        for (size_t k = 0; k < TH_COUNT_OF(alike); k++) {
            char *other = read_text(alike[k][0]);
            assert_true((k == i) == (strcmp(first, other) == 0));
            free(other);
        }
        free(first);
    }
}

static void test_other_names(void **state)
{
    static const char *const names[] = {"CN=agent1,O=Example",   "O=Example,CN=agent1",
                                        "CN=Agent1,O=Example",   "CN=agent1+O=Example",
                                        "CN=agent1\\,O=Example", "CN=agent1",
                                        "OU=agent1,O=Example",   "CN=agent1,O=Example,C=DE"};
    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(names); i++) {
        for (size_t k = 0; k < i; k++) {
            char *a = read_text(names[i]), *b = read_text(names[k]);
            assert_string_not_equal(a, b);
            free(a);
            free(b);
        }
    }
}

static void test_no_names(void **state)
{
    static const char *const texts[] = {
        "",
        "agent1",
        "/CN=agent1",
        "=x",
        "CN=a,",
        ",CN=a",
        "CN=a,,O=b",
        "CN=a+",
        "XX=a",
        "1=a",
        "1..2=a",
        ".1.2=a",
        "CN=a\\",
        "CN=a\\z",
        "CN=a\\4",
        "CN=\"a\"",
        "CN=a;O=b",
        "CN=<a>",
        "CN=#",
        "CN=#0",
        "CN=#0c0161z",
        "CN=#0c02",
        "CN=#0c016161",
        "CN=\\ff",
        "CN=\\c0\\80",
        "CN=a\tb",
        "CN=\\ed\\a0\\80",
        "A=1+B=2",
        "CN=1+CN=2+CN=3+CN=4+CN=5+CN=6+CN=7+CN=8+CN=9",
    };
    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(texts); i++) {
        char *found = read_text(texts[i]);
        if (found != NULL)
            fail_msg("%s: %s", texts[i], found);
    }
    char *large = malloc(TH_DN_MAX + 2);
    memset(large, 'a', TH_DN_MAX + 1);
    memcpy(large, "CN=", 3);
    large[TH_DN_MAX + 1] = '\0';
    assert_null(read_text(large));
    large[TH_DN_MAX] = '\0'; /* fits, and what becomes of it does not */
    assert_null(read_text(large));
    large[TH_DN_MAX - 10] = '\0';
    char *found = read_text(large);
    assert_non_null(found);
    free(found);
    free(large);
}

static void test_of_certificates(void **state)
{
    X509_NAME *name = X509_NAME_new();
    struct th_buf buf;

    (void)state;
    th_buf_init(&buf, TH_DN_MAX);
    assert_int_equal(th_dn_of(name, &buf), TH_E_CONFIG);
    X509_NAME_add_entry_by_txt(name, "C", MBSTRING_ASC, (const unsigned char *)"DE", -1, -1, 0);
    X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const unsigned char *)"Ex, Inc. \xc3\xa9",
                               -1, -1, 0);
    X509_NAME_add_entry_by_txt(name, "OU", MBSTRING_ASC, (const unsigned char *)"two", -1, -1, 0);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"agent1", -1, -1,
                               -1);
    assert_int_equal(th_dn_of(name, &buf), 0);
    char *found = strndup(buf.ptr, buf.len);
    char *wanted = read_text("CN=agent1+OU=two,O=Ex\\, Inc. \\C3\\A9,C=DE");
    assert_string_equal(found, wanted);
    free(found);
    free(wanted);
    /* What OpenSSL prints of it is read as the same. */
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253);
    long len = BIO_get_mem_data(bio, &text);
    struct th_buf other;
    th_buf_init(&other, TH_DN_MAX);
    assert_int_equal(th_dn_read((struct th_str){text, (size_t)len}, &other, NULL), 0);
    assert_true(th_str_equal(th_buf_str(&buf), th_buf_str(&other)));
    BIO_free(bio);
    th_buf_fini(&buf);
    th_buf_fini(&other);
    X509_NAME_free(name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_forms),
        cmocka_unit_test(test_other_names),
        cmocka_unit_test(test_no_names),
        cmocka_unit_test(test_of_certificates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
