/* Connections to origins, and the pool of those that are idle. A connection serves one hop at a time;
 * the credential is the request's, never the connection's (R15). What an idle one sends unasked, or its
 * end, closes it (R4). */
#ifndef TOKENHOP_PROXY_ORIGIN_H
#define TOKENHOP_PROXY_ORIGIN_H

#include "tokenhop/base/hash.h"
#include "tokenhop/http/url.h"
#include "tokenhop/net/address.h"
#include "tokenhop/net/stream.h"

struct th_hop;
struct th_proxy_desk;
struct th_config_connection;
struct th_config_parent;

/* Which origin connections may serve which hops: those of one resource connection (so that what its
 * egress rules allow holds for all of them), or the unmatched ones (NULL). */
struct th_origin_key {
    const struct th_config_connection *connection;
    enum th_scheme scheme;
    uint16_t port;
    /* Whether what goes over it bears a credential: the address of such a connection was permitted
     * for that, which in cleartext is loopback unless allowed. */
    bool for_credential;
    struct th_str host;
    /* The proxy that it goes through; NULL: none. `by_connect`: through a tunnel of it, which leads to
     * this origin alone, as ever for https; else it is asked for each URL. */
    const struct th_config_parent *parent;
    bool by_connect;
    const struct th_address
        *only; /* to that address alone, on the port; NULL: to any of the host's */
};

struct th_snapshot_use;
struct th_config_view;

/* Whether connections of that key may go to the address (of the parent, where there is one): 0,
 * TH_E_EGRESS_DENIED, TH_E_LOOP, or TH_E_CLEARTEXT_DENIED. Asked before one is made, and again when
 * it is to serve another configuration (R8). */
int th_origin_permit(const struct th_config_view *config, const struct th_origin_key *key,
                     const struct th_address *address) TH_MUST;

struct th_origin {
    uint32_t magic;
    struct th_stream stream;
    struct th_proxy_desk *desk;
    struct th_hop *hop;    /* whom it serves; NULL: idle in the pool */
    struct th_chunk *in;   /* bytes received; NULL: none */
    struct th_list idle;   /* in the pool's order of age */
    struct th_list bucket; /* in the pool's bucket */
    struct th_grave grave;
    struct th_snapshot_use *use; /* holds `connection` and `tls` */
    struct th_tls_context *tls;  /* what it was verified by; NULL: in cleartext */
    const struct th_config_connection *connection;
    const struct th_config_parent *parent; /* NULL: none */
    struct th_tls_context *parent_tls;     /* what that one was verified by; NULL: in cleartext */
    bool by_connect;
    struct th_own_end *own_end;
    uint64_t hash;
    int64_t idle_since_ms;
    struct th_address address;
    uint32_t n_hops;     /* served before */
    uint64_t taken_turn; /* of the worker, when it was taken from the pool */
    uint16_t port;
    uint8_t scheme;
    bool for_credential;
    uint8_t host_len;
    char host[];
};

#define TH_ORIGIN_BUCKETS 256

struct th_origin_pool {
    struct th_proxy_desk *desk;
    struct th_hash_key hash_key;
    struct th_list buckets[TH_ORIGIN_BUCKETS]; /* newest first: the warmest is taken */
    struct th_list idle;                       /* oldest first */
    size_t n_idle;
    struct th_timer timer;
};

void th_origin_pool_init(struct th_origin_pool *pool, struct th_proxy_desk *desk);
/* Closes the idle ones; more may follow. */
void th_origin_pool_clear(struct th_origin_pool *pool);
/* The desk's configuration has changed: the idle ones that it permits as well, at the same connection
 * and verified by the same certificates, serve on; all others are closed. Those in use are looked at
 * when they are given back. */
void th_origin_pool_renew(struct th_origin_pool *pool);

/* Takes an idle connection for that key, or NULL. */
struct th_origin *th_origin_take(struct th_origin_pool *pool, const struct th_origin_key *key,
                                 struct th_hop *hop);
/* A new one around the connected descriptor, which it takes over in any case. */
int th_origin_new(struct th_proxy_desk *desk, const struct th_origin_key *key,
                  struct th_snapshot_use *use, int fd, const struct th_address *address,
                  struct th_hop *hop, struct th_origin **ret_origin) TH_MUST;
/* The hop is done with it and both sides agree to go on: back to the pool, or closed when that is full. */
void th_origin_give(struct th_origin *origin);
/* Closes and, at the end of the turn, frees. NULL is fine. Returns NULL. */
struct th_origin *th_origin_close(struct th_origin *origin);
/* The same, so that the origin sees a cut. */
struct th_origin *th_origin_reset(struct th_origin *origin);

#endif
