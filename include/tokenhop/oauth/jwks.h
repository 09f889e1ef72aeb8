/* Key sets (RFC 7517, 5): the public keys that an authorization server signs with. */
#ifndef TOKENHOP_OAUTH_JWKS_H
#define TOKENHOP_OAUTH_JWKS_H

#include "tokenhop/oauth/documents.h"
#include "tokenhop/oauth/jose.h"

#define TH_JWKS_BYTES_MAX ((size_t)256 * 1024)
#define TH_JWKS_KEYS_MAX 64

/* Counted, immutable. */
struct th_jwks {
    size_t n_keys;
    struct th_key *keys[TH_JWKS_KEYS_MAX];
};

/* 0: *ret_jwks is a new reference. TH_AGAIN: the waiter waits. Else *ret_failure, whose error is
 * TH_E_EXCHANGE_DOWN or TH_E_NOMEM: without keys nothing can be said of a token. `older`: a set
 * that lacked a key, so that only a newer one will do (at most every half minute). */
int th_jwks_get(struct th_document_desk *desk, struct th_str uri, struct th_str ca_file,
                bool allow_cleartext, const struct th_jwks *older,
                struct th_document_waiter *waiter, const struct th_jwks **ret_jwks,
                struct th_document_failure *ret_failure) TH_MUST;
const struct th_jwks *th_jwks_ref(const struct th_jwks *jwks);
const struct th_jwks *th_jwks_unref(const struct th_jwks *jwks); /* NULL is fine */
/* When it was asked for: a key in use before would be in it. */
int64_t th_jwks_asked_wall_ms(const struct th_jwks *jwks);

/* Takes the keys that can verify signatures; what is of another kind or use, malformed, or holds a
 * private part, is passed over, as are those beyond TH_JWKS_KEYS_MAX. 0; TH_E_NOMEM;
 * TH_E_EXCHANGE_FAILED and *ret_why when it is no key set. */
int th_jwks_parse(struct th_str text, const struct th_jwks **ret_jwks,
                  const char **ret_why) TH_MUST;

/* Whether the token is signed by one of the keys: by the one of its `kid`, or where it has none, by
 * any that fits its `alg`. 0; TH_E_SUBJECT_UNTRUSTED; TH_JWKS_UNKNOWN when there is no such key,
 * which a newer set may have; TH_E_NOMEM. */
#define TH_JWKS_UNKNOWN 1
int th_jwks_verify(const struct th_jwks *jwks, const struct th_jwt *jwt) TH_MUST;

#endif
