#include "test_support.h"

#include <stdio.h>
#include <stdlib.h>

#include "test_server.h"
#include "tokenhop/net/fetch.h"
#include "tokenhop/net/init.h"

/* Names that resolve to where no test may connect, and to loopback. */
static int lookup_scripted(struct th_network *network, const char *host, uint16_t port,
                           struct th_addresses *ret_addresses)
{
    if (strcmp(host, "far.example") == 0)
        ret_addresses->count =
            (size_t)!th_address_parse(TH_STR("192.0.2.1"), port, &ret_addresses->items[0]);
    else if (strcmp(host, "near.example") == 0)
        ret_addresses->count =
            (size_t)!th_address_parse(TH_STR("127.0.0.1"), port, &ret_addresses->items[0]);
    return ret_addresses->count > 0 ? 0 : TH_E_ORIGIN_NAME;
}

struct setting {
    struct server server;
    struct th_network network;
    struct bench bench;
    struct th_fetcher *fetcher;
    struct th_fetch_request request;
    char url[256];
};

struct answer {
    int called;
    int error;
    int status;
    char detail[256];
    char content_type[64];
    char dpop_nonce[64];
    char www_authenticate[64];
    int64_t retry_after_ms;
    int64_t rate_limit_reset_ms;
    char body[4096];
    size_t len;
};

static void copy(char *to, size_t size, struct th_str from)
{
    assert_true(from.len < size);
    if (from.len > 0)
        memcpy(to, from.ptr, from.len);
    to[from.len] = '\0';
}

static void on_fetched(void *arg, int error, const struct th_fetch_response *response,
                       const char *detail)
{
    struct answer *answer = arg;

    answer->called++;
    answer->error = error;
    snprintf(answer->detail, sizeof(answer->detail), "%s", detail);
    assert_int_equal(response != NULL, error == 0);
    if (response == NULL)
        return;
    answer->status = response->status;
    answer->retry_after_ms = response->retry_after_ms;
    answer->rate_limit_reset_ms = response->rate_limit_reset_ms;
    copy(answer->content_type, sizeof(answer->content_type), response->content_type);
    copy(answer->dpop_nonce, sizeof(answer->dpop_nonce), response->dpop_nonce);
    copy(answer->www_authenticate, sizeof(answer->www_authenticate), response->www_authenticate);
    copy(answer->body, sizeof(answer->body), response->body);
    answer->len = response->body.len;
}

static int setting_open(void **state)
{
    struct setting *s = calloc(1, sizeof(*s));
    struct th_worker_options options = {.network = &s->network};

    server_start(&s->server, NULL);
    s->network = *th_network_system();
    s->network.lookup = lookup_scripted;
    s->network.lookup_never_blocks = true;
    assert_int_equal(th_worker_new(&options, &s->bench.worker), 0);
    assert_int_equal(th_fetcher_new_curl(s->bench.worker, &s->fetcher), 0);
    s->request.timeout_ms = 5000;
    *state = s;
    return 0;
}

static int setting_close(void **state)
{
    struct setting *s = *state;

    s->fetcher->free(s->fetcher);
    assert_int_equal(s->bench.worker->wheel.n_timers, 0);
    bench_close(&s->bench);
    server_stop(&s->server);
    free(s);
    return 0;
}

static int begin(struct setting *s, const char *host, const char *path, struct answer *answer,
                 struct th_fetch **ret_fetch)
{
    snprintf(s->url, sizeof(s->url), "http://%s:%u%s", host, s->server.port, path);
    s->request.url = th_str_of(s->url);
    memset(answer, 0, sizeof(*answer));
    s->bench.worker->now_ms = th_clock_monotonic_ms(s->bench.worker->clock);
    int r = s->fetcher->start(s->fetcher, &s->request, on_fetched, answer, ret_fetch);
    assert_int_equal(answer->called, 0); /* never inside */
    return r;
}

static void fetch(struct setting *s, const char *path, struct answer *answer)
{
    struct th_fetch *fetch;

    assert_int_equal(begin(s, "127.0.0.1", path, answer, &fetch), 0);
    wait_for(&s->bench, &answer->called);
    assert_int_equal(answer->called, 1);
}

static void test_gets(void **state)
{
    struct setting *s = *state;
    struct answer answer;

    fetch(s, "/ok", &answer);
    assert_int_equal(answer.error, 0);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.content_type, "application/json");
    assert_string_equal(answer.body, "{\"a\": 1}");
    assert_int_equal(answer.retry_after_ms, -1);
    assert_int_equal(answer.rate_limit_reset_ms, -1);
    fetch(s, "/chunked", &answer);
    assert_string_equal(answer.body, "short");
    fetch(s, "/missing", &answer);
    assert_int_equal(answer.error, 0);
    assert_int_equal(answer.status, 404);
    fetch(s, "/until-close", &answer);
    assert_string_equal(answer.body, "all of it");
    assert_int_equal(s->server.n_connections, 1); /* kept for all of them */
}

static void test_says_what_it_must_and_no_more(void **state)
{
    struct setting *s = *state;
    struct answer answer;
    char expected[1024];

    s->request.body = TH_STR("scope=a+b");
    s->request.content_type = TH_STR("application/x-www-form-urlencoded");
    s->request.authorization = TH_STR("Basic c2VjcmV0");
    s->request.dpop = TH_STR("proof");
    fetch(s, "/echo", &answer);
    snprintf(expected, sizeof(expected),
             "POST /echo HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUser-Agent: tokenhop/" TH_VERSION "\r\n"
             "Accept-Encoding: identity\r\nAccept: application/json\r\n"
             "Content-Type: application/x-www-form-urlencoded\r\n"
             "Authorization: Basic c2VjcmV0\r\nDPoP: proof\r\nContent-Length: 9\r\n\r\nscope=a+b",
             s->server.port);
    assert_string_equal(answer.body, expected);
    /* and the next on the same handle says nothing of it */
    s->request = (struct th_fetch_request){.timeout_ms = 5000};
    fetch(s, "/echo", &answer);
    snprintf(expected, sizeof(expected),
             "GET /echo HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUser-Agent: tokenhop/" TH_VERSION "\r\n"
             "Accept-Encoding: identity\r\nAccept: application/json\r\n\r\n",
             s->server.port);
    assert_string_equal(answer.body, expected);
    assert_int_equal(s->server.n_connections, 1);
}

static void test_large_body_waits_for_nothing(void **state)
{
    struct setting *s = *state;
    struct answer answer;
    static char body[3000];

    memset(body, 'b', sizeof(body));
    s->request.body = (struct th_str){body, sizeof(body)};
    fetch(s, "/echo", &answer);
    assert_null(strstr(answer.body, "Expect"));
    assert_non_null(strstr(answer.body, "\r\n\r\nbbbb"));
}

static void test_redirect_is_not_followed(void **state)
{
    struct setting *s = *state;
    struct answer answer;

    fetch(s, "/redirect", &answer);
    assert_int_equal(answer.error, 0);
    assert_int_equal(answer.status, 302);
    assert_int_equal(s->server.n_requests, 1);
}

static void test_failures(void **state)
{
    static const struct {
        const char *path;
        int error;
    } rows[] = {
        {"/big", TH_E_EXCHANGE_FAILED},      {"/big-length", TH_E_EXCHANGE_FAILED},
        {"/big-head", TH_E_EXCHANGE_FAILED}, {"/reset", TH_E_EXCHANGE_DOWN},
        {"/cut", TH_E_EXCHANGE_DOWN},        {"/chunk-cut", TH_E_EXCHANGE_DOWN},
        {"/nothing", TH_E_EXCHANGE_DOWN},    {"/garbage", TH_E_EXCHANGE_FAILED},
    };
    struct setting *s = *state;
    struct answer answer;

    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        fetch(s, rows[i].path, &answer);
        if (answer.error != rows[i].error)
            fail_msg("%s: %d (%s)", rows[i].path, answer.error, answer.detail);
        assert_string_not_equal(answer.detail, "");
    }
    fetch(s, "/ok", &answer); /* none of them leaves anything behind */
    assert_int_equal(answer.error, 0);
}

static void test_limit_is_exact(void **state)
{
    struct setting *s = *state;
    struct answer answer;

    s->request.max_bytes = 8;
    fetch(s, "/ok", &answer);
    assert_int_equal(answer.error, 0);
    s->request.max_bytes = 7;
    fetch(s, "/ok", &answer);
    assert_int_equal(answer.error, TH_E_EXCHANGE_FAILED);
    s->request.max_bytes = 4;
    fetch(s, "/chunked", &answer);
    assert_int_equal(answer.error, TH_E_EXCHANGE_FAILED);
}

static void test_slow_one_is_given_up(void **state)
{
    struct setting *s = *state;
    struct answer answer;

    s->request.timeout_ms = 100;
    fetch(s, "/silent", &answer);
    assert_int_equal(answer.error, TH_E_EXCHANGE_TIMEOUT);
    s->request.timeout_ms = 5000;
    fetch(s, "/ok", &answer);
    assert_int_equal(answer.error, 0);
}

static void test_nobody_listens(void **state)
{
    struct setting *s = *state;
    struct answer answer;
    struct th_fetch *fetch_;
    uint16_t port = s->server.port;

    s->server.port = 1;
    assert_int_equal(begin(s, "127.0.0.1", "/ok", &answer, &fetch_), 0);
    wait_for(&s->bench, &answer.called);
    assert_int_equal(answer.error, TH_E_EXCHANGE_DOWN);
    s->server.port = port;
}

static void test_encoded_body_is_not_decoded(void **state)
{
    struct setting *s = *state;
    struct answer answer;

    fetch(s, "/gzip", &answer);
    assert_int_equal(answer.error, 0);
    assert_int_equal(answer.len, 4);
    assert_memory_equal(answer.body, "\x1f\x8b\x08\x01", 4);
}

static void test_environment_names_no_proxy(void **state)
{
    struct setting *s = *state;
    struct answer answer;

    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("all_proxy", "http://127.0.0.1:1", 1);
    fetch(s, "/ok", &answer);
    unsetenv("http_proxy");
    unsetenv("all_proxy");
    assert_int_equal(answer.error, 0);
}

static void test_names(void **state)
{
    struct setting *s = *state;
    struct answer answer;
    struct th_fetch *fetch_;

    assert_int_equal(begin(s, "near.example", "/echo", &answer, &fetch_), 0);
    wait_for(&s->bench, &answer.called);
    assert_int_equal(answer.error, 0);
    assert_non_null(strstr(answer.body, "Host: near.example:"));
    assert_int_equal(begin(s, "no.example", "/ok", &answer, &fetch_), 0);
    wait_for(&s->bench, &answer.called);
    assert_int_equal(answer.error, TH_E_EXCHANGE_DOWN);
}

static void test_cleartext_stays_on_loopback(void **state)
{
    static const char *const hosts[] = {"far.example", "192.0.2.1"};
    struct setting *s = *state;
    struct answer answer;
    struct th_fetch *fetch_;

    for (size_t i = 0; i < TH_COUNT_OF(hosts); i++) {
        assert_int_equal(begin(s, hosts[i], "/ok", &answer, &fetch_), 0);
        wait_for(&s->bench, &answer.called);
        assert_int_equal(answer.error, TH_E_CLEARTEXT_DENIED);
    }
    s->request.allow_cleartext = true;
    s->request.timeout_ms = 50;
    assert_int_equal(begin(s, "192.0.2.1", "/ok", &answer, &fetch_), 0);
    wait_for(&s->bench, &answer.called);
    assert_int_not_equal(answer.error, TH_E_CLEARTEXT_DENIED); /* it was tried */
    assert_int_not_equal(answer.error, 0);
}

static void test_what_is_no_request_is_refused(void **state)
{
    static const char *const urls[] = {
        "",        "ftp://127.0.0.1/", "file:///etc/passwd",      "http://user:pw@127.0.0.1/",
        "http://", "127.0.0.1/ok",     "http://127.0.0.1:99999/", "http://a b/"};
    struct setting *s = *state;
    struct answer answer = {0};
    struct th_fetch *fetch_;

    for (size_t i = 0; i < TH_COUNT_OF(urls); i++) {
        s->request.url = th_str_of(urls[i]);
        assert_int_equal(s->fetcher->start(s->fetcher, &s->request, on_fetched, &answer, &fetch_),
                         TH_E_BAD_TARGET);
    }
    s->request.authorization = TH_STR("Bearer a\r\nX-Evil: 1");
    assert_int_equal(begin(s, "127.0.0.1", "/ok", &answer, &fetch_), TH_E_BAD_REQUEST);
    assert_int_equal(answer.called, 0);
    assert_int_equal(s->server.n_connections, 0);
}

static void test_head_fields(void **state)
{
    struct setting *s = *state;
    struct answer answer;

    fetch(s, "/limited", &answer);
    assert_int_equal(answer.status, 429);
    assert_int_equal(answer.retry_after_ms, 7000);
    assert_int_equal(answer.rate_limit_reset_ms, 10000);
    assert_string_equal(answer.dpop_nonce, "n1");
    fetch(s, "/limited-date", &answer);
    assert_int_equal(answer.retry_after_ms, 60000);
    assert_int_equal(answer.rate_limit_reset_ms, 0); /* is over */
    fetch(s, "/limited-nonsense", &answer);
    assert_int_equal(answer.retry_after_ms, INT64_C(31536000000));
    assert_int_equal(answer.rate_limit_reset_ms, -1);
    fetch(s, "/interim", &answer);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.dpop_nonce, ""); /* that was the interim answer's */
    assert_int_equal(answer.retry_after_ms, -1);
    assert_string_equal(answer.www_authenticate, "DPoP error=\"use_dpop_nonce\"");
}

/* A kept connection that is closed under a request: a GET goes again, an assertion does not. */
static void test_post_is_never_sent_twice(void **state)
{
    struct setting *s = *state;
    struct answer answer;

    fetch(s, "/once", &answer);
    assert_string_equal(answer.body, "once");
    fetch(s, "/once", &answer);
    assert_string_equal(answer.body, "once");
    assert_int_equal(s->server.n_connections, 2);
    assert_int_equal(s->server.n_requests, 3);
    s->request.body = TH_STR("client_assertion=x");
    fetch(s, "/once", &answer);
    assert_int_equal(answer.error, TH_E_EXCHANGE_DOWN);
    assert_int_equal(s->server.n_requests, 4);
}

static void test_many_at_once(void **state)
{
    enum { N = 40 };
    static struct answer answers[N];
    struct setting *s = *state;
    struct th_fetch *fetches[N];

    for (int i = 0; i < N; i++)
        assert_int_equal(
            begin(s, i % 2 ? "127.0.0.1" : "near.example", "/ok", &answers[i], &fetches[i]), 0);
    for (int i = 0; i < N; i += 4)
        s->fetcher->cancel(s->fetcher, fetches[i]);
    for (int i = 0; i < N; i++) {
        if (i % 4 == 0)
            continue;
        wait_for(&s->bench, &answers[i].called);
        assert_int_equal(answers[i].error, 0);
    }
    settle(&s->bench);
    for (int i = 0; i < N; i += 4)
        assert_int_equal(answers[i].called, 0);
}

struct chain {
    struct setting *s;
    struct th_fetch *other;
    int called;
    struct answer next;
};

static void on_chained(void *arg, int error, const struct th_fetch_response *response,
                       const char *detail)
{
    struct chain *chain = arg;
    struct th_fetch *fetch_;

    chain->called++;
    chain->s->fetcher->cancel(chain->s->fetcher, chain->other);
    assert_int_equal(begin(chain->s, "127.0.0.1", "/ok", &chain->next, &fetch_), 0);
}

static void test_start_and_cancel_inside_the_callback(void **state)
{
    struct setting *s = *state;
    struct chain chain = {.s = s};
    struct answer other;
    struct th_fetch *fetch_;

    assert_int_equal(begin(s, "127.0.0.1", "/silent", &other, &chain.other), 0);
    snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%u/ok", s->server.port);
    s->request.url = th_str_of(s->url);
    assert_int_equal(s->fetcher->start(s->fetcher, &s->request, on_chained, &chain, &fetch_), 0);
    wait_for(&s->bench, &chain.next.called);
    assert_int_equal(chain.next.error, 0);
    assert_int_equal(chain.called, 1);
    assert_int_equal(other.called, 0);
}

static void test_free_with_fetches_under_way(void **state)
{
    struct setting *s = *state;
    static struct answer answers[3];
    struct th_fetch *fetch_;

    for (int i = 0; i < 3; i++)
        assert_int_equal(begin(s, "127.0.0.1", "/silent", &answers[i], &fetch_), 0);
    settle(&s->bench);
    s->fetcher->free(s->fetcher);
    settle(&s->bench);
    for (int i = 0; i < 3; i++)
        assert_int_equal(answers[i].called, 0);
    assert_int_equal(th_fetcher_new_curl(s->bench.worker, &s->fetcher), 0);
}

#ifdef TH_FAIL_ALLOC
/* Each of our allocations for a fetch fails once: an error, told once, and nothing left behind. */
static void test_without_memory(void **state)
{
    struct setting *s = *state;
    struct answer answer;
    struct th_fetch *fetch_;
    bool went_through = false;

    s->request.body = TH_STR("a=b");
    s->request.content_type = TH_STR("application/x-www-form-urlencoded");
    for (unsigned long n = 1; !went_through; n++) {
        assert_true(n < 2000);
        th_mem_fail_after(n, 1);
        int r = begin(s, "near.example", "/ok", &answer, &fetch_);
        for (int i = 0; r == 0 && i < 5000 && !answer.called; i++)
            if (!th_worker_turn(s->bench.worker))
                poll(NULL, 0, 1);
        went_through = th_mem_count() < n;
        th_mem_fail_after(0, 0);
        if (r != 0)
            continue;
        assert_int_equal(answer.called, 1);
        if (went_through)
            assert_int_equal(answer.error, 0);
    }
    fetch(s, "/ok", &answer);
    assert_int_equal(answer.error, 0);
}
#endif

struct measurement {
    struct setting *s;
    int left;
};

static void on_measured(void *arg, int error, const struct th_fetch_response *response,
                        const char *detail)
{
    struct measurement *m = arg;
    struct th_fetch *fetch_;

    assert_int_equal(error, 0);
    if (--m->left == 0)
        th_worker_stop(m->s->bench.worker);
    else
        assert_int_equal(
            m->s->fetcher->start(m->s->fetcher, &m->s->request, on_measured, m, &fetch_), 0);
}

/* Not a test: TH_MEASURE=1 prints what a fetch costs the worker's thread. */
static void measure(void **state)
{
    static const char *const hosts[] = {"127.0.0.1", "near.example"};
    enum { N = 20000 };
    struct setting *s = *state;
    static char body[2048];
    struct timespec from, to;

    if (getenv("TH_MEASURE") == NULL)
        return;
    memset(body, 'b', sizeof(body));
    s->request.body = (struct th_str){body, sizeof(body)};
    s->request.content_type = TH_STR("application/x-www-form-urlencoded");
    for (size_t i = 0; i < TH_COUNT_OF(hosts); i++) {
        struct measurement m = {s, N};
        struct th_fetch *fetch_;
        snprintf(s->url, sizeof(s->url), "http://%s:%u/answer", hosts[i], s->server.port);
        s->request.url = th_str_of(s->url);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
        assert_int_equal(s->fetcher->start(s->fetcher, &s->request, on_measured, &m, &fetch_), 0);
        th_worker_run(s->bench.worker);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
        printf("%s: %.1f us a fetch\n", hosts[i],
               ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) /
                   1e3 / N);
    }
}

#define T(test) cmocka_unit_test_setup_teardown(test, setting_open, setting_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_gets),
        T(test_says_what_it_must_and_no_more),
        T(test_large_body_waits_for_nothing),
        T(test_redirect_is_not_followed),
        T(test_failures),
        T(test_limit_is_exact),
        T(test_slow_one_is_given_up),
        T(test_nobody_listens),
        T(test_encoded_body_is_not_decoded),
        T(test_environment_names_no_proxy),
        T(test_names),
        T(test_cleartext_stays_on_loopback),
        T(test_what_is_no_request_is_refused),
        T(test_head_fields),
        T(test_post_is_never_sent_twice),
        T(test_many_at_once),
        T(test_start_and_cancel_inside_the_callback),
        T(test_free_with_fetches_under_way),
#ifdef TH_FAIL_ALLOC
        T(test_without_memory),
#endif
        T(measure),
    };
    int failed;

    if (th_net_global_init() != 0)
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    th_net_global_fini();
    return failed;
}
