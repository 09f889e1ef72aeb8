#include "tokenhop/token/inject.h"

#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>

#include "tokenhop/base/buf.h"
#include "tokenhop/base/check.h"

static int TH_PRINTF(2, 3) refuse(char ret_why[TH_EXCHANGE_DETAIL_MAX], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(ret_why, TH_EXCHANGE_DETAIL_MAX, format, args);
    va_end(args);
    return TH_E_EXCHANGE_FAILED;
}

/* What the field is made of: one token, values that were issued, or those of a static connection. */
struct material {
    const struct th_secret *token;
    struct th_str token_name; /* in templates */
    const struct th_values *values;
    const struct th_config_connection *connection;
    bool is_bound; /* the token, to a key (RFC 9449, 7.1) */
};

/* What came under that name: a token has one, of its own. */
static const struct th_secret *find(const struct material *from, struct th_str name)
{
    if (from->token != NULL)
        return th_str_equal(name, from->token_name) ? from->token : NULL;
    if (from->connection == NULL)
        return th_values_find(from->values, name);
    for (size_t i = 0; i < from->connection->n_values; i++)
        if (th_str_equal(from->connection->values[i].name, name))
            return from->connection->values[i].secret;
    return NULL;
}

static int refuse_missing(const struct material *from, struct th_str name,
                          char ret_why[TH_EXCHANGE_DETAIL_MAX])
{
    const struct th_values *values = from->values;
    char names[TH_EXCHANGE_DETAIL_MAX] = "nothing";
    size_t len = 0;
    if (from->token != NULL)
        (void)snprintf(names, sizeof names, "access_token");
    for (size_t i = 0; values != NULL && i < values->n && len < sizeof names; i++)
        len += (size_t)snprintf(names + len, sizeof names - len, "%s%s", i > 0 ? ", " : "",
                                values->items[i].name);
    return refuse(ret_why, "inject needs \"%.*s\", which did not come; what came: %.120s",
                  TH_STR_ARGS(name), names);
}

static int take(const struct material *from, struct th_str name, struct th_str *ret_text,
                char ret_why[TH_EXCHANGE_DETAIL_MAX])
{
    const struct th_secret *secret = find(from, name);
    if (secret == NULL)
        return refuse_missing(from, name, ret_why);
    *ret_text = th_secret_expose(secret);
    if (th_str_has_control(*ret_text))
        return refuse(ret_why, "the value of \"%.*s\" holds control characters", TH_STR_ARGS(name));
    return 0;
}

/* What has just been added is secret. */
static void note_secret(struct th_injected *injected, const struct th_buf *value, size_t len)
{
    if (value->failed || len <= injected->secret_len)
        return;
    injected->secret_at = (uint32_t)(value->len - len);
    injected->secret_len = (uint32_t)len;
}

static int make_bearer(const struct material *from, struct th_buf *value,
                       struct th_injected *injected, char ret_why[TH_EXCHANGE_DETAIL_MAX])
{
    struct th_str token;
    int error = take(from, from->token_name, &token, ret_why);
    if (error != 0)
        return error;
    th_buf_add_str(value, from->is_bound ? TH_STR("DPoP ") : TH_STR("Bearer "));
    th_buf_add_str(value, token);
    note_secret(injected, value, token.len);
    return 0;
}

static void add_base64(struct th_buf *to, struct th_str text)
{
    size_t len = (text.len + 2) / 3 * 4;
    char *room = th_buf_reserve(to, len);
    if (room == NULL)
        return;
    (void)EVP_EncodeBlock((unsigned char *)room, (const unsigned char *)text.ptr, (int)text.len);
    th_buf_commit(to, len);
}

/* RFC 7617, 2: a colon parts the two, so that a username has none. */
static int make_basic(const struct material *from, struct th_buf *value,
                      struct th_injected *injected, char ret_why[TH_EXCHANGE_DETAIL_MAX])
{
    struct th_str username, password;
    struct th_buf pair;
    int error = take(from, TH_STR("username"), &username, ret_why);
    if (error == 0)
        error = take(from, TH_STR("password"), &password, ret_why);
    if (error != 0)
        return error;
    if (username.len == 0 || memchr(username.ptr, ':', username.len) != NULL)
        return refuse(ret_why,
                      "the username is empty or has a colon in it, which Basic cannot say");
    th_buf_init_secret(&pair, 2 * TH_VALUE_LEN_MAX + 1);
    th_buf_add_str(&pair, username);
    th_buf_add_char(&pair, ':');
    th_buf_add_str(&pair, password);
    th_buf_add_str(value, TH_STR("Basic "));
    add_base64(value, th_buf_str(&pair));
    note_secret(injected, value, (pair.len + 2) / 3 * 4);
    value->failed |= pair.failed;
    th_buf_fini(&pair);
    return 0;
}

static int make_of_template(const struct th_config_inject *inject, const struct material *from,
                            struct th_buf *value, struct th_injected *injected,
                            char ret_why[TH_EXCHANGE_DETAIL_MAX])
{
    size_t len = 0;
    for (size_t i = 0; i < inject->n_parts; i++) {
        struct th_str text = inject->parts[i].text;
        int error = inject->parts[i].is_name ? take(from, text, &text, ret_why) : 0;
        if (error != 0)
            return error;
        len += text.len;
        if (len > TH_INJECT_VALUE_MAX)
            return refuse(ret_why, "the field would be longer than %zu bytes", TH_INJECT_VALUE_MAX);
        th_buf_add_str(value, text);
        if (inject->parts[i].is_name)
            note_secret(injected, value, text.len);
    }
    /* Spaces around it are not part of a value (RFC 9110, 5.5): the receiver would see another one. */
    if (!value->failed && (len == 0 || value->ptr[0] == ' ' || value->ptr[value->len - 1] == ' '))
        return refuse(ret_why, "the field would be empty, or have spaces around it");
    return 0;
}

static int make(const struct th_config_inject *inject, const struct material *from,
                struct th_injected *ret_injected, char ret_why[TH_EXCHANGE_DETAIL_MAX])
{
    struct th_buf value;
    int error = TH_E_INTERNAL;
    ret_why[0] = '\0';
    *ret_injected = (struct th_injected){NULL};
    if (from->is_bound && inject != NULL && inject->scheme != TH_INJECT_BEARER)
        return refuse(ret_why,
                      "the token is bound to a key, and \"inject\" would send it unproved");
    th_buf_init_secret(&value, TH_INJECT_VALUE_MAX);
    switch (inject != NULL ? inject->scheme : TH_INJECT_BEARER) {
    case TH_INJECT_BEARER:
        error = make_bearer(from, &value, ret_injected, ret_why);
        break;
    case TH_INJECT_BASIC:
        error = make_basic(from, &value, ret_injected, ret_why);
        break;
    case TH_INJECT_TEMPLATE:
        error = make_of_template(inject, from, &value, ret_injected, ret_why);
        break;
    }
    if (error == 0) {
        ret_injected->value = value.failed ? NULL : th_secret_new(value.ptr, value.len);
        error = ret_injected->value != NULL ? 0 : TH_E_NOMEM;
    }
    th_buf_fini(&value);
    return error;
}

int th_inject_make(const struct th_config_inject *inject, const struct th_exchange_result *result,
                   struct th_injected *ret_injected, char ret_why[TH_EXCHANGE_DETAIL_MAX])
{
    const struct material from = {
        .token = result->token,
        .token_name = TH_STR("access_token"),
        .values = result->values,
        .is_bound = result->dpop_key != NULL,
    };
    return make(inject, &from, ret_injected, ret_why);
}

int th_inject_static(const struct th_config_connection *connection,
                     struct th_injected *ret_injected)
{
    const struct material from = {.token_name = TH_STR("value"), .connection = connection};
    char why[TH_EXCHANGE_DETAIL_MAX];
    int error = make(&connection->inject, &from, ret_injected, why);
    return error == 0 || error == TH_E_NOMEM ? error : TH_E_CONFIG;
}
