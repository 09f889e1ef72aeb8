#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "tls_private.h"
#include "tokenhop/base/mem.h"

/* RSA and Diffie-Hellman of 2048 bits, no SHA-1 (RFC 9325, 4.2 and 4.5). */
#define SECURITY_LEVEL 2

static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct th_tls *tls = SSL_get_app_data(ssl);
    struct th_str host = {tls->host, tls->host_len};

    if (SSL_SESSION_is_resumable(session))
        th_tls_sessions_put(&tls->context->sessions, host, tls->port, session,
                            tls->stream->worker->now_ms);
    return 0; /* a copy was kept, not this one */
}

/* The system's openssl.cnf may ask for more, never for less. */
static bool set_versions(SSL_CTX *ctx)
{
    if (SSL_CTX_get_security_level(ctx) < SECURITY_LEVEL)
        SSL_CTX_set_security_level(ctx, SECURITY_LEVEL);
    return SSL_CTX_get_min_proto_version(ctx) >= TLS1_2_VERSION ||
           SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
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
    return set_versions(ctx);
}

static bool set_options(SSL_CTX *ctx)
{
    static const unsigned char protocols[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_session);
    return SSL_CTX_set_alpn_protos(ctx, protocols, sizeof(protocols)) == 0; /* 0 is success here */
}

static bool set_trust(SSL_CTX *ctx, const char *ca_file)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);

    if (!X509_STORE_set_default_paths(store) ||
        (ca_file != NULL && !X509_STORE_load_file(store, ca_file)))
        return false;
    /* As for authorization servers: a certificate of the file is trusted also when it is no
     * root. */
    return X509_STORE_set_flags(store, X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN);
}

/* Where X509_STORE_set_default_paths() looks. */
static const char *system_path(const char *variable, const char *usual)
{
    const char *said = secure_getenv(variable);

    return said != NULL ? said : usual;
}

static void take_sources(const char *ca_file, struct th_tls_sources *ret_sources)
{
    *ret_sources = (struct th_tls_sources){0};
    th_file_mark_take(system_path(X509_get_default_cert_file_env(), X509_get_default_cert_file()),
                      &ret_sources->system_file);
    th_file_mark_take(system_path(X509_get_default_cert_dir_env(), X509_get_default_cert_dir()),
                      &ret_sources->system_folder);
    if (ca_file != NULL)
        th_file_mark_take(ca_file, &ret_sources->ca_file);
}

static int fill(struct th_tls_context *context, struct th_str ca_file, struct th_errinfo *reterr)
{
    const char *file = NULL;

    if (ca_file.len > 0) {
        file = context->ca_file = th_strndup(ca_file.ptr, ca_file.len);
        if (file == NULL)
            return TH_E_NOMEM;
    }
    take_sources(file, &context->sources);
    context->bio = th_tls_bio_method_new();
    context->ssl = SSL_CTX_new(TLS_client_method());
    if (context->bio == NULL || context->ssl == NULL || !th_tls_set_up(context->ssl) ||
        !set_options(context->ssl))
        return th_errinfo_set(reterr, TH_E_NOMEM, NULL, NULL, "TLS could not be set up");
    if (!set_trust(context->ssl, file))
        return th_errinfo_set(reterr, TH_E_CONFIG, file, "name a file of PEM certificates",
                              "the certificates could not be read");
    return 0;
}

int th_tls_context_new(struct th_str ca_file, struct th_tls_context **ret_context,
                       struct th_errinfo *reterr)
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
    error = fill(context, ca_file, reterr);
    ERR_clear_error();
    if (error < 0) {
        th_tls_context_unref(context);
        return error;
    }
    *ret_context = context;
    return 0;
}

bool th_tls_context_is_current(const struct th_tls_context *context, struct th_str ca_file)
{
    struct th_tls_sources now;
    struct th_str before = th_str_of(context->ca_file);

    if (!th_str_equal(before, ca_file))
        return false;
    take_sources(context->ca_file, &now);
    return th_file_mark_is_alike(&now.system_file, &context->sources.system_file) &&
           th_file_mark_is_alike(&now.system_folder, &context->sources.system_folder) &&
           th_file_mark_is_alike(&now.ca_file, &context->sources.ca_file);
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
    th_free(context->ca_file);
    th_free(context);
    return NULL;
}
