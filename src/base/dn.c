#include "tokenhop/base/dn.h"

#include <openssl/asn1.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <string.h>

#include "tokenhop/base/check.h"

#define TYPE_MAX 64      /* an object identifier in digits */
#define ATTRIBUTES_MAX 8 /* of one RDN */

/* The names of RFC 4514, 3, and others that programs print. */
static const struct type {
    const char *name;
    const char *oid;
} types[] = {
    {"CN", "2.5.4.3"},
    {"O", "2.5.4.10"},
    {"OU", "2.5.4.11"},
    {"C", "2.5.4.6"},
    {"L", "2.5.4.7"},
    {"ST", "2.5.4.8"},
    {"STREET", "2.5.4.9"},
    {"DC", "0.9.2342.19200300.100.1.25"},
    {"UID", "0.9.2342.19200300.100.1.1"},
    {"serialNumber", "2.5.4.5"},
    {"SN", "2.5.4.4"},
    {"GN", "2.5.4.42"},
    {"title", "2.5.4.12"},
    {"dnQualifier", "2.5.4.46"},
    {"organizationIdentifier", "2.5.4.97"},
    {"emailAddress", "1.2.840.113549.1.9.1"},
};

static int bad(struct th_errinfo *reterr, const char *what)
{
    return th_errinfo_set(reterr, TH_E_CONFIG, NULL,
                          "write it as openssl x509 -noout -subject -nameopt RFC2253 prints it",
                          "%s", what);
}

/* --- what is written --- */

/* One attribute, as "2.5.4.3=agent1"; what has a meaning in the whole is escaped. */
static void add_attribute(struct th_buf *out, struct th_str oid, struct th_str value)
{
    th_buf_add_str(out, oid);
    th_buf_add_char(out, '=');
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if (c < 0x20 || c == 0x7f || strchr(",+=\\#", c) != NULL)
            th_buf_printf(out, "\\%02x", c);
        else
            th_buf_add_char(out, (char)c);
    }
}

/* Not a text: its bytes. */
static void add_unknown(struct th_buf *out, struct th_str oid, const unsigned char *der, size_t len)
{
    th_buf_add_str(out, oid);
    th_buf_add(out, "=#", 2);
    for (size_t i = 0; i < len; i++)
        th_buf_printf(out, "%02x", der[i]);
}

/* The attributes of an RDN, each in the buffer from its place to the next one's. */
struct rdn {
    struct th_buf *text;
    size_t at[ATTRIBUTES_MAX + 1];
    size_t n;
};

static struct th_str attribute_of(const struct rdn *rdn, size_t i)
{
    return (struct th_str){rdn->text->ptr + rdn->at[i], rdn->at[i + 1] - rdn->at[i]};
}

static int compare(struct th_str a, struct th_str b)
{
    int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* Their order has no meaning: they go out sorted. */
static void add_rdn(struct th_buf *out, const struct rdn *rdn, bool first)
{
    size_t order[ATTRIBUTES_MAX];

    if (rdn->text->failed) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < rdn->n; i++) {
        size_t k = i;
        for (; k > 0 && compare(attribute_of(rdn, i), attribute_of(rdn, order[k - 1])) < 0; k--)
            order[k] = order[k - 1];
        order[k] = i;
    }
    for (size_t i = 0; i < rdn->n; i++) {
        if (i > 0 || !first)
            th_buf_add_char(out, i > 0 ? '+' : ',');
        th_buf_add_str(out, attribute_of(rdn, order[i]));
    }
}

/* What was added to its text is one attribute more. */
static bool close_attribute(struct rdn *rdn)
{
    if (rdn->n == ATTRIBUTES_MAX)
        return false;
    rdn->at[++rdn->n] = rdn->text->len;
    return true;
}

static void begin_rdn(struct rdn *rdn)
{
    th_buf_clear(rdn->text);
    rdn->n = 0;
}

/* --- of a certificate --- */

static bool add_value(struct th_buf *out, struct th_str oid, const ASN1_STRING *value)
{
    unsigned char *text = NULL;
    unsigned char *der = NULL;
    int len = ASN1_STRING_to_UTF8(&text, value);

    if (len >= 0) {
        add_attribute(out, oid, (struct th_str){(const char *)text, (size_t)len});
        OPENSSL_free(text);
        return true;
    }
    ASN1_TYPE type = {.type = ASN1_STRING_type(value)};
    type.value.asn1_string = (ASN1_STRING *)(uintptr_t)value;
    len = i2d_ASN1_TYPE(&type, &der);
    if (len > 0)
        add_unknown(out, oid, der, (size_t)len);
    OPENSSL_free(der);
    return len > 0;
}

static bool add_entry(struct rdn *rdn, const X509_NAME_ENTRY *entry)
{
    char oid[TYPE_MAX];
    int len = OBJ_obj2txt(oid, sizeof(oid), X509_NAME_ENTRY_get_object(entry), 1);

    if (len <= 0 || (size_t)len >= sizeof(oid))
        return false;
    return add_value(rdn->text, (struct th_str){oid, (size_t)len},
                     X509_NAME_ENTRY_get_data(entry)) &&
           close_attribute(rdn);
}

int th_dn_of(const X509_NAME *name, struct th_buf *canonical)
{
    int n = X509_NAME_entry_count(name);
    struct th_buf text;
    struct rdn rdn = {.text = &text};
    bool fine = n > 0, first = true;

    th_buf_init(&text, TH_DN_MAX);
    /* The encoding begins with the country or root, the text with what is most specific (RFC 4514, 2.1). */
    for (int i = n - 1; fine && i >= 0; i--) {
        const X509_NAME_ENTRY *entry = X509_NAME_get_entry(name, i);
        int set = X509_NAME_ENTRY_set(entry);
        fine = add_entry(&rdn, entry);
        if (fine && i > 0 && X509_NAME_ENTRY_set(X509_NAME_get_entry(name, i - 1)) == set)
            continue; /* of the same RDN */
        if (fine)
            add_rdn(canonical, &rdn, first);
        begin_rdn(&rdn);
        first = false;
    }
    th_buf_fini(&text);
    return fine && canonical->len <= TH_DN_MAX ? 0 : TH_E_CONFIG;
}

/* --- as people write them --- */

struct reader {
    const char *at, *end;
    struct th_errinfo *reterr;
};

static void skip_space(struct reader *r)
{
    while (r->at < r->end && *r->at == ' ')
        r->at++;
}

static bool is_oid(struct th_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool may_be_dot = i > 0 && i + 1 < text.len && text.ptr[i - 1] != '.';
        if (!(c >= '0' && c <= '9') && !(c == '.' && may_be_dot))
            return false;
    }
    return text.len > 0 && text.len < TYPE_MAX && memchr(text.ptr, '.', text.len) != NULL;
}

static int read_type(struct reader *r, struct th_str *ret_oid)
{
    const char *equals = memchr(r->at, '=', (size_t)(r->end - r->at));

    if (equals == NULL || equals == r->at)
        return bad(r->reterr, "an attribute without \"=\" or without a type");
    struct th_str text = {r->at, (size_t)(equals - r->at)};
    while (text.len > 0 && text.ptr[text.len - 1] == ' ')
        text.len--;
    r->at = equals + 1;
    *ret_oid = text;
    for (size_t i = 0; i < TH_COUNT_OF(types); i++)
        if (th_str_equal_nocase(text, th_str_of(types[i].name)))
            *ret_oid = th_str_of(types[i].oid);
    if (ret_oid->ptr == text.ptr && !is_oid(text))
        return bad(r->reterr, "an attribute type that is not known by name: write its object "
                              "identifier, \"2.5.4.3=...\"");
    return 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
        return (c | 0x20) - 'a' + 10;
    return -1;
}

static bool read_hex_pair(struct reader *r, unsigned char *ret_byte)
{
    int high, low;

    if (r->end - r->at < 2 || (high = hex_digit(r->at[0])) < 0 || (low = hex_digit(r->at[1])) < 0)
        return false;
    *ret_byte = (unsigned char)(high << 4 | low);
    r->at += 2;
    return true;
}

static bool ends_value(char c)
{
    return c == ',' || c == '+';
}

/* "#0c0161": the DER of the value (RFC 4514, 2.4). */
static int read_der(struct reader *r, struct th_str oid, struct rdn *rdn)
{
    unsigned char der[256];
    const unsigned char *p = der;
    size_t len = 0;
    bool fine = true;

    r->at++;
    while (r->at < r->end && len < sizeof(der) && read_hex_pair(r, &der[len]))
        len++;
    skip_space(r);
    if (len == 0 || (r->at < r->end && !ends_value(*r->at)))
        return bad(r->reterr, "a value that begins with # has hexadecimal digits alone");
    ASN1_TYPE *type = d2i_ASN1_TYPE(NULL, &p, (long)len);
    fine = type != NULL && p == der + len;
    /* The types whose value is a string, whichever. */
    if (fine && type->type != V_ASN1_BOOLEAN && type->type != V_ASN1_NULL &&
        type->type != V_ASN1_OBJECT)
        fine = add_value(rdn->text, oid, type->value.asn1_string);
    else if (fine)
        add_unknown(rdn->text, oid, der, len);
    ASN1_TYPE_free(type);
    return fine ? 0 : bad(r->reterr, "a value that begins with # is not valid DER");
}

static bool is_special(char c)
{
    return c != '\0' && strchr("\\\"+,;<> #=", c) != NULL;
}

static int read_escaped(struct reader *r, char *ret_byte)
{
    unsigned char byte;

    r->at++;
    if (r->at < r->end && is_special(*r->at))
        *ret_byte = *r->at++;
    else if (read_hex_pair(r, &byte))
        *ret_byte = (char)byte;
    else
        return bad(r->reterr, "a backslash that escapes nothing");
    return 0;
}

/* RFC 3629, 4: no overlong forms, no surrogates. */
static bool is_utf8(struct th_str s)
{
    unsigned char *copy = NULL;
    ASN1_STRING *string = ASN1_STRING_type_new(V_ASN1_UTF8STRING);
    bool fine = string != NULL && ASN1_STRING_set(string, s.ptr, (int)s.len) == 1 &&
                ASN1_STRING_to_UTF8(&copy, string) >= 0;

    OPENSSL_free(copy);
    ASN1_STRING_free(string);
    return fine;
}

static int read_value(struct reader *r, struct th_str oid, struct rdn *rdn)
{
    char value[TH_DN_MAX];
    size_t len = 0, kept = 0; /* spaces at the end count where they are escaped */

    while (r->at < r->end && !ends_value(*r->at)) {
        char c = *r->at;
        if (c == '"' || c == ';' || c == '<' || c == '>' || (unsigned char)c < 0x20 || c == 0x7f)
            return bad(r->reterr, "a character of a value that must be escaped by a backslash");
        if (c == '\\') {
            int error = read_escaped(r, &value[len++]);
            if (error < 0)
                return error;
            kept = len;
            continue;
        }
        value[len++] = c;
        r->at++;
        if (c != ' ')
            kept = len;
    }
    if (!is_utf8((struct th_str){value, kept}))
        return bad(r->reterr, "a value is not UTF-8");
    add_attribute(rdn->text, oid, (struct th_str){value, kept});
    return 0;
}

static int read_attribute(struct reader *r, struct rdn *rdn)
{
    struct th_str oid;

    skip_space(r);
    int error = read_type(r, &oid);
    if (error < 0)
        return error;
    skip_space(r);
    error = r->at < r->end && *r->at == '#' ? read_der(r, oid, rdn) : read_value(r, oid, rdn);
    if (error == 0 && !close_attribute(rdn))
        return bad(r->reterr, "too many attributes are joined by \"+\"");
    return error;
}

int th_dn_read(struct th_str text, struct th_buf *canonical, struct th_errinfo *reterr)
{
    struct reader r = {text.ptr, text.ptr + text.len, reterr};
    struct th_buf attributes;
    struct rdn rdn = {.text = &attributes};
    bool first = true;
    int error = 0;

    if (text.len == 0 || text.len > TH_DN_MAX)
        return bad(reterr, "the name is empty, or too long");
    if (text.ptr[0] == '/')
        return bad(reterr, "this is not the form of RFC 4514");
    th_buf_init(&attributes, TH_DN_MAX);
    for (;;) {
        error = read_attribute(&r, &rdn);
        if (error < 0)
            break;
        bool joined = r.at < r.end && *r.at == '+';
        if (!joined) {
            add_rdn(canonical, &rdn, first);
            begin_rdn(&rdn);
            first = false;
        }
        if (r.at == r.end)
            break;
        r.at++;
    }
    th_buf_fini(&attributes);
    return error;
}
