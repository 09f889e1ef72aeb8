#include "origin.h"

#include <string.h>
#include <unistd.h>

#include "desk.h"
#include "hop.h"
#include "own_ends.h"
#include "parent.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/random.h"
#include "tokenhop/gate/egress.h"
#include "tokenhop/observe/metrics.h"

#define ORIGIN_MAGIC 0x6f726967u

static uint64_t hash_key(const struct th_origin_pool *pool, const struct th_origin_key *key)
{
    struct th_hash_key salted = pool->hash_key;

    salted.k0 ^= (uintptr_t)key->connection ^ (uint64_t)(uintptr_t)key->parent << 16;
    salted.k1 ^= (uint64_t)key->by_connect << 32 | (uint64_t)key->port << 2 |
                 (uint64_t)key->scheme << 1 | key->for_credential;
    return th_hash_bytes(&salted, key->host.ptr, key->host.len);
}

static bool matches(const struct th_origin *origin, const struct th_origin_key *key)
{
    return origin->connection == key->connection && origin->parent == key->parent &&
           origin->by_connect == key->by_connect && origin->port == key->port &&
           origin->scheme == key->scheme && origin->for_credential == key->for_credential &&
           th_str_equal((struct th_str){origin->host, origin->host_len}, key->host) &&
           (key->only == NULL || th_address_is_same_host(key->only, &origin->address));
}

static void forget_idle(struct th_origin *origin)
{
    th_list_remove(&origin->idle);
    th_list_remove(&origin->bucket);
    origin->desk->origins.n_idle--;
    th_metrics_add(origin->desk->metrics, TH_METRIC_ORIGIN_IDLE, -1);
}

static void on_pool_timer(struct th_timer *timer)
{
    struct th_origin_pool *pool = TH_CONTAINER_OF(timer, struct th_origin_pool, timer);
    struct th_worker *worker = pool->desk->worker;
    int64_t timeout_ms = th_desk_config(pool->desk)->origin.idle_timeout_ms;

    TH_LIST_EACH(item, &pool->idle) {
        struct th_origin *origin = TH_LIST_ENTRY(item, struct th_origin, idle);
        if (origin->idle_since_ms + timeout_ms > worker->now_ms) {
            th_timer_set(&worker->wheel, timer, origin->idle_since_ms + timeout_ms);
            return;
        }
        th_origin_close(origin);
    }
}

void th_origin_pool_init(struct th_origin_pool *pool, struct th_proxy_desk *desk)
{
    pool->desk = desk;
    pool->n_idle = 0;
    th_random_bytes(&pool->hash_key, sizeof pool->hash_key);
    th_list_init(&pool->idle);
    for (size_t i = 0; i < TH_ORIGIN_BUCKETS; i++)
        th_list_init(&pool->buckets[i]);
    th_timer_init(&pool->timer, on_pool_timer);
}

int th_origin_permit(const struct th_config_view *config, const struct th_origin_key *key,
                     const struct th_address *address)
{
    const struct th_config_connection *connection = key->connection;
    bool has_parent = key->parent != NULL;
    int error = th_egress_permit(config, connection != NULL || has_parent, address);

    if (error < 0)
        return error;
    /* Beyond a parent it is cleartext wherever the parent is. */
    return key->for_credential && key->scheme == TH_SCHEME_HTTP && !connection->allow_cleartext &&
                   (has_parent || !th_address_is_loopback(address))
               ? TH_E_CLEARTEXT_DENIED
               : 0;
}

/* Takes an origin connection over to the desk's configuration; false: it must not serve there. */
static bool adopt(struct th_origin *origin)
{
    struct th_proxy_desk *desk = origin->desk;
    const struct th_snapshot *snapshot = desk->current->snapshot;
    struct th_origin_key key = {.scheme = (enum th_scheme)origin->scheme,
                                .port = origin->port,
                                .for_credential = origin->for_credential,
                                .host = {origin->host, origin->host_len}};

    if (origin->use == desk->current)
        return true;
    if (origin->connection != NULL) {
        key.connection = th_snapshot_find_alike(snapshot, origin->connection);
        if (key.connection == NULL)
            return false;
    }
    key.by_connect = origin->by_connect;
    key.parent = th_parent_of_key(snapshot->view, &key);
    if (!th_config_parent_is_alike(origin->parent, key.parent) ||
        origin->parent_tls != th_snapshot_parent_tls(snapshot, key.parent) ||
        th_parent_permit(snapshot->view, &key) < 0)
        return false;
    if (th_origin_permit(snapshot->view, &key, &origin->address) < 0 ||
        (origin->tls != NULL && origin->tls != th_snapshot_tls(snapshot, key.connection)))
        return false;
    origin->connection = key.connection;
    origin->parent = key.parent;
    origin->hash = hash_key(&desk->origins, &key);
    th_snapshot_use_take(desk->current);
    th_snapshot_use_give(origin->use);
    origin->use = desk->current;
    return true;
}

static void put_into_bucket(struct th_origin *origin)
{
    struct th_origin_pool *pool = &origin->desk->origins;

    th_list_push_front(&pool->buckets[origin->hash % TH_ORIGIN_BUCKETS], &origin->bucket);
}

void th_origin_pool_renew(struct th_origin_pool *pool)
{
    uint64_t max_idle = th_desk_config(pool->desk)->origin.max_idle;

    TH_LIST_EACH(item, &pool->idle) { /* oldest first: they go first where fewer are kept now */
        struct th_origin *origin = TH_LIST_ENTRY(item, struct th_origin, idle);
        if (pool->n_idle > max_idle || !adopt(origin)) {
            th_origin_close(origin);
            continue;
        }
        th_list_remove(&origin->bucket);
        put_into_bucket(origin);
    }
}

void th_origin_pool_clear(struct th_origin_pool *pool)
{
    TH_LIST_EACH(item, &pool->idle) {
        th_origin_close(TH_LIST_ENTRY(item, struct th_origin, idle));
    }
    th_timer_stop(&pool->desk->worker->wheel, &pool->timer);
}

/* Whether an idle connection has said nothing (R4): whatever comes was not asked for, or is its
 * end. Room to write again says nothing, and neither does TLS by itself: the tickets of TLS 1.3
 * come when the server likes. */
static bool is_silent(struct th_stream *stream)
{
    char byte;

    if (!stream->readable && !stream->peer_closed && !stream->broken)
        return true;
    return th_stream_recv(stream, &byte, 1) == TH_AGAIN;
}

static void on_origin_event(struct th_stream *stream)
{
    struct th_origin *origin =
        TH_CAST(struct th_origin, ORIGIN_MAGIC, TH_CONTAINER_OF(stream, struct th_origin, stream));

    if (origin->hop != NULL) {
        th_hop_wake(origin->hop);
        return;
    }
    if (!is_silent(stream))
        th_origin_close(origin);
}

struct th_origin *th_origin_take(struct th_origin_pool *pool, const struct th_origin_key *key,
                                 struct th_hop *hop)
{
    uint64_t hash = hash_key(pool, key);
    struct th_list *bucket = &pool->buckets[hash % TH_ORIGIN_BUCKETS];

    TH_LIST_EACH(item, bucket) {
        struct th_origin *origin = TH_LIST_ENTRY(item, struct th_origin, bucket);
        if (origin->hash != hash || !matches(origin, key))
            continue;
        forget_idle(origin);
        origin->hop = hop;
        origin->taken_turn = th_worker_turn_number(pool->desk->worker);
        th_metrics_count(pool->desk->metrics, TH_METRIC_ORIGIN_REUSED);
        return origin;
    }
    return NULL;
}

int th_origin_new(struct th_proxy_desk *desk, const struct th_origin_key *key,
                  struct th_snapshot_use *use, int fd, const struct th_address *address,
                  struct th_hop *hop, struct th_origin **ret_origin)
{
    struct th_origin *origin = th_calloc(1, sizeof *origin + key->host.len + 1);

    if (origin == NULL) {
        close(fd);
        return TH_E_NOMEM;
    }
    origin->magic = ORIGIN_MAGIC;
    origin->desk = desk;
    origin->hop = hop;
    origin->connection = key->connection;
    origin->parent = key->parent;
    origin->by_connect = key->by_connect;
    origin->scheme = (uint8_t)key->scheme;
    origin->for_credential = key->for_credential;
    origin->port = key->port;
    origin->address = *address;
    origin->host_len = (uint8_t)key->host.len;
    memcpy(origin->host, key->host.ptr, key->host.len);
    origin->hash = hash_key(&desk->origins, key);
    int error = th_stream_init(&origin->stream, desk->worker, fd, on_origin_event);
    if (error < 0) {
        th_free(origin);
        return error;
    }
    error = th_own_ends_add(desk->proxy->own_ends, fd, address, &origin->own_end);
    if (error < 0) {
        th_stream_close(&origin->stream);
        th_free(origin);
        return error;
    }
    origin->use = use;
    th_snapshot_use_take(use);
    th_metrics_count(desk->metrics, TH_METRIC_ORIGIN_OPENED);
    th_metrics_add(desk->metrics, TH_METRIC_ORIGIN_OPEN, 1);
    *ret_origin = origin;
    return 0;
}

void th_origin_give(struct th_origin *origin)
{
    struct th_proxy_desk *desk = origin->desk;
    struct th_origin_pool *pool = &desk->origins;
    const struct th_config_view *config = th_desk_config(desk);

    origin->hop = NULL;
    origin->n_hops++;
    /* Bytes after the response were not asked for (R4). */
    if (origin->in != NULL && th_chunk_len(origin->in) > 0) {
        th_origin_close(origin);
        return;
    }
    origin->in = th_chunk_put(&desk->worker->chunks, origin->in);
    if (!is_silent(&origin->stream)) {
        th_origin_close(origin);
        return;
    }
    if (desk->draining || config->origin.max_idle == 0 || !adopt(origin)) {
        th_origin_close(origin);
        return;
    }
    if (pool->n_idle >= config->origin.max_idle)
        th_origin_close(TH_LIST_ENTRY(pool->idle.next, struct th_origin, idle));
    origin->idle_since_ms = desk->worker->now_ms;
    th_list_push_back(&pool->idle, &origin->idle);
    put_into_bucket(origin);
    pool->n_idle++;
    th_metrics_add(desk->metrics, TH_METRIC_ORIGIN_IDLE, 1);
    if (pool->timer.deadline_ms == 0)
        th_timer_set(&desk->worker->wheel, &pool->timer,
                     origin->idle_since_ms + config->origin.idle_timeout_ms);
}

static void bury(struct th_worker *worker, struct th_grave *grave)
{
    (void)worker;
    th_free(TH_CONTAINER_OF(grave, struct th_origin, grave));
}

static struct th_origin *end(struct th_origin *origin, void (*end_stream)(struct th_stream *stream))
{
    if (origin == NULL || !th_stream_is_open(&origin->stream))
        return NULL;
    if (origin->hop == NULL && th_list_is_linked(&origin->idle))
        forget_idle(origin);
    origin->hop = NULL;
    end_stream(&origin->stream);
    th_own_ends_remove(origin->desk->proxy->own_ends, origin->own_end);
    origin->in = th_chunk_put(&origin->desk->worker->chunks, origin->in);
    th_metrics_add(origin->desk->metrics, TH_METRIC_ORIGIN_OPEN, -1);
    th_snapshot_use_give(origin->use);
    origin->use = NULL;
    origin->grave.bury = bury;
    th_worker_bury(origin->desk->worker, &origin->grave);
    return NULL;
}

struct th_origin *th_origin_close(struct th_origin *origin)
{
    return end(origin, th_stream_close);
}

struct th_origin *th_origin_reset(struct th_origin *origin)
{
    return end(origin, th_stream_reset);
}
