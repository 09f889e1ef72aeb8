/* W3C Trace Context: traceparent is read strictly, made where it is absent or malformed, and passed
 * on with an id of this hop's own. When it was malformed, tracestate must not be passed on either
 * (Trace Context, 3.3). Any thread; nothing allocates. */
#ifndef TOKENHOP_OBSERVE_TRACE_H
#define TOKENHOP_OBSERVE_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "tokenhop/base/error.h"
#include "tokenhop/base/str.h"

#define TH_TRACE_ID_LEN 32 /* hexadecimal digits, without the NUL */
#define TH_TRACE_SPAN_LEN 16
#define TH_TRACE_PARENT_LEN 55

struct th_trace {
    char id[TH_TRACE_ID_LEN + 1];
    char parent[TH_TRACE_SPAN_LEN + 1]; /* the caller's span; empty when the trace begins here */
    char span[TH_TRACE_SPAN_LEN + 1];   /* this hop's */
    uint8_t flags;
};

/* From the only traceparent field's value: 0, or TH_E_BAD_REQUEST. `span` is left empty. */
int th_trace_parse(struct th_str traceparent, struct th_trace *ret_trace) TH_MUST;

/* Goes on with the trace of `traceparent`, or begins one when that is absent or malformed, and
 * makes the span. True when it goes on: tracestate may be passed on. */
bool th_trace_start(struct th_str traceparent, struct th_trace *ret_trace);

/* The field to send on: version 00, this hop's span as the parent. */
void th_trace_format(const struct th_trace *trace, char ret_text[TH_TRACE_PARENT_LEN + 1]);

#endif
