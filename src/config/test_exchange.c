/* What a connection says of the requests of its exchange: what of it reaches the model, what is a mistake. */
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
#include "tokenhop/base/check.h"
#include "tokenhop/config/load.h"

#define TT "urn:ietf:params:oauth:token-type:"

static char *folder;

/* One connection, of which `rest` is what follows its name, URL and agents. */
static char *file_with(const char *rest)
{
    char *text;
    assert_true(
        asprintf(
            &text,
            "{\"listeners\": [{\"name\": \"in\", \"address\": \"127.0.0.1:8080\",\n"
            "  \"agent\": \"a\"}],\n"
            "\"authorization_servers\": {\"org\": {\"issuer\": \"https://example.okta.com\"},\n"
            "  \"okta\": {\"issuer\": \"https://example.okta.com/oauth2/aus1\"},\n"
            "  \"kc\": {\"issuer\": \"https://kc.example/realms/r\"}},\n"
            "\"agents\": {\"a\": {\"client_id\": \"c\", \"authorization_server\": \"org\",\n"
            "    \"resource\": \"https://a.example\",\n"
            "    \"auth\": {\"method\": \"private_key_jwt\", \"key_file\": \"key.pem\",\n"
            "      \"kid\": \"k\", \"alg\": \"ES256\"},\n"
            "    \"registrations\": {\"kc\": {\"client_id\": \"k\", \"auth\": {\"method\": \"none\"}}}},\n"
            "  \"bare\": {\"client_id\": \"d\", \"authorization_server\": \"org\",\n"
            "    \"auth\": {\"method\": \"none\"}}},\n"
            "\"connections\": [{\"name\": \"x\", \"url\": \"https://x.example/\", %s}]}",
            rest) > 0);
    return text;
}

#define A "\"agents\": [\"a\"], "
#define EXCHANGE A "\"type\": \"token_exchange\", \"authorization_server\": \"org\""
#define BEHALF A "\"type\": \"on_behalf_of\""
#define CLIENT A "\"type\": \"client_credentials\""
#define JAG(server)                                                                                \
    A "\"type\": \"agent_to_agent\", \"resource\": \"https://x.example\", "                        \
      "\"authorization_server\": \"" server "\""
#define BEGIN(agent, more)                                                                         \
    "\"agents\": [\"" agent "\"], \"type\": \"authorization_server\", "                            \
    "\"authorization_server\": \"okta\", \"subject\": {\"from\": \"client_credentials\", " more    \
    "}"
#define NONE "\"auth\": {\"method\": \"none\"}"
#define PARAMETERS(list) ", \"parameters\": [" list "]"
#define ONE(name) "{\"name\": \"" name "\", \"value\": \"1\"}"

static struct th_config *load(const char *rest)
{
    struct th_config_mistakes mistakes;
    struct th_config *config = NULL;
    char *text = file_with(rest);
    if (th_config_load_text(th_str_of(text), folder, &config, &mistakes) != 0)
        th_config_mistakes_print(&mistakes, "file", stderr);
    assert_non_null(config);
    th_config_mistakes_fini(&mistakes);
    free(text);
    return config;
}

static const struct th_config_connection *connection_of(const struct th_config *config)
{
    return &th_config_get(config)->connections[0];
}

static void assert_text(struct th_str is, const char *want)
{
    if (!th_str_equal(is, th_str_of(want)))
        fail_msg("wanted \"%s\", is \"%.*s\"", want, TH_STR_ARGS(is));
}

static void test_token_exchange(void **state)
{
    struct th_config *config =
        load(EXCHANGE ", \"audience\": [\"one\", \"//two\"], \"resource\": \"https://x.example/\", "
                      "\"requested_token_type\": \"jwt\", \"grant_type\": \"urn:x:y\", "
                      "\"scope_separator\": \"comma\", \"scopes\": [\"openid\", \"b\"], "
                      "\"subject\": {\"type\": \"saml2\"}" PARAMETERS(
                          "{\"name\": \"p\", \"value\": \"v w\", \"leg\": \"every\"}"));
    const struct th_config_connection *c = connection_of(config);
    assert_int_equal(c->type, TH_TYPE_TOKEN_EXCHANGE);
    assert_text(c->audience, "one");
    assert_int_equal(c->n_more_audiences, 1);
    assert_text(c->more_audiences[0], "//two");
    assert_text(c->resource, "https://x.example/");
    assert_int_equal(c->n_more_resources, 0);
    assert_text(c->requested_token_type, TT "jwt");
    assert_text(c->grant_type, "urn:x:y");
    assert_text(c->scope_text, "openid,b");
    assert_int_equal(c->subject_type, TH_SUBJECT_OTHER);
    assert_text(c->subject_type_uri, TT "saml2");
    assert_int_equal(c->n_parameters, 1);
    assert_text(c->parameters[0].name, "p");
    assert_text(c->parameters[0].value, "v w");
    assert_int_equal(c->parameters[0].leg, TH_PARAMETER_EVERY_LEG);
    assert_int_equal(c->actor.source, TH_ACTOR_NONE);
    assert_false(c->issued_checks.chain);
    assert_true(c->issued_checks.type && c->issued_checks.subject);
    assert_true(th_config_asks_subject(c));
    th_config_unref(config);

    config = load(A "\"type\": \"token_exchange\"");
    c = connection_of(config);
    assert_null(c->server);
    assert_int_equal(c->audience.len + c->resource.len + c->requested_token_type.len, 0);
    assert_int_equal(c->subject_type, TH_SUBJECT_AUTO);
    th_config_unref(config);
}

static void test_subject_types(void **state)
{
    static const struct {
        const char *name, *uri;
        enum th_subject_type type;
    } types[] = {{"auto", "", TH_SUBJECT_AUTO},
                 {"id_token", TT "id_token", TH_SUBJECT_ID_TOKEN},
                 {TT "id_token", TT "id_token", TH_SUBJECT_ID_TOKEN},
                 {"access_token", TT "access_token", TH_SUBJECT_ACCESS_TOKEN},
                 {"jwt", TT "jwt", TH_SUBJECT_OTHER},
                 {"refresh_token", TT "refresh_token", TH_SUBJECT_OTHER},
                 {"saml1", TT "saml1", TH_SUBJECT_OTHER},
                 {"https://x.example/t", "https://x.example/t", TH_SUBJECT_OTHER}};
    for (size_t i = 0; i < TH_COUNT_OF(types); i++) {
        char rest[400];
        snprintf(rest, sizeof(rest), "%s, \"subject\": {\"type\": \"%s\"}", EXCHANGE,
                 types[i].name);
        struct th_config *config = load(rest);
        assert_int_equal(connection_of(config)->subject_type, types[i].type);
        assert_text(connection_of(config)->subject_type_uri, types[i].uri);
        th_config_unref(config);
    }
}

static void test_actor(void **state)
{
    struct th_config *config = load(EXCHANGE ", \"actor\": {\"from\": \"assertion\"}");
    assert_int_equal(connection_of(config)->actor.source, TH_ACTOR_ASSERTION);
    assert_text(connection_of(config)->actor.token_type, TT "jwt");
    th_config_unref(config);

    config = load(EXCHANGE ", \"actor\": {\"from\": \"client_credentials\", \"type\": \"jwt\", "
                           "\"scopes\": [\"p\", \"q\"], \"resource\": \"urn:r\"}");
    assert_int_equal(connection_of(config)->actor.source, TH_ACTOR_CLIENT_CREDENTIALS);
    assert_text(connection_of(config)->actor.token_type, TT "jwt");
    assert_text(connection_of(config)->actor.scope_text, "p q");
    assert_text(connection_of(config)->actor.resource, "urn:r");
    th_config_unref(config);
}

static void test_on_behalf_of(void **state)
{
    struct th_config *config = load(BEHALF ", \"scopes\": [\"api://x/.default\"]");
    assert_text(connection_of(config)->requested_token_use, "on_behalf_of");
    th_config_unref(config);
    config = load(BEHALF ", \"requested_token_use\": \"none\"");
    assert_int_equal(connection_of(config)->requested_token_use.len, 0);
    th_config_unref(config);
}

static void test_own_subjects(void **state)
{
    struct th_config *config = load(CLIENT);
    assert_false(th_config_asks_subject(connection_of(config)));
    assert_null(connection_of(config)->subject_client);
    th_config_unref(config);

    config = load(BEGIN("a", "\"authorization_server\": \"kc\", \"client_id\": \"s\", " NONE
                             ", \"scopes\": [\"p\", \"q\"]"));
    const struct th_config_connection *c = connection_of(config);
    assert_false(th_config_asks_subject(c));
    assert_text(c->subject_client->server->name, "kc");
    assert_text(c->subject_client->client_id, "s");
    assert_int_equal(c->subject_client->auth.method, TH_AUTH_NONE);
    assert_text(c->subject_client->scope_text, "p q");
    th_config_unref(config);
}

/* Reference, 4.3: by the server of the second leg, unless it is said. */
static void test_second_leg(void **state)
{
    static const struct {
        const char *rest, *scopes;
        bool resource, chain;
    } cases[] = {
        {JAG("okta") ", \"scopes\": [\"a\", \"b\"]", "", false, true},
        {JAG("kc") ", \"scopes\": [\"a\", \"b\"]", "a b", false, true},
        {JAG("kc") ", \"scopes\": [\"a\", \"b\"], \"second_leg_scopes\": []", "", false, true},
        {JAG("okta") ", \"scopes\": [\"a\", \"b\"], \"second_leg_scopes\": [\"b\"], "
                     "\"second_leg_resource\": true",
         "b", true, true},
        {JAG("kc") ", \"requested_token_type\": \"jwt\"", "", false, false},
        {JAG("kc") ", \"requested_token_type\": \"jwt\", \"issued_checks\": {\"chain\": true}", "",
         false, true},
        {JAG("kc") ", \"issued_checks\": {\"chain\": false}", "", false, false},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_config *config = load(cases[i].rest);
        const struct th_config_connection *c = connection_of(config);
        assert_text(c->second_leg_scope_text, cases[i].scopes);
        assert_int_equal(c->second_leg_resource, cases[i].resource);
        assert_int_equal(c->issued_checks.chain, cases[i].chain);
        th_config_unref(config);
    }
}

static const struct test_mistake mistakes_of[] = {
    /* parameters */
    {EXCHANGE PARAMETERS(ONE("Client.id")), "$.connections[0].parameters[0].name",
     "has this parameter", ""},
    {EXCHANGE PARAMETERS(ONE("scope")), "$.connections[0].parameters[0].name", "has this parameter",
     "leave it out"},
    {EXCHANGE PARAMETERS(ONE("Client_Secret")), "$.connections[0].parameters[0].name",
     "has this parameter", ""},
    {JAG("okta") PARAMETERS(ONE("assertion")), "$.connections[0].parameters[0].name",
     "has this parameter", ""},
    {EXCHANGE PARAMETERS(ONE("password")), "$.connections[0].parameters[0].name",
     "has this parameter", ""},
    {EXCHANGE PARAMETERS(ONE("a b")), "$.connections[0].parameters[0].name", "not the name", ""},
    {EXCHANGE PARAMETERS(ONE("p") ", " ONE("p")), "$.connections[0].parameters[1].name",
     "parameter twice", "remove one"},
    {EXCHANGE PARAMETERS(ONE("p") ", {\"name\": \"p\", \"value\": \"2\", \"leg\": \"first\"}"),
     "$.connections[0].parameters[1].name", "parameter twice", ""},
    {JAG("okta") PARAMETERS(ONE("p") ", {\"name\": \"p\", \"value\": \"2\", \"leg\": \"every\"}"),
     "$.connections[0].parameters[1].name", "parameter twice", ""},
    {EXCHANGE PARAMETERS("{\"name\": \"p\"}"), "$.connections[0].parameters[0]",
     "the key \"value\" is missing", ""},
    {EXCHANGE PARAMETERS("{\"name\": \"p\", \"value\": \"a\\nb\"}"),
     "$.connections[0].parameters[0].value", "not printable", ""},
    {A "\"type\": \"passthrough\"" PARAMETERS(ONE("p")), "$.connections[0].parameters",
     "has no \"parameters\"", ""},
    /* audience and resource */
    {JAG("okta") ", \"audience\": \"x\"", "$.connections[0].audience", "not an absolute URI", ""},
    {EXCHANGE ", \"resource\": [\"https://x.example\", \"x\"]", "$.connections[0].resource[1]",
     "not an absolute URI", ""},
    {EXCHANGE ", \"audience\": [\"x\", \"x\"]", "$.connections[0].audience[1]", "stands here twice",
     "remove one"},
    {JAG("okta") ", \"audience\": [\"urn:a\", \"urn:b\"]", "$.connections[0].audience[1]",
     "one audience alone", "keep one"},
    {CLIENT ", \"resource\": [\"urn:a\", \"urn:b\"]", "$.connections[0].resource[1]",
     "one resource alone", ""},
    /* types */
    {EXCHANGE ", \"requested_token_type\": \"token\"", "$.connections[0].requested_token_type",
     "not a type of token", "access_token"},
    {EXCHANGE ", \"requested_token_type\": \"auto\"", "$.connections[0].requested_token_type",
     "no type that can be asked for", "leave it out"},
    {JAG("kc") ", \"requested_token_type\": \"saml2\"", "$.connections[0].requested_token_type",
     "cannot present", "\"jwt\""},
    {JAG("kc") ", \"requested_token_type\": \"jwt\", \"dpop\": \"bound_id_jag\"",
     "$.connections[0].requested_token_type", "wants an ID-JAG", ""},
    {EXCHANGE ", \"subject\": {\"type\": \"token\"}", "$.connections[0].subject.type",
     "not a type of token", ""},
    {EXCHANGE ", \"grant_type\": \"client_credentials\"", "$.connections[0].grant_type",
     "not an absolute URI", ""},
    {JAG("kc") ", \"grant_type\": \"urn:x:y\"", "$.connections[0].grant_type",
     "has no \"grant_type\"", ""},
    {EXCHANGE ", \"requested_token_use\": \"none\"", "$.connections[0].requested_token_use",
     "has no \"requested_token_use\"", ""},
    {EXCHANGE ", \"reuse_id_jag\": true", "$.connections[0].reuse_id_jag",
     "has no \"reuse_id_jag\"", ""},
    {CLIENT ", \"requested_token_type\": \"jwt\"", "$.connections[0].requested_token_type",
     "has no \"requested_token_type\"", ""},
    {EXCHANGE ", \"dpop\": \"bound_id_jag\"", "$.connections[0].dpop", "no ID-JAG", ""},
    /* scopes */
    {EXCHANGE ", \"scopes\": [\"a,b\"], \"scope_separator\": \"comma\"",
     "$.connections[0].scopes[0]", "no comma", "its own string"},
    {EXCHANGE ", \"scopes\": [\"a\", \"a\"]", "$.connections[0].scopes[1]", "twice", ""},
    /* actors */
    {EXCHANGE ", \"actor\": {}", "$.connections[0].actor", "the key \"from\" is missing", ""},
    {EXCHANGE ", \"actor\": {\"from\": \"assertion\", \"scopes\": [\"a\"]}",
     "$.connections[0].actor.scopes", "has no \"scopes\"", ""},
    {EXCHANGE ", \"actor\": {\"from\": \"assertion\", \"type\": \"auto\"}",
     "$.connections[0].actor.type", "sent with its type", ""},
    {A "\"type\": \"token_exchange\", \"authorization_server\": \"kc\", "
       "\"actor\": {\"from\": \"assertion\"}",
     "$.connections[0].actor.from", "has no key there", "client_credentials"},
    {"\"agents\": [\"a\", \"bare\"], \"type\": \"token_exchange\", "
     "\"actor\": {\"from\": \"assertion\"}",
     "$.connections[0].actor.from", "\"bare\" has no key there", ""},
    {BEHALF ", \"actor\": {\"from\": \"client_credentials\"}", "$.connections[0].actor",
     "has no \"actor\"", ""},
    /* subjects */
    {CLIENT ", \"subject\": {\"from\": \"authorization\"}", "$.connections[0].subject",
     "has no \"subject\"", "acts for itself"},
    {CLIENT ", \"without_subject\": \"forward\"", "$.connections[0].without_subject",
     "has no \"without_subject\"", ""},
    {BEGIN("a", "\"client_id\": \"s\", " NONE), "$.connections[0].subject",
     "\"authorization_server\" is missing", ""},
    {BEGIN("a", "\"authorization_server\": \"kc\", \"client_id\": \"s\""),
     "$.connections[0].subject", "\"auth\" is missing", ""},
    {BEGIN("a", "\"authorization_server\": \"no\", \"client_id\": \"s\", " NONE),
     "$.connections[0].subject.authorization_server", "no authorization server of this name", ""},
    {BEGIN("a", "\"authorization_server\": \"kc\", \"client_id\": \"c\", " NONE),
     "$.connections[0].subject.client_id", "cannot begin a call to itself", ""},
    {BEGIN("bare", "\"authorization_server\": \"kc\", \"client_id\": \"s\", " NONE),
     "$.connections[0].subject.from", "has no resource", "\"resource\""},
    {BEGIN("a", "\"authorization_server\": \"kc\", \"client_id\": \"s\", \"name\": \"X\", " NONE),
     "$.connections[0].subject.name", "has no \"name\"", ""},
    {BEGIN("a", "\"authorization_server\": \"kc\", \"client_id\": \"s\", " NONE
                ", \"scopes\": [\"openid\"]"),
     "$.connections[0].subject.scopes[0]", "system scope", ""},
    {BEGIN(
         "a",
         "\"authorization_server\": \"kc\", \"client_id\": \"s\", " NONE) ", \"without_subject\": \"forward\"",
     "$.connections[0].without_subject", "gets the subject token itself", ""},
    {EXCHANGE ", \"subject\": {\"client_id\": \"s\", \"from\": \"header\", \"name\": \"X\"}",
     "$.connections[0].subject.client_id", "has no \"client_id\"", ""},
    {EXCHANGE ", \"subject\": {\"authorization_server\": \"kc\"}",
     "$.connections[0].subject.authorization_server", "is not asked", "client_credentials"},
};

static void test_mistakes(void **state)
{
    (void)state;
    unsigned failed = 0;
    for (size_t i = 0; i < TH_COUNT_OF(mistakes_of); i++) {
        char *text = file_with(mistakes_of[i].rest);
        if (!test_mistake_is_found(&mistakes_of[i], i, text, folder))
            failed++;
        free(text);
    }
    assert_int_equal(failed, 0);
}

/* Whatever changes what is got changes the cache's key. */
static void test_version(void **state)
{
#define BASE EXCHANGE ", \"audience\": \"x\""
    static const char *const others[] = {
        BASE,
        EXCHANGE ", \"audience\": [\"x\", \"y\"]",
        EXCHANGE ", \"resource\": \"urn:x\"",
        BASE ", \"resource\": \"urn:x\"",
        BASE ", \"requested_token_type\": \"jwt\"",
        BASE ", \"grant_type\": \"urn:x:y\"",
        BASE ", \"scopes\": [\"a\", \"b\"]",
        BASE ", \"scopes\": [\"a\", \"b\"], \"scope_separator\": \"comma\"",
        BASE ", \"subject\": {\"type\": \"jwt\"}",
        BASE ", \"subject\": {\"type\": \"saml2\"}",
        BASE ", \"actor\": {\"from\": \"assertion\"}",
        BASE ", \"actor\": {\"from\": \"client_credentials\"}",
        BASE ", \"actor\": {\"from\": \"client_credentials\", \"scopes\": [\"a\"]}",
        BASE PARAMETERS(ONE("p")),
        BASE PARAMETERS(ONE("q")),
        BASE PARAMETERS(ONE("p") ", " ONE("q")),
        BASE ", \"issued_checks\": {\"type\": false}",
        CLIENT ", \"audience\": \"x\"",
        BEHALF ", \"audience\": \"x\"",
        BEHALF ", \"audience\": \"x\", \"requested_token_use\": \"none\"",
        BEGIN("a", "\"authorization_server\": \"kc\", \"client_id\": \"s\", " NONE),
        BEGIN("a", "\"authorization_server\": \"kc\", \"client_id\": \"t\", " NONE),
    };
    uint8_t versions[TH_COUNT_OF(others)][16];
    for (size_t i = 0; i < TH_COUNT_OF(others); i++) {
        struct th_config *config = load(others[i]);
        memcpy(versions[i], connection_of(config)->version, 16);
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(versions[i], versions[k], 16);
        th_config_unref(config);
    }
}

static int make_folder(void **state)
{
    folder = test_folder_new();
    test_write_pem(folder, "key.pem", 0, "P-256");
    return 0;
}

static int remove_folder(void **state)
{
    test_folder_remove(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token_exchange), cmocka_unit_test(test_subject_types),
        cmocka_unit_test(test_actor),          cmocka_unit_test(test_on_behalf_of),
        cmocka_unit_test(test_own_subjects),   cmocka_unit_test(test_second_leg),
        cmocka_unit_test(test_mistakes),       cmocka_unit_test(test_version),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
