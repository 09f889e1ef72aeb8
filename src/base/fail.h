/* Whether the allocation that is about to be made has to fail (th_mem_fail_after). Called by every
 * allocator of this room, so that secrets and chunks fail like the rest. */
#ifndef TOKENHOP_SRC_BASE_FAIL_H
#define TOKENHOP_SRC_BASE_FAIL_H

#include <stdbool.h>

#ifdef TH_FAIL_ALLOC
bool th_mem_must_fail(void);
#else
static inline bool th_mem_must_fail(void)
{
    return false;
}
#endif

#endif
