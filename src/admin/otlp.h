/* The messages of OTLP (opentelemetry-proto 1.x) in their JSON form. Private to the room. */
#ifndef TOKENHOP_SRC_ADMIN_OTLP_H
#define TOKENHOP_SRC_ADMIN_OTLP_H

#include "tokenhop/base/buf.h"
#include "tokenhop/observe/metrics.h"
#include "tokenhop/observe/span.h"

struct th_otlp_resource {
    struct th_str service_name;
    char instance[17]; /* random, of this process */
};

/* ExportTraceServiceRequest */
void th_otlp_write_traces(struct th_buf *out, const struct th_otlp_resource *resource,
                          const struct th_span *spans, size_t n_spans);
/* ExportMetricsServiceRequest */
void th_otlp_write_metrics(struct th_buf *out, const struct th_otlp_resource *resource,
                           struct th_metrics *metrics, int64_t wall_ms);

#endif
