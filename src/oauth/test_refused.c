#include "refused.h"
#include "test_bench.h"

static void refuse(struct bench *b, const char *error)
{
    answer(b, 401, "{'error':'%s'}", error);
    assert_null(b->exchange);
    assert_int_equal(b->result.error, TH_E_EXCHANGE_CLIENT);
    assert_false(b->result.was_held_off);
    forget_asked(b);
}

static void is_held_off(struct bench *b, const char *subject)
{
    start(b, subject);
    settle(b);
    assert_int_equal(b->n_asked, 0);
    assert_null(b->exchange);
    assert_int_equal(b->result.error, TH_E_EXCHANGE_CLIENT);
    assert_true(b->result.was_held_off); /* so that it is not kept for this subject token */
    assert_int_equal(b->result.n_legs, 0);
    assert_non_null(strstr(b->result.detail, "authorization server \"org\""));
}

static void nobody_asks_until_the_rest_is_over(void **state)
{
    (void)state;
    struct bench b;
    struct tokens t;
    bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
    tokens_open(&t);
    start(&b, t.subject.ptr);
    refuse(&b, "invalid_client");
    is_held_off(&b, t.subject.ptr);
    is_held_off(&b, "another.subject"); /* whoever it is that the agent acts for */
    assert_string_equal(b.result.oauth_error, "invalid_client");
    pass(&b, TH_REFUSED_REST_MS - 1);
    is_held_off(&b, t.subject.ptr);
    pass(&b, 1);
    start(&b, t.subject.ptr); /* one, for all */
    assert_int_equal(b.n_asked, 1);
    struct th_exchange *first = b.exchange;
    b.exchange = NULL;
    forget_asked(&b);
    is_held_off(&b, t.subject.ptr);
    b.exchange = first;
    refuse(&b, "invalid_client");
    pass(&b, 2 * TH_REFUSED_REST_MS - 1); /* and longer each time */
    is_held_off(&b, t.subject.ptr);
    pass(&b, 1);
    start(&b, t.subject.ptr);
    answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
    answer(&b, 200, ACCESS_OK, t.access.ptr);
    assert_int_equal(b.result.error, 0);
    forget_asked(&b);
    start(&b, t.subject.ptr); /* the server takes it: all is forgotten */
    refuse(&b, "invalid_client");
    pass(&b, TH_REFUSED_REST_MS);
    start(&b, t.subject.ptr);
    assert_int_equal(b.n_asked, 1);
    tokens_close(&t);
    bench_close(&b);
}

static void the_first_leg_is_not_spent(void **state)
{
    (void)state;
    struct bench b;
    struct tokens t;
    bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
    tokens_open(&t);
    start(&b, t.subject.ptr);
    answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
    refuse(&b, "unsupported_grant_type");
    start(&b, t.subject.ptr);
    settle(&b);
    assert_int_equal(b.n_asked, 0);
    assert_true(b.result.was_held_off);
    assert_non_null(strstr(b.result.detail, "leg access_token"));
    tokens_close(&t);
    bench_close(&b);
}

static void a_grant_is_refused_at_one_connection(void **state)
{
    (void)state;
    struct bench b;
    struct tokens t;
    bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
    tokens_open(&t);
    struct th_config_connection other = b.world.connection;
    other.name = TH_STR("other");
    const struct th_exchange_request request = {.agent = &b.world.agent,
                                                .connection = &other,
                                                .subject_token = th_buf_str(&t.subject),
                                                .deadline_ms = DEADLINE_MS};
    struct th_exchange ex = {.exchanger = b.exchanger,
                             .worker = b.worker,
                             .agent = request.agent,
                             .connection = request.connection,
                             .plan = th_plan_get(other.type)};
    th_plan_select(&other, &ex.legs);
    start(&b, t.subject.ptr);
    refuse(&b, "unauthorized_client");
    assert_false(th_refused_holds(&ex, 0));
    ex.connection = &b.world.connection;
    assert_true(th_refused_holds(&ex, 0));
    pass(&b, TH_REFUSED_REST_MS);
    start(&b, t.subject.ptr);
    refuse(&b, "invalid_client");
    ex.connection = &other;
    assert_true(th_refused_holds(&ex, 0));
    assert_true(th_refused_holds(&ex, 0));
    tokens_close(&t);
    bench_close(&b);
}

/* The server may speak of the user whom it was asked for: that is for nobody else. */
static void the_servers_words_are_for_the_first_alone(void **state)
{
    (void)state;
    struct bench b;
    struct tokens t;
    bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
    tokens_open(&t);
    start(&b, t.subject.ptr);
    answer(&b, 400, "{'error':'unauthorized_client','error_description':'not for alice'}");
    assert_non_null(strstr(b.result.detail, "not for alice"));
    forget_asked(&b);
    is_held_off(&b, "another.subject");
    assert_non_null(strstr(b.result.detail, "unauthorized_client: the grant type"));
    assert_null(strstr(b.result.detail, "alice"));
    tokens_close(&t);
    bench_close(&b);
}

static void the_list_is_bounded(void **state)
{
    (void)state;
    struct bench b;
    static struct th_config_agent agents[2 * TH_REFUSED_MAX];
    bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
    struct th_exchange ex = {.exchanger = b.exchanger,
                             .worker = b.worker,
                             .connection = &b.world.connection,
                             .plan = th_plan_get(b.world.connection.type)};
    th_plan_select(&b.world.connection, &ex.legs);
    (void)snprintf(ex.answer.oauth_error, sizeof ex.answer.oauth_error, "invalid_client");
    for (size_t i = 0; i < TH_COUNT_OF(agents); i++) {
        agents[i] = b.world.agent;
        ex.agent = &agents[i];
        pass(&b, 1);
        th_refused_note(&ex);
    }
    assert_int_equal(b.exchanger->refused.n, TH_REFUSED_MAX);
    for (size_t i = 0; i < TH_COUNT_OF(agents); i++) { /* the latest are kept */
        ex.agent = &agents[i];
        assert_int_equal(th_refused_holds(&ex, 0), i >= TH_REFUSED_MAX);
    }
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_asks_until_the_rest_is_over),
        cmocka_unit_test(the_first_leg_is_not_spent),
        cmocka_unit_test(a_grant_is_refused_at_one_connection),
        cmocka_unit_test(the_servers_words_are_for_the_first_alone),
        cmocka_unit_test(the_list_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
