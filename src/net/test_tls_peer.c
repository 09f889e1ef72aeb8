#include "test_tls_peer.h"

#include "test_support.h"

#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

static void add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;

    X509V3_set_ctx(&ctx, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

struct identity identity_make(const struct identity_spec *spec)
{
    static long serial;
    struct identity made = {X509_new(), EVP_EC_gen("P-256")};
    X509_NAME *name = X509_get_subject_name(made.certificate);
    const struct identity *issuer = spec->issuer != NULL ? spec->issuer : &made;

    assert_non_null(made.key);
    X509_set_version(made.certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made.certificate), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(made.certificate), spec->from != 0 ? spec->from : -3600);
    X509_gmtime_adj(X509_getm_notAfter(made.certificate), spec->to != 0 ? spec->to : 86400);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)spec->cn, -1, -1,
                               0);
    X509_set_issuer_name(made.certificate, X509_get_subject_name(issuer->certificate));
    X509_set_pubkey(made.certificate, made.key);
    if (spec->authority)
        add_extension(made.certificate, issuer->certificate, NID_basic_constraints,
                      "critical,CA:TRUE");
    if (spec->san != NULL)
        add_extension(made.certificate, issuer->certificate, NID_subject_alt_name, spec->san);
    if (spec->for_clients)
        add_extension(made.certificate, issuer->certificate, NID_ext_key_usage, "clientAuth");
    if (spec->usage != NULL)
        add_extension(made.certificate, issuer->certificate, NID_ext_key_usage, spec->usage);
    assert_true(X509_sign(made.certificate, issuer->key, EVP_sha256()) > 0);
    return made;
}

void identity_free(struct identity *identity)
{
    X509_free(identity->certificate);
    EVP_PKEY_free(identity->key);
    *identity = (struct identity){NULL, NULL};
}

void identity_write(const struct identity *identity, char ret_path[64])
{
    snprintf(ret_path, 64, "/tmp/tokenhop-test-XXXXXX");
    int fd = mkstemp(ret_path);
    FILE *file = fdopen(fd, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, identity->certificate), 1);
    fclose(file);
}

static int on_name(SSL *ssl, int *alert, void *arg)
{
    struct peer *peer = SSL_get_app_data(ssl);
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    snprintf(peer->name, sizeof(peer->name), "%s", name != NULL ? name : "");
    return SSL_TLSEXT_ERR_OK;
}

SSL_CTX *peer_context_new(const struct identity *identity, int min_version, int max_version)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    assert_non_null(ctx);
    SSL_CTX_set_security_level(ctx, 0); /* old versions too */
    assert_int_equal(SSL_CTX_set_min_proto_version(ctx, min_version), 1);
    assert_int_equal(SSL_CTX_set_max_proto_version(ctx, max_version), 1);
    assert_int_equal(SSL_CTX_use_certificate(ctx, identity->certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, identity->key), 1);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"t", 1);
    SSL_CTX_set_tlsext_servername_callback(ctx, on_name);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return ctx;
}

void peer_open(struct peer *peer, SSL_CTX *ctx, int fd)
{
    memset(peer, 0, sizeof(*peer));
    int on = 1;
    peer->ctx = ctx;
    peer->fd = fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* what is said is there at once */
    if (ctx == NULL)
        return;
    peer->ssl = SSL_new(ctx);
    SSL_set_fd(peer->ssl, fd);
    SSL_set_accept_state(peer->ssl);
    SSL_set_app_data(peer->ssl, peer);
}

void peer_step(struct peer *peer)
{
    if (peer->ssl == NULL || peer->done || peer->failed)
        return;
    ERR_clear_error();
    int n = SSL_do_handshake(peer->ssl);
    int error = SSL_get_error(peer->ssl, n);
    peer->done = n == 1;
    peer->failed = n != 1 && error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE;
}

void peer_say(struct peer *peer, const char *text)
{
    ERR_clear_error();
    assert_int_equal(SSL_write(peer->ssl, text, (int)strlen(text)), (int)strlen(text));
}

int peer_hear(struct peer *peer, char *text, size_t size)
{
    size_t len = strlen(text);

    for (;;) {
        ERR_clear_error();
        int n = SSL_read(peer->ssl, text + len, (int)(size - 1 - len));
        if (n <= 0)
            return SSL_get_error(peer->ssl, n);
        len += (size_t)n;
        text[len] = '\0';
    }
}

void peer_close(struct peer *peer)
{
    SSL_free(peer->ssl);
    peer->ssl = NULL;
    if (peer->fd >= 0)
        close(peer->fd);
    peer->fd = -1;
}
