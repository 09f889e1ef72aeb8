/* What the proxy room keeps for one worker. Private to the room. */
#ifndef TOKENHOP_PROXY_DESK_H
#define TOKENHOP_PROXY_DESK_H

#include <stdatomic.h>

#include "origin.h"
#include "snapshot.h"
#include "tokenhop/gate/passwords.h"
#include "tokenhop/gate/seen.h"
#include "tokenhop/net/helpers.h"
#include "tokenhop/net/listener.h"
#include "tokenhop/net/unix_socket.h"
#include "tokenhop/observe/metrics.h"
#include "tokenhop/proxy/proxy.h"

#define TH_VIA_MAX 40

struct th_proxy {
    /* Of the listeners that all desks share (shared.c): whom they deal to, and what is removed at the
     * end. Set before the workers run. */
    struct th_proxy_desk **desks;
    size_t n_desks;
    struct th_unix_place *places;
    size_t n_places;
    struct th_address *handed_over; /* where those are that came from a supervisor */
    size_t n_handed_over;
    struct th_snapshot *snapshot; /* of desks that are made from now on */
    struct th_metrics *metrics;   /* for the rows of connections; NULL: none */
    struct th_accounts *accounts; /* of callers and agents; NULL: none are kept */
    struct th_seen *seen;
    struct th_passwords *passwords;
    atomic_size_t n_sessions;     /* of all desks, for limits.connections */
    atomic_size_t n_tunnels;      /* and for limits.tunnels */
    struct th_own_ends *own_ends; /* NULL where no listener is transparent */
    char via_name
        [TH_VIA_MAX]; /* "tokenhop-1a2b3c4d": tells our own Via from that of another tokenhop */
};

/* A listener of the desk; sessions point here, and find their agent by it whatever snapshot is current. */
struct th_desk_listener {
    struct th_proxy_desk *desk;
    struct th_listener *listener; /* NULL where none was bound */
    char name[64];
    /* As the current snapshot has it. */
    const struct th_config_listener *config; /* NULL: it is not configured any more */
    struct th_tls_server *tls;               /* of the snapshot; NULL: none is spoken */
    const struct th_config_agent *agent;     /* whom all its callers act as; NULL: */
    enum th_listener_mode mode;
    enum th_scheme scheme; /* of a gateway's destinations */
    enum th_original original;
    uint16_t port;
    bool by_tproxy, by_name;                        /* of a transparent one: model.h of config */
    const struct th_config_network *header_sources; /* of proxies that tell who their client is */
    size_t n_header_sources;
    bool takes_unix_headers; /* likewise, over a unix socket */
    bool asks_callers;       /* each says who it is; false: it is not configured any more */
};

/* A socket that serves all desks, and that this one accepts for. */
struct th_door {
    struct th_list link; /* of the desk */
    struct th_desk_listener *listener;
    struct th_listener *socket;
    size_t n_dealt; /* connections so far */
};

/* A configuration on its way to the desk. Outlives the desk where it is still under way then. */
struct th_desk_post {
    struct th_job job;          /* with the worker exactly while `next` is not NULL */
    struct th_proxy_desk *desk; /* NULL: it has gone */
    _Atomic(struct th_snapshot_use *) next;
};

struct th_proxy_desk {
    struct th_proxy *proxy;
    struct th_worker *worker;
    struct th_broker_desk *broker;
    struct th_document_desk *documents; /* NULL: no key of a caller's token can be had */
    struct th_access_log *access_log;
    struct th_audit_log *audit_log;
    struct th_audit_post *audit_post;
    struct th_metrics_shard *metrics;
    struct th_snapshot_use *current;
    struct th_desk_post *post;
    struct th_desk_listener *listeners;
    size_t n_listeners;
    struct th_list doors;
    struct th_list sessions;  /* of whom a request was admitted */
    struct th_list newcomers; /* of whom none was yet, the longest here first */
    struct th_list free_hops;
    size_t n_sessions, n_hops, n_free_hops;
    size_t n_unneeded_hops; /* the fewest free ones since the trim timer was set */
    struct th_timer trim;
    struct th_origin_pool origins;
    struct th_endpoints *endpoints;
    struct th_list shadows; /* what is found out beside requests (shadow.h) */
    size_t n_shadows;
    struct th_timer flush; /* of the access log */
    uint64_t n_lines_lost; /* of it, as far as they were counted */
    struct th_timer drain;
    bool draining;
    void (*on_drained)(struct th_proxy_desk *desk, void *arg);
    void *on_drained_arg;
};

static inline const struct th_config_view *th_desk_config(const struct th_proxy_desk *desk)
{
    return desk->current->snapshot->view;
}

/* A session has gone: ends the drain when it was the last. */
void th_desk_session_gone(struct th_proxy_desk *desk);

/* audit_post.c: the desk is told when lines of its audit log are settled that something waits for. The first 0 or
 * TH_E_NOMEM; the second when the worker has stopped. */
int th_audit_post_begin(struct th_proxy_desk *desk) TH_MUST;
void th_audit_post_end(struct th_proxy_desk *desk);

/* shared.c: whether one socket serves all desks. */
bool th_listener_is_shared(const struct th_config_listener *listener);
/* No more connections come by the desk's doors. */
void th_desk_close_doors(struct th_proxy_desk *desk);
/* Frees what shared listeners have of the proxy, and removes their sockets. */
void th_proxy_close_shared(struct th_proxy *proxy);
/* Whether a socket that was handed over listens there (R10): the configuration does not know. */
bool th_proxy_is_at(const struct th_proxy *proxy, const struct th_address *address);

#endif
