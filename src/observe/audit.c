#include "tokenhop/observe/audit.h"

#include "lines.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/list.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/observe/writer.h"

#define MAX_VALUE ((size_t)512)
#define MAX_SCOPES ((size_t)2048)
#define MAX_LEG_VALUE ((size_t)128)
#define MAX_STRINGS 21 /* but for scopes, actors and legs */
/* Names, numbers and punctuation, with room to spare: the longest is about 1,200, a leg's 200. */
#define FIXED_SIZE ((size_t)2048 + TH_AUDIT_MAX_LEGS * 256)
#define MAX_LINE                                                                                   \
    (FIXED_SIZE + TH_LINE_ESCAPED * ((MAX_STRINGS + TH_AUDIT_MAX_ACTORS) * MAX_VALUE +             \
                                     3 * MAX_SCOPES + TH_AUDIT_MAX_LEGS * 2 * MAX_LEG_VALUE))

/* A line that somebody waits for. */
struct waited {
    struct th_list link;
    struct th_writer_receipt *receipt;
    struct th_audit_wait *wait;
};

struct th_audit_log {
    struct th_lines lines;
    bool is_strict;
    struct th_writer_watch *watch; /* of a strict one that has a file */
    struct th_list waited;         /* in the order in which they were written, and are settled */
    uint64_t n_dropped;            /* as seen last */
    uint64_t n_untold;             /* decisions that were lost and that no line tells of */
    /* Lines that do, not handed over yet, and what they tell: lost with them, it is untold again. */
    uint64_t n_telling, n_told;
};

struct th_audit_log *th_audit_log_new(struct th_writer_file *file, bool is_strict)
{
    struct th_audit_log *log = th_calloc(1, sizeof *log);
    if (log == NULL)
        return NULL;
    th_lines_init(&log->lines, file, MAX_LINE);
    log->is_strict = is_strict && file != NULL;
    th_list_init(&log->waited);
    if (log->is_strict)
        log->watch = th_writer_watch_new(file);
    if (log->is_strict && log->watch == NULL)
        return th_audit_log_free(log);
    return log;
}

static void waited_free(struct waited *waited)
{
    th_list_remove(&waited->link);
    th_free(waited);
}

struct th_audit_log *th_audit_log_free(struct th_audit_log *log)
{
    if (log == NULL)
        return NULL;
    while (!th_list_is_empty(&log->waited)) {
        struct waited *waited = TH_LIST_ENTRY(log->waited.next, struct waited, link);
        th_writer_receipt_free(waited->receipt);
        waited_free(waited);
    }
    th_lines_fini(&log->lines);
    th_writer_watch_free(log->watch);
    th_free(log);
    return NULL;
}

void th_audit_log_watch(struct th_audit_log *log, void (*fn)(void *arg), void *arg)
{
    if (log != NULL && log->watch != NULL)
        th_writer_watch_set(log->watch, fn, arg);
}

void th_audit_flush(struct th_audit_log *log)
{
    if (log != NULL)
        th_lines_flush(&log->lines);
}

uint64_t th_audit_dropped(const struct th_audit_log *log)
{
    return log != NULL ? log->lines.n_dropped : 0;
}

static void put(struct th_line *line, struct th_str key, struct th_str text)
{
    th_line_put_string(line, key, text, MAX_VALUE);
}

static void put_actors(struct th_line *line, const struct th_audit_record *r)
{
    if (r->n_actors == 0)
        return;
    th_line_put(line, TH_STR(",\"actors\":["));
    for (size_t i = 0; i < r->n_actors && i < TH_AUDIT_MAX_ACTORS; i++) {
        if (i > 0)
            th_line_put(line, TH_STR(","));
        th_line_put_quoted(line, r->actors[i], MAX_VALUE);
    }
    th_line_put_u64(line, TH_STR("],\"chain_length\":"),
                    r->n_all_actors > r->n_actors ? r->n_all_actors : r->n_actors);
}

static void put_who(struct th_line *line, const struct th_audit_record *r)
{
    put(line, TH_STR(",\"listener\":"), r->listener);
    put(line, TH_STR(",\"client\":"), r->client);
    put(line, TH_STR(",\"caller\":"), r->caller);
    put(line, TH_STR(",\"agent\":"), r->agent);
    put(line, TH_STR(",\"subject\":"), r->subject);
    put(line, TH_STR(",\"subject_iss\":"), r->subject_issuer);
    put(line, TH_STR(",\"subject_sub\":"), r->subject_name);
    /* Who reads claims must know whether anybody vouched for them. */
    if (r->subject.len > 0)
        th_line_put_flag(line, TH_STR(",\"subject_verified\":"), r->subject_verified);
    put_actors(line, r);
}

static void put_what(struct th_line *line, const struct th_audit_record *r)
{
    put(line, TH_STR(",\"connection\":"), r->connection);
    put(line, TH_STR(",\"resource\":"), r->resource);
    put(line, TH_STR(",\"audience\":"), r->audience);
    th_line_put_string(line, TH_STR(",\"scopes\":"), r->scopes, MAX_SCOPES);
    put(line, TH_STR(",\"method\":"), r->method);
    put(line, TH_STR(",\"host\":"), r->host);
}

static void put_leg(struct th_line *line, const struct th_audit_leg *leg)
{
    th_line_put(line, TH_STR("{\"leg\":"));
    th_line_put_quoted(line, leg->name, MAX_LEG_VALUE);
    th_line_put_string(line, TH_STR(",\"server\":"), leg->server, MAX_LEG_VALUE);
    th_line_put_u64(line, TH_STR(",\"status\":"), leg->status);
    th_line_put_known(line, TH_STR(",\"duration_us\":"), leg->duration_us);
    th_line_put_error(line, leg->error);
    th_line_put(line, TH_STR("}"));
}

static void put_legs(struct th_line *line, const struct th_audit_record *r)
{
    if (r->n_legs == 0)
        return;
    th_line_put(line, TH_STR(",\"legs\":["));
    for (size_t i = 0; i < r->n_legs && i < TH_AUDIT_MAX_LEGS; i++) {
        if (i > 0)
            th_line_put(line, TH_STR(","));
        put_leg(line, &r->legs[i]);
    }
    th_line_put(line, TH_STR("]"));
}

static void put_issued(struct th_line *line, const struct th_audit_record *r)
{
    put(line, TH_STR(",\"issued_jti\":"), r->issued_id);
    put(line, TH_STR(",\"issued_audience\":"), r->issued_audience);
    th_line_put_string(line, TH_STR(",\"issued_scopes\":"), r->issued_scopes, MAX_SCOPES);
    put(line, TH_STR(",\"widened_audience\":"), r->widened_audience);
    th_line_put_string(line, TH_STR(",\"widened_scopes\":"), r->widened_scopes, MAX_SCOPES);
    if (r->issued_until_wall_ms < 0)
        return;
    th_line_put(line, TH_STR(",\"issued_until\":\""));
    line->at = th_format_time(line->at, r->issued_until_wall_ms);
    th_line_put(line, TH_STR("\""));
}

static void put_end(struct th_line *line, const struct th_audit_record *r)
{
    put(line, TH_STR(",\"cache\":"), th_str_of(th_cache_state_name(r->cache)));
    put(line, TH_STR(",\"rule\":"), r->rule);
    put(line, TH_STR(",\"oauth_error\":"), r->oauth_error);
    put_issued(line, r);
    put_legs(line, r);
    th_line_put_known(line, TH_STR(",\"duration_us\":"), r->duration_us);
    put(line, TH_STR(",\"trace_id\":"), r->trace_id);
}

static void note_dropped(struct th_audit_log *log)
{
    uint64_t n = log->lines.n_dropped - log->n_dropped;
    log->n_dropped += n;
    if (n > 0)
        log->n_untold += n - log->n_telling + log->n_told;
    if (n > 0 || log->lines.n_lines == 0)
        log->n_telling = log->n_told = 0;
}

static void say_lost(struct th_audit_log *log, int64_t wall_ms)
{
    struct th_line line;
    note_dropped(log);
    if (log->n_untold == 0 || !th_lines_begin(&log->lines, &line, MAX_LINE, wall_ms))
        return;
    th_line_put(&line, TH_STR(",\"result\":\"lost\""));
    th_line_put_u64(&line, TH_STR(",\"lines\":"), log->n_untold);
    log->n_telling++;
    log->n_told += log->n_untold;
    log->n_untold = 0;
    th_lines_end(&log->lines, &line);
}

const char *th_audit_shadow_name(enum th_audit_shadow shadow)
{
    static const char *const names[TH_AUDIT_SHADOWS] = {
        [TH_AUDIT_WOULD_GRANT] = "would_grant",       [TH_AUDIT_WOULD_WIDEN] = "would_widen",
        [TH_AUDIT_WOULD_EXCHANGE] = "would_exchange", [TH_AUDIT_WOULD_DENY] = "would_deny",
        [TH_AUDIT_WOULD_REFUSE] = "would_refuse",
    };

    return names[shadow];
}

static const char *result_of(const struct th_audit_record *record)
{
    if (record->shadow != TH_AUDIT_NO_SHADOW)
        return th_audit_shadow_name(record->shadow);
    if (record->would_deny)
        return "would_deny";
    if (record->error == 0)
        return record->is_forwarded ? "forwarded" : "granted";
    return record->error == TH_E_POLICY_DENIED ? "denied" : "refused";
}

static bool put_line(struct th_audit_log *log, const struct th_audit_record *record)
{
    struct th_line line;
    if (!th_lines_begin(&log->lines, &line, MAX_LINE, record->wall_ms))
        return false;
    put(&line, TH_STR(",\"result\":"), th_str_of(result_of(record)));
    if (record->shadow != TH_AUDIT_NO_SHADOW)
        th_line_put_flag(&line, TH_STR(",\"shadow\":"), true);
    th_line_put_error(&line, record->error);
    put(&line, TH_STR(",\"reason\":"), record->reason);
    put_who(&line, record);
    put_what(&line, record);
    put_end(&line, record);
    th_lines_gather(&log->lines, &line); /* of a waited one, whoever waits hands it over */
    return true;
}

static void write_line(struct th_audit_log *log, const struct th_audit_record *record)
{
    say_lost(log, record->wall_ms);
    if (put_line(log, record))
        th_lines_flush_full(&log->lines);
}

void th_audit_write(struct th_audit_log *log, const struct th_audit_record *record)
{
    TH_REQUIRE(record->cache < TH_CACHE_STATE_COUNT);
    if (log == NULL || log->lines.file == NULL)
        return;
    write_line(log, record); /* what is lost is told by another */
    if (log->is_strict)
        th_lines_flush(&log->lines);
}

/* What was gathered is nobody's to wait for, nor to withdraw. */
static int write_waited(struct th_audit_log *log, const struct th_audit_record *record,
                        struct waited *waited)
{
    struct th_lines *lines = &log->lines;
    say_lost(log, record->wall_ms);
    th_lines_flush(lines);
    note_dropped(log);
    if (!put_line(log, record))
        return TH_E_AUDIT;
    waited->receipt = th_writer_put_watched(lines->file, &lines->buf, lines->n_lines, log->watch);
    if (waited->receipt == NULL)
        lines->n_dropped += lines->n_lines;
    lines->n_lines = 0;
    return waited->receipt != NULL ? 0 : TH_E_AUDIT;
}

int th_audit_write_first(struct th_audit_log *log, const struct th_audit_record *record,
                         struct th_audit_wait *wait)
{
    if (log == NULL || !log->is_strict) {
        th_audit_write(log, record);
        return 0;
    }
    TH_REQUIRE(record->cache < TH_CACHE_STATE_COUNT);
    TH_CLEANUP(th_freep) struct waited *waited = th_calloc(1, sizeof *waited);
    int error = waited != NULL ? write_waited(log, record, waited) : TH_E_AUDIT;
    if (waited == NULL)
        log->lines.n_dropped++;
    if (error < 0)
        return error;
    waited->wait = wait;
    wait->log = log;
    wait->n_pending++;
    th_list_push_back(&log->waited, &th_take(&waited)->link);
    return 0;
}

int th_audit_outcome(const struct th_audit_wait *wait)
{
    return wait->is_lost ? TH_E_AUDIT : wait->n_pending > 0 ? TH_AGAIN : 0;
}

void th_audit_settle(struct th_audit_log *log)
{
    while (log != NULL && !th_list_is_empty(&log->waited)) {
        struct waited *waited = TH_LIST_ENTRY(log->waited.next, struct waited, link);
        enum th_writer_fate fate = th_writer_receipt_fate(waited->receipt);
        struct th_audit_wait *wait = waited->wait;
        if (fate == TH_WRITER_PENDING)
            return;
        th_writer_receipt_free(waited->receipt);
        waited_free(waited);
        if (wait == NULL)
            continue;
        wait->is_lost |= fate == TH_WRITER_LOST;
        if (--wait->n_pending == 0)
            wait->fn(wait); /* may write, and may leave others */
    }
}

void th_audit_leave(struct th_audit_wait *wait, bool withdraws)
{
    if (wait->n_pending == 0)
        return;
    TH_LIST_EACH(item, &wait->log->waited) {
        struct waited *waited = TH_LIST_ENTRY(item, struct waited, link);
        if (wait->n_pending == 0)
            return;
        if (waited->wait != wait)
            continue;
        wait->n_pending--;
        waited->wait = NULL;
        if (withdraws) {
            th_writer_receipt_withdraw(waited->receipt);
            waited_free(waited);
        }
    }
}
