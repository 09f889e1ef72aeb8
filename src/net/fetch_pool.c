#include "fetch_pool.h"

#include <string.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"

#define UNUSED_MS 60000 /* twice what curl uses an idle connection for */

static bool are_alike(const struct th_secret *a, const struct th_secret *b)
{
    return a == NULL || b == NULL ? a == b : th_secret_equal(a, b);
}

bool th_fetch_pool_is_of(const struct th_fetch_pool *pool, const struct th_fetch_way *way)
{
    if (pool->trust != way->trust || !th_identity_equal(pool->identity, way->identity) ||
        (pool->proxy == NULL) != (way->proxy == NULL))
        return false;
    return pool->proxy == NULL ||
           (strcmp(pool->proxy, way->proxy) == 0 && pool->proxy_trust == way->proxy_trust &&
            are_alike(pool->proxy_authorization, way->proxy_authorization));
}

int th_fetch_pool_new(struct th_worker *worker, const struct th_fetch_way *way,
                      void (*done)(void *arg, CURL *easy, CURLcode result), void *arg,
                      struct th_fetch_pool **ret_pool)
{
    struct th_fetch_pool *pool = th_calloc(1, sizeof(*pool));
    int r;

    if (pool == NULL)
        return TH_E_NOMEM;
    pool->proxy = way->proxy != NULL ? th_strdup(way->proxy) : NULL;
    r = way->proxy == NULL || pool->proxy != NULL
            ? th_fetch_loop_init(&pool->loop, worker, done, arg)
            : TH_E_NOMEM;
    if (r != 0) {
        th_free(pool->proxy);
        th_free(pool);
        return r;
    }
    th_list_init(&pool->link);
    pool->worker = worker;
    pool->trust = way->trust;
    pool->identity = way->identity != NULL ? th_identity_ref(way->identity) : NULL;
    pool->proxy_trust = way->proxy_trust;
    if (way->proxy_authorization != NULL)
        pool->proxy_authorization = th_secret_ref(way->proxy_authorization);
    pool->used_ms = worker->now_ms;
    *ret_pool = pool;
    return 0;
}

struct th_fetch_pool *th_fetch_pool_free(struct th_fetch_pool *pool)
{
    if (pool == NULL)
        return NULL;
    TH_REQUIRE(pool->n_users == 0);
    th_list_remove(&pool->link);
    th_fetch_loop_fini(&pool->loop);
    th_identity_unref(pool->identity);
    th_secret_unref(pool->proxy_authorization);
    th_free(pool->proxy);
    th_free(pool);
    return NULL;
}

void th_fetch_pool_take(struct th_fetch_pool *pool)
{
    pool->n_users++;
}

void th_fetch_pool_give(struct th_fetch_pool *pool)
{
    pool->n_users--;
    pool->used_ms = pool->worker->now_ms;
}

void th_fetch_pool_free_of(struct th_list *pools, const struct th_trust *trust)
{
    TH_LIST_EACH(it, pools) {
        struct th_fetch_pool *pool = TH_LIST_ENTRY(it, struct th_fetch_pool, link);
        if (pool->trust == trust || pool->proxy_trust == trust)
            th_fetch_pool_free(pool);
    }
}

void th_fetch_pool_sweep(struct th_list *pools, int64_t now_ms)
{
    TH_LIST_EACH(it, pools) {
        struct th_fetch_pool *pool = TH_LIST_ENTRY(it, struct th_fetch_pool, link);
        bool is_changing = pool->identity != NULL || pool->proxy != NULL;
        if (is_changing && pool->n_users == 0 && pool->used_ms + UNUSED_MS <= now_ms)
            th_fetch_pool_free(pool);
    }
}
