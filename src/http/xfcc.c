#include "tokenhop/http/xfcc.h"

#include <string.h>

#include "tokenhop/base/check.h"

static const struct row {
    struct th_str name;
    enum th_xfcc_key key;
    bool once;
} rows[] = {
    {TH_STR("By"), TH_XFCC_OTHER, false},       {TH_STR("Hash"), TH_XFCC_OTHER, true},
    {TH_STR("Cert"), TH_XFCC_OTHER, true},      {TH_STR("Chain"), TH_XFCC_OTHER, true},
    {TH_STR("Subject"), TH_XFCC_SUBJECT, true}, {TH_STR("URI"), TH_XFCC_URI, false},
    {TH_STR("DNS"), TH_XFCC_DNS, false},
};

/* Of a key that is not known. */
static const struct row unknown = {.key = TH_XFCC_OTHER};

struct reader {
    const char *at, *end;
};

static bool is_letter(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static const struct row *read_key(struct reader *r)
{
    const char *begin = r->at;

    while (r->at < r->end && is_letter(*r->at))
        r->at++;
    struct th_str name = {begin, (size_t)(r->at - begin)};
    if (name.len == 0 || r->at == r->end || *r->at++ != '=')
        return NULL;
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++)
        if (th_str_equal_nocase(name, rows[i].name))
            return &rows[i];
    return &unknown;
}

/* A backslash takes the next byte with it, whatever that is: what is printed by RFC 2253 has them in pairs too, so
 * that a quote is found to be the closing one in either way of escaping. */
static bool read_quoted(struct reader *r, struct th_str *ret_value)
{
    const char *begin = ++r->at;

    for (; r->at < r->end && *r->at != '"'; r->at++) {
        unsigned char c = (unsigned char)*r->at;
        if (c == '\\' && ++r->at < r->end)
            c = (unsigned char)*r->at;
        if (r->at == r->end || c < 0x20 || c == 0x7f)
            return false;
    }
    if (r->at == r->end)
        return false;
    *ret_value = (struct th_str){begin, (size_t)(r->at - begin)};
    r->at++;
    return true;
}

static bool read_bare(struct reader *r, struct th_str *ret_value)
{
    const char *begin = r->at;

    /* White space may only stand around a list's commas (RFC 9110, 5.6.1): whoever reads on sees what follows. */
    for (; r->at < r->end && strchr(",; \t", *r->at) == NULL; r->at++) {
        unsigned char c = (unsigned char)*r->at;
        if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
            return false;
    }
    *ret_value = (struct th_str){begin, (size_t)(r->at - begin)};
    return true;
}

static bool read_pair(struct reader *r, const struct row **ret_row, struct th_str *ret_value)
{
    *ret_row = read_key(r);
    if (*ret_row == NULL)
        return false;
    return r->at < r->end && *r->at == '"' ? read_quoted(r, ret_value) : read_bare(r, ret_value);
}

static void skip_space(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t'))
        r->at++;
}

/* Up to its comma, or the end. */
static bool read_element(struct reader *r, struct th_str *ret_element)
{
    const char *begin = r->at;
    unsigned seen = 0;

    for (;;) {
        const struct row *row;
        struct th_str value;
        if (!read_pair(r, &row, &value))
            return false;
        unsigned bit = row->once ? 1u << (row - rows) : 0;
        if (seen & bit)
            return false;
        seen |= bit;
        if (r->at == r->end || *r->at != ';')
            break;
        r->at++;
    }
    *ret_element = (struct th_str){begin, (size_t)(r->at - begin)};
    return true;
}

int th_xfcc_find_last(struct th_str value, struct th_str *ret_element)
{
    struct reader r = {value.ptr, value.ptr + value.len};

    for (;;) {
        if (!read_element(&r, ret_element))
            return TH_E_BAD_REQUEST;
        skip_space(&r);
        if (r.at == r.end)
            return 0;
        if (*r.at++ != ',')
            return TH_E_BAD_REQUEST;
        skip_space(&r);
    }
}

bool th_xfcc_next(struct th_str *rest, struct th_xfcc_pair *ret_pair)
{
    struct reader r = {rest->ptr, rest->ptr + rest->len};
    const struct row *row;

    if (rest->len == 0 || !read_pair(&r, &row, &ret_pair->value))
        return false;
    ret_pair->key = row->key;
    if (r.at < r.end)
        r.at++; /* its semicolon */
    *rest = (struct th_str){r.at, (size_t)(r.end - r.at)};
    return true;
}
