/* The id of a JSON-RPC request, out of whatever a client sends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "jsonrpc.h"
#include "tokenhop/base/check.h"
#include "tokenhop/oauth/json.h"

#define HEAD "{\"jsonrpc\":\"2.0\",\"method\":\"SendMessage\","

static const struct id_case {
    const char *body;
    const char *id; /* NULL: none */
} cases[] = {
    {HEAD "\"id\":1}", "1"},
    {HEAD "\"id\":0}", "0"},
    {HEAD "\"id\":-7}", "-7"},
    {HEAD "\"id\":9007199254740993}", "9007199254740993"},
    {HEAD "\"id\":\"a\"}", "\"a\""},
    {HEAD "\"id\":\"\"}", "\"\""},
    {"\r\n {\"id\":\"x\",\n\"jsonrpc\":\"2.0\"}\n", "\"x\""},
    {HEAD "\"id\":\"1\",\"params\":{\"id\":2,\"jsonrpc\":\"1.0\"}}", "\"1\""},
    {HEAD "\"params\":[\"\\\"id\\\":5\"],\"id\":6}", "6"},
    /* nothing of it may end the member that it is written into */
    {HEAD "\"id\":\"\\\",\\\"error\\\":1\"}", "\"\\\",\\\"error\\\":1\""},
    {HEAD "\"id\":\"\\u0001\\n\\u007f\"}", "\"\\u0001\\n\x7f\""},
    {HEAD "\"id\":\"\xc3\xa9\xf0\x9f\x98\x80\"}", "\"\\u00E9\\uD83D\\uDE00\""},
    {HEAD "\"id\":\"</script>\"}", "\"</script>\""},

    {"", NULL},
    {"{}", NULL},
    {"null", NULL},
    {"1", NULL},
    {"\"id\"", NULL},
    {"{\"id\":1}", NULL},
    {"{\"jsonrpc\":\"1.0\",\"id\":1}", NULL},
    {"{\"jsonrpc\":2.0,\"id\":1}", NULL},
    {"{\"jsonrpc\":[\"2.0\"],\"id\":1}", NULL},
    {"{\"jsonrpc\":\"2.0\\u0000\",\"id\":1}", NULL},
    {HEAD "\"id\":null}", NULL},
    {HEAD "\"id\":true}", NULL},
    {HEAD "\"id\":1.5}", NULL},
    {HEAD "\"id\":1e3}", NULL},
    {HEAD "\"id\":99999999999999999999}", NULL},
    {HEAD "\"id\":{\"a\":1}}", NULL},
    {HEAD "\"id\":[1]}", NULL},
    {HEAD "\"id\":\"\\u0000\"}", NULL},
    {HEAD "\"id\":\"\\ud800\"}", NULL},
    {HEAD "\"id\":\"\xff\"}", NULL},
    {HEAD "\"params\":{}}", NULL},
    {"[" HEAD "\"id\":1}]", NULL},
    {HEAD "\"id\":1,\"id\":2}", NULL},
    {HEAD "\"id\":1,\"i\\u0064\":2}", NULL},
    {HEAD "\"id\":1}" HEAD "\"id\":2}", NULL},
    {HEAD "\"id\":1", NULL},
    {HEAD "\"id\":", NULL},
    {HEAD "id:1}", NULL},
    {HEAD "'id':1}", NULL},
    {HEAD "\"id\":1,}", NULL},
    {"\xef\xbb\xbf" HEAD "\"id\":1}", NULL},
    {"{\"jsonrpc\":\"2.0\",\"id\":1}\0x", "1"},
};

static void ids(void **state)
{
    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        char id[TH_JSONRPC_ID_MAX + 1] = "untouched";
        bool found = th_jsonrpc_read_id(th_str_of(cases[i].body), id);
        if (found != (cases[i].id != NULL) || strcmp(id, found ? cases[i].id : "untouched") != 0)
            fail_msg("%s: %s", cases[i].body, id);
    }
}

static bool read_sized(const char *before, const char *fill, size_t count, const char *after)
{
    char id[TH_JSONRPC_ID_MAX + 1];
    size_t fill_len = strlen(fill), len = strlen(before) + count * fill_len + strlen(after);
    char *body = malloc(len + 1), *at = body;
    assert_non_null(body);
    at = stpcpy(at, before);
    for (size_t i = 0; i < count; i++)
        at = stpcpy(at, fill);
    stpcpy(at, after);
    bool found = th_jsonrpc_read_id((struct th_str){body, len}, id);
    free(body);
    return found;
}

static void sizes(void **state)
{
    (void)state;
    /* quotes count */
    assert_true(read_sized(HEAD "\"id\":\"", "x", TH_JSONRPC_ID_MAX - 2, "\"}"));
    assert_false(read_sized(HEAD "\"id\":\"", "x", TH_JSONRPC_ID_MAX - 1, "\"}"));
    /* and what each byte becomes */
    assert_true(read_sized(HEAD "\"id\":\"", "\\u0001", 42, "\"}"));
    assert_false(read_sized(HEAD "\"id\":\"", "\\u0001", 43, "\"}"));
    size_t around = strlen(HEAD "\"id\":1,\"p\":\"\"}");
    assert_true(read_sized(HEAD "\"id\":1,\"p\":\"", "x", TH_JSONRPC_BODY_MAX - around, "\"}"));
    assert_false(
        read_sized(HEAD "\"id\":1,\"p\":\"", "x", TH_JSONRPC_BODY_MAX - around + 1, "\"}"));
    assert_false(read_sized(HEAD "\"id\":1,\"p\":", "[", 30000, "1"));
    assert_false(read_sized("", "{\"a\":", 10000, "1"));
}

static const struct type_case {
    const char *type;
    bool fits;
} types[] = {
    {"application/json", true},
    {"Application/JSON", true},
    {"application/json; charset=utf-8", true},
    {"application/json ;x=y", true},
    {"application/a2a+json", true},
    {"application/a2a+json;v=1", true},
    {"application/jsonp", false},
    {"application/problem+json", false},
    {"text/json", false},
    {"application/json, text/plain", false},
    {";application/json", false},
    {"", false},
};

static void content_types(void **state)
{
    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(types); i++) {
        struct th_field field = {TH_STR("content-type"), th_str_of(types[i].type),
                                 TH_HEADER_CONTENT_TYPE, false};
        const struct th_head head = {.fields = &field, .n_fields = 1};
        if (th_jsonrpc_may_be(&head) != types[i].fits)
            fail_msg("%s", types[i].type);
        field.dropped = true;
        assert_false(th_jsonrpc_may_be(&head));
    }
    const struct th_head bare = {.n_fields = 0};
    assert_false(th_jsonrpc_may_be(&bare));
}

int main(void)
{
    th_json_start();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids),
        cmocka_unit_test(sizes),
        cmocka_unit_test(content_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
