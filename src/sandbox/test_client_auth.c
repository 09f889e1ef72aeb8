#include <stdlib.h>

#include "test_support.h"
#include "tokenhop/base/check.h"

#define TOKEN_URL TEST_BASE "/oauth2/v1/token"

/* A request that is right but for the assertion: granted when that is right too. */
static struct th_idp_answer post_with(struct test_world *world, const char *assertion,
                                      const char *client_id)
{
    char *subject = test_make_id_token(world, NULL);
    char *body = test_make_body(
        "grant_type", TH_GRANT_EXCHANGE, "subject_token", subject, "subject_token_type",
        TH_TYPE_ID_TOKEN, "requested_token_type", TH_TYPE_ID_JAG, "audience",
        TEST_BASE "/oauth2/aus2", "resource", TEST_URL_AGENT2, "scope", "chat.read", "client_id",
        client_id, "client_assertion_type", TH_ASSERTION_TYPE, "client_assertion", assertion, NULL);
    struct th_idp_answer answer = test_post(world, TH_SERVER_ORG, body);
    free(body);
    free(subject);
    return answer;
}

/* The clock stands at 1790000000. */
static const struct assertion_row {
    const char *name;
    const char *patch;
    const char *reason; /* NULL: granted */
} rows[] = {
    {"right", "{}", NULL},
    {"typ JWT", "{\"header\":{\"typ\":\"JWT\"}}", NULL},
    {"typ jwt", "{\"header\":{\"typ\":\"jwt\"}}", NULL},
    {"typ of rfc7523bis", "{\"header\":{\"typ\":\"client-authentication+jwt\"}}", NULL},
    {"typ of an ID-JAG", "{\"header\":{\"typ\":\"oauth-id-jag+jwt\"}}", "assertion_typ"},
    {"kid unknown", "{\"header\":{\"kid\":\"k9\"}}", "assertion_kid_unknown"},
    {"kid of the other key", "{\"header\":{\"kid\":\"k2\"}}", "assertion_signature"},
    {"iss differs", "{\"claims\":{\"iss\":\"x\"}}", "assertion_iss_sub"},
    {"iss missing", "{\"claims\":{\"iss\":null}}", "assertion_iss_sub"},
    {"sub unknown", "{\"claims\":{\"sub\":\"x\"}}", "client_unknown"},
    {"sub missing", "{\"claims\":{\"sub\":null}}", "client_unknown"},
    {"sub of another", "{\"claims\":{\"sub\":\"wlp2agentsandbox0002\"}}", "assertion_signature"},
    {"aud is the issuer", "{\"claims\":{\"aud\":\"" TEST_BASE "\"}}", "assertion_aud"},
    {"aud is a list", "{\"claims\":{\"aud\":[\"" TOKEN_URL "\"]}}", "assertion_aud"},
    {"aud in capitals", "{\"claims\":{\"aud\":\"HTTPS://idp.test/oauth2/v1/token\"}}",
     "assertion_aud"},
    {"aud missing", "{\"claims\":{\"aud\":null}}", "assertion_aud"},
    {"exp is now", "{\"claims\":{\"exp\":1790000000}}", "assertion_expired"},
    {"exp in a second", "{\"claims\":{\"exp\":1790000001}}", NULL},
    {"exp in an hour", "{\"claims\":{\"exp\":1790003600}}", NULL},
    {"exp in more than an hour", "{\"claims\":{\"exp\":1790003601}}", "assertion_exp_far"},
    {"exp in milliseconds", "{\"claims\":{\"exp\":1790000060000}}", "assertion_exp_far"},
    {"exp is text", "{\"claims\":{\"exp\":\"1790000060\"}}", "assertion_exp_missing"},
    {"exp missing", "{\"claims\":{\"exp\":null}}", "assertion_exp_missing"},
    {"iat is now", "{\"claims\":{\"iat\":1790000000}}", NULL},
    {"iat missing", "{\"claims\":{\"iat\":null}}", NULL},
    {"iat ahead", "{\"claims\":{\"iat\":1790000001}}", "assertion_iat"},
    {"iat is text", "{\"claims\":{\"iat\":\"now\"}}", "assertion_iat"},
    {"nbf ahead", "{\"claims\":{\"nbf\":1790000001}}", "assertion_nbf"},
    {"jti missing", "{\"claims\":{\"jti\":null}}", "assertion_jti"},
    {"jti empty", "{\"claims\":{\"jti\":\"\"}}", "assertion_jti"},
};

static void checks_every_part(void **state)
{
    struct test_world *world = *state;
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        char *assertion =
            test_make_assertion(world, TH_CLIENT_AGENT1, TOKEN_URL, rows[i].patch, NULL);
        struct th_idp_answer answer = post_with(world, assertion, NULL);
        print_message("  %s\n", rows[i].name);
        if (rows[i].reason != NULL)
            test_expect(&answer, 401, "invalid_client", rows[i].reason);
        else
            test_expect(&answer, 200, NULL, NULL);
        free(assertion);
    }
}

static void wants_the_registered_key(void **state)
{
    struct test_world *world = *state;
    const struct th_registry *registry = &world->registry;
    const struct th_key *others[] = {registry->clients[TH_CLIENT_AGENT2].keys[0].key,
                                     registry->stranger.key,
                                     registry->servers[TH_SERVER_ORG].signing.key};
    for (size_t i = 0; i < TH_COUNT_OF(others); i++) {
        char *assertion = test_make_assertion(world, TH_CLIENT_AGENT1, TOKEN_URL, NULL, others[i]);
        struct th_idp_answer answer = post_with(world, assertion, NULL);
        test_expect(&answer, 401, "invalid_client", "assertion_signature");
        free(assertion);
    }
    assert_int_equal(th_ledger_count(&world->idp.assertions), 0);
}

static void wants_the_same_client_id(void **state)
{
    struct test_world *world = *state;
    char *assertion = test_make_assertion(world, TH_CLIENT_AGENT1, TOKEN_URL, NULL, NULL);
    struct th_idp_answer answer = post_with(world, assertion, "wlp2agentsandbox0002");
    test_expect(&answer, 401, "invalid_client", "assertion_client_id");
    answer = post_with(world, assertion, "wlp1agentsandbox0001");
    test_expect(&answer, 200, NULL, NULL);
    free(assertion);
}

/* Seen until it expires, and expired from then on: never good twice. */
static void refuses_a_replay_for_good(void **state)
{
    struct test_world *world = *state;
    char *assertion = test_make_assertion(world, TH_CLIENT_AGENT1, TOKEN_URL, NULL, NULL);
    struct th_idp_answer answer = post_with(world, assertion, NULL);
    test_expect(&answer, 200, NULL, NULL);
    answer = post_with(world, assertion, NULL);
    test_expect(&answer, 401, "invalid_client", "assertion_replayed");
    th_clock_turn(&world->clock, 59999);
    answer = post_with(world, assertion, NULL);
    test_expect(&answer, 401, "invalid_client", "assertion_replayed");
    th_clock_turn(&world->clock, 1);
    answer = post_with(world, assertion, NULL);
    test_expect(&answer, 401, "invalid_client", "assertion_expired");
    free(assertion);
}

static void takes_no_jti_only_when_told(void **state)
{
    struct test_world *world = *state;
    char *assertion = test_make_assertion(world, TH_CLIENT_AGENT1, TOKEN_URL,
                                          "{\"claims\":{\"jti\":null}}", NULL);
    world->idp.settings.jti_required = 0;
    struct th_idp_answer answer = post_with(world, assertion, NULL);
    test_expect(&answer, 200, NULL, NULL);
    free(assertion);
}

/* To forget a jti that still lives would let it be replayed. */
static void refuses_when_it_cannot_remember(void **state)
{
    struct test_world *world = *state;
    size_t max = world->idp.assertions.max;
    char *first = test_make_assertion(world, TH_CLIENT_AGENT1, TOKEN_URL, NULL, NULL);
    char *second =
        test_make_assertion(world, TH_CLIENT_AGENT1, TOKEN_URL,
                            "{\"claims\":{\"jti\":\"second\",\"exp\":1790000120}}", NULL);
    world->idp.assertions.max = 1;
    struct th_idp_answer answer = post_with(world, first, NULL);
    test_expect(&answer, 200, NULL, NULL);
    answer = post_with(world, second, NULL);
    test_expect(&answer, 503, "temporarily_unavailable", "overloaded");
    th_clock_turn(&world->clock, 60000);
    answer = post_with(world, second, NULL);
    test_expect(&answer, 200, NULL, NULL);
    world->idp.assertions.max = max;
    free(first);
    free(second);
}

static void limits_a_client_by_the_minute(void **state)
{
    struct test_world *world = *state;
    world->idp.settings.rate_limit = 2;
    for (int i = 0; i < 4; i++) {
        char *assertion = test_make_assertion(world, TH_CLIENT_AGENT1, TOKEN_URL, NULL, NULL);
        struct th_idp_answer answer = post_with(world, assertion, NULL);
        if (i == 2) {
            test_expect(&answer, 429, "too_many_requests", "rate_limit");
            th_clock_turn(&world->clock, 60000);
        } else {
            test_expect(&answer, 200, NULL, NULL);
        }
        free(assertion);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(checks_every_part, test_world_reset),
        cmocka_unit_test_setup(wants_the_registered_key, test_world_reset),
        cmocka_unit_test_setup(wants_the_same_client_id, test_world_reset),
        cmocka_unit_test_setup(refuses_a_replay_for_good, test_world_reset),
        cmocka_unit_test_setup(takes_no_jti_only_when_told, test_world_reset),
        cmocka_unit_test_setup(refuses_when_it_cannot_remember, test_world_reset),
        cmocka_unit_test_setup(limits_a_client_by_the_minute, test_world_reset),
    };
    return cmocka_run_group_tests(tests, test_world_setup, test_world_teardown);
}
