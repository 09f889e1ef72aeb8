/* Callers that are told by a token of the platform they run on (Kubernetes). What a token claims is looked up here; it
 * is verified by oauth/workload.h, which may have to wait. No I/O; any thread. */
#ifndef TOKENHOP_GATE_CALLER_WORKLOAD_H
#define TOKENHOP_GATE_CALLER_WORKLOAD_H

#include <jansson.h>

#include "tokenhop/config/model.h"
#include "tokenhop/http/message.h"

/* Whether any caller is told so. */
bool th_caller_has_workloads(const struct th_config_view *config);
/* The bearer token of the only Proxy-Authorization field; empty: there is none. */
struct th_str th_caller_token(const struct th_head *head);
/* Whom the claims are of, if they are true; the first of the configuration. NULL: nobody. */
const struct th_config_caller *th_caller_find_workload(const struct th_config_view *config,
                                                       const json_t *claims);

#endif
