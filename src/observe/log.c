#include "tokenhop/observe/log.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "format.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/observe/writer.h"

#define MAX_LINE ((size_t)64 * 1024)
#define MAX_VALUE ((size_t)2048) /* bytes of one field; the rest is cut */
#define N_PLACES 512             /* a power of two, well above the number of calls in the program */
#define DEFAULT_BURST 10
#define DEFAULT_INTERVAL_MS 10000

/* An event that is limited, named by the address of its literal. All are changed without a lock: a
 * line more or less at the turn of an interval does no harm. */
struct place {
    _Atomic(const char *) event; /* NULL: free. Once set it stays */
    atomic_int level;
    atomic_int_least64_t begin_ms; /* of the interval */
    atomic_uint n_lines;           /* in the interval */
    atomic_uint n_suppressed;      /* not reported yet */
};

struct th_log_private {
    struct th_log_options options;
    atomic_ulong n_lost; /* lines lost as memory was short, not reported yet */
    /* by th_log_tick(), so by one thread */
    struct th_writer_stats reported[TH_WRITER_MAX_FILES];
    struct th_writer_stats audit_reported[TH_WRITER_MAX_FILES];
    struct place places[N_PLACES];
};

static const char *const level_names[] = {
    [TH_LEVEL_ERROR] = "error",
    [TH_LEVEL_WARN] = "warn",
    [TH_LEVEL_INFO] = "info",
    [TH_LEVEL_DEBUG] = "debug",
};

const char *th_log_level_name(enum th_log_level level)
{
    return level_names[level];
}

bool th_log_level_parse(struct th_str name, enum th_log_level *ret_level)
{
    for (size_t i = 0; i < TH_COUNT_OF(level_names); i++) {
        if (th_str_equal(name, th_str_of(level_names[i]))) {
            *ret_level = (enum th_log_level)i;
            return true;
        }
    }
    return false;
}

static int64_t now_ms(const struct th_log *log)
{
    return th_clock_monotonic_ms(log->private->options.clock);
}

/* ---- a line ---- */

static void add_string(struct th_buf *line, struct th_str text)
{
    if (text.len > MAX_VALUE)
        text.len = MAX_VALUE;
    th_buf_add_char(line, '"');
    th_buf_add_json(line, text);
    th_buf_add_char(line, '"');
}

static void add_value(struct th_buf *line, const struct th_log_field *field)
{
    char digits[TH_FORMAT_U64_MAX];
    switch (field->type) {
    case TH_FIELD_STR:
        add_string(line, field->value.str);
        return;
    case TH_FIELD_TEXT:
        if (field->value.text != NULL)
            add_string(line,
                       (struct th_str){field->value.text, strnlen(field->value.text, MAX_VALUE)});
        else
            th_buf_add_str(line, TH_STR("null"));
        return;
    case TH_FIELD_INT:
        th_buf_add(line, digits, (size_t)(th_format_i64(digits, field->value.i) - digits));
        return;
    case TH_FIELD_UINT:
        th_buf_add(line, digits, (size_t)(th_format_u64(digits, field->value.u) - digits));
        return;
    case TH_FIELD_BOOL:
        th_buf_add_str(line, field->value.b ? TH_STR("true") : TH_STR("false"));
        return;
    case TH_FIELD_ERR:
        add_string(line,
                   th_str_of(field->value.err == 0 ? "OK" : th_error_get(field->value.err)->name));
        return;
    }
}

static void add_member(struct th_buf *line, const struct th_log_field *field)
{
    th_buf_add_str(line, TH_STR(",\""));
    th_buf_add_json(line, th_str_of(field->name));
    th_buf_add_str(line, TH_STR("\":"));
    add_value(line, field);
}

static void add_line(struct th_buf *line, const struct th_log *log, enum th_log_level level,
                     const char *event, const char *message, const struct th_log_field *fields,
                     size_t n_fields)
{
    char time[TH_FORMAT_TIME_LEN];
    (void)th_format_time(time, th_clock_wall_ms(log->private->options.clock));
    th_buf_add_str(line, TH_STR("{\"time\":\""));
    th_buf_add(line, time, sizeof time);
    th_buf_add_char(line, '"');
    add_member(line, &TH_LOG_TEXT("level", level_names[level]));
    add_member(line, &TH_LOG_TEXT("event", event));
    add_member(line, &TH_LOG_TEXT("message", message));
    for (size_t i = 0; i < n_fields; i++)
        add_member(line, &fields[i]);
    th_buf_add_str(line, TH_STR("}\n"));
}

static bool write_now(int fd, struct th_str text)
{
    while (text.len > 0) {
        ssize_t n = write(fd, text.ptr, text.len);
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0) {
            text.ptr += n;
            text.len -= (size_t)n;
        }
    }
    return true;
}

/* Whether the line got as far as the writer or the descriptor. */
static bool emit(struct th_log *log, enum th_log_level level, const char *event,
                 const char *message, const struct th_log_field *fields, size_t n_fields)
{
    const struct th_log_options *options = &log->private->options;
    TH_CLEANUP(th_buf_fini) struct th_buf line;
    th_buf_init(&line, MAX_LINE);
    add_line(&line, log, level, event, message, fields, n_fields);
    if (line.failed) {
        atomic_fetch_add_explicit(&log->private->n_lost, 1, memory_order_relaxed);
        return false;
    }
    if (options->writer != NULL)
        return th_writer_put(options->file, &line, 1);
    return write_now(options->fd, th_buf_str(&line));
}

/* ---- the limit ---- */

/* The event's index; N_PLACES when the table is full: then there is no limit, the lesser evil. */
static size_t place_get(struct th_log *log, const char *event, enum th_log_level level)
{
    size_t at = (uintptr_t)event * 0x9e3779b97f4a7c15 >> 32;
    for (size_t i = 0; i < N_PLACES; i++, at++) {
        struct place *place = &log->private->places[at & (N_PLACES - 1)];
        const char *holder = atomic_load_explicit(&place->event, memory_order_relaxed);
        if (holder == NULL && atomic_compare_exchange_strong(&place->event, &holder, event))
            holder = event;
        if (holder == event) {
            atomic_store_explicit(&place->level, (int)level, memory_order_relaxed);
            return at & (N_PLACES - 1);
        }
    }
    return N_PLACES;
}

/* Whether a line may go out now, and how many were held back before it. */
static bool place_passes(struct th_log *log, struct place *place, unsigned *ret_suppressed)
{
    const struct th_log_options *options = &log->private->options;
    int64_t now = now_ms(log);
    int64_t begin = atomic_load_explicit(&place->begin_ms, memory_order_relaxed);
    if (now - begin >= options->interval_ms &&
        atomic_compare_exchange_strong(&place->begin_ms, &begin, now))
        atomic_store_explicit(&place->n_lines, 0, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&place->n_lines, 1, memory_order_relaxed) >= options->burst) {
        atomic_fetch_add_explicit(&place->n_suppressed, 1, memory_order_relaxed);
        return false;
    }
    *ret_suppressed = atomic_exchange_explicit(&place->n_suppressed, 0, memory_order_relaxed);
    return true;
}

#define MAX_FIELDS 24

void th_log_event(struct th_log *log, enum th_log_level level, const char *event,
                  const char *message, const struct th_log_field *fields, size_t n_fields)
{
    unsigned n_suppressed = 0;
    size_t place = level == TH_LEVEL_DEBUG ? N_PLACES : place_get(log, event, level);
    if (place < N_PLACES && !place_passes(log, &log->private->places[place], &n_suppressed))
        return;
    if (n_suppressed == 0) {
        (void)emit(log, level, event, message, fields, n_fields); /* counted there when lost */
        return;
    }
    struct th_log_field with_count[MAX_FIELDS + 1];
    if (n_fields > MAX_FIELDS)
        n_fields = MAX_FIELDS;
    memcpy(with_count, fields, n_fields * sizeof *fields);
    with_count[n_fields] = TH_LOG_UINT("suppressed", n_suppressed);
    (void)emit(log, level, event, message, with_count, n_fields + 1);
}

static void report_suppressed(struct th_log *log, bool at_end)
{
    for (size_t i = 0; i < N_PLACES; i++) {
        struct place *place = &log->private->places[i];
        if (atomic_load_explicit(&place->n_suppressed, memory_order_relaxed) == 0)
            continue;
        int64_t begin = atomic_load_explicit(&place->begin_ms, memory_order_relaxed);
        if (!at_end && now_ms(log) - begin < log->private->options.interval_ms)
            continue;
        unsigned n = atomic_exchange_explicit(&place->n_suppressed, 0, memory_order_relaxed);
        const struct th_log_field count = TH_LOG_UINT("suppressed", n);
        if (n > 0 &&
            !emit(log, (enum th_log_level)atomic_load(&place->level), atomic_load(&place->event),
                  "It happened more often than was written", &count, 1))
            atomic_fetch_add_explicit(&place->n_suppressed, n, memory_order_relaxed);
    }
}

/* ---- losses ---- */

static void report_file(struct th_log *log, const struct th_writer_stats *now,
                        struct th_writer_stats *reported)
{
    uint64_t n_lost = now->n_dropped - reported->n_dropped + now->n_failed - reported->n_failed;
    bool is_reported = true;
    if (n_lost > 0) {
        const struct th_log_field fields[] = {
            TH_LOG_TEXT("file", now->name),
            TH_LOG_UINT("dropped", now->n_dropped - reported->n_dropped),
            TH_LOG_UINT("failed", now->n_failed - reported->n_failed),
            TH_LOG_TEXT("reason", now->write_errno != 0 ? strerrordesc_np(now->write_errno) : NULL),
        };
        is_reported = emit(log, TH_LEVEL_ERROR, "log.lines_lost", "Lines of a log were lost",
                           fields, TH_COUNT_OF(fields));
    }
    if (now->reopen_errno != 0 && now->reopen_errno != reported->reopen_errno) {
        const struct th_log_field fields[] = {
            TH_LOG_TEXT("file", now->name),
            TH_LOG_TEXT("reason", strerrordesc_np(now->reopen_errno)),
        };
        is_reported &= emit(log, TH_LEVEL_ERROR, "log.reopen_failed",
                            "A log could not be opened anew; the old file stays in use", fields,
                            TH_COUNT_OF(fields));
    }
    /* A report that was lost itself is made again, with the sum. */
    if (is_reported)
        *reported = *now;
}

static void report_files(struct th_log *log, struct th_writer *writer,
                         struct th_writer_stats *reported)
{
    struct th_writer_stats stats[TH_WRITER_MAX_FILES];
    size_t n_files = writer != NULL ? th_writer_get_stats(writer, stats) : 0;
    for (size_t i = 0; i < n_files; i++)
        report_file(log, &stats[i], &reported[i]);
}

static void report_losses(struct th_log *log)
{
    unsigned long n = atomic_exchange(&log->private->n_lost, 0);
    const struct th_log_field count = TH_LOG_UINT("lines", n);
    if (n > 0 && !emit(log, TH_LEVEL_ERROR, "log.no_memory", "Lines were lost as memory was short",
                       &count, 1))
        atomic_fetch_add(&log->private->n_lost, n);
    report_files(log, log->private->options.writer, log->private->reported);
    report_files(log, log->private->options.audit_writer, log->private->audit_reported);
}

void th_log_tick(struct th_log *log)
{
    if (log == NULL)
        return;
    report_suppressed(log, false);
    report_losses(log);
}

/* ---- life ---- */

struct th_log *th_log_new(const struct th_log_options *options)
{
    TH_REQUIRE((options->writer == NULL) == (options->file == NULL));
    struct th_log *log = th_malloc(sizeof *log);
    if (log == NULL)
        return NULL;
    atomic_init(&log->level, (int)options->level);
    log->private = th_calloc(1, sizeof *log->private);
    if (log->private == NULL) {
        th_free(log);
        return NULL;
    }
    struct th_log_options *own = &log->private->options;
    *own = *options;
    if (own->clock == NULL)
        own->clock = &th_clock_system;
    if (own->burst == 0)
        own->burst = DEFAULT_BURST;
    if (own->interval_ms == 0)
        own->interval_ms = DEFAULT_INTERVAL_MS;
    return log;
}

struct th_log *th_log_free(struct th_log *log)
{
    if (log == NULL)
        return NULL;
    report_suppressed(log, true);
    report_losses(log);
    th_free(log->private);
    th_free(log);
    return NULL;
}

void th_log_set_level(struct th_log *log, enum th_log_level level)
{
    atomic_store_explicit(&log->level, (int)level, memory_order_relaxed);
}

enum th_log_level th_log_get_level(const struct th_log *log)
{
    return (enum th_log_level)atomic_load_explicit(&log->level, memory_order_relaxed);
}
