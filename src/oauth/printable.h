/* What may be shown of texts that come from elsewhere. */
#ifndef TOKENHOP_SRC_OAUTH_PRINTABLE_H
#define TOKENHOP_SRC_OAUTH_PRINTABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "tokenhop/base/str.h"

/* Copies what fits, with '?' for all that is not printable ASCII, and a NUL. */
void th_printable_copy(char *ret_text, size_t size, struct th_str text);

/* Whether a part of it could be a token, an assertion or a key: the beginning of a JWT, or a long run
 * without spaces that has digits in it and is no URL's or word's part. Errs on the safe side. */
bool th_printable_hides_token(struct th_str text);

#endif
