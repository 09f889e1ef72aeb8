#include "tokenhop/http/problem.h"

#include <stdio.h>

#include <jansson.h>

#include "test_rows.h"

#define ROOM 6144 /* always enough, the header says */

struct answer {
    char text[ROOM];
    size_t len;
    struct th_field fields[32];
    struct th_head head;
    struct th_str body;
    json_t *json;
};

static struct answer *answer_of(const struct th_problem *problem)
{
    static struct answer a;
    struct th_writer w;
    th_writer_init(&w, a.text, sizeof(a.text));
    th_problem_write(&w, problem);
    assert_false(w.overflow);
    a.len = w.len;
    a.head = (struct th_head){.fields = a.fields, .max_fields = 32};
    struct th_http1_limits limits = {ROOM + 1, 32};
    size_t scanned = 0;
    assert_int_equal(th_http1_parse_response(&a.head, a.text, a.len, &scanned, &limits,
                                             problem->head_only ? TH_METHOD_HEAD : TH_METHOD_GET),
                     0);
    a.body = (struct th_str){a.text + a.head.len, a.len - a.head.len};
    json_decref(a.json);
    a.json = NULL;
    if (!problem->head_only) {
        json_error_t error;
        a.json = json_loadb(a.body.ptr, a.body.len, JSON_REJECT_DUPLICATES, &error);
        if (a.json == NULL)
            fail_msg("%s in %.*s", error.text, TH_STR_ARGS(a.body));
    }
    return &a;
}

static struct th_str value_of(const struct answer *a, const char *name)
{
    for (unsigned i = 0; i < a->head.n_fields; i++) {
        if (th_str_equal_nocase(a->fields[i].name, th_str_of(name)))
            return a->fields[i].value;
    }
    return TH_STR_NONE;
}

static const char *member_of(const struct answer *a, const char *name)
{
    const char *text = json_string_value(json_object_get(a->json, name));
    return text != NULL ? text : "(none)";
}

/* Every error of the table makes an answer, with what its row says. */
static void every_error_has_an_answer(void **state)
{
    (void)state;
    for (int error = 1; error < TH_ERROR_COUNT; error++) {
        const struct th_error_row *row = th_error_get(-error);
        struct answer *a = answer_of(&(struct th_problem){.error = -error});
        assert_int_equal(a->head.status, row->status);
        assert_int_equal(a->head.framing, TH_FRAMING_LENGTH);
        assert_int_equal(a->head.content_length, a->body.len);
        assert_true(a->head.keep_alive);
        assert_str_equal(value_of(a, "Content-Type"), "application/problem+json");
        assert_str_equal(value_of(a, "Cache-Control"), "no-store");
        assert_int_equal(value_of(a, "Date").len, TH_HTTP_DATE_LEN);
        char text[128];
        snprintf(text, sizeof(text), "tokenhop; error=%s", row->proxy_status);
        assert_true(th_str_equal(value_of(a, "Proxy-Status"), th_str_of(text)));
        snprintf(text, sizeof(text), "urn:tokenhop:problem:%s", row->code);
        assert_string_equal(member_of(a, "type"), text);
        assert_string_equal(member_of(a, "title"), row->title);
        assert_string_equal(member_of(a, "code"), row->code);
        assert_int_equal(json_integer_value(json_object_get(a->json, "status")), row->status);
        assert_int_equal(json_object_size(a->json), 4); /* nothing of what was not given */
        assert_int_equal(value_of(a, "Retry-After").len > 0, row->retryable);
        assert_int_equal(value_of(a, "WWW-Authenticate").len > 0, row->status == 401);
        assert_int_equal(value_of(a, "Proxy-Authenticate").len > 0, row->status == 407);
        assert_int_equal(value_of(a, "Link").len, 0);
    }
}

static void all_members_are_written(void **state)
{
    (void)state;
    struct answer *a = answer_of(&(struct th_problem){
        .error = TH_E_INTERACTION,
        .detail = TH_STR("consent"),
        .connection = TH_STR("agent2"),
        .trace_id = TH_STR("0123456789abcdef0123456789abcdef"),
        .interaction_uri = TH_STR("https://example.okta.com/consent?x=1&y=%20"),
        .wall_ms = 784111777999,
        .close = true});
    assert_string_equal(member_of(a, "detail"), "consent");
    assert_string_equal(member_of(a, "connection"), "agent2");
    assert_string_equal(member_of(a, "trace_id"), "0123456789abcdef0123456789abcdef");
    assert_string_equal(member_of(a, "interaction_uri"),
                        "https://example.okta.com/consent?x=1&y=%20");
    assert_str_equal(value_of(a, "Link"), "<https://example.okta.com/consent?x=1&y=%20>; "
                                          "rel=\"urn:tokenhop:rel:interaction\"");
    assert_str_equal(value_of(a, "Date"), "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_str_equal(value_of(a, "Connection"), "close");
    assert_false(a->head.keep_alive);
}

static void interaction_uri_is_for_interaction_only(void **state)
{
    (void)state;
    struct answer *a = answer_of(&(struct th_problem){
        .error = TH_E_POLICY_DENIED, .interaction_uri = TH_STR("https://example.com/")});
    assert_int_equal(value_of(a, "Link").len, 0);
    assert_null(json_object_get(a->json, "interaction_uri"));
    static const char *const bad[] = {"https://h/>; rel=x", "https://h/ x", "https://h/\"",
                                      "https://h/\r\nX: y", "https://h/<",  "https://h/\xc3\xa9"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        a = answer_of(
            &(struct th_problem){.error = TH_E_INTERACTION, .interaction_uri = th_str_of(bad[i])});
        assert_int_equal(value_of(a, "Link").len, 0);
        assert_null(json_object_get(a->json, "interaction_uri"));
    }
}

static void consent_is_an_error_of_jsonrpc_too(void **state)
{
    (void)state;
    static const char *const ids[] = {"7", "\"a \\\" b\""};
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        struct answer *a = answer_of(
            &(struct th_problem){.error = TH_E_INTERACTION,
                                 .connection = TH_STR("code"),
                                 .interaction_uri = TH_STR("https://example.okta.com/consent"),
                                 .jsonrpc_id = th_str_of(ids[i])});
        const json_t *error = json_object_get(a->json, "error");
        const json_t *data = json_object_get(error, "data");
        json_t *id = json_loads(ids[i], JSON_DECODE_ANY, NULL);
        assert_int_equal(a->head.status, 403);
        assert_string_equal(member_of(a, "code"), "interaction_required");
        assert_string_equal(member_of(a, "jsonrpc"), "2.0");
        assert_true(json_equal(json_object_get(a->json, "id"), id));
        assert_int_equal(json_integer_value(json_object_get(error, "code")), -32050);
        assert_string_equal(json_string_value(json_object_get(error, "message")),
                            "The user must consent first");
        assert_string_equal(json_string_value(json_object_get(data, "interaction_uri")),
                            "https://example.okta.com/consent");
        assert_string_equal(json_string_value(json_object_get(data, "code")),
                            "interaction_required");
        assert_string_equal(json_string_value(json_object_get(data, "connection")), "code");
        assert_int_equal(json_integer_value(json_object_get(data, "status")), 403);
        json_decref(id);
    }
    struct answer *a =
        answer_of(&(struct th_problem){.error = TH_E_POLICY_DENIED, .jsonrpc_id = TH_STR("7")});
    assert_null(json_object_get(a->json, "jsonrpc"));
    assert_null(json_object_get(a->json, "error"));
}

static void challenge_of_a_missing_token_names_no_error(void **state)
{
    (void)state;
    struct answer *a = answer_of(&(struct th_problem){.error = TH_E_SUBJECT_MISSING});
    assert_int_equal(a->head.status, 401);
    assert_str_equal(value_of(a, "WWW-Authenticate"), "Bearer realm=\"tokenhop\"");
}

static void challenge_of_an_invalid_token_names_the_error(void **state)
{
    (void)state;
    struct answer *a = answer_of(&(struct th_problem){.error = TH_E_SUBJECT_EXPIRED});
    assert_str_equal(
        value_of(a, "WWW-Authenticate"),
        "Bearer error=\"invalid_token\", error_description=\"The subject token has expired\"");
    a = answer_of(&(struct th_problem){.error = TH_E_SUBJECT_EXPIRED,
                                       .detail = TH_STR("\"a\\b\"\r\nX: \xff\x7f"),
                                       .challenge = TH_STR("max_age=5")});
    assert_str_equal(value_of(a, "WWW-Authenticate"),
                     "Bearer error=\"invalid_token\", error_description=\"'a'b'  X: ? \", "
                     "max_age=5");
    a = answer_of(&(struct th_problem){
        .error = TH_E_SUBJECT_REFUSED,
        .challenge = TH_STR("error=\"insufficient_user_authentication\", acr_values=\"x\"")});
    assert_str_equal(value_of(a, "WWW-Authenticate"),
                     "Bearer error=\"insufficient_user_authentication\", acr_values=\"x\"");
    /* one that would end the line is left out */
    a = answer_of(
        &(struct th_problem){.error = TH_E_SUBJECT_MISSING, .challenge = TH_STR("a=b\r\nX: y")});
    assert_str_equal(value_of(a, "WWW-Authenticate"), "Bearer realm=\"tokenhop\"");
}

static void proxy_credentials_are_asked_for(void **state)
{
    (void)state;
    struct answer *a = answer_of(&(struct th_problem){.error = TH_E_CALLER});
    assert_str_equal(value_of(a, "Proxy-Authenticate"),
                     "Basic realm=\"tokenhop\", charset=\"UTF-8\", Bearer realm=\"tokenhop\"");
}

static void allow_is_told_of_a_405(void **state)
{
    (void)state;
    struct answer *a =
        answer_of(&(struct th_problem){.error = TH_E_METHOD, .allow = TH_STR("GET, POST")});
    assert_int_equal(a->head.status, 405);
    assert_str_equal(value_of(a, "Allow"), "GET, POST");
    a = answer_of(&(struct th_problem){.error = TH_E_POLICY_DENIED, .allow = TH_STR("GET")});
    assert_int_equal(value_of(a, "Allow").len, 0);
}

static void retry_after_is_in_whole_seconds(void **state)
{
    (void)state;
    static const struct {
        int error;
        int64_t ms;
        const char *want;
    } rows[] = {
        {TH_E_OVERLOADED, -1, "1"},      {TH_E_OVERLOADED, 0, "1"},
        {TH_E_OVERLOADED, 1, "1"},       {TH_E_OVERLOADED, 1000, "1"},
        {TH_E_OVERLOADED, 1001, "2"},    {TH_E_EXCHANGE_DOWN, 59999, "60"},
        {TH_E_BAD_REQUEST, 0, ""},       {TH_E_BAD_REQUEST, -1, ""},
        {TH_E_ACCESS_DENIED, 5000, "5"}, {TH_E_OVERLOADED, INT64_MAX, "9223372036854776"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct answer *a =
            answer_of(&(struct th_problem){.error = rows[i].error, .retry_after_ms = rows[i].ms});
        assert_true(th_str_equal(value_of(a, "Retry-After"), th_str_of(rows[i].want)));
    }
}

static void head_gets_the_fields_without_the_body(void **state)
{
    (void)state;
    struct answer *a = answer_of(&(struct th_problem){.error = TH_E_POLICY_DENIED});
    size_t body_len = a->body.len;
    a = answer_of(&(struct th_problem){.error = TH_E_POLICY_DENIED, .head_only = true});
    assert_int_equal(a->body.len, 0);
    assert_int_equal(a->head.content_length, body_len);
}

static void detail_is_made_safe(void **state)
{
    (void)state;
    static const struct {
        struct th_str detail;
        const char *want;
    } rows[] = {
        {{"a \"quoted\" \\ back", 17}, "a \"quoted\" \\ back"},
        {{"line\r\nbreak\ttab\x7f", 16}, "line  break tab "},
        {{"nul\0nul", 7}, "nul nul"},
        {{"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", 14},
         "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
        {{"\xff\xc3*", 3}, "??*"},
        {{"cut\xe2\x82", 5}, "cut??"},
        {{"\xed\xa0\x80", 3}, "???"},      /* a surrogate */
        {{"\xc0\xaf", 2}, "??"},           /* overlong */
        {{"\xe0\x80\xaf", 3}, "???"},      /* overlong */
        {{"\xf0\x80\x80\xaf", 4}, "????"}, /* overlong */
        {{"\xf4\x90\x80\x80", 4}, "????"}, /* beyond U+10FFFF */
        {{"\xf5\x80\x80\x80", 4}, "????"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct answer *a =
            answer_of(&(struct th_problem){.error = TH_E_BAD_REQUEST, .detail = rows[i].detail});
        assert_string_equal(member_of(a, "detail"), rows[i].want);
    }
}

static void everything_at_its_longest_fits(void **state)
{
    (void)state;
    static char quotes[10000];
    static char uri[1000];
    static char multibyte[1500], id[256];
    memset(id, '7', sizeof(id));
    id[0] = id[255] = '"';
    memset(quotes, '"', sizeof(quotes));
    memset(uri, 'u', sizeof(uri));
    for (size_t i = 0; i + 3 <= sizeof(multibyte); i += 3)
        memcpy(multibyte + i, "\xe2\x82\xac", 3);
    struct th_str longest = {quotes, sizeof(quotes)};
    for (int error = 1; error < TH_ERROR_COUNT; error++) {
        struct answer *a = answer_of(&(struct th_problem){.error = -error,
                                                          .detail = longest,
                                                          .connection = longest,
                                                          .trace_id = longest,
                                                          .interaction_uri = {uri, sizeof(uri)},
                                                          .jsonrpc_id = {id, sizeof(id)},
                                                          .allow = {uri, 128},
                                                          .challenge = {uri, 1000},
                                                          .retry_after_ms = INT64_MAX,
                                                          .wall_ms = INT64_MAX,
                                                          .close = true});
        assert_int_equal(strlen(member_of(a, "detail")), 256);
        if (-error == TH_E_INTERACTION)
            assert_int_equal(strlen(member_of(a, "interaction_uri")), sizeof(uri));
    }
    struct answer *a = answer_of(
        &(struct th_problem){.error = TH_E_BAD_REQUEST, .detail = {multibyte, sizeof(multibyte)}});
    assert_int_equal(strlen(member_of(a, "detail")), 510); /* whole characters */
}

static void too_little_room_is_told(void **state)
{
    (void)state;
    char text[ROOM];
    struct th_problem problem = {.error = TH_E_POLICY_DENIED};
    size_t len = answer_of(&problem)->len;
    for (size_t size = 0; size <= len; size++) {
        struct th_writer w;
        th_writer_init(&w, text, size);
        th_problem_write(&w, &problem);
        assert_int_equal(w.overflow, size < len);
        assert_true(w.len <= size);
    }
}

static void an_error_that_is_none_is_internal(void **state)
{
    (void)state;
    assert_int_equal(answer_of(&(struct th_problem){.error = 0})->head.status, 500);
    assert_int_equal(answer_of(&(struct th_problem){.error = TH_AGAIN})->head.status, 500);
}

static void dates_are_written(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *want;
    } rows[] = {
        {784111777000, "Sun, 06 Nov 1994 08:49:37 GMT"},
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {951782400000, "Tue, 29 Feb 2000 00:00:00 GMT"},
        {4102444799999, "Thu, 31 Dec 2099 23:59:59 GMT"},
        {-5, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {INT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[TH_HTTP_DATE_LEN + 1];
        th_http_date(rows[i].ms, text);
        assert_string_equal(text, rows[i].want);
    }
}

static int free_json(void **state)
{
    (void)state;
    json_decref(answer_of(&(struct th_problem){.error = TH_E_IO})->json);
    return 0;
}

int main(void)
{
    static struct test_list list;
    TEST_LIST_ADD(&list, every_error_has_an_answer);
    TEST_LIST_ADD(&list, all_members_are_written);
    TEST_LIST_ADD(&list, interaction_uri_is_for_interaction_only);
    TEST_LIST_ADD(&list, consent_is_an_error_of_jsonrpc_too);
    TEST_LIST_ADD(&list, challenge_of_a_missing_token_names_no_error);
    TEST_LIST_ADD(&list, challenge_of_an_invalid_token_names_the_error);
    TEST_LIST_ADD(&list, proxy_credentials_are_asked_for);
    TEST_LIST_ADD(&list, allow_is_told_of_a_405);
    TEST_LIST_ADD(&list, retry_after_is_in_whole_seconds);
    TEST_LIST_ADD(&list, head_gets_the_fields_without_the_body);
    TEST_LIST_ADD(&list, detail_is_made_safe);
    TEST_LIST_ADD(&list, everything_at_its_longest_fits);
    TEST_LIST_ADD(&list, too_little_room_is_told);
    TEST_LIST_ADD(&list, an_error_that_is_none_is_internal);
    TEST_LIST_ADD(&list, dates_are_written);
    return _cmocka_run_group_tests("http_problem", list.tests, list.count, NULL, free_json);
}
