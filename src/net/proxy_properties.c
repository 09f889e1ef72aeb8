#include "proxy_properties.h"

#include <stdio.h>
#include <string.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/net/proxy_header.h"

/* A copy that ends where its memory does, so that a sanitizer sees a read past the end. */
static int parse_exactly(const uint8_t *bytes, size_t len, struct th_proxy_header *ret_header)
{
    const char *why = "";
    uint8_t *copy = th_malloc(len > 0 ? len : 1);

    TH_REQUIRE(copy != NULL);
    if (len > 0)
        memcpy(copy, bytes, len);
    memset(ret_header, 0xa5, sizeof *ret_header);
    int verdict = th_proxy_header_parse(copy, len, ret_header, &why);
    th_free(copy);
    TH_REQUIRE((verdict == TH_E_BAD_REQUEST) == (why != NULL));
    return verdict;
}

static bool is_same(const struct th_proxy_header *a, const struct th_proxy_header *b)
{
    return a->len == b->len && a->is_told == b->is_told && a->is_local == b->is_local &&
           a->version == b->version &&
           (!a->is_told || a->source.any.sa_family == AF_UNIX ||
            th_address_equal(&a->source, &b->source));
}

/* Bytes that come one by one: it is never decided otherwise by more of them, and not later than must be. */
static void hold_prefixes(const uint8_t *bytes, size_t len)
{
    struct th_proxy_header first = {0}, header;
    int before = TH_AGAIN;

    for (size_t n = 0; n <= len; n++) {
        int verdict = parse_exactly(bytes, n, &header);
        TH_REQUIRE(verdict == 0 || verdict == TH_AGAIN || verdict == TH_E_BAD_REQUEST);
        if (before != TH_AGAIN)
            TH_REQUIRE(verdict == before);
        if (before == 0)
            TH_REQUIRE(is_same(&first, &header));
        if (before == TH_AGAIN && verdict == 0)
            TH_REQUIRE(header.len == n); /* none of the connection's own bytes are waited for */
        if (n >= TH_PROXY_HEADER_V2_MAX)
            TH_REQUIRE(verdict != TH_AGAIN);
        first = header;
        before = verdict;
        if (n > 2 * TH_PROXY_HEADER_V2_MAX)
            break;
    }
}

static size_t write_v1(const struct th_proxy_header *header, char room[256])
{
    char text[TH_ADDRESS_TEXT_MAX];
    bool is_v6 = header->source.any.sa_family == AF_INET6;

    th_address_format(&header->source, text);
    size_t host_len = (size_t)(strrchr(text, ':') - text) - (is_v6 ? 2 : 0);
    return (size_t)snprintf(room, 256, "PROXY %s %.*s %s %u 1\r\n", is_v6 ? "TCP6" : "TCP4",
                            (int)host_len, text + (is_v6 ? 1 : 0), is_v6 ? "::1" : "127.0.0.1",
                            th_address_port(&header->source));
}

/* What was told can be told in version 1, and means the same. */
static void hold_writing(const uint8_t *bytes, size_t len)
{
    struct th_proxy_header header, again;
    char room[256];

    if (parse_exactly(bytes, len, &header) != 0)
        return;
    TH_REQUIRE(!header.is_local || (!header.is_told && header.version == 2));
    TH_REQUIRE(header.len <= len && (header.version == 1 || header.version == 2));
    TH_REQUIRE(header.len <=
               (header.version == 1 ? TH_PROXY_HEADER_V1_MAX : TH_PROXY_HEADER_V2_MAX));
    if (!header.is_told || header.source.any.sa_family == AF_UNIX)
        return;
    size_t written = write_v1(&header, room);
    TH_REQUIRE(parse_exactly((const uint8_t *)room, written, &again) == 0);
    TH_REQUIRE(again.is_told && again.len == written &&
               th_address_equal(&again.source, &header.source));
}

void th_property_proxy_header(const uint8_t *bytes, size_t len)
{
    hold_prefixes(bytes, len);
    hold_writing(bytes, len);
}
