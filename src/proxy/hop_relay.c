/* The states in which bytes move: send and relay. */
#include <string.h>

#include "hop.h"
#include "parent.h"
#include "proof.h"
#include "rewrite.h"
#include "shadow.h"
#include "tokenhop/net/tls.h"
#include "tunnel.h"

/* Rounds of receive and write that one hop gets in one turn of the loop, and what counts as one. */
#define ROUNDS_A_TURN 64
#define ROUND_SIZE 16384
#define INTERIM_MAX 16
#define BODY_ROOM_MIN 4096

enum pump {
    PUMP_DONE,  /* this direction is through */
    PUMP_WAIT,  /* *ret_wait says for what */
    PUMP_AGAIN, /* had its share of this turn */
    PUMP_MOVED, /* the hop has gone to another state */
    PUMP_GONE   /* the client has left, and the hop with it */
};

static enum pump client_gone(struct th_hop *hop)
{
    th_session_close(hop->session);
    return PUMP_GONE;
}

static enum pump fail(struct th_hop *hop, int error)
{
    th_hop_fail(hop, error, NULL);
    return PUMP_MOVED;
}

/* The origin's connection has failed; where TLS was broken, by that. */
static enum pump fail_origin(struct th_hop *hop, int error)
{
    const char *reason;
    int broken = th_stream_tls_error(&hop->origin->stream, &reason);

    th_hop_fail(hop, broken < 0 ? broken : error, reason);
    return PUMP_MOVED;
}

/* --- holding the body for a second try --- */

static bool may_be_asked_again(const struct th_hop *hop)
{
    return hop->decision.action == TH_GATE_CREDENTIAL || hop->shadow_open ||
           th_method_is_idempotent(hop->request.method);
}

/* Notes what has just been decoded. */
static void hold(struct th_hop *hop, bool first)
{
    struct th_body *body = &hop->request_body;

    if (first && body->received) {
        hop->held = TH_HELD_IN_PLACE;
        hop->held_in_place = (struct th_str){body->data, body->data_len};
        return;
    }
    if (first)
        hop->held = may_be_asked_again(hop) ? TH_HELD_COPY : TH_HELD_NOTHING;
    if (hop->held != TH_HELD_COPY)
        return;
    th_buf_add(&hop->held_copy, body->data, body->data_len);
    if (hop->held_copy.failed ||
        (body->framing == TH_FRAMING_LENGTH && body->remaining > hop->held_copy.max)) {
        hop->held = TH_HELD_NOTHING;
        th_buf_fini(&hop->held_copy);
    }
}

/* --- send --- */

/* The whole body is at hand: it goes out as one piece. */
static void take_held(struct th_hop *hop)
{
    struct th_body *body = &hop->request_body;
    struct th_str held =
        hop->held == TH_HELD_COPY ? th_buf_str(&hop->held_copy) : hop->held_in_place;

    body->data = (char *)held.ptr;
    body->data_len = held.len;
    body->queued = held.len == 0 && body->out == TH_BODY_AS_IT_IS;
}

bool th_hop_make_room(struct th_hop *hop, size_t size)
{
    struct th_body *body = &hop->request_body;
    struct th_chunk_pool *pool = &hop->desk->worker->chunks;
    struct th_chunk *before = hop->request_chunk != NULL ? hop->request_chunk : hop->session->in;

    if (body->received || body->room_size >= size)
        return true;
    struct th_chunk *room =
        size <= TH_CHUNK_SIZE ? th_chunk_get(pool) : th_chunk_get_large(pool, size);
    if (room == NULL)
        return false;
    memcpy(room->data, body->raw, body->raw_len);
    th_chunk_touch(before, (size_t)(body->touched - before->data));
    if (before == hop->request_chunk)
        th_chunk_put(pool, before);
    hop->request_chunk = room;
    body->room = body->raw = room->data;
    body->touched = body->raw + body->raw_len;
    body->room_size = room->size;
    return true;
}

void th_hop_drop_room(struct th_hop *hop)
{
    struct th_chunk *chunk = hop->request_chunk;

    if (chunk == NULL)
        return;
    /* It held tokens, perhaps. Only what was used of it is wiped: it may be large, and used little. */
    th_chunk_touch(chunk, (size_t)(hop->request_body.touched - chunk->data));
    hop->request_chunk = th_chunk_put(&hop->desk->worker->chunks, chunk);
}

enum th_hop_step th_hop_state_send(struct th_hop *hop)
{
    struct th_worker *worker = hop->desk->worker;
    struct th_body *body = &hop->request_body;
    struct th_writer w;

    if (hop->retried_401 || hop->retried_dead || hop->retried_nonce || hop->retried_scope) {
        take_held(hop);
    } else {
        /* The rest of the session's chunk may be too small to stream a body through. */
        if (!th_hop_make_room(hop, BODY_ROOM_MIN))
            return th_hop_fail(hop, TH_E_NOMEM, NULL);
        int error = th_body_decode(body);
        if (error < 0)
            return th_hop_fail(hop, error, NULL);
        hop->client_in += body->data_len;
        hold(hop, true);
    }
    int unproved = th_proof_ensure(hop);
    if (unproved < 0)
        return th_hop_fail(hop, unproved, NULL);
    th_writer_init(&w, worker->scratch, TH_SCRATCH_SIZE);
    th_rewrite_request(hop, &w);
    th_proof_drop(hop); /* another try has another */
    if (w.overflow)
        return th_hop_fail(hop, TH_E_HEAD_TOO_LARGE, NULL);
    th_outgoing_add(&hop->to_origin, w.ptr, w.len);
    th_body_queue(body, &hop->to_origin);
    hop->response.fields = hop->fields + hop->request.n_fields;
    hop->origin_out = 0;
    hop->response_bytes = 0;
    hop->timed_wait = TH_WAIT_NOTHING; /* a second try has its own time */
    hop->request_failed = false;
    return th_hop_move(hop, TH_HOP_RELAY);
}

/* --- relay: the request's direction --- */

/* What must be held for a second try is copied. */
static ssize_t receive_request(struct th_hop *hop, int *round)
{
    struct th_body *body = &hop->request_body;
    struct th_stream *client = &hop->session->stream;
    ssize_t n = TH_OUTGOING_COPY;

    if (hop->held == TH_HELD_NOTHING)
        n = th_body_splice(body, client, &hop->origin->stream, &hop->to_origin);
    if (n == TH_OUTGOING_COPY)
        return th_body_recv(body, client);
    if (n > 0) {
        hop->client_in += (uint64_t)n;
        *round += (int)(n / ROUND_SIZE);
    }
    return n;
}

static enum pump pump_request(struct th_hop *hop, enum th_hop_wait *ret_wait)
{
    struct th_body *body = &hop->request_body;

    for (int round = 0; round < ROUNDS_A_TURN; round++) {
        if (hop->request_failed)
            return PUMP_DONE;
        if (!th_outgoing_is_empty(&hop->to_origin)) {
            int error = th_outgoing_write(&hop->to_origin, &hop->origin->stream, &hop->origin_out);
            if (error == TH_AGAIN) {
                *ret_wait = TH_WAIT_REQUEST_TAKEN;
                return PUMP_WAIT;
            }
            if (error < 0) { /* it may have answered before it stopped reading */
                hop->request_failed = true;
                th_outgoing_clear(&hop->to_origin, hop->desk->worker);
                return PUMP_DONE;
            }
            th_body_written(body);
        }
        if (body->queued)
            return PUMP_DONE;
        if (body->raw_len == 0) {
            ssize_t n = receive_request(hop, &round);
            if (n == TH_AGAIN) {
                *ret_wait = TH_WAIT_REQUEST_BODY;
                return PUMP_WAIT;
            }
            if (n <= 0)
                return client_gone(hop);
        }
        int error = th_body_decode(body);
        if (error < 0)
            return fail(hop, error);
        hop->client_in += body->data_len;
        hold(hop, false);
        th_body_queue(body, &hop->to_origin);
    }
    return PUMP_AGAIN;
}

/* --- relay: the response's direction --- */

/* The origin ended or broke before any byte of an answer. Once, and only where nothing can have
 * been done twice (R5): a pooled connection that had been closed meanwhile is the ordinary case. */
static enum pump origin_was_dead(struct th_hop *hop, int error)
{
    bool untouched = hop->origin_out == 0;
    bool harmless = th_method_is_idempotent(hop->request.method) && th_hop_can_be_sent_again(hop);
    bool resendable = untouched ? th_hop_can_be_sent_again(hop) : harmless;

    if (!hop->origin_reused || hop->retried_dead || hop->response_bytes > 0 || !resendable)
        return fail_origin(hop, error);
    hop->retried_dead = true;
    hop->fresh_only = true;
    th_hop_drop_origin(hop, false);
    th_hop_move(hop, th_proof_next_state(hop));
    return PUMP_MOVED;
}

/* The head is in the scratch afterwards, so that the chunk is free for the body. */
static enum pump begin_response(struct th_hop *hop)
{
    struct th_chunk *in = hop->origin->in;
    const struct th_head *head = &hop->response;
    enum th_body_out out;
    bool close_ends;
    struct th_writer w;

    /* In draining the connection ends with this answer: said, so that nobody asks on it again. */
    if (!hop->request_body.received || hop->request_failed || hop->desk->draining ||
        th_session_has_early_bytes(hop->session))
        hop->client_keeps = false;
    th_tunnel_uncount(hop);
    th_writer_init(&w, hop->desk->worker->scratch, TH_SCRATCH_SIZE);
    th_rewrite_response(hop, &out, &close_ends, &w);
    if (w.overflow)
        return fail(hop, TH_E_ORIGIN_HEAD_LARGE);
    if (close_ends)
        hop->client_keeps = false;
    hop->origin_keeps = head->keep_alive && head->framing != TH_FRAMING_CLOSE &&
                        !th_hop_is_bound_to_connection(head);
    hop->status = head->status;
    hop->first_byte_us = th_clock_precise_us() - hop->started_us;
    hop->response_parsed = true;
    char *raw = th_chunk_head(in) + head->len;
    th_body_init(&hop->response_body, head, out, in->data, in->size, raw,
                 th_chunk_len(in) - head->len);
    hop->head_sent = true;
    th_outgoing_add(&hop->to_client, w.ptr, w.len);
    if (th_body_decode(&hop->response_body) < 0) {
        /* The head is not out yet: still time to say so. */
        hop->head_sent = false;
        hop->origin_keeps = false;
        th_outgoing_clear(&hop->to_client, hop->desk->worker);
        return fail(hop, TH_E_ORIGIN_PROTOCOL);
    }
    th_body_queue(&hop->response_body, &hop->to_client);
    return PUMP_AGAIN;
}

/* RFC 9110, 7.8: not in the middle of a message; what is left of it would be read as the new protocol. */
static enum pump switch_protocols(struct th_hop *hop)
{
    int error = th_hop_request_is_out(hop) ? th_tunnel_switch(hop) : TH_E_ORIGIN_PROTOCOL;

    if (error == TH_E_CANCELLED)
        return client_gone(hop);
    return error < 0 ? fail(hop, error) : PUMP_MOVED;
}

static enum pump relay_interim(struct th_hop *hop)
{
    struct th_writer w;

    if (hop->response.status == 101)
        return switch_protocols(hop);
    if (++hop->n_interim > INTERIM_MAX)
        return fail(hop, TH_E_ORIGIN_PROTOCOL);
    if (hop->request.minor >= 1) {
        th_writer_init(&w, hop->desk->worker->scratch, TH_SCRATCH_SIZE);
        th_rewrite_interim(hop, &w);
        if (w.overflow)
            return fail(hop, TH_E_ORIGIN_HEAD_LARGE);
        th_outgoing_add(&hop->to_client, w.ptr, w.len);
        th_metrics_count_status(hop->desk->metrics, (unsigned)hop->response.status);
    }
    hop->origin->in->start += hop->response.len;
    hop->response_scanned = 0;
    return PUMP_AGAIN;
}

static bool grow_origin_chunk(struct th_hop *hop, size_t size)
{
    struct th_chunk_pool *pool = &hop->desk->worker->chunks;
    struct th_chunk *old = hop->origin->in;
    struct th_chunk *large = th_chunk_get_large(pool, size);

    if (large == NULL)
        return false;
    memcpy(large->data, th_chunk_head(old), th_chunk_len(old));
    large->end = (uint32_t)th_chunk_len(old);
    th_chunk_put(pool, old);
    hop->origin->in = large;
    return true;
}

/* What is received in the turn in which the connection left the pool had come before the request went out: it
 * answers nothing, and must not be taken for the answer (R4). */
static bool is_unasked(const struct th_hop *hop)
{
    return hop->origin_reused && hop->response_bytes == 0 &&
           hop->origin->taken_turn == th_worker_turn_number(hop->desk->worker);
}

/* Receives toward a response's head. PUMP_AGAIN: some came. */
static enum pump receive_head(struct th_hop *hop, enum th_hop_wait *ret_wait)
{
    struct th_chunk_pool *pool = &hop->desk->worker->chunks;
    struct th_origin *origin = hop->origin;

    if (origin->in == NULL && (origin->in = th_chunk_get(pool)) == NULL)
        return fail(hop, TH_E_NOMEM);
    if (origin->in->start > 0)
        th_chunk_compact(origin->in);
    if (th_chunk_room(origin->in) == 0 &&
        !grow_origin_chunk(hop, hop->use->snapshot->view->limits.head + TH_CHUNK_SIZE))
        return fail(hop, TH_E_NOMEM);
    ssize_t n =
        th_stream_recv(&origin->stream, th_chunk_tail(origin->in), th_chunk_room(origin->in));
    if (n == TH_AGAIN) {
        if (th_chunk_len(origin->in) == 0)
            origin->in = th_chunk_put(pool, origin->in);
        if (hop->request_failed && origin->stream.peer_closed)
            return origin_was_dead(hop, TH_E_ORIGIN_CLOSED);
        *ret_wait = TH_WAIT_FIRST_BYTE;
        return PUMP_WAIT;
    }
    if (n <= 0)
        return origin_was_dead(hop, n == 0 ? TH_E_ORIGIN_CLOSED : (int)n);
    if (is_unasked(hop)) {
        origin->in->end += (uint32_t)n; /* to be wiped */
        return origin_was_dead(hop, TH_E_ORIGIN_PROTOCOL);
    }
    origin->in->end += (uint32_t)n;
    hop->response_bytes += (uint64_t)n;
    hop->origin_in += (uint64_t)n;
    return PUMP_AGAIN;
}

static enum pump read_response_head(struct th_hop *hop, enum th_hop_wait *ret_wait)
{
    const struct th_config_limits *limits = &hop->use->snapshot->view->limits;
    const struct th_http1_limits head_limits = {limits->head, limits->fields};
    struct th_origin *origin = hop->origin;

    if (origin->in == NULL || th_chunk_len(origin->in) == 0)
        return receive_head(hop, ret_wait);
    int error =
        th_http1_parse_response(&hop->response, th_chunk_head(origin->in), th_chunk_len(origin->in),
                                &hop->response_scanned, &head_limits, hop->request.method);
    if (error == TH_AGAIN)
        return receive_head(hop, ret_wait);
    if (error < 0)
        return fail(hop, error);
    if (hop->response.status == 101 || hop->response.status >= 200)
        th_shadow_settle(hop);
    if (hop->response.status < 200)
        return relay_interim(hop);
    if (th_hop_retry(hop))
        return PUMP_MOVED;
    error = th_parent_judge(hop);
    return error < 0 ? fail(hop, error) : begin_response(hop);
}

/* A body that goes by pipe needs no room; a client that takes it slowly would hold one for long. */
static void drop_room(struct th_hop *hop)
{
    struct th_body *body = &hop->response_body;

    if (body->room == NULL)
        return;
    th_chunk_touch(hop->origin->in, (size_t)(body->touched - body->room));
    body->room = body->raw = body->touched = NULL;
    body->room_size = 0;
    hop->origin->in = th_chunk_put(&hop->desk->worker->chunks, hop->origin->in);
}

static bool ensure_room(struct th_hop *hop)
{
    struct th_body *body = &hop->response_body;

    if (body->room != NULL)
        return true;
    struct th_chunk *in = th_chunk_get(&hop->desk->worker->chunks);
    if (in == NULL)
        return false;
    hop->origin->in = in;
    body->room = body->raw = body->touched = in->data;
    body->room_size = in->size;
    return true;
}

static ssize_t receive_response(struct th_hop *hop, int *round)
{
    struct th_body *body = &hop->response_body;
    struct th_stream *origin = &hop->origin->stream;
    ssize_t n = th_body_splice(body, origin, &hop->session->stream, &hop->to_client);

    if (n == TH_OUTGOING_COPY)
        return ensure_room(hop) ? th_body_recv(body, origin) : TH_E_NOMEM;
    if (n > 0) {
        drop_room(hop);
        *round += (int)(n / ROUND_SIZE);
    }
    return n;
}

static enum pump read_response_body(struct th_hop *hop, int *round, enum th_hop_wait *ret_wait)
{
    struct th_body *body = &hop->response_body;

    if (body->raw_len == 0) {
        ssize_t n = receive_response(hop, round);
        if (n == TH_AGAIN) {
            *ret_wait = TH_WAIT_RESPONSE_BODY;
            return PUMP_WAIT;
        }
        if (n < 0 || (n == 0 && !body->received))
            return fail_origin(hop, n < 0 ? (int)n : TH_E_ORIGIN_CLOSED);
        hop->origin_in += (uint64_t)n;
    }
    if (th_body_decode(body) < 0)
        return fail(hop, TH_E_ORIGIN_PROTOCOL);
    th_body_queue(body, &hop->to_client);
    return PUMP_AGAIN;
}

static enum pump pump_response(struct th_hop *hop, enum th_hop_wait *ret_wait)
{
    for (int round = 0; round < ROUNDS_A_TURN; round++) {
        if (!th_outgoing_is_empty(&hop->to_client)) {
            int error = th_outgoing_write(&hop->to_client, &hop->session->stream, &hop->client_out);
            if (error == TH_AGAIN) {
                *ret_wait = TH_WAIT_RESPONSE_TAKEN;
                return PUMP_WAIT;
            }
            if (error < 0)
                return error == TH_E_NOMEM ? fail(hop, error) : client_gone(hop);
            if (hop->response_parsed)
                th_body_written(&hop->response_body);
        }
        if (hop->response_parsed && hop->response_body.queued)
            return PUMP_DONE;
        enum pump result = hop->response_parsed ? read_response_body(hop, &round, ret_wait)
                                                : read_response_head(hop, ret_wait);
        if (result != PUMP_AGAIN)
            return result;
    }
    return PUMP_AGAIN;
}

/* --- relay --- */

static enum th_hop_step finish(struct th_hop *hop)
{
    struct th_body *body = &hop->response_body;
    struct th_chunk *in = hop->origin->in;

    hop->response_complete = true;
    hop->origin_keeps &= th_hop_request_is_out(hop);
    hop->client_keeps &= hop->request_body.received;
    if (in != NULL) { /* what is left was not asked for: the pool will see it */
        th_chunk_clear(in);
        in->start = (uint32_t)(body->raw - in->data);
        in->end = in->start + (uint32_t)body->raw_len;
    }
    return th_hop_move(hop, TH_HOP_RECORD);
}

enum th_hop_step th_hop_state_relay(struct th_hop *hop)
{
    enum th_hop_wait request_wait = TH_WAIT_NOTHING, response_wait = TH_WAIT_NOTHING;
    enum pump request = pump_request(hop, &request_wait);

    if (request == PUMP_MOVED)
        return TH_HOP_GO;
    if (request == PUMP_GONE)
        return TH_HOP_WAIT;
    enum pump response = pump_response(hop, &response_wait);
    if (response == PUMP_MOVED)
        return TH_HOP_GO;
    if (response == PUMP_GONE)
        return TH_HOP_WAIT;
    if (response == PUMP_DONE)
        return finish(hop);
    if (request == PUMP_DONE && !th_session_read_ahead(hop->session)) {
        th_session_close(hop->session);
        return TH_HOP_WAIT;
    }
    if (request == PUMP_AGAIN || response == PUMP_AGAIN) { /* others first, then on */
        th_session_run_soon(hop->session);
        return TH_HOP_WAIT;
    }
    /* While the request is on its way its own limits hold, unless the response has begun. */
    if (request == PUMP_WAIT && !hop->response_parsed)
        return th_hop_wait(hop, request_wait);
    return th_hop_wait(hop, response_wait);
}
