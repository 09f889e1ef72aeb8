/* Each allocation of a run of loading fails in turn: a clean TH_E_NOMEM, no leak, no crash. Leaks are
 * seen by the address sanitizer's build, those of secrets here. Needs -Dfail_alloc=true. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>

#include "test_support.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/secret.h"
#include "tokenhop/config/load.h"

static const char good[] =
    "{\"listeners\": [{\"name\": \"in\", \"address\": \"127.0.0.1:8080\", \"agent\": \"a\"}],\n"
    " \"authorization_servers\": {\"org\": {\"issuer\": \"https://example.okta.com\"},\n"
    "   \"custom\": {\"issuer\": \"https://example.okta.com/oauth2/aus1\"}},\n"
    " \"agents\": {\"a\": {\"client_id\": \"wlp1\", \"authorization_server\": \"org\",\n"
    "   \"auth\": {\"method\": \"private_key_jwt\", \"key_file\": \"ec.pem\", \"kid\": \"k\",\n"
    "   \"alg\": \"ES256\"}, \"linked_client_ids\": [\"x\"], \"registrations\": {\"custom\":\n"
    "   {\"client_id\": \"y\", \"auth\": {\"method\": \"private_key_jwt\", \"kid\": \"k\",\n"
    "   \"key_file\": \"ec.jwk\", \"alg\": \"ES256\", \"next\": {\"kid\": \"n\",\n"
    "   \"key_file\": \"ec.pem\", \"alg\": \"ES256\"}}}}},\n"
    "   \"b\": {\"client_id\": \"z\", \"authorization_server\": \"org\", \"auth\":\n"
    "   {\"method\": \"client_secret_basic\", \"secret_file\": \"secret\"}}},\n"
    " \"connections\": [{\"name\": \"c\", \"url\": [\"https://a.example\", \"https://[fd00::1]/x\"],\n"
    "   \"type\": \"authorization_server\", \"agents\": [\"a\"], \"scopes\": [\"r\"],\n"
    "   \"authorization_server\": \"custom\"}],\n"
    " \"policy\": [{\"action\": \"deny\", \"agent\": \"a\", \"methods\": [\"PUT\"], \"paths\":\n"
    "   [\"/%c3\"], \"require\": {\"claim\": \"/a~1b\", \"any_of\": [\"x\", 1]}, \"issuer\": \"org\",\n"
    "   \"actors\": {\"only\": [\"y\"]}, \"time\": [{\"to\": \"08:00\", \"zone\": \"UTC\"}]},\n"
    "   {\"name\": \"rest\", \"action\": \"allow\", \"connection\": \"c\"}],\n"
    " \"unmatched\": [{\"url\": \"https://b.example\", \"action\": \"forward\"}],\n"
    " \"egress\": {\"allow\": [\"10.0.0.0/8\"]}, \"log\": {\"access_file\": \"a.jsonl\"}}\n";

static const char bad[] =
    "{\"listeners\": [{\"name\": 1, \"adress\": \"127.0.0.1:8080\", \"agent\": \"b\"}],\n"
    " \"authorization_servers\": {\"org\": {\"issuer\": \"http://example.okta.com\"}},\n"
    " \"agents\": {\"a\": {\"client_id\": \"\", \"authorization_server\": \"orf\",\n"
    "   \"auth\": {\"method\": \"private_key_jwt\", \"key_file\": \"none.pem\"}}},\n"
    " \"connections\": [{\"name\": \"c\", \"url\": \"x\"}], \"unmatched\": 5}\n";

static const char duplicate[] = "{\"workers\": 1, \"workers\": 2}";

#define NEVER 1000000000ul

static char *folder;

/* Fails the nth allocation, and all after it while `count` lasts; false when there was no nth.
*/
static bool load_failing(const char *text, int wanted, unsigned long nth, unsigned long count)
{
    struct th_config_mistakes mistakes;
    struct th_config *config = NULL;
    th_mem_fail_after(nth, count);
    int r = th_config_load_text(th_str_of(text), folder, &config, &mistakes);
    bool reached = th_mem_count() >= nth;
    th_mem_fail_after(0, 0);
    if (r != (reached ? TH_E_NOMEM : wanted))
        fail_msg("allocation %lu: %d", nth, r);
    if (r == 0) {
        th_config_unref(config);
    } else {
        assert_null(config);
    }
    th_config_mistakes_fini(&mistakes);
    assert_int_equal(th_secret_bytes_held(), 0);
    return reached;
}

static void sweep(const char *text, int wanted)
{
#ifndef TH_FAIL_ALLOC
    skip();
#endif
    unsigned long n = 0;
    (void)load_failing(text, wanted, NEVER, 1);
    for (unsigned long count = 1; count <= 1000000; count *= 1000000) {
        for (n = 1; load_failing(text, wanted, n, count); n++)
            ;
    }
    assert_true(n > 10);
}

static void test_good(void **state)
{
    sweep(good, 0);
}

static void test_bad(void **state)
{
    sweep(bad, TH_E_CONFIG);
}

static void test_duplicate(void **state)
{
    (void)load_failing(duplicate, TH_E_CONFIG, NEVER, 1);
#ifdef TH_FAIL_ALLOC
    for (unsigned long n = 1; load_failing(duplicate, TH_E_CONFIG, n, 1); n++)
        ;
#endif
}

static void test_written(void **state)
{
    int (*const writers[])(struct th_buf *) = {th_config_write_schema, th_config_write_reference};
    for (size_t i = 0; i < 2; i++) {
        struct th_buf whole, buf;
        bool reached = true;
        th_buf_init(&whole, 1 << 20);
        assert_int_equal(writers[i](&whole), 0);
        th_buf_init(&buf, whole.len - 1); /* too small by one byte is as bad as no memory */
        assert_int_equal(writers[i](&buf), TH_E_NOMEM);
        th_buf_fini(&buf);
#ifndef TH_FAIL_ALLOC
        reached = false;
#endif
        for (unsigned long n = 1; reached; n++) {
            th_buf_init(&buf, 1 << 20);
            th_mem_fail_after(n, 1);
            int r = writers[i](&buf);
            reached = th_mem_count() >= n;
            th_mem_fail_after(0, 0);
            if (r != TH_E_NOMEM) { /* jansson can do without some */
                assert_int_equal(r, 0);
                assert_true(th_str_equal(th_buf_str(&buf), th_buf_str(&whole)));
            }
            th_buf_fini(&buf);
        }
        th_buf_fini(&whole);
    }
}

static int make_folder(void **state)
{
    json_set_alloc_funcs(th_malloc, th_free);
    folder = test_folder_new();
    test_write_pem(folder, "ec.pem", 0, "P-256");
    test_write_jwk(folder, "ec.jwk", 0, "P-256");
    test_write_file(folder, "secret", "s", 0600);
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
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_duplicate),
        cmocka_unit_test(test_written),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
