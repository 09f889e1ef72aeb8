/* A hop: one request and its response on their way through the proxy. Its states are a table (hop.c):
 *
 *   read head -> gate -> credential -> origin -> send -> relay -> record
 *                  |         |            |        |       |        ^
 *                  +---------+------------+--------+-------+-> answer (one of tokenhop's own)
 *
 * The CONNECT of a plain tunnel goes from origin to tunnel, where bytes move both ways, and to record; what
 * has switched to another protocol goes there from relay.
 *
 * relay goes back to credential for the one retry after a 401, send and relay to origin for the one
 * retry after a pooled connection turned out to be dead, or the one with a destination's DPoP nonce.
 * The gate waits in password while a caller's is held against a slow hash, and goes on with the answer.
 * Between gate and credential comes scope where a connection has scopes_for. Before origin comes
 * prove where a DPoP key signs slowly.
 *
 * A hop comes from its desk's list of free ones and goes back there; its pieces are reset, its arrays are not. Private
 * to the room. */
#ifndef TOKENHOP_PROXY_HOP_H
#define TOKENHOP_PROXY_HOP_H

#include "body.h"
#include "desk.h"
#include "origin.h"
#include "outgoing.h"
#include "session.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/gate/caller.h"
#include "tokenhop/gate/gate.h"
#include "tokenhop/gate/passwords.h"
#include "tokenhop/gate/policy.h"
#include "tokenhop/http/http1.h"
#include "tokenhop/net/dial.h"
#include "tokenhop/oauth/workload.h"
#include "tokenhop/observe/access.h"
#include "tokenhop/observe/audit.h"
#include "tokenhop/observe/log.h"
#include "tokenhop/observe/span.h"
#include "tokenhop/observe/trace.h"

/* X(STATE, function, "name"); what may follow what: next_states in hop.c. */
#define TH_HOP_STATES(X)                                                                           \
    X(READ_HEAD, read_head, "read head")                                                           \
    X(GATE, gate, "gate")                                                                          \
    X(PASSWORD, password, "password")                                                              \
    X(SCOPE, scope, "scope")                                                                       \
    X(CREDENTIAL, credential, "credential")                                                        \
    X(PROVE, prove, "prove")                                                                       \
    X(ORIGIN, origin, "origin")                                                                    \
    X(AUDIT, audit, "audit")                                                                       \
    X(SEND, send, "send")                                                                          \
    X(RELAY, relay, "relay")                                                                       \
    X(TUNNEL, tunnel, "tunnel")                                                                    \
    X(ANSWER, answer, "answer")                                                                    \
    X(RECORD, record, "record")

enum th_hop_state {
#define X(symbol, function, name) TH_HOP_##symbol,
    TH_HOP_STATES(X)
#undef X
};

enum th_hop_step {
    TH_HOP_GO,   /* the state has changed: run the next */
    TH_HOP_WAIT, /* an event will wake it */
    TH_HOP_END   /* recorded; the hop is no more */
};

/* What a waiting hop waits for: decides which limit holds and what its passing means. */
enum th_hop_wait {
    TH_WAIT_NOTHING,
    TH_WAIT_REQUEST_HEAD,  /* bytes of the client */
    TH_WAIT_REQUEST_BODY,  /* bytes of the client */
    TH_WAIT_REQUEST_TAKEN, /* the origin takes none */
    TH_WAIT_CALLER,        /* the keys that its token is verified by */
    TH_WAIT_PASSWORD,      /* held against a hash on a helper thread */
    TH_WAIT_CREDENTIAL,
    TH_WAIT_PROOF,          /* made on a helper thread */
    TH_WAIT_ENDPOINTS,      /* of authorization servers, where they are */
    TH_WAIT_ORIGIN,         /* the dialer keeps its own deadline */
    TH_WAIT_HANDSHAKE,      /* of TLS with the origin: what the dialer has left of that time */
    TH_WAIT_PARENT,         /* of its answer to a CONNECT: likewise */
    TH_WAIT_AUDIT,          /* the lines of the audit log that must be written first */
    TH_WAIT_FIRST_BYTE,     /* of the response */
    TH_WAIT_RESPONSE_BODY,  /* bytes of the origin */
    TH_WAIT_RESPONSE_TAKEN, /* the client takes none */
    TH_WAIT_TUNNEL          /* either side of a plain tunnel, or of what was upgraded */
};

/* The body as far as it is held for a second try. */
enum th_hop_held {
    TH_HELD_NOTHING,  /* no second try is possible, or none will be asked for */
    TH_HELD_IN_PLACE, /* all of it lies in the session's chunk */
    TH_HELD_COPY,     /* all of it so far is in `copy` */
};

struct th_hop {
    uint32_t magic;
    uint8_t state;       /* enum th_hop_state */
    uint8_t wait;        /* enum th_hop_wait */
    struct th_list link; /* of the desk's free ones */
    struct th_proxy_desk *desk;
    struct th_session *session;
    struct th_snapshot_use *use;
    const struct th_config_listener *listener; /* as `use` has it; NULL: not any more */
    const struct th_config_agent *agent;
    const struct th_config_caller *caller; /* who it proved to be; NULL: the listener asks nobody */
    struct th_workload_waiter workload;    /* while it is not known who that is */
    struct th_password_waiter *password;   /* likewise */
    struct th_password_answer password_answer;
    struct th_caller_proof_shown shown; /* by which */
    struct th_timer timer;
    uint64_t progress;  /* bytes moved when the timer was set */
    uint8_t timed_wait; /* what the timer was set for */

    /* the request */
    size_t scanned;
    struct th_head request;
    struct th_url url;
    struct th_gate_decision decision;
    struct th_policy_verdict verdict;
    struct th_body request_body;
    struct th_chunk *request_chunk; /* room of the body where the session's chunk has none */
    struct th_outgoing to_origin;
    uint8_t held; /* enum th_hop_held */
    struct th_str held_in_place;
    struct th_buf held_copy;

    /* the credential */
    const struct th_config_connection *asked; /* the variant whose scopes are asked for */
    uint16_t scoping;                         /* what decided that: th_config_variant_index() */
    uint8_t step_ups;
    struct th_chunked
        looking; /* how far a chunked body was looked at for its end, and so many bytes */
    size_t looked;
    struct th_cache_key key;
    struct th_broker_waiter waiter;
    struct th_credential *credential;
    struct th_refusal *refusal;

    /* proof.h: of the try that is about to be sent; empty: none, or made when it is */
    struct th_buf proof;
    uint64_t proof_handle; /* for the helper's job; 0: none runs */
    int proof_error;       /* what that ended with */

    /* the lines that must be written before anything goes on, and to which state it does then */
    struct th_audit_wait audit_wait;
    uint8_t after_audit;

    /* the origin */
    struct th_list endpoints; /* of those that wait for where authorization servers are */
    struct th_dial dial;
    int64_t connect_deadline_ms;           /* of dialing and the TLS handshake together */
    const struct th_config_parent *parent; /* on the way there; NULL: none */
    uint8_t parent_stage;                  /* enum th_parent_stage */
    struct th_origin *origin;
    size_t response_scanned;
    struct th_head response;
    struct th_body response_body;
    struct th_outgoing to_client;
    uint64_t response_bytes; /* received of this attempt's response */
    unsigned n_interim;

    /* what an answer of our own says */
    int error;
    const char *detail;     /* constant text, or of the refusal */
    int64_t retry_after_ms; /* 0: that of the refusal, or none is said */

    bool head_sent : 1;       /* the response's head has been handed to the client's outgoing */
    bool response_parsed : 1; /* the final response's head */
    bool request_failed : 1;  /* the origin takes no more of the request */
    bool dialing : 1;
    bool dial_done : 1;
    bool fresh_only : 1; /* no pooled connection: one was dead */
    bool retried_401 : 1;
    bool retried_nonce : 1;
    bool retried_scope : 1;
    bool scopes_open : 1; /* which scopes are asked for depends on the body */
    bool in_shadow : 1;   /* its connection is: it goes on as it came (shadow.h) */
    bool shadow_open : 1; /* what would become of it depends on the body */
    bool has_nonce : 1;   /* the response brought one for the next proof */
    bool retried_dead : 1;
    bool client_keeps : 1; /* the client connection goes on after this hop */
    bool origin_keeps : 1;
    bool response_complete : 1;
    bool has_trace : 1;
    bool is_tunnel : 1; /* a plain one: the origin is dialed, and no request sent */
    bool upgrade : 1;   /* the request asks for another protocol, which is passed on (upgrade.h) */
    bool counted : 1;   /* among limits.tunnels, for what it may become */
    bool has_password_answer : 1;
    bool
        is_bare : 1; /* such a one that no request has asked for: nor is any answered (original.c) */

    /* the two sides of a plain tunnel, or of an upgraded connection: what each has sent last, and what has
     * been passed on of it */
    bool client_ended : 1, origin_ended : 1;
    bool client_end_passed : 1, origin_end_passed : 1;
    bool client_bulk : 1, origin_bulk : 1; /* its last receive was full: more goes by pipe */
    bool audited : 1;                      /* what became of the last try to get a credential */
    bool refused_at_gate : 1;              /* whatever for: a decision for the audit log */

    /* for the record */
    int64_t started_us;
    int64_t started_wall_ms;
    int64_t connect_started_us;
    int64_t exchange_started_us, exchange_us;
    int64_t first_byte_us;
    uint8_t cache_state; /* enum th_cache_state */
    uint64_t client_in, client_out, origin_in, origin_out;
    struct th_address origin_address;
    bool origin_known, origin_reused;
    int status;
    struct th_trace trace;
    bool subject_known; /* key.subject is its digest */
    char *kept_text;    /* of an upgraded one: what of its head is recorded */

    uint16_t max_fields;
    /* Those of the request, at most max_fields, and right after them those of the response, as many:
     * most of the room is never touched. */
    struct th_field fields[];
};

/* A new hop of the session, in READ_HEAD; NULL when memory is short. */
struct th_hop *th_hop_new(struct th_session *session) TH_MUST;
/* The desk's timer: frees free hops that are not needed. */
void th_hop_trim_free(struct th_timer *timer);
/* Runs the machine until it waits or ends. */
enum th_hop_step th_hop_run(struct th_hop *hop);
/* For events of anything but the client: runs it, and lets the session go on if it ended. */
void th_hop_wake(struct th_hop *hop);
/* The client has gone: ends it, recorded as cancelled, without touching the client side. */
void th_hop_cancel(struct th_hop *hop);
/* Whether it is in its first state with no byte of a request yet complete: the session's timers hold. */
static inline bool th_hop_reads_head(const struct th_hop *hop)
{
    return hop->state == TH_HOP_READ_HEAD;
}
/* The request's head did not come in time. */
void th_hop_head_timed_out(struct th_hop *hop);

/* --- for the states (hop_*.c) --- */

/* Moves the hop to another state; checked against the table. Returns TH_HOP_GO. */
enum th_hop_step th_hop_move(struct th_hop *hop, enum th_hop_state to);
/* Ends with an answer of our own, or, when the response's head is already out, by a visible cut. */
enum th_hop_step th_hop_fail(struct th_hop *hop, int error, const char *detail);
/* Waits; sets the timer by what is waited for. Returns TH_HOP_WAIT. */
enum th_hop_step th_hop_wait(struct th_hop *hop, enum th_hop_wait wait);
/* The trace id is there from now on. */
void th_hop_ensure_trace(struct th_hop *hop);
/* Lets go of the origin connection: to its pool, or closed. */
void th_hop_drop_origin(struct th_hop *hop, bool keep);
void th_hop_drop_credential(struct th_hop *hop);

/* hop_retry.c: the whole body is at hand for a second try. */
bool th_hop_can_be_sent_again(const struct th_hop *hop);
/* A connection that the origin has authenticated as a whole must serve nobody else (R15). */
bool th_hop_is_bound_to_connection(const struct th_head *response);
/* What the origin has not yet taken of a request it would take from the next one (R4). */
bool th_hop_request_is_out(const struct th_hop *hop);
/* The final response's head is a refusal that another try may mend: the hop has gone to the state that makes it. */
bool th_hop_retry(struct th_hop *hop);

/* hop_policy.c: which rule of the policy decides on what the gate has let through. 0, or the error that it is
 * refused with, and hop->detail. */
int th_hop_ask_policy(struct th_hop *hop) TH_MUST;
/* Likewise at a connection in shadow: what it would do. 0, or the error, and why (or NULL). */
int th_hop_try_policy(struct th_hop *hop, const char **ret_detail) TH_MUST;
/* Whether it lets the same request ask for the scopes of that variant; then that is what is asked for from now
 * on, by the rule that allows it. */
bool th_hop_policy_permits(struct th_hop *hop, const struct th_config_connection *variant);

/* hop_scope.c: which scopes the request asks for, as far as its head tells; else hop->scopes_open is set, and the
 * state scope finds out. */
void th_hop_choose_scopes(struct th_hop *hop);
/* The same once its body is here, as far as it will be: `body` is empty where it cannot be told. 0, or an error. */
int th_hop_choose_scopes_by(struct th_hop *hop, struct th_str body) TH_MUST;
/* The same again, with more scopes. */
void th_hop_step_up(struct th_hop *hop, unsigned step_ups);
/* Room for `size` bytes of the request's body, of which none has been decoded; what has been received moves there.
 * False: memory is short. */
bool th_hop_make_room(struct th_hop *hop, size_t size);
/* Gives that back, where the session's chunk had none. */
void th_hop_drop_room(struct th_hop *hop);

/* hop_certificate.c: the certificate of the connection, or the one that is forwarded, to the facts: 0 or the error,
 * with hop->detail. The names may be in `room`. */
int th_hop_read_certificate(struct th_hop *hop, struct th_caller_names *room,
                            struct th_caller_facts *facts) TH_MUST;
/* Whether the field is one in which certificates are forwarded to this listener: it goes no further. */
bool th_hop_is_forwarded_certificate(const struct th_hop *hop, struct th_str name);

/* hop_password.c: whose the password or token is that the request shows, where that takes a slow hash: 0 with
 * *ret_caller and hop->shown; TH_AGAIN: the state password finds out; or the error, and hop->detail. `refusal`: where
 * there is nothing to be found out. */
int th_hop_ask_password(struct th_hop *hop, int refusal,
                        const struct th_config_caller **ret_caller) TH_MUST;
void th_hop_drop_password(struct th_hop *hop);

/* hop_caller.c: whom the request acts as: the listener's agent, or that of the caller it proves to be. 0; TH_AGAIN:
 * it is woken when that can be told; or the error, and hop->detail. */
int th_hop_tell_caller(struct th_hop *hop) TH_MUST;
bool th_hop_awaits_caller(const struct th_hop *hop);

/* hop_request.c: goes on with the credential, or the caller's own, once that is written down as a decision. */
enum th_hop_step th_hop_grant(struct th_hop *hop);

/* hop_audit.c: a decision is to be written down: 0, or TH_E_AUDIT. A credential may only be used if it is, which
 * th_hop_leave() sees to. */
int th_hop_audit_grant(struct th_hop *hop) TH_MUST;
/* Likewise what goes on unmatched, when it is known where to and before any of it does; for anything else 0. */
int th_hop_audit_forward(struct th_hop *hop) TH_MUST;
/* Likewise what a dry run of the policy would have refused. */
int th_hop_audit_dry_run(struct th_hop *hop) TH_MUST;
/* Goes on to that state, from which something leaves, once the lines of all decisions are written that must be. */
enum th_hop_step th_hop_leave(struct th_hop *hop, enum th_hop_state to);
/* It is refused for want of a line: what is not written never is. */
void th_hop_audit_withdraw(struct th_hop *hop);
/* On its end, where it was refused a credential, or its way. */
void th_hop_audit_refusal(struct th_hop *hop);
/* Gives everything back, the hop to its desk's free ones; tells the session whether to go on. */
void th_hop_release(struct th_hop *hop);

#define TH_HOP_STATE_DECLARE(symbol, function, name)                                               \
    enum th_hop_step th_hop_state_##function(struct th_hop *hop);
TH_HOP_STATES(TH_HOP_STATE_DECLARE)
#undef TH_HOP_STATE_DECLARE

#endif
