/* What is made anew for each try: the client's assertion, the DPoP proof, and the assertion of who acts. */
#include <stdio.h>

#include "exchange_breaker.h"
#include "exchange_certificate.h"
#include "exchange_dpop.h"
#include "exchange_run.h"
#include "refused.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/net/helpers.h"

/* What it takes, and what comes of it. All of it is held elsewhere meanwhile. */
struct proving {
    struct th_client client;
    struct th_str audience; /* of the client's assertion */
    struct th_str endpoint;
    struct th_dpop_key *dpop_key; /* NULL: no such proof */
    bool asserts_actor;
    int64_t wall_ms;
    struct th_secret *proof;
    struct th_secret *dpop_proof;
    struct th_secret *actor_assertion;
};

static int prove(struct proving *p)
{
    const struct th_client_auth *method = th_client_auth_get(p->client.auth->method);
    int error = 0;
    if (method->prove != NULL)
        error = method->prove(&p->client, p->audience, p->wall_ms, &p->proof);
    if (error == 0 && p->dpop_key != NULL)
        error = th_exchange_make_proof(p->dpop_key, p->endpoint, p->wall_ms, &p->dpop_proof);
    /* Of the same form, for the endpoint alone, whoever client assertions are for (reference, 10). */
    if (error == 0 && p->asserts_actor)
        error = th_client_auth_get(TH_AUTH_PRIVATE_KEY_JWT)
                    ->prove(&p->client, p->endpoint, p->wall_ms, &p->actor_assertion);
    return error;
}

static void take_proofs(struct th_exchange *ex, struct proving *p)
{
    ex->proof = th_take(&p->proof);
    ex->dpop_proof = th_take(&p->dpop_proof);
    ex->actor_assertion = th_take(&p->actor_assertion);
}

static bool is_slow(const struct proving *p)
{
    const struct th_client_auth *method = th_client_auth_get(p->client.auth->method);
    return (method->is_slow != NULL && method->is_slow(&p->client)) ||
           (p->dpop_key != NULL && th_dpop_key_is_slow(p->dpop_key));
}

/* On a helper thread. Holds all it reads, as the exchange may be gone meanwhile. */
struct prove_job {
    struct th_job job;
    uint64_t handle;
    struct th_config *config;           /* counted; NULL in tests without one */
    const struct th_metadata *metadata; /* counted; the audience may be its text */
    struct proving proving;             /* the keys counted */
    int error;
};

static void prove_job_free(struct prove_job *job)
{
    struct proving *p = &job->proving;
    th_key_unref(p->client.key);
    th_metadata_unref(job->metadata);
    th_secret_unref(p->proof);
    th_secret_unref(p->dpop_proof);
    th_secret_unref(p->actor_assertion);
    th_dpop_key_unref(p->dpop_key);
    if (job->config != NULL)
        th_config_unref(job->config);
    th_free(job);
}

static void prove_work(struct th_job *base)
{
    struct prove_job *job = TH_CONTAINER_OF(base, struct prove_job, job);
    job->error = prove(&job->proving);
}

static const char *why_unproven(int error)
{
    return error == TH_E_CONFIG
               ? "the agent's key or secret cannot be used: does it fit auth.method and auth.alg?"
               : "the client assertion could not be made now";
}

static void prove_done(struct th_job *base)
{
    struct prove_job *job = TH_CONTAINER_OF(base, struct prove_job, job);
    struct th_exchange *ex = th_handle_find(base->worker->handles, job->handle);
    if (ex != NULL) {
        TH_REQUIRE(ex->magic == TH_EXCHANGE_MAGIC && ex->state == TH_EXCHANGE_PROVING);
        th_handle_drop(base->worker->handles, ex->handle);
        ex->handle = 0;
        take_proofs(ex, &job->proving);
        int error = base->skipped ? TH_E_DRAINING : job->error;
        th_exchange_run(ex, error == 0 ? TH_EXCHANGE_SEND
                                       : th_exchange_fail(ex, error, why_unproven(error)));
    }
    prove_job_free(job);
}

static int prove_elsewhere(struct th_exchange *ex, const struct proving *proving)
{
    struct th_worker *worker = ex->worker;
    const struct th_metadata *metadata = ex->metadata[th_exchange_metadata_at(ex)];
    struct prove_job *job = th_calloc(1, sizeof *job);
    if (job == NULL)
        return TH_E_NOMEM;
    ex->handle = th_handle_new(worker->handles, ex);
    job->job.work = prove_work;
    job->job.done = prove_done;
    job->handle = ex->handle;
    job->config = ex->config != NULL ? th_config_ref(ex->config) : NULL;
    job->metadata = metadata != NULL ? th_metadata_ref(metadata) : NULL;
    job->proving = *proving;
    if (proving->client.key != NULL)
        job->proving.client.key = th_key_ref(proving->client.key);
    if (proving->dpop_key != NULL)
        job->proving.dpop_key = th_dpop_key_ref(proving->dpop_key);
    int error =
        ex->handle != 0 ? th_helpers_submit(worker->helpers, worker, &job->job) : TH_E_NOMEM;
    if (error != 0) {
        th_handle_drop(worker->handles, ex->handle);
        ex->handle = 0;
        prove_job_free(job);
    }
    return error;
}

static enum th_exchange_state hold_off(struct th_exchange *ex, int64_t wait_ms)
{
    char why[64];
    ex->result.retry_after_ms = wait_ms;
    ex->result.was_held_off = ex->result.n_legs == 0;
    (void)snprintf(why, sizeof why, "after failures it is not asked again for %lld ms",
                   (long long)wait_ms);
    return th_exchange_fail(ex, TH_E_EXCHANGE_DOWN, why);
}

/* Before the first leg all of them are looked at, as it would be spent for nothing. */
static bool is_refused(struct th_exchange *ex)
{
    size_t last = ex->result.n_legs == 0 ? ex->legs.n - 1 : ex->leg;
    for (size_t leg = ex->leg; leg <= last; leg++) {
        if (th_refused_holds(ex, leg)) {
            ex->result.error = TH_E_EXCHANGE_CLIENT;
            ex->result.was_held_off = ex->result.n_legs == 0;
            return true;
        }
    }
    return false;
}

/* The keys of the leg. */
static int get_keys(struct th_exchange *ex)
{
    const struct th_config_auth *auth = ex->client.auth;
    int error = 0;
    if (th_client_auth_get(auth->method)->has_key)
        error = th_exchanger_get_key(ex->exchanger, ex->config, auth, &ex->client.key);
    if (error == 0 && th_exchange_bears_proof(ex))
        error = th_exchange_get_dpop_key(ex);
    return error;
}

enum th_exchange_state th_exchange_enter_prove(struct th_exchange *ex)
{
    if (ex->is_revoking && !ex->only_revokes && th_exchange_endpoint(ex).len == 0) {
        ex->is_revoking = false; /* nowhere to */
        ex->n_revocations = 0;
        return TH_EXCHANGE_DISCOVER;
    }
    th_exchange_drop_try(ex);
    if (!ex->is_revoking && is_refused(ex))
        return TH_EXCHANGE_END;
    int64_t wait_ms = th_exchange_enter_leg(ex);
    if (wait_ms > 0)
        return hold_off(ex, wait_ms);
    const struct th_config_authorization_server *server = th_exchange_server(ex);
    th_exchange_choose_auth(ex, server);
    if (!th_exchange_can_show(ex))
        return th_exchange_fail(ex, TH_E_EXCHANGE_FAILED,
                                "the agent is to show its certificate, and the endpoint is not "
                                "https://");
    int error = get_keys(ex);
    bool goes_elsewhere = false;
    if (error == 0) {
        struct th_str endpoint = th_exchange_endpoint(ex);
        struct proving proving = {
            .client = ex->client,
            .audience = th_client_auth_audience(server, endpoint),
            .endpoint = endpoint,
            .dpop_key = th_exchange_bears_proof(ex) ? ex->dpop_key : NULL,
            .asserts_actor = !ex->is_revoking &&
                             th_plan_leg_bears_assertion(th_exchange_leg(ex), ex->connection),
            .wall_ms = th_clock_wall_ms(ex->worker->clock)};
        goes_elsewhere = ex->worker->helpers != NULL && is_slow(&proving);
        error = goes_elsewhere ? prove_elsewhere(ex, &proving) : prove(&proving);
        take_proofs(ex, &proving);
    }
    if (error != 0)
        return th_exchange_fail(ex, error, why_unproven(error));
    return goes_elsewhere ? TH_EXCHANGE_PROVING : TH_EXCHANGE_SEND;
}
