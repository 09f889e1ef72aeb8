/* Known header fields as a table: a parsed field's name becomes a pointer to a row, and later tests
 * are comparisons of numbers. Constant data; any thread. */
#ifndef TOKENHOP_HTTP_HEADER_H
#define TOKENHOP_HTTP_HEADER_H

#include <stdbool.h>
#include <stdint.h>

#include "tokenhop/base/str.h"

enum th_header_flag {
    TH_HEADER_HOP = 1 << 0,
    TH_HEADER_FRAMING = 1 << 1,
    TH_HEADER_CREDENTIAL = 1 << 2,
    TH_HEADER_FIXED = 1 << 3,
    TH_HEADER_NO_TRAILER = 1 << 4
};

enum th_header_id {
    TH_HEADER_UNKNOWN,
#define X(symbol, name, flags) TH_HEADER_##symbol,
#include "tokenhop/http/headers.def"
#undef X
    TH_HEADER_COUNT
};

struct th_header_row {
    struct th_str name; /* lower case */
    uint16_t flags;
};

/* TH_HEADER_UNKNOWN when it is not in the table. ASCII case is ignored. */
enum th_header_id th_header_find(struct th_str name);
const struct th_header_row *th_header_get(enum th_header_id id); /* of UNKNOWN: no name, no flags */

/* Whether an origin may take one for the other: names have no case, and where they become variables
 * (RFC 3875, 4.1.18) '-' and '_' are one. */
bool th_header_names_alike(struct th_str a, struct th_str b);

#endif
