/* The simulated network: names and addresses as the scenario has them; a connection is one end of a
 * socket pair, whose other end is an origin of the script. */
#ifndef TOKENHOP_TESTS_SCENARIO_NETWORK_H
#define TOKENHOP_TESTS_SCENARIO_NETWORK_H

#include "peer.h"
#include "tokenhop/net/network.h"

enum place_manner { PLACE_CONNECTS, PLACE_REFUSES, PLACE_HANGS, PLACE_UNREACHABLE };

/* A host of the simulated world. */
struct net_place {
    struct net_place *next;
    char host[256];
    struct th_addresses addresses; /* ports 0; none: the name does not exist */
    enum place_manner manner;
    bool tcp;
    bool narrow; /* its connections hold next to nothing on the way there */
};

struct fake_network {
    struct th_network base;
    struct net_place *places;
    struct peer *origins; /* oldest first; all that were ever connected to */
    unsigned n_connects;  /* tried */
    const struct th_address
        *original; /* of the client that connects now; NULL: it is not redirected */
};

void network_init(struct fake_network *network);
void network_fini(struct fake_network *network);
struct net_place *network_place(struct fake_network *network, const char *host); /* made if new */
/* Adds an address in digits; false: it is none. */
bool network_add_address(struct net_place *place, struct th_str text);
bool network_is_at(struct fake_network *network, const char *host,
                   const struct th_address *address);
/* The oldest connection to host:port that no one has claimed, or NULL. */
struct peer *network_claim(struct fake_network *network, const char *host, uint16_t port);

#endif
