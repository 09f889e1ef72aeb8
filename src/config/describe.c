/* Words for what a key wants. */
#include <stdarg.h>
#include <stdio.h>

#include "key.h"
#include "text.h"

struct line {
    char *text;
    size_t size, len;
};

static void add(struct line *line, const char *fmt, ...) TH_PRINTF(2, 3);

static void add(struct line *line, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(line->text + line->len, line->size - line->len, fmt, args);
    va_end(args);
    if (len > 0)
        line->len +=
            (size_t)len < line->size - line->len ? (size_t)len : line->size - line->len - 1;
}

static void add_choices(struct line *line, const struct th_config_key_choice *choices)
{
    const char *waiting = NULL;
    size_t n = 0;
    for (; choices->name != NULL; choices++) {
        if (waiting != NULL)
            add(line, "%s\"%s\"", n++ > 0 ? ", " : "", waiting);
        waiting = choices->name;
    }
    if (waiting != NULL)
        add(line, "%s\"%s\"", n > 0 ? " or " : "", waiting);
}

static void add_range(struct line *line, const struct th_config_key *key)
{
    char min[32], max[32];
    if (key->type == TH_KEY_DURATION) {
        th_text_from_duration((int64_t)key->min, min, sizeof(min));
        th_text_from_duration((int64_t)key->max, max, sizeof(max));
        add(line, "a duration from %s to %s", min, max);
    } else if (key->type == TH_KEY_SIZE) {
        th_text_from_size(key->min, min, sizeof(min));
        th_text_from_size(key->max, max, sizeof(max));
        add(line, "a size from %s to %s", min, max);
    } else {
        add(line, "a whole number from %llu to %llu", (unsigned long long)key->min,
            (unsigned long long)key->max);
    }
}

static void add_one(struct line *line, const struct th_config_key *key)
{
    switch (th_config_key_form(key->type)) {
    case TH_FORM_TEXT:
        add(line, "%s", th_config_key_text_kind(key->type)->name);
        break;
    case TH_FORM_DURATION:
    case TH_FORM_SIZE:
    case TH_FORM_COUNT:
        add_range(line, key);
        break;
    case TH_FORM_BOOLEAN:
        add(line, "true or false");
        break;
    case TH_FORM_ENUM:
        add_choices(line, key->choices);
        break;
    case TH_FORM_OBJECT:
        add(line, "an object");
        break;
    case TH_FORM_RULES:
        add_choices(line, key->choices);
        add(line, ", or a list of rules");
        break;
    }
}

void th_config_key_describe(const struct th_config_key *key, char *ret_text, size_t size)
{
    struct line line = {ret_text, size, 0};
    const struct th_text_kind *kind = th_config_key_text_kind(key->type);
    ret_text[0] = '\0';
    switch (key->shape) {
    case TH_KEY_ONE:
        add_one(&line, key);
        break;
    case TH_KEY_ONE_OR_LIST:
        add_one(&line, key);
        add(&line, " or a list of %s", kind != NULL ? kind->plural : "objects");
        break;
    case TH_KEY_LIST:
        add(&line, "a list of %s", kind != NULL ? kind->plural : "objects");
        break;
    case TH_KEY_MAP:
        add(&line, "an object that holds objects by name");
        break;
    }
}

void th_config_key_describe_choices(const struct th_config_key_choice *choices, char *ret_text,
                                    size_t size)
{
    struct line line = {ret_text, size, 0};
    ret_text[0] = '\0';
    add_choices(&line, choices);
}
