/* What the requests of a connection's exchange say: from what the file says to the model. */
#include <string.h>

#include "loader.h"
#include "token_request.h"
#include "tokenhop/base/check.h"
#include "url.h"

static bool is_said(const struct th_loader *l, const struct th_raw_connection *raw, const char *key)
{
    return th_source_find_member(&l->source, raw->head.place, key) != TH_SOURCE_NONE;
}

/* Whether its first leg is for an assertion that another server takes. */
static bool has_two_legs(const struct th_raw_connection *raw)
{
    return raw->type == TH_TYPE_AGENT_TO_AGENT || raw->type == TH_TYPE_AUTHORIZATION_SERVER;
}

/* --- scopes --- */

static const char *const system_scopes[] = {"openid",         "profile", "email",
                                            "offline_access", "address", "phone"};

static void check_system_scope(struct th_loader *l, struct th_str scope, uint32_t place)
{
    for (size_t i = 0; i < TH_COUNT_OF(system_scopes); i++) {
        if (th_str_equal(scope, th_str_of(system_scopes[i])))
            th_loader_report(l, place, "leave it out, and name the destination's own scopes",
                             "the system scope \"%s\" is not granted for another resource",
                             system_scopes[i]);
    }
}

void th_build_check_scopes(struct th_loader *l, const struct th_raw_list *scopes, uint32_t object,
                           const char *key, bool system_too)
{
    for (size_t i = 0; i < scopes->n; i++) {
        struct th_str scope = scopes->items[i];
        uint32_t place = th_loader_item(l, object, key, i);
        if (scope.ptr == NULL)
            continue;
        if (!system_too)
            check_system_scope(l, scope, place);
        if (th_str_is_among(scopes->items, i, scope))
            th_loader_report(l, place, "remove one of them", "this scope stands here twice");
    }
}

static void check_second_leg(struct th_loader *l, const struct th_raw_connection *raw)
{
    const struct th_raw_list *second = &raw->second_leg_scopes;
    for (size_t i = 0; i < second->n; i++) {
        if (second->items[i].ptr != NULL &&
            !th_str_is_among(raw->scopes.items, raw->scopes.n, second->items[i]))
            th_loader_report(l, th_loader_item(l, raw->head.place, "second_leg_scopes", i),
                             "add it to \"scopes\" too",
                             "the second leg cannot ask for a scope that the first did not");
    }
}

struct th_str th_build_join(struct th_loader *l, const struct th_raw_list *scopes, char separator)
{
    size_t len = 0;
    for (size_t i = 0; i < scopes->n; i++)
        len += scopes->items[i].len + 1;
    char *text = th_loader_alloc(l, len + 1, 1), *at = text;
    if (text == NULL)
        return TH_STR_NONE;
    for (size_t i = 0; i < scopes->n; i++) {
        if (scopes->items[i].len == 0)
            continue;
        if (at > text)
            *at++ = separator;
        memcpy(at, scopes->items[i].ptr, scopes->items[i].len);
        at += scopes->items[i].len;
    }
    return (struct th_str){text, (size_t)(at - text)};
}

/* Reference, 4.3: Okta's custom servers refuse scopes on the second leg, others give none without. */
static const struct th_raw_list *second_leg_scopes(const struct th_loader *l,
                                                   const struct th_raw_connection *raw,
                                                   const struct th_config_connection *connection)
{
    bool is_default = has_two_legs(raw) && !is_said(l, raw, "second_leg_scopes") &&
                      connection->server != NULL && !connection->server->is_okta;
    return is_default ? &raw->scopes : &raw->second_leg_scopes;
}

static void check_commas(struct th_loader *l, const struct th_raw_connection *raw)
{
    for (size_t i = 0; i < raw->scopes.n; i++) {
        struct th_str scope = raw->scopes.items[i];
        if (scope.len > 0 && memchr(scope.ptr, ',', scope.len) != NULL)
            th_loader_report(l, th_loader_item(l, raw->head.place, "scopes", i),
                             "write each scope as its own string",
                             "a scope holds no comma where commas part them");
    }
}

static void build_scopes(struct th_loader *l, const struct th_raw_connection *raw,
                         struct th_config_connection *connection)
{
    bool system_too = !has_two_legs(raw);
    th_build_check_scopes(l, &raw->scopes, raw->head.place, "scopes", system_too);
    th_build_check_scopes(l, &raw->second_leg_scopes, raw->head.place, "second_leg_scopes",
                          system_too);
    check_second_leg(l, raw);
    connection->scope_separator = (char)raw->scope_separator;
    if (connection->scope_separator == ',')
        check_commas(l, raw);
    connection->scopes = raw->scopes.items;
    connection->n_scopes = raw->scopes.n;
    connection->scope_text = th_build_join(l, &raw->scopes, connection->scope_separator);
    connection->second_leg_scope_text =
        th_build_join(l, second_leg_scopes(l, raw, connection), connection->scope_separator);
}

/* --- audience and resource --- */

/* The first, and further ones where the type takes them. What was refused is empty. */
static struct th_str build_list(struct th_loader *l, const struct th_raw_connection *raw,
                                const char *key, const struct th_raw_list *list, bool is_uri,
                                const struct th_str **ret_more, size_t *ret_n_more)
{
    bool many = raw->type == TH_TYPE_TOKEN_EXCHANGE;
    for (size_t i = 0; i < list->n; i++) {
        struct th_errinfo info = {0};
        uint32_t place = th_loader_item(l, raw->head.place, key, i);
        if (list->items[i].ptr == NULL)
            continue;
        if (is_uri && th_config_url_check_absolute(list->items[i], &info) < 0)
            th_loader_report_info(l, place, &info);
        else if (th_str_is_among(list->items, i, list->items[i]))
            th_loader_report(l, place, "remove one of them", "this %s stands here twice", key);
        else if (i > 0 && !many)
            th_loader_report(l, place, "keep one of them",
                             "a connection of this type has one %s alone", key);
    }
    *ret_more = list->n > 1 ? list->items + 1 : NULL;
    *ret_n_more = list->n > 1 ? list->n - 1 : 0;
    return list->n > 0 ? list->items[0] : TH_STR_NONE;
}

static void build_target(struct th_loader *l, const struct th_raw_connection *raw,
                         struct th_config_connection *connection)
{
    /* Of a token the resource is a URI (RFC 8707, 2); a vault's identifiers are whatever they are. */
    bool of_token = has_two_legs(raw) || raw->type == TH_TYPE_TOKEN_EXCHANGE ||
                    raw->type == TH_TYPE_ON_BEHALF_OF || raw->type == TH_TYPE_CLIENT_CREDENTIALS;
    connection->audience = build_list(l, raw, "audience", &raw->audiences, has_two_legs(raw),
                                      &connection->more_audiences, &connection->n_more_audiences);
    connection->resource = build_list(l, raw, "resource", &raw->resources, of_token,
                                      &connection->more_resources, &connection->n_more_resources);
    if (raw->audiences.n == 0 && has_two_legs(raw) && connection->server != NULL)
        connection->audience = connection->server->issuer;
}

/* --- the form --- */

static void build_types(struct th_loader *l, const struct th_raw_connection *raw,
                        struct th_config_connection *connection)
{
    static const struct th_str jwt = TH_STR("jwt"), none = TH_STR("auto");
    struct th_str requested = raw->requested_token_type;
    uint32_t place = th_loader_member(l, raw->head.place, "requested_token_type");
    connection->requested_token_type = th_token_type_uri(requested);
    connection->grant_type = raw->grant_type;
    if (raw->type == TH_TYPE_ON_BEHALF_OF && raw->requested_token_use == 0)
        connection->requested_token_use = TH_STR("on_behalf_of");
    if (requested.ptr == NULL)
        return;
    if (th_str_equal(requested, none))
        th_loader_report(l, place, "leave it out, and the server chooses",
                         "\"auto\" is no type that can be asked for");
    else if (has_two_legs(raw) &&
             !th_str_equal(connection->requested_token_type, th_token_type_uri(jwt)))
        th_loader_report(l, place, "write \"jwt\", or leave it out for an ID-JAG",
                         "the second leg cannot present a token of this type");
    else if (has_two_legs(raw) && raw->dpop == TH_DPOP_BOUND_ID_JAG)
        th_loader_report(l, place, "leave it out, or write another \"dpop\"",
                         "\"bound_id_jag\" wants an ID-JAG, and this asks for another assertion");
}

static void build_parameters(struct th_loader *l, const struct th_raw_connection *raw,
                             struct th_config_connection *connection)
{
    const struct th_raw_parameter *from = raw->parameters.items;
    size_t n = raw->parameters.n;
    struct th_config_parameter *to = th_loader_alloc(l, n, sizeof(*to));
    for (size_t i = 0; to != NULL && i < n; i++) {
        to[i] = (struct th_config_parameter){from[i].name, from[i].value,
                                             (enum th_parameter_leg)from[i].leg};
        for (size_t k = 0; k < i && from[i].name.ptr != NULL; k++) {
            bool meet = from[i].leg == from[k].leg || !has_two_legs(raw) ||
                        from[i].leg == TH_PARAMETER_EVERY_LEG ||
                        from[k].leg == TH_PARAMETER_EVERY_LEG;
            if (meet && th_str_equal(from[i].name, from[k].name)) {
                th_loader_report(l, th_loader_member(l, from[i].head.place, "name"),
                                 "remove one of them", "no request has a parameter twice");
                break;
            }
        }
    }
    connection->parameters = to;
    connection->n_parameters = to != NULL ? n : 0;
}

/* --- who acts, and who began --- */

static const struct th_config_authorization_server *server_of(
    const struct th_config_connection *connection, const struct th_config_agent *agent)
{
    return connection->server != NULL ? connection->server : agent->server;
}

static void check_signers(struct th_loader *l, const struct th_config_connection *connection,
                          uint32_t place)
{
    for (size_t i = 0; i < connection->n_agents; i++) {
        const struct th_config_agent *agent = connection->agents[i];
        const struct th_config_authorization_server *server = server_of(connection, agent);
        const struct th_config_auth *auth;
        struct th_str client_id;
        if (server == NULL)
            continue; /* reported already */
        th_config_agent_registration(agent, server, &client_id, &auth);
        if (auth->method != TH_AUTH_PRIVATE_KEY_JWT)
            th_loader_report(l, place, "write \"client_credentials\", or give the agent a key",
                             "the agent \"%.*s\" has no key there to sign an assertion with",
                             TH_STR_ARGS(agent->name));
    }
}

static void build_actor(struct th_loader *l, const struct th_raw_connection *raw,
                        struct th_config_connection *connection)
{
    static const struct th_str types[] = {[TH_ACTOR_NONE] = TH_STR(""),
                                          [TH_ACTOR_CLIENT_CREDENTIALS] = TH_STR("access_token"),
                                          [TH_ACTOR_ASSERTION] = TH_STR("jwt"),
                                          [TH_ACTOR_FILE] = TH_STR("jwt")};
    const struct th_raw_actor *from = &raw->actor;
    struct th_config_actor *actor = &connection->actor;
    uint32_t place = th_loader_member(l, raw->head.place, "actor");
    actor->source = (enum th_actor_source)from->from;
    if (actor->source == TH_ACTOR_NONE)
        return;
    actor->token_type = th_token_type_uri(from->type.ptr != NULL ? from->type : types[from->from]);
    if (actor->token_type.len == 0)
        th_loader_report(l, th_loader_member(l, place, "type"), "leave it out, or name one",
                         "an actor token is sent with its type");
    th_build_check_scopes(l, &from->scopes, place, "scopes", true);
    actor->scope_text = th_build_join(l, &from->scopes, connection->scope_separator);
    actor->resource = from->resource;
    if (actor->source == TH_ACTOR_FILE && from->file.ptr != NULL)
        actor->token = th_build_token_file(l, from->file, place);
    if (actor->source == TH_ACTOR_ASSERTION)
        check_signers(l, connection, th_loader_member(l, place, "from"));
}

/* What it gets is for the agent, as the destination of who began. */
static void check_agents_called(struct th_loader *l, const struct th_raw_connection *raw,
                                const struct th_config_connection *connection, uint32_t place)
{
    for (size_t i = 0; i < connection->n_agents; i++) {
        const struct th_config_agent *agent = connection->agents[i];
        if (agent->resource.len == 0)
            th_loader_report(l, th_loader_member(l, place, "from"),
                             "give the agent its \"resource\"",
                             "the agent \"%.*s\" has no resource that a token could be for",
                             TH_STR_ARGS(agent->name));
        if (agent->client_id.len > 0 && th_str_equal(agent->client_id, raw->subject.client_id))
            th_loader_report(l, th_loader_member(l, place, "client_id"),
                             "name the client that calls the agent",
                             "this is the agent \"%.*s\", which cannot begin a call to itself",
                             TH_STR_ARGS(agent->name));
    }
}

static void build_subject_client(struct th_loader *l, const struct th_raw_connection *raw,
                                 struct th_config_connection *connection)
{
    const struct th_raw_subject *from = &raw->subject;
    uint32_t place = th_loader_member(l, raw->head.place, "subject");
    if (from->from != TH_SUBJECT_FROM_CLIENT_CREDENTIALS || from->server.ptr == NULL ||
        from->client_id.ptr == NULL)
        return; /* what is missing was reported */
    struct th_config_client *client = th_loader_alloc(l, 1, sizeof(*client));
    uint32_t auth = th_source_find_member(&l->source, place, "auth");
    if (client == NULL || auth == TH_SOURCE_NONE)
        return;
    client->server =
        th_build_find_server(l, from->server, th_loader_member(l, place, "authorization_server"));
    client->client_id = from->client_id;
    th_build_auth(l, &from->auth, auth, &client->auth);
    th_build_check_scopes(l, &from->scopes, place, "scopes", false);
    client->scope_text = th_build_join(l, &from->scopes, ' ');
    check_agents_called(l, raw, connection, place);
    connection->subject_client = client;
}

static void build_subject_type(const struct th_raw_connection *raw,
                               struct th_config_connection *connection)
{
    static const struct {
        struct th_str name;
        enum th_subject_type type;
    } known[] = {{TH_STR("auto"), TH_SUBJECT_AUTO},
                 {TH_STR("id_token"), TH_SUBJECT_ID_TOKEN},
                 {TH_STR("access_token"), TH_SUBJECT_ACCESS_TOKEN}};
    struct th_str uri = th_token_type_uri(raw->subject.type);
    connection->subject_type = TH_SUBJECT_OTHER;
    for (size_t i = 0; i < TH_COUNT_OF(known); i++) {
        if (th_str_equal(uri, th_token_type_uri(known[i].name)))
            connection->subject_type = known[i].type;
    }
    connection->subject_type_uri = uri;
}

/* --- checks of what is issued --- */

/* The chain is no promise of RFC 8693, nor of RFC 7523. */
static void build_checks(struct th_loader *l, const struct th_raw_connection *raw,
                         struct th_config_connection *connection)
{
    bool promises = has_two_legs(raw) && raw->requested_token_type.ptr == NULL;
    uint32_t place = th_source_find_member(&l->source, raw->head.place, "issued_checks");
    bool is_wanted = place != TH_SOURCE_NONE &&
                     th_source_find_member(&l->source, place, "chain") != TH_SOURCE_NONE;
    connection->issued_checks = raw->issued_checks;
    connection->issued_checks.chain = raw->issued_checks.chain && (promises || is_wanted);
}

void th_build_exchange(struct th_loader *loader, const struct th_raw_connection *raw,
                       struct th_config_connection *connection)
{
    build_target(loader, raw, connection);
    build_scopes(loader, raw, connection);
    connection->second_leg_resource = raw->second_leg_resource;
    connection->reuse_id_jag = raw->reuse_id_jag;
    build_types(loader, raw, connection);
    build_subject_type(raw, connection);
    build_subject_client(loader, raw, connection);
    build_actor(loader, raw, connection);
    build_parameters(loader, raw, connection);
    build_checks(loader, raw, connection);
}
