/* Metadata and key sets as documents: who fetches, who waits, for how long they are kept. Two workers
 * on one thread, a turned clock, and a fetcher that answers when told to. */
#include <stdlib.h>

#include "test_support.h"
#include "tokenhop/net/fetch.h"
#include "tokenhop/oauth/jwks.h"
#include "tokenhop/oauth/metadata.h"

#define SECOND_MS 1000
#define MINUTE_MS ((int64_t)60 * SECOND_MS)
#define HOUR_MS (60 * MINUTE_MS)
#define KEYS "https://idp.example/keys"
#define ISSUER "https://idp.example/realms/x"
#define EMPTY_SET "{\"keys\":[]}"

struct side;

/* One ask at a time a side. */
struct side {
    struct th_fetcher fetcher; /* first: it is found by it */
    struct th_worker *worker;
    struct th_document_desk *desk;
    struct th_document_waiter waiter;
    unsigned n_told;

    th_fetch_fn *fn; /* NULL: no fetch is under way */
    void *arg;
    char url[256];
    unsigned n_started, n_cancelled;
    int start_error;
};

struct meeting {
    struct th_clock clock;
    struct th_documents *documents;
    struct side sides[2];
    struct th_document_failure failure;
};

static int fake_start(struct th_fetcher *fetcher, const struct th_fetch_request *request,
                      th_fetch_fn *fn, void *arg, struct th_fetch **ret_fetch)
{
    struct side *side = TH_CONTAINER_OF(fetcher, struct side, fetcher);
    if (side->start_error != 0)
        return side->start_error;
    assert_null(side->fn);
    assert_null(request->body.ptr); /* a GET */
    assert_null(request->authorization.ptr);
    assert_in_range(request->timeout_ms, 1, 5000);
    assert_true(request->max_bytes > 0);
    snprintf(side->url, sizeof side->url, "%.*s", TH_STR_ARGS(request->url));
    side->fn = fn;
    side->arg = arg;
    side->n_started++;
    *ret_fetch = (struct th_fetch *)side;
    return 0;
}

static void fake_cancel(struct th_fetcher *fetcher, struct th_fetch *fetch)
{
    struct side *side = TH_CONTAINER_OF(fetcher, struct side, fetcher);
    assert_ptr_equal(fetch, side);
    assert_non_null(side->fn);
    side->fn = NULL;
    side->n_cancelled++;
}

static void on_told(struct th_document_waiter *waiter)
{
    TH_CONTAINER_OF(waiter, struct side, waiter)->n_told++;
}

static void meet(struct meeting *m)
{
    *m = (struct meeting){0};
    th_clock_init_fake(&m->clock, NOW_MS);
    assert_int_equal(th_documents_new(&m->documents), 0);
    for (size_t i = 0; i < 2; i++) {
        struct side *side = &m->sides[i];
        const struct th_worker_options options = {.clock = &m->clock, .index = (unsigned)i};
        side->fetcher = (struct th_fetcher){.start = fake_start, .cancel = fake_cancel};
        side->waiter.fn = on_told;
        assert_int_equal(th_worker_new(&options, &side->worker), 0);
        assert_int_equal(
            th_document_desk_new(m->documents, side->worker, &side->fetcher, &side->desk), 0);
    }
}

static void part(struct meeting *m)
{
    for (size_t i = 0; i < 2; i++) {
        th_document_leave(&m->sides[i].waiter);
        th_document_desk_free(m->sides[i].desk);
        assert_null(m->sides[i].fn);
    }
    for (size_t i = 0; i < 2; i++)
        th_worker_free(m->sides[i].worker);
    th_documents_unref(m->documents);
}

static void settle(struct meeting *m)
{
    while (th_worker_turn(m->sides[0].worker) || th_worker_turn(m->sides[1].worker))
        ;
}

static void respond(struct meeting *m, size_t i, int status, const char *body, int64_t fresh_ms,
                    int64_t retry_after_ms)
{
    struct side *side = &m->sides[i];
    th_fetch_fn *fn = side->fn;
    const struct th_fetch_response response = {.status = status,
                                               .retry_after_ms = retry_after_ms,
                                               .rate_limit_reset_ms = -1,
                                               .fresh_ms = fresh_ms,
                                               .body = th_str_of(body)};
    assert_non_null(fn);
    side->fn = NULL;
    fn(side->arg, 0, &response, NULL);
    settle(m);
}

static void break_off(struct meeting *m, size_t i, int error)
{
    th_fetch_fn *fn = m->sides[i].fn;
    assert_non_null(fn);
    m->sides[i].fn = NULL;
    fn(m->sides[i].arg, error, NULL, "connection refused");
    settle(m);
}

/* 0 and a set, which is given back by the caller; TH_AGAIN; or the error. */
static int ask(struct meeting *m, size_t i, const struct th_jwks *older, const struct th_jwks **ret)
{
    struct side *side = &m->sides[i];
    th_document_leave(&side->waiter);
    return th_jwks_get(side->desk, TH_STR(KEYS), TH_STR_NONE, false, older, &side->waiter, ret,
                       &m->failure);
}

/* Asks and lets go of what comes. */
static int peek(struct meeting *m, size_t i)
{
    const struct th_jwks *jwks = NULL;
    int error = ask(m, i, NULL, &jwks);
    th_jwks_unref(jwks);
    return error;
}

/* A set that both sides are served without asking. */
static const struct th_jwks *fetch_set(struct meeting *m, int64_t fresh_ms)
{
    const struct th_jwks *jwks;
    assert_int_equal(peek(m, 0), TH_AGAIN);
    respond(m, 0, 200, EMPTY_SET, fresh_ms, -1);
    assert_int_equal(ask(m, 0, NULL, &jwks), 0);
    return jwks;
}

static void one_fetch_for_all(void **state)
{
    (void)state;
    struct meeting m;
    const struct th_jwks *jwks, *other;
    meet(&m);
    assert_int_equal(ask(&m, 0, NULL, &jwks), TH_AGAIN);
    assert_int_equal(ask(&m, 1, NULL, &jwks), TH_AGAIN);
    assert_string_equal(m.sides[0].url, KEYS);
    assert_int_equal(m.sides[0].n_told + m.sides[1].n_told, 0);
    respond(&m, 0, 200, EMPTY_SET, -1, -1);
    assert_int_equal(m.sides[0].n_told, 1);
    assert_int_equal(m.sides[1].n_told, 1);
    assert_int_equal(ask(&m, 0, NULL, &jwks), 0);
    assert_int_equal(ask(&m, 1, NULL, &other), 0);
    assert_ptr_equal(jwks, other);
    assert_int_equal(th_jwks_asked_wall_ms(jwks), NOW_MS);
    th_jwks_unref(jwks);
    th_jwks_unref(other);
    assert_int_equal(m.sides[0].n_started, 1);
    assert_int_equal(m.sides[1].n_started, 0);
    part(&m);
}

static void who_leaves_is_not_told(void **state)
{
    (void)state;
    struct meeting m;
    meet(&m);
    assert_int_equal(peek(&m, 0), TH_AGAIN);
    assert_int_equal(peek(&m, 1), TH_AGAIN);
    th_document_leave(&m.sides[0].waiter);
    /* The message to the other is under way when it leaves. */
    const struct th_fetch_response response = {.status = 200, .body = TH_STR(EMPTY_SET)};
    th_fetch_fn *fn = m.sides[0].fn;
    m.sides[0].fn = NULL;
    fn(m.sides[0].arg, 0, &response, NULL);
    th_document_leave(&m.sides[1].waiter);
    settle(&m);
    assert_int_equal(m.sides[0].n_told + m.sides[1].n_told, 0);
    assert_int_equal(peek(&m, 1), 0); /* it came all the same */
    part(&m);
}

static void freshness_is_bounded(void **state)
{
    (void)state;
    static const struct {
        int64_t said_ms, want_ms;
    } rows[] = {
        {-1, HOUR_MS},
        {0, 5 * MINUTE_MS},
        {MINUTE_MS, 5 * MINUTE_MS},
        {20 * MINUTE_MS, 20 * MINUTE_MS},
        {72 * HOUR_MS, 24 * HOUR_MS},
    };
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct meeting m;
        meet(&m);
        th_jwks_unref(fetch_set(&m, rows[i].said_ms));
        th_clock_turn(&m.clock, rows[i].want_ms - 1);
        assert_int_equal(peek(&m, 1), 0);
        th_clock_turn(&m.clock, 1);
        assert_int_equal(peek(&m, 1), TH_AGAIN);
        assert_int_equal(m.sides[1].n_started, 1);
        part(&m);
    }
}

/* A renewal that fails leaves what there is, for a day; in between it is tried again. */
static void an_old_set_serves_on(void **state)
{
    (void)state;
    struct meeting m;
    const struct th_jwks *jwks;
    meet(&m);
    const struct th_jwks *first = fetch_set(&m, 0);
    th_clock_turn(&m.clock, 5 * MINUTE_MS);
    assert_int_equal(peek(&m, 0), TH_AGAIN);
    break_off(&m, 0, TH_E_EXCHANGE_DOWN);
    assert_int_equal(ask(&m, 0, NULL, &jwks), 0);
    assert_ptr_equal(jwks, first);
    th_jwks_unref(jwks);
    th_clock_turn(&m.clock, 30 * SECOND_MS - 1);
    assert_int_equal(peek(&m, 1), 0);
    th_clock_turn(&m.clock, 1);
    assert_int_equal(peek(&m, 1), TH_AGAIN);
    respond(&m, 1, 503, "", -1, -1);
    assert_int_equal(peek(&m, 1), 0);
    th_clock_turn(&m.clock, 24 * HOUR_MS - 5 * MINUTE_MS - 30 * SECOND_MS);
    assert_int_equal(peek(&m, 0), TH_AGAIN);
    respond(&m, 0, 200, "not json", -1, -1);
    assert_int_equal(peek(&m, 0), TH_E_EXCHANGE_DOWN); /* too old */
    th_clock_turn(&m.clock, 30 * SECOND_MS);
    assert_int_equal(peek(&m, 0), TH_AGAIN);
    respond(&m, 0, 200, EMPTY_SET, -1, -1);
    assert_int_equal(ask(&m, 0, NULL, &jwks), 0);
    assert_ptr_not_equal(jwks, first);
    th_jwks_unref(jwks);
    th_jwks_unref(first);
    part(&m);
}

static void a_newer_one_every_half_minute(void **state)
{
    (void)state;
    struct meeting m;
    const struct th_jwks *jwks;
    meet(&m);
    const struct th_jwks *first = fetch_set(&m, HOUR_MS);
    th_clock_turn(&m.clock, 30 * SECOND_MS - 1);
    assert_int_equal(ask(&m, 0, first, &jwks), TH_E_EXCHANGE_DOWN);
    assert_int_equal(m.failure.retry_after_ms, 1);
    th_clock_turn(&m.clock, 1);
    assert_int_equal(ask(&m, 0, first, &jwks), TH_AGAIN);
    assert_int_equal(ask(&m, 1, first, &jwks), TH_AGAIN); /* joins */
    assert_int_equal(m.sides[1].n_started, 0);
    /* Whoever is content with the one that is there has it meanwhile. */
    assert_int_equal(peek(&m, 1), 0);
    respond(&m, 0, 200, EMPTY_SET, -1, -1);
    assert_int_equal(ask(&m, 1, first, &jwks), 0);
    assert_ptr_not_equal(jwks, first);
    /* Not again for this one, until half a minute has passed; a failure counts as well. */
    assert_int_equal(ask(&m, 1, jwks, &jwks), TH_E_EXCHANGE_DOWN);
    th_clock_turn(&m.clock, 30 * SECOND_MS);
    assert_int_equal(ask(&m, 1, jwks, &jwks), TH_AGAIN);
    break_off(&m, 1, TH_E_EXCHANGE_TIMEOUT);
    assert_int_equal(ask(&m, 1, jwks, &jwks), TH_E_EXCHANGE_DOWN);
    assert_int_equal(m.failure.retry_after_ms, 30 * SECOND_MS);
    assert_string_equal(m.failure.why, "connection refused");
    assert_int_equal(peek(&m, 1), 0);
    th_jwks_unref(jwks);
    th_jwks_unref(first);
    part(&m);
}

static void a_failure_is_remembered(void **state)
{
    (void)state;
    static const int64_t pauses_s[] = {1, 2, 4, 8, 16, 30, 30};
    struct meeting m;
    meet(&m);
    for (size_t i = 0; i < TH_COUNT_OF(pauses_s); i++) {
        assert_int_equal(peek(&m, 0), TH_AGAIN);
        respond(&m, 0, 404, "", -1, -1);
        assert_int_equal(peek(&m, 1), TH_E_EXCHANGE_DOWN);
        assert_int_equal(m.failure.retry_after_ms, pauses_s[i] * SECOND_MS);
        assert_string_equal(m.failure.why, "the answer's status is 404");
        th_clock_turn(&m.clock, pauses_s[i] * SECOND_MS - 1);
        assert_int_equal(peek(&m, 1), TH_E_EXCHANGE_DOWN);
        th_clock_turn(&m.clock, 1);
    }
    assert_int_equal(peek(&m, 0), TH_AGAIN);
    respond(&m, 0, 429, "", -1, 60 * SECOND_MS);
    assert_int_equal(peek(&m, 0), TH_E_EXCHANGE_DOWN);
    assert_int_equal(m.failure.retry_after_ms, 60 * SECOND_MS);
    th_clock_turn(&m.clock, 60 * SECOND_MS);
    assert_int_equal(peek(&m, 0), TH_AGAIN);
    respond(&m, 0, 503, "", -1, 72 * HOUR_MS);
    assert_int_equal(peek(&m, 0), TH_E_EXCHANGE_DOWN);
    assert_int_equal(m.failure.retry_after_ms, 5 * MINUTE_MS); /* nobody is believed for longer */
    part(&m);
}

/* The fetch goes with its desk; who waits elsewhere asks again, on its own. */
static void a_desk_that_goes(void **state)
{
    (void)state;
    struct meeting m;
    meet(&m);
    assert_int_equal(peek(&m, 0), TH_AGAIN);
    assert_int_equal(peek(&m, 1), TH_AGAIN);
    th_document_leave(&m.sides[0].waiter);
    m.sides[0].desk = th_document_desk_free(m.sides[0].desk);
    assert_int_equal(m.sides[0].n_cancelled, 1);
    settle(&m);
    assert_int_equal(m.sides[1].n_told, 1);
    assert_int_equal(peek(&m, 1), TH_AGAIN);
    assert_int_equal(m.sides[1].n_started, 1);
    respond(&m, 1, 200, EMPTY_SET, -1, -1);
    assert_int_equal(peek(&m, 1), 0);
    part(&m);
}

static void what_cannot_be_begun(void **state)
{
    (void)state;
    struct meeting m;
    meet(&m);
    m.sides[0].start_error = TH_E_NOMEM;
    assert_int_equal(peek(&m, 0), TH_E_NOMEM);
    assert_int_equal(m.sides[0].waiter.handle, 0);
    m.sides[0].start_error = TH_E_BAD_TARGET; /* at once: memory is no failure to remember */
    assert_int_equal(peek(&m, 0), TH_E_EXCHANGE_DOWN);
    m.sides[0].start_error = 0;
    assert_int_equal(peek(&m, 0), TH_E_EXCHANGE_DOWN);
    th_clock_turn(&m.clock, SECOND_MS);
    assert_int_equal(peek(&m, 0), TH_AGAIN);
    part(&m);
}

/* The least recently asked leaves. */
static void they_are_bounded(void **state)
{
    (void)state;
    struct meeting m;
    const struct th_jwks *jwks;
    struct side *side;
    meet(&m);
    side = &m.sides[0];
    for (size_t i = 0; i < 300; i++) {
        char url[64];
        snprintf(url, sizeof url, KEYS "/%zu", i);
        th_document_leave(&side->waiter);
        assert_int_equal(th_jwks_get(side->desk, th_str_of(url), TH_STR_NONE, false, NULL,
                                     &side->waiter, &jwks, &m.failure),
                         TH_AGAIN);
        respond(&m, 0, 200, EMPTY_SET, -1, -1);
    }
    th_document_leave(&side->waiter);
    assert_int_equal(th_jwks_get(side->desk, TH_STR(KEYS "/299"), TH_STR_NONE, false, NULL,
                                 &side->waiter, &jwks, &m.failure),
                     0);
    th_jwks_unref(jwks);
    assert_int_equal(th_jwks_get(side->desk, TH_STR(KEYS "/0"), TH_STR_NONE, false, NULL,
                                 &side->waiter, &jwks, &m.failure),
                     TH_AGAIN);
    respond(&m, 0, 200, EMPTY_SET, -1, -1);
    part(&m);
}

/* -- metadata: where it is asked for ------------------------------------------------------------- */

static int discover(struct meeting *m, const char *issuer, const struct th_metadata **ret)
{
    const struct th_config_authorization_server server = {.issuer = th_str_of(issuer)};
    th_document_leave(&m->sides[0].waiter);
    return th_metadata_get(m->sides[0].desk, &server, &m->sides[0].waiter, ret, &m->failure);
}

static void places_in_order(void **state)
{
    (void)state;
#define HOST "https://idp.example"
#define AS "/.well-known/oauth-authorization-server"
#define OIDC "/.well-known/openid-configuration"
    static const struct {
        const char *issuer, *places[4];
    } rows[] = {
        {HOST, {HOST AS, HOST OIDC}},
        {HOST "/", {HOST AS, HOST OIDC}},
        {HOST ":8443", {HOST ":8443" AS, HOST ":8443" OIDC}},
        {HOST "/p", {HOST AS "/p", HOST OIDC "/p", HOST "/p" OIDC}},
        {HOST "/p/q/", {HOST AS "/p/q", HOST OIDC "/p/q", HOST "/p/q" OIDC}},
        {"https://[::1]:1/p",
         {"https://[::1]:1" AS "/p", "https://[::1]:1" OIDC "/p", "https://[::1]:1/p" OIDC}},
    };
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        for (unsigned k = 0; k < TH_COUNT_OF(rows[i].places); k++) {
            struct th_buf url;
            th_buf_init(&url, 1024);
            const char *want = rows[i].places[k];
            assert_int_equal(th_metadata_place(th_str_of(rows[i].issuer), k, &url), want != NULL);
            if (want != NULL)
                assert_string_equal(url.ptr, want);
            th_buf_fini(&url);
            if (want == NULL)
                break;
        }
    }
}

static void discovery_goes_on(void **state)
{
    (void)state;
    struct meeting m;
    const struct th_metadata *metadata;
    const char *good = "{\"issuer\":\"" ISSUER "\",\"token_endpoint\":\"https://t.example/t\"}";
    meet(&m);
    assert_int_equal(discover(&m, ISSUER, &metadata), TH_AGAIN);
    assert_string_equal(m.sides[0].url, "https://idp.example" AS "/realms/x");
    respond(&m, 0, 404, "", -1, -1);
    assert_string_equal(m.sides[0].url, "https://idp.example" OIDC "/realms/x");
    /* another server's, or what reads as one */
    respond(&m, 0, 200, "{\"issuer\":\"" ISSUER "/\",\"token_endpoint\":\"https://evil.example\"}",
            -1, -1);
    assert_string_equal(m.sides[0].url, ISSUER OIDC);
    assert_int_equal(m.sides[0].n_told, 0);
    respond(&m, 0, 200, good, -1, -1);
    assert_int_equal(m.sides[0].n_told, 1);
    assert_int_equal(discover(&m, ISSUER, &metadata), 0);
    assert_true(th_str_equal(metadata->token_endpoint, TH_STR("https://t.example/t")));
    th_metadata_unref(metadata);
    part(&m);
}

static void discovery_ends(void **state)
{
    (void)state;
    struct meeting m;
    const struct th_metadata *metadata;
    meet(&m);
    /* Nowhere: what is said is what was closest. */
    assert_int_equal(discover(&m, ISSUER, &metadata), TH_AGAIN);
    respond(&m, 0, 200, "{\"issuer\":\"https://idp.example\"}", -1, -1);
    respond(&m, 0, 404, "", -1, -1);
    respond(&m, 0, 302, "", -1, -1);
    assert_int_equal(m.sides[0].n_started, 3);
    assert_int_equal(discover(&m, ISSUER, &metadata), TH_E_EXCHANGE_FAILED);
    assert_non_null(strstr(m.failure.why, "issuer is not the configured one"));
    /* A server that is down is down at every place. */
    assert_int_equal(discover(&m, "https://a.example/x", &metadata), TH_AGAIN);
    break_off(&m, 0, TH_E_EXCHANGE_DOWN);
    assert_int_equal(discover(&m, "https://a.example/x", &metadata), TH_E_EXCHANGE_DOWN);
    assert_int_equal(discover(&m, "https://b.example/x", &metadata), TH_AGAIN);
    respond(&m, 0, 500, "", -1, -1);
    assert_int_equal(discover(&m, "https://b.example/x", &metadata), TH_E_EXCHANGE_DOWN);
    /* One whose certificate is not trusted is not asked again elsewhere. */
    assert_int_equal(discover(&m, "https://c.example/x", &metadata), TH_AGAIN);
    break_off(&m, 0, TH_E_EXCHANGE_FAILED);
    assert_int_equal(discover(&m, "https://c.example/x", &metadata), TH_E_EXCHANGE_FAILED);
    assert_int_equal(m.sides[0].n_started, 6);
    part(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_fetch_for_all),
        cmocka_unit_test(who_leaves_is_not_told),
        cmocka_unit_test(freshness_is_bounded),
        cmocka_unit_test(an_old_set_serves_on),
        cmocka_unit_test(a_newer_one_every_half_minute),
        cmocka_unit_test(a_failure_is_remembered),
        cmocka_unit_test(a_desk_that_goes),
        cmocka_unit_test(what_cannot_be_begun),
        cmocka_unit_test(they_are_bounded),
        cmocka_unit_test(places_in_order),
        cmocka_unit_test(discovery_goes_on),
        cmocka_unit_test(discovery_ends),
    };
    th_json_start();
    return cmocka_run_group_tests_name("oauth documents", tests, NULL, NULL);
}
