#include "test_support.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>

/* Answers "a<n>.example" with 10.0.0.<n>, when it is let. */
struct slow_network {
    struct th_network network;
    atomic_int n_lookups;
    sem_t let; /* posted once for each lookup that may go on */
    atomic_bool fail;
};

static int slow_lookup(struct th_network *network, const char *host, uint16_t port,
                       struct th_addresses *ret_addresses)
{
    struct slow_network *slow = TH_CONTAINER_OF(network, struct slow_network, network);
    unsigned n;

    atomic_fetch_add(&slow->n_lookups, 1);
    if (!network->lookup_never_blocks)
        sem_wait(&slow->let);
    if (atomic_load(&slow->fail) || sscanf(host, "a%u.example", &n) != 1)
        return TH_E_ORIGIN_NAME;
    ret_addresses->count = 1;
    ret_addresses->items[0].v4 = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(0x0a000000 + n)}};
    return 0;
}

struct asker {
    struct th_resolve resolve;
    int called;
    int error;
    char text[TH_ADDRESS_TEXT_MAX];
    struct asker *cancels;
};

struct setting {
    struct slow_network slow;
    struct bench bench;
    struct th_helpers *helpers;
};

static void on_resolved(struct th_resolve *resolve, int error, const struct th_addresses *addresses)
{
    struct asker *asker = TH_CONTAINER_OF(resolve, struct asker, resolve);

    asker->called++;
    asker->error = error;
    if (error == 0)
        th_address_format(&addresses->items[0], asker->text);
    if (asker->cancels != NULL)
        th_resolve_cancel(&asker->cancels->resolve);
}

static void setting_open(struct setting *s, bool blocking)
{
    memset(s, 0, sizeof(*s));
    s->slow.network = *th_network_system();
    s->slow.network.lookup = slow_lookup;
    s->slow.network.lookup_never_blocks = !blocking;
    sem_init(&s->slow.let, 0, 0);
    if (blocking)
        assert_int_equal(th_helpers_new(2, 4, &s->helpers), 0);
    bench_open(&s->bench, &s->slow.network, s->helpers);
}

static void setting_close(struct setting *s)
{
    if (s->helpers != NULL)
        th_helpers_stop(s->helpers);
    bench_close(&s->bench);
    th_helpers_free(s->helpers);
    sem_destroy(&s->slow.let);
}

static int ask(struct setting *s, struct asker *asker, const char *host)
{
    struct th_addresses addresses;
    int r;

    memset(asker, 0, sizeof(*asker));
    r = th_resolver_ask(s->bench.worker->resolver, th_str_of(host), 443, &asker->resolve,
                        on_resolved, &addresses);
    if (r == 0)
        th_address_format(&addresses.items[0], asker->text);
    assert_int_equal(asker->called, 0);
    return r;
}

static void test_one_job_for_equal_questions(void **state)
{
    struct setting s;
    struct asker askers[5];
    struct asker other;

    setting_open(&s, true);
    for (size_t i = 0; i < TH_COUNT_OF(askers); i++)
        assert_int_equal(ask(&s, &askers[i], "a7.example"), TH_AGAIN);
    assert_int_equal(ask(&s, &other, "a8.example"), TH_AGAIN);
    th_resolve_cancel(&askers[1].resolve);
    askers[0].cancels = &askers[2]; /* inside the function of the first */
    sem_post(&s.slow.let);
    sem_post(&s.slow.let);
    wait_for(&s.bench, &askers[4].called);
    wait_for(&s.bench, &other.called);
    assert_int_equal(s.slow.n_lookups, 2);
    assert_int_equal(askers[1].called, 0);
    assert_int_equal(askers[2].called, 0);
    assert_string_equal(askers[4].text, "10.0.0.7:443");
    assert_string_equal(other.text, "10.0.0.8:443");
    assert_int_equal(ask(&s, &other, "a7.example"), 0); /* known now */
    assert_string_equal(other.text, "10.0.0.7:443");
    setting_close(&s);
}

static void test_queue_is_bounded(void **state)
{
    struct setting s;
    struct asker askers[10];
    int refused = 0;

    setting_open(&s, true);
    for (size_t i = 0; i < TH_COUNT_OF(askers); i++) {
        char host[32];
        snprintf(host, sizeof(host), "a%zu.example", i);
        int r = ask(&s, &askers[i], host);
        assert_true(r == TH_AGAIN || r == TH_E_OVERLOADED);
        refused += r == TH_E_OVERLOADED;
        th_resolve_cancel(&askers[i].resolve);
    }
    assert_true(refused >= 4); /* two run at most, four wait */
    for (int i = 0; i < 10; i++)
        sem_post(&s.slow.let);
    setting_close(&s);
}

/* Whoever asked is gone, the worker too, when the answer comes. */
static void test_end_with_a_lookup_under_way(void **state)
{
    struct setting s;
    struct asker asker;

    setting_open(&s, true);
    assert_int_equal(ask(&s, &asker, "a1.example"), TH_AGAIN);
    th_resolve_cancel(&asker.resolve);
    sem_post(&s.slow.let);
    setting_close(&s);
    assert_int_equal(asker.called, 0);
}

static void test_lifetimes(void **state)
{
    struct setting s;
    struct asker asker;

    setting_open(&s, false);
    assert_int_equal(ask(&s, &asker, "a1.example"), 0);
    pass(&s.bench, 29000);
    assert_int_equal(ask(&s, &asker, "a1.example"), 0);
    assert_int_equal(s.slow.n_lookups, 1);
    pass(&s.bench, 1100);
    assert_int_equal(ask(&s, &asker, "a1.example"), 0);
    assert_int_equal(s.slow.n_lookups, 2);

    s.slow.fail = true;
    assert_int_equal(ask(&s, &asker, "a2.example"), TH_E_ORIGIN_NAME);
    pass(&s.bench, 1900);
    assert_int_equal(ask(&s, &asker, "a2.example"), TH_E_ORIGIN_NAME);
    assert_int_equal(s.slow.n_lookups, 3);
    s.slow.fail = false;
    pass(&s.bench, 200);
    assert_int_equal(ask(&s, &asker, "a2.example"), 0);
    assert_int_equal(s.slow.n_lookups, 4);
    setting_close(&s);
}

static void test_cache_is_bounded(void **state)
{
    struct setting s;
    struct asker asker;
    char host[32];

    setting_open(&s, false);
    for (int i = 0; i < 2000; i++) {
        snprintf(host, sizeof(host), "a%d.example", i);
        assert_int_equal(ask(&s, &asker, host), 0);
        assert_int_equal(ask(&s, &asker, "a0.example"), 0); /* in use: stays */
    }
    assert_int_equal(s.slow.n_lookups, 2000);
    assert_int_equal(ask(&s, &asker, "a1.example"), 0); /* was pushed out */
    assert_int_equal(s.slow.n_lookups, 2001);
    setting_close(&s);
}

static void test_system_knows_localhost(void **state)
{
    struct th_network *system = th_network_system();
    struct th_addresses addresses = {0};

    assert_int_equal(system->lookup(system, "localhost", 8080, &addresses), 0);
    assert_true(addresses.count > 0);
    assert_true(th_address_is_loopback(&addresses.items[0]));
    assert_int_equal(th_address_port(&addresses.items[0]), 8080);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_job_for_equal_questions),
        cmocka_unit_test(test_queue_is_bounded),
        cmocka_unit_test(test_end_with_a_lookup_under_way),
        cmocka_unit_test(test_lifetimes),
        cmocka_unit_test(test_cache_is_bounded),
        cmocka_unit_test(test_system_knows_localhost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
