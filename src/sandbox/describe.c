/* What the sandbox says of itself: the line of JSON at its start, /sandbox/info, and a configuration of
 * tokenhop that fits it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "provider.h"
#include "sandbox.h"
#include "text.h"
#include "tokenhop/base/check.h"

static json_t *describe_servers(const struct th_registry *registry)
{
    json_t *object = json_object();
    for (size_t i = 0; i < TH_SERVER_OKTA_COUNT; i++) {
        const struct th_registry_server *server = &registry->servers[i];
        json_object_set_new(object, server->row->name,
                            json_pack("{s:s, s:s, s:s, s:s, s:s?}", "issuer", server->issuer,
                                      "token_endpoint", server->token_url, "revocation_endpoint",
                                      server->revoke_url, "jwks_uri", server->keys_url,
                                      "default_audience", server->row->default_audience));
    }
    return object;
}

static json_t *describe_registrations(const struct th_registry_server *server)
{
    json_t *object = json_object();
    for (size_t i = 0; i < TH_REGISTRY_REGISTRATIONS; i++) {
        const struct th_registry_registration *registration = &server->registrations[i];
        if (registration->client == NULL)
            continue;
        json_object_set_new(object, registration->client->row->name,
                            json_pack("{s:s, s:s, s:s*, s:s*}", "client_id",
                                      registration->row->client_id, "audience",
                                      registration->row->audience, "secret_file",
                                      registration->secret_file, "certificate_file",
                                      registration->certificate_file));
    }
    return object;
}

/* The servers that are not Okta's. `url` is a protected resource that takes their tokens for the first
 * target. */
static json_t *describe_providers(const struct th_registry *registry)
{
    json_t *object = json_object();
    char url[512];
    for (size_t i = TH_SERVER_OKTA_COUNT; i < TH_SERVER_COUNT; i++) {
        const struct th_registry_server *server = &registry->servers[i];
        const struct th_provider_row *provider = th_world_providers[i];
        json_t *targets = json_array();
        for (size_t k = 0; k < TH_PROVIDER_TARGETS && provider->targets[k].name != NULL; k++)
            json_array_append_new(targets, json_string(provider->targets[k].name));
        snprintf(url, sizeof url, "%s/at/%s/", registry->resources[TH_RESOURCE_API].url,
                 server->row->name);
        json_object_set_new(object, server->row->name,
                            json_pack("{s:s, s:s, s:s*, s:s*, s:s, s:o, s:o}", "issuer",
                                      server->issuer, "token_endpoint", server->token_url,
                                      "revocation_endpoint", server->revoke_url, "jwks_uri",
                                      server->keys_url, "url", url, "targets", targets, "clients",
                                      describe_registrations(server)));
    }
    return object;
}

static json_t *describe_clients(const struct th_registry *registry)
{
    json_t *object = json_object();
    for (size_t i = 0; i < TH_CLIENT_COUNT; i++) {
        const struct th_registry_client *client = &registry->clients[i];
        json_t *keys = json_array();
        for (size_t k = 0; k < TH_REGISTRY_CLIENT_KEYS; k++) {
            const struct th_registry_key *key = &client->keys[k];
            struct th_str alg = th_alg_name(key->alg);
            if (key->key != NULL)
                json_array_append_new(keys, json_pack("{s:s, s:s%, s:s}", "kid", key->kid, "alg",
                                                      alg.ptr, alg.len, "key_file", key->file));
        }
        json_object_set_new(object, client->row->name,
                            json_pack("{s:s, s:o, s:s*}", "client_id", client->row->client_id,
                                      "keys", keys, "secret_file", client->secret_file));
    }
    return object;
}

static json_t *describe_agents(const struct th_sandbox *sandbox)
{
    json_t *object = json_object();
    char address[96];
    for (size_t i = 0; i < TH_RESOURCE_COUNT; i++) {
        const struct th_registry_resource *resource = &sandbox->registry.resources[i];
        json_t *agent =
            json_pack("{s:s, s:s, s:s, s:s}", "resource", resource->url, "audience",
                      resource->audience, "server", th_world_servers[resource->row->server].name,
                      "scopes", resource->row->scopes);
        snprintf(address, sizeof address, "%s:%d", sandbox->options.address,
                 sandbox->agents[i].port);
        if (agent != NULL && resource->row->listens) {
            json_object_set_new(agent, "port", json_integer(sandbox->agents[i].port));
            json_object_set_new(agent, "address", json_string(address));
        }
        if (agent != NULL && i == TH_RESOURCE_AGENT2 && sandbox->agent2_tls_port != 0) {
            json_object_set_new(agent, "tls_port", json_integer(sandbox->agent2_tls_port));
            json_object_set_new(agent, "ca_file", json_string(sandbox->tls.ca_file));
        }
        json_object_set_new(object, resource->row->name, agent);
    }
    return object;
}

static json_t *describe_vault(void)
{
    static const char *const kinds[] = {[TH_VAULT_SECRET] = "secret",
                                        [TH_VAULT_ACCOUNT] = "service_account",
                                        [TH_VAULT_STS] = "resource_server",
                                        [TH_VAULT_LINKED] = "token_vault"};
    json_t *object = json_object();
    for (size_t i = 0; i < th_world_vault_count; i++)
        json_object_set_new(object, th_world_vault[i].name,
                            json_pack("{s:s, s:s, s:s}", "type", kinds[th_world_vault[i].kind],
                                      "agent", th_world_clients[th_world_vault[i].agent].name,
                                      "resource", th_world_vault[i].resource));
    return object;
}

json_t *th_sandbox_describe(const struct th_sandbox *sandbox)
{
    json_t *users = json_object();
    const struct th_registry *registry = &sandbox->registry;
    for (size_t i = 0; i < TH_USER_COUNT; i++)
        json_object_set_new(
            users, th_world_users[i].name,
            json_pack("{s:s, s:s}", "id", th_world_users[i].id, "login", th_world_users[i].login));
    json_t *all = json_pack(
        "{s:s, s:i, s:s, s:i, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "event", "ready", "pid",
        (int)getpid(), "issuer", registry->servers[TH_SERVER_ORG].issuer, "port", sandbox->idp_port,
        "state", sandbox->folder, "servers", describe_servers(registry), "providers",
        describe_providers(registry), "clients", describe_clients(registry), "agents",
        describe_agents(sandbox), "users", users, "vault", describe_vault());
    if (all != NULL && sandbox->idp_tls_port != 0) {
        json_object_set_new(all, "tls_port", json_integer(sandbox->idp_tls_port));
        json_object_set_new(all, "ca_file", json_string(sandbox->idp_tls.ca_file));
    }
    return all;
}

static json_t *config_agent(const struct th_sandbox *sandbox, enum th_world_client index)
{
    const struct th_registry_client *client = &sandbox->registry.clients[index];
    struct th_str url = th_registry_client_url(&sandbox->registry, client);
    struct th_str wanted = th_str_of(sandbox->options.config_alg);
    const struct th_registry_key *key =
        &client->keys[th_str_equal(wanted, th_alg_name(client->keys[0].alg)) ? 0 : 1];
    json_t *agent = json_pack(
        "{s:s, s:{s:s, s:s, s:s, s:s}, s:s%, s:s}", "client_id", client->row->client_id, "auth",
        "method", "private_key_jwt", "key_file", key->file, "kid", key->kid, "alg",
        sandbox->options.config_alg, "resource", url.ptr, url.len, "authorization_server", "org");
    if (agent != NULL && client->row->linked_app != TH_CLIENT_NONE)
        json_object_set_new(agent, "linked_client_ids",
                            json_pack("[s]", th_world_clients[client->row->linked_app].client_id));
    return agent;
}

static json_t *config_connection(const struct th_sandbox *sandbox, enum th_world_resource index,
                                 json_t *agents, const char *first, const char *second)
{
    char url[1024];
    const struct th_registry_resource *resource = &sandbox->registry.resources[index];
    bool api = resource->row->by_default_audience;
    snprintf(url, sizeof url, "%s/", resource->url);
    json_t *scopes = json_pack("[s]", first);
    if (second != NULL)
        json_array_append_new(scopes, json_string(second));
    json_t *connection = json_pack(
        "{s:s, s:s, s:s, s:o, s:s, s:o}", "name", resource->row->name, "url", url, "type",
        api ? "authorization_server" : "agent_to_agent", "agents", agents, "authorization_server",
        th_world_servers[resource->row->server].name, "scopes", scopes);
    if (connection != NULL && !api)
        json_object_set_new(connection, "resource", json_string(resource->url));
    return connection;
}

/* The API's paths that want what the vault holds for agent1. */
static void add_vault_connections(const struct th_sandbox *sandbox, json_t *connections)
{
    static const struct {
        const char *connection, *name, *type, *path;
    } rows[] = {
        {"agent1-weather", "weather", "secret", "/key/"},
        {"agent1-ledger", "ledger", "service_account", "/account/"},
        {"agent1-code", "code", "resource_server", "/code/"},
    };
    char url[1024];
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        const char *resource = "";
        for (size_t k = 0; k < th_world_vault_count; k++)
            if (strcmp(th_world_vault[k].name, rows[i].connection) == 0)
                resource = th_world_vault[k].resource;
        snprintf(url, sizeof url, "%s%s", sandbox->registry.resources[TH_RESOURCE_API].url,
                 rows[i].path);
        json_t *connection =
            json_pack("{s:s, s:s, s:s, s:[s], s:s}", "name", rows[i].name, "url", url, "type",
                      rows[i].type, "agents", "agent1", "resource", resource);
        if (i == 0 && connection != NULL)
            json_object_set_new(
                connection, "inject",
                json_pack("{s:s, s:s}", "header", "X-Api-Key", "template", "{api_key}"));
        json_array_append_new(connections, connection);
    }
}

static json_t *config_listener(const char *name, int port, const char *agent)
{
    char address[64];
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    return json_pack("{s:s, s:s, s:s, s:s}", "name", name, "address", address, "mode", "forward",
                     "agent", agent);
}

static json_t *make_config(const struct th_sandbox *sandbox)
{
    const struct th_sandbox_options *options = &sandbox->options;
    bool second = options->agent2_proxy_port != 0;
    json_t *listeners = json_array(), *agents = json_object(), *connections = json_array();
    json_t *servers = json_object(), *allow = json_array();
    json_array_append_new(listeners, config_listener("agent1", options->proxy_port, "agent1"));
    json_object_set_new(agents, "agent1", config_agent(sandbox, TH_CLIENT_AGENT1));
    if (second) {
        json_array_append_new(listeners,
                              config_listener("agent2", options->agent2_proxy_port, "agent2"));
        json_object_set_new(agents, "agent2", config_agent(sandbox, TH_CLIENT_AGENT2));
    }
    for (size_t i = 0; i < TH_SERVER_OKTA_COUNT; i++)
        json_object_set_new(servers, th_world_servers[i].name,
                            json_pack("{s:s}", "issuer", sandbox->registry.servers[i].issuer));
    json_array_append_new(connections,
                          config_connection(sandbox, TH_RESOURCE_AGENT2, json_pack("[s]", "agent1"),
                                            "chat.read", "chat.history"));
    json_array_append_new(connections,
                          config_connection(sandbox, TH_RESOURCE_AGENT3,
                                            second ? json_pack("[s, s]", "agent1", "agent2")
                                                   : json_pack("[s]", "agent1"),
                                            "chat.read", NULL));
    json_array_append_new(connections,
                          config_connection(sandbox, TH_RESOURCE_API, json_pack("[s]", "agent1"),
                                            "orders.read", NULL));
    add_vault_connections(sandbox, connections);
    /* Loopback is refused unless it is named. */
    for (size_t i = 0; i < TH_RESOURCE_COUNT; i++) {
        char address[96];
        snprintf(address, sizeof address, "%s:%d", options->address, sandbox->agents[i].port);
        if (th_world_resources[i].listens)
            json_array_append_new(allow, json_string(address));
    }
    return json_pack("{s:o, s:o, s:o, s:o, s:s, s:{s:o}}", "listeners", listeners,
                     "authorization_servers", servers, "agents", agents, "connections", connections,
                     "unmatched", "deny", "egress", "allow", allow);
}

int th_sandbox_write_config(const struct th_sandbox *sandbox, const char *path,
                            struct th_errinfo *reterr)
{
    json_t *config = make_config(sandbox);
    struct th_buf text;
    th_buf_init(&text, 1024 * 1024);
    th_buf_printf(&text, "// Made by tokenhop-sandbox for this run.\n");
    th_text_add_json(&text, config, JSON_INDENT(2));
    th_buf_add_char(&text, '\n');
    json_decref(config);
    FILE *out = text.failed ? NULL : fopen(path, "we");
    bool fine = out != NULL && fwrite(text.ptr, 1, text.len, out) == text.len;
    if (out != NULL && fclose(out) != 0)
        fine = false;
    th_buf_fini(&text);
    if (!fine)
        return th_errinfo_set(reterr, TH_E_IO, path, NULL, "cannot write: %s", strerror(errno));
    return 0;
}
