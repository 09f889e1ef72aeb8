#include "tokenhop/oauth/exchange.h"

#include <stdio.h>

#include "delegation_private.h"
#include "exchange_breaker.h"
#include "exchange_certificate.h"
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

const struct th_plan_leg *th_exchange_leg(const struct th_exchange *ex)
{
    return ex->is_revoking ? ex->plan->revocation : ex->legs.items[ex->leg];
}

static bool is_last_leg(const struct th_exchange *ex)
{
    return ex->leg + 1 == ex->legs.n;
}

const struct th_config_authorization_server *th_exchange_server(const struct th_exchange *ex)
{
    return th_plan_leg_server(th_exchange_leg(ex), ex->agent, ex->connection);
}

struct th_str th_exchange_endpoint(const struct th_exchange *ex)
{
    return th_exchange_endpoint_at(ex, th_exchange_leg(ex),
                                   ex->metadata[th_exchange_metadata_at(ex)], ex->is_revoking);
}

enum th_exchange_state th_exchange_fail(struct th_exchange *ex, int error, const char *why)
{
    char name[64];
    th_printable_copy(name, sizeof name, th_exchange_server(ex)->name);
    ex->result.error = error;
    (void)snprintf(ex->result.detail, sizeof ex->result.detail,
                   "leg %s at authorization server \"%s\": %s%s%s", th_exchange_leg(ex)->name, name,
                   ex->result.oauth_error, ex->result.oauth_error[0] != '\0' ? ": " : "", why);
    return TH_EXCHANGE_END;
}

void th_exchange_drop_try(struct th_exchange *ex)
{
    ex->proof = th_secret_unref(ex->proof);
    ex->dpop_proof = th_secret_unref(ex->dpop_proof);
    ex->actor_assertion = th_secret_unref(ex->actor_assertion);
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
    th_exchange_drop_try(ex);
    th_exchange_leave_all(ex);
    ex->previous = th_secret_unref(ex->previous);
    ex->actor = th_secret_unref(ex->actor);
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

/* -- the request --------------------------------------------------------------------------------- */

/* A token; empty where the parameter is none. */
static struct th_str token_of(const struct th_exchange *ex,
                              const struct th_leg_parameter *parameter)
{
    const struct th_secret *token = NULL;
    switch (parameter->value) {
    case TH_VALUE_SUBJECT_TOKEN:
        token = ex->subject_token;
        break;
    case TH_VALUE_ACTOR_TOKEN:
        token = ex->connection->actor.token;
        if (token == NULL)
            token = ex->actor_assertion != NULL ? ex->actor_assertion : ex->actor;
        break;
    case TH_VALUE_PREVIOUS_TOKEN:
        token = ex->previous;
        break;
    case TH_VALUE_REJECTED_TOKEN:
        token = ex->rejected;
        break;
    case TH_VALUE_CONSTANT:
    case TH_VALUE_ASSERTION_GRANT:
    case TH_VALUE_GRANT_TYPE:
    case TH_VALUE_REQUESTED_TYPE:
    case TH_VALUE_REQUESTED_USE:
    case TH_VALUE_SUBJECT_TYPE:
    case TH_VALUE_ACTOR_TYPE:
    case TH_VALUE_AUDIENCE:
    case TH_VALUE_RESOURCE:
    case TH_VALUE_SCOPES:
    case TH_VALUE_SECOND_LEG_SCOPES:
    case TH_VALUE_SECOND_LEG_RESOURCE:
    case TH_VALUE_ACTOR_SCOPES:
    case TH_VALUE_ACTOR_RESOURCE:
    case TH_VALUE_CLIENT_SCOPES:
    case TH_VALUE_AGENT_RESOURCE:
        break;
    }
    return token != NULL ? th_secret_expose(token) : TH_STR_NONE;
}

static void add_parameter(const struct th_exchange *ex, const struct th_leg_parameter *parameter,
                          struct th_buf *form)
{
    struct th_str values[TH_PLAN_VALUES_MAX], name = th_str_of(parameter->name);
    size_t n = th_plan_configured(parameter, ex->agent, ex->connection, values);
    for (size_t i = 0; i < n; i++)
        th_form_add(form, name, values[i]);
    if (n > 0)
        return;
    if (parameter->value == TH_VALUE_SUBJECT_TYPE) /* told from the token */
        th_form_add(form, name, th_plan_subject_type(ex->result.subject.type, ex->connection));
    else
        th_form_add(form, name, token_of(ex, parameter));
}

static void add_parameters(const struct th_exchange *ex, struct th_buf *form)
{
    const struct th_plan_leg *leg = th_exchange_leg(ex);
    const struct th_config_connection *connection = ex->connection;
    for (size_t i = 0; i < leg->n_parameters; i++)
        add_parameter(ex, &leg->parameters[i], form);
    for (size_t i = 0; i < connection->n_parameters && !ex->is_revoking; i++) {
        const struct th_config_parameter *further = &connection->parameters[i];
        if (th_plan_leg_bears_parameter(&ex->legs, ex->leg, further))
            th_form_add(form, further->name, further->value);
    }
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
        .identity = th_exchange_identity(ex),
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
    report->name = th_exchange_leg(ex)->name;
    report->server = th_exchange_server(ex);
    report->endpoint = th_exchange_endpoint(ex);
    report->status = 0;
    ex->sent_us = th_clock_precise_us();
}

static enum th_exchange_state enter_send(struct th_exchange *ex)
{
    struct th_buf form, authorization;
    th_buf_init_secret(&form, FORM_MAX);
    th_buf_init_secret(&authorization, FORM_MAX);
    add_parameters(ex, &form);
    th_client_auth_get(ex->client.auth->method)
        ->present(&ex->client, ex->proof, &form, &authorization);
    int error = form.failed || authorization.failed ? TH_E_NOMEM : 0;
    if (error == 0) {
        report_sent(ex);
        th_exchange_watch_request(ex, th_buf_str(&form), th_buf_str(&authorization));
        ex->share_ms = th_exchange_share_ms(ex);
        error = start_fetch(ex, &form, &authorization);
    }
    bool is_last = ex->only_revokes || (!ex->is_revoking && is_last_leg(ex));
    if (error == 0 && !is_last)
        th_timer_set(&ex->worker->wheel, &ex->share,
                     th_clock_monotonic_ms(ex->worker->clock) + ex->share_ms);
    th_buf_fini(&form);
    th_buf_fini(&authorization);
    return error == 0 ? TH_EXCHANGE_WAIT
                      : th_exchange_fail(ex, error, "the request could not be made");
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
    th_exchange_tell_leg(ex, error, duration_us);
    if (ex->is_revoking && (error == 0 || !ex->only_revokes)) {
        th_exchange_read_revoked(ex, response);
    } else if (error == 0) {
        th_token_answer_read(response, th_exchange_leg(ex), th_exchange_server(ex)->issuer,
                             &ex->answer);
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
           TH_LOG_STR("connection", ex->connection->name),
           TH_LOG_TEXT("leg", th_exchange_leg(ex)->name), TH_LOG_TEXT("oddity", oddity));
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

static void keep(struct th_secret **place, struct th_token_answer *answer)
{
    th_secret_unref(*place);
    *place = th_take(&answer->token);
}

/* Of any other leg it is for those that follow. */
static enum th_exchange_state take_yield(struct th_exchange *ex, const struct th_plan_leg *leg,
                                         const json_t *claims)
{
    switch (leg->yields) {
    case TH_LEG_YIELDS_GRANT:
        th_exchange_keep_grant(ex, claims);
        keep(&ex->previous, &ex->answer);
        break;
    case TH_LEG_YIELDS_ACTOR:
        keep(&ex->actor, &ex->answer);
        break;
    case TH_LEG_YIELDS_SUBJECT:
        keep(&ex->subject_token, &ex->answer);
        return th_exchange_take_subject(ex);
    }
    ex->leg++;
    return TH_EXCHANGE_DISCOVER;
}

static enum th_exchange_state accept_answer(struct th_exchange *ex)
{
    const struct th_plan_leg *leg = th_exchange_leg(ex);
    struct th_jwt jwt = {0};
    const char *why = NULL, *oddity = NULL, *note = NULL;
    th_exchange_note_accepted(ex);
    th_refused_forget(ex);
    ex->result.legs[th_exchange_report_at(ex)].was_granted = true;
    int error =
        ex->answer.token != NULL ? th_jwt_parse(th_secret_expose(ex->answer.token), &jwt) : 0;
    if (error == TH_E_NOMEM)
        return th_exchange_fail(ex, error, "no memory to look at the token");
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
    if (error == 0)
        error = th_exchange_check_certificate(ex, jwt.claims, &why, &note);
    enum th_exchange_state next = TH_EXCHANGE_END;
    if (error != 0) {
        th_exchange_fail(ex, error, why);
    } else {
        log_oddity(ex, leg->note != NULL ? leg->note(&issued) : NULL);
        log_oddity(ex, oddity);
        if (note != NULL)
            th_exchange_watch_note(ex, note);
        if (is_last_leg(ex))
            take_result(ex, jwt.claims);
        else
            next = take_yield(ex, leg, jwt.claims);
    }
    th_jwt_fini(&jwt);
    return next;
}

static enum th_exchange_state refuse_answer(struct th_exchange *ex)
{
    const struct th_plan_leg *leg = th_exchange_leg(ex);
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
        ex->leg > ex->legs.n_before) {
        ex->has_restarted = true;
        ex->previous = th_secret_unref(ex->previous);
        ex->leg--;
        th_exchange_drop_grant(ex);
        return TH_EXCHANGE_DISCOVER;
    }
    ex->result.retry_after_ms = answer->retry_after_ms;
    memcpy(ex->result.oauth_error, answer->oauth_error, sizeof answer->oauth_error);
    memcpy(ex->result.interaction_uri, answer->interaction_uri, sizeof answer->interaction_uri);
    memcpy(ex->result.challenge, answer->challenge, sizeof answer->challenge);
    th_exchange_fail(ex, answer->error, answer->why);
    if (answer->error == TH_E_EXCHANGE_CLIENT && !ex->only_revokes)
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
        ex, th_exchange_fail(
                ex, TH_E_EXCHANGE_TIMEOUT,
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
               TH_LOG_STR("connection", ex->connection->name),
               TH_LOG_TEXT("leg", th_exchange_leg(ex)->name),
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
    th_plan_select(ex->connection, &ex->legs);
    ex->observer = request->observer;
    ex->observer_arg = request->observer_arg;
    ex->result.retry_after_ms = -1;
    ex->soon.fn = deliver;
    th_timer_init(&ex->deadline, on_deadline);
    th_timer_init(&ex->share, on_share);
    th_list_push_back(&exchanger->running, &ex->link);
    ex->fn = fn;
    ex->arg = arg;
    if (exchanger->grants != NULL)
        ex->grants_epoch = th_grants_epoch(exchanger->grants);
    ex->subject_wall_ms = th_clock_wall_ms(ex->worker->clock);
    if (request->subject_token.len > 0) {
        ex->subject_token = th_secret_new(request->subject_token.ptr, request->subject_token.len);
        if (ex->subject_token == NULL)
            return th_exchange_free(ex);
    }
    if (request->trace != NULL)
        ex->trace = *request->trace;
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
    struct th_exchange_request given = *request;
    struct th_subject subject;
    json_t *claims;
    if (TH_CHECK_FAILS(th_plan_get(request->connection->type)->n_legs > 0))
        return th_errinfo_set(reterr, TH_E_INTERNAL, NULL, NULL,
                              "nothing is exchanged for a connection of this type");
    if (!th_exchange_takes_subject(request->connection))
        given.subject_token = TH_STR_NONE; /* whoever has one: it is not asked for */
    int error = th_exchange_read_subject(&given, th_clock_wall_ms(exchanger->worker->clock),
                                         &subject, &claims, reterr);
    if (error != 0)
        return error;
    struct th_exchange *ex = th_exchange_new(exchanger, &given, fn, arg);
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
