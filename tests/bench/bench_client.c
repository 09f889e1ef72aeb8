#include "bench_client.h"

#include "bench_tls.h"
#include "bench_util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE (256 * 1024)

static char read_block[READ_SIZE];

/* A request as a small agent runtime writes it: absolute form (RFC 9112, section 3.2.2), inside a
 * tunnel origin form. */
static size_t put_request(char *dst, size_t size, const struct bench_requests *rs, uint64_t index)
{
    char token[BENCH_SUBJECT_MAX];
    char authority[64] = "";
    int n;

    if (!rs->tunnel && !rs->tls)
        snprintf(authority, sizeof(authority), "http://127.0.0.1:%u", rs->origin_port);
    if (rs->direct || rs->tunnel)
        bench_access_token(index, token);
    else
        bench_subject_token(index, token);
    n = snprintf(dst, size,
                 "GET %s%s HTTP/1.1\r\nHost: %s:%u\r\n"
                 "User-Agent: bench-agent/1.0\r\nAccept: application/json, text/event-stream\r\n"
                 "%s\r\nX-Bench-Index: %07llu\r\nAuthorization: Bearer %s\r\n\r\n",
                 authority, rs->path, rs->host, rs->origin_port,
                 rs->malformed ? "Content-Length: 1x" : "A2A-Version: 1.0",
                 (unsigned long long)index, token);
    if (n < 0 || (size_t)n >= size)
        bench_die("a request is longer than %zu bytes", size);
    return (size_t)n;
}

void bench_requests_init(struct bench_requests *rs)
{
    char one[BENCH_SUBJECT_MAX + 1024];

    rs->size = put_request(one, sizeof(one), rs, rs->first);
    rs->table = bench_alloc(rs->size * rs->n_tokens + 1);
    for (uint64_t i = 0; i < rs->n_tokens; i++) {
        if (put_request(one, sizeof(one), rs, rs->first + i) != rs->size)
            bench_die("requests differ in length");
        memcpy(rs->table + rs->size * i, one, rs->size);
    }
}

static void ask_for_tunnel(int fd, const char *host, uint16_t port)
{
    char text[256];
    int n = snprintf(text, sizeof(text), "CONNECT %s:%u HTTP/1.1\r\nHost: %s:%u\r\n\r\n", host,
                     port, host, port);

    if (send(fd, text, (size_t)n, MSG_NOSIGNAL) != n)
        bench_die("CONNECT could not be sent: %s", strerror(errno));
}

/* Reads the answer byte by byte: not one may be taken that belongs into the tunnel. False: not there
 * yet, which a blocking socket never says. */
static bool read_tunnel(int fd)
{
    char text[1024];
    size_t len = 0;
    ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_PEEK);

    if (n < 0 && errno == EAGAIN)
        return false;
    while (len < 4 || memcmp(text + len - 4, "\r\n\r\n", 4) != 0) {
        if (len == sizeof(text) - 1 || recv(fd, text + len, 1, 0) != 1)
            bench_die("CONNECT was not answered, or in pieces");
        len++;
    }
    text[len] = '\0';
    if (strncmp(text, "HTTP/1.1 200", 12) != 0 && strncmp(text, "HTTP/1.0 200", 12) != 0)
        bench_die("CONNECT was answered: %.40s", text);
    return true;
}

void bench_client_connect(struct bench_client *c, struct bench_requests *rs, int rcvbuf)
{
    char name[64];
    const char *host = rs->host;

    c->requests = rs;
    c->fd = bench_connect(rs->proxy_port, rcvbuf);
    if (c->fd < 0)
        bench_die("cannot connect to the proxy at port %u: %s", rs->proxy_port, strerror(errno));
    c->state = rs->tls ? CLIENT_CONNECT : CLIENT_IDLE;
    c->waiting = false;
    if (rs->new_names) {
        snprintf(name, sizeof(name), "h%07llu.%s", (unsigned long long)(rs->first + rs->n_names++),
                 rs->host);
        host = name;
    }
    if (rs->tunnel || rs->tls)
        ask_for_tunnel(c->fd, host, rs->origin_port);
    if (rs->tls)
        c->ssl = bench_tls_open(rs->tls, c->fd, host);
    else if (rs->tunnel)
        (void)read_tunnel(c->fd); /* what is measured comes after */
}

void bench_client_close(struct bench_client *c)
{
    bench_tls_close(c->ssl);
    c->ssl = NULL;
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    free(c->line);
    c->line = NULL;
    c->state = CLIENT_IDLE;
}

static void send_request(struct bench_client *c)
{
    const struct bench_requests *rs = c->requests;
    const char *request = rs->table + rs->size * (c->index - rs->first);
    ssize_t n;

    c->waiting = false;
    c->state = CLIENT_HEAD;
    if (!c->line)
        c->line = bench_alloc(BENCH_HEAD_MAX);
    if (c->ssl)
        n = bench_tls_send(c->ssl, request, rs->size);
    else
        n = send(c->fd, request, rs->size, MSG_NOSIGNAL | MSG_DONTWAIT);
    /* The socket's buffer is empty and far larger than a request. A proxy that closed the idle
     * connection is noticed when the answer is read. */
    if (n >= 0 && (size_t)n != rs->size)
        bench_die("a request could not be sent whole");
}

void bench_client_send(struct bench_client *c, const struct bench_requests *rs, uint64_t nth)
{
    c->index = rs->first + nth % rs->n_tokens;
    c->status = 0;
    c->n_line = 0;
    c->body_bytes = 0;
    c->will_close = false;
    c->sent_ns = bench_now_ns();
    c->waiting = true;
    if (c->state == CLIENT_IDLE)
        send_request(c);
}

static bool is_field(const char *line, size_t name_len, const char *name)
{
    return strlen(name) == name_len && strncasecmp(line, name, name_len) == 0;
}

/* Reads the complete head in c->line[0..len) and sets the state that follows it. */
static bool read_head(struct bench_client *c, size_t len)
{
    char *end = c->line + len;
    char *p = c->line;
    char *eol = memchr(p, '\r', len);
    bool chunked = false;
    bool has_length = false;

    if (!eol || eol - p < 12 || memcmp(p, "HTTP/1.1 ", 9) != 0)
        return false;
    c->status = (unsigned)strtoul(p + 9, NULL, 10);
    for (p = eol + 2; p < end && *p != '\r'; p = eol + 2) {
        char *colon;
        char *value;

        eol = memchr(p, '\r', (size_t)(end - p));
        colon = eol ? memchr(p, ':', (size_t)(eol - p)) : NULL;
        if (!colon)
            return false;
        for (value = colon + 1; *value == ' '; value++)
            ;
        if (is_field(p, (size_t)(colon - p), "Content-Length")) {
            has_length = true;
            c->left = strtoull(value, NULL, 10);
        } else if (is_field(p, (size_t)(colon - p), "Transfer-Encoding")) {
            chunked = eol - value == 7 && memcmp(value, "chunked", 7) == 0;
        } else if (is_field(p, (size_t)(colon - p), "Connection")) {
            c->will_close = eol - value == 5 && strncasecmp(value, "close", 5) == 0;
        }
    }
    c->n_line = 0;
    if (chunked)
        c->state = CLIENT_CHUNK_SIZE;
    else if (has_length)
        c->state = c->left ? CLIENT_BODY : CLIENT_IDLE;
    else
        return false; /* no answer of this comparison ends by closing */
    return true;
}

static size_t take_head(struct bench_client *c, const char *p, size_t len)
{
    size_t room = BENCH_HEAD_MAX - c->n_line;
    size_t take = len < room ? len : room;
    size_t before = c->n_line;
    char *end;

    memcpy(c->line + c->n_line, p, take);
    c->n_line += take;
    end = memmem(c->line, c->n_line, "\r\n\r\n", 4);
    if (!end) {
        if (c->n_line == BENCH_HEAD_MAX)
            c->problem = "the response head is too long";
        return take;
    }
    take = (size_t)(end + 4 - c->line) - before;
    if (!read_head(c, (size_t)(end + 4 - c->line)))
        c->problem = "the response head makes no sense";
    return take;
}

/* Collects a line that ends in LF; true once it is complete (without CRLF, NUL-terminated). */
static bool take_line(struct bench_client *c, const char *p, size_t len, size_t *ret_taken)
{
    const char *lf = memchr(p, '\n', len);
    size_t take = lf ? (size_t)(lf - p) + 1 : len;

    if (c->n_line + take >= BENCH_HEAD_MAX) {
        c->problem = "a chunk line is too long";
        *ret_taken = len;
        return false;
    }
    memcpy(c->line + c->n_line, p, take);
    c->n_line += take;
    *ret_taken = take;
    if (!lf)
        return false;
    c->line[c->n_line - 1] = '\0';
    if (c->n_line > 1 && c->line[c->n_line - 2] == '\r')
        c->line[c->n_line - 2] = '\0';
    c->n_line = 0;
    return true;
}

static size_t take_body(struct bench_client *c, const char *p, size_t len)
{
    /* A chunk's CRLF counts in `left` but is no body. */
    uint64_t end_len = c->state == CLIENT_CHUNK_DATA ? 2 : 0;
    size_t take = len < c->left ? len : (size_t)c->left;
    size_t body = c->left > end_len ? (size_t)(c->left - end_len) : 0;

    if (body > take)
        body = take;
    if (body && c->on_body && p)
        c->on_body(c, p, body);
    c->body_bytes += body;
    c->left -= take;
    if (!c->left)
        c->state = c->state == CLIENT_CHUNK_DATA ? CLIENT_CHUNK_SIZE : CLIENT_IDLE;
    return take;
}

static void consume(struct bench_client *c, const char *p, size_t len)
{
    while (len && !c->problem) {
        size_t take = 0;

        switch (c->state) {
        case CLIENT_CONNECT:
        case CLIENT_TLS:
        case CLIENT_IDLE:
            c->problem = "bytes after the response";
            return;
        case CLIENT_HEAD:
            take = take_head(c, p, len);
            break;
        case CLIENT_BODY:
        case CLIENT_CHUNK_DATA:
            take = take_body(c, p, len);
            break;
        case CLIENT_CHUNK_SIZE:
            if (take_line(c, p, len, &take)) {
                c->left = strtoull(c->line, NULL, 16);
                if (c->left) {
                    c->left += 2;
                    c->state = CLIENT_CHUNK_DATA;
                } else {
                    c->state = CLIENT_TRAILER;
                }
            }
            break;
        case CLIENT_TRAILER:
            if (take_line(c, p, len, &take) && !*c->line)
                c->state = CLIENT_IDLE;
            break;
        }
        p += take;
        len -= take;
    }
}

/* On towards the first request. */
static enum bench_received open_tls(struct bench_client *c)
{
    int done;

    if (c->state == CLIENT_CONNECT) {
        if (!read_tunnel(c->fd))
            return RECEIVED_MORE;
        c->state = CLIENT_TLS;
    }
    done = bench_tls_handshake(c->ssl, &c->problem);
    if (done <= 0)
        return done < 0 ? RECEIVED_BROKEN : RECEIVED_MORE;
    c->state = CLIENT_IDLE;
    if (c->requests->new_names) {
        c->status = 200;
        return RECEIVED_DONE;
    }
    if (c->waiting)
        send_request(c);
    return RECEIVED_MORE;
}

static ssize_t receive(struct bench_client *c, size_t want)
{
    if (c->ssl)
        return bench_tls_recv(c->ssl, read_block, want);
    return recv(c->fd, read_block, want, MSG_DONTWAIT);
}

enum bench_received bench_client_receive(struct bench_client *c)
{
    bool was_idle = c->state == CLIENT_IDLE;
    bool skip = c->skip_body && c->state == CLIENT_BODY && !c->ssl;
    size_t want = c->max_read ? c->max_read : READ_SIZE;
    ssize_t n;

    if (c->state == CLIENT_CONNECT || c->state == CLIENT_TLS)
        return open_tls(c);
    if (want > READ_SIZE)
        want = READ_SIZE;
    if (skip && want > c->left)
        want = (size_t)c->left;
    if (skip) /* tcp(7): thrown away in the kernel */
        n = recv(c->fd, NULL, want, MSG_DONTWAIT | MSG_TRUNC);
    else
        n = receive(c, want);
    if (n < 0 && errno == EAGAIN)
        return RECEIVED_MORE;
    if (n <= 0) {
        if (was_idle)
            return RECEIVED_CLOSED;
        c->problem = n == 0 ? "closed inside a response" : strerror(errno);
        return RECEIVED_BROKEN;
    }
    if (skip)
        take_body(c, NULL, (size_t)n);
    else
        consume(c, read_block, (size_t)n);
    if (c->problem)
        return RECEIVED_BROKEN;
    return c->state == CLIENT_IDLE ? RECEIVED_DONE : RECEIVED_MORE;
}
