#include <stdlib.h>

#include "chain.h"
#include "test_support.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"

#define AUS2 TEST_BASE "/oauth2/aus2"
#define AUS4 TEST_BASE "/oauth2/aus4"
#define ACCESS TH_TYPE_ACCESS_TOKEN

/* A parameter of leg 1 that a row changes: NULL as is right, "" left out. */
struct exchange_row {
    const char *name;
    const char *parameter, *value;
    const char *error, *reason; /* NULL: granted */
};

static const char *value_of(const struct exchange_row *row, const char *parameter,
                            const char *right)
{
    if (row->parameter == NULL || strcmp(row->parameter, parameter) != 0)
        return right;
    return row->value[0] != '\0' ? row->value : NULL;
}

static char *exchange_body(struct test_world *world, enum th_world_client client,
                           const char *subject, const struct exchange_row *row)
{
    char *assertion = test_make_assertion(world, client, TEST_BASE "/oauth2/v1/token", NULL, NULL);
    char *body = test_make_body(
        "grant_type", TH_GRANT_EXCHANGE, "subject_token", subject, "subject_token_type",
        value_of(row, "subject_token_type", TH_TYPE_ID_TOKEN), "requested_token_type",
        value_of(row, "requested_token_type", TH_TYPE_ID_JAG), "audience",
        value_of(row, "audience", AUS2), "resource", value_of(row, "resource", TEST_URL_AGENT2),
        "scope", value_of(row, "scope", "chat.read"), "client_assertion_type", TH_ASSERTION_TYPE,
        "client_assertion", assertion, NULL);
    free(assertion);
    return body;
}

static struct th_idp_answer exchange(struct test_world *world, enum th_world_client client,
                                     const char *subject, const struct exchange_row *row)
{
    char *body = exchange_body(world, client, subject, row);
    struct th_idp_answer answer = test_post(world, TH_SERVER_ORG, body);
    free(body);
    return answer;
}

static const struct exchange_row exchanges[] = {
    {"right"},
    {"no requested type", "requested_token_type", "", "invalid_request", "requested_type"},
    {"requested type", "requested_token_type", ACCESS, "invalid_request", "requested_type"},
    {"no subject type", "subject_token_type", "", "invalid_request", "subject_type"},
    {"subject type", "subject_token_type", "jwt", "invalid_request", "subject_type"},
    {"the other type", "subject_token_type", ACCESS, "invalid_grant", "subject_issuer"},
    {"no audience", "audience", "", "invalid_request", "audience_missing"},
    {"audience with a slash", "audience", AUS2 "/", "invalid_target", "audience"},
    {"audience is an endpoint", "audience", AUS2 "/v1/token", "invalid_target", "audience"},
    {"audience not connected", "audience", TEST_BASE "/oauth2/aus1", "invalid_target", "audience"},
    {"no resource", "resource", "", "invalid_target", "resource_missing"},
    {"resource with a slash", "resource", TEST_URL_AGENT2 "/", "invalid_target", "resource"},
    {"another's resource", "resource", TEST_URL_AGENT3, "invalid_target", "resource"},
    {"no scope", "scope", "", "invalid_scope", "scope_missing"},
    {"scope with a plus", "scope", "chat.read+chat.history", "invalid_scope", "scope_malformed"},
    {"scope with a comma", "scope", "chat.read,chat.history", "unauthorized_client",
     "scope_not_allowed"},
    {"system scope", "scope", "chat.read profile", "invalid_scope", "scope_system"},
    {"scope beyond", "scope", "chat.read chat.drop", "unauthorized_client", "scope_not_allowed"},
    {"all scopes", "scope", "chat.read chat.history chat.admin"},
    {"resource at the API", "audience", AUS4, "invalid_target", "resource"},
};

static void checks_leg_1(void **state)
{
    struct test_world *world = *state;
    char *subject = test_make_id_token(world, NULL);
    for (size_t i = 0; i < TH_COUNT_OF(exchanges); i++) {
        const struct exchange_row *row = &exchanges[i];
        struct th_idp_answer answer = exchange(world, TH_CLIENT_AGENT1, subject, row);
        print_message("  %s\n", row->name);
        test_expect(&answer, row->error != NULL ? 400 : 200, row->error, row->reason);
    }
    free(subject);
}

static const struct subject_row {
    const char *name;
    bool access;
    const char *patch;
    const char *reason;
} subjects[] = {
    {"ID token", false, "{}", NULL},
    {"of the linked app", false, "{\"aud\":\"0oa3webappsandbox003\"}", NULL},
    {"of another agent", false, "{\"aud\":\"wlp2agentsandbox0002\"}", "subject_audience"},
    {"of two", false, "{\"aud\":[\"wlp1agentsandbox0001\",\"x\"]}", "subject_audience"},
    {"expires now", false, "{\"exp\":1790000000}", "subject_expired"},
    {"expires in a second", false, "{\"exp\":1790000001}", NULL},
    {"without exp", false, "{\"exp\":null}", "subject_expired"},
    {"foreign issuer", false, "{\"iss\":\"https://elsewhere.test\"}", "subject_issuer"},
    {"issuer with a slash", false, "{\"iss\":\"" TEST_BASE "/\"}", "subject_issuer"},
    {"issuer is not the signer", false, "{\"iss\":\"" AUS2 "\"}", "subject_signature"},
    {"unknown user", false, "{\"sub\":\"00u9\"}", "subject_unknown_user"},
    {"user who is not assigned", false, "{\"sub\":\"00u3carolsandbox0003\"}", "user_not_assigned"},
    {"access token", true, "{}", NULL},
    {"without cid, by actor", true, "{\"cid\":null,\"act\":{\"sub\":\"0oa1servicesandbox01\"}}",
     NULL},
    {"no client at all", true, "{\"cid\":null}", "no_delegation_link"},
    {"client without link", true, "{\"cid\":\"0oa2servicesandbox02\"}", "no_delegation_link"},
    {"cid is not the actor", true, "{\"act\":{\"sub\":\"wlp2agentsandbox0002\"}}", "subject_chain"},
    {"for another URL", true, "{\"aud\":\"" TEST_URL_AGENT1 "/\"}", "subject_audience"},
    {"for the client id", true, "{\"aud\":\"wlp1agentsandbox0001\"}", "subject_audience"},
};

static void checks_subjects(void **state)
{
    struct test_world *world = *state;
    for (size_t i = 0; i < TH_COUNT_OF(subjects); i++) {
        const struct subject_row *row = &subjects[i];
        const struct exchange_row typed = {"", "subject_token_type",
                                           row->access ? ACCESS : TH_TYPE_ID_TOKEN};
        char *subject = row->access ? test_make_access_token(world, row->patch)
                                    : test_make_id_token(world, row->patch);
        struct th_idp_answer answer = exchange(world, TH_CLIENT_AGENT1, subject, &typed);
        print_message("  %s\n", row->name);
        if (row->reason != NULL)
            test_expect(&answer, 400, "invalid_grant", row->reason);
        else
            test_expect(&answer, 200, NULL, NULL);
        free(subject);
    }
}

/* The ID-JAG for alice at agent2. */
static char *get_id_jag(struct test_world *world, const char *scope)
{
    char *subject = test_make_id_token(world, NULL);
    const struct exchange_row row = {"", "scope", scope};
    struct th_idp_answer answer = exchange(world, TH_CLIENT_AGENT1, subject, &row);
    const char *token = json_string_value(json_object_get(answer.body, "access_token"));
    assert_non_null(token);
    char *copy = strdup(token);
    th_idp_answer_fini(&answer);
    free(subject);
    return copy;
}

static struct th_idp_answer redeem(struct test_world *world, enum th_world_server server,
                                   enum th_world_client client, const char *id_jag,
                                   const char *scope)
{
    char *assertion =
        test_make_assertion(world, client, world->registry.servers[server].token_url, NULL, NULL);
    char *body = test_make_body("grant_type", TH_GRANT_JWT_BEARER, "assertion", id_jag, "scope",
                                scope, "client_assertion_type", TH_ASSERTION_TYPE,
                                "client_assertion", assertion, NULL);
    struct th_idp_answer answer = test_post(world, server, body);
    free(body);
    free(assertion);
    return answer;
}

static void redeems_once_in_time_by_its_client(void **state)
{
    struct test_world *world = *state;
    char *id_jag = get_id_jag(world, "chat.read");
    struct th_idp_answer answer = redeem(world, TH_SERVER_AUS2, TH_CLIENT_AGENT2, id_jag, NULL);
    test_expect(&answer, 400, "invalid_grant", "id_jag_client");
    answer = redeem(world, TH_SERVER_AUS3, TH_CLIENT_AGENT1, id_jag, NULL);
    test_expect(&answer, 400, "invalid_grant", "id_jag_audience");
    answer = redeem(world, TH_SERVER_AUS2, TH_CLIENT_AGENT1, id_jag, "chat.read");
    test_expect(&answer, 400, "invalid_scope", "second_leg_scope");
    th_clock_turn(&world->clock, 299000);
    answer = redeem(world, TH_SERVER_AUS2, TH_CLIENT_AGENT1, id_jag, NULL);
    test_expect(&answer, 200, NULL, NULL);
    answer = redeem(world, TH_SERVER_AUS2, TH_CLIENT_AGENT1, id_jag, NULL);
    test_expect(&answer, 400, "invalid_grant", "id_jag_used");
    th_clock_turn(&world->clock, 1000);
    answer = redeem(world, TH_SERVER_AUS2, TH_CLIENT_AGENT1, id_jag, NULL);
    test_expect(&answer, 400, "invalid_grant", "id_jag_expired");
    free(id_jag);
}

static void refuses_what_is_no_id_jag(void **state)
{
    struct test_world *world = *state;
    static const char agent1[] = "wlp1agentsandbox0001", typ[] = "oauth-id-jag+jwt";
    static const struct {
        enum th_world_server signer;
        const char *typ, *iss, *client_id, *aud, *reason;
    } cases[] = {
        {TH_SERVER_ORG, typ, TEST_BASE, agent1, AUS2, NULL},
        {TH_SERVER_ORG, "JWT", TEST_BASE, agent1, AUS2, "id_jag_typ"},
        {TH_SERVER_AUS2, typ, AUS2, agent1, AUS2, "id_jag_issuer"},
        {TH_SERVER_AUS2, typ, TEST_BASE, agent1, AUS2, "id_jag_signature"},
        {TH_SERVER_ORG, typ, TEST_BASE, "wlp2agentsandbox0002", AUS2, "id_jag_client"},
        {TH_SERVER_ORG, typ, TEST_BASE, agent1, TEST_BASE, "id_jag_audience"},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        char *token = test_make_token(
            world, cases[i].signer, cases[i].typ,
            json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:s}", "iss", cases[i].iss, "client_id",
                      cases[i].client_id, "aud", cases[i].aud, "sub", "00u1alicesandbox0001", "exp",
                      (json_int_t)(TEST_NOW_MS / 1000 + 60), "jti", "one", "scope", "chat.read"));
        struct th_idp_answer answer = redeem(world, TH_SERVER_AUS2, TH_CLIENT_AGENT1, token, NULL);
        if (cases[i].reason != NULL)
            test_expect(&answer, 400, "invalid_grant", cases[i].reason);
        else
            test_expect(&answer, 200, NULL, NULL);
        free(token);
    }
}

/* The chain grows by the agent at each exchange, and the sixth actor is refused. */
static void nests_the_chain_up_to_five(void **state)
{
    struct test_world *world = *state;
    const struct exchange_row typed = {"", "subject_token_type", ACCESS};
    json_t *act = NULL;
    for (int length = 1; length <= 6; length++) {
        json_t *longer = th_chain_extend(&world->registry.clients[TH_CLIENT_SERVICE], act);
        json_decref(act);
        act = longer;
        json_t *patch = json_pack("{s:O}", "act", act);
        char *text = json_dumps(patch, 0);
        char *subject = test_make_access_token(world, text);
        struct th_idp_answer answer = exchange(world, TH_CLIENT_AGENT1, subject, &typed);
        if (length < TH_MAX_CHAIN)
            test_expect(&answer, 200, NULL, NULL);
        else
            test_expect(&answer, 400, "invalid_subject_token_act_claim_depth", "chain_depth");
        free(subject);
        free(text);
        json_decref(patch);
    }
    json_decref(act);
}

static void issues_what_was_asked_for(void **state)
{
    struct test_world *world = *state;
    struct th_jwt jwt = {0};
    char *id_jag = get_id_jag(world, "chat.read chat.history");
    struct th_idp_answer answer = redeem(world, TH_SERVER_AUS2, TH_CLIENT_AGENT1, id_jag, NULL);
    const char *token = json_string_value(json_object_get(answer.body, "access_token"));
    assert_non_null(token);
    assert_int_equal(th_jwt_parse(th_str_of(token), &jwt), 0);
    assert_int_equal(th_jwt_verify(&jwt, world->registry.servers[TH_SERVER_AUS2].signing.key), 0);
    assert_string_equal(th_jwt_text(jwt.claims, "iss").ptr, AUS2);
    assert_string_equal(th_jwt_text(jwt.claims, "aud").ptr, TEST_URL_AGENT2);
    assert_string_equal(th_jwt_text(jwt.claims, "sub").ptr, "00u1alicesandbox0001");
    assert_string_equal(th_jwt_text(jwt.claims, "scope").ptr, "chat.read chat.history");
    const json_t *act = json_object_get(jwt.claims, "act");
    assert_int_equal(th_chain_length(act), 1);
    assert_true(th_chain_contains(act, "wlp1agentsandbox0001"));
    assert_int_equal(th_jwt_time_ms(jwt.claims, "exp"), TEST_NOW_MS + 3600 * 1000);
    th_jwt_fini(&jwt);
    th_idp_answer_fini(&answer);
    free(id_jag);
}

/* Each allocation of leg 1 fails once: it is an error or the grant, never both, and nothing leaks. Goes
 * through once where the build cannot make allocations fail. */
static void survives_want_of_memory(void **state)
{
    struct test_world *world = *state;
    const struct exchange_row right = {"right"};
    char *subject = test_make_id_token(world, NULL);
    bool granted = false;
    for (unsigned long nth = 1; nth < 1000 && !granted; nth++) {
        char *body = exchange_body(world, TH_CLIENT_AGENT1, subject, &right);
        th_idp_reset(&world->idp);
        th_mem_fail_after(nth, 1);
        struct th_idp_answer answer = test_post(world, TH_SERVER_ORG, body);
        granted = th_mem_count() < nth;
        th_mem_fail_after(0, 0);
        bool has_token = json_object_get(answer.body, "access_token") != NULL;
        assert_true(has_token == (answer.reason == NULL));
        assert_true(has_token == (answer.status == 200));
        assert_true(has_token || !granted);
        th_idp_answer_fini(&answer);
        free(body);
    }
    assert_true(granted);
    free(subject);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(checks_leg_1, test_world_reset),
        cmocka_unit_test_setup(checks_subjects, test_world_reset),
        cmocka_unit_test_setup(redeems_once_in_time_by_its_client, test_world_reset),
        cmocka_unit_test_setup(refuses_what_is_no_id_jag, test_world_reset),
        cmocka_unit_test_setup(nests_the_chain_up_to_five, test_world_reset),
        cmocka_unit_test_setup(issues_what_was_asked_for, test_world_reset),
        cmocka_unit_test_setup(survives_want_of_memory, test_world_reset),
    };
    return cmocka_run_group_tests(tests, test_world_setup, test_world_teardown);
}
