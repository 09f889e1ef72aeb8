/* A borrowed run of bytes; it owns nothing and is not ended by NUL. Whoever holds the bytes must
 * outlive it. Passed by value. Any thread. */
#ifndef TOKENHOP_BASE_STR_H
#define TOKENHOP_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "tokenhop/base/error.h"

struct th_str {
    const char *ptr;
    size_t len;
};

#define TH_STR(literal) ((struct th_str){"" literal, sizeof(literal) - 1})
#define TH_STR_NONE ((struct th_str){NULL, 0})
#define TH_STR_ARGS(s) (int)(s).len, (s).ptr /* for "%.*s" */

static inline struct th_str th_str_of(const char *text)
{
    return (struct th_str){text, text != NULL ? strlen(text) : 0};
}

static inline bool th_str_equal(struct th_str a, struct th_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool th_str_equal_nocase(struct th_str a, struct th_str b); /* ASCII letters only */
bool th_str_is_among(const struct th_str *texts, size_t n, struct th_str text);
bool th_str_starts_with(struct th_str s, struct th_str prefix);
bool th_str_ends_with(struct th_str s, struct th_str suffix);
/* Takes the next word off `rest`, up to `separator` or the end; it may be empty. False: there is none. */
bool th_str_take_word(struct th_str *rest, char separator, struct th_str *ret_word);
struct th_str th_str_trim(struct th_str s); /* OWS of RFC 9110: space and tab, both ends */

struct th_str th_str_trim_lines(struct th_str s); /* of files: CR and LF besides */
/* 2 * n hexadecimal digits, in small letters, and a NUL. */
void th_str_format_hex(const uint8_t *bytes, size_t n, char *ret_text);

/* A control character, which no field's value may hold (RFC 9110, 5.5). */
bool th_str_has_control(struct th_str s);
/* token68 (RFC 9110, 11.2): what a bearer token is made of; not empty. */
bool th_str_is_token68(struct th_str s);

/* Unsigned decimal, digits only, all of them; 0, or TH_E_BAD_REQUEST when empty, not digits or
 * beyond max. */
int th_str_to_u64(struct th_str s, uint64_t max, uint64_t *ret_value) TH_MUST;

#endif
