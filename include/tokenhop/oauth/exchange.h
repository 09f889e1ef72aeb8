/* The exchange: runs the plan of a connection's resource type, leg by leg, on a worker's loop.
 *
 *   exchanger   of one worker: the fetcher it speaks through, the parsed keys of the agents
 *   exchange    one run of a plan; ends by calling its function exactly once, or by cancel
 *
 * Before the first leg the subject token is verified, unless the connection says otherwise: issuer,
 * signature, audience, times. What is refused there costs no leg. Servers whose endpoints are not
 * known are asked for their metadata. Keys and metadata are held for all exchangers that share
 * them; while they cannot be had, the exchange fails, and it is not the subject that is blamed (R28).
 *
 * Every leg bears a fresh client assertion with a new jti, retries included (R12), and where the
 * connection says so a fresh DPoP proof; a server that wants its nonce in that is asked once more. What
 * comes back is checked (R13, R26) before it is used. A transport failure of leg 2 is tried once more with the same
 * ID-JAG; `invalid_grant` there runs leg 1 anew once (reference, 4.7). The whole is bounded by one
 * deadline, and a leg that is not the last by TH_EXCHANGE_SHARE_PERCENT of what is then left, so that a
 * server that hangs is noticed. An exchange that would call an endpoint whose breaker (breaker.h) is
 * open ends at once, before anything is sent. The worker's thread only. */
#ifndef TOKENHOP_OAUTH_EXCHANGE_H
#define TOKENHOP_OAUTH_EXCHANGE_H

#include <jansson.h>

#include "tokenhop/config/model.h"
#include "tokenhop/net/fetch.h"
#include "tokenhop/net/worker.h"
#include "tokenhop/oauth/breaker.h"
#include "tokenhop/oauth/delegation.h"
#include "tokenhop/oauth/documents.h"
#include "tokenhop/oauth/dpop.h"
#include "tokenhop/oauth/grants.h"
#include "tokenhop/oauth/subject.h"
#include "tokenhop/oauth/values.h"

#define TH_EXCHANGE_LEGS_MAX 4
#define TH_EXCHANGE_SHARE_PERCENT 60
#define TH_EXCHANGE_DETAIL_MAX 240
#define TH_CHALLENGE_MAX 960

struct th_exchange_leg_report {
    const char *name; /* "id_jag", "access_token": constant text */
    const struct th_config_authorization_server *server;
    struct th_str endpoint; /* of the configuration or the server's metadata */
    int status;             /* HTTP; 0: no answer */
    bool was_granted;       /* a token or values came, whatever became of them */
    int64_t duration_us;
};

/* What an exchange ended with. Borrowed by the function that gets it; take the token by reference. */
struct th_exchange_result {
    int error;               /* 0, or TH_E_SUBJECT_*, ACCESS_DENIED, INTERACTION, EXCHANGE_* */
    struct th_secret *token; /* the access token; NULL on error, and where there are: */
    /* What the token is bound to (RFC 9449); borrowed; NULL: a bearer token. */
    struct th_dpop_key *dpop_key;
    struct th_values *values; /* of a secret or service account; borrowed; NULL with a token */
    int64_t
        lifetime_ms; /* from now; 0: must not be kept; already the shorter of expires_in and the JWT's exp */
    int64_t subject_expires_wall_ms; /* -1: unknown */
    bool gets_subject;               /* the exchange got it itself: the next one gets a new one */
    char jti[64];                    /* of the token, where it reads as a JWT */
    char oauth_error[64]; /* `error` of the answer that refused, printable; for log and detail */
    char detail
        [TH_EXCHANGE_DETAIL_MAX]; /* for the problem body: what, where, how to mend; no token */
    char interaction_uri[512];
    char challenge
        [TH_CHALLENGE_MAX]; /* parameters for WWW-Authenticate: Bearer of a 401, or empty */
    int64_t retry_after_ms; /* -1: none */
    bool was_held_off;      /* by a breaker: nothing was sent */
    struct th_delegation *delegation; /* borrowed; NULL: not kept, or no memory */
    struct th_subject subject;
    struct th_exchange_leg_report legs[TH_EXCHANGE_LEGS_MAX];
    unsigned n_legs; /* that were sent, retries not counted anew */
};

/* One parameter of a request, or member of an answer, as far as it may be shown to a person. No token,
 * assertion, key or password is in it: of a token there is what it says. What is not known to be
 * harmless has its name alone. */
struct th_exchange_shown {
    struct th_str name;
    struct th_str text;   /* ptr NULL: not shown */
    bool is_token;        /* then header and claims, where it reads as a JWT */
    const json_t *header; /* NULL: opaque */
    const json_t *claims;
};
#define TH_EXCHANGE_SHOWN_MAX 64

/* Watches an exchange, retries included; for the command that shows one. All that is given is borrowed for
 * the call. The functions must not touch the exchange. */
struct th_exchange_observer {
    /* `leg` without status and duration yet. */
    void (*on_request)(void *arg, const struct th_exchange_leg_report *leg,
                       const struct th_exchange_shown *parameters, size_t n_parameters);
    /* `leg->duration_us` is that of this try. `why`: what is wrong with the answer; may be empty. */
    void (*on_answer)(void *arg, const struct th_exchange_leg_report *leg,
                      const struct th_exchange_shown *members, size_t n_members, const char *why);
    /* What is odd, but no ground to refuse. */
    void (*on_note)(void *arg, const char *note);
};

struct th_exchanger;
struct th_exchange;
struct th_trace;

typedef void th_exchange_fn(void *arg, const struct th_exchange_result *result);

struct th_exchange_request {
    struct th_config *config; /* counted while the exchange runs: everything below is of it */
    const struct th_config_agent *agent;
    const struct th_config_connection *connection;
    struct th_str subject_token;  /* copied to a secret */
    struct th_str rejected_token; /* that the destination did not take, or to be revoked; copied;
                                     empty: none */
    int64_t deadline_ms;          /* monotonic */
    const struct th_trace *trace; /* each leg is told as a span below it; copied; NULL: none */
    const struct th_exchange_observer *observer; /* NULL: nobody watches */
    void *observer_arg;
};

/* `fetcher` stays the caller's and outlives it. `breakers`: those of all workers, a reference is taken;
 * NULL: none. */
int th_exchanger_new(struct th_worker *worker, struct th_fetcher *fetcher,
                     struct th_breakers *breakers, struct th_exchanger **ret_exchanger) TH_MUST;
/* Shares these from now on; it began with documents of its own. Before anything is started. */
int th_exchanger_share(struct th_exchanger *exchanger, struct th_documents *documents) TH_MUST;
/* Proves possession with these from now on, of which a reference is taken; it began with keys of its own.
 * Before anything is started. */
void th_exchanger_share_dpop_keys(struct th_exchanger *exchanger, struct th_dpop_keys *keys);
/* From now on results have a delegation. Before anything is started. */
void th_exchanger_keep_delegations(struct th_exchanger *exchanger);
/* Keeps with these what first legs yield, where a connection says so; a reference is taken. It began
 * without. Before anything is started. */
void th_exchanger_share_grants(struct th_exchanger *exchanger, struct th_grants *grants);
/* Its hold on them; borrowed, for whoever is on the same worker and goes before it. */
struct th_document_desk *th_exchanger_documents(struct th_exchanger *exchanger);
struct th_exchanger *th_exchanger_free(struct th_exchanger *exchanger); /* cancels what runs */

/* 0 and `fn` later (never from inside this call); or at once TH_E_SUBJECT_* with reterr filled, TH_E_NOMEM. */
int th_exchange_start(struct th_exchanger *exchanger, const struct th_exchange_request *request,
                      th_exchange_fn *fn, void *arg, struct th_exchange **ret_exchange,
                      struct th_errinfo *reterr) TH_MUST;
/* Runs no leg but revokes `rejected_token`, as the plan of the connection's resource type says (plan.h) and
 * whatever the breakers say; it must have a revocation. `subject_token` is not looked at. The result's error
 * is 0 when the server has it revoked (RFC 7009, 2.2: also when it did not know it), its one report has the
 * status. Else as th_exchange_start(). */
int th_exchange_revoke(struct th_exchanger *exchanger, const struct th_exchange_request *request,
                       th_exchange_fn *fn, void *arg, struct th_exchange **ret_exchange,
                       struct th_errinfo *reterr) TH_MUST;
void th_exchange_cancel(struct th_exchange *exchange); /* fn is not called */

#endif
