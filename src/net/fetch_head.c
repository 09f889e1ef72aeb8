#include "fetch_head.h"

#include <curl/curl.h>

#include "tokenhop/base/mem.h"

#define MAX_HEAD (64 * 1024)
#define MAX_FIELD 4096
#define MAX_SECONDS INT64_C(31536000) /* a year: whoever says more means never */

static void forget(struct th_fetch_head *head)
{
    for (size_t i = 0; i < TH_FETCH_FIELDS; i++) {
        th_free(head->fields[i]);
        head->fields[i] = NULL;
    }
    head->date_ms = head->retry_s = head->retry_at_ms = head->reset_at_ms = -1;
    head->expires_ms = head->max_age_s = -1;
    head->age_s = 0;
}

void th_fetch_head_init(struct th_fetch_head *head)
{
    *head = (struct th_fetch_head){0};
    forget(head);
}

void th_fetch_head_fini(struct th_fetch_head *head)
{
    forget(head);
}

static void keep(struct th_fetch_head *head, enum th_fetch_field field, struct th_str value)
{
    if (value.len > MAX_FIELD || memchr(value.ptr, '\0', value.len) != NULL) {
        head->failed = true;
        return;
    }
    th_free(head->fields[field]);
    head->fields[field] = th_strndup(value.ptr, value.len);
    if (head->fields[field] == NULL)
        head->failed = true;
}

/* RFC 9110, 5.6.7; -1 when it is none. */
static int64_t date_to_ms(struct th_str value)
{
    char text[64];
    time_t date;

    if (value.len == 0 || value.len >= sizeof(text))
        return -1;
    memcpy(text, value.ptr, value.len);
    text[value.len] = '\0';
    date = curl_getdate(text, NULL);
    return date >= 0 ? (int64_t)date * 1000 : -1;
}

/* RFC 9110, 10.2.3: a date or a number of seconds. */
static void read_retry_after(struct th_fetch_head *head, struct th_str value)
{
    uint64_t seconds;

    head->retry_s = head->retry_at_ms = -1;
    if (value.len > 0 && value.ptr[0] >= '0' && value.ptr[0] <= '9') {
        bool digits = true;
        for (size_t i = 0; i < value.len; i++)
            digits = digits && value.ptr[i] >= '0' && value.ptr[i] <= '9';
        if (!digits)
            return;
        if (th_str_to_u64(value, (uint64_t)MAX_SECONDS, &seconds) != 0)
            seconds = (uint64_t)MAX_SECONDS;
        head->retry_s = (int64_t)seconds;
        return;
    }
    head->retry_at_ms = date_to_ms(value);
}

static void read_reset(struct th_fetch_head *head, struct th_str value)
{
    uint64_t seconds;

    if (th_str_to_u64(value, (uint64_t)INT64_MAX / 1000, &seconds) == 0)
        head->reset_at_ms = (int64_t)seconds * 1000;
}

/* RFC 9111, 1.2.2: what is larger than can be counted means the largest. */
static bool read_seconds(struct th_str text, int64_t *ret_seconds)
{
    uint64_t seconds;

    if (text.len == 0)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
    if (th_str_to_u64(text, (uint64_t)MAX_SECONDS, &seconds) != 0)
        seconds = (uint64_t)MAX_SECONDS;
    *ret_seconds = (int64_t)seconds;
    return true;
}

/* RFC 9111, 5.2.2. Of several that speak of freshness the shortest holds; a max-age that is none
 * means stale (4.2.1). The commas inside a quoted string part nothing that matters here. */
static void read_cache_control(struct th_fetch_head *head, struct th_str value)
{
    const struct th_str max_age = TH_STR("max-age=");

    while (value.len > 0) {
        const char *comma = memchr(value.ptr, ',', value.len);
        size_t len = comma != NULL ? (size_t)(comma - value.ptr) : value.len;
        struct th_str directive = th_str_trim((struct th_str){value.ptr, len});
        int64_t seconds = -1;
        if (th_str_equal_nocase(directive, TH_STR("no-store")) ||
            th_str_equal_nocase(directive, TH_STR("no-cache"))) {
            seconds = 0;
        } else if (directive.len >= max_age.len &&
                   th_str_equal_nocase((struct th_str){directive.ptr, max_age.len}, max_age)) {
            struct th_str number = {directive.ptr + max_age.len, directive.len - max_age.len};
            if (number.len >= 2 && number.ptr[0] == '"' && number.ptr[number.len - 1] == '"')
                number = (struct th_str){number.ptr + 1, number.len - 2};
            if (!read_seconds(number, &seconds))
                seconds = 0;
        }
        if (seconds >= 0 && (head->max_age_s < 0 || seconds < head->max_age_s))
            head->max_age_s = seconds;
        if (comma == NULL)
            return;
        value = (struct th_str){value.ptr + len + 1, value.len - len - 1};
    }
}

/* RFC 9111, 5.3: what is no date, "0" above all, is in the past. */
static void read_expires(struct th_fetch_head *head, struct th_str value)
{
    int64_t at_ms = date_to_ms(value);

    head->expires_ms = at_ms >= 0 ? at_ms : 0;
}

static bool is_status_line(struct th_str line)
{
    return th_str_starts_with(line, TH_STR("HTTP/"));
}

void th_fetch_head_add(struct th_fetch_head *head, struct th_str line)
{
    const char *colon = line.len > 0 ? memchr(line.ptr, ':', line.len) : NULL;
    struct th_str name;
    struct th_str value;

    head->size += line.len;
    if (head->size > MAX_HEAD) {
        head->failed = true;
        return;
    }
    if (is_status_line(line)) {
        forget(head);
        return;
    }
    if (colon == NULL)
        return;
    name = (struct th_str){line.ptr, (size_t)(colon - line.ptr)};
    value = (struct th_str){colon + 1, line.len - name.len - 1};
    while (value.len > 0 && (value.ptr[value.len - 1] == '\r' || value.ptr[value.len - 1] == '\n'))
        value.len--;
    value = th_str_trim(value);
    if (th_str_equal_nocase(name, TH_STR("Content-Type")))
        keep(head, TH_FETCH_CONTENT_TYPE, value);
    else if (th_str_equal_nocase(name, TH_STR("DPoP-Nonce")))
        keep(head, TH_FETCH_DPOP_NONCE, value);
    else if (th_str_equal_nocase(name, TH_STR("WWW-Authenticate")))
        keep(head, TH_FETCH_WWW_AUTHENTICATE, value);
    else if (th_str_equal_nocase(name, TH_STR("Date")))
        head->date_ms = date_to_ms(value);
    else if (th_str_equal_nocase(name, TH_STR("Retry-After")))
        read_retry_after(head, value);
    else if (th_str_equal_nocase(name, TH_STR("X-Rate-Limit-Reset")))
        read_reset(head, value);
    else if (th_str_equal_nocase(name, TH_STR("Cache-Control")))
        read_cache_control(head, value);
    else if (th_str_equal_nocase(name, TH_STR("Expires")))
        read_expires(head, value);
    else if (th_str_equal_nocase(name, TH_STR("Age")))
        (void)read_seconds(value, &head->age_s);
}

static int64_t until(int64_t at_ms, int64_t now_ms)
{
    int64_t left = at_ms - now_ms;

    if (at_ms < 0)
        return -1;
    if (left > MAX_SECONDS * 1000)
        return MAX_SECONDS * 1000;
    return left > 0 ? left : 0;
}

static int64_t freshness(const struct th_fetch_head *head, int64_t now_ms)
{
    if (head->max_age_s >= 0)
        return head->max_age_s > head->age_s ? (head->max_age_s - head->age_s) * 1000 : 0;
    return until(head->expires_ms, now_ms);
}

void th_fetch_head_fill(const struct th_fetch_head *head, int64_t wall_ms,
                        struct th_fetch_response *response)
{
    /* Their clock counts, as both dates are of it. */
    int64_t now_ms = head->date_ms >= 0 ? head->date_ms : wall_ms;

    response->content_type = th_str_of(head->fields[TH_FETCH_CONTENT_TYPE]);
    response->dpop_nonce = th_str_of(head->fields[TH_FETCH_DPOP_NONCE]);
    response->www_authenticate = th_str_of(head->fields[TH_FETCH_WWW_AUTHENTICATE]);
    response->retry_after_ms =
        head->retry_s >= 0 ? head->retry_s * 1000 : until(head->retry_at_ms, now_ms);
    response->rate_limit_reset_ms = until(head->reset_at_ms, now_ms);
    response->fresh_ms = freshness(head, now_ms);
}
