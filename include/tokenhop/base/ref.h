/* Counts of shared, immutable objects. Taking needs no ordering, as whoever takes already holds
 * one; the last release must see all writes of the others, hence release and acquire. */
#ifndef TOKENHOP_BASE_REF_H
#define TOKENHOP_BASE_REF_H

#include <stdatomic.h>
#include <stdbool.h>

#include "tokenhop/base/check.h"

struct th_ref {
    atomic_uint count;
};

static inline void th_ref_init(struct th_ref *ref)
{
    atomic_init(&ref->count, 1);
}
static inline void th_ref_take(struct th_ref *ref)
{
    unsigned before = atomic_fetch_add_explicit(&ref->count, 1, memory_order_relaxed);
    TH_ASSERT(before > 0);
    (void)before;
}
/* True when it was the last one: the caller frees. */
static inline bool th_ref_release(struct th_ref *ref)
{
    return atomic_fetch_sub_explicit(&ref->count, 1, memory_order_acq_rel) == 1;
}

#endif
