/* What the files of the JOSE part share: the inside of a key, the table of algorithms, the signature
 * over bytes. */
#ifndef TOKENHOP_SRC_OAUTH_KEY_H
#define TOKENHOP_SRC_OAUTH_KEY_H

#include <openssl/evp.h>

#include "tokenhop/base/ref.h"
#include "tokenhop/oauth/jose.h"

enum th_key_kind {
    TH_KEY_RSA,
    TH_KEY_P256,
    TH_KEY_P384,
    TH_KEY_P521,
    TH_KEY_ED25519,
    TH_KEY_KINDS
};

#define TH_KEY_RSA_BITS_MIN 2048
#define TH_KEY_RSA_BITS_MAX 8192 /* verifying with more is a way to keep a processor busy */
#define TH_KEY_TEXT_MAX (64 * 1024)

/* Shared, immutable. */
struct th_key {
    struct th_ref ref;
    enum th_key_kind kind;
    bool is_private;
    bool is_for_signatures; /* false: a JWK with another `use` or an `alg` of no signature */
    enum th_alg only_alg;   /* `alg` of the JWK; TH_JWS_NONE: any that fits */
    EVP_PKEY *pkey;
    struct th_str kid; /* owned; may be empty */
};

struct th_alg_row {
    struct th_str name;
    enum th_key_kind kind;
    const char *digest; /* NULL: the algorithm's own (EdDSA) */
    bool is_pss;
    size_t part_len; /* ECDSA: bytes of r and of s (RFC 7518, 3.4); else 0 */
};
const struct th_alg_row *th_alg_row(enum th_alg alg);
/* RSA signs in about a millisecond, P-384 and P-521 likewise; P-256 and Ed25519 in some tens of
 * microseconds. */
static inline bool th_alg_is_slow(enum th_alg alg)
{
    return alg != TH_JWS_ES256 && alg != TH_JWS_EDDSA;
}

/* RFC 7518, 6.2.1.1 and RFC 8037, 2: the curve of a kind, how JWK and OpenSSL call it. */
struct th_curve_row {
    const char *crv; /* NULL: not on a curve */
    const char *group;
    size_t len; /* of a coordinate */
};
const struct th_curve_row *th_curve_row(enum th_key_kind kind);

/* Wraps; takes over `pkey` in any case, NULL is fine (then TH_E_BAD_REQUEST). */
int th_key_wrap(EVP_PKEY *pkey, bool is_private, struct th_str kid, struct th_key **ret_key,
                struct th_errinfo *reterr) TH_MUST;

/* Adds the signature as JWS has it: raw r and s for ECDSA. TH_E_BAD_REQUEST when the key does not fit. */
int th_signature_make(const struct th_key *key, enum th_alg alg, struct th_str bytes,
                      struct th_buf *out) TH_MUST;
/* 0 when right, else TH_E_BAD_REQUEST, TH_E_NOMEM. */
int th_signature_check(const struct th_key *key, enum th_alg alg, struct th_str bytes,
                       struct th_str signature) TH_MUST;

#endif
