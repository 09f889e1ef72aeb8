#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

#include "original.h"

static int connect_system(struct th_network *network, const struct th_address *address, int *ret_fd)
{
    int one = 1;
    int err;
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return errno == EAFNOSUPPORT ? TH_E_ORIGIN_UNREACHABLE : TH_E_OVERLOADED;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0) {
        err = errno;
        close(fd);
        return th_error_from_origin_errno(err);
    }
    if (connect(fd, &address->any, th_address_len(address)) == 0) {
        *ret_fd = fd;
        return 0;
    }
    err = errno;
    /* EINTR: POSIX lets the connection go on by itself, as with EINPROGRESS. */
    if (err == EINPROGRESS || err == EINTR) {
        *ret_fd = fd;
        return TH_AGAIN;
    }
    close(fd);
    return th_error_from_origin_errno(err);
}

static int lookup_system(struct th_network *network, const char *host, uint16_t port,
                         struct th_addresses *ret_addresses)
{
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV,
    };
    struct th_addresses found = {0};
    struct addrinfo *list = NULL;
    char service[8];

    snprintf(service, sizeof(service), "%u", port);
    if (getaddrinfo(host, service, &hints, &list) != 0)
        return TH_E_ORIGIN_NAME;
    for (const struct addrinfo *it = list; it != NULL && found.count < TH_ADDRESSES_MAX;
         it = it->ai_next)
        if (th_address_from_sockaddr(it->ai_addr, it->ai_addrlen, &found.items[found.count]) == 0)
            found.count++;
    freeaddrinfo(list);
    if (found.count == 0)
        return TH_E_ORIGIN_NAME;
    *ret_addresses = found;
    return 0;
}

struct th_network *th_network_system(void)
{
    /* Never written to: the type is not const only for those that keep state. */
    static struct th_network network = {
        .connect = connect_system, .lookup = lookup_system, .original = th_original_find};
    return &network;
}
