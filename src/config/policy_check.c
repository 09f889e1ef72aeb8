/* Rules of the policy that can never decide, or that nobody can have meant. */
#include <stdio.h>

#include "policy.h"

struct check {
    struct th_loader *l;
    const struct th_config_view *view;
    const struct th_raw_policy_rule *raw; /* of `rule` */
    const struct th_policy_rule *rule;
};

static uint32_t member(const struct check *c, const char *key)
{
    return th_loader_member(c->l, c->raw->head.place, key);
}

static uint32_t item(const struct check *c, const char *key, size_t i)
{
    return th_loader_item(c->l, c->raw->head.place, key, i);
}

/* --- who could use what --- */

static size_t index_of(const struct check *c, const struct th_config_agent *agent)
{
    return (size_t)(agent - c->view->agents);
}

static bool may_use(const struct th_config_connection *connection,
                    const struct th_config_agent *agent)
{
    for (size_t i = 0; i < connection->n_agents; i++) {
        if (connection->agents[i] == agent)
            return true;
    }
    return false;
}

static bool may_use_any(const struct check *c, const struct th_config_agent *agent)
{
    for (size_t i = 0; i < c->view->n_connections; i++) {
        if (th_policy_set_has(c->rule->connections, i) && may_use(&c->view->connections[i], agent))
            return true;
    }
    return false;
}

/* Whether one of the rule's callers acts as the agent; of a rule without callers anybody may. */
static bool is_acted_as(const struct check *c, const struct th_config_agent *agent)
{
    for (size_t i = 0; c->rule->callers != NULL && i < c->view->n_callers; i++) {
        if (th_policy_set_has(c->rule->callers, i) && c->view->callers[i].agent == agent)
            return true;
    }
    return c->rule->callers == NULL;
}

static const struct th_config_caller *find_caller(const struct check *c, struct th_str name)
{
    for (size_t i = 0; i < c->view->n_callers; i++) {
        if (th_str_equal(c->view->callers[i].name, name))
            return &c->view->callers[i];
    }
    return NULL;
}

/* False: one is at odds with the agents. */
static bool check_callers(const struct check *c)
{
    bool fine = true;
    for (size_t i = 0; i < c->raw->callers.n; i++) {
        const struct th_config_caller *caller = find_caller(c, c->raw->callers.items[i]);
        if (caller == NULL || caller->agent == NULL)
            continue;
        fine &= th_policy_set_has(c->rule->agents, index_of(c, caller->agent));
        if (!th_policy_set_has(c->rule->agents, index_of(c, caller->agent)))
            th_loader_report(c->l, item(c, "caller", i), "leave it out, or name its agent too",
                             "this caller acts as agent \"%.*s\", which the rule is not for",
                             TH_STR_ARGS(caller->agent->name));
        else if (!may_use_any(c, caller->agent))
            th_loader_report(
                c->l, item(c, "caller", i),
                "leave it out, or add the agent to \"agents\" of a connection",
                "this caller's agent, \"%.*s\", may use no connection that the rule is "
                "for",
                TH_STR_ARGS(caller->agent->name));
    }
    return fine;
}

static void check_agents(const struct check *c)
{
    for (size_t i = 0; i < c->raw->agents.n; i++) {
        const struct th_config_agent *agent = NULL;
        for (size_t k = 0; k < c->view->n_agents; k++) {
            if (th_str_equal(c->view->agents[k].name, c->raw->agents.items[i]))
                agent = &c->view->agents[k];
        }
        if (agent == NULL)
            continue;
        if (!is_acted_as(c, agent))
            th_loader_report(c->l, item(c, "agent", i), "leave it out",
                             "none of the callers that the rule is for acts as this agent");
        else if (!may_use_any(c, agent))
            th_loader_report(c->l, item(c, "agent", i),
                             "leave it out, or add it to \"agents\" of a connection",
                             "this agent may use no connection that the rule is for");
    }
}

static bool asks_scopes(const struct th_config_connection *connection,
                        const struct th_policy_rule *rule)
{
    for (size_t i = 0; i < rule->n_scopes; i++) {
        bool found = false;
        for (size_t k = 0; k < connection->n_scopes && !found; k++)
            found = th_str_equal(connection->scopes[k], rule->scopes[i]);
        for (size_t k = 0; k < connection->n_step_up_scopes && !found; k++)
            found = th_str_equal(connection->step_up_scopes[k], rule->scopes[i]);
        if (!found)
            return false;
    }
    return true;
}

static bool has_user(const struct check *c, const struct th_config_connection *connection)
{
    for (size_t i = 0; i < connection->n_agents; i++) {
        const struct th_config_agent *agent = connection->agents[i];
        if (th_policy_set_has(c->rule->agents, index_of(c, agent)) && is_acted_as(c, agent))
            return true;
    }
    return false;
}

static const struct th_config_connection *find_connection(const struct check *c, struct th_str name)
{
    for (size_t i = 0; i < c->view->n_connections; i++) {
        if (th_str_equal(c->view->connections[i].name, name))
            return &c->view->connections[i];
    }
    return NULL;
}

static void check_connections(const struct check *c)
{
    for (size_t i = 0; i < c->raw->connections.n; i++) {
        const struct th_config_connection *connection =
            find_connection(c, c->raw->connections.items[i]);
        if (connection == NULL)
            continue;
        if (!has_user(c, connection))
            th_loader_report(c->l, item(c, "connection", i), "leave it out",
                             "nobody that the rule is for may use this connection");
        else if (!asks_scopes(connection, c->rule))
            th_loader_report(c->l, item(c, "connection", i), "leave it out, or one of \"scopes\"",
                             "this connection does not ask for all \"scopes\" of the rule");
    }
}

/* --- what requests could be --- */

static bool is_met(const struct check *c, struct th_str path)
{
    for (size_t i = 0; i < c->view->n_connections; i++) {
        const struct th_config_connection *connection = &c->view->connections[i];
        for (size_t k = 0; th_policy_set_has(c->rule->connections, i) && k < connection->n_patterns;
             k++) {
            struct th_str url = connection->patterns[k].path;
            if (th_config_path_covers(path, url) || th_config_path_covers(url, path))
                return true;
        }
    }
    return false;
}

static void check_requests(const struct check *c)
{
    bool asked = c->rule->n_scopes == 0 || c->rule->connections != NULL;
    for (size_t i = 0; i < c->raw->paths.n; i++) {
        if (!is_met(c, c->raw->paths.items[i]))
            th_loader_report(c->l, item(c, "paths", i),
                             "write the path as the destination has it, the one of the "
                             "connection's \"url\" included",
                             "no URL of a connection that the rule is for has this path");
    }
    for (size_t i = 0; i < c->view->n_connections && !asked; i++)
        asked = asks_scopes(&c->view->connections[i], c->rule);
    if (!asked)
        th_loader_report(c->l, member(c, "scopes"), "write scopes of a connection's \"scopes\"",
                         "no connection asks for all of these scopes");
}

/* --- what subject tokens could say --- */

static const char *claims_key(const struct check *c)
{
    return c->rule->n_claims > 0     ? "require"
           : c->rule->n_issuers > 0  ? "issuer"
           : c->rule->max_chain >= 0 ? "max_chain"
                                     : "actors";
}

/* Nobody vouches for a token that is not exchanged, and what has been got for all callers says nothing of
 * any (R14: never claims of an unverified token). */
static const char *why_unproven(const struct th_config_connection *connection)
{
    if (connection->subject_client != NULL)
        return "tokenhop itself gets its subject tokens";
    switch (connection->type) {
    case TH_TYPE_CLIENT_CREDENTIALS:
    case TH_TYPE_STATIC:
        return "it asks for no subject token";
    case TH_TYPE_PASSTHROUGH:
        return "it exchanges no subject token, so that nobody vouches for what it says";
    case TH_TYPE_AGENT_TO_AGENT:
    case TH_TYPE_AUTHORIZATION_SERVER:
    case TH_TYPE_SECRET:
    case TH_TYPE_SERVICE_ACCOUNT:
    case TH_TYPE_RESOURCE_SERVER:
    case TH_TYPE_TOKEN_EXCHANGE:
    case TH_TYPE_ON_BEHALF_OF:
        return NULL;
    }
    return NULL;
}

static void check_proof(const struct check *c)
{
    for (size_t i = 0; c->rule->asks_claims && i < c->view->n_connections; i++) {
        const struct th_config_connection *connection = &c->view->connections[i];
        bool is_for = th_policy_set_has(c->rule->connections, i) && has_user(c, connection) &&
                      asks_scopes(connection, c->rule);
        const char *why = is_for ? why_unproven(connection) : NULL;
        if (why == NULL)
            continue;
        th_loader_report(
            c->l, member(c, claims_key(c)),
            c->rule->connections != NULL
                ? "leave it out, or the connection; a rule of its own may be for that"
                : "name in \"connection\" those whose subject tokens are exchanged",
            "the rule is for connection \"%.*s\" too, of which no claims are known: %s",
            TH_STR_ARGS(connection->name), why);
        return;
    }
}

static bool are_at_odds(const struct th_policy_claim *a, const struct th_policy_claim *b)
{
    return a->test == TH_POLICY_EQUALS && b->test == TH_POLICY_EQUALS && a->n_values > 0 &&
           b->n_values > 0 && th_str_equal(a->text, b->text) &&
           !th_str_equal(a->values[0], b->values[0]);
}

/* Conditions that no token meets together. */
static void check_odds(const struct check *c)
{
    const struct th_policy_rule *rule = c->rule;
    size_t n_allowed = 0;
    for (size_t i = 0; i < rule->n_any_actors; i++)
        n_allowed += rule->n_only_actors == 0 ||
                     th_str_is_among(rule->only_actors, rule->n_only_actors, rule->any_actors[i]);
    if (rule->n_any_actors > 0 && n_allowed == 0)
        th_loader_report(c->l, member(c, "actors"), "add one of \"any_of\" to \"only\"",
                         "no chain has one of \"any_of\" and consists of \"only\" alone");
    if (rule->n_any_actors > 0 && rule->max_chain == 0)
        th_loader_report(c->l, member(c, "max_chain"), "leave out one of them",
                         "no chain of no actors has one of \"actors\"");
    for (size_t i = 0; i < rule->n_claims; i++) {
        for (size_t k = 0; k < i; k++) {
            if (are_at_odds(&rule->claims[k], &rule->claims[i]))
                th_loader_report(c->l, item(c, "require", i),
                                 "to allow either, write one with \"any_of\"",
                                 "no claim equals two values");
        }
    }
}

/* --- rules and rules --- */

/* What an earlier rule leaves nothing to. One of a dry run decides nothing for those that are not. */
static void check_reach(const struct check *c, const struct th_policy_rule *rules,
                        const bool *is_bad)
{
    const struct th_policy_rule *rule = c->rule;
    for (size_t i = 0; i < rule->index; i++) {
        if (is_bad[i] || (rules[i].is_dry && !rule->is_dry) ||
            !th_policy_rule_is_covered(c->view, rule, &rules[i]))
            continue;
        th_loader_report(c->l, c->raw->head.place,
                         "put it before that one, or leave one of them out",
                         "this rule is never reached: \"%.*s\" matches all that it does, and comes "
                         "first",
                         TH_STR_ARGS(rules[i].name));
        return;
    }
}

static bool is_unconditional(const struct th_policy_rule *rule)
{
    return rule->callers == NULL && rule->agents == NULL && rule->n_methods == 0 &&
           rule->n_paths == 0 && rule->n_scopes == 0 && rule->minutes == NULL && !rule->asks_claims;
}

/* A connection that rules only ever deny, under conditions: as what no rule allows is denied, the conditions
 * mean nothing. */
static void check_denied(struct th_loader *l, const struct th_raw_policy_rule *raw,
                         const struct th_policy_rule *rules, size_t n, size_t connection)
{
    size_t last = n;
    for (size_t i = 0; i < n; i++) {
        if (!th_policy_set_has(rules[i].connections, connection))
            continue;
        if (rules[i].allows || is_unconditional(&rules[i]))
            return;
        last = i;
    }
    if (last == n)
        return;
    th_loader_report(
        l, raw[last].head.place,
        "add at the end {\"action\": \"allow\"} for what is left, or deny all of it by a "
        "rule without conditions",
        "no rule allows anything at connection \"%.*s\", so all is denied there",
        TH_STR_ARGS(l->config->view.connections[connection].name));
}

void th_policy_check(struct th_loader *loader, const struct th_raw_policy_rule *raw,
                     const struct th_policy_rule *rules, const bool *is_bad, size_t n)
{
    struct check c = {loader, &loader->config->view, NULL, NULL};
    for (size_t i = 0; i < n; i++) {
        if (is_bad[i])
            continue;
        c.raw = &raw[i];
        c.rule = &rules[i];
        if (check_callers(&c))
            check_agents(&c);
        check_connections(&c);
        check_requests(&c);
        check_proof(&c);
        check_odds(&c);
        check_reach(&c, rules, is_bad);
    }
    for (size_t k = 0; k < c.view->n_connections && loader->mistakes->count == 0; k++)
        check_denied(loader, raw, rules, n, k);
}
