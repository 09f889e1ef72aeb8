/* For the other tables of operations: TLS reads and writes the descriptor itself. */
#ifndef TH_NET_STREAM_PRIVATE_H
#define TH_NET_STREAM_PRIVATE_H

#include "tokenhop/net/stream.h"

extern const struct th_stream_ops th_stream_tcp;
extern const struct th_stream_ops th_stream_tls;

/* Notes what a receive on the descriptor has told: it came back short or empty-handed. `sure` when
 * it said EAGAIN. */
void th_stream_note_drained(struct th_stream *stream, bool sure);

/* What the descriptor has told goes into the flags and to the layer; whether the owner is to hear of it. */
bool th_stream_note_edge(struct th_stream *stream, short what);
/* The same, and the owner hears of it. */
void th_stream_tell(struct th_stream *stream, short what);

/* As th_stream_recv() and th_stream_writev(), from or to a pipe. TH_E_IO where that cannot be. */
ssize_t th_stream_splice_in(struct th_stream *stream, int pipe, size_t len);
ssize_t th_stream_splice_out(struct th_stream *stream, int pipe, size_t len);

#endif
