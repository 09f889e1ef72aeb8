/* DPoP as a strict server plays it (RFC 9449): what is wrong with a proof, the nonces that are wanted in
 * it, and whether it fits the token that it comes with. One thread. */
#ifndef TOKENHOP_SRC_SANDBOX_DPOP_H
#define TOKENHOP_SRC_SANDBOX_DPOP_H

#include "ledger.h"
#include "tokenhop/base/clock.h"

#define TH_PROOF_JKT_LEN 43
#define TH_PROOF_NONCE_LEN 24
#define TH_PROOF_ALGS "ES256 ES384 ES512 RS256 RS384 RS512 PS256 PS384 PS512 EdDSA"

/* The nonces of one server: the latest, and the one before it, which is taken a while yet. */
struct th_proof_nonces {
    char now[TH_PROOF_NONCE_LEN + 1]; /* empty: none was made yet */
    char before[TH_PROOF_NONCE_LEN + 1];
    long n_used; /* proofs that bore the latest */
};

/* What a request brought; borrowed. */
struct th_proof_request {
    struct th_str proof; /* the DPoP field's value */
    size_t n_proofs;     /* how often the field came */
    struct th_str method;
    struct th_str url;   /* as this server knows itself, without a query */
    struct th_str token; /* empty: none, at a token endpoint */
    int64_t now_ms;
    long window_s;            /* how far back iat may lie */
    bool wants_nonce;         /* in it must be one of the nonces */
    long requests_of_a_nonce; /* after so many another is wanted; 0: never */
};

struct th_proof_desk {
    struct th_ledger seen; /* jti of proofs, by key */
    struct th_proof_nonces nonces;
};

void th_proof_desk_init(struct th_proof_desk *desk);
void th_proof_desk_clear(struct th_proof_desk *desk);
void th_proof_desk_fini(struct th_proof_desk *desk);

/* NULL, and the key's thumbprint: the proof is right. Else why not, a constant name; TH_PROOF_NONCE: a nonce
 * is wanted. The desk's latest nonce is to be said in any case where nonces are wanted. */
#define TH_PROOF_NONCE "proof_nonce"
const char *th_proof_check(struct th_proof_desk *desk, const struct th_proof_request *request,
                           char ret_jkt[TH_PROOF_JKT_LEN + 1]);

#endif
