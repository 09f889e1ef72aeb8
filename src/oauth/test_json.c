/* JSON while memory runs short: a parse ends with that, whatever jansson would have made of it. */
#include <stdio.h>
#include <stdlib.h>

#include "test_support.h"
#include "tokenhop/base/check.h"

/* Whichever allocation fails, alone or with all that follow. Returns how many the text takes. */
static unsigned long fail_each(const char *text, unsigned long for_how_many)
{
    unsigned long nth = 0;
    int error = TH_E_NOMEM;
    while (error != 0) {
        json_t *object = NULL;
        nth++;
        assert_in_range(nth, 1, 10000);
        th_mem_fail_after(nth, for_how_many);
        error = th_json_parse_object(th_str_of(text), 100000, &object);
        th_mem_fail_after(0, 0);
        assert_true(error == 0 || error == TH_E_NOMEM);
        assert_int_equal(object != NULL, error == 0);
        json_decref(object);
    }
    return nth;
}

/* The closing quote of one of these stands where jansson's buffer must grow. */
static void strings_of_every_length(void **state)
{
    char text[400];
    for (size_t len = 0; len < 140; len++) {
        memset(text, 'x', sizeof text);
        memcpy(text, "{\"error\":\"", 10);
        (void)snprintf(text + 10 + len, sizeof text - 10 - len, "\"}");
        (void)fail_each(text, 1);
        (void)fail_each(text, 1000000);
    }
}

static void all_kinds_of_values(void **state)
{
    static const char *const texts[] = {
        "{}",
        "{\"a\":[1,-2.5e3,true,false,null,{\"b\":{}}],\"\\u00e9\\ud83d\\ude00\":\"\\n\"}",
        "{\"exp\":99999999999999999999999999}", /* parsed twice */
        "{\"a\":[[[[[[[[\"a string that is longer than any small buffer is\"]]]]]]]]}",
    };
    for (size_t i = 0; i < TH_COUNT_OF(texts); i++) {
        unsigned long n = fail_each(texts[i], 1);
        assert_int_equal(fail_each(texts[i], 1000000), n);
    }
}

/* What was left behind does not stand in the way of what follows. */
static void values_outlive_their_parse(void **state)
{
    json_t *kept, *other;
    assert_int_equal(th_json_parse_object(TH_STR("{\"a\":[\"b\"]}"), 100, &kept), 0);
    th_mem_fail_after(3, 1);
    int error = th_json_parse_object(TH_STR("{\"c\":[\"d\"]}"), 100, &other);
    th_mem_fail_after(0, 0);
    if (error == 0) /* a build in which nothing fails */
        json_decref(other);
    assert_int_equal(json_object_set_new(kept, "e", json_string("f")), 0);
    assert_int_equal(json_object_del(kept, "a"), 0);
    assert_string_equal(json_string_value(json_object_get(kept, "e")), "f");
    json_decref(kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_of_every_length),
        cmocka_unit_test(all_kinds_of_values),
        cmocka_unit_test(values_outlive_their_parse),
    };
    th_json_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
