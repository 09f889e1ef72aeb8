/* The last states: an answer of our own, and the record. */
#include "hop.h"
#include "jsonrpc.h"
#include "shadow.h"
#include "target.h"
#include "tokenhop/http/problem.h"
#include "tunnel.h"

/* --- answer --- */

/* A request whose body was not read whole cannot be followed by another on its connection. */
static bool can_go_on(struct th_hop *hop)
{
    struct th_body *body = &hop->request_body;

    if (body->room == NULL || (!body->received && body->data_len == 0 && th_body_decode(body) < 0))
        return false;
    /* An HTTP/1.0 client takes silence for an end, whatever it asked. */
    return body->received && hop->request.keep_alive && hop->request.minor > 0 &&
           !th_session_has_early_bytes(hop->session);
}

void th_hop_ensure_trace(struct th_hop *hop)
{
    struct th_str parent = TH_STR_NONE;

    if (hop->has_trace)
        return;
    if (hop->request_body.room != NULL && hop->request.traceparent >= 0)
        parent = hop->request.fields[hop->request.traceparent].value;
    (void)th_trace_start(parent, &hop->trace);
    th_spans_sample(hop->desk->worker->spans, &hop->trace);
    hop->has_trace = true;
}

/* --- consent, for who speaks JSON-RPC --- */

/* Whether the user's consent is to be asked for in the terms of a request that is not here whole yet. Most
 * clients send the body after the head. */
static bool lacks_body(const struct th_hop *hop)
{
    const struct th_body *body = &hop->request_body;

    return hop->error == TH_E_INTERACTION && body->room != NULL && !body->received &&
           body->framing == TH_FRAMING_LENGTH && body->total == 0 &&
           body->raw_len < body->remaining &&
           body->remaining <= (size_t)(body->room + body->room_size - body->raw) &&
           !hop->request.expect_continue && !hop->session->half_closed &&
           th_jsonrpc_may_be(&hop->request);
}

/* The request's body, where all of it is at hand. */
static struct th_str body_at_hand(const struct th_hop *hop)
{
    const struct th_body *body = &hop->request_body;

    if (!body->received)
        return TH_STR_NONE;
    if (hop->held == TH_HELD_COPY)
        return th_buf_str(&hop->held_copy);
    if (hop->held == TH_HELD_IN_PLACE)
        return hop->held_in_place;
    return body->data_len == body->total ? (struct th_str){body->data, body->data_len}
                                         : TH_STR_NONE;
}

static struct th_str jsonrpc_id(const struct th_hop *hop, char room[TH_JSONRPC_ID_MAX + 1])
{
    if (hop->error != TH_E_INTERACTION || hop->request_body.room == NULL ||
        !th_jsonrpc_may_be(&hop->request) || !th_jsonrpc_read_id(body_at_hand(hop), room))
        return TH_STR_NONE;
    return th_str_of(room);
}

static int64_t retry_after_ms(const struct th_hop *hop)
{
    if (hop->retry_after_ms > 0)
        return hop->retry_after_ms;
    return hop->refusal != NULL ? hop->refusal->retry_after_ms : -1;
}

static void write_problem(struct th_hop *hop, struct th_writer *w)
{
    const struct th_config_connection *connection = hop->decision.route.connection;
    const struct th_refusal *refusal = hop->refusal;
    char id[TH_JSONRPC_ID_MAX + 1];

    th_hop_ensure_trace(hop);
    struct th_problem problem = {
        .error = hop->error,
        .detail = th_str_of(hop->detail),
        .connection = connection != NULL ? connection->name : TH_STR_NONE,
        .trace_id = {hop->trace.id, TH_TRACE_ID_LEN},
        .jsonrpc_id = jsonrpc_id(hop, id),
        .interaction_uri = refusal != NULL ? th_str_of(refusal->interaction_uri) : TH_STR_NONE,
        .challenge = refusal != NULL ? th_str_of(refusal->challenge) : TH_STR_NONE,
        .allow = hop->error == TH_E_METHOD ? TH_STR("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
                                           : TH_STR_NONE,
        .retry_after_ms = retry_after_ms(hop),
        .wall_ms = th_clock_wall_ms(hop->desk->worker->clock),
        .close = !hop->client_keeps,
        .head_only = hop->request.method == TH_METHOD_HEAD,
    };
    hop->status = th_error_get(hop->error)->status;
    th_problem_write(w, &problem);
}

/* RFC 9110, 7.6.2: the last hop of an OPTIONS or TRACE answers it itself. */
static void write_last_hop(struct th_hop *hop, struct th_writer *w)
{
    if (hop->request.method == TH_METHOD_TRACE) {
        hop->error = TH_E_METHOD;
        write_problem(hop, w);
        return;
    }
    hop->status = 200;
    th_writer_add_status_line(w, 200, TH_STR("OK"));
    th_writer_add_field(w, TH_STR("Allow"), TH_STR("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    th_writer_add(w, TH_STR("Content-Length: 0\r\n"));
    if (!hop->client_keeps)
        th_writer_add(w, TH_STR("Connection: close\r\n"));
    th_writer_add(w, TH_STR("\r\n"));
}

/* No fields: a 2xx to CONNECT has no body, and what follows is the tunnel (RFC 9110, 9.3.6). */
static void write_established(struct th_hop *hop, struct th_writer *w)
{
    hop->status = 200;
    th_writer_add(w, TH_STR("HTTP/1.1 200 Connection established\r\n\r\n"));
}

enum th_hop_step th_hop_state_answer(struct th_hop *hop)
{
    while (!hop->head_sent && lacks_body(hop)) {
        if (!hop->session->stream.readable)
            return th_hop_wait(hop, TH_WAIT_REQUEST_BODY);
        if (!th_session_read_ahead(hop->session)) {
            th_session_close(hop->session);
            return TH_HOP_WAIT;
        }
    }
    if (!hop->head_sent) {
        struct th_writer w;
        hop->client_keeps = can_go_on(hop);
        hop->origin_keeps = false;
        th_hop_drop_origin(hop, false);
        th_broker_leave(&hop->waiter);
        th_writer_init(&w, hop->desk->worker->scratch, TH_SCRATCH_SIZE);
        if (hop->is_bare)
            th_original_write_alert(hop, &w);
        else if (hop->error != 0)
            write_problem(hop, &w);
        else if (hop->request.method == TH_METHOD_CONNECT)
            write_established(hop, &w);
        else if (th_target_is_question(hop))
            th_target_write_answer(hop, &w);
        else
            write_last_hop(hop, &w);
        if (w.overflow) { /* limits.head may be larger than what a head is written in */
            hop->error = TH_E_HEAD_TOO_LARGE;
            th_writer_init(&w, hop->desk->worker->scratch, TH_SCRATCH_SIZE);
            write_problem(hop, &w);
        }
        th_outgoing_clear(&hop->to_client, hop->desk->worker);
        th_outgoing_add(&hop->to_client, w.ptr, w.len);
        hop->head_sent = true;
    }
    int error = th_outgoing_write(&hop->to_client, &hop->session->stream, &hop->client_out);
    if (error == TH_AGAIN)
        return th_hop_wait(hop, TH_WAIT_RESPONSE_TAKEN);
    hop->response_complete = error == 0;
    if (error < 0)
        hop->client_keeps = false;
    return th_hop_move(hop, TH_HOP_RECORD);
}

/* --- record --- */

static struct th_str client_text(const struct th_hop *hop, char room[TH_ADDRESS_TEXT_MAX])
{
    th_session_format_client(hop->session, room);
    return th_str_of(room);
}

static void write_access(struct th_hop *hop, int64_t duration_us)
{
    const struct th_config_connection *connection = hop->decision.route.connection;
    char client[TH_ADDRESS_TEXT_MAX], origin[TH_ADDRESS_TEXT_MAX] = "";
    char authority[TH_URL_HOST_MAX + 16];
    char subject[TH_FINGERPRINT_LEN + 1] = "";
    bool parsed = hop->request_body.room != NULL;

    th_hop_ensure_trace(hop);
    if (hop->origin_known)
        th_address_format(&hop->origin_address, origin);
    if (hop->subject_known)
        th_secret_fingerprint(hop->key.subject, sizeof hop->key.subject, subject);
    struct th_access_record record = {
        .wall_ms = hop->started_wall_ms != 0 ? hop->started_wall_ms
                                             : th_clock_wall_ms(hop->desk->worker->clock),
        .duration_us = duration_us,
        .exchange_us = hop->exchange_us,
        .first_byte_us = hop->first_byte_us,
        .worker = hop->desk->worker->index,
        .listener = th_str_of(hop->session->listener->name),
        .client = client_text(hop, client),
        .caller = hop->caller != NULL ? hop->caller->name : TH_STR_NONE,
        .agent = hop->agent != NULL ? hop->agent->name : TH_STR_NONE,
        .connection = connection != NULL ? connection->name : TH_STR_NONE,
        .method = parsed ? hop->request.method_text : TH_STR_NONE,
        .scheme = hop->url.host.len > 0 && hop->request.method != TH_METHOD_CONNECT
                      ? th_scheme_text(hop->url.scheme)
                      : TH_STR_NONE,
        .host = {authority, hop->url.host.len > 0
                                ? th_url_write_authority(&hop->url, authority, sizeof authority)
                                : 0},
        .path = hop->url.host.len > 0 ? hop->url.path : TH_STR_NONE,
        .http_major = parsed && !hop->is_bare ? 1 : 0,
        .http_minor = parsed ? hop->request.minor : 0,
        .status = (unsigned)hop->status,
        .error = hop->error,
        .cache = (enum th_cache_state)hop->cache_state,
        .origin = th_str_of(origin),
        .origin_reused = hop->origin_reused,
        .tunnel = hop->is_tunnel,
        .request_complete = parsed && hop->request_body.received,
        .response_complete = hop->response_complete,
        .client_in = hop->client_in,
        .client_out = hop->client_out,
        .origin_in = hop->origin_in,
        .origin_out = hop->origin_out,
        .trace_id = {hop->trace.id, TH_TRACE_ID_LEN},
        .subject = th_str_of(subject),
    };
    th_access_write(hop->desk->access_log, &record);
}

static void tell_span(struct th_hop *hop, int64_t duration_us)
{
    const struct th_config_connection *connection = hop->decision.route.connection;
    char text[TH_ADDRESS_TEXT_MAX];
    char subject[TH_FINGERPRINT_LEN + 1] = "";

    th_hop_ensure_trace(hop);
    if (!th_spans_wants(hop->desk->worker->spans, &hop->trace))
        return;
    struct th_span span = {
        .kind = TH_SPAN_HOP,
        .trace = hop->trace,
        .start_wall_us = th_clock_wall_ms(hop->desk->worker->clock) * 1000 - duration_us,
        .duration_us = duration_us,
        .status = hop->status,
        .error = hop->error,
        .cache = (enum th_cache_state)hop->cache_state,
        .port = hop->url.port,
    };
    if (hop->request_body.room != NULL)
        TH_SPAN_SET(span.method, hop->request.method_text);
    if (hop->url.host.len > 0) {
        TH_SPAN_SET(span.scheme, th_scheme_text(hop->url.scheme));
        TH_SPAN_SET(span.host, hop->url.host);
        TH_SPAN_SET(span.path, hop->url.path);
    }
    TH_SPAN_SET(span.listener, th_str_of(hop->session->listener->name));
    if (hop->agent != NULL)
        TH_SPAN_SET(span.agent, hop->agent->name);
    if (connection != NULL)
        TH_SPAN_SET(span.connection, connection->name);
    TH_SPAN_SET(span.client, client_text(hop, text));
    if (hop->subject_known)
        th_secret_fingerprint(hop->key.subject, sizeof hop->key.subject, subject);
    TH_SPAN_SET(span.subject, th_str_of(subject));
    th_spans_put(hop->desk->worker->spans, &span);
}

static void count_connection(struct th_hop *hop)
{
    const struct th_config_connection *connection = hop->decision.route.connection;
    const unsigned *rows = hop->use != NULL ? hop->use->snapshot->metric_rows : NULL;

    if (connection != NULL && rows != NULL)
        th_metrics_count_request(
            hop->desk->metrics, rows[connection->index], (unsigned)hop->status,
            hop->cache_state == TH_CACHE_HIT || hop->cache_state == TH_CACHE_REFRESHED, hop->error,
            hop->error != 0 ? th_clock_wall_ms(hop->desk->worker->clock) : 0);
}

static void count(struct th_hop *hop, int64_t duration_us)
{
    struct th_metrics_shard *metrics = hop->desk->metrics;

    if (metrics == NULL)
        return;
    if (hop->status != 0)
        th_metrics_count_status(metrics, (unsigned)hop->status);
    if (hop->error != 0)
        th_metrics_count_error(metrics, hop->error);
    count_connection(hop);
    th_metrics_observe_us(metrics, TH_HISTOGRAM_HOP, duration_us);
    if (hop->first_byte_us >= 0)
        th_metrics_observe_us(metrics, TH_HISTOGRAM_FIRST_BYTE, hop->first_byte_us);
    th_metrics_add(metrics, TH_METRIC_CLIENT_BYTES_IN, (int64_t)hop->client_in);
    th_metrics_add(metrics, TH_METRIC_CLIENT_BYTES_OUT, (int64_t)hop->client_out);
    th_metrics_add(metrics, TH_METRIC_ORIGIN_BYTES_IN, (int64_t)hop->origin_in);
    th_metrics_add(metrics, TH_METRIC_ORIGIN_BYTES_OUT, (int64_t)hop->origin_out);
}

enum th_hop_step th_hop_state_record(struct th_hop *hop)
{
    int64_t duration_us = th_clock_precise_us() - hop->started_us;

    th_shadow_settle(hop);
    count(hop, duration_us);
    if (hop->desk->worker->spans != NULL)
        tell_span(hop, duration_us);
    if (hop->desk->access_log != NULL)
        write_access(hop, duration_us);
    th_hop_audit_refusal(hop);
    if (hop->error == TH_E_EXCHANGE_CLIENT || hop->error == TH_E_SUBJECT_CONFIGURED ||
        hop->error == TH_E_INTERNAL)
        TH_LOG(hop->desk->worker->log, TH_LEVEL_ERROR, "hop.failed",
               "A hop failed for a reason that its caller cannot mend",
               TH_LOG_ERR("error", hop->error), TH_LOG_TEXT("detail", hop->detail));
    th_hop_release(hop);
    return TH_HOP_END;
}
