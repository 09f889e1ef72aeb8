#include "form.h"

#include "tokenhop/base/mem.h"

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Bytes that may stand for themselves. Reserved ones pass, since some encoders leave them, but not those
 * that part fields, nor what no URL may hold. */
static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("-._~*!'():/@,;$?", c) != NULL);
}

bool th_form_decode(struct th_str in, char **out, struct th_str *ret)
{
    char *start = *out;
    for (size_t i = 0; i < in.len; i++) {
        char c = in.ptr[i];
        if (c == '+') {
            c = ' ';
        } else if (c == '%') {
            int high = i + 2 < in.len ? hex_value(in.ptr[i + 1]) : -1;
            int low = high >= 0 ? hex_value(in.ptr[i + 2]) : -1;
            if (low < 0)
                return false;
            c = (char)(high * 16 + low);
            if ((unsigned char)c < 0x20 || c == 0x7f)
                return false;
            i += 2;
        } else if (!is_plain(c)) {
            return false;
        }
        *(*out)++ = c;
    }
    *ret = (struct th_str){start, (size_t)(*out - start)};
    return true;
}

static enum th_form_fault add_field(struct th_form *form, struct th_str piece, char **out)
{
    const char *equals = memchr(piece.ptr, '=', piece.len);
    struct th_str name = piece, value = TH_STR("");
    if (equals != NULL) {
        name.len = (size_t)(equals - piece.ptr);
        value = (struct th_str){equals + 1, piece.len - name.len - 1};
    }
    if (!th_form_decode(name, out, &name) || !th_form_decode(value, out, &value) || name.len == 0)
        return TH_FORM_MALFORMED;
    bool repeats = form->repeats && (th_str_equal(name, TH_STR("audience")) ||
                                     th_str_equal(name, TH_STR("resource")));
    for (size_t i = 0; i < form->n_fields; i++) {
        if (!repeats && th_str_equal(form->fields[i].name, name))
            return TH_FORM_DUPLICATE;
    }
    if (form->n_fields == TH_FORM_MAX_FIELDS)
        return TH_FORM_TOO_MANY;
    form->fields[form->n_fields].name = name;
    form->fields[form->n_fields].value = value;
    form->n_fields++;
    return TH_FORM_FINE;
}

static enum th_form_fault read_body(struct th_form *form, struct th_str body)
{
    if (body.len == 0)
        return TH_FORM_FINE;
    form->block = th_malloc(body.len); /* decoding never grows */
    if (form->block == NULL)
        return TH_FORM_NOMEM;
    form->block_len = body.len;
    char *out = form->block;
    while (true) {
        const char *amp = memchr(body.ptr, '&', body.len);
        struct th_str piece = {body.ptr, amp != NULL ? (size_t)(amp - body.ptr) : body.len};
        enum th_form_fault fault = add_field(form, piece, &out);
        if (fault != TH_FORM_FINE)
            return fault;
        if (amp == NULL)
            return TH_FORM_FINE;
        body.ptr += piece.len + 1;
        body.len -= piece.len + 1;
    }
}

enum th_form_fault th_form_init(struct th_form *form, struct th_str body)
{
    memset(form, 0, sizeof *form);
    return read_body(form, body);
}

enum th_form_fault th_form_init_repeating(struct th_form *form, struct th_str body)
{
    memset(form, 0, sizeof *form);
    form->repeats = true;
    return read_body(form, body);
}

void th_form_fini(struct th_form *form)
{
    if (form->block != NULL)
        th_wipe(form->block, form->block_len);
    th_free(form->block);
    memset(form, 0, sizeof *form);
}

struct th_str th_form_get(const struct th_form *form, const char *name)
{
    return th_form_get_at(form, name, 0);
}

struct th_str th_form_get_at(const struct th_form *form, const char *name, size_t index)
{
    for (size_t i = 0; i < form->n_fields; i++) {
        if (th_str_equal(form->fields[i].name, th_str_of(name)) && index-- == 0)
            return form->fields[i].value;
    }
    return TH_STR("");
}
