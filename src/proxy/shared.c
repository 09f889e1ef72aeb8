/* Listeners of which there is one socket for all desks: unix sockets have no SO_REUSEPORT. If each worker watched
 * it, the kernel would wake all of them for each connection, and all but one in vain (EPOLLEXCLUSIVE is not to
 * be had through libevent, nor through an epoll in an epoll). So one desk accepts, another one for
 * each listener, and deals the connections out in turn. */
#include <sys/socket.h>
#include <unistd.h>

#include "desk.h"
#include "session.h"
#include "tokenhop/base/mem.h"

#define BACKLOG 4096

bool th_listener_is_shared(const struct th_config_listener *listener)
{
    return listener->address.ss_family == AF_UNIX;
}

static void serve(struct th_proxy_desk *desk, size_t listener, int fd)
{
    struct sockaddr_storage name = {0};
    socklen_t len = sizeof name;
    struct th_address peer = {0};

    if (getpeername(fd, (struct sockaddr *)&name, &len) != 0 ||
        th_address_from_sockaddr((const struct sockaddr *)&name, len, &peer) != 0)
        peer.any.sa_family = name.ss_family;
    th_proxy_desk_accept(desk, listener, fd, &peer);
}

/* On the worker it was dealt to. */
static void on_dealt(struct th_worker *worker, const struct th_message *message)
{
    struct th_proxy_desk *desk = worker->proxy;
    int fd = (int)message->number;

    if (desk != NULL)
        serve(desk, (size_t)message->handle, fd);
    else
        close(fd); /* it ends */
}

static void on_accept(void *arg, int fd, const struct th_address *peer)
{
    struct th_desk_listener *listener = arg;
    struct th_proxy_desk *own = listener->desk;
    struct th_proxy *proxy = own->proxy;
    struct th_proxy_desk *desk = proxy->desks[listener->n_dealt++ % proxy->n_desks];
    size_t index = (size_t)(listener - own->listeners);
    const struct th_message message = {.fn = on_dealt, .handle = index, .number = fd};

    if (desk == own || th_mailbox_post(desk->worker->mailbox, &message) < 0)
        th_session_new(listener, fd, peer);
}

/* The path is the listener's from now on, and removed with the proxy. */
static int open_unix(struct th_proxy *proxy, const struct th_config_listener *listener, int *ret_fd,
                     struct th_errinfo *reterr)
{
    const struct th_unix_options options = {.path = listener->path.ptr,
                                            .mode = listener->socket_mode,
                                            .group = listener->socket_group,
                                            .backlog = BACKLOG};
    int error = th_unix_listen(&options, ret_fd, &proxy->places[proxy->n_places], reterr);

    if (error == 0)
        proxy->n_places++;
    return error;
}

int th_proxy_listen(struct th_proxy *proxy, struct th_proxy_desk *const *desks, size_t n_desks,
                    struct th_errinfo *reterr)
{
    const struct th_config_view *config = proxy->snapshot->view;
    size_t n_shared = 0;

    proxy->places = th_calloc(config->n_listeners + 1, sizeof *proxy->places);
    proxy->desks = th_calloc(n_desks + 1, sizeof(struct th_proxy_desk *));
    if (proxy->places == NULL || proxy->desks == NULL)
        return TH_E_NOMEM;
    for (proxy->n_desks = 0; proxy->n_desks < n_desks; proxy->n_desks++)
        proxy->desks[proxy->n_desks] = desks[proxy->n_desks];
    for (size_t i = 0; i < config->n_listeners; i++) {
        struct th_proxy_desk *desk = desks[n_shared % n_desks];
        int fd = -1;
        if (!th_listener_is_shared(&config->listeners[i]))
            continue;
        int error = open_unix(proxy, &config->listeners[i], &fd, reterr);
        if (error == 0)
            error = th_listener_new_fd(desk->worker, fd, on_accept, &desk->listeners[i],
                                       &desk->listeners[i].listener);
        if (error < 0)
            return error;
        n_shared++;
    }
    return 0;
}

void th_proxy_close_shared(struct th_proxy *proxy)
{
    for (size_t i = 0; i < proxy->n_places; i++)
        th_unix_remove(&proxy->places[i]);
    th_free(proxy->places);
    th_free(proxy->desks);
}
