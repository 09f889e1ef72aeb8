/* Answers of tokenhop's own: application/problem+json (RFC 9457) with Proxy-Status (RFC 9209). No
 * token, key or client secret is ever part of one. */
#ifndef TOKENHOP_HTTP_PROBLEM_H
#define TOKENHOP_HTTP_PROBLEM_H

#include <stdint.h>

#include "tokenhop/http/http1.h"

struct th_problem {
    /* TH_E_*: status, code, title, Proxy-Status come from its row */
    int error;
    /* for people; may be empty; made safe here (control characters, length) */
    struct th_str detail;
    struct th_str connection; /* name of the resource connection; may be empty */
    struct th_str trace_id;   /* 32 hexadecimal digits; may be empty */
    /* with INTERACTION: also in a Link field; may be empty */
    struct th_str interaction_uri;
    /* with INTERACTION, of a JSON-RPC request: its id as JSON. The body then is an error of JSON-RPC 2.0
     * too; may be empty */
    struct th_str jsonrpc_id;
    struct th_str allow; /* the Allow field of a 405; may be empty */
    /* further parameters for WWW-Authenticate: Bearer of a 401, else empty; one that begins with
     * "error=" stands in place of error="invalid_token" */
    struct th_str challenge;
    /* rounded up to seconds; 0 or less: 1 s where the row says retryable, else none */
    int64_t retry_after_ms;
    int64_t wall_ms; /* for Date */
    bool close;      /* Connection: close */
    bool head_only;  /* the request was HEAD: no body, same fields */
};

/* The `code` of that error: of the range that JSON-RPC leaves to servers, and none that A2A or MCP has
 * given a meaning. */
#define TH_JSONRPC_INTERACTION (-32050)

/* Writes the whole response, head and body. w->overflow when it does not fit (6 KiB always do). */
void th_problem_write(struct th_writer *w, const struct th_problem *problem);
/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7) */
#define TH_HTTP_DATE_LEN 29
void th_http_date(int64_t wall_ms, char ret_text[TH_HTTP_DATE_LEN + 1]);

#endif
