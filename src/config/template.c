#include "template.h"

#include <stdbool.h>

/* Takes the next part off `rest`. 1; 0 at the end; TH_E_CONFIG with what is wrong. Doubled braces end a
 * part, so that each can borrow its text. */
static int next_part(struct th_str *rest, struct th_config_template_part *ret_part,
                     const char **ret_what)
{
    const char *p = rest->ptr;
    size_t len = 0, skip = 0;
    if (rest->len == 0)
        return 0;
    ret_part->is_name = false;
    if (rest->len >= 2 && p[0] == p[1] && (p[0] == '{' || p[0] == '}')) {
        ret_part->text = (struct th_str){p, 1};
        *rest = (struct th_str){p + 2, rest->len - 2};
        return 1;
    }
    if (p[0] == '}') {
        *ret_what = "a brace is closed here that was not opened";
        return TH_E_CONFIG;
    }
    if (p[0] == '{') {
        ret_part->is_name = true;
        p++;
        while (len + 1 < rest->len && p[len] != '}' && p[len] != '{')
            len++;
        if (len + 1 == rest->len || p[len] == '{') {
            *ret_what = "a brace is opened here that is not closed";
            return TH_E_CONFIG;
        }
        skip = 2;
    } else {
        while (len < rest->len && p[len] != '{' && p[len] != '}')
            len++;
    }
    ret_part->text = (struct th_str){p, len};
    *rest = (struct th_str){rest->ptr + len + skip, rest->len - len - skip};
    return 1;
}

static bool is_name(struct th_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            c != '_' && c != '-' && c != '.')
            return false;
    }
    return text.len >= 1 && text.len <= 64;
}

static bool is_field_value(struct th_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < 0x20 || text.ptr[i] > 0x7e)
            return false;
    }
    return text.len > 0 && text.ptr[0] != ' ' && text.ptr[text.len - 1] != ' ';
}

int th_template_check(struct th_str text, struct th_errinfo *reterr)
{
    static const char how[] = "write {NAME} for a value of the credential, {{ and }} for braces";
    struct th_config_template_part part;
    const char *what = NULL;
    size_t n_parts = 0, n_names = 0;
    int r;
    if (!is_field_value(text))
        return th_errinfo_set(reterr, TH_E_CONFIG, NULL, NULL,
                              "a template is printable ASCII, without spaces around it");
    while ((r = next_part(&text, &part, &what)) == 1) {
        if (part.is_name && !is_name(part.text))
            return th_errinfo_set(reterr, TH_E_CONFIG, NULL, how,
                                  "a name in braces is 1 to 64 letters, digits, '_', '-' or '.'");
        n_names += part.is_name;
        if (++n_parts > TH_TEMPLATE_PARTS_MAX)
            return th_errinfo_set(reterr, TH_E_CONFIG, NULL, NULL,
                                  "this template has more than %d parts", TH_TEMPLATE_PARTS_MAX);
    }
    if (r < 0)
        return th_errinfo_set(reterr, TH_E_CONFIG, NULL, how, "%s", what);
    if (n_names == 0)
        return th_errinfo_set(reterr, TH_E_CONFIG, NULL, how,
                              "a template needs at least one name in braces: a secret itself does "
                              "not belong into this file");
    return 0;
}

size_t th_template_split(struct th_str text, struct th_config_template_part *ret_parts)
{
    const char *ignored;
    size_t n = 0;
    while (n < TH_TEMPLATE_PARTS_MAX && next_part(&text, &ret_parts[n], &ignored) == 1)
        n++;
    return n;
}
