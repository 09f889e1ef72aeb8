/* Credentials and subject tokens that stand in files: read, and held against what becomes of them, so
 * that what cannot be sent is a mistake of the configuration and not of a request. */
#include "loader.h"
#include "tokenhop/base/check.h"

/* What of a field's value a request may bring: far below what origins take, and the bound of a
 * token's. */
#define FIELD_MAX_LEN ((size_t)64 * 1024)
#define PAIR_MAX_LEN ((size_t)32 * 1024) /* of username and password together */

static const char *const only_itself =
    "it stands there alone, on one line that may end in a line feed";

struct th_secret *th_build_token_file(struct th_loader *loader, struct th_str file, uint32_t place)
{
    const struct th_secret_names names = {.file = file, .file_key = "file"};
    struct th_str path;
    struct th_secret *token = th_build_secret_of(loader, &names, true, place, &place, &path);
    if (token != NULL && !th_str_is_token68(th_secret_expose(token)))
        th_loader_report(loader, place, only_itself, "what the file holds is not a token");
    return token;
}

/* --- static --- */

static const struct th_config_value *find_value(const struct th_config_connection *connection,
                                                struct th_str name)
{
    for (size_t i = 0; i < connection->n_values; i++) {
        if (th_str_equal(connection->values[i].name, name))
            return &connection->values[i];
    }
    return NULL;
}

/* One that the field is made of. NULL: it was reported that it is missing, or could not be read. */
static const struct th_secret *need_value(struct th_loader *l, uint32_t place,
                                          const struct th_config_connection *connection,
                                          struct th_str name)
{
    const struct th_config_value *value = find_value(connection, name);
    if (value == NULL)
        th_loader_report(l, place, "add it to \"values\", or use the name of another one",
                         "there is no value of the name \"%.*s\"", TH_STR_ARGS(name));
    return value != NULL ? value->secret : NULL;
}

static void check_bearer(struct th_loader *l, uint32_t place,
                         const struct th_config_connection *connection)
{
    struct th_str name = TH_STR("value");
    if (connection->n_values != 1 || !th_str_equal(connection->values[0].name, name)) {
        th_loader_report(l, place, "write \"value_file\", or a header and template in \"inject\"",
                         "the scheme \"bearer\" sends one token, which has no name");
        return;
    }
    const struct th_secret *token = connection->values[0].secret;
    if (token != NULL && !th_str_is_token68(th_secret_expose(token)))
        th_loader_report(l, place, only_itself,
                         "the value has a character that no bearer token has");
}

/* RFC 7617, 2: a colon parts the two. */
static void check_basic(struct th_loader *l, uint32_t place,
                        const struct th_config_connection *connection)
{
    const struct th_secret *username = need_value(l, place, connection, TH_STR("username"));
    const struct th_secret *password = need_value(l, place, connection, TH_STR("password"));
    if (username == NULL || password == NULL)
        return;
    if (th_secret_len(username) + th_secret_len(password) > PAIR_MAX_LEN)
        th_loader_report(l, place, NULL, "username and password are longer than 32 KiB");
    struct th_str text = th_secret_expose(username);
    if (memchr(text.ptr, ':', text.len) != NULL)
        th_loader_report(l, place, NULL, "the username has a colon, which Basic cannot say");
}

static void check_template(struct th_loader *l, uint32_t place,
                           const struct th_config_connection *connection)
{
    const struct th_config_inject *inject = &connection->inject;
    size_t len = 0;
    bool spaced = false;
    for (size_t i = 0; i < inject->n_parts; i++) {
        struct th_str text = inject->parts[i].text;
        const struct th_secret *secret =
            inject->parts[i].is_name ? need_value(l, place, connection, text) : NULL;
        if (secret != NULL)
            text = th_secret_expose(secret);
        /* Spaces around it are not part of a field's value: the receiver would see another one. */
        spaced = spaced || (i == 0 && text.len > 0 && text.ptr[0] == ' ') ||
                 (i + 1 == inject->n_parts && text.len > 0 && text.ptr[text.len - 1] == ' ');
        len += text.len;
    }
    if (spaced)
        th_loader_report(l, place, only_itself, "the field would have a space at one of its ends");
    if (len > FIELD_MAX_LEN)
        th_loader_report(l, place, NULL, "the field would be longer than 64 KiB");
}

static void build_value(struct th_loader *l, const struct th_secret_names *names, uint32_t place,
                        struct th_config_value *value)
{
    struct th_str path;
    value->secret = th_build_secret_of(l, names, true, place, &place, &path);
    if (value->secret == NULL)
        return;
    struct th_str text = th_secret_expose(value->secret);
    if (text.len > 0 && !th_str_has_control(text))
        return;
    th_loader_report(l, place, only_itself, "the value is empty, or has a control character");
    value->secret = NULL; /* so that it is not reported again; the snapshot holds it */
}

static void build_named(struct th_loader *l, const struct th_raw_connection *raw,
                        struct th_config_value *values)
{
    const struct th_raw_value *from = raw->values.items;
    for (size_t i = 0; i < raw->values.n; i++, from++) {
        const struct th_secret_names names = {from->file, from->env, "file", NULL};
        values[i].name = from->head.name;
        build_value(l, &names, from->head.place, &values[i]);
    }
}

void th_build_values(struct th_loader *loader, const struct th_raw_connection *raw,
                     struct th_config_connection *connection)
{
    const struct th_secret_names single = {raw->value_file, raw->value.env, "value_file", "value"};
    uint32_t place = th_loader_member(loader, raw->head.place, "inject");
    bool is_single = single.file.ptr != NULL || single.variable.ptr != NULL;
    size_t n = is_single ? 1 : raw->values.n;
    if (connection->type != TH_TYPE_STATIC || n == 0)
        return; /* reported already where it is needed, or excluded */
    struct th_config_value *values = th_loader_alloc(loader, n, sizeof(*values));
    if (values == NULL)
        return;
    if (is_single) {
        values[0].name = TH_STR("value");
        build_value(loader, &single, raw->head.place, &values[0]);
    } else {
        build_named(loader, raw, values);
    }
    connection->values = values;
    connection->n_values = n;
    switch (connection->inject.scheme) {
    case TH_INJECT_BEARER:
        check_bearer(loader, place, connection);
        break;
    case TH_INJECT_BASIC:
        check_basic(loader, place, connection);
        break;
    case TH_INJECT_TEMPLATE:
        check_template(loader, place, connection);
        break;
    }
}
