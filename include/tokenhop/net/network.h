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
    bool lookup_never_blocks; /* a simulated one: called on the worker itself */
};

/* The real one: socket(), connect() with TCP_NODELAY, getaddrinfo(). */
struct th_network *th_network_system(void);

#endif
