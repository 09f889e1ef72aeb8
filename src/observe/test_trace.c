#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokenhop/observe/trace.h"

#include <string.h>

#define ID "0af7651916cd43dd8448eb211c80319c"
#define SPAN "b7ad6b7169203331"
#define ZEROS_16 "0000000000000000"

static void reads_strictly(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct th_str in;
        int error;
        unsigned flags;
    } rows[] = {
        {"sampled", TH_STR("00-" ID "-" SPAN "-01"), 0, 1},
        {"not sampled", TH_STR("00-" ID "-" SPAN "-00"), 0, 0},
        {"unknown flags", TH_STR("00-" ID "-" SPAN "-ff"), 0, 0xff},
        {"a later version", TH_STR("cc-" ID "-" SPAN "-01"), 0, 1},
        {"a later version with more", TH_STR("01-" ID "-" SPAN "-01-what-ever"), 0, 1},
        {"a later version with a lone dash", TH_STR("01-" ID "-" SPAN "-01-"), 0, 1},
        {"a later version glued to more", TH_STR("01-" ID "-" SPAN "-01what"), TH_E_BAD_REQUEST, 0},
        {"version ff", TH_STR("ff-" ID "-" SPAN "-01"), TH_E_BAD_REQUEST, 0},
        {"version 00 with more", TH_STR("00-" ID "-" SPAN "-01-what"), TH_E_BAD_REQUEST, 0},
        {"absent", TH_STR_NONE, TH_E_BAD_REQUEST, 0},
        {"empty", TH_STR(""), TH_E_BAD_REQUEST, 0},
        {"a digit short", TH_STR("00-" ID "-" SPAN "-0"), TH_E_BAD_REQUEST, 0},
        {"upper case id", TH_STR("00-0AF7651916cd43dd8448eb211c80319c-" SPAN "-01"),
         TH_E_BAD_REQUEST, 0},
        {"upper case version", TH_STR("CC-" ID "-" SPAN "-01"), TH_E_BAD_REQUEST, 0},
        {"upper case flags", TH_STR("00-" ID "-" SPAN "-0A"), TH_E_BAD_REQUEST, 0},
        {"no digit in the span", TH_STR("00-" ID "-b7ad6b716920333g-01"), TH_E_BAD_REQUEST, 0},
        {"zero id", TH_STR("00-" ZEROS_16 ZEROS_16 "-" SPAN "-01"), TH_E_BAD_REQUEST, 0},
        {"zero span", TH_STR("00-" ID "-" ZEROS_16 "-01"), TH_E_BAD_REQUEST, 0},
        {"first dash", TH_STR("00_" ID "-" SPAN "-01"), TH_E_BAD_REQUEST, 0},
        {"second dash", TH_STR("00-" ID "_" SPAN "-01"), TH_E_BAD_REQUEST, 0},
        {"third dash", TH_STR("00-" ID "-" SPAN "_01"), TH_E_BAD_REQUEST, 0},
        {"space before", TH_STR(" 00-" ID "-" SPAN "-01"), TH_E_BAD_REQUEST, 0},
        {"two joined", TH_STR("00-" ID "-" SPAN "-01,00-" ID "-" SPAN "-01"), TH_E_BAD_REQUEST, 0},
        {"NUL in the id", TH_STR("00-0af7651916cd43dd8448eb211c80319\0-" SPAN "-01"),
         TH_E_BAD_REQUEST, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct th_trace trace;
        print_message("  %s\n", rows[i].name);
        memset(&trace, 'x', sizeof trace);
        assert_int_equal(th_trace_parse(rows[i].in, &trace), rows[i].error);
        if (rows[i].error != 0) {
            assert_int_equal(trace.id[0], 'x'); /* untouched */
            continue;
        }
        assert_string_equal(trace.id, ID);
        assert_string_equal(trace.parent, SPAN);
        assert_string_equal(trace.span, "");
        assert_int_equal(trace.flags, rows[i].flags);
    }
}

static void goes_on(void **state)
{
    (void)state;
    struct th_trace trace, other;
    char text[TH_TRACE_PARENT_LEN + 1];
    assert_true(th_trace_start(TH_STR("cc-" ID "-" SPAN "-ff-more"), &trace));
    assert_string_equal(trace.id, ID);
    assert_string_equal(trace.parent, SPAN);
    assert_int_equal(strlen(trace.span), TH_TRACE_SPAN_LEN);
    assert_string_not_equal(trace.span, SPAN);
    th_trace_format(&trace, text);
    assert_int_equal(strlen(text), TH_TRACE_PARENT_LEN);
    assert_memory_equal(text, "00-" ID "-", 36);
    assert_memory_equal(text + 36, trace.span, 16);
    assert_string_equal(text + 52, "-01"); /* flags that version 00 does not know are dropped */
    assert_true(th_trace_start(TH_STR("00-" ID "-" SPAN "-00"), &other));
    assert_string_not_equal(other.span, trace.span);
    th_trace_format(&other, text);
    assert_string_equal(text + 52, "-00");
}

static void begins(void **state)
{
    (void)state;
    struct th_trace trace, other;
    char text[TH_TRACE_PARENT_LEN + 1];
    assert_false(th_trace_start(TH_STR_NONE, &trace));
    assert_false(th_trace_start(TH_STR("nonsense"), &other));
    assert_string_equal(trace.parent, "");
    assert_int_equal(strlen(trace.id), TH_TRACE_ID_LEN);
    assert_string_not_equal(trace.id, other.id);
    th_trace_format(&trace, text);
    struct th_trace read;
    assert_int_equal(th_trace_parse(th_str_of(text), &read), 0);
    assert_string_equal(read.id, trace.id);
    assert_string_equal(read.parent, trace.span);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_strictly),
        cmocka_unit_test(goes_on),
        cmocka_unit_test(begins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
