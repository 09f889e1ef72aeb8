/* Leg 1: token exchange at the org server (RFC 8693; reference 4.1, 4.2, 14). */
#include "answer.h"
#include "chain.h"
#include "grants.h"
#include "presented.h"
#include "provider.h"
#include "scopes.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokens.h"

/* What is asked for, once every check is passed. */
struct exchange {
    const struct th_connection_row *connection;
    const struct th_registry_resource *resource;
    const struct th_registry_server *target;
    struct th_str scope;
    bool has_resource;
};

static th_grant_fn exchange_id_jag;

/* One row a type that may be asked for. */
static const struct requested_row {
    const char *type;
    th_grant_fn *run;
} requested_types[] = {
    {TH_TYPE_ID_JAG, exchange_id_jag},
    {TH_TYPE_VAULTED_SECRET, th_grant_secret},
    {TH_TYPE_ACCOUNT, th_grant_account},
    {TH_TYPE_OAUTH_STS, th_grant_sts},
};

/* The connection of this agent whose server is `audience`; several may share it. */
static bool find_connection(const struct th_idp *idp, const struct th_form *form,
                            struct exchange *exchange, struct th_idp_answer *answer)
{
    struct th_str audience = th_form_get(form, "audience");
    struct th_str resource = th_form_get(form, "resource");
    bool audience_known = false;
    if (audience.len == 0)
        return th_answer_refuse(answer, "invalid_request", "audience_missing",
                                "'audience' is missing.");
    for (size_t i = 0; i < th_world_connections_count; i++) {
        const struct th_connection_row *row = &th_world_connections[i];
        const struct th_registry_resource *target = &idp->registry->resources[row->resource];
        const struct th_registry_server *server = &idp->registry->servers[target->row->server];
        if (&idp->registry->clients[row->agent] != answer->client ||
            !th_str_equal(audience, th_str_of(server->issuer)))
            continue;
        audience_known = true;
        bool wants_resource = !target->row->by_default_audience;
        bool equal = th_str_equal(resource, th_str_of(target->url));
        bool may_be_absent = !wants_resource || !idp->settings.resource_required;
        if (resource.len > 0 ? !(wants_resource && equal) : !may_be_absent)
            continue;
        *exchange = (struct exchange){row, target, server, TH_STR(""), resource.len > 0};
        answer->connection = row->name;
        return true;
    }
    if (!audience_known)
        return th_answer_refuse(answer, "invalid_target", "audience", "'audience' is invalid.");
    return th_answer_refuse(answer, "invalid_target",
                            resource.len > 0 ? "resource" : "resource_missing",
                            "'resource' is invalid.");
}

static bool check_scope(const struct th_idp *idp, const struct th_form *form,
                        struct exchange *exchange, struct th_idp_answer *answer)
{
    struct th_str allowed = th_str_of(exchange->connection->scopes);
    exchange->scope = th_form_get(form, "scope");
    if (exchange->scope.len == 0 && !idp->settings.scope_required)
        exchange->scope = allowed;
    if (exchange->scope.len == 0)
        return th_answer_refuse(answer, "invalid_scope", "scope_missing", "'scope' is missing.");
    if (!th_scopes_are_well_formed(exchange->scope))
        return th_answer_refuse(answer, "invalid_scope", "scope_malformed",
                                "'scope' is malformed.");
    if (th_scopes_have_system(exchange->scope))
        return th_answer_refuse(answer, "invalid_scope", "scope_system",
                                "System scopes are not allowed for this grant.");
    if (!th_scopes_within(exchange->scope, allowed))
        return th_answer_refuse(answer, "unauthorized_client", "scope_not_allowed",
                                "The resource connection does not permit a requested scope.");
    return true;
}

/* A chain that a machine began ends with it, and does not with a user's. */
static long count_actors(const struct th_idp *idp, const struct th_presented *presented,
                         const json_t *act)
{
    long n = (long)th_chain_length(act);
    bool with_start =
        presented->user == NULL && (presented->act != NULL || presented->from != NULL);
    return with_start && !idp->settings.chain_counts_start ? n - 1 : n;
}

static bool check_quota(struct th_idp *idp, const struct exchange *exchange,
                        const struct th_presented *presented, struct th_idp_answer *answer)
{
    if (presented->user == NULL)
        return true;
    long *count = &idp->id_jags[presented->user - th_world_users]
                               [exchange->resource - idp->registry->resources];
    if (idp->settings.id_jag_quota > 0 && *count >= idp->settings.id_jag_quota)
        return th_answer_refuse(answer, "too_many_requests", "id_jag_quota",
                                "The quota of this user and resource is used up.");
    ++*count;
    return true;
}

/* The chain that the ID-JAG will carry: this agent, then who was there before. */
static json_t *make_chain(const struct th_idp *idp, const struct th_presented *presented,
                          struct th_idp_answer *answer)
{
    json_t *inner = NULL, *act = NULL;
    if (presented->act != NULL)
        inner = json_deep_copy(presented->act);
    else if (presented->from != NULL)
        inner = th_chain_extend(presented->from, NULL);
    if (inner == NULL && (presented->act != NULL || presented->from != NULL)) {
        th_answer_fail(answer, TH_E_NOMEM);
        return NULL;
    }
    act = th_chain_extend(answer->client, inner);
    json_decref(inner);
    if (act == NULL) {
        th_answer_fail(answer, TH_E_NOMEM);
    } else if (count_actors(idp, presented, act) > idp->settings.max_chain) {
        th_answer_refuse(answer, "invalid_subject_token_act_claim_depth", "chain_depth",
                         "The act claim of the subject token is nested too deeply.");
        json_decref(act);
        act = NULL;
    }
    return act;
}

/* Another vendor's server knows the agent by another id. */
static const char *client_id_at(const struct exchange *exchange, const struct th_idp_answer *answer)
{
    const struct th_registry_registration *there =
        th_registry_registration_of(exchange->target, answer->client);
    return there != NULL ? there->row->client_id : answer->client->row->client_id;
}

static json_t *make_claims(const struct th_idp *idp, const struct exchange *exchange,
                           const struct th_presented *presented, json_t *act,
                           const struct th_idp_answer *answer)
{
    char jti[64];
    json_int_t now = (json_int_t)(th_idp_now_ms(idp) / 1000);
    th_token_make_id("IDAAG.", jti);
    json_t *claims =
        json_pack("{s:s, s:s%, s:s, s:s, s:I, s:I, s:s%, s:O, s:s}", "iss",
                  idp->registry->servers[TH_SERVER_ORG].issuer, "sub", presented->sub.ptr,
                  presented->sub.len, "aud", exchange->target->issuer, "jti", jti, "iat", now,
                  "exp", now + (json_int_t)idp->settings.id_jag_lifetime, "scope",
                  exchange->scope.ptr, exchange->scope.len, "act", act, "sub_profile",
                  presented->user != NULL ? "user" : "service");
    if (claims != NULL && idp->settings.id_jag_client_id)
        json_object_set_new(claims, "client_id", json_string(client_id_at(exchange, answer)));
    if (claims != NULL && exchange->has_resource)
        json_object_set_new(claims, "resource",
                            idp->settings.id_jag_arrays ? json_pack("[s]", exchange->resource->url)
                                                        : json_string(exchange->resource->url));
    if (claims != NULL && idp->settings.id_jag_arrays)
        json_object_set_new(claims, "aud", json_pack("[s]", exchange->target->issuer));
    if (claims != NULL && answer->jkt[0] != '\0')
        json_object_set_new(claims, "cnf", json_pack("{s:s}", "jkt", answer->jkt));
    return claims;
}

static void issue_id_jag(struct th_idp *idp, const struct th_idp_request *request,
                         const struct exchange *exchange, const struct th_presented *presented,
                         struct th_idp_answer *answer)
{
    TH_CLEANUP(th_secret_unrefp) struct th_secret *token = NULL;
    json_t *act = make_chain(idp, presented, answer);
    if (act == NULL)
        return;
    json_t *claims = make_claims(idp, exchange, presented, act, answer);
    json_decref(act);
    int e = claims == NULL ? TH_E_NOMEM
                           : th_token_sign(idp, request->server, "oauth-id-jag+jwt", claims,
                                           request->fault, &token);
    json_decref(claims);
    if (e != 0) {
        th_answer_fail(answer, e);
        return;
    }
    if (th_grant_answer_token(answer, request, token,
                              idp->settings.id_jag_bearer ? "Bearer" : "N_A",
                              idp->settings.id_jag_lifetime, exchange->scope))
        json_object_set_new(answer->body, "issued_token_type", json_string(TH_TYPE_ID_JAG));
}

static void exchange_id_jag(struct th_idp *idp, const struct th_idp_request *request,
                            const struct th_form *form, struct th_idp_answer *answer)
{
    struct exchange exchange = {0};
    struct th_presented presented;
    if (th_presented_check(idp, form, &presented, answer) &&
        find_connection(idp, form, &exchange, answer) &&
        check_scope(idp, form, &exchange, answer) &&
        check_quota(idp, &exchange, &presented, answer))
        issue_id_jag(idp, request, &exchange, &presented, answer);
    th_presented_fini(&presented);
}

void th_grant_exchange(struct th_idp *idp, const struct th_idp_request *request,
                       const struct th_form *form, struct th_idp_answer *answer)
{
    struct th_str type = th_form_get(form, "requested_token_type");
    if (th_form_get(form, "actor_token").len > 0 || th_form_get(form, "actor_token_type").len > 0) {
        th_answer_refuse(answer, "invalid_request", "actor_token",
                         "'actor_token' is not supported: the client is the actor.");
        return;
    }
    if (!request->server->row->org &&
        (type.len == 0 || th_str_equal(type, TH_STR(TH_TYPE_ACCESS_TOKEN)))) {
        th_grant_behalf(idp, request, form, answer);
        return;
    }
    for (size_t i = 0; request->server->row->org && i < TH_COUNT_OF(requested_types); i++) {
        if (th_str_equal(type, th_str_of(requested_types[i].type))) {
            if (answer->client->row->kind == TH_CLIENT_IS_AGENT)
                requested_types[i].run(idp, request, form, answer);
            else
                th_answer_refuse(answer, "unauthorized_client", "grant_not_allowed",
                                 "The client is not authorized to use the grant type.");
            return;
        }
    }
    th_answer_refuse(answer, "invalid_request", "requested_type",
                     "'requested_token_type' is invalid or not supported.");
}
