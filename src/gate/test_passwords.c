/* Slow hashes: on real helpers, and a clock that is turned while none of them works. */
#include "test_config.h"

#include <pthread.h>
#include <semaphore.h>
#include <string.h>

#include "tokenhop/base/mem.h"
#include "tokenhop/base/password.h"
#include "tokenhop/gate/passwords.h"
#include "tokenhop/net/helpers.h"
#include "tokenhop/oauth/json.h"

/* "password-of-a" and "password-of-b", by openssl passwd -5: some 5 ms each. */
#define OF_A "$5$0123456789abcdef$1b/Ca2QaXqyOYD6P9VFSSA/bZdBkDW4GC61tKL5Tyj2"
#define OF_B "$5$0123456789abcdef$M7uoQmjhmm3TqXeRFeHuDmCnpX508k2Gv2SWszb6g58"
#define OF_C "$5$fedcba9876543210$qQekB.UboEdq7ufzzgoew5/qn8FwM04GKwAODmsR6y4"

#define CALLERS                                                                                    \
    TEST_CONFIG("\"callers\": ["                                                                   \
                "{\"name\": \"a\", \"agent\": \"agent1\", \"basic\": {\"user\": \"a\","            \
                " \"password\": {\"env\": \"TEST_A\"}}},"                                          \
                "{\"name\": \"b\", \"agent\": \"agent9\", \"basic\": {\"user\": \"b\","            \
                " \"password\": {\"env\": \"TEST_B\"}}}]")

struct world {
    struct th_clock clock;
    struct th_helpers *helpers;
    struct th_worker *worker;
    struct th_passwords *passwords;
    struct th_config *config;
};

static struct th_config *load(const char *a, const char *b)
{
    assert_int_equal(setenv("TEST_A", a, 1), 0);
    assert_int_equal(setenv("TEST_B", b, 1), 0);
    return test_config_load(CALLERS);
}

static int open_world(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    th_clock_init_fake(&w->clock, 1700000000000);
    th_clock_turn(&w->clock, 3600000); /* rates of before the process began are whole */
    assert_int_equal(th_helpers_new(1, 1000, &w->helpers), 0);
    const struct th_worker_options options = {.clock = &w->clock, .helpers = w->helpers};
    assert_int_equal(th_worker_new(&options, &w->worker), 0);
    assert_int_equal(th_passwords_new(1, &w->passwords), 0);
    w->config = load(OF_A, OF_B);
    *state = w;
    return 0;
}

static int close_world(void **state)
{
    struct world *w = *state;
    th_helpers_stop(w->helpers);
    th_worker_free(w->worker);
    th_helpers_free(w->helpers);
    th_passwords_free(w->passwords);
    th_config_unref(w->config);
    free(w);
    return 0;
}

/* --- one who asks --- */

struct one {
    struct th_password_waiter *waiter;
    struct th_password_answer answer;
    unsigned n_told, order;
};

static unsigned n_all_told;

static void on_told(void *arg, const struct th_password_answer *answer)
{
    struct one *one = arg;
    one->waiter = NULL;
    one->answer = *answer;
    one->n_told++;
    one->order = ++n_all_told;
}

static struct in6_addr peer_of(unsigned number)
{
    struct in6_addr peer = {{{0}}};
    peer.s6_addr[10] = peer.s6_addr[11] = 0xff; /* 10.0.0.N */
    peer.s6_addr[12] = 10;
    peer.s6_addr[15] = (uint8_t)number;
    return peer;
}

static const struct th_config_caller *caller_of(const struct world *w, const char *user)
{
    const struct th_config_view *view = th_config_get(w->config);
    return &view->callers[strcmp(user, "b") == 0];
}

/* "a" and "b" are asked about their own hashes, all others stand in for "a". */
static bool ask_from(struct world *w, unsigned peer, const char *user, const char *password,
                     struct one *one)
{
    bool is_known = strcmp(user, "a") == 0 || strcmp(user, "b") == 0;
    const struct th_password_question question = {.config = w->config,
                                                  .hashes = &caller_of(w, user)->slow,
                                                  .is_stand_in = !is_known,
                                                  .user = th_str_of(user),
                                                  .password = th_str_of(password),
                                                  .peer = peer_of(peer)};
    *one = (struct one){.n_told = 0};
    return th_passwords_ask(w->passwords, w->worker, &question, on_told, one, &one->answer,
                            &one->waiter);
}

static bool ask(struct world *w, const char *user, const char *password, struct one *one)
{
    return ask_from(w, 1, user, password, one);
}

static void wait_for(struct world *w, const struct one *one)
{
    for (int i = 0; i < 20000 && one->n_told == 0; i++)
        if (!th_worker_turn(w->worker))
            usleep(500);
    assert_int_equal(one->n_told, 1);
}

/* Asked, and waited for where that is to be. */
static int answer_from(struct world *w, unsigned peer, const char *user, const char *password)
{
    struct one one;
    if (!ask_from(w, peer, user, password, &one))
        wait_for(w, &one);
    return one.answer.error;
}

static struct th_passwords_figures figures(struct world *w)
{
    struct th_passwords_figures found;
    th_passwords_count(w->passwords, &found);
    return found;
}

/* --- helpers that are busy for as long as is wanted --- */

struct blocker {
    struct th_job job;
    sem_t begun, ended;
    bool is_done;
};

static void block(struct th_job *job)
{
    struct blocker *blocker = TH_CONTAINER_OF(job, struct blocker, job);
    sem_post(&blocker->begun);
    sem_wait(&blocker->ended);
}

static void on_unblocked(struct th_job *job)
{
    TH_CONTAINER_OF(job, struct blocker, job)->is_done = true;
}

static void block_helpers(struct world *w, struct blocker *blocker)
{
    *blocker = (struct blocker){.job = {.work = block, .done = on_unblocked}};
    sem_init(&blocker->begun, 0, 0);
    sem_init(&blocker->ended, 0, 0);
    assert_int_equal(th_helpers_submit(w->helpers, w->worker, &blocker->job), 0);
    sem_wait(&blocker->begun);
}

static void release_helpers(struct world *w, struct blocker *blocker)
{
    sem_post(&blocker->ended);
    for (int i = 0; i < 20000 && !blocker->is_done; i++)
        if (!th_worker_turn(w->worker))
            usleep(500);
    assert_true(blocker->is_done);
    sem_destroy(&blocker->begun);
    sem_destroy(&blocker->ended);
}

/* --- the tests --- */

static void right_and_wrong(void **state)
{
    struct world *w = *state;
    struct one one;
    assert_false(ask(w, "a", "password-of-a", &one));
    wait_for(w, &one);
    assert_int_equal(one.answer.error, 0);
    assert_memory_equal(one.answer.digest, caller_of(w, "a")->slow.items[0].digest, 32);
    assert_int_equal(figures(w).right, 1);

    assert_false(ask(w, "a", "password-of-b", &one));
    wait_for(w, &one);
    assert_int_equal(one.answer.error, TH_E_CALLER);
    assert_int_equal(figures(w).wrong, 1);

    /* Both are known now. */
    assert_true(ask(w, "a", "password-of-a", &one));
    assert_int_equal(one.answer.error, 0);
    assert_memory_equal(one.answer.digest, caller_of(w, "a")->slow.items[0].digest, 32);
    assert_true(ask(w, "a", "password-of-b", &one));
    assert_int_equal(one.answer.error, TH_E_CALLER);
    assert_int_equal(figures(w).right, 1);
}

/* Nothing of one user counts for another, nor is "ab" + "c" what "a" + "bc" is. */
static void each_by_its_own(void **state)
{
    struct world *w = *state;
    assert_int_equal(answer_from(w, 1, "a", "password-of-a"), 0);
    assert_int_equal(answer_from(w, 1, "b", "password-of-a"), TH_E_CALLER);
    assert_int_equal(answer_from(w, 1, "b", "password-of-b"), 0);
    assert_int_equal(answer_from(w, 1, "a", "password-of-b"), TH_E_CALLER);
    assert_int_equal(answer_from(w, 1, "", "apassword-of-a"), TH_E_CALLER);
    /* What is right proves nothing where another stands in. */
    assert_int_equal(answer_from(w, 1, "nobody", "password-of-a"), TH_E_CALLER);
    assert_int_equal(answer_from(w, 1, "nobody", "password-of-a"), TH_E_CALLER);
    assert_int_equal(figures(w).right, 2);
}

static void one_flight_for_all_that_ask_the_same(void **state)
{
    struct world *w = *state;
    struct blocker blocker;
    struct one ones[20], other;
    block_helpers(w, &blocker);
    for (size_t i = 0; i < TH_COUNT_OF(ones); i++)
        assert_false(ask_from(w, (unsigned)i, "a", "password-of-a", &ones[i]));
    assert_int_equal(figures(w).running, 1);
    assert_int_equal(figures(w).waiting, 0);
    assert_false(ask(w, "a", "another-password", &other));
    assert_int_equal(figures(w).waiting, 1);
    release_helpers(w, &blocker);
    for (size_t i = 0; i < TH_COUNT_OF(ones); i++) {
        wait_for(w, &ones[i]);
        assert_int_equal(ones[i].answer.error, 0);
    }
    wait_for(w, &other);
    assert_int_equal(other.answer.error, TH_E_CALLER);
    assert_int_equal(figures(w).running, 0);
}

static void who_leaves_is_not_told(void **state)
{
    struct world *w = *state;
    struct blocker blocker;
    struct one first, second, third;
    block_helpers(w, &blocker);
    assert_false(ask(w, "a", "password-of-a", &first));  /* runs */
    assert_false(ask(w, "b", "password-of-b", &second)); /* waits */
    assert_false(ask(w, "b", "password-of-b", &third));  /* for the same */
    assert_int_equal(figures(w).waiting, 1);
    th_passwords_leave(first.waiter);
    th_passwords_leave(second.waiter);
    assert_int_equal(figures(w).waiting, 1);
    th_passwords_leave(third.waiter);
    assert_int_equal(figures(w).waiting, 0); /* nobody wants it */
    th_passwords_leave(NULL);
    release_helpers(w, &blocker);
    for (int i = 0; i < 20000 && figures(w).running > 0; i++)
        usleep(500);
    while (th_worker_turn(w->worker)) {
    }
    assert_int_equal(first.n_told + second.n_told + third.n_told, 0);
    assert_int_equal(figures(w).right, 1); /* what ran is remembered */
    assert_true(ask(w, "a", "password-of-a", &first));
}

/* It has been posted, and is not delivered. */
static void who_leaves_at_the_last_moment_is_not_told(void **state)
{
    struct world *w = *state;
    struct one one;
    assert_false(ask(w, "a", "password-of-a", &one));
    for (int i = 0; i < 20000 && figures(w).running > 0; i++)
        usleep(500);
    th_passwords_leave(one.waiter);
    for (int i = 0; i < 100; i++)
        if (!th_worker_turn(w->worker))
            usleep(100);
    assert_int_equal(one.n_told, 0);
}

static void too_many_mistakes_about_one_user(void **state)
{
    struct world *w = *state;
    struct one one;
    char text[32];
    assert_int_equal(answer_from(w, 1, "b", "password-of-b"), 0);
    for (int i = 0; i < 5; i++) {
        (void)snprintf(text, sizeof text, "guess number %d", i);
        assert_int_equal(answer_from(w, 1, "a", text), TH_E_CALLER);
    }
    assert_true(ask(w, "a", "guess number 5", &one));
    assert_int_equal(one.answer.error, TH_E_CALLER_LIMIT);
    assert_true(one.answer.is_news);
    assert_in_range(one.answer.wait_ms, 1, 2000);
    assert_true(ask(w, "a", "guess number 6", &one));
    assert_int_equal(one.answer.error, TH_E_CALLER_LIMIT);
    assert_false(one.answer.is_news);
    /* Not even the right one, as it is not known to be that ... */
    assert_int_equal(answer_from(w, 1, "a", "password-of-a"), TH_E_CALLER_LIMIT);
    /* ... but from elsewhere; and from then on it is known. */
    assert_int_equal(answer_from(w, 2, "a", "password-of-a"), 0);
    assert_int_equal(answer_from(w, 1, "a", "password-of-a"), 0);
    /* What is known to be wrong is that, others go on, and nobody else is the same user. */
    assert_int_equal(answer_from(w, 1, "a", "guess number 0"), TH_E_CALLER);
    assert_int_equal(answer_from(w, 1, "b", "password-of-b"), 0);
    assert_int_equal(answer_from(w, 1, "b", "a guess"), TH_E_CALLER);
    th_clock_turn(&w->clock, 2000);
    (void)th_worker_turn(w->worker);
    assert_int_equal(answer_from(w, 1, "a", "guess number 7"), TH_E_CALLER);
    assert_int_equal(answer_from(w, 1, "a", "guess number 8"), TH_E_CALLER_LIMIT);
}

static void too_many_mistakes_of_one_peer(void **state)
{
    struct world *w = *state;
    char name[32];
    for (int i = 0; i < 20; i++) {
        (void)snprintf(name, sizeof name, "user %d", i);
        assert_int_equal(answer_from(w, 1, name, "a guess"), TH_E_CALLER);
    }
    assert_int_equal(answer_from(w, 1, "user 20", "a guess"), TH_E_CALLER_LIMIT);
    assert_int_equal(answer_from(w, 1, "b", "password-of-b"), TH_E_CALLER_LIMIT);
    assert_int_equal(answer_from(w, 2, "b", "password-of-b"), 0);
    assert_int_equal(answer_from(w, 1, "b", "password-of-b"), 0);
    th_clock_turn(&w->clock, 500);
    (void)th_worker_turn(w->worker);
    assert_int_equal(answer_from(w, 1, "user 20", "a guess"), TH_E_CALLER);
    assert_int_equal(answer_from(w, 1, "user 21", "a guess"), TH_E_CALLER_LIMIT);
}

/* Those that were in the queue before the others turned out to be wrong too. */
static void mistakes_that_are_under_way_are_bounded(void **state)
{
    struct world *w = *state;
    struct blocker blocker;
    struct one ones[60], right;
    unsigned n_wrong = 0, n_limited = 0, n_news = 0;
    char name[32];
    block_helpers(w, &blocker);
    for (size_t i = 0; i < TH_COUNT_OF(ones); i++) {
        (void)snprintf(name, sizeof name, "user %zu", i);
        assert_false(ask_from(w, 1, name, "a guess", &ones[i]));
    }
    assert_false(ask_from(w, 2, "a", "password-of-a", &right));
    release_helpers(w, &blocker);
    for (size_t i = 0; i < TH_COUNT_OF(ones); i++) {
        wait_for(w, &ones[i]);
        n_wrong += ones[i].answer.error == TH_E_CALLER;
        n_limited += ones[i].answer.error == TH_E_CALLER_LIMIT;
        n_news += ones[i].answer.is_news;
    }
    assert_int_equal(n_wrong, 20);
    assert_int_equal(n_limited, 40);
    assert_int_equal(n_news, 1);
    assert_int_equal(right.answer.error, 0);
    assert_int_equal(figures(w).waiting + figures(w).running, 0);
}

static void peers_take_turns(void **state)
{
    struct world *w = *state;
    struct blocker blocker;
    struct one many[30], few[3], late;
    char name[32];
    n_all_told = 0;
    block_helpers(w, &blocker);
    for (size_t i = 0; i < TH_COUNT_OF(many); i++) {
        (void)snprintf(name, sizeof name, "user %zu", i);
        assert_false(ask_from(w, 1, name, "a guess", &many[i]));
    }
    for (size_t i = 0; i < TH_COUNT_OF(few); i++) {
        (void)snprintf(name, sizeof name, "other %zu", i);
        assert_false(ask_from(w, 2, name, "a guess", &few[i]));
    }
    assert_false(ask_from(w, 3, "a", "password-of-a", &late));
    release_helpers(w, &blocker);
    for (size_t i = 0; i < TH_COUNT_OF(many); i++)
        wait_for(w, &many[i]);
    wait_for(w, &late);
    assert_int_equal(many[0].order, 1); /* it ran already */
    assert_true(late.order <= 4);
    assert_true(few[0].order <= 4);
    assert_true(few[1].order <= 7);
    assert_true(few[2].order <= 10);
}

static void queue_is_bounded(void **state)
{
    struct world *w = *state;
    struct blocker blocker;
    struct one *ones = calloc(300, sizeof *ones), one;
    size_t n = 0;
    char name[32];
    block_helpers(w, &blocker);
    /* Of one peer one runs, and 64 wait. */
    for (unsigned peer = 1; peer <= 4; peer++) {
        for (unsigned i = 0; i < (peer == 1 ? 65u : 64u); i++) {
            (void)snprintf(name, sizeof name, "user %u of %u", i, peer);
            assert_false(ask_from(w, peer, name, "a guess", &ones[n++]));
        }
        if (peer == 1) {
            assert_true(ask_from(w, peer, "one more", "a guess", &one));
            assert_int_equal(one.answer.error, TH_E_OVERLOADED);
        }
    }
    assert_int_equal(figures(w).waiting, 256);
    assert_true(ask_from(w, 5, "a", "password-of-a", &one));
    assert_int_equal(one.answer.error, TH_E_OVERLOADED);
    /* To what is under way it may be joined. */
    assert_false(ask_from(w, 5, "user 1 of 1", "a guess", &one));
    th_passwords_leave(one.waiter);
    for (size_t i = 0; i < n; i++)
        th_passwords_leave(ones[i].waiter);
    assert_int_equal(figures(w).waiting, 0);
    release_helpers(w, &blocker);
    assert_int_equal(answer_from(w, 5, "a", "password-of-a"), 0);
    free(ones);
}

static void forgotten_when_the_hash_goes(void **state)
{
    struct world *w = *state;
    struct one one;
    assert_int_equal(answer_from(w, 1, "a", "password-of-a"), 0);
    assert_int_equal(answer_from(w, 1, "b", "password-of-b"), 0);
    assert_int_equal(answer_from(w, 1, "b", "password-of-c"), TH_E_CALLER);
    /* The same again: nothing of what is right changes. */
    struct th_config *before = w->config;
    w->config = load(OF_A, OF_B);
    th_passwords_keep(w->passwords, th_config_get(w->config));
    th_config_unref(before);
    assert_int_equal(figures(w).right, 2);
    assert_true(ask(w, "a", "password-of-a", &one));
    /* Another password of b, besides. */
    before = w->config;
    w->config = load(OF_A, OF_B "\n" OF_C);
    th_passwords_keep(w->passwords, th_config_get(w->config));
    th_config_unref(before);
    assert_true(ask(w, "a", "password-of-a", &one));
    assert_int_equal(answer_from(w, 1, "b", "password-of-b"), 0);
    assert_int_equal(answer_from(w, 1, "b", "password-of-c"), 0);
    /* The old one goes. */
    before = w->config;
    w->config = load(OF_A, OF_C);
    th_passwords_keep(w->passwords, th_config_get(w->config));
    th_config_unref(before);
    assert_int_equal(figures(w).right, 2); /* a's, and c as it was proved before */
    assert_int_equal(answer_from(w, 1, "b", "password-of-b"), TH_E_CALLER);
    assert_int_equal(answer_from(w, 1, "b", "password-of-c"), 0);
    th_passwords_keep(w->passwords, &(const struct th_config_view){.n_callers = 0});
    assert_int_equal(figures(w).right, 0);
    assert_int_equal(figures(w).wrong, 0);
}

/* Whoever waits when the helpers end is told so, or has left. */
static void the_end(void **state)
{
    struct world *w = *state;
    struct blocker blocker;
    struct one first, second;
    block_helpers(w, &blocker);
    assert_false(ask(w, "a", "password-of-a", &first));
    assert_false(ask(w, "b", "password-of-b", &second));
    sem_post(&blocker.ended);
    th_helpers_stop(w->helpers);
    for (int i = 0; i < 100; i++)
        (void)th_worker_turn(w->worker);
    assert_int_equal(first.n_told + second.n_told, 2);
    /* Which of them a helper takes before it is told to stop is chance. */
    assert_true(first.answer.error == TH_E_DRAINING || first.answer.error == 0);
    assert_true(second.answer.error == TH_E_DRAINING || second.answer.error == 0);
    assert_false(ask(w, "b", "password-of-c", &first));
    wait_for(w, &first);
    assert_int_equal(first.answer.error, TH_E_DRAINING);
    assert_int_equal(figures(w).running + figures(w).waiting, 0);
}

static void without_helpers_nothing_is_known(void **state)
{
    struct world *w = *state;
    struct one one;
    w->worker->helpers = NULL;
    assert_true(ask(w, "a", "password-of-a", &one));
    assert_int_equal(one.answer.error, TH_E_OVERLOADED);
}

#ifdef TH_FAIL_ALLOC
static void memory_is_short(void **state)
{
    struct world *w = *state;
    for (unsigned long nth = 1; nth < 200; nth++) {
        char text[32];
        (void)snprintf(text, sizeof text, "guess %lu", nth);
        th_mem_fail_after(nth, 1);
        int error = answer_from(w, (unsigned)nth, "a", text);
        bool has_failed = th_mem_count() >= nth;
        th_mem_fail_after(0, 0);
        assert_true(error == TH_E_CALLER || error == TH_E_NOMEM);
        assert_int_equal(figures(w).running + figures(w).waiting, 0);
        if (!has_failed)
            return;
    }
    fail_msg("it never gets through");
}
#endif

/* --- threads: run it under the thread sanitizer --- */

#define N_LANES 3
#define N_STEPS 400

struct lane {
    struct world *w;
    struct th_worker *worker;
    pthread_t thread;
    unsigned seed, n_right, n_wrong, n_other, n_asked;
    struct asked {
        struct lane *lane;
        struct th_password_waiter *waiter;
        bool is_right;
    } asked[8];
};

static void note(struct lane *lane, bool is_right, const struct th_password_answer *answer)
{
    TH_REQUIRE(answer->error != 0 || is_right);
    TH_REQUIRE(answer->error != TH_E_CALLER || !is_right);
    lane->n_right += answer->error == 0;
    lane->n_wrong += answer->error == TH_E_CALLER;
    lane->n_other += answer->error != 0 && answer->error != TH_E_CALLER;
}

static void on_lane_told(void *arg, const struct th_password_answer *answer)
{
    struct asked *asked = arg;
    TH_REQUIRE(asked->waiter != NULL);
    asked->waiter = NULL;
    note(asked->lane, asked->is_right, answer);
}

static void step(struct lane *lane)
{
    struct asked *asked = &lane->asked[rand_r(&lane->seed) % 8];
    struct th_password_answer answer;
    char text[32];
    if (asked->waiter != NULL && rand_r(&lane->seed) % 2 == 0)
        return;
    th_passwords_leave(asked->waiter);
    asked->waiter = NULL;
    asked->lane = lane;
    asked->is_right = rand_r(&lane->seed) % 2 == 0;
    (void)snprintf(text, sizeof text, asked->is_right ? "password-of-a" : "guess %d",
                   rand_r(&lane->seed) % 30);
    const struct th_password_question question = {.config = lane->w->config,
                                                  .hashes = &caller_of(lane->w, "a")->slow,
                                                  .user = TH_STR("a"),
                                                  .password = th_str_of(text),
                                                  .peer = peer_of((unsigned)rand_r(&lane->seed))};
    lane->n_asked++;
    if (th_passwords_ask(lane->w->passwords, lane->worker, &question, on_lane_told, asked, &answer,
                         &asked->waiter))
        note(lane, asked->is_right, &answer);
}

static void *run_lane(void *arg)
{
    struct lane *lane = arg;
    for (unsigned i = 0; i < N_STEPS; i++) {
        step(lane);
        if (!th_worker_turn(lane->worker))
            usleep(200);
        if (i % 64 == 0 && lane->seed % 2 == 0)
            th_passwords_keep(lane->w->passwords, th_config_get(lane->w->config));
    }
    for (size_t i = 0; i < TH_COUNT_OF(lane->asked); i++)
        th_passwords_leave(lane->asked[i].waiter);
    return NULL;
}

static void lanes_share(void **state)
{
    struct world *w = *state;
    struct lane lanes[N_LANES] = {{0}};
    for (unsigned i = 0; i < N_LANES; i++) {
        const struct th_worker_options options = {
            .index = i, .clock = &th_clock_system, .helpers = w->helpers};
        lanes[i].w = w;
        lanes[i].seed = i + 1;
        assert_int_equal(th_worker_new(&options, &lanes[i].worker), 0);
    }
    /* Else it may be that all of them guess before it is known, and are limited from then on. */
    assert_int_equal(answer_from(w, 1, "a", "password-of-a"), 0);
    for (unsigned i = 0; i < N_LANES; i++)
        assert_int_equal(pthread_create(&lanes[i].thread, NULL, run_lane, &lanes[i]), 0);
    for (unsigned i = 0; i < N_LANES; i++)
        assert_int_equal(pthread_join(lanes[i].thread, NULL), 0);
    th_helpers_stop(w->helpers);
    for (unsigned i = 0; i < N_LANES; i++) {
        assert_true(lanes[i].n_right > 0 && lanes[i].n_asked > N_STEPS / 8);
        th_worker_free(lanes[i].worker);
    }
    assert_int_equal(figures(w).running + figures(w).waiting, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(right_and_wrong, open_world, close_world),
        cmocka_unit_test_setup_teardown(each_by_its_own, open_world, close_world),
        cmocka_unit_test_setup_teardown(one_flight_for_all_that_ask_the_same, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(who_leaves_is_not_told, open_world, close_world),
        cmocka_unit_test_setup_teardown(who_leaves_at_the_last_moment_is_not_told, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(too_many_mistakes_about_one_user, open_world, close_world),
        cmocka_unit_test_setup_teardown(too_many_mistakes_of_one_peer, open_world, close_world),
        cmocka_unit_test_setup_teardown(mistakes_that_are_under_way_are_bounded, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(peers_take_turns, open_world, close_world),
        cmocka_unit_test_setup_teardown(queue_is_bounded, open_world, close_world),
        cmocka_unit_test_setup_teardown(forgotten_when_the_hash_goes, open_world, close_world),
        cmocka_unit_test_setup_teardown(the_end, open_world, close_world),
        cmocka_unit_test_setup_teardown(without_helpers_nothing_is_known, open_world, close_world),
#ifdef TH_FAIL_ALLOC
        cmocka_unit_test_setup_teardown(memory_is_short, open_world, close_world),
#endif
        cmocka_unit_test_setup_teardown(lanes_share, open_world, close_world),
    };
    th_json_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
