/* Who asks: told anew for every request (R15). */
#include "hop.h"
#include "secure.h"
#include "tokenhop/gate/caller_workload.h"
#include "tokenhop/oauth/subject.h"
#include "tunnel.h"

static const char no_keys[] = "the keys that the caller's token is verified by cannot be had";
static const char not_verified[] =
    "the caller's token does not verify: it must be of the cluster, for this audience, and valid";

static void on_keys(struct th_document_waiter *waiter)
{
    struct th_workload_waiter *workload =
        TH_CONTAINER_OF(waiter, struct th_workload_waiter, document);

    th_hop_wake(TH_CONTAINER_OF(workload, struct th_hop, workload));
}

static int lack_keys(struct th_hop *hop, const struct th_config_caller *caller, const char *why)
{
    TH_LOG(hop->desk->worker->log, TH_LEVEL_WARN, "caller.keys",
           "The keys that callers' tokens are verified by cannot be had",
           TH_LOG_STR("authorization_server", caller->workload.issuer->name),
           TH_LOG_TEXT("reason", why));
    hop->detail = no_keys;
    return TH_E_EXCHANGE_DOWN;
}

/* The claims are those of the caller; whether they are true. */
static int verify(struct th_hop *hop, const struct th_config_caller *caller,
                  const struct th_jwt *jwt)
{
    struct th_proxy_desk *desk = hop->desk;
    struct th_document_failure failure = {0};
    int64_t wall_ms = th_clock_wall_ms(desk->worker->clock);
    const char *why = NULL;

    hop->workload.document.fn = on_keys;
    int error = th_workload_check_times(jwt->claims, wall_ms, &why);
    if (error == 0 && desk->documents == NULL)
        return lack_keys(hop, caller, "this process fetches none");
    if (error == 0)
        error = th_workload_verify(desk->documents, caller->workload.issuer, jwt, wall_ms,
                                   &hop->workload, &why, &failure);
    if (error == TH_AGAIN)
        return error;
    th_workload_leave(&hop->workload);
    if (error == TH_E_EXCHANGE_DOWN)
        return lack_keys(hop, caller, failure.why);
    if (error == TH_E_CALLER) {
        TH_LOG(desk->worker->log, TH_LEVEL_WARN, "caller.token_refused",
               "A token that claims to be a caller's does not hold",
               TH_LOG_STR("caller", caller->name), TH_LOG_TEXT("reason", why));
        hop->detail = not_verified;
    }
    return error;
}

/* A bearer token that is none of the configured ones: that of a workload, if it is one. Where it is none,
 * *ret_is_other. */
static int tell_workload(struct th_hop *hop, int refusal, bool *ret_is_other)
{
    const struct th_config_view *config = hop->use->snapshot->view;
    struct th_str token = th_caller_token(&hop->request);
    struct th_jwt jwt = {0};

    *ret_is_other = true;
    if (!th_caller_has_workloads(config) || !th_subject_is_token68(token))
        return refusal;
    int error = th_jwt_parse(token, &jwt);
    if (error < 0)
        return error == TH_E_NOMEM ? error : refusal;
    const struct th_config_caller *caller = th_caller_find_workload(config, jwt.claims);
    *ret_is_other = caller == NULL;
    error = caller != NULL ? verify(hop, caller, &jwt) : refusal;
    if (error == 0) {
        hop->caller = caller;
        hop->shown.proof = caller->proof;
        memcpy(hop->shown.digest, caller->digest, sizeof hop->shown.digest);
        hop->shown.until_wall_ms = th_jwt_time_ms(jwt.claims, "exp");
    }
    th_jwt_fini(&jwt);
    return error;
}

bool th_hop_awaits_caller(const struct th_hop *hop)
{
    return hop->wait == TH_WAIT_CALLER && hop->workload.document.handle != 0;
}

static bool is_refusal(int error)
{
    return error == TH_E_CALLER || error == TH_E_CALLER_UNKNOWN;
}

/* By what the request itself says, or its connection. */
static int tell_by_request(struct th_hop *hop, const struct th_caller_facts *facts)
{
    const struct th_config_view *config = hop->use->snapshot->view;
    bool is_other = true;
    int error =
        th_caller_tell(config, &hop->request, facts, &hop->caller, &hop->shown, &hop->detail);

    if (is_refusal(error) && hop->shown.proof == TH_CALLER_BEARER)
        error = tell_workload(hop, error, &is_other);
    if (is_refusal(error) && is_other)
        error = th_hop_ask_password(hop, error, &hop->caller);
    return error;
}

static bool has_ended(const struct th_hop *hop, const struct th_caller_proof_shown *shown)
{
    return shown->until_wall_ms != 0 &&
           shown->until_wall_ms <= th_clock_wall_ms(hop->desk->worker->clock);
}

/* What the connection has proved is proved no longer, whoever it was. */
static int refuse_ended(struct th_hop *hop)
{
    hop->request.keep_alive = false;
    hop->detail = "the client's certificate has expired since it was shown, or is accepted no "
                  "longer: connect anew";
    th_metrics_count(hop->desk->metrics, TH_METRIC_CALLERS_REFUSED);
    return TH_E_CALLER_UNKNOWN;
}

/* Whom the request acts as: the listener's agent, or that of the caller it proves to be. */
int th_hop_tell_caller(struct th_hop *hop)
{
    const struct th_config_view *config = hop->use->snapshot->view;
    const struct th_tunnel *tunnel = hop->session->tunnel;
    struct th_caller_facts facts = th_session_facts(hop->session);
    struct th_caller_names room;
    int error = 0;

    if (th_secure_has_ended(hop->session))
        return refuse_ended(hop);
    if (hop->agent != NULL)
        return 0;
    if (!hop->session->listener->asks_callers) {
        hop->detail = "this listener is no longer configured";
        return TH_E_DRAINING;
    }
    if (tunnel == NULL) {
        error = th_hop_read_certificate(hop, &room, &facts);
        if (error == 0)
            error = tell_by_request(hop, &facts);
        if (error == TH_AGAIN)
            return error;
    } else {
        hop->caller = th_caller_find(config, &facts, &tunnel->shown);
        hop->detail = "who opened this tunnel is not among the callers any more";
        error = hop->caller != NULL ? 0 : th_caller_refusal(config);
        if (error == 0 && has_ended(hop, &tunnel->shown)) {
            hop->caller = NULL;
            hop->detail = "the token of who opened this tunnel has expired";
            error = TH_E_CALLER;
        }
    }
    if (error < 0) {
        th_metrics_count(hop->desk->metrics, TH_METRIC_CALLERS_REFUSED);
        return error;
    }
    hop->agent = hop->caller->agent;
    hop->detail = NULL; /* it told why not */
    return 0;
}
