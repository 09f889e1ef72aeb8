/* A listening socket of one worker (SO_REUSEPORT: each worker has its own, the kernel spreads). */
#ifndef TOKENHOP_NET_LISTENER_H
#define TOKENHOP_NET_LISTENER_H

#include "tokenhop/net/address.h"
#include "tokenhop/net/worker.h"

struct th_listener;
/* Owns the new non-blocking descriptor. */
typedef void th_accept_fn(void *arg, int fd, const struct th_address *peer);

/* Binds and listens: any thread, before the worker runs. Port 0 takes a free one. */
int th_listener_new(struct th_worker *worker, const struct th_address *address, int backlog,
                    th_accept_fn *fn, void *arg, struct th_listener **ret_listener,
                    struct th_errinfo *reterr) TH_MUST;
/* The same with a descriptor that is bound and listens (a unix socket, one handed over by a
 * supervisor, a transparent one); owned, also when it fails. A peer without an internet address has
 * the family only. */
int th_listener_new_fd(struct th_worker *worker, int fd, th_accept_fn *fn, void *arg,
                       struct th_listener **ret_listener) TH_MUST;
/* From now on it takes connections to addresses that are not of this machine, as TPROXY hands them over.
 * Needs CAP_NET_ADMIN. */
int th_listener_set_transparent(struct th_listener *listener, struct th_errinfo *reterr) TH_MUST;
/* The address it is bound to, the port filled in. */
const struct th_address *th_listener_address(const struct th_listener *listener);
/* Out of descriptors it pauses by itself for 100 ms; this one pauses or resumes for good. */
void th_listener_pause(struct th_listener *listener, bool pause);
struct th_listener *th_listener_free(
    struct th_listener *listener); /* NULL is fine; inside `fn` too */

#endif
