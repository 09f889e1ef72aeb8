/* Agents that a server refused a moment ago. It is the agent that is refused, not the subject: everybody
 * whom it acts for would be told the same, at the cost of a request each, and of a first leg where it is
 * the second that is refused. So nobody asks again for a while; then one does, for all.
 *
 * What concerns the agent as such ("invalid_client") holds at the server for all of its connections;
 * what concerns the kind of grant, at one connection. A reload forgets all of it, as the key or the
 * registration may be what changed. Of one exchanger, by its worker's thread. */
#ifndef TOKENHOP_SRC_OAUTH_REFUSED_H
#define TOKENHOP_SRC_OAUTH_REFUSED_H

#include "exchange_run.h"

#define TH_REFUSED_REST_MS 1000
#define TH_REFUSED_REST_MAX_MS 30000

/* Whether the agent is not to be presented at the server of `leg`. Then ex->result says why, as it was
 * said then: oauth_error, and the detail but for the server's own words. The first who comes after the rest
 * is let through, for all. */
bool th_refused_holds(struct th_exchange *ex, size_t leg);
/* ex->answer refuses the agent. */
void th_refused_note(struct th_exchange *ex);
/* The server took the agent. */
void th_refused_forget(struct th_exchange *ex);
void th_refused_fini(struct th_refused_list *list);

#endif
