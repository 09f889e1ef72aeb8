/* What comes before the first request in a served tunnel: the first bytes tell who speaks (R20). A TLS
 * record of a client that means a connection's host is intercepted: its first message must name the
 * tunnel's own host, a certificate is got for it, and TLS ends here (R19). */
#include <string.h>

#include "tunnel.h"

#define TLS_RECORD 0x16 /* ContentType of a ClientHello's record (RFC 8446, 5.1) */

static const char no_trust[] =
    "let the client trust interception.cert_file: NODE_EXTRA_CA_CERTS, SSL_CERT_FILE, "
    "REQUESTS_CA_BUNDLE, curl --cacert (tokenhop ca show); or call http:// URLs";

static struct th_proxy_desk *desk_of(const struct th_session *session)
{
    return session->listener->desk;
}

static void set_timer(struct th_session *session)
{
    struct th_proxy_desk *desk = desk_of(session);

    if (session->tunnel->timed)
        return;
    session->tunnel->timed = true;
    th_timer_set(&desk->worker->wheel, &session->timer,
                 desk->worker->now_ms + th_desk_config(desk)->timeouts.head_ms);
}

/* More bytes behind those that are there: > 0, 0 none now, < 0 the client has gone, or there is no room. */
static ssize_t receive(struct th_session *session)
{
    struct th_worker *worker = desk_of(session)->worker;

    if (session->in == NULL && (session->in = th_chunk_get(&worker->chunks)) == NULL)
        return TH_E_NOMEM;
    struct th_chunk *in = session->in;
    th_chunk_compact(in);
    if (th_chunk_room(in) == 0)
        return TH_E_BAD_REQUEST;
    ssize_t n = th_stream_recv(&session->stream, th_chunk_tail(in), th_chunk_room(in));
    if (n > 0)
        in->end += (uint32_t)n;
    else if (th_chunk_len(in) == 0)
        session->in = th_chunk_put(&worker->chunks, in);
    if (n == TH_AGAIN)
        return 0;
    return n != 0 ? n : TH_E_CANCELLED;
}

static enum th_intercept_step leave(struct th_session *session)
{
    th_session_close(session);
    return TH_INTERCEPT_WAIT;
}

/* --- refusals --- */

static void log_refusal(struct th_session *session, const char *reason, struct th_str name)
{
    struct th_proxy_desk *desk = desk_of(session);
    const struct th_tunnel *tunnel = session->tunnel;

    th_metrics_count(desk->metrics, TH_METRIC_TLS_CLIENT_FAILED);
    TH_LOG(desk->worker->log, TH_LEVEL_WARN, "intercept.refused",
           "TLS with a client was refused before it began",
           TH_LOG_STR("host", th_tunnel_host(tunnel)), TH_LOG_UINT("port", tunnel->port),
           TH_LOG_TEXT("listener", session->listener->name), TH_LOG_STR("asked_for", name),
           TH_LOG_TEXT("reason", reason));
}

/* Before TLS has begun on our side an alert goes in clear (RFC 8446, 6). */
enum th_intercept_step th_intercept_refuse(struct th_session *session, uint8_t alert,
                                           const char *reason, struct th_str name)
{
    uint8_t record[] = {21, 3, 3, 0, 2, 2, alert};
    struct iovec iov = {record, sizeof record};

    log_refusal(session, reason, name);
    session->closing = true;
    return th_stream_writev(&session->stream, &iov, 1) == (ssize_t)sizeof record
               ? TH_INTERCEPT_REFUSED
               : leave(session);
}

/* In HTTP/2's own words: SETTINGS, and GOAWAY with HTTP_1_1_REQUIRED (RFC 9113, 6.5, 6.8, 7). */
static enum th_intercept_step refuse_http2(struct th_session *session)
{
    static const char frames[] = "\0\0\0\4\0\0\0\0\0"
                                 "\0\0\43\7\0\0\0\0\0"
                                 "\0\0\0\0"
                                 "\0\0\0\15"
                                 "HTTP/1.1 is spoken in here.";
    struct iovec iov = {(void *)(uintptr_t)frames, sizeof frames - 1};
    struct th_proxy_desk *desk = desk_of(session);

    TH_LOG(desk->worker->log, TH_LEVEL_WARN, "tunnel.http2",
           "HTTP/2 without TLS came through a tunnel, which is not served",
           TH_LOG_STR("host", th_tunnel_host(session->tunnel)));
    session->closing = true;
    return th_stream_writev(&session->stream, &iov, 1) == (ssize_t)(sizeof frames - 1)
               ? TH_INTERCEPT_REFUSED
               : leave(session);
}

/* --- the first message --- */

/* RFC 6066, 3: an address is no name, though some send it as one. */
static bool names_tunnel(const struct th_hello *hello, const struct th_tunnel *tunnel, bool literal)
{
    if (!hello->has_name)
        return literal;
    return th_str_equal_nocase((struct th_str){hello->name, hello->name_len},
                               th_tunnel_host(tunnel));
}

static bool is_literal(const struct th_tunnel *tunnel)
{
    struct th_address address;

    return th_address_parse(th_tunnel_host(tunnel), tunnel->port, &address) == 0;
}

static void on_leaf(struct th_leaf_waiter *waiter, int error, struct th_leaf *leaf)
{
    struct th_tunnel *tunnel = TH_CONTAINER_OF(waiter, struct th_tunnel, waiter);
    struct th_session *session = tunnel->session;

    tunnel->leaf = leaf;
    if (leaf == NULL) { /* the tunnel ends with that where the client has left */
        (void)th_intercept_refuse(session, TH_ALERT_INTERNAL_ERROR,
                                  error == TH_E_CONFIG ? "the interception authority has expired"
                                                       : "a certificate could not be made",
                                  TH_STR_NONE);
    }
    th_session_run(session);
}

static enum th_intercept_step got_hello(struct th_session *session, const struct th_hello *hello)
{
    struct th_tunnel *tunnel = session->tunnel;
    struct th_str name = {hello->name, hello->name_len};

    if (tunnel->redirected)
        return th_original_got_hello(session, hello);
    if (!names_tunnel(hello, tunnel, is_literal(tunnel)))
        return th_intercept_refuse(session, TH_ALERT_UNRECOGNIZED_NAME,
                                   hello->has_name ? "the server name is not the one of the CONNECT"
                                                   : "no server name (SNI) was sent",
                                   name);
    tunnel->stage = TH_TUNNEL_NAMED;
    return TH_INTERCEPT_OPEN;
}

static enum th_intercept_step get_leaf(struct th_session *session)
{
    struct th_tunnel *tunnel = session->tunnel;

    tunnel->stage = TH_TUNNEL_LEAF;
    int error = th_leaf_get(tunnel->interceptor, desk_of(session)->worker, th_tunnel_host(tunnel),
                            &tunnel->waiter, on_leaf, &tunnel->leaf);
    if (error == 0 || error == TH_AGAIN)
        return error == 0 ? TH_INTERCEPT_OPEN : TH_INTERCEPT_WAIT;
    return th_intercept_refuse(session, TH_ALERT_INTERNAL_ERROR,
                               error == TH_E_CONFIG ? "the interception authority has expired"
                                                    : "a certificate could not be made",
                               TH_STR_NONE);
}

static enum th_intercept_step read_hello(struct th_session *session)
{
    struct th_hello hello;

    for (;;) {
        int error = th_hello_parse(th_chunk_head(session->in), th_chunk_len(session->in), &hello);
        if (error == 0)
            return got_hello(session, &hello);
        if (error != TH_AGAIN)
            return th_intercept_refuse(session, TH_ALERT_DECODE_ERROR,
                                       "the first TLS message is malformed", TH_STR_NONE);
        ssize_t n = receive(session);
        if (n == 0)
            return TH_INTERCEPT_WAIT;
        if (n < 0)
            return leave(session);
    }
}

/* --- the handshake --- */

static enum th_intercept_step fail(struct th_session *session, const char *reason)
{
    struct th_proxy_desk *desk = desk_of(session);
    int alert = th_stream_tls_alert(&session->stream);
    bool untrusted = alert == TH_ALERT_UNKNOWN_CA || alert == TH_ALERT_BAD_CERTIFICATE ||
                     alert == TH_ALERT_CERTIFICATE_UNKNOWN;

    th_metrics_count(desk->metrics, TH_METRIC_TLS_CLIENT_FAILED);
    if (untrusted)
        th_metrics_count(desk->metrics, TH_METRIC_TLS_CLIENT_UNTRUSTED);
    TH_LOG(desk->worker->log, TH_LEVEL_WARN, "intercept.failed", "TLS with a client failed",
           TH_LOG_STR("host", th_tunnel_host(session->tunnel)),
           TH_LOG_TEXT("listener", session->listener->name), TH_LOG_INT("alert", alert),
           TH_LOG_TEXT("reason", reason), TH_LOG_TEXT("mend", untrusted ? no_trust : NULL));
    return leave(session);
}

static enum th_intercept_step begin_handshake(struct th_session *session)
{
    struct th_tunnel *tunnel = session->tunnel;
    struct th_proxy_desk *desk = desk_of(session);
    struct th_chunk *received = session->in;
    const char *reason = NULL;

    if (tunnel->leaf == NULL)
        return TH_INTERCEPT_WAIT;
    if (th_leaf_is_new(tunnel->leaf))
        th_metrics_count(desk->metrics, TH_METRIC_LEAVES_MINTED);
    session->in = NULL;
    tunnel->stage = TH_TUNNEL_HANDSHAKE;
    int error = th_stream_accept_tls(&session->stream, th_interceptor_tls(tunnel->interceptor),
                                     th_leaf_identity(tunnel->leaf), received);
    tunnel->leaf = th_leaf_unref(tunnel->leaf);
    if (error == 0)
        return TH_INTERCEPT_OPEN;
    (void)th_stream_tls_error(&session->stream, &reason);
    return fail(session, reason);
}

static enum th_intercept_step go_on_handshake(struct th_session *session)
{
    struct th_tunnel *tunnel = session->tunnel;
    struct th_proxy_desk *desk = desk_of(session);
    const char *reason;

    if (session->stream.handshaking)
        return TH_INTERCEPT_WAIT;
    if (th_stream_tls_error(&session->stream, &reason) < 0)
        return fail(session, reason);
    th_metrics_count(desk->metrics, TH_METRIC_TUNNELS_INTERCEPTED);
    if (th_stream_tls_is_resumed(&session->stream))
        th_metrics_count(desk->metrics, TH_METRIC_TLS_CLIENT_RESUMED);
    tunnel->scheme = TH_SCHEME_HTTPS;
    tunnel->stage = TH_TUNNEL_OPEN;
    tunnel->interceptor = th_interceptor_unref(tunnel->interceptor);
    return TH_INTERCEPT_OPEN;
}

/* --- all together --- */

/* How much of HTTP/2's preface there is, all of what was received being of it. A method of HTTP/1.1 may begin
 * like that, but PRI is none (RFC 9113, 3.4). */
static size_t has_preface(struct th_chunk *in)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n";
    size_t len = th_chunk_len(in);

    if (len > sizeof preface - 1)
        len = sizeof preface - 1;
    return memcmp(th_chunk_head(in), preface, len) == 0 ? len : 0;
}

static enum th_intercept_step look(struct th_session *session)
{
    struct th_tunnel *tunnel = session->tunnel;
    size_t known = 0;

    while (session->in == NULL || th_chunk_len(session->in) == 0 ||
           ((known = has_preface(session->in)) > 0 && known < sizeof "PRI " - 1)) {
        ssize_t n = receive(session);
        if (n <= 0)
            return n == 0 ? TH_INTERCEPT_WAIT : leave(session);
    }
    bool is_tls = (uint8_t)th_chunk_head(session->in)[0] == TLS_RECORD;
    if (tunnel->redirected && !th_original_is_served(session, is_tls))
        return leave(session);
    if (is_tls) {
        tunnel->stage = TH_TUNNEL_HELLO;
        return tunnel->interceptor != NULL || tunnel->redirected
                   ? TH_INTERCEPT_OPEN
                   : th_intercept_refuse(session, TH_ALERT_ACCESS_DENIED,
                                         "no connection has an https:// URL at this host and port",
                                         TH_STR_NONE);
    }
    if (known > 0)
        return refuse_http2(session);
    if (!tunnel->redirected)
        th_metrics_count(desk_of(session)->metrics, TH_METRIC_TUNNELS_CLEAR);
    tunnel->stage = TH_TUNNEL_OPEN;
    return TH_INTERCEPT_OPEN;
}

enum th_intercept_step th_intercept_run(struct th_session *session)
{
    enum th_intercept_step step = TH_INTERCEPT_OPEN;

    set_timer(session);
    while (step == TH_INTERCEPT_OPEN) {
        switch ((enum th_tunnel_stage)session->tunnel->stage) { /* another one once it is named */
        case TH_TUNNEL_SILENT:
            step = look(session);
            break;
        case TH_TUNNEL_HELLO:
            step = read_hello(session);
            break;
        case TH_TUNNEL_NAMED:
            step = get_leaf(session);
            break;
        case TH_TUNNEL_LEAF:
            step = begin_handshake(session);
            break;
        case TH_TUNNEL_HANDSHAKE:
            step = go_on_handshake(session);
            break;
        case TH_TUNNEL_BARE:
        case TH_TUNNEL_OPEN:
            return TH_INTERCEPT_OPEN;
        }
    }
    return step;
}

void th_intercept_time_out(struct th_session *session)
{
    struct th_proxy_desk *desk = desk_of(session);
    const struct th_tunnel *tunnel = session->tunnel;
    bool undecided = tunnel->stage == TH_TUNNEL_SILENT;
    bool silent = undecided && (session->in == NULL || th_chunk_len(session->in) == 0);

    th_metrics_count(desk->metrics, TH_METRIC_TIMEOUTS_TUNNEL);
    TH_LOG(desk->worker->log, TH_LEVEL_WARN, "tunnel.silent",
           "Nothing that can be served came through a tunnel in time (timeouts.head)",
           TH_LOG_STR("host", th_tunnel_host(tunnel)), TH_LOG_UINT("port", tunnel->port),
           TH_LOG_TEXT("reason", silent ? "the client said nothing: it waits for a server that "
                                          "speaks first, and HTTP or TLS is served here"
                                 : undecided ? "the first bytes do not tell what is spoken"
                                             : "the TLS handshake was not done"));
}
