/* Listeners: where they are, and whom their callers act as. */
#include "loader.h"
#include "text.h"

static bool same_address(const struct th_config_listener *a, const struct th_config_listener *b)
{
    if (a->activation.len > 0)
        return th_str_equal(a->activation, b->activation);
    return a->address_len > 0 && a->address_len == b->address_len &&
           memcmp(&a->address, &b->address, a->address_len) == 0;
}

/* Who may connect to a unix socket; other addresses have neither mode nor group. */
static void build_socket(struct th_loader *l, const struct th_raw_listener *raw,
                         struct th_config_listener *listener)
{
    uint32_t place = raw->head.place;
    uint32_t mode_at = th_loader_member(l, place, "socket_mode");
    uint32_t group_at = th_loader_member(l, place, "socket_group");
    struct th_errinfo info = {0};
    uint64_t number;
    listener->socket_group = (gid_t)-1;
    if (listener->address.ss_family != AF_UNIX) {
        if (mode_at != place)
            th_loader_report_key(l, mode_at, "leave it out", "only a unix socket has a mode");
        if (group_at != place)
            th_loader_report_key(l, group_at, "leave it out", "only a unix socket has a group");
        return;
    }
    if (raw->socket_mode.ptr != NULL &&
        th_text_to_mode(raw->socket_mode, &listener->socket_mode, &info) == 0 &&
        (listener->socket_mode & 0222) == 0)
        th_loader_report(l, mode_at, "write \"0660\"", "nobody may connect to such a socket");
    if (raw->socket_group.ptr == NULL)
        return;
    if (th_str_to_u64(raw->socket_group, UINT32_MAX - 1, &number) == 0)
        listener->socket_group = (gid_t)number;
    else
        (void)th_build_find_group(l, raw->socket_group, group_at, &listener->socket_group);
}

/* Whether the text is "systemd:" and a name. */
static bool build_activation(struct th_loader *l, struct th_str text, uint32_t place,
                             struct th_config_listener *listener)
{
    const struct th_str prefix = TH_STR("systemd:");
    struct th_errinfo info = {0};
    if (!th_str_starts_with(text, prefix))
        return false;
    struct th_str name = {text.ptr + prefix.len, text.len - prefix.len};
    if (th_text_check_name(name, &info) < 0)
        th_loader_report(l, place,
                         "write \"systemd:\" and the FileDescriptorName= of the socket unit", "%s",
                         info.what);
    else
        listener->activation = name;
    return true;
}

static void build_address(struct th_loader *l, const struct th_raw_listener *raw,
                          struct th_config_listener *listener)
{
    uint32_t place = th_loader_member(l, raw->head.place, "address");
    struct th_errinfo info = {0};
    listener->address_text = raw->address;
    if (raw->address.ptr == NULL) /* refused already */
        return;
    if (!build_activation(l, raw->address, place, listener) &&
        !th_build_socket(l, raw->address, place, &listener->address, &listener->address_len,
                         &listener->path) &&
        th_text_to_address(raw->address, &listener->address, &listener->address_len, &info) < 0)
        th_loader_report_info(l, place, &info);
    else
        build_socket(l, raw, listener);
}

/* What is no address is of a unix socket, and the other way round. */
static void build_source(struct th_loader *l, struct th_str text, uint32_t place,
                         struct th_config_listener *listener, struct th_config_network *networks)
{
    struct th_errinfo info = {0};
    bool is_unix = th_str_equal(text, TH_STR("unix"));
    bool at_unix = listener->address.ss_family == AF_UNIX;
    if (listener->address_len > 0 && is_unix != at_unix) {
        th_loader_report(l, place, at_unix ? "write \"unix\"" : "write addresses or networks",
                         at_unix ? "who connects to a unix socket has no address"
                                 : "nobody connects to this listener over a unix socket");
        return;
    }
    if (is_unix) {
        listener->takes_unix_headers = true;
        return;
    }
    struct th_config_network *network = &networks[listener->n_header_sources];
    if (th_text_to_network(text, network, &info) < 0)
        th_loader_report_info(l, place, &info);
    else if (network->port != 0)
        th_loader_report(l, place, "leave out the port", "clients have any port");
    else
        listener->n_header_sources++;
}

static void build_sources(struct th_loader *l, const struct th_raw_listener *raw,
                          struct th_config_listener *listener)
{
    const struct th_raw_list *from = &raw->proxy_protocol.from;
    uint32_t place = th_loader_member(l, raw->head.place, "proxy_protocol");
    struct th_config_network *networks = th_loader_alloc(l, from->n, sizeof *networks);
    for (size_t i = 0; networks != NULL && i < from->n; i++)
        if (from->items[i].ptr != NULL)
            build_source(l, from->items[i], th_loader_item(l, place, "from", i), listener,
                         networks);
    listener->header_sources = networks;
}

static void check_listener(struct th_loader *l, const struct th_config_listener *listeners,
                           size_t i, uint32_t place)
{
    for (size_t j = 0; j < i; j++) {
        if (listeners[i].name.ptr != NULL && th_str_equal(listeners[i].name, listeners[j].name))
            th_loader_report(l, th_loader_member(l, place, "name"), "give it another name",
                             "two listeners have the name \"%.*s\"",
                             TH_STR_ARGS(listeners[i].name));
        if (same_address(&listeners[i], &listeners[j]))
            th_loader_report(l, th_loader_member(l, place, "address"), "choose another address",
                             "the listeners \"%.*s\" and \"%.*s\" have the same address",
                             TH_STR_ARGS(listeners[j].name), TH_STR_ARGS(listeners[i].name));
    }
    const struct th_config_admin *admin = &l->config->view.admin;
    if (listeners[i].path.len > 0 && th_str_equal(listeners[i].path, admin->path))
        th_loader_report(l, th_loader_member(l, place, "address"), "choose another address",
                         "the admin listener has the same address");
}

static void refuse_key(struct th_loader *l, uint32_t place, const char *key, bool is_transparent)
{
    uint32_t member = th_loader_member(l, place, key);

    if (member != place)
        th_loader_report_key(
            l, member, "leave it out",
            is_transparent ? "\"%s\" says nothing about a listener of the mode \"transparent\""
                           : "\"%s\" is for listeners of the mode \"transparent\"",
            key);
}

/* What comes to a transparent listener was meant for somebody else: neither is its beginning ours, nor
 * does anything in it say who sends it. */
static void check_transparent(struct th_loader *l, const struct th_raw_listener *raw,
                              const struct th_config_listener *listener)
{
    static const char *const others[] = {"scheme", "original", "tls", "proxy_protocol"};
    static const char *const own[] = {"redirected_by", "original_destination"};
    uint32_t place = raw->head.place;

    if (listener->mode != TH_LISTENER_TRANSPARENT) {
        for (size_t i = 0; i < TH_COUNT_OF(own); i++)
            refuse_key(l, place, own[i], false);
        return;
    }
    for (size_t i = 0; i < TH_COUNT_OF(others); i++)
        refuse_key(l, place, others[i], true);
    if (listener->path.len > 0)
        th_loader_report(l, th_loader_member(l, place, "address"),
                         "give it an address and a port, to which connections can be redirected",
                         "no connection is redirected to a unix socket");
    if (listener->activation.len > 0 && listener->by_tproxy)
        th_loader_report(l, th_loader_member(l, place, "address"), "give it an address and a port",
                         "by TPROXY, connections that were not redirected are known by the "
                         "listener's own port, which a socket of systemd does not tell");
    if (raw->agent.ptr == NULL)
        th_loader_report(l, place, "name the agent that its callers act as",
                         "a transparent listener must name an \"agent\": who is redirected sends "
                         "nothing that proves who it is");
}

/* Callers that are all known by certificates, where none can be shown. */
static void check_proofs(struct th_loader *l, const struct th_raw_listener *raw,
                         const struct th_config_listener *listener)
{
    const struct th_config_view *view = &l->config->view;
    bool any = raw->agent.ptr != NULL || view->n_callers == 0 ||
               listener->mode == TH_LISTENER_TRANSPARENT ||
               th_config_listener_takes_certificates(listener);
    for (size_t i = 0; !any && i < view->n_callers; i++)
        any = !th_caller_is_by_certificate(view->callers[i].proof);
    if (!any)
        th_loader_report(
            l, raw->head.place,
            "add \"tls\" with \"client_certificate\", or \"forwarded_certificate\"",
            "the listener has no \"agent\", all callers are known by certificates, and "
            "none can be shown to it");
}

void th_build_listeners(struct th_loader *loader)
{
    const struct th_raw_listener *raw = loader->raw.listeners.items;
    size_t n = loader->raw.listeners.n;
    struct th_config_listener *listeners = th_loader_alloc(loader, n, sizeof(*listeners));
    for (size_t i = 0; listeners != NULL && i < n; i++, raw++) {
        uint32_t place = raw->head.place;
        listeners[i].name = raw->head.name;
        build_address(loader, raw, &listeners[i]);
        build_sources(loader, raw, &listeners[i]);
        listeners[i].mode = (enum th_listener_mode)raw->mode;
        listeners[i].is_https = raw->scheme != 0;
        listeners[i].original = (enum th_original)raw->original;
        listeners[i].by_tproxy = raw->redirected_by != 0;
        listeners[i].by_name = raw->original_destination != 0;
        if (raw->agent.ptr != NULL)
            listeners[i].agent =
                th_build_find_agent(loader, raw->agent, th_loader_member(loader, place, "agent"));
        else if (loader->raw.callers.n == 0 && listeners[i].mode != TH_LISTENER_TRANSPARENT)
            th_loader_report(loader, place,
                             "name the agent that its callers act as, or add callers",
                             "the listener has no \"agent\", and there are no callers that could "
                             "prove who they are");
        th_build_listener_tls(loader, raw, &listeners[i]);
        check_proofs(loader, raw, &listeners[i]);
        check_listener(loader, listeners, i, place);
        check_transparent(loader, raw, &listeners[i]);
    }
    loader->config->view.listeners = listeners;
    loader->config->view.n_listeners = listeners != NULL ? n : 0;
}
