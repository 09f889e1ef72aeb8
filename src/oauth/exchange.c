#include "tokenhop/oauth/exchange.h"

#include <stdio.h>

#include "delegation_private.h"
#include "exchange_breaker.h"
#include "exchange_dpop.h"
#include "exchange_run.h"
#include "form.h"
#include "issued.h"
#include "printable.h"
#include "refused.h"
#include "subject_private.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/net/helpers.h"
#include "tokenhop/observe/log.h"
#include "tokenhop/observe/metrics.h"
#include "watch.h"

#define FORM_MAX ((size_t)512 * 1024) /* two tokens of 64 KiB, each byte escaped, and the rest */

static const struct th_plan_leg *leg_of(const struct th_exchange *ex)
{
    return ex->is_revoking ? ex->plan->revocation : &ex->plan->legs[ex->leg];
}

const struct th_config_authorization_server *th_exchange_server(const struct th_exchange *ex)
{
    return th_plan_leg_server(leg_of(ex), ex->agent, ex->connection);
}

struct th_str th_exchange_endpoint(const struct th_exchange *ex)
{
    const struct th_config_authorization_server *server = th_exchange_server(ex);
    const struct th_metadata *metadata = ex->metadata[ex->leg];
    struct th_str configured =
        ex->is_revoking ? server->revocation_endpoint : server->token_endpoint;
    if (configured.len > 0 || metadata == NULL)
        return configured;
    return ex->is_revoking ? metadata->revocation_endpoint : metadata->token_endpoint;
}

/* The result is an error: which leg, where, why. */
static enum th_exchange_state fail(struct th_exchange *ex, int error, const char *why)
{
    char name[64];
    th_printable_copy(name, sizeof name, th_exchange_server(ex)->name);
    ex->result.error = error;
    (void)snprintf(ex->result.detail, sizeof ex->result.detail,
                   "leg %s at authorization server \"%s\": %s%s%s", leg_of(ex)->name, name,
                   ex->result.oauth_error, ex->result.oauth_error[0] != '\0' ? ": " : "", why);
    return TH_EXCHANGE_END;
}

/* What is of one try and must not reach the next. */
static void drop_try(struct th_exchange *ex)
{
    ex->proof = th_secret_unref(ex->proof);
    ex->dpop_proof = th_secret_unref(ex->dpop_proof);
    ex->has_nonce = false;
    ex->client.key = th_key_unref(ex->client.key);
    th_token_answer_fini(&ex->answer);
    ex->is_unanswered = false;
    th_timer_stop(&ex->worker->wheel, &ex->share);
}

/* Lets go of all that may still call back, and of every token. */
static void drop_all(struct th_exchange *ex)
{
    struct th_worker *worker = ex->worker;
    if (ex->fetch != NULL)
        ex->exchanger->fetcher->cancel(ex->exchanger->fetcher, ex->fetch);
    ex->fetch = NULL;
    th_handle_drop(worker->handles, ex->handle);
    ex->handle = 0;
    th_timer_stop(&worker->wheel, &ex->deadline);
    th_document_leave(&ex->document);
    ex->lacking = th_jwks_unref(ex->lacking);
    drop_try(ex);
    th_exchange_leave_all(ex);
    ex->previous = th_secret_unref(ex->previous);
    ex->subject_token = th_secret_unref(ex->subject_token);
    ex->rejected = th_secret_unref(ex->rejected);
    json_decref(ex->subject_claims);
    ex->subject_claims = NULL;
}

struct th_exchange *th_exchange_free(struct th_exchange *ex)
{
    if (ex == NULL)
        return NULL;
    drop_all(ex);
    th_soon_cancel(&ex->soon);
    th_list_remove(&ex->link);
    th_secret_unref(ex->result.token);
    th_values_free(ex->result.values);
    th_delegation_unref(ex->result.delegation);
    th_dpop_key_unref(ex->dpop_key);
    for (size_t i = 0; i < TH_COUNT_OF(ex->metadata); i++)
        th_metadata_unref(ex->metadata[i]); /* not before: reports name their endpoints */
    if (ex->config != NULL)
        th_config_unref(ex->config);
    th_wipe(&ex->result, sizeof ex->result); /* interaction_uri is as good as a token */
    ex->magic = 0;
    th_free(ex);
    return NULL;
}

/* -- the client assertion and the DPoP proof --------------------------------------------------------- */

/* On a helper thread. Holds all it reads, as the exchange may be gone meanwhile. */
struct prove_job {
    struct th_job job;
    uint64_t handle;
    struct th_config *config;           /* counted; NULL in tests without one */
    struct th_client client;            /* the key counted */
    const struct th_metadata *metadata; /* counted; the audience may be its text */
    struct th_str audience;
    struct th_dpop_key *dpop_key; /* counted; NULL: no such proof */
    struct th_str endpoint;
    int64_t wall_ms;
    int error;
    struct th_secret *proof;
    struct th_secret *dpop_proof;
};

static void prove_job_free(struct prove_job *prove)
{
    th_key_unref(prove->client.key);
    th_metadata_unref(prove->metadata);
    th_secret_unref(prove->proof);
    th_secret_unref(prove->dpop_proof);
    th_dpop_key_unref(prove->dpop_key);
    if (prove->config != NULL)
        th_config_unref(prove->config);
    th_free(prove);
}

static void prove_work(struct th_job *job)
{
    struct prove_job *prove = TH_CONTAINER_OF(job, struct prove_job, job);
    const struct th_client_auth *method = th_client_auth_get(prove->client.auth->method);
    if (method->prove != NULL)
        prove->error =
            method->prove(&prove->client, prove->audience, prove->wall_ms, &prove->proof);
    if (prove->error == 0 && prove->dpop_key != NULL)
        prove->error = th_exchange_make_proof(prove->dpop_key, prove->endpoint, prove->wall_ms,
                                              &prove->dpop_proof);
}

static const char *why_unproven(int error)
{
    return error == TH_E_CONFIG
               ? "the agent's key or secret cannot be used: does it fit auth.method and auth.alg?"
               : "the client assertion could not be made now";
}

static void prove_done(struct th_job *job)
{
    struct prove_job *prove = TH_CONTAINER_OF(job, struct prove_job, job);
    struct th_exchange *ex = th_handle_find(job->worker->handles, prove->handle);
    if (ex != NULL) {
        TH_REQUIRE(ex->magic == TH_EXCHANGE_MAGIC && ex->state == TH_EXCHANGE_PROVING);
        th_handle_drop(job->worker->handles, ex->handle);
        ex->handle = 0;
        ex->proof = th_take(&prove->proof);
        ex->dpop_proof = th_take(&prove->dpop_proof);
        int error = job->skipped ? TH_E_DRAINING : prove->error;
        th_exchange_run(ex, error == 0 ? TH_EXCHANGE_SEND : fail(ex, error, why_unproven(error)));
    }
    prove_job_free(prove);
}

static int prove_elsewhere(struct th_exchange *ex, struct th_str audience, int64_t wall_ms)
{
    struct th_worker *worker = ex->worker;
    struct prove_job *prove = th_calloc(1, sizeof *prove);
    if (prove == NULL)
        return TH_E_NOMEM;
    ex->handle = th_handle_new(worker->handles, ex);
    prove->job.work = prove_work;
    prove->job.done = prove_done;
    prove->handle = ex->handle;
    prove->config = ex->config != NULL ? th_config_ref(ex->config) : NULL;
    prove->client = ex->client;
    prove->client.key = ex->client.key != NULL ? th_key_ref(ex->client.key) : NULL;
    if (th_exchange_bears_proof(ex))
        prove->dpop_key = th_dpop_key_ref(ex->dpop_key);
    prove->endpoint = th_exchange_endpoint(ex);
    if (ex->metadata[ex->leg] != NULL)
        prove->metadata = th_metadata_ref(ex->metadata[ex->leg]);
    prove->audience = audience;
    prove->wall_ms = wall_ms;
    int error =
        ex->handle != 0 ? th_helpers_submit(worker->helpers, worker, &prove->job) : TH_E_NOMEM;
    if (error != 0) {
        th_handle_drop(worker->handles, ex->handle);
        ex->handle = 0;
        prove_job_free(prove);
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
    return fail(ex, TH_E_EXCHANGE_DOWN, why);
}

/* Before the first leg all of them are looked at, as it would be spent for nothing. */
static bool is_refused(struct th_exchange *ex)
{
    size_t last = ex->result.n_legs == 0 ? ex->plan->n_legs - 1 : ex->leg;
    for (size_t leg = ex->leg; leg <= last; leg++) {
        if (th_refused_holds(ex, leg)) {
            ex->result.error = TH_E_EXCHANGE_CLIENT;
            ex->result.was_held_off = ex->result.n_legs == 0;
            return true;
        }
    }
    return false;
}

static enum th_exchange_state enter_prove(struct th_exchange *ex)
{
    struct th_worker *worker = ex->worker;
    if (ex->is_revoking && !ex->only_revokes &&
        th_exchange_endpoint(ex).len == 0) { /* nowhere to */
        ex->is_revoking = false;
        ex->n_revocations = 0;
    }
    const struct th_config_authorization_server *server = th_exchange_server(ex);
    struct th_str audience = th_client_auth_audience(server, th_exchange_endpoint(ex));
    int64_t wall_ms = th_clock_wall_ms(worker->clock);
    int error = 0;
    drop_try(ex);
    if (!ex->is_revoking && is_refused(ex))
        return TH_EXCHANGE_END;
    int64_t wait_ms = th_exchange_enter_leg(ex);
    if (wait_ms > 0)
        return hold_off(ex, wait_ms);
    th_exchange_choose_auth(ex, server);
    const struct th_client_auth *method = th_client_auth_get(ex->client.auth->method);
    if (method->has_key)
        error = th_exchanger_get_key(ex->exchanger, ex->config, ex->client.auth, &ex->client.key);
    bool bears_proof = th_exchange_bears_proof(ex);
    if (error == 0 && bears_proof)
        error = th_exchange_get_dpop_key(ex);
    bool is_slow = error == 0 && worker->helpers != NULL &&
                   ((method->is_slow != NULL && method->is_slow(&ex->client)) ||
                    (bears_proof && th_dpop_key_is_slow(ex->dpop_key)));
    if (is_slow)
        error = prove_elsewhere(ex, audience, wall_ms);
    else if (error == 0 && method->prove != NULL)
        error = method->prove(&ex->client, audience, wall_ms, &ex->proof);
    if (error == 0 && !is_slow && bears_proof)
        error = th_exchange_make_proof(ex->dpop_key, th_exchange_endpoint(ex), wall_ms,
                                       &ex->dpop_proof);
    if (error != 0)
        return fail(ex, error, why_unproven(error));
    return is_slow ? TH_EXCHANGE_PROVING : TH_EXCHANGE_SEND;
}

/* -- the request --------------------------------------------------------------------------------- */

static struct th_str subject_type_urn(enum th_subject_type type)
{
    switch (type) {
    case TH_SUBJECT_ID_TOKEN:
        return TH_STR("urn:ietf:params:oauth:token-type:id_token");
    case TH_SUBJECT_ACCESS_TOKEN:
        return TH_STR("urn:ietf:params:oauth:token-type:access_token");
    case TH_SUBJECT_AUTO:
        break;
    }
    TH_REQUIRE(!"the type was told before");
    return TH_STR_NONE;
}

static struct th_str value_of(const struct th_exchange *ex,
                              const struct th_leg_parameter *parameter)
{
    switch (parameter->value) {
    case TH_VALUE_CONSTANT:
        return th_str_of(parameter->constant);
    case TH_VALUE_ASSERTION_GRANT:
        return th_plan_assertion_grant(parameter, ex->connection);
    case TH_VALUE_SUBJECT_TOKEN:
        return th_secret_expose(ex->subject_token);
    case TH_VALUE_SUBJECT_TYPE:
        return subject_type_urn(ex->result.subject.type);
    case TH_VALUE_AUDIENCE:
        return ex->connection->audience;
    case TH_VALUE_RESOURCE:
        return ex->connection->resource;
    case TH_VALUE_SCOPES:
        return ex->connection->scope_text;
    case TH_VALUE_SECOND_LEG_SCOPES:
        return ex->connection->second_leg_scope_text;
    case TH_VALUE_PREVIOUS_TOKEN:
        return th_secret_expose(ex->previous);
    case TH_VALUE_REJECTED_TOKEN:
        return th_secret_expose(ex->rejected);
    }
    return TH_STR_NONE;
}

static void on_fetch(void *arg, int error, const struct th_fetch_response *response,
                     const char *detail);

static int start_fetch(struct th_exchange *ex, const struct th_buf *form,
                       const struct th_buf *authorization)
{
    struct th_fetcher *fetcher = ex->exchanger->fetcher;
    const struct th_config_authorization_server *server = th_exchange_server(ex);
    struct th_fetch_request request = {
        .url = th_exchange_endpoint(ex),
        .body = th_buf_str(form),
        .content_type = TH_FORM_CONTENT_TYPE,
        .authorization = th_buf_str(authorization),
        .dpop = ex->dpop_proof != NULL ? th_secret_expose(ex->dpop_proof) : TH_STR_NONE,
        .ca_file = server->ca_file,
        .allow_cleartext = server->allow_cleartext,
        .timeout_ms = ex->share_ms,
    };
    return fetcher->start(fetcher, &request, on_fetch, ex, &ex->fetch);
}

static void report_sent(struct th_exchange *ex)
{
    size_t at = th_exchange_report_at(ex);
    struct th_exchange_leg_report *report = &ex->result.legs[at];
    struct th_metrics_shard *metrics = ex->worker->metrics;
    th_metrics_count(metrics, TH_METRIC_LEGS);
    if (at < ex->result.n_legs)
        th_metrics_count(metrics, TH_METRIC_LEGS_RETRIED);
    else
        ex->result.n_legs = (unsigned)at + 1;
    report->name = leg_of(ex)->name;
    report->endpoint = th_exchange_endpoint(ex);
    report->status = 0;
    ex->sent_us = th_clock_precise_us();
}

static enum th_exchange_state enter_send(struct th_exchange *ex)
{
    const struct th_plan_leg *leg = leg_of(ex);
    struct th_buf form, authorization;
    th_buf_init_secret(&form, FORM_MAX);
    th_buf_init_secret(&authorization, FORM_MAX);
    for (size_t i = 0; i < leg->n_parameters; i++)
        th_form_add(&form, th_str_of(leg->parameters[i].name), value_of(ex, &leg->parameters[i]));
    th_client_auth_get(ex->client.auth->method)
        ->present(&ex->client, ex->proof, &form, &authorization);
    int error = form.failed || authorization.failed ? TH_E_NOMEM : 0;
    if (error == 0) {
        report_sent(ex);
        th_exchange_watch_request(ex, th_buf_str(&form), th_buf_str(&authorization));
        ex->share_ms = th_exchange_share_ms(ex);
        error = start_fetch(ex, &form, &authorization);
    }
    bool is_last = ex->only_revokes || (!ex->is_revoking && ex->leg + 1 == ex->plan->n_legs);
    if (error == 0 && !is_last)
        th_timer_set(&ex->worker->wheel, &ex->share,
                     th_clock_monotonic_ms(ex->worker->clock) + ex->share_ms);
    th_buf_fini(&form);
    th_buf_fini(&authorization);
    return error == 0 ? TH_EXCHANGE_WAIT : fail(ex, error, "the request could not be made");
}

/* -- the answer ---------------------------------------------------------------------------------- */

static void on_fetch(void *arg, int error, const struct th_fetch_response *response,
                     const char *detail)
{
    struct th_exchange *ex = TH_CAST(struct th_exchange, TH_EXCHANGE_MAGIC, arg);
    struct th_exchange_leg_report *report = &ex->result.legs[th_exchange_report_at(ex)];
    int64_t duration_us = th_clock_precise_us() - ex->sent_us;
    ex->fetch = NULL;
    th_timer_stop(&ex->worker->wheel, &ex->share);
    report->duration_us += duration_us;
    th_metrics_observe_us(ex->worker->metrics, TH_HISTOGRAM_LEG, duration_us);
    if (error != 0)
        th_metrics_count(ex->worker->metrics, TH_METRIC_LEGS_FAILED);
    if (error == 0) {
        report->status = response->status;
        th_exchange_note_nonce(ex, response);
    }
    if (ex->is_revoking && (error == 0 || !ex->only_revokes)) {
        th_exchange_read_revoked(ex, response);
    } else if (error == 0) {
        th_token_answer_read(response, leg_of(ex), th_exchange_server(ex)->issuer, &ex->answer);
        th_exchange_explain_proof(ex);
        th_exchange_hide_secret(ex);
    } else {
        ex->is_unanswered = true;
        ex->answer = (struct th_token_answer){.error = error, .retry_after_ms = -1};
        th_printable_copy(ex->answer.why, sizeof ex->answer.why,
                          detail != NULL ? th_str_of(detail) : TH_STR("no answer came"));
    }
    th_exchange_watch_answer(ex, duration_us);
    th_exchange_leave_leg(ex);
    th_exchange_run(ex, TH_EXCHANGE_READ);
}

/* The leg has had its share of the time. */
static void on_share(struct th_timer *timer)
{
    struct th_exchange *ex = TH_CONTAINER_OF(timer, struct th_exchange, share);
    ex->exchanger->fetcher->cancel(ex->exchanger->fetcher, ex->fetch);
    on_fetch(ex, TH_E_EXCHANGE_TIMEOUT, NULL, "no answer came in the time that a leg may take");
}

static void log_oddity(struct th_exchange *ex, const char *oddity)
{
    if (oddity == NULL)
        return;
    TH_LOG(ex->worker->log, TH_LEVEL_INFO, "exchange.odd",
           "What was issued is used, but it is not quite as expected",
           TH_LOG_STR("connection", ex->connection->name), TH_LOG_TEXT("leg", leg_of(ex)->name),
           TH_LOG_TEXT("oddity", oddity));
    th_exchange_watch_note(ex, oddity);
}

/* The last leg's yield is the result. */
static void take_result(struct th_exchange *ex, const json_t *claims)
{
    ex->result.token = th_take(&ex->answer.token);
    ex->result.dpop_key = ex->is_bound ? ex->dpop_key : NULL;
    ex->result.values = th_take(&ex->answer.values);
    ex->result.lifetime_ms = th_issued_lifetime_ms(ex->answer.expires_in_ms, claims,
                                                   th_clock_wall_ms(ex->worker->clock));
    th_printable_copy(ex->result.jti, sizeof ex->result.jti, th_jwt_text(claims, "jti"));
    th_delegation_note(ex, claims);
}

static enum th_exchange_state accept_answer(struct th_exchange *ex)
{
    const struct th_plan_leg *leg = leg_of(ex);
    struct th_jwt jwt = {0};
    const char *why = NULL, *oddity = NULL;
    th_exchange_note_accepted(ex);
    th_refused_forget(ex);
    int error =
        ex->answer.token != NULL ? th_jwt_parse(th_secret_expose(ex->answer.token), &jwt) : 0;
    if (error == TH_E_NOMEM)
        return fail(ex, error, "no memory to look at the token");
    const struct th_issued issued = {.agent = ex->agent,
                                     .connection = ex->connection,
                                     .subject_type = ex->result.subject.type,
                                     .subject = ex->subject_claims,
                                     .header = jwt.header,
                                     .claims = jwt.claims,
                                     .answer = ex->answer.object,
                                     .wall_ms = th_clock_wall_ms(ex->worker->clock)};
    error = leg->check != NULL ? leg->check(&issued, &why) : 0;
    if (error == 0)
        error = th_exchange_check_binding(ex, jwt.claims, &why, &oddity);
    enum th_exchange_state next = TH_EXCHANGE_END;
    if (error != 0) {
        fail(ex, error, why);
    } else {
        log_oddity(ex, leg->note != NULL ? leg->note(&issued) : NULL);
        log_oddity(ex, oddity);
        if (ex->leg + 1 == ex->plan->n_legs) {
            take_result(ex, jwt.claims);
        } else {
            th_secret_unref(ex->previous);
            ex->previous = th_take(&ex->answer.token);
            ex->leg++;
            next = TH_EXCHANGE_DISCOVER;
        }
    }
    th_jwt_fini(&jwt);
    return next;
}

static enum th_exchange_state refuse_answer(struct th_exchange *ex)
{
    const struct th_plan_leg *leg = leg_of(ex);
    const struct th_token_answer *answer = &ex->answer;
    /* The request may have arrived all the same: the grant is tried once more, with a new assertion.
     * A 503 is an answer, and no reason to ask again at once. */
    if (ex->is_unanswered && answer->error == TH_E_EXCHANGE_DOWN && leg->retries_transport &&
        !ex->has_retried) {
        ex->has_retried = true;
        return TH_EXCHANGE_DISCOVER;
    }
    if (th_exchange_switch_key(ex) || th_exchange_renew_proof(ex))
        return TH_EXCHANGE_DISCOVER;
    /* Used up or too old meanwhile (reference, 4.7). */
    if (answer->is_invalid_grant && leg->restarts_on_invalid_grant && !ex->has_restarted &&
        ex->leg > 0) {
        ex->has_restarted = true;
        ex->previous = th_secret_unref(ex->previous);
        ex->leg--;
        return TH_EXCHANGE_DISCOVER;
    }
    ex->result.retry_after_ms = answer->retry_after_ms;
    memcpy(ex->result.oauth_error, answer->oauth_error, sizeof answer->oauth_error);
    memcpy(ex->result.interaction_uri, answer->interaction_uri, sizeof answer->interaction_uri);
    fail(ex, answer->error, answer->why);
    if (answer->error == TH_E_EXCHANGE_CLIENT)
        th_refused_note(ex);
    return TH_EXCHANGE_END;
}

static enum th_exchange_state enter_read(struct th_exchange *ex)
{
    if (ex->is_revoking && !ex->only_revokes) {
        ex->is_revoking = false;
        return TH_EXCHANGE_DISCOVER;
    }
    if (ex->answer.error != 0)
        return refuse_answer(ex);
    if (!ex->only_revokes)
        return accept_answer(ex);
    th_exchange_note_accepted(ex);
    return TH_EXCHANGE_END;
}

/* -- the end ------------------------------------------------------------------------------------- */

static void deliver(struct th_soon *soon)
{
    struct th_exchange *ex = TH_CONTAINER_OF(soon, struct th_exchange, soon);
    th_list_remove(&ex->link); /* what `fn` frees does not find it any more */
    ex->fn(ex->arg, &ex->result);
    th_exchange_free(ex);
}

/* `fn` may free whatever it wants, and must not run inside th_exchange_start(). */
static enum th_exchange_state enter_end(struct th_exchange *ex)
{
    th_delegation_note(ex, NULL);
    drop_all(ex);
    th_worker_soon(ex->worker, &ex->soon);
    return TH_EXCHANGE_END;
}

static void on_deadline(struct th_timer *timer)
{
    struct th_exchange *ex = TH_CONTAINER_OF(timer, struct th_exchange, deadline);
    if (ex->state == TH_EXCHANGE_WAIT) {
        ex->is_unanswered = true;
        ex->answer = (struct th_token_answer){.error = TH_E_EXCHANGE_TIMEOUT, .retry_after_ms = -1};
        th_exchange_leave_leg(ex);
    }
    th_exchange_run(
        ex, fail(ex, TH_E_EXCHANGE_TIMEOUT,
                 ex->state == TH_EXCHANGE_VERIFYING
                     ? "the keys of the subject token's issuer did not come before its deadline"
                     : "no answer came before the exchange's deadline"));
}

/* -- the machine --------------------------------------------------------------------------------- */

typedef enum th_exchange_state enter_fn(struct th_exchange *ex);

#define TO(state) (1u << TH_EXCHANGE_##state)
static const struct {
    const char *name;
    enter_fn *enter; /* NULL: something that comes later moves it on */
    unsigned next;
} states[] = {
#define X(state_, enter_, next_)                                                                   \
    [TH_EXCHANGE_##state_] = {.name = #state_, .enter = (enter_), .next = (next_)},
    TH_EXCHANGE_STATES(X)
#undef X
};
#undef TO

void th_exchange_run(struct th_exchange *ex, enum th_exchange_state next)
{
    for (;;) {
        TH_ASSERT((states[ex->state].next >> next & 1) != 0);
        ex->state = next;
        TH_LOG(ex->worker->log, TH_LEVEL_DEBUG, "exchange.state", "An exchange moves on",
               TH_LOG_STR("connection", ex->connection->name), TH_LOG_TEXT("leg", leg_of(ex)->name),
               TH_LOG_TEXT("state", states[next].name));
        if (states[next].enter == NULL)
            return;
        next = states[ex->state].enter(ex);
        if (ex->state == TH_EXCHANGE_END)
            return;
    }
}

struct th_exchange *th_exchange_new(struct th_exchanger *exchanger,
                                    const struct th_exchange_request *request, th_exchange_fn *fn,
                                    void *arg)
{
    struct th_exchange *ex = th_calloc(1, sizeof *ex);
    if (ex == NULL)
        return NULL;
    ex->magic = TH_EXCHANGE_MAGIC;
    ex->state = TH_EXCHANGE_VERIFYING; /* from where VERIFY follows */
    ex->exchanger = exchanger;
    ex->worker = exchanger->worker;
    ex->config = request->config != NULL ? th_config_ref(request->config) : NULL;
    ex->agent = request->agent;
    ex->connection = request->connection;
    ex->plan = th_plan_get(request->connection->type);
    ex->observer = request->observer;
    ex->observer_arg = request->observer_arg;
    ex->result.retry_after_ms = -1;
    ex->soon.fn = deliver;
    th_timer_init(&ex->deadline, on_deadline);
    th_timer_init(&ex->share, on_share);
    th_list_push_back(&exchanger->running, &ex->link);
    ex->fn = fn;
    ex->arg = arg;
    ex->started_wall_ms = th_clock_wall_ms(ex->worker->clock);
    ex->subject_token = th_secret_new(request->subject_token.ptr, request->subject_token.len);
    if (ex->subject_token == NULL)
        return th_exchange_free(ex);
    th_timer_set(&ex->worker->wheel, &ex->deadline, request->deadline_ms);
    ex->whole_ms = request->deadline_ms - th_clock_monotonic_ms(ex->worker->clock);
    return ex;
}

static int begin_with_revocation(struct th_exchange *ex, struct th_str rejected)
{
    if (!ex->plan->revokes_rejected || rejected.len == 0)
        return 0;
    return th_exchange_begin_revoking(ex, rejected);
}

int th_exchange_start(struct th_exchanger *exchanger, const struct th_exchange_request *request,
                      th_exchange_fn *fn, void *arg, struct th_exchange **ret_exchange,
                      struct th_errinfo *reterr)
{
    struct th_worker *worker = exchanger->worker;
    struct th_subject subject;
    json_t *claims;
    if (TH_CHECK_FAILS(th_plan_get(request->connection->type)->n_legs > 0))
        return th_errinfo_set(reterr, TH_E_INTERNAL, NULL, NULL,
                              "nothing is exchanged for a connection of this type");
    int error =
        th_subject_read(request->subject_token, request->agent, request->connection->subject_type,
                        th_clock_wall_ms(worker->clock), &subject, &claims, reterr);
    if (error != 0)
        return error;
    struct th_exchange *ex = th_exchange_new(exchanger, request, fn, arg);
    if (ex == NULL || begin_with_revocation(ex, request->rejected_token) != 0) {
        th_exchange_free(ex);
        json_decref(claims);
        return th_errinfo_set(reterr, TH_E_NOMEM, NULL, NULL, "no memory for an exchange");
    }
    ex->subject_claims = claims;
    ex->result.subject = subject;
    ex->result.subject_expires_wall_ms = subject.expires_wall_ms;
    if (subject.bound)
        log_oddity(ex, "the subject token is bound to a key (cnf), which a proxy cannot prove");
    th_exchange_run(ex, TH_EXCHANGE_VERIFY);
    *ret_exchange = ex;
    return 0;
}

void th_exchange_cancel(struct th_exchange *exchange)
{
    th_exchange_free(TH_CAST(struct th_exchange, TH_EXCHANGE_MAGIC, exchange));
}

void th_exchange_cancel_all(struct th_exchanger *exchanger)
{
    while (!th_list_is_empty(&exchanger->running))
        th_exchange_free(TH_LIST_ENTRY(exchanger->running.next, struct th_exchange, link));
}
