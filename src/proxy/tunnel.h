/* CONNECT. What it opens is one of two:
 *
 *   served   for a connection's host, or for plain HTTP that is forwarded: the session goes on after the
 *            200. The first bytes tell whether TLS is intercepted (intercept.c) or HTTP is spoken in
 *            clear; then each request inside is a hop like any other, for the tunnel's authority and
 *            no other (R19, R20)
 *   plain    for what `unmatched` forwards: the CONNECT's own hop dials and relays bytes until both
 *            sides have ended (hop_tunnel.c)
 *
 * Private to the room. */
#ifndef TOKENHOP_PROXY_TUNNEL_H
#define TOKENHOP_PROXY_TUNNEL_H

#include "hop.h"
#include "tokenhop/intercept/interceptor.h"

/* How far a served one has come. */
enum th_tunnel_stage {
    TH_TUNNEL_SILENT,    /* nothing has come through it */
    TH_TUNNEL_HELLO,     /* a TLS record has; the message is not whole */
    TH_TUNNEL_LEAF,      /* a certificate is being made */
    TH_TUNNEL_HANDSHAKE, /* of TLS */
    TH_TUNNEL_OPEN       /* requests come */
};

/* What a CONNECT has named; owned by its session, and ends with it. */
struct th_tunnel {
    struct th_session *session;
    struct th_interceptor *interceptor; /* NULL: TLS inside is for no connection, and refused */
    struct th_leaf *leaf;
    struct th_leaf_waiter waiter;
    uint16_t port;
    uint8_t stage;  /* enum th_tunnel_stage */
    uint8_t scheme; /* enum th_scheme: of the requests inside */
    bool timed;     /* the session's timer was set for what comes before the first request */
    uint8_t host_len;
    bool is_ipv6;
    struct th_caller_proof_shown shown; /* by the CONNECT; holds for each request inside */
    char host[];                        /* normal form */
};

static inline struct th_str th_tunnel_host(const struct th_tunnel *tunnel)
{
    return (struct th_str){tunnel->host, tunnel->host_len};
}

/* The gate's answer to a CONNECT: on to an answer, of ours or the 200, or to the origin. */
enum th_hop_step th_tunnel_open(struct th_hop *hop);
/* Counts the hop among limits.tunnels, where its session is not one of them already: 0, TH_E_OVERLOADED. */
int th_tunnel_count(struct th_hop *hop) TH_MUST;
/* No more. Twice is fine. */
void th_tunnel_uncount(struct th_hop *hop);
/* hop_tunnel.c: the origin's 101 lies parsed in hop->response: the hop goes to the state in which bytes move
 * both ways. TH_E_ORIGIN_PROTOCOL: it switches to what was not asked for. TH_E_CANCELLED: the client has
 * gone. */
int th_tunnel_switch(struct th_hop *hop) TH_MUST;
/* NULL is fine. Returns NULL. */
struct th_tunnel *th_tunnel_free(struct th_tunnel *tunnel, struct th_proxy_desk *desk);
/* The URL of a request inside the session's tunnel to hop->url: origin-form with a Host that is the tunnel's authority,
 * or absolute-form of the same. TH_E_MISDIRECTED for another authority, TH_E_BAD_TARGET. */
int th_tunnel_read_url(struct th_hop *hop) TH_MUST;

/* --- intercept.c --- */

enum th_intercept_step {
    TH_INTERCEPT_OPEN,    /* a request may be read */
    TH_INTERCEPT_WAIT,    /* an event will tell, or the session is closed */
    TH_INTERCEPT_REFUSED, /* say goodbye */
};

/* What comes before the first request in a served tunnel. */
enum th_intercept_step th_intercept_run(struct th_session *session);
/* It did not come in time. The session is the caller's to close. */
void th_intercept_time_out(struct th_session *session);

#endif
