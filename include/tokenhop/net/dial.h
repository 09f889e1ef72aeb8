/* Dialing: from a host and port to a connected descriptor: resolve (off the loop, cached), check
 * each address (R8: on the address that is connected to, after resolution, once, and exactly that
 * address is used), connect with fallback from family to family (RFC 8305: the next address is
 * started after 250 ms or on failure; the first made wins).
 *
 * Where `only` is given, of the host's addresses that one alone is connected to, on the request's port;
 * TH_E_OTHER_DESTINATION where it is none of them.
 *
 * Embedded in its owner. The worker's thread only. `fn` is never called from inside
 * th_dial_start(), nor after th_dial_cancel(). */
#ifndef TOKENHOP_NET_DIAL_H
#define TOKENHOP_NET_DIAL_H

#include "tokenhop/net/address.h"
#include "tokenhop/net/resolver.h"
#include "tokenhop/net/worker.h"

#define TH_DIAL_ATTEMPTS 2  /* under way at one time */
#define TH_DIAL_ADDRESSES 8 /* of one name that are tried */

struct th_dial;
/* `fd` is connected, non-blocking, TCP_NODELAY, and the receiver's; -1 with an error
 * (TH_E_ORIGIN_*, TH_E_EGRESS_DENIED when no address was permitted). */
typedef void th_dial_fn(struct th_dial *dial, int error, int fd, const struct th_address *address);
/* 0 when the address may be connected to, else the error. */
typedef int th_dial_permit_fn(void *arg, const struct th_address *address);

struct th_dial_request {
    struct th_str host; /* normal form; IPv6 literal without brackets; copied */
    uint16_t port;
    int64_t deadline_ms;           /* monotonic, of the whole */
    const struct th_address *only; /* its port does not count; NULL: any of the host's; copied */
    th_dial_permit_fn *permit;
    void *permit_arg;
    th_dial_fn *fn;
};

struct th_dial_attempt {
    struct event *event;
    struct th_dial *dial;
    int fd;
    struct th_address address;
};

struct th_dial {
    struct th_worker *worker;
    struct th_resolve resolve;
    struct th_timer deadline;
    struct th_timer next; /* when the next address is started */
    struct th_address addresses[TH_DIAL_ADDRESSES];
    size_t n_addresses;
    size_t next_address;
    struct th_address only; /* of the family AF_UNSPEC: any */
    struct th_dial_attempt attempts[TH_DIAL_ATTEMPTS];
    th_dial_permit_fn *permit;
    void *permit_arg;
    th_dial_fn *fn;
    struct th_soon soon; /* tells what was known before th_dial_start() had returned */
    int won_fd;          /* meanwhile; else -1 */
    struct th_address won_address;
    int last_error;
    bool active;
    bool starting;
    bool connected_any; /* a connection was tried: some address was permitted */
};

void th_dial_start(struct th_dial *dial, struct th_worker *worker,
                   const struct th_dial_request *request);
void th_dial_cancel(struct th_dial *dial); /* not active is fine */

#endif
