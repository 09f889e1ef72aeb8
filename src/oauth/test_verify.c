/* What comes before the first leg: the subject token is verified, and servers are found. */
#include <stdlib.h>

#include "test_bench.h"

#define ORG_KEYS ORG "/oauth2/v1/keys"
#define SET_OF(kid) "{\"keys\":[{" RFC7515_A3_PUBLIC ",\"kid\":\"" kid "\"}]}"
#define GOOD "'iss':'" ORG "','aud':'wlpA1','sub':'00u1','iat':1699999990,'exp':1700003600"

static void open_verifying(struct bench *b)
{
    bench_open(b, ES256_KEY, TH_ALG_ES256, NULL);
    b->world.org.jwks_uri = TH_STR(ORG_KEYS);
    b->world.custom.jwks_uri = TH_STR(CUSTOM "/v1/keys");
}

/* Signed by the key of SET_OF(), to be freed. ' stands for ". */
static char *sign(const char *members, const char *kid, enum th_alg alg, const char *key_text)
{
    struct th_key *key;
    struct th_secret *token;
    char *text, *copy;
    assert_true(asprintf(&text, "{%s}", members) >= 0);
    for (char *c = text; *c != '\0'; c++)
        *c = *c == '\'' ? '"' : *c;
    json_t *claims = json_loads(text, 0, NULL);
    assert_non_null(claims);
    assert_int_equal(th_key_parse(th_str_of(key_text), &key, NULL), 0);
    assert_int_equal(th_jwt_sign(key, alg, th_str_of(kid), TH_STR_NONE, claims, &token), 0);
    copy = strdup(th_secret_expose(token).ptr);
    th_secret_unref(token);
    th_key_unref(key);
    json_decref(claims);
    free(text);
    return copy;
}

static char *sign_good(const char *kid)
{
    return sign(GOOD, kid, TH_JWS_ES256, ES256_KEY);
}

static void answer_text(struct bench *b, int status, const char *body)
{
    const struct th_fetch_response response = {.status = status,
                                               .retry_after_ms = -1,
                                               .rate_limit_reset_ms = -1,
                                               .fresh_ms = -1,
                                               .body = th_str_of(body)};
    answer_raw(b, &response);
}

static void assert_asked(const struct bench *b, size_t n, const char *url)
{
    assert_int_equal(b->n_asked, n);
    assert_string_equal(b->asked[n - 1].url, url);
}

/* Ends the leg that is under way. */
static void refuse_leg(struct bench *b)
{
    answer(b, 400, "{'error':'access_denied'}");
    assert_int_equal(b->result.error, TH_E_ACCESS_DENIED);
}

static void the_keys_come_first(void **state)
{
    (void)state;
    struct bench b;
    open_verifying(&b);
    char *token = sign_good("k1");
    start(&b, token);
    assert_asked(&b, 1, ORG_KEYS);
    assert_null(b.asked[0].body);
    answer_text(&b, 200, SET_OF("k1"));
    assert_asked(&b, 2, ORG_TOKEN);
    refuse_leg(&b);
    /* Once for all that follow. */
    start(&b, token);
    assert_asked(&b, 3, ORG_TOKEN);
    refuse_leg(&b);
    free(token);
    bench_close(&b);
}

static const struct {
    const char *name, *members, *kid, *key;
    enum th_alg alg;
    enum th_subject_type type;
    int error; /* 0: it goes on */
    bool asks; /* for the keys */
} tokens[] = {
    {"good", GOOD, "k1", ES256_KEY, TH_JWS_ES256, TH_SUBJECT_AUTO, 0, true},
    {"no kid", GOOD, NULL, ES256_KEY, TH_JWS_ES256, TH_SUBJECT_AUTO, 0, true},
    {"of the custom server",
     "'iss':'" CUSTOM "','aud':'https://agent1.example.com','exp':1700003600", "k1", ES256_KEY,
     TH_JWS_ES256, TH_SUBJECT_AUTO, 0, true},
    {"of a linked client", "'iss':'" ORG "','aud':['0oaLinked','x'],'exp':1700003600", "k1",
     ES256_KEY, TH_JWS_ES256, TH_SUBJECT_AUTO, 0, true},
    {"another key", GOOD, "k1", RS256_KEY, TH_JWS_RS256, TH_SUBJECT_AUTO, TH_E_SUBJECT_UNTRUSTED,
     true},
    {"unknown kid", GOOD, "k2", ES256_KEY, TH_JWS_ES256, TH_SUBJECT_AUTO, TH_E_SUBJECT_UNTRUSTED,
     true},
    {"access token for another", "'iss':'" ORG "','aud':'https://x.example','exp':1700003600", "k1",
     ES256_KEY, TH_JWS_ES256, TH_SUBJECT_ACCESS_TOKEN, TH_E_SUBJECT_AUDIENCE, false},
    {"no audience", "'iss':'" ORG "','exp':1700003600", "k1", ES256_KEY, TH_JWS_ES256,
     TH_SUBJECT_AUTO, TH_E_SUBJECT_AUDIENCE, false},
    {"no end", "'iss':'" ORG "','aud':'wlpA1'", "k1", ES256_KEY, TH_JWS_ES256, TH_SUBJECT_AUTO,
     TH_E_SUBJECT_UNTRUSTED, false},
    {"the end is a text", "'iss':'" ORG "','aud':'wlpA1','exp':'1700003600'", "k1", ES256_KEY,
     TH_JWS_ES256, TH_SUBJECT_AUTO, TH_E_SUBJECT_UNTRUSTED, false},
    {"not yet", GOOD ",'nbf':1700000061", "k1", ES256_KEY, TH_JWS_ES256, TH_SUBJECT_AUTO,
     TH_E_SUBJECT_UNTRUSTED, false},
    {"almost", GOOD ",'nbf':1700000060", "k1", ES256_KEY, TH_JWS_ES256, TH_SUBJECT_AUTO, 0, true},
    {"nbf is a text", GOOD ",'nbf':'1'", "k1", ES256_KEY, TH_JWS_ES256, TH_SUBJECT_AUTO,
     TH_E_SUBJECT_UNTRUSTED, false},
    {"of the future", "'iss':'" ORG "','aud':'wlpA1','iat':1700000061,'exp':1700003600", "k1",
     ES256_KEY, TH_JWS_ES256, TH_SUBJECT_AUTO, TH_E_SUBJECT_UNTRUSTED, false},
    {"of a clock ahead", "'iss':'" ORG "','aud':'wlpA1','iat':1700000060,'exp':1700003600", "k1",
     ES256_KEY, TH_JWS_ES256, TH_SUBJECT_AUTO, 0, true},
};

static void tokens_are_judged(void **state)
{
    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(tokens); i++) {
        struct bench b;
        open_verifying(&b);
        b.world.connection.subject_type = tokens[i].type;
        char *token = sign(tokens[i].members, tokens[i].kid, tokens[i].alg, tokens[i].key);
        start(&b, token);
        settle(&b);
        bool asked = b.n_asked > 0 && b.asked[0].body == NULL;
        if (asked != tokens[i].asks)
            fail_msg("%s: the keys were%s asked for", tokens[i].name, asked ? "" : " not");
        if (asked)
            answer_text(&b, 200, SET_OF("k1"));
        if (tokens[i].error == 0) {
            assert_asked(&b, 2, ORG_TOKEN);
            refuse_leg(&b);
        } else {
            assert_int_equal(b.n_asked, asked);
            assert_int_equal(b.n_ends, 1);
            if (b.result.error != tokens[i].error)
                fail_msg("%s: %s: %s", tokens[i].name, th_error_get(b.result.error)->name,
                         b.result.detail);
            assert_non_null(strstr(b.result.detail, "the subject token is not accepted: "));
            assert_int_equal(b.result.n_legs, 0);
        }
        free(token);
        bench_close(&b);
    }
}

/* `none`; HS256 with what everybody knows for a secret; an algorithm that nobody knows. */
static void algorithms_are_the_keys(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "{'alg':'none'}", "{'alg':'None','kid':'k1'}", "{'alg':'HS256','kid':'k1'}",
        "{'kid':'k1'}",   "{'alg':['ES256']}",         "{'alg':'ES256K','kid':'k1'}",
    };
    for (size_t i = 0; i < TH_COUNT_OF(headers); i++) {
        struct bench b;
        struct th_buf token;
        open_verifying(&b);
        make_token(&token, headers[i], "{" GOOD "}");
        start(&b, token.ptr);
        settle(&b);
        assert_int_equal(b.n_asked, 0); /* no keys are needed to know it */
        assert_int_equal(b.result.error, TH_E_SUBJECT_UNTRUSTED);
        th_buf_fini(&token);
        bench_close(&b);
    }
}

static void who_is_verified(void **state)
{
    (void)state;
    static const char elsewhere[] = "'iss':'https://elsewhere.example','aud':'wlpA1',"
                                    "'exp':1700003600";
    static const struct {
        enum th_subject_verify verify;
        const char *members; /* NULL: opaque */
        const char *first;   /* what is asked first; NULL: refused */
    } rows[] = {
        {TH_SUBJECT_VERIFY_KNOWN, GOOD, ORG_KEYS},
        {TH_SUBJECT_VERIFY_KNOWN, elsewhere, ORG_TOKEN},
        {TH_SUBJECT_VERIFY_KNOWN, "'iss':'" ORG "/','aud':'wlpA1'", ORG_TOKEN},
        {TH_SUBJECT_VERIFY_KNOWN, NULL, ORG_TOKEN},
        {TH_SUBJECT_VERIFY_ALWAYS, GOOD, ORG_KEYS},
        {TH_SUBJECT_VERIFY_ALWAYS, elsewhere, NULL},
        {TH_SUBJECT_VERIFY_ALWAYS, "'aud':'wlpA1','exp':1700003600", NULL},
        {TH_SUBJECT_VERIFY_ALWAYS, NULL, NULL},
        {TH_SUBJECT_VERIFY_NEVER, GOOD, ORG_TOKEN},
        {TH_SUBJECT_VERIFY_NEVER, elsewhere, ORG_TOKEN},
    };
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct bench b;
        open_verifying(&b);
        b.world.connection.subject_verify = rows[i].verify;
        char *token = rows[i].members != NULL ? sign(rows[i].members, "k1", TH_JWS_ES256, ES256_KEY)
                                              : strdup("opaque-subject-token");
        start(&b, token);
        settle(&b);
        if (rows[i].first != NULL) {
            assert_asked(&b, 1, rows[i].first);
            th_exchange_cancel(b.exchange);
        } else {
            assert_int_equal(b.n_asked, 0);
            assert_int_equal(b.result.error, TH_E_SUBJECT_UNTRUSTED);
        }
        free(token);
        bench_close(&b);
    }
}

/* The connection's own list goes before the agent's. */
static void issuers_of_the_connection(void **state)
{
    (void)state;
    struct bench b;
    open_verifying(&b);
    const struct th_config_authorization_server *const only[] = {&b.world.custom};
    b.world.connection.subject_issuers = only;
    b.world.connection.n_subject_issuers = 1;
    b.world.connection.subject_verify = TH_SUBJECT_VERIFY_ALWAYS;
    char *token = sign_good("k1");
    start(&b, token);
    settle(&b);
    assert_int_equal(b.result.error, TH_E_SUBJECT_UNTRUSTED);
    assert_int_equal(b.n_asked, 0);
    free(token);
    bench_close(&b);
}

/* R28: whatever is wrong with the keys, the caller's token is not blamed. */
static void keys_that_do_not_come(void **state)
{
    (void)state;
    static const struct {
        int error, status;
        const char *body;
    } rows[] = {
        {TH_E_EXCHANGE_DOWN, 0, NULL},
        {TH_E_EXCHANGE_TIMEOUT, 0, NULL},
        {TH_E_EXCHANGE_FAILED, 0, NULL},
        {TH_E_CLEARTEXT_DENIED, 0, NULL},
        {0, 404, ""},
        {0, 401, "{}"},
        {0, 500, ""},
        {0, 302, ""},
        {0, 200, "<html>"},
        {0, 200, "{\"keys\":{}}"},
    };
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct bench b;
        open_verifying(&b);
        char *token = sign_good("k1");
        start(&b, token);
        if (rows[i].error != 0)
            break_off(&b, rows[i].error);
        else
            answer_text(&b, rows[i].status, rows[i].body);
        assert_int_equal(b.n_ends, 1);
        assert_int_equal(b.result.error, TH_E_EXCHANGE_DOWN);
        assert_true(b.result.retry_after_ms > 0);
        assert_non_null(strstr(b.result.detail, "the keys of authorization server \"org\""));
        free(token);
        bench_close(&b);
    }
}

static void keys_that_rotate(void **state)
{
    (void)state;
    struct bench b;
    open_verifying(&b);
    char *old = sign_good("k1"), *new;
    start(&b, old);
    answer_text(&b, 200, SET_OF("k1"));
    refuse_leg(&b);
    /* A new key right after: the set may be too old, but may not be asked for yet. A token that says
     * it was issued before the set was asked for would have its key in it. */
    pass(&b, 10000);
    new = sign("'iss':'" ORG "','aud':'wlpA1','iat':1700000009,'exp':1700003600", "k2",
               TH_JWS_ES256, ES256_KEY);
    start(&b, new);
    settle(&b);
    assert_int_equal(b.n_asked, 2);
    assert_int_equal(b.result.error, TH_E_EXCHANGE_DOWN);
    assert_int_equal(b.result.retry_after_ms, 20000);
    char *forged = sign_good("k2");
    start(&b, forged);
    settle(&b);
    assert_int_equal(b.n_asked, 2);
    assert_int_equal(b.result.error, TH_E_SUBJECT_UNTRUSTED);
    free(forged);
    /* Half a minute after the last time it is asked for at once. */
    pass(&b, 20000);
    start(&b, new);
    assert_asked(&b, 3, ORG_KEYS);
    answer_text(&b, 200, SET_OF("k2"));
    assert_asked(&b, 4, ORG_TOKEN);
    refuse_leg(&b);
    /* The old one is not there any more. */
    pass(&b, 30000);
    start(&b, old);
    assert_asked(&b, 5, ORG_KEYS);
    answer_text(&b, 200, SET_OF("k2"));
    assert_int_equal(b.result.error, TH_E_SUBJECT_UNTRUSTED);
    free(old);
    free(new);
    bench_close(&b);
}

static void it_ends_while_it_waits(void **state)
{
    (void)state;
    struct bench b;
    open_verifying(&b);
    char *token = sign_good("k1");
    start(&b, token);
    pass(&b, DEADLINE_MS + 100);
    assert_int_equal(b.result.error, TH_E_EXCHANGE_TIMEOUT);
    /* The fetch goes on, and serves who comes next. */
    answer_text(&b, 200, SET_OF("k1"));
    assert_int_equal(b.n_ends, 1);
    start(&b, token);
    assert_asked(&b, 2, ORG_TOKEN);
    th_exchange_cancel(b.exchange);
    free(token);
    bench_close(&b);
}

static void cancelled_while_it_waits(void **state)
{
    (void)state;
    struct bench b;
    open_verifying(&b);
    char *token = sign_good("k1");
    start(&b, token);
    th_exchange_cancel(b.exchange);
    answer_text(&b, 200, SET_OF("k1"));
    assert_int_equal(b.n_ends, 0);
    start(&b, token);
    b.exchanger = th_exchanger_free(b.exchanger); /* cancels it, and its fetch */
    free(token);
    bench_close(&b);
}

/* -- servers that are found ---------------------------------------------------------------------- */

#define OTHER "https://idp.example/realms/x"
#define OTHER_METADATA "https://idp.example/.well-known/oauth-authorization-server/realms/x"

static void servers_are_found(void **state)
{
    (void)state;
    struct bench b;
    struct tokens t;
    open_verifying(&b);
    tokens_open(&t);
    b.world.connection.subject_verify = TH_SUBJECT_VERIFY_NEVER;
    b.world.custom = (struct th_config_authorization_server){
        .name = TH_STR("custom"), .issuer = TH_STR(OTHER), .ca_file = TH_STR("ca.pem")};
    start(&b, t.subject.ptr);
    assert_asked(&b, 1, ORG_TOKEN); /* this one is derived */
    answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
    assert_asked(&b, 2, OTHER_METADATA);
    assert_null(b.asked[1].body);
    assert_string_equal(b.asked[1].ca_file, "ca.pem");
    answer_text(&b, 200,
                "{\"issuer\":\"" OTHER "\",\"token_endpoint\":\"https://t.example/token\"}");
    assert_asked(&b, 3, "https://t.example/token");
    free(check_assertion(&b, 2, "https://t.example/token", ES256_KEY));
    answer(&b, 200, ACCESS_OK, t.access.ptr);
    assert_int_equal(b.result.error, 0);
    assert_int_equal(b.result.n_legs, 2);
    forget_asked(&b);
    /* Known from now on. */
    start(&b, t.subject.ptr);
    answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
    assert_asked(&b, 2, "https://t.example/token");
    th_exchange_cancel(b.exchange);
    tokens_close(&t);
    bench_close(&b);
}

static void servers_that_are_not_found(void **state)
{
    (void)state;
    static const struct {
        int error, status;
        const char *body;
        int want;
    } rows[] = {
        {TH_E_EXCHANGE_DOWN, 0, NULL, TH_E_EXCHANGE_DOWN},
        {0, 503, "", TH_E_EXCHANGE_DOWN},
        {0, 200, "{\"issuer\":\"" OTHER "\"}", TH_E_EXCHANGE_FAILED},
    };
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct bench b;
        open_verifying(&b);
        b.world.org =
            (struct th_config_authorization_server){.name = TH_STR("org"), .issuer = TH_STR(OTHER)};
        start(&b, "opaque");
        assert_asked(&b, 1, OTHER_METADATA);
        if (rows[i].error != 0)
            break_off(&b, rows[i].error);
        else
            answer_text(&b, rows[i].status, rows[i].body);
        assert_int_equal(b.n_ends, 1);
        assert_int_equal(b.result.error, rows[i].want);
        assert_int_equal(b.result.n_legs, 0);
        bench_close(&b);
    }
}

/* Where the keys are is in the metadata too. */
static void keys_are_found(void **state)
{
    (void)state;
    struct bench b;
    open_verifying(&b);
    b.world.org =
        (struct th_config_authorization_server){.name = TH_STR("org"), .issuer = TH_STR(OTHER)};
    char *token =
        sign("'iss':'" OTHER "','aud':'wlpA1','exp':1700003600", "k1", TH_JWS_ES256, ES256_KEY);
    start(&b, token);
    assert_asked(&b, 1, OTHER_METADATA);
    answer_text(&b, 200,
                "{\"issuer\":\"" OTHER "\",\"token_endpoint\":\"https://t.example/token\","
                "\"jwks_uri\":\"https://k.example/keys\"}");
    assert_asked(&b, 2, "https://k.example/keys");
    answer_text(&b, 200, SET_OF("k1"));
    assert_asked(&b, 3, "https://t.example/token");
    refuse_leg(&b);
    free(token);
    bench_close(&b);
}

/* -- memory that is short ------------------------------------------------------------------------ */

/* The whole way to the first leg, answering what is asked; ends however it must. */
static void run_through(struct bench *b, const char *token)
{
    struct th_errinfo err = {0};
    int error = try_start(b, token, &err);
    if (error != 0) {
        b->result.error = error;
        return;
    }
    settle(b);
    while (b->fn != NULL && b->n_asked < ASKED_MAX && b->asked[b->n_asked - 1].body == NULL) {
        if (strcmp(b->asked[b->n_asked - 1].url, OTHER_METADATA) == 0)
            answer_text(b, 200,
                        "{\"issuer\":\"" OTHER "\",\"token_endpoint\":\"https://t.example/token\","
                        "\"jwks_uri\":\"https://k.example/keys\","
                        "\"grant_types_supported\":[\"a\",\"b\"]}");
        else
            answer_text(b, 200, SET_OF("k1"));
    }
    if (b->fn != NULL)
        answer(b, 400, "{'error':'access_denied'}");
}

/* Each allocation fails once: it ends as out of memory, and no token is blamed (R28). */
static void memory_is_short(void **state)
{
    (void)state;
    char *token =
        sign("'iss':'" OTHER "','aud':'wlpA1','exp':1700003600", "k1", TH_JWS_ES256, ES256_KEY);
    unsigned n_short = 0;
    for (unsigned long nth = 1;; nth++) {
        struct bench b;
        open_verifying(&b);
        b.world.org =
            (struct th_config_authorization_server){.name = TH_STR("org"), .issuer = TH_STR(OTHER)};
        th_mem_fail_after(nth, 1);
        run_through(&b, token);
        unsigned long n_made = th_mem_count();
        th_mem_fail_after(0, 0);
        int error = b.result.error;
        n_short += error == TH_E_NOMEM;
        if (error != TH_E_NOMEM && error != TH_E_ACCESS_DENIED)
            fail_msg("allocation %lu: %s: %s", nth, th_error_get(error)->name, b.result.detail);
        /* And it works again. */
        forget_asked(&b);
        pass(&b, 30000);
        run_through(&b, token);
        assert_int_equal(b.result.error, TH_E_ACCESS_DENIED);
        bench_close(&b);
        if (nth > n_made)
            break;
    }
#ifdef TH_FAIL_ALLOC
    assert_true(n_short > 20);
#else
    (void)n_short;
#endif
    free(token);
}

int main(void)
{
    const struct CMUnitTest tests_[] = {
        cmocka_unit_test(the_keys_come_first),
        cmocka_unit_test(tokens_are_judged),
        cmocka_unit_test(algorithms_are_the_keys),
        cmocka_unit_test(who_is_verified),
        cmocka_unit_test(issuers_of_the_connection),
        cmocka_unit_test(keys_that_do_not_come),
        cmocka_unit_test(keys_that_rotate),
        cmocka_unit_test(it_ends_while_it_waits),
        cmocka_unit_test(cancelled_while_it_waits),
        cmocka_unit_test(servers_are_found),
        cmocka_unit_test(servers_that_are_not_found),
        cmocka_unit_test(keys_are_found),
        cmocka_unit_test(memory_is_short),
    };
    th_json_start();
    return cmocka_run_group_tests_name("oauth verify", tests_, NULL, NULL);
}
