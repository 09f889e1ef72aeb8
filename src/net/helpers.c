#include "tokenhop/net/helpers.h"

#include <pthread.h>
#include <signal.h>

#include "mailbox.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/net/worker.h"

#define STACK_SIZE (512 * 1024) /* getaddrinfo() with its plug-ins is the hungriest */

struct th_helpers {
    pthread_mutex_t lock; /* never held while a mailbox is locked */
    pthread_cond_t wanted;
    struct th_list waiting;
    size_t n_waiting;
    size_t max_waiting;
    bool stopped;
    size_t n_threads;
    pthread_t threads[];
};

static void *run_helper(void *arg)
{
    struct th_helpers *helpers = arg;

    pthread_mutex_lock(&helpers->lock);
    for (;;) {
        struct th_list *item = th_list_pop_front(&helpers->waiting);
        if (item == NULL && helpers->stopped)
            break;
        if (item == NULL) {
            pthread_cond_wait(&helpers->wanted, &helpers->lock);
            continue;
        }
        struct th_job *job = TH_LIST_ENTRY(item, struct th_job, link);
        helpers->n_waiting--;
        job->skipped = helpers->stopped;
        pthread_mutex_unlock(&helpers->lock);
        if (!job->skipped)
            job->work(job);
        th_mailbox_post_job(job->worker->mailbox, job);
        pthread_mutex_lock(&helpers->lock);
    }
    pthread_mutex_unlock(&helpers->lock);
    return NULL;
}

static int start_threads(struct th_helpers *helpers, size_t n_threads)
{
    pthread_attr_t attr;
    sigset_t all;
    sigset_t before;
    int r = 0;

    if (pthread_attr_init(&attr) != 0)
        return TH_E_NOMEM;
    (void)pthread_attr_setstacksize(&attr, STACK_SIZE);
    /* Signals are for the thread that waits for them. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (r == 0 && helpers->n_threads < n_threads) {
        r = pthread_create(&helpers->threads[helpers->n_threads], &attr, run_helper, helpers);
        if (r == 0)
            helpers->n_threads++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return r == 0 ? 0 : TH_E_OVERLOADED;
}

int th_helpers_new(size_t n_threads, size_t max_waiting, struct th_helpers **ret_helpers)
{
    struct th_helpers *helpers;
    int r;

    if (n_threads == 0 || n_threads > 1024)
        return TH_E_CONFIG;
    helpers = th_calloc(1, sizeof(*helpers) + n_threads * sizeof(helpers->threads[0]));
    if (helpers == NULL)
        return TH_E_NOMEM;
    TH_REQUIRE(pthread_mutex_init(&helpers->lock, NULL) == 0);
    TH_REQUIRE(pthread_cond_init(&helpers->wanted, NULL) == 0);
    th_list_init(&helpers->waiting);
    helpers->max_waiting = max_waiting;
    r = start_threads(helpers, n_threads);
    if (r != 0) {
        th_helpers_free(helpers);
        return r;
    }
    *ret_helpers = helpers;
    return 0;
}

int th_helpers_submit(struct th_helpers *helpers, struct th_worker *worker, struct th_job *job)
{
    int r = 0;

    job->worker = worker;
    job->skipped = false;
    pthread_mutex_lock(&helpers->lock);
    if (helpers->stopped || helpers->n_waiting >= helpers->max_waiting) {
        r = helpers->stopped ? TH_E_DRAINING : TH_E_OVERLOADED;
    } else {
        th_list_push_back(&helpers->waiting, &job->link);
        helpers->n_waiting++;
    }
    pthread_mutex_unlock(&helpers->lock);
    if (r == 0)
        pthread_cond_signal(&helpers->wanted);
    return r;
}

void th_helpers_stop(struct th_helpers *helpers)
{
    pthread_mutex_lock(&helpers->lock);
    helpers->stopped = true;
    pthread_mutex_unlock(&helpers->lock);
    pthread_cond_broadcast(&helpers->wanted);
    for (size_t i = 0; i < helpers->n_threads; i++)
        pthread_join(helpers->threads[i], NULL);
    helpers->n_threads = 0;
}

struct th_helpers *th_helpers_free(struct th_helpers *helpers)
{
    if (helpers == NULL)
        return NULL;
    th_helpers_stop(helpers);
    pthread_cond_destroy(&helpers->wanted);
    pthread_mutex_destroy(&helpers->lock);
    th_free(helpers);
    return NULL;
}
