#include "form.h"

static bool is_plain(unsigned char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '*';
}

static size_t encoded_len(struct th_str text)
{
    size_t len = text.len;
    for (size_t i = 0; i < text.len; i++)
        len += !is_plain((unsigned char)text.ptr[i]) && text.ptr[i] != ' ' ? 2 : 0;
    return len;
}

void th_form_encode(struct th_buf *out, struct th_str text)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t len = encoded_len(text);
    char *at = th_buf_reserve(out, len);
    if (at == NULL)
        return;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (is_plain(c)) {
            *at++ = (char)c;
        } else if (c == ' ') {
            *at++ = '+';
        } else {
            *at++ = '%';
            *at++ = hex[c >> 4];
            *at++ = hex[c & 15];
        }
    }
    th_buf_commit(out, len);
}

void th_form_add(struct th_buf *form, struct th_str name, struct th_str value)
{
    if (value.len == 0)
        return;
    if (form->len > 0)
        th_buf_add_char(form, '&');
    th_form_encode(form, name);
    th_buf_add_char(form, '=');
    th_form_encode(form, value);
}
