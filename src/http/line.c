#include "line.h"

#include "scan.h"

static inline bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The field's name at `name`. A name of the table is a token, so it need not be looked at byte by
 * byte. 0, TH_AGAIN or TH_E_BAD_REQUEST. */
static inline int take_name(const char *name, const char *end, struct th_field *field)
{
    int colon = end - name >= 16 ? th_scan_colon(name) : -1;
    if (colon > 0) {
        field->name = (struct th_str){name, (size_t)colon};
        field->id = (uint8_t)th_header_find(field->name);
        if (field->id != TH_HEADER_UNKNOWN)
            return 0;
    }
    const char *at = th_scan_class(name, end, TH_SCAN_TOKEN);
    if (at == end)
        return TH_AGAIN;
    if (*at != ':' || at == name)
        return TH_E_BAD_REQUEST;
    if (colon <= 0) {
        field->name = (struct th_str){name, (size_t)(at - name)};
        field->id = (uint8_t)th_header_find(field->name);
    }
    return 0;
}

/* RFC 9112, 5: field-name ":" OWS field-value OWS. A line that begins with a blank is a folded one
 * (or comes before the first field), a blank before the colon is 5.1's smuggling case; neither is a
 * token, so both are refused by that. */
int th_line_take_field(const char **p, const char *end, struct th_field *ret_field)
{
    int r = take_name(*p, end, ret_field);
    if (r != 0)
        return r;
    const char *at = ret_field->name.ptr + ret_field->name.len + 1;
    while (at < end && is_blank(*at))
        at++;
    const char *value = at;
    const char *value_end = at = th_scan_value(at, end);
    r = th_line_take_end(&at, end);
    if (r != 0)
        return r;
    while (value_end > value && is_blank(value_end[-1]))
        value_end--;
    ret_field->value = (struct th_str){value, (size_t)(value_end - value)};
    ret_field->dropped = false;
    *p = at;
    return 0;
}
