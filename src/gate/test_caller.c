#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokenhop/base/check.h"
#include "tokenhop/gate/caller.h"
#include "tokenhop/http/http1.h"
#include "tokenhop/token/broker.h"

static const struct th_config_agent agent1, agent2;
static struct th_config_caller callers[] = {
    {.name = TH_STR("team-a"), .agent = &agent1, .proof = TH_CALLER_BASIC, .user = TH_STR("a")},
    {.name = TH_STR("team-b"), .agent = &agent2, .proof = TH_CALLER_BASIC, .user = TH_STR("b")},
    {.name = TH_STR("robot"), .agent = &agent2, .proof = TH_CALLER_BEARER},
};
static const struct th_config_view config = {.callers = callers, .n_callers = 3};

static int setup(void **state)
{
    (void)state;
    th_broker_digest(TH_STR("a:password-of-a"), callers[0].digest);
    th_broker_digest(TH_STR("b:password-of-b"), callers[1].digest);
    th_broker_digest(TH_STR("token-of-robot"), callers[2].digest);
    return 0;
}

/* The caller that a request with these fields is of, over a connection of which that is known; NULL: refused. */
static const struct th_config_caller *tell_of(const struct th_config_view *view, const char *fields,
                                              const struct th_caller_facts *facts)
{
    char text[4096];
    struct th_field room[16];
    struct th_head head = {.fields = room, .max_fields = 16};
    const struct th_http1_limits limits = {sizeof text, 16};
    const struct th_config_caller *caller;
    struct th_caller_proof_shown shown;
    const char *detail = NULL;
    size_t scanned = 0;
    int len = snprintf(text, sizeof text, "GET http://x.test/ HTTP/1.1\r\nHost: x.test\r\n%s\r\n",
                       fields);
    assert_int_equal(th_http1_parse_request(&head, text, (size_t)len, &scanned, &limits), 0);
    int error = th_caller_tell(view, &head, facts, &caller, &shown, &detail);
    assert_int_equal(error, caller != NULL ? 0 : TH_E_CALLER);
    if (caller == NULL)
        assert_non_null(detail);
    else
        assert_ptr_equal(th_caller_find(view, facts, &shown), caller);
    return caller;
}

static const struct th_caller_facts nothing;

static const struct th_config_caller *tell(const char *fields)
{
    return tell_of(&config, fields, &nothing);
}

#define BASIC(text) "Proxy-Authorization: Basic " text "\r\n"
#define A "YTpwYXNzd29yZC1vZi1h" /* a:password-of-a */
#define B "YjpwYXNzd29yZC1vZi1i"

static void each_by_its_own_proof(void **state)
{
    (void)state;
    assert_ptr_equal(tell(BASIC(A)), &callers[0]);
    assert_ptr_equal(tell(BASIC(B)), &callers[1]);
    assert_ptr_equal(tell("proxy-authorization: bAsIc   " A "\r\n"), &callers[0]);
    assert_ptr_equal(tell("Proxy-Authorization: Bearer token-of-robot\r\n"), &callers[2]);
}

static void nobody(void **state)
{
    (void)state;
    static const char *const fields[] = {
        "",
        "Authorization: Basic " A "\r\n",
        BASIC(""),
        BASIC("YTpwYXNzd29yZC1vZi1i"),     /* a:password-of-b */
        BASIC("YjpwYXNzd29yZC1vZi1h"),     /* b:password-of-a */
        BASIC("YQ=="),                     /* a */
        BASIC("dG9rZW4tb2Ytcm9ib3Q="),     /* token-of-robot */
        BASIC("YTpwYXNzd29yZC1vZi1hAA=="), /* and a NUL */
        BASIC("YTpwYXNzd29yZC1vZi1"),      /* no whole group */
        BASIC("!!!!"),
        BASIC("===="),
        BASIC(A) BASIC(A),
        BASIC(A) "Proxy-Authorization: Bearer token-of-robot\r\n",
        "Proxy-Authorization: Bearer a:password-of-a\r\n",
        "Proxy-Authorization: Bearer token-of-robo\r\n",
        "Proxy-Authorization: Bearer token-of-robot2\r\n",
        "Proxy-Authorization: Bearertoken-of-robot\r\n",
        "Proxy-Authorization: token-of-robot\r\n",
        "Proxy-Authorization: Digest username=\"a\"\r\n",
        "Proxy-Authorization: Basic\r\n",
    };
    for (size_t i = 0; i < TH_COUNT_OF(fields); i++) {
        if (tell(fields[i]) != NULL)
            fail_msg("%s", fields[i]);
    }
}

static void what_is_too_long(void **state)
{
    (void)state;
    char fields[3000] = "Proxy-Authorization: Basic ";
    size_t len = strlen(fields);
    memset(fields + len, 'A', 2048);
    memcpy(fields + len + 2048, "\r\n", 3);
    assert_null(tell(fields));
}

static void who_is_not_there_any_more(void **state)
{
    (void)state;
    struct th_caller_proof_shown shown = {.proof = TH_CALLER_BASIC};
    const struct th_config_view less = {.callers = callers + 1, .n_callers = 2};
    memcpy(shown.digest, callers[0].digest, sizeof shown.digest);
    assert_ptr_equal(th_caller_find(&config, &nothing, &shown), &callers[0]);
    assert_null(th_caller_find(&less, &nothing, &shown));
    assert_null(th_caller_find(&(struct th_config_view){0}, &nothing, &shown));
}

/* --- at the other end of a unix socket --- */

static const struct th_config_caller unix_callers[] = {
    {.name = TH_STR("many"),
     .agent = &agent1,
     .proof = TH_CALLER_UNIX,
     .is_group = true,
     .unix_id = 50},
    {.name = TH_STR("few"),
     .agent = &agent2,
     .proof = TH_CALLER_UNIX,
     .is_group = true,
     .unix_id = 60},
    {.name = TH_STR("one"), .agent = &agent2, .proof = TH_CALLER_UNIX, .unix_id = 1000},
    {.name = TH_STR("root"), .agent = &agent1, .proof = TH_CALLER_UNIX, .unix_id = 0},
    {.name = TH_STR("wheel"),
     .agent = &agent1,
     .proof = TH_CALLER_UNIX,
     .is_group = true,
     .unix_id = 0},
    {.name = TH_STR("team-a"), .agent = &agent1, .proof = TH_CALLER_BASIC, .user = TH_STR("a")},
};

static void by_the_peer(void **state)
{
    (void)state;
    static const struct {
        unsigned uid, gid, group; /* group 0: no supplementary one */
        int wanted;               /* -1: nobody */
    } rows[] = {
        {1000, 1000, 0, 2},  {1000, 50, 60, 2}, {1001, 50, 0, 0}, {1001, 1001, 50, 0},
        {1001, 60, 50, 0},   {1001, 60, 0, 1},  {0, 7, 0, 3},     {1001, 0, 0, 4},
        {1001, 1001, 0, -1}, {50, 1000, 0, -1}, {60, 1, 0, -1},   {4294967294u, 4294967294u, 0, -1},
    };
    struct th_config_caller all[TH_COUNT_OF(unix_callers)];
    const struct th_config_view view = {.callers = all, .n_callers = TH_COUNT_OF(all)};
    struct th_unix_peer *peer = calloc(1, sizeof *peer + sizeof peer->groups[0]);
    const struct th_caller_facts facts = {.peer = peer};

    memcpy(all, unix_callers, sizeof all);
    memcpy(all[5].digest, callers[0].digest, sizeof all[5].digest);
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        *peer = (struct th_unix_peer){
            .uid = rows[i].uid, .gid = rows[i].gid, .n_groups = rows[i].group != 0};
        peer->groups[0] = rows[i].group;
        const struct th_config_caller *caller = tell_of(&view, "", &facts);
        if (caller != (rows[i].wanted < 0 ? NULL : &all[rows[i].wanted]))
            fail_msg("row %zu", i);
        /* What a request says of itself goes before, right or wrong. */
        assert_ptr_equal(tell_of(&view, BASIC(A), &facts), &all[5]);
        assert_null(tell_of(&view, BASIC(B), &facts));
        assert_null(tell_of(&view, "Proxy-Authorization: Bearer x\r\n", &facts));
        assert_null(tell_of(&view, BASIC(A) BASIC(A), &facts));
    }
    /* Not over a unix socket: neither root nor anybody, though all is zero there. */
    assert_null(tell_of(&view, "", &nothing));
    /* No digest of nothing is taken for one. */
    assert_null(tell_of(&view, BASIC(""), &nothing));
    free(peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_by_its_own_proof), cmocka_unit_test(nobody),
        cmocka_unit_test(what_is_too_long),      cmocka_unit_test(who_is_not_there_any_more),
        cmocka_unit_test(by_the_peer),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
