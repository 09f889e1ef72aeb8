/* Where secrets live: memory of its own, kept out of core dumps and of swap,
 * wiped when it comes back.
 *
 * Sizes up to 16 KiB come from slots of a size class, so that 100,000 tokens cost a few bytes each
 * beyond their own; larger ones are mappings of their own. Any thread; one lock a class, under
 * which no other is taken. With -Darena_malloc=true each is its own malloc, for memory checkers. */
#ifndef TOKENHOP_SRC_BASE_SECRET_STORE_H
#define TOKENHOP_SRC_BASE_SECRET_STORE_H

#include <stddef.h>

#include "tokenhop/base/error.h"

/* Aligned to 8, not zeroed. NULL when memory is short. */
void *th_secret_store_alloc(size_t size) TH_MUST;
/* Wipes `size` bytes, those asked for, and takes them back. */
void th_secret_store_free(void *ptr, size_t size);
/* Bytes that the store has mapped, for the tests of its overhead; 0 with -Darena_malloc=true. */
size_t th_secret_store_mapped(void);
/* How many of them the system never swaps (RLIMIT_MEMLOCK may be too low for all). */
size_t th_secret_store_locked(void);

#endif
