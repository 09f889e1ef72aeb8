#include "tokenhop/base/identity.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "tokenhop/base/mem.h"

/* As TLS wants it here (RFC 9325): RSA of 2048 bits, no SHA-1. */
#define MIN_SECURITY_BITS 112
#define MAX_CHAIN 16

static int bad(struct th_errinfo *reterr, const char *what, const char *mend)
{
    return th_errinfo_set(reterr, TH_E_CONFIG, NULL, mend, "%s", what);
}

/* Without it OpenSSL would ask on the terminal. */
static int no_password(char *buf, int size, int writing, void *asked)
{
    (void)buf, (void)size, (void)writing;
    if (asked != NULL)
        *(bool *)asked = true;
    return -1;
}

/* --- certificates --- */

static bool is_weak(X509 *certificate)
{
    int bits = 0;
    uint32_t flags = 0;
    const EVP_PKEY *key = X509_get0_pubkey(certificate);

    if (key == NULL || EVP_PKEY_get_security_bits(key) < MIN_SECURITY_BITS)
        return true;
    /* Nobody relies on a root's own signature. */
    if (X509_self_signed(certificate, 0) == 1)
        return false;
    return X509_get_signature_info(certificate, NULL, NULL, &bits, &flags) != 1 ||
           bits < MIN_SECURITY_BITS;
}

static int check_one(X509 *certificate, struct th_errinfo *reterr)
{
    if (X509_cmp_current_time(X509_get0_notAfter(certificate)) <= 0)
        return bad(reterr, "the certificate, or one of its chain, has expired",
                   "have another issued for the key");
    if (X509_cmp_current_time(X509_get0_notBefore(certificate)) >= 0)
        return bad(reterr, "the certificate, or one of its chain, is not yet valid",
                   "check this machine's clock");
    if (is_weak(certificate))
        return bad(reterr,
                   "the certificate, or one of its chain, has a key below 2048 bits of RSA, or is "
                   "signed with SHA-1",
                   "have another issued");
    return 0;
}

/* A server that gets them in another order may refuse them (RFC 5246, 7.4.2). */
static int check_all(const struct th_identity *identity, struct th_errinfo *reterr)
{
    X509 *before = identity->certificate;
    int error = check_one(before, reterr);

    for (int i = 0; error == 0 && i < sk_X509_num(identity->chain); i++) {
        X509 *next = sk_X509_value(identity->chain, i);
        error = check_one(next, reterr);
        if (error == 0 && X509_check_issued(next, before) != X509_V_OK)
            error = bad(reterr, "the certificates are not in order",
                        "the own one comes first, then its issuer's, and so on");
        before = next;
    }
    return error;
}

static int read_certificates(struct th_identity *identity, BIO *bio, struct th_errinfo *reterr)
{
    X509 *certificate;

    while ((certificate = PEM_read_bio_X509(bio, NULL, no_password, NULL)) != NULL) {
        if (identity->certificate == NULL) {
            identity->certificate = certificate;
        } else if (sk_X509_num(identity->chain) >= MAX_CHAIN) {
            X509_free(certificate);
            return bad(reterr, "the file holds too many certificates", NULL);
        } else if (sk_X509_push(identity->chain, certificate) <= 0) {
            X509_free(certificate);
            return TH_E_NOMEM;
        }
    }
    if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        return bad(reterr, "a certificate of the file cannot be read", NULL);
    if (identity->certificate == NULL)
        return bad(reterr, "the file holds no certificate in PEM form",
                   "it begins with -----BEGIN CERTIFICATE-----");
    return 0;
}

static bool digest_all(struct th_identity *identity)
{
    uint8_t one[EVP_MAX_MD_SIZE];
    unsigned len;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL &&
              X509_digest(identity->certificate, EVP_sha256(), identity->sha256, NULL) == 1 &&
              X509_digest(identity->certificate, EVP_sha1(), identity->sha1, NULL) == 1 &&
              EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
              EVP_DigestUpdate(ctx, identity->sha256, sizeof(identity->sha256)) == 1;

    for (int i = 0; ok && i < sk_X509_num(identity->chain); i++)
        ok = X509_digest(sk_X509_value(identity->chain, i), EVP_sha256(), one, &len) == 1 &&
             EVP_DigestUpdate(ctx, one, len) == 1;
    ok = ok && EVP_DigestFinal_ex(ctx, identity->whole, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

int th_identity_new(struct th_str certificates, struct th_identity **ret_identity,
                    struct th_errinfo *reterr)
{
    struct th_identity *identity = th_calloc(1, sizeof(*identity));
    BIO *bio = NULL;
    int error = TH_E_NOMEM;

    if (identity == NULL)
        return TH_E_NOMEM;
    th_ref_init(&identity->ref);
    ERR_clear_error();
    identity->chain = sk_X509_new_null();
    bio = BIO_new_mem_buf(certificates.len > 0 ? certificates.ptr : "", (int)certificates.len);
    if (identity->chain != NULL && bio != NULL)
        error = read_certificates(identity, bio, reterr);
    if (error == 0)
        error = check_all(identity, reterr);
    if (error == 0 && !digest_all(identity))
        error = TH_E_NOMEM;
    BIO_free(bio);
    ERR_clear_error();
    if (error != 0)
        th_identity_unref(identity);
    else
        *ret_identity = identity;
    return error;
}

bool th_identity_is_for_clients(const struct th_identity *identity)
{
    return X509_check_purpose(identity->certificate, X509_PURPOSE_SSL_CLIENT, 0) == 1;
}

bool th_identity_is_for_servers(const struct th_identity *identity)
{
    return X509_check_purpose(identity->certificate, X509_PURPOSE_SSL_SERVER, 0) == 1;
}

bool th_identity_equal(const struct th_identity *a, const struct th_identity *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return memcmp(a->whole, b->whole, sizeof(a->whole)) == 0;
}

/* --- the key --- */

int th_identity_set_key(struct th_identity *identity, struct th_str key, struct th_errinfo *reterr)
{
    bool asked = false;
    BIO *bio = BIO_new_mem_buf(key.len > 0 ? key.ptr : "", (int)key.len);
    EVP_PKEY *pkey = NULL;
    int error = 0;

    TH_REQUIRE(identity->key == NULL);
    if (bio == NULL)
        return TH_E_NOMEM;
    ERR_clear_error();
    pkey = PEM_read_bio_PrivateKey(bio, NULL, no_password, &asked);
    if (pkey == NULL)
        error = asked ? bad(reterr, "the private key is encrypted",
                            "store it without a password and readable by its owner only")
                      : bad(reterr, "the file holds no private key in PEM form",
                            "it begins with -----BEGIN PRIVATE KEY-----");
    else if (X509_check_private_key(identity->certificate, pkey) != 1)
        error = bad(reterr, "the private key is not that of the certificate",
                    "name the key that the certificate was issued for");
    BIO_free(bio);
    ERR_clear_error();
    if (error == 0)
        identity->key = pkey;
    else
        EVP_PKEY_free(pkey);
    return error;
}

static int take_number(const EVP_PKEY *key, const char *name, int width, uint8_t *ret, size_t *len)
{
    BIGNUM *number = NULL;
    int n = -1;

    if (EVP_PKEY_get_bn_param(key, name, &number) == 1) {
        int size = width > 0 ? width : BN_num_bytes(number);
        if ((size_t)size <= *len)
            n = BN_bn2binpad(number, ret, size);
    }
    BN_free(number);
    ERR_clear_error();
    if (n < 0)
        return TH_E_CONFIG;
    *len = (size_t)n;
    return 0;
}

int th_identity_numbers(const struct th_identity *identity, uint8_t *ret_first, size_t *len_first,
                        uint8_t *ret_second, size_t *len_second)
{
    const EVP_PKEY *key = X509_get0_pubkey(identity->certificate);
    bool is_rsa = EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA;
    int width = is_rsa ? 0 : (EVP_PKEY_get_bits(key) + 7) / 8;

    if (!is_rsa && EVP_PKEY_get_base_id(key) != EVP_PKEY_EC)
        return TH_E_CONFIG;
    int error = take_number(key, is_rsa ? OSSL_PKEY_PARAM_RSA_N : OSSL_PKEY_PARAM_EC_PUB_X, width,
                            ret_first, len_first);
    return error != 0 ? error
                      : take_number(key, is_rsa ? OSSL_PKEY_PARAM_RSA_E : OSSL_PKEY_PARAM_EC_PUB_Y,
                                    width, ret_second, len_second);
}

/* --- counts --- */

struct th_identity *th_identity_ref(struct th_identity *identity)
{
    th_ref_take(&identity->ref);
    return identity;
}

struct th_identity *th_identity_unref(struct th_identity *identity)
{
    if (identity == NULL || !th_ref_release(&identity->ref))
        return NULL;
    EVP_PKEY_free(identity->key); /* wiped by OpenSSL */
    X509_free(identity->certificate);
    sk_X509_pop_free(identity->chain, X509_free);
    th_free(identity);
    return NULL;
}
