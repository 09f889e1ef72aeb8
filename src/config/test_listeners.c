/* Listeners and who reaches them: what the section becomes, and its mistakes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "test_mistake.h"
#include "test_support.h"

static char *folder;

#define LONG "0123456789012345678901234567890123456789"

static const char *text_of(const char *listener, const char *rest, char room[4096])
{
    return test_listener_text("", listener, rest, room);
}

static struct th_config *load(const char *listener, const char *rest)
{
    char room[4096];
    return test_config_load(text_of(listener, rest, room), folder);
}

static void a_unix_socket(void **state)
{
    struct th_config *config = load("\"address\": \"unix:sub/a.sock\", \"agent\": \"a\"", "");
    const struct th_config_listener *listener = th_config_get(config)->listeners;
    char wanted[256];
    (void)snprintf(wanted, sizeof wanted, "%s/sub/a.sock", folder);
    assert_true(th_str_equal(listener->path, th_str_of(wanted)));
    assert_int_equal(listener->address.ss_family, AF_UNIX);
    assert_int_equal(listener->socket_mode, 0600); /* unless it is said, nobody else */
    assert_int_equal(listener->socket_group, (gid_t)-1);
    th_config_unref(config);

    config = load("\"address\": \"unix:/run/x.sock\", \"agent\": \"a\", \"socket_mode\": \"0666\", "
                  "\"socket_group\": \"root\"",
                  "");
    listener = th_config_get(config)->listeners;
    assert_true(th_str_equal(listener->path, TH_STR("/run/x.sock")));
    assert_int_equal(listener->socket_mode, 0666);
    assert_int_equal(listener->socket_group, 0);
    th_config_unref(config);

    config =
        load("\"address\": \"unix:/run/x.sock\", \"agent\": \"a\", \"socket_group\": \"4321\"", "");
    assert_int_equal(th_config_get(config)->listeners->socket_group, 4321);
    th_config_unref(config);

    config = load("\"address\": \"[::1]:80\", \"agent\": \"a\"", "");
    assert_int_equal(th_config_get(config)->listeners->path.len, 0);
    th_config_unref(config);
}

static void a_transparent_one(void **state)
{
    struct th_config *config =
        load("\"address\": \"0.0.0.0:8080\", \"agent\": \"a\", \"mode\": \"transparent\"", "");
    const struct th_config_listener *listener = th_config_get(config)->listeners;
    assert_int_equal(listener->mode, TH_LISTENER_TRANSPARENT);
    assert_false(listener->by_tproxy || listener->by_name);
    th_config_unref(config);

    config = load("\"address\": \"0.0.0.0:8080\", \"agent\": \"a\", \"mode\": \"transparent\","
                  "\"redirected_by\": \"tproxy\", \"original_destination\": \"ignore\"",
                  "");
    listener = th_config_get(config)->listeners;
    assert_true(listener->by_tproxy && listener->by_name);
    th_config_unref(config);
}

#define CALLERS(text) "\"address\": \"unix:a\"", "\"callers\": [" text "]"
#define CALLER(name, peer) "{\"name\": \"" name "\", \"agent\": \"a\", \"unix\": " peer "}"

static void callers_by_their_process(void **state)
{
    struct th_config *config = load(
        CALLERS(CALLER("one", "{\"uid\": 0}") "," CALLER("two", "{\"gid\": 4294967294}") "," CALLER(
            "three", "{\"user\": \"daemon\"}") "," CALLER("four", "{\"group\": \"root\"}")));
    const struct th_config_view *view = th_config_get(config);
    assert_int_equal(view->n_callers, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(view->callers[i].proof, TH_CALLER_UNIX);
        assert_ptr_equal(view->callers[i].agent, &view->agents[0]);
        assert_int_equal(view->callers[i].is_group, i % 2);
    }
    assert_int_equal(view->callers[0].unix_id, 0);
    assert_int_equal(view->callers[1].unix_id, 4294967294u);
    assert_int_equal(view->callers[2].unix_id, 1);
    assert_int_equal(view->callers[3].unix_id, 0);
    th_config_unref(config);
}

static void what_is_handed_over(void **state)
{
    struct th_config *config = load("\"address\": \"systemd:tokenhop.socket\", \"agent\": \"a\", "
                                    "\"proxy_protocol\": {\"from\": [\"unix\", \"10.0.0.1\"]}",
                                    "");
    const struct th_config_listener *listener = th_config_get(config)->listeners;
    assert_true(th_str_equal(listener->activation, TH_STR("tokenhop.socket")));
    assert_int_equal(listener->address_len, 0);
    assert_int_equal(listener->path.len, 0);
    assert_true(listener->takes_unix_headers); /* what it is, is not known yet */
    assert_int_equal(listener->n_header_sources, 1);
    th_config_unref(config);
}

static void proxies_before_it(void **state)
{
    struct th_config *config =
        load("\"address\": \"[::]:80\", \"agent\": \"a\", \"proxy_protocol\": {\"from\": "
             "[\"10.0.0.0/8\", \"fd00::1\"]}",
             "");
    const struct th_config_listener *listener = th_config_get(config)->listeners;
    static const uint8_t inside[16] = {[10] = 0xff, 0xff, 10, 1, 2, 3};
    struct in6_addr address;
    memcpy(&address, inside, sizeof address);
    assert_int_equal(listener->n_header_sources, 2);
    assert_false(listener->takes_unix_headers);
    assert_true(th_config_network_holds(&listener->header_sources[0], &address, 1234));
    assert_false(th_config_network_holds(&listener->header_sources[1], &address, 1234));
    th_config_unref(config);

    config = load("\"address\": \"unix:a\", \"agent\": \"a\", \"proxy_protocol\": {\"from\": "
                  "[\"unix\"]}",
                  "");
    assert_int_equal(th_config_get(config)->listeners->n_header_sources, 0);
    assert_true(th_config_get(config)->listeners->takes_unix_headers);
    th_config_unref(config);

    config = load("\"address\": \"unix:a\", \"agent\": \"a\"", ""); /* nobody unless said */
    assert_false(th_config_get(config)->listeners->takes_unix_headers);
    th_config_unref(config);
}

#define ACCOUNT(name, issuer, more)                                                                \
    "{\"name\": \"" name "\", \"agent\": \"a\", \"kubernetes\": {\"issuer\": \"" issuer            \
    "\", \"namespace\": \"ns\", \"service_account\": \"sa.1\"" more "}}"

static void callers_by_their_account(void **state)
{
    static const uint8_t none[32];
    struct th_config *config = load(CALLERS(ACCOUNT("one", "org", "") "," ACCOUNT(
        "two", "https://x.okta.com", ", \"audience\": \"other\"")));
    const struct th_config_view *view = th_config_get(config);
    assert_int_equal(view->n_callers, 2);
    for (size_t i = 0; i < 2; i++) {
        const struct th_config_caller *caller = &view->callers[i];
        assert_int_equal(caller->proof, TH_CALLER_KUBERNETES);
        assert_ptr_equal(caller->workload.issuer, &view->servers[0]);
        assert_true(th_str_equal(caller->workload.namespace_name, TH_STR("ns")));
        assert_true(th_str_equal(caller->workload.service_account, TH_STR("sa.1")));
        assert_true(memcmp(caller->digest, none, sizeof none) != 0);
    }
    assert_true(th_str_equal(view->callers[0].workload.audience, TH_STR("tokenhop")));
    assert_true(memcmp(view->callers[0].digest, view->callers[1].digest, sizeof none) != 0);
    th_config_unref(config);
}

struct row {
    const char *listener;
    struct test_mistake mistake;
};
#define AT_UNIX "\"address\": \"unix:a\", \"agent\": \"a\""
#define TRANSPARENT "\"address\": \"127.0.0.1:80\", \"mode\": \"transparent\""
#define AT_TCP "\"address\": \"127.0.0.1:80\", \"agent\": \"a\""

static const struct row rows[] = {
    {"\"address\": \"unix:\", \"agent\": \"a\"",
     {"", "$.listeners[0].address", "path", "unix:/run"}},
    {"\"address\": \"unix:/" LONG LONG LONG "\", \"agent\": \"a\"",
     {"", "$.listeners[0].address", "107 bytes", "shorter"}},
    {"\"address\": \"unix:a\\nb\", \"agent\": \"a\"", {"", "$.listeners[0].address", "", ""}},
    {AT_UNIX ", \"socket_mode\": \"660\"",
     {"", "$.listeners[0].socket_mode", "not the mode", "0660"}},
    {AT_UNIX ", \"socket_mode\": \"0668\"",
     {"", "$.listeners[0].socket_mode", "not the mode", "0660"}},
    {AT_UNIX ", \"socket_mode\": \"01777\"",
     {"", "$.listeners[0].socket_mode", "not the mode", ""}},
    {AT_UNIX ", \"socket_mode\": 432", {"", "$.listeners[0].socket_mode", "octal", ""}},
    {AT_UNIX ", \"socket_mode\": \"0444\"", {"", "$.listeners[0].socket_mode", "nobody", "0660"}},
    {AT_UNIX ", \"socket_group\": \"no-such-group\"",
     {"", "$.listeners[0].socket_group", "no group of that name", "number"}},
    {TRANSPARENT, {"", "$.listeners[0]", "must name an \"agent\"", "name the agent"}},
    {TRANSPARENT,
     {"\"callers\": [" CALLER("x", "{\"uid\": 0}") "]", "$.listeners[0]",
      "nothing that proves who it is", "name the agent"}},
    {TRANSPARENT ", \"agent\": \"a\", \"scheme\": \"https\"",
     {"", "$.listeners[0].scheme", "says nothing about", "leave it out"}},
    {TRANSPARENT ", \"agent\": \"a\", \"original\": \"request\"",
     {"", "$.listeners[0].original", "says nothing about", "leave it out"}},
    {"\"address\": \"unix:a\", \"mode\": \"transparent\", \"agent\": \"a\"",
     {"", "$.listeners[0].address", "redirected to a unix socket", "a port"}},
    {"\"address\": \"systemd:in\", \"mode\": \"transparent\", \"agent\": \"a\", "
     "\"redirected_by\": \"tproxy\"",
     {"", "$.listeners[0].address", "listener's own port", "a port"}},
    {AT_TCP ", \"redirected_by\": \"tproxy\"",
     {"", "$.listeners[0].redirected_by", "of the mode \"transparent\"", "leave it out"}},
    {AT_TCP ", \"original_destination\": \"check\"",
     {"", "$.listeners[0].original_destination", "of the mode \"transparent\"", "leave it out"}},
    {TRANSPARENT ", \"agent\": \"a\", \"redirected_by\": \"nat\"",
     {"", "$.listeners[0].redirected_by", "none of the values", ""}},
    {TRANSPARENT ", \"agent\": \"a\", \"original_destination\": \"igonre\"",
     {"", "$.listeners[0].original_destination", "none of the values", "ignore"}},
    {AT_TCP ", \"socket_group\": \"root\"",
     {"", "$.listeners[0].socket_group", "only a unix socket", "leave"}},
    {AT_TCP ", \"socket_mode\": \"0600\"",
     {"", "$.listeners[0].socket_mode", "only a unix socket", "leave"}},
    {AT_UNIX "}, {\"name\": \"two\", " AT_UNIX,
     {"", "$.listeners[1].address", "same address", "another"}},
    {AT_UNIX,
     {"\"admin\": {\"address\": \"unix:a\"}", "$.listeners[0].address", "admin listener", ""}},
    {"\"address\": \"systemd:\", \"agent\": \"a\"",
     {"", "$.listeners[0].address", "a name is", "FileDescriptorName"}},
    {"\"address\": \"systemd:a:b\", \"agent\": \"a\"",
     {"", "$.listeners[0].address", "a name is", "FileDescriptorName"}},
    {"\"address\": \"systemd:a\", \"agent\": \"a\", \"socket_mode\": \"0660\"",
     {"", "$.listeners[0].socket_mode", "only a unix socket", "leave"}},
    {"\"address\": \"systemd:a\", \"agent\": \"a\"}, {\"name\": \"two\", \"address\": "
     "\"systemd:a\", \"agent\": \"a\"",
     {"", "$.listeners[1].address", "same address", "another"}},
    {"\"address\": \"unix:a\"",
     {"\"callers\": [" ACCOUNT("x", "orgg", "") "]", "$.callers[0].kubernetes.issuer",
      "there is no authorization server", "org"}},
    {"\"address\": \"unix:a\"",
     {"\"callers\": [" ACCOUNT("x", "https://y.okta.com", "") "]", "$.callers[0].kubernetes.issuer",
      "there is no authorization server", ""}},
    {"\"address\": \"unix:a\"",
     {"\"callers\": [{\"name\": \"x\", \"agent\": \"a\", \"kubernetes\": {\"issuer\": \"org\", "
      "\"namespace\": \"n:s\", \"service_account\": \"a\"}}]",
      "$.callers[0].kubernetes.namespace", "small letters", ""}},
    {"\"address\": \"unix:a\"",
     {"\"callers\": [" ACCOUNT("x", "org", "") "," ACCOUNT("y", "https://x.okta.com", "") "]",
      "$.callers[1]", "cannot be told apart", ""}},
    {AT_TCP ", \"proxy_protocol\": {}",
     {"", "$.listeners[0].proxy_protocol", "\"from\" is missing", ""}},
    {AT_TCP ", \"proxy_protocol\": {\"from\": []}",
     {"", "$.listeners[0].proxy_protocol.from", "at least 1", ""}},
    {AT_TCP ", \"proxy_protocol\": {\"from\": [\"10.0.0.0/8\", \"10.0.0.1/8\"]}",
     {"", "$.listeners[0].proxy_protocol.from[1]", "bits beyond", ""}},
    {AT_TCP ", \"proxy_protocol\": {\"from\": [\"lb.example.com\"]}",
     {"", "$.listeners[0].proxy_protocol.from[0]", "in digits", ""}},
    {AT_TCP ", \"proxy_protocol\": {\"from\": [\"10.0.0.1:80\"]}",
     {"", "$.listeners[0].proxy_protocol.from[0]", "any port", "leave out"}},
    {AT_TCP ", \"proxy_protocol\": {\"from\": [\"unix\"]}",
     {"", "$.listeners[0].proxy_protocol.from[0]", "over a unix socket", "networks"}},
    {AT_UNIX ", \"proxy_protocol\": {\"from\": [\"0.0.0.0/0\"]}",
     {"", "$.listeners[0].proxy_protocol.from[0]", "has no address", "\"unix\""}},
    {"\"address\": \"unix:a\"",
     {"\"callers\": [" CALLER("x", "{}") "]", "$.callers[0].unix", "one of the keys", ""}},
    {"\"address\": \"unix:a\"",
     {"\"callers\": [" CALLER("x", "{\"uid\": 1, \"gid\": 1}") "]", "$.callers[0].unix.gid",
      "exclude", ""}},
    {"\"address\": \"unix:a\"",
     {"\"callers\": [" CALLER("x", "{\"uid\": -1}") "]", "$.callers[0].unix.uid", "out of range",
      ""}},
    {"\"address\": \"unix:a\"", /* (uid_t)-1 is nobody's */
     {"\"callers\": [" CALLER("x", "{\"uid\": 4294967295}") "]", "$.callers[0].unix.uid",
      "out of range", ""}},
    {"\"address\": \"unix:a\"",
     {"\"callers\": [" CALLER("x", "{\"user\": \"no-such-user\"}") "]", "$.callers[0].unix.user",
      "no user of that name", "number"}},
    {"\"address\": \"unix:a\"",
     {"\"callers\": [" CALLER("x", "{\"group\": \"no-such-group\"}") "]", "$.callers[0].unix.group",
      "no group of that name", "number"}},
    {"\"address\": \"unix:a\"",
     {"\"callers\": [" CALLER("x", "{\"uid\": 0}") "," CALLER("y", "{\"user\": \"root\"}") "]",
      "$.callers[1]", "same user", ""}},
    {"\"address\": \"unix:a\"",
     {"\"callers\": [" CALLER("x", "{\"gid\": 0}") "," CALLER("y", "{\"group\": \"root\"}") "]",
      "$.callers[1]", "same group", ""}},
};

static void mistakes(void **state)
{
    size_t failed = 0;
    char room[4096];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        failed += !test_mistake_is_found(
            &rows[i].mistake, i, text_of(rows[i].listener, rows[i].mistake.rest, room), folder);
    assert_int_equal(failed, 0);
}

static int set_up(void **state)
{
    folder = test_folder_new();
    return 0;
}

static int tear_down(void **state)
{
    test_folder_remove(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_transparent_one),
        cmocka_unit_test(a_unix_socket),
        cmocka_unit_test(callers_by_their_process),
        cmocka_unit_test(callers_by_their_account),
        cmocka_unit_test(proxies_before_it),
        cmocka_unit_test(what_is_handed_over),
        cmocka_unit_test(mistakes),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
