/* What is dropped from the cache or shown of it: on an operator's word, or because the configuration has
 * changed. */
#include <string.h>

#include "broker_private.h"
#include "tokenhop/base/mem.h"

/* So many subject tokens of one fingerprint are told apart; two are unheard of. */
#define DIGESTS_MAX 16

void th_dropped_fini(struct th_dropped *dropped)
{
    struct th_cache_waste waste;
    th_cache_waste_init(&waste);
    th_list_splice_back(&waste.entries, &dropped->entries);
    th_cache_waste_empty(&waste);
    dropped->directory = th_directory_unref(dropped->directory);
    dropped->n = 0;
}

struct th_directory *th_broker_directory(struct th_broker *broker)
{
    pthread_mutex_lock(&broker->directory_lock);
    struct th_directory *directory =
        broker->directory != NULL ? th_directory_ref(broker->directory) : NULL;
    pthread_mutex_unlock(&broker->directory_lock);
    return directory;
}

static struct th_directory *change_directory(struct th_broker *broker,
                                             struct th_directory *directory)
{
    th_directory_ref(directory);
    pthread_mutex_lock(&broker->directory_lock);
    struct th_directory *before = broker->directory;
    broker->directory = directory;
    pthread_mutex_unlock(&broker->directory_lock);
    return before;
}

/* -- a look at some entries ---------------------------------------------------------------------- */

/* What is copied of an entry under its lock. */
struct glance {
    struct th_cache_key key;
    enum th_entry_state state;
    bool is_revocable;
    bool is_renewed;
    int error;
    int64_t expires_ms; /* monotonic; -1: there is none */
    int64_t refresh_ms;
    int64_t again_ms;
    size_t bytes;
};

struct glances {
    struct glance items[TH_CACHE_STEP];
    size_t n;
};

static bool glance_at(void *arg, struct th_cache_shard *shard, struct th_cache_entry *entry)
{
    struct glances *glances = arg;
    const struct th_credential *credential = entry->credential;
    const struct th_setback *setback =
        entry->state == TH_ENTRY_FAILED ? entry->of.setback : NULL; /* else it may be a flight */
    (void)shard;
    if (glances->n == TH_CACHE_STEP)
        return true; /* a bucket beyond all measure: the rest of it is not shown */
    glances->items[glances->n++] = (struct glance){
        .key = entry->key,
        .state = entry->state,
        .is_revocable = credential != NULL && credential->is_revocable,
        .is_renewed = credential != NULL && credential->is_renewed,
        .error = setback != NULL && setback->refusal != NULL ? setback->refusal->error : 0,
        .expires_ms = credential != NULL ? credential->expires_ms : -1,
        .refresh_ms = credential != NULL ? credential->refresh_ms : INT64_MAX,
        .again_ms = setback != NULL ? setback->again_ms : -1,
        .bytes = th_cache_cost(entry),
    };
    return true;
}

/* -- which entries ------------------------------------------------------------------------------- */

struct selection {
    const struct th_broker_filter *filter;
    struct th_directory *directory; /* counted; NULL: there is none */
    uint8_t digests[DIGESTS_MAX][32];
    size_t n_digests;
    bool is_by_digest;
};

static void add_digest(struct selection *selection, const uint8_t *digest)
{
    for (size_t i = 0; i < selection->n_digests; i++)
        if (memcmp(selection->digests[i], digest, 32) == 0)
            return;
    if (selection->n_digests < DIGESTS_MAX)
        memcpy(selection->digests[selection->n_digests++], digest, 32);
}

static bool has_fingerprint(const struct th_cache_key *key, struct th_str text)
{
    char print[TH_FINGERPRINT_LEN + 1];
    th_secret_fingerprint(key->subject, sizeof key->subject, print);
    return print[0] != '-' && th_str_equal(th_str_of(print), text);
}

/* The fingerprint is taken with no lock held, as it costs about a microsecond an entry; what bears it is
 * found by the whole digest then. */
static void find_digests(struct selection *selection, struct th_broker *broker)
{
    struct th_cache_walk walk = {0};
    struct glances glances = {.n = 0};
    while (th_cache_step(&broker->cache, &walk, glance_at, &glances)) {
        for (size_t i = 0; i < glances.n; i++)
            if (has_fingerprint(&glances.items[i].key, selection->filter->subject))
                add_digest(selection, glances.items[i].key.subject);
        glances.n = 0;
    }
}

static void selection_init(struct selection *selection, struct th_broker *broker,
                           const struct th_broker_filter *filter)
{
    *selection = (struct selection){.filter = filter, .directory = th_broker_directory(broker)};
    selection->is_by_digest = filter->digest != NULL || filter->subject.len > 0;
    if (filter->subject.len > 0)
        find_digests(selection, broker);
    if (filter->digest != NULL && filter->subject.len == 0)
        add_digest(selection, filter->digest);
}

static void selection_fini(struct selection *selection)
{
    th_directory_unref(selection->directory);
}

static bool is_named(struct th_str wanted, struct th_str name)
{
    return wanted.len == 0 || th_str_equal(wanted, name);
}

static bool is_placed(const struct selection *selection, const struct th_directory_place *place)
{
    const struct th_broker_filter *filter = selection->filter;
    if (filter->connection.len == 0 && filter->agent.len == 0)
        return true;
    return place != NULL && is_named(filter->connection, place->connection->name) &&
           is_named(filter->agent, place->agent->name);
}

static bool is_of_subject(const struct selection *selection, const struct th_cache_key *key)
{
    const uint8_t *digest = selection->filter->digest;
    if (!selection->is_by_digest)
        return true;
    if (digest != NULL && memcmp(digest, key->subject, 32) != 0)
        return false;
    for (size_t i = 0; i < selection->n_digests; i++)
        if (memcmp(selection->digests[i], key->subject, 32) == 0)
            return true;
    return false;
}

static bool is_selected(void *arg, const struct th_cache_entry *entry)
{
    const struct selection *selection = arg;
    return is_of_subject(selection, &entry->key) &&
           is_placed(selection, th_directory_find(selection->directory, entry->key.scope));
}

static size_t drop(struct th_broker *broker, th_cache_match_fn *match, void *arg,
                   struct th_directory *directory, struct th_dropped *ret_dropped)
{
    if (ret_dropped == NULL)
        return th_cache_drop(&broker->cache, match, arg, NULL, NULL);
    *ret_dropped = (struct th_dropped){0};
    th_list_init(&ret_dropped->entries);
    if (directory != NULL)
        ret_dropped->directory = th_directory_ref(directory);
    size_t n =
        th_cache_drop(&broker->cache, match, arg, &ret_dropped->entries, &ret_dropped->n_lost);
    ret_dropped->n = n - ret_dropped->n_lost;
    return n;
}

size_t th_broker_drop(struct th_broker *broker, const struct th_broker_filter *filter,
                      struct th_dropped *ret_dropped)
{
    struct selection selection;
    selection_init(&selection, broker, filter);
    size_t n = drop(broker, is_selected, &selection, selection.directory, ret_dropped);
    selection_fini(&selection);
    return n;
}

size_t th_broker_purge(struct th_broker *broker, const uint8_t *scope)
{
    return th_cache_purge(&broker->cache, scope);
}

/* -- another configuration ----------------------------------------------------------------------- */

static bool is_outdated(void *arg, const struct th_cache_entry *entry)
{
    const struct th_directory *directory = arg;
    const struct th_refusal *refusal =
        entry->state == TH_ENTRY_FAILED ? entry->of.setback->refusal : NULL;
    return (refusal != NULL && th_failure_get(refusal->error)->is_ours) ||
           th_directory_find(directory, entry->key.scope) == NULL;
}

size_t th_broker_set_directory(struct th_broker *broker, struct th_directory *directory,
                               struct th_dropped *ret_dropped)
{
    /* First the word, then the broom: an exchange that begins behind the broom ends by the word. */
    struct th_directory *before = change_directory(broker, directory);
    size_t n = drop(broker, is_outdated, directory, before, ret_dropped);
    th_directory_unref(before);
    return n;
}

/* -- for people ---------------------------------------------------------------------------------- */

static int64_t left_ms(int64_t until_ms, int64_t now_ms)
{
    return until_ms < 0 || until_ms == INT64_MAX ? -1 : until_ms > now_ms ? until_ms - now_ms : 0;
}

static void fill_listed(const struct glance *glance, const struct th_directory_place *place,
                        int64_t now_ms, struct th_broker_listed *ret_listed)
{
    *ret_listed = (struct th_broker_listed){
        .agent = place != NULL ? place->agent : NULL,
        .connection = place != NULL ? place->connection : NULL,
        .state = th_entry_state_name(glance->state),
        .expires_in_ms = left_ms(glance->expires_ms, now_ms),
        .renewed_in_ms = left_ms(glance->refresh_ms, now_ms),
        .again_in_ms = left_ms(glance->again_ms, now_ms),
        .error = glance->error,
        .is_renewed = glance->is_renewed,
        .is_revocable = glance->is_revocable,
        .bytes = glance->bytes,
    };
    th_secret_fingerprint(glance->key.subject, sizeof glance->key.subject, ret_listed->subject);
}

/* Returns whether to go on. */
static bool show(const struct selection *selection, const struct glance *glance, int64_t now_ms,
                 th_broker_list_fn *fn, void *arg, size_t *n)
{
    const struct th_directory_place *place =
        th_directory_find(selection->directory, glance->key.scope);
    struct th_broker_listed listed;
    if (!is_of_subject(selection, &glance->key) || !is_placed(selection, place))
        return true;
    fill_listed(glance, place, now_ms, &listed);
    ++*n;
    return fn(arg, &listed);
}

size_t th_broker_list(struct th_broker *broker, const struct th_broker_filter *filter, size_t max,
                      th_broker_list_fn *fn, void *arg)
{
    struct selection selection;
    struct th_cache_walk walk = {0};
    struct glances glances = {.n = 0};
    int64_t now_ms = th_clock_monotonic_ms(broker->clock);
    size_t n = 0;
    bool goes_on = true;
    selection_init(&selection, broker, filter);
    while (goes_on && n < max && th_cache_step(&broker->cache, &walk, glance_at, &glances)) {
        for (size_t i = 0; goes_on && n < max && i < glances.n; i++)
            goes_on = show(&selection, &glances.items[i], now_ms, fn, arg, &n);
        glances.n = 0;
    }
    selection_fini(&selection);
    return n;
}
