#include "tokenhop/http/http1.h"

#include "scan.h"

void th_writer_add_u64(struct th_writer *w, uint64_t number)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    th_writer_add(w, (struct th_str){digits + at, sizeof(digits) - at});
}

static inline char *put(char *to, struct th_str text)
{
    if (text.len > 0)
        memcpy(to, text.ptr, text.len);
    return to + text.len;
}

/* Values come from tokens, configuration and other heads. Whatever was checked where they came
 * from: none of them ends a line here. */
static void add_line(struct th_writer *w, struct th_str name, struct th_str value)
{
    size_t room = w->size - w->len;
    /* room for ": " and CRLF besides; written so that no sum overflows */
    if (room < 4 || name.len > room - 4 || value.len > room - 4 - name.len ||
        !th_scan_holds(value, TH_SCAN_VALUE)) {
        w->overflow = true;
        return;
    }
    char *to = put(w->ptr + w->len, name);
    to = put(to, TH_STR(": "));
    to = put(to, value);
    to = put(to, TH_STR("\r\n"));
    w->len = (size_t)(to - w->ptr);
}

void th_writer_add_field(struct th_writer *w, struct th_str name, struct th_str value)
{
    if (name.len > 0 && th_scan_all(name, TH_SCAN_TOKEN))
        add_line(w, name, value);
    else
        w->overflow = true;
}

void th_writer_add_fields(struct th_writer *w, const struct th_head *head)
{
    for (unsigned i = 0; i < head->n_fields; i++) {
        const struct th_field *field = &head->fields[i];
        if (field->dropped)
            continue;
        if (field->id == TH_HEADER_UNKNOWN)
            th_writer_add_field(w, field->name, field->value);
        else if ((th_header_get((enum th_header_id)field->id)->flags & TH_HEADER_FRAMING) == 0)
            add_line(w, field->name, field->value); /* its name is the table's: a token */
    }
}

struct th_str th_http_reason(int status)
{
    static const struct {
        int status;
        struct th_str reason;
    } known[] = {
#define REASON(status, text)                                                                       \
    {                                                                                              \
        status,                                                                                    \
        {                                                                                          \
            text, sizeof(text) - 1                                                                 \
        }                                                                                          \
    }
        REASON(100, "Continue"),
        REASON(101, "Switching Protocols"),
        REASON(103, "Early Hints"),
        REASON(200, "OK"),
        REASON(201, "Created"),
        REASON(202, "Accepted"),
        REASON(203, "Non-Authoritative Information"),
        REASON(204, "No Content"),
        REASON(205, "Reset Content"),
        REASON(206, "Partial Content"),
        REASON(300, "Multiple Choices"),
        REASON(301, "Moved Permanently"),
        REASON(302, "Found"),
        REASON(303, "See Other"),
        REASON(304, "Not Modified"),
        REASON(307, "Temporary Redirect"),
        REASON(308, "Permanent Redirect"),
        REASON(400, "Bad Request"),
        REASON(401, "Unauthorized"),
        REASON(402, "Payment Required"),
        REASON(403, "Forbidden"),
        REASON(404, "Not Found"),
        REASON(405, "Method Not Allowed"),
        REASON(406, "Not Acceptable"),
        REASON(407, "Proxy Authentication Required"),
        REASON(408, "Request Timeout"),
        REASON(409, "Conflict"),
        REASON(410, "Gone"),
        REASON(411, "Length Required"),
        REASON(412, "Precondition Failed"),
        REASON(413, "Content Too Large"),
        REASON(414, "URI Too Long"),
        REASON(415, "Unsupported Media Type"),
        REASON(416, "Range Not Satisfiable"),
        REASON(417, "Expectation Failed"),
        REASON(421, "Misdirected Request"),
        REASON(422, "Unprocessable Content"),
        REASON(425, "Too Early"),
        REASON(426, "Upgrade Required"),
        REASON(428, "Precondition Required"),
        REASON(429, "Too Many Requests"),
        REASON(431, "Request Header Fields Too Large"),
        REASON(499, "Client Closed Request"),
        REASON(500, "Internal Server Error"),
        REASON(501, "Not Implemented"),
        REASON(502, "Bad Gateway"),
        REASON(503, "Service Unavailable"),
        REASON(504, "Gateway Timeout"),
        REASON(505, "HTTP Version Not Supported"),
        REASON(508, "Loop Detected"),
        REASON(511, "Network Authentication Required"),
#undef REASON
    };
    size_t low = 0;
    size_t high = sizeof(known) / sizeof(known[0]);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (known[middle].status == status)
            return known[middle].reason;
        if (known[middle].status < status)
            low = middle + 1;
        else
            high = middle;
    }
    return TH_STR_NONE;
}

void th_writer_add_status_line(struct th_writer *w, int status, struct th_str reason)
{
    if (status < 100 || status > 999 || !th_scan_holds(reason, TH_SCAN_VALUE)) {
        w->overflow = true;
        return;
    }
    th_writer_add(w, TH_STR("HTTP/1.1 "));
    th_writer_add_u64(w, (uint64_t)status);
    th_writer_add(w, TH_STR(" "));
    if (reason.len == 0)
        reason = th_http_reason(status);
    if (reason.len > 0)
        th_writer_add(w, reason);
    th_writer_add(w, TH_STR("\r\n"));
}
