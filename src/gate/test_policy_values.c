/* What a claim's value is to a rule that allows, and to one that denies. */
#include <math.h>

#include "policy_values.h"
#include "test_config.h"
#include "tokenhop/oauth/json.h"

#define VALUES_MAX 3

struct row {
    enum th_policy_test test;
    const char *values[VALUES_MAX];
    const char *claim; /* JSON */
    enum th_policy_fit fit;
};

#define EQ TH_POLICY_EQUALS
#define HAS TH_POLICY_CONTAINS
#define ANY TH_POLICY_ANY_OF
#define YES TH_POLICY_FITS
#define MAY TH_POLICY_MAY_FIT
#define NO TH_POLICY_FITS_NOT

static const struct row rows[] = {
    /* numbers by their value, however they are written */
    {EQ, {"3"}, "3", YES},
    {EQ, {"3"}, "3.0", YES},
    {EQ, {"3"}, "3e0", YES},
    {EQ, {"3"}, "0.3E+1", YES},
    {EQ, {"3"}, "4", NO},
    {EQ, {"3"}, "3.5", NO},
    {EQ, {"3"}, "-3", NO},
    {EQ, {"-3"}, "-3.0", YES},
    {EQ, {"0"}, "-0.0", YES},
    {ANY, {"2", "3"}, "3.0", YES},
    /* of those that a real cannot tell apart, none is certain */
    {EQ, {"9007199254740991"}, "9007199254740991.0", YES},
    {EQ, {"9007199254740993"}, "9007199254740993", YES},
    {EQ, {"9007199254740993"}, "9007199254740992", NO},
    {EQ, {"9007199254740993"}, "9007199254740993.0", MAY},
    {EQ, {"9007199254740992"}, "9007199254740992.0", MAY},
    {EQ, {"3"}, "9007199254740993.0", NO},
    {EQ, {"9223372036854775807"}, "9223372036854775808", MAY},
    {EQ, {"3"}, "99999999999999999999", NO},
    /* a number beside one beyond 64 bits is what it is */
    {HAS, {"3"}, "[99999999999999999999, 3]", YES},
    {HAS, {"4"}, "[99999999999999999999, 3]", NO},
    {HAS, {"9007199254740993"}, "[99999999999999999999, 9007199254740993]", MAY},
    /* a text that some would read as the number; the one that is written alike is it */
    {EQ, {"3"}, "\"3\"", YES},
    {EQ, {"3"}, "\"3.0\"", MAY},
    {EQ, {"3"}, "\"03\"", MAY},
    {EQ, {"3"}, "\" 3 \"", MAY},
    {EQ, {"3"}, "\"0x3\"", MAY},
    {EQ, {"3"}, "\"three\"", NO},
    {EQ, {"3"}, "\"3x\"", NO},
    {EQ, {"3"}, "\"\"", NO},
    {EQ, {"3.0"}, "3", MAY},
    {EQ, {"nan"}, "3", NO},
    {EQ, {"a"}, "\"a\"", YES},
    {EQ, {"a"}, "\"A\"", NO},
    {EQ, {"a"}, "3", NO},
    /* booleans, and the numbers that some write for them */
    {EQ, {"true"}, "true", YES},
    {EQ, {"true"}, "false", NO},
    {EQ, {"true"}, "1", MAY},
    {EQ, {"true"}, "1.0", MAY},
    {EQ, {"false"}, "0", MAY},
    {EQ, {"true"}, "3", NO},
    {EQ, {"1"}, "true", MAY},
    {EQ, {"3"}, "true", NO},
    {EQ, {"0"}, "null", NO},
    /* lists: has them, or the value itself; no list is one value */
    {HAS, {"3"}, "[1, 3.0]", YES},
    {HAS, {"3"}, "3", YES},
    {HAS, {"3"}, "[1, \"3.0\"]", MAY},
    {HAS, {"3"}, "[]", NO},
    {HAS, {"3"}, "[4, null, \"a\"]", NO},
    {EQ, {"3"}, "[3]", MAY},
    {EQ, {"3"}, "[4]", NO},
    {EQ, {"a"}, "[\"b\", \"a\"]", MAY},
    {EQ, {"a"}, "[\"b\"]", NO},
    /* what holds others: nobody knows */
    {HAS, {"3"}, "[[3]]", MAY},
    {HAS, {"a"}, "[{\"name\": \"a\"}]", MAY},
    {EQ, {"a"}, "{\"a\": 1}", MAY},
};

static enum th_policy_fit fit_of(const struct row *row)
{
    struct th_str values[VALUES_MAX];
    struct th_policy_claim claim = {.test = row->test, .values = values};
    char text[200];
    json_t *object;

    for (size_t i = 0; i < VALUES_MAX && row->values[i] != NULL; i++)
        values[claim.n_values++] = th_str_of(row->values[i]);
    snprintf(text, sizeof text, "{\"claim\": %s}", row->claim);
    assert_int_equal(th_json_parse_object(th_str_of(text), sizeof text, &object), 0);
    enum th_policy_fit fit = th_policy_fit_claim(&claim, json_object_get(object, "claim"));
    json_decref(object);
    return fit;
}

static void values_of_every_kind(void **state)
{
    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        enum th_policy_fit fit = fit_of(&rows[i]);
        if (fit != rows[i].fit)
            fail_msg("%s for %s: %d, not %d", rows[i].claim, rows[i].values[0], fit, rows[i].fit);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(values_of_every_kind)};

    th_json_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
