/* Randomness comes through this, so that a test can repeat a run. Any thread. */
#ifndef TOKENHOP_BASE_RANDOM_H
#define TOKENHOP_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

#include "tokenhop/base/error.h"

/* Cryptographic bytes from the system (getrandom). Aborts when there are none: nothing may go on
 * with a guessable jti or hash key. */
void th_random_bytes(void *ret_bytes, size_t len);
/* Uniform in 0..bound-1, for jitter; not for secrets. */
uint32_t th_random_below(uint32_t bound);
/* From here on both are a repeatable sequence. Tests only; refused (abort) in a build without
 * -Dchecks=true. */
void th_random_seed_for_tests(uint64_t seed);

#endif
