#include "form.h"

static bool is_plain(unsigned char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '*';
}

void th_form_encode(struct th_buf *out, struct th_str text)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (is_plain(c))
            th_buf_add_char(out, (char)c);
        else if (c == ' ')
            th_buf_add_char(out, '+');
        else
            th_buf_add(out, (const char[]){'%', hex[c >> 4], hex[c & 15]}, 3);
    }
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
