#include "tokenhop/net/worker.h"

#include "handles.h"
#include "mailbox.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/net/resolver.h"
#include "worker_private.h"

#define MAILBOX_SIZE 65536
#define KEEP_CHUNKS 256
/* After a burst its buffers are given back: those that have not been needed for TRIM_MS, but for a
 * few. And when none has been for as long again, all that is free is the system's. */
#define REST_CHUNKS 8
#define TRIM_MS 1000

void th_worker_awake(struct th_worker *worker)
{
    worker_awake(worker);
}

static void on_wheel(evutil_socket_t fd, short what, void *arg)
{
    struct th_worker *worker = arg;

    worker->private->armed_ms = -1;
    worker_awake(worker); /* the wheel itself is turned at the end of the turn */
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    worker_awake(arg); /* the box is emptied at the end of the turn */
}

static void on_trim(struct th_timer *timer)
{
    struct th_worker_private *inner = TH_CONTAINER_OF(timer, struct th_worker_private, trim);
    struct th_worker *worker = inner->worker;
    size_t n = th_chunk_pool_trim(&worker->chunks, REST_CHUNKS);

    if (n == 0 && inner->trimmed)
        th_mem_return();
    inner->trimmed = n > 0;
    if (n > 0 || worker->chunks.n_free > REST_CHUNKS)
        th_timer_set(&worker->wheel, timer, worker->now_ms + TRIM_MS);
}

static int make_base(struct th_worker *worker)
{
    struct event_config *config = event_config_new();
    int r = TH_E_IO;

    if (config == NULL)
        return TH_E_NOMEM;
    /* Edge-triggered with early close is epoll alone. No locks, as a base is its thread's; no
     * change list, which saves a call only where a descriptor is added and removed in one turn; no
     * precise timer, which is a timerfd to be set in every turn. The environment does not choose
     * the method. */
    if (event_config_require_features(config, EV_FEATURE_ET | EV_FEATURE_EARLY_CLOSE) == 0 &&
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV) == 0) {
        worker->base = event_base_new_with_config(config);
        if (worker->base != NULL)
            r = 0;
    }
    event_config_free(config);
    return r;
}

static int add_own_events(struct th_worker *worker)
{
    struct th_worker_private *inner = worker->private;
    int fd = th_mailbox_fd(worker->mailbox);

    if (evtimer_assign(&inner->wheel_event, worker->base, on_wheel, worker) != 0 ||
        event_assign(&inner->wake_event, worker->base, fd, EV_READ | EV_ET | EV_PERSIST, on_wake,
                     worker) != 0)
        return TH_E_IO;
    return event_add(&inner->wake_event, NULL) == 0 ? 0 : TH_E_NOMEM;
}

static int fill_worker(struct th_worker *worker, const struct th_worker_options *options)
{
    int r;

    worker->private = th_calloc(1, sizeof(*worker->private));
    worker->scratch = th_malloc(TH_SCRATCH_SIZE);
    worker->handles = th_handles_new();
    if (worker->private == NULL || worker->scratch == NULL || worker->handles == NULL)
        return TH_E_NOMEM;
    worker->private->worker = worker;
    worker->private->armed_ms = -1;
    atomic_init(&worker->private->stop, false);
    th_list_init(&worker->private->soon);
    th_list_init(&worker->private->unconfirmed);
    th_timer_init(&worker->private->confirm, th_stream_confirm_all);
    th_timer_init(&worker->private->trim, on_trim);
    r = th_mailbox_new(options->mailbox_size != 0 ? options->mailbox_size : MAILBOX_SIZE,
                       &worker->mailbox);
    if (r == 0)
        r = make_base(worker);
    if (r == 0)
        r = add_own_events(worker);
    if (r == 0)
        r = th_resolver_new(worker, &worker->resolver);
    return r;
}

int th_worker_new(const struct th_worker_options *options, struct th_worker **ret_worker)
{
    struct th_worker *worker = th_calloc(1, sizeof(*worker));
    int r;

    if (worker == NULL)
        return TH_E_NOMEM;
    worker->index = options->index;
    worker->clock = options->clock != NULL ? options->clock : &th_clock_system;
    worker->network = options->network != NULL ? options->network : th_network_system();
    worker->helpers = options->helpers;
    worker->log = options->log;
    worker->metrics = options->metrics;
    worker->spans = options->spans;
    worker->now_ms = th_clock_monotonic_ms(worker->clock);
    th_wheel_init(&worker->wheel, worker->now_ms);
    th_chunk_pool_init(&worker->chunks,
                       options->keep_chunks != 0 ? options->keep_chunks : KEEP_CHUNKS);
    th_pipe_pool_init(&worker->pipes, worker, TH_PIPES_MAX);
    th_list_init(&worker->graveyard);
    r = fill_worker(worker, options);
    if (r != 0) {
        th_worker_free(worker);
        return r;
    }
    *ret_worker = worker;
    return 0;
}

static void bury_all(struct th_worker *worker)
{
    struct th_list *item;

    while ((item = th_list_pop_front(&worker->graveyard)) != NULL) {
        struct th_grave *grave = TH_LIST_ENTRY(item, struct th_grave, link);
        grave->bury(worker, grave);
    }
}

static void free_private(struct th_worker *worker)
{
    struct th_worker_private *inner = worker->private;

    if (inner == NULL)
        return;
    th_timer_stop(&worker->wheel, &inner->confirm);
    if (event_initialized(&inner->wheel_event))
        event_del(&inner->wheel_event);
    if (event_initialized(&inner->wake_event))
        event_del(&inner->wake_event);
    th_free(inner);
}

struct th_worker *th_worker_free(struct th_worker *worker)
{
    if (worker == NULL)
        return NULL;
    if (worker->mailbox != NULL) {
        th_mailbox_close(worker->mailbox);
        while (th_mailbox_deliver(worker->mailbox, worker)) {
        }
    }
    bury_all(worker);
    th_resolver_free(worker->resolver);
    free_private(worker);
    th_mailbox_free(worker->mailbox);
    th_handles_free(worker->handles);
    th_pipe_pool_fini(&worker->pipes);
    th_chunk_pool_fini(&worker->chunks);
    if (worker->base != NULL)
        event_base_free(worker->base);
    if (worker->scratch != NULL)
        th_wipe(worker->scratch, TH_SCRATCH_SIZE); /* heads were written there */
    th_free(worker->scratch);
    th_free(worker);
    return NULL;
}

void th_worker_bury(struct th_worker *worker, struct th_grave *grave)
{
    th_list_push_back(&worker->graveyard, &grave->link);
}

void th_worker_soon(struct th_worker *worker, struct th_soon *soon)
{
    if (!th_list_is_linked(&soon->link))
        th_list_push_back(&worker->private->soon, &soon->link);
}

void th_soon_cancel(struct th_soon *soon)
{
    th_list_remove(&soon->link);
}

static void run_soon(struct th_worker *worker)
{
    struct th_list now;
    struct th_list *item;

    /* What asks again meanwhile waits for the next turn, so that no pair of functions that ask for
     * each other keeps the loop from its events. */
    th_list_init(&now);
    th_list_splice_back(&now, &worker->private->soon);
    while ((item = th_list_pop_front(&now)) != NULL) {
        struct th_soon *soon = TH_LIST_ENTRY(item, struct th_soon, link);
        worker_awake(worker);
        soon->fn(soon);
    }
}

/* What follows the events of a turn. */
static void end_turn(struct th_worker *worker)
{
    struct th_worker_private *inner = worker->private;
    int64_t next_ms;

    if (!inner->awake) {
        inner->awake = true;
        worker->now_ms = th_clock_monotonic_ms(worker->clock);
    }
    if (th_mailbox_deliver(worker->mailbox, worker))
        inner->busy = true;
    next_ms = th_wheel_next_ms(&worker->wheel);
    if (next_ms >= 0 && next_ms <= worker->now_ms)
        inner->busy = true;
    th_wheel_turn(&worker->wheel, worker->now_ms);
    run_soon(worker);
    if (worker->chunks.n_free > REST_CHUNKS && inner->trim.deadline_ms == 0)
        th_timer_set(&worker->wheel, &inner->trim, worker->now_ms + TRIM_MS);
    if (!th_list_is_empty(&worker->graveyard)) {
        inner->busy = true;
        bury_all(worker);
    }
}

static void begin_turn(struct th_worker *worker)
{
    worker->private->turn++;
    worker->private->awake = false;
    worker->private->busy = false;
}

/* Sets the libevent timer when the wheel must be turned earlier than it would. One that comes too
 * early is left: turning an empty slot is cheaper than to move the timer with every deadline. */
static void arm_wheel(struct th_worker *worker)
{
    struct th_worker_private *inner = worker->private;
    int64_t next_ms = th_wheel_next_ms(&worker->wheel);
    int64_t delay_ms;

    if (next_ms < 0 || (inner->armed_ms >= 0 && inner->armed_ms <= next_ms))
        return;
    delay_ms = next_ms > worker->now_ms ? next_ms - worker->now_ms : 0;
    struct timeval delay = {delay_ms / 1000, delay_ms % 1000 * 1000};
    if (event_add(&inner->wheel_event, &delay) == 0)
        inner->armed_ms = next_ms;
}

void th_worker_run(struct th_worker *worker)
{
    struct th_worker_private *inner = worker->private;

    while (!atomic_load_explicit(&inner->stop, memory_order_acquire)) {
        /* A post between here and the wait writes the eventfd, so that nothing is overslept. */
        bool more = !th_list_is_empty(&inner->soon);
        arm_wheel(worker);
        begin_turn(worker);
        event_base_loop(worker->base, more ? EVLOOP_ONCE | EVLOOP_NONBLOCK : EVLOOP_ONCE);
        end_turn(worker);
    }
    atomic_store_explicit(&inner->stop, false, memory_order_release);
}

void th_worker_stop(struct th_worker *worker)
{
    atomic_store_explicit(&worker->private->stop, true, memory_order_release);
    th_mailbox_wake(worker->mailbox);
}

bool th_worker_turn(struct th_worker *worker)
{
    begin_turn(worker);
    event_base_loop(worker->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    end_turn(worker);
    return worker->private->busy;
}

uint64_t th_worker_turn_number(const struct th_worker *worker)
{
    return worker->private->turn;
}
