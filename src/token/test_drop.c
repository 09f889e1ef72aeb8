/* What is dropped, what is shown, and what another configuration leaves. */
#include "scene.h"

#include <stdio.h>
#include <string.h>

#include "tokenhop/base/mem.h"

static bool holds(const struct th_dropped *dropped, const char *token)
{
    for (const struct th_list *it = dropped->entries.next; it != &dropped->entries; it = it->next) {
        const struct th_cache_entry *entry = TH_LIST_ENTRY(it, struct th_cache_entry, link);
        if (entry->credential != NULL &&
            th_str_equal(th_credential_secret(entry->credential), th_str_of(token)))
            return true;
    }
    return false;
}

static void fingerprint_of(const char *subject, char ret_text[TH_FINGERPRINT_LEN + 1])
{
    uint8_t digest[32];
    th_broker_digest(th_str_of(subject), digest);
    th_secret_fingerprint(digest, sizeof digest, ret_text);
}

static void what_the_filter_says_is_dropped(void **state)
{
    static const struct {
        const char *connection, *agent, *subject, *digest;
        size_t n;
        bool alice_one_1; /* that it is among them */
        bool bob_two_2;
    } cases[] = {
        {NULL, NULL, NULL, NULL, 8, true, true},
        {"one", NULL, NULL, NULL, 4, true, false},
        {"two", NULL, NULL, NULL, 4, false, true},
        {NULL, "agent2", NULL, NULL, 4, false, true},
        {"two", "agent2", NULL, NULL, 2, false, true},
        {NULL, NULL, "alice", NULL, 4, true, false},
        {NULL, NULL, NULL, "bob", 4, false, true},
        {"one", "agent1", "alice", NULL, 1, true, false},
        {"one", "agent1", "alice", "alice", 1, true, false},
        {NULL, NULL, "alice", "bob", 0, false, false},
        {"three", NULL, NULL, NULL, 0, false, false},
        {NULL, "agent", NULL, NULL, 0, false, false},
        {NULL, NULL, "carol", NULL, 0, false, false},
        {NULL, NULL, NULL, "carol", 0, false, false},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct scene scene;
        struct th_broker_filter filter = {0};
        struct th_dropped dropped;
        char print[TH_FINGERPRINT_LEN + 1];
        uint8_t digest[32];
        scene_open(&scene);
        if (cases[i].connection != NULL)
            filter.connection = th_str_of(cases[i].connection);
        if (cases[i].agent != NULL)
            filter.agent = th_str_of(cases[i].agent);
        if (cases[i].subject != NULL) {
            fingerprint_of(cases[i].subject, print);
            filter.subject = th_str_of(print);
        }
        if (cases[i].digest != NULL) {
            th_broker_digest(th_str_of(cases[i].digest), digest);
            filter.digest = digest;
        }
        assert_int_equal(th_broker_drop(scene.house.broker, &filter, &dropped), cases[i].n);
        assert_int_equal(dropped.n, cases[i].n);
        assert_int_equal(dropped.n_lost, 0);
        assert_ptr_equal(dropped.directory, scene.directory);
        assert_int_equal(house_count(&scene.house).entries, 8 - cases[i].n);
        assert_int_equal(holds(&dropped, "one.1.alice"), cases[i].alice_one_1);
        assert_int_equal(holds(&dropped, "two.2.bob"), cases[i].bob_two_2);
        assert_int_equal(scene_has(&scene, "one", 0, "alice"), !cases[i].alice_one_1);
        assert_int_equal(scene_has(&scene, "two", 1, "bob"), !cases[i].bob_two_2);
        th_dropped_fini(&dropped);
        scene_close(&scene);
    }
}

static void a_fingerprint_that_is_none_fits_nobody(void **state)
{
    static const char *const texts[] = {"------------", "0", "0123456789abcdef0123456789abcdef"};
    for (size_t i = 0; i < TH_COUNT_OF(texts); i++) {
        struct scene scene;
        const struct th_broker_filter filter = {.subject = th_str_of(texts[i])};
        scene_open(&scene);
        assert_int_equal(th_broker_drop(scene.house.broker, &filter, NULL), 0);
        scene_close(&scene);
    }
}

static void what_nobody_wants_is_given_back(void **state)
{
    struct scene scene;
    const struct th_broker_filter all = {0};
    scene_open(&scene);
    assert_int_equal(th_broker_drop(scene.house.broker, &all, NULL), 8);
    assert_int_equal(th_secret_bytes_held(), 0);
    assert_int_equal(house_count(&scene.house).bytes, 0);
    scene_close(&scene);
}

static void r14_an_exchange_in_flight_fills_nothing(void **state)
{
    struct scene scene;
    struct asker asker, other;
    struct th_exchange_result result = result_of_token(130000);
    const struct th_broker_filter filter = {.connection = TH_STR("one")};
    scene_open(&scene);
    assert_int_equal(scene_ask(&scene, scene.directory, "one", 0, "carol", &asker), TH_AGAIN);
    assert_int_equal(th_broker_drop(scene.house.broker, &filter, NULL), 4);
    assert_int_equal(scene_ask(&scene, scene.directory, "two", 0, "carol", &other), TH_AGAIN);
    office_end_all(&scene.house.offices[0], &result, "t");
    assert_string_equal(asker.value, "Bearer t"); /* who waits has it */
    assert_string_equal(other.value, "Bearer t");
    assert_false(scene_has(&scene, "one", 0, "carol"));
    assert_true(scene_has(&scene, "two", 0, "carol"));
    scene_close(&scene);
}

/* Served while it is renewed: it goes at once, and its renewal fills nothing. */
static void r14_what_is_being_renewed_goes_too(void **state)
{
#ifdef TH_FAIL_ALLOC
    const unsigned long may_fail = 1;
#else
    const unsigned long may_fail = 0;
#endif
    for (unsigned long fails = 0; fails <= may_fail; fails++) {
        struct scene scene;
        struct asker asker;
        struct th_dropped dropped;
        struct th_exchange_result result = result_of_token(130000);
        const struct th_broker_filter filter = {.connection = TH_STR("one"),
                                                .agent = TH_STR("agent1")};
        scene_open(&scene);
        house_turn(&scene.house, 95000);
        assert_int_equal(scene_ask(&scene, scene.directory, "one", 0, "alice", &asker), 0);
        assert_int_equal(scene_ask(&scene, scene.directory, "one", 0, "bob", &asker), 0);
        assert_int_equal(asker.state, TH_CACHE_REFRESHED);
        th_mem_fail_after(fails, 100);
        assert_int_equal(th_broker_drop(scene.house.broker, &filter, &dropped), 2);
        th_mem_fail_after(0, 0);
        assert_int_equal(dropped.n, fails ? 0 : 2);
        assert_int_equal(dropped.n_lost, fails ? 2 : 0);
        assert_int_equal(holds(&dropped, "one.1.alice"), !fails);
        assert_int_equal(holds(&dropped, "one.1.bob"), !fails);
        th_dropped_fini(&dropped);
        assert_int_equal(scene_ask(&scene, scene.directory, "one", 0, "alice", &asker), TH_AGAIN);
        assert_int_equal(asker.state, TH_CACHE_JOINED);
        office_end_all(&scene.house.offices[0], &result, "new");
        assert_string_equal(asker.value, "Bearer new");
        assert_false(scene_has(&scene, "one", 0, "alice"));
        scene_close(&scene);
    }
}

/* -- the list ------------------------------------------------------------------------------------ */

struct list {
    struct th_broker_listed items[32];
    size_t n;
    size_t stop_after; /* 0: never */
};

static bool on_listed(void *arg, const struct th_broker_listed *listed)
{
    struct list *list = arg;
    assert_true(list->n < TH_COUNT_OF(list->items));
    list->items[list->n++] = *listed;
    return list->n != list->stop_after;
}

static const struct th_broker_listed *find_listed(const struct list *list, const char *subject)
{
    char print[TH_FINGERPRINT_LEN + 1];
    fingerprint_of(subject, print);
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->items[i].subject, print) == 0)
            return &list->items[i];
    fail_msg("%s is not listed", subject);
    return NULL;
}

static void every_state_is_listed(void **state)
{
    struct scene scene;
    struct asker asker, pending;
    struct list list = {0};
    struct th_exchange_result refused = result_of_error(TH_E_ACCESS_DENIED);
    const struct th_broker_filter filter = {.connection = TH_STR("one"), .agent = TH_STR("agent1")};
    scene_open(&scene);
    assert_int_equal(scene_ask(&scene, scene.directory, "one", 0, "mallory", &asker), TH_AGAIN);
    office_end_all(&scene.house.offices[0], &refused, NULL);
    assert_int_equal(scene_ask(&scene, scene.directory, "one", 0, "carol", &pending), TH_AGAIN);
    assert_int_equal(th_broker_list(scene.house.broker, &filter, 100, on_listed, &list), 4);
    assert_int_equal(list.n, 4);
    for (size_t i = 0; i < list.n; i++) {
        assert_true(th_str_equal(list.items[i].connection->name, TH_STR("one")));
        assert_true(th_str_equal(list.items[i].connection->scope_text, TH_STR("read")));
        assert_true(th_str_equal(list.items[i].agent->name, TH_STR("agent1")));
    }
    const struct th_broker_listed *alice = find_listed(&list, "alice");
    assert_string_equal(alice->state, "ready");
    assert_int_equal(alice->expires_in_ms, 100000); /* 130 s less the margin */
    assert_in_range(alice->renewed_in_ms, 70000, 90000);
    assert_int_equal(alice->again_in_ms, -1);
    assert_int_equal(alice->error, 0);
    assert_true(alice->is_revocable);
    assert_false(alice->is_renewed);
    assert_true(alice->bytes > 100);
    const struct th_broker_listed *mallory = find_listed(&list, "mallory");
    assert_string_equal(mallory->state, "failed");
    assert_int_equal(mallory->error, TH_E_ACCESS_DENIED);
    assert_in_range(mallory->again_in_ms, 1000, 1100);
    assert_int_equal(mallory->expires_in_ms, -1);
    assert_false(mallory->is_revocable);
    const struct th_broker_listed *carol = find_listed(&list, "carol");
    assert_string_equal(carol->state, "pending");
    assert_int_equal(carol->bytes, 0);
    th_broker_leave(&pending.waiter);

    struct th_exchange_result again = result_of_token(130000);
    list.n = 0;
    house_turn(&scene.house, 95000);
    assert_int_equal(scene_ask(&scene, scene.directory, "one", 0, "alice", &asker), 0);
    /* The refusal may have been swept away. */
    assert_in_range(th_broker_list(scene.house.broker, &filter, 100, on_listed, &list), 3, 4);
    assert_string_equal(find_listed(&list, "alice")->state, "refreshing");
    assert_int_equal(find_listed(&list, "alice")->expires_in_ms, 5000);
    office_end_all(&scene.house.offices[0], &again, "new");
    list.n = 0;
    (void)th_broker_list(scene.house.broker, &filter, 100, on_listed, &list);
    assert_string_equal(find_listed(&list, "alice")->state, "ready");
    assert_true(find_listed(&list, "alice")->is_renewed);
    scene_close(&scene);
}

static void the_list_is_bounded(void **state)
{
    struct scene scene;
    struct list list = {0};
    const struct th_broker_filter all = {0};
    char print[TH_FINGERPRINT_LEN + 1];
    scene_open(&scene);
    assert_int_equal(th_broker_list(scene.house.broker, &all, 100, on_listed, &list), 8);
    list.n = 0;
    assert_int_equal(th_broker_list(scene.house.broker, &all, 3, on_listed, &list), 3);
    list.n = 0;
    assert_int_equal(th_broker_list(scene.house.broker, &all, 0, on_listed, &list), 0);
    list = (struct list){.stop_after = 2};
    assert_int_equal(th_broker_list(scene.house.broker, &all, 100, on_listed, &list), 2);
    list = (struct list){0};
    fingerprint_of("bob", print);
    const struct th_broker_filter bob = {.subject = th_str_of(print), .agent = TH_STR("agent2")};
    assert_int_equal(th_broker_list(scene.house.broker, &bob, 100, on_listed, &list), 2);
    scene_close(&scene);
}

struct meeting {
    unsigned n_met, most; /* in a step */
    bool was_met[20000];
};

static bool meet(void *arg, struct th_cache_shard *shard, struct th_cache_entry *entry)
{
    struct meeting *meeting = arg;
    unsigned number;
    (void)shard;
    memcpy(&number, entry->key.subject, sizeof number); /* the test's own, see below */
    assert_true(number < TH_COUNT_OF(meeting->was_met));
    assert_false(meeting->was_met[number]);
    meeting->was_met[number] = true;
    meeting->n_met++;
    return true;
}

/* More than one step a shard; half of them come on the way, which makes the tables grow. */
static void many_are_each_met_once_in_small_steps(void **state)
{
    static struct meeting meeting;
    struct th_cache cache;
    struct th_cache_walk walk = {0};
    const unsigned many = TH_COUNT_OF(meeting.was_met);
    unsigned n = 0, met_before = 0, n_steps = 0;
    memset(&meeting, 0, sizeof meeting);
    assert_int_equal(th_cache_init(&cache, many, 1 << 30), 0);
    do {
        for (unsigned until = n_steps == 0 ? many / 2 : many; n < until && n_steps != 1; n++) {
            struct th_cache_key key = {0};
            memcpy(key.subject, &n, sizeof n);
            uint64_t hash = th_cache_hash(&cache, &key);
            struct th_cache_entry *entry = th_calloc(1, sizeof *entry);
            struct th_cache_waste waste;
            th_cache_waste_init(&waste);
            struct th_cache_shard *shard = th_cache_shard(&cache, hash);
            assert_int_equal(th_cache_add(shard, entry, hash, &key, (void *)&walk), 0);
            struct th_cache_holding holding = {
                .credential = th_credential_new(th_secret_new("t", 1), 1000, INT64_MAX)};
            th_cache_move(shard, entry, TH_ENTRY_READY, &holding, &waste);
            th_cache_waste_empty(&waste);
        }
        n_steps++;
        assert_in_range(meeting.n_met - met_before, 0, TH_CACHE_STEP);
        met_before = meeting.n_met;
    } while (th_cache_step(&cache, &walk, meet, &meeting));
    for (unsigned i = 0; i < many / 2; i++)
        assert_true(meeting.was_met[i]);
    assert_int_equal(th_cache_purge(&cache, NULL), many);
    th_cache_fini(&cache);
    assert_int_equal(th_secret_bytes_held(), 0);
}

/* -- another configuration ----------------------------------------------------------------------- */

static void what_has_no_place_any_more_is_dropped(void **state)
{
    static const struct {
        const char *config;
        size_t n;
        bool one_1, one_2, two_1;
    } cases[] = {
        {USUAL, 0, true, true, true},
        {CONFIG(CONNECTION("one", BOTH, "read")), 4, true, true, false}, /* removed */
        {CONFIG(CONNECTION("one", BOTH, "write") "," CONNECTION("two", BOTH, "read")), 4, false,
         false, true}, /* changed */
        /* Who may use it is part of what it is: all of it is got anew. */
        {CONFIG(CONNECTION("one", "\"agent1\"", "read") "," CONNECTION("two", BOTH, "read")), 4,
         false, false, true},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct scene scene;
        struct th_dropped dropped;
        scene_open(&scene);
        struct th_directory *before = th_directory_ref(scene.directory);
        scene_force(&scene, cases[i].config, &dropped, cases[i].n);
        /* Named as they were. */
        assert_ptr_equal(dropped.directory, before);
        assert_int_equal(holds(&dropped, "one.1.alice"), !cases[i].one_1);
        assert_int_equal(holds(&dropped, "one.2.alice"), !cases[i].one_2);
        assert_int_equal(holds(&dropped, "two.1.alice"), !cases[i].two_1);
        assert_int_equal(scene_has(&scene, "one", 0, "alice"), cases[i].one_1);
        th_dropped_fini(&dropped);
        th_directory_unref(before);
        scene_close(&scene);
    }
}

/* A request that began by the configuration before gets its credential; nobody else does. */
static void what_is_got_for_a_place_that_is_gone_is_not_kept(void **state)
{
    struct scene scene;
    struct asker before, after, failed;
    struct th_exchange_result result = result_of_token(130000);
    struct th_exchange_result refused = result_of_error(TH_E_ACCESS_DENIED);
    scene_open(&scene);
    struct th_directory *old = th_directory_ref(scene.directory);
    assert_int_equal(scene_ask(&scene, old, "two", 0, "carol", &before), TH_AGAIN);
    scene_force(&scene, CONFIG(CONNECTION("one", BOTH, "read")), NULL, 4);
    assert_int_equal(scene_ask(&scene, old, "two", 1, "carol", &after), TH_AGAIN);
    office_end_all(&scene.house.offices[0], &result, "t");
    assert_string_equal(before.value, "Bearer t");
    assert_string_equal(after.value, "Bearer t");
    assert_int_equal(scene_ask(&scene, old, "two", 0, "dave", &failed), TH_AGAIN);
    office_end_all(&scene.house.offices[0], &refused, NULL);
    assert_int_equal(failed.error, TH_E_ACCESS_DENIED);
    assert_int_equal(house_count(&scene.house).entries, 4);
    assert_int_equal(house_count(&scene.house).pending, 0);
    th_directory_unref(old);
    scene_close(&scene);
}

/* A new key or secret shows at once, although the connection is the same. */
static void our_own_failures_do_not_outlive_a_configuration(void **state)
{
    static const struct {
        int error;
        bool stays;
    } cases[] = {{TH_E_EXCHANGE_CLIENT, false}, {TH_E_EXCHANGE_MISMATCH, false},
                 {TH_E_EXCHANGE_FAILED, false}, {TH_E_EXCHANGE_DOWN, true},
                 {TH_E_EXCHANGE_TIMEOUT, true}, {TH_E_SUBJECT_REFUSED, true},
                 {TH_E_ACCESS_DENIED, true}};
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct scene scene;
        struct asker remembered, flying;
        struct th_exchange_result result = result_of_error(cases[i].error);
        int expected = cases[i].stays ? cases[i].error : TH_AGAIN;
        scene_open(&scene);
        assert_int_equal(scene_ask(&scene, scene.directory, "one", 0, "carol", &remembered),
                         TH_AGAIN);
        office_end_all(&scene.house.offices[0], &result, NULL);
        assert_int_equal(scene_ask(&scene, scene.directory, "one", 0, "carol", &remembered),
                         cases[i].error);
        assert_int_equal(scene_ask(&scene, scene.directory, "one", 0, "dave", &flying), TH_AGAIN);
        scene_force(&scene, USUAL, NULL, cases[i].stays ? 0 : 1);
        assert_int_equal(scene_ask(&scene, scene.directory, "one", 0, "carol", &remembered),
                         expected);
        th_broker_leave(&remembered.waiter);
        office_end_all(&scene.house.offices[0], &result, NULL); /* begun by the old key */
        assert_int_equal(flying.error, cases[i].error);
        assert_int_equal(scene_ask(&scene, scene.directory, "one", 0, "dave", &flying), expected);
        th_broker_leave(&flying.waiter);
        scene_close(&scene);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_filter_says_is_dropped),
        cmocka_unit_test(a_fingerprint_that_is_none_fits_nobody),
        cmocka_unit_test(what_nobody_wants_is_given_back),
        cmocka_unit_test(r14_an_exchange_in_flight_fills_nothing),
        cmocka_unit_test(r14_what_is_being_renewed_goes_too),
        cmocka_unit_test(every_state_is_listed),
        cmocka_unit_test(the_list_is_bounded),
        cmocka_unit_test(many_are_each_met_once_in_small_steps),
        cmocka_unit_test(what_has_no_place_any_more_is_dropped),
        cmocka_unit_test(what_is_got_for_a_place_that_is_gone_is_not_kept),
        cmocka_unit_test(our_own_failures_do_not_outlive_a_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
