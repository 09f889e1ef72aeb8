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
