#include "properties.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/intercept/hello.h"

/* A copy that ends where its memory does, so that a sanitizer sees a read past the end. */
static int parse_exactly(const uint8_t *bytes, size_t len, struct th_hello *ret_hello)
{
    uint8_t *copy = th_malloc(len > 0 ? len : 1);

    TH_REQUIRE(copy != NULL);
    if (len > 0)
        memcpy(copy, bytes, len);
    int verdict = th_hello_parse(copy, len, ret_hello);
    th_free(copy);
    return verdict;
}

static bool is_same(const struct th_hello *a, const struct th_hello *b)
{
    return a->has_name == b->has_name && a->name_len == b->name_len &&
           memcmp(a->name, b->name, a->name_len) == 0 && a->has_protocols == b->has_protocols &&
           a->offers_http11 == b->offers_http11 && a->offers_h2 == b->offers_h2;
}

static void hold_prefixes(const uint8_t *bytes, size_t len)
{
    size_t step = len / 200 + 1;
    struct th_hello first = {0}, hello;
    int before = TH_AGAIN;

    for (size_t n = 0; n <= len; n += step) {
        int verdict = parse_exactly(bytes, n, &hello);
        TH_REQUIRE(verdict == 0 || verdict == TH_AGAIN || verdict == TH_E_BAD_REQUEST);
        if (before != TH_AGAIN)
            TH_REQUIRE(verdict == before);
        if (before == 0)
            TH_REQUIRE(is_same(&first, &hello));
        first = hello;
        before = verdict;
    }
}

/* The same message in records of `size` bytes. */
static void hold_records(const uint8_t *bytes, size_t len, size_t size)
{
    uint8_t room[2 * TH_HELLO_MAX + 64];
    struct th_hello whole, cut;
    size_t out = 0;
    size_t record = len >= 5 ? (size_t)bytes[3] << 8 | bytes[4] : 0;

    if (parse_exactly(bytes, len, &whole) != 0)
        return;
    size_t message = ((size_t)bytes[6] << 16 | (size_t)bytes[7] << 8 | bytes[8]) + 4;
    if (record < message) /* already in several */
        return;
    for (size_t at = 0; at < message; at += size) {
        size_t part = message - at < size ? message - at : size;
        if (out + 5 + part > sizeof room)
            return;
        memcpy(room + out, bytes, 3);
        room[out + 3] = (uint8_t)(part >> 8);
        room[out + 4] = (uint8_t)part;
        memcpy(room + out + 5, bytes + 5 + at, part);
        out += 5 + part;
    }
    if (out > TH_HELLO_MAX)
        return;
    TH_REQUIRE(parse_exactly(room, out, &cut) == 0);
    TH_REQUIRE(is_same(&whole, &cut));
}

static bool holds_protocol(const unsigned char *ext, size_t len, const char *name)
{
    size_t name_len = strlen(name);

    for (size_t at = 2; at < len; at += ext[at] + 1u)
        if (ext[at] == name_len && len - at > name_len && memcmp(ext + at + 1, name, name_len) == 0)
            return true;
    return false;
}

/* Called where OpenSSL has read the message whole. */
static int on_hello(SSL *ssl, int *alert, void *arg)
{
    const struct th_hello *hello = arg;
    const unsigned char *ext;
    size_t len;

    bool has = SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &ext, &len) == 1;
    TH_REQUIRE(has == hello->has_name);
    if (has)
        TH_REQUIRE(len == 5u + hello->name_len && memcmp(ext + 5, hello->name, len - 5) == 0);
    has = SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &ext,
                                    &len) == 1;
    TH_REQUIRE(has == hello->has_protocols);
    if (has) {
        TH_REQUIRE(holds_protocol(ext, len, "http/1.1") == hello->offers_http11);
        TH_REQUIRE(holds_protocol(ext, len, "h2") == hello->offers_h2);
    }
    *alert = SSL_AD_INTERNAL_ERROR;
    return SSL_CLIENT_HELLO_ERROR; /* no further */
}

static void hold_openssl(const uint8_t *bytes, size_t len)
{
    struct th_hello hello;

    if (parse_exactly(bytes, len, &hello) != 0)
        return;
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    TH_REQUIRE(ctx != NULL);
    SSL_CTX_set_client_hello_cb(ctx, on_hello, &hello);
    SSL *ssl = SSL_new(ctx);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    TH_REQUIRE(ssl != NULL && in != NULL && out != NULL);
    TH_REQUIRE(BIO_write(in, bytes, (int)len) == (int)len);
    SSL_set_bio(ssl, in, out);
    (void)SSL_accept(ssl);
    ERR_clear_error();
    SSL_free(ssl);
    SSL_CTX_free(ctx);
}

void th_property_client_hello(const uint8_t *bytes, size_t len)
{
    static const size_t sizes[] = {1, 3, 4, 5, 64, 1000};

    hold_prefixes(bytes, len);
    for (size_t i = 0; i < TH_COUNT_OF(sizes); i++)
        hold_records(bytes, len, sizes[i]);
    hold_openssl(bytes, len);
}
