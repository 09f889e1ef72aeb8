/* What is counted, for whom, and when it begins anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/token/quota.h"

static struct th_config_authorization_server server_of(const char *name, uint64_t limit,
                                                       uint64_t warn_at)
{
    return (struct th_config_authorization_server){
        .name = th_str_of(name), .quota = {.exchanges_per_user_month = limit, .warn_at = warn_at}};
}

struct view {
    struct th_quota_shown of[8];
    char names[8][16];
    size_t n;
};

static void on_shown(void *arg, const struct th_quota_shown *shown)
{
    struct view *view = arg;
    assert_true(view->n < TH_COUNT_OF(view->of));
    (void)snprintf(view->names[view->n], sizeof view->names[0], "%.*s", TH_STR_ARGS(shown->server));
    view->of[view->n++] = *shown;
}

static const struct th_quota_shown *look(struct th_quotas *quotas, struct view *view,
                                         const char *name)
{
    *view = (struct view){.n = 0};
    th_quotas_show(quotas, on_shown, view);
    for (size_t i = 0; i < view->n; i++)
        if (strcmp(view->names[i], name) == 0)
            return &view->of[i];
    return NULL;
}

static uint64_t count(struct th_quotas *quotas, const struct th_config_authorization_server *server,
                      const char *subject)
{
    return th_quotas_count(quotas, server, TH_STR("https://org.test"), th_str_of(subject));
}

static void each_user_is_warned_of_once(void **state)
{
    const struct th_config_authorization_server org = server_of("org", 5, 4);
    const struct th_config_authorization_server other = server_of("other", 5, 4);
    struct th_quotas *quotas;
    struct view view;
    assert_int_equal(th_quotas_new(&th_clock_system, 0, &quotas), 0);
    for (unsigned i = 1; i <= 7; i++) {
        assert_int_equal(count(quotas, &org, "alice"), i == 4 ? 4 : 0);
        if (i <= 3) {
            assert_int_equal(count(quotas, &org, "bob"), 0);
            assert_int_equal(count(quotas, &other, "alice"), 0);
        }
    }
    const struct th_quota_shown *shown = look(quotas, &view, "org");
    assert_non_null(shown);
    assert_int_equal(shown->limit, 5);
    assert_int_equal(shown->exchanges, 10);
    assert_int_equal(shown->most, 7);
    assert_int_equal(shown->warned, 1);
    shown = look(quotas, &view, "other");
    assert_int_equal(shown->exchanges, 3);
    assert_int_equal(shown->most, 3);
    assert_int_equal(shown->warned, 0);
    th_quotas_free(quotas);
}

/* No two pairs of issuer and subject are one user. */
static void users_are_told_apart(void **state)
{
    const struct th_config_authorization_server org = server_of("org", 10, 2);
    struct th_quotas *quotas;
    assert_int_equal(th_quotas_new(&th_clock_system, 0, &quotas), 0);
    static const char *const pairs[][2] = {
        {"ab", "c"}, {"a", "bc"}, {"", "abc"}, {"ab", "d"}, {"ba", "c"}};
    for (size_t i = 0; i < TH_COUNT_OF(pairs); i++)
        assert_int_equal(
            th_quotas_count(quotas, &org, th_str_of(pairs[i][0]), th_str_of(pairs[i][1])), 0);
    for (size_t i = 0; i < TH_COUNT_OF(pairs); i++)
        assert_int_equal(
            th_quotas_count(quotas, &org, th_str_of(pairs[i][0]), th_str_of(pairs[i][1])), 2);
    th_quotas_free(quotas);
}

/* Without a quota, and of a token that does not say whose it is, only the sum. */
static void the_sum_counts_them_all(void **state)
{
    const struct th_config_authorization_server free_one = server_of("free", 0, 0);
    const struct th_config_authorization_server org = server_of("org", 1, 1);
    struct th_quotas *quotas;
    struct view view;
    assert_int_equal(th_quotas_new(&th_clock_system, 0, &quotas), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(count(quotas, &free_one, "alice"), 0);
        assert_int_equal(th_quotas_count(quotas, &org, TH_STR_NONE, TH_STR_NONE), 0);
    }
    assert_int_equal(look(quotas, &view, "free")->exchanges, 3);
    assert_int_equal(look(quotas, &view, "free")->most, 0);
    assert_int_equal(look(quotas, &view, "org")->exchanges, 3);
    assert_int_equal(look(quotas, &view, "org")->most, 0);
    th_quotas_free(quotas);
}

static int64_t wall_ms(int year, int month, int day, int hour, int minute, int second)
{
    struct tm tm = {.tm_year = year - 1900,
                    .tm_mon = month - 1,
                    .tm_mday = day,
                    .tm_hour = hour,
                    .tm_min = minute,
                    .tm_sec = second};
    return (int64_t)timegm(&tm) * 1000;
}

static void it_begins_anew_with_the_month(void **state)
{
    const struct th_config_authorization_server org = server_of("org", 2, 2);
    struct th_quotas *quotas;
    struct th_clock clock;
    struct view view;
    th_clock_init_fake(&clock, wall_ms(2024, 1, 31, 23, 59, 59));
    assert_int_equal(th_quotas_new(&clock, 0, &quotas), 0);
    assert_int_equal(count(quotas, &org, "alice"), 0);
    assert_int_equal(count(quotas, &org, "alice"), 2);
    clock.fake_wall_ms += 999;
    assert_int_equal(look(quotas, &view, "org")->most, 2);
    clock.fake_wall_ms += 1; /* 1st of February: also when nobody has come since */
    assert_null(look(quotas, &view, "org"));
    assert_int_equal(count(quotas, &org, "alice"), 0);
    assert_int_equal(look(quotas, &view, "org")->exchanges, 1);
    assert_int_equal(count(quotas, &org, "alice"), 2); /* warned of again */
    clock.fake_wall_ms = wall_ms(2024, 2, 29, 23, 59, 59);
    assert_int_equal(look(quotas, &view, "org")->most, 2);
    clock.fake_wall_ms += 1000;
    assert_int_equal(count(quotas, &org, "alice"), 0);
    th_quotas_free(quotas);
}

/* Every turn of a month of eight years and a century that is no leap year, and no other day. */
static void months_are_those_of_the_calendar(void **state)
{
    const struct th_config_authorization_server org = server_of("org", 1000, 900);
    static const int years[] = {1999, 2000, 2001, 2023, 2024, 2026, 2099, 2100, 2101};
    for (size_t i = 0; i < TH_COUNT_OF(years); i++) {
        struct th_quotas *quotas;
        struct th_clock clock;
        int64_t from_ms = wall_ms(years[i], 1, 1, 12, 0, 0);
        th_clock_init_fake(&clock, from_ms);
        assert_int_equal(th_quotas_new(&clock, 0, &quotas), 0);
        uint64_t days = 0;
        for (; clock.fake_wall_ms < wall_ms(years[i] + 1, 1, 1, 0, 0, 0);
             clock.fake_wall_ms += 86400000) {
            time_t now = (time_t)(clock.fake_wall_ms / 1000);
            struct tm tm;
            struct view view;
            assert_non_null(gmtime_r(&now, &tm));
            days = tm.tm_mday == 1 ? 1 : days + 1;
            (void)count(quotas, &org, "alice");
            assert_int_equal(look(quotas, &view, "org")->most, days);
        }
        th_quotas_free(quotas);
    }
}

static void users_are_bounded_and_the_idle_one_goes(void **state)
{
    enum { MAX = 100 };
    const struct th_config_authorization_server org = server_of("org", 10, 3);
    struct th_quotas *quotas;
    char subject[32];
    assert_int_equal(th_quotas_new(&th_clock_system, MAX, &quotas), 0);
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < MAX; i++) {
            (void)snprintf(subject, sizeof subject, "user%u", i);
            assert_int_equal(count(quotas, &org, subject), 0);
        }
    assert_int_equal(count(quotas, &org, "user0"), 3); /* is among those that came last */
    for (unsigned i = 0; i < MAX - 1; i++) {
        (void)snprintf(subject, sizeof subject, "other%u", i);
        assert_int_equal(count(quotas, &org, subject), 0);
    }
    assert_int_equal(count(quotas, &org, "user0"), 0); /* its fourth: it was kept */
    assert_int_equal(count(quotas, &org, "user1"), 0); /* was forgotten: its first */
    assert_int_equal(count(quotas, &org, "user1"), 0);
    assert_int_equal(count(quotas, &org, "user1"), 3);
    th_quotas_free(quotas);
}

static void servers_are_bounded(void **state)
{
    struct th_quotas *quotas;
    assert_int_equal(th_quotas_new(&th_clock_system, 0, &quotas), 0);
    for (unsigned i = 0; i < 2 * TH_QUOTA_SERVERS; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "s%u", i);
        const struct th_config_authorization_server server = server_of(name, 1, 1);
        assert_int_equal(count(quotas, &server, "alice"), i < TH_QUOTA_SERVERS);
    }
    th_quotas_free(quotas);
}

static void without_memory_the_sum_is_kept(void **state)
{
#ifdef TH_FAIL_ALLOC
    const struct th_config_authorization_server org = server_of("org", 1, 1);
    for (unsigned long nth = 1; nth <= 2; nth++) {
        struct th_quotas *quotas;
        struct view view;
        assert_int_equal(th_quotas_new(&th_clock_system, 0, &quotas), 0);
        th_mem_fail_after(nth, 10);
        assert_int_equal(count(quotas, &org, "alice"), 0);
        th_mem_fail_after(0, 0);
        assert_int_equal(look(quotas, &view, "org")->exchanges, 1);
        assert_int_equal(count(quotas, &org, "alice"), 1);
        th_quotas_free(quotas);
    }
#endif
}

static void *count_many(void *arg)
{
    const struct th_config_authorization_server org = server_of("org", 1000000, 3000);
    char subject[32];
    uintptr_t warned = 0;
    for (unsigned i = 0; i < 6000; i++) {
        (void)snprintf(subject, sizeof subject, "user%u", i % 4);
        warned += count(arg, &org, subject) != 0;
    }
    return (void *)warned;
}

static void threads_count_together(void **state)
{
    struct th_quotas *quotas;
    pthread_t threads[4];
    struct view view;
    uintptr_t warned = 0;
    assert_int_equal(th_quotas_new(&th_clock_system, 0, &quotas), 0);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_many, quotas), 0);
    for (size_t i = 0; i < 4; i++) {
        void *result;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        warned += (uintptr_t)result;
    }
    assert_int_equal(warned, 4);
    assert_int_equal(look(quotas, &view, "org")->exchanges, 24000);
    assert_int_equal(look(quotas, &view, "org")->most, 6000);
    assert_int_equal(look(quotas, &view, "org")->warned, 4);
    th_quotas_free(quotas);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_user_is_warned_of_once),
        cmocka_unit_test(users_are_told_apart),
        cmocka_unit_test(the_sum_counts_them_all),
        cmocka_unit_test(it_begins_anew_with_the_month),
        cmocka_unit_test(months_are_those_of_the_calendar),
        cmocka_unit_test(users_are_bounded_and_the_idle_one_goes),
        cmocka_unit_test(servers_are_bounded),
        cmocka_unit_test(without_memory_the_sum_is_kept),
        cmocka_unit_test(threads_count_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
