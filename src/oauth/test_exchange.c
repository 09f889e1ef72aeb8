#include "test_exchange.h"

#include <unistd.h>

#define ID_JAG_OK "{'issued_token_type':'" TT "id-jag','access_token':'%s','token_type':'N_A'}"
#define ACCESS_OK "{'token_type':'Bearer','expires_in':3600,'access_token':'%s'}"
#define JAG_HEADER "{'typ':'oauth-id-jag+jwt','alg':'RS256'}"
#define ES256_KEY "{" RFC7515_A3_PRIVATE "}"
#define RS256_KEY "{" RFC7515_A2_PRIVATE "}"

/* The tokens of a run: T1, T2, T3 of the reference. */
struct tokens {
    struct th_buf subject, id_jag, access;
};

static void tokens_open(struct tokens *t)
{
    make_token(&t->subject, "{}",
               "{'sub':'0oaC','cid':'0oaC','aud':'https://agent1.example.com','exp':1700003600}");
    make_token(&t->id_jag, JAG_HEADER,
               "{'sub':'0oaC','aud':'" CUSTOM "','client_id':'wlpA1','resource':'" AGENT2 "'}");
    make_token(&t->access, "{}",
               "{'sub':'0oaC','aud':'" AGENT2 "','jti':'AT.1','scp':['chat.read'],"
               "'act':{'sub':'wlpA1','act':{'sub':'0oaC'}},'exp':1700001800}");
}

static void tokens_close(struct tokens *t)
{
    th_buf_fini(&t->subject);
    th_buf_fini(&t->id_jag);
    th_buf_fini(&t->access);
}

/* The client assertion of a request: claims that must hold; returns its jti, to be freed. */
static char *check_assertion(const struct bench *b, size_t request, const char *audience,
                             const char *key_text)
{
    struct th_key *key;
    struct th_jwt jwt;
    assert_field(b, request, "client_assertion_type",
                 "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    assert_null(field(b, request, "client_id"));
    assert_null(field(b, request, "client_secret"));
    char *assertion = field(b, request, "client_assertion");
    assert_non_null(assertion);
    assert_int_equal(th_key_parse(th_str_of(key_text), &key, NULL), 0);
    assert_int_equal(th_jwt_parse(th_str_of(assertion), &jwt), 0);
    assert_int_equal(th_jwt_verify(&jwt, key), 0);
    assert_true(th_str_equal(th_jwt_text(jwt.header, "kid"), TH_STR("k1")));
    assert_null(json_object_get(jwt.header, "typ"));
    assert_true(th_str_equal(th_jwt_text(jwt.claims, "iss"), TH_STR("wlpA1")));
    assert_true(th_str_equal(th_jwt_text(jwt.claims, "sub"), TH_STR("wlpA1")));
    assert_string_equal(json_string_value(json_object_get(jwt.claims, "aud")), audience);
    assert_null(json_object_get(jwt.claims, "nbf"));
    int64_t now_ms = b->clock.fake_wall_ms;
    assert_int_equal(th_jwt_time_ms(jwt.claims, "iat"), now_ms / 1000 * 1000 - 5000);
    assert_int_equal(th_jwt_time_ms(jwt.claims, "exp"), now_ms / 1000 * 1000 + 60000);
    struct th_str jti = th_jwt_text(jwt.claims, "jti");
    assert_int_equal(jti.len, 22); /* 128 bits */
    char *copy = strndup(jti.ptr, jti.len);
    th_jwt_fini(&jwt);
    th_key_unref(key);
    free(assertion);
    return copy;
}

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
    assert_int_equal(b.asked[0].timeout_ms, DEADLINE_MS);
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

static void r22_the_deadline_ends_each_leg(void **state)
{
    (void)state;
    for (size_t leg = 0; leg < 2; leg++) {
        struct bench b;
        struct tokens t;
        bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
        tokens_open(&t);
        start(&b, t.subject.ptr);
        if (leg == 1) {
            pass(&b, 4000);
            answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
            pass(&b, DEADLINE_MS - 4000 - 1);
        } else {
            pass(&b, DEADLINE_MS - 1);
        }
        assert_int_equal(b.n_ends, 0);
        pass(&b, 2 * TH_WHEEL_TICK_MS);
        assert_int_equal(b.n_ends, 1);
        assert_int_equal(b.n_cancelled, 1);
        assert_int_equal(b.result.error, TH_E_EXCHANGE_TIMEOUT);
        assert_int_equal(b.result.n_legs, leg + 1);
        assert_non_null(strstr(b.result.detail, leg == 0 ? "\"org\"" : "\"custom\""));
        pass(&b, 60000);
        assert_int_equal(b.n_ends, 1);
        tokens_close(&t);
        bench_close(&b);
    }
}

static void cancelled_it_says_nothing_more(void **state)
{
    (void)state;
    for (size_t at = 0; at < 4; at++) {
        struct bench b;
        struct tokens t;
        bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
        tokens_open(&t);
        b.start_error = at == 2 ? TH_E_NOMEM : 0; /* it has ended, but not told so yet */
        start(&b, t.subject.ptr);
        if (at == 1)
            answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
        assert_int_equal(b.exchange->state, at == 2 ? TH_EXCHANGE_END : TH_EXCHANGE_WAIT);
        if (at == 3)
            b.exchanger = th_exchanger_free(b.exchanger);
        else
            th_exchange_cancel(b.exchange);
        assert_int_equal(b.n_cancelled, at == 2 ? 0 : 1);
        pass(&b, 60000);
        assert_int_equal(b.n_ends, 0);
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

/* -- RSA, on helper threads ---------------------------------------------------------------------- */

static void wait_until_asked(struct bench *b, size_t n)
{
    for (int i = 0; i < 5000 && b->n_asked < n; i++) {
        if (!th_worker_turn(b->worker))
            poll(NULL, 0, 1);
    }
    assert_int_equal(b->n_asked, n);
}

static void rsa_signs_on_a_helper(void **state)
{
    (void)state;
    struct bench b;
    struct tokens t;
    struct th_helpers *helpers;
    assert_int_equal(th_helpers_new(1, 16, &helpers), 0);
    bench_open(&b, RS256_KEY, TH_ALG_RS256, helpers);
    tokens_open(&t);
    start(&b, t.subject.ptr);
    assert_int_equal(b.n_asked, 0); /* not on the worker */
    assert_int_equal(b.exchange->state, TH_EXCHANGE_PROVING);
    wait_until_asked(&b, 1);
    free(check_assertion(&b, 0, ORG_TOKEN, RS256_KEY));
    answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
    wait_until_asked(&b, 2);
    free(check_assertion(&b, 1, CUSTOM_TOKEN, RS256_KEY));
    answer(&b, 200, ACCESS_OK, t.access.ptr);
    assert_string_equal(b.token, t.access.ptr);
    th_helpers_stop(helpers);
    start(&b, t.subject.ptr); /* nobody signs any more */
    settle(&b);
    assert_int_equal(b.n_ends, 2);
    assert_int_equal(b.result.error, TH_E_DRAINING);
    tokens_close(&t);
    bench_close(&b);
    th_helpers_free(helpers);
}

static void rsa_signs_in_place_without_helpers(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, RS256_KEY, TH_ALG_RS256, NULL);
    start(&b, "opaque");
    assert_int_equal(b.n_asked, 1);
    free(check_assertion(&b, 0, ORG_TOKEN, RS256_KEY));
    th_exchange_cancel(b.exchange);
    bench_close(&b);
}

/* A job that blocks the only helper until told to go on. */
struct plug {
    struct th_job job;
    int fds[2];
};

static void plug_work(struct th_job *job)
{
    char byte;
    struct plug *plug = TH_CONTAINER_OF(job, struct plug, job);
    assert_int_equal(read(plug->fds[0], &byte, 1), 1);
}

static void plug_done(struct th_job *job)
{
    struct plug *plug = TH_CONTAINER_OF(job, struct plug, job);
    close(plug->fds[0]);
    plug->fds[0] = -1;
}

static void plug_in(struct plug *plug, struct th_helpers *helpers, struct th_worker *worker)
{
    *plug = (struct plug){.job = {.work = plug_work, .done = plug_done}};
    assert_int_equal(pipe(plug->fds), 0);
    assert_int_equal(th_helpers_submit(helpers, worker, &plug->job), 0);
}

static void pull_out(struct plug *plug, struct th_helpers *helpers, struct bench *b)
{
    assert_int_equal(write(plug->fds[1], "x", 1), 1);
    close(plug->fds[1]);
    for (int i = 0; i < 5000 && plug->fds[0] >= 0; i++) {
        if (!th_worker_turn(b->worker))
            poll(NULL, 0, 1);
    }
    assert_int_equal(plug->fds[0], -1);
    th_helpers_stop(helpers); /* what was signed meanwhile is posted now */
    settle(b);
}

static void while_a_helper_signs(void **state)
{
    (void)state;
    for (int is_cancelled = 0; is_cancelled < 2; is_cancelled++) {
        struct bench b;
        struct plug plug;
        struct th_helpers *helpers;
        assert_int_equal(th_helpers_new(1, 16, &helpers), 0);
        bench_open(&b, RS256_KEY, TH_ALG_RS256, helpers);
        plug_in(&plug, helpers, b.worker);
        start(&b, "opaque");
        assert_int_equal(b.exchange->state, TH_EXCHANGE_PROVING);
        if (is_cancelled) {
            th_exchange_cancel(b.exchange);
        } else {
            pass(&b, DEADLINE_MS + 2 * TH_WHEEL_TICK_MS);
            assert_int_equal(b.result.error, TH_E_EXCHANGE_TIMEOUT);
            assert_int_equal(b.result.n_legs, 0);
        }
        pull_out(&plug, helpers, &b); /* the job comes back and finds nobody */
        assert_int_equal(b.n_ends, is_cancelled ? 0 : 1);
        assert_int_equal(b.n_asked, 0);
        bench_close(&b);
        th_helpers_free(helpers);
    }
}

static void r23_a_full_queue_is_503(void **state)
{
    (void)state;
    struct bench b;
    struct plug plug;
    struct th_helpers *helpers;
    assert_int_equal(th_helpers_new(1, 1, &helpers), 0);
    bench_open(&b, RS256_KEY, TH_ALG_RS256, helpers);
    plug_in(&plug, helpers, b.worker);
    for (size_t i = 0; i < 3; i++)
        start(&b, "opaque");
    settle(&b);
    assert_true(b.n_ends >= 1);
    assert_int_equal(b.result.error, TH_E_OVERLOADED);
    assert_int_equal(th_error_get(b.result.error)->status, 503);
    b.exchanger = th_exchanger_free(b.exchanger); /* ends the others */
    pull_out(&plug, helpers, &b);
    bench_close(&b);
    th_helpers_free(helpers);
}

/* -- keys ---------------------------------------------------------------------------------------- */

static void keys_are_parsed_once_a_snapshot(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
    const struct th_config *old = (const void *)&b.clock, *new = (const void *)&b.world;
    struct th_key *keys[3];
    struct th_config_auth other = b.world.agent.auth;
    assert_int_equal(th_exchanger_get_key(b.exchanger, old, &b.world.agent.auth, &keys[0]), 0);
    assert_int_equal(th_exchanger_get_key(b.exchanger, old, &b.world.agent.auth, &keys[1]), 0);
    assert_ptr_equal(keys[0], keys[1]);
    assert_int_equal(b.exchanger->n_keys, 1);
    other.key = th_secret_new(RS256_KEY, strlen(RS256_KEY));
    assert_int_equal(th_exchanger_get_key(b.exchanger, new, &other, &keys[2]), 0);
    assert_int_equal(b.exchanger->n_keys, 1); /* that of the old snapshot is gone */
    assert_ptr_equal(b.exchanger->keys[0].secret, other.key);
    th_secret_unref(other.key);
    for (size_t i = 0; i < TH_EXCHANGER_KEYS + 3; i++) {
        struct th_key *key;
        other.key = th_secret_new(ES256_KEY, strlen(ES256_KEY));
        assert_int_equal(th_exchanger_get_key(b.exchanger, new, &other, &key), 0);
        th_key_unref(key);
        th_secret_unref(other.key);
    }
    assert_int_equal(b.exchanger->n_keys, TH_EXCHANGER_KEYS);
    for (size_t i = 0; i < 3; i++)
        th_key_unref(keys[i]);
    bench_close(&b);
}

#ifdef TH_FAIL_ALLOC
static void r24_out_of_memory_ends_it_well(void **state)
{
    (void)state;
    struct tokens t;
    int error = TH_E_NOMEM;
    tokens_open(&t);
    for (unsigned long nth = 1; error != 0; nth++) {
        struct bench b;
        bench_open(&b, ES256_KEY, TH_ALG_ES256, NULL);
        assert_true(nth < 1000);
        th_mem_fail_after(nth, 1);
        error = try_start(&b, t.subject.ptr, NULL);
        if (error == 0) {
            settle(&b);
            if (b.fn != NULL)
                answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
            if (b.fn != NULL)
                answer(&b, 200, ACCESS_OK, t.access.ptr);
            assert_int_equal(b.n_ends, 1);
            error = b.result.error;
        }
        th_mem_fail_after(0, 0);
        if (error != 0 && error != TH_E_NOMEM)
            fail_msg("%lu: %s %s", nth, th_error_get(error)->name, b.result.detail);
        bench_close(&b);
    }
    tokens_close(&t);
}
#endif

int main(void)
{
    th_json_start();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_two_legs),
        cmocka_unit_test(what_is_not_configured_is_not_sent),
        cmocka_unit_test(r12_every_try_has_a_fresh_assertion),
        cmocka_unit_test(transport_is_tried_again_once_and_on_leg_2_only),
        cmocka_unit_test(a_503_is_no_reason_to_ask_again),
        cmocka_unit_test(invalid_grant_runs_leg_1_anew_once),
        cmocka_unit_test(r26_a_misbound_id_jag_is_not_carried_on),
        cmocka_unit_test(r26_what_differs_is_refused),
        cmocka_unit_test(r22_the_deadline_ends_each_leg),
        cmocka_unit_test(cancelled_it_says_nothing_more),
        cmocka_unit_test(refused_subjects_cost_no_request),
        cmocka_unit_test(a_key_that_cannot_be_used_is_ours_to_mend),
        cmocka_unit_test(r11_no_token_in_any_text),
        cmocka_unit_test(consent_is_passed_on),
        cmocka_unit_test(rsa_signs_on_a_helper),
        cmocka_unit_test(rsa_signs_in_place_without_helpers),
        cmocka_unit_test(while_a_helper_signs),
        cmocka_unit_test(r23_a_full_queue_is_503),
        cmocka_unit_test(keys_are_parsed_once_a_snapshot),
#ifdef TH_FAIL_ALLOC
        cmocka_unit_test(r24_out_of_memory_ends_it_well),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
