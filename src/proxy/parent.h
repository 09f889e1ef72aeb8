/* Another proxy on the way to an origin (docs/parent-proxy.md). What is in cleartext is asked of it by
 * absolute-form; all else goes through a tunnel of it:
 *
 *     dialed -> (TLS with the parent) -> CONNECT asked -> opened -> (TLS with the origin) -> send
 *
 * What it answers is parsed as strictly as an origin's (R4), and its credentials are for it alone: they are
 * never in what goes through its tunnels. Private to the room. */
#ifndef TOKENHOP_PROXY_PARENT_H
#define TOKENHOP_PROXY_PARENT_H

#include "hop.h"
#include "tokenhop/config/parent.h"

enum th_parent_stage {
    TH_PARENT_NONE,      /* not reached yet, or there is none */
    TH_PARENT_HANDSHAKE, /* of TLS with it */
    TH_PARENT_ASKED,     /* CONNECT is on its way, or its answer */
    TH_PARENT_OPEN       /* the way through it is open */
};

/* The parent on the way that the key describes. */
const struct th_config_parent *th_parent_of_key(const struct th_config_view *config,
                                                const struct th_origin_key *key);
/* The same for the hop: completes the key. */
void th_parent_fill_key(const struct th_hop *hop, struct th_origin_key *key);
/* Whether the destination may be named to its parent, which resolves names by itself: what can be judged
 * without resolving them (R8), and that no credential goes through it in cleartext. 0 where there is none;
 * TH_E_EGRESS_DENIED, TH_E_LOOP, TH_E_CLEARTEXT_DENIED. */
int th_parent_permit(const struct th_config_view *config, const struct th_origin_key *key) TH_MUST;

/* The parent has been dialed, hop->origin is the connection. 0; an error. */
int th_parent_begin(struct th_hop *hop) TH_MUST;
/* An event of that connection, and no handshake runs on it: 0 there is nothing more to do; TH_AGAIN; an
 * error; TH_PARENT_OPENED: now it leads to the origin, and TLS with that one may begin. */
#define TH_PARENT_OPENED 1
int th_parent_go_on(struct th_hop *hop) TH_MUST;
/* The way was not opened: logged, as the caller learns less. What to tell it. */
const char *th_parent_tell_failure(const struct th_hop *hop, int error, const char *reason);

/* Whether requests on that connection are for the parent: with the whole URL. */
static inline bool th_parent_is_asked(const struct th_origin *origin)
{
    return origin->parent != NULL && !origin->by_connect;
}
void th_parent_add_authorization(const struct th_config_parent *parent, struct th_writer *w);
/* The head of a final response, which may be the parent's own: TH_E_PARENT_REFUSED where it asks for
 * credentials, which are not the caller's to give. Else 0. */
int th_parent_judge(const struct th_hop *hop) TH_MUST;

#endif
