/* A connection in shadow that is not for the agent: to it nothing is there. */
#include "test_config.h"

#include "tokenhop/gate/gate.h"
#include "tokenhop/http/http1.h"
#include "tokenhop/token/broker.h"

static const char text[] = TEST_CONFIG(
    "\"connections\": [ { \"name\": \"seen\", \"url\": \"http://one.example.com/\","
    " \"type\": \"token_exchange\", \"agents\": [\"agent1\"], \"shadow\": \"policy\" },"
    " { \"name\": \"hidden\", \"url\": \"http://two.example.com/\","
    " \"type\": \"token_exchange\", \"agents\": [\"agent1\"], \"shadow\": \"policy\" },"
    " { \"name\": \"held\", \"url\": \"http://three.example.com/\","
    " \"type\": \"token_exchange\", \"agents\": [\"agent1\"] } ],"
    "\"unmatched\": [ { \"url\": \"http://one.example.com/\", \"action\": \"forward\" },"
    " { \"url\": \"http://three.example.com/\", \"action\": \"forward\" } ]");

static void decide(const struct th_config_view *view, const struct th_routes *routes,
                   const struct th_seen *seen, size_t agent, const char *request,
                   struct th_gate_decision *ret_decision)
{
    static struct th_field fields[8];
    static struct th_url url;
    struct th_head head = {.fields = fields, .max_fields = TH_COUNT_OF(fields)};
    const struct th_http1_limits limits = {8192, TH_COUNT_OF(fields)};
    size_t scanned = 0;

    assert_int_equal(th_http1_parse_request(&head, request, strlen(request), &scanned, &limits), 0);
    assert_int_equal(th_url_parse(head.target, &url), 0);
    th_gate_decide(view, routes, seen, &view->agents[agent], &head, &url, ret_decision);
}

#define REQUEST(host, token)                                                                       \
    "GET http://" host "/ HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer " token "\r\n\r\n"

static void for_other_agents_nothing_is_there(void **state)
{
    static const struct {
        const char *request;
        size_t agent;
        enum th_gate_action action;
        int error;
        bool is_beside, drops;
    } rows[] = {
        {REQUEST("one.example.com", "abc"), 0, TH_GATE_CREDENTIAL, 0, false, true},
        /* As `unmatched` has it, with its rule that no subject token leaves (R11). */
        {REQUEST("one.example.com", "abc"), 1, TH_GATE_FORWARD, 0, true, false},
        {REQUEST("one.example.com", "seen-before"), 1, TH_GATE_FORWARD, 0, true, true},
        /* Denied there; nothing is opened by shadow. */
        {REQUEST("two.example.com", "abc"), 1, TH_GATE_REFUSE, TH_E_DESTINATION_DENIED, false,
         false},
        /* Not in shadow: its agents are who may go there, whatever `unmatched` says. */
        {REQUEST("three.example.com", "abc"), 1, TH_GATE_REFUSE, TH_E_DESTINATION_DENIED, false,
         false},
    };
    struct th_config *config = test_config_load(text);
    const struct th_config_view *view = th_config_get(config);
    struct th_routes *routes;
    struct th_seen *seen;
    uint8_t digest[32];

    (void)state;
    assert_int_equal(th_routes_new(config, &routes), 0);
    assert_int_equal(th_seen_new(&seen), 0);
    th_broker_digest(TH_STR("seen-before"), digest);
    th_seen_add(seen, digest);
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct th_gate_decision decision;
        decide(view, routes, seen, rows[i].agent, rows[i].request, &decision);
        if (decision.action != rows[i].action || decision.error != rows[i].error ||
            (decision.beside != NULL) != rows[i].is_beside ||
            (decision.action != TH_GATE_REFUSE && decision.drop_authorization != rows[i].drops))
            fail_msg("row %zu: action %d, error %d", i, (int)decision.action, decision.error);
        if (rows[i].is_beside) {
            assert_true(th_str_equal(decision.beside->name, TH_STR("seen")));
            assert_null(decision.route.connection);
        }
    }
    th_seen_free(seen);
    th_routes_free(routes);
    th_config_unref(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(for_other_agents_nothing_is_there)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
