/* Paths of an origin that want another credential than an access token: an API key, Basic, or a third
 * party's token, as the vault has them at this moment. */
#ifndef TOKENHOP_SRC_SANDBOX_AGENT_GUARD_H
#define TOKENHOP_SRC_SANDBOX_AGENT_GUARD_H

#include "sandbox.h"

/* Whether the request bears it, once, and no other credential. False: it was answered with 401, the call is
 * dead. */
bool th_agent_guard(struct th_web_call *call, enum th_vault_kind kind);
/* Of a request that was let through: {"kind", "who", "credential_sha256"}, never the credential. A new
 * reference. */
json_t *th_agent_guard_json(const struct th_web_call *call, enum th_vault_kind kind) TH_MUST;

#endif
