/* Which requests ask for other scopes: mistakes, and the variants that are made of what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "test_mistake.h"
#include "test_support.h"
#include "tokenhop/base/check.h"

static char *folder;

static const char begin[] =
    "{\"listeners\": [{\"name\": \"in\", \"address\": \"127.0.0.1:8080\", \"agent\": \"a\"}],"
    " \"authorization_servers\": {\"org\": {\"issuer\": \"https://example.okta.com\"},"
    "   \"custom\": {\"issuer\": \"https://example.okta.com/oauth2/a\"},"
    "   \"other\": {\"issuer\": \"https://idp.example\"}},"
    " \"agents\": {\"a\": {\"client_id\": \"c1\", \"authorization_server\": \"org\", \"auth\":"
    "   {\"method\": \"private_key_jwt\", \"key_file\": \"agent.pem\", \"kid\": \"k\", \"alg\": \"ES256\"}}},"
    " \"connections\": [{\"name\": \"api\", \"url\": \"https://api.example/\", \"agents\": [\"a\"], ";

#define TYPE "\"type\": \"authorization_server\", \"authorization_server\": \"custom\", "
#define SCOPES TYPE "\"scopes\": [\"r\", \"w\"], "
#define PLACE "$.connections[0]"

static const struct test_mistake mistakes[] = {
    {SCOPES "\"scopes_for\": [{\"scopes\": [\"r\"]}]", PLACE ".scopes_for[0]",
     "\"methods\", \"paths\", \"rpc_methods\" and \"tools\"", ""},
    {SCOPES "\"scopes_for\": [{\"methods\": [\"GET\"]}]", PLACE ".scopes_for[0]", "scopes", ""},
    {SCOPES "\"scopes_for\": [{\"methods\": [\"GET\"], \"scopes\": []}]",
     PLACE ".scopes_for[0].scopes", "", ""},
    {SCOPES "\"scopes_for\": [{\"methods\": [\"get\"], \"scopes\": [\"r\"]}]",
     PLACE ".scopes_for[0].methods[0]", "capital letters", ""},
    {SCOPES "\"scopes_for\": [{\"paths\": [\"x\"], \"scopes\": [\"r\"]}]",
     PLACE ".scopes_for[0].paths[0]", "path", ""},
    {SCOPES "\"scopes_for\": [{\"methods\": [\"GET\"], \"scopes\": [\"r\", \"x\"]}]",
     PLACE ".scopes_for[0].scopes[1]", "never others", "step_up_scopes"},
    {SCOPES "\"scopes_for\": [{\"methods\": [\"GET\"], \"scopes\": [\"r\", \"r\"]}]",
     PLACE ".scopes_for[0].scopes[1]", "twice", ""},
    {SCOPES
     "\"scopes_for\": [{\"tools\": [\"t\"], \"rpc_methods\": [\"message/send\"], \"scopes\": [\"r\"]}]",
     PLACE ".scopes_for[0].tools", "tools/call", ""},
    {SCOPES "\"step_up_scopes\": [\"x\", \"x\"]", PLACE ".step_up_scopes[1]", "twice", ""},
    {SCOPES "\"step_up_scopes\": [\"1\", \"2\", \"3\", \"4\", \"5\"]", PLACE ".step_up_scopes", "4",
     ""},
    {TYPE "\"step_up_scopes\": [\"x\"]", PLACE ".step_up_scopes", "the server's choice", "scopes"},
    {"\"type\": \"static\", \"value\": {\"env\": \"TEST_A\"}, \"step_up_scopes\": [\"x\"]",
     PLACE ".step_up_scopes", "has no", "nothing is exchanged"},
    {"\"type\": \"secret\", \"resource\": \"orn:x\", \"inject\": {\"scheme\": \"basic\"}, "
     "\"scopes_for\": [{\"methods\": [\"GET\"], \"scopes\": [\"r\"]}]",
     PLACE ".scopes_for", "has no", "one leg"},
};

static void test_mistakes(void **state)
{
    unsigned n_bad = 0;
    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(mistakes); i++) {
        char *text;
        assert_true(asprintf(&text, "%s%s}]}", begin, mistakes[i].rest) > 0);
        n_bad += !test_mistake_is_found(&mistakes[i], i, text, folder);
        free(text);
    }
    assert_int_equal(n_bad, 0);
}

static struct th_config *load(const char *rest)
{
    char *text;

    assert_true(asprintf(&text, "%s%s}]}", begin, rest) > 0);
    struct th_config *config = test_config_load(text, folder);
    free(text);
    return config;
}

static void assert_scopes(const struct th_config_connection *connection, size_t scoping,
                          unsigned step_ups, const char *scopes, const char *second_leg)
{
    const struct th_config_connection *variant =
        th_config_variant(connection, th_config_variant_index(connection, scoping, step_ups));
    struct th_str first = variant->scope_text, second = variant->second_leg_scope_text;

    assert_true(th_str_equal(first, th_str_of(scopes)));
    assert_true(second_leg[0] == '\0' ? second.len == 0
                                      : th_str_equal(second, th_str_of(second_leg)));
    assert_true(th_str_equal(variant->name, connection->name));
    assert_int_equal(variant->index, connection->index);
    assert_int_equal(variant == connection,
                     memcmp(variant->version, connection->version, sizeof variant->version) == 0);
}

static void test_variants(void **state)
{
    (void)state;
    struct th_config *config = load(
        "\"type\": \"authorization_server\", \"authorization_server\": \"other\", "
        "\"scopes\": [\"r\", \"w\", \"d\"], \"second_leg_scopes\": [\"r\", \"w\"], "
        "\"scopes_for\": [{\"methods\": [\"GET\"], \"scopes\": [\"r\"]}, "
        "{\"tools\": [\"t\"], \"scopes\": [\"d\", \"w\"]}], \"step_up_scopes\": [\"x\", \"w\"]");
    const struct th_config_connection *api = th_config_get(config)->connections;

    assert_int_equal(api->n_variants, 11);
    assert_scopes(api, 0, 0, "r w d", "r w");
    assert_scopes(api, 0, 1, "r w d x", "r w x");
    assert_scopes(api, 0, 3, "r w d x", "r w x");
    assert_scopes(api, 1, 0, "r", "r");
    assert_scopes(api, 1, 2, "r w", "r w");
    assert_scopes(api, 1, 3, "r x w", "r x w");
    assert_scopes(api, 2, 0, "d w", "w");
    assert_scopes(api, 2, 1, "d w x", "w x");
    for (size_t i = 0; i < api->n_variants; i++)
        assert_int_equal(api->variants[i].n_variants + api->variants[i].n_scopings, 0);
    th_config_unref(config);
}

/* Okta's custom servers want none on the second leg. */
static void test_second_leg_stays_empty(void **state)
{
    (void)state;
    struct th_config *config = load(SCOPES "\"step_up_scopes\": [\"x\"]");
    const struct th_config_connection *api = th_config_get(config)->connections;

    assert_int_equal(api->n_variants, 1);
    assert_scopes(api, 0, 0, "r w", "");
    assert_scopes(api, 0, 1, "r w x", "");
    th_config_unref(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mistakes),
                                       cmocka_unit_test(test_variants),
                                       cmocka_unit_test(test_second_leg_stays_empty)};
    folder = test_folder_new();
    test_write_pem(folder, "agent.pem", 0, "P-256");
    setenv("TEST_A", "a-secret-of-alpha", 1);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_folder_remove(folder);
    return failed;
}
