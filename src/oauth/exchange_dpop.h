/* What an exchange has to do with DPoP: which of its requests bear a proof, what an answer about one
 * means, whether what was issued is bound. */
#ifndef TOKENHOP_SRC_OAUTH_EXCHANGE_DPOP_H
#define TOKENHOP_SRC_OAUTH_EXCHANGE_DPOP_H

#include "exchange_run.h"

/* Whether the request under way bears a proof. */
bool th_exchange_bears_proof(const struct th_exchange *ex);
/* Before such a request: gets the agent's key, once. TH_E_CONFIG, TH_E_NOMEM. */
int th_exchange_get_dpop_key(struct th_exchange *ex) TH_MUST;
/* A proof for one request to `endpoint`. Any thread. */
int th_exchange_make_proof(struct th_dpop_key *key, struct th_str endpoint, int64_t wall_ms,
                           struct th_secret **ret_proof) TH_MUST;

/* Keeps the nonce of an answer, whatever the answer is. */
void th_exchange_note_nonce(struct th_exchange *ex, const struct th_fetch_response *response);
/* Of an answer that refuses the proof: says what is wrong with it in ex->answer.why. */
void th_exchange_explain_proof(struct th_exchange *ex);
/* After an answer that refuses: whether it refused the proof, and another one may be taken. Once for each
 * leg and reason; neither a failure of the server nor the retry after one. */
bool th_exchange_renew_proof(struct th_exchange *ex);
/* Whether what was issued is bound as it must be (RFC 9449, 5 and 6): 0, and ex->is_bound of a last leg;
 * TH_E_EXCHANGE_MISMATCH and *ret_why. *ret_oddity: what is only worth a line; NULL: nothing. */
int th_exchange_check_binding(struct th_exchange *ex, const json_t *claims, const char **ret_why,
                              const char **ret_oddity) TH_MUST;

#endif
