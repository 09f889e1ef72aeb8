#include "bench_tls.h"

#include "bench_util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>

static SSL_CTX *make_context(const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);

    if (!ctx || !SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION))
        bench_die("TLS could not be set up");
    /* A block that was sent in part is sent on from wherever the rest of it is. */
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    signal(SIGPIPE, SIG_IGN); /* OpenSSL's socket BIO writes without MSG_NOSIGNAL */
    return ctx;
}

SSL_CTX *bench_tls_client(const char *ca_file)
{
    static const unsigned char protocols[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
    SSL_CTX *ctx = make_context(TLS_client_method());

    if (!SSL_CTX_load_verify_locations(ctx, ca_file, NULL) ||
        SSL_CTX_set_alpn_protos(ctx, protocols, sizeof(protocols)) != 0)
        bench_die("%s cannot be used as whom to trust", ca_file);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    return ctx;
}

SSL_CTX *bench_tls_server(const char *cert_file, const char *key_file, bool resume)
{
    SSL_CTX *ctx = make_context(TLS_server_method());

    if (!SSL_CTX_use_certificate_chain_file(ctx, cert_file) ||
        !SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM))
        bench_die("%s and %s cannot be used for TLS", cert_file, key_file);
    if (!resume) {
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(ctx, 0);
    }
    return ctx;
}

static bool set_host(SSL *ssl, const char *host)
{
    unsigned char address[16];

    if (inet_pton(AF_INET, host, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host);
    return SSL_set_tlsext_host_name(ssl, host) && SSL_set1_host(ssl, host);
}

SSL *bench_tls_open(SSL_CTX *ctx, int fd, const char *host)
{
    int flags = fcntl(fd, F_GETFL);
    SSL *ssl = SSL_new(ctx);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || !ssl || !SSL_set_fd(ssl, fd) ||
        (host && !set_host(ssl, host)))
        bench_die("TLS could not be begun on a connection");
    if (host)
        SSL_set_connect_state(ssl);
    else
        SSL_set_accept_state(ssl);
    return ssl;
}

void bench_tls_close(SSL *ssl)
{
    if (!ssl)
        return;
    ERR_clear_error();
    if (SSL_is_init_finished(ssl))
        SSL_shutdown(ssl);
    ERR_clear_error();
    SSL_free(ssl);
}

/* What a call that did not succeed means, as errno. */
static void set_errno(SSL *ssl, int result)
{
    int saved = errno;

    switch (SSL_get_error(ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        break;
    case SSL_ERROR_SYSCALL:
        errno = saved ? saved : ECONNRESET;
        break;
    default:
        errno = EPROTO;
        break;
    }
}

int bench_tls_handshake(SSL *ssl, const char **ret_problem)
{
    const char *reason;
    int n;

    ERR_clear_error();
    errno = 0;
    n = SSL_do_handshake(ssl);
    if (n == 1)
        return 1;
    reason = ERR_reason_error_string(ERR_peek_error());
    set_errno(ssl, n);
    if (errno == EAGAIN)
        return 0;
    *ret_problem = SSL_get_verify_result(ssl) != X509_V_OK
                       ? X509_verify_cert_error_string(SSL_get_verify_result(ssl))
                       : (reason ? reason : "closed inside the TLS handshake");
    return -1;
}

bool bench_tls_is_resumed(const SSL *ssl)
{
    return SSL_session_reused(ssl);
}

ssize_t bench_tls_recv(SSL *ssl, void *bytes, size_t len)
{
    size_t n;
    int ok;

    ERR_clear_error();
    errno = 0;
    ok = SSL_read_ex(ssl, bytes, len, &n);
    if (ok == 1)
        return (ssize_t)n;
    if (SSL_get_error(ssl, ok) == SSL_ERROR_ZERO_RETURN)
        return 0;
    set_errno(ssl, ok);
    return -1;
}

ssize_t bench_tls_send(SSL *ssl, const void *bytes, size_t len)
{
    size_t n;
    int ok;

    ERR_clear_error();
    errno = 0;
    ok = SSL_write_ex(ssl, bytes, len, &n);
    if (ok == 1)
        return (ssize_t)n;
    set_errno(ssl, ok);
    return -1;
}
