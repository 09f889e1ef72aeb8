/* What the files of the metrics share. */
#ifndef TOKENHOP_SRC_OBSERVE_METRICS_PRIVATE_H
#define TOKENHOP_SRC_OBSERVE_METRICS_PRIVATE_H

#include <pthread.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/hash.h"
#include "tokenhop/base/random.h"
#include "tokenhop/observe/metrics.h"

/* Connections by name. */
struct th_metrics_rows {
    pthread_mutex_t lock; /* a leaf: of all of it; not needed to count */
    struct th_hash_key key;
    struct th_hash_table table;
    const char *named[TH_METRICS_CONNECTIONS]; /* inside of the table's elements */
    unsigned n_named;
    bool has_others;
    bool are_in_shadow[TH_METRICS_CONNECTIONS]; /* or have been */
};

/* Rules of the policy by name. */
struct th_metrics_rules {
    pthread_mutex_t lock; /* a leaf: of all of it; not needed to count */
    char *named[TH_METRICS_RULES];
    unsigned n_named;
    bool has_others;
};
#define TH_METRICS_POLICY_NAME "tokenhop_policy_decisions_total"
#define TH_METRICS_POLICY_HELP                                                                     \
    "Decisions of the policy, by the rule that decided; \"(default)\": none matched"

#define TH_METRICS_SHADOW_NAME "tokenhop_shadow_requests_total"
#define TH_METRICS_SHADOW_HELP                                                                     \
    "Requests to connections in shadow, by what would have become of them"

/* A row of the table. */
struct th_metrics_row {
    const char *name;
    const char *type;
    const char *labels;
    const char *help;
};
#define TH_METRICS_ERRORS_NAME "tokenhop_errors_total"
#define TH_METRICS_ERRORS_HELP "Hops that failed, by the code of the answer and what happened"

struct th_metrics {
    unsigned n_workers;
    int64_t start_wall_ms;
    struct th_metrics_shard *shards; /* the workers', then the shared one */
    struct th_metrics_rows rows;
    struct th_metrics_rules rules;
};

static inline void th_metrics_cell_add(const struct th_metrics_shard *shard,
                                       atomic_uint_least64_t *cell, uint64_t by)
{
    if (shard->is_shared) {
        atomic_fetch_add_explicit(cell, by, memory_order_relaxed);
        return;
    }
    uint64_t now = atomic_load_explicit(cell, memory_order_relaxed);
    atomic_store_explicit(cell, now + by, memory_order_relaxed);
}

static inline int th_metrics_error_index(int error)
{
    return error < 0 && error > -TH_ERROR_COUNT ? -error : TH_ERROR_INDEX_INTERNAL;
}

void th_metrics_rows_init(struct th_metrics_rows *rows);
void th_metrics_rows_fini(struct th_metrics *metrics);
void th_metrics_write_connections(struct th_metrics *metrics, struct th_buf *buf);
/* The next connection that has a row, or the others together; false: there is none more. */
bool th_metrics_row_of_connection(struct th_metrics *metrics, unsigned row, struct th_str *ret_name,
                                  struct th_metrics_connection_figures *ret_figures);

void th_metrics_rules_init(struct th_metrics_rules *rules);
void th_metrics_rules_fini(struct th_metrics *metrics);
void th_metrics_write_rules(struct th_metrics *metrics, struct th_buf *buf);
/* The next rule that has a row, or the others together; false: there is none more. */
bool th_metrics_row_of_rule(struct th_metrics *metrics, unsigned row, const char **ret_name,
                            uint64_t ret_counts[TH_METRIC_POLICY_RESULTS]);
const char *th_metrics_policy_result(unsigned result);

void th_metrics_write_shadows(struct th_metrics *metrics, struct th_buf *buf);
/* The next connection from *row on that is or was in shadow, or the others together; false: there is none
 * more. */
bool th_metrics_row_in_shadow(struct th_metrics *metrics, unsigned *row, struct th_str *ret_name,
                              uint64_t ret_counts[TH_METRIC_SHADOWS]);

/* metrics.c */
const struct th_metrics_row *th_metrics_row(enum th_metric metric);
const struct th_metrics_row *th_metrics_histogram_row(enum th_histogram histogram);
const char *th_metrics_bound_text(size_t bucket); /* in seconds */
/* Observations by bucket; returns the sum of all in microseconds. */
uint64_t th_metrics_read_histogram(const struct th_metrics *metrics, enum th_histogram histogram,
                                   uint64_t ret_buckets[TH_HISTOGRAM_BUCKETS]);

#endif
