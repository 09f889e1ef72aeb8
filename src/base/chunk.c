#include "tokenhop/base/chunk.h"

#include <string.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"

void th_chunk_pool_init(struct th_chunk_pool *pool, size_t keep)
{
    *pool = (struct th_chunk_pool){.keep = keep};
    th_list_init(&pool->free);
}

void th_chunk_pool_fini(struct th_chunk_pool *pool)
{
    TH_ASSERT(pool->n_used == 0);
    if (pool->free.next == NULL)
        return; /* zeroed, never initialised */
    for (struct th_list *item; (item = th_list_pop_front(&pool->free)) != NULL;)
        th_free(TH_LIST_ENTRY(item, struct th_chunk, link));
    pool->n_free = 0;
}

size_t th_chunk_pool_trim(struct th_chunk_pool *pool, size_t floor)
{
    size_t n = 0;

    for (; pool->unneeded > 0 && pool->n_free > floor; pool->unneeded--) {
        struct th_list *item = pool->free.prev; /* given back longest ago */
        th_list_remove(item);
        th_free(TH_LIST_ENTRY(item, struct th_chunk, link));
        pool->n_free--;
        n++;
    }
    pool->unneeded = pool->n_free;
    return n;
}

static struct th_chunk *chunk_new(struct th_chunk_pool *pool, size_t size)
{
    struct th_chunk *chunk = th_malloc(sizeof *chunk + size);
    if (chunk == NULL)
        return NULL;
    *chunk = (struct th_chunk){.size = (uint32_t)size};
    pool->n_used++;
    pool->n_bytes += size;
    return chunk;
}

struct th_chunk *th_chunk_get(struct th_chunk_pool *pool)
{
    struct th_list *item = th_list_pop_front(&pool->free);
    if (item == NULL)
        return chunk_new(pool, TH_CHUNK_SIZE);
    pool->n_free--;
    if (pool->unneeded > pool->n_free)
        pool->unneeded = pool->n_free;
    pool->n_used++;
    pool->n_bytes += TH_CHUNK_SIZE;
    struct th_chunk *chunk = TH_LIST_ENTRY(item, struct th_chunk, link);
    chunk->link = (struct th_list){NULL, NULL};
    return chunk;
}

struct th_chunk *th_chunk_get_large(struct th_chunk_pool *pool, size_t size)
{
    return size <= UINT32_MAX ? chunk_new(pool, size) : NULL;
}

struct th_chunk *th_chunk_put(struct th_chunk_pool *pool, struct th_chunk *chunk)
{
    if (chunk == NULL)
        return NULL;
    TH_REQUIRE(pool->n_used > 0);
    th_list_remove(&chunk->link);
    th_chunk_clear(chunk);
    th_wipe(chunk->data, chunk->touched);
    chunk->touched = 0;
    pool->n_used--;
    pool->n_bytes -= chunk->size;
    size_t keep = pool->keep;
#ifdef TH_ARENA_MALLOC
    keep = 0; /* so that a memory checker sees who uses a chunk that was given back */
#endif
    if (chunk->size != TH_CHUNK_SIZE || pool->n_free >= keep) {
        th_free(chunk);
        return NULL;
    }
    th_list_push_front(&pool->free, &chunk->link); /* the one in the processor's cache goes first */
    pool->n_free++;
    return NULL;
}

void th_chunk_compact(struct th_chunk *chunk)
{
    size_t len = th_chunk_len(chunk);
    if (chunk->start == 0)
        return;
    uint32_t start = chunk->start;
    th_chunk_clear(chunk); /* the copy left behind is still to be wiped */
    if (len > 0)
        memmove(chunk->data, chunk->data + start, len);
    chunk->end = (uint32_t)len;
}
