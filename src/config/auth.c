/* An agent's authentication: key or secret read, held against the algorithm, and kept. */
#include "loader.h"
#include "private_key.h"

static bool report_check(struct th_loader *l, uint32_t place, int error,
                         const struct th_errinfo *info)
{
    if (error == TH_E_NOMEM)
        l->nomem = true;
    else if (error < 0)
        th_loader_report_info(l, place, info);
    return error == 0;
}

/* Bytes of a secret that an HS* algorithm needs, at the least (RFC 7518, 3.2); 0: it takes a key. */
static size_t secret_min_len(enum th_signing_alg alg)
{
    switch (alg) {
    case TH_ALG_HS256:
        return 32;
    case TH_ALG_HS384:
        return 48;
    case TH_ALG_HS512:
        return 64;
    case TH_ALG_UNSAID:
    case TH_ALG_RS256:
    case TH_ALG_RS384:
    case TH_ALG_RS512:
    case TH_ALG_PS256:
    case TH_ALG_PS384:
    case TH_ALG_PS512:
    case TH_ALG_ES256:
    case TH_ALG_ES384:
    case TH_ALG_ES512:
    case TH_ALG_EDDSA:
        break;
    }
    return 0;
}

static void build_key(struct th_loader *l, const struct th_secret_names *names, uint32_t place,
                      struct th_config_auth *auth)
{
    struct th_errinfo info = {0};
    if (auth->alg == TH_ALG_UNSAID)
        auth->alg = TH_ALG_RS256;
    auth->key = th_build_secret_of(l, names, false, place, &place, &auth->key_file);
    if (auth->key != NULL && secret_min_len(auth->alg) == 0)
        report_check(l, place, th_private_key_check(th_secret_expose(auth->key), auth->alg, &info),
                     &info);
}

/* RFC 6749, A.2: a client secret is of visible characters and spaces. */
static int check_secret(struct th_str secret, size_t min_len, struct th_errinfo *reterr)
{
    if (secret.len == 0)
        return th_errinfo_set(reterr, TH_E_CONFIG, NULL, NULL, "the secret is empty");
    for (size_t i = 0; i < secret.len; i++) {
        if (secret.ptr[i] < 0x20 || secret.ptr[i] > 0x7e)
            return th_errinfo_set(reterr, TH_E_CONFIG, NULL,
                                  "it is the secret alone, on one line that may end in a line feed",
                                  "the secret has a character that no client secret has");
    }
    if (secret.len < min_len)
        return th_errinfo_set(reterr, TH_E_CONFIG, NULL, "let the server issue a longer one",
                              "the secret is shorter than the %zu bytes that the algorithm needs",
                              min_len);
    return 0;
}

static void build_secret(struct th_loader *l, const struct th_raw_auth *raw, uint32_t place,
                         struct th_config_auth *auth)
{
    const struct th_secret_names names = {raw->secret_file, raw->secret.env, "secret_file",
                                          "secret"};
    struct th_errinfo info = {0};
    auth->secret = th_build_secret_of(l, &names, true, place, &place, &auth->key_file);
    if (auth->secret != NULL)
        report_check(l, place,
                     check_secret(th_secret_expose(auth->secret), secret_min_len(auth->alg), &info),
                     &info);
}

/* The key as it is: TLS takes what OpenSSL does. */
static void build_certificate(struct th_loader *l, const struct th_raw_auth *raw, uint32_t place,
                              struct th_config_auth *auth)
{
    const struct th_secret_names names = {raw->key_file, raw->key.env, "key_file", "key"};
    uint32_t key_place;
    auth->key = th_build_secret_of(l, &names, false, place, &key_place, &auth->key_file);
    auth->identity = th_build_identity(l, raw->cert_file, auth->key, place, key_place);
}

static bool is_rsa(enum th_signing_alg alg)
{
    return alg >= TH_ALG_RS256 && alg <= TH_ALG_PS512;
}

/* A key that is the agent's registered one too would let whoever gets proofs signed sign assertions. */
static bool is_key_of(const struct th_secret *key, const struct th_config_auth *auth)
{
    for (; auth != NULL; auth = auth->next) {
        if (auth->key != NULL && th_secret_equal(key, auth->key))
            return true;
    }
    return false;
}

void th_build_dpop_key(struct th_loader *loader, const struct th_raw_agent *raw,
                       const struct th_config_auth *auth, struct th_config_dpop_key *ret_key)
{
    const struct th_secret_names names = {raw->dpop_key_file, raw->dpop_key.env, "dpop_key_file",
                                          "dpop_key"};
    struct th_errinfo info = {0};
    uint32_t place = raw->head.place;
    enum th_signing_alg alg =
        raw->dpop_alg != TH_ALG_UNSAID ? (enum th_signing_alg)raw->dpop_alg : TH_ALG_ES256;
    *ret_key = (struct th_config_dpop_key){.alg = alg};
    if (names.file.ptr != NULL && names.variable.ptr != NULL)
        th_loader_report(loader, th_loader_member(loader, place, "dpop_key"), "remove one of them",
                         "the key comes from the file or from the environment, not from both");
    /* Making an RSA key takes longer than a worker may stand still. */
    if (names.file.ptr == NULL && names.variable.ptr == NULL && is_rsa(alg))
        th_loader_report(loader, th_loader_member(loader, place, "dpop_alg"),
                         "name a key that tokenhop keygen made, or leave this out",
                         "tokenhop makes no RSA keys for itself");
    ret_key->key = th_build_secret_of(loader, &names, false, place, &place, &ret_key->key_file);
    if (ret_key->key == NULL)
        return;
    if (report_check(loader, place,
                     th_private_key_check(th_secret_expose(ret_key->key), alg, &info), &info) &&
        is_key_of(ret_key->key, auth))
        th_loader_report(loader, place, "make another with tokenhop keygen",
                         "this is the key that the agent authenticates with");
}

static void build_next(struct th_loader *l, const struct th_raw_next *raw, uint32_t place,
                       struct th_config_auth *auth)
{
    const struct th_secret_names names = {raw->key_file, raw->key.env, "key_file", "key"};
    struct th_config_auth *next = th_loader_alloc(l, 1, sizeof(*next));
    if (next == NULL)
        return;
    next->method = auth->method;
    next->alg = (enum th_signing_alg)raw->alg;
    next->kid = raw->kid;
    build_key(l, &names, place, next);
    next->identity = th_build_assertion_certificate(l, raw->cert_file, next->key, place);
    next->x5t = auth->x5t;
    if (next->kid.ptr != NULL && th_str_equal(next->kid, auth->kid))
        th_loader_report(l, th_loader_member(l, place, "kid"),
                         "each key is registered under an id of its own",
                         "the other key has the same kid");
    auth->next = next;
}

/* Told by the algorithm's kind, so that no secret ever signs as a key, nor a key as a secret. */
static void check_alg(struct th_loader *l, const struct th_config_auth *auth, uint32_t place)
{
    bool is_secret = auth->method == TH_AUTH_CLIENT_SECRET_JWT;
    if (is_secret != (secret_min_len(auth->alg) > 0))
        th_loader_report(l, th_loader_member(l, place, "alg"),
                         is_secret ? "write \"HS256\", \"HS384\" or \"HS512\""
                                   : "write \"RS256\", \"ES256\" or another of a key",
                         is_secret
                             ? "this algorithm signs with a key, and the method has a secret"
                             : "this algorithm signs with a secret, and the method has a key");
}

void th_build_auth(struct th_loader *loader, const struct th_raw_auth *raw, uint32_t place,
                   struct th_config_auth *ret_auth)
{
    struct th_config_auth auth = {.method = (enum th_auth_method)raw->method,
                                  .alg = (enum th_signing_alg)raw->alg,
                                  .kid = raw->kid,
                                  .x5t = (enum th_x5t)raw->x5t};
    const struct th_secret_names key = {raw->key_file, raw->key.env, "key_file", "key"};
    switch (auth.method) {
    case TH_AUTH_PRIVATE_KEY_JWT:
        build_key(loader, &key, place, &auth);
        check_alg(loader, &auth, place);
        auth.identity = th_build_assertion_certificate(loader, raw->cert_file, auth.key, place);
        if (raw->cert_file.ptr == NULL &&
            th_source_find_member(&loader->source, place, "x5t") != TH_SOURCE_NONE)
            th_loader_report(loader, th_loader_member(loader, place, "x5t"), "add \"cert_file\"",
                             "there is no certificate whose digest this could be");
        if (raw->next.kid.ptr != NULL || raw->next.cert_file.ptr != NULL)
            build_next(loader, &raw->next, th_loader_member(loader, place, "next"), &auth);
        break;
    case TH_AUTH_CLIENT_SECRET_JWT:
        if (auth.alg == TH_ALG_UNSAID)
            auth.alg = TH_ALG_HS256;
        check_alg(loader, &auth, place);
        build_secret(loader, raw, place, &auth);
        break;
    case TH_AUTH_CLIENT_SECRET_BASIC:
    case TH_AUTH_CLIENT_SECRET_POST:
        build_secret(loader, raw, place, &auth);
        break;
    case TH_AUTH_TLS_CLIENT:
    case TH_AUTH_SELF_SIGNED_TLS_CLIENT:
        build_certificate(loader, raw, place, &auth);
        break;
    case TH_AUTH_NONE:
        break;
    }
    *ret_auth = auth;
}
