/* The table of keys as a page: docs/configuration.md. */
#include <stdio.h>

#include "key.h"
#include "tokenhop/config/load.h"

static const char intro[] =
    "# Configuration\n"
    "\n"
    "<!-- Generated from the table of keys (src/config/table.c); do not edit. -->\n"
    "\n"
    "One file, JSON with `//` and `/* */` comments; trailing commas are not allowed, a key stands\n"
    "once, and a key that is not on this page is a mistake. `tokenhop check -c FILE` prints every\n"
    "mistake with its line, column and path. `config/tokenhop.schema.json` tells editors the same.\n"
    "\n"
    "- Durations are strings with a unit: `\"250ms\"`, `\"30s\"`, `\"15m\"`, `\"1h\"`. Sizes too: `\"512B\"`,\n"
    "  `\"64KiB\"`, `\"128MiB\"`, `\"1GiB\"`.\n"
    "- Names of files are relative to the folder of the configuration file.\n"
    "- No secret stands in the file: `*_file` names a file that only its owner may read, and\n"
    "  `{\"env\": \"NAME\"}` an environment variable.\n"
    "- A reload takes effect for requests that come after it. Keys marked *restart* keep their\n"
    "  value until tokenhop is started anew.\n";

static int add_dump(const char *bytes, size_t len, void *buf)
{
    th_buf_add(buf, bytes, len);
    return 0;
}

static void add_default(struct th_buf *out, const struct th_config_key *key)
{
    json_t *json = th_config_key_default(key);
    if (json == NULL || json_dump_callback(json, add_dump, out, JSON_ENCODE_ANY) < 0)
        out->failed = true;
    json_decref(json);
}

static bool is_among(const char *name, const char *const names[TH_SECTION_RULE_MAX])
{
    for (size_t i = 0; i < TH_SECTION_RULE_MAX && names[i] != NULL; i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

/* "; required for ..." or "; not with ...": what the section's rules say of a key. */
static void add_rules(struct th_buf *out, const struct th_section *section, const char *name,
                      bool excluded)
{
    size_t n = 0;
    for (size_t i = 0; i < section->n_rules; i++) {
        const struct th_section_rule *rule = &section->rules[i];
        if (is_among(name, excluded ? rule->excluded : rule->required))
            th_buf_printf(out, "%s `\"%s\"`",
                          n++ > 0    ? ","
                          : excluded ? "; not for"
                                     : "; required for",
                          rule->value);
    }
}

static void add_key(struct th_buf *out, const struct th_section *section,
                    const struct th_config_key *key)
{
    char wanted[200];
    th_config_key_describe(key, wanted, sizeof(wanted));
    th_buf_printf(out, "\n%s", wanted);
    if (key->required)
        th_buf_printf(out, "; required");
    add_rules(out, section, key->name, false);
    add_rules(out, section, key->name, true);
    if (key->default_text != NULL) {
        th_buf_printf(out, "; default `");
        add_default(out, key);
        th_buf_printf(out, "`");
    }
    if (key->needs_restart)
        th_buf_printf(out, "; *restart*");
    th_buf_printf(out, "\n\n%s\n", key->doc);
}

/* "xactly one of `a`, `b` and `c` is needed." */
static void add_some(struct th_buf *out, const char *begin,
                     const char *const keys[TH_EXACTLY_ONE_MAX])
{
    for (size_t i = 0; i < TH_EXACTLY_ONE_MAX && keys[i] != NULL; i++) {
        bool last = i + 1 == TH_EXACTLY_ONE_MAX || keys[i + 1] == NULL;
        th_buf_printf(out, "%s`%s`", i == 0 ? begin : last ? " and " : ", ", keys[i]);
    }
    th_buf_printf(out, " is needed.\n");
}

static void add_needs(struct th_buf *out, const struct th_section *section, const char *name)
{
    if (section->exactly_one[0] != NULL && strcmp(name, section->exactly_one[0]) == 0)
        add_some(out, "\nExactly one of ", section->exactly_one);
    if (section->at_least_one[0] != NULL && strcmp(name, section->at_least_one[0]) == 0)
        add_some(out, "\nAt least one of ", section->at_least_one);
    for (int exactly = 1; exactly >= 0; exactly--) {
        size_t n = 0;
        const char *const *last = NULL;
        for (size_t i = 0; i < section->n_rules; i++) {
            const struct th_section_rule *rule = &section->rules[i];
            const char *const *keys = exactly ? rule->exactly_one : rule->at_least_one;
            if (keys[0] == NULL || strcmp(name, keys[0]) != 0)
                continue;
            last = keys;
            th_buf_printf(out, "%s `\"%s\"`", n++ > 0 ? "," : "\nFor", rule->value);
        }
        if (last != NULL)
            add_some(out, exactly ? ": exactly one of " : ": at least one of ", last);
    }
}

/* What stands between a key and the keys of its section. */
static const char *step_of(const struct th_config_key *key)
{
    if (key->type == TH_KEY_RULES || key->shape == TH_KEY_LIST)
        return "[]";
    return key->shape == TH_KEY_MAP ? ".NAME" : "";
}

static void add_paths(struct th_buf *out, const struct th_section *section, const char *prefix,
                      unsigned depth)
{
    for (size_t i = 0; i < section->n_keys; i++) {
        const struct th_config_key *key = &section->keys[i];
        char path[160];
        snprintf(path, sizeof(path), "%s%s", prefix, key->name);
        th_buf_printf(out, depth == 0 ? "\n## `%s`\n" : "\n### `%s`\n", path);
        add_key(out, section, key);
        add_needs(out, section, key->name);
        if (section->together[0] != NULL && key->name == section->together[0])
            th_buf_printf(out, "\n`%s` and `%s` need each other.\n", key->name,
                          section->together[1]);
        if (key->section == NULL)
            continue;
        snprintf(path, sizeof(path), "%s%s%s.", prefix, key->name, step_of(key));
        add_paths(out, key->section, path, depth + 1);
    }
}

int th_config_write_reference(struct th_buf *out)
{
    th_buf_add(out, intro, sizeof(intro) - 1);
    add_paths(out, &th_section_root, "", 0);
    return out->failed ? TH_E_NOMEM : 0;
}
