/* One connection to the admin listener: a request is read whole into one buffer of fixed size, answered,
 * and the next one is read. Nothing of a request is copied; the buffer moves on when it has been answered. */
#include <string.h>
#include <unistd.h>

#include "admin_private.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/http/http1.h"
#include "tokenhop/http/problem.h"

#define PEER_MAGIC 0x70656572u
#define ROOM (TH_ADMIN_HEAD_MAX + TH_ADMIN_BODY_MAX)
#define ANSWER_HEAD_MAX 1024
/* After an answer with which the connection ends: what was not read would make the close a reset, which
 * may destroy the answer before it is read (RFC 9112, 9.6). */
#define LINGER_MS 1000
#define FOREIGN_MS 1000

enum peer_state {
    READING,  /* a request */
    WAITING,  /* for an answer that the route put off */
    WRITING,  /* the answer */
    LINGERING /* the answer was written, and our side ended */
};

struct peer {
    uint32_t magic;
    enum peer_state state;
    struct th_list link;
    struct th_admin *admin;
    struct th_stream stream;
    struct th_timer timer;
    struct th_grave grave;
    uint64_t handle;
    struct th_config *config; /* of the request that is answered later */
    size_t scanned;
    bool is_foreign; /* a user that may not ask: it is told so, and no more */
    bool closing;    /* after this answer */
    bool head_only;  /* the request was HEAD */
    bool continued;  /* 100 (Continue) was written */
    bool closed;
    size_t in_len;
    size_t request_len; /* of the bytes in `in`: those of the request that is being answered */
    struct th_buf out;  /* the answer: head, body */
    size_t written;
    struct th_field fields[TH_ADMIN_FIELDS_MAX];
    char in[ROOM];
};

static void bury(struct th_worker *worker, struct th_grave *grave)
{
    struct peer *peer = TH_CONTAINER_OF(grave, struct peer, grave);
    (void)worker;
    th_wipe(peer->in, sizeof peer->in); /* requests bear the token */
    th_free(peer);
}

static void peer_close(struct peer *peer)
{
    struct th_worker *worker = peer->admin->worker;
    if (peer->closed)
        return;
    peer->closed = true;
    th_stream_close(&peer->stream);
    th_timer_stop(&worker->wheel, &peer->timer);
    th_handle_drop(worker->handles, peer->handle);
    th_list_remove(&peer->link);
    peer->admin->n_peers--;
    peer->config = th_config_unref(peer->config);
    th_buf_fini(&peer->out);
    peer->grave.bury = bury;
    th_worker_bury(worker, &peer->grave);
}

static void set_timer(struct peer *peer, int64_t in_ms)
{
    struct th_worker *worker = peer->admin->worker;
    th_timer_set(&worker->wheel, &peer->timer, worker->now_ms + in_ms);
}

/* --- writing --- */

static void write_head(struct peer *peer, const struct th_admin_answer *answer)
{
    char date[TH_HTTP_DATE_LEN + 1];
    struct th_str reason = th_http_reason(answer->status);
    th_http_date(th_clock_wall_ms(peer->admin->worker->clock), date);
    th_buf_printf(&peer->out,
                  "HTTP/1.1 %d %.*s\r\n"
                  "Date: %s\r\n"
                  "Content-Type: %s\r\n"
                  "Content-Length: %zu\r\n"
                  "Cache-Control: no-store\r\n"
                  "X-Content-Type-Options: nosniff\r\n"
                  "Referrer-Policy: no-referrer\r\n"
                  "Cross-Origin-Resource-Policy: same-origin\r\n"
                  "Content-Security-Policy: default-src 'none'; style-src 'self'; "
                  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n",
                  answer->status, TH_STR_ARGS(reason), date, answer->content_type,
                  answer->body.len);
    if (answer->allow != NULL)
        th_buf_printf(&peer->out, "Allow: %s\r\n", answer->allow);
    if (answer->status == 401)
        th_buf_printf(&peer->out, "WWW-Authenticate: Bearer realm=\"tokenhop admin\"\r\n");
    th_buf_printf(&peer->out, "%s\r\n", peer->closing ? "Connection: close\r\n" : "");
}

static void linger(struct peer *peer)
{
    for (size_t n_read = 0; n_read < 4 * sizeof peer->in;) {
        ssize_t n = th_stream_recv(&peer->stream, peer->in, sizeof peer->in);
        if (n == TH_AGAIN)
            return;
        if (n <= 0)
            break;
        n_read += (size_t)n;
    }
    peer_close(peer);
}

static void answered(struct peer *peer)
{
    th_buf_fini(&peer->out);
    peer->written = 0;
    if (peer->closing) {
        if (th_stream_shutdown_write(&peer->stream) < 0) {
            peer_close(peer);
            return;
        }
        peer->state = LINGERING;
        set_timer(peer, LINGER_MS);
        return;
    }
    peer->in_len -= peer->request_len;
    memmove(peer->in, peer->in + peer->request_len, peer->in_len);
    th_wipe(peer->in + peer->in_len, sizeof peer->in - peer->in_len);
    peer->request_len = peer->scanned = 0;
    peer->continued = false;
    peer->state = READING;
    set_timer(peer, TH_ADMIN_PEER_MS);
}

static void flush(struct peer *peer)
{
    while (peer->written < peer->out.len) {
        struct iovec piece = {peer->out.ptr + peer->written, peer->out.len - peer->written};
        ssize_t n = th_stream_writev(&peer->stream, &piece, 1);
        if (n < 0) {
            peer_close(peer);
            return;
        }
        peer->written += (size_t)n;
        if ((size_t)n < piece.iov_len)
            return;
        set_timer(peer, TH_ADMIN_PEER_MS); /* it takes what is written */
    }
    answered(peer);
}

/* Takes over the body. */
static void begin_answer(struct peer *peer, struct th_admin_answer *answer)
{
    if (answer->body.failed)
        (void)th_answer_refuse(answer, 503, "there is not enough memory for this answer");
    peer->closing |= answer->close;
    th_buf_init(&peer->out, ANSWER_HEAD_MAX + TH_ADMIN_ANSWER_MAX);
    write_head(peer, answer);
    if (!peer->head_only)
        th_buf_add(&peer->out, answer->body.ptr, answer->body.len);
    th_buf_fini(&answer->body);
    if (peer->out.failed) {
        peer_close(peer);
        return;
    }
    peer->state = WRITING;
    set_timer(peer, TH_ADMIN_PEER_MS);
}

/* --- reading --- */

static void refuse(struct peer *peer, int status, const char *what)
{
    struct th_admin_answer answer = {.close = true};
    th_buf_init(&answer.body, TH_ADMIN_ANSWER_MAX);
    (void)th_answer_refuse(&answer, status, what);
    begin_answer(peer, &answer);
}

static struct th_config *take_config(struct th_admin *admin)
{
    pthread_mutex_lock(&admin->lock);
    struct th_config *config = th_config_ref(admin->loaded.config);
    pthread_mutex_unlock(&admin->lock);
    return config;
}

static void run(struct peer *peer, struct th_head *head, struct th_str body)
{
    const char *mark = memchr(head->target.ptr, '?', head->target.len);
    size_t path_len = mark != NULL ? (size_t)(mark - head->target.ptr) : head->target.len;
    struct th_admin_request request = {
        .admin = peer->admin,
        .config = take_config(peer->admin),
        .head = head,
        .path = {head->target.ptr, path_len},
        .query = {mark != NULL ? mark + 1 : head->target.ptr,
                  mark != NULL ? head->target.len - path_len - 1 : 0},
        .body = body,
        .asker = peer->handle,
    };
    struct th_admin_answer answer = {.status = 200, .content_type = "application/json"};

    th_buf_init(&answer.body, TH_ADMIN_ANSWER_MAX);
    peer->closing = !head->keep_alive;
    peer->head_only = head->method == TH_METHOD_HEAD;
    peer->config = request.config;
    if (th_route_run(&request, &answer) == TH_AGAIN) {
        th_buf_fini(&answer.body);
        peer->state = WAITING;
        set_timer(peer, TH_ADMIN_COMMAND_MS);
        return;
    }
    peer->config = th_config_unref(peer->config);
    begin_answer(peer, &answer);
}

/* The head is whole. True when the request has been dealt with: else bytes of its body are missing. */
static bool take_request(struct peer *peer, struct th_head *head)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    uint64_t body_len = head->framing == TH_FRAMING_LENGTH ? head->content_length : 0;

    peer->head_only = head->method == TH_METHOD_HEAD;
    if (peer->is_foreign) {
        refuse(peer, 403, "the user that you are may not use this socket");
    } else if (head->framing == TH_FRAMING_CHUNKED) {
        refuse(peer, 411, "a body must say its Content-Length");
    } else if (body_len > TH_ADMIN_BODY_MAX) {
        refuse(peer, 413, "the body is too large");
    } else if (head->expect_unknown) {
        refuse(peer, 417, "only the expectation 100-continue is known");
    } else if (peer->in_len - head->len < body_len) {
        struct iovec piece = {(void *)(uintptr_t)go_on, sizeof go_on - 1};
        /* It is short, and the first that is written here: it fits, or the peer is broken. */
        if (head->expect_continue && !peer->continued &&
            th_stream_writev(&peer->stream, &piece, 1) != (ssize_t)piece.iov_len)
            peer_close(peer);
        peer->continued = true;
        peer->scanned = 0;
        return peer->closed;
    } else {
        peer->request_len = head->len + (size_t)body_len;
        run(peer, head, (struct th_str){peer->in + head->len, (size_t)body_len});
    }
    return true;
}

/* True when there was a whole request, or none can be. */
static bool parse(struct peer *peer)
{
    static const struct th_http1_limits limits = {TH_ADMIN_HEAD_MAX, TH_ADMIN_FIELDS_MAX};
    struct th_head head = {.fields = peer->fields, .max_fields = TH_ADMIN_FIELDS_MAX};

    int error = th_http1_parse_request(&head, peer->in, peer->in_len, &peer->scanned, &limits);
    if (error == 0)
        return take_request(peer, &head);
    if (error == TH_AGAIN)
        return false;
    refuse(peer, th_error_get(error)->status, th_error_get(error)->title);
    return true;
}

static void read_request(struct peer *peer)
{
    while (peer->state == READING && !peer->closed) {
        if (peer->in_len > 0 && parse(peer))
            return;
        if (peer->in_len == sizeof peer->in) { /* cannot be: both of its parts are bounded */
            refuse(peer, 431, "the request is too large");
            return;
        }
        ssize_t n =
            th_stream_recv(&peer->stream, peer->in + peer->in_len, sizeof peer->in - peer->in_len);
        if (n == TH_AGAIN)
            return;
        if (n <= 0) {
            peer_close(peer);
            return;
        }
        peer->in_len += (size_t)n;
    }
}

static void peer_run(struct peer *peer)
{
    while (!peer->closed) {
        enum peer_state state = peer->state;
        switch (state) {
        case READING:
            read_request(peer);
            break;
        case WAITING:
            /* Who has left, or says more than asked, is found when the answer is written. */
            return;
        case WRITING:
            flush(peer);
            break;
        case LINGERING:
            linger(peer);
            break;
        }
        if (peer->state == state)
            return;
    }
}

static void on_event(struct th_stream *stream)
{
    struct peer *peer = TH_CONTAINER_OF(stream, struct peer, stream);
    TH_REQUIRE(peer->magic == PEER_MAGIC);
    peer_run(peer);
}

static void on_timer(struct th_timer *timer)
{
    struct peer *peer = TH_CONTAINER_OF(timer, struct peer, timer);
    if (peer->state == WAITING) {
        struct th_admin_answer answer = {.close = true};
        th_buf_init(&answer.body, TH_ADMIN_ANSWER_MAX);
        (void)th_answer_refuse(&answer, 504, "it was not done in time, and may yet be");
        begin_answer(peer, &answer);
        peer_run(peer);
        return;
    }
    peer_close(peer);
}

void th_peer_answer(struct th_admin *admin, uint64_t asker, struct th_admin_answer *answer)
{
    struct peer *peer = th_handle_find(admin->worker->handles, asker);
    if (peer == NULL || peer->state != WAITING) {
        th_buf_fini(&answer->body);
        return;
    }
    peer->config = th_config_unref(peer->config);
    /* One answer to each: the next request of this peer is another asker. */
    th_handle_drop(admin->worker->handles, peer->handle);
    peer->handle = th_handle_new(admin->worker->handles, peer);
    if (peer->handle == 0)
        answer->close = true;
    begin_answer(peer, answer);
    peer_run(peer);
}

/* --- connections --- */

/* At best: it is not waited for what was asked, and the close may destroy it. */
static void say_full(int fd)
{
    static const char text[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"
                               "Content-Length: 0\r\nConnection: close\r\n\r\n";
    (void)send(fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
}

static bool is_foreign(const struct th_admin *admin, int fd)
{
    long uid;
    if (admin->socket.path[0] == '\0' || th_socket_may_speak(fd, admin->for_group, &uid))
        return false;
    TH_LOG(admin->log, TH_LEVEL_WARN, "admin.peer_refused",
           "A user that may not use the admin socket was turned away", TH_LOG_INT("uid", uid));
    return true;
}

void th_peer_accept(void *arg, int fd, const struct th_address *address)
{
    struct th_admin *admin = arg;
    (void)address;
    if (admin->n_peers >= TH_ADMIN_PEERS_MAX) {
        say_full(fd);
        return;
    }
    struct peer *peer = th_calloc(1, sizeof *peer);
    uint64_t handle = peer != NULL ? th_handle_new(admin->worker->handles, peer) : 0;
    if (handle == 0) {
        th_free(peer);
        close(fd);
        return;
    }
    peer->magic = PEER_MAGIC;
    peer->admin = admin;
    peer->handle = handle;
    peer->is_foreign = is_foreign(admin, fd);
    th_timer_init(&peer->timer, on_timer);
    if (th_stream_init(&peer->stream, admin->worker, fd, on_event) < 0) {
        th_handle_drop(admin->worker->handles, handle);
        th_free(peer);
        return;
    }
    th_list_push_back(&admin->peers, &peer->link);
    admin->n_peers++;
    set_timer(peer, peer->is_foreign ? FOREIGN_MS : TH_ADMIN_PEER_MS);
}

void th_peer_close_all(struct th_admin *admin)
{
    TH_LIST_EACH(item, &admin->peers)
        peer_close(TH_LIST_ENTRY(item, struct peer, link));
}
