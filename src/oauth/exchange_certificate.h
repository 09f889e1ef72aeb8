/* Certificates in an exchange (RFC 8705): which the TLS of a leg shows, where a leg goes that shows one, and
 * which one a token is bound to. The worker's thread. */
#ifndef TOKENHOP_SRC_OAUTH_EXCHANGE_CERTIFICATE_H
#define TOKENHOP_SRC_OAUTH_EXCHANGE_CERTIFICATE_H

#include "exchange_run.h"

/* Where the leg's requests go; `metadata` is its server's, or NULL. Empty while it is
 * not known. What is configured goes before what the metadata says, and there its mtls_endpoint_aliases
 * before the rest for a client that shows a certificate. */
struct th_str th_exchange_endpoint_at(const struct th_exchange *ex, const struct th_plan_leg *leg,
                                      const struct th_metadata *metadata, bool revokes);
/* What the TLS of the try shows; NULL: nothing. ex->client is filled. */
struct th_identity *th_exchange_identity(const struct th_exchange *ex);
/* False when the agent is to show a certificate where there is no TLS: the client id alone would go. */
bool th_exchange_can_show(const struct th_exchange *ex);
/* Whether what the last leg yielded can be used at the destination: a token that is bound to a certificate
 * goes only where the connection shows that very one. 0 and perhaps *ret_note, or TH_E_EXCHANGE_MISMATCH
 * and *ret_why. */
int th_exchange_check_certificate(const struct th_exchange *ex, const json_t *claims,
                                  const char **ret_why, const char **ret_note) TH_MUST;

#endif
