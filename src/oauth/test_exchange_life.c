#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "test_bench.h"
#include "tokenhop/base/check.h"
#include "tokenhop/oauth/grants.h"

static void r22_each_leg_has_its_share(void **state)
{
    (void)state;
    for (size_t leg = 0; leg < 2; leg++) {
        struct bench b;
        struct tokens t;
        bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
        tokens_open(&t);
        start(&b, t.subject.ptr);
        if (leg == 1) {
            pass(&b, 4000);
            answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
            pass(&b, DEADLINE_MS - 4000 - 1);
        } else {
            pass(&b, DEADLINE_MS * TH_EXCHANGE_SHARE_PERCENT / 100 - 1);
        }
        assert_int_equal(b.n_ends, 0);
        pass(&b, 2 * TH_WHEEL_TICK_MS);
        assert_int_equal(b.n_ends, 1);
        assert_int_equal(b.n_cancelled, 1);
        assert_int_equal(b.result.error, TH_E_EXCHANGE_TIMEOUT);
        assert_int_equal(b.result.n_legs, leg + 1);
        assert_non_null(strstr(b.result.detail, leg == 0 ? "\"org\"" : "\"custom\""));
        pass(&b, 60000);
        assert_int_equal(b.n_ends, 1);
        tokens_close(&t);
        bench_close(&b);
    }
}

static void cancelled_it_says_nothing_more(void **state)
{
    (void)state;
    for (size_t at = 0; at < 4; at++) {
        struct bench b;
        struct tokens t;
        bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
        tokens_open(&t);
        b.start_error = at == 2 ? TH_E_NOMEM : 0; /* it has ended, but not told so yet */
        start(&b, t.subject.ptr);
        if (at == 1)
            answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
        assert_int_equal(b.exchange->state, at == 2 ? TH_EXCHANGE_END : TH_EXCHANGE_WAIT);
        if (at == 3)
            b.exchanger = th_exchanger_free(b.exchanger);
        else
            th_exchange_cancel(b.exchange);
        assert_int_equal(b.n_cancelled, at == 2 ? 0 : 1);
        pass(&b, 60000);
        assert_int_equal(b.n_ends, 0);
        tokens_close(&t);
        bench_close(&b);
    }
}

/* -- RSA, on helper threads ---------------------------------------------------------------------- */

static void wait_until_asked(struct bench *b, size_t n)
{
    for (int i = 0; i < 5000 && b->n_asked < n; i++) {
        if (!th_worker_turn(b->worker))
            poll(NULL, 0, 1);
    }
    assert_int_equal(b->n_asked, n);
}

static void rsa_signs_on_a_helper(void **state)
{
    (void)state;
    struct bench b;
    struct tokens t;
    struct th_helpers *helpers;
    assert_int_equal(th_helpers_new(1, 16, &helpers), 0);
    bench_open(&b, RS256_KEY, TH_ALG_RS256, helpers);
    tokens_open(&t);
    start(&b, t.subject.ptr);
    assert_int_equal(b.n_asked, 0); /* not on the worker */
    assert_int_equal(b.exchange->state, TH_EXCHANGE_PROVING);
    wait_until_asked(&b, 1);
    free(check_assertion(&b, 0, ORG_TOKEN, RS256_KEY));
    answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
    wait_until_asked(&b, 2);
    free(check_assertion(&b, 1, CUSTOM_TOKEN, RS256_KEY));
    answer(&b, 200, ACCESS_OK, t.access.ptr);
    assert_string_equal(b.token, t.access.ptr);
    th_helpers_stop(helpers);
    start(&b, t.subject.ptr); /* nobody signs any more */
    settle(&b);
    assert_int_equal(b.n_ends, 2);
    assert_int_equal(b.result.error, TH_E_DRAINING);
    tokens_close(&t);
    bench_close(&b);
    th_helpers_free(helpers);
}

static void rsa_signs_in_place_without_helpers(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, RS256_KEY, TH_ALG_RS256, NULL);
    start(&b, "opaque");
    assert_int_equal(b.n_asked, 1);
    free(check_assertion(&b, 0, ORG_TOKEN, RS256_KEY));
    th_exchange_cancel(b.exchange);
    bench_close(&b);
}

/* A job that blocks the only helper until told to go on. */
struct plug {
    struct th_job job;
    int fds[2];
};

static void plug_work(struct th_job *job)
{
    char byte;
    struct plug *plug = TH_CONTAINER_OF(job, struct plug, job);
    assert_int_equal(read(plug->fds[0], &byte, 1), 1);
}

static void plug_done(struct th_job *job)
{
    struct plug *plug = TH_CONTAINER_OF(job, struct plug, job);
    close(plug->fds[0]);
    plug->fds[0] = -1;
}

static void plug_in(struct plug *plug, struct th_helpers *helpers, struct th_worker *worker)
{
    *plug = (struct plug){.job = {.work = plug_work, .done = plug_done}};
    assert_int_equal(pipe(plug->fds), 0);
    assert_int_equal(th_helpers_submit(helpers, worker, &plug->job), 0);
}

static void pull_out(struct plug *plug, struct th_helpers *helpers, struct bench *b)
{
    assert_int_equal(write(plug->fds[1], "x", 1), 1);
    close(plug->fds[1]);
    for (int i = 0; i < 5000 && plug->fds[0] >= 0; i++) {
        if (!th_worker_turn(b->worker))
            poll(NULL, 0, 1);
    }
    assert_int_equal(plug->fds[0], -1);
    th_helpers_stop(helpers); /* what was signed meanwhile is posted now */
    settle(b);
}

static void while_a_helper_signs(void **state)
{
    (void)state;
    for (int is_cancelled = 0; is_cancelled < 2; is_cancelled++) {
        struct bench b;
        struct plug plug;
        struct th_helpers *helpers;
        assert_int_equal(th_helpers_new(1, 16, &helpers), 0);
        bench_open(&b, RS256_KEY, TH_ALG_RS256, helpers);
        plug_in(&plug, helpers, b.worker);
        start(&b, "opaque");
        assert_int_equal(b.exchange->state, TH_EXCHANGE_PROVING);
        if (is_cancelled) {
            th_exchange_cancel(b.exchange);
        } else {
            pass(&b, DEADLINE_MS + 2 * TH_WHEEL_TICK_MS);
            assert_int_equal(b.result.error, TH_E_EXCHANGE_TIMEOUT);
            assert_int_equal(b.result.n_legs, 0);
        }
        pull_out(&plug, helpers, &b); /* the job comes back and finds nobody */
        assert_int_equal(b.n_ends, is_cancelled ? 0 : 1);
        assert_int_equal(b.n_asked, 0);
        bench_close(&b);
        th_helpers_free(helpers);
    }
}

static void *pull_out_later(void *arg)
{
    struct plug *plug = arg;
    poll(NULL, 0, 100);
    assert_int_equal(write(plug->fds[1], "x", 1), 1);
    return NULL;
}

/* The helpers are stopped while the job still waits: it comes back undone. */
static void r24_a_stop_ends_what_waits_for_a_helper(void **state)
{
    (void)state;
    struct bench b;
    struct plug plug;
    struct th_helpers *helpers;
    pthread_t thread;
    assert_int_equal(th_helpers_new(1, 16, &helpers), 0);
    bench_open(&b, RS256_KEY, TH_ALG_RS256, helpers);
    plug_in(&plug, helpers, b.worker);
    start(&b, "opaque");
    assert_int_equal(pthread_create(&thread, NULL, pull_out_later, &plug), 0);
    th_helpers_stop(helpers);
    assert_int_equal(pthread_join(thread, NULL), 0);
    settle(&b);
    close(plug.fds[1]);
    assert_int_equal(b.n_asked, 0);
    assert_int_equal(b.n_ends, 1);
    assert_int_equal(b.result.error, TH_E_DRAINING);
    bench_close(&b);
    th_helpers_free(helpers);
}

static void r23_a_full_queue_is_503(void **state)
{
    (void)state;
    struct bench b;
    struct plug plug;
    struct th_helpers *helpers;
    assert_int_equal(th_helpers_new(1, 1, &helpers), 0);
    bench_open(&b, RS256_KEY, TH_ALG_RS256, helpers);
    plug_in(&plug, helpers, b.worker);
    for (size_t i = 0; i < 3; i++)
        start(&b, "opaque");
    settle(&b);
    assert_true(b.n_ends >= 1);
    assert_int_equal(b.result.error, TH_E_OVERLOADED);
    assert_int_equal(th_error_get(b.result.error)->status, 503);
    b.exchanger = th_exchanger_free(b.exchanger); /* ends the others */
    pull_out(&plug, helpers, &b);
    bench_close(&b);
    th_helpers_free(helpers);
}

/* -- keys ---------------------------------------------------------------------------------------- */

static void keys_are_parsed_once_a_snapshot(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
    const struct th_config *old = (const void *)&b.clock, *new = (const void *)&b.world;
    struct th_key *keys[3];
    struct th_config_auth other = b.world.agent.auth;
    assert_int_equal(th_exchanger_get_key(b.exchanger, old, &b.world.agent.auth, &keys[0]), 0);
    assert_int_equal(th_exchanger_get_key(b.exchanger, old, &b.world.agent.auth, &keys[1]), 0);
    assert_ptr_equal(keys[0], keys[1]);
    assert_int_equal(b.exchanger->n_keys, 1);
    other.key = th_secret_new(RS256_KEY, strlen(RS256_KEY));
    assert_int_equal(th_exchanger_get_key(b.exchanger, new, &other, &keys[2]), 0);
    assert_int_equal(b.exchanger->n_keys, 1); /* that of the old snapshot is gone */
    assert_ptr_equal(b.exchanger->keys[0].secret, other.key);
    th_secret_unref(other.key);
    for (size_t i = 0; i < TH_EXCHANGER_KEYS + 3; i++) {
        struct th_key *key;
        other.key = th_secret_new(ES256_KEY, strlen(ES256_KEY));
        assert_int_equal(th_exchanger_get_key(b.exchanger, new, &other, &key), 0);
        th_key_unref(key);
        th_secret_unref(other.key);
    }
    assert_int_equal(b.exchanger->n_keys, TH_EXCHANGER_KEYS);
    for (size_t i = 0; i < 3; i++)
        th_key_unref(keys[i]);
    bench_close(&b);
}

#ifdef TH_FAIL_ALLOC
static void r24_out_of_memory_ends_it_well(void **state)
{
    (void)state;
    struct tokens t;
    int error = TH_E_NOMEM;
    tokens_open(&t);
    for (unsigned long nth = 1; error != 0; nth++) {
        struct bench b;
        bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
        assert_true(nth < 1000);
        th_mem_fail_after(nth, 1);
        error = try_start(&b, t.subject.ptr, NULL);
        if (error == 0) {
            settle(&b);
            if (b.fn != NULL)
                answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
            if (b.fn != NULL)
                answer(&b, 200, ACCESS_OK, t.access.ptr);
            assert_int_equal(b.n_ends, 1);
            error = b.result.error;
        }
        th_mem_fail_after(0, 0);
        if (error != 0 && error != TH_E_NOMEM)
            fail_msg("%lu: %s %s", nth, th_error_get(error)->name, b.result.detail);
        bench_close(&b);
    }
    tokens_close(&t);
}
#endif

/* Who clears the kept assertions means those too that are under way. */
static void an_id_jag_that_was_asked_for_before_a_purge_is_not_kept(void **state)
{
    (void)state;
    struct bench b;
    struct tokens t;
    struct th_grants *grants;
    bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
    tokens_open(&t);
    assert_int_equal(th_grants_new(&grants), 0);
    th_exchanger_share_grants(b.exchanger, grants);
    b.world.connection.reuse_id_jag = true;
    for (int i = 0; i < 3; i++) {
        start(&b, t.subject.ptr);
        assert_int_equal(b.n_asked, 1);
        if (i < 2)
            assert_field(&b, 0, "subject_token", t.subject.ptr);
        else
            assert_field(&b, 0, "assertion", t.id_jag.ptr);
        if (i == 0)
            th_grants_clear(grants);
        if (i < 2)
            answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
        answer(&b, 200, ACCESS_OK, t.access.ptr);
        assert_int_equal(b.result.error, 0);
        forget_asked(&b);
    }
    th_grants_clear(grants);
    th_grants_unref(grants);
    tokens_close(&t);
    bench_close(&b);
}

/* A server's own words that repeat what it was sent are kept back, however short that is. */
static void no_token_comes_back_in_the_servers_words(void **state)
{
    (void)state;
    static const char subject[] = "xk.4f.t9/q2.u7";
    struct bench b;
    bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
    start(&b, subject);
    answer(&b, 400, "{'error':'access_denied','error_description':'no: <%s> is bad'}", subject);
    assert_int_equal(b.result.error, TH_E_ACCESS_DENIED);
    assert_null(strstr(b.result.detail, "xk.4f"));
    assert_non_null(strstr(b.result.detail, "not shown"));
    start(&b, subject);
    answer(&b, 400, "{'error':'access_denied','error_description':'no: it is bad'}");
    assert_non_null(strstr(b.result.detail, "it is bad"));
    bench_close(&b);
}

int main(void)
{
    th_json_start();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(r22_each_leg_has_its_share),
        cmocka_unit_test(cancelled_it_says_nothing_more),
        cmocka_unit_test(rsa_signs_on_a_helper),
        cmocka_unit_test(rsa_signs_in_place_without_helpers),
        cmocka_unit_test(while_a_helper_signs),
        cmocka_unit_test(r24_a_stop_ends_what_waits_for_a_helper),
        cmocka_unit_test(r23_a_full_queue_is_503),
        cmocka_unit_test(keys_are_parsed_once_a_snapshot),
#ifdef TH_FAIL_ALLOC
        cmocka_unit_test(r24_out_of_memory_ends_it_well),
#endif
        cmocka_unit_test(an_id_jag_that_was_asked_for_before_a_purge_is_not_kept),
        cmocka_unit_test(no_token_comes_back_in_the_servers_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
