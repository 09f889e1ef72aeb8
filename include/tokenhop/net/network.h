/* What the net room uses of the outside, so that tests can put a simulated network in its place.
 * Counted by nobody: outlives every worker that uses it. */
#ifndef TOKENHOP_NET_NETWORK_H
#define TOKENHOP_NET_NETWORK_H

#include "tokenhop/net/address.h"

struct th_network {
    /* Starts a connection on a new non-blocking, close-on-exec descriptor: 0 made, TH_AGAIN under
     * way (it becomes writable when decided), or TH_E_ORIGIN_*. The descriptor is the caller's
     * unless it failed. */
    int (*connect)(struct th_network *network, const struct th_address *address, int *ret_fd);
    /* Names to addresses, blocking, on a helper thread; /etc/hosts honoured. TH_E_ORIGIN_NAME when
     * there are none. */
    int (*lookup)(struct th_network *network, const char *host, uint16_t port,
                  struct th_addresses *ret_addresses);
    /* Where an accepted connection was going before the kernel redirected it here. By NAT (REDIRECT of
     * nftables and iptables): from the connection's tracking; by TPROXY: the connection's own local
     * address, whether or not it was redirected. TH_E_LOOP: it was not, by NAT; TH_E_IO. */
    int (*original)(struct th_network *network, int fd, bool by_tproxy,
                    struct th_address *ret_address);
    bool lookup_never_blocks; /* a simulated one: called on the worker itself */
};

/* The real one: socket(), connect() with TCP_NODELAY, getaddrinfo(), SO_ORIGINAL_DST. */
struct th_network *th_network_system(void);

#endif
