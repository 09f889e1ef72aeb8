/* Limits by caller and by agent: what they become, and their mistakes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokenhop/config/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char text_format[] =
    "{\"listeners\": [{\"name\": \"in\", \"address\": \"127.0.0.1:8080\"}],\n"
    " \"authorization_servers\": {\"org\": {\"issuer\": \"https://x.okta.com\"}},\n"
    " \"agents\": {\"a\": {\"client_id\": \"w\", \"authorization_server\": \"org\",\n"
    "  \"auth\": {\"method\": \"none\"}}},\n"
    " \"callers\": [\n"
    "  {\"name\": \"own\", \"agent\": \"a\", \"limits\": %s,\n"
    "   \"basic\": {\"user\": \"own\", \"password\": {\"env\": \"TH_TEST_PASSWORD\"}}},\n"
    "  {\"name\": \"plain\", \"agent\": \"a\",\n"
    "   \"basic\": {\"user\": \"plain\", \"password\": {\"env\": \"TH_TEST_PASSWORD\"}}}],\n"
    " \"limits\": %s}\n";

static int load(const char *own, const char *limits, struct th_config **ret_config,
                struct th_config_mistakes *mistakes)
{
    char text[2048];
    int len = snprintf(text, sizeof text, text_format, own, limits);
    return th_config_load_text((struct th_str){text, (size_t)len}, ".", ret_config, mistakes);
}

static void assert_share(const struct th_config_share *share, uint64_t connections,
                         uint64_t requests, uint64_t exchanges, uint64_t waiting)
{
    assert_int_equal(share->connections, connections);
    assert_int_equal(share->requests_per_second, requests);
    assert_int_equal(share->exchanges_per_second, exchanges);
    assert_int_equal(share->waiting, waiting);
}

static void what_is_not_said_is_taken_from_all(void **state)
{
    struct th_config_mistakes mistakes;
    struct th_config *config = NULL;
    assert_int_equal(load("{\"requests_per_second\": 7, \"waiting\": 8}",
                          "{\"per_caller\": {\"connections\": 1, \"requests_per_second\": 2,\n"
                          "  \"exchanges_per_second\": 3}, \"per_agent\": {\"waiting\": 4}}",
                          &config, &mistakes),
                     0);
    const struct th_config_view *view = th_config_get(config);
    assert_share(&view->callers[0].limits, 1, 7, 3, 8);
    assert_share(&view->callers[1].limits, 1, 2, 3, 0);
    assert_share(&view->limits.per_caller, 1, 2, 3, 0);
    assert_share(&view->limits.per_agent, 0, 0, 0, 4);
    th_config_unref(config);
    th_config_mistakes_fini(&mistakes);

    assert_int_equal(load("{}", "{}", &config, &mistakes), 0);
    assert_share(&th_config_get(config)->callers[0].limits, 0, 0, 0, 0);
    th_config_unref(config);
    th_config_mistakes_fini(&mistakes);
}

static void mistakes_are_told(void **state)
{
    static const struct {
        const char *own, *limits, *path, *what;
    } rows[] = {
        {"{\"connections\": 0}", "{}", "$.callers[0].limits.connections", "out of range"},
        {"{\"request_per_second\": 1}", "{}", "$.callers[0].limits.request_per_second", "unknown"},
        {"{}", "{\"per_caller\": {\"waiting\": 1000001}}", "$.limits.per_caller.waiting",
         "out of range"},
        {"{}", "{\"per_agent\": {\"requests_per_second\": \"5\"}}",
         "$.limits.per_agent.requests_per_second", "not a"},
        {"{}", "{\"per_agent\": 5}", "$.limits.per_agent", "an object"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct th_config_mistakes mistakes;
        struct th_config *config = NULL;
        assert_int_equal(load(rows[i].own, rows[i].limits, &config, &mistakes), TH_E_CONFIG);
        if (mistakes.count != 1 || strcmp(mistakes.items[0].path, rows[i].path) != 0 ||
            strstr(mistakes.items[0].what, rows[i].what) == NULL)
            fail_msg("row %zu: %zu mistakes, the first %s: %s", i, mistakes.count,
                     mistakes.items[0].path, mistakes.items[0].what);
        th_config_mistakes_fini(&mistakes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_said_is_taken_from_all),
        cmocka_unit_test(mistakes_are_told),
    };
    if (setenv("TH_TEST_PASSWORD", "0123456789abcdef", 1) != 0)
        return 1;
    return cmocka_run_group_tests_name("config: limits", tests, NULL, NULL);
}
