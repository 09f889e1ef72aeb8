#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include "certificate.h"
#include "interceptor.h"
#include "tokenhop/base/mem.h"

#define BACKDATED_S 3600 /* for clocks of callers that are behind */
#define VALID_S ((int64_t)7 * 24 * 3600)
#define USED_S ((int64_t)24 * 3600)

static GENERAL_NAME *general_name(struct th_str host)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    char text[INET6_ADDRSTRLEN + 1] = "";
    uint8_t address[16];
    int address_len = 0;

    if (host.len < sizeof text) {
        memcpy(text, host.ptr, host.len);
        text[host.len] = '\0';
    }
    if (inet_pton(AF_INET, text, address) == 1)
        address_len = 4;
    else if (inet_pton(AF_INET6, text, address) == 1)
        address_len = 16;
    ASN1_STRING *value =
        ASN1_STRING_type_new(address_len > 0 ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
    const void *bytes = address_len > 0 ? (const void *)address : host.ptr;
    if (name != NULL && value != NULL &&
        ASN1_STRING_set(value, bytes, address_len > 0 ? address_len : (int)host.len)) {
        GENERAL_NAME_set0_value(name, address_len > 0 ? GEN_IPADD : GEN_DNS, value);
        return name;
    }
    GENERAL_NAME_free(name);
    ASN1_STRING_free(value);
    return NULL;
}

static bool add_name(X509 *certificate, struct th_str host)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *name = general_name(host);
    bool fine = names != NULL && name != NULL && sk_GENERAL_NAME_push(names, name) > 0;

    if (!fine)
        GENERAL_NAME_free(name);
    fine = fine &&
           X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
    sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
    return fine;
}

/* The host is in the subjectAltName alone: a common name would be one more to check. */
static bool set_names(X509 *certificate, X509 *authority)
{
    return X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "O", MBSTRING_ASC,
                                      (const unsigned char *)"tokenhop interception", -1, -1, 0) &&
           X509_set_issuer_name(certificate, X509_get_subject_name(authority));
}

static bool add_extensions(X509 *certificate, X509 *authority, struct th_str host)
{
    return th_certificate_add_extension(certificate, authority, NID_basic_constraints,
                                        "critical,CA:FALSE") &&
           th_certificate_add_extension(certificate, authority, NID_key_usage,
                                        "critical,digitalSignature") &&
           th_certificate_add_extension(certificate, authority, NID_ext_key_usage, "serverAuth") &&
           (X509_get0_subject_key_id(authority) == NULL ||
            th_certificate_add_extension(certificate, authority, NID_authority_key_identifier,
                                         "keyid")) &&
           add_name(certificate, host);
}

/* Some keys sign with no digest but their own (Ed25519). */
static const EVP_MD *digest_of(EVP_PKEY *key)
{
    int nid = NID_undef;

    return EVP_PKEY_get_default_digest_nid(key, &nid) == 2 && nid == NID_undef ? NULL
                                                                               : EVP_sha256();
}

static X509 *make_certificate(const struct th_interceptor *interceptor, struct th_str host,
                              int64_t now_s, int64_t until_s)
{
    X509 *authority = sk_X509_value(interceptor->chain, 0);
    X509 *certificate = X509_new();
    uint8_t serial[TH_SERIAL_LEN];

    if (certificate != NULL && X509_set_version(certificate, X509_VERSION_3) &&
        th_certificate_set_serial(certificate, serial) && set_names(certificate, authority) &&
        th_certificate_set_validity(certificate, now_s - BACKDATED_S, until_s) &&
        X509_set_pubkey(certificate, interceptor->leaf_public) &&
        add_extensions(certificate, authority, host) &&
        X509_sign(certificate, interceptor->authority_key, digest_of(interceptor->authority_key)) >
            0)
        return certificate;
    X509_free(certificate);
    return NULL;
}

/* Sessions are resumed under this very authority and host. */
static void set_context_id(struct th_tls_identity *identity,
                           const struct th_interceptor *interceptor, struct th_str host)
{
    uint8_t bytes[32 + 256];
    size_t len = host.len < 256 ? host.len : 256;

    memcpy(bytes, interceptor->digest, 32);
    memcpy(bytes + 32, host.ptr, len);
    SHA256(bytes, 32 + len, identity->context_id);
}

int th_leaf_make(const struct th_interceptor *interceptor, struct th_str host,
                 struct th_leaf **ret_leaf)
{
    int64_t now_s = th_clock_wall_ms(interceptor->clock) / 1000;
    int64_t until_s = now_s + VALID_S;
    struct th_leaf *leaf;

    if (until_s > interceptor->expires_s)
        until_s = interceptor->expires_s;
    if (until_s <= now_s)
        return TH_E_CONFIG;
    leaf = th_calloc(1, sizeof *leaf);
    if (leaf == NULL)
        return TH_E_NOMEM;
    th_ref_init(&leaf->ref);
    atomic_flag_clear(&leaf->seen);
    leaf->renew_at_s = until_s < now_s + USED_S ? until_s : now_s + USED_S;
    ERR_clear_error();
    leaf->identity.certificate = make_certificate(interceptor, host, now_s, until_s);
    ERR_clear_error();
    leaf->identity.chain = X509_chain_up_ref(interceptor->shown);
    if (EVP_PKEY_up_ref(interceptor->leaf_key))
        leaf->identity.key = interceptor->leaf_key;
    set_context_id(&leaf->identity, interceptor, host);
    if (leaf->identity.certificate == NULL || leaf->identity.chain == NULL ||
        leaf->identity.key == NULL) {
        th_leaf_unref(leaf);
        return TH_E_NOMEM;
    }
    *ret_leaf = leaf;
    return 0;
}

struct th_leaf *th_leaf_ref(struct th_leaf *leaf)
{
    th_ref_take(&leaf->ref);
    return leaf;
}

struct th_leaf *th_leaf_unref(struct th_leaf *leaf)
{
    if (leaf == NULL || !th_ref_release(&leaf->ref))
        return NULL;
    X509_free(leaf->identity.certificate);
    EVP_PKEY_free(leaf->identity.key);
    sk_X509_pop_free(leaf->identity.chain, X509_free);
    th_free(leaf);
    return NULL;
}

bool th_leaf_is_new(struct th_leaf *leaf)
{
    return !atomic_flag_test_and_set_explicit(&leaf->seen, memory_order_relaxed);
}

const struct th_tls_identity *th_leaf_identity(const struct th_leaf *leaf)
{
    return &leaf->identity;
}
