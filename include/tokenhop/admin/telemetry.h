/* The exporter: sends spans and metrics to an OpenTelemetry collector (OTLP over HTTP, as JSON), on a
 * thread and loop of its own. Nobody waits for the collector: while it does not answer, one batch is kept
 * and tried again, then given up; what comes meanwhile waits in the queue of spans, and is dropped and
 * counted when that is full.
 *
 * Made, started, stopped and freed on the main thread. */
#ifndef TOKENHOP_ADMIN_TELEMETRY_H
#define TOKENHOP_ADMIN_TELEMETRY_H

#include "tokenhop/config/model.h"
#include "tokenhop/net/worker.h"
#include "tokenhop/observe/metrics.h"
#include "tokenhop/observe/span.h"

/* Spans that wait for the exporter. */
#define TH_TELEMETRY_QUEUE 2048

struct th_telemetry;

/* All of it outlives the exporter. */
struct th_telemetry_options {
    struct th_config *config; /* a reference is taken; it names an otlp_endpoint */
    struct th_spans *spans;
    struct th_metrics *metrics;
    struct th_log *log;
    const struct th_clock *clock; /* NULL: the system's */
};

int th_telemetry_new(const struct th_telemetry_options *options,
                     struct th_telemetry **ret_telemetry) TH_MUST;
int th_telemetry_start(struct th_telemetry *telemetry, struct th_errinfo *reterr) TH_MUST;
/* After the workers have stopped: sends what is left, for 2 s at most, and ends the thread. NULL is
 * fine. */
struct th_telemetry *th_telemetry_free(struct th_telemetry *telemetry);

#endif
