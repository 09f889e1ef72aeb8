/* What the files of the broker share.
 *
 *   broker    one a process: the cache and the counts
 *   desk      one a worker: its flights and parties
 *   flight    one exchange under way: made by the first asker, ended on its desk's worker
 *   party     those of one desk who wait for one flight
 *
 *     entry <----> flight ---- parties: [party of worker 0] [party of worker 2] ...
 *                    |                     |                   |
 *              desk of worker 0        waiter, waiter      waiter
 *
 * Threads. A waiter's links are its worker's alone, as is the list of a desk's flights and
 * parties: no lock. A party hangs on its flight, and a flight on its entry, under the lock of
 * their shard. When a flight ends, the parties are taken off it one by one; the one of the same
 * desk is told directly, each other with one message to its worker, however many wait there. The
 * message carries the party's handle and one counted outcome. A party that nobody waits in any
 * more goes at once, and the message finds nothing.
 *
 * Locks. A shard's lock is a leaf, and so is that of the directory; no two are held at once.
 * Exchanges are started and cancelled, messages posted, waiters told and memory given back without
 * any. */
#ifndef TOKENHOP_SRC_TOKEN_BROKER_PRIVATE_H
#define TOKENHOP_SRC_TOKEN_BROKER_PRIVATE_H

#include "cache.h"
#include "refusal.h"
#include "tokenhop/oauth/plan.h"
#include "tokenhop/observe/metrics.h"
#include "tokenhop/token/broker.h"

struct th_broker {
    struct th_cache cache;
    int64_t margin_ms;
    int64_t max_lifetime_ms;
    uint64_t max_waiting;
    const struct th_clock *clock;
    struct th_refusal
        *no_memory;             /* made beforehand: for those who must be told when there is none */
    struct th_refusal *stopped; /* likewise */
    struct th_quotas *quotas;
    struct th_accounts *accounts;
    pthread_mutex_t directory_lock;
    struct th_directory
        *directory; /* counted; of the configuration in force; NULL before there is one */
    atomic_uint n_desks;
    atomic_uint_least64_t n_waiting;
    atomic_uint_least64_t n_flights;
    atomic_uint_least64_t n_lost; /* messages that found a full mailbox */
    atomic_int_least64_t entries_published,
        bytes_published; /* what the gauges show, over all desks */
};

struct th_broker_desk {
    struct th_broker *broker;
    struct th_worker *worker;
    const struct th_exchange_ops *ops;
    void *exchanger;
    struct th_list flights;
    struct th_list parties;
    struct th_timer tick; /* sweeps the cache and publishes the gauges, while there is something */
};

/* At which limit; nothing is allocated where it is found out. */
struct th_share_refused {
    struct th_account *account; /* NULL: at none */
    enum th_account_bound bound;
    int64_t retry_after_ms; /* -1: not known */
};

struct th_flight {
    struct th_list link; /* desk->flights */
    struct th_broker_desk *desk;
    struct th_cache_shard *shard;
    struct th_cache_entry *entry; /* cannot leave before the flight has ended */
    struct th_list parties;       /* under the shard's lock */
    struct th_setback *setback;   /* the entry's, owned meanwhile; under the shard's lock */
    struct th_exchange *exchange; /* NULL: not started */
    int64_t started_us;
    struct th_account *accounts[TH_ACCOUNT_KINDS]; /* among whose exchanges it is; NULL: none's */
    struct th_config *config; /* counted: it holds `inject`; NULL in tests without one */
    const struct th_config_inject *inject; /* of the connection; NULL: a bearer token */
    const struct th_plan *plan;            /* of the connection; NULL in tests without one */
    bool is_renewal;                       /* of a credential that is served meanwhile */
    char connection[64]; /* for the log: the configuration may be gone when it ends */
};

struct th_broker_party {
    struct th_list link; /* flight->parties, under the shard's lock; unlinked once it was told */
    struct th_list desk_link; /* desk->parties */
    struct th_broker_desk *desk;
    struct th_cache_shard *shard;
    uint64_t handle; /* of the desk's worker */
    struct th_list waiters;
};

/* broker_drop.c: the directory in force, a new reference; may be NULL. */
struct th_directory *th_broker_directory(struct th_broker *broker);

/* shares.c: all of them, or none. False: *ret_refusal says at which limit (NULL without memory). */
bool th_shares_take_waiting(struct th_broker *broker, const struct th_account_share *shares,
                            struct th_account *ret_accounts[TH_ACCOUNT_KINDS],
                            struct th_share_refused *ret_refused);
bool th_shares_take_exchange(struct th_broker *broker, const struct th_account_share *shares,
                             int64_t now_ms, struct th_account *ret_accounts[TH_ACCOUNT_KINDS],
                             struct th_share_refused *ret_refused);
void th_shares_give_waiting(struct th_account *accounts[TH_ACCOUNT_KINDS]);
void th_shares_give_exchange(struct th_account *accounts[TH_ACCOUNT_KINDS]);
/* Likewise of one that was not started after all: it costs nothing of a rate either. */
void th_shares_undo_exchange(const struct th_account_share *shares,
                             struct th_account *accounts[TH_ACCOUNT_KINDS]);

/* desk.c */
void th_desk_wake_tick(
    struct th_broker_desk *desk); /* there is something in the cache, or will be */

/* flight.c */
struct th_flight *th_flight_new(struct th_broker_desk *desk) TH_MUST;
struct th_flight *th_flight_free(struct th_flight *flight); /* that no entry knows; NULL is fine */
/* Starts the exchange. When it cannot be: the error, *ret_refusal may be NULL, and the flight has
 * ended, but that `waiter`, who asked for it (or NULL), is not told, and nothing is remembered. */
int th_flight_start(struct th_flight *flight, const struct th_broker_request *request,
                    int64_t deadline_ms, struct th_broker_waiter *waiter,
                    struct th_refusal **ret_refusal) TH_MUST;
/* The desk goes: cancels the exchange, and whoever waits elsewhere is told. */
void th_flight_abandon(struct th_flight *flight);

/* party.c */
struct th_broker_party *th_party_new(struct th_broker_desk *desk,
                                     struct th_cache_shard *shard) TH_MUST;
/* That hangs on no flight, or not any more. NULL is fine. */
struct th_broker_party *th_party_free(struct th_broker_party *party);
struct th_broker_party *th_party_find(const struct th_flight *flight,
                                      const struct th_broker_desk *desk);
void th_party_add(struct th_broker_party *party, struct th_broker_waiter *waiter);
/* On the party's worker; the party is gone afterwards. */
void th_party_deliver(struct th_broker_party *party, struct th_credential *credential,
                      struct th_refusal *refusal);
/* From another worker: `mailbox` and `handle` are the party's. */
void th_party_post(struct th_broker *broker, struct th_mailbox *mailbox, uint64_t handle,
                   struct th_credential *credential, struct th_refusal *refusal);
/* The desk goes: its waiters are not told any more. */
void th_party_dissolve(struct th_broker_party *party);

#endif
