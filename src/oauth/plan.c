#include "tokenhop/oauth/plan.h"

#include "issued.h"
#include "token_endpoint.h"
#include "tokenhop/base/check.h"

#define TOKEN_EXCHANGE "urn:ietf:params:oauth:grant-type:token-exchange"
#define JWT_BEARER "urn:ietf:params:oauth:grant-type:jwt-bearer"
#define JWT_DPOP "urn:ietf:params:oauth:grant-type:jwt-dpop" /* reference, 4.8 */
#define CLIENT_CREDENTIALS "client_credentials"
/* Reference, 10: Auth0's token vault. */
#define AUTH0_VAULT                                                                                \
    "urn:auth0:params:oauth:grant-type:token-exchange:federated-connection-access-token"
#define JWT "urn:ietf:params:oauth:token-type:jwt"
#define ID_TOKEN "urn:ietf:params:oauth:token-type:id_token"
#define ACCESS_TOKEN "urn:ietf:params:oauth:token-type:access_token"
#define ID_JAG "urn:ietf:params:oauth:token-type:id-jag"
#define OKTA_TYPE "urn:okta:params:oauth:token-type:"

/* -- which connections a leg is for --------------------------------------------------------------- */

static bool gets_subject(const struct th_config_connection *connection)
{
    return connection->subject_client != NULL;
}

static bool gets_actor(const struct th_config_connection *connection)
{
    return connection->actor.source == TH_ACTOR_CLIENT_CREDENTIALS;
}

static bool asks_id_jag(const struct th_config_connection *connection)
{
    return connection->requested_token_type.len == 0;
}

static bool asks_jwt(const struct th_config_connection *connection)
{
    return !asks_id_jag(connection);
}

static bool is_standard(const struct th_config_connection *connection)
{
    return connection->grant_type.len == 0;
}

static bool is_auth0_vault(const struct th_config_connection *connection)
{
    return th_str_equal(connection->grant_type, TH_STR(AUTH0_VAULT));
}

static bool is_other(const struct th_config_connection *connection)
{
    return !is_standard(connection) && !is_auth0_vault(connection);
}

/* -- legs ------------------------------------------------------------------------------------------ */

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

/* Reference, 10: identity chaining. The other server may take any JWT of this one that is for it. */
static const struct th_leg_parameter to_jwt_grant[] = {
    {"grant_type", TH_VALUE_CONSTANT, TOKEN_EXCHANGE},
    {"requested_token_type", TH_VALUE_CONSTANT, JWT},
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
    {"resource", TH_VALUE_SECOND_LEG_RESOURCE, NULL},
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
     .applies = asks_id_jag,
     .server = TH_LEG_AT_AGENT_SERVER,
     PARAMETERS(to_id_jag),
     .read = th_token_answer_read_token,
     .issued_token_type = ID_JAG,
     .check = th_issued_check_id_jag,
     .note = th_issued_note_id_jag},
    {.name = "jwt_grant",
     .applies = asks_jwt,
     .server = TH_LEG_AT_AGENT_SERVER,
     PARAMETERS(to_jwt_grant),
     .read = th_token_answer_read_token,
     .issued_token_type = JWT,
     .check = th_issued_check_jwt_grant},
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

/* RFC 8693, 2.1. */
#define EXCHANGE_BY(value, constant)                                                               \
    {                                                                                              \
        {"grant_type", (value), (constant)}, {"requested_token_type", TH_VALUE_REQUESTED_TYPE},    \
            {"subject_token", TH_VALUE_SUBJECT_TOKEN},                                             \
            {"subject_token_type", TH_VALUE_SUBJECT_TYPE}, {"actor_token", TH_VALUE_ACTOR_TOKEN},  \
            {"actor_token_type", TH_VALUE_ACTOR_TYPE}, {"audience", TH_VALUE_AUDIENCE},            \
            {"resource", TH_VALUE_RESOURCE},                                                       \
        {                                                                                          \
            "scope", TH_VALUE_SCOPES                                                               \
        }                                                                                          \
    }
static const struct th_leg_parameter to_exchanged[] =
    EXCHANGE_BY(TH_VALUE_CONSTANT, TOKEN_EXCHANGE);
static const struct th_leg_parameter to_granted[] = EXCHANGE_BY(TH_VALUE_GRANT_TYPE, NULL);

/* Which types the answer may name depends on the connection: the check looks at them. */
#define EXCHANGED(when, list)                                                                      \
    .name = "exchanged_token", .applies = (when), .server = TH_LEG_AT_CHOSEN_SERVER,               \
    PARAMETERS(list), .read = th_token_answer_read_token, .check = th_issued_check_exchanged,      \
    .note = th_issued_note_exchanged
static const struct th_plan_leg by_exchange[] = {
    {EXCHANGED(is_standard, to_exchanged)},
    {EXCHANGED(is_auth0_vault, to_granted), .unlinked_is_401 = true},
    {EXCHANGED(is_other, to_granted)},
};

/* Reference, 10: Microsoft Entra; without the use, RFC 7523, 2.1. */
static const struct th_leg_parameter to_behalf[] = {
    {"grant_type", TH_VALUE_CONSTANT, JWT_BEARER},
    {"assertion", TH_VALUE_SUBJECT_TOKEN, NULL},
    {"requested_token_use", TH_VALUE_REQUESTED_USE, NULL},
    {"audience", TH_VALUE_AUDIENCE, NULL},
    {"resource", TH_VALUE_RESOURCE, NULL},
    {"scope", TH_VALUE_SCOPES, NULL},
};
static const struct th_plan_leg by_behalf[] = {
    {.name = "on_behalf_of",
     .server = TH_LEG_AT_CHOSEN_SERVER,
     PARAMETERS(to_behalf),
     .read = th_token_answer_read_token,
     .is_bearer = true,
     .check = th_issued_check_behalf},
};

/* RFC 6749, 4.4.2. */
static const struct th_leg_parameter to_own_token[] = {
    {"grant_type", TH_VALUE_CONSTANT, CLIENT_CREDENTIALS},
    {"audience", TH_VALUE_AUDIENCE, NULL},
    {"resource", TH_VALUE_RESOURCE, NULL},
    {"scope", TH_VALUE_SCOPES, NULL},
};
static const struct th_plan_leg by_client[] = {
    {.name = "client_credentials",
     .server = TH_LEG_AT_CHOSEN_SERVER,
     PARAMETERS(to_own_token),
     .read = th_token_answer_read_token,
     .is_bearer = true,
     .check = th_issued_check_own},
};

/* Before the legs of any type. Reference, 3, "Machine": for the agent, as the destination of who begins. */
static const struct th_leg_parameter to_subject[] = {
    {"grant_type", TH_VALUE_CONSTANT, CLIENT_CREDENTIALS},
    {"resource", TH_VALUE_AGENT_RESOURCE, NULL},
    {"scope", TH_VALUE_CLIENT_SCOPES, NULL},
};
static const struct th_leg_parameter to_actor[] = {
    {"grant_type", TH_VALUE_CONSTANT, CLIENT_CREDENTIALS},
    {"resource", TH_VALUE_ACTOR_RESOURCE, NULL},
    {"scope", TH_VALUE_ACTOR_SCOPES, NULL},
};
static const struct th_plan_leg before_all[] = {
    {.name = "subject_token",
     .applies = gets_subject,
     .server = TH_LEG_AT_SUBJECT_SERVER,
     .client = TH_LEG_BY_SUBJECT_CLIENT,
     .yields = TH_LEG_YIELDS_SUBJECT,
     PARAMETERS(to_subject),
     .read = th_token_answer_read_token,
     .is_bearer = true,
     .check = th_issued_check_subject},
    {.name = "actor_token",
     .applies = gets_actor,
     .server = TH_LEG_AT_CHOSEN_SERVER,
     .yields = TH_LEG_YIELDS_ACTOR,
     PARAMETERS(to_actor),
     .read = th_token_answer_read_token,
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

static const struct th_plan_leg revoke_chosen = REVOCATION(TH_LEG_AT_CHOSEN_SERVER, to_revoke);

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
    {TH_TYPE_TOKEN_EXCHANGE, "token_exchange", LEGS(by_exchange), .revocation = &revoke_chosen},
    {TH_TYPE_ON_BEHALF_OF, "on_behalf_of", LEGS(by_behalf)},
    {TH_TYPE_CLIENT_CREDENTIALS, "client_credentials", LEGS(by_client),
     .revocation = &revoke_chosen},
    {TH_TYPE_STATIC, "static", .n_legs = 0},
    {TH_TYPE_PASSTHROUGH, "passthrough", .n_legs = 0},
};

const struct th_plan *th_plan_get(enum th_resource_type type)
{
    for (size_t i = 0; i < TH_COUNT_OF(plans); i++) {
        if (plans[i].type == type)
            return &plans[i];
    }
    th_check_abort(__FILE__, __LINE__, "every resource type has a plan");
}

static void add_legs(struct th_plan_legs *legs, const struct th_plan_leg *rows, size_t n,
                     const struct th_config_connection *connection)
{
    for (size_t i = 0; i < n; i++) {
        if (rows[i].applies != NULL && !rows[i].applies(connection))
            continue;
        TH_REQUIRE(legs->n < TH_PLAN_LEGS_MAX);
        legs->items[legs->n++] = &rows[i];
    }
}

void th_plan_select(const struct th_config_connection *connection, struct th_plan_legs *ret_legs)
{
    const struct th_plan *plan = th_plan_get(connection->type);
    *ret_legs = (struct th_plan_legs){.n = 0};
    if (plan->n_legs > 0)
        add_legs(ret_legs, before_all, TH_COUNT_OF(before_all), connection);
    ret_legs->n_before = ret_legs->n;
    add_legs(ret_legs, plan->legs, plan->n_legs, connection);
}

bool th_plan_leg_bears_proof(const struct th_plan_legs *legs, size_t leg,
                             const struct th_config_connection *connection)
{
    switch (connection->dpop) {
    case TH_DPOP_OFF:
        return false;
    case TH_DPOP_TOKEN:
        return leg + 1 == legs->n;
    case TH_DPOP_ALL_LEGS:
    case TH_DPOP_BOUND_ID_JAG:
        return leg >= legs->n_before; /* those before are for others to present */
    }
    return false;
}

bool th_plan_leg_bears_assertion(const struct th_plan_leg *leg,
                                 const struct th_config_connection *connection)
{
    for (size_t i = 0; i < leg->n_parameters; i++) {
        if (leg->parameters[i].value == TH_VALUE_ACTOR_TOKEN)
            return connection->actor.source == TH_ACTOR_ASSERTION;
    }
    return false;
}

bool th_plan_leg_bears_parameter(const struct th_plan_legs *legs, size_t leg,
                                 const struct th_config_parameter *parameter)
{
    switch (parameter->leg) {
    case TH_PARAMETER_LAST_LEG:
        return leg + 1 == legs->n;
    case TH_PARAMETER_FIRST_LEG:
        return leg == legs->n_before;
    case TH_PARAMETER_EVERY_LEG:
        return leg >= legs->n_before;
    }
    return false;
}

static struct th_str assertion_grant(const struct th_leg_parameter *parameter,
                                     const struct th_config_connection *connection)
{
    return connection->dpop == TH_DPOP_BOUND_ID_JAG ? TH_STR(JWT_DPOP)
                                                    : th_str_of(parameter->constant);
}

struct th_str th_plan_subject_type(enum th_subject_type type,
                                   const struct th_config_connection *connection)
{
    switch (type) {
    case TH_SUBJECT_AUTO:
        break;
    case TH_SUBJECT_ID_TOKEN:
        return TH_STR(ID_TOKEN);
    case TH_SUBJECT_ACCESS_TOKEN:
        return TH_STR(ACCESS_TOKEN);
    case TH_SUBJECT_OTHER:
        return connection->subject_type_uri;
    }
    return TH_STR_NONE;
}

static struct th_str one_value(const struct th_leg_parameter *parameter,
                               const struct th_config_agent *agent,
                               const struct th_config_connection *connection)
{
    switch (parameter->value) {
    case TH_VALUE_CONSTANT:
        return th_str_of(parameter->constant);
    case TH_VALUE_ASSERTION_GRANT:
        return assertion_grant(parameter, connection);
    case TH_VALUE_GRANT_TYPE:
        return connection->grant_type;
    case TH_VALUE_REQUESTED_TYPE:
        return connection->requested_token_type;
    case TH_VALUE_REQUESTED_USE:
        return connection->requested_token_use;
    case TH_VALUE_SUBJECT_TYPE:
        return th_plan_subject_type(connection->subject_type, connection);
    case TH_VALUE_ACTOR_TYPE:
        return connection->actor.token_type;
    case TH_VALUE_AUDIENCE:
        return connection->audience;
    case TH_VALUE_RESOURCE:
        return connection->resource;
    case TH_VALUE_SCOPES:
        return connection->scope_text;
    case TH_VALUE_SECOND_LEG_SCOPES:
        return connection->second_leg_scope_text;
    case TH_VALUE_SECOND_LEG_RESOURCE:
        return connection->second_leg_resource ? connection->resource : TH_STR_NONE;
    case TH_VALUE_ACTOR_SCOPES:
        return connection->actor.scope_text;
    case TH_VALUE_ACTOR_RESOURCE:
        return connection->actor.resource;
    case TH_VALUE_CLIENT_SCOPES:
        return connection->subject_client->scope_text;
    case TH_VALUE_AGENT_RESOURCE:
        return agent->resource;
    case TH_VALUE_SUBJECT_TOKEN:
    case TH_VALUE_ACTOR_TOKEN:
    case TH_VALUE_PREVIOUS_TOKEN:
    case TH_VALUE_REJECTED_TOKEN:
        break;
    }
    return TH_STR_NONE;
}

size_t th_plan_configured(const struct th_leg_parameter *parameter,
                          const struct th_config_agent *agent,
                          const struct th_config_connection *connection,
                          struct th_str ret_values[TH_PLAN_VALUES_MAX])
{
    const struct th_str *more = NULL;
    size_t n_more = 0, n = 0;
    if (parameter->value == TH_VALUE_AUDIENCE) {
        more = connection->more_audiences;
        n_more = connection->n_more_audiences;
    } else if (parameter->value == TH_VALUE_RESOURCE) {
        more = connection->more_resources;
        n_more = connection->n_more_resources;
    }
    struct th_str first = one_value(parameter, agent, connection);
    if (first.len > 0)
        ret_values[n++] = first;
    for (size_t i = 0; i < n_more && n < TH_PLAN_VALUES_MAX; i++)
        ret_values[n++] = more[i];
    return n;
}

void th_plan_leg_client(const struct th_plan_leg *leg, const struct th_config_agent *agent,
                        const struct th_config_connection *connection, struct th_str *ret_client_id,
                        const struct th_config_auth **ret_auth)
{
    switch (leg->client) {
    case TH_LEG_BY_AGENT:
        th_config_agent_registration(agent, th_plan_leg_server(leg, agent, connection),
                                     ret_client_id, ret_auth);
        break;
    case TH_LEG_BY_SUBJECT_CLIENT:
        *ret_client_id = connection->subject_client->client_id;
        *ret_auth = &connection->subject_client->auth;
        break;
    }
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
    case TH_LEG_AT_CHOSEN_SERVER:
        return connection->server != NULL ? connection->server : agent->server;
    case TH_LEG_AT_SUBJECT_SERVER:
        return connection->subject_client->server;
    }
    return NULL;
}
