#include "options.h"

#include <getopt.h>
#include <stdlib.h>

#include "faults.h"
#include "tokenhop/base/check.h"

enum {
    OPT_ADDRESS = 256,
    OPT_PORT_IDP,
    OPT_PORT_AGENTS,
    OPT_PORT_AGENT2_TLS,
    OPT_PORT_IDP_TLS,
    OPT_STATE,
    OPT_WRITE_CONFIG,
    OPT_CONFIG_ALG,
    OPT_PROXY_PORT,
    OPT_AGENT2_PROXY_PORT,
    OPT_AGENT2_PROXY,
    OPT_IDP_URL,
    OPT_SET,
    OPT_ANY_ADDRESS,
    OPT_URL /* and the resources after it */
};

static const struct option_row {
    const char *name;
    const char *value; /* NULL: takes none */
    int id;
    const char *text;
} rows[] = {
    {"address", "A", OPT_ADDRESS, "listen on this address (127.0.0.1)"},
    {"port-idp", "N", OPT_PORT_IDP, "port of the identity provider (0: a free one)"},
    {"port-idp-tls", "N", OPT_PORT_IDP_TLS,
     "one more of it, by TLS, for clients with certificates (none; 0: a free one); idp-ca.pem in DIR"},
    {"port-agents", "N,N,N", OPT_PORT_AGENTS, "ports of agent2, agent3 and the API (0,0,0)"},
    {"port-agent2-tls", "N", OPT_PORT_AGENT2_TLS,
     "agent2 on one more port, by TLS (none; 0: a free one); agents-ca.pem in DIR vouches for it"},
    {"state", "DIR", OPT_STATE,
     "folder of the keys, kept between runs (a new one in TMPDIR, removed at the end)"},
    {"idp-url", "URL", OPT_IDP_URL, "issuer of the org, where it is reached by another name"},
    {"agent1-url", "URL", OPT_URL + TH_RESOURCE_AGENT1, "resource URL of agent1"},
    {"agent2-url", "URL", OPT_URL + TH_RESOURCE_AGENT2, "of agent2 (http://ADDRESS:PORT)"},
    {"agent3-url", "URL", OPT_URL + TH_RESOURCE_AGENT3, "of agent3 (likewise)"},
    {"api-url", "URL", OPT_URL + TH_RESOURCE_API, "of the API (likewise)"},
    {"agent2-proxy", "URL", OPT_AGENT2_PROXY, "proxy that agent2 calls agent3 through"},
    {"write-config", "FILE", OPT_WRITE_CONFIG,
     "write a configuration of tokenhop for this sandbox"},
    {"proxy-port", "N", OPT_PROXY_PORT, "in it, the port of the listener for agent1 (8080)"},
    {"agent2-proxy-port", "N", OPT_AGENT2_PROXY_PORT,
     "in it, that of a listener for agent2; also sets --agent2-proxy"},
    {"config-alg", "ALG", OPT_CONFIG_ALG, "in it, the agents' algorithm: RS256 or ES256 (RS256)"},
    {"set", "NAME=VALUE", OPT_SET, "a setting, see below; may come several times"},
    {"allow-any-address", NULL, OPT_ANY_ADDRESS,
     "let --address be other than loopback: whoever reaches it can mint tokens"},
    {"help", NULL, 'h', "this text"},
    {"version", NULL, 'V', "the version"},
};

static void print_world(FILE *out)
{
    fprintf(out, "\nUsers:\n");
    for (size_t i = 0; i < TH_USER_COUNT; i++)
        fprintf(out, "  %-8s %s  %s, %s\n", th_world_users[i].name, th_world_users[i].id,
                th_world_users[i].login, th_world_users[i].text);
    fprintf(out, "\nClients:\n");
    for (size_t i = 0; i < TH_CLIENT_COUNT; i++)
        fprintf(out, "  %-8s %s  %s\n", th_world_clients[i].name, th_world_clients[i].client_id,
                th_world_clients[i].text);
    fprintf(out, "\nAuthorization servers:\n");
    for (size_t i = 0; i < TH_SERVER_COUNT; i++)
        fprintf(out, "  %-8s ISSUER%s  %s\n", th_world_servers[i].name, th_world_servers[i].path,
                th_world_servers[i].text);
    fprintf(out, "\nAgents and APIs:\n");
    for (size_t i = 0; i < TH_RESOURCE_COUNT; i++)
        fprintf(out, "  %-8s protected by %s, scopes: %s\n", th_world_resources[i].name,
                th_world_servers[th_world_resources[i].server].name, th_world_resources[i].scopes);
    fprintf(out, "\nResource connections:\n");
    for (size_t i = 0; i < th_world_connections_count; i++)
        fprintf(out, "  %-14s scopes: %s\n", th_world_connections[i].name,
                th_world_connections[i].scopes);
    for (size_t i = 0; i < th_world_vault_count; i++)
        fprintf(out, "  %-14s %s\n", th_world_vault[i].name, th_world_vault[i].text);
}

void th_sandbox_options_help(FILE *out)
{
    char left[64];
    fprintf(out,
            "Usage: tokenhop-sandbox [OPTION]...\n"
            "An identity provider and protected agents, to try and test tokenhop without an Okta "
            "org.\nRuns in the foreground; says on one line of JSON where everything is.\n\n");
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        snprintf(left, sizeof left, "--%s%s%s", rows[i].name, rows[i].value != NULL ? " " : "",
                 rows[i].value != NULL ? rows[i].value : "");
        fprintf(out, "  %-26s %s\n", left, rows[i].text);
    }
    print_world(out);
    fprintf(
        out,
        "\nSteering, at the provider's port: GET /sandbox/info, GET /sandbox/stats,\n"
        "  GET /sandbox/mint?user=alice&audience=agent1&type=id_token, POST /sandbox/settings,\n"
        "  POST|GET|DELETE /sandbox/faults, POST /sandbox/revoke, POST /sandbox/reset,\n"
        "  GET|POST /sandbox/vault\n");
    fprintf(out, "\nSettings:\n");
    th_sandbox_settings_help(out);
    fprintf(out, "\nFaults, as {\"place\": \"org_token\", \"kind\": ..., \"count\": 1} (-1: for "
                 "ever); places are org_token,\naus2_token, org_revoke, org_keys, org_metadata, "
                 "agent2, agent3, api and their like:\n");
    th_faults_help(out);
    fprintf(out, "\nEndpoints of agents, open at / and protected under /a2a/: echo, status/N, "
                 "bytes/N, chunked/N/K,\n  sse?n=&ms=, slow?ms=, close, reset. Protected only: "
                 "POST /a2a/ (A2A), GET /a2a/whoami.\n  All of them also under /key/ (X-Api-Key, a "
                 "secret), /account/ (Basic, a service account)\n  and /code/ (a third party's "
                 "token), with a whoami each.\n  Of the API also under /at/NAME/, protected by the "
                 "authorization server of that name that is\n  not Okta's, for its first "
                 "target.\n");
}

static int parse_port(const char *text, size_t len, int *ret_port, struct th_errinfo *reterr)
{
    uint64_t port = 0;
    if (th_str_to_u64((struct th_str){text, len}, 65535, &port) != 0)
        return th_errinfo_set(reterr, TH_E_CONFIG, NULL, NULL, "not a port: %.*s",
                              (int)(len < 32 ? len : 32), text);
    *ret_port = (int)port;
    return 0;
}

static int parse_ports(const char *text, struct th_sandbox_options *options,
                       struct th_errinfo *reterr)
{
    for (size_t i = 0; i < TH_RESOURCE_COUNT && text != NULL; i++) {
        if (!th_world_resources[i].listens)
            continue;
        const char *comma = strchr(text, ',');
        size_t len = comma != NULL ? (size_t)(comma - text) : strlen(text);
        int e = parse_port(text, len, &options->ports[i], reterr);
        if (e != 0)
            return e;
        text = comma != NULL ? comma + 1 : NULL;
    }
    return text == NULL ? 0
                        : th_errinfo_set(reterr, TH_E_CONFIG, NULL, NULL,
                                         "--port-agents has more ports than there are agents");
}

static int parse_one(int id, const char *value, struct th_sandbox_options *options,
                     struct th_errinfo *reterr)
{
    if (id >= OPT_URL && id < OPT_URL + TH_RESOURCE_COUNT) {
        options->urls[id - OPT_URL] = value;
        return 0;
    }
    switch (id) {
    case OPT_ADDRESS:
        options->address = value;
        return 0;
    case OPT_PORT_IDP:
        return parse_port(value, strlen(value), &options->idp_port, reterr);
    case OPT_PORT_AGENTS:
        return parse_ports(value, options, reterr);
    case OPT_PORT_IDP_TLS:
        return parse_port(value, strlen(value), &options->idp_tls_port, reterr);
    case OPT_PORT_AGENT2_TLS:
        return parse_port(value, strlen(value), &options->agent2_tls_port, reterr);
    case OPT_STATE:
        options->state = value;
        return 0;
    case OPT_WRITE_CONFIG:
        options->write_config = value;
        return 0;
    case OPT_CONFIG_ALG:
        options->config_alg = value;
        return 0;
    case OPT_PROXY_PORT:
        return parse_port(value, strlen(value), &options->proxy_port, reterr);
    case OPT_AGENT2_PROXY_PORT:
        return parse_port(value, strlen(value), &options->agent2_proxy_port, reterr);
    case OPT_AGENT2_PROXY:
        options->agent2_proxy = value;
        return 0;
    case OPT_IDP_URL:
        options->idp_url = value;
        return 0;
    case OPT_SET:
        return th_sandbox_settings_parse(&options->settings, th_str_of(value), reterr);
    case OPT_ANY_ADDRESS:
        options->any_address = true;
        return 0;
    default: /* getopt_long has said what is wrong */
        return th_errinfo_set(reterr, TH_E_CONFIG, NULL, "see tokenhop-sandbox --help",
                              "unknown option");
    }
}

/* A slash at the end would make another resource of it (reference 4.1). */
static int check(const struct th_sandbox_options *options, struct th_errinfo *reterr)
{
    bool loopback =
        strncmp(options->address, "127.", 4) == 0 || strcmp(options->address, "::1") == 0;
    if (!loopback && !options->any_address)
        return th_errinfo_set(reterr, TH_E_CONFIG, "--address", "add --allow-any-address",
                              "%s is not loopback, and whoever reaches the sandbox can mint tokens",
                              options->address);
    if (options->idp_url != NULL && th_str_ends_with(th_str_of(options->idp_url), TH_STR("/")))
        return th_errinfo_set(reterr, TH_E_CONFIG, "--idp-url", "remove the slash",
                              "an Okta issuer does not end in a slash");
    if (strcmp(options->config_alg, "RS256") != 0 && strcmp(options->config_alg, "ES256") != 0)
        return th_errinfo_set(reterr, TH_E_CONFIG, "--config-alg", NULL, "RS256 or ES256");
    return 0;
}

int th_sandbox_options_parse(int argc, char **argv, struct th_sandbox_options *ret_options,
                             struct th_errinfo *reterr)
{
    struct option options[TH_COUNT_OF(rows) + 1] = {0};
    int id, e = 0;
    memset(ret_options, 0, sizeof *ret_options);
    ret_options->address = "127.0.0.1";
    ret_options->config_alg = "RS256";
    ret_options->proxy_port = 8080;
    ret_options->agent2_tls_port = -1;
    ret_options->idp_tls_port = -1;
    th_sandbox_settings_init(&ret_options->settings);
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++)
        options[i] =
            (struct option){rows[i].name, rows[i].value != NULL ? required_argument : no_argument,
                            NULL, rows[i].id};
    while (e == 0 && (id = getopt_long(argc, argv, "hV", options, NULL)) != -1) {
        if (id == 'h') {
            th_sandbox_options_help(stdout);
            return 1;
        }
        if (id == 'V') {
            printf("tokenhop-sandbox " TH_VERSION "\n");
            return 1;
        }
        e = parse_one(id, optarg, ret_options, reterr);
    }
    if (e == 0 && optind < argc)
        e = th_errinfo_set(reterr, TH_E_CONFIG, NULL, "see tokenhop-sandbox --help",
                           "unexpected argument: %.100s", argv[optind]);
    return e != 0 ? e : check(ret_options, reterr);
}
