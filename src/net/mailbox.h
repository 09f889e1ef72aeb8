/* The receiving side of a mailbox: the worker's alone, but for th_mailbox_post_job().
 *
 * Two vectors change places: senders fill one under the lock while the worker delivers the other
 * without it. The eventfd is edge-triggered and never read: each write is an edge of its own.
 * Jobs that helpers have finished come on a list of their own, linked through the job: they cannot
 * be lost, as nothing is allocated and nothing counted. */
#ifndef TH_NET_MAILBOX_H
#define TH_NET_MAILBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "tokenhop/net/mailbox.h"

struct th_job;

int th_mailbox_new(size_t max, struct th_mailbox **ret_mailbox) TH_MUST;
struct th_mailbox *th_mailbox_free(
    struct th_mailbox *mailbox); /* delivered to its end; NULL is fine */
int th_mailbox_fd(const struct th_mailbox *mailbox);
/* Any thread: makes the descriptor readable. */
void th_mailbox_wake(struct th_mailbox *mailbox);
/* Any thread; the job's `done` runs on the worker. */
void th_mailbox_post_job(struct th_mailbox *mailbox, struct th_job *job);
/* Whether there may be something to deliver: one load. */
bool th_mailbox_is_filled(const struct th_mailbox *mailbox);
/* Delivers what is there now, not what comes meanwhile. Returns whether there was anything. */
bool th_mailbox_deliver(struct th_mailbox *mailbox, struct th_worker *worker);
/* From here on th_mailbox_post() says TH_E_DRAINING. */
void th_mailbox_close(struct th_mailbox *mailbox);

#endif
