#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokenhop/base/clock.h"

static void a_fake_one_stands_until_turned(void **state)
{
    (void)state;
    struct th_clock clock;
    th_clock_init_fake(&clock, 1700000000000);
    int64_t begin = th_clock_monotonic_ms(&clock);
    assert_true(begin > 0);
    assert_int_equal(th_clock_wall_ms(&clock), 1700000000000);
    assert_int_equal(th_clock_monotonic_ms(&clock), begin);
    th_clock_turn(&clock, 30000);
    assert_int_equal(th_clock_monotonic_ms(&clock), begin + 30000);
    assert_int_equal(th_clock_wall_ms(&clock), 1700000030000);
}

static void the_systems_units(void **state)
{
    (void)state;
    int64_t ms = th_clock_monotonic_ms(&th_clock_system);
    int64_t us = th_clock_precise_us();
    int64_t later_ms = th_clock_monotonic_ms(&th_clock_system);
    assert_in_range(us / 1000, ms, later_ms);
    /* between 2020 and 2100 */
    assert_in_range(th_clock_wall_ms(&th_clock_system), 1577836800000, 4102444800000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fake_one_stands_until_turned),
        cmocka_unit_test(the_systems_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
