#include "entry.h"

#include "tokenhop/base/mem.h"
#include "tokenhop/net/proxy_header.h"
#include "tokenhop/observe/log.h"

static struct th_proxy_desk *desk_of(const struct th_session *session)
{
    return session->listener->desk;
}

static enum th_entry_step leave(struct th_session *session)
{
    th_session_close(session);
    return TH_ENTRY_WAIT;
}

/* More bytes behind those that are there: > 0, 0 none now, < 0 the client has gone. */
static ssize_t receive(struct th_session *session)
{
    struct th_worker *worker = desk_of(session)->worker;

    if (session->in == NULL && (session->in = th_chunk_get(&worker->chunks)) == NULL)
        return TH_E_NOMEM;
    struct th_chunk *in = session->in;
    ssize_t n = th_stream_recv(&session->stream, th_chunk_tail(in), th_chunk_room(in));
    if (n > 0)
        in->end += (uint32_t)n;
    else if (th_chunk_len(in) == 0) /* a connection that is silent costs no room */
        session->in = th_chunk_put(&worker->chunks, in);
    if (n == TH_AGAIN)
        return 0;
    return n != 0 ? n : TH_E_CANCELLED;
}

/* --- the proxy header --- */

static bool is_listed(const struct th_desk_listener *listener, const struct th_address *from)
{
    struct in6_addr v6;

    if (from->any.sa_family == AF_UNIX)
        return listener->takes_unix_headers;
    if (from->any.sa_family != AF_INET && from->any.sa_family != AF_INET6)
        return false;
    th_address_to_v6(from, &v6);
    for (size_t i = 0; i < listener->n_header_sources; i++)
        if (th_config_network_holds(&listener->header_sources[i], &v6, th_address_port(from)))
            return true;
    return false;
}

static void refuse_header(struct th_session *session, const char *why)
{
    struct th_proxy_desk *desk = desk_of(session);
    char client[TH_ADDRESS_TEXT_MAX];

    th_session_format_client(session, client);
    th_metrics_count(desk->metrics, TH_METRIC_PROXY_HEADERS_REFUSED);
    TH_LOG(desk->worker->log, TH_LEVEL_WARN, "listener.proxy_header",
           "A connection was closed that did not begin with the header of the PROXY protocol",
           TH_LOG_TEXT("listener", session->listener->name), TH_LOG_TEXT("client", client),
           TH_LOG_TEXT("reason", why),
           TH_LOG_TEXT("mend", "let that proxy send it (send-proxy-v2), or take it off "
                               "proxy_protocol.from"));
}

static enum th_entry_step take_header(struct th_session *session,
                                      const struct th_proxy_header *header)
{
    struct th_proxy_desk *desk = desk_of(session);
    struct th_chunk *in = session->in;

    th_metrics_count(desk->metrics, header->is_told ? TH_METRIC_PROXY_HEADERS_TOLD
                                                    : TH_METRIC_PROXY_HEADERS_LOCAL);
    if (header->is_told)
        session->peer = header->source;
    if (!header->is_local) {
        /* The process at the other end is the proxy, not the client, of whom it proves nothing: not even where
         * the proxy cannot say who that is. */
        th_free(session->unix_peer);
        session->unix_peer = NULL;
    }
    session->is_anybody = !header->is_told && !header->is_local;
    in->start += (uint32_t)header->len;
    if (th_chunk_len(in) == 0)
        session->in = th_chunk_put(&desk->worker->chunks, in);
    session->entry = TH_ENTRY_DONE; /* the listener's TLS comes next, where it has some */
    return TH_ENTRY_GO;
}

static enum th_entry_step read_header(struct th_session *session)
{
    for (;;) {
        struct th_proxy_header header;
        const char *why = NULL;
        ssize_t n = receive(session);
        if (n == 0)
            return TH_ENTRY_WAIT;
        if (n < 0) {
            /* Who connects and leaves without a word only looks whether somebody is here. */
            if (session->in != NULL && th_chunk_len(session->in) > 0)
                refuse_header(session, "it ended inside of the header");
            return leave(session);
        }
        int error = th_proxy_header_parse(th_chunk_head(session->in), th_chunk_len(session->in),
                                          &header, &why);
        if (error == 0)
            return take_header(session, &header);
        if (error != TH_AGAIN) {
            refuse_header(session, why);
            return leave(session);
        }
    }
}

/* --- all together --- */

enum th_entry_stage th_entry_begin(const struct th_desk_listener *listener,
                                   const struct th_address *from)
{
    return is_listed(listener, from) ? TH_ENTRY_PROXY_HEADER : TH_ENTRY_DONE;
}

enum th_entry_step th_entry_run(struct th_session *session)
{
    enum th_entry_step step = TH_ENTRY_GO;

    while (step == TH_ENTRY_GO) {
        switch ((enum th_entry_stage)session->entry) {
        case TH_ENTRY_PROXY_HEADER:
            step = read_header(session);
            break;
        case TH_ENTRY_DONE:
            return TH_ENTRY_GO;
        }
    }
    return step;
}

void th_entry_time_out(struct th_session *session)
{
    if (session->entry == TH_ENTRY_PROXY_HEADER)
        refuse_header(session, "it did not come in time (timeouts.head)");
}
