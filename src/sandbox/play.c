/* Playing faults: delays, raw misbehaviour, and answers that are not the true one. */
#include <stdio.h>
#include <time.h>

#include "sandbox.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"

#define MAX_MADE (32 * 1024 * 1024)

static void run_again(struct th_web_call *call, void *data)
{
    void (*const *again)(struct th_web_call *) = data;
    (*again)(call);
}

static void play_slow(struct th_web_call *call, long ms, void (*again)(struct th_web_call *))
{
    void (**data)(struct th_web_call *) = th_malloc(sizeof *data);
    if (data == NULL) {
        th_web_reply_error(call, 503, "out of memory");
        return;
    }
    *data = again;
    th_web_later(call, ms, run_again, data, th_free);
}

#define HALF_BODY                                                                                  \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"             \
    "Content-Length: 1000\r\n\r\n{\"token_type\":\"Bearer\",\"access_token\":\"eyJ"
#define HALF_CHUNKS                                                                                \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"      \
    "10\r\n{\"token_type\":\"B\r\n"

#define GARBAGE "\x16\x03\x01 this is not HTTP\r\n\r\n"

static void play_huge_head(struct th_web_call *call, long bytes)
{
    struct th_buf head;
    th_buf_init(&head, MAX_MADE);
    th_buf_printf(&head, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Filler: ");
    for (long i = 0; i < bytes; i++)
        th_buf_add_char(&head, 'a');
    th_buf_printf(&head, "\r\n\r\n");
    th_web_raw(call, th_buf_str(&head), false, 50);
    th_buf_fini(&head);
}

/* What was sent needs a moment to be read before a reset throws it away. */
static const struct raw_row {
    enum th_fault_kind kind;
    struct th_str bytes;
    bool reset;
    long after_ms;
} raw_rows[] = {
    {TH_FAULT_HANG, {"", 0}, false, 60000},
    {TH_FAULT_RESET, {"", 0}, true, 0},
    {TH_FAULT_CLOSE, {"", 0}, false, 0},
    {TH_FAULT_RESET_BODY, {HALF_BODY, sizeof HALF_BODY - 1}, true, 50},
    {TH_FAULT_CLOSE_BODY, {HALF_BODY, sizeof HALF_BODY - 1}, false, 0},
    {TH_FAULT_CHUNK_BODY, {HALF_CHUNKS, sizeof HALF_CHUNKS - 1}, false, 0},
    {TH_FAULT_GARBAGE_HTTP, {GARBAGE, sizeof GARBAGE - 1}, false, 0},
};

static bool play_raw(struct th_web_call *call, const struct th_fault *fault)
{
    if (fault->kind == TH_FAULT_HUGE_HEAD) {
        play_huge_head(call, th_fault_long(fault, "bytes", 300000));
        return true;
    }
    for (size_t i = 0; i < TH_COUNT_OF(raw_rows); i++) {
        const struct raw_row *row = &raw_rows[i];
        if (row->kind != fault->kind)
            continue;
        th_web_raw(call, row->bytes, row->reset, th_fault_long(fault, "ms", row->after_ms));
        return true;
    }
    return false;
}

/* Seconds, a date as text, or {"in": seconds} for the date that many seconds ahead. */
static void add_retry_after(struct th_web_call *call, const struct th_fault *fault)
{
    char text[64];
    const json_t *value = json_object_get(fault->args, "retry_after");
    if (json_is_string(value)) {
        th_web_add_field(call, "Retry-After", json_string_value(value));
    } else if (json_is_integer(value)) {
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(value));
        th_web_add_field(call, "Retry-After", text);
    } else if (json_is_object(value)) {
        time_t at = time(NULL) + (time_t)json_integer_value(json_object_get(value, "in"));
        struct tm utc;
        gmtime_r(&at, &utc);
        strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &utc);
        th_web_add_field(call, "Retry-After", text);
    }
}

static void reply_made(struct th_web_call *call, struct th_buf *text)
{
    if (text->failed)
        th_web_reply_error(call, 503, "out of memory");
    else
        th_web_reply(call, 200, "application/json", th_buf_str(text));
    th_buf_fini(text);
}

static void reply_oversized(struct th_web_call *call, const struct th_fault *fault)
{
    struct th_buf text;
    long bytes = th_fault_long(fault, "bytes", 2 * 1024 * 1024);
    th_buf_init(&text, MAX_MADE);
    th_buf_printf(&text, "{\"token_type\":\"Bearer\",\"expires_in\":3600,\"access_token\":\"");
    for (long i = 0; i < bytes && !text.failed; i++)
        th_buf_add_char(&text, 'A');
    th_buf_printf(&text, "\"}");
    reply_made(call, &text);
}

static void reply_deep(struct th_web_call *call, const struct th_fault *fault)
{
    struct th_buf text;
    long depth = th_fault_long(fault, "depth", 100000);
    th_buf_init(&text, MAX_MADE);
    th_buf_printf(&text, "{\"access_token\":\"a\",\"x\":");
    for (long i = 0; i < depth && !text.failed; i++)
        th_buf_add_char(&text, '[');
    for (long i = 0; i < depth && !text.failed; i++)
        th_buf_add_char(&text, ']');
    th_buf_printf(&text, "}");
    reply_made(call, &text);
}

static void reply_error(struct th_web_call *call, const struct th_fault *fault, int status,
                        const char *error, const char *description)
{
    json_t *body = json_pack("{s:s, s:s}", "error", error, "error_description", description);
    json_t *members = json_object_get(fault->args, "members");
    if (body != NULL && json_is_object(members))
        json_object_update(body, members);
    th_web_add_field(call, "Cache-Control", "no-store");
    th_web_reply_json(call, status, body);
}

static void reply_challenge(struct th_web_call *call, const struct th_fault *fault)
{
    struct th_buf text;
    bool forbidden = fault->kind == TH_FAULT_FORBIDDEN;
    bool bare = json_is_true(json_object_get(fault->args, "bare"));
    th_buf_init(&text, 1024);
    if (bare)
        th_buf_printf(&text, "Bearer");
    else if (forbidden)
        th_buf_printf(&text, "Bearer error=\"insufficient_scope\", scope=\"%s\"",
                      th_fault_text(fault, "scope", "chat.admin"));
    else
        th_buf_printf(&text, "Bearer error=\"invalid_token\", error_description=\"played\"");
    th_web_add_field(call, "WWW-Authenticate", text.failed ? "Bearer" : text.ptr);
    th_buf_fini(&text);
    th_web_reply_error(call, forbidden ? 403 : 401, "played");
}

static int status_of(const struct th_fault *fault, int otherwise)
{
    long status = th_fault_long(fault, "status", otherwise);
    return status >= 200 && status <= 599 ? (int)status : otherwise;
}

static void reply_status(struct th_web_call *call, const struct th_fault *fault)
{
    th_web_reply(call, status_of(fault, 500), "text/plain", TH_STR("played\n"));
}

static void reply_html(struct th_web_call *call, const struct th_fault *fault)
{
    th_web_reply(call, status_of(fault, 502), "text/html",
                 TH_STR("<html><body><h1>Bad gateway</h1></body></html>\n"));
}

static void reply_rate_limited(struct th_web_call *call, const struct th_fault *fault)
{
    th_web_add_field(call, "X-Rate-Limit-Remaining", "0");
    th_web_reply_json(call, 429,
                      json_pack("{s:s, s:s, s:s}", "errorCode", "E0000047", "errorSummary",
                                "API call exceeded rate limit due to too many requests.", "errorId",
                                "sandbox"));
}

static void reply_unavailable(struct th_web_call *call, const struct th_fault *fault)
{
    reply_error(call, fault, 503, "temporarily_unavailable", "Come back later.");
}

static void reply_any_error(struct th_web_call *call, const struct th_fault *fault)
{
    reply_error(call, fault, status_of(fault, 400), th_fault_text(fault, "error", "server_error"),
                th_fault_text(fault, "description", "played"));
}

static void reply_garbage(struct th_web_call *call, const struct th_fault *fault)
{
    th_web_reply(call, 200, "application/json", TH_STR("{\"access_token\": \"eyJ"));
}

static void reply_empty(struct th_web_call *call, const struct th_fault *fault)
{
    th_web_reply(call, 200, "application/json", TH_STR(""));
}

static void reply_array(struct th_web_call *call, const struct th_fault *fault)
{
    th_web_reply(call, 200, "application/json", TH_STR("[{\"access_token\": \"a\"}]"));
}

static void reply_redirect(struct th_web_call *call, const struct th_fault *fault)
{
    th_web_add_field(call, "Location", th_fault_text(fault, "location", "/sandbox/followed"));
    th_web_reply(call, status_of(fault, 302), "text/plain", TH_STR("elsewhere\n"));
}

static const struct reply_row {
    enum th_fault_kind kind;
    void (*reply)(struct th_web_call *call, const struct th_fault *fault);
} reply_rows[] = {
    {TH_FAULT_STATUS, reply_status},
    {TH_FAULT_RATE_LIMITED, reply_rate_limited},
    {TH_FAULT_HTML, reply_html},
    {TH_FAULT_UNAVAILABLE, reply_unavailable},
    {TH_FAULT_ERROR, reply_any_error},
    {TH_FAULT_GARBAGE_JSON, reply_garbage},
    {TH_FAULT_EMPTY, reply_empty},
    {TH_FAULT_ARRAY, reply_array},
    {TH_FAULT_OVERSIZED_JSON, reply_oversized},
    {TH_FAULT_DEEP_JSON, reply_deep},
    {TH_FAULT_REDIRECT, reply_redirect},
    {TH_FAULT_UNAUTHORIZED, reply_challenge},
    {TH_FAULT_FORBIDDEN, reply_challenge},
};

static bool play_reply(struct th_web_call *call, const struct th_fault *fault)
{
    for (size_t i = 0; i < TH_COUNT_OF(reply_rows); i++) {
        if (reply_rows[i].kind != fault->kind)
            continue;
        add_retry_after(call, fault);
        reply_rows[i].reply(call, fault);
        return true;
    }
    return false;
}

bool th_sandbox_play_fault(struct th_web_call *call, struct th_sandbox *sandbox, const char *place,
                           void (*again)(struct th_web_call *call), struct th_fault *ret_fault)
{
    struct th_fault fault = th_faults_take(&sandbox->faults, place, call->path);
    bool played = false;
    if (fault.kind == TH_FAULT_NONE)
        return false;
    th_stats_count(&sandbox->stats, "faults", place, th_fault_name(fault.kind));
    switch (fault.phase) {
    case TH_FAULT_PHASE_DELAY:
        play_slow(call, th_fault_long(&fault, "ms", 1000), again);
        played = true;
        break;
    case TH_FAULT_PHASE_RAW:
        played = play_raw(call, &fault);
        break;
    case TH_FAULT_PHASE_REPLY:
        played = play_reply(call, &fault);
        break;
    case TH_FAULT_PHASE_CLAIMS:
    case TH_FAULT_PHASE_BODY:
    case TH_FAULT_PHASE_HEAD:
        break;
    }
    if (played)
        th_fault_fini(&fault);
    else
        *ret_fault = fault;
    return played;
}
