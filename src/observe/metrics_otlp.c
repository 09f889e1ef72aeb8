/* The metrics of the table as OTLP has them (opentelemetry/proto/metrics/v1, in JSON): sums and gauges by
 * name, their rows as data points; histograms with the bounds of the buckets. Cumulative, since start. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "metrics_private.h"
#include "tokenhop/observe/audit.h"

struct writer {
    struct th_buf *buf;
    char times[128]; /* members of every data point */
    bool begun;      /* a metric stands before */
};

static void begin(struct writer *w, const char *name, const char *help, const char *unit)
{
    th_buf_printf(w->buf, "%s{\"name\":\"%s\",\"description\":\"", w->begun ? "," : "", name);
    th_buf_add_json(w->buf, th_str_of(help));
    th_buf_printf(w->buf, "\",\"unit\":\"%s\",", unit);
    w->begun = true;
}

static void add_attribute(struct writer *w, struct th_str key, struct th_str value, bool first)
{
    th_buf_printf(w->buf, "%s{\"key\":\"", first ? "" : ",");
    th_buf_add_json(w->buf, key);
    th_buf_printf(w->buf, "\",\"value\":{\"stringValue\":\"");
    th_buf_add_json(w->buf, value);
    th_buf_printf(w->buf, "\"}}");
}

/* The table's labels, 'side="client",direction="in"': no value holds a quote. */
static void add_labels(struct writer *w, const char *labels)
{
    th_buf_printf(w->buf, "\"attributes\":[");
    for (bool first = true; *labels != '\0'; first = false) {
        size_t key = strcspn(labels, "=");
        const char *value = labels + key + 2;
        size_t len = strcspn(value, "\"");
        add_attribute(w, (struct th_str){labels, key}, (struct th_str){value, len}, first);
        labels = value + len + 1;
        labels += *labels == ',';
    }
    th_buf_printf(w->buf, "]");
}

static void add_point(struct writer *w, const char *labels, int64_t value, bool first)
{
    th_buf_printf(w->buf, "%s{", first ? "" : ",");
    add_labels(w, labels);
    th_buf_printf(w->buf, ",%s,\"asInt\":\"%" PRId64 "\"}", w->times, value);
}

static void begin_points(struct writer *w, bool is_sum)
{
    th_buf_printf(w->buf, is_sum ? "\"sum\":{\"aggregationTemporality\":2,\"isMonotonic\":true,"
                                   "\"dataPoints\":["
                                 : "\"gauge\":{\"dataPoints\":[");
}

static void end_points(struct writer *w)
{
    th_buf_printf(w->buf, "]}}");
}

static void add_rows(struct writer *w, const struct th_metrics *metrics)
{
    for (enum th_metric i = 0; i < TH_METRIC_COUNT; i++) {
        const struct th_metrics_row *row = th_metrics_row(i);
        bool first = i == 0 || strcmp(row->name, th_metrics_row(i - 1)->name) != 0;
        bool last = i + 1 == TH_METRIC_COUNT || strcmp(row->name, th_metrics_row(i + 1)->name) != 0;
        if (first) {
            begin(w, row->name, row->help, "1");
            begin_points(w, strcmp(row->type, "counter") == 0);
        }
        add_point(w, row->labels, th_metrics_sum(metrics, i), first);
        if (last)
            end_points(w);
    }
}

static void add_errors(struct writer *w, const struct th_metrics *metrics)
{
    char labels[128];

    begin(w, TH_METRICS_ERRORS_NAME, TH_METRICS_ERRORS_HELP, "1");
    begin_points(w, true);
    for (int i = TH_ERROR_INDEX_NONE + 1; i < TH_ERROR_COUNT; i++) {
        const struct th_error_row *row = th_error_get(-i);
        snprintf(labels, sizeof labels, "code=\"%s\",error=\"%s\"", row->code, row->name);
        add_point(w, labels, (int64_t)th_metrics_sum_errors(metrics, -i),
                  i == TH_ERROR_INDEX_NONE + 1);
    }
    end_points(w);
}

static void add_connections(struct writer *w, struct th_metrics *metrics)
{
    static const char *const classes[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
    struct th_metrics_connection_figures figures;
    struct th_str name;
    char labels[160];
    bool first = true;

    begin(w, "tokenhop_connection_requests_total", "Requests of a connection that have ended", "1");
    begin_points(w, true);
    for (unsigned row = 0; th_metrics_row_of_connection(metrics, row, &name, &figures); row++)
        for (size_t k = 0; k < TH_COUNT_OF(classes); k++) {
            if (figures.classes[k] == 0)
                continue;
            snprintf(labels, sizeof labels, "connection=\"%.*s\",class=\"%s\"", TH_STR_ARGS(name),
                     classes[k]);
            add_point(w, labels, (int64_t)figures.classes[k], first);
            first = false;
        }
    end_points(w);
}

static void add_rules(struct writer *w, struct th_metrics *metrics)
{
    uint64_t counts[TH_METRIC_POLICY_RESULTS];
    const char *name;
    char labels[160];
    bool first = true;

    begin(w, TH_METRICS_POLICY_NAME, TH_METRICS_POLICY_HELP, "1");
    begin_points(w, true);
    for (unsigned row = 0; th_metrics_row_of_rule(metrics, row, &name, counts); row++)
        for (unsigned k = 0; k < TH_METRIC_POLICY_RESULTS; k++) {
            snprintf(labels, sizeof labels, "rule=\"%s\",result=\"%s\"", name,
                     th_metrics_policy_result(k));
            add_point(w, labels, (int64_t)counts[k], first);
            first = false;
        }
    end_points(w);
}

static void add_shadows(struct writer *w, struct th_metrics *metrics)
{
    uint64_t counts[TH_METRIC_SHADOWS];
    struct th_str name;
    char labels[160];
    bool first = true;

    begin(w, TH_METRICS_SHADOW_NAME, TH_METRICS_SHADOW_HELP, "1");
    begin_points(w, true);
    for (unsigned row = 0; th_metrics_row_in_shadow(metrics, &row, &name, counts); row++)
        for (unsigned k = 1; k < TH_METRIC_SHADOWS; k++) {
            snprintf(labels, sizeof labels, "connection=\"%.*s\",result=\"%s\"", TH_STR_ARGS(name),
                     th_audit_shadow_name((enum th_audit_shadow)k));
            add_point(w, labels, (int64_t)counts[k], first);
            first = false;
        }
    end_points(w);
}

static void add_histogram(struct writer *w, const struct th_metrics *metrics,
                          enum th_histogram histogram)
{
    const struct th_metrics_row *row = th_metrics_histogram_row(histogram);
    uint64_t buckets[TH_HISTOGRAM_BUCKETS], count = 0, sum_us;

    sum_us = th_metrics_read_histogram(metrics, histogram, buckets);
    begin(w, row->name, row->help, "s");
    th_buf_printf(w->buf,
                  "\"histogram\":{\"aggregationTemporality\":2,\"dataPoints\":[{\"attributes\":[],"
                  "%s,\"bucketCounts\":[",
                  w->times);
    for (size_t i = 0; i < TH_HISTOGRAM_BUCKETS; i++) {
        th_buf_printf(w->buf, "%s\"%" PRIu64 "\"", i > 0 ? "," : "", buckets[i]);
        count += buckets[i];
    }
    th_buf_printf(w->buf, "],\"explicitBounds\":[");
    for (size_t i = 0; i + 1 < TH_HISTOGRAM_BUCKETS; i++)
        th_buf_printf(w->buf, "%s%s", i > 0 ? "," : "", th_metrics_bound_text(i));
    th_buf_printf(w->buf, "],\"count\":\"%" PRIu64 "\",\"sum\":%" PRIu64 ".%06" PRIu64 "}]}}",
                  count, sum_us / 1000000, sum_us % 1000000);
}

void th_metrics_write_otlp(struct th_metrics *metrics, int64_t wall_ms, struct th_buf *buf)
{
    struct writer w = {.buf = buf};

    snprintf(w.times, sizeof w.times,
             "\"startTimeUnixNano\":\"%" PRId64 "000000\",\"timeUnixNano\":\"%" PRId64 "000000\"",
             metrics->start_wall_ms, wall_ms);
    th_buf_add_char(buf, '[');
    add_rows(&w, metrics);
    add_errors(&w, metrics);
    add_connections(&w, metrics);
    add_rules(&w, metrics);
    add_shadows(&w, metrics);
    for (enum th_histogram i = 0; i < TH_HISTOGRAM_COUNT; i++)
        add_histogram(&w, metrics, i);
    th_buf_add_char(buf, ']');
}
