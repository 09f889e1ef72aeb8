/* Lines of a head or of a trailer section. Private to the codec. */
#ifndef TH_HTTP_LINE_H
#define TH_HTTP_LINE_H

#include "tokenhop/http/message.h"

/* Both move *p behind what they took. 0; TH_AGAIN: the bytes end before it is decided; TH_E_BAD_REQUEST. What is
 * wrong is found at the first byte that is, whatever follows it: so that a head which comes in pieces
 * is judged as one that comes whole. */
int th_line_take_end(const char **p, const char *end) TH_MUST; /* CRLF */
int th_line_take_field(const char **p, const char *end, struct th_field *ret_field) TH_MUST;

#endif
