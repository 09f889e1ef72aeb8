#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/password.h"

#define PASSWORD "correct horse: \xc3\xa9 battery"
/* Of it, by the crypt() of the system's Python. */
#define YESCRYPT "$y$j9T$0123456789abcdefghijk.$8dnRo34hMBpNfUfocu0oif9uJVNhG0qBKfZ8t.TPOJ1"
#define BCRYPT "$2b$10$0123456789abcdefghijk.6AHELgeJdhF1ZrsFhcUmNeSxPvOmS9u"
#define BCRYPT_Y "$2y$10$0123456789abcdefghijkuyoHEn5K6BIVnqImCqJNY/OLVr2Ycrpy"
#define SHA512_86                                                                                  \
    "ZSMN9kRmKX8ySbpNFxv3ehcTX6gboYkicq2TKCwWXkJH.DQqVytJbAw.TetJ2p8V1ZObPPP9ZKG1Z8gd1W75V."
#define SHA512 "$6$0123456789abcdef$" SHA512_86
#define SHA512_ROUNDS                                                                              \
    "$6$rounds=100000$0123456789abcdef$P0OnJLsQJOXG8h3A2WDE.1pNT5DXP2xUorW2jhQmyuAENf2kdLBbeU."    \
    "1QBv9iDB88xwqjdMuzYG0ClpU46TMH0"
#define SHA256 "$5$0123456789abcdef$prVoEwvAKtMacDpOrflbMt/Y/dACgJtPQEbrYCXdAj6"
#define BCRYPT_OF_72 "$2b$10$0123456789abcdefghijk.CSxVln7pzIlJYdwLuewHdQqlSIRr4CS"
#define HASH_43 "8dnRo34hMBpNfUfocu0oif9uJVNhG0qBKfZ8t.TPOJ1"
#define HEX_64 "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"

static bool verify(const char *line, struct th_str password)
{
    struct th_secret *secret = th_secret_new(line, strlen(line));
    bool is_right = true;

    assert_null(th_password_find_fault(th_str_of(line)));
    assert_int_equal(th_password_verify(secret, password, &is_right), 0);
    th_secret_unref(secret);
    return is_right;
}

static void the_password_and_no_other(void **state)
{
    static const char *const lines[] = {YESCRYPT, BCRYPT, BCRYPT_Y, SHA512, SHA512_ROUNDS, SHA256};
    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(lines); i++) {
        assert_true(verify(lines[i], TH_STR(PASSWORD)));
        assert_false(verify(lines[i], TH_STR("correct horse: \xc3\xa9 batterx")));
        assert_false(verify(lines[i], TH_STR("correct horse: e\xcc\x81 battery"))); /* not NFC */
        /* What crypt(3) would take for it, as it stops at a NUL. */
        assert_false(verify(lines[i], TH_STR(PASSWORD "\0")));
        assert_false(verify(lines[i], TH_STR(PASSWORD "\0more")));
        assert_false(verify(lines[i], TH_STR("")));
        assert_false(verify(lines[i], th_str_of(lines[i]))); /* the hash itself */
    }
}

static void what_is_too_long_is_never_cut(void **state)
{
    char text[4097];
    struct th_secret *line = NULL;
    (void)state;
    memset(text, 'x', sizeof text);
    assert_int_equal(th_password_make((struct th_str){text, TH_PASSWORD_MAX}, &line), 0);
    const char *made = th_secret_expose(line).ptr;
    assert_true(verify(made, (struct th_str){text, TH_PASSWORD_MAX}));
    assert_false(verify(made, (struct th_str){text, TH_PASSWORD_MAX - 1}));
    assert_false(verify(made, (struct th_str){text, TH_PASSWORD_MAX + 1}));
    assert_false(verify(made, (struct th_str){text, 4096}));
    th_secret_unref(line);
    assert_int_equal(th_password_make((struct th_str){text, TH_PASSWORD_MAX + 1}, &line),
                     TH_E_NOMEM);
}

static void makes_another_one_each_time(void **state)
{
    struct th_secret *a = NULL, *b = NULL;
    (void)state;
    assert_int_equal(th_password_make(TH_STR(PASSWORD), &a), 0);
    assert_int_equal(th_password_make(TH_STR(PASSWORD), &b), 0);
    assert_true(th_str_starts_with(th_secret_expose(a), TH_STR("$y$j9T$")));
    assert_false(th_secret_equal(a, b));
    assert_true(verify(th_secret_expose(a).ptr, TH_STR(PASSWORD)));
    assert_true(verify(th_secret_expose(b).ptr, TH_STR(PASSWORD)));
    assert_false(verify(th_secret_expose(b).ptr, TH_STR("another one")));
    th_secret_unref(a);
    th_secret_unref(b);
}

/* What is said to be without fault libcrypt can work on, whatever the last digits are. */
static void what_has_no_fault_can_be_computed(void **state)
{
    static const char digits[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    static const char *const begins[] = {"$y$j7", "$y$j7T$0123456", "$y$j7T$01234567",
                                         "$y$j7T$012345678", "$y$j7T$0123456789"};
    unsigned n_fine = 0;
    bool is_right;
    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(begins); i++)
        for (const char *digit = digits; *digit != '\0'; digit++) {
            char line[128];
            int len = snprintf(line, sizeof line, "%s%c%s$" HASH_43, begins[i], *digit,
                               i == 0 ? "$0123456789abcdefghijk." : "");
            if (th_password_find_fault(th_str_of(line)) != NULL || n_fine++ % 8 != 0)
                continue;
            struct th_secret *secret = th_secret_new(line, (size_t)len);
            assert_int_equal(th_password_verify(secret, TH_STR("a guess"), &is_right), 0);
            assert_false(is_right);
            th_secret_unref(secret);
        }
    assert_in_range(n_fine, 100, 250);
}

static void digests(void **state)
{
    char line[TH_PASSWORD_DIGEST_LEN + 1];
    (void)state;
    th_password_digest(TH_STR("abc"), line); /* FIPS 180-4 */
    assert_string_equal(line,
                        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_true(th_password_is_digest(th_str_of(line)));
    assert_null(th_password_find_fault(th_str_of(line)));
    assert_false(th_password_is_digest(TH_STR(YESCRYPT)));
}

static void faults(void **state)
{
    static const struct {
        const char *line, *wanted; /* NULL: none */
    } rows[] = {
        {YESCRYPT, NULL},
        {"$y$j7T$01234567$" HASH_43, NULL}, /* 4 MiB */
        {"$y$j6T$01234567$" HASH_43, "too weak"},
        {"$y$j75$0123456789abcdefghijk.$" HASH_43, "too weak"},
        {"$y$jCT$0123456789abcdefghijk.$" HASH_43, NULL}, /* 128 MiB */
        {"$y$jDT$0123456789abcdefghijk.$" HASH_43, "too long"},
        {"$y$jzT$0123456789abcdefghijk.$" HASH_43, "too long"},
        {"$y$jzz$0123456789abcdefghijk.$" HASH_43, "too long"},
        {"$y$j7j$0123456789abcdefghijk.$" HASH_43, NULL},
        {"$y$j7k$0123456789abcdefghijk.$" HASH_43, "well-formed"}, /* begins two digits */
        {"$y$j7z$0123456789abcdefghijk.$" HASH_43, "well-formed"},
        {"$y$j7T$012345678$" HASH_43, "well-formed"}, /* no number of bytes */
        {"$y$j7T$0123456781$" HASH_43, NULL},
        {"$y$j7T$0123456782$" HASH_43, "well-formed"}, /* 2 bits too many */
        {"$y$j7T$012345678AD$" HASH_43, NULL},
        {"$y$j7T$012345678AE$" HASH_43, "well-formed"},
        {"$y$j9T//$0123456789abcdefghijk.$" HASH_43, "too long"}, /* more threads or time */
        {"$y$.9T$0123456789abcdefghijk.$" HASH_43, "too long"},   /* classic scrypt */
        {"$y$j9$0123456789abcdefghijk.$" HASH_43, "well-formed"},
        {"$y$j9T$0123456$" HASH_43, "well-formed"}, /* hardly any salt */
        {"$y$j9T$$" HASH_43, "well-formed"},
        {"$y$j9T$0123456789abcdefghijk.$" HASH_43 "x", "well-formed"},
        {"$y$j9T$0123456789abcdefghijk.$8dnRo34hMBpNfUfocu0oif9uJVNhG0qBKfZ8t", "well-formed"},
        {"$y$j9T$0123456789abcdefghijk.", "well-formed"},
        {"$y$j9T$0123456789 bcdefghijk.$" HASH_43, "well-formed"},
        {"$y$", "well-formed"},
        {BCRYPT, NULL},
        {BCRYPT_Y, NULL},
        {"$2b$14$0123456789abcdefghijk.6AHELgeJdhF1ZrsFhcUmNeSxPvOmS9u", NULL},
        {"$2b$09$0123456789abcdefghijk.6AHELgeJdhF1ZrsFhcUmNeSxPvOmS9u", "too weak"},
        {"$2b$15$0123456789abcdefghijk.6AHELgeJdhF1ZrsFhcUmNeSxPvOmS9u", "too long"},
        {"$2b$31$0123456789abcdefghijk.6AHELgeJdhF1ZrsFhcUmNeSxPvOmS9u", "too long"},
        {"$2b$10$0123456789abcdefghijk.6AHELgeJdhF1ZrsFhcUmNeSxPvOmS9", "well-formed"},
        {"$2b$10$0123456789abcdefghijk/6AHELgeJdhF1ZrsFhcUmNeSxPvOmS9u", "well-formed"},
        {"$2b$10$0123456789abcdefghijkl6AHELgeJdhF1ZrsFhcUmNeSxPvOmS9u", "well-formed"},
        {"$2b$1$0123456789abcdefghijk.6AHELgeJdhF1ZrsFhcUmNeSxPvOmS9u", "well-formed"},
        {"$2b$xx$0123456789abcdefghijk.6AHELgeJdhF1ZrsFhcUmNeSxPvOmS9u", "well-formed"},
        {"$2a$10$0123456789abcdefghijkuyoHEn5K6BIVnqImCqJNY/OLVr2Ycrpy", "$2a$"},
        {"$2x$10$0123456789abcdefghijkuyoHEn5K6BIVnqImCqJNY/OLVr2Ycrpy", "$2x$"},
        {SHA512, NULL},
        {SHA512_ROUNDS, NULL},
        {SHA256, NULL},
        {"$6$rounds=1000000$0123456789abcdef$" SHA512_86, NULL},
        {"$6$rounds=1000001$0123456789abcdef$" SHA512_86, "too long"},
        {"$6$rounds=999999999$0123456789abcdef$" SHA512_86, "too long"},
        {"$6$rounds=4999$0123456789abcdef$" SHA512_86, "too weak"},
        {"$6$rounds=99999999999999999999$0123456789abcdef$" SHA512_86, "well-formed"},
        {"$6$rounds=$0123456789abcdef$" SHA512_86, "well-formed"},
        {"$6$rounds=05000$0123456789abcdef$" SHA512_86, "well-formed"},
        {"$6$0123456789abcdefg$" SHA512_86, "well-formed"},
        {"$5$0123456789abcdef$" SHA512_86, "well-formed"},
        {"$6$0123456789abcdef$" HASH_43, "well-formed"},
        {"$1$01234567$vH7bC9YjzoRYa0Mf7xjJr1", "md5crypt"},
        {"$apr1$01234567$vH7bC9YjzoRYa0Mf7xjJr1", "md5crypt"},
        {"$sha1$1$2$3", "too weak"},
        {"$3$$8846f7eaee8fb117ad06bdd830b7586c", "too weak"},
        {"abhfCpXqd4GrI", "DES"},
        {"$7$CU..../....0123456789abcdef$YN4kUIhnCkv/EnXXm7.gFNbx6RgqeeUNqKGWkeYzH6.", "no hash"},
        {"$gy$j9T$0123456789abcdefghijk.$N3NFLVPsHD7frTvUUI8hqQYwbf/wxCBpp52r8R7xS49", "no hash"},
        {"$Y$j9T$0123456789abcdefghijk.$" HASH_43, "no hash"},
        {"team-a:" YESCRYPT, "no hash"},
        {"hunter2", "no hash"},
        {"sha256:" HEX_64, NULL},
        {"sha256:2BB80D537B1DA3E38BD30361AA855686BDE0EACD7162FEF6A25FE97BF527A25B", NULL},
        {"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852B855", "of nothing"},
        {"sha256:" HEX_64 "0", "64"},
        {"sha256:2bb80d537b1da3e38bd30361aa855686", "64"},
        {"sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25g", "64"},
        {"sha256:", "64"},
    };
    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        const char *fault = th_password_find_fault(th_str_of(rows[i].line));
        if (rows[i].wanted == NULL ? fault != NULL
                                   : fault == NULL || strstr(fault, rows[i].wanted) == NULL)
            fail_msg("%s: %s", rows[i].line, fault != NULL ? fault : "none");
    }
    /* What ends a text of C ends no line. */
    assert_non_null(th_password_find_fault(TH_STR("sha256:" HEX_64 "\0")));
    assert_non_null(th_password_find_fault(TH_STR("$y$j9T$01234567\0$" HASH_43)));
    assert_non_null(th_password_find_fault(
        TH_STR("sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a2\0b")));
}

static void what_a_file_holds(void **state)
{
    static const struct {
        const char *text;
        bool is_hashed;
    } rows[] = {
        {YESCRYPT, true},
        {"# comment\n" YESCRYPT "\n", true},
        {"#", true}, /* of which there are none */
        {"\n\n \t" BCRYPT, true},
        {"\r\n" BCRYPT, true},
        {"$ecret-password", true}, /* which is then refused as no hash */
        {"sha256:" HEX_64, true},
        {"sha256:my-password", true},
        {"", false},
        {"\n", false},
        {"password", false},
        {"pa$$word", false},
        {"password # or so", false},
        {"sha256", false},
        {"team-a:" YESCRYPT, false},
    };
    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++)
        if (th_password_is_hashed(th_str_of(rows[i].text)) != rows[i].is_hashed)
            fail_msg("%s", rows[i].text);
}

static void lines(void **state)
{
    struct th_str text = TH_STR("# from March on\n"
                                "\n"
                                "  one \t\r\n"
                                "\t# two\n"
                                "three # is part of it\n"
                                "\n"
                                "four");
    struct th_str line;
    unsigned number = 0;
    (void)state;
    assert_true(th_password_next_line(&text, &number, &line));
    assert_true(th_str_equal(line, TH_STR("one")) && number == 3);
    assert_true(th_password_next_line(&text, &number, &line));
    assert_true(th_str_equal(line, TH_STR("three # is part of it")) && number == 5);
    assert_true(th_password_next_line(&text, &number, &line));
    assert_true(th_str_equal(line, TH_STR("four")) && number == 7);
    assert_false(th_password_next_line(&text, &number, &line));
    assert_false(th_password_next_line(&text, &number, &line));
    assert_int_equal(number, 7);
}

static void flaws(void **state)
{
    static const struct {
        struct th_str password;
        const char *wanted;
    } rows[] = {
        {TH_STR("12345678"), NULL},
        {TH_STR(PASSWORD), NULL},
        {TH_STR("$y$# is fine as it is hashed"), NULL},
        {TH_STR("\xf0\x9f\x94\x91 \xe2\x82\xac\xc3\xa9\xed\x9f\xbf\xf4\x8f\xbf\xbf"), NULL},
        {TH_STR("1234567"), "at least"},
        {TH_STR(""), "at least"},
        {TH_STR("1234567\n8"), "control"},
        {TH_STR("1234567\0"), "control"},
        {TH_STR("1234567\x7f"), "control"},
        {TH_STR("1234567\xff"), "UTF-8"},
        {TH_STR("1234567\xc3"), "UTF-8"},
        {TH_STR("1234567\xe9tre"), "UTF-8"},
        {TH_STR("1234567\xc0\xaf"), "UTF-8"},
        {TH_STR("1234567\xe0\x80\xaf"), "UTF-8"},
        {TH_STR("1234567\xed\xa0\x80"), "UTF-8"},
        {TH_STR("1234567\xf0\x80\x80\xaf"), "UTF-8"},
        {TH_STR("1234567\xf4\x90\x80\x80"), "UTF-8"},
        {TH_STR("1234567\xf5\x80\x80\x80"), "UTF-8"},
        {TH_STR("1234567\xe2\x82"), "UTF-8"},
    };
    char text[512];
    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        const char *flaw = th_password_find_flaw(rows[i].password);
        if (rows[i].wanted == NULL ? flaw != NULL
                                   : flaw == NULL || strstr(flaw, rows[i].wanted) == NULL)
            fail_msg("row %zu: %s", i, flaw != NULL ? flaw : "none");
    }
    memset(text, 'x', sizeof text);
    assert_null(th_password_find_flaw((struct th_str){text, 511}));
    assert_non_null(th_password_find_flaw((struct th_str){text, 512}));
}

/* Of "x", 72 times: the same bcrypt as of 73. */
static void bcrypt_does_not_look_further(void **state)
{
    char text[73];
    (void)state;
    memset(text, 'x', sizeof text);
    assert_true(verify(BCRYPT_OF_72, (struct th_str){text, 72}));
    assert_false(verify(BCRYPT_OF_72, (struct th_str){text, 73}));
    assert_false(verify(BCRYPT_OF_72, (struct th_str){text, 71}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_password_and_no_other),
        cmocka_unit_test(what_is_too_long_is_never_cut),
        cmocka_unit_test(bcrypt_does_not_look_further),
        cmocka_unit_test(makes_another_one_each_time),
        cmocka_unit_test(what_has_no_fault_can_be_computed),
        cmocka_unit_test(digests),
        cmocka_unit_test(faults),
        cmocka_unit_test(what_a_file_holds),
        cmocka_unit_test(lines),
        cmocka_unit_test(flaws),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
