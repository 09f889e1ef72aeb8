/* The keys of DPoP: a connection's "dpop", an agent's key for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "test_mistake.h"
#include "test_support.h"
#include "tokenhop/base/check.h"
#include "tokenhop/config/load.h"

static char *folder;

/* The text is the caller's to free. */
static char *write_config(const char *agent, const char *connection)
{
    char *text;
    assert_true(
        asprintf(
            &text,
            "{\"listeners\": [{\"name\": \"in\", \"address\": \"127.0.0.1:8080\","
            "                \"agent\": \"a\"}],"
            " \"authorization_servers\": {\"org\": {\"issuer\": \"https://example.okta.com\"}},"
            " \"agents\": {\"a\": {\"client_id\": \"c\", \"authorization_server\": \"org\",%s"
            "   \"auth\": {\"method\": \"private_key_jwt\", \"key_file\": \"agent.pem\","
            "            \"kid\": \"k\", \"alg\": \"ES256\"}}},"
            " \"connections\": [{\"name\": \"b\", \"url\": \"https://b.example/\","
            "   \"agents\": [\"a\"], %s}]}",
            agent, connection) > 0);
    return text;
}

#define TWO_LEGS                                                                                   \
    "\"type\": \"agent_to_agent\", \"authorization_server\": \"org\", \"resource\": "              \
    "\"https://b.example\""
#define ONE_LEG "\"type\": \"resource_server\", \"resource\": \"x\""

static struct th_config *load(const char *agent, const char *connection)
{
    char *text = write_config(agent, connection);
    struct th_config *config = test_config_load(text, folder);
    free(text);
    return config;
}

static void test_unsaid(void **state)
{
    struct th_config *config = load("", TWO_LEGS);
    const struct th_config_view *view = th_config_get(config);
    assert_int_equal(view->connections[0].dpop, TH_DPOP_OFF);
    assert_int_equal(view->agents[0].dpop_key.alg, TH_ALG_ES256);
    assert_null(view->agents[0].dpop_key.key);
    th_config_unref(config);
}

static void test_said(void **state)
{
    static const struct {
        const char *text;
        enum th_dpop dpop;
    } cases[] = {
        {TWO_LEGS ", \"dpop\": \"off\"", TH_DPOP_OFF},
        {TWO_LEGS ", \"dpop\": \"token\"", TH_DPOP_TOKEN},
        {TWO_LEGS ", \"dpop\": \"all_legs\"", TH_DPOP_ALL_LEGS},
        {TWO_LEGS ", \"dpop\": \"bound_id_jag\"", TH_DPOP_BOUND_ID_JAG},
        {TWO_LEGS ", \"dpop\": \"token\", \"inject\": {\"scheme\": \"bearer\"}", TH_DPOP_TOKEN},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_config *config = load("", cases[i].text);
        assert_int_equal(th_config_get(config)->connections[0].dpop, cases[i].dpop);
        th_config_unref(config);
    }
}

static void test_key(void **state)
{
    static const struct {
        const char *text;
        enum th_signing_alg alg;
        bool has_key;
    } cases[] = {
        {"\"dpop_key_file\": \"dpop.pem\",", TH_ALG_ES256, true},
        {"\"dpop_key_file\": \"dpop.jwk\", \"dpop_alg\": \"ES256\",", TH_ALG_ES256, true},
        {"\"dpop_key\": {\"env\": \"TEST_DPOP_KEY\"},", TH_ALG_ES256, true},
        {"\"dpop_key_file\": \"rsa.pem\", \"dpop_alg\": \"RS256\",", TH_ALG_RS256, true},
        {"\"dpop_key_file\": \"rsa.pem\", \"dpop_alg\": \"PS512\",", TH_ALG_PS512, true},
        {"\"dpop_key_file\": \"ed.pem\", \"dpop_alg\": \"EdDSA\",", TH_ALG_EDDSA, true},
        {"\"dpop_alg\": \"EdDSA\",", TH_ALG_EDDSA, false},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_config *config = load(cases[i].text, TWO_LEGS);
        const struct th_config_dpop_key *key = &th_config_get(config)->agents[0].dpop_key;
        assert_int_equal(key->alg, cases[i].alg);
        assert_int_equal(key->key != NULL, cases[i].has_key);
        th_config_unref(config);
    }
    assert_int_equal(th_secret_bytes_held(), 0);
}

static void test_mistakes(void **state)
{
    static const struct {
        const char *agent, *connection, *path, *what;
    } cases[] = {
        {"", TWO_LEGS ", \"dpop\": \"on\"", "$.connections[0].dpop", "\"off\""},
        {"", ONE_LEG ", \"dpop\": \"token\"", "$.connections[0].dpop", "its one leg goes to"},
        {"",
         TWO_LEGS ", \"dpop\": \"token\", \"inject\": {\"header\": \"X-Token\","
                  " \"template\": \"{access_token}\"}",
         "$.connections[0].dpop", "scheme DPoP"},
        {"\"dpop_key_file\": \"rsa.pem\",", TWO_LEGS, "$.agents.a.dpop_key_file",
         "ES256 signs with a P-256 key"},
        {"\"dpop_key_file\": \"dpop.pem\", \"dpop_alg\": \"RS256\",", TWO_LEGS,
         "$.agents.a.dpop_key_file", "RS256 signs with an RSA key"},
        {"\"dpop_key_file\": \"dpop.pem\", \"dpop_alg\": \"HS256\",", TWO_LEGS,
         "$.agents.a.dpop_alg", "RS256"},
        {"\"dpop_alg\": \"RS256\",", TWO_LEGS, "$.agents.a.dpop_alg", "makes no RSA keys"},
        {"\"dpop_key_file\": \"agent.pem\",", TWO_LEGS, "$.agents.a.dpop_key_file",
         "the key that the agent authenticates with"},
        {"\"dpop_key_file\": \"open.pem\",", TWO_LEGS, "$.agents.a.dpop_key_file", "others"},
        {"\"dpop_key_file\": \"dpop.pem\", \"dpop_key\": {\"env\": \"TEST_DPOP_KEY\"},", TWO_LEGS,
         "$.agents.a.dpop_key", "not from both"},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_config_mistakes mistakes;
        struct th_config *config = NULL;
        char *text = write_config(cases[i].agent, cases[i].connection);
        int error = th_config_load_text(th_str_of(text), folder, &config, &mistakes);
        if (error != TH_E_CONFIG || mistakes.count != 1 ||
            strcmp(mistakes.items[0].path, cases[i].path) != 0 ||
            (strstr(mistakes.items[0].what, cases[i].what) == NULL &&
             strstr(mistakes.items[0].mend, cases[i].what) == NULL)) {
            th_config_mistakes_print(&mistakes, "file", stderr);
            fail_msg("case %zu", i);
        }
        assert_null(config);
        th_config_mistakes_fini(&mistakes);
        free(text);
    }
}

/* What is cached was got under another setting: another version, another key of the cache. */
static void test_version(void **state)
{
    struct th_config *off = load("", TWO_LEGS);
    struct th_config *on = load("", TWO_LEGS ", \"dpop\": \"token\"");
    assert_memory_not_equal(th_config_get(off)->connections[0].version,
                            th_config_get(on)->connections[0].version, 16);
    th_config_unref(off);
    th_config_unref(on);
}

static int make_folder(void **state)
{
    char path[300];
    size_t len;
    folder = test_folder_new();
    test_write_pem(folder, "agent.pem", 0, "P-256");
    test_write_pem(folder, "dpop.pem", 0, "P-256");
    test_write_jwk(folder, "dpop.jwk", 0, "P-256");
    test_write_pem(folder, "rsa.pem", 2048, NULL);
    test_write_ed25519(folder, "ed.pem");
    test_write_file(folder, "open.pem", "x", 0644);
    snprintf(path, sizeof(path), "%s/dpop.pem", folder);
    char *pem = test_read_file(path, &len);
    setenv("TEST_DPOP_KEY", pem, 1);
    free(pem);
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
        cmocka_unit_test(test_unsaid),   cmocka_unit_test(test_said),    cmocka_unit_test(test_key),
        cmocka_unit_test(test_mistakes), cmocka_unit_test(test_version),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
