/* The TLS of a listener: what comes before the first request of a session, and what the client has proved by it. The
 * first bytes tell whether TLS is spoken at all; until they come nothing of it is made. Private to the room. */
#ifndef TOKENHOP_PROXY_SECURE_H
#define TOKENHOP_PROXY_SECURE_H

#include "session.h"
#include "tokenhop/gate/names.h"
#include "tunnel.h"

enum th_secure_stage {
    TH_SECURE_SILENT, /* nothing has come */
    TH_SECURE_HANDSHAKE,
    TH_SECURE_OPEN
};

/* Owned by its session, and ends with it. */
struct th_secure {
    struct th_tls_server *server; /* by which it was accepted; counted */
    uint8_t stage;                /* enum th_secure_stage */
    bool has_certificate;         /* the client has shown one, which was verified */
    bool too_many_names;
    int64_t until_ms; /* of the worker's clock: when that ends */
    size_t n_names;
    struct th_caller_name names[];
};

/* For the session of a listener that speaks TLS; NULL when memory is short. */
struct th_secure *th_secure_new(struct th_tls_server *server) TH_MUST;
/* NULL is fine. Returns NULL. */
struct th_secure *th_secure_free(struct th_secure *secure);
/* Goes on until requests can be read. */
enum th_intercept_step th_secure_run(struct th_session *session);
/* It was not done in time. The session is the caller's to close. */
void th_secure_time_out(struct th_session *session);
/* Whether what the client has proved is proved no longer: its certificate has expired since, or the listener accepts
 * others by now. Also of a session without TLS: never. */
bool th_secure_has_ended(const struct th_session *session);
/* At most `in_ms`: until its certificate expires. */
int64_t th_secure_limit(const struct th_session *session, int64_t in_ms);

#endif
