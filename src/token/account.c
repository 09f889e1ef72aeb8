#include "tokenhop/token/account.h"

#include <pthread.h>
#include <string.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/hash.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/random.h"

#define NAMES_MAX 8192
/* By address: so many sets of so many. A set that is full of accounts in use is full, whatever is
 * in the others; which set an address falls into is not to be foreseen from outside. */
#define SETS 2048
#define WAYS 8

const char *th_account_bound_name(enum th_account_bound bound)
{
    static const char *const names[] = {
        [TH_BOUND_CONNECTIONS] = "connections",
        [TH_BOUND_REQUESTS] = "requests_per_second",
        [TH_BOUND_EXCHANGES] = "exchanges_per_second",
        [TH_BOUND_WAITING] = "waiting",
    };
    return bound < TH_BOUND_COUNT ? names[bound] : "?";
}

/* --- rates and counts --- */

#define SECOND_NS INT64_C(1000000000)

/* The generic cell rate algorithm: one number instead of a bucket and a time. Each one taken moves
 * the time at which the rate has recovered by a step; it may be a second ahead of now, which is
 * where the burst comes from. */
bool th_rate_take(struct th_rate *rate, uint64_t per_second, int64_t now_ms, int64_t *ret_wait_ms)
{
    if (per_second == 0)
        return true;
    int64_t now_ns = now_ms * 1000000, step_ns = SECOND_NS / (int64_t)per_second;
    int64_t ahead_ns = SECOND_NS - step_ns; /* how far it may be ahead before one more is taken */
    int64_t whole_at = atomic_load_explicit(&rate->whole_at_ns, memory_order_relaxed), next;
    do {
        int64_t from_ns = whole_at > now_ns ? whole_at : now_ns;
        if (from_ns - now_ns > ahead_ns) {
            *ret_wait_ms = (from_ns - now_ns - ahead_ns + 999999) / 1000000;
            return false;
        }
        next = from_ns + step_ns;
    } while (!atomic_compare_exchange_weak_explicit(&rate->whole_at_ns, &whole_at, next,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

/* What others have taken meanwhile stays taken, and a time that has passed is worth nothing: who takes one
 * counts from now on at the earliest. */
void th_rate_give(struct th_rate *rate, uint64_t per_second)
{
    if (per_second > 0)
        atomic_fetch_sub_explicit(&rate->whole_at_ns, SECOND_NS / (int64_t)per_second,
                                  memory_order_relaxed);
}

static bool is_whole(struct th_rate *rate, int64_t now_ms)
{
    return atomic_load_explicit(&rate->whole_at_ns, memory_order_relaxed) <= now_ms * 1000000;
}

bool th_account_take(atomic_uint_least64_t *count, uint64_t max)
{
    if (atomic_fetch_add_explicit(count, 1, memory_order_relaxed) < max || max == 0)
        return true;
    th_account_give(count);
    return false;
}

void th_account_give(atomic_uint_least64_t *count)
{
    uint64_t before = atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
    TH_REQUIRE(before > 0);
}

static uint64_t read_count(const atomic_uint_least64_t *count)
{
    return atomic_load_explicit(count, memory_order_relaxed);
}

void th_account_note_refusal(struct th_account *account, enum th_account_bound bound)
{
    atomic_fetch_add_explicit(&account->n_refused[bound], 1, memory_order_relaxed);
}

/* --- accounts by name --- */

struct named {
    struct th_hash_node node;
    struct named *next;
    struct th_account account;
    size_t len;
    char name[];
};

struct placed {
    struct in6_addr address;
    uint64_t agent; /* keyed digest of its name */
    bool is_used;
    struct th_account account;
};

struct th_accounts {
    pthread_mutex_t lock; /* a leaf: of finding, not of counting */
    struct th_hash_key key;
    struct th_hash_table names;
    struct named *first, *last;
    size_t n_names;
    struct th_account other_names[TH_ACCOUNT_KINDS];
    struct placed *places; /* SETS * WAYS; made when the first address comes */
    struct th_account other_addresses;
    struct th_account_figures gone; /* what was refused to accounts that gave up their places */
};

int th_accounts_new(struct th_accounts **ret_accounts)
{
    struct th_accounts *accounts = th_calloc(1, sizeof *accounts);

    if (accounts == NULL)
        return TH_E_NOMEM;
    TH_REQUIRE(pthread_mutex_init(&accounts->lock, NULL) == 0);
    th_random_bytes(&accounts->key, sizeof accounts->key);
    th_hash_table_init(&accounts->names);
    accounts->other_names[TH_ACCOUNT_AGENT].kind = TH_ACCOUNT_AGENT;
    *ret_accounts = accounts;
    return 0;
}

struct th_accounts *th_accounts_free(struct th_accounts *accounts)
{
    if (accounts == NULL)
        return NULL;
    th_hash_table_fini(&accounts->names);
    while (accounts->first != NULL) {
        struct named *named = accounts->first;
        accounts->first = named->next;
        th_free(named);
    }
    th_free(accounts->places);
    pthread_mutex_destroy(&accounts->lock);
    th_free(accounts);
    return NULL;
}

struct wanted {
    enum th_account_kind kind;
    struct th_str name;
};

static bool is_wanted(const struct th_hash_node *node, const void *key)
{
    const struct named *named = TH_CONTAINER_OF(node, struct named, node);
    const struct wanted *wanted = key;
    return named->account.kind == wanted->kind &&
           th_str_equal((struct th_str){named->name, named->len}, wanted->name);
}

static struct named *add_name(struct th_accounts *accounts, const struct wanted *wanted,
                              uint64_t hash)
{
    struct named *named = NULL;

    if (accounts->n_names < NAMES_MAX)
        named = th_calloc(1, sizeof *named + wanted->name.len + 1);
    if (named == NULL)
        return NULL;
    named->account.kind = wanted->kind;
    named->len = wanted->name.len;
    memcpy(named->name, wanted->name.ptr, wanted->name.len);
    if (th_hash_table_insert(&accounts->names, &named->node, hash) < 0) {
        th_free(named);
        return NULL;
    }
    if (accounts->last != NULL)
        accounts->last->next = named;
    else
        accounts->first = named;
    accounts->last = named;
    accounts->n_names++;
    return named;
}

struct th_account *th_accounts_find(struct th_accounts *accounts, enum th_account_kind kind,
                                    struct th_str name)
{
    const struct wanted wanted = {kind, name};
    uint64_t hash = th_hash_bytes(&accounts->key, name.ptr, name.len);

    pthread_mutex_lock(&accounts->lock);
    struct th_hash_node *node = th_hash_table_find(&accounts->names, hash, is_wanted, &wanted);
    struct named *named = node != NULL ? TH_CONTAINER_OF(node, struct named, node)
                                       : add_name(accounts, &wanted, hash);
    pthread_mutex_unlock(&accounts->lock);
    return named != NULL ? &named->account : &accounts->other_names[kind];
}

/* --- accounts by address --- */

/* All of an IPv6 address's owner's: who has one has the 64 bits of it. */
static struct in6_addr shorten(const struct in6_addr *address)
{
    struct in6_addr shortened = *address;
    if (!IN6_IS_ADDR_V4MAPPED(address))
        memset(&shortened.s6_addr[8], 0, 8);
    return shortened;
}

static bool may_be_replaced(struct placed *place, int64_t now_ms)
{
    struct th_account *account = &place->account;
    return read_count(&account->n_pins) == 0 && read_count(&account->n_waiting) == 0 &&
           read_count(&account->n_flights) == 0 && is_whole(&account->requests, now_ms) &&
           is_whole(&account->exchanges, now_ms);
}

static void add_counts(struct th_account_figures *figures, const struct th_account *account)
{
    figures->connections += read_count(&account->n_connections);
    figures->waiting += read_count(&account->n_waiting);
    figures->exchanges += read_count(&account->n_flights);
    figures->requests += read_count(&account->n_requests);
    for (size_t i = 0; i < TH_BOUND_COUNT; i++)
        figures->refused[i] += read_count(&account->n_refused[i]);
}

/* Its place in the set, or one that can be had, or NULL. */
static struct placed *find_place(struct placed *set, const struct in6_addr *address, uint64_t agent,
                                 int64_t now_ms)
{
    struct placed *free_place = NULL;

    for (size_t i = 0; i < WAYS; i++) {
        struct placed *place = &set[i];
        if (place->is_used && place->agent == agent &&
            memcmp(&place->address, address, sizeof *address) == 0)
            return place;
        if (free_place == NULL && (!place->is_used || may_be_replaced(place, now_ms)))
            free_place = place;
    }
    return free_place;
}

static struct th_account *pin(struct th_accounts *accounts, const struct in6_addr *address,
                              uint64_t agent, uint64_t hash, int64_t now_ms)
{
    struct placed *place = NULL;

    if (accounts->places == NULL)
        accounts->places = th_calloc((size_t)SETS * WAYS, sizeof *accounts->places);
    if (accounts->places != NULL)
        place = find_place(&accounts->places[hash % SETS * WAYS], address, agent, now_ms);
    if (place == NULL)
        return &accounts->other_addresses;
    if (!place->is_used || place->agent != agent ||
        memcmp(&place->address, address, sizeof *address) != 0) {
        if (place->is_used)
            add_counts(&accounts->gone, &place->account);
        memset(place, 0, sizeof *place);
        place->address = *address;
        place->agent = agent;
        place->is_used = true;
    }
    return &place->account;
}

struct th_account *th_accounts_pin(struct th_accounts *accounts, const struct in6_addr *address,
                                   struct th_str agent, int64_t now_ms)
{
    struct {
        struct in6_addr address;
        uint64_t agent;
    } key = {shorten(address), th_hash_bytes(&accounts->key, agent.ptr, agent.len)};
    uint64_t hash = th_hash_bytes(&accounts->key, &key, sizeof key);

    pthread_mutex_lock(&accounts->lock);
    struct th_account *account = pin(accounts, &key.address, key.agent, hash, now_ms);
    atomic_fetch_add_explicit(&account->n_pins, 1, memory_order_relaxed);
    pthread_mutex_unlock(&accounts->lock);
    return account;
}

void th_accounts_let_go(struct th_account *account)
{
    if (account != NULL)
        th_account_give(&account->n_pins);
}

/* --- for people --- */

void th_accounts_show(struct th_accounts *accounts, th_accounts_show_fn *fn, void *arg)
{
    struct th_account_figures addresses;

    pthread_mutex_lock(&accounts->lock);
    addresses = accounts->gone;
    add_counts(&addresses, &accounts->other_addresses);
    for (size_t i = 0; accounts->places != NULL && i < (size_t)SETS * WAYS; i++)
        if (accounts->places[i].is_used)
            add_counts(&addresses, &accounts->places[i].account);
    const struct named *named = accounts->first;
    pthread_mutex_unlock(&accounts->lock);
    fn(arg, TH_ACCOUNT_CALLER, TH_STR("(addresses)"), &addresses);
    /* The list only grows, at its end: what is on it stays, and is read without the lock. */
    while (named != NULL) {
        struct th_account_figures figures = {0};
        add_counts(&figures, &named->account);
        fn(arg, named->account.kind, (struct th_str){named->name, named->len}, &figures);
        pthread_mutex_lock(&accounts->lock);
        named = named->next;
        pthread_mutex_unlock(&accounts->lock);
    }
}
