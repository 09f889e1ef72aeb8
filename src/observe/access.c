#include "tokenhop/observe/access.h"

#include "lines.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"

#define MAX_PATH ((size_t)1024)
#define MAX_USER_AGENT ((size_t)256)
#define MAX_VALUE ((size_t)512) /* of any other string */
#define MAX_STRINGS 13
/* All names, numbers and punctuation of a line, with room to spare: the longest is about 900. */
#define FIXED_SIZE ((size_t)1536)
#define MAX_LINE                                                                                   \
    (FIXED_SIZE + TH_LINE_ESCAPED * (MAX_PATH + MAX_USER_AGENT + MAX_STRINGS * MAX_VALUE))

struct th_access_log {
    struct th_lines lines;
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
    struct th_access_log *log = th_malloc(sizeof *log);
    if (log != NULL)
        th_lines_init(&log->lines, file, MAX_LINE);
    return log;
}

struct th_access_log *th_access_log_free(struct th_access_log *log)
{
    if (log != NULL) {
        th_lines_fini(&log->lines);
        th_free(log);
    }
    return NULL;
}

void th_access_flush(struct th_access_log *log)
{
    if (log != NULL)
        th_lines_flush(&log->lines);
}

uint64_t th_access_dropped(const struct th_access_log *log)
{
    return log != NULL ? log->lines.n_dropped : 0;
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

static void put(struct th_line *line, struct th_str key, struct th_str text)
{
    th_line_put_string(line, key, text, MAX_VALUE);
}

static void put_version(struct th_line *line, unsigned major, unsigned minor)
{
    if (major == 0)
        return;
    th_line_put_u64(line, TH_STR(",\"http\":\""), major);
    th_line_put_u64(line, TH_STR("."), minor);
    th_line_put(line, TH_STR("\""));
}

static void put_who(struct th_line *line, const struct th_access_record *r)
{
    th_line_put_u64(line, TH_STR(",\"worker\":"), r->worker);
    put(line, TH_STR(",\"listener\":"), r->listener);
    put(line, TH_STR(",\"client\":"), r->client);
    put(line, TH_STR(",\"caller\":"), r->caller);
    put(line, TH_STR(",\"agent\":"), r->agent);
    put(line, TH_STR(",\"subject\":"), r->subject);
}

static void put_what(struct th_line *line, const struct th_access_record *r)
{
    put(line, TH_STR(",\"method\":"), r->method);
    put(line, TH_STR(",\"scheme\":"), r->scheme);
    put(line, TH_STR(",\"host\":"), r->host);
    th_line_put_string(line, TH_STR(",\"path\":"), path_only(r->path), MAX_PATH);
    put_version(line, r->http_major, r->http_minor);
    th_line_put_string(line, TH_STR(",\"user_agent\":"), r->user_agent, MAX_USER_AGENT);
    if (r->tunnel)
        th_line_put(line, TH_STR(",\"tunnel\":true"));
}

static void put_result(struct th_line *line, const struct th_access_record *r)
{
    th_line_put_u64(line, TH_STR(",\"status\":"), r->status);
    th_line_put_error(line, r->error);
    th_line_put_u64(line, TH_STR(",\"duration_us\":"),
                    r->duration_us > 0 ? (uint64_t)r->duration_us : 0);
    th_line_put_known(line, TH_STR(",\"first_byte_us\":"), r->first_byte_us);
    put(line, TH_STR(",\"connection\":"), r->connection);
    put(line, TH_STR(",\"cache\":"), th_str_of(cache_names[r->cache]));
    th_line_put_known(line, TH_STR(",\"exchange_us\":"), r->exchange_us);
    put(line, TH_STR(",\"origin\":"), r->origin);
    if (r->origin.len > 0)
        th_line_put_flag(line, TH_STR(",\"origin_reused\":"), r->origin_reused);
}

static void put_amounts(struct th_line *line, const struct th_access_record *r)
{
    th_line_put_u64(line, TH_STR(",\"client_in\":"), r->client_in);
    th_line_put_u64(line, TH_STR(",\"client_out\":"), r->client_out);
    th_line_put_u64(line, TH_STR(",\"origin_in\":"), r->origin_in);
    th_line_put_u64(line, TH_STR(",\"origin_out\":"), r->origin_out);
    th_line_put_flag(line, TH_STR(",\"request_complete\":"), r->request_complete);
    th_line_put_flag(line, TH_STR(",\"response_complete\":"), r->response_complete);
    put(line, TH_STR(",\"trace_id\":"), r->trace_id);
}

void th_access_write(struct th_access_log *log, const struct th_access_record *record)
{
    struct th_line line;
    TH_REQUIRE(record->cache < TH_CACHE_STATE_COUNT);
    if (log == NULL || !th_lines_begin(&log->lines, &line, MAX_LINE, record->wall_ms))
        return;
    put_who(&line, record);
    put_what(&line, record);
    put_result(&line, record);
    put_amounts(&line, record);
    th_lines_end(&log->lines, &line);
}
