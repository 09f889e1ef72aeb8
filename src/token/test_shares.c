/* Whose exchanges they are: nobody takes all of what there is for everybody. */
#include <string.h>

#include "testing.h"
#include "tokenhop/token/account.h"

struct whose {
    struct th_account_share shares[TH_ACCOUNT_KINDS];
    unsigned n_asked;
};

static void tell_shares(void *arg, struct th_account_share ret_shares[TH_ACCOUNT_KINDS])
{
    struct whose *whose = arg;
    whose->n_asked++;
    memcpy(ret_shares, whose->shares, sizeof whose->shares);
}

static void on_end(struct th_broker_waiter *waiter, struct th_credential *credential,
                   struct th_refusal *refusal)
{
    (void)waiter, (void)credential, (void)refusal;
}

static struct whose named(struct house *house, const char *name,
                          const struct th_config_share *limits)
{
    return (struct whose){.shares = {[TH_ACCOUNT_CALLER] = {.account = th_accounts_find(
                                                                th_broker_accounts(house->broker),
                                                                TH_ACCOUNT_CALLER, th_str_of(name)),
                                                            .limits = limits,
                                                            .is_fair = true}}};
}

/* `detail`: what is said of the limit; NULL: none is expected. */
static int ask_as(struct house *house, struct whose *whose, const char *subject,
                  struct th_broker_waiter *waiter, const char *detail)
{
    struct th_broker_request request = request_of("one", subject);
    struct th_credential *credential;
    struct th_refusal *refusal;
    enum th_cache_state state;
    request.shares = tell_shares;
    request.shares_arg = whose;
    *waiter = (struct th_broker_waiter){.fn = on_end};
    int error =
        th_broker_get(house->desks[0], &request, INT64_MAX, waiter, &credential, &state, &refusal);
    if (detail != NULL) {
        assert_int_equal(error, TH_E_CALLER_LIMIT);
        assert_non_null(refusal);
        assert_string_equal(refusal->detail, detail);
    }
    th_refusal_unref(refusal);
    th_credential_unref(credential);
    return error;
}

static void open_small(struct house *house, uint64_t max_waiting)
{
    struct th_broker_options options = usual_options(NULL);
    options.max_waiting = max_waiting;
    house_open(house, &options);
}

static const struct th_config_share none;
static const char waiting[] = "limits.per_caller.waiting is reached";

/* One alone gets half; another that comes then still gets its part, and so does a third. */
static void r23_each_leaves_room_for_others(void **state)
{
    struct house house;
    struct th_broker_waiter waiters[20];
    char subject[32];
    unsigned n = 0, got[3] = {0};
    open_small(&house, 12);
    struct whose whose[] = {named(&house, "greedy", &none), named(&house, "second", &none),
                            named(&house, "third", &none)};
    for (unsigned k = 0; k < 3; k++) {
        for (;;) {
            (void)snprintf(subject, sizeof subject, "%u-%u", k, got[k]);
            int error = ask_as(&house, &whose[k], subject, &waiters[n], NULL);
            if (error == TH_E_CALLER_LIMIT)
                break;
            assert_int_equal(error, TH_AGAIN);
            n++, got[k]++;
        }
    }
    assert_int_equal(got[0], 6);
    assert_int_equal(got[1], 3);
    assert_int_equal(got[2], 2); /* of the 3 that were left */
    struct th_account *account = whose[0].shares[TH_ACCOUNT_CALLER].account;
    assert_int_equal(atomic_load(&account->n_refused[TH_BOUND_WAITING]), 1);
    while (n > 0)
        th_broker_leave(&waiters[--n]);
    assert_int_equal(atomic_load(&account->n_waiting), 0);
    assert_int_equal(atomic_load(&account->n_flights), 6); /* that nobody waits for any more */
    house_close(&house);
}

/* Who leaves, and asks for something else, has not got rid of the exchange that was begun for it. */
static void r23_who_leaves_gains_nothing(void **state)
{
    struct house house;
    struct th_broker_waiter waiter;
    struct th_exchange_result result = result_of_token(300000);
    char subject[32];
    open_small(&house, 12);
    struct whose greedy = named(&house, "greedy", &none), other = named(&house, "other", &none);
    for (unsigned i = 0; i < 6; i++) {
        (void)snprintf(subject, sizeof subject, "g%u", i);
        assert_int_equal(ask_as(&house, &greedy, subject, &waiter, NULL), TH_AGAIN);
        th_broker_leave(&waiter);
    }
    assert_int_equal(ask_as(&house, &greedy, "g7", &waiter, waiting), TH_E_CALLER_LIMIT);
    assert_int_equal(ask_as(&house, &other, "o", &waiter, NULL), TH_AGAIN);
    th_broker_leave(&waiter);
    office_end_all(&house.offices[0], &result, "t");
    struct th_account *account = greedy.shares[TH_ACCOUNT_CALLER].account;
    assert_int_equal(atomic_load(&account->n_flights), 0);
    assert_int_equal(ask_as(&house, &greedy, "g7", &waiter, NULL), TH_AGAIN);
    th_broker_leave(&waiter);
    house_close(&house);
}

static void r23_joining_is_bounded_too(void **state)
{
    static const struct th_config_share limits = {.waiting = 2};
    struct house house;
    struct th_broker_waiter waiters[3];
    open_small(&house, 12);
    struct whose whose = named(&house, "a", &limits), other = named(&house, "b", &none);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(ask_as(&house, &whose, "same", &waiters[i], NULL), TH_AGAIN);
    assert_int_equal(ask_as(&house, &whose, "same", &waiters[2], waiting), TH_E_CALLER_LIMIT);
    assert_int_equal(ask_as(&house, &other, "same", &waiters[2], NULL), TH_AGAIN);
    assert_int_equal(house_count(&house).pending, 1);
    for (unsigned i = 0; i < 3; i++)
        th_broker_leave(&waiters[i]);
    house_close(&house);
}

static void exchanges_a_second(void **state)
{
    static const struct th_config_share limits = {.exchanges_per_second = 2};
    static const char detail[] = "limits.per_caller.exchanges_per_second is reached";
    struct house house;
    struct th_broker_waiter waiters[8];
    struct th_exchange_result result = result_of_token(300000);
    house_open(&house, NULL);
    struct whose whose = named(&house, "a", &limits);
    assert_int_equal(ask_as(&house, &whose, "1", &waiters[0], NULL), TH_AGAIN);
    assert_int_equal(ask_as(&house, &whose, "1", &waiters[1], NULL), TH_AGAIN); /* joins */
    assert_int_equal(ask_as(&house, &whose, "2", &waiters[2], NULL), TH_AGAIN);
    assert_int_equal(ask_as(&house, &whose, "3", &waiters[3], detail), TH_E_CALLER_LIMIT);
    office_end_all(&house.offices[0], &result, "t");
    unsigned asked = whose.n_asked;
    for (unsigned i = 0; i < 100;
         i++) /* what the cache has costs none, and asks nobody whose it is */
        assert_int_equal(ask_as(&house, &whose, "1", &waiters[4], NULL), 0);
    assert_int_equal(whose.n_asked, asked);
    house_turn(&house, 500);
    assert_int_equal(ask_as(&house, &whose, "3", &waiters[3], NULL), TH_AGAIN);
    assert_int_equal(ask_as(&house, &whose, "4", &waiters[4], detail), TH_E_CALLER_LIMIT);
    struct th_account *account = whose.shares[TH_ACCOUNT_CALLER].account;
    assert_int_equal(atomic_load(&account->n_flights), 1);
    assert_int_equal(atomic_load(&account->n_waiting), 1);
    th_broker_leave(&waiters[3]);
    house_close(&house);
}

/* All that act as one agent, whoever they are. */
static void an_agents_share(void **state)
{
    static const struct th_config_share limits = {.waiting = 2};
    struct house house;
    struct th_broker_waiter waiters[3];
    open_small(&house, 12);
    struct whose a = named(&house, "a", &none), b = named(&house, "b", &none);
    struct th_account *agent =
        th_accounts_find(th_broker_accounts(house.broker), TH_ACCOUNT_AGENT, TH_STR("x"));
    a.shares[TH_ACCOUNT_AGENT] = b.shares[TH_ACCOUNT_AGENT] =
        (struct th_account_share){.account = agent, .limits = &limits};
    assert_int_equal(ask_as(&house, &a, "1", &waiters[0], NULL), TH_AGAIN);
    assert_int_equal(ask_as(&house, &b, "2", &waiters[1], NULL), TH_AGAIN);
    assert_int_equal(ask_as(&house, &b, "3", &waiters[2], "limits.per_agent.waiting is reached"),
                     TH_E_CALLER_LIMIT);
    struct th_account *account = b.shares[TH_ACCOUNT_CALLER].account;
    assert_int_equal(atomic_load(&account->n_waiting), 1); /* what was taken of its own is back */
    assert_int_equal(atomic_load(&account->n_flights), 1);
    th_broker_leave(&waiters[0]);
    th_broker_leave(&waiters[1]);
    house_close(&house);
}

/* What is refused by one limit costs nothing of another: neither where the agent's is reached, nor where there is
 * no room for anybody. */
static void a_refusal_costs_no_rate(void **state)
{
    static const struct th_config_share own = {.exchanges_per_second = 2, .waiting = 10},
                                        agents = {.exchanges_per_second = 1};
    static const char by_agent[] = "limits.per_agent.exchanges_per_second is reached";
    struct house house;
    struct th_broker_waiter waiters[3], refused;
    open_small(&house, 2);
    struct whose a = named(&house, "a", &own), b = named(&house, "b", &none);
    struct th_account *agent =
        th_accounts_find(th_broker_accounts(house.broker), TH_ACCOUNT_AGENT, TH_STR("x"));
    b.shares[TH_ACCOUNT_AGENT] = (struct th_account_share){.account = agent, .limits = &agents};
    assert_int_equal(ask_as(&house, &b, "1", &waiters[0], NULL), TH_AGAIN);
    a.shares[TH_ACCOUNT_AGENT] = b.shares[TH_ACCOUNT_AGENT];
    for (int i = 0; i < 10; i++)
        assert_int_equal(ask_as(&house, &a, "2", &refused, by_agent), TH_E_CALLER_LIMIT);
    a.shares[TH_ACCOUNT_AGENT] = (struct th_account_share){0};
    assert_int_equal(ask_as(&house, &a, "2", &waiters[1], NULL), TH_AGAIN);
    for (int i = 0; i < 10; i++) /* max_waiting is reached */
        assert_int_equal(ask_as(&house, &a, "3", &refused, NULL), TH_E_EXCHANGE_QUEUE);
    th_broker_leave(&waiters[0]);
    th_broker_leave(&waiters[1]);
    struct th_exchange_result result = result_of_token(300000);
    office_end_all(&house.offices[0], &result, "t");
    assert_int_equal(ask_as(&house, &a, "3", &waiters[2], NULL),
                     TH_AGAIN); /* the second of this second */
    assert_int_equal(
        ask_as(&house, &a, "4", &refused, "limits.per_caller.exchanges_per_second is reached"),
        TH_E_CALLER_LIMIT);
    th_broker_leave(&waiters[2]);
    house_close(&house);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(r23_each_leaves_room_for_others),
        cmocka_unit_test(r23_who_leaves_gains_nothing),
        cmocka_unit_test(r23_joining_is_bounded_too),
        cmocka_unit_test(exchanges_a_second),
        cmocka_unit_test(an_agents_share),
        cmocka_unit_test(a_refusal_costs_no_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
