#include "network.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faults.h"
#include "tokenhop/base/check.h"

static bool has_address(const struct net_place *place, const struct th_address *address)
{
    struct in6_addr a, b;

    th_address_to_v6(address, &a);
    for (size_t i = 0; i < place->addresses.count; i++) {
        th_address_to_v6(&place->addresses.items[i], &b);
        if (memcmp(&a, &b, sizeof a) == 0)
            return true;
    }
    return false;
}

static struct net_place *find_host(struct fake_network *network, const char *host)
{
    for (struct net_place *place = network->places; place != NULL; place = place->next)
        if (strcmp(place->host, host) == 0)
            return place;
    return NULL;
}

bool network_is_at(struct fake_network *network, const char *host, const struct th_address *address)
{
    struct net_place *place = find_host(network, host);

    return place != NULL && has_address(place, address);
}

struct net_place *network_place(struct fake_network *network, const char *host)
{
    struct net_place *place = find_host(network, host);

    if (place == NULL) {
        place = zeroed(sizeof *place);
        snprintf(place->host, sizeof place->host, "%s", host);
        place->next = network->places;
        network->places = place;
    }
    return place;
}

bool network_add_address(struct net_place *place, struct th_str text)
{
    struct th_addresses *addresses = &place->addresses;

    return addresses->count < TH_ADDRESSES_MAX &&
           th_address_parse(text, 0, &addresses->items[addresses->count++]) == 0;
}

static int look_up(struct th_network *base, const char *host, uint16_t port,
                   struct th_addresses *ret_addresses)
{
    struct fake_network *network = TH_CONTAINER_OF(base, struct fake_network, base);
    struct net_place *place = find_host(network, host);

    if (place == NULL || place->addresses.count == 0)
        return TH_E_ORIGIN_NAME;
    *ret_addresses = place->addresses;
    for (size_t i = 0; i < ret_addresses->count; i++) {
        struct th_address *address = &ret_addresses->items[i];
        if (address->any.sa_family == AF_INET)
            address->v4.sin_port = htons(port);
        else
            address->v6.sin6_port = htons(port);
    }
    return 0;
}

/* An end that never becomes writable, as a connection never made: its other end is full. */
static void fill_up(int fd)
{
    char room[4096] = {0};

    while (write(fd, room, sizeof room) > 0)
        ;
}

/* The least that the kernel grants: some 4 KB that are not yet read. */
static void narrow(int fd)
{
    int size = 1;

    TH_REQUIRE(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size) == 0);
}

static int connect_peer(struct fake_network *network, const struct th_address *address, int *ret_fd)
{
    struct net_place *place = network->places;
    struct peer **end = &network->origins;
    int fds[2];

    network->n_connects++;
    while (place != NULL && !has_address(place, address))
        place = place->next;
    if (place == NULL || place->manner == PLACE_UNREACHABLE)
        return TH_E_ORIGIN_UNREACHABLE;
    if (place->manner == PLACE_REFUSES)
        return TH_E_ORIGIN_REFUSED;
    peer_pair(place->tcp, fds);
    if (place->narrow)
        narrow(fds[0]);
    struct peer *peer = peer_new(PEER_ORIGIN, fds[1], place->tcp);
    peer->address = *address;
    if (place->manner == PLACE_HANGS) {
        fill_up(fds[0]);
        peer->claimed = peer->holds = true;
    }
    while (*end != NULL)
        end = &(*end)->next;
    *end = peer;
    *ret_fd = fds[0];
    return TH_AGAIN; /* as the kernel says it of every connection but to itself */
}

static int connect_to(struct th_network *base, const struct th_address *address, int *ret_fd)
{
    struct fake_network *network = TH_CONTAINER_OF(base, struct fake_network, base);

    fault_pause();
    int r = connect_peer(network, address, ret_fd);
    fault_resume();
    return r;
}

static int find_original(struct th_network *base, int fd, bool by_tproxy,
                         struct th_address *ret_address)
{
    const struct fake_network *network = TH_CONTAINER_OF(base, struct fake_network, base);

    if (network->original == NULL)
        return TH_E_LOOP;
    *ret_address = *network->original;
    return 0;
}

void network_init(struct fake_network *network)
{
    *network = (struct fake_network){.base = {.connect = connect_to,
                                              .lookup = look_up,
                                              .original = find_original,
                                              .lookup_never_blocks = true}};
}

void network_fini(struct fake_network *network)
{
    while (network->origins != NULL) {
        struct peer *peer = network->origins;
        network->origins = peer->next;
        peer_free(peer);
    }
    while (network->places != NULL) {
        struct net_place *place = network->places;
        network->places = place->next;
        free(place);
    }
}

struct peer *network_claim(struct fake_network *network, const char *host, uint16_t port)
{
    struct net_place *place = find_host(network, host);

    for (struct peer *peer = network->origins; place != NULL && peer != NULL; peer = peer->next)
        if (!peer->claimed && th_address_port(&peer->address) == port &&
            has_address(place, &peer->address)) {
            peer->claimed = true;
            return peer;
        }
    return NULL;
}
