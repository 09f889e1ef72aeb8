#include "endpoints.h"

#include <string.h>

#include "hop.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/oauth/metadata.h"

#define FRESH_MS 30000
#define AGAIN_MS 5000 /* where something of it could not be found out */
#define OLD_MS (5 * 60 * 1000)
#define KEEP_MS (60 * 60 * 1000)
#define ADDRESSES_MAX 512
#define HOST_MAX 253
#define PLACES_OF_SERVER 9 /* four configured, five of its metadata */

struct place {
    struct th_resolve resolve;
    struct th_endpoints *endpoints;
    bool waits;
    uint16_t port;
    uint8_t host_len;
    char host[HOST_MAX];
};

/* The metadata of one server. */
struct asked {
    struct th_document_waiter waiter;
    struct th_endpoints *endpoints;
    const struct th_config_authorization_server *server; /* of the round's configuration */
    const struct th_metadata *metadata;
};

struct places {
    struct place *items;
    size_t n;
};

struct seen {
    struct in6_addr host;
    uint16_t port;
    int64_t until_ms;
};

struct th_endpoints {
    struct th_proxy_desk *desk;
    struct places places; /* as the last round found them */
    struct seen seen[ADDRESSES_MAX];
    size_t n_seen;
    bool known;
    int64_t known_ms; /* when the last round ended */
    int64_t fresh_ms; /* until when it need not be done anew */
    struct th_list hops;

    /* the round under way; without one `use` is NULL */
    struct th_snapshot_use *use;
    struct asked *asked;
    size_t n_asked;
    struct places next;
    size_t n_pending;
    int error;
    bool lacks_some;
};

int th_endpoints_new(struct th_proxy_desk *desk, struct th_endpoints **ret_endpoints)
{
    struct th_endpoints *endpoints = th_calloc(1, sizeof *endpoints);

    if (endpoints == NULL)
        return TH_E_NOMEM;
    endpoints->desk = desk;
    th_list_init(&endpoints->hops);
    *ret_endpoints = endpoints;
    return 0;
}

/* --- what is known --- */

static void note_address(struct th_endpoints *endpoints, const struct th_address *address)
{
    struct seen seen = {.port = th_address_port(address),
                        .until_ms = endpoints->desk->worker->now_ms + KEEP_MS};
    size_t oldest = 0, i;

    th_address_to_v6(address, &seen.host);
    for (i = 0; i < endpoints->n_seen; i++) {
        const struct seen *old = &endpoints->seen[i];
        if (old->port == seen.port && memcmp(&old->host, &seen.host, sizeof seen.host) == 0)
            break;
        if (old->until_ms < endpoints->seen[oldest].until_ms)
            oldest = i;
    }
    if (i == endpoints->n_seen && i == ADDRESSES_MAX)
        i = oldest;
    else if (i == endpoints->n_seen)
        endpoints->n_seen++;
    endpoints->seen[i] = seen;
}

static void note_addresses(struct th_endpoints *endpoints, const struct th_addresses *addresses)
{
    for (size_t i = 0; i < addresses->count; i++)
        note_address(endpoints, &addresses->items[i]);
}

bool th_endpoints_is_at(const struct th_endpoints *endpoints, const struct th_address *address)
{
    struct in6_addr host;

    th_address_to_v6(address, &host);
    for (size_t i = 0; i < endpoints->n_seen; i++) {
        const struct seen *seen = &endpoints->seen[i];
        if (seen->port == th_address_port(address) &&
            seen->until_ms > endpoints->desk->worker->now_ms &&
            memcmp(&seen->host, &host, sizeof host) == 0)
            return true;
    }
    return false;
}

static bool holds(const struct places *places, struct th_str host, uint16_t port)
{
    for (size_t i = 0; i < places->n; i++) {
        const struct place *place = &places->items[i];
        if (place->port == port && place->host_len == host.len &&
            memcmp(place->host, host.ptr, host.len) == 0)
            return true;
    }
    return false;
}

bool th_endpoints_has(const struct th_endpoints *endpoints, struct th_str host, uint16_t port)
{
    return holds(&endpoints->places, host, port);
}

/* --- a round: first what the servers say, then where that is --- */

static void release_round(struct th_endpoints *endpoints)
{
    for (size_t i = 0; i < endpoints->next.n; i++)
        if (endpoints->next.items[i].waits)
            th_resolve_cancel(&endpoints->next.items[i].resolve);
    for (size_t i = 0; i < endpoints->n_asked; i++) {
        th_document_leave(&endpoints->asked[i].waiter);
        th_metadata_unref(endpoints->asked[i].metadata);
    }
    th_free(endpoints->next.items);
    th_free(endpoints->asked);
    endpoints->next = (struct places){0};
    endpoints->asked = NULL;
    endpoints->n_asked = endpoints->n_pending = 0;
    endpoints->error = 0;
    endpoints->lacks_some = false;
    if (endpoints->use != NULL)
        th_snapshot_use_give(endpoints->use);
    endpoints->use = NULL;
}

/* Those woken may ask again, and wait for another round. */
static void tell(struct th_endpoints *endpoints, int error)
{
    struct th_list told, *item;

    th_list_init(&told);
    th_list_splice_back(&told, &endpoints->hops);
    while ((item = th_list_pop_front(&told)) != NULL) {
        struct th_hop *hop = TH_LIST_ENTRY(item, struct th_hop, endpoints);
        if (error < 0)
            th_hop_fail(hop, error, NULL);
        th_hop_wake(hop);
    }
}

static int end_round(struct th_endpoints *endpoints)
{
    int64_t now_ms = endpoints->desk->worker->now_ms;
    int error = endpoints->error;

    if (error == 0) {
        th_free(endpoints->places.items);
        endpoints->places = endpoints->next;
        endpoints->next = (struct places){0};
        endpoints->known = true;
        endpoints->known_ms = now_ms;
        endpoints->fresh_ms = now_ms + (endpoints->lacks_some ? AGAIN_MS : FRESH_MS);
    }
    release_round(endpoints);
    tell(endpoints, error);
    return error;
}

static void on_resolve(struct th_resolve *resolve, int error, const struct th_addresses *addresses)
{
    struct place *place = TH_CONTAINER_OF(resolve, struct place, resolve);
    struct th_endpoints *endpoints = place->endpoints;

    place->waits = false;
    if (error == 0)
        note_addresses(endpoints, addresses);
    else
        endpoints->lacks_some = true;
    if (--endpoints->n_pending == 0)
        (void)!end_round(endpoints);
}

static void add_place(struct th_endpoints *endpoints, struct th_str endpoint)
{
    struct places *next = &endpoints->next;
    struct th_url url;

    if (endpoint.len == 0 || th_url_parse(endpoint, &url) < 0 || url.host.len > HOST_MAX ||
        holds(next, url.host, url.port))
        return;
    struct place *place = &next->items[next->n++];
    place->endpoints = endpoints;
    place->port = url.port;
    place->host_len = (uint8_t)url.host.len;
    memcpy(place->host, url.host.ptr, url.host.len);
}

static void add_server(struct th_endpoints *endpoints, const struct asked *asked)
{
    const struct th_config_authorization_server *server = asked->server;
    const struct th_metadata *metadata = asked->metadata;

    add_place(endpoints, server->issuer);
    add_place(endpoints, server->token_endpoint);
    add_place(endpoints, server->revocation_endpoint);
    add_place(endpoints, server->jwks_uri);
    if (metadata == NULL)
        return;
    add_place(endpoints, metadata->token_endpoint);
    add_place(endpoints, metadata->revocation_endpoint);
    add_place(endpoints, metadata->jwks_uri);
    add_place(endpoints, metadata->mtls_token_endpoint);
    add_place(endpoints, metadata->mtls_revocation_endpoint);
}

/* Each that is not answered at once is one of n_pending, as is the caller's own hold. */
static int resolve_all(struct th_endpoints *endpoints)
{
    struct places *next = &endpoints->next;

    next->items = th_calloc(endpoints->n_asked * PLACES_OF_SERVER + 1, sizeof *next->items);
    if (next->items == NULL)
        return TH_E_NOMEM;
    for (size_t i = 0; i < endpoints->n_asked; i++)
        add_server(endpoints, &endpoints->asked[i]);
    for (size_t i = 0; i < next->n; i++) {
        struct place *place = &next->items[i];
        struct th_addresses addresses;
        int error = th_resolver_ask(endpoints->desk->worker->resolver,
                                    (struct th_str){place->host, place->host_len}, place->port,
                                    &place->resolve, on_resolve, &addresses);
        if (error == TH_AGAIN) {
            place->waits = true;
            endpoints->n_pending++;
        } else if (error == 0) {
            note_addresses(endpoints, &addresses);
        } else if (error == TH_E_ORIGIN_NAME) {
            endpoints->lacks_some = true;
        } else {
            return error;
        }
    }
    return 0;
}

static int go_on_with_round(struct th_endpoints *endpoints)
{
    if (endpoints->n_pending > 0)
        return TH_AGAIN;
    endpoints->n_pending = 1;
    endpoints->error = resolve_all(endpoints);
    endpoints->n_pending--;
    return endpoints->n_pending > 0 && endpoints->error == 0 ? TH_AGAIN : end_round(endpoints);
}

/* Who has no endpoint without its metadata is asked for that; of the others it counts where it is known, as who
 * has it uses it. */
static void ask_metadata(struct asked *asked)
{
    struct th_endpoints *endpoints = asked->endpoints;
    struct th_document_desk *documents = endpoints->desk->documents;
    struct th_document_failure failure;

    if (documents == NULL)
        return;
    if (asked->server->token_endpoint.len > 0) {
        asked->metadata = th_metadata_peek(documents, asked->server);
        return;
    }
    int error =
        th_metadata_get(documents, asked->server, &asked->waiter, &asked->metadata, &failure);
    if (error == TH_AGAIN)
        endpoints->n_pending++;
    else if (error == TH_E_NOMEM)
        endpoints->error = error;
    else if (error < 0)
        endpoints->lacks_some = true;
}

static void on_document(struct th_document_waiter *waiter)
{
    struct asked *asked = TH_CONTAINER_OF(waiter, struct asked, waiter);
    struct th_endpoints *endpoints = asked->endpoints;

    ask_metadata(asked);
    endpoints->n_pending--;
    if (endpoints->error < 0)
        (void)!end_round(endpoints);
    else
        (void)!go_on_with_round(endpoints);
}

static int begin_round(struct th_endpoints *endpoints)
{
    struct th_snapshot_use *use = endpoints->desk->current;
    const struct th_config_view *config = use->snapshot->view;

    endpoints->asked = th_calloc(config->n_servers + 1, sizeof *endpoints->asked);
    if (endpoints->asked == NULL)
        return TH_E_NOMEM;
    th_snapshot_use_take(use);
    endpoints->use = use;
    endpoints->n_asked = config->n_servers;
    for (size_t i = 0; i < config->n_servers; i++) {
        struct asked *asked = &endpoints->asked[i];
        *asked = (struct asked){
            .waiter.fn = on_document, .endpoints = endpoints, .server = &config->servers[i]};
        ask_metadata(asked);
    }
    return endpoints->error < 0 ? end_round(endpoints) : go_on_with_round(endpoints);
}

/* --- asking --- */

int th_endpoints_ask(struct th_endpoints *endpoints, struct th_hop *hop)
{
    int64_t now_ms = endpoints->desk->worker->now_ms;
    int error = 0;

    if (endpoints->known && now_ms < endpoints->fresh_ms)
        return 0;
    if (endpoints->use == NULL)
        error = begin_round(endpoints);
    if (endpoints->known && now_ms < endpoints->known_ms + OLD_MS)
        return 0;
    if (error < 0 && error != TH_AGAIN)
        return error;
    if (endpoints->use == NULL)
        return 0;
    th_list_push_back(&endpoints->hops, &hop->endpoints);
    return TH_AGAIN;
}

void th_endpoints_leave(struct th_hop *hop)
{
    if (th_list_is_linked(&hop->endpoints))
        th_list_remove(&hop->endpoints);
}

static bool knows_place(const struct th_endpoints *endpoints, struct th_str endpoint)
{
    struct th_url url;

    return endpoint.len == 0 || th_url_parse(endpoint, &url) < 0 ||
           holds(&endpoints->places, url.host, url.port);
}

static bool knows_server(const struct th_endpoints *endpoints,
                         const struct th_config_authorization_server *server)
{
    return knows_place(endpoints, server->issuer) &&
           knows_place(endpoints, server->token_endpoint) &&
           knows_place(endpoints, server->revocation_endpoint) &&
           knows_place(endpoints, server->jwks_uri);
}

/* What was seen goes on to hold, for as long as it would have: requests are under way that were let through by it. */
void th_endpoints_renew(struct th_endpoints *endpoints)
{
    const struct th_config_view *config = th_desk_config(endpoints->desk);

    release_round(endpoints);
    endpoints->fresh_ms = 0;
    for (size_t i = 0; i < config->n_servers; i++)
        endpoints->known = endpoints->known && knows_server(endpoints, &config->servers[i]);
    if (th_list_is_empty(&endpoints->hops))
        return;
    int error = begin_round(endpoints);
    if (error != TH_AGAIN)
        tell(endpoints, error); /* where it has ended by that, nobody waits any more */
}

struct th_endpoints *th_endpoints_free(struct th_endpoints *endpoints)
{
    if (endpoints == NULL)
        return NULL;
    release_round(endpoints);
    th_free(endpoints->places.items);
    th_free(endpoints);
    return NULL;
}
