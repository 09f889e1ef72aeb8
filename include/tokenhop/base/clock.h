/* Time comes through this, so that a test can turn the clock. Milliseconds everywhere.
 * Monotonic time for timeouts and lifetimes; wall time (since 1970, UTC) for tokens and logs. */
#ifndef TOKENHOP_BASE_CLOCK_H
#define TOKENHOP_BASE_CLOCK_H

#include <stdint.h>

struct th_clock {
    int64_t (*monotonic_ms)(const struct th_clock *clock);
    int64_t (*wall_ms)(const struct th_clock *clock);
    int64_t fake_monotonic_ms; /* of a clock that a test turns */
    int64_t fake_wall_ms;
};

extern const struct th_clock th_clock_system;

static inline int64_t th_clock_monotonic_ms(const struct th_clock *c)
{
    return c->monotonic_ms(c);
}
static inline int64_t th_clock_wall_ms(const struct th_clock *c)
{
    return c->wall_ms(c);
}
/* Microseconds of the system's monotonic clock: for measuring, not for deciding. */
int64_t th_clock_precise_us(void);

/* A clock that stands until it is turned. */
void th_clock_init_fake(struct th_clock *clock, int64_t wall_ms);
void th_clock_turn(struct th_clock *clock, int64_t by_ms);

#endif
