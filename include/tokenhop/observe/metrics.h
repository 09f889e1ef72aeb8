/* Counters, gauges and histograms. Each worker has a shard that only it writes, so that counting
 * costs a plain addition; readers on any thread sum the shards. What is no worker (helpers, main
 * thread) shares one further shard. A NULL shard counts nothing.
 *
 * Every row stands in metrics.def: add a metric there, with its one-liner. */
#ifndef TOKENHOP_OBSERVE_METRICS_H
#define TOKENHOP_OBSERVE_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tokenhop/base/buf.h"
#include "tokenhop/base/error.h"

enum th_metric {
#define TH_COUNTER(symbol, ...) TH_METRIC_##symbol,
#define TH_GAUGE(symbol, ...) TH_METRIC_##symbol,
#define TH_HISTOGRAM(symbol, ...)
#include "tokenhop/observe/metrics.def"
    TH_METRIC_COUNT
};

enum th_histogram {
#define TH_COUNTER(symbol, ...)
#define TH_GAUGE(symbol, ...)
#define TH_HISTOGRAM(symbol, ...) TH_HISTOGRAM_##symbol,
#include "tokenhop/observe/metrics.def"
    TH_HISTOGRAM_COUNT
};

#define TH_HISTOGRAM_BUCKETS 18 /* the last is +Inf */

/* Requests by connection: names of the configuration, so that they are bounded. Blocks of cells are made
 * when a name is first seen. */
#define TH_METRICS_ROWS_A_BLOCK 64
#define TH_METRICS_BLOCKS 16
#define TH_METRICS_CONNECTIONS (TH_METRICS_ROWS_A_BLOCK * TH_METRICS_BLOCKS)

struct th_metrics_cell {
    _Alignas(64) atomic_uint_least64_t classes[6]; /* by status / 100; 0: none was sent */
    atomic_uint_least64_t hits;                    /* in the cache */
    atomic_uint_least64_t last_error; /* the time in seconds times 256, and -TH_E_*; 0: never yet */
};
_Static_assert(sizeof(struct th_metrics_cell) == 64, "a request touches one line");
_Static_assert((int)TH_ERROR_COUNT <= 256, "an error has room in the cell's last byte");

/* Decisions of the policy by rule: its names too are the configuration's. */
#define TH_METRICS_RULES 512
enum th_metric_policy {
    TH_METRIC_POLICY_ALLOWED,
    TH_METRIC_POLICY_DENIED,
    TH_METRIC_POLICY_WOULD_DENY /* in a dry run */
};
#define TH_METRIC_POLICY_RESULTS 3

/* What would have become of requests to connections in shadow, by the connection: enum th_audit_shadow, which
 * counts from 1. */
#define TH_METRIC_SHADOWS 6

struct th_metrics_shard {
    _Alignas(64) bool is_shared; /* more than one thread writes it */
    atomic_int_least64_t values[TH_METRIC_COUNT];
    atomic_uint_least64_t errors[TH_ERROR_COUNT];
    atomic_uint_least64_t buckets[TH_HISTOGRAM_COUNT][TH_HISTOGRAM_BUCKETS];
    atomic_uint_least64_t sums_us[TH_HISTOGRAM_COUNT];
    struct th_metrics_cell *_Atomic blocks[TH_METRICS_BLOCKS];
    atomic_uint_least64_t *_Atomic rules;   /* by row and result; NULL: there are none yet */
    atomic_uint_least64_t *_Atomic shadows; /* likewise, by the connection's row */
};

struct th_metrics;

/* NULL when memory is short. */
struct th_metrics *th_metrics_new(unsigned n_workers) TH_MUST;
struct th_metrics *th_metrics_free(struct th_metrics *metrics); /* NULL is fine */
/* The shard of a worker, 0..n_workers-1, or the one that all other threads share. */
#define TH_METRICS_SHARED (~0u)
struct th_metrics_shard *th_metrics_shard(struct th_metrics *metrics, unsigned worker);

static inline void th_metrics_add(struct th_metrics_shard *shard, enum th_metric metric, int64_t by)
{
    if (shard == NULL)
        return;
    if (shard->is_shared) {
        atomic_fetch_add_explicit(&shard->values[metric], by, memory_order_relaxed);
        return;
    }
    /* One thread writes: no need to lock the bus. */
    int64_t now = atomic_load_explicit(&shard->values[metric], memory_order_relaxed);
    atomic_store_explicit(&shard->values[metric], now + by, memory_order_relaxed);
}

static inline void th_metrics_count(struct th_metrics_shard *shard, enum th_metric metric)
{
    th_metrics_add(shard, metric, 1);
}

/* An answer that tokenhop made itself, or a hop that failed: by its TH_E_*. */
void th_metrics_count_error(struct th_metrics_shard *shard, int error);
/* A response by its status: 1xx to 5xx. */
void th_metrics_count_status(struct th_metrics_shard *shard, unsigned status);
void th_metrics_observe_us(struct th_metrics_shard *shard, enum th_histogram histogram, int64_t us);

/* The row of a connection: the same name has the same one as long as the process runs. When there are
 * more than TH_METRICS_CONNECTIONS - 1 names, or memory is short, the rest share the last row, "(others)".
 * Any thread; hand it on to workers by a mailbox, or before they run. */
unsigned th_metrics_connection(struct th_metrics *metrics, struct th_str name);
/* A request that has ended: its status (0: none was sent), its TH_E_* (0: none), when. */
void th_metrics_count_request(struct th_metrics_shard *shard, unsigned row, unsigned status,
                              bool hit, int error, int64_t wall_ms);

/* The row of a rule of the policy, likewise: the last one of TH_METRICS_RULES is of all others. */
unsigned th_metrics_rule(struct th_metrics *metrics, struct th_str name);
void th_metrics_count_policy(struct th_metrics_shard *shard, unsigned row,
                             enum th_metric_policy result);

/* The connection with that row is in shadow: it is counted, and shown from now on. As th_metrics_connection(). */
void th_metrics_shadow(struct th_metrics *metrics, unsigned row);
void th_metrics_count_shadow(struct th_metrics_shard *shard, unsigned row, unsigned result);

struct th_metrics_connection_figures {
    uint64_t requests, hits;
    uint64_t classes[6];
    int last_error; /* TH_E_*; 0: none yet */
    int64_t last_error_wall_ms;
};
/* All zero for a name that has no row. */
void th_metrics_sum_connection(struct th_metrics *metrics, struct th_str name,
                               struct th_metrics_connection_figures *ret_figures);

/* Over all shards. */
int64_t th_metrics_sum(const struct th_metrics *metrics, enum th_metric metric);
uint64_t th_metrics_sum_errors(const struct th_metrics *metrics, int error);
uint64_t th_metrics_sum_observed(const struct th_metrics *metrics, enum th_histogram histogram);
const char *th_metrics_name(enum th_metric metric); /* "tokenhop_requests_total" */

/* The Prometheus text format, version 0.0.4, with what the process itself tells: memory held in
 * secrets, failed checks, processor time, memory, descriptors. */
void th_metrics_write_prometheus(struct th_metrics *metrics, struct th_buf *buf);
/* The rows of the table, errors and requests by connection as OTLP's list of metrics, in JSON. */
void th_metrics_write_otlp(struct th_metrics *metrics, int64_t wall_ms, struct th_buf *buf);

#endif
