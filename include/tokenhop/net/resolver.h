/* Names to addresses, off the loop. One resolver a worker: a small cache (30 s what was found, 2 s
 * what was not, bounded), equal questions under way are one job. Literals are answered at once. */
#ifndef TOKENHOP_NET_RESOLVER_H
#define TOKENHOP_NET_RESOLVER_H

#include "tokenhop/base/list.h"
#include "tokenhop/net/address.h"

struct th_worker;
struct th_resolve;
typedef void th_resolve_fn(struct th_resolve *resolve, int error,
                           const struct th_addresses *addresses);

/* Embedded in who asks. */
struct th_resolve {
    struct th_list link;
    th_resolve_fn *fn;
};

struct th_resolver;
int th_resolver_new(struct th_worker *worker, struct th_resolver **ret_resolver) TH_MUST;
struct th_resolver *th_resolver_free(struct th_resolver *resolver);

/* 0: *ret_addresses is filled, fn is not called. TH_AGAIN: fn will be called, on this worker.
 * TH_E_ORIGIN_NAME when it is known that there are none, or TH_E_OVERLOADED, TH_E_NOMEM,
 * TH_E_DRAINING. */
int th_resolver_ask(struct th_resolver *resolver, struct th_str host, uint16_t port,
                    struct th_resolve *resolve, th_resolve_fn *fn,
                    struct th_addresses *ret_addresses) TH_MUST;
void th_resolve_cancel(struct th_resolve *resolve); /* not asked is fine */

#endif
