/* Token exchange (RFC 8693) and client_credentials of the servers that are not Okta's, by the rules of their
 * rows (reference, section 10). */
#include "answer.h"
#include "bearing.h"
#include "chain.h"
#include "issue.h"
#include "tokenhop/base/check.h"

static const struct type_row {
    const char *name;
    unsigned bit;
} types[] = {
    {TH_TYPE_ACCESS_TOKEN, TH_BIT_ACCESS},
    {TH_TYPE_ID_TOKEN, TH_BIT_ID},
    {TH_TYPE_JWT, TH_BIT_JWT},
    {TH_TYPE_REFRESH_TOKEN, TH_BIT_REFRESH},
};

static unsigned find_type(struct th_str name)
{
    for (size_t i = 0; i < TH_COUNT_OF(types); i++) {
        if (th_str_equal(name, th_str_of(types[i].name)))
            return types[i].bit;
    }
    return 0;
}

/* What Keycloak's version 1 knew, and other leftovers: not to be passed over. */
static bool check_leftovers(const struct th_form *form, struct th_idp_answer *answer)
{
    static const char *const names[] = {"subject_issuer", "requested_issuer", "requested_subject"};
    for (size_t i = 0; i < TH_COUNT_OF(names); i++) {
        if (th_form_get(form, names[i]).len > 0)
            return th_answer_refuse(answer, "invalid_request", "leftover_parameter",
                                    "A parameter is not supported for standard token exchange.");
    }
    return true;
}

static bool check_types(const struct th_exchange_rules *rules, const struct th_form *form,
                        unsigned *ret_requested, struct th_idp_answer *answer)
{
    struct th_str requested = th_form_get(form, "requested_token_type");
    unsigned subject = find_type(th_form_get(form, "subject_token_type"));
    if (th_form_get(form, "subject_token").len == 0)
        return th_answer_refuse(answer, "invalid_request", "subject_missing",
                                "'subject_token' is missing.");
    if ((rules->subject_types & subject) == 0)
        return th_answer_refuse(answer, "invalid_request", "subject_type",
                                "'subject_token_type' is invalid or not supported.");
    if (requested.len == 0 && rules->type_required)
        return th_answer_refuse(answer, "invalid_request", "requested_type_missing",
                                "'requested_token_type' is missing.");
    *ret_requested = requested.len > 0 ? find_type(requested) : TH_BIT_ACCESS;
    if ((rules->requested_types & *ret_requested) == 0)
        return th_answer_refuse(answer, "invalid_request", "requested_type",
                                "'requested_token_type' is invalid or not supported.");
    return true;
}

/* An ID token is for the client, an access token for what the client is called as; an assertion for a server
 * without clients, for that server's name. */
static bool check_audience(const struct th_idp_request *request, const struct th_form *form,
                           const struct th_bearing *subject, struct th_idp_answer *answer)
{
    char text[256];
    unsigned type = find_type(th_form_get(form, "subject_token_type"));
    const struct th_registry_registration *own = answer->registration;
    const json_t *claims = subject->jwt.claims;
    bool fine = false;
    if (own == NULL) {
        snprintf(text, sizeof text, "https:%s", th_provider_of(request->server)->targets[0].name);
        fine = th_jwt_has_audience(claims, th_str_of(text));
    } else {
        bool id = th_jwt_has_audience(claims, th_str_of(own->row->client_id));
        bool access = th_jwt_has_audience(claims, th_str_of(own->row->audience));
        fine = type == TH_BIT_ID ? id : type == TH_BIT_ACCESS ? access : id || access;
    }
    return fine || th_answer_refuse(answer, "invalid_grant", "subject_audience",
                                    "Client is not within the token audience");
}

/* RFC 8693, 4.4: who may act, where the subject says it. */
static bool check_may_act(const struct th_bearing *subject, struct th_str actor,
                          struct th_idp_answer *answer)
{
    const json_t *may_act = json_object_get(subject->jwt.claims, "may_act");
    if (may_act != NULL && !th_str_equal(th_jwt_text(may_act, "sub"), actor))
        return th_answer_refuse(answer, "invalid_request", "may_act",
                                "The subject token does not let this actor act.");
    return true;
}

/* {"sub": actor, "act": what was there}, at most TH_MAX_CHAIN long. NULL: refused. */
static json_t *extend(const json_t *inner, struct th_str actor, struct th_idp_answer *answer)
{
    if (th_chain_length(inner) >= TH_MAX_CHAIN) {
        th_answer_refuse(answer, "invalid_request", "chain_depth",
                         "The act claim of the subject token is nested too deeply.");
        return NULL;
    }
    json_t *act = json_pack("{s:s%, s:O*}", "sub", actor.ptr, actor.len, "act", (json_t *)inner);
    if (act == NULL)
        th_answer_fail(answer, TH_E_NOMEM);
    return act;
}

/* The actor's token is the client's own: issued to it by this server. */
static bool verify_actor(struct th_idp *idp, const struct th_idp_request *request,
                         const struct th_form *form, struct th_bearing *ret_actor,
                         struct th_idp_answer *answer)
{
    unsigned own = 1u << (size_t)(request->server - idp->registry->servers);
    const char *claim = th_provider_of(request->server)->client_claim;
    const char *client_id = answer->registration->row->client_id;
    unsigned type = find_type(th_form_get(form, "actor_token_type"));
    if (type != TH_BIT_ACCESS && type != TH_BIT_JWT)
        return th_answer_refuse(answer, "invalid_request", "actor_type",
                                "'actor_token_type' is missing or not supported.");
    if (!th_bearing_verify(idp, th_form_get(form, "actor_token"), own, false, "invalid_request",
                           ret_actor, answer))
        return false;
    if (!th_str_equal(th_jwt_text(ret_actor->jwt.claims, claim), th_str_of(client_id)) ||
        !th_str_equal(ret_actor->sub, th_str_of(client_id)))
        return th_answer_refuse(answer, "invalid_request", "actor_client",
                                "The actor token is not the client's own.");
    return true;
}

/* What `act` will be: *ret_act NULL for none, else a new reference. */
static bool make_act(struct th_idp *idp, const struct th_idp_request *request,
                     const struct th_form *form, const struct th_bearing *subject, json_t **ret_act,
                     struct th_idp_answer *answer)
{
    enum th_actor_rule rule = th_provider_of(request->server)->exchange.actor;
    bool token = th_form_get(form, "actor_token").len > 0;
    bool type = th_form_get(form, "actor_token_type").len > 0;
    struct th_bearing actor = {0};
    bool fine = true;
    *ret_act = subject->act != NULL ? json_deep_copy(subject->act) : NULL;
    if (token != type) /* neither without the other (RFC 8693, 2.1) */
        return th_answer_refuse(answer, "invalid_request", "actor_half",
                                "'actor_token' and 'actor_token_type' go together.");
    if (token && (rule == TH_ACTOR_IGNORED || rule == TH_ACTOR_IS_CLIENT))
        return th_answer_refuse(answer, "invalid_request", "actor_token",
                                "'actor_token' is not supported.");
    if (!token && rule == TH_ACTOR_WANTED)
        return th_answer_refuse(answer, "invalid_request", "actor_missing",
                                "'actor_token' is missing.");
    if (!token && rule != TH_ACTOR_IS_CLIENT)
        return answer->registration == NULL ||
               check_may_act(subject, th_str_of(answer->registration->row->client_id), answer);
    struct th_str who = th_str_of(answer->registration->row->client_id);
    if (token)
        fine = verify_actor(idp, request, form, &actor, answer);
    fine = fine && check_may_act(subject, who, answer);
    json_decref(*ret_act);
    *ret_act = fine ? extend(subject->act, who, answer) : NULL;
    th_bearing_fini(&actor);
    return *ret_act != NULL;
}

static void issue(struct th_idp *idp, const struct th_idp_request *request, unsigned requested,
                  const struct th_asked *asked, const struct th_bearing *subject, json_t *act,
                  struct th_idp_answer *answer)
{
    struct th_issue issued = {
        .sub = subject->sub,
        .user = subject->user,
        .act = act,
        .token_type = "Bearer",
        .issued_token_type = TH_TYPE_ACCESS_TOKEN,
        .lifetime = idp->settings.access_token_lifetime,
    };
    if (requested == TH_BIT_ID) {
        issued.id_token = true;
        issued.token_type = "N_A";
        issued.issued_token_type = TH_TYPE_ID_TOKEN;
    } else if (requested == TH_BIT_JWT) {
        issued.issued_token_type = TH_TYPE_JWT;
    }
    if (asked->chained != NULL) {
        issued.assertion = true;
        issued.token_type = "N_A";
        issued.lifetime = idp->settings.chained_lifetime;
    }
    th_issue_token(idp, request, asked, &issued, answer);
}

void th_provider_exchange(struct th_idp *idp, const struct th_idp_request *request,
                          const struct th_form *form, struct th_idp_answer *answer)
{
    const struct th_exchange_rules *rules = &th_provider_of(request->server)->exchange;
    unsigned own = 1u << (size_t)(request->server - idp->registry->servers);
    unsigned trusted =
        th_provider_of(request->server)->anonymous ? rules->trusted : rules->trusted | own;
    struct th_str token = th_form_get(form, "subject_token");
    struct th_bearing subject = {0};
    struct th_asked asked;
    unsigned requested = 0;
    json_t *act = NULL;
    if (!check_leftovers(form, answer) || !check_types(rules, form, &requested, answer))
        return;
    th_ledger_name(token, answer->subject);
    if (th_bearing_verify(idp, token, trusted, false, "invalid_grant", &subject, answer) &&
        check_audience(request, form, &subject, answer) &&
        th_bearing_check_user(&subject, "invalid_grant", answer) &&
        make_act(idp, request, form, &subject, &act, answer) &&
        th_asked_read(idp, request, form, rules->takes_audience, rules->takes_resource,
                      rules->target_required, TH_STR(""), &asked, answer)) {
        if (asked.chained != NULL && requested != TH_BIT_JWT)
            th_answer_refuse(answer, "invalid_request", "requested_type",
                             "For another server only an assertion can be asked for.");
        else
            issue(idp, request, requested, &asked, &subject, act, answer);
    }
    json_decref(act);
    th_bearing_fini(&subject);
}

/* A registered agent for itself: no subject, and so no chain. */
void th_provider_credentials(struct th_idp *idp, const struct th_idp_request *request,
                             const struct th_form *form, struct th_idp_answer *answer)
{
    const struct th_provider_row *provider = th_provider_of(request->server);
    bool auth0 = provider->wants_id_jag, entra = provider->scope_is_target;
    struct th_asked asked;
    struct th_issue issued = {
        .sub = th_str_of(answer->registration->row->client_id),
        .token_type = "Bearer",
        .lifetime = idp->settings.access_token_lifetime,
        .always_scope = true,
    };
    answer->who = answer->client->row->name;
    if (answer->registration->row->method == TH_CLIENT_BY_NOTHING) {
        th_answer_refuse(answer, "unauthorized_client", "public_client",
                         "A public client cannot use the client_credentials grant.");
        return;
    }
    if (th_asked_read(idp, request, form, !entra, !entra && !auth0, auth0, TH_STR(""), &asked,
                      answer))
        th_issue_token(idp, request, &asked, &issued, answer);
}
