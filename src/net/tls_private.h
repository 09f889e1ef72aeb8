/* TLS streams, inside:
 *
 *   tls_context.c   what all connections share: whom is trusted, which versions and options
 *   tls_server.c    the server's side
 *   tls_clients.c   and whom it accepts
 *   tls_tickets.c   and what their sessions are sealed with
 *   tls_session.c   what connections have learned for resumption
 *   tls_stream.c    the table of operations: handshake, receive, write, edges
 *   tls_bio.c       between OpenSSL and the descriptor
 *   tls_below.c     or between OpenSSL and the TLS that it runs inside of
 *   tls_reason.c    what went wrong, in words */
#ifndef TH_NET_TLS_PRIVATE_H
#define TH_NET_TLS_PRIVATE_H

#include <openssl/ssl.h>
#include <pthread.h>

#include "stream_private.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/base/file_mark.h"
#include "tokenhop/base/hash.h"
#include "tokenhop/base/ref.h"
#include "tokenhop/base/secret.h"
#include "tokenhop/net/tls_server.h"

/* Sessions by host and port. A TLS 1.3 session is given out once (RFC 8446, C.4: a ticket used
 * twice links two connections), so several of one host are kept. OpenSSL writes to a session
 * while it is in use without a lock: what is kept here is a copy of its own, which only one
 * connection ever gets.
 *
 * `lock` is a leaf: nothing else is locked, and OpenSSL is not called but to count and copy,
 * while it is held. */
struct th_tls_sessions {
    pthread_mutex_t lock;
    struct th_hash_key hash_key;
    struct th_hash_table table;
    struct th_list used; /* the longest unused first */
};

/* What a session's certificate was verified by: the whole handshake that it goes back to, over however many
 * others it was taken up since. */
struct th_tls_verified {
    int64_t at_ms; /* by the worker's clock */
    int64_t end_s; /* since 1970: no longer is all valid that was looked at; 0: nothing was yet */
};

/* By a worker's clock. */
struct th_tls_time {
    int64_t now_ms; /* monotonic */
    int64_t now_s;  /* since 1970 */
};

int th_tls_sessions_init(struct th_tls_sessions *sessions) TH_MUST;
void th_tls_sessions_fini(struct th_tls_sessions *sessions);
/* Keeps a copy. Memory that is short only costs the resumption. */
void th_tls_sessions_put(struct th_tls_sessions *sessions, struct th_str host, uint16_t port,
                         const SSL_SESSION *session, const struct th_tls_verified *verified);
/* NULL when there is none that is fresh enough. The caller's. */
SSL_SESSION *th_tls_sessions_take(struct th_tls_sessions *sessions, struct th_str host,
                                  uint16_t port, const struct th_tls_time *now,
                                  struct th_tls_verified *ret_verified) TH_MUST;

/* The files that a context trusts, as they were before they were read. */
struct th_tls_sources {
    struct th_file_mark system_file, system_folder, ca_file, crl_file;
};

struct th_tls_context {
    struct th_ref ref;
    struct th_tls_sources sources;
    char *ca_file; /* NULL: none; and so these */
    char *crl_file;
    struct th_identity *identity; /* counted */
    bool without_system;
    SSL_CTX *ssl;
    BIO_METHOD *bio;
    struct th_tls_sessions sessions;
};

/* The TLS that another runs inside of: a stream of its own on the same descriptor, whose edges come through the
 * one on top (that alone is registered with the loop). */
struct th_tls_below {
    struct th_stream stream;
    struct th_stream *top;
};

/* A stream's layer. Freed by the operation `close`. */
struct th_tls {
    uint32_t magic;
    struct th_stream *stream;
    struct th_tls_context *context; /* of a client's side; else NULL */
    struct th_tls_server *server;   /* of a server's side; else NULL */
    struct th_tls_below *below;     /* NULL: the descriptor itself */
    struct th_chunk *early;         /* received before TLS began; NULL: none is left */
    SSL *ssl;
    struct th_buf held; /* records on their way out that the kernel has not taken */
    size_t held_sent;
    struct th_tls_verified
        offered; /* of a client's side: by the session that it wanted to take up */
    struct th_tls_verified verified; /* and by the one that it has */
    const char *reason;
    int error;
    int recv_errno; /* of the descriptor, once it has failed */
    int send_errno;
    unsigned n_control; /* receives since the last that brought data of the application */
    uint16_t port;
    uint16_t host_len;
    uint8_t alert;     /* by which the peer has ended it; 0: none */
    bool may_recv : 1; /* a receive on the descriptor may find something */
    bool sure : 1;     /* if not: EAGAIN has said so */
    bool starved : 1;  /* OpenSSL asked for bytes that were not there; reset before each call */
    bool ended : 1;    /* the descriptor's end was received */
    bool read_needs_write : 1;
    bool write_needs_read : 1;
    bool ticket_due : 1; /* a session's ticket goes out with the next bytes written */
    bool corked : 1; /* what is written is held until it is flushed: one send for several records */
    bool farewell : 1; /* once nothing is held: the descriptor's side is ended */
    char host[];
};

/* How long a key seals new tickets, and how long a session is good that one has sealed. */
#define TH_TLS_TICKET_KEY_MS ((int64_t)12 * 60 * 60 * 1000)
#define TH_TLS_TICKET_GOOD_MS ((int64_t)2 * 60 * 60 * 1000)

struct th_tls_ticket_key {
    uint8_t name[16];
    struct th_secret *secret; /* of the cipher, then of the MAC; NULL: there is no such key */
};

/* `lock` is a leaf; no key is used under it. */
struct th_tls_tickets {
    pthread_mutex_t lock;
    struct th_tls_ticket_key
        keys[2];       /* that of new tickets; the one before, while a ticket of it may be good */
    int64_t newest_ms; /* since when it seals; -1: since the start */
};

/* A server's, with which its tickets are sealed from now on. */
int th_tls_tickets_init(struct th_tls_tickets *tickets, SSL_CTX *ctx) TH_MUST;
void th_tls_tickets_fini(struct th_tls_tickets *tickets);

struct th_tls_server {
    struct th_ref ref;
    SSL_CTX *ssl;
    BIO_METHOD *bio;
    bool has_identity; /* of its own */
    bool has_tickets;
    struct th_tls_tickets tickets;
    uint8_t digest[32]; /* of the settings */
    uint8_t trust[32];  /* of what they say of clients */
};

/* tls_clients.c: has clients asked for certificates, as the settings say. */
int th_tls_ask_clients(SSL_CTX *ctx, const struct th_tls_server_settings *settings,
                       struct th_errinfo *reterr) TH_MUST;

/* When the first of the certificates ends, in seconds; none: INT64_MAX. */
int64_t th_tls_earliest_end(const STACK_OF(X509) * chain);
int64_t th_tls_seconds_of(const ASN1_TIME *time);

/* tls_context.c: puts down when and until when the server's certificate was verified, after a whole handshake;
 * once it is put down, or a session was taken up, that stays. */
void th_tls_note_verified(struct th_tls *tls);

/* What both sides' contexts have in common. */
bool th_tls_set_up(SSL_CTX *ctx) TH_MUST;
/* Goes on with the handshake: 0 done, TH_AGAIN, or the error. */
int th_tls_step(struct th_stream *stream, struct th_tls *tls) TH_MUST;
void th_tls_free(struct th_tls *tls);
#define TH_TLS_MAGIC 0x746c7321u

/* tls_below.c. Before `tls` becomes the stream's layer: what is its layer by now goes below, if it is TLS.
 * 0 or TH_E_NOMEM, and nothing has changed then. */
int th_tls_sink(struct th_stream *stream, struct th_tls *tls) TH_MUST;
/* Passes on what the descriptor has told, and returns the same of what is below. */
short th_tls_edge_below(struct th_tls *tls, short what);
/* Ends the side that is written, of what is below or of the descriptor, as the operation shutdown_write. */
int th_tls_end_below(struct th_tls *tls);
/* `silent`: the peer is to see a cut. */
void th_tls_close_below(struct th_tls *tls, bool silent);

/* NULL when memory is short. */
BIO_METHOD *th_tls_bio_method_new(void);
/* Sends what is held; false when some is left, or sending has failed (send_errno). */
bool th_tls_flush(struct th_tls *tls);
static inline bool th_tls_holds(const struct th_tls *tls)
{
    return tls->held.len > tls->held_sent;
}

/* Puts down why a call of OpenSSL has failed for good, by its error queue and what the descriptor
 * said; breaks the stream. Returns the error. */
int th_tls_fail(struct th_tls *tls);
/* The peer keeps OpenSSL busy and sends no data. */
int th_tls_fail_endless(struct th_tls *tls);
int th_tls_fail_because(struct th_tls *tls, int error, const char *reason);

#endif
