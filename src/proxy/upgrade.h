/* Switching protocols (RFC 9110, 7.8; RFC 6455). What a client asks for is passed on but for h2c, TLS and
 * HTTP itself: what would follow is not looked into, and requests inside of it would be anybody's. A
 * WebSocket is asked for by a whole handshake, or not at all; and it is granted by the answer to that very
 * handshake, so that no server that only happens to answer 101 opens a way through. Private to the room. */
#ifndef TOKENHOP_PROXY_UPGRADE_H
#define TOKENHOP_PROXY_UPGRADE_H

#include "tokenhop/http/http1.h"

/* Whether the request asks for anything that is passed on. */
bool th_upgrade_is_asked(const struct th_head *request);
/* Whether it asks for a WebSocket. */
bool th_upgrade_is_websocket(const struct th_head *request);
/* Connection and Upgrade, with what is passed on of what the request asks for. */
void th_upgrade_write(const struct th_head *request, struct th_writer *w);
/* Whether the 101 switches to what the request asked for, and to nothing else. */
bool th_upgrade_is_granted(const struct th_head *request, const struct th_head *response);
/* Connection and Upgrade of an answer that says what is or may be switched to (101, 426), where it says
 * anything that would be passed on. */
void th_upgrade_write_offer(const struct th_head *response, struct th_writer *w);

#endif
