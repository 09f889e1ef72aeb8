/* Parent proxies: where each is, whom it is for, what it is shown. */
#include <openssl/evp.h>

#include "loader.h"
#include "text.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/base/mem.h"
#include "url.h"

#define PASSWORD_MAX 512

/* --- for --- */

static bool has(struct th_str text, const char *part)
{
    return memmem(text.ptr, text.len, part, strlen(part)) != NULL;
}

/* Digits of an address: a network, not a name. */
static bool is_network(struct th_str text)
{
    struct th_config_network network;
    struct th_errinfo info = {0};

    if (has(text, "://"))
        return false;
    return has(text, "/") || text.ptr[0] == '[' || th_text_to_network(text, &network, &info) == 0;
}

static int read_network(struct th_str text, struct th_config_parent_for *pattern,
                        struct th_errinfo *reterr)
{
    return th_text_to_network(text, &pattern->network, reterr);
}

/* "host", "*.host", with a port, or a URL without a path. */
static int read_host(struct th_loader *l, struct th_str text, struct th_config_parent_for *pattern,
                     struct th_errinfo *reterr)
{
    static const char scheme[] = "http://";
    bool is_url = has(text, "://");
    struct th_str whole = text;
    struct th_config_url url;

    if (!is_url) {
        char *copy = th_loader_alloc(l, sizeof scheme + text.len, 1);
        if (copy == NULL)
            return TH_E_NOMEM;
        memcpy(copy, scheme, sizeof scheme - 1);
        memcpy(copy + sizeof scheme - 1, text.ptr, text.len);
        whole = (struct th_str){copy, sizeof scheme - 1 + text.len};
    }
    int error = th_config_url_split(whole, true, &url, reterr);
    if (error < 0)
        return error;
    if (url.path.len > 1 || url.query.len > 0)
        return th_errinfo_set(reterr, TH_E_CONFIG, NULL, "leave out what follows the host",
                              "a proxy is chosen by scheme, host and port alone");
    if (is_url)
        pattern->scheme = url.https ? TH_STR("https") : TH_STR("http");
    pattern->host = url.host;
    pattern->wildcard = url.wildcard;
    /* "host:80" names its port, "host" none, and a URL has its scheme's. */
    bool named = text.ptr[text.len - 1] >= '0' && text.ptr[text.len - 1] <= '9' && has(text, ":");
    pattern->port = is_url || named ? url.port : 0;
    return 0;
}

static void build_destinations(struct th_loader *l, const struct th_raw_parent *raw,
                               struct th_config_parent *parent)
{
    const struct th_raw_list *list = &raw->destinations;
    struct th_config_parent_for *all = th_loader_alloc(l, list->n, sizeof *all);

    for (size_t i = 0; all != NULL && i < list->n; i++) {
        struct th_str text = list->items[i];
        struct th_errinfo info = {0};
        if (text.ptr == NULL) /* refused already */
            continue;
        int error = th_str_equal(text, TH_STR("*"))
                        ? th_errinfo_set(&info, TH_E_CONFIG, NULL, "leave \"for\" out",
                                         "all destinations are meant where none is named")
                    : is_network(text) ? read_network(text, &all[i], &info)
                                       : read_host(l, text, &all[i], &info);
        if (error == TH_E_CONFIG)
            th_loader_report_info(l, th_loader_item(l, raw->head.place, "for", i), &info);
    }
    parent->destinations = all;
    parent->n_destinations = all != NULL ? list->n : 0;
}

/* --- proxy --- */

static bool is_at(const struct sockaddr_storage *listener, const struct th_config_network *parent,
                  bool parent_is_loopback)
{
    struct in6_addr bound = {0};
    uint16_t port;

    if (listener->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)listener;
        bound.s6_addr[10] = bound.s6_addr[11] = 0xff;
        memcpy(bound.s6_addr + 12, &in->sin_addr, 4);
        port = ntohs(in->sin_port);
        if (in->sin_addr.s_addr == INADDR_ANY)
            return parent_is_loopback && port == parent->port;
    } else if (listener->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)listener;
        bound = in6->sin6_addr;
        port = ntohs(in6->sin6_port);
        if (IN6_IS_ADDR_UNSPECIFIED(&bound))
            return parent_is_loopback && port == parent->port;
    } else {
        return false;
    }
    return port == parent->port && memcmp(&bound, &parent->address, sizeof bound) == 0;
}

/* R10. What a name leads to is seen when it is resolved. */
static void check_loop(struct th_loader *l, const struct th_config_parent *parent, bool is_loopback,
                       uint32_t place)
{
    const struct th_config_view *view = &l->config->view;
    bool is_name = th_str_equal_nocase(parent->host, TH_STR("localhost"));
    struct th_str host = is_name ? TH_STR("127.0.0.1") : parent->host;
    struct th_config_network at = {0};
    struct th_errinfo info = {0};

    if (th_text_to_network(host, &at, &info) < 0)
        return;
    at.port = parent->port;
    for (size_t i = 0; i < view->n_listeners; i++)
        if (is_at(&view->listeners[i].address, &at, is_loopback || is_name))
            th_loader_report(
                l, place, "name the other proxy",
                "this is the address of the listener \"%.*s\": requests would go round "
                "in circles",
                TH_STR_ARGS(view->listeners[i].name));
}

static bool build_proxy(struct th_loader *l, const struct th_raw_parent *raw,
                        struct th_config_parent *parent, bool *ret_is_loopback)
{
    uint32_t place = th_loader_member(l, raw->head.place, "proxy");
    struct th_errinfo info = {0};
    struct th_config_url url;

    parent->url = raw->proxy;
    parent->is_direct = th_str_equal(raw->proxy, TH_STR("direct"));
    if (parent->is_direct || raw->proxy.ptr == NULL)
        return parent->is_direct;
    if (!has(raw->proxy, "://")) {
        th_loader_report(l, place, "write http://proxy.example.com:3128, or \"direct\"",
                         "this is neither a URL nor \"direct\"");
        return false;
    }
    if (th_config_url_split(raw->proxy, false, &url, &info) < 0) {
        th_loader_report_info(l, place, &info);
        return false;
    }
    if (url.path.len > 1 || url.query.len > 0) {
        th_loader_report(l, place, "leave out what follows the host and port",
                         "a proxy's URL has no path");
        return false;
    }
    parent->is_https = url.https;
    parent->port = url.port;
    parent->host = th_loader_copy(l, url.host);
    for (size_t i = 0; parent->host.ptr != NULL && i < parent->host.len; i++) {
        char *c = (char *)(uintptr_t)parent->host.ptr + i; /* our own copy */
        if (*c >= 'A' && *c <= 'Z')
            *c |= 0x20;
    }
    *ret_is_loopback = url.loopback;
    check_loop(l, parent, url.loopback, place);
    return true;
}

/* --- basic --- */

static void join_basic(struct th_loader *l, struct th_str user, struct th_str password,
                       struct th_config_parent *parent)
{
    struct th_buf pair, value;

    th_buf_init_secret(&pair, 1024);
    th_buf_add_str(&pair, user);
    th_buf_add_char(&pair, ':');
    th_buf_add_str(&pair, password);
    th_buf_init_secret(&value, 2048);
    th_buf_add_str(&value, TH_STR("Basic "));
    size_t room = 4 * ((pair.len + 2) / 3) + 1;
    char *encoded = pair.failed ? NULL : th_malloc(room);
    if (encoded != NULL) {
        int n = EVP_EncodeBlock((unsigned char *)encoded, (const unsigned char *)pair.ptr,
                                (int)pair.len);
        th_buf_add(&value, encoded, (size_t)n);
        th_wipe(encoded, room);
        th_free(encoded);
    }
    if (encoded != NULL && !value.failed)
        parent->authorization = th_secret_new(value.ptr, value.len);
    if (parent->authorization == NULL || th_config_hold(l->config, parent->authorization) < 0) {
        parent->authorization = NULL; /* and let go of */
        l->nomem = true;
    }
    th_buf_fini(&value);
    th_buf_fini(&pair);
}

static void build_basic(struct th_loader *l, const struct th_raw_parent *raw,
                        struct th_config_parent *parent)
{
    uint32_t place = th_loader_member(l, raw->head.place, "basic"), at = place;
    struct th_str user = raw->basic.user;
    struct th_secret *password = th_build_secret(l, raw->basic.password_file,
                                                 raw->basic.password.env, "password", place, &at);

    if (user.ptr == NULL)
        return;
    if (memchr(user.ptr, ':', user.len) != NULL) {
        th_loader_report(l, th_loader_member(l, place, "user"), NULL, "a user name has no colon");
        return;
    }
    if (password == NULL)
        return;
    struct th_str text = th_secret_expose(password);
    if (text.len == 0 || text.len > PASSWORD_MAX || th_str_has_control(text))
        th_loader_report(l, at, NULL,
                         "a password has 1 to %d characters, and none that is a control character",
                         PASSWORD_MAX);
    else
        join_basic(l, user, text, parent);
}

/* --- the whole --- */

static bool has_basic(const struct th_raw_parent *raw)
{
    return raw->basic.user.ptr != NULL || raw->basic.password_file.ptr != NULL ||
           raw->basic.password.env.ptr != NULL;
}

/* What makes no sense together with the rest. */
static void check_rest(struct th_loader *l, const struct th_raw_parent *raw,
                       const struct th_config_parent *parent, bool is_loopback)
{
    static const char what[] = "nothing is sent to a proxy where there is none";
    uint32_t place = raw->head.place;
    const char *useless = !parent->is_direct         ? NULL
                          : has_basic(raw)           ? "basic"
                          : raw->ca_file.ptr != NULL ? "ca_file"
                          : raw->allow_cleartext     ? "allow_cleartext"
                                                     : NULL;

    if (useless != NULL)
        th_loader_report(l, th_loader_member(l, place, useless), "leave it out", what);
    if (parent->is_direct)
        return;
    if (raw->ca_file.ptr != NULL && !parent->is_https)
        th_loader_report(l, th_loader_member(l, place, "ca_file"),
                         "write https://, or leave it out",
                         "an http:// proxy shows no certificate");
    if (has_basic(raw) && !parent->is_https && !is_loopback && !raw->allow_cleartext)
        th_loader_report(l, th_loader_member(l, place, "basic"),
                         "write https://, or set \"allow_cleartext\": true",
                         "the password would cross the network in cleartext");
}

/* What an entry before it takes all of would never be met. */
static void check_reached(struct th_loader *l, const struct th_config_parent *parents, size_t i,
                          uint32_t place)
{
    bool origins = false, servers = false;

    for (size_t j = 0; j < i; j++) {
        if (parents[j].n_destinations > 0)
            continue;
        origins |= parents[j].carries != TH_PARENT_CARRIES_SERVERS;
        servers |= parents[j].carries != TH_PARENT_CARRIES_ORIGINS;
    }
    bool left = (!origins && parents[i].carries != TH_PARENT_CARRIES_SERVERS) ||
                (!servers && parents[i].carries != TH_PARENT_CARRIES_ORIGINS);
    if (!left)
        th_loader_report(l, place, "put it before that one",
                         "an entry before this one is for all destinations, so that this one is "
                         "never met");
}

void th_build_parents(struct th_loader *loader)
{
    const struct th_raw_parent *raw = loader->raw.parents.items;
    size_t n = loader->raw.parents.n;
    struct th_config_parent *parents = th_loader_alloc(loader, n, sizeof *parents);

    for (size_t i = 0; parents != NULL && i < n; i++, raw++) {
        struct th_config_parent *parent = &parents[i];
        bool is_loopback = false;
        parent->index = (uint32_t)i;
        parent->carries = (enum th_parent_carries)raw->carries;
        build_destinations(loader, raw, parent);
        if (!build_proxy(loader, raw, parent, &is_loopback))
            continue;
        check_rest(loader, raw, parent, is_loopback);
        check_reached(loader, parents, i, raw->head.place);
        if (parent->is_direct)
            continue;
        parent->ca_file = th_build_ca_file(loader, raw->ca_file, raw->head.place, &parent->ca_mark);
        build_basic(loader, raw, parent);
    }
    loader->config->view.parents = parents;
    loader->config->view.n_parents = parents != NULL ? n : 0;
}
