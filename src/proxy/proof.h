/* DPoP on the forwarded request (RFC 9449, 7): a proof for each that bears a bound credential, made for
 * the URL as the destination sees it and for this try alone; and the nonces that destinations want in
 * it. A key that signs slowly does so on a helper thread, before an origin connection is taken. Private
 * to the room. */
#ifndef TOKENHOP_PROXY_PROOF_H
#define TOKENHOP_PROXY_PROOF_H

#include "hop.h"

/* Whether the hop's credential is bound, so that its request bears a proof. */
static inline bool th_proof_is_due(const struct th_hop *hop)
{
    return hop->credential != NULL && hop->credential->dpop_key != NULL;
}

/* Where a hop goes that has all it needs but the connection to the origin: that, or the proof first. */
enum th_hop_state th_proof_next_state(const struct th_hop *hop);
/* The proof of the try that is about to be sent: 0, TH_E_NOMEM. None where none is due. */
int th_proof_ensure(struct th_hop *hop) TH_MUST;
/* It has been sent, or will not be. */
void th_proof_drop(struct th_hop *hop);

/* The response's head has been parsed: keeps the nonce that it brings. */
void th_proof_note_nonce(struct th_hop *hop);
/* Whether the destination refuses the proof, not the credential; *ret_by_nonce: for the lack of the nonce that
 * it has brought with that. */
bool th_proof_is_refused(const struct th_hop *hop, bool *ret_by_nonce);
/* Whether a field of the response is between the destination and the proof's maker. */
bool th_proof_owns_field(const struct th_hop *hop, const struct th_field *field);

#endif
