/* CONNECT. What it opens is one of two:
 *
 *   served   for a connection's host, or for plain HTTP that is forwarded: the session goes on after the
 *            200, and each request inside is a hop like any other, for the tunnel's authority and no
 *            other (R19, R20)
 *   plain    for what `unmatched` forwards: the CONNECT's own hop dials and relays bytes until both
 *            sides have ended (hop_tunnel.c)
 *
 * Private to the room. */
#ifndef TOKENHOP_PROXY_TUNNEL_H
#define TOKENHOP_PROXY_TUNNEL_H

#include "hop.h"

/* What a CONNECT has named; owned by its session, and ends with it. */
struct th_tunnel {
    uint16_t port;
    uint8_t host_len;
    bool is_ipv6;
    struct th_caller_proof_shown shown; /* by the CONNECT; holds for each request inside */
    char host[];                        /* normal form */
};

/* The gate's answer to a CONNECT: on to an answer, of ours or the 200, or to the origin. */
enum th_hop_step th_tunnel_open(struct th_hop *hop);
/* NULL is fine. Returns NULL. */
struct th_tunnel *th_tunnel_free(struct th_tunnel *tunnel, struct th_proxy_desk *desk);
/* The URL of a request inside the session's tunnel to hop->url: origin-form with a Host that is the tunnel's authority,
 * or absolute-form of the same. TH_E_MISDIRECTED for another authority, TH_E_BAD_TARGET. */
int th_tunnel_read_url(struct th_hop *hop) TH_MUST;
/* Whether the first byte inside begins a TLS record, which is not served. */
bool th_tunnel_is_tls(const struct th_hop *hop);

#endif
