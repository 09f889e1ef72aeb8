#include "tokenhop/http/message.h"

struct th_field *th_head_find(const struct th_head *head, enum th_header_id id)
{
    for (unsigned i = 0; i < head->n_fields; i++) {
        if (head->fields[i].id == id && !head->fields[i].dropped)
            return &head->fields[i];
    }
    return NULL;
}

struct th_field *th_head_find_any(const struct th_head *head, enum th_header_id id)
{
    for (unsigned i = 0; i < head->n_fields; i++) {
        if (head->fields[i].id == id)
            return &head->fields[i];
    }
    return NULL;
}

bool th_head_take_element(struct th_str *rest, struct th_str *ret_element)
{
    while (rest->len > 0) {
        const char *comma = memchr(rest->ptr, ',', rest->len);
        size_t len = comma != NULL ? (size_t)(comma - rest->ptr) : rest->len;
        struct th_str element = th_str_trim((struct th_str){rest->ptr, len});
        size_t taken = comma != NULL ? len + 1 : len;
        rest->ptr += taken;
        rest->len -= taken;
        if (element.len > 0) {
            *ret_element = element;
            return true;
        }
    }
    return false;
}

enum th_method th_method_find(struct th_str text)
{
    static const struct {
        struct th_str text;
        enum th_method method;
    } known[] = {
        /* in the order of how often they come */
        {{"POST", 4}, TH_METHOD_POST},       {{"GET", 3}, TH_METHOD_GET},
        {{"CONNECT", 7}, TH_METHOD_CONNECT}, {{"HEAD", 4}, TH_METHOD_HEAD},
        {{"PUT", 3}, TH_METHOD_PUT},         {{"DELETE", 6}, TH_METHOD_DELETE},
        {{"PATCH", 5}, TH_METHOD_PATCH},     {{"OPTIONS", 7}, TH_METHOD_OPTIONS},
        {{"TRACE", 5}, TH_METHOD_TRACE},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (th_str_equal(text, known[i].text))
            return known[i].method;
    }
    return TH_METHOD_OTHER; /* methods are case-sensitive: "get" is another one */
}

bool th_method_is_idempotent(enum th_method method)
{
    switch (method) {
    case TH_METHOD_GET:
    case TH_METHOD_HEAD:
    case TH_METHOD_PUT:
    case TH_METHOD_DELETE:
    case TH_METHOD_OPTIONS:
    case TH_METHOD_TRACE:
        return true;
    case TH_METHOD_OTHER:
    case TH_METHOD_POST:
    case TH_METHOD_PATCH:
    case TH_METHOD_CONNECT:
        return false;
    }
    return false;
}
