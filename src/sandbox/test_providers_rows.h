/* The tables of test_providers.c: requests, what is changed of them, and answers. */
#ifndef TOKENHOP_SRC_SANDBOX_TEST_PROVIDERS_ROWS_H
#define TOKENHOP_SRC_SANDBOX_TEST_PROVIDERS_ROWS_H

#include "provider.h"
#include "test_support.h"

#define TT "urn:ietf:params:oauth:token-type:"
#define AUTH0_VAULT_FORM                                                                           \
    "{'grant_type':'" TH_GRANT_VAULT "','subject_token':{},'subject_token_type':'" TT              \
    "access_token','requested_token_type':'" TH_TYPE_VAULT "','connection':'github'}"

/* Single quotes stand for double ones. An object is a token that is made for the request: of alice, for
 * agent1 as this server knows it; its members are claims to replace (null: to remove), and "$server",
 * "$typ", "$id" (an ID token). An array comes several times. */
static const struct base_row {
    const char *name;
    enum th_world_server server;
    const char *form;
} bases[] = {
    {"rfc8693", TH_SERVER_RFC8693,
     "{'grant_type':'" TH_GRANT_EXCHANGE "','subject_token':{},'subject_token_type':'" TT
     "access_token','audience':'https://orders.sandbox.test','scope':'orders.read'}"},
    {"keycloak", TH_SERVER_KEYCLOAK,
     "{'grant_type':'" TH_GRANT_EXCHANGE "','subject_token':{},'subject_token_type':'" TT
     "access_token','audience':'orders-api','scope':'orders.read'}"},
    {"auth0", TH_SERVER_AUTH0,
     "{'grant_type':'" TH_GRANT_EXCHANGE "','subject_token':{},'subject_token_type':'" TT
     "access_token','requested_token_type':'" TT
     "access_token','audience':'https://orders.sandbox.test/','scope':'orders.read'}"},
    {"custom", TH_SERVER_AUTH0,
     "{'grant_type':'" TH_GRANT_EXCHANGE "','subject_token':{'$server':'org','aud':"
     "'wlp1agentsandbox0001'},'subject_token_type':'" TH_AUTH0_SUBJECT_TYPE
     "','audience':'https://orders.sandbox.test/','scope':'orders.read'}"},
    {"vault", TH_SERVER_AUTH0, AUTH0_VAULT_FORM},
    {"id_jag", TH_SERVER_AUTH0,
     "{'grant_type':'" TH_GRANT_JWT_BEARER "','assertion':{'$server':'org','$typ':"
     "'oauth-id-jag+jwt','aud':'" TEST_BASE "/auth0/','client_id':"
     "'a0Agent1SandboxClientId000000001','scope':'orders.read'},'scope':'orders.read'}"},
    {"entra", TH_SERVER_ENTRA,
     "{'grant_type':'" TH_GRANT_JWT_BEARER "','assertion':{},'requested_token_use':"
     "'on_behalf_of','scope':'api://orders/.default'}"},
    {"bearer", TH_SERVER_BEARER,
     "{'grant_type':'" TH_GRANT_JWT_BEARER "','assertion':{'$server':'org','aud':'" TEST_BASE
     "/bearer'},'scope':'stock.read'}"},
    {"chain", TH_SERVER_RFC8693,
     "{'grant_type':'" TH_GRANT_EXCHANGE "','subject_token':{},'subject_token_type':'" TT
     "access_token','requested_token_type':'" TT "jwt','resource':'" TEST_BASE
     "/partner/as','scope':'parts.read'}"},
    {"partner", TH_SERVER_PARTNER,
     "{'grant_type':'" TH_GRANT_JWT_BEARER "','assertion':{'$server':'rfc8693','aud':'" TEST_BASE
     "/partner/as','scope':'parts.read'}}"},
    {"google", TH_SERVER_GOOGLE,
     "{'grant_type':'" TH_GRANT_EXCHANGE "','subject_token':{'$server':'org','aud':"
     "'https://iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/"
     "sandbox/providers/okta'},'subject_token_type':'" TT "jwt','requested_token_type':'" TT
     "access_token','audience':'//iam.googleapis.com/projects/123456789/locations/global/"
     "workloadIdentityPools/sandbox/providers/okta','scope':"
     "'https://www.googleapis.com/auth/cloud-platform'}"},
    {"ping", TH_SERVER_PING,
     "{'grant_type':'" TH_GRANT_EXCHANGE "','subject_token':{},'subject_token_type':'" TT
     "access_token','resource':'https://orders.ping.test','scope':'orders.read'}"},
    {"wso2", TH_SERVER_WSO2,
     "{'grant_type':'" TH_GRANT_EXCHANGE "','subject_token':{},'subject_token_type':'" TT
     "access_token','actor_token':{'sub':'wso2-agent1','client_id':'wso2-agent1'},"
     "'actor_token_type':'" TT "access_token','scope':'orders.read'}"},
    {"own", TH_SERVER_KEYCLOAK, "{'grant_type':'client_credentials','scope':'orders.read'}"},
    {"own_auth0", TH_SERVER_AUTH0,
     "{'grant_type':'client_credentials','audience':'https://orders.sandbox.test/'}"},
    {"own_entra", TH_SERVER_ENTRA,
     "{'grant_type':'client_credentials','scope':'api://orders/.default'}"},
};

static const struct change_row {
    const char *base;
    const char *change; /* members to replace, null to remove; NULL: none */
    int status;
    const char *error;
    const char *reason; /* NULL: granted */
} changes[] = {
    {"rfc8693", NULL, 200, NULL, NULL},
    {"rfc8693", "{'audience':null,'resource':'https://orders.sandbox.test'}", 200, NULL, NULL},
    {"rfc8693", "{'audience':['https://orders.sandbox.test','https://reports.sandbox.test']}", 200,
     NULL, NULL},
    {"rfc8693", "{'resource':['https://reports.sandbox.test','urn:sandbox:billing']}", 200, NULL,
     NULL},
    {"rfc8693", "{'subject_token':{'$id':true},'subject_token_type':'" TT "id_token'}", 200, NULL,
     NULL},
    {"rfc8693", "{'subject_token_type':'" TT "jwt'}", 200, NULL, NULL},
    {"rfc8693", "{'requested_token_type':'" TT "id_token'}", 200, NULL, NULL},
    {"rfc8693", "{'subject_token':{'may_act':{'sub':'sts-agent1'}}}", 200, NULL, NULL},
    {"rfc8693", "{'subject_token':{'may_act':{'sub':'sts-agent2'}}}", 400, "invalid_request",
     "may_act"},
    {"rfc8693", "{'subject_token_type':'" TT "id_token'}", 400, "invalid_grant",
     "subject_audience"},
    {"rfc8693", "{'subject_token_type':null}", 400, "invalid_request", "subject_type"},
    {"rfc8693", "{'subject_token_type':'" TT "saml2'}", 400, "invalid_request", "subject_type"},
    {"rfc8693", "{'subject_token':null}", 400, "invalid_request", "subject_missing"},
    {"rfc8693", "{'subject_token':'opaque'}", 400, "invalid_request", "subject_malformed"},
    {"rfc8693", "{'subject_token':{'$server':'org'}}", 400, "invalid_grant", "subject_issuer"},
    {"rfc8693", "{'subject_token':{'$server':'keycloak'}}", 400, "invalid_grant", "subject_issuer"},
    {"rfc8693", "{'subject_token':{'iss':'" TEST_BASE "/sts/'}}", 400, "invalid_grant",
     "subject_issuer"},
    {"rfc8693", "{'subject_token':{'iss':'" TEST_BASE "/ping'}}", 400, "invalid_grant",
     "subject_signature"},
    {"rfc8693", "{'subject_token':{'exp':1790000000}}", 400, "invalid_grant", "subject_expired"},
    {"rfc8693", "{'subject_token':{'aud':'urn:sandbox:agent2'}}", 400, "invalid_grant",
     "subject_audience"},
    {"rfc8693", "{'subject_token':{'sub':'00u3carolsandbox0003'}}", 400, "invalid_grant",
     "user_not_assigned"},
    {"rfc8693", "{'subject_token':{'act':{'nosub':1}}}", 400, "invalid_grant", "subject_chain"},
    {"rfc8693", "{'requested_token_type':'" TT "refresh_token'}", 400, "invalid_request",
     "requested_type"},
    {"rfc8693", "{'audience':null}", 400, "invalid_request", "target_missing"},
    {"rfc8693", "{'audience':'https://orders.sandbox.test/'}", 400, "invalid_target", "audience"},
    {"rfc8693", "{'audience':['https://orders.sandbox.test','x']}", 400, "invalid_target",
     "audience"},
    {"rfc8693", "{'resource':'orders'}", 400, "invalid_target", "resource_malformed"},
    {"rfc8693", "{'resource':'https://orders.sandbox.test#x'}", 400, "invalid_target",
     "resource_malformed"},
    {"rfc8693", "{'scope':'reports.read'}", 400, "invalid_scope", "scope_unknown"},
    {"rfc8693", "{'scope':'orders.read+orders.write'}", 400, "invalid_scope", "scope_malformed"},
    {"rfc8693", "{'scope':['orders.read','orders.write']}", 400, "invalid_request",
     "form_duplicate"},
    {"rfc8693", "{'actor_token':{'sub':'sts-agent1','client_id':'sts-agent1'}}", 400,
     "invalid_request", "actor_half"},
    {"rfc8693", "{'actor_token_type':'" TT "jwt'}", 400, "invalid_request", "actor_half"},
    {"rfc8693",
     "{'actor_token':{'sub':'sts-agent1','client_id':'sts-agent1'},'actor_token_type':'" TT "jwt'}",
     200, NULL, NULL},
    {"rfc8693",
     "{'actor_token':{'sub':'sts-agent2','client_id':'sts-agent2'},'actor_token_type':'" TT "jwt'}",
     400, "invalid_request", "actor_client"},
    {"rfc8693", "{'actor_token':{},'actor_token_type':'" TT "jwt'}", 400, "invalid_request",
     "actor_client"},
    {"rfc8693",
     "{'actor_token':{'sub':'sts-agent1','client_id':'sts-agent1'},'actor_token_type':'" TT
     "id_token'}",
     400, "invalid_request", "actor_type"},
    {"rfc8693", "{'grant_type':'password'}", 400, "unsupported_grant_type", "grant_unsupported"},
    {"rfc8693", "{'grant_type':'" TH_GRANT_JWT_BEARER "'}", 400, "unsupported_grant_type",
     "grant_unsupported"},
    {"rfc8693", "{'grant_type':null}", 400, "invalid_request", "grant_missing"},
    {"rfc8693", "{'client_secret':'x'}", 400, "invalid_request", "two_client_authentications"},

    {"keycloak", NULL, 200, NULL, NULL},
    {"keycloak", "{'audience':['orders-api','reports-api']}", 200, NULL, NULL},
    {"keycloak", "{'audience':null}", 200, NULL, NULL},
    {"keycloak", "{'requested_token_type':'" TT "id_token'}", 200, NULL, NULL},
    {"keycloak", "{'requested_token_type':'" TT "refresh_token'}", 400, "invalid_request",
     "requested_type"},
    {"keycloak", "{'requested_token_type':'" TT "jwt'}", 400, "invalid_request", "requested_type"},
    {"keycloak", "{'subject_token_type':'" TT "id_token'}", 400, "invalid_request", "subject_type"},
    {"keycloak", "{'subject_token_type':'" TT "jwt'}", 400, "invalid_request", "subject_type"},
    {"keycloak", "{'subject_token':{'aud':'orders-api'}}", 403, "access_denied",
     "subject_audience"},
    {"keycloak", "{'subject_token':{'aud':['account','agent1-client']}}", 200, NULL, NULL},
    {"keycloak", "{'subject_token':{'exp':1}}", 400, "invalid_request", "subject_expired"},
    {"keycloak", "{'subject_token':{'$server':'rfc8693'}}", 400, "invalid_request",
     "subject_issuer"},
    {"keycloak", "{'audience':'billing-api'}", 400, "invalid_request", "audience"},
    {"keycloak", "{'resource':'https://orders.sandbox.test'}", 400, "invalid_request",
     "target_parameter"},
    {"keycloak", "{'actor_token':{},'actor_token_type':'" TT "access_token'}", 400,
     "invalid_request", "actor_token"},
    {"keycloak", "{'subject_issuer':'x'}", 400, "invalid_request", "leftover_parameter"},
    {"keycloak", "{'requested_issuer':'x'}", 400, "invalid_request", "leftover_parameter"},
    {"keycloak", "{'requested_subject':'x'}", 400, "invalid_request", "leftover_parameter"},
    {"keycloak", "{'scope':'billing.read'}", 400, "invalid_scope", "scope_unknown"},

    {"auth0", NULL, 200, NULL, NULL},
    {"auth0", "{'requested_token_type':null}", 400, "invalid_request", "requested_type_missing"},
    {"auth0", "{'audience':null}", 400, "invalid_request", "target_missing"},
    {"auth0", "{'audience':'https://orders.sandbox.test'}", 403, "access_denied", "audience"},
    {"auth0", "{'subject_token':{'iss':'" TEST_BASE "/auth0'}}", 400, "invalid_grant",
     "subject_issuer"},
    {"auth0",
     "{'subject_token':{'act':{'sub':'a','act':{'sub':'b','act':{'sub':'c','act':{'sub':'d'}}}}}}",
     200, NULL, NULL},
    {"auth0",
     "{'subject_token':{'act':{'sub':'a','act':{'sub':'b','act':{'sub':'c','act':{'sub':'d','act':"
     "{'sub':'e'}}}}}}}",
     400, "invalid_request", "chain_depth"},
    {"auth0", "{'actor_token':{},'actor_token_type':'" TT "access_token'}", 400, "invalid_request",
     "actor_token"},
    {"auth0", "{'audience':['https://orders.sandbox.test/','https://reports.sandbox.test/']}", 400,
     "invalid_request", "form_duplicate"},

    {"custom", NULL, 200, NULL, NULL},
    {"custom", "{'subject_token':{}}", 400, "invalid_request", "subject_issuer"},
    {"custom", "{'subject_token':{'$server':'org','aud':'wlp2agentsandbox0002'}}", 400,
     "invalid_request", "subject_audience"},
    {"custom", "{'subject_token_type':'urn:example:other'}", 400, "invalid_request",
     "subject_type"},

    {"vault", NULL, 401, "federated_connection_refresh_token_not_found", "not_linked"},
    {"vault", "{'connection':'gitlab'}", 400, "invalid_request", "connection"},
    {"vault", "{'connection':null}", 400, "invalid_request", "connection"},
    {"vault", "{'scope':'repo'}", 400, "invalid_request", "not_for_this_type"},
    {"vault", "{'requested_token_type':'" TT "access_token'}", 400, "invalid_request",
     "requested_type"},
    {"vault", "{'subject_token':'v1.unknown','subject_token_type':'" TT "refresh_token'}", 400,
     "invalid_grant", "refresh_token"},
    {"vault", "{'subject_token':{'aud':'x'}}", 400, "invalid_grant", "subject_audience"},
    {"vault", "{'subject_token':{'sub':'machine'}}", 400, "invalid_grant", "subject_unknown_user"},

    {"id_jag", NULL, 200, NULL, NULL},
    {"id_jag", "{'scope':null}", 200, NULL, NULL},
    {"id_jag", "{'scope':'orders.write'}", 400, "invalid_scope", "scope_wider"},
    {"id_jag", "{'assertion':{'$server':'org','aud':'" TEST_BASE "/auth0/'}}", 400, "invalid_grant",
     "subject_no_id_jag"},
    {"id_jag",
     "{'assertion':{'$server':'org','$typ':'oauth-id-jag+jwt','aud':'" TEST_BASE "/auth0'}}", 400,
     "invalid_grant", "subject_audience"},
    {"id_jag",
     "{'assertion':{'$server':'org','$typ':'oauth-id-jag+jwt','aud':'" TEST_BASE
     "/auth0/','client_id':'wlp1agentsandbox0001'}}",
     400, "invalid_grant", "id_jag_client"},
    {"id_jag",
     "{'assertion':{'$server':'rfc8693','$typ':'oauth-id-jag+jwt','aud':'" TEST_BASE "/auth0/'}}",
     400, "invalid_grant", "subject_issuer"},

    {"entra", NULL, 200, NULL, NULL},
    {"entra", "{'scope':'api://orders/Orders.Read api://orders/Orders.Write offline_access'}", 200,
     NULL, NULL},
    {"entra", "{'assertion':{'aud':'api://11111111-aaaa-4bbb-8ccc-000000000001'}}", 200, NULL,
     NULL},
    {"entra", "{'assertion':{'aud':'api://orders'}}", 400, "invalid_grant", "subject_audience"},
    {"entra", "{'assertion':{'sub':'11111111-aaaa-4bbb-8ccc-000000000001'}}", 400, "invalid_grant",
     "subject_unknown_user"},
    {"entra", "{'assertion':{'$server':'org'}}", 400, "invalid_grant", "subject_issuer"},
    {"entra", "{'requested_token_use':null}", 400, "invalid_request", "token_use"},
    {"entra", "{'assertion':null}", 400, "invalid_request", "assertion_missing"},
    {"entra", "{'scope':null}", 400, "invalid_request", "scope_missing"},
    {"entra", "{'scope':'orders.read'}", 400, "invalid_resource", "resource"},
    {"entra", "{'scope':'api://orders/Other'}", 400, "invalid_scope", "scope_unknown"},
    {"entra", "{'scope':'api://orders/.default api://reports/.default'}", 400, "invalid_scope",
     "two_resources"},
    {"entra", "{'resource':'api://orders'}", 400, "invalid_request", "target_parameter"},
    {"entra", "{'client_secret':'wrong'}", 401, "invalid_client", "client_secret_wrong"},
    {"entra", "{'client_id':'x'}", 400, "unauthorized_client", "client_unknown"},

    {"bearer", NULL, 200, NULL, NULL},
    {"bearer", "{'assertion':{'$server':'rfc8693','aud':'" TEST_BASE "/bearer/token'}}", 200, NULL,
     NULL},
    {"bearer", "{'assertion':{'$server':'org','aud':['x','" TEST_BASE "/bearer']}}", 200, NULL,
     NULL},
    {"bearer", "{'assertion':{'$server':'org'}}", 400, "invalid_grant", "subject_audience"},
    {"bearer", "{'assertion':{'$server':'ping','aud':'" TEST_BASE "/bearer'}}", 400,
     "invalid_grant", "subject_issuer"},
    {"bearer", "{'assertion':{'$server':'org','aud':'" TEST_BASE "/bearer','jti':null}}", 400,
     "invalid_grant", "assertion_jti"},
    {"bearer", "{'client_id':null}", 401, "invalid_client", "client_unauthenticated"},
    {"bearer", "{'client_id':'bearer-agent2'}", 401, "invalid_client", "client_unauthenticated"},
    {"bearer", "{'client_secret':'x'}", 401, "invalid_client", "client_secret_not_allowed"},
    {"bearer", "{'grant_type':'client_credentials','assertion':null}", 400, "unauthorized_client",
     "public_client"},
    {"bearer", "{'scope':'stock.burn'}", 400, "invalid_scope", "scope_unknown"},

    {"chain", NULL, 200, NULL, NULL},
    {"chain", "{'resource':null,'audience':'" TEST_BASE "/partner/as'}", 200, NULL, NULL},
    {"chain", "{'requested_token_type':null}", 400, "invalid_request", "requested_type"},
    {"chain", "{'audience':'https://orders.sandbox.test'}", 400, "invalid_target", "two_servers"},
    {"chain", "{'audience':'" TEST_BASE "/bearer'}", 400, "invalid_target", "two_servers"},
    {"chain", "{'resource':'" TEST_BASE "/auth0/'}", 400, "invalid_target", "resource"},
    {"partner", NULL, 200, NULL, NULL},
    {"partner", "{'scope':'parts.order'}", 400, "invalid_scope", "scope_wider"},
    {"partner", "{'assertion':{'$server':'org','aud':'" TEST_BASE "/partner/as'}}", 400,
     "invalid_grant", "subject_issuer"},

    {"google", NULL, 200, NULL, NULL},
    {"google", "{'subject_token_type':'" TT "access_token'}", 400, "invalid_request",
     "subject_type"},
    {"google", "{'subject_token':{'$server':'org'}}", 400, "invalid_grant", "subject_audience"},
    {"google", "{'subject_token':{'$server':'rfc8693'}}", 400, "invalid_grant", "subject_issuer"},
    {"google", "{'client_secret':'x','client_id':'y'}", 401, "invalid_client",
     "client_authenticated"},
    {"google", "{'audience':null}", 400, "invalid_request", "target_missing"},

    {"ping", NULL, 200, NULL, NULL},
    {"ping", "{'subject_token_type':'" TT "jwt','audience':'https://orders.ping.test'}", 200, NULL,
     NULL},
    {"ping", "{'subject_token_type':'" TT "id_token'}", 400, "invalid_request", "subject_type"},

    {"wso2", NULL, 200, NULL, NULL},
    {"wso2", "{'actor_token':null,'actor_token_type':null}", 400, "invalid_request",
     "actor_missing"},
    {"wso2", "{'resource':'https://orders.wso2.test'}", 400, "invalid_request", "target_parameter"},

    {"own", NULL, 200, NULL, NULL},
    {"own", "{'scope':'other'}", 400, "invalid_scope", "scope_unknown"},
    {"own_auth0", NULL, 200, NULL, NULL},
    {"own_auth0", "{'audience':null}", 400, "invalid_request", "target_missing"},
    {"own_entra", NULL, 200, NULL, NULL},
    {"own_entra", "{'scope':null}", 400, "invalid_request", "scope_missing"},
};

static const struct shape_row {
    const char *base;
    const char *change;
    const char *body;   /* what the answer has besides the token */
    const char *claims; /* what the token has besides what every token has */
} shapes[] = {
    {"rfc8693", NULL,
     "{'issued_token_type':'" TT "access_token','token_type':'Bearer','expires_in':3600}",
     "{'aud':'https://orders.sandbox.test','client_id':'sts-agent1','scope':'orders.read'}"},
    {"rfc8693",
     "{'scope':null,'audience':['https://reports.sandbox.test',"
     "'https://orders.sandbox.test']}",
     "{'issued_token_type':'" TT
     "access_token','token_type':'Bearer','expires_in':3600,'scope':'reports.read'}",
     "{'aud':['https://reports.sandbox.test','https://orders.sandbox.test'],'client_id':"
     "'sts-agent1','scope':'reports.read'}"},
    {"rfc8693", "{'requested_token_type':'" TT "id_token'}",
     "{'issued_token_type':'" TT "id_token','token_type':'N_A','expires_in':3600}",
     "{'aud':'sts-agent1','client_id':'sts-agent1'}"},
    {"rfc8693",
     "{'subject_token':{'act':{'sub':'first'}},'actor_token':{'sub':'sts-agent1','client_id':"
     "'sts-agent1'},'actor_token_type':'" TT "access_token'}",
     "{'issued_token_type':'" TT "access_token','token_type':'Bearer','expires_in':3600}",
     "{'aud':'https://orders.sandbox.test','client_id':'sts-agent1','scope':'orders.read','act':"
     "{'sub':'sts-agent1','act':{'sub':'first'}}}"},
    {"keycloak", NULL,
     "{'issued_token_type':'" TT "access_token','token_type':'Bearer','expires_in':3600,"
     "'refresh_expires_in':0,'not-before-policy':0,'session_state':"
     "'8a1b6c2e-0d3f-4f5a-9b7c-2d4e6f8a0b1c'}",
     "{'aud':'orders-api','azp':'agent1-client','scope':'orders.read'}"},
    {"auth0", "{'subject_token':{'act':{'sub':'first'}}}",
     "{'issued_token_type':'" TT "access_token','token_type':'Bearer','expires_in':3600}",
     "{'aud':'https://orders.sandbox.test/','azp':'a0Agent1SandboxClientId000000001','scope':"
     "'orders.read','act':{'sub':'a0Agent1SandboxClientId000000001','act':{'sub':'first'}}}"},
    {"entra", "{'scope':'api://orders/.default offline_access'}",
     "{'token_type':'Bearer','expires_in':3600,'ext_expires_in':3600,'scope':"
     "'Orders.Read Orders.Write','refresh_token':'1.AXo-never-to-be-used'}",
     "{'aud':'api://orders','azp':'11111111-aaaa-4bbb-8ccc-000000000001','scp':"
     "'Orders.Read Orders.Write'}"},
    {"chain", NULL, "{'issued_token_type':'" TT "jwt','token_type':'N_A','expires_in':60}",
     "{'aud':'" TEST_BASE "/partner/as','client_id':'sts-agent1','scope':'parts.read'}"},
    {"partner", NULL, "{'token_type':'Bearer','expires_in':3600,'scope':'parts.read'}",
     "{'aud':'https://parts.partner.test','client_id':'partner-agent1','scope':'parts.read'}"},
    {"wso2", NULL,
     "{'issued_token_type':'" TT "access_token','token_type':'Bearer','expires_in':3600}",
     "{'aud':'https://orders.wso2.test','client_id':'wso2-agent1','scope':'orders.read','act':"
     "{'sub':'wso2-agent1'}}"},
};

#endif
