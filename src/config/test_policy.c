/* Rules of the policy that are mistakes: what is said of each, and where. '@' marks the place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "test_mistake.h"
#include "test_support.h"
#include "tokenhop/base/check.h"
#include "tokenhop/config/policy.h"

static char *folder;

/* alpha acts as a, beta as b; a may use chat, files and mail, b chat alone. */
static const char begin[] =
    "{\"listeners\": [{\"name\": \"in\", \"address\": \"127.0.0.1:8080\"}],\n"
    " \"authorization_servers\": {\"org\": {\"issuer\": \"https://example.okta.com\"}},\n"
    " \"agents\": {\n"
    "  \"a\": {\"client_id\": \"c1\", \"authorization_server\": \"org\", \"auth\": {\"method\":\n"
    "    \"private_key_jwt\", \"key_file\": \"agent.pem\", \"kid\": \"k\", \"alg\": \"ES256\"}},\n"
    "  \"b\": {\"client_id\": \"c2\", \"authorization_server\": \"org\", \"auth\": {\"method\":\n"
    "    \"private_key_jwt\", \"key_file\": \"agent.pem\", \"kid\": \"k\", \"alg\": \"ES256\"}},\n"
    "  \"idle\": {\"client_id\": \"c3\", \"authorization_server\": \"org\", \"auth\": {\"method\":\n"
    "    \"private_key_jwt\", \"key_file\": \"agent.pem\", \"kid\": \"k\", \"alg\": \"ES256\"}}},\n"
    " \"callers\": [\n"
    "  {\"name\": \"alpha\", \"agent\": \"a\", \"bearer\": {\"token\": {\"env\": \"TEST_A\"}}},\n"
    "  {\"name\": \"beta\", \"agent\": \"b\", \"bearer\": {\"token\": {\"env\": \"TEST_B\"}}},\n"
    "  {\"name\": \"gamma\", \"agent\": \"idle\", \"bearer\": {\"token\": {\"env\": \"TEST_C\"}}}],\n"
    " \"connections\": [\n"
    "  {\"name\": \"chat\", \"url\": \"https://chat.example/a2a/\", \"type\": \"token_exchange\",\n"
    "   \"agents\": [\"a\", \"b\"], \"scopes\": [\"chat.read\", \"chat.write\"]},\n"
    "  {\"name\": \"files\", \"url\": \"https://files.example/\", \"type\": \"token_exchange\",\n"
    "   \"agents\": [\"a\"], \"scopes\": [\"files\"]},\n"
    "  {\"name\": \"mail\", \"url\": \"https://mail.example/\", \"type\": \"static\",\n"
    "   \"agents\": [\"a\"], \"value\": {\"env\": \"TEST_A\"}},\n"
    "  {\"name\": \"own\", \"url\": \"https://own.example/\", \"type\": \"passthrough\",\n"
    "   \"agents\": [\"a\"]},\n"
    "  {\"name\": \"machine\", \"url\": \"https://machine.example/\", \"type\":\n"
    "   \"client_credentials\", \"agents\": [\"a\"]}],\n"
    " \"policy\": [";

#define ALLOW "{\"action\": \"allow\""
#define DENY "{\"action\": \"deny\""
#define CHAT ", \"connection\": \"chat\""
#define P0 "$.policy[0]"

static const struct test_mistake mistakes[] = {
    /* forms */
    {"@{\"connection\": \"chat\"}", P0, "the key \"action\" is missing", ""},
    {"{\"action\": @\"permit\"}", P0 ".action", "none of the values",
     "write \"allow\" or \"deny\""},
    {ALLOW ", @\"method\": [\"GET\"]}", P0 ".method", "unknown key", "did you mean \"methods\"?"},
    {ALLOW ", \"connection\": @[]}", P0 ".connection", "needs at least 1", ""},
    {ALLOW ", \"caller\": @[]}", P0 ".caller", "needs at least 1", ""},
    {ALLOW ", \"agent\": @[]}", P0 ".agent", "needs at least 1", ""},
    {ALLOW ", \"methods\": @[]}", P0 ".methods", "needs at least 1", ""},
    {ALLOW ", \"paths\": @[]}", P0 ".paths", "needs at least 1", ""},
    {ALLOW ", \"scopes\": @[]}", P0 ".scopes", "needs at least 1", ""},
    {ALLOW CHAT ", \"require\": @[]}", P0 ".require", "needs at least 1", ""},
    {ALLOW CHAT ", \"issuer\": @[]}", P0 ".issuer", "needs at least 1", ""},
    {ALLOW ", \"time\": @[]}", P0 ".time", "needs at least 1", ""},
    {ALLOW CHAT ", \"require\": {\"claim\": \"g\", \"any_of\": @[]}}", P0 ".require.any_of",
     "needs at least 1", ""},
    {ALLOW CHAT ", \"require\": @{\"claim\": \"g\"}}", P0 ".require",
     "one of the keys \"equals\", \"contains\" and \"any_of\" is missing", ""},
    {ALLOW CHAT ", \"require\": [{\"claim\": \"g\", \"equals\": 1, @\"contains\": 2}]}",
     P0 ".require[0].contains", "exclude each other", ""},
    {ALLOW CHAT ", \"require\": @\"groups\"}", P0 ".require",
     "an object or a list of objects is wanted", ""},
    {ALLOW CHAT ", \"require\": {\"claim\": \"g\", \"equals\": @[]}}", P0 ".require.equals",
     "a text, a whole number, true or false is wanted", ""},
    {ALLOW CHAT ", \"require\": {\"claim\": \"g\", \"equals\": @1.5}}", P0 ".require.equals",
     "a text, a whole number", ""},
    {ALLOW CHAT ", \"require\": {\"claim\": @\"a..b\", \"equals\": 1}}", P0 ".require.claim",
     "names no claim", "JSON pointer"},
    {ALLOW CHAT ", \"require\": {\"claim\": @\"/a~2\", \"equals\": 1}}", P0 ".require.claim",
     "names no claim", "JSON pointer"},
    {ALLOW CHAT ", \"max_chain\": @31}", P0 ".max_chain", "from 0 to 30", ""},
    {ALLOW CHAT ", \"actors\": @{}}", P0 ".actors", "one of the keys", ""},
    {ALLOW CHAT ", \"reason\": @\"because\"}", P0 ".reason", "refuses nobody", "leave it out"},
    {DENY CHAT ", \"reason\": @\"a\\nb\"}", P0 ".reason", "not printable ASCII", ""},
    {ALLOW ", \"methods\": [\"GET\", @\"P T\"]}", P0 ".methods[1]", "not the name of a method",
     "\"POST\""},
    {ALLOW ", \"methods\": [@\"post\"]}", P0 ".methods[0]", "capital letters", "\"POST\""},
    {ALLOW ", \"methods\": [@\"TRACE\"]}", P0 ".methods[0]", "never reaches", "leave it out"},
    {ALLOW ", \"methods\": [@\"CONNECT\"]}", P0 ".methods[0]", "inside of a tunnel",
     "leave it out"},
    {ALLOW ", \"paths\": [@\"a2a\"]}", P0 ".paths[0]", "'/'", ""},
    {ALLOW ", \"paths\": [@\"/a/../b\"]}", P0 ".paths[0]", "", ""},
    {ALLOW ", \"paths\": [@\"/a2a%3bx\"]}", P0 ".paths[0]", "parameter", "leave out ';'"},
    {ALLOW ", \"paths\": [@\"/a2a;x=1\"]}", P0 ".paths[0]", "parameter", "leave out ';'"},
    {ALLOW ", \"time\": @{\"zone\": \"UTC\"}}", P0 ".time",
     "one of the keys \"from\", \"to\" and \"days\"", ""},
    {ALLOW ", \"time\": @{\"from\": \"08:00\"}}", P0 ".time", "the key \"zone\" is missing", ""},
    {ALLOW ", \"time\": {\"from\": @\"8:00\", \"zone\": \"UTC\"}}", P0 ".time.from",
     "no time of the day", "\"08:00\""},
    {ALLOW ", \"time\": {\"from\": @\"24:00\", \"zone\": \"UTC\"}}", P0 ".time.from",
     "no time of the day", ""},
    {ALLOW ", \"time\": {\"to\": @\"24:01\", \"zone\": \"UTC\"}}", P0 ".time.to",
     "no time of the day", ""},
    {ALLOW ", \"time\": {\"to\": \"08:00\", \"zone\": @\"CET\"}}", P0 ".time.zone",
     "no offset from UTC", "\"+02:00\""},
    {ALLOW ", \"time\": {\"to\": \"08:00\", \"zone\": @\"+15:00\"}}", P0 ".time.zone",
     "no offset from UTC", ""},
    {ALLOW ", \"time\": [@{\"from\": \"08:00\", \"to\": \"08:00\", \"zone\": \"UTC\"}]}",
     P0 ".time[0]", "ends when it begins", "leave both out"},
    {ALLOW ", \"time\": {\"days\": [\"mon\", @\"Tue\"], \"zone\": \"UTC\"}}", P0 ".time.days[1]",
     "no day of the week", "\"tue\""},
    {ALLOW ", \"name\": \"x\", \"methods\": [\"GET\"]}, " ALLOW ", \"name\": @\"x\"}",
     "$.policy[1].name", "two rules have the name", ""},
    /* what is not there */
    {ALLOW ", \"caller\": @\"alpho\"}", P0 ".caller", "no caller of this name",
     "did you mean \"alpha\"?"},
    {ALLOW ", \"caller\": [\"alpha\", @\"zz\"]}", P0 ".caller[1]", "no caller of this name",
     "one there is: \"alpha\""},
    {ALLOW ", \"agent\": @\"c\"}", P0 ".agent", "no agent of this name", ""},
    {ALLOW ", \"connection\": @\"chats\"}", P0 ".connection", "no connection of this name",
     "did you mean \"chat\"?"},
    {ALLOW CHAT ", \"issuer\": @\"orgs\"}", P0 ".issuer", "no authorization server of this name",
     ""},
    /* who could never */
    {ALLOW ", \"caller\": @\"gamma\"}", P0 ".caller", "may use no connection that the rule is for",
     "\"agents\""},
    {ALLOW ", \"caller\": @\"beta\", \"agent\": [\"a\"]}", P0 ".caller", "acts as agent \"b\"",
     "leave it out"},
    {ALLOW ", \"caller\": [\"alpha\", @\"beta\"], \"connection\": \"files\"}", P0 ".caller[1]",
     "may use no connection that the rule is for", ""},
    {ALLOW ", \"agent\": @\"idle\"}", P0 ".agent", "may use no connection", ""},
    {ALLOW ", \"caller\": \"alpha\", \"agent\": [\"a\", @\"b\"]}", P0 ".agent[1]",
     "none of the callers", ""},
    {ALLOW ", \"agent\": \"b\", \"connection\": [\"chat\", @\"files\"]}", P0 ".connection[1]",
     "nobody that the rule is for", ""},
    {ALLOW ", \"connection\": [\"files\", @\"chat\"], \"scopes\": [\"files\"]}",
     P0 ".connection[1]", "does not ask for all", ""},
    {ALLOW ", \"scopes\": @[\"chat.read\", \"files\"]}", P0 ".scopes", "no connection asks for all",
     ""},
    {ALLOW CHAT ", \"paths\": [\"/a2a/x\", @\"/tasks\"]}", P0 ".paths[1]", "no URL of a connection",
     "included"},
    /* claims that nobody vouches for */
    {ALLOW ", \"connection\": \"mail\", \"require\": @{\"claim\": \"g\", \"equals\": 1}}",
     P0 ".require", "asks for no subject token", "leave it out"},
    {ALLOW ", \"connection\": \"own\", \"max_chain\": @2}", P0 ".max_chain", "nobody vouches", ""},
    {ALLOW ", \"connection\": \"machine\", \"issuer\": @\"org\"}", P0 ".issuer",
     "asks for no subject token", ""},
    {DENY ", \"actors\": @{\"any_of\": [\"x\"]}}", P0 ".actors", "connection \"mail\"",
     "name in \"connection\""},
    /* what no token meets */
    {ALLOW CHAT ", \"actors\": @{\"any_of\": [\"x\"], \"only\": [\"y\"]}}", P0 ".actors",
     "no chain", ""},
    {ALLOW CHAT ", \"max_chain\": @0, \"actors\": {\"any_of\": [\"x\"]}}", P0 ".max_chain",
     "no chain of no actors", ""},
    {ALLOW CHAT
     ", \"require\": [{\"claim\": \"g\", \"equals\": 1}, @{\"claim\": \"g\", \"equals\": 2}]}",
     P0 ".require[1]", "no claim equals two values", "any_of"},
    /* what an earlier rule leaves nothing to */
    {ALLOW "}, @" DENY CHAT "}", "$.policy[1]", "never reached: \"policy[0]\" matches all",
     "put it before"},
    {ALLOW ", \"name\": \"all\", \"methods\": [\"GET\", \"POST\"]}, @" DENY CHAT
           ", \"methods\": [\"POST\"]}, " ALLOW "}",
     "$.policy[1]", "never reached: \"all\"", ""},
    {ALLOW CHAT ", \"paths\": [\"/a2a\"]}, @" DENY CHAT ", \"paths\": [\"/a2a/x\"]}", "$.policy[1]",
     "never reached", ""},
    {ALLOW ", \"agent\": \"a\"}, @" DENY ", \"caller\": \"alpha\", \"connection\": \"mail\"}",
     "$.policy[1]", "never reached", ""},
    {ALLOW CHAT ", \"require\": {\"claim\": \"g\", \"any_of\": [\"x\", \"y\"]}}, @" ALLOW CHAT
                ", \"require\": {\"claim\": \"g\", \"equals\": \"x\"}}",
     "$.policy[1]", "never reached", ""},
    {ALLOW CHAT ", \"max_chain\": 2}, @" ALLOW CHAT ", \"max_chain\": 1}", "$.policy[1]",
     "never reached", ""},
    {DENY CHAT
     ", \"time\": {\"from\": \"08:00\", \"zone\": \"UTC\"}}, @" DENY CHAT
     ", \"time\": {\"from\": \"12:00\", \"to\": \"14:00\", \"zone\": \"+02:00\"}}, " ALLOW CHAT "}",
     "$.policy[1]", "never reached", ""},
    {ALLOW ", \"dry_run\": true}, @" DENY CHAT ", \"dry_run\": true}", "$.policy[1]",
     "never reached", ""},
    {ALLOW "}, @" DENY CHAT ", \"dry_run\": true}", "$.policy[1]", "never reached", ""},
    /* what can only ever be denied */
    {"@" DENY CHAT ", \"methods\": [\"DELETE\"]}", P0,
     "no rule allows anything at connection \"chat\"", "add at the end {\"action\": \"allow\"}"},
    {ALLOW CHAT "}, @" DENY ", \"methods\": [\"DELETE\"]}", "$.policy[1]",
     "no rule allows anything at connection \"files\"", ""},
};

static void test_mistakes(void **state)
{
    unsigned n_bad = 0;

    for (size_t i = 0; i < TH_COUNT_OF(mistakes); i++) {
        char *text, *at, wanted[24], position[24];
        struct th_config_mistakes found;
        struct th_config *config = NULL;
        assert_true(asprintf(&text, "%s\n%s]}", begin, mistakes[i].rest) > 0);
        at = strchr(text, '@');
        assert_non_null(at);
        memmove(at, at + 1, strlen(at));
        /* all are on one line of their own */
        const char *line = text + sizeof begin;
        (void)snprintf(wanted, sizeof wanted, ":%d", (int)(at - line) + 1);
        n_bad += !test_mistake_is_found(&mistakes[i], i, text, folder);
        assert_int_not_equal(th_config_load_text(th_str_of(text), folder, &config, &found), 0);
        (void)snprintf(position, sizeof position, ":%u",
                       found.count > 0 ? found.items[0].column : 0);
        if (strcmp(position, wanted) != 0) {
            fprintf(stderr, "case %zu: %s\n  at %s, not at %s\n", i, mistakes[i].rest, position,
                    wanted);
            n_bad++;
        }
        th_config_mistakes_fini(&found);
        free(text);
    }
    assert_int_equal(n_bad, 0);
}

/* What looks like some of these, and is fine. */
static void test_fine(void **state)
{
    static const char *const cases[] = {
        "",
        ALLOW "}",
        DENY "}",
        DENY CHAT ", \"methods\": [\"DELETE\"]}, " ALLOW "}",
        /* the same, tried beside what is in force, or before it */
        DENY CHAT ", \"dry_run\": true}, " ALLOW CHAT "}",
        ALLOW CHAT ", \"methods\": [\"GET\"], \"dry_run\": true}, " ALLOW CHAT
                   ", \"methods\": [\"GET\"]}",
        /* each leaves something */
        ALLOW CHAT ", \"paths\": [\"/a2a/x\"]}, " ALLOW CHAT ", \"paths\": [\"/a2a\"]}",
        ALLOW CHAT ", \"caller\": \"alpha\"}, " ALLOW CHAT ", \"agent\": \"a\"}",
        ALLOW CHAT ", \"require\": {\"claim\": \"g\", \"equals\": \"x\"}}, " ALLOW CHAT
                   ", \"require\": {\"claim\": \"g\", \"contains\": \"x\"}}",
        /* an opaque token meets the second alone */
        ALLOW CHAT ", \"require\": {\"claim\": \"g\", \"equals\": \"x\"}}, " DENY CHAT
                   ", \"require\": {\"claim\": \"g\", \"equals\": \"x\"}}",
        DENY
        ", \"connection\": [\"chat\", \"files\"], \"require\": {\"claim\": \"g\", \"equals\": \"x\"}}, " ALLOW
        "}",
        ALLOW CHAT ", \"paths\": [\"/\"]}",
        /* for none of those whose tokens nobody vouches for: who could ask them, and their scopes */
        ALLOW ", \"agent\": \"b\", \"max_chain\": 1}",
        ALLOW ", \"caller\": \"beta\", \"max_chain\": 1}",
        ALLOW ", \"scopes\": [\"files\"], \"max_chain\": 1}",
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        char *text;
        struct th_config_mistakes found;
        struct th_config *config = NULL;
        assert_true(asprintf(&text, "%s%s]}", begin, cases[i]) > 0);
        int error = th_config_load_text(th_str_of(text), folder, &config, &found);
        if (error != 0) {
            fprintf(stderr, "%s\n", cases[i]);
            th_config_mistakes_print(&found, "file", stderr);
        }
        assert_int_equal(error, 0);
        th_config_mistakes_fini(&found);
        th_config_unref(config);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mistakes),
                                       cmocka_unit_test(test_fine)};
    folder = test_folder_new();
    test_write_pem(folder, "agent.pem", 0, "P-256");
    setenv("TEST_A", "a-secret-of-alpha", 1);
    setenv("TEST_B", "a-secret-of-beta-", 1);
    setenv("TEST_C", "a-secret-of-gamma", 1);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_folder_remove(folder);
    return failed;
}
