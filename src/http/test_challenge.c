#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tokenhop/base/buf.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/random.h"
#include "tokenhop/http/challenge.h"

static bool wants_nonce(struct th_str value)
{
    return th_challenge_has(value, TH_STR("DPoP"), TH_STR("error"), TH_STR("use_dpop_nonce"));
}

static void examples(void **state)
{
    static const struct {
        const char *value;
        bool wanted;
    } cases[] = {
        /* RFC 9449, 9 */
        {"DPoP error=\"use_dpop_nonce\", error_description=\"Resource server requires nonce in DPoP "
         "proof\"",
         true},
        {"DPoP error=use_dpop_nonce", true},
        {"dpop ERROR=\"use_dpop_nonce\"", true},
        {"DPoP algs=\"ES256 PS256\", error = \"use_dpop_nonce\"", true},
        {"DPoP error = \"use_dpop_nonce\"", true},
        {"DPoP error= use_dpop_nonce", true},
        {"DPoP\talgs=x,\terror\t=\t\"use_dpop_nonce\"", true},
        {"Bearer, DPoP error=\"use_dpop_nonce\"", true},
        {"Bearer error=\"invalid_token\", DPoP error=\"use_dpop_nonce\"", true},
        {"Negotiate a1b2c3/==, DPoP error=\"use_dpop_nonce\"", true},
        {"Basic realm=\"a, DPoP error=x\", DPoP error=\"use_dpop_nonce\", Bearer", true},
        {"DPoP error=\"use\\_dpop\\_nonce\"", true},
        {",, ,DPoP error=\"use_dpop_nonce\",", true},
        {"DPoP error=\"use_dpop_nonce\", Bearer error=\"invalid_token\"", true},
        {"DPoP error=\"use_dpop_nonce\", \"", true}, /* what stands before it counts */

        {"", false},
        {"DPoP", false},
        {"DPoP error=\"invalid_token\"", false},
        {"DPoP error=\"USE_DPOP_NONCE\"", false},
        {"DPoP error=\"use_dpop_nonce", false},
        {"DPoP error=\"use_dpop_nonce\\\"", false},
        {"DPoP error=\"use_dpop_nonce2\"", false},
        {"DPoP error=\"use_dpop_nonc\"", false},
        {"DPoP xerror=\"use_dpop_nonce\"", false},
        {"Bearer error=\"use_dpop_nonce\"", false},
        {"XDPoP error=\"use_dpop_nonce\"", false},
        {"error=\"use_dpop_nonce\"", false},
        {"DPoP algs=x, Bearer error=\"use_dpop_nonce\"", false},
        {"DPoP realm=\"DPoP error=use_dpop_nonce\"", false},
        {"DPoP realm=\"x\\\", DPoP error=use_dpop_nonce, \"", false},
        {"Bearer realm=\"x, DPoP error=\\\"use_dpop_nonce\\\"", false},
        {"\"DPoP error=use_dpop_nonce\"", false},
        {"DPoP \"x\", error=\"use_dpop_nonce\"", false},
        {"DPoP token68==, error2=\"use_dpop_nonce\"", false},
        {"DPoP error=\"x\" error=\"use_dpop_nonce\"", false},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        /* without a NUL behind it, so that a sanitizer sees what is read beyond */
        size_t len = strlen(cases[i].value);
        char *copy = malloc(len + 1);
        memmove(copy, cases[i].value, len);
        char *exact = realloc(copy, len > 0 ? len : 1);
        if (wants_nonce((struct th_str){exact, len}) != cases[i].wanted)
            fail_msg("%s", cases[i].value);
        free(exact);
    }
}

/* Any challenge before or behind, well formed, changes nothing of what is found. */
static void among_others(void **state)
{
    static const char *const others[] = {"Bearer",
                                         "Negotiate abc/def==",
                                         "Bearer error=\"use_dpop_nonce\"",
                                         "Basic realm=\"a\\\"b, DPoP error=x\", charset=\"UTF-8\"",
                                         "Digest qop=auth , nonce = \"x=,\"",
                                         ""};
    for (unsigned round = 0; round < 2000; round++) {
        struct th_buf text;
        unsigned n = 1 + th_random_below(6), at = th_random_below(n);
        bool wanted = th_random_below(2) > 0;
        th_buf_init(&text, 4096);
        for (unsigned i = 0; i < n; i++) {
            if (i > 0)
                th_buf_add_str(&text, th_random_below(2) > 0 ? TH_STR(",") : TH_STR(" , "));
            if (i == at)
                th_buf_add_str(&text, wanted ? TH_STR("DPoP algs=ES256, error=\"use_dpop_nonce\"")
                                             : TH_STR("DPoP error=\"invalid_token\""));
            else
                th_buf_add_str(&text, th_str_of(others[th_random_below(TH_COUNT_OF(others))]));
        }
        if (wants_nonce(th_buf_str(&text)) != wanted)
            fail_msg("%s", text.ptr);
        th_buf_fini(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples),
        cmocka_unit_test(among_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
