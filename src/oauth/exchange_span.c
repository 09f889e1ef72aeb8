/* The span of one request to a token endpoint, for a collector. */
#include "exchange_run.h"
#include "tokenhop/observe/span.h"

void th_exchange_tell_leg(struct th_exchange *ex, int error, int64_t duration_us)
{
    const struct th_exchange_leg_report *report = &ex->result.legs[th_exchange_report_at(ex)];
    struct th_span span = {
        .kind = TH_SPAN_LEG,
        .start_wall_us = th_clock_wall_ms(ex->worker->clock) * 1000 - duration_us,
        .duration_us = duration_us,
        .status = error == 0 ? report->status : 0,
        .error = error,
    };

    if (!th_spans_wants(ex->worker->spans, &ex->trace))
        return;
    th_span_begin_below(&ex->trace, &span.trace);
    TH_SPAN_SET(span.name, th_str_of(report->name));
    /* Without the query: it could hold a secret. */
    const char *query =
        report->endpoint.len > 0 ? memchr(report->endpoint.ptr, '?', report->endpoint.len) : NULL;
    TH_SPAN_SET(span.path, ((struct th_str){report->endpoint.ptr,
                                            query != NULL ? (size_t)(query - report->endpoint.ptr)
                                                          : report->endpoint.len}));
    TH_SPAN_SET(span.agent, ex->agent->name);
    TH_SPAN_SET(span.connection, ex->connection->name);
    th_spans_put(ex->worker->spans, &span);
}
