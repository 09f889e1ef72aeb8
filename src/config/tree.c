/* The scanned text as a tree of jansson's values.
 *
 * jansson's own parser is not used: 2.14 goes on when its lexer finds no memory for a byte, and then
 * drops bytes from strings or reads beyond them; and it tells positions of some mistakes only. What
 * it would make of the text is what is made here: the fuzz target compares the two. */
#include <errno.h>
#include <stdlib.h>

#include "source.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/base/check.h"

struct tree {
    struct th_source *source;
    struct th_buf buf; /* the string that is being decoded */
};

static int bad(struct tree *t, size_t at, const char *what, const char *mend)
{
    t->source->error_at = (uint32_t)at;
    t->source->error_what = what;
    t->source->error_mend = mend;
    return TH_E_CONFIG;
}

/* The length of the character at the front (RFC 3629); 0 when it is none. */
static size_t utf8_len(const char *text, size_t len)
{
    const unsigned char *c = (const unsigned char *)text;
    size_t n = c[0] < 0x80   ? 1
               : c[0] < 0xc2 ? 0
               : c[0] < 0xe0 ? 2
               : c[0] < 0xf0 ? 3
               : c[0] < 0xf5 ? 4
                             : 0;
    if (n == 0 || n > len)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((c[i] & 0xc0) != 0x80)
            return 0;
    }
    bool overlong = (c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xf0 && c[1] < 0x90);
    bool surrogate = c[0] == 0xed && c[1] >= 0xa0;
    bool beyond = c[0] == 0xf4 && c[1] >= 0x90;
    return overlong || surrogate || beyond ? 0 : n;
}

static void add_utf8(struct th_buf *buf, unsigned c)
{
    char bytes[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        bytes[i] = (char)(0x80 | (c & 0x3f));
    bytes[0] = (char)(lead[n] | c);
    th_buf_add(buf, bytes, n);
}

/* Four hexadecimal digits after "\u"; -1 when there are none. */
static int code_unit(struct th_str raw, size_t at)
{
    int unit = 0;
    if (at + 6 > raw.len || raw.ptr[at] != '\\' || raw.ptr[at + 1] != 'u')
        return -1;
    for (size_t i = at + 2; i < at + 6; i++) {
        char c = raw.ptr[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        unit = unit * 16 + digit;
    }
    return unit;
}

/* Decodes the escape at raw[*at] and moves *at behind it; NULL, or what is wrong. */
static const char *decode_escape(struct tree *t, struct th_str raw, size_t *at)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char *name = strchr(names, raw.ptr[*at + 1]);
    if (name != NULL && *name != '\0') {
        th_buf_add_char(&t->buf, values[name - names]);
        *at += 2;
        return NULL;
    }
    int unit = code_unit(raw, *at), low;
    if (unit < 0)
        return "this escape is not one of JSON's";
    if (unit == 0)
        return "a string holds a NUL character";
    *at += 6;
    if (unit < 0xd800 || unit > 0xdfff) {
        add_utf8(&t->buf, (unsigned)unit);
        return NULL;
    }
    low = unit < 0xdc00 ? code_unit(raw, *at) : -1;
    if (low < 0xdc00 || low > 0xdfff)
        return "this is half of a pair of surrogates";
    *at += 6;
    add_utf8(&t->buf, 0x10000 + (((unsigned)unit - 0xd800) << 10) + ((unsigned)low - 0xdc00));
    return NULL;
}

/* The string that opens at `offset`, into t->buf. */
static int decode_string(struct tree *t, uint32_t offset)
{
    struct th_str raw = th_source_raw_string(t->source, offset);
    th_buf_clear(&t->buf);
    th_buf_add(&t->buf, "", 0);
    for (size_t at = 0; at < raw.len;) {
        size_t place = offset + 1 + at;
        if (raw.ptr[at] == '\\') {
            const char *what = decode_escape(t, raw, &at);
            if (what != NULL)
                return bad(t, place, what, "write a backslash as \"\\\\\"");
            continue;
        }
        size_t n = utf8_len(raw.ptr + at, raw.len - at);
        if (n == 0)
            return bad(t, place, "this is not UTF-8", "save the file as UTF-8");
        if ((unsigned char)raw.ptr[at] < 0x20)
            return bad(t, place, "a string holds a control character", NULL);
        th_buf_add(&t->buf, raw.ptr + at, n);
        at += n;
    }
    return t->buf.failed ? TH_E_NOMEM : 0;
}

static size_t skip_digits(const char *text, size_t len, size_t at)
{
    while (at < len && text[at] >= '0' && text[at] <= '9')
        at++;
    return at;
}

static size_t word_len(struct th_str text, size_t at)
{
    size_t end = at;
    while (end < text.len && strchr(" \t\r\n,]}", text.ptr[end]) == NULL)
        end++;
    return end - at;
}

/* A number by JSON's grammar; numbers with a point or exponent are of no key's kind, but are JSON. */
static int make_number(struct tree *t, uint32_t offset, json_t **ret_json)
{
    struct th_str all = {t->source->blanked, t->source->text.len};
    const char *text = all.ptr + offset;
    size_t len = word_len(all, offset), at = len > 0 && text[0] == '-';
    bool whole = true;
    size_t end = skip_digits(text, len, at);
    bool ok = end > at && (text[at] != '0' || end == at + 1);
    if (ok && end < len && text[end] == '.') {
        at = end + 1;
        end = skip_digits(text, len, at);
        ok = end > at;
        whole = false;
    }
    if (ok && end < len && (text[end] == 'e' || text[end] == 'E')) {
        at = end + 1;
        at += at < len && (text[at] == '+' || text[at] == '-');
        end = skip_digits(text, len, at);
        ok = end > at;
        whole = false;
    }
    if (!ok || end != len)
        return bad(t, offset, "this is not a number of JSON", NULL);
    /* the text is followed by a NUL or a byte that no number has */
    errno = 0;
    long long integer = whole ? strtoll(text, NULL, 10) : 0;
    double real = whole ? 0 : strtod(text, NULL);
    if (errno == ERANGE && (whole || real > 1 || real < -1))
        return bad(t, offset, "this number is too large", NULL);
    *ret_json = whole ? json_integer(integer) : json_real(real);
    return *ret_json != NULL ? 0 : TH_E_NOMEM;
}

static int make_value(struct tree *t, uint32_t node, json_t **ret_json);

static int add_children(struct tree *t, uint32_t node, json_t *json)
{
    const struct th_source *s = t->source;
    uint32_t child = th_source_first_child(s, node);
    for (; child != TH_SOURCE_NONE; child = th_source_next(s, child)) {
        json_t *value = NULL;
        int r = make_value(t, child, &value);
        if (r < 0)
            return r;
        if (json_is_array(json)) {
            if (json_array_append_new(json, value) < 0)
                return TH_E_NOMEM;
            continue;
        }
        r = decode_string(t, s->nodes[child].key);
        bool twice = r == 0 && json_object_get(json, t->buf.ptr) != NULL;
        if (r < 0 || twice) {
            json_decref(value);
            return twice ? bad(t, s->nodes[child].key, "this key stands here twice",
                               "remove one of them")
                         : r;
        }
        if (json_object_set_new_nocheck(json, t->buf.ptr, value) < 0)
            return TH_E_NOMEM;
    }
    return 0;
}

static int make_value(struct tree *t, uint32_t node, json_t **ret_json)
{
    uint32_t offset = t->source->nodes[node].value;
    json_t *json = NULL;
    int r = 0;
    switch (t->source->blanked[offset]) {
    case '{':
    case '[':
        json = t->source->blanked[offset] == '{' ? json_object() : json_array();
        r = json != NULL ? add_children(t, node, json) : TH_E_NOMEM;
        break;
    case '"':
        r = decode_string(t, offset);
        if (r == 0)
            json = json_stringn_nocheck(t->buf.ptr, t->buf.len);
        break;
    case 't':
        json = json_true();
        break;
    case 'f':
        json = json_false();
        break;
    case 'n':
        json = json_null();
        break;
    default:
        r = make_number(t, offset, &json);
    }
    if (r == 0 && json == NULL)
        r = TH_E_NOMEM;
    if (r < 0)
        json_decref(json);
    else
        *ret_json = json;
    return r;
}

int th_source_to_json(struct th_source *source, json_t **ret_json)
{
    struct tree tree = {.source = source};
    TH_REQUIRE(source->n_nodes > 0 && !source->no_copy);
    th_buf_init(&tree.buf, TH_SOURCE_MAX_LEN);
    int r = make_value(&tree, 0, ret_json);
    th_buf_fini(&tree.buf);
    return r;
}
