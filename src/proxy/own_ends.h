/* The near ends of our own connections to origins. Where the rules that redirect others catch tokenhop too, its
 * connections come back to it, and each would be sent on by another one (R10): who has such an end is not
 * served. Two connections to different places may begin at the same address and port, so that both ends are
 * compared. Of the process, all workers; one lock, a leaf. Only kept where a listener is transparent: each
 * function takes NULL for the whole, and knows nothing then. Private to the room. */
#ifndef TOKENHOP_PROXY_OWN_ENDS_H
#define TOKENHOP_PROXY_OWN_ENDS_H

#include "tokenhop/net/address.h"

struct th_own_ends;
struct th_own_end;

int th_own_ends_new(struct th_own_ends **ret_ends) TH_MUST;
struct th_own_ends *th_own_ends_free(struct th_own_ends *ends); /* once all are removed */

/* The descriptor's own address, connected to `far`; one that has none, as in a simulated network, is not kept, and
 * *ret_end NULL. */
int th_own_ends_add(struct th_own_ends *ends, int fd, const struct th_address *far,
                    struct th_own_end **ret_end) TH_MUST;
void th_own_ends_remove(struct th_own_ends *ends, struct th_own_end *end); /* NULL is fine */
/* Whether the connection from `near` that was going to `far` is one of them. */
bool th_own_ends_has(struct th_own_ends *ends, const struct th_address *near,
                     const struct th_address *far);

#endif
