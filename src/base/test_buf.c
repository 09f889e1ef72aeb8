#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokenhop/base/buf.h"

#include <string.h>

#include "tokenhop/base/mem.h"

static void json_strings(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct th_str in;
        const char *out;
    } rows[] = {
        {"plain", TH_STR("abc /~ "), "abc /~ "},
        {"empty", TH_STR(""), ""},
        {"quote and backslash", TH_STR("a\"b\\c"), "a\\\"b\\\\c"},
        {"short escapes", TH_STR("\b\f\n\r\t"), "\\b\\f\\n\\r\\t"},
        {"other controls", TH_STR("\x01\x1f\x7f"), "\\u0001\\u001f\\u007f"},
        {"NUL", TH_STR("a\0b"), "a\\u0000b"},
        {"an escape sequence of a terminal", TH_STR("\x1b[2J"), "\\u001b[2J"},
        {"C1 controls", TH_STR("\xc2\x80\xc2\x9f\xc2\xa0"), "\\u0080\\u009f\xc2\xa0"},
        {"two, three and four bytes", TH_STR("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
         "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"the ends of the ranges", TH_STR("\xdf\xbf\xef\xbf\xbf\xf4\x8f\xbf\xbf"),
         "\xdf\xbf\xef\xbf\xbf\xf4\x8f\xbf\xbf"},
        {"a lone continuation", TH_STR("a\x80z"), "a\xef\xbf\xbdz"},
        {"overlong NUL", TH_STR("\xc0\x80"), "\xef\xbf\xbd\xef\xbf\xbd"},
        {"overlong slash of three", TH_STR("\xe0\x80\xaf"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"a surrogate", TH_STR("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"beyond U+10FFFF", TH_STR("\xf4\x90\x80\x80"),
         "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"a lead that none can have", TH_STR("\xf5\x80\x80\x80"),
         "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"FF", TH_STR("\xff"), "\xef\xbf\xbd"},
        {"cut short at the end", TH_STR("a\xe2\x82"), "a\xef\xbf\xbd"},
        {"cut short by a letter", TH_STR("\xe2\x82z"), "\xef\xbf\xbdz"},
        {"cut short by a quote", TH_STR("\xf0\x9f\""), "\xef\xbf\xbd\\\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("  %s\n", rows[i].name);
        struct th_buf buf;
        th_buf_init(&buf, 1000);
        th_buf_add_char(&buf, '<');
        th_buf_add_json(&buf, rows[i].in);
        th_buf_add_char(&buf, '>');
        assert_false(buf.failed);
        assert_int_equal(buf.len, strlen(rows[i].out) + 2);
        assert_memory_equal(buf.ptr + 1, rows[i].out, buf.len - 2);
        assert_int_equal(buf.ptr[buf.len], 0);
        th_buf_fini(&buf);
    }
}

static void appends_and_ends_with_nul(void **state)
{
    (void)state;
    struct th_buf buf;
    th_buf_init(&buf, 1 << 20);
    for (int i = 0; i < 10000; i++) {
        th_buf_add(&buf, "ab", 2);
        th_buf_printf(&buf, "%d", i % 10);
        assert_int_equal(buf.ptr[buf.len], 0);
    }
    assert_int_equal(buf.len, 30000);
    for (size_t i = 0; i < 10000; i++) {
        assert_memory_equal(buf.ptr + 3 * i, "ab", 2);
        assert_int_equal(buf.ptr[3 * i + 2], '0' + (int)(i % 10));
    }
    th_buf_add(&buf, NULL, 0);
    th_buf_add_str(&buf, TH_STR_NONE);
    assert_int_equal(th_buf_str(&buf).len, 30000);
    th_buf_fini(&buf);
    assert_null(buf.ptr);
}

static void holds_its_maximum(void **state)
{
    (void)state;
    static const size_t maxima[] = {0, 1, 63, 64, 65, 100, 1000};
    for (size_t i = 0; i < sizeof maxima / sizeof maxima[0]; i++) {
        struct th_buf buf;
        th_buf_init(&buf, maxima[i]);
        for (size_t n = 0; n < maxima[i]; n++)
            th_buf_add_char(&buf, 'x');
        assert_false(buf.failed);
        assert_int_equal(buf.len, maxima[i]);
        assert_true(buf.size <= maxima[i] + 1);
        th_buf_add_char(&buf, 'y');
        assert_true(buf.failed);
        th_buf_add(&buf, NULL, 0); /* sticks, and nothing is added any more */
        th_buf_printf(&buf, "%s", "");
        assert_null(th_buf_reserve(&buf, 0));
        assert_true(buf.failed);
        assert_int_equal(buf.len, maxima[i]);
        th_buf_clear(&buf);
        assert_false(buf.failed);
        assert_int_equal(buf.len, 0);
        th_buf_add(&buf, "", 0);
        assert_false(buf.failed);
        th_buf_fini(&buf);
    }
}

static void a_piece_is_added_whole_or_not(void **state)
{
    (void)state;
    struct th_buf buf;
    th_buf_init(&buf, 10);
    th_buf_add(&buf, "12345678", 8);
    th_buf_printf(&buf, "%s", "abc");
    assert_true(buf.failed);
    assert_string_equal(buf.ptr, "12345678");
    th_buf_fini(&buf);
    th_buf_init(&buf, SIZE_MAX);
    th_buf_add(&buf, "1", 1);
    assert_null(th_buf_reserve(&buf, SIZE_MAX));
    assert_true(buf.failed);
    assert_string_equal(buf.ptr, "1");
    th_buf_fini(&buf);
}

static void room_by_hand(void **state)
{
    (void)state;
    struct th_buf buf;
    th_buf_init(&buf, 100);
    th_buf_add(&buf, "a", 1);
    char *at = th_buf_reserve(&buf, 99);
    assert_non_null(at);
    memset(at, 'b', 99);
    th_buf_commit(&buf, 0);
    assert_string_equal(buf.ptr, "a");
    memset(at, 'b', 99);
    th_buf_commit(&buf, 99);
    assert_int_equal(buf.len, 100);
    assert_int_equal(buf.ptr[100], 0);
    assert_null(th_buf_reserve(&buf, 1));
    th_buf_fini(&buf);
}

static void secrets_do_not_stay(void **state)
{
    (void)state;
    struct th_buf buf;
    th_buf_init_secret(&buf, 1000);
    for (int i = 0; i < 300; i++)
        th_buf_add(&buf, "s", 1);
    char *block = buf.ptr;
    size_t size = buf.size;
    th_buf_clear(&buf);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(block[i], 0);
    th_buf_add(&buf, "again", 5);
    assert_string_equal(buf.ptr, "again");
    assert_ptr_equal(buf.ptr, block);
    th_buf_fini(&buf);
}

static void memory_is_short(void **state)
{
    (void)state;
#ifdef TH_FAIL_ALLOC
    for (int secret = 0; secret <= 1; secret++) {
        for (unsigned long nth = 1; nth <= 4; nth++) {
            struct th_buf buf;
            secret != 0 ? th_buf_init_secret(&buf, 4096) : th_buf_init(&buf, 4096);
            th_mem_fail_after(nth, 1);
            for (int i = 0; i < 1000; i++)
                th_buf_add_char(&buf, 'x');
            th_mem_fail_after(0, 0);
            assert_true(buf.failed);
            assert_int_equal(buf.len, nth == 1 ? 0 : (64u << (nth - 2)) - 1);
            assert_true(buf.len == 0 || strspn(buf.ptr, "x") == buf.len);
            th_buf_fini(&buf);
        }
    }
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_strings),      cmocka_unit_test(appends_and_ends_with_nul),
        cmocka_unit_test(holds_its_maximum), cmocka_unit_test(a_piece_is_added_whole_or_not),
        cmocka_unit_test(room_by_hand),      cmocka_unit_test(secrets_do_not_stay),
        cmocka_unit_test(memory_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
