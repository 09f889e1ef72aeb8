#include "proof.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "tokenhop/base/check.h"
#include "tokenhop/oauth/jose.h"

#define WINDOW_MS 5000

static void write_thumbprint(const struct th_key *key, struct proof *proof)
{
    struct th_buf text;

    th_buf_init(&text, sizeof proof->jkt - 1);
    TH_REQUIRE(th_key_thumbprint(key, &text) == 0);
    snprintf(proof->jkt, sizeof proof->jkt, "%s", text.ptr);
    th_buf_fini(&text);
}

static const char *check_header(const struct th_jwt *jwt, struct proof *proof)
{
    const json_t *jwk = json_object_get(jwt->header, "jwk");
    struct th_key *key;

    if (!th_str_equal(th_jwt_text(jwt->header, "typ"), TH_STR("dpop+jwt")))
        return "its typ is not dpop+jwt";
    if (json_object_size(jwt->header) != 3 || th_key_from_jwk(jwk, &key, NULL) != 0)
        return "its header is not typ, alg and a key";
    bool is_private = th_key_is_private(key) || json_object_get(jwk, "d") != NULL;
    bool is_signed = th_jwt_verify(jwt, key) == 0;
    write_thumbprint(key, proof);
    th_key_unref(key);
    if (is_private)
        return "its key is a private one";
    return is_signed ? NULL : "its key has not signed it";
}

static bool has_hash_of(const json_t *claims, struct th_str token)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    size_t len;
    struct th_buf text;

    TH_REQUIRE(EVP_Q_digest(NULL, "SHA256", NULL, token.ptr, token.len, digest, &len) == 1);
    th_buf_init(&text, 64);
    th_base64url_encode(&text, digest, len);
    bool fine = th_str_equal(th_jwt_text(claims, "ath"), th_buf_str(&text));
    th_buf_fini(&text);
    return fine;
}

static const char *check_claims(struct proofs *proofs, const json_t *claims, const char *method,
                                struct th_str url, struct th_str token, int64_t now_ms)
{
    struct th_str jti = th_jwt_text(claims, "jti");
    int64_t iat_ms = th_jwt_time_ms(claims, "iat");

    if (!th_str_equal(th_jwt_text(claims, "htm"), th_str_of(method)))
        return "it is for another method";
    if (!th_str_equal(th_jwt_text(claims, "htu"), url))
        return "it is for another URL";
    if (iat_ms > now_ms || iat_ms < now_ms - WINDOW_MS)
        return "it is not of now";
    if (token.ptr != NULL ? !has_hash_of(claims, token) : json_object_get(claims, "ath") != NULL)
        return "it is not for the token that it comes with";
    if (jti.len < 16)
        return "its jti is missing or can be guessed";
    for (size_t i = 0; i < proofs->n_jtis; i++)
        if (th_str_equal(jti, th_str_of(proofs->jtis[i])))
            return "it was used before";
    if (proofs->n_jtis < TH_COUNT_OF(proofs->jtis))
        proofs->jtis[proofs->n_jtis++] = copy_text(jti.ptr, jti.len);
    return NULL;
}

const char *proof_check(struct proofs *proofs, struct th_str text, const char *method,
                        struct th_str url, struct th_str token, int64_t now_ms,
                        struct proof *ret_proof)
{
    struct th_jwt jwt;

    *ret_proof = (struct proof){{0}, {0}};
    if (th_jwt_parse(text, &jwt) != 0)
        return "it is no JWT";
    snprintf(ret_proof->nonce, sizeof ret_proof->nonce, "%s", th_jwt_text(jwt.claims, "nonce").ptr);
    const char *why = check_header(&jwt, ret_proof);
    if (why == NULL)
        why = check_claims(proofs, jwt.claims, method, url, token, now_ms);
    th_jwt_fini(&jwt);
    return why;
}

void proofs_fini(struct proofs *proofs)
{
    for (size_t i = 0; i < proofs->n_jtis; i++)
        free(proofs->jtis[i]);
}
