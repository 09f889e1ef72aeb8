#include "tokenhop/net/dial.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <unistd.h>

#include "tokenhop/base/mem.h"
#include "worker_private.h"

#define NEXT_MS 250 /* RFC 8305, 5: Connection Attempt Delay */

static void launch(struct th_dial *dial);

static void close_attempt(struct th_dial_attempt *attempt)
{
    if (attempt->event != NULL) {
        event_del(attempt->event);
        th_free(attempt->event);
        attempt->event = NULL;
    }
    if (attempt->fd >= 0)
        close(attempt->fd);
    attempt->fd = -1;
}

/* Lets go of everything but the result. */
static void settle(struct th_dial *dial)
{
    th_resolve_cancel(&dial->resolve);
    th_timer_stop(&dial->worker->wheel, &dial->deadline);
    th_timer_stop(&dial->worker->wheel, &dial->next);
    for (size_t i = 0; i < TH_DIAL_ATTEMPTS; i++)
        close_attempt(&dial->attempts[i]);
}

static void tell(struct th_dial *dial)
{
    int fd = dial->won_fd;
    struct th_address address = dial->won_address;

    dial->active = false;
    dial->won_fd = -1;
    dial->fn(dial, fd >= 0 ? 0 : dial->last_error, fd, fd >= 0 ? &address : NULL);
}

static void on_soon(struct th_soon *soon)
{
    tell(TH_CONTAINER_OF(soon, struct th_dial, soon));
}

/* The dial may be gone when this returns. */
static void finish(struct th_dial *dial, int error, int fd, const struct th_address *address)
{
    dial->last_error = error;
    dial->won_fd = fd;
    if (fd >= 0)
        dial->won_address = *address;
    settle(dial);
    if (dial->starting)
        th_worker_soon(dial->worker, &dial->soon);
    else
        tell(dial);
}

static void on_deadline(struct th_timer *timer)
{
    struct th_dial *dial = TH_CONTAINER_OF(timer, struct th_dial, deadline);
    bool resolving = dial->n_addresses == 0;

    finish(dial, resolving ? TH_E_ORIGIN_NAME_TIMEOUT : TH_E_ORIGIN_CONNECT_TIMEOUT, -1, NULL);
}

/* A connection from a port of the ephemeral range to itself is one where nobody listens: the kernel
 * takes it for a simultaneous open when it happens to choose that port. */
static bool is_own_echo(int fd, const struct th_address *peer)
{
    struct sockaddr_storage own = {0};
    socklen_t len = sizeof(own);
    struct th_address address;

    if (!th_address_is_loopback(peer))
        return false;
    return getsockname(fd, (struct sockaddr *)&own, &len) == 0 &&
           th_address_from_sockaddr((struct sockaddr *)&own, len, &address) == 0 &&
           th_address_equal(&address, peer);
}

static void on_attempt(evutil_socket_t fd, short what, void *arg)
{
    struct th_dial_attempt *attempt = arg;
    struct th_dial *dial = attempt->dial;
    struct th_address address = attempt->address;
    int err = 0;
    socklen_t len = sizeof(err);

    worker_awake(dial->worker);
    if (getsockopt(attempt->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
        err = errno;
    if (err == 0 && is_own_echo(attempt->fd, &address))
        err = ECONNREFUSED;
    if (err == 0) {
        attempt->fd = -1;
        finish(dial, 0, fd, &address);
        return;
    }
    dial->last_error = th_error_from_origin_errno(err);
    close_attempt(attempt);
    launch(dial);
}

static int watch_attempt(struct th_dial_attempt *attempt, int fd, const struct th_address *address)
{
    struct th_worker *worker = attempt->dial->worker;

    attempt->event = th_calloc(1, sizeof(*attempt->event));
    if (attempt->event == NULL)
        return TH_E_NOMEM;
    if (event_assign(attempt->event, worker->base, fd, EV_WRITE, on_attempt, attempt) != 0 ||
        event_add(attempt->event, NULL) != 0) {
        th_free(attempt->event);
        attempt->event = NULL;
        return TH_E_NOMEM;
    }
    attempt->fd = fd;
    attempt->address = *address;
    return 0;
}

/* Starts one connection in this place: 0 made (*ret_fd), TH_AGAIN under way, or an error. */
static int start_attempt(struct th_dial *dial, struct th_dial_attempt *attempt,
                         const struct th_address *address, int *ret_fd)
{
    struct th_network *network = dial->worker->network;
    int fd = -1;
    int r = dial->permit != NULL ? dial->permit(dial->permit_arg, address) : 0;

    if (r != 0) {
        /* Only when none was permitted is that the answer. */
        return dial->connected_any ? dial->last_error : r;
    }
    dial->connected_any = true;
    r = network->connect(network, address, &fd);
    if (r != 0 && r != TH_AGAIN)
        return r;
    if (r == 0 && !is_own_echo(fd, address)) {
        *ret_fd = fd;
        return 0;
    }
    r = r == 0 ? TH_E_ORIGIN_REFUSED : watch_attempt(attempt, fd, address);
    if (r == 0)
        return TH_AGAIN;
    close(fd);
    return r;
}

static struct th_dial_attempt *free_place(struct th_dial *dial)
{
    for (size_t i = 0; i < TH_DIAL_ATTEMPTS; i++)
        if (dial->attempts[i].fd < 0)
            return &dial->attempts[i];
    return NULL;
}

static bool is_any_under_way(const struct th_dial *dial)
{
    for (size_t i = 0; i < TH_DIAL_ATTEMPTS; i++)
        if (dial->attempts[i].fd >= 0)
            return true;
    return false;
}

/* When the next address is started. With both places taken one of them would have to go for it:
 * the time that is left is shared by those that are. */
static void set_next(struct th_dial *dial)
{
    int64_t wait_ms = NEXT_MS;
    int64_t left_ms = dial->deadline.deadline_ms - dial->worker->now_ms;
    int64_t n_left = (int64_t)(dial->n_addresses - dial->next_address);

    if (n_left == 0)
        return;
    if (free_place(dial) == NULL && left_ms / (n_left + 1) > wait_ms)
        wait_ms = left_ms / (n_left + 1);
    th_timer_set(&dial->worker->wheel, &dial->next, dial->worker->now_ms + wait_ms);
}

/* Starts the next permitted address, if there is one and room; ends the dial when nothing is left.
 */
static void launch(struct th_dial *dial)
{
    struct th_dial_attempt *place = free_place(dial);

    while (place != NULL && dial->next_address < dial->n_addresses) {
        const struct th_address *address = &dial->addresses[dial->next_address++];
        int fd = -1;
        int r = start_attempt(dial, place, address, &fd);
        if (r == 0) {
            finish(dial, 0, fd, address);
            return;
        }
        if (r == TH_AGAIN) {
            set_next(dial);
            return;
        }
        dial->last_error = r;
    }
    if (!is_any_under_way(dial))
        finish(dial, dial->last_error, -1, NULL);
}

static void on_next(struct th_timer *timer)
{
    struct th_dial *dial = TH_CONTAINER_OF(timer, struct th_dial, next);

    if (free_place(dial) == NULL) {
        /* The oldest goes; the younger moves up. */
        close_attempt(&dial->attempts[0]);
    }
    launch(dial);
}

/* RFC 8305, 4: families take turns, in the order in which the resolver has sorted them. */
static void sort_addresses(struct th_dial *dial, const struct th_addresses *addresses)
{
    bool taken[TH_ADDRESSES_MAX] = {false};
    sa_family_t last = AF_UNSPEC;

    dial->n_addresses = 0;
    for (size_t n = 0; n < addresses->count && n < TH_DIAL_ADDRESSES; n++) {
        size_t pick = TH_ADDRESSES_MAX;
        for (size_t i = 0; i < addresses->count; i++) {
            if (taken[i])
                continue;
            if (pick == TH_ADDRESSES_MAX)
                pick = i;
            if (addresses->items[i].any.sa_family != last) {
                pick = i;
                break;
            }
        }
        taken[pick] = true;
        last = addresses->items[pick].any.sa_family;
        dial->addresses[dial->n_addresses++] = addresses->items[pick];
    }
}

static void pick_only(struct th_dial *dial, const struct th_addresses *addresses)
{
    dial->n_addresses = 0;
    for (size_t i = 0; i < addresses->count && dial->n_addresses == 0; i++)
        if (th_address_is_same_host(&addresses->items[i], &dial->only))
            dial->addresses[dial->n_addresses++] = addresses->items[i];
    if (dial->n_addresses == 0)
        dial->last_error = TH_E_OTHER_DESTINATION;
}

static void use_addresses(struct th_dial *dial, int error, const struct th_addresses *addresses)
{
    if (error != 0) {
        finish(dial, error, -1, NULL);
        return;
    }
    if (dial->only.any.sa_family != AF_UNSPEC)
        pick_only(dial, addresses);
    else
        sort_addresses(dial, addresses);
    launch(dial);
}

static void on_resolve(struct th_resolve *resolve, int error, const struct th_addresses *addresses)
{
    use_addresses(TH_CONTAINER_OF(resolve, struct th_dial, resolve), error, addresses);
}

void th_dial_start(struct th_dial *dial, struct th_worker *worker,
                   const struct th_dial_request *request)
{
    struct th_addresses addresses = {0};
    int r;

    *dial = (struct th_dial){
        .worker = worker,
        .permit = request->permit,
        .permit_arg = request->permit_arg,
        .fn = request->fn,
        .soon.fn = on_soon,
        .won_fd = -1,
        .last_error = TH_E_ORIGIN_UNREACHABLE,
        .active = true,
        .starting = true,
    };
    for (size_t i = 0; i < TH_DIAL_ATTEMPTS; i++)
        dial->attempts[i] = (struct th_dial_attempt){.dial = dial, .fd = -1};
    if (request->only != NULL)
        dial->only = *request->only;
    th_timer_init(&dial->deadline, on_deadline);
    th_timer_init(&dial->next, on_next);
    th_timer_set(&worker->wheel, &dial->deadline, request->deadline_ms);
    r = th_resolver_ask(worker->resolver, request->host, request->port, &dial->resolve, on_resolve,
                        &addresses);
    if (r != TH_AGAIN)
        use_addresses(dial, r, &addresses);
    dial->starting = false;
}

void th_dial_cancel(struct th_dial *dial)
{
    if (!dial->active)
        return;
    settle(dial);
    th_soon_cancel(&dial->soon);
    if (dial->won_fd >= 0)
        close(dial->won_fd);
    dial->won_fd = -1;
    dial->active = false;
}
