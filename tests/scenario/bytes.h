/* What the player keeps for itself. It takes its memory from the C library, not from base/mem.h: the
 * allocations that a scenario makes fail are the proxy's, and theirs alone are counted. */
#ifndef TOKENHOP_TESTS_SCENARIO_BYTES_H
#define TOKENHOP_TESTS_SCENARIO_BYTES_H

#include <stdbool.h>
#include <stddef.h>

#include "tokenhop/base/str.h"

struct bytes {
    char *ptr; /* followed by a NUL */
    size_t len;
    size_t size;
};

void bytes_add(struct bytes *bytes, const void *from, size_t len);
void bytes_add_str(struct bytes *bytes, struct th_str text);
void bytes_printf(struct bytes *bytes, const char *format, ...) TH_PRINTF(2, 3);
void bytes_cut_front(struct bytes *bytes, size_t len);
void bytes_fini(struct bytes *bytes);
/* Printable, at most `max` bytes of it, for messages. Valid until the fourth call after it. */
const char *bytes_show(const char *from, size_t len, size_t max);
bool bytes_have(const struct bytes *bytes, struct th_str what);
char *copy_text(const char *from, size_t len); /* for free() */
void *zeroed(size_t size);                     /* likewise */
static inline struct th_str bytes_str(const struct bytes *bytes)
{
    return (struct th_str){bytes->ptr, bytes->len};
}

#endif
