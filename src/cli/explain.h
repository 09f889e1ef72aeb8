/* The parts of tokenhop explain. Private to the room. */
#ifndef TOKENHOP_CLI_EXPLAIN_H
#define TOKENHOP_CLI_EXPLAIN_H

#include <jansson.h>

#include "tokenhop/gate/policy.h"
#include "tokenhop/gate/scoping.h"

/* explain_legs.c */
void th_explain_legs(const struct th_config_view *view, const struct th_config_agent *agent,
                     const struct th_config_connection *connection);

/* explain_scopes.c: shows them; the variant of the connection that asks for them. */
const struct th_config_connection *th_explain_scopes(const struct th_config_connection *connection,
                                                     const struct th_scoping_request *request);

/* What the policy is asked about, besides the request. */
struct th_explain_policy {
    json_t *claims; /* of the subject token; NULL: not said */
    int64_t wall_ms;
};

/* From the arguments, each NULL if it was not given. The exit status, everything said. */
int th_explain_policy_read(const char *claims_file, const char *at,
                           struct th_explain_policy *ret_policy);
/* Shows what each rule is to the request, and the decision. 0, or the error that it would be refused with, if
 * it is for certain. `request` lacks its claims. */
int th_explain_policy(const struct th_config_view *view, const struct th_policy_request *request,
                      const struct th_explain_policy *policy);

#endif
