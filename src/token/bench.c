/* How long a hit takes, and what a credential costs in memory. Not a test: it prints figures.
 *
 *     ninja -C build src/token/bench_token && build/src/token/bench_token [THREADS]
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "broker_private.h"

#define N_CREDENTIALS 100000
#define TOKEN_LEN 480
#define N_HITS 4000000

/* Exchanges that end when told, with a token of TOKEN_LEN bytes. */
struct th_exchange {
    th_exchange_fn *fn;
    void *arg;
};
static struct th_exchange only;

static int start(void *exchanger, const struct th_exchange_request *request, th_exchange_fn *fn,
                 void *arg, struct th_exchange **ret_exchange, struct th_errinfo *reterr)
{
    only = (struct th_exchange){fn, arg};
    *ret_exchange = &only;
    return 0;
}

static void cancel(struct th_exchange *exchange) {}

static const struct th_exchange_ops ops = {.start = start, .cancel = cancel};

static void on_told(struct th_broker_waiter *waiter, struct th_credential *credential,
                    struct th_refusal *refusal)
{
    TH_REQUIRE(credential != NULL);
}

/* Of this thread, as the machine may have other things to do. */
static int64_t cpu_ns(void)
{
    struct timespec now;
    TH_REQUIRE(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static size_t resident_bytes(void)
{
    unsigned long size, resident;
    FILE *file = fopen("/proc/self/statm", "r");
    TH_REQUIRE(file != NULL && fscanf(file, "%lu %lu", &size, &resident) == 2);
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static void make_request(struct th_broker_request *request, unsigned n)
{
    char subject[16];
    memset(request, 0, sizeof *request);
    int len = snprintf(subject, sizeof subject, "%u", n);
    request->subject_token = (struct th_str){subject, (size_t)len};
    th_broker_digest(request->subject_token, request->key.subject);
    request->subject_token = TH_STR("x");
}

static int look_up(struct th_broker_desk *desk, const struct th_broker_request *request,
                   struct th_broker_waiter *waiter)
{
    struct th_credential *credential;
    struct th_refusal *refusal;
    enum th_cache_state state;
    int got = th_broker_get(desk, request, INT64_MAX, waiter, &credential, &state, &refusal);
    th_credential_unref(credential);
    return got;
}

static void fill_cache(struct th_broker_desk *desk)
{
    char token[TOKEN_LEN];
    memset(token, 't', sizeof token);
    for (unsigned i = 0; i < N_CREDENTIALS; i++) {
        struct th_broker_waiter waiter = {.fn = on_told};
        struct th_broker_request request;
        struct th_exchange_result result = {
            .lifetime_ms = 3600000, .subject_expires_wall_ms = -1, .retry_after_ms = -1};
        make_request(&request, i);
        TH_REQUIRE(look_up(desk, &request, &waiter) == TH_AGAIN);
        result.token = th_secret_new(token, sizeof token);
        only.fn(only.arg, &result);
        th_secret_unref(result.token);
    }
}

struct lane {
    pthread_t thread;
    struct th_worker *worker;
    struct th_broker_desk *desk;
    struct th_broker_request *requests; /* shared */
    unsigned n_keys;
    unsigned seed;
    double ns;
};

static void *hit(void *arg)
{
    struct lane *lane = arg;
    struct th_broker_waiter waiter = {.fn = on_told};
    unsigned at = lane->seed;
    int64_t begin_ns = cpu_ns();
    for (unsigned i = 0; i < N_HITS; i++) {
        at = at * 1664525 + 1013904223;
        TH_REQUIRE(look_up(lane->desk, &lane->requests[(at >> 8) % lane->n_keys], &waiter) == 0);
    }
    lane->ns = (double)(cpu_ns() - begin_ns) / N_HITS;
    return NULL;
}

static void measure_hits(struct lane *lanes, unsigned n_lanes, unsigned n_keys)
{
    double ns = 0;
    for (unsigned i = 0; i < n_lanes; i++) {
        lanes[i].n_keys = n_keys;
        TH_REQUIRE(pthread_create(&lanes[i].thread, NULL, hit, &lanes[i]) == 0);
    }
    for (unsigned i = 0; i < n_lanes; i++) {
        TH_REQUIRE(pthread_join(lanes[i].thread, NULL) == 0);
        ns += lanes[i].ns / n_lanes;
    }
    printf("hit, %6u keys, %u threads: %.0f ns\n", n_keys, n_lanes, ns);
}

static void measure_digest(size_t len)
{
    char token[2048];
    uint8_t digest[32];
    memset(token, 's', sizeof token);
    int64_t begin_ns = cpu_ns();
    for (unsigned i = 0; i < 200000; i++) {
        memcpy(token, &i, sizeof i);
        th_broker_digest((struct th_str){token, len}, digest);
    }
    printf("digest of %zu bytes: %.0f ns\n", len, (double)(cpu_ns() - begin_ns) / 200000);
}

int main(int argc, char **argv)
{
    unsigned n_lanes = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1;
    struct lane lanes[16] = {0};
    struct th_broker *broker;
    struct th_broker_figures figures;
    const struct th_broker_options options = {.max_entries = N_CREDENTIALS,
                                              .max_bytes = 1 << 30,
                                              .margin_ms = 30000,
                                              .max_lifetime_ms = 3600000,
                                              .max_waiting = 1000};
    TH_REQUIRE(n_lanes >= 1 && n_lanes <= TH_COUNT_OF(lanes));
    TH_REQUIRE(th_broker_new(&options, &broker) == 0);
    struct th_broker_request *requests = calloc(N_CREDENTIALS, sizeof *requests);
    TH_REQUIRE(requests != NULL);
    for (unsigned i = 0; i < N_CREDENTIALS; i++)
        make_request(&requests[i], i);
    for (unsigned i = 0; i < n_lanes; i++) {
        const struct th_worker_options worker = {.index = i};
        TH_REQUIRE(th_worker_new(&worker, &lanes[i].worker) == 0);
        TH_REQUIRE(th_broker_desk_new(broker, lanes[i].worker, &ops, NULL, &lanes[i].desk) == 0);
        lanes[i].requests = requests;
        lanes[i].seed = i;
    }
    measure_digest(64);
    measure_digest(1000);
    size_t before = resident_bytes();
    fill_cache(lanes[0].desk);
    th_broker_count(broker, &figures);
    printf("memory: %.0f bytes a credential of %d, accounted %.0f\n",
           (double)(resident_bytes() - before) / N_CREDENTIALS, TOKEN_LEN,
           (double)figures.bytes / N_CREDENTIALS);
    measure_hits(lanes, n_lanes, 1);
    measure_hits(lanes, n_lanes, 1000);
    measure_hits(lanes, n_lanes, N_CREDENTIALS);
    for (unsigned i = 0; i < n_lanes; i++)
        th_broker_desk_free(lanes[i].desk);
    th_broker_free(broker);
    for (unsigned i = 0; i < n_lanes; i++)
        th_worker_free(lanes[i].worker);
    free(requests);
    return 0;
}
