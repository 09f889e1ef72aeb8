/* Listeners of which there is one socket for all desks: unix sockets have no SO_REUSEPORT, and what a supervisor
 * hands over is what it is. If each worker watched
 * it, the kernel would wake all of them for each connection, and all but one in vain (EPOLLEXCLUSIVE is not to be
 * had through libevent, nor through an epoll in an epoll). So one desk accepts, another one for each
 * socket, and deals the connections out in turn. */
#include <sys/socket.h>
#include <unistd.h>

#include "desk.h"
#include "session.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/gate/egress.h"
#include "tokenhop/net/activation.h"

#define BACKLOG 4096

bool th_listener_is_shared(const struct th_config_listener *listener)
{
    return listener->path.len > 0 || listener->activation.len > 0;
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
    struct th_door *door = arg;
    struct th_desk_listener *listener = door->listener;
    struct th_proxy_desk *own = listener->desk;
    struct th_proxy *proxy = own->proxy;
    struct th_proxy_desk *desk = proxy->desks[door->n_dealt++ % proxy->n_desks];
    size_t index = (size_t)(listener - own->listeners);
    const struct th_message message = {.fn = on_dealt, .handle = index, .number = fd};

    if (desk == own || th_mailbox_post(desk->worker->mailbox, &message) < 0)
        th_session_new(listener, fd, peer);
}

/* `number`: of all sockets, so that each desk has about as many. Takes the descriptor. */
static int open_door(struct th_proxy *proxy, size_t index, int fd, size_t number)
{
    struct th_proxy_desk *desk = proxy->desks[number % proxy->n_desks];
    struct th_door *door = th_calloc(1, sizeof *door);

    if (door == NULL) {
        close(fd);
        return TH_E_NOMEM;
    }
    door->listener = &desk->listeners[index];
    int error = th_listener_new_fd(desk->worker, fd, on_accept, door, &door->socket);
    if (error < 0) {
        th_free(door);
        return error;
    }
    th_list_push_back(&desk->doors, &door->link);
    return 0;
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

static void note_address(struct th_proxy *proxy, int fd)
{
    struct sockaddr_storage own = {0};
    socklen_t len = sizeof own;
    struct th_address *address = &proxy->handed_over[proxy->n_handed_over];

    if (getsockname(fd, (struct sockaddr *)&own, &len) == 0 &&
        th_address_from_sockaddr((const struct sockaddr *)&own, len, address) == 0)
        proxy->n_handed_over++;
}

/* All that were handed over under the listener's name; one at least. */
static int open_handed_over(struct th_proxy *proxy, size_t index, struct th_activation *activation,
                            size_t *n_opened, struct th_errinfo *reterr)
{
    const struct th_config_listener *listener = &proxy->snapshot->view->listeners[index];
    size_t before = *n_opened;
    int error, fd;

    while ((error = th_activation_claim(activation, listener->activation, &fd, reterr)) == 0) {
        note_address(proxy, fd);
        error = open_door(proxy, index, fd, (*n_opened)++);
        if (error < 0)
            return error;
    }
    if (error == TH_AGAIN && *n_opened == before)
        return th_errinfo_set(reterr, TH_E_IO, listener->address_text.ptr,
                              "start tokenhop by its socket unit; FileDescriptorName= must be this "
                              "name",
                              "no socket of this name was handed over");
    return error == TH_AGAIN ? 0 : error;
}

static int open_all(struct th_proxy *proxy, struct th_activation *activation,
                    struct th_errinfo *reterr)
{
    const struct th_config_view *config = proxy->snapshot->view;
    size_t n_opened = 0;
    int error = 0, fd;

    for (size_t i = 0; error == 0 && i < config->n_listeners; i++) {
        const struct th_config_listener *listener = &config->listeners[i];
        if (listener->activation.len > 0) {
            error = open_handed_over(proxy, i, activation, &n_opened, reterr);
        } else if (listener->path.len > 0) {
            error = open_unix(proxy, listener, &fd, reterr);
            if (error == 0)
                error = open_door(proxy, i, fd, n_opened++);
        }
    }
    return error == 0 ? th_activation_check_claimed(activation, reterr) : error;
}

int th_proxy_listen(struct th_proxy *proxy, struct th_proxy_desk *const *desks, size_t n_desks,
                    struct th_activation *activation, struct th_errinfo *reterr)
{
    size_t n_handed_over = activation != NULL ? activation->n : 0;

    proxy->places = th_calloc(proxy->snapshot->view->n_listeners + 1, sizeof *proxy->places);
    proxy->handed_over = th_calloc(n_handed_over + 1, sizeof *proxy->handed_over);
    proxy->desks = th_calloc(n_desks + 1, sizeof(struct th_proxy_desk *));
    if (proxy->places == NULL || proxy->handed_over == NULL || proxy->desks == NULL)
        return TH_E_NOMEM;
    for (proxy->n_desks = 0; proxy->n_desks < n_desks; proxy->n_desks++)
        proxy->desks[proxy->n_desks] = desks[proxy->n_desks];
    return open_all(proxy, activation, reterr);
}

bool th_proxy_is_at(const struct th_proxy *proxy, const struct th_address *address)
{
    for (size_t i = 0; i < proxy->n_handed_over; i++)
        if (th_egress_meets(&proxy->handed_over[i], address))
            return true;
    return false;
}

void th_desk_close_doors(struct th_proxy_desk *desk)
{
    struct th_list *item;

    while ((item = th_list_pop_front(&desk->doors)) != NULL) {
        struct th_door *door = TH_LIST_ENTRY(item, struct th_door, link);
        th_listener_free(door->socket);
        th_free(door);
    }
}

void th_proxy_close_shared(struct th_proxy *proxy)
{
    for (size_t i = 0; i < proxy->n_places; i++)
        th_unix_remove(&proxy->places[i]);
    th_free(proxy->places);
    th_free(proxy->handed_over);
    th_free(proxy->desks);
}
