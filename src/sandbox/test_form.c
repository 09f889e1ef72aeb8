#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "form.h"
#include "scopes.h"
#include "tokenhop/base/check.h"

static const struct form_row {
    const char *body;
    enum th_form_fault fault;
    const char *name, *value; /* when it is fine */
} rows[] = {
    {"", TH_FORM_FINE, "a", ""},
    {"a=b", TH_FORM_FINE, "a", "b"},
    {"a=b&c=d", TH_FORM_FINE, "c", "d"},
    {"a", TH_FORM_FINE, "a", ""},
    {"a=", TH_FORM_FINE, "a", ""},
    {"a=x+y%20z", TH_FORM_FINE, "a", "x y z"},
    {"a=%2B%26%3d", TH_FORM_FINE, "a", "+&="},
    {"%61=b", TH_FORM_FINE, "a", "b"},
    {"a=https://x.test/y?z", TH_FORM_FINE, "a", "https://x.test/y?z"},
    {"a=b&a=b", TH_FORM_DUPLICATE, NULL, NULL},
    {"a=b&%61=c", TH_FORM_DUPLICATE, NULL, NULL},
    {"a=&a=", TH_FORM_DUPLICATE, NULL, NULL},
    {"=b", TH_FORM_MALFORMED, NULL, NULL},
    {"a=b&", TH_FORM_MALFORMED, NULL, NULL},
    {"&a=b", TH_FORM_MALFORMED, NULL, NULL},
    {"a=b&&c=d", TH_FORM_MALFORMED, NULL, NULL},
    {"a=b=c", TH_FORM_MALFORMED, NULL, NULL},
    {"a=%", TH_FORM_MALFORMED, NULL, NULL},
    {"a=%4", TH_FORM_MALFORMED, NULL, NULL},
    {"a=%4g", TH_FORM_MALFORMED, NULL, NULL},
    {"a=%00", TH_FORM_MALFORMED, NULL, NULL},
    {"a=%0a", TH_FORM_MALFORMED, NULL, NULL},
    {"a=%7f", TH_FORM_MALFORMED, NULL, NULL},
    {"a=b c", TH_FORM_MALFORMED, NULL, NULL},
    {"a=b\r\n", TH_FORM_MALFORMED, NULL, NULL},
    {"a=\"b\"", TH_FORM_MALFORMED, NULL, NULL},
    {"a=\xc3\xa9", TH_FORM_MALFORMED, NULL, NULL},
};

static void decodes_strictly(void **state)
{
    struct th_form form;
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        print_message("  %s\n", rows[i].body);
        assert_int_equal(th_form_init(&form, th_str_of(rows[i].body)), rows[i].fault);
        if (rows[i].fault == TH_FORM_FINE)
            assert_true(th_str_equal(th_form_get(&form, rows[i].name), th_str_of(rows[i].value)));
        th_form_fini(&form);
    }
}

static void bounds_the_fields(void **state)
{
    struct th_form form;
    char body[4 * (TH_FORM_MAX_FIELDS + 1) + 1] = "";
    for (int i = 0; i <= TH_FORM_MAX_FIELDS; i++) {
        char field[] = {'&', (char)('a' + i % 26), (char)('A' + i / 26), '=', '\0'};
        strcat(body, i == 0 ? field + 1 : field);
        if (i + 1 == TH_FORM_MAX_FIELDS) {
            assert_int_equal(th_form_init(&form, th_str_of(body)), TH_FORM_FINE);
            th_form_fini(&form);
        }
    }
    assert_int_equal(th_form_init(&form, th_str_of(body)), TH_FORM_TOO_MANY);
    th_form_fini(&form);
}

static void knows_scopes(void **state)
{
    static const struct {
        const char *list;
        bool fine, system, within;
    } cases[] = {
        {"a", true, false, true},        {"a b", true, false, true},
        {"b a", true, false, true},      {"a c", true, false, false},
        {"ab", true, false, false},      {"a openid", true, true, false},
        {"openidx", true, false, false}, {"a  b", false, false, true},
        {" a", false, false, true},      {"a ", false, false, true},
        {"a a", false, false, true},     {"a+b", false, false, false},
        {"a\"b", false, false, false},   {"a\tb", false, false, false},
        {"", true, false, true},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_str list = th_str_of(cases[i].list);
        print_message("  '%s'\n", cases[i].list);
        assert_int_equal(th_scopes_are_well_formed(list), cases[i].fine);
        assert_int_equal(th_scopes_have_system(list), cases[i].system);
        assert_int_equal(th_scopes_within(list, TH_STR("a b")), cases[i].within);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_strictly),
        cmocka_unit_test(bounds_the_fields),
        cmocka_unit_test(knows_scopes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
