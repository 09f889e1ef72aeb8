#include "tokenhop/base/mem.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"

#ifdef TH_FAIL_ALLOC
/* Process-wide on purpose: a test says which allocation fails, whichever thread makes it. */
static atomic_ulong n_allocations;
static atomic_ulong first_failing; /* 0: none */
static atomic_ulong n_failing;

bool th_mem_must_fail(void)
{
    unsigned long n = atomic_fetch_add(&n_allocations, 1) + 1;
    unsigned long first = atomic_load(&first_failing);
    return first != 0 && n >= first && n - first < atomic_load(&n_failing);
}

void th_mem_fail_after(unsigned long nth, unsigned long count)
{
    atomic_store(&first_failing, 0);
    atomic_store(&n_failing, count);
    atomic_store(&n_allocations, 0);
    atomic_store(&first_failing, nth);
}

unsigned long th_mem_count(void)
{
    return atomic_load(&n_allocations);
}
#else
void th_mem_fail_after(unsigned long nth, unsigned long count)
{
    (void)nth;
    (void)count;
}

unsigned long th_mem_count(void)
{
    return 0;
}
#endif

/* malloc(0) may return NULL, which would read as "no memory". */
static size_t at_least_one(size_t size)
{
    return size != 0 ? size : 1;
}

void *th_malloc(size_t size)
{
    return th_mem_must_fail() ? NULL : malloc(at_least_one(size));
}

void *th_calloc(size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total) || th_mem_must_fail())
        return NULL;
    return calloc(1, at_least_one(total));
}

void *th_calloc_aligned(size_t alignment, size_t count, size_t size)
{
    size_t total;
    void *block;
    if (__builtin_mul_overflow(count, size, &total) || th_mem_must_fail() ||
        posix_memalign(&block, alignment, at_least_one(total)) != 0)
        return NULL;
    memset(block, 0, total);
    return block;
}

void *th_realloc_array(void *old, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total) || th_mem_must_fail())
        return NULL;
    return realloc(old, at_least_one(total));
}

char *th_strdup(const char *text)
{
    return th_strndup(text, strlen(text));
}

char *th_strndup(const char *text, size_t len)
{
    char *copy = len < SIZE_MAX ? th_malloc(len + 1) : NULL;
    if (copy == NULL)
        return NULL;
    if (len > 0)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

void th_free(void *ptr)
{
    free(ptr);
}

static void trim(void)
{
    (void)malloc_trim(0);
}

/* glibc makes its heap ready at its first use and takes it that there is one thread then. Where another
 * allocator is in its place (a preloaded one, a sanitizer's), that first use is here, by workers that come
 * to rest at the same time; its count of threads would be wrong, and the last of them abort. */
void th_mem_return(void)
{
    static pthread_once_t first = PTHREAD_ONCE_INIT;
    (void)pthread_once(&first, trim);
    trim();
}

void th_wipe(void *ptr, size_t len)
{
    if (len > 0)
        explicit_bzero(ptr, len);
}
