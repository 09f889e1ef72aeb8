#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "tokenhop/base/check.h"
#include "tokenhop/oauth/breaker.h"

#define HERE TH_STR("https://org.test/oauth2/v1/token")
#define THERE TH_STR("https://org.test/oauth2/aus2/v1/token")

/* The longest that a rest of `ms` may be, by its jitter. */
#define AT_MOST(ms) ((ms) + (ms) / 10)

struct bench {
    struct th_breakers *breakers;
    int64_t now_ms;
};

static struct bench bench_open(void)
{
    struct bench b = {.now_ms = 1000};
    assert_int_equal(th_breakers_new(&b.breakers), 0);
    return b;
}

static void bench_close(struct bench *b)
{
    th_breakers_unref(b->breakers);
}

static struct th_breaker_pass get_pass(struct bench *b)
{
    struct th_breaker_pass pass;
    assert_int_equal(th_breakers_enter(b->breakers, HERE, b->now_ms, &pass), 0);
    return pass;
}

static int64_t wait_at(struct bench *b, struct th_str endpoint)
{
    struct th_breaker_pass pass;
    int64_t wait_ms = th_breakers_enter(b->breakers, endpoint, b->now_ms, &pass);
    if (wait_ms == 0)
        th_breakers_leave(b->breakers, endpoint, &pass, TH_BREAKER_UNTRIED, -1, b->now_ms);
    return wait_ms;
}

static enum th_breaker_event end(struct bench *b, struct th_breaker_pass pass,
                                 enum th_breaker_verdict verdict, int64_t retry_after_ms)
{
    return th_breakers_leave(b->breakers, HERE, &pass, verdict, retry_after_ms, b->now_ms);
}

static enum th_breaker_event try_once(struct bench *b, enum th_breaker_verdict verdict)
{
    return end(b, get_pass(b), verdict, -1);
}

static void open_it(struct bench *b)
{
    for (int i = 1; i < TH_BREAKER_FAILURES; i++)
        assert_int_equal(try_once(b, TH_BREAKER_FAILED), TH_BREAKER_SAME);
    assert_int_equal(try_once(b, TH_BREAKER_FAILED), TH_BREAKER_OPENED);
}

/* Open for `ms` or a little longer; then its rest is over. */
static void assert_rests(struct bench *b, int64_t ms)
{
    int64_t wait_ms = wait_at(b, HERE);
    assert_in_range(wait_ms, ms, AT_MOST(ms));
    b->now_ms += wait_ms - 1;
    assert_int_equal(wait_at(b, HERE), 1);
    b->now_ms++;
}

static void failures_in_a_row_open_it(void **state)
{
    (void)state;
    struct bench b = bench_open();
    for (int i = 0; i < 3 * TH_BREAKER_FAILURES; i++) {
        bool is_alive = i % TH_BREAKER_FAILURES == 0;
        assert_int_equal(try_once(&b, is_alive ? TH_BREAKER_ALIVE : TH_BREAKER_FAILED),
                         TH_BREAKER_SAME);
    }
    assert_int_equal(try_once(&b, TH_BREAKER_UNTRIED), TH_BREAKER_SAME); /* ends no row */
    assert_int_equal(try_once(&b, TH_BREAKER_FAILED), TH_BREAKER_OPENED);
    assert_int_equal(wait_at(&b, THERE), 0); /* another's affair */
    assert_rests(&b, TH_BREAKER_REST_MS);
    bench_close(&b);
}

static void each_failed_probe_doubles_the_rest(void **state)
{
    (void)state;
    static const int64_t rests[] = {1000, 2000, 4000, 8000, 16000, 30000, 30000};
    struct bench b = bench_open();
    open_it(&b);
    for (size_t i = 0; i < TH_COUNT_OF(rests); i++) {
        assert_rests(&b, rests[i]);
        assert_int_equal(try_once(&b, TH_BREAKER_FAILED), TH_BREAKER_SAME);
    }
    b.now_ms += AT_MOST(30000);
    assert_int_equal(try_once(&b, TH_BREAKER_ALIVE), TH_BREAKER_CLOSED);
    b.now_ms += TH_BREAKER_RECOVERY_MS;
    open_it(&b);
    assert_rests(&b, TH_BREAKER_REST_MS); /* from the beginning */
    bench_close(&b);
}

static void a_rest_that_is_asked_for_is_kept(void **state)
{
    (void)state;
    static const struct {
        int64_t asked_ms, rest_ms;
    } cases[] = {{20000, 20000}, {3600000, TH_BREAKER_RETRY_AFTER_MAX_MS}, {10, 1000}};
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct bench b = bench_open();
        assert_int_equal(end(&b, get_pass(&b), TH_BREAKER_ASKS, cases[i].asked_ms),
                         TH_BREAKER_OPENED);
        assert_rests(&b, cases[i].rest_ms);
        bench_close(&b);
    }
}

static void one_probe_at_a_time(void **state)
{
    (void)state;
    struct bench b = bench_open();
    open_it(&b);
    b.now_ms += AT_MOST(1000);
    struct th_breaker_pass probe = get_pass(&b);
    assert_int_equal(wait_at(&b, HERE), TH_BREAKER_TURNED_AWAY_MS);
    b.now_ms += 60000; /* however long it takes */
    assert_int_equal(wait_at(&b, HERE), TH_BREAKER_TURNED_AWAY_MS);
    /* One that comes to nothing leaves its place to the next. */
    assert_int_equal(end(&b, probe, TH_BREAKER_UNTRIED, -1), TH_BREAKER_SAME);
    probe = get_pass(&b);
    assert_int_equal(wait_at(&b, HERE), TH_BREAKER_TURNED_AWAY_MS);
    assert_int_equal(end(&b, probe, TH_BREAKER_ALIVE, -1), TH_BREAKER_CLOSED);
    bench_close(&b);
}

static void a_recovery_is_no_stampede(void **state)
{
    (void)state;
    struct th_breaker_pass passes[TH_BREAKER_RECOVERED + 1];
    struct bench b = bench_open();
    open_it(&b);
    b.now_ms += AT_MOST(1000);
    assert_int_equal(try_once(&b, TH_BREAKER_ALIVE), TH_BREAKER_CLOSED);
    for (size_t limit = 2; limit <= TH_BREAKER_RECOVERED; limit *= 2) {
        for (size_t i = 0; i < limit; i++)
            passes[i] = get_pass(&b);
        assert_int_equal(wait_at(&b, HERE), TH_BREAKER_TURNED_AWAY_MS);
        for (size_t i = 0; i < limit; i++)
            assert_int_equal(end(&b, passes[i], TH_BREAKER_ALIVE, -1), TH_BREAKER_SAME);
    }
    for (size_t i = 0; i < 1000; i++)
        assert_false(get_pass(&b).is_counted);
    bench_close(&b);
}

static void a_failure_ends_a_recovery(void **state)
{
    (void)state;
    struct bench b = bench_open();
    open_it(&b);
    b.now_ms += AT_MOST(1000);
    assert_int_equal(try_once(&b, TH_BREAKER_ALIVE), TH_BREAKER_CLOSED);
    struct th_breaker_pass first = get_pass(&b), second = get_pass(&b);
    assert_int_equal(end(&b, first, TH_BREAKER_FAILED, -1), TH_BREAKER_OPENED);
    assert_int_equal(end(&b, second, TH_BREAKER_FAILED, -1), TH_BREAKER_SAME);
    assert_rests(&b, 2000);
    /* When a while has gone well, it takes a row of failures again. */
    assert_int_equal(try_once(&b, TH_BREAKER_ALIVE), TH_BREAKER_CLOSED);
    first = get_pass(&b);
    b.now_ms += TH_BREAKER_RECOVERY_MS;
    assert_int_equal(wait_at(&b, HERE), 0);
    assert_int_equal(end(&b, first, TH_BREAKER_FAILED, -1), TH_BREAKER_SAME);
    assert_int_equal(wait_at(&b, HERE), 0);
    bench_close(&b);
}

static void what_began_before_says_nothing(void **state)
{
    (void)state;
    struct bench b = bench_open();
    struct th_breaker_pass first = get_pass(&b);
    open_it(&b);
    assert_int_equal(end(&b, first, TH_BREAKER_ALIVE, -1), TH_BREAKER_SAME);
    assert_true(wait_at(&b, HERE) >= TH_BREAKER_REST_MS);
    b.now_ms += AT_MOST(1000);
    struct th_breaker_pass probe = get_pass(&b);
    assert_int_equal(end(&b, first, TH_BREAKER_FAILED, -1), TH_BREAKER_SAME);
    assert_int_equal(end(&b, probe, TH_BREAKER_ALIVE, -1), TH_BREAKER_CLOSED);
    for (int i = 0; i < 2 * TH_BREAKER_FAILURES; i++)
        assert_int_equal(end(&b, first, TH_BREAKER_FAILED, -1), TH_BREAKER_SAME);
    assert_int_equal(wait_at(&b, HERE), 0);
    bench_close(&b);
}

static void endpoints_are_bounded(void **state)
{
    (void)state;
    struct bench b = bench_open();
    open_it(&b);
    for (int i = 0; i < 3 * TH_BREAKERS_MAX; i++) {
        char url[64];
        struct th_breaker_pass pass;
        int len = snprintf(url, sizeof url, "https://%d.test/token", i);
        struct th_str endpoint = {url, (size_t)len};
        assert_int_equal(th_breakers_enter(b.breakers, endpoint, b.now_ms, &pass), 0);
        th_breakers_leave(b.breakers, endpoint, &pass, TH_BREAKER_ASKS, 5000, b.now_ms);
        assert_in_range(wait_at(&b, endpoint), 5000, AT_MOST(5000));
        assert_true(wait_at(&b, HERE) > 0); /* in use: not forgotten */
    }
    size_t n_open = 0;
    for (int i = 0; i < 3 * TH_BREAKERS_MAX; i++) {
        char url[64];
        int len = snprintf(url, sizeof url, "https://%d.test/token", i);
        n_open += wait_at(&b, (struct th_str){url, (size_t)len}) > 0;
    }
    assert_int_equal(n_open, TH_BREAKERS_MAX - 1);
    bench_close(&b);
}

/* -- threads ------------------------------------------------------------------------------------- */

#define THREADS 4
#define ROUNDS 20000

struct crowd {
    struct th_breakers *breakers;
    atomic_int n_inside, n_probes, n_together, n_opened, n_closed;
};

/* At a standing time the rest is over for everybody at once, and one goes. */
static void *probe_together(void *arg)
{
    struct crowd *crowd = arg;
    struct th_breaker_pass pass;
    for (int i = 0; i < ROUNDS; i++) {
        if (th_breakers_enter(crowd->breakers, HERE, 100000, &pass) != 0)
            continue;
        atomic_fetch_add(&crowd->n_together, atomic_fetch_add(&crowd->n_inside, 1) > 0);
        atomic_fetch_add(&crowd->n_probes, 1);
        atomic_fetch_sub(&crowd->n_inside, 1);
        th_breakers_leave(crowd->breakers, HERE, &pass, TH_BREAKER_UNTRIED, -1, 100000);
    }
    return NULL;
}

/* Openings and closings alternate, whoever sees them. */
static void *up_and_down(void *arg)
{
    struct crowd *crowd = arg;
    struct th_breaker_pass pass;
    for (int i = 0; i < ROUNDS; i++) {
        int64_t now_ms = (int64_t)i * 100;
        if (th_breakers_enter(crowd->breakers, THERE, now_ms, &pass) != 0)
            continue;
        enum th_breaker_event event =
            th_breakers_leave(crowd->breakers, THERE, &pass,
                              i / 100 % 2 ? TH_BREAKER_ALIVE : TH_BREAKER_FAILED, -1, now_ms);
        atomic_fetch_add(&crowd->n_opened, event == TH_BREAKER_OPENED);
        atomic_fetch_add(&crowd->n_closed, event == TH_BREAKER_CLOSED);
    }
    return NULL;
}

static void run_crowd(struct crowd *crowd, void *(*body)(void *))
{
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, body, crowd), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void over_threads(void **state)
{
    (void)state;
    struct bench b = bench_open();
    struct crowd crowd = {.breakers = b.breakers};
    open_it(&b);
    run_crowd(&crowd, probe_together);
    assert_true(crowd.n_probes > 0);
    assert_int_equal(crowd.n_together, 0);
    run_crowd(&crowd, up_and_down);
    assert_true(crowd.n_opened > 0);
    assert_in_range(crowd.n_opened - crowd.n_closed, 0, 1);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failures_in_a_row_open_it),
        cmocka_unit_test(each_failed_probe_doubles_the_rest),
        cmocka_unit_test(a_rest_that_is_asked_for_is_kept),
        cmocka_unit_test(one_probe_at_a_time),
        cmocka_unit_test(a_recovery_is_no_stampede),
        cmocka_unit_test(a_failure_ends_a_recovery),
        cmocka_unit_test(what_began_before_says_nothing),
        cmocka_unit_test(endpoints_are_bounded),
        cmocka_unit_test(over_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
