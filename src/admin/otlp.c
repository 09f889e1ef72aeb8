#include "otlp.h"

#include <inttypes.h>
#include <stdio.h>

/* SpanKind and Status.StatusCode of opentelemetry/proto/trace/v1. */
enum { KIND_SERVER = 2, KIND_CLIENT = 3, STATUS_ERROR = 2 };

static void add_text(struct th_buf *out, const char *key, struct th_str value, bool *begun)
{
    if (value.len == 0)
        return;
    th_buf_printf(out, "%s{\"key\":\"%s\",\"value\":{\"stringValue\":\"", *begun ? "," : "", key);
    th_buf_add_json(out, value);
    th_buf_printf(out, "\"}}");
    *begun = true;
}

static void add_number(struct th_buf *out, const char *key, int64_t value, bool *begun)
{
    th_buf_printf(out, "%s{\"key\":\"%s\",\"value\":{\"intValue\":\"%" PRId64 "\"}}",
                  *begun ? "," : "", key, value);
    *begun = true;
}

static void begin(struct th_buf *out, const struct th_otlp_resource *resource, const char *list,
                  const char *scope_list, const char *items)
{
    bool begun = false;

    th_buf_printf(out, "{\"%s\":[{\"resource\":{\"attributes\":[", list);
    add_text(out, "service.name", resource->service_name, &begun);
    add_text(out, "service.version", TH_STR(TH_VERSION), &begun);
    add_text(out, "service.instance.id", th_str_of(resource->instance), &begun);
    th_buf_printf(out, "]},\"%s\":[{\"scope\":{\"name\":\"tokenhop\",\"version\":\"%s\"},\"%s\":",
                  scope_list, TH_VERSION, items);
}

static void add_hop(struct th_buf *out, const struct th_span *span, bool *begun)
{
    add_text(out, "http.request.method", th_str_of(span->method), begun);
    add_text(out, "url.scheme", th_str_of(span->scheme), begun);
    add_text(out, "server.address", th_str_of(span->host), begun);
    if (span->host[0] != '\0')
        add_number(out, "server.port", span->port, begun);
    add_text(out, "url.path", th_str_of(span->path), begun);
    add_text(out, "client.address", th_str_of(span->client), begun);
    add_text(out, "tokenhop.listener", th_str_of(span->listener), begun);
    add_text(out, "tokenhop.cache", th_str_of(th_cache_state_name(span->cache)), begun);
    add_text(out, "tokenhop.subject", th_str_of(span->subject), begun);
}

static void add_leg(struct th_buf *out, const struct th_span *span, bool *begun)
{
    add_text(out, "http.request.method", TH_STR("POST"), begun);
    add_text(out, "url.full", th_str_of(span->path), begun);
    add_text(out, "tokenhop.leg", th_str_of(span->name), begun);
}

/* Of bounded number: neither paths nor hosts. */
static void add_name(struct th_buf *out, const struct th_span *span)
{
    bool is_leg = span->kind == TH_SPAN_LEG;
    th_buf_printf(out, "\"name\":\"");
    th_buf_add_json(out, is_leg ? TH_STR("leg") : th_str_of(span->method));
    const char *what = is_leg ? span->name : span->connection;
    if (what[0] != '\0') {
        th_buf_add_char(out, ' ');
        th_buf_add_json(out, th_str_of(what));
    }
    th_buf_printf(out, "\",");
}

static bool has_failed(const struct th_span *span)
{
    /* Of a server's side a 4xx is the caller's affair; of a client's it is an error (the semantic
     * conventions of HTTP spans). */
    return span->error != 0 || span->status >= (span->kind == TH_SPAN_LEG ? 400 : 500);
}

static void add_span(struct th_buf *out, const struct th_span *span)
{
    bool begun = false;
    int64_t end_us = span->start_wall_us + span->duration_us;

    th_buf_printf(out, "{\"traceId\":\"%s\",\"spanId\":\"%s\",", span->trace.id, span->trace.span);
    if (span->trace.parent[0] != '\0')
        th_buf_printf(out, "\"parentSpanId\":\"%s\",", span->trace.parent);
    add_name(out, span);
    th_buf_printf(out,
                  "\"kind\":%d,\"startTimeUnixNano\":\"%" PRId64 "000\","
                  "\"endTimeUnixNano\":\"%" PRId64 "000\",\"attributes\":[",
                  span->kind == TH_SPAN_LEG ? KIND_CLIENT : KIND_SERVER, span->start_wall_us,
                  end_us);
    if (span->kind == TH_SPAN_LEG)
        add_leg(out, span, &begun);
    else
        add_hop(out, span, &begun);
    add_text(out, "tokenhop.agent", th_str_of(span->agent), &begun);
    add_text(out, "tokenhop.connection", th_str_of(span->connection), &begun);
    if (span->status != 0)
        add_number(out, "http.response.status_code", span->status, &begun);
    if (span->error != 0)
        add_text(out, "error.type", th_str_of(th_error_get(span->error)->code), &begun);
    th_buf_printf(out, "]");
    if (has_failed(span))
        th_buf_printf(out, ",\"status\":{\"code\":%d}", STATUS_ERROR);
    th_buf_printf(out, "}");
}

void th_otlp_write_traces(struct th_buf *out, const struct th_otlp_resource *resource,
                          const struct th_span *spans, size_t n_spans)
{
    begin(out, resource, "resourceSpans", "scopeSpans", "spans");
    for (size_t i = 0; i < n_spans; i++) {
        th_buf_add_char(out, i > 0 ? ',' : '[');
        add_span(out, &spans[i]);
    }
    th_buf_printf(out, "%s]}]}]}", n_spans == 0 ? "[" : "");
}

void th_otlp_write_metrics(struct th_buf *out, const struct th_otlp_resource *resource,
                           struct th_metrics *metrics, int64_t wall_ms)
{
    begin(out, resource, "resourceMetrics", "scopeMetrics", "metrics");
    th_metrics_write_otlp(metrics, wall_ms, out);
    th_buf_printf(out, "}]}]}");
}
