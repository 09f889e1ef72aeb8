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

/* A value as it is read: compared, or copied as far as there is room. */
struct reading {
    struct th_str wanted;
    bool equal;
    char *room;
    size_t size;
    size_t len;
};

static void put(struct reading *reading, char c)
{
    reading->equal &= reading->len < reading->wanted.len && reading->wanted.ptr[reading->len] == c;
    if (reading->len < reading->size)
        reading->room[reading->len] = c;
    reading->len++;
}

/* Takes a quoted string, behind its first quote. False when it is not closed. */
static bool take_quoted(struct th_str *rest, struct reading *reading)
{
    while (rest->len > 0) {
        char c = rest->ptr[0];
        take_char(rest, c);
        if (c == '"')
            return true;
        if (c == '\\') { /* RFC 9110, 5.6.4 */
            if (rest->len == 0)
                return false;
            c = rest->ptr[0];
            take_char(rest, c);
        }
        put(reading, c);
    }
    return false;
}

static bool take_value(struct th_str *rest, struct reading *reading)
{
    if (take_char(rest, '"'))
        return take_quoted(rest, reading);
    struct th_str token = take_token(rest);
    for (size_t i = 0; i < token.len; i++)
        put(reading, token.ptr[i]);
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

/* Goes through the challenges up to the first such parameter that `is_wanted` takes. */
static bool find(struct th_str rest, struct th_str scheme, struct th_str parameter,
                 bool (*is_wanted)(const struct reading *), struct reading *reading)
{
    const struct reading empty = *reading;
    bool in_scheme = false;
    for (;;) {
        skip_space(&rest);
        while (take_char(&rest, ','))
            skip_space(&rest);
        struct th_str name = take_token(&rest);
        if (name.len == 0)
            return false;
        skip_space(&rest);
        if (!take_char(&rest, '=')) { /* a scheme */
            in_scheme = th_str_equal_nocase(name, scheme);
            if (is_token68(rest))
                skip_token68(&rest);
            else
                continue; /* its first parameter follows, or a comma */
        } else {
            *reading = empty;
            skip_space(&rest);
            if (!take_value(&rest, reading))
                return false;
            if (in_scheme && th_str_equal_nocase(name, parameter) && is_wanted(reading))
                return true;
        }
        skip_space(&rest);
        if (rest.len > 0 && rest.ptr[0] != ',')
            return false;
    }
}

static bool is_equal(const struct reading *reading)
{
    return reading->equal && reading->len == reading->wanted.len;
}

static bool is_copied(const struct reading *reading)
{
    return reading->len <= reading->size;
}

bool th_challenge_has(struct th_str value, struct th_str scheme, struct th_str parameter,
                      struct th_str wanted)
{
    struct reading reading = {.wanted = wanted, .equal = true};
    return find(value, scheme, parameter, is_equal, &reading);
}

bool th_challenge_get(struct th_str value, struct th_str scheme, struct th_str parameter,
                      char *room, size_t size, struct th_str *ret_text)
{
    struct reading reading = {.room = room, .size = size};
    if (!find(value, scheme, parameter, is_copied, &reading))
        return false;
    *ret_text = (struct th_str){room, reading.len};
    return true;
}
