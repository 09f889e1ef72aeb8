/* Tokens of workloads: whose they claim to be, and when they hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokenhop/base/check.h"
#include "tokenhop/oauth/workload.h"

#define ISS "'iss':'https://cluster.example'"
#define SUB "'sub':'system:serviceaccount:team-a:agent1'"
#define AUD "'aud':['tokenhop','other']"
#define BOUND                                                                                      \
    "'kubernetes.io':{'namespace':'team-a','serviceaccount':{'name':'agent1','uid':'u'},'pod':{}}"

static const struct th_config_authorization_server issuer = {.issuer =
                                                                 TH_STR("https://cluster.example")};
static const struct th_config_workload workload = {.issuer = &issuer,
                                                   .audience = TH_STR("tokenhop"),
                                                   .namespace_name = TH_STR("team-a"),
                                                   .service_account = TH_STR("agent1")};

/* ' stands for ". */
static json_t *claims_of(const char *members)
{
    char text[2048];
    int len = snprintf(text, sizeof text, "{%s}", members);
    for (int i = 0; i < len; i++)
        text[i] = text[i] == '\'' ? '"' : text[i];
    json_t *claims = json_loads(text, 0, NULL);
    assert_non_null(claims);
    return claims;
}

static void whose_it_claims_to_be(void **state)
{
    (void)state;
    static const struct {
        const char *members;
        bool is;
    } rows[] = {
        {ISS "," SUB "," AUD "," BOUND, true},
        {ISS "," SUB ",'aud':'tokenhop'", true},
        {SUB "," AUD "," BOUND, false},
        {"'iss':'https://cluster.example/'," SUB "," AUD "," BOUND, false},
        {"'iss':['https://cluster.example']," SUB "," AUD "," BOUND, false},
        {ISS "," AUD "," BOUND, false},
        {ISS "," SUB "," BOUND, false},
        {ISS "," SUB ",'aud':[]," BOUND, false},
        {ISS "," SUB ",'aud':'tokenhop2'," BOUND, false},
        {ISS "," SUB ",'aud':['Tokenhop']," BOUND, false},
        {ISS ",'sub':'system:serviceaccount:team-a:agent2'," AUD "," BOUND, false},
        {ISS ",'sub':'system:serviceaccount:team-b:agent1'," AUD, false},
        {ISS ",'sub':'system:serviceaccount:team-a:agent1x'," AUD, false},
        {ISS ",'sub':'system:serviceaccount:team-a:agent1:'," AUD, false},
        {ISS ",'sub':'system:serviceaccount:team-a'," AUD, false},
        {ISS ",'sub':'serviceaccount:team-a:agent1'," AUD, false},
        {ISS ",'sub':'system:serviceaccount:team-aagent1:'," AUD, false},
        {ISS ",'sub':'agent1'," AUD "," BOUND, false},
        {ISS ",'sub':''," AUD, false},
        {ISS "," SUB "," AUD
             ",'kubernetes.io':{'namespace':'team-b','serviceaccount':{'name':'agent1'}}",
         false},
        {ISS "," SUB "," AUD
             ",'kubernetes.io':{'namespace':'team-a','serviceaccount':{'name':'agent2'}}",
         false},
        {ISS "," SUB "," AUD ",'kubernetes.io':{'namespace':'team-a'}", false},
        {ISS "," SUB "," AUD ",'kubernetes.io':{}", false},
        {ISS "," SUB "," AUD ",'kubernetes.io':null", false},
        {ISS "," SUB "," AUD ",'kubernetes.io':'team-a'", false},
        {"", false},
    };
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        json_t *claims = claims_of(rows[i].members);
        if (th_workload_is_claimed(&workload, claims) != rows[i].is)
            fail_msg("%s", rows[i].members);
        json_decref(claims);
    }
}

static void when_it_holds(void **state)
{
    (void)state;
    static const struct {
        const char *members;
        int error;
    } rows[] = {
        {"'exp':1001", 0},
        {"'exp':1000", TH_E_CALLER},
        {"'exp':999", TH_E_CALLER},
        {"'exp':1000.5", 0},
        {"'exp':'2000'", TH_E_CALLER},
        {"", TH_E_CALLER},
        {"'exp':2000,'nbf':1060", 0},
        {"'exp':2000,'nbf':1061", TH_E_CALLER},
        {"'exp':2000,'nbf':'1'", TH_E_CALLER},
        {"'exp':2000,'iat':1060,'nbf':900", 0},
        {"'exp':2000,'iat':1061", TH_E_CALLER},
        {"'exp':-1", TH_E_CALLER},
    };
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        const char *why = NULL;
        json_t *claims = claims_of(rows[i].members);
        if (th_workload_check_times(claims, 1000000, &why) != rows[i].error)
            fail_msg("%s", rows[i].members);
        assert_non_null(why);
        json_decref(claims);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whose_it_claims_to_be),
        cmocka_unit_test(when_it_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
