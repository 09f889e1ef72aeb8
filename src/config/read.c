/* Reads the file's tree into the raw structs, as the table of keys says. */
#include <stdio.h>
#include <stdlib.h>

#include "loader.h"
#include "text.h"
#include "tokenhop/base/check.h"

static const char *json_kind(const json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    case JSON_NULL:
        return "null";
    }
    return "something else";
}

static struct th_str text_of(const json_t *json)
{
    return (struct th_str){json_string_value(json), json_string_length(json)};
}

/* What is wanted, and for a bare number how a quantity is written. */
static void report_kind(struct th_loader *l, const struct th_config_key *key, struct th_value v,
                        const char *wanted)
{
    char mend[160] = "";
    bool whole = json_is_integer(v.json) && json_integer_value(v.json) >= 0;
    if (key->type == TH_KEY_DURATION && whole)
        snprintf(mend, sizeof(mend), "write \"%llds\" for seconds or \"%lldms\" for milliseconds",
                 (long long)json_integer_value(v.json), (long long)json_integer_value(v.json));
    else if (key->type == TH_KEY_SIZE && whole)
        snprintf(mend, sizeof(mend), "write \"%lldB\" for bytes or \"%lldKiB\" for kibibytes",
                 (long long)json_integer_value(v.json), (long long)json_integer_value(v.json));
    else if (key->type == TH_KEY_COUNT && json_is_string(v.json))
        snprintf(mend, sizeof(mend), "leave out the quotes");
    else if (key->type == TH_KEY_BOOLEAN && json_is_string(v.json))
        snprintf(mend, sizeof(mend), "write true or false without quotes");
    th_loader_report(l, v.place, mend, "%s is wanted here, not %s", wanted, json_kind(v.json));
}

static bool read_text(struct th_loader *l, const struct th_config_key *key, struct th_value v,
                      struct th_str *ret_text)
{
    const struct th_text_kind *kind = th_config_key_text_kind(key->type);
    struct th_errinfo info = {0};
    char digits[24] = "";
    bool any = key->type == TH_KEY_VALUE;
    if ((any || key->type == TH_KEY_PORTS) && json_is_integer(v.json)) {
        snprintf(digits, sizeof(digits), "%lld", (long long)json_integer_value(v.json));
    } else if (any && json_is_boolean(v.json)) {
        snprintf(digits, sizeof(digits), "%s", json_is_true(v.json) ? "true" : "false");
    } else if (!json_is_string(v.json)) {
        report_kind(l, key, v, kind->name);
        return false;
    }
    struct th_str text = digits[0] != '\0' ? th_str_of(digits) : text_of(v.json);
    if (text.len == 0 && !key->may_be_empty) {
        th_loader_report(l, v.place, NULL, "%s is wanted here, not an empty string", kind->name);
        return false;
    }
    if (text.len > th_config_key_max_len(key)) {
        th_loader_report(l, v.place, NULL, "this is longer than %llu bytes",
                         (unsigned long long)th_config_key_max_len(key));
        return false;
    }
    if (kind->check != NULL && kind->check(text, &info) < 0) {
        th_loader_report_info(l, v.place, &info);
        return false;
    }
    *ret_text = th_loader_copy(l, text);
    return ret_text->ptr != NULL;
}

static void read_quantity(struct th_loader *l, const struct th_config_key *key, struct th_value v,
                          void *field)
{
    struct th_errinfo info = {0};
    char wanted[120];
    uint64_t value = 0;
    int64_t ms = 0;
    bool ok = key->type == TH_KEY_COUNT ? json_is_integer(v.json) : json_is_string(v.json);
    th_config_key_describe(key, wanted, sizeof(wanted));
    if (!ok) {
        report_kind(l, key, v, wanted);
        return;
    }
    if (key->type == TH_KEY_COUNT) {
        ok = json_integer_value(v.json) >= 0;
        value = ok ? (uint64_t)json_integer_value(v.json) : 0;
    } else {
        int r = key->type == TH_KEY_DURATION ? th_text_to_duration(text_of(v.json), &ms, &info)
                                             : th_text_to_size(text_of(v.json), &value, &info);
        if (r < 0) {
            th_loader_report_info(l, v.place, &info);
            return;
        }
        value = key->type == TH_KEY_DURATION ? (uint64_t)ms : value;
    }
    if (!ok || value < key->min || value > key->max)
        th_loader_report(l, v.place, NULL, "this is out of range: %s is wanted", wanted);
    else if (key->type == TH_KEY_DURATION)
        *(int64_t *)field = (int64_t)value;
    else
        *(uint64_t *)field = value;
}

static void read_choice(struct th_loader *l, const struct th_config_key *key, struct th_value v,
                        unsigned *ret_choice)
{
    char known[200], mend[240];
    struct th_nearest nearest;
    th_config_key_describe_choices(key->choices, known, sizeof(known));
    if (!json_is_string(v.json)) {
        report_kind(l, key, v, known);
        return;
    }
    th_nearest_init(&nearest, text_of(v.json));
    for (const struct th_config_key_choice *choice = key->choices; choice->name != NULL; choice++) {
        if (th_str_equal(th_str_of(choice->name), text_of(v.json))) {
            *ret_choice = (unsigned)choice->value;
            return;
        }
        th_nearest_offer(&nearest, th_str_of(choice->name));
    }
    if (nearest.best.len > 0)
        snprintf(mend, sizeof(mend), "did you mean \"%.*s\"?", TH_STR_ARGS(nearest.best));
    else
        snprintf(mend, sizeof(mend), "write %s", known);
    th_loader_report(l, v.place, mend, "this is none of the values that \"%s\" can have",
                     key->name);
}

/* The first item's place; TH_SOURCE_NONE for a default, whose items are nowhere in the file. */
static uint32_t first_item(const struct th_loader *l, struct th_value v)
{
    const struct th_source_node *node = &l->source.nodes[v.place];
    char open = json_is_array(v.json) ? '[' : '{';
    size_t n = json_is_array(v.json) ? json_array_size(v.json) : json_object_size(v.json);
    if (l->source.blanked[node->value] != open || node->n_children != n)
        return TH_SOURCE_NONE;
    return th_source_first_child(&l->source, v.place);
}

static bool check_size(struct th_loader *l, const struct th_config_key *key, struct th_value v,
                       size_t n)
{
    if (n < key->min_items)
        th_loader_report(l, v.place, NULL, "\"%s\" needs at least %zu", key->name, key->min_items);
    if (n > th_config_key_max_items(key))
        th_loader_report(l, v.place, NULL, "\"%s\" can have %zu at most", key->name,
                         th_config_key_max_items(key));
    return n <= th_config_key_max_items(key);
}

static void read_texts(struct th_loader *l, const struct th_config_key *key, struct th_value v,
                       struct th_raw_list *ret_list)
{
    bool bare = key->shape == TH_KEY_ONE_OR_LIST && json_is_string(v.json);
    char wanted[120];
    if (!bare && !json_is_array(v.json)) {
        th_config_key_describe(key, wanted, sizeof(wanted));
        report_kind(l, key, v, wanted);
        return;
    }
    size_t n = bare ? 1 : json_array_size(v.json);
    if (!check_size(l, key, v, n))
        return;
    struct th_str *items = th_loader_alloc(l, n, sizeof(*items));
    if (items == NULL)
        return;
    uint32_t place = bare ? v.place : first_item(l, v);
    for (size_t i = 0; i < n; i++) {
        struct th_value item = {bare ? v.json : json_array_get(v.json, i),
                                place != TH_SOURCE_NONE ? place : v.place};
        (void)read_text(l, key, item, &items[i]);
        place = th_source_next(&l->source, place);
    }
    ret_list->items = items;
    ret_list->n = n;
}

static void set_head(void *item, uint32_t place, struct th_str name)
{
    struct th_raw_head *head = item;
    head->place = place;
    head->name = name;
}

static void read_object_list(struct th_loader *l, const struct th_config_key *key,
                             struct th_value v, struct th_raw_objects *ret_objects)
{
    bool bare = key->shape == TH_KEY_ONE_OR_LIST && json_is_object(v.json);
    if (!bare && !json_is_array(v.json)) {
        report_kind(l, key, v,
                    key->shape == TH_KEY_ONE_OR_LIST ? "an object or a list of objects"
                                                     : "a list of objects");
        return;
    }
    size_t n = bare ? 1 : json_array_size(v.json), size = key->section->size;
    if (!check_size(l, key, v, n))
        return;
    char *items = th_loader_alloc(l, n, size);
    if (items == NULL)
        return;
    uint32_t place = bare ? v.place : first_item(l, v);
    for (size_t i = 0; i < n; i++) {
        struct th_value item = {bare ? v.json : json_array_get(v.json, i),
                                place != TH_SOURCE_NONE ? place : v.place};
        set_head(items + i * size, item.place, TH_STR_NONE);
        th_read_section(l, item, key->section, items + i * size);
        place = th_source_next(&l->source, place);
    }
    ret_objects->items = items;
    ret_objects->n = n;
}

static void read_object_map(struct th_loader *l, const struct th_config_key *key, struct th_value v,
                            struct th_raw_objects *ret_objects)
{
    if (!json_is_object(v.json)) {
        report_kind(l, key, v, "an object that holds objects by name");
        return;
    }
    size_t n = json_object_size(v.json), size = key->section->size;
    if (!check_size(l, key, v, n))
        return;
    char *item = th_loader_alloc(l, n, size);
    if (item == NULL)
        return;
    ret_objects->items = item;
    ret_objects->n = n;
    /* jansson keeps the members in the file's order, which is the order of the places */
    uint32_t place = first_item(l, v);
    const char *name;
    json_t *member;
    json_object_foreach(v.json, name, member)
    {
        struct th_value value = {member, place != TH_SOURCE_NONE ? place : v.place};
        struct th_errinfo info = {0};
        bool good = th_text_check_name(th_str_of(name), &info) == 0;
        if (!good)
            th_loader_report_key(l, value.place, info.mend, "%s", info.what);
        set_head(item, value.place, good ? th_loader_copy(l, th_str_of(name)) : TH_STR_NONE);
        th_read_section(l, value, key->section, item);
        item += size;
        place = th_source_next(&l->source, place);
    }
}

static void read_rules(struct th_loader *l, const struct th_config_key *key, struct th_value v,
                       struct th_raw_rules *ret_rules)
{
    if (json_is_array(v.json))
        read_object_list(l, key, v, &ret_rules->rules);
    else
        read_choice(l, key, v, &ret_rules->choice);
}

static void read_key(struct th_loader *l, const struct th_config_key *key, struct th_value v,
                     void *base)
{
    void *field = (char *)base + key->offset;
    if (th_config_key_text_kind(key->type) != NULL) {
        if (key->shape == TH_KEY_ONE)
            (void)read_text(l, key, v, field);
        else
            read_texts(l, key, v, field);
    } else if (key->type == TH_KEY_DURATION || key->type == TH_KEY_SIZE ||
               key->type == TH_KEY_COUNT) {
        read_quantity(l, key, v, field);
    } else if (key->type == TH_KEY_BOOLEAN) {
        if (json_is_boolean(v.json))
            *(bool *)field = json_is_true(v.json);
        else
            report_kind(l, key, v, "true or false");
    } else if (key->type == TH_KEY_ENUM) {
        read_choice(l, key, v, field);
    } else if (key->type == TH_KEY_RULES) {
        read_rules(l, key, v, field);
    } else if (key->shape == TH_KEY_ONE) {
        th_read_section(l, v, key->section, field);
    } else if (key->shape == TH_KEY_LIST || key->shape == TH_KEY_ONE_OR_LIST) {
        read_object_list(l, key, v, field);
    } else {
        read_object_map(l, key, v, field);
    }
}

/* A default goes the way of what stands in the file, so that it is checked by the same rules. */
static void read_default(struct th_loader *l, const struct th_config_key *key, uint32_t place,
                         void *base)
{
    json_t *json = th_config_key_default(key);
    if (json == NULL) {
        l->nomem = true;
        return;
    }
    read_key(l, key, (struct th_value){json, place}, base);
    json_decref(json);
}

static void read_defaults(struct th_loader *l, const struct th_section *section, uint32_t place,
                          void *base)
{
    for (size_t i = 0; i < section->n_keys && !l->nomem; i++) {
        const struct th_config_key *key = &section->keys[i];
        if (key->type == TH_KEY_OBJECT && key->shape == TH_KEY_ONE)
            read_defaults(l, key->section, place, (char *)base + key->offset);
        else if (key->default_text != NULL)
            read_default(l, key, place, base);
    }
}

static void report_unknown(struct th_loader *l, const struct th_section *section, const char *name,
                           uint32_t place)
{
    struct th_nearest nearest;
    char mend[240];
    size_t used = 0;
    th_nearest_init(&nearest, th_str_of(name));
    for (size_t i = 0; i < section->n_keys; i++)
        th_nearest_offer(&nearest, th_str_of(section->keys[i].name));
    if (nearest.best.len > 0) {
        snprintf(mend, sizeof(mend), "did you mean \"%.*s\"?", TH_STR_ARGS(nearest.best));
    } else {
        used = (size_t)snprintf(mend, sizeof(mend), "known here:");
        for (size_t i = 0; i < section->n_keys && used < sizeof(mend); i++)
            used += (size_t)snprintf(mend + used, sizeof(mend) - used, "%s %s", i > 0 ? "," : "",
                                     section->keys[i].name);
    }
    th_loader_report_key(l, place, mend, "unknown key \"%.64s\"", name);
}

static size_t find_key(const struct th_section *section, const char *name)
{
    size_t i = 0;
    while (i < section->n_keys && strcmp(section->keys[i].name, name) != 0)
        i++;
    return i;
}

static bool has_seen(const struct th_section *section, uint64_t seen, const char *name)
{
    return (seen >> find_key(section, name) & 1) != 0;
}

/* "\"a\", \"b\" and \"c\"" */
static void list_keys(const char *const keys[TH_EXACTLY_ONE_MAX], char *ret_text, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < TH_EXACTLY_ONE_MAX && keys[i] != NULL && used < size; i++) {
        bool last = i + 1 == TH_EXACTLY_ONE_MAX || keys[i + 1] == NULL;
        used += (size_t)snprintf(ret_text + used, size - used, "%s\"%s\"",
                                 i == 0 ? ""
                                 : last ? " and "
                                        : ", ",
                                 keys[i]);
    }
}

static void check_exactly_one(struct th_loader *l, const struct th_section *section,
                              const char *const one[TH_EXACTLY_ONE_MAX], uint32_t place,
                              uint64_t seen)
{
    const char *said = NULL;
    char keys[160];
    if (one[0] == NULL)
        return;
    for (size_t i = 0; i < TH_EXACTLY_ONE_MAX && one[i] != NULL; i++) {
        if (!has_seen(section, seen, one[i]))
            continue;
        if (said != NULL)
            th_loader_report_key(l, th_loader_member(l, place, one[i]), "keep one of them",
                                 "\"%s\" and \"%s\" exclude each other", said, one[i]);
        said = one[i];
    }
    if (said != NULL)
        return;
    list_keys(one, keys, sizeof(keys));
    th_loader_report(l, place, NULL, "one of the keys %s is missing", keys);
}

static void check_at_least_one(struct th_loader *l, const struct th_section *section,
                               const char *const keys[TH_EXACTLY_ONE_MAX], uint32_t place,
                               uint64_t seen)
{
    char list[160];
    for (size_t i = 0; i < TH_EXACTLY_ONE_MAX && keys[i] != NULL; i++) {
        if (has_seen(section, seen, keys[i]))
            return;
    }
    if (keys[0] == NULL)
        return;
    list_keys(keys, list, sizeof(list));
    th_loader_report(l, place, NULL, "one of the keys %s is missing", list);
}

static void check_rule(struct th_loader *l, const struct th_section *section,
                       const struct th_section_rule *rule, uint32_t place, uint64_t seen)
{
    char wanted[160], mend[240];
    for (size_t i = 0; i < TH_SECTION_RULE_MAX && rule->required[i] != NULL; i++) {
        if (has_seen(section, seen, rule->required[i]))
            continue;
        th_config_key_describe(&section->keys[find_key(section, rule->required[i])], wanted,
                               sizeof(wanted));
        snprintf(mend, sizeof(mend), "add it: %s", wanted);
        th_loader_report(l, place, mend, "the key \"%s\" is missing: the %s \"%s\" needs it",
                         rule->required[i], rule->key, rule->value);
    }
    for (size_t i = 0; i < TH_SECTION_RULE_MAX && rule->excluded[i] != NULL; i++) {
        if (!has_seen(section, seen, rule->excluded[i]))
            continue;
        snprintf(mend, sizeof(mend), "leave it out: %s", rule->why);
        th_loader_report_key(l, th_loader_member(l, place, rule->excluded[i]), mend,
                             "the %s \"%s\" has no \"%s\"", rule->key, rule->value,
                             rule->excluded[i]);
    }
    check_exactly_one(l, section, rule->exactly_one, place, seen);
    check_at_least_one(l, section, rule->at_least_one, place, seen);
}

static void check_rules(struct th_loader *l, const struct th_section *section,
                        struct th_value value, uint64_t seen)
{
    for (size_t i = 0; i < section->n_rules; i++) {
        const struct th_section_rule *rule = &section->rules[i];
        const char *said = json_string_value(json_object_get(value.json, rule->key));
        if (said != NULL && strcmp(said, rule->value) == 0)
            check_rule(l, section, rule, value.place, seen);
    }
}

static void check_together(struct th_loader *l, const struct th_section *section, uint32_t place,
                           uint64_t seen)
{
    const char *const *both = section->together;
    if (both[0] == NULL)
        return;
    bool first = has_seen(section, seen, both[0]), second = has_seen(section, seen, both[1]);
    if (first != second)
        th_loader_report(l, place, NULL, "the keys \"%s\" and \"%s\" need each other", both[0],
                         both[1]);
}

static void check_missing(struct th_loader *l, const struct th_section *section, uint32_t place,
                          uint64_t seen)
{
    char wanted[160], mend[240];
    for (size_t i = 0; i < section->n_keys; i++) {
        const struct th_config_key *key = &section->keys[i];
        if (!key->required || (seen >> i & 1) != 0)
            continue;
        th_config_key_describe(key, wanted, sizeof(wanted));
        snprintf(mend, sizeof(mend), "add it: %s", wanted);
        th_loader_report(l, place, mend, "the key \"%s\" is missing", key->name);
    }
    check_exactly_one(l, section, section->exactly_one, place, seen);
    check_at_least_one(l, section, section->at_least_one, place, seen);
}

void th_read_section(struct th_loader *loader, struct th_value value,
                     const struct th_section *section, void *base)
{
    uint64_t seen = 0;
    const char *name;
    json_t *member;
    read_defaults(loader, section, value.place, base);
    if (!json_is_object(value.json)) {
        th_loader_report(loader, value.place, NULL, "an object is wanted here, not %s",
                         json_kind(value.json));
        return;
    }
    uint32_t place = first_item(loader, value);
    json_object_foreach(value.json, name, member)
    {
        if (loader->nomem || TH_CHECK_FAILS(place != TH_SOURCE_NONE))
            return;
        size_t i = find_key(section, name);
        if (i == section->n_keys) {
            report_unknown(loader, section, name, place);
        } else {
            seen |= (uint64_t)1 << i;
            read_key(loader, &section->keys[i], (struct th_value){member, place}, base);
        }
        place = th_source_next(&loader->source, place);
    }
    check_missing(loader, section, value.place, seen);
    check_together(loader, section, value.place, seen);
    check_rules(loader, section, value, seen);
}
