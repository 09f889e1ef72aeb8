/* Digests of lines that were kept elsewhere, to be looked for in an audit log. Private to the room. */
#ifndef TOKENHOP_CLI_DIGESTS_H
#define TOKENHOP_CLI_DIGESTS_H

#include <stdbool.h>
#include <stddef.h>

#include "tokenhop/base/error.h"
#include "tokenhop/observe/seal.h"

struct th_digest {
    char text[TH_SEAL_DIGEST_LEN + 1];
    bool is_seen;
};

/* Zeroed: none. */
struct th_digests {
    struct th_digest *items;
    size_t n, size;
    bool is_sorted;
};

/* Separated by commas. False: something else is there, or memory is short. */
bool th_digests_add_list(struct th_digests *digests, const char *list, size_t *ret_n) TH_MUST;
/* All that a file has, among whatever else. 0 or an errno. */
int th_digests_add_file(struct th_digests *digests, const char *path, size_t *ret_n) TH_MUST;
/* A line has it. */
void th_digests_see(struct th_digests *digests, struct th_str digest);
void th_digests_fini(struct th_digests *digests);

#endif
