#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "faults.h"
#include "tokenhop/base/check.h"

static int add_rule(struct th_faults *faults, const char *text)
{
    struct th_errinfo info = {0};
    json_t *rule = json_loads(text, 0, NULL);
    int e = th_faults_add(faults, rule, &info);
    json_decref(rule);
    return e;
}

static enum th_fault_kind take(struct th_faults *faults, const char *place, const char *path)
{
    struct th_fault fault = th_faults_take(faults, place, path);
    enum th_fault_kind kind = fault.kind;
    th_fault_fini(&fault);
    return kind;
}

static void plays_in_order(void **state)
{
    static const char *const rules[] = {
        "{\"place\":\"org_token\",\"kind\":\"slow\",\"count\":2}",
        "{\"place\":\"org_token\",\"kind\":\"html\",\"count\":-1}",
        "{\"place\":\"agent2\",\"kind\":\"reset\",\"path\":\"/a2a/\",\"skip\":1}",
    };
    struct th_faults faults;
    th_faults_init(&faults);
    for (size_t i = 0; i < TH_COUNT_OF(rules); i++)
        assert_int_equal(add_rule(&faults, rules[i]), 0);
    assert_int_equal(take(&faults, "aus2_token", "/"), TH_FAULT_NONE);
    assert_int_equal(take(&faults, "org_token", "/"), TH_FAULT_SLOW);
    assert_int_equal(take(&faults, "org_token", "/"), TH_FAULT_SLOW);
    for (int i = 0; i < 5; i++)
        assert_int_equal(take(&faults, "org_token", "/"), TH_FAULT_HTML);
    assert_int_equal(take(&faults, "agent2", "/echo"), TH_FAULT_NONE);
    assert_int_equal(take(&faults, "agent2", "/a2a/"), TH_FAULT_NONE);
    assert_int_equal(take(&faults, "agent2", "/a2a/"), TH_FAULT_RESET);
    assert_int_equal(take(&faults, "agent2", "/a2a/"), TH_FAULT_NONE);
    th_faults_fini(&faults);
}

static void refuses_what_makes_no_sense(void **state)
{
    static const char *const rules[] = {
        "[]",
        "{\"kind\":\"slow\"}",
        "{\"place\":\"org_token\"}",
        "{\"place\":\"org_nothing\",\"kind\":\"slow\"}",
        "{\"place\":\"agent1\",\"kind\":\"slow\"}",
        "{\"place\":\"org_keys\",\"kind\":\"lost_chain\"}",
        "{\"place\":\"agent2\",\"kind\":\"expires_in\"}",
        "{\"place\":\"org_token\",\"kind\":\"echo_credential\"}",
        "{\"place\":\"org_token\",\"kind\":\"slow\",\"count\":1.5}",
    };
    struct th_faults faults;
    th_faults_init(&faults);
    for (size_t i = 0; i < TH_COUNT_OF(rules); i++)
        assert_int_equal(add_rule(&faults, rules[i]), TH_E_BAD_REQUEST);
    assert_int_equal(faults.n_rules, 0);
    th_faults_fini(&faults);
}

static void twists_claims(void **state)
{
    json_t *args = json_object();
    json_t *claims = json_loads("{\"scope\":\"a\",\"scp\":[\"a\"],"
                                "\"act\":{\"sub\":\"x\",\"act\":{\"sub\":\"y\"}}}",
                                0, NULL);
    struct th_fault fault = {TH_FAULT_WIDE_SCOPE, TH_FAULT_PHASE_CLAIMS, args};
    th_fault_twist(&fault, claims);
    assert_string_equal(json_string_value(json_object_get(claims, "scope")), "a chat.admin");
    assert_int_equal(json_array_size(json_object_get(claims, "scp")), 2);
    fault.kind = TH_FAULT_CUT_CHAIN;
    th_fault_twist(&fault, claims);
    json_t *act = json_object_get(claims, "act");
    assert_string_equal(json_string_value(json_object_get(act, "sub")), "x");
    assert_null(json_object_get(act, "act"));
    fault.kind = TH_FAULT_LOST_CHAIN;
    th_fault_twist(&fault, claims);
    assert_null(json_object_get(claims, "act"));
    json_decref(claims);
    json_decref(args);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plays_in_order),
        cmocka_unit_test(refuses_what_makes_no_sense),
        cmocka_unit_test(twists_claims),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
