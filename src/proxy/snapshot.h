/* A snapshot: one configuration together with what is compiled from it. Shared by all workers, counted,
 * immutable. Each desk counts its own hops on it through a view, so that a hop costs no atomic operation. */
#ifndef TOKENHOP_PROXY_SNAPSHOT_H
#define TOKENHOP_PROXY_SNAPSHOT_H

#include "tokenhop/base/ref.h"
#include "tokenhop/config/model.h"
#include "tokenhop/gate/policy.h"
#include "tokenhop/gate/route.h"
#include "tokenhop/intercept/interceptor.h"
#include "tokenhop/net/tls_server.h"
#include "tokenhop/proxy/proxy.h"
#include "tokenhop/token/credential.h"

struct th_account;
struct th_accounts;
struct th_metrics;

struct th_snapshot {
    struct th_ref ref;
    struct th_config *config;
    const struct th_config_view *view;
    struct th_routes *routes;
    /* By a connection's index: what a static one sends; NULL for every other. */
    struct th_credential **credentials;
    /* admit.h: the accounts of the callers and then of the agents, by their places; NULL: none are kept. */
    struct th_account **opened;
    struct th_accounts *accounts;
    bool bounds_requests;       /* by a limit of connections or of requests a second */
    unsigned *metric_rows;      /* by the connection's index; NULL: they are not counted */
    unsigned *rule_rows;        /* by the rule's index, that of none last; NULL: likewise */
    struct th_tls_context *tls; /* to origins; NULL where no https:// URL can be reached */
    /* By the connection's index: of its own; NULL: `tls`. The whole is NULL where there are none. */
    struct th_tls_context **own_tls;
    /* By a parent's index; NULL for one in cleartext, and as a whole where all are. */
    struct th_tls_context **parent_tls;
    struct th_interceptor *interceptor; /* NULL: none is configured */
    /* By the listener's place in the file; NULL: it speaks none. */
    struct th_tls_server **listener_tls;
};

/* What origins of that connection (NULL: unmatched ones) are verified by. */
static inline struct th_tls_context *th_snapshot_tls(const struct th_snapshot *snapshot,
                                                     const struct th_config_connection *connection)
{
    if (connection != NULL && snapshot->own_tls != NULL &&
        snapshot->own_tls[connection->index] != NULL)
        return snapshot->own_tls[connection->index];
    return snapshot->tls;
}

/* What that parent proxy is verified by; NULL: it is spoken to in cleartext, or there is none. */
static inline struct th_tls_context *th_snapshot_parent_tls(const struct th_snapshot *snapshot,
                                                            const struct th_config_parent *parent)
{
    return parent != NULL && parent->is_https ? snapshot->parent_tls[parent->index] : NULL;
}

/* The connection of the same name there; NULL: none. */
const struct th_config_connection *th_snapshot_find_alike(
    const struct th_snapshot *snapshot, const struct th_config_connection *connection);
/* What the same static connection sends there, for the same URLs and still for that agent, where that is
 * something else than `sent`: borrowed. NULL: nothing else. */
struct th_credential *th_snapshot_find_newer(const struct th_snapshot *snapshot,
                                             const struct th_config_connection *connection,
                                             const struct th_config_agent *agent,
                                             const struct th_credential *sent);

struct th_snapshot *th_snapshot_ref(struct th_snapshot *snapshot);
struct th_snapshot *th_snapshot_unref(struct th_snapshot *snapshot);
/* `before`: the one whose place it takes, or NULL; what both have alike they share. */
int th_snapshot_new(struct th_config *config, const struct th_snapshot *before,
                    struct th_snapshot **ret_snapshot) TH_MUST;

/* Finds the rows of its connections. Before any desk uses it. */
int th_snapshot_measure(struct th_snapshot *snapshot, struct th_metrics *metrics) TH_MUST;

/* One desk's hold on a snapshot: goes when it is retired and no hop or origin connection uses it. */
struct th_snapshot_use {
    struct th_snapshot *snapshot;
    size_t users;
    bool retired;
    struct th_policy_memo *memo; /* made when it is of use; NULL: not yet */
};

struct th_snapshot_use *th_snapshot_use_new(
    struct th_snapshot *snapshot) TH_MUST; /* takes a reference of its own; any thread */
void th_snapshot_use_retire(struct th_snapshot_use *use);
static inline void th_snapshot_use_take(struct th_snapshot_use *use)
{
    use->users++;
}
void th_snapshot_use_give(struct th_snapshot_use *use);

#endif
