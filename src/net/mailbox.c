#include "mailbox.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tokenhop/base/list.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/net/helpers.h"
#include "tokenhop/net/worker.h"

#define FIRST_MESSAGES 64
#define KEPT_MESSAGES 1024 /* a vector that a burst has grown beyond is given back */

struct vector {
    struct th_message *messages;
    size_t count;
    size_t size;
};

struct th_mailbox {
    pthread_mutex_t lock; /* innermost: nothing is locked while it is held */
    struct vector filling;
    struct th_list jobs;
    bool closed;
    atomic_bool filled; /* a hint for the worker, written under the lock */
    size_t max;
    int fd;
    struct vector delivering; /* the worker's */
};

int th_mailbox_new(size_t max, struct th_mailbox **ret_mailbox)
{
    struct th_mailbox *mailbox = th_calloc(1, sizeof(*mailbox));

    if (mailbox == NULL)
        return TH_E_NOMEM;
    mailbox->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (mailbox->fd < 0) {
        th_free(mailbox);
        return TH_E_IO;
    }
    TH_REQUIRE(pthread_mutex_init(&mailbox->lock, NULL) == 0);
    th_list_init(&mailbox->jobs);
    atomic_init(&mailbox->filled, false);
    mailbox->max = max;
    *ret_mailbox = mailbox;
    return 0;
}

struct th_mailbox *th_mailbox_free(struct th_mailbox *mailbox)
{
    if (mailbox == NULL)
        return NULL;
    TH_REQUIRE(mailbox->filling.count == 0 && th_list_is_empty(&mailbox->jobs));
    pthread_mutex_destroy(&mailbox->lock);
    close(mailbox->fd);
    th_free(mailbox->filling.messages);
    th_free(mailbox->delivering.messages);
    th_free(mailbox);
    return NULL;
}

int th_mailbox_fd(const struct th_mailbox *mailbox)
{
    return mailbox->fd;
}

void th_mailbox_wake(struct th_mailbox *mailbox)
{
    uint64_t one = 1;
    /* It can only fail when the count is full, and then the descriptor is readable. */
    ssize_t n = write(mailbox->fd, &one, sizeof(one));
    (void)n;
}

static int push(struct vector *vector, size_t max, const struct th_message *message)
{
    if (vector->count >= max)
        return TH_E_OVERLOADED;
    if (vector->count == vector->size) {
        size_t size = vector->size != 0 ? vector->size * 2 : FIRST_MESSAGES;
        struct th_message *grown =
            th_realloc_array(vector->messages, size, sizeof(*vector->messages));
        if (grown == NULL)
            return TH_E_OVERLOADED;
        vector->messages = grown;
        vector->size = size;
    }
    vector->messages[vector->count++] = *message;
    return 0;
}

int th_mailbox_post(struct th_mailbox *mailbox, const struct th_message *message)
{
    bool was_filled;
    int r;

    pthread_mutex_lock(&mailbox->lock);
    was_filled = atomic_load_explicit(&mailbox->filled, memory_order_relaxed);
    r = mailbox->closed ? TH_E_DRAINING : push(&mailbox->filling, mailbox->max, message);
    if (r == 0)
        atomic_store_explicit(&mailbox->filled, true, memory_order_relaxed);
    pthread_mutex_unlock(&mailbox->lock);
    if (r == 0 && !was_filled)
        th_mailbox_wake(mailbox);
    return r;
}

void th_mailbox_post_job(struct th_mailbox *mailbox, struct th_job *job)
{
    bool was_filled;

    pthread_mutex_lock(&mailbox->lock);
    was_filled = atomic_load_explicit(&mailbox->filled, memory_order_relaxed);
    th_list_push_back(&mailbox->jobs, &job->link);
    atomic_store_explicit(&mailbox->filled, true, memory_order_relaxed);
    pthread_mutex_unlock(&mailbox->lock);
    if (!was_filled)
        th_mailbox_wake(mailbox);
}

void th_worker_post_job(struct th_worker *worker, struct th_job *job)
{
    job->worker = worker;
    job->skipped = false;
    th_mailbox_post_job(worker->mailbox, job);
}

bool th_mailbox_is_filled(const struct th_mailbox *mailbox)
{
    return atomic_load_explicit(&mailbox->filled, memory_order_relaxed);
}

void th_mailbox_close(struct th_mailbox *mailbox)
{
    pthread_mutex_lock(&mailbox->lock);
    mailbox->closed = true;
    pthread_mutex_unlock(&mailbox->lock);
}

bool th_mailbox_deliver(struct th_mailbox *mailbox, struct th_worker *worker)
{
    struct vector batch;
    struct th_list jobs;
    struct th_list *item;
    bool any;

    if (!th_mailbox_is_filled(mailbox))
        return false;
    th_list_init(&jobs);
    pthread_mutex_lock(&mailbox->lock);
    batch = mailbox->filling;
    mailbox->filling = mailbox->delivering;
    th_list_splice_back(&jobs, &mailbox->jobs);
    atomic_store_explicit(&mailbox->filled, false, memory_order_relaxed);
    pthread_mutex_unlock(&mailbox->lock);

    any = batch.count > 0 || !th_list_is_empty(&jobs);
    mailbox->delivering = (struct vector){0};
    for (size_t i = 0; i < batch.count; i++)
        batch.messages[i].fn(worker, &batch.messages[i]);
    while ((item = th_list_pop_front(&jobs)) != NULL) {
        struct th_job *job = TH_LIST_ENTRY(item, struct th_job, link);
        job->done(job);
    }
    batch.count = 0;
    if (batch.size > KEPT_MESSAGES) {
        th_free(batch.messages);
        batch = (struct vector){0};
    }
    mailbox->delivering = batch;
    return any;
}
