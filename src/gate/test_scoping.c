#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "tokenhop/base/check.h"
#include "tokenhop/gate/scoping.h"

static const struct th_str get[] = {TH_STR("GET"), TH_STR("HEAD")};
static const struct th_str orders[] = {TH_STR("/orders/"), TH_STR("/exact")};
static const struct th_str calls[] = {TH_STR("message/send"), TH_STR("tools/call")};
static const struct th_str tools[] = {TH_STR("look")};

static const struct th_config_scoping scopings[] = {
    {.methods = get, .n_methods = 2, .paths = orders, .n_paths = 2},
    {.rpc_methods = calls, .n_rpc_methods = 1, .paths = orders, .n_paths = 1},
    {.tools = tools, .n_tools = 1},
    {.rpc_methods = calls, .n_rpc_methods = 2},
};
static const struct th_config_connection connection = {.scopings = scopings, .n_scopings = 4};

static size_t choose(const char *method, const char *path, const char *rpc, const char *tool)
{
    struct th_rpc_call call = {{0}, {0}};
    struct th_scoping_request request = {th_str_of(method), th_str_of(path), &call};
    size_t scoping = 99;

    strcpy(call.method, rpc);
    strcpy(call.tool, tool);
    assert_int_equal(th_scoping_choose(&connection, &request, &scoping), 0);
    return scoping;
}

static void the_first_that_holds_decides(void **state)
{
    (void)state;
    assert_int_equal(choose("GET", "/orders", "", ""), 1);
    assert_int_equal(choose("HEAD", "/orders/1", "message/send", ""), 1);
    assert_int_equal(choose("GET", "/exact/x", "", ""), 1);
    assert_int_equal(choose("get", "/orders", "", ""), 0);
    assert_int_equal(choose("GET", "/ordersx", "", ""), 0);
    assert_int_equal(choose("POST", "/orders", "message/send", ""), 2);
    assert_int_equal(choose("POST", "/", "message/send", ""), 4);
    assert_int_equal(choose("POST", "/", "tools/call", "look"), 3);
    assert_int_equal(choose("POST", "/", "tools/call", "write"), 4);
    assert_int_equal(choose("POST", "/", "tools/list", ""), 0);
    assert_int_equal(choose("POST", "/", "", ""), 0);
}

static void only_where_it_decides_is_the_body_asked_for(void **state)
{
    (void)state;
    struct th_scoping_request request = {TH_STR("GET"), TH_STR("/orders"), NULL};
    size_t scoping;

    assert_int_equal(th_scoping_choose(&connection, &request, &scoping), 0);
    assert_int_equal(scoping, 1);
    request.method = TH_STR("POST");
    assert_int_equal(th_scoping_choose(&connection, &request, &scoping), TH_AGAIN);
    const struct th_config_connection plain = {.scopings = scopings, .n_scopings = 1};
    assert_int_equal(th_scoping_choose(&plain, &request, &scoping), 0);
    assert_int_equal(scoping, 0);
}

static const struct th_str asked[] = {TH_STR("a"), TH_STR("b")};
static const struct th_str step_ups[] = {TH_STR("x"), TH_STR("b"), TH_STR("y")};

static unsigned step_up(const char *challenge)
{
    const struct th_config_connection whole = {.step_up_scopes = step_ups, .n_step_up_scopes = 3};
    const struct th_config_connection variant = {.scopes = asked, .n_scopes = 2};
    struct th_field fields[] = {
        {.name = TH_STR("Server"), .value = TH_STR("x")},
        {.name = TH_STR("WWW-Authenticate"),
         .value = th_str_of(challenge),
         .id = TH_HEADER_WWW_AUTHENTICATE},
    };
    struct th_head head = {.fields = fields, .n_fields = 2};

    return th_scoping_step_up(&whole, &variant, &head);
}

#define WANTS(scopes) "Bearer error=\"insufficient_scope\", scope=\"" scopes "\""

static void what_a_challenge_names_is_asked_for(void **state)
{
    (void)state;
    assert_int_equal(step_up(WANTS("x")), 1);
    assert_int_equal(step_up(WANTS("a x b  y")), 5);
    assert_int_equal(step_up("Basic realm=\"x\", bearer scope=x , error=insufficient_scope"), 1);
    assert_int_equal(step_up(WANTS("a b")), 0); /* it has these */
    assert_int_equal(step_up(WANTS("x z")), 0); /* z is not permitted */
    assert_int_equal(step_up(WANTS("X")), 0);   /* case counts (RFC 6749, 3.3) */
    assert_int_equal(step_up(WANTS("")), 0);
    assert_int_equal(step_up("Bearer error=\"insufficient_scope\""), 0);
    assert_int_equal(step_up("Bearer error=\"invalid_token\", scope=\"x\""), 0);
    assert_int_equal(step_up("Digest error=\"insufficient_scope\", scope=\"x\""), 0);
    assert_int_equal(step_up("Bearer error=\"insufficient_scope\", scope=\"x"), 0);
}

static void a_long_list_is_none(void **state)
{
    char text[1024];
    (void)state;

    int len = snprintf(text, sizeof text, "Bearer error=\"insufficient_scope\", scope=\"x");
    memset(text + len, ' ', 512);
    strcpy(text + len + 512, "\"");
    assert_int_equal(step_up(text), 0);
    strcpy(text + len + 500, "\"");
    assert_int_equal(step_up(text), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_that_holds_decides),
        cmocka_unit_test(only_where_it_decides_is_the_body_asked_for),
        cmocka_unit_test(what_a_challenge_names_is_asked_for),
        cmocka_unit_test(a_long_list_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
