/* The broker answers "give me the credential for (agent, connection, subject)": from the cache,
 * by joining an exchange in flight, or by running the plan. One broker a process, shared by all
 * workers; each worker has a desk at it, with the exchanger that its exchanges run on.
 *
 * Exactly one exchange runs per key across all workers (R14). Who comes meanwhile waits, each
 * under its own deadline (kept by the waiter: th_broker_leave()); a waiter that leaves harms no
 * other, and an exchange whose waiters all left still fills the cache. Refusals are remembered
 * briefly, per key. An entry in use is renewed before it expires, with the subject token of the
 * request that noticed; meanwhile it is still served. Nobody's claims are part of a key.
 *
 * Lock order: a shard's lock is a leaf: nothing is called, posted or allocated for long under it,
 * and no two are held at once. */
#ifndef TOKENHOP_TOKEN_BROKER_H
#define TOKENHOP_TOKEN_BROKER_H

#include "tokenhop/config/model.h"
#include "tokenhop/net/worker.h"
#include "tokenhop/oauth/exchange.h"
#include "tokenhop/observe/access.h"
#include "tokenhop/token/account.h"
#include "tokenhop/token/credential.h"
#include "tokenhop/token/directory.h"
#include "tokenhop/token/quota.h"

struct th_broker;
struct th_broker_desk;
struct th_broker_waiter;

struct th_cache_key {
    uint8_t scope[16];   /* digest of agent, connection, its version, scopes: th_broker_scope() */
    uint8_t subject[32]; /* SHA-256 of the whole subject token */
};

/* How a request came by its credential: enum th_cache_state of observe/access.h. */

/* An outcome that is not a credential, for the answer and the log. Counted, immutable. */
struct th_refusal {
    struct th_ref ref;
    int error;
    int64_t retry_after_ms; /* -1: none */
    char oauth_error[64];
    char detail[TH_EXCHANGE_DETAIL_MAX];
    char interaction_uri[512];
    char challenge[TH_CHALLENGE_MAX]; /* parameters for WWW-Authenticate of a 401, or empty */
    struct th_delegation *delegation; /* counted; NULL: no exchange was made, or not kept */
};
struct th_refusal *th_refusal_ref(struct th_refusal *refusal);
struct th_refusal *th_refusal_unref(struct th_refusal *refusal);

/* On the waiter's worker; the waiter has been unlinked. Borrowed: exactly one of both is not
 * NULL. */
typedef void th_broker_fn(struct th_broker_waiter *waiter, struct th_credential *credential,
                          struct th_refusal *refusal);

struct th_trace;
struct th_broker_party;
/* Embedded in who waits, zeroed before; only `fn` is set. Its worker's thread alone touches it. */
struct th_broker_waiter {
    struct th_list link;           /* with those of its worker that wait for the same exchange */
    struct th_broker_party *party; /* these */
    struct th_broker_desk *desk;
    th_broker_fn *fn;
    struct th_account
        *accounts[TH_ACCOUNT_KINDS]; /* among whose waiting ones it is; NULL: none's */
    bool waiting;
};

/* Whose the exchange would be: asked for only where the cache has no answer. `arg` of the request. */
typedef void th_broker_shares_fn(void *arg, struct th_account_share ret_shares[TH_ACCOUNT_KINDS]);

struct th_broker_request {
    struct th_config *config;
    const struct th_config_agent *agent;
    const struct th_config_connection *connection;
    struct th_str subject_token; /* borrowed during the call */
    struct th_cache_key key;
    const struct th_trace *trace; /* of the request, for the spans of an exchange; NULL: none */
    th_broker_shares_fn *shares;  /* NULL: nobody's */
    void *shares_arg;
};

struct th_broker_options {
    uint64_t max_entries;
    uint64_t max_bytes; /* credentials, keys and entries together */
    int64_t margin_ms;
    int64_t max_lifetime_ms;
    uint64_t max_waiting; /* waiters in all, and exchanges in all; beyond: TH_E_EXCHANGE_QUEUE */
    const struct th_clock *clock;
};

int th_broker_new(const struct th_broker_options *options, struct th_broker **ret_broker) TH_MUST;
struct th_broker *th_broker_free(struct th_broker *broker); /* after all desks */

/* How a desk runs plans: the real one is the exchanger's; tests script it. Same meaning as
 * th_exchange_start/revoke/cancel. */
struct th_exchange_ops {
    int (*start)(void *exchanger, const struct th_exchange_request *request, th_exchange_fn *fn,
                 void *arg, struct th_exchange **ret_exchange, struct th_errinfo *reterr);
    int (*revoke)(void *exchanger, const struct th_exchange_request *request, th_exchange_fn *fn,
                  void *arg, struct th_exchange **ret_exchange, struct th_errinfo *reterr);
    void (*cancel)(struct th_exchange *exchange);
};
extern const struct th_exchange_ops th_exchange_ops_real;

int th_broker_desk_new(struct th_broker *broker, struct th_worker *worker,
                       const struct th_exchange_ops *ops, void *exchanger,
                       struct th_broker_desk **ret_desk) TH_MUST;
/* On the worker's thread or after it has stopped: ends its exchanges (their waiters elsewhere get
 * EXCHANGE_DOWN); its own waiters are unlinked and not told. A worker may be freed only after
 * every desk is, as another's exchange may be about to post to it. */
struct th_broker_desk *th_broker_desk_free(struct th_broker_desk *desk);

/* The scope half of a key; made once per connection and agent of a snapshot. */
void th_broker_scope(const struct th_config_agent *agent,
                     const struct th_config_connection *connection, uint8_t ret_scope[16]);
/* SHA-256; fast for the short inputs of a hot path. */
void th_broker_digest(struct th_str subject_token, uint8_t ret_digest[32]);

/* 0: *ret_credential is a new reference, *ret_state HIT or REFRESHED.
 * TH_AGAIN: waiter->fn will be called on this worker, never from inside; *ret_state MISS or JOINED.
 * Else the error; *ret_refusal (a new reference, may be NULL) says more; *ret_state NEGATIVE or
 * MISS: TH_E_CALLER_LIMIT at a limit of one of its shares. `deadline_ms` bounds the exchange if
 * this request starts one. */
int th_broker_get(struct th_broker_desk *desk, const struct th_broker_request *request,
                  int64_t deadline_ms, struct th_broker_waiter *waiter,
                  struct th_credential **ret_credential, enum th_cache_state *ret_state,
                  struct th_refusal **ret_refusal) TH_MUST;
/* The waiter goes: its function is not called any more. Not waiting is fine. */
void th_broker_leave(struct th_broker_waiter *waiter);

/* The destination did not accept it (401): drops the entry, if it still holds this very
 * credential. True when the caller may ask once more. False when this one is itself the
 * replacement of one that was rejected a few seconds ago: then a new one does not help, and it
 * stays, so that a destination which always answers 401 costs one exchange in these seconds, not
 * one a request. */
bool th_broker_reject(struct th_broker_desk *desk, const struct th_cache_key *key,
                      const struct th_credential *credential);

/* Drops every entry whose scope half is the one given (a connection that changed), or all (NULL).
 * Returns how many. An exchange in flight goes on for its waiters, and fills nothing. Any
 * thread. */
size_t th_broker_purge(struct th_broker *broker, const uint8_t *scope);

/* Which entries. What is empty or NULL is not asked; so all zero is every entry. Names are those of
 * the broker's current directory. */
struct th_broker_filter {
    struct th_str connection;
    struct th_str agent;
    struct th_str subject; /* fingerprint of the subject token as the logs have it, 12 digits */
    const uint8_t *digest; /* of the subject token: th_broker_digest() */
};

/* What was dropped: to be revoked (th_revoker_start() of revoker.h) or given back. */
struct th_dropped {
    struct th_list entries;
    size_t n;                       /* of these */
    size_t n_lost;                  /* dropped too, but memory was short to hold them here */
    struct th_directory *directory; /* counted; NULL: the broker had none */
};
void th_dropped_fini(struct th_dropped *dropped); /* gives back what is in it */

/* Drops what the filter says, with what the entries serve while they are renewed, and remembered
 * refusals. Returns how many. An exchange in flight goes on for its waiters, and fills nothing. Never
 * fails and holds no lock for long. `ret_dropped`: what went, to be emptied by the caller; NULL: given
 * back. Any thread. */
size_t th_broker_drop(struct th_broker *broker, const struct th_broker_filter *filter,
                      struct th_dropped *ret_dropped);

/* The directory of the configuration that is in force from now on: before the first request, and on
 * every reload before the workers are told. Drops the entries that have no place in it: those of
 * connections that were removed or changed, and of agents that may use one no more; and the refusals
 * that another configuration may mend (our own client was refused). What an exchange for such a key
 * brings later is not kept. Takes a reference of its own. `ret_dropped` as above; it names them by the
 * directory before. Any thread, but one at a time. */
size_t th_broker_set_directory(struct th_broker *broker, struct th_directory *directory,
                               struct th_dropped *ret_dropped);

/* An entry, for people. Borrowed for the call that shows it. No token is in it. */
struct th_broker_listed {
    const struct th_config_agent *agent;           /* these two NULL: of a configuration before */
    const struct th_config_connection *connection; /* its scopes: connection->scope_text */
    char subject[TH_FINGERPRINT_LEN + 1];
    const char *state;     /* "pending", "ready", "refreshing", "failed" */
    int64_t expires_in_ms; /* of the credential; -1: there is none */
    int64_t renewed_in_ms; /* if it is in use then; -1: not */
    int64_t again_in_ms;   /* failed: until when the refusal is the answer; else -1 */
    int error;             /* failed: TH_E_* of the refusal; else 0 */
    bool is_renewed;       /* it was got ahead of the end of one before */
    bool is_revocable;
    size_t bytes;
};
/* Returns whether to go on. */
typedef bool th_broker_list_fn(void *arg, const struct th_broker_listed *listed);
/* Shows the entries that the filter says, `max` at most, in no order, and returns how many. Each once,
 * but for those that come, go or change meanwhile. `fn` is called with no lock held. Any thread. */
size_t th_broker_list(struct th_broker *broker, const struct th_broker_filter *filter, size_t max,
                      th_broker_list_fn *fn, void *arg);

struct th_broker_figures {
    uint64_t entries; /* kept: credentials and remembered refusals */
    uint64_t bytes;   /* of these */
    uint64_t pending; /* exchanges in flight */
    uint64_t waiting;
    uint64_t lost; /* messages to workers whose mailbox was full, since start */
};
void th_broker_count(const struct th_broker *broker, struct th_broker_figures *ret_figures);
/* Who has how much of it in use. The broker's. */
struct th_accounts *th_broker_accounts(struct th_broker *broker);
/* What is answered at a limit of an account; its detail says which. NULL without memory. */
struct th_refusal *th_broker_limited(const struct th_account *account, enum th_account_bound bound,
                                     int64_t retry_after_ms) TH_MUST;
/* How many exchanges authorization servers have granted, and to whom how many. The broker's. */
struct th_quotas *th_broker_quotas(struct th_broker *broker);

#endif
