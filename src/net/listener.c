#include "tokenhop/net/listener.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "tokenhop/base/mem.h"
#include "worker_private.h"

#define PAUSE_MS 100
#define MAX_ACCEPTS 64 /* in one turn: connections that are open have a turn too */

struct th_listener {
    struct th_worker *worker;
    struct event event;
    struct th_timer resume;
    struct th_address address;
    th_accept_fn *fn;
    void *arg;
    int fd;
    unsigned quota;     /* how many to accept in the next turn */
    uint64_t last_turn; /* in which it accepted */
    bool paused;        /* by its owner */
    bool added;
    bool *freed; /* while accepting: set when `fn` frees the listener */
};

static int watch(struct th_listener *listener, bool on)
{
    if (on == listener->added)
        return 0;
    if (on ? event_add(&listener->event, NULL) != 0 : event_del(&listener->event) != 0)
        return TH_E_NOMEM;
    listener->added = on;
    return 0;
}

static void on_resume(struct th_timer *timer)
{
    struct th_listener *listener = TH_CONTAINER_OF(timer, struct th_listener, resume);

    if (!listener->paused && watch(listener, true) != 0)
        th_timer_set(&listener->worker->wheel, timer, listener->worker->now_ms + PAUSE_MS);
}

/* What accept() has failed with: whether to go on at once. */
static bool goes_on(struct th_listener *listener, int err)
{
    switch (err) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        /* The connection stays in the queue, and the descriptor would stay readable: a loop that
         * turns without end. */
        (void)watch(listener, false);
        th_timer_set(&listener->worker->wheel, &listener->resume,
                     listener->worker->now_ms + PAUSE_MS);
        return false;
    case EAGAIN:
        listener->quota = 1;
        return false;
    default:
        return true; /* this one was gone before it was accepted (accept(2), "Error handling") */
    }
}

static bool accept_one(struct th_listener *listener)
{
    struct sockaddr_storage peer = {0};
    socklen_t len = sizeof(peer);
    struct th_address address;
    int fd = accept4(listener->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return goes_on(listener, errno);
    if (th_address_from_sockaddr((struct sockaddr *)&peer, len, &address) != 0) {
        memset(&address, 0, sizeof(address));
        address.any.sa_family = peer.ss_family;
    }
    listener->fn(listener->arg, fd, &address);
    return true;
}

static void on_listener(evutil_socket_t fd, short what, void *arg)
{
    struct th_listener *listener = arg;
    struct th_worker *worker = listener->worker;
    bool freed = false;

    worker_awake(worker);
    /* To accept until EAGAIN would cost a call more for each connection that comes alone. It is
     * level-triggered: what is left is told in the next turn, and then twice as many are taken. */
    if (listener->quota == 0 || listener->last_turn + 1 != worker->private->turn)
        listener->quota = 1;
    else if (listener->quota < MAX_ACCEPTS)
        listener->quota *= 2;
    listener->last_turn = worker->private->turn;
    listener->freed = &freed;
    for (unsigned n = listener->quota; n > 0; n--)
        if (!accept_one(listener) || freed || listener->paused)
            break;
    if (!freed)
        listener->freed = NULL;
}

static int bind_socket(const struct th_address *address, int backlog, int *ret_fd,
                       struct th_errinfo *reterr)
{
    char text[TH_ADDRESS_TEXT_MAX];
    int one = 1;
    int family = address->any.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    th_address_format(address, text);
    if (fd < 0)
        return th_errinfo_set(reterr, TH_E_IO, text, NULL, "socket: %s", strerror(errno));
    /* TCP_NODELAY is inherited by what is accepted, which saves a call for each. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0 ||
        (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0)) {
        th_errinfo_set(reterr, TH_E_IO, text, NULL, "setsockopt: %s", strerror(errno));
    } else if (bind(fd, &address->any, th_address_len(address)) < 0) {
        th_errinfo_set(reterr, TH_E_IO, text,
                       errno == EADDRINUSE ? "stop what listens there, or choose another address"
                                           : "choose an address of this machine",
                       "cannot listen: %s", strerror(errno));
    } else if (listen(fd, backlog) < 0) {
        th_errinfo_set(reterr, TH_E_IO, text, NULL, "listen: %s", strerror(errno));
    } else {
        *ret_fd = fd;
        return 0;
    }
    close(fd);
    return TH_E_IO;
}

int th_listener_new_fd(struct th_worker *worker, int fd, th_accept_fn *fn, void *arg,
                       struct th_listener **ret_listener)
{
    struct sockaddr_storage own = {0};
    socklen_t len = sizeof(own);
    struct th_listener *listener = th_calloc(1, sizeof(*listener));

    if (listener == NULL) {
        close(fd);
        return TH_E_NOMEM;
    }
    listener->worker = worker;
    listener->fn = fn;
    listener->arg = arg;
    listener->fd = fd;
    listener->quota = 1;
    th_timer_init(&listener->resume, on_resume);
    if (getsockname(fd, (struct sockaddr *)&own, &len) == 0 &&
        th_address_from_sockaddr((struct sockaddr *)&own, len, &listener->address) != 0)
        listener->address.any.sa_family = own.ss_family;
    if (event_assign(&listener->event, worker->base, fd, EV_READ | EV_PERSIST, on_listener,
                     listener) != 0 ||
        watch(listener, true) != 0) {
        close(fd);
        th_free(listener);
        return TH_E_NOMEM;
    }
    *ret_listener = listener;
    return 0;
}

int th_listener_new(struct th_worker *worker, const struct th_address *address, int backlog,
                    th_accept_fn *fn, void *arg, struct th_listener **ret_listener,
                    struct th_errinfo *reterr)
{
    int fd = -1;
    int r = bind_socket(address, backlog, &fd, reterr);

    if (r != 0)
        return r;
    r = th_listener_new_fd(worker, fd, fn, arg, ret_listener);
    if (r != 0)
        th_errinfo_set(reterr, r, NULL, NULL, "out of memory for a listener");
    return r;
}

int th_listener_set_transparent(struct th_listener *listener, struct th_errinfo *reterr)
{
    bool is_ipv6 = listener->address.any.sa_family == AF_INET6;
    char text[TH_ADDRESS_TEXT_MAX];
    int one = 1;

    if (setsockopt(listener->fd, is_ipv6 ? IPPROTO_IPV6 : IPPROTO_IP,
                   is_ipv6 ? IPV6_TRANSPARENT : IP_TRANSPARENT, &one, sizeof(one)) == 0)
        return 0;
    th_address_format(&listener->address, text);
    return th_errinfo_set(
        reterr, TH_E_IO, text,
        "give it the capability CAP_NET_ADMIN, or redirect by NAT in place of TPROXY",
        "IP_TRANSPARENT: %s", strerror(errno));
}

const struct th_address *th_listener_address(const struct th_listener *listener)
{
    return &listener->address;
}

void th_listener_pause(struct th_listener *listener, bool pause)
{
    listener->paused = pause;
    th_timer_stop(&listener->worker->wheel, &listener->resume);
    if (watch(listener, !pause) != 0)
        th_timer_set(&listener->worker->wheel, &listener->resume,
                     listener->worker->now_ms + PAUSE_MS);
}

struct th_listener *th_listener_free(struct th_listener *listener)
{
    if (listener == NULL)
        return NULL;
    if (listener->freed != NULL)
        *listener->freed = true;
    th_timer_stop(&listener->worker->wheel, &listener->resume);
    (void)watch(listener, false);
    close(listener->fd);
    th_free(listener);
    return NULL;
}
