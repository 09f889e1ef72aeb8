#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokenhop/observe/span.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static struct th_span numbered(int number)
{
    struct th_span span = {.kind = TH_SPAN_HOP, .status = number};
    return span;
}

static void the_oldest_goes_first_and_what_has_no_room_is_dropped(void **state)
{
    struct th_spans *spans;
    struct th_span taken[8];
    (void)state;
    assert_int_equal(th_spans_new(3, 100, &spans), 0);
    for (int round = 0; round < 5; round++) { /* around the ring */
        for (int i = 0; i < 5; i++) {
            struct th_span span = numbered(i);
            th_spans_put(spans, &span);
        }
        assert_int_equal(th_spans_dropped(spans), (round + 1) * 2);
        assert_int_equal(th_spans_take(spans, taken, 2), 2);
        assert_int_equal(taken[0].status, 0);
        assert_int_equal(taken[1].status, 1);
        assert_int_equal(th_spans_take(spans, taken, 8), 1);
        assert_int_equal(taken[0].status, 2);
        assert_int_equal(th_spans_take(spans, taken, 8), 0);
    }
    th_spans_free(spans);
    assert_null(th_spans_free(NULL));
}

static void sampling_goes_by_the_caller_and_else_by_its_share(void **state)
{
    static const unsigned shares[] = {0, 10, 100};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct th_spans *spans;
        struct th_trace trace;
        unsigned sampled = 0;
        assert_int_equal(th_spans_new(1, shares[i], &spans), 0);
        for (unsigned k = 0; k < 2000; k++) {
            (void)th_trace_start(TH_STR_NONE, &trace);
            assert_false(th_spans_wants(spans, &trace));
            th_spans_sample(spans, &trace);
            sampled += th_spans_wants(spans, &trace);
        }
        assert_in_range(sampled, shares[i] * 20 - (shares[i] % 100 != 0 ? 80 : 0),
                        shares[i] * 20 + (shares[i] % 100 != 0 ? 80 : 0));
        assert_true(th_trace_start(
            TH_STR("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), &trace));
        th_spans_sample(spans, &trace);
        assert_true(th_spans_wants(spans, &trace));
        assert_false(th_spans_wants(NULL, &trace));
        assert_true(th_trace_start(
            TH_STR("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"), &trace));
        th_spans_sample(spans, &trace);
        assert_false(th_spans_wants(spans, &trace));
        th_spans_free(spans);
    }
    th_spans_sample(NULL, &(struct th_trace){0});
}

static void a_span_below(void **state)
{
    struct th_trace parent, child;
    (void)state;
    (void)th_trace_start(TH_STR("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
                         &parent);
    th_span_begin_below(&parent, &child);
    assert_string_equal(child.id, parent.id);
    assert_string_equal(child.parent, parent.span);
    assert_string_not_equal(child.span, parent.span);
    assert_int_equal(strlen(child.span), TH_TRACE_SPAN_LEN);
    assert_int_equal(child.flags, 1);
}

static void texts_are_cut(void **state)
{
    struct th_span span;
    (void)state;
    memset(&span, 'x', sizeof span);
    TH_SPAN_SET(span.method, TH_STR("0123456789abcdefgh"));
    assert_string_equal(span.method, "0123456789abcde");
    TH_SPAN_SET(span.method, TH_STR_NONE);
    assert_string_equal(span.method, "");
}

enum { N_THREADS = 4, N_EACH = 2000 };

static void *put_many(void *arg)
{
    struct th_span span = numbered(1);
    for (int i = 0; i < N_EACH; i++)
        th_spans_put(arg, &span);
    return NULL;
}

static void threads_put_while_one_takes(void **state)
{
    pthread_t threads[N_THREADS];
    struct th_spans *spans;
    static struct th_span taken[64];
    size_t n = 0;
    (void)state;
    assert_int_equal(th_spans_new(256, 100, &spans), 0);
    for (int i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, put_many, spans), 0);
    for (int i = 0; i < 1000; i++)
        n += th_spans_take(spans, taken, 64);
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    for (size_t got; (got = th_spans_take(spans, taken, 64)) > 0;)
        n += got;
    assert_int_equal(n + th_spans_dropped(spans), N_THREADS * N_EACH);
    th_spans_free(spans);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_oldest_goes_first_and_what_has_no_room_is_dropped),
        cmocka_unit_test(sampling_goes_by_the_caller_and_else_by_its_share),
        cmocka_unit_test(a_span_below),
        cmocka_unit_test(texts_are_cut),
        cmocka_unit_test(threads_put_while_one_takes),
    };
    return cmocka_run_group_tests_name("observe: span", tests, NULL, NULL);
}
