#include "tokenhop/gate/names.h"

#include <openssl/x509v3.h>
#include <string.h>

#include "tokenhop/base/dn.h"
#include "tokenhop/http/xfcc.h"
#include "tokenhop/token/broker.h"

static void add(struct th_caller_names *names, enum th_caller_proof proof, struct th_str text)
{
    if (names->n == TH_CALLER_NAMES_MAX) {
        names->too_many = true;
        return;
    }
    struct th_caller_name *name = &names->items[names->n++];
    name->proof = (uint8_t)proof;
    th_broker_digest(text, name->digest);
}

static void finish(struct th_caller_names *names)
{
    if (names->too_many)
        names->n = 0;
}

/* An SVID has exactly one URI; whoever signs others beside it vouches for none of them as SPIFFE does. */
static void add_uri(struct th_caller_names *names, struct th_str uri, size_t n_uris)
{
    const struct th_str spiffe = TH_STR("spiffe:");
    struct th_str scheme = {uri.ptr, uri.len < spiffe.len ? uri.len : spiffe.len};

    if (n_uris == 1 || !th_str_equal_nocase(scheme, spiffe))
        add(names, TH_CALLER_URI, uri);
}

static void add_dns(struct th_caller_names *names, struct th_str dns)
{
    char lower[256];

    if (dns.len > sizeof lower)
        return;
    for (size_t i = 0; i < dns.len; i++) {
        char c = dns.ptr[i];
        lower[i] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    }
    add(names, TH_CALLER_DNS, (struct th_str){lower, dns.len});
}

/* --- of the connection's certificate --- */

static struct th_str text_of(const ASN1_STRING *string)
{
    return (struct th_str){(const char *)ASN1_STRING_get0_data(string),
                           (size_t)ASN1_STRING_length(string)};
}

static void add_alternatives(struct th_caller_names *names, const GENERAL_NAMES *alternatives)
{
    size_t n_uris = 0;

    for (int i = 0; i < sk_GENERAL_NAME_num(alternatives); i++)
        n_uris += sk_GENERAL_NAME_value(alternatives, i)->type == GEN_URI;
    for (int i = 0; i < sk_GENERAL_NAME_num(alternatives); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(alternatives, i);
        if (name->type == GEN_URI)
            add_uri(names, text_of(name->d.uniformResourceIdentifier), n_uris);
        else if (name->type == GEN_DNS)
            add_dns(names, text_of(name->d.dNSName));
    }
}

void th_caller_names_of(X509 *certificate, struct th_caller_names *ret_names)
{
    GENERAL_NAMES *alternatives = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    struct th_buf subject;

    ret_names->n = 0;
    ret_names->too_many = false;
    add_alternatives(ret_names, alternatives);
    GENERAL_NAMES_free(alternatives);
    th_buf_init(&subject, TH_DN_MAX);
    if (th_dn_of(X509_get_subject_name(certificate), &subject) == 0 && !subject.failed)
        add(ret_names, TH_CALLER_SUBJECT, th_buf_str(&subject));
    th_buf_fini(&subject);
    finish(ret_names);
}

/* --- of one that is forwarded --- */

static void add_subject(struct th_caller_names *names, struct th_str text)
{
    struct th_buf subject;

    th_buf_init(&subject, TH_DN_MAX);
    /* What is no such name ("/CN=x") is nobody's, and no mistake of the sender's. */
    if (text.len > 0 && th_dn_read(text, &subject, NULL) == 0 && !subject.failed)
        add(names, TH_CALLER_SUBJECT, th_buf_str(&subject));
    th_buf_fini(&subject);
}

int th_caller_names_forwarded(struct th_str value, struct th_caller_names *ret_names)
{
    struct th_str element, rest;
    struct th_xfcc_pair pair;
    size_t n_uris = 0;
    int error = th_xfcc_find_last(value, &element);

    ret_names->n = 0;
    ret_names->too_many = false;
    if (error < 0)
        return error;
    for (rest = element; th_xfcc_next(&rest, &pair);)
        n_uris += pair.key == TH_XFCC_URI && pair.value.len > 0;
    for (rest = element; th_xfcc_next(&rest, &pair);) {
        switch (pair.key) {
        case TH_XFCC_OTHER:
            break;
        case TH_XFCC_SUBJECT:
            add_subject(ret_names, pair.value);
            break;
        case TH_XFCC_URI:
            if (pair.value.len > 0)
                add_uri(ret_names, pair.value, n_uris);
            break;
        case TH_XFCC_DNS:
            add_dns(ret_names, pair.value);
            break;
        }
    }
    finish(ret_names);
    return 0;
}

bool th_caller_names_trusts(const struct th_config_forwarded_certificate *forwarded,
                            const struct th_address *peer)
{
    struct in6_addr address;

    if (peer->any.sa_family == AF_UNIX)
        return forwarded->from_unix;
    if (peer->any.sa_family != AF_INET && peer->any.sa_family != AF_INET6)
        return false;
    th_address_to_v6(peer, &address);
    for (size_t i = 0; i < forwarded->n_from; i++)
        if (th_config_network_holds(&forwarded->from[i], &address, 0))
            return true;
    return false;
}
