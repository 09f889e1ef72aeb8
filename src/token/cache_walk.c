/* The way through the whole cache, a step at a time; and what is dropped on it. */
#include <string.h>

#include "cache.h"
#include "tokenhop/base/mem.h"

static struct th_cache_entry *entry_of(struct th_hash_node *node)
{
    return TH_CONTAINER_OF(node, struct th_cache_entry, node);
}

static size_t chain_len(const struct th_hash_node *node)
{
    size_t n = 0;
    for (; node != NULL; node = node->next)
        n++;
    return n;
}

/* Whether all of the bucket was met. */
static bool meet_chain(struct th_cache_shard *shard, uint64_t cursor, th_cache_meet_fn *fn,
                       void *arg)
{
    struct th_hash_node *next;
    for (struct th_hash_node *node = th_hash_table_chain(&shard->table, cursor); node != NULL;
         node = next) {
        next = node->next;
        if (!fn(arg, shard, entry_of(node)))
            return false;
    }
    return true;
}

/* Empty buckets count too: a table that was once full and is not any more is mostly these. */
static void meet_some(struct th_cache_shard *shard, struct th_cache_walk *walk,
                      th_cache_meet_fn *fn, void *arg)
{
    size_t n_met = 0;
    for (unsigned n_buckets = 0; n_buckets < 4 * TH_CACHE_STEP; n_buckets++) {
        size_t len = chain_len(th_hash_table_chain(&shard->table, walk->cursor));
        if (n_met > 0 && n_met + len > TH_CACHE_STEP)
            return;
        n_met += len;
        if (!meet_chain(shard, walk->cursor, fn, arg))
            return;
        walk->cursor = th_hash_table_after(&shard->table, walk->cursor);
        if (walk->cursor == 0) {
            walk->shard++;
            return;
        }
    }
}

bool th_cache_step(struct th_cache *cache, struct th_cache_walk *walk, th_cache_meet_fn *fn,
                   void *arg)
{
    if (walk->shard >= TH_CACHE_SHARDS)
        return false;
    struct th_cache_shard *shard = &cache->shards[walk->shard];
    pthread_mutex_lock(&shard->lock);
    meet_some(shard, walk, fn, arg);
    pthread_mutex_unlock(&shard->lock);
    return true;
}

struct drop {
    th_cache_match_fn *match;
    void *arg;
    struct th_cache_waste waste;
    /* Made beforehand: bears what an entry served that itself must stay. */
    struct th_cache_entry *spare;
    bool is_kept; /* what is dropped */
    size_t n_dropped;
    size_t n_lost;
};

/* Its exchange goes on for those who wait. One in a step, as the waste takes one credential; few are
 * ever being renewed. */
static void drop_served(struct drop *drop, struct th_cache_shard *shard,
                        struct th_cache_entry *entry)
{
    struct th_cache_holding holding = {.flight = entry->of.flight};
    th_cache_move(shard, entry, TH_ENTRY_PENDING, &holding, &drop->waste);
    entry->purged = true;
    drop->n_dropped++;
    if (drop->spare != NULL) {
        drop->spare->key = entry->key;
        drop->spare->credential = th_take(&drop->waste.credential);
        th_list_push_back(&drop->waste.entries, &th_take(&drop->spare)->link);
    } else if (drop->is_kept) {
        drop->n_lost++;
    }
}

static bool drop_met(void *arg, struct th_cache_shard *shard, struct th_cache_entry *entry)
{
    struct drop *drop = arg;
    if (!drop->match(drop->arg, entry))
        return true;
    enum th_entry_state state = entry->state;
    switch (state) {
    case TH_ENTRY_PENDING:
        entry->purged = true;
        return true;
    case TH_ENTRY_REFRESHING:
        drop_served(drop, shard, entry);
        return false;
    case TH_ENTRY_READY:
    case TH_ENTRY_FAILED:
        th_cache_move(shard, entry, TH_ENTRY_ABSENT, NULL, &drop->waste);
        drop->n_dropped++;
        return true;
    case TH_ENTRY_ABSENT:
    case TH_ENTRY_STATE_COUNT:
        break;
    }
    (void)TH_CHECK_FAILS(state != TH_ENTRY_ABSENT);
    return true;
}

size_t th_cache_drop(struct th_cache *cache, th_cache_match_fn *match, void *arg,
                     struct th_list *ret_dropped, size_t *ret_lost)
{
    struct drop drop = {.match = match, .arg = arg, .is_kept = ret_dropped != NULL};
    struct th_cache_walk walk = {0};
    th_cache_waste_init(&drop.waste);
    do {
        if (ret_dropped != NULL) {
            th_list_splice_back(ret_dropped, &drop.waste.entries);
            if (drop.spare == NULL)
                drop.spare = th_calloc(1, sizeof *drop.spare);
        }
        th_cache_waste_empty(&drop.waste);
    } while (th_cache_step(cache, &walk, drop_met, &drop));
    th_free(drop.spare);
    if (ret_lost != NULL)
        *ret_lost = drop.n_lost;
    return drop.n_dropped;
}

static bool is_in_scope(void *arg, const struct th_cache_entry *entry)
{
    const uint8_t *scope = arg;
    return scope == NULL || memcmp(entry->key.scope, scope, sizeof entry->key.scope) == 0;
}

size_t th_cache_purge(struct th_cache *cache, const uint8_t *scope)
{
    return th_cache_drop(cache, is_in_scope, (void *)scope, NULL, NULL);
}
