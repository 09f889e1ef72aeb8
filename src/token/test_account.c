/* Accounts by themselves: rates, counts, and places that cannot be had by coming often. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokenhop/token/account.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static const int64_t start_ms = 1000000;

static struct in6_addr v4(unsigned number)
{
    struct in6_addr address = {0};
    uint32_t low = htonl(number);
    address.s6_addr[10] = address.s6_addr[11] = 0xff;
    memcpy(&address.s6_addr[12], &low, 4);
    return address;
}

/* As many at once as a second has, and then one a step; never more in any second. */
static void rates(void **state)
{
    struct th_rate rate = {0};
    int64_t wait_ms = -1;

    for (int i = 0; i < 1000; i++)
        assert_true(th_rate_take(&rate, 0, start_ms, &wait_ms)); /* no limit */
    for (int i = 0; i < 10; i++)
        assert_true(th_rate_take(&rate, 10, start_ms, &wait_ms));
    assert_false(th_rate_take(&rate, 10, start_ms, &wait_ms));
    assert_int_equal(wait_ms, 100);
    assert_false(th_rate_take(&rate, 10, start_ms + 99, &wait_ms));
    assert_int_equal(wait_ms, 1);
    assert_true(th_rate_take(&rate, 10, start_ms + 100, &wait_ms));
    assert_false(th_rate_take(&rate, 10, start_ms + 100, &wait_ms));
    int taken = 0;
    for (int64_t now_ms = start_ms + 1100; now_ms < start_ms + 11100; now_ms++)
        for (int i = 0; i < 5; i++)
            taken += th_rate_take(&rate, 10, now_ms, &wait_ms);
    assert_int_equal(taken, 10 + 99);
    /* A silence of an hour is worth no more than one of a second. */
    taken = 0;
    for (int i = 0; i < 100; i++)
        taken += th_rate_take(&rate, 10, start_ms + 3600000, &wait_ms);
    assert_int_equal(taken, 10);
    assert_true(th_rate_take(&rate, 1000000, start_ms + 7200000, &wait_ms));
    assert_true(th_rate_take(&(struct th_rate){0}, 1, start_ms, &wait_ms));
}

/* One that is given back can be had again, and no more than that. */
static void rates_given_back(void **state)
{
    struct th_rate rate = {0};
    int64_t wait_ms = -1;

    for (int i = 0; i < 10; i++)
        assert_true(th_rate_take(&rate, 10, start_ms, &wait_ms));
    for (int i = 0; i < 3; i++)
        th_rate_give(&rate, 10);
    for (int i = 0; i < 3; i++)
        assert_true(th_rate_take(&rate, 10, start_ms, &wait_ms));
    assert_false(th_rate_take(&rate, 10, start_ms, &wait_ms));
    assert_int_equal(wait_ms, 100);
    /* Long after: it has recovered by itself, and is not worth one more than that. */
    th_rate_give(&rate, 10);
    int taken = 0;
    for (int i = 0; i < 100; i++)
        taken += th_rate_take(&rate, 10, start_ms + 60000, &wait_ms);
    assert_int_equal(taken, 10);
    th_rate_give(&rate, 0); /* no limit: none was taken */
    assert_false(th_rate_take(&rate, 10, start_ms + 60000, &wait_ms));
}

static void names_stay(void **state)
{
    struct th_accounts *accounts;
    char name[32];
    assert_int_equal(th_accounts_new(&accounts), 0);
    struct th_account *a = th_accounts_find(accounts, TH_ACCOUNT_CALLER, TH_STR("a"));
    struct th_account *agent = th_accounts_find(accounts, TH_ACCOUNT_AGENT, TH_STR("a"));
    assert_ptr_not_equal(a, agent);
    assert_int_equal(agent->kind, TH_ACCOUNT_AGENT);
    assert_ptr_equal(a, th_accounts_find(accounts, TH_ACCOUNT_CALLER, TH_STR("a")));
    struct th_account *last = NULL;
    for (int i = 0; i < 9000; i++) {
        snprintf(name, sizeof name, "n%d", i);
        last = th_accounts_find(accounts, TH_ACCOUNT_CALLER, th_str_of(name));
    }
    assert_ptr_equal(last, th_accounts_find(accounts, TH_ACCOUNT_CALLER, TH_STR("another")));
    assert_ptr_equal(a, th_accounts_find(accounts, TH_ACCOUNT_CALLER, TH_STR("a")));
    th_accounts_free(accounts);
}

static void addresses_are_told_apart(void **state)
{
    struct th_accounts *accounts;
    struct in6_addr near, far, one = v4(1), two = v4(2);
    assert_int_equal(inet_pton(AF_INET6, "2001:db8:0:1::5", &near), 1);
    assert_int_equal(inet_pton(AF_INET6, "2001:db8:0:2::5", &far), 1);
    assert_int_equal(th_accounts_new(&accounts), 0);
    struct th_account *first = th_accounts_pin(accounts, &one, TH_STR("x"), start_ms);
    assert_ptr_equal(first, th_accounts_pin(accounts, &one, TH_STR("x"), start_ms));
    assert_ptr_not_equal(first, th_accounts_pin(accounts, &two, TH_STR("x"), start_ms));
    /* Those behind one address that act as different agents do not stand in each other's way. */
    assert_ptr_not_equal(first, th_accounts_pin(accounts, &one, TH_STR("y"), start_ms));
    struct th_account *prefix = th_accounts_pin(accounts, &near, TH_STR("x"), start_ms);
    near.s6_addr[15] = 99;
    assert_ptr_equal(prefix, th_accounts_pin(accounts, &near, TH_STR("x"), start_ms));
    assert_ptr_not_equal(prefix, th_accounts_pin(accounts, &far, TH_STR("x"), start_ms));
    th_accounts_free(accounts);
}

/* Whoever comes from many addresses drives nobody out whose count or rate is not as new; and gets no
 * account of its own for those beyond the table, but one for all of them. */
static void r23_no_count_is_reset_by_coming_from_elsewhere(void **state)
{
    struct th_accounts *accounts;
    struct in6_addr mine = v4(7);
    int64_t wait_ms;
    assert_int_equal(th_accounts_new(&accounts), 0);
    struct th_account *account = th_accounts_pin(accounts, &mine, TH_STR("x"), start_ms);
    assert_true(th_rate_take(&account->requests, 1, start_ms, &wait_ms));
    th_accounts_let_go(account);
    for (unsigned i = 100; i < 100000; i++) { /* five times the table, one after the other */
        struct in6_addr other = v4(i);
        th_accounts_let_go(th_accounts_pin(accounts, &other, TH_STR("x"), start_ms));
    }
    assert_ptr_equal(account, th_accounts_pin(accounts, &mine, TH_STR("x"), start_ms));
    assert_false(th_rate_take(&account->requests, 1, start_ms + 500, &wait_ms));
    th_accounts_let_go(account);
    /* All at once: the table is full of those in use. */
    struct th_account *latest = NULL, *shared = NULL;
    unsigned n_shared = 0;
    for (unsigned i = 100; i < 100000; i++) {
        struct in6_addr other = v4(i);
        latest = th_accounts_pin(accounts, &other, TH_STR("x"), start_ms + 500);
        assert_ptr_not_equal(latest, account);
        if (shared == NULL && i > 60000)
            shared = latest;
        n_shared += latest == shared;
    }
    assert_true(n_shared > 30000);
    assert_ptr_equal(account, th_accounts_pin(accounts, &mine, TH_STR("x"), start_ms + 500));
    /* Once it has recovered and nothing of it is in use, its place is another's. */
    th_accounts_let_go(account);
    struct in6_addr newcomer = v4(1000000);
    bool replaced = false;
    for (unsigned i = 0; i < 100000 && !replaced; i++) {
        newcomer = v4(1000000 + i);
        replaced = th_accounts_pin(accounts, &newcomer, TH_STR("x"), start_ms + 2000) == account;
    }
    assert_true(replaced);
    assert_true(th_rate_take(&account->requests, 1, start_ms + 2000, &wait_ms));
    th_accounts_free(accounts);
}

static void is_kept_by_what_is_in_use(void **state)
{
    struct th_accounts *accounts;
    struct in6_addr mine = v4(7);
    assert_int_equal(th_accounts_new(&accounts), 0);
    struct th_account *account = th_accounts_pin(accounts, &mine, TH_STR("x"), start_ms);
    atomic_uint_least64_t *const counts[] = {&account->n_waiting, &account->n_flights};
    for (size_t k = 0; k < 2; k++) {
        assert_true(th_account_take(counts[k], 0));
        th_accounts_let_go(account);
        for (unsigned i = 100; i < 100000; i++) {
            struct in6_addr other = v4(i);
            th_accounts_let_go(th_accounts_pin(accounts, &other, TH_STR("x"), start_ms));
        }
        assert_ptr_equal(account, th_accounts_pin(accounts, &mine, TH_STR("x"), start_ms));
        th_account_give(counts[k]);
    }
    th_accounts_free(accounts);
}

struct race {
    struct th_account *account;
    unsigned n_taken, n_rates;
};

static void *take_many(void *arg)
{
    struct race *race = arg;
    int64_t wait_ms;
    for (int i = 0; i < 20000; i++) {
        race->n_taken += th_account_take(&race->account->n_connections, 1000);
        race->n_rates += th_rate_take(&race->account->requests, 500, start_ms, &wait_ms);
    }
    return NULL;
}

static void threads_take_no_more_than_there_is(void **state)
{
    struct th_account account = {0};
    struct race races[4];
    pthread_t threads[4];
    unsigned n_taken = 0, n_rates = 0;
    for (size_t i = 0; i < 4; i++) {
        races[i] = (struct race){.account = &account};
        assert_int_equal(pthread_create(&threads[i], NULL, take_many, &races[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        n_taken += races[i].n_taken;
        n_rates += races[i].n_rates;
    }
    assert_int_equal(n_taken, 1000);
    assert_int_equal(n_rates, 500);
    assert_int_equal(atomic_load(&account.n_connections), 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates),
        cmocka_unit_test(rates_given_back),
        cmocka_unit_test(names_stay),
        cmocka_unit_test(addresses_are_told_apart),
        cmocka_unit_test(r23_no_count_is_reset_by_coming_from_elsewhere),
        cmocka_unit_test(is_kept_by_what_is_in_use),
        cmocka_unit_test(threads_take_no_more_than_there_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
