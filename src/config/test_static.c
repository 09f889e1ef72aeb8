/* Credentials and subject tokens that stand in files: what of them reaches the model, and what is a mistake
 * there and not of a request. */
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
#include "tokenhop/base/secret.h"
#include "tokenhop/config/load.h"

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
            "\"authorization_servers\": {\"org\": {\"issuer\": \"https://example.okta.com\"}},\n"
            "\"agents\": {\"a\": {\"client_id\": \"c\", \"auth\": {\"method\": \"none\"},\n"
            "  \"authorization_server\": \"org\"}},\n"
            "\"connections\": [{\"name\": \"x\", \"url\": \"https://x.example/\",\n"
            "  \"agents\": [\"a\"], %s}]}",
            rest) > 0);
    return text;
}

#define STATIC "\"type\": \"static\", "
#define PASSTHROUGH "\"type\": \"passthrough\""
#define SUBJECT                                                                                    \
    "\"type\": \"authorization_server\", \"authorization_server\": \"org\", \"subject\": "
#define ACTOR "\"type\": \"token_exchange\", \"authorization_server\": \"org\", \"actor\": "
#define TEMPLATE(text) "\"inject\": {\"header\": \"X-Key\", \"template\": \"" text "\"}"
#define BASIC "\"inject\": {\"scheme\": \"basic\"}"
#define PAIR(user)                                                                                 \
    STATIC BASIC ", \"values\": {\"username\": {\"file\": \"" user                                 \
                 "\"}, \"password\": {\"file\": \"key\"}}"

static const struct test_mistake mistakes_of[] = {
    /* where it comes from */
    {"\"type\": \"static\"", "$.connections[0]",
     "one of the keys \"value_file\", \"value\" and \"values\" is missing", ""},
    {STATIC "\"value_file\": \"key\", \"value\": {\"env\": \"TEST_KEY\"}", "$.connections[0].value",
     "\"value_file\" and \"value\" exclude each other", "keep one"},
    {STATIC TEMPLATE(
         "{value}") ", \"value_file\": \"key\", \"values\": {\"k\": {\"file\": \"key\"}}",
     "$.connections[0].values", "exclude each other", ""},
    {STATIC "\"value_file\": \"nowhere\"", "$.connections[0].value_file", "cannot be found", ""},
    {STATIC "\"value_file\": \"open\"", "$.connections[0].value_file", "others than its owner",
     "chmod 600"},
    {STATIC "\"value\": {\"env\": \"TEST_NO_SUCH\"}", "$.connections[0].value.env", "not set", ""},
    {STATIC TEMPLATE("{k}") ", \"values\": {\"k\": {\"file\": \"open\"}}",
     "$.connections[0].values.k.file", "others than its owner", "chmod 600"},
    {STATIC TEMPLATE("{k}") ", \"values\": {\"k\": {\"env\": \"TEST_NO_SUCH\"}}",
     "$.connections[0].values.k.env", "not set", ""},
    {STATIC TEMPLATE("{k}") ", \"values\": {\"k\": {}}", "$.connections[0].values.k",
     "one of the keys \"file\" and \"env\" is missing", ""},
    {STATIC TEMPLATE("{k}") ", \"values\": {\"k\": \"hunter2\"}", "$.connections[0].values.k",
     "an object is wanted", ""},
    {STATIC TEMPLATE("{k}") ", \"values\": {}", "$.connections[0].values", "at least 1", ""},
    /* what is in it */
    {STATIC "\"value_file\": \"empty\"", "$.connections[0].value_file", "is empty", "alone"},
    {STATIC "\"value_file\": \"lines\"", "$.connections[0].value_file", "control character",
     "on one line"},
    {STATIC "\"value_file\": \"spaced\"", "$.connections[0]", "no bearer token has", ""},
    {STATIC TEMPLATE("{value}") ", \"value_file\": \"spaced\"", "$.connections[0].inject",
     "a space at one of its ends", ""},
    {STATIC TEMPLATE("{value}{value}") ", \"value_file\": \"large\"", "$.connections[0].inject",
     "longer than 64 KiB", ""},
    /* what becomes of it */
    {STATIC "\"values\": {\"k\": {\"file\": \"key\"}}", "$.connections[0]", "one token",
     "value_file"},
    {STATIC TEMPLATE("{kee}") ", \"values\": {\"key\": {\"file\": \"key\"}}",
     "$.connections[0].inject", "no value of the name \"kee\"", "\"values\""},
    {STATIC TEMPLATE("{key}") ", \"value_file\": \"key\"", "$.connections[0].inject",
     "no value of the name \"key\"", ""},
    {STATIC BASIC ", \"values\": {\"username\": {\"file\": \"key\"}}", "$.connections[0].inject",
     "no value of the name \"password\"", ""},
    {PAIR("colon"), "$.connections[0].inject", "a colon", ""},
    {PAIR("large"), "$.connections[0].inject", "longer than 32 KiB", ""},
    /* what these types have not */
    {STATIC "\"value_file\": \"key\", \"resource\": \"r\"", "$.connections[0].resource",
     "the type \"static\" has no \"resource\"", "nothing is exchanged"},
    {STATIC "\"value_file\": \"key\", \"subject\": {\"from\": \"authorization\"}",
     "$.connections[0].subject", "the type \"static\" has no \"subject\"", ""},
    {STATIC "\"value_file\": \"key\", \"without_subject\": \"forward\"",
     "$.connections[0].without_subject", "has no \"without_subject\"", ""},
    {PASSTHROUGH ", \"scopes\": [\"a\"]", "$.connections[0].scopes",
     "the type \"passthrough\" has no \"scopes\"", "as the caller sent it"},
    {PASSTHROUGH ", \"subject\": {\"from\": \"header\", \"name\": \"X\"}",
     "$.connections[0].subject", "has no \"subject\"", ""},
    {PASSTHROUGH ", \"inject\": {\"scheme\": \"bearer\"}", "$.connections[0].inject",
     "has no \"inject\"", ""},
    {PASSTHROUGH ", \"value_file\": \"key\"", "$.connections[0].value_file",
     "has no \"value_file\"", ""},
    {"\"type\": \"authorization_server\", \"authorization_server\": \"org\", \"value_file\": \"key\"",
     "$.connections[0].value_file", "has no \"value_file\"", "by an exchange"},
    /* subject.file */
    {SUBJECT "{\"from\": \"file\"}", "$.connections[0].subject", "the key \"file\" is missing", ""},
    {SUBJECT "{\"file\": \"key\"}", "$.connections[0].subject.file", "not looked at",
     "\"from\": \"file\""},
    {SUBJECT "{\"from\": \"authorization\", \"file\": \"key\"}", "$.connections[0].subject.file",
     "has no \"file\"", ""},
    {SUBJECT "{\"from\": \"header\", \"name\": \"X\", \"file\": \"key\"}",
     "$.connections[0].subject.file", "has no \"file\"", ""},
    {SUBJECT "{\"from\": \"file\", \"name\": \"X\", \"file\": \"key\"}",
     "$.connections[0].subject.name", "has no \"name\"", ""},
    {SUBJECT "{\"from\": \"file\", \"file\": \"nowhere\"}", "$.connections[0].subject.file",
     "cannot be found", ""},
    {SUBJECT "{\"from\": \"file\", \"file\": \"open\"}", "$.connections[0].subject.file",
     "others than its owner", "chmod 600"},
    {SUBJECT "{\"from\": \"file\", \"file\": \"empty\"}", "$.connections[0].subject.file",
     "not a token", "alone"},
    {SUBJECT "{\"from\": \"file\", \"file\": \"lines\"}", "$.connections[0].subject.file",
     "not a token", "on one line"},
    /* actor.file */
    {ACTOR "{\"from\": \"file\"}", "$.connections[0].actor", "the key \"file\" is missing", ""},
    {ACTOR "{\"from\": \"file\", \"file\": \"lines\"}", "$.connections[0].actor.file",
     "not a token", "on one line"},
    {ACTOR "{\"from\": \"file\", \"file\": \"open\"}", "$.connections[0].actor.file",
     "others than its owner", "chmod 600"},
    {ACTOR "{\"from\": \"client_credentials\", \"file\": \"key\"}", "$.connections[0].actor.file",
     "has no \"file\"", ""},
    {SUBJECT "{\"from\": \"file\", \"file\": \"key\"}, \"without_subject\": \"refuse\"",
     "$.connections[0].without_subject", "no request is without one", "leave it out"},
};

static void test_r16_mistakes(void **state)
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

static void assert_value(const struct th_config_value *value, const char *name, const char *text)
{
    assert_true(th_str_equal(value->name, th_str_of(name)));
    assert_true(th_str_equal(th_secret_expose(value->secret), th_str_of(text)));
}

static void test_static(void **state)
{
    struct th_config *config = load(STATIC "\"value_file\": \"key\"");
    const struct th_config_connection *c = connection_of(config);
    assert_int_equal(c->type, TH_TYPE_STATIC);
    assert_int_equal(c->n_values, 1);
    assert_value(&c->values[0], "value", "hunter2");
    assert_int_equal(c->inject.scheme, TH_INJECT_BEARER);
    assert_null(c->subject_token);
    th_config_unref(config);

    config = load(STATIC "\"value\": {\"env\": \"TEST_KEY\"}, " TEMPLATE("key={value}"));
    assert_value(&connection_of(config)->values[0], "value", "of the environment");
    th_config_unref(config);

    config = load(STATIC TEMPLATE("{b}:{a}:{b}") ", \"values\": {\"a\": {\"file\": \"key\"}, "
                                                 "\"b\": {\"env\": \"TEST_KEY\"}, "
                                                 "\"unused\": {\"file\": \"key\"}}");
    c = connection_of(config);
    assert_int_equal(c->n_values, 3);
    assert_value(&c->values[0], "a", "hunter2");
    assert_value(&c->values[1], "b", "of the environment");
    th_config_unref(config);

    config = load(PAIR("key"));
    assert_int_equal(connection_of(config)->inject.scheme, TH_INJECT_BASIC);
    th_config_unref(config);
    assert_int_equal(th_secret_bytes_held(), 0);
}

static void test_passthrough(void **state)
{
    struct th_config *config = load(PASSTHROUGH ", \"without_subject\": \"forward\"");
    const struct th_config_connection *c = connection_of(config);
    assert_int_equal(c->type, TH_TYPE_PASSTHROUGH);
    assert_int_equal(c->without_subject, TH_WITHOUT_SUBJECT_FORWARD);
    assert_int_equal(c->n_values, 0);
    assert_true(c->inject.is_authorization);
    th_config_unref(config);
}

static void test_subject_file(void **state)
{
    struct th_config *config = load(SUBJECT "{\"from\": \"file\", \"file\": \"key\"}");
    const struct th_config_connection *c = connection_of(config);
    assert_true(th_str_equal(th_secret_expose(c->subject_token), TH_STR("hunter2")));
    assert_int_equal(c->subject_header.len, 0);
    th_config_unref(config);
}

static void test_actor_file(void **state)
{
    struct th_config *config = load(ACTOR "{\"from\": \"file\", \"file\": \"key\"}");
    const struct th_config_actor *actor = &connection_of(config)->actor;
    assert_int_equal(actor->source, TH_ACTOR_FILE);
    assert_true(th_str_equal(th_secret_expose(actor->token), TH_STR("hunter2")));
    assert_true(th_str_equal(actor->token_type, TH_STR("urn:ietf:params:oauth:token-type:jwt")));
    th_config_unref(config);
}

/* Each with the mark that it had before it was read; what is not there is noted too. */
static void test_read_files_are_noted(void **state)
{
    struct th_config *config =
        load(STATIC TEMPLATE("{a}{b}") ", \"values\": {\"a\": {\"file\": \"key\"}, "
                                       "\"b\": {\"file\": \"large\"}, "
                                       "\"c\": {\"env\": \"TEST_KEY\"}}");
    size_t n = 0;
    for (const struct th_config_file *file = th_config_get(config)->read_files; file != NULL;
         file = file->next) {
        struct th_file_mark now;
        th_file_mark_take(file->path.ptr, &now);
        assert_true(file->mark.exists && th_file_mark_is_alike(&file->mark, &now));
        n++;
    }
    assert_int_equal(n, 2);
    assert_int_equal(th_config_get(config)->files.watch_ms, 2000);
    th_config_unref(config);
}

static int make_folder(void **state)
{
    static char large[40000];
    folder = test_folder_new();
    memset(large, 'x', sizeof(large) - 1);
    test_write_file(folder, "key", "hunter2\n", 0600);
    test_write_file(folder, "open", "hunter2", 0644);
    test_write_file(folder, "empty", "\n", 0600);
    test_write_file(folder, "lines", "hunter2\nhunter2\n", 0600);
    test_write_file(folder, "spaced", "hunter2 \n", 0600);
    test_write_file(folder, "colon", "hunter2:", 0600);
    test_write_file(folder, "large", large, 0600);
    setenv("TEST_KEY", "of the environment", 1);
    return 0;
}

static int remove_folder(void **state)
{
    test_folder_remove(folder);
    assert_int_equal(th_secret_bytes_held(), 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_r16_mistakes), cmocka_unit_test(test_static),
        cmocka_unit_test(test_passthrough),  cmocka_unit_test(test_subject_file),
        cmocka_unit_test(test_actor_file),   cmocka_unit_test(test_read_files_are_noted),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
