#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tokenhop/base/check.h"
#include "tokenhop/config/load.h"
#include "url.h"

struct pattern_row {
    const char *text, *scheme, *host; /* scheme NULL: refused, and then `host` is part of why */
    bool wildcard;
    uint16_t port;
    const char *path;
};

static const struct pattern_row patterns[] = {
    {"https://agent2.example.com/a2a/", "https", "agent2.example.com", false, 443, "/a2a/"},
    {"https://agent2.example.com", "https", "agent2.example.com", false, 443, "/"},
    {"http://agent2.example.com/", "http", "agent2.example.com", false, 80, "/"},
    {"HTTPS://Agent2.Example.COM:8443/A2A", "https", "agent2.example.com", false, 8443, "/A2A"},
    {"https://*.example.com/x", "https", "example.com", true, 443, "/x"},
    {"https://xn--bcher-kva.example/", "https", "xn--bcher-kva.example", false, 443, "/"},
    {"https://a_b.example/", "https", "a_b.example", false, 443, "/"},
    {"http://127.0.0.1:9001/", "http", "127.0.0.1", false, 9001, "/"},
    {"http://[::1]:80/", "http", "::1", false, 80, "/"},
    {"http://[FD00:0:0::1]", "http", "fd00::1", false, 80, "/"},
    {"http://[::ffff:1.2.3.4]/", "http", "::ffff:1.2.3.4", false, 80, "/"},
    {"https://1.example/", "https", "1.example", false, 443, "/"},
    {"https://a.example/b%c3%a4/:@!$&'()*+,;=~", "https", "a.example", false, 443,
     "/b%C3%A4/:@!$&'()*+,;=~"},
    {"https://a.example/.well-known/x...y", "https", "a.example", false, 443, "/.well-known/x...y"},
    {"https://a.example/%20%25", "https", "a.example", false, 443, "/%20%25"},

    {"", NULL, "empty", false, 0, NULL},
    {"agent2.example.com", NULL, "begins neither", false, 0, NULL},
    {"ftp://a.example", NULL, "begins neither", false, 0, NULL},
    {"https:/a.example", NULL, "begins neither", false, 0, NULL},
    {"//a.example/", NULL, "begins neither", false, 0, NULL},
    {"https://", NULL, "no host", false, 0, NULL},
    {"https:///x", NULL, "no host", false, 0, NULL},
    {"https://:443/", NULL, "no host", false, 0, NULL},
    {"https://u@a.example/", NULL, "user or password", false, 0, NULL},
    {"https://u:p@a.example/", NULL, "user or password", false, 0, NULL},
    {"https://a.example./", NULL, "ends in a dot", false, 0, NULL},
    {"https://.a.example/", NULL, "empty label", false, 0, NULL},
    {"https://a..example/", NULL, "empty label", false, 0, NULL},
    {"https://-a.example/", NULL, "hyphen", false, 0, NULL},
    {"https://a-.example/", NULL, "hyphen", false, 0, NULL},
    {"https://b\xc3\xbc"
     "cher.example/",
     NULL, "ASCII only", false, 0, NULL},
    {"https://a%2eexample/", NULL, "no host name has", false, 0, NULL},
    {"https://a example/", NULL, "spaces", false, 0, NULL},
    {"https://a.example/\t", NULL, "spaces", false, 0, NULL},
    {"https://a.example\\b/", NULL, "backslash", false, 0, NULL},
    {"https://*/", NULL, "'*'", false, 0, NULL},
    {"https://a.*.example/", NULL, "'*'", false, 0, NULL},
    {"https://*a.example/", NULL, "'*'", false, 0, NULL},
    {"https://*.*.example/", NULL, "'*'", false, 0, NULL},
    {"https://*.1.2.3.4/", NULL, "before an address", false, 0, NULL},
    {"http://127.1/", NULL, "four decimal", false, 0, NULL},
    {"http://2130706433/", NULL, "four decimal", false, 0, NULL},
    {"http://0x7f000001/", NULL, "four decimal", false, 0, NULL},
    {"http://0177.0.0.1/", NULL, "four decimal", false, 0, NULL},
    {"http://127.0.0.01/", NULL, "four decimal", false, 0, NULL},
    {"http://1.2.3.4.5/", NULL, "four decimal", false, 0, NULL},
    {"http://256.1.1.1/", NULL, "four decimal", false, 0, NULL},
    {"http://::1/", NULL, "no host", false, 0, NULL},
    {"http://fd00::1/", NULL, "port", false, 0, NULL},
    {"http://[::1/", NULL, "not closed", false, 0, NULL},
    {"http://[fe80::1%25lo]/", NULL, "zone", false, 0, NULL},
    {"http://[::1]x/", NULL, "port", false, 0, NULL},
    {"http://[1.2.3.4]/", NULL, "IPv6", false, 0, NULL},
    {"http://[v1.x]/", NULL, "IPv6", false, 0, NULL},
    {"https://a.example:/", NULL, "port", false, 0, NULL},
    {"https://a.example:0/", NULL, "port", false, 0, NULL},
    {"https://a.example:65536/", NULL, "port", false, 0, NULL},
    {"https://a.example:+80/", NULL, "port", false, 0, NULL},
    {"https://a.example:080/", NULL, "port", false, 0, NULL},
    {"https://a.example:80:80/", NULL, "port", false, 0, NULL},
    {"https://a.example/x?y", NULL, "query", false, 0, NULL},
    {"https://a.example?", NULL, "query", false, 0, NULL},
    {"https://a.example/x#y", NULL, "fragment", false, 0, NULL},
    {"https://a.example/./x", NULL, "dot segment", false, 0, NULL},
    {"https://a.example/x/..", NULL, "dot segment", false, 0, NULL},
    {"https://a.example/..;x/y", NULL, "dot segment", false, 0, NULL},
    {"https://a.example//x", NULL, "empty segment", false, 0, NULL},
    {"https://a.example/x//", NULL, "empty segment", false, 0, NULL},
    {"https://a.example/%2e%2e/x", NULL, "needs no encoding", false, 0, NULL},
    {"https://a.example/%41", NULL, "needs no encoding", false, 0, NULL},
    {"https://a.example/a%2fb", NULL, "slash", false, 0, NULL},
    {"https://a.example/a%5Cb", NULL, "slash", false, 0, NULL},
    {"https://a.example/a%00b", NULL, "control", false, 0, NULL},
    {"https://a.example/a%7f", NULL, "control", false, 0, NULL},
    {"https://a.example/a%", NULL, "two hexadecimal", false, 0, NULL},
    {"https://a.example/a%4", NULL, "two hexadecimal", false, 0, NULL},
    {"https://a.example/a%g0", NULL, "two hexadecimal", false, 0, NULL},
    {"https://a.example/%2/f", NULL, "two hexadecimal", false, 0, NULL},
    {"https://a.example/<x>", NULL, "percent-encoded", false, 0, NULL},
    {"https://a.example/a|b", NULL, "percent-encoded", false, 0, NULL},
};

static void test_r7_r9_patterns(void **state)
{
    struct th_arena arena;
    th_arena_init(&arena, 4096, 1 << 20);
    for (size_t i = 0; i < TH_COUNT_OF(patterns); i++) {
        const struct pattern_row *row = &patterns[i];
        struct th_config_pattern p = {0};
        struct th_errinfo info = {0};
        int r = th_config_parse_pattern(&arena, th_str_of(row->text), &p, &info);
        if (r != (row->scheme != NULL ? 0 : TH_E_CONFIG))
            fail_msg("%s: %d %s", row->text, r, info.what);
        if (row->scheme == NULL) {
            if (strstr(info.what, row->host) == NULL)
                fail_msg("%s: %s", row->text, info.what);
            assert_null(p.host.ptr); /* a success output is not touched on failure */
            continue;
        }
        if (!th_str_equal(p.scheme, th_str_of(row->scheme)) ||
            !th_str_equal(p.host, th_str_of(row->host)) || p.wildcard != row->wildcard ||
            p.port != row->port || !th_str_equal(p.path, th_str_of(row->path)) ||
            !th_str_equal(p.text, th_str_of(row->text)))
            fail_msg("%s: %.*s %.*s %d %u %.*s", row->text, TH_STR_ARGS(p.scheme),
                     TH_STR_ARGS(p.host), p.wildcard, p.port, TH_STR_ARGS(p.path));
    }
    th_arena_fini(&arena);
}

/* The normal form of a normal form is itself. */
static void test_idempotent(void **state)
{
    struct th_arena arena;
    th_arena_init(&arena, 4096, 1 << 20);
    for (size_t i = 0; i < TH_COUNT_OF(patterns); i++) {
        struct th_config_pattern p, again;
        char text[300];
        if (patterns[i].scheme == NULL)
            continue;
        assert_int_equal(th_config_parse_pattern(&arena, th_str_of(patterns[i].text), &p, NULL), 0);
        bool ipv6 = memchr(p.host.ptr, ':', p.host.len) != NULL;
        snprintf(text, sizeof(text), "%.*s://%s%s%.*s%s:%u%.*s", TH_STR_ARGS(p.scheme),
                 p.wildcard ? "*." : "", ipv6 ? "[" : "", TH_STR_ARGS(p.host), ipv6 ? "]" : "",
                 p.port, TH_STR_ARGS(p.path));
        assert_int_equal(th_config_parse_pattern(&arena, th_str_of(text), &again, NULL), 0);
        assert_true(th_str_equal(p.host, again.host) && th_str_equal(p.path, again.path));
        assert_int_equal(p.port, again.port);
    }
    th_arena_fini(&arena);
}

static void test_long(void **state)
{
    char text[TH_URL_MAX_LEN + 2];
    struct th_config_url url;
    memset(text, 'a', sizeof(text));
    memcpy(text, "https://a.example/", 18);
    assert_int_equal(th_config_url_split((struct th_str){text, TH_URL_MAX_LEN}, false, &url, NULL),
                     0);
    assert_int_equal(
        th_config_url_split((struct th_str){text, TH_URL_MAX_LEN + 1}, false, &url, NULL),
        TH_E_CONFIG);
    memset(text, 'a', sizeof(text));
    memcpy(text, "https://", 8);
    text[8 + 63] = '.';
    assert_int_equal(th_config_url_split((struct th_str){text, 8 + 65}, false, &url, NULL), 0);
    text[8 + 63] = 'a';
    assert_int_equal(th_config_url_split((struct th_str){text, 8 + 65}, false, &url, NULL),
                     TH_E_CONFIG);
}

static void test_loopback(void **state)
{
    static const struct {
        const char *text;
        bool loopback;
    } rows[] = {
        {"http://127.0.0.1/", true},
        {"http://127.255.0.1:80/", true},
        {"http://[::1]/", true},
        {"http://[::ffff:127.0.0.1]/", true},
        {"http://128.0.0.1/", false},
        {"http://[::2]/", false},
        {"http://127.example.com/", false},
        {"http://localhost/", false},
        {"http://127.0.0.1.example/", false},
    };
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct th_config_url url;
        assert_int_equal(th_config_url_split(th_str_of(rows[i].text), false, &url, NULL), 0);
        assert_int_equal(url.loopback, rows[i].loopback);
    }
}

static void test_absolute(void **state)
{
    static const struct {
        const char *text;
        bool ok;
    } rows[] = {
        {"https://agent2.example.com", true},
        {"https://agent2.example.com/a?b=c", true},
        {"orn:okta:idp:00o1:apps:x", true},
        {"api://default", true},
        {"urn:x", true},
        {"agent2.example.com", false},
        {"/path", false},
        {":x", false},
        {"1a:x", false},
        {"urn:", false},
        {"https://agent2.example.com/#a", false},
        {"https://u:p@agent2.example.com/", false},
        {"https://", false},
        {"urn:a b", false},
        {"urn:<a>", false},
        {"", false},
    };
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct th_errinfo info = {0};
        int r = th_config_url_check_absolute(th_str_of(rows[i].text), &info);
        if (r != (rows[i].ok ? 0 : TH_E_CONFIG))
            fail_msg("%s: %d %s", rows[i].text, r, info.what);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_r7_r9_patterns), cmocka_unit_test(test_idempotent),
        cmocka_unit_test(test_long),           cmocka_unit_test(test_loopback),
        cmocka_unit_test(test_absolute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
