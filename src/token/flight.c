#include <stdio.h>

#include "broker_private.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/random.h"
#include "tokenhop/token/inject.h"

/* A credential that is kept for less is not worth renewing ahead. */
#define REFRESH_MIN_MS 10000
/* How long after its pause a failure still counts, so that the next one's pause is longer. */
#define FORGET_MS 30000

/* What a flight ends with. */
struct outcome {
    struct th_credential *credential; /* or else: */
    struct th_refusal *refusal;
    const struct th_failure *failure;
    bool keep;     /* the credential fills the cache */
    bool remember; /* the refusal does */
    bool held_off; /* by a breaker, without a try: the pause does not grow */
    int64_t retry_after_ms;
    int64_t now_ms;           /* these two by settle(), as neither is asked for under a lock */
    unsigned jitter_permille; /* of a pause, added to it */
};

struct th_flight *th_flight_new(struct th_broker_desk *desk)
{
    struct th_flight *flight = th_calloc(1, sizeof *flight);
    if (flight == NULL)
        return NULL;
    flight->desk = desk;
    th_list_init(&flight->parties);
    return flight;
}

struct th_flight *th_flight_free(struct th_flight *flight)
{
    if (flight != NULL) {
        th_setback_free(flight->setback);
        th_shares_give_exchange(flight->accounts);
        if (flight->config != NULL)
            th_config_unref(flight->config);
        th_free(flight);
    }
    return NULL;
}

/* For how long what was issued is kept: the shortest of its lifetime less the margin, the subject
 * token's own lifetime, and the cap. 0: not at all. */
static int64_t kept_for(const struct th_broker *broker, const struct th_exchange_result *result,
                        bool *ret_by_subject)
{
    *ret_by_subject = false;
    int64_t kept_ms = result->lifetime_ms;
    if (kept_ms <= 0)
        return 0;
    kept_ms -= broker->margin_ms;
    if (kept_ms > broker->max_lifetime_ms)
        kept_ms = broker->max_lifetime_ms;
    if (result->subject_expires_wall_ms != -1) {
        int64_t wall_ms = th_clock_wall_ms(broker->clock);
        int64_t left_ms = result->subject_expires_wall_ms > wall_ms
                              ? result->subject_expires_wall_ms - wall_ms
                              : 0;
        *ret_by_subject = left_ms <= kept_ms && !result->gets_subject;
        if (left_ms < kept_ms)
            kept_ms = left_ms;
    }
    return kept_ms > 0 ? kept_ms : 0;
}

/* After seven to nine tenths, so that those got together are not renewed together. What ends with
 * the subject token is not renewed: with the same subject token, nothing longer can be got. */
static int64_t refresh_at(int64_t now_ms, int64_t kept_ms, bool by_subject)
{
    if (kept_ms < REFRESH_MIN_MS || by_subject)
        return INT64_MAX;
    return now_ms + kept_ms / 1000 * (700 + th_random_below(201));
}

/* Takes over the value. */
static struct th_credential *make_credential(const struct th_flight *flight,
                                             const struct th_exchange_result *result,
                                             const struct th_injected *injected, bool *ret_keep)
{
    const struct th_broker *broker = flight->desk->broker;
    bool by_subject;
    int64_t now_ms = th_clock_monotonic_ms(broker->clock);
    int64_t kept_ms = kept_for(broker, result, &by_subject);
    *ret_keep = kept_ms > 0;
    struct th_credential *credential = th_credential_new(injected->value, now_ms + kept_ms,
                                                         refresh_at(now_ms, kept_ms, by_subject));
    if (credential != NULL) {
        credential->is_revocable = flight->plan != NULL && flight->plan->revocation != NULL;
        credential->revoke_if_rejected = credential->is_revocable && flight->plan->revokes_rejected;
        credential->is_renewed = flight->is_renewal;
        if (result->delegation != NULL)
            credential->delegation = th_delegation_ref(result->delegation);
        credential->secret_at = injected->secret_at;
        credential->secret_len = injected->secret_len;
        if (result->dpop_key != NULL)
            credential->dpop_key = th_dpop_key_ref(result->dpop_key);
    }
    return credential;
}

/* Returns the refusal that the setback held before, to be given back when the lock is off. */
static struct th_refusal *note_failure(struct th_setback *setback, const struct outcome *outcome,
                                       bool answers)
{
    struct th_refusal *before = setback->refusal;
    int64_t pause_ms = th_failure_pause(outcome->failure, outcome->held_off ? 0 : setback->pause_ms,
                                        outcome->retry_after_ms);
    setback->refusal = answers ? th_refusal_ref(outcome->refusal) : NULL;
    if (!outcome->held_off)
        setback->pause_ms = pause_ms;
    setback->again_ms = outcome->now_ms + pause_ms + pause_ms * outcome->jitter_permille / 1000;
    setback->forget_ms = setback->again_ms + FORGET_MS;
    return before;
}

/* Under the shard's lock. Takes *setback over if it is used. */
static struct th_refusal *settle_failure(struct th_flight *flight, const struct outcome *outcome,
                                         struct th_setback **setback, struct th_cache_waste *waste)
{
    struct th_cache_entry *entry = flight->entry;
    bool serves = entry->state == TH_ENTRY_REFRESHING && !outcome->failure->withdraws;
    bool remembers = !serves && outcome->remember && !entry->purged;
    struct th_cache_holding holding = {.credential = serves ? entry->credential : NULL};
    struct th_refusal *before = NULL;
    if (*setback != NULL && (serves || remembers)) {
        before = note_failure(*setback, outcome, remembers);
        holding.setback = th_take(setback);
    }
    enum th_entry_state next = serves                    ? TH_ENTRY_READY
                               : holding.setback != NULL ? TH_ENTRY_FAILED
                                                         : TH_ENTRY_ABSENT;
    th_cache_move(flight->shard, entry, next, &holding, waste);
    return before;
}

/* Under the shard's lock. A rejection by the destination is remembered on. */
static struct th_refusal *settle_success(struct th_flight *flight, const struct outcome *outcome,
                                         struct th_setback **setback, struct th_cache_waste *waste)
{
    struct th_cache_entry *entry = flight->entry;
    struct th_cache_holding holding = {0};
    struct th_refusal *before = NULL;
    if (!outcome->keep || entry->purged) {
        th_cache_move(flight->shard, entry, TH_ENTRY_ABSENT, NULL, waste);
        return NULL;
    }
    holding.credential = th_credential_ref(outcome->credential);
    if (*setback != NULL && th_setback_was_rejected(*setback, outcome->now_ms)) {
        holding.setback = th_take(setback);
        before = th_take(&holding.setback->refusal);
        holding.setback->pause_ms = 0;
        holding.setback->again_ms = 0;
    }
    th_cache_move(flight->shard, entry, TH_ENTRY_READY, &holding, waste);
    return before;
}

static void settle(struct th_flight *flight, struct outcome *outcome)
{
    struct th_cache_waste waste;
    struct th_refusal *before;
    th_cache_waste_init(&waste);
    outcome->now_ms = th_clock_monotonic_ms(flight->desk->broker->clock);
    outcome->jitter_permille = th_random_below(101); /* what failed together comes back apart */
    /* Without memory for it the failure is not remembered. */
    struct th_setback *spare = outcome->credential == NULL ? th_calloc(1, sizeof *spare) : NULL;
    pthread_mutex_lock(&flight->shard->lock);
    struct th_setback **setback = flight->setback != NULL ? &flight->setback : &spare;
    if (outcome->credential != NULL)
        before = settle_success(flight, outcome, setback, &waste);
    else
        before = settle_failure(flight, outcome, setback, &waste);
    pthread_mutex_unlock(&flight->shard->lock);
    th_cache_waste_empty(&waste);
    th_setback_free(spare);
    th_refusal_unref(before);
}

/* Tells the parties of other desks. Returns the own one, which hangs on the flight no more. */
static struct th_broker_party *tell_others(struct th_flight *flight, const struct outcome *outcome)
{
    struct th_broker *broker = flight->desk->broker;
    struct th_broker_party *own = NULL;
    for (;;) {
        pthread_mutex_lock(&flight->shard->lock);
        struct th_list *item = th_list_pop_front(&flight->parties);
        struct th_broker_party *party =
            item != NULL ? TH_LIST_ENTRY(item, struct th_broker_party, link) : NULL;
        bool is_own = party != NULL && party->desk == flight->desk;
        /* Once it hangs on no flight, another worker's party may go at any moment. */
        struct th_mailbox *mailbox = party != NULL ? party->desk->worker->mailbox : NULL;
        uint64_t handle = party != NULL ? party->handle : 0;
        pthread_mutex_unlock(&flight->shard->lock);
        if (party == NULL)
            return own;
        if (is_own)
            own = party;
        else
            th_party_post(broker, mailbox, handle, outcome->credential, outcome->refusal);
    }
}

static void flight_end(struct th_flight *flight, struct outcome *outcome)
{
    struct th_broker_desk *desk = flight->desk;
    struct th_broker *broker = desk->broker;
    settle(flight, outcome);
    struct th_broker_party *own = tell_others(flight, outcome);
    struct th_cache_shard *shard = flight->shard;
    th_list_remove(&flight->link);
    th_flight_free(flight);
    atomic_fetch_sub_explicit(&broker->n_flights, 1, memory_order_relaxed);
    th_metrics_add(desk->worker->metrics, TH_METRIC_CACHE_EVICTIONS,
                   (int64_t)th_cache_make_room(&broker->cache, shard));
    th_desk_wake_tick(desk);
    if (own != NULL)
        th_party_deliver(own, outcome->credential, outcome->refusal);
}

static void say_failure(const struct th_flight *flight, const struct th_exchange_result *result,
                        const struct th_failure *failure)
{
    enum th_log_level level = result->was_held_off ? TH_LEVEL_DEBUG : failure->level;
    TH_LOG(flight->desk->worker->log, level, "broker.exchange_failed",
           "An exchange did not yield a credential", TH_LOG_TEXT("connection", flight->connection),
           TH_LOG_ERR("error", result->error), TH_LOG_TEXT("oauth_error", result->oauth_error),
           TH_LOG_TEXT("detail", result->detail));
}

/* It was made by a configuration that is not in force any more: the next exchange may go another way. */
static bool is_outdated(const struct th_flight *flight)
{
    struct th_directory *directory = th_broker_directory(flight->desk->broker);
    bool outdated = directory != NULL && th_directory_config(directory) != flight->config;
    th_directory_unref(directory);
    return outdated;
}

/* What it gets would never be asked for again, and be dropped by nobody. */
static bool has_no_place(const struct th_flight *flight)
{
    struct th_directory *directory = th_broker_directory(flight->desk->broker);
    bool placed = directory == NULL || /* in tests */
                  th_directory_find(directory, flight->entry->key.scope) != NULL;
    th_directory_unref(directory);
    return !placed;
}

static void end_with_failure(struct th_flight *flight, const struct th_exchange_result *result)
{
    struct th_broker *broker = flight->desk->broker;
    struct outcome outcome = {
        .failure = th_failure_get(result->error),
        .retry_after_ms = result->retry_after_ms,
    };
    /* What a breaker says is known here anyway, to the millisecond, and subject tokens that cost the
     * server nothing must not fill the cache. */
    outcome.held_off = result->was_held_off;
    outcome.remember = outcome.failure->is_remembered && !outcome.held_off &&
                       !(outcome.failure->is_ours && is_outdated(flight)) && !has_no_place(flight);
    outcome.refusal = th_refusal_of_result(result);
    if (outcome.refusal == NULL) {
        outcome.refusal = th_refusal_ref(broker->no_memory);
        outcome.remember = false; /* what is kept must be what happened */
    }
    say_failure(flight, result, outcome.failure);
    flight_end(flight, &outcome);
    th_refusal_unref(outcome.refusal);
}

static void end_without_memory(struct th_flight *flight)
{
    struct outcome outcome = {
        .failure = th_failure_get(TH_E_NOMEM),
        .refusal = th_refusal_ref(flight->desk->broker->no_memory),
    };
    struct th_refusal *refusal = outcome.refusal;
    flight_end(flight, &outcome);
    th_refusal_unref(refusal);
}

static void count_start(struct th_flight *flight)
{
    struct th_metrics_shard *metrics = flight->desk->worker->metrics;
    flight->started_us = th_clock_precise_us();
    th_metrics_count(metrics, TH_METRIC_EXCHANGES_STARTED);
    th_metrics_count(metrics, TH_METRIC_EXCHANGES_OPEN);
}

/* A refusal is the authorization server's word on the subject; any other end is a failure. */
static void count_end(struct th_flight *flight, int error)
{
    struct th_metrics_shard *metrics = flight->desk->worker->metrics;
    enum th_metric how = TH_METRIC_EXCHANGES_SUCCEEDED;
    if (error != 0)
        how = th_failure_get(error)->withdraws ? TH_METRIC_EXCHANGES_REFUSED
                                               : TH_METRIC_EXCHANGES_FAILED;
    if (error == TH_E_EXCHANGE_TIMEOUT)
        th_metrics_count(metrics, TH_METRIC_TIMEOUTS_EXCHANGE);
    th_metrics_count(metrics, how);
    th_metrics_add(metrics, TH_METRIC_EXCHANGES_OPEN, -1);
    th_metrics_observe_us(metrics, TH_HISTOGRAM_EXCHANGE,
                          th_clock_precise_us() - flight->started_us);
}

/* Whose it was can be looked up by the fingerprint: the access and audit log have the same. */
static void say_quota(const struct th_flight *flight,
                      const struct th_config_authorization_server *server, uint64_t count)
{
    const struct th_cache_key *key = &flight->entry->key;
    char subject[TH_FINGERPRINT_LEN + 1];
    th_secret_fingerprint(key->subject, sizeof key->subject, subject);
    TH_LOG(flight->desk->worker->log, TH_LEVEL_WARN, "quota.near",
           "A user has had most of the exchanges that an authorization server grants in a month",
           TH_LOG_STR("authorization_server", server->name), TH_LOG_TEXT("subject", subject),
           TH_LOG_TEXT("connection", flight->connection), TH_LOG_UINT("exchanges", count),
           TH_LOG_UINT("quota", server->quota.exchanges_per_user_month));
}

/* Each server that has granted something, once an exchange. */
static void count_granted(const struct th_flight *flight, const struct th_exchange_result *result)
{
    struct th_quotas *quotas = flight->desk->broker->quotas;
    for (unsigned i = 0; i < result->n_legs; i++) {
        const struct th_config_authorization_server *server = result->legs[i].server;
        bool is_first = result->legs[i].was_granted;
        for (unsigned k = 0; is_first && k < i; k++)
            is_first = !result->legs[k].was_granted || result->legs[k].server != server;
        if (!is_first)
            continue;
        uint64_t count = th_quotas_count(quotas, server, th_str_of(result->subject.iss),
                                         th_str_of(result->subject.sub));
        if (count > 0)
            say_quota(flight, server, count);
    }
}

static void on_exchange_end(void *arg, const struct th_exchange_result *result)
{
    struct th_flight *flight = arg;
    struct th_injected injected;
    struct th_exchange_result unusable;
    flight->exchange = NULL;
    count_granted(flight, result);
    if (result->error == 0) {
        unusable = *result;
        unusable.error = th_inject_make(flight->inject, result, &injected, unusable.detail);
        if (unusable.error != 0)
            result = &unusable;
    }
    count_end(flight, result->error);
    if (result->error != 0) {
        end_with_failure(flight, result);
        return;
    }
    struct outcome outcome = {0};
    outcome.credential = make_credential(flight, result, &injected, &outcome.keep);
    if (outcome.credential == NULL) {
        end_without_memory(flight);
        return;
    }
    outcome.keep = outcome.keep && !has_no_place(flight);
    struct th_credential *credential = outcome.credential;
    flight_end(flight, &outcome);
    th_credential_unref(credential);
}

static void name_connection(struct th_flight *flight, const struct th_broker_request *request)
{
    struct th_str name = request->connection != NULL ? request->connection->name : TH_STR("");
    size_t len = name.len < sizeof flight->connection ? name.len : sizeof flight->connection - 1;
    (void)snprintf(flight->connection, sizeof flight->connection, "%.*s", (int)len, name.ptr);
}

/* Nothing is remembered: it was found out here, without a request, and made-up subject tokens
 * must not fill the cache. A credential that is served is withdrawn all the same if that is what
 * it means. */
static struct th_refusal *end_unstarted(struct th_flight *flight, int error,
                                        const struct th_errinfo *info)
{
    struct outcome outcome = {
        .failure = th_failure_get(error),
        .refusal = th_refusal_of_errinfo(error, info),
        .retry_after_ms = -1,
    };
    if (outcome.refusal == NULL)
        outcome.refusal = th_refusal_ref(flight->desk->broker->no_memory);
    struct th_refusal *refusal = outcome.refusal;
    flight_end(flight, &outcome);
    return refusal;
}

/* What the destination did not take, to be revoked first: once. */
static struct th_credential *take_rejected(struct th_flight *flight)
{
    pthread_mutex_lock(&flight->shard->lock);
    struct th_credential *rejected =
        flight->setback != NULL ? th_take(&flight->setback->rejected) : NULL;
    pthread_mutex_unlock(&flight->shard->lock);
    return rejected;
}

int th_flight_start(struct th_flight *flight, const struct th_broker_request *request,
                    int64_t deadline_ms, struct th_broker_waiter *waiter,
                    struct th_refusal **ret_refusal)
{
    struct th_broker_desk *desk = flight->desk;
    struct th_credential *rejected = take_rejected(flight);
    const struct th_exchange_request exchange = {
        .config = request->config,
        .agent = request->agent,
        .connection = request->connection,
        .subject_token = request->subject_token,
        .rejected_token = rejected != NULL ? th_credential_secret(rejected) : TH_STR_NONE,
        .deadline_ms = deadline_ms,
        .trace = request->trace,
    };
    struct th_errinfo info = {0};
    name_connection(flight, request);
    flight->config = request->config != NULL ? th_config_ref(request->config) : NULL;
    if (request->connection != NULL) {
        flight->inject = &request->connection->inject;
        flight->plan = th_plan_get(request->connection->type);
    }
    th_list_push_back(&desk->flights, &flight->link);
    int error = desk->ops->start(desk->exchanger, &exchange, on_exchange_end, flight,
                                 &flight->exchange, &info);
    th_credential_unref(rejected);
    if (error == 0) {
        count_start(flight);
        return 0;
    }
    flight->exchange = NULL;
    if (waiter != NULL)
        th_broker_leave(waiter);
    *ret_refusal = end_unstarted(flight, error, &info);
    return error;
}

void th_flight_abandon(struct th_flight *flight)
{
    struct outcome outcome = {
        .failure = th_failure_get(TH_E_DRAINING),
        .refusal = th_refusal_ref(flight->desk->broker->stopped),
        .retry_after_ms = -1,
    };
    struct th_refusal *refusal = outcome.refusal;
    if (flight->exchange != NULL) {
        flight->desk->ops->cancel(th_take(&flight->exchange));
        count_end(flight, TH_E_DRAINING);
    }
    flight_end(flight, &outcome);
    th_refusal_unref(refusal);
}
