/* How the end of a body is known (RFC 9112, 6.3). Private to the codec. */
#ifndef TH_HTTP_FRAMING_H
#define TH_HTTP_FRAMING_H

#include "tokenhop/http/message.h"

enum th_direction { TH_DIRECTION_REQUEST, TH_DIRECTION_RESPONSE };

/* Decides it from the fields and the start line, in one place for both directions: fills framing,
 * content_length and has_content_length, and marks a Content-Length dropped that does not frame the
 * body. `request_method` is that of the request answered; of no matter for a request. 0 or
 * TH_E_BAD_FRAMING. */
int th_framing_decide(struct th_head *head, enum th_direction direction,
                      enum th_method request_method) TH_MUST;

#endif
