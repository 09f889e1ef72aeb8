/* Helper threads: for what would block a worker or stall its loop (name resolution, RSA signatures,
 * files). Bounded queue. Shared by all workers. */
#ifndef TOKENHOP_NET_HELPERS_H
#define TOKENHOP_NET_HELPERS_H

#include <stdbool.h>
#include <stddef.h>

#include "tokenhop/base/list.h"
#include "tokenhop/net/mailbox.h"

/* A job is its submitter's memory, allocated for itself: whoever asked may be gone when it is done,
 * hence `done` must find them by handle. From submit until `done` the job belongs to the helpers.
 */
struct th_job {
    struct th_list link;
    struct th_worker *worker;         /* filled by submit and post */
    bool skipped;                     /* filled: the helpers were stopped before `work` was run */
    void (*work)(struct th_job *job); /* on a helper thread; may block */
    void (*done)(struct th_job *job); /* on the worker's thread; owns the job: frees it */
};

struct th_helpers;
int th_helpers_new(size_t n_threads, size_t max_waiting, struct th_helpers **ret_helpers) TH_MUST;
/* Any worker. 0, or TH_E_OVERLOADED when the queue is full, TH_E_DRAINING when stopped (the job
 * stays the caller's). */
int th_helpers_submit(struct th_helpers *helpers, struct th_worker *worker,
                      struct th_job *job) TH_MUST;
/* Any thread: `done` runs on the worker in one of its next turns, and `work` nowhere. It cannot be
 * lost, as nothing is allocated and nothing counted: for what must arrive, however full the mailbox
 * is. From now until `done` the job is the worker's; what is left when the worker is freed is done
 * then. */
void th_worker_post_job(struct th_worker *worker, struct th_job *job);
/* Takes no more, waits for what runs, posts what is done and, skipped, what was not begun. After
 * the workers have stopped running and before they are freed, which delivers these; then free. */
void th_helpers_stop(struct th_helpers *helpers);
struct th_helpers *th_helpers_free(struct th_helpers *helpers);

#endif
