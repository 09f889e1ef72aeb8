/* The proxy: all workers' way of a request, from the accepted connection to the last byte relayed.
 *
 *   proxy     of the process: what all workers share
 *   desk      of one worker: its listeners, sessions, hops, origin connections
 *   session   one client connection; carries one hop at a time
 *   hop       one request and its response:  read head -> gate -> credential -> origin -> send ->
 * relay -> record origin    one connection to an origin; serves one hop at a time, or waits in the
 * desk's pool
 *
 * A desk and what hangs on it belong to its worker's thread. */
#ifndef TOKENHOP_PROXY_PROXY_H
#define TOKENHOP_PROXY_PROXY_H

#include "tokenhop/config/model.h"
#include "tokenhop/http/message.h"
#include "tokenhop/net/address.h"
#include "tokenhop/net/worker.h"
#include "tokenhop/token/broker.h"

struct th_proxy;
struct th_proxy_desk;
struct th_access_log;
struct th_audit_log;
struct th_activation;
struct th_document_desk;

/* Holds the configuration; makes routes and what workers share. */
int th_proxy_new(struct th_config *config, struct th_proxy **ret_proxy) TH_MUST;
/* Where callers and agents are held to their limits; before any desk is made. Borrowed for good. */
int th_proxy_account(struct th_proxy *proxy, struct th_accounts *accounts) TH_MUST;
/* Requests are counted by connection there. Before desks are made; once. */
struct th_metrics;
int th_proxy_measure(struct th_proxy *proxy, struct th_metrics *metrics) TH_MUST;
struct th_proxy *th_proxy_free(struct th_proxy *proxy); /* after all desks; NULL is fine */

struct th_proxy_desk_options {
    struct th_worker *worker;
    struct th_broker_desk *broker;    /* the caller's; outlives the desk */
    struct th_access_log *access_log; /* the caller's; may be NULL */
    struct th_audit_log *audit_log;   /* likewise */
    struct th_document_desk
        *documents; /* key sets that callers' tokens are verified by; likewise */
};
/* Any thread, before the worker runs. */
int th_proxy_desk_new(struct th_proxy *proxy, const struct th_proxy_desk_options *options,
                      struct th_proxy_desk **ret_desk) TH_MUST;
/* After the worker has stopped: what is still open is cut. NULL is fine. */
struct th_proxy_desk *th_proxy_desk_free(struct th_proxy_desk *desk);

/* Binds the desk's share of every configured listener that has one. */
int th_proxy_desk_listen(struct th_proxy_desk *desk, struct th_errinfo *reterr) TH_MUST;
/* Then, once, before the workers run: opens the listeners of which there is one for all desks (unix
 * sockets; what was handed over, `activation` may be NULL), which deal their connections out to them. The
 * unix sockets that it made are removed when the proxy is freed. */
int th_proxy_listen(struct th_proxy *proxy, struct th_proxy_desk *const *desks, size_t n_desks,
                    struct th_activation *activation, struct th_errinfo *reterr) TH_MUST;
/* Takes over a connected descriptor as a new session of listener number `listener`, as if it had
 * been accepted. */
void th_proxy_desk_accept(struct th_proxy_desk *desk, size_t listener, int fd,
                          const struct th_address *peer);

/* On the desk's thread: takes no more connections, closes the idle ones, lets hops end; what is
 * left at `deadline_ms` (monotonic) is cut. `fn` is called once nothing is left. */
void th_proxy_desk_drain(struct th_proxy_desk *desk, int64_t deadline_ms,
                         void (*fn)(struct th_proxy_desk *desk, void *arg), void *arg);

/* A reload, in two steps of one thread that is no worker's, so that all desks go over or none does.
 * First all that can fail: the snapshot, and `n_uses` holds on it, one for each desk. */
struct th_snapshot_use;
int th_proxy_reload(struct th_proxy *proxy, struct th_config *config,
                    struct th_snapshot_use **ret_uses, size_t n_uses) TH_MUST;
/* Then, for each desk: hops that begin after its worker's next turn go by the new configuration. It
 * arrives, however full the mailbox is; of several that were given before the turn, the last counts.
 * Takes the use over. Listeners stay as they are: their agents are looked up by the listener's
 * name. */
void th_proxy_desk_switch(struct th_proxy_desk *desk, struct th_snapshot_use *use);

struct th_proxy_figures {
    size_t sessions, hops, origins_idle;
};
void th_proxy_desk_count(const struct th_proxy_desk *desk, struct th_proxy_figures *ret_figures);

#endif
