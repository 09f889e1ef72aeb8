#include "cache.h"

#include <string.h>

#include "tokenhop/base/mem.h"
#include "tokenhop/base/random.h"

/* Of a shard's entries, one in so many may be a refusal. */
#define FAILED_SHARE 8
/* How many entries a search for room looks at under one lock. */
#define ROOM_STEPS 32
/* What malloc and the table add to an entry, a credential, a setback. */
#define ENTRY_COST (sizeof(struct th_cache_entry) + 8 + 2 * sizeof(void *))
#define CREDENTIAL_COST (sizeof(struct th_credential) + 16)
#define SETBACK_COST (sizeof(struct th_setback) + 8)
#define REFUSAL_COST (sizeof(struct th_refusal) + 16)

#define ALLOW(state) (1u << TH_ENTRY_##state)

static const struct {
    const char *name;
    unsigned next; /* bits of the states that may follow */
} states[TH_ENTRY_STATE_COUNT] = {
    [TH_ENTRY_ABSENT] = {"absent", ALLOW(PENDING)},
    [TH_ENTRY_PENDING] = {"pending", ALLOW(READY) | ALLOW(FAILED) | ALLOW(ABSENT)},
    [TH_ENTRY_READY] = {"ready",
                        ALLOW(PENDING) | ALLOW(REFRESHING) | ALLOW(FAILED) | ALLOW(ABSENT)},
    [TH_ENTRY_REFRESHING] = {"refreshing",
                             ALLOW(PENDING) | ALLOW(READY) | ALLOW(FAILED) | ALLOW(ABSENT)},
    [TH_ENTRY_FAILED] = {"failed", ALLOW(PENDING) | ALLOW(ABSENT)},
};

bool th_entry_may_move(enum th_entry_state from, enum th_entry_state to)
{
    return (states[from].next & 1u << to) != 0;
}

const char *th_entry_state_name(enum th_entry_state state)
{
    return states[state].name;
}

static bool is_serving(enum th_entry_state state)
{
    return state == TH_ENTRY_READY || state == TH_ENTRY_REFRESHING;
}

static bool is_flying(enum th_entry_state state)
{
    return state == TH_ENTRY_PENDING || state == TH_ENTRY_REFRESHING;
}

static bool is_kept(enum th_entry_state state)
{
    return state != TH_ENTRY_ABSENT && state != TH_ENTRY_PENDING;
}

struct th_setback *th_setback_free(struct th_setback *setback)
{
    if (setback != NULL) {
        th_refusal_unref(setback->refusal);
        th_credential_unref(setback->rejected);
        th_free(setback);
    }
    return NULL;
}

static void shard_init(struct th_cache_shard *shard, struct th_cache *cache)
{
    TH_REQUIRE(pthread_mutex_init(&shard->lock, NULL) == 0);
    th_hash_table_init(&shard->table);
    for (int i = 0; i < TH_ENTRY_STATE_COUNT; i++)
        th_list_init(&shard->states[i]);
    shard->cache = cache;
}

int th_cache_init(struct th_cache *cache, uint64_t max_entries, uint64_t max_bytes)
{
    *cache = (struct th_cache){.max_entries = max_entries, .max_bytes = max_bytes};
    cache->max_failed = (size_t)(max_entries / FAILED_SHARE / TH_CACHE_SHARDS) + 1;
    th_random_bytes(&cache->hash_key, sizeof cache->hash_key);
    cache->shards = th_calloc_aligned(64, TH_CACHE_SHARDS, sizeof *cache->shards);
    if (cache->shards == NULL)
        return TH_E_NOMEM;
    for (unsigned i = 0; i < TH_CACHE_SHARDS; i++)
        shard_init(&cache->shards[i], cache);
    return 0;
}

void th_cache_fini(struct th_cache *cache)
{
    if (cache->shards == NULL)
        return;
    (void)th_cache_purge(cache, NULL);
    for (unsigned i = 0; i < TH_CACHE_SHARDS; i++) {
        struct th_cache_shard *shard = &cache->shards[i];
        TH_REQUIRE(shard->table.n_items == 0);
        th_hash_table_fini(&shard->table);
        pthread_mutex_destroy(&shard->lock);
    }
    th_free(cache->shards);
    cache->shards = NULL;
}

void th_cache_waste_init(struct th_cache_waste *waste)
{
    *waste = (struct th_cache_waste){0};
    th_list_init(&waste->entries);
}

static void entry_free(struct th_cache_entry *entry)
{
    th_credential_unref(entry->credential);
    th_setback_free(entry->of.setback);
    th_free(entry);
}

void th_cache_waste_empty(struct th_cache_waste *waste)
{
    for (struct th_list *item; (item = th_list_pop_front(&waste->entries)) != NULL;)
        entry_free(TH_LIST_ENTRY(item, struct th_cache_entry, link));
    waste->credential = th_credential_unref(waste->credential);
    waste->setback = th_setback_free(waste->setback);
}

uint64_t th_cache_hash(const struct th_cache *cache, const struct th_cache_key *key)
{
    /* Keyed: subject tokens whose digests begin alike can be found by trying. */
    return th_hash_bytes(&cache->hash_key, key, sizeof *key);
}
_Static_assert(sizeof(struct th_cache_key) == 48, "no padding, so that its bytes can be hashed");

static bool entry_matches(const struct th_hash_node *node, const void *key)
{
    return memcmp(&TH_CONTAINER_OF(node, struct th_cache_entry, node)->key, key,
                  sizeof(struct th_cache_key)) == 0;
}

struct th_cache_entry *th_cache_find(const struct th_cache_shard *shard, uint64_t hash,
                                     const struct th_cache_key *key)
{
    struct th_hash_node *node = th_hash_table_find(&shard->table, hash, entry_matches, key);
    return node != NULL ? TH_CONTAINER_OF(node, struct th_cache_entry, node) : NULL;
}

static size_t delegation_cost(const struct th_delegation *delegation)
{
    return delegation != NULL ? delegation->size + 16 : 0;
}

static size_t setback_cost(const struct th_setback *setback)
{
    if (setback == NULL)
        return 0;
    if (setback->refusal == NULL)
        return SETBACK_COST;
    return SETBACK_COST + REFUSAL_COST + delegation_cost(setback->refusal->delegation);
}

static size_t secret_cost(const struct th_secret *secret)
{
    return (th_secret_len(secret) + 9 + 31) & ~(size_t)31; /* header, NUL, and the slot's step */
}

size_t th_cache_cost(const struct th_cache_entry *entry)
{
    if (!is_kept(entry->state))
        return 0;
    size_t cost = ENTRY_COST;
    if (is_serving(entry->state))
        cost += CREDENTIAL_COST + secret_cost(entry->credential->value) +
                delegation_cost(entry->credential->delegation);
    if (!is_flying(entry->state))
        cost += setback_cost(entry->of.setback);
    return cost;
}

static void charge(struct th_cache *cache, const struct th_cache_entry *entry)
{
    if (!is_kept(entry->state))
        return;
    atomic_fetch_add_explicit(&cache->n_entries, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&cache->n_bytes, th_cache_cost(entry), memory_order_relaxed);
}

static void discharge(struct th_cache *cache, const struct th_cache_entry *entry)
{
    if (!is_kept(entry->state))
        return;
    atomic_fetch_sub_explicit(&cache->n_entries, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&cache->n_bytes, th_cache_cost(entry), memory_order_relaxed);
}

static void list_leave(struct th_cache_shard *shard, struct th_cache_entry *entry)
{
    if (shard->sweep == &entry->link)
        shard->sweep = entry->link.next;
    if (entry->state == TH_ENTRY_FAILED)
        shard->n_failed--;
    th_list_remove(&entry->link);
}

static void list_join(struct th_cache_shard *shard, struct th_cache_entry *entry)
{
    if (entry->state == TH_ENTRY_FAILED)
        shard->n_failed++;
    th_list_push_back(&shard->states[entry->state], &entry->link);
}

int th_cache_add(struct th_cache_shard *shard, struct th_cache_entry *entry, uint64_t hash,
                 const struct th_cache_key *key, struct th_flight *flight)
{
    TH_ASSERT(th_entry_may_move(entry->state, TH_ENTRY_PENDING));
    int error = th_hash_table_insert(&shard->table, &entry->node, hash);
    if (error != 0)
        return error;
    entry->key = *key;
    entry->state = TH_ENTRY_PENDING;
    entry->of.flight = flight;
    list_join(shard, entry);
    return 0;
}

static void waste_credential(struct th_cache_waste *waste, struct th_credential *credential)
{
    TH_REQUIRE(waste->credential == NULL || credential == NULL);
    if (credential != NULL)
        waste->credential = credential;
}

static void waste_setback(struct th_cache_waste *waste, struct th_setback *setback)
{
    TH_REQUIRE(waste->setback == NULL || setback == NULL);
    if (setback != NULL)
        waste->setback = setback;
}

/* Exchanges what the entry holds for what it shall hold. */
static void hold(struct th_cache_entry *entry, enum th_entry_state state,
                 const struct th_cache_holding *holding, struct th_cache_waste *waste)
{
    if (entry->credential != holding->credential)
        waste_credential(waste, entry->credential);
    if (!is_flying(entry->state) && entry->of.setback != holding->setback)
        waste_setback(waste, entry->of.setback);
    entry->credential = holding->credential;
    if (is_flying(state))
        entry->of.flight = holding->flight;
    else
        entry->of.setback = holding->setback;
    TH_ASSERT(is_serving(state) == (entry->credential != NULL));
    TH_ASSERT(!is_flying(state) || entry->of.flight != NULL);
    TH_ASSERT(state != TH_ENTRY_FAILED || entry->of.setback != NULL);
}

static void entry_leave(struct th_cache_shard *shard, struct th_cache_entry *entry,
                        struct th_cache_waste *waste)
{
    /* A flight that ends has left, and is its desk's. */
    if (is_flying(entry->state))
        entry->of.setback = NULL;
    entry->state = TH_ENTRY_ABSENT;
    th_hash_table_remove(&shard->table, &entry->node);
    th_list_push_back(&waste->entries, &entry->link);
}

static struct th_cache_entry *oldest(struct th_cache_shard *shard, enum th_entry_state state)
{
    struct th_list *list = &shard->states[state];
    return th_list_is_empty(list) ? NULL : TH_LIST_ENTRY(list->next, struct th_cache_entry, link);
}

void th_cache_move(struct th_cache_shard *shard, struct th_cache_entry *entry,
                   enum th_entry_state state, const struct th_cache_holding *holding,
                   struct th_cache_waste *waste)
{
    TH_REQUIRE(th_entry_may_move(entry->state, state));
    discharge(shard->cache, entry);
    list_leave(shard, entry);
    if (state == TH_ENTRY_ABSENT) {
        entry_leave(shard, entry, waste);
        return;
    }
    hold(entry, state, holding, waste);
    /* A new one must be asked for a second time to count as used, else a flood of tokens that come
     * once would sweep out those in use. */
    entry->touched = entry->state == TH_ENTRY_REFRESHING;
    entry->state = (uint8_t)state;
    entry->purged = entry->purged && state == TH_ENTRY_PENDING;
    list_join(shard, entry);
    charge(shard->cache, entry);
    if (shard->n_failed > shard->cache->max_failed)
        th_cache_move(shard, oldest(shard, TH_ENTRY_FAILED), TH_ENTRY_ABSENT, NULL, waste);
}

static bool is_over(const struct th_cache *cache)
{
    return atomic_load_explicit(&cache->n_entries, memory_order_relaxed) > cache->max_entries ||
           atomic_load_explicit(&cache->n_bytes, memory_order_relaxed) > cache->max_bytes;
}

enum mode {
    SPARE_NEWEST, /* where the one is that room is made for */
    ANY,
    ANY_USED /* also one that was used since eviction last came by */
};

static bool is_single(const struct th_list *list)
{
    return list->next == list->prev;
}

/* The first credential not used since eviction came by; each is looked at once at most. */
static struct th_cache_entry *find_unused(struct th_cache_shard *shard, enum mode mode)
{
    const struct th_list *newest = shard->states[TH_ENTRY_READY].prev;
    for (int i = 0; i < ROOM_STEPS; i++) {
        struct th_cache_entry *entry = oldest(shard, TH_ENTRY_READY);
        bool is_newest = entry == NULL || &entry->link == newest;
        if (is_newest && mode == SPARE_NEWEST)
            return NULL;
        if (entry == NULL || !entry->touched || mode == ANY_USED)
            return entry;
        entry->touched = false;
        list_leave(shard, entry);
        list_join(shard, entry);
        if (is_newest)
            return NULL;
    }
    return NULL;
}

static struct th_cache_entry *find_victim(struct th_cache_shard *shard, enum mode mode)
{
    if (mode != SPARE_NEWEST || !is_single(&shard->states[TH_ENTRY_FAILED])) {
        struct th_cache_entry *entry = oldest(shard, TH_ENTRY_FAILED);
        if (entry != NULL)
            return entry;
    }
    return find_unused(shard, mode);
}

static bool evict_one(struct th_cache_shard *shard, enum mode mode)
{
    struct th_cache_waste waste;
    th_cache_waste_init(&waste);
    pthread_mutex_lock(&shard->lock);
    struct th_cache_entry *victim = find_victim(shard, mode);
    if (victim != NULL)
        th_cache_move(shard, victim, TH_ENTRY_ABSENT, NULL, &waste);
    pthread_mutex_unlock(&shard->lock);
    th_cache_waste_empty(&waste);
    return victim != NULL;
}

static struct th_cache_shard *next_shard(struct th_cache *cache, atomic_uint *hand)
{
    unsigned at = atomic_fetch_add_explicit(hand, 1, memory_order_relaxed);
    return &cache->shards[at % TH_CACHE_SHARDS];
}

size_t th_cache_make_room(struct th_cache *cache, struct th_cache_shard *shard)
{
    size_t n_evicted = 0;
    /* In the shard that has grown, so that each keeps its share. */
    while (is_over(cache) && evict_one(shard, SPARE_NEWEST))
        n_evicted++;
    /* After a round without a victim every bit has been cleared, or others are setting them as
     * fast; after a second one all that is left elsewhere has its exchange running. */
    for (unsigned fruitless = 0; fruitless < 2 * TH_CACHE_SHARDS && is_over(cache);) {
        struct th_cache_shard *other = next_shard(cache, &cache->room_hand);
        enum mode mode = fruitless < TH_CACHE_SHARDS ? ANY : ANY_USED;
        bool found = evict_one(other, other == shard ? SPARE_NEWEST : mode);
        fruitless = found ? 0 : fruitless + 1;
        n_evicted += found;
    }
    while (is_over(cache) && evict_one(shard, ANY_USED))
        n_evicted++;
    return n_evicted;
}

static size_t sweep_ready(struct th_cache_shard *shard, int64_t now_ms, unsigned max,
                          struct th_cache_waste *waste)
{
    struct th_list *head = &shard->states[TH_ENTRY_READY];
    size_t n_dropped = 0;
    if (shard->sweep == NULL || shard->sweep == head)
        shard->sweep = head->next;
    for (unsigned i = 0; i < max && shard->sweep != head; i++) {
        struct th_cache_entry *entry = TH_LIST_ENTRY(shard->sweep, struct th_cache_entry, link);
        shard->sweep = shard->sweep->next;
        if (entry->credential->expires_ms > now_ms)
            continue;
        th_cache_move(shard, entry, TH_ENTRY_ABSENT, NULL, waste);
        n_dropped++;
    }
    return n_dropped;
}

static void sweep_failed(struct th_cache_shard *shard, int64_t now_ms, struct th_cache_waste *waste)
{
    TH_LIST_EACH(it, &shard->states[TH_ENTRY_FAILED]) {
        struct th_cache_entry *entry = TH_LIST_ENTRY(it, struct th_cache_entry, link);
        if (entry->of.setback->forget_ms <= now_ms)
            th_cache_move(shard, entry, TH_ENTRY_ABSENT, NULL, waste);
    }
}

size_t th_cache_sweep(struct th_cache *cache, int64_t now_ms, unsigned n_shards, unsigned max)
{
    size_t n_dropped = 0;
    for (unsigned i = 0; i < n_shards; i++) {
        struct th_cache_shard *shard = next_shard(cache, &cache->sweep_hand);
        struct th_cache_waste waste;
        th_cache_waste_init(&waste);
        pthread_mutex_lock(&shard->lock);
        n_dropped += sweep_ready(shard, now_ms, max, &waste);
        sweep_failed(shard, now_ms, &waste);
        pthread_mutex_unlock(&shard->lock);
        th_cache_waste_empty(&waste);
    }
    return n_dropped;
}
