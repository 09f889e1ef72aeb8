#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>

#include "key.h"
#include "tokenhop/base/mem.h"

#define MEMBER_MAX 2048 /* bytes of a number: more than RSA 8192 needs */

static int malformed(struct th_errinfo *reterr, const char *name)
{
    return th_errinfo_set(reterr, TH_E_BAD_REQUEST, NULL, "see RFC 7518, 6",
                          "member \"%s\" of the JWK is missing or malformed", name);
}

/* One base64url member decoded into `out`, cleared before. 1: absent. */
static int get_bytes(const json_t *jwk, const char *name, struct th_buf *out)
{
    th_buf_clear(out);
    const json_t *member = json_object_get(jwk, name);
    if (member == NULL)
        return 1;
    /* Longer than the room for any key's member: malformed, not a lack of memory. */
    if (!json_is_string(member) || json_string_length(member) / 4 * 3 > out->max)
        return TH_E_BAD_REQUEST;
    int error = th_base64url_decode(
        out, (struct th_str){json_string_value(member), json_string_length(member)});
    return error == 0 && out->len == 0 ? TH_E_BAD_REQUEST : error;
}

/* Parameters under way to EVP_PKEY_fromdata(); numbers are kept until it has run. */
struct params {
    OSSL_PARAM_BLD *builder;
    BIGNUM *numbers[8];
    size_t n_numbers;
};

static void params_fini(struct params *p)
{
    for (size_t i = 0; i < p->n_numbers; i++)
        BN_clear_free(p->numbers[i]);
    OSSL_PARAM_BLD_free(p->builder);
}

static int params_add_number(struct params *p, const char *param, const struct th_buf *bytes)
{
    BIGNUM *number = BN_secure_new();
    if (number == NULL ||
        BN_bin2bn((const unsigned char *)bytes->ptr, (int)bytes->len, number) == NULL) {
        BN_clear_free(number);
        return TH_E_NOMEM;
    }
    p->numbers[p->n_numbers++] = number;
    return OSSL_PARAM_BLD_push_BN(p->builder, param, number) == 1 ? 0 : TH_E_NOMEM;
}

static EVP_PKEY *params_make(struct params *p, const char *type, bool is_private)
{
    EVP_PKEY *pkey = NULL;
    OSSL_PARAM *list = OSSL_PARAM_BLD_to_param(p->builder);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    int selection = is_private ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY;
    if (list == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &pkey, selection, list) != 1)
        pkey = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(list);
    return pkey;
}

static int read_rsa(const json_t *jwk, struct th_buf *bytes, bool *ret_private, EVP_PKEY **ret_pkey,
                    struct th_errinfo *reterr)
{
    /* RFC 7518, 6.3: d makes it private; the five for the Chinese remainder come all or none. */
    static const struct {
        const char *name, *param;
    } members[] = {{"n", OSSL_PKEY_PARAM_RSA_N},          {"e", OSSL_PKEY_PARAM_RSA_E},
                   {"d", OSSL_PKEY_PARAM_RSA_D},          {"p", OSSL_PKEY_PARAM_RSA_FACTOR1},
                   {"q", OSSL_PKEY_PARAM_RSA_FACTOR2},    {"dp", OSSL_PKEY_PARAM_RSA_EXPONENT1},
                   {"dq", OSSL_PKEY_PARAM_RSA_EXPONENT2}, {"qi", OSSL_PKEY_PARAM_RSA_COEFFICIENT1}};
    if (json_object_get(jwk, "oth") != NULL)
        return malformed(reterr, "oth"); /* more than two primes: RFC 7518, 6.3.2.7 */
    TH_CLEANUP(params_fini) struct params params = {.builder = OSSL_PARAM_BLD_new()};
    if (params.builder == NULL)
        return TH_E_NOMEM;
    size_t n = 0;
    for (; n < TH_COUNT_OF(members); n++) {
        int error = get_bytes(jwk, members[n].name, bytes);
        if (error == 1 && (n == 2 || n == 3))
            break;
        if (error != 0)
            return error == TH_E_NOMEM ? error : malformed(reterr, members[n].name);
        error = params_add_number(&params, members[n].param, bytes);
        if (error != 0)
            return error;
    }
    *ret_private = n > 2;
    *ret_pkey = params_make(&params, "RSA", *ret_private);
    return 0;
}

static int read_ec(const json_t *jwk, enum th_key_kind kind, struct th_buf *bytes,
                   bool *ret_private, EVP_PKEY **ret_pkey, struct th_errinfo *reterr)
{
    const struct th_curve_row *curve = th_curve_row(kind);
    unsigned char point[1 + 2 * 66] = {4}; /* uncompressed */
    static const char *const coordinates[] = {"x", "y"};
    for (size_t i = 0; i < 2; i++) {
        int error = get_bytes(jwk, coordinates[i], bytes);
        if (error == TH_E_NOMEM)
            return error;
        if (error != 0 || bytes->len != curve->len)
            return malformed(reterr, coordinates[i]);
        memcpy(point + 1 + i * curve->len, bytes->ptr, curve->len);
    }
    TH_CLEANUP(params_fini) struct params params = {.builder = OSSL_PARAM_BLD_new()};
    if (params.builder == NULL ||
        OSSL_PARAM_BLD_push_utf8_string(params.builder, OSSL_PKEY_PARAM_GROUP_NAME, curve->group,
                                        0) != 1 ||
        OSSL_PARAM_BLD_push_octet_string(params.builder, OSSL_PKEY_PARAM_PUB_KEY, point,
                                         1 + 2 * curve->len) != 1)
        return TH_E_NOMEM;
    int error = get_bytes(jwk, "d", bytes);
    *ret_private = error != 1;
    if (*ret_private) {
        if (error == 0 && bytes->len == curve->len)
            error = params_add_number(&params, OSSL_PKEY_PARAM_PRIV_KEY, bytes);
        else
            error = error == TH_E_NOMEM ? error : malformed(reterr, "d");
        if (error != 0)
            return error;
    }
    *ret_pkey = params_make(&params, "EC", *ret_private);
    return 0;
}

static int read_okp(const json_t *jwk, struct th_buf *bytes, bool *ret_private, EVP_PKEY **ret_pkey,
                    struct th_errinfo *reterr)
{
    unsigned char x[32];
    int error = get_bytes(jwk, "x", bytes);
    if (error == TH_E_NOMEM)
        return error;
    if (error != 0 || bytes->len != sizeof x)
        return malformed(reterr, "x");
    memcpy(x, bytes->ptr, sizeof x);
    error = get_bytes(jwk, "d", bytes);
    *ret_private = error != 1;
    if (!*ret_private) {
        *ret_pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, sizeof x);
        return 0;
    }
    if (error == TH_E_NOMEM)
        return error;
    if (error != 0 || bytes->len != 32)
        return malformed(reterr, "d");
    EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL,
                                                  (const unsigned char *)bytes->ptr, bytes->len);
    unsigned char derived[32];
    size_t len = sizeof derived;
    if (pkey != NULL && (EVP_PKEY_get_raw_public_key(pkey, derived, &len) != 1 || len != sizeof x ||
                         memcmp(derived, x, sizeof x) != 0)) {
        EVP_PKEY_free(pkey);
        return malformed(reterr, "x");
    }
    *ret_pkey = pkey;
    return 0;
}

static bool kind_of_crv(struct th_str crv, enum th_key_kind *ret_kind)
{
    for (enum th_key_kind kind = TH_KEY_P256; kind <= TH_KEY_P521; kind++) {
        if (th_str_equal(th_str_of(th_curve_row(kind)->crv), crv)) {
            *ret_kind = kind;
            return true;
        }
    }
    return false;
}

/* Whether both halves of a private key belong together: OpenSSL does not look. */
static int check_pair(const struct th_key *key, struct th_errinfo *reterr)
{
    enum th_alg alg = TH_JWS_RS256;
    while (th_alg_row(alg)->kind != key->kind)
        alg++;
    struct th_key plain = *key; /* `use` and `alg` apart */
    plain.is_for_signatures = true;
    plain.only_alg = TH_JWS_NONE;
    struct th_buf signature;
    th_buf_init(&signature, 2048);
    int error = th_signature_make(&plain, alg, TH_STR("pair"), &signature);
    if (error == 0)
        error = th_signature_check(&plain, alg, TH_STR("pair"), th_buf_str(&signature));
    th_buf_fini(&signature);
    if (error == 0 || error == TH_E_NOMEM)
        return error;
    return th_errinfo_set(reterr, TH_E_BAD_REQUEST, NULL, NULL,
                          "the private and the public part of the JWK do not belong together");
}

static int read_jwk(const json_t *jwk, struct th_buf *bytes, struct th_key **ret_key,
                    struct th_errinfo *reterr)
{
    struct th_str kty = th_jwt_text(jwk, "kty"), crv = th_jwt_text(jwk, "crv");
    bool is_private = false;
    EVP_PKEY *pkey = NULL;
    enum th_key_kind kind;
    int error;
    if (th_str_equal(kty, TH_STR("RSA")))
        error = read_rsa(jwk, bytes, &is_private, &pkey, reterr);
    else if (th_str_equal(kty, TH_STR("EC")) && kind_of_crv(crv, &kind))
        error = read_ec(jwk, kind, bytes, &is_private, &pkey, reterr);
    else if (th_str_equal(kty, TH_STR("OKP")) && th_str_equal(crv, TH_STR("Ed25519")))
        error = read_okp(jwk, bytes, &is_private, &pkey, reterr);
    else
        error = th_errinfo_set(reterr, TH_E_BAD_REQUEST, NULL,
                               "use RSA, P-256, P-384, P-521 or Ed25519",
                               "the JWK's \"kty\" and \"crv\" name no supported type of key");
    if (error == 0)
        error = th_key_wrap(pkey, is_private, th_jwt_text(jwk, "kid"), ret_key, reterr);
    ERR_clear_error();
    return error;
}

int th_key_from_jwk(const json_t *jwk, struct th_key **ret_key, struct th_errinfo *reterr)
{
    struct th_buf bytes;
    th_buf_init_secret(&bytes, MEMBER_MAX);
    struct th_key *key = NULL;
    int error = read_jwk(jwk, &bytes, &key, reterr);
    th_buf_fini(&bytes);
    if (error != 0)
        return error;
    if (key->is_private) {
        error = check_pair(key, reterr);
        if (error != 0) {
            th_key_unref(key);
            return error;
        }
    }
    /* RFC 7517, 4.2 and 4.4: what the key's owner does not mean it for, it does not do. */
    struct th_str use = th_jwt_text(jwk, "use"), alg = th_jwt_text(jwk, "alg");
    key->only_alg = th_alg_find(alg);
    key->is_for_signatures = (use.len == 0 || th_str_equal(use, TH_STR("sig"))) &&
                             (alg.len == 0 || key->only_alg != TH_JWS_NONE);
    *ret_key = key;
    return 0;
}

static int add_member(json_t *jwk, const char *name, const unsigned char *bytes, size_t len)
{
    struct th_buf text;
    th_buf_init(&text, 2 * MEMBER_MAX);
    th_base64url_encode(&text, bytes, len);
    int error = text.failed ? TH_E_NOMEM : 0;
    if (error == 0 && json_object_set_new(jwk, name, json_stringn(text.ptr, text.len)) != 0)
        error = TH_E_NOMEM;
    th_buf_fini(&text);
    return error;
}

/* `len` 0: as short as it is (RFC 7518, 2: Base64urlUInt); else left-padded to a coordinate's length. */
static int add_number(json_t *jwk, const char *name, const EVP_PKEY *pkey, const char *param,
                      size_t len)
{
    BIGNUM *number = NULL;
    unsigned char bytes[TH_KEY_RSA_BITS_MAX / 8];
    if (EVP_PKEY_get_bn_param(pkey, param, &number) != 1)
        return TH_E_NOMEM;
    if (len == 0)
        len = (size_t)BN_num_bytes(number);
    int error = TH_E_INTERNAL;
    if (len <= sizeof bytes && BN_bn2binpad(number, bytes, (int)len) == (int)len)
        error = add_member(jwk, name, bytes, len);
    BN_free(number);
    return error;
}

static int add_text(json_t *jwk, const char *name, struct th_str text)
{
    if (text.len == 0)
        return 0;
    return json_object_set_new(jwk, name, json_stringn(text.ptr, text.len)) == 0 ? 0 : TH_E_NOMEM;
}

/* The required members in lexical order, as the thumbprint wants them (RFC 7638, 3.2; RFC 8037, 2). */
static int add_required(json_t *jwk, const struct th_key *key)
{
    const struct th_curve_row *curve = th_curve_row(key->kind);
    unsigned char raw[32];
    size_t len = sizeof raw;
    int error = 0;
    switch (key->kind) {
    case TH_KEY_RSA:
        error = add_number(jwk, "e", key->pkey, OSSL_PKEY_PARAM_RSA_E, 0);
        error = error != 0 ? error : add_text(jwk, "kty", TH_STR("RSA"));
        return error != 0 ? error : add_number(jwk, "n", key->pkey, OSSL_PKEY_PARAM_RSA_N, 0);
    case TH_KEY_P256:
    case TH_KEY_P384:
    case TH_KEY_P521:
        error = add_text(jwk, "crv", th_str_of(curve->crv));
        error = error != 0 ? error : add_text(jwk, "kty", TH_STR("EC"));
        error = error != 0 ? error
                           : add_number(jwk, "x", key->pkey, OSSL_PKEY_PARAM_EC_PUB_X, curve->len);
        return error != 0 ? error
                          : add_number(jwk, "y", key->pkey, OSSL_PKEY_PARAM_EC_PUB_Y, curve->len);
    case TH_KEY_ED25519:
        error = add_text(jwk, "crv", th_str_of(curve->crv));
        error = error != 0 ? error : add_text(jwk, "kty", TH_STR("OKP"));
        if (error == 0 && EVP_PKEY_get_raw_public_key(key->pkey, raw, &len) != 1)
            error = TH_E_NOMEM;
        return error != 0 ? error : add_member(jwk, "x", raw, len);
    case TH_KEY_KINDS:
        break;
    }
    return TH_E_INTERNAL;
}

json_t *th_key_to_public_jwk(const struct th_key *key, struct th_str kid, enum th_alg alg)
{
    json_t *jwk = json_object();
    if (jwk == NULL)
        return NULL;
    int error = add_required(jwk, key);
    error = error != 0 ? error : add_text(jwk, "kid", kid);
    error = error != 0 ? error : add_text(jwk, "alg", th_alg_name(alg));
    error = error != 0 ? error : add_text(jwk, "use", TH_STR("sig"));
    ERR_clear_error();
    if (error != 0) {
        json_decref(jwk);
        return NULL;
    }
    return jwk;
}

static int buf_append(const char *bytes, size_t len, void *buf)
{
    th_buf_add(buf, bytes, len);
    return 0;
}

int th_key_thumbprint(const struct th_key *key, struct th_buf *out)
{
    json_t *jwk = json_object();
    if (jwk == NULL)
        return TH_E_NOMEM;
    struct th_buf text;
    th_buf_init(&text, 4 * MEMBER_MAX);
    unsigned char digest[EVP_MAX_MD_SIZE];
    size_t len;
    int error = add_required(jwk, key);
    if (error == 0 &&
        (json_dump_callback(jwk, buf_append, &text, JSON_COMPACT) != 0 || text.failed))
        error = TH_E_NOMEM;
    if (error == 0 && EVP_Q_digest(NULL, "SHA256", NULL, text.ptr, text.len, digest, &len) != 1)
        error = TH_E_NOMEM;
    if (error == 0) {
        th_base64url_encode(out, digest, len);
        error = out->failed ? TH_E_NOMEM : 0;
    }
    th_buf_fini(&text);
    json_decref(jwk);
    ERR_clear_error();
    return error;
}
