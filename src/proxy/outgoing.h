/* Bytes on their way out to one stream: a few pieces, written with one writev. The pieces are
 * borrowed; what lies in the worker's scratch is copied when it could not be written at once. */
#ifndef TOKENHOP_PROXY_OUTGOING_H
#define TOKENHOP_PROXY_OUTGOING_H

#include "tokenhop/net/stream.h"

#define TH_OUTGOING_PIECES 6

struct th_outgoing {
    struct iovec pieces[TH_OUTGOING_PIECES];
    uint8_t first;
    uint8_t end;
    struct th_chunk *kept; /* owns the copy */
};

static inline bool th_outgoing_is_empty(const struct th_outgoing *out)
{
    return out->first == out->end;
}

/* len 0 adds nothing. There is room for TH_OUTGOING_PIECES since it was last empty. */
void th_outgoing_add(struct th_outgoing *out, const void *bytes, size_t len);

/* Writes what it can: 0 when all has gone, TH_AGAIN when the stream takes no more (what was in
 * the scratch is kept then), or the error. Adds what has gone to *count. */
int th_outgoing_write(struct th_outgoing *out, struct th_stream *stream, uint64_t *count) TH_MUST;
void th_outgoing_clear(struct th_outgoing *out, struct th_worker *worker);

#endif
