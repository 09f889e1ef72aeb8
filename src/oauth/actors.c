#include "actors.h"

#include "tokenhop/base/check.h"
#include "tokenhop/oauth/jose.h"

void th_actors_read(const json_t *claims, struct th_actors *ret_actors)
{
    ret_actors->count = 0;
    const json_t *act = json_object_get(claims, "act");
    while (json_is_object(act) && ret_actors->count < TH_JSON_DEPTH_MAX) {
        ret_actors->subs[ret_actors->count++] = th_jwt_text(act, "sub");
        act = json_object_get(act, "act");
    }
}

static bool is_asked(struct th_str scope, const struct th_scope_limit *limit)
{
    static const char *const of_claims[] = {"openid", "profile", "email", "address", "phone"};
    for (size_t i = 0; i < limit->n_asked; i++) {
        if (th_str_equal(limit->asked[i], scope))
            return true;
    }
    for (size_t i = 0; limit->with_claims && i < TH_COUNT_OF(of_claims); i++) {
        if (th_str_equal(th_str_of(of_claims[i]), scope))
            return true;
    }
    return false;
}

static bool has(struct th_str text, char c)
{
    return text.len > 0 && memchr(text.ptr, c, text.len) != NULL;
}

char th_scope_parting(struct th_str text, char separator)
{
    return !has(text, ' ') && has(text, separator) ? separator : ' ';
}

/* Where nothing parts it and there is a '+', by that (reference, 1). */
static bool text_within(struct th_str text, const struct th_scope_limit *limit)
{
    char parting = th_scope_parting(text, limit->separator);
    if (!has(text, parting) && has(text, '+') && !is_asked(text, limit))
        parting = '+';
    struct th_str scope;
    while (th_str_take_word(&text, parting, &scope)) {
        if (scope.len > 0 && !is_asked(scope, limit))
            return false;
    }
    return true;
}

bool th_scope_claim_within(const json_t *claims, const char *name,
                           const struct th_scope_limit *limit)
{
    const json_t *claim = json_object_get(claims, name);
    if (claim == NULL || json_is_null(claim))
        return true;
    if (json_is_string(claim))
        return text_within(th_jwt_text(claims, name), limit);
    if (!json_is_array(claim))
        return false;
    for (size_t i = 0; i < json_array_size(claim); i++) {
        const json_t *one = json_array_get(claim, i);
        struct th_str scope = {json_string_value(one), json_string_length(one)};
        if (!json_is_string(one) || !is_asked(scope, limit))
            return false;
    }
    return true;
}
