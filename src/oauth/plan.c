#include "tokenhop/oauth/plan.h"

#include "issued.h"
#include "token_endpoint.h"
#include "tokenhop/base/check.h"

#define TOKEN_EXCHANGE "urn:ietf:params:oauth:grant-type:token-exchange"
#define JWT_BEARER "urn:ietf:params:oauth:grant-type:jwt-bearer"
#define JWT_DPOP "urn:ietf:params:oauth:grant-type:jwt-dpop" /* reference, 4.8 */
#define ID_JAG "urn:ietf:params:oauth:token-type:id-jag"
#define OKTA_TYPE "urn:okta:params:oauth:token-type:"

/* Reference, 4.1. An authorization server connection leaves `resource` empty unless configured. */
static const struct th_leg_parameter to_id_jag[] = {
    {"grant_type", TH_VALUE_CONSTANT, TOKEN_EXCHANGE},
    {"requested_token_type", TH_VALUE_CONSTANT, ID_JAG},
    {"subject_token", TH_VALUE_SUBJECT_TOKEN, NULL},
    {"subject_token_type", TH_VALUE_SUBJECT_TYPE, NULL},
    {"audience", TH_VALUE_AUDIENCE, NULL},
    {"resource", TH_VALUE_RESOURCE, NULL},
    {"scope", TH_VALUE_SCOPES, NULL},
};

/* Reference, 4.3. */
static const struct th_leg_parameter to_access_token[] = {
    {"grant_type", TH_VALUE_ASSERTION_GRANT, JWT_BEARER},
    {"assertion", TH_VALUE_PREVIOUS_TOKEN, NULL},
    {"scope", TH_VALUE_SECOND_LEG_SCOPES, NULL},
};

/* Reference, 5, 6, 7: for what is named by `resource` alone, at the agent's own server. */
#define FROM_RESOURCE(type)                                                                        \
    {                                                                                              \
        {"grant_type", TH_VALUE_CONSTANT, TOKEN_EXCHANGE},                                         \
            {"requested_token_type", TH_VALUE_CONSTANT, (type)},                                   \
            {"subject_token", TH_VALUE_SUBJECT_TOKEN, NULL},                                       \
            {"subject_token_type", TH_VALUE_SUBJECT_TYPE, NULL},                                   \
        {                                                                                          \
            "resource", TH_VALUE_RESOURCE, NULL                                                    \
        }                                                                                          \
    }
static const struct th_leg_parameter to_secret[] = FROM_RESOURCE(OKTA_TYPE "vaulted-secret");
static const struct th_leg_parameter to_account[] = FROM_RESOURCE(OKTA_TYPE "service-account");
static const struct th_leg_parameter to_third_party[] = FROM_RESOURCE(OKTA_TYPE "oauth-sts");

#define PARAMETERS(list) .parameters = (list), .n_parameters = TH_COUNT_OF(list)

static const struct th_plan_leg by_id_jag[] = {
    {.name = "id_jag",
     .server = TH_LEG_AT_AGENT_SERVER,
     PARAMETERS(to_id_jag),
     .read = th_token_answer_read_token,
     .issued_token_type = ID_JAG,
     .check = th_issued_check_id_jag,
     .note = th_issued_note_id_jag},
    {.name = "access_token",
     .server = TH_LEG_AT_CONNECTION_SERVER,
     PARAMETERS(to_access_token),
     .read = th_token_answer_read_token,
     .is_bearer = true,
     .check = th_issued_check_access_token,
     .note = th_issued_note_access_token,
     .retries_transport = true,
     .restarts_on_invalid_grant = true},
};

/* Some have seen the shorter names. */
static const struct th_plan_leg by_vault[] = {
    {.name = "secret",
     .server = TH_LEG_AT_AGENT_SERVER,
     PARAMETERS(to_secret),
     .read = th_token_answer_read_values,
     .issued_token_type = OKTA_TYPE "vaulted-secret",
     .also_issued_as = OKTA_TYPE "secret",
     .object = "vaulted_secret",
     .also_object = "secret"},
};

static const struct th_plan_leg by_account[] = {
    {.name = "service_account",
     .server = TH_LEG_AT_AGENT_SERVER,
     PARAMETERS(to_account),
     .read = th_token_answer_read_values,
     .issued_token_type = OKTA_TYPE "service-account",
     .object = "service_account"},
};

/* The token is the third party's: nothing in it can be compared with what was asked for. */
static const struct th_plan_leg by_sts[] = {
    {.name = "third_party_token",
     .server = TH_LEG_AT_AGENT_SERVER,
     PARAMETERS(to_third_party),
     .read = th_token_answer_read_token,
     .issued_token_type = OKTA_TYPE "oauth-sts",
     .is_bearer = true},
};

/* Reference, 9: a token is revoked where it was issued. It may be asked again, as revoking twice is the
 * same as once (RFC 7009, 2.2). */
#define REVOCATION(at, to)                                                                         \
    {                                                                                              \
        .name = "revocation", .server = (at), PARAMETERS(to), .retries_transport = true            \
    }

static const struct th_leg_parameter to_revoke[] = {
    {"token", TH_VALUE_REJECTED_TOKEN, NULL},
    {"token_type_hint", TH_VALUE_CONSTANT, "access_token"},
};
static const struct th_plan_leg revoke_access_token =
    REVOCATION(TH_LEG_AT_CONNECTION_SERVER, to_revoke);

/* Reference, 7, "Dead tokens": the server knows nothing of what was revoked at the third party. */
static const struct th_leg_parameter to_forget[] = {
    {"token", TH_VALUE_REJECTED_TOKEN, NULL},
    {"token_type_hint", TH_VALUE_CONSTANT, "oauth_sts"},
};
static const struct th_plan_leg forget_sts = REVOCATION(TH_LEG_AT_AGENT_SERVER, to_forget);

#define LEGS(list) .legs = (list), .n_legs = TH_COUNT_OF(list)

static const struct th_plan plans[] = {
    {TH_TYPE_AGENT_TO_AGENT, "agent_to_agent", LEGS(by_id_jag), .revocation = &revoke_access_token},
    {TH_TYPE_AUTHORIZATION_SERVER, "authorization_server", LEGS(by_id_jag),
     .revocation = &revoke_access_token},
    {TH_TYPE_SECRET, "secret", LEGS(by_vault)},
    {TH_TYPE_SERVICE_ACCOUNT, "service_account", LEGS(by_account)},
    {TH_TYPE_RESOURCE_SERVER, "resource_server", LEGS(by_sts), .revocation = &forget_sts,
     .revokes_rejected = true},
    {TH_TYPE_STATIC, "static", .n_legs = 0},
    {TH_TYPE_PASSTHROUGH, "passthrough", .n_legs = 0},
};

_Static_assert(TH_COUNT_OF(by_id_jag) <= TH_PLAN_LEGS_MAX, "results have room for the legs");

const struct th_plan *th_plan_get(enum th_resource_type type)
{
    for (size_t i = 0; i < TH_COUNT_OF(plans); i++) {
        if (plans[i].type == type)
            return &plans[i];
    }
    th_check_abort(__FILE__, __LINE__, "every resource type has a plan");
}

bool th_plan_leg_bears_proof(const struct th_plan *plan, size_t leg,
                             const struct th_config_connection *connection)
{
    switch (connection->dpop) {
    case TH_DPOP_OFF:
        return false;
    case TH_DPOP_TOKEN:
        return leg + 1 == plan->n_legs;
    case TH_DPOP_ALL_LEGS:
    case TH_DPOP_BOUND_ID_JAG:
        return true;
    }
    return false;
}

struct th_str th_plan_assertion_grant(const struct th_leg_parameter *parameter,
                                      const struct th_config_connection *connection)
{
    return connection->dpop == TH_DPOP_BOUND_ID_JAG ? TH_STR(JWT_DPOP)
                                                    : th_str_of(parameter->constant);
}

const struct th_config_authorization_server *th_plan_leg_server(
    const struct th_plan_leg *leg, const struct th_config_agent *agent,
    const struct th_config_connection *connection)
{
    switch (leg->server) {
    case TH_LEG_AT_AGENT_SERVER:
        return agent->server;
    case TH_LEG_AT_CONNECTION_SERVER:
        return connection->server;
    }
    return NULL;
}
