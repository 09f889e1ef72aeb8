/* Lines of a head or of a trailer section. Private to the codec. */
#ifndef TH_HTTP_LINE_H
#define TH_HTTP_LINE_H

#include "tokenhop/http/message.h"

/* Both move *p behind what they took. 0; TH_AGAIN: the bytes end before it is decided;
 * TH_E_BAD_REQUEST. What is wrong is found at the first byte that is, whatever follows it: so that
 * a head which comes in pieces is judged as one that comes whole. */
/* CRLF */
static inline int th_line_take_end(const char **p, const char *end)
{
    const char *at = *p;
    if (at == end)
        return TH_AGAIN;
    if (*at != '\r')
        return TH_E_BAD_REQUEST;
    if (at + 1 == end)
        return TH_AGAIN;
    /* RFC 9112, 2.2: a recipient may take a bare LF for a line's end, and must not pass a bare CR
     * on. Others read both differently, so neither is taken here. */
    if (at[1] != '\n')
        return TH_E_BAD_REQUEST;
    *p = at + 2;
    return 0;
}

int th_line_take_field(const char **p, const char *end, struct th_field *ret_field) TH_MUST;

#endif
