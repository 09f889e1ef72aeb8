/* Subject tokens that this process has seen in use, as keyed fingerprints, so that none leaves to
 * an unmapped host (R11). A set of bounded size that forgets the oldest; shared by all workers
 * without a lock. */
#ifndef TOKENHOP_GATE_SEEN_H
#define TOKENHOP_GATE_SEEN_H

#include <stdbool.h>
#include <stdint.h>

#include "tokenhop/base/error.h"

struct th_seen;
int th_seen_new(struct th_seen **ret_seen) TH_MUST;
struct th_seen *th_seen_free(struct th_seen *seen);
/* `digest` is the SHA-256 of the token. */
void th_seen_add(struct th_seen *seen, const uint8_t digest[32]);
bool th_seen_has(const struct th_seen *seen, const uint8_t digest[32]);

#endif
