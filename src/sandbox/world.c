#include "world.h"

#include "tokenhop/base/check.h"

#define BIT(client) (1u << TH_CLIENT_##client)

const struct th_server_row th_world_servers[TH_SERVER_COUNT] = {
    [TH_SERVER_ORG] = {"org", "", true, NULL, "org authorization server: token exchange"},
    [TH_SERVER_AUS1] = {"aus1", "/oauth2/aus1", false, NULL, "protects agent1"},
    [TH_SERVER_AUS2] = {"aus2", "/oauth2/aus2", false, NULL, "protects agent2"},
    [TH_SERVER_AUS3] = {"aus3", "/oauth2/aus3", false, NULL, "protects agent3"},
    [TH_SERVER_AUS4] = {"aus4", "/oauth2/aus4", false, "api://sandbox", "protects the API"},
    [TH_SERVER_RFC8693] = {"rfc8693", "/sts", false, NULL, "generic token exchange"},
    [TH_SERVER_KEYCLOAK] = {"keycloak", "/realms/sandbox", false, NULL,
                            "Keycloak, standard token exchange"},
    [TH_SERVER_AUTH0] = {"auth0", "/auth0/", false, "https://orders.sandbox.test/",
                         "Auth0: on-behalf-of, custom exchange, token vault, ID-JAG"},
    [TH_SERVER_ENTRA] = {"entra", "/5a9d2c1e-7b3f-4e8a-9c60-1f2e3d4c5b6a/v2.0", false, NULL,
                         "Microsoft Entra, on-behalf-of"},
    [TH_SERVER_BEARER] = {"bearer", "/bearer", false, NULL, "plain jwt-bearer (RFC 7523)"},
    [TH_SERVER_PARTNER] = {"partner", "/partner/as", false, NULL,
                           "the other domain of identity chaining"},
    [TH_SERVER_GOOGLE] = {"google", "/google", false, NULL, "as Google's STS, without clients"},
    [TH_SERVER_PING] = {"ping", "/ping", false, NULL, "as PingFederate"},
    [TH_SERVER_WSO2] = {"wso2", "/wso2/oauth2/token", false, NULL, "as WSO2: wants an actor_token"},
};

/* Ids have Okta's form: wlp for agents, 0oa for apps, 00u for users, 20 characters. */
const struct th_client_row th_world_clients[TH_CLIENT_COUNT] = {
    [TH_CLIENT_AGENT1] = {"agent1", "wlp1agentsandbox0001", TH_CLIENT_IS_AGENT, TH_CLIENT_WEBAPP,
                          true, "calls agent2, agent3 and the API"},
    [TH_CLIENT_AGENT2] = {"agent2", "wlp2agentsandbox0002", TH_CLIENT_IS_AGENT, TH_CLIENT_NONE,
                          false, "is called by agent1, calls agent3"},
    [TH_CLIENT_AGENT3] = {"agent3", "wlp3agentsandbox0003", TH_CLIENT_IS_AGENT, TH_CLIENT_NONE,
                          false, "is called by agent2 and agent1, calls nobody"},
    [TH_CLIENT_SERVICE] = {"service", "0oa1servicesandbox01", TH_CLIENT_IS_SERVICE, TH_CLIENT_NONE,
                           false, "service app that may invoke agent1 (machine access)"},
    [TH_CLIENT_ROGUE] = {"rogue", "0oa2servicesandbox02", TH_CLIENT_IS_SERVICE, TH_CLIENT_NONE,
                         false, "service app without a delegation link to any agent"},
    [TH_CLIENT_WEBAPP] = {"webapp", "0oa3webappsandbox003", TH_CLIENT_IS_WEB, TH_CLIENT_NONE, false,
                          "the users' web app, linked to agent1"},
};

const struct th_user_row th_world_users[TH_USER_COUNT] = {
    [TH_USER_ALICE] = {"alice", "00u1alicesandbox0001", "alice@example.com", BIT(AGENT1), "traders",
                       "assigned to agent1"},
    [TH_USER_BOB] = {"bob", "00u2bobsandbox000002", "bob@example.com", BIT(AGENT1), "clerks",
                     "assigned to agent1"},
    [TH_USER_CAROL] = {"carol", "00u3carolsandbox0003", "carol@example.com", 0, "guests",
                       "assigned to no agent: her tokens are refused"},
};

const struct th_resource_row th_world_resources[TH_RESOURCE_COUNT] = {
    [TH_RESOURCE_AGENT1] = {"agent1", TH_SERVER_AUS1, false, false, "agent.invoke", "the caller"},
    [TH_RESOURCE_AGENT2] = {"agent2", TH_SERVER_AUS2, true, false,
                            "chat.read chat.history chat.admin", "A2A agent"},
    [TH_RESOURCE_AGENT3] = {"agent3", TH_SERVER_AUS3, true, false,
                            "chat.read chat.history chat.admin", "A2A agent"},
    [TH_RESOURCE_API] = {"api", TH_SERVER_AUS4, true, true, "orders.read orders.write",
                         "API of the type authorization_server"},
    [TH_RESOURCE_STORE] = {"store", TH_SERVER_AUTH0, false, true, "orders.read orders.write",
                           "an API at Auth0, by an ID-JAG"},
};

const struct th_link_row th_world_links[] = {
    {TH_CLIENT_SERVICE, TH_CLIENT_AGENT1},
    {TH_CLIENT_AGENT1, TH_CLIENT_AGENT2},
    {TH_CLIENT_AGENT2, TH_CLIENT_AGENT3},
};
const size_t th_world_links_count = TH_COUNT_OF(th_world_links);

const struct th_connection_row th_world_connections[] = {
    {"agent1-agent2", TH_CLIENT_AGENT1, TH_RESOURCE_AGENT2, "chat.read chat.history chat.admin"},
    {"agent1-agent3", TH_CLIENT_AGENT1, TH_RESOURCE_AGENT3, "chat.read chat.history"},
    {"agent1-api", TH_CLIENT_AGENT1, TH_RESOURCE_API, "orders.read orders.write"},
    {"agent1-store", TH_CLIENT_AGENT1, TH_RESOURCE_STORE, "orders.read orders.write"},
    {"agent2-agent3", TH_CLIENT_AGENT2, TH_RESOURCE_AGENT3, "chat.read chat.history"},
};
const size_t th_world_connections_count = TH_COUNT_OF(th_world_connections);

/* The first of each kind is what the API's guarded paths ask for (agent_guard.c). */
const struct th_vault_row th_world_vault[] = {
    {"agent1-weather", TH_VAULT_SECRET, TH_CLIENT_AGENT1,
     "orn:okta:pam:00o1sandbox:secrets:6f1c2a7e-5b0d-4c1f-9b53-0f7a1b2c3d4e", NULL,
     "vaulted secret: api_key, host"},
    {"agent1-ledger", TH_VAULT_ACCOUNT, TH_CLIENT_AGENT1,
     "orn:okta:pam:00o1sandbox:apps:ledger:0oa4ledgersandbox:service_accounts:b4a1", "svc-ledger",
     "service account"},
    {"agent1-code", TH_VAULT_STS, TH_CLIENT_AGENT1,
     "orn:okta:idp:00o1sandbox:client-auth-settings:rsc4sandbox", NULL,
     "third party's token, after the user's consent"},
    {"agent1-linked", TH_VAULT_LINKED, TH_CLIENT_AGENT1, "github", NULL,
     "third party's token in Auth0's vault, once the user's account is linked"},
    {"agent2-weather", TH_VAULT_SECRET, TH_CLIENT_AGENT2, "of agent2 alone", NULL,
     "a secret that agent1 must not get"},
};
const size_t th_world_vault_count = TH_COUNT_OF(th_world_vault);

/* aus4 does not grant orders.write to agent1 although the connection would: leg 1 succeeds and leg 2
 * meets access_denied. aus3 gives agent1 no rule at all: the same with every scope. */
const struct th_policy_row th_world_policies[] = {
    {TH_SERVER_AUS1, TH_CLIENT_SERVICE, false, true, "agent.invoke"},
    {TH_SERVER_AUS1, TH_CLIENT_ROGUE, false, true, "agent.invoke"},
    {TH_SERVER_AUS2, TH_CLIENT_AGENT1, true, false, "chat.read chat.history chat.admin"},
    {TH_SERVER_AUS3, TH_CLIENT_AGENT2, true, false, "chat.read chat.history"},
    {TH_SERVER_AUS4, TH_CLIENT_AGENT1, true, false, "orders.read"},
};
const size_t th_world_policies_count = TH_COUNT_OF(th_world_policies);

const struct th_behalf_row th_world_behalf[] = {
    {TH_SERVER_AUS4, TH_CLIENT_SERVICE, TH_RESOURCE_AGENT1, 1u << TH_SERVER_AUS1,
     "orders.read orders.write"},
};
const size_t th_world_behalf_count = TH_COUNT_OF(th_world_behalf);
