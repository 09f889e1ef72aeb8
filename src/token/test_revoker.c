/* What is revoked of what was dropped, how many at a time, and for how long. */
#include "scene.h"

#include <stdio.h>
#include <string.h>

#include "revoker_batch.h"
#include "tokenhop/base/mem.h"

#define LIMIT_MS 10000

/* Two connections whose tokens are of "custom", one whose are of "org", one that has nothing to
 * revoke. */
#define BY_ORG                                                                                     \
    "{\"name\":\"three\",\"url\":\"https://three.test/\",\"type\":\"resource_server\","            \
    "\"agents\":[" BOTH "],\"resource\":\"orn:three\"}"
#define SECRET                                                                                     \
    "{\"name\":\"four\",\"url\":\"https://four.test/\",\"type\":\"secret\",\"agents\":[" BOTH "]," \
    "\"resource\":\"orn:four\",\"inject\":{\"header\":\"X-Key\",\"template\":\"{access_token}\"}}"
#define WIDE                                                                                       \
    CONFIG(CONNECTION("one", BOTH, "read") "," CONNECTION("two", BOTH, "read") "," BY_ORG          \
                                                                               "," SECRET)

struct stage {
    struct scene scene;
    struct th_revoker *revoker;
    struct th_revoker_desk *desks[N_DESKS];
    unsigned n_told;
    struct th_revoker_outcome outcome;
};

static void on_done(void *arg, const struct th_revoker_outcome *outcome)
{
    struct stage *stage = arg;
    stage->n_told++;
    stage->outcome = *outcome;
}

static void stage_open(struct stage *stage)
{
    memset(stage, 0, sizeof *stage);
    scene_open(&stage->scene);
    struct house *house = &stage->scene.house;
    scene_force(&stage->scene, WIDE, NULL, 0);
    const struct th_revoker_options options = {
        .clock = &house->clock, .metrics = th_metrics_shard(house->metrics, TH_METRICS_SHARED)};
    assert_int_equal(th_revoker_new(&options, &stage->revoker), 0);
    for (unsigned i = 0; i < N_DESKS; i++)
        assert_int_equal(th_revoker_desk_new(stage->revoker, house->workers[i], &office_ops,
                                             &house->offices[i], &stage->desks[i]),
                         0);
}

static void stage_close(struct stage *stage)
{
    for (unsigned i = 0; i < N_DESKS; i++)
        th_revoker_desk_free(stage->desks[i]);
    th_revoker_free(stage->revoker);
    scene_close(&stage->scene);
}

static void turn(struct stage *stage, int64_t by_ms)
{
    for (int i = 0; i < 3; i++)
        house_turn(&stage->scene.house, i == 0 ? by_ms : 0);
}

static void revoke_all(struct stage *stage)
{
    struct th_dropped dropped;
    const struct th_broker_filter all = {0};
    const struct th_revoker_batch batch = {
        .why = "test", .limit_ms = LIMIT_MS, .fn = on_done, .arg = stage};
    (void)th_broker_drop(stage->scene.house.broker, &all, &dropped);
    th_revoker_start(stage->revoker, &dropped, &batch);
    assert_true(th_list_is_empty(&dropped.entries));
    turn(stage, 0);
}

static unsigned n_running(const struct stage *stage)
{
    unsigned n = 0;
    for (unsigned i = 0; i < N_DESKS; i++)
        for (const struct th_list *it = stage->scene.house.offices[i].running.next;
             it != &stage->scene.house.offices[i].running; it = it->next)
            n++;
    return n;
}

/* Ends what runs now, with that result, where the token begins so ("": all). Returns how many. */
static unsigned end_those(struct stage *stage, const char *prefix,
                          const struct th_exchange_result *result)
{
    unsigned n = 0;
    for (unsigned i = 0; i < N_DESKS; i++) {
        struct th_exchange *ending[64];
        unsigned n_ending = 0;
        for (struct th_list *it = stage->scene.house.offices[i].running.next;
             it != &stage->scene.house.offices[i].running; it = it->next) {
            struct th_exchange *exchange = TH_LIST_ENTRY(it, struct th_exchange, link);
            assert_true(exchange->revokes);
            if (strncmp(exchange->rejected, prefix, strlen(prefix)) == 0)
                ending[n_ending++] = exchange;
        }
        for (unsigned k = 0; k < n_ending; k++)
            office_end(ending[k], result, NULL);
        n += n_ending;
    }
    turn(stage, 0);
    return n;
}

static struct th_exchange_result answered(int error, int status)
{
    struct th_exchange_result result = result_of_error(error);
    result.n_legs = 1;
    result.legs[0].status = status;
    return result;
}

static void fill_many(struct stage *stage, const char *connection, unsigned n)
{
    char subject[32];
    for (unsigned i = 0; i < n; i++) {
        (void)snprintf(subject, sizeof subject, "many%u", i);
        scene_fill(&stage->scene, connection, 0, subject);
    }
}

static int64_t metric(const struct stage *stage, enum th_metric metric)
{
    return th_metrics_sum(stage->scene.house.metrics, metric);
}

static void r24_each_is_revoked_by_its_agent_and_told_once(void **state)
{
    struct stage stage;
    const struct th_exchange_result fine = answered(0, 200);
    stage_open(&stage);
    scene_fill(&stage.scene, "three", 1, "alice");
    scene_fill(&stage.scene, "four", 0, "alice"); /* a secret */
    revoke_all(&stage);
    assert_false(scene_has(&stage.scene, "one", 0, "alice")); /* the cache first */
    for (unsigned i = 0; i < N_DESKS; i++)
        office_end_all(&stage.scene.house.offices[i], &(struct th_exchange_result){0}, NULL);
    turn(&stage, 0);
    stage_close(&stage);

    stage_open(&stage);
    scene_fill(&stage.scene, "three", 1, "alice");
    scene_fill(&stage.scene, "four", 0, "alice"); /* a secret */
    revoke_all(&stage);
    assert_int_equal(house_count(&stage.scene.house).entries, 0); /* the cache first */
    assert_int_equal(n_running(&stage), 9);
    for (unsigned i = 0; i < N_DESKS; i++)
        for (struct th_list *it = stage.scene.house.offices[i].running.next;
             it != &stage.scene.house.offices[i].running; it = it->next) {
            const struct th_exchange *exchange = TH_LIST_ENTRY(it, struct th_exchange, link);
            char expected[64];
            const struct th_exchange_request *request = &exchange->request;
            (void)snprintf(expected, sizeof expected, "%.*s.%.*s.",
                           TH_STR_ARGS(request->connection->name),
                           (int)request->agent->name.len - 5, request->agent->name.ptr + 5);
            if (strncmp(exchange->rejected, expected, strlen(expected)) != 0)
                fail_msg("%s is revoked as %s", exchange->rejected, expected);
            assert_ptr_equal(request->config, th_directory_config(stage.scene.directory));
        }
    assert_int_equal(stage.n_told, 0);
    assert_int_equal(end_those(&stage, "", &fine), 9);
    assert_int_equal(stage.n_told, 1);
    assert_int_equal(stage.outcome.n_revoked, 9);
    assert_int_equal(stage.outcome.n_skipped, 1);
    assert_int_equal(stage.outcome.n_failed, 0);
    assert_int_equal(stage.outcome.n_unasked, 0);
    assert_int_equal(metric(&stage, TH_METRIC_REVOCATIONS), 9);
    assert_int_equal(metric(&stage, TH_METRIC_REVOCATIONS_FAILED), 0);
    turn(&stage, 60000);
    assert_int_equal(stage.n_told, 1);
    stage_close(&stage);
}

static void nothing_to_revoke_is_told_at_once(void **state)
{
    struct stage stage;
    struct th_dropped dropped;
    stage_open(&stage);
    const struct th_revoker_batch batch = {
        .why = "test", .limit_ms = LIMIT_MS, .fn = on_done, .arg = &stage};
    const struct th_broker_filter none = {.connection = TH_STR("nobody's")};
    assert_int_equal(th_broker_drop(stage.scene.house.broker, &none, &dropped), 0);
    th_revoker_start(stage.revoker, &dropped, &batch);
    assert_int_equal(stage.n_told, 1);
    scene_fill(&stage.scene, "four", 0, "alice");
    const struct th_broker_filter secret = {.connection = TH_STR("four")};
    assert_int_equal(th_broker_drop(stage.scene.house.broker, &secret, &dropped), 1);
    th_revoker_start(stage.revoker, &dropped, &batch);
    assert_int_equal(stage.n_told, 2);
    assert_int_equal(stage.outcome.n_skipped, 1);
    stage_close(&stage);
}

static void r23_a_few_at_a_time_over_all_workers(void **state)
{
    struct stage stage;
    const struct th_exchange_result fine = answered(0, 200);
    stage_open(&stage);
    fill_many(&stage, "one", 100);
    revoke_all(&stage);
    unsigned n_ended = 0;
    while (stage.n_told == 0) {
        assert_in_range(n_running(&stage), 1, TH_REVOKER_PARALLEL);
        for (unsigned i = 0; i < N_DESKS; i++)
            if (!th_list_is_empty(&stage.scene.house.offices[i].running)) {
                office_end(office_oldest(&stage.scene.house.offices[i]), &fine, NULL);
                n_ended++;
            }
        turn(&stage, 1);
    }
    assert_int_equal(n_ended, 108);
    assert_int_equal(stage.outcome.n_revoked, 108);
    stage_close(&stage);
}

/* Several at once share what one may have. */
static void r23_batches_share_the_bound(void **state)
{
    struct stage stage;
    const struct th_exchange_result fine = answered(0, 200);
    stage_open(&stage);
    fill_many(&stage, "one", 40);
    revoke_all(&stage);
    for (unsigned i = 0; i < 40; i++) {
        struct asker asker;
        char subject[32];
        (void)snprintf(subject, sizeof subject, "late%u", i);
        struct th_exchange_result result = result_of_token(130000);
        assert_int_equal(scene_ask(&stage.scene, stage.scene.directory, "two", 0, subject, &asker),
                         TH_AGAIN);
        struct office *office = &stage.scene.house.offices[0];
        office_end(TH_LIST_ENTRY(office->running.prev, struct th_exchange, link), &result, "late");
    }
    revoke_all(&stage);
    unsigned n_ended = 0;
    for (unsigned n; (n = n_running(&stage)) > 0;) {
        assert_in_range(n, 1, TH_REVOKER_PARALLEL);
        n_ended += end_those(&stage, "", &fine);
    }
    assert_int_equal(n_ended, 88);
    assert_int_equal(stage.n_told, 2);
    stage_close(&stage);
}

static void what_is_refused_is_counted_and_not_asked_again(void **state)
{
    struct stage stage;
    const struct th_exchange_result refused = answered(TH_E_EXCHANGE_CLIENT, 401);
    stage_open(&stage);
    revoke_all(&stage);
    assert_int_equal(end_those(&stage, "", &refused), 8);
    assert_int_equal(stage.n_told, 1);
    assert_int_equal(stage.outcome.n_failed, 8);
    assert_int_equal(metric(&stage, TH_METRIC_REVOCATIONS_FAILED), 8);
    stage_close(&stage);
}

/* RFC 7009, 2.2.1. */
static void retry_after_is_kept_once(void **state)
{
    struct stage stage;
    const struct th_exchange_result fine = answered(0, 200);
    struct th_exchange_result busy = answered(TH_E_EXCHANGE_DOWN, 503);
    busy.retry_after_ms = 2000;
    stage_open(&stage);
    scene_fill(&stage.scene, "three", 0, "alice");
    revoke_all(&stage);
    assert_int_equal(end_those(&stage, "one", &busy), 4);
    assert_int_equal(end_those(&stage, "two", &fine), 4);
    assert_int_equal(end_those(&stage, "three", &fine), 1); /* another server: not held up */
    assert_int_equal(n_running(&stage), 0);
    turn(&stage, 1900);
    assert_int_equal(n_running(&stage), 0);
    assert_int_equal(stage.n_told, 0);
    turn(&stage, 200);
    assert_int_equal(end_those(&stage, "one.1", &fine), 2);
    assert_int_equal(end_those(&stage, "one.2", &busy), 2); /* once more, and that is it */
    assert_int_equal(stage.n_told, 1);
    assert_int_equal(stage.outcome.n_revoked, 7);
    assert_int_equal(stage.outcome.n_failed, 2);
    stage_close(&stage);
}

static void a_retry_after_beyond_the_limit_ends_it(void **state)
{
    struct stage stage;
    struct th_exchange_result busy = answered(TH_E_EXCHANGE_DOWN, 503);
    busy.retry_after_ms = LIMIT_MS;
    stage_open(&stage);
    fill_many(&stage, "one", 30);
    revoke_all(&stage);
    assert_int_equal(end_those(&stage, "", &busy), TH_REVOKER_PARALLEL);
    assert_int_equal(stage.n_told, 1);
    assert_int_equal(stage.outcome.n_failed, TH_REVOKER_PARALLEL);
    assert_int_equal(stage.outcome.n_unasked, 38 - TH_REVOKER_PARALLEL);
    assert_int_equal(metric(&stage, TH_METRIC_REVOCATIONS_UNASKED), 38 - TH_REVOKER_PARALLEL);
    stage_close(&stage);
}

/* One that hangs: others have the time. */
static void r22_a_silent_server_is_given_up_and_holds_up_no_other(void **state)
{
    struct stage stage;
    const struct th_exchange_result fine = answered(0, 200);
    const struct th_exchange_result silent = answered(TH_E_EXCHANGE_TIMEOUT, 0);
    stage_open(&stage);
    fill_many(&stage, "one", 100);
    fill_many(&stage, "three", 20);
    revoke_all(&stage);
    for (unsigned i = 0; i < N_DESKS; i++)
        for (struct th_list *it = stage.scene.house.offices[i].running.next;
             it != &stage.scene.house.offices[i].running; it = it->next) {
            const struct th_exchange *exchange = TH_LIST_ENTRY(it, struct th_exchange, link);
            assert_int_equal(exchange->request.deadline_ms -
                                 th_clock_monotonic_ms(&stage.scene.house.clock),
                             LIMIT_MS / 4);
        }
    unsigned n_silent = 0, n_fine = 0;
    while (stage.n_told == 0) {
        n_silent += end_those(&stage, "one", &silent);
        n_silent += end_those(&stage, "two", &silent);
        n_fine += end_those(&stage, "three", &fine);
    }
    assert_int_equal(n_fine, 20);
    assert_in_range(n_silent, TH_REVOKER_SILENCES, TH_REVOKER_PARALLEL + TH_REVOKER_SILENCES);
    assert_int_equal(stage.outcome.n_revoked, 20);
    assert_int_equal(stage.outcome.n_failed, n_silent);
    assert_int_equal(stage.outcome.n_unasked, 108 - n_silent);
    stage_close(&stage);
}

static void r22_the_limit_is_of_the_whole(void **state)
{
    struct stage stage;
    const struct th_exchange_result fine = answered(0, 200);
    stage_open(&stage);
    fill_many(&stage, "one", 100);
    revoke_all(&stage);
    turn(&stage, LIMIT_MS - 1);
    assert_int_equal(end_those(&stage, "", &fine), TH_REVOKER_PARALLEL);
    for (unsigned i = 0; i < N_DESKS; i++)
        for (struct th_list *it = stage.scene.house.offices[i].running.next;
             it != &stage.scene.house.offices[i].running; it = it->next)
            assert_int_equal(TH_LIST_ENTRY(it, struct th_exchange, link)->request.deadline_ms,
                             th_clock_monotonic_ms(&stage.scene.house.clock) + 1);
    turn(&stage, 1);
    assert_int_equal(end_those(&stage, "", &fine), TH_REVOKER_PARALLEL);
    assert_int_equal(stage.n_told, 1);
    assert_int_equal(stage.outcome.n_revoked, 2 * TH_REVOKER_PARALLEL);
    assert_int_equal(stage.outcome.n_unasked, 108 - 2 * TH_REVOKER_PARALLEL);
    assert_int_equal(stage.outcome.duration_ms, LIMIT_MS);
    stage_close(&stage);
}

/* At the end of the process: what runs is cut, who waits is told. */
static void r24_desks_that_go_end_it(void **state)
{
    struct stage stage;
    stage_open(&stage);
    fill_many(&stage, "one", 30);
    revoke_all(&stage);
    for (unsigned i = 0; i < N_DESKS; i++) {
        assert_int_equal(stage.n_told, 0);
        stage.desks[i] = th_revoker_desk_free(stage.desks[i]);
    }
    assert_int_equal(stage.n_told, 1);
    assert_int_equal(stage.outcome.n_failed, TH_REVOKER_PARALLEL);
    assert_int_equal(stage.outcome.n_unasked, 38 - TH_REVOKER_PARALLEL);
    stage_close(&stage);
}

/* Its message is in the mailboxes when the desks go. */
static void r24_a_batch_nobody_has_taken_ends_too(void **state)
{
    struct stage stage;
    struct th_dropped dropped;
    const struct th_broker_filter all = {0};
    stage_open(&stage);
    const struct th_revoker_batch batch = {
        .why = "test", .limit_ms = LIMIT_MS, .fn = on_done, .arg = &stage};
    assert_int_equal(th_broker_drop(stage.scene.house.broker, &all, &dropped), 8);
    th_revoker_start(stage.revoker, &dropped, &batch);
    for (unsigned i = 0; i < N_DESKS; i++)
        stage.desks[i] = th_revoker_desk_free(stage.desks[i]);
    turn(&stage, 0);
    assert_int_equal(stage.n_told, 1);
    assert_int_equal(stage.outcome.n_unasked, 8);
    stage_close(&stage);
}

/* A credential that the destination has not taken waits with the key for being revoked. */
static void what_was_rejected_is_revoked_too(void **state)
{
    struct stage stage;
    const struct th_exchange_result fine = answered(0, 200);
    stage_open(&stage);
    struct house *house = &stage.scene.house;
    scene_fill(&stage.scene, "three", 0, "alice");
    struct th_broker_request request = scene_request(stage.scene.directory, "three", 0, "alice");
    struct asker asker = {0};
    struct th_refusal *refusal;
    assert_int_equal(th_broker_get(house->desks[0], &request, INT64_MAX, &asker.waiter,
                                   &asker.credential, &asker.state, &refusal),
                     0);
    assert_true(th_broker_reject(house->desks[0], &request.key, asker.credential));
    asker_forget(&asker);
    revoke_all(&stage);
    assert_int_equal(end_those(&stage, "three.1.alice", &fine), 1);
    assert_int_equal(end_those(&stage, "", &fine), 8);
    assert_int_equal(stage.outcome.n_revoked, 9);
    stage_close(&stage);
}

static void r24_without_memory_all_of_it_has_failed(void **state)
{
#ifdef TH_FAIL_ALLOC
    for (unsigned long nth = 1; nth < 12; nth++) {
        struct stage stage;
        struct th_dropped dropped;
        const struct th_broker_filter all = {0};
        const struct th_exchange_result fine = answered(0, 200);
        stage_open(&stage);
        const struct th_revoker_batch batch = {
            .why = "test", .limit_ms = LIMIT_MS, .fn = on_done, .arg = &stage};
        assert_int_equal(th_broker_drop(stage.scene.house.broker, &all, &dropped), 8);
        th_mem_fail_after(nth, 1);
        th_revoker_start(stage.revoker, &dropped, &batch);
        turn(&stage, 0);
        th_mem_fail_after(0, 0);
        while (stage.n_told == 0)
            end_those(&stage, "", &fine);
        assert_int_equal(stage.n_told, 1);
        assert_int_equal(stage.outcome.n_revoked + stage.outcome.n_failed + stage.outcome.n_unasked,
                         8);
        assert_in_range(stage.outcome.n_failed, nth == 1 ? 8 : 0, nth == 1 ? 8 : 1);
        stage_close(&stage);
    }
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(r24_each_is_revoked_by_its_agent_and_told_once),
        cmocka_unit_test(nothing_to_revoke_is_told_at_once),
        cmocka_unit_test(r23_a_few_at_a_time_over_all_workers),
        cmocka_unit_test(r23_batches_share_the_bound),
        cmocka_unit_test(what_is_refused_is_counted_and_not_asked_again),
        cmocka_unit_test(retry_after_is_kept_once),
        cmocka_unit_test(a_retry_after_beyond_the_limit_ends_it),
        cmocka_unit_test(r22_a_silent_server_is_given_up_and_holds_up_no_other),
        cmocka_unit_test(r22_the_limit_is_of_the_whole),
        cmocka_unit_test(r24_desks_that_go_end_it),
        cmocka_unit_test(r24_a_batch_nobody_has_taken_ends_too),
        cmocka_unit_test(what_was_rejected_is_revoked_too),
        cmocka_unit_test(r24_without_memory_all_of_it_has_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
