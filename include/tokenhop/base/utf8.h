/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing beyond U+10FFFF. */
#ifndef TOKENHOP_BASE_UTF8_H
#define TOKENHOP_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

#include "tokenhop/base/str.h"

/* The length of the sequence at `s`, which begins with no ASCII character, or, negative, how many bytes are to be
 * replaced by one U+FFFD. */
int th_utf8_len(const unsigned char *s, size_t room);
bool th_utf8_is_whole(struct th_str text);
/* `max` bytes of the front at most, and no character cut in two. */
struct th_str th_utf8_cut(struct th_str text, size_t max);

#endif
