#include "tokenhop/net/resolver.h"

#include <stdio.h>
#include <string.h>

#include "tokenhop/base/hash.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/random.h"
#include "tokenhop/net/helpers.h"
#include "tokenhop/net/worker.h"
#include "tokenhop/observe/metrics.h"

#define FOUND_MS 30000
#define NOT_FOUND_MS 2000
#define MAX_ENTRIES 512
#define HOST_MAX 253 /* RFC 1035, 2.3.4, without the last dot */

enum entry_state { ENTRY_PENDING, ENTRY_FOUND, ENTRY_NOT_FOUND };

/* A name and port that somebody asked for. Connection lifetime: the resolver's. */
struct entry {
    struct th_hash_node node;
    struct th_list link; /* of the resolver's `entries`, the longest unasked first */
    enum entry_state state;
    struct th_list waiters; /* th_resolve.link; while pending */
    uint64_t handle;        /* by which the job finds it; while pending */
    int64_t expires_ms;
    struct th_addresses addresses;
    uint16_t port;
    size_t host_len;
    char host[];
};

struct th_resolver {
    struct th_worker *worker;
    struct th_hash_key key;
    struct th_hash_table table;
    struct th_list entries;
};

/* What a helper thread needs to know. */
struct lookup_job {
    struct th_job job;
    struct th_network *network;
    uint64_t handle;
    int error;
    struct th_addresses addresses;
    uint16_t port;
    char host[HOST_MAX + 1];
};

struct question {
    struct th_str host;
    uint16_t port;
};

int th_resolver_new(struct th_worker *worker, struct th_resolver **ret_resolver)
{
    struct th_resolver *resolver = th_calloc(1, sizeof(*resolver));

    if (resolver == NULL)
        return TH_E_NOMEM;
    resolver->worker = worker;
    th_random_bytes(&resolver->key, sizeof(resolver->key));
    th_hash_table_init(&resolver->table);
    th_list_init(&resolver->entries);
    *ret_resolver = resolver;
    return 0;
}

static void free_entry(struct th_resolver *resolver, struct entry *entry)
{
    /* Who still waits is told nothing: their worker goes. */
    while (th_list_pop_front(&entry->waiters) != NULL) {
    }
    th_handle_drop(resolver->worker->handles, entry->handle);
    th_hash_table_remove(&resolver->table, &entry->node);
    th_list_remove(&entry->link);
    th_free(entry);
}

struct th_resolver *th_resolver_free(struct th_resolver *resolver)
{
    if (resolver == NULL)
        return NULL;
    TH_LIST_EACH(it, &resolver->entries)
        free_entry(resolver, TH_LIST_ENTRY(it, struct entry, link));
    th_hash_table_fini(&resolver->table);
    th_free(resolver);
    return NULL;
}

static bool entry_matches(const struct th_hash_node *node, const void *key)
{
    const struct entry *entry = TH_CONTAINER_OF(node, const struct entry, node);
    const struct question *question = key;

    return entry->port == question->port && entry->host_len == question->host.len &&
           memcmp(entry->host, question->host.ptr, entry->host_len) == 0;
}

static uint64_t hash_question(const struct th_resolver *resolver, const struct question *question)
{
    return th_hash_bytes(&resolver->key, question->host.ptr, question->host.len) ^
           (question->port * UINT64_C(0x9e3779b97f4a7c15));
}

/* getaddrinfo() also reads inet_aton's forms: 127.1, 0x7f000001, 2130706433. Such a host is no name
 * (R7), and what is no letter, digit, hyphen, underscore or dot is none either. */
static bool is_number(const char *label, size_t len)
{
    const char *digits = "0123456789";

    if (len > 1 && label[0] == '0' && (label[1] == 'x' || label[1] == 'X')) {
        digits = "0123456789abcdefABCDEF";
        label += 2;
        len -= 2;
    }
    for (size_t i = 0; i < len; i++)
        if (strchr(digits, label[i]) == NULL)
            return false;
    return true;
}

static bool is_name(struct th_str host)
{
    size_t last = 0;

    if (host.len > 1 && host.ptr[host.len - 1] == '.')
        host.len--;
    if (host.len == 0 || host.len > HOST_MAX)
        return false;
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool digit = c >= '0' && c <= '9';
        if (!letter && !digit && c != '-' && c != '_' && c != '.')
            return false;
        if (c == '.')
            last = i + 1;
    }
    return !is_number(host.ptr + last, host.len - last);
}

/* Makes room: the longest unasked that is not pending goes. */
static void make_room(struct th_resolver *resolver)
{
    if (resolver->table.n_items < MAX_ENTRIES)
        return;
    TH_LIST_EACH(it, &resolver->entries) {
        struct entry *entry = TH_LIST_ENTRY(it, struct entry, link);
        if (entry->state == ENTRY_PENDING)
            continue;
        free_entry(resolver, entry);
        return;
    }
}

static struct entry *add_entry(struct th_resolver *resolver, const struct question *question,
                               uint64_t hash)
{
    struct entry *entry;

    make_room(resolver);
    if (resolver->table.n_items >= MAX_ENTRIES)
        return NULL;
    entry = th_calloc(1, sizeof(*entry) + question->host.len);
    if (entry == NULL)
        return NULL;
    th_list_init(&entry->waiters);
    th_list_init(&entry->link);
    entry->state = ENTRY_NOT_FOUND; /* and expired: nobody has been asked yet */
    entry->port = question->port;
    entry->host_len = question->host.len;
    memcpy(entry->host, question->host.ptr, question->host.len);
    if (th_hash_table_insert(&resolver->table, &entry->node, hash) != 0) {
        th_free(entry);
        return NULL;
    }
    th_list_push_back(&resolver->entries, &entry->link);
    return entry;
}

static void settle_entry(struct th_resolver *resolver, struct entry *entry, int error,
                         const struct th_addresses *addresses)
{
    bool found = error == 0 && addresses->count > 0;

    th_handle_drop(resolver->worker->handles, entry->handle);
    entry->handle = 0;
    entry->state = found ? ENTRY_FOUND : ENTRY_NOT_FOUND;
    if (found)
        entry->addresses = *addresses;
    th_metrics_count(resolver->worker->metrics,
                     found ? TH_METRIC_NAMES_RESOLVED : TH_METRIC_NAMES_FAILED);
    entry->expires_ms = resolver->worker->now_ms + (found ? FOUND_MS : NOT_FOUND_MS);
}

static void work_lookup(struct th_job *job)
{
    struct lookup_job *lookup = TH_CONTAINER_OF(job, struct lookup_job, job);

    lookup->error =
        lookup->network->lookup(lookup->network, lookup->host, lookup->port, &lookup->addresses);
    if (lookup->error == 0 && lookup->addresses.count == 0)
        lookup->error = TH_E_ORIGIN_NAME;
}

static void done_lookup(struct th_job *job)
{
    struct lookup_job *lookup = TH_CONTAINER_OF(job, struct lookup_job, job);
    struct entry *entry = th_handle_find(job->worker->handles, lookup->handle);
    struct th_list waiters;
    struct th_list *item;

    if (entry != NULL) {
        settle_entry(job->worker->resolver, entry, lookup->error, &lookup->addresses);
        /* Their functions may ask again, which may push this entry out. */
        th_list_init(&waiters);
        th_list_splice_back(&waiters, &entry->waiters);
        while ((item = th_list_pop_front(&waiters)) != NULL) {
            struct th_resolve *resolve = TH_LIST_ENTRY(item, struct th_resolve, link);
            resolve->fn(resolve, lookup->error, lookup->error == 0 ? &lookup->addresses : NULL);
        }
    }
    th_free(lookup);
}

static int start_lookup(struct th_resolver *resolver, struct entry *entry)
{
    struct th_worker *worker = resolver->worker;
    struct lookup_job *lookup;
    int r;

    if (worker->helpers == NULL)
        return TH_E_INTERNAL;
    lookup = th_calloc(1, sizeof(*lookup));
    if (lookup == NULL)
        return TH_E_NOMEM;
    lookup->handle = th_handle_new(worker->handles, entry);
    if (lookup->handle == 0) {
        th_free(lookup);
        return TH_E_NOMEM;
    }
    lookup->job.work = work_lookup;
    lookup->job.done = done_lookup;
    lookup->network = worker->network;
    lookup->error = TH_E_ORIGIN_NAME; /* stays so when the helpers are stopped before */
    lookup->port = entry->port;
    memcpy(lookup->host, entry->host, entry->host_len);
    entry->handle = lookup->handle;
    r = th_helpers_submit(worker->helpers, worker, &lookup->job);
    if (r != 0) {
        th_handle_drop(worker->handles, entry->handle);
        entry->handle = 0;
        th_free(lookup);
        return r;
    }
    entry->state = ENTRY_PENDING;
    return TH_AGAIN;
}

/* Where a lookup never blocks, it is made here and now. */
static void lookup_now(struct th_resolver *resolver, struct entry *entry)
{
    struct th_network *network = resolver->worker->network;
    struct th_addresses addresses = {0};
    char host[HOST_MAX + 1] = "";
    int r;

    memcpy(host, entry->host, entry->host_len);
    r = network->lookup(network, host, entry->port, &addresses);
    settle_entry(resolver, entry, r, &addresses);
}

static int answer(const struct entry *entry, struct th_addresses *ret_addresses)
{
    if (entry->state != ENTRY_FOUND)
        return TH_E_ORIGIN_NAME;
    *ret_addresses = entry->addresses;
    return 0;
}

int th_resolver_ask(struct th_resolver *resolver, struct th_str host, uint16_t port,
                    struct th_resolve *resolve, th_resolve_fn *fn,
                    struct th_addresses *ret_addresses)
{
    struct question question = {host, port};
    struct th_address literal;
    struct th_hash_node *node;
    struct entry *entry;
    uint64_t hash;
    int r;

    th_list_init(&resolve->link);
    resolve->fn = fn;
    if (th_address_parse(host, port, &literal) == 0) {
        *ret_addresses = (struct th_addresses){.count = 1, .items = {literal}};
        return 0;
    }
    if (!is_name(host))
        return TH_E_ORIGIN_NAME;
    hash = hash_question(resolver, &question);
    node = th_hash_table_find(&resolver->table, hash, entry_matches, &question);
    entry = node != NULL ? TH_CONTAINER_OF(node, struct entry, node)
                         : add_entry(resolver, &question, hash);
    if (entry == NULL)
        return TH_E_OVERLOADED;
    th_list_remove(&entry->link);
    th_list_push_back(&resolver->entries, &entry->link);
    if (entry->state != ENTRY_PENDING) {
        if (resolver->worker->now_ms < entry->expires_ms)
            return answer(entry, ret_addresses);
        if (resolver->worker->network->lookup_never_blocks) {
            lookup_now(resolver, entry);
            return answer(entry, ret_addresses);
        }
        r = start_lookup(resolver, entry);
        if (r != TH_AGAIN)
            return r;
    }
    th_list_push_back(&entry->waiters, &resolve->link);
    return TH_AGAIN;
}

void th_resolve_cancel(struct th_resolve *resolve)
{
    th_list_remove(&resolve->link);
}
