/* The world that the sandbox plays: its authorization servers, clients, users, delegation links,
 * resource connections and policies, as rows of constant tables. A new user, agent or resource type
 * is a row here. What depends on ports and keys is in registry.h. */
#ifndef TOKENHOP_SRC_SANDBOX_WORLD_H
#define TOKENHOP_SRC_SANDBOX_WORLD_H

#include <stdbool.h>
#include <stddef.h>

/* Indices into the tables, so that a reference between rows cannot dangle. */
enum th_world_server {
    TH_SERVER_ORG,
    TH_SERVER_AUS1,
    TH_SERVER_AUS2,
    TH_SERVER_AUS3,
    TH_SERVER_AUS4,
    TH_SERVER_RFC8693, /* from here on not Okta's: provider.h */
    TH_SERVER_KEYCLOAK,
    TH_SERVER_AUTH0,
    TH_SERVER_ENTRA,
    TH_SERVER_BEARER,
    TH_SERVER_PARTNER,
    TH_SERVER_GOOGLE,
    TH_SERVER_PING,
    TH_SERVER_WSO2,
    TH_SERVER_COUNT
};

enum th_world_client {
    TH_CLIENT_AGENT1,
    TH_CLIENT_AGENT2,
    TH_CLIENT_AGENT3,
    TH_CLIENT_SERVICE,
    TH_CLIENT_ROGUE,
    TH_CLIENT_WEBAPP,
    TH_CLIENT_COUNT,
    TH_CLIENT_NONE = TH_CLIENT_COUNT
};

#define TH_SERVER_OKTA_COUNT TH_SERVER_RFC8693

enum th_world_user { TH_USER_ALICE, TH_USER_BOB, TH_USER_CAROL, TH_USER_COUNT };

/* What receives calls: the agents, an API protected by a server of its own, and one behind a server of
 * another vendor that takes ID-JAGs. */
enum th_world_resource {
    TH_RESOURCE_AGENT1,
    TH_RESOURCE_AGENT2,
    TH_RESOURCE_AGENT3,
    TH_RESOURCE_API,
    TH_RESOURCE_STORE,
    TH_RESOURCE_COUNT
};

struct th_server_row {
    const char *name;
    const char *path; /* of the issuer */
    bool org;
    const char
        *default_audience; /* of tokens whose ID-JAG names no resource; NULL: the server has none */
    const char *text;
};

enum th_client_kind { TH_CLIENT_IS_AGENT, TH_CLIENT_IS_SERVICE, TH_CLIENT_IS_WEB };

struct th_client_row {
    const char *name;
    const char *client_id;
    enum th_client_kind kind;
    enum th_world_client linked_app; /* whose ID tokens it may present */
    bool user_access;                /* users may sign in to it */
    const char *text;
};

struct th_user_row {
    const char *name;
    const char *id;
    const char *login;
    unsigned assigned; /* bits of th_world_client */
    const char *groups;
    const char *text;
};

struct th_resource_row {
    const char *name;
    enum th_world_server server; /* whose access tokens it takes */
    bool listens;
    bool by_default_audience; /* its audience is the server's default, not its URL */
    const char *scopes;       /* that the server knows */
    const char *text;
};

struct th_link_row { /* delegation link */
    enum th_world_client from, to;
};

struct th_connection_row { /* resource connection */
    const char *name;
    enum th_world_client agent;
    enum th_world_resource resource;
    const char *scopes; /* the most that may be asked for */
};

/* A resource connection to what the provider holds for others (vault.h). */
enum th_vault_kind { TH_VAULT_SECRET, TH_VAULT_ACCOUNT, TH_VAULT_STS, TH_VAULT_LINKED };

struct th_vault_row {
    const char *name;
    enum th_vault_kind kind;
    enum th_world_client agent;
    const char *resource; /* that the exchange names, to the letter */
    const char *username; /* of an account */
    const char *text;
};

/* One rule of a custom server's access policy. */
struct th_policy_row {
    enum th_world_server server;
    enum th_world_client client;
    bool jwt_bearer;
    bool client_credentials;
    const char *scopes;
};

/* On-behalf-of at a custom server, without agents. */
struct th_behalf_row {
    enum th_world_server server;
    enum th_world_client client;
    enum th_world_resource called; /* the API that the client is: what subject tokens are for */
    unsigned trusted;              /* bits of th_world_server, besides `server` */
    const char *scopes;
};

extern const struct th_server_row th_world_servers[TH_SERVER_COUNT];
extern const struct th_client_row th_world_clients[TH_CLIENT_COUNT];
extern const struct th_user_row th_world_users[TH_USER_COUNT];
extern const struct th_resource_row th_world_resources[TH_RESOURCE_COUNT];
extern const struct th_link_row th_world_links[];
extern const size_t th_world_links_count;
extern const struct th_connection_row th_world_connections[];
extern const size_t th_world_connections_count;
extern const struct th_vault_row th_world_vault[];
extern const size_t th_world_vault_count;
extern const struct th_policy_row th_world_policies[];
extern const size_t th_world_policies_count;
extern const struct th_behalf_row th_world_behalf[];
extern const size_t th_world_behalf_count;

#endif
