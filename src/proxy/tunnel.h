/* CONNECT. What it opens is one of two:
 *
 *   served   for a connection's host, or for plain HTTP that is forwarded: the session goes on after the
 *            200. The first bytes tell whether TLS is intercepted (intercept.c) or HTTP is spoken in
 *            clear; then each request inside is a hop like any other, for the tunnel's authority and
 *            no other (R19, R20)
 *   plain    for what `unmatched` forwards: the CONNECT's own hop dials and relays bytes until both
 *            sides have ended (hop_tunnel.c)
 *
 * A connection that the kernel has redirected here (mode transparent, original.c) is a tunnel that nobody
 * asked for: to the address that it was going to, until its first bytes name a host. What is in it is
 * known by its first bytes in any case:
 *
 *   HTTP in clear  each request is a hop, and its Host names the host
 *   TLS            the server name does. It is intercepted for a connection's host; for what `unmatched`
 *                  forwards a hop without a request carries it on, as in a plain tunnel
 *
 * Private to the room. */
#ifndef TOKENHOP_PROXY_TUNNEL_H
#define TOKENHOP_PROXY_TUNNEL_H

#include "hop.h"
#include "tokenhop/intercept/hello.h"
#include "tokenhop/intercept/interceptor.h"

/* How far a served one has come. */
enum th_tunnel_stage {
    TH_TUNNEL_SILENT,    /* nothing has come through it */
    TH_TUNNEL_HELLO,     /* a TLS record has; the message is not whole */
    TH_TUNNEL_BARE,      /* it is for no connection, and the next hop's (original.c) */
    TH_TUNNEL_NAMED,     /* a certificate is wanted */
    TH_TUNNEL_LEAF,      /* it is being made */
    TH_TUNNEL_HANDSHAKE, /* of TLS */
    TH_TUNNEL_OPEN       /* requests come */
};

/* What a CONNECT, or a redirected connection, has named; owned by its session, and ends with it. */
struct th_tunnel {
    struct th_session *session;
    struct th_interceptor *interceptor; /* NULL: TLS inside is for no connection, and refused */
    struct th_leaf *leaf;
    struct th_leaf_waiter waiter;
    uint16_t port;
    uint8_t stage;  /* enum th_tunnel_stage */
    uint8_t scheme; /* enum th_scheme: of the requests inside */
    bool timed;     /* the session's timer was set for what comes before the first request */
    bool counted;   /* for limits.tunnels */
    bool redirected;
    uint8_t host_len;
    bool is_ipv6;
    struct th_caller_proof_shown shown; /* by the CONNECT; holds for each request inside */
    struct th_address original;         /* if it was redirected: from there */
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
/* Makes the session's tunnel; one that it has gives way, and lends it all but the host. */
int th_tunnel_name(struct th_session *session, const struct th_url *authority) TH_MUST;
/* It is one for limits.tunnels now: 0, or TH_E_OVERLOADED. */
int th_tunnel_count_session(struct th_session *session) TH_MUST;
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

/* Alerts (RFC 8446, 6). */
enum {
    TH_ALERT_BAD_CERTIFICATE = 42,
    TH_ALERT_CERTIFICATE_UNKNOWN = 46,
    TH_ALERT_UNKNOWN_CA = 48,
    TH_ALERT_ACCESS_DENIED = 49,
    TH_ALERT_DECODE_ERROR = 50,
    TH_ALERT_INTERNAL_ERROR = 80,
    TH_ALERT_UNRECOGNIZED_NAME = 112
};

/* What comes before the first request in a served tunnel. */
enum th_intercept_step th_intercept_run(struct th_session *session);
/* It did not come in time. The session is the caller's to close. */
void th_intercept_time_out(struct th_session *session);
/* Before TLS has begun on our side: says so to the client and the log. `name`: what it asked for. */
enum th_intercept_step th_intercept_refuse(struct th_session *session, uint8_t alert,
                                           const char *reason, struct th_str name);

/* --- original.c --- */

/* A connection has come to a transparent listener: finds out where it was going. The session is closed
 * where that is nowhere but here. */
void th_original_begin(struct th_session *session);
/* The first bytes of a redirected connection are there. False: it is not to be served, and logged. */
bool th_original_is_served(struct th_session *session, bool is_tls);
/* A redirected TLS client has said whom it means. */
enum th_intercept_step th_original_got_hello(struct th_session *session,
                                             const struct th_hello *hello);
/* The hop of a TLS connection that is not intercepted: on to the origin, or to an alert. */
enum th_hop_step th_original_decide(struct th_hop *hop);
/* In place of an answer, which nobody could read. */
void th_original_write_alert(const struct th_hop *hop, struct th_writer *w);
/* The URL of a request in clear to hop->url, by its Host. TH_E_MISDIRECTED for another port, or another
 * authority in absolute-form; TH_E_BAD_TARGET. */
int th_original_read_url(struct th_hop *hop) TH_MUST;
/* Where alone the hop may be sent; NULL: to any address of its host. */
const struct th_address *th_original_only(const struct th_hop *hop);

#endif
