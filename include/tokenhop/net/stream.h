/* A stream: one connected socket of a worker, TCP or TLS behind one table of operations, on a plain
 * libevent event that is registered once for both directions, edge-triggered. Nothing is buffered
 * here (but inside OpenSSL): whoever owns the stream receives when it has room and writes when it
 * has bytes, so back-pressure is simply not to receive.
 *
 *   on an edge:  the stream notes readable / writable, then calls `on_event` once.
 *   owner:       while ((n = th_stream_recv(s, room, size)) > 0) use it;
 *                n == TH_AGAIN: an edge will come;   n == 0: the peer has ended its side;
 *                n < 0 otherwise: the connection is broken.
 *
 * A receive that came back short needs no second call to learn of EAGAIN: the stream remembers that
 * it is drained, unless the kernel has said that the peer closed. TH_AGAIN then costs no system
 * call.
 *
 * Embedded in its owner (init/close). The worker's thread only. */
#ifndef TOKENHOP_NET_STREAM_H
#define TOKENHOP_NET_STREAM_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "tokenhop/base/error.h"
#include "tokenhop/base/list.h"
#include "tokenhop/net/worker.h"

struct th_stream;

struct th_stream_ops {
    const char *name; /* "tcp", "tls" */
    ssize_t (*recv)(struct th_stream *stream, void *bytes, size_t len);
    ssize_t (*writev)(struct th_stream *stream, const struct iovec *iov, int count);
    int (*shutdown_write)(struct th_stream *stream);
    /* Frees what the layer holds; the descriptor is closed by th_stream_close(). */
    void (*close)(struct th_stream *stream);
    /* The descriptor has told of EV_READ, EV_WRITE or EV_CLOSED, and the flags are set. False when
     * that is the layer's own affair, and the owner need not hear of it. NULL: all of it is the
     * owner's. */
    bool (*edge)(struct th_stream *stream, short what);
    /* Move at most `len` bytes between the descriptor and a pipe's end, past this process, with the
     * results of recv and writev; TH_E_IO, and nothing moved: not with this descriptor. NULL where
     * there is no such way (TLS). For pipe.h. */
    ssize_t (*splice_in)(struct th_stream *stream, int pipe, size_t len);
    ssize_t (*splice_out)(struct th_stream *stream, int pipe, size_t len);
};

typedef void th_stream_fn(struct th_stream *stream);

struct th_stream {
    struct event event;
    const struct th_stream_ops *ops;
    struct th_worker *worker;
    th_stream_fn *on_event;
    struct th_list unconfirmed; /* private: see stream.c */
    void *layer;                /* of the ops: the TLS session */
    int fd;                     /* -1 when closed */
    bool readable : 1;          /* a receive may find something */
    bool writable : 1;          /* a write may take something */
    bool peer_closed : 1;       /* the kernel has said so: read on until 0 */
    bool broken : 1;            /* a call has failed for good */
    bool read_ended : 1;        /* 0 was received */
    bool cut : 1;               /* a reset was met by other than a receive */
    bool write_ended : 1;       /* nothing more can be written: shut down, or refused by the peer */
    bool handshaking : 1; /* of TLS: nothing can be received or written until it is done (tls.h) */
};

/* Takes over the connected, non-blocking descriptor (also when it fails: then it is closed) and
 * registers it. Starts writable; what has come already is an edge in the next turn of the loop (a
 * receive at once would often cost a system call to learn of nothing). */
int th_stream_init(struct th_stream *stream, struct th_worker *worker, int fd,
                   th_stream_fn *on_event) TH_MUST;
/* > 0 bytes; 0 end; TH_AGAIN; TH_E_ORIGIN_CLOSED (reset) and the like. len > 0. */
ssize_t th_stream_recv(struct th_stream *stream, void *bytes, size_t len) TH_MUST;
/* >= 0 bytes taken (maybe fewer than given: then not writable until the next edge), or an error. */
ssize_t th_stream_writev(struct th_stream *stream, const struct iovec *iov, int count) TH_MUST;
/* Passes on a half-close once all has been written. */
int th_stream_shutdown_write(struct th_stream *stream) TH_MUST;
/* No callback comes after this. Safe inside the callback. Twice is fine. */
void th_stream_close(struct th_stream *stream);
/* Closes so that the peer sees a reset, never a clean end: a response cut short. */
void th_stream_reset(struct th_stream *stream);
static inline bool th_stream_is_open(const struct th_stream *stream)
{
    return stream->fd >= 0;
}

#endif
