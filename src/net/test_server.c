#include "test_server.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct peer {
    struct server *server;
    int fd;
    SSL *ssl;
    int n_requests;
    char request[64 * 1024];
    size_t len;
};

static ssize_t peer_read(struct peer *peer, void *bytes, size_t len)
{
    return peer->ssl != NULL ? SSL_read(peer->ssl, bytes, (int)len) : recv(peer->fd, bytes, len, 0);
}

static void say_bytes(struct peer *peer, const void *bytes, size_t len)
{
    const char *at = bytes;

    while (len > 0) {
        ssize_t n = peer->ssl != NULL ? SSL_write(peer->ssl, at, (int)len)
                                      : send(peer->fd, at, len, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        at += n;
        len -= (size_t)n;
    }
}

static void say(struct peer *peer, const char *text)
{
    say_bytes(peer, text, strlen(text));
}

/* One whole request; false at the end. */
static bool read_request(struct peer *peer)
{
    peer->len = 0;
    for (;;) {
        peer->request[peer->len] = '\0';
        const char *end = strstr(peer->request, "\r\n\r\n");
        if (end != NULL) {
            const char *length = strstr(peer->request, "Content-Length: ");
            size_t body = length != NULL && length < end ? strtoul(length + 16, NULL, 10) : 0;
            if (peer->len >= (size_t)(end + 4 - peer->request) + body)
                return true;
        }
        if (peer->len + 1 >= sizeof(peer->request))
            return false;
        ssize_t n =
            peer_read(peer, peer->request + peer->len, sizeof(peer->request) - 1 - peer->len);
        if (n <= 0)
            return false;
        peer->len += (size_t)n;
    }
}

static void say_whole(struct peer *peer, const char *fields, const char *body, size_t len)
{
    char *all = malloc(512 + len);
    int head = snprintf(all, 512, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n%s\r\n", len, fields);

    memcpy(all + head, body, len);
    say_bytes(peer, all, (size_t)head + len);
    free(all);
}

static void say_zeros(struct peer *peer, size_t count)
{
    static const char block[8192];

    for (; count > 0; count -= count < sizeof(block) ? count : sizeof(block))
        say_bytes(peer, block, count < sizeof(block) ? count : sizeof(block));
}

static void wait_for_end(struct peer *peer)
{
    char byte;
    while (peer_read(peer, &byte, 1) > 0)
        ;
}

static void cut(struct peer *peer)
{
    struct linger linger = {1, 0};
    setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

#define OK "HTTP/1.1 200 OK\r\n"

struct scene {
    const char *path;
    const char *text; /* what is sent, as it is */
    bool close;       /* and closed then */
};

static const struct scene scenes[] = {
    {"/ok", OK "Content-Type: application/json\r\nContent-Length: 8\r\n\r\n{\"a\": 1}", false},
    {"/redirect", "HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n", false},
    {"/cut", OK "Content-Length: 100\r\n\r\nshort", true},
    {"/chunk-cut", OK "Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", true},
    {"/chunked", OK "Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\n\r\n", false},
    {"/until-close", OK "Connection: close\r\n\r\nall of it", true},
    {"/gzip", OK "Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x01", false},
    {"/garbage", "SSH-2.0-OpenSSH_9.2\r\n", true},
    {"/nothing", "", true},
    {"/interim",
     "HTTP/1.1 103 Early Hints\r\nDPoP-Nonce: early\r\nRetry-After: 3\r\n\r\n" OK
     "WWW-Authenticate: DPoP error=\"use_dpop_nonce\"\r\nContent-Length: 0\r\n\r\n",
     false},
    {"/limited",
     "HTTP/1.1 429 Too Many\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after:  7 \r\n"
     "X-Rate-Limit-Reset: 784111787\r\nDPoP-Nonce: n1\r\nContent-Length: 0\r\n\r\n",
     false},
    {"/limited-date",
     "HTTP/1.1 503 No\r\nRetry-After: Sun, 06 Nov 1994 08:50:37 GMT\r\n"
     "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nX-Rate-Limit-Reset: 784111700\r\n"
     "Content-Length: 0\r\n\r\n",
     false},
    {"/limited-nonsense",
     "HTTP/1.1 503 No\r\nRetry-After: 99999999999999999999\r\nX-Rate-Limit-Reset: soon\r\n"
     "Content-Length: 0\r\n\r\n",
     false},
};

/* False: the connection is closed. */
static bool answer(struct peer *peer)
{
    char path[64];

    if (sscanf(peer->request, "%*s %63s", path) != 1)
        return false;
    for (size_t i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++) {
        if (strcmp(path, scenes[i].path) != 0)
            continue;
        say(peer, scenes[i].text);
        return !scenes[i].close;
    }
    if (strcmp(path, "/echo") == 0) {
        say_whole(peer, "", peer->request, peer->len);
    } else if (strcmp(path, "/answer") == 0) {
        static const char body[1024] = "{}";
        say_whole(peer, "Content-Type: application/json\r\n", body, sizeof(body));
    } else if (strcmp(path, "/big") == 0) {
        say(peer, OK "\r\n");
        say_zeros(peer, 2 * 1024 * 1024);
        return false;
    } else if (strcmp(path, "/big-length") == 0) {
        say(peer, OK "Content-Length: 2097152\r\n\r\n");
        wait_for_end(peer);
        return false;
    } else if (strcmp(path, "/big-head") == 0) {
        say(peer, OK);
        for (int i = 0; i < 200; i++) {
            char line[600];
            snprintf(line, sizeof(line), "X-Fill-%d: %0500d\r\n", i, i);
            say(peer, line);
        }
        say(peer, "Content-Length: 0\r\n\r\n");
    } else if (strcmp(path, "/silent") == 0) {
        say(peer, OK "Content-Length: 10\r\n\r\nhalf");
        wait_for_end(peer);
        return false;
    } else if (strcmp(path, "/reset") == 0) {
        say(peer, OK "Content-Length: 10\r\n\r\nhalf");
        cut(peer);
        return false;
    } else if (strcmp(path, "/once") == 0) {
        /* Answers the first request of a connection, takes the second and closes. */
        if (peer->n_requests > 1)
            return false;
        say_whole(peer, "", "once", 4);
    } else {
        say(peer, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    }
    return true;
}

static void *run_peer(void *arg)
{
    struct peer *peer = arg;

    if (peer->server->tls != NULL) {
        peer->ssl = SSL_new(peer->server->tls);
        SSL_set_fd(peer->ssl, peer->fd);
        if (SSL_accept(peer->ssl) != 1)
            goto out;
    }
    while (read_request(peer)) {
        peer->n_requests++;
        atomic_fetch_add(&peer->server->n_requests, 1);
        if (!answer(peer))
            break;
    }
    if (peer->ssl != NULL)
        SSL_shutdown(peer->ssl);
out:
    SSL_free(peer->ssl);
    /* Told now, closed by server_stop(): the number must not be taken meanwhile. */
    struct linger linger;
    socklen_t len = sizeof(linger);
    getsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &linger, &len);
    if (linger.l_onoff) {
        struct sockaddr none = {.sa_family = AF_UNSPEC};
        connect(peer->fd, &none, sizeof(none)); /* sends the reset */
    } else {
        shutdown(peer->fd, SHUT_RDWR);
    }
    free(peer);
    return NULL;
}

static void *run_acceptor(void *arg)
{
    struct server *server = arg;

    for (;;) {
        int fd = accept(server->listening, NULL, NULL);
        int n = atomic_load(&server->n_connections);
        if (fd < 0)
            return NULL;
        if (atomic_load(&server->stopped) || n == SERVER_CONNECTIONS) {
            close(fd);
            return NULL;
        }
        struct peer *peer = calloc(1, sizeof(*peer));
        peer->server = server;
        peer->fd = fd;
        server->fds[n] = fd;
        if (pthread_create(&server->threads[n], NULL, run_peer, peer) != 0)
            abort();
        atomic_store(&server->n_connections, n + 1);
    }
}

void server_start(struct server *server, SSL_CTX *tls)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);

    memset(server, 0, sizeof(*server));
    server->tls = tls;
    server->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(server->listening, (struct sockaddr *)&address, len) != 0 ||
        listen(server->listening, 64) != 0 ||
        getsockname(server->listening, (struct sockaddr *)&address, &len) != 0 ||
        pthread_create(&server->acceptor, NULL, run_acceptor, server) != 0)
        abort();
    server->port = ntohs(address.sin_port);
}

void server_stop(struct server *server)
{
    atomic_store(&server->stopped, true);
    shutdown(server->listening, SHUT_RDWR);
    pthread_join(server->acceptor, NULL);
    close(server->listening);
    for (int i = 0; i < atomic_load(&server->n_connections); i++)
        shutdown(server->fds[i], SHUT_RDWR);
    for (int i = 0; i < atomic_load(&server->n_connections); i++) {
        pthread_join(server->threads[i], NULL);
        close(server->fds[i]);
    }
}
