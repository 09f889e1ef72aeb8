#include <stdlib.h>

#include "test_bench.h"
#include "tokenhop/base/check.h"

#define OTT "urn:okta:params:oauth:token-type:"

static void the_two_legs(void **state)
{
    (void)state;
    struct bench b;
    struct tokens t;
    bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
    tokens_open(&t);
    start(&b, t.subject.ptr);
    assert_int_equal(b.n_asked, 1);
    assert_string_equal(b.asked[0].url, ORG_TOKEN);
    assert_string_equal(b.asked[0].content_type, "application/x-www-form-urlencoded");
    assert_int_equal(b.asked[0].timeout_ms, DEADLINE_MS * TH_EXCHANGE_SHARE_PERCENT / 100);
    assert_int_equal(n_fields(&b, 0), 9);
    assert_field(&b, 0, "grant_type", TX);
    assert_field(&b, 0, "requested_token_type", TT "id-jag");
    assert_field(&b, 0, "subject_token", t.subject.ptr);
    assert_field(&b, 0, "subject_token_type", TT "access_token");
    assert_field(&b, 0, "audience", CUSTOM);
    assert_field(&b, 0, "resource", AGENT2);
    assert_field(&b, 0, "scope", "chat.read chat.history");
    pass(&b, 300);
    answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
    assert_int_equal(b.n_asked, 2);
    assert_string_equal(b.asked[1].url, CUSTOM_TOKEN);
    assert_int_equal(b.asked[1].timeout_ms, DEADLINE_MS - 300);
    assert_int_equal(n_fields(&b, 1), 4);
    assert_field(&b, 1, "grant_type", JB);
    assert_field(&b, 1, "assertion", t.id_jag.ptr);
    free(check_assertion(&b, 1, CUSTOM_TOKEN, ES256_KEY));
    assert_int_equal(b.n_ends, 0);
    answer(&b, 200, ACCESS_OK, t.access.ptr);
    assert_int_equal(b.n_ends, 1);
    if (b.result.error != 0)
        fail_msg("%s", b.result.detail);
    assert_string_equal(b.token, t.access.ptr);
    assert_int_equal(b.result.lifetime_ms, 1800000 - 300); /* the JWT's, not expires_in */
    assert_int_equal(b.result.subject_expires_wall_ms, NOW_MS + 3600000);
    assert_int_equal(b.result.subject.type, TH_SUBJECT_ACCESS_TOKEN);
    assert_string_equal(b.result.subject.sub, "0oaC");
    assert_string_equal(b.result.jti, "AT.1");
    assert_string_equal(b.result.detail, "");
    assert_int_equal(b.result.n_legs, 2);
    assert_string_equal(b.result.legs[0].name, "id_jag");
    assert_string_equal(b.result.legs[1].name, "access_token");
    assert_true(th_str_equal(b.result.legs[1].endpoint, TH_STR(CUSTOM_TOKEN)));
    assert_int_equal(b.result.legs[0].status, 200);
    assert_int_equal(b.result.legs[1].status, 200);
    tokens_close(&t);
    bench_close(&b);
}

/* Neither audience nor scope, whatever the connection has; one leg, at the agent's own server. */
static void one_leg_for_a_resource(void **state)
{
    (void)state;
    static const struct {
        enum th_resource_type type;
        const char *leg, *requested, *answer, *token, *value;
        int64_t lifetime_ms;
    } cases[] = {
        {TH_TYPE_SECRET, "secret", "vaulted-secret",
         "{'issued_token_type':'" OTT "vaulted-secret','vaulted_secret':{'api_key':'k-1'},"
         "'token_type':'N_A','expires_in':300}",
         NULL, "k-1", 300000},
        {TH_TYPE_SERVICE_ACCOUNT, "service_account", "service-account",
         "{'issued_token_type':'" OTT "service-account','service_account':{'username':'u',"
         "'password':'p'},'token_type':'N_A'}",
         NULL, "u", 60000},
        {TH_TYPE_RESOURCE_SERVER, "third_party_token", "oauth-sts",
         "{'issued_token_type':'" OTT "oauth-sts','access_token':'gho_1','token_type':'Bearer',"
         "'expires_in':28800,'scope':'repo','refresh_token':'r'}",
         "gho_1", NULL, 28800000},
        {TH_TYPE_RESOURCE_SERVER, "third_party_token", "oauth-sts",
         "{'issued_token_type':'" OTT "oauth-sts','access_token':'gho_1','token_type':'Bearer',"
         "'expires_in':-1}",
         "gho_1", NULL, 0},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct bench b;
        struct tokens t;
        char urn[120];
        bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
        tokens_open(&t);
        b.world.connection.type = cases[i].type;
        b.world.connection.server = NULL;
        b.world.connection.resource = TH_STR("orn:okta:pam:1:secrets:a b");
        start(&b, t.subject.ptr);
        assert_string_equal(b.asked[0].url, ORG_TOKEN);
        assert_int_equal(n_fields(&b, 0), 7);
        assert_field(&b, 0, "grant_type", TX);
        (void)snprintf(urn, sizeof urn, OTT "%s", cases[i].requested);
        assert_field(&b, 0, "requested_token_type", urn);
        assert_field(&b, 0, "subject_token", t.subject.ptr);
        assert_field(&b, 0, "subject_token_type", TT "access_token");
        assert_field(&b, 0, "resource", "orn:okta:pam:1:secrets:a b");
        free(check_assertion(&b, 0, ORG_TOKEN, ES256_KEY));
        answer(&b, 200, "%s", cases[i].answer);
        assert_int_equal(b.n_asked, 1);
        if (b.result.error != 0)
            fail_msg("%s", b.result.detail);
        if (cases[i].token != NULL)
            assert_string_equal(b.token, cases[i].token);
        else
            assert_string_equal(b.value, cases[i].value);
        assert_int_equal(b.result.lifetime_ms, cases[i].lifetime_ms);
        assert_int_equal(b.result.n_legs, 1);
        assert_string_equal(b.result.legs[0].name, cases[i].leg);
        tokens_close(&t);
        bench_close(&b);
    }
}

/* Reference, 7, "Dead tokens": before the leg, where the destination did not take the last one; and whatever
 * becomes of it, the leg follows. */
static void what_was_rejected_is_revoked_first(void **state)
{
    (void)state;
    static const struct {
        int status; /* 0: no answer */
        const char *body;
    } cases[] = {{200, ""}, {200, "{'error':'invalid_client'}"}, {400, "{}"}, {503, ""}, {0, NULL}};
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct bench b;
        struct tokens t;
        bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
        tokens_open(&t);
        b.world.connection.type = TH_TYPE_RESOURCE_SERVER;
        b.world.connection.server = NULL;
        b.world.org.revocation_endpoint = TH_STR(ORG "/oauth2/v1/revoke");
        b.rejected = TH_STR("gho_dead");
        start(&b, t.subject.ptr);
        assert_string_equal(b.asked[0].url, ORG "/oauth2/v1/revoke");
        assert_int_equal(b.asked[0].timeout_ms, DEADLINE_MS / 3);
        assert_int_equal(n_fields(&b, 0), 4);
        assert_field(&b, 0, "token", "gho_dead");
        assert_field(&b, 0, "token_type_hint", "oauth_sts");
        char *first = check_assertion(&b, 0, ORG "/oauth2/v1/revoke", ES256_KEY);
        if (cases[i].status != 0)
            answer(&b, cases[i].status, "%s", cases[i].body);
        else
            break_off(&b, TH_E_EXCHANGE_TIMEOUT);
        assert_int_equal(b.n_ends, 0);
        assert_int_equal(b.n_asked, 2);
        assert_string_equal(b.asked[1].url, ORG_TOKEN);
        assert_field(&b, 1, "requested_token_type", OTT "oauth-sts");
        char *second = check_assertion(&b, 1, ORG_TOKEN, ES256_KEY);
        assert_string_not_equal(first, second);
        answer(&b, 200,
               "{'issued_token_type':'" OTT "oauth-sts','access_token':'gho_2',"
               "'token_type':'Bearer','expires_in':3600}");
        assert_int_equal(b.result.error, 0);
        assert_string_equal(b.token, "gho_2");
        assert_int_equal(b.result.n_legs, 2);
        assert_string_equal(b.result.legs[0].name, "revocation");
        assert_int_equal(b.result.legs[0].status, cases[i].status);
        assert_string_equal(b.result.legs[1].name, "third_party_token");
        free(first);
        free(second);
        tokens_close(&t);
        bench_close(&b);
    }
}

/* Where the plan says nothing of it, or the server has no place for it. */
static void not_everything_is_revoked(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct bench b;
        struct tokens t;
        bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
        tokens_open(&t);
        if (i == 0)
            b.world.org.revocation_endpoint = b.world.custom.revocation_endpoint =
                TH_STR(ORG "/oauth2/v1/revoke");
        else
            b.world.connection.type = TH_TYPE_RESOURCE_SERVER;
        b.rejected = TH_STR("gho_dead");
        start(&b, t.subject.ptr);
        assert_int_equal(b.n_asked, 1);
        assert_string_equal(b.asked[0].url, ORG_TOKEN);
        assert_null(field(&b, 0, "token"));
        tokens_close(&t);
        bench_close(&b);
    }
}

static void consent_is_asked_for_at_the_issuer(void **state)
{
    (void)state;
    struct bench b;
    struct tokens t;
    bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
    tokens_open(&t);
    b.world.connection.type = TH_TYPE_RESOURCE_SERVER;
    b.world.connection.server = NULL;
    start(&b, t.subject.ptr);
    answer(&b, 400, "{'error':'interaction_required','interaction_uri':'" ORG "/sts?h=1'}");
    assert_int_equal(b.result.error, TH_E_INTERACTION);
    assert_string_equal(b.result.interaction_uri, ORG "/sts?h=1");
    assert_null(strstr(b.result.detail, "sts?h")); /* details are logged */
    start(&b, t.subject.ptr);
    answer(&b, 400,
           "{'error':'interaction_required','interaction_uri':'http://example.okta.com/sts'}");
    assert_int_equal(b.result.error, TH_E_EXCHANGE_FAILED);
    assert_string_equal(b.result.interaction_uri, "");
    tokens_close(&t);
    bench_close(&b);
}

static void what_is_not_configured_is_not_sent(void **state)
{
    (void)state;
    struct bench b;
    struct tokens t;
    struct th_buf id_token;
    bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
    tokens_open(&t);
    make_token(&id_token, "{}", "{'sub':'00uAlice','aud':'wlpA1'}");
    b.world.connection.type = TH_TYPE_AUTHORIZATION_SERVER;
    b.world.connection.resource = TH_STR("");
    b.world.connection.second_leg_scope_text = TH_STR("chat.read");
    b.world.connection.issued_checks = (struct th_config_issued_checks){0};
    b.world.org.assertion_audience_issuer = true;
    b.world.custom.allow_cleartext = true;
    b.world.org.ca_file = TH_STR("private-ca.pem");
    start(&b, id_token.ptr);
    assert_int_equal(n_fields(&b, 0), 8);
    assert_null(field(&b, 0, "resource"));
    assert_field(&b, 0, "subject_token_type", TT "id_token");
    free(check_assertion(&b, 0, ORG, ES256_KEY));
    answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
    assert_field(&b, 1, "scope", "chat.read");
    assert_int_equal(n_fields(&b, 1), 5);
    assert_false(b.asked[0].allow_cleartext);
    assert_true(b.asked[1].allow_cleartext);
    assert_string_equal(b.asked[0].ca_file, "private-ca.pem");
    assert_string_equal(b.asked[1].ca_file, "");
    free(check_assertion(&b, 1, CUSTOM_TOKEN, ES256_KEY));
    answer(&b, 200, ACCESS_OK, "opaque");
    assert_int_equal(b.result.error, 0);
    assert_string_equal(b.token, "opaque");
    assert_int_equal(b.result.lifetime_ms, 3600000);
    assert_int_equal(b.result.subject_expires_wall_ms, -1);
    th_buf_fini(&id_token);
    tokens_close(&t);
    bench_close(&b);
}

/* Two legs, a broken one, a restart: every request has an assertion of its own. */
static void r12_every_try_has_a_fresh_assertion(void **state)
{
    (void)state;
    struct bench b;
    struct tokens t;
    char *jtis[6];
    bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
    tokens_open(&t);
    start(&b, t.subject.ptr);
    jtis[0] = check_assertion(&b, 0, ORG_TOKEN, ES256_KEY);
    answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
    jtis[1] = check_assertion(&b, 1, CUSTOM_TOKEN, ES256_KEY);
    break_off(&b, TH_E_EXCHANGE_DOWN);
    jtis[2] = check_assertion(&b, 2, CUSTOM_TOKEN, ES256_KEY);
    assert_field(&b, 2, "assertion", t.id_jag.ptr); /* the same ID-JAG */
    answer(&b, 400, "{'error':'invalid_grant'}");
    jtis[3] = check_assertion(&b, 3, ORG_TOKEN, ES256_KEY);
    assert_field(&b, 3, "subject_token", t.subject.ptr);
    pass(&b, 2000);
    struct th_buf second;
    make_token(&second, JAG_HEADER, "{'aud':['" CUSTOM "'],'jti':'2'}");
    answer(&b, 200, ID_JAG_OK, second.ptr);
    jtis[4] = check_assertion(&b, 4, CUSTOM_TOKEN, ES256_KEY);
    assert_field(&b, 4, "assertion", second.ptr); /* and now the new one */
    answer(&b, 200, ACCESS_OK, t.access.ptr);
    assert_int_equal(b.result.error, 0);
    assert_int_equal(b.n_asked, 5);
    assert_int_equal(b.result.n_legs, 2); /* tries are not counted anew */
    forget_asked(&b);
    start(&b, t.subject.ptr);
    jtis[5] = check_assertion(&b, 0, ORG_TOKEN, ES256_KEY);
    for (size_t i = 0; i < 6; i++) {
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(jtis[i], jtis[k]);
    }
    for (size_t i = 0; i < 6; i++)
        free(jtis[i]);
    th_exchange_cancel(b.exchange);
    th_buf_fini(&second);
    tokens_close(&t);
    bench_close(&b);
}

static void transport_is_tried_again_once_and_on_leg_2_only(void **state)
{
    (void)state;
    static const struct {
        size_t leg;
        int errors[3];
        size_t n_asked;
        int result;
    } cases[] = {
        {0, {TH_E_EXCHANGE_DOWN}, 1, TH_E_EXCHANGE_DOWN},
        {1, {TH_E_EXCHANGE_DOWN, TH_E_EXCHANGE_DOWN}, 3, TH_E_EXCHANGE_DOWN},
        {1, {TH_E_EXCHANGE_TIMEOUT}, 2, TH_E_EXCHANGE_TIMEOUT},
        {1, {TH_E_EXCHANGE_FAILED}, 2, TH_E_EXCHANGE_FAILED},
        {1, {TH_E_CLEARTEXT_DENIED}, 2, TH_E_CLEARTEXT_DENIED},
        {1, {TH_E_EXCHANGE_DOWN, TH_E_EXCHANGE_TIMEOUT}, 3, TH_E_EXCHANGE_TIMEOUT},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct bench b;
        struct tokens t;
        bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
        tokens_open(&t);
        start(&b, t.subject.ptr);
        if (cases[i].leg == 1)
            answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
        for (size_t k = 0; cases[i].errors[k] != 0; k++)
            break_off(&b, cases[i].errors[k]);
        assert_int_equal(b.n_asked, cases[i].n_asked);
        assert_int_equal(b.n_ends, 1);
        assert_int_equal(b.result.error, cases[i].result);
        assert_int_equal(b.result.n_legs, cases[i].leg + 1);
        assert_int_equal(b.result.legs[cases[i].leg].status, 0);
        assert_non_null(strstr(b.result.detail, "connection reset"));
        tokens_close(&t);
        bench_close(&b);
    }
}

static void a_503_is_no_reason_to_ask_again(void **state)
{
    (void)state;
    struct bench b;
    struct tokens t;
    bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
    tokens_open(&t);
    start(&b, t.subject.ptr);
    answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
    const struct th_fetch_response response = {.status = 503,
                                               .retry_after_ms = 7000,
                                               .rate_limit_reset_ms = -1,
                                               .content_type = TH_STR("text/html"),
                                               .body = TH_STR("<html>")};
    answer_raw(&b, &response);
    assert_int_equal(b.n_asked, 2);
    assert_int_equal(b.result.error, TH_E_EXCHANGE_DOWN);
    assert_int_equal(b.result.retry_after_ms, 7000);
    assert_int_equal(b.result.legs[1].status, 503);
    tokens_close(&t);
    bench_close(&b);
}

static void invalid_grant_runs_leg_1_anew_once(void **state)
{
    (void)state;
    struct bench b;
    struct tokens t;
    bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
    tokens_open(&t);
    start(&b, t.subject.ptr);
    for (int i = 0; i < 2; i++) {
        answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
        answer(&b, 400, "{'error':'invalid_grant','error_description':'used'}");
    }
    assert_int_equal(b.n_asked, 4);
    assert_int_equal(b.n_ends, 1);
    assert_int_equal(b.result.error, TH_E_SUBJECT_REFUSED);
    assert_string_equal(b.result.oauth_error, "invalid_grant");
    forget_asked(&b);
    start(&b, t.subject.ptr);
    answer(&b, 400, "{'error':'invalid_grant'}"); /* of leg 1: the subject token's */
    assert_int_equal(b.n_asked, 1);
    assert_int_equal(b.n_ends, 2);
    assert_int_equal(b.result.error, TH_E_SUBJECT_REFUSED);
    forget_asked(&b);
    start(&b, t.subject.ptr);
    answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
    answer(&b, 400, "{'error':'access_denied'}"); /* no other error does it */
    assert_int_equal(b.n_asked, 2);
    assert_int_equal(b.result.error, TH_E_ACCESS_DENIED);
    tokens_close(&t);
    bench_close(&b);
}

static void r26_a_misbound_id_jag_is_not_carried_on(void **state)
{
    (void)state;
    static const char *const claims[] = {"{'aud':'https://evil.example'}",
                                         "{'aud':['" CUSTOM "','https://evil.example']}", "{}"};
    for (size_t i = 0; i < TH_COUNT_OF(claims); i++) {
        struct bench b;
        struct tokens t;
        struct th_buf jag;
        bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
        tokens_open(&t);
        make_token(&jag, JAG_HEADER, claims[i]);
        start(&b, t.subject.ptr);
        answer(&b, 200, ID_JAG_OK, jag.ptr);
        assert_int_equal(b.n_asked, 1);
        assert_int_equal(b.n_ends, 1);
        assert_int_equal(b.result.error, TH_E_EXCHANGE_MISMATCH);
        assert_null(strstr(b.result.detail, "evil"));
        th_buf_fini(&jag);
        tokens_close(&t);
        bench_close(&b);
    }
}

static void r26_what_differs_is_refused(void **state)
{
    (void)state;
    static const char *const claims[] = {
        "{'sub':'0oaC','aud':'x','act':{'sub':'wlpA1','act':{'sub':'0oaC'}}}",
        "{'sub':'0oaX','aud':'" AGENT2 "','act':{'sub':'wlpA1','act':{'sub':'0oaC'}}}",
        "{'sub':'0oaC','aud':'" AGENT2 "','scope':'chat.read admin',"
        "'act':{'sub':'wlpA1','act':{'sub':'0oaC'}}}",
        "{'sub':'0oaC','aud':'" AGENT2 "','act':{'sub':'wlpA1'}}",
        "{'sub':'0oaC','aud':'" AGENT2 "'}",
    };
    for (size_t i = 0; i < TH_COUNT_OF(claims); i++) {
        struct bench b;
        struct tokens t;
        struct th_buf access;
        bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
        tokens_open(&t);
        make_token(&access, "{}", claims[i]);
        start(&b, t.subject.ptr);
        answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
        answer(&b, 200, ACCESS_OK, access.ptr);
        assert_int_equal(b.result.error, TH_E_EXCHANGE_MISMATCH);
        assert_non_null(strstr(b.result.detail, "issued_checks."));
        assert_null(strstr(b.result.detail, access.ptr));
        th_buf_fini(&access);
        tokens_close(&t);
        bench_close(&b);
    }
}

static void refused_subjects_cost_no_request(void **state)
{
    (void)state;
    static const struct {
        const char *header, *claims;
        int error;
    } cases[] = {{"{}", "{'exp':1}", TH_E_SUBJECT_EXPIRED},
                 {"{}", "{'aud':'x','nonce':'n'}", TH_E_SUBJECT_AUDIENCE},
                 {JAG_HEADER, "{}", TH_E_SUBJECT_MALFORMED}};
    struct bench b;
    struct th_errinfo err = {0};
    bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_buf token;
        make_token(&token, cases[i].header, cases[i].claims);
        assert_int_equal(try_start(&b, token.ptr, &err), cases[i].error);
        assert_null(strstr(err.what, token.ptr));
        th_buf_fini(&token);
    }
    assert_int_equal(try_start(&b, "not a token", &err), TH_E_SUBJECT_MALFORMED);
    assert_int_equal(b.n_asked, 0);
    settle(&b);
    assert_int_equal(b.n_ends, 0);
    bench_close(&b);
}

static void a_key_that_cannot_be_used_is_ours_to_mend(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        enum th_signing_alg alg;
    } cases[] = {{"nonsense", TH_ALG_ES256},
                 {"{" RFC7515_A3_PUBLIC "}", TH_ALG_ES256},
                 {ES256_KEY, TH_ALG_RS256},
                 {NULL, TH_ALG_ES256}};
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct bench b;
        bench_open(&b, cases[i].key, cases[i].alg, NULL);
        start(&b, "opaque");
        assert_int_equal(b.n_ends, 0);
        settle(&b);
        assert_int_equal(b.n_ends, 1);
        assert_int_equal(b.result.error, TH_E_CONFIG);
        assert_int_equal(b.n_asked, 0);
        assert_int_equal(b.result.n_legs, 0);
        bench_close(&b);
    }
}

/* Whatever the servers say at whichever leg, with tokens in every text of theirs. */
static void r11_no_token_in_any_text(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{'error':'%s'}",
        "{'error':'invalid_request','error_description':'%s'}",
        "{'error':'invalid_grant','error_description':'the token %s is stale'}",
        "{'error':'something_new','error_description':'%s','error_uri':'%s'}",
        "{'errorCode':'%s','errorSummary':'%s'}",
        "{'error':'interaction_required','interaction_uri':'https://evil.example/%s'}",
        "{'access_token':'%s','token_type':'%s','issued_token_type':'%s'}",
        "{'access_token':'%s %s'}",
        "%s",
    };
    for (size_t leg = 0; leg < 2; leg++) {
        for (size_t i = 0; i < TH_COUNT_OF(bodies); i++) {
            struct bench b;
            struct tokens t;
            bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
            tokens_open(&t);
            start(&b, t.subject.ptr);
            if (leg == 1)
                answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
            while (b.n_ends == 0) {
                const char *own = leg == 1 ? t.id_jag.ptr : t.subject.ptr;
                size_t size = strlen(bodies[i]) + 3 * strlen(own) + 1;
                char *text = calloc(1, size);
                for (const char *c = bodies[i]; *c != '\0'; c++) {
                    if (c[0] == '%' && c[1] == 's') {
                        strcat(text, own);
                        c++;
                    } else {
                        strncat(text, c, 1);
                    }
                }
                answer(&b, 400, "%s", text);
                free(text);
                if (b.n_ends == 0 && b.n_asked == 3 && leg == 1)
                    answer(&b, 200, ID_JAG_OK, t.id_jag.ptr); /* leg 1 anew */
            }
            assert_int_not_equal(b.result.error, 0);
            assert_null(strstr(b.result.detail, "eyJ"));
            assert_null(strstr(b.result.oauth_error, "eyJ"));
            assert_null(strstr(b.result.interaction_uri, "eyJ"));
            assert_non_null(strstr(b.result.detail, leg == 0 ? "leg id_jag" : "leg access_token"));
            tokens_close(&t);
            bench_close(&b);
        }
    }
}

static void consent_is_passed_on(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
    start(&b, "opaque");
    answer(&b, 400, "{'error':'interaction_required','interaction_uri':'" ORG "/sts?h=1'}");
    assert_int_equal(b.result.error, TH_E_INTERACTION);
    assert_string_equal(b.result.interaction_uri, ORG "/sts?h=1");
    assert_null(strstr(b.result.detail, "sts?h"));
    bench_close(&b);
}

int main(void)
{
    th_json_start();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_two_legs),
        cmocka_unit_test(one_leg_for_a_resource),
        cmocka_unit_test(what_was_rejected_is_revoked_first),
        cmocka_unit_test(not_everything_is_revoked),
        cmocka_unit_test(consent_is_asked_for_at_the_issuer),
        cmocka_unit_test(what_is_not_configured_is_not_sent),
        cmocka_unit_test(r12_every_try_has_a_fresh_assertion),
        cmocka_unit_test(transport_is_tried_again_once_and_on_leg_2_only),
        cmocka_unit_test(a_503_is_no_reason_to_ask_again),
        cmocka_unit_test(invalid_grant_runs_leg_1_anew_once),
        cmocka_unit_test(r26_a_misbound_id_jag_is_not_carried_on),
        cmocka_unit_test(r26_what_differs_is_refused),
        cmocka_unit_test(refused_subjects_cost_no_request),
        cmocka_unit_test(a_key_that_cannot_be_used_is_ours_to_mend),
        cmocka_unit_test(r11_no_token_in_any_text),
        cmocka_unit_test(consent_is_passed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
