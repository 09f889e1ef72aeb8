/* What our codec accepts, another parser must frame alike: where two that speak about the same bytes disagree on
 * where a message ends, a request can be smuggled. The other one is http_parser, of Debian. Tests only.
 *
 * Each aborts (TH_REQUIRE) when the two disagree; that the other one refuses what ours accepts is no
 * disagreement, for the reasons listed in differential.c. */
#ifndef TH_HTTP_DIFFERENTIAL_H
#define TH_HTTP_DIFFERENTIAL_H

#include "tokenhop/http/message.h"

/* A stream of requests, pipelined. How many of them both have read whole. */
unsigned th_differential_requests(const char *bytes, size_t len);
/* The one answer to a request of that method; 1 if both have read it whole. */
unsigned th_differential_response(const char *bytes, size_t len, enum th_method request_method);

#endif
