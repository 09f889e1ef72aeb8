/* Where a redirected connection was going: th_network's `original` of the real network. Private to the
 * room. */
#ifndef TH_NET_ORIGINAL_H
#define TH_NET_ORIGINAL_H

#include "tokenhop/net/network.h"

int th_original_find(struct th_network *network, int fd, bool by_tproxy,
                     struct th_address *ret_address) TH_MUST;

#endif
