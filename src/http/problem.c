#include "tokenhop/http/problem.h"

#include <time.h>

#include "scan.h"

/* What keeps a whole answer below 6 KiB: bytes as written, escapes included. */
#define DETAIL_MAX 512
#define NAME_MAX_LEN 128
#define TRACE_ID_MAX 64
#define URI_MAX 1000
#define CHALLENGE_MAX 1024
#define ALLOW_MAX 128
#define ID_MAX 256
#define BODY_MAX 4608

/* --- text made safe --- */

/* The length of the UTF-8 sequence at `p`, 0 when there is none (RFC 3629: overlong forms,
 * surrogates and what lies beyond U+10FFFF are none). */
static size_t utf8_len(const unsigned char *p, size_t len)
{
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (n == 0 || n > len || p[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

static void add_char(struct th_writer *w, char c)
{
    th_writer_add(w, (struct th_str){&c, 1});
}

/* The inside of a JSON string, at most `max` bytes of it: whole characters, controls as blanks. */
static void add_json_text(struct th_writer *w, struct th_str text, size_t max)
{
    for (size_t i = 0; i < text.len;) {
        const unsigned char *p = (const unsigned char *)text.ptr + i;
        size_t n = utf8_len(p, text.len - i);
        size_t cost = *p == '"' || *p == '\\' ? 2 : n == 0 ? 1 : n;
        if (cost > max)
            return;
        max -= cost;
        if (n == 0)
            add_char(w, '?');
        else if (n == 1 && (*p < 0x20 || *p == 0x7f))
            add_char(w, ' ');
        else {
            if (cost == 2 && n == 1)
                add_char(w, '\\');
            th_writer_add(w, (struct th_str){(const char *)p, n});
        }
        i += n == 0 ? 1 : n;
    }
}

/* RFC 6750, 3: an error_description is of %x20-21, %x23-5B, %x5D-7E. */
static void add_description(struct th_writer *w, struct th_str text)
{
    for (size_t i = 0; i < text.len && i < DETAIL_MAX; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c == '"' || c == '\\')
            c = '\'';
        else if (c < 0x20 || c > 0x7e)
            c = c > 0x7f ? '?' : ' ';
        add_char(w, (char)c);
    }
}

static bool uri_is_usable(struct th_str uri)
{
    return uri.len > 0 && uri.len <= URI_MAX && th_scan_all(uri, TH_SCAN_TARGET) &&
           memchr(uri.ptr, '<', uri.len) == NULL && memchr(uri.ptr, '>', uri.len) == NULL &&
           memchr(uri.ptr, '"', uri.len) == NULL && memchr(uri.ptr, '\\', uri.len) == NULL;
}

/* --- body --- */

static void add_member(struct th_writer *w, struct th_str name, struct th_str text, size_t max)
{
    if (text.len == 0)
        return;
    th_writer_add(w, TH_STR(",\""));
    th_writer_add(w, name);
    th_writer_add(w, TH_STR("\":\""));
    add_json_text(w, text, max);
    th_writer_add(w, TH_STR("\""));
}

/* Members of JSON-RPC 2.0, 5.1, beside those of the problem: who speaks it finds its error, whatever the
 * content type. */
static void add_jsonrpc(struct th_writer *w, const struct th_problem *problem,
                        const struct th_error_row *row, bool with_uri)
{
    th_writer_add(w, TH_STR(",\"jsonrpc\":\"2.0\",\"id\":"));
    th_writer_add(w, problem->jsonrpc_id);
    th_writer_add(w, TH_STR(",\"error\":{\"code\":-"));
    th_writer_add_u64(w, -TH_JSONRPC_INTERACTION);
    add_member(w, TH_STR("message"), th_str_of(row->title), DETAIL_MAX);
    th_writer_add(w, TH_STR(",\"data\":{\"status\":"));
    th_writer_add_u64(w, (uint64_t)row->status);
    add_member(w, TH_STR("code"), th_str_of(row->code), NAME_MAX_LEN);
    add_member(w, TH_STR("connection"), problem->connection, NAME_MAX_LEN);
    if (with_uri)
        add_member(w, TH_STR("interaction_uri"), problem->interaction_uri, URI_MAX);
    th_writer_add(w, TH_STR("}}"));
}

/* RFC 9457, 3.1. The type is a name, not an address: nothing is looked up. */
static void add_body(struct th_writer *w, const struct th_problem *problem,
                     const struct th_error_row *row, bool with_uri)
{
    th_writer_add(w, TH_STR("{\"type\":\"urn:tokenhop:problem:"));
    th_writer_add(w, th_str_of(row->code));
    th_writer_add(w, TH_STR("\""));
    add_member(w, TH_STR("title"), th_str_of(row->title), DETAIL_MAX);
    th_writer_add(w, TH_STR(",\"status\":"));
    th_writer_add_u64(w, (uint64_t)row->status);
    add_member(w, TH_STR("detail"), problem->detail, DETAIL_MAX);
    add_member(w, TH_STR("code"), th_str_of(row->code), NAME_MAX_LEN);
    add_member(w, TH_STR("connection"), problem->connection, NAME_MAX_LEN);
    add_member(w, TH_STR("trace_id"), problem->trace_id, TRACE_ID_MAX);
    if (with_uri)
        add_member(w, TH_STR("interaction_uri"), problem->interaction_uri, URI_MAX);
    if (problem->error == TH_E_INTERACTION && problem->jsonrpc_id.len > 0 &&
        problem->jsonrpc_id.len <= ID_MAX)
        add_jsonrpc(w, problem, row, with_uri);
    th_writer_add(w, TH_STR("}\n"));
}

/* --- head --- */

/* RFC 6750, 3.1: without `error` when there was no token to find fault with. */
static void add_challenge(struct th_writer *w, const struct th_problem *problem,
                          const struct th_error_row *row)
{
    struct th_str more = problem->challenge;
    if (more.len > CHALLENGE_MAX || (more.len > 0 && !th_scan_all(more, TH_SCAN_VALUE)))
        more = TH_STR_NONE;
    th_writer_add(w, TH_STR("WWW-Authenticate: Bearer "));
    if (th_str_starts_with(more, TH_STR("error="))) {
        /* another error than invalid_token, as of RFC 9470: it speaks for itself */
    } else if (problem->error == TH_E_SUBJECT_MISSING) {
        th_writer_add(w, TH_STR("realm=\"tokenhop\""));
    } else {
        th_writer_add(w, TH_STR("error=\"invalid_token\", error_description=\""));
        add_description(w, problem->detail.len > 0 ? problem->detail : th_str_of(row->title));
        th_writer_add(w, TH_STR("\""));
    }
    if (more.len > 0) {
        if (!th_str_starts_with(more, TH_STR("error=")))
            th_writer_add(w, TH_STR(", "));
        th_writer_add(w, more);
    }
    th_writer_add(w, TH_STR("\r\n"));
}

static void add_retry_after(struct th_writer *w, int64_t retry_after_ms)
{
    int64_t seconds = 1;
    if (retry_after_ms > 1000)
        seconds = retry_after_ms / 1000 + (retry_after_ms % 1000 != 0);
    th_writer_add(w, TH_STR("Retry-After: "));
    th_writer_add_u64(w, (uint64_t)seconds);
    th_writer_add(w, TH_STR("\r\n"));
}

static void add_proxy_status(struct th_writer *w, const struct th_error_row *row)
{
    th_writer_add(w, TH_STR("Proxy-Status: tokenhop; error="));
    th_writer_add(w, th_str_of(row->proxy_status));
    th_writer_add(w, TH_STR("\r\n"));
}

static void add_conditional_fields(struct th_writer *w, const struct th_problem *problem,
                                   const struct th_error_row *row, bool with_uri)
{
    if (row->status == 401)
        add_challenge(w, problem, row);
    if (row->status == 407)
        th_writer_add_field(w, TH_STR("Proxy-Authenticate"),
                            TH_STR("Basic realm=\"tokenhop\", charset=\"UTF-8\", "
                                   "Bearer realm=\"tokenhop\""));
    if (row->status == 405 && problem->allow.len > 0 && problem->allow.len <= ALLOW_MAX)
        th_writer_add_field(w, TH_STR("Allow"), problem->allow);
    if (row->retryable || problem->retry_after_ms > 0)
        add_retry_after(w, problem->retry_after_ms);
    if (with_uri) {
        th_writer_add(w, TH_STR("Link: <"));
        th_writer_add(w, problem->interaction_uri);
        th_writer_add(w, TH_STR(">; rel=\"urn:tokenhop:rel:interaction\"\r\n"));
    }
    if (problem->close)
        th_writer_add_field(w, TH_STR("Connection"), TH_STR("close"));
}

void th_problem_write(struct th_writer *w, const struct th_problem *problem)
{
    const struct th_error_row *row = th_error_get(problem->error);
    bool with_uri = problem->error == TH_E_INTERACTION && uri_is_usable(problem->interaction_uri);
    char room[BODY_MAX];
    struct th_writer body;
    th_writer_init(&body, room, sizeof(room));
    add_body(&body, problem, row, with_uri);

    char date[TH_HTTP_DATE_LEN + 1];
    th_http_date(problem->wall_ms, date);
    th_writer_add_status_line(w, row->status, TH_STR_NONE);
    th_writer_add_field(w, TH_STR("Date"), th_str_of(date));
    th_writer_add_field(w, TH_STR("Content-Type"), TH_STR("application/problem+json"));
    th_writer_add(w, TH_STR("Content-Length: "));
    th_writer_add_u64(w, body.len);
    th_writer_add(w, TH_STR("\r\n"));
    th_writer_add_field(w, TH_STR("Cache-Control"), TH_STR("no-store"));
    add_proxy_status(w, row);
    add_conditional_fields(w, problem, row, with_uri);
    th_writer_add(w, TH_STR("\r\n"));
    if (!problem->head_only)
        th_writer_add(w, (struct th_str){room, body.len});
    if (body.overflow)
        w->overflow = true;
}

/* --- date --- */

static char *put_number(char *to, int number, int n_digits)
{
    for (int i = n_digits; i-- > 0; number /= 10)
        to[i] = (char)('0' + number % 10);
    return to + n_digits;
}

static char *put_text(char *to, const char *text, size_t len)
{
    memcpy(to, text, len);
    return to + len;
}

void th_http_date(int64_t wall_ms, char ret_text[TH_HTTP_DATE_LEN + 1])
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    /* the form has four digits for the year */
    const int64_t last = INT64_C(253402300799);
    int64_t seconds = wall_ms < 0 ? 0 : wall_ms / 1000;
    time_t now = (time_t)(seconds > last ? last : seconds);
    struct tm tm;
    if (gmtime_r(&now, &tm) == NULL)
        memset(&tm, 0, sizeof(tm));
    char *to = put_text(ret_text, days + 3 * tm.tm_wday, 3);
    to = put_text(to, ", ", 2);
    to = put_number(to, tm.tm_mday, 2);
    *to++ = ' ';
    to = put_text(to, months + 3 * tm.tm_mon, 3);
    *to++ = ' ';
    to = put_number(to, tm.tm_year + 1900, 4);
    *to++ = ' ';
    to = put_number(to, tm.tm_hour, 2);
    *to++ = ':';
    to = put_number(to, tm.tm_min, 2);
    *to++ = ':';
    to = put_number(to, tm.tm_sec, 2);
    to = put_text(to, " GMT", 4);
    *to = '\0';
}
