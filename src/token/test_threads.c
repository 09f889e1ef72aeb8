/* Workers on threads of their own: run it under the thread sanitizer. What fails here aborts, as
 * cmocka's checks are for the thread of the test. */
#include "scene.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "tokenhop/base/mem.h"
#include "tokenhop/token/revoker.h"

#define N_WAITERS 1000
#define N_KEYS 24
#define N_STEPS 8000

/* A clock that one thread turns while others read it. */
struct shared_clock {
    struct th_clock clock; /* first */
    atomic_int_least64_t now_ms;
};

static int64_t shared_ms(const struct th_clock *clock)
{
    return atomic_load_explicit(&((const struct shared_clock *)clock)->now_ms,
                                memory_order_relaxed);
}

struct lane { /* one worker's thread */
    struct hall *hall;
    unsigned index;
    pthread_t thread;
    struct th_worker *worker;
    struct office office;
    struct th_broker_desk *desk;
    struct one *ones;
    unsigned seed;
};

struct hall {
    struct shared_clock clock;
    struct th_broker *broker;
    struct lane lanes[N_DESKS];
    atomic_uint n_asked, n_told;
    atomic_uint running[N_KEYS]; /* exchanges of that key */
};

static void hall_open(struct hall *hall, const struct th_broker_options *options)
{
    struct th_broker_options own = *options;
    memset(hall, 0, sizeof *hall);
    hall->clock.clock = (struct th_clock){.monotonic_ms = shared_ms, .wall_ms = shared_ms};
    hall->clock.now_ms = 1000000;
    own.clock = &hall->clock.clock;
    assert_int_equal(th_broker_new(&own, &hall->broker), 0);
    for (unsigned i = 0; i < N_DESKS; i++) {
        struct lane *lane = &hall->lanes[i];
        const struct th_worker_options worker = {.index = i, .clock = own.clock};
        lane->hall = hall;
        lane->index = i;
        lane->seed = i + 1;
        th_list_init(&lane->office.running);
        assert_int_equal(th_worker_new(&worker, &lane->worker), 0);
    }
}

static void open_desk(struct lane *lane, const struct th_exchange_ops *ops)
{
    assert_int_equal(
        th_broker_desk_new(lane->hall->broker, lane->worker, ops, &lane->office, &lane->desk), 0);
}

static void hall_close(struct hall *hall)
{
    struct th_broker_figures figures;
    th_broker_count(hall->broker, &figures);
    assert_int_equal(figures.pending, 0);
    assert_int_equal(figures.waiting, 0);
    for (unsigned i = 0; i < N_DESKS; i++)
        th_worker_free(hall->lanes[i].worker);
    th_broker_free(hall->broker);
    assert_int_equal(th_secret_bytes_held(), 0);
}

struct one {                        /* of the thousand */
    struct th_broker_waiter waiter; /* first */
    struct hall *hall;
    unsigned n_told;
};

static void on_one_told(struct th_broker_waiter *waiter, struct th_credential *credential,
                        struct th_refusal *refusal)
{
    struct one *one = (struct one *)waiter;
    TH_REQUIRE(credential != NULL && one->n_told == 0);
    TH_REQUIRE(th_str_equal(th_secret_expose(credential->value), TH_STR("Bearer t")));
    one->n_told++;
    atomic_fetch_add(&one->hall->n_told, 1);
}

static void *ask_and_wait(void *arg)
{
    struct lane *lane = arg;
    struct hall *hall = lane->hall;
    struct th_exchange_result result = result_of_token(300000);
    struct th_broker_request request = request_of("one", "alice");
    for (unsigned i = 0; i < N_WAITERS / N_DESKS; i++) {
        struct one *one = &lane->ones[i];
        struct th_credential *credential;
        struct th_refusal *refusal;
        enum th_cache_state how;
        one->waiter.fn = on_one_told;
        one->hall = hall;
        TH_REQUIRE(th_broker_get(lane->desk, &request, INT64_MAX, &one->waiter, &credential, &how,
                                 &refusal) == TH_AGAIN);
        atomic_fetch_add(&hall->n_asked, 1);
    }
    while (atomic_load(&hall->n_told) < N_WAITERS) {
        if (atomic_load(&hall->n_asked) == N_WAITERS)
            office_end_all(&lane->office, &result, "t");
        (void)th_worker_turn(lane->worker);
        sched_yield();
    }
    return NULL;
}

static void run_lanes(struct hall *hall, void *(*fn)(void *))
{
    for (unsigned i = 0; i < N_DESKS; i++)
        assert_int_equal(pthread_create(&hall->lanes[i].thread, NULL, fn, &hall->lanes[i]), 0);
    for (unsigned i = 0; i < N_DESKS; i++)
        assert_int_equal(pthread_join(hall->lanes[i].thread, NULL), 0);
}

static void r14_a_thousand_waiters_one_exchange(void **state)
{
    static struct hall hall;
    static struct one ones[N_DESKS][N_WAITERS / N_DESKS];
    struct th_broker_options options = usual_options(NULL);
    unsigned n_started = 0;
    memset(ones, 0, sizeof ones);
    hall_open(&hall, &options);
    for (unsigned i = 0; i < N_DESKS; i++) {
        hall.lanes[i].ones = ones[i];
        open_desk(&hall.lanes[i], &office_ops);
    }
    run_lanes(&hall, ask_and_wait);
    for (unsigned i = 0; i < N_DESKS; i++) {
        n_started += hall.lanes[i].office.n_started;
        th_broker_desk_free(hall.lanes[i].desk);
    }
    assert_int_equal(n_started, 1);
    assert_int_equal(hall.n_told, N_WAITERS);
    hall_close(&hall);
}

/* Exchanges that know their key, and that no other of that key may run. */
static unsigned key_of(struct th_str subject)
{
    unsigned key = (unsigned)(subject.ptr[4] - 'a');
    TH_REQUIRE(subject.len == 5 && key < N_KEYS);
    return key;
}

static int counted_start(void *exchanger, const struct th_exchange_request *request,
                         th_exchange_fn *fn, void *arg, struct th_exchange **ret_exchange,
                         struct th_errinfo *reterr)
{
    struct lane *lane = TH_CONTAINER_OF((struct office *)exchanger, struct lane, office);
    TH_REQUIRE(atomic_fetch_add(&lane->hall->running[key_of(request->subject_token)], 1) == 0);
    return office_ops.start(exchanger, request, fn, arg, ret_exchange, reterr);
}

static void uncount(struct th_exchange *exchange)
{
    struct lane *lane = TH_CONTAINER_OF(exchange->office, struct lane, office);
    TH_REQUIRE(atomic_fetch_sub(&lane->hall->running[key_of(th_str_of(exchange->subject))], 1) ==
               1);
}

static void counted_cancel(struct th_exchange *exchange)
{
    uncount(exchange);
    office_ops.cancel(exchange);
}

static const struct th_exchange_ops counted_ops = {.start = counted_start,
                                                   .cancel = counted_cancel};

static unsigned roll(struct lane *lane, unsigned bound)
{
    lane->seed = lane->seed * 1103515245 + 12345;
    return (lane->seed >> 16) % bound;
}

#define N_HELD 16

struct held {
    struct asker asker; /* first */
    char subject[8];
};

static void check_value(const struct held *held, const struct th_credential *credential)
{
    struct th_str value = th_secret_expose(credential->value);
    TH_REQUIRE(value.len == 12 && memcmp(value.ptr + 7, held->subject, 5) == 0);
}

static void on_held_told(struct th_broker_waiter *waiter, struct th_credential *credential,
                         struct th_refusal *refusal)
{
    struct held *held = (struct held *)waiter;
    if (credential != NULL) {
        check_value(held, credential);
        held->asker.credential = th_credential_ref(credential);
    }
}

static void ask_held(struct lane *lane, struct held *held)
{
    struct th_credential *credential;
    struct th_refusal *refusal;
    asker_forget(&held->asker);
    (void)snprintf(held->subject, sizeof held->subject, "user%c", 'a' + roll(lane, N_KEYS));
    struct th_broker_request request = request_of("one", held->subject);
    held->asker.waiter.fn = on_held_told;
    int got = th_broker_get(lane->desk, &request, INT64_MAX, &held->asker.waiter, &credential,
                            &held->asker.state, &refusal);
    th_refusal_unref(refusal);
    if (got == 0)
        check_value(held, credential);
    held->asker.credential = credential;
}

static void end_one(struct lane *lane)
{
    if (th_list_is_empty(&lane->office.running))
        return;
    struct th_exchange *exchange = office_oldest(&lane->office);
    struct th_exchange_result good = result_of_token(30000 + roll(lane, 60000));
    struct th_exchange_result bad =
        result_of_error(roll(lane, 2) == 0 ? TH_E_ACCESS_DENIED : TH_E_EXCHANGE_DOWN);
    bool fails = roll(lane, 8) == 0;
    uncount(exchange);
    office_end(exchange, fails ? &bad : &good, fails ? NULL : exchange->subject);
}

static bool on_listed(void *arg, const struct th_broker_listed *listed)
{
    unsigned *n = arg;
    TH_REQUIRE(strlen(listed->subject) == TH_FINGERPRINT_LEN && listed->agent == NULL);
    ++*n;
    return true;
}

/* What one subject has; and shows what is left. */
static void drop_and_list(struct lane *lane, const struct held *held)
{
    struct th_broker *broker = lane->hall->broker;
    struct th_broker_request request = request_of("one", held->subject);
    char print[TH_FINGERPRINT_LEN + 1];
    struct th_dropped dropped;
    unsigned n = 0;
    th_secret_fingerprint(request.key.subject, sizeof request.key.subject, print);
    const struct th_broker_filter subject = {.subject = th_str_of(print)}, all = {0};
    (void)th_broker_drop(broker, &subject, &dropped);
    for (const struct th_list *it = dropped.entries.next; it != &dropped.entries; it = it->next) {
        struct th_cache_entry *entry = TH_LIST_ENTRY(it, struct th_cache_entry, link);
        if (entry->credential != NULL)
            check_value(held, entry->credential);
    }
    th_dropped_fini(&dropped);
    TH_REQUIRE(th_broker_list(broker, &all, N_KEYS, on_listed, &n) == n);
}

static void act(struct lane *lane, struct held *held)
{
    unsigned what = roll(lane, 100);
    if (what < 60)
        ask_held(lane, held);
    else if (what < 75)
        end_one(lane);
    else if (what < 85)
        th_broker_leave(&held->asker.waiter);
    else if (what < 90 && held->asker.credential != NULL) {
        struct th_broker_request request = request_of("one", held->subject);
        (void)th_broker_reject(lane->desk, &request.key, held->asker.credential);
    } else if (what < 91)
        (void)th_broker_purge(lane->hall->broker, NULL);
    else if (what < 92)
        drop_and_list(lane, held);
    else if (what < 95)
        atomic_fetch_add(&lane->hall->clock.now_ms, 200);
    else
        (void)th_worker_turn(lane->worker);
}

/* Each goes through several desks, so that desks go while others tell and join their parties. */
static void *act_at_random(void *arg)
{
    struct lane *lane = arg;
    struct held held[N_HELD];
    memset(held, 0, sizeof held);
    for (unsigned round = 0; round < 4; round++) {
        open_desk(lane, &counted_ops);
        for (unsigned i = 0; i < N_STEPS / 4 + lane->index * 50; i++)
            act(lane, &held[roll(lane, N_HELD)]);
        lane->desk = th_broker_desk_free(lane->desk);
    }
    for (unsigned i = 0; i < N_HELD; i++)
        asker_forget(&held[i].asker);
    return NULL;
}

static void r14_threads_at_random(void **state)
{
    static struct hall hall;
    struct th_broker_options options = usual_options(NULL);
    options.max_entries = N_KEYS / 2;
    options.max_waiting = 40;
    hall_open(&hall, &options);
    run_lanes(&hall, act_at_random);
    for (unsigned i = 0; i < N_KEYS; i++)
        assert_int_equal(hall.running[i], 0);
    hall_close(&hall);
}

/* -- revoking ------------------------------------------------------------------------------------ */

#define N_DROPPED 400

static atomic_uint n_batches_told;

static void on_batch_told(void *arg, const struct th_revoker_outcome *outcome)
{
    TH_REQUIRE(outcome->n_revoked == N_DROPPED && outcome->n_skipped == 0);
    atomic_fetch_add((atomic_uint *)arg, 1);
}

/* Ends what runs here, one a turn, until the batch has ended. */
static void *revoke_until_told(void *arg)
{
    struct lane *lane = arg;
    const struct th_exchange_result fine = {.n_legs = 1, .legs[0].status = 200};
    while (atomic_load(&n_batches_told) == 0) {
        if (!th_list_is_empty(&lane->office.running))
            office_end(office_oldest(&lane->office), &fine, NULL);
        (void)th_worker_turn(lane->worker);
        sched_yield();
    }
    return NULL;
}

static void drop_and_revoke(struct hall *hall, struct th_revoker *revoker)
{
    const struct th_broker_filter all = {0};
    const struct th_revoker_batch batch = {
        .why = "test", .limit_ms = 60000, .fn = on_batch_told, .arg = &n_batches_told};
    struct th_dropped dropped;
    assert_int_equal(th_broker_drop(hall->broker, &all, &dropped), N_DROPPED);
    th_revoker_start(revoker, &dropped, &batch);
}

static void r24_threads_revoke_together(void **state)
{
    static struct hall hall;
    struct th_broker_options options = usual_options(NULL);
    struct th_directory *directory = directory_of(USUAL);
    struct th_exchange_result result = result_of_token(300000);
    struct th_revoker *revoker;
    struct th_revoker_desk *desks[N_DESKS];
    hall_open(&hall, &options);
    atomic_store(&n_batches_told, 0);
    const struct th_revoker_options how = {.clock = &hall.clock.clock};
    assert_int_equal(th_revoker_new(&how, &revoker), 0);
    assert_int_equal(th_broker_set_directory(hall.broker, directory, NULL), 0);
    for (unsigned i = 0; i < N_DESKS; i++) {
        struct lane *lane = &hall.lanes[i];
        open_desk(lane, &office_ops);
        assert_int_equal(
            th_revoker_desk_new(revoker, lane->worker, &office_ops, &lane->office, &desks[i]), 0);
    }
    for (unsigned i = 0; i < N_DROPPED; i++) {
        struct asker asker = {.waiter.fn = on_held_told};
        struct th_refusal *refusal;
        char subject[32];
        (void)snprintf(subject, sizeof subject, "user%u", i);
        struct th_broker_request request = scene_request(directory, "one", 0, subject);
        assert_int_equal(th_broker_get(hall.lanes[0].desk, &request, INT64_MAX, &asker.waiter,
                                       &asker.credential, &asker.state, &refusal),
                         TH_AGAIN);
        th_broker_leave(&asker.waiter);
        office_end_all(&hall.lanes[0].office, &result, "t");
    }
    for (unsigned i = 0; i < N_DESKS; i++)
        assert_int_equal(
            pthread_create(&hall.lanes[i].thread, NULL, revoke_until_told, &hall.lanes[i]), 0);
    drop_and_revoke(&hall, revoker); /* of a thread that is no worker's */
    for (unsigned i = 0; i < N_DESKS; i++)
        assert_int_equal(pthread_join(hall.lanes[i].thread, NULL), 0);
    assert_int_equal(atomic_load(&n_batches_told), 1);
    for (unsigned i = 0; i < N_DESKS; i++) {
        th_revoker_desk_free(desks[i]);
        th_broker_desk_free(hall.lanes[i].desk);
    }
    th_revoker_free(revoker);
    th_directory_unref(directory);
    hall_close(&hall);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(r14_a_thousand_waiters_one_exchange),
        cmocka_unit_test(r14_threads_at_random),
        cmocka_unit_test(r24_threads_revoke_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
