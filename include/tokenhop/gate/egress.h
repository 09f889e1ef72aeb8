/* Egress: which addresses may be connected to (R8, R10). Asked by the dialer for each address,
 * after resolution, once; exactly that address is used then.
 *
 *   a connection's host   public and private addresses; loopback only where egress.allow names it
 *   unmatched             public addresses, and egress.allow
 *   never                 multicast, unspecified, broadcast, reserved, unless egress.allow names
 * them; link-local and other addresses of metadata services, unless it names the very address: no
 * network that holds one means it; our own listeners, whatever is allowed
 *
 * IPv4 inside IPv6 (mapped, compatible, NAT64 64:ff9b::/96, 6to4, Teredo is refused) is judged by
 * the IPv4 address. */
#ifndef TOKENHOP_GATE_EGRESS_H
#define TOKENHOP_GATE_EGRESS_H

#include "tokenhop/config/model.h"
#include "tokenhop/net/address.h"

enum th_address_class {
    TH_ADDRESS_PUBLIC,
    TH_ADDRESS_PRIVATE, /* RFC 1918, shared 100.64/10, unique-local */
    TH_ADDRESS_LOOPBACK,
    TH_ADDRESS_METADATA, /* link-local, and where metadata services are elsewhere */
    TH_ADDRESS_FORBIDDEN
};

enum th_address_class th_egress_classify(const struct th_address *address);

/* 0, or TH_E_EGRESS_DENIED, or TH_E_LOOP for a listener of our own. */
int th_egress_permit(const struct th_config_view *config, bool matched,
                     const struct th_address *address) TH_MUST;

/* Whether a connection to `address` would come to what listens there (R10). */
bool th_egress_meets(const struct th_address *listener, const struct th_address *address);

#endif
