#include "tokenhop/oauth/jwks.h"

#include "document.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/oauth/json.h"

#define TRIES_MAX 8 /* keys tried for a token that names none: each costs up to 0.2 ms */
#define KID_MAX 512

struct whole {
    struct th_document document; /* first: it is found by it */
    struct th_jwks jwks;
};

#define WHOLE_OF(jwks_) TH_CONTAINER_OF((struct th_jwks *)(uintptr_t)(jwks_), struct whole, jwks)

static void whole_free(struct th_document *document)
{
    struct whole *whole = TH_CONTAINER_OF(document, struct whole, document);
    for (size_t i = 0; i < whole->jwks.n_keys; i++)
        th_key_unref(whole->jwks.keys[i]);
    th_free(whole);
}

const struct th_jwks *th_jwks_ref(const struct th_jwks *jwks)
{
    (void)th_document_ref(&WHOLE_OF(jwks)->document);
    return jwks;
}

const struct th_jwks *th_jwks_unref(const struct th_jwks *jwks)
{
    if (jwks != NULL)
        th_document_unref(&WHOLE_OF(jwks)->document);
    return NULL;
}

int64_t th_jwks_asked_wall_ms(const struct th_jwks *jwks)
{
    return WHOLE_OF(jwks)->document.asked_wall_ms;
}

/* -- reading ------------------------------------------------------------------------------------- */

/* RFC 7517, 4.3: where it is said, verifying must be among it. */
static bool is_for_verifying(const json_t *jwk)
{
    const json_t *operations = json_object_get(jwk, "key_ops");
    if (operations == NULL)
        return true;
    for (size_t i = 0; i < json_array_size(operations); i++) {
        const char *one = json_string_value(json_array_get(operations, i));
        if (one != NULL && strcmp(one, "verify") == 0)
            return true;
    }
    return false;
}

static bool is_usable(const json_t *jwk)
{
    struct th_str use = th_jwt_text(jwk, "use");
    if (!json_is_object(jwk) || !is_for_verifying(jwk))
        return false;
    if (json_object_get(jwk, "use") != NULL && !th_str_equal(use, TH_STR("sig")))
        return false;
    /* A private key that is published is anybody's. */
    return json_object_get(jwk, "d") == NULL && json_object_get(jwk, "k") == NULL &&
           th_jwt_text(jwk, "kid").len <= KID_MAX;
}

static int take_keys(struct whole *whole, const json_t *list)
{
    struct th_jwks *jwks = &whole->jwks;
    for (size_t i = 0; i < json_array_size(list) && jwks->n_keys < TH_JWKS_KEYS_MAX; i++) {
        const json_t *jwk = json_array_get(list, i);
        if (!is_usable(jwk))
            continue;
        int error = th_key_from_jwk(jwk, &jwks->keys[jwks->n_keys], NULL);
        if (error == TH_E_NOMEM)
            return error;
        if (error == 0)
            jwks->n_keys++;
    }
    return 0;
}

static int read_whole(struct th_str text, struct whole **ret_whole, const char **ret_why)
{
    json_t *object;
    *ret_why = "what came is no JSON object";
    int error = th_json_parse_object(text, TH_JWKS_BYTES_MAX, &object);
    if (error != 0)
        return error == TH_E_NOMEM ? error : TH_E_EXCHANGE_FAILED;
    const json_t *list = json_object_get(object, "keys");
    struct whole *whole = NULL;
    if (!json_is_array(list)) {
        *ret_why = "what came is no key set: it has no list \"keys\"";
        error = TH_E_EXCHANGE_FAILED;
    } else {
        whole = th_calloc(1, sizeof *whole);
        error = whole != NULL ? 0 : TH_E_NOMEM;
    }
    if (error == 0) {
        th_ref_init(&whole->document.ref);
        whole->document.free = whole_free;
        error = take_keys(whole, list);
    }
    json_decref(object);
    if (error == 0)
        *ret_whole = whole;
    else if (whole != NULL)
        whole_free(&whole->document);
    return error;
}

int th_jwks_parse(struct th_str text, const struct th_jwks **ret_jwks, const char **ret_why)
{
    struct whole *whole;
    int error = read_whole(text, &whole, ret_why);
    if (error == 0)
        *ret_jwks = &whole->jwks;
    return error;
}

/* -- asking -------------------------------------------------------------------------------------- */

static bool place(struct th_str name, unsigned attempt, struct th_buf *url)
{
    if (attempt > 0)
        return false;
    th_buf_add_str(url, name);
    return true;
}

static int read_document(const struct th_document_source *source, struct th_str body,
                         struct th_document **ret_document, const char **ret_why)
{
    (void)source;
    struct whole *whole;
    int error = read_whole(body, &whole, ret_why);
    if (error == 0)
        *ret_document = &whole->document;
    return error;
}

static const struct th_document_kind jwks_kind = {
    .name = "key set",
    .max_bytes = TH_JWKS_BYTES_MAX,
    .place = place,
    .read = read_document,
    .when_unusable = TH_E_EXCHANGE_DOWN,
};

int th_jwks_get(struct th_document_desk *desk, struct th_str uri, struct th_str ca_file,
                bool allow_cleartext, const struct th_jwks *older,
                struct th_document_waiter *waiter, const struct th_jwks **ret_jwks,
                struct th_document_failure *ret_failure)
{
    const struct th_document_source source = {
        .name = uri, .ca_file = ca_file, .allow_cleartext = allow_cleartext};
    const struct th_document *older_one = older != NULL ? &WHOLE_OF(older)->document : NULL;
    struct th_document *document;
    int error =
        th_document_get(desk, &jwks_kind, &source, older_one, waiter, &document, ret_failure);
    if (error == 0)
        *ret_jwks = &TH_CONTAINER_OF(document, struct whole, document)->jwks;
    return error;
}

/* -- verifying ----------------------------------------------------------------------------------- */

static int verify_by(const struct th_jwt *jwt, const struct th_key *key)
{
    int error = th_jwt_verify(jwt, key);
    return error == 0 || error == TH_E_NOMEM ? error : TH_E_SUBJECT_UNTRUSTED;
}

/* By any that fits. If none is right, the right one may be too new to be among them. */
static int verify_by_any(const struct th_jwks *jwks, const struct th_jwt *jwt, enum th_alg alg)
{
    unsigned n_tries = 0;
    for (size_t i = 0; i < jwks->n_keys && n_tries < TRIES_MAX; i++) {
        if (!th_key_fits(jwks->keys[i], alg))
            continue;
        n_tries++;
        int error = verify_by(jwt, jwks->keys[i]);
        if (error != TH_E_SUBJECT_UNTRUSTED)
            return error;
    }
    return TH_JWKS_UNKNOWN;
}

int th_jwks_verify(const struct th_jwks *jwks, const struct th_jwt *jwt)
{
    struct th_str kid = th_jwt_text(jwt->header, "kid");
    enum th_alg alg = th_alg_find(th_jwt_text(jwt->header, "alg"));
    int error = TH_JWKS_UNKNOWN;
    if (alg == TH_JWS_NONE)
        return TH_E_SUBJECT_UNTRUSTED;
    if (json_object_get(jwt->header, "kid") == NULL)
        return verify_by_any(jwks, jwt, alg);
    /* RFC 7517, 4.5: keys of different types may bear the same one. */
    for (size_t i = 0; i < jwks->n_keys && error != 0 && error != TH_E_NOMEM; i++) {
        if (th_str_equal(th_key_kid(jwks->keys[i]), kid))
            error = verify_by(jwt, jwks->keys[i]);
    }
    return error;
}
