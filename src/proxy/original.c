/* Redirected connections (mode transparent): the client knows of no proxy. Where it was going the kernel
 * tells; the name of who is there it says itself, by the TLS server name or by Host, and as that decides on
 * what it is given, the two are held against each other: the address must be one that the name has here,
 * and is the one that is connected to (R8). */
#include <string.h>

#include "own_ends.h"
#include "target.h"
#include "tokenhop/gate/egress.h"
#include "tunnel.h"

static struct th_proxy_desk *desk_of(const struct th_session *session)
{
    return session->listener->desk;
}

/* --- where it was going --- */

static void log_refusal(struct th_session *session, const struct th_address *original,
                        const char *reason)
{
    struct th_proxy_desk *desk = desk_of(session);
    char from[TH_ADDRESS_TEXT_MAX], to[TH_ADDRESS_TEXT_MAX] = "";

    th_session_format_client(session, from);
    if (original != NULL)
        th_address_format(original, to);
    th_metrics_count(desk->metrics, TH_METRIC_REDIRECTED_REFUSED);
    TH_LOG(desk->worker->log, TH_LEVEL_WARN, "redirected.refused",
           "A connection to a transparent listener was closed",
           TH_LOG_TEXT("listener", session->listener->name), TH_LOG_TEXT("client", from),
           TH_LOG_TEXT("original_destination", to[0] != '\0' ? to : NULL),
           TH_LOG_TEXT("reason", reason));
}

static int find_original(struct th_session *session, struct th_address *ret_original)
{
    const struct th_desk_listener *listener = session->listener;
    struct th_network *network = desk_of(session)->worker->network;
    int error = TH_E_LOOP;

    if (network->original != NULL)
        error = network->original(network, session->stream.fd, listener->by_tproxy, ret_original);
    if (error < 0)
        return error;
    /* TPROXY leaves no trace, but a connection that it has not touched came to the listener's port. */
    return listener->by_tproxy && th_address_port(ret_original) == listener->port ? TH_E_LOOP : 0;
}

static int make_tunnel(struct th_session *session, const struct th_address *original)
{
    char text[TH_ADDRESS_TEXT_MAX];
    struct th_url url;

    th_address_format(original, text);
    int error = th_url_parse_authority(th_str_of(text), true, &url);
    if (error == 0)
        error = th_tunnel_name(session, &url);
    if (error < 0)
        return error;
    session->tunnel->redirected = true;
    session->tunnel->original = *original;
    return 0;
}

void th_original_begin(struct th_session *session)
{
    const struct th_config_view *config = th_desk_config(desk_of(session));
    struct th_address original;
    int error = find_original(session, &original);

    if (error < 0)
        log_refusal(session, NULL,
                    error == TH_E_LOOP ? "it was not redirected: this listener is its destination"
                                       : "the kernel does not tell its original destination");
    else if (th_egress_permit(config, true, &original) == TH_E_LOOP)
        log_refusal(session, &original, "it was going to a listener of tokenhop");
    else if (make_tunnel(session, &original) == 0)
        return;
    th_session_close(session);
}

/* --- the first bytes --- */

/* A request begins with its method, before which some send an empty line (RFC 9112, 2.2, 3.1). */
static bool may_be_http(const struct th_session *session)
{
    char first = th_chunk_head(session->in)[0];

    return first == '\r' || first == '\n' || (first > ' ' && first < 0x7f);
}

bool th_original_is_served(struct th_session *session, bool is_tls)
{
    struct th_tunnel *tunnel = session->tunnel;

    if (th_own_ends_has(desk_of(session)->proxy->own_ends, &session->peer, &tunnel->original)) {
        log_refusal(session, &tunnel->original,
                    "it is tokenhop's own: exempt it from the rules that redirect, by its user");
        return false;
    }
    if (is_tls || may_be_http(session))
        return true;
    log_refusal(session, &tunnel->original, "it speaks neither HTTP nor TLS");
    return false;
}

/* --- TLS --- */

/* As a name of a Host field would have to be; it has no port. */
static bool read_name(const struct th_hello *hello, struct th_url *url)
{
    return th_url_parse_authority((struct th_str){hello->name, hello->name_len}, false, url) == 0 &&
           !url->port_named;
}

enum th_intercept_step th_original_got_hello(struct th_session *session,
                                             const struct th_hello *hello)
{
    const struct th_snapshot *snapshot = desk_of(session)->current->snapshot;
    struct th_str asked_for = {hello->name, hello->name_len};
    struct th_gate_connect connect;
    struct th_url url;

    if (hello->has_name) {
        if (!read_name(hello, &url))
            return th_intercept_refuse(session, TH_ALERT_UNRECOGNIZED_NAME,
                                       "the server name (SNI) is malformed", asked_for);
        url.port = session->tunnel->port;
        if (th_tunnel_name(session, &url) < 0)
            return th_intercept_refuse(session, TH_ALERT_INTERNAL_ERROR, "out of memory",
                                       asked_for);
    }
    struct th_tunnel *tunnel = session->tunnel;
    if (th_tunnel_count_session(session) < 0)
        return th_intercept_refuse(session, TH_ALERT_INTERNAL_ERROR, "limits.tunnels is reached",
                                   asked_for);
    url = (struct th_url){.host = th_tunnel_host(tunnel), .port = tunnel->port};
    th_gate_decide_connect(snapshot->view, snapshot->routes, snapshot->interceptor != NULL, &url,
                           &connect);
    tunnel->stage = TH_TUNNEL_BARE;
    if (connect.action == TH_GATE_TUNNEL_SERVE && connect.intercept) {
        tunnel->interceptor = th_interceptor_ref(snapshot->interceptor);
        tunnel->stage = TH_TUNNEL_NAMED;
    }
    return TH_INTERCEPT_OPEN;
}

enum th_hop_step th_original_decide(struct th_hop *hop)
{
    static const char no_clear[] = "no connection has an https:// URL at this host and port";
    const struct th_snapshot *snapshot = hop->use->snapshot;
    struct th_tunnel *tunnel = hop->session->tunnel;
    struct th_gate_connect connect;
    struct th_address address;

    tunnel->stage = TH_TUNNEL_OPEN;
    hop->url.scheme = TH_SCHEME_HTTPS;
    hop->url.host = th_tunnel_host(tunnel);
    hop->url.port = tunnel->port;
    hop->url.host_is_ipv6 = tunnel->is_ipv6;
    hop->url.host_is_literal = th_address_parse(hop->url.host, hop->url.port, &address) == 0;
    th_gate_decide_connect(snapshot->view, snapshot->routes, snapshot->interceptor != NULL,
                           &hop->url, &connect);
    hop->url.scheme = TH_SCHEME_HTTPS;
    if (connect.action == TH_GATE_TUNNEL_PLAIN) {
        hop->is_tunnel = hop->fresh_only = true;
        hop->decision.action = TH_GATE_FORWARD;
        hop->decision.is_named = connect.is_named;
        return th_hop_move(hop, TH_HOP_ORIGIN);
    }
    th_metrics_count(hop->desk->metrics, TH_METRIC_TUNNELS_REFUSED);
    return connect.action == TH_GATE_TUNNEL_REFUSE
               ? th_hop_fail(hop, connect.error, connect.detail)
               : th_hop_fail(hop, TH_E_DESTINATION_DENIED, no_clear);
}

void th_original_write_alert(const struct th_hop *hop, struct th_writer *w)
{
    bool is_denied = th_error_get(hop->error)->status == 403;
    char record[] = {
        21, 3, 3, 0, 2, 2, is_denied ? TH_ALERT_ACCESS_DENIED : TH_ALERT_INTERNAL_ERROR};
    const struct th_tunnel *tunnel = hop->session->tunnel;
    char original[TH_ADDRESS_TEXT_MAX];

    th_writer_add(w, (struct th_str){record, sizeof record});
    th_address_format(&tunnel->original, original);
    TH_LOG(
        hop->desk->worker->log, TH_LEVEL_WARN, "redirected.failed",
        "A redirected TLS connection was not carried on",
        TH_LOG_TEXT("listener", hop->session->listener->name),
        TH_LOG_STR("host", th_tunnel_host(tunnel)), TH_LOG_TEXT("original_destination", original),
        TH_LOG_ERR("error", hop->error),
        TH_LOG_TEXT("reason", hop->detail != NULL ? hop->detail : th_error_get(hop->error)->title));
}

/* --- HTTP in clear --- */

static int misdirected(struct th_hop *hop, const char *detail)
{
    hop->detail = detail;
    return TH_E_MISDIRECTED;
}

/* What the Host field says, with the port that was connected to. */
static int read_host(struct th_hop *hop, struct th_url *url)
{
    const struct th_head *head = &hop->request;
    uint16_t port = hop->session->tunnel->port;

    hop->detail =
        head->host < 0 ? "Host is missing, which names the destination here" : "Host is malformed";
    if (head->host < 0 || th_url_parse_authority(head->fields[head->host].value, false, url) < 0) {
        *url = (struct th_url){0};
        return TH_E_BAD_TARGET;
    }
    hop->detail = NULL;
    if (url->port_named && url->port != port)
        return misdirected(hop, "Host names another port than the one that was connected to");
    url->port = port;
    return 0;
}

static int read_path(struct th_hop *hop, struct th_str target)
{
    if (!th_str_equal(target, TH_STR("*")))
        return th_url_parse_path_query(target, &hop->url);
    if (hop->request.method != TH_METHOD_OPTIONS)
        return TH_E_BAD_TARGET;
    hop->url.path_query = hop->url.path = TH_STR("/");
    return 0;
}

int th_original_read_url(struct th_hop *hop)
{
    struct th_str target = hop->request.target;
    struct th_url host;

    if (target.len > 0 && (target.ptr[0] == '/' || target.ptr[0] == '*')) {
        int error = read_host(hop, &hop->url);
        hop->url.scheme = TH_SCHEME_HTTP;
        return error < 0 ? error : read_path(hop, target);
    }
    int error = th_target_parse_absolute(hop);
    if (error == 0)
        error = read_host(hop, &host);
    if (error < 0)
        return error;
    return hop->url.scheme == TH_SCHEME_HTTP && hop->url.port == host.port &&
                   th_str_equal(hop->url.host, host.host)
               ? 0
               : misdirected(hop, "the request line names another authority than Host");
}

const struct th_address *th_original_only(const struct th_hop *hop)
{
    const struct th_tunnel *tunnel = hop->session->tunnel;

    return tunnel != NULL && tunnel->redirected && !hop->session->listener->by_name
               ? &tunnel->original
               : NULL;
}
