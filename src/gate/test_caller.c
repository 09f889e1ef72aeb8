#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokenhop/base/check.h"
#include "tokenhop/gate/caller.h"
#include "tokenhop/gate/caller_password.h"
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

/* --- by lines of files with hashes --- */

#define N_MIXED 6
/* Users a (two digests), b (slow), c (plain), d (slow); robots: a digest, slow. */
static struct th_config_caller mixed[N_MIXED];
static struct th_config_password mixed_lines[N_MIXED + 1];
static const struct th_config_view mixed_config = {
    .callers = mixed, .n_callers = N_MIXED, .users_version = {1}, .slow_bearers = {.n = 0}};

static void add_line(size_t caller, bool is_slow, const char *text, size_t len, size_t at)
{
    struct th_config_passwords *lines = is_slow ? &mixed[caller].slow : &mixed[caller].fast;
    if (lines->n++ == 0)
        lines->items = &mixed_lines[at];
    mixed_lines[at].caller = &mixed[caller];
    th_broker_digest((struct th_str){text, len}, mixed_lines[at].digest);
}
#define LINE(caller, is_slow, text, at) add_line(caller, is_slow, text, sizeof text - 1, at)

static void make_mixed(void)
{
    static const char *const users[N_MIXED] = {"a", "b", "c", "d"};
    memset(mixed, 0, sizeof mixed);
    for (size_t i = 0; i < N_MIXED; i++) {
        mixed[i].agent = &agent1;
        mixed[i].user = th_str_of(users[i]);
        mixed[i].proof = i < 4 ? TH_CALLER_BASIC : TH_CALLER_BEARER;
    }
    /* printf %s password-of-a | sha256sum; "old-password-a"; "token-of-robot" */
    LINE(0, false, "a\0sha256:be333e7fd6e1cb7f5c2358ee2d97d57467ec89d276c1e611382fc7a4ac2c9ec6", 0);
    LINE(0, false, "a\0sha256:f0b09ad13fc162d8fa2251374b3898a59ad0fef353db03f6da3fecfcc9d21f1c", 1);
    LINE(1, true, "b\0$y$slow", 2);
    th_broker_digest(TH_STR("c:password-of-c"), mixed[2].digest);
    LINE(3, true, "d\0$y$slow", 3);
    LINE(4, false, "\0sha256:2a013eaad3d81d4286a104b67479a3fed2f1cf68d4c9a9933fee3a2beb4e354f", 4);
    LINE(5, true, "\0$y$slow", 5);
}

static const struct th_config_caller *tell_mixed(const char *fields)
{
    return tell_of(&mixed_config, fields, &nothing);
}

static void by_digests(void **state)
{
    (void)state;
    make_mixed();
    assert_ptr_equal(tell_mixed(BASIC(A)), &mixed[0]);
    assert_ptr_equal(tell_mixed(BASIC("YTpvbGQtcGFzc3dvcmQtYQ==")), &mixed[0]);
    assert_ptr_equal(tell_mixed(BASIC("YzpwYXNzd29yZC1vZi1j")), &mixed[2]);
    assert_ptr_equal(tell_mixed("Proxy-Authorization: Bearer token-of-robot\r\n"), &mixed[4]);
    static const char *const fields[] = {
        BASIC("YTpwYXNzd29yZC1vZi1i"),                   /* a:password-of-b */
        BASIC("YjpwYXNzd29yZC1vZi1h"),                   /* b:password-of-a */
        BASIC("YTp0b2tlbi1vZi1yb2JvdA=="),               /* a:token-of-robot */
        BASIC("OnRva2VuLW9mLXJvYm90"),                   /* :token-of-robot */
        BASIC("YTo="),                                   /* a: */
        BASIC("YQ=="),                                   /* a */
        BASIC("Og=="),                                   /* : */
        "Proxy-Authorization: Bearer password-of-a\r\n", /* of another kind */
        "Proxy-Authorization: Bearer a:password-of-a\r\n",
        "Proxy-Authorization: Bearer sha256:2a013eaad3d81d4286a104b67479a3fed2f1cf68d4c9a9933fee3a2beb4e354f\r\n",
        BASIC(
            "YTpzaGEyNTY6YmUzMzNlN2ZkNmUxY2I3ZjVjMjM1OGVlMmQ5N2Q1NzQ2N2VjODlkMjc2YzFlNjExMzgyZmM3YTRhYzJjOWVjNg=="),
        BASIC("YjokeSRzbG93"),
        "Proxy-Authorization: Bearer $y$slow\r\n",
    };
    for (size_t i = 0; i < TH_COUNT_OF(fields); i++)
        if (tell_mixed(fields[i]) != NULL)
            fail_msg("%s", fields[i]);
}

/* A tunnel lasts as long as the line that opened it. */
static void as_long_as_the_line_is_there(void **state)
{
    (void)state;
    struct th_caller_proof_shown shown = {.proof = TH_CALLER_BASIC, .is_line = true};
    make_mixed();
    memcpy(shown.digest, mixed_lines[2].digest, 32);
    assert_ptr_equal(th_caller_find(&mixed_config, &nothing, &shown), &mixed[1]);
    shown.proof = TH_CALLER_BEARER;
    assert_null(th_caller_find(&mixed_config, &nothing, &shown));
    shown.proof = TH_CALLER_BASIC;
    shown.is_line = false;
    assert_null(th_caller_find(&mixed_config, &nothing, &shown));
    /* Nobody has no digest. */
    memset(shown.digest, 0, sizeof shown.digest);
    assert_null(th_caller_find(&mixed_config, &nothing, &shown));
    shown.is_line = true;
    memcpy(shown.digest, mixed_lines[1].digest, 32);
    assert_ptr_equal(th_caller_find(&mixed_config, &nothing, &shown), &mixed[0]);
    mixed[0].fast.n = 1;
    assert_null(th_caller_find(&mixed_config, &nothing, &shown));
}

static void which_hashes_are_asked(void **state)
{
    (void)state;
    struct th_caller_text text = {.proof = TH_CALLER_BASIC, .password = TH_STR("x")};
    struct th_caller_hashes hashes, again;
    struct th_config_view other = mixed_config;
    size_t n_of[4] = {0}, n_moved = 0;
    char name[16];
    make_mixed();
    text.user = TH_STR("b");
    assert_true(th_caller_find_hashes(&mixed_config, &text, &hashes));
    assert_ptr_equal(hashes.passwords, &mixed[1].slow);
    assert_false(hashes.is_stand_in);
    text.user = TH_STR("a");
    assert_false(th_caller_find_hashes(&mixed_config, &text, &hashes));
    text.user = TH_STR("c");
    assert_false(th_caller_find_hashes(&mixed_config, &text, &hashes));
    /* Who is nobody is as often treated as one caller as as another, and always as the same. */
    other.users_version[0] = 2;
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(name, sizeof name, "nobody%d", i);
        text.user = th_str_of(name);
        bool is_slow = th_caller_find_hashes(&mixed_config, &text, &hashes);
        assert_int_equal(th_caller_find_hashes(&mixed_config, &text, &again), is_slow);
        assert_ptr_equal(hashes.passwords, again.passwords);
        assert_true(hashes.is_stand_in);
        for (size_t k = 0; k < 4; k++)
            n_of[k] += hashes.passwords == &mixed[k].slow;
        (void)th_caller_find_hashes(&other, &text, &again);
        n_moved += hashes.passwords != again.passwords;
    }
    for (size_t k = 0; k < 4; k++)
        assert_in_range(n_of[k], 150, 350);
    assert_in_range(n_moved, 600, 900);
    /* A bearer token names nobody. */
    text.proof = TH_CALLER_BEARER;
    assert_false(th_caller_find_hashes(&mixed_config, &text, &hashes));
    other.slow_bearers = mixed[5].slow;
    assert_true(th_caller_find_hashes(&other, &text, &hashes));
    assert_ptr_equal(hashes.passwords, &other.slow_bearers);
    assert_false(hashes.is_stand_in);
    text.proof = TH_CALLER_BASIC;
    assert_false(th_caller_find_hashes(&(const struct th_config_view){0}, &text, &hashes));
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
        cmocka_unit_test(each_by_its_own_proof),
        cmocka_unit_test(nobody),
        cmocka_unit_test(what_is_too_long),
        cmocka_unit_test(who_is_not_there_any_more),
        cmocka_unit_test(by_the_peer),
        cmocka_unit_test(by_digests),
        cmocka_unit_test(as_long_as_the_line_is_there),
        cmocka_unit_test(which_hashes_are_asked),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
