#include <stdlib.h>

#include "test_bench.h"

/* All that was shown, as text: "> leg", "< leg status", "name=text", "name:header,claims", "name!" for what
 * is not shown. */
struct seen {
    struct th_buf text;
};

static int append(const char *bytes, size_t len, void *arg)
{
    th_buf_add(arg, bytes, len);
    return 0;
}

static void see_all(struct seen *seen, const struct th_exchange_shown *shown, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        th_buf_add_str(&seen->text, shown[i].name);
        if (shown[i].claims != NULL) {
            assert_true(shown[i].is_token);
            th_buf_add_char(&seen->text, ':');
            assert_int_equal(json_dump_callback(shown[i].header, append, &seen->text, 0), 0);
            assert_int_equal(json_dump_callback(shown[i].claims, append, &seen->text, 0), 0);
        } else if (shown[i].text.ptr != NULL) {
            assert_false(shown[i].is_token);
            th_buf_add_char(&seen->text, '=');
            th_buf_add_str(&seen->text, shown[i].text);
        } else {
            th_buf_add_char(&seen->text, shown[i].is_token ? '?' : '!');
        }
        th_buf_add_char(&seen->text, '\n');
    }
}

static void on_request(void *arg, const struct th_exchange_leg_report *leg,
                       const struct th_exchange_shown *shown, size_t n)
{
    struct seen *seen = arg;
    th_buf_printf(&seen->text, "> %s %.*s\n", leg->name, TH_STR_ARGS(leg->endpoint));
    see_all(seen, shown, n);
}

static void on_answer(void *arg, const struct th_exchange_leg_report *leg,
                      const struct th_exchange_shown *shown, size_t n, const char *why)
{
    struct seen *seen = arg;
    assert_true(leg->duration_us >= 0);
    th_buf_printf(&seen->text, "< %s %d %s\n", leg->name, leg->status, why);
    see_all(seen, shown, n);
}

static void on_note(void *arg, const char *note)
{
    struct seen *seen = arg;
    th_buf_printf(&seen->text, "note %s\n", note);
}

static const struct th_exchange_observer observer = {on_request, on_answer, on_note};

static void watch_open(struct bench *b, struct seen *seen)
{
    bench_open(b, ES256_KEY, TH_ALG_ES256, NULL);
    th_buf_init(&seen->text, 1 << 20);
    b->observer = &observer;
    b->observer_arg = seen;
}

static void watch_close(struct bench *b, struct seen *seen)
{
    assert_false(seen->text.failed);
    th_buf_fini(&seen->text);
    bench_close(b);
}

static void assert_seen(const struct seen *seen, const char *text)
{
    if (strstr(seen->text.ptr, text) == NULL)
        fail_msg("'%s' is not in:\n%s", text, seen->text.ptr);
}

static void assert_not_seen(const struct seen *seen, const char *text)
{
    if (strstr(seen->text.ptr, text) != NULL)
        fail_msg("'%s' is in:\n%s", text, seen->text.ptr);
}

/* None of its three parts, as nothing of a token but its decoded content may be shown. */
static void assert_token_not_seen(const struct seen *seen, const char *token)
{
    char *copy = strdup(token), *rest = copy;
    for (char *part; (part = strsep(&rest, ".")) != NULL;) {
        if (strlen(part) > 4)
            assert_not_seen(seen, part);
    }
    free(copy);
}

static void both_legs_are_shown_without_a_token(void **state)
{
    (void)state;
    struct bench b;
    struct seen seen;
    struct tokens t;
    watch_open(&b, &seen);
    tokens_open(&t);
    start(&b, t.subject.ptr);
    answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
    answer(&b, 200,
           "{'token_type':'Bearer','expires_in':3600,'scope':'chat.read','access_token':'%s',"
           "'refresh_token':'rt-1234','rt-5678':'x'}",
           t.access.ptr);
    assert_int_equal(b.result.error, 0);
    assert_seen(&seen, "> id_jag " ORG_TOKEN "\ngrant_type=" TX "\n");
    assert_seen(&seen, "subject_token:{}{\"sub\": \"0oaC\", \"cid\": \"0oaC\"");
    assert_seen(&seen,
                "\naudience=" CUSTOM "\nresource=" AGENT2 "\nscope=chat.read chat.history\n");
    assert_seen(&seen, "client_assertion:{\"alg\": \"ES256\", \"kid\": \"k1\"}{\"iss\": \"wlpA1\"");
    assert_seen(&seen, "< id_jag 200 \nissued_token_type=" TT "id-jag\ntoken_type=N_A\n"
                       "access_token:{\"typ\": \"oauth-id-jag+jwt\"");
    assert_seen(&seen, "> access_token " CUSTOM_TOKEN "\ngrant_type=" JB "\nassertion:{\"typ\"");
    assert_seen(&seen,
                "< access_token 200 \ntoken_type=Bearer\nexpires_in=3600\nscope=chat.read\n");
    assert_seen(&seen, "\"act\": {\"sub\": \"wlpA1\", \"act\": {\"sub\": \"0oaC\"}}");
    assert_seen(&seen, "refresh_token!\n");
    assert_not_seen(&seen, "rt-1234");
    assert_not_seen(&seen, "rt-5678");
    assert_token_not_seen(&seen, t.subject.ptr);
    assert_token_not_seen(&seen, t.id_jag.ptr);
    assert_token_not_seen(&seen, t.access.ptr);
    for (size_t i = 0; i < b.n_asked; i++) {
        char *assertion = field(&b, i, "client_assertion");
        assert_token_not_seen(&seen, assertion);
        free(assertion);
    }
    tokens_close(&t);
    watch_close(&b, &seen);
}

static void an_opaque_token_has_its_name_alone(void **state)
{
    (void)state;
    struct bench b;
    struct seen seen;
    struct tokens t;
    watch_open(&b, &seen);
    tokens_open(&t);
    b.world.connection.subject_type = TH_SUBJECT_ACCESS_TOKEN;
    start(&b, "opaque-8d7f2c");
    answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
    answer(&b, 200, ACCESS_OK, "opaque-55e1aa");
    assert_int_equal(b.result.error, 0);
    assert_seen(&seen, "\nsubject_token?\n");
    assert_seen(&seen, "\naccess_token?\n");
    assert_not_seen(&seen, "opaque-");
    tokens_close(&t);
    watch_close(&b, &seen);
}

static void a_refusal_is_shown_without_what_it_quotes(void **state)
{
    (void)state;
    struct bench b;
    struct seen seen;
    struct tokens t;
    watch_open(&b, &seen);
    tokens_open(&t);
    start(&b, t.subject.ptr);
    answer(&b, 400, "{'error':'invalid_grant','error_description':'the token %s is stale'}",
           t.subject.ptr);
    assert_seen(&seen, "< id_jag 400 the token is expired");
    assert_seen(&seen, "\nerror=invalid_grant\n");
    assert_token_not_seen(&seen, t.subject.ptr);
    start(&b, t.subject.ptr);
    answer(&b, 400, "{'error':'%s','scope':'%s'}", t.subject.ptr, t.subject.ptr);
    assert_seen(&seen, "\nerror!\nscope!\n");
    assert_token_not_seen(&seen, t.subject.ptr);
    tokens_close(&t);
    watch_close(&b, &seen);
}

static void each_try_is_shown(void **state)
{
    (void)state;
    struct bench b;
    struct seen seen;
    struct tokens t;
    watch_open(&b, &seen);
    tokens_open(&t);
    start(&b, t.subject.ptr);
    answer(&b, 200, ID_JAG_OK, t.id_jag.ptr);
    break_off(&b, TH_E_EXCHANGE_DOWN);
    assert_seen(&seen, "< access_token 0 ");
    const char *first = strstr(seen.text.ptr, "> access_token");
    assert_non_null(strstr(first + 1, "> access_token")); /* the other one is under way */
    answer(&b, 200, ACCESS_OK, t.access.ptr);
    assert_int_equal(b.result.error, 0);
    tokens_close(&t);
    watch_close(&b, &seen);
}

int main(void)
{
    th_json_start();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_legs_are_shown_without_a_token),
        cmocka_unit_test(an_opaque_token_has_its_name_alone),
        cmocka_unit_test(a_refusal_is_shown_without_what_it_quotes),
        cmocka_unit_test(each_try_is_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
