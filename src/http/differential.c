#include "differential.h"

#include <http_parser.h>
#include <stdio.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/http/http1.h"

#define HEAD_MAX 8192
#define FIELDS_MAX 64
#define MESSAGES_MAX 8

/* --- ours --- */

struct ours {
    struct th_head head;
    struct th_field fields[FIELDS_MAX];
    size_t len; /* of the whole message */
    char *body; /* decoded, in a copy of the bytes */
    size_t body_len;
    bool is_whole;
};

static bool parse_head(struct ours *ours, const char *bytes, size_t len, bool is_request,
                       enum th_method method)
{
    static const struct th_http1_limits limits = {HEAD_MAX, FIELDS_MAX};
    size_t scanned = 0;

    *ours = (struct ours){.head = {.fields = ours->fields, .max_fields = FIELDS_MAX}};
    int error = is_request
                    ? th_http1_parse_request(&ours->head, bytes, len, &scanned, &limits)
                    : th_http1_parse_response(&ours->head, bytes, len, &scanned, &limits, method);
    return error == 0;
}

/* Whether it is accepted; `is_whole`: and complete. */
static bool frame_body(struct ours *ours, const char *bytes, size_t len)
{
    size_t n_rest = len - ours->head.len, n_taken = 0;
    struct th_chunked chunked;
    int result;

    ours->body = th_malloc(n_rest + 1);
    TH_REQUIRE(ours->body != NULL);
    memcpy(ours->body, bytes + ours->head.len, n_rest);
    switch (ours->head.framing) {
    case TH_FRAMING_NONE:
        ours->is_whole = true;
        break;
    case TH_FRAMING_LENGTH:
        ours->is_whole = n_rest >= ours->head.content_length;
        n_taken = ours->body_len = ours->is_whole ? ours->head.content_length : n_rest;
        break;
    case TH_FRAMING_CLOSE:
        n_taken = ours->body_len = n_rest;
        ours->is_whole = true; /* the end of the bytes is the end of the connection */
        break;
    case TH_FRAMING_CHUNKED:
        th_chunked_init(&chunked);
        result = th_chunked_decode(&chunked, ours->body, n_rest, &n_taken, &ours->body_len);
        if (result < 0)
            return false;
        ours->is_whole = result == TH_CHUNKED_DONE;
        break;
    }
    ours->len = ours->head.len + n_taken;
    return true;
}

/* --- the other's --- */

struct other {
    http_parser parser;
    size_t len;
    char *body;
    size_t body_len;
    struct {
        size_t name_at, name_len, value_at, value_len;
    } fields[FIELDS_MAX];
    char *text; /* names and values, one behind the other */
    size_t text_len;
    unsigned n_fields;
    bool in_value, head_done, is_whole, keep_alive;
    bool answers_head;
    enum http_errno error; /* that it has refused the bytes for, and the byte where it did */
    char refused;
};

static void add_text(struct other *other, const char *at, size_t len)
{
    memcpy(other->text + other->text_len, at, len);
    other->text_len += len;
}

static int on_field(http_parser *parser, const char *at, size_t len)
{
    struct other *other = parser->data;

    if (other->head_done) /* a trailer */
        return 0;
    if (other->n_fields == 0 || other->in_value) {
        if (other->n_fields == FIELDS_MAX)
            return 1;
        other->fields[other->n_fields].name_at = other->text_len;
        other->fields[other->n_fields].name_len = 0;
        other->fields[other->n_fields++].value_len = 0;
        other->in_value = false;
    }
    add_text(other, at, len);
    other->fields[other->n_fields - 1].name_len += len;
    return 0;
}

static int on_value(http_parser *parser, const char *at, size_t len)
{
    struct other *other = parser->data;

    if (other->head_done)
        return 0;
    if (!other->in_value)
        other->fields[other->n_fields - 1].value_at = other->text_len;
    other->in_value = true;
    add_text(other, at, len);
    other->fields[other->n_fields - 1].value_len += len;
    return 0;
}

static int on_head(http_parser *parser)
{
    struct other *other = parser->data;

    other->head_done = true;
    other->keep_alive = http_should_keep_alive(parser); /* a trailer would change it */
    /* 1: there is no body. It leaves these to its user (RFC 9112, 6.3). */
    return other->answers_head || (parser->type == HTTP_RESPONSE && parser->status_code < 200) ||
           parser->status_code == 204 || parser->status_code == 304;
}

static int on_body(http_parser *parser, const char *at, size_t len)
{
    struct other *other = parser->data;

    memcpy(other->body + other->body_len, at, len);
    other->body_len += len;
    return 0;
}

static int on_message(http_parser *parser)
{
    struct other *other = parser->data;

    other->is_whole = true;
    http_parser_pause(parser, 1);
    return 0;
}

static void frame_other(struct other *other, const char *bytes, size_t len, bool is_request,
                        bool answers_head)
{
    static const http_parser_settings settings = {.on_header_field = on_field,
                                                  .on_header_value = on_value,
                                                  .on_headers_complete = on_head,
                                                  .on_body = on_body,
                                                  .on_message_complete = on_message};

    *other = (struct other){
        .answers_head = answers_head, .body = th_malloc(len + 1), .text = th_malloc(len + 1)};
    TH_REQUIRE(other->body != NULL && other->text != NULL);
    http_parser_init(&other->parser, is_request ? HTTP_REQUEST : HTTP_RESPONSE);
    other->parser.data = other;
    other->len = http_parser_execute(&other->parser, &settings, bytes, len);
    other->error = HTTP_PARSER_ERRNO(&other->parser);
    other->refused = other->len < len ? bytes[other->len] : '\0';
    if (!other->is_whole && other->error == HPE_OK && !is_request)
        http_parser_execute(&other->parser, &settings, NULL, 0); /* the connection ends */
}

/* --- the two beside each other --- */

static bool has_space_behind(const struct ours *ours, enum th_header_id id)
{
    const struct th_field *field = th_head_find_any(&ours->head, id);

    return field != NULL && field->value.ptr[field->value.len] != '\r';
}

static bool has_longer_name(const struct ours *ours, struct th_str name)
{
    for (unsigned i = 0; i < ours->head.n_fields; i++) {
        struct th_str found = ours->fields[i].name;
        if (found.len > name.len && th_str_equal_nocase((struct th_str){found.ptr, name.len}, name))
            return true;
    }
    return false;
}

/* What it does not know or want, though RFC 9110 and 9112 let it be: */
static bool may_refuse(const struct other *other, const struct ours *ours)
{
    switch (other->error) {
    case HPE_INVALID_METHOD:   /* it knows a fixed list; unknown ones are relayed (RFC 9110, 9.1) */
    case HPE_INVALID_URL:      /* the target of a request is th_url_parse's to judge */
    case HPE_INVALID_CONSTANT: /* a method that begins as one of these; HTTP/1.x */
    case HPE_STRICT:           /* the same of a status line's reason, and of a chunk's extension */
    case HPE_CB_header_field:  /* more fields than this test has room for */
        return true;
    case HPE_INVALID_VERSION:
        return ours->head.minor != 0 && ours->head.minor != 1;
    case HPE_INVALID_CONTENT_LENGTH: /* of a trailer; or it knows no tab behind a number */
        return other->head_done || has_space_behind(ours, TH_HEADER_CONTENT_LENGTH);
    case HPE_INVALID_TRANSFER_ENCODING: /* nor one behind "chunked" */
        return has_space_behind(ours, TH_HEADER_TRANSFER_ENCODING);
    case HPE_INVALID_CHUNK_SIZE: /* nor one before an extension */
        return other->refused == '\t';
    case HPE_UNEXPECTED_CONTENT_LENGTH: /* of a trailer, which it judges as a field of the head */
        return other->head_done;
    default: /* above all: framing that it finds fault with */
        fprintf(stderr, "the other parser refuses: %s\n", http_errno_description(other->error));
        return false;
    }
}

static struct th_str trimmed(const char *ptr, size_t len)
{
    while (len > 0 && (ptr[len - 1] == ' ' || ptr[len - 1] == '\t'))
        len--;
    return (struct th_str){ptr, len};
}

static void require_same_fields(const struct ours *ours, const struct other *other)
{
    TH_REQUIRE(ours->head.n_fields == other->n_fields);
    for (unsigned i = 0; i < other->n_fields; i++) {
        struct th_str name = {other->text + other->fields[i].name_at, other->fields[i].name_len};
        struct th_str value =
            trimmed(other->text + other->fields[i].value_at, other->fields[i].value_len);
        TH_REQUIRE(th_str_equal(ours->fields[i].name, name));
        TH_REQUIRE(value.len == 0 ? ours->fields[i].value.len == 0
                                  : th_str_equal(ours->fields[i].value, value));
    }
}

/* Whether both have read a whole message, the same. */
static bool compare(struct ours *ours, struct other *other, bool is_request)
{
    if (has_longer_name(ours, TH_STR("Transfer-Encoding"))) /* it takes such a one for it */
        return false;
    if (!other->is_whole && other->error != HPE_OK) {
        TH_REQUIRE(may_refuse(other, ours));
        return false;
    }
    TH_REQUIRE(other->head_done);
    require_same_fields(ours, other);
    TH_REQUIRE(ours->is_whole == other->is_whole);
    TH_REQUIRE(ours->body_len == other->body_len &&
               memcmp(ours->body, other->body, ours->body_len) == 0);
    if (!ours->is_whole)
        return false;
    TH_REQUIRE(ours->len == other->len);
    /* Ours may close where the other would go on, never the other way about. */
    TH_REQUIRE(!ours->head.keep_alive || other->keep_alive || !is_request);
    return true;
}

/* The bytes of the message that both have read; 0: there is none. */
static size_t read_message(const char *bytes, size_t len, bool is_request, enum th_method method)
{
    struct ours ours;
    struct other other = {.body = NULL};
    bool is_same = false;

    if (!parse_head(&ours, bytes, len, is_request, method))
        return 0;
    if (frame_body(&ours, bytes, len)) {
        frame_other(&other, bytes, len, is_request, method == TH_METHOD_HEAD);
        is_same = compare(&ours, &other, is_request);
    }
    th_free(ours.body);
    th_free(other.body);
    th_free(other.text);
    return is_same ? ours.len : 0;
}

unsigned th_differential_requests(const char *bytes, size_t len)
{
    unsigned n = 0;

    while (n < MESSAGES_MAX) {
        size_t taken = read_message(bytes, len, true, TH_METHOD_OTHER);
        if (taken == 0)
            break;
        bytes += taken;
        len -= taken;
        n++;
    }
    return n;
}

unsigned th_differential_response(const char *bytes, size_t len, enum th_method request_method)
{
    return read_message(bytes, len, false, request_method) > 0;
}
