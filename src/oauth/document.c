#include "document.h"

#include <pthread.h>
#include <stdio.h>

#include "printable.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/observe/log.h"

#define MINUTE_MS ((int64_t)60 * 1000)
#define FRESH_MIN_MS (5 * MINUTE_MS)
#define FRESH_UNSAID_MS (60 * MINUTE_MS)
#define KEEP_MS (24 * 60 * MINUTE_MS)
#define NEWER_MS 30000 /* between fetches for who wants a newer one */
#define STALE_PAUSE_MS 30000
#define PAUSE_MIN_MS 1000
#define PAUSE_MAX_MS 30000
#define RETRY_AFTER_MAX_MS (5 * MINUTE_MS)
#define FETCH_MS 5000 /* all attempts of one fetch: well within an exchange's deadline */
#define URL_MAX 4096
#define ENTRIES_MAX 256

/* Process's, all of it under the lock; pinned while it is being fetched. */
struct entry {
    struct th_list link; /* documents->entries */
    const struct th_document_kind *kind;
    struct th_document_source source;   /* the texts are owned */
    struct th_document *document;       /* NULL: none */
    int64_t fresh_ms;                   /* monotonic, all of these: until when it is fresh */
    int64_t keep_ms;                    /* until when it serves if it cannot be renewed */
    int64_t asked_ms;                   /* when the last fetch began */
    int64_t again_ms;                   /* not before is another tried */
    int64_t pause_ms;                   /* after the last failure in a row */
    struct th_document_failure failure; /* of the last fetch; error 0: it went well */
    bool is_fetching;
    struct th_list waiters;
};

struct th_documents {
    struct th_ref ref;
    pthread_mutex_t lock;
    struct th_list entries; /* most recently asked first */
    size_t n_entries;
};

struct th_document_desk {
    struct th_documents *documents;
    struct th_worker *worker;
    struct th_fetcher *fetcher;
    struct th_list fetches;
};

/* Worker's: one document on its way, at one place after another. */
struct fetch {
    struct th_list link; /* desk->fetches */
    struct th_document_desk *desk;
    struct entry *entry;
    struct th_fetch *fetch;
    unsigned attempt;
    int64_t deadline_ms;
    int64_t asked_wall_ms;
    struct th_document_failure failure; /* the most telling one so far */
};

/* -- counted things ------------------------------------------------------------------------------ */

struct th_document *th_document_ref(struct th_document *document)
{
    th_ref_take(&document->ref);
    return document;
}

struct th_document *th_document_unref(struct th_document *document)
{
    if (document != NULL && th_ref_release(&document->ref))
        document->free(document);
    return NULL;
}

int th_documents_new(struct th_documents **ret_documents)
{
    struct th_documents *documents = th_calloc(1, sizeof *documents);
    if (documents == NULL)
        return TH_E_NOMEM;
    th_ref_init(&documents->ref);
    (void)pthread_mutex_init(&documents->lock, NULL);
    th_list_init(&documents->entries);
    *ret_documents = documents;
    return 0;
}

struct th_documents *th_documents_ref(struct th_documents *documents)
{
    th_ref_take(&documents->ref);
    return documents;
}

static void entry_free(struct entry *entry)
{
    if (entry == NULL)
        return;
    TH_REQUIRE(!entry->is_fetching);
    th_document_unref(entry->document);
    th_free((char *)entry->source.name.ptr);
    th_free((char *)entry->source.ca_file.ptr);
    th_free(entry);
}

struct th_documents *th_documents_unref(struct th_documents *documents)
{
    struct th_list *item;
    if (documents == NULL || !th_ref_release(&documents->ref))
        return NULL;
    while ((item = th_list_pop_front(&documents->entries)) != NULL)
        entry_free(TH_LIST_ENTRY(item, struct entry, link));
    (void)pthread_mutex_destroy(&documents->lock);
    th_free(documents);
    return NULL;
}

/* -- entries ------------------------------------------------------------------------------------- */

static struct th_str copy(struct th_str text)
{
    return (struct th_str){th_strndup(text.ptr != NULL ? text.ptr : "", text.len), text.len};
}

static struct entry *entry_new(const struct th_document_kind *kind,
                               const struct th_document_source *source)
{
    struct entry *entry = th_calloc(1, sizeof *entry);
    if (entry == NULL)
        return NULL;
    entry->kind = kind;
    entry->source = (struct th_document_source){.name = copy(source->name),
                                                .ca_file = copy(source->ca_file),
                                                .allow_cleartext = source->allow_cleartext};
    th_list_init(&entry->waiters);
    if (entry->source.name.ptr != NULL && entry->source.ca_file.ptr != NULL)
        return entry;
    entry_free(entry);
    return NULL;
}

/* What another server was asked by another name, with other certificates, is another document. */
static bool is_of(const struct entry *entry, const struct th_document_kind *kind,
                  const struct th_document_source *source)
{
    return entry->kind == kind && th_str_equal(entry->source.name, source->name) &&
           th_str_equal(entry->source.ca_file, source->ca_file) &&
           entry->source.allow_cleartext == source->allow_cleartext;
}

static struct entry *find(struct th_documents *documents, const struct th_document_kind *kind,
                          const struct th_document_source *source)
{
    TH_LIST_EACH(it, &documents->entries) {
        struct entry *entry = TH_LIST_ENTRY(it, struct entry, link);
        if (!is_of(entry, kind, source))
            continue;
        th_list_remove(&entry->link);
        th_list_push_front(&documents->entries, &entry->link);
        return entry;
    }
    return NULL;
}

/* Returns one that had to leave for it, to be freed without the lock. */
static struct entry *add(struct th_documents *documents, struct entry *entry)
{
    struct entry *leaving = NULL;
    if (documents->n_entries >= ENTRIES_MAX) {
        for (struct th_list *it = documents->entries.prev; it != &documents->entries;
             it = it->prev) {
            leaving = TH_LIST_ENTRY(it, struct entry, link);
            if (!leaving->is_fetching)
                break;
            leaving = NULL;
        }
    }
    if (leaving != NULL)
        th_list_remove(&leaving->link);
    else
        documents->n_entries++;
    th_list_push_front(&documents->entries, &entry->link);
    return leaving;
}

/* -- waiting ------------------------------------------------------------------------------------- */

static void on_told(struct th_worker *worker, const struct th_message *message)
{
    struct th_document_waiter *waiter = th_handle_find(worker->handles, message->handle);
    if (waiter == NULL)
        return;
    th_handle_drop(worker->handles, waiter->handle);
    waiter->handle = 0;
    waiter->fn(waiter);
}

/* All who waited, here directly, elsewhere by a message. Once it hangs on no list, another worker's
 * waiter may go at any moment: what is needed of it is read under the lock. Where a mailbox is full
 * the message is lost, and the deadline of who waits ends it. */
static void tell(struct th_document_desk *desk, struct th_list *told)
{
    pthread_mutex_t *lock = &desk->documents->lock;
    for (;;) {
        struct th_mailbox *mailbox = NULL;
        struct th_message message = {.fn = on_told};
        pthread_mutex_lock(lock);
        struct th_list *item = th_list_pop_front(told);
        if (item != NULL) {
            const struct th_document_waiter *waiter =
                TH_LIST_ENTRY(item, struct th_document_waiter, link);
            message.handle = waiter->handle;
            if (waiter->desk != desk)
                mailbox = waiter->desk->worker->mailbox;
        }
        pthread_mutex_unlock(lock);
        if (item == NULL)
            return;
        if (mailbox == NULL)
            on_told(desk->worker, &message);
        else
            (void)!th_mailbox_post(mailbox, &message);
    }
}

void th_document_leave(struct th_document_waiter *waiter)
{
    if (waiter->handle == 0)
        return;
    pthread_mutex_lock(&waiter->desk->documents->lock);
    th_list_remove(&waiter->link);
    pthread_mutex_unlock(&waiter->desk->documents->lock);
    th_handle_drop(waiter->desk->worker->handles, waiter->handle);
    waiter->handle = 0;
}

/* -- a fetch ------------------------------------------------------------------------------------- */

static int64_t clamp(int64_t value, int64_t min, int64_t max)
{
    return value < min ? min : value > max ? max : value;
}

/* Under the lock. Returns the document that was there before. */
static struct th_document *settle_success(struct entry *entry, struct th_document *document,
                                          int64_t fresh_ms, int64_t now_ms)
{
    struct th_document *before = entry->document;
    if (fresh_ms < 0)
        fresh_ms = FRESH_UNSAID_MS;
    entry->document = document;
    entry->fresh_ms = now_ms + clamp(fresh_ms, FRESH_MIN_MS, KEEP_MS);
    entry->keep_ms = now_ms + KEEP_MS;
    entry->again_ms = entry->pause_ms = 0;
    entry->failure = (struct th_document_failure){.retry_after_ms = -1};
    return before;
}

static void settle_failure(struct entry *entry, const struct th_document_failure *failure,
                           int64_t now_ms)
{
    if (failure->error == TH_E_NOMEM) /* our own trouble of the moment */
        return;
    int64_t pause_ms = clamp(entry->pause_ms * 2, PAUSE_MIN_MS, PAUSE_MAX_MS);
    if (entry->document != NULL)
        pause_ms = STALE_PAUSE_MS;
    entry->pause_ms = pause_ms;
    if (failure->retry_after_ms > pause_ms)
        pause_ms = clamp(failure->retry_after_ms, 0, RETRY_AFTER_MAX_MS);
    entry->again_ms = now_ms + pause_ms;
    entry->failure = *failure;
}

/* While it is being fetched, only its fetch changes the entry's document: no lock to look. */
static void say_end(const struct fetch *fetch, const struct th_document *document)
{
    const struct entry *entry = fetch->entry;
    struct th_log *log = fetch->desk->worker->log;
    if (document != NULL)
        TH_LOG(log, TH_LEVEL_DEBUG, "documents.fetched",
               "A document of an authorization server is here",
               TH_LOG_TEXT("kind", entry->kind->name), TH_LOG_STR("of", entry->source.name));
    else if (fetch->failure.error != 0)
        TH_LOG(log, TH_LEVEL_WARN, "documents.failed",
               "A document of an authorization server could not be fetched",
               TH_LOG_TEXT("kind", entry->kind->name), TH_LOG_STR("of", entry->source.name),
               TH_LOG_ERR("error", fetch->failure.error), TH_LOG_TEXT("why", fetch->failure.why),
               TH_LOG_BOOL("has_older", entry->document != NULL));
}

/* The end of a fetch: `document` is its yield, or NULL, and then fetch->failure says why, or bears
 * no error: whoever waits shall try for themselves. */
static void fetch_end(struct fetch *fetch, struct th_document *document, int64_t fresh_ms)
{
    struct th_document_desk *desk = fetch->desk;
    struct entry *entry = fetch->entry;
    struct th_document *before = NULL;
    struct th_list told;
    int64_t now_ms = th_clock_monotonic_ms(desk->worker->clock);
    th_list_init(&told);
    say_end(fetch, document);
    if (document != NULL)
        document->asked_wall_ms = fetch->asked_wall_ms;
    pthread_mutex_lock(&desk->documents->lock);
    if (document != NULL)
        before = settle_success(entry, document, fresh_ms, now_ms);
    else if (fetch->failure.error != 0)
        settle_failure(entry, &fetch->failure, now_ms);
    entry->is_fetching = false;
    th_list_splice_back(&told, &entry->waiters);
    pthread_mutex_unlock(&desk->documents->lock);
    th_document_unref(before);
    th_list_remove(&fetch->link);
    th_free(fetch);
    tell(desk, &told);
}

static void fail(struct fetch *fetch, int error, struct th_str why, int64_t retry_after_ms)
{
    fetch->failure.error = error;
    fetch->failure.retry_after_ms = retry_after_ms;
    th_printable_copy(fetch->failure.why, sizeof fetch->failure.why, why);
}

static void on_fetched(void *arg, int error, const struct th_fetch_response *response,
                       const char *detail);

/* Asks at the next place. False when there is none, or it cannot be asked: failure says why. */
static bool try_next(struct fetch *fetch)
{
    const struct entry *entry = fetch->entry;
    struct th_document_desk *desk = fetch->desk;
    int64_t left_ms = fetch->deadline_ms - th_clock_monotonic_ms(desk->worker->clock);
    struct th_buf url;
    th_buf_init(&url, URL_MAX);
    bool started = false;
    if (entry->kind->place(entry->source.name, fetch->attempt++, &url)) {
        struct th_fetch_request request = {
            .url = th_buf_str(&url),
            .ca_file = entry->source.ca_file,
            .allow_cleartext = entry->source.allow_cleartext,
            .timeout_ms = left_ms > 0 ? left_ms : 1,
            .max_bytes = entry->kind->max_bytes,
        };
        int error = url.failed ? TH_E_NOMEM
                               : desk->fetcher->start(desk->fetcher, &request, on_fetched, fetch,
                                                      &fetch->fetch);
        started = error == 0;
        if (error == TH_E_NOMEM)
            fail(fetch, error, TH_STR("no memory to ask for it"), -1);
        else if (error != 0)
            fail(fetch, entry->kind->when_unusable, TH_STR("its URL cannot be asked"), -1);
    }
    th_buf_fini(&url);
    return started;
}

/* What came is none: whether another place may have it. */
static bool note_trouble(struct fetch *fetch, int error, const struct th_fetch_response *response,
                         const char *detail)
{
    char why[64];
    if (error != 0) {
        bool is_down = error == TH_E_EXCHANGE_DOWN || error == TH_E_EXCHANGE_TIMEOUT;
        if (error != TH_E_NOMEM)
            error = is_down ? TH_E_EXCHANGE_DOWN : fetch->entry->kind->when_unusable;
        fail(fetch, error, detail != NULL ? th_str_of(detail) : TH_STR("no answer came"), -1);
        return false;
    }
    (void)snprintf(why, sizeof why, "the answer's status is %d", response->status);
    if (response->status == 429 || response->status >= 500) {
        fail(fetch, TH_E_EXCHANGE_DOWN, th_str_of(why), response->retry_after_ms);
        return false;
    }
    if (fetch->failure.error == 0) /* what a place had that answered says more */
        fail(fetch, fetch->entry->kind->when_unusable, th_str_of(why), -1);
    return true;
}

static void on_fetched(void *arg, int error, const struct th_fetch_response *response,
                       const char *detail)
{
    struct fetch *fetch = arg;
    const struct entry *entry = fetch->entry;
    struct th_document *document = NULL;
    const char *why = "no memory to read it";
    fetch->fetch = NULL;
    if (error == 0 && response->status == 200) {
        error = entry->kind->read(&entry->source, response->body, &document, &why);
        if (error == 0) {
            fetch_end(fetch, document, response->fresh_ms);
            return;
        }
        fail(fetch, error == TH_E_NOMEM ? error : entry->kind->when_unusable, th_str_of(why), -1);
        if (error != TH_E_NOMEM && try_next(fetch))
            return;
    } else if (note_trouble(fetch, error, response, detail) && try_next(fetch)) {
        return;
    }
    fetch_end(fetch, NULL, -1);
}

/* The entry has been marked as being fetched. */
static int begin(struct th_document_desk *desk, struct entry *entry,
                 struct th_document_waiter *waiter, struct fetch *fetch,
                 struct th_document_failure *ret_failure)
{
    fetch->desk = desk;
    fetch->entry = entry;
    fetch->deadline_ms = th_clock_monotonic_ms(desk->worker->clock) + FETCH_MS;
    fetch->asked_wall_ms = th_clock_wall_ms(desk->worker->clock);
    th_list_push_back(&desk->fetches, &fetch->link);
    if (try_next(fetch))
        return TH_AGAIN;
    th_document_leave(waiter); /* this one is told at once */
    *ret_failure = fetch->failure;
    int error = ret_failure->error;
    fetch_end(fetch, NULL, -1);
    return error;
}

/* -- asking -------------------------------------------------------------------------------------- */

enum verdict { SERVE, FAIL, WAIT, BEGIN };

/* Under the lock. */
static enum verdict look(const struct entry *entry, const struct th_document *older, int64_t now_ms)
{
    bool wants_newer = older != NULL && entry->document == older;
    bool is_fresh = now_ms < entry->fresh_ms;
    bool may_serve = entry->document != NULL && !wants_newer && now_ms < entry->keep_ms;
    int64_t again_ms = wants_newer ? entry->asked_ms + NEWER_MS : entry->again_ms;
    if (may_serve && (is_fresh || (!entry->is_fetching && now_ms < again_ms)))
        return SERVE;
    if (entry->is_fetching)
        return WAIT;
    return now_ms < again_ms ? FAIL : BEGIN;
}

/* Under the lock. */
static void fill_failure(const struct entry *entry, const struct th_document *older, int64_t now_ms,
                         struct th_document_failure *ret_failure)
{
    bool wants_newer = older != NULL && entry->document == older;
    int64_t again_ms = wants_newer ? entry->asked_ms + NEWER_MS : entry->again_ms;
    *ret_failure = entry->failure;
    ret_failure->retry_after_ms = again_ms - now_ms;
    if (ret_failure->error != 0)
        return;
    ret_failure->error = TH_E_EXCHANGE_DOWN;
    (void)snprintf(ret_failure->why, sizeof ret_failure->why, "it was fetched moments ago");
}

/* One look at the entry, which is put there if it is not. What is used of what was made beforehand
 * is taken. */
struct asking {
    struct th_document_desk *desk;
    const struct th_document_kind *kind;
    const struct th_document_source *source;
    const struct th_document *older;
    struct th_document_waiter *waiter;
    struct entry *entry;
    int64_t now_ms;
    struct entry *spare, *leaving;
};

static enum verdict ask(struct asking *a, struct th_document **ret_document,
                        struct th_document_failure *ret_failure)
{
    struct th_documents *documents = a->desk->documents;
    a->entry = find(documents, a->kind, a->source);
    if (a->entry == NULL) {
        a->entry = th_take(&a->spare);
        a->leaving = add(documents, a->entry);
    }
    enum verdict verdict = look(a->entry, a->older, a->now_ms);
    switch (verdict) {
    case SERVE:
        *ret_document = th_document_ref(a->entry->document);
        break;
    case FAIL:
        fill_failure(a->entry, a->older, a->now_ms, ret_failure);
        break;
    case BEGIN:
        a->entry->is_fetching = true;
        a->entry->asked_ms = a->now_ms;
        th_list_push_back(&a->entry->waiters, &a->waiter->link);
        break;
    case WAIT:
        th_list_push_back(&a->entry->waiters, &a->waiter->link);
        break;
    }
    return verdict;
}

struct th_document *th_document_peek(struct th_document_desk *desk,
                                     const struct th_document_kind *kind,
                                     const struct th_document_source *source)
{
    int64_t now_ms = th_clock_monotonic_ms(desk->worker->clock);
    struct th_document *document = NULL;

    pthread_mutex_lock(&desk->documents->lock);
    const struct entry *entry = find(desk->documents, kind, source);
    if (entry != NULL && entry->document != NULL && now_ms < entry->keep_ms)
        document = th_document_ref(entry->document);
    pthread_mutex_unlock(&desk->documents->lock);
    return document;
}

static int fail_now(struct th_document_failure *ret_failure)
{
    *ret_failure = (struct th_document_failure){.error = TH_E_NOMEM, .retry_after_ms = -1};
    (void)snprintf(ret_failure->why, sizeof ret_failure->why, "no memory to ask for it");
    return TH_E_NOMEM;
}

int th_document_get(struct th_document_desk *desk, const struct th_document_kind *kind,
                    const struct th_document_source *source, const struct th_document *older,
                    struct th_document_waiter *waiter, struct th_document **ret_document,
                    struct th_document_failure *ret_failure)
{
    struct asking a = {.desk = desk, .kind = kind, .source = source, .older = older};
    TH_ASSERT(waiter->handle == 0);
    /* Made beforehand, as nothing is allocated under the lock. Exchanges ask, not requests. */
    TH_CLEANUP(th_freep) struct fetch *fetch = th_calloc(1, sizeof *fetch);
    a.spare = entry_new(kind, source);
    waiter->desk = desk;
    waiter->handle = th_handle_new(desk->worker->handles, waiter);
    a.waiter = waiter;
    a.now_ms = th_clock_monotonic_ms(desk->worker->clock);
    if (fetch == NULL || a.spare == NULL || waiter->handle == 0) {
        entry_free(a.spare);
        th_document_leave(waiter);
        return fail_now(ret_failure);
    }
    pthread_mutex_lock(&desk->documents->lock);
    enum verdict verdict = ask(&a, ret_document, ret_failure);
    pthread_mutex_unlock(&desk->documents->lock);
    entry_free(a.spare);
    entry_free(a.leaving);
    switch (verdict) {
    case SERVE:
    case FAIL:
        th_document_leave(waiter);
        return verdict == SERVE ? 0 : ret_failure->error;
    case WAIT:
        return TH_AGAIN;
    case BEGIN:
        break;
    }
    return begin(desk, a.entry, waiter, th_take(&fetch), ret_failure);
}

/* -- the desk ------------------------------------------------------------------------------------ */

int th_document_desk_new(struct th_documents *documents, struct th_worker *worker,
                         struct th_fetcher *fetcher, struct th_document_desk **ret_desk)
{
    struct th_document_desk *desk = th_calloc(1, sizeof *desk);
    if (desk == NULL)
        return TH_E_NOMEM;
    desk->documents = th_documents_ref(documents);
    desk->worker = worker;
    desk->fetcher = fetcher;
    th_list_init(&desk->fetches);
    *ret_desk = desk;
    return 0;
}

struct th_document_desk *th_document_desk_free(struct th_document_desk *desk)
{
    if (desk == NULL)
        return NULL;
    while (!th_list_is_empty(&desk->fetches)) {
        struct fetch *fetch = TH_LIST_ENTRY(desk->fetches.next, struct fetch, link);
        desk->fetcher->cancel(desk->fetcher, fetch->fetch);
        fetch->failure = (struct th_document_failure){0};
        fetch_end(fetch, NULL, -1);
    }
    th_documents_unref(desk->documents);
    th_free(desk);
    return NULL;
}
