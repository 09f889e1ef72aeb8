/* The authorization servers that are not Okta's, as rows of one constant table: where their endpoints are,
 * who is registered there and how, which grants they take, by which rules, and what their answers look
 * like (reference, section 10). A new one is a row here, and one in world.c. */
#ifndef TOKENHOP_SRC_SANDBOX_PROVIDER_H
#define TOKENHOP_SRC_SANDBOX_PROVIDER_H

#include "grants.h"

#define TH_TYPE_JWT "urn:ietf:params:oauth:token-type:jwt"
#define TH_TYPE_REFRESH_TOKEN "urn:ietf:params:oauth:token-type:refresh_token"
#define TH_GRANT_VAULT                                                                             \
    "urn:auth0:params:oauth:grant-type:token-exchange:federated-connection-access-token"
#define TH_TYPE_VAULT "http://auth0.com/oauth/token-type/federated-connection-access-token"
#define TH_AUTH0_SUBJECT_TYPE "urn:example:legacy-token" /* that its Action validates */
#define TH_PROVIDER_TARGETS 3
#define TH_PROVIDER_GRANTS 5

/* An agent's registration at that server. */
struct th_registered_row {
    enum th_world_client client;
    const char *client_id;
    enum th_client_method method;
    const char *audience; /* `aud` of the access tokens that this agent is called with */
};

/* What access tokens are for: `audience` or `resource` of a request, and `aud` of what is issued. */
struct th_target_row {
    const char *name; /* NULL: no more */
    const char *scopes;
};

enum th_actor_rule {
    TH_ACTOR_IGNORED, /* not an actor_token, which is refused, but who acts: nothing says it */
    TH_ACTOR_TAKEN,   /* from the actor_token, if there is one */
    TH_ACTOR_WANTED,
    TH_ACTOR_IS_CLIENT
};

/* Types of tokens, as bits of th_exchange_rules. */
enum { TH_BIT_ACCESS = 1, TH_BIT_ID = 2, TH_BIT_JWT = 4, TH_BIT_REFRESH = 8 };

/* Token exchange (RFC 8693) as a server does it. */
struct th_exchange_rules {
    unsigned subject_types;
    unsigned requested_types; /* an access token comes when none is named */
    bool type_required;       /* one must be named */
    bool takes_audience;
    bool takes_resource;
    bool target_required; /* else it is the first that the scopes fit */
    enum th_actor_rule actor;
    unsigned trusted; /* bits of th_world_server, besides itself, whose tokens are taken */
};

struct th_provider_grant {
    const char *grant_type; /* NULL: no more */
    th_grant_fn *run;
};

struct th_provider_row {
    /* From the root of the port; NULL: there is none. */
    const char *token_path;
    const char *revoke_path;
    const char *keys_path;
    const char *metadata_paths[2];
    struct th_registered_row clients[TH_REGISTRY_REGISTRATIONS];
    struct th_target_row
        targets[TH_PROVIDER_TARGETS]; /* the first is what /at/NAME/ of the API is */
    struct th_provider_grant grants[TH_PROVIDER_GRANTS];
    struct th_exchange_rules exchange;
    unsigned assertion_issuers; /* bits of th_world_server: whose assertions jwt-bearer takes */
    bool wants_id_jag;          /* jwt-bearer takes nothing else */
    bool issuer_is_audience;    /* of client assertions, as well as the token endpoint */
    bool anonymous;             /* no client is registered */
    bool opaque;                /* its access tokens are no JWTs */
    bool repeats;               /* audience and resource may come several times */
    bool scope_is_target;       /* scope says the target too: TARGET/SCOPE or TARGET/.default */
    const char *client_claim;   /* of access tokens: the client that they were issued to */
    const char *scope_claim;    /* a string */
    const char *typ;            /* of their header; "": none */
    void (*shape)(
        const struct th_idp *idp, const struct th_idp_request *request,
        struct th_idp_answer *answer); /* makes the answer look like theirs; NULL: as it is */
};

/* One row a server; NULL for Okta's. */
extern const struct th_provider_row *const th_world_providers[TH_SERVER_COUNT];
const struct th_provider_row *th_provider_of(const struct th_registry_server *server);
const struct th_target_row *th_provider_find_target(const struct th_provider_row *provider,
                                                    struct th_str name);

/* The grants of these servers. */
th_grant_fn th_provider_exchange;    /* by the rules of the row */
th_grant_fn th_provider_assertion;   /* jwt-bearer: RFC 7523, identity chaining, an ID-JAG */
th_grant_fn th_provider_credentials; /* client_credentials */
th_grant_fn th_auth0_exchange;       /* on-behalf-of, or custom by the subject's type */
th_grant_fn th_auth0_vault;          /* a third party's token */
th_grant_fn th_entra_assertion;      /* on-behalf-of */

/* Shapes. */
void th_keycloak_shape(const struct th_idp *idp, const struct th_idp_request *request,
                       struct th_idp_answer *answer);
void th_auth0_shape(const struct th_idp *idp, const struct th_idp_request *request,
                    struct th_idp_answer *answer);
void th_entra_shape(const struct th_idp *idp, const struct th_idp_request *request,
                    struct th_idp_answer *answer);

#endif
