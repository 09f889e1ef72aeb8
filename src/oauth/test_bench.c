#include "test_bench.h"

#include <stdlib.h>

#include "tokenhop/base/check.h"

static int fake_start(struct th_fetcher *fetcher, const struct th_fetch_request *request,
                      th_fetch_fn *fn, void *arg, struct th_fetch **ret_fetch)
{
    struct bench *b = TH_CONTAINER_OF(fetcher, struct bench, fetcher);
    if (b->start_error != 0)
        return b->start_error;
    assert_null(b->fn); /* one leg at a time */
    assert_true(b->n_asked < ASKED_MAX);
    struct asked *asked = &b->asked[b->n_asked++];
    *asked = (struct asked){
        .url = strndup(request->url.ptr, request->url.len),
        .body = request->body.ptr != NULL ? strndup(request->body.ptr, request->body.len) : NULL,
        .content_type = strndup(request->body.ptr != NULL ? request->content_type.ptr : "",
                                request->content_type.len),
        .ca_file =
            strndup(request->ca_file.len > 0 ? request->ca_file.ptr : "", request->ca_file.len),
        .authorization = request->authorization.ptr != NULL
                             ? strndup(request->authorization.ptr, request->authorization.len)
                             : NULL,
        .dpop = request->dpop.ptr != NULL ? strndup(request->dpop.ptr, request->dpop.len) : NULL,
        .timeout_ms = request->timeout_ms,
        .allow_cleartext = request->allow_cleartext,
    };
    b->fn = fn;
    b->arg = arg;
    *ret_fetch = (struct th_fetch *)b;
    return 0;
}

static void fake_cancel(struct th_fetcher *fetcher, struct th_fetch *fetch)
{
    struct bench *b = TH_CONTAINER_OF(fetcher, struct bench, fetcher);
    assert_ptr_equal(fetch, b);
    assert_non_null(b->fn);
    b->fn = NULL;
    b->n_cancelled++;
}

void bench_open(struct bench *b, const char *key, enum th_signing_alg alg,
                struct th_helpers *helpers)
{
    *b = (struct bench){.fetcher = {.start = fake_start, .cancel = fake_cancel}};
    assert_int_equal(th_breakers_new(&b->breakers), 0);
    th_clock_init_fake(&b->clock, NOW_MS);
    world_open(&b->world, key, alg);
    const struct th_worker_options options = {.clock = &b->clock, .helpers = helpers};
    assert_int_equal(th_worker_new(&options, &b->worker), 0);
    assert_int_equal(th_exchanger_new(b->worker, &b->fetcher, b->breakers, &b->exchanger), 0);
}

void forget_asked(struct bench *b)
{
    while (b->n_asked > 0) {
        struct asked *asked = &b->asked[--b->n_asked];
        free(asked->url);
        free(asked->body);
        free(asked->content_type);
        free(asked->ca_file);
        free(asked->authorization);
        free(asked->dpop);
    }
}

/* Nothing may be left of any token. */
void bench_close(struct bench *b)
{
    th_exchanger_free(b->exchanger);
    assert_null(b->fn);
    th_breakers_unref(b->breakers);
    th_worker_free(b->worker);
    world_close(&b->world);
    forget_asked(b);
    free(b->token);
    free(b->value);
    assert_int_equal(th_secret_bytes_held(), 0);
}

void settle(struct bench *b)
{
    for (int i = 0; i < 1000; i++) {
        if (!th_worker_turn(b->worker))
            return;
    }
    fail_msg("the loop does not come to rest");
}

void pass(struct bench *b, int64_t ms)
{
    th_clock_turn(&b->clock, ms);
    settle(b);
}

static void on_end(void *arg, const struct th_exchange_result *result)
{
    struct bench *b = arg;
    b->n_ends++;
    b->exchange = NULL;
    b->result = *result;
    free(b->token);
    b->token = NULL;
    if (result->token != NULL)
        b->token = strdup(th_secret_expose(result->token).ptr);
    b->result.token = NULL;
    b->result.values = NULL;
    free(b->value);
    b->value = NULL;
    if (result->values != NULL && result->values->n > 0)
        b->value = strdup(th_secret_expose(result->values->items[0].secret).ptr);
    assert_int_equal(result->error != 0, result->token == NULL && result->values == NULL);
}

int try_start(struct bench *b, const char *subject, struct th_errinfo *reterr)
{
    const struct th_exchange_request request = {
        .agent = &b->world.agent,
        .connection = &b->world.connection,
        .subject_token = th_str_of(subject),
        .rejected_token = b->rejected,
        .deadline_ms = th_clock_monotonic_ms(&b->clock) + DEADLINE_MS,
        .observer = b->observer,
        .observer_arg = b->observer_arg,
    };
    unsigned before = b->n_ends;
    int error = th_exchange_start(b->exchanger, &request, on_end, b, &b->exchange, reterr);
    assert_int_equal(b->n_ends, before); /* never from inside */
    return error;
}

void start(struct bench *b, const char *subject)
{
    struct th_errinfo err = {0};
    if (try_start(b, subject, &err) != 0)
        fail_msg("%s", err.what);
}

void answer_raw(struct bench *b, const struct th_fetch_response *response)
{
    th_fetch_fn *fn = b->fn;
    assert_non_null(fn);
    b->fn = NULL;
    fn(b->arg, 0, response, NULL);
    settle(b);
}

/* ' stands for ". */
void answer(struct bench *b, int status, const char *format, ...)
{
    char *body;
    va_list args;
    va_start(args, format);
    assert_true(vasprintf(&body, format, args) >= 0);
    va_end(args);
    for (char *c = body; *c != '\0'; c++)
        *c = *c == '\'' ? '"' : *c;
    const struct th_fetch_response response = {.status = status,
                                               .content_type = TH_STR("application/json"),
                                               .retry_after_ms = -1,
                                               .rate_limit_reset_ms = -1,
                                               .fresh_ms = -1,
                                               .body = th_str_of(body)};
    answer_raw(b, &response);
    free(body);
}

void break_off(struct bench *b, int error)
{
    th_fetch_fn *fn = b->fn;
    assert_non_null(fn);
    b->fn = NULL;
    fn(b->arg, error, NULL, "connection reset");
    settle(b);
}

static int hex_digit(char c)
{
    return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

static char *form_decode(const char *text, size_t len)
{
    char *out = malloc(len + 1), *at = out;
    assert_non_null(out);
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '%') {
            *at++ = (char)(hex_digit(text[i + 1]) << 4 | hex_digit(text[i + 2]));
            i += 2;
        } else {
            *at++ = text[i] == '+' ? ' ' : text[i];
        }
    }
    *at = '\0';
    return out;
}

/* The value of a field, to be freed; NULL when it is not there. Fails when it is there twice. */
char *field(const struct bench *b, size_t request, const char *name)
{
    char *value = NULL;
    assert_true(request < b->n_asked);
    const char *at = b->asked[request].body;
    while (*at != '\0') {
        size_t len = strcspn(at, "&"), name_len = strcspn(at, "=");
        if (name_len == strlen(name) && memcmp(at, name, name_len) == 0) {
            assert_null(value);
            value = form_decode(at + name_len + 1, len - name_len - 1);
        }
        at += at[len] == '&' ? len + 1 : len;
    }
    return value;
}

size_t n_fields(const struct bench *b, size_t request)
{
    size_t n = 1;
    for (const char *c = b->asked[request].body; *c != '\0'; c++)
        n += *c == '&';
    return n;
}

void assert_field(const struct bench *b, size_t request, const char *name, const char *want)
{
    char *value = field(b, request, name);
    if (value == NULL || strcmp(value, want) != 0)
        fail_msg("request %zu: %s is %s", request, name, value);
    free(value);
}

void tokens_open(struct tokens *t)
{
    make_token(&t->subject, "{}",
               "{'sub':'0oaC','cid':'0oaC','aud':'https://agent1.example.com','exp':1700003600}");
    make_token(&t->id_jag, JAG_HEADER,
               "{'sub':'0oaC','aud':'" CUSTOM "','client_id':'wlpA1','resource':'" AGENT2 "'}");
    make_token(&t->access, "{}",
               "{'sub':'0oaC','aud':'" AGENT2 "','jti':'AT.1','scp':['chat.read'],"
               "'act':{'sub':'wlpA1','act':{'sub':'0oaC'}},'exp':1700001800}");
}

void tokens_close(struct tokens *t)
{
    th_buf_fini(&t->subject);
    th_buf_fini(&t->id_jag);
    th_buf_fini(&t->access);
}

char *check_assertion(const struct bench *b, size_t request, const char *audience,
                      const char *key_text)
{
    struct th_key *key;
    struct th_jwt jwt;
    assert_field(b, request, "client_assertion_type",
                 "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    assert_null(field(b, request, "client_id"));
    assert_null(field(b, request, "client_secret"));
    assert_null(b->asked[request].authorization);
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
