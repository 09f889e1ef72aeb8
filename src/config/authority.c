#include "tokenhop/config/authority.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

/* A host as a name constraint sees it. */
struct subject {
    struct th_str name; /* of a wildcard: what is behind the "*." */
    bool wildcard;
    uint8_t address[16];
    int address_len; /* 0: a name */
};

static struct subject subject_of(const struct th_config_pattern *pattern)
{
    struct subject subject = {.name = pattern->host, .wildcard = pattern->wildcard};
    char text[INET6_ADDRSTRLEN + 1];
    if (pattern->host.len >= sizeof(text))
        return subject;
    memcpy(text, pattern->host.ptr, pattern->host.len);
    text[pattern->host.len] = '\0';
    if (inet_pton(AF_INET, text, subject.address) == 1)
        subject.address_len = 4;
    else if (inet_pton(AF_INET6, text, subject.address) == 1)
        subject.address_len = 16;
    return subject;
}

/* Whether `name` is `base` or below it; an empty base is above all. One with a leading dot, which
 * RFC 5280 does not know for names, is above what is below it, as OpenSSL reads it. */
static bool is_within(struct th_str name, struct th_str base)
{
    if (base.len == 0)
        return true;
    if (name.len < base.len)
        return false;
    struct th_str end = {name.ptr + name.len - base.len, base.len};
    return th_str_equal_nocase(end, base) &&
           (name.len == base.len || base.ptr[0] == '.' || end.ptr[-1] == '.');
}

static bool holds_address(const ASN1_OCTET_STRING *range, const struct subject *subject)
{
    const uint8_t *bytes = ASN1_STRING_get0_data(range);
    int len = subject->address_len;
    if (ASN1_STRING_length(range) != 2 * len)
        return false;
    for (int i = 0; i < len; i++)
        if ((bytes[i] ^ subject->address[i]) & bytes[len + i])
            return false;
    return true;
}

/* Whether a subtree is of the subject's type; then, whether it meets the subject. `whole`: all of what
 * a wildcard stands for, else any of it. */
static bool meets(const GENERAL_SUBTREE *tree, const struct subject *subject, bool whole,
                  bool *ret_same_type)
{
    const GENERAL_NAME *base = tree->base;
    *ret_same_type = base->type == (subject->address_len > 0 ? GEN_IPADD : GEN_DNS);
    if (!*ret_same_type)
        return false;
    if (subject->address_len > 0)
        return holds_address(base->d.iPAddress, subject);
    struct th_str text = {(const char *)ASN1_STRING_get0_data(base->d.dNSName),
                          (size_t)ASN1_STRING_length(base->d.dNSName)};
    if (is_within(subject->name, text))
        return true;
    if (subject->wildcard && text.len > 1 && text.ptr[0] == '.' &&
        th_str_equal_nocase(subject->name, (struct th_str){text.ptr + 1, text.len - 1}))
        return true;
    return subject->wildcard && !whole && is_within(text, subject->name);
}

static bool may_vouch(const NAME_CONSTRAINTS *constraints, const struct subject *subject)
{
    bool any = false, permitted = false, same_type;
    for (int i = 0; i < sk_GENERAL_SUBTREE_num(constraints->permittedSubtrees); i++) {
        permitted |= meets(sk_GENERAL_SUBTREE_value(constraints->permittedSubtrees, i), subject,
                           true, &same_type);
        any |= same_type;
    }
    for (int i = 0; i < sk_GENERAL_SUBTREE_num(constraints->excludedSubtrees); i++)
        if (meets(sk_GENERAL_SUBTREE_value(constraints->excludedSubtrees, i), subject, false,
                  &same_type))
            return false;
    return !any || permitted;
}

bool th_authority_covers(const X509 *certificate, const struct th_config_pattern *pattern)
{
    struct subject subject = subject_of(pattern);
    int critical = -1;
    NAME_CONSTRAINTS *constraints =
        X509_get_ext_d2i(certificate, NID_name_constraints, &critical, NULL);
    if (constraints == NULL)
        return critical == -1; /* there are none; else they cannot be read */
    bool covered = may_vouch(constraints, &subject);
    NAME_CONSTRAINTS_free(constraints);
    return covered;
}

bool th_authority_is_constrained(const X509 *certificate)
{
    return X509_get_ext_by_NID(certificate, NID_name_constraints, -1) >= 0;
}

/* Without it OpenSSL would ask on the terminal. */
static int no_password(char *buf, int size, int writing, void *arg)
{
    return -1;
}

STACK_OF(X509) * th_authority_read(struct th_str pem)
{
    BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    STACK_OF(X509) *list = bio != NULL ? sk_X509_new_null() : NULL;
    X509 *certificate;
    ERR_clear_error();
    while (list != NULL &&
           (certificate = PEM_read_bio_X509(bio, NULL, no_password, NULL)) != NULL) {
        if (sk_X509_push(list, certificate) <= 0) {
            X509_free(certificate);
            break;
        }
    }
    bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    BIO_free(bio);
    if (at_end && sk_X509_num(list) > 0)
        return list;
    sk_X509_pop_free(list, X509_free);
    return NULL;
}

EVP_PKEY *th_authority_read_key(struct th_str pem)
{
    BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    ERR_clear_error();
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
    ERR_clear_error();
    BIO_free(bio);
    return key;
}
