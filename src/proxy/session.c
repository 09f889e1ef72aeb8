#include "session.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "admit.h"
#include "entry.h"
#include "hop.h"
#include "secure.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/http/problem.h"
#include "tunnel.h"

#define SESSION_MAGIC 0x73657373u

/* After an answer to a request that was not read whole, the client's bytes are read on for a while: a
 * close with unread bytes is a reset, which may destroy the answer before it is read (RFC 9112, 9.6). */
#define LINGER_MS 2000
#define LINGER_BYTES (256 * 1024)
/* Requests of one client in one turn of the loop. */
#define HOPS_A_TURN 32
#define NEWCOMERS_LOOKED_AT 64

static struct th_worker *worker_of(const struct th_session *session)
{
    return session->listener->desk->worker;
}

static void set_timer(struct th_session *session, int64_t in_ms)
{
    struct th_worker *worker = worker_of(session);

    th_timer_set(&worker->wheel, &session->timer, worker->now_ms + in_ms);
}

static void bury(struct th_worker *worker, struct th_grave *grave)
{
    struct th_session *session = TH_CONTAINER_OF(grave, struct th_session, grave);

    (void)worker;
    th_free(session->unix_peer);
    th_free(session);
}

void th_session_close(struct th_session *session)
{
    struct th_proxy_desk *desk = session->listener->desk;

    if (session->closed)
        return;
    session->closed = true;
    th_stream_close(&session->stream);
    if (session->hop != NULL)
        th_hop_cancel(session->hop);
    session->in = th_chunk_put(&desk->worker->chunks, session->in);
    th_timer_stop(&desk->worker->wheel, &session->timer);
    th_soon_cancel(&session->soon);
    th_list_remove(&session->link);
    atomic_fetch_sub_explicit(&desk->proxy->n_sessions, 1, memory_order_relaxed);
    th_metrics_add(desk->metrics, TH_METRIC_CONNECTIONS_OPEN, -1);
    session->tunnel = th_tunnel_free(session->tunnel, desk);
    th_admit_leave(session);
    session->secure = th_secure_free(session->secure);
    session->grave.bury = bury;
    th_worker_bury(desk->worker, &session->grave);
    desk->n_sessions--;
    th_desk_session_gone(desk);
}

/* Reads and throws away until the client ends, or has had its time. */
static void linger(struct th_session *session)
{
    struct th_worker *worker = worker_of(session);

    for (;;) {
        ssize_t n = th_stream_recv(&session->stream, worker->scratch, TH_SCRATCH_SIZE);
        if (n == TH_AGAIN)
            return;
        if (n <= 0 || (session->lingered += (uint32_t)n) > LINGER_BYTES) {
            th_session_close(session);
            return;
        }
    }
}

static void say_goodbye(struct th_session *session)
{
    struct th_worker *worker = worker_of(session);

    session->in = th_chunk_put(&worker->chunks, session->in);
    session->tunnel = th_tunnel_free(session->tunnel, session->listener->desk);
    if (session->half_closed || th_stream_shutdown_write(&session->stream) < 0) {
        th_session_close(session);
        return;
    }
    session->lingering = true;
    set_timer(session, LINGER_MS);
    linger(session);
}

/* Bytes for the next hop: > 0 there are some, 0 none now, < 0 the session is closed. */
static int fill(struct th_session *session)
{
    struct th_worker *worker = worker_of(session);
    struct th_proxy_desk *desk = session->listener->desk;

    if (session->in != NULL && th_chunk_len(session->in) > 0) {
        th_chunk_compact(session->in);
        return 1;
    }
    if (session->in == NULL && (session->in = th_chunk_get(&worker->chunks)) == NULL) {
        th_session_close(session);
        return -1;
    }
    th_chunk_clear(session->in);
    ssize_t n = th_stream_recv(&session->stream, session->in->data, session->in->size);
    if (n > 0) {
        session->in->end = (uint32_t)n;
        return 1;
    }
    session->in = th_chunk_put(&worker->chunks, session->in);
    if (n != TH_AGAIN || desk->draining) {
        th_session_close(session);
        return -1;
    }
    /* Who has never asked is not idle: the head is what is waited for, since the connection came. */
    if (session->has_asked)
        set_timer(session, th_secure_limit(session, th_desk_config(desk)->timeouts.idle_ms));
    return 0;
}

void th_session_run(struct th_session *session)
{
    if (session->running || session->closed)
        return;
    session->running = true;
    for (int i = 0; !session->closed; i++) {
        if (!th_stream_is_open(&session->stream)) { /* the last hop had to cut it */
            th_session_close(session);
            break;
        }
        if (session->lingering) {
            linger(session);
            break;
        }
        if (session->hop == NULL) {
            if (session->closing) {
                say_goodbye(session);
                break;
            }
            if (i >= HOPS_A_TURN) { /* others first */
                th_session_run_soon(session);
                break;
            }
            if (session->entry != TH_ENTRY_DONE && th_entry_run(session) == TH_ENTRY_WAIT)
                break;
            if (session->secure != NULL && session->secure->stage != TH_SECURE_OPEN) {
                enum th_intercept_step step = th_secure_run(session);
                if (step == TH_INTERCEPT_REFUSED)
                    continue;
                if (step == TH_INTERCEPT_WAIT)
                    break;
            }
            if (session->tunnel != NULL && session->tunnel->stage != TH_TUNNEL_OPEN) {
                enum th_intercept_step step = th_intercept_run(session);
                if (step == TH_INTERCEPT_REFUSED)
                    continue;
                if (step == TH_INTERCEPT_WAIT)
                    break;
            }
            if (fill(session) <= 0)
                break;
            session->has_asked = true;
            session->hop = th_hop_new(session);
            if (session->hop == NULL) {
                th_session_close(session);
                break;
            }
        }
        if (th_hop_run(session->hop) != TH_HOP_END)
            break;
    }
    session->running = false;
}

bool th_session_read_ahead(struct th_session *session)
{
    struct th_hop *hop = session->hop;
    struct th_body *body = &hop->request_body;

    if (!session->stream.readable || session->half_closed)
        return true;
    char *tail = body->raw + body->raw_len;
    size_t room = (size_t)(body->room + body->room_size - tail);
    if (room == 0)
        return true;
    ssize_t n = th_stream_recv(&session->stream, tail, room);
    if (n > 0)
        th_body_received(body, (size_t)n);
    else if (n == 0)
        session->half_closed = true;
    return n >= 0 || n == TH_AGAIN;
}

bool th_session_has_early_bytes(struct th_session *session)
{
    const struct th_hop *hop = session->hop;
    const struct th_body *body = &hop->request_body;

    if (!hop->request.upgrade || hop->request.method == TH_METHOD_CONNECT || !body->received)
        return false;
    session->stream.readable = true; /* also those of which no edge has told yet */
    return body->raw_len > 0 || !th_session_read_ahead(session) || body->raw_len > 0;
}

static void on_session_event(struct th_stream *stream)
{
    th_session_run(TH_CAST(struct th_session, SESSION_MAGIC,
                           TH_CONTAINER_OF(stream, struct th_session, stream)));
}

static void on_session_soon(struct th_soon *soon)
{
    th_session_run(
        TH_CAST(struct th_session, SESSION_MAGIC, TH_CONTAINER_OF(soon, struct th_session, soon)));
}

void th_session_run_soon(struct th_session *session)
{
    th_worker_soon(worker_of(session), &session->soon);
}

static void on_session_timer(struct th_timer *timer)
{
    struct th_session *session =
        TH_CAST(struct th_session, SESSION_MAGIC, TH_CONTAINER_OF(timer, struct th_session, timer));
    struct th_proxy_desk *desk = session->listener->desk;

    if (session->lingering || session->hop == NULL) {
        if (!session->lingering && session->tunnel != NULL &&
            session->tunnel->stage != TH_TUNNEL_OPEN) {
            th_intercept_time_out(session);
        } else if (!session->lingering && session->secure != NULL &&
                   session->entry == TH_ENTRY_DONE && session->secure->stage != TH_SECURE_OPEN) {
            th_secure_time_out(session);
        } else if (!session->lingering) {
            th_entry_time_out(session);
            th_metrics_count(desk->metrics, session->has_asked ? TH_METRIC_TIMEOUTS_IDLE
                                                               : TH_METRIC_TIMEOUTS_HEAD);
        }
        th_session_close(session);
        return;
    }
    if (th_hop_reads_head(session->hop)) {
        th_metrics_count(desk->metrics, TH_METRIC_TIMEOUTS_HEAD);
        th_hop_head_timed_out(session->hop);
    }
    /* A hop past its head keeps its own time; the idle limit is set anew when it ends. */
}

void th_session_format_client(const struct th_session *session, char ret_text[TH_ADDRESS_TEXT_MAX])
{
    const struct th_unix_peer *peer = session->unix_peer;

    if (peer != NULL)
        snprintf(ret_text, TH_ADDRESS_TEXT_MAX, "unix:uid=%u,gid=%u,pid=%d", (unsigned)peer->uid,
                 (unsigned)peer->gid, (int)peer->pid);
    else
        th_address_format(&session->peer, ret_text);
}

void th_session_note_admission(struct th_session *session)
{
    if (session->is_admitted)
        return;
    session->is_admitted = true;
    th_list_remove(&session->link);
    th_list_push_back(&session->listener->desk->sessions, &session->link);
}

/* Nothing is under way on it that anybody would miss: it waits for a request or the rest of one's head, or was
 * answered and has not left. */
static bool is_waiting(const struct th_session *session)
{
    if (session->running || th_list_is_linked(&session->soon.link))
        return false;
    return session->lingering || session->hop == NULL || th_hop_reads_head(session->hop);
}

/* When all places are taken, one of this worker's makes room who never had a request admitted, the longest here
 * first: else connections would be a thing that a peer takes from all others by opening them and no more. Who
 * had one is told from others, and bounded by limits.per_caller. Looks at a bounded number, so that coming costs
 * the same however many there are. */
static bool make_room(struct th_proxy_desk *desk)
{
    struct th_list *newcomers = &desk->newcomers;

    for (size_t i = 0; i < NEWCOMERS_LOOKED_AT && !th_list_is_empty(newcomers); i++) {
        struct th_session *session = TH_LIST_ENTRY(newcomers->next, struct th_session, link);
        if (is_waiting(session)) {
            th_metrics_count(desk->metrics, TH_METRIC_CONNECTIONS_DISPLACED);
            th_session_close(session);
            return true;
        }
        th_list_remove(&session->link);
        th_list_push_back(newcomers, &session->link);
    }
    return false;
}

/* At a limit of connections: said, not just closed, so that who asks learns why (R23); but in no TLS, which
 * would cost what is short. */
static void turn_away(const struct th_desk_listener *listener, int fd, int error,
                      struct th_str detail)
{
    struct th_proxy_desk *desk = listener->desk;
    struct th_writer w;
    struct th_problem problem = {.error = error,
                                 .detail = detail,
                                 .retry_after_ms = -1,
                                 .wall_ms = th_clock_wall_ms(desk->worker->clock),
                                 .close = true};

    th_writer_init(&w, desk->worker->scratch, TH_SCRATCH_SIZE);
    th_problem_write(&w, &problem);
    if (listener->tls == NULL && write(fd, w.ptr, w.len) < 0) {
        /* it has gone already: nobody to tell */
    }
    close(fd);
    th_metrics_count(desk->metrics, TH_METRIC_CONNECTIONS_REFUSED);
}

/* An error: why this one is not served; it has no stream yet. Who has too many already must cost nobody else their
 * place, so that this is found out first. */
static int let_in(struct th_session *session, size_t before, struct th_str *ret_detail)
{
    struct th_proxy_desk *desk = session->listener->desk;

    /* Whom a proxy before us names is known when its header has come: then its first request counts. */
    if (session->entry == TH_ENTRY_DONE && !th_admit_session(session)) {
        *ret_detail = TH_STR("limits.per_caller.connections is reached");
        return TH_E_CALLER_LIMIT;
    }
    if (before < th_desk_config(desk)->limits.connections || make_room(desk))
        return 0;
    th_admit_leave(session);
    *ret_detail = TH_STR("limits.connections is reached");
    return TH_E_OVERLOADED;
}

/* Who is there, and what of TLS is needed. NULL: memory is short. */
static struct th_session *session_new(struct th_desk_listener *listener, int fd,
                                      const struct th_address *peer)
{
    struct th_session *session = th_calloc(1, sizeof *session);

    if (session == NULL)
        return NULL;
    session->magic = SESSION_MAGIC;
    session->listener = listener;
    session->peer = *peer;
    session->entry = (uint8_t)th_entry_begin(listener, peer);
    session->soon.fn = on_session_soon;
    th_timer_init(&session->timer, on_session_timer);
    /* Without memory to learn who is there, nobody is served: an answer would blame the caller. */
    if ((peer->any.sa_family == AF_UNIX && th_unix_peer_new(fd, &session->unix_peer) < 0) ||
        (listener->tls != NULL && (session->secure = th_secure_new(listener->tls)) == NULL)) {
        th_free(session->unix_peer);
        th_free(session);
        return NULL;
    }
    return session;
}

void th_session_new(struct th_desk_listener *listener, int fd, const struct th_address *peer)
{
    struct th_proxy_desk *desk = listener->desk;
    size_t before = atomic_fetch_add_explicit(&desk->proxy->n_sessions, 1, memory_order_relaxed);
    struct th_session *session = desk->draining ? NULL : session_new(listener, fd, peer);
    struct th_str detail = TH_STR("limits.connections is reached");
    int error = session != NULL ? let_in(session, before, &detail) : TH_E_OVERLOADED;

    if (error < 0)
        turn_away(listener, fd, error, detail);
    if (error == 0 && th_stream_init(&session->stream, desk->worker, fd, on_session_event) < 0) {
        th_admit_leave(session);
        error = TH_E_NOMEM;
    }
    if (error < 0) {
        atomic_fetch_sub_explicit(&desk->proxy->n_sessions, 1, memory_order_relaxed);
        if (session != NULL) {
            th_free(session->unix_peer);
            th_secure_free(session->secure);
        }
        th_free(session);
        return;
    }
    th_list_push_back(&desk->newcomers, &session->link);
    desk->n_sessions++;
    th_metrics_count(desk->metrics, TH_METRIC_CONNECTIONS_ACCEPTED);
    th_metrics_add(desk->metrics, TH_METRIC_CONNECTIONS_OPEN, 1);
    set_timer(session, th_desk_config(desk)->timeouts.head_ms);
    if (listener->mode == TH_LISTENER_TRANSPARENT)
        th_original_begin(session);
}
