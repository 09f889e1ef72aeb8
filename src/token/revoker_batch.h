/* A batch of dropped credentials on its way to be revoked: one queue an authorization server, from which
 * the parts that desks have in it take. Counted by these parts; the last that leaves ends it. */
#ifndef TOKENHOP_SRC_TOKEN_REVOKER_BATCH_H
#define TOKENHOP_SRC_TOKEN_REVOKER_BATCH_H

#include "cache.h"
#include "tokenhop/net/helpers.h"
#include "tokenhop/token/revoker.h"

struct th_revoker_queue {
    struct th_list entries; /* ABSENT ones of the cache */
    size_t n;
    const struct th_config_authorization_server *server;
    int64_t not_before_ms; /* it asked to come back then */
    unsigned n_silences;   /* tries in a row that were not answered */
};

/* Shared; what changes is under its lock, a leaf. */
struct th_batch {
    struct th_job job; /* to be given back on a helper thread */
    pthread_mutex_t lock;
    struct th_directory *directory; /* counted; NULL: nothing can be revoked */
    struct th_revoker_batch what;
    struct th_revoker_options options;
    int64_t started_ms, deadline_ms;
    size_t n_parts;
    size_t turn; /* the queue to be asked first */
    struct th_revoker_outcome outcome;
    struct th_list skipped; /* entries that cannot be revoked, to be given back */
    size_t n_queues;
    struct th_revoker_queue queues[];
};

/* A credential to be revoked, out of its queue. */
struct th_revocation {
    struct th_cache_entry *entry;
    struct th_revoker_queue *queue;
    const struct th_directory_place *place;
};

/* Takes over what is in `dropped`, unless it is NULL for want of memory. */
struct th_batch *th_batch_new(struct th_dropped *dropped, const struct th_revoker_batch *what,
                              const struct th_revoker_options *options) TH_MUST;
size_t th_batch_count(struct th_batch *batch); /* that wait to be revoked */
/* 0; TH_AGAIN: not before *ret_again_ms, or when a try that is under way elsewhere puts its own back;
 * TH_E_DRAINING: nothing is left to be asked. */
int th_batch_take(struct th_batch *batch, int64_t now_ms, struct th_revocation *ret_revocation,
                  int64_t *ret_again_ms) TH_MUST;
/* What became of one: counts it and gives it back, or puts it back to be tried once more; returns
 * whether it has failed. */
bool th_batch_note(struct th_batch *batch, struct th_revocation *revocation,
                   const struct th_exchange_result *result, int64_t now_ms);
/* The token of an entry; empty: it has none that could be revoked. */
struct th_str th_batch_token(const struct th_cache_entry *entry);

void th_batch_join(struct th_batch *batch);
/* A part leaves. The last one ends the batch: logs, counts, calls, frees. `worker`: that of the caller, so
 * that what is left is given back elsewhere; NULL: here. */
void th_batch_leave(struct th_batch *batch, struct th_worker *worker);
/* The summary, and the call. */
void th_batch_say(const struct th_revoker_batch *what, const struct th_revoker_outcome *outcome,
                  const struct th_revoker_options *options);

#endif
