/* What the table of plans promises to others. */
#include "test_support.h"
#include "tokenhop/base/check.h"
#include "tokenhop/config/load.h"
#include "tokenhop/oauth/plan.h"

static const enum th_resource_type types[] = {
    TH_TYPE_AGENT_TO_AGENT,  TH_TYPE_AUTHORIZATION_SERVER, TH_TYPE_SECRET,
    TH_TYPE_SERVICE_ACCOUNT, TH_TYPE_RESOURCE_SERVER,      TH_TYPE_TOKEN_EXCHANGE,
    TH_TYPE_ON_BEHALF_OF,    TH_TYPE_CLIENT_CREDENTIALS,   TH_TYPE_STATIC,
    TH_TYPE_PASSTHROUGH,
};

/* A parameter that a configuration may add is none that a request has anyway. */
static void no_parameter_can_be_added_again(void **state)
{
    (void)state;
    static const char *const of_clients[] = {"client_id", "client_secret", "client_assertion",
                                             "client_assertion_type"};
    for (size_t i = 0; i < TH_COUNT_OF(types); i++) {
        const struct th_plan *plan = th_plan_get(types[i]);
        for (size_t k = 0; k < plan->n_legs; k++) {
            for (size_t p = 0; p < plan->legs[k].n_parameters; p++)
                assert_false(th_config_may_send(th_str_of(plan->legs[k].parameters[p].name)));
        }
        for (size_t p = 0; plan->revocation != NULL && p < plan->revocation->n_parameters; p++)
            assert_false(th_config_may_send(th_str_of(plan->revocation->parameters[p].name)));
    }
    for (size_t i = 0; i < TH_COUNT_OF(of_clients); i++)
        assert_false(th_config_may_send(th_str_of(of_clients[i])));
    assert_false(th_config_may_send(TH_STR("GRANT_TYPE")));
    assert_true(th_config_may_send(TH_STR("organization")));
}

/* With everything on that may stand before the legs of a type, there is room, and the order is right. */
static void legs_are_chosen_by_the_connection(void **state)
{
    (void)state;
    static const struct th_config_client client = {.client_id = TH_STR("c")};
    static const struct {
        enum th_resource_type type;
        struct th_str requested, grant;
        bool begins, acts;
        const char *legs[TH_PLAN_LEGS_MAX + 1];
        size_t n_before;
    } cases[] = {
        {TH_TYPE_AGENT_TO_AGENT,
         TH_STR(""),
         TH_STR(""),
         false,
         false,
         {"id_jag", "access_token"},
         0},
        {TH_TYPE_AGENT_TO_AGENT,
         TH_STR("urn:jwt"),
         TH_STR(""),
         true,
         false,
         {"subject_token", "jwt_grant", "access_token"},
         1},
        {TH_TYPE_AUTHORIZATION_SERVER,
         TH_STR(""),
         TH_STR(""),
         true,
         false,
         {"subject_token", "id_jag", "access_token"},
         1},
        {TH_TYPE_SECRET, TH_STR(""), TH_STR(""), true, false, {"subject_token", "secret"}, 1},
        {TH_TYPE_TOKEN_EXCHANGE,
         TH_STR("urn:jwt"),
         TH_STR(""),
         true,
         true,
         {"subject_token", "actor_token", "exchanged_token"},
         2},
        {TH_TYPE_TOKEN_EXCHANGE,
         TH_STR(""),
         TH_STR("urn:x"),
         false,
         true,
         {"actor_token", "exchanged_token"},
         1},
        {TH_TYPE_ON_BEHALF_OF, TH_STR(""), TH_STR(""), false, false, {"on_behalf_of"}, 0},
        {TH_TYPE_CLIENT_CREDENTIALS,
         TH_STR(""),
         TH_STR(""),
         false,
         false,
         {"client_credentials"},
         0},
        {TH_TYPE_STATIC, TH_STR(""), TH_STR(""), false, false, {NULL}, 0},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        const struct th_config_connection connection = {
            .type = cases[i].type,
            .requested_token_type = cases[i].requested,
            .grant_type = cases[i].grant,
            .subject_client = cases[i].begins ? &client : NULL,
            .actor.source = cases[i].acts ? TH_ACTOR_CLIENT_CREDENTIALS : TH_ACTOR_NONE,
            .dpop = TH_DPOP_ALL_LEGS};
        struct th_plan_legs legs;
        th_plan_select(&connection, &legs);
        assert_int_equal(legs.n_before, cases[i].n_before);
        for (size_t k = 0; k < legs.n; k++) {
            assert_non_null(cases[i].legs[k]);
            assert_string_equal(legs.items[k]->name, cases[i].legs[k]);
            /* what is got for others to present is not bound to a key of the agent */
            assert_int_equal(th_plan_leg_bears_proof(&legs, k, &connection), k >= legs.n_before);
        }
        assert_null(cases[i].legs[legs.n]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_parameter_can_be_added_again),
        cmocka_unit_test(legs_are_chosen_by_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
