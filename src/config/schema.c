/* The table of keys as a JSON Schema (2020-12). Every section is a definition of its own. */
#include <jansson.h>
#include <stdio.h>

#include "key.h"
#include "text.h"
#include "tokenhop/config/load.h"

/* jansson fails by NULL and -1 when memory is short; one flag gathers it. */
struct schema {
    json_t *definitions;
    bool failed;
};

static void put(struct schema *s, json_t *object, const char *name, json_t *value)
{
    if (json_object_set_new(object, name, value) < 0)
        s->failed = true;
}

static void append(struct schema *s, json_t *list, json_t *value)
{
    if (json_array_append_new(list, value) < 0)
        s->failed = true;
}

static json_t *typed(struct schema *s, const char *type)
{
    json_t *json = json_object();
    put(s, json, "type", json_string(type));
    return json;
}

static json_t *either(struct schema *s, json_t *first, json_t *second)
{
    json_t *json = json_object(), *both = json_array();
    append(s, both, first);
    append(s, both, second);
    put(s, json, "anyOf", both);
    return json;
}

static json_t *whole_number(struct schema *s, uint64_t min, uint64_t max)
{
    json_t *json = typed(s, "integer");
    put(s, json, "minimum", json_integer((json_int_t)min));
    put(s, json, "maximum", json_integer((json_int_t)max));
    return json;
}

static json_t *text_schema(struct schema *s, const struct th_config_key *key)
{
    const struct th_text_kind *kind = th_config_key_text_kind(key->type);
    json_t *json = typed(s, "string");
    if (!key->may_be_empty)
        put(s, json, "minLength", json_integer(1));
    put(s, json, "maxLength", json_integer((json_int_t)th_config_key_max_len(key)));
    if (kind->pattern != NULL)
        put(s, json, "pattern", json_string(kind->pattern));
    if (key->type == TH_KEY_PORTS)
        return either(s, whole_number(s, 1, UINT16_MAX), json);
    if (key->type == TH_KEY_VALUE)
        return either(s, either(s, typed(s, "integer"), typed(s, "boolean")), json);
    return json;
}

static json_t *choice_schema(struct schema *s, const struct th_config_key_choice *choice)
{
    json_t *json = json_object(), *names = json_array();
    for (; choice->name != NULL; choice++)
        append(s, names, json_string(choice->name));
    put(s, json, "enum", names);
    return json;
}

static void define(struct schema *s, const struct th_section *section);

static json_t *section_schema(struct schema *s, const struct th_section *section)
{
    char reference[80];
    json_t *json = json_object();
    define(s, section);
    snprintf(reference, sizeof(reference), "#/$defs/%s", section->name);
    put(s, json, "$ref", json_string(reference));
    return json;
}

static json_t *one_schema(struct schema *s, const struct th_config_key *key)
{
    json_t *json;
    switch (th_config_key_form(key->type)) {
    case TH_FORM_TEXT:
        return text_schema(s, key);
    case TH_FORM_DURATION:
    case TH_FORM_SIZE:
        json = typed(s, "string");
        put(s, json, "pattern",
            json_string(key->type == TH_KEY_SIZE ? TH_SIZE_PATTERN : TH_DURATION_PATTERN));
        return json;
    case TH_FORM_COUNT:
        return whole_number(s, key->min, key->max);
    case TH_FORM_BOOLEAN:
        return typed(s, "boolean");
    case TH_FORM_ENUM:
        return choice_schema(s, key->choices);
    case TH_FORM_OBJECT:
        return section_schema(s, key->section);
    case TH_FORM_RULES:
        break;
    }
    return NULL;
}

static json_t *list_schema(struct schema *s, const struct th_config_key *key, json_t *items)
{
    json_t *json = typed(s, "array");
    put(s, json, "items", items);
    if (key->min_items > 0)
        put(s, json, "minItems", json_integer((json_int_t)key->min_items));
    put(s, json, "maxItems", json_integer((json_int_t)th_config_key_max_items(key)));
    return json;
}

static json_t *map_schema(struct schema *s, const struct th_config_key *key)
{
    json_t *json = typed(s, "object"), *names = json_object();
    put(s, names, "pattern", json_string(TH_NAME_PATTERN));
    put(s, json, "propertyNames", names);
    put(s, json, "additionalProperties", one_schema(s, key));
    if (key->min_items > 0)
        put(s, json, "minProperties", json_integer((json_int_t)key->min_items));
    put(s, json, "maxProperties", json_integer((json_int_t)th_config_key_max_items(key)));
    return json;
}

static json_t *shaped_schema(struct schema *s, const struct th_config_key *key)
{
    if (key->type == TH_KEY_RULES)
        return either(s, choice_schema(s, key->choices),
                      list_schema(s, key, section_schema(s, key->section)));
    switch (key->shape) {
    case TH_KEY_ONE:
        return one_schema(s, key);
    case TH_KEY_LIST:
        return list_schema(s, key, one_schema(s, key));
    case TH_KEY_ONE_OR_LIST:
        return either(s, one_schema(s, key), list_schema(s, key, one_schema(s, key)));
    case TH_KEY_MAP:
        return map_schema(s, key);
    }
    return NULL;
}

static json_t *key_schema(struct schema *s, const struct th_config_key *key)
{
    char wanted[200], text[1200];
    json_t *json = shaped_schema(s, key);
    th_config_key_describe(key, wanted, sizeof(wanted));
    bool range = key->type == TH_KEY_DURATION || key->type == TH_KEY_SIZE;
    snprintf(text, sizeof(text), "%s%s%s%s", key->doc, range ? " (" : "", range ? wanted : "",
             range ? ")" : "");
    put(s, json, "description", json_string(text));
    if (key->default_text != NULL)
        put(s, json, "default", th_config_key_default(key));
    return json;
}

static json_t *name_list(struct schema *s, const char *const *names, size_t max)
{
    json_t *list = json_array();
    for (size_t i = 0; i < max && names[i] != NULL; i++)
        append(s, list, json_string(names[i]));
    return list;
}

/* "oneOf": exactly one of the keys; "anyOf": at least one of them; if any. */
static void put_some(struct schema *s, json_t *json, const char *keyword,
                     const char *const keys[TH_EXACTLY_ONE_MAX])
{
    if (keys[0] == NULL)
        return;
    json_t *choices = json_array();
    for (size_t i = 0; i < TH_EXACTLY_ONE_MAX && keys[i] != NULL; i++) {
        json_t *choice = json_object();
        put(s, choice, "required", name_list(s, &keys[i], 1));
        append(s, choices, choice);
    }
    put(s, json, keyword, choices);
}

/* Where the key has the value, some keys must stand there and others must not. */
static json_t *rule_schema(struct schema *s, const struct th_section_rule *rule)
{
    json_t *json = json_object(), *when = json_object(), *then = json_object();
    json_t *properties = json_object(), *value = json_object(), *never = json_object();
    put(s, value, "const", json_string(rule->value));
    put(s, properties, rule->key, value);
    put(s, when, "properties", properties);
    put(s, when, "required", name_list(s, &rule->key, 1));
    if (rule->required[0] != NULL)
        put(s, then, "required", name_list(s, rule->required, TH_SECTION_RULE_MAX));
    put_some(s, then, "oneOf", rule->exactly_one);
    put_some(s, then, "anyOf", rule->at_least_one);
    for (size_t i = 0; i < TH_SECTION_RULE_MAX && rule->excluded[i] != NULL; i++)
        put(s, never, rule->excluded[i], json_false());
    if (json_object_size(never) > 0)
        put(s, then, "properties", never);
    else
        json_decref(never);
    put(s, json, "if", when);
    put(s, json, "then", then);
    return json;
}

static void put_rules(struct schema *s, json_t *json, const struct th_section *section)
{
    const char *const *both = section->together;
    if (both[0] != NULL) {
        json_t *dependent = json_object();
        put(s, dependent, both[0], name_list(s, &both[1], 1));
        put(s, dependent, both[1], name_list(s, &both[0], 1));
        put(s, json, "dependentRequired", dependent);
    }
    if (section->n_rules == 0)
        return;
    json_t *all = json_array();
    for (size_t i = 0; i < section->n_rules; i++)
        append(s, all, rule_schema(s, &section->rules[i]));
    put(s, json, "allOf", all);
}

static void fill_section(struct schema *s, json_t *json, const struct th_section *section)
{
    json_t *properties = json_object(), *required = json_array();
    put(s, json, "type", json_string("object"));
    put(s, json, "additionalProperties", json_false());
    for (size_t i = 0; i < section->n_keys; i++) {
        const struct th_config_key *key = &section->keys[i];
        put(s, properties, key->name, key_schema(s, key));
        if (key->required)
            append(s, required, json_string(key->name));
    }
    put(s, json, "properties", properties);
    if (json_array_size(required) > 0)
        put(s, json, "required", required);
    else
        json_decref(required);
    put_rules(s, json, section);
    put_some(s, json, "oneOf", section->exactly_one);
    put_some(s, json, "anyOf", section->at_least_one);
}

static void define(struct schema *s, const struct th_section *section)
{
    if (s->failed || json_object_get(s->definitions, section->name) != NULL)
        return;
    json_t *json = json_object();
    put(s, s->definitions, section->name, json);
    if (!s->failed)
        fill_section(s, json, section);
}

static int add_dump(const char *bytes, size_t len, void *buf)
{
    th_buf_add(buf, bytes, len);
    return ((struct th_buf *)buf)->failed ? -1 : 0;
}

int th_config_write_schema(struct th_buf *out)
{
    struct schema s = {.definitions = json_object()};
    json_t *root = json_object();
    put(&s, root, "$schema", json_string("https://json-schema.org/draft/2020-12/schema"));
    put(&s, root, "title", json_string("Configuration of tokenhop"));
    put(&s, root, "description",
        json_string("Generated from the table of keys; do not edit. The file itself may hold // "
                    "and /* */ comments."));
    if (!s.failed)
        fill_section(&s, root, &th_section_root);
    put(&s, root, "$defs", s.definitions);
    if (json_dump_callback(root, add_dump, out, JSON_INDENT(2)) < 0)
        s.failed = true;
    json_decref(root);
    th_buf_add_char(out, '\n');
    return s.failed || out->failed ? TH_E_NOMEM : 0;
}
