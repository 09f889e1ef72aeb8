/* The leaves made so far. One job makes a leaf, and whoever asks meanwhile waits for it, on whatever
 * worker. What has to be said to them is posted on the helper's own thread, while all workers are
 * sure to be there (helpers.h: the helpers are stopped before workers are freed); the job's `done`
 * only cleans up. */
#include "interceptor.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/random.h"
#include "tokenhop/net/helpers.h"

struct waiting {
    struct th_list link;
    struct th_mailbox *mailbox;
    uint64_t handle;
};

struct entry {
    struct th_hash_node node;
    struct th_list link;
    struct th_leaf *leaf; /* NULL: none yet, or it has failed */
    bool pending;         /* a job makes it: it stays */
    struct th_list waiting;
    size_t host_len;
    char host[];
};

struct mint {
    struct th_job job;
    struct th_interceptor *interceptor;
    size_t host_len;
    char host[];
};

static bool match(const struct th_hash_node *node, const void *key)
{
    const struct entry *entry = TH_CONTAINER_OF(node, struct entry, node);
    const struct th_str *host = key;

    return th_str_equal((struct th_str){entry->host, entry->host_len}, *host);
}

int th_leaves_init(struct th_leaves *leaves)
{
    if (pthread_mutex_init(&leaves->lock, NULL) != 0)
        return TH_E_NOMEM;
    th_random_bytes(&leaves->hash_key, sizeof leaves->hash_key);
    th_hash_table_init(&leaves->table);
    th_list_init(&leaves->used);
    leaves->max = TH_LEAVES_MAX;
    return 0;
}

static void forget(struct th_leaves *leaves, struct entry *entry)
{
    struct th_list *item;

    while ((item = th_list_pop_front(&entry->waiting)) != NULL)
        th_free(TH_LIST_ENTRY(item, struct waiting, link));
    th_hash_table_remove(&leaves->table, &entry->node);
    th_list_remove(&entry->link);
    th_leaf_unref(entry->leaf);
    th_free(entry);
}

void th_leaves_fini(struct th_leaves *leaves)
{
    TH_LIST_EACH(link, &leaves->used) {
        forget(leaves, TH_LIST_ENTRY(link, struct entry, link));
    }
    th_hash_table_fini(&leaves->table);
    pthread_mutex_destroy(&leaves->lock);
}

/* --- under the lock --- */

static struct entry *find(struct th_leaves *leaves, struct th_str host)
{
    uint64_t hash = th_hash_bytes(&leaves->hash_key, host.ptr, host.len);
    struct th_hash_node *node = th_hash_table_find(&leaves->table, hash, match, &host);

    return node != NULL ? TH_CONTAINER_OF(node, struct entry, node) : NULL;
}

static void make_room(struct th_leaves *leaves)
{
    TH_LIST_EACH(link, &leaves->used) {
        struct entry *entry = TH_LIST_ENTRY(link, struct entry, link);
        if (leaves->table.n_items < leaves->max)
            return;
        if (!entry->pending)
            forget(leaves, entry);
    }
}

/* Used last. NULL without memory, or where all that there is room for are being made. */
static struct entry *find_or_add(struct th_leaves *leaves, struct th_str host)
{
    struct entry *entry = find(leaves, host);

    if (entry == NULL) {
        make_room(leaves);
        if (leaves->table.n_items >= leaves->max)
            return NULL;
        entry = th_calloc(1, sizeof *entry + host.len);
        if (entry == NULL)
            return NULL;
        th_list_init(&entry->waiting);
        entry->host_len = host.len;
        memcpy(entry->host, host.ptr, host.len);
        uint64_t hash = th_hash_bytes(&leaves->hash_key, host.ptr, host.len);
        if (th_hash_table_insert(&leaves->table, &entry->node, hash) < 0) {
            th_free(entry);
            return NULL;
        }
    }
    th_list_remove(&entry->link);
    th_list_push_back(&leaves->used, &entry->link);
    return entry;
}

/* --- telling --- */

static void on_leaf(struct th_worker *worker, const struct th_message *message)
{
    struct th_leaf_waiter *waiter = th_handle_find(worker->handles, message->handle);

    if (waiter == NULL) {
        th_leaf_unref(message->payload);
        return;
    }
    th_leaf_cancel(waiter);
    waiter->fn(waiter, (int)message->number, message->payload);
}

/* A waiter whose mailbox is full finds out by its own time. */
static void tell(struct th_list *all, int error, struct th_leaf *leaf)
{
    struct th_list *item;

    while ((item = th_list_pop_front(all)) != NULL) {
        struct waiting *waiting = TH_LIST_ENTRY(item, struct waiting, link);
        struct th_message message = {.fn = on_leaf,
                                     .handle = waiting->handle,
                                     .payload = leaf != NULL ? th_leaf_ref(leaf) : NULL,
                                     .number = error};
        if (th_mailbox_post(waiting->mailbox, &message) < 0)
            th_leaf_unref(message.payload);
        th_free(waiting);
    }
}

static void settle(struct th_interceptor *interceptor, struct th_str host, struct th_leaf *leaf,
                   struct th_list *ret_waiting)
{
    struct th_leaves *leaves = &interceptor->leaves;

    th_list_init(ret_waiting);
    pthread_mutex_lock(&leaves->lock);
    struct entry *entry = find(leaves, host);
    if (entry != NULL) {
        th_list_splice_back(ret_waiting, &entry->waiting);
        entry->pending = false;
        if (leaf != NULL) {
            th_leaf_unref(entry->leaf);
            entry->leaf = th_leaf_ref(leaf);
        } else {
            forget(leaves, entry);
        }
    }
    pthread_mutex_unlock(&leaves->lock);
}

/* --- making --- */

static void work_mint(struct th_job *job)
{
    struct mint *mint = TH_CONTAINER_OF(job, struct mint, job);
    struct th_str host = {mint->host, mint->host_len};
    struct th_leaf *leaf = NULL;
    struct th_list waiting;

    int error = th_leaf_make(mint->interceptor, host, &leaf);
    settle(mint->interceptor, host, leaf, &waiting);
    tell(&waiting, error, leaf);
    th_leaf_unref(leaf);
}

static void free_mint(struct mint *mint)
{
    th_interceptor_unref(mint->interceptor);
    th_free(mint);
}

static void done_mint(struct th_job *job)
{
    struct mint *mint = TH_CONTAINER_OF(job, struct mint, job);
    struct th_list waiting, *item;

    if (job->skipped) { /* at the end of the process: nobody is there to be told */
        settle(mint->interceptor, (struct th_str){mint->host, mint->host_len}, NULL, &waiting);
        while ((item = th_list_pop_front(&waiting)) != NULL)
            th_free(TH_LIST_ENTRY(item, struct waiting, link));
    }
    free_mint(mint);
}

static int submit(struct th_interceptor *interceptor, struct th_worker *worker, struct th_str host)
{
    struct mint *mint = th_calloc(1, sizeof *mint + host.len);

    if (mint == NULL)
        return TH_E_NOMEM;
    mint->job.work = work_mint;
    mint->job.done = done_mint;
    mint->interceptor = th_interceptor_ref(interceptor);
    mint->host_len = host.len;
    memcpy(mint->host, host.ptr, host.len);
    int error = th_helpers_submit(worker->helpers, worker, &mint->job);
    if (error < 0)
        free_mint(mint);
    return error;
}

/* --- asking --- */

static int make_at_once(struct th_interceptor *interceptor, struct th_str host,
                        struct th_leaf **ret_leaf)
{
    struct th_list waiting;
    int error = th_leaf_make(interceptor, host, ret_leaf);

    if (error == 0)
        settle(interceptor, host, *ret_leaf, &waiting);
    return error;
}

/* 0 and the leaf; TH_AGAIN where one is awaited, *ret_submit whether nobody makes it yet. */
static int look(struct th_interceptor *interceptor, struct th_str host, struct waiting *waiting,
                struct th_leaf **ret_leaf, bool *ret_submit)
{
    struct th_leaves *leaves = &interceptor->leaves;
    int64_t now_s = th_clock_wall_ms(interceptor->clock) / 1000;
    int error = TH_AGAIN;

    pthread_mutex_lock(&leaves->lock);
    struct entry *entry = find_or_add(leaves, host);
    if (entry == NULL) {
        error = TH_E_OVERLOADED;
    } else if (entry->leaf != NULL && now_s < entry->leaf->renew_at_s) {
        *ret_leaf = th_leaf_ref(entry->leaf);
        error = 0;
    } else if (waiting != NULL) {
        th_list_push_back(&entry->waiting, &waiting->link);
        *ret_submit = !entry->pending;
        entry->pending = true;
    }
    pthread_mutex_unlock(&leaves->lock);
    return error;
}

static int wait_for(struct th_interceptor *interceptor, struct th_worker *worker,
                    struct th_str host, struct th_leaf_waiter *waiter, struct th_leaf **ret_leaf)
{
    struct waiting *waiting = th_calloc(1, sizeof *waiting);
    struct th_list failed;
    bool first = false;

    waiter->handle = waiting != NULL ? th_handle_new(worker->handles, waiter) : 0;
    if (waiter->handle == 0) {
        th_free(waiting);
        return TH_E_NOMEM;
    }
    waiting->mailbox = worker->mailbox;
    waiting->handle = waiter->handle;
    int error = look(interceptor, host, waiting, ret_leaf, &first);
    if (error != TH_AGAIN) {
        th_free(waiting);
        th_leaf_cancel(waiter);
        return error;
    }
    error = first ? submit(interceptor, worker, host) : 0;
    if (error == 0)
        return TH_AGAIN;
    /* Others may have joined meanwhile. */
    th_leaf_cancel(waiter);
    settle(interceptor, host, NULL, &failed);
    tell(&failed, error, NULL);
    return error;
}

int th_leaf_get(struct th_interceptor *interceptor, struct th_worker *worker, struct th_str host,
                struct th_leaf_waiter *waiter, th_leaf_fn *fn, struct th_leaf **ret_leaf)
{
    bool unused;

    *waiter = (struct th_leaf_waiter){.worker = worker, .fn = fn};
    if (worker->helpers == NULL) {
        int error = look(interceptor, host, NULL, ret_leaf, &unused);
        return error == TH_AGAIN ? make_at_once(interceptor, host, ret_leaf) : error;
    }
    return wait_for(interceptor, worker, host, waiter, ret_leaf);
}

void th_leaf_cancel(struct th_leaf_waiter *waiter)
{
    if (waiter->handle != 0)
        th_handle_drop(waiter->worker->handles, waiter->handle);
    waiter->handle = 0;
}
