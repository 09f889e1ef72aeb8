/* The kept connections of fetches that trust the same, show the same, and go through the same proxy. curl takes
 * a kept connection by host and by options that it knows of; the certificates here it does not see
 * (on_tls_context()), hence each of these has a multi handle of its own, and with it a pool that no other can
 * reach. The worker's thread only. */
#ifndef TH_NET_FETCH_POOL_H
#define TH_NET_FETCH_POOL_H

#include "fetch_loop.h"
#include "fetch_trust.h"
#include "tokenhop/base/identity.h"
#include "tokenhop/base/secret.h"

struct th_fetch_pool {
    struct th_list link; /* the fetcher's */
    struct th_worker *worker;
    struct th_trust *trust;
    struct th_identity *identity; /* counted; NULL: nothing is shown */
    /* What a kept connection leads through, and what was shown there; NULL: nothing. */
    char *proxy;
    struct th_trust *proxy_trust;          /* of an https one */
    struct th_secret *proxy_authorization; /* counted */
    struct th_fetch_loop loop;
    size_t n_users;  /* fetches under way */
    int64_t used_ms; /* when the last ended */
};

/* Whom the connections of a pool are for. */
struct th_fetch_way {
    struct th_trust *trust;
    struct th_identity *identity;
    const char *proxy;
    struct th_trust *proxy_trust;
    struct th_secret *proxy_authorization;
};
bool th_fetch_pool_is_of(const struct th_fetch_pool *pool, const struct th_fetch_way *way);

int th_fetch_pool_new(struct th_worker *worker, const struct th_fetch_way *way,
                      void (*done)(void *arg, CURL *easy, CURLcode result), void *arg,
                      struct th_fetch_pool **ret_pool) TH_MUST;
struct th_fetch_pool *th_fetch_pool_free(struct th_fetch_pool *pool);
void th_fetch_pool_take(struct th_fetch_pool *pool);
void th_fetch_pool_give(struct th_fetch_pool *pool);
/* Frees those of that trust, or of that trust in their proxy, all without users. */
void th_fetch_pool_free_of(struct th_list *pools, const struct th_trust *trust);
/* Frees those of identities and proxies that were not used for some time: of a configuration that is gone, perhaps. */
void th_fetch_pool_sweep(struct th_list *pools, int64_t now_ms);

#endif
