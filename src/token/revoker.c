#include "tokenhop/token/revoker.h"

#include <stdio.h>

#include "revoker_batch.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/observe/log.h"

/* Of a batch's time, what one request may take: a server that hangs leaves the rest to the others. */
#define TRY_SHARE 4

struct th_revoker {
    struct th_revoker_options options;
    struct th_list desks; /* the same from the workers' start to their end */
    size_t n_desks;
};

/* Worker's. */
struct th_revoker_desk {
    struct th_list link; /* revoker->desks */
    struct th_revoker *revoker;
    struct th_worker *worker;
    const struct th_exchange_ops *ops;
    void *exchanger;
    struct th_list parts;
    uint64_t handle;
    size_t n_tries, max_tries; /* under way; this desk's share of TH_REVOKER_PARALLEL */
};

/* What a desk has to do with a batch. Worker's. */
struct part {
    struct th_list link; /* desk->parts */
    struct th_revoker_desk *desk;
    struct th_batch *batch;
    struct th_list tries;
    size_t n_tries;
    struct th_timer again; /* a server has asked to come back then */
};

struct
try {
    struct th_list link; /* part->tries */
    struct part *part;
    struct th_revocation revocation;
    struct th_exchange *exchange;
};

int th_revoker_new(const struct th_revoker_options *options, struct th_revoker **ret_revoker)
{
    struct th_revoker *revoker = th_calloc(1, sizeof *revoker);
    if (revoker == NULL)
        return TH_E_NOMEM;
    revoker->options = *options;
    th_list_init(&revoker->desks);
    *ret_revoker = revoker;
    return 0;
}

struct th_revoker *th_revoker_free(struct th_revoker *revoker)
{
    if (revoker != NULL) {
        TH_REQUIRE(th_list_is_empty(&revoker->desks));
        th_free(revoker);
    }
    return NULL;
}

static int64_t now_of(const struct th_revoker_desk *desk)
{
    return th_clock_monotonic_ms(desk->revoker->options.clock);
}

/* -- a part of a batch --------------------------------------------------------------------------- */

static void on_again(struct th_timer *timer);

static struct part *part_new(struct th_revoker_desk *desk, struct th_batch *batch)
{
    struct part *part = th_calloc(1, sizeof *part);
    if (part == NULL)
        return NULL;
    part->desk = desk;
    part->batch = batch;
    th_list_init(&part->tries);
    th_timer_init(&part->again, on_again);
    th_list_push_back(&desk->parts, &part->link);
    return part;
}

static void part_end(struct part *part)
{
    struct th_revoker_desk *desk = part->desk;
    struct th_batch *batch = part->batch;
    th_timer_stop(&desk->worker->wheel, &part->again);
    th_list_remove(&part->link);
    th_free(part);
    th_batch_leave(batch, desk->worker);
}

/* Without any part of the token: who it was got for is seen by the fingerprint, as in the access log. */
static void say_failure(const struct part *part, const struct th_revocation *revocation,
                        const struct th_cache_key *key, const struct th_exchange_result *result)
{
    char subject[TH_FINGERPRINT_LEN + 1];
    th_secret_fingerprint(key->subject, sizeof key->subject, subject);
    TH_LOG(part->desk->worker->log, TH_LEVEL_WARN, "revocation.failed",
           "A credential that was dropped could not be revoked",
           TH_LOG_STR("connection", revocation->place->connection->name),
           TH_LOG_STR("agent", revocation->place->agent->name),
           TH_LOG_STR("authorization_server", revocation->queue->server->name),
           TH_LOG_TEXT("subject", subject), TH_LOG_ERR("error", result->error),
           TH_LOG_TEXT("oauth_error", result->oauth_error),
           TH_LOG_INT("status", result->n_legs > 0 ? result->legs[0].status : 0),
           TH_LOG_TEXT("detail", result->detail));
}

static void note(struct part *part, struct th_revocation *revocation,
                 const struct th_exchange_result *result)
{
    struct th_cache_key key = revocation->entry->key;
    if (th_batch_note(part->batch, revocation, result, now_of(part->desk)))
        say_failure(part, revocation, &key, result);
}

static void desk_go_on(struct th_revoker_desk *desk);

static void try_end(struct try *try, const struct th_exchange_result *result)
{
    struct part *part = try->part;
    note(part, &try->revocation, result);
    th_list_remove(&try->link);
    part->n_tries--;
    part->desk->n_tries--;
    th_free(try);
}

static void on_revoked(void *arg, const struct th_exchange_result *result)
{
    struct try *try = arg;
    struct part *part = try->part;
    struct th_revoker_desk *desk = part->desk;
    try_end(try, result);
    th_list_remove(&part->link); /* who waits longest comes first */
    th_list_push_back(&desk->parts, &part->link);
    desk_go_on(desk);
}

static int start_try(struct part *part, const struct th_revocation *revocation, int64_t now_ms,
                     struct th_errinfo *reterr)
{
    struct th_revoker_desk *desk = part->desk;
    struct th_batch *batch = part->batch;
    int64_t try_ms = (batch->deadline_ms - batch->started_ms) / TRY_SHARE;
    const struct th_exchange_request request = {
        .config = th_directory_config(batch->directory),
        .agent = revocation->place->agent,
        .connection = revocation->place->connection,
        .rejected_token = th_batch_token(revocation->entry),
        .deadline_ms = now_ms + try_ms < batch->deadline_ms ? now_ms + try_ms : batch->deadline_ms,
    };
    struct try *try = th_calloc(1, sizeof *try);
    if (try == NULL)
        return th_errinfo_set(reterr, TH_E_NOMEM, NULL, NULL, "no memory for a revocation");
    try->part = part;
    try->revocation = *revocation;
    int error =
        desk->ops->revoke(desk->exchanger, &request, on_revoked, try, &try->exchange, reterr);
    if (error != 0) {
        th_free(try);
        return error;
    }
    th_list_push_back(&part->tries, &try->link);
    part->n_tries++;
    desk->n_tries++;
    return 0;
}

static void part_try(struct part *part, struct th_revocation *revocation, int64_t now_ms)
{
    struct th_errinfo info = {0};
    int error = start_try(part, revocation, now_ms, &info);
    if (error == 0)
        return;
    struct th_exchange_result result = {.error = error, .retry_after_ms = -1};
    (void)snprintf(result.detail, sizeof result.detail, "%.*s", (int)sizeof result.detail - 1,
                   info.what);
    note(part, revocation, &result);
}

/* Begins as many as may run; ends the part when nothing of it runs and nothing is left. */
static void part_go_on(struct part *part)
{
    struct th_revoker_desk *desk = part->desk;
    struct th_revocation revocation;
    int64_t now_ms = now_of(desk), again_ms = 0;
    int error = 0;
    while (error == 0 && desk->n_tries < desk->max_tries) {
        error = th_batch_take(part->batch, now_ms, &revocation, &again_ms);
        if (error == 0)
            part_try(part, &revocation, now_ms);
    }
    if (error == TH_AGAIN)
        th_timer_set(&desk->worker->wheel, &part->again, again_ms);
    else if (error != 0 && part->n_tries == 0)
        part_end(part);
}

static void desk_go_on(struct th_revoker_desk *desk)
{
    struct th_list *next;
    for (struct th_list *it = desk->parts.next; it != &desk->parts; it = next) {
        next = it->next;
        part_go_on(TH_LIST_ENTRY(it, struct part, link));
    }
}

static void on_again(struct th_timer *timer)
{
    part_go_on(TH_CONTAINER_OF(timer, struct part, again));
}

/* -- the desk ------------------------------------------------------------------------------------ */

static size_t share_of(size_t n_desks)
{
    return n_desks < TH_REVOKER_PARALLEL ? TH_REVOKER_PARALLEL / n_desks : 1;
}

int th_revoker_desk_new(struct th_revoker *revoker, struct th_worker *worker,
                        const struct th_exchange_ops *ops, void *exchanger,
                        struct th_revoker_desk **ret_desk)
{
    struct th_revoker_desk *desk = th_calloc(1, sizeof *desk);
    if (desk == NULL)
        return TH_E_NOMEM;
    desk->revoker = revoker;
    desk->worker = worker;
    desk->ops = ops;
    desk->exchanger = exchanger;
    th_list_init(&desk->parts);
    desk->handle = th_handle_new(worker->handles, desk);
    if (desk->handle == 0) {
        th_free(desk);
        return TH_E_NOMEM;
    }
    th_list_push_back(&revoker->desks, &desk->link);
    revoker->n_desks++;
    *ret_desk = desk;
    return 0;
}

static void cut(struct part *part)
{
    const struct th_exchange_result result = {
        .error = TH_E_DRAINING, .retry_after_ms = -1, .detail = "tokenhop ends"};
    while (!th_list_is_empty(&part->tries)) {
        struct try *try = TH_LIST_ENTRY(part->tries.next, struct try, link);
        part->desk->ops->cancel(try->exchange);
        try_end(try, &result);
    }
    part_end(part);
}

struct th_revoker_desk *th_revoker_desk_free(struct th_revoker_desk *desk)
{
    if (desk == NULL)
        return NULL;
    while (!th_list_is_empty(&desk->parts))
        cut(TH_LIST_ENTRY(desk->parts.next, struct part, link));
    th_handle_drop(desk->worker->handles, desk->handle);
    th_list_remove(&desk->link);
    desk->revoker->n_desks--;
    th_free(desk);
    return NULL;
}

/* -- the start ----------------------------------------------------------------------------------- */

static void on_batch(struct th_worker *worker, const struct th_message *message)
{
    struct th_batch *batch = message->payload;
    struct th_revoker_desk *desk = th_handle_find(worker->handles, message->handle);
    struct part *part = NULL;
    if (desk != NULL) {
        desk->max_tries = share_of(desk->revoker->n_desks);
        part = part_new(desk, batch);
    }
    if (part != NULL)
        part_go_on(part);
    else
        th_batch_leave(batch, NULL);
}

static void post(struct th_revoker_desk *desk, struct th_batch *batch)
{
    const struct th_message message = {.fn = on_batch, .handle = desk->handle, .payload = batch};
    th_batch_join(batch);
    if (th_mailbox_post(desk->worker->mailbox, &message) != 0)
        th_batch_leave(batch, NULL); /* not the last one: its starter has not left */
}

void th_revoker_start(struct th_revoker *revoker, struct th_dropped *dropped,
                      const struct th_revoker_batch *what)
{
    struct th_batch *batch = th_batch_new(dropped, what, &revoker->options);
    if (batch == NULL) {
        const struct th_revoker_outcome outcome = {.n_failed = dropped->n + dropped->n_lost};
        th_dropped_fini(dropped);
        th_batch_say(what, &outcome, &revoker->options);
        return;
    }
    size_t n_parts = th_batch_count(batch);
    if (n_parts > TH_REVOKER_PARALLEL)
        n_parts = TH_REVOKER_PARALLEL;
    struct th_list *it = revoker->desks.next;
    for (size_t i = 0; i < n_parts && it != &revoker->desks; i++, it = it->next)
        post(TH_LIST_ENTRY(it, struct th_revoker_desk, link), batch);
    th_batch_leave(batch, NULL);
}
