#include "private_key.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>

#include "source.h"
#include "tokenhop/base/check.h"

#define MIN_RSA_BITS 2048
#define NUMBER_MAX 2048 /* bytes of a number of a key */

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

enum kind { KIND_RSA, KIND_P256, KIND_P384, KIND_P521, KIND_ED25519, KIND_OTHER };

/* How each kind of key is called, by OpenSSL and in a JWK (RFC 7518, 6.2.1.1; RFC 8037, 2), and what
 * signs with it unless something else is said. */
static const struct kind_row {
    const char *name; /* with its article */
    const char *kty, *crv;
    const char *group;     /* NULL: not of an elliptic curve */
    size_t coordinate_len; /* in base64url */
    const char *alg;
} kinds[] = {
    [KIND_RSA] = {"an RSA key", "RSA", "", NULL, 0, "RS256"},
    [KIND_P256] = {"a P-256 key", "EC", "P-256", "prime256v1", 43, "ES256"},
    [KIND_P384] = {"a P-384 key", "EC", "P-384", "secp384r1", 64, "ES384"},
    [KIND_P521] = {"a P-521 key", "EC", "P-521", "secp521r1", 88, "ES512"},
    [KIND_ED25519] = {"an Ed25519 key", "OKP", "Ed25519", NULL, 43, "EdDSA"},
};

static const struct alg_row {
    const char *name; /* NULL: none that a key signs with */
    enum kind kind;
} algs[] = {
    [TH_ALG_UNSAID] = {NULL, KIND_OTHER},     [TH_ALG_RS256] = {"RS256", KIND_RSA},
    [TH_ALG_RS384] = {"RS384", KIND_RSA},     [TH_ALG_RS512] = {"RS512", KIND_RSA},
    [TH_ALG_PS256] = {"PS256", KIND_RSA},     [TH_ALG_PS384] = {"PS384", KIND_RSA},
    [TH_ALG_PS512] = {"PS512", KIND_RSA},     [TH_ALG_ES256] = {"ES256", KIND_P256},
    [TH_ALG_ES384] = {"ES384", KIND_P384},    [TH_ALG_ES512] = {"ES512", KIND_P521},
    [TH_ALG_EDDSA] = {"EdDSA", KIND_ED25519}, [TH_ALG_HS256] = {NULL, KIND_OTHER},
    [TH_ALG_HS384] = {NULL, KIND_OTHER},      [TH_ALG_HS512] = {NULL, KIND_OTHER},
};

static enum kind kind_of(const EVP_PKEY *key)
{
    char group[32] = "";
    size_t len;
    if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA)
        return KIND_RSA;
    if (EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519)
        return KIND_ED25519;
    if (EVP_PKEY_get_base_id(key) != EVP_PKEY_EC ||
        EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group),
                                       &len) != 1)
        return KIND_OTHER;
    for (size_t i = 0; i < TH_COUNT_OF(kinds); i++) {
        if (kinds[i].group != NULL && strcmp(group, kinds[i].group) == 0)
            return (enum kind)i;
    }
    return KIND_OTHER;
}

static int wrong_kind(enum th_signing_alg alg, enum kind kind, struct th_errinfo *reterr)
{
    const struct alg_row *row = &algs[alg];
    if (row->name == NULL)
        return bad(reterr, "no key signs with this algorithm", NULL);
    if (row->kind == kind)
        return 0;
    char mend[80] = "make one with tokenhop keygen";
    if (kind != KIND_OTHER)
        snprintf(mend, sizeof(mend), "write \"alg\": \"%s\"", kinds[kind].alg);
    return th_errinfo_set(reterr, TH_E_CONFIG, NULL, mend, "%s signs with %s, which this is not",
                          row->name, kinds[row->kind].name);
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
    int r = wrong_kind(alg, kind_of(key), reterr);
    if (r == 0 && algs[alg].kind == KIND_RSA && EVP_PKEY_get_bits(key) < MIN_RSA_BITS)
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

static int check_curve_members(const struct th_source *jwk, const struct kind_row *kind,
                               struct th_errinfo *reterr)
{
    static const char *const names[] = {"d", "x", "y"};
    size_t n = strcmp(kind->kty, "OKP") == 0 ? 2 : 3; /* RFC 8037, 2: no y */
    for (size_t i = 0; i < n; i++) {
        struct th_str member = jwk_member(jwk, names[i]);
        if (member.len == 0)
            return bad(reterr,
                       i == 0 ? "the JWK has no private part \"d\""
                              : "the JWK lacks a coordinate, \"x\" or \"y\"",
                       "name the file with the private key, not the public one");
        if (member.len != kind->coordinate_len || base64url_bits(member) == 0) /* RFC 7518, 6.2 */
            return th_errinfo_set(reterr, TH_E_CONFIG, NULL, NULL,
                                  "a member of the JWK is not %zu bytes in base64url",
                                  kind->coordinate_len * 3 / 4);
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
    enum kind kind = KIND_RSA;
    while (kind != KIND_OTHER &&
           !(th_str_equal(kty, th_str_of(kinds[kind].kty)) &&
             (kinds[kind].crv[0] == '\0' || th_str_equal(crv, th_str_of(kinds[kind].crv)))))
        kind++;
    int r = wrong_kind(alg, kind, reterr);
    if (r < 0)
        return r;
    if (own_alg.len > 0 && !th_str_equal(own_alg, th_str_of(algs[alg].name)))
        return bad(reterr, "the JWK is meant for another algorithm than \"alg\"", NULL);
    if (use.len > 0 && !th_str_equal(use, TH_STR("sig")))
        return bad(reterr, "the JWK is not meant for signatures", NULL);
    return kind == KIND_RSA ? check_rsa_members(jwk, reterr)
                            : check_curve_members(jwk, &kinds[kind], reterr);
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

/* Where the text is a JWK, or its end when it is empty. */
static size_t skip_space(struct th_str text)
{
    size_t at = 0;
    while (at < text.len && strchr(" \t\r\n", text.ptr[at]) != NULL && text.ptr[at] != '\0')
        at++;
    return at;
}

int th_private_key_check(struct th_str text, enum th_signing_alg alg, struct th_errinfo *reterr)
{
    size_t at = skip_space(text);
    if (at == text.len)
        return bad(reterr, "the file is empty", NULL);
    return text.ptr[at] == '{' ? check_jwk(text, alg, reterr) : check_pem(text, alg, reterr);
}

/* A certificate's number as the members of a JWK have it. */
static bool is_number(struct th_str member, const uint8_t *bytes, size_t len)
{
    char text[(NUMBER_MAX + 2) / 3 * 4 + 1];
    size_t n = (size_t)EVP_EncodeBlock((unsigned char *)text, bytes, (int)len);
    while (n > 0 && text[n - 1] == '=')
        n--;
    for (size_t i = 0; i < n; i++)
        text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
    return th_str_equal(member, (struct th_str){text, n});
}

static bool is_jwk_of(const struct th_source *jwk, const struct th_identity *identity)
{
    uint8_t first[NUMBER_MAX], second[NUMBER_MAX];
    size_t n_first = sizeof(first), n_second = sizeof(second);
    bool is_rsa = th_str_equal(jwk_member(jwk, "kty"), TH_STR("RSA"));
    return th_identity_numbers(identity, first, &n_first, second, &n_second) == 0 &&
           is_number(jwk_member(jwk, is_rsa ? "n" : "x"), first, n_first) &&
           is_number(jwk_member(jwk, is_rsa ? "e" : "y"), second, n_second);
}

static int check_pem_of(struct th_str text, const struct th_identity *identity, bool *ret_is_its)
{
    __attribute__((cleanup(bio_freep))) BIO *bio = BIO_new_mem_buf(text.ptr, (int)text.len);
    bool asked = false;
    if (bio == NULL)
        return TH_E_NOMEM;
    __attribute__((cleanup(pkey_freep))) EVP_PKEY *key =
        PEM_read_bio_PrivateKey(bio, NULL, no_password, &asked);
    *ret_is_its = key != NULL && X509_check_private_key(identity->certificate, key) == 1;
    ERR_clear_error();
    return 0;
}

int th_private_key_check_certificate(struct th_str text, const struct th_identity *identity,
                                     struct th_errinfo *reterr)
{
    bool is_its = false;
    size_t at = skip_space(text);
    int r;
    if (at < text.len && text.ptr[at] == '{') {
        struct th_source jwk;
        th_source_init_secret(&jwk, text);
        r = th_source_scan(&jwk);
        if (r == 0)
            is_its = is_jwk_of(&jwk, identity);
        th_source_fini(&jwk);
    } else {
        r = check_pem_of(text, identity, &is_its);
    }
    if (r == TH_E_NOMEM || is_its)
        return r;
    return bad(reterr, "the certificate is not that of the private key",
               "name the certificate that was issued for the key");
}
