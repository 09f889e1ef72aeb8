#include "fetch_pool.h"

#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"

#define UNUSED_MS 60000 /* twice what curl uses an idle connection for */

int th_fetch_pool_new(struct th_worker *worker, struct th_trust *trust,
                      struct th_identity *identity, void (*done)(CURL *easy, CURLcode result),
                      struct th_fetch_pool **ret_pool)
{
    struct th_fetch_pool *pool = th_calloc(1, sizeof(*pool));
    int r;

    if (pool == NULL)
        return TH_E_NOMEM;
    r = th_fetch_loop_init(&pool->loop, worker, done);
    if (r != 0) {
        th_free(pool);
        return r;
    }
    th_list_init(&pool->link);
    pool->worker = worker;
    pool->trust = trust;
    pool->identity = identity != NULL ? th_identity_ref(identity) : NULL;
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
        if (pool->trust == trust)
            th_fetch_pool_free(pool);
    }
}

void th_fetch_pool_sweep(struct th_list *pools, int64_t now_ms)
{
    TH_LIST_EACH(it, pools) {
        struct th_fetch_pool *pool = TH_LIST_ENTRY(it, struct th_fetch_pool, link);
        if (pool->identity != NULL && pool->n_users == 0 && pool->used_ms + UNUSED_MS <= now_ms)
            th_fetch_pool_free(pool);
    }
}
