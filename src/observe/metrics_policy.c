/* Decisions by rule of the policy. */
#include <string.h>

#include "metrics_private.h"
#include "tokenhop/base/mem.h"

#define LAST_ROW (TH_METRICS_RULES - 1)
#define RESULTS TH_METRIC_POLICY_RESULTS

static const char *const results[RESULTS] = {
    [TH_METRIC_POLICY_ALLOWED] = "allowed",
    [TH_METRIC_POLICY_DENIED] = "denied",
    [TH_METRIC_POLICY_WOULD_DENY] = "would_deny",
};

/* The cells of all rules in every shard. */
static bool make_cells(struct th_metrics *metrics)
{
    for (unsigned i = 0; i <= metrics->n_workers; i++) {
        struct th_metrics_shard *shard = &metrics->shards[i];
        if (atomic_load_explicit(&shard->rules, memory_order_relaxed) != NULL)
            continue;
        atomic_uint_least64_t *cells = th_calloc((size_t)TH_METRICS_RULES * RESULTS, sizeof *cells);
        if (cells == NULL)
            return false;
        atomic_store_explicit(&shard->rules, cells, memory_order_release);
    }
    return true;
}

static unsigned find_or_add(struct th_metrics_rules *rules, struct th_str name)
{
    for (unsigned i = 0; i < rules->n_named; i++)
        if (th_str_equal(th_str_of(rules->named[i]), name))
            return i;
    if (rules->n_named < LAST_ROW)
        rules->named[rules->n_named] = th_strndup(name.ptr, name.len);
    if (rules->n_named < LAST_ROW && rules->named[rules->n_named] != NULL)
        return rules->n_named++;
    rules->has_others = true;
    return LAST_ROW;
}

unsigned th_metrics_rule(struct th_metrics *metrics, struct th_str name)
{
    struct th_metrics_rules *rules = &metrics->rules;

    pthread_mutex_lock(&rules->lock);
    unsigned row = make_cells(metrics) ? find_or_add(rules, name) : LAST_ROW;
    pthread_mutex_unlock(&rules->lock);
    return row;
}

void th_metrics_count_policy(struct th_metrics_shard *shard, unsigned row,
                             enum th_metric_policy result)
{
    atomic_uint_least64_t *cells =
        shard != NULL ? atomic_load_explicit(&shard->rules, memory_order_acquire) : NULL;

    if (cells != NULL)
        th_metrics_cell_add(shard, &cells[row * RESULTS + (unsigned)result], 1);
}

static uint64_t sum(const struct th_metrics *metrics, unsigned row, unsigned result)
{
    uint64_t n = 0;

    for (unsigned i = 0; i <= metrics->n_workers; i++) {
        atomic_uint_least64_t *cells =
            atomic_load_explicit(&metrics->shards[i].rules, memory_order_acquire);
        if (cells != NULL)
            n += atomic_load_explicit(&cells[row * RESULTS + result], memory_order_relaxed);
    }
    return n;
}

bool th_metrics_row_of_rule(struct th_metrics *metrics, unsigned row, const char **ret_name,
                            uint64_t ret_counts[RESULTS])
{
    struct th_metrics_rules *rules = &metrics->rules;

    pthread_mutex_lock(&rules->lock);
    bool is_others = row == rules->n_named && rules->has_others;
    bool found = row < rules->n_named || is_others;
    if (found) {
        *ret_name = is_others ? "(others)" : rules->named[row];
        for (unsigned i = 0; i < RESULTS; i++)
            ret_counts[i] = sum(metrics, is_others ? LAST_ROW : row, i);
    }
    pthread_mutex_unlock(&rules->lock);
    return found;
}

const char *th_metrics_policy_result(unsigned result)
{
    return results[result];
}

void th_metrics_write_rules(struct th_metrics *metrics, struct th_buf *buf)
{
    uint64_t counts[RESULTS];
    const char *name;

    th_buf_printf(buf, "# HELP " TH_METRICS_POLICY_NAME " " TH_METRICS_POLICY_HELP
                       "\n# TYPE " TH_METRICS_POLICY_NAME " counter\n");
    for (unsigned row = 0; th_metrics_row_of_rule(metrics, row, &name, counts); row++)
        for (unsigned i = 0; i < RESULTS; i++)
            th_buf_printf(buf, TH_METRICS_POLICY_NAME "{rule=\"%s\",result=\"%s\"} %llu\n", name,
                          results[i], (unsigned long long)counts[i]);
}

void th_metrics_rules_init(struct th_metrics_rules *rules)
{
    TH_REQUIRE(pthread_mutex_init(&rules->lock, NULL) == 0);
}

void th_metrics_rules_fini(struct th_metrics *metrics)
{
    for (unsigned i = 0; i < metrics->rules.n_named; i++)
        th_free(metrics->rules.named[i]);
    pthread_mutex_destroy(&metrics->rules.lock);
    for (unsigned i = 0; metrics->shards != NULL && i <= metrics->n_workers; i++)
        th_free(metrics->shards[i].rules);
}
