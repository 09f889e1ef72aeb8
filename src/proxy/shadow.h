/* Connections in shadow: a request goes on as it came, and beside it is found out what would have become of it: by
 * the policy, and by an exchange if that is asked for. The request neither waits for it nor fails by it; what is found
 * out is told by one line of the audit log and a count, once it is known. Private to the room.
 *
 * An exchange may end after its hop, its session, and the configuration that it was begun by: the struct that
 * waits for it holds copies of what is the hop's, and the snapshot's use. It is its desk's, and goes with the desk at
 * the latest. */
#ifndef TOKENHOP_PROXY_SHADOW_H
#define TOKENHOP_PROXY_SHADOW_H

#include "hop.h"

/* The gate has decided. At a connection in shadow: finds out what would become of the request, unless that depends on
 * its body, and lets it through. 0, or the error that it is refused with in shadow too, and hop->detail. */
int th_shadow_admit(struct th_hop *hop) TH_MUST;
/* The body has come as far as it will, or the request ends: for what depended on it. Else nothing. */
void th_shadow_settle(struct th_hop *hop);
/* The desk goes: of what is under way it is written down that it is not known how it would have ended. */
void th_shadow_end(struct th_proxy_desk *desk);

/* Whether that field, which bears subject tokens, goes on: the connection's own does. */
static inline bool th_shadow_lets_pass(const struct th_hop *hop, struct th_str name)
{
    return hop->in_shadow && hop->decision.route.connection->subject_header.len > 0 &&
           th_header_names_alike(name, hop->decision.route.connection->subject_header);
}

#endif
