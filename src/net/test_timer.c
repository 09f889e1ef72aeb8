#include "test_support.h"

#include <stdlib.h>

#include "tokenhop/net/timer.h"

struct probe {
    struct th_timer timer;
    struct th_wheel *wheel;
    int fired;
    int64_t again_ms; /* its function sets it again for this long after; 0: not */
    struct th_timer *stops;
    int64_t now_ms;
};

static void on_probe(struct th_timer *timer)
{
    struct probe *probe = TH_CONTAINER_OF(timer, struct probe, timer);

    probe->fired++;
    probe->now_ms = probe->wheel->turned_ms;
    if (probe->stops != NULL)
        th_timer_stop(probe->wheel, probe->stops);
    if (probe->again_ms != 0)
        th_timer_set(probe->wheel, timer, probe->now_ms + probe->again_ms);
}

static void probe_init(struct probe *probe, struct th_wheel *wheel)
{
    memset(probe, 0, sizeof(*probe));
    probe->wheel = wheel;
    th_timer_init(&probe->timer, on_probe);
}

static void test_never_before_at_most_a_tick_after(void **state)
{
    static struct th_wheel wheel;
    static const int64_t starts[] = {0, 1, 15, 16, 1000003};
    static const int64_t delays[] = {1, 15, 16, 17, 250, 16000, 16384, 20000, 3600000};

    for (size_t s = 0; s < TH_COUNT_OF(starts); s++) {
        for (size_t d = 0; d < TH_COUNT_OF(delays); d++) {
            struct probe probe;
            int64_t now = starts[s];
            int64_t deadline = starts[s] + delays[d];
            th_wheel_init(&wheel, now);
            probe_init(&probe, &wheel);
            th_timer_set(&wheel, &probe.timer, deadline);
            while (!probe.fired) {
                int64_t next = th_wheel_next_ms(&wheel);
                assert_true(next > now);
                assert_true(next <= deadline + TH_WHEEL_TICK_MS);
                now = next;
                th_wheel_turn(&wheel, now);
            }
            assert_true(now >= deadline);
            assert_true(now < deadline + TH_WHEEL_TICK_MS);
            assert_int_equal(th_wheel_next_ms(&wheel), -1);
            assert_int_equal(wheel.n_timers, 0);
        }
    }
}

static void test_functions_may_stop_and_set(void **state)
{
    static struct th_wheel wheel;
    struct probe first, second, again;

    th_wheel_init(&wheel, 0);
    probe_init(&first, &wheel);
    probe_init(&second, &wheel);
    probe_init(&again, &wheel);
    first.stops = &second.timer;
    again.again_ms = 100;
    th_timer_set(&wheel, &first.timer, 30);
    th_timer_set(&wheel, &second.timer, 30);
    th_timer_set(&wheel, &again.timer, 30);
    th_wheel_turn(&wheel, 32);
    assert_int_equal(first.fired, 1);
    assert_int_equal(second.fired, 0); /* stopped by the first, of the same slot */
    assert_int_equal(again.fired, 1);
    th_wheel_turn(&wheel, 131);
    assert_int_equal(again.fired, 1);
    th_wheel_turn(&wheel, 144);
    assert_int_equal(again.fired, 2);
    th_timer_stop(&wheel, &again.timer);
    assert_int_equal(th_wheel_next_ms(&wheel), -1);
    th_timer_stop(&wheel, &again.timer); /* twice is fine */
    assert_int_equal(wheel.n_timers, 0);
}

static void test_moving_later_moves_nothing(void **state)
{
    static struct th_wheel wheel;
    struct probe probe;

    th_wheel_init(&wheel, 0);
    probe_init(&probe, &wheel);
    th_timer_set(&wheel, &probe.timer, 100);
    for (int64_t i = 0; i < 50; i++)
        th_timer_set(&wheel, &probe.timer, 1000 + i);
    assert_int_equal(probe.timer.slot_ms, 112);
    th_wheel_turn(&wheel, 999);
    assert_int_equal(probe.fired, 0);
    th_timer_set(&wheel, &probe.timer, 1010); /* and earlier takes effect */
    th_wheel_turn(&wheel, 1024);
    assert_int_equal(probe.fired, 1);
}

/* Random sets, stops and turns against a model that remembers only deadlines. */
static void play(unsigned seed)
{
    enum { N = 40 };
    static struct th_wheel wheel;
    static struct probe probes[N];
    int64_t model[N] = {0};
    int expected[N] = {0};
    int64_t now = (int64_t)(seed * 7919 % 100000);

    srandom(seed);
    th_wheel_init(&wheel, now);
    for (int i = 0; i < N; i++)
        probe_init(&probes[i], &wheel);
    for (int step = 0; step < 3000; step++) {
        long what = random() % 10;
        int i = (int)(random() % N);
        if (what < 5) {
            int64_t span = random() % 3 == 0 ? 60000 : 400;
            model[i] = now + 1 + random() % span;
            th_timer_set(&wheel, &probes[i].timer, model[i]);
        } else if (what < 7) {
            model[i] = 0;
            th_timer_stop(&wheel, &probes[i].timer);
        } else {
            int64_t turned;
            now += random() % (random() % 20 == 0 ? 40000 : 50);
            th_wheel_turn(&wheel, now);
            turned = now - now % TH_WHEEL_TICK_MS;
            size_t n_set = 0;
            int64_t earliest = INT64_MAX;
            for (int k = 0; k < N; k++) {
                /* What is due between the last tick and now may have been fired or not yet. */
                if (model[k] != 0 && model[k] <= turned)
                    expected[k]++, model[k] = 0;
                else if (model[k] != 0 && model[k] <= now && probes[k].fired > expected[k])
                    expected[k]++, model[k] = 0;
                assert_int_equal(probes[k].fired, expected[k]);
                n_set += model[k] != 0;
                if (model[k] != 0 && model[k] < earliest)
                    earliest = model[k];
            }
            assert_int_equal(wheel.n_timers, n_set);
            if (n_set == 0)
                assert_int_equal(th_wheel_next_ms(&wheel), -1);
            else
                assert_true(th_wheel_next_ms(&wheel) > turned &&
                            th_wheel_next_ms(&wheel) < earliest + TH_WHEEL_TICK_MS);
        }
    }
}

static void test_random_against_model(void **state)
{
    for (unsigned seed = 1; seed <= 60; seed++)
        play(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_never_before_at_most_a_tick_after),
        cmocka_unit_test(test_functions_may_stop_and_set),
        cmocka_unit_test(test_moving_later_moves_nothing),
        cmocka_unit_test(test_random_against_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
