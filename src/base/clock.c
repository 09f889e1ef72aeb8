#include "tokenhop/base/clock.h"

#include <time.h>

static int64_t read_clock_us(clockid_t id)
{
    struct timespec now;
    (void)clock_gettime(id, &now); /* cannot fail for the two clocks asked here */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t system_monotonic_ms(const struct th_clock *clock)
{
    (void)clock;
    return read_clock_us(CLOCK_MONOTONIC) / 1000;
}

static int64_t system_wall_ms(const struct th_clock *clock)
{
    (void)clock;
    return read_clock_us(CLOCK_REALTIME) / 1000;
}

const struct th_clock th_clock_system = {
    .monotonic_ms = system_monotonic_ms,
    .wall_ms = system_wall_ms,
};

int64_t th_clock_precise_us(void)
{
    return read_clock_us(CLOCK_MONOTONIC);
}

static int64_t fake_monotonic_ms(const struct th_clock *clock)
{
    return clock->fake_monotonic_ms;
}

static int64_t fake_wall_ms(const struct th_clock *clock)
{
    return clock->fake_wall_ms;
}

void th_clock_init_fake(struct th_clock *clock, int64_t wall_ms)
{
    *clock = (struct th_clock){
        .monotonic_ms = fake_monotonic_ms,
        .wall_ms = fake_wall_ms,
        .fake_monotonic_ms = 1, /* so that 0 can mean "never" in code under test */
        .fake_wall_ms = wall_ms,
    };
}

void th_clock_turn(struct th_clock *clock, int64_t by_ms)
{
    clock->fake_monotonic_ms += by_ms;
    clock->fake_wall_ms += by_ms;
}
