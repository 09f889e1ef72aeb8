/* The worker with its mailbox, handles and helpers, and how they end. */
#include "test_support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "worker_private.h"

static void test_handles(void **state)
{
    enum { N = 300 };
    struct bench bench;
    static uint64_t handles[N];
    static int objects[N];
    struct th_handles *table;

    bench_open(&bench, NULL, NULL);
    table = bench.worker->handles;
    assert_null(th_handle_find(table, 0));
    assert_null(th_handle_find(table, UINT64_MAX));
    th_handle_drop(table, 0);
    for (int i = 0; i < N; i++) {
        handles[i] = th_handle_new(table, &objects[i]);
        assert_int_not_equal(handles[i], 0);
    }
    for (int i = 0; i < N; i += 2)
        th_handle_drop(table, handles[i]);
    for (int i = 0; i < N; i++)
        assert_ptr_equal(th_handle_find(table, handles[i]), i % 2 ? &objects[i] : NULL);
    for (int i = 0; i < N; i += 2) {
        uint64_t before = handles[i];
        th_handle_drop(table, before); /* again: drops nobody's */
        handles[i] = th_handle_new(table, &objects[i]);
        assert_int_not_equal(handles[i], before);
    }
    for (int i = 0; i < N; i++)
        assert_ptr_equal(th_handle_find(table, handles[i]), &objects[i]);
    bench_close(&bench);
}

/* A place that is taken again is not found by the handle of before. */
static void test_stale_handle(void **state)
{
    struct bench bench;
    int first, second;

    bench_open(&bench, NULL, NULL);
    uint64_t a = th_handle_new(bench.worker->handles, &first);
    th_handle_drop(bench.worker->handles, a);
    uint64_t b = th_handle_new(bench.worker->handles, &second);
    assert_int_equal((uint32_t)a, (uint32_t)b); /* the same place */
    assert_null(th_handle_find(bench.worker->handles, a));
    assert_ptr_equal(th_handle_find(bench.worker->handles, b), &second);
    bench_close(&bench);
}

static void on_number(struct th_worker *worker, const struct th_message *message)
{
    int64_t *sum = message->payload;
    *sum = *sum * 10 + message->number;
}

static void test_messages_in_order_and_bounded(void **state)
{
    struct th_worker_options options = {.mailbox_size = 3};
    struct bench bench;
    int64_t sum = 0;

    assert_int_equal(th_worker_new(&options, &bench.worker), 0);
    for (int i = 1; i <= 4; i++) {
        struct th_message message = {.fn = on_number, .payload = &sum, .number = i};
        assert_int_equal(th_mailbox_post(bench.worker->mailbox, &message),
                         i < 4 ? 0 : TH_E_OVERLOADED);
    }
    assert_true(th_worker_turn(bench.worker));
    assert_int_equal(sum, 123);
    struct th_message last = {.fn = on_number, .payload = &sum, .number = 9};
    assert_int_equal(th_mailbox_post(bench.worker->mailbox, &last), 0);
    bench_close(&bench); /* delivers what is left */
    assert_int_equal(sum, 1239);
}

/* Several senders at a running worker: all arrive, each sender's in order, nothing is overslept. */
enum { SENDERS = 3, EACH = 5000 };

struct crowd {
    struct th_worker *worker;
    int64_t next[SENDERS];
    int left;
};

struct sender {
    struct crowd *crowd;
    int index;
};

static void on_crowd(struct th_worker *worker, const struct th_message *message)
{
    struct sender *sender = message->payload;
    struct crowd *crowd = sender->crowd;

    assert_int_equal(message->number, crowd->next[sender->index]++);
    if (--crowd->left == 0)
        th_worker_stop(worker);
}

static void *run_sender(void *arg)
{
    struct sender *sender = arg;

    for (int i = 0; i < EACH; i++) {
        struct th_message message = {.fn = on_crowd, .payload = sender, .number = i};
        while (th_mailbox_post(sender->crowd->worker->mailbox, &message) != 0)
            sched_yield();
        if (i % 500 == 0)
            usleep(500); /* so that the worker goes to sleep in between */
    }
    return NULL;
}

static void test_many_senders(void **state)
{
    struct th_worker_options options = {.mailbox_size = 64};
    struct crowd crowd = {.left = SENDERS * EACH};
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];

    assert_int_equal(th_worker_new(&options, &crowd.worker), 0);
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){&crowd, i};
        assert_int_equal(pthread_create(&threads[i], NULL, run_sender, &senders[i]), 0);
    }
    th_worker_run(crowd.worker);
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(crowd.left, 0);
    th_worker_free(crowd.worker);
}

struct test_job {
    struct th_job job;
    atomic_int *worked;
    int *done;
    int *skipped;
    int slow_ms;
};

static void work(struct th_job *job)
{
    struct test_job *test = TH_CONTAINER_OF(job, struct test_job, job);

    if (test->slow_ms != 0)
        usleep((unsigned)test->slow_ms * 1000);
    atomic_fetch_add(test->worked, 1);
}

static void done(struct th_job *job)
{
    struct test_job *test = TH_CONTAINER_OF(job, struct test_job, job);

    ++*test->done;
    *test->skipped += job->skipped;
    th_free(test);
}

static int submit(struct th_helpers *helpers, struct th_worker *worker, const struct test_job *like)
{
    struct test_job *test = th_calloc(1, sizeof(*test));
    int r;

    *test = *like;
    test->job.work = work;
    test->job.done = done;
    r = th_helpers_submit(helpers, worker, &test->job);
    if (r != 0)
        th_free(test);
    return r;
}

static void test_helpers(void **state)
{
    struct th_helpers *helpers;
    struct bench bench;
    atomic_int worked = 0;
    int n_done = 0, skipped = 0;
    struct test_job like = {.worked = &worked, .done = &n_done, .skipped = &skipped};

    assert_int_equal(th_helpers_new(2, 1000, &helpers), 0);
    bench_open(&bench, NULL, helpers);
    for (int i = 0; i < 500; i++)
        assert_int_equal(submit(helpers, bench.worker, &like), 0);
    for (int i = 0; i < 5000 && n_done < 500; i++)
        if (!th_worker_turn(bench.worker))
            usleep(1000);
    assert_int_equal(n_done, 500);
    assert_int_equal(worked, 500);
    th_helpers_stop(helpers);
    assert_int_equal(submit(helpers, bench.worker, &like), TH_E_DRAINING);
    bench_close(&bench);
    th_helpers_free(helpers);
}

/* Stopped while the queue is full: what runs is finished, the rest is skipped, and each job comes
 * home. */
static void test_helpers_stop_in_the_middle(void **state)
{
    struct th_helpers *helpers;
    struct bench bench;
    atomic_int worked = 0;
    int n_done = 0, skipped = 0, accepted = 0;
    struct test_job like = {.worked = &worked, .done = &n_done, .skipped = &skipped, .slow_ms = 20};

    assert_int_equal(th_helpers_new(1, 10, &helpers), 0);
    bench_open(&bench, NULL, helpers);
    for (int i = 0; i < 20; i++) {
        int r = submit(helpers, bench.worker, &like);
        assert_true(r == 0 || r == TH_E_OVERLOADED);
        accepted += r == 0;
    }
    assert_true(accepted >= 10 && accepted <= 12);
    th_helpers_stop(helpers);
    bench_close(&bench);
    th_helpers_free(helpers);
    assert_int_equal(n_done, accepted);
    assert_int_equal(worked + skipped, accepted);
    assert_true(skipped > 0);
}

struct thing {
    struct th_timer timer;
    struct th_grave grave;
    struct th_soon soon;
    struct th_worker *worker;
    int *buried;
    int n_soon;
    int again;
};

static void bury(struct th_worker *worker, struct th_grave *grave)
{
    struct thing *thing = TH_CONTAINER_OF(grave, struct thing, grave);

    ++*thing->buried;
    th_free(thing);
}

static void on_thing(struct th_timer *timer)
{
    struct thing *thing = TH_CONTAINER_OF(timer, struct thing, timer);
    th_worker_bury(thing->worker, &thing->grave);
}

static void test_timers_follow_the_turned_clock(void **state)
{
    struct bench bench;
    int buried = 0;
    struct thing *thing = th_calloc(1, sizeof(*thing));

    bench_open(&bench, NULL, NULL);
    thing->worker = bench.worker;
    thing->buried = &buried;
    thing->grave.bury = bury;
    th_timer_init(&thing->timer, on_thing);
    th_timer_set(&bench.worker->wheel, &thing->timer, bench.worker->now_ms + 3600000);
    pass(&bench, 3599990);
    assert_int_equal(buried, 0);
    pass(&bench, 30);
    assert_int_equal(buried, 1);
    assert_false(th_worker_turn(bench.worker));
    bench_close(&bench);
}

static void on_thing_soon(struct th_soon *soon)
{
    struct thing *thing = TH_CONTAINER_OF(soon, struct thing, soon);

    thing->n_soon++;
    if (thing->again-- > 0)
        th_worker_soon(thing->worker, soon);
}

static void test_soon(void **state)
{
    struct bench bench;
    struct thing thing = {.soon.fn = on_thing_soon, .again = 2};

    bench_open(&bench, NULL, NULL);
    thing.worker = bench.worker;
    th_soon_cancel(&thing.soon);
    th_worker_soon(bench.worker, &thing.soon);
    th_worker_soon(bench.worker, &thing.soon);
    assert_true(th_worker_turn(bench.worker));
    assert_int_equal(thing.n_soon, 1); /* one a turn, also when it asks again */
    settle(&bench);
    assert_int_equal(thing.n_soon, 3);
    th_worker_soon(bench.worker, &thing.soon);
    th_soon_cancel(&thing.soon);
    settle(&bench);
    assert_int_equal(thing.n_soon, 3);
    bench_close(&bench);
}

/* th_worker_run() in real time: a timer that comes due while the loop sleeps, and one that was set
 * earlier than what the loop had gone to sleep for. */
struct clockwork {
    struct th_timer late;
    struct th_timer early;
    struct th_worker *worker;
    int64_t set_ms;
    int64_t early_ms;
};

static void on_early(struct th_timer *timer)
{
    struct clockwork *c = TH_CONTAINER_OF(timer, struct clockwork, early);

    c->early_ms = c->worker->now_ms;
    th_timer_stop(&c->worker->wheel, &c->late);
    th_worker_stop(c->worker);
}

static void on_late(struct th_timer *timer)
{
    fail_msg("the later one first");
}

static void on_set(struct th_worker *worker, const struct th_message *message)
{
    struct clockwork *c = message->payload;

    c->set_ms = worker->now_ms;
    th_timer_set(&worker->wheel, &c->early, worker->now_ms + 50);
}

static void *run_setter(void *arg)
{
    struct clockwork *c = arg;
    struct th_message message = {.fn = on_set, .payload = c};

    usleep(20000);
    assert_int_equal(th_mailbox_post(c->worker->mailbox, &message), 0);
    return NULL;
}

static void test_run_wakes_in_time(void **state)
{
    struct th_worker_options options = {0};
    struct clockwork c;
    pthread_t thread;

    assert_int_equal(th_worker_new(&options, &c.worker), 0);
    th_timer_init(&c.late, on_late);
    th_timer_init(&c.early, on_early);
    th_timer_set(&c.worker->wheel, &c.late, c.worker->now_ms + 10000);
    assert_int_equal(pthread_create(&thread, NULL, run_setter, &c), 0);
    th_worker_run(c.worker);
    pthread_join(thread, NULL);
    assert_true(c.early_ms >= c.set_ms + 50);
    assert_true(c.early_ms < c.set_ms + 2000); /* a loaded machine; not 10 s */
    th_worker_free(c.worker);
}

static void *run_worker(void *arg)
{
    th_worker_run(arg);
    return NULL;
}

static void test_stop_from_outside(void **state)
{
    for (int i = 0; i < 50; i++) {
        struct th_worker_options options = {0};
        struct th_worker *worker;
        pthread_t thread;
        assert_int_equal(th_worker_new(&options, &worker), 0);
        assert_int_equal(pthread_create(&thread, NULL, run_worker, worker), 0);
        if (i % 2)
            usleep(200);
        th_worker_stop(worker);
        pthread_join(thread, NULL);
        th_worker_free(worker);
    }
}

#ifdef TH_FAIL_ALLOC
static void test_new_without_memory(void **state)
{
    struct th_worker_options options = {0};
    struct th_worker *worker = NULL;

    for (unsigned long n = 1;; n++) {
        th_mem_fail_after(n, 1);
        int r = th_worker_new(&options, &worker);
        th_mem_fail_after(0, 0);
        if (r == 0)
            break;
        assert_int_equal(r, TH_E_NOMEM);
    }
    th_worker_free(worker);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handles),
        cmocka_unit_test(test_stale_handle),
        cmocka_unit_test(test_messages_in_order_and_bounded),
        cmocka_unit_test(test_many_senders),
        cmocka_unit_test(test_helpers),
        cmocka_unit_test(test_helpers_stop_in_the_middle),
        cmocka_unit_test(test_timers_follow_the_turned_clock),
        cmocka_unit_test(test_soon),
        cmocka_unit_test(test_run_wakes_in_time),
        cmocka_unit_test(test_stop_from_outside),
#ifdef TH_FAIL_ALLOC
        cmocka_unit_test(test_new_without_memory),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
