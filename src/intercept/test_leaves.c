/* The authority, and the leaves that it vouches for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <openssl/x509v3.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "interceptor.h"
#include "test_config.h"
#include "tokenhop/base/check.h"
#include "tokenhop/config/authority.h"
#include "tokenhop/intercept/ca.h"
#include "tokenhop/net/helpers.h"
#include "tokenhop/net/init.h"

#define CONNECTION(name, url)                                                                      \
    "{\"name\": \"" name "\", \"url\": [" url "], \"type\": \"agent_to_agent\","                   \
    " \"agents\": [\"agent1\"], \"authorization_server\": \"custom\","                             \
    " \"resource\": \"https://r.test\", \"scopes\": [\"a\"]}"

#define HELPERS 2
#define WALL_MS INT64_C(1800000000000)

/* --- the authority --- */

struct made {
    struct th_config *config;
    struct th_buf certificate;
    struct th_secret *key;
};

static struct made make(const char *connections)
{
    struct made made = {0};
    struct th_errinfo info;
    char text[8192];

    snprintf(text, sizeof text, TEST_CONFIG("\"connections\": [%s]"), connections);
    made.config = test_config_load(text);
    th_buf_init(&made.certificate, 65536);
    assert_int_equal(th_ca_make(th_config_get(made.config), WALL_MS / 1000, 30, &made.certificate,
                                &made.key, &info),
                     0);
    return made;
}

static void unmake(struct made *made)
{
    th_secret_unref(made->key);
    th_buf_fini(&made->certificate);
    th_config_unref(made->config);
}

static struct th_config_interception config_of(const struct made *made)
{
    return (struct th_config_interception){.certificates = th_buf_str(&made->certificate),
                                           .key = made->key};
}

static bool covers(X509 *certificate, const char *host, bool wildcard)
{
    struct th_config_pattern pattern = {.host = th_str_of(host), .wildcard = wildcard};

    return th_authority_covers(certificate, &pattern);
}

/* What OpenSSL says of a leaf for that host: the constraints' own words do not judge themselves. */
static bool is_trusted(const struct made *made, const char *host)
{
    struct th_config_interception config = config_of(made);
    struct th_clock clock;
    struct th_interceptor *interceptor;
    struct th_leaf *leaf;

    th_clock_init_fake(&clock, WALL_MS);
    assert_int_equal(th_interceptor_new(&config, &clock, &interceptor), 0);
    assert_int_equal(th_leaf_make(interceptor, th_str_of(host), &leaf), 0);
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    X509_STORE_add_cert(store, sk_X509_value(interceptor->chain, 0));
    X509_VERIFY_PARAM_set_time(X509_STORE_get0_param(store), WALL_MS / 1000);
    X509_VERIFY_PARAM_set_purpose(X509_STORE_get0_param(store), X509_PURPOSE_SSL_SERVER);
    X509_VERIFY_PARAM_set_flags(X509_STORE_get0_param(store), X509_V_FLAG_X509_STRICT);
    assert_int_equal(X509_STORE_CTX_init(ctx, store, leaf->identity.certificate, NULL), 1);
    bool trusted = X509_verify_cert(ctx) == 1;
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    th_leaf_unref(leaf);
    th_interceptor_unref(interceptor);
    return trusted;
}

static void r19_authority_is_limited(void **state)
{
    static const struct {
        const char *connections;
        struct {
            const char *host;
            bool expected;
        } hosts[7];
    } rows[] = {
        {CONNECTION("n",
                    "\"https://one.test/\", \"https://*.two.test:8443/x/\", \"http://no.test/\""),
         {{"one.test", true},
          {"x.two.test", true},
          {"no.test", false},
          {"other.test", false},
          {"anyone.test", false},
          {"10.0.0.1", false},
          {"2001:db8::1", false}}},
        {CONNECTION("a", "\"https://10.0.0.1/\", \"https://[2001:db8::1]:444/\""),
         {{"10.0.0.1", true},
          {"2001:db8::1", true},
          {"10.0.0.2", false},
          {"2001:db8::2", false},
          {"one.test", false}}},
        {CONNECTION("b", "\"https://10.0.0.1/\", \"https://one.test/\""),
         {{"10.0.0.1", true}, {"one.test", true}, {"2001:db8::1", false}, {"two.test", false}}},
    };

    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct made made = make(rows[i].connections);
        STACK_OF(X509) *chain = th_authority_read(th_buf_str(&made.certificate));
        assert_int_equal(sk_X509_num(chain), 1);
        X509 *certificate = sk_X509_value(chain, 0);
        assert_true(th_authority_is_constrained(certificate));
        for (size_t k = 0; k < TH_COUNT_OF(rows[i].hosts) && rows[i].hosts[k].host != NULL; k++) {
            const char *host = rows[i].hosts[k].host;
            if (covers(certificate, host, false) != rows[i].hosts[k].expected)
                fail_msg("covers %s", host);
            if (is_trusted(&made, host) != rows[i].hosts[k].expected)
                fail_msg("OpenSSL on %s", host);
        }
        sk_X509_pop_free(chain, X509_free);
        unmake(&made);
    }
}

static void coverage_of_wildcards(void **state)
{
    struct made made = make(CONNECTION("n", "\"https://one.test/\", \"https://*.two.test/\""));
    STACK_OF(X509) *chain = th_authority_read(th_buf_str(&made.certificate));
    X509 *certificate = sk_X509_value(chain, 0);

    (void)state;
    assert_true(covers(certificate, "two.test", true));
    assert_true(covers(certificate, "deep.two.test", true));
    assert_false(covers(certificate, "test", true));
    assert_false(covers(certificate, "three.test", true));
    sk_X509_pop_free(chain, X509_free);
    unmake(&made);
}

static void nothing_to_intercept(void **state)
{
    struct th_config *config = test_config_load(
        TEST_CONFIG("\"connections\": [" CONNECTION("n", "\"http://one.test/\"") "]"));
    struct th_errinfo info;
    struct th_secret *key;
    struct th_buf buf;

    (void)state;
    th_buf_init(&buf, 65536);
    assert_int_equal(th_ca_make(th_config_get(config), 0, 1, &buf, &key, &info), TH_E_CONFIG);
    assert_non_null(strstr(info.what, "nothing to intercept"));
    th_buf_fini(&buf);
    th_config_unref(config);
}

/* What a client reads out of the bytes is the key that the leaf signs with, on a named curve. */
static void leaf_bears_its_key(void **state)
{
    struct made made = make(CONNECTION("n", "\"https://one.test/\""));
    struct th_config_interception config = config_of(&made);
    struct th_clock clock;
    struct th_interceptor *interceptor;
    struct th_leaf *leaf;
    unsigned char *der = NULL;
    char curve[32];

    (void)state;
    th_clock_init_fake(&clock, WALL_MS);
    assert_int_equal(th_interceptor_new(&config, &clock, &interceptor), 0);
    assert_int_equal(th_leaf_make(interceptor, TH_STR("one.test"), &leaf), 0);
    int len = i2d_X509(leaf->identity.certificate, &der);
    const unsigned char *at = der;
    X509 *read = d2i_X509(NULL, &at, len);
    assert_non_null(read);
    EVP_PKEY *key = X509_get0_pubkey(read);
    assert_int_equal(EVP_PKEY_eq(key, leaf->identity.key), 1);
    assert_int_equal(EVP_PKEY_get_group_name(key, curve, sizeof curve, NULL), 1);
    assert_string_equal(curve, "prime256v1");
    /* As certificates are made with it, it is no provider's: see copy_public(). */
    assert_ptr_not_equal(X509_get0_pubkey(leaf->identity.certificate), leaf->identity.key);
    X509_free(read);
    OPENSSL_free(der);
    th_leaf_unref(leaf);
    th_interceptor_unref(interceptor);
    unmake(&made);
}

/* --- leaves, on workers --- */

struct bench {
    struct made made;
    struct th_clock clock;
    struct th_interceptor *interceptor;
    struct th_helpers *helpers;
    struct th_worker *worker;
};

static void open_bench(struct bench *b, bool with_helpers)
{
    struct th_config_interception config;

    memset(b, 0, sizeof *b);
    b->made = make(CONNECTION("n", "\"https://*.one.test/\""));
    config = config_of(&b->made);
    th_clock_init_fake(&b->clock, WALL_MS);
    assert_int_equal(th_interceptor_new(&config, &b->clock, &b->interceptor), 0);
    assert_true(th_interceptor_is_of(b->interceptor, &config));
    if (with_helpers)
        assert_int_equal(th_helpers_new(HELPERS, 64, &b->helpers), 0);
    struct th_worker_options options = {
        .clock = &b->clock, .network = th_network_system(), .helpers = b->helpers};
    assert_int_equal(th_worker_new(&options, &b->worker), 0);
}

static void close_bench(struct bench *b)
{
    if (b->helpers != NULL)
        th_helpers_stop(b->helpers);
    th_worker_free(b->worker);
    th_helpers_free(b->helpers);
    th_interceptor_unref(b->interceptor);
    unmake(&b->made);
}

/* Helpers that are busy until told: what is asked for meanwhile waits, however loaded the machine is. */
struct blocker {
    struct th_job job;
    sem_t *go;
};

static void work_block(struct th_job *job)
{
    struct blocker *blocker = TH_CONTAINER_OF(job, struct blocker, job);

    while (sem_wait(blocker->go) != 0)
        continue;
}

static void done_block(struct th_job *job)
{
    free(TH_CONTAINER_OF(job, struct blocker, job));
}

static void block_helpers(struct bench *b, sem_t *go)
{
    assert_int_equal(sem_init(go, 0, 0), 0);
    for (int i = 0; i < HELPERS; i++) {
        struct blocker *blocker = calloc(1, sizeof *blocker);
        blocker->job.work = work_block;
        blocker->job.done = done_block;
        blocker->go = go;
        assert_int_equal(th_helpers_submit(b->helpers, b->worker, &blocker->job), 0);
    }
}

static void unblock_helpers(sem_t *go)
{
    for (int i = 0; i < HELPERS; i++)
        sem_post(go);
}

struct asker {
    struct th_leaf_waiter waiter;
    struct th_leaf *leaf;
    int told;
    int error;
};

static void on_leaf(struct th_leaf_waiter *waiter, int error, struct th_leaf *leaf)
{
    struct asker *asker = TH_CONTAINER_OF(waiter, struct asker, waiter);

    asker->told++;
    asker->error = error;
    asker->leaf = leaf;
}

static int ask(struct bench *b, struct asker *asker, const char *host)
{
    *asker = (struct asker){0};
    return th_leaf_get(b->interceptor, b->worker, th_str_of(host), &asker->waiter, on_leaf,
                       &asker->leaf);
}

static void turn_until(struct bench *b, const int *count, int n)
{
    for (int i = 0; i < 5000 && *count < n; i++) {
        th_worker_turn(b->worker);
        usleep(1000);
    }
    assert_int_equal(*count, n);
}

static void r19_one_flight_a_host(void **state)
{
    struct asker askers[20], late;
    struct bench b;
    sem_t go;

    (void)state;
    open_bench(&b, true);
    block_helpers(&b, &go);
    for (size_t i = 0; i < TH_COUNT_OF(askers); i++)
        assert_int_equal(ask(&b, &askers[i], "a.one.test"), TH_AGAIN);
    th_leaf_cancel(&askers[3].waiter);
    unblock_helpers(&go);
    for (size_t i = 0; i < TH_COUNT_OF(askers); i++)
        if (i != 3)
            turn_until(&b, &askers[i].told, 1);
    for (int i = 0; i < 20; i++)
        th_worker_turn(b.worker);
    assert_int_equal(askers[3].told, 0); /* nothing after the cancel */
    assert_true(th_leaf_is_new(askers[0].leaf));
    for (size_t i = 1; i < TH_COUNT_OF(askers); i++) {
        if (i != 3) {
            assert_ptr_equal(askers[i].leaf, askers[0].leaf);
            assert_false(th_leaf_is_new(askers[i].leaf));
            th_leaf_unref(askers[i].leaf);
        }
    }
    assert_int_equal(ask(&b, &late, "a.one.test"), 0);
    assert_ptr_equal(late.leaf, askers[0].leaf);
    th_leaf_unref(late.leaf);
    th_leaf_unref(askers[0].leaf);
    close_bench(&b);
    sem_destroy(&go);
}

static void leaf_is_renewed_and_ends_with_the_authority(void **state)
{
    struct asker first, second, third;
    struct bench b;

    (void)state;
    open_bench(&b, false);
    assert_int_equal(ask(&b, &first, "a.one.test"), 0);
    th_clock_turn(&b.clock, (int64_t)23 * 3600 * 1000);
    assert_int_equal(ask(&b, &second, "a.one.test"), 0);
    assert_ptr_equal(first.leaf, second.leaf);
    th_leaf_unref(second.leaf);
    th_clock_turn(&b.clock, (int64_t)2 * 3600 * 1000);
    assert_int_equal(ask(&b, &second, "a.one.test"), 0);
    assert_ptr_not_equal(first.leaf, second.leaf);
    /* never beyond the authority's own end, a month after it was made */
    th_clock_turn(&b.clock, (int64_t)28 * 24 * 3600 * 1000);
    assert_int_equal(ask(&b, &third, "a.one.test"), 0);
    const ASN1_TIME *end = X509_get0_notAfter(third.leaf->identity.certificate);
    const ASN1_TIME *last = X509_get0_notAfter(sk_X509_value(b.interceptor->chain, 0));
    assert_int_equal(ASN1_TIME_compare(end, last), 0);
    th_leaf_unref(first.leaf);
    th_leaf_unref(second.leaf);
    th_leaf_unref(third.leaf);
    th_clock_turn(&b.clock, (int64_t)2 * 24 * 3600 * 1000);
    assert_int_equal(ask(&b, &third, "b.one.test"), TH_E_CONFIG);
    close_bench(&b);
}

static void r19_leaves_are_bounded(void **state)
{
    struct asker asker;
    struct bench b;
    char host[64];

    (void)state;
    open_bench(&b, false);
    b.interceptor->leaves.max = 16;
    struct asker first;
    assert_int_equal(ask(&b, &first, "first.one.test"), 0);
    for (int i = 0; i < 100; i++) {
        snprintf(host, sizeof host, "h%d.one.test", i);
        assert_int_equal(ask(&b, &asker, host), 0);
        th_leaf_unref(asker.leaf);
        assert_true(b.interceptor->leaves.table.n_items <= 16);
        if (i < 50) { /* what is asked for stays */
            assert_int_equal(ask(&b, &asker, "first.one.test"), 0);
            assert_ptr_equal(asker.leaf, first.leaf);
            th_leaf_unref(asker.leaf);
        }
    }
    assert_int_equal(ask(&b, &asker, "first.one.test"), 0);
    assert_ptr_not_equal(asker.leaf, first.leaf);
    th_leaf_unref(asker.leaf);
    th_leaf_unref(first.leaf);
    close_bench(&b);
}

/* The process ends while leaves are being made. */
static void helpers_stop_with_jobs_waiting(void **state)
{
    struct asker askers[60];
    struct bench b;
    char host[64];

    (void)state;
    open_bench(&b, true);
    for (size_t i = 0; i < TH_COUNT_OF(askers); i++) {
        snprintf(host, sizeof host, "h%zu.one.test", i / 2);
        int error = ask(&b, &askers[i], host);
        assert_true(error == TH_AGAIN || error == 0);
        if (error == 0)
            th_leaf_unref(askers[i].leaf);
        else
            th_leaf_cancel(&askers[i].waiter);
    }
    close_bench(&b);
}

static void a_full_queue_is_told(void **state)
{
    struct asker askers[200];
    struct bench b;
    char host[64];
    int refused = 0;
    sem_t go;

    (void)state;
    open_bench(&b, true);
    block_helpers(&b, &go);
    for (size_t i = 0; i < TH_COUNT_OF(askers); i++) {
        snprintf(host, sizeof host, "h%zu.one.test", i);
        int error = ask(&b, &askers[i], host);
        refused += error == TH_E_OVERLOADED;
        if (error == 0)
            th_leaf_unref(askers[i].leaf);
    }
    unblock_helpers(&go);
    for (int n = 0; n < 10000; n++) {
        size_t open = 0;
        th_worker_turn(b.worker);
        usleep(1000);
        for (size_t i = 0; i < TH_COUNT_OF(askers); i++)
            open += askers[i].waiter.handle != 0;
        if (open == 0)
            break;
    }
    for (size_t i = 0; i < TH_COUNT_OF(askers); i++) {
        assert_int_equal(askers[i].waiter.handle, 0);
        if (askers[i].told > 0)
            th_leaf_unref(askers[i].leaf);
    }
    assert_true(refused > 0);
    close_bench(&b);
    sem_destroy(&go);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(r19_authority_is_limited),
        cmocka_unit_test(coverage_of_wildcards),
        cmocka_unit_test(nothing_to_intercept),
        cmocka_unit_test(leaf_bears_its_key),
        cmocka_unit_test(r19_one_flight_a_host),
        cmocka_unit_test(leaf_is_renewed_and_ends_with_the_authority),
        cmocka_unit_test(r19_leaves_are_bounded),
        cmocka_unit_test(helpers_stop_with_jobs_waiting),
        cmocka_unit_test(a_full_queue_is_told),
    };

    if (th_net_global_init() < 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    th_net_global_fini();
    return failed;
}
