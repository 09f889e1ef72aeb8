#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokenhop/observe/audit.h"
#include "tokenhop/observe/metrics.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"

static void sums_the_shards(void **state)
{
    (void)state;
    struct th_metrics *metrics = th_metrics_new(2);
    assert_non_null(metrics);
    struct th_metrics_shard *first = th_metrics_shard(metrics, 0);
    struct th_metrics_shard *second = th_metrics_shard(metrics, 1);
    struct th_metrics_shard *shared = th_metrics_shard(metrics, TH_METRICS_SHARED);
    assert_ptr_not_equal(first, second);
    assert_false(second->is_shared);
    assert_true(shared->is_shared);
    th_metrics_count(first, TH_METRIC_REQUESTS);
    th_metrics_add(second, TH_METRIC_REQUESTS, 10);
    th_metrics_add(shared, TH_METRIC_REQUESTS, 100);
    assert_int_equal(th_metrics_sum(metrics, TH_METRIC_REQUESTS), 111);
    /* What one thread opened another may close. */
    th_metrics_add(first, TH_METRIC_HOPS_OPEN, 1);
    th_metrics_add(second, TH_METRIC_HOPS_OPEN, -1);
    assert_int_equal(th_metrics_sum(metrics, TH_METRIC_HOPS_OPEN), 0);
    assert_int_equal(th_metrics_sum(metrics, TH_METRIC_CACHE_HITS), 0);
    th_metrics_count(NULL, TH_METRIC_REQUESTS);
    th_metrics_count_error(NULL, TH_E_NOMEM);
    th_metrics_count_status(NULL, 200);
    th_metrics_observe_us(NULL, TH_HISTOGRAM_HOP, 1);
    assert_int_equal(th_metrics_sum(metrics, TH_METRIC_REQUESTS), 111);
    assert_null(th_metrics_free(metrics));
    assert_null(th_metrics_free(NULL));
}

static void errors_and_classes(void **state)
{
    (void)state;
    struct th_metrics *metrics = th_metrics_new(1);
    struct th_metrics_shard *shard = th_metrics_shard(metrics, 0);
    th_metrics_count_error(shard, TH_E_SUBJECT_EXPIRED);
    th_metrics_count_error(shard, 12345); /* no error: INTERNAL */
    th_metrics_count_error(shard, -100000);
    assert_int_equal(th_metrics_sum_errors(metrics, TH_E_SUBJECT_EXPIRED), 1);
    assert_int_equal(th_metrics_sum_errors(metrics, TH_E_INTERNAL), 2);
    assert_int_equal(th_metrics_sum_errors(metrics, TH_E_NOMEM), 0);
    static const struct {
        unsigned status;
        enum th_metric metric;
    } rows[] = {
        {100, TH_METRIC_RESPONSES_1XX}, {101, TH_METRIC_RESPONSES_1XX},
        {200, TH_METRIC_RESPONSES_2XX}, {299, TH_METRIC_RESPONSES_2XX},
        {304, TH_METRIC_RESPONSES_3XX}, {499, TH_METRIC_RESPONSES_4XX},
        {500, TH_METRIC_RESPONSES_5XX}, {599, TH_METRIC_RESPONSES_5XX},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t before = th_metrics_sum(metrics, rows[i].metric);
        th_metrics_count_status(shard, rows[i].status);
        assert_int_equal(th_metrics_sum(metrics, rows[i].metric), before + 1);
    }
    th_metrics_count_status(shard, 0);
    th_metrics_count_status(shard, 99);
    th_metrics_count_status(shard, 600);
    int64_t sum = 0;
    for (enum th_metric i = 0; i < TH_METRIC_COUNT; i++)
        sum += th_metrics_sum(metrics, i);
    assert_int_equal(sum, sizeof rows / sizeof rows[0]);
    th_metrics_free(metrics);
}

static void rules_have_rows(void **state)
{
    (void)state;
    struct th_metrics *metrics = th_metrics_new(2);
    struct th_buf buf;
    char name[32];

    assert_non_null(metrics);
    /* before there are any, there is nowhere to count, and nothing to write but what it is */
    th_metrics_count_policy(th_metrics_shard(metrics, 0), 0, TH_METRIC_POLICY_DENIED);
    th_buf_init(&buf, 1 << 20);
    th_metrics_write_prometheus(metrics, &buf);
    assert_non_null(strstr(buf.ptr, "# TYPE tokenhop_policy_decisions_total counter\n"));
    assert_null(strstr(buf.ptr, "tokenhop_policy_decisions_total{"));
    unsigned a = th_metrics_rule(metrics, TH_STR("a"));
    assert_int_not_equal(th_metrics_rule(metrics, TH_STR("b")), a);
    assert_int_equal(th_metrics_rule(metrics, TH_STR("a")), a);
    th_metrics_count_policy(th_metrics_shard(metrics, 0), a, TH_METRIC_POLICY_DENIED);
    th_metrics_count_policy(th_metrics_shard(metrics, 1), a, TH_METRIC_POLICY_DENIED);
    th_metrics_count_policy(th_metrics_shard(metrics, TH_METRICS_SHARED), a,
                            TH_METRIC_POLICY_ALLOWED);
    th_metrics_count_policy(NULL, a, TH_METRIC_POLICY_ALLOWED);
    /* names without bound share the last row */
    for (unsigned i = 0; i < 2 * TH_METRICS_RULES; i++) {
        (void)snprintf(name, sizeof name, "rule-%u", i);
        unsigned row = th_metrics_rule(metrics, th_str_of(name));
        assert_true(row < TH_METRICS_RULES);
        th_metrics_count_policy(th_metrics_shard(metrics, 0), row, TH_METRIC_POLICY_WOULD_DENY);
    }
    th_buf_clear(&buf);
    th_metrics_write_prometheus(metrics, &buf);
    static const char *const wanted[] = {
        "tokenhop_policy_decisions_total{rule=\"a\",result=\"denied\"} 2\n",
        "tokenhop_policy_decisions_total{rule=\"a\",result=\"allowed\"} 1\n",
        "tokenhop_policy_decisions_total{rule=\"b\",result=\"denied\"} 0\n",
        "tokenhop_policy_decisions_total{rule=\"rule-0\",result=\"would_deny\"} 1\n",
        "tokenhop_policy_decisions_total{rule=\"(others)\",result=\"would_deny\"} 515\n",
    };
    for (size_t i = 0; i < TH_COUNT_OF(wanted); i++)
        assert_non_null(strstr(buf.ptr, wanted[i]));
    th_buf_clear(&buf);
    th_metrics_write_otlp(metrics, 0, &buf);
    assert_non_null(strstr(buf.ptr, "\"stringValue\":\"would_deny\""));
    th_buf_fini(&buf);
    th_metrics_free(metrics);
}

static void connections_in_shadow(void **state)
{
    (void)state;
    struct th_metrics *metrics = th_metrics_new(2);
    struct th_buf buf;
    char name[32];

    assert_non_null(metrics);
    unsigned a = th_metrics_connection(metrics, TH_STR("a"));
    unsigned b = th_metrics_connection(metrics, TH_STR("b"));
    /* before there are any, there is nowhere to count, and nothing to write but what it is */
    th_metrics_count_shadow(th_metrics_shard(metrics, 0), a, TH_AUDIT_WOULD_DENY);
    th_buf_init(&buf, 1 << 20);
    th_metrics_write_prometheus(metrics, &buf);
    assert_non_null(strstr(buf.ptr, "# TYPE tokenhop_shadow_requests_total counter\n"));
    assert_null(strstr(buf.ptr, "tokenhop_shadow_requests_total{"));
    th_metrics_shadow(metrics, b);
    th_metrics_shadow(metrics, b);
    th_metrics_count_shadow(th_metrics_shard(metrics, 0), b, TH_AUDIT_WOULD_DENY);
    th_metrics_count_shadow(th_metrics_shard(metrics, 1), b, TH_AUDIT_WOULD_DENY);
    th_metrics_count_shadow(th_metrics_shard(metrics, TH_METRICS_SHARED), b, TH_AUDIT_WOULD_WIDEN);
    th_metrics_count_shadow(NULL, b, TH_AUDIT_WOULD_WIDEN);
    /* names without bound share the last row */
    for (unsigned i = 0; i < 2 * TH_METRICS_CONNECTIONS; i++) {
        (void)snprintf(name, sizeof name, "c-%u", i);
        unsigned row = th_metrics_connection(metrics, th_str_of(name));
        if (row == TH_METRICS_CONNECTIONS - 1) {
            th_metrics_shadow(metrics, row);
            th_metrics_count_shadow(th_metrics_shard(metrics, 0), row, TH_AUDIT_WOULD_GRANT);
        }
    }
    th_buf_clear(&buf);
    th_metrics_write_prometheus(metrics, &buf);
    static const char *const wanted[] = {
        "tokenhop_shadow_requests_total{connection=\"b\",result=\"would_deny\"} 2\n",
        "tokenhop_shadow_requests_total{connection=\"b\",result=\"would_widen\"} 1\n",
        "tokenhop_shadow_requests_total{connection=\"b\",result=\"would_refuse\"} 0\n",
        "tokenhop_shadow_requests_total{connection=\"(others)\",result=\"would_grant\"} 1027\n",
    };
    for (size_t i = 0; i < TH_COUNT_OF(wanted); i++)
        assert_non_null(strstr(buf.ptr, wanted[i]));
    assert_null(strstr(buf.ptr, "tokenhop_shadow_requests_total{connection=\"a\""));
    th_buf_clear(&buf);
    th_metrics_write_otlp(metrics, 0, &buf);
    assert_non_null(strstr(buf.ptr, "\"stringValue\":\"would_widen\""));
    th_buf_fini(&buf);
    th_metrics_free(metrics);
}

static void connections_have_rows(void **state)
{
    (void)state;
    struct th_metrics *metrics = th_metrics_new(2);
    struct th_metrics_shard *first = th_metrics_shard(metrics, 0);
    struct th_metrics_shard *second = th_metrics_shard(metrics, 1);
    struct th_metrics_connection_figures figures;
    unsigned a = th_metrics_connection(metrics, TH_STR("a"));
    unsigned b = th_metrics_connection(metrics, TH_STR("b"));
    assert_int_not_equal(a, b);
    assert_int_equal(th_metrics_connection(metrics, TH_STR("a")), a);
    th_metrics_count_request(first, a, 200, true, 0, 0);
    th_metrics_count_request(second, a, 204, false, 0, 0);
    th_metrics_count_request(second, a, 502, false, TH_E_EXCHANGE_FAILED, 5999);
    th_metrics_count_request(first, a, 0, true, TH_E_CANCELLED, 7000);
    th_metrics_count_request(first, a, 999, false, 0, 0); /* no status of HTTP */
    th_metrics_count_request(NULL, a, 200, true, 0, 0);
    th_metrics_sum_connection(metrics, TH_STR("a"), &figures);
    assert_int_equal(figures.requests, 5);
    assert_int_equal(figures.hits, 2);
    assert_int_equal(figures.classes[0], 2);
    assert_int_equal(figures.classes[2], 2);
    assert_int_equal(figures.classes[5], 1);
    assert_int_equal(figures.last_error, TH_E_CANCELLED);
    assert_int_equal(figures.last_error_wall_ms, 7000);
    th_metrics_sum_connection(metrics, TH_STR("b"), &figures);
    assert_int_equal(figures.requests, 0);
    assert_int_equal(figures.last_error, 0);
    th_metrics_sum_connection(metrics, TH_STR("unknown"), &figures);
    assert_int_equal(figures.requests, 0);

    struct th_buf buf;
    th_buf_init(&buf, 1 << 20);
    th_metrics_write_prometheus(metrics, &buf);
    assert_false(buf.failed);
    assert_non_null(strstr(buf.ptr, "tokenhop_connection_requests_total{connection=\"a\","
                                    "class=\"2xx\"} 2\n"));
    assert_non_null(strstr(buf.ptr, "tokenhop_connection_cache_hits_total{connection=\"a\"} 2\n"));
    assert_null(strstr(buf.ptr, "(others)"));
    th_buf_fini(&buf);
    th_metrics_free(metrics);
}

/* Names are without bound over the reloads of a long life; rows are not. */
static void what_has_no_room_is_counted_together(void **state)
{
    (void)state;
    struct th_metrics *metrics = th_metrics_new(1);
    struct th_metrics_shard *shard = th_metrics_shard(metrics, 0);
    struct th_buf buf;
    char name[32];
    unsigned last = 0;
    for (unsigned i = 0; i < TH_METRICS_CONNECTIONS + 20; i++) {
        snprintf(name, sizeof name, "connection-%u", i);
        unsigned row = th_metrics_connection(metrics, th_str_of(name));
        assert_int_equal(row, i < TH_METRICS_CONNECTIONS - 1 ? i : TH_METRICS_CONNECTIONS - 1);
        th_metrics_count_request(shard, row, 200, false, 0, 0);
        last = row;
    }
    assert_int_equal(last, TH_METRICS_CONNECTIONS - 1);
    assert_int_equal(th_metrics_connection(metrics, TH_STR("connection-7")), 7);
    th_buf_init(&buf, 1 << 20);
    th_metrics_write_prometheus(metrics, &buf);
    assert_non_null(strstr(buf.ptr, "{connection=\"(others)\",class=\"2xx\"} 21\n"));
    th_buf_fini(&buf);
    th_metrics_free(metrics);
}

enum { N_THREADS = 4, N_EACH = 50000 };

static void *count_shared(void *shard)
{
    for (int i = 0; i < N_EACH; i++) {
        th_metrics_count(shard, TH_METRIC_NAMES_RESOLVED);
        th_metrics_count_error(shard, TH_E_ORIGIN_NAME);
        th_metrics_observe_us(shard, TH_HISTOGRAM_LEG, 1);
    }
    return NULL;
}

/* The shared shard loses nothing, and readers are welcome at any time. */
static void from_many_threads(void **state)
{
    (void)state;
    struct th_metrics *metrics = th_metrics_new(1);
    pthread_t threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, count_shared, th_metrics_shard(metrics, 1)), 0);
    struct th_metrics_shard *own = th_metrics_shard(metrics, 0);
    int64_t seen = 0;
    for (int i = 0; i < 1000; i++) {
        th_metrics_count(own, TH_METRIC_NAMES_RESOLVED);
        int64_t sum = th_metrics_sum(metrics, TH_METRIC_NAMES_RESOLVED);
        assert_true(sum >= seen);
        seen = sum;
    }
    for (int i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(th_metrics_sum(metrics, TH_METRIC_NAMES_RESOLVED), N_THREADS * N_EACH + 1000);
    assert_int_equal(th_metrics_sum_errors(metrics, TH_E_ORIGIN_NAME), N_THREADS * N_EACH);
    assert_int_equal(th_metrics_sum_observed(metrics, TH_HISTOGRAM_LEG), N_THREADS * N_EACH);
    th_metrics_free(metrics);
}

static bool has_line(const struct th_buf *text, const char *line)
{
    size_t len = strlen(line);
    for (const char *at = text->ptr; (at = strstr(at, line)) != NULL; at++) {
        if ((at == text->ptr || at[-1] == '\n') && at[len] == '\n')
            return true;
    }
    return false;
}

static void as_prometheus_reads_it(void **state)
{
    (void)state;
    struct th_metrics *metrics = th_metrics_new(2);
    struct th_metrics_shard *shard = th_metrics_shard(metrics, 1);
    th_metrics_add(shard, TH_METRIC_CACHE_HITS, 7);
    th_metrics_add(shard, TH_METRIC_CONNECTIONS_OPEN, 3);
    th_metrics_count_error(shard, TH_E_EXCHANGE_CLIENT);
    static const int64_t observed_us[] = {0, 100, 101, 2000000, 700000000, -5};
    for (size_t i = 0; i < sizeof observed_us / sizeof observed_us[0]; i++)
        th_metrics_observe_us(shard, TH_HISTOGRAM_EXCHANGE, observed_us[i]);
    struct th_buf text;
    th_buf_init(&text, 1 << 20);
    th_metrics_write_prometheus(metrics, &text);
    assert_false(text.failed);
    static const char *const lines[] = {
        "# TYPE tokenhop_cache_lookups_total counter",
        "tokenhop_cache_lookups_total{result=\"hit\"} 7",
        "tokenhop_cache_lookups_total{result=\"miss\"} 0",
        "# TYPE tokenhop_client_connections_open gauge",
        "tokenhop_client_connections_open 3",
        "tokenhop_errors_total{code=\"exchange_failed\",error=\"EXCHANGE_CLIENT\"} 1",
        "# TYPE tokenhop_exchange_duration_seconds histogram",
        "tokenhop_exchange_duration_seconds_bucket{le=\"0.0001\"} 3",
        "tokenhop_exchange_duration_seconds_bucket{le=\"0.00025\"} 4",
        "tokenhop_exchange_duration_seconds_bucket{le=\"1\"} 4",
        "tokenhop_exchange_duration_seconds_bucket{le=\"2.5\"} 5",
        "tokenhop_exchange_duration_seconds_bucket{le=\"600\"} 5",
        "tokenhop_exchange_duration_seconds_bucket{le=\"+Inf\"} 6",
        "tokenhop_exchange_duration_seconds_sum 702.000201",
        "tokenhop_exchange_duration_seconds_count 6",
        "tokenhop_secret_bytes 0",
        "tokenhop_failed_checks_total 0",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        print_message("  %s\n", lines[i]);
        assert_true(has_line(&text, lines[i]));
    }
    assert_true(has_line(&text, "tokenhop_build_info{version=\"" TH_VERSION "\"} 1"));
    assert_null(strstr(text.ptr, "process_resident_memory_bytes 0\n"));
    th_buf_fini(&text);
    th_metrics_free(metrics);
}

/* Each sample's family was announced just before: once, with help and type. */
static void families_are_whole(void **state)
{
    (void)state;
    struct th_metrics *metrics = th_metrics_new(0);
    struct th_buf text;
    char family[128] = "", seen[8192] = "";
    th_buf_init(&text, 1 << 20);
    th_metrics_write_prometheus(metrics, &text);
    assert_false(text.failed);
    for (char *line = text.ptr, *end; *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');
        assert_non_null(end);
        *end = '\0';
        if (strncmp(line, "# HELP ", 7) == 0) {
            char mark[140];
            assert_int_equal(sscanf(line, "# HELP %100s", family), 1);
            assert_true(strlen(line) > 8 + strlen(family)); /* the one-liner */
            (void)snprintf(mark, sizeof mark, "<%s>", family);
            assert_null(strstr(seen, mark));
            strncat(seen, mark, sizeof seen - strlen(seen) - 1);
        } else if (strncmp(line, "# TYPE ", 7) == 0) {
            assert_memory_equal(line + 7, family, strlen(family));
            const char *type = line + 8 + strlen(family);
            size_t len = strlen(family);
            assert_int_equal(strcmp(type, "counter") == 0,
                             len > 6 && strcmp(family + len - 6, "_total") == 0);
        } else {
            assert_memory_equal(line, family, strlen(family));
        }
    }
    th_buf_fini(&text);
    th_metrics_free(metrics);
}

static void memory_is_short(void **state)
{
    (void)state;
#ifdef TH_FAIL_ALLOC
    for (unsigned long nth = 1; nth <= 2; nth++) {
        th_mem_fail_after(nth, 1);
        assert_null(th_metrics_new(2));
        th_mem_fail_after(0, 0);
    }
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_the_shards),
        cmocka_unit_test(connections_in_shadow),
        cmocka_unit_test(connections_have_rows),
        cmocka_unit_test(rules_have_rows),
        cmocka_unit_test(what_has_no_room_is_counted_together),
        cmocka_unit_test(errors_and_classes),
        cmocka_unit_test(from_many_threads),
        cmocka_unit_test(as_prometheus_reads_it),
        cmocka_unit_test(families_are_whole),
        cmocka_unit_test(memory_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
