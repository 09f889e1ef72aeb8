#include "test_config.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/base/check.h"
#include "tokenhop/gate/gate.h"
#include "tokenhop/http/http1.h"
#include "tokenhop/token/broker.h"

/* A row a connection: what differs. The rest is the same for all. */
static const struct {
    const char *name, *url, *more;
} connections[] = {
    {"root", "\"http://one.example.com/\"", ""},
    {"a2a", "\"http://one.example.com/a2a/\"", ""},
    {"deep", "\"http://one.example.com/a2a/deep\"", ""},
    {"port", "\"http://one.example.com:8080/x\"", ""},
    {"secure", "\"https://two.example.com/api\"", ""},
    {"secure-port", "\"https://two.example.com:8443/\"", ""},
    {"wild", "\"http://*.wild.example.com/\"", ""},
    {"exact", "\"http://x.wild.example.com/only\"", ""},
    {"both", "[\"http://three.example.com/a\", \"https://three.example.com/a/b\"]", ""},
    {"six", "[\"http://six.example.com/s\", \"https://six.example.com/s\"]", ""},
    {"card", "\"http://four.example.com/a2a/\"", ""},
    {"open", "\"http://five.example.com/a/\"",
     ", \"without_subject\": \"forward\", \"public\": [\"/a/free\"]"},
    {"mixed", "\"http://mixed.example.com/a/\"", ", \"public\": [\"/card\"]"},
};

static const char unmatched[] =
    "\"unmatched\": [ { \"url\": \"http://free.example.org/\", \"action\": \"forward\" },"
    "{ \"url\": \"http://mixed.example.com/\", \"action\": \"forward\" },"
    "{ \"url\": \"http://free.example.org/no/\", \"action\": \"deny\" } ]";

static struct th_config *load(void)
{
    struct th_buf text;

    th_buf_init(&text, 64 * 1024);
    th_buf_add_str(&text, TH_STR(TEST_CONFIG_BEGIN "\"connections\": ["));
    for (size_t i = 0; i < TH_COUNT_OF(connections); i++)
        th_buf_printf(&text,
                      "%s{ \"name\": \"%s\", \"url\": %s, \"type\": \"agent_to_agent\","
                      " \"agents\": [\"agent1\"], \"authorization_server\": \"custom\","
                      " \"resource\": \"https://r.example.com\", \"scopes\": [\"a.b\"]%s }",
                      i > 0 ? "," : "", connections[i].name, connections[i].url,
                      connections[i].more);
    th_buf_printf(&text, "], %s }", unmatched);
    assert_false(text.failed);
    struct th_config *config = test_config_load(text.ptr);
    th_buf_fini(&text);
    return config;
}

struct fixture {
    struct th_config *config;
    const struct th_config_view *view;
    struct th_routes *routes;
    struct th_seen *seen;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    f->config = load();
    f->view = th_config_get(f->config);
    assert_int_equal(th_routes_new(f->config, &f->routes), 0);
    assert_int_equal(th_seen_new(&f->seen), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    th_seen_free(f->seen);
    th_routes_free(f->routes);
    th_config_unref(f->config);
    free(f);
    return 0;
}

/* Of all patterns, whatever the URL: one has won if any was found, and nothing else is said to match when
 * none was. */
static void check_verdicts(struct fixture *f, const struct th_url *url, enum th_route_result result,
                           const struct th_config_pattern *winner)
{
    size_t won = 0;

    for (size_t c = 0; c < f->view->n_connections; c++)
        for (size_t p = 0; p < f->view->connections[c].n_patterns; p++) {
            enum th_route_verdict verdict =
                th_route_judge(&f->view->connections[c].patterns[p], url, winner);
            won += verdict == TH_ROUTE_WON;
            assert_true(result == TH_ROUTE_FOUND || verdict < TH_ROUTE_WILDCARD);
            assert_true(result != TH_ROUTE_NONE || verdict != TH_ROUTE_OTHER_PATH);
        }
    assert_int_equal(won, result == TH_ROUTE_FOUND);
}

static void r9_the_most_specific_pattern_wins(void **state)
{
    static const struct {
        const char *url;
        const char *connection; /* NULL: none */
        enum th_route_result result;
    } cases[] = {
        {"http://one.example.com/", "root", TH_ROUTE_FOUND},
        {"http://one.example.com", "root", TH_ROUTE_FOUND},
        {"http://one.example.com:80/x", "root", TH_ROUTE_FOUND},
        {"http://ONE.example.COM/a2a/x", "a2a", TH_ROUTE_FOUND},
        {"http://one.example.com/a2a", "a2a", TH_ROUTE_FOUND},
        {"http://one.example.com/a2a?q=/a2a/deep", "a2a", TH_ROUTE_FOUND},
        {"http://one.example.com/a2ab", "root", TH_ROUTE_FOUND},
        {"http://one.example.com/A2A/", "root", TH_ROUTE_FOUND},
        {"http://one.example.com/a2a/deep", "deep", TH_ROUTE_FOUND},
        {"http://one.example.com/a2a/deep/er", "deep", TH_ROUTE_FOUND},
        {"http://one.example.com/a2a/deeper", "a2a", TH_ROUTE_FOUND},
        {"http://one.example.com:8080/x/y", "port", TH_ROUTE_FOUND},
        {"http://one.example.com:8080/y", NULL, TH_ROUTE_NO_PATH},
        {"http://one.example.com:8081/x", NULL, TH_ROUTE_NONE},
        {"https://one.example.com/", NULL, TH_ROUTE_NONE},
        {"https://one.example.com:8080/x/y", NULL, TH_ROUTE_NONE}, /* never down to cleartext */
        {"https://one.example.com:80/", NULL, TH_ROUTE_NONE},
        {"http://two.example.com/api/x", "secure", TH_ROUTE_FOUND}, /* carried over TLS */
        {"https://two.example.com/api/x", "secure", TH_ROUTE_FOUND},
        {"http://two.example.com:443/api/x", "secure", TH_ROUTE_FOUND},
        {"http://two.example.com:8443/", "secure-port", TH_ROUTE_FOUND},
        {"http://y.wild.example.com/", "wild", TH_ROUTE_FOUND},
        {"http://x.wild.example.com/only", "exact", TH_ROUTE_FOUND},
        {"http://x.wild.example.com/other", "wild", TH_ROUTE_FOUND},
        {"http://a.b.wild.example.com/", NULL, TH_ROUTE_NONE},
        {"http://wild.example.com/", NULL, TH_ROUTE_NONE},
        {"http://three.example.com/a/x", "both", TH_ROUTE_FOUND},
        {"http://nowhere.example.com/", NULL, TH_ROUTE_NONE},
        {"http://10.1.2.3/", NULL, TH_ROUTE_NONE},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_url url;
        struct th_route route = {0};
        assert_int_equal(th_url_parse(th_str_of(cases[i].url), &url), 0);
        enum th_route_result result = th_route_find(f->routes, &url, &f->view->agents[0], &route);
        if (result != cases[i].result)
            fail_msg("%s: result %d", cases[i].url, result);
        if (cases[i].connection != NULL &&
            !th_str_equal(route.connection->name, th_str_of(cases[i].connection)))
            fail_msg("%s: connection %.*s", cases[i].url, TH_STR_ARGS(route.connection->name));
        check_verdicts(f, &url, result, route.pattern);
    }
}

static void r9_the_origin_decodes_the_path(void **state)
{
    static const struct {
        const char *url;
        bool depends;
    } cases[] = {
        {"http://one.example.com/a2a/x", false},
        {"http://one.example.com/%61%32a/x", true},
        {"http://one.example.com/a2a%62", false},
        {"http://one.example.com/a2a/%64eep", true},
        {"http://one.example.com/x/%61", false},
        {"http://one.example.com/%612a", true},
        {"http://x.wild.example.com/onl%79", true},
        {"http://two.example.com/%61pi/x", true}, /* carried over TLS */
        {"http://nowhere.example.com/%61", false},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_url url;
        assert_int_equal(th_url_parse(th_str_of(cases[i].url), &url), 0);
        if (th_route_depends_on_encoding(f->routes, &url) != cases[i].depends)
            fail_msg("%s", cases[i].url);
    }
}

static void why_a_pattern_lost(void **state)
{
    static const struct {
        const char *url;
        const char *pattern;
        enum th_route_verdict verdict;
    } cases[] = {
        {"http://one.example.com/a2a/deep/x", "http://one.example.com/a2a/deep", TH_ROUTE_WON},
        {"http://one.example.com/a2a/deep/x", "http://one.example.com/a2a/", TH_ROUTE_SHORTER_PATH},
        {"http://one.example.com/a2a/deep/x", "http://one.example.com/", TH_ROUTE_SHORTER_PATH},
        {"http://one.example.com/a2a/deep/x", "http://one.example.com:8080/x", TH_ROUTE_OTHER_PORT},
        {"http://one.example.com/a2a/deep/x", "https://two.example.com/api", TH_ROUTE_OTHER_HOST},
        {"http://one.example.com/a2a", "http://one.example.com/a2a/deep", TH_ROUTE_OTHER_PATH},
        {"https://one.example.com/a2a", "http://one.example.com/a2a/", TH_ROUTE_CLEARTEXT_ONLY},
        {"http://two.example.com/api", "https://two.example.com:8443/", TH_ROUTE_OTHER_PORT},
        {"http://two.example.com:8443/api", "https://two.example.com:8443/", TH_ROUTE_WON},
        {"http://two.example.com:8443/api", "https://two.example.com/api", TH_ROUTE_OTHER_PORT},
        {"http://two.example.com:443/api", "https://two.example.com/api", TH_ROUTE_WON},
        {"http://x.wild.example.com/only", "http://*.wild.example.com/", TH_ROUTE_WILDCARD},
        {"http://x.wild.example.com/other", "http://*.wild.example.com/", TH_ROUTE_WON},
        {"http://x.wild.example.com/other", "http://x.wild.example.com/only", TH_ROUTE_OTHER_PATH},
        {"http://three.example.com/a/b/c", "http://three.example.com/a", TH_ROUTE_SHORTER_PATH},
        {"http://three.example.com/a/x", "https://three.example.com/a/b", TH_ROUTE_OTHER_PATH},
        {"http://six.example.com/s", "http://six.example.com/s", TH_ROUTE_WON},
        {"http://six.example.com/s", "https://six.example.com/s", TH_ROUTE_OTHER_SCHEME},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_url url;
        struct th_route route = {0};
        bool met = false;
        assert_int_equal(th_url_parse(th_str_of(cases[i].url), &url), 0);
        (void)th_route_find(f->routes, &url, &f->view->agents[0], &route);
        for (size_t c = 0; c < f->view->n_connections; c++)
            for (size_t p = 0; p < f->view->connections[c].n_patterns; p++) {
                const struct th_config_pattern *pattern = &f->view->connections[c].patterns[p];
                if (!th_str_equal(pattern->text, th_str_of(cases[i].pattern)))
                    continue;
                enum th_route_verdict verdict = th_route_judge(pattern, &url, route.pattern);
                if (verdict != cases[i].verdict)
                    fail_msg("%s, %s: %d", cases[i].url, cases[i].pattern, verdict);
                met = true;
            }
        assert_true(met);
    }
}

static void a_scheme_is_carried_over(void **state)
{
    struct fixture *f = *state;
    struct th_url url;
    struct th_route route = {0};

    assert_int_equal(th_url_parse(TH_STR("http://two.example.com/api"), &url), 0);
    assert_int_equal(th_route_find(f->routes, &url, &f->view->agents[0], &route), TH_ROUTE_FOUND);
    assert_int_equal(route.scheme, TH_SCHEME_HTTPS);
    assert_int_equal(route.port, 443);
    /* Longer path of the other scheme wins. */
    assert_int_equal(th_url_parse(TH_STR("http://three.example.com/a/b/c"), &url), 0);
    assert_int_equal(th_route_find(f->routes, &url, &f->view->agents[0], &route), TH_ROUTE_FOUND);
    assert_int_equal(route.scheme, TH_SCHEME_HTTPS);
}

static void r20_a_tunnel_for_what_is_reached_in_clear(void **state)
{
    static const struct {
        const char *authority;
        bool expected;
    } cases[] = {
        {"one.example.com:80", true},       {"one.example.com:8080", true},
        {"one.example.com:443", false},     {"one.example.com:81", false},
        {"two.example.com:80", true},   /* carried over TLS */
        {"two.example.com:443", false}, /* a client would speak TLS */
        {"two.example.com:8443", false},    {"y.wild.example.com:80", true},
        {"a.y.wild.example.com:80", false}, {"wild.example.com:80", false},
        {"nowhere.example.com:80", false},  {"10.0.0.1:80", false},
        {"free.example.org:80", false},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_url url;
        assert_int_equal(th_url_parse_authority(th_str_of(cases[i].authority), true, &url), 0);
        if (th_route_has_clear_origin(f->routes, &url) != cases[i].expected)
            fail_msg("%s", cases[i].authority);
    }
}

static void decide(struct fixture *f, size_t agent, const char *text,
                   struct th_gate_decision *ret_decision)
{
    static struct th_field fields[32]; /* the decision borrows from the head */
    static struct th_url url;
    struct th_head head = {.fields = fields, .max_fields = TH_COUNT_OF(fields)};
    const struct th_http1_limits limits = {8192, TH_COUNT_OF(fields)};
    size_t scanned = 0;

    assert_int_equal(th_http1_parse_request(&head, text, strlen(text), &scanned, &limits), 0);
    assert_int_equal(th_url_parse(head.target, &url), 0);
    th_gate_decide(f->view, f->routes, f->seen, &f->view->agents[agent], &head, &url, ret_decision);
}

#define REQUEST(target, fields) "GET " target " HTTP/1.1\r\nHost: h\r\n" fields "\r\n"
#define BEARER "Authorization: Bearer abc.def.ghi\r\n"

static void decisions(void **state)
{
    static const struct {
        const char *name, *request;
        size_t agent;
        enum th_gate_action action;
        int error;
    } cases[] = {
        {"a credential", REQUEST("http://one.example.com/", BEARER), 0, TH_GATE_CREDENTIAL, 0},
        {"scheme in any case",
         REQUEST("http://one.example.com/", "authorization: bEARER  abc=\r\n"), 0,
         TH_GATE_CREDENTIAL, 0},
        {"r11_no_token", REQUEST("http://one.example.com/", ""), 0, TH_GATE_REFUSE,
         TH_E_SUBJECT_MISSING},
        {"r11_another_scheme", REQUEST("http://one.example.com/", "Authorization: Basic YTpi\r\n"),
         0, TH_GATE_REFUSE, TH_E_SUBJECT_MALFORMED},
        {"r11_empty", REQUEST("http://one.example.com/", "Authorization: Bearer \r\n"), 0,
         TH_GATE_REFUSE, TH_E_SUBJECT_MALFORMED},
        {"r11_not_token68", REQUEST("http://one.example.com/", "Authorization: Bearer a,b\r\n"), 0,
         TH_GATE_REFUSE, TH_E_SUBJECT_MALFORMED},
        {"r11_two_tokens", REQUEST("http://one.example.com/", "Authorization: Bearer a b\r\n"), 0,
         TH_GATE_REFUSE, TH_E_SUBJECT_MALFORMED},
        {"r11_two_fields", REQUEST("http://one.example.com/", BEARER BEARER), 0, TH_GATE_REFUSE,
         TH_E_BAD_REQUEST},
        {"another agent's connection", REQUEST("http://one.example.com/", BEARER), 1,
         TH_GATE_REFUSE, TH_E_DESTINATION_DENIED},
        {"r7_unmatched_is_denied", REQUEST("http://nowhere.example.com/", BEARER), 0,
         TH_GATE_REFUSE, TH_E_DESTINATION_DENIED},
        {"the first rule wins", REQUEST("http://free.example.org/no/x", ""), 0, TH_GATE_FORWARD, 0},
        {"r9_dot_segment", REQUEST("http://one.example.com/a2a/../x", BEARER), 0, TH_GATE_REFUSE,
         TH_E_BAD_TARGET},
        {"r9_encoded_slash", REQUEST("http://one.example.com/a2a%2fx", BEARER), 0, TH_GATE_REFUSE,
         TH_E_BAD_TARGET},
        {"r9_encoded_dot", REQUEST("http://one.example.com/a2a/%2e%2e/x", BEARER), 0,
         TH_GATE_REFUSE, TH_E_BAD_TARGET},
        {"r9_empty_segment", REQUEST("http://one.example.com/a2a//x", BEARER), 0, TH_GATE_REFUSE,
         TH_E_BAD_TARGET},
        {"r9_parameter_on_dots", REQUEST("http://one.example.com/a2a/..;x/y", BEARER), 0,
         TH_GATE_REFUSE, TH_E_BAD_TARGET},
        {"r9 not where nothing is mapped", REQUEST("http://free.example.org/a//x", ""), 0,
         TH_GATE_FORWARD, 0},
        {"r17_trace", "TRACE http://one.example.com/ HTTP/1.1\r\nHost: h\r\n" BEARER "\r\n", 0,
         TH_GATE_REFUSE, TH_E_METHOD},
        {"r18_card_outside_the_pattern",
         REQUEST("http://four.example.com/.well-known/agent-card.json", ""), 0, TH_GATE_PUBLIC, 0},
        {"r18_only_the_listed_paths", REQUEST("http://four.example.com/.well-known/other", ""), 0,
         TH_GATE_REFUSE, TH_E_DESTINATION_DENIED},
        {"r18_not_for_another_agent_and_forwarded", REQUEST("http://mixed.example.com/card", ""), 1,
         TH_GATE_FORWARD, 0},
        {"r18_not_for_another_agent",
         REQUEST("http://four.example.com/.well-known/agent-card.json", ""), 1, TH_GATE_REFUSE,
         TH_E_DESTINATION_DENIED},
        {"own list of public paths", REQUEST("http://five.example.com/a/free", BEARER), 0,
         TH_GATE_PUBLIC, 0},
        {"without a subject", REQUEST("http://five.example.com/a/x", ""), 0, TH_GATE_PUBLIC, 0},
        {"without_subject is not malformed",
         REQUEST("http://five.example.com/a/x", "Authorization: Basic YTpi\r\n"), 0, TH_GATE_REFUSE,
         TH_E_SUBJECT_MALFORMED},
        {"r6_max_forwards_0",
         "OPTIONS http://one.example.com/ HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\n" BEARER "\r\n",
         0, TH_GATE_ANSWER, 0},
        {"r6_max_forwards_1",
         "OPTIONS http://one.example.com/ HTTP/1.1\r\nHost: h\r\nMax-Forwards: 1\r\n" BEARER "\r\n",
         0, TH_GATE_CREDENTIAL, 0},
        {"r6_max_forwards_of_get", REQUEST("http://one.example.com/", "Max-Forwards: 0\r\n" BEARER),
         0, TH_GATE_CREDENTIAL, 0},
        {"r6_unknown_expectation", REQUEST("http://one.example.com/", "Expect: wonders\r\n" BEARER),
         0, TH_GATE_REFUSE, TH_E_EXPECTATION},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_gate_decision decision;
        decide(f, cases[i].agent, cases[i].request, &decision);
        if (decision.action != cases[i].action || decision.error != cases[i].error)
            fail_msg("%s: action %d error %d", cases[i].name, decision.action, decision.error);
        /* On a connection the caller's own credential never goes on. */
        if (decision.action == TH_GATE_CREDENTIAL || decision.action == TH_GATE_PUBLIC)
            assert_true(decision.drop_authorization);
        if (decision.action == TH_GATE_FORWARD) /* nor is what was only asked about named */
            assert_null(decision.route.connection);
    }
}

static void add_jwt(struct th_buf *out, const char *claims)
{
    th_buf_add_str(out, TH_STR("GET http://free.example.org/ HTTP/1.1\r\nHost: h\r\n"
                               "Authorization: Bearer "));
    th_base64url_encode(out, "{\"alg\":\"RS256\"}", 15);
    th_buf_add_char(out, '.');
    th_base64url_encode(out, claims, strlen(claims));
    th_buf_add_str(out, TH_STR(".c2ln\r\n\r\n"));
}

static void r11_subject_tokens_do_not_leave_to_unmapped_hosts(void **state)
{
    static const struct {
        const char *claims;
        bool dropped;
    } cases[] = {
        {"{\"iss\":\"https://example.okta.com\",\"aud\":\"x\"}", true},
        {"{\"iss\":\"https://example.okta.com/oauth2/aus1\"}", true},
        {"{\"iss\":\"https://else.example\",\"aud\":\"wlp1\"}", true},
        {"{\"iss\":\"https://else.example\",\"aud\":[\"y\",\"wlp9\"]}", true},
        {"{\"iss\":\"https://else.example\",\"aud\":\"0oaLinked\"}", true},
        {"{\"iss\":\"https://else.example\",\"aud\":\"https://agent1.example.com\"}", true},
        {"{\"iss\":\"https://else.example\",\"aud\":\"https://else.example\"}", false},
    };
    struct fixture *f = *state;
    struct th_gate_decision decision;

    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_buf request;
        th_buf_init(&request, 4096);
        add_jwt(&request, cases[i].claims);
        decide(f, 0, request.ptr, &decision);
        assert_int_equal(decision.action, TH_GATE_FORWARD);
        if (decision.drop_authorization != cases[i].dropped)
            fail_msg("%s", cases[i].claims);
        th_buf_fini(&request);
    }
    /* An opaque one that was seen used as a subject token. */
    uint8_t digest[32];
    const char *request = REQUEST("http://free.example.org/", "Authorization: bearer opaque1\r\n");
    decide(f, 0, request, &decision);
    assert_false(decision.drop_authorization);
    th_broker_digest(TH_STR("opaque1"), digest);
    th_seen_add(f->seen, digest);
    decide(f, 0, request, &decision);
    assert_true(decision.drop_authorization);
}

static void seen_forgets_the_oldest_only(void **state)
{
    struct fixture *f = *state;
    uint8_t digest[32] = {0};

    for (uint32_t i = 1; i <= 20000; i++) {
        memcpy(digest, &i, sizeof i);
        memcpy(digest + 8, &i, sizeof i);
        th_seen_add(f->seen, digest);
        assert_true(th_seen_has(f->seen, digest));
    }
    unsigned kept = 0;
    for (uint32_t i = 1; i <= 20000; i++) {
        memcpy(digest, &i, sizeof i);
        memcpy(digest + 8, &i, sizeof i);
        kept += th_seen_has(f->seen, digest);
    }
    assert_true(kept > 18000);
    memset(digest, 0xee, sizeof digest);
    assert_false(th_seen_has(f->seen, digest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(r9_the_most_specific_pattern_wins, set_up, tear_down),
        cmocka_unit_test_setup_teardown(r9_the_origin_decodes_the_path, set_up, tear_down),
        cmocka_unit_test_setup_teardown(why_a_pattern_lost, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_scheme_is_carried_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(r20_a_tunnel_for_what_is_reached_in_clear, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(decisions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(r11_subject_tokens_do_not_leave_to_unmapped_hosts, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(seen_forgets_the_oldest_only, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
