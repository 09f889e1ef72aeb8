/* Parent proxies: what a configuration may say of them, and which one a destination gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "test_mistake.h"
#include "test_support.h"
#include "tokenhop/base/check.h"
#include "tokenhop/config/load.h"
#include "tokenhop/config/parent.h"

static char *folder;

/* The text is the caller's to free. */
static char *write_config(const char *parents)
{
    char *text;
    assert_true(
        asprintf(
            &text,
            "{\"listeners\": [{\"name\": \"in\", \"address\": \"127.0.0.1:8080\","
            "   \"agent\": \"a\"},"
            "  {\"name\": \"all\", \"address\": \"[::]:8081\", \"agent\": \"a\"}],"
            " \"authorization_servers\": {\"org\": {\"issuer\": \"https://example.okta.com\"}},"
            " \"agents\": {\"a\": {\"client_id\": \"c\", \"authorization_server\": \"org\","
            "   \"auth\": {\"method\": \"none\"}}},"
            " \"connections\": [],\n\"parents\": [%s]}",
            parents) > 0);
    return text;
}

static struct th_config *load(const char *parents)
{
    char *text = write_config(parents);
    struct th_config *config = test_config_load(text, folder);
    free(text);
    return config;
}

/* --- which one --- */

static const char several[] =
    "{\"for\": [\"*.internal.example\", \"10.0.0.0/8\", \"[fd00::1]:8443\"], \"proxy\": \"direct\"},"
    "{\"for\": [\"https://*.okta.com\", \"Exact.example\", \"port.example:8443\"],"
    " \"carries\": \"authorization_servers\", \"proxy\": \"http://one:3128\"},"
    "{\"for\": [\"http://*.clear.example\", \"192.0.2.7\", \"127.9.0.0/16\"], \"carries\": \"origins\","
    " \"proxy\": \"http://two:3128\"},"
    "{\"proxy\": \"https://Three.example\"}";

static const struct choice {
    enum th_parent_carries carries;
    const char *scheme, *host;
    uint16_t port;
    const char *parent; /* its host; NULL: direct */
} choices[] = {
    {TH_PARENT_CARRIES_ORIGINS, "https", "a.internal.example", 443, NULL},
    {TH_PARENT_CARRIES_ORIGINS, "http", "a.b.INTERNAL.example", 80, NULL},
    {TH_PARENT_CARRIES_ORIGINS, "https", "internal.example", 443, "three.example"},
    {TH_PARENT_CARRIES_ORIGINS, "https", "ainternal.example", 443, "three.example"},
    {TH_PARENT_CARRIES_SERVERS, "https", "a.internal.example", 443, NULL},
    {TH_PARENT_CARRIES_ORIGINS, "http", "10.1.2.3", 80, NULL},
    {TH_PARENT_CARRIES_ORIGINS, "http", "11.1.2.3", 80, "three.example"},
    {TH_PARENT_CARRIES_ORIGINS, "https", "fd00::1", 8443, NULL},
    {TH_PARENT_CARRIES_ORIGINS, "https", "fd00::1", 443, "three.example"},
    {TH_PARENT_CARRIES_SERVERS, "https", "example.okta.com", 443, "one"},
    {TH_PARENT_CARRIES_SERVERS, "https", "example.okta.com", 8443, "three.example"},
    {TH_PARENT_CARRIES_SERVERS, "http", "example.okta.com", 80, "three.example"},
    {TH_PARENT_CARRIES_ORIGINS, "https", "example.okta.com", 443, "three.example"},
    {TH_PARENT_CARRIES_SERVERS, "https", "exact.EXAMPLE", 1, "one"},
    {TH_PARENT_CARRIES_SERVERS, "https", "a.exact.example", 443, "three.example"},
    {TH_PARENT_CARRIES_SERVERS, "https", "port.example", 8443, "one"},
    {TH_PARENT_CARRIES_SERVERS, "https", "port.example", 443, "three.example"},
    {TH_PARENT_CARRIES_ORIGINS, "http", "x.clear.example", 80, "two"},
    {TH_PARENT_CARRIES_ORIGINS, "https", "x.clear.example", 443, "three.example"},
    {TH_PARENT_CARRIES_ORIGINS, "https", "192.0.2.7", 443, "two"},
    {TH_PARENT_CARRIES_SERVERS, "https", "192.0.2.7", 443, "three.example"},
    {TH_PARENT_CARRIES_ORIGINS, "http", "127.0.0.1", 80, NULL},
    {TH_PARENT_CARRIES_ORIGINS, "http", "::1", 80, NULL},
    {TH_PARENT_CARRIES_ORIGINS, "http", "::ffff:127.0.0.9", 80, NULL},
    {TH_PARENT_CARRIES_ORIGINS, "http", "LocalHost", 80, NULL},
    {TH_PARENT_CARRIES_SERVERS, "http", "a.localhost", 80, NULL},
    {TH_PARENT_CARRIES_ORIGINS, "http", "localhost.example", 80, "three.example"},
    {TH_PARENT_CARRIES_ORIGINS, "http", "127.9.9.9", 80, "two"},
};

static void first_match_wins(void **state)
{
    struct th_config *config = load(several);
    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(choices); i++) {
        const struct choice *choice = &choices[i];
        const struct th_config_parent *parent = th_config_find_parent(
            th_config_get(config), choice->carries, strcmp(choice->scheme, "https") == 0,
            th_str_of(choice->host), choice->port);
        if (choice->parent == NULL
                ? parent != NULL
                : parent == NULL || !th_str_equal(parent->host, th_str_of(choice->parent)))
            fail_msg("case %zu: %s %s", i, choice->scheme, choice->host);
    }
    th_config_unref(config);
}

static void nothing_without_parents(void **state)
{
    struct th_config *config = load("");
    (void)state;
    assert_null(th_config_find_parent(th_config_get(config), TH_PARENT_CARRIES_ORIGINS, true,
                                      TH_STR("a.example"), 443));
    th_config_unref(config);
}

/* --- what it is shown --- */

static void basic_is_one_field(void **state)
{
    (void)state;
    struct th_config *config = load("{\"proxy\": \"http://127.0.0.1:3128\", \"basic\": {\"user\": "
                                    "\"agent\", \"password_file\": \"parent.pw\"}}");
    const struct th_config_parent *parent = &th_config_get(config)->parents[0];
    struct th_str value = th_secret_expose(parent->authorization);
    assert_true(th_str_equal(value, TH_STR("Basic YWdlbnQ6aHVudGVyMg==")));
    assert_false(parent->is_https);
    assert_int_equal(parent->port, 3128);
    th_config_unref(config);
    assert_int_equal(th_secret_bytes_held(), 0);
}

static void alike(void **state)
{
#define PARENT(url, user)                                                                          \
    "{\"proxy\": \"" url "\", \"basic\": {\"user\": \"" user "\", "                                \
    "\"password_file\": \"parent.pw\"}}"
    static const struct {
        const char *other;
        bool alike;
    } cases[] = {
        {PARENT("http://127.0.0.1:3128", "u"), true},
        {PARENT("http://127.0.0.1:3129", "u"), false},
        {PARENT("http://127.0.0.2:3128", "u"), false},
        {PARENT("https://127.0.0.1:3128", "u"), false},
        {PARENT("http://127.0.0.1:3128", "v"), false},
        {"{\"proxy\": \"http://127.0.0.1:3128\"}", false},
    };
    struct th_config *config = load(PARENT("http://127.0.0.1:3128", "u"));
    const struct th_config_parent *parent = &th_config_get(config)->parents[0];
    (void)state;
    assert_true(th_config_parent_is_alike(NULL, NULL));
    assert_false(th_config_parent_is_alike(parent, NULL));
    assert_false(th_config_parent_is_alike(NULL, parent));
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_config *other = load(cases[i].other);
        assert_int_equal(th_config_parent_is_alike(parent, &th_config_get(other)->parents[0]),
                         cases[i].alike);
        th_config_unref(other);
    }
    th_config_unref(config);
}

static void names_that_no_parent_may_resolve(void **state)
{
    static const char *const refused[] = {"METADATA", "a.metadata.goog", "metadata.google.internal",
                                          "instance-data", "metadata"};
    static const char *const others[] = {"localhost", "metadata.example", "mymetadata", "127.0.0.1",
                                         ""};
    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(refused); i++)
        assert_true(th_config_parent_refuses(th_str_of(refused[i])));
    for (size_t i = 0; i < TH_COUNT_OF(others); i++)
        assert_false(th_config_parent_refuses(th_str_of(others[i])));
}

/* --- mistakes --- */

#define PASSWORD "\"password_file\": \"parent.pw\""

static const struct test_mistake mistakes[] = {
    {"{}", "$.parents[0]", "\"proxy\" is missing", ""},
    {"{\"proxy\": \"proxy.example:3128\"}", "$.parents[0].proxy", "neither a URL nor \"direct\"",
     "http://"},
    {"{\"proxy\": \"socks5://proxy.example\"}", "$.parents[0].proxy", "neither with https://", ""},
    {"{\"proxy\": \"http://u:hunter2@proxy.example\"}", "$.parents[0].proxy", "user or password",
     ""},
    {"{\"proxy\": \"http://proxy.example/x\"}", "$.parents[0].proxy", "no path", ""},
    {"{\"proxy\": \"http://proxy.example?x\"}", "$.parents[0].proxy", "no path", ""},
    {"{\"proxy\": \"http://*.example\"}", "$.parents[0].proxy", "'*'", ""},
    {"{\"proxy\": \"http://127.0.0.1:8080\"}", "$.parents[0].proxy", "listener \"in\"",
     "other proxy"},
    {"{\"proxy\": \"https://localhost:8080\"}", "$.parents[0].proxy", "listener \"in\"", ""},
    {"{\"proxy\": \"http://127.0.0.9:8081\"}", "$.parents[0].proxy", "listener \"all\"", ""},
    {"{\"proxy\": \"http://[::1]:8081\"}", "$.parents[0].proxy", "listener \"all\"", ""},
    {"{\"proxy\": \"http://p\", \"carries\": \"tokens\"}", "$.parents[0].carries", "", ""},
    {"{\"proxy\": \"http://p\", \"for\": []}", "$.parents[0].for", "", ""},
    {"{\"proxy\": \"http://p\", \"for\": [\"*\"]}", "$.parents[0].for[0]", "all destinations",
     "leave"},
    {"{\"proxy\": \"http://p\", \"for\": [\"a.example\", \"10.0.0.1/8\"]}", "$.parents[0].for[1]",
     "", ""},
    {"{\"proxy\": \"http://p\", \"for\": [\"10.0.0.0/99\"]}", "$.parents[0].for[0]", "", ""},
    {"{\"proxy\": \"http://p\", \"for\": [\"a.*.example\"]}", "$.parents[0].for[0]", "'*'", ""},
    {"{\"proxy\": \"http://p\", \"for\": [\"https://a.example/x\"]}", "$.parents[0].for[0]",
     "scheme, host and port alone", ""},
    {"{\"proxy\": \"http://p\", \"for\": [\"ftp://a.example\"]}", "$.parents[0].for[0]", "", ""},
    {"{\"proxy\": \"http://p\", \"for\": [\"a..example\"]}", "$.parents[0].for[0]", "empty label",
     ""},
    {"{\"proxy\": \"http://p\", \"for\": [\"a.example:0\"]}", "$.parents[0].for[0]", "port", ""},
    {"{\"proxy\": \"direct\", \"basic\": {\"user\": \"u\", " PASSWORD "}}", "$.parents[0].basic",
     "nothing is sent", "leave it out"},
    {"{\"proxy\": \"direct\", \"ca_file\": \"ca.pem\"}", "$.parents[0].ca_file", "nothing is sent",
     ""},
    {"{\"proxy\": \"direct\", \"allow_cleartext\": true}", "$.parents[0].allow_cleartext",
     "nothing is sent", ""},
    {"{\"proxy\": \"https://p\", \"ca_file\": \"no.pem\"}", "$.parents[0].ca_file", "", ""},
    {"{\"proxy\": \"http://p\", \"basic\": {\"user\": \"u\", " PASSWORD "}}", "$.parents[0].basic",
     "cleartext", "allow_cleartext"},
    {"{\"proxy\": \"https://p\", \"basic\": {\"user\": \"u:v\", " PASSWORD "}}",
     "$.parents[0].basic.user", "no colon", ""},
    {"{\"proxy\": \"https://p\", \"basic\": {" PASSWORD "}}", "$.parents[0].basic",
     "\"user\" is missing", ""},
    {"{\"proxy\": \"https://p\", \"basic\": {\"user\": \"u\", \"password_file\": \"open.pw\"}}",
     "$.parents[0].basic.password_file", "others", ""},
    {"{\"proxy\": \"https://p\", \"basic\": {\"user\": \"u\", \"password_file\": \"none.pw\"}}",
     "$.parents[0].basic.password_file", "cannot be found", ""},
    {"{\"proxy\": \"https://p\", \"basic\": {\"user\": \"u\", \"password_file\": \"two.pw\"}}",
     "$.parents[0].basic.password_file", "control character", ""},
    {"{\"proxy\": \"http://p\"}, {\"for\": [\"a.example\"], \"proxy\": \"direct\"}", "$.parents[1]",
     "never met", "before"},
    {"{\"proxy\": \"http://p\", \"carries\": \"origins\"},"
     " {\"proxy\": \"http://q\", \"carries\": \"authorization_servers\"}, {\"proxy\": \"direct\"}",
     "$.parents[2]", "never met", ""},
    {"{\"proxy\": \"http://p\", \"noproxy\": \"a\"}", "$.parents[0].noproxy", "", ""},
};

static void every_mistake_is_told(void **state)
{
    size_t missed = 0;
    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(mistakes); i++) {
        char *text = write_config(mistakes[i].rest);
        missed += !test_mistake_is_found(&mistakes[i], i, text, folder);
        free(text);
    }
    assert_int_equal(missed, 0);
}

static int set_up(void **state)
{
    (void)state;
    folder = test_folder_new();
    test_write_file(folder, "parent.pw", "hunter2\n", 0600);
    test_write_file(folder, "open.pw", "hunter2\n", 0644);
    test_write_file(folder, "two.pw", "hunter2\nx\n", 0600);
    test_write_certificate(folder, "ca.pem");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_folder_remove(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_match_wins),      cmocka_unit_test(nothing_without_parents),
        cmocka_unit_test(basic_is_one_field),    cmocka_unit_test(alike),
        cmocka_unit_test(every_mistake_is_told), cmocka_unit_test(names_that_no_parent_may_resolve),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
