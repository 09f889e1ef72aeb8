#include "hop.h"

#include <limits.h>
#include <string.h>

#include "endpoints.h"
#include "proof.h"
#include "secure.h"
#include "tokenhop/base/mem.h"
#include "tunnel.h"

#define HOP_MAGIC 0x686f7021u
/* Free hops that a desk keeps: one is some 10 KB, most of it room for fields. And those that it keeps
 * when the others have not been needed for TRIM_MS. */
#define KEEP_HOPS 256
#define REST_HOPS 8
#define TRIM_MS 1000
/* How long a hop goes on for a client that has ended its side, with nothing moving: it may still
 * read (a half-close), but a silent stream must not be kept for one who has left. */
#define HALF_CLOSED_MS 5000

typedef enum th_hop_step state_fn(struct th_hop *hop);

/* Which states may follow which, as bits. */
#define TO(symbol) (1u << TH_HOP_##symbol)
static const uint16_t next_states[] = {
    [TH_HOP_READ_HEAD] = TO(GATE) | TO(ANSWER) | TO(RECORD),
    [TH_HOP_GATE] = TO(PASSWORD) | TO(SCOPE) | TO(CREDENTIAL) | TO(ORIGIN) | TO(AUDIT) |
                    TO(ANSWER) | TO(RECORD),
    [TH_HOP_PASSWORD] = TO(GATE) | TO(ANSWER) | TO(RECORD),
    [TH_HOP_SCOPE] = TO(CREDENTIAL) | TO(ANSWER) | TO(RECORD),
    [TH_HOP_CREDENTIAL] = TO(PROVE) | TO(ORIGIN) | TO(ANSWER) | TO(RECORD),
    [TH_HOP_PROVE] = TO(ORIGIN) | TO(ANSWER) | TO(RECORD),
    [TH_HOP_ORIGIN] = TO(AUDIT) | TO(SEND) | TO(TUNNEL) | TO(ANSWER) | TO(RECORD),
    [TH_HOP_AUDIT] = TO(SEND) | TO(TUNNEL) | TO(ANSWER) | TO(RECORD),
    [TH_HOP_SEND] = TO(RELAY) | TO(ORIGIN) | TO(ANSWER) | TO(RECORD),
    [TH_HOP_RELAY] = TO(CREDENTIAL) | TO(PROVE) | TO(ORIGIN) | TO(TUNNEL) | TO(ANSWER) | TO(RECORD),
    [TH_HOP_TUNNEL] = TO(RECORD),
    [TH_HOP_ANSWER] = TO(RECORD),
    [TH_HOP_RECORD] = 0,
};
#undef TO

static const struct {
    const char *name;
    state_fn *run;
} states[] = {
#define X(symbol, function, name) [TH_HOP_##symbol] = {name, th_hop_state_##function},
    TH_HOP_STATES(X)
#undef X
};

enum th_hop_step th_hop_move(struct th_hop *hop, enum th_hop_state to)
{
    TH_REQUIRE(next_states[hop->state] & (1u << to));
    TH_LOG(hop->desk->worker->log, TH_LEVEL_DEBUG, "hop.state", "A hop moves on",
           TH_LOG_TEXT("from", states[hop->state].name), TH_LOG_TEXT("to", states[to].name));
    hop->state = (uint8_t)to;
    hop->wait = TH_WAIT_NOTHING;
    return TH_HOP_GO;
}

enum th_hop_step th_hop_run(struct th_hop *hop)
{
    enum th_hop_step step;

    TH_REQUIRE(hop->magic == HOP_MAGIC);
    do
        step = states[hop->state].run(hop);
    while (step == TH_HOP_GO);
    return step;
}

void th_hop_wake(struct th_hop *hop)
{
    struct th_session *session = hop->session;

    if (th_hop_run(hop) == TH_HOP_END)
        th_session_run(session);
}

/* --- waiting --- */

static int64_t limit_of(const struct th_hop *hop, enum th_hop_wait wait)
{
    const struct th_config_timeouts *timeouts = &hop->use->snapshot->view->timeouts;
    int64_t left_ms = hop->connect_deadline_ms - hop->desk->worker->now_ms;

    switch (wait) {
    case TH_WAIT_NOTHING:
    case TH_WAIT_REQUEST_HEAD: /* the session's timer */
    case TH_WAIT_ORIGIN:       /* the dialer's */
        return -1;
    case TH_WAIT_ENDPOINTS:
        return timeouts->connect_ms;
    case TH_WAIT_HANDSHAKE:
    case TH_WAIT_PARENT:
        return left_ms > 0 ? left_ms : 0;
    case TH_WAIT_REQUEST_BODY:
    case TH_WAIT_REQUEST_TAKEN:
    case TH_WAIT_RESPONSE_TAKEN:
        return timeouts->body_ms;
    case TH_WAIT_CALLER:
    case TH_WAIT_PASSWORD:
    case TH_WAIT_CREDENTIAL:
    case TH_WAIT_PROOF:
    case TH_WAIT_AUDIT:
        return timeouts->exchange_ms;
    case TH_WAIT_FIRST_BYTE:
        return timeouts->first_byte_ms;
    case TH_WAIT_RESPONSE_BODY:
    case TH_WAIT_TUNNEL:
        return timeouts->stream_idle_ms;
    }
    return -1;
}

/* A response's head has its time as a whole, however it drips; only interim ones show that the
 * origin is at work. */
static uint64_t progress_of(const struct th_hop *hop, enum th_hop_wait wait)
{
    uint64_t others = hop->client_in + hop->client_out + hop->origin_out;

    return others + (wait == TH_WAIT_FIRST_BYTE ? hop->n_interim : hop->origin_in);
}

enum th_hop_step th_hop_wait(struct th_hop *hop, enum th_hop_wait wait)
{
    struct th_worker *worker = hop->desk->worker;
    int64_t limit_ms = limit_of(hop, wait);
    uint64_t progress = progress_of(hop, wait);

    hop->wait = (uint8_t)wait;
    if (limit_ms < 0) {
        th_timer_stop(&worker->wheel, &hop->timer);
        return TH_HOP_WAIT;
    }
    if (hop->session->half_closed && wait != TH_WAIT_REQUEST_BODY && wait != TH_WAIT_TUNNEL &&
        limit_ms > HALF_CLOSED_MS)
        limit_ms = HALF_CLOSED_MS;
    /* An event that moved nothing buys no time. */
    if (hop->timer.deadline_ms != 0 && hop->timed_wait == wait && hop->progress == progress &&
        hop->timer.deadline_ms <= worker->now_ms + limit_ms)
        return TH_HOP_WAIT;
    hop->timed_wait = (uint8_t)wait;
    hop->progress = progress;
    th_timer_set(&worker->wheel, &hop->timer, worker->now_ms + limit_ms);
    return TH_HOP_WAIT;
}

#define NOT_COUNTED (-1)

static void time_out(struct th_hop *hop)
{
    static const struct {
        int error;
        int metric;
        const char *detail;
    } rows[] = {
        [TH_WAIT_HANDSHAKE] = {TH_E_ORIGIN_CONNECT_TIMEOUT, TH_METRIC_TIMEOUTS_CONNECT,
                               "the TLS handshake was not done within timeouts.connect"},
        [TH_WAIT_PARENT] = {TH_E_ORIGIN_CONNECT_TIMEOUT, TH_METRIC_TIMEOUTS_CONNECT,
                            "the parent proxy did not answer a CONNECT within timeouts.connect"},
        [TH_WAIT_REQUEST_BODY] = {TH_E_BODY_TIMEOUT, TH_METRIC_TIMEOUTS_BODY},
        [TH_WAIT_REQUEST_TAKEN] = {TH_E_ORIGIN_BODY_TIMEOUT, TH_METRIC_TIMEOUTS_BODY},
        [TH_WAIT_CALLER] = {TH_E_EXCHANGE_DOWN, NOT_COUNTED,
                            "the keys that the caller's token is verified by did not come in time"},
        [TH_WAIT_PASSWORD] = {TH_E_OVERLOADED, NOT_COUNTED,
                              "too many passwords are being verified"},
        [TH_WAIT_CREDENTIAL] = {TH_E_EXCHANGE_TIMEOUT, NOT_COUNTED}, /* the broker has */
        [TH_WAIT_PROOF] = {TH_E_OVERLOADED, NOT_COUNTED, "the DPoP proof was not made in time"},
        [TH_WAIT_ENDPOINTS] = {TH_E_EXCHANGE_DOWN, NOT_COUNTED,
                               "where authorization servers are could not be found out in time"},
        [TH_WAIT_AUDIT] = {TH_E_AUDIT, NOT_COUNTED,
                           "the line of the audit log was not written within timeouts.exchange"},
        [TH_WAIT_FIRST_BYTE] = {TH_E_ORIGIN_FIRST_BYTE, TH_METRIC_TIMEOUTS_FIRST_BYTE},
        [TH_WAIT_RESPONSE_BODY] = {TH_E_ORIGIN_BODY_TIMEOUT, TH_METRIC_TIMEOUTS_STREAM},
        [TH_WAIT_RESPONSE_TAKEN] = {TH_E_BODY_TIMEOUT, TH_METRIC_TIMEOUTS_BODY},
        [TH_WAIT_TUNNEL] = {TH_E_ORIGIN_BODY_TIMEOUT, TH_METRIC_TIMEOUTS_STREAM},
    };

    if (hop->wait >= TH_COUNT_OF(rows) || rows[hop->wait].error == 0)
        return;
    if (rows[hop->wait].metric != NOT_COUNTED)
        th_metrics_count(hop->desk->metrics, rows[hop->wait].metric);
    if (hop->session->half_closed && hop->wait != TH_WAIT_TUNNEL) {
        th_session_close(hop->session);
        return;
    }
    th_hop_fail(hop, rows[hop->wait].error, rows[hop->wait].detail);
    th_hop_wake(hop);
}

static void on_hop_timer(struct th_timer *timer)
{
    struct th_hop *hop = TH_CONTAINER_OF(timer, struct th_hop, timer);

    TH_REQUIRE(hop->magic == HOP_MAGIC);
    time_out(hop);
}

void th_hop_head_timed_out(struct th_hop *hop)
{
    th_hop_fail(hop, TH_E_HEAD_TIMEOUT, NULL);
    th_hop_wake(hop);
}

/* --- ending --- */

void th_hop_drop_credential(struct th_hop *hop)
{
    th_broker_leave(&hop->waiter);
    hop->credential = th_credential_unref(hop->credential);
    hop->refusal = th_refusal_unref(hop->refusal);
}

void th_hop_drop_origin(struct th_hop *hop, bool keep)
{
    if (hop->dialing)
        th_dial_cancel(&hop->dial);
    hop->dialing = false;
    if (hop->origin == NULL)
        return;
    th_outgoing_clear(&hop->to_origin, hop->desk->worker);
    if (hop->response_parsed && hop->response_body.room != NULL)
        th_chunk_touch(hop->origin->in,
                       (size_t)(hop->response_body.touched - hop->response_body.room));
    if (keep)
        th_origin_give(hop->origin);
    else
        th_origin_close(hop->origin);
    hop->origin = NULL;
}

enum th_hop_step th_hop_fail(struct th_hop *hop, int error, const char *detail)
{
    hop->error = error;
    hop->detail = detail;
    hop->refused_at_gate |=
        hop->state == TH_HOP_GATE || hop->state == TH_HOP_PASSWORD || hop->state == TH_HOP_SCOPE;
    th_proof_drop(hop);
    th_workload_leave(&hop->workload);
    th_endpoints_leave(hop);
    if (error == TH_E_AUDIT)
        th_hop_audit_withdraw(hop);
    th_hop_drop_password(hop);
    if (hop->state == TH_HOP_RECORD)
        return TH_HOP_GO;
    if (hop->state == TH_HOP_ANSWER || hop->head_sent || !th_outgoing_is_empty(&hop->to_client)) {
        /* A part of a response is out, if only of an interim one: the cut must be seen, never a
         * clean end, nor an answer that would be read as the rest (R4). */
        hop->client_keeps = hop->origin_keeps = false;
        th_outgoing_clear(&hop->to_client, hop->desk->worker);
        th_stream_reset(&hop->session->stream);
        return th_hop_move(hop, TH_HOP_RECORD);
    }
    return th_hop_move(hop, TH_HOP_ANSWER);
}

void th_hop_cancel(struct th_hop *hop)
{
    if (hop->error == 0 && !hop->response_complete) {
        hop->error = TH_E_CANCELLED;
        th_metrics_count(hop->desk->metrics, TH_METRIC_HOPS_CANCELLED);
        /* Nothing has left yet on the strength of what waits. */
        if (th_audit_outcome(&hop->audit_wait) == TH_AGAIN)
            th_hop_audit_withdraw(hop);
    }
    if (hop->state != TH_HOP_RECORD)
        th_hop_move(hop, TH_HOP_RECORD);
    th_hop_run(hop);
}

/* --- beginning --- */

static struct th_hop *allocate(struct th_proxy_desk *desk, size_t max_fields)
{
    struct th_list *item = th_list_pop_front(&desk->free_hops);

    if (item != NULL) {
        struct th_hop *hop = TH_LIST_ENTRY(item, struct th_hop, link);
        desk->n_free_hops--;
        if (desk->n_unneeded_hops > desk->n_free_hops)
            desk->n_unneeded_hops = desk->n_free_hops;
        if (hop->max_fields == max_fields)
            return hop;
        th_free(hop); /* of a configuration with another limit */
    }
    struct th_hop *hop = th_malloc(sizeof *hop + 2 * max_fields * sizeof hop->fields[0]);
    if (hop != NULL)
        hop->max_fields = (uint16_t)max_fields;
    return hop;
}

struct th_hop *th_hop_new(struct th_session *session)
{
    struct th_proxy_desk *desk = session->listener->desk;
    size_t max_fields = desk->current->snapshot->view->limits.fields;
    struct th_hop *hop = allocate(desk, max_fields);

    if (hop == NULL)
        return NULL;
    memset(hop, 0, offsetof(struct th_hop, max_fields));
    hop->magic = HOP_MAGIC;
    hop->desk = desk;
    hop->session = session;
    hop->use = desk->current;
    th_snapshot_use_take(hop->use);
    hop->listener = session->listener->config;
    hop->agent = session->listener->agent;
    th_timer_init(&hop->timer, on_hop_timer);
    th_buf_init_secret(&hop->held_copy, hop->use->snapshot->view->limits.replay_body);
    hop->request.fields = hop->fields;
    hop->request.max_fields = hop->max_fields;
    hop->response.max_fields = hop->max_fields;
    hop->state = TH_HOP_READ_HEAD;
    hop->exchange_us = hop->first_byte_us = -1;
    hop->started_us = th_clock_precise_us();
    desk->n_hops++;
    th_metrics_add(desk->metrics, TH_METRIC_HOPS_OPEN, 1);
    return hop;
}

/* What the client sent beyond this hop's request waits for the next one at the front of its chunk. */
static void leave_rest(struct th_hop *hop)
{
    struct th_session *session = hop->session;
    struct th_body *body = &hop->request_body;
    struct th_chunk *in = session->in;

    if (in == NULL)
        return;
    if (body->room != NULL && hop->request_chunk == NULL)
        th_chunk_touch(in, (size_t)(body->touched - in->data));
    if (body->room == NULL || !body->received || body->raw_len == 0) {
        session->in = th_chunk_put(&hop->desk->worker->chunks, in);
        return;
    }
    th_chunk_clear(in);
    if (hop->request_chunk == NULL) {
        in->start = (uint32_t)(body->raw - in->data);
    } else if (body->raw_len <= in->size) {
        memcpy(in->data, body->raw, body->raw_len);
    } else { /* it was made larger, for a body that was waited for */
        th_chunk_put(&hop->desk->worker->chunks, in);
        in = session->in = th_take(&hop->request_chunk);
        th_chunk_touch(in, (size_t)(body->touched - in->data));
        in->start = (uint32_t)(body->raw - in->data);
    }
    in->end = in->start + (uint32_t)body->raw_len;
}

void th_hop_trim_free(struct th_timer *timer)
{
    struct th_proxy_desk *desk = TH_CONTAINER_OF(timer, struct th_proxy_desk, trim);

    for (; desk->n_unneeded_hops > 0 && desk->n_free_hops > REST_HOPS; desk->n_unneeded_hops--) {
        struct th_list *item = desk->free_hops.prev;
        th_list_remove(item);
        th_free(TH_LIST_ENTRY(item, struct th_hop, link));
        desk->n_free_hops--;
    }
    desk->n_unneeded_hops = desk->n_free_hops;
    if (desk->n_free_hops > REST_HOPS)
        th_timer_set(&desk->worker->wheel, timer, desk->worker->now_ms + TRIM_MS);
}

void th_hop_release(struct th_hop *hop)
{
    struct th_proxy_desk *desk = hop->desk;
    struct th_worker *worker = desk->worker;
    struct th_session *session = hop->session;

    /* Where the client left early the rest of the response is still to come (R4). */
    th_hop_drop_origin(hop, hop->origin_keeps && hop->response_complete);
    th_proof_drop(hop);
    th_workload_leave(&hop->workload);
    th_endpoints_leave(hop);
    th_audit_leave(&hop->audit_wait, false);
    th_hop_drop_password(hop);
    th_hop_drop_credential(hop);
    th_outgoing_clear(&hop->to_client, worker);
    th_outgoing_clear(&hop->to_origin, worker);
    th_timer_stop(&worker->wheel, &hop->timer);
    leave_rest(hop);
    th_hop_drop_room(hop);
    th_buf_fini(&hop->held_copy);
    th_tunnel_uncount(hop);
    th_free(hop->kept_text);
    th_snapshot_use_give(hop->use);
    session->hop = NULL;
    session->closing |= !hop->client_keeps || desk->draining || th_secure_has_ended(session);
    desk->n_hops--;
    th_metrics_add(desk->metrics, TH_METRIC_HOPS_OPEN, -1);
    hop->magic = 0;
    if (desk->n_free_hops < KEEP_HOPS) {
        th_list_push_front(&desk->free_hops, &hop->link);
        desk->n_free_hops++;
        if (desk->n_free_hops > REST_HOPS && desk->trim.deadline_ms == 0)
            th_timer_set(&worker->wheel, &desk->trim, worker->now_ms + TRIM_MS);
    } else {
        th_free(hop);
    }
}
