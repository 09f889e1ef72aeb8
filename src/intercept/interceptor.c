#include "interceptor.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include "tokenhop/base/mem.h"
#include "tokenhop/base/secret.h"
#include "tokenhop/config/authority.h"

static bool digest_config(const struct th_config_interception *config, uint8_t ret_digest[32])
{
    struct th_str key = th_secret_expose(config->key);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    bool fine = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
                EVP_DigestUpdate(ctx, config->certificates.ptr, config->certificates.len) == 1 &&
                EVP_DigestUpdate(ctx, key.ptr, key.len) == 1 &&
                EVP_DigestFinal_ex(ctx, ret_digest, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    return fine;
}

/* False: memory is short. */
static bool find_earliest_end(const STACK_OF(X509) * chain, int64_t *ret_end_s)
{
    *ret_end_s = INT64_MAX;
    for (int i = 0; i < sk_X509_num(chain); i++) {
        struct tm tm = {0};
        if (!ASN1_TIME_to_tm(X509_get0_notAfter(sk_X509_value(chain, i)), &tm))
            return false;
        int64_t end_s = (int64_t)timegm(&tm);
        *ret_end_s = end_s < *ret_end_s ? end_s : *ret_end_s;
    }
    return true;
}

/* Who trusts an authority that vouches for itself has it, and for who does not it proves nothing: it need not be
 * sent (RFC 8446, 4.4.2), which saves half of the bytes, and the client the reading of it. */
static STACK_OF(X509) * without_roots(const STACK_OF(X509) * chain)
{
    STACK_OF(X509) *shown = sk_X509_new_null();

    for (int i = 0; shown != NULL && i < sk_X509_num(chain); i++) {
        X509 *certificate = sk_X509_value(chain, i);
        if (X509_get_extension_flags(certificate) & EXFLAG_SS)
            continue;
        if (!X509_add_cert(shown, certificate, X509_ADD_FLAG_UP_REF)) {
            sk_X509_pop_free(shown, X509_free);
            return NULL;
        }
    }
    return shown;
}

/* To put a key that a provider of OpenSSL 3.0 holds into a certificate it is encoded and decoded, each by a
 * search through all coders there are: 0.4 ms a certificate, four fifths of making one. A public key that is
 * held as before 3.0 is put there as it is. NULL where there are no such keys any more. */
static EVP_PKEY *copy_public(EVP_PKEY *key)
{
    EVP_PKEY *copy = EVP_PKEY_new();
    unsigned char *point = NULL;
    size_t len = EVP_PKEY_get1_encoded_public_key(key, &point);

    bool fine = copy != NULL && len > 0 && EVP_PKEY_set_type(copy, EVP_PKEY_EC) == 1 &&
                EVP_PKEY_copy_parameters(copy, key) == 1 &&
                EVP_PKEY_set1_encoded_public_key(copy, point, len) == 1 &&
                EVP_PKEY_eq(copy, key) == 1;
    OPENSSL_free(point);
    if (fine)
        return copy;
    EVP_PKEY_free(copy);
    return NULL;
}

/* The authority's key and that of leaves. */
static bool set_keys(struct th_interceptor *interceptor, struct th_secret *authority_key)
{
    interceptor->authority_key = th_authority_read_key(th_secret_expose(authority_key));
    interceptor->leaf_key = EVP_EC_gen("P-256");
    if (interceptor->authority_key == NULL || interceptor->leaf_key == NULL)
        return false;
    interceptor->leaf_public = copy_public(interceptor->leaf_key);
    if (interceptor->leaf_public == NULL && EVP_PKEY_up_ref(interceptor->leaf_key))
        interceptor->leaf_public = interceptor->leaf_key;
    return interceptor->leaf_public != NULL;
}

static int fill(struct th_interceptor *interceptor, const struct th_config_interception *config)
{
    if (!digest_config(config, interceptor->digest))
        return TH_E_NOMEM;
    interceptor->chain = th_authority_read(config->certificates);
    interceptor->shown = without_roots(interceptor->chain);
    if (interceptor->chain == NULL || interceptor->shown == NULL ||
        !set_keys(interceptor, config->key) ||
        !find_earliest_end(interceptor->chain, &interceptor->expires_s))
        return TH_E_NOMEM; /* the loader has read them: they are what they must be */
    return th_tls_server_new(&interceptor->tls);
}

int th_interceptor_new(const struct th_config_interception *config, const struct th_clock *clock,
                       struct th_interceptor **ret_interceptor)
{
    struct th_interceptor *interceptor = th_calloc(1, sizeof *interceptor);

    if (interceptor == NULL)
        return TH_E_NOMEM;
    if (th_leaves_init(&interceptor->leaves) < 0) {
        th_free(interceptor);
        return TH_E_NOMEM;
    }
    th_ref_init(&interceptor->ref);
    interceptor->clock = clock;
    ERR_clear_error();
    int error = fill(interceptor, config);
    ERR_clear_error();
    if (error < 0) {
        th_interceptor_unref(interceptor);
        return error;
    }
    *ret_interceptor = interceptor;
    return 0;
}

struct th_interceptor *th_interceptor_ref(struct th_interceptor *interceptor)
{
    th_ref_take(&interceptor->ref);
    return interceptor;
}

struct th_interceptor *th_interceptor_unref(struct th_interceptor *interceptor)
{
    if (interceptor == NULL || !th_ref_release(&interceptor->ref))
        return NULL;
    th_leaves_fini(&interceptor->leaves);
    th_tls_server_unref(interceptor->tls);
    EVP_PKEY_free(interceptor->authority_key);
    EVP_PKEY_free(interceptor->leaf_key);
    EVP_PKEY_free(interceptor->leaf_public);
    sk_X509_pop_free(interceptor->chain, X509_free);
    sk_X509_pop_free(interceptor->shown, X509_free);
    th_free(interceptor);
    return NULL;
}

bool th_interceptor_is_of(const struct th_interceptor *interceptor,
                          const struct th_config_interception *config)
{
    uint8_t digest[32];

    return config->key != NULL && digest_config(config, digest) &&
           memcmp(digest, interceptor->digest, sizeof digest) == 0;
}

struct th_tls_server *th_interceptor_tls(const struct th_interceptor *interceptor)
{
    return interceptor->tls;
}
