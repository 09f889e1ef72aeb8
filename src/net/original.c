#include "original.h"

#include <errno.h>

/* linux/netfilter_ipv4.h and linux/netfilter_ipv6/ip6_tables.h, which do not go together with
 * netinet/in.h. Both are answered by the tracking of connections (nf_conntrack). */
#define ORIGINAL_DST 80

static int local_address(int fd, struct th_address *ret_address)
{
    struct sockaddr_storage own = {0};
    socklen_t len = sizeof own;

    if (getsockname(fd, (struct sockaddr *)&own, &len) < 0)
        return TH_E_IO;
    return th_address_from_sockaddr((struct sockaddr *)&own, len, ret_address) == 0 ? 0 : TH_E_IO;
}

int th_original_find(struct th_network *network, int fd, bool by_tproxy,
                     struct th_address *ret_address)
{
    struct sockaddr_storage original = {0};
    socklen_t len = sizeof original;
    struct th_address local;
    int error = local_address(fd, &local);

    (void)network;
    if (error < 0)
        return error;
    if (by_tproxy) {
        *ret_address = local;
        return 0;
    }
    bool is_ipv6 = local.any.sa_family == AF_INET6;
    if (getsockopt(fd, is_ipv6 ? IPPROTO_IPV6 : IPPROTO_IP, ORIGINAL_DST, &original, &len) < 0)
        return errno == ENOENT || errno == ENOPROTOOPT ? TH_E_LOOP
                                                       : TH_E_IO; /* it is not tracked */
    if (th_address_from_sockaddr((struct sockaddr *)&original, len, ret_address) < 0)
        return TH_E_IO;
    return th_address_equal(ret_address, &local) ? TH_E_LOOP : 0;
}
