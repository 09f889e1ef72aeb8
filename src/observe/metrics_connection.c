/* Requests by connection. */
#include <pthread.h>
#include <string.h>

#include "metrics_private.h"
#include "tokenhop/base/mem.h"

#define LAST_ROW (TH_METRICS_CONNECTIONS - 1)

struct named_row {
    struct th_hash_node node;
    unsigned row;
    size_t len;
    char name[];
};

static struct named_row *row_of(const struct th_hash_node *node)
{
    return TH_CONTAINER_OF(node, struct named_row, node);
}

static bool is_named(const struct th_hash_node *node, const void *key)
{
    const struct th_str *name = key;
    return th_str_equal((struct th_str){row_of(node)->name, row_of(node)->len}, *name);
}

static struct named_row *find(const struct th_metrics_rows *rows, struct th_str name)
{
    uint64_t hash = th_hash_bytes(&rows->key, name.ptr, name.len);
    struct th_hash_node *node = th_hash_table_find(&rows->table, hash, is_named, &name);
    return node != NULL ? row_of(node) : NULL;
}

/* The cells of the row's block in every shard. */
static bool make_block(struct th_metrics *metrics, unsigned row)
{
    unsigned block = row / TH_METRICS_ROWS_A_BLOCK;
    for (unsigned i = 0; i <= metrics->n_workers; i++) {
        struct th_metrics_shard *shard = &metrics->shards[i];
        if (atomic_load_explicit(&shard->blocks[block], memory_order_relaxed) != NULL)
            continue;
        struct th_metrics_cell *cells = th_calloc_aligned(_Alignof(struct th_metrics_cell),
                                                          TH_METRICS_ROWS_A_BLOCK, sizeof *cells);
        if (cells == NULL)
            return false;
        atomic_store_explicit(&shard->blocks[block], cells, memory_order_release);
    }
    return true;
}

static unsigned add(struct th_metrics *metrics, struct th_str name)
{
    struct th_metrics_rows *rows = &metrics->rows;
    struct named_row *row = NULL;

    if (rows->n_named < LAST_ROW && make_block(metrics, rows->n_named))
        row = th_calloc(1, sizeof *row + name.len + 1);
    if (row == NULL)
        return LAST_ROW;
    memcpy(row->name, name.ptr, name.len);
    row->len = name.len;
    row->row = rows->n_named;
    if (th_hash_table_insert(&rows->table, &row->node,
                             th_hash_bytes(&rows->key, name.ptr, name.len)) < 0) {
        th_free(row);
        return LAST_ROW;
    }
    rows->named[rows->n_named++] = row->name;
    return row->row;
}

unsigned th_metrics_connection(struct th_metrics *metrics, struct th_str name)
{
    pthread_mutex_lock(&metrics->rows.lock);
    const struct named_row *found = find(&metrics->rows, name);
    unsigned row = found != NULL ? found->row : add(metrics, name);
    if (row == LAST_ROW && !metrics->rows.has_others)
        metrics->rows.has_others = make_block(metrics, LAST_ROW);
    pthread_mutex_unlock(&metrics->rows.lock);
    return row;
}

static struct th_metrics_cell *cell_of(const struct th_metrics_shard *shard, unsigned row)
{
    struct th_metrics_cell *block =
        atomic_load_explicit(&shard->blocks[row / TH_METRICS_ROWS_A_BLOCK], memory_order_acquire);
    return block != NULL ? &block[row % TH_METRICS_ROWS_A_BLOCK] : NULL;
}

void th_metrics_count_request(struct th_metrics_shard *shard, unsigned row, unsigned status,
                              bool hit, int error, int64_t wall_ms)
{
    struct th_metrics_cell *cell = shard != NULL ? cell_of(shard, row) : NULL;
    if (cell == NULL)
        return;
    th_metrics_cell_add(shard, &cell->classes[status < 600 ? status / 100 : 0], 1);
    if (hit)
        th_metrics_cell_add(shard, &cell->hits, 1);
    if (error != 0)
        atomic_store_explicit(&cell->last_error,
                              (uint64_t)wall_ms / 1000 << 8 |
                                  (uint64_t)th_metrics_error_index(error),
                              memory_order_relaxed);
}

static void add_cell(const struct th_metrics_cell *cell,
                     struct th_metrics_connection_figures *figures)
{
    for (size_t k = 0; k < TH_COUNT_OF(figures->classes); k++) {
        uint64_t n = atomic_load_explicit(&cell->classes[k], memory_order_relaxed);
        figures->classes[k] += n;
        figures->requests += n;
    }
    figures->hits += atomic_load_explicit(&cell->hits, memory_order_relaxed);
    uint64_t last = atomic_load_explicit(&cell->last_error, memory_order_relaxed);
    if ((int64_t)(last >> 8) * 1000 >= figures->last_error_wall_ms && last != 0) {
        figures->last_error_wall_ms = (int64_t)(last >> 8) * 1000;
        figures->last_error = -(int)(last & 0xff);
    }
}

static void sum_row(const struct th_metrics *metrics, unsigned row,
                    struct th_metrics_connection_figures *ret_figures)
{
    *ret_figures = (struct th_metrics_connection_figures){0};
    for (unsigned i = 0; i <= metrics->n_workers; i++) {
        const struct th_metrics_cell *cell = cell_of(&metrics->shards[i], row);
        if (cell != NULL)
            add_cell(cell, ret_figures);
    }
}

void th_metrics_sum_connection(struct th_metrics *metrics, struct th_str name,
                               struct th_metrics_connection_figures *ret_figures)
{
    *ret_figures = (struct th_metrics_connection_figures){0};
    pthread_mutex_lock(&metrics->rows.lock);
    const struct named_row *row = find(&metrics->rows, name);
    if (row != NULL)
        sum_row(metrics, row->row, ret_figures);
    pthread_mutex_unlock(&metrics->rows.lock);
}

bool th_metrics_row_of_connection(struct th_metrics *metrics, unsigned row, struct th_str *ret_name,
                                  struct th_metrics_connection_figures *ret_figures)
{
    struct th_metrics_rows *rows = &metrics->rows;
    pthread_mutex_lock(&rows->lock);
    bool is_others = row == rows->n_named && rows->has_others;
    bool found = row < rows->n_named || is_others;
    if (found) {
        *ret_name = is_others ? TH_STR("(others)") : th_str_of(rows->named[row]);
        sum_row(metrics, is_others ? LAST_ROW : row, ret_figures);
    }
    pthread_mutex_unlock(&rows->lock);
    return found;
}

static void write_row(const struct th_metrics *metrics, unsigned row, const char *name,
                      bool is_hits, struct th_buf *buf)
{
    static const char *const classes[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
    struct th_metrics_connection_figures figures;

    sum_row(metrics, row, &figures);
    if (is_hits)
        th_buf_printf(buf, "tokenhop_connection_cache_hits_total{connection=\"%s\"} %llu\n", name,
                      (unsigned long long)figures.hits);
    for (size_t k = 0; !is_hits && k < TH_COUNT_OF(classes); k++)
        if (k != 1) /* what a request ends with is never interim */
            th_buf_printf(
                buf, "tokenhop_connection_requests_total{connection=\"%s\",class=\"%s\"} %llu\n",
                name, classes[k], (unsigned long long)figures.classes[k]);
}

void th_metrics_write_connections(struct th_metrics *metrics, struct th_buf *buf)
{
    for (int is_hits = 0; is_hits <= 1; is_hits++) {
        th_buf_printf(buf, is_hits ? "# HELP tokenhop_connection_cache_hits_total Requests of a "
                                     "connection whose credential was in the cache\n"
                                     "# TYPE tokenhop_connection_cache_hits_total counter\n"
                                   : "# HELP tokenhop_connection_requests_total Requests of a "
                                     "connection that have ended, by what the client was sent\n"
                                     "# TYPE tokenhop_connection_requests_total counter\n");
        pthread_mutex_lock(&metrics->rows.lock);
        for (unsigned row = 0; row < metrics->rows.n_named; row++)
            write_row(metrics, row, metrics->rows.named[row], is_hits != 0, buf);
        if (metrics->rows.has_others)
            write_row(metrics, LAST_ROW, "(others)", is_hits != 0, buf);
        pthread_mutex_unlock(&metrics->rows.lock);
    }
}

void th_metrics_rows_init(struct th_metrics_rows *rows)
{
    th_random_bytes(&rows->key, sizeof rows->key);
    th_hash_table_init(&rows->table);
    TH_REQUIRE(pthread_mutex_init(&rows->lock, NULL) == 0);
}

void th_metrics_rows_fini(struct th_metrics *metrics)
{
    struct th_metrics_rows *rows = &metrics->rows;
    for (unsigned i = 0; i < rows->n_named; i++)
        th_free(TH_CONTAINER_OF((void *)(uintptr_t)rows->named[i], struct named_row, name));
    th_hash_table_fini(&rows->table);
    pthread_mutex_destroy(&rows->lock);
    for (unsigned i = 0; metrics->shards != NULL && i <= metrics->n_workers; i++) {
        for (unsigned block = 0; block < TH_METRICS_BLOCKS; block++)
            th_free(metrics->shards[i].blocks[block]);
        th_free(metrics->shards[i].shadows);
    }
}
