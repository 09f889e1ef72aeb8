/* libcurl's multi interface on the loop of a worker: its sockets are events of the worker's base,
 * its timer is one of the worker's wheel. One multi handle, hence one pool of kept connections. The
 * worker's thread only.
 *
 * curl forbids to call it from its own callbacks: these here only take note, and all that follows
 * (`done`) is called when curl has returned. */
#ifndef TH_NET_FETCH_LOOP_H
#define TH_NET_FETCH_LOOP_H

#include <curl/curl.h>

#include "tokenhop/net/worker.h"

struct th_fetch_loop {
    struct th_worker *worker;
    CURLM *multi;
    struct th_list sockets; /* struct loop_socket.link, the last used first */
    struct th_timer timer;
    struct th_timer again; /* for sockets that could not be watched */
    struct th_soon soon;   /* a timer of 0: within this turn */
    /* A transfer has ended and is out of the multi handle already. */
    void (*done)(void *arg, CURL *easy, CURLcode result);
    void *arg;
};

int th_fetch_loop_init(struct th_fetch_loop *loop, struct th_worker *worker,
                       void (*done)(void *arg, CURL *easy, CURLcode result), void *arg) TH_MUST;
/* All transfers have been taken out. A zeroed one is fine. */
void th_fetch_loop_fini(struct th_fetch_loop *loop);
/* Makes the transfer's sockets the loop's. Once for each easy handle that is added to it. */
int th_fetch_loop_adopt(struct th_fetch_loop *loop, CURL *easy) TH_MUST;
/* For CURLOPT_OPENSOCKETFUNCTION: a new socket for curl, or CURL_SOCKET_BAD. */
curl_socket_t th_fetch_loop_open(struct th_fetch_loop *loop, const struct curl_sockaddr *address);

#endif
