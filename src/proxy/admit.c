#include "admit.h"

#include <string.h>

#include "hop.h"
#include "tokenhop/base/mem.h"

/* --- the accounts of a snapshot --- */

static bool bounds_requests(const struct th_config_share *share)
{
    return share->connections != 0 || share->requests_per_second != 0;
}

static bool has_bounds(const struct th_config_view *view)
{
    bool found =
        bounds_requests(&view->limits.per_caller) || bounds_requests(&view->limits.per_agent);
    for (size_t i = 0; i < view->n_callers && !found; i++)
        found = bounds_requests(&view->callers[i].limits);
    return found;
}

int th_admit_open(struct th_snapshot *snapshot, struct th_accounts *accounts)
{
    const struct th_config_view *view = snapshot->view;
    struct th_account **opened =
        th_calloc(view->n_callers + view->n_agents, sizeof(struct th_account *));

    if (opened == NULL)
        return TH_E_NOMEM;
    for (size_t i = 0; i < view->n_callers; i++)
        opened[i] = th_accounts_find(accounts, TH_ACCOUNT_CALLER, view->callers[i].name);
    for (size_t i = 0; i < view->n_agents; i++)
        opened[view->n_callers + i] =
            th_accounts_find(accounts, TH_ACCOUNT_AGENT, view->agents[i].name);
    snapshot->opened = opened;
    snapshot->accounts = accounts;
    snapshot->bounds_requests = has_bounds(view);
    return 0;
}

/* --- whose --- */

struct in6_addr th_admit_address(const struct th_session *session)
{
    struct in6_addr address = {{{0xff}}};

    if (session->unix_peer != NULL)
        memcpy(&address.s6_addr[4], &session->unix_peer->uid, 4);
    else if (session->peer.any.sa_family == AF_INET || session->peer.any.sa_family == AF_INET6)
        th_address_to_v6(&session->peer, &address);
    return address;
}

static struct th_account *pin_address(struct th_session *session,
                                      const struct th_snapshot *snapshot,
                                      const struct th_config_agent *agent)
{
    if (session->by_address == NULL) {
        struct in6_addr address = th_admit_address(session);
        session->by_address = th_accounts_pin(snapshot->accounts, &address, agent->name,
                                              session->listener->desk->worker->now_ms);
    }
    return session->by_address;
}

static void find_shares(struct th_hop *hop, struct th_account_share ret_shares[TH_ACCOUNT_KINDS])
{
    const struct th_snapshot *snapshot = hop->use->snapshot;
    const struct th_config_view *view = snapshot->view;
    struct th_account_share *caller = &ret_shares[TH_ACCOUNT_CALLER];

    if (hop->caller != NULL) {
        caller->account = snapshot->opened[hop->caller - view->callers];
        caller->limits = &hop->caller->limits;
    } else {
        caller->account = pin_address(hop->session, snapshot, hop->agent);
        caller->limits = &view->limits.per_caller;
    }
    caller->is_fair = true;
    ret_shares[TH_ACCOUNT_AGENT] = (struct th_account_share){
        .account = snapshot->opened[view->n_callers + (size_t)(hop->agent - view->agents)],
        .limits = &view->limits.per_agent,
    };
}

void th_admit_shares(void *arg, struct th_account_share ret_shares[TH_ACCOUNT_KINDS])
{
    struct th_hop *hop = arg;

    if (hop->use->snapshot->opened != NULL)
        find_shares(hop, ret_shares);
}

/* --- connections --- */

static bool count_connection(struct th_session *session, enum th_account_kind kind,
                             struct th_account *account, uint64_t max)
{
    struct th_account **counted = &session->counted[kind];

    if (*counted == account || max == 0)
        return true;
    /* A connection is somebody's by its latest request (R15). */
    if (*counted != NULL)
        th_account_give(&th_take(counted)->n_connections);
    if (!th_account_take(&account->n_connections, max))
        return false;
    *counted = account;
    return true;
}

bool th_admit_session(struct th_session *session)
{
    const struct th_snapshot *snapshot = session->listener->desk->current->snapshot;
    const struct th_config_agent *agent = session->listener->agent;

    if (TH_LIKELY(!snapshot->bounds_requests) || agent == NULL || snapshot->opened == NULL)
        return true;
    uint64_t max = snapshot->view->limits.per_caller.connections;
    if (max == 0)
        return true;
    struct th_account *account = pin_address(session, snapshot, agent);
    if (count_connection(session, TH_ACCOUNT_CALLER, account, max))
        return true;
    th_account_note_refusal(account, TH_BOUND_CONNECTIONS);
    th_admit_leave(session);
    return false;
}

void th_admit_leave(struct th_session *session)
{
    for (size_t i = 0; i < TH_ACCOUNT_KINDS; i++)
        if (session->counted[i] != NULL)
            th_account_give(&th_take(&session->counted[i])->n_connections);
    th_accounts_let_go(th_take(&session->by_address));
}

/* --- requests --- */

static int refuse(struct th_hop *hop, struct th_account *account, enum th_account_bound bound,
                  int64_t retry_after_ms)
{
    th_account_note_refusal(account, bound);
    hop->refusal = th_broker_limited(account, bound, retry_after_ms);
    hop->detail = hop->refusal != NULL ? hop->refusal->detail : NULL;
    if (bound == TH_BOUND_CONNECTIONS)
        hop->request.keep_alive = false; /* it is the connection that is one too many */
    return TH_E_CALLER_LIMIT;
}

/* All or none: what the agent's rate refuses costs its caller nothing. */
static int take_rates(struct th_hop *hop, const struct th_account_share *shares)
{
    int64_t wait_ms = -1;

    for (size_t i = 0; i < TH_ACCOUNT_KINDS; i++) {
        const struct th_account_share *share = &shares[i];
        if (th_rate_take(&share->account->requests, share->limits->requests_per_second,
                         hop->desk->worker->now_ms, &wait_ms))
            continue;
        for (size_t k = 0; k < i; k++)
            th_rate_give(&shares[k].account->requests, shares[k].limits->requests_per_second);
        return refuse(hop, share->account, TH_BOUND_REQUESTS, wait_ms);
    }
    return 0;
}

int th_admit_request(struct th_hop *hop)
{
    const struct th_snapshot *snapshot = hop->use->snapshot;
    struct th_account_share shares[TH_ACCOUNT_KINDS] = {{0}};

    if (hop->caller != NULL && snapshot->opened != NULL)
        atomic_fetch_add_explicit(
            &snapshot->opened[hop->caller - snapshot->view->callers]->n_requests, 1,
            memory_order_relaxed);
    if (TH_LIKELY(!snapshot->bounds_requests) || snapshot->opened == NULL)
        return 0;
    find_shares(hop, shares);
    for (size_t i = 0; i < TH_ACCOUNT_KINDS; i++) {
        const struct th_account_share *share = &shares[i];
        if (!count_connection(hop->session, (enum th_account_kind)i, share->account,
                              share->limits->connections))
            return refuse(hop, share->account, TH_BOUND_CONNECTIONS, -1);
    }
    return take_rates(hop, shares);
}
