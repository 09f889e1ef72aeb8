#include "tokenhop/oauth/jose.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void th_base64url_encode(struct th_buf *out, const void *bytes, size_t len)
{
    const unsigned char *b = bytes;
    size_t encoded_len = len / 3 * 4 + (len % 3 * 4 + 2) / 3;
    char *at = th_buf_reserve(out, encoded_len);
    if (at == NULL)
        return;
    for (; len >= 3; len -= 3, b += 3, at += 4) {
        uint32_t v = (uint32_t)b[0] << 16 | (uint32_t)b[1] << 8 | b[2];
        at[0] = alphabet[v >> 18];
        at[1] = alphabet[v >> 12 & 63];
        at[2] = alphabet[v >> 6 & 63];
        at[3] = alphabet[v & 63];
    }
    if (len >= 1) {
        *at++ = alphabet[b[0] >> 2];
        *at++ = alphabet[(b[0] & 3) << 4 | (len == 2 ? b[1] >> 4 : 0)];
    }
    if (len == 2)
        *at = alphabet[(b[1] & 15) << 2];
    th_buf_commit(out, encoded_len);
}

/* Without a table: the value must not decide which cache line is read, as keys come this way. */
static int digit(unsigned char c)
{
    int value = -1;
    value += (c >= 'A' && c <= 'Z') * (c - 'A' + 1);
    value += (c >= 'a' && c <= 'z') * (c - 'a' + 27);
    value += (c >= '0' && c <= '9') * (c - '0' + 53);
    value += (c == '-') * 63;
    value += (c == '_') * 64;
    return value;
}

int th_base64url_decode(struct th_buf *out, struct th_str text)
{
    if (text.len % 4 == 1)
        return TH_E_BAD_REQUEST;
    size_t len = text.len / 4 * 3 + text.len % 4 * 3 / 4;
    char *at = th_buf_reserve(out, len);
    if (at == NULL)
        return TH_E_NOMEM;
    uint32_t bits = 0;
    int n_bits = 0;
    for (size_t i = 0; i < text.len; i++) {
        int value = digit((unsigned char)text.ptr[i]);
        if (value < 0)
            return TH_E_BAD_REQUEST;
        bits = (bits << 6 | (uint32_t)value) & 0xffff;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            *at++ = (char)(bits >> n_bits & 0xff);
        }
    }
    /* Bits that belong to no byte must be zero (RFC 4648, 3.5): else one token has several spellings. */
    if ((bits & ((1U << n_bits) - 1)) != 0)
        return TH_E_BAD_REQUEST;
    th_buf_commit(out, len);
    return 0;
}
