/* Templates: which are taken, and what they become. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "template.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/base/check.h"

/* The parts as text: names in <>. */
static const struct good_case {
    const char *text, *parts;
} good[] = {
    {"{a}", "<a>|"},
    {"{api_key}", "<api_key>|"},
    {"Bearer {api_key}", "Bearer |<api_key>|"},
    {"{a}{b}", "<a>|<b>|"},
    {"{a}:{a}", "<a>|:|<a>|"},
    {"{{{a}}}", "{|<a>|}|"},
    {"{{}}{a}", "{|}|<a>|"},
    {"{{a}} {b}", "{|a|}| |<b>|"},
    {"ApiKey id=\"{key-id}\", v=\"{v.1}\"", "ApiKey id=\"|<key-id>|\", v=\"|<v.1>|\"|"},
};

static const struct bad_case {
    const char *text, *what;
} bad[] = {
    {"", "printable ASCII"},
    {" {a}", "without spaces around"},
    {"{a} ", "without spaces around"},
    {"{a}\t", "printable ASCII"},
    {"{a}\x7f", "printable ASCII"},
    {"\xc3\xa9{a}", "printable ASCII"},
    {"{a}\r\nX: y", "printable ASCII"},
    {"constant", "at least one name"},
    {"{{a}}", "at least one name"},
    {"{", "not closed"},
    {"x{", "not closed"},
    {"{a", "not closed"},
    {"{a{b}", "not closed"},
    {"{a{{b}", "not closed"},
    {"{a}{", "not closed"},
    {"}", "was not opened"},
    {"{a}}", "was not opened"},
    {"a}b{c}", "was not opened"},
    {"{}", "1 to 64"},
    {"{a b}", "1 to 64"},
    {"{a:b}", "1 to 64"},
    {"{a$}", "1 to 64"},
    {"{aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}", "1 to 64"},
    {"{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}"
     "{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}{a}"
     "{a}{a}{a}",
     "more than 64 parts"},
};

static void test_good(void **state)
{
    struct th_config_template_part parts[TH_TEMPLATE_PARTS_MAX];
    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(good); i++) {
        struct th_errinfo info = {0};
        struct th_buf text;
        if (th_template_check(th_str_of(good[i].text), &info) != 0)
            fail_msg("%s: %s", good[i].text, info.what);
        size_t n = th_template_split(th_str_of(good[i].text), parts);
        th_buf_init(&text, 4096);
        for (size_t k = 0; k < n; k++)
            th_buf_printf(&text, parts[k].is_name ? "<%.*s>|" : "%.*s|",
                          TH_STR_ARGS(parts[k].text));
        assert_string_equal(text.ptr, good[i].parts);
        th_buf_fini(&text);
    }
}

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(bad); i++) {
        struct th_errinfo info = {0};
        if (th_template_check(th_str_of(bad[i].text), &info) != TH_E_CONFIG)
            fail_msg("taken: %s", bad[i].text);
        if (strstr(info.what, bad[i].what) == NULL)
            fail_msg("%s: %s", bad[i].text, info.what);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_bad)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
