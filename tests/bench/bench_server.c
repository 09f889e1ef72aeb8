#include "bench_server.h"

#include "bench_tls.h"
#include "bench_util.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define IN_SIZE 32768 /* a request with its body: a form with two tokens is about 4 KB */

enum source_kind { SOURCE_LISTENER, SOURCE_TLS_LISTENER, SOURCE_SIGNAL, SOURCE_CONN, SOURCE_TIMER };

struct source {
    enum source_kind kind;
    int fd;
    struct bench_conn *conn;
};

enum conn_mode { MODE_REQUEST, MODE_DELAY, MODE_STREAM, MODE_EVENTS };

struct bench_conn {
    struct source sock, timer; /* timer.fd: -1 when there is none */
    struct server *server;
    struct bench_conn *next_dead;
    enum conn_mode mode;
    bool dead, want_out, close_after;
    bool counted; /* its handshake was */
    struct ssl_st *ssl;
    char *in;
    size_t in_len;
    char *out; /* what could not be sent yet: out[out_off..out_len) */
    size_t out_off, out_len, out_cap;
    uint64_t left; /* MODE_STREAM: bytes; MODE_EVENTS: events */
};

struct server {
    int epoll_fd;
    bench_handler_fn *handler;
    struct ssl_ctx_st *tls;
    struct bench_conn *dead; /* freed after the turn: an event of theirs may already be queued */
};

static struct bench_server_counts counts;
static char stream_block[256 * 1024];

static void watch(int epoll_fd, int op, struct source *src, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = src};

    if (epoll_ctl(epoll_fd, op, src->fd, &ev) < 0)
        bench_die("epoll_ctl: %s", strerror(errno));
}

static void kill_conn(struct bench_conn *c)
{
    if (c->dead)
        return;
    c->dead = true;
    bench_tls_close(c->ssl);
    close(c->sock.fd);
    if (c->timer.fd >= 0)
        close(c->timer.fd);
    c->next_dead = c->server->dead;
    c->server->dead = c;
}

static void set_want_out(struct bench_conn *c, bool want)
{
    if (c->want_out == want)
        return;
    c->want_out = want;
    /* A peer that is slow to read is not read from either. */
    watch(c->server->epoll_fd, EPOLL_CTL_MOD, &c->sock, want ? EPOLLOUT : EPOLLIN);
}

static ssize_t send_some(struct bench_conn *c, const char *bytes, size_t len)
{
    return c->ssl ? bench_tls_send(c->ssl, bytes, len)
                  : send(c->sock.fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void append_out(struct bench_conn *c, const char *data, size_t len)
{
    if (c->out_len + len > c->out_cap) {
        c->out_cap = (c->out_len + len) * 2;
        c->out = bench_realloc(c->out, c->out_cap);
    }
    memcpy(c->out + c->out_len, data, len);
    c->out_len += len;
}

/* false: gone or blocked (then EPOLLOUT is awaited). */
static bool flush_out(struct bench_conn *c)
{
    while (c->out_off < c->out_len) {
        ssize_t n = send_some(c, c->out + c->out_off, c->out_len - c->out_off);

        if (n < 0 && errno == EAGAIN) {
            set_want_out(c, true);
            return false;
        }
        if (n < 0) {
            kill_conn(c);
            return false;
        }
        c->out_off += (size_t)n;
    }
    c->out_off = c->out_len = 0;
    if (c->close_after) {
        kill_conn(c);
        return false;
    }
    return true;
}

static void arm_timer(struct bench_conn *c, uint64_t first_ns, uint64_t interval_ns)
{
    struct itimerspec its = {
        .it_value = {(time_t)(first_ns / 1000000000u), (long)(first_ns % 1000000000u)},
        .it_interval = {(time_t)(interval_ns / 1000000000u), (long)(interval_ns % 1000000000u)},
    };

    if (c->timer.fd < 0) {
        c->timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        if (c->timer.fd < 0)
            bench_die("timerfd_create: %s", strerror(errno));
        watch(c->server->epoll_fd, EPOLL_CTL_ADD, &c->timer, EPOLLIN);
    }
    if (timerfd_settime(c->timer.fd, 0, &its, NULL) < 0)
        bench_die("timerfd_settime: %s", strerror(errno));
}

void bench_reply(struct bench_conn *c, const char *status_line, const char *type, const char *extra,
                 const char *body, size_t body_len, unsigned delay_ms)
{
    char head[512];
    int n = snprintf(head, sizeof(head),
                     "HTTP/1.1 %s\r\nServer: bench\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                     "Cache-Control: no-store\r\n%s\r\n",
                     status_line, type, body_len, extra);

    if (n < 0 || (size_t)n >= sizeof(head))
        bench_die("a response head is too long");
    append_out(c, head, (size_t)n);
    append_out(c, body, body_len);
    if (!delay_ms) {
        flush_out(c);
        return;
    }
    c->mode = MODE_DELAY;
    arm_timer(c, (uint64_t)delay_ms * 1000000u, 0);
}

void bench_close_after(struct bench_conn *c)
{
    c->close_after = true;
    flush_out(c);
}

static void pump_stream(struct bench_conn *c)
{
    if (!flush_out(c))
        return;
    while (c->left) {
        size_t want = c->left < sizeof(stream_block) ? (size_t)c->left : sizeof(stream_block);
        ssize_t n = send_some(c, stream_block, want);

        if (n < 0 && errno == EAGAIN) {
            set_want_out(c, true);
            return;
        }
        if (n < 0) {
            kill_conn(c);
            return;
        }
        c->left -= (uint64_t)n;
    }
    c->mode = MODE_REQUEST;
    set_want_out(c, false);
}

void bench_reply_stream(struct bench_conn *c, uint64_t size)
{
    char head[256];
    int n =
        snprintf(head, sizeof(head),
                 "HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: application/octet-stream\r\n"
                 "Content-Length: %llu\r\n\r\n",
                 (unsigned long long)size);

    append_out(c, head, (size_t)n);
    c->mode = MODE_STREAM;
    c->left = size;
    pump_stream(c);
}

void bench_reply_events(struct bench_conn *c, uint64_t interval_us, uint64_t count)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nServer: bench\r\n"
                               "Content-Type: text/event-stream\r\nCache-Control: no-store\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n";

    append_out(c, head, sizeof(head) - 1);
    c->mode = MODE_EVENTS;
    c->left = count;
    arm_timer(c, interval_us * 1000u, interval_us * 1000u);
    flush_out(c);
}

static void send_event(struct bench_conn *c)
{
    char chunk[128];
    char event[64];
    int len = snprintf(event, sizeof(event), "data: %llu\n\n", (unsigned long long)bench_now_ns());
    int n = snprintf(chunk, sizeof(chunk), "%x\r\n%s\r\n", (unsigned)len, event);

    append_out(c, chunk, (size_t)n);
    if (--c->left == 0) {
        append_out(c, "0\r\n\r\n", 5);
        c->mode = MODE_REQUEST;
        arm_timer(c, 0, 0);
    }
    flush_out(c);
}

static bool is_field(const char *line, size_t name_len, const char *name)
{
    return strlen(name) == name_len && strncasecmp(line, name, name_len) == 0;
}

/* Reads the head in [c->in, end); false: not a request that a proxy should have sent. */
static bool parse_head(const char *p, const char *end, struct bench_request *req, size_t *ret_body)
{
    const char *eol = memchr(p, '\r', (size_t)(end - p));
    const char *sp = eol ? memchr(p, ' ', (size_t)(eol - p)) : NULL;
    const char *sp2 = sp ? memchr(sp + 1, ' ', (size_t)(eol - sp - 1)) : NULL;

    if (!sp2)
        return false;
    req->method = p;
    req->method_len = (size_t)(sp - p);
    req->target = sp + 1;
    req->target_len = (size_t)(sp2 - sp - 1);
    /* RFC 9112, section 3.2.2: a server takes the absolute form too (HAProxy passes it on). */
    if (req->target_len > 7 && memcmp(req->target, "http://", 7) == 0) {
        const char *slash = memchr(req->target + 7, '/', req->target_len - 7);

        if (!slash)
            return false;
        req->target_len -= (size_t)(slash - req->target);
        req->target = slash;
    }
    for (p = eol + 2; p < end; p = eol + 2) {
        const char *colon;
        const char *value;

        eol = memchr(p, '\r', (size_t)(end - p));
        if (!eol)
            return false;
        if (eol == p)
            break;
        colon = memchr(p, ':', (size_t)(eol - p));
        if (!colon)
            return false;
        for (value = colon + 1; *value == ' '; value++)
            ;
        if (is_field(p, (size_t)(colon - p), "Authorization")) {
            if (req->authorization)
                return false; /* exactly one may arrive */
            req->authorization = value;
            req->authorization_len = (size_t)(eol - value);
        } else if (is_field(p, (size_t)(colon - p), "X-Bench-Index")) {
            req->has_index = true;
            req->index = strtoull(value, NULL, 10);
        } else if (is_field(p, (size_t)(colon - p), "Content-Length")) {
            *ret_body = strtoull(value, NULL, 10);
        } else if (is_field(p, (size_t)(colon - p), "Transfer-Encoding")) {
            return false; /* none of the requests here has such a body */
        }
    }
    return true;
}

struct bench_server_counts bench_server_counts(void)
{
    return counts;
}

static void serve_requests(struct bench_conn *c)
{
    while (!c->dead && c->mode == MODE_REQUEST && !c->want_out && c->in_len) {
        struct bench_request req = {0};
        char *end = memmem(c->in, c->in_len, "\r\n\r\n", 4);
        size_t body_len = 0;
        size_t total;

        if (!end) {
            if (c->in_len == IN_SIZE)
                kill_conn(c);
            return;
        }
        end += 4;
        if (!parse_head(c->in, end, &req, &body_len)) {
            bench_reply(c, "400 Bad Request", "text/plain", "", "", 0, 0);
            kill_conn(c);
            return;
        }
        total = (size_t)(end - c->in) + body_len;
        if (total > IN_SIZE)
            bench_die("a request of %zu bytes is longer than any of this comparison", total);
        if (c->in_len < total)
            return;
        req.body = end;
        req.body_len = body_len;
        c->server->handler(c, &req);
        if (c->dead)
            return;
        memmove(c->in, c->in + total, c->in_len - total);
        c->in_len -= total;
    }
}

static ssize_t receive(struct bench_conn *c)
{
    ssize_t n;

    if (!c->ssl)
        return recv(c->sock.fd, c->in + c->in_len, IN_SIZE - c->in_len, MSG_DONTWAIT);
    n = bench_tls_recv(c->ssl, c->in + c->in_len, IN_SIZE - c->in_len);
    if (n > 0 && !c->counted) {
        c->counted = true;
        counts.n_tls++;
        counts.n_resumed += bench_tls_is_resumed(c->ssl);
    }
    return n;
}

static void on_readable(struct bench_conn *c)
{
    ssize_t n;

    if (c->in_len == IN_SIZE)
        return;
    n = receive(c);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        kill_conn(c);
        return;
    }
    c->in_len += (size_t)n;
    serve_requests(c);
}

static void on_conn(struct bench_conn *c, uint32_t events)
{
    if (c->want_out && events & EPOLLOUT) {
        set_want_out(c, false);
        if (c->mode == MODE_STREAM)
            pump_stream(c);
        else
            flush_out(c);
        serve_requests(c);
        return;
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        if (c->want_out)
            kill_conn(c);
        else
            on_readable(c);
    }
}

static void on_timer(struct bench_conn *c)
{
    uint64_t expired;

    if (read(c->timer.fd, &expired, sizeof(expired)) != sizeof(expired))
        return;
    if (c->mode == MODE_EVENTS) {
        /* Late ticks are not made up for: an event says when it was really sent. */
        send_event(c);
    } else if (c->mode == MODE_DELAY) {
        c->mode = MODE_REQUEST;
        flush_out(c);
    }
    serve_requests(c);
}

static void accept_all(struct server *s, int listen_fd, bool in_tls)
{
    for (;;) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
        int one = 1;
        struct bench_conn *c;

        if (fd < 0)
            return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        c = bench_alloc(sizeof(*c));
        c->in = bench_alloc(IN_SIZE);
        c->server = s;
        c->sock = (struct source){SOURCE_CONN, fd, c};
        c->timer = (struct source){SOURCE_TIMER, -1, c};
        if (in_tls)
            c->ssl = bench_tls_open(s->tls, fd, NULL);
        watch(s->epoll_fd, EPOLL_CTL_ADD, &c->sock, EPOLLIN);
    }
}

static int open_signals(void)
{
    sigset_t set;
    int fd;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    fd = signalfd(-1, &set, SFD_CLOEXEC);
    if (fd < 0)
        bench_die("signalfd: %s", strerror(errno));
    return fd;
}

void bench_serve(int listen_fd, bench_handler_fn *handler)
{
    bench_serve_tls(listen_fd, -1, NULL, handler);
}

void bench_serve_tls(int listen_fd, int tls_fd, struct ssl_ctx_st *tls, bench_handler_fn *handler)
{
    struct server s = {.handler = handler, .tls = tls, .epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
    struct source listener = {SOURCE_LISTENER, listen_fd, NULL};
    struct source tls_listener = {SOURCE_TLS_LISTENER, tls_fd, NULL};
    struct source signals = {SOURCE_SIGNAL, open_signals(), NULL};

    memset(stream_block, 'x', sizeof(stream_block));
    if (s.epoll_fd < 0)
        bench_die("epoll_create1: %s", strerror(errno));
    watch(s.epoll_fd, EPOLL_CTL_ADD, &listener, EPOLLIN);
    if (tls_fd >= 0)
        watch(s.epoll_fd, EPOLL_CTL_ADD, &tls_listener, EPOLLIN);
    watch(s.epoll_fd, EPOLL_CTL_ADD, &signals, EPOLLIN);
    for (;;) {
        struct epoll_event evs[256];
        int n = epoll_wait(s.epoll_fd, evs, 256, -1);

        for (int i = 0; i < n; i++) {
            struct source *src = evs[i].data.ptr;

            if (src->conn && src->conn->dead)
                continue;
            switch (src->kind) {
            case SOURCE_LISTENER:
                accept_all(&s, listen_fd, false);
                break;
            case SOURCE_TLS_LISTENER:
                accept_all(&s, tls_fd, true);
                break;
            case SOURCE_SIGNAL:
                close(s.epoll_fd);
                return;
            case SOURCE_CONN:
                on_conn(src->conn, evs[i].events);
                break;
            case SOURCE_TIMER:
                on_timer(src->conn);
                break;
            }
        }
        while (s.dead) {
            struct bench_conn *c = s.dead;

            s.dead = c->next_dead;
            free(c->in);
            free(c->out);
            free(c);
        }
    }
}
