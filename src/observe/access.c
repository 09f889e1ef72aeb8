#include "tokenhop/observe/access.h"

#include <string.h>

#include "format.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/observe/writer.h"

#define FLUSH_SIZE ((size_t)32 * 1024)
#define MAX_PATH ((size_t)1024)
#define MAX_USER_AGENT ((size_t)256)
#define MAX_VALUE ((size_t)512) /* of any other string */
/* All names, numbers and punctuation of a line, with room to spare: the longest is about 900. */
#define FIXED_SIZE ((size_t)1536)
#define MAX_ESCAPED 6 /* bytes that one can become */
#define MAX_STRINGS 13
/* The longest line that can be, so that the buffer never refuses one. */
#define MAX_LINE (FIXED_SIZE + MAX_ESCAPED * (MAX_PATH + MAX_USER_AGENT + MAX_STRINGS * MAX_VALUE))

struct th_access_log {
    struct th_writer_file *file;
    struct th_buf lines;
    unsigned n_lines;
    uint64_t n_dropped;
    int64_t time_s; /* the second that `time` was formatted for */
    char time[TH_FORMAT_TIME_LEN];
};

static const char *const cache_names[TH_CACHE_STATE_COUNT] = {
    [TH_CACHE_NONE] = "none",           [TH_CACHE_HIT] = "hit",
    [TH_CACHE_MISS] = "miss",           [TH_CACHE_JOINED] = "joined",
    [TH_CACHE_REFRESHED] = "refreshed", [TH_CACHE_NEGATIVE] = "negative",
    [TH_CACHE_RETRIED] = "retried",
};

const char *th_cache_state_name(enum th_cache_state state)
{
    return cache_names[state];
}

struct th_access_log *th_access_log_new(struct th_writer_file *file)
{
    struct th_access_log *log = th_calloc(1, sizeof *log);
    if (log == NULL)
        return NULL;
    log->file = file;
    log->time_s = -1;
    th_buf_init(&log->lines, FLUSH_SIZE + MAX_LINE);
    return log;
}

struct th_access_log *th_access_log_free(struct th_access_log *log)
{
    if (log == NULL)
        return NULL;
    th_access_flush(log);
    th_buf_fini(&log->lines);
    th_free(log);
    return NULL;
}

void th_access_flush(struct th_access_log *log)
{
    if (log == NULL || log->n_lines == 0)
        return;
    if (!th_writer_put(log->file, &log->lines, log->n_lines))
        log->n_dropped += log->n_lines;
    log->n_lines = 0;
}

uint64_t th_access_dropped(const struct th_access_log *log)
{
    return log->n_dropped;
}

/* A line being written into the room that was reserved for it. */
struct line {
    struct th_buf *buf;
    char *at;
};

static void put(struct line *line, struct th_str text)
{
    memcpy(line->at, text.ptr, text.len);
    line->at += text.len;
}

/* `key` is ,"name": in full, so that it is one copy. */
#define PUT(line, literal) put(line, TH_STR(literal))

static void put_u64(struct line *line, struct th_str key, uint64_t value)
{
    put(line, key);
    line->at = th_format_u64(line->at, value);
}

static void put_flag(struct line *line, struct th_str key, bool value)
{
    put(line, key);
    if (value)
        PUT(line, "true");
    else
        PUT(line, "false");
}

static void put_string(struct line *line, struct th_str key, struct th_str text, size_t max)
{
    if (text.len == 0)
        return;
    if (text.len > max)
        text.len = max;
    put(line, key);
    *line->at++ = '"';
    size_t n_plain = th_format_plain(line->at, text);
    line->at += n_plain;
    if (n_plain < text.len) {
        struct th_buf *buf = line->buf;
        th_buf_commit(buf, (size_t)(line->at - (buf->ptr + buf->len)));
        th_buf_add_json(buf, (struct th_str){text.ptr + n_plain, text.len - n_plain});
        line->at = buf->ptr + buf->len;
    }
    *line->at++ = '"';
}

/* Without its query, which may hold a token. */
static struct th_str path_only(struct th_str path)
{
    if (path.len > MAX_PATH)
        path.len = MAX_PATH;
    size_t len = 0;
    while (len < path.len && path.ptr[len] != '?' && path.ptr[len] != '#')
        len++;
    return (struct th_str){path.ptr, len};
}

static void put_time(struct th_access_log *log, struct line *line, int64_t wall_ms)
{
    if (wall_ms < 0)
        wall_ms = 0;
    if (wall_ms / 1000 != log->time_s) {
        log->time_s = wall_ms / 1000;
        (void)th_format_time(log->time, log->time_s * 1000);
    }
    unsigned ms = (unsigned)(wall_ms % 1000);
    char *digits = line->at + TH_FORMAT_TIME_LEN - 4;
    memcpy(line->at, log->time, TH_FORMAT_TIME_LEN);
    digits[0] = (char)('0' + ms / 100);
    digits[1] = (char)('0' + ms / 10 % 10);
    digits[2] = (char)('0' + ms % 10);
    line->at += TH_FORMAT_TIME_LEN;
}

static void put_version(struct line *line, unsigned major, unsigned minor)
{
    if (major == 0)
        return;
    PUT(line, ",\"http\":\"");
    line->at = th_format_u64(line->at, major);
    *line->at++ = '.';
    line->at = th_format_u64(line->at, minor);
    *line->at++ = '"';
}

static void put_who(struct line *line, const struct th_access_record *r)
{
    put_u64(line, TH_STR(",\"worker\":"), r->worker);
    put_string(line, TH_STR(",\"listener\":"), r->listener, MAX_VALUE);
    put_string(line, TH_STR(",\"client\":"), r->client, MAX_VALUE);
    put_string(line, TH_STR(",\"caller\":"), r->caller, MAX_VALUE);
    put_string(line, TH_STR(",\"agent\":"), r->agent, MAX_VALUE);
    put_string(line, TH_STR(",\"subject\":"), r->subject, MAX_VALUE);
}

static void put_what(struct line *line, const struct th_access_record *r)
{
    put_string(line, TH_STR(",\"method\":"), r->method, MAX_VALUE);
    put_string(line, TH_STR(",\"scheme\":"), r->scheme, MAX_VALUE);
    put_string(line, TH_STR(",\"host\":"), r->host, MAX_VALUE);
    put_string(line, TH_STR(",\"path\":"), path_only(r->path), MAX_PATH);
    put_version(line, r->http_major, r->http_minor);
    put_string(line, TH_STR(",\"user_agent\":"), r->user_agent, MAX_USER_AGENT);
    if (r->tunnel)
        PUT(line, ",\"tunnel\":true");
}

static void put_result(struct line *line, const struct th_access_record *r)
{
    put_u64(line, TH_STR(",\"status\":"), r->status);
    if (r->error != 0) {
        const struct th_error_row *row = th_error_get(r->error);
        put_string(line, TH_STR(",\"code\":"), th_str_of(row->code), MAX_VALUE);
        put_string(line, TH_STR(",\"error\":"), th_str_of(row->name), MAX_VALUE);
    }
    put_u64(line, TH_STR(",\"duration_us\":"), r->duration_us > 0 ? (uint64_t)r->duration_us : 0);
    if (r->first_byte_us >= 0)
        put_u64(line, TH_STR(",\"first_byte_us\":"), (uint64_t)r->first_byte_us);
    put_string(line, TH_STR(",\"connection\":"), r->connection, MAX_VALUE);
    put_string(line, TH_STR(",\"cache\":"), th_str_of(cache_names[r->cache]), MAX_VALUE);
    if (r->exchange_us >= 0)
        put_u64(line, TH_STR(",\"exchange_us\":"), (uint64_t)r->exchange_us);
    put_string(line, TH_STR(",\"origin\":"), r->origin, MAX_VALUE);
    if (r->origin.len > 0)
        put_flag(line, TH_STR(",\"origin_reused\":"), r->origin_reused);
}

static void put_amounts(struct line *line, const struct th_access_record *r)
{
    put_u64(line, TH_STR(",\"client_in\":"), r->client_in);
    put_u64(line, TH_STR(",\"client_out\":"), r->client_out);
    put_u64(line, TH_STR(",\"origin_in\":"), r->origin_in);
    put_u64(line, TH_STR(",\"origin_out\":"), r->origin_out);
    put_flag(line, TH_STR(",\"request_complete\":"), r->request_complete);
    put_flag(line, TH_STR(",\"response_complete\":"), r->response_complete);
    put_string(line, TH_STR(",\"trace_id\":"), r->trace_id, MAX_VALUE);
}

void th_access_write(struct th_access_log *log, const struct th_access_record *record)
{
    if (log == NULL || log->file == NULL)
        return;
    TH_REQUIRE(record->cache < TH_CACHE_STATE_COUNT);
    struct line line = {.buf = &log->lines};
    line.at = th_buf_reserve(&log->lines, MAX_LINE);
    if (line.at == NULL) {
        log->lines.failed = false; /* what was gathered before is whole */
        log->n_dropped++;
        th_access_flush(log);
        return;
    }
    PUT(&line, "{\"time\":\"");
    put_time(log, &line, record->wall_ms);
    *line.at++ = '"';
    put_who(&line, record);
    put_what(&line, record);
    put_result(&line, record);
    put_amounts(&line, record);
    PUT(&line, "}\n");
    th_buf_commit(&log->lines, (size_t)(line.at - (log->lines.ptr + log->lines.len)));
    log->n_lines++;
    if (log->lines.len >= FLUSH_SIZE)
        th_access_flush(log);
}
