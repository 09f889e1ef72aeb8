/* Scoping: which of a connection's scopes a request asks for, so that a read gets a token that can only read. No
 * I/O, no allocation; any thread. */
#ifndef TOKENHOP_GATE_SCOPING_H
#define TOKENHOP_GATE_SCOPING_H

#include "tokenhop/base/error.h"
#include "tokenhop/config/model.h"
#include "tokenhop/http/message.h"

#define TH_RPC_NAME_MAX 128

/* What of a JSON-RPC call decides. Empty: it is none, or it says no tool. */
struct th_rpc_call {
    char method[TH_RPC_NAME_MAX];
    char tool[TH_RPC_NAME_MAX]; /* of MCP's "tools/call": params.name */
};

struct th_scoping_request {
    struct th_str method;           /* of HTTP, as sent */
    struct th_str path;             /* in normal form, without the query */
    const struct th_rpc_call *call; /* NULL: its body has not been looked at */
};

/* The entry of connection->scopings that decides, counted from 1; 0: none does. TH_AGAIN: that depends on the
 * body. */
int th_scoping_choose(const struct th_config_connection *connection,
                      const struct th_scoping_request *request, size_t *ret_scoping) TH_MUST;

/* What a destination wants that answers 403: the step-up scopes, as bits, which the variant lacks
 * of the scopes that its challenge names (RFC 6750, 3.1: error="insufficient_scope", scope="...").
 * 0: none is named, or one that is neither asked for already nor permitted. */
unsigned th_scoping_step_up(const struct th_config_connection *connection,
                            const struct th_config_connection *variant,
                            const struct th_head *response);

#endif
