/* Where authorization servers are (R27): the hosts and ports of their endpoints, configured or found in their
 * metadata, and the addresses that those have. What no rule names must come to none of them, whatever name, or
 * none, the caller gives it: so whoever goes on unmatched asks here first.
 *
 * Known for FRESH_MS from when it was found out, and then found out anew while what was known goes on to hold,
 * unless that is old: who asks then waits. An address is remembered for an hour after the endpoint last had it,
 * as servers give out theirs by turns. An endpoint whose name has no address, and one whose server publishes no
 * metadata for now, bars nobody.
 *
 * Of one desk; its worker's thread only. Private to the room. */
#ifndef TOKENHOP_PROXY_ENDPOINTS_H
#define TOKENHOP_PROXY_ENDPOINTS_H

#include "tokenhop/net/address.h"

struct th_endpoints;
struct th_hop;
struct th_proxy_desk;

int th_endpoints_new(struct th_proxy_desk *desk, struct th_endpoints **ret_endpoints) TH_MUST;
struct th_endpoints *th_endpoints_free(struct th_endpoints *endpoints); /* NULL is fine */

/* 0: they are known. TH_AGAIN: the hop is woken when they are, or failed when they cannot be. Else an error:
 * short of memory, or draining. */
int th_endpoints_ask(struct th_endpoints *endpoints, struct th_hop *hop) TH_MUST;
/* The hop waits no longer; not waiting is fine. */
void th_endpoints_leave(struct th_hop *hop);
/* The desk has another configuration: found out anew, and waited for where it names a place that is not known. */
void th_endpoints_renew(struct th_endpoints *endpoints);

/* Whether an endpoint is at the host, as it is written, and port; whether one has the address. */
bool th_endpoints_has(const struct th_endpoints *endpoints, struct th_str host, uint16_t port);
bool th_endpoints_is_at(const struct th_endpoints *endpoints, const struct th_address *address);

#endif
