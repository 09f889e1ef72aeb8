/* JOSE as far as token exchange needs it: keys (RFC 7517, 7518), signed tokens (RFC 7515, 7519),
 * base64url. The primitives are OpenSSL's and jansson's. Algorithms are named by what the
 * configuration or the key allows, never by what a token says of itself (`none`, key confusion).
 *
 * A th_key is immutable and counted; its functions may be called from any thread. RSA signing takes
 * about a millisecond: on a helper thread. */
#ifndef TOKENHOP_OAUTH_JOSE_H
#define TOKENHOP_OAUTH_JOSE_H

#include <jansson.h>
#include <stdbool.h>

#include "tokenhop/base/buf.h"
#include "tokenhop/base/secret.h"
#include "tokenhop/base/str.h"

enum th_alg {
    TH_JWS_NONE,
    TH_JWS_RS256,
    TH_JWS_RS384,
    TH_JWS_RS512,
    TH_JWS_PS256,
    TH_JWS_PS384,
    TH_JWS_PS512,
    TH_JWS_ES256,
    TH_JWS_ES384,
    TH_JWS_ES512,
    TH_JWS_EDDSA
};

/* "RS256" and so on; TH_JWS_NONE for what is not in the list ("none" too). */
enum th_alg th_alg_find(struct th_str name);
struct th_str th_alg_name(enum th_alg alg);

/* base64url without padding (RFC 7515, 2). Decoding is strict: no padding, no white space, no
 * stray bits. Adds to `out`; TH_E_BAD_REQUEST when malformed. */
void th_base64url_encode(struct th_buf *out, const void *bytes, size_t len);
int th_base64url_decode(struct th_buf *out, struct th_str text) TH_MUST;

struct th_key;
/* PEM (PKCS#8, SEC 1, PKCS#1; private or public) or a JWK object, told apart by the first character.
 * RSA at least 2048 bits; P-256, P-384, P-521; Ed25519. */
int th_key_parse(struct th_str text, struct th_key **ret_key, struct th_errinfo *reterr) TH_MUST;
/* From a JWK object, private or public. `kid` of the object is kept. */
int th_key_from_jwk(const json_t *jwk, struct th_key **ret_key, struct th_errinfo *reterr) TH_MUST;
/* A new key pair for that algorithm. */
int th_key_generate(enum th_alg alg, struct th_key **ret_key) TH_MUST;
struct th_key *th_key_ref(struct th_key *key);
struct th_key *th_key_unref(struct th_key *key); /* NULL is fine; returns NULL */
bool th_key_is_private(const struct th_key *key);
bool th_key_fits(const struct th_key *key, enum th_alg alg); /* type and curve */
struct th_str th_key_kid(const struct th_key *key);          /* may be empty */
/* The public JWK, a new reference; with kid, alg, use where given. NULL when memory is short. */
json_t *th_key_to_public_jwk(const struct th_key *key, struct th_str kid, enum th_alg alg) TH_MUST;
/* Private key as PKCS#8 PEM. */
int th_key_to_private_pem(const struct th_key *key, struct th_secret **ret_pem) TH_MUST;
/* RFC 7638 with SHA-256, base64url. */
int th_key_thumbprint(const struct th_key *key, struct th_buf *out) TH_MUST;

/* Signs: header {"alg", "kid" if not empty, "typ" if not empty} and the claims as they are. The
 * compact token is a secret. */
int th_jwt_sign(const struct th_key *key, enum th_alg alg, struct th_str kid, struct th_str typ,
                const json_t *claims, struct th_secret **ret_token) TH_MUST;

/* What a header says beside `alg`; empty: nothing of it. */
struct th_jws_header {
    struct th_str kid;
    struct th_str typ;
    struct th_str x5t;      /* RFC 7515, 4.1.7: SHA-1 of the certificate, base64url */
    struct th_str x5t_s256; /* 4.1.8: SHA-256 */
};
/* Signs likewise. */
int th_jwt_sign_headed(const struct th_key *key, enum th_alg alg,
                       const struct th_jws_header *header, const json_t *claims,
                       struct th_secret **ret_token) TH_MUST;

/* A token taken apart; nothing is trusted by it. */
struct th_jwt {
    json_t *header; /* objects; owned */
    json_t *claims;
    struct th_str signed_part; /* borrowed from the text */
    struct th_str signature;   /* still encoded */
};
/* Three base64url parts of which two are JSON objects, bounded in size (64 KiB) and nesting (32), without
 * duplicate members. TH_E_SUBJECT_MALFORMED otherwise: the token is opaque. */
int th_jwt_parse(struct th_str text, struct th_jwt *ret_jwt) TH_MUST;
void th_jwt_fini(struct th_jwt *jwt); /* zeroed is fine */
/* 0 when the signature is right for this key and `alg` is the header's and among those that fit the key. */
int th_jwt_verify(const struct th_jwt *jwt, const struct th_key *key) TH_MUST;
struct th_str th_jwt_text(const json_t *object,
                          const char *name); /* string member, else empty; borrowed */
/* A NumericDate member, integral or real, as milliseconds; -1 when absent or not a number. */
int64_t th_jwt_time_ms(const json_t *claims, const char *name);
/* `aud` is the text, or an array that contains it. */
bool th_jwt_has_audience(const json_t *claims, struct th_str audience);

#endif
