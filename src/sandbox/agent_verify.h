/* What an agent checks before it answers (reference section 14, last line; RFC 6750, RFC 9728). */
#ifndef TOKENHOP_SRC_SANDBOX_AGENT_VERIFY_H
#define TOKENHOP_SRC_SANDBOX_AGENT_VERIFY_H

#include "sandbox.h"

struct th_verified {
    struct th_jwt jwt;    /* owned */
    struct th_str token;  /* borrowed from the call */
    struct th_str scope;  /* separated by spaces; borrowed from the claims or from scope_text */
    char scope_text[512]; /* from `scp` */
    const char *jkt; /* of the key that it is bound to, which was proved; borrowed; NULL: none */
};

#define TH_AT "/at/" /* TH_AT NAME/: what another server than Okta's protects */
/* The server whose tokens are taken at this path; NULL: the agent's own. *ret_rest is the path below, from its
 * slash on. */
const struct th_registry_server *th_agent_find_at(const struct th_sandbox *sandbox,
                                                  const char *path, const char **ret_rest);
/* Whether the request bears a token that this agent takes. False: it was answered with 401, the call is dead. */
bool th_agent_authenticate(struct th_web_call *call, struct th_verified *ret_verified);
/* The same for one scope, answered with 403. */
bool th_agent_authorize(struct th_web_call *call, const struct th_verified *verified,
                        const char *scope);
void th_verified_fini(struct th_verified *verified);
/* {"agent", "sub", "user", "scopes", "chain", "claims"}: never the token. A new reference. */
json_t *th_verified_json(const struct th_sandbox_agent *agent,
                         const struct th_verified *verified) TH_MUST;

#endif
