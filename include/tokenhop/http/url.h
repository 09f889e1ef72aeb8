/* URLs of request targets in normal form (R7, R9). What is malformed or can be read in two ways is
 * refused, not repaired; letters of scheme and host are lowered and an IPv6 literal is put in the
 * form of RFC 5952, nothing else changes. */
#ifndef TOKENHOP_HTTP_URL_H
#define TOKENHOP_HTTP_URL_H

#include <stdbool.h>
#include <stdint.h>

#include "tokenhop/base/error.h"
#include "tokenhop/base/str.h"

#define TH_URL_HOST_MAX 255

enum th_scheme { TH_SCHEME_HTTP, TH_SCHEME_HTTPS };

struct th_url {
    enum th_scheme scheme;
    /* normal form; an IPv6 literal without brackets; in host_room or in the text */
    struct th_str host;
    bool host_is_literal; /* an address, not a name */
    bool host_is_ipv6;
    uint16_t port;   /* the scheme's default filled in */
    bool port_named; /* the text had one */
    /* what goes on the wire: begins with '/'; "/" when the text had no path */
    struct th_str path_query;
    struct th_str path; /* path_query up to '?' */
    char host_room[TH_URL_HOST_MAX + 1];
};

uint16_t th_scheme_port(enum th_scheme scheme);
struct th_str th_scheme_text(enum th_scheme scheme);

/* absolute-form: "http://host[:port][/path][?query]". The pieces point into `text` (and into
 * ret_url itself: do not copy the struct). TH_E_BAD_TARGET. A fragment, userinfo, empty host, bad
 * port, bytes outside of RFC 3986's set, percent signs without two hexadecimal digits are refused
 * here, and so is a query without a path. Queries may hold
 * "[]{}|\\^`" besides, which browsers and Node send as they are; nothing is decided by a query. */
int th_url_parse(struct th_str text, struct th_url *ret_url) TH_MUST;
/* The same of "ws://..." and "wss://...", which name what is asked for by http:// and https:// (RFC 6455,
 * 3): some WebSocket clients send them to a proxy as they are. */
int th_url_parse_websocket(struct th_str text, struct th_url *ret_url) TH_MUST;
/* "host[:port]" of CONNECT (port required) or of a Host field (port optional). Fills host, port,
 * port_named; port is 0 when the text has none. */
int th_url_parse_authority(struct th_str text, bool port_required, struct th_url *ret_url) TH_MUST;
/* origin-form: "/path[?query]". Fills path_query and path, as th_url_parse() does. */
int th_url_parse_path_query(struct th_str text, struct th_url *ret_url) TH_MUST;

/* Whether two servers may read the path in two ways (R9): dot segments, encoded dot, slash,
 * backslash, NUL or other control, "//", backslash, parameters on dot segments (";" after "." or
 * ".."); the same encoded twice or as overlong UTF-8. Asked on origins with any mapping. */
bool th_url_path_is_ambiguous(struct th_str path);

/* "host[:port]" for a Host field: brackets for IPv6, the port only where it isn't the scheme's own.
 * Returns the length, or 0 when `size` is too small. */
size_t th_url_write_authority(const struct th_url *url, char *room, size_t size);

#endif
