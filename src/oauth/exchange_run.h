/* One run of a plan: its state machine. */
#ifndef TOKENHOP_SRC_OAUTH_EXCHANGE_RUN_H
#define TOKENHOP_SRC_OAUTH_EXCHANGE_RUN_H

#include "exchange_private.h"
#include "tokenhop/oauth/jwks.h"
#include "tokenhop/oauth/metadata.h"
#include "tokenhop/observe/trace.h"

#define TH_EXCHANGE_MAGIC 0x7e8c4a11u

/*  X(STATE, enter, may go to)
 *
 *  VERIFY   looks whether the subject token is to be trusted, and by which keys
 *  VERIFYING waits for these, or for the metadata that says where they are
 *  DISCOVER looks where the leg goes
 *  DISCOVERING waits for the server's metadata
 *  PROVE    makes the client assertion of the leg, at once or on a helper thread
 *  PROVING  waits for that thread
 *  SEND     puts the request together and starts it
 *  WAIT     waits for the answer
 *  READ     an answer, or none, is there: decides what follows
 *  END      everything is let go; `fn` is called at the end of the turn */
#define TH_EXCHANGE_STATES(X)                                                                      \
    X(VERIFY, th_exchange_enter_verify, TO(VERIFYING) | TO(DISCOVER) | TO(END))                    \
    X(VERIFYING, NULL, TO(VERIFY) | TO(END))                                                       \
    X(DISCOVER, th_exchange_enter_discover, TO(DISCOVERING) | TO(PROVE) | TO(END))                 \
    X(DISCOVERING, NULL, TO(DISCOVER) | TO(END))                                                   \
    X(PROVE, th_exchange_enter_prove, TO(DISCOVER) | TO(PROVING) | TO(SEND) | TO(END))             \
    X(PROVING, NULL, TO(SEND) | TO(END))                                                           \
    X(SEND, enter_send, TO(WAIT) | TO(END))                                                        \
    X(WAIT, NULL, TO(READ) | TO(END))                                                              \
    X(READ, enter_read, TO(VERIFY) | TO(DISCOVER) | TO(END))                                       \
    X(END, enter_end, 0)

enum th_exchange_state {
#define X(state, enter, next) TH_EXCHANGE_##state,
    TH_EXCHANGE_STATES(X)
#undef X
};

/* Worker's. */
struct th_exchange {
    uint32_t magic;
    enum th_exchange_state state;
    struct th_list link; /* exchanger->running */
    struct th_exchanger *exchanger;
    struct th_worker *worker;
    th_exchange_fn *fn;
    void *arg;
    const struct th_exchange_observer *observer; /* NULL: nobody watches; see watch.h */
    void *observer_arg;
    struct th_trace trace; /* legs are spans below it; not sampled: none are told */

    struct th_config *config; /* counted; NULL in tests without one */
    const struct th_config_agent *agent;
    const struct th_config_connection *connection;
    const struct th_plan *plan;
    struct th_plan_legs legs;        /* of it, those of the connection */
    struct th_secret *subject_token; /* NULL: there is none, or not yet */
    json_t *subject_claims;          /* NULL: opaque */
    bool is_subject_verified;
    int64_t subject_wall_ms;            /* when the subject token came here */
    struct th_document_waiter document; /* while VERIFYING or DISCOVERING */
    const struct th_jwks *lacking;      /* keys among which the subject token's was not */
    const struct th_metadata
        *metadata[TH_PLAN_LEGS_MAX + 1]; /* of the legs' servers, the last of the revocation's;
                                            NULL: not asked */

    size_t leg;
    bool is_revoking;       /* plan->revocation, before the first leg */
    bool only_revokes;      /* and no leg follows: th_exchange_revoke() */
    unsigned n_revocations; /* 0 or 1: so many reports stand before those of the legs */
    uint64_t grants_epoch;  /* when it began */
    unsigned n_saved; /* 0 or 1: a leg that was not run, as its yield was there; it has no report */
    struct th_secret *rejected;              /* what it revokes */
    struct th_secret *previous;              /* what the leg before yielded */
    struct th_secret *actor;                 /* what one before yielded, as the actor token */
    struct th_client client;                 /* of the leg */
    const struct th_config_auth *registered; /* as the leg's server knows the agent */
    const struct th_config_auth *switched;   /* registration whose first choice was refused; NULL */
    const struct th_config_auth *switched_to; /* and what authenticates there from then on */
    struct th_secret *proof;                  /* of the try: the client's authentication */
    struct th_dpop_key *dpop_key;             /* counted; NULL: no leg so far bears a DPoP proof */
    struct th_secret *dpop_proof;             /* of the try; NULL: it bears none */
    struct th_secret *actor_assertion;        /* likewise, made for its endpoint */
    bool has_nonce;                           /* the answer to the try brought one */
    bool is_bound;                            /* what the last leg yielded, to dpop_key */
    uint8_t nonce_taken, proved_again;        /* legs, as bits: each once an exchange */
    struct th_fetch *fetch;
    struct th_token_answer answer; /* to the try */
    bool is_unanswered;            /* the try broke off, answer.error says how */
    struct th_breaker_pass passes[TH_EXCHANGE_LEGS_MAX]; /* to the endpoints of the legs */
    bool holds_pass[TH_EXCHANGE_LEGS_MAX];
    bool has_retried; /* both once an exchange */
    bool has_restarted;
    uint64_t handle; /* for the helper's job; 0: none runs */
    int64_t sent_us;
    int64_t whole_ms; /* from the start to the deadline */
    int64_t share_ms; /* of it, the try's */
    struct th_timer deadline;
    struct th_timer share; /* runs in WAIT where it is shorter */
    struct th_soon soon;
    struct th_exchange_result result;
};

/* The way on, from a state or a callback. */
void th_exchange_run(struct th_exchange *ex, enum th_exchange_state next);
/* Where the leg goes: configured, or as the server's metadata has it. */
struct th_str th_exchange_endpoint(const struct th_exchange *ex);
const struct th_config_authorization_server *th_exchange_server(const struct th_exchange *ex);

/* What is under way: the leg, or the revocation before the legs. */
const struct th_plan_leg *th_exchange_leg(const struct th_exchange *ex);
static inline size_t th_exchange_metadata_at(const struct th_exchange *ex)
{
    return ex->is_revoking ? TH_PLAN_LEGS_MAX : ex->leg;
}
/* The result is an error: which leg, where, why. */
enum th_exchange_state th_exchange_fail(struct th_exchange *ex, int error, const char *why);
/* What is of one try and must not reach the next. */
void th_exchange_drop_try(struct th_exchange *ex);

/* exchange_prove.c */
enum th_exchange_state th_exchange_enter_prove(struct th_exchange *ex);

/* exchange_subject.c: whether an exchange of that connection begins with a subject token. */
bool th_exchange_takes_subject(const struct th_config_connection *connection);
/* Of one that does, as th_subject_read(). *ret_claims is a new reference, or NULL. */
int th_exchange_read_subject(const struct th_exchange_request *request, int64_t wall_ms,
                             struct th_subject *ret_subject, json_t **ret_claims,
                             struct th_errinfo *reterr) TH_MUST;
/* ex->subject_token is what the leg yielded. */
enum th_exchange_state th_exchange_take_subject(struct th_exchange *ex);

/* exchange_reuse.c: before the first leg of two: if its yield is there, the second leg is next. */
void th_exchange_reuse_grant(struct th_exchange *ex);
/* After it, ex->answer holds its yield. */
void th_exchange_keep_grant(struct th_exchange *ex, const json_t *claims);
/* The second leg did not take it; ex->leg is the first one again. */
void th_exchange_drop_grant(struct th_exchange *ex);

/* exchange_documents.c: what waits for documents of authorization servers. */
enum th_exchange_state th_exchange_enter_verify(struct th_exchange *ex);
enum th_exchange_state th_exchange_enter_discover(struct th_exchange *ex);

/* exchange_span.c: the try has ended, with its report written. */
void th_exchange_tell_leg(struct th_exchange *ex, int error, int64_t duration_us);

/* The place in result.legs of what is under way. */
static inline size_t th_exchange_report_at(const struct th_exchange *ex)
{
    return ex->is_revoking ? 0 : ex->leg + ex->n_revocations - ex->n_saved;
}

/* NULL when memory is short. In its first state, and not run. */
struct th_exchange *th_exchange_new(struct th_exchanger *exchanger,
                                    const struct th_exchange_request *request, th_exchange_fn *fn,
                                    void *arg) TH_MUST;
struct th_exchange *th_exchange_free(struct th_exchange *ex);

/* exchange_revocation.c: what is sent to a revocation endpoint, before the legs or alone. */
int th_exchange_begin_revoking(struct th_exchange *ex, struct th_str token) TH_MUST;
void th_exchange_read_revoked(struct th_exchange *ex, const struct th_fetch_response *response);

void th_exchange_cancel_all(struct th_exchanger *exchanger);

/* exchange_auth.c: fills ex->client but for the key. */
void th_exchange_choose_auth(struct th_exchange *ex,
                             const struct th_config_authorization_server *server);
/* After an answer that refuses: whether it refused the agent, and another key of its can be tried. Once for
 * each of the agent's registrations. */
bool th_exchange_switch_key(struct th_exchange *ex);
/* After an answer that grants: what was switched to comes first for the exchanges after this. */
void th_exchange_note_accepted(struct th_exchange *ex);
/* A server that repeats the client secret, or a token, in its error gets its words kept back. */
void th_exchange_hide_secret(struct th_exchange *ex);

#endif
