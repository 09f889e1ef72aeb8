/* What a request is for, by the mode of the listener that it came in at. Private to the room. */
#ifndef TOKENHOP_PROXY_TARGET_H
#define TOKENHOP_PROXY_TARGET_H

#include "hop.h"

/* To hop->url, and hop->detail where it is refused: TH_E_BAD_TARGET, TH_E_METHOD, TH_E_MISDIRECTED.
 *
 *   forward  the request line has the whole URL; inside of a CONNECT tunnel, see tunnel.h
 *   transparent  see tunnel.h
 *   gateway  the request line has the path, Host the rest; the scheme is the listener's
 *   authz    a data plane asks what to send with another request: that one's host and path are in
 *            this one's own, or in fields that the data plane sets (never in both: what a caller
 *            sends must not be taken for the data plane's word) */
int th_target_read(struct th_hop *hop) TH_MUST;

/* The absolute-form in the request line, which may be ws:// or wss:// where a WebSocket is asked for. 0,
 * TH_E_BAD_TARGET. */
int th_target_parse_absolute(struct th_hop *hop) TH_MUST;

/* Whether the request is such a question: it is answered with the credential, and goes nowhere. */
static inline bool th_target_is_question(const struct th_hop *hop)
{
    return hop->session->listener->mode == TH_LISTENER_AUTHZ;
}

/* The method of the request that is decided on: its own, or that of the one asked about. */
struct th_str th_target_method(const struct th_hop *hop);

/* Whether such a question is for where its credential, or it at all, may go: as far as that can be told by
 * one who does not go there. 0, TH_E_CLEARTEXT_DENIED, TH_E_EGRESS_DENIED, TH_E_LOOP. */
int th_target_permit(const struct th_hop *hop) TH_MUST;

/* The answer to it: 200 and the field to send. */
void th_target_write_answer(struct th_hop *hop, struct th_writer *w);

#endif
