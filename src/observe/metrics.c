#include "tokenhop/observe/metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "metrics_private.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/clock.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/secret.h"

static const struct th_metrics_row rows[TH_METRIC_COUNT] = {
#define TH_COUNTER(symbol, ...) [TH_METRIC_##symbol] = ROW("counter", __VA_ARGS__),
#define TH_GAUGE(symbol, ...) [TH_METRIC_##symbol] = ROW("gauge", __VA_ARGS__),
#define TH_HISTOGRAM(symbol, ...)
#define ROW(type_, name_, labels_, help_)                                                          \
    {                                                                                              \
        .name = name_, .type = type_, .labels = labels_, .help = help_                             \
    }
#include "tokenhop/observe/metrics.def"
};

static const struct th_metrics_row histogram_rows[TH_HISTOGRAM_COUNT] = {
#define TH_COUNTER(symbol, ...)
#define TH_GAUGE(symbol, ...)
#define TH_HISTOGRAM(symbol, name_, help_)                                                         \
    [TH_HISTOGRAM_##symbol] = {.name = name_, .type = "histogram", .help = help_},
#include "tokenhop/observe/metrics.def"
};

/* From the proxy's own share of a hop to streams of minutes. */
static const struct {
    int64_t us;
    const char *seconds;
} bounds[TH_HISTOGRAM_BUCKETS] = {
    {100, "0.0001"},  {250, "0.00025"},   {500, "0.0005"},     {1000, "0.001"},  {2500, "0.0025"},
    {5000, "0.005"},  {10000, "0.01"},    {25000, "0.025"},    {50000, "0.05"},  {100000, "0.1"},
    {250000, "0.25"}, {500000, "0.5"},    {1000000, "1"},      {2500000, "2.5"}, {10000000, "10"},
    {60000000, "60"}, {600000000, "600"}, {INT64_MAX, "+Inf"},
};

struct th_metrics *th_metrics_new(unsigned n_workers)
{
    struct th_metrics *metrics = th_calloc(1, sizeof *metrics);
    if (metrics == NULL)
        return NULL;
    metrics->n_workers = n_workers;
    metrics->start_wall_ms = th_clock_wall_ms(&th_clock_system);
    metrics->shards = th_calloc_aligned(_Alignof(struct th_metrics_shard), (size_t)n_workers + 1,
                                        sizeof *metrics->shards);
    if (metrics->shards == NULL) {
        th_free(metrics);
        return NULL;
    }
    metrics->shards[n_workers].is_shared = true;
    th_metrics_rows_init(&metrics->rows);
    th_metrics_rules_init(&metrics->rules);
    return metrics;
}

struct th_metrics *th_metrics_free(struct th_metrics *metrics)
{
    if (metrics != NULL) {
        th_metrics_rows_fini(metrics);
        th_metrics_rules_fini(metrics);
        th_free(metrics->shards);
        th_free(metrics);
    }
    return NULL;
}

struct th_metrics_shard *th_metrics_shard(struct th_metrics *metrics, unsigned worker)
{
    return &metrics->shards[worker < metrics->n_workers ? worker : metrics->n_workers];
}

void th_metrics_count_error(struct th_metrics_shard *shard, int error)
{
    if (shard != NULL)
        th_metrics_cell_add(shard, &shard->errors[th_metrics_error_index(error)], 1);
}

void th_metrics_count_status(struct th_metrics_shard *shard, unsigned status)
{
    if (status >= 100 && status <= 599)
        th_metrics_count(shard, (enum th_metric)(TH_METRIC_RESPONSES_1XX + status / 100 - 1));
}

_Static_assert(TH_METRIC_RESPONSES_5XX == TH_METRIC_RESPONSES_1XX + 4,
               "th_metrics_count_status() counts on the classes standing together");

void th_metrics_observe_us(struct th_metrics_shard *shard, enum th_histogram histogram, int64_t us)
{
    if (shard == NULL)
        return;
    if (us < 0)
        us = 0; /* of a clock that was read in another order */
    size_t bucket = 0;
    while (us > bounds[bucket].us)
        bucket++;
    th_metrics_cell_add(shard, &shard->buckets[histogram][bucket], 1);
    th_metrics_cell_add(shard, &shard->sums_us[histogram], (uint64_t)us);
}

int64_t th_metrics_sum(const struct th_metrics *metrics, enum th_metric metric)
{
    int64_t sum = 0;
    for (unsigned i = 0; i <= metrics->n_workers; i++)
        sum += atomic_load_explicit(&metrics->shards[i].values[metric], memory_order_relaxed);
    return sum;
}

uint64_t th_metrics_sum_errors(const struct th_metrics *metrics, int error)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i <= metrics->n_workers; i++)
        sum += atomic_load_explicit(&metrics->shards[i].errors[th_metrics_error_index(error)],
                                    memory_order_relaxed);
    return sum;
}

static uint64_t sum_bucket(const struct th_metrics *metrics, enum th_histogram histogram,
                           size_t bucket)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i <= metrics->n_workers; i++)
        sum += atomic_load_explicit(&metrics->shards[i].buckets[histogram][bucket],
                                    memory_order_relaxed);
    return sum;
}

uint64_t th_metrics_sum_observed(const struct th_metrics *metrics, enum th_histogram histogram)
{
    uint64_t sum = 0;
    for (size_t bucket = 0; bucket < TH_HISTOGRAM_BUCKETS; bucket++)
        sum += sum_bucket(metrics, histogram, bucket);
    return sum;
}

const struct th_metrics_row *th_metrics_row(enum th_metric metric)
{
    return &rows[metric];
}

const struct th_metrics_row *th_metrics_histogram_row(enum th_histogram histogram)
{
    return &histogram_rows[histogram];
}

const char *th_metrics_bound_text(size_t bucket)
{
    return bounds[bucket].seconds;
}

uint64_t th_metrics_read_histogram(const struct th_metrics *metrics, enum th_histogram histogram,
                                   uint64_t ret_buckets[TH_HISTOGRAM_BUCKETS])
{
    uint64_t sum_us = 0;

    for (size_t bucket = 0; bucket < TH_HISTOGRAM_BUCKETS; bucket++)
        ret_buckets[bucket] = sum_bucket(metrics, histogram, bucket);
    for (unsigned i = 0; i <= metrics->n_workers; i++)
        sum_us +=
            atomic_load_explicit(&metrics->shards[i].sums_us[histogram], memory_order_relaxed);
    return sum_us;
}

const char *th_metrics_name(enum th_metric metric)
{
    return rows[metric].name;
}

static void write_head(struct th_buf *buf, const char *name, const char *type, const char *help)
{
    th_buf_printf(buf, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_rows(const struct th_metrics *metrics, struct th_buf *buf)
{
    for (enum th_metric i = 0; i < TH_METRIC_COUNT; i++) {
        const struct th_metrics_row *row = &rows[i];
        if (i == 0 || strcmp(row->name, rows[i - 1].name) != 0)
            write_head(buf, row->name, row->type, row->help);
        const char *open = row->labels[0] != '\0' ? "{" : "";
        const char *close = row->labels[0] != '\0' ? "}" : "";
        th_buf_printf(buf, "%s%s%s%s %lld\n", row->name, open, row->labels, close,
                      (long long)th_metrics_sum(metrics, i));
    }
}

static void write_errors(const struct th_metrics *metrics, struct th_buf *buf)
{
    static const char name[] = TH_METRICS_ERRORS_NAME;
    write_head(buf, name, "counter", TH_METRICS_ERRORS_HELP);
    for (int i = TH_ERROR_INDEX_NONE + 1; i < TH_ERROR_COUNT; i++) {
        const struct th_error_row *row = th_error_get(-i);
        th_buf_printf(buf, "%s{code=\"%s\",error=\"%s\"} %llu\n", name, row->code, row->name,
                      (unsigned long long)th_metrics_sum_errors(metrics, -i));
    }
}

static void write_histogram(const struct th_metrics *metrics, enum th_histogram histogram,
                            struct th_buf *buf)
{
    const struct th_metrics_row *row = &histogram_rows[histogram];
    write_head(buf, row->name, row->type, row->help);
    uint64_t below = 0, buckets[TH_HISTOGRAM_BUCKETS];
    uint64_t sum_us = th_metrics_read_histogram(metrics, histogram, buckets);
    for (size_t bucket = 0; bucket < TH_HISTOGRAM_BUCKETS; bucket++) {
        below += buckets[bucket];
        th_buf_printf(buf, "%s_bucket{le=\"%s\"} %llu\n", row->name, bounds[bucket].seconds,
                      (unsigned long long)below);
    }
    th_buf_printf(buf, "%s_sum %llu.%06llu\n%s_count %llu\n", row->name,
                  (unsigned long long)(sum_us / 1000000), (unsigned long long)(sum_us % 1000000),
                  row->name, (unsigned long long)below);
}

/* Pages of memory, all and resident; 0 where /proc is not to be had. */
static void count_pages(unsigned long *ret_all, unsigned long *ret_resident)
{
    char text[128];
    char *end, *line = NULL;
    FILE *file = fopen("/proc/self/statm", "re");
    *ret_all = *ret_resident = 0;
    if (file == NULL)
        return;
    line = fgets(text, sizeof text, file);
    (void)fclose(file);
    if (line == NULL)
        return;
    *ret_all = strtoul(line, &end, 10);
    *ret_resident = strtoul(end, NULL, 10);
}

/* 0 where /proc is not to be had. */
static unsigned long count_descriptors(void)
{
    unsigned long n = 0;
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL)
        return 0;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        n += entry->d_name[0] != '.';
    (void)closedir(folder);
    return n > 0 ? n - 1 : 0; /* the folder's own */
}

static void write_one(struct th_buf *buf, const char *name, const char *help,
                      unsigned long long value)
{
    write_head(buf, name, "gauge", help);
    th_buf_printf(buf, "%s %llu\n", name, value);
}

static void write_resources(struct th_buf *buf)
{
    unsigned long all, resident, page = (unsigned long)sysconf(_SC_PAGESIZE);
    struct rlimit limit;

    count_pages(&all, &resident);
    write_one(buf, "process_resident_memory_bytes", "Memory held",
              (unsigned long long)resident * page);
    write_one(buf, "process_virtual_memory_bytes", "Addresses in use",
              (unsigned long long)all * page);
    write_one(buf, "process_open_fds", "Descriptors in use", count_descriptors());
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        write_one(buf, "process_max_fds", "Descriptors that may be in use",
                  (unsigned long long)limit.rlim_cur);
}

static void write_process(const struct th_metrics *metrics, struct th_buf *buf)
{
    write_head(buf, "tokenhop_build_info", "gauge", "The running version; the value is always 1");
    th_buf_printf(buf, "tokenhop_build_info{version=\"%s\"} 1\n", TH_VERSION);
    write_head(buf, "tokenhop_secret_bytes", "gauge", "Bytes held in tokens, keys and passwords");
    th_buf_printf(buf, "tokenhop_secret_bytes %zu\n", th_secret_bytes_held());
    write_head(buf, "tokenhop_failed_checks_total", "counter",
               "Checks of the program's own state that failed; each is a bug to be reported");
    th_buf_printf(buf, "tokenhop_failed_checks_total %lu\n", th_check_count());
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        long long us = usage.ru_utime.tv_usec + (long long)usage.ru_stime.tv_usec +
                       ((long long)usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000;
        write_head(buf, "process_cpu_seconds_total", "counter", "Processor time used");
        th_buf_printf(buf, "process_cpu_seconds_total %lld.%06lld\n", us / 1000000, us % 1000000);
    }
    write_resources(buf);
    write_head(buf, "process_start_time_seconds", "gauge", "When it was started, since 1970");
    th_buf_printf(buf, "process_start_time_seconds %lld.%03d\n",
                  (long long)metrics->start_wall_ms / 1000, (int)(metrics->start_wall_ms % 1000));
}

void th_metrics_write_prometheus(struct th_metrics *metrics, struct th_buf *buf)
{
    write_rows(metrics, buf);
    write_errors(metrics, buf);
    for (enum th_histogram i = 0; i < TH_HISTOGRAM_COUNT; i++)
        write_histogram(metrics, i, buf);
    th_metrics_write_connections(metrics, buf);
    th_metrics_write_rules(metrics, buf);
    th_metrics_write_shadows(metrics, buf);
    write_process(metrics, buf);
}
