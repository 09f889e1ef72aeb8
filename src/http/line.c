#include "line.h"

#include "scan.h"

int th_line_take_end(const char **p, const char *end)
{
    const char *at = *p;
    if (at == end)
        return TH_AGAIN;
    if (*at != '\r')
        return TH_E_BAD_REQUEST;
    if (at + 1 == end)
        return TH_AGAIN;
    /* RFC 9112, 2.2: a recipient may take a bare LF for a line's end, and must not pass a bare CR on.
     * Others read both differently, so neither is taken here. */
    if (at[1] != '\n')
        return TH_E_BAD_REQUEST;
    *p = at + 2;
    return 0;
}

static inline bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* RFC 9112, 5: field-name ":" OWS field-value OWS. A line that begins with a blank is a folded one
 * (or comes before the first field), a blank before the colon is 5.1's smuggling case; neither is a
 * token, so both are refused by that. */
int th_line_take_field(const char **p, const char *end, struct th_field *ret_field)
{
    const char *name = *p;
    const char *at = th_scan_class(name, end, TH_SCAN_TOKEN);
    if (at == end)
        return TH_AGAIN;
    if (*at != ':' || at == name)
        return TH_E_BAD_REQUEST;
    struct th_str name_str = {name, (size_t)(at - name)};
    at++;
    while (at < end && is_blank(*at))
        at++;
    const char *value = at;
    const char *value_end = at = th_scan_value(at, end);
    int r = th_line_take_end(&at, end);
    if (r != 0)
        return r;
    while (value_end > value && is_blank(value_end[-1]))
        value_end--;
    *ret_field = (struct th_field){
        .name = name_str,
        .value = {value, (size_t)(value_end - value)},
        .id = (uint8_t)th_header_find(name_str),
    };
    *p = at;
    return 0;
}
