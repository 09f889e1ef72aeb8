#include "broker_private.h"
#include "tokenhop/base/mem.h"

#define TICK_MS 1000
/* A tick looks at a quarter of the shards, and at so many credentials of each: 2,048 at most,
 * some 50 us. */
#define TICK_SHARDS (TH_CACHE_SHARDS / 4)
#define TICK_CREDENTIALS 128

/* Each desk adds what has changed since any desk last did, so that the sum over the workers is
 * right. */
static void publish(struct th_broker_desk *desk, enum th_metric metric,
                    const atomic_uint_least64_t *figure, atomic_int_least64_t *published)
{
    int64_t now = (int64_t)atomic_load_explicit(figure, memory_order_relaxed);
    int64_t before = atomic_exchange_explicit(published, now, memory_order_relaxed);
    th_metrics_add(desk->worker->metrics, metric, now - before);
}

static void publish_gauges(struct th_broker_desk *desk)
{
    struct th_broker *broker = desk->broker;
    publish(desk, TH_METRIC_CACHE_ENTRIES, &broker->cache.n_entries, &broker->entries_published);
    publish(desk, TH_METRIC_CACHE_BYTES, &broker->cache.n_bytes, &broker->bytes_published);
}

static void on_tick(struct th_timer *timer)
{
    struct th_broker_desk *desk = TH_CONTAINER_OF(timer, struct th_broker_desk, tick);
    struct th_cache *cache = &desk->broker->cache;
    size_t n_dropped = th_cache_sweep(cache, desk->worker->now_ms, TICK_SHARDS, TICK_CREDENTIALS);
    th_metrics_add(desk->worker->metrics, TH_METRIC_CACHE_EXPIRED, (int64_t)n_dropped);
    publish_gauges(desk);
    if (atomic_load_explicit(&cache->n_entries, memory_order_relaxed) > 0 ||
        !th_list_is_empty(&desk->flights))
        th_timer_set(&desk->worker->wheel, timer, desk->worker->now_ms + TICK_MS);
}

void th_desk_wake_tick(struct th_broker_desk *desk)
{
    if (desk->tick.deadline_ms == 0)
        th_timer_set(&desk->worker->wheel, &desk->tick, desk->worker->now_ms + TICK_MS);
}

int th_broker_desk_new(struct th_broker *broker, struct th_worker *worker,
                       const struct th_exchange_ops *ops, void *exchanger,
                       struct th_broker_desk **ret_desk)
{
    struct th_broker_desk *desk = th_calloc(1, sizeof *desk);
    if (desk == NULL)
        return TH_E_NOMEM;
    desk->broker = broker;
    desk->worker = worker;
    desk->ops = ops;
    desk->exchanger = exchanger;
    th_list_init(&desk->flights);
    th_list_init(&desk->parties);
    th_timer_init(&desk->tick, on_tick);
    atomic_fetch_add_explicit(&broker->n_desks, 1, memory_order_relaxed);
    *ret_desk = desk;
    return 0;
}

struct th_broker_desk *th_broker_desk_free(struct th_broker_desk *desk)
{
    if (desk == NULL)
        return NULL;
    /* Its own parties first: nobody here is told any more. */
    while (!th_list_is_empty(&desk->parties))
        th_party_dissolve(TH_LIST_ENTRY(desk->parties.next, struct th_broker_party, desk_link));
    while (!th_list_is_empty(&desk->flights))
        th_flight_abandon(TH_LIST_ENTRY(desk->flights.next, struct th_flight, link));
    th_timer_stop(&desk->worker->wheel, &desk->tick);
    publish_gauges(desk);
    atomic_fetch_sub_explicit(&desk->broker->n_desks, 1, memory_order_relaxed);
    th_free(desk);
    return NULL;
}
