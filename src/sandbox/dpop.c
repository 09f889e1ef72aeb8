#include "dpop.h"

#include <openssl/evp.h>
#include <stdio.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/random.h"
#include "tokenhop/oauth/jose.h"

#define MAX_REMEMBERED 1000000
#define AHEAD_MS 5000 /* how far ahead a clock may be */
#define JTI_MIN 8
#define JTI_MAX 256

void th_proof_desk_init(struct th_proof_desk *desk)
{
    *desk = (struct th_proof_desk){0};
    th_ledger_init(&desk->seen, MAX_REMEMBERED);
}

void th_proof_desk_clear(struct th_proof_desk *desk)
{
    th_ledger_clear(&desk->seen);
    desk->nonces = (struct th_proof_nonces){{0}, {0}, 0};
}

void th_proof_desk_fini(struct th_proof_desk *desk)
{
    th_ledger_fini(&desk->seen);
}

static void renew_nonce(struct th_proof_nonces *nonces)
{
    uint8_t bytes[TH_PROOF_NONCE_LEN / 2];
    memcpy(nonces->before, nonces->now, sizeof nonces->before);
    th_random_bytes(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(nonces->now + 2 * i, 3, "%02x", bytes[i]);
    nonces->n_used = 0;
}

/* RFC 9449, 4.3, 5 and 7: asymmetric, and with the public key alone. */
static const char *check_header(const struct th_jwt *jwt, char jkt[TH_PROOF_JKT_LEN + 1])
{
    static const char *const private_members[] = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"};
    const json_t *jwk = json_object_get(jwt->header, "jwk");
    struct th_key *key;
    struct th_buf text;
    if (!th_str_equal(th_jwt_text(jwt->header, "typ"), TH_STR("dpop+jwt")))
        return "proof_typ";
    if (th_alg_find(th_jwt_text(jwt->header, "alg")) == TH_JWS_NONE)
        return "proof_alg";
    for (size_t i = 0; i < TH_COUNT_OF(private_members); i++) {
        if (json_object_get(jwk, private_members[i]) != NULL)
            return "proof_private_key";
    }
    if (!json_is_object(jwk) || th_key_from_jwk(jwk, &key, NULL) != 0)
        return "proof_jwk";
    th_buf_init(&text, TH_PROOF_JKT_LEN + 1);
    bool fine = th_jwt_verify(jwt, key) == 0 && th_key_thumbprint(key, &text) == 0 &&
                text.len == TH_PROOF_JKT_LEN;
    if (fine)
        memcpy(jkt, text.ptr, TH_PROOF_JKT_LEN + 1);
    th_buf_fini(&text);
    th_key_unref(key);
    return fine ? NULL : "proof_signature";
}

static bool has_hash_of(const json_t *claims, struct th_str token)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    size_t len;
    struct th_buf text;
    th_buf_init(&text, 64);
    bool fine = EVP_Q_digest(NULL, "SHA256", NULL, token.ptr, token.len, digest, &len) == 1;
    if (fine)
        th_base64url_encode(&text, digest, len);
    fine = fine && th_str_equal(th_jwt_text(claims, "ath"), th_buf_str(&text));
    th_buf_fini(&text);
    return fine;
}

static const char *check_claims(const struct th_proof_request *request, const json_t *claims)
{
    const json_t *iat = json_object_get(claims, "iat");
    int64_t iat_ms = th_jwt_time_ms(claims, "iat");
    struct th_str jti = th_jwt_text(claims, "jti");
    if (!th_str_equal(th_jwt_text(claims, "htm"), request->method))
        return "proof_htm";
    if (!th_str_equal(th_jwt_text(claims, "htu"), request->url))
        return "proof_htu";
    if (!json_is_integer(iat) || iat_ms > request->now_ms + AHEAD_MS ||
        iat_ms < request->now_ms - (int64_t)request->window_s * 1000)
        return "proof_iat";
    if (jti.len < JTI_MIN || jti.len > JTI_MAX)
        return "proof_jti";
    if (request->token.len > 0 ? !has_hash_of(claims, request->token)
                               : json_object_get(claims, "ath") != NULL)
        return "proof_ath";
    return NULL;
}

static const char *check_nonce(struct th_proof_nonces *nonces,
                               const struct th_proof_request *request, const json_t *claims)
{
    struct th_str nonce = th_jwt_text(claims, "nonce");
    if (!request->wants_nonce)
        return NULL;
    if (request->requests_of_a_nonce > 0 && nonces->n_used >= request->requests_of_a_nonce)
        renew_nonce(nonces);
    if (nonce.len == 0)
        return TH_PROOF_NONCE;
    if (th_str_equal(nonce, th_str_of(nonces->now))) {
        nonces->n_used++;
        return NULL;
    }
    return th_str_equal(nonce, th_str_of(nonces->before)) ? NULL : TH_PROOF_NONCE;
}

/* Once for each key, as long as its iat would be taken. */
static const char *check_replay(struct th_proof_desk *desk, const struct th_proof_request *request,
                                const json_t *claims, const char *jkt)
{
    const struct th_str pieces[] = {th_str_of(jkt), th_jwt_text(claims, "jti")};
    int64_t until_ms = th_jwt_time_ms(claims, "iat") + (int64_t)request->window_s * 1000 + 1000;
    if (th_ledger_find(&desk->seen, pieces, TH_COUNT_OF(pieces)) != NULL)
        return "proof_used";
    if (th_ledger_add(&desk->seen, pieces, TH_COUNT_OF(pieces), until_ms, request->now_ms, NULL) !=
        0)
        return "overloaded";
    return NULL;
}

const char *th_proof_check(struct th_proof_desk *desk, const struct th_proof_request *request,
                           char ret_jkt[TH_PROOF_JKT_LEN + 1])
{
    struct th_jwt jwt;
    ret_jkt[0] = '\0';
    if (request->wants_nonce && desk->nonces.now[0] == '\0')
        renew_nonce(&desk->nonces);
    if (request->n_proofs != 1)
        return request->n_proofs == 0 ? "proof_missing" : "proof_twice";
    if (th_jwt_parse(request->proof, &jwt) != 0)
        return "proof_malformed";
    const char *reason = check_header(&jwt, ret_jkt);
    if (reason == NULL)
        reason = check_claims(request, jwt.claims);
    if (reason == NULL)
        reason = check_nonce(&desk->nonces, request, jwt.claims);
    if (reason == NULL)
        reason = check_replay(desk, request, jwt.claims, ret_jkt);
    th_jwt_fini(&jwt);
    if (reason != NULL)
        ret_jkt[0] = '\0';
    return reason;
}
