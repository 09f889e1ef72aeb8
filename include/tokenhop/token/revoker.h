/* The revoker: says to authorization servers that credentials are not used any more (RFC 7009), after
 * they were dropped from the cache, so that nobody picks up a dead one. Shared by all workers; each has
 * a desk at it, whose exchanger it asks through.
 *
 * What is dropped together is one batch, within one bound of time: all desks take from it, a few at a
 * time over all of them, in the turns of their loops and beside the requests they carry; nothing
 * waits for it. Which credentials can be revoked, and how, is their plan's affair (oauth/plan.h); the
 * agent that got one says so, authenticated as the batch's configuration has it. A server that asks to
 * come back later (503 with Retry-After) is asked once more, and one that did not answer
 * TH_REVOKER_SILENCES times in a row is not asked on. Breakers of token endpoints neither hold a revocation
 * off nor hear of it. Each failure is a line in the log, each batch one more; results are counted. */
#ifndef TOKENHOP_TOKEN_REVOKER_H
#define TOKENHOP_TOKEN_REVOKER_H

#include "tokenhop/net/worker.h"
#include "tokenhop/token/broker.h"

/* Requests to revocation endpoints at a time, over all workers. */
#define TH_REVOKER_PARALLEL 16
#define TH_REVOKER_SILENCES 3

struct th_revoker;
struct th_revoker_desk;

struct th_revoker_options {
    const struct th_clock *clock;
    struct th_log *log;               /* these two may be NULL */
    struct th_metrics_shard *metrics; /* the one that all threads share */
};
int th_revoker_new(const struct th_revoker_options *options,
                   struct th_revoker **ret_revoker) TH_MUST;
struct th_revoker *th_revoker_free(struct th_revoker *revoker); /* after all desks; NULL is fine */

/* Before the workers run. */
int th_revoker_desk_new(struct th_revoker *revoker, struct th_worker *worker,
                        const struct th_exchange_ops *ops, void *exchanger,
                        struct th_revoker_desk **ret_desk) TH_MUST;
/* After all workers have stopped, and nothing is started any more; before its exchanger and any worker
 * are freed: what it was asking is cut and counts as failed. NULL is fine. */
struct th_revoker_desk *th_revoker_desk_free(struct th_revoker_desk *desk);

struct th_revoker_outcome {
    size_t n_revoked;
    size_t n_failed;  /* refused, or not answered */
    size_t n_unasked; /* the time was over, or their server does not answer */
    size_t n_skipped; /* cannot be revoked: secrets, service accounts; refusals */
    int64_t duration_ms;
};
/* Once, on any worker's thread, or before th_revoker_start() returns when there is nothing to ask. */
typedef void th_revoker_fn(void *arg, const struct th_revoker_outcome *outcome);

struct th_revoker_batch {
    const char *why;   /* literal, for the log: "exit", "removal", "command" */
    int64_t limit_ms;  /* for all of it: timeouts.revoke */
    th_revoker_fn *fn; /* NULL: nobody waits */
    void *arg;
};
/* Takes over what is in `dropped`, also when memory is short (then all of it has failed). Any thread. */
void th_revoker_start(struct th_revoker *revoker, struct th_dropped *dropped,
                      const struct th_revoker_batch *batch);

#endif
