#include "client_auth.h"

#include <openssl/evp.h>

#include "form.h"
#include "key.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/random.h"
#include "tokenhop/oauth/mac.h"

#define ASSERTION_TYPE TH_STR("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
#define LIFETIME_S 60 /* servers allow an hour; what is used at once needs no more */
#define BACKDATE_S 5  /* a server whose clock is behind refuses what was issued in its future */
#define JTI_BYTES 16
#define PAIR_MAX ((size_t)512 * 1024) /* id and secret of client_secret_basic, each byte escaped */

/* Two tables, as the configuration's algorithms are of two kinds: what is of the other kind is none. */
static const enum th_alg key_algs[] = {
    [TH_ALG_UNSAID] = TH_JWS_NONE, [TH_ALG_RS256] = TH_JWS_RS256, [TH_ALG_RS384] = TH_JWS_RS384,
    [TH_ALG_RS512] = TH_JWS_RS512, [TH_ALG_PS256] = TH_JWS_PS256, [TH_ALG_PS384] = TH_JWS_PS384,
    [TH_ALG_PS512] = TH_JWS_PS512, [TH_ALG_ES256] = TH_JWS_ES256, [TH_ALG_ES384] = TH_JWS_ES384,
    [TH_ALG_ES512] = TH_JWS_ES512, [TH_ALG_EDDSA] = TH_JWS_EDDSA, [TH_ALG_HS256] = TH_JWS_NONE,
    [TH_ALG_HS384] = TH_JWS_NONE,  [TH_ALG_HS512] = TH_JWS_NONE,
};

enum th_alg th_client_auth_alg(enum th_signing_alg alg)
{
    return key_algs[alg];
}

static enum th_mac mac_of(enum th_signing_alg alg)
{
    return alg == TH_ALG_HS256   ? TH_MAC_HS256
           : alg == TH_ALG_HS384 ? TH_MAC_HS384
           : alg == TH_ALG_HS512 ? TH_MAC_HS512
                                 : TH_MAC_NONE;
}

static bool key_is_slow(const struct th_client *client)
{
    return th_alg_is_slow(key_algs[client->auth->alg]);
}

static json_t *text_new(struct th_str text)
{
    return json_stringn(text.ptr, text.len);
}

/* RFC 7523, 3. */
static json_t *make_claims(const struct th_client *client, struct th_str audience, int64_t wall_ms)
{
    unsigned char random[JTI_BYTES];
    struct th_buf jti;
    th_buf_init(&jti, 2 * JTI_BYTES);
    th_random_bytes(random, sizeof random);
    th_base64url_encode(&jti, random, sizeof random);
    struct th_str client_id = client->client_id;
    json_int_t now = wall_ms / 1000;
    json_t *claims = json_object();
    bool failed = jti.failed || claims == NULL ||
                  json_object_set_new(claims, "iss", text_new(client_id)) != 0 ||
                  json_object_set_new(claims, "sub", text_new(client_id)) != 0 ||
                  json_object_set_new(claims, "aud", text_new(audience)) != 0 ||
                  json_object_set_new(claims, "iat", json_integer(now - BACKDATE_S)) != 0 ||
                  (client->server->assertion_nbf &&
                   json_object_set_new(claims, "nbf", json_integer(now - BACKDATE_S)) != 0) ||
                  json_object_set_new(claims, "exp", json_integer(now + LIFETIME_S)) != 0 ||
                  json_object_set_new(claims, "jti", text_new(th_buf_str(&jti))) != 0;
    th_buf_fini(&jti);
    if (!failed)
        return claims;
    json_decref(claims);
    return NULL;
}

/* RFC 7515, 4.1.7 and 4.1.8; the digest must outlive the header. */
static void name_certificate(const struct th_config_auth *auth, struct th_buf *digest,
                             struct th_jws_header *header)
{
    bool is_sha1 = auth->x5t == TH_X5T_SHA1;
    if (is_sha1)
        th_base64url_encode(digest, auth->identity->sha1, TH_IDENTITY_SHA1_LEN);
    else
        th_base64url_encode(digest, auth->identity->sha256, TH_IDENTITY_SHA256_LEN);
    *(is_sha1 ? &header->x5t : &header->x5t_s256) = th_buf_str(digest);
}

static int prove_by_key(const struct th_client *client, struct th_str audience, int64_t wall_ms,
                        struct th_secret **ret_proof)
{
    const struct th_config_auth *auth = client->auth;
    struct th_jws_header header = {.kid = auth->kid, .typ = client->server->assertion_typ};
    struct th_buf digest;
    json_t *claims = make_claims(client, audience, wall_ms);
    if (claims == NULL)
        return TH_E_NOMEM;
    th_buf_init(&digest, 2 * TH_IDENTITY_SHA256_LEN);
    if (auth->identity != NULL)
        name_certificate(auth, &digest, &header);
    int error = digest.failed ? TH_E_NOMEM
                              : th_jwt_sign_headed(client->key, key_algs[auth->alg], &header,
                                                   claims, ret_proof);
    th_buf_fini(&digest);
    json_decref(claims);
    return error == TH_E_BAD_REQUEST ? TH_E_CONFIG : error;
}

static int prove_by_secret(const struct th_client *client, struct th_str audience, int64_t wall_ms,
                           struct th_secret **ret_proof)
{
    if (client->auth->secret == NULL)
        return TH_E_CONFIG;
    json_t *claims = make_claims(client, audience, wall_ms);
    if (claims == NULL)
        return TH_E_NOMEM;
    int error = th_jwt_sign_mac(client->auth->secret, mac_of(client->auth->alg),
                                client->server->assertion_typ, claims, ret_proof);
    json_decref(claims);
    return error;
}

/* The client id is in the assertion; who still wants it beside, gets it. */
static void present_assertion(const struct th_client *client, const struct th_secret *proof,
                              struct th_buf *form, struct th_buf *authorization)
{
    (void)authorization;
    th_form_add(form, TH_STR("client_assertion_type"), ASSERTION_TYPE);
    th_form_add(form, TH_STR("client_assertion"), th_secret_expose(proof));
    if (client->server->client_id_in_body)
        th_form_add(form, TH_STR("client_id"), client->client_id);
}

static void present_id(const struct th_client *client, const struct th_secret *proof,
                       struct th_buf *form, struct th_buf *authorization)
{
    (void)proof, (void)authorization;
    th_form_add(form, TH_STR("client_id"), client->client_id);
}

static void present_secret(const struct th_client *client, const struct th_secret *proof,
                           struct th_buf *form, struct th_buf *authorization)
{
    present_id(client, proof, form, authorization);
    th_form_add(form, TH_STR("client_secret"), th_secret_expose(client->auth->secret));
}

/* RFC 6749, 2.3.1: both are form-encoded before they are joined, so that a colon in either is none. */
static void present_basic(const struct th_client *client, const struct th_secret *proof,
                          struct th_buf *form, struct th_buf *authorization)
{
    (void)proof, (void)form;
    struct th_buf pair;
    th_buf_init_secret(&pair, PAIR_MAX);
    th_form_encode(&pair, client->client_id);
    th_buf_add_char(&pair, ':');
    th_form_encode(&pair, th_secret_expose(client->auth->secret));
    th_buf_add_str(authorization, TH_STR("Basic "));
    size_t len = (pair.len + 2) / 3 * 4;
    char *at = pair.failed ? NULL : th_buf_reserve(authorization, len);
    if (at != NULL) {
        EVP_EncodeBlock((unsigned char *)at, (const unsigned char *)pair.ptr, (int)pair.len);
        th_buf_commit(authorization, len);
    }
    authorization->failed = authorization->failed || pair.failed;
    th_buf_fini(&pair);
}

static const struct th_client_auth methods[] = {
    [TH_AUTH_PRIVATE_KEY_JWT] = {.name = "private_key_jwt",
                                 .has_key = true,
                                 .is_slow = key_is_slow,
                                 .prove = prove_by_key,
                                 .present = present_assertion},
    [TH_AUTH_CLIENT_SECRET_BASIC] = {.name = "client_secret_basic", .present = present_basic},
    [TH_AUTH_CLIENT_SECRET_POST] = {.name = "client_secret_post", .present = present_secret},
    [TH_AUTH_CLIENT_SECRET_JWT] = {.name = "client_secret_jwt",
                                   .prove = prove_by_secret,
                                   .present = present_assertion},
    [TH_AUTH_NONE] = {.name = "none", .present = present_id},
    /* RFC 8705, 2: the certificate is the TLS's (exchange_certificate.c). */
    [TH_AUTH_TLS_CLIENT] = {.name = "tls_client_auth", .present = present_id},
    [TH_AUTH_SELF_SIGNED_TLS_CLIENT] = {.name = "self_signed_tls_client_auth",
                                        .present = present_id},
};

const struct th_client_auth *th_client_auth_get(enum th_auth_method method)
{
    TH_REQUIRE((size_t)method < TH_COUNT_OF(methods));
    return &methods[method];
}

struct th_str th_client_auth_audience(const struct th_config_authorization_server *server,
                                      struct th_str endpoint)
{
    return server->assertion_audience_issuer ? server->issuer : endpoint;
}
