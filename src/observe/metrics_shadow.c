/* Requests to connections in shadow. */
#include "metrics_private.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/observe/audit.h"

#define RESULTS TH_METRIC_SHADOWS
_Static_assert(RESULTS == TH_AUDIT_SHADOWS, "a count for each");

static bool make_cells(struct th_metrics *metrics)
{
    for (unsigned i = 0; i <= metrics->n_workers; i++) {
        struct th_metrics_shard *shard = &metrics->shards[i];
        if (atomic_load_explicit(&shard->shadows, memory_order_relaxed) != NULL)
            continue;
        atomic_uint_least64_t *cells =
            th_calloc((size_t)TH_METRICS_CONNECTIONS * RESULTS, sizeof *cells);
        if (cells == NULL)
            return false;
        atomic_store_explicit(&shard->shadows, cells, memory_order_release);
    }
    return true;
}

void th_metrics_shadow(struct th_metrics *metrics, unsigned row)
{
    pthread_mutex_lock(&metrics->rows.lock);
    metrics->rows.are_in_shadow[row] |= make_cells(metrics);
    pthread_mutex_unlock(&metrics->rows.lock);
}

void th_metrics_count_shadow(struct th_metrics_shard *shard, unsigned row, unsigned result)
{
    atomic_uint_least64_t *cells =
        shard != NULL ? atomic_load_explicit(&shard->shadows, memory_order_acquire) : NULL;

    if (cells != NULL)
        th_metrics_cell_add(shard, &cells[row * RESULTS + result], 1);
}

static uint64_t sum(const struct th_metrics *metrics, unsigned row, unsigned result)
{
    uint64_t n = 0;

    for (unsigned i = 0; i <= metrics->n_workers; i++) {
        atomic_uint_least64_t *cells =
            atomic_load_explicit(&metrics->shards[i].shadows, memory_order_acquire);
        if (cells != NULL)
            n += atomic_load_explicit(&cells[row * RESULTS + result], memory_order_relaxed);
    }
    return n;
}

bool th_metrics_row_in_shadow(struct th_metrics *metrics, unsigned *row, struct th_str *ret_name,
                              uint64_t ret_counts[RESULTS])
{
    struct th_metrics_rows *rows = &metrics->rows;

    pthread_mutex_lock(&rows->lock);
    while (*row < TH_METRICS_CONNECTIONS && !rows->are_in_shadow[*row])
        ++*row;
    bool found = *row < TH_METRICS_CONNECTIONS;
    if (found) {
        *ret_name = *row < rows->n_named ? th_str_of(rows->named[*row]) : TH_STR("(others)");
        for (unsigned i = 1; i < RESULTS; i++)
            ret_counts[i] = sum(metrics, *row, i);
    }
    pthread_mutex_unlock(&rows->lock);
    return found;
}

void th_metrics_write_shadows(struct th_metrics *metrics, struct th_buf *buf)
{
    uint64_t counts[RESULTS];
    struct th_str name;

    th_buf_printf(buf, "# HELP " TH_METRICS_SHADOW_NAME " " TH_METRICS_SHADOW_HELP
                       "\n# TYPE " TH_METRICS_SHADOW_NAME " counter\n");
    for (unsigned row = 0; th_metrics_row_in_shadow(metrics, &row, &name, counts); row++)
        for (unsigned i = 1; i < RESULTS; i++)
            th_buf_printf(buf, TH_METRICS_SHADOW_NAME "{connection=\"%.*s\",result=\"%s\"} %llu\n",
                          TH_STR_ARGS(name), th_audit_shadow_name((enum th_audit_shadow)i),
                          (unsigned long long)counts[i]);
}
