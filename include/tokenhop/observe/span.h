/* Spans for a collector: hops and the legs of their exchanges hand theirs over when they end, and an
 * exporter on another thread takes them. A bounded queue lies between: when it is full, what comes is
 * dropped and counted, as nobody waits for a collector.
 *
 * A span is a value of fixed size; texts that do not fit are cut. It holds what the access log holds: no
 * query, token or key; a subject is its fingerprint. */
#ifndef TOKENHOP_OBSERVE_SPAN_H
#define TOKENHOP_OBSERVE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tokenhop/base/error.h"
#include "tokenhop/base/str.h"
#include "tokenhop/observe/access.h"
#include "tokenhop/observe/trace.h"

enum th_span_kind {
    TH_SPAN_HOP, /* of the request as it came */
    TH_SPAN_LEG  /* one request to a token endpoint */
};

struct th_span {
    enum th_span_kind kind;
    struct th_trace trace; /* span: its own id; parent: may be empty */
    int64_t start_wall_us, duration_us;
    int status; /* HTTP; 0: no answer */
    int error;  /* TH_E_*; 0: none */
    enum th_cache_state cache;
    uint16_t port; /* of the host */
    char name[64]; /* of a leg: "id_jag" */
    char method[16];
    char scheme[8];
    char host[128];
    char path[256]; /* without the query; of a leg: the endpoint's URL */
    char listener[64], agent[64], connection[64];
    char client[64];  /* address and port */
    char subject[16]; /* fingerprint */
};

/* Copies, cut where it is too long. */
void th_span_set_text(char *room, size_t size, struct th_str text);
#define TH_SPAN_SET(field, text) th_span_set_text((field), sizeof(field), (text))

struct th_spans;

/* `max` spans at most wait. `sample_percent` of the traces that begin here are sampled. */
int th_spans_new(size_t max, unsigned sample_percent, struct th_spans **ret_spans) TH_MUST;
struct th_spans *th_spans_free(struct th_spans *spans); /* NULL is fine */

/* Decides whether a trace that begins here (it has no parent) is sampled, and notes it in its flags, which
 * go on to the destination. Any thread. NULL spans: it is not. */
void th_spans_sample(const struct th_spans *spans, struct th_trace *trace);
/* Whether spans of this trace are wanted. */
static inline bool th_spans_wants(const struct th_spans *spans, const struct th_trace *trace)
{
    return spans != NULL && (trace->flags & 1) != 0;
}
/* An id of its own for a span below `parent`, of the same trace. */
void th_span_begin_below(const struct th_trace *parent, struct th_trace *ret_trace);

/* Any thread; copies. */
void th_spans_put(struct th_spans *spans, const struct th_span *span);
/* Moves up to `max` of the oldest into `ret_spans`; returns how many. One thread. */
size_t th_spans_take(struct th_spans *spans, struct th_span *ret_spans, size_t max);
uint64_t th_spans_dropped(const struct th_spans *spans); /* since start; any thread */

#endif
