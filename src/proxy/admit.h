/* Limits by caller and by agent: what a request and a client connection may have, before anything is
 * spent on them. Private to the room. */
#ifndef TOKENHOP_PROXY_ADMIT_H
#define TOKENHOP_PROXY_ADMIT_H

#include "tokenhop/token/broker.h"

struct th_desk_listener;
struct th_hop;
struct th_session;
struct th_snapshot;

/* Opens the accounts of the snapshot's callers and agents. Before any desk uses it. */
int th_admit_open(struct th_snapshot *snapshot, struct th_accounts *accounts) TH_MUST;
/* Who is at the other end: an address, or of a unix socket the user, in the form of an address that nobody has. */
struct in6_addr th_admit_address(const struct th_session *session);
/* A connection of somebody who is told by the listener and its address alone: false when it is one too
 * many. Of others it is known with their first request. */
bool th_admit_session(struct th_session *session);
/* The connection has gone. */
void th_admit_leave(struct th_session *session);
/* Caller and agent are known: 0, or TH_E_CALLER_LIMIT with the hop's refusal. Costs a look at a flag where
 * no such limit is configured. */
int th_admit_request(struct th_hop *hop) TH_MUST;
/* Whose its exchange would be: th_broker_shares_fn, with the hop. */
th_broker_shares_fn th_admit_shares;

#endif
