/* Loading for whoever must not see the keys: the same model, and nothing read that the file names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "test_support.h"
#include "tokenhop/config/load.h"

/* Every way to name a file or a variable; none of them is there. */
static const char text[] =
    "{\"listeners\": [{\"name\": \"in\", \"address\": \"127.0.0.1:8080\", \"agent\": \"a\"},\n"
    "  {\"name\": \"shared\", \"address\": \"127.0.0.1:8081\"}],\n"
    " \"authorization_servers\": {\"org\": {\"issuer\": \"https://example.okta.com\",\n"
    "   \"ca_file\": \"none/org.pem\"}},\n"
    " \"agents\": {\"a\": {\"client_id\": \"wlp1\", \"authorization_server\": \"org\",\n"
    "   \"dpop_key_file\": \"none/dpop.pem\", \"auth\": {\"method\": \"private_key_jwt\",\n"
    "   \"key_file\": \"none/rsa.pem\", \"kid\": \"k\", \"cert_file\": \"none/rsa.crt\"}},\n"
    "  \"b\": {\"client_id\": \"wlp2\", \"authorization_server\": \"org\", \"auth\":\n"
    "   {\"method\": \"client_secret_post\", \"secret\": {\"env\": \"TEST_UNREAD\"}}}},\n"
    " \"callers\": [{\"name\": \"one\", \"agent\": \"a\",\n"
    "   \"basic\": {\"user\": \"u\", \"password_file\": \"none/one.pw\"}},\n"
    "  {\"name\": \"two\", \"agent\": \"b\", \"bearer\": {\"token\": {\"env\": \"TEST_UNREAD\"}}}],\n"
    " \"connections\": [{\"name\": \"c\", \"url\": \"https://c.example\", \"type\": \"static\",\n"
    "   \"agents\": [\"a\"], \"value_file\": \"none/value\", \"ca_file\": \"none/c.pem\",\n"
    "   \"client_certificate\": {\"cert_file\": \"none/c.crt\", \"key_file\": \"none/c.key\"}}],\n"
    " \"origin\": {\"ca_file\": \"none/o.pem\", \"crl_file\": \"none/o.crl\"},\n"
    " \"interception\": {\"cert_file\": \"none/ca.pem\", \"key_file\": \"none/ca.key\"}}\n";

static void test_nothing_is_read(void **state)
{
    struct th_config_mistakes mistakes;
    struct th_config *config = NULL;
    char path[4200], wanted[4200];
    char *folder = test_folder_new();

    (void)snprintf(path, sizeof path, "%s/file", folder);
    test_write_file(folder, "file", text, 0600);
    assert_int_equal(unsetenv("TEST_UNREAD"), 0);
    assert_int_equal(th_config_load(path, &config, &mistakes), TH_E_CONFIG);
    assert_true(mistakes.count >= 9);
    th_config_mistakes_fini(&mistakes);

    int error = th_config_load_without_files(path, &config, &mistakes);
    if (error < 0)
        th_config_mistakes_print(&mistakes, "file", stderr);
    assert_int_equal(error, 0);
    th_config_mistakes_fini(&mistakes);
    const struct th_config_view *view = th_config_get(config);
    assert_int_equal(view->n_listeners, 2);
    assert_int_equal(view->n_connections, 1);
    assert_null(view->read_files);
    assert_string_equal(view->secret_variables->name.ptr, "TEST_UNREAD");
    assert_string_equal(view->secret_variables->next->name.ptr, "TEST_UNREAD");
    assert_null(view->secret_variables->next->next);
    assert_null(view->agents[0].auth.key);
    assert_null(view->interception.key);
    assert_int_equal(view->interception.certificates.len, 0);
    (void)snprintf(wanted, sizeof wanted, "%s/none/ca.pem", folder);
    assert_string_equal(view->interception.cert_file.ptr, wanted);
    (void)snprintf(wanted, sizeof wanted, "%s/none/one.pw", folder);
    assert_string_equal(view->callers[0].proof_file.ptr, wanted);
    assert_int_equal(view->callers[0].proof_variable.len, 0);
    assert_string_equal(view->callers[1].proof_variable.ptr, "TEST_UNREAD");
    assert_int_equal(view->callers[1].proof_file.len, 0);
    th_config_unref(config);
    test_folder_remove(folder);
}

/* Mistakes of the file itself are still found. */
static void test_mistakes_are_found(void **state)
{
    struct th_config_mistakes mistakes;
    struct th_config *config = NULL;
    char path[4200];
    char *folder = test_folder_new();

    (void)snprintf(path, sizeof path, "%s/file", folder);
    test_write_file(folder, "file", "{\"listeners\": [], \"agent\": {}}", 0600);
    assert_int_equal(th_config_load_without_files(path, &config, &mistakes), TH_E_CONFIG);
    assert_true(mistakes.count >= 1);
    th_config_mistakes_fini(&mistakes);
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_read),
        cmocka_unit_test(test_mistakes_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
