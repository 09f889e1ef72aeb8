#include "tokenhop/oauth/subject.h"

#include "actors.h"
#include "printable.h"
#include "subject_private.h"
#include "tokenhop/oauth/jose.h"

#define TOKEN_MAX ((size_t)64 * 1024)
#define SKEW_MS 60000 /* between the issuer's clock and ours */

bool th_subject_is_token68(struct th_str token)
{
    return token.len <= TOKEN_MAX && th_str_is_token68(token);
}

/* RFC 7515, 4.1.9: without case, and "application/" may be left out. */
static bool is_typ(const struct th_jwt *jwt, struct th_str wanted)
{
    struct th_str typ = th_jwt_text(jwt->header, "typ");
    struct th_str prefix = TH_STR("application/");
    if (typ.len > prefix.len && th_str_equal_nocase((struct th_str){typ.ptr, prefix.len}, prefix))
        typ = (struct th_str){typ.ptr + prefix.len, typ.len - prefix.len};
    return th_str_equal_nocase(typ, wanted);
}

/* The agent's client id where leg 1 goes. */
static struct th_str client_id_of(const struct th_config_agent *agent)
{
    struct th_str client_id;
    const struct th_config_auth *auth;
    th_config_agent_registration(agent, agent->server, &client_id, &auth);
    return client_id;
}

static bool is_for_client(const json_t *claims, const struct th_config_agent *agent)
{
    if (th_jwt_has_audience(claims, client_id_of(agent)))
        return true;
    for (size_t i = 0; i < agent->n_linked_client_ids; i++) {
        if (th_jwt_has_audience(claims, agent->linked_client_ids[i]))
            return true;
    }
    return false;
}

static bool has_any(const json_t *claims, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (json_object_get(claims, *names) != NULL)
            return true;
    }
    return false;
}

/* Reference, 3, "Telling them apart": the first rule that holds. Nothing is trusted by it. */
static enum th_subject_type tell_apart(const struct th_jwt *jwt,
                                       const struct th_config_agent *agent)
{
    static const char *const of_id_token[] = {"nonce", "at_hash", NULL};
    static const char *const of_access_token[] = {"scp", "scope", "cid", NULL};
    if (is_typ(jwt, TH_STR("at+jwt")))
        return TH_SUBJECT_ACCESS_TOKEN;
    if (is_for_client(jwt->claims, agent))
        return TH_SUBJECT_ID_TOKEN;
    if (agent->resource.len > 0 && th_jwt_has_audience(jwt->claims, agent->resource))
        return TH_SUBJECT_ACCESS_TOKEN;
    if (has_any(jwt->claims, of_id_token) && !has_any(jwt->claims, of_access_token))
        return TH_SUBJECT_ID_TOKEN;
    return TH_SUBJECT_ACCESS_TOKEN;
}

static void describe(const struct th_jwt *jwt, const struct th_config_agent *agent,
                     struct th_subject *subject)
{
    struct th_actors actors;
    struct th_str client_id = client_id_of(agent);
    th_actors_read(jwt->claims, &actors);
    subject->is_jwt = true;
    subject->expires_wall_ms = th_jwt_time_ms(jwt->claims, "exp");
    subject->chain = (unsigned)actors.count;
    for (size_t i = 0; i < actors.count; i++)
        subject->agent_in_chain =
            subject->agent_in_chain || th_str_equal(actors.subs[i], client_id);
    subject->bound = json_object_get(jwt->claims, "cnf") != NULL;
    th_printable_copy(subject->iss, sizeof subject->iss, th_jwt_text(jwt->claims, "iss"));
    th_printable_copy(subject->sub, sizeof subject->sub, th_jwt_text(jwt->claims, "sub"));
}

static int read_jwt(const struct th_jwt *jwt, const struct th_config_agent *agent, int64_t wall_ms,
                    struct th_subject *subject, struct th_errinfo *reterr)
{
    if (is_typ(jwt, TH_STR("oauth-id-jag+jwt")))
        return th_errinfo_set(reterr, TH_E_SUBJECT_MALFORMED, NULL,
                              "send the token that the agent was itself called with",
                              "an identity assertion grant (ID-JAG) is no subject token");
    describe(jwt, agent, subject);
    if (subject->type == TH_SUBJECT_AUTO)
        subject->type = tell_apart(jwt, agent);
    if (subject->expires_wall_ms >= 0 && subject->expires_wall_ms <= wall_ms)
        return th_errinfo_set(reterr, TH_E_SUBJECT_EXPIRED, NULL, "get a new one",
                              "the subject token expired %lld seconds ago",
                              (long long)(wall_ms - subject->expires_wall_ms) / 1000);
    /* The server would refuse it with invalid_grant; this costs no exchange and says why. */
    if (subject->type == TH_SUBJECT_ID_TOKEN && !is_for_client(jwt->claims, agent))
        return th_errinfo_set(
            reterr, TH_E_SUBJECT_AUDIENCE, NULL,
            "log the user in through this client, or name the other in linked_client_ids",
            "the ID token is not meant for this agent: the audience expected is %.*s%s",
            TH_STR_ARGS(client_id_of(agent)),
            agent->n_linked_client_ids > 0 ? " or a linked client" : "");
    return 0;
}

int th_subject_read(struct th_str token, const struct th_config_agent *agent,
                    enum th_subject_type configured, int64_t wall_ms,
                    struct th_subject *ret_subject, json_t **ret_claims, struct th_errinfo *reterr)
{
    if (!th_subject_is_token68(token))
        return th_errinfo_set(reterr, TH_E_SUBJECT_MALFORMED, NULL, NULL,
                              "the subject token is not of the form that RFC 6750 gives to bearer "
                              "tokens, or longer than 64 KiB");
    struct th_subject subject = {.type = configured, .expires_wall_ms = -1};
    struct th_jwt jwt = {0};
    int error = th_jwt_parse(token, &jwt);
    if (error == TH_E_NOMEM)
        return th_errinfo_set(reterr, error, NULL, NULL, "no memory for the subject token");
    if (error == 0)
        error = read_jwt(&jwt, agent, wall_ms, &subject, reterr);
    else
        error = 0; /* opaque */
    if (subject.type == TH_SUBJECT_AUTO)
        subject.type = TH_SUBJECT_ACCESS_TOKEN;
    if (error == 0) {
        *ret_subject = subject;
        *ret_claims = json_incref(jwt.claims);
    }
    th_jwt_fini(&jwt);
    return error;
}

int th_subject_inspect(struct th_str token, const struct th_config_agent *agent,
                       enum th_subject_type configured, int64_t wall_ms,
                       struct th_subject *ret_subject, struct th_errinfo *reterr)
{
    json_t *claims;
    int error = th_subject_read(token, agent, configured, wall_ms, ret_subject, &claims, reterr);
    if (error == 0)
        json_decref(claims);
    return error;
}

/* An agent without a resource URL has nothing to hold an access token's audience against: that is
 * the authorization server's then. Some servers put the client id there. */
static bool is_for_agent(const json_t *claims, const struct th_config_agent *agent,
                         enum th_subject_type type)
{
    if (is_for_client(claims, agent))
        return true;
    return type != TH_SUBJECT_ID_TOKEN &&
           (agent->resource.len == 0 || th_jwt_has_audience(claims, agent->resource));
}

/* Absent is fine; there, it must be a number, and not ahead of us. */
static bool is_past(const json_t *claims, const char *name, int64_t wall_ms)
{
    int64_t at_ms = th_jwt_time_ms(claims, name);
    return json_object_get(claims, name) == NULL || (at_ms >= 0 && at_ms <= wall_ms + SKEW_MS);
}

int th_subject_check_claims(const json_t *claims, const struct th_config_agent *agent,
                            enum th_subject_type type, int64_t wall_ms, const char **ret_why)
{
    *ret_why = type != TH_SUBJECT_ID_TOKEN ? "its audience is not this agent's resource URL"
                                           : "its audience is not this agent's client id";
    if (!is_for_agent(claims, agent, type))
        return TH_E_SUBJECT_AUDIENCE;
    *ret_why = "it does not say when it expires";
    if (th_jwt_time_ms(claims, "exp") < 0)
        return TH_E_SUBJECT_UNTRUSTED;
    *ret_why = "it is not valid yet (nbf): are the clocks right?";
    if (!is_past(claims, "nbf", wall_ms))
        return TH_E_SUBJECT_UNTRUSTED;
    *ret_why = "it was issued in the future (iat): are the clocks right?";
    return is_past(claims, "iat", wall_ms) ? 0 : TH_E_SUBJECT_UNTRUSTED;
}
