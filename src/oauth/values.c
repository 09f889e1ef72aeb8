#include "tokenhop/oauth/values.h"

#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"

struct th_values *th_values_new(size_t max)
{
    struct th_values *values = th_calloc(1, sizeof *values + max * sizeof values->items[0]);
    if (values != NULL)
        values->max = max;
    return values;
}

struct th_values *th_values_free(struct th_values *values)
{
    if (values == NULL)
        return NULL;
    for (size_t i = 0; i < values->n; i++)
        th_secret_unref(values->items[i].secret);
    th_free(values);
    return NULL;
}

bool th_value_name_is_fine(struct th_str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            c != '_' && c != '-' && c != '.')
            return false;
    }
    return name.len >= 1 && name.len <= TH_VALUE_NAME_MAX;
}

int th_values_add(struct th_values *values, struct th_str name, struct th_str text)
{
    TH_REQUIRE(values->n < values->max && th_value_name_is_fine(name));
    struct th_value *value = &values->items[values->n];
    value->secret = th_secret_new(text.ptr, text.len);
    if (value->secret == NULL)
        return TH_E_NOMEM;
    memcpy(value->name, name.ptr, name.len);
    value->name[name.len] = '\0';
    values->n++;
    return 0;
}

const struct th_secret *th_values_find(const struct th_values *values, struct th_str name)
{
    for (size_t i = 0; values != NULL && i < values->n; i++) {
        if (th_str_equal(name, th_str_of(values->items[i].name)))
            return values->items[i].secret;
    }
    return NULL;
}
