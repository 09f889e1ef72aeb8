#include "test_support.h"
#include "tokenhop/oauth/subject.h"

static int inspect(const char *header, const char *claims, enum th_subject_type configured,
                   struct th_subject *ret_subject, struct th_errinfo *reterr)
{
    struct world w;
    struct th_buf token;
    world_open(&w, NULL, TH_ALG_ES256);
    make_token(&token, header, claims);
    int error =
        th_subject_inspect(th_buf_str(&token), &w.agent, configured, NOW_MS, ret_subject, reterr);
    if (error != 0) {
        assert_int_equal(reterr->error, error);
        assert_null(strstr(reterr->what, token.ptr));
    }
    th_buf_fini(&token);
    world_close(&w);
    return error;
}

/* Reference, section 3, "Telling them apart": each rule, and which one is asked first. */
static void types_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *header, *claims;
        enum th_subject_type type;
        int error;
    } cases[] = {
        /* 2 */
        {"{'typ':'at+jwt'}", "{'aud':'wlpA1'}", TH_SUBJECT_ACCESS_TOKEN, 0},
        {"{'typ':'application/at+jwt'}", "{'aud':'wlpA1'}", TH_SUBJECT_ACCESS_TOKEN, 0},
        {"{'typ':'AT+JWT'}", "{'aud':'wlpA1'}", TH_SUBJECT_ACCESS_TOKEN, 0},
        {"{'typ':'oauth-id-jag+jwt'}", "{'aud':'wlpA1'}", 0, TH_E_SUBJECT_MALFORMED},
        {"{'typ':'application/oauth-id-jag+jwt'}", "{'aud':'x'}", 0, TH_E_SUBJECT_MALFORMED},
        /* 3 */
        {"{'typ':'JWT'}", "{'aud':'wlpA1'}", TH_SUBJECT_ID_TOKEN, 0},
        {"{}", "{'aud':['wlpA1']}", TH_SUBJECT_ID_TOKEN, 0},
        {"{}", "{'aud':['x','wlpA1'],'scp':['a']}", TH_SUBJECT_ID_TOKEN, 0},
        {"{}", "{'aud':'0oaLinked'}", TH_SUBJECT_ID_TOKEN, 0},
        /* 4 */
        {"{}", "{'aud':'https://agent1.example.com','nonce':'n'}", TH_SUBJECT_ACCESS_TOKEN, 0},
        {"{}", "{'aud':['https://agent1.example.com']}", TH_SUBJECT_ACCESS_TOKEN, 0},
        /* 5 */
        {"{}", "{'aud':'0oaOther','nonce':'n'}", 0, TH_E_SUBJECT_AUDIENCE},
        {"{}", "{'aud':'https://agent1.example.com/','at_hash':'h'}", 0, TH_E_SUBJECT_AUDIENCE},
        {"{}", "{'aud':'0oaOther','nonce':'n','scp':['a']}", TH_SUBJECT_ACCESS_TOKEN, 0},
        {"{}", "{'aud':'0oaOther','nonce':'n','scope':'a'}", TH_SUBJECT_ACCESS_TOKEN, 0},
        {"{}", "{'aud':'0oaOther','at_hash':'n','cid':'a'}", TH_SUBJECT_ACCESS_TOKEN, 0},
        /* 6 */
        {"{}", "{'aud':'0oaOther'}", TH_SUBJECT_ACCESS_TOKEN, 0},
        {"{}", "{}", TH_SUBJECT_ACCESS_TOKEN, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct th_subject subject = {0};
        struct th_errinfo err = {0};
        int error = inspect(cases[i].header, cases[i].claims, TH_SUBJECT_AUTO, &subject, &err);
        if (error != cases[i].error || (error == 0 && subject.type != cases[i].type))
            fail_msg("%s %s", cases[i].header, cases[i].claims);
        if (error == 0)
            assert_true(subject.is_jwt);
    }
}

static void configured_types_are_kept(void **state)
{
    (void)state;
    struct th_subject subject;
    struct th_errinfo err;
    assert_int_equal(inspect("{}", "{'aud':'wlpA1'}", TH_SUBJECT_ACCESS_TOKEN, &subject, &err), 0);
    assert_int_equal(subject.type, TH_SUBJECT_ACCESS_TOKEN);
    assert_int_equal(inspect("{}", "{'aud':'wlpA1'}", TH_SUBJECT_ID_TOKEN, &subject, &err), 0);
    assert_int_equal(subject.type, TH_SUBJECT_ID_TOKEN);
    assert_int_equal(inspect("{}", "{'aud':'0oaOther'}", TH_SUBJECT_ID_TOKEN, &subject, &err),
                     TH_E_SUBJECT_AUDIENCE);
    assert_non_null(strstr(err.what, "wlpA1"));
    assert_null(strstr(err.what, "0oaOther"));
    assert_int_equal(
        inspect("{'typ':'oauth-id-jag+jwt'}", "{}", TH_SUBJECT_ACCESS_TOKEN, &subject, &err),
        TH_E_SUBJECT_MALFORMED);
}

static void expiry(void **state)
{
    (void)state;
    struct th_subject subject;
    struct th_errinfo err;
    assert_int_equal(inspect("{}", "{'exp':1700000001}", TH_SUBJECT_AUTO, &subject, &err), 0);
    assert_int_equal(subject.expires_wall_ms, NOW_MS + 1000);
    assert_int_equal(inspect("{}", "{}", TH_SUBJECT_AUTO, &subject, &err), 0);
    assert_int_equal(subject.expires_wall_ms, -1);
    assert_int_equal(inspect("{}", "{'exp':1700000000}", TH_SUBJECT_AUTO, &subject, &err),
                     TH_E_SUBJECT_EXPIRED);
    assert_int_equal(inspect("{}", "{'exp':-1}", TH_SUBJECT_AUTO, &subject, &err),
                     TH_E_SUBJECT_EXPIRED);
}

static void opaque_tokens_are_access_tokens(void **state)
{
    (void)state;
    static const char *const tokens[] = {"abc", "a.b.c", "00AbC~+/-_.==", "e30.W10.x"};
    struct world w;
    world_open(&w, NULL, TH_ALG_ES256);
    for (size_t i = 0; i < 4; i++) {
        struct th_subject subject;
        assert_int_equal(th_subject_inspect(th_str_of(tokens[i]), &w.agent, TH_SUBJECT_AUTO, NOW_MS,
                                            &subject, NULL),
                         0);
        assert_false(subject.is_jwt);
        assert_int_equal(subject.type, TH_SUBJECT_ACCESS_TOKEN);
        assert_int_equal(subject.expires_wall_ms, -1);
        assert_string_equal(subject.sub, "");
    }
    world_close(&w);
}

/* Each byte at each place of a token that takes more than one round of sixteen. */
static void r11_each_byte_at_each_place(void **state)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/";
    char token[40];

    for (size_t at = 0; at < sizeof token - 1; at++)
        for (int c = 0; c < 256; c++) {
            memset(token, 'a', sizeof token);
            token[at] = (char)c;
            bool expected = c != 0 && strchr(alphabet, c) != NULL;
            if (th_subject_is_token68((struct th_str){token, sizeof token}) != expected)
                fail_msg("byte %d at %zu", c, at);
        }
}

static void r11_only_token68_is_a_token(void **state)
{
    (void)state;
    static const char *const bad[] = {"",      "=",   "===", "a b", "a,b", "a=b", "a\tb", "a\"b",
                                      "a\xc3", "a:b", "a;b", " a",  "a ",  "a\n", "a%20b"};
    struct world w;
    world_open(&w, NULL, TH_ALG_ES256);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct th_subject subject;
        struct th_errinfo err;
        assert_false(th_subject_is_token68(th_str_of(bad[i])));
        assert_int_equal(th_subject_inspect(th_str_of(bad[i]), &w.agent, TH_SUBJECT_AUTO, NOW_MS,
                                            &subject, &err),
                         TH_E_SUBJECT_MALFORMED);
    }
    assert_false(th_subject_is_token68((struct th_str){"a\0b", 3}));
    assert_true(th_subject_is_token68(TH_STR("AZaz09-._~+/==")));
    char *big = th_malloc(65537);
    memset(big, 'a', 65537);
    assert_true(th_subject_is_token68((struct th_str){big, 65536}));
    assert_false(th_subject_is_token68((struct th_str){big, 65537}));
    th_free(big);
    world_close(&w);
}

static void what_the_audit_wants(void **state)
{
    (void)state;
    struct th_subject subject;
    struct th_errinfo err;
    assert_int_equal(inspect("{}",
                             "{'iss':'https://i','sub':'a\\u0007b\xc3\xa9','cnf':{'jkt':'x'},"
                             "'act':{'sub':'wlpA2','act':{'sub':'wlpA1','act':{'sub':'0oaC'}}}}",
                             TH_SUBJECT_AUTO, &subject, &err),
                     0);
    assert_string_equal(subject.iss, "https://i");
    assert_string_equal(subject.sub, "a?b??");
    assert_int_equal(subject.chain, 3);
    assert_true(subject.agent_in_chain);
    assert_true(subject.bound);
    assert_int_equal(inspect("{}", "{'act':{'sub':'wlpA2'}}", TH_SUBJECT_AUTO, &subject, &err), 0);
    assert_int_equal(subject.chain, 1);
    assert_false(subject.agent_in_chain);
    assert_false(subject.bound);
    assert_int_equal(inspect("{}", "{'act':'wlpA1'}", TH_SUBJECT_AUTO, &subject, &err), 0);
    assert_int_equal(subject.chain, 0);
    struct th_buf claims;
    th_buf_init(&claims, 1000);
    th_buf_add_str(&claims, TH_STR("{'sub':'"));
    for (int i = 0; i < 300; i++)
        th_buf_add_char(&claims, 'x');
    th_buf_add_str(&claims, TH_STR("'}"));
    assert_int_equal(inspect("{}", claims.ptr, TH_SUBJECT_AUTO, &subject, &err), 0);
    assert_int_equal(strlen(subject.sub), TH_SUBJECT_TEXT_MAX - 1);
    th_buf_fini(&claims);
}

static void a_registration_names_the_client(void **state)
{
    (void)state;
    struct world w;
    struct th_buf token;
    struct th_subject subject;
    world_open(&w, NULL, TH_ALG_ES256);
    const struct th_config_registration other = {.server = &w.org, .client_id = TH_STR("wlpOrg")};
    w.agent.registrations = &other;
    w.agent.n_registrations = 1;
    make_token(&token, "{}", "{'aud':'wlpOrg','act':{'sub':'wlpOrg'}}");
    assert_int_equal(
        th_subject_inspect(th_buf_str(&token), &w.agent, TH_SUBJECT_AUTO, NOW_MS, &subject, NULL),
        0);
    assert_int_equal(subject.type, TH_SUBJECT_ID_TOKEN);
    assert_true(subject.agent_in_chain);
    th_buf_fini(&token);
    world_close(&w);
}

int main(void)
{
    th_json_start();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_are_told_apart),
        cmocka_unit_test(configured_types_are_kept),
        cmocka_unit_test(expiry),
        cmocka_unit_test(opaque_tokens_are_access_tokens),
        cmocka_unit_test(r11_only_token68_is_a_token),
        cmocka_unit_test(r11_each_byte_at_each_place),
        cmocka_unit_test(what_the_audit_wants),
        cmocka_unit_test(a_registration_names_the_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
