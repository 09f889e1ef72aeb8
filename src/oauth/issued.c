#include "issued.h"

#include "actors.h"
#include "token_endpoint.h"
#include "tokenhop/base/check.h"
#include "tokenhop/oauth/jose.h"

#define LIFETIME_UNSAID_MS 60000

static struct th_str client_id_at(const struct th_config_agent *agent,
                                  const struct th_config_authorization_server *server)
{
    struct th_str client_id;
    const struct th_config_auth *auth;
    th_config_agent_registration(agent, server, &client_id, &auth);
    return client_id;
}

/* What is presented at another server: for that alone, and still valid. */
static bool is_assertion_fine(const struct th_issued *issued)
{
    /* A string, or an array of exactly one: with a second audience it could be used elsewhere too. */
    const json_t *aud = json_object_get(issued->claims, "aud");
    return th_jwt_has_audience(issued->claims, issued->connection->audience) &&
           (!json_is_array(aud) || json_array_size(aud) == 1);
}

static bool has_ended(const struct th_issued *issued)
{
    int64_t exp_ms = th_jwt_time_ms(issued->claims, "exp");
    return exp_ms >= 0 && exp_ms <= issued->wall_ms;
}

int th_issued_check_id_jag(const struct th_issued *issued, const char **ret_why)
{
    if (issued->claims == NULL || (!has_ended(issued) && is_assertion_fine(issued)))
        return 0;
    *ret_why = has_ended(issued)
                   ? "the ID-JAG has ended already: check both clocks"
                   : "the ID-JAG is not for the connection's audience, and is not carried on";
    return TH_E_EXCHANGE_MISMATCH;
}

int th_issued_check_jwt_grant(const struct th_issued *issued, const char **ret_why)
{
    if (issued->claims == NULL || (!has_ended(issued) && is_assertion_fine(issued)))
        return 0;
    *ret_why = has_ended(issued)
                   ? "the assertion has ended already: check both clocks"
                   : "the assertion is not for the connection's audience, and is not carried on";
    return TH_E_EXCHANGE_MISMATCH;
}

/* Without a resource the server's default audience comes, which the configuration does not know. */
static bool is_audience_kept(const struct th_issued *issued)
{
    struct th_str resource = issued->connection->resource;
    return resource.len == 0 || th_jwt_has_audience(issued->claims, resource);
}

/* One of those that were asked for: a server that knows its services by names of its own may translate
 * the resource to an audience. */
static bool is_target_kept(const struct th_issued *issued)
{
    static const struct th_leg_parameter targets[] = {{"audience", TH_VALUE_AUDIENCE, NULL},
                                                      {"resource", TH_VALUE_RESOURCE, NULL}};
    size_t n_asked = 0;
    for (size_t i = 0; i < TH_COUNT_OF(targets); i++) {
        struct th_str values[TH_PLAN_VALUES_MAX];
        size_t n = th_plan_configured(&targets[i], issued->agent, issued->connection, values);
        for (size_t k = 0; k < n; k++) {
            if (th_jwt_has_audience(issued->claims, values[k]))
                return true;
        }
        n_asked += n;
    }
    return n_asked == 0;
}

static bool is_for_agent(const struct th_issued *issued)
{
    return th_jwt_has_audience(issued->claims, issued->agent->resource);
}

/* `sub` stays the same on the whole way; but Okta's custom servers put a user's login there and the
 * identifier into `uid` (reference, 4.4). An identifier in either place counts. */
static bool is_subject_kept(const struct th_issued *issued)
{
    static const char *const places[] = {"sub", "uid"};
    if (issued->subject == NULL || th_jwt_text(issued->subject, "sub").len == 0)
        return true; /* nothing to compare with */
    for (size_t i = 0; i < TH_COUNT_OF(places); i++) {
        for (size_t k = 0; k < TH_COUNT_OF(places); k++) {
            struct th_str was = th_jwt_text(issued->subject, places[i]);
            if (was.len > 0 && th_str_equal(was, th_jwt_text(issued->claims, places[k])))
                return true;
        }
    }
    return false;
}

/* Entra's `sub` is another one for each application; `oid` is the user's in all of the tenant. */
static bool is_user_kept(const struct th_issued *issued)
{
    struct th_str was = th_jwt_text(issued->subject, "oid");
    struct th_str is = th_jwt_text(issued->claims, "oid");
    if (issued->connection->requested_token_use.len == 0)
        return is_subject_kept(issued);
    return was.len == 0 || is.len == 0 || th_str_equal(was, is);
}

/* Where none was asked for, the server's defaults come. */
static bool is_scope_within(const struct th_issued *issued, bool with_claims)
{
    const struct th_config_connection *connection = issued->connection;
    const struct th_scope_limit limit = {connection->scopes, connection->n_scopes,
                                         connection->scope_separator, with_claims};
    if (connection->n_scopes == 0)
        return true;
    return th_scope_claim_within(issued->answer, "scope", &limit) &&
           th_scope_claim_within(issued->claims, "scope", &limit) &&
           th_scope_claim_within(issued->claims, "scp", &limit);
}

static bool is_scope_kept(const struct th_issued *issued)
{
    return is_scope_within(issued, false);
}

/* Keycloak and others add what lets claims of the user in, asked or not. */
static bool is_scope_nearly_kept(const struct th_issued *issued)
{
    return is_scope_within(issued, true);
}

/* Entra asks for scopes by URIs and answers with their last parts, and with all that is consented to. */
static bool is_plain_scope_kept(const struct th_issued *issued)
{
    return issued->connection->requested_token_use.len > 0 || is_scope_nearly_kept(issued);
}

static bool is_type_kept(const struct th_issued *issued)
{
    const struct th_config_connection *connection = issued->connection;
    struct th_str type = th_jwt_text(issued->answer, "issued_token_type");
    if (json_object_get(issued->answer, "issued_token_type") == NULL)
        return connection->grant_type.len > 0;
    return connection->requested_token_type.len == 0 ||
           th_str_equal(type, connection->requested_token_type);
}

/* RFC 8693, 2.2.1: N_A is what no resource takes; what is no access token is asked for all the same by
 * who knows what becomes of it. */
static bool is_usable(const struct th_issued *issued)
{
    struct th_str asked = issued->connection->requested_token_type;
    struct th_str type = th_jwt_text(issued->answer, "token_type");
    bool is_access_token =
        asked.len == 0 || th_str_equal(asked, th_plan_subject_type(TH_SUBJECT_ACCESS_TOKEN, NULL));
    return th_str_equal_nocase(type, TH_STR("Bearer")) ||
           th_str_equal_nocase(type, TH_STR("DPoP")) ||
           (!is_access_token && th_str_equal_nocase(type, TH_STR("N_A")));
}

/* The client that began, where the subject is that client itself: by client_credentials `sub` is the
 * client's identifier (RFC 9068, 2.2). Empty for a user. */
static struct th_str initiating_client(const struct th_issued *issued)
{
    static const char *const names[] = {"cid", "client_id", "azp"};
    struct th_str sub = th_jwt_text(issued->subject, "sub");
    for (size_t i = 0; i < TH_COUNT_OF(names); i++) {
        if (sub.len > 0 && issued->subject_type == TH_SUBJECT_ACCESS_TOKEN &&
            th_str_equal(th_jwt_text(issued->subject, names[i]), sub))
            return sub;
    }
    return (struct th_str){"", 0};
}

/* Reference, 4.6: this agent outermost, the subject token's own chain within, and where that has none,
 * a client that began alone. What the server adds further in is its affair. */
static bool is_chain_kept(const struct th_issued *issued)
{
    const struct th_config_agent *agent = issued->agent;
    struct th_actors now, before;
    th_actors_read(issued->claims, &now);
    th_actors_read(issued->subject, &before);
    struct th_str client = initiating_client(issued);
    if (before.count == 0 && client.len > 0)
        before.subs[before.count++] = client;
    if (now.count < before.count + 1)
        return false;
    if (!th_str_equal(now.subs[0], client_id_at(agent, issued->connection->server)) &&
        !th_str_equal(now.subs[0], client_id_at(agent, agent->server)))
        return false;
    for (size_t i = 0; i < before.count; i++) {
        if (before.subs[i].len == 0 || !th_str_equal(before.subs[i], now.subs[i + 1]))
            return false;
    }
    return true;
}

struct check {
    size_t is_on; /* offset of the switch */
    bool (*holds)(const struct th_issued *issued);
    bool of_answer; /* can be made without claims */
    const char *why;
};

#define SWITCH(name) offsetof(struct th_config_issued_checks, name)
#define OTHER_SUBJECT                                                                              \
    "the issued token is of another subject than the subject token (issued_checks.subject)"
#define WIDER_SCOPE "the issued token has a scope that was not asked for (issued_checks.scope)"
#define OTHER_TARGET                                                                               \
    "the issued token is for none of the audiences and resources that were asked for "             \
    "(issued_checks.audience)"
#define OTHER_CHAIN                                                                                \
    "the issued token's chain of actors is not this agent and then the subject token's chain "     \
    "(issued_checks.chain)"

static const struct check of_access_token[] = {
    {SWITCH(audience), is_audience_kept, false,
     "the issued token is for another audience than the connection's resource "
     "(issued_checks.audience)"},
    {SWITCH(subject), is_subject_kept, false, OTHER_SUBJECT},
    {SWITCH(scope), is_scope_kept, true, WIDER_SCOPE},
    {SWITCH(chain), is_chain_kept, false, OTHER_CHAIN},
};

static const struct check of_exchanged[] = {
    {SWITCH(type), is_type_kept, true,
     "issued_token_type of the answer is missing, or not the one that was asked for "
     "(issued_checks.type)"},
    {SWITCH(audience), is_target_kept, false, OTHER_TARGET},
    {SWITCH(subject), is_subject_kept, false, OTHER_SUBJECT},
    {SWITCH(scope), is_scope_nearly_kept, true, WIDER_SCOPE},
    {SWITCH(chain), is_chain_kept, false, OTHER_CHAIN},
};

static const struct check of_behalf[] = {
    {SWITCH(audience), is_target_kept, false, OTHER_TARGET},
    {SWITCH(subject), is_user_kept, false, OTHER_SUBJECT},
    {SWITCH(scope), is_plain_scope_kept, true, WIDER_SCOPE},
    {SWITCH(chain), is_chain_kept, false, OTHER_CHAIN},
};

static const struct check of_own[] = {
    {SWITCH(audience), is_target_kept, false, OTHER_TARGET},
    {SWITCH(scope), is_scope_nearly_kept, true, WIDER_SCOPE},
};

static const struct check of_subject[] = {
    {SWITCH(audience), is_for_agent, false,
     "the subject token that was got is not for the agent's resource (issued_checks.audience)"},
};

static int run_checks(const struct th_issued *issued, const struct check *checks, size_t n,
                      const char **ret_why)
{
    const char *switches = (const char *)&issued->connection->issued_checks;
    for (size_t i = 0; i < n; i++) {
        if (!*(const bool *)(switches + checks[i].is_on) ||
            (issued->claims == NULL && !checks[i].of_answer) || checks[i].holds(issued))
            continue;
        *ret_why = checks[i].why;
        return TH_E_EXCHANGE_MISMATCH;
    }
    return 0;
}
#define RUN(checks) run_checks(issued, (checks), TH_COUNT_OF(checks), ret_why)

int th_issued_check_access_token(const struct th_issued *issued, const char **ret_why)
{
    return RUN(of_access_token);
}

int th_issued_check_exchanged(const struct th_issued *issued, const char **ret_why)
{
    if (is_usable(issued))
        return RUN(of_exchanged);
    *ret_why = "token_type of the answer is neither Bearer nor DPoP: it yields no token that a "
               "destination takes";
    return TH_E_EXCHANGE_FAILED;
}

int th_issued_check_behalf(const struct th_issued *issued, const char **ret_why)
{
    return RUN(of_behalf);
}

int th_issued_check_own(const struct th_issued *issued, const char **ret_why)
{
    return RUN(of_own);
}

int th_issued_check_subject(const struct th_issued *issued, const char **ret_why)
{
    return RUN(of_subject);
}

const char *th_issued_note_id_jag(const struct th_issued *issued)
{
    const struct th_config_connection *connection = issued->connection;
    if (issued->claims == NULL)
        return NULL;
    if (!th_str_equal_nocase(th_jwt_text(issued->header, "typ"), TH_STR("oauth-id-jag+jwt")))
        return "the ID-JAG has another typ than oauth-id-jag+jwt";
    struct th_str client_id = th_jwt_text(issued->claims, "client_id");
    if (client_id.len > 0 &&
        !th_str_equal(client_id, client_id_at(issued->agent, connection->server)))
        return "the ID-JAG's client_id is not this agent's at the connection's server";
    if (connection->resource.len > 0 && json_object_get(issued->claims, "resource") == NULL)
        return "the ID-JAG names no resource although one was asked for";
    return NULL;
}

const char *th_issued_note_access_token(const struct th_issued *issued)
{
    if (issued->claims != NULL && issued->connection->n_scopes > 0 &&
        json_object_get(issued->answer, "scope") == NULL &&
        json_object_get(issued->claims, "scope") == NULL &&
        json_object_get(issued->claims, "scp") == NULL)
        return "the access token has no scope: does this server want second_leg_scopes?";
    return NULL;
}

const char *th_issued_note_exchanged(const struct th_issued *issued)
{
    if (issued->claims != NULL && issued->connection->actor.source != TH_ACTOR_NONE &&
        json_object_get(issued->claims, "act") == NULL)
        return "an actor token was sent, and the token that came names no actor (act)";
    return NULL;
}

int64_t th_issued_lifetime_ms(int64_t expires_in_ms, const json_t *claims, int64_t wall_ms)
{
    int64_t exp_ms = th_jwt_time_ms(claims, "exp");
    if (exp_ms >= 0) {
        int64_t left_ms = exp_ms > wall_ms ? exp_ms - wall_ms : 0;
        if (expires_in_ms == TH_ANSWER_EXPIRES_ABSENT || left_ms < expires_in_ms)
            return left_ms < TH_ANSWER_EXPIRES_MAX_MS ? left_ms : TH_ANSWER_EXPIRES_MAX_MS;
    }
    return expires_in_ms == TH_ANSWER_EXPIRES_ABSENT ? LIFETIME_UNSAID_MS : expires_in_ms;
}
