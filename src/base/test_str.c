#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokenhop/base/str.h"

static void numbers(void **state)
{
    (void)state;
    static const struct {
        struct th_str in;
        uint64_t max;
        int error;
        uint64_t value;
    } rows[] = {
        {TH_STR("0"), 10, 0, 0},
        {TH_STR("007"), 10, 0, 7},
        {TH_STR("65535"), 65535, 0, 65535},
        {TH_STR("65536"), 65535, TH_E_BAD_REQUEST, 0},
        {TH_STR("18446744073709551615"), UINT64_MAX, 0, UINT64_MAX},
        {TH_STR("18446744073709551616"), UINT64_MAX, TH_E_BAD_REQUEST, 0},
        {TH_STR("99999999999999999999999"), UINT64_MAX, TH_E_BAD_REQUEST, 0},
        {TH_STR(""), 10, TH_E_BAD_REQUEST, 0},
        {TH_STR_NONE, 10, TH_E_BAD_REQUEST, 0},
        {TH_STR("+1"), 10, TH_E_BAD_REQUEST, 0},
        {TH_STR("-1"), 10, TH_E_BAD_REQUEST, 0},
        {TH_STR(" 1"), 10, TH_E_BAD_REQUEST, 0},
        {TH_STR("1 "), 10, TH_E_BAD_REQUEST, 0},
        {TH_STR("0x1"), 10, TH_E_BAD_REQUEST, 0},
        {TH_STR("1\0"), 10, TH_E_BAD_REQUEST, 0},
        {TH_STR("1,1"), 100, TH_E_BAD_REQUEST, 0},
        {TH_STR("\xd9\xa1"), 10, TH_E_BAD_REQUEST, 0}, /* ARABIC-INDIC DIGIT ONE */
        {TH_STR("/"), 10, TH_E_BAD_REQUEST, 0},
        {TH_STR(":"), 10, TH_E_BAD_REQUEST, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t value = 12345;
        print_message("  %.*s\n", TH_STR_ARGS(rows[i].in));
        assert_int_equal(th_str_to_u64(rows[i].in, rows[i].max, &value), rows[i].error);
        assert_true(value == (rows[i].error == 0 ? rows[i].value : 12345));
    }
}

static void comparisons(void **state)
{
    (void)state;
    static const struct {
        struct th_str a, b;
        bool equal, nocase, starts, ends;
    } rows[] = {
        {TH_STR("bearer"), TH_STR("bearer"), true, true, true, true},
        {TH_STR("Bearer"), TH_STR("bEARER"), false, true, false, false},
        {TH_STR("bearer"), TH_STR("bear"), false, false, true, false},
        {TH_STR("bearer"), TH_STR("rer"), false, false, false, true},
        {TH_STR("bear"), TH_STR("bearer"), false, false, false, false},
        {TH_STR(""), TH_STR(""), true, true, true, true},
        {TH_STR("x"), TH_STR(""), false, false, true, true},
        {TH_STR_NONE, TH_STR(""), true, true, true, true},
        {TH_STR("x"), TH_STR_NONE, false, false, true, true},
        {TH_STR("@"), TH_STR("`"), false, false, false, false}, /* differ by 0x20, no letters */
        {TH_STR("["), TH_STR("{"), false, false, false, false},
        {TH_STR("\xc4"), TH_STR("\xe4"), false, false, false, false},
        {TH_STR("a\0b"), TH_STR("A\0B"), false, true, false, false},
        {TH_STR("Z"), TH_STR("z"), false, true, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("  %.*s / %.*s\n", TH_STR_ARGS(rows[i].a), TH_STR_ARGS(rows[i].b));
        assert_int_equal(th_str_equal(rows[i].a, rows[i].b), rows[i].equal);
        assert_int_equal(th_str_equal_nocase(rows[i].a, rows[i].b), rows[i].nocase);
        assert_int_equal(th_str_starts_with(rows[i].a, rows[i].b), rows[i].starts);
        assert_int_equal(th_str_ends_with(rows[i].a, rows[i].b), rows[i].ends);
    }
}

/* Every byte at every place of a block of sixteen. */
static void token68_and_control(void **state)
{
    (void)state;
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/";
    for (int c = 0; c < 256; c++) {
        bool good = c != 0 && strchr(alphabet, c) != NULL;
        for (size_t len = 1; len < 40; len++) {
            char text[40];
            memset(text, 'a', sizeof text);
            for (size_t at = 0; at < len; at++) {
                text[at] = (char)c;
                /* '=' only at the end, and not alone */
                bool padding = c == '=' && at == len - 1 && len > 1;
                assert_int_equal(th_str_is_token68((struct th_str){text, len}), good || padding);
                assert_int_equal(th_str_has_control((struct th_str){text, len}),
                                 c < 0x20 || c == 0x7f);
                text[at] = 'a';
            }
        }
    }
    assert_false(th_str_is_token68(TH_STR("")));
    assert_false(th_str_is_token68(TH_STR("===")));
    assert_true(th_str_is_token68(TH_STR("a==")));
    assert_false(th_str_has_control(TH_STR("")));
}

static void trimming(void **state)
{
    (void)state;
    static const struct {
        struct th_str in, out;
    } rows[] = {
        {TH_STR("a"), TH_STR("a")},
        {TH_STR(" \t a b \t"), TH_STR("a b")},
        {TH_STR(" \t "), TH_STR("")},
        {TH_STR(""), TH_STR("")},
        {TH_STR("\r\na\v\f"), TH_STR("\r\na\v\f")}, /* these are no OWS */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_true(th_str_equal(th_str_trim(rows[i].in), rows[i].out));
    assert_int_equal(th_str_trim(TH_STR_NONE).len, 0);
    assert_true(th_str_equal(th_str_trim_lines(TH_STR("\r\n\t a\n b \r\n\n")), TH_STR("a\n b")));
    assert_int_equal(th_str_trim_lines(TH_STR(" \n\n")).len, 0);
    assert_int_equal(th_str_trim_lines(TH_STR_NONE).len, 0);
    assert_int_equal(th_str_of(NULL).len, 0);
    assert_true(th_str_equal(th_str_of("abc"), TH_STR("abc")));
}

static void hex(void **state)
{
    char text[9] = "........";

    (void)state;
    th_str_format_hex((const uint8_t *)"\x00\x9a\xff", 3, text);
    assert_string_equal(text, "009aff");
    assert_int_equal(text[7], '.');
    th_str_format_hex(NULL, 0, text);
    assert_string_equal(text, "");
}

static void words(void **state)
{
    struct th_str rest = TH_STR("a,,bc,"), word;

    (void)state;
    assert_true(th_str_take_word(&rest, ',', &word) && th_str_equal(word, TH_STR("a")));
    assert_true(th_str_take_word(&rest, ',', &word) && word.len == 0);
    assert_true(th_str_take_word(&rest, ',', &word) && th_str_equal(word, TH_STR("bc")));
    assert_false(th_str_take_word(&rest, ',', &word));
    rest = TH_STR_NONE;
    assert_false(th_str_take_word(&rest, ' ', &word));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),  cmocka_unit_test(comparisons),
        cmocka_unit_test(trimming), cmocka_unit_test(hex),
        cmocka_unit_test(words),    cmocka_unit_test(token68_and_control),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
