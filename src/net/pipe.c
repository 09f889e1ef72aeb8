#include "tokenhop/net/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "stream_private.h"
#include "tokenhop/base/mem.h"

/* What a pipe is asked to hold. Slots count, not bytes: one of a page for each, and a page, or a
 * run of them that lies together in a socket's buffer, fills one. */
#define PIPE_SIZE (256 * 1024)
/* With less than this (what is left to a user at the kernel's limit is one or two pages) copying is
 * cheaper. */
#define PIPE_SIZE_MIN (64 * 1024)
/* How long free pipes are kept, and how long none is asked for after the kernel has refused one. */
#define KEEP_MS 5000
#define REFUSED_MS 1000

static void close_pipe(struct th_pipe *pipe)
{
    close(pipe->in);
    close(pipe->out);
    th_free(pipe);
}

/* Those that were free all the while are one too many. */
static void on_pool_timer(struct th_timer *timer)
{
    struct th_pipe_pool *pool = TH_CONTAINER_OF(timer, struct th_pipe_pool, timer);

    for (; pool->unneeded > 0; pool->unneeded--) {
        struct th_list *item = pool->free.prev; /* lent last, longest ago */
        th_list_remove(item);
        pool->n_free--;
        close_pipe(TH_LIST_ENTRY(item, struct th_pipe, link));
    }
    pool->unneeded = pool->n_free;
    if (pool->n_free > 0)
        th_timer_set(&pool->worker->wheel, timer, pool->worker->now_ms + KEEP_MS);
}

void th_pipe_pool_init(struct th_pipe_pool *pool, struct th_worker *worker, size_t max)
{
    *pool = (struct th_pipe_pool){.worker = worker, .max = max};
    th_list_init(&pool->free);
    th_timer_init(&pool->timer, on_pool_timer);
}

void th_pipe_pool_fini(struct th_pipe_pool *pool)
{
    TH_ASSERT(pool->n_used == 0);
    th_timer_stop(&pool->worker->wheel, &pool->timer);
    for (struct th_list *item; (item = th_list_pop_front(&pool->free)) != NULL;)
        close_pipe(TH_LIST_ENTRY(item, struct th_pipe, link));
    pool->n_free = 0;
}

static struct th_pipe *refuse(struct th_pipe_pool *pool)
{
    pool->refused_until_ms = pool->worker->now_ms + REFUSED_MS;
    return NULL;
}

static struct th_pipe *open_pipe(struct th_pipe_pool *pool)
{
    struct th_pipe *pipe;
    int fds[2];

    if (pool->n_used >= pool->max || pool->worker->now_ms < pool->refused_until_ms)
        return NULL;
    if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0)
        return refuse(pool);
    /* Refused near the limit of pages for pipes of one user; what there is may do. */
    int capacity = fcntl(fds[1], F_SETPIPE_SZ, PIPE_SIZE);
    if (capacity < 0)
        capacity = fcntl(fds[1], F_GETPIPE_SZ);
    pipe = capacity >= PIPE_SIZE_MIN ? th_malloc(sizeof(*pipe)) : NULL;
    if (pipe == NULL) {
        close(fds[0]);
        close(fds[1]);
        return refuse(pool);
    }
    *pipe = (struct th_pipe){.in = fds[1], .out = fds[0], .capacity = (size_t)capacity};
    return pipe;
}

struct th_pipe *th_pipe_get(struct th_pipe_pool *pool)
{
    struct th_list *item = th_list_pop_front(&pool->free);
    struct th_pipe *pipe;

    if (item != NULL) {
        pipe = TH_LIST_ENTRY(item, struct th_pipe, link);
        pool->n_free--;
        if (pool->unneeded > pool->n_free)
            pool->unneeded = pool->n_free;
    } else {
        pipe = open_pipe(pool);
    }
    if (pipe != NULL)
        pool->n_used++;
    return pipe;
}

struct th_pipe *th_pipe_put(struct th_pipe_pool *pool, struct th_pipe *pipe)
{
    if (pipe == NULL)
        return NULL;
    TH_REQUIRE(pool->n_used > 0);
    pool->n_used--;
    pipe->rest = th_chunk_put(&pool->worker->chunks, pipe->rest);
    if (pipe->len > 0) { /* nobody else's: it goes with the pipe */
        close_pipe(pipe);
        return NULL;
    }
    th_list_push_front(&pool->free, &pipe->link);
    pool->n_free++;
    if (pool->timer.deadline_ms == 0) {
        pool->unneeded = 0;
        th_timer_set(&pool->worker->wheel, &pool->timer, pool->worker->now_ms + KEEP_MS);
    }
    return NULL;
}

bool th_pipe_joins(const struct th_stream *from, const struct th_stream *to)
{
    return from->ops->splice_in != NULL && to->ops->splice_out != NULL;
}

ssize_t th_pipe_fill(struct th_pipe *pipe, struct th_stream *from, size_t max)
{
    /* Only an empty one: with a full one EAGAIN would not say which side it is about. */
    TH_REQUIRE(pipe->len == 0);
    ssize_t n = th_stream_splice_in(from, pipe->in, max < pipe->capacity ? max : pipe->capacity);
    if (n > 0)
        pipe->len = (size_t)n;
    return n;
}

/* What cannot be spliced out is read back, a chunk at a time. */
static ssize_t copy_out(struct th_pipe *pipe, struct th_stream *to)
{
    struct th_chunk_pool *pool = &to->worker->chunks;

    if (pipe->rest == NULL && (pipe->rest = th_chunk_get(pool)) == NULL)
        return TH_E_NOMEM;
    struct th_chunk *rest = pipe->rest;
    if (th_chunk_len(rest) == 0) {
        ssize_t n = read(pipe->out, rest->data, rest->size);
        if (TH_CHECK_FAILS(n > 0))
            return TH_E_INTERNAL;
        th_chunk_clear(rest);
        rest->end = (uint32_t)n;
    }
    struct iovec iov = {th_chunk_head(rest), th_chunk_len(rest)};
    ssize_t n = th_stream_writev(to, &iov, 1);
    if (n <= 0)
        return n;
    rest->start += (uint32_t)n;
    pipe->len -= (size_t)n;
    if (pipe->len == 0)
        pipe->rest = th_chunk_put(pool, rest);
    return n;
}

ssize_t th_pipe_drain(struct th_pipe *pipe, struct th_stream *to)
{
    size_t total = 0;

    TH_REQUIRE(pipe->len > 0);
    if (pipe->rest == NULL) {
        ssize_t n = th_stream_splice_out(to, pipe->out, pipe->len);
        if (n > 0)
            pipe->len -= (size_t)n;
        if (n != TH_E_IO)
            return n;
    }
    while (pipe->len > 0) {
        ssize_t n = copy_out(pipe, to);
        if (n < 0)
            return n;
        if (n == 0)
            break;
        total += (size_t)n;
    }
    return (ssize_t)total;
}
