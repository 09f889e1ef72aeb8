/* What becomes of what was issued: the value of a header field, or a reason without a value in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/config/load.h"
#include "tokenhop/http/header.h"
#include "tokenhop/token/inject.h"

#define PARTS_MAX 8
#define VALUES_MAX 4

struct inject_case {
    const char *name;
    enum th_inject_scheme scheme;
    const char *parts[PARTS_MAX]; /* "=" before the name of a value; NULL ends them */
    const char *token;            /* NULL: values */
    const char *values[VALUES_MAX][2];
    const char *want; /* the field's value; NULL: refused, and: */
    const char *why;
};

static const struct inject_case cases[] = {
    {"a token", TH_INJECT_BEARER, {NULL}, "a.b.c", {{NULL}}, "Bearer a.b.c", NULL},
    {"a token in a template",
     TH_INJECT_TEMPLATE,
     {"token ", "=access_token", NULL},
     "gho_1",
     {{NULL}},
     "token gho_1",
     NULL},
    {"a key",
     TH_INJECT_TEMPLATE,
     {"=api_key", NULL},
     NULL,
     {{"api_key", "k-1"}, {"region", "eu"}},
     "k-1",
     NULL},
    {"several",
     TH_INJECT_TEMPLATE,
     {"id=", "=id", ";{", "=key", "}", "=id", NULL},
     NULL,
     {{"id", "7"}, {"key", "a=b"}},
     "id=7;{a=b}7",
     NULL},
    {"beyond ASCII", TH_INJECT_TEMPLATE, {"=k", NULL}, NULL, {{"k", "\xc3\xa9"}}, "\xc3\xa9", NULL},
    /* RFC 7617, 2 and 2.1 */
    {"Basic",
     TH_INJECT_BASIC,
     {NULL},
     NULL,
     {{"username", "Aladdin"}, {"password", "open sesame"}},
     "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
     NULL},
    {"Basic in UTF-8",
     TH_INJECT_BASIC,
     {NULL},
     NULL,
     {{"username", "test"}, {"password", "123\xc2\xa3"}},
     "Basic dGVzdDoxMjPCow==",
     NULL},
    {"Basic without padding",
     TH_INJECT_BASIC,
     {NULL},
     NULL,
     {{"username", "u"}, {"password", "p"}},
     "Basic dTpw",
     NULL},
    {"Basic with one padded",
     TH_INJECT_BASIC,
     {NULL},
     NULL,
     {{"username", "u"}, {"password", "p\xff\xfe\xfd"}},
     "Basic dTpw//79",
     NULL},
    {"an empty password",
     TH_INJECT_BASIC,
     {NULL},
     NULL,
     {{"username", "user"}, {"password", ""}},
     "Basic dXNlcjo=",
     NULL},
    {"colons in a password",
     TH_INJECT_BASIC,
     {NULL},
     NULL,
     {{"password", ":::"}, {"username", "u"}},
     "Basic dTo6Ojo=",
     NULL},

    {"a key that did not come",
     TH_INJECT_TEMPLATE,
     {"=apikey", NULL},
     NULL,
     {{"api_key", "s3cret"}, {"host", "s3cret"}},
     NULL,
     "inject needs \"apikey\", which did not come; what came: api_key, host"},
    {"case counts",
     TH_INJECT_TEMPLATE,
     {"=API_KEY", NULL},
     NULL,
     {{"api_key", "s3cret"}},
     NULL,
     "needs \"API_KEY\""},
    {"nothing came",
     TH_INJECT_TEMPLATE,
     {"=api_key", NULL},
     NULL,
     {{NULL}},
     NULL,
     "what came: nothing"},
    {"another name than a token's",
     TH_INJECT_TEMPLATE,
     {"=api_key", NULL},
     "s3cret",
     {{NULL}},
     NULL,
     "what came: access_token"},
    {"no username",
     TH_INJECT_BASIC,
     {NULL},
     NULL,
     {{"user", "s3cret"}, {"password", "s3cret"}},
     NULL,
     "needs \"username\", which did not come; what came: user, password"},
    {"no password",
     TH_INJECT_BASIC,
     {NULL},
     NULL,
     {{"username", "s3cret"}},
     NULL,
     "needs \"password\""},
    {"a colon in the username",
     TH_INJECT_BASIC,
     {NULL},
     NULL,
     {{"username", "s3cret:x"}, {"password", "s3cret"}},
     NULL,
     "colon"},
    {"an empty username",
     TH_INJECT_BASIC,
     {NULL},
     NULL,
     {{"username", ""}, {"password", "s3cret"}},
     NULL,
     "empty"},
    {"a control in the username",
     TH_INJECT_BASIC,
     {NULL},
     NULL,
     {{"username", "s3cret\t"}, {"password", "s3cret"}},
     NULL,
     "\"username\" holds control"},
    {"a control in the password",
     TH_INJECT_BASIC,
     {NULL},
     NULL,
     {{"username", "u"}, {"password", "s3cret\x7f"}},
     NULL,
     "\"password\" holds control"},
    {"a control in a value",
     TH_INJECT_TEMPLATE,
     {"=k", NULL},
     NULL,
     {{"k", "s3cret\x01"}},
     NULL,
     "\"k\" holds control"},
    {"another field in a value",
     TH_INJECT_TEMPLATE,
     {"=k", NULL},
     NULL,
     {{"k", "s3cret\r\nHost: evil"}},
     NULL,
     "\"k\" holds control"},
    {"an empty value", TH_INJECT_TEMPLATE, {"=k", NULL}, NULL, {{"k", ""}}, NULL, "empty"},
    {"a space before it",
     TH_INJECT_TEMPLATE,
     {"=k", NULL},
     NULL,
     {{"k", " s3cret"}},
     NULL,
     "spaces around"},
    {"a space behind it",
     TH_INJECT_TEMPLATE,
     {"a", "=k", NULL},
     NULL,
     {{"k", "s3cret "}},
     NULL,
     "spaces around"},
};

static struct th_values *make_values(const struct inject_case *row)
{
    struct th_values *values = th_values_new(VALUES_MAX);
    assert_non_null(values);
    for (size_t i = 0; i < VALUES_MAX && row->values[i][0] != NULL; i++)
        assert_int_equal(
            th_values_add(values, th_str_of(row->values[i][0]), th_str_of(row->values[i][1])), 0);
    return values;
}

static struct th_str longest_of(const struct inject_case *row)
{
    struct th_str longest = TH_STR("");
    for (size_t i = 0; row->parts[i] != NULL; i++) {
        for (size_t k = 0; k < VALUES_MAX && row->values[k][0] != NULL; k++) {
            struct th_str value = th_str_of(row->values[k][1]);
            if (row->parts[i][0] == '=' && strcmp(row->parts[i] + 1, row->values[k][0]) == 0 &&
                value.len > longest.len)
                longest = value;
        }
    }
    return longest;
}

static void each(const struct inject_case *row)
{
    struct th_config_template_part parts[PARTS_MAX];
    struct th_config_inject inject = {.scheme = row->scheme, .parts = parts};
    struct th_exchange_result result = {0};
    struct th_injected injected = {NULL};
    char why[TH_EXCHANGE_DETAIL_MAX];
    for (; row->parts[inject.n_parts] != NULL; inject.n_parts++) {
        const char *part = row->parts[inject.n_parts];
        bool is_name = part[0] == '=';
        parts[inject.n_parts] =
            (struct th_config_template_part){th_str_of(part + is_name), is_name};
    }
    if (row->token != NULL)
        result.token = th_secret_new(row->token, strlen(row->token));
    else
        result.values = make_values(row);
    int error = th_inject_make(&inject, &result, &injected, why);
    if (row->want != NULL) {
        if (error != 0 || !th_str_equal(th_secret_expose(injected.value), th_str_of(row->want)))
            fail_msg("%s: %s", row->name, error == 0 ? th_secret_expose(injected.value).ptr : why);
        struct th_str secret = {row->want + injected.secret_at, injected.secret_len};
        assert_true(injected.secret_at + secret.len <= strlen(row->want));
        if (row->token != NULL)
            assert_true(th_str_equal(secret, th_str_of(row->token)));
        else if (row->scheme == TH_INJECT_BASIC)
            assert_true(th_str_equal(secret, th_str_of(row->want + strlen("Basic "))));
        else
            assert_true(th_str_equal(secret, longest_of(row)));
    } else {
        assert_int_equal(error, TH_E_EXCHANGE_FAILED);
        assert_null(injected.value);
        if (strstr(why, row->why) == NULL || strstr(why, "s3cret") != NULL)
            fail_msg("%s: %s", row->name, why);
    }
    th_secret_unref(injected.value);
    th_secret_unref(result.token);
    th_values_free(result.values);
    assert_int_equal(th_secret_bytes_held(), 0);
}

static void what_is_made_of_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++)
        each(&cases[i]);
}

/* RFC 9449, 7.1: a scheme of its own, and no way around it. */
static void a_bound_token_is_no_bearer_token(void **state)
{
    (void)state;
    struct th_key *key;
    const struct th_config_template_part part = {TH_STR("access_token"), true};
    const struct th_config_inject injects[] = {
        {.scheme = TH_INJECT_TEMPLATE, .parts = &part, .n_parts = 1}, {.scheme = TH_INJECT_BASIC}};
    struct th_exchange_result result = {.token = th_secret_new("a.b.c", 5)};
    struct th_injected injected = {NULL};
    char why[TH_EXCHANGE_DETAIL_MAX];
    assert_int_equal(th_key_generate(TH_JWS_ES256, &key), 0);
    assert_int_equal(th_dpop_key_new(key, TH_JWS_ES256, &result.dpop_key), 0);
    th_key_unref(key);
    assert_int_equal(th_inject_make(NULL, &result, &injected, why), 0);
    assert_true(th_str_equal(th_secret_expose(injected.value), TH_STR("DPoP a.b.c")));
    assert_int_equal(injected.secret_at, 5);
    assert_int_equal(injected.secret_len, 5);
    th_secret_unref(injected.value);
    for (size_t i = 0; i < TH_COUNT_OF(injects); i++) {
        assert_int_equal(th_inject_make(&injects[i], &result, &injected, why),
                         TH_E_EXCHANGE_FAILED);
        assert_null(injected.value);
        assert_non_null(strstr(why, "bound"));
    }
    th_secret_unref(result.token);
    th_dpop_key_unref(result.dpop_key);
}

static void many_names_are_cut(void **state)
{
    (void)state;
    struct th_exchange_result result = {.values = th_values_new(TH_VALUES_MAX)};
    const struct th_config_template_part part = {TH_STR("absent"), true};
    const struct th_config_inject inject = {
        .scheme = TH_INJECT_TEMPLATE, .parts = &part, .n_parts = 1};
    struct th_injected injected = {NULL};
    char why[TH_EXCHANGE_DETAIL_MAX], name[TH_VALUE_NAME_MAX + 1];
    assert_non_null(result.values);
    for (unsigned i = 0; i < TH_VALUES_MAX; i++) {
        (void)snprintf(name, sizeof name, "%064u", i);
        assert_int_equal(th_values_add(result.values, th_str_of(name), TH_STR("s3cret")), 0);
    }
    assert_int_equal(th_inject_make(&inject, &result, &injected, why), TH_E_EXCHANGE_FAILED);
    assert_null(strstr(why, "s3cret"));
    assert_non_null(strstr(why, "\"absent\""));
    assert_true(strlen(why) < sizeof why);
    th_values_free(result.values);
}

static void what_is_too_long_is_refused(void **state)
{
    (void)state;
    static char text[TH_VALUE_LEN_MAX];
    struct th_config_template_part parts[5];
    struct th_exchange_result result = {.values = th_values_new(1)};
    struct th_config_inject inject = {.scheme = TH_INJECT_TEMPLATE, .parts = parts, .n_parts = 4};
    struct th_injected injected = {NULL};
    char why[TH_EXCHANGE_DETAIL_MAX];
    memset(text, 'x', sizeof text);
    assert_non_null(result.values);
    assert_int_equal(th_values_add(result.values, TH_STR("k"), (struct th_str){text, sizeof text}),
                     0);
    for (size_t i = 0; i < TH_COUNT_OF(parts); i++)
        parts[i] = (struct th_config_template_part){TH_STR("k"), true};
    assert_int_equal(th_inject_make(&inject, &result, &injected, why), 0);
    assert_int_equal(th_secret_len(injected.value), 4 * sizeof text);
    injected.value = th_secret_unref(injected.value);
    inject.n_parts = 5;
    assert_int_equal(th_inject_make(&inject, &result, &injected, why), TH_E_EXCHANGE_FAILED);
    assert_non_null(strstr(why, "longer"));
    th_values_free(result.values);
}

/* Whichever allocation fails: no credential, no leak, and no word of blame for the server. */
static void memory_may_run_short(void **state)
{
    (void)state;
    const struct th_config_inject inject = {.scheme = TH_INJECT_BASIC};
    struct th_exchange_result result = {.values = th_values_new(2)};
    bool failed = true;
    assert_non_null(result.values);
    assert_int_equal(th_values_add(result.values, TH_STR("username"), TH_STR("u")), 0);
    assert_int_equal(th_values_add(result.values, TH_STR("password"), TH_STR("p")), 0);
    for (unsigned n = 1; failed && n < 100; n++) {
        struct th_injected injected = {NULL};
        char why[TH_EXCHANGE_DETAIL_MAX];
        th_mem_fail_after(n, 1);
        int error = th_inject_make(&inject, &result, &injected, why);
        failed = error != 0;
        th_mem_fail_after(0, 0);
        assert_true(error == 0 || error == TH_E_NOMEM);
        assert_int_equal(injected.value != NULL, error == 0);
        th_secret_unref(injected.value);
    }
    assert_false(failed);
    th_values_free(result.values);
}

/* The list of reserved fields stands in a room that does not know the table of fields. */
static void r11_fields_of_http_bear_no_credential(void **state)
{
    (void)state;
    for (int id = TH_HEADER_UNKNOWN + 1; id < TH_HEADER_COUNT; id++) {
        const struct th_header_row *row = th_header_get((enum th_header_id)id);
        bool belongs = row->flags & (TH_HEADER_HOP | TH_HEADER_FRAMING | TH_HEADER_FIXED);
        if (belongs && id != TH_HEADER_AUTHORIZATION && th_config_may_inject(row->name))
            fail_msg("%.*s", TH_STR_ARGS(row->name));
    }
    assert_true(th_config_may_inject(TH_STR("authorization")));
    assert_true(th_config_may_inject(TH_STR("X-Api-Key")));
    assert_true(th_config_may_inject(TH_STR("Cookie")));
    assert_false(th_config_may_inject(TH_STR("Content-Type")));
    assert_false(th_config_may_inject(TH_STR("HOST")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_made_of_it),
        cmocka_unit_test(a_bound_token_is_no_bearer_token),
        cmocka_unit_test(many_names_are_cut),
        cmocka_unit_test(what_is_too_long_is_refused),
        cmocka_unit_test(memory_may_run_short),
        cmocka_unit_test(r11_fields_of_http_bear_no_credential),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
