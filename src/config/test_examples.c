/* Every example of config/ loads once the files that it names are there. They are made here, beside a
 * copy of the example, as the example's own words ask for. usage: test_config_examples FOLDER */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <glob.h>
#include <jansson.h>

#include "source.h"
#include "test_support.h"
#include "tokenhop/base/check.h"
#include "tokenhop/config/load.h"

static const char *examples;

static void make_key(const char *folder, const json_t *auth)
{
    const char *name = json_string_value(json_object_get(auth, "key_file"));
    const char *env = json_string_value(json_object_get(json_object_get(auth, "key"), "env"));
    const char *alg = json_string_value(json_object_get(auth, "alg"));
    bool ec = alg != NULL && strcmp(alg, "ES256") == 0;
    char path[600];
    size_t len;
    if (name != NULL && name[0] == '/')
        fail_msg("examples name files relative to their own folder, not %s", name);
    if (name != NULL)
        test_write_pem(folder, name, ec ? 0 : 2048, "P-256");
    if (env == NULL)
        return;
    test_write_pem(folder, "env.pem", ec ? 0 : 2048, "P-256");
    snprintf(path, sizeof(path), "%s/env.pem", folder);
    char *pem = test_read_file(path, &len);
    setenv(env, pem, 1);
    free(pem);
}

/* Walks the example for the files that it names. */
static void make_files(const char *folder, const json_t *json)
{
    const char *name;
    json_t *value;
    size_t i;
    if (json_object_get(json, "cert_file") != NULL)
        test_write_authority(folder, json_string_value(json_object_get(json, "cert_file")),
                             json_string_value(json_object_get(json, "key_file")));
    else if (json_is_object(json) &&
             (json_object_get(json, "key_file") != NULL || json_object_get(json, "key") != NULL))
        make_key(folder, json);
    json_object_foreach((json_t *)json, name, value)
    {
        if (strcmp(name, "ca_file") == 0)
            test_write_certificate(folder, json_string_value(value));
        if ((strcmp(name, "file") == 0 || strcmp(name, "value_file") == 0 ||
             strcmp(name, "password_file") == 0) &&
            json_is_string(value))
            test_write_file(folder, json_string_value(value), "a-token-or-secret\n", 0600);
        make_files(folder, value);
    }
    json_array_foreach(json, i, value) make_files(folder, value);
}

static void check_example(const char *path)
{
    struct th_config_mistakes mistakes;
    struct th_config *config = NULL;
    struct th_source source;
    char copy[600];
    size_t len;
    char *folder = test_folder_new(), *text = test_read_file(path, &len);
    test_write_file(folder, "example.jsonc", text, 0644);
    th_source_init(&source, (struct th_str){text, len});
    if (th_source_scan(&source) != 0)
        fail_msg("%s: %s", path, source.error_what);
    json_t *json = json_loadb(source.blanked, len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    make_files(folder, json);
    json_decref(json);
    th_source_fini(&source);
    free(text);

    snprintf(copy, sizeof(copy), "%s/example.jsonc", folder);
    int r = th_config_load(copy, &config, &mistakes);
    th_config_mistakes_print(&mistakes, path, stderr);
    assert_int_equal(r, 0);
    assert_true(th_config_get(config)->n_connections > 0);
    th_config_unref(config);
    th_config_mistakes_fini(&mistakes);
    test_folder_remove(folder);
}

static void test_examples(void **state)
{
    char pattern[600];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/*.jsonc", examples);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_true(found.gl_pathc >= 2);
    for (size_t i = 0; i < found.gl_pathc; i++)
        check_example(found.gl_pathv[i]);
    globfree(&found);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_examples)};
    TH_REQUIRE(argc == 2);
    examples = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
