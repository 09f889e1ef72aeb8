#include "testing.h"

#include <stdio.h>
#include <string.h>

#include "tokenhop/base/mem.h"

static int office_start(void *exchanger, const struct th_exchange_request *request,
                        th_exchange_fn *fn, void *arg, struct th_exchange **ret_exchange,
                        struct th_errinfo *reterr)
{
    struct office *office = exchanger;
    int error = office->start_error;
    office->start_error = 0;
    if (error != 0)
        return th_errinfo_set(reterr, error, NULL, "mend it", "it does not start");
    struct th_exchange *exchange = th_calloc(1, sizeof *exchange);
    if (exchange == NULL)
        return th_errinfo_set(reterr, TH_E_NOMEM, NULL, NULL, "no memory");
    exchange->request = *request;
    exchange->fn = fn;
    exchange->arg = arg;
    exchange->office = office;
    (void)snprintf(exchange->subject, sizeof exchange->subject, "%.*s",
                   TH_STR_ARGS(request->subject_token));
    (void)snprintf(exchange->rejected, sizeof exchange->rejected, "%.*s",
                   TH_STR_ARGS(request->rejected_token));
    th_list_push_back(&office->running, &exchange->link);
    office->n_started++;
    *ret_exchange = exchange;
    return 0;
}

/* Told apart by what is to be revoked. */
static int office_revoke(void *exchanger, const struct th_exchange_request *request,
                         th_exchange_fn *fn, void *arg, struct th_exchange **ret_exchange,
                         struct th_errinfo *reterr)
{
    int error = office_start(exchanger, request, fn, arg, ret_exchange, reterr);
    if (error == 0)
        (*ret_exchange)->revokes = true;
    return error;
}

static void office_cancel(struct th_exchange *exchange)
{
    exchange->office->n_cancelled++;
    th_list_remove(&exchange->link);
    th_free(exchange);
}

const struct th_exchange_ops office_ops = {
    .start = office_start, .revoke = office_revoke, .cancel = office_cancel};

struct th_exchange *office_oldest(struct office *office)
{
    assert_false(th_list_is_empty(&office->running));
    return TH_LIST_ENTRY(office->running.next, struct th_exchange, link);
}

void office_end(struct th_exchange *exchange, const struct th_exchange_result *result,
                const char *token)
{
    struct th_exchange_result ended = *result;
    th_list_remove(&exchange->link);
    if (token != NULL) {
        ended.token = th_secret_new(token, strlen(token));
        if (ended.token == NULL)
            ended = result_of_error(TH_E_NOMEM);
    }
    exchange->fn(exchange->arg, &ended);
    th_secret_unref(ended.token);
    th_free(exchange);
}

void office_end_all(struct office *office, const struct th_exchange_result *result,
                    const char *token)
{
    while (!th_list_is_empty(&office->running))
        office_end(office_oldest(office), result, token);
}

struct th_exchange_result result_of_token(int64_t lifetime_ms)
{
    return (struct th_exchange_result){
        .lifetime_ms = lifetime_ms,
        .subject_expires_wall_ms = -1,
        .retry_after_ms = -1,
    };
}

struct th_exchange_result result_of_error(int error)
{
    return (struct th_exchange_result){
        .error = error,
        .subject_expires_wall_ms = -1,
        .retry_after_ms = -1,
        .detail = "scripted",
        .oauth_error = "invalid_script",
    };
}

struct th_broker_options usual_options(const struct th_clock *clock)
{
    return (struct th_broker_options){
        .max_entries = 1000,
        .max_bytes = 1 << 20,
        .margin_ms = 30000,
        .max_lifetime_ms = 3600000,
        .max_waiting = 1000,
        .clock = clock,
    };
}

void house_open(struct house *house, const struct th_broker_options *options)
{
    memset(house, 0, sizeof *house);
    th_clock_init_fake(&house->clock, WALL_MS);
    house->clock.fake_monotonic_ms = 1000000;
    struct th_broker_options usual = usual_options(&house->clock);
    if (options != NULL) {
        usual = *options;
        usual.clock = &house->clock;
    }
    house->metrics = th_metrics_new(N_DESKS);
    assert_non_null(house->metrics);
    assert_int_equal(th_broker_new(&usual, &house->broker), 0);
    for (unsigned i = 0; i < N_DESKS; i++) {
        const struct th_worker_options worker = {.index = i,
                                                 .clock = &house->clock,
                                                 .mailbox_size = 16,
                                                 .metrics = th_metrics_shard(house->metrics, i)};
        th_list_init(&house->offices[i].running);
        assert_int_equal(th_worker_new(&worker, &house->workers[i]), 0);
        assert_int_equal(th_broker_desk_new(house->broker, house->workers[i], &office_ops,
                                            &house->offices[i], &house->desks[i]),
                         0);
    }
}

void house_close(struct house *house)
{
    for (unsigned i = 0; i < N_DESKS; i++) {
        house->desks[i] = th_broker_desk_free(house->desks[i]);
        assert_true(th_list_is_empty(&house->offices[i].running));
    }
    struct th_broker_figures figures = house_count(house);
    assert_int_equal(figures.pending, 0);
    assert_int_equal(figures.waiting, 0);
    assert_int_equal(th_metrics_sum(house->metrics, TH_METRIC_EXCHANGES_OPEN), 0);
    assert_int_equal(th_metrics_sum(house->metrics, TH_METRIC_EXCHANGE_WAITERS), 0);
    assert_int_equal(th_metrics_sum(house->metrics, TH_METRIC_CACHE_ENTRIES), figures.entries);
    assert_int_equal(th_metrics_sum(house->metrics, TH_METRIC_CACHE_BYTES), figures.bytes);
    house->broker = th_broker_free(house->broker);
    for (unsigned i = 0; i < N_DESKS; i++)
        house->workers[i] = th_worker_free(house->workers[i]);
    house->metrics = th_metrics_free(house->metrics);
}

void house_turn(struct house *house, int64_t by_ms)
{
    th_clock_turn(&house->clock, by_ms);
    for (unsigned i = 0; i < N_DESKS; i++)
        (void)th_worker_turn(house->workers[i]);
}

struct th_broker_figures house_count(const struct house *house)
{
    struct th_broker_figures figures;
    th_broker_count(house->broker, &figures);
    return figures;
}

static void note_credential(struct asker *asker, struct th_credential *credential)
{
    (void)snprintf(asker->value, sizeof asker->value, "%.*s",
                   TH_STR_ARGS(th_secret_expose(credential->value)));
}

static void on_told(struct th_broker_waiter *waiter, struct th_credential *credential,
                    struct th_refusal *refusal)
{
    struct asker *asker = (struct asker *)waiter;
    assert_false(waiter->waiting);
    assert_true((credential == NULL) != (refusal == NULL));
    asker->n_told++;
    if (credential != NULL) {
        note_credential(asker, credential);
        th_credential_unref(asker->credential);
        asker->credential = th_credential_ref(credential);
    } else {
        asker->error = refusal->error;
        asker->retry_after_ms = refusal->retry_after_ms;
    }
}

struct th_broker_request request_of(const char *scope, const char *subject)
{
    struct th_broker_request request = {.subject_token = th_str_of(subject)};
    (void)snprintf((char *)request.key.scope, sizeof request.key.scope, "%s", scope);
    th_broker_digest(request.subject_token, request.key.subject);
    return request;
}

int ask(struct house *house, unsigned at, const char *scope, const char *subject,
        struct asker *asker)
{
    struct th_broker_request request = request_of(scope, subject);
    struct th_credential *credential;
    struct th_refusal *refusal;
    request.connection = asker->connection;
    asker->waiter.fn = on_told;
    asker->state = TH_CACHE_NONE;
    asker->value[0] = '\0';
    asker->error = 0;
    int error = th_broker_get(house->desks[at], &request, INT64_MAX, &asker->waiter, &credential,
                              &asker->state, &refusal);
    assert_int_equal(asker->waiter.waiting, error == TH_AGAIN);
    assert_int_equal(credential != NULL, error == 0);
    assert_true(refusal == NULL || (error != 0 && error != TH_AGAIN));
    if (credential != NULL) {
        note_credential(asker, credential);
        th_credential_unref(asker->credential);
        asker->credential = credential;
    }
    if (refusal != NULL) {
        asker->retry_after_ms = refusal->retry_after_ms;
        th_refusal_unref(refusal);
    }
    return error;
}

void asker_forget(struct asker *asker)
{
    th_broker_leave(&asker->waiter);
    asker->credential = th_credential_unref(asker->credential);
}

void fill(struct house *house, const char *scope, const char *subject, const char *token,
          int64_t lifetime_ms)
{
    struct asker asker = {0};
    struct th_exchange_result result = result_of_token(lifetime_ms);
    assert_int_equal(ask(house, 0, scope, subject, &asker), TH_AGAIN);
    assert_int_equal(asker.state, TH_CACHE_MISS);
    office_end_all(&house->offices[0], &result, token);
    assert_int_equal(asker.n_told, 1);
    asker_forget(&asker);
}
