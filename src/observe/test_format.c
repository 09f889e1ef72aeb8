#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "format.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void numbers(void **state)
{
    (void)state;
    static const uint64_t values[] = {0,
                                      1,
                                      9,
                                      10,
                                      99,
                                      100,
                                      65535,
                                      4294967296,
                                      9999999999999999999u,
                                      INT64_MAX,
                                      (uint64_t)INT64_MAX + 1,
                                      UINT64_MAX};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char text[32] = {0}, expected[32];
        *th_format_u64(text, values[i]) = '!';
        (void)snprintf(expected, sizeof expected, "%" PRIu64 "!", values[i]);
        assert_string_equal(text, expected);
        memset(text, 0, sizeof text);
        *th_format_i64(text, (int64_t)values[i]) = '!';
        (void)snprintf(expected, sizeof expected, "%" PRId64 "!", (int64_t)values[i]);
        assert_string_equal(text, expected);
    }
}

static void time_is(int64_t wall_ms, const char *expected)
{
    char text[TH_FORMAT_TIME_LEN + 1] = {0};
    assert_ptr_equal(th_format_time(text, wall_ms), text + TH_FORMAT_TIME_LEN);
    assert_string_equal(text, expected);
}

static void times(void **state)
{
    (void)state;
    time_is(0, "1970-01-01T00:00:00.000Z");
    time_is(951782399999, "2000-02-28T23:59:59.999Z");
    time_is(951782400000, "2000-02-29T00:00:00.000Z");
    time_is(1709251199000, "2024-02-29T23:59:59.000Z");
    time_is(4107542399999, "2100-02-28T23:59:59.999Z");
    time_is(4107542400000, "2100-03-01T00:00:00.000Z"); /* no leap year */
    time_is(253402300799999, "9999-12-31T23:59:59.999Z");
    time_is(253402300800000, "9999-12-31T23:59:59.999Z");
    time_is(-1, "1970-01-01T00:00:00.000Z");
    time_is(INT64_MAX, "9999-12-31T23:59:59.999Z");
}

/* Every day of the range, at another time of day each. */
static void times_as_the_library_has_them(void **state)
{
    (void)state;
    for (int64_t day = 0; day < 2932896; day++) {
        int64_t ms = day * 86400000 + day * 7919 % 86400000;
        time_t seconds = (time_t)(ms / 1000);
        char text[TH_FORMAT_TIME_LEN + 1] = {0}, expected[64];
        struct tm tm;
        (void)th_format_time(text, ms);
        /* the days of 100 years around the present, then each 97th */
        if (day > 40000 && day % 97 != 0)
            continue;
        size_t len =
            strftime(expected, sizeof expected, "%Y-%m-%dT%H:%M:%S", gmtime_r(&seconds, &tm));
        (void)snprintf(expected + len, sizeof expected - len, ".%03dZ", (int)(ms % 1000));
        assert_string_equal(text, expected);
    }
}

/* Each byte at each place of a word and behind it. */
static void plain_bytes(void **state)
{
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        bool plain = byte >= 0x20 && byte < 0x7F && byte != '"' && byte != '\\';
        for (size_t place = 0; place < 20; place++) {
            char in[20], out[20];
            memset(in, 'a', sizeof in);
            memset(out, '?', sizeof out);
            in[place] = (char)byte;
            size_t expected = plain ? sizeof in : place;
            assert_int_equal(th_format_plain(out, (struct th_str){in, sizeof in}), expected);
            assert_memory_equal(in, out, expected);
        }
    }
    assert_int_equal(th_format_plain(NULL, TH_STR_NONE), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),
        cmocka_unit_test(times),
        cmocka_unit_test(times_as_the_library_has_them),
        cmocka_unit_test(plain_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
