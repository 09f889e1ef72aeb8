#include "fetch_trust.h"

#include <openssl/err.h>
#include <string.h>

#include "tokenhop/base/mem.h"
#include "tokenhop/net/helpers.h"

#define FRESH_MS (60 * 60 * 1000)
#define RETRY_MS 5000

struct trust_job {
    struct th_job job;
    uint64_t handle;
    X509_STORE *store;
    char ca_file[];
};

int th_trust_new(struct th_worker *worker, struct th_str ca_file, struct th_trust **ret_trust)
{
    struct th_trust *trust = th_calloc(1, sizeof(*trust) + ca_file.len + 1);

    if (trust == NULL)
        return TH_E_NOMEM;
    trust->worker = worker;
    th_list_init(&trust->waiting);
    if (ca_file.len > 0)
        memcpy(trust->ca_file, ca_file.ptr, ca_file.len);
    *ret_trust = trust;
    return 0;
}

struct th_trust *th_trust_free(struct th_trust *trust)
{
    if (trust == NULL)
        return NULL;
    th_handle_drop(trust->worker->handles, trust->handle);
    X509_STORE_free(trust->store);
    th_list_remove(&trust->link);
    th_free(trust);
    return NULL;
}

/* Any thread. NULL when the file cannot be used. */
static X509_STORE *read_store(const char *ca_file)
{
    X509_STORE *store = X509_STORE_new();
    int ok;

    if (store == NULL)
        return NULL;
    if (ca_file[0] != '\0')
        ok = X509_STORE_load_file(store, ca_file);
    else
        ok = X509_STORE_set_default_paths(store);
    /* As curl does by itself: a certificate of the file is trusted also when it is no root. */
    if (ok)
        ok = X509_STORE_set_flags(store, X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN);
    ERR_clear_error();
    if (!ok) {
        X509_STORE_free(store);
        return NULL;
    }
    return store;
}

static void settle(struct th_trust *trust, X509_STORE *store)
{
    struct th_list waiting;
    struct th_list *item;
    int error;

    if (store != NULL) {
        X509_STORE_free(trust->store);
        trust->store = store;
    }
    trust->due_ms = trust->worker->now_ms + (store != NULL ? FRESH_MS : RETRY_MS);
    error = trust->store != NULL ? 0 : TH_E_CONFIG;
    th_list_init(&waiting);
    th_list_splice_back(&waiting, &trust->waiting);
    while ((item = th_list_pop_front(&waiting)) != NULL) {
        struct th_trust_wait *wait = TH_LIST_ENTRY(item, struct th_trust_wait, link);
        wait->fn(wait, error);
    }
}

static void work_read(struct th_job *job)
{
    struct trust_job *read = TH_CONTAINER_OF(job, struct trust_job, job);

    read->store = read_store(read->ca_file);
}

static void done_read(struct th_job *job)
{
    struct trust_job *read = TH_CONTAINER_OF(job, struct trust_job, job);
    struct th_trust *trust = th_handle_find(job->worker->handles, read->handle);

    th_handle_drop(job->worker->handles, read->handle);
    if (trust != NULL) {
        trust->handle = 0;
        settle(trust, read->store);
    } else {
        X509_STORE_free(read->store);
    }
    th_free(read);
}

static int start_reading(struct th_trust *trust)
{
    size_t len = strlen(trust->ca_file);
    struct trust_job *read = th_calloc(1, sizeof(*read) + len + 1);
    int r;

    if (read == NULL)
        return TH_E_NOMEM;
    memcpy(read->ca_file, trust->ca_file, len);
    read->job.work = work_read;
    read->job.done = done_read;
    read->handle = th_handle_new(trust->worker->handles, trust);
    r = read->handle != 0 ? th_helpers_submit(trust->worker->helpers, trust->worker, &read->job)
                          : TH_E_NOMEM;
    if (r != 0) {
        th_handle_drop(trust->worker->handles, read->handle);
        th_free(read);
        return r;
    }
    trust->handle = read->handle;
    return 0;
}

int th_trust_want(struct th_trust *trust, struct th_trust_wait *wait,
                  void (*fn)(struct th_trust_wait *wait, int error))
{
    bool due = trust->worker->now_ms >= trust->due_ms;
    int r = 0;

    th_list_init(&wait->link);
    wait->fn = fn;
    if (due && trust->handle == 0 && trust->worker->helpers != NULL)
        r = start_reading(trust);
    else if (due && trust->worker->helpers == NULL)
        settle(trust, read_store(trust->ca_file));
    if (trust->store != NULL)
        return 0;
    if (r != 0)
        return r;
    if (trust->handle == 0)
        return TH_E_CONFIG; /* tried a moment ago */
    th_list_push_back(&trust->waiting, &wait->link);
    return TH_AGAIN;
}

void th_trust_cancel(struct th_trust_wait *wait)
{
    th_list_remove(&wait->link);
}
