/* The near ends of our own connections to origins. Where the rules that redirect others catch tokenhop too, its
 * connections come back to it, and each would be sent on by another one (R10): who has such an end is not
 * served. Of the process, all workers; one lock, a leaf. Only kept where a listener is transparent: each
 * function takes NULL for the whole, and knows nothing then. Private to the room. */
#ifndef TOKENHOP_PROXY_OWN_ENDS_H
#define TOKENHOP_PROXY_OWN_ENDS_H

#include "tokenhop/net/address.h"

struct th_own_ends;
struct th_own_end;

int th_own_ends_new(struct th_own_ends **ret_ends) TH_MUST;
struct th_own_ends *th_own_ends_free(struct th_own_ends *ends); /* once all are removed */

/* The connected descriptor's own address; one that has none, as in a simulated network, is not kept, and
 * *ret_end NULL. */
int th_own_ends_add(struct th_own_ends *ends, int fd, struct th_own_end **ret_end) TH_MUST;
void th_own_ends_remove(struct th_own_ends *ends, struct th_own_end *end); /* NULL is fine */
bool th_own_ends_has(struct th_own_ends *ends, const struct th_address *address);

#endif
