/* What a row of the table means beyond its own columns. */
#include "key.h"

#include <stdlib.h>

#include "template.h"
#include "text.h"
#include "token_request.h"
#include "tokenhop/base/check.h"
#include "url.h"

static const struct th_text_kind text_kinds[] = {
    [TH_KEY_STRING] = {"a string", "strings", TH_VISIBLE_PATTERN, th_text_check_visible},
    [TH_KEY_NAME] = {"a name", "names", TH_NAME_PATTERN, th_text_check_name},
    [TH_KEY_REFERENCE] = {"a name", "names", TH_NAME_PATTERN, th_text_check_name},
    [TH_KEY_VARIABLE] = {"a variable's name", "variables' names", "^[A-Za-z_][A-Za-z0-9_]*$",
                         th_text_check_variable},
    [TH_KEY_FILE] = {"a file's name", "files' names", NULL, th_text_check_file},
    [TH_KEY_URL] = {"a URL", "URLs", "^[Hh][Tt][Tt][Pp][Ss]?://[^\\s#\\\\@]+$", NULL},
    [TH_KEY_RESOURCE] = {"a URI", "URIs", "^[A-Za-z][A-Za-z0-9+.-]*:[^\\s#]+$",
                         th_config_url_check_absolute},
    [TH_KEY_PATTERN] = {"a URL pattern", "URL patterns",
                        "^[Hh][Tt][Tt][Pp][Ss]?://(\\*\\.)?[^\\s#?*\\\\@]+$", NULL},
    [TH_KEY_PATH] = {"a path", "paths", "^/[^\\s#?\\\\]*$", th_config_url_check_path},
    [TH_KEY_SCOPE] = {"a scope", "scopes", TH_SCOPE_PATTERN, th_text_check_scope},
    [TH_KEY_TOKEN_TYPE] = {"a token type", "token types", TH_TOKEN_TYPE_PATTERN,
                           th_token_type_check},
    [TH_KEY_PARAMETER] = {"the name of a parameter", "names of parameters", TH_PARAMETER_PATTERN,
                          th_parameter_check},
    [TH_KEY_FIELD] = {"the name of a header field", "names of header fields", TH_FIELD_PATTERN,
                      th_text_check_field},
    [TH_KEY_TEMPLATE] = {"a template", "templates", TH_TEMPLATE_PATTERN, th_template_check},
    [TH_KEY_ADDRESS] = {"an address and port", "addresses and ports", "^[0-9A-Fa-f.:\\[\\]]+$",
                        NULL},
    [TH_KEY_ENDPOINT] = {"an address and port, or unix: and a path",
                         "addresses and ports, or unix: and paths",
                         "^(unix:.+|[0-9A-Fa-f.:\\[\\]]+)$", NULL},
    [TH_KEY_PLACE] = {"an address and port, unix: and a path, or systemd: and a name",
                      "addresses and ports, unix: and paths, or systemd: and names",
                      "^(unix:.+|systemd:[A-Za-z0-9._-]{1,64}|[0-9A-Fa-f.:\\[\\]]+)$", NULL},
    [TH_KEY_NETWORK] = {"an address or network", "addresses and networks",
                        "^[0-9A-Fa-f.:\\[\\]]+(/[0-9]{1,3})?$", NULL},
    [TH_KEY_SOURCE] = {"an address or network, or unix", "addresses and networks, or unix",
                       "^(unix|[0-9A-Fa-f.:\\[\\]]+(/[0-9]{1,3})?)$", NULL},
    [TH_KEY_PERCENT] = {"a percentage from 1% to 100%", "percentages", TH_PERCENT_PATTERN,
                        th_text_check_percent},
    [TH_KEY_MODE] = {"a mode in octal digits", "modes in octal digits", TH_MODE_PATTERN,
                     th_text_check_mode},
    [TH_KEY_PORTS] = {"a port or a range of ports", "ports and ranges of ports", TH_PORTS_PATTERN,
                      th_text_check_ports},
    [TH_KEY_VALUE] = {"a text, a whole number, true or false", "values", NULL, NULL},
};

const struct th_text_kind *th_config_key_text_kind(enum th_config_key_type type)
{
    return (size_t)type < TH_COUNT_OF(text_kinds) ? &text_kinds[type] : NULL;
}

enum th_config_key_form th_config_key_form(enum th_config_key_type type)
{
    switch (type) {
    case TH_KEY_STRING:
    case TH_KEY_NAME:
    case TH_KEY_REFERENCE:
    case TH_KEY_VARIABLE:
    case TH_KEY_FILE:
    case TH_KEY_URL:
    case TH_KEY_RESOURCE:
    case TH_KEY_PATTERN:
    case TH_KEY_PATH:
    case TH_KEY_SCOPE:
    case TH_KEY_TOKEN_TYPE:
    case TH_KEY_PARAMETER:
    case TH_KEY_FIELD:
    case TH_KEY_TEMPLATE:
    case TH_KEY_ADDRESS:
    case TH_KEY_ENDPOINT:
    case TH_KEY_PLACE:
    case TH_KEY_NETWORK:
    case TH_KEY_SOURCE:
    case TH_KEY_PERCENT:
    case TH_KEY_MODE:
    case TH_KEY_PORTS:
    case TH_KEY_VALUE:
        return TH_FORM_TEXT;
    case TH_KEY_DURATION:
        return TH_FORM_DURATION;
    case TH_KEY_SIZE:
        return TH_FORM_SIZE;
    case TH_KEY_COUNT:
        return TH_FORM_COUNT;
    case TH_KEY_BOOLEAN:
        return TH_FORM_BOOLEAN;
    case TH_KEY_ENUM:
        return TH_FORM_ENUM;
    case TH_KEY_OBJECT:
        return TH_FORM_OBJECT;
    case TH_KEY_RULES:
        return TH_FORM_RULES;
    }
    return TH_FORM_TEXT;
}

uint64_t th_config_key_max_len(const struct th_config_key *key)
{
    return key->max != 0 ? key->max : TH_URL_MAX_LEN;
}

size_t th_config_key_max_items(const struct th_config_key *key)
{
    return key->max_items != 0 ? key->max_items : 1024;
}

static json_t *default_list(const char *text)
{
    json_t *list = json_array();
    while (list != NULL && *text != '\0') {
        size_t len = strcspn(text, " ");
        if (json_array_append_new(list, json_stringn(text, len)) < 0) {
            json_decref(list);
            return NULL;
        }
        text += len + strspn(text + len, " ");
    }
    return list;
}

json_t *th_config_key_default(const struct th_config_key *key)
{
    const char *text = key->default_text;
    if (key->shape == TH_KEY_MAP)
        return json_object();
    if (key->shape != TH_KEY_ONE)
        return default_list(text);
    if (key->type == TH_KEY_COUNT)
        return json_integer(strtoll(text, NULL, 10));
    if (key->type == TH_KEY_BOOLEAN)
        return json_boolean(strcmp(text, "true") == 0);
    return json_string(text);
}
