/* What the fields of a head say about the connection and the message. Private to the codec. */
#ifndef TH_HTTP_FACTS_H
#define TH_HTTP_FACTS_H

#include "framing.h"

/* Fills the facts of a parsed head, but for the framing, and marks the hop-by-hop fields and those
 * that Connection names dropped (RFC 9110, 7.6.1). 0, TH_E_BAD_REQUEST, or TH_E_HEAD_TOO_LARGE when
 * Connection names more than can be meant. */
int th_facts_gather(struct th_head *head, enum th_direction direction) TH_MUST;

#endif
