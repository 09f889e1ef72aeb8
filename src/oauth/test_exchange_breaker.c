#include "test_bench.h"
#include "tokenhop/base/check.h"

/* One answer of the first leg's endpoint, or a way to have none. */
struct way {
    int status; /* 0: broken off with `error` */
    int error;
    const char *type, *body;
    int64_t retry_after_ms, reset_ms;
};

static void meet(struct bench *b, struct tokens *t, const struct way *way)
{
    start(b, t->subject.ptr);
    if (way->status == 0) {
        break_off(b, way->error);
    } else {
        const struct th_fetch_response response = {.status = way->status,
                                                   .content_type = th_str_of(way->type),
                                                   .retry_after_ms = way->retry_after_ms,
                                                   .rate_limit_reset_ms = way->reset_ms,
                                                   .body = th_str_of(way->body)};
        answer_raw(b, &response);
    }
    assert_null(b->exchange);
    forget_asked(b);
}

/* After how many of them nothing is asked any more; 0: they open nothing. */
static unsigned opened_after(const struct way *way)
{
    struct bench b;
    struct tokens t;
    unsigned n = 0;
    bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
    tokens_open(&t);
    while (n <= 2 * TH_BREAKER_FAILURES) {
        start(&b, t.subject.ptr);
        settle(&b);
        if (b.exchange == NULL) {
            assert_int_equal(b.result.error, TH_E_EXCHANGE_DOWN);
            assert_true(b.result.was_held_off);
            assert_int_equal(b.result.n_legs, 0);
            assert_true(b.result.retry_after_ms > 0);
            assert_non_null(strstr(b.result.detail, "\"org\""));
            break;
        }
        th_exchange_cancel(b.exchange); /* which says nothing of the endpoint */
        forget_asked(&b);
        meet(&b, &t, way);
        assert_false(b.result.was_held_off);
        n++;
    }
    tokens_close(&t);
    bench_close(&b);
    return n <= 2 * TH_BREAKER_FAILURES ? n : 0;
}

#define JSON "application/json"

static void what_opens(void **state)
{
    (void)state;
    static const struct {
        struct way way;
        unsigned after;
    } cases[] = {
        {{0, TH_E_EXCHANGE_DOWN}, TH_BREAKER_FAILURES},
        {{0, TH_E_EXCHANGE_TIMEOUT}, TH_BREAKER_FAILURES},
        {{0, TH_E_EXCHANGE_FAILED}, TH_BREAKER_FAILURES}, /* as TLS */
        {{503, 0, "text/html", "busy", -1, -1}, TH_BREAKER_FAILURES},
        {{502, 0, "text/html", "", -1, -1}, TH_BREAKER_FAILURES},
        {{200, 0, "text/html", "<html>", -1, -1}, TH_BREAKER_FAILURES},
        {{200, 0, JSON, "[]", -1, -1}, TH_BREAKER_FAILURES},
        {{302, 0, "text/html", "", -1, -1}, TH_BREAKER_FAILURES},
        {{400, 0, JSON, "{\"error\":\"slow_down\"}", -1, -1}, TH_BREAKER_FAILURES},
        {{429, 0, JSON, "{}", -1, 7000}, TH_BREAKER_FAILURES}, /* perhaps one user's */
        {{429, 0, JSON, "{}", 7000, -1}, 1},
        {{503, 0, "text/html", "busy", 7000, -1}, 1},
        /* What a caller can bring about is an answer. */
        {{413, 0, "text/html", "<html>", -1, -1}, 0},
        {{403, 0, "text/html", "<html>", 7000, -1}, 0},
        {{400, 0, JSON, "{\"error\":\"invalid_grant\"}", 7000, -1}, 0},
        {{400, 0, JSON, "{\"error\":\"invalid_scope\"}", -1, -1}, 0},
        {{200, 0, JSON, "{\"access_token\":7}", -1, -1}, 0},
        /* And what is of this process. */
        {{0, TH_E_NOMEM}, 0},
        {{0, TH_E_CLEARTEXT_DENIED}, 0},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        unsigned after = opened_after(&cases[i].way);
        if (after != cases[i].after)
            fail_msg("case %zu: after %u", i, after);
    }
}

/* The second try of leg 2 has but a rest of the time, and says nothing when that is over. */
static void a_try_that_had_no_time_is_not_blamed(void **state)
{
    (void)state;
    struct bench b;
    struct tokens t;
    struct th_breaker_pass leave;
    bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
    tokens_open(&t);
    for (unsigned i = 0; i < TH_BREAKER_FAILURES - 1; i++) {
        start(&b, t.subject.ptr);
        pass(&b, 5900);
        answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
        pass(&b, 2000);
        break_off(&b, TH_E_EXCHANGE_DOWN); /* is tried once more, with 2.1 of 10 s */
        pass(&b, 3000);
        assert_int_equal(b.result.error, TH_E_EXCHANGE_TIMEOUT);
        assert_null(b.exchange);
        forget_asked(&b);
    }
    assert_int_equal(th_breakers_enter(b.breakers, b.world.custom.token_endpoint,
                                       th_clock_monotonic_ms(&b.clock), &leave),
                     0);
    tokens_close(&t);
    bench_close(&b);
}

/* Whatever ends the exchange that probes, its place is free afterwards. */
static void a_probe_that_is_cancelled_leaves_its_place(void **state)
{
    (void)state;
    struct bench b;
    struct tokens t;
    bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
    tokens_open(&t);
    meet(&b, &t, &(struct way){503, 0, "text/html", "", 3000, -1});
    pass(&b, 4000);
    for (unsigned i = 0; i < 3; i++) {
        start(&b, t.subject.ptr);
        assert_int_equal(b.n_asked, 1);
        th_exchange_cancel(b.exchange);
        forget_asked(&b);
    }
    start(&b, t.subject.ptr);
    answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
    answer(&b, 200, ACCESS_OK, t.access.ptr);
    assert_int_equal(b.result.error, 0);
    tokens_close(&t);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_opens),
        cmocka_unit_test(a_try_that_had_no_time_is_not_blamed),
        cmocka_unit_test(a_probe_that_is_cancelled_leaves_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
