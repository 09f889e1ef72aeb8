#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokenhop/oauth/jose.h"

static const struct {
    const char *bytes, *text;
    size_t len;
} pairs[] = {
    {"", "", 0},
    {"f", "Zg", 1},
    {"fo", "Zm8", 2},
    {"foo", "Zm9v", 3},
    {"foob", "Zm9vYg", 4},
    {"fooba", "Zm9vYmE", 5},
    {"foobar", "Zm9vYmFy", 6},
    {"\x03\xec\xff\xe0\xc1", "A-z_4ME", 5}, /* RFC 7515, appendix C */
};

static void round_trips(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct th_buf buf;
        th_buf_init(&buf, 64);
        th_buf_add_char(&buf, '>');
        th_base64url_encode(&buf, pairs[i].bytes, pairs[i].len);
        assert_string_equal(buf.ptr + 1, pairs[i].text);
        th_buf_clear(&buf);
        assert_int_equal(th_base64url_decode(&buf, th_str_of(pairs[i].text)), 0);
        assert_int_equal(buf.len, pairs[i].len);
        if (buf.len > 0)
            assert_memory_equal(buf.ptr, pairs[i].bytes, buf.len);
        th_buf_fini(&buf);
    }
}

static void all_bytes(void **state)
{
    (void)state;
    unsigned char bytes[259];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 37 + i / 7);
    for (size_t len = 0; len <= sizeof bytes; len++) {
        struct th_buf text, back;
        th_buf_init(&text, 512);
        th_buf_init(&back, 512);
        th_base64url_encode(&text, bytes, len);
        assert_int_equal(text.len, (len * 4 + 2) / 3);
        assert_int_equal(th_base64url_decode(&back, th_buf_str(&text)), 0);
        assert_int_equal(back.len, len);
        assert_true(len == 0 || memcmp(back.ptr, bytes, len) == 0);
        th_buf_fini(&text);
        th_buf_fini(&back);
    }
}

static void decoding_is_strict(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "Zg==",   "Zm8=", "Z",      "Zm9vY",   "A",        "Zm9vA", /* padding, a length that no bytes give */
        "Zh",     "Zm9",  "Zm9vYx",                                 /* stray bits */
        "Zm9v\n", " Zm9", "Zm 9v",                                  /* white space */
        "Zm+v",   "Zm/v", "Zm.v",   "Zm9\xc3", "Zm9v\x7f", "Zm@v",  "Zm[v", "Zm`v", "Zm{v", "Zm:v",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct th_buf buf;
        th_buf_init(&buf, 64);
        if (th_base64url_decode(&buf, th_str_of(bad[i])) != TH_E_BAD_REQUEST)
            fail_msg("accepted: %s", bad[i]);
        th_buf_fini(&buf);
    }
    struct th_buf buf;
    th_buf_init(&buf, 64);
    assert_int_equal(th_base64url_decode(&buf, (struct th_str){"Zm\0v", 4}), TH_E_BAD_REQUEST);
    th_buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips),
        cmocka_unit_test(all_bytes),
        cmocka_unit_test(decoding_is_strict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
