#include "key.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "tokenhop/base/mem.h"
#include "tokenhop/oauth/json.h"

static void biop_free(BIO **bio)
{
    BIO_free(*bio);
}

static bool kind_of(EVP_PKEY *pkey, enum th_key_kind *ret_kind)
{
    if (EVP_PKEY_is_a(pkey, "RSA")) {
        *ret_kind = TH_KEY_RSA;
        return true;
    }
    if (EVP_PKEY_is_a(pkey, "ED25519")) {
        *ret_kind = TH_KEY_ED25519;
        return true;
    }
    char group[32];
    if (!EVP_PKEY_is_a(pkey, "EC") || EVP_PKEY_get_group_name(pkey, group, sizeof group, NULL) != 1)
        return false;
    for (enum th_key_kind kind = TH_KEY_P256; kind <= TH_KEY_P521; kind++) {
        if (strcmp(group, th_curve_row(kind)->group) == 0) {
            *ret_kind = kind;
            return true;
        }
    }
    return false;
}

int th_key_wrap(EVP_PKEY *pkey, bool is_private, struct th_str kid, struct th_key **ret_key,
                struct th_errinfo *reterr)
{
    ERR_clear_error();
    enum th_key_kind kind;
    if (pkey == NULL)
        return th_errinfo_set(reterr, TH_E_BAD_REQUEST, NULL, NULL, "the key cannot be read");
    if (!kind_of(pkey, &kind)) {
        EVP_PKEY_free(pkey);
        return th_errinfo_set(reterr, TH_E_BAD_REQUEST, NULL,
                              "use RSA, P-256, P-384, P-521 or Ed25519",
                              "the key is of a type or on a curve that is not supported");
    }
    int bits = EVP_PKEY_get_bits(pkey);
    if (kind == TH_KEY_RSA && (bits < TH_KEY_RSA_BITS_MIN || bits > TH_KEY_RSA_BITS_MAX)) {
        EVP_PKEY_free(pkey);
        return th_errinfo_set(reterr, TH_E_BAD_REQUEST, NULL, "make a new key: tokenhop keygen",
                              "the RSA key has %d bits; %d to %d are accepted", bits,
                              TH_KEY_RSA_BITS_MIN, TH_KEY_RSA_BITS_MAX);
    }
    struct th_key *key = th_calloc(1, sizeof *key);
    char *kid_text = th_strndup(kid.len > 0 ? kid.ptr : "", kid.len);
    if (key == NULL || kid_text == NULL) {
        th_free(key);
        th_free(kid_text);
        EVP_PKEY_free(pkey);
        return th_errinfo_set(reterr, TH_E_NOMEM, NULL, NULL, "no memory for the key");
    }
    *key = (struct th_key){.kind = kind,
                           .is_private = is_private,
                           .is_for_signatures = true,
                           .only_alg = TH_JWS_NONE,
                           .pkey = pkey,
                           .kid = {kid_text, kid.len}};
    th_ref_init(&key->ref);
    *ret_key = key;
    return 0;
}

/* Without this OpenSSL would ask for it on the terminal. */
static int refuse_passphrase(char *buf, int size, int rwflag, void *asked)
{
    (void)buf, (void)size, (void)rwflag;
    *(bool *)asked = true;
    return -1;
}

static int parse_pem(struct th_str text, struct th_key **ret_key, struct th_errinfo *reterr)
{
    TH_CLEANUP(biop_free) BIO *bio = BIO_new_mem_buf(text.ptr, (int)text.len);
    if (bio == NULL)
        return th_errinfo_set(reterr, TH_E_NOMEM, NULL, NULL, "no memory for the key");
    bool asked = false;
    ERR_clear_error();
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, refuse_passphrase, &asked);
    if (pkey != NULL)
        return th_key_wrap(pkey, true, TH_STR_NONE, ret_key, reterr);
    if (asked) {
        ERR_clear_error();
        return th_errinfo_set(reterr, TH_E_BAD_REQUEST, NULL,
                              "store it without a passphrase, readable by its owner only",
                              "the key is encrypted with a passphrase");
    }
    (void)BIO_reset(bio);
    pkey = PEM_read_bio_PUBKEY(bio, NULL, refuse_passphrase, &asked);
    return th_key_wrap(pkey, false, TH_STR_NONE, ret_key, reterr);
}

int th_key_parse(struct th_str text, struct th_key **ret_key, struct th_errinfo *reterr)
{
    size_t skip = 0;
    while (skip < text.len && memchr(" \t\r\n", text.ptr[skip], 4) != NULL)
        skip++;
    text = (struct th_str){text.ptr != NULL ? text.ptr + skip : "", text.len - skip};
    if (text.len == 0 || text.len > TH_KEY_TEXT_MAX)
        return th_errinfo_set(reterr, TH_E_BAD_REQUEST, NULL, "name a file with a PEM or JWK key",
                              "the key is empty or longer than %d bytes", TH_KEY_TEXT_MAX);
    if (text.ptr[0] != '{')
        return parse_pem(text, ret_key, reterr);
    json_t *jwk;
    int error = th_json_parse_object(text, TH_KEY_TEXT_MAX, &jwk);
    if (error != 0)
        return th_errinfo_set(reterr, error, NULL, NULL, "the key is not a JSON object");
    error = th_key_from_jwk(jwk, ret_key, reterr);
    json_decref(jwk);
    if (error == TH_E_NOMEM)
        return th_errinfo_set(reterr, error, NULL, NULL, "no memory for the key");
    return error;
}

int th_key_generate(enum th_alg alg, struct th_key **ret_key)
{
    if (alg == TH_JWS_NONE)
        return TH_E_BAD_REQUEST;
    EVP_PKEY *pkey = NULL;
    enum th_key_kind kind = th_alg_row(alg)->kind;
    switch (kind) {
    case TH_KEY_RSA:
        pkey = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)TH_KEY_RSA_BITS_MIN);
        break;
    case TH_KEY_P256:
    case TH_KEY_P384:
    case TH_KEY_P521:
        pkey = EVP_PKEY_Q_keygen(NULL, NULL, "EC", th_curve_row(kind)->group);
        break;
    case TH_KEY_ED25519:
        pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
        break;
    case TH_KEY_KINDS:
        break;
    }
    if (pkey == NULL)
        return TH_E_NOMEM;
    return th_key_wrap(pkey, true, TH_STR_NONE, ret_key, NULL);
}

struct th_key *th_key_ref(struct th_key *key)
{
    th_ref_take(&key->ref);
    return key;
}

struct th_key *th_key_unref(struct th_key *key)
{
    if (key != NULL && th_ref_release(&key->ref)) {
        EVP_PKEY_free(key->pkey);
        th_free((char *)key->kid.ptr);
        th_free(key);
    }
    return NULL;
}

bool th_key_is_private(const struct th_key *key)
{
    return key->is_private;
}

bool th_key_fits(const struct th_key *key, enum th_alg alg)
{
    return alg != TH_JWS_NONE && key->is_for_signatures && th_alg_row(alg)->kind == key->kind &&
           (key->only_alg == TH_JWS_NONE || key->only_alg == alg);
}

struct th_str th_key_kid(const struct th_key *key)
{
    return key->kid;
}

int th_key_to_private_pem(const struct th_key *key, struct th_secret **ret_pem)
{
    if (!key->is_private)
        return TH_E_BAD_REQUEST;
    /* A memory BIO wipes what it frees, also when it grows. */
    TH_CLEANUP(biop_free) BIO *bio = BIO_new(BIO_s_mem());
    if (bio == NULL ||
        PEM_write_bio_PKCS8PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL, NULL) != 1) {
        ERR_clear_error();
        return TH_E_NOMEM;
    }
    char *text;
    long len = BIO_get_mem_data(bio, &text);
    if (len <= 0)
        return TH_E_INTERNAL;
    *ret_pem = th_secret_new(text, (size_t)len);
    return *ret_pem != NULL ? 0 : TH_E_NOMEM;
}
