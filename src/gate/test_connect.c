/* Which tunnels are opened (R7, R8, R20, R27). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test_config.h"
#include "tokenhop/base/check.h"
#include "tokenhop/gate/gate.h"

static const char connections[] =
    "[{\"name\": \"c1\", \"url\": [\"https://secure.test/a/\", \"https://*.wild.test:8443/\","
    "  \"http://clear.test:8080/\"], \"type\": \"agent_to_agent\", \"agents\": [\"a1\"],"
    "  \"authorization_server\": \"org\", \"resource\": \"https://r.test\", \"scopes\": [\"a\"]}]";

struct expected {
    const char *unmatched; /* JSON */
    const char *ports;     /* JSON; NULL: as it is without the key */
    const char *authority;
    bool can_intercept;
    enum th_gate_tunnel action;
    bool intercept;
    const char *detail; /* part of it */
};

static const struct expected rows[] = {
    /* a connection's host is never a plain tunnel */
    {"\"forward\"", NULL, "secure.test:443", true, TH_GATE_TUNNEL_SERVE, true, NULL},
    {"\"forward\"", NULL, "secure.test:443", false, TH_GATE_TUNNEL_REFUSE, false, "interception"},
    {"\"forward\"", NULL, "secure.test:80", true, TH_GATE_TUNNEL_SERVE, false, NULL},
    {"\"deny\"", "[22]", "x.wild.test:8443", true, TH_GATE_TUNNEL_SERVE, true, NULL},
    {"\"deny\"", NULL, "x.y.wild.test:8443", true, TH_GATE_TUNNEL_REFUSE, false, "no connection"},
    {"\"forward\"", "[8080]", "clear.test:8080", true, TH_GATE_TUNNEL_SERVE, false, NULL},
    /* unmatched */
    {"\"deny\"", NULL, "free.test:443", true, TH_GATE_TUNNEL_REFUSE, false, "unmatched"},
    {"\"forward\"", NULL, "free.test:443", true, TH_GATE_TUNNEL_PLAIN, false, NULL},
    {"\"forward\"", NULL, "free.test:444", true, TH_GATE_TUNNEL_REFUSE, false, "connect_ports"},
    {"\"forward\"", "[\"400-444\"]", "free.test:444", true, TH_GATE_TUNNEL_PLAIN, false, NULL},
    {"\"forward\"", "[\"400-443\", 445]", "free.test:444", true, TH_GATE_TUNNEL_REFUSE, false,
     "connect_ports"},
    {"\"forward\"", "[]", "free.test:443", true, TH_GATE_TUNNEL_REFUSE, false, "connect_ports"},
    {"\"forward\"", NULL, "free.test:80", true, TH_GATE_TUNNEL_SERVE, false, NULL},
    {"\"forward\"", "[80]", "free.test:80", true, TH_GATE_TUNNEL_PLAIN, false, NULL},
    /* an authorization server, by a rule that names it only */
    {"\"forward\"", NULL, "org.test:443", true, TH_GATE_TUNNEL_REFUSE, false, "authorization"},
    {"[{\"url\": \"https://org.test/\", \"action\": \"forward\"}]", NULL, "org.test:443", true,
     TH_GATE_TUNNEL_PLAIN, false, NULL},
    /* the first rule that speaks of all of the origin, or denies a part of it */
    {"[{\"url\": \"https://free.test/x/\", \"action\": \"deny\"},"
     " {\"url\": \"https://free.test/\", \"action\": \"forward\"}]",
     NULL, "free.test:443", true, TH_GATE_TUNNEL_REFUSE, false, "unmatched"},
    {"[{\"url\": \"https://free.test/\", \"action\": \"forward\"},"
     " {\"url\": \"https://free.test/x/\", \"action\": \"deny\"}]",
     NULL, "free.test:443", true, TH_GATE_TUNNEL_PLAIN, false, NULL},
    {"[{\"url\": \"https://free.test/x/\", \"action\": \"forward\"}]", NULL, "free.test:443", true,
     TH_GATE_TUNNEL_REFUSE, false, "unmatched"},
    {"[{\"url\": \"https://*.free.test/\", \"action\": \"forward\"}]", NULL, "a.free.test:443",
     true, TH_GATE_TUNNEL_PLAIN, false, NULL},
    {"[{\"url\": \"http://free.test:8080/x/\", \"action\": \"forward\"}]", NULL, "free.test:8080",
     true, TH_GATE_TUNNEL_SERVE, false, NULL},
    {"[{\"url\": \"http://free.test:8080/\", \"action\": \"deny\"},"
     " {\"url\": \"http://free.test:8080/x/\", \"action\": \"forward\"}]",
     NULL, "free.test:8080", true, TH_GATE_TUNNEL_REFUSE, false, "unmatched"},
};

static void check(const struct expected *row)
{
    struct th_gate_connect connect;
    struct th_routes *routes = NULL;
    struct th_url url;
    char text[4096];

    snprintf(text, sizeof text,
             "{\"listeners\": [{\"name\": \"l\", \"address\": \"127.0.0.1:1\", \"agent\": \"a1\"}],"
             " \"authorization_servers\": {\"org\": {\"issuer\": \"https://org.test\","
             "   \"token_endpoint\": \"https://org.test/token\"}},"
             " \"agents\": {\"a1\": {\"client_id\": \"c\", \"auth\": {\"method\": \"none\"},"
             "   \"authorization_server\": \"org\"}},"
             " \"connections\": %s, \"unmatched\": %s%s%s%s}",
             connections, row->unmatched,
             row->ports != NULL ? ", \"egress\": {\"connect_ports\": " : "",
             row->ports != NULL ? row->ports : "", row->ports != NULL ? "}" : "");
    struct th_config *config = test_config_load(text);
    assert_int_equal(th_routes_new(config, &routes), 0);
    assert_int_equal(th_url_parse_authority(th_str_of(row->authority), true, &url), 0);
    th_gate_decide_connect(th_config_get(config), routes, row->can_intercept, &url, &connect);
    if (connect.action != row->action || connect.intercept != row->intercept)
        fail_msg("%s with %s: action %d, intercept %d", row->authority, row->unmatched,
                 connect.action, connect.intercept);
    if (row->detail != NULL) {
        assert_int_equal(connect.error, TH_E_DESTINATION_DENIED);
        assert_non_null(strstr(connect.detail, row->detail));
    }
    th_routes_free(routes);
    th_config_unref(config);
}

static void r7_r8_r20_r27_tunnels(void **state)
{
    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++)
        check(&rows[i]);
}

/* Each endpoint counts, wherever it is; and only on its port. */
static void r27_each_endpoint_of_a_server_counts(void **state)
{
    static const struct {
        const char *authority;
        bool is_server;
    } cases[] = {
        {"org.test:443", true},    {"token.test:443", true}, {"revoke.test:8443", true},
        {"keys.test:443", true},   {"keys.test:80", false},  {"revoke.test:443", false},
        {"other.test:443", false},
    };
    struct th_config *config = test_config_load(
        "{\"listeners\": [{\"name\": \"l\", \"address\": \"127.0.0.1:1\", \"agent\": \"a1\"}],"
        " \"authorization_servers\": {\"org\": {\"issuer\": \"https://org.test/x\","
        "   \"token_endpoint\": \"https://token.test/token\","
        "   \"revocation_endpoint\": \"https://revoke.test:8443/revoke\","
        "   \"jwks_uri\": \"https://keys.test/keys\"}},"
        " \"agents\": {\"a1\": {\"client_id\": \"c\", \"auth\": {\"method\": \"none\"},"
        "   \"authorization_server\": \"org\"}},"
        " \"connections\": [], \"unmatched\": \"forward\"}");

    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_url url;
        assert_int_equal(th_url_parse_authority(th_str_of(cases[i].authority), true, &url), 0);
        if (th_gate_is_authorization_server(th_config_get(config), &url) != cases[i].is_server)
            fail_msg("%s", cases[i].authority);
    }
    th_config_unref(config);
}

/* By a rule that says which host, or which authorization server. */
static void r27_a_wildcard_names_nobody(void **state)
{
    static const struct {
        const char *pattern, *authority;
        bool is_named;
    } cases[] = {
        {"https://free.test/", "free.test:443", true},
        {"https://*.free.test/", "x.free.test:443", false},
        {"https://*.test/", "org.test:443", true},
    };
    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_gate_connect connect;
        struct th_routes *routes = NULL;
        struct th_url url;
        char text[2048];
        snprintf(
            text, sizeof text,
            "{\"listeners\": [{\"name\": \"l\", \"address\": \"127.0.0.1:1\", \"agent\": "
            "\"a1\"}],"
            " \"authorization_servers\": {\"org\": {\"issuer\": \"https://org.test\"}},"
            " \"agents\": {\"a1\": {\"client_id\": \"c\", \"auth\": {\"method\": \"none\"},"
            "   \"authorization_server\": \"org\"}},"
            " \"connections\": [], \"unmatched\": [{\"url\": \"%s\", \"action\": \"forward\"}]}",
            cases[i].pattern);
        struct th_config *config = test_config_load(text);
        assert_int_equal(th_routes_new(config, &routes), 0);
        assert_int_equal(th_url_parse_authority(th_str_of(cases[i].authority), true, &url), 0);
        th_gate_decide_connect(th_config_get(config), routes, true, &url, &connect);
        assert_int_equal(connect.action, TH_GATE_TUNNEL_PLAIN);
        assert_int_equal(connect.is_named, cases[i].is_named);
        th_routes_free(routes);
        th_config_unref(config);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(r7_r8_r20_r27_tunnels),
                                       cmocka_unit_test(r27_each_endpoint_of_a_server_counts),
                                       cmocka_unit_test(r27_a_wildcard_names_nobody)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
