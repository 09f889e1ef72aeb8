/* Exchanges that prove possession: which requests bear a proof, that each is a new one, where it is made. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "test_bench.h"
#include "tokenhop/base/check.h"

struct proof {
    struct th_jwt jwt;
    char jkt[TH_DPOP_THUMBPRINT_LEN + 1];
};

/* Of a request that must bear one. */
static void read_proof(const struct bench *b, size_t request, const char *url, struct proof *proof)
{
    struct th_key *key;
    struct th_buf jkt;
    assert_true(request < b->n_asked);
    assert_non_null(b->asked[request].dpop);
    assert_int_equal(th_jwt_parse(th_str_of(b->asked[request].dpop), &proof->jwt), 0);
    assert_int_equal(th_key_from_jwk(json_object_get(proof->jwt.header, "jwk"), &key, NULL), 0);
    assert_int_equal(th_jwt_verify(&proof->jwt, key), 0);
    th_buf_init(&jkt, 100);
    assert_int_equal(th_key_thumbprint(key, &jkt), 0);
    memcpy(proof->jkt, jkt.ptr, sizeof proof->jkt);
    th_buf_fini(&jkt);
    th_key_unref(key);
    assert_true(th_str_equal(th_jwt_text(proof->jwt.claims, "htm"), TH_STR("POST")));
    assert_string_equal(th_jwt_text(proof->jwt.claims, "htu").ptr, url);
    assert_null(json_object_get(proof->jwt.claims, "ath"));
    assert_int_equal(th_jwt_time_ms(proof->jwt.claims, "iat"),
                     b->clock.fake_wall_ms / 1000 * 1000 - 1000);
}

static void assert_nonce(const struct bench *b, size_t request, const char *url, const char *want)
{
    struct proof proof;
    read_proof(b, request, url, &proof);
    const json_t *nonce = json_object_get(proof.jwt.claims, "nonce");
    if (want == NULL)
        assert_null(nonce);
    else
        assert_string_equal(json_string_value(nonce), want);
    th_jwt_fini(&proof.jwt);
}

static void dpop_open(struct bench *b, struct tokens *t, enum th_dpop dpop,
                      struct th_helpers *helpers)
{
    bench_open(b, ES256_KEY, TH_ALG_ES256, helpers);
    b->world.connection.dpop = dpop;
    b->world.agent.dpop_key.alg = TH_ALG_ES256;
    tokens_open(t);
}

static void dpop_close(struct bench *b, struct tokens *t)
{
    th_secret_unref(b->world.agent.dpop_key.key);
    tokens_close(t);
    bench_close(b);
}

static void answer_with_nonce(struct bench *b, int status, const char *body, const char *nonce)
{
    char *text = strdup(body);
    for (char *c = text; *c != '\0'; c++)
        *c = *c == '\'' ? '"' : *c;
    const struct th_fetch_response response = {.status = status,
                                               .content_type = TH_STR("application/json"),
                                               .dpop_nonce = th_str_of(nonce),
                                               .retry_after_ms = -1,
                                               .rate_limit_reset_ms = -1,
                                               .fresh_ms = -1,
                                               .body = th_str_of(text)};
    answer_raw(b, &response);
    free(text);
}

#define WANTS_NONCE "{'error':'use_dpop_nonce'}"

static void which_legs_bear_a_proof(void **state)
{
    static const struct {
        enum th_dpop dpop;
        bool first, second;
        const char *grant;
    } cases[] = {
        {TH_DPOP_OFF, false, false, JB},
        {TH_DPOP_TOKEN, false, true, JB},
        {TH_DPOP_ALL_LEGS, true, true, JB},
        {TH_DPOP_BOUND_ID_JAG, true, true, "urn:ietf:params:oauth:grant-type:jwt-dpop"},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct bench b;
        struct tokens t;
        dpop_open(&b, &t, cases[i].dpop, NULL);
        start(&b, t.subject.ptr);
        assert_int_equal(b.asked[0].dpop != NULL, cases[i].first);
        answer(&b, 200, ID_JAG_OK, "opaque");
        assert_int_equal(b.asked[1].dpop != NULL, cases[i].second);
        assert_field(&b, 1, "grant_type", cases[i].grant);
        answer(&b, 200, ACCESS_OK, t.access.ptr);
        assert_int_equal(b.result.error, 0);
        assert_null(b.result.dpop_key); /* not bound */
        dpop_close(&b, &t);
    }
}

/* A leg after another, a nonce, a refused proof, a connection that broke: each time another proof, and each
 * reason once a leg. */
static void no_proof_is_sent_twice(void **state)
{
    static const struct {
        const char *url, *nonce;
    } want[] = {
        {ORG_TOKEN, NULL},    {ORG_TOKEN, "o1"},    {CUSTOM_TOKEN, "o1"}, /* the same server */
        {CUSTOM_TOKEN, "c1"}, {CUSTOM_TOKEN, "c2"}, {CUSTOM_TOKEN, "c2"},
    };
    struct bench b;
    struct tokens t;
    struct proof proofs[TH_COUNT_OF(want)];
    dpop_open(&b, &t, TH_DPOP_ALL_LEGS, NULL);
    start(&b, t.subject.ptr);
    answer_with_nonce(&b, 400, WANTS_NONCE, "o1");
    answer(&b, 200, ID_JAG_OK, "opaque");
    answer_with_nonce(&b, 401, WANTS_NONCE, "c1");
    answer_with_nonce(&b, 400, "{'error':'invalid_dpop_proof'}", "c2");
    break_off(&b, TH_E_EXCHANGE_DOWN);
    answer_with_nonce(&b, 400, "{'error':'invalid_dpop_proof'}", "c3");
    assert_int_equal(b.n_ends, 1);
    assert_int_equal(b.result.error, TH_E_EXCHANGE_REQUEST);
    assert_int_equal(b.n_asked, TH_COUNT_OF(want));
    for (size_t i = 0; i < TH_COUNT_OF(want); i++) {
        read_proof(&b, i, want[i].url, &proofs[i]);
        assert_nonce(&b, i, want[i].url, want[i].nonce);
        assert_string_equal(proofs[i].jkt, proofs[0].jkt);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(th_jwt_text(proofs[i].jwt.claims, "jti").ptr,
                                    th_jwt_text(proofs[k].jwt.claims, "jti").ptr);
    }
    for (size_t i = 0; i < TH_COUNT_OF(want); i++)
        th_jwt_fini(&proofs[i].jwt);
    dpop_close(&b, &t);
}

/* RFC 9449, 8.2: of any answer, so that the one that needs it costs no second request. */
static void a_nonce_comes_with_any_answer(void **state)
{
    struct bench b;
    struct tokens t;
    char *id_jag;
    dpop_open(&b, &t, TH_DPOP_TOKEN, NULL);
    start(&b, t.subject.ptr);
    assert_null(b.asked[0].dpop);
    assert_true(asprintf(&id_jag, ID_JAG_OK, "opaque") > 0);
    answer_with_nonce(&b, 200, id_jag, "n1");
    free(id_jag);
    assert_nonce(&b, 1, CUSTOM_TOKEN, "n1");
    th_exchange_cancel(b.exchange);
    dpop_close(&b, &t);
}

static void the_query_of_an_endpoint_is_not_proved(void **state)
{
    struct bench b;
    struct tokens t;
    dpop_open(&b, &t, TH_DPOP_TOKEN, NULL);
    b.world.custom.token_endpoint = TH_STR(CUSTOM_TOKEN "?tenant=1");
    start(&b, t.subject.ptr);
    answer(&b, 200, ID_JAG_OK, "opaque");
    assert_string_equal(b.asked[1].url, CUSTOM_TOKEN "?tenant=1");
    assert_nonce(&b, 1, CUSTOM_TOKEN, NULL);
    th_exchange_cancel(b.exchange);
    dpop_close(&b, &t);
}

static void what_is_bound_to_the_key(void **state)
{
    struct bench b;
    struct tokens t;
    struct proof proof;
    struct th_dpop_key *key;
    dpop_open(&b, &t, TH_DPOP_TOKEN, NULL);
    start(&b, t.subject.ptr);
    answer(&b, 200, ID_JAG_OK, "opaque");
    read_proof(&b, 1, CUSTOM_TOKEN, &proof);
    answer(&b, 200, "{'token_type':'DPoP','expires_in':60,'access_token':'opaque'}");
    assert_int_equal(b.result.error, 0);
    assert_int_equal(th_dpop_keys_get(b.exchanger->dpop_keys, &b.world.agent, &key), 0);
    assert_ptr_equal(b.result.dpop_key, key);
    assert_string_equal(th_dpop_key_thumbprint(key).ptr, proof.jkt);
    th_jwt_fini(&proof.jwt);
    th_dpop_key_unref(key);
    dpop_close(&b, &t);
}

static void the_rejected_token_is_revoked_without_a_proof(void **state)
{
    struct bench b;
    struct tokens t;
    dpop_open(&b, &t, TH_DPOP_ALL_LEGS, NULL);
    b.world.connection.type = TH_TYPE_RESOURCE_SERVER;
    b.world.org.revocation_endpoint = TH_STR(ORG "/oauth2/v1/revoke");
    b.rejected = TH_STR("gho_dead");
    start(&b, t.subject.ptr);
    assert_null(b.asked[0].dpop);
    answer(&b, 200, "%s", "");
    assert_non_null(b.asked[1].dpop);
    th_exchange_cancel(b.exchange);
    dpop_close(&b, &t);
}

static void a_key_that_cannot_be_used(void **state)
{
    struct bench b;
    struct tokens t;
    dpop_open(&b, &t, TH_DPOP_TOKEN, NULL);
    b.world.agent.dpop_key.key = th_secret_new("nonsense", 8);
    start(&b, t.subject.ptr);
    answer(&b, 200, ID_JAG_OK, "opaque");
    settle(&b);
    assert_int_equal(b.n_asked, 1);
    assert_int_equal(b.n_ends, 1);
    assert_int_equal(b.result.error, TH_E_CONFIG);
    dpop_close(&b, &t);
}

/* -- an RSA key, on a helper thread -------------------------------------------------------------- */

static void use_rsa(struct bench *b)
{
    b->world.agent.dpop_key = (struct th_config_dpop_key){
        .alg = TH_ALG_RS256, .key = th_secret_new(RS256_KEY, strlen(RS256_KEY))};
}

static void wait_until_asked(struct bench *b, size_t n)
{
    for (int i = 0; i < 5000 && b->n_asked < n; i++) {
        if (!th_worker_turn(b->worker))
            poll(NULL, 0, 1);
    }
    assert_int_equal(b->n_asked, n);
}

static void a_slow_key_proves_on_a_helper(void **state)
{
    static const enum th_auth_method methods[] = {TH_AUTH_PRIVATE_KEY_JWT, TH_AUTH_NONE};
    for (size_t i = 0; i < TH_COUNT_OF(methods); i++) {
        struct bench b;
        struct tokens t;
        struct th_helpers *helpers;
        assert_int_equal(th_helpers_new(1, 16, &helpers), 0);
        dpop_open(&b, &t, TH_DPOP_ALL_LEGS, helpers);
        use_rsa(&b);
        b.world.agent.auth.method = methods[i];
        start(&b, t.subject.ptr);
        assert_int_equal(b.n_asked, 0); /* not on the worker */
        assert_int_equal(b.exchange->state, TH_EXCHANGE_PROVING);
        wait_until_asked(&b, 1);
        assert_nonce(&b, 0, ORG_TOKEN, NULL);
        answer(&b, 200, ID_JAG_OK, "opaque");
        wait_until_asked(&b, 2);
        answer_with_nonce(&b, 400, WANTS_NONCE, "n1");
        wait_until_asked(&b, 3);
        assert_nonce(&b, 2, CUSTOM_TOKEN, "n1");
        th_exchange_cancel(b.exchange);
        start(&b, t.subject.ptr);
        th_exchange_cancel(b.exchange); /* while the helper is at it, or will be */
        th_helpers_stop(helpers);
        settle(&b);
        assert_int_equal(b.n_asked, 3);
        assert_int_equal(b.n_ends, 0);
        dpop_close(&b, &t);
        th_helpers_free(helpers);
    }
}

static void a_slow_key_proves_in_place_without_helpers(void **state)
{
    struct bench b;
    struct tokens t;
    dpop_open(&b, &t, TH_DPOP_ALL_LEGS, NULL);
    use_rsa(&b);
    start(&b, t.subject.ptr);
    assert_int_equal(b.n_asked, 1);
    assert_nonce(&b, 0, ORG_TOKEN, NULL);
    th_exchange_cancel(b.exchange);
    dpop_close(&b, &t);
}

/* -- what is shown ------------------------------------------------------------------------------- */

struct seen {
    struct th_buf text;
};

static void on_request(void *arg, const struct th_exchange_leg_report *leg,
                       const struct th_exchange_shown *shown, size_t n)
{
    struct seen *seen = arg;
    th_buf_printf(&seen->text, "> %s\n", leg->name);
    for (size_t i = 0; i < n; i++) {
        if (th_str_equal(shown[i].name, TH_STR("DPoP")))
            th_buf_printf(&seen->text, "DPoP: %.*s\n", TH_STR_ARGS(shown[i].text));
    }
}

static void on_answer(void *arg, const struct th_exchange_leg_report *leg,
                      const struct th_exchange_shown *shown, size_t n, const char *why)
{
    struct seen *seen = arg;
    for (size_t i = 0; i < n; i++) {
        if (th_str_equal(shown[i].name, TH_STR("token_type")))
            th_buf_printf(&seen->text, "token_type: %.*s\n", TH_STR_ARGS(shown[i].text));
    }
}

static void on_note(void *arg, const char *note)
{
    struct seen *seen = arg;
    th_buf_printf(&seen->text, "note: %s\n", note);
}

static void proofs_are_named_and_not_shown(void **state)
{
    static const struct th_exchange_observer observer = {on_request, on_answer, on_note};
    struct bench b;
    struct tokens t;
    struct proof proof;
    struct seen seen;
    char want[400];
    dpop_open(&b, &t, TH_DPOP_TOKEN, NULL);
    th_buf_init(&seen.text, 1 << 16);
    b.observer = &observer;
    b.observer_arg = &seen;
    start(&b, t.subject.ptr);
    answer(&b, 200, ID_JAG_OK, "opaque");
    read_proof(&b, 1, CUSTOM_TOKEN, &proof);
    answer(&b, 200, ACCESS_OK, t.access.ptr);
    (void)snprintf(
        want, sizeof want,
        "> id_jag\ntoken_type: N_A\n> access_token\nDPoP: a proof by the key %s\n"
        "token_type: Bearer\nnote: a DPoP proof was sent, but the token is not bound: it "
        "is used as a bearer token\n",
        proof.jkt);
    assert_string_equal(seen.text.ptr, want);
    th_jwt_fini(&proof.jwt);
    th_buf_fini(&seen.text);
    dpop_close(&b, &t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(which_legs_bear_a_proof),
        cmocka_unit_test(no_proof_is_sent_twice),
        cmocka_unit_test(a_nonce_comes_with_any_answer),
        cmocka_unit_test(the_query_of_an_endpoint_is_not_proved),
        cmocka_unit_test(what_is_bound_to_the_key),
        cmocka_unit_test(the_rejected_token_is_revoked_without_a_proof),
        cmocka_unit_test(a_key_that_cannot_be_used),
        cmocka_unit_test(a_slow_key_proves_on_a_helper),
        cmocka_unit_test(a_slow_key_proves_in_place_without_helpers),
        cmocka_unit_test(proofs_are_named_and_not_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
