#include "secure.h"

#include "tokenhop/base/mem.h"
#include "tokenhop/http/problem.h"

#define TLS_RECORD 0x16 /* ContentType of a ClientHello's record (RFC 8446, 5.1) */

struct th_secure *th_secure_new(struct th_tls_server *server)
{
    struct th_secure *secure = th_calloc(1, sizeof *secure);

    if (secure == NULL)
        return NULL;
    secure->server = th_tls_server_ref(server);
    secure->until_ms = INT64_MAX;
    return secure;
}

struct th_secure *th_secure_free(struct th_secure *secure)
{
    if (secure == NULL)
        return NULL;
    th_tls_server_unref(secure->server);
    th_free(secure);
    return NULL;
}

static struct th_proxy_desk *desk_of(const struct th_session *session)
{
    return session->listener->desk;
}

static enum th_intercept_step leave(struct th_session *session)
{
    th_session_close(session);
    return TH_INTERCEPT_WAIT;
}

static void log_failure(const struct th_session *session, const char *reason, int alert)
{
    struct th_proxy_desk *desk = desk_of(session);
    char client[TH_ADDRESS_TEXT_MAX];

    th_address_format(&session->peer, client);
    th_metrics_count(desk->metrics, TH_METRIC_TLS_CLIENT_FAILED);
    TH_LOG(desk->worker->log, TH_LEVEL_WARN, "listener.tls_failed",
           "TLS with a client of a listener failed",
           TH_LOG_TEXT("listener", session->listener->name), TH_LOG_TEXT("client", client),
           TH_LOG_INT("alert", alert), TH_LOG_TEXT("reason", reason));
}

/* --- before --- */

/* A client that takes the listener for one without TLS is told so in its own words. */
static enum th_intercept_step refuse_plain(struct th_session *session)
{
    struct th_proxy_desk *desk = desk_of(session);
    char first = *th_chunk_head(session->in);
    struct th_writer w;
    struct th_problem problem = {
        .error = TH_E_CLIENT_TLS,
        .detail = TH_STR("this listener speaks TLS: call it by https://, of a proxy too"),
        .retry_after_ms = -1,
        .wall_ms = th_clock_wall_ms(desk->worker->clock),
        .close = true};

    log_failure(session, "the client does not speak TLS", 0);
    session->closing = true;
    if (first < 'A' || first > 'Z') /* no method that anybody sends */
        return leave(session);
    th_writer_init(&w, desk->worker->scratch, TH_SCRATCH_SIZE);
    th_problem_write(&w, &problem);
    struct iovec iov = {w.ptr, w.len};
    return th_stream_writev(&session->stream, &iov, 1) == (ssize_t)w.len ? TH_INTERCEPT_REFUSED
                                                                         : leave(session);
}

static enum th_intercept_step fail(struct th_session *session)
{
    const char *reason;

    (void)th_stream_tls_error(&session->stream, &reason);
    log_failure(session, reason, th_stream_tls_alert(&session->stream));
    return leave(session);
}

static enum th_intercept_step look(struct th_session *session)
{
    struct th_worker *worker = desk_of(session)->worker;

    if (session->in == NULL && (session->in = th_chunk_get(&worker->chunks)) == NULL)
        return leave(session);
    if (th_chunk_len(session->in) == 0) {
        ssize_t n = th_stream_recv(&session->stream, th_chunk_tail(session->in),
                                   th_chunk_room(session->in));
        if (n > 0)
            session->in->end += (uint32_t)n;
        else
            session->in = th_chunk_put(&worker->chunks, session->in);
        if (n <= 0) /* who leaves without a word only looked whether the port is open */
            return n == TH_AGAIN ? TH_INTERCEPT_WAIT : leave(session);
    }
    if ((uint8_t)*th_chunk_head(session->in) != TLS_RECORD)
        return refuse_plain(session);
    struct th_chunk *received = session->in;
    session->in = NULL;
    session->secure->stage = TH_SECURE_HANDSHAKE;
    return th_stream_accept_tls(&session->stream, session->secure->server, NULL, received) == 0
               ? TH_INTERCEPT_OPEN
               : fail(session);
}

/* --- after --- */

/* Seconds of the wall clock to the worker's. */
static int64_t until_ms(const struct th_proxy_desk *desk, int64_t until_s)
{
    if (until_s == INT64_MAX)
        return INT64_MAX;
    return desk->worker->now_ms + until_s * 1000 - th_clock_wall_ms(desk->worker->clock);
}

/* The names are kept, so that no request has to look into the certificate. */
static bool take_certificate(struct th_session *session)
{
    X509 *certificate = th_stream_tls_client(&session->stream);
    struct th_caller_names names;

    if (certificate == NULL)
        return true;
    th_caller_names_of(certificate, &names);
    struct th_secure *grown = th_malloc(sizeof *grown + names.n * sizeof grown->names[0]);
    if (grown == NULL)
        return false;
    *grown = *session->secure;
    th_free(session->secure);
    session->secure = grown;
    memcpy(grown->names, names.items, names.n * sizeof grown->names[0]);
    grown->n_names = names.n;
    grown->too_many_names = names.too_many;
    grown->has_certificate = true;
    grown->until_ms = until_ms(desk_of(session), th_stream_tls_client_until(&session->stream));
    return true;
}

static enum th_intercept_step go_on(struct th_session *session)
{
    struct th_proxy_desk *desk = desk_of(session);
    const char *reason;

    if (session->stream.handshaking)
        return TH_INTERCEPT_WAIT;
    if (th_stream_tls_error(&session->stream, &reason) < 0)
        return fail(session);
    if (!take_certificate(session))
        return leave(session);
    th_metrics_count(desk->metrics, TH_METRIC_TLS_CLIENT_DONE);
    if (th_stream_tls_is_resumed(&session->stream))
        th_metrics_count(desk->metrics, TH_METRIC_TLS_CLIENT_RESUMED);
    session->secure->stage = TH_SECURE_OPEN;
    return TH_INTERCEPT_OPEN;
}

enum th_intercept_step th_secure_run(struct th_session *session)
{
    enum th_intercept_step step = TH_INTERCEPT_OPEN;

    while (step == TH_INTERCEPT_OPEN) {
        switch ((enum th_secure_stage)session->secure->stage) {
        case TH_SECURE_SILENT:
            step = look(session);
            break;
        case TH_SECURE_HANDSHAKE:
            step = go_on(session);
            break;
        case TH_SECURE_OPEN:
            return TH_INTERCEPT_OPEN;
        }
    }
    return step;
}

void th_secure_time_out(struct th_session *session)
{
    th_metrics_count(desk_of(session)->metrics, TH_METRIC_TIMEOUTS_HEAD);
    if (session->secure->stage == TH_SECURE_HANDSHAKE)
        log_failure(session, "the TLS handshake was not done in time (timeouts.head)", 0);
}

/* --- for how long --- */

bool th_secure_has_ended(const struct th_session *session)
{
    const struct th_secure *secure = session->secure;

    if (secure == NULL)
        return false;
    if (secure->until_ms <= desk_of(session)->worker->now_ms)
        return true;
    return session->listener->tls != NULL &&
           !th_tls_server_trusts_alike(secure->server, session->listener->tls);
}

int64_t th_secure_limit(const struct th_session *session, int64_t in_ms)
{
    const struct th_secure *secure = session->secure;
    int64_t left_ms;

    if (secure == NULL || secure->until_ms == INT64_MAX)
        return in_ms;
    left_ms = secure->until_ms - desk_of(session)->worker->now_ms;
    return left_ms < 0 ? 0 : left_ms < in_ms ? left_ms : in_ms;
}
