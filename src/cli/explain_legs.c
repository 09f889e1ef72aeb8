/* tokenhop explain: the requests that an exchange would make. */
#include <stdio.h>

#include "explain.h"
#include "show.h"
#include "tokenhop/config/parent.h"
#include "tokenhop/http/url.h"
#include "tokenhop/oauth/plan.h"

/* What stands for a token; NULL: the parameter is none, or it is not sent. */
static const char *token_text(const struct th_leg_parameter *parameter,
                              const struct th_config_connection *connection)
{
    switch (parameter->value) {
    case TH_VALUE_SUBJECT_TOKEN:
        return "(the subject token)";
    case TH_VALUE_SUBJECT_TYPE:
        return "(told from the token)";
    case TH_VALUE_ACTOR_TOKEN:
        return connection->actor.source == TH_ACTOR_NONE ? NULL
               : connection->actor.source == TH_ACTOR_ASSERTION
                   ? "(a JWT that the agent signs for this endpoint)"
                   : "(the actor token)";
    case TH_VALUE_PREVIOUS_TOKEN:
        return "(what the leg before yields)";
    case TH_VALUE_REJECTED_TOKEN:
        return "(the token that was not taken)";
    case TH_VALUE_CONSTANT:
    case TH_VALUE_ASSERTION_GRANT:
    case TH_VALUE_GRANT_TYPE:
    case TH_VALUE_REQUESTED_TYPE:
    case TH_VALUE_REQUESTED_USE:
    case TH_VALUE_ACTOR_TYPE:
    case TH_VALUE_AUDIENCE:
    case TH_VALUE_RESOURCE:
    case TH_VALUE_SCOPES:
    case TH_VALUE_SECOND_LEG_SCOPES:
    case TH_VALUE_SECOND_LEG_RESOURCE:
    case TH_VALUE_ACTOR_SCOPES:
    case TH_VALUE_ACTOR_RESOURCE:
    case TH_VALUE_CLIENT_SCOPES:
    case TH_VALUE_AGENT_RESOURCE:
        break;
    }
    return NULL;
}

static void show_named(struct th_str name, struct th_str value)
{
    fputs("      ", stdout);
    th_show_text(stdout, name);
    th_show_value(": ", value);
}

static void show_parameter(const struct th_leg_parameter *parameter,
                           const struct th_config_agent *agent,
                           const struct th_config_connection *connection)
{
    struct th_str values[TH_PLAN_VALUES_MAX], name = th_str_of(parameter->name);
    size_t n = th_plan_configured(parameter, agent, connection, values);
    const char *text = n == 0 ? token_text(parameter, connection) : NULL;

    for (size_t i = 0; i < n; i++)
        show_named(name, values[i]);
    if (text != NULL)
        show_named(name, th_str_of(text));
}

/* The proxy on the way to a server, if there is one. */
static void show_way(const struct th_config_view *view, struct th_str endpoint)
{
    struct th_url url;

    if (endpoint.len == 0 || th_url_parse(endpoint, &url) < 0)
        return;
    const struct th_config_parent *parent = th_config_find_parent(
        view, TH_PARENT_CARRIES_SERVERS, url.scheme == TH_SCHEME_HTTPS, url.host, url.port);
    if (parent != NULL)
        th_show_value("      through the parent proxy: ", parent->url);
}

static void show_leg(const struct th_config_view *view, const struct th_plan_legs *legs,
                     size_t index, const struct th_config_agent *agent,
                     const struct th_config_connection *connection)
{
    const struct th_plan_leg *leg = legs->items[index];
    const struct th_config_authorization_server *server =
        th_plan_leg_server(leg, agent, connection);
    const struct th_config_auth *auth;
    struct th_str client_id;

    th_plan_leg_client(leg, agent, connection, &client_id, &auth);
    printf("    %zu %s at \"%.*s\": ", index + 1, leg->name, TH_STR_ARGS(server->name));
    th_show_value("POST ", server->token_endpoint.len > 0
                               ? server->token_endpoint
                               : TH_STR("(the token_endpoint of the server's metadata)"));
    show_way(view, server->token_endpoint);
    for (size_t p = 0; p < leg->n_parameters; p++)
        show_parameter(&leg->parameters[p], agent, connection);
    for (size_t p = 0; p < connection->n_parameters; p++) {
        if (th_plan_leg_bears_parameter(legs, index, &connection->parameters[p]))
            show_named(connection->parameters[p].name, connection->parameters[p].value);
    }
    if (th_plan_leg_bears_proof(legs, index, connection))
        th_show_value("      DPoP: ", TH_STR("(a proof by the agent's DPoP key)"));
    th_show_value("      authenticated as: ", client_id);
    if (leg->yields == TH_LEG_YIELDS_SUBJECT)
        puts("      yields the subject token, anew for each exchange");
    if (leg->yields == TH_LEG_YIELDS_ACTOR)
        puts("      yields the actor token");
}

void th_explain_legs(const struct th_config_view *view, const struct th_config_agent *agent,
                     const struct th_config_connection *connection)
{
    const struct th_plan *plan = th_plan_get(connection->type);
    struct th_plan_legs legs;

    if (plan->n_legs == 0) {
        puts("  legs: none, the credential is of the configuration");
        th_show_value("  sent in the field: ", connection->inject.header);
        return;
    }
    printf("  legs, unless the cache has the credential (%s)\n", plan->name);
    th_plan_select(connection, &legs);
    for (size_t i = 0; i < legs.n; i++)
        show_leg(view, &legs, i, agent, connection);
    if (plan->revokes_rejected)
        th_show_value("    after a 401 of the destination, the token is revoked first: POST ",
                      th_plan_leg_server(plan->revocation, agent, connection)->revocation_endpoint);
    th_show_value("  sent in the field: ", connection->inject.header);
    if (connection->dpop != TH_DPOP_OFF)
        th_show_value("  if it is bound, besides: ", TH_STR("DPoP, a proof for each request"));
}
