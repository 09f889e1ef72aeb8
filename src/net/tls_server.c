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
    /* What was learned goes to the client in a ticket; nothing is kept here. One is enough: its
     * connections are few and long. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(ctx, on_protocols, NULL);
    return SSL_CTX_set_num_tickets(ctx, 1) == 1;
}

int th_tls_server_new(struct th_tls_server **ret_server)
{
    struct th_tls_server *server = th_calloc(1, sizeof(*server));

    if (server == NULL)
        return TH_E_NOMEM;
    th_ref_init(&server->ref);
    ERR_clear_error();
    server->bio = th_tls_bio_method_new();
    server->ssl = SSL_CTX_new(TLS_server_method());
    bool fine = server->bio != NULL && server->ssl != NULL && set_up(server->ssl);
    ERR_clear_error();
    if (!fine) {
        th_tls_server_unref(server);
        return TH_E_NOMEM;
    }
    *ret_server = server;
    return 0;
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
    SSL_CTX_free(server->ssl);
    BIO_meth_free(server->bio);
    th_free(server);
    return NULL;
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
    SSL_set_app_data(ssl, tls);
    SSL_set_accept_state(ssl);
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
