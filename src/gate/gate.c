#include "tokenhop/gate/gate.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "tokenhop/base/check.h"
#include "tokenhop/oauth/jose.h"
#include "tokenhop/oauth/subject.h"
#include "tokenhop/token/broker.h"

/* Pieces of the Authorization fields of one unmatched request that are looked at. */
#define RUNS_MAX 64

static const char two_ways[] =
    "two servers may read this path in two ways (dot segments, empty segments, encoded separators, "
    "encoded letters)";

const char th_gate_named_only[] =
    "an authorization server is reached only where a rule of `unmatched` names it";

static void refuse(struct th_gate_decision *decision, int error, const char *detail)
{
    decision->action = TH_GATE_REFUSE;
    decision->error = error;
    decision->detail = detail;
}

/* The value after "Bearer" and white space, scheme in any case (RFC 9110, 11.1). */
static bool split_bearer(struct th_str value, struct th_str *ret_token)
{
    if (value.len < 7 || strncasecmp(value.ptr, "bearer", 6) != 0 || value.ptr[6] != ' ')
        return false;
    size_t at = 7;
    while (at < value.len && value.ptr[at] == ' ')
        at++;
    *ret_token = (struct th_str){value.ptr + at, value.len - at};
    return true;
}

int th_gate_subject(const struct th_head *head, struct th_str *ret_token, const char **ret_detail)
{
    if (head->n_authorization == 0) {
        *ret_detail = "send the token this agent was called with as Authorization: Bearer";
        return TH_E_SUBJECT_MISSING;
    }
    if (head->n_authorization > 1) {
        *ret_detail = "more than one Authorization field";
        return TH_E_BAD_REQUEST;
    }
    if (!split_bearer(head->fields[head->authorization].value, ret_token)) {
        *ret_detail = "the Authorization field must be of the scheme Bearer";
        return TH_E_SUBJECT_MALFORMED;
    }
    if (!th_subject_is_token68(*ret_token)) {
        *ret_detail = "the bearer token has characters that no token has, or is too long";
        return TH_E_SUBJECT_MALFORMED;
    }
    return 0;
}

/* The same of another field of the request (R11: exactly one). */
static int subject_of_field(const struct th_head *head, struct th_str name,
                            struct th_str *ret_token, const char **ret_detail)
{
    const struct th_field *found = NULL;

    for (uint16_t i = 0; i < head->n_fields; i++) {
        if (!th_header_names_alike(head->fields[i].name, name))
            continue;
        if (found != NULL) {
            *ret_detail = "more than one field that bears the subject token";
            return TH_E_BAD_REQUEST;
        }
        found = &head->fields[i];
    }
    if (found == NULL) {
        *ret_detail = "send the token this agent was called with in the field that is configured "
                      "for it (subject.name)";
        return TH_E_SUBJECT_MISSING;
    }
    if (!split_bearer(found->value, ret_token))
        *ret_token = found->value;
    if (!th_subject_is_token68(*ret_token)) {
        *ret_detail = "the field of the subject token has characters that no token has, or is too "
                      "long";
        return TH_E_SUBJECT_MALFORMED;
    }
    return 0;
}

static int find_subject(const struct th_config_connection *connection, const struct th_head *head,
                        struct th_str *ret_token, const char **ret_detail)
{
    if (connection->subject_token != NULL) {
        *ret_token = th_secret_expose(connection->subject_token);
        return 0;
    }
    if (connection->subject_header.len == 0)
        return th_gate_subject(head, ret_token, ret_detail);
    return subject_of_field(head, connection->subject_header, ret_token, ret_detail);
}

/* The one way by which a caller's Authorization reaches a destination that it is mapped to. Whatever
 * is in it is the caller's and the destination's affair, but that it is one. */
static int find_own(const struct th_head *head, const char **ret_detail)
{
    if (head->n_authorization == 1)
        return 0;
    if (head->n_authorization > 1) {
        *ret_detail = "more than one Authorization field";
        return TH_E_BAD_REQUEST;
    }
    *ret_detail = "send what the destination accepts in Authorization: it goes on as it is";
    return TH_E_SUBJECT_MISSING;
}

static bool is_public(const struct th_config_connection *connection, struct th_str path)
{
    for (size_t i = 0; i < connection->n_public_paths; i++)
        if (th_str_equal(connection->public_paths[i], path))
            return true;
    return false;
}

/* Public paths are the origin's, whatever path the connection's pattern has: an agent card lies at
 * the root while the pattern may be /a2a/. So a miss on the path asks again with the root of what
 * is configured there. */
static bool find_public(const struct th_config_view *config, const struct th_routes *routes,
                        const struct th_config_agent *agent, const struct th_url *url,
                        struct th_route *ret_route)
{
    for (size_t c = 0; c < config->n_connections; c++) {
        const struct th_config_connection *connection = &config->connections[c];
        if (!is_public(connection, url->path))
            continue;
        for (size_t p = 0; p < connection->n_patterns; p++) {
            struct th_url at;
            memcpy(&at, url, sizeof at); /* only its path is changed; the host stays borrowed */
            at.path = connection->patterns[p].path;
            if (th_route_find(routes, &at, agent, ret_route) == TH_ROUTE_FOUND &&
                ret_route->connection == connection && ret_route->scope != NULL)
                return true;
        }
    }
    *ret_route = (struct th_route){0}; /* the request is none of the ones asked about */
    return false;
}

/* Reads as a token made for one of our agents or by one of our servers: not to be shown to anyone
 * else, whether or not it verifies. */
static bool looks_like_subject(const struct th_config_view *config, struct th_str token)
{
    struct th_jwt jwt = {0};
    bool found = false;

    int error = th_jwt_parse(token, &jwt);
    if (error < 0) /* without memory to look at it, it is kept back (R11) */
        return error == TH_E_NOMEM;
    struct th_str iss = th_jwt_text(jwt.claims, "iss");
    for (size_t i = 0; i < config->n_servers && !found; i++)
        found = iss.len > 0 && th_str_equal(iss, config->servers[i].issuer);
    for (size_t i = 0; i < config->n_agents && !found; i++) {
        const struct th_config_agent *agent = &config->agents[i];
        found = th_jwt_has_audience(jwt.claims, agent->client_id) ||
                (agent->resource.len > 0 && th_jwt_has_audience(jwt.claims, agent->resource));
        for (size_t k = 0; k < agent->n_linked_client_ids && !found; k++)
            found = th_jwt_has_audience(jwt.claims, agent->linked_client_ids[k]);
    }
    th_jwt_fini(&jwt);
    return found;
}

static bool is_subject(const struct th_config_view *config, const struct th_seen *seen,
                       struct th_str token)
{
    uint8_t digest[32];

    th_broker_digest(token, digest);
    return th_seen_has(seen, digest) || looks_like_subject(config, token);
}

static bool is_token_char(char c)
{
    return isalnum((unsigned char)c) || (c != '\0' && strchr("-._~+/", c) != NULL);
}

/* Takes the next run of a token's characters off *rest; empty at the end. */
static struct th_str take_run(struct th_str *rest)
{
    const char *p = rest->ptr, *end = p + rest->len;

    while (p < end && !is_token_char(*p))
        p++;
    const char *run = p;
    while (p < end && is_token_char(*p))
        p++;
    while (p < end && *p == '=' && p > run) /* RFC 9110, 11.2: token68 may end so */
        p++;
    *rest = (struct th_str){p, (size_t)(end - p)};
    return (struct th_str){run, (size_t)(p - run)};
}

/* Another scheme, a tab for the space, a comma behind: servers are lenient about what stands around
 * a token, so each run of a token's characters is looked at. What has more of them than any scheme
 * needs is kept back unseen. */
static bool bears_subject(const struct th_config_view *config, const struct th_seen *seen,
                          const struct th_head *head)
{
    unsigned n_runs = 0;

    for (uint16_t i = 0; i < head->n_fields; i++) {
        if (head->fields[i].id != TH_HEADER_AUTHORIZATION)
            continue;
        struct th_str rest = head->fields[i].value, run;
        while ((run = take_run(&rest)).len > 0)
            if (++n_runs > RUNS_MAX || is_subject(config, seen, run))
                return true;
    }
    return false;
}

static bool is_at(struct th_str endpoint, const struct th_url *url)
{
    struct th_url at;

    return endpoint.len > 0 && th_url_parse(endpoint, &at) == 0 && at.port == url->port &&
           th_str_equal(at.host, url->host);
}

/* R27: what is allowed by no rule that names it does not lead to where tokens are issued. */
bool th_gate_is_authorization_server(const struct th_config_view *config, const struct th_url *url)
{
    for (size_t i = 0; i < config->n_servers; i++) {
        const struct th_config_authorization_server *server = &config->servers[i];
        if (is_at(server->issuer, url) || is_at(server->token_endpoint, url) ||
            is_at(server->revocation_endpoint, url) || is_at(server->jwks_uri, url))
            return true;
    }
    return false;
}

static void decide_unmatched(const struct th_config_view *config, const struct th_seen *seen,
                             const struct th_head *head, const struct th_url *url,
                             struct th_gate_decision *decision)
{
    enum th_unmatched_action action = config->unmatched;
    const struct th_config_unmatched_rule *by_rule = NULL;

    for (size_t i = 0; i < config->n_unmatched_rules && by_rule == NULL; i++) {
        if (th_route_pattern_is_ambiguous(&config->unmatched_rules[i].pattern, url)) {
            refuse(decision, TH_E_BAD_TARGET, two_ways);
            return;
        }
        if (th_route_pattern_matches(&config->unmatched_rules[i].pattern, url)) {
            action = config->unmatched_rules[i].action;
            by_rule = &config->unmatched_rules[i];
        }
    }
    if (action == TH_UNMATCHED_DENY) {
        refuse(decision, TH_E_DESTINATION_DENIED, "no connection has a URL that matches");
        return;
    }
    bool is_server = th_gate_is_authorization_server(config, url);
    if (by_rule == NULL && is_server) {
        refuse(decision, TH_E_DESTINATION_DENIED, th_gate_named_only);
        return;
    }
    decision->is_named = by_rule != NULL && (is_server || !by_rule->pattern.wildcard);
    decision->action = TH_GATE_FORWARD;
    decision->drop_authorization = bears_subject(config, seen, head);
}

/* RFC 9110, 7.6.2: at 0 the request is not forwarded. */
static bool has_reached_last_hop(const struct th_head *head)
{
    uint64_t left;

    if (head->max_forwards < 0 ||
        (head->method != TH_METHOD_OPTIONS && head->method != TH_METHOD_TRACE))
        return false;
    return th_str_to_u64(head->fields[head->max_forwards].value, UINT64_MAX, &left) == 0 &&
           left == 0;
}

/* A connection in shadow changes nothing, and so nothing for agents that it is not for: what becomes of their
 * requests is what would without it. */
static void decide_beside(const struct th_config_view *config, const struct th_seen *seen,
                          const struct th_head *head, const struct th_url *url,
                          struct th_gate_decision *decision)
{
    struct th_route route = decision->route;

    decide_unmatched(config, seen, head, url, decision);
    if (decision->action != TH_GATE_FORWARD)
        return;
    decision->beside = route.connection;
    decision->route = (struct th_route){0};
}

static void decide_matched(const struct th_config_view *config, const struct th_seen *seen,
                           const struct th_config_agent *agent, const struct th_head *head,
                           const struct th_url *url, struct th_gate_decision *decision)
{
    const struct th_config_connection *connection = decision->route.connection;

    if (decision->route.scope == NULL) {
        if (connection->shadow != TH_SHADOW_OFF)
            decide_beside(config, seen, head, url, decision);
        if (decision->action != TH_GATE_FORWARD)
            refuse(decision, TH_E_DESTINATION_DENIED,
                   "the connection there is not one that this agent may use");
        return;
    }
    if (head->method == TH_METHOD_TRACE) { /* R17: it would echo the credential */
        refuse(decision, TH_E_METHOD, "TRACE would show the credential to the caller");
        return;
    }
    decision->drop_authorization = true; /* but for what is passed through */
    if (is_public(connection, url->path)) {
        decision->action = TH_GATE_PUBLIC;
        decision->is_public_path = true;
        return;
    }
    if (!th_config_asks_subject(connection) && connection->subject_token == NULL) {
        decision->action =
            TH_GATE_CREDENTIAL; /* of the agent or the configuration, for everybody */
        return;
    }
    bool passes = connection->type == TH_TYPE_PASSTHROUGH;
    const char *detail = NULL;
    int error = passes ? find_own(head, &detail)
                       : find_subject(connection, head, &decision->subject_token, &detail);
    if (error == TH_E_SUBJECT_MISSING && connection->without_subject == TH_WITHOUT_SUBJECT_FORWARD)
        decision->action = TH_GATE_PUBLIC;
    else if (error < 0)
        refuse(decision, error, detail);
    else
        decision->action = passes ? TH_GATE_PASSTHROUGH : TH_GATE_CREDENTIAL;
    decision->drop_authorization = decision->action != TH_GATE_PASSTHROUGH;
}

void th_gate_decide(const struct th_config_view *config, const struct th_routes *routes,
                    const struct th_seen *seen, const struct th_config_agent *agent,
                    const struct th_head *head, const struct th_url *url,
                    struct th_gate_decision *ret_decision)
{
    *ret_decision = (struct th_gate_decision){0};
    if (head->expect_unknown) {
        refuse(ret_decision, TH_E_EXPECTATION, NULL);
        return;
    }
    enum th_route_result found = th_route_find(routes, url, agent, &ret_decision->route);
    if (found != TH_ROUTE_NONE &&
        (th_url_path_is_ambiguous(url->path) || th_route_depends_on_encoding(routes, url))) {
        refuse(ret_decision, TH_E_BAD_TARGET, two_ways);
        return;
    }
    if (found == TH_ROUTE_NO_PATH && find_public(config, routes, agent, url, &ret_decision->route))
        found = TH_ROUTE_FOUND;
    if (found == TH_ROUTE_FOUND)
        decide_matched(config, seen, agent, head, url, ret_decision);
    else
        decide_unmatched(config, seen, head, url, ret_decision);
    if (ret_decision->action != TH_GATE_REFUSE && has_reached_last_hop(head))
        ret_decision->action = TH_GATE_ANSWER;
}
