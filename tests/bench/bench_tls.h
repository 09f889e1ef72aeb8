/* TLS for the load generator and the origin of the comparison: OpenSSL on non-blocking sockets, with
 * calls that look like recv() and send(). Neither side ever resumes a session unless asked to: what is
 * compared are whole handshakes. */
#ifndef BENCH_TLS_H
#define BENCH_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct ssl_st;
struct ssl_ctx_st;

/* The client's side: trusts the PEM file alone, and takes up no session. */
struct ssl_ctx_st *bench_tls_client(const char *ca_file);
/* The server's side. `resume`: tickets are given out, and taken. */
struct ssl_ctx_st *bench_tls_server(const char *cert_file, const char *key_file, bool resume);

/* On a connected socket, which becomes non-blocking. `host` (NULL on the server's side) is sent as the
 * server name, unless it is an address, and must be in the certificate. */
struct ssl_st *bench_tls_open(struct ssl_ctx_st *ctx, int fd, const char *host);
/* Says goodbye; the socket stays the caller's. NULL is fine. */
void bench_tls_close(struct ssl_st *ssl);

/* 1 done, 0 not yet (wait until the socket is readable), -1 failed: *ret_problem says why. */
int bench_tls_handshake(struct ssl_st *ssl, const char **ret_problem);
bool bench_tls_is_resumed(const struct ssl_st *ssl);

/* As recv() and send() with MSG_DONTWAIT: -1 with EAGAIN, or with EPROTO where TLS was broken. A receive
 * returns one record at most and leaves none of it behind where `len` is 16 KiB or more. */
ssize_t bench_tls_recv(struct ssl_st *ssl, void *bytes, size_t len);
ssize_t bench_tls_send(struct ssl_st *ssl, const void *bytes, size_t len);

#endif
