#include "place.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "tokenhop/base/buf.h"
#include "tokenhop/net/address.h"

#define CONNECT_WAIT_MS 500
#define URL_MAX 4096

static bool is_host(struct th_str host)
{
    static const char fine[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:";

    for (size_t i = 0; i < host.len; i++)
        if (strchr(fine, host.ptr[i]) == NULL)
            return false;
    return host.len > 0;
}

/* The port stays as it is where the text has none. */
static int take_text(const char *text, struct th_proxy_place *place, struct th_errinfo *reterr)
{
    const char *end = text[0] == '[' ? strchr(text, ']') : NULL;
    const char *colon = strchr(end != NULL ? end : text, ':');
    struct th_str host = {text, colon != NULL ? (size_t)(colon - text) : strlen(text)};
    uint64_t port = place->port;
    bool fine = true;

    if (end != NULL) {
        host = (struct th_str){text + 1, (size_t)(end - text) - 1};
        fine = end[1] == '\0' || end[1] == ':';
    }
    if (colon != NULL)
        fine = fine && th_str_to_u64(th_str_of(colon + 1), 65535, &port) == 0 && port > 0;
    if (!fine || host.len >= sizeof place->host || !is_host(host))
        return th_errinfo_set(reterr, TH_E_CONFIG, "--host",
                              "write HOST, HOST:PORT or [ADDRESS]:PORT",
                              "this is no host, with a port or without");
    (void)snprintf(place->host, sizeof place->host, "%.*s", TH_STR_ARGS(host));
    place->port = (unsigned)port;
    return 0;
}

static void take_address(const struct th_config_listener *listener, struct th_proxy_place *place)
{
    const struct sockaddr_in *v4 = (const void *)&listener->address;
    const struct sockaddr_in6 *v6 = (const void *)&listener->address;

    if (listener->address.ss_family == AF_INET) {
        struct in_addr address = v4->sin_addr;
        if (address.s_addr == htonl(INADDR_ANY))
            address.s_addr = htonl(INADDR_LOOPBACK);
        inet_ntop(AF_INET, &address, place->host, sizeof place->host);
        place->port = ntohs(v4->sin_port);
    } else if (listener->address.ss_family == AF_INET6) {
        bool is_any = IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
        inet_ntop(AF_INET6, is_any ? &in6addr_loopback : &v6->sin6_addr, place->host,
                  sizeof place->host);
        place->port = ntohs(v6->sin6_port);
    }
}

int th_place_find(const struct th_config_listener *listener, const char *text,
                  struct th_proxy_place *place, struct th_errinfo *reterr)
{
    if (listener->path.len > 0)
        return th_errinfo_set(reterr, TH_E_CONFIG, listener->address_text.ptr,
                              "choose a listener with a port by --listener",
                              "no variable can name a proxy on a unix socket, and few clients can "
                              "be told of one (curl --unix-socket)");
    take_address(listener, place);
    if (text != NULL) {
        int error = take_text(text, place, reterr);
        if (error < 0)
            return error;
    }
    if (place->port == 0)
        return th_errinfo_set(reterr, TH_E_CONFIG, listener->address_text.ptr,
                              "say where that is by --host HOST:PORT",
                              "a supervisor hands this socket over");
    return 0;
}

/* Everything but what RFC 3986, 2.3, says need not be encoded. */
static void add_encoded(struct th_buf *buf, struct th_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
        if (is_plain)
            th_buf_add_char(buf, (char)c);
        else
            th_buf_printf(buf, "%%%02X", c);
    }
}

int th_place_make_url(struct th_proxy_place *place, struct th_str user,
                      const struct th_secret *password)
{
    struct th_buf url;

    th_buf_init_secret(&url, URL_MAX);
    th_buf_add_str(&url, th_str_of(place->is_https ? "https://" : "http://"));
    if (password != NULL) {
        add_encoded(&url, user);
        th_buf_add_char(&url, ':');
        add_encoded(&url, th_secret_expose(password));
        th_buf_add_char(&url, '@');
    }
    th_buf_printf(&url, strchr(place->host, ':') != NULL ? "[%s]:%u" : "%s:%u", place->host,
                  place->port);
    if (!url.failed)
        place->url = th_secret_new(url.ptr, url.len);
    th_buf_fini(&url);
    place->has_password = password != NULL;
    return place->url != NULL ? 0 : TH_E_NOMEM;
}

bool th_place_is_accepting(const struct th_proxy_place *place)
{
    struct th_address address;
    int err = 0;
    socklen_t len = sizeof err;

    if (th_address_parse(th_str_of(place->host), (uint16_t)place->port, &address) < 0)
        return true; /* not known */
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true;
    bool fine = connect(fd, &address.any, th_address_len(&address)) == 0;
    if (!fine && errno == EINPROGRESS) {
        struct pollfd writable = {.fd = fd, .events = POLLOUT};
        fine = poll(&writable, 1, CONNECT_WAIT_MS) == 1 &&
               getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) == 0 && err == 0;
    }
    (void)close(fd);
    return fine;
}
