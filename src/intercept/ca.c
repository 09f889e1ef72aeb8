#include "tokenhop/intercept/ca.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "certificate.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"

#define BACKDATED_S 3600
#define DAY_S ((int64_t)24 * 3600)

static bool is_https(const struct th_config_pattern *pattern)
{
    return th_str_equal(pattern->scheme, TH_STR("https"));
}

static bool add_subtree(STACK_OF(GENERAL_SUBTREE) * trees, int type, const void *bytes, size_t len)
{
    GENERAL_SUBTREE *tree = GENERAL_SUBTREE_new();
    ASN1_STRING *value =
        ASN1_STRING_type_new(type == GEN_IPADD ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);

    if (tree == NULL || value == NULL || !ASN1_STRING_set(value, bytes, (int)len)) {
        GENERAL_SUBTREE_free(tree);
        ASN1_STRING_free(value);
        return false;
    }
    GENERAL_NAME_set0_value(tree->base, type, value);
    if (sk_GENERAL_SUBTREE_push(trees, tree) > 0)
        return true;
    GENERAL_SUBTREE_free(tree);
    return false;
}

/* The host as a constraint: a name, or an address and its whole mask. Returns the type. */
static int constraint_of(struct th_str host, uint8_t ret_range[32], size_t *ret_len)
{
    char text[INET6_ADDRSTRLEN + 1] = "";

    if (host.len < sizeof text) {
        memcpy(text, host.ptr, host.len);
        text[host.len] = '\0';
    }
    *ret_len = inet_pton(AF_INET, text, ret_range) == 1    ? 8
               : inet_pton(AF_INET6, text, ret_range) == 1 ? 32
                                                           : 0;
    memset(ret_range + *ret_len / 2, 0xff, *ret_len / 2);
    return *ret_len > 0 ? GEN_IPADD : GEN_DNS;
}

static bool has_subtree(const STACK_OF(GENERAL_SUBTREE) * trees, int type, const void *bytes,
                        size_t len)
{
    for (int i = 0; i < sk_GENERAL_SUBTREE_num(trees); i++) {
        const GENERAL_NAME *base = sk_GENERAL_SUBTREE_value(trees, i)->base;
        const ASN1_STRING *value = base->d.ia5;
        if (base->type == type && (size_t)ASN1_STRING_length(value) == len &&
            memcmp(ASN1_STRING_get0_data(value), bytes, len) == 0)
            return true;
    }
    return false;
}

struct counts {
    size_t names, addresses;
};

static bool permit_host(STACK_OF(GENERAL_SUBTREE) * trees, struct th_str host,
                        struct counts *counts)
{
    uint8_t range[32];
    size_t len;
    int type = constraint_of(host, range, &len);
    const void *bytes = type == GEN_DNS ? (const void *)host.ptr : range;

    if (type == GEN_DNS)
        len = host.len;
    *(type == GEN_DNS ? &counts->names : &counts->addresses) += 1;
    return has_subtree(trees, type, bytes, len) || add_subtree(trees, type, bytes, len);
}

static bool permit_hosts(STACK_OF(GENERAL_SUBTREE) * trees, const struct th_config_view *config,
                         struct counts *counts)
{
    for (size_t i = 0; i < config->n_connections; i++) {
        const struct th_config_connection *connection = &config->connections[i];
        for (size_t k = 0; k < connection->n_patterns; k++)
            if (is_https(&connection->patterns[k]) &&
                !permit_host(trees, connection->patterns[k].host, counts))
                return false;
    }
    return true;
}

#define NOBODY "invalid" /* which no resolver knows (RFC 6761, 6.4) */

/* Kinds of which the authority never makes a certificate: SPIFFE's identities, say, and mail. They are not
 * excluded, as verifiers read the constraint that would name them all in different ways. One on directory names
 * would have Go refuse the whole authority, as any critical thing that it does not know; of these the extended
 * key usage takes what they are good for. */
static bool permit_nobody_else(STACK_OF(GENERAL_SUBTREE) * trees)
{
    return add_subtree(trees, GEN_URI, NOBODY, sizeof NOBODY - 1) &&
           add_subtree(trees, GEN_EMAIL, NOBODY, sizeof NOBODY - 1);
}

static NAME_CONSTRAINTS *make_constraints(const struct th_config_view *config,
                                          struct counts *ret_counts)
{
    static const uint8_t all[32]; /* any address of either kind */
    NAME_CONSTRAINTS *constraints = NAME_CONSTRAINTS_new();
    bool fine = constraints != NULL;

    *ret_counts = (struct counts){0};
    if (fine)
        constraints->permittedSubtrees = sk_GENERAL_SUBTREE_new_null();
    fine = fine && constraints->permittedSubtrees != NULL &&
           permit_hosts(constraints->permittedSubtrees, config, ret_counts) &&
           permit_nobody_else(constraints->permittedSubtrees);
    if (fine && ret_counts->names == 0)
        fine = add_subtree(constraints->permittedSubtrees, GEN_DNS, NOBODY, sizeof NOBODY - 1);
    if (fine && ret_counts->addresses == 0) {
        constraints->excludedSubtrees = sk_GENERAL_SUBTREE_new_null();
        fine = constraints->excludedSubtrees != NULL &&
               add_subtree(constraints->excludedSubtrees, GEN_IPADD, all, 8) &&
               add_subtree(constraints->excludedSubtrees, GEN_IPADD, all, 32);
    }
    if (fine)
        return constraints;
    NAME_CONSTRAINTS_free(constraints);
    return NULL;
}

/* Two authorities of one subject but different keys would be taken for each other: the subject has a
 * part of the serial number. */
static bool set_subject(X509 *certificate, const uint8_t serial[TH_SERIAL_LEN])
{
    char name[64];

    snprintf(name, sizeof name, "tokenhop interception %02x%02x%02x%02x", serial[1], serial[2],
             serial[3], serial[4]);
    X509_NAME *subject = X509_get_subject_name(certificate);
    return X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC, (const unsigned char *)"tokenhop",
                                      -1, -1, 0) &&
           X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1,
                                      -1, 0) &&
           X509_set_issuer_name(certificate, subject);
}

static bool add_extensions(X509 *certificate, NAME_CONSTRAINTS *constraints)
{
    return th_certificate_add_extension(certificate, certificate, NID_basic_constraints,
                                        "critical,CA:TRUE,pathlen:0") &&
           th_certificate_add_extension(certificate, certificate, NID_key_usage,
                                        "critical,keyCertSign,cRLSign") &&
           th_certificate_add_extension(certificate, certificate, NID_ext_key_usage,
                                        "serverAuth") && /* and of all that it vouches for */
           th_certificate_add_extension(certificate, certificate, NID_subject_key_identifier,
                                        "hash") &&
           X509_add1_ext_i2d(certificate, NID_name_constraints, constraints, 1,
                             X509V3_ADD_DEFAULT) == 1;
}

static X509 *make_certificate(EVP_PKEY *key, NAME_CONSTRAINTS *constraints, int64_t now_s,
                              unsigned days)
{
    X509 *certificate = X509_new();
    uint8_t serial[TH_SERIAL_LEN];

    if (certificate != NULL && X509_set_version(certificate, X509_VERSION_3) &&
        th_certificate_set_serial(certificate, serial) && set_subject(certificate, serial) &&
        th_certificate_set_validity(certificate, now_s - BACKDATED_S,
                                    now_s + (int64_t)days * DAY_S) &&
        X509_set_pubkey(certificate, key) && add_extensions(certificate, constraints) &&
        X509_sign(certificate, key, EVP_sha256()) > 0)
        return certificate;
    X509_free(certificate);
    return NULL;
}

static bool write_certificate(X509 *certificate, struct th_buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *bytes;

    bool fine = bio != NULL && PEM_write_bio_X509(bio, certificate);
    long len = fine ? BIO_get_mem_data(bio, &bytes) : 0;
    if (len > 0)
        th_buf_add(out, bytes, (size_t)len);
    BIO_free(bio);
    return len > 0 && !out->failed;
}

static bool write_key(EVP_PKEY *key, struct th_secret **ret_key)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    char *bytes;

    *ret_key = NULL;
    bool fine = bio != NULL && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    long len = fine ? BIO_get_mem_data(bio, &bytes) : 0;
    if (len > 0) {
        *ret_key = th_secret_new(bytes, (size_t)len);
        th_wipe(bytes, (size_t)len);
    }
    BIO_free(bio);
    return *ret_key != NULL;
}

int th_ca_make(const struct th_config_view *config, int64_t now_s, unsigned days,
               struct th_buf *certificate, struct th_secret **ret_key, struct th_errinfo *reterr)
{
    struct counts counts;
    NAME_CONSTRAINTS *constraints = make_constraints(config, &counts);
    EVP_PKEY *key = NULL;
    X509 *made = NULL;
    int error = TH_E_NOMEM;

    ERR_clear_error();
    if (constraints != NULL && counts.names + counts.addresses == 0) {
        error = th_errinfo_set(reterr, TH_E_CONFIG, NULL,
                               "give a connection a URL with https://, or do without interception",
                               "no connection has an https:// URL: there is nothing to intercept");
    } else if (constraints != NULL) {
        key = EVP_EC_gen("P-256");
        made = key != NULL ? make_certificate(key, constraints, now_s, days) : NULL;
        if (made != NULL && write_certificate(made, certificate) && write_key(key, ret_key))
            error = 0;
        else
            th_errinfo_set(reterr, error, NULL, NULL, "the authority cannot be made");
    }
    ERR_clear_error();
    X509_free(made);
    EVP_PKEY_free(key);
    NAME_CONSTRAINTS_free(constraints);
    return error;
}
