#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include "key.h"
#include "tokenhop/base/mem.h"

#define SIGNATURE_MAX (TH_KEY_RSA_BITS_MAX / 8)

static void mdctxp_free(EVP_MD_CTX **ctx)
{
    EVP_MD_CTX_free(*ctx);
}

static void sigp_free(ECDSA_SIG **sig)
{
    ECDSA_SIG_free(*sig);
}

/* RFC 7518, 3.5: the salt is as long as the digest; MGF1 uses the digest, which is OpenSSL's default. */
static bool set_padding(EVP_PKEY_CTX *ctx, const struct th_alg_row *row)
{
    if (row->kind != TH_KEY_RSA)
        return true;
    if (!row->is_pss)
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1;
    return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1;
}

/* ECDSA's DER to r and s of fixed length (RFC 7518, 3.4). */
static int add_raw(const struct th_alg_row *row, const unsigned char *der, size_t len,
                   struct th_buf *out)
{
    TH_CLEANUP(sigp_free) ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)len);
    unsigned char raw[2 * 66];
    int part = (int)row->part_len;
    if (sig == NULL)
        return TH_E_NOMEM;
    if (BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, part) != part ||
        BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + part, part) != part)
        return TH_E_INTERNAL;
    th_buf_add(out, raw, 2 * row->part_len);
    return out->failed ? TH_E_NOMEM : 0;
}

int th_signature_make(const struct th_key *key, enum th_alg alg, struct th_str bytes,
                      struct th_buf *out)
{
    if (!key->is_private || !th_key_fits(key, alg))
        return TH_E_BAD_REQUEST;
    const struct th_alg_row *row = th_alg_row(alg);
    TH_CLEANUP(mdctxp_free) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pkey_ctx = NULL;
    unsigned char signature[SIGNATURE_MAX];
    size_t len = sizeof signature;
    ERR_clear_error();
    if (ctx == NULL ||
        EVP_DigestSignInit_ex(ctx, &pkey_ctx, row->digest, NULL, NULL, key->pkey, NULL) != 1 ||
        !set_padding(pkey_ctx, row) ||
        EVP_DigestSign(ctx, signature, &len, (const unsigned char *)bytes.ptr, bytes.len) != 1) {
        ERR_clear_error();
        return TH_E_NOMEM; /* a checked key and valid arguments: nothing else is left */
    }
    if (row->part_len > 0)
        return add_raw(row, signature, len, out);
    th_buf_add(out, signature, len);
    return out->failed ? TH_E_NOMEM : 0;
}

/* r and s back to DER. Their length is fixed: a shorter or longer one is another signature's spelling. */
static int to_der(const struct th_alg_row *row, struct th_str raw, unsigned char **ret_der,
                  size_t *ret_len)
{
    if (raw.len != 2 * row->part_len)
        return TH_E_BAD_REQUEST;
    const unsigned char *at = (const unsigned char *)raw.ptr;
    TH_CLEANUP(sigp_free) ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(at, (int)row->part_len, NULL);
    BIGNUM *s = BN_bin2bn(at + row->part_len, (int)row->part_len, NULL);
    if (sig == NULL || r == NULL || s == NULL || ECDSA_SIG_set0(sig, r, s) != 1) {
        BN_free(r);
        BN_free(s);
        return TH_E_NOMEM;
    }
    *ret_der = NULL;
    int len = i2d_ECDSA_SIG(sig, ret_der);
    *ret_len = (size_t)len;
    return len > 0 ? 0 : TH_E_NOMEM;
}

int th_signature_check(const struct th_key *key, enum th_alg alg, struct th_str bytes,
                       struct th_str signature)
{
    if (!th_key_fits(key, alg) || signature.len > SIGNATURE_MAX)
        return TH_E_BAD_REQUEST;
    const struct th_alg_row *row = th_alg_row(alg);
    unsigned char *der = NULL;
    const unsigned char *at = (const unsigned char *)signature.ptr;
    size_t len = signature.len;
    if (row->part_len > 0) {
        int error = to_der(row, signature, &der, &len);
        if (error != 0)
            return error;
        at = der;
    }
    TH_CLEANUP(mdctxp_free) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pkey_ctx = NULL;
    ERR_clear_error();
    int error = TH_E_NOMEM;
    if (ctx != NULL &&
        EVP_DigestVerifyInit_ex(ctx, &pkey_ctx, row->digest, NULL, NULL, key->pkey, NULL) == 1 &&
        set_padding(pkey_ctx, row))
        error = EVP_DigestVerify(ctx, at, len, (const unsigned char *)bytes.ptr, bytes.len) == 1
                    ? 0
                    : TH_E_BAD_REQUEST;
    ERR_clear_error();
    OPENSSL_free(der);
    return error;
}
