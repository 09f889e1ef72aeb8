#include "revoker_batch.h"

#include "tokenhop/base/mem.h"
#include "tokenhop/oauth/plan.h"
#include "tokenhop/observe/log.h"
#include "tokenhop/observe/metrics.h"

/* A credential that the destination did not take may wait with the refusal for being revoked. */
static const struct th_credential *credential_of(const struct th_cache_entry *entry)
{
    if (entry->credential != NULL)
        return entry->credential;
    return entry->of.setback != NULL ? entry->of.setback->rejected : NULL;
}

struct th_str th_batch_token(const struct th_cache_entry *entry)
{
    const struct th_credential *credential = credential_of(entry);
    return credential != NULL && credential->is_revocable ? th_credential_secret(credential)
                                                          : TH_STR_NONE;
}

static void give_back(struct th_cache_entry *entry)
{
    struct th_cache_waste waste;
    th_cache_waste_init(&waste);
    th_list_push_back(&waste.entries, &entry->link);
    th_cache_waste_empty(&waste);
}

static bool is_over(const struct th_batch *batch, const struct th_revoker_queue *queue)
{
    return queue->n_silences >= TH_REVOKER_SILENCES || queue->not_before_ms >= batch->deadline_ms;
}

/* -- filling ------------------------------------------------------------------------------------- */

/* The queue of the server that issued it; NULL: it cannot be revoked. */
static struct th_revoker_queue *queue_of(struct th_batch *batch, const struct th_cache_entry *entry)
{
    const struct th_directory_place *place = th_directory_find(batch->directory, entry->key.scope);
    if (place == NULL || th_batch_token(entry).len == 0)
        return NULL;
    const struct th_plan_leg *revocation = th_plan_get(place->connection->type)->revocation;
    if (revocation == NULL)
        return NULL;
    const struct th_config_authorization_server *server =
        th_plan_leg_server(revocation, place->agent, place->connection);
    for (size_t i = 0; i < batch->n_queues; i++)
        if (batch->queues[i].server == server)
            return &batch->queues[i];
    return NULL;
}

static void fill(struct th_batch *batch, struct th_dropped *dropped)
{
    struct th_list *item;
    while ((item = th_list_pop_front(&dropped->entries)) != NULL) {
        struct th_cache_entry *entry = TH_LIST_ENTRY(item, struct th_cache_entry, link);
        struct th_revoker_queue *queue = queue_of(batch, entry);
        if (queue != NULL) {
            th_list_push_back(&queue->entries, item);
            queue->n++;
        } else {
            th_list_push_back(&batch->skipped, item);
            batch->outcome.n_skipped++;
        }
    }
    batch->outcome.n_failed = dropped->n_lost;
}

struct th_batch *th_batch_new(struct th_dropped *dropped, const struct th_revoker_batch *what,
                              const struct th_revoker_options *options)
{
    const struct th_config_view *view =
        dropped->directory != NULL ? th_config_get(th_directory_config(dropped->directory)) : NULL;
    size_t n_servers = view != NULL ? view->n_servers : 0;
    struct th_batch *batch =
        th_calloc(1, sizeof *batch + n_servers * sizeof(struct th_revoker_queue));
    if (batch == NULL)
        return NULL;
    TH_REQUIRE(pthread_mutex_init(&batch->lock, NULL) == 0);
    batch->what = *what;
    batch->options = *options;
    batch->started_ms = th_clock_monotonic_ms(options->clock);
    batch->deadline_ms = batch->started_ms + what->limit_ms;
    batch->n_parts = 1;
    th_list_init(&batch->skipped);
    batch->n_queues = n_servers;
    for (size_t i = 0; i < n_servers; i++) {
        batch->queues[i].server = &view->servers[i];
        th_list_init(&batch->queues[i].entries);
    }
    batch->directory = th_take(&dropped->directory);
    fill(batch, dropped);
    return batch;
}

/* -- taking -------------------------------------------------------------------------------------- */

size_t th_batch_count(struct th_batch *batch)
{
    size_t n = 0;
    pthread_mutex_lock(&batch->lock);
    for (size_t i = 0; i < batch->n_queues; i++)
        n += batch->queues[i].n;
    pthread_mutex_unlock(&batch->lock);
    return n;
}

/* Under the lock. NULL: none now; *ret_again_ms is INT64_MAX where there is none later either. In turn,
 * so that no server waits for another. */
static struct th_revoker_queue *next_queue(struct th_batch *batch, int64_t now_ms,
                                           int64_t *ret_again_ms)
{
    *ret_again_ms = INT64_MAX;
    for (size_t i = 0; i < batch->n_queues; i++) {
        size_t at = (batch->turn + i) % batch->n_queues;
        struct th_revoker_queue *queue = &batch->queues[at];
        if (queue->n == 0 || is_over(batch, queue))
            continue;
        if (queue->not_before_ms <= now_ms) {
            batch->turn = (at + 1) % batch->n_queues;
            return queue;
        }
        if (queue->not_before_ms < *ret_again_ms)
            *ret_again_ms = queue->not_before_ms;
    }
    return NULL;
}

int th_batch_take(struct th_batch *batch, int64_t now_ms, struct th_revocation *ret_revocation,
                  int64_t *ret_again_ms)
{
    if (now_ms >= batch->deadline_ms)
        return TH_E_DRAINING;
    *ret_revocation = (struct th_revocation){0};
    pthread_mutex_lock(&batch->lock);
    struct th_revoker_queue *queue = next_queue(batch, now_ms, ret_again_ms);
    if (queue != NULL) {
        struct th_list *item = th_list_pop_front(&queue->entries);
        queue->n--;
        ret_revocation->entry = TH_LIST_ENTRY(item, struct th_cache_entry, link);
        ret_revocation->queue = queue;
    }
    pthread_mutex_unlock(&batch->lock);
    if (queue == NULL)
        return *ret_again_ms == INT64_MAX ? TH_E_DRAINING : TH_AGAIN;
    ret_revocation->place = th_directory_find(batch->directory, ret_revocation->entry->key.scope);
    return 0;
}

/* Under the lock. Whether it is to be tried once more. What the entry's `purged` was for is over: here it
 * says that it was put back before. */
static bool puts_back(struct th_batch *batch, struct th_revocation *revocation,
                      const struct th_exchange_result *result)
{
    struct th_revoker_queue *queue = revocation->queue;
    if (result->error != TH_E_EXCHANGE_DOWN || result->retry_after_ms < 0 ||
        is_over(batch, queue) || revocation->entry->purged)
        return false;
    revocation->entry->purged = true;
    th_list_push_front(&queue->entries, &revocation->entry->link);
    queue->n++;
    return true;
}

/* No word came from there; else than when the request could not even be made. */
static bool is_silence(const struct th_exchange_result *result)
{
    bool has_status = result->n_legs > 0 && result->legs[0].status != 0;
    return !has_status && result->error != 0 && result->error != TH_E_CONFIG &&
           result->error != TH_E_DRAINING;
}

bool th_batch_note(struct th_batch *batch, struct th_revocation *revocation,
                   const struct th_exchange_result *result, int64_t now_ms)
{
    struct th_revoker_queue *queue = revocation->queue;
    pthread_mutex_lock(&batch->lock);
    queue->n_silences = is_silence(result) ? queue->n_silences + 1 : 0;
    if (result->error == TH_E_EXCHANGE_DOWN && result->retry_after_ms > 0 &&
        queue->not_before_ms < now_ms + result->retry_after_ms)
        queue->not_before_ms = now_ms + result->retry_after_ms;
    bool is_back = puts_back(batch, revocation, result);
    if (!is_back && result->error == 0)
        batch->outcome.n_revoked++;
    else if (!is_back)
        batch->outcome.n_failed++;
    pthread_mutex_unlock(&batch->lock);
    if (!is_back)
        give_back(revocation->entry);
    revocation->entry = NULL;
    return !is_back && result->error != 0;
}

/* -- the end ------------------------------------------------------------------------------------- */

void th_batch_join(struct th_batch *batch)
{
    pthread_mutex_lock(&batch->lock);
    batch->n_parts++;
    pthread_mutex_unlock(&batch->lock);
}

void th_batch_say(const struct th_revoker_batch *what, const struct th_revoker_outcome *outcome,
                  const struct th_revoker_options *options)
{
    struct th_metrics_shard *metrics = options->metrics;
    size_t n = outcome->n_revoked + outcome->n_failed + outcome->n_unasked;
    th_metrics_add(metrics, TH_METRIC_REVOCATIONS, (int64_t)outcome->n_revoked);
    th_metrics_add(metrics, TH_METRIC_REVOCATIONS_FAILED, (int64_t)outcome->n_failed);
    th_metrics_add(metrics, TH_METRIC_REVOCATIONS_UNASKED, (int64_t)outcome->n_unasked);
    if (n + outcome->n_skipped > 0)
        TH_LOG(options->log, outcome->n_revoked == n ? TH_LEVEL_INFO : TH_LEVEL_WARN,
               "revocation.ended",
               "Credentials that were dropped were revoked, as far as they can be",
               TH_LOG_TEXT("why", what->why), TH_LOG_UINT("revoked", outcome->n_revoked),
               TH_LOG_UINT("failed", outcome->n_failed), TH_LOG_UINT("unasked", outcome->n_unasked),
               TH_LOG_UINT("not_revocable", outcome->n_skipped),
               TH_LOG_INT("duration_ms", outcome->duration_ms));
    if (what->fn != NULL)
        what->fn(what->arg, outcome);
}

static void empty(struct th_job *job)
{
    struct th_batch *batch = TH_CONTAINER_OF(job, struct th_batch, job);
    struct th_cache_waste waste;
    th_cache_waste_init(&waste);
    th_list_splice_back(&waste.entries, &batch->skipped);
    for (size_t i = 0; i < batch->n_queues; i++)
        th_list_splice_back(&waste.entries, &batch->queues[i].entries);
    th_cache_waste_empty(&waste);
    batch->directory = th_directory_unref(batch->directory);
}

static void batch_free(struct th_job *job)
{
    struct th_batch *batch = TH_CONTAINER_OF(job, struct th_batch, job);
    if (job->skipped)
        empty(job);
    pthread_mutex_destroy(&batch->lock);
    th_free(batch);
}

void th_batch_leave(struct th_batch *batch, struct th_worker *worker)
{
    pthread_mutex_lock(&batch->lock);
    bool is_last = --batch->n_parts == 0;
    pthread_mutex_unlock(&batch->lock);
    if (!is_last)
        return;
    batch->outcome.n_unasked = th_batch_count(batch);
    batch->outcome.duration_ms = th_clock_monotonic_ms(batch->options.clock) - batch->started_ms;
    th_batch_say(&batch->what, &batch->outcome, &batch->options);
    /* There may be a hundred thousand, each to be wiped: not in a worker's turn. */
    batch->job = (struct th_job){.work = empty, .done = batch_free};
    if (worker != NULL && worker->helpers != NULL &&
        th_helpers_submit(worker->helpers, worker, &batch->job) == 0)
        return;
    empty(&batch->job);
    batch_free(&batch->job);
}
