/* Kept assertions: whose they are, how long, how many. */
#include "test_support.h"
#include "tokenhop/base/check.h"
#include "tokenhop/oauth/grants.h"

static struct th_config_agent agent = {.name = TH_STR("a"), .client_id = TH_STR("c")};
static struct th_config_connection connection = {.name = TH_STR("x"), .scope_text = TH_STR("s")};

static void key_of(const char *subject, uint8_t key[TH_GRANT_KEY_LEN])
{
    assert_int_equal(th_grant_key(&agent, &connection, th_str_of(subject), key), 0);
}

static struct th_secret *grant_of(const char *text)
{
    struct th_secret *grant = th_secret_new(text, strlen(text));
    assert_non_null(grant);
    return grant;
}

/* Nobody's but the same subject's, of the same agent, by the same version of the same connection. */
static void keys_differ(void **state)
{
    (void)state;
    uint8_t key[TH_GRANT_KEY_LEN], other[TH_GRANT_KEY_LEN];
    const struct th_config_agent agent_before = agent;
    const struct th_config_connection before = connection;
    key_of("t1", key);
    key_of("t1", other);
    assert_memory_equal(key, other, sizeof key);
    key_of("t2", other);
    assert_memory_not_equal(key, other, sizeof key);
    connection.version[15] = 1;
    key_of("t1", other);
    assert_memory_not_equal(key, other, sizeof key);
    connection = before;
    connection.name = TH_STR("y");
    key_of("t1", other);
    assert_memory_not_equal(key, other, sizeof key);
    connection = before;
    agent.name = TH_STR("b");
    key_of("t1", other);
    assert_memory_not_equal(key, other, sizeof key);
    agent = agent_before;
    /* it may be bound to the DPoP key, which is looked at only where there are proofs */
    agent.dpop_key.alg = TH_ALG_ES256;
    key_of("t1", other);
    assert_memory_equal(key, other, sizeof key);
    connection.dpop = TH_DPOP_BOUND_ID_JAG;
    key_of("t1", key);
    agent.dpop_key.key = grant_of("another key");
    key_of("t1", other);
    assert_memory_not_equal(key, other, sizeof key);
    th_secret_unref(agent.dpop_key.key);
    agent = agent_before;
    connection = before;
    key_of("t1", key);
    /* texts do not run together */
    agent.name = TH_STR("ac");
    agent.client_id = TH_STR("");
    key_of("t1", other);
    assert_memory_not_equal(key, other, sizeof key);
    agent = agent_before;
}

static void one_ends_and_is_wiped(void **state)
{
    (void)state;
    struct th_grants *grants;
    uint8_t key[TH_GRANT_KEY_LEN];
    struct th_secret *first = grant_of("first"), *second = grant_of("second");
    assert_int_equal(th_grants_new(&grants), 0);
    key_of("t1", key);
    assert_null(th_grants_find(grants, key, 0));
    th_grants_keep(grants, key, 0, first, 100);
    th_secret_unref(first);
    struct th_secret *found = th_grants_find(grants, key, 99);
    assert_true(th_str_equal(th_secret_expose(found), TH_STR("first")));
    th_secret_unref(found);
    th_grants_keep(grants, key, 0, second, 200); /* in its place */
    th_secret_unref(second);
    found = th_grants_find(grants, key, 150);
    assert_true(th_str_equal(th_secret_expose(found), TH_STR("second")));
    th_secret_unref(found);
    assert_null(th_grants_find(grants, key, 200));
    assert_int_equal(th_secret_bytes_held(), 0);
    th_grants_unref(grants);
}

static void they_are_bounded_dropped_and_cleared(void **state)
{
    (void)state;
    struct th_grants *grants;
    uint8_t key[TH_GRANT_KEY_LEN];
    char subject[16];
    struct th_secret *grant = grant_of("g");
    assert_int_equal(th_grants_new(&grants), 0);
    for (int i = 0; i <= TH_GRANTS_MAX; i++) {
        (void)snprintf(subject, sizeof subject, "t%d", i);
        key_of(subject, key);
        th_grants_keep(grants, key, 0, grant, 1000 + i);
    }
    key_of("t0", key); /* it would have ended first */
    assert_null(th_grants_find(grants, key, 0));
    for (int i = 1; i <= TH_GRANTS_MAX; i++) {
        (void)snprintf(subject, sizeof subject, "t%d", i);
        key_of(subject, key);
        struct th_secret *found = th_grants_find(grants, key, 0);
        assert_ptr_equal(found, grant);
        th_secret_unref(found);
        if (i % 2 == 0)
            th_grants_drop(grants, key);
        if (i % 2 == 0)
            assert_null(th_grants_find(grants, key, 0));
    }
    th_grants_clear(grants);
    key_of("t1", key);
    assert_null(th_grants_find(grants, key, 0));
    /* What was asked for before does not come back; what is asked for then is kept. */
    th_grants_keep(grants, key, 0, grant, 1000);
    assert_null(th_grants_find(grants, key, 0));
    th_grants_keep(grants, key, th_grants_epoch(grants), grant, 1000);
    th_secret_unref(grant);
    struct th_secret *found = th_grants_find(grants, key, 0);
    assert_ptr_equal(found, grant);
    th_secret_unref(found);
    th_grants_clear(grants);
    assert_int_equal(th_secret_bytes_held(), 0);
    th_grants_unref(grants);
    th_grants_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_differ),
        cmocka_unit_test(one_ends_and_is_wiped),
        cmocka_unit_test(they_are_bounded_dropped_and_cleared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
