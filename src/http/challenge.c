#include "tokenhop/http/challenge.h"

#include "scan.h"

static void skip_space(struct th_str *rest)
{
    while (rest->len > 0 && (rest->ptr[0] == ' ' || rest->ptr[0] == '\t')) {
        rest->ptr++;
        rest->len--;
    }
}

static struct th_str take_token(struct th_str *rest)
{
    const char *end = th_scan_class(rest->ptr, rest->ptr + rest->len, TH_SCAN_TOKEN);
    struct th_str token = {rest->ptr, (size_t)(end - rest->ptr)};
    rest->ptr += token.len;
    rest->len -= token.len;
    return token;
}

static bool take_char(struct th_str *rest, char c)
{
    if (rest->len == 0 || rest->ptr[0] != c)
        return false;
    rest->ptr++;
    rest->len--;
    return true;
}

/* Takes a quoted string, behind its first quote. False when it is not closed. */
static bool take_quoted(struct th_str *rest, struct th_str wanted, bool *ret_equal)
{
    size_t n = 0;
    bool equal = true;
    while (rest->len > 0) {
        char c = rest->ptr[0];
        take_char(rest, c);
        if (c == '"') {
            *ret_equal = equal && n == wanted.len;
            return true;
        }
        if (c == '\\') { /* RFC 9110, 5.6.4 */
            if (rest->len == 0)
                return false;
            c = rest->ptr[0];
            take_char(rest, c);
        }
        equal = equal && n < wanted.len && wanted.ptr[n] == c;
        n++;
    }
    return false;
}

static bool take_value(struct th_str *rest, struct th_str wanted, bool *ret_equal)
{
    if (take_char(rest, '"'))
        return take_quoted(rest, wanted, ret_equal);
    struct th_str token = take_token(rest);
    *ret_equal = th_str_equal(token, wanted);
    return token.len > 0;
}

/* Whether a scheme is followed by a "token68", up to the comma or end, and not by a parameter, whose '='
 * has a value behind it and perhaps spaces around it. */
static bool is_token68(struct th_str rest)
{
    size_t i = 0;
    while (i < rest.len && (th_scan_is(rest.ptr[i], TH_SCAN_TOKEN) || rest.ptr[i] == '/'))
        i++;
    size_t len = i;
    while (i < rest.len && rest.ptr[i] == '=')
        i++;
    while (i < rest.len && (rest.ptr[i] == ' ' || rest.ptr[i] == '\t'))
        i++;
    return len > 0 && (i == rest.len || rest.ptr[i] == ',');
}

static void skip_token68(struct th_str *rest)
{
    while (rest->len > 0 && rest->ptr[0] != ',' && rest->ptr[0] != ' ' && rest->ptr[0] != '\t')
        take_char(rest, rest->ptr[0]);
}

bool th_challenge_has(struct th_str value, struct th_str scheme, struct th_str parameter,
                      struct th_str wanted)
{
    struct th_str rest = value;
    bool in_scheme = false, found = false;
    for (;;) {
        skip_space(&rest);
        while (take_char(&rest, ','))
            skip_space(&rest);
        struct th_str name = take_token(&rest);
        if (name.len == 0)
            return found;
        skip_space(&rest);
        if (!take_char(&rest, '=')) { /* a scheme */
            in_scheme = th_str_equal_nocase(name, scheme);
            if (is_token68(rest))
                skip_token68(&rest);
            else
                continue; /* its first parameter follows, or a comma */
        } else {
            bool equal;
            skip_space(&rest);
            if (!take_value(&rest, wanted, &equal))
                return found;
            found |= in_scheme && equal && th_str_equal_nocase(name, parameter);
        }
        skip_space(&rest);
        if (rest.len > 0 && rest.ptr[0] != ',')
            return found;
    }
}
