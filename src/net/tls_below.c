/* TLS inside of TLS (a CONNECT through a proxy that is itself spoken to by TLS). The layer that a stream has
 * goes below: it becomes a stream of its own, on the same descriptor, of the very operations it had, and the
 * new layer receives and writes through it. Only the stream on top is registered with the loop and known to
 * an owner; its edges are passed down, and what they have come to down there comes back up. */
#include <errno.h>
#include <sys/socket.h>

#include "tls_private.h"
#include "tokenhop/base/mem.h"

/* Found by who looks after streams whose last receive was short (stream.c): the edge begins at the top. */
static void on_below(struct th_stream *stream)
{
    struct th_tls_below *below = TH_CONTAINER_OF(stream, struct th_tls_below, stream);

    th_stream_tell(below->top, EV_CLOSED);
}

/* The list knows a stream by its place. One that is readable by now needs not be there. */
static void take_over_list(struct th_stream *below, struct th_stream *stream)
{
    if (th_list_is_linked(&stream->unconfirmed) && !stream->readable)
        th_stream_note_drained(below, false);
    th_list_remove(&stream->unconfirmed);
}

int th_tls_sink(struct th_stream *stream, struct th_tls *tls)
{
    struct th_tls *outer = stream->layer;
    struct th_tls_below *below;

    if (stream->ops != &th_stream_tls)
        return 0;
    below = th_calloc(1, sizeof(*below));
    if (below == NULL)
        return TH_E_NOMEM;
    below->top = stream;
    below->stream = (struct th_stream){
        .ops = stream->ops,
        .worker = stream->worker,
        .on_event = on_below,
        .layer = outer,
        .fd = stream->fd,
        .readable = stream->readable,
        .writable = stream->writable,
        .peer_closed = stream->peer_closed,
        .broken = stream->broken,
        .read_ended = stream->read_ended,
        .cut = stream->cut,
        .write_ended = stream->write_ended,
    };
    outer->stream = &below->stream;
    if (outer->below != NULL)
        outer->below->top = &below->stream;
    take_over_list(&below->stream, stream);
    tls->below = below;
    return 0;
}

short th_tls_edge_below(struct th_tls *tls, short what)
{
    struct th_stream *below = &tls->below->stream;
    short up = 0;

    (void)th_stream_note_edge(below, what);
    if (below->readable || below->broken || below->read_ended)
        up |= EV_READ;
    if (below->writable || below->broken || below->write_ended)
        up |= EV_WRITE;
    return up;
}

int th_tls_end_below(struct th_tls *tls)
{
    if (tls->below != NULL)
        return th_stream_shutdown_write(&tls->below->stream);
    return shutdown(tls->stream->fd, SHUT_WR) == 0 ? 0 : th_error_from_origin_errno(errno);
}

void th_tls_close_below(struct th_tls *tls, bool silent)
{
    if (tls->below == NULL)
        return;
    tls->below->stream.broken |= silent;
    tls->below->stream.ops->close(&tls->below->stream);
    th_list_remove(&tls->below->stream.unconfirmed);
    th_free(tls->below);
    tls->below = NULL;
}
