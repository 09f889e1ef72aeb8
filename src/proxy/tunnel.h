/* CONNECT, as far as what comes through is HTTP in clear (R20): many clients tunnel plain http:// requests
 * this way. The session goes on after the 200; each request inside is a hop like any other, for the tunnel's
 * authority and no other. Private to the room. */
#ifndef TOKENHOP_PROXY_TUNNEL_H
#define TOKENHOP_PROXY_TUNNEL_H

#include "hop.h"

/* What a CONNECT has named; owned by its session. */
struct th_tunnel {
    uint16_t port;
    uint8_t host_len;
    bool is_ipv6;
    char host[]; /* normal form */
};

/* The gate's answer to a CONNECT: on to an answer, of ours or the 200. */
enum th_hop_step th_tunnel_open(struct th_hop *hop);
/* The URL of a request inside the session's tunnel to hop->url: origin-form with a Host that is the tunnel's authority,
 * or absolute-form of the same. TH_E_MISDIRECTED for another authority, TH_E_BAD_TARGET. */
int th_tunnel_read_url(struct th_hop *hop) TH_MUST;
/* Whether the first byte inside begins a TLS record, which is not served. */
bool th_tunnel_is_tls(const struct th_hop *hop);

#endif
