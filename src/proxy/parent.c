#include "parent.h"

#include <string.h>

#include "tokenhop/gate/egress.h"
#include "tokenhop/net/tls.h"

#define INTERIM_MAX 16

/* --- which one, and whether --- */

const struct th_config_parent *th_parent_of_key(const struct th_config_view *config,
                                                const struct th_origin_key *key)
{
    return config->n_parents == 0
               ? NULL
               : th_config_find_parent(config, TH_PARENT_CARRIES_ORIGINS,
                                       key->scheme == TH_SCHEME_HTTPS, key->host, key->port);
}

void th_parent_fill_key(const struct th_hop *hop, struct th_origin_key *key)
{
    key->parent = th_parent_of_key(hop->use->snapshot->view, key);
    /* RFC 6455, 4.1: few proxies switch protocols themselves, but all let a tunnel be. */
    key->by_connect =
        key->parent != NULL && (key->scheme == TH_SCHEME_HTTPS || hop->is_tunnel || hop->upgrade);
}

int th_parent_permit(const struct th_config_view *config, const struct th_origin_key *key)
{
    const struct th_config_connection *connection = key->connection;
    struct th_address address;
    int error = 0;

    if (key->parent == NULL)
        return 0;
    if (th_config_parent_refuses(key->host))
        return TH_E_EGRESS_DENIED;
    if (th_address_parse(key->host, key->port, &address) == 0)
        error = th_egress_permit(config, connection != NULL, &address);
    if (error < 0)
        return error;
    return key->for_credential && key->scheme == TH_SCHEME_HTTP && !connection->allow_cleartext
               ? TH_E_CLEARTEXT_DENIED
               : 0;
}

/* --- asking it for a tunnel --- */

void th_parent_add_authorization(const struct th_config_parent *parent, struct th_writer *w)
{
    if (parent->authorization != NULL)
        th_writer_add_field(w, TH_STR("Proxy-Authorization"),
                            th_secret_expose(parent->authorization));
}

static void add_authority(const struct th_origin *origin, struct th_writer *w)
{
    struct th_str host = {origin->host, origin->host_len};
    bool is_ipv6 = memchr(host.ptr, ':', host.len) != NULL;

    th_writer_add(w, is_ipv6 ? TH_STR("[") : TH_STR(""));
    th_writer_add(w, host);
    th_writer_add(w, is_ipv6 ? TH_STR("]:") : TH_STR(":"));
    th_writer_add_u64(w, origin->port);
}

/* Via tells a loop, also where it leads through CONNECTs alone (R10). */
static int ask(struct th_hop *hop)
{
    const struct th_origin *origin = hop->origin;
    struct th_writer w;

    th_writer_init(&w, hop->desk->worker->scratch, TH_SCRATCH_SIZE);
    th_writer_add(&w, TH_STR("CONNECT "));
    add_authority(origin, &w);
    th_writer_add(&w, TH_STR(" HTTP/1.1\r\nHost: "));
    add_authority(origin, &w);
    th_writer_add(&w, TH_STR("\r\n"));
    th_parent_add_authorization(origin->parent, &w);
    for (uint16_t i = 0; i < hop->request.n_fields; i++)
        if (hop->request.fields[i].id == TH_HEADER_VIA && !hop->request.fields[i].dropped)
            th_writer_add_field(&w, TH_STR("Via"), hop->request.fields[i].value);
    th_writer_add(&w, TH_STR("Via: 1.1 "));
    th_writer_add(&w, th_str_of(hop->desk->proxy->via_name));
    th_writer_add(&w, TH_STR("\r\n\r\n"));
    if (w.overflow)
        return TH_E_HEAD_TOO_LARGE;
    hop->parent_stage = TH_PARENT_ASKED;
    hop->response_scanned = 0;
    hop->response.fields = hop->fields + hop->request.n_fields;
    th_outgoing_add(&hop->to_origin, w.ptr, w.len);
    return 0;
}

/* > 0 bytes more of the answer are there, TH_AGAIN, or an error. */
static ssize_t receive(struct th_hop *hop)
{
    struct th_chunk_pool *pool = &hop->desk->worker->chunks;
    struct th_origin *origin = hop->origin;

    if (origin->in == NULL && (origin->in = th_chunk_get(pool)) == NULL)
        return TH_E_NOMEM;
    th_chunk_compact(origin->in);
    if (th_chunk_room(origin->in) == 0)
        return TH_E_ORIGIN_HEAD_LARGE;
    ssize_t n =
        th_stream_recv(&origin->stream, th_chunk_tail(origin->in), th_chunk_room(origin->in));
    if (n > 0)
        origin->in->end += (uint32_t)n;
    return n != 0 ? n : TH_E_ORIGIN_CLOSED;
}

/* What the parent has sent behind its 200 was sent by the destination. Only where a plain tunnel begins may
 * that speak first; before TLS, or a request of ours, it answers nothing (R4). */
static int open(struct th_hop *hop)
{
    struct th_origin *origin = hop->origin;
    char byte;

    origin->in->start += hop->response.len;
    hop->response_scanned = 0;
    hop->parent_stage = TH_PARENT_OPEN;
    if (hop->is_tunnel)
        return 0;
    if (th_chunk_len(origin->in) > 0)
        return TH_E_ORIGIN_PROTOCOL;
    origin->in = th_chunk_put(&hop->desk->worker->chunks, origin->in);
    ssize_t n = th_stream_recv(&origin->stream, &byte, 1);
    if (n != TH_AGAIN)
        return n > 0 ? TH_E_ORIGIN_PROTOCOL : n == 0 ? TH_E_ORIGIN_CLOSED : (int)n;
    return origin->scheme == TH_SCHEME_HTTPS ? TH_PARENT_OPENED : 0;
}

static int judge_answer(struct th_hop *hop)
{
    int status = hop->response.status;

    if (status >= 200 && status <= 299)
        return open(hop);
    return status >= 500 ? TH_E_PARENT_FAILED : TH_E_PARENT_REFUSED;
}

static int read_answer(struct th_hop *hop)
{
    const struct th_config_limits *limits = &hop->use->snapshot->view->limits;
    const struct th_http1_limits head_limits = {limits->head, limits->fields};
    struct th_origin *origin = hop->origin;

    for (unsigned n_interim = 0;;) {
        int error = origin->in == NULL || th_chunk_len(origin->in) == 0
                        ? TH_AGAIN
                        : th_http1_parse_response(&hop->response, th_chunk_head(origin->in),
                                                  th_chunk_len(origin->in), &hop->response_scanned,
                                                  &head_limits, TH_METHOD_CONNECT);
        if (error == 0 && hop->response.status >= 200)
            return judge_answer(hop);
        if (error == 0 && (hop->response.status == 101 || ++n_interim > INTERIM_MAX))
            return TH_E_ORIGIN_PROTOCOL;
        if (error == 0)
            origin->in->start += hop->response.len;
        if (error != 0 && error != TH_AGAIN)
            return error;
        ssize_t n = error == 0 ? 1 : receive(hop);
        if (n <= 0)
            return (int)n;
    }
}

static int write_question(struct th_hop *hop)
{
    uint64_t count = 0; /* not of the request */

    return th_outgoing_is_empty(&hop->to_origin)
               ? 0
               : th_outgoing_write(&hop->to_origin, &hop->origin->stream, &count);
}

int th_parent_begin(struct th_hop *hop)
{
    struct th_origin *origin = hop->origin;
    const struct th_config_parent *parent = origin->parent;

    hop->parent_stage = TH_PARENT_HANDSHAKE;
    if (!parent->is_https)
        return 0;
    origin->parent_tls = th_snapshot_parent_tls(hop->use->snapshot, parent);
    return th_stream_start_tls(&origin->stream, origin->parent_tls, parent->host, parent->port);
}

int th_parent_go_on(struct th_hop *hop)
{
    int error = 0;

    if (hop->parent_stage == TH_PARENT_HANDSHAKE) {
        if (!hop->origin->by_connect)
            hop->parent_stage = TH_PARENT_OPEN;
        else
            error = ask(hop);
    }
    if (error < 0 || hop->parent_stage != TH_PARENT_ASKED)
        return error;
    error = write_question(hop);
    return error == 0 ? read_answer(hop) : error;
}

/* --- when it does not --- */

const char *th_parent_tell_failure(const struct th_hop *hop, int error, const char *reason)
{
    bool has_answer = error == TH_E_PARENT_REFUSED || error == TH_E_PARENT_FAILED;

    TH_LOG(hop->desk->worker->log, TH_LEVEL_WARN, "parent.failed",
           "The parent proxy did not open the way to a destination",
           TH_LOG_STR("parent", hop->parent->url), TH_LOG_STR("host", hop->url.host),
           TH_LOG_ERR("error", error), TH_LOG_UINT("status", has_answer ? hop->response.status : 0),
           TH_LOG_TEXT("reason", reason));
    if (error == TH_E_PARENT_REFUSED && hop->response.status == 407)
        return "the parent proxy does not accept the credentials of its entry in `parents`";
    if (error == TH_E_PARENT_REFUSED)
        return "the parent proxy refuses to open a tunnel to this destination";
    if (error == TH_E_PARENT_FAILED)
        return "the parent proxy answered a CONNECT with a server error";
    return reason != NULL ? reason : "this concerns the parent proxy on the way";
}

int th_parent_judge(const struct th_hop *hop)
{
    if (!th_parent_is_asked(hop->origin) || hop->response.status != 407)
        return 0;
    (void)th_parent_tell_failure(hop, TH_E_PARENT_REFUSED, NULL);
    return TH_E_PARENT_REFUSED;
}
