/* The kept connections of fetches that trust the same and show the same. curl takes a kept connection by
 * host and by options that it knows of; the certificates here it does not see (on_tls_context()), hence
 * each trust and each identity has a multi handle of its own, and with it a pool that no other can
 * reach. The worker's thread only. */
#ifndef TH_NET_FETCH_POOL_H
#define TH_NET_FETCH_POOL_H

#include "fetch_loop.h"
#include "fetch_trust.h"
#include "tokenhop/base/identity.h"

struct th_fetch_pool {
    struct th_list link; /* the fetcher's */
    struct th_worker *worker;
    struct th_trust *trust;
    struct th_identity *identity; /* counted; NULL: nothing is shown */
    struct th_fetch_loop loop;
    size_t n_users;  /* fetches under way */
    int64_t used_ms; /* when the last ended */
};

int th_fetch_pool_new(struct th_worker *worker, struct th_trust *trust,
                      struct th_identity *identity, void (*done)(CURL *easy, CURLcode result),
                      struct th_fetch_pool **ret_pool) TH_MUST;
struct th_fetch_pool *th_fetch_pool_free(struct th_fetch_pool *pool);
void th_fetch_pool_take(struct th_fetch_pool *pool);
void th_fetch_pool_give(struct th_fetch_pool *pool);
/* Frees those of that trust, all without users. */
void th_fetch_pool_free_of(struct th_list *pools, const struct th_trust *trust);
/* Frees those of identities that were not used for some time: of a configuration that is gone, perhaps. */
void th_fetch_pool_sweep(struct th_list *pools, int64_t now_ms);

#endif
