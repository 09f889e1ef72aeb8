/* tokenhop explain: what would become of a request, by the configuration alone. */
#include <stdio.h>
#include <string.h>

#include "explain.h"
#include "options.h"
#include "show.h"
#include "tokenhop/base/check.h"
#include "tokenhop/cli/command.h"
#include "tokenhop/config/nearest.h"
#include "tokenhop/config/parent.h"
#include "tokenhop/gate/egress.h"
#include "tokenhop/gate/gate.h"
#include "tokenhop/proxy/proxy.h"

static const char usage[] =
    "usage: tokenhop explain -c FILE URL [--method METHOD] [--caller NAME] [--claims FILE] [--at TIME]\n"
    "       [--rpc-method NAME] [--tool NAME]\n"
    "\n"
    "Says what would become of a request for URL: which connection it meets and by which pattern, why other\n"
    "patterns lost, which rule of the policy decides, whether it needs a credential, where it would be\n"
    "carried, and which requests an exchange would make. Nothing is started and nobody is asked, the\n"
    "resolver of names included.\n"
    "Exit status 0 when every caller shown would be carried, 1 when one would be refused.\n"
    "\n"
    "  -c, --config FILE     the configuration\n"
    "  -m, --method METHOD   of the request (default: GET)\n"
    "      --caller NAME     only that caller, or who reaches the listener of that name (default: each)\n"
    "      --claims FILE     what the subject token says, as a JSON object: for rules that ask it\n"
    "      --at TIME         when, as 2026-01-31T09:30:00Z (default: now)\n"
    "      --rpc-method NAME what its body calls, by JSON-RPC: for scopes_for\n"
    "      --tool NAME       the same of MCP's tools/call\n"
    "  -h, --help            this text\n"
    "\n"
    "  tokenhop explain -c tokenhop.jsonc http://agent2.example.com/a2a/tasks\n"
    "  tokenhop explain -c tokenhop.jsonc --method POST --caller agents http://agent2.example.com/a2a/\n";

#define ANY_TOKEN "subject-token" /* stands for the token that a request would bear */

struct order {
    const char *config;
    const char *url;
    const char *method;
    const char *caller;
    const char *claims;
    const char *at;
    const char *rpc_method;
    const char *tool;
};

struct question {
    const struct order *order;
    struct th_config *config;
    const struct th_config_view *view;
    struct th_routes *routes;
    struct th_seen *seen;
    struct th_url url;
    enum th_method method;
    struct th_explain_policy policy;
    struct th_rpc_call call;
};

/* --- patterns --- */

static const char *verdict_text(enum th_route_verdict verdict)
{
    switch (verdict) {
    case TH_ROUTE_WON:
        return "matches";
    case TH_ROUTE_OTHER_HOST:
        return "another host";
    case TH_ROUTE_OTHER_PORT:
        return "another port";
    case TH_ROUTE_CLEARTEXT_ONLY:
        return "an https:// request never meets an http:// pattern";
    case TH_ROUTE_OTHER_PATH:
        return "another path";
    case TH_ROUTE_WILDCARD:
        return "matches, but a pattern that names the host in full goes first";
    case TH_ROUTE_SHORTER_PATH:
        return "matches, but a pattern with a longer path goes first";
    case TH_ROUTE_OTHER_SCHEME:
        return "matches, but a pattern of the request's own scheme goes first";
    }
    return "";
}

/* The winner does not depend on the agent, unless it is only met for a public path. */
static void show_patterns(const struct question *q)
{
    struct th_route route = {0};

    (void)th_route_find(q->routes, &q->url, q->view->agents, &route);
    puts("\npatterns");
    for (size_t c = 0; c < q->view->n_connections; c++) {
        const struct th_config_connection *connection = &q->view->connections[c];
        for (size_t p = 0; p < connection->n_patterns; p++) {
            const struct th_config_pattern *pattern = &connection->patterns[p];
            enum th_route_verdict verdict = th_route_judge(pattern, &q->url, route.pattern);
            printf("  %c ", verdict == TH_ROUTE_WON ? '*' : '-');
            th_show_text(stdout, pattern->text);
            printf(" of \"%.*s\": %s\n", TH_STR_ARGS(connection->name), verdict_text(verdict));
        }
    }
}

/* --- where it goes --- */

struct destination {
    enum th_scheme scheme;
    uint16_t port;
    bool matched;
    bool bears_credential;
    bool allow_cleartext;
    const struct th_config_parent *parent; /* on the way there; NULL: none */
};

static struct destination destination_of(const struct question *q,
                                         const struct th_gate_decision *decision)
{
    struct destination to = {.scheme = q->url.scheme, .port = q->url.port};

    if (decision->action == TH_GATE_FORWARD)
        return to;
    to.scheme = decision->route.scheme;
    to.port = decision->route.port;
    to.matched = true;
    to.bears_credential =
        decision->action == TH_GATE_CREDENTIAL || decision->action == TH_GATE_PASSTHROUGH;
    to.allow_cleartext = decision->route.connection->allow_cleartext;
    return to;
}

static const char *class_text(enum th_address_class class)
{
    switch (class) {
    case TH_ADDRESS_PUBLIC:
        return "a public address";
    case TH_ADDRESS_PRIVATE:
        return "a private address";
    case TH_ADDRESS_LOOPBACK:
        return "a loopback address";
    case TH_ADDRESS_METADATA:
        return "a link-local address, or a metadata service's";
    case TH_ADDRESS_FORBIDDEN:
        return "an address for special use";
    }
    return "";
}

static int refuse(int error, const char *why, const char *mend)
{
    const struct th_error_row *row = th_error_get(error);

    printf("  refused: %d %s: %s\n", row->status, row->code, row->title);
    if (why != NULL)
        printf("  why: %s\n", why);
    if (mend != NULL)
        printf("  mend: %s\n", mend);
    return TH_EXIT_NOT_SO;
}

static int judge_literal(const struct question *q, const struct destination *to)
{
    struct th_address address;
    int error = th_address_parse(q->url.host, to->port, &address);

    if (error == 0) {
        printf("  address: %s\n", class_text(th_egress_classify(&address)));
        error = th_egress_permit(q->view, to->matched, &address);
    }
    if (error == TH_E_LOOP)
        return refuse(error, "it is the address of a listener of tokenhop", NULL);
    if (error < 0)
        return refuse(error, "addresses of this kind are not connected to",
                      "name it in egress.allow, if it is meant");
    if (to->bears_credential && to->scheme == TH_SCHEME_HTTP && !to->allow_cleartext &&
        (to->parent != NULL || !th_address_is_loopback(&address)))
        return refuse(TH_E_CLEARTEXT_DENIED, NULL,
                      "write https:// in the connection, or set \"allow_cleartext\": true there");
    return TH_EXIT_FINE;
}

static void describe_name(const struct destination *to)
{
    fputs("  address: judged once the name is resolved; ", stdout);
    puts(to->matched ? "public and private ones are connected to, others if egress.allow names them"
                     : "public ones are connected to, others if egress.allow names them");
    if (to->bears_credential && to->scheme == TH_SCHEME_HTTP && !to->allow_cleartext)
        puts("  cleartext: only if the name is a loopback address; else write https:// in the "
             "connection");
}

/* A proxy on the way resolves names by itself: what is left to judge. */
static int show_parent(const struct question *q, const struct destination *to)
{
    th_show_value("  through the parent proxy: ", to->parent->url);
    printf("  asked of it: %s\n", to->scheme == TH_SCHEME_HTTPS
                                      ? "CONNECT, and TLS with the origin inside"
                                      : "the whole URL, in cleartext beyond it");
    if (q->url.host_is_literal)
        return judge_literal(q, to);
    if (th_config_parent_refuses(q->url.host))
        return refuse(TH_E_EGRESS_DENIED, "it is the name of a metadata service", NULL);
    puts("  address: resolved and judged by the parent proxy, not here");
    if (to->bears_credential && to->scheme == TH_SCHEME_HTTP && !to->allow_cleartext)
        return refuse(TH_E_CLEARTEXT_DENIED, NULL,
                      "write https:// in the connection, or set \"allow_cleartext\": true there");
    return TH_EXIT_FINE;
}

static int show_destination(const struct question *q, const struct th_gate_decision *decision)
{
    struct destination to = destination_of(q, decision);

    fputs("  origin: ", stdout);
    th_show_text(stdout, th_scheme_text(to.scheme));
    printf(q->url.host_is_ipv6 ? "://[%.*s]:%u" : "://%.*s:%u", TH_STR_ARGS(q->url.host),
           (unsigned)to.port);
    puts(to.scheme == q->url.scheme     ? ""
         : to.scheme == TH_SCHEME_HTTPS ? ", carried over TLS"
                                        : ", in cleartext");
    to.parent = th_config_find_parent(q->view, TH_PARENT_CARRIES_ORIGINS,
                                      to.scheme == TH_SCHEME_HTTPS, q->url.host, to.port);
    if (to.parent != NULL)
        return show_parent(q, &to);
    if (q->url.host_is_literal)
        return judge_literal(q, &to);
    describe_name(&to);
    return TH_EXIT_FINE;
}

/* --- one caller --- */

/* The gate's own word, for a request with a subject token or without. */
static void ask_gate(const struct question *q, const struct th_config_agent *agent, bool with_token,
                     struct th_gate_decision *ret_decision)
{
    struct th_field field = {TH_STR("authorization"), TH_STR("Bearer " ANY_TOKEN),
                             TH_HEADER_AUTHORIZATION, false};
    struct th_head head = {
        .method = q->method,
        .method_text = th_str_of(q->order->method),
        .target = th_str_of(q->order->url),
        .minor = 1,
        .fields = &field,
        .n_fields = with_token ? 1 : 0,
        .max_fields = 1,
        .authorization = with_token ? 0 : -1,
        .n_authorization = with_token ? 1 : 0,
        .host = -1,
        .max_forwards = -1,
        .traceparent = -1,
    };

    th_gate_decide(q->view, q->routes, q->seen, agent, &head, &q->url, ret_decision);
    const struct th_config_connection *connection = ret_decision->route.connection;
    if (with_token && connection != NULL && connection->subject_header.len > 0) {
        field = (struct th_field){connection->subject_header, TH_STR(ANY_TOKEN), TH_HEADER_UNKNOWN,
                                  false};
        head.authorization = -1;
        head.n_authorization = 0;
        th_gate_decide(q->view, q->routes, q->seen, agent, &head, &q->url, ret_decision);
    }
    ret_decision->subject_token = TH_STR_NONE; /* it pointed in here */
}

static void show_without_subject(const struct question *q, const struct th_config_agent *agent)
{
    struct th_gate_decision bare;

    ask_gate(q, agent, false, &bare);
    if (bare.action == TH_GATE_REFUSE)
        printf("  without a subject token: refused, %d %s\n", th_error_get(bare.error)->status,
               th_error_get(bare.error)->code);
    else
        puts("  without a subject token: carried without a credential");
}

static void show_subject(const struct question *q, const struct th_config_agent *agent,
                         const struct th_config_connection *connection)
{
    if (connection->type == TH_TYPE_STATIC)
        puts("  subject token: none is asked for");
    else if (connection->subject_client != NULL)
        puts("  subject token: tokenhop gets it itself, for every caller");
    else if (connection->type == TH_TYPE_CLIENT_CREDENTIALS)
        puts("  subject token: none, the agent acts for itself");
    else if (connection->subject_token != NULL)
        puts("  subject token: the one of the file in the configuration, for every caller");
    else
        show_without_subject(q, agent);
}

static void show_unmatched_rule(const struct question *q)
{
    for (size_t i = 0; i < q->view->n_unmatched_rules; i++) {
        const struct th_config_pattern *pattern = &q->view->unmatched_rules[i].pattern;
        if (th_route_pattern_matches(pattern, &q->url)) {
            th_show_value("  rule of \"unmatched\": ", pattern->text);
            return;
        }
    }
    puts("  rule of \"unmatched\": none, so its default");
}

static int show_refused(const struct question *q, const struct th_config_agent *agent,
                        const struct th_gate_decision *decision)
{
    struct th_route route;

    if (decision->error != TH_E_DESTINATION_DENIED)
        return refuse(decision->error, decision->detail, NULL);
    if (th_route_find(q->routes, &q->url, agent, &route) == TH_ROUTE_FOUND)
        return refuse(decision->error, decision->detail,
                      "add the agent to \"agents\" of the connection");
    show_unmatched_rule(q);
    return refuse(decision->error, decision->detail,
                  "add a connection whose url covers it, or allow it in \"unmatched\"");
}

/* Public paths, and what no connection meets, are not the policy's business. */
static int ask_policy(const struct question *q, const struct th_config_caller *caller,
                      const struct th_config_agent *agent, const struct th_gate_decision *decision,
                      const struct th_config_connection *asked)
{
    struct th_policy_request request = {.caller = caller,
                                        .agent = agent,
                                        .connection = asked,
                                        .method = th_str_of(q->order->method),
                                        .path = q->url.path,
                                        .wall_ms = q->policy.wall_ms};

    if (decision->route.connection == NULL || decision->is_public_path)
        return 0;
    return th_explain_policy(q->view, &request, &q->policy);
}

static const struct th_config_connection *show_scopes(const struct question *q,
                                                      const struct th_config_connection *connection)
{
    bool is_said = q->order->rpc_method != NULL || q->order->tool != NULL;
    struct th_scoping_request request = {.method = th_str_of(q->order->method),
                                         .path = q->url.path,
                                         .call = is_said ? &q->call : NULL};

    return th_explain_scopes(connection, &request);
}

/* What becomes of the request: all that is said after it is what would without `shadow`. */
static void show_shadow(const struct th_config_connection *connection)
{
    printf("  in shadow: carried as it came, with the caller's own Authorization and without a "
           "credential; %s\n",
           connection->shadow == TH_SHADOW_EXCHANGE ? "an exchange is made beside it"
                                                    : "nobody is asked");
    puts("  without \"shadow\" it would be so:");
}

static int show_denied(const struct question *q, const struct th_gate_decision *decision, int error)
{
    const struct th_error_row *row = th_error_get(error);

    if (decision->route.connection->shadow == TH_SHADOW_OFF)
        return refuse(error, NULL, NULL);
    printf("  would be refused: %d %s: %s\n", row->status, row->code, row->title);
    return show_destination(q, decision);
}

static int show_carried(const struct question *q, const struct th_config_caller *caller,
                        const struct th_config_agent *agent,
                        const struct th_gate_decision *decision)
{
    const struct th_config_connection *connection = decision->route.connection;
    if (connection != NULL && connection->shadow != TH_SHADOW_OFF)
        show_shadow(connection);
    const struct th_config_connection *asked =
        decision->action == TH_GATE_CREDENTIAL ? show_scopes(q, connection) : connection;
    int error = ask_policy(q, caller, agent, decision, asked);
    if (error < 0)
        return show_denied(q, decision, error);

    switch (decision->action) {
    case TH_GATE_CREDENTIAL:
        printf("  carried: by connection \"%.*s\", with a credential\n",
               TH_STR_ARGS(connection->name));
        show_subject(q, agent, connection);
        break;
    case TH_GATE_PASSTHROUGH:
        printf("  carried: by connection \"%.*s\", with the caller's own Authorization, a subject "
               "token too\n",
               TH_STR_ARGS(connection->name));
        show_without_subject(q, agent);
        break;
    case TH_GATE_PUBLIC:
        printf("  carried: by connection \"%.*s\", a public path, without a credential\n",
               TH_STR_ARGS(connection->name));
        break;
    case TH_GATE_FORWARD:
        if (decision->beside != NULL)
            printf(
                "  in shadow: the connection \"%.*s\" is not for this agent, to which it would be "
                "denied; carried as if it were not there\n",
                TH_STR_ARGS(decision->beside->name));
        else
            puts("  carried: as it is, no connection is met");
        show_unmatched_rule(q);
        break;
    case TH_GATE_REFUSE:
    case TH_GATE_ANSWER:
        break;
    }
    int status = show_destination(q, decision);
    if (status == TH_EXIT_FINE && decision->action == TH_GATE_CREDENTIAL)
        th_explain_legs(q->view, agent, asked);
    return status;
}

/* What a CONNECT to the URL's host and port would be told. */
static int show_tunnel(const struct question *q)
{
    struct th_gate_connect connect;

    th_gate_decide_connect(q->view, q->routes, q->view->interception.key != NULL, &q->url,
                           &connect);
    switch (connect.action) {
    case TH_GATE_TUNNEL_REFUSE:
        return refuse(connect.error, connect.detail, NULL);
    case TH_GATE_TUNNEL_SERVE:
        puts(connect.intercept ? "  a tunnel, whose TLS is intercepted: each request is a hop"
                               : "  a tunnel for HTTP in clear: each request is a hop");
        break;
    case TH_GATE_TUNNEL_PLAIN:
        puts("  a plain tunnel: bytes are passed on and not looked into");
        break;
    }
    return TH_EXIT_FINE;
}

static int show_as(const struct question *q, const struct th_config_caller *caller,
                   const struct th_config_agent *agent)
{
    struct th_gate_decision decision;

    if (q->method == TH_METHOD_CONNECT)
        return show_tunnel(q);
    ask_gate(q, agent, true, &decision);
    if (decision.action != TH_GATE_REFUSE)
        return show_carried(q, caller, agent, &decision);
    return show_refused(q, agent, &decision);
}

static bool is_asked_for(const struct question *q, struct th_str name)
{
    return q->order->caller == NULL || th_str_equal(name, th_str_of(q->order->caller));
}

static int show_listeners(const struct question *q)
{
    int status = -1;

    for (size_t i = 0; i < q->view->n_listeners; i++) {
        const struct th_config_listener *listener = &q->view->listeners[i];
        if (listener->agent == NULL || !is_asked_for(q, listener->name))
            continue;
        printf("\nlistener \"%.*s\" (%.*s", TH_STR_ARGS(listener->name),
               TH_STR_ARGS(listener->address_text));
        th_show_security(listener);
        printf("), as agent \"%.*s\"\n", TH_STR_ARGS(listener->agent->name));
        int one = show_as(q, NULL, listener->agent);
        status = one > status ? one : status;
    }
    return status;
}

/* Who says who it is, at a listener without an agent. */
static int show_callers(const struct question *q)
{
    int status = -1;

    for (size_t i = 0; i < q->view->n_callers; i++) {
        const struct th_config_caller *caller = &q->view->callers[i];
        if (!is_asked_for(q, caller->name))
            continue;
        printf("\ncaller \"%.*s\"", TH_STR_ARGS(caller->name));
        th_show_proof(caller);
        printf(", as agent \"%.*s\"\n", TH_STR_ARGS(caller->agent->name));
        int one = show_as(q, caller, caller->agent);
        status = one > status ? one : status;
    }
    return status;
}

static int refuse_caller(const struct question *q)
{
    struct th_nearest nearest;

    th_nearest_init(&nearest, th_str_of(q->order->caller));
    for (size_t i = 0; i < q->view->n_listeners; i++)
        th_nearest_offer(&nearest, q->view->listeners[i].name);
    for (size_t i = 0; i < q->view->n_callers; i++)
        th_nearest_offer(&nearest, q->view->callers[i].name);
    if (nearest.best.len > 0)
        return th_options_refuse("explain",
                                 "no caller or listener has the name of --caller; did you mean "
                                 "\"%.*s\"?",
                                 TH_STR_ARGS(nearest.best));
    return th_options_refuse("explain", "no caller or listener has the name of --caller");
}

static int answer(struct question *q)
{
    int status = -1;
    int error = th_url_parse(th_str_of(q->order->url), &q->url);

    if (error < 0) {
        printf("%s, as the target of a request\n", q->order->method);
        return refuse(error, "the URL is malformed, or is not whole: scheme, host, path",
                      "write http://host/path, without a fragment or a user's name");
    }
    printf("%s ", q->order->method);
    th_show_value("", th_str_of(q->order->url));
    if (q->url.scheme == TH_SCHEME_HTTPS && q->method != TH_METHOD_CONNECT) {
        struct th_gate_connect connect;
        th_gate_decide_connect(q->view, q->routes, q->view->interception.key != NULL, &q->url,
                               &connect);
        if (connect.action == TH_GATE_TUNNEL_REFUSE)
            printf("note: most clients ask for https:// URLs by CONNECT, which is refused: %s\n",
                   connect.detail);
    }
    show_patterns(q);
    status = show_listeners(q);
    int of_callers = show_callers(q);
    status = of_callers > status ? of_callers : status;
    return status >= 0 ? status : refuse_caller(q);
}

static int carry_out(const struct order *order)
{
    struct question q = {.order = order, .method = th_method_find(th_str_of(order->method))};

    (void)snprintf(q.call.method, sizeof q.call.method, "%s",
                   order->rpc_method != NULL ? order->rpc_method
                   : order->tool != NULL     ? "tools/call"
                                             : "");
    (void)snprintf(q.call.tool, sizeof q.call.tool, "%s", order->tool != NULL ? order->tool : "");
    int status = th_options_load(order->config, &q.config);

    if (status != TH_EXIT_FINE)
        return status;
    q.view = th_config_get(q.config);
    status = th_explain_policy_read(order->claims, order->at, &q.policy);
    if (status != TH_EXIT_FINE) {
        th_config_unref(q.config);
        return status;
    }
    if (th_routes_new(q.config, &q.routes) < 0 || th_seen_new(&q.seen) < 0) {
        fputs("tokenhop explain: out of memory\n", stderr);
        status = TH_EXIT_NOT_SO;
    } else {
        status = answer(&q);
    }
    json_decref(q.policy.claims);
    th_seen_free(q.seen);
    th_routes_free(q.routes);
    th_config_unref(q.config);
    return status;
}

/* A token of RFC 9110, 5.6.2; its letters are all that is printed of it. */
static bool is_method_fine(const char *method)
{
    for (size_t i = 0; method[i] != '\0'; i++)
        if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_", method[i]) == NULL ||
            i == 32)
            return false;
    return method[0] != '\0';
}

static int explain(int argc, char **argv)
{
    struct order order = {.method = "GET"};
    const struct th_option options[] = {
        {"config", 'c', &order.config, NULL},  {"method", 'm', &order.method, NULL},
        {"caller", '\0', &order.caller, NULL}, {"claims", '\0', &order.claims, NULL},
        {"at", '\0', &order.at, NULL},         {"rpc-method", '\0', &order.rpc_method, NULL},
        {"tool", '\0', &order.tool, NULL}};
    int status = th_options_parse(argc, argv, usage, options, TH_COUNT_OF(options), &order.url, 1);

    if (status >= 0)
        return status;
    if (order.config == NULL)
        return th_options_refuse(argv[0], "no configuration named; add -c FILE");
    if (order.url == NULL)
        return th_options_refuse(argv[0], "no URL named");
    if (!is_method_fine(order.method))
        return th_options_refuse(argv[0], "--method is not the name of a method");
    return carry_out(&order);
}

const struct th_command th_command_explain = {
    "explain", "says what would become of a request, without making it", usage, explain};
