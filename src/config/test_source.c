#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "source.h"
#include "tokenhop/base/check.h"

static void scan(struct th_source *source, const char *text, int wanted)
{
    th_source_init(source, th_str_of(text));
    assert_int_equal(th_source_scan(source), wanted);
}

static void test_places(void **state)
{
    static const char text[] = "{ // a \"comment\" {\n"
                               "  \"a\": [1, /* \xc3\xa4 */ {\"b\": \"x//y\"}],\n"
                               "  \"\xc3\xa4\": true, \"c d\": null,\n"
                               "  \"e\\\"f\": {}\n"
                               "}\n";
    static const struct {
        const char *path;
        unsigned key_column, line, column;
    } wanted[] = {
        {"$", 0, 1, 1},
        {"$.a", 3, 2, 8},
        {"$.a[0]", 0, 2, 9},
        {"$.a[1]", 0, 2, 20},
        {"$.a[1].b", 21, 2, 26},
        {"$[\"\xc3\xa4\"]", 3, 3, 8}, /* a column is a character, not a byte */
        {"$[\"c d\"]", 14, 3, 21},
        {"$[\"e\\\"f\"]", 3, 4, 11},
    };
    struct th_source s;
    scan(&s, text, 0);
    assert_int_equal(s.n_nodes, TH_COUNT_OF(wanted));
    for (uint32_t i = 0; i < s.n_nodes; i++) {
        char path[160];
        unsigned line, column;
        th_source_path(&s, i, path, sizeof(path));
        assert_string_equal(path, wanted[i].path);
        th_source_position(&s, s.nodes[i].value, &line, &column);
        assert_int_equal(line, wanted[i].line);
        assert_int_equal(column, wanted[i].column);
        if (wanted[i].key_column == 0) {
            assert_int_equal(s.nodes[i].key, TH_SOURCE_NONE);
            continue;
        }
        th_source_position(&s, s.nodes[i].key, &line, &column);
        assert_int_equal(column, wanted[i].key_column);
    }
    th_source_fini(&s);
}

static void test_walk(void **state)
{
    struct th_source s;
    scan(&s, "{\"a\": [10, [11], 12], \"b\": {\"a\": 1}, \"c\": 2}", 0);
    uint32_t a = th_source_find_member(&s, 0, "a"), b = th_source_find_member(&s, 0, "b");
    assert_int_equal(s.nodes[0].n_children, 3);
    assert_int_equal(s.nodes[a].n_children, 3);
    assert_int_equal(th_source_next(&s, a), b);
    assert_int_equal(th_source_find_member(&s, 0, "z"), TH_SOURCE_NONE);
    assert_int_equal(s.nodes[th_source_item(&s, a, 2)].ordinal, 2);
    assert_int_equal(th_source_item(&s, a, 3), a);
    assert_int_equal(th_source_item(&s, b, 7), b); /* not a list: the thing itself */
    assert_int_equal(th_source_next(&s, th_source_find_member(&s, 0, "c")), TH_SOURCE_NONE);
    assert_int_equal(th_source_first_child(&s, th_source_find_member(&s, b, "a")), TH_SOURCE_NONE);
    th_source_fini(&s);
}

static void test_comments(void **state)
{
    static const struct {
        const char *text, *blanked;
    } rows[] = {
        {"1 // x", "1     "},   {"1 /* x\ny */", "1     \n    "},
        {"\"//\"", "\"//\""},   {"\"\\\"//\" // x", "\"\\\"//\"     "},
        {"1 /**/", "1     "},   {"1 /*/ */", "1       "},
        {"// x\n1", "    \n1"},
    };
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct th_source s;
        scan(&s, rows[i].text, 0);
        assert_string_equal(s.blanked, rows[i].blanked);
        th_source_fini(&s);
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *text;
        uint32_t at;
    } rows[] = {
        {"", 0},
        {"  ", 2},
        {"{", 1},
        {"[", 1},
        {"[1", 0},
        {"[1,", 3},
        {"[1,]", 2},
        {"{\"a\"", 4},
        {"{\"a\":", 5},
        {"{\"a\":1,}", 6},
        {"{a:1}", 1},
        {"{'a':1}", 1},
        {"\"", 0},
        {"\"a\\\"", 0},
        {"\"a\\", 0},
        {"\"a\nb\"", 0},
        {"[1 2]", 3},
        {"[1}", 2},
        {"1 1", 2},
        {"tru", 0},
        {"NaN", 0},
        {"/", 0},
        {"1 /", 2},
        {"/* */", 5},
        {"/*", 0},
        {"/*/", 0},
        {"[,1]", 1},
        {"{,}", 1},
        {"{\"a\" 1}", 5},
        {"{\"a\":1 \"b\":2}", 7},
        {"\xef\xbb\xbf{}", 0},
    };
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct th_source s;
        scan(&s, rows[i].text, TH_E_CONFIG);
        if (s.error_at != rows[i].at)
            fail_msg("%s: at %u, not %u", rows[i].text, s.error_at, rows[i].at);
        assert_non_null(s.error_what);
        th_source_fini(&s);
    }
}

static void test_depth(void **state)
{
    char text[2 * TH_SOURCE_MAX_DEPTH + 8];
    struct th_source s;
    for (int extra = 0; extra <= 1; extra++) {
        int n = TH_SOURCE_MAX_DEPTH + extra;
        memset(text, '[', (size_t)n);
        memset(text + n, ']', (size_t)n);
        text[2 * n] = '\0';
        scan(&s, text, extra == 0 ? 0 : TH_E_CONFIG);
        if (extra == 0) {
            char path[16];
            th_source_path(&s, s.n_nodes - 1, path, sizeof(path)); /* cut, not overrun */
            assert_string_equal(path, "$[0][0][0][0][0");
        }
        th_source_fini(&s);
    }
}

static void test_large(void **state)
{
    struct th_source s;
    size_t len = TH_SOURCE_MAX_LEN + 1;
    char *text = malloc(len);
    memset(text, ' ', len);
    text[0] = '1';
    th_source_init(&s, (struct th_str){text, len});
    assert_int_equal(th_source_scan(&s), TH_E_CONFIG);
    th_source_fini(&s);
    th_source_init(&s, (struct th_str){text, len - 1});
    assert_int_equal(th_source_scan(&s), 0);
    th_source_fini(&s);
    for (size_t i = 0; i < len - 2; i += 2)
        memcpy(text + i, "1,", 2);
    text[0] = '[';
    th_source_init(&s, (struct th_str){text, len - 1});
    assert_int_equal(th_source_scan(&s), TH_E_CONFIG);
    th_source_fini(&s);
    free(text);
}

static void test_duplicates(void **state)
{
    uint32_t nodes[4];
    size_t n;
    struct th_source s;
    scan(&s, "{\"a\": {\"x\": 1, \"y\": 1}, \"b\": {\"x\": 1}, \"a\": 2, \"a\": 3, \"aa\": 4}", 0);
    assert_int_equal(th_source_find_duplicates(&s, nodes, 4, &n), 0);
    assert_int_equal(n, 2);
    for (size_t i = 0; i < n; i++)
        assert_in_range(s.nodes[nodes[i]].ordinal, 2, 3);
    assert_int_equal(th_source_find_duplicates(&s, nodes, 1, &n), 0);
    assert_int_equal(n, 1);
    th_source_fini(&s);
}

/* A secret is looked at where it lies: no copy of it is made, and so comments are not JSON. */
static void test_secret(void **state)
{
    static const char text[] = "{\"kty\": \"RSA\"}";
    struct th_source s;
    th_source_init_secret(&s, th_str_of(text));
    assert_int_equal(th_source_scan(&s), 0);
    assert_ptr_equal(s.blanked, text);
    assert_null(s.copy);
    th_source_fini(&s);
    th_source_init_secret(&s, TH_STR("{} // x"));
    assert_int_equal(th_source_scan(&s), TH_E_CONFIG);
    th_source_fini(&s);
}

/* The tree is what jansson's own parser makes of the text; mistakes are where they are. */
static void test_tree(void **state)
{
    static const struct {
        const char *text, *what; /* of the error; NULL: none */
        uint32_t at;
    } rows[] = {
        {"null", NULL, 0},
        {"[true, false, null, [], {}]", NULL, 0},
        {"{\"b\": 1, \"a\": {\"c\": [2]}}", NULL, 0},
        {"[0, -0, 7, -12, 9223372036854775807, -9223372036854775808]", NULL, 0},
        {"[0.5, -1.25, 1e3, 1E-2, 1.5e+3, 1e-400]", NULL, 0},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", NULL, 0},
        {"\"\\u0041\\u00e4\\u20AC\\ud83d\\ude00\"", NULL, 0},
        {"\"\303\244\342\202\254\360\237\230\200\177\"", NULL, 0},
        {"{\"\\u0061\": 1, \"\": 2}", NULL, 0},
        {"[9223372036854775808]", "too large", 1},
        {"[1e400]", "too large", 1},
        {"[01]", "not a number", 1},
        {"[-]", "not a number", 1},
        {"[1.]", "not a number", 1},
        {"[1e]", "not a number", 1},
        {"[1e+]", "not a number", 1},
        {"[1_0]", "not a number", 1},
        {"[-a]", "not a number", 1},
        {"[0x1]", "not a number", 1},
        {"\"a\\x\"", "escape", 2},
        {"\"a\\u12\"", "escape", 2},
        {"\"a\\u12g4\"", "escape", 2},
        {"\"\\u0000\"", "NUL", 1},
        {"\"\\ud800\"", "surrogates", 1},
        {"\"\\ud800\\u0041\"", "surrogates", 1},
        {"\"\\ude00\"", "surrogates", 1},
        {"\"a\001\"", "control", 2},
        {"\"a\011b\"", "control", 2},
        {"\"a\200\"", "UTF-8", 2},
        {"\"a\303\"", "UTF-8", 2},
        {"\"\300\257\"", "UTF-8", 1},
        {"\"\340\200\257\"", "UTF-8", 1},
        {"\"\355\240\200\"", "UTF-8", 1},
        {"\"\360\200\200\200\"", "UTF-8", 1},
        {"\"\364\220\200\200\"", "UTF-8", 1},
        {"\"\365\200\200\200\"", "UTF-8", 1},
        {"{\"a\": 1, \"\\u0061\": 2}", "twice", 9},
        {"{\"\\u0000\": 2}", "NUL", 2},
    };
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct th_source s;
        json_t *ours = NULL;
        scan(&s, rows[i].text, 0);
        int r = th_source_to_json(&s, &ours);
        json_t *theirs = json_loads(rows[i].text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
        assert_int_equal(r, rows[i].what == NULL ? 0 : TH_E_CONFIG);
        assert_int_equal(theirs != NULL, rows[i].what == NULL);
        if (rows[i].what == NULL) {
            assert_true(json_equal(ours, theirs));
        } else {
            assert_null(ours);
            if (strstr(s.error_what, rows[i].what) == NULL || s.error_at != rows[i].at)
                fail_msg("%s: %s at %u", rows[i].text, s.error_what, s.error_at);
        }
        json_decref(ours);
        json_decref(theirs);
        th_source_fini(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),     cmocka_unit_test(test_walk),
        cmocka_unit_test(test_comments),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_depth),      cmocka_unit_test(test_large),
        cmocka_unit_test(test_duplicates), cmocka_unit_test(test_secret),
        cmocka_unit_test(test_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
