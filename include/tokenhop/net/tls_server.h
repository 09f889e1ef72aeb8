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

/* Who it is, is said for each connection; clients are asked for no certificate. */
int th_tls_server_new(struct th_tls_server **ret_server) TH_MUST;

/* Whether clients are asked for a certificate. One that is shown is verified in any case. */
enum th_tls_clients { TH_TLS_CLIENTS_ANY, TH_TLS_CLIENTS_MAY_SHOW, TH_TLS_CLIENTS_MUST_SHOW };

struct th_tls_server_settings {
    struct th_identity *identity; /* with its key: who the server is on every connection */
    enum th_tls_clients clients;
    /* PEM. Who vouches for clients, and nobody else does; what of that is revoked, empty: nobody looks. */
    struct th_str client_authorities;
    struct th_str client_lists;
};
/* A client's certificate is accepted that leads to one of the authorities, is valid today, says that it is
 * for clients (extendedKeyUsage clientAuth; without the extension it does not say so), and is on no list of
 * its authority. A list that has run out accepts nobody; an authority without a list is as if nobody looked.
 * A session may be resumed for an hour after the certificate was verified, and no longer than that certificate
 * and those above it are valid. TH_E_CONFIG with *reterr filled for what cannot be used. */
int th_tls_server_new_with(const struct th_tls_server_settings *settings,
                           struct th_tls_server **ret_server, struct th_errinfo *reterr) TH_MUST;
/* Whether it was made with such settings. */
bool th_tls_server_has(const struct th_tls_server *server,
                       const struct th_tls_server_settings *settings);

struct th_tls_server *th_tls_server_ref(struct th_tls_server *server);
struct th_tls_server *th_tls_server_unref(struct th_tls_server *server); /* NULL is fine */

/* Some times an hour at least, by any thread: tickets are sealed with a new key every 12 hours, and the one before is
 * good until the last session that it has sealed is not, which is 2 hours later; then it is wiped. `now_ms`: of the
 * monotonic clock. */
void th_tls_server_turn_keys(struct th_tls_server *server, int64_t now_ms);

/* Whether one accepts the same clients as the other: who was verified by that need not be by this. */
bool th_tls_server_trusts_alike(const struct th_tls_server *a, const struct th_tls_server *b);

/* Who the server is on one connection. Borrowed for the call. */
struct th_tls_identity {
    X509 *certificate;
    EVP_PKEY *key;
    STACK_OF(X509) * chain; /* those above it */
    /* A session is only resumed where these are the same: it was made for this very name. */
    uint8_t context_id[SSL_MAX_SID_CTX_LENGTH];
};

/* `identity` NULL: that of the server's settings. On a stream that speaks plain TCP so far, or TLS: then
 * this one runs inside of that, whose end and whose cut are its own from now on. `received` is what was
 * received of TLS already; it is taken over, also when that fails. on_event is called once the handshake is
 * done or has failed, and not before; the owner keeps the time. An error that is known at once is returned:
 * on_event will not be called then, and the stream is still the owner's to close. */
int th_stream_accept_tls(struct th_stream *stream, struct th_tls_server *server,
                         const struct th_tls_identity *identity, struct th_chunk *received) TH_MUST;

/* The alert by which the peer ended TLS (RFC 8446, 6: 48 is unknown_ca); 0: none. */
int th_stream_tls_alert(const struct th_stream *stream);

/* The certificate that the client has shown, verified; also of a session that was taken up. NULL: none. Borrowed from
 * the stream. */
X509 *th_stream_tls_client(const struct th_stream *stream);
/* Until when it holds, with those above it as far as they are known: seconds of the wall clock; INT64_MAX
 * without one. */
int64_t th_stream_tls_client_until(const struct th_stream *stream);

#endif
