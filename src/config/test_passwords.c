/* Callers whose passwords and tokens are hashed: what the files become, and their mistakes. */
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

#define HASH_43 "8dnRo34hMBpNfUfocu0oif9uJVNhG0qBKfZ8t.TPOJ1"
#define YESCRYPT "$y$j9T$0123456789abcdefghijk.$" HASH_43
#define BCRYPT "$2b$10$0123456789abcdefghijk.6AHELgeJdhF1ZrsFhcUmNeSxPvOmS9u"
#define SHA256 "$5$0123456789abcdef$prVoEwvAKtMacDpOrflbMt/Y/dACgJtPQEbrYCXdAj6"
#define DIGEST "sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
#define DIGEST_LARGE "sha256:2BB80D537B1DA3E38BD30361AA855686BDE0EACD7162FEF6A25FE97BF527A25B"

static char *folder;

static int setup(void **state)
{
    (void)state;
    folder = test_folder_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_folder_remove(folder);
    return 0;
}

#define USER(name, file)                                                                           \
    "{\"name\": \"" name "\", \"agent\": \"a\", \"basic\": {\"user\": \"" name                     \
    "\", \"password_file\": \"" file "\"}}"
#define ROBOT(name, file)                                                                          \
    "{\"name\": \"" name "\", \"agent\": \"a\", \"bearer\": {\"token_file\": \"" file "\"}}"

static const char *text_of(const char *callers, char room[4096])
{
    char rest[2048];
    (void)snprintf(rest, sizeof rest, "\"callers\": [%s]", callers);
    return test_listener_text("\"address\": \"127.0.0.1:8080\"", ", \"agent\": \"a\"", rest, room);
}

static struct th_config *load(const char *callers)
{
    char room[4096];
    return test_config_load(text_of(callers, room), folder);
}

static const struct th_config_caller *caller_of(const struct th_config *config, size_t i)
{
    assert_true(i < th_config_get(config)->n_callers);
    return &th_config_get(config)->callers[i];
}

static bool is_zero(const uint8_t digest[32])
{
    static const uint8_t zeros[32];
    return memcmp(digest, zeros, sizeof zeros) == 0;
}

static void what_files_become(void **state)
{
    (void)state;
    test_write_file(folder, "plain", "plain-password\n", 0600);
    test_write_file(folder, "both", "# new\n" YESCRYPT "\r\n\n# old\n " DIGEST "\n" BCRYPT, 0600);
    test_write_file(folder, "token", DIGEST_LARGE "\n", 0600);
    test_write_file(folder, "slow", SHA256 "\n", 0600);
    struct th_config *config = load(
        USER("p", "plain") "," USER("u", "both") "," ROBOT("r", "token") "," ROBOT("s", "slow"));
    const struct th_config_view *view = th_config_get(config);

    const struct th_config_caller *caller = caller_of(config, 0);
    assert_int_equal(caller->slow.n + caller->fast.n, 0);
    assert_false(is_zero(caller->digest));

    caller = caller_of(config, 1);
    assert_true(is_zero(caller->digest));
    assert_int_equal(caller->slow.n, 2);
    assert_int_equal(caller->fast.n, 1);
    assert_true(th_str_equal(th_secret_expose(caller->slow.items[0].hash), TH_STR(YESCRYPT)));
    assert_true(th_str_equal(th_secret_expose(caller->slow.items[1].hash), TH_STR(BCRYPT)));
    assert_null(caller->fast.items[0].hash);
    for (size_t i = 0; i < 2; i++) {
        assert_ptr_equal(caller->slow.items[i].caller, caller);
        assert_false(is_zero(caller->slow.items[i].digest));
    }
    assert_memory_not_equal(caller->slow.items[0].digest, caller->slow.items[1].digest, 32);
    assert_false(is_zero(caller->slow.version));

    /* Of the robots only the slow one is held against. */
    assert_int_equal(caller_of(config, 2)->fast.n, 1);
    assert_int_equal(view->slow_bearers.n, 1);
    assert_ptr_equal(view->slow_bearers.items[0].caller, caller_of(config, 3));
    assert_memory_equal(view->slow_bearers.items[0].digest,
                        caller_of(config, 3)->slow.items[0].digest, 32);
    assert_false(is_zero(view->slow_bearers.version));
    th_config_unref(config);
}

/* What is remembered of a password goes by these. */
static void versions_are_of_what_files_say(void **state)
{
    (void)state;
    uint8_t version[32], users[32], line[32];
    test_write_file(folder, "a", YESCRYPT "\n", 0600);
    test_write_file(folder, "b", BCRYPT "\n", 0600);
    struct th_config *config = load(USER("a", "a") "," USER("b", "b"));
    memcpy(version, caller_of(config, 0)->slow.version, sizeof version);
    memcpy(line, caller_of(config, 0)->slow.items[0].digest, sizeof line);
    memcpy(users, th_config_get(config)->users_version, sizeof users);
    assert_memory_not_equal(version, caller_of(config, 1)->slow.version, 32);
    th_config_unref(config);

    /* A comment is nothing. */
    test_write_file(folder, "a", "# " BCRYPT "\n" YESCRYPT "\n", 0600);
    config = load(USER("a", "a") "," USER("b", "b"));
    assert_memory_equal(version, caller_of(config, 0)->slow.version, 32);
    assert_memory_equal(users, th_config_get(config)->users_version, 32);
    th_config_unref(config);

    test_write_file(folder, "a", BCRYPT "\n" YESCRYPT "\n", 0600);
    config = load(USER("a", "a") "," USER("b", "b"));
    assert_memory_not_equal(version, caller_of(config, 0)->slow.version, 32);
    assert_memory_not_equal(users, th_config_get(config)->users_version, 32);
    assert_memory_equal(line, caller_of(config, 0)->slow.items[1].digest, 32);
    /* The same line of another user is another. */
    assert_memory_not_equal(caller_of(config, 0)->slow.items[0].digest,
                            caller_of(config, 1)->slow.items[0].digest, 32);
    th_config_unref(config);
}

static void from_the_environment(void **state)
{
    (void)state;
    assert_int_equal(setenv("TEST_PASSWORDS", YESCRYPT, 1), 0);
    struct th_config *config =
        load("{\"name\": \"a\", \"agent\": \"a\", \"basic\": {\"user\": \"a\", "
             "\"password\": {\"env\": \"TEST_PASSWORDS\"}}}");
    assert_int_equal(caller_of(config, 0)->slow.n, 1);
    th_config_unref(config);
    assert_int_equal(unsetenv("TEST_PASSWORDS"), 0);
}

/* As the documentation says. */
static void a_plain_password_is_not_kept(void **state)
{
    (void)state;
    size_t before = th_secret_bytes_held();
    test_write_file(folder, "plain", "plain-password\n", 0600);
    struct th_config *config = load(USER("p", "plain"));
    assert_int_equal(th_secret_bytes_held(), before);
    th_config_unref(config);
    test_write_file(folder, "hashed", "# comment\n" YESCRYPT "\n" DIGEST "\n", 0600);
    config = load(USER("p", "hashed"));
    assert_int_equal(th_secret_bytes_held(), before + strlen(YESCRYPT));
    th_config_unref(config);
    assert_int_equal(th_secret_bytes_held(), before);
}

#define EIGHT                                                                                      \
    BCRYPT "\n" BCRYPT "\n" BCRYPT "\n" BCRYPT "\n" BCRYPT "\n" BCRYPT "\n" BCRYPT "\n" BCRYPT

static void mistakes(void **state)
{
    static const struct {
        const char *file;
        struct test_mistake wanted; /* its `rest`: the caller; NULL: a user */
    } rows[] = {
        {"$1$01234567$vH7bC9YjzoRYa0Mf7xjJr1",
         {NULL, "$.callers[0].basic.password_file", "line 1 of it: md5crypt", "tokenhop password"}},
        {"# DES\n\nabhfCpXqd4GrI",
         {NULL, "$.callers[0].basic.password_file", "line 3 of it: DES", "tokenhop password"}},
        {YESCRYPT "\n$hunter2\n",
         {NULL, "$.callers[0].basic.password_file", "line 2 of it: this is no hash",
          "tokenhop password"}},
        {YESCRYPT "\nhunter2\n",
         {NULL, "$.callers[0].basic.password_file", "line 2 of it: this is no hash",
          "tokenhop password"}},
        {"$hunter2-is-my-password",
         {NULL, "$.callers[0].basic.password_file", "line 1 of it: this is no hash",
          "tokenhop password"}},
        {"#hunter2", {NULL, "$.callers[0].basic.password_file", "has none", "tokenhop password"}},
        {"# " YESCRYPT "\n",
         {NULL, "$.callers[0].basic.password_file", "has none", "tokenhop password"}},
        {"sha256:hunter2",
         {NULL, "$.callers[0].basic.password_file", "64 hexadecimal", "tokenhop password"}},
        {EIGHT "\n" BCRYPT,
         {NULL, "$.callers[0].basic.password_file", "more than 8 hashes", "leave out"}},
        {"hunter2:" YESCRYPT,
         {NULL, "$.callers[0].basic.password_file", "a user's name before a hash", "only HASH"}},
        {"hunter2-and\n" YESCRYPT,
         {NULL, "$.callers[0].basic.password_file", "control character", "openssl rand"}},
        {EIGHT,
         {ROBOT("r", "file") "," ROBOT("s", "one"), "$.callers[1]", "no more than 8",
          "tokenhop password --digest"}},
        {YESCRYPT,
         {ROBOT("r", "file") "," ROBOT("s", "same"), "$.callers[1]", "cannot be told apart",
          "token"}},
        {DIGEST_LARGE,
         {ROBOT("r", "file") "," ROBOT("s", "digest"), "$.callers[1]", "cannot be told apart",
          "token"}},
        {YESCRYPT,
         {USER("r", "file") ", {\"name\": \"s\", \"agent\": \"a\", \"basic\": {\"user\": \"r\", "
                            "\"password_file\": \"one\"}}",
          "$.callers[1]", "cannot be told apart", "user name"}},
    };
    char room[4096];
    (void)state;
    test_write_file(folder, "one", SHA256, 0600);
    test_write_file(folder, "same", "\n# x\n" YESCRYPT "\n", 0600);
    test_write_file(folder, "digest", DIGEST, 0600);
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct test_mistake wanted = rows[i].wanted;
        test_write_file(folder, "file", rows[i].file, 0600);
        if (wanted.rest == NULL)
            wanted.rest = USER("u", "file");
        assert_true(test_mistake_is_found(&wanted, i, text_of(wanted.rest, room), folder));
    }
    const struct test_mistake open = {USER("u", "file"), "$.callers[0].basic.password_file",
                                      "others than its owner", "chmod 600"};
    test_write_file(folder, "file", YESCRYPT, 0640);
    assert_true(test_mistake_is_found(&open, 100, text_of(open.rest, room), folder));
    /* Two users may have the same line, which says nothing of the other. */
    test_write_file(folder, "file", YESCRYPT, 0600);
    th_config_unref(load(USER("u", "file") "," USER("v", "same") "," ROBOT("r", "file")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_files_become),
        cmocka_unit_test(versions_are_of_what_files_say),
        cmocka_unit_test(from_the_environment),
        cmocka_unit_test(a_plain_password_is_not_kept),
        cmocka_unit_test(mistakes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
