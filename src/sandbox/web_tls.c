#include "web_tls.h"

#include <event2/bufferevent_ssl.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/random.h"

#define VALID_S (365L * 24 * 3600)

static bool add(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool fine = extension != NULL && X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    return fine;
}

/* Without an issuer: an authority. */
static X509 *make(EVP_PKEY *key, const char *name, X509 *issuer, EVP_PKEY *issuer_key,
                  const char *alt_name)
{
    X509 *certificate = X509_new();
    uint64_t serial;
    th_random_bytes(&serial, sizeof serial);
    X509 *by = issuer != NULL ? issuer : certificate;
    if (certificate != NULL && X509_set_version(certificate, X509_VERSION_3) &&
        ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1 | 1) &&
        X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                                   (const unsigned char *)name, -1, -1, 0) &&
        X509_set_issuer_name(certificate, X509_get_subject_name(by)) &&
        X509_gmtime_adj(X509_getm_notBefore(certificate), -3600) != NULL &&
        X509_gmtime_adj(X509_getm_notAfter(certificate), VALID_S) != NULL &&
        X509_set_pubkey(certificate, key) &&
        add(certificate, by, NID_basic_constraints,
            issuer != NULL ? "CA:FALSE" : "critical,CA:TRUE") &&
        (alt_name == NULL || add(certificate, by, NID_subject_alt_name, alt_name)) &&
        X509_sign(certificate, issuer_key, EVP_sha256()) > 0)
        return certificate;
    X509_free(certificate);
    return NULL;
}

static int write_ca(const struct th_web_tls *tls, X509 *ca, struct th_errinfo *reterr)
{
    FILE *file = fopen(tls->ca_file, "we");
    bool fine = file != NULL && PEM_write_X509(file, ca) == 1;
    if (file != NULL && fclose(file) != 0)
        fine = false;
    return fine ? 0
                : th_errinfo_set(reterr, TH_E_IO, tls->ca_file, NULL,
                                 "the authority's certificate cannot be written");
}

/* That it has the key is proved by the handshake; whose key that is, is the handler's affair. */
static int take_any(int fine, X509_STORE_CTX *ctx)
{
    (void)fine, (void)ctx;
    return 1;
}

const X509 *th_web_tls_peer(struct evhttp_request *request)
{
    struct evhttp_connection *connection = evhttp_request_get_connection(request);
    struct bufferevent *stream =
        connection != NULL ? evhttp_connection_get_bufferevent(connection) : NULL;
    SSL *ssl = stream != NULL ? bufferevent_openssl_get_ssl(stream) : NULL;
    return ssl != NULL ? SSL_get0_peer_certificate(ssl) : NULL;
}

/* A host that is a name; addresses of URLs are the one that is listened on. */
static void add_host(char *alt_name, size_t size, const char *url)
{
    const char *host = url != NULL ? strstr(url, "://") : NULL;

    if (host == NULL || host[3] == '[')
        return;
    int len = (int)strcspn(host + 3, ":/");
    if (strspn(host + 3, "0123456789.") < (size_t)len)
        snprintf(alt_name, size, ",DNS:%.*s", len, host + 3);
}

int th_web_tls_init(struct th_web_tls *tls, const char *folder, const char *ca_name,
                    const char *address, const char *url, bool asks, struct th_errinfo *reterr)
{
    char alt_name[512];
    int e = th_errinfo_set(reterr, TH_E_NOMEM, NULL, NULL, "no certificate can be made");
    EVP_PKEY *ca_key = EVP_EC_gen("P-256"), *key = EVP_EC_gen("P-256");
    X509 *ca = NULL, *certificate = NULL;
    int len = snprintf(alt_name, sizeof alt_name, "IP:%s", address);
    add_host(alt_name + len, sizeof alt_name - (size_t)len, url);
    snprintf(tls->ca_file, sizeof tls->ca_file, "%s/%s", folder, ca_name);
    if (ca_key != NULL && key != NULL)
        ca = make(ca_key, "tokenhop sandbox agents", NULL, ca_key, NULL);
    if (ca != NULL)
        certificate = make(key, "agent", ca, ca_key, alt_name);
    tls->ctx = certificate != NULL ? SSL_CTX_new(TLS_server_method()) : NULL;
    if (tls->ctx != NULL && SSL_CTX_use_certificate(tls->ctx, certificate) == 1 &&
        SSL_CTX_use_PrivateKey(tls->ctx, key) == 1)
        e = write_ca(tls, ca, reterr);
    if (e == 0 && asks)
        SSL_CTX_set_verify(tls->ctx, SSL_VERIFY_PEER, take_any);
    X509_free(ca);
    X509_free(certificate);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
    return e;
}

void th_web_tls_fini(struct th_web_tls *tls, bool forget)
{
    if (tls->ctx != NULL && forget)
        unlink(tls->ca_file);
    SSL_CTX_free(tls->ctx);
    tls->ctx = NULL;
}

static struct bufferevent *make_stream(struct event_base *base, void *arg)
{
    struct th_web_tls *tls = arg;
    SSL *ssl = SSL_new(tls->ctx);
    return ssl != NULL ? bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING,
                                                        BEV_OPT_CLOSE_ON_FREE)
                       : NULL;
}

void th_web_tls_use(struct th_web_tls *tls, struct evhttp *http)
{
    evhttp_set_bevcb(http, make_stream, tls);
}
