/* The PROXY protocol, versions 1 and 2 (haproxy's proxy-protocol.txt): what a proxy before us says of the
 * connection that it took, before the first byte of it. Strict: what two readers may read in two ways is
 * refused. Any thread; no allocation. */
#ifndef TOKENHOP_NET_PROXY_HEADER_H
#define TOKENHOP_NET_PROXY_HEADER_H

#include "tokenhop/net/address.h"

#define TH_PROXY_HEADER_V1_MAX 107  /* 2.1, with its CRLF */
#define TH_PROXY_HEADER_V2_MAX 4096 /* it may say 64 KiB; nobody needs as much */

struct th_proxy_header {
    size_t len;   /* of the header; the connection's own bytes follow */
    bool is_told; /* who the client is. Else: */
    bool
        is_local; /* the proxy speaks for itself (LOCAL); false: for a client unknown (UNKNOWN, UNSPEC) */
    int version;              /* 1, 2 */
    struct th_address source; /* who the client is; a unix socket's has the family only */
};

/* 0; TH_AGAIN: it may become one, more bytes are needed; TH_E_BAD_REQUEST, and *ret_why (constant text).
 * That it is none is told by the first byte that is wrong, and what is too long by its length. */
int th_proxy_header_parse(const void *bytes, size_t len, struct th_proxy_header *ret_header,
                          const char **ret_why) TH_MUST;

#endif
