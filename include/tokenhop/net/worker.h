/* A worker: one thread, one libevent loop, and everything that only it touches. A connection never
 * changes its worker. Rooms above the net keep their own per-worker state and hang it on `proxy`.
 *
 * All functions here run on the worker's thread unless they say otherwise. */
#ifndef TOKENHOP_NET_WORKER_H
#define TOKENHOP_NET_WORKER_H

#include <stdint.h>

#include "tokenhop/base/chunk.h"
#include "tokenhop/base/clock.h"
#include "tokenhop/net/mailbox.h"
#include "tokenhop/net/network.h"
#include "tokenhop/net/pipe.h"
#include "tokenhop/net/timer.h"

struct event_base;
struct th_helpers;
struct th_resolver;
struct th_log;
struct th_metrics_shard;
struct th_spans;

#define TH_SCRATCH_SIZE (96 * 1024)

struct th_worker {
    struct event_base *base;
    unsigned index;
    const struct th_clock *clock;
    struct th_network *network;
    struct th_helpers *helpers;   /* shared by all workers; may be NULL in tests that need none */
    struct th_resolver *resolver; /* this worker's */
    struct th_log *log;           /* may be NULL in tests */
    struct th_metrics_shard *metrics; /* may be NULL in tests */
    struct th_spans *spans;           /* of what ends here, for a collector; NULL: none is told */
    struct th_wheel wheel;
    struct th_chunk_pool chunks;
    struct th_pipe_pool pipes;
    struct th_mailbox *mailbox;
    struct th_handles *handles;
    struct th_list graveyard; /* objects to be freed at the end of this turn of the loop */
    void *proxy;              /* what the proxy room keeps for this worker */
    int64_t now_ms;           /* monotonic, of this turn of the loop */
    /* Room for building a head before it is written: valid only until control returns to the loop.
     */
    char *scratch; /* TH_SCRATCH_SIZE */
    struct th_worker_private *private;
};

struct th_worker_options {
    unsigned index;
    const struct th_clock *clock;
    struct th_network *network;
    struct th_helpers *helpers;
    struct th_log *log;
    struct th_metrics_shard *metrics;
    struct th_spans *spans;
    size_t mailbox_size; /* messages; 0: 65536 */
    size_t keep_chunks;  /* free chunks kept; 0: 256 */
};

/* Any thread; makes the loop, wheel, pool, mailbox and resolver. */
int th_worker_new(const struct th_worker_options *options, struct th_worker **ret_worker) TH_MUST;
/* After it has stopped, on any thread, but after th_helpers_stop(). NULL is fine. Whatever lives on
 * it must be gone before. What is still in the mailbox is delivered here, to functions whose
 * handles find nothing. */
struct th_worker *th_worker_free(struct th_worker *worker);

/* Runs the loop until th_worker_stop(). */
void th_worker_run(struct th_worker *worker);
/* Any thread: ends th_worker_run() at the end of the current turn. */
void th_worker_stop(struct th_worker *worker);
/* One turn without waiting: handles what is ready now, turns the wheel to the clock's time, buries.
 * Returns whether anything happened. For tests with a turned clock, instead of th_worker_run(). */
bool th_worker_turn(struct th_worker *worker);
/* The number of this turn. What the kernel reports in it had happened before it began. */
uint64_t th_worker_turn_number(const struct th_worker *worker);

/* Deferred freeing: never free inside a callback. `bury` is called with `item` at the end of the
 * turn. */
struct th_grave {
    struct th_list link;
    void (*bury)(struct th_worker *worker, struct th_grave *grave);
};
void th_worker_bury(struct th_worker *worker, struct th_grave *grave);

/* Deferred calling: `fn` runs once, in this turn of the loop, after the events that are ready now
 * and from no callback of anybody. Embedded in its owner, who must cancel it before it goes. */
struct th_soon {
    struct th_list link;
    void (*fn)(struct th_soon *soon);
};
void th_worker_soon(struct th_worker *worker, struct th_soon *soon); /* asked for already: fine */
void th_soon_cancel(struct th_soon *soon); /* not asked for, or zeroed: fine */

/* Whoever hangs own events on `base` calls this first in their callbacks: it brings now_ms up to
 * date, once a turn. */
void th_worker_awake(struct th_worker *worker);

#endif
