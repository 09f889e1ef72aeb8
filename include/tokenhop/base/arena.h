/* Arena: many small pieces with one end of life; pieces are never freed singly. A build with
 * -Darena_malloc=true makes every piece its own allocation, so that memory checkers see it.
 *
 * The struct is the caller's (init/fini). One thread at a time. Bounded: `max` bytes in all, then
 * th_arena_alloc() returns NULL, as it does when memory is short. */
#ifndef TOKENHOP_BASE_ARENA_H
#define TOKENHOP_BASE_ARENA_H

#include <stddef.h>

#include "tokenhop/base/error.h"
#include "tokenhop/base/str.h"

struct th_arena_block;

struct th_arena {
    struct th_arena_block *blocks; /* newest first */
    size_t block_size;
    size_t used;
    size_t max;
};

/* Allocates nothing yet. */
void th_arena_init(struct th_arena *arena, size_t block_size, size_t max);
void *th_arena_alloc(struct th_arena *arena, size_t size) TH_MUST; /* aligned to 16, not zeroed */
void *th_arena_calloc(struct th_arena *arena, size_t count, size_t size) TH_MUST;
char *th_arena_strdup(struct th_arena *arena, struct th_str text) TH_MUST; /* adds the NUL */
char *th_arena_printf(struct th_arena *arena, const char *fmt, ...) TH_MUST TH_PRINTF(2, 3);
void th_arena_reset(struct th_arena *arena); /* keeps one block */
void th_arena_fini(struct th_arena *arena);  /* a zeroed arena is fine */

#endif
