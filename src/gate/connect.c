/* CONNECT: which tunnels are opened, and how what comes through them is taken (R7, R8, R20). */
#include "tokenhop/gate/gate.h"

static const char no_interception[] =
    "TLS through a tunnel to a connection's host is only served where `interception` is configured "
    "(tokenhop ca init); or call the http:// form of the URL, which is carried over TLS from here "
    "(HTTP_PROXY)";
static const char no_port[] =
    "the port is not one of egress.connect_ports, and no connection has a URL there";
static const char no_match[] =
    "no connection has a URL at this host and port, and `unmatched` does not forward https:// to it";

static void refuse(struct th_gate_connect *decision, const char *detail)
{
    decision->action = TH_GATE_TUNNEL_REFUSE;
    decision->error = TH_E_DESTINATION_DENIED;
    decision->detail = detail;
}

static bool is_port_allowed(const struct th_config_egress *egress, uint16_t port)
{
    for (size_t i = 0; i < egress->n_connect_ports; i++)
        if (port >= egress->connect_ports[i].first && port <= egress->connect_ports[i].last)
            return true;
    return false;
}

static bool is_of_whole_origin(const struct th_config_pattern *pattern)
{
    return th_str_equal(pattern->path, TH_STR("/"));
}

/* The first rule that is about all of that origin, or that denies a part of it: what comes through a
 * plain tunnel could be for any path. */
static enum th_unmatched_action ask_rules(const struct th_config_view *config,
                                          const struct th_url *url,
                                          const struct th_config_unmatched_rule **ret_by_rule)
{
    for (size_t i = 0; i < config->n_unmatched_rules; i++) {
        const struct th_config_unmatched_rule *rule = &config->unmatched_rules[i];
        if (!th_route_pattern_is_at(&rule->pattern, url) ||
            (rule->action == TH_UNMATCHED_FORWARD && !is_of_whole_origin(&rule->pattern)))
            continue;
        *ret_by_rule = rule;
        return rule->action;
    }
    *ret_by_rule = NULL;
    return config->unmatched;
}

/* Whether some http:// request to there would be forwarded, as it is in absolute-form. Where no rule
 * names the port it must be that of http: whoever speaks something else is told so at once. */
static bool forwards_clear(const struct th_config_view *config, const struct th_url *url)
{
    for (size_t i = 0; i < config->n_unmatched_rules; i++) {
        const struct th_config_unmatched_rule *rule = &config->unmatched_rules[i];
        if (!th_route_pattern_is_at(&rule->pattern, url))
            continue;
        if (rule->action == TH_UNMATCHED_FORWARD)
            return true;
        if (is_of_whole_origin(&rule->pattern))
            return false;
    }
    return config->unmatched == TH_UNMATCHED_FORWARD &&
           url->port == th_scheme_port(TH_SCHEME_HTTP) &&
           !th_gate_is_authorization_server(config, url);
}

static void decide_unmatched(const struct th_config_view *config, struct th_url *url,
                             struct th_gate_connect *decision)
{
    const struct th_config_unmatched_rule *by_rule;

    url->scheme = TH_SCHEME_HTTPS;
    bool allowed = ask_rules(config, url, &by_rule) == TH_UNMATCHED_FORWARD;
    bool port_allowed = is_port_allowed(&config->egress, url->port);
    bool is_server = th_gate_is_authorization_server(config, url);
    bool named = by_rule != NULL || !is_server;
    if (allowed && port_allowed && named) {
        decision->action = TH_GATE_TUNNEL_PLAIN;
        decision->is_named = by_rule != NULL && (is_server || !by_rule->pattern.wildcard);
        return;
    }
    url->scheme = TH_SCHEME_HTTP;
    if (forwards_clear(config, url))
        decision->action = TH_GATE_TUNNEL_SERVE;
    else
        refuse(decision, !allowed ? no_match : !named ? th_gate_named_only : no_port);
}

void th_gate_decide_connect(const struct th_config_view *config, const struct th_routes *routes,
                            bool can_intercept, const struct th_url *authority,
                            struct th_gate_connect *ret_decision)
{
    struct th_url url;

    *ret_decision = (struct th_gate_connect){.action = TH_GATE_TUNNEL_SERVE};
    if (th_route_has_secure_origin(routes, authority) && can_intercept) {
        ret_decision->intercept = true;
        return;
    }
    if (th_route_has_clear_origin(routes, authority))
        return;
    if (th_route_has_secure_origin(routes, authority)) {
        refuse(ret_decision, no_interception);
        return;
    }
    memcpy(&url, authority, sizeof url); /* the host stays borrowed */
    decide_unmatched(config, &url, ret_decision);
}
