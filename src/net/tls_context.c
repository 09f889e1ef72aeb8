#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

#include "tls_private.h"
#include "tokenhop/base/mem.h"

/* RSA and Diffie-Hellman of 2048 bits, no SHA-1 (RFC 9325, 4.2 and 4.5). */
#define SECURITY_LEVEL 2

/* --- how long a session is good --- */

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Of the lists of one issuer that have not run out the first that will. */
static int64_t first_end(const STACK_OF(X509_CRL) * lists, int64_t now_s)
{
    int64_t end = INT64_MAX;

    for (int i = 0; i < sk_X509_CRL_num(lists); i++) {
        const ASN1_TIME *next = X509_CRL_get0_nextUpdate(sk_X509_CRL_value(lists, i));
        int64_t next_s = next != NULL ? th_tls_seconds_of(next) : INT64_MAX;
        if (next_s > now_s)
            end = earlier(end, next_s);
    }
    return end;
}

/* Short of memory: 0, and the session is not kept. */
static int64_t end_of_lists(X509_STORE *store, const STACK_OF(X509) * chain, int64_t now_s)
{
    X509_STORE_CTX *look = X509_STORE_CTX_new();
    int64_t end = INT64_MAX;

    if (look == NULL || X509_STORE_CTX_init(look, store, NULL, NULL) != 1)
        end = 0;
    for (int i = 0; end > 0 && i < sk_X509_num(chain); i++) {
        STACK_OF(X509_CRL) *lists =
            X509_STORE_CTX_get1_crls(look, X509_get_issuer_name(sk_X509_value(chain, i)));
        end = earlier(end, first_end(lists, now_s));
        sk_X509_CRL_pop_free(lists, X509_CRL_free);
    }
    X509_STORE_CTX_free(look);
    return end;
}

void th_tls_note_verified(struct th_tls *tls)
{
    const STACK_OF(X509) *chain = SSL_get0_verified_chain(tls->ssl);

    if (tls->verified.end_s != 0)
        return;
    if (SSL_session_reused(tls->ssl)) {
        tls->verified = tls->offered;
        return;
    }
    tls->verified.at_ms = tls->stream->worker->now_ms;
    tls->verified.end_s = th_tls_earliest_end(chain);
    if (tls->context->crl_file != NULL)
        tls->verified.end_s = earlier(
            tls->verified.end_s, end_of_lists(SSL_CTX_get_cert_store(tls->context->ssl), chain,
                                              th_clock_wall_ms(tls->stream->worker->clock) / 1000));
}

/* In TLS 1.2 it comes before the handshake is done, in TLS 1.3 at any time after that. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct th_tls *tls = SSL_get_app_data(ssl);
    struct th_str host = {tls->host, tls->host_len};

    th_tls_note_verified(tls);
    if (SSL_SESSION_is_resumable(session))
        th_tls_sessions_put(&tls->context->sessions, host, tls->port, session, &tls->verified);
    return 0; /* a copy was kept, not this one */
}

/* --- options --- */

/* The system's openssl.cnf may ask for more, never for less. */
static bool set_versions(SSL_CTX *ctx)
{
    if (SSL_CTX_get_security_level(ctx) < SECURITY_LEVEL)
        SSL_CTX_set_security_level(ctx, SECURITY_LEVEL);
    return SSL_CTX_get_min_proto_version(ctx) >= TLS1_2_VERSION ||
           SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
}

#define FIRST_SUITE "TLS_AES_128_GCM_SHA256"

/* The suite of TLS 1.3 that all must know (RFC 8446, 9.1) before those that this build or openssl.cnf puts in
 * front of it, where it is allowed at all: processors have instructions for SHA-256 and none for SHA-384,
 * which costs a handshake a twelfth more. */
static bool order_suites(SSL_CTX *ctx)
{
    const STACK_OF(SSL_CIPHER) *all = SSL_CTX_get_ciphers(ctx);
    char names[256] = FIRST_SUITE;
    size_t len = sizeof(FIRST_SUITE) - 1;
    bool allowed = false;

    for (int i = 0; i < sk_SSL_CIPHER_num(all); i++) {
        const SSL_CIPHER *suite = sk_SSL_CIPHER_value(all, i);
        const char *name = SSL_CIPHER_get_name(suite);
        if (SSL_CIPHER_get_protocol_id(suite) >> 8 != 0x13)
            continue;
        if (strcmp(name, FIRST_SUITE) == 0) {
            allowed = true;
            continue;
        }
        int n = snprintf(names + len, sizeof(names) - len, ":%s", name);
        if (n < 0 || (size_t)n >= sizeof(names) - len)
            return true; /* more than there are today: left as they are */
        len += (size_t)n;
    }
    return !allowed || SSL_CTX_set_ciphersuites(ctx, names) == 1;
}

bool th_tls_set_up(SSL_CTX *ctx)
{
    SSL_CTX_set_options(ctx,
                        SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CLEANSE_PLAINTEXT);
    SSL_CTX_clear_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_LEGACY_SERVER_CONNECT |
                                   SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION);
    /* An idle connection holds no buffers; SSL_read() returns after each receive that brought no
     * data, so that a peer that sends nothing else cannot keep the worker in it. */
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_read_ahead(ctx,
                           1); /* one receive a record, not one for its head and one for the rest */
    return set_versions(ctx) && order_suites(ctx);
}

/* What is offered by ALPN (RFC 7301, 3.1): what is spoken, the best first. With another protocol here
 * finish_handshake() has to let its name pass, and tell the owner which one it is. */
static const unsigned char protocols[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

static bool set_options(SSL_CTX *ctx)
{
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_session);
    return SSL_CTX_set_alpn_protos(ctx, protocols, sizeof(protocols)) == 0; /* 0 is success here */
}

/* --- whom is trusted --- */

/* RFC 5280, 6.3.3, as far as lists are there: without one of its authority a certificate is not
 * known to be revoked. */
static int on_verified(int ok, X509_STORE_CTX *ctx)
{
    if (ok || X509_STORE_CTX_get_error(ctx) != X509_V_ERR_UNABLE_TO_GET_CRL)
        return ok;
    X509_STORE_CTX_set_error(ctx, X509_V_OK);
    return 1;
}

/* The lists alone: a certificate that stands in the file is not trusted by that. */
static bool add_lists(X509_STORE *store, const char *crl_file)
{
    X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());

    return lookup != NULL && X509_load_crl_file(lookup, crl_file, X509_FILETYPE_PEM) > 0;
}

static int read_trust(const struct th_tls_context *context, struct th_errinfo *reterr)
{
    X509_STORE *store = SSL_CTX_get_cert_store(context->ssl);
    /* As for authorization servers: a certificate of the file is trusted also when it is no
     * root. */
    unsigned long flags = X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN;

    if ((!context->without_system && !X509_STORE_set_default_paths(store)) ||
        (context->ca_file != NULL && !X509_STORE_load_file(store, context->ca_file)))
        return th_errinfo_set(reterr, TH_E_CONFIG, context->ca_file,
                              "name a file of PEM certificates",
                              "the certificates could not be read");
    if (context->crl_file != NULL) {
        if (!add_lists(store, context->crl_file))
            return th_errinfo_set(reterr, TH_E_CONFIG, context->crl_file,
                                  "name a file of PEM revocation lists",
                                  "the revocation lists could not be read");
        flags |= X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL;
    }
    return X509_STORE_set_flags(store, flags) ? 0 : TH_E_NOMEM;
}

/* Where X509_STORE_set_default_paths() looks. */
static const char *system_path(const char *variable, const char *usual)
{
    const char *said = secure_getenv(variable);

    return said != NULL ? said : usual;
}

static void take_sources(const struct th_tls_context *context, struct th_tls_sources *ret_sources)
{
    *ret_sources = (struct th_tls_sources){0};
    if (!context->without_system) {
        th_file_mark_take(
            system_path(X509_get_default_cert_file_env(), X509_get_default_cert_file()),
            &ret_sources->system_file);
        th_file_mark_take(system_path(X509_get_default_cert_dir_env(), X509_get_default_cert_dir()),
                          &ret_sources->system_folder);
    }
    if (context->ca_file != NULL)
        th_file_mark_take(context->ca_file, &ret_sources->ca_file);
    if (context->crl_file != NULL)
        th_file_mark_take(context->crl_file, &ret_sources->crl_file);
}

static bool is_same_trust(const struct th_tls_context *context,
                          const struct th_tls_settings *settings)
{
    return th_str_equal(th_str_of(context->ca_file), settings->ca_file) &&
           th_str_equal(th_str_of(context->crl_file), settings->crl_file) &&
           context->without_system == settings->without_system;
}

static int set_trust(struct th_tls_context *context, const struct th_tls_context *same_trust,
                     struct th_errinfo *reterr)
{
    int error = 0;

    if (same_trust != NULL) {
        context->sources = same_trust->sources;
        SSL_CTX_set1_cert_store(context->ssl, SSL_CTX_get_cert_store(same_trust->ssl));
    } else {
        take_sources(context, &context->sources);
        error = read_trust(context, reterr);
    }
    if (context->crl_file != NULL)
        SSL_CTX_set_verify(context->ssl, SSL_VERIFY_PEER, on_verified);
    return error;
}

/* --- the whole --- */

/* What is shown is the chain as it is: OpenSSL would make one of what is trusted. */
static int set_identity(struct th_tls_context *context, struct th_identity *identity,
                        struct th_errinfo *reterr)
{
    if (identity == NULL)
        return 0;
    context->identity = th_identity_ref(identity);
    SSL_CTX_set_mode(context->ssl, SSL_MODE_NO_AUTO_CHAIN);
    if (SSL_CTX_use_cert_and_key(context->ssl, identity->certificate, identity->key,
                                 identity->chain, 1) == 1)
        return 0;
    return th_errinfo_set(reterr, TH_E_CONFIG, NULL, "have a certificate of today's kind issued",
                          "the client certificate cannot be used for TLS");
}

static bool copy_name(struct th_str name, char **ret_name)
{
    *ret_name = name.len > 0 ? th_strndup(name.ptr, name.len) : NULL;
    return name.len == 0 || *ret_name != NULL;
}

static int fill(struct th_tls_context *context, const struct th_tls_settings *settings,
                const struct th_tls_context *same_trust, struct th_errinfo *reterr)
{
    if (!copy_name(settings->ca_file, &context->ca_file) ||
        !copy_name(settings->crl_file, &context->crl_file))
        return TH_E_NOMEM;
    context->without_system = settings->without_system;
    context->bio = th_tls_bio_method_new();
    context->ssl = SSL_CTX_new(TLS_client_method());
    if (context->bio == NULL || context->ssl == NULL || !th_tls_set_up(context->ssl) ||
        !set_options(context->ssl))
        return th_errinfo_set(reterr, TH_E_NOMEM, NULL, NULL, "TLS could not be set up");
    if (same_trust != NULL && !is_same_trust(same_trust, settings))
        same_trust = NULL;
    int error = set_trust(context, same_trust, reterr);
    return error == 0 ? set_identity(context, settings->identity, reterr) : error;
}

int th_tls_context_new_with(const struct th_tls_settings *settings,
                            const struct th_tls_context *same_trust,
                            struct th_tls_context **ret_context, struct th_errinfo *reterr)
{
    struct th_tls_context *context = th_calloc(1, sizeof(*context));

    if (context == NULL)
        return TH_E_NOMEM;
    int error = th_tls_sessions_init(&context->sessions);
    if (error < 0) {
        th_free(context);
        return error;
    }
    th_ref_init(&context->ref);
    ERR_clear_error();
    error = fill(context, settings, same_trust, reterr);
    ERR_clear_error();
    if (error < 0) {
        th_tls_context_unref(context);
        return error;
    }
    *ret_context = context;
    return 0;
}

int th_tls_context_new(struct th_str ca_file, struct th_tls_context **ret_context,
                       struct th_errinfo *reterr)
{
    const struct th_tls_settings settings = {.ca_file = ca_file};

    return th_tls_context_new_with(&settings, NULL, ret_context, reterr);
}

bool th_tls_context_has(const struct th_tls_context *context,
                        const struct th_tls_settings *settings)
{
    return is_same_trust(context, settings) &&
           th_identity_equal(context->identity, settings->identity);
}

bool th_tls_context_is_current_with(const struct th_tls_context *context,
                                    const struct th_tls_settings *settings)
{
    struct th_tls_sources now;

    if (!th_tls_context_has(context, settings))
        return false;
    take_sources(context, &now);
    return th_file_mark_is_alike(&now.system_file, &context->sources.system_file) &&
           th_file_mark_is_alike(&now.system_folder, &context->sources.system_folder) &&
           th_file_mark_is_alike(&now.ca_file, &context->sources.ca_file) &&
           th_file_mark_is_alike(&now.crl_file, &context->sources.crl_file);
}

bool th_tls_context_is_current(const struct th_tls_context *context, struct th_str ca_file)
{
    const struct th_tls_settings settings = {.ca_file = ca_file};

    return th_tls_context_is_current_with(context, &settings);
}

struct th_tls_context *th_tls_context_ref(struct th_tls_context *context)
{
    th_ref_take(&context->ref);
    return context;
}

struct th_tls_context *th_tls_context_unref(struct th_tls_context *context)
{
    if (context == NULL || !th_ref_release(&context->ref))
        return NULL;
    th_tls_sessions_fini(&context->sessions);
    SSL_CTX_free(context->ssl);
    BIO_meth_free(context->bio);
    th_identity_unref(context->identity);
    th_free(context->ca_file);
    th_free(context->crl_file);
    th_free(context);
    return NULL;
}
