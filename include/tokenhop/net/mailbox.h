/* Mailbox of one worker: the only way in which another thread speaks to it. Bounded; woken by an
 * eventfd, written only when the box was empty.
 *
 * A message is a value: a function, a handle that the receiver resolves (what it named may be
 * gone), and a payload whose ownership goes to the function. Messages of one sender arrive in
 * order. */
#ifndef TOKENHOP_NET_MAILBOX_H
#define TOKENHOP_NET_MAILBOX_H

#include <stdint.h>

#include "tokenhop/base/error.h"

struct th_worker;
struct th_message;
/* On the receiving worker's thread. Owns message->payload. */
typedef void th_message_fn(struct th_worker *worker, const struct th_message *message);

struct th_message {
    th_message_fn *fn;
    uint64_t handle;
    void *payload;
    int64_t number;
};

struct th_mailbox;

/* Any thread. 0, or TH_E_OVERLOADED when the box is full, or TH_E_DRAINING once the worker is being
 * freed: the payload stays the caller's then. */
int th_mailbox_post(struct th_mailbox *mailbox, const struct th_message *message) TH_MUST;

/* Handles: an index and a generation, so that a message about something that is gone finds nothing,
 * also when its place was taken again. 0 is never a handle. The worker's thread only. */
struct th_handles;
uint64_t th_handle_new(struct th_handles *handles, void *object) TH_MUST; /* 0: out of memory */
void *th_handle_find(const struct th_handles *handles, uint64_t handle);  /* NULL: gone */
void th_handle_drop(struct th_handles *handles, uint64_t handle);         /* 0 is fine */

#endif
