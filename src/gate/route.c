#include "tokenhop/gate/route.h"

#include "tokenhop/base/check.h"
#include "tokenhop/base/hash.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/random.h"
#include "tokenhop/token/broker.h"

#define SCOPE_LEN 16

/* One pattern of one connection. All patterns of one (scheme, host, port, wildcard) hang on one
 * place, longest path first. */
struct entry {
    struct entry *next;
    const struct th_config_pattern *pattern;
    const struct th_config_connection *connection;
};

struct place {
    struct th_hash_node node;
    const struct th_config_pattern *pattern; /* any of them: the place's own name */
    struct entry *entries;
};

struct th_routes {
    struct th_config *config;
    const struct th_config_view *view;
    struct th_hash_key hash_key;
    struct th_hash_table places;
    struct place *place_room;
    struct entry *entry_room;
    size_t n_places;
    uint8_t *scopes; /* [connection][agent][variant][SCOPE_LEN] */
    size_t *first;   /* [connection]: of `scopes`, in units of SCOPE_LEN */
    bool *allowed;   /* [connection][agent] */
    bool any_wildcard;
};

struct place_key {
    enum th_scheme scheme;
    struct th_str host;
    uint16_t port;
    bool wildcard;
};

static enum th_scheme pattern_scheme(const struct th_config_pattern *pattern)
{
    return th_str_equal(pattern->scheme, TH_STR("https")) ? TH_SCHEME_HTTPS : TH_SCHEME_HTTP;
}

static uint64_t hash_place(const struct th_routes *routes, const struct place_key *key)
{
    struct th_hash_key salted = routes->hash_key;

    salted.k1 ^= (uint64_t)key->port << 8 | (uint64_t)key->scheme << 1 | (key->wildcard ? 1 : 0);
    return th_hash_bytes(&salted, key->host.ptr, key->host.len);
}

static bool match_place(const struct th_hash_node *node, const void *arg)
{
    const struct place *place = TH_CONTAINER_OF((struct th_hash_node *)node, struct place, node);
    const struct place_key *key = arg;

    return place->pattern->port == key->port && place->pattern->wildcard == key->wildcard &&
           pattern_scheme(place->pattern) == key->scheme &&
           th_str_equal(place->pattern->host, key->host);
}

static struct place *find_place(const struct th_routes *routes, const struct place_key *key)
{
    struct th_hash_node *node =
        th_hash_table_find(&routes->places, hash_place(routes, key), match_place, key);

    return node != NULL ? TH_CONTAINER_OF(node, struct place, node) : NULL;
}

static int add_pattern(struct th_routes *routes, struct entry *entry)
{
    const struct th_config_pattern *pattern = entry->pattern;
    struct place_key key = {pattern_scheme(pattern), pattern->host, pattern->port,
                            pattern->wildcard};
    struct place *place = find_place(routes, &key);

    if (place == NULL) {
        place = &routes->place_room[routes->n_places++];
        place->pattern = pattern;
        int error = th_hash_table_insert(&routes->places, &place->node, hash_place(routes, &key));
        if (error < 0)
            return error;
    }
    struct entry **at = &place->entries;
    while (*at != NULL && (*at)->pattern->path.len >= pattern->path.len)
        at = &(*at)->next;
    entry->next = *at;
    *at = entry;
    routes->any_wildcard |= pattern->wildcard;
    return 0;
}

/* Of the connection itself; those of its variants follow. */
static uint8_t *find_scope(const struct th_routes *routes,
                           const struct th_config_connection *connection, size_t agent)
{
    return routes->scopes +
           (routes->first[connection->index] + agent * (connection->n_variants + 1)) * SCOPE_LEN;
}

static void fill_scopes(struct th_routes *routes)
{
    const struct th_config_view *view = routes->view;

    for (size_t c = 0; c < view->n_connections; c++) {
        const struct th_config_connection *connection = &view->connections[c];
        for (size_t i = 0; i < connection->n_agents; i++) {
            size_t agent = (size_t)(connection->agents[i] - view->agents);
            routes->allowed[c * view->n_agents + agent] = true;
            for (size_t v = 0; v <= connection->n_variants; v++)
                th_broker_scope(connection->agents[i], th_config_variant(connection, v),
                                find_scope(routes, connection, agent) + v * SCOPE_LEN);
        }
    }
}

int th_routes_new(struct th_config *config, struct th_routes **ret_routes)
{
    const struct th_config_view *view = th_config_get(config);
    size_t n_patterns = 0, n_scopes = 0;
    size_t pairs = view->n_connections * view->n_agents;

    for (size_t c = 0; c < view->n_connections; c++) {
        n_patterns += view->connections[c].n_patterns;
        n_scopes += (view->connections[c].n_variants + 1) * view->n_agents;
    }

    struct th_routes *routes = th_calloc(1, sizeof *routes);
    if (routes == NULL)
        return TH_E_NOMEM;
    routes->config = th_config_ref(config);
    routes->view = view;
    th_hash_table_init(&routes->places);
    th_random_bytes(&routes->hash_key, sizeof routes->hash_key);
    routes->place_room = th_calloc(n_patterns + 1, sizeof *routes->place_room);
    routes->entry_room = th_calloc(n_patterns + 1, sizeof *routes->entry_room);
    routes->scopes = th_calloc(n_scopes + 1, SCOPE_LEN);
    routes->first = th_calloc(view->n_connections + 1, sizeof *routes->first);
    routes->allowed = th_calloc(pairs + 1, sizeof *routes->allowed);
    if (routes->place_room == NULL || routes->entry_room == NULL || routes->scopes == NULL ||
        routes->first == NULL || routes->allowed == NULL) {
        th_routes_free(routes);
        return TH_E_NOMEM;
    }
    struct entry *entry = routes->entry_room;
    for (size_t c = 0; c < view->n_connections; c++)
        for (size_t p = 0; p < view->connections[c].n_patterns; p++, entry++) {
            entry->connection = &view->connections[c];
            entry->pattern = &view->connections[c].patterns[p];
            int error = add_pattern(routes, entry);
            if (error < 0) {
                th_routes_free(routes);
                return error;
            }
        }
    for (size_t c = 1; c < view->n_connections; c++)
        routes->first[c] =
            routes->first[c - 1] + (view->connections[c - 1].n_variants + 1) * view->n_agents;
    fill_scopes(routes);
    *ret_routes = routes;
    return 0;
}

struct th_routes *th_routes_free(struct th_routes *routes)
{
    if (routes == NULL)
        return NULL;
    th_hash_table_fini(&routes->places);
    th_free(routes->place_room);
    th_free(routes->entry_room);
    th_free(routes->scopes);
    th_free(routes->first);
    th_free(routes->allowed);
    th_config_unref(routes->config);
    th_free(routes);
    return NULL;
}

/* Of a path whose percent signs each have their two digits (th_url_parse() refuses others). */
static int take_decoded(const char **p, const char *end)
{
    unsigned value = 0;

    if (**p != '%' || end - *p < 3)
        return (unsigned char)*(*p)++;
    for (int i = 1; i <= 2; i++) {
        unsigned char c = (unsigned char)(*p)[i];
        value = value << 4 | (c <= '9' ? c - 0x30u : (c | 0x20u) - 0x61u + 10);
    }
    *p += 3;
    return (int)(value & 0xff);
}

static int hex_value(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* As those read it who decode what is decoded once more ("%2565" is "%65", is "e"). */
static int take_decoded_twice(const char **p, const char *end)
{
    int value = take_decoded(p, end), digits[2];
    const char *next = *p;

    if (value != '%')
        return value;
    for (int i = 0; i < 2; i++)
        if (next == end || (digits[i] = hex_value(take_decoded(&next, end))) < 0)
            return value;
    *p = next;
    return digits[0] << 4 | digits[1];
}

/* Past what some servers take for parameters of a segment: from ';' to its end. */
static const char *skip_parameters(const char *p, const char *end)
{
    const char *next = p;

    if (p == end || take_decoded_twice(&next, end) != ';')
        return p;
    const char *slash = memchr(p, '/', (size_t)(end - p));
    return slash != NULL ? slash : end;
}

static int fold(int c)
{
    return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

bool th_route_path_matches_decoded(struct th_str pattern, struct th_str path, bool leniently)
{
    if (pattern.len > 0 && pattern.ptr[pattern.len - 1] == '/')
        pattern.len--;
    const char *a = pattern.ptr, *a_end = a + pattern.len;
    const char *b = path.ptr, *b_end = b + path.len;
    while (a < a_end) {
        if (leniently)
            b = skip_parameters(b, b_end);
        if (b == b_end)
            return false;
        int wanted = leniently ? fold(take_decoded_twice(&a, a_end)) : take_decoded(&a, a_end);
        int is = leniently ? fold(take_decoded_twice(&b, b_end)) : take_decoded(&b, b_end);
        if (wanted != is)
            return false;
    }
    if (leniently)
        b = skip_parameters(b, b_end);
    return b == b_end || *b == '/';
}

/* th_config_path_covers() of what both are once decoded, as the origin reads them (RFC 3986, 2.4). */
static bool decoded_path_matches(struct th_str pattern, struct th_str path)
{
    return th_route_path_matches_decoded(pattern, path, false);
}

typedef bool match_fn(struct th_str pattern, struct th_str path);

static const struct entry *find_entry(const struct place *place, struct th_str path,
                                      match_fn *matches)
{
    for (const struct entry *entry = place->entries; entry != NULL; entry = entry->next)
        if (matches(entry->pattern->path, path))
            return entry;
    return NULL;
}

/* The best entry for one way of naming the host; of two schemes the longer path wins, else the
 * request's own. */
static const struct entry *find_at_host(const struct th_routes *routes, const struct th_url *url,
                                        struct th_str host, bool wildcard, match_fn *matches,
                                        bool *ret_any_place)
{
    struct place_key key = {url->scheme, host, url->port, wildcard};
    const struct place *place = find_place(routes, &key);
    const struct entry *best = place != NULL ? find_entry(place, url->path, matches) : NULL;

    *ret_any_place |= place != NULL;
    if (url->scheme == TH_SCHEME_HTTP) {
        key.scheme = TH_SCHEME_HTTPS;
        if (url->port == th_scheme_port(TH_SCHEME_HTTP))
            key.port = th_scheme_port(TH_SCHEME_HTTPS);
        place = find_place(routes, &key);
        const struct entry *secure = place != NULL ? find_entry(place, url->path, matches) : NULL;
        *ret_any_place |= place != NULL;
        if (secure != NULL && (best == NULL || secure->pattern->path.len > best->pattern->path.len))
            best = secure;
    }
    return best;
}

static const struct entry *find(const struct th_routes *routes, const struct th_url *url,
                                match_fn *matches, bool *ret_any_place)
{
    const struct entry *entry = find_at_host(routes, url, url->host, false, matches, ret_any_place);

    if (entry == NULL && routes->any_wildcard && !url->host_is_literal) {
        const char *dot = memchr(url->host.ptr, '.', url->host.len);
        if (dot != NULL && dot != url->host.ptr) {
            size_t skip = (size_t)(dot + 1 - url->host.ptr);
            struct th_str rest = {dot + 1, url->host.len - skip};
            entry = find_at_host(routes, url, rest, true, matches, ret_any_place);
        }
    }
    return entry;
}

bool th_route_depends_on_encoding(const struct th_routes *routes, const struct th_url *url)
{
    bool any_place = false;

    return memchr(url->path.ptr, '%', url->path.len) != NULL &&
           find(routes, url, th_config_path_covers, &any_place) !=
               find(routes, url, decoded_path_matches, &any_place);
}

enum th_route_result th_route_find(const struct th_routes *routes, const struct th_url *url,
                                   const struct th_config_agent *agent, struct th_route *ret_route)
{
    bool any_place = false;
    const struct entry *entry = find(routes, url, th_config_path_covers, &any_place);

    if (entry == NULL)
        return any_place ? TH_ROUTE_NO_PATH : TH_ROUTE_NONE;

    size_t agent_index = (size_t)(agent - routes->view->agents);
    size_t at = entry->connection->index * routes->view->n_agents + agent_index;
    ret_route->connection = entry->connection;
    ret_route->pattern = entry->pattern;
    ret_route->scheme = pattern_scheme(entry->pattern);
    ret_route->port = entry->pattern->port;
    ret_route->scope =
        routes->allowed[at] ? find_scope(routes, entry->connection, agent_index) : NULL;
    return TH_ROUTE_FOUND;
}

static bool host_matches(const struct th_config_pattern *pattern, const struct th_url *url)
{
    struct th_str host = url->host;

    if (pattern->wildcard) {
        const char *dot = memchr(host.ptr, '.', host.len);
        if (dot == NULL || dot == host.ptr || url->host_is_literal)
            return false;
        host.len -= (size_t)(dot + 1 - host.ptr);
        host.ptr = dot + 1;
    }
    return th_str_equal(host, pattern->host);
}

static bool has_clear_place(const struct th_routes *routes, struct th_str host, uint16_t port,
                            bool wildcard)
{
    struct place_key key = {TH_SCHEME_HTTP, host, port, wildcard};

    if (find_place(routes, &key) != NULL)
        return true;
    if (port != th_scheme_port(TH_SCHEME_HTTP))
        return false;
    key.scheme = TH_SCHEME_HTTPS; /* carried over TLS; on its own port a client would speak TLS */
    key.port = th_scheme_port(TH_SCHEME_HTTPS);
    return find_place(routes, &key) != NULL;
}

static bool has_secure_place(const struct th_routes *routes, struct th_str host, uint16_t port,
                             bool wildcard)
{
    struct place_key key = {TH_SCHEME_HTTPS, host, port, wildcard};

    return find_place(routes, &key) != NULL;
}

typedef bool has_place_fn(const struct th_routes *routes, struct th_str host, uint16_t port,
                          bool wildcard);

static bool has_origin(const struct th_routes *routes, const struct th_url *authority,
                       has_place_fn *has_place)
{
    struct th_str host = authority->host;

    if (has_place(routes, host, authority->port, false))
        return true;
    const char *dot = memchr(host.ptr, '.', host.len);
    if (authority->host_is_literal || dot == NULL || dot == host.ptr)
        return false;
    size_t skip = (size_t)(dot + 1 - host.ptr);
    return has_place(routes, (struct th_str){dot + 1, host.len - skip}, authority->port, true);
}

bool th_route_has_clear_origin(const struct th_routes *routes, const struct th_url *authority)
{
    return has_origin(routes, authority, has_clear_place);
}

bool th_route_has_secure_origin(const struct th_routes *routes, const struct th_url *authority)
{
    return has_origin(routes, authority, has_secure_place);
}

bool th_route_pattern_is_at(const struct th_config_pattern *pattern, const struct th_url *url)
{
    return pattern_scheme(pattern) == url->scheme && pattern->port == url->port &&
           host_matches(pattern, url);
}

bool th_route_pattern_matches(const struct th_config_pattern *pattern, const struct th_url *url)
{
    return pattern_scheme(pattern) == url->scheme && pattern->port == url->port &&
           host_matches(pattern, url) && th_config_path_covers(pattern->path, url->path);
}

bool th_route_pattern_is_ambiguous(const struct th_config_pattern *pattern,
                                   const struct th_url *url)
{
    if (pattern_scheme(pattern) != url->scheme || pattern->port != url->port ||
        !host_matches(pattern, url) || pattern->path.len <= 1)
        return false;
    return th_url_path_is_ambiguous(url->path) ||
           th_config_path_covers(pattern->path, url->path) !=
               decoded_path_matches(pattern->path, url->path);
}

/* As find_at_host() asks: an http:// request also meets https:// patterns. */
static bool port_matches(const struct th_config_pattern *pattern, const struct th_url *url)
{
    if (pattern->port == url->port)
        return pattern_scheme(pattern) == url->scheme || url->port != th_scheme_port(url->scheme);
    return url->scheme == TH_SCHEME_HTTP && pattern_scheme(pattern) == TH_SCHEME_HTTPS &&
           url->port == th_scheme_port(TH_SCHEME_HTTP) &&
           pattern->port == th_scheme_port(TH_SCHEME_HTTPS);
}

enum th_route_verdict th_route_judge(const struct th_config_pattern *pattern,
                                     const struct th_url *url,
                                     const struct th_config_pattern *winner)
{
    if (pattern == winner)
        return TH_ROUTE_WON;
    if (!host_matches(pattern, url))
        return TH_ROUTE_OTHER_HOST;
    if (url->scheme == TH_SCHEME_HTTPS && pattern_scheme(pattern) == TH_SCHEME_HTTP)
        return TH_ROUTE_CLEARTEXT_ONLY;
    if (!port_matches(pattern, url))
        return TH_ROUTE_OTHER_PORT;
    if (winner == NULL || !th_config_path_covers(pattern->path, url->path))
        return TH_ROUTE_OTHER_PATH;
    if (pattern->wildcard && !winner->wildcard)
        return TH_ROUTE_WILDCARD;
    return pattern->path.len < winner->path.len ? TH_ROUTE_SHORTER_PATH : TH_ROUTE_OTHER_SCHEME;
}
