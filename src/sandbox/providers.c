#include "provider.h"

#include "tokenhop/base/check.h"

#define BIT(server) (1u << TH_SERVER_##server)
#define TENANT "5a9d2c1e-7b3f-4e8a-9c60-1f2e3d4c5b6a"
#define GOOGLE_POOL                                                                                \
    "//iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/sandbox/"      \
    "providers/okta"

/* RFC 8693 with all that it allows, and identity chaining's first leg. */
static const struct th_provider_row rfc8693 = {
    .token_path = "/sts/token",
    .revoke_path = "/sts/revoke",
    .keys_path = "/sts/jwks",
    .metadata_paths = {"/.well-known/oauth-authorization-server/sts"},
    .clients = {{TH_CLIENT_AGENT1, "sts-agent1", TH_CLIENT_BY_KEY, "urn:sandbox:agent1"},
                {TH_CLIENT_AGENT2, "sts-agent2", TH_CLIENT_BY_BASIC, "urn:sandbox:agent2"}},
    .targets = {{"https://orders.sandbox.test", "orders.read orders.write"},
                {"https://reports.sandbox.test", "reports.read"},
                {"urn:sandbox:billing", "billing.read"}},
    .grants = {{TH_GRANT_EXCHANGE, th_provider_exchange},
               {TH_GRANT_CLIENT_CREDENTIALS, th_provider_credentials}},
    .exchange = {.subject_types = TH_BIT_ACCESS | TH_BIT_ID | TH_BIT_JWT,
                 .requested_types = TH_BIT_ACCESS | TH_BIT_ID | TH_BIT_JWT,
                 .takes_audience = true,
                 .takes_resource = true,
                 .target_required = true,
                 .actor = TH_ACTOR_TAKEN},
    .issuer_is_audience = true,
    .repeats = true,
    .client_claim = "client_id",
    .scope_claim = "scope",
    .typ = "at+jwt",
};

/* Standard token exchange, version 2. */
static const struct th_provider_row keycloak = {
    .token_path = "/realms/sandbox/protocol/openid-connect/token",
    .revoke_path = "/realms/sandbox/protocol/openid-connect/revoke",
    .keys_path = "/realms/sandbox/protocol/openid-connect/certs",
    .metadata_paths = {"/realms/sandbox/.well-known/openid-configuration"},
    .clients = {{TH_CLIENT_AGENT1, "agent1-client", TH_CLIENT_BY_BASIC, "agent1-client"},
                {TH_CLIENT_AGENT2, "agent2-client", TH_CLIENT_BY_KEY, "agent2-client"}},
    .targets = {{"orders-api", "orders.read orders.write"}, {"reports-api", "reports.read"}},
    .grants = {{TH_GRANT_EXCHANGE, th_provider_exchange},
               {TH_GRANT_CLIENT_CREDENTIALS, th_provider_credentials}},
    .exchange = {.subject_types = TH_BIT_ACCESS,
                 .requested_types = TH_BIT_ACCESS | TH_BIT_ID,
                 .takes_audience = true,
                 .actor = TH_ACTOR_IGNORED},
    .issuer_is_audience = true,
    .repeats = true,
    .client_claim = "azp",
    .scope_claim = "scope",
    .typ = "JWT",
    .shape = th_keycloak_shape,
};

static const struct th_provider_row auth0 = {
    .token_path = "/auth0/oauth/token",
    .revoke_path = "/auth0/oauth/revoke",
    .keys_path = "/auth0/.well-known/jwks.json",
    .metadata_paths = {"/auth0/.well-known/openid-configuration",
                       "/.well-known/oauth-authorization-server/auth0"},
    .clients = {{TH_CLIENT_AGENT1, "a0Agent1SandboxClientId000000001", TH_CLIENT_BY_POST,
                 "https://agent1.sandbox.test/"},
                {TH_CLIENT_AGENT2, "a0Agent2SandboxClientId000000002", TH_CLIENT_BY_KEY,
                 "https://agent2.sandbox.test/"}},
    .targets = {{"https://orders.sandbox.test/", "orders.read orders.write"},
                {"https://reports.sandbox.test/", "reports.read"}},
    .grants = {{TH_GRANT_EXCHANGE, th_auth0_exchange},
               {TH_GRANT_VAULT, th_auth0_vault},
               {TH_GRANT_JWT_BEARER, th_provider_assertion},
               {TH_GRANT_CLIENT_CREDENTIALS, th_provider_credentials}},
    .exchange = {.subject_types = TH_BIT_ACCESS,
                 .requested_types = TH_BIT_ACCESS,
                 .type_required = true,
                 .takes_audience = true,
                 .target_required = true,
                 .actor = TH_ACTOR_IS_CLIENT},
    .assertion_issuers = BIT(ORG),
    .wants_id_jag = true,
    .issuer_is_audience = true,
    .client_claim = "azp",
    .scope_claim = "scope",
    .typ = "at+jwt",
    .shape = th_auth0_shape,
};

static const struct th_provider_row entra = {
    .token_path = "/" TENANT "/oauth2/v2.0/token",
    .keys_path = "/" TENANT "/discovery/v2.0/keys",
    .metadata_paths = {"/" TENANT "/v2.0/.well-known/openid-configuration"},
    .clients = {{TH_CLIENT_AGENT1, "11111111-aaaa-4bbb-8ccc-000000000001", TH_CLIENT_BY_POST,
                 "11111111-aaaa-4bbb-8ccc-000000000001"},
                {TH_CLIENT_AGENT2, "11111111-aaaa-4bbb-8ccc-000000000002", TH_CLIENT_BY_CERTIFICATE,
                 "11111111-aaaa-4bbb-8ccc-000000000002"}},
    .targets = {{"api://orders", "Orders.Read Orders.Write"}, {"api://reports", "Reports.Read"}},
    .grants = {{TH_GRANT_JWT_BEARER, th_entra_assertion},
               {TH_GRANT_CLIENT_CREDENTIALS, th_provider_credentials}},
    .scope_is_target = true,
    .client_claim = "azp",
    .scope_claim = "scp",
    .typ = "JWT",
    .shape = th_entra_shape,
};

/* RFC 7523, for those who trust somebody else's assertions. */
static const struct th_provider_row bearer = {
    .token_path = "/bearer/token",
    .revoke_path = "/bearer/revoke",
    .keys_path = "/bearer/jwks",
    .metadata_paths = {"/.well-known/oauth-authorization-server/bearer"},
    .clients = {{TH_CLIENT_AGENT1, "bearer-agent1", TH_CLIENT_BY_NOTHING, "urn:bearer:agent1"},
                {TH_CLIENT_AGENT2, "bearer-agent2", TH_CLIENT_BY_SECRET_JWT, "urn:bearer:agent2"}},
    .targets = {{"https://stock.sandbox.test", "stock.read stock.write"}},
    .grants = {{TH_GRANT_JWT_BEARER, th_provider_assertion},
               {TH_GRANT_CLIENT_CREDENTIALS, th_provider_credentials}},
    .assertion_issuers = BIT(ORG) | BIT(RFC8693),
    .issuer_is_audience = true,
    .client_claim = "client_id",
    .scope_claim = "scope",
    .typ = "at+jwt",
};

/* The other domain of identity chaining: rfc8693 issues for it. */
static const struct th_provider_row partner = {
    .token_path = "/partner/as/token",
    .revoke_path = "/partner/as/revoke",
    .keys_path = "/partner/as/jwks",
    .metadata_paths = {"/.well-known/openid-configuration/partner/as"},
    .clients = {{TH_CLIENT_AGENT1, "partner-agent1", TH_CLIENT_BY_KEY, "urn:partner:agent1"},
                {TH_CLIENT_AGENT2, "partner-agent2", TH_CLIENT_BY_POST, "urn:partner:agent2"}},
    .targets = {{"https://parts.partner.test", "parts.read parts.order"}},
    .grants = {{TH_GRANT_JWT_BEARER, th_provider_assertion},
               {TH_GRANT_CLIENT_CREDENTIALS, th_provider_credentials}},
    .assertion_issuers = BIT(RFC8693),
    .client_claim = "client_id",
    .scope_claim = "scope",
    .typ = "at+jwt",
};

/* Nobody authenticates: the subject token is all there is. */
static const struct th_provider_row google = {
    .token_path = "/google/v1/token",
    .targets = {{GOOGLE_POOL, "https://www.googleapis.com/auth/cloud-platform"}},
    .grants = {{TH_GRANT_EXCHANGE, th_provider_exchange}},
    .exchange = {.subject_types = TH_BIT_ID | TH_BIT_JWT,
                 .requested_types = TH_BIT_ACCESS,
                 .type_required = true,
                 .takes_audience = true,
                 .target_required = true,
                 .actor = TH_ACTOR_IGNORED,
                 .trusted = BIT(ORG)},
    .anonymous = true,
    .opaque = true,
};

static const struct th_provider_row ping = {
    .token_path = "/ping/as/token.oauth2",
    .revoke_path = "/ping/as/revoke_token.oauth2",
    .keys_path = "/ping/pf/JWKS",
    .metadata_paths = {"/ping/.well-known/openid-configuration"},
    .clients = {{TH_CLIENT_AGENT1, "pf-agent1", TH_CLIENT_BY_BASIC, "urn:ping:agent1"},
                {TH_CLIENT_AGENT2, "pf-agent2", TH_CLIENT_BY_KEY, "urn:ping:agent2"}},
    .targets = {{"https://orders.ping.test", "orders.read orders.write"}},
    .grants = {{TH_GRANT_EXCHANGE, th_provider_exchange},
               {TH_GRANT_CLIENT_CREDENTIALS, th_provider_credentials}},
    .exchange = {.subject_types = TH_BIT_ACCESS | TH_BIT_JWT,
                 .requested_types = TH_BIT_ACCESS | TH_BIT_JWT,
                 .takes_audience = true,
                 .takes_resource = true,
                 .actor = TH_ACTOR_TAKEN},
    .issuer_is_audience = true,
    .client_claim = "client_id",
    .scope_claim = "scope",
    .typ = "at+jwt",
};

/* The actor's token is the agent's own, by client_credentials. */
static const struct th_provider_row wso2 = {
    .token_path = "/wso2/oauth2/token",
    .revoke_path = "/wso2/oauth2/revoke",
    .keys_path = "/wso2/oauth2/jwks",
    .metadata_paths = {"/wso2/oauth2/token/.well-known/openid-configuration"},
    .clients = {{TH_CLIENT_AGENT1, "wso2-agent1", TH_CLIENT_BY_BASIC, "wso2-agent1"},
                {TH_CLIENT_AGENT2, "wso2-agent2", TH_CLIENT_BY_KEY, "wso2-agent2"}},
    .targets = {{"https://orders.wso2.test", "orders.read orders.write"}},
    .grants = {{TH_GRANT_EXCHANGE, th_provider_exchange},
               {TH_GRANT_CLIENT_CREDENTIALS, th_provider_credentials}},
    .exchange = {.subject_types = TH_BIT_ACCESS | TH_BIT_JWT,
                 .requested_types = TH_BIT_ACCESS | TH_BIT_JWT,
                 .takes_audience = true,
                 .actor = TH_ACTOR_WANTED},
    .issuer_is_audience = true,
    .client_claim = "client_id",
    .scope_claim = "scope",
    .typ = "at+jwt",
};

const struct th_provider_row *const th_world_providers[TH_SERVER_COUNT] = {
    [TH_SERVER_RFC8693] = &rfc8693, [TH_SERVER_KEYCLOAK] = &keycloak,
    [TH_SERVER_AUTH0] = &auth0,     [TH_SERVER_ENTRA] = &entra,
    [TH_SERVER_BEARER] = &bearer,   [TH_SERVER_PARTNER] = &partner,
    [TH_SERVER_GOOGLE] = &google,   [TH_SERVER_PING] = &ping,
    [TH_SERVER_WSO2] = &wso2,
};

const struct th_provider_row *th_provider_of(const struct th_registry_server *server)
{
    return th_world_providers[server->row - th_world_servers];
}

const struct th_target_row *th_provider_find_target(const struct th_provider_row *provider,
                                                    struct th_str name)
{
    for (size_t i = 0; i < TH_PROVIDER_TARGETS && provider->targets[i].name != NULL; i++) {
        if (th_str_equal(name, th_str_of(provider->targets[i].name)))
            return &provider->targets[i];
    }
    return NULL;
}
