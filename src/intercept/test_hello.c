/* The first message of a TLS client: what OpenSSL's own clients send, and what nobody should. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#include "properties.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/error.h"
#include "tokenhop/intercept/hello.h"

struct bytes {
    uint8_t at[TH_HELLO_MAX * 2];
    size_t len;
};

/* What a client of OpenSSL sends first. */
static void make(struct bytes *ret, const char *name, const char *protocols, int max_version)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl;
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());

    assert_int_equal(SSL_CTX_set_max_proto_version(ctx, max_version), 1);
    ssl = SSL_new(ctx);
    SSL_set_bio(ssl, in, out);
    if (name != NULL)
        assert_int_equal(SSL_set_tlsext_host_name(ssl, name), 1);
    if (protocols != NULL)
        assert_int_equal(
            SSL_set_alpn_protos(ssl, (const unsigned char *)protocols, (unsigned)strlen(protocols)),
            0);
    (void)SSL_connect(ssl);
    ERR_clear_error();
    ret->len = (size_t)BIO_read(out, ret->at, sizeof ret->at);
    assert_true(ret->len > 50 && ret->len < sizeof ret->at);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
}

static void r19_names_and_protocols(void **state)
{
    static const struct {
        const char *name, *protocols;
        bool http11, h2;
    } rows[] = {
        {"agent2.example.com", NULL, false, false},   {NULL, "\x08http/1.1", true, false},
        {"a.b", "\x02h2\x08http/1.1", true, true},    {"A.B", "\x02h2", false, true},
        {"x", "\x08http/1.0\x05http/", false, false},
    };
    struct th_hello hello;
    struct bytes bytes;

    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
            make(&bytes, rows[i].name, rows[i].protocols, version);
            assert_int_equal(th_hello_parse(bytes.at, bytes.len, &hello), 0);
            assert_int_equal(hello.has_name, rows[i].name != NULL);
            assert_string_equal(hello.name, rows[i].name != NULL ? rows[i].name : "");
            assert_int_equal(hello.name_len, strlen(hello.name));
            assert_int_equal(hello.has_protocols, rows[i].protocols != NULL);
            assert_int_equal(hello.offers_http11, rows[i].http11);
            assert_int_equal(hello.offers_h2, rows[i].h2);
            th_property_client_hello(bytes.at, bytes.len);
        }
    }
}

static void r20_each_prefix_is_not_yet_whole(void **state)
{
    struct th_hello hello;
    struct bytes bytes;

    (void)state;
    make(&bytes, "agent2.example.com", "\x08http/1.1", TLS1_3_VERSION);
    for (size_t n = 0; n < bytes.len; n++)
        assert_int_equal(th_hello_parse(bytes.at, n, &hello), TH_AGAIN);
    assert_int_equal(th_hello_parse(bytes.at, bytes.len, &hello), 0);
    memset(bytes.at + bytes.len, 0xff, 100); /* what follows does not count */
    assert_int_equal(th_hello_parse(bytes.at, bytes.len + 100, &hello), 0);
    assert_string_equal(hello.name, "agent2.example.com");
}

/* A message of these extensions, in one record. */
static void compose(struct bytes *ret, const void *extensions, size_t len)
{
    static const uint8_t fixed[] = {0,    0, 2, 0x13,
                                    0x01, 1, 0}; /* session id, suites, compression */
    size_t body = 2 + 32 + sizeof fixed + 2 + len;

    memset(ret->at, 7, sizeof ret->at);
    memcpy(ret->at, "\x16\x03\x01", 3);
    ret->at[3] = (uint8_t)((body + 4) >> 8);
    ret->at[4] = (uint8_t)(body + 4);
    ret->at[5] = 1;
    ret->at[6] = 0;
    ret->at[7] = (uint8_t)(body >> 8);
    ret->at[8] = (uint8_t)body;
    memcpy(ret->at + 9, "\x03\x03", 2);
    memcpy(ret->at + 9 + 34, fixed, sizeof fixed);
    ret->at[9 + 34 + sizeof fixed] = (uint8_t)(len >> 8);
    ret->at[9 + 35 + sizeof fixed] = (uint8_t)len;
    memcpy(ret->at + 9 + 36 + sizeof fixed, extensions, len);
    ret->len = 5 + 4 + body;
}

#define EXT(text) text, sizeof(text) - 1

static void malformed_messages(void **state)
{
    static const struct {
        const char *what, *extensions;
        size_t len;
        int verdict;
    } rows[] = {
        {"none", EXT(""), 0},
        {"unknown ones", EXT("\0\x0b\0\0\xff\x01\0\x01\0"), 0},
        {"a name", EXT("\0\0\0\x06\0\x04\0\0\x01x"), 0},
        {"a name twice", EXT("\0\0\0\x06\0\x04\0\0\x01x\0\0\0\x06\0\x04\0\0\x01x"),
         TH_E_BAD_REQUEST},
        {"two names", EXT("\0\0\0\x0a\0\x08\0\0\x01x\0\0\x01y"), TH_E_BAD_REQUEST},
        {"an empty name", EXT("\0\0\0\x05\0\x03\0\0\0"), TH_E_BAD_REQUEST},
        {"an empty list", EXT("\0\0\0\x02\0\0"), TH_E_BAD_REQUEST},
        {"another type of name", EXT("\0\0\0\x06\0\x04\x01\0\x01x"), TH_E_BAD_REQUEST},
        {"a NUL in the name", EXT("\0\0\0\x08\0\x06\0\0\x03x\0y"), TH_E_BAD_REQUEST},
        {"a name longer than its list", EXT("\0\0\0\x06\0\x04\0\0\x02x"), TH_E_BAD_REQUEST},
        {"a list shorter than the extension", EXT("\0\0\0\x07\0\x04\0\0\x01xy"), TH_E_BAD_REQUEST},
        {"an extension longer than the rest", EXT("\0\0\0\x07\0\x04\0\0\x01x"), TH_E_BAD_REQUEST},
        {"half an extension", EXT("\0\0\0"), TH_E_BAD_REQUEST},
        {"a protocol", EXT("\0\x10\0\x05\0\x03\x02h2"), 0},
        {"an empty protocol", EXT("\0\x10\0\x06\0\x04\x02h2\0"), TH_E_BAD_REQUEST},
        {"no protocols", EXT("\0\x10\0\x02\0\0"), TH_E_BAD_REQUEST},
        {"a protocol longer than its list", EXT("\0\x10\0\x05\0\x03\x03h2"), TH_E_BAD_REQUEST},
    };
    struct th_hello hello;
    struct bytes bytes;

    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        compose(&bytes, rows[i].extensions, rows[i].len);
        if (th_hello_parse(bytes.at, bytes.len, &hello) != rows[i].verdict)
            fail_msg("%s", rows[i].what);
        th_property_client_hello(bytes.at, bytes.len);
    }
}

static void other_messages(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } rows[] = {
        {EXT("GET / HTTP/1.1\r\n")},
        {EXT("\x17\x03\x01")},
        {EXT("\x16\x02\x00")},
        {EXT("\x16\x03\x01\0\0\x01")},
        {EXT("\x16\x03\x01\x40\x01")},
        {EXT("\x16\x03\x01\0\x05\x02\0\0\x01\0")},
        {EXT("\x16\x03\x01\0\x04\x01\0\0\0")},
        {EXT("\x16\x03\x01\0\x04\x01\x01\0\0")},
        {EXT("\x16\x03\x01\0\x02\x01\0\x15\x03\x01")},
    };
    struct th_hello hello;

    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        if (th_hello_parse(rows[i].bytes, rows[i].len, &hello) != TH_E_BAD_REQUEST)
            fail_msg("row %zu", i);
        th_property_client_hello((const uint8_t *)rows[i].bytes, rows[i].len);
    }
}

/* Never more than TH_HELLO_MAX is waited for. */
static void the_largest(void **state)
{
    struct th_hello hello;
    struct bytes bytes;

    (void)state;
    memset(&bytes, 0, sizeof bytes);
    memcpy(bytes.at, "\x16\x03\x01\x3f\xfb\x01\x00\x3f\xf7", 9);
    assert_int_equal(th_hello_parse(bytes.at, TH_HELLO_MAX - 1, &hello), TH_AGAIN);
    assert_int_equal(th_hello_parse(bytes.at, TH_HELLO_MAX, &hello), TH_E_BAD_REQUEST);
    for (size_t at = 0; at + 6 <= sizeof bytes.at; at += 6) /* in records of one byte */
        memcpy(bytes.at + at, "\x16\x03\x01\0\x01\x01", 6);
    memcpy(bytes.at + 6, "\x16\x03\x01\0\x01\0", 6);
    memcpy(bytes.at + 12, "\x16\x03\x01\0\x01\x30", 6);
    assert_int_equal(th_hello_parse(bytes.at, 6000, &hello), TH_AGAIN);
    assert_int_equal(th_hello_parse(bytes.at, TH_HELLO_MAX, &hello), TH_E_BAD_REQUEST);
}

static void bent_messages(void **state)
{
    struct bytes bytes, bent;

    (void)state;
    srand(1);
    make(&bytes, "agent2.example.com", "\x02h2\x08http/1.1", TLS1_3_VERSION);
    for (int i = 0; i < 3000; i++) {
        bent = bytes;
        for (int n = rand() % 3; n >= 0; n--)
            bent.at[(size_t)rand() % bent.len] ^= (uint8_t)(1 << rand() % 8);
        th_property_client_hello(bent.at,
                                 (size_t)rand() % 4 == 0 ? (size_t)rand() % bent.len : bent.len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(r19_names_and_protocols),
        cmocka_unit_test(r20_each_prefix_is_not_yet_whole),
        cmocka_unit_test(malformed_messages),
        cmocka_unit_test(other_messages),
        cmocka_unit_test(the_largest),
        cmocka_unit_test(bent_messages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
