#include "tokenhop/net/proxy_header.h"

#include <string.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define SIGNATURE_LEN 12
#define V2_HEAD_LEN 16
#define V2_UNIX_LEN 216 /* two paths of 108 bytes */
#define TLV_CRC32C 0x03
#define TLV_HEAD_LEN 3

static int refuse(const char **ret_why, const char *why)
{
    *ret_why = why;
    return TH_E_BAD_REQUEST;
}

/* --- version 1: a line of text (2.1) --- */

/* The word up to the next space, or to the end; `rest` goes beyond the space. False: there is none left. */
static bool take_word(struct th_str *rest, struct th_str *ret_word)
{
    if (rest->ptr == NULL)
        return false;
    const char *space = rest->len > 0 ? memchr(rest->ptr, ' ', rest->len) : NULL;
    size_t len = space != NULL ? (size_t)(space - rest->ptr) : rest->len;

    *ret_word = (struct th_str){rest->ptr, len};
    *rest = space != NULL ? (struct th_str){space + 1, rest->len - len - 1} : TH_STR_NONE;
    return true;
}

static bool read_port(struct th_str text, uint16_t *ret_port)
{
    uint64_t port;

    if (text.len == 0 || text.len > 5 || (text.len > 1 && text.ptr[0] == '0') ||
        th_str_to_u64(text, UINT16_MAX, &port) != 0)
        return false;
    *ret_port = (uint16_t)port;
    return true;
}

static bool read_address(struct th_str host, struct th_str port_text, sa_family_t family,
                         struct th_address *ret_address)
{
    uint16_t port;

    return read_port(port_text, &port) && th_address_parse(host, port, ret_address) == 0 &&
           ret_address->any.sa_family == family;
}

/* What follows the family: two addresses, two ports. */
static int read_v1_addresses(struct th_str rest, sa_family_t family, struct th_proxy_header *header,
                             const char **ret_why)
{
    struct th_str words[4], beyond;
    struct th_address destination;

    for (size_t i = 0; i < 4; i++)
        if (!take_word(&rest, &words[i]))
            return refuse(ret_why, "addresses or ports are missing");
    if (take_word(&rest, &beyond))
        return refuse(ret_why, "something follows the ports");
    if (!read_address(words[0], words[2], family, &header->source) ||
        !read_address(words[1], words[3], family, &destination))
        return refuse(ret_why, "an address or port is malformed");
    header->is_told = true;
    return 0;
}

static int read_v1_line(struct th_str line, struct th_proxy_header *header, const char **ret_why)
{
    struct th_str rest = {line.ptr + 6, line.len - 6}; /* "PROXY " */
    struct th_str family;

    for (size_t i = 0; i < line.len; i++)
        if (line.ptr[i] < 0x20 || line.ptr[i] > 0x7e)
            return refuse(ret_why, "a character that is not printable");
    if (!take_word(&rest, &family))
        return refuse(ret_why, "the family is missing");
    if (th_str_equal(family, TH_STR("TCP4")))
        return read_v1_addresses(rest, AF_INET, header, ret_why);
    if (th_str_equal(family, TH_STR("TCP6")))
        return read_v1_addresses(rest, AF_INET6, header, ret_why);
    /* Whatever follows is to be ignored (2.1). */
    return th_str_equal(family, TH_STR("UNKNOWN")) ? 0 : refuse(ret_why, "an unknown family");
}

static int parse_v1(const char *bytes, size_t len, struct th_proxy_header *header,
                    const char **ret_why)
{
    size_t seen = len < TH_PROXY_HEADER_V1_MAX ? len : TH_PROXY_HEADER_V1_MAX;
    const char *end = memchr(bytes, '\n', seen);

    if (end == NULL)
        return seen < TH_PROXY_HEADER_V1_MAX ? TH_AGAIN
                                             : refuse(ret_why, "the line is longer than 107 bytes");
    size_t line_len = (size_t)(end - bytes);
    if (line_len < 7 || bytes[line_len - 1] != '\r')
        return refuse(ret_why, "the line does not end with CRLF");
    header->version = 1;
    header->len = line_len + 1;
    return read_v1_line((struct th_str){bytes, line_len - 1}, header, ret_why);
}

/* --- version 2 (2.2) --- */

static unsigned load16(const uint8_t *b)
{
    return (unsigned)b[0] << 8 | b[1];
}

/* Castagnoli's, reflected (RFC 3720, B.4). Asked for once a connection at most: no table. */
static uint32_t add_crc32c(uint32_t crc, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return crc;
}

/* Over the whole header, the checksum itself as zero. */
static bool is_sum_right(const uint8_t *bytes, size_t len, size_t at)
{
    static const uint8_t zero[4];
    uint32_t wanted = (uint32_t)load16(bytes + at) << 16 | load16(bytes + at + 2);
    uint32_t crc = add_crc32c(UINT32_MAX, bytes, at);

    crc = add_crc32c(crc, zero, sizeof zero);
    crc = add_crc32c(crc, bytes + at + 4, len - at - 4);
    return (crc ^ UINT32_MAX) == wanted;
}

/* What else is said is passed over: client certificates (PP2_TYPE_SSL), PP2_TYPE_UNIQUE_ID. */
static int check_tlvs(const uint8_t *bytes, size_t at, size_t len, const char **ret_why)
{
    bool has_sum = false;

    while (at < len) {
        if (len - at < TLV_HEAD_LEN || len - at - TLV_HEAD_LEN < load16(bytes + at + 1))
            return refuse(ret_why, "a TLV is longer than the header");
        size_t value_len = load16(bytes + at + 1);
        if (bytes[at] == TLV_CRC32C) {
            if (has_sum || value_len != 4)
                return refuse(ret_why, "a checksum that is none, or a second one");
            if (!is_sum_right(bytes, len, at + TLV_HEAD_LEN))
                return refuse(ret_why, "the checksum is wrong");
            has_sum = true;
        }
        at += TLV_HEAD_LEN + value_len;
    }
    return 0;
}

static void read_v4(const uint8_t *block, struct th_proxy_header *header)
{
    struct th_address *source = &header->source;

    source->v4.sin_family = AF_INET;
    memcpy(&source->v4.sin_addr, block, 4);
    memcpy(&source->v4.sin_port, block + 8, 2);
    header->is_told = true;
}

static void read_v6(const uint8_t *block, struct th_proxy_header *header)
{
    struct th_address *source = &header->source;

    source->v6.sin6_family = AF_INET6;
    memcpy(&source->v6.sin6_addr, block, 16);
    memcpy(&source->v6.sin6_port, block + 32, 2);
    header->is_told = true;
}

/* The whole header is there. */
static int read_v2(const uint8_t *bytes, struct th_proxy_header *header, const char **ret_why)
{
    size_t block_len = header->len - V2_HEAD_LEN, addresses_len;

    if (bytes[12] == 0x20) { /* LOCAL: the block is to be discarded, whatever it is */
        header->is_local = true;
        return 0;
    }
    switch (bytes[13]) {
    case 0x00: /* UNSPEC */
        addresses_len = 0;
        break;
    case 0x11: /* TCP over IPv4 */
        addresses_len = 12;
        break;
    case 0x21: /* TCP over IPv6 */
        addresses_len = 36;
        break;
    case 0x31: /* a unix stream */
        addresses_len = V2_UNIX_LEN;
        break;
    default: /* datagrams, and what is not assigned */
        return refuse(ret_why, "a family or protocol that is no stream's");
    }
    if (block_len < addresses_len)
        return refuse(ret_why, "it is too short for its addresses");
    if (bytes[13] == 0x11)
        read_v4(bytes + V2_HEAD_LEN, header);
    if (bytes[13] == 0x21)
        read_v6(bytes + V2_HEAD_LEN, header);
    if (bytes[13] == 0x31) {
        header->source.any.sa_family = AF_UNIX;
        header->is_told = true;
    }
    return check_tlvs(bytes, V2_HEAD_LEN + addresses_len, header->len, ret_why);
}

static int parse_v2(const uint8_t *bytes, size_t len, struct th_proxy_header *header,
                    const char **ret_why)
{
    if (len > 12 && bytes[12] != 0x20 && bytes[12] != 0x21)
        return refuse(ret_why, "an unknown version or command");
    if (len < V2_HEAD_LEN)
        return TH_AGAIN;
    header->version = 2;
    header->len = V2_HEAD_LEN + load16(bytes + 14);
    if (header->len > TH_PROXY_HEADER_V2_MAX)
        return refuse(ret_why, "it is longer than 4096 bytes");
    return len < header->len ? TH_AGAIN : read_v2(bytes, header, ret_why);
}

int th_proxy_header_parse(const void *bytes, size_t len, struct th_proxy_header *ret_header,
                          const char **ret_why)
{
    const char *text = bytes;
    struct th_proxy_header header = {0};
    int verdict = TH_AGAIN;
    size_t known_v1 = len < 6 ? len : 6;
    size_t known_v2 = len < SIGNATURE_LEN ? len : SIGNATURE_LEN;

    *ret_why = NULL;
    if (len == 0)
        return TH_AGAIN;
    if (memcmp(text, "PROXY ", known_v1) == 0)
        verdict = known_v1 == 6 ? parse_v1(text, len, &header, ret_why) : TH_AGAIN;
    else if (memcmp(text, SIGNATURE, known_v2) == 0)
        verdict = known_v2 == SIGNATURE_LEN ? parse_v2(bytes, len, &header, ret_why) : TH_AGAIN;
    else
        verdict = refuse(ret_why, "there is none");
    if (verdict == 0)
        *ret_header = header;
    return verdict;
}
