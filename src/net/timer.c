#include "tokenhop/net/timer.h"

#include "tokenhop/base/check.h"

/* Slots are named by their tick, the deadline rounded up; a slot comes up when the clock has
 * reached it, hence never before the deadline. A timer hangs at most TH_WHEEL_SLOTS - 1 ticks ahead
 * of what was turned, so that an index names one tick only; one that is due later hangs as far
 * ahead as can be and is hung again when that slot comes up. */

static size_t slot_index(int64_t tick)
{
    return (size_t)(tick % TH_WHEEL_SLOTS);
}

static void mark_slot(struct th_wheel *wheel, size_t index)
{
    wheel->occupied[index / 64] |= UINT64_C(1) << (index % 64);
}

static void unmark_slot(struct th_wheel *wheel, size_t index)
{
    wheel->occupied[index / 64] &= ~(UINT64_C(1) << (index % 64));
}

void th_wheel_init(struct th_wheel *wheel, int64_t now_ms)
{
    for (size_t i = 0; i < TH_WHEEL_SLOTS; i++)
        th_list_init(&wheel->slots[i]);
    for (size_t i = 0; i < TH_WHEEL_SLOTS / 64; i++)
        wheel->occupied[i] = 0;
    wheel->turned_ms = now_ms - now_ms % TH_WHEEL_TICK_MS;
    wheel->n_timers = 0;
}

void th_timer_init(struct th_timer *timer, th_timer_fn *fn)
{
    th_list_init(&timer->link);
    timer->deadline_ms = 0;
    timer->slot_ms = 0;
    timer->fn = fn;
}

static void hang_timer(struct th_wheel *wheel, struct th_timer *timer)
{
    int64_t turned = wheel->turned_ms / TH_WHEEL_TICK_MS;
    int64_t tick = timer->deadline_ms / TH_WHEEL_TICK_MS;

    if (timer->deadline_ms % TH_WHEEL_TICK_MS != 0)
        tick++;
    if (tick <= turned)
        tick = turned + 1;
    if (tick > turned + TH_WHEEL_SLOTS - 1)
        tick = turned + TH_WHEEL_SLOTS - 1;
    timer->slot_ms = tick * TH_WHEEL_TICK_MS;
    th_list_push_back(&wheel->slots[slot_index(tick)], &timer->link);
    mark_slot(wheel, slot_index(tick));
}

static void unhang_timer(struct th_wheel *wheel, struct th_timer *timer)
{
    size_t index = slot_index(timer->slot_ms / TH_WHEEL_TICK_MS);

    th_list_remove(&timer->link);
    if (th_list_is_empty(&wheel->slots[index]))
        unmark_slot(wheel, index);
}

void th_timer_set(struct th_wheel *wheel, struct th_timer *timer, int64_t deadline_ms)
{
    bool was_set = timer->deadline_ms != 0;

    timer->deadline_ms = deadline_ms > 0 ? deadline_ms : 1;
    if (was_set && timer->deadline_ms >= timer->slot_ms)
        return;
    if (was_set)
        unhang_timer(wheel, timer);
    else
        wheel->n_timers++;
    hang_timer(wheel, timer);
}

void th_timer_stop(struct th_wheel *wheel, struct th_timer *timer)
{
    if (timer->deadline_ms == 0)
        return;
    unhang_timer(wheel, timer);
    timer->deadline_ms = 0;
    wheel->n_timers--;
}

/* The first occupied tick after what was turned; -1 when there is none. */
static int64_t next_tick(const struct th_wheel *wheel)
{
    int64_t turned = wheel->turned_ms / TH_WHEEL_TICK_MS;
    size_t start = slot_index(turned + 1);
    size_t n_words = TH_WHEEL_SLOTS / 64;

    if (wheel->n_timers == 0)
        return -1;
    for (size_t i = 0; i <= n_words; i++) {
        size_t word = (start / 64 + i) % n_words;
        uint64_t bits = wheel->occupied[word];
        if (i == 0)
            bits &= UINT64_MAX << (start % 64);
        if (bits == 0)
            continue;
        size_t index = word * 64 + (size_t)__builtin_ctzll(bits);
        size_t ahead = (index + TH_WHEEL_SLOTS - start) % TH_WHEEL_SLOTS;
        return turned + 1 + (int64_t)ahead;
    }
    return -1;
}

int64_t th_wheel_next_ms(const struct th_wheel *wheel)
{
    int64_t tick = next_tick(wheel);
    return tick < 0 ? -1 : tick * TH_WHEEL_TICK_MS;
}

static void turn_slot(struct th_wheel *wheel, int64_t tick, int64_t now_ms)
{
    struct th_list due;
    struct th_list *item;

    /* What the functions set meanwhile must not land in the list under our hands. */
    th_list_init(&due);
    th_list_splice_back(&due, &wheel->slots[slot_index(tick)]);
    unmark_slot(wheel, slot_index(tick));
    wheel->turned_ms = tick * TH_WHEEL_TICK_MS;
    while ((item = th_list_pop_front(&due)) != NULL) {
        struct th_timer *timer = TH_LIST_ENTRY(item, struct th_timer, link);
        if (timer->deadline_ms > now_ms) {
            hang_timer(wheel, timer);
            continue;
        }
        timer->deadline_ms = 0;
        wheel->n_timers--;
        timer->fn(timer);
    }
}

void th_wheel_turn(struct th_wheel *wheel, int64_t now_ms)
{
    int64_t target = now_ms / TH_WHEEL_TICK_MS;

    while (wheel->turned_ms / TH_WHEEL_TICK_MS < target) {
        int64_t tick = next_tick(wheel);
        if (tick < 0 || tick > target) {
            wheel->turned_ms = target * TH_WHEEL_TICK_MS;
            return;
        }
        turn_slot(wheel, tick, now_ms);
    }
}
