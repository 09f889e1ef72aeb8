/* From the writer of the audit log to the desk: lines are settled that hops wait for. One message at a time, for all
 * that are settled until it is read. */
#include <stdatomic.h>

#include "desk.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/net/helpers.h"
#include "tokenhop/observe/audit.h"

/* Outlives the desk where it is still under way then. */
struct th_audit_post {
    struct th_job job;
    struct th_proxy_desk *desk; /* NULL: it has gone */
    struct th_worker *worker;
    atomic_bool is_posted; /* the job is with the worker exactly while it is set */
};

static void on_post(struct th_job *job)
{
    struct th_audit_post *post = TH_CONTAINER_OF(job, struct th_audit_post, job);

    if (post->desk == NULL) {
        th_free(post);
        return;
    }
    atomic_store(&post->is_posted, false); /* what is settled from now on is told anew */
    th_audit_settle(post->desk->audit_log);
}

/* The writer's thread. */
static void on_settled(void *arg)
{
    struct th_audit_post *post = arg;

    if (!atomic_exchange(&post->is_posted, true))
        th_worker_post_job(post->worker, &post->job);
}

int th_audit_post_begin(struct th_proxy_desk *desk)
{
    struct th_audit_post *post;

    if (desk->audit_log == NULL)
        return 0;
    post = desk->audit_post = th_calloc(1, sizeof *post);
    if (post == NULL)
        return TH_E_NOMEM;
    post->job.done = on_post;
    post->desk = desk;
    post->worker = desk->worker;
    atomic_init(&post->is_posted, false);
    th_audit_log_watch(desk->audit_log, on_settled, post);
    return 0;
}

void th_audit_post_end(struct th_proxy_desk *desk)
{
    struct th_audit_post *post = desk->audit_post;

    if (post == NULL)
        return;
    th_audit_log_watch(desk->audit_log, NULL, NULL);
    post->desk = NULL;
    if (!atomic_load(&post->is_posted))
        th_free(post);
}
