/* A small HTTP/1.1 server for the origin and the authorization servers of the comparison.
 *
 * One thread, one epoll, keep-alive, no pipelining beyond what keep-alive needs (a second request is
 * read when the first has been answered). A request is handed over whole, body included. The hot
 * path is one recv, one send and its share of one epoll_wait.
 *
 * The handler answers by exactly one of bench_reply() (at once or, with a delay, later),
 * bench_reply_stream() and bench_reply_events(). It must not keep pointers into the request. */
#ifndef BENCH_SERVER_H
#define BENCH_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bench_conn;
struct ssl_ctx_st;

struct bench_request {
    const char *method, *target; /* not NUL-terminated; target without scheme and authority */
    size_t method_len, target_len;
    const char *authorization; /* NULL if absent; field value */
    size_t authorization_len;
    bool has_index; /* X-Bench-Index was there */
    uint64_t index;
    const char *body;
    size_t body_len;
};

typedef void bench_handler_fn(struct bench_conn *conn, const struct bench_request *req);

/* Serves until SIGTERM or SIGINT, then returns. */
void bench_serve(int listen_fd, bench_handler_fn *handler);
/* The same on a second socket too (-1: none), in TLS. */
void bench_serve_tls(int listen_fd, int tls_fd, struct ssl_ctx_st *tls, bench_handler_fn *handler);

/* Connections in TLS that were accepted, and those of them that took up a session. */
struct bench_server_counts {
    uint64_t n_tls, n_resumed;
};
struct bench_server_counts bench_server_counts(void);

/* status_line: "200 OK"; extra: further header lines, each with its CRLF, or "". */
void bench_reply(struct bench_conn *conn, const char *status_line, const char *type,
                 const char *extra, const char *body, size_t body_len, unsigned delay_ms);

/* After the reply that was begun: closes. */
void bench_close_after(struct bench_conn *conn);

/* 200 with `size` bytes of body, written as fast as the peer takes them. */
void bench_reply_stream(struct bench_conn *conn, uint64_t size);

/* 200 text/event-stream in chunks: `count` events, `interval_us` apart; each says the time
 * (bench_now_ns) just before it was written: "data: N\n\n". */
void bench_reply_events(struct bench_conn *conn, uint64_t interval_us, uint64_t count);

#endif
