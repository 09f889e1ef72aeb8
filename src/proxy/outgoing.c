#include "outgoing.h"

#include <string.h>

void th_outgoing_add(struct th_outgoing *out, const void *bytes, size_t len)
{
    if (len == 0)
        return;
    TH_REQUIRE(out->pipe == NULL);
    if (th_outgoing_is_empty(out))
        out->first = out->end = 0;
    TH_REQUIRE(out->end < TH_OUTGOING_PIECES);
    out->pieces[out->end].iov_base = (void *)bytes;
    out->pieces[out->end].iov_len = len;
    out->end++;
}

void th_outgoing_clear(struct th_outgoing *out, struct th_worker *worker)
{
    out->first = out->end = 0;
    out->kept = th_chunk_put(&worker->chunks, out->kept);
    out->pipe = th_pipe_put(&worker->pipes, out->pipe);
}

/* The scratch is the next head's as soon as control returns to the loop. */
static int keep_scratch(struct th_outgoing *out, struct th_worker *worker)
{
    size_t need = 0;

    for (uint8_t i = out->first; i < out->end; i++) {
        const char *at = out->pieces[i].iov_base;
        if (at >= worker->scratch && at < worker->scratch + TH_SCRATCH_SIZE)
            need += out->pieces[i].iov_len;
    }
    if (need == 0)
        return 0;
    TH_REQUIRE(out->kept == NULL);
    out->kept = need <= TH_CHUNK_SIZE ? th_chunk_get(&worker->chunks)
                                      : th_chunk_get_large(&worker->chunks, need);
    if (out->kept == NULL)
        return TH_E_NOMEM;
    for (uint8_t i = out->first; i < out->end; i++) {
        const char *at = out->pieces[i].iov_base;
        if (at < worker->scratch || at >= worker->scratch + TH_SCRATCH_SIZE)
            continue;
        memcpy(th_chunk_tail(out->kept), at, out->pieces[i].iov_len);
        out->pieces[i].iov_base = th_chunk_tail(out->kept);
        out->kept->end += (uint32_t)out->pieces[i].iov_len;
    }
    return 0;
}

static void advance(struct th_outgoing *out, size_t n)
{
    while (n > 0) {
        struct iovec *piece = &out->pieces[out->first];
        if (n < piece->iov_len) {
            piece->iov_base = (char *)piece->iov_base + n;
            piece->iov_len -= n;
            return;
        }
        n -= piece->iov_len;
        out->first++;
    }
}

ssize_t th_outgoing_fill(struct th_outgoing *out, struct th_stream *from, size_t max)
{
    struct th_pipe_pool *pool = &from->worker->pipes;

    TH_REQUIRE(th_outgoing_is_empty(out));
    struct th_pipe *pipe = th_pipe_get(pool);
    if (pipe == NULL)
        return TH_OUTGOING_COPY;
    ssize_t n = th_pipe_fill(pipe, from, max);
    if (n > 0)
        out->pipe = pipe;
    else
        th_pipe_put(pool, pipe);
    return n == TH_E_IO ? TH_OUTGOING_COPY : n;
}

static int write_pieces(struct th_outgoing *out, struct th_stream *stream, uint64_t *count)
{
    while (out->first != out->end) {
        ssize_t n = th_stream_writev(stream, out->pieces + out->first, out->end - out->first);
        if (n == 0 || n == TH_AGAIN) {
            int error = keep_scratch(out, stream->worker);
            return error < 0 ? error : TH_AGAIN;
        }
        if (n < 0)
            return (int)n;
        *count += (uint64_t)n;
        advance(out, (size_t)n);
    }
    out->kept = th_chunk_put(&stream->worker->chunks, out->kept);
    return 0;
}

static int write_pipe(struct th_outgoing *out, struct th_stream *stream, uint64_t *count)
{
    ssize_t n = th_pipe_drain(out->pipe, stream);

    if (n < 0)
        return (int)n;
    *count += (uint64_t)n;
    if (out->pipe->len > 0)
        return TH_AGAIN;
    out->pipe = th_pipe_put(&stream->worker->pipes, out->pipe);
    return 0;
}

int th_outgoing_write(struct th_outgoing *out, struct th_stream *stream, uint64_t *count)
{
    return out->pipe != NULL ? write_pipe(out, stream, count) : write_pieces(out, stream, count);
}
