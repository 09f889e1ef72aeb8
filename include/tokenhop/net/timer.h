/* Timers of one worker: a wheel of slots, TH_WHEEL_TICK_MS each, driven by one libevent timer that
 * is armed for the next slot that is not empty. Made for deadlines that are moved on every request
 * and seldom reached: moving one later only writes the number (the slot finds out when it comes
 * up).
 *
 * A timer is embedded in its owner, who must stop it before it goes. Fires once, at or up to one
 * tick after its deadline, never before. The worker's thread only. */
#ifndef TOKENHOP_NET_TIMER_H
#define TOKENHOP_NET_TIMER_H

#include <stdint.h>

#include "tokenhop/base/list.h"

#define TH_WHEEL_TICK_MS 16
#define TH_WHEEL_SLOTS 1024

struct th_timer;
typedef void th_timer_fn(struct th_timer *timer);

struct th_timer {
    struct th_list link;
    int64_t deadline_ms; /* monotonic; 0 when stopped */
    int64_t slot_ms;     /* when the slot it hangs in comes up */
    th_timer_fn *fn;
};

struct th_wheel {
    struct th_list slots[TH_WHEEL_SLOTS];
    uint64_t occupied[TH_WHEEL_SLOTS / 64];
    int64_t turned_ms; /* all slots up to here have been seen */
    size_t n_timers;
};

void th_wheel_init(struct th_wheel *wheel, int64_t now_ms);
/* Runs what is due at `now_ms`. Functions may set and stop any timer, their own too. */
void th_wheel_turn(struct th_wheel *wheel, int64_t now_ms);
/* When th_wheel_turn() must be called next; -1 when no timer is set. May be earlier than any
 * deadline, never later. */
int64_t th_wheel_next_ms(const struct th_wheel *wheel);

void th_timer_init(struct th_timer *timer, th_timer_fn *fn);
void th_timer_set(struct th_wheel *wheel, struct th_timer *timer, int64_t deadline_ms);
void th_timer_stop(struct th_wheel *wheel, struct th_timer *timer);

#endif
