#include "scopes.h"

#include "tokenhop/base/check.h"

bool th_scopes_next(struct th_str *list, struct th_str *ret_scope)
{
    while (list->len > 0 && list->ptr[0] == ' ') {
        list->ptr++;
        list->len--;
    }
    if (list->len == 0)
        return false;
    const char *space = memchr(list->ptr, ' ', list->len);
    *ret_scope =
        (struct th_str){list->ptr, space != NULL ? (size_t)(space - list->ptr) : list->len};
    list->ptr += ret_scope->len;
    list->len -= ret_scope->len;
    return true;
}

bool th_scopes_contain(struct th_str list, struct th_str scope)
{
    struct th_str one;
    while (th_scopes_next(&list, &one)) {
        if (th_str_equal(one, scope))
            return true;
    }
    return false;
}

bool th_scopes_within(struct th_str list, struct th_str allowed)
{
    struct th_str one;
    while (th_scopes_next(&list, &one)) {
        if (!th_scopes_contain(allowed, one))
            return false;
    }
    return true;
}

bool th_scopes_have_system(struct th_str list)
{
    static const struct th_str system[] = {
        {"openid", 6}, {"profile", 7}, {"email", 5}, {"offline_access", 14}, {"device_sso", 10},
    };
    for (size_t i = 0; i < TH_COUNT_OF(system); i++) {
        if (th_scopes_contain(list, system[i]))
            return true;
    }
    return false;
}

bool th_scopes_are_well_formed(struct th_str list)
{
    bool after_space = true;
    for (size_t i = 0; i < list.len; i++) {
        char c = list.ptr[i];
        if (c == ' ' && after_space)
            return false;
        after_space = c == ' ';
        /* scope-token of RFC 6749, 3.3, without '+', which tells of a form encoded twice or not at all */
        if (c != ' ' && (c < 0x21 || c > 0x7e || c == '"' || c == '\\' || c == '+'))
            return false;
    }
    if (list.len > 0 && after_space)
        return false;
    struct th_str rest = list, one;
    while (th_scopes_next(&rest, &one)) {
        if (th_scopes_contain(rest, one))
            return false;
    }
    return true;
}
