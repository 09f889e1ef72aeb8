/* Resource connections: from what the file says to the model. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "loader.h"
#include "text.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "url.h"
#include "version.h"

/* --- url --- */

/* Loopback is closed to connections unless egress names it: such a pattern could never be served. */
static void check_loopback(struct th_loader *l, const struct th_config_pattern *pattern,
                           uint32_t place)
{
    const struct th_config_egress *egress = &l->config->view.egress;
    struct th_config_network self;
    struct th_errinfo ignored;
    bool loopback = th_str_equal(pattern->host, TH_STR("::1")) ||
                    th_str_starts_with(pattern->host, TH_STR("127."));
    if (!loopback || pattern->wildcard || th_text_to_network(pattern->host, &self, &ignored) < 0)
        return; /* "127.example.com" begins so too */
    for (size_t i = 0; i < egress->n_allow; i++) {
        const struct th_config_network *allow = &egress->allow[i];
        unsigned bytes = allow->prefix / 8, bits = allow->prefix % 8;
        bool inside =
            memcmp(&allow->address, &self.address, bytes) == 0 &&
            (bits == 0 ||
             ((allow->address.s6_addr[bytes] ^ self.address.s6_addr[bytes]) >> (8 - bits)) == 0);
        if (inside && (allow->port == 0 || allow->port == pattern->port))
            return;
    }
    char mend[120];
    bool ipv6 = pattern->host.ptr[0] == ':';
    snprintf(mend, sizeof(mend), "add \"%s%.*s%s:%u\" to \"egress\": {\"allow\": [...]}",
             ipv6 ? "[" : "", TH_STR_ARGS(pattern->host), ipv6 ? "]" : "", pattern->port);
    th_loader_report(l, place, mend, "a loopback address must be named in egress.allow");
}

static void build_patterns(struct th_loader *l, const struct th_raw_connection *raw,
                           struct th_config_connection *connection)
{
    size_t n = raw->urls.n, used = 0;
    struct th_config_pattern *patterns = th_loader_alloc(l, n, sizeof(*patterns));
    for (size_t i = 0; patterns != NULL && i < n; i++) {
        struct th_errinfo info = {0};
        if (raw->urls.items[i].ptr == NULL)
            continue;
        uint32_t place = th_loader_item(l, raw->head.place, "url", i);
        int r = th_config_parse_pattern(l->arena, raw->urls.items[i], &patterns[used], &info);
        if (r == TH_E_NOMEM)
            l->nomem = true;
        else if (r < 0)
            th_loader_report_info(l, place, &info);
        else
            check_loopback(l, &patterns[used++], place);
    }
    connection->patterns = patterns;
    connection->n_patterns = used;
}

/* A pattern, and where it is in the file: for finding those that tie. */
struct placed_pattern {
    const struct th_config_pattern *pattern;
    const struct th_config_connection *connection;
    uint32_t object; /* the connection's place */
    uint32_t ordinal;
};

static int compare_texts(struct th_str a, struct th_str b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len > 0 ? memcmp(a.ptr, b.ptr, len) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_patterns(const struct th_config_pattern *a, const struct th_config_pattern *b)
{
    int order = compare_texts(a->host, b->host);
    if (order == 0)
        order = a->wildcard - b->wildcard;
    if (order == 0)
        order = compare_texts(a->scheme, b->scheme);
    if (order == 0)
        order = a->port - b->port;
    return order != 0 ? order : compare_texts(a->path, b->path);
}

static int compare_placed(const void *left, const void *right)
{
    const struct placed_pattern *a = left, *b = right;
    int order = compare_patterns(a->pattern, b->pattern);
    if (order != 0)
        return order;
    if (a->object != b->object)
        return a->object < b->object ? -1 : 1;
    return a->ordinal < b->ordinal ? -1 : a->ordinal > b->ordinal;
}

static void report_tie(struct th_loader *l, const struct placed_pattern *a,
                       const struct placed_pattern *b)
{
    uint32_t place = th_loader_item(l, b->object, "url", b->ordinal);
    if (a->connection == b->connection)
        th_loader_report(l, place, "remove one of them", "this pattern stands here twice");
    else
        th_loader_report(l, place, "make one of them more specific, or join the connections",
                         "the connections \"%.*s\" and \"%.*s\" have the same pattern",
                         TH_STR_ARGS(a->connection->name), TH_STR_ARGS(b->connection->name));
}

static void check_ties(struct th_loader *l, const struct th_config_connection *connections)
{
    const struct th_raw_connection *raw = l->raw.connections.items;
    size_t n = 0, n_connections = l->raw.connections.n;
    for (size_t i = 0; i < n_connections; i++)
        n += connections[i].n_patterns;
    TH_CLEANUP(th_freep) struct placed_pattern *all = th_calloc(n, sizeof(*all));
    if (all == NULL) {
        l->nomem = true;
        return;
    }
    n = 0;
    for (size_t i = 0; i < n_connections; i++) {
        for (size_t j = 0; j < connections[i].n_patterns; j++)
            all[n++] = (struct placed_pattern){&connections[i].patterns[j], &connections[i],
                                               raw[i].head.place, (uint32_t)j};
    }
    qsort(all, n, sizeof(*all), compare_placed);
    for (size_t i = 1; i < n; i++) {
        if (compare_patterns(all[i - 1].pattern, all[i].pattern) == 0)
            report_tie(l, &all[i - 1], &all[i]);
    }
}

/* --- the rest of a connection --- */

static void build_agent_list(struct th_loader *l, const struct th_raw_connection *raw,
                             struct th_config_connection *connection)
{
    size_t n = raw->agents.n, used = 0;
    const struct th_config_agent **agents =
        th_loader_alloc(l, n, sizeof(const struct th_config_agent *));
    for (size_t i = 0; agents != NULL && i < n; i++) {
        uint32_t place = th_loader_item(l, raw->head.place, "agents", i);
        const struct th_config_agent *agent = th_build_find_agent(l, raw->agents.items[i], place);
        if (agent != NULL && th_str_is_among(raw->agents.items, i, raw->agents.items[i]))
            th_loader_report(l, place, "remove one of them", "this agent stands here twice");
        else if (agent != NULL)
            agents[used++] = agent;
    }
    connection->agents = agents;
    connection->n_agents = used;
}

/* The name of the field, where one is given. */
static void build_field(struct th_loader *l, struct th_str name, uint32_t place,
                        struct th_config_connection *connection)
{
    if (!th_config_may_inject(name))
        th_loader_report(l, place, "name a field that callers send their token in",
                         "this field belongs to HTTP itself and cannot bear a subject token");
    else if (th_str_equal_nocase(name, TH_STR("Authorization")))
        th_loader_report(l, place, "write \"from\": \"authorization\"",
                         "Authorization is a source of its own");
    else
        connection->subject_header = name;
}

/* Where it comes from. What is said for another source was reported already, unless none is. */
static void build_source(struct th_loader *l, const struct th_raw_subject *subject, uint32_t place,
                         struct th_config_connection *connection)
{
    if (place == TH_SOURCE_NONE)
        return;
    if (subject->from == TH_SUBJECT_FROM_HEADER && subject->name.ptr != NULL)
        build_field(l, subject->name, th_loader_member(l, place, "name"), connection);
    if (subject->from == TH_SUBJECT_FROM_FILE && subject->file.ptr != NULL)
        connection->subject_token = th_build_token_file(l, subject->file, place);
    if (th_source_find_member(&l->source, place, "from") != TH_SOURCE_NONE)
        return;
    if (subject->name.ptr != NULL)
        th_loader_report(l, th_loader_member(l, place, "name"), "add \"from\": \"header\"",
                         "this field is not looked at: the token comes from Authorization");
    if (subject->server.ptr != NULL)
        th_loader_report(l, th_loader_member(l, place, "authorization_server"),
                         "add \"from\": \"client_credentials\"",
                         "this server is not asked: the token comes from Authorization");
    if (subject->file.ptr != NULL)
        th_loader_report(l, th_loader_member(l, place, "file"), "add \"from\": \"file\"",
                         "this file is not looked at: the token comes from Authorization");
}

/* All names of such fields, each once. */
static void collect_subject_headers(struct th_loader *l, size_t n)
{
    struct th_config_view *view = &l->config->view;
    struct th_str *headers = th_loader_alloc(l, n, sizeof(*headers));
    size_t used = 0;
    for (size_t i = 0; headers != NULL && i < n; i++) {
        struct th_str header = view->connections[i].subject_header;
        size_t k = 0;
        while (k < used && !th_str_equal_nocase(headers[k], header))
            k++;
        if (header.len > 0 && k == used)
            headers[used++] = header;
    }
    view->subject_headers = headers;
    view->n_subject_headers = used;
}

static void build_subject(struct th_loader *l, const struct th_raw_connection *raw,
                          struct th_config_connection *connection)
{
    const struct th_raw_subject *subject = &raw->subject;
    uint32_t place = th_source_find_member(&l->source, raw->head.place, "subject");
    size_t n = subject->issuers.n, used = 0;
    const struct th_config_authorization_server **issuers =
        th_loader_alloc(l, n, sizeof(const struct th_config_authorization_server *));
    connection->subject_verify = TH_SUBJECT_VERIFY_KNOWN;
    build_source(l, subject, place, connection);
    if (place != TH_SOURCE_NONE &&
        th_source_find_member(&l->source, place, "verify") != TH_SOURCE_NONE)
        connection->subject_verify =
            subject->verify ? TH_SUBJECT_VERIFY_ALWAYS : TH_SUBJECT_VERIFY_NEVER;
    for (size_t i = 0; issuers != NULL && i < n; i++) {
        uint32_t item = th_loader_item(l, place, "issuers", i);
        const struct th_config_authorization_server *server =
            th_build_find_server(l, subject->issuers.items[i], item);
        if (server != NULL && th_str_is_among(subject->issuers.items, i, subject->issuers.items[i]))
            th_loader_report(l, item, "remove one of them", "this server stands here twice");
        else if (server != NULL)
            issuers[used++] = server;
    }
    connection->subject_issuers = issuers;
    connection->n_subject_issuers = used;
}

/* A bound token has a scheme of its own, and whoever sent it by another would fail or be read as its
 * bearer (RFC 9449, 7.1). */
static void build_dpop(struct th_loader *l, const struct th_raw_connection *raw,
                       struct th_config_connection *connection)
{
    uint32_t place = th_source_find_member(&l->source, raw->head.place, "dpop");
    connection->dpop = (enum th_dpop)raw->dpop;
    if (connection->dpop != TH_DPOP_OFF && connection->inject.scheme != TH_INJECT_BEARER)
        th_loader_report(l, place, "leave out \"inject\"",
                         "a bound token is sent in the field Authorization, scheme DPoP");
    if (connection->dpop == TH_DPOP_BOUND_ID_JAG && connection->type != TH_TYPE_AGENT_TO_AGENT &&
        connection->type != TH_TYPE_AUTHORIZATION_SERVER)
        th_loader_report(l, place, "write \"token\" or \"all_legs\"",
                         "this type of connection has no ID-JAG that could be bound");
}

static void check_without_subject(struct th_loader *l, const struct th_raw_connection *raw)
{
    uint32_t place = th_source_find_member(&l->source, raw->head.place, "without_subject");
    if (place == TH_SOURCE_NONE)
        return;
    if (raw->subject.from == TH_SUBJECT_FROM_FILE)
        th_loader_report_key(l, place, "leave it out",
                             "with a subject token from a file, no request is without one");
    if (raw->subject.from == TH_SUBJECT_FROM_CLIENT_CREDENTIALS)
        th_loader_report_key(l, place, "leave it out",
                             "tokenhop gets the subject token itself, for every request");
}

static void build_connection(struct th_loader *l, const struct th_raw_connection *raw,
                             struct th_config_connection *connection)
{
    uint32_t place = raw->head.place;
    connection->name = raw->head.name;
    connection->type = (enum th_resource_type)raw->type;
    build_patterns(l, raw, connection);
    th_build_connection_tls(l, raw, connection);
    build_agent_list(l, raw, connection);
    if (raw->server.ptr != NULL)
        connection->server = th_build_find_server(
            l, raw->server, th_loader_member(l, place, "authorization_server"));
    th_build_inject(l, raw, &connection->inject);
    build_dpop(l, raw, connection);
    th_build_values(l, raw, connection);
    build_subject(l, raw, connection);
    th_build_exchange(l, raw, connection);
    connection->without_subject = (enum th_without_subject)raw->without_subject;
    check_without_subject(l, raw);
    connection->cookies = (enum th_cookies)raw->cookies;
    connection->allow_cleartext = raw->allow_cleartext;
    connection->shadow = (enum th_shadow)raw->shadow;
    connection->public_paths = raw->public_paths.items;
    connection->n_public_paths = raw->public_paths.n;
    th_build_scopings(l, raw, connection);
}

static int compare_names(const void *left, const void *right)
{
    const struct th_config_connection *const *a = left, *const *b = right;
    int order = compare_texts((*a)->name, (*b)->name);
    return order != 0 ? order : (*a)->index < (*b)->index ? -1 : 1;
}

static void check_names(struct th_loader *l, const struct th_config_connection *connections)
{
    const struct th_raw_connection *raw = l->raw.connections.items;
    size_t n = l->raw.connections.n;
    TH_CLEANUP(th_freep)
    const struct th_config_connection **all =
        th_calloc(n, sizeof(const struct th_config_connection *));
    if (all == NULL) {
        l->nomem = true;
        return;
    }
    for (size_t i = 0; i < n; i++)
        all[i] = &connections[i];
    qsort(all, n, sizeof(const struct th_config_connection *), compare_names);
    for (size_t i = 1; i < n; i++) {
        if (all[i]->name.len > 0 && th_str_equal(all[i - 1]->name, all[i]->name))
            th_loader_report(l, th_loader_member(l, raw[all[i]->index].head.place, "name"),
                             "give it another name", "two connections have the name \"%.*s\"",
                             TH_STR_ARGS(all[i]->name));
    }
}

void th_build_connections(struct th_loader *loader)
{
    const struct th_raw_connection *raw = loader->raw.connections.items;
    size_t n = loader->raw.connections.n;
    struct th_config_connection *connections = th_loader_alloc(loader, n, sizeof(*connections));
    for (size_t i = 0; connections != NULL && i < n; i++) {
        connections[i].index = (uint32_t)i;
        build_connection(loader, &raw[i], &connections[i]);
        if (loader->nomem)
            return;
    }
    if (connections == NULL)
        return;
    check_names(loader, connections);
    check_ties(loader, connections);
    loader->config->view.connections = connections;
    loader->config->view.n_connections = n;
    collect_subject_headers(loader, n);
    /* a version is made of whole connections only */
    for (size_t i = 0; i < n && loader->mistakes->count == 0 && !loader->nomem; i++) {
        th_build_versions(loader, &connections[i]);
    }
}
