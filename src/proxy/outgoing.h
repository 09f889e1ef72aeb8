/* Bytes on their way out to one stream: a few pieces, written with one writev. The pieces are
 * borrowed; what lies in the worker's scratch is copied when it could not be written at once. Or,
 * once these have gone, a pipe: bytes of a large body on their way past this process. */
#ifndef TOKENHOP_PROXY_OUTGOING_H
#define TOKENHOP_PROXY_OUTGOING_H

#include "tokenhop/net/pipe.h"
#include "tokenhop/net/stream.h"

#define TH_OUTGOING_PIECES 6

struct th_outgoing {
    struct iovec pieces[TH_OUTGOING_PIECES];
    uint8_t first;
    uint8_t end;
    struct th_chunk *kept; /* owns the copy */
    struct th_pipe *pipe;  /* holds bytes; NULL otherwise */
};

static inline bool th_outgoing_is_empty(const struct th_outgoing *out)
{
    return out->first == out->end && out->pipe == NULL;
}

/* len 0 adds nothing. There is room for TH_OUTGOING_PIECES since it was last empty. */
void th_outgoing_add(struct th_outgoing *out, const void *bytes, size_t len);

/* Receives from the stream into a pipe, at most `max` bytes, when it is empty: > 0 bytes, which are
 * on their way out now; 0, TH_AGAIN, an error as th_stream_recv(); TH_OUTGOING_COPY: there is no
 * pipe now, or none for this stream. */
#define TH_OUTGOING_COPY (-1001)
ssize_t th_outgoing_fill(struct th_outgoing *out, struct th_stream *from, size_t max) TH_MUST;

/* Writes what it can: 0 when all has gone, TH_AGAIN when the stream takes no more (what was in
 * the scratch is kept then), or the error. Adds what has gone to *count. */
int th_outgoing_write(struct th_outgoing *out, struct th_stream *stream, uint64_t *count) TH_MUST;
void th_outgoing_clear(struct th_outgoing *out, struct th_worker *worker);

#endif
