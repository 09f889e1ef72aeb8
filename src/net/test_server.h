/* A small HTTP server on loopback for the tests of fetching: one thread a connection, what it
 * answers is chosen by the path of the request. It misbehaves on demand. */
#ifndef TH_NET_TEST_SERVER_H
#define TH_NET_TEST_SERVER_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#define SERVER_CONNECTIONS 64

struct server {
    int listening;
    uint16_t port;
    SSL_CTX *tls; /* NULL: cleartext */
    pthread_t acceptor;
    pthread_t threads[SERVER_CONNECTIONS];
    int fds[SERVER_CONNECTIONS];
    atomic_int n_connections;
    atomic_int n_requests;
    atomic_bool stopped;
};

void server_start(struct server *server, SSL_CTX *tls);
void server_stop(struct server *server);

#endif
