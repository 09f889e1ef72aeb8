/* Challenges (RFC 9110, 11.6.1): what a WWW-Authenticate field asks for. Several may stand in one field,
 * parted by the same commas as their parameters. Constant time of memory, one look at each byte. Any
 * thread. */
#ifndef TOKENHOP_HTTP_CHALLENGE_H
#define TOKENHOP_HTTP_CHALLENGE_H

#include <stdbool.h>

#include "tokenhop/base/str.h"

/* Whether the field's value has a challenge of that scheme in which the parameter, a token or a quoted
 * string, is `wanted` to the letter. What is malformed ends the reading: what stands before it counts. */
bool th_challenge_has(struct th_str value, struct th_str scheme, struct th_str parameter,
                      struct th_str wanted);
/* The same parameter's value, without its quotes, copied into the room. False: there is none that fits. */
bool th_challenge_get(struct th_str value, struct th_str scheme, struct th_str parameter,
                      char *room, size_t size, struct th_str *ret_text);

#endif
