/* The states before anything is sent: read head, gate, credential, origin. */
#include <string.h>

#include "admit.h"
#include "endpoints.h"
#include "hop.h"
#include "parent.h"
#include "proof.h"
#include "shadow.h"
#include "target.h"
#include "tokenhop/gate/egress.h"
#include "tokenhop/net/tls.h"
#include "tunnel.h"
#include "upgrade.h"

/* Less room than this after a head, and the body gets a chunk of its own. */
#define BODY_ROOM_MIN 4096

/* --- read head --- */

/* The head is larger than an ordinary chunk: one of the largest size that is allowed. */
static bool grow_chunk(struct th_hop *hop, size_t size)
{
    struct th_session *session = hop->session;
    struct th_chunk *old = session->in;
    struct th_chunk *large = th_chunk_get_large(&hop->desk->worker->chunks, size);

    if (large == NULL)
        return false;
    memcpy(large->data, th_chunk_head(old), th_chunk_len(old));
    large->end = (uint32_t)th_chunk_len(old);
    th_chunk_put(&hop->desk->worker->chunks, old);
    session->in = large;
    return true;
}

/* How often it has passed here, by our own name in Via. */
static unsigned count_passes(const struct th_hop *hop)
{
    struct th_str name = th_str_of(hop->desk->proxy->via_name);
    unsigned passed = 0;

    for (uint16_t i = 0; i < hop->request.n_fields; i++) {
        const struct th_field *field = &hop->request.fields[i];
        if (field->id == TH_HEADER_VIA &&
            memmem(field->value.ptr, field->value.len, name.ptr, name.len) != NULL)
            passed++;
    }
    return passed;
}

/* An agent may copy the field into calls of its own, so a few are no loop; a loop has no end. Nobody copies
 * it into a CONNECT: that was asked of a parent proxy, which leads back here. */
static bool is_looping(const struct th_hop *hop)
{
    return count_passes(hop) > (hop->request.method == TH_METHOD_CONNECT ? 0 : 4);
}

static void begin_body(struct th_hop *hop)
{
    struct th_chunk *in = hop->session->in;
    char *after = th_chunk_head(in) + hop->request.len;
    size_t rest = th_chunk_len(in) - hop->request.len;
    size_t room = in->size - (size_t)(after - in->data);
    /* A body is framed for the origin as it came. */
    enum th_body_out out =
        hop->request.framing == TH_FRAMING_CHUNKED ? TH_BODY_CHUNKED : TH_BODY_AS_IT_IS;

    th_body_init(&hop->request_body, &hop->request, out, after, room, after, rest);
}

static enum th_hop_step accept_head(struct th_hop *hop)
{
    struct th_head *head = &hop->request;

    hop->client_in = head->len;
    hop->client_keeps = head->keep_alive;
    hop->upgrade = head->upgrade && hop->session->listener->mode != TH_LISTENER_AUTHZ &&
                   head->method != TH_METHOD_CONNECT && th_upgrade_is_asked(head);
    hop->started_us = th_clock_precise_us();
    hop->started_wall_ms = th_clock_wall_ms(hop->desk->worker->clock);
    begin_body(hop);
    th_metrics_count(hop->desk->metrics, TH_METRIC_REQUESTS);
    return th_hop_move(hop, TH_HOP_GATE);
}

/* A redirected TLS connection: there is no request, and the first bytes are the origin's. */
static enum th_hop_step accept_bare(struct th_hop *hop)
{
    struct th_head *none = &hop->request;

    hop->is_bare = true;
    none->host = none->authorization = none->max_forwards = none->traceparent = -1;
    hop->started_wall_ms = th_clock_wall_ms(hop->desk->worker->clock);
    begin_body(hop);
    return th_hop_move(hop, TH_HOP_GATE);
}

enum th_hop_step th_hop_state_read_head(struct th_hop *hop)
{
    struct th_session *session = hop->session;
    struct th_worker *worker = hop->desk->worker;
    const struct th_config_limits *limits = &hop->use->snapshot->view->limits;
    const struct th_http1_limits head_limits = {limits->head, limits->fields};

    if (session->tunnel != NULL && session->tunnel->stage == TH_TUNNEL_BARE)
        return accept_bare(hop);
    for (;;) {
        struct th_chunk *in = session->in;
        int error = th_http1_parse_request(&hop->request, th_chunk_head(in), th_chunk_len(in),
                                           &hop->scanned, &head_limits);
        if (error == 0)
            return accept_head(hop);
        if (error != TH_AGAIN)
            return th_hop_fail(hop, error, NULL);
        if (th_chunk_room(in) == 0) {
            if (!grow_chunk(hop, limits->head + TH_CHUNK_SIZE))
                return th_hop_fail(hop, TH_E_NOMEM, NULL);
            in = session->in;
        }
        ssize_t n = th_stream_recv(&session->stream, th_chunk_tail(in), th_chunk_room(in));
        if (n == TH_AGAIN)
            break;
        if (n <= 0) { /* left in the middle of a head: there is no request to answer */
            hop->error = TH_E_CANCELLED;
            hop->client_keeps = false;
            return th_hop_move(hop, TH_HOP_RECORD);
        }
        in->end += (uint32_t)n;
    }
    /* The whole head has head_ms from its first byte, however often it drips. */
    if (hop->wait != TH_WAIT_REQUEST_HEAD)
        th_timer_set(&worker->wheel, &session->timer,
                     worker->now_ms + hop->use->snapshot->view->timeouts.head_ms);
    return th_hop_wait(hop, TH_WAIT_REQUEST_HEAD);
}

/* --- gate --- */

/* Before anything is decided by it: that no unmapped host gets it (R11) holds for what is refused too. Shadow changes
 * nothing, and so not where else a token goes that its connection's destination is sent as well. */
static void note_subject(struct th_hop *hop)
{
    if (hop->decision.action != TH_GATE_CREDENTIAL ||
        hop->decision.route.connection->type == TH_TYPE_STATIC)
        return;
    th_broker_digest(hop->decision.subject_token, hop->key.subject);
    hop->subject_known = hop->decision.subject_token.len > 0; /* else the digest of nothing */
    if (hop->subject_known && hop->decision.route.connection->shadow == TH_SHADOW_OFF)
        th_seen_add(hop->desk->proxy->seen, hop->key.subject);
}

/* A static connection's credential lies ready: nobody is asked. */
static enum th_hop_step begin_static(struct th_hop *hop)
{
    const struct th_snapshot *snapshot = hop->use->snapshot;
    uint32_t index = hop->decision.route.connection->index;

    if (TH_CHECK_FAILS(snapshot->credentials[index] != NULL))
        return th_hop_fail(hop, TH_E_INTERNAL, NULL);
    hop->credential = th_credential_ref(snapshot->credentials[index]);
    return th_hop_grant(hop);
}

static enum th_hop_step begin_credential(struct th_hop *hop)
{
    if (hop->decision.route.connection->type == TH_TYPE_STATIC)
        return begin_static(hop);
    return th_hop_move(hop, hop->scopes_open ? TH_HOP_SCOPE : TH_HOP_CREDENTIAL);
}

static enum th_hop_step refuse_connect(struct th_hop *hop)
{
    hop->request.keep_alive = false; /* what follows is not a request (RFC 9931) */
    return th_hop_fail(hop, TH_E_METHOD, "this listener is no forward proxy: it opens no tunnels");
}

enum th_hop_step th_hop_state_gate(struct th_hop *hop)
{
    const struct th_snapshot *snapshot = hop->use->snapshot;
    const struct th_head *head = &hop->request;

    if (th_hop_awaits_caller(hop)) { /* woken by the client */
        if (!th_session_read_ahead(hop->session)) {
            th_session_close(hop->session);
            return TH_HOP_WAIT;
        }
        return th_hop_wait(hop, TH_WAIT_CALLER);
    }
    int error = th_hop_tell_caller(hop);
    if (error == TH_AGAIN && hop->password != NULL)
        return th_hop_move(hop, TH_HOP_PASSWORD);
    if (error == TH_AGAIN)
        return th_hop_wait(hop, TH_WAIT_CALLER);
    if (error == 0)
        error = th_admit_request(hop);
    if (error == 0)
        th_session_note_admission(hop->session);
    if (error < 0 && head->method == TH_METHOD_CONNECT)
        hop->request.keep_alive = false; /* what follows is not a request (RFC 9931) */
    if (error < 0)
        return th_hop_fail(hop, error, hop->detail);
    if (hop->is_bare)
        return th_original_decide(hop);
    if (head->method == TH_METHOD_CONNECT && hop->session->listener->mode != TH_LISTENER_FORWARD)
        return refuse_connect(hop);
    if (head->method == TH_METHOD_CONNECT && !is_looping(hop))
        return th_tunnel_open(hop);
    if (head->method == TH_METHOD_CONNECT) {
        hop->request.keep_alive = false; /* what follows is not a request (RFC 9931) */
        return th_hop_fail(hop, TH_E_LOOP, NULL);
    }
    error = th_target_read(hop);
    if (error < 0)
        return th_hop_fail(hop, error, hop->detail);
    if (is_looping(hop))
        return th_hop_fail(hop, TH_E_LOOP, NULL);

    th_gate_decide(snapshot->view, snapshot->routes, hop->desk->proxy->seen, hop->agent, head,
                   &hop->url, &hop->decision);
    note_subject(hop);
    th_hop_choose_scopes(hop);
    error = th_shadow_admit(hop);
    if (error == 0 && snapshot->view->n_policy > 0 && !hop->scopes_open && !hop->in_shadow)
        error = th_hop_ask_policy(hop);
    if (error < 0)
        return th_hop_fail(hop, error, hop->detail);
    if (hop->decision.action != TH_GATE_REFUSE && th_target_is_question(hop))
        error = th_target_permit(hop); /* nobody else asks, as nothing is dialed */
    if (error < 0)
        return th_hop_fail(hop, error, NULL);
    if (hop->upgrade && hop->decision.action != TH_GATE_REFUSE && th_tunnel_count(hop) < 0)
        return th_hop_fail(hop, TH_E_OVERLOADED, "limits.tunnels is reached");
    switch (hop->decision.action) {
    case TH_GATE_REFUSE:
        return th_hop_fail(hop, hop->decision.error, hop->decision.detail);
    case TH_GATE_ANSWER:
        return th_hop_leave(hop, TH_HOP_ANSWER);
    case TH_GATE_CREDENTIAL:
        return begin_credential(hop);
    case TH_GATE_PASSTHROUGH:
        return hop->in_shadow ? th_hop_move(hop, TH_HOP_ORIGIN) : th_hop_grant(hop);
    case TH_GATE_PUBLIC:
    case TH_GATE_FORWARD:
        return th_hop_move(hop, TH_HOP_ORIGIN);
    }
    return th_hop_fail(hop, TH_E_INTERNAL, NULL);
}

/* --- credential --- */

static void on_credential(struct th_broker_waiter *waiter, struct th_credential *credential,
                          struct th_refusal *refusal)
{
    struct th_hop *hop = TH_CONTAINER_OF(waiter, struct th_hop, waiter);

    if (credential != NULL)
        hop->credential = th_credential_ref(credential);
    else
        hop->refusal = th_refusal_ref(refusal);
    th_hop_wake(hop);
}

/* R28: a 401 would ask the caller for another token, where the token is not the caller's. */
static int not_the_callers(const struct th_hop *hop, int error)
{
    bool is_callers = th_config_asks_subject(hop->decision.route.connection);

    return !is_callers && th_error_get(error)->status == 401 ? TH_E_SUBJECT_CONFIGURED : error;
}

static enum th_hop_step refuse(struct th_hop *hop, int error)
{
    struct th_refusal *refusal = hop->refusal;

    error = not_the_callers(hop, error);

    return th_hop_fail(hop, error,
                       refusal != NULL && refusal->detail[0] != '\0' ? refusal->detail : NULL);
}

enum th_hop_step th_hop_grant(struct th_hop *hop)
{
    int error = th_hop_audit_grant(hop);

    return error == 0 ? th_hop_move(hop, th_proof_next_state(hop)) : th_hop_fail(hop, error, NULL);
}

static int ask_broker(struct th_hop *hop)
{
    struct th_broker_request request = {.config = hop->use->snapshot->config,
                                        .agent = hop->agent,
                                        .connection = hop->asked,
                                        .subject_token = hop->decision.subject_token,
                                        .key = hop->key,
                                        .shares = th_admit_shares,
                                        .shares_arg = hop};
    enum th_cache_state state = TH_CACHE_NONE;
    int64_t limit_ms = hop->use->snapshot->view->timeouts.exchange_ms;

    if (hop->desk->worker->spans != NULL) {
        th_hop_ensure_trace(hop);
        request.trace = &hop->trace;
    }
    hop->waiter = (struct th_broker_waiter){.fn = on_credential};
    hop->exchange_started_us = 0;
    hop->audited = false;
    int error = th_broker_get(hop->desk->broker, &request, hop->desk->worker->now_ms + limit_ms,
                              &hop->waiter, &hop->credential, &state, &hop->refusal);
    hop->cache_state = hop->retried_401 ? TH_CACHE_RETRIED : (uint8_t)state;
    return error;
}

enum th_hop_step th_hop_state_credential(struct th_hop *hop)
{
    if (hop->wait == TH_WAIT_CREDENTIAL) { /* woken: by the broker's word, or by the client */
        if (hop->credential == NULL && hop->refusal == NULL) {
            if (!th_session_read_ahead(hop->session)) {
                th_session_close(hop->session);
                return TH_HOP_WAIT;
            }
            return th_hop_wait(hop, TH_WAIT_CREDENTIAL);
        }
        hop->exchange_us += th_clock_precise_us() - hop->exchange_started_us;
        if (hop->refusal != NULL)
            return refuse(hop, hop->refusal->error);
        return th_hop_grant(hop);
    }
    int error = ask_broker(hop);
    if (error == 0)
        return th_hop_grant(hop);
    if (error != TH_AGAIN)
        return refuse(hop, error);
    hop->exchange_started_us = th_clock_precise_us();
    if (hop->exchange_us < 0)
        hop->exchange_us = 0;
    return th_hop_wait(hop, TH_WAIT_CREDENTIAL);
}

/* --- origin --- */

static bool bears_credential(const struct th_hop *hop)
{
    return hop->decision.action == TH_GATE_CREDENTIAL ||
           hop->decision.action == TH_GATE_PASSTHROUGH;
}

static struct th_origin_key key_of(const struct th_hop *hop)
{
    struct th_origin_key key = {.scheme = hop->url.scheme,
                                .port = hop->url.port,
                                .for_credential = bears_credential(hop),
                                .host = hop->url.host,
                                .only = th_original_only(hop)};

    if (hop->decision.action != TH_GATE_FORWARD) {
        key.connection = hop->decision.route.connection;
        key.scheme = hop->decision.route.scheme;
        key.port = hop->decision.route.port;
    }
    if (hop->is_tunnel)
        key.scheme = TH_SCHEME_HTTPS; /* whatever is spoken inside: the gate judged it as that */
    th_parent_fill_key(hop, &key);
    if (key.parent != NULL)
        key.only = NULL; /* that one is given the name */
    return key;
}

/* R27: what no rule names does not come to where tokens are issued, by whatever name or address. Through a parent
 * proxy only what the request itself says of it is known. */
static bool is_barred(const struct th_hop *hop)
{
    return hop->decision.action == TH_GATE_FORWARD && !hop->decision.is_named;
}

static int judge_name(const struct th_hop *hop)
{
    const struct th_endpoints *endpoints = hop->desk->endpoints;
    const struct th_url *url = &hop->url;
    struct th_address address;

    if (th_endpoints_has(endpoints, url->host, url->port))
        return TH_E_DESTINATION_DENIED;
    return th_address_parse(url->host, url->port, &address) == 0 &&
                   th_endpoints_is_at(endpoints, &address)
               ? TH_E_DESTINATION_DENIED
               : 0;
}

/* 0, TH_AGAIN, or the error it is refused with. */
static int ask_endpoints(struct th_hop *hop)
{
    if (!is_barred(hop))
        return 0;
    if (th_list_is_linked(&hop->endpoints)) /* woken by the client */
        return TH_AGAIN;
    int error = th_endpoints_ask(hop->desk->endpoints, hop);
    return error == 0 ? judge_name(hop) : error;
}

/* Asked for the very address that is connected to (R8). A credential in cleartext goes to loopback
 * only, unless the connection says otherwise, and so does the caller's own Authorization where a connection
 * passes it through; on an unmatched request it is the caller's business. */
static int permit(void *arg, const struct th_address *address)
{
    const struct th_hop *hop = arg;
    struct th_origin_key key = key_of(hop);
    int error = th_proxy_is_at(hop->desk->proxy, address)
                    ? TH_E_LOOP
                    : th_origin_permit(hop->use->snapshot->view, &key, address);

    if (error == 0 && key.parent == NULL && is_barred(hop) &&
        th_endpoints_is_at(hop->desk->endpoints, address))
        error = TH_E_DESTINATION_DENIED;
    if (error < 0 && error != TH_E_CLEARTEXT_DENIED)
        th_metrics_count(hop->desk->metrics, TH_METRIC_EGRESS_REFUSED);
    return error;
}

static void use_origin(struct th_hop *hop, struct th_origin *origin)
{
    hop->origin = origin;
    hop->origin_address = origin->address;
    hop->origin_known = true;
    hop->origin_reused = origin->n_hops > 0;
}

static enum th_hop_step origin_failed(struct th_hop *hop, int error)
{
    const char *reason = NULL;

    th_metrics_count(hop->desk->metrics, TH_METRIC_ORIGIN_FAILED);
    if (hop->origin != NULL)
        (void)th_stream_tls_error(&hop->origin->stream, &reason);
    if (error == TH_E_DESTINATION_DENIED)
        reason = th_gate_named_only;
    if (hop->parent != NULL && hop->parent_stage != TH_PARENT_OPEN)
        reason = th_parent_tell_failure(hop, error, reason);
    return th_hop_fail(hop, error, reason);
}

/* R19: what the origin is is known before a byte of the request leaves. */
static int start_tls(struct th_hop *hop)
{
    struct th_origin *origin = hop->origin;

    if (origin->scheme != TH_SCHEME_HTTPS || hop->is_tunnel)
        return 0;
    origin->tls = th_snapshot_tls(hop->use->snapshot, origin->connection);
    if (TH_CHECK_FAILS(origin->tls != NULL))
        return TH_E_INTERNAL;
    return th_stream_start_tls(&origin->stream, origin->tls,
                               (struct th_str){origin->host, origin->host_len}, origin->port);
}

static void on_dialed(struct th_dial *dial, int error, int fd, const struct th_address *address)
{
    struct th_hop *hop = TH_CONTAINER_OF(dial, struct th_hop, dial);
    struct th_origin *origin = NULL;

    hop->dialing = false;
    hop->dial_done = true;
    if (error == 0) {
        struct th_origin_key key = key_of(hop);
        error = th_origin_new(hop->desk, &key, hop->use, fd, address, hop, &origin);
    }
    if (error == 0) {
        use_origin(hop, origin);
        error = origin->parent != NULL ? th_parent_begin(hop) : start_tls(hop);
    } else if (error == TH_E_ORIGIN_CONNECT_TIMEOUT) {
        th_metrics_count(hop->desk->metrics, TH_METRIC_TIMEOUTS_CONNECT);
    }
    if (error < 0)
        origin_failed(hop, error);
    th_hop_wake(hop);
}

static enum th_hop_step dial(struct th_hop *hop)
{
    struct th_origin_key key = key_of(hop);
    int64_t connect_ms = hop->use->snapshot->view->timeouts.connect_ms;

    hop->connect_deadline_ms = hop->desk->worker->now_ms + connect_ms;
    hop->connect_started_us = th_clock_precise_us();
    struct th_dial_request request = {
        .host = key.parent != NULL ? key.parent->host : key.host,
        .port = key.parent != NULL ? key.parent->port : key.port,
        .only = key.only,
        .deadline_ms = hop->connect_deadline_ms,
        .permit = permit,
        .permit_arg = hop,
        .fn = on_dialed,
    };

    hop->dialing = true;
    hop->dial_done = false;
    th_dial_start(&hop->dial, hop->desk->worker, &request);
    return th_hop_wait(hop, TH_WAIT_ORIGIN);
}

/* The parent has been reached: 0 once the way to the origin is open as well, and TLS with it is done. */
static int go_on_with_parent(struct th_hop *hop)
{
    int error = th_parent_go_on(hop);

    if (error == TH_PARENT_OPENED)
        error = start_tls(hop);
    return error == 0 && hop->origin->stream.handshaking ? TH_AGAIN : error;
}

static enum th_hop_step wait_for_origin(struct th_hop *hop)
{
    if (!th_session_read_ahead(hop->session)) {
        th_session_close(hop->session);
        return TH_HOP_WAIT;
    }
    return th_hop_wait(hop, th_list_is_linked(&hop->endpoints)     ? TH_WAIT_ENDPOINTS
                            : hop->dialing                         ? TH_WAIT_ORIGIN
                            : hop->parent_stage == TH_PARENT_ASKED ? TH_WAIT_PARENT
                                                                   : TH_WAIT_HANDSHAKE);
}

static enum th_hop_step refuse_way(struct th_hop *hop, int error)
{
    if (error != TH_E_CLEARTEXT_DENIED)
        th_metrics_count(hop->desk->metrics, TH_METRIC_EGRESS_REFUSED);
    return th_hop_fail(hop, error,
                       error == TH_E_CLEARTEXT_DENIED
                           ? "what goes through a parent proxy is in cleartext beyond it"
                           : NULL);
}

/* A connection that was made when the address was not yet an authorization server's serves no more. */
static struct th_origin *take_origin(struct th_hop *hop, const struct th_origin_key *key)
{
    struct th_origin *origin = th_origin_take(&hop->desk->origins, key, hop);

    if (origin != NULL && is_barred(hop) && key->parent == NULL &&
        th_endpoints_is_at(hop->desk->endpoints, &origin->address))
        origin = th_origin_close(origin);
    return origin;
}

enum th_hop_step th_hop_state_origin(struct th_hop *hop)
{
    if (hop->origin == NULL && !hop->dialing) {
        int error = ask_endpoints(hop);
        if (error == TH_AGAIN)
            return wait_for_origin(hop);
        if (error < 0)
            return th_hop_fail(hop, error,
                               error == TH_E_DESTINATION_DENIED ? th_gate_named_only : NULL);
    }
    if (th_target_is_question(hop)) /* the data plane goes there itself */
        return th_proof_is_due(hop)
                   ? th_hop_fail(hop, TH_E_DESTINATION_DENIED,
                                 "the token is bound to a key (dpop), which a data plane lacks")
                   : th_hop_leave(hop, TH_HOP_ANSWER);
    if (hop->origin != NULL && !hop->origin->stream.handshaking) {
        const char *reason;
        int error = th_stream_tls_error(&hop->origin->stream, &reason);
        if (error == 0)
            error = go_on_with_parent(hop);
        if (error == TH_AGAIN)
            return wait_for_origin(hop);
        if (error < 0)
            return origin_failed(hop, error);
        th_metrics_observe_us(hop->desk->metrics, TH_HISTOGRAM_CONNECT,
                              th_clock_precise_us() - hop->connect_started_us);
        return th_hop_leave(hop, hop->is_tunnel ? TH_HOP_TUNNEL : TH_HOP_SEND);
    }
    if (hop->dialing || hop->origin != NULL) /* just dialed, or woken by the client */
        return wait_for_origin(hop);
    hop->parent_stage = TH_PARENT_NONE;
    struct th_origin_key key = key_of(hop);
    hop->parent = key.parent;
    int error = th_parent_permit(hop->use->snapshot->view, &key);
    if (error < 0)
        return refuse_way(hop, error);
    if (!hop->fresh_only) {
        struct th_origin *origin = take_origin(hop, &key);
        if (origin != NULL) {
            use_origin(hop, origin);
            return th_hop_leave(hop, TH_HOP_SEND);
        }
    }
    return dial(hop);
}
