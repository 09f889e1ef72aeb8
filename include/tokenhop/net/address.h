/* An internet address with its port, and short lists of them. Values; no allocation; any thread. */
#ifndef TOKENHOP_NET_ADDRESS_H
#define TOKENHOP_NET_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "tokenhop/base/error.h"
#include "tokenhop/base/str.h"

struct th_address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
};

/* Of one name: more than are ever tried, as all of them say what belongs to it. */
#define TH_ADDRESSES_MAX 32
struct th_addresses {
    size_t count;
    struct th_address items[TH_ADDRESSES_MAX];
};

#define TH_ADDRESS_TEXT_MAX 64 /* "[...]:65535" and the NUL */

/* A literal: four decimals, or IPv6 without brackets and zone. TH_E_BAD_TARGET when it is neither.
 */
int th_address_parse(struct th_str host, uint16_t port, struct th_address *ret_address) TH_MUST;
int th_address_from_sockaddr(const struct sockaddr *sa, socklen_t len,
                             struct th_address *ret_address) TH_MUST;
socklen_t th_address_len(const struct th_address *address);
uint16_t th_address_port(const struct th_address *address);
void th_address_format(const struct th_address *address, char ret_text[TH_ADDRESS_TEXT_MAX]);
bool th_address_equal(const struct th_address *a, const struct th_address *b); /* port included */
bool th_address_is_same_host(const struct th_address *a, const struct th_address *b); /* without */
/* The 128-bit form: IPv4 as ::ffff:a.b.c.d. */
void th_address_to_v6(const struct th_address *address, struct in6_addr *ret_v6);
/* 127.0.0.0/8, ::1 and the mapped form of the former. */
bool th_address_is_loopback(const struct th_address *address);
/* Whether what is sent there stays on this machine, by whichever of its interfaces' addresses. Asks the kernel, which
 * answers at once; where it cannot be asked, yes. */
bool th_address_is_of_this_machine(const struct th_address *address);

#endif
