/* Between OpenSSL and the descriptor. Not OpenSSL's own socket BIO, for three reasons: a receive
 * that came back short needs no second one to learn of EAGAIN (stream.c); writes need
 * MSG_NOSIGNAL; and a record that the kernel takes in part is held here, so that SSL_write()
 * never has to be repeated with the same bytes: what th_stream_writev() says is taken is taken. */
#include <errno.h>
#include <sys/socket.h>

#include "tls_private.h"

/* A record or two, and what a handshake or key update adds. Nothing is written while a record is
 * held, so that it is not reached by any data, only by a peer that makes OpenSSL answer and
 * reads none of it. */
#define HELD_MAX ((size_t)64 * 1024)

static ssize_t send_below(struct th_tls *tls, const char *bytes, size_t len)
{
    struct th_stream *below = &tls->below->stream;
    struct iovec iov = {(void *)(uintptr_t)bytes, len};
    ssize_t n = th_stream_writev(below, &iov, 1);

    if (n < 0)
        tls->send_errno = below->cut || below->broken ? ECONNRESET : EPIPE;
    return n < 0 ? -1 : n;
}

static ssize_t send_some(struct th_tls *tls, const char *bytes, size_t len)
{
    ssize_t n;

    if (tls->below != NULL)
        return send_below(tls, bytes, len);
    do {
        n = send(tls->stream->fd, bytes, len, MSG_NOSIGNAL);
    } while (TH_UNLIKELY(n < 0 && errno == EINTR));
    if (n >= 0 || errno == EAGAIN)
        return n >= 0 ? n : 0;
    tls->send_errno = errno;
    return -1;
}

bool th_tls_flush(struct th_tls *tls)
{
    while (tls->send_errno == 0 && th_tls_holds(tls)) {
        size_t len = tls->held.len - tls->held_sent;
        ssize_t n = send_some(tls, tls->held.ptr + tls->held_sent, len);
        if (n < 0)
            break;
        tls->held_sent += (size_t)n;
        if ((size_t)n < len)
            return false;
    }
    th_buf_fini(&tls->held); /* an idle connection holds no memory for it */
    th_buf_init(&tls->held, HELD_MAX);
    tls->held_sent = 0;
    return tls->send_errno == 0;
}

/* What the peer does not take any more is thrown away as if it had: what it sent before may
 * still be read, and OpenSSL forbids that after a write has failed. The stream looks at
 * send_errno after each call. */
static int bio_write(BIO *bio, const char *bytes, int len)
{
    struct th_tls *tls = BIO_get_data(bio);
    ssize_t n = 0;

    BIO_clear_retry_flags(bio);
    if (tls->send_errno != 0 || len <= 0)
        return len;
    if (!th_tls_holds(tls) && !tls->corked)
        n = send_some(tls, bytes, (size_t)len);
    if (n < 0 || n == len)
        return len;
    if (tls->held.len + (size_t)len > HELD_MAX) { /* only where nothing of it was sent */
        BIO_set_retry_write(bio);
        return -1;
    }
    th_buf_add(&tls->held, bytes + n, (size_t)(len - n));
    if (tls->held.failed) {
        tls->send_errno = ENOMEM;
        (void)th_tls_flush(tls); /* lets go of it */
    }
    return len;
}

static int read_early(struct th_tls *tls, char *bytes, int len)
{
    size_t n = th_chunk_len(tls->early);

    if (n > (size_t)len)
        n = (size_t)len;
    memcpy(bytes, th_chunk_head(tls->early), n);
    tls->early->start += (uint32_t)n;
    if (th_chunk_len(tls->early) == 0)
        tls->early = th_chunk_put(&tls->stream->worker->chunks, tls->early);
    return (int)n;
}

/* Whether an edge may be missing is for the stream below to look after: what it says here is sure. */
static ssize_t recv_below(struct th_tls *tls, char *bytes, size_t len)
{
    struct th_stream *below = &tls->below->stream;
    ssize_t n = th_stream_recv(below, bytes, len);

    tls->may_recv = below->readable;
    tls->sure = true;
    if (n < 0)
        errno = n == TH_AGAIN ? EAGAIN : ECONNRESET;
    return n < 0 ? -1 : n;
}

static ssize_t recv_some(struct th_tls *tls, char *bytes, size_t len)
{
    ssize_t n;

    if (tls->below != NULL)
        return recv_below(tls, bytes, len);
    do {
        n = recv(tls->stream->fd, bytes, len, 0);
    } while (TH_UNLIKELY(n < 0 && errno == EINTR));
    if (n > 0 && (size_t)n < len && !tls->stream->peer_closed) {
        tls->may_recv = false;
        tls->sure = false;
    }
    return n;
}

static int bio_read(BIO *bio, char *bytes, int len)
{
    struct th_tls *tls = BIO_get_data(bio);
    ssize_t n;

    BIO_clear_retry_flags(bio);
    if (tls->early != NULL && len > 0)
        return read_early(tls, bytes, len);
    if (!tls->may_recv) {
        tls->starved = true;
        BIO_set_retry_read(bio);
        return -1;
    }
    n = recv_some(tls, bytes, (size_t)len);
    if (n > 0)
        return (int)n;
    if (n == 0) {
        tls->ended = true;
        return 0;
    }
    if (errno == EAGAIN) {
        tls->may_recv = false;
        tls->sure = true;
        tls->starved = true;
        BIO_set_retry_read(bio);
        return -1;
    }
    tls->recv_errno = errno;
    return -1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *arg)
{
    const struct th_tls *tls = BIO_get_data(bio);

    if (command == BIO_CTRL_EOF)
        return tls != NULL && tls->ended;
    return command == BIO_CTRL_FLUSH; /* nothing else is known: no kernel TLS, no peeking */
}

static int bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

BIO_METHOD *th_tls_bio_method_new(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "tokenhop stream");

    if (method == NULL)
        return NULL;
    if (BIO_meth_set_write(method, bio_write) && BIO_meth_set_read(method, bio_read) &&
        BIO_meth_set_ctrl(method, bio_ctrl) && BIO_meth_set_create(method, bio_create))
        return method;
    BIO_meth_free(method);
    return NULL;
}
