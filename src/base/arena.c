#include "tokenhop/base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"

#define ALIGNMENT ((size_t)16)

struct th_arena_block {
    struct th_arena_block *next;
    size_t size; /* bytes of data */
    size_t used;
    alignas(16) char data[];
};

void th_arena_init(struct th_arena *arena, size_t block_size, size_t max)
{
    *arena = (struct th_arena){.block_size = block_size, .max = max};
}

static struct th_arena_block *block_new(size_t size)
{
    if (size > SIZE_MAX - sizeof(struct th_arena_block))
        return NULL;
    struct th_arena_block *block = th_malloc(sizeof *block + size);
    if (block == NULL)
        return NULL;
    block->next = NULL;
    block->size = size;
    block->used = 0;
    return block;
}

static void *block_take(struct th_arena_block *block, size_t size)
{
    void *piece = block->data + block->used;
    block->used += size;
    return piece;
}

/* The size of a block's data, so that header and data together are arena->block_size. */
static size_t ordinary_size(const struct th_arena *arena)
{
    size_t header = sizeof(struct th_arena_block);
    return arena->block_size > header ? arena->block_size - header : 0;
}

static void *alloc_in_new_block(struct th_arena *arena, size_t size)
{
    size_t ordinary = ordinary_size(arena);
#ifdef TH_ARENA_MALLOC
    ordinary = 0;
#endif
    struct th_arena_block *block = block_new(size > ordinary ? size : ordinary);
    if (block == NULL)
        return NULL;
    if (size > ordinary && arena->blocks != NULL) {
        /* A block of its own goes behind the newest, whose room stays in use. */
        block->next = arena->blocks->next;
        arena->blocks->next = block;
    } else {
        block->next = arena->blocks;
        arena->blocks = block;
    }
    return block_take(block, size);
}

void *th_arena_alloc(struct th_arena *arena, size_t size)
{
    if (size > arena->max || arena->max - size < arena->used)
        return NULL;
    size_t asked = size;
    /* Two pieces never have the same address. */
    if (size == 0)
        size = 1;
        /* The exact size, there, shows a memory checker the first byte beyond. */
#ifndef TH_ARENA_MALLOC
    if (size > SIZE_MAX - ALIGNMENT)
        return NULL;
    size = (size + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
#endif
    struct th_arena_block *newest = arena->blocks;
    void *piece = newest != NULL && newest->size - newest->used >= size
                      ? block_take(newest, size)
                      : alloc_in_new_block(arena, size);
    if (piece != NULL)
        arena->used += asked;
    return piece;
}

void *th_arena_calloc(struct th_arena *arena, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    void *piece = th_arena_alloc(arena, total);
    if (piece != NULL)
        memset(piece, 0, total);
    return piece;
}

char *th_arena_strdup(struct th_arena *arena, struct th_str text)
{
    char *copy = text.len < SIZE_MAX ? th_arena_alloc(arena, text.len + 1) : NULL;
    if (copy == NULL)
        return NULL;
    if (text.len > 0)
        memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    return copy;
}

char *th_arena_printf(struct th_arena *arena, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *text = len >= 0 ? th_arena_alloc(arena, (size_t)len + 1) : NULL;
    if (text == NULL)
        return NULL;
    va_start(args, fmt);
    (void)vsnprintf(text, (size_t)len + 1, fmt, args);
    va_end(args);
    return text;
}

static void free_blocks(struct th_arena_block *block)
{
    while (block != NULL) {
        struct th_arena_block *next = block->next;
        th_free(block);
        block = next;
    }
}

void th_arena_reset(struct th_arena *arena)
{
    struct th_arena_block *kept = NULL;
#ifndef TH_ARENA_MALLOC
    /* An outsized block is not kept: one large request would bind its memory for good. */
    struct th_arena_block **place = &arena->blocks;
    while (*place != NULL && (*place)->size != ordinary_size(arena))
        place = &(*place)->next;
    kept = *place;
    if (kept != NULL) {
        *place = kept->next;
        kept->next = NULL;
        kept->used = 0;
    }
#endif
    free_blocks(arena->blocks);
    arena->blocks = kept;
    arena->used = 0;
}

void th_arena_fini(struct th_arena *arena)
{
    free_blocks(arena->blocks);
    arena->blocks = NULL;
    arena->used = 0;
}
