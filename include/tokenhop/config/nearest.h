/* "Did you mean": the nearest of several names to one that is none of them. Any thread. */
#ifndef TOKENHOP_CONFIG_NEAREST_H
#define TOKENHOP_CONFIG_NEAREST_H

#include <stddef.h>

#include "tokenhop/base/str.h"

/* Offer each, then read `best` (empty: none is near); borrowed from what was offered. */
struct th_nearest {
    struct th_str wanted;
    struct th_str best;
    size_t distance;
};
void th_nearest_init(struct th_nearest *nearest, struct th_str wanted);
void th_nearest_offer(struct th_nearest *nearest, struct th_str name);

#endif
