/* The table of operations.
 *
 * The stream's flags speak of TLS, not of the descriptor: `readable` while a receive may find
 * something there or inside OpenSSL (read ahead, so that there may be more than one record);
 * `writable` while no record is held. What the descriptor has told is kept in may_recv.
 *
 * Handshakes run on the worker. Measured with P-256 and a chain of two, the client's side of one
 * takes 1.4 ms of CPU (a third of it OpenSSL 3.0 setting up its decoders for keys, a sixth the
 * signatures), of a resumed one 0.5 ms. Connections are kept and sessions resumed, so that this
 * is seldom; while it lasts the worker's other connections wait. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "tls_private.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/net/address.h"

/* What SSL_write() makes one record of. */
#define RECORD_MAX 16384
/* Receives in a row that may bring tickets, key updates and the like and no data; a server sends
 * two to four tickets. OpenSSL itself goes through what one receive has brought. */
#define CONTROL_MAX 32

static struct th_tls *get(const struct th_stream *stream)
{
    return TH_CAST(struct th_tls, TH_TLS_MAGIC, stream->layer);
}

static void settle_readable(struct th_stream *stream, struct th_tls *tls)
{
    if (tls->may_recv || tls->early != NULL || SSL_has_pending(tls->ssl))
        stream->readable = true;
    else
        th_stream_note_drained(stream, tls->sure);
}

/* --- handshake --- */

static int begin_data(struct th_stream *stream, struct th_tls *tls)
{
    stream->handshaking = false;
    stream->writable = !th_tls_holds(tls);
    settle_readable(stream, tls);
    return 0;
}

static int finish_handshake(struct th_stream *stream, struct th_tls *tls)
{
    const unsigned char *protocol;
    unsigned len;

    if (tls->server != NULL) {
        tls->ticket_due = SSL_version(tls->ssl) >= TLS1_3_VERSION;
        return begin_data(stream, tls);
    }
    SSL_get0_alpn_selected(tls->ssl, &protocol, &len);
    if (len > 0 && !th_str_equal((struct th_str){(const char *)protocol, len}, TH_STR("http/1.1")))
        return th_tls_fail_because(tls, TH_E_ORIGIN_TLS_PROTOCOL,
                                   "the destination chose a protocol that was not offered (ALPN)");
    if (SSL_get_verify_result(tls->ssl) != X509_V_OK)
        return th_tls_fail(tls);
    th_tls_note_verified(tls);
    return begin_data(stream, tls);
}

int th_tls_step(struct th_stream *stream, struct th_tls *tls)
{
    stream->readable = false;
    stream->writable = false;
    tls->starved = false;
    ERR_clear_error();
    int n = SSL_do_handshake(tls->ssl);
    if (n == 1)
        return finish_handshake(stream, tls);
    switch (SSL_get_error(tls->ssl, n)) {
    case SSL_ERROR_WANT_READ:
        if (tls->send_errno != 0) /* an alert would have been read before */
            return th_tls_fail(tls);
        th_stream_note_drained(stream, tls->sure);
        return TH_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        return TH_AGAIN;
    default:
        return th_tls_fail(tls);
    }
}

static bool set_name(SSL *ssl, struct th_tls *tls)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    struct th_address address;

    if (th_address_parse((struct th_str){tls->host, tls->host_len}, tls->port, &address) == 0)
        return X509_VERIFY_PARAM_set1_ip_asc(param, tls->host); /* no SNI: RFC 6066, 3 */
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
                                               X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(param, tls->host, tls->host_len) &&
           SSL_set_tlsext_host_name(ssl, tls->host);
}

static bool make_ssl(struct th_tls *tls)
{
    SSL *ssl = SSL_new(tls->context->ssl);
    BIO *bio = ssl != NULL ? BIO_new(tls->context->bio) : NULL;

    tls->ssl = ssl;
    if (bio == NULL)
        return false;
    BIO_set_data(bio, tls);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_connect_state(ssl);
    /* The data is what sessions are kept by, when they come. */
    return SSL_set_app_data(ssl, tls) == 1 && set_name(ssl, tls);
}

static void offer_session(struct th_tls *tls)
{
    const struct th_worker *worker = tls->stream->worker;
    const struct th_tls_time now = {worker->now_ms, th_clock_wall_ms(worker->clock) / 1000};
    struct th_str host = {tls->host, tls->host_len};
    SSL_SESSION *session =
        th_tls_sessions_take(&tls->context->sessions, host, tls->port, &now, &tls->offered);

    if (session == NULL)
        return;
    (void)SSL_set_session(tls->ssl, session); /* refused: a full handshake */
    SSL_SESSION_free(session);
}

void th_tls_free(struct th_tls *tls)
{
    TH_REQUIRE(tls->below == NULL);
    tls->early = th_chunk_put(&tls->stream->worker->chunks, tls->early);
    SSL_free(tls->ssl);
    th_tls_context_unref(tls->context);
    th_tls_server_unref(tls->server);
    th_buf_fini(&tls->held);
    tls->magic = 0;
    th_free(tls);
}

int th_stream_start_tls(struct th_stream *stream, struct th_tls_context *context,
                        struct th_str host, uint16_t port)
{
    struct th_tls *tls = th_calloc(1, sizeof(*tls) + host.len + 1);

    TH_REQUIRE(stream->ops == &th_stream_tls
                   ? !stream->handshaking
                   : stream->ops == &th_stream_tcp && !stream->readable && !stream->peer_closed);
    if (tls == NULL)
        return TH_E_NOMEM;
    tls->magic = TH_TLS_MAGIC;
    tls->stream = stream;
    tls->context = th_tls_context_ref(context);
    tls->port = port;
    tls->host_len = (uint16_t)host.len;
    memcpy(tls->host, host.ptr, host.len);
    (void)th_tls_flush(tls); /* holds nothing */
    tls->may_recv = stream->readable;
    ERR_clear_error();
    if (!make_ssl(tls) || th_tls_sink(stream, tls) < 0) {
        ERR_clear_error();
        th_tls_free(tls);
        return TH_E_NOMEM;
    }
    offer_session(tls);
    stream->ops = &th_stream_tls;
    stream->layer = tls;
    stream->handshaking = true;
    int error = th_tls_step(stream, tls);
    TH_REQUIRE(error != 0); /* nothing that answers the first message can have been received */
    return error == TH_AGAIN ? 0 : error;
}

/* --- operations --- */

static bool tls_edge(struct th_stream *stream, short what)
{
    struct th_tls *tls = get(stream);

    if (tls->below != NULL)
        what = th_tls_edge_below(tls, what);
    if (what & (EV_READ | EV_CLOSED)) {
        tls->may_recv = true;
        tls->write_needs_read = false;
    }
    if (what & EV_WRITE) {
        if (tls->read_needs_write)
            stream->readable = true;
        tls->read_needs_write = false;
        (void)th_tls_flush(tls);
        if (tls->farewell && !th_tls_holds(tls)) {
            tls->farewell = false;
            (void)th_tls_end_below(tls);
        }
    }
    /* Where sending has failed the next write tells. */
    stream->writable = !th_tls_holds(tls) && !tls->write_needs_read;
    if (stream->broken)
        return true;
    return !stream->handshaking || th_tls_step(stream, tls) != TH_AGAIN;
}

static ssize_t tls_recv(struct th_stream *stream, void *bytes, size_t len)
{
    struct th_tls *tls = get(stream);
    size_t n;

    if (stream->broken)
        return tls->error;
    if (stream->read_ended)
        return 0;
    for (;;) {
        tls->starved = false;
        ERR_clear_error();
        int ok = SSL_read_ex(tls->ssl, bytes, len, &n);
        if (ok == 1) {
            tls->n_control = 0;
            settle_readable(stream, tls);
            return (ssize_t)n;
        }
        switch (SSL_get_error(tls->ssl, ok)) {
        case SSL_ERROR_WANT_READ:
            if (tls->starved) {
                th_stream_note_drained(stream, tls->sure);
                return TH_AGAIN;
            }
            if (++tls->n_control <= CONTROL_MAX)
                continue; /* a ticket, say */
            return th_tls_fail_endless(tls);
        case SSL_ERROR_WANT_WRITE:
            tls->read_needs_write = true;
            stream->readable = false;
            return TH_AGAIN;
        case SSL_ERROR_ZERO_RETURN: /* close_notify */
            stream->read_ended = true;
            return 0;
        default:
            return th_tls_fail(tls);
        }
    }
}

/* The bytes of the next record: in place where one piece fills it or is the last, else copied
 * into `room`, as a head and the beginning of its body are better one record and one packet than
 * two. */
struct record {
    const struct iovec *iov;
    int count;
    size_t skip; /* of the first */
    char room[RECORD_MAX];
};

static size_t next_record(struct record *record, const char **ret_bytes)
{
    size_t len = 0;

    while (record->count > 0 && record->iov->iov_len == record->skip) {
        record->iov++;
        record->count--;
        record->skip = 0;
    }
    if (record->count == 0)
        return 0;
    *ret_bytes = (const char *)record->iov->iov_base + record->skip;
    len = record->iov->iov_len - record->skip;
    if (len >= RECORD_MAX || record->count == 1)
        return len < RECORD_MAX ? len : RECORD_MAX;
    memcpy(record->room, *ret_bytes, len);
    for (int i = 1; i < record->count && len < RECORD_MAX; i++) {
        size_t more = record->iov[i].iov_len;
        if (more > RECORD_MAX - len)
            more = RECORD_MAX - len;
        memcpy(record->room + len, record->iov[i].iov_base, more);
        len += more;
    }
    *ret_bytes = record->room;
    return len;
}

static void advance(struct record *record, size_t n)
{
    while (n > 0) {
        size_t rest = record->iov->iov_len - record->skip;
        if (n < rest) {
            record->skip += n;
            return;
        }
        n -= rest;
        record->iov++;
        record->count--;
        record->skip = 0;
    }
}

/* The ticket of TLS 1.3 waits for the first bytes of an answer and leaves with them: a send and a wake-up of
 * the client less than on its own. Who never gets an answer gets no ticket. */
static void begin_ticket(struct th_tls *tls)
{
    tls->ticket_due = false;
    tls->corked = SSL_new_session_ticket(tls->ssl) == 1;
}

/* To make the ticket OpenSSL has also got itself a buffer for reading, which would stay until the next read.
 * What of a record was not taken yet lies in there, and OpenSSL before 3.0.14 does not look for that itself
 * (CVE-2024-4741). */
static void uncork(struct th_tls *tls)
{
    tls->corked = false;
    (void)th_tls_flush(tls);
    if (!SSL_has_pending(tls->ssl))
        (void)SSL_free_buffers(tls->ssl);
}

static ssize_t fail_write(struct th_stream *stream, struct th_tls *tls)
{
    stream->write_ended = true;
    stream->cut = stream->cut || tls->send_errno != EPIPE;
    return th_error_from_origin_errno(tls->send_errno);
}

static ssize_t tls_writev(struct th_stream *stream, const struct iovec *iov, int count)
{
    struct th_tls *tls = get(stream);
    struct record record;
    const char *bytes;
    size_t used = 0, total = 0, len, n;
    ssize_t result = 0;

    record.iov = iov;
    record.count = count;
    record.skip = 0;
    while (tls->send_errno == 0 && stream->writable && (len = next_record(&record, &bytes)) > 0) {
        if (bytes == record.room && len > used)
            used = len;
        ERR_clear_error();
        if (TH_UNLIKELY(tls->ticket_due))
            begin_ticket(tls);
        int ok = SSL_write_ex(tls->ssl, bytes, len, &n);
        if (TH_UNLIKELY(tls->corked))
            uncork(tls);
        if (ok != 1) {
            int error = SSL_get_error(tls->ssl, ok);
            stream->writable = false;
            tls->write_needs_read = error == SSL_ERROR_WANT_READ;
            if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
                result = th_tls_fail(tls);
            break;
        }
        advance(&record, n);
        total += n;
        stream->writable = !th_tls_holds(tls);
    }
    th_wipe(record.room, used); /* a credential, perhaps */
    if (tls->send_errno != 0)
        return fail_write(stream, tls);
    return total > 0 ? (ssize_t)total : result;
}

static int tls_shutdown_write(struct th_stream *stream)
{
    struct th_tls *tls = get(stream);

    ERR_clear_error();
    if (SSL_shutdown(tls->ssl) < 0 && tls->send_errno == 0)
        ERR_clear_error(); /* the peer's answer is not waited for */
    if (tls->send_errno != 0)
        return th_error_from_origin_errno(tls->send_errno);
    if (!th_tls_holds(tls))
        return th_tls_end_below(tls);
    tls->farewell = true;
    return 0;
}

static void tls_close(struct th_stream *stream)
{
    struct th_tls *tls = get(stream);

    /* Without this the peer takes the end for a cut, and the session is good for no resumption. */
    if (!stream->broken && !stream->handshaking && !stream->write_ended && !th_tls_holds(tls)) {
        ERR_clear_error();
        (void)SSL_shutdown(tls->ssl);
        ERR_clear_error();
    }
    stream->layer = NULL;
    th_tls_close_below(tls,
                       stream->broken && tls->error == 0); /* broken by no error of TLS: a reset */
    th_tls_free(tls);
}

const struct th_stream_ops th_stream_tls = {
    .name = "tls",
    .recv = tls_recv,
    .writev = tls_writev,
    .shutdown_write = tls_shutdown_write,
    .close = tls_close,
    .edge = tls_edge,
};

/* --- questions --- */

int th_stream_tls_error(const struct th_stream *stream, const char **ret_reason)
{
    const struct th_tls *tls = stream->ops == &th_stream_tls ? stream->layer : NULL;

    *ret_reason = tls != NULL ? tls->reason : NULL;
    return tls != NULL ? tls->error : 0;
}

bool th_stream_tls_is_resumed(const struct th_stream *stream)
{
    const struct th_tls *tls = stream->ops == &th_stream_tls ? stream->layer : NULL;

    return tls != NULL && SSL_session_reused(tls->ssl);
}
