/* The server's side of TLS on a stream (stream.h, tls.h): version 1.2 or later, http/1.1 by ALPN, no
 * renegotiation, no compression, no early data, sessions resumed by ticket.
 *
 *     error = th_stream_accept_tls(&s, server, identity, received, &reason);
 *     on_event:  if ((error = th_stream_tls_error(&s, &reason)) < 0) ... th_stream_tls_alert(&s)
 *                else receive and write as on any stream
 *
 * A th_tls_server is counted and may be used by all workers. */
#ifndef TOKENHOP_NET_TLS_SERVER_H
#define TOKENHOP_NET_TLS_SERVER_H

#include <openssl/ssl.h>

#include "tokenhop/net/tls.h"

struct th_chunk;
struct th_tls_server;

int th_tls_server_new(struct th_tls_server **ret_server) TH_MUST;
struct th_tls_server *th_tls_server_ref(struct th_tls_server *server);
struct th_tls_server *th_tls_server_unref(struct th_tls_server *server); /* NULL is fine */

/* Who the server is on one connection. Borrowed for the call. */
struct th_tls_identity {
    X509 *certificate;
    EVP_PKEY *key;
    STACK_OF(X509) * chain; /* those above it */
    /* A session is only resumed where these are the same: it was made for this very name. */
    uint8_t context_id[SSL_MAX_SID_CTX_LENGTH];
};

/* On a stream that speaks plain TCP so far, or TLS: then this one runs inside of that, whose end and whose
 * cut are its own from now on. `received` is what was received of TLS already; it is
 * taken over, also when that fails. on_event is called once the handshake is done or has failed, and
 * not before; the owner keeps the time. An error that is known at once is returned: on_event will
 * not be called then, and the stream is still the owner's to close. */
int th_stream_accept_tls(struct th_stream *stream, struct th_tls_server *server,
                         const struct th_tls_identity *identity, struct th_chunk *received) TH_MUST;

/* The alert by which the peer ended TLS (RFC 8446, 6: 48 is unknown_ca); 0: none. */
int th_stream_tls_alert(const struct th_stream *stream);

#endif
