/* For unit tests of the rooms below the config room: a snapshot from text, with a key of its own. */
#ifndef TOKENHOP_TESTS_TEST_CONFIG_H
#define TOKENHOP_TESTS_TEST_CONFIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tokenhop/base/check.h"
#include "tokenhop/config/load.h"
#include "tokenhop/oauth/jose.h"

/* Everything but the connections and what a test adds: two agents, an org and a custom server. */
#define TEST_CONFIG_AGENT(client_id, more)                                                         \
    "{ \"client_id\": \"" client_id "\", \"authorization_server\": \"org\"," more                  \
    " \"auth\": { \"method\": \"private_key_jwt\", \"key_file\": \"key.pem\", \"kid\": \"k1\","    \
    " \"alg\": \"ES256\" } }"

#define TEST_CONFIG_BEGIN                                                                          \
    "{ \"listeners\": [ { \"name\": \"agents\", \"address\": \"127.0.0.1:18080\","                 \
    "                     \"mode\": \"forward\", \"agent\": \"agent1\" } ],"                       \
    "\"authorization_servers\": {"                                                                 \
    "  \"org\": { \"issuer\": \"https://example.okta.com\" },"                                     \
    "  \"custom\": { \"issuer\": \"https://example.okta.com/oauth2/aus1\" } },"                    \
    "\"agents\": {"                                                                                \
    "  \"agent1\": " TEST_CONFIG_AGENT(                                                            \
        "wlp1",                                                                                    \
        "\"resource\": \"https://agent1.example.com\","                                            \
        " \"linked_client_ids\": [\"0oaLinked\"],") ","                                            \
                                                    "  \"agent9\": " TEST_CONFIG_AGENT(            \
                                                        "wlp9",                                    \
                                                        "\"resource\": \"https://agent9.example.com\",") "},"

#define TEST_CONFIG(rest) TEST_CONFIG_BEGIN rest "}"

static inline struct th_config *test_config_load(const char *text)
{
    char folder[] = "/tmp/tokenhop-test-XXXXXX", path[64];
    struct th_key *key = NULL;
    struct th_secret *pem = NULL;
    struct th_config *config = NULL;
    struct th_config_mistakes mistakes = {0};

    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/key.pem", folder);
    assert_int_equal(th_key_generate(TH_JWS_ES256, &key), 0);
    assert_int_equal(th_key_to_private_pem(key, &pem), 0);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    struct th_str bytes = th_secret_expose(pem);
    assert_int_equal(fwrite(bytes.ptr, 1, bytes.len, file), bytes.len);
    fclose(file);
    assert_int_equal(chmod(path, 0600), 0);
    if (th_config_load_text(th_str_of(text), folder, &config, &mistakes) != 0)
        th_config_mistakes_print(&mistakes, "test", stderr);
    unlink(path);
    rmdir(folder);
    th_config_mistakes_fini(&mistakes);
    th_secret_unref(pem);
    th_key_unref(key);
    assert_non_null(config);
    return config;
}

#endif
