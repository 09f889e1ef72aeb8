#include <stdio.h>

#include "issued.h"
#include "test_support.h"
#include "token_endpoint.h"
#include "tokenhop/base/check.h"

/* ' stands for ". NULL is opaque. */
static json_t *claims_of(const char *text)
{
    if (text == NULL)
        return NULL;
    char *copy = th_strdup(text);
    assert_non_null(copy);
    for (char *c = copy; *c != '\0'; c++)
        *c = *c == '\'' ? '"' : *c;
    json_t *claims = json_loads(copy, 0, NULL);
    if (claims == NULL)
        fail_msg("%s", text);
    th_free(copy);
    return claims;
}

enum which { ID_JAG_CHECK, ACCESS_TOKEN_CHECK, ID_JAG_NOTE, ACCESS_TOKEN_NOTE };

static const char *look(struct world *w, enum which which, const char *subject,
                        enum th_subject_type type, const char *answer, const char *claims)
{
    json_t *const parts[] = {claims_of(subject), claims_of(answer), claims_of(claims),
                             claims_of("{'typ':'oauth-id-jag+jwt'}")};
    const struct th_issued issued = {.agent = &w->agent,
                                     .connection = &w->connection,
                                     .subject_type = type,
                                     .subject = parts[0],
                                     .header = parts[3],
                                     .claims = parts[2],
                                     .answer = parts[1]};
    const char *why = NULL;
    int error = 0;
    switch (which) {
    case ID_JAG_CHECK:
        error = th_issued_check_id_jag(&issued, &why);
        break;
    case ACCESS_TOKEN_CHECK:
        error = th_issued_check_access_token(&issued, &why);
        break;
    case ID_JAG_NOTE:
        why = th_issued_note_id_jag(&issued);
        break;
    case ACCESS_TOKEN_NOTE:
        why = th_issued_note_access_token(&issued);
        break;
    }
    if (which == ID_JAG_CHECK || which == ACCESS_TOKEN_CHECK)
        assert_int_equal(error, why != NULL ? TH_E_EXCHANGE_MISMATCH : 0);
    for (size_t i = 0; i < 4; i++)
        json_decref(parts[i]);
    return why;
}

static void r26_id_jag_audience(void **state)
{
    (void)state;
    static const struct {
        const char *claims;
        bool is_fine;
    } cases[] = {
        {"{'aud':'" CUSTOM "'}", true},
        {"{'aud':['" CUSTOM "']}", true},
        {NULL, true},
        {"{'aud':['" CUSTOM "','https://evil.example']}", false},
        {"{'aud':['" CUSTOM "','" CUSTOM "']}", false},
        {"{'aud':'" CUSTOM "/'}", false},
        {"{'aud':'" CUSTOM_TOKEN "'}", false},
        {"{'aud':[]}", false},
        {"{'aud':7}", false},
        {"{}", false},
    };
    struct world w;
    world_open(&w, NULL, TH_ALG_ES256);
    w.connection.issued_checks = (struct th_config_issued_checks){0}; /* never switched off */
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        const char *why =
            look(&w, ID_JAG_CHECK, NULL, TH_SUBJECT_ACCESS_TOKEN, "{}", cases[i].claims);
        if ((why == NULL) != cases[i].is_fine)
            fail_msg("%s", cases[i].claims);
    }
    world_close(&w);
}

#define MACHINE "{'sub':'0oaC','cid':'0oaC'}"
#define USER_ID "{'sub':'00uAlice','aud':'wlpA1'}"
#define CHAINED "{'sub':'0oaC','act':{'sub':'wlpA0','act':{'sub':'0oaC'}}}"
#define ACT_A1_C "'act':{'sub':'wlpA1','act':{'sub':'0oaC'}}"
#define ACT_A1 "'act':{'sub':'wlpA1'}"

static void r26_what_was_issued_is_what_was_asked_for(void **state)
{
    (void)state;
    static const struct {
        const char *subject;
        enum th_subject_type type;
        const char *answer, *claims;
        const char *refused_by; /* NULL: fine */
    } cases[] = {
        /* as documented */
        {MACHINE, TH_SUBJECT_ACCESS_TOKEN, "{'scope':'chat.read chat.history'}",
         "{'sub':'0oaC','aud':'" AGENT2 "','scope':'chat.read chat.history'," ACT_A1_C "}", NULL},
        {MACHINE, TH_SUBJECT_ACCESS_TOKEN, "{}",
         "{'sub':'0oaC','aud':['" AGENT2 "'],'scp':['chat.read']," ACT_A1_C "}", NULL},
        {USER_ID, TH_SUBJECT_ID_TOKEN, "{}", "{'sub':'00uAlice','aud':'" AGENT2 "'," ACT_A1 "}",
         NULL},
        /* as measured at Okta: the login, and the identifier in uid */
        {USER_ID, TH_SUBJECT_ID_TOKEN, "{}",
         "{'sub':'alice@example.com','uid':'00uAlice','aud':'" AGENT2 "'," ACT_A1 "}", NULL},
        {"{'sub':'alice@example.com','uid':'00uAlice','act':{'sub':'wlpA0'}}",
         TH_SUBJECT_ACCESS_TOKEN, "{}",
         "{'sub':'00uAlice','aud':'" AGENT2 "','act':{'sub':'wlpA1','act':{'sub':'wlpA0'}}}", NULL},
        /* opaque on either side */
        {NULL, TH_SUBJECT_ACCESS_TOKEN, "{}",
         "{'sub':'who','aud':'" AGENT2 "','act':{'sub':'wlpA1'}}", NULL},
        {MACHINE, TH_SUBJECT_ACCESS_TOKEN, "{'scope':'chat.read'}", NULL, NULL},
        {MACHINE, TH_SUBJECT_ACCESS_TOKEN, "{'scope':'chat.admin'}", NULL, "scope"},
        /* audience */
        {USER_ID, TH_SUBJECT_ID_TOKEN, "{}",
         "{'sub':'00uAlice','aud':'https://agent3.example.com'," ACT_A1 "}", "audience"},
        {USER_ID, TH_SUBJECT_ID_TOKEN, "{}", "{'sub':'00uAlice'," ACT_A1 "}", "audience"},
        {USER_ID, TH_SUBJECT_ID_TOKEN, "{}", "{'sub':'00uAlice','aud':'" AGENT2 "/'," ACT_A1 "}",
         "audience"},
        /* subject */
        {USER_ID, TH_SUBJECT_ID_TOKEN, "{}", "{'sub':'00uBob','aud':'" AGENT2 "'," ACT_A1 "}",
         "subject"},
        {USER_ID, TH_SUBJECT_ID_TOKEN, "{}",
         "{'sub':'bob','uid':'00uBob','aud':'" AGENT2 "'," ACT_A1 "}", "subject"},
        {USER_ID, TH_SUBJECT_ID_TOKEN, "{}", "{'aud':'" AGENT2 "'," ACT_A1 "}", "subject"},
        /* scopes */
        {USER_ID, TH_SUBJECT_ID_TOKEN, "{'scope':'chat.read chat.admin'}",
         "{'sub':'00uAlice','aud':'" AGENT2 "'," ACT_A1 "}", "scope"},
        {USER_ID, TH_SUBJECT_ID_TOKEN, "{'scope':'chat.read'}",
         "{'sub':'00uAlice','aud':'" AGENT2 "','scp':['chat.read','x']," ACT_A1 "}", "scope"},
        {USER_ID, TH_SUBJECT_ID_TOKEN, "{}",
         "{'sub':'00uAlice','aud':'" AGENT2 "','scope':'chat.readx'," ACT_A1 "}", "scope"},
        {USER_ID, TH_SUBJECT_ID_TOKEN, "{}",
         "{'sub':'00uAlice','aud':'" AGENT2 "','scp':{'chat.read':1}," ACT_A1 "}", "scope"},
        {USER_ID, TH_SUBJECT_ID_TOKEN, "{'scope':'chat.read+chat.history'}",
         "{'sub':'00uAlice','aud':'" AGENT2 "'," ACT_A1 "}", NULL},
        {USER_ID, TH_SUBJECT_ID_TOKEN, "{'scope':'chat.read+chat.admin'}",
         "{'sub':'00uAlice','aud':'" AGENT2 "'," ACT_A1 "}", "scope"},
        {USER_ID, TH_SUBJECT_ID_TOKEN, "{'scope':''}",
         "{'sub':'00uAlice','aud':'" AGENT2 "','scope':'  '," ACT_A1 "}", NULL},
        /* chain */
        {CHAINED, TH_SUBJECT_ACCESS_TOKEN, "{}",
         "{'sub':'0oaC','aud':'" AGENT2
         "','act':{'sub':'wlpA1','act':{'sub':'wlpA0','act':{'sub':'0oaC'}}}}",
         NULL},
        {CHAINED, TH_SUBJECT_ACCESS_TOKEN, "{}", "{'sub':'0oaC','aud':'" AGENT2 "'," ACT_A1_C "}",
         "chain"},
        {CHAINED, TH_SUBJECT_ACCESS_TOKEN, "{}",
         "{'sub':'0oaC','aud':'" AGENT2 "','act':{'sub':'wlpA0','act':{'sub':'0oaC'}}}", "chain"},
        {CHAINED, TH_SUBJECT_ACCESS_TOKEN, "{}",
         "{'sub':'0oaC','aud':'" AGENT2
         "','act':{'sub':'wlpA1','act':{'sub':'0oaC','act':{'sub':'wlpA0'}}}}",
         "chain"},
        {MACHINE, TH_SUBJECT_ACCESS_TOKEN, "{}", "{'sub':'0oaC','aud':'" AGENT2 "'," ACT_A1 "}",
         "chain"},
        {"{'sub':'0oaC','client_id':'0oaC'}", TH_SUBJECT_ACCESS_TOKEN, "{}",
         "{'sub':'0oaC','aud':'" AGENT2 "'," ACT_A1 "}", "chain"},
        {MACHINE, TH_SUBJECT_ACCESS_TOKEN, "{}", "{'sub':'0oaC','aud':'" AGENT2 "'}", "chain"},
        {USER_ID, TH_SUBJECT_ID_TOKEN, "{}", "{'sub':'00uAlice','aud':'" AGENT2 "'}", "chain"},
        {USER_ID, TH_SUBJECT_ID_TOKEN, "{}", "{'sub':'00uAlice','aud':'" AGENT2 "','act':'wlpA1'}",
         "chain"},
        {USER_ID, TH_SUBJECT_ID_TOKEN, "{}",
         "{'sub':'00uAlice','aud':'" AGENT2 "','act':{'client_id':'wlpA1'}}", "chain"},
        {USER_ID, TH_SUBJECT_ID_TOKEN, "{}",
         "{'sub':'00uAlice','aud':'" AGENT2 "','act':{'sub':'wlpA2','act':{'sub':'wlpA1'}}}",
         "chain"},
        {NULL, TH_SUBJECT_ACCESS_TOKEN, "{}", "{'sub':'who','aud':'" AGENT2 "'}", "chain"},
        /* a user's access token has a client that does not act */
        {"{'sub':'00uAlice','cid':'0oaApp'}", TH_SUBJECT_ACCESS_TOKEN, "{}",
         "{'sub':'00uAlice','aud':'" AGENT2 "'," ACT_A1 "}", NULL},
        {"{'sub':'x','act':{'iss':'y'}}", TH_SUBJECT_ACCESS_TOKEN, "{}",
         "{'sub':'x','aud':'" AGENT2 "','act':{'sub':'wlpA1','act':{'iss':'y'}}}", "chain"},
    };
    struct world w;
    world_open(&w, NULL, TH_ALG_ES256);
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        const char *why = look(&w, ACCESS_TOKEN_CHECK, cases[i].subject, cases[i].type,
                               cases[i].answer, cases[i].claims);
        char wanted[64];
        (void)snprintf(wanted, sizeof wanted, "issued_checks.%s",
                       cases[i].refused_by != NULL ? cases[i].refused_by : "");
        if ((why == NULL) != (cases[i].refused_by == NULL) ||
            (why != NULL && strstr(why, wanted) == NULL))
            fail_msg("%s: %s", cases[i].claims, why);
    }
    world_close(&w);
}

/* Each switch lets pass what it is about, and nothing else. */
static void r26_each_check_has_a_switch(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "{'sub':'00uAlice','aud':'x'," ACT_A1 "}",
        "{'sub':'00uBob','aud':'" AGENT2 "'," ACT_A1 "}",
        "{'sub':'00uAlice','aud':'" AGENT2 "','scope':'x'," ACT_A1 "}",
        "{'sub':'00uAlice','aud':'" AGENT2 "'}",
    };
    struct world w;
    world_open(&w, NULL, TH_ALG_ES256);
    for (size_t off = 0; off < 4; off++) {
        w.connection.issued_checks =
            (struct th_config_issued_checks){off != 0, off != 1, off != 2, off != 3};
        for (size_t i = 0; i < 4; i++) {
            const char *why =
                look(&w, ACCESS_TOKEN_CHECK, USER_ID, TH_SUBJECT_ID_TOKEN, "{}", wrong[i]);
            assert_int_equal(why == NULL, off == i);
        }
    }
    world_close(&w);
}

static void without_resource_or_scopes(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, NULL, TH_ALG_ES256);
    w.connection.resource = TH_STR("");
    w.connection.n_scopes = 0;
    assert_null(look(&w, ACCESS_TOKEN_CHECK, USER_ID, TH_SUBJECT_ID_TOKEN, "{'scope':'default'}",
                     "{'sub':'00uAlice','aud':'api://default'," ACT_A1 "}"));
    world_close(&w);
}

static void a_registration_is_this_agent_too(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, NULL, TH_ALG_ES256);
    const struct th_config_registration there = {.server = &w.custom,
                                                 .client_id = TH_STR("clientThere")};
    w.agent.registrations = &there;
    w.agent.n_registrations = 1;
    assert_null(look(&w, ACCESS_TOKEN_CHECK, USER_ID, TH_SUBJECT_ID_TOKEN, "{}",
                     "{'sub':'00uAlice','aud':'" AGENT2 "','act':{'sub':'clientThere'}}"));
    assert_null(look(&w, ACCESS_TOKEN_CHECK, USER_ID, TH_SUBJECT_ID_TOKEN, "{}",
                     "{'sub':'00uAlice','aud':'" AGENT2 "'," ACT_A1 "}"));
    world_close(&w);
}

static void oddities_are_noted(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, NULL, TH_ALG_ES256);
    enum th_subject_type type = TH_SUBJECT_ID_TOKEN;
    assert_null(look(&w, ID_JAG_NOTE, NULL, type, "{}", NULL));
    assert_null(
        look(&w, ID_JAG_NOTE, NULL, type, "{}", "{'client_id':'wlpA1','resource':'" AGENT2 "'}"));
    assert_non_null(
        strstr(look(&w, ID_JAG_NOTE, NULL, type, "{}", "{'client_id':'x','resource':'" AGENT2 "'}"),
               "client_id"));
    assert_non_null(
        strstr(look(&w, ID_JAG_NOTE, NULL, type, "{}", "{'client_id':'wlpA1'}"), "resource"));
    assert_null(look(&w, ACCESS_TOKEN_NOTE, NULL, type, "{}", "{'scp':['chat.read']}"));
    assert_null(look(&w, ACCESS_TOKEN_NOTE, NULL, type, "{'scope':'chat.read'}", "{}"));
    assert_null(look(&w, ACCESS_TOKEN_NOTE, NULL, type, "{}", NULL));
    assert_non_null(
        strstr(look(&w, ACCESS_TOKEN_NOTE, NULL, type, "{}", "{}"), "second_leg_scopes"));
    world_close(&w);
}

static void r13_how_long_it_may_be_kept(void **state)
{
    (void)state;
    static const struct {
        int64_t expires_in_ms;
        const char *claims;
        int64_t want_ms;
    } cases[] = {
        {TH_ANSWER_EXPIRES_ABSENT, NULL, 60000},
        {TH_ANSWER_EXPIRES_ABSENT, "{}", 60000},
        {TH_ANSWER_EXPIRES_ABSENT, "{'exp':1700003600}", 3600000},
        {TH_ANSWER_EXPIRES_ABSENT, "{'exp':'1700003600'}", 60000},
        {TH_ANSWER_EXPIRES_ABSENT, "{'exp':1699999999}", 0},
        {TH_ANSWER_EXPIRES_ABSENT, "{'exp':253402300799}", TH_ANSWER_EXPIRES_MAX_MS},
        {600000, NULL, 600000},
        {600000, "{'exp':1700003600}", 600000},
        {7200000, "{'exp':1700003600}", 3600000},
        {7200000, "{'exp':1700000000}", 0},
        {0, NULL, 0},
        {0, "{'exp':1700003600}", 0},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        json_t *claims = claims_of(cases[i].claims);
        int64_t ms = th_issued_lifetime_ms(cases[i].expires_in_ms, claims, NOW_MS);
        if (ms != cases[i].want_ms)
            fail_msg("%zu: %lld", i, (long long)ms);
        json_decref(claims);
    }
}

int main(void)
{
    th_json_start();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(r26_id_jag_audience),
        cmocka_unit_test(r26_what_was_issued_is_what_was_asked_for),
        cmocka_unit_test(r26_each_check_has_a_switch),
        cmocka_unit_test(without_resource_or_scopes),
        cmocka_unit_test(a_registration_is_this_agent_too),
        cmocka_unit_test(oddities_are_noted),
        cmocka_unit_test(r13_how_long_it_may_be_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
