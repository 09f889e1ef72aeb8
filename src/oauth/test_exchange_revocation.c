#include <stdlib.h>

#include "test_bench.h"
#include "tokenhop/base/check.h"

#define ORG_REVOKE ORG "/oauth2/v1/revoke"
#define CUSTOM_REVOKE CUSTOM "/v1/revoke"

static void open_revoking(struct bench *b, enum th_resource_type type)
{
    bench_open(b, ES256_KEY, TH_ALG_ES256, NULL);
    b->world.org.revocation_endpoint = TH_STR(ORG_REVOKE);
    b->world.custom.revocation_endpoint = TH_STR(CUSTOM_REVOKE);
    b->world.connection.type = type;
    if (type == TH_TYPE_RESOURCE_SERVER)
        b->world.connection.server = NULL;
}

static void on_revoked(void *arg, const struct th_exchange_result *result)
{
    struct bench *b = arg;
    b->n_ends++;
    b->exchange = NULL;
    b->result = *result;
    assert_null(result->token);
    assert_null(result->values);
}

static void revoke(struct bench *b, const char *token)
{
    const struct th_exchange_request request = {
        .agent = &b->world.agent,
        .connection = &b->world.connection,
        .rejected_token = th_str_of(token),
        .deadline_ms = th_clock_monotonic_ms(&b->clock) + DEADLINE_MS,
    };
    struct th_errinfo err = {0};
    unsigned before = b->n_ends;
    assert_int_equal(th_exchange_revoke(b->exchanger, &request, on_revoked, b, &b->exchange, &err),
                     0);
    assert_int_equal(b->n_ends, before);
}

static void each_is_revoked_where_it_was_issued(void **state)
{
    (void)state;
    static const struct {
        enum th_resource_type type;
        const char *url, *hint;
    } cases[] = {
        {TH_TYPE_AGENT_TO_AGENT, CUSTOM_REVOKE, "access_token"},
        {TH_TYPE_AUTHORIZATION_SERVER, CUSTOM_REVOKE, "access_token"},
        {TH_TYPE_RESOURCE_SERVER, ORG_REVOKE, "oauth_sts"},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct bench b;
        open_revoking(&b, cases[i].type);
        revoke(&b, "eyJ.of.T3");
        assert_int_equal(b.n_asked, 1);
        assert_string_equal(b.asked[0].url, cases[i].url);
        assert_int_equal(b.asked[0].timeout_ms, DEADLINE_MS);
        assert_int_equal(n_fields(&b, 0), 4);
        assert_field(&b, 0, "token", "eyJ.of.T3");
        assert_field(&b, 0, "token_type_hint", cases[i].hint);
        free(check_assertion(&b, 0, cases[i].url, ES256_KEY));
        answer(&b, 200, "%s", "");
        assert_int_equal(b.n_ends, 1);
        assert_int_equal(b.result.error, 0);
        assert_int_equal(b.result.n_legs, 1);
        assert_string_equal(b.result.legs[0].name, "revocation");
        assert_int_equal(b.result.legs[0].status, 200);
        assert_int_equal(b.n_asked, 1); /* no leg follows */
        bench_close(&b);
    }
}

static void vaulted_ones_have_no_revocation(void **state)
{
    (void)state;
    assert_null(th_plan_get(TH_TYPE_SECRET)->revocation);
    assert_null(th_plan_get(TH_TYPE_SERVICE_ACCOUNT)->revocation);
}

static void what_the_server_says_is_told(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
        int error;
        const char *oauth_error, *detail;
    } cases[] = {
        {200, "{'error':'invalid_token'}", 0, "", ""},
        {200, "<html>", 0, "", ""},
        {204, "", TH_E_EXCHANGE_FAILED, "", "status 204"},
        {400, "{'error':'unsupported_token_type'}", TH_E_EXCHANGE_REQUEST, "unsupported_token_type",
         "tokens of this type"},
        {401, "{'error':'invalid_client'}", TH_E_EXCHANGE_CLIENT, "invalid_client",
         "agent's own authentication"},
        {404, "", TH_E_EXCHANGE_FAILED, "", "status 404"},
        {503, "", TH_E_EXCHANGE_DOWN, "", "status 503"},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct bench b;
        open_revoking(&b, TH_TYPE_AGENT_TO_AGENT);
        revoke(&b, "T3");
        answer(&b, cases[i].status, "%s", cases[i].body);
        assert_int_equal(b.n_ends, 1);
        assert_int_equal(b.result.error, cases[i].error);
        assert_string_equal(b.result.oauth_error, cases[i].oauth_error);
        assert_non_null(strstr(b.result.detail, cases[i].detail));
        if (cases[i].error != 0)
            assert_non_null(strstr(b.result.detail, "leg revocation at authorization server "
                                                    "\"custom\""));
        bench_close(&b);
    }
}

/* Who may not revoke may still exchange. */
static void a_refusal_to_revoke_holds_no_exchange_off(void **state)
{
    (void)state;
    static const char *const errors[] = {"invalid_client", "unauthorized_client"};
    for (size_t i = 0; i < TH_COUNT_OF(errors); i++) {
        struct bench b;
        struct tokens t;
        open_revoking(&b, TH_TYPE_AGENT_TO_AGENT);
        tokens_open(&t);
        revoke(&b, "T3");
        answer(&b, 401, "{'error':'%s'}", errors[i]);
        assert_int_equal(b.result.error, TH_E_EXCHANGE_CLIENT);
        forget_asked(&b);
        start(&b, t.subject.ptr);
        assert_non_null(b.exchange);
        assert_int_equal(b.n_asked, 1);
        tokens_close(&t);
        bench_close(&b);
    }
}

static void it_is_told_when_to_come_back(void **state)
{
    (void)state;
    struct bench b;
    open_revoking(&b, TH_TYPE_AGENT_TO_AGENT);
    revoke(&b, "T3");
    const struct th_fetch_response response = {
        .status = 503, .retry_after_ms = 2000, .rate_limit_reset_ms = -1, .fresh_ms = -1};
    answer_raw(&b, &response);
    assert_int_equal(b.result.error, TH_E_EXCHANGE_DOWN);
    assert_int_equal(b.result.retry_after_ms, 2000);
    bench_close(&b);
}

static void r12_unanswered_it_is_asked_once_more_with_a_new_assertion(void **state)
{
    (void)state;
    struct bench b;
    open_revoking(&b, TH_TYPE_AGENT_TO_AGENT);
    revoke(&b, "T3");
    char *first = check_assertion(&b, 0, CUSTOM_REVOKE, ES256_KEY);
    break_off(&b, TH_E_EXCHANGE_DOWN);
    assert_int_equal(b.n_asked, 2);
    assert_field(&b, 1, "token", "T3");
    char *second = check_assertion(&b, 1, CUSTOM_REVOKE, ES256_KEY);
    assert_string_not_equal(first, second);
    free(first);
    free(second);
    break_off(&b, TH_E_EXCHANGE_DOWN);
    assert_int_equal(b.n_asked, 2);
    assert_int_equal(b.n_ends, 1);
    assert_int_equal(b.result.error, TH_E_EXCHANGE_DOWN);
    bench_close(&b);
}

static void r22_a_server_that_hangs_is_given_up_at_the_deadline(void **state)
{
    (void)state;
    struct bench b;
    open_revoking(&b, TH_TYPE_AGENT_TO_AGENT);
    revoke(&b, "T3");
    pass(&b, DEADLINE_MS - 1);
    assert_int_equal(b.n_ends, 0);
    pass(&b, 2 * TH_WHEEL_TICK_MS);
    assert_int_equal(b.n_ends, 1);
    assert_int_equal(b.n_cancelled, 1);
    assert_int_equal(b.result.error, TH_E_EXCHANGE_TIMEOUT);
    bench_close(&b);
}

/* Neither way: the revocation endpoint is another. */
static void breakers_have_no_part_in_it(void **state)
{
    (void)state;
    struct bench b;
    struct tokens t;
    open_revoking(&b, TH_TYPE_AGENT_TO_AGENT);
    tokens_open(&t);
    for (int i = 0; i < 2 * TH_BREAKER_FAILURES; i++) {
        revoke(&b, "T3");
        answer(&b, 503, "%s", "");
        forget_asked(&b);
    }
    start(&b, t.subject.ptr); /* goes through */
    assert_int_equal(b.n_asked, 1);
    for (int i = 0;; i++) {
        answer(&b, 503, "%s", "");
        start(&b, t.subject.ptr);
        if (b.fn == NULL)
            break; /* held off from now on */
        forget_asked(&b);
        assert_true(i < TH_BREAKER_FAILURES);
    }
    settle(&b);
    assert_true(b.result.was_held_off);
    forget_asked(&b);
    revoke(&b, "T3");
    assert_int_equal(b.n_asked, 1);
    answer(&b, 200, "%s", "");
    assert_int_equal(b.result.error, 0);
    start(&b, t.subject.ptr); /* and no word for the token endpoint either */
    settle(&b);
    assert_true(b.result.was_held_off);
    tokens_close(&t);
    bench_close(&b);
}

static void the_endpoint_is_in_the_metadata(void **state)
{
    (void)state;
    static const struct {
        const char *member;
        bool has;
    } cases[] = {{",'revocation_endpoint':'" CUSTOM "/bye'", true}, {"", false}};
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct bench b;
        open_revoking(&b, TH_TYPE_AGENT_TO_AGENT);
        b.world.custom.revocation_endpoint = TH_STR_NONE; /* though the token endpoint is known */
        revoke(&b, "T3");
        assert_int_equal(b.n_asked, 1);
        assert_null(b.asked[0].body);
        answer(&b, 200, "{'issuer':'" CUSTOM "','token_endpoint':'" CUSTOM_TOKEN "'%s}",
               cases[i].member);
        if (cases[i].has) {
            assert_int_equal(b.n_asked, 2);
            assert_string_equal(b.asked[1].url, CUSTOM "/bye");
            free(check_assertion(&b, 1, CUSTOM "/bye", ES256_KEY));
            answer(&b, 200, "%s", "");
        }
        assert_int_equal(b.n_ends, 1);
        assert_int_equal(b.result.error, cases[i].has ? 0 : TH_E_EXCHANGE_FAILED);
        if (!cases[i].has)
            assert_non_null(strstr(b.result.detail, "revocation endpoint"));
        bench_close(&b);
    }
}

static void the_agents_other_key_is_tried(void **state)
{
    (void)state;
    struct bench b;
    open_revoking(&b, TH_TYPE_AGENT_TO_AGENT);
    struct th_config_auth next = b.world.agent.auth;
    next.kid = TH_STR("k2");
    next.key = th_secret_new(ES256_KEY, strlen(ES256_KEY));
    b.world.agent.auth.next = &next;
    revoke(&b, "T3");
    answer(&b, 401, "{'error':'invalid_client'}");
    assert_int_equal(b.n_asked, 2);
    assert_field(&b, 1, "token", "T3");
    answer(&b, 200, "%s", "");
    assert_int_equal(b.result.error, 0);
    /* The server's word on the key is kept. */
    assert_ptr_equal(th_exchanger_preferred_auth(b.exchanger, &b.world.agent.auth), &next);
    th_secret_unref(next.key);
    bench_close(&b);
}

static void cancelled_it_says_nothing_more(void **state)
{
    (void)state;
    struct bench b;
    open_revoking(&b, TH_TYPE_AGENT_TO_AGENT);
    revoke(&b, "T3");
    th_exchange_cancel(b.exchange);
    assert_int_equal(b.n_cancelled, 1);
    pass(&b, 60000);
    assert_int_equal(b.n_ends, 0);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_revoked_where_it_was_issued),
        cmocka_unit_test(vaulted_ones_have_no_revocation),
        cmocka_unit_test(what_the_server_says_is_told),
        cmocka_unit_test(a_refusal_to_revoke_holds_no_exchange_off),
        cmocka_unit_test(it_is_told_when_to_come_back),
        cmocka_unit_test(r12_unanswered_it_is_asked_once_more_with_a_new_assertion),
        cmocka_unit_test(r22_a_server_that_hangs_is_given_up_at_the_deadline),
        cmocka_unit_test(breakers_have_no_part_in_it),
        cmocka_unit_test(the_endpoint_is_in_the_metadata),
        cmocka_unit_test(the_agents_other_key_is_tried),
        cmocka_unit_test(cancelled_it_says_nothing_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
