/* The A2A side of an agent (reference section 12): JSON-RPC at /a2a/, versions 0.3 and 1.0. */
#ifndef TOKENHOP_SRC_SANDBOX_A2A_H
#define TOKENHOP_SRC_SANDBOX_A2A_H

#include "agent_verify.h"

/* Ends the call. */
void th_a2a_serve(struct th_web_call *call, const struct th_verified *verified);
json_t *th_a2a_make_card(const struct th_sandbox_agent *agent) TH_MUST;

/* Answers with `data` as the message of an agent; `request` is the JSON-RPC request. */
json_t *th_a2a_make_answer(const json_t *request, json_t *data) TH_MUST;

/* agent2 calls agent3 through its proxy with the token it received, and answers with what came back
 * beside `seen` (taken). Ends the call, later. */
void th_agent_call_next(struct th_web_call *call, const struct th_verified *verified,
                        const json_t *request, json_t *seen);

#endif
