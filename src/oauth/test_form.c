#include <stdlib.h>

#include "form.h"
#include "test_support.h"

static void r12_fields_are_encoded_one_by_one(void **state)
{
    (void)state;
    struct th_buf form;
    th_buf_init_secret(&form, 4096);
    th_form_add(&form, TH_STR("scope"), TH_STR("chat.read chat.history"));
    th_form_add(&form, TH_STR("audience"), TH_STR("https://a.example/oauth2/x?y=1&z=2"));
    th_form_add(&form, TH_STR("empty"), TH_STR(""));
    th_form_add(&form, TH_STR("none"), TH_STR_NONE);
    th_form_add(&form, TH_STR("a=b&c"), TH_STR("%41+\r\n\xc3\xa9~"));
    assert_false(form.failed);
    assert_string_equal(form.ptr, "scope=chat.read+chat.history"
                                  "&audience=https%3A%2F%2Fa.example%2Foauth2%2Fx%3Fy%3D1%26z%3D2"
                                  "&a%3Db%26c=%2541%2B%0D%0A%C3%A9%7E");
    th_buf_fini(&form);
}

static void every_byte_comes_back(void **state)
{
    (void)state;
    char bytes[256];
    struct th_buf form;
    for (int i = 0; i < 256; i++)
        bytes[i] = (char)i;
    th_buf_init_secret(&form, 4096);
    th_form_encode(&form, (struct th_str){bytes, 256});
    size_t at = 0;
    for (int i = 0; i < 256; i++) {
        char c = form.ptr[at++];
        if (c == '%') {
            const char hex[3] = {form.ptr[at], form.ptr[at + 1], '\0'};
            assert_int_equal(strtol(hex, NULL, 16), i);
            at += 2;
        } else {
            assert_int_equal(c == '+' ? ' ' : c, (char)i);
            assert_null(memchr("&=%\"<>\r\n", c, 8));
        }
    }
    assert_int_equal(at, form.len);
    th_buf_fini(&form);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(r12_fields_are_encoded_one_by_one),
        cmocka_unit_test(every_byte_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
