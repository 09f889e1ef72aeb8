/* Documents among workers on threads of their own: run it under the thread sanitizer. What fails on
 * a thread aborts, as cmocka's checks are for the thread of the test. */
#include <pthread.h>
#include <stdlib.h>

#include "test_support.h"
#include "tokenhop/net/fetch.h"
#include "tokenhop/oauth/jwks.h"

#define N_LANES 4
#define N_STEPS 4000
#define N_SETS 3

struct lane;

/* Answers at the end of the turn, or is cancelled before. */
struct answering {
    struct th_soon soon;
    struct lane *lane;
    th_fetch_fn *fn; /* NULL: free */
    void *arg;
};

/* A worker, and who asks at it. */
struct lane {
    struct th_fetcher fetcher; /* first: it is found by it */
    struct th_clock clock;     /* its own: they need not agree */
    struct th_worker *worker;
    struct th_document_desk *desk;
    struct answering answering[N_SETS];
    struct th_document_waiter waiters[N_SETS];
    const struct th_jwks *held[N_SETS];
    unsigned seed, n_had, n_waited;
    pthread_t thread;
};

static void answer_now(struct th_soon *soon)
{
    struct answering *answering = TH_CONTAINER_OF(soon, struct answering, soon);
    th_fetch_fn *fn = answering->fn;
    const struct th_fetch_response response = {
        .status = rand_r(&answering->lane->seed) % 4 == 0 ? 503 : 200,
        .retry_after_ms = -1,
        .body = TH_STR("{\"keys\":[{" RFC7515_A3_PUBLIC "}]}")};
    answering->fn = NULL;
    fn(answering->arg, 0, &response, NULL);
}

static int fake_start(struct th_fetcher *fetcher, const struct th_fetch_request *request,
                      th_fetch_fn *fn, void *arg, struct th_fetch **ret_fetch)
{
    struct lane *lane = TH_CONTAINER_OF(fetcher, struct lane, fetcher);
    size_t i = 0;
    (void)request;
    while (i < N_SETS && lane->answering[i].fn != NULL)
        i++;
    TH_REQUIRE(i < N_SETS); /* one fetch a document */
    struct answering *answering = &lane->answering[i];
    *answering = (struct answering){.soon = {.fn = answer_now}, .lane = lane, .fn = fn, .arg = arg};
    th_worker_soon(lane->worker, &answering->soon);
    *ret_fetch = (struct th_fetch *)answering;
    return 0;
}

static void fake_cancel(struct th_fetcher *fetcher, struct th_fetch *fetch)
{
    struct answering *answering = (struct answering *)fetch;
    (void)fetcher;
    TH_REQUIRE(answering->fn != NULL);
    answering->fn = NULL;
    th_soon_cancel(&answering->soon);
}

static void on_told(struct th_document_waiter *waiter)
{
    TH_REQUIRE(waiter->handle == 0);
}

static void step(struct lane *lane)
{
    static const char *const uris[N_SETS] = {"https://a.example", "https://b.example",
                                             "https://c.example"};
    size_t i = (size_t)rand_r(&lane->seed) % N_SETS;
    struct th_document_waiter *waiter = &lane->waiters[i];
    const struct th_jwks *older = rand_r(&lane->seed) % 3 == 0 ? lane->held[i] : NULL, *jwks;
    struct th_document_failure failure;
    if (waiter->handle != 0 && rand_r(&lane->seed) % 4 != 0)
        return; /* waits on */
    th_document_leave(waiter);
    waiter->fn = on_told;
    int error = th_jwks_get(lane->desk, th_str_of(uris[i]), TH_STR_NONE, false, older, waiter,
                            &jwks, &failure);
    lane->n_waited += error == TH_AGAIN;
    if (error != 0)
        return;
    TH_REQUIRE(waiter->handle == 0 && jwks->n_keys == 1 && jwks != older);
    th_jwks_unref(lane->held[i]);
    lane->held[i] = jwks;
    lane->n_had++;
}

static void *run_lane(void *arg)
{
    struct lane *lane = arg;
    for (unsigned i = 0; i < N_STEPS; i++) {
        step(lane);
        if (rand_r(&lane->seed) % 8 == 0)
            th_clock_turn(&lane->clock, rand_r(&lane->seed) % 40000);
        (void)th_worker_turn(lane->worker);
    }
    for (size_t i = 0; i < N_SETS; i++)
        th_document_leave(&lane->waiters[i]);
    return NULL;
}

static void lanes_share(void **state)
{
    (void)state;
    static struct lane lanes[N_LANES];
    struct th_documents *documents;
    assert_int_equal(th_documents_new(&documents), 0);
    for (unsigned i = 0; i < N_LANES; i++) {
        struct lane *lane = &lanes[i];
        const struct th_worker_options options = {.index = i, .clock = &lane->clock};
        *lane = (struct lane){.fetcher = {.start = fake_start, .cancel = fake_cancel}, .seed = i};
        th_clock_init_fake(&lane->clock, NOW_MS);
        assert_int_equal(th_worker_new(&options, &lane->worker), 0);
        assert_int_equal(th_document_desk_new(documents, lane->worker, &lane->fetcher, &lane->desk),
                         0);
    }
    for (unsigned i = 0; i < N_LANES; i++)
        assert_int_equal(pthread_create(&lanes[i].thread, NULL, run_lane, &lanes[i]), 0);
    for (unsigned i = 0; i < N_LANES; i++)
        assert_int_equal(pthread_join(lanes[i].thread, NULL), 0);
    unsigned n_had = 0, n_waited = 0;
    for (unsigned i = 0; i < N_LANES; i++) {
        n_had += lanes[i].n_had;
        n_waited += lanes[i].n_waited;
        th_document_desk_free(lanes[i].desk);
        for (size_t k = 0; k < N_SETS; k++)
            th_jwks_unref(lanes[i].held[k]);
    }
    for (unsigned i = 0; i < N_LANES; i++)
        th_worker_free(lanes[i].worker);
    th_documents_unref(documents);
    assert_true(n_had > N_STEPS / 4);
    assert_true(n_waited > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lanes_share)};
    th_json_start();
    return cmocka_run_group_tests_name("oauth documents threads", tests, NULL, NULL);
}
