/* TLS to origins: the second table of operations of a stream (stream.h), OpenSSL on the worker's
 * non-blocking descriptor. R19: version 1.2 or later, the chain and the name verified
 * (subjectAltName alone; the subject's CN never), no renegotiation, no compression, no way back
 * to cleartext.
 *
 *     th_stream_init(&s, worker, fd, on_event);
 *     error = th_stream_start_tls(&s, context, host, port);
 *     on_event:  if (s.handshaking) ...                       not yet: no event comes while it is
 *                if ((error = th_stream_tls_error(&s, &reason)) < 0) ...
 *                else receive and write as on any stream
 *
 * An end without the peer's close_notify is TH_E_ORIGIN_CLOSED, never 0: whoever sits between
 * could have made it, and a body that ends with the connection would look whole (R4).
 *
 * A context belongs to whoever counts on it and may be used by all workers; what connections
 * have learned for resumption is kept there, by host and port: no session is ever taken up by who
 * trusts others, or shows another certificate, than who began it. A stream and its TLS belong to
 * the worker's thread. */
#ifndef TOKENHOP_NET_TLS_H
#define TOKENHOP_NET_TLS_H

#include "tokenhop/base/identity.h"
#include "tokenhop/base/str.h"
#include "tokenhop/net/stream.h"

struct th_tls_context;

/* Trusts the system's certificates (reading them takes some 45 ms: once a configuration) and
 * those of the PEM file `ca_file` where it is not empty. TH_E_CONFIG with *reterr filled when
 * that cannot be used. */
int th_tls_context_new(struct th_str ca_file, struct th_tls_context **ret_context,
                       struct th_errinfo *reterr) TH_MUST;
/* Whether reading the certificates again, for that `ca_file`, would bring the same: neither the
 * system's file or folder nor `ca_file` was written since. Blocking, as the above. */
bool th_tls_context_is_current(const struct th_tls_context *context, struct th_str ca_file);

struct th_tls_settings {
    struct th_str ca_file;        /* PEM; empty: none but the system's */
    bool without_system;          /* `ca_file` alone is trusted */
    struct th_str crl_file;       /* PEM; empty: nobody looks for what is revoked */
    struct th_identity *identity; /* shown to who asks for a client certificate; NULL: nothing is */
};
/* The same for any settings; a reference to the identity is taken. With `crl_file` a certificate is
 * refused that the list of its authority names, at every step up to the root, and also when that
 * list has run out; an authority without a list in the file is as if nobody looked. `same_trust`:
 * where its files are the same, what was read for it is shared; NULL: all is read. */
int th_tls_context_new_with(const struct th_tls_settings *settings,
                            const struct th_tls_context *same_trust,
                            struct th_tls_context **ret_context, struct th_errinfo *reterr) TH_MUST;
/* Whether it was made with such settings. */
bool th_tls_context_has(const struct th_tls_context *context,
                        const struct th_tls_settings *settings);
/* Whether it was, and reading its files again would bring the same. Blocking. */
bool th_tls_context_is_current_with(const struct th_tls_context *context,
                                    const struct th_tls_settings *settings);
struct th_tls_context *th_tls_context_ref(struct th_tls_context *context);
struct th_tls_context *th_tls_context_unref(
    struct th_tls_context *context); /* NULL is fine; returns NULL */

/* The client's side of TLS on a stream that was just initialized, before the loop goes on; or inside of the TLS
 * that the stream speaks already.
 * `host` is a name in normal form or a literal without brackets: what the certificate must bear.
 * on_event is called once the handshake is done or has failed, and not before; the owner keeps
 * the time. An error that is known at once is returned: on_event will not be called then, and
 * the stream is still the owner's to close. */
int th_stream_start_tls(struct th_stream *stream, struct th_tls_context *context,
                        struct th_str host, uint16_t port) TH_MUST;

/* What has broken a stream that speaks TLS: TH_E_ORIGIN_TLS (the certificate),
 * TH_E_ORIGIN_TLS_PROTOCOL (anything else of TLS), TH_E_ORIGIN_CLOSED and the like, or 0.
 * *ret_reason says more in a constant text without secrets, or is NULL. A plain stream is never
 * broken by this. */
int th_stream_tls_error(const struct th_stream *stream, const char **ret_reason);
/* Whether the handshake took up an earlier session: no certificate was sent and verified anew. */
bool th_stream_tls_is_resumed(const struct th_stream *stream);

#endif
