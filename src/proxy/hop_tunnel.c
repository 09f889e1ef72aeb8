/* The state of a plain tunnel, and of a connection that has switched to another protocol: bytes move both
 * ways until both sides have ended. Large amounts go by pipe, past this process; a receive that came back
 * short was the last of a small message, which is copied, as that takes the same two system calls and knows
 * for sure whether more is there. */
#include "hop.h"

#include <string.h>

#include "rewrite.h"
#include "tokenhop/base/mem.h"
#include "tunnel.h"
#include "upgrade.h"

/* Rounds of receive and write that one side gets in one turn of the loop, and what counts as one. */
#define ROUNDS_A_TURN 64
#define ROUND_SIZE 16384

enum flow { FLOW_WAITS, FLOW_AGAIN, FLOW_ENDED, FLOW_BROKEN };

/* One direction. Bits of the hop cannot be pointed at, so what it has learned is put back by its caller. */
struct direction {
    struct th_stream *from, *to;
    struct th_outgoing *out;
    uint64_t *n_in, *n_out;
    bool ended, end_passed, bulk;
    int error; /* with FLOW_BROKEN */
    bool by_from;
};

static ssize_t receive(struct direction *d, struct th_worker *worker, int *round)
{
    if (d->bulk && d->from->readable && th_pipe_joins(d->from, d->to)) {
        ssize_t n = th_outgoing_fill(d->out, d->from, SIZE_MAX);
        if (n > 0)
            *round += (int)(n / ROUND_SIZE);
        if (n != TH_OUTGOING_COPY && n != TH_AGAIN)
            return n;
    }
    /* A receive knows for sure, and passes over urgent data. */
    ssize_t n = th_stream_recv(d->from, worker->scratch, ROUND_SIZE);
    d->bulk = n == ROUND_SIZE;
    if (n > 0)
        th_outgoing_add(d->out, worker->scratch, (size_t)n);
    return n;
}

static enum flow broken(struct direction *d, int error, bool by_from)
{
    d->error = error;
    d->by_from = by_from;
    return FLOW_BROKEN;
}

static enum flow pass_end(struct direction *d)
{
    int error = d->end_passed ? 0 : th_stream_shutdown_write(d->to);

    d->end_passed = true;
    return error < 0 ? broken(d, error, false) : FLOW_ENDED;
}

/* FLOW_AGAIN: all of it is out. What was received lies in the worker's scratch, which is anybody's as soon as
 * this direction is left: it is written, or kept, before. */
static enum flow flush(struct direction *d)
{
    int error = th_outgoing_is_empty(d->out) ? 0 : th_outgoing_write(d->out, d->to, d->n_out);

    if (error == TH_AGAIN)
        return FLOW_WAITS;
    return error < 0 ? broken(d, error, false) : FLOW_AGAIN;
}

static enum flow move(struct direction *d, struct th_worker *worker)
{
    enum flow flow = flush(d);

    for (int round = 0; flow == FLOW_AGAIN && round < ROUNDS_A_TURN; round++) {
        if (d->ended)
            return pass_end(d);
        ssize_t n = receive(d, worker, &round);
        if (n == TH_AGAIN)
            return FLOW_WAITS;
        if (n < 0)
            return broken(d, (int)n, true);
        d->ended = n == 0;
        *d->n_in += (uint64_t)n;
        flow = flush(d);
    }
    return flow;
}

/* The 200, and what the client has sent behind its CONNECT; or that alone, where nobody has asked. */
static void begin(struct th_hop *hop)
{
    static const char established[] = "HTTP/1.1 200 Connection established\r\n\r\n";
    const struct th_body *body = &hop->request_body;
    const struct th_tunnel *tunnel = hop->session->tunnel;

    hop->head_sent = true;
    if (!hop->is_bare) {
        hop->status = 200;
        hop->request.method_text = TH_STR("CONNECT");
        th_outgoing_add(&hop->to_client, established, sizeof established - 1);
    }
    hop->first_byte_us = th_clock_precise_us() - hop->started_us;
    hop->client_keeps = hop->origin_keeps = false;
    hop->client_ended = hop->session->half_closed;
    if (hop->origin->in != NULL) { /* came behind a parent's own 200 */
        th_outgoing_add(&hop->to_client, th_chunk_head(hop->origin->in),
                        th_chunk_len(hop->origin->in));
        hop->origin_in += th_chunk_len(hop->origin->in);
    }
    th_outgoing_add(&hop->to_origin, body->raw, body->raw_len);
    hop->client_in += body->raw_len;
    /* What the record needs of the head stays when its chunk goes. */
    th_hop_ensure_trace(hop);
    hop->url.host = th_tunnel_host(tunnel);
    hop->url.path = TH_STR_NONE;
    th_metrics_count(hop->desk->metrics, TH_METRIC_TUNNELS);
}

/* --- switching --- */

/* What the record needs of the head stays when its chunk goes. */
static int keep_text(struct th_hop *hop)
{
    struct th_str method = hop->request.method_text, host = hop->url.host, path = hop->url.path;
    char *text = th_malloc(method.len + host.len + path.len);

    if (text == NULL)
        return TH_E_NOMEM;
    memcpy(text, method.ptr, method.len);
    memcpy(text + method.len, host.ptr, host.len);
    memcpy(text + method.len + host.len, path.ptr, path.len);
    th_hop_ensure_trace(hop);
    hop->request.method_text.ptr = text;
    hop->url.host.ptr = text + method.len;
    hop->url.path.ptr = text + method.len + host.len;
    hop->url.path_query = hop->url.path;
    hop->kept_text = text;
    return 0;
}

/* What each side has sent behind its head is the first of what is relayed. */
static int pass_first(struct th_hop *hop, const struct th_writer *head)
{
    struct th_chunk *in = hop->origin->in;
    const struct th_body *body = &hop->request_body;

    in->start += hop->response.len;
    th_outgoing_add(&hop->to_client, head->ptr, head->len);
    th_outgoing_add(&hop->to_client, th_chunk_head(in), th_chunk_len(in));
    th_outgoing_add(&hop->to_origin, body->raw, body->raw_len);
    hop->client_in += body->raw_len;
    hop->head_sent = true;
    int error = th_outgoing_write(&hop->to_client, &hop->session->stream, &hop->client_out);
    if (error == 0 || error == TH_AGAIN) /* out of the scratch, at least */
        return 0;
    th_outgoing_clear(&hop->to_client, hop->desk->worker);
    return TH_E_CANCELLED;
}

int th_tunnel_switch(struct th_hop *hop)
{
    struct th_writer w;

    if (!hop->upgrade || !th_upgrade_is_granted(&hop->request, &hop->response))
        return TH_E_ORIGIN_PROTOCOL;
    th_writer_init(&w, hop->desk->worker->scratch, TH_SCRATCH_SIZE);
    th_rewrite_switch(hop, &w);
    if (w.overflow)
        return TH_E_ORIGIN_HEAD_LARGE;
    int error = keep_text(hop);
    if (error < 0)
        return error;
    hop->status = 101;
    hop->first_byte_us = th_clock_precise_us() - hop->started_us;
    hop->client_keeps = hop->origin_keeps = false;
    hop->client_ended = hop->session->half_closed;
    th_buf_fini(&hop->held_copy);
    th_hop_drop_credential(
        hop); /* it has done its work; what is withdrawn is not kept in memory for long */
    th_metrics_count(hop->desk->metrics, TH_METRIC_TUNNELS_UPGRADED);
    error = pass_first(hop, &w);
    if (error == 0)
        th_hop_move(hop, TH_HOP_TUNNEL);
    return error;
}

/* --- the state --- */

/* An idle tunnel holds no chunk. */
static void drop_chunks(struct th_hop *hop)
{
    struct th_session *session = hop->session;
    struct th_chunk_pool *pool = &hop->desk->worker->chunks;

    if (th_outgoing_is_empty(&hop->to_origin)) {
        if (session->in != NULL && hop->request_chunk == NULL)
            th_chunk_touch(session->in, (size_t)(hop->request_body.touched - session->in->data));
        session->in = th_chunk_put(pool, session->in);
        th_hop_drop_room(hop);
    }
    if (th_outgoing_is_empty(&hop->to_client))
        hop->origin->in = th_chunk_put(pool, hop->origin->in);
}

static enum flow move_from_client(struct th_hop *hop, struct direction *d)
{
    *d = (struct direction){.from = &hop->session->stream,
                            .to = &hop->origin->stream,
                            .out = &hop->to_origin,
                            .n_in = &hop->client_in,
                            .n_out = &hop->origin_out,
                            .ended = hop->client_ended,
                            .end_passed = hop->client_end_passed,
                            .bulk = hop->client_bulk};
    enum flow flow = move(d, hop->desk->worker);
    hop->client_ended = d->ended;
    hop->client_end_passed = d->end_passed;
    hop->client_bulk = d->bulk;
    return flow;
}

static enum flow move_from_origin(struct th_hop *hop, struct direction *d)
{
    *d = (struct direction){.from = &hop->origin->stream,
                            .to = &hop->session->stream,
                            .out = &hop->to_client,
                            .n_in = &hop->origin_in,
                            .n_out = &hop->client_out,
                            .ended = hop->origin_ended,
                            .end_passed = hop->origin_end_passed,
                            .bulk = hop->origin_bulk};
    enum flow flow = move(d, hop->desk->worker);
    hop->origin_ended = d->ended;
    hop->origin_end_passed = d->end_passed;
    hop->origin_bulk = d->bulk;
    return flow;
}

static enum th_hop_step end_whole(struct th_hop *hop)
{
    hop->response_complete = true;
    return th_hop_move(hop, TH_HOP_RECORD);
}

/* The cut of one side is passed on as one. But who has ended its side and then closes all of it, while
 * the other still sends, has only left early. */
static enum th_hop_step end_broken(struct th_hop *hop, const struct direction *d, bool by_client)
{
    bool had_ended = by_client ? hop->client_ended : hop->origin_ended;

    th_outgoing_clear(&hop->to_client, hop->desk->worker);
    th_outgoing_clear(&hop->to_origin, hop->desk->worker);
    if (had_ended)
        return end_whole(hop);
    if (d->error == TH_E_NOMEM || !by_client)
        return th_hop_fail(hop, d->error, NULL);
    hop->origin = th_origin_reset(hop->origin);
    th_session_close(hop->session);
    return TH_HOP_WAIT;
}

enum th_hop_step th_hop_state_tunnel(struct th_hop *hop)
{
    struct direction d;

    if (!hop->head_sent)
        begin(hop);
    enum flow up = move_from_client(hop, &d);
    if (up == FLOW_BROKEN)
        return end_broken(hop, &d, d.by_from);
    enum flow down = move_from_origin(hop, &d);
    if (down == FLOW_BROKEN)
        return end_broken(hop, &d, !d.by_from);
    drop_chunks(hop);
    if (up == FLOW_ENDED && down == FLOW_ENDED)
        return end_whole(hop);
    if (up == FLOW_AGAIN || down == FLOW_AGAIN) { /* others first, then on */
        th_session_run_soon(hop->session);
        return TH_HOP_WAIT;
    }
    return th_hop_wait(hop, TH_WAIT_TUNNEL);
}
