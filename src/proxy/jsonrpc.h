/* JSON-RPC 2.0 as far as it must be known: whether a request is one, what it calls, and its id. Any thread. */
#ifndef TOKENHOP_PROXY_JSONRPC_H
#define TOKENHOP_PROXY_JSONRPC_H

#include "tokenhop/gate/scoping.h"
#include "tokenhop/http/message.h"

#define TH_JSONRPC_BODY_MAX ((size_t)64 * 1024)
#define TH_JSONRPC_ID_MAX 256 /* bytes of JSON */

/* By its content type alone. */
bool th_jsonrpc_may_be(const struct th_head *head);
/* Writes the id of a single request as JSON in ASCII: a string, or a whole number. False where the body is
 * anything else: a batch, a notification, an id of another kind or too long, not strictly JSON. */
bool th_jsonrpc_read_id(struct th_str body, char ret_id[TH_JSONRPC_ID_MAX + 1]);
/* What a single request calls. False where the body is anything else, or its names are longer than is looked at; both
 * names are empty then. */
bool th_jsonrpc_read_call(struct th_str body, struct th_rpc_call *ret_call);

#endif
