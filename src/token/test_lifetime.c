/* How long things are kept: credentials, renewals, failures, rejections. */
#include "testing.h"

#include <stdio.h>
#include <string.h>

#include "tokenhop/base/mem.h"

#define MARGIN_MS 30000
#define CAP_MS 3600000

/* Whether a credential that was asked for now would be there `after_ms` later; the house is left
 * where it is then. */
static bool is_kept_after(struct house *house, int64_t after_ms)
{
    struct asker asker = {0};
    house_turn(house, after_ms);
    int got = ask(house, 1, "one", "alice", &asker);
    asker_forget(&asker);
    return got == 0;
}

static void r14_lifetimes(void **state)
{
    static const struct {
        const char *name;
        int64_t lifetime_ms;
        int64_t subject_ms; /* from now; -1: unknown */
        int64_t kept_ms;
    } rows[] = {
        {"less the margin", 300000, -1, 270000},
        {"must not be kept", 0, -1, 0},
        {"negative", -1, -1, 0},
        {"most negative", INT64_MIN, -1, 0},
        {"within the margin", MARGIN_MS, -1, 0},
        {"barely beyond the margin", MARGIN_MS + 1, -1, 1},
        {"absent, so a minute", 60000, -1, 30000},
        {"capped", 2 * CAP_MS, -1, CAP_MS},
        {"huge", INT64_MAX, -1, CAP_MS},
        {"the subject ends first", 300000, 100000, 100000},
        {"the subject ends later", 300000, 280000, 270000},
        {"the subject ends with it", 300000, 270000, 270000},
        {"the subject has ended", 300000, 0, 0},
        {"the subject ended long ago", 300000, -WALL_MS, 0},
        {"the subject never ends", INT64_MAX, INT64_MAX - WALL_MS, CAP_MS},
    };
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct house house;
        struct asker asker = {0};
        struct th_exchange_result result = result_of_token(rows[i].lifetime_ms);
        house_open(&house, NULL);
        if (rows[i].subject_ms != -1)
            result.subject_expires_wall_ms = WALL_MS + rows[i].subject_ms;
        assert_int_equal(ask(&house, 0, "one", "alice", &asker), TH_AGAIN);
        office_end_all(&house.offices[0], &result, "t");
        if (strcmp(asker.value, "Bearer t") != 0)
            fail_msg("%s: the waiter got '%s'", rows[i].name, asker.value);
        if (house_count(&house).entries != (rows[i].kept_ms > 0))
            fail_msg("%s: kept or not", rows[i].name);
        if (rows[i].kept_ms > 0 && !is_kept_after(&house, rows[i].kept_ms - 1))
            fail_msg("%s: dropped early", rows[i].name);
        if (is_kept_after(&house, 1))
            fail_msg("%s: kept too long", rows[i].name);
        asker_forget(&asker);
        house_close(&house);
    }
}

static void r14_subject_expiry_is_by_the_wall_clock(void **state)
{
    struct house house;
    struct asker asker = {0};
    struct th_exchange_result result = result_of_token(300000);
    house_open(&house, NULL);
    assert_int_equal(ask(&house, 0, "one", "alice", &asker), TH_AGAIN);
    house.clock.fake_wall_ms += 50000; /* set forward while the exchange ran */
    result.subject_expires_wall_ms = WALL_MS + 100000;
    office_end_all(&house.offices[0], &result, "t");
    assert_true(is_kept_after(&house, 49999));
    assert_false(is_kept_after(&house, 1));
    asker_forget(&asker);
    house_close(&house);
}

/* Over many: when it is noticed that renewal is due, 70 to 90 % of the time it is kept. */
static void r14_renewed_once_ahead_and_served_meanwhile(void **state)
{
    int64_t first_ms = INT64_MAX, last_ms = 0;
    for (unsigned round = 0; round < 50; round++) {
        struct house house;
        struct asker asker = {0}, other = {0};
        struct th_exchange_result result = result_of_token(130000); /* kept for 100 s */
        house_open(&house, NULL);
        fill(&house, "one", "alice", "old", 130000);
        int64_t at_ms = 0;
        do {
            house_turn(&house, 1000);
            at_ms += 1000;
            assert_int_equal(ask(&house, 1, "one", "alice", &asker), 0);
            assert_string_equal(asker.value, "Bearer old");
        } while (asker.state == TH_CACHE_HIT);
        assert_int_equal(asker.state, TH_CACHE_REFRESHED);
        first_ms = at_ms < first_ms ? at_ms : first_ms;
        last_ms = at_ms > last_ms ? at_ms : last_ms;
        for (unsigned i = 0; i < 10; i++) {
            assert_int_equal(ask(&house, i % N_DESKS, "one", "alice", &other), 0);
            assert_int_equal(other.state, TH_CACHE_HIT);
        }
        assert_int_equal(house.offices[1].n_started, 1);
        assert_string_equal(office_oldest(&house.offices[1])->subject, "alice");
        office_end_all(&house.offices[1], &result, "new");
        assert_int_equal(ask(&house, 2, "one", "alice", &asker), 0);
        assert_int_equal(asker.state, TH_CACHE_HIT);
        assert_string_equal(asker.value, "Bearer new");
        assert_true(is_kept_after(&house, 69000));
        asker_forget(&asker);
        asker_forget(&other);
        house_close(&house);
    }
    assert_true(first_ms >= 70000 && last_ms <= 91000);
    assert_true(last_ms - first_ms > 5000);
}

/* An exchange costs of a user's quota: only who asks begins one. */
static void r14_what_nobody_uses_is_not_renewed(void **state)
{
    struct house house;
    house_open(&house, NULL);
    fill(&house, "one", "alice", "t", 130000);
    for (int i = 0; i < 200; i++)
        house_turn(&house, 1000); /* past its renewal and its end */
    assert_int_equal(house.offices[0].n_started, 1);
    assert_int_equal(house_count(&house).entries, 0);
    house_close(&house);
}

static void r14_not_renewed_when_short_or_ended_by_the_subject(void **state)
{
    static const struct {
        const char *name;
        int64_t lifetime_ms, subject_ms, kept_ms;
    } rows[] = {
        {"short", MARGIN_MS + 9999, -1, 9999},
        {"ended by the subject", 300000, 200000, 200000},
    };
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct house house;
        struct asker asker = {0};
        struct th_exchange_result result = result_of_token(rows[i].lifetime_ms);
        house_open(&house, NULL);
        if (rows[i].subject_ms != -1)
            result.subject_expires_wall_ms = WALL_MS + rows[i].subject_ms;
        assert_int_equal(ask(&house, 0, "one", "alice", &asker), TH_AGAIN);
        office_end_all(&house.offices[0], &result, "t");
        house_turn(&house, rows[i].kept_ms - 1);
        assert_int_equal(ask(&house, 0, "one", "alice", &asker), 0);
        if (asker.state != TH_CACHE_HIT)
            fail_msg("%s: renewed", rows[i].name);
        asker_forget(&asker);
        house_close(&house);
    }
}

/* A house with one credential, kept for 100 s, whose renewal runs on desk 1 since 95 s. */
static void open_refreshing(struct house *house)
{
    struct asker asker = {0};
    house_open(house, NULL);
    fill(house, "one", "alice", "old", 130000);
    house_turn(house, 95000);
    assert_int_equal(ask(house, 1, "one", "alice", &asker), 0);
    assert_int_equal(asker.state, TH_CACHE_REFRESHED);
    asker_forget(&asker);
}

static void r14_a_renewal_that_fails_leaves_it_served_and_pauses(void **state)
{
    static const int errors[] = {TH_E_EXCHANGE_DOWN,     TH_E_EXCHANGE_TIMEOUT,
                                 TH_E_EXCHANGE_FAILED,   TH_E_EXCHANGE_CLIENT,
                                 TH_E_EXCHANGE_REQUEST,  TH_E_NOMEM,
                                 TH_E_EXCHANGE_MISMATCH, TH_E_OVERLOADED};
    for (size_t i = 0; i < TH_COUNT_OF(errors); i++) {
        struct house house;
        struct asker asker = {0};
        struct th_exchange_result result = result_of_error(errors[i]);
        open_refreshing(&house);
        office_end_all(&house.offices[1], &result, NULL);
        assert_int_equal(ask(&house, 1, "one", "alice", &asker), 0);
        assert_int_equal(asker.state, TH_CACHE_HIT);
        house_turn(&house, 999);
        assert_int_equal(ask(&house, 1, "one", "alice", &asker), 0);
        assert_int_equal(asker.state, TH_CACHE_HIT);
        house_turn(&house, 101); /* one second and a tenth of it */
        assert_int_equal(ask(&house, 1, "one", "alice", &asker), 0);
        assert_int_equal(asker.state, TH_CACHE_REFRESHED);
        office_end_all(&house.offices[1], &result, NULL);
        house_turn(&house, 1999); /* the second pause is longer */
        assert_int_equal(ask(&house, 1, "one", "alice", &asker), 0);
        assert_int_equal(asker.state, TH_CACHE_HIT);
        assert_string_equal(asker.value, "Bearer old");
        house_turn(&house, 1901); /* its end: 100 s after it was got */
        assert_int_equal(ask(&house, 1, "one", "alice", &asker), TH_AGAIN);
        assert_int_equal(asker.state, TH_CACHE_MISS);
        asker_forget(&asker);
        house_close(&house);
    }
}

static void r14_a_renewal_that_is_refused_withdraws_it(void **state)
{
    static const int errors[] = {TH_E_SUBJECT_REFUSED, TH_E_SUBJECT_EXPIRED, TH_E_ACCESS_DENIED,
                                 TH_E_INTERACTION};
    for (size_t i = 0; i < TH_COUNT_OF(errors); i++) {
        struct house house;
        struct asker asker = {0};
        struct th_exchange_result result = result_of_error(errors[i]);
        bool asks_anew = errors[i] == TH_E_INTERACTION; /* the user may have mended it meanwhile */
        open_refreshing(&house);
        office_end_all(&house.offices[1], &result, NULL);
        assert_int_equal(ask(&house, 2, "one", "alice", &asker), asks_anew ? TH_AGAIN : errors[i]);
        assert_int_equal(asker.state, asks_anew ? TH_CACHE_MISS : TH_CACHE_NEGATIVE);
        asker_forget(&asker);
        house_close(&house);
        assert_int_equal(th_secret_bytes_held(), 0);
    }
}

/* Found out before a request is made: by the broker's own exchanger. */
static void r14_a_renewal_that_cannot_start(void **state)
{
    struct house house;
    struct asker asker = {0};
    house_open(&house, NULL);
    fill(&house, "one", "alice", "old", 130000);
    house_turn(&house, 95000);
    house.offices[1].start_error = TH_E_NOMEM;
    assert_int_equal(ask(&house, 1, "one", "alice", &asker), 0);
    assert_int_equal(ask(&house, 1, "one", "alice", &asker), 0);
    assert_int_equal(asker.state, TH_CACHE_HIT);
    house_turn(&house, 1100);
    house.offices[1].start_error = TH_E_SUBJECT_EXPIRED;
    assert_int_equal(ask(&house, 1, "one", "alice", &asker), TH_E_SUBJECT_EXPIRED);
    assert_int_equal(house_count(&house).entries, 0);
    assert_int_equal(house_count(&house).pending, 0);
    asker_forget(&asker);
    house_close(&house);
}

/* Memory that a renewal lacks is not lacking to who asks: the credential is there. */
static void r24_due_without_memory_is_served(void **state)
{
    for (unsigned long nth = 1; nth <= 4; nth++) {
        struct house house;
        struct asker asker = {0};
        house_open(&house, NULL);
        fill(&house, "one", "alice", "old", 130000);
        house_turn(&house, 95000);
        th_mem_fail_after(nth, 1);
        assert_int_equal(ask(&house, 1, "one", "alice", &asker), 0);
        th_mem_fail_after(0, 0);
        assert_string_equal(asker.value, "Bearer old");
        asker_forget(&asker);
        house_close(&house);
    }
}

static void r14_expiring_while_renewed_makes_askers_wait(void **state)
{
    struct house house;
    struct asker one = {0}, two = {0};
    struct th_exchange_result result = result_of_token(300000);
    open_refreshing(&house);
    house_turn(&house, 5000);
    assert_int_equal(ask(&house, 1, "one", "alice", &one), TH_AGAIN);
    assert_int_equal(one.state, TH_CACHE_JOINED);
    assert_int_equal(ask(&house, 2, "one", "alice", &two), TH_AGAIN);
    office_end_all(&house.offices[1], &result, "new");
    house_turn(&house, 0);
    assert_string_equal(one.value, "Bearer new");
    assert_string_equal(two.value, "Bearer new");
    assert_int_equal(house.offices[1].n_started + house.offices[2].n_started, 1);
    asker_forget(&one);
    asker_forget(&two);
    house_close(&house);
}

static void r14_failures_are_remembered_by_the_table(void **state)
{
    static const struct {
        int error;
        int64_t retry_after_ms;
        int64_t pauses_ms[7]; /* the first, the second ... in a row; 0: not remembered */
    } rows[] = {
        {TH_E_SUBJECT_REFUSED, -1, {1000, 2000, 4000, 8000, 16000, 30000, 30000}},
        {TH_E_SUBJECT_MALFORMED, -1, {1000, 2000, 4000}},
        {TH_E_SUBJECT_EXPIRED, -1, {1000, 2000, 4000}},
        {TH_E_SUBJECT_AUDIENCE, -1, {1000, 2000, 4000}},
        {TH_E_ACCESS_DENIED, -1, {1000, 2000, 4000, 8000, 16000, 30000, 30000}},
        {TH_E_INTERACTION, -1, {0}}, /* those who wait have it; consent shows at once */
        {TH_E_EXCHANGE_FAILED, -1, {1000, 2000, 4000, 8000, 16000, 30000, 30000}},
        {TH_E_EXCHANGE_TIMEOUT, -1, {1000, 2000, 4000}},
        {TH_E_EXCHANGE_MISMATCH, -1, {1000, 2000, 4000}},
        {TH_E_EXCHANGE_CLIENT, -1, {1000, 2000, 4000}},
        {TH_E_EXCHANGE_DOWN, -1, {1000, 2000, 4000}},
        {TH_E_EXCHANGE_DOWN, 10000, {10000, 20000, 30000}},
        {TH_E_EXCHANGE_DOWN, 0, {1000, 2000}},
        {TH_E_EXCHANGE_DOWN, 86400000, {60000, 60000}},
        {TH_E_EXCHANGE_DOWN, INT64_MAX, {60000, 60000}},
        {TH_E_SUBJECT_REFUSED, 10000, {1000, 2000}}, /* a refusal is no overload */
        {TH_E_EXCHANGE_REQUEST, -1, {0}},
        {TH_E_EXCHANGE_QUEUE, -1, {0}},
        {TH_E_NOMEM, -1, {0}},
        {TH_E_OVERLOADED, -1, {0}},
        {TH_E_DRAINING, -1, {0}},
        {TH_E_CANCELLED, -1, {0}},
        {TH_E_INTERNAL, -1, {0}},
    };
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct house house;
        struct asker asker = {0};
        struct th_exchange_result result = result_of_error(rows[i].error);
        const char *name = th_error_get(rows[i].error)->name;
        result.retry_after_ms = rows[i].retry_after_ms;
        house_open(&house, NULL);
        for (unsigned n = 0; n < 7 && (n == 0 || rows[i].pauses_ms[n] != 0); n++) {
            int64_t pause_ms = rows[i].pauses_ms[n];
            assert_int_equal(ask(&house, 0, "one", "alice", &asker), TH_AGAIN);
            office_end_all(&house.offices[0], &result, NULL);
            assert_int_equal(asker.error, rows[i].error);
            assert_int_equal(house_count(&house).entries, pause_ms > 0);
            if (pause_ms == 0)
                break;
            house_turn(&house, pause_ms - 1);
            if (ask(&house, 1, "one", "alice", &asker) != rows[i].error)
                fail_msg("%s: forgotten within %jd ms", name, (intmax_t)pause_ms);
            assert_int_equal(asker.state, TH_CACHE_NEGATIVE);
            assert_int_equal(asker.retry_after_ms, rows[i].retry_after_ms);
            /* Another subject, and another scope, are not touched by it. */
            assert_int_equal(ask(&house, 1, "one", "bob", &asker), TH_AGAIN);
            asker_forget(&asker);
            assert_int_equal(ask(&house, 1, "two", "alice", &asker), TH_AGAIN);
            asker_forget(&asker);
            office_end_all(&house.offices[1], &(struct th_exchange_result){.error = TH_E_NOMEM},
                           NULL);
            house_turn(&house, 1 + pause_ms / 10);
        }
        /* After a success the pauses begin anew. */
        struct th_exchange_result good = result_of_token(60000);
        assert_int_equal(ask(&house, 0, "one", "alice", &asker), TH_AGAIN);
        office_end_all(&house.offices[0], &good, "t");
        house_turn(&house, 30000);
        assert_int_equal(ask(&house, 0, "one", "alice", &asker), TH_AGAIN);
        office_end_all(&house.offices[0], &result, NULL);
        house_turn(&house, 11 * rows[i].pauses_ms[0] / 10 + 1);
        assert_int_equal(ask(&house, 0, "one", "alice", &asker), TH_AGAIN);
        asker_forget(&asker);
        house_close(&house);
    }
}

/* Long after its pause a failure is forgotten, also by the sweeper. */
static void r14_failures_are_forgotten(void **state)
{
    struct house house;
    struct asker asker = {0};
    struct th_exchange_result result = result_of_error(TH_E_ACCESS_DENIED);
    house_open(&house, NULL);
    assert_int_equal(ask(&house, 0, "one", "alice", &asker), TH_AGAIN);
    office_end_all(&house.offices[0], &result, NULL);
    for (int i = 0; i < 40; i++)
        house_turn(&house, 1000);
    assert_int_equal(house_count(&house).entries, 0);
    assert_int_equal(house_count(&house).bytes, 0);
    house_close(&house);
}

static void r14_expired_credentials_are_swept(void **state)
{
    struct house house;
    char subject[32];
    house_open(&house, NULL);
    for (unsigned i = 0; i < 200; i++) {
        (void)snprintf(subject, sizeof subject, "user%u", i);
        fill(&house, "one", subject, "t", 60000);
    }
    assert_int_equal(house_count(&house).entries, 200);
    for (int i = 0; i < 40; i++)
        house_turn(&house, 1000);
    assert_int_equal(house_count(&house).entries, 0);
    assert_int_equal(th_secret_bytes_held(), 0);
    assert_int_equal(house.workers[0]->wheel.n_timers, 0); /* an idle process sleeps */
    house_close(&house);
}

static void reject(struct house *house, struct asker *asker, bool expected)
{
    struct th_broker_request request = request_of("one", "alice");
    assert_int_equal(th_broker_reject(house->desks[0], &request.key, asker->credential), expected);
}

static void r14_a_rejected_credential_is_replaced_once(void **state)
{
    struct house house;
    struct asker one = {0}, two = {0};
    struct th_exchange_result result = result_of_token(300000);
    house_open(&house, NULL);
    fill(&house, "one", "alice", "first", 300000);
    assert_int_equal(ask(&house, 0, "one", "alice", &one), 0);
    assert_int_equal(ask(&house, 0, "one", "alice", &two), 0);
    reject(&house, &one, true);
    assert_int_equal(ask(&house, 0, "one", "alice", &one), TH_AGAIN);
    assert_int_equal(one.state, TH_CACHE_MISS);
    /* Who was rejected with the same one: it is gone already, and nothing else is dropped. */
    reject(&house, &two, true);
    office_end_all(&house.offices[0], &result, "second");
    reject(&house, &two, true);
    assert_int_equal(ask(&house, 0, "one", "alice", &two), 0);
    assert_string_equal(two.value, "Bearer second");
    /* The replacement is rejected too: no more exchanges for a while, and it stays. */
    reject(&house, &one, false);
    reject(&house, &two, false);
    house_turn(&house, 4999);
    reject(&house, &two, false);
    assert_int_equal(ask(&house, 0, "one", "alice", &two), 0);
    assert_int_equal(two.state, TH_CACHE_HIT);
    assert_int_equal(house.offices[0].n_started, 2);
    house_turn(&house, 1);
    reject(&house, &two, true);
    assert_int_equal(ask(&house, 0, "one", "alice", &two), TH_AGAIN);
    asker_forget(&one);
    asker_forget(&two);
    house_close(&house);
    assert_int_equal(th_secret_bytes_held(), 0);
}

static void r14_rejected_while_renewed(void **state)
{
    struct house house;
    struct asker one = {0}, two = {0};
    struct th_exchange_result result = result_of_token(300000);
    open_refreshing(&house);
    assert_int_equal(ask(&house, 0, "one", "alice", &one), 0);
    reject(&house, &one, true);
    assert_int_equal(ask(&house, 0, "one", "alice", &two), TH_AGAIN);
    assert_int_equal(two.state, TH_CACHE_JOINED);
    office_end_all(&house.offices[1], &result, "new");
    house_turn(&house, 0);
    assert_string_equal(two.value, "Bearer new");
    reject(&house, &two, false);
    asker_forget(&one);
    asker_forget(&two);
    house_close(&house);
}

static void r14_a_rejection_of_what_is_not_there(void **state)
{
    struct house house;
    struct asker one = {0};
    house_open(&house, NULL);
    fill(&house, "one", "alice", "first", 300000);
    assert_int_equal(ask(&house, 0, "one", "alice", &one), 0);
    assert_int_equal(th_broker_purge(house.broker, NULL), 1);
    reject(&house, &one, true);
    assert_int_equal(house_count(&house).entries, 0);
    asker_forget(&one);
    house_close(&house);
}

/* A server that would hand out the same token again is told of it: once, by the exchange that replaces it. */
static void a_rejected_token_goes_with_the_next_exchange(void **state)
{
    static const struct {
        enum th_resource_type type;
        const char *rejected;
    } rows[] = {
        {TH_TYPE_RESOURCE_SERVER, "dead"}, {TH_TYPE_AGENT_TO_AGENT, ""}, {TH_TYPE_SECRET, ""}};
    const struct th_exchange_result result = result_of_token(300000);
    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        const struct th_config_connection connection = {.name = TH_STR("c"), .type = rows[i].type};
        struct asker asker = {.connection = &connection};
        struct house house;
        house_open(&house, NULL);
        struct office *office = &house.offices[0];
        struct th_broker_request request = request_of("one", "alice");
        assert_int_equal(ask(&house, 0, "one", "alice", &asker), TH_AGAIN);
        assert_string_equal(office_oldest(office)->rejected, "");
        office_end_all(office, &result, "dead");
        assert_true(th_broker_reject(house.desks[0], &request.key, asker.credential));
        assert_int_equal(ask(&house, 0, "one", "alice", &asker), TH_AGAIN);
        assert_string_equal(office_oldest(office)->rejected, rows[i].rejected);
        office_end_all(office, &result, "alive");
        assert_string_equal(asker.value, "Bearer alive");
        /* not with the one after it, that time has asked for */
        house_turn(&house, 300000);
        assert_int_equal(ask(&house, 0, "one", "alice", &asker), TH_AGAIN);
        assert_string_equal(office_oldest(office)->rejected, "");
        office_end_all(office, &result, "t");
        asker_forget(&asker);
        house_close(&house);
    }
    assert_int_equal(th_secret_bytes_held(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(r14_lifetimes),
        cmocka_unit_test(r14_subject_expiry_is_by_the_wall_clock),
        cmocka_unit_test(r14_renewed_once_ahead_and_served_meanwhile),
        cmocka_unit_test(r14_what_nobody_uses_is_not_renewed),
        cmocka_unit_test(r14_not_renewed_when_short_or_ended_by_the_subject),
        cmocka_unit_test(r14_a_renewal_that_fails_leaves_it_served_and_pauses),
        cmocka_unit_test(r14_a_renewal_that_is_refused_withdraws_it),
        cmocka_unit_test(r14_a_renewal_that_cannot_start),
        cmocka_unit_test(r24_due_without_memory_is_served),
        cmocka_unit_test(r14_expiring_while_renewed_makes_askers_wait),
        cmocka_unit_test(r14_failures_are_remembered_by_the_table),
        cmocka_unit_test(r14_failures_are_forgotten),
        cmocka_unit_test(r14_expired_credentials_are_swept),
        cmocka_unit_test(r14_a_rejected_credential_is_replaced_once),
        cmocka_unit_test(r14_rejected_while_renewed),
        cmocka_unit_test(r14_a_rejection_of_what_is_not_there),
        cmocka_unit_test(a_rejected_token_goes_with_the_next_exchange),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
