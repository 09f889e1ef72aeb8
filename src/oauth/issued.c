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

int th_issued_check_id_jag(const struct th_issued *issued, const char **ret_why)
{
    if (issued->claims == NULL)
        return 0;
    /* A string, or an array of exactly one: with a second audience it could be used elsewhere too. */
    const json_t *aud = json_object_get(issued->claims, "aud");
    int64_t exp_ms = th_jwt_time_ms(issued->claims, "exp");
    if (exp_ms >= 0 && exp_ms <= issued->wall_ms) {
        *ret_why = "the ID-JAG has ended already: check both clocks";
        return TH_E_EXCHANGE_MISMATCH;
    }
    if (th_jwt_has_audience(issued->claims, issued->connection->audience) &&
        (!json_is_array(aud) || json_array_size(aud) == 1))
        return 0;
    *ret_why = "the ID-JAG is not for the connection's audience, and is not carried on";
    return TH_E_EXCHANGE_MISMATCH;
}

/* Without a resource the server's default audience comes, which the configuration does not know. */
static bool is_audience_kept(const struct th_issued *issued)
{
    struct th_str resource = issued->connection->resource;
    return resource.len == 0 || th_jwt_has_audience(issued->claims, resource);
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

/* Where none was asked for, the server's defaults come. */
static bool is_scope_kept(const struct th_issued *issued)
{
    const struct th_config_connection *connection = issued->connection;
    if (connection->n_scopes == 0)
        return true;
    return th_scope_claim_within(issued->answer, "scope", connection->scopes,
                                 connection->n_scopes) &&
           th_scope_claim_within(issued->claims, "scope", connection->scopes,
                                 connection->n_scopes) &&
           th_scope_claim_within(issued->claims, "scp", connection->scopes, connection->n_scopes);
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

static const struct check {
    size_t is_on; /* offset of the switch */
    bool (*holds)(const struct th_issued *issued);
    bool of_answer; /* can be made without claims */
    const char *why;
} checks[] = {
    {offsetof(struct th_config_issued_checks, audience), is_audience_kept, false,
     "the issued token is for another audience than the connection's resource "
     "(issued_checks.audience)"},
    {offsetof(struct th_config_issued_checks, subject), is_subject_kept, false,
     "the issued token is of another subject than the subject token (issued_checks.subject)"},
    {offsetof(struct th_config_issued_checks, scope), is_scope_kept, true,
     "the issued token has a scope that was not asked for (issued_checks.scope)"},
    {offsetof(struct th_config_issued_checks, chain), is_chain_kept, false,
     "the issued token's chain of actors is not this agent and then the subject token's chain "
     "(issued_checks.chain)"},
};

int th_issued_check_access_token(const struct th_issued *issued, const char **ret_why)
{
    const char *switches = (const char *)&issued->connection->issued_checks;
    for (size_t i = 0; i < TH_COUNT_OF(checks); i++) {
        if (!*(const bool *)(switches + checks[i].is_on) ||
            (issued->claims == NULL && !checks[i].of_answer) || checks[i].holds(issued))
            continue;
        *ret_why = checks[i].why;
        return TH_E_EXCHANGE_MISMATCH;
    }
    return 0;
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
