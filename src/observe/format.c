#include "format.h"

#include <string.h>

char *th_format_u64(char *at, uint64_t value)
{
    char digits[TH_FORMAT_U64_MAX];
    char *from = digits + sizeof digits;
    do {
        *--from = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    size_t len = (size_t)(digits + sizeof digits - from);
    memcpy(at, from, len);
    return at + len;
}

char *th_format_i64(char *at, int64_t value)
{
    uint64_t magnitude = (uint64_t)value;
    if (value < 0) {
        *at++ = '-';
        magnitude = -magnitude;
    }
    return th_format_u64(at, magnitude);
}

static char *format_digits(char *at, unsigned value, int n)
{
    for (int i = n - 1; i >= 0; i--) {
        at[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return at + n;
}

/* Not gmtime_r(): glibc takes a lock and looks for the time zone. The days of the civil calendar
 * are counted in years that begin in March, so that the leap day is the last one. */
char *th_format_time(char *at, int64_t wall_ms)
{
    const int64_t day_ms = 86400000, last_ms = 253402300799999; /* the end of 9999 */
    wall_ms = wall_ms < 0 ? 0 : wall_ms > last_ms ? last_ms : wall_ms;
    unsigned ms = (unsigned)(wall_ms % day_ms);
    unsigned days = (unsigned)(wall_ms / day_ms) + 719468; /* since 0000-03-01 */
    unsigned era = days / 146097, day_of_era = days % 146097;
    unsigned year =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    unsigned month = (5 * day_of_year + 2) / 153; /* 0 is March */
    unsigned day = day_of_year - (153 * month + 2) / 5 + 1;
    year += era * 400 + (month >= 10);
    at = format_digits(at, year, 4);
    *at++ = '-';
    at = format_digits(at, month < 10 ? month + 3 : month - 9, 2);
    *at++ = '-';
    at = format_digits(at, day, 2);
    *at++ = 'T';
    at = format_digits(at, ms / 3600000, 2);
    *at++ = ':';
    at = format_digits(at, ms / 60000 % 60, 2);
    *at++ = ':';
    at = format_digits(at, ms / 1000 % 60, 2);
    *at++ = '.';
    at = format_digits(at, ms % 1000, 3);
    *at++ = 'Z';
    return at;
}

static uint64_t each_byte(unsigned char c)
{
    return UINT64_C(0x0101010101010101) * c;
}

/* Whether any of the eight bytes is below `c`; true for some bytes above 0x7F as well, which the
 * caller refuses anyway. */
static uint64_t any_below(uint64_t word, unsigned char c)
{
    return (word - each_byte(c)) & each_byte(0x80);
}

static bool all_plain(uint64_t word)
{
    return ((word & each_byte(0x80)) | any_below(word, 0x20) | any_below(word ^ each_byte('"'), 1) |
            any_below(word ^ each_byte('\\'), 1) | any_below(word ^ each_byte(0x7F), 1)) == 0;
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
}

size_t th_format_plain(char *at, struct th_str text)
{
    size_t i = 0;
    for (uint64_t word; text.len - i >= sizeof word; i += sizeof word) {
        memcpy(&word, text.ptr + i, sizeof word);
        if (!all_plain(word))
            break;
        memcpy(at + i, &word, sizeof word);
    }
    for (; i < text.len && is_plain((unsigned char)text.ptr[i]); i++)
        at[i] = text.ptr[i];
    return i;
}
