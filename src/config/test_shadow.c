/* Connections in shadow: what is read, and what is no part of a connection's version. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "test_mistake.h"

static const char *text_with(const char *shadow, char room[4096])
{
    static char connection[1024];

    (void)snprintf(connection, sizeof connection,
                   "\"connections\": [{\"name\": \"c\", \"url\": \"https://c.example.com/\","
                   " \"type\": \"token_exchange\", \"agents\": [\"a\"], \"scopes\": [\"r\", \"w\"],"
                   " \"scopes_for\": [{\"methods\": [\"GET\"], \"scopes\": [\"r\"]}]%s}]",
                   shadow);
    return test_listener_text("\"address\": \"127.0.0.1:8080\"", ", \"agent\": \"a\"", connection,
                              room);
}

static void is_read(void **state)
{
    static const struct {
        const char *text, *name;
        enum th_shadow shadow;
    } rows[] = {{"", "off", TH_SHADOW_OFF},
                {", \"shadow\": \"off\"", "off", TH_SHADOW_OFF},
                {", \"shadow\": \"policy\"", "policy", TH_SHADOW_POLICY},
                {", \"shadow\": \"exchange\"", "exchange", TH_SHADOW_EXCHANGE}};
    uint8_t version[16];
    char room[4096];

    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct th_config *config = test_config_load(text_with(rows[i].text, room), "/tmp");
        const struct th_config_connection *connection = &th_config_get(config)->connections[0];
        assert_int_equal(connection->shadow, rows[i].shadow);
        assert_int_equal(th_config_variant(connection, 1)->shadow, rows[i].shadow);
        assert_string_equal(th_config_shadow_name(connection->shadow), rows[i].name);
        /* What was got in shadow serves when it is turned off, and the other way round. */
        if (i == 0)
            memcpy(version, connection->version, sizeof version);
        assert_memory_equal(version, connection->version, sizeof version);
        th_config_unref(config);
    }
}

static void mistakes(void **state)
{
    static const struct test_mistake rows[] = {
        {", \"shadow\": true", "$.connections[0].shadow", "\"policy\" or \"exchange\" is wanted",
         ""},
        {", \"shadow\": \"exchnage\"", "$.connections[0].shadow", "", "exchange"},
        {", \"shaddow\": \"exchange\"", "$.connections[0].shaddow", "", "shadow"}};
    char room[4096];

    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++)
        assert_true(test_mistake_is_found(&rows[i], i, text_with(rows[i].rest, room), "/tmp"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_read),
        cmocka_unit_test(mistakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
