/* The answers that hold an object of named secrets in place of a token. */
#include <stdio.h>

#include "token_endpoint.h"
#include "tokenhop/base/check.h"
#include "tokenhop/oauth/jose.h"

static void fail(struct th_token_answer *answer, int error, const char *object, const char *what)
{
    answer->error = error;
    (void)snprintf(answer->why, sizeof answer->why, "%s of the answer %s", object, what);
}

static const char *find_object(const struct th_plan_leg *leg, const json_t *answer,
                               const json_t **ret_object)
{
    const char *names[] = {leg->object, leg->also_object};
    for (size_t i = 0; i < TH_COUNT_OF(names); i++) {
        *ret_object = names[i] != NULL ? json_object_get(answer, names[i]) : NULL;
        if (*ret_object != NULL)
            return names[i];
    }
    return leg->object;
}

static bool ends_a_line(struct th_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\r' || text.ptr[i] == '\n' || text.ptr[i] == '\0')
            return true;
    }
    return false;
}

/* A value that no template can name is passed over: it could be of no use. */
static int add_value(struct th_values *values, const char *name, const json_t *member,
                     const char **ret_what)
{
    if (json_is_null(member))
        return 0;
    struct th_str text = {json_string_value(member), json_string_length(member)};
    if (!json_is_string(member))
        *ret_what = "has a value that is neither a string nor null";
    else if (text.len > TH_VALUE_LEN_MAX)
        *ret_what = "has a value that is longer than 16 KiB";
    else if (ends_a_line(text))
        *ret_what = "has a value with a line's end or NUL in it";
    else
        return th_value_name_is_fine(th_str_of(name)) ? th_values_add(values, th_str_of(name), text)
                                                      : 0;
    return TH_E_EXCHANGE_FAILED;
}

void th_token_answer_read_values(const struct th_plan_leg *leg, struct th_token_answer *answer)
{
    const char *name, *what = NULL;
    const json_t *object;
    json_t *member;
    const char *place = find_object(leg, answer->object, &object);
    if (!json_is_object(object)) {
        fail(answer, TH_E_EXCHANGE_FAILED, place, "is missing or no object");
        return;
    }
    if (!th_token_answer_check_type(leg, answer))
        return;
    if (json_object_size(object) > TH_VALUES_MAX) {
        fail(answer, TH_E_EXCHANGE_FAILED, place, "has more than 64 values");
        return;
    }
    struct th_values *values = th_values_new(json_object_size(object));
    int error = values == NULL ? TH_E_NOMEM : 0;
    json_object_foreach((json_t *)object, name, member)
    {
        if (error == 0)
            error = add_value(values, name, member, &what);
    }
    if (error == 0) {
        answer->values = values;
        return;
    }
    th_values_free(values);
    fail(answer, error, place, what != NULL ? what : "finds no memory for its values");
}
