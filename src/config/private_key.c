#include "private_key.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "source.h"
#include "tokenhop/base/check.h"

#define MIN_RSA_BITS 2048

static int bad(struct th_errinfo *reterr, const char *what, const char *mend)
{
    return th_errinfo_set(reterr, TH_E_CONFIG, NULL, mend, "%s", what);
}

static void bio_freep(BIO **bio)
{
    BIO_free(*bio);
}

static void pkey_freep(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

/* Without it OpenSSL would ask on the terminal. */
static int no_password(char *buf, int size, int writing, void *asked)
{
    *(bool *)asked = true;
    return -1;
}

static bool is_p256(const EVP_PKEY *key)
{
    char group[32];
    size_t len;
    return EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
           EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group),
                                          &len) == 1 &&
           strcmp(group, "prime256v1") == 0;
}

static int wrong_kind(enum th_signing_alg alg, bool rsa, bool p256, struct th_errinfo *reterr)
{
    switch (alg) {
    case TH_ALG_RS256:
        return rsa ? 0
                   : bad(reterr, "RS256 signs with an RSA key, which this is not",
                         p256 ? "write \"alg\": \"ES256\"" : "make one with tokenhop keygen");
    case TH_ALG_ES256:
        return p256 ? 0
                    : bad(reterr, "ES256 signs with a P-256 key, which this is not",
                          rsa ? "write \"alg\": \"RS256\"" : "make one with tokenhop keygen");
    }
    return bad(reterr, "this algorithm is not known", NULL);
}

static int check_pem(struct th_str text, enum th_signing_alg alg, struct th_errinfo *reterr)
{
    bool asked = false;
    __attribute__((cleanup(bio_freep))) BIO *bio = BIO_new_mem_buf(text.ptr, (int)text.len);
    if (bio == NULL)
        return TH_E_NOMEM;
    ERR_clear_error();
    __attribute__((cleanup(pkey_freep))) EVP_PKEY *key =
        PEM_read_bio_PrivateKey(bio, NULL, no_password, &asked);
    ERR_clear_error();
    if (key == NULL && asked)
        return bad(reterr, "the private key is encrypted",
                   "store it without a password and readable by its owner only");
    if (key == NULL)
        return bad(reterr, "the file holds no private key in PEM form",
                   "it begins with -----BEGIN PRIVATE KEY-----, or is a private JWK");
    bool rsa = EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA;
    int r = wrong_kind(alg, rsa, is_p256(key), reterr);
    if (r == 0 && rsa && EVP_PKEY_get_bits(key) < MIN_RSA_BITS)
        r = bad(reterr, "the RSA key is shorter than 2048 bits", "make one with tokenhop keygen");
    return r;
}

/* A JWK is read where it lies: a tree of it would leave copies of the private members behind. */
static struct th_str jwk_member(const struct th_source *jwk, const char *name)
{
    uint32_t node = th_source_find_member(jwk, 0, name);
    return node != TH_SOURCE_NONE ? th_source_raw_string(jwk, jwk->nodes[node].value) : TH_STR_NONE;
}

/* The bits of an unsigned number in base64url without padding; 0 where it is malformed. */
static size_t base64url_bits(struct th_str text)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t zeros = 0;
    bool leading = true;
    if (text.len == 0 || text.len % 4 == 1)
        return 0;
    for (size_t i = 0; i < text.len; i++) {
        const char *at = text.ptr[i] != '\0' ? strchr(alphabet, text.ptr[i]) : NULL;
        if (at == NULL)
            return 0;
        unsigned value = (unsigned)(at - alphabet);
        for (int bit = 5; bit >= 0 && leading; bit--) {
            leading = (value >> bit & 1) == 0;
            zeros += leading;
        }
    }
    size_t bits = text.len * 6 / 8 * 8; /* whole bytes */
    return bits > zeros ? bits - zeros : 0;
}

static int check_ec_members(const struct th_source *jwk, struct th_errinfo *reterr)
{
    static const char *const names[] = {"d", "x", "y"};
    for (size_t i = 0; i < TH_COUNT_OF(names); i++) {
        struct th_str member = jwk_member(jwk, names[i]);
        if (member.len == 0)
            return bad(reterr,
                       i == 0 ? "the JWK has no private part \"d\""
                              : "the JWK lacks a coordinate, \"x\" or \"y\"",
                       "name the file with the private key, not the public one");
        if (member.len != 43 || base64url_bits(member) == 0) /* RFC 7518, 6.2: 32 bytes each */
            return bad(reterr, "a member of the JWK is not 32 bytes in base64url", NULL);
    }
    return 0;
}

static int check_rsa_members(const struct th_source *jwk, struct th_errinfo *reterr)
{
    /* RFC 7518, 6.3.2: whoever writes one of the primes' members writes all of them */
    static const char *const names[] = {"d", "n", "e", "p", "q", "dp", "dq", "qi"};
    for (size_t i = 0; i < TH_COUNT_OF(names); i++) {
        struct th_str member = jwk_member(jwk, names[i]);
        if (member.len == 0)
            return bad(reterr,
                       i == 0 ? "the JWK has no private part \"d\""
                              : "the JWK lacks one of \"n\", \"e\", \"p\", \"q\", \"dp\", \"dq\", "
                                "\"qi\"",
                       "name the file with the private key, not the public one");
        if (base64url_bits(member) == 0)
            return bad(reterr, "a member of the JWK is not a number in base64url", NULL);
    }
    if (base64url_bits(jwk_member(jwk, "n")) < MIN_RSA_BITS)
        return bad(reterr, "the RSA key is shorter than 2048 bits",
                   "make one with tokenhop keygen");
    return 0;
}

static int check_jwk_members(const struct th_source *jwk, enum th_signing_alg alg,
                             struct th_errinfo *reterr)
{
    struct th_str kty = jwk_member(jwk, "kty"), crv = jwk_member(jwk, "crv");
    struct th_str use = jwk_member(jwk, "use"), own_alg = jwk_member(jwk, "alg");
    if (th_source_find_member(jwk, 0, "keys") != TH_SOURCE_NONE)
        return bad(reterr, "the file holds a set of keys", "put the agent's one private JWK there");
    if (kty.len == 0)
        return bad(reterr, "the file holds JSON, but no JWK", "a JWK has a member \"kty\"");
    bool rsa = th_str_equal(kty, TH_STR("RSA"));
    bool p256 = th_str_equal(kty, TH_STR("EC")) && th_str_equal(crv, TH_STR("P-256"));
    int r = wrong_kind(alg, rsa, p256, reterr);
    if (r < 0)
        return r;
    if (own_alg.len > 0 && !th_str_equal(own_alg, rsa ? TH_STR("RS256") : TH_STR("ES256")))
        return bad(reterr, "the JWK is meant for another algorithm than \"alg\"", NULL);
    if (use.len > 0 && !th_str_equal(use, TH_STR("sig")))
        return bad(reterr, "the JWK is not meant for signatures", NULL);
    return rsa ? check_rsa_members(jwk, reterr) : check_ec_members(jwk, reterr);
}

static int check_jwk(struct th_str text, enum th_signing_alg alg, struct th_errinfo *reterr)
{
    struct th_source jwk;
    th_source_init_secret(&jwk, text);
    int r = th_source_scan(&jwk);
    if (r == TH_E_CONFIG)
        r = bad(reterr, "the file is neither PEM nor valid JSON", NULL);
    if (r == 0)
        r = check_jwk_members(&jwk, alg, reterr);
    th_source_fini(&jwk);
    return r;
}

int th_private_key_check(struct th_str text, enum th_signing_alg alg, struct th_errinfo *reterr)
{
    size_t at = 0;
    while (at < text.len && strchr(" \t\r\n", text.ptr[at]) != NULL && text.ptr[at] != '\0')
        at++;
    if (at == text.len)
        return bad(reterr, "the file is empty", NULL);
    return text.ptr[at] == '{' ? check_jwk(text, alg, reterr) : check_pem(text, alg, reterr);
}
