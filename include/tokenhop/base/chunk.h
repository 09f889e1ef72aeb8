/* Chunks: the blocks that bytes on their way through live in, and the pool of one worker that they
 * come from when there are bytes and go back to when there are none, so that an idle connection
 * holds no buffer. One thread (the worker's). The pool keeps up to `keep` free chunks, and fewer of
 * them when its owner has it look now and then for those that are not needed (th_chunk_pool_trim).
 *
 *        data                                 bytes start..end are unread; end..size is room
 *        |  consumed  |   unread   |  room  |
 *        0          start         end     size */
#ifndef TOKENHOP_BASE_CHUNK_H
#define TOKENHOP_BASE_CHUNK_H

#include <stddef.h>
#include <stdint.h>

#include "tokenhop/base/error.h"
#include "tokenhop/base/list.h"

#define TH_CHUNK_SIZE 16384 /* bytes of data in an ordinary chunk */

struct th_chunk {
    struct th_list link; /* the owner's, or the pool's */
    uint32_t start;
    uint32_t end;
    uint32_t size;
    uint32_t touched; /* bytes beyond `end` once held something up to here: th_chunk_clear() */
    char data[];
};

struct th_chunk_pool {
    struct th_list free;
    size_t n_free;
    size_t keep;
    size_t n_used;   /* handed out now */
    size_t n_bytes;  /* of these */
    size_t unneeded; /* the fewest free ones since the last trim */
};

void th_chunk_pool_init(struct th_chunk_pool *pool, size_t keep);
void th_chunk_pool_fini(struct th_chunk_pool *pool);
/* Frees the free ones that have not been needed since the last call, but for `floor` of them.
 * Returns how many. */
size_t th_chunk_pool_trim(struct th_chunk_pool *pool, size_t floor);
/* Empty, of TH_CHUNK_SIZE. NULL when memory is short. */
struct th_chunk *th_chunk_get(struct th_chunk_pool *pool) TH_MUST;
/* Empty, of `size` bytes: for heads beyond the ordinary size; not pooled. */
struct th_chunk *th_chunk_get_large(struct th_chunk_pool *pool, size_t size) TH_MUST;
/* Gives it back, wiped where it held bytes (heads bear tokens). NULL is fine. Returns NULL. */
struct th_chunk *th_chunk_put(struct th_chunk_pool *pool, struct th_chunk *chunk);

static inline size_t th_chunk_len(const struct th_chunk *c)
{
    return c->end - c->start;
}
static inline size_t th_chunk_room(const struct th_chunk *c)
{
    return c->size - c->end;
}
static inline char *th_chunk_head(struct th_chunk *c)
{
    return c->data + c->start;
}
static inline char *th_chunk_tail(struct th_chunk *c)
{
    return c->data + c->end;
}
/* Notes that bytes up to `offset` of `data` have held something that `end` does not tell. */
static inline void th_chunk_touch(struct th_chunk *c, size_t offset)
{
    c->touched = offset > c->touched ? (uint32_t)offset : c->touched;
}
/* Forgets all bytes, to read anew into the chunk. Never set `end` back by hand: what it held would
 * not be wiped. */
static inline void th_chunk_clear(struct th_chunk *c)
{
    th_chunk_touch(c, c->end);
    c->start = c->end = 0;
}
/* Moves the unread bytes to the front. */
void th_chunk_compact(struct th_chunk *chunk);

#endif
