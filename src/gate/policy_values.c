#include "policy_values.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Whole numbers up to here are all different as reals (IEEE 754, binary64). */
#define EXACT_MAX 9007199254740992.0
#define NUMBER_LEN_MAX 400

static enum th_policy_fit best_of(enum th_policy_fit a, enum th_policy_fit b)
{
    return a > b ? a : b;
}

static struct th_str text_of(const json_t *json)
{
    return (struct th_str){json_string_value(json), json_string_length(json)};
}

/* --- numbers --- */

/* A whole number as the configuration writes it. */
static bool read_whole(struct th_str text, int64_t *ret_number)
{
    char room[24], *end;

    if (text.len == 0 || text.len >= sizeof room)
        return false;
    memcpy(room, text.ptr, text.len);
    room[text.len] = '\0';
    if (room[0] != '-' && (room[0] < '0' || room[0] > '9'))
        return false;
    errno = 0;
    *ret_number = strtoll(room, &end, 10);
    return errno == 0 && *end == '\0';
}

/* Whatever a lenient reader takes for a number: "03", " 3", "3.0", "3e0". */
static bool read_lenient(struct th_str text, double *ret_number)
{
    char room[NUMBER_LEN_MAX + 1], *end;

    if (text.len == 0 || text.len > NUMBER_LEN_MAX || memchr(text.ptr, '\0', text.len) != NULL)
        return false;
    memcpy(room, text.ptr, text.len);
    room[text.len] = '\0';
    *ret_number = strtod(room, &end);
    if (end == room)
        return false;
    while (*end == ' ' || (*end >= '\t' && *end <= '\r'))
        end++;
    return *end == '\0' && !isnan(*ret_number);
}

/* Beyond EXACT_MAX a real stands for many whole numbers. */
static enum th_policy_fit fit_real(double number, int64_t named)
{
    if (fabs(number) < EXACT_MAX)
        return number == (double)named ? TH_POLICY_FITS : TH_POLICY_FITS_NOT;
    return number == (double)named ? TH_POLICY_MAY_FIT : TH_POLICY_FITS_NOT;
}

static enum th_policy_fit fit_number(const json_t *json, struct th_str value)
{
    double number = json_number_value(json), named;
    int64_t whole;

    if (read_whole(value, &whole)) {
        if (json_is_real(json))
            return fit_real(number, whole);
        return json_integer_value(json) == whole ? TH_POLICY_FITS : TH_POLICY_FITS_NOT;
    }
    if (read_lenient(value, &named))
        return number == named ? TH_POLICY_MAY_FIT : TH_POLICY_FITS_NOT;
    bool is_truth = number == 1 && th_str_equal(value, TH_STR("true"));
    bool is_lie = number == 0 && th_str_equal(value, TH_STR("false"));
    return is_truth || is_lie ? TH_POLICY_MAY_FIT : TH_POLICY_FITS_NOT;
}

/* --- one value --- */

static enum th_policy_fit fit_text(struct th_str text, struct th_str value)
{
    double number, named;

    if (th_str_equal(text, value))
        return TH_POLICY_FITS;
    return read_lenient(value, &named) && read_lenient(text, &number) && number == named
               ? TH_POLICY_MAY_FIT
               : TH_POLICY_FITS_NOT;
}

static enum th_policy_fit fit_boolean(bool is_true, struct th_str value)
{
    if (th_str_equal(value, is_true ? TH_STR("true") : TH_STR("false")))
        return TH_POLICY_FITS;
    return th_str_equal(value, is_true ? TH_STR("1") : TH_STR("0")) ? TH_POLICY_MAY_FIT
                                                                    : TH_POLICY_FITS_NOT;
}

/* A text, number or boolean. What holds others may be read in some way as one of them. */
static enum th_policy_fit fit_one(const json_t *json, struct th_str value)
{
    switch (json_typeof(json)) {
    case JSON_STRING:
        return fit_text(text_of(json), value);
    case JSON_INTEGER:
    case JSON_REAL:
        return fit_number(json, value);
    case JSON_TRUE:
    case JSON_FALSE:
        return fit_boolean(json_is_true(json), value);
    case JSON_ARRAY:
    case JSON_OBJECT:
        return TH_POLICY_MAY_FIT;
    case JSON_NULL:
        break;
    }
    return TH_POLICY_FITS_NOT;
}

static enum th_policy_fit fit_any(const json_t *json, const struct th_policy_claim *claim)
{
    enum th_policy_fit fit = TH_POLICY_FITS_NOT;

    for (size_t i = 0; i < claim->n_values; i++)
        fit = best_of(fit, fit_one(json, claim->values[i]));
    return fit;
}

/* --- lists --- */

static enum th_policy_fit fit_elements(const json_t *list, const struct th_policy_claim *claim)
{
    enum th_policy_fit fit = TH_POLICY_FITS_NOT;

    for (size_t i = 0; i < json_array_size(list); i++)
        fit = best_of(fit, fit_any(json_array_get(list, i), claim));
    return fit;
}

static bool has_word(struct th_str text, const struct th_policy_claim *claim)
{
    struct th_str word;

    while (th_str_take_word(&text, ' ', &word))
        if (th_str_is_among(claim->values, claim->n_values, word))
            return true;
    return false;
}

enum th_policy_fit th_policy_fit_claim(const struct th_policy_claim *claim, const json_t *value)
{
    bool is_list = json_is_array(value);
    enum th_policy_fit fit = is_list ? fit_elements(value, claim) : fit_any(value, claim);

    switch (claim->test) {
    case TH_POLICY_EQUALS: /* a list is no one value, but who looks into it finds this one there */
        return is_list && fit == TH_POLICY_FITS ? TH_POLICY_MAY_FIT : fit;
    case TH_POLICY_CONTAINS:
    case TH_POLICY_ANY_OF:
        break;
    }
    return claim->is_words && json_is_string(value) && has_word(text_of(value), claim)
               ? TH_POLICY_FITS
               : fit;
}
