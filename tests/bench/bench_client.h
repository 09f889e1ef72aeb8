/* The client side of the load generator: connections through the proxy, requests, and a response
 * parser that checks what comes back. Loopback only, one thread. With TLS a connection first asks for a
 * tunnel (CONNECT) and makes its handshake in there; a request that is sent meanwhile waits for it.
 *
 * A connection has one request in flight at most. bench_client_receive() is called when its socket
 * is readable (or, for slow readers, when it is time to read); it reads once and says how far the
 * response has come. */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_HEAD_MAX 8192

enum bench_client_state {
    CLIENT_CONNECT, /* the CONNECT was sent */
    CLIENT_TLS,     /* the handshake is under way */
    CLIENT_IDLE,
    CLIENT_HEAD,
    CLIENT_BODY,       /* Content-Length; `left` bytes to come */
    CLIENT_CHUNK_SIZE, /* the line before a chunk */
    CLIENT_CHUNK_DATA, /* `left` bytes of the chunk and its CRLF to come */
    CLIENT_TRAILER,    /* the line after the last chunk */
};

enum bench_received {
    RECEIVED_MORE,   /* nothing complete yet */
    RECEIVED_DONE,   /* the response is complete; client->status says what it was */
    RECEIVED_CLOSED, /* closed while idle: not an error by itself */
    RECEIVED_BROKEN, /* closed or nonsense inside a response; client->problem says what */
};

struct ssl_st;
struct ssl_ctx_st;
struct bench_client;
struct bench_requests;
typedef void bench_body_fn(struct bench_client *client, const char *data, size_t len);

struct bench_client {
    int fd; /* -1: not connected */
    enum bench_client_state state;
    const struct bench_requests *requests;
    struct ssl_st *ssl; /* NULL: in clear */
    bool waiting;       /* the request with token `index` is sent once TLS is there */
    unsigned status;
    bool will_close; /* the proxy said Connection: close */
    bool skip_body;  /* discard body bytes in the kernel, without copying them here */
    uint64_t left;
    uint64_t body_bytes; /* of this response */
    uint64_t sent_ns;
    uint64_t index;         /* of the token that was sent */
    size_t n_line;          /* bytes of the head or chunk line collected in `line` */
    size_t max_read;        /* of one call; 0: no limit */
    bench_body_fn *on_body; /* NULL: body bytes are only counted */
    void *user;
    const char *problem;
    char *line; /* BENCH_HEAD_MAX bytes while a response is being read, else NULL */
};

/* How requests look; set once. */
struct bench_requests {
    uint16_t proxy_port, origin_port;
    const char *path;
    uint64_t first, n_tokens; /* indices first .. first + n_tokens - 1 */
    bool direct;              /* to the origin itself: access tokens are sent */
    bool malformed;           /* with a length that is no number, which everybody refuses */
    bool tunnel;              /* through CONNECT; what is inside is as direct */
    struct ssl_ctx_st *tls;   /* through CONNECT and in TLS, with subject tokens; NULL: not */
    bool new_names;   /* with TLS: each connection is to a host of its own, and no request made */
    uint64_t n_names; /* how many have been */
    const char *host; /* of the origin, and of the tunnel */
    size_t size;      /* of each, all are equal */
    char *table;
};

void bench_requests_init(struct bench_requests *rs);

/* Connects; dies if that fails, for then the numbers mean nothing. */
void bench_client_connect(struct bench_client *client, struct bench_requests *rs, int rcvbuf);
void bench_client_close(struct bench_client *client);

/* Sends the request with token first + nth % n_tokens; with new_names nothing: the connection itself,
 * once its handshake is done, counts as a response of status 200. */
void bench_client_send(struct bench_client *client, const struct bench_requests *rs, uint64_t nth);

enum bench_received bench_client_receive(struct bench_client *client);

#endif
