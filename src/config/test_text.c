#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "text.h"
#include "tokenhop/base/check.h"

static void test_durations(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = {
        {"0ms", 0},      {"0s", 0},       {"250ms", 250},    {"30s", 30000},
        {"15m", 900000}, {"1h", 3600000}, {"24h", 86400000}, {"999999999h", 3599999996400000},
        {"", -1},        {"30", -1},      {"s", -1},         {"-1s", -1},
        {"+1s", -1},     {"1.5s", -1},    {"1 s", -1},       {" 1s", -1},
        {"1s ", -1},     {"01s", -1},     {"1S", -1},        {"1min", -1},
        {"1d", -1},      {"1m30s", -1},   {"0x1s", -1},      {"1000000000h", -1},
        {"1us", -1},
    };
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct th_errinfo info = {0};
        int64_t ms = -1;
        int r = th_text_to_duration(th_str_of(rows[i].text), &ms, &info);
        assert_int_equal(r, rows[i].ms < 0 ? TH_E_CONFIG : 0);
        assert_int_equal(ms, rows[i].ms);
        assert_int_equal(info.mend[0] != '\0', r < 0);
    }
}

static void test_sizes(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes; /* UINT64_MAX: refused */
    } rows[] = {
        {"0B", 0},
        {"512B", 512},
        {"64KiB", 65536},
        {"1MiB", 1 << 20},
        {"1GiB", 1 << 30},
        {"999999999GiB", 1073741822926258176},
        {"64", UINT64_MAX},
        {"64K", UINT64_MAX},
        {"64KB", UINT64_MAX},
        {"64kib", UINT64_MAX},
        {"", UINT64_MAX},
        {"1TiB", UINT64_MAX},
        {"007B", UINT64_MAX},
    };
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct th_errinfo info = {0};
        uint64_t bytes = UINT64_MAX;
        int r = th_text_to_size(th_str_of(rows[i].text), &bytes, &info);
        assert_int_equal(r, rows[i].bytes == UINT64_MAX ? TH_E_CONFIG : 0);
        assert_true(bytes == rows[i].bytes);
    }
}

/* What is printed is read back as the same. */
static void test_back(void **state)
{
    static const uint64_t values[] = {0,     1,     250,   999,     1000,    1024,
                                      30000, 90000, 65536, 3600000, 86400000};
    for (size_t i = 0; i < TH_COUNT_OF(values); i++) {
        char text[32];
        int64_t ms = -1;
        uint64_t bytes = UINT64_MAX;
        th_text_from_duration((int64_t)values[i], text, sizeof(text));
        assert_int_equal(th_text_to_duration(th_str_of(text), &ms, NULL), 0);
        assert_true((uint64_t)ms == values[i]);
        th_text_from_size(values[i], text, sizeof(text));
        assert_int_equal(th_text_to_size(th_str_of(text), &bytes, NULL), 0);
        assert_true(bytes == values[i]);
    }
}

static void test_checks(void **state)
{
    static const struct {
        int (*check)(struct th_str text, struct th_errinfo *reterr);
        const char *text;
        bool ok;
    } rows[] = {
        {th_text_check_name, "agent-1.a_b", true},
        {th_text_check_name, "", false},
        {th_text_check_name, "a b", false},
        {th_text_check_name, "a\"", false},
        {th_text_check_name, "\xc3\xa4", false},
        {th_text_check_name, "0123456789012345678901234567890123456789012345678901234567890123",
         true},
        {th_text_check_name, "01234567890123456789012345678901234567890123456789012345678901234",
         false},
        {th_text_check_scope, "chat.read", true},
        {th_text_check_scope, "https://x/y:z!#[]^~", true},
        {th_text_check_scope, "a b", false},
        {th_text_check_scope, "a\"b", false},
        {th_text_check_scope, "a\\b", false},
        {th_text_check_scope, "a\x7f", false},
        {th_text_check_scope, "\xc3\xa4", false},
        {th_text_check_scope, "", false},
        {th_text_check_visible, "a b~", true},
        {th_text_check_visible, "a\tb", false},
        {th_text_check_variable, "AGENT_KEY1", true},
        {th_text_check_variable, "1AGENT", false},
        {th_text_check_variable, "A-B", false},
        {th_text_check_variable, "", false},
        {th_text_check_file, "keys/agent 1.pem", true},
        {th_text_check_file, "-----BEGIN PRIVATE KEY-----", false},
        {th_text_check_file, "{\"kty\":\"EC\"}", false},
        {th_text_check_file, "a\nb", false},
    };
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct th_errinfo info = {0};
        int r = rows[i].check(th_str_of(rows[i].text), &info);
        if (r != (rows[i].ok ? 0 : TH_E_CONFIG))
            fail_msg("%s: %d", rows[i].text, r);
    }
}

static void test_addresses(void **state)
{
    static const struct {
        const char *text;
        int family; /* AF_UNSPEC: refused */
        uint16_t port;
    } rows[] = {
        {"127.0.0.1:8080", AF_INET, 8080},
        {"0.0.0.0:1", AF_INET, 1},
        {"[::1]:65535", AF_INET6, 65535},
        {"[::]:80", AF_INET6, 80},
        {"", AF_UNSPEC, 0},
        {":80", AF_UNSPEC, 0},
        {"127.0.0.1", AF_UNSPEC, 0},
        {"127.0.0.1:", AF_UNSPEC, 0},
        {"127.0.0.1:0", AF_UNSPEC, 0},
        {"127.0.0.1:65536", AF_UNSPEC, 0},
        {"127.0.0.1:080", AF_UNSPEC, 0},
        {"127.1:80", AF_UNSPEC, 0},
        {"127.0.0.01:80", AF_UNSPEC, 0},
        {"::1:80", AF_UNSPEC, 0},
        {"[::1]", AF_UNSPEC, 0},
        {"[::1]80", AF_UNSPEC, 0},
        {"[::1:80", AF_UNSPEC, 0},
        {"[127.0.0.1]:80", AF_UNSPEC, 0},
        {"[fe80::1%lo]:80", AF_UNSPEC, 0},
        {"localhost:80", AF_UNSPEC, 0},
        {"[::ffff:1.2.3.4]:80", AF_UNSPEC, 0},
        {"unix:/run/x", AF_UNSPEC, 0},
        {"[]:80", AF_UNSPEC, 0},
        {"127.0.0.1:8080:1", AF_UNSPEC, 0},
        {"[", AF_UNSPEC, 0},
        {":", AF_UNSPEC, 0},
    };
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct sockaddr_storage address = {0};
        struct th_errinfo info = {0};
        socklen_t len = 0;
        int r = th_text_to_address(th_str_of(rows[i].text), &address, &len, &info);
        if (r != (rows[i].family == AF_UNSPEC ? TH_E_CONFIG : 0))
            fail_msg("%s: %d", rows[i].text, r);
        if (r < 0)
            continue;
        assert_int_equal(address.ss_family, rows[i].family);
        if (rows[i].family == AF_INET) {
            assert_int_equal(len, sizeof(struct sockaddr_in));
            assert_int_equal(ntohs(((struct sockaddr_in *)&address)->sin_port), rows[i].port);
        } else {
            assert_int_equal(len, sizeof(struct sockaddr_in6));
            assert_int_equal(ntohs(((struct sockaddr_in6 *)&address)->sin6_port), rows[i].port);
        }
    }
}

static void test_networks(void **state)
{
    static const struct {
        const char *text, *address; /* NULL: refused */
        uint8_t prefix;
        uint16_t port;
    } rows[] = {
        {"10.1.0.0/16", "::ffff:10.1.0.0", 112, 0},
        {"10.1.2.3", "::ffff:10.1.2.3", 128, 0},
        {"10.1.2.3/32", "::ffff:10.1.2.3", 128, 0},
        {"0.0.0.0/0", "::ffff:0.0.0.0", 96, 0},
        {"127.0.0.1:9001", "::ffff:127.0.0.1", 128, 9001},
        {"[::1]:80", "::1", 128, 80},
        {"::1", "::1", 128, 0},
        {"[::1]", "::1", 128, 0},
        {"fd00::/8", "fd00::", 8, 0},
        {"::/0", "::", 0, 0},
        {"fd00::1/8", NULL, 0, 0},
        {"10.1.2.3/16", NULL, 0, 0},
        {"10.0.0.0/33", NULL, 0, 0},
        {"10.0.0.0/08", NULL, 0, 0},
        {"10.0.0.0/", NULL, 0, 0},
        {"/8", NULL, 0, 0},
        {"10.0.0.0/8:80", NULL, 0, 0},
        {"10.0.0.0:80/8", NULL, 0, 0},
        {"fd00::/129", NULL, 0, 0},
        {"10.1.2", NULL, 0, 0},
        {"127.0.0.1:0", NULL, 0, 0},
        {"127.0.0.1:", NULL, 0, 0},
        {"localhost:80", NULL, 0, 0},
        {"", NULL, 0, 0},
    };
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct th_config_network network = {0};
        struct th_errinfo info = {0};
        struct in6_addr wanted;
        int r = th_text_to_network(th_str_of(rows[i].text), &network, &info);
        if (r != (rows[i].address == NULL ? TH_E_CONFIG : 0))
            fail_msg("%s: %d", rows[i].text, r);
        if (r < 0)
            continue;
        assert_int_equal(inet_pton(AF_INET6, rows[i].address, &wanted), 1);
        assert_memory_equal(&network.address, &wanted, sizeof(wanted));
        assert_int_equal(network.prefix, rows[i].prefix);
        assert_int_equal(network.port, rows[i].port);
    }
}

static void test_distance(void **state)
{
    static const struct {
        const char *a, *b;
        size_t distance;
    } rows[] = {
        {"", "", 0},
        {"a", "", 1},
        {"", "abc", 3},
        {"url", "url", 0},
        {"url", "URL", 0},
        {"url", "urls", 1},
        {"scopes", "socpes", 1},
        {"kitten", "sitting", 3},
        {"agent", "agnet", 1},
        {"abcd", "dcba", 3},
    };
    char longer[66];
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++)
        assert_int_equal(th_text_distance(th_str_of(rows[i].a), th_str_of(rows[i].b)),
                         rows[i].distance);
    memset(longer, 'a', 65);
    longer[65] = '\0';
    assert_true(th_text_distance(th_str_of(longer), TH_STR("a")) == SIZE_MAX);
    longer[64] = '\0';
    assert_int_equal(th_text_distance(th_str_of(longer), TH_STR("a")), 63);
}

static void test_nearest(void **state)
{
    static const struct {
        const char *wanted, *best;
    } rows[] = {
        {"scope", "scopes"},
        {"resorce", "resource"},
        {"scopes_list", "scopes"},
        {"completely_other", ""},
        {"x", ""},
        {"authorizationServer", "authorization_server"},
        {"", ""},
    };
    static const char *const names[] = {"url", "scopes", "resource", "authorization_server", "a"};
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct th_nearest nearest;
        th_nearest_init(&nearest, th_str_of(rows[i].wanted));
        for (size_t j = 0; j < TH_COUNT_OF(names); j++)
            th_nearest_offer(&nearest, th_str_of(names[j]));
        if (!th_str_equal(nearest.best, th_str_of(rows[i].best)))
            fail_msg("%s: %.*s", rows[i].wanted, TH_STR_ARGS(nearest.best));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations), cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_back),      cmocka_unit_test(test_checks),
        cmocka_unit_test(test_addresses), cmocka_unit_test(test_networks),
        cmocka_unit_test(test_distance),  cmocka_unit_test(test_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
