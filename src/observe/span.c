#include "tokenhop/observe/span.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"

struct th_spans {
    pthread_mutex_t lock; /* a leaf: of the ring */
    size_t max, first, count;
    unsigned sample_percent;
    atomic_uint_least64_t n_dropped;
    struct th_span ring[];
};

int th_spans_new(size_t max, unsigned sample_percent, struct th_spans **ret_spans)
{
    struct th_spans *spans = NULL;
    size_t size;

    if (!__builtin_mul_overflow(max, sizeof(struct th_span), &size) &&
        !__builtin_add_overflow(size, sizeof *spans, &size))
        spans = th_calloc(1, size);
    if (spans == NULL)
        return TH_E_NOMEM;
    spans->max = max;
    spans->sample_percent = sample_percent;
    TH_REQUIRE(pthread_mutex_init(&spans->lock, NULL) == 0);
    *ret_spans = spans;
    return 0;
}

struct th_spans *th_spans_free(struct th_spans *spans)
{
    if (spans != NULL) {
        pthread_mutex_destroy(&spans->lock);
        th_free(spans);
    }
    return NULL;
}

void th_span_set_text(char *room, size_t size, struct th_str text)
{
    size_t len = text.len < size ? text.len : size - 1;
    if (len > 0)
        memcpy(room, text.ptr, len);
    room[len] = '\0';
}

/* By the trace's own id, which is random. */
static unsigned percent_of(const struct th_trace *trace)
{
    unsigned number = 0;
    for (size_t i = TH_TRACE_ID_LEN - 7; i < TH_TRACE_ID_LEN; i++) {
        char c = trace->id[i];
        number = number << 4 | (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return number % 100;
}

void th_spans_sample(const struct th_spans *spans, struct th_trace *trace)
{
    if (spans != NULL && trace->parent[0] == '\0' && percent_of(trace) < spans->sample_percent)
        trace->flags |= 1;
}

void th_span_begin_below(const struct th_trace *parent, struct th_trace *ret_trace)
{
    struct th_trace fresh;
    (void)th_trace_start(TH_STR_NONE, &fresh);
    *ret_trace = *parent;
    memcpy(ret_trace->parent, parent->span, sizeof ret_trace->parent);
    memcpy(ret_trace->span, fresh.span, sizeof ret_trace->span);
}

void th_spans_put(struct th_spans *spans, const struct th_span *span)
{
    pthread_mutex_lock(&spans->lock);
    bool full = spans->count == spans->max;
    if (!full) {
        spans->ring[(spans->first + spans->count) % spans->max] = *span;
        spans->count++;
    }
    pthread_mutex_unlock(&spans->lock);
    if (full)
        atomic_fetch_add_explicit(&spans->n_dropped, 1, memory_order_relaxed);
}

size_t th_spans_take(struct th_spans *spans, struct th_span *ret_spans, size_t max)
{
    size_t n = 0;
    pthread_mutex_lock(&spans->lock);
    for (; n < max && spans->count > 0; n++) {
        ret_spans[n] = spans->ring[spans->first];
        spans->first = (spans->first + 1) % spans->max;
        spans->count--;
    }
    pthread_mutex_unlock(&spans->lock);
    return n;
}

uint64_t th_spans_dropped(const struct th_spans *spans)
{
    return atomic_load_explicit(&spans->n_dropped, memory_order_relaxed);
}
