/* The state of a plain tunnel: bytes move both ways until both sides have ended. Large amounts go by
 * pipe, past this process; a receive that came back short was the last of a small message, which is
 * copied, as that takes the same two system calls and knows for sure whether more is there. */
#include "hop.h"
#include "tunnel.h"

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

static enum flow move(struct direction *d, struct th_worker *worker)
{
    for (int round = 0; round < ROUNDS_A_TURN; round++) {
        if (!th_outgoing_is_empty(d->out)) {
            int error = th_outgoing_write(d->out, d->to, d->n_out);
            if (error == TH_AGAIN)
                return FLOW_WAITS;
            if (error < 0)
                return broken(d, error, false);
        }
        if (d->ended)
            return pass_end(d);
        ssize_t n = receive(d, worker, &round);
        if (n == TH_AGAIN)
            return FLOW_WAITS;
        if (n < 0)
            return broken(d, (int)n, true);
        d->ended = n == 0;
        *d->n_in += (uint64_t)n;
    }
    return FLOW_AGAIN;
}

/* The 200, and what the client has sent behind its CONNECT. */
static void begin(struct th_hop *hop)
{
    static const char established[] = "HTTP/1.1 200 Connection established\r\n\r\n";
    const struct th_body *body = &hop->request_body;
    const struct th_tunnel *tunnel = hop->session->tunnel;

    hop->head_sent = true;
    hop->status = 200;
    hop->first_byte_us = th_clock_precise_us() - hop->started_us;
    hop->client_keeps = hop->origin_keeps = false;
    hop->client_ended = hop->session->half_closed;
    th_outgoing_add(&hop->to_client, established, sizeof established - 1);
    th_outgoing_add(&hop->to_origin, body->raw, body->raw_len);
    hop->client_in += body->raw_len;
    /* What the record needs of the head stays when its chunk goes. */
    th_hop_ensure_trace(hop);
    hop->url.host = th_tunnel_host(tunnel);
    hop->url.path = TH_STR_NONE;
    hop->request.method_text = TH_STR("CONNECT");
    th_metrics_count(hop->desk->metrics, TH_METRIC_TUNNELS);
}

/* An idle tunnel holds no chunk. */
static void drop_chunk(struct th_hop *hop)
{
    struct th_session *session = hop->session;

    if (session->in == NULL || !th_outgoing_is_empty(&hop->to_origin))
        return;
    th_chunk_touch(session->in, (size_t)(hop->request_body.touched - session->in->data));
    session->in = th_chunk_put(&hop->desk->worker->chunks, session->in);
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
    drop_chunk(hop);
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
    if (up == FLOW_ENDED && down == FLOW_ENDED)
        return end_whole(hop);
    if (up == FLOW_AGAIN || down == FLOW_AGAIN) { /* others first, then on */
        th_session_run_soon(hop->session);
        return TH_HOP_WAIT;
    }
    return th_hop_wait(hop, TH_WAIT_TUNNEL);
}
