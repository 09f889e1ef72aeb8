/* The sections of the admin listener and of telemetry: what they become, and their mistakes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokenhop/config/load.h"

#include <stdio.h>
#include <stdlib.h>

#include "test_support.h"

static char *folder;

/* `admin`: what follows "admin": in the file, further members too. */
static int load(const char *admin, struct th_config **ret_config,
                struct th_config_mistakes *mistakes)
{
    char text[2048];
    int len =
        snprintf(text, sizeof(text),
                 "{\"listeners\": [{\"name\": \"in\", \"address\": \"127.0.0.1:8080\",\n"
                 "  \"agent\": \"a\"}],\n"
                 " \"authorization_servers\": {\"org\": {\"issuer\": \"https://x.okta.com\"}},\n"
                 " \"agents\": {\"a\": {\"client_id\": \"w\", \"authorization_server\": \"org\",\n"
                 "  \"auth\": {\"method\": \"none\"}}}%s%s}\n",
                 admin[0] != '\0' ? ",\n \"admin\": " : "", admin);
    return th_config_load_text((struct th_str){text, (size_t)len}, folder, ret_config, mistakes);
}

static struct th_config *load_well(const char *admin)
{
    struct th_config_mistakes mistakes;
    struct th_config *config = NULL;
    int error = load(admin, &config, &mistakes);
    if (error != 0)
        fail_msg("%s: %s", admin, mistakes.count > 0 ? mistakes.items[0].what : "no mistake");
    th_config_mistakes_fini(&mistakes);
    return config;
}

static void assert_str(struct th_str text, const char *wanted)
{
    assert_true(th_str_equal(text, th_str_of(wanted)));
}

static void unless_said_there_is_none(void **state)
{
    struct th_config *config = load_well("");
    assert_int_equal(th_config_get(config)->admin.address_text.len, 0);
    assert_null(th_config_get(config)->admin.token);
    th_config_unref(config);
}

static void a_unix_socket(void **state)
{
    char wanted[512];
    struct th_config *config =
        load_well("{\"address\": \"unix:sub/admin.sock\", \"mode\": \"0660\"}");
    const struct th_config_admin *admin = &th_config_get(config)->admin;
    snprintf(wanted, sizeof(wanted), "%s/sub/admin.sock", folder);
    assert_str(admin->path, wanted);
    assert_int_equal(admin->address.ss_family, AF_UNIX);
    assert_true(admin->for_group);
    assert_null(admin->token);
    th_config_unref(config);

    config = load_well("{\"address\": \"unix:/run/x.sock\"}");
    assert_str(th_config_get(config)->admin.path, "/run/x.sock");
    assert_false(th_config_get(config)->admin.for_group);
    th_config_unref(config);
}

static void addresses(void **state)
{
    struct th_config *config =
        load_well("{\"address\": \"0.0.0.0:9901\", \"token_file\": \"admin.token\"}");
    const struct th_config_admin *admin = &th_config_get(config)->admin;
    assert_int_equal(admin->path.len, 0);
    assert_int_equal(admin->address.ss_family, AF_INET);
    assert_str(th_secret_expose(admin->token), "0123456789abcdef-._~+/==");
    th_config_unref(config);

    assert_int_equal(setenv("TH_TEST_ADMIN", "0123456789abcdefg", 1), 0);
    config = load_well("{\"address\": \"[::]:9901\", \"token\": {\"env\": \"TH_TEST_ADMIN\"}}");
    admin = &th_config_get(config)->admin;
    assert_int_equal(admin->address.ss_family, AF_INET6);
    assert_str(th_secret_expose(admin->token), "0123456789abcdefg");
    th_config_unref(config);

    static const char *const loopback[] = {"127.0.0.1:9901", "127.9.9.9:9901", "[::1]:9901"};
    for (size_t i = 0; i < sizeof(loopback) / sizeof(loopback[0]); i++) {
        char text[64];
        snprintf(text, sizeof(text), "{\"address\": \"%s\"}", loopback[i]);
        th_config_unref(load_well(text));
    }
}

#define WITH "{\"address\": \"unix:a\"}, \"telemetry\": "

static void telemetry(void **state)
{
    struct th_config *config = load_well(WITH "{\"otlp_endpoint\": \"http://127.0.0.1:4318/\"}");
    const struct th_config_telemetry *telemetry = &th_config_get(config)->telemetry;
    assert_str(telemetry->otlp_endpoint, "http://127.0.0.1:4318");
    assert_str(telemetry->service_name, "tokenhop");
    assert_int_equal(telemetry->sample_percent, 100);
    assert_int_equal(telemetry->metrics_interval_ms, 60000);
    assert_null(telemetry->authorization);
    th_config_unref(config);

    config = load_well(WITH "{\"otlp_endpoint\": \"http://collector.example/otlp\",\n"
                            " \"allow_cleartext\": true, \"authorization_file\": \"admin.token\",\n"
                            " \"service_name\": \"edge\", \"sample_percent\": 0,\n"
                            " \"metrics_interval\": \"0s\"}");
    telemetry = &th_config_get(config)->telemetry;
    assert_str(telemetry->otlp_endpoint, "http://collector.example/otlp");
    assert_str(th_secret_expose(telemetry->authorization), "0123456789abcdef-._~+/==");
    assert_str(telemetry->service_name, "edge");
    assert_int_equal(telemetry->sample_percent, 0);
    assert_int_equal(telemetry->metrics_interval_ms, 0);
    th_config_unref(config);

    config = load_well("");
    assert_int_equal(th_config_get(config)->telemetry.otlp_endpoint.len, 0);
    th_config_unref(config);
}

#define LONG "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void mistakes_are_told(void **state)
{
    static const struct {
        const char *admin, *path, *what, *mend;
    } rows[] = {
        {"{}", "$.admin", "the key \"address\" is missing", ""},
        {"{\"address\": \"localhost:9901\"}", "$.admin.address", "not an address in digits", ""},
        {"{\"address\": \"unix:\"}", "$.admin.address", "path", "unix:/run"},
        {"{\"address\": \"unix:/" LONG LONG "\"}", "$.admin.address", "107 bytes", "shorter"},
        {"{\"address\": \"0.0.0.0:9901\"}", "$.admin.address", "nothing guards it", "token_file"},
        {"{\"address\": \"[2001:db8::1]:9901\"}", "$.admin.address", "nothing guards it", ""},
        {"{\"address\": \"127.0.0.1:9901\", \"mode\": \"0600\"}", "$.admin.mode",
         "only a unix socket", "leave it out"},
        {"{\"address\": \"unix:a\", \"mode\": \"0666\"}", "$.admin.mode", "none of the values", ""},
        {"{\"address\": \"unix:a\", \"token_file\": \"nowhere\"}", "$.admin.token_file",
         "cannot be found", ""},
        {"{\"address\": \"unix:a\", \"token_file\": \"open.token\"}", "$.admin.token_file", "",
         "chmod"},
        {"{\"address\": \"unix:a\", \"token_file\": \"short.token\"}", "$.admin.token_file",
         "16 to 256", "openssl rand"},
        {"{\"address\": \"unix:a\", \"token_file\": \"odd.token\"}", "$.admin.token_file",
         "no bearer token has", ""},
        {"{\"address\": \"unix:a\", \"token\": {\"env\": \"TH_TEST_UNSET\"}}", "$.admin.token.env",
         "not set", ""},
        {"{\"address\": \"unix:a\", \"token_file\": \"admin.token\",\n"
         "  \"token\": {\"env\": \"TH_TEST_ADMIN\"}}",
         "$.admin.token", "both are given", ""},
        {WITH "{}", "$.telemetry", "the key \"otlp_endpoint\" is missing", ""},
        {WITH "{\"otlp_endpoint\": \"http://c.example\"}", "$.telemetry.otlp_endpoint", "cleartext",
         "https"},
        {WITH "{\"otlp_endpoint\": \"https://c.example/?a=b\"}", "$.telemetry.otlp_endpoint",
         "query", "leave it out"},
        {WITH "{\"otlp_endpoint\": \"https://c.example\", \"sample_percent\": 101}",
         "$.telemetry.sample_percent", "out of range", ""},
        {WITH "{\"otlp_endpoint\": \"https://c.example\", \"authorization_file\": \"lines.token\"}",
         "$.telemetry.authorization_file", "no Authorization field", "one line"},
    };
    assert_int_equal(setenv("TH_TEST_ADMIN", "0123456789abcdefg", 1), 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct th_config_mistakes mistakes;
        struct th_config *config = NULL;
        assert_int_equal(load(rows[i].admin, &config, &mistakes), TH_E_CONFIG);
        const struct th_config_mistake *mistake = &mistakes.items[0];
        if (mistakes.count != 1 || strcmp(mistake->path, rows[i].path) != 0 ||
            strstr(mistake->what, rows[i].what) == NULL ||
            strstr(mistake->mend, rows[i].mend) == NULL)
            fail_msg("%s: %zu mistakes, the first %s: %s; %s", rows[i].admin, mistakes.count,
                     mistake->path, mistake->what, mistake->mend);
        th_config_mistakes_fini(&mistakes);
    }
}

static int set_up(void **state)
{
    folder = test_folder_new();
    test_write_file(folder, "admin.token", "0123456789abcdef-._~+/==\n", 0600);
    test_write_file(folder, "open.token", "0123456789abcdef\n", 0644);
    test_write_file(folder, "short.token", "0123456789abcde\n", 0600);
    test_write_file(folder, "lines.token", "Bearer a\nb", 0600);
    test_write_file(folder, "odd.token", "0123456789 abcdef\n", 0600);
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
        cmocka_unit_test(unless_said_there_is_none),
        cmocka_unit_test(a_unix_socket),
        cmocka_unit_test(addresses),
        cmocka_unit_test(telemetry),
        cmocka_unit_test(mistakes_are_told),
    };
    return cmocka_run_group_tests_name("config: admin", tests, set_up, tear_down);
}
