/* The server's side of TLS. Handshakes run on the worker: with P-256 one takes some 0.3 ms of CPU. */
#include "tokenhop/net/tls_server.h"

#include <openssl/err.h>

#include "tls_private.h"
#include "tokenhop/base/mem.h"

/* A client that does not offer it is told so: nothing else is spoken (RFC 7301, 3.2). One that knows
 * no ALPN is taken to speak HTTP/1.1. */
static int on_protocols(SSL *ssl, const unsigned char **ret_protocol, unsigned char *ret_len,
                        const unsigned char *offered, unsigned offered_len, void *arg)
{
    static const unsigned char known[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

    for (unsigned at = 0; at < offered_len; at += offered[at] + 1u) {
        if (offered[at] != known[0] || offered_len - at < sizeof(known) ||
            memcmp(offered + at, known, sizeof(known)) != 0)
            continue;
        *ret_protocol = offered + at + 1;
        *ret_len = known[0];
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static bool set_up(SSL_CTX *ctx)
{
    if (!th_tls_set_up(ctx))
        return false;
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    /* What is shown is the chain as it is: OpenSSL would make one of what clients are verified by. */
    SSL_CTX_set_mode(ctx, SSL_MODE_NO_AUTO_CHAIN);
    /* What was learned goes to the client in a ticket; nothing is kept here. One is enough, as its
     * connections are few and long, and it is sent with the first answer: none by the handshake. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(ctx, on_protocols, NULL);
    return SSL_CTX_set_num_tickets(ctx, 0) == 1;
}

/* `who`: who the server is, too. */
static bool digest_settings(const struct th_tls_server_settings *settings, bool who,
                            uint8_t ret_digest[32])
{
    const struct th_str *texts[] = {&settings->client_authorities, &settings->client_lists};
    uint8_t clients = (uint8_t)settings->clients;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    bool fine = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
                EVP_DigestUpdate(ctx, settings->identity->whole,
                                 who ? sizeof(settings->identity->whole) : 0) == 1 &&
                EVP_DigestUpdate(ctx, &clients, sizeof(clients)) == 1;
    for (size_t i = 0; fine && i < TH_COUNT_OF(texts); i++)
        fine = EVP_DigestUpdate(ctx, &texts[i]->len, sizeof(texts[i]->len)) == 1 &&
               EVP_DigestUpdate(ctx, texts[i]->ptr, texts[i]->len) == 1;
    fine = fine && EVP_DigestFinal_ex(ctx, ret_digest, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    return fine;
}

static int set_identity(struct th_tls_server *server, const struct th_identity *identity,
                        struct th_errinfo *reterr)
{
    server->has_identity = true;
    if (SSL_CTX_use_cert_and_key(server->ssl, identity->certificate, identity->key, identity->chain,
                                 1) == 1)
        return 0;
    return th_errinfo_set(reterr, TH_E_CONFIG, NULL, "have a certificate of today's kind issued",
                          "the certificate cannot be used for TLS");
}

static int set_settings(struct th_tls_server *server, const struct th_tls_server_settings *settings,
                        struct th_errinfo *reterr)
{
    if (!digest_settings(settings, true, server->digest) ||
        !digest_settings(settings, false, server->trust) ||
        SSL_CTX_set_session_id_context(server->ssl, server->digest, sizeof(server->digest)) != 1)
        return TH_E_NOMEM;
    int error = set_identity(server, settings->identity, reterr);
    return error == 0 ? th_tls_ask_clients(server->ssl, settings, reterr) : error;
}

static int make(const struct th_tls_server_settings *settings, struct th_tls_server **ret_server,
                struct th_errinfo *reterr)
{
    struct th_tls_server *server = th_calloc(1, sizeof(*server));
    int error = TH_E_NOMEM;

    if (server == NULL)
        return error;
    th_ref_init(&server->ref);
    ERR_clear_error();
    server->bio = th_tls_bio_method_new();
    server->ssl = SSL_CTX_new(TLS_server_method());
    if (server->bio != NULL && server->ssl != NULL && set_up(server->ssl))
        error = th_tls_tickets_init(&server->tickets, server->ssl);
    server->has_tickets = error == 0;
    if (error == 0)
        error = settings != NULL ? set_settings(server, settings, reterr) : 0;
    ERR_clear_error();
    if (error < 0) {
        th_tls_server_unref(server);
        return error;
    }
    *ret_server = server;
    return 0;
}

int th_tls_server_new(struct th_tls_server **ret_server)
{
    return make(NULL, ret_server, NULL);
}

int th_tls_server_new_with(const struct th_tls_server_settings *settings,
                           struct th_tls_server **ret_server, struct th_errinfo *reterr)
{
    return make(settings, ret_server, reterr);
}

bool th_tls_server_has(const struct th_tls_server *server,
                       const struct th_tls_server_settings *settings)
{
    uint8_t digest[32];

    return server->has_identity && digest_settings(settings, true, digest) &&
           memcmp(digest, server->digest, sizeof(digest)) == 0;
}

struct th_tls_server *th_tls_server_ref(struct th_tls_server *server)
{
    th_ref_take(&server->ref);
    return server;
}

struct th_tls_server *th_tls_server_unref(struct th_tls_server *server)
{
    if (server == NULL || !th_ref_release(&server->ref))
        return NULL;
    if (server->has_tickets)
        th_tls_tickets_fini(&server->tickets);
    SSL_CTX_free(server->ssl);
    BIO_meth_free(server->bio);
    th_free(server);
    return NULL;
}

bool th_tls_server_trusts_alike(const struct th_tls_server *a, const struct th_tls_server *b)
{
    return a == b || memcmp(a->trust, b->trust, sizeof(a->trust)) == 0;
}

static bool make_ssl(struct th_tls *tls, const struct th_tls_identity *identity)
{
    SSL *ssl = SSL_new(tls->server->ssl);
    BIO *bio = ssl != NULL ? BIO_new(tls->server->bio) : NULL;

    tls->ssl = ssl;
    if (bio == NULL)
        return false;
    BIO_set_data(bio, tls);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_accept_state(ssl);
    if (SSL_set_app_data(ssl, tls) != 1)
        return false;
    if (identity == NULL)
        return tls->server->has_identity;
    return SSL_set_session_id_context(ssl, identity->context_id, sizeof(identity->context_id)) ==
               1 &&
           SSL_use_cert_and_key(ssl, identity->certificate, identity->key, identity->chain, 1) == 1;
}

int th_stream_accept_tls(struct th_stream *stream, struct th_tls_server *server,
                         const struct th_tls_identity *identity, struct th_chunk *received)
{
    struct th_tls *tls = th_calloc(1, sizeof(*tls) + 1);

    TH_REQUIRE(stream->ops == &th_stream_tcp ||
               (stream->ops == &th_stream_tls && !stream->handshaking));
    if (tls == NULL) {
        th_chunk_put(&stream->worker->chunks, received);
        return TH_E_NOMEM;
    }
    tls->magic = TH_TLS_MAGIC;
    tls->stream = stream;
    tls->server = th_tls_server_ref(server);
    tls->early = received;
    tls->may_recv = stream->readable || stream->peer_closed;
    (void)th_tls_flush(tls); /* holds nothing */
    ERR_clear_error();
    if (!make_ssl(tls, identity) || th_tls_sink(stream, tls) < 0) {
        ERR_clear_error();
        th_tls_free(tls);
        return TH_E_NOMEM;
    }
    stream->ops = &th_stream_tls;
    stream->layer = tls;
    stream->handshaking = true;
    int error = th_tls_step(stream, tls);
    return error == TH_AGAIN ? 0 : error;
}

int th_stream_tls_alert(const struct th_stream *stream)
{
    const struct th_tls *tls = stream->ops == &th_stream_tls ? stream->layer : NULL;

    return tls != NULL ? tls->alert : 0;
}

X509 *th_stream_tls_client(const struct th_stream *stream)
{
    const struct th_tls *tls = stream->ops == &th_stream_tls ? stream->layer : NULL;

    return tls != NULL && tls->server != NULL ? SSL_get0_peer_certificate(tls->ssl) : NULL;
}
