/* The state between gate and credential: which of its connection's scopes a request asks for. Where that depends
 * on what a JSON-RPC call calls, its body is waited for, and looked at where it lies. */
#include <string.h>

#include "hop.h"
#include "jsonrpc.h"
#include "target.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/gate/scoping.h"

static void ask_for(struct th_hop *hop, size_t scoping, unsigned step_ups)
{
    const struct th_route *route = &hop->decision.route;
    size_t index = th_config_variant_index(route->connection, scoping, step_ups);

    hop->scoping = (uint16_t)scoping;
    hop->asked = th_config_variant(route->connection, index);
    memcpy(hop->key.scope, route->scope + index * sizeof hop->key.scope, sizeof hop->key.scope);
}

static int choose(const struct th_hop *hop, const struct th_rpc_call *call, size_t *ret_scoping)
{
    struct th_scoping_request request = {
        .method = th_target_method(hop), .path = hop->url.path, .call = call};

    return th_scoping_choose(hop->decision.route.connection, &request, ret_scoping);
}

void th_hop_choose_scopes(struct th_hop *hop)
{
    size_t scoping;

    if (hop->decision.route.scope == NULL) /* no connection, or one that is not for this agent */
        return;
    hop->scopes_open =
        choose(hop, NULL, &scoping) == TH_AGAIN && hop->decision.action == TH_GATE_CREDENTIAL;
    ask_for(hop, scoping, 0);
}

int th_hop_choose_scopes_by(struct th_hop *hop, struct th_str body)
{
    struct th_rpc_call call = {{0}, {0}};
    size_t scoping;

    if (body.len > 0 && body.len <= hop->use->snapshot->view->limits.replay_body &&
        th_jsonrpc_may_be(&hop->request) && !hop->request.expect_continue)
        (void)th_jsonrpc_read_call(body, &call);
    int error = choose(hop, &call, &scoping);
    if (error == 0)
        ask_for(hop, scoping, 0);
    return error;
}

void th_hop_step_up(struct th_hop *hop, unsigned step_ups)
{
    ask_for(hop, hop->scoping, step_ups);
}

/* How much of the body may be waited for; 0: it is not looked at. Who expects 100 Continue sends none before the
 * destination has said it. */
static size_t wanted_room(const struct th_hop *hop)
{
    const struct th_body *body = &hop->request_body;
    size_t max = hop->use->snapshot->view->limits.replay_body;

    if (!th_jsonrpc_may_be(&hop->request) || hop->request.expect_continue || max == 0)
        return 0;
    if (body->framing == TH_FRAMING_CHUNKED)
        return max;
    return body->framing == TH_FRAMING_LENGTH && body->remaining <= max ? (size_t)body->remaining
                                                                        : 0;
}

/* As much as has come and as much again: who says that much will come, and then sends nothing, holds none of it
 * (R23). */
static bool grow_room(struct th_hop *hop, size_t max)
{
    const struct th_body *body = &hop->request_body;
    bool is_full = body->raw + body->raw_len == body->room + body->room_size;
    size_t size = body->room_size < TH_CHUNK_SIZE / 2 ? TH_CHUNK_SIZE : 2 * body->room_size;

    return !is_full || th_hop_make_room(hop, size < max ? size : max);
}

/* Of what has come since the last look: a body in many small pieces is not decoded anew with each. */
static int look_for_end(struct th_hop *hop)
{
    const struct th_body *body = &hop->request_body;
    size_t n = body->raw_len - hop->looked, taken, data;
    char *copy = th_malloc(n + 1);

    if (copy == NULL)
        return TH_E_NOMEM;
    if (hop->looked == 0)
        th_chunked_init(&hop->looking);
    memcpy(copy, body->raw + hop->looked, n);
    int result = th_chunked_decode(&hop->looking, copy, n, &taken, &data);
    hop->looked += n;
    th_wipe(copy, n);
    th_free(copy);
    return result;
}

/* Of a chunked body that is looked at but not taken. */
static int read_chunked(struct th_hop *hop, struct th_rpc_call *ret_call)
{
    const struct th_body *body = &hop->request_body;
    struct th_chunked chunked;
    size_t taken, len;
    int result = look_for_end(hop);

    if (result != TH_CHUNKED_DONE)
        return result == 0 ? TH_AGAIN : 0; /* what is malformed is refused when it is taken */
    char *copy = th_malloc(body->raw_len + 1);
    if (copy == NULL)
        return 0;
    memcpy(copy, body->raw, body->raw_len);
    th_chunked_init(&chunked);
    if (th_chunked_decode(&chunked, copy, body->raw_len, &taken, &len) == TH_CHUNKED_DONE)
        (void)th_jsonrpc_read_call((struct th_str){copy, len}, ret_call);
    th_wipe(copy, body->raw_len);
    th_free(copy);
    return 0;
}

/* TH_AGAIN: the body is not whole. 0: *ret_call is what it calls, if anything. */
static int read_call(struct th_hop *hop, struct th_rpc_call *ret_call)
{
    const struct th_body *body = &hop->request_body;
    size_t max = wanted_room(hop);

    *ret_call = (struct th_rpc_call){{0}, {0}};
    if (max == 0 || !grow_room(hop, max))
        return 0;
    bool may_come =
        !hop->session->half_closed && body->raw + body->raw_len < body->room + body->room_size;
    int error;
    if (body->framing == TH_FRAMING_CHUNKED) {
        error = read_chunked(hop, ret_call);
    } else {
        error = body->raw_len >= body->remaining ? 0 : TH_AGAIN;
        if (error == 0)
            (void)th_jsonrpc_read_call((struct th_str){body->raw, (size_t)body->remaining},
                                       ret_call);
    }
    return may_come ? error : 0;
}

enum th_hop_step th_hop_state_scope(struct th_hop *hop)
{
    struct th_rpc_call call;
    size_t scoping;

    while (read_call(hop, &call) == TH_AGAIN) {
        if (!hop->session->stream.readable)
            return th_hop_wait(hop, TH_WAIT_REQUEST_BODY);
        if (!th_session_read_ahead(hop->session)) {
            th_session_close(hop->session);
            return TH_HOP_WAIT;
        }
    }
    int error = choose(hop, &call, &scoping);
    if (error < 0)
        return th_hop_fail(hop, error, NULL);
    ask_for(hop, scoping, 0);
    if (hop->use->snapshot->view->n_policy > 0)
        error = th_hop_ask_policy(hop);
    if (error < 0)
        return th_hop_fail(hop, error, hop->detail);
    return th_hop_move(hop, TH_HOP_CREDENTIAL);
}
