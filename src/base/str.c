#include "tokenhop/base/str.h"

static unsigned char lower(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c | 0x20) : c;
}

bool th_str_equal_nocase(struct th_str a, struct th_str b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++) {
        if (lower((unsigned char)a.ptr[i]) != lower((unsigned char)b.ptr[i]))
            return false;
    }
    return true;
}

bool th_str_is_among(const struct th_str *texts, size_t n, struct th_str text)
{
    for (size_t i = 0; i < n; i++)
        if (th_str_equal(texts[i], text))
            return true;
    return false;
}

bool th_str_starts_with(struct th_str s, struct th_str prefix)
{
    return s.len >= prefix.len && th_str_equal((struct th_str){s.ptr, prefix.len}, prefix);
}

bool th_str_ends_with(struct th_str s, struct th_str suffix)
{
    return s.len >= suffix.len &&
           (suffix.len == 0 ||
            th_str_equal((struct th_str){s.ptr + s.len - suffix.len, suffix.len}, suffix));
}

bool th_str_take_word(struct th_str *rest, char separator, struct th_str *ret_word)
{
    if (rest->len == 0)
        return false;
    const char *end = memchr(rest->ptr, separator, rest->len);
    size_t len = end != NULL ? (size_t)(end - rest->ptr) : rest->len;
    size_t taken = end != NULL ? len + 1 : len;
    *ret_word = (struct th_str){rest->ptr, len};
    *rest = (struct th_str){rest->ptr + taken, rest->len - taken};
    return true;
}

static bool is_ows(char c)
{
    return c == ' ' || c == '\t';
}

struct th_str th_str_trim(struct th_str s)
{
    while (s.len > 0 && is_ows(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && is_ows(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

static bool is_space(char c)
{
    return is_ows(c) || c == '\r' || c == '\n';
}

struct th_str th_str_trim_lines(struct th_str s)
{
    while (s.len > 0 && is_space(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && is_space(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

void th_str_format_hex(const uint8_t *bytes, size_t n, char *ret_text)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        *ret_text++ = digits[bytes[i] >> 4];
        *ret_text++ = digits[bytes[i] & 15];
    }
    *ret_text = '\0';
}

bool th_str_has_control(struct th_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f)
            return true;
    }
    return false;
}

/* Asked of every request's token, before its digest is taken: sixteen bytes at a time, each range of
 * the alphabet by one comparison, and one test at the end. */
typedef uint8_t bytes16 __attribute__((vector_size(16)));

/* 0xff where a byte of `c` is in first..last. */
static inline bytes16 is_between(bytes16 c, uint8_t first, uint8_t last)
{
    return (bytes16)((bytes16)(c - first) <= (uint8_t)(last - first));
}

static inline bytes16 is_token68_char(bytes16 c)
{
    return is_between(c | 0x20, 'a', 'z') | is_between(c, '-', '9') | (bytes16)(c == '+') |
           (bytes16)(c == '_') | (bytes16)(c == '~'); /* "-./0123456789" stand together */
}

bool th_str_is_token68(struct th_str s)
{
    bytes16 good, all;
    size_t len = s.len, i = 0;

    while (len > 0 && s.ptr[len - 1] == '=')
        len--;
    if (len == 0)
        return false;
    memset(&all, 0xff, sizeof all);
    for (; i + sizeof good <= len; i += sizeof good) {
        memcpy(&good, s.ptr + i, sizeof good);
        all &= is_token68_char(good);
    }
    memset(&good, 'a', sizeof good);
    memcpy(&good, s.ptr + i, len - i);
    all &= is_token68_char(good);
    for (i = 0; i < sizeof all; i++)
        if (all[i] == 0)
            return false;
    return true;
}

int th_str_to_u64(struct th_str s, uint64_t max, uint64_t *ret_value)
{
    if (s.len == 0)
        return TH_E_BAD_REQUEST;
    uint64_t value = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = (unsigned char)s.ptr[i] - (unsigned)'0';
        if (digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value) || value > max)
            return TH_E_BAD_REQUEST;
    }
    *ret_value = value;
    return 0;
}
