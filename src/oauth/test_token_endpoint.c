#include <stdio.h>

#include "printable.h"
#include "test_support.h"
#include "token_endpoint.h"
#include "tokenhop/base/check.h"

#define ID_JAG TT "id-jag"
#define SECRET "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2VjcmV0c2VjcmV0"

/* 0 and 1: those of an agent-to-agent plan; from 2 on the one leg of each other type. */
enum { SECRET_LEG = 2, ACCOUNT_LEG, STS_LEG };

static const struct th_plan_leg *leg(size_t index)
{
    static const enum th_resource_type types[] = {TH_TYPE_AGENT_TO_AGENT, TH_TYPE_AGENT_TO_AGENT,
                                                  TH_TYPE_SECRET, TH_TYPE_SERVICE_ACCOUNT,
                                                  TH_TYPE_RESOURCE_SERVER};
    const struct th_config_connection connection = {.type = types[index]};
    struct th_plan_legs legs;
    th_plan_select(&connection, &legs);
    return legs.items[index < SECRET_LEG ? index : 0];
}

static void answer_read(struct th_token_answer *answer, size_t leg_index, int status,
                        const char *content_type, const char *body)
{
    char *text = th_strdup(body);
    assert_non_null(text);
    for (char *c = text; *c != '\0'; c++)
        *c = *c == '\'' ? '"' : *c;
    const struct th_fetch_response response = {.status = status,
                                               .content_type = th_str_of(content_type),
                                               .retry_after_ms = -1,
                                               .rate_limit_reset_ms = -1,
                                               .body = th_str_of(text)};
    th_token_answer_read(&response, leg(leg_index), TH_STR(ORG), answer);
    th_free(text);
    bool yields_values = leg(leg_index)->object != NULL;
    assert_int_equal(answer->token != NULL, answer->error == 0 && !yields_values);
    assert_int_equal(answer->values != NULL, answer->error == 0 && yields_values);
    assert_true(answer->error == 0 || answer->why[0] != '\0');
}

static void good_answers(void **state)
{
    (void)state;
    static const struct {
        size_t leg;
        const char *body;
    } cases[] = {
        {0, "{'issued_token_type':'" ID_JAG "','access_token':'a.b.c','token_type':'N_A'}"},
        {0, "{'issued_token_type':'" ID_JAG "','access_token':'a.b.c','token_type':'Bearer'}"},
        {0, "{'issued_token_type':'" ID_JAG "','access_token':'a.b.c'}"},
        {1, "{'access_token':'a.b.c','token_type':'Bearer','refresh_token':'r','x':[{}]}"},
        {1, "{'access_token':'a.b.c','token_type':'bEARER'}"},
        {1, "{'access_token':'a.b.c','token_type':'dPOP'}"},
        {1, "{'access_token':'AZaz09-._~+/==','token_type':'Bearer'}"},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_token_answer answer;
        answer_read(&answer, cases[i].leg, 200, "application/json", cases[i].body);
        if (answer.error != 0)
            fail_msg("%s: %s", cases[i].body, answer.why);
        assert_int_equal(answer.is_dpop, strstr(cases[i].body, "dPOP") != NULL);
        th_token_answer_fini(&answer);
    }
    assert_int_equal(th_secret_bytes_held(), 0);
}

#define GOOD "{'access_token':'a.b.c','token_type':'Bearer'}"

static void r13_bad_answers_are_502(void **state)
{
    (void)state;
    static const struct {
        size_t leg;
        int status;
        const char *content_type, *body;
        int error;
    } cases[] = {
        {1, 200, "application/json", GOOD, 0},
        {1, 200, "application/json; charset=UTF-8", GOOD, 0},
        {1, 200, "Application/JSON ;charset=utf-8", GOOD, 0},
        {1, 200, "text/html", GOOD, TH_E_EXCHANGE_FAILED},
        {1, 200, "application/jsonp", GOOD, TH_E_EXCHANGE_FAILED},
        {1, 200, "", GOOD, TH_E_EXCHANGE_FAILED},
        {1, 201, "application/json", GOOD, TH_E_EXCHANGE_FAILED},
        {1, 204, "application/json", GOOD, TH_E_EXCHANGE_FAILED},
        {1, 301, "application/json", GOOD, TH_E_EXCHANGE_FAILED},
        {1, 302, "text/html", "", TH_E_EXCHANGE_FAILED},
        {1, 307, "application/json", GOOD, TH_E_EXCHANGE_FAILED},
        {1, 400, "application/json", GOOD, TH_E_EXCHANGE_FAILED},
        {1, 401, "text/plain", "no", TH_E_EXCHANGE_FAILED},
        {1, 404, "text/html", "<html>", TH_E_EXCHANGE_FAILED},
        {1, 429, "text/html", "<html>", TH_E_EXCHANGE_DOWN},
        {1, 429, "application/json", "{}", TH_E_EXCHANGE_DOWN},
        {1, 500, "text/html", "<html>", TH_E_EXCHANGE_DOWN},
        {1, 502, "", "", TH_E_EXCHANGE_DOWN},
        {1, 503, "application/json", GOOD, TH_E_EXCHANGE_DOWN},
        {1, 200, "application/json", "", TH_E_EXCHANGE_FAILED},
        {1, 200, "application/json", "[]", TH_E_EXCHANGE_FAILED},
        {1, 200, "application/json", "null", TH_E_EXCHANGE_FAILED},
        {1, 200, "application/json", "{", TH_E_EXCHANGE_FAILED},
        {1, 200, "application/json", GOOD "x", TH_E_EXCHANGE_FAILED},
        {1, 200, "application/json", "{'token_type':'Bearer'}", TH_E_EXCHANGE_FAILED},
        {1, 200, "application/json", "{'access_token':1,'token_type':'Bearer'}",
         TH_E_EXCHANGE_FAILED},
        {1, 200, "application/json", "{'access_token':null,'token_type':'Bearer'}",
         TH_E_EXCHANGE_FAILED},
        {1, 200, "application/json", "{'access_token':'','token_type':'Bearer'}",
         TH_E_EXCHANGE_FAILED},
        {1, 200, "application/json", "{'access_token':'a b','token_type':'Bearer'}",
         TH_E_EXCHANGE_FAILED},
        {1, 200, "application/json", "{'access_token':'a\\r\\nX: y','token_type':'Bearer'}",
         TH_E_EXCHANGE_FAILED},
        {1, 200, "application/json", "{'access_token':'a\\u0000','token_type':'Bearer'}",
         TH_E_EXCHANGE_FAILED},
        {1, 200, "application/json", "{'access_token':'a=b','token_type':'Bearer'}",
         TH_E_EXCHANGE_FAILED},
        {1, 200, "application/json",
         "{'access_token':'a','access_token':'b','token_type':'Bearer'}", TH_E_EXCHANGE_FAILED},
        {1, 200, "application/json", "{'access_token':'a'}", TH_E_EXCHANGE_FAILED},
        {1, 200, "application/json", "{'access_token':'a','token_type':'N_A'}",
         TH_E_EXCHANGE_FAILED},
        {1, 200, "application/json", "{'access_token':'a','token_type':'MAC'}",
         TH_E_EXCHANGE_FAILED},
        {1, 200, "application/json", "{'access_token':'a','token_type':['Bearer']}",
         TH_E_EXCHANGE_FAILED},
        {0, 200, "application/json", "{'access_token':'a','token_type':'N_A'}",
         TH_E_EXCHANGE_FAILED},
        {0, 200, "application/json", "{'access_token':'a','issued_token_type':5}",
         TH_E_EXCHANGE_FAILED},
        {0, 200, "application/json",
         "{'access_token':'a','issued_token_type':'" TT "access_token'}", TH_E_EXCHANGE_MISMATCH},
        {0, 200, "application/json", "{'access_token':'a','issued_token_type':'" TT "ID-JAG'}",
         TH_E_EXCHANGE_MISMATCH},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_token_answer answer;
        answer_read(&answer, cases[i].leg, cases[i].status, cases[i].content_type, cases[i].body);
        if (answer.error != cases[i].error)
            fail_msg("%d %s %s: %s", cases[i].status, cases[i].content_type, cases[i].body,
                     th_error_get(answer.error)->name);
        th_token_answer_fini(&answer);
    }
}

#define OKTA "urn:okta:params:oauth:token-type:"
#define SECRET_HEAD                                                                                \
    "'issued_token_type':'" OKTA "vaulted-secret','token_type':'N_A','expires_in':300"
#define ACCOUNT_HEAD "'issued_token_type':'" OKTA "service-account','token_type':'N_A'"
#define STS_HEAD "'issued_token_type':'" OKTA "oauth-sts'"

/* "name=value;" for each. */
static void write_values(const struct th_values *values, char *ret_text, size_t size)
{
    ret_text[0] = '\0';
    for (size_t i = 0; i < values->n; i++) {
        size_t len = strlen(ret_text);
        (void)snprintf(ret_text + len, size - len, "%s=%s;", values->items[i].name,
                       th_secret_expose(values->items[i].secret).ptr);
    }
}

static void what_other_types_yield(void **state)
{
    (void)state;
    static const struct {
        size_t leg;
        const char *body;
        const char *values; /* NULL: a token */
    } cases[] = {
        {SECRET_LEG, "{" SECRET_HEAD ",'vaulted_secret':{'api_key':'k-1','region':null}}",
         "api_key=k-1;"},
        {SECRET_LEG, "{" SECRET_HEAD ",'secret':{'api_key':'k-1'}}", "api_key=k-1;"},
        {SECRET_LEG,
         "{'issued_token_type':'" OKTA "secret','secret':{'username':'u','password':'p'}}",
         "username=u;password=p;"},
        {SECRET_LEG, "{" SECRET_HEAD ",'vaulted_secret':{'a':''}}", "a=;"},
        {SECRET_LEG, "{" SECRET_HEAD ",'vaulted_secret':{}}", ""},
        {SECRET_LEG, "{" SECRET_HEAD ",'vaulted_secret':{'a b':'x','':'y','c':'z'}}", "c=z;"},
        {SECRET_LEG, "{" SECRET_HEAD ",'vaulted_secret':{'a':'\\t\\u00e9 {x}'}}",
         "a=\t\xc3\xa9 {x};"},
        {ACCOUNT_LEG, "{" ACCOUNT_HEAD ",'service_account':{'username':'u','password':'p:q'}}",
         "username=u;password=p:q;"},
        {STS_LEG, "{" STS_HEAD ",'access_token':'gho_A/b+c.d~e==','token_type':'bearer'}", NULL},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_token_answer answer;
        char text[200];
        answer_read(&answer, cases[i].leg, 200, "application/json", cases[i].body);
        if (answer.error != 0)
            fail_msg("%s: %s", cases[i].body, answer.why);
        if (cases[i].values != NULL) {
            write_values(answer.values, text, sizeof text);
            assert_string_equal(text, cases[i].values);
        }
        th_token_answer_fini(&answer);
    }
    assert_int_equal(th_secret_bytes_held(), 0);
}

static void r13_bad_answers_of_other_types_are_502(void **state)
{
    (void)state;
    static const struct {
        size_t leg;
        const char *body;
        int error;
    } cases[] = {
        {SECRET_LEG, "{'vaulted_secret':{'a':'b'}}", TH_E_EXCHANGE_FAILED},
        {SECRET_LEG, "{" SECRET_HEAD "}", TH_E_EXCHANGE_FAILED},
        {SECRET_LEG, "{" SECRET_HEAD ",'access_token':'a.b.c'}", TH_E_EXCHANGE_FAILED},
        {SECRET_LEG, "{" SECRET_HEAD ",'service_account':{'a':'b'}}", TH_E_EXCHANGE_FAILED},
        {SECRET_LEG, "{" SECRET_HEAD ",'vaulted_secret':'b'}", TH_E_EXCHANGE_FAILED},
        {SECRET_LEG, "{" SECRET_HEAD ",'vaulted_secret':['b']}", TH_E_EXCHANGE_FAILED},
        {SECRET_LEG, "{" SECRET_HEAD ",'vaulted_secret':null}", TH_E_EXCHANGE_FAILED},
        {SECRET_LEG, "{" SECRET_HEAD ",'vaulted_secret':{'a':1}}", TH_E_EXCHANGE_FAILED},
        {SECRET_LEG, "{" SECRET_HEAD ",'vaulted_secret':{'a':true}}", TH_E_EXCHANGE_FAILED},
        {SECRET_LEG, "{" SECRET_HEAD ",'vaulted_secret':{'a':{'b':'c'}}}", TH_E_EXCHANGE_FAILED},
        {SECRET_LEG, "{" SECRET_HEAD ",'vaulted_secret':{'k':'v','a':['b']}}",
         TH_E_EXCHANGE_FAILED},
        {SECRET_LEG, "{" SECRET_HEAD ",'vaulted_secret':{'a':'b','a':'c'}}", TH_E_EXCHANGE_FAILED},
        {SECRET_LEG, "{" SECRET_HEAD ",'vaulted_secret':{'a':'b\\r\\nX: y'}}",
         TH_E_EXCHANGE_FAILED},
        {SECRET_LEG, "{" SECRET_HEAD ",'vaulted_secret':{'a':'b\\n'}}", TH_E_EXCHANGE_FAILED},
        {SECRET_LEG, "{" SECRET_HEAD ",'vaulted_secret':{'a':'b\\u0000c'}}", TH_E_EXCHANGE_FAILED},
        {SECRET_LEG, "{" SECRET_HEAD ",'vaulted_secret':{'a':'b'},'error':'access_denied'}",
         TH_E_ACCESS_DENIED},
        {SECRET_LEG, "{" ACCOUNT_HEAD ",'vaulted_secret':{'a':'b'}}", TH_E_EXCHANGE_MISMATCH},
        {ACCOUNT_LEG, "{'issued_token_type':'" OKTA "secret','service_account':{'username':'u'}}",
         TH_E_EXCHANGE_MISMATCH},
        {ACCOUNT_LEG, "{" ACCOUNT_HEAD ",'vaulted_secret':{'username':'u'}}", TH_E_EXCHANGE_FAILED},
        {ACCOUNT_LEG, "{" ACCOUNT_HEAD ",'service_account':{'username':7,'password':'p'}}",
         TH_E_EXCHANGE_FAILED},
        {STS_LEG, "{" STS_HEAD ",'access_token':'a','token_type':'N_A'}", TH_E_EXCHANGE_FAILED},
        {STS_LEG, "{" STS_HEAD ",'access_token':'a b','token_type':'Bearer'}",
         TH_E_EXCHANGE_FAILED},
        {STS_LEG, "{'access_token':'a','token_type':'Bearer'}", TH_E_EXCHANGE_FAILED},
        {STS_LEG,
         "{'issued_token_type':'" OKTA "oauthtoken-type','access_token':'a','token_type':'Bearer'}",
         TH_E_EXCHANGE_MISMATCH},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_token_answer answer;
        answer_read(&answer, cases[i].leg, 200, "application/json", cases[i].body);
        if (answer.error != cases[i].error)
            fail_msg("%s: %s", cases[i].body, th_error_get(answer.error)->name);
        th_token_answer_fini(&answer);
    }
    assert_int_equal(th_secret_bytes_held(), 0);
}

static void r13_values_are_bounded(void **state)
{
    (void)state;
    for (size_t n = TH_VALUES_MAX; n <= TH_VALUES_MAX + 1; n++) {
        struct th_token_answer answer;
        struct th_buf body;
        th_buf_init(&body, 1 << 16);
        th_buf_printf(&body, "{" SECRET_HEAD ",'vaulted_secret':{");
        for (size_t i = 0; i < n; i++)
            th_buf_printf(&body, "%s'k%zu':'v'", i > 0 ? "," : "", i);
        th_buf_printf(&body, "}}");
        answer_read(&answer, SECRET_LEG, 200, "application/json", body.ptr);
        assert_int_equal(answer.error, n <= TH_VALUES_MAX ? 0 : TH_E_EXCHANGE_FAILED);
        th_token_answer_fini(&answer);
        th_buf_fini(&body);
    }
    for (size_t len = TH_VALUE_LEN_MAX; len <= TH_VALUE_LEN_MAX + 1; len++) {
        struct th_token_answer answer;
        struct th_buf body;
        th_buf_init(&body, 1 << 16);
        th_buf_printf(&body, "{" SECRET_HEAD ",'vaulted_secret':{'a':'");
        for (size_t i = 0; i < len; i++)
            th_buf_add_char(&body, 'x');
        th_buf_printf(&body, "'}}");
        answer_read(&answer, SECRET_LEG, 200, "application/json", body.ptr);
        assert_int_equal(answer.error, len <= TH_VALUE_LEN_MAX ? 0 : TH_E_EXCHANGE_FAILED);
        th_token_answer_fini(&answer);
        th_buf_fini(&body);
    }
    assert_int_equal(th_secret_bytes_held(), 0);
}

static void r13_size_and_nesting_are_bounded(void **state)
{
    (void)state;
    struct th_token_answer answer;
    struct th_buf body;
    for (size_t len = 65536; len <= 65537; len++) {
        th_buf_init(&body, 100000);
        th_buf_add_str(&body, TH_STR("{'token_type':'Bearer','access_token':'"));
        for (size_t i = 0; i < len; i++)
            th_buf_add_char(&body, 'a');
        th_buf_add_str(&body, TH_STR("'}"));
        answer_read(&answer, 1, 200, "application/json", body.ptr);
        assert_int_equal(answer.error, len == 65536 ? 0 : TH_E_EXCHANGE_FAILED);
        th_token_answer_fini(&answer);
        th_buf_fini(&body);
    }
    for (int depth = 31; depth <= 32; depth++) {
        th_buf_init(&body, 100000);
        th_buf_add_str(&body, TH_STR("{'token_type':'Bearer','access_token':'a','x':"));
        for (int i = 0; i < depth; i++)
            th_buf_add_char(&body, '[');
        for (int i = 0; i < depth; i++)
            th_buf_add_char(&body, ']');
        th_buf_add_str(&body, TH_STR("}"));
        answer_read(&answer, 1, 200, "application/json", body.ptr);
        assert_int_equal(answer.error, depth == 31 ? 0 : TH_E_EXCHANGE_FAILED);
        th_token_answer_fini(&answer);
        th_buf_fini(&body);
    }
}

/* Reference, section 8, every row, and the causes that descriptions name. */
static void errors_mean(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *error, *description;
        int meaning;
        const char *says;
    } cases[] = {
        {400, "invalid_grant", "", TH_E_SUBJECT_REFUSED, "delegation link"},
        {400, "invalid_token", "", TH_E_SUBJECT_REFUSED, "expired"},
        {400, "invalid_request", "", TH_E_EXCHANGE_REQUEST, "parameter"},
        {400, "invalid_request", "'subject_token_type' is invalid or not supported.",
         TH_E_EXCHANGE_REQUEST, "agent-to-agent feature"},
        {400, "invalid_request", "'requested_token_type' is invalid.", TH_E_EXCHANGE_REQUEST,
         "org server"},
        {400, "invalid_request", "Requested token type not supported", TH_E_EXCHANGE_REQUEST,
         "org server"},
        {400, "invalid_request", "The 'subject_token' is invalid.", TH_E_SUBJECT_REFUSED,
         "subject token"},
        {400, "invalid_request", "'resource' is invalid.", TH_E_EXCHANGE_REQUEST, "to the letter"},
        {400, "invalid_target", "'resource' is invalid.", TH_E_ACCESS_DENIED, "to the letter"},
        {400, "invalid_subject_token_act_claim_depth", "", TH_E_ACCESS_DENIED, "chain"},
        {401, "invalid_client", "", TH_E_EXCHANGE_CLIENT, "client_id"},
        {401, "invalid_client", "Invalid 'kid' in header", TH_E_EXCHANGE_CLIENT, "this kid"},
        {401, "invalid_client", "The client has no JWKSet", TH_E_EXCHANGE_CLIENT, "no public key"},
        {401, "invalid_client", "signature is invalid", TH_E_EXCHANGE_CLIENT, "another key"},
        {401, "invalid_client", "The audience claim is wrong", TH_E_EXCHANGE_CLIENT,
         "another audience"},
        {400, "unsupported_grant_type", "", TH_E_EXCHANGE_CLIENT, "grant type"},
        {400, "unauthorized_client", "", TH_E_EXCHANGE_CLIENT, "grant type"},
        {400, "unauthorized_client", "The grant is not allowed", TH_E_EXCHANGE_CLIENT, ""},
        {400, "unauthorized_client", "Scope x is not permitted", TH_E_ACCESS_DENIED, "scope"},
        {400, "invalid_scope", "", TH_E_ACCESS_DENIED, "scope"},
        {400, "invalid_target", "", TH_E_ACCESS_DENIED, "resource"},
        {400, "token_exchange_invalid_audience", "", TH_E_ACCESS_DENIED, "issuer"},
        {400, "access_denied", "", TH_E_ACCESS_DENIED, "policy"},
        {400, "access_denied",
         "Policy evaluation failed for this request, please check the policy configurations.",
         TH_E_ACCESS_DENIED, "JWT Bearer"},
        {400, "interaction_required", "", TH_E_INTERACTION, "consent"},
        {400, "consent_required", "", TH_E_INTERACTION, "consent"},
        {400, "login_required", "", TH_E_INTERACTION, "log in"},
        {400, "insufficient_user_authentication", "", TH_E_SUBJECT_REFUSED, "stronger"},
        {400, "use_dpop_nonce", "", TH_E_EXCHANGE_REQUEST, "DPoP"},
        {400, "invalid_dpop_proof", "", TH_E_EXCHANGE_REQUEST, "DPoP"},
        {400, "temporarily_unavailable", "", TH_E_EXCHANGE_DOWN, "later"},
        {400, "slow_down", "", TH_E_EXCHANGE_DOWN, "later"},
        {500, "server_error", "", TH_E_EXCHANGE_DOWN, "failed"},
        {200, "invalid_grant", "", TH_E_SUBJECT_REFUSED, ""}, /* an error with 200 is one */
        {500, "access_denied", "", TH_E_ACCESS_DENIED, ""},   /* `error` decides */
        {400, "something_new", "", TH_E_EXCHANGE_FAILED, "400"},
        {503, "something_new", "", TH_E_EXCHANGE_DOWN, "failed"},
        {429, "something_new", "", TH_E_EXCHANGE_DOWN, "rate limit"},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        char body[512];
        struct th_token_answer answer;
        char description[200];
        size_t n = 0;
        for (const char *c = cases[i].description; *c != '\0'; c++)
            description[n++] = *c == '\'' ? '`' : *c;
        description[n] = '\0';
        (void)snprintf(body, sizeof body,
                       "{'access_token':'" SECRET "','error':'%s','error_description':'%s'}",
                       cases[i].error, description);
        for (char *c = body; *c != '\0'; c++)
            *c = *c == '\'' ? '"' : *c == '`' ? '\'' : *c;
        /* not through answer_read(), which would turn the quotes inside too */
        const struct th_fetch_response response = {.status = cases[i].status,
                                                   .content_type = TH_STR("application/json"),
                                                   .retry_after_ms = -1,
                                                   .rate_limit_reset_ms = -1,
                                                   .body = th_str_of(body)};
        th_token_answer_read(&response, leg(0), TH_STR(ORG), &answer);
        if (answer.error != cases[i].meaning || strstr(answer.why, cases[i].says) == NULL)
            fail_msg("%s %s: %s, %s", cases[i].error, cases[i].description,
                     th_error_get(answer.error)->name, answer.why);
        assert_string_equal(answer.oauth_error, cases[i].error);
        assert_null(answer.token);
        assert_int_equal(answer.is_invalid_grant, strcmp(cases[i].error, "invalid_grant") == 0);
        th_token_answer_fini(&answer);
    }
}

static void okta_api_errors(void **state)
{
    (void)state;
    struct th_token_answer answer;
    answer_read(&answer, 0, 429, "application/json",
                "{'errorCode':'E0000047','errorSummary':'API call exceeded rate limit'}");
    assert_int_equal(answer.error, TH_E_EXCHANGE_DOWN);
    assert_string_equal(answer.oauth_error, "E0000047");
    assert_non_null(strstr(answer.why, "API call exceeded rate limit"));
    th_token_answer_fini(&answer);
    answer_read(&answer, 0, 404, "application/json",
                "{'errorCode':'E0000007','errorSummary':'Not found'}");
    assert_int_equal(answer.error, TH_E_EXCHANGE_REQUEST);
    th_token_answer_fini(&answer);
    answer_read(&answer, 0, 400, "application/json", "{'errorCode':'E9999999'}");
    assert_int_equal(answer.error, TH_E_EXCHANGE_FAILED);
    th_token_answer_fini(&answer);
}

/* R28: a status of the server's is never handed on as one of ours. */
static void r28_only_the_subject_makes_a_401(void **state)
{
    (void)state;
    static const char *const bodies[] = {"{}",
                                         "<html>",
                                         "{'error':''}",
                                         "{'error':7}",
                                         "{'error':{'error':'invalid_grant'}}",
                                         "{'error':'invalid_client'}",
                                         "{'error':'unauthorized_client'}",
                                         "{'error':'unauthorized'}",
                                         "{'error':'server_error'}",
                                         "{'error':'invalid_request'}",
                                         "{'errorCode':'E0000011'}"};
    static const int statuses[] = {200, 302, 400, 401, 403, 404, 407, 429, 500, 503};
    for (size_t i = 0; i < TH_COUNT_OF(bodies); i++) {
        for (size_t k = 0; k < TH_COUNT_OF(statuses); k++) {
            struct th_token_answer answer;
            answer_read(&answer, 1, statuses[k], "application/json", bodies[i]);
            if (th_error_get(answer.error)->status < 500)
                fail_msg("%d %s", statuses[k], bodies[i]);
            th_token_answer_fini(&answer);
        }
    }
}

static void r11_no_token_is_shown(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{'error':'" SECRET "'}",
        "{'error':'" SECRET "','error_description':'" SECRET "'}",
        "{'error':'invalid_grant','error_description':'token " SECRET " is expired'}",
        "{'error':'invalid_grant','error_description':'bad: 00AbCdEfGhIjKlMnOpQrStUv'}",
        "{'error':'something_new','error_description':'token=" SECRET "'}",
        "{'errorCode':'" SECRET "','errorSummary':'" SECRET "'}",
        "{'access_token':'" SECRET " ','token_type':'Bearer'}",
        "{'access_token':'" SECRET "','token_type':'" SECRET "'}",
        "{'access_token':'" SECRET "'",
        "{'error':'00abcdefghijklmnopqrstuvwxyz'}",
    };
    for (size_t i = 0; i < TH_COUNT_OF(bodies); i++) {
        for (int status = 200; status <= 500; status += 100) {
            struct th_token_answer answer;
            answer_read(&answer, 1, status, "application/json", bodies[i]);
            assert_int_not_equal(answer.error, 0);
            const char *const shown[] = {answer.why, answer.oauth_error, answer.interaction_uri};
            for (size_t k = 0; k < 3; k++) {
                if (strstr(shown[k], "eyJ") != NULL || strstr(shown[k], "00A") != NULL ||
                    strstr(shown[k], "00a") != NULL)
                    fail_msg("%s shows %s", bodies[i], shown[k]);
            }
            th_token_answer_fini(&answer);
        }
    }
    struct th_token_answer answer;
    answer_read(&answer, 1, 400, "application/json",
                "{'error':'invalid_grant','error_description':'The \\u001b[31muser is gone.'}");
    assert_non_null(strstr(answer.why, "The ?[31muser is gone."));
    th_token_answer_fini(&answer);
}

static void what_hides_a_token(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool hides;
    } cases[] = {
        {"", false},
        {"The refresh token is invalid or expired.", false},
        {"see https://developer.okta.com/docs/reference/error-codes", false},
        {"'subject_token_type' is invalid or not supported.", false},
        {"user 00u1abcdefghijklmnop", false},
        {"eyJ", true},
        {"xeyJhbGciOiJub25lIn0", true},
        {"AbCdEfGhIjKlMnOpQrSt1", true},
        {"AbCdEfGhIjKlMnOpQrStabcdefghijklmnopqrstuvw", true},
        {"deadbeefdeadbeefdeadbeef00", true},
        {"a AbCdEfGhIjKlMnOpQrSt1 b", true},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        if (th_printable_hides_token(th_str_of(cases[i].text)) != cases[i].hides)
            fail_msg("%s", cases[i].text);
    }
}

static void r13_lifetimes(void **state)
{
    (void)state;
    static const struct {
        const char *expires_in;
        int64_t ms;
    } cases[] = {
        {"3600", 3600000},
        {"300.5", 300500},
        {"'3600'", 3600000},
        {"1", 1000},
        {"0", 0},
        {"-1", 0},
        {"'0'", 0},
        {"''", 0},
        {"'-5'", 0},
        {"'3600s'", 0},
        {"' 3600'", 0},
        {"'3600.0'", 0},
        {"null", 0},
        {"true", 0},
        {"[3600]", 0},
        {"1e300", TH_ANSWER_EXPIRES_MAX_MS},
        {"9223372036854775807", TH_ANSWER_EXPIRES_MAX_MS},
        {"99999999999999999999999999", TH_ANSWER_EXPIRES_MAX_MS},
        {"'99999999999999999999999999'", TH_ANSWER_EXPIRES_MAX_MS},
    };
    struct th_token_answer answer;
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        char body[200];
        (void)snprintf(body, sizeof body,
                       "{'access_token':'a','token_type':'Bearer','expires_in':%s}",
                       cases[i].expires_in);
        answer_read(&answer, 1, 200, "application/json", body);
        assert_int_equal(answer.error, 0);
        if (answer.expires_in_ms != cases[i].ms)
            fail_msg("%s: %lld", cases[i].expires_in, (long long)answer.expires_in_ms);
        th_token_answer_fini(&answer);
    }
    answer_read(&answer, 1, 200, "application/json", GOOD);
    assert_int_equal(answer.expires_in_ms, TH_ANSWER_EXPIRES_ABSENT);
    th_token_answer_fini(&answer);
}

static void waiting_times_are_kept_and_bounded(void **state)
{
    (void)state;
    static const struct {
        int status;
        int64_t retry_after_ms, reset_ms, want_ms;
    } cases[] = {
        {503, 7000, -1, 7000},   {503, -1, -1, -1},           {503, -1, 30000, -1},
        {429, -1, 30000, 30000}, {429, 2000, 30000, 2000},    {429, -1, 900000, 60000},
        {429, 0, -1, 0},         {503, 1 << 30, -1, 3600000}, {400, 7000, 7000, -1},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_token_answer answer;
        const struct th_fetch_response response = {.status = cases[i].status,
                                                   .content_type = TH_STR("text/plain"),
                                                   .retry_after_ms = cases[i].retry_after_ms,
                                                   .rate_limit_reset_ms = cases[i].reset_ms,
                                                   .body = TH_STR("")};
        th_token_answer_read(&response, leg(0), TH_STR(ORG), &answer);
        assert_int_equal(answer.retry_after_ms, cases[i].want_ms);
        th_token_answer_fini(&answer);
    }
}

static void a_user_is_sent_to_the_issuer_only(void **state)
{
    (void)state;
    static const struct {
        const char *uri, *issuer;
        bool is_fine;
    } cases[] = {
        {ORG "/oauth2/v1/sts/redirect?dataHandle=x", ORG, true},
        {ORG "/x", CUSTOM, true},
        {"https://EXAMPLE.okta.com/x", ORG, true},
        {"https://example.okta.com", ORG, true},
        {"http://example.okta.com/x", ORG, false},
        {"https://example.okta.com.evil.net/x", ORG, false},
        {"https://evil.net/https://example.okta.com/", ORG, false},
        {"https://example.okta.com@evil.net/", ORG, false},
        {"https://evil.net#@example.okta.com/", ORG, false},
        {"https://evil.net\\@example.okta.com/", ORG, false},
        {"https://example.okta.com:444/", ORG, false},
        {"https:///x", ORG, false},
        {"https://", "https://", false},
        {"javascript:alert(1)", ORG, false},
        {"https://example.okta.com/\r\nX: y", ORG, false},
        {"https://example.okta.com/>; rel=x", ORG, false},
        {"https://example.okta.com/\xc3\xa9", ORG, false},
        {"", ORG, false},
        {"http://127.0.0.1:9000/consent", "http://127.0.0.1:9000", true},
        {"http://127.0.0.1:9001/consent", "http://127.0.0.1:9000", false},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        if (th_token_error_uri_is_fine(th_str_of(cases[i].uri), th_str_of(cases[i].issuer)) !=
            cases[i].is_fine)
            fail_msg("%s", cases[i].uri);
    }
    struct th_token_answer answer;
    answer_read(&answer, 0, 400, "application/json",
                "{'error':'interaction_required','interaction_uri':'" ORG "/x?h=1'}");
    assert_int_equal(answer.error, TH_E_INTERACTION);
    assert_string_equal(answer.interaction_uri, ORG "/x?h=1");
    th_token_answer_fini(&answer);
    answer_read(&answer, 0, 400, "application/json",
                "{'error':'interaction_required','interaction_uri':'https://evil.net/'}");
    assert_int_equal(answer.error, TH_E_EXCHANGE_FAILED);
    assert_string_equal(answer.interaction_uri, "");
    assert_null(strstr(answer.why, "evil"));
    th_token_answer_fini(&answer);
    char body[900] = "{'error':'interaction_required','interaction_uri':'" ORG "/";
    memset(body + strlen(body), 'a', 600);
    memcpy(body + strlen(body), "'}", 3);
    answer_read(&answer, 0, 400, "application/json", body);
    assert_int_equal(answer.error, TH_E_EXCHANGE_FAILED);
    th_token_answer_fini(&answer);
}

int main(void)
{
    th_json_start();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_answers),
        cmocka_unit_test(r13_bad_answers_are_502),
        cmocka_unit_test(what_other_types_yield),
        cmocka_unit_test(r13_bad_answers_of_other_types_are_502),
        cmocka_unit_test(r13_values_are_bounded),
        cmocka_unit_test(r13_size_and_nesting_are_bounded),
        cmocka_unit_test(errors_mean),
        cmocka_unit_test(okta_api_errors),
        cmocka_unit_test(r28_only_the_subject_makes_a_401),
        cmocka_unit_test(r11_no_token_is_shown),
        cmocka_unit_test(what_hides_a_token),
        cmocka_unit_test(r13_lifetimes),
        cmocka_unit_test(waiting_times_are_kept_and_bounded),
        cmocka_unit_test(a_user_is_sent_to_the_issuer_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
