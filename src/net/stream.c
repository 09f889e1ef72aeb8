#include "tokenhop/net/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stream_private.h"
#include "worker_private.h"

/* A short receive means that the socket was empty, and the next bytes or the peer's end are an edge
 * of their own. One case breaks that: bytes and a reset that come within one turn of the loop are
 * one event, which libevent 2.1 reports (EPOLLERR) as readable and writable without EV_CLOSED, like
 * any other. The receive takes the bytes, the error stays in the socket, and no edge comes again.
 *
 * To receive once more after every short receive would cost a system call a message. So streams
 * whose last receive was short are listed, and once in CONFIRM_MS they are looked at with one
 * MSG_PEEK; what says EAGAIN then is left alone until its next short receive. */
#define CONFIRM_MS 1000

bool th_stream_note_edge(struct th_stream *stream, short what)
{
    if (what & EV_CLOSED)
        stream->peer_closed = true;
    if (what & (EV_READ | EV_CLOSED))
        stream->readable = true;
    if (what & EV_WRITE)
        stream->writable = true;
    return stream->ops->edge == NULL || stream->ops->edge(stream, what);
}

void th_stream_tell(struct th_stream *stream, short what)
{
    if (th_stream_note_edge(stream, what))
        stream->on_event(stream);
}

static void on_stream(evutil_socket_t fd, short what, void *arg)
{
    struct th_stream *stream = arg;

    worker_awake(stream->worker);
    th_stream_tell(stream, what);
}

int th_stream_init(struct th_stream *stream, struct th_worker *worker, int fd,
                   th_stream_fn *on_event)
{
    *stream = (struct th_stream){
        .ops = &th_stream_tcp,
        .worker = worker,
        .on_event = on_event,
        .fd = fd,
        .writable = true,
    };
    if (event_assign(&stream->event, worker->base, fd,
                     EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST, on_stream, stream) != 0 ||
        event_add(&stream->event, NULL) != 0) {
        close(fd);
        stream->fd = -1;
        return TH_E_NOMEM;
    }
    return 0;
}

void th_stream_note_drained(struct th_stream *stream, bool sure)
{
    struct th_worker_private *inner = stream->worker->private;

    if (stream->peer_closed && !sure)
        return; /* read on until the end */
    stream->readable = false;
    if (sure || th_list_is_linked(&stream->unconfirmed))
        return;
    if (th_list_is_empty(&inner->unconfirmed))
        th_timer_set(&stream->worker->wheel, &inner->confirm, stream->worker->now_ms + CONFIRM_MS);
    th_list_push_back(&inner->unconfirmed, &stream->unconfirmed);
}

static void confirm(struct th_stream *stream)
{
    char byte;
    ssize_t n;

    if (stream->readable || stream->read_ended || stream->broken)
        return;
    n = recv(stream->fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT);
    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
        return; /* an edge tells, or has told */
    if (n < 0)
        stream->cut = true; /* to look has taken the error out of the socket */
    th_stream_tell(stream, EV_CLOSED);
}

void th_stream_confirm_all(struct th_timer *timer)
{
    struct th_worker_private *inner = TH_CONTAINER_OF(timer, struct th_worker_private, confirm);
    struct th_list now;
    struct th_list *item;

    th_list_init(&now);
    th_list_splice_back(&now, &inner->unconfirmed);
    while ((item = th_list_pop_front(&now)) != NULL)
        confirm(TH_LIST_ENTRY(item, struct th_stream, unconfirmed));
}

ssize_t th_stream_recv(struct th_stream *stream, void *bytes, size_t len)
{
    if (!stream->readable || stream->fd < 0)
        return stream->broken || stream->fd < 0 ? TH_E_ORIGIN_CLOSED : TH_AGAIN;
    return stream->ops->recv(stream, bytes, len);
}

ssize_t th_stream_writev(struct th_stream *stream, const struct iovec *iov, int count)
{
    if (stream->broken || stream->write_ended || stream->fd < 0)
        return TH_E_ORIGIN_CLOSED;
    if (!stream->writable)
        return 0;
    return stream->ops->writev(stream, iov, count);
}

ssize_t th_stream_splice_in(struct th_stream *stream, int pipe, size_t len)
{
    if (!stream->readable || stream->fd < 0)
        return stream->broken || stream->fd < 0 ? TH_E_ORIGIN_CLOSED : TH_AGAIN;
    return stream->ops->splice_in != NULL ? stream->ops->splice_in(stream, pipe, len) : TH_E_IO;
}

ssize_t th_stream_splice_out(struct th_stream *stream, int pipe, size_t len)
{
    if (stream->broken || stream->write_ended || stream->fd < 0)
        return TH_E_ORIGIN_CLOSED;
    if (!stream->writable)
        return 0;
    return stream->ops->splice_out != NULL ? stream->ops->splice_out(stream, pipe, len) : TH_E_IO;
}

int th_stream_shutdown_write(struct th_stream *stream)
{
    if (stream->broken || stream->fd < 0)
        return TH_E_ORIGIN_CLOSED;
    if (stream->write_ended)
        return 0;
    stream->write_ended = true;
    return stream->ops->shutdown_write(stream);
}

void th_stream_close(struct th_stream *stream)
{
    if (stream->ops == NULL || stream->fd < 0)
        return;
    stream->ops->close(stream);
    event_del(&stream->event);
    th_list_remove(&stream->unconfirmed);
    close(stream->fd);
    stream->fd = -1;
    stream->readable = false;
    stream->writable = false;
}

void th_stream_reset(struct th_stream *stream)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};

    if (stream->ops == NULL || stream->fd < 0)
        return;
    stream->broken = true; /* a layer says no farewell then */
    (void)setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    th_stream_close(stream);
}

/* What a receive that brought nothing has told (`n` 0 or below, errno). */
static ssize_t tcp_received_none(struct th_stream *stream, ssize_t n)
{
    if (n == 0 && !stream->cut) {
        stream->read_ended = true; /* stays readable: the next receive says so again */
        return 0;
    }
    if (n == 0)
        errno = ECONNRESET;
    if (errno == EAGAIN) {
        th_stream_note_drained(stream, true);
        return TH_AGAIN;
    }
    stream->broken = true;
    stream->readable = false;
    return th_error_from_origin_errno(errno);
}

static ssize_t tcp_recv(struct th_stream *stream, void *bytes, size_t len)
{
    ssize_t n;

    do {
        n = recv(stream->fd, bytes, len, 0);
    } while (TH_UNLIKELY(n < 0 && errno == EINTR));
    if (n == (ssize_t)len)
        return n;
    if (n > 0) {
        th_stream_note_drained(stream, false);
        return n;
    }
    return tcp_received_none(stream, n);
}

/* What a write of less than `total` has told (`n`, errno). */
static ssize_t tcp_wrote_less(struct th_stream *stream, ssize_t n)
{
    if (n >= 0 || errno == EAGAIN) {
        stream->writable = false;
        return n >= 0 ? n : 0;
    }
    /* What the peer sent before it closed may still be there to be read (an early answer), so only
     * writing has ended. But a reset is told once: the receive would find a clean end (EPIPE is no
     * reset: the kernel gives it where the peer's FIN had come before). */
    stream->write_ended = true;
    stream->cut = stream->cut || errno != EPIPE;
    return th_error_from_origin_errno(errno);
}

static ssize_t tcp_writev(struct th_stream *stream, const struct iovec *iov, int count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)iov,
                             .msg_iovlen = (size_t)count};
    size_t total = 0;
    ssize_t n;

    for (int i = 0; i < count; i++)
        total += iov[i].iov_len;
    do {
        n = count == 1 ? send(stream->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL)
                       : sendmsg(stream->fd, &message, MSG_NOSIGNAL);
    } while (TH_UNLIKELY(n < 0 && errno == EINTR));
    return n == (ssize_t)total ? n : tcp_wrote_less(stream, n);
}

/* The kernel, or who confines this process, does not do it for this descriptor. */
static bool is_spliceless(int err)
{
    return err == EINVAL || err == ENOSYS || err == EPERM || err == EOPNOTSUPP || err == ENOMEM;
}

static ssize_t tcp_splice_in(struct th_stream *stream, int pipe, size_t len)
{
    ssize_t n;

    do {
        n = splice(stream->fd, NULL, pipe, NULL, len, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    } while (TH_UNLIKELY(n < 0 && errno == EINTR));
    if (n >
        0) /* a short one may mean that the pipe's slots were full: it says nothing of the socket */
        return n;
    if (n < 0 && is_spliceless(errno))
        return TH_E_IO;
    if (n < 0 && errno == EAGAIN)
        return TH_AGAIN; /* the socket may hold more, beyond urgent data */
    return tcp_received_none(stream, n);
}

/* No SPLICE_F_MORE: the kernel would hold the last bytes back for those to come. For the same
 * reason never a larger `len` than there is in the pipe. */
static ssize_t tcp_splice_out(struct th_stream *stream, int pipe, size_t len)
{
    ssize_t n;

    do {
        n = splice(pipe, NULL, stream->fd, NULL, len, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    } while (TH_UNLIKELY(n < 0 && errno == EINTR));
    if (n < 0 && is_spliceless(errno))
        return TH_E_IO;
    return n == (ssize_t)len ? n : tcp_wrote_less(stream, n);
}

static int tcp_shutdown_write(struct th_stream *stream)
{
    return shutdown(stream->fd, SHUT_WR) == 0 ? 0 : th_error_from_origin_errno(errno);
}

static void tcp_close(struct th_stream *stream) {}

const struct th_stream_ops th_stream_tcp = {
    .name = "tcp",
    .recv = tcp_recv,
    .writev = tcp_writev,
    .shutdown_write = tcp_shutdown_write,
    .close = tcp_close,
    .splice_in = tcp_splice_in,
    .splice_out = tcp_splice_out,
};
