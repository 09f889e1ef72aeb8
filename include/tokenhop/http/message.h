/* The head of a message, as parsed or as it will be written. Everything is borrowed: names and
 * values point into the bytes that were parsed, which must stay where they are. */
#ifndef TOKENHOP_HTTP_MESSAGE_H
#define TOKENHOP_HTTP_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tokenhop/base/str.h"
#include "tokenhop/http/header.h"

struct th_field {
    struct th_str name;
    struct th_str value; /* without the white space around it */
    uint8_t id;          /* enum th_header_id */
    bool dropped;        /* named by Connection, hop-by-hop, or removed by a rewrite: not written */
};

/* How the end of the body is known (RFC 9112, 6.3), in order of precedence. */
enum th_framing {
    TH_FRAMING_NONE,   /* no body */
    TH_FRAMING_LENGTH, /* content_length bytes, maybe 0 */
    TH_FRAMING_CHUNKED,
    TH_FRAMING_CLOSE /* responses only: until the connection ends */
};

enum th_method {
    TH_METHOD_OTHER, /* relayed as it is */
    TH_METHOD_GET,
    TH_METHOD_HEAD,
    TH_METHOD_POST,
    TH_METHOD_PUT,
    TH_METHOD_DELETE,
    TH_METHOD_PATCH,
    TH_METHOD_OPTIONS,
    TH_METHOD_TRACE,
    TH_METHOD_CONNECT
};

struct th_head {
    /* request */
    enum th_method method;
    struct th_str method_text;
    struct th_str target; /* as sent */
    /* response */
    int status;
    struct th_str reason;
    /* both */
    uint8_t minor;           /* HTTP/1.minor, 0 or 1 */
    struct th_field *fields; /* the caller's array */
    uint16_t n_fields;
    uint16_t max_fields;
    uint32_t len; /* bytes of the head, the empty line included */
    /* facts that the parser and th_framing_decide() gather */
    enum th_framing framing;
    /* with TH_FRAMING_LENGTH; of a HEAD or 304 answer: what was said, if said */
    uint64_t content_length;
    bool has_content_length;
    bool keep_alive;      /* what this message says of its connection (RFC 9112, 9.3) */
    bool expect_continue; /* 100-continue, and nothing else */
    bool expect_unknown;  /* some other expectation */
    bool upgrade;         /* Connection: upgrade together with an Upgrade field */
    bool te_trailers;
    int16_t host;          /* index of the field, -1: none */
    int16_t authorization; /* index of the first; -1: none */
    uint16_t n_authorization;
    int16_t max_forwards; /* index or -1 */
    int16_t traceparent;  /* index or -1 */
};

/* The first field of that id that is not dropped, or NULL. */
struct th_field *th_head_find(const struct th_head *head, enum th_header_id id);
/* The same among all, dropped ones too: Upgrade, TE, Proxy-Authorization and the like are always
 * dropped. */
struct th_field *th_head_find_any(const struct th_head *head, enum th_header_id id);
/* RFC 9110, 5.6.1: takes the next element of a comma-separated list of tokens off *rest; empty ones are
 * passed over. False at the end. Quoted strings are not known here. */
bool th_head_take_element(struct th_str *rest, struct th_str *ret_element);
enum th_method th_method_find(struct th_str text);
bool th_method_is_idempotent(enum th_method method); /* RFC 9110, 9.2.2; OTHER is not */

#endif
