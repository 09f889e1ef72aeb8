/* The error log: one JSON line an event, for people and for machines.
 *
 *     TH_LOG(log, TH_LEVEL_WARN, "broker.exchange_failed", "The exchange failed",
 *            TH_LOG_STR("connection", connection->name), TH_LOG_INT("status", 401),
 *            TH_LOG_ERR("error", error));
 *
 * The event's name and the message are literals: what varies goes into fields, which are typed, so
 * that a struct th_secret cannot be passed (never expose one to a field). Values are escaped. The
 * arguments are not evaluated while the level is off, nor is any of it when `log` is NULL.
 *
 * An event that repeats is limited: `burst` lines an interval go out, the rest is counted and the
 * count reported as "suppressed" with the next line or by th_log_tick(). Debug lines are not
 * limited.
 *
 * A log is made at start and handed down; it is no global. Any thread may log. With a writer a call
 * never blocks: the line goes to the writer's bounded queue, and when that is full it is dropped,
 * counted, and the count reported by th_log_tick(). Without a writer it is written at once, for
 * commands and tests. */
#ifndef TOKENHOP_OBSERVE_LOG_H
#define TOKENHOP_OBSERVE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tokenhop/base/clock.h"
#include "tokenhop/base/error.h"
#include "tokenhop/base/str.h"

struct th_writer;
struct th_writer_file;

enum th_log_level { TH_LEVEL_ERROR, TH_LEVEL_WARN, TH_LEVEL_INFO, TH_LEVEL_DEBUG };

const char *th_log_level_name(enum th_log_level level); /* "error" ... */
bool th_log_level_parse(struct th_str name, enum th_log_level *ret_level) TH_MUST;

enum th_log_type {
    TH_FIELD_STR,
    TH_FIELD_TEXT,
    TH_FIELD_INT,
    TH_FIELD_UINT,
    TH_FIELD_BOOL,
    TH_FIELD_ERR
};

struct th_log_field {
    const char *name;
    enum th_log_type type;
    union {
        struct th_str str;
        const char *text;
        int64_t i;
        uint64_t u;
        bool b;
        int err;
    } value;
};

#define TH_LOG_FIELD_(name_, type_, member_, v)                                                    \
    ((struct th_log_field){.name = "" name_, .type = (type_), .value = {.member_ = (v)}})
/* A struct th_str. */
#define TH_LOG_STR(name, v) TH_LOG_FIELD_(name, TH_FIELD_STR, str, v)
/* A const char *; NULL is written as null. */
#define TH_LOG_TEXT(name, v) TH_LOG_FIELD_(name, TH_FIELD_TEXT, text, v)
#define TH_LOG_INT(name, v) TH_LOG_FIELD_(name, TH_FIELD_INT, i, v)
#define TH_LOG_UINT(name, v) TH_LOG_FIELD_(name, TH_FIELD_UINT, u, v)
/* A bool or int: a pointer, which C turns into true, does not compile. */
#define TH_LOG_BOOL(name, v)                                                                       \
    TH_LOG_FIELD_(name, TH_FIELD_BOOL, b, _Generic((v), bool : (v), int : (v) != 0))
/* A TH_E_*: written as its symbol's name. */
#define TH_LOG_ERR(name, v) TH_LOG_FIELD_(name, TH_FIELD_ERR, err, v)

struct th_log_private;

struct th_log {
    atomic_int level; /* read before anything is evaluated; th_log_set_level() */
    struct th_log_private *private;
};

struct th_log_options {
    enum th_log_level level;
    struct th_writer *writer;       /* NULL: every line is written at once to `fd` */
    struct th_writer_file *file;    /* of that writer */
    struct th_writer *audit_writer; /* whose losses are reported too; NULL: none */
    int fd;                         /* borrowed; only without a writer */
    const struct th_clock *clock;
    unsigned burst;       /* lines an interval and event; 0: 10 */
    unsigned interval_ms; /* 0: 10 seconds */
};

/* NULL when memory is short. The writer must outlive it. */
struct th_log *th_log_new(const struct th_log_options *options) TH_MUST;
struct th_log *th_log_free(struct th_log *log); /* reports what is suppressed; NULL is fine */

void th_log_set_level(struct th_log *log, enum th_log_level level);
enum th_log_level th_log_get_level(const struct th_log *log);

static inline bool th_log_is_on(const struct th_log *log, enum th_log_level level)
{
    return log != NULL && (int)level <= atomic_load_explicit(&log->level, memory_order_relaxed);
}

/* The call behind TH_LOG(). `event` is a literal: its address names the place that is limited. */
void th_log_event(struct th_log *log, enum th_log_level level, const char *event,
                  const char *message, const struct th_log_field *fields, size_t n_fields);

/* About once a second, from one thread at a time: reports events suppressed in an interval that is
 * over, and lines that the writer had to drop. */
void th_log_tick(struct th_log *log);

#define TH_LOG(log, level, event, message, ...)                                                    \
    do {                                                                                           \
        struct th_log *th_log_ = (log);                                                            \
        if (th_log_is_on(th_log_, (level))) {                                                      \
            const struct th_log_field th_fields_[] = {{0}, ##__VA_ARGS__};                         \
            th_log_event(th_log_, (level), "" event, "" message, th_fields_ + 1,                   \
                         sizeof th_fields_ / sizeof th_fields_[0] - 1);                            \
        }                                                                                          \
    } while (0)

#endif
