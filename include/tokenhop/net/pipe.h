/* Pipes: how the bytes of a large body go from one stream to another by splice(2), past this
 * process, where both are plain. What is in a pipe has been received and not been written: it is
 * never lost but with the pipe.
 *
 * A worker's pool lends them to whoever has bytes to move and gets them back when they are empty,
 * so that only connections whose peer is slow hold one. It lends a bounded number, keeps those that
 * come back for a while, and closes what a few seconds have not needed. Where none can be had (the
 * bound, no descriptors, the kernel's limit on pipes of one user) the caller copies: NULL is no
 * failure.
 *
 * The worker's thread only. SIGPIPE must be ignored (th_net_global_init). */
#ifndef TOKENHOP_NET_PIPE_H
#define TOKENHOP_NET_PIPE_H

#include <stddef.h>
#include <sys/types.h>

#include "tokenhop/base/error.h"
#include "tokenhop/base/list.h"
#include "tokenhop/net/timer.h"

struct th_chunk;
struct th_stream;
struct th_worker;

#define TH_PIPES_MAX 64 /* lent at once by one worker */

struct th_pipe {
    struct th_list link; /* the pool's */
    int in;
    int out;
    size_t len;            /* bytes received and not yet written */
    size_t capacity;       /* what the kernel has granted */
    struct th_chunk *rest; /* of them, what was read back to be written in the ordinary way */
};

struct th_pipe_pool {
    struct th_worker *worker;
    struct th_list free;
    size_t n_free;
    size_t n_used;
    size_t max;
    size_t unneeded;          /* the fewest free ones since the timer was set */
    int64_t refused_until_ms; /* the kernel would not make another */
    struct th_timer timer;
};

void th_pipe_pool_init(struct th_pipe_pool *pool, struct th_worker *worker, size_t max);
/* All pipes have come back. */
void th_pipe_pool_fini(struct th_pipe_pool *pool);

/* Empty; NULL when none can be had now. */
struct th_pipe *th_pipe_get(struct th_pipe_pool *pool) TH_MUST;
/* With what is in it, if anything is. NULL is fine. Returns NULL. */
struct th_pipe *th_pipe_put(struct th_pipe_pool *pool, struct th_pipe *pipe);

/* Whether bytes can go from one to the other by a pipe at all. */
bool th_pipe_joins(const struct th_stream *from, const struct th_stream *to);

/* Receives at most `max` bytes > 0 into the empty pipe, as th_stream_recv() does, but that TH_AGAIN
 * is not the last word: urgent data stops a splice where a receive passes over it. So receive
 * before waiting for an edge. TH_E_IO: this descriptor cannot be spliced, nothing was taken. */
ssize_t th_pipe_fill(struct th_pipe *pipe, struct th_stream *from, size_t max) TH_MUST;
/* Writes of what it holds (> 0), as th_stream_writev() does: fewer bytes than it held, and `to`
 * takes no more now. */
ssize_t th_pipe_drain(struct th_pipe *pipe, struct th_stream *to) TH_MUST;

#endif
