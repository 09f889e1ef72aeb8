#include "tokenhop/oauth/jose.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void th_base64url_encode(struct th_buf *out, const void *bytes, size_t len)
{
    const unsigned char *b = bytes;
    size_t i = 0;
    for (; i + 3 <= len; i += 3) {
        uint32_t v = (uint32_t)b[i] << 16 | (uint32_t)b[i + 1] << 8 | b[i + 2];
        th_buf_add(out,
                   (const char[]){alphabet[v >> 18], alphabet[v >> 12 & 63], alphabet[v >> 6 & 63],
                                  alphabet[v & 63]},
                   4);
    }
    if (len - i == 1)
        th_buf_add(out, (const char[]){alphabet[b[i] >> 2], alphabet[(b[i] & 3) << 4]}, 2);
    else if (len - i == 2)
        th_buf_add(out,
                   (const char[]){alphabet[b[i] >> 2], alphabet[(b[i] & 3) << 4 | b[i + 1] >> 4],
                                  alphabet[(b[i + 1] & 15) << 2]},
                   3);
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
            th_buf_add_char(out, (char)(bits >> n_bits & 0xff));
        }
    }
    /* Bits that belong to no byte must be zero (RFC 4648, 3.5): else one token has several spellings. */
    if ((bits & ((1U << n_bits) - 1)) != 0)
        return TH_E_BAD_REQUEST;
    return out->failed ? TH_E_NOMEM : 0;
}
