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

/* The caller that a request with these fields is of; NULL: refused. */
static const struct th_config_caller *tell(const char *fields)
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
    int error = th_caller_tell(&config, &head, &caller, &shown, &detail);
    assert_int_equal(error, caller != NULL ? 0 : TH_E_CALLER);
    if (caller == NULL)
        assert_non_null(detail);
    else
        assert_ptr_equal(th_caller_find(&config, &shown), caller);
    return caller;
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
    struct th_caller_proof_shown shown = {.is_basic = true};
    const struct th_config_view less = {.callers = callers + 1, .n_callers = 2};
    memcpy(shown.digest, callers[0].digest, sizeof shown.digest);
    assert_ptr_equal(th_caller_find(&config, &shown), &callers[0]);
    assert_null(th_caller_find(&less, &shown));
    assert_null(th_caller_find(&(struct th_config_view){0}, &shown));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_by_its_own_proof),
        cmocka_unit_test(nobody),
        cmocka_unit_test(what_is_too_long),
        cmocka_unit_test(who_is_not_there_any_more),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
