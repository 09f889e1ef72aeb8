/* Rules as a configuration writes them, each condition met and not. */
#include <time.h>

#include "test_config.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/gate/policy.h"
#include "tokenhop/oauth/json.h"

/* alpha acts as agent1, beta as agent9; both may use "chat" and "files", and agent1 alone "mail". */
static const char begin[] = TEST_CONFIG_BEGIN
    "\"callers\": [ {\"name\": \"alpha\", \"agent\": \"agent1\", \"bearer\": {\"token\": {\"env\": \"TEST_A\"}}},"
    " {\"name\": \"beta\", \"agent\": \"agent9\", \"bearer\": {\"token\": {\"env\": \"TEST_B\"}}} ],"
    "\"connections\": ["
    "{\"name\": \"chat\", \"url\": \"https://chat.example.com/\", \"type\": \"agent_to_agent\","
    " \"agents\": [\"agent1\", \"agent9\"], \"authorization_server\": \"custom\","
    " \"resource\": \"https://chat.example.com\", \"scopes\": [\"chat.read\", \"chat.write\"]},"
    "{\"name\": \"files\", \"url\": \"https://files.example.com/\", \"type\": \"agent_to_agent\","
    " \"agents\": [\"agent1\", \"agent9\"], \"authorization_server\": \"custom\","
    " \"resource\": \"https://files.example.com\", \"scopes\": [\"files\"]},"
    "{\"name\": \"mail\", \"url\": \"https://mail.example.com/\", \"type\": \"static\","
    " \"agents\": [\"agent1\"], \"value\": {\"env\": \"TEST_A\"}} ], \"policy\": [";

struct row {
    const char *rules; /* the first is what is looked at */
    const char *caller, *connection, *method, *path;
    const char *claims; /* NULL: an opaque token */
    const char *at;     /* "2026-11-24T12:00:00Z" unless said */
    enum th_policy_result result;
    const char *rule; /* NULL: none */
};

#define ALLOW "{\"name\": \"r\", \"action\": \"allow\", "
#define DENY "{\"name\": \"r\", \"action\": \"deny\", "
#define REST ", {\"name\": \"rest\", \"action\": \"allow\"}"
#define YES TH_POLICY_ALLOWED
#define NO TH_POLICY_DENIED

static const struct row rows[] = {
    /* no rule at all; none for this connection; one for another only */
    {"", "alpha", "chat", "GET", "/", "{}", NULL, TH_POLICY_UNCONCERNED, NULL},
    {ALLOW "\"connection\": \"files\"}", "alpha", "chat", "GET", "/", "{}", NULL,
     TH_POLICY_UNCONCERNED, NULL},
    {ALLOW "\"connection\": \"chat\"}", "alpha", "chat", "GET", "/", "{}", NULL, YES, "r"},
    /* the default, once a rule is for it: named, or as the rule names none */
    {ALLOW "\"connection\": \"chat\", \"methods\": [\"GET\"]}", "alpha", "chat", "POST", "/", "{}",
     NULL, NO, NULL},
    {ALLOW "\"methods\": [\"GET\"]}", "alpha", "mail", "POST", "/", "{}", NULL, NO, NULL},
    /* first match wins, whatever it says */
    {DENY "\"methods\": [\"POST\"]}" REST, "alpha", "chat", "POST", "/", "{}", NULL, NO, "r"},
    {DENY "\"methods\": [\"POST\"]}" REST, "alpha", "chat", "GET", "/", "{}", NULL, YES, "rest"},
    {ALLOW "\"methods\": [\"POST\"]}, {\"name\": \"rest\", \"action\": \"deny\"}", "alpha", "chat",
     "POST", "/", "{}", NULL, YES, "r"},
    /* caller, agent, connection: one or a list; a request without a caller is nobody's */
    {ALLOW "\"caller\": \"alpha\"}", "alpha", "chat", "GET", "/", "{}", NULL, YES, "r"},
    {ALLOW "\"caller\": \"alpha\"}", "beta", "chat", "GET", "/", "{}", NULL, NO, NULL},
    {ALLOW "\"caller\": [\"alpha\", \"beta\"]}", "beta", "chat", "GET", "/", "{}", NULL, YES, "r"},
    {ALLOW "\"caller\": [\"alpha\", \"beta\"]}", NULL, "chat", "GET", "/", "{}", NULL, NO, NULL},
    {ALLOW "\"agent\": \"agent9\"}", "beta", "chat", "GET", "/", "{}", NULL, YES, "r"},
    {ALLOW "\"agent\": \"agent9\"}", "alpha", "chat", "GET", "/", "{}", NULL, NO, NULL},
    {ALLOW "\"agent\": \"agent1\"}", NULL, "chat", "GET", "/", "{}", NULL, YES, "r"},
    {ALLOW "\"connection\": [\"chat\", \"files\"]}", "beta", "files", "GET", "/", "{}", NULL, YES,
     "r"},
    /* methods and paths */
    {ALLOW "\"methods\": [\"GET\", \"QUERY\"]}", "alpha", "chat", "QUERY", "/", "{}", NULL, YES,
     "r"},
    {ALLOW "\"methods\": [\"GET\"]}", "alpha", "chat", "get", "/", "{}", NULL, TH_POLICY_AMBIGUOUS,
     "r"},
    {ALLOW "\"paths\": [\"/a2a\"]}", "alpha", "chat", "GET", "/a2a", "{}", NULL, YES, "r"},
    {ALLOW "\"paths\": [\"/a2a\"]}", "alpha", "chat", "GET", "/a2a/x", "{}", NULL, YES, "r"},
    {ALLOW "\"paths\": [\"/a2a/\"]}", "alpha", "chat", "GET", "/a2a", "{}", NULL, YES, "r"},
    {ALLOW "\"paths\": [\"/a2a\"]}", "alpha", "chat", "GET", "/a2ab", "{}", NULL, NO, NULL},
    {ALLOW "\"paths\": [\"/a2a\"]}", "alpha", "chat", "GET", "/A2A", "{}", NULL,
     TH_POLICY_AMBIGUOUS, "r"},
    {ALLOW "\"paths\": [\"/a2a/x\", \"/b\"]}", "alpha", "chat", "GET", "/b/c", "{}", NULL, YES,
     "r"},
    {ALLOW "\"paths\": [\"/a2a/x\", \"/b\"]}", "alpha", "chat", "GET", "/a2a", "{}", NULL, NO,
     NULL},
    {ALLOW "\"paths\": [\"/caf%c3%a9\"]}", "alpha", "chat", "GET", "/caf%C3%A9/x", "{}", NULL, YES,
     "r"},
    /* a path that the destination may see under another rule is neither */
    {DENY "\"paths\": [\"/admin\"]}" REST, "alpha", "chat", "GET", "/%61dmin", "{}", NULL,
     TH_POLICY_AMBIGUOUS, "r"},
    {DENY "\"paths\": [\"/admin\"]}" REST, "alpha", "chat", "GET", "/admin;x=1/y", "{}", NULL,
     TH_POLICY_AMBIGUOUS, "r"},
    {DENY "\"paths\": [\"/admin\"]}" REST, "alpha", "chat", "GET", "/admin%3bx", "{}", NULL,
     TH_POLICY_AMBIGUOUS, "r"},
    {DENY "\"paths\": [\"/a/admin\"]}" REST, "alpha", "chat", "GET", "/a;x/admin", "{}", NULL,
     TH_POLICY_AMBIGUOUS, "r"},
    {DENY "\"paths\": [\"/admin\"]}" REST, "alpha", "chat", "GET", "/Admin/x", "{}", NULL,
     TH_POLICY_AMBIGUOUS, "r"},
    {DENY "\"paths\": [\"/admin\"]}" REST, "alpha", "chat", "GET", "/%41DMIN;x", "{}", NULL,
     TH_POLICY_AMBIGUOUS, "r"},
    {DENY "\"paths\": [\"/admin\"]}" REST, "alpha", "chat", "GET", "/admins", "{}", NULL, YES,
     "rest"},
    {DENY "\"paths\": [\"/admin\"]}" REST, "alpha", "chat", "GET", "/%2561dmin", "{}", NULL,
     TH_POLICY_AMBIGUOUS, "r"},
    {DENY "\"paths\": [\"/admin\"]}" REST, "alpha", "chat", "GET", "/%25%36%31dmin/x", "{}", NULL,
     TH_POLICY_AMBIGUOUS, "r"},
    {DENY "\"paths\": [\"/admin\"]}" REST, "alpha", "chat", "GET", "/admin%253Bx", "{}", NULL,
     TH_POLICY_AMBIGUOUS, "r"},
    {DENY "\"paths\": [\"/admin\"]}" REST, "alpha", "chat", "GET", "/%2562dmin", "{}", NULL, YES,
     "rest"},
    {DENY "\"paths\": [\"/admin\"]}" REST, "alpha", "chat", "GET", "/%25zadmin", "{}", NULL, YES,
     "rest"},
    {ALLOW "\"paths\": [\"/%2561dmin\"]}", "alpha", "chat", "GET", "/%2561dmin/x", "{}", NULL, YES,
     "r"},
    {DENY "\"methods\": [\"DELETE\"]}" REST, "alpha", "chat", "dELETE", "/", "{}", NULL,
     TH_POLICY_AMBIGUOUS, "r"},
    {DENY "\"methods\": [\"DELETE\"], \"paths\": [\"/a\"]}" REST, "alpha", "chat", "delete", "/b",
     "{}", NULL, YES, "rest"},
    {DENY "\"methods\": [\"DELETE\"], \"paths\": [\"/a\"]}" REST, "alpha", "chat", "GET", "/A",
     "{}", NULL, YES, "rest"},
    {ALLOW "\"paths\": [\"/open\"]}", "alpha", "chat", "GET", "/open/%61;x=1", "{}", NULL, YES,
     "r"},
    {DENY "\"paths\": [\"/admin\"], \"methods\": [\"POST\"]}" REST, "alpha", "chat", "GET",
     "/%61dmin", "{}", NULL, YES, "rest"},
    /* scopes */
    {ALLOW "\"scopes\": [\"chat.read\"]}", "alpha", "chat", "GET", "/", "{}", NULL, YES, "r"},
    {ALLOW "\"scopes\": [\"chat.write\", \"chat.read\"]}", "alpha", "chat", "GET", "/", "{}", NULL,
     YES, "r"},
    {ALLOW "\"scopes\": [\"chat.read\"]}", "alpha", "files", "GET", "/", "{}", NULL, NO, NULL},
/* claims, of which every one must hold */
#define CHAT "\"connection\": \"chat\", "
#define CLAIM(text) ALLOW CHAT "\"require\": " text "}"
    {CLAIM("{\"claim\": \"groups\", \"contains\": \"traders\"}"), "alpha", "chat", "GET", "/",
     "{\"groups\":[\"a\",\"traders\"]}", NULL, YES, "r"},
    {CLAIM("{\"claim\": \"groups\", \"contains\": \"traders\"}"), "alpha", "chat", "GET", "/",
     "{\"groups\":\"traders\"}", NULL, YES, "r"},
    {CLAIM("{\"claim\": \"groups\", \"contains\": \"traders\"}"), "alpha", "chat", "GET", "/",
     "{\"groups\":\"a traders\"}", NULL, NO, NULL},
    {CLAIM("{\"claim\": \"groups\", \"contains\": \"traders\"}"), "alpha", "chat", "GET", "/",
     "{\"groups\":[\"traders2\"]}", NULL, NO, NULL},
    {CLAIM("{\"claim\": \"groups\", \"contains\": \"traders\"}"), "alpha", "chat", "GET", "/",
     "{\"groups\":{\"traders\":1}}", NULL, NO, NULL},
    {CLAIM("{\"claim\": \"groups\", \"contains\": \"traders\"}"), "alpha", "chat", "GET", "/", "{}",
     NULL, NO, NULL},
    {CLAIM("{\"claim\": \"groups\", \"contains\": \"traders\"}"), "alpha", "chat", "GET", "/", NULL,
     NULL, NO, NULL},
    {CLAIM("{\"claim\": \"groups\", \"any_of\": [\"x\", \"traders\"]}"), "alpha", "chat", "GET",
     "/", "{\"groups\":[\"traders\"]}", NULL, YES, "r"},
    {CLAIM("{\"claim\": \"groups\", \"equals\": \"traders\"}"), "alpha", "chat", "GET", "/",
     "{\"groups\":[\"traders\"]}", NULL, NO, NULL},
    {CLAIM("{\"claim\": \"sub\", \"equals\": \"u1\"}"), "alpha", "chat", "GET", "/",
     "{\"sub\":\"u1\"}", NULL, YES, "r"},
    {CLAIM("{\"claim\": \"scope\", \"contains\": \"b\"}"), "alpha", "chat", "GET", "/",
     "{\"scope\":\"a b c\"}", NULL, YES, "r"},
    {CLAIM("{\"claim\": \"scope\", \"contains\": \"bb\"}"), "alpha", "chat", "GET", "/",
     "{\"scope\":\"a b c\"}", NULL, NO, NULL},
    {CLAIM("{\"claim\": \"verified\", \"equals\": true}"), "alpha", "chat", "GET", "/",
     "{\"verified\":true}", NULL, YES, "r"},
    {CLAIM("{\"claim\": \"verified\", \"equals\": true}"), "alpha", "chat", "GET", "/",
     "{\"verified\":false}", NULL, NO, NULL},
    {CLAIM("{\"claim\": \"level\", \"any_of\": [2, 3]}"), "alpha", "chat", "GET", "/",
     "{\"level\":3}", NULL, YES, "r"},
    {CLAIM("{\"claim\": \"level\", \"any_of\": [2, 3]}"), "alpha", "chat", "GET", "/",
     "{\"level\":3.0}", NULL, YES, "r"},
    /* a value that may be the one: not for who allows, but for who denies (test_policy_values.c) */
    {CLAIM("{\"claim\": \"level\", \"equals\": 3}"), "alpha", "chat", "GET", "/", "{\"level\":[3]}",
     NULL, NO, NULL},
    {DENY CHAT "\"require\": {\"claim\": \"level\", \"equals\": 3}}" REST, "alpha", "chat", "GET",
     "/", "{\"level\":[3]}", NULL, NO, "r"},
    {DENY CHAT "\"require\": {\"claim\": \"level\", \"equals\": 3}}" REST, "alpha", "chat", "GET",
     "/", "{\"level\":3e0,\"big\":99999999999999999999}", NULL, NO, "r"},
    {DENY CHAT "\"require\": {\"claim\": \"level\", \"equals\": 3}}" REST, "alpha", "chat", "GET",
     "/", "{\"level\":4,\"big\":99999999999999999999}", NULL, YES, "rest"},
    {CLAIM("{\"claim\": \"realm_access.roles\", \"contains\": \"admin\"}"), "alpha", "chat", "GET",
     "/", "{\"realm_access\":{\"roles\":[\"admin\"]}}", NULL, YES, "r"},
    {CLAIM("{\"claim\": \"realm_access.roles\", \"contains\": \"admin\"}"), "alpha", "chat", "GET",
     "/", "{\"realm_access.roles\":[\"admin\"]}", NULL, NO, NULL},
    {CLAIM("{\"claim\": \"https://x.example/groups\", \"contains\": \"a\"}"), "alpha", "chat",
     "GET", "/", "{\"https://x.example/groups\":[\"a\"]}", NULL, YES, "r"},
    {CLAIM("{\"claim\": \"/https:~1~1x~01/g/1\", \"equals\": \"b\"}"), "alpha", "chat", "GET", "/",
     "{\"https://x~1\":{\"g\":[\"a\",\"b\"]}}", NULL, YES, "r"},
    {CLAIM("[{\"claim\": \"a\", \"equals\": \"1\"}, {\"claim\": \"b\", \"equals\": 2}]"), "alpha",
     "chat", "GET", "/", "{\"a\":\"1\",\"b\":2}", NULL, YES, "r"},
    {CLAIM("[{\"claim\": \"a\", \"equals\": \"1\"}, {\"claim\": \"b\", \"equals\": 2}]"), "alpha",
     "chat", "GET", "/", "{\"a\":\"1\",\"b\":3}", NULL, NO, NULL},
    /* of a token that cannot be read, what denies believes the worst */
    {DENY CHAT "\"require\": {\"claim\": \"groups\", \"contains\": \"guests\"}}" REST, "alpha",
     "chat", "GET", "/", "{\"groups\":[\"x\"]}", NULL, YES, "rest"},
    {DENY CHAT "\"require\": {\"claim\": \"groups\", \"contains\": \"guests\"}}" REST, "alpha",
     "chat", "GET", "/", "{\"groups\":[\"guests\"]}", NULL, NO, "r"},
    {DENY CHAT "\"require\": {\"claim\": \"groups\", \"contains\": \"guests\"}}" REST, "alpha",
     "chat", "GET", "/", NULL, NULL, NO, "r"},
    /* issuer, by name or URL */
    {ALLOW CHAT "\"issuer\": \"org\"}", "alpha", "chat", "GET", "/",
     "{\"iss\":\"https://example.okta.com\"}", NULL, YES, "r"},
    {ALLOW CHAT "\"issuer\": \"org\"}", "alpha", "chat", "GET", "/",
     "{\"iss\":\"https://example.okta.com/\"}", NULL, NO, NULL},
    {ALLOW CHAT "\"issuer\": [\"custom\", \"https://else.example\"]}", "alpha", "chat", "GET", "/",
     "{\"iss\":\"https://else.example\"}", NULL, YES, "r"},
    {ALLOW CHAT "\"issuer\": \"org\"}", "alpha", "chat", "GET", "/", "{}", NULL, NO, NULL},
/* the chain */
#define ONE "{\"act\":{\"sub\":\"a\"}}"
#define TWO "{\"act\":{\"sub\":\"b\",\"act\":{\"sub\":\"a\"}}}"
    {ALLOW CHAT "\"max_chain\": 0}", "alpha", "chat", "GET", "/", "{}", NULL, YES, "r"},
    {ALLOW CHAT "\"max_chain\": 0}", "alpha", "chat", "GET", "/", ONE, NULL, NO, NULL},
    {ALLOW CHAT "\"max_chain\": 1}", "alpha", "chat", "GET", "/", ONE, NULL, YES, "r"},
    {ALLOW CHAT "\"max_chain\": 1}", "alpha", "chat", "GET", "/", TWO, NULL, NO, NULL},
    {ALLOW CHAT "\"max_chain\": 0}", "alpha", "chat", "GET", "/", "{\"act\":\"x\"}", NULL, NO,
     NULL},
    {ALLOW CHAT "\"actors\": {\"any_of\": [\"a\"]}}", "alpha", "chat", "GET", "/", TWO, NULL, YES,
     "r"},
    {ALLOW CHAT "\"actors\": {\"any_of\": [\"c\"]}}", "alpha", "chat", "GET", "/", TWO, NULL, NO,
     NULL},
    {ALLOW CHAT "\"actors\": {\"only\": [\"a\", \"b\"]}}", "alpha", "chat", "GET", "/", TWO, NULL,
     YES, "r"},
    {ALLOW CHAT "\"actors\": {\"only\": [\"a\"]}}", "alpha", "chat", "GET", "/", TWO, NULL, NO,
     NULL},
    {ALLOW CHAT "\"actors\": {\"only\": [\"a\"]}}", "alpha", "chat", "GET", "/", "{}", NULL, YES,
     "r"},
    {ALLOW CHAT "\"actors\": {\"only\": [\"a\"]}}", "alpha", "chat", "GET", "/",
     "{\"act\":{\"act\":{\"sub\":\"a\"}}}", NULL, NO, NULL},
/* time: 2026-11-24 is a Tuesday */
#define TIME(text) ALLOW "\"time\": " text "}"
#define OFFICE                                                                                     \
    TIME(                                                                                          \
        "{\"from\": \"08:00\", \"to\": \"18:00\", \"days\": [\"mon\", \"tue\"], \"zone\": \"UTC\"}")
    {OFFICE, "alpha", "chat", "GET", "/", "{}", "2026-11-24T08:00:00Z", YES, "r"},
    {OFFICE, "alpha", "chat", "GET", "/", "{}", "2026-11-24T07:59:59Z", NO, NULL},
    {OFFICE, "alpha", "chat", "GET", "/", "{}", "2026-11-24T17:59:59Z", YES, "r"},
    {OFFICE, "alpha", "chat", "GET", "/", "{}", "2026-11-24T18:00:00Z", NO, NULL},
    {OFFICE, "alpha", "chat", "GET", "/", "{}", "2026-11-25T12:00:00Z", NO, NULL},
    {TIME("{\"from\": \"08:00\", \"to\": \"18:00\", \"zone\": \"+02:00\"}"), "alpha", "chat", "GET",
     "/", "{}", "2026-11-24T06:00:00Z", YES, "r"},
    {TIME("{\"from\": \"08:00\", \"to\": \"18:00\", \"zone\": \"-05:30\"}"), "alpha", "chat", "GET",
     "/", "{}", "2026-11-24T13:29:00Z", NO, NULL},
    {TIME("{\"from\": \"08:00\", \"to\": \"18:00\", \"zone\": \"-05:30\"}"), "alpha", "chat", "GET",
     "/", "{}", "2026-11-24T13:30:00Z", YES, "r"},
    /* through midnight, which belongs to the day that it began on; and through the week's end */
    {TIME("{\"from\": \"22:00\", \"to\": \"06:00\", \"days\": [\"tue\"], \"zone\": \"UTC\"}"),
     "alpha", "chat", "GET", "/", "{}", "2026-11-25T05:59:00Z", YES, "r"},
    {TIME("{\"from\": \"22:00\", \"to\": \"06:00\", \"days\": [\"tue\"], \"zone\": \"UTC\"}"),
     "alpha", "chat", "GET", "/", "{}", "2026-11-24T05:59:00Z", NO, NULL},
    {TIME("{\"from\": \"22:00\", \"to\": \"06:00\", \"days\": [\"sun\"], \"zone\": \"UTC\"}"),
     "alpha", "chat", "GET", "/", "{}", "2026-11-23T05:00:00Z", YES, "r"},
    {TIME("{\"days\": [\"mon\"], \"zone\": \"+14:00\"}"), "alpha", "chat", "GET", "/", "{}",
     "2026-11-22T10:00:00Z", YES, "r"},
    {TIME("{\"days\": [\"mon\"], \"zone\": \"+14:00\"}"), "alpha", "chat", "GET", "/", "{}",
     "2026-11-22T09:59:00Z", NO, NULL},
    {TIME("[{\"to\": \"01:00\", \"zone\": \"UTC\"}, {\"from\": \"23:00\", \"zone\": \"UTC\"}]"),
     "alpha", "chat", "GET", "/", "{}", "2026-11-22T23:30:00Z", YES, "r"},
};

static int64_t wall_ms_of(const char *at)
{
    struct tm tm = {0};

    assert_non_null(strptime(at != NULL ? at : "2026-11-24T12:00:00Z", "%Y-%m-%dT%H:%M:%SZ", &tm));
    return (int64_t)timegm(&tm) * 1000;
}

static const struct th_config_connection *find_connection(const struct th_config_view *view,
                                                          const char *name)
{
    for (size_t i = 0; i < view->n_connections; i++)
        if (th_str_equal(view->connections[i].name, th_str_of(name)))
            return &view->connections[i];
    fail();
    return NULL;
}

static void fill(const struct th_config_view *view, const struct row *row,
                 struct th_policy_request *request, struct th_policy_claims *claims)
{
    *request = (struct th_policy_request){.agent = &view->agents[0],
                                          .connection = find_connection(view, row->connection),
                                          .method = th_str_of(row->method),
                                          .path = th_str_of(row->path),
                                          .wall_ms = wall_ms_of(row->at),
                                          .claims = claims};
    for (size_t i = 0; row->caller != NULL && i < view->n_callers; i++)
        if (th_str_equal(view->callers[i].name, th_str_of(row->caller)))
            request->caller = &view->callers[i];
    if (request->caller != NULL)
        request->agent = request->caller->agent;
    *claims = (struct th_policy_claims){.subject = TH_POLICY_SUBJECT_OPAQUE};
    if (row->claims == NULL)
        return;
    json_t *json;
    assert_int_equal(th_json_parse_object(th_str_of(row->claims), 4096, &json), 0);
    th_policy_read_claims(view, json, claims);
    json_decref(json);
}

static struct th_config *load(const char *rules, const char *more)
{
    struct th_buf text;

    th_buf_init(&text, 64 * 1024);
    th_buf_printf(&text, "%s%s]%s}", begin, rules, more);
    struct th_config *config = test_config_load(text.ptr);
    th_buf_fini(&text);
    return config;
}

static void test_conditions(void **state)
{
    unsigned n_bad = 0;

    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct th_config *config = load(rows[i].rules, "");
        const struct th_config_view *view = th_config_get(config);
        struct th_policy_request request;
        struct th_policy_claims claims;
        struct th_policy_verdict verdict;
        fill(view, &rows[i], &request, &claims);
        th_policy_decide(view, &request, &verdict);
        struct th_str rule = verdict.rule != NULL ? verdict.rule->name : TH_STR_NONE;
        if (verdict.result == rows[i].result && th_str_equal(rule, th_str_of(rows[i].rule)) &&
            !verdict.would_deny) {
            th_config_unref(config);
            continue;
        }
        fprintf(stderr, "row %zu: %s\n  %s %s: result %d by \"%.*s\"\n", i, rows[i].rules,
                rows[i].method, rows[i].path, (int)verdict.result, TH_STR_ARGS(rule));
        th_config_unref(config);
        n_bad++;
    }
    assert_int_equal(n_bad, 0);
}

/* What would have been, and what is. */
static void test_dry_run(void **state)
{
    static const struct {
        const char *rules, *more, *method;
        enum th_policy_result result;
        const char *would_deny; /* by which; "": none matched; NULL: it would not */
    } cases[] = {
        {DENY "\"methods\": [\"POST\"], \"dry_run\": true}" REST, "", "POST", YES, "r"},
        {DENY "\"methods\": [\"POST\"], \"dry_run\": true}" REST, "", "GET", YES, NULL},
        /* alone it concerns nothing, and would deny the rest */
        {ALLOW "\"methods\": [\"GET\"], \"dry_run\": true}", "", "POST", TH_POLICY_UNCONCERNED, ""},
        {ALLOW "\"methods\": [\"GET\"], \"dry_run\": true}", "", "GET", TH_POLICY_UNCONCERNED,
         NULL},
        /* one that is in force decides, whatever comes before it in a dry run */
        {ALLOW
         "\"methods\": [\"POST\"], \"dry_run\": true}, {\"name\": \"rest\", \"action\": \"deny\"}",
         "", "POST", NO, NULL},
        {DENY "\"methods\": [\"POST\"]}" REST, ", \"policy_mode\": \"dry_run\"", "POST",
         TH_POLICY_UNCONCERNED, "r"},
        {DENY "\"methods\": [\"POST\"]}" REST, ", \"policy_mode\": \"enforce\"", "POST", NO, NULL},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_config *config = load(cases[i].rules, cases[i].more);
        const struct th_config_view *view = th_config_get(config);
        struct row row = {"", "alpha", "chat", cases[i].method, "/", "{}", NULL, YES, NULL};
        struct th_policy_request request;
        struct th_policy_claims claims;
        struct th_policy_verdict verdict;
        fill(view, &row, &request, &claims);
        th_policy_decide(view, &request, &verdict);
        assert_int_equal(verdict.result, cases[i].result);
        assert_int_equal(verdict.would_deny, cases[i].would_deny != NULL);
        if (verdict.would_deny)
            assert_true(th_str_equal(verdict.dry_rule != NULL ? verdict.dry_rule->name : TH_STR(""),
                                     th_str_of(cases[i].would_deny)));
        th_config_unref(config);
    }
}

/* {"groups":["traders"]}, {"groups":["guests"]}; the memo tells them apart by their digest alone. */
static void test_tokens(void **state)
{
    static const struct th_str tokens[] = {
        TH_STR("eyJhbGciOiJub25lIn0.eyJncm91cHMiOlsidHJhZGVycyJdfQ.eHh4"),
        TH_STR("eyJhbGciOiJub25lIn0.eyJncm91cHMiOlsiZ3Vlc3RzIl19.eHh4"),
        TH_STR("opaque"),
    };
    struct th_config *config =
        load(CLAIM("{\"claim\": \"groups\", \"contains\": \"traders\"}"), "");
    const struct th_config_view *view = th_config_get(config);
    struct th_policy_memo *memo = th_policy_memo_new();
    assert_non_null(memo);
    for (unsigned round = 0; round < 3; round++) {
        for (uint8_t i = 0; i < TH_COUNT_OF(tokens); i++) {
            struct th_policy_claims room;
            const struct th_policy_claims *claims;
            uint8_t digest[32] = {7, 7, i}; /* all of one slot */
            assert_int_equal(th_policy_memo_read(round == 2 ? NULL : memo, view, digest, tokens[i],
                                                 &room, &claims),
                             0);
            assert_int_equal(claims->subject,
                             i == 2 ? TH_POLICY_SUBJECT_OPAQUE : TH_POLICY_SUBJECT_READ);
            assert_int_equal(claims->holds[0], i == 0);
            /* what it remembers, it does not read again */
            assert_int_equal(th_policy_memo_read(memo, view, digest, tokens[i], &room, &claims), 0);
            assert_int_equal(
                th_policy_memo_read(memo, view, digest, TH_STR("other"), &room, &claims), 0);
            assert_int_equal(claims->holds[0], i == 0);
        }
    }
    th_policy_memo_free(memo);
    th_config_unref(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_dry_run),
        cmocka_unit_test(test_tokens),
    };
    setenv("TEST_A", "a-secret-of-alpha", 1);
    setenv("TEST_B", "a-secret-of-beta-", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
