#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokenhop/base/mem.h"
#include "tokenhop/base/secret.h"

static void keeps_bytes(void **state)
{
    (void)state;
    static const size_t lens[] = {0, 1, 31, 32, 500, 1015, 1016, 2000, 4000, 16000, 17000, 1 << 20};
    struct th_secret *held[12];
    char *text = th_malloc(1 << 20);
    assert_non_null(text);
    memset(text, 'x', 1 << 20);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 12; i++) {
            held[i] = th_secret_new(text, lens[i]);
            assert_non_null(held[i]);
            assert_int_equal(th_secret_len(held[i]), lens[i]);
            assert_memory_equal(th_secret_expose(held[i]).ptr, text, lens[i]);
            assert_int_equal(th_secret_expose(held[i]).ptr[lens[i]], 0);
        }
        for (int i = 0; i < 12; i++)
            th_secret_unref(held[i]);
    }
    assert_int_equal(th_secret_bytes_held(), 0);
    char print[TH_FINGERPRINT_LEN + 1], again[TH_FINGERPRINT_LEN + 1];
    th_secret_fingerprint("abc", 3, print);
    th_secret_fingerprint("abc", 3, again);
    assert_string_equal(print, again);
    th_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(keeps_bytes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
