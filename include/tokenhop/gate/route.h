/* Routes: from the URL of a request to the resource connection it belongs to (R9). Compiled once a
 * snapshot, immutable afterwards; any thread may look up.
 *
 * The most specific pattern wins: a host named in full before a wildcard, then the longest path; on
 * equal paths the request's own scheme. An http:// request also meets https:// patterns, both on
 * default ports or both on the same named one: it is carried over TLS then. */
#ifndef TOKENHOP_GATE_ROUTE_H
#define TOKENHOP_GATE_ROUTE_H

#include "tokenhop/config/model.h"
#include "tokenhop/http/url.h"

struct th_routes;

struct th_route {
    const struct th_config_connection *connection;
    const struct th_config_pattern *pattern; /* the connection's that won */
    enum th_scheme scheme;                   /* how the origin is spoken to */
    uint16_t port;
    /* 16 bytes each, of the connection and then of its variants: the agent's half of the cache's key; NULL: the
     * agent may not use it */
    const uint8_t *scope;
};

/* `config` is held while the routes live. */
int th_routes_new(struct th_config *config, struct th_routes **ret_routes) TH_MUST;
struct th_routes *th_routes_free(struct th_routes *routes); /* NULL is fine; returns NULL */

enum th_route_result {
    TH_ROUTE_NONE,    /* no connection has a pattern at this origin */
    TH_ROUTE_NO_PATH, /* the origin has patterns, but none for this path */
    TH_ROUTE_FOUND
};

enum th_route_result th_route_find(const struct th_routes *routes, const struct th_url *url,
                                   const struct th_config_agent *agent, struct th_route *ret_route);

/* Whether the origin, which decodes the path, would see it under another pattern than
 * th_route_find() does ("/%61dmin" is "/admin"). */
bool th_route_depends_on_encoding(const struct th_routes *routes, const struct th_url *url);

/* What a pattern is to a URL, for whoever asks why a request went where it did. `winner` is that of
 * th_route_find(), or NULL. */
enum th_route_verdict {
    TH_ROUTE_WON,
    TH_ROUTE_OTHER_HOST,
    TH_ROUTE_OTHER_PORT,
    TH_ROUTE_CLEARTEXT_ONLY, /* an https:// request never meets an http:// pattern */
    TH_ROUTE_OTHER_PATH,
    /* It matches, but is not the most specific one. */
    TH_ROUTE_WILDCARD,     /* the winner names the host in full */
    TH_ROUTE_SHORTER_PATH, /* the winner's path is longer */
    TH_ROUTE_OTHER_SCHEME  /* the winner has the request's own scheme */
};
enum th_route_verdict th_route_judge(const struct th_config_pattern *pattern,
                                     const struct th_url *url,
                                     const struct th_config_pattern *winner);

/* Whether plain HTTP sent to that host and port, whatever the path, could meet a connection: what
 * a CONNECT tunnel for HTTP in clear is opened for. */
bool th_route_has_clear_origin(const struct th_routes *routes, const struct th_url *authority);

/* Whether TLS to that host and port, whatever the path, could: what is intercepted, and nothing
 * else is. */
bool th_route_has_secure_origin(const struct th_routes *routes, const struct th_url *authority);

/* Whether a path matches a pattern's, itself or below it on whole segments, once both are decoded; and leniently:
 * as some origins read it, without parameters of segments (";v=1"), whatever the case of letters, and decoded
 * twice. */
bool th_route_path_matches_decoded(struct th_str pattern, struct th_str path, bool leniently);

/* Whether a pattern is at the URL's origin (its scheme, host and port), whatever the path. */
bool th_route_pattern_is_at(const struct th_config_pattern *pattern, const struct th_url *url);
/* Whether a pattern matches a URL of its own scheme; for the list of `unmatched`. */
bool th_route_pattern_matches(const struct th_config_pattern *pattern, const struct th_url *url);
/* Whether the pattern is at that origin, tells its paths apart, and the origin may read the URL's in
 * another way than th_route_pattern_matches() does. */
bool th_route_pattern_is_ambiguous(const struct th_config_pattern *pattern,
                                   const struct th_url *url);

#endif
