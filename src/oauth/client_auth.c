#include "client_auth.h"

#include "form.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/random.h"

#define ASSERTION_TYPE TH_STR("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
#define LIFETIME_S 60 /* servers allow an hour; what is used at once needs no more */
#define BACKDATE_S 5  /* a server whose clock is behind refuses what was issued in its future */
#define JTI_BYTES 16

static enum th_alg alg_of(enum th_signing_alg alg)
{
    switch (alg) {
    case TH_ALG_RS256:
        return TH_JWS_RS256;
    case TH_ALG_ES256:
        return TH_JWS_ES256;
    }
    return TH_JWS_NONE;
}

/* RSA takes about a millisecond, P-256 some twenty microseconds. */
static bool key_is_slow(const struct th_client *client)
{
    return !th_key_fits(client->key, TH_JWS_ES256);
}

static json_t *text_new(struct th_str text)
{
    return json_stringn(text.ptr, text.len);
}

/* RFC 7523, 3. */
static json_t *make_claims(struct th_str client_id, struct th_str audience, int64_t wall_ms)
{
    unsigned char random[JTI_BYTES];
    struct th_buf jti;
    th_buf_init(&jti, 2 * JTI_BYTES);
    th_random_bytes(random, sizeof random);
    th_base64url_encode(&jti, random, sizeof random);
    json_int_t now = wall_ms / 1000;
    json_t *claims = json_object();
    bool failed = jti.failed || claims == NULL ||
                  json_object_set_new(claims, "iss", text_new(client_id)) != 0 ||
                  json_object_set_new(claims, "sub", text_new(client_id)) != 0 ||
                  json_object_set_new(claims, "aud", text_new(audience)) != 0 ||
                  json_object_set_new(claims, "iat", json_integer(now - BACKDATE_S)) != 0 ||
                  json_object_set_new(claims, "exp", json_integer(now + LIFETIME_S)) != 0 ||
                  json_object_set_new(claims, "jti", text_new(th_buf_str(&jti))) != 0;
    th_buf_fini(&jti);
    if (!failed)
        return claims;
    json_decref(claims);
    return NULL;
}

static int prove_by_key(const struct th_client *client, struct th_str audience, int64_t wall_ms,
                        struct th_secret **ret_proof)
{
    json_t *claims = make_claims(client->client_id, audience, wall_ms);
    if (claims == NULL)
        return TH_E_NOMEM;
    /* `typ` is left out: JWT says nothing, and the value of the newer draft is not taken everywhere. */
    int error = th_jwt_sign(client->key, alg_of(client->auth->alg), client->auth->kid, TH_STR_NONE,
                            claims, ret_proof);
    json_decref(claims);
    return error == TH_E_BAD_REQUEST ? TH_E_CONFIG : error;
}

static void present_assertion(const struct th_client *client, const struct th_secret *proof,
                              struct th_buf *form, struct th_buf *authorization)
{
    (void)client, (void)authorization;
    th_form_add(form, TH_STR("client_assertion_type"), ASSERTION_TYPE);
    th_form_add(form, TH_STR("client_assertion"), th_secret_expose(proof));
}

static const struct th_client_auth methods[] = {
    {.method = TH_AUTH_PRIVATE_KEY_JWT,
     .name = "private_key_jwt",
     .has_key = true,
     .is_slow = key_is_slow,
     .prove = prove_by_key,
     .present = present_assertion},
};

const struct th_client_auth *th_client_auth_get(enum th_auth_method method)
{
    for (size_t i = 0; i < TH_COUNT_OF(methods); i++) {
        if (methods[i].method == method)
            return &methods[i];
    }
    return NULL;
}

struct th_str th_client_auth_audience(const struct th_config_authorization_server *server,
                                      struct th_str endpoint)
{
    return server->assertion_audience_issuer ? server->issuer : endpoint;
}
