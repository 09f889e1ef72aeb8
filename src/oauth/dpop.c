#include "tokenhop/oauth/dpop.h"

#include <openssl/evp.h>
#include <pthread.h>

#include "key.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/random.h"
#include "tokenhop/base/ref.h"

#define JTI_BYTES 16
/* Seconds: a server whose clock is a little behind refuses what was made in its future, and the
 * windows that servers allow are longer by far. */
#define BACKDATE_S 1
#define HEADER_MAX ((size_t)4096) /* with an RSA key of 8192 bits */
#define SIGNATURE_MAX (TH_KEY_RSA_BITS_MAX / 8)

/* Of one server. */
struct nonce {
    char *origin; /* NULL: the place is free */
    char *value;
    uint64_t used; /* the store's count when it was used or kept last */
};

struct th_dpop_key {
    struct th_ref ref;
    struct th_key *key;
    enum th_alg alg;
    char *header; /* in base64url, and the dot */
    size_t header_len;
    char thumbprint[TH_DPOP_THUMBPRINT_LEN + 1];
    pthread_mutex_t lock; /* a leaf: holds what follows */
    struct nonce nonces[TH_DPOP_NONCES_MAX];
    size_t n_nonces;
    uint64_t n_uses;
};

/* --- keys --- */

static int append(const char *bytes, size_t len, void *buf)
{
    th_buf_add(buf, bytes, len);
    return 0;
}

/* RFC 9449, 4.2: of the key the public members, and no more. */
static int make_header(struct th_dpop_key *key)
{
    struct th_buf text, encoded;
    json_t *jwk = th_key_to_public_jwk(key->key, TH_STR_NONE, TH_JWS_NONE);
    th_buf_init(&text, HEADER_MAX);
    th_buf_init(&encoded, 2 * HEADER_MAX);
    if (jwk != NULL)
        json_object_del(jwk, "use");
    th_buf_printf(&text, "{\"typ\":\"dpop+jwt\",\"alg\":\"%.*s\",\"jwk\":",
                  TH_STR_ARGS(th_alg_name(key->alg)));
    bool failed = jwk == NULL || json_dump_callback(jwk, append, &text, JSON_COMPACT) != 0;
    th_buf_add_char(&text, '}');
    th_base64url_encode(&encoded, text.ptr, text.len);
    th_buf_add_char(&encoded, '.');
    if (!failed && !text.failed && !encoded.failed) {
        key->header_len = encoded.len;
        key->header = th_strndup(encoded.ptr, encoded.len);
    }
    th_buf_fini(&text);
    th_buf_fini(&encoded);
    json_decref(jwk);
    return key->header != NULL ? 0 : TH_E_NOMEM;
}

static int make_thumbprint(struct th_dpop_key *key)
{
    struct th_buf text;
    th_buf_init(&text, sizeof key->thumbprint);
    int error = th_key_thumbprint(key->key, &text);
    if (error == 0 && TH_CHECK_FAILS(text.len == TH_DPOP_THUMBPRINT_LEN))
        error = TH_E_INTERNAL;
    if (error == 0)
        memcpy(key->thumbprint, text.ptr, text.len);
    th_buf_fini(&text);
    return error;
}

int th_dpop_key_new(struct th_key *key, enum th_alg alg, struct th_dpop_key **ret_key)
{
    if (!th_key_is_private(key) || !th_key_fits(key, alg))
        return TH_E_CONFIG;
    struct th_dpop_key *made = th_calloc(1, sizeof *made);
    if (made == NULL)
        return TH_E_NOMEM;
    th_ref_init(&made->ref);
    made->key = th_key_ref(key);
    made->alg = alg;
    TH_REQUIRE(pthread_mutex_init(&made->lock, NULL) == 0);
    int error = make_header(made);
    if (error == 0)
        error = make_thumbprint(made);
    if (error != 0) {
        th_dpop_key_unref(made);
        return error;
    }
    *ret_key = made;
    return 0;
}

struct th_dpop_key *th_dpop_key_ref(struct th_dpop_key *key)
{
    th_ref_take(&key->ref);
    return key;
}

static void nonce_fini(struct nonce *nonce)
{
    th_free(nonce->origin);
    th_free(nonce->value);
}

struct th_dpop_key *th_dpop_key_unref(struct th_dpop_key *key)
{
    if (key == NULL || !th_ref_release(&key->ref))
        return NULL;
    for (size_t i = 0; i < key->n_nonces; i++)
        nonce_fini(&key->nonces[i]);
    pthread_mutex_destroy(&key->lock);
    th_key_unref(key->key);
    th_free(key->header);
    th_free(key);
    return NULL;
}

struct th_str th_dpop_key_thumbprint(const struct th_dpop_key *key)
{
    return (struct th_str){key->thumbprint, TH_DPOP_THUMBPRINT_LEN};
}

bool th_dpop_key_is_slow(const struct th_dpop_key *key)
{
    return th_alg_is_slow(key->alg);
}

/* --- nonces --- */

/* "https://host:port" of a URL; all of it when it has no path. */
static struct th_str origin_of(struct th_str url)
{
    const char *scheme = url.len > 0 ? memmem(url.ptr, url.len, "://", 3) : NULL;
    size_t len = scheme != NULL ? (size_t)(scheme - url.ptr) + 3 : 0;
    while (len < url.len && memchr("/?#", url.ptr[len], 3) == NULL)
        len++;
    return (struct th_str){url.ptr, len};
}

/* RFC 9449, 8.1: 1*NQCHAR, of RFC 6749. No quote and no backslash is among them, nor what is not
 * printed. */
bool th_dpop_is_nonce(struct th_str nonce)
{
    for (size_t i = 0; i < nonce.len; i++) {
        char c = nonce.ptr[i];
        if (c < 0x21 || c > 0x7e || c == '"' || c == '\\')
            return false;
    }
    return nonce.len > 0 && nonce.len <= TH_DPOP_NONCE_MAX;
}

/* Under the lock. */
static struct nonce *find_nonce(struct th_dpop_key *key, struct th_str origin)
{
    for (size_t i = 0; i < key->n_nonces; i++) {
        if (th_str_equal_nocase(th_str_of(key->nonces[i].origin), origin))
            return &key->nonces[i];
    }
    return NULL;
}

/* Under the lock. A place that is free or was not used for longest. */
static struct nonce *find_place(struct th_dpop_key *key)
{
    if (key->n_nonces < TH_DPOP_NONCES_MAX)
        return &key->nonces[key->n_nonces++];
    struct nonce *oldest = &key->nonces[0];
    for (size_t i = 1; i < key->n_nonces; i++) {
        if (key->nonces[i].used < oldest->used)
            oldest = &key->nonces[i];
    }
    return oldest;
}

/* Without memory it is not kept, and the server asks for it again. */
void th_dpop_note_nonce(struct th_dpop_key *key, struct th_str url, struct th_str nonce)
{
    if (!th_dpop_is_nonce(nonce))
        return;
    struct th_str origin = origin_of(url);
    struct nonce fresh = {0}, old = {0};
    pthread_mutex_lock(&key->lock);
    const struct nonce *known = find_nonce(key, origin);
    bool is_known = known != NULL && th_str_equal(th_str_of(known->value), nonce);
    pthread_mutex_unlock(&key->lock);
    if (is_known)
        return;
    fresh.origin = th_strndup(origin.ptr, origin.len);
    fresh.value = th_strndup(nonce.ptr, nonce.len);
    if (fresh.origin != NULL && fresh.value != NULL) {
        pthread_mutex_lock(&key->lock);
        struct nonce *place = find_nonce(key, origin);
        if (place == NULL)
            place = find_place(key);
        old = *place;
        *place = fresh;
        place->used = ++key->n_uses;
        fresh = (struct nonce){0};
        pthread_mutex_unlock(&key->lock);
    }
    nonce_fini(&fresh);
    nonce_fini(&old);
}

static size_t copy_nonce(struct th_dpop_key *key, struct th_str url, char room[TH_DPOP_NONCE_MAX])
{
    size_t len = 0;
    pthread_mutex_lock(&key->lock);
    struct nonce *nonce = find_nonce(key, origin_of(url));
    if (nonce != NULL) {
        nonce->used = ++key->n_uses;
        len = strlen(nonce->value);
        memcpy(room, nonce->value, len);
    }
    pthread_mutex_unlock(&key->lock);
    return len;
}

/* --- proofs --- */

/* RFC 9449, 4.2: without query and fragment. */
static struct th_str htu_of(struct th_str url)
{
    size_t len = 0;
    while (len < url.len && url.ptr[len] != '?' && url.ptr[len] != '#')
        len++;
    return (struct th_str){url.ptr, len};
}

static void add_member(struct th_buf *claims, const char *name, struct th_str value)
{
    th_buf_printf(claims, ",\"%s\":\"", name);
    th_buf_add_json(claims, value);
    th_buf_add_char(claims, '"');
}

/* RFC 9449, 4.2: of the token as it is sent. */
static void add_token_hash(struct th_buf *claims, struct th_str token)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    size_t len;
    if (EVP_Q_digest(NULL, "SHA256", NULL, token.ptr, token.len, digest, &len) != 1) {
        claims->failed = true;
        return;
    }
    th_buf_add_str(claims, TH_STR(",\"ath\":\""));
    th_base64url_encode(claims, digest, len);
    th_buf_add_char(claims, '"');
}

static void add_claims(struct th_dpop_key *key, const struct th_dpop_request *request,
                       struct th_buf *claims)
{
    unsigned char jti[JTI_BYTES];
    char nonce[TH_DPOP_NONCE_MAX];
    size_t nonce_len = copy_nonce(key, request->url, nonce);
    th_random_bytes(jti, sizeof jti);
    th_buf_add_str(claims, TH_STR("{\"jti\":\""));
    th_base64url_encode(claims, jti, sizeof jti);
    th_buf_printf(claims, "\",\"iat\":%lld", (long long)(request->wall_ms / 1000 - BACKDATE_S));
    add_member(claims, "htm", request->method);
    add_member(claims, "htu", htu_of(request->url));
    if (request->access_token.len > 0)
        add_token_hash(claims, request->access_token);
    if (nonce_len > 0)
        add_member(claims, "nonce", (struct th_str){nonce, nonce_len});
    th_buf_add_char(claims, '}');
}

int th_dpop_prove(struct th_dpop_key *key, const struct th_dpop_request *request,
                  struct th_buf *out)
{
    size_t room = TH_DPOP_PROOF_MAX(request->method.len + request->url.len), start = out->len;
    struct th_buf claims, signature;
    th_buf_init(&claims, room);
    th_buf_init(&signature, SIGNATURE_MAX);
    add_claims(key, request, &claims);
    th_buf_add(out, key->header, key->header_len);
    th_base64url_encode(out, claims.ptr, claims.len);
    int error = claims.failed || out->failed ? TH_E_NOMEM : 0;
    if (error == 0)
        error = th_signature_make(key->key, key->alg,
                                  (struct th_str){out->ptr + start, out->len - start}, &signature);
    th_buf_add_char(out, '.');
    th_base64url_encode(out, signature.ptr, signature.len);
    if (error == 0 && out->failed)
        error = TH_E_NOMEM;
    th_buf_fini(&claims);
    th_buf_fini(&signature);
    return error;
}

/* --- what a token says --- */

enum th_dpop_binding th_dpop_binding_of(const json_t *claims, const struct th_dpop_key *key)
{
    const json_t *cnf = json_object_get(claims, "cnf");
    const json_t *jkt = json_object_get(cnf, "jkt");
    if (cnf != NULL && !json_is_object(cnf))
        return TH_DPOP_BOUND_BESIDE;
    if (jkt == NULL)
        return TH_DPOP_UNBOUND;
    return key != NULL && json_is_string(jkt) &&
                   th_str_equal(th_jwt_text(cnf, "jkt"), th_dpop_key_thumbprint(key))
               ? TH_DPOP_BOUND
               : TH_DPOP_BOUND_BESIDE;
}
