#include "fetch_loop.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <unistd.h>

#include "tokenhop/base/mem.h"
#include "worker_private.h"

#define MAX_CONNECTIONS 64 /* kept, a worker and trust */
#define MAX_UNDER_WAY 256
#define AGAIN_MS 10

/* A socket of curl, from its opening to its closing. Its event stays registered when curl has no
 * more interest (between two requests of a kept connection), as it will have the same again: that
 * saves two calls of epoll_ctl() a request. One that fires unwanted is taken out then. */
struct loop_socket {
    struct th_list link;
    struct th_fetch_loop *loop;
    struct event event;
    short added;  /* EV_READ, EV_WRITE */
    short wanted; /* by curl */
    curl_socket_t fd;
};

static void reap(struct th_fetch_loop *loop)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(loop->multi, &left)) != NULL) {
        /* Taking the handle out invalidates the message. */
        CURL *easy = message->easy_handle;
        CURLcode result = message->data.result;
        if (message->msg != CURLMSG_DONE)
            continue;
        curl_multi_remove_handle(loop->multi, easy);
        loop->done(loop->arg, easy, result);
    }
}

static void act(struct th_fetch_loop *loop, curl_socket_t fd, int what)
{
    int running;

    curl_multi_socket_action(loop->multi, fd, what, &running);
    reap(loop);
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
    struct loop_socket *sock = arg;
    int action =
        ((what & EV_READ) ? CURL_CSELECT_IN : 0) | ((what & EV_WRITE) ? CURL_CSELECT_OUT : 0);

    worker_awake(sock->loop->worker);
    if (sock->wanted == 0) {
        event_del(&sock->event);
        sock->added = 0;
        return;
    }
    act(sock->loop, fd, action); /* may have closed and freed it */
}

static void on_timer(struct th_timer *timer)
{
    act(TH_CONTAINER_OF(timer, struct th_fetch_loop, timer), CURL_SOCKET_TIMEOUT, 0);
}

static void on_soon(struct th_soon *soon)
{
    act(TH_CONTAINER_OF(soon, struct th_fetch_loop, soon), CURL_SOCKET_TIMEOUT, 0);
}

static int on_curl_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct th_fetch_loop *loop = arg;

    th_timer_stop(&loop->worker->wheel, &loop->timer);
    th_soon_cancel(&loop->soon);
    if (timeout_ms == 0)
        th_worker_soon(loop->worker, &loop->soon);
    else if (timeout_ms > 0)
        th_timer_set(&loop->worker->wheel, &loop->timer, loop->worker->now_ms + timeout_ms);
    return 0;
}

static struct loop_socket *find_socket(struct th_fetch_loop *loop, curl_socket_t fd)
{
    TH_LIST_EACH(it, &loop->sockets) {
        struct loop_socket *sock = TH_LIST_ENTRY(it, struct loop_socket, link);
        if (sock->fd != fd)
            continue;
        th_list_remove(it);
        th_list_push_front(&loop->sockets, it);
        return sock;
    }
    return NULL;
}

/* Where the loop has no memory for it, it is tried again: a callback that failed would have libcurl give up the multi
 * handle for good, with every transfer of the pool, now and later. */
static void watch(struct loop_socket *sock, short wanted)
{
    struct th_fetch_loop *loop = sock->loop;

    sock->wanted = wanted;
    if (wanted == 0 || wanted == sock->added)
        return;
    if (sock->added != 0)
        event_del(&sock->event);
    sock->added = 0;
    if (event_assign(&sock->event, sock->loop->worker->base, sock->fd, (short)(wanted | EV_PERSIST),
                     on_socket, sock) != 0 ||
        event_add(&sock->event, NULL) != 0)
        th_timer_set(&loop->worker->wheel, &loop->again, loop->worker->now_ms + AGAIN_MS);
    else
        sock->added = wanted;
}

static void on_again(struct th_timer *timer)
{
    struct th_fetch_loop *loop = TH_CONTAINER_OF(timer, struct th_fetch_loop, again);

    TH_LIST_EACH(it, &loop->sockets) {
        struct loop_socket *sock = TH_LIST_ENTRY(it, struct loop_socket, link);
        watch(sock, sock->wanted);
    }
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *assigned)
{
    struct th_fetch_loop *loop = arg;
    struct loop_socket *sock = assigned != NULL ? assigned : find_socket(loop, fd);
    short wanted = 0;

    /* curl may say of a socket that we never saw, or that is closed, that it is not interested. */
    if (sock == NULL)
        return 0;
    if (assigned == NULL && what != CURL_POLL_REMOVE)
        curl_multi_assign(loop->multi, fd, sock);
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        wanted |= EV_READ;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        wanted |= EV_WRITE;
    watch(sock, wanted);
    return 0;
}

static int on_close_socket(void *arg, curl_socket_t fd)
{
    struct th_fetch_loop *loop = arg;
    struct loop_socket *sock = find_socket(loop, fd);

    if (sock != NULL) {
        if (sock->added != 0)
            event_del(&sock->event);
        th_list_remove(&sock->link);
        th_free(sock);
    }
    return close(fd);
}

curl_socket_t th_fetch_loop_open(struct th_fetch_loop *loop, const struct curl_sockaddr *address)
{
    struct loop_socket *sock = th_calloc(1, sizeof(*sock));

    if (sock == NULL)
        return CURL_SOCKET_BAD;
    sock->loop = loop;
    sock->fd = socket(address->family, address->socktype | SOCK_NONBLOCK | SOCK_CLOEXEC,
                      address->protocol);
    if (sock->fd < 0) {
        th_free(sock);
        return CURL_SOCKET_BAD;
    }
    th_list_push_front(&loop->sockets, &sock->link);
    return sock->fd;
}

int th_fetch_loop_adopt(struct th_fetch_loop *loop, CURL *easy)
{
    CURLcode r = curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);

    if (r == CURLE_OK)
        r = curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, loop);
    if (r == CURLE_OK && curl_multi_add_handle(loop->multi, easy) != CURLM_OK)
        r = CURLE_FAILED_INIT;
    return r == CURLE_OK ? 0 : TH_E_NOMEM;
}

int th_fetch_loop_init(struct th_fetch_loop *loop, struct th_worker *worker,
                       void (*done)(void *arg, CURL *easy, CURLcode result), void *arg)
{
    CURLMcode r;

    *loop = (struct th_fetch_loop){.worker = worker, .soon.fn = on_soon, .done = done, .arg = arg};
    th_list_init(&loop->sockets);
    th_timer_init(&loop->timer, on_timer);
    th_timer_init(&loop->again, on_again);
    loop->multi = curl_multi_init();
    if (loop->multi == NULL)
        return TH_E_NOMEM;
    r = curl_multi_setopt(loop->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    if (r == CURLM_OK)
        r = curl_multi_setopt(loop->multi, CURLMOPT_SOCKETDATA, loop);
    if (r == CURLM_OK)
        r = curl_multi_setopt(loop->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    if (r == CURLM_OK)
        r = curl_multi_setopt(loop->multi, CURLMOPT_TIMERDATA, loop);
    if (r == CURLM_OK)
        r = curl_multi_setopt(loop->multi, CURLMOPT_MAXCONNECTS, (long)MAX_CONNECTIONS);
    if (r == CURLM_OK)
        r = curl_multi_setopt(loop->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)MAX_UNDER_WAY);
    if (r != CURLM_OK) {
        th_fetch_loop_fini(loop);
        return TH_E_NOMEM;
    }
    return 0;
}

void th_fetch_loop_fini(struct th_fetch_loop *loop)
{
    if (loop->multi == NULL)
        return;
    curl_multi_cleanup(loop->multi); /* closes the kept connections, through on_close_socket() */
    loop->multi = NULL;
    th_timer_stop(&loop->worker->wheel, &loop->timer);
    th_timer_stop(&loop->worker->wheel, &loop->again);
    th_soon_cancel(&loop->soon);
    TH_REQUIRE(th_list_is_empty(&loop->sockets));
}
