#include "settings.h"

#include "tokenhop/base/check.h"

static const struct setting_row {
    const char *name;
    size_t offset;
    long initial, min, max;
    const char *text;
} rows[] = {
#define X(name, initial, min, max, text)                                                           \
    {#name, offsetof(struct th_sandbox_settings, name), initial, min, max, text},
#include "settings.def"
#undef X
};

static long *value_of(struct th_sandbox_settings *settings, const struct setting_row *row)
{
    return (long *)(void *)((char *)settings + row->offset);
}

void th_sandbox_settings_init(struct th_sandbox_settings *settings)
{
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++)
        *value_of(settings, &rows[i]) = rows[i].initial;
}

int th_sandbox_settings_set(struct th_sandbox_settings *settings, struct th_str name, long value,
                            struct th_errinfo *reterr)
{
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        if (!th_str_equal(name, th_str_of(rows[i].name)))
            continue;
        if (value < rows[i].min || value > rows[i].max)
            return th_errinfo_set(reterr, TH_E_CONFIG, rows[i].name, NULL,
                                  "%ld is not between %ld and %ld", value, rows[i].min,
                                  rows[i].max);
        *value_of(settings, &rows[i]) = value;
        return 0;
    }
    return th_errinfo_set(reterr, TH_E_CONFIG, NULL, "see tokenhop-sandbox --help",
                          "no setting is called %.*s", (int)(name.len < 64 ? name.len : 64),
                          name.ptr);
}

int th_sandbox_settings_parse(struct th_sandbox_settings *settings, struct th_str text,
                              struct th_errinfo *reterr)
{
    const char *equals = memchr(text.ptr, '=', text.len);
    uint64_t value = 0;
    if (equals == NULL)
        return th_errinfo_set(reterr, TH_E_CONFIG, NULL, NULL, "expected NAME=VALUE");
    struct th_str name = {text.ptr, (size_t)(equals - text.ptr)};
    struct th_str digits = {equals + 1, text.len - name.len - 1};
    if (th_str_to_u64(digits, INT32_MAX, &value) != 0)
        return th_errinfo_set(reterr, TH_E_CONFIG, NULL, NULL, "the value is not a whole number");
    return th_sandbox_settings_set(settings, name, (long)value, reterr);
}

int th_sandbox_settings_merge(struct th_sandbox_settings *settings, const json_t *object,
                              struct th_errinfo *reterr)
{
    struct th_sandbox_settings next = *settings;
    const char *name;
    json_t *value;
    if (!json_is_object(object))
        return th_errinfo_set(reterr, TH_E_CONFIG, NULL, NULL, "expected an object of settings");
    json_object_foreach((json_t *)object, name, value)
    {
        if (!json_is_integer(value) && !json_is_boolean(value))
            return th_errinfo_set(reterr, TH_E_CONFIG, name, NULL, "neither number nor boolean");
        long number =
            json_is_integer(value) ? (long)json_integer_value(value) : (long)json_is_true(value);
        int e = th_sandbox_settings_set(&next, th_str_of(name), number, reterr);
        if (e != 0)
            return e;
    }
    *settings = next;
    return 0;
}

json_t *th_sandbox_settings_json(const struct th_sandbox_settings *settings)
{
    json_t *object = json_object();
    for (size_t i = 0; object != NULL && i < TH_COUNT_OF(rows); i++) {
        const long *value = (const long *)(const void *)((const char *)settings + rows[i].offset);
        json_object_set_new(object, rows[i].name, json_integer(*value));
    }
    return object;
}

void th_sandbox_settings_help(FILE *out)
{
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++)
        fprintf(out, "  %-22s %s (%ld)\n", rows[i].name, rows[i].text, rows[i].initial);
}
