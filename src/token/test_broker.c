#include "testing.h"

#include <stdio.h>
#include <string.h>

static void r14_first_asks_others_join_later_hit(void **state)
{
    struct house house;
    struct asker askers[6] = {0};
    struct th_exchange_result result = result_of_token(300000);
    house_open(&house, NULL);
    assert_int_equal(ask(&house, 0, "one", "alice", &askers[0]), TH_AGAIN);
    assert_int_equal(askers[0].state, TH_CACHE_MISS);
    for (unsigned i = 1; i < 5; i++) {
        assert_int_equal(ask(&house, i % 3, "one", "alice", &askers[i]), TH_AGAIN);
        assert_int_equal(askers[i].state, TH_CACHE_JOINED);
    }
    assert_int_equal(house_count(&house).waiting, 5);
    assert_int_equal(house_count(&house).pending, 1);
    office_end(office_oldest(&house.offices[0]), &result, "t0ken");
    house_turn(&house, 0);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(askers[i].n_told, 1);
        assert_string_equal(askers[i].value, "Bearer t0ken");
    }
    assert_int_equal(ask(&house, 3, "one", "alice", &askers[5]), 0);
    assert_int_equal(askers[5].state, TH_CACHE_HIT);
    assert_string_equal(askers[5].value, "Bearer t0ken");
    assert_int_equal(askers[5].n_told, 0);
    for (unsigned i = 0; i < N_DESKS; i++)
        assert_int_equal(house.offices[i].n_started, i == 0);
    for (unsigned i = 0; i < 6; i++)
        asker_forget(&askers[i]);
    house_close(&house);
    assert_int_equal(th_secret_bytes_held(), 0);
}

/* Waiters of another worker cost one message together, however many they are. */
static void r14_a_worker_is_told_once_for_all(void **state)
{
    struct house house;
    static struct asker askers[500];
    struct th_exchange_result result = result_of_token(300000);
    memset(askers, 0, sizeof askers);
    house_open(&house, NULL);
    for (unsigned i = 0; i < 500; i++)
        assert_int_equal(ask(&house, i % 2, "one", "alice", &askers[i]), TH_AGAIN);
    /* The mailbox takes 16 messages. */
    office_end_all(&house.offices[0], &result, "t");
    house_turn(&house, 0);
    assert_int_equal(house_count(&house).lost, 0);
    for (unsigned i = 0; i < 500; i++) {
        assert_int_equal(askers[i].n_told, 1);
        asker_forget(&askers[i]);
    }
    house_close(&house);
}

static void r14_an_exchange_whose_waiters_left_fills_the_cache(void **state)
{
    struct house house;
    struct asker one = {0}, two = {0};
    struct th_exchange_result result = result_of_token(300000);
    house_open(&house, NULL);
    assert_int_equal(ask(&house, 0, "one", "alice", &one), TH_AGAIN);
    assert_int_equal(ask(&house, 1, "one", "alice", &two), TH_AGAIN);
    th_broker_leave(&one.waiter);
    th_broker_leave(&two.waiter);
    assert_int_equal(house_count(&house).waiting, 0);
    assert_int_equal(house.offices[0].n_cancelled, 0);
    office_end_all(&house.offices[0], &result, "t");
    house_turn(&house, 0);
    assert_int_equal(one.n_told + two.n_told, 0);
    assert_int_equal(ask(&house, 2, "one", "alice", &one), 0);
    assert_int_equal(one.state, TH_CACHE_HIT);
    asker_forget(&one);
    house_close(&house);
}

static void r14_a_waiter_that_leaves_harms_no_other(void **state)
{
    struct house house;
    struct asker askers[4] = {0};
    struct th_exchange_result result = result_of_token(300000);
    house_open(&house, NULL);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(ask(&house, i / 2, "one", "alice", &askers[i]), TH_AGAIN);
    th_broker_leave(&askers[0].waiter); /* the one that began it */
    th_broker_leave(&askers[0].waiter); /* again: nothing */
    th_broker_leave(&askers[2].waiter);
    office_end_all(&house.offices[0], &result, "t");
    house_turn(&house, 0);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(askers[i].n_told, i % 2);
        asker_forget(&askers[i]);
    }
    house_close(&house);
}

/* Between the exchange's end and the message's arrival. */
static void r14_leaving_with_the_message_under_way(void **state)
{
    struct house house;
    struct asker askers[3] = {0};
    struct th_exchange_result result = result_of_token(300000);
    house_open(&house, NULL);
    assert_int_equal(ask(&house, 0, "one", "alice", &askers[0]), TH_AGAIN);
    assert_int_equal(ask(&house, 1, "one", "alice", &askers[1]), TH_AGAIN);
    assert_int_equal(ask(&house, 2, "one", "alice", &askers[2]), TH_AGAIN);
    office_end_all(&house.offices[0], &result, "t");
    th_broker_leave(&askers[1].waiter);
    /* Its place is taken by another's before the message comes. */
    assert_int_equal(ask(&house, 1, "one", "bob", &askers[1]), TH_AGAIN);
    house_turn(&house, 0);
    assert_int_equal(askers[1].n_told, 0);
    assert_int_equal(askers[2].n_told, 1);
    for (unsigned i = 0; i < 3; i++)
        asker_forget(&askers[i]);
    office_end_all(&house.offices[1], &result, "t");
    house_close(&house);
}

struct chain {
    struct asker asker; /* first */
    struct house *house;
    struct asker *leaves;  /* who leaves when this one is told */
    struct asker *follows; /* and asks anew */
    int got;
};

static void on_told_and_act(struct th_broker_waiter *waiter, struct th_credential *credential,
                            struct th_refusal *refusal)
{
    struct chain *chain = (struct chain *)waiter;
    chain->asker.n_told++;
    if (chain->leaves != NULL)
        th_broker_leave(&chain->leaves->waiter);
    if (chain->follows != NULL)
        chain->got = ask(chain->house, 0, "one", "alice", chain->follows);
}

static void r14_told_waiters_may_leave_and_ask_from_inside(void **state)
{
    struct house house;
    struct chain first = {.house = &house};
    struct asker second = {0}, third = {0}, anew = {0};
    struct th_exchange_result result = result_of_token(0); /* not kept: asking anew is a miss */
    house_open(&house, NULL);
    first.leaves = &second;
    first.follows = &anew;
    assert_int_equal(ask(&house, 0, "one", "alice", &first.asker), TH_AGAIN);
    first.asker.waiter.fn = on_told_and_act;
    assert_int_equal(ask(&house, 0, "one", "alice", &second), TH_AGAIN);
    assert_int_equal(ask(&house, 0, "one", "alice", &third), TH_AGAIN);
    office_end(office_oldest(&house.offices[0]), &result, "t1");
    assert_int_equal(first.asker.n_told, 1);
    assert_int_equal(first.got, TH_AGAIN);
    assert_int_equal(anew.state, TH_CACHE_MISS);
    assert_int_equal(second.n_told, 0);
    assert_int_equal(third.n_told, 1);
    office_end(office_oldest(&house.offices[0]), &result, "t2");
    assert_string_equal(anew.value, "Bearer t2");
    asker_forget(&third);
    asker_forget(&anew);
    house_close(&house);
}

static void r23_waiters_and_exchanges_are_bounded(void **state)
{
    struct house house;
    struct asker askers[7] = {0};
    struct th_broker_options options = usual_options(NULL);
    struct th_exchange_result result = result_of_token(300000);
    char subject[32];
    options.max_waiting = 5;
    house_open(&house, &options);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(ask(&house, i % 2, "one", "alice", &askers[i]), TH_AGAIN);
    assert_int_equal(ask(&house, 0, "one", "alice", &askers[5]), TH_E_EXCHANGE_QUEUE);
    assert_int_equal(ask(&house, 0, "one", "bob", &askers[5]), TH_E_EXCHANGE_QUEUE);
    assert_int_equal(house_count(&house).waiting, 5);
    assert_int_equal(house_count(&house).pending, 1);
    /* Who leaves makes place for a waiter, but its exchange goes on: nobody can begin one after
     * the other. */
    for (unsigned i = 0; i < 5; i++)
        asker_forget(&askers[i]);
    for (unsigned i = 0; i < 10; i++) {
        (void)snprintf(subject, sizeof subject, "carol%u", i);
        int expected = i < 4 ? TH_AGAIN : TH_E_EXCHANGE_QUEUE;
        assert_int_equal(ask(&house, 0, "one", subject, &askers[6]), expected);
        asker_forget(&askers[6]);
    }
    assert_int_equal(house_count(&house).pending, 5);
    assert_int_equal(house_count(&house).waiting, 0);
    office_end_all(&house.offices[0], &result, "t");
    assert_int_equal(house_count(&house).pending, 0);
    assert_int_equal(ask(&house, 0, "one", "bob", &askers[6]), TH_AGAIN);
    asker_forget(&askers[6]);
    house_close(&house);
}

static void r24_a_desk_that_goes_ends_its_exchanges(void **state)
{
    struct house house;
    struct asker own = {0}, other = {0}, served = {0};
    house_open(&house, NULL);
    fill(&house, "one", "bob", "b", 100000);
    house_turn(&house, 65000); /* of 70 s: due */
    assert_int_equal(ask(&house, 1, "one", "alice", &own), TH_AGAIN);
    assert_int_equal(ask(&house, 2, "one", "alice", &other), TH_AGAIN);
    assert_int_equal(ask(&house, 1, "one", "bob", &served), 0);
    assert_int_equal(served.state, TH_CACHE_REFRESHED);
    house.desks[1] = th_broker_desk_free(house.desks[1]);
    assert_int_equal(house.offices[1].n_cancelled, 2);
    house_turn(&house, 0);
    assert_int_equal(own.n_told, 0);
    assert_false(own.waiter.waiting);
    th_broker_leave(&own.waiter); /* its desk is gone: nothing happens */
    assert_int_equal(other.n_told, 1);
    assert_int_equal(other.error, TH_E_EXCHANGE_DOWN);
    /* Not the server's failure: nothing is remembered, and what is good is served on. */
    assert_int_equal(ask(&house, 2, "one", "bob", &served), 0);
    assert_int_equal(served.state, TH_CACHE_HIT);
    assert_int_equal(ask(&house, 2, "one", "alice", &other), TH_AGAIN);
    assert_int_equal(other.state, TH_CACHE_MISS);
    asker_forget(&other);
    asker_forget(&served);
    house_close(&house);
}

static void r24_a_desk_that_goes_leaves_the_exchange_of_another(void **state)
{
    struct house house;
    struct asker one = {0}, two = {0};
    struct th_exchange_result result = result_of_token(300000);
    house_open(&house, NULL);
    assert_int_equal(ask(&house, 0, "one", "alice", &one), TH_AGAIN);
    assert_int_equal(ask(&house, 1, "one", "alice", &two), TH_AGAIN);
    house.desks[1] = th_broker_desk_free(house.desks[1]);
    office_end_all(&house.offices[0], &result, "t");
    house_turn(&house, 0);
    assert_int_equal(one.n_told, 1);
    assert_int_equal(two.n_told, 0);
    asker_forget(&one);
    house_close(&house);
}

/* The message is in the mailbox when the desk goes. */
static void r24_a_desk_that_goes_with_a_message_under_way(void **state)
{
    struct house house;
    struct asker one = {0}, two = {0};
    struct th_exchange_result result = result_of_token(300000);
    house_open(&house, NULL);
    assert_int_equal(ask(&house, 0, "one", "alice", &one), TH_AGAIN);
    assert_int_equal(ask(&house, 1, "one", "alice", &two), TH_AGAIN);
    office_end_all(&house.offices[0], &result, "t");
    house.desks[1] = th_broker_desk_free(house.desks[1]);
    house_turn(&house, 0);
    assert_int_equal(two.n_told, 0);
    asker_forget(&one);
    house_close(&house);
    assert_int_equal(th_secret_bytes_held(), 0);
}

static void r23_a_full_mailbox_is_counted_and_the_deadline_ends_the_wait(void **state)
{
    struct house house;
    struct asker first[20] = {0}, there[20] = {0};
    struct th_exchange_result result = result_of_token(300000);
    char subject[32];
    house_open(&house, NULL);
    for (unsigned i = 0; i < 20; i++) {
        (void)snprintf(subject, sizeof subject, "user%u", i);
        assert_int_equal(ask(&house, 0, "one", subject, &first[i]), TH_AGAIN);
        assert_int_equal(ask(&house, 1, "one", subject, &there[i]), TH_AGAIN);
    }
    office_end_all(&house.offices[0], &result, "t");
    assert_int_equal(house_count(&house).lost, 4);
    house_turn(&house, 0);
    unsigned n_told = 0;
    for (unsigned i = 0; i < 20; i++) {
        n_told += there[i].n_told;
        asker_forget(&first[i]);
        asker_forget(&there[i]); /* what its deadline does */
    }
    assert_int_equal(n_told, 16);
    assert_int_equal(house_count(&house).waiting, 0);
    house_close(&house);
    assert_int_equal(th_secret_bytes_held(), 0);
}

static void r14_a_start_that_fails_is_told_at_once_and_not_remembered(void **state)
{
    static const int errors[] = {TH_E_SUBJECT_MALFORMED, TH_E_SUBJECT_EXPIRED,
                                 TH_E_SUBJECT_AUDIENCE, TH_E_NOMEM};
    struct house house;
    house_open(&house, NULL);
    for (size_t i = 0; i < TH_COUNT_OF(errors); i++) {
        struct asker asker = {0};
        house.offices[0].start_error = errors[i];
        assert_int_equal(ask(&house, 0, "one", "alice", &asker), errors[i]);
        assert_int_equal(asker.state, TH_CACHE_MISS);
        assert_int_equal(asker.n_told, 0);
        assert_int_equal(house_count(&house).entries, 0);
        assert_int_equal(house_count(&house).pending, 0);
        assert_int_equal(house_count(&house).waiting, 0);
    }
    house_close(&house);
}

static void r14_purge_while_an_exchange_runs(void **state)
{
    struct house house;
    struct asker one = {0}, two = {0};
    struct th_exchange_result result = result_of_token(300000);
    house_open(&house, NULL);
    fill(&house, "one", "bob", "b", 300000);
    fill(&house, "two", "bob", "b", 300000);
    assert_int_equal(ask(&house, 0, "one", "alice", &one), TH_AGAIN);
    struct th_broker_request request = request_of("one", "");
    assert_int_equal(th_broker_purge(house.broker, request.key.scope), 1);
    assert_int_equal(ask(&house, 1, "one", "alice", &two), TH_AGAIN);
    assert_int_equal(two.state, TH_CACHE_JOINED);
    office_end_all(&house.offices[0], &result, "t");
    house_turn(&house, 0);
    assert_string_equal(one.value, "Bearer t");
    assert_string_equal(two.value, "Bearer t");
    /* It did not fill the cache, and the other scope is untouched. */
    assert_int_equal(ask(&house, 0, "one", "alice", &one), TH_AGAIN);
    assert_int_equal(one.state, TH_CACHE_MISS);
    assert_int_equal(ask(&house, 0, "two", "bob", &two), 0);
    asker_forget(&one);
    asker_forget(&two);
    house_close(&house);
}

static void r14_purge_while_an_exchange_runs_that_fails(void **state)
{
    struct house house;
    struct asker asker = {0};
    struct th_exchange_result result = result_of_error(TH_E_ACCESS_DENIED);
    house_open(&house, NULL);
    assert_int_equal(ask(&house, 0, "one", "alice", &asker), TH_AGAIN);
    assert_int_equal(th_broker_purge(house.broker, NULL), 0);
    office_end_all(&house.offices[0], &result, NULL);
    assert_int_equal(asker.error, TH_E_ACCESS_DENIED);
    assert_int_equal(house_count(&house).entries, 0);
    house_close(&house);
}

static void r14_purge_while_renewed(void **state)
{
    struct house house;
    struct asker asker = {0};
    struct th_exchange_result result = result_of_token(300000);
    house_open(&house, NULL);
    fill(&house, "one", "alice", "old", 100000);
    house_turn(&house, 65000);
    assert_int_equal(ask(&house, 0, "one", "alice", &asker), 0);
    assert_int_equal(asker.state, TH_CACHE_REFRESHED);
    assert_int_equal(th_broker_purge(house.broker, NULL), 1);
    assert_int_equal(ask(&house, 0, "one", "alice", &asker), TH_AGAIN);
    assert_int_equal(asker.state, TH_CACHE_JOINED);
    office_end_all(&house.offices[0], &result, "new");
    assert_string_equal(asker.value, "Bearer new");
    assert_int_equal(house_count(&house).entries, 0);
    asker_forget(&asker);
    house_close(&house);
}

static void metrics_tell_what_happened(void **state)
{
    static const struct {
        enum th_metric metric;
        int64_t expected;
    } rows[] = {
        {TH_METRIC_CACHE_MISSES, 4},      {TH_METRIC_CACHE_JOINED, 1},
        {TH_METRIC_CACHE_HITS, 2},        {TH_METRIC_CACHE_NEGATIVE, 1},
        {TH_METRIC_CACHE_REFRESHES, 1},   {TH_METRIC_EXCHANGES_STARTED, 5},
        {TH_METRIC_EXCHANGES_REFUSED, 1}, {TH_METRIC_EXCHANGES_SUCCEEDED, 2},
        {TH_METRIC_EXCHANGES_FAILED, 1},  {TH_METRIC_TIMEOUTS_EXCHANGE, 1},
        {TH_METRIC_EXCHANGES_OPEN, 1},    {TH_METRIC_EXCHANGE_WAITERS, 2},
        {TH_METRIC_CACHE_EVICTIONS, 0},   {TH_METRIC_CACHE_EXPIRED, 1},
    };
    struct house house;
    struct asker askers[3] = {0};
    struct th_exchange_result denied = result_of_error(TH_E_ACCESS_DENIED);
    struct th_exchange_result late = result_of_error(TH_E_EXCHANGE_TIMEOUT);
    house_open(&house, NULL);
    fill(&house, "one", "alice", "t", 130000);
    fill(&house, "one", "eve", "t", 40000);
    assert_int_equal(ask(&house, 1, "one", "bob", &askers[0]), TH_AGAIN);
    office_end_all(&house.offices[1], &denied, NULL);
    assert_int_equal(ask(&house, 0, "one", "bob", &askers[0]), TH_E_ACCESS_DENIED);
    assert_int_equal(ask(&house, 0, "one", "alice", &askers[0]), 0);
    for (unsigned i = 0; i < 95; i++)
        house_turn(&house, 1000);
    assert_int_equal(ask(&house, 2, "one", "alice", &askers[0]), 0);
    office_end_all(&house.offices[2], &late, NULL);
    assert_int_equal(ask(&house, 3, "one", "carol", &askers[1]), TH_AGAIN);
    assert_int_equal(ask(&house, 2, "one", "carol", &askers[2]), TH_AGAIN);
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        int64_t value = th_metrics_sum(house.metrics, rows[i].metric);
        if (value != rows[i].expected)
            fail_msg("%s (row %zu) is %jd", th_metrics_name(rows[i].metric), i, (intmax_t)value);
    }
    assert_int_equal(th_metrics_sum_observed(house.metrics, TH_HISTOGRAM_EXCHANGE), 4);
    for (unsigned i = 0; i < 3; i++)
        asker_forget(&askers[i]);
    house_close(&house);
}

static void r14_key_halves(void **state)
{
    struct th_str scopes[] = {TH_STR("a"), TH_STR("b")}, joined[] = {TH_STR("ab")};
    struct th_config_agent agent = {.name = TH_STR("a1"), .client_id = TH_STR("c1")};
    struct th_config_connection connection = {.name = TH_STR("n"), .scopes = scopes, .n_scopes = 2};
    uint8_t first[16], other[16], again[16];
    th_broker_scope(&agent, &connection, first);
    th_broker_scope(&agent, &connection, again);
    assert_memory_equal(first, again, 16);

    struct th_config_agent agents[] = {agent, agent, agent};
    struct th_config_connection connections[] = {connection, connection, connection, connection};
    agents[0].name = TH_STR("a2");
    agents[1].client_id = TH_STR("c2");
    agents[2].name = TH_STR("a1c"); /* the bytes one after the other are the same */
    agents[2].client_id = TH_STR("1");
    connections[0].name = TH_STR("m");
    connections[1].version[15] = 1;
    connections[2].scopes = joined;
    connections[2].n_scopes = 1;
    connections[3].n_scopes = 1;
    for (size_t i = 0; i < TH_COUNT_OF(agents); i++) {
        th_broker_scope(&agents[i], &connection, other);
        assert_memory_not_equal(first, other, 16);
    }
    for (size_t i = 0; i < TH_COUNT_OF(connections); i++) {
        th_broker_scope(&agent, &connections[i], other);
        assert_memory_not_equal(first, other, 16);
    }
    /* Where tokens are bound: another key of the agent is another credential. */
    struct th_secret *keys[] = {th_secret_new("k1", 2), th_secret_new("k2", 2)};
    agents[0] = agents[1] = agents[2] = agent;
    agents[0].dpop_key.key = keys[0];
    agents[1].dpop_key.key = keys[1];
    agents[2].dpop_key.alg = TH_ALG_ES256;
    for (size_t i = 0; i < TH_COUNT_OF(agents); i++) {
        th_broker_scope(&agents[i], &connection, other);
        assert_memory_equal(first, other, 16);
    }
    connection.dpop = TH_DPOP_TOKEN;
    th_broker_scope(&agent, &connection, first);
    for (size_t i = 0; i < TH_COUNT_OF(agents); i++) {
        th_broker_scope(&agents[i], &connection, other);
        assert_memory_not_equal(first, other, 16);
    }
    th_broker_scope(&agents[0], &connection, first);
    th_broker_scope(&agents[1], &connection, other);
    assert_memory_not_equal(first, other, 16);
    th_secret_unref(keys[0]);
    th_secret_unref(keys[1]);
    /* FIPS 180-2, appendix B.1 */
    static const uint8_t abc[32] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea,
                                    0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
                                    0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c,
                                    0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    uint8_t digest[32];
    th_broker_digest(TH_STR("abc"), digest);
    assert_memory_equal(digest, abc, 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(r14_first_asks_others_join_later_hit),
        cmocka_unit_test(r14_a_worker_is_told_once_for_all),
        cmocka_unit_test(r14_an_exchange_whose_waiters_left_fills_the_cache),
        cmocka_unit_test(r14_a_waiter_that_leaves_harms_no_other),
        cmocka_unit_test(r14_leaving_with_the_message_under_way),
        cmocka_unit_test(r14_told_waiters_may_leave_and_ask_from_inside),
        cmocka_unit_test(r23_waiters_and_exchanges_are_bounded),
        cmocka_unit_test(r24_a_desk_that_goes_ends_its_exchanges),
        cmocka_unit_test(r24_a_desk_that_goes_leaves_the_exchange_of_another),
        cmocka_unit_test(r24_a_desk_that_goes_with_a_message_under_way),
        cmocka_unit_test(r23_a_full_mailbox_is_counted_and_the_deadline_ends_the_wait),
        cmocka_unit_test(r14_a_start_that_fails_is_told_at_once_and_not_remembered),
        cmocka_unit_test(r14_purge_while_an_exchange_runs),
        cmocka_unit_test(r14_purge_while_an_exchange_runs_that_fails),
        cmocka_unit_test(r14_purge_while_renewed),
        cmocka_unit_test(metrics_tell_what_happened),
        cmocka_unit_test(r14_key_halves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
