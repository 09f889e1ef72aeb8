#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/utf8.h"

static void whole(void **state)
{
    (void)state;
    static const struct {
        struct th_str text;
        bool is_whole;
    } rows[] = {
        {TH_STR(""), true},
        {TH_STR("a\x01\x7F"), true},
        {TH_STR("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"), true},
        {TH_STR("\xC3"), false},
        {TH_STR("\xE2\x82"), false},
        {TH_STR("\xF0\x9F\x98"), false},
        {TH_STR("\xA9"), false},
        {TH_STR("\xC0\xAF"), false},
        {TH_STR("\xED\xA0\x80"), false},
        {TH_STR("\xF4\x90\x80\x80"), false},
    };
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++)
        if (th_utf8_is_whole(rows[i].text) != rows[i].is_whole)
            fail_msg("case %zu", i);
}

static void cut(void **state)
{
    (void)state;
    static const struct {
        struct th_str text;
        size_t max, len;
    } rows[] = {
        {TH_STR(""), 0, 0},
        {TH_STR("abc"), 3, 3},
        {TH_STR("abc"), 2, 2},
        {TH_STR("abc"), 0, 0},
        {TH_STR("a\xC3\xA9z"), 3, 3},
        {TH_STR("a\xC3\xA9z"), 2, 1},
        {TH_STR("\xC3\xA9"), 1, 0},
        {TH_STR("a\xE2\x82\xACz"), 4, 4},
        {TH_STR("a\xE2\x82\xACz"), 3, 1},
        {TH_STR("a\xE2\x82\xACz"), 2, 1},
        {TH_STR("a\xF0\x9F\x98\x80z"), 5, 5},
        {TH_STR("a\xF0\x9F\x98\x80z"), 4, 1},
        {TH_STR("a\xF0\x9F\x98\x80z"), 3, 1},
        {TH_STR("a\xF0\x9F\x98\x80z"), 2, 1},
        {TH_STR("\x80\x80\x80\x80\x80\x80"), 5, 5}, /* no character at all */
        {TH_STR("a\xE2zzz"), 2, 2},                 /* nor this */
    };
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct th_str got = th_utf8_cut(rows[i].text, rows[i].max);
        if (got.len != rows[i].len || got.ptr != rows[i].text.ptr)
            fail_msg("case %zu: %zu", i, got.len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole),
        cmocka_unit_test(cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
