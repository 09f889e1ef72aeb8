#include "tunnel.h"

#include <string.h>

#include "target.h"
#include "tokenhop/base/mem.h"

static void uncount(struct th_proxy_desk *desk)
{
    atomic_fetch_sub_explicit(&desk->proxy->n_tunnels, 1, memory_order_relaxed);
    th_metrics_add(desk->metrics, TH_METRIC_TUNNELS_OPEN, -1);
}

static int count(struct th_proxy_desk *desk, uint64_t max)
{
    size_t before = atomic_fetch_add_explicit(&desk->proxy->n_tunnels, 1, memory_order_relaxed);

    th_metrics_add(desk->metrics, TH_METRIC_TUNNELS_OPEN, 1);
    if (before < max)
        return 0;
    uncount(desk);
    return TH_E_OVERLOADED;
}

int th_tunnel_count(struct th_hop *hop)
{
    const struct th_tunnel *tunnel = hop->session->tunnel;

    if (hop->counted || (tunnel != NULL && tunnel->counted))
        return 0;
    int error = count(hop->desk, hop->use->snapshot->view->limits.tunnels);
    hop->counted = error == 0;
    return error;
}

void th_tunnel_uncount(struct th_hop *hop)
{
    if (hop->counted)
        uncount(hop->desk);
    hop->counted = false;
}

int th_tunnel_name(struct th_session *session, const struct th_url *authority)
{
    struct th_tunnel *before = session->tunnel;
    struct th_tunnel *tunnel = th_calloc(1, sizeof *tunnel + authority->host.len + 1);

    if (tunnel == NULL)
        return TH_E_NOMEM;
    if (before != NULL) { /* nothing waits for it yet, that could only be found by its old place */
        TH_REQUIRE(before->stage < TH_TUNNEL_NAMED && before->leaf == NULL);
        memcpy(tunnel, before, sizeof *tunnel);
    }
    tunnel->session = session;
    tunnel->port = authority->port;
    tunnel->host_len = (uint8_t)authority->host.len;
    tunnel->is_ipv6 = authority->host_is_ipv6;
    memcpy(tunnel->host, authority->host.ptr, authority->host.len);
    th_free(before);
    session->tunnel = tunnel;
    return 0;
}

int th_tunnel_count_session(struct th_session *session)
{
    struct th_proxy_desk *desk = session->listener->desk;
    int error = count(desk, th_desk_config(desk)->limits.tunnels);

    session->tunnel->counted = error == 0;
    return error;
}

/* 0, TH_E_NOMEM, TH_E_OVERLOADED at limits.tunnels. */
static int make_tunnel(struct th_hop *hop)
{
    int error = th_tunnel_name(hop->session, &hop->url);

    if (error < 0)
        return error;
    hop->session->tunnel->shown = hop->shown;
    error = th_tunnel_count_session(hop->session);
    if (error < 0)
        hop->session->tunnel = th_tunnel_free(hop->session->tunnel, hop->desk);
    return error;
}

struct th_tunnel *th_tunnel_free(struct th_tunnel *tunnel, struct th_proxy_desk *desk)
{
    if (tunnel == NULL)
        return NULL;
    if (tunnel->counted)
        uncount(desk);
    th_leaf_cancel(&tunnel->waiter);
    th_leaf_unref(tunnel->leaf);
    th_interceptor_unref(tunnel->interceptor);
    th_free(tunnel);
    return NULL;
}

/* Refused: what follows is not a request (RFC 9931). */
static enum th_hop_step refuse(struct th_hop *hop, int error, const char *detail)
{
    hop->request.keep_alive = false;
    th_metrics_count(hop->desk->metrics, TH_METRIC_TUNNELS_REFUSED);
    return th_hop_fail(hop, error, detail);
}

static enum th_hop_step open_served(struct th_hop *hop, bool intercept)
{
    if (intercept)
        hop->session->tunnel->interceptor = th_interceptor_ref(hop->use->snapshot->interceptor);
    /* Connection: close, or HTTP/1.0, say nothing about what a CONNECT opens. */
    hop->request.keep_alive = true;
    hop->request.minor = 1;
    return th_hop_move(hop, TH_HOP_ANSWER);
}

static enum th_hop_step open_plain(struct th_hop *hop, bool is_named)
{
    hop->request.keep_alive = false; /* whatever becomes of it, no request follows */
    hop->is_tunnel = true;
    hop->fresh_only = true;
    hop->decision.action = TH_GATE_FORWARD;
    hop->decision.is_named = is_named;
    return th_hop_move(hop, TH_HOP_ORIGIN);
}

enum th_hop_step th_tunnel_open(struct th_hop *hop)
{
    const struct th_snapshot *snapshot = hop->use->snapshot;
    struct th_gate_connect connect;

    if (hop->session->tunnel != NULL)
        return refuse(hop, TH_E_METHOD, "a CONNECT inside of a CONNECT tunnel");
    if (th_url_parse_authority(hop->request.target, true, &hop->url) < 0)
        return refuse(hop, TH_E_BAD_TARGET, "CONNECT names its target as host:port");
    if (hop->request.framing != TH_FRAMING_NONE)
        return refuse(hop, TH_E_BAD_FRAMING, "CONNECT has no body (RFC 9110, 9.3.6)");
    th_gate_decide_connect(snapshot->view, snapshot->routes, snapshot->interceptor != NULL,
                           &hop->url, &connect);
    if (connect.action == TH_GATE_TUNNEL_REFUSE)
        return refuse(hop, connect.error, connect.detail);
    int error = make_tunnel(hop);
    if (error < 0)
        return refuse(hop, error, error == TH_E_OVERLOADED ? "limits.tunnels is reached" : NULL);
    return connect.action == TH_GATE_TUNNEL_PLAIN ? open_plain(hop, connect.is_named)
                                                  : open_served(hop, connect.intercept);
}

static bool is_tunnels_own(const struct th_tunnel *tunnel, const struct th_url *url)
{
    return url->scheme == (enum th_scheme)tunnel->scheme && url->port == tunnel->port &&
           th_str_equal(url->host, th_tunnel_host(tunnel));
}

/* Host is the tunnel's authority, or the request is for somebody else (R19). */
static bool has_tunnels_host(const struct th_hop *hop)
{
    const struct th_head *head = &hop->request;
    struct th_url url;

    if (head->host < 0)
        return true; /* HTTP/1.0 */
    if (th_url_parse_authority(head->fields[head->host].value, false, &url) < 0)
        return false;
    url.scheme = (enum th_scheme)hop->session->tunnel->scheme;
    if (!url.port_named)
        url.port = th_scheme_port(url.scheme);
    return is_tunnels_own(hop->session->tunnel, &url);
}

/* The whole URL is put together in the scratch, so that it passes the one parser of URLs; what it found
 * is then pointed at where it stays. */
static int read_origin_form(struct th_hop *hop)
{
    const struct th_tunnel *tunnel = hop->session->tunnel;
    struct th_str target = hop->request.target;
    bool whole_server = th_str_equal(target, TH_STR("*"));
    struct th_writer w;

    if (whole_server && hop->request.method != TH_METHOD_OPTIONS)
        return TH_E_BAD_TARGET;
    th_writer_init(&w, hop->desk->worker->scratch, TH_SCRATCH_SIZE);
    th_writer_add(&w, th_scheme_text((enum th_scheme)tunnel->scheme));
    th_writer_add(&w, tunnel->is_ipv6 ? TH_STR("://[") : TH_STR("://"));
    th_writer_add(&w, th_tunnel_host(tunnel));
    th_writer_add(&w, tunnel->is_ipv6 ? TH_STR("]:") : TH_STR(":"));
    th_writer_add_u64(&w, tunnel->port);
    if (!whole_server)
        th_writer_add(&w, target);
    if (w.overflow)
        return TH_E_URI_TOO_LONG;
    int error = th_url_parse((struct th_str){w.ptr, w.len}, &hop->url);
    if (error < 0)
        return error;
    hop->url.host = th_tunnel_host(tunnel);
    if (whole_server) {
        hop->url.path_query = hop->url.path = TH_STR("/");
        return 0;
    }
    if (TH_CHECK_FAILS(hop->url.path_query.len == target.len))
        return TH_E_INTERNAL;
    hop->url.path_query = target;
    hop->url.path.ptr = target.ptr;
    return 0;
}

int th_tunnel_read_url(struct th_hop *hop)
{
    struct th_str target = hop->request.target;
    int error;

    if (hop->session->tunnel->redirected && hop->session->tunnel->scheme == TH_SCHEME_HTTP)
        return th_original_read_url(hop);
    if (target.len > 0 && (target.ptr[0] == '/' || target.ptr[0] == '*'))
        error = read_origin_form(hop);
    else
        error = th_target_parse_absolute(hop);
    if (error < 0)
        return error;
    return is_tunnels_own(hop->session->tunnel, &hop->url) && has_tunnels_host(hop)
               ? 0
               : TH_E_MISDIRECTED;
}
