/* Memory. All allocation of this project goes through here, so that a test can make the Nth fail.
 *
 * Every function returns NULL when memory is short: at start that is fatal, on a request it is
 * TH_E_NOMEM (503) for that request. Freed with th_free(), NULL is fine. Any thread. */
#ifndef TOKENHOP_BASE_MEM_H
#define TOKENHOP_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "tokenhop/base/error.h"

void *th_malloc(size_t size) TH_MUST __attribute__((malloc));
void *th_calloc(size_t count, size_t size) TH_MUST; /* zeroed; the product is checked */
void *th_calloc_aligned(size_t alignment, size_t count, size_t size) TH_MUST; /* a power of two */
void *th_realloc_array(void *old, size_t count, size_t size) TH_MUST; /* the product is checked */
char *th_strdup(const char *text) TH_MUST;
char *th_strndup(const char *text, size_t len) TH_MUST; /* adds the NUL */
void th_free(void *ptr);

/* Gives free memory back to the system, as free() alone does only with what lies at the end of its
 * areas. Takes a millisecond or more and may hold up other threads: for a process that has come to
 * rest. */
void th_mem_return(void);

/* Overwrites memory that held a secret; the compiler cannot leave it out. */
void th_wipe(void *ptr, size_t len);

/* Makes the `nth` allocation from now on fail (1 is the next one), and every one after it while
 * `count` lasts; 0 switches it off. Only in builds with -Dfail_alloc=true, else it does nothing. */
void th_mem_fail_after(unsigned long nth, unsigned long count);
/* Allocations made since the last th_mem_fail_after(); 0 where the build does not count. */
unsigned long th_mem_count(void);

/* Cleanup of locals:  TH_CLEANUP(th_freep) char *text = ...;  and  return th_take(&text); */
#define TH_CLEANUP(fn) __attribute__((cleanup(fn)))
static inline void th_freep(void *pointer_to_pointer)
{
    th_free(*(void **)pointer_to_pointer);
}
#define th_take(pp)                                                                                \
    __extension__({                                                                                \
        __typeof__(*(pp)) th_taken_ = *(pp);                                                       \
        *(pp) = NULL;                                                                              \
        th_taken_;                                                                                 \
    })

#endif
