/* The cache: what is known of each key, in shards, each with its own lock, table and lists. It
 * holds the entries and their states and keeps them within bounds; what is to be done about a
 * state is the broker's affair.
 *
 *                       .----------------------------------------------.
 *                       v            expired, rejected                 |
 *     [absent] --> [pending] --> [ready] --> [refreshing] ------------>'
 *                    ^   |          ^            |
 *                    |   v          '------------|   renewed, or failed without a refusal
 *                  [failed] <--------------------'   refused
 *
 *     from \ to     pending       ready         refreshing   failed       absent
 *     absent        a miss
 *     pending                     kept                       remembered   not kept, not remembered
 *     ready         expired                     due          rejected     expired, evicted, purged
 *     refreshing    expired,      renewed, or                refused      refused, not remembered;
 *                   rejected,     failed without                          renewed, not kept
 *                   purged        a refusal
 *     failed        asked again                                           forgotten, evicted,
 *                                                                         purged
 *
 * An entry whose exchange runs (pending, refreshing) never leaves, so that its flight may point
 * to it; the broker bounds their number. Eviction is CLOCK: a hit sets one bit, and only who
 * looks for room moves entries about. Refusals go first, and are a small part at most: who can
 * make up subject tokens must not crowd out the credentials of others.
 *
 * Functions that take a shard want it locked. Under a lock nothing is freed that could take
 * another lock: what goes is gathered in a struct th_cache_waste, emptied after unlocking. */
#ifndef TOKENHOP_SRC_TOKEN_CACHE_H
#define TOKENHOP_SRC_TOKEN_CACHE_H

#include <pthread.h>
#include <stdatomic.h>

#include "tokenhop/base/hash.h"
#include "tokenhop/base/list.h"
#include "tokenhop/token/broker.h"

#define TH_CACHE_SHARDS 64

struct th_flight; /* flight.h */

/*      symbol      name */
#define TH_ENTRY_STATES(X)                                                                         \
    X(ABSENT, "absent")                                                                            \
    X(PENDING, "pending")       /* an exchange runs, nothing is to be had before it ends */        \
    X(READY, "ready")           /* served */                                                       \
    X(REFRESHING, "refreshing") /* served, and an exchange runs */                                 \
    X(FAILED, "failed")         /* answered with a refusal for a while; or rejected (below) */

enum th_entry_state {
#define X(symbol, name) TH_ENTRY_##symbol,
    TH_ENTRY_STATES(X)
#undef X
        TH_ENTRY_STATE_COUNT
};

/* What is remembered of what went wrong with a key. FAILED has one, the other states may. */
struct th_setback {
    struct th_refusal *refusal; /* FAILED: the answer until again_ms; NULL after a rejection, which
                                   lets the next exchange begin at once */
    int64_t again_ms;           /* no exchange before */
    int64_t forget_ms;          /* all of this may be forgotten */
    int64_t pause_ms;           /* the last pause; the next failure doubles it */
    int64_t rejected_ms;        /* when the destination's 401 dropped a credential; 0: never */
    struct th_credential *rejected; /* that one, if it is to be revoked before the next exchange */
};
struct th_setback *th_setback_free(struct th_setback *setback); /* NULL is fine */

/* Two rejections of one key within this are the destination's doing, not the credential's. */
#define TH_REJECTED_MS 5000
static inline bool th_setback_was_rejected(const struct th_setback *setback, int64_t now_ms)
{
    return setback->rejected_ms != 0 && now_ms - setback->rejected_ms < TH_REJECTED_MS;
}

/* One a key. 104 bytes, the most that malloc serves from 112: there may be 100,000. What a hit
 * touches stands together. */
struct th_cache_entry {
    struct th_hash_node node;
    struct th_cache_key key;
    struct th_credential *credential; /* READY, REFRESHING */
    union {
        struct th_flight *flight;   /* PENDING, REFRESHING */
        struct th_setback *setback; /* READY (may be NULL), FAILED */
    } of;
    uint8_t state;
    bool touched;        /* since eviction last came by */
    bool purged;         /* PENDING: what the exchange brings is not kept */
    struct th_list link; /* on the shard's list of its state, or on a waste's entries */
};
_Static_assert(sizeof(struct th_cache_entry) <= 104, "fits a chunk of 112");

struct th_cache_shard {
    pthread_mutex_t lock;
    struct th_hash_table table;
    struct th_list
        states[TH_ENTRY_STATE_COUNT]; /* entries by state, the newest at the back; READY is
                                                    the CLOCK: looked at from the front */
    struct th_list *sweep; /* the next of READY that the sweeper looks at; NULL: from the start */
    size_t n_failed;
    struct th_cache *cache;
};

struct th_cache {
    struct th_cache_shard *shards; /* TH_CACHE_SHARDS, aligned to cache lines */
    struct th_hash_key hash_key;
    uint64_t max_entries;
    uint64_t max_bytes;
    size_t max_failed;               /* of a shard: refusals never crowd out credentials */
    atomic_uint_least64_t n_entries; /* that are kept: ready, refreshing, failed */
    atomic_uint_least64_t n_bytes;   /* of these */
    atomic_uint room_hand;           /* the shard where room is made next */
    atomic_uint sweep_hand;
};

struct th_cache_waste {
    struct th_list entries; /* ABSENT, with all they still hold */
    struct th_credential *credential;
    struct th_setback *setback;
};

int th_cache_init(struct th_cache *cache, uint64_t max_entries, uint64_t max_bytes) TH_MUST;
/* No entry may be pending or refreshing. A zeroed cache is fine. */
void th_cache_fini(struct th_cache *cache);

void th_cache_waste_init(struct th_cache_waste *waste);
void th_cache_waste_empty(struct th_cache_waste *waste); /* no lock held */

uint64_t th_cache_hash(const struct th_cache *cache, const struct th_cache_key *key);
static inline struct th_cache_shard *th_cache_shard(const struct th_cache *cache, uint64_t hash)
{
    /* The table's bucket is chosen by the low bits. */
    return &cache->shards[hash >> 58];
}
_Static_assert(TH_CACHE_SHARDS == 1u << (64 - 58), "the shift gives the shard");

struct th_cache_entry *th_cache_find(const struct th_cache_shard *shard, uint64_t hash,
                                     const struct th_cache_key *key);

/* What an entry holds in the state that it moves to. */
struct th_cache_holding {
    struct th_credential *credential; /* its reference goes to the entry */
    struct th_flight *flight;         /* PENDING, REFRESHING; borrowed */
    struct th_setback *setback;       /* READY, FAILED: goes to the entry; PENDING, REFRESHING: the
                                         one that was taken from it to be kept with the flight */
};

/* Puts a zeroed, absent entry into the table as PENDING. TH_E_NOMEM: nothing has changed. */
int th_cache_add(struct th_cache_shard *shard, struct th_cache_entry *entry, uint64_t hash,
                 const struct th_cache_key *key, struct th_flight *flight) TH_MUST;
/* The only place where a state changes: checks the move against the table, puts the entry on the
 * list of its new state and charges it. What it held and no longer does becomes waste, but for a
 * flight. With ABSENT the entry itself is waste. */
void th_cache_move(struct th_cache_shard *shard, struct th_cache_entry *entry,
                   enum th_entry_state state, const struct th_cache_holding *holding,
                   struct th_cache_waste *waste);
bool th_entry_may_move(enum th_entry_state from, enum th_entry_state to);
const char *th_entry_state_name(enum th_entry_state state);

/* Bytes that an entry is charged with: its own, the credential's with the secret, the setback's. */
size_t th_cache_cost(const struct th_cache_entry *entry);

/* No lock held for these three. */
/* Evicts until the bounds hold again, after something was kept in `shard`. Returns how many. */
size_t th_cache_make_room(struct th_cache *cache, struct th_cache_shard *shard);
/* Drops what has ended in the next `n_shards` shards, at most `max` credentials looked at in
 * each. */
size_t th_cache_sweep(struct th_cache *cache, int64_t now_ms, unsigned n_shards, unsigned max);

/* cache_walk.c; no lock held. */

/* A way through all entries, a step at a time, so that no lock is held for long. Zeroed, it is at the
 * beginning. What is there all the time is met once (see hash.h). */
struct th_cache_walk {
    unsigned shard; /* TH_CACHE_SHARDS: at the end */
    uint64_t cursor;
};
#define TH_CACHE_STEP 64 /* entries under one lock */

/* Under the lock of the shard. May move the entry it is given. False: no more in this step, and the
 * entry is met again. */
typedef bool th_cache_meet_fn(void *arg, struct th_cache_shard *shard,
                              struct th_cache_entry *entry);
/* One step: TH_CACHE_STEP entries at most, unless one bucket alone holds more. False at the end. */
bool th_cache_step(struct th_cache *cache, struct th_cache_walk *walk, th_cache_meet_fn *fn,
                   void *arg);

/* Under the lock of its shard. */
typedef bool th_cache_match_fn(void *arg, const struct th_cache_entry *entry);
/* Drops the entries that match; of those whose exchange runs what they serve, and what the exchange
 * will bring. Returns how many went. `ret_dropped`: the list that they are put on, ABSENT, with all
 * they still hold; NULL: they are given back. `ret_lost`: of those which memory was too short to be
 * put there. */
size_t th_cache_drop(struct th_cache *cache, th_cache_match_fn *match, void *arg,
                     struct th_list *ret_dropped, size_t *ret_lost);
/* Drops the entries of one scope, or all (NULL). */
size_t th_cache_purge(struct th_cache *cache, const uint8_t *scope);

#endif
