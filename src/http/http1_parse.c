#include "tokenhop/http/http1.h"

#include "facts.h"
#include "line.h"
#include "scan.h"

#define VERSION_LEN 8 /* "HTTP/1.1" */

/* Fields are counted in a uint16_t and indexed by an int16_t. */
#define FIELDS_MAX 1000

static void start_head(struct th_head *head)
{
    head->method = TH_METHOD_OTHER;
    head->method_text = head->target = head->reason = TH_STR_NONE;
    head->status = 0;
    head->minor = 0;
    head->n_fields = 0;
    head->len = 0;
    head->framing = TH_FRAMING_NONE;
    head->content_length = 0;
    head->has_content_length = false;
}

/* "HTTP/" DIGIT "." DIGIT, judged byte by byte: what is no version is a bad request, another
 * version than 1.0 and 1.1 is TH_E_VERSION. */
static int take_version(const char **p, const char *end, uint8_t *ret_minor)
{
    static const char form[VERSION_LEN + 1] = "HTTP/0.0";
    const char *text = *p;
    for (size_t i = 0; i < VERSION_LEN; i++) {
        if (text + i == end)
            return TH_AGAIN;
        if (form[i] == '0' ? !th_scan_is(text[i], TH_SCAN_DIGIT) : text[i] != form[i])
            return TH_E_BAD_REQUEST;
    }
    if (text[5] != '1' || text[7] > '1')
        return TH_E_VERSION;
    *ret_minor = (uint8_t)(text[7] - '0');
    *p = text + VERSION_LEN;
    return 0;
}

/* RFC 9112, 3: method SP request-target SP HTTP-version CRLF, with single spaces. */
static int take_request_line(const char **p, const char *end, struct th_head *head)
{
    const char *method = *p;
    const char *at = th_scan_class(method, end, TH_SCAN_TOKEN);
    if (at == end)
        return TH_AGAIN;
    if (*at != ' ' || at == method)
        return TH_E_BAD_REQUEST;
    head->method_text = (struct th_str){method, (size_t)(at - method)};

    const char *target = ++at;
    at = th_scan_target(target, end);
    if (at == end)
        return TH_AGAIN;
    if (at == target)
        return TH_E_BAD_REQUEST;
    if (*at != ' ')
        return *at == '\r' || *at == '\n' ? TH_E_BAD_REQUEST : TH_E_BAD_TARGET;
    head->target = (struct th_str){target, (size_t)(at - target)};

    at++;
    int r = take_version(&at, end, &head->minor);
    if (r == 0)
        r = th_line_take_end(&at, end);
    if (r != 0)
        return r;
    head->method = th_method_find(head->method_text);
    *p = at;
    return 0;
}

/* RFC 9112, 4: HTTP-version SP status-code SP [reason-phrase] CRLF. Many servers leave the second
 * space out where there is no reason: that can be read in one way only, and is taken. */
static int take_status_line(const char **p, const char *end, struct th_head *head)
{
    const char *at = *p;
    int r = take_version(&at, end, &head->minor);
    if (r != 0)
        return r;
    if (at == end)
        return TH_AGAIN;
    if (*at++ != ' ')
        return TH_E_BAD_REQUEST;
    int status = 0;
    for (int i = 0; i < 3; i++, at++) {
        if (at == end)
            return TH_AGAIN;
        if (!th_scan_is(*at, TH_SCAN_DIGIT))
            return TH_E_BAD_REQUEST;
        status = status * 10 + (*at - '0');
    }
    if (status < 100 || status > 599)
        return TH_E_BAD_REQUEST;
    if (at == end)
        return TH_AGAIN;
    if (*at == ' ') {
        const char *reason = ++at;
        at = th_scan_value(at, end);
        head->reason = (struct th_str){reason, (size_t)(at - reason)};
    }
    r = th_line_take_end(&at, end);
    if (r != 0)
        return r;
    head->status = status;
    *p = at;
    return 0;
}

/* Field lines up to and with the empty line. */
static int take_fields(const char **p, const char *end, struct th_head *head, size_t max)
{
    while (*p < end) {
        if (**p == '\r')
            return th_line_take_end(p, end);
        if (head->n_fields >= max)
            return TH_E_HEAD_TOO_LARGE;
        int r = th_line_take_field(p, end, &head->fields[head->n_fields]);
        if (r != 0)
            return r;
        head->n_fields++;
    }
    return TH_AGAIN;
}

/* The start line and fields at the front of `bytes`. When they end too early, *ret_in_start_line
 * tells where. */
static int take_head(struct th_head *head, enum th_direction direction, const char *bytes,
                     size_t len, size_t max_fields, bool *ret_in_start_line)
{
    const char *p = bytes;
    const char *end = bytes + len;
    start_head(head);
    *ret_in_start_line = true;
    int r;
    if (direction == TH_DIRECTION_REQUEST) {
        /* RFC 9112, 2.2: old clients send an empty line after a body */
        r = p < end && *p == '\r' ? th_line_take_end(&p, end) : 0;
        if (r == 0)
            r = p < end ? take_request_line(&p, end, head) : TH_AGAIN;
    } else {
        r = take_status_line(&p, end, head);
    }
    if (r != 0)
        return r;
    *ret_in_start_line = false;
    r = take_fields(&p, end, head, max_fields);
    if (r == 0)
        head->len = (uint32_t)(p - bytes);
    return r;
}

/* Both directions, in the words of a request's errors.
 *
 * Nothing but *scanned is kept between calls, so that a connection which waits for the rest of a
 * head holds no fields. The bytes are gone through again when another line is complete, that is at
 * most as often as a head may have lines; bytes that complete no line are only searched for LF. */
static int parse(struct th_head *head, enum th_direction direction, const char *bytes, size_t len,
                 size_t *scanned, const struct th_http1_limits *limits,
                 enum th_method request_method)
{
    if (len == 0)
        return TH_AGAIN;
    bool full = len >= limits->head;
    size_t visible = full ? limits->head : len;
    if (visible > UINT32_MAX)
        return TH_E_HEAD_TOO_LARGE;
    if (!full && *scanned > 0 && *scanned <= len &&
        (*scanned == len || memchr(bytes + *scanned, '\n', len - *scanned) == NULL)) {
        *scanned = len;
        return TH_AGAIN;
    }
    size_t max_fields = limits->fields < head->max_fields ? limits->fields : head->max_fields;
    bool in_start_line;
    int r = take_head(head, direction, bytes, visible,
                      max_fields < FIELDS_MAX ? max_fields : FIELDS_MAX, &in_start_line);
    if (r == TH_AGAIN && !full) {
        *scanned = len;
        return TH_AGAIN;
    }
    *scanned = 0;
    if (r == TH_AGAIN)
        return in_start_line ? TH_E_URI_TOO_LONG : TH_E_HEAD_TOO_LARGE;
    if (r == 0)
        r = th_facts_gather(head, direction);
    if (r == 0)
        r = th_framing_decide(head, direction, request_method);
    return r;
}

int th_http1_parse_request(struct th_head *head, const char *bytes, size_t len, size_t *scanned,
                           const struct th_http1_limits *limits)
{
    return parse(head, TH_DIRECTION_REQUEST, bytes, len, scanned, limits, TH_METHOD_OTHER);
}

int th_http1_parse_response(struct th_head *head, const char *bytes, size_t len, size_t *scanned,
                            const struct th_http1_limits *limits, enum th_method request_method)
{
    int r = parse(head, TH_DIRECTION_RESPONSE, bytes, len, scanned, limits, request_method);
    if (r == 0) {
        if (head->framing == TH_FRAMING_CLOSE)
            head->keep_alive = false;
        return 0;
    }
    if (r == TH_AGAIN)
        return r;
    return r == TH_E_HEAD_TOO_LARGE || r == TH_E_URI_TOO_LONG ? TH_E_ORIGIN_HEAD_LARGE
                                                              : TH_E_ORIGIN_PROTOCOL;
}
