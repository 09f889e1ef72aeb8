#include "presented.h"

#include "answer.h"
#include "chain.h"
#include "provider.h"
#include "tokens.h"

static bool refuse_grant(struct th_idp_answer *answer, const char *reason, const char *description)
{
    return th_answer_refuse(answer, "invalid_grant", reason, description);
}

/* Signature, issuer and times: the same for both types. */
static bool check_token(struct th_idp *idp, struct th_str token, bool custom_only,
                        struct th_presented *presented, struct th_idp_answer *answer)
{
    const struct th_jwt *jwt = &presented->jwt;
    const struct th_registry_server *server = NULL;
    switch (th_token_verify(idp, token, &presented->jwt, &server)) {
    case TH_TOKEN_FINE:
        break;
    case TH_TOKEN_MALFORMED:
        return th_answer_refuse(answer, "invalid_request", "subject_malformed",
                                "'subject_token' is invalid.");
    case TH_TOKEN_ISSUER:
        return refuse_grant(answer, "subject_issuer", "The subject token's issuer is not trusted.");
    case TH_TOKEN_SIGNATURE:
        return refuse_grant(answer, "subject_signature",
                            "The subject token's signature is invalid.");
    case TH_TOKEN_EXPIRED:
        return refuse_grant(answer, "subject_expired", "The subject token is expired.");
    case TH_TOKEN_REVOKED:
        return refuse_grant(answer, "subject_revoked", "The subject token is revoked.");
    }
    if (th_str_equal(th_jwt_text(jwt->header, "typ"), TH_STR("oauth-id-jag+jwt")))
        return refuse_grant(answer, "subject_is_id_jag",
                            "An ID-JAG cannot be used as a subject token.");
    if (th_provider_of(server) != NULL)
        return refuse_grant(answer, "subject_issuer", "The subject token's issuer is not trusted.");
    if (custom_only && server->row->org)
        return refuse_grant(answer, "subject_issuer",
                            "Access tokens of the org authorization server cannot be exchanged.");
    presented->sub = th_jwt_text(jwt->claims, "sub");
    presented->user = th_registry_find_user(presented->sub);
    presented->act = json_object_get(jwt->claims, "act");
    const struct th_registry_client *machine =
        th_registry_find_client(idp->registry, presented->sub);
    if (presented->user != NULL)
        answer->who = presented->user->name;
    else if (machine != NULL)
        answer->who = machine->row->name;
    return true;
}

static bool check_id_token(struct th_idp *idp, struct th_presented *presented,
                           struct th_idp_answer *answer)
{
    const struct th_registry_client *agent = answer->client;
    const json_t *aud = json_object_get(presented->jwt.claims, "aud");
    enum th_world_client linked = agent->row->linked_app;
    const char *text = json_string_value(aud);
    bool own = text != NULL && strcmp(text, agent->row->client_id) == 0;
    bool of_app = text != NULL && idp->settings.linked_app_id_token && linked != TH_CLIENT_NONE &&
                  strcmp(text, th_world_clients[linked].client_id) == 0;
    if (!own && !of_app)
        return refuse_grant(answer, "subject_audience",
                            "The subject token was minted for another client.");
    if (presented->user == NULL)
        return refuse_grant(answer, "subject_unknown_user", "The subject token's user is unknown.");
    answer->user = presented->user;
    if (!th_registry_is_assigned(idp->registry, presented->user, agent))
        return refuse_grant(answer, "user_not_assigned", "The user is not assigned to the agent.");
    presented->act = NULL; /* an ID token starts a chain */
    return true;
}

static bool check_access_token(struct th_idp *idp, struct th_presented *presented,
                               struct th_idp_answer *answer)
{
    const struct th_registry_client *agent = answer->client;
    const json_t *claims = presented->jwt.claims;
    const json_t *aud = json_object_get(claims, "aud");
    struct th_str url = th_registry_client_url(idp->registry, agent);
    struct th_str cid = th_jwt_text(claims, "cid");
    struct th_str actor = th_jwt_text(presented->act, "sub");
    if (url.len == 0 || !json_is_string(aud) ||
        !th_str_equal(th_str_of(json_string_value(aud)), url))
        return refuse_grant(answer, "subject_audience",
                            "The subject token's audience is not the agent's resource URL.");
    if (!th_chain_is_well_formed(presented->act))
        return refuse_grant(answer, "subject_chain", "The subject token's act claim is invalid.");
    if (cid.len > 0 && actor.len > 0 && !th_str_equal(cid, actor))
        return refuse_grant(answer, "subject_chain",
                            "The subject token's client is not its outermost actor.");
    presented->from = th_registry_find_client(idp->registry, cid.len > 0 ? cid : actor);
    answer->user = presented->user;
    if (presented->from == NULL || !th_registry_is_linked(idp->registry, presented->from, agent))
        return th_answer_refuse(
            answer, idp->settings.missing_link_target ? "invalid_target" : "invalid_grant",
            "no_delegation_link",
            "No delegation link from the subject token's client to the agent.");
    return true;
}

bool th_presented_check(struct th_idp *idp, const struct th_form *form,
                        struct th_presented *ret_presented, struct th_idp_answer *answer)
{
    struct th_str token = th_form_get(form, "subject_token");
    struct th_str type = th_form_get(form, "subject_token_type");
    memset(ret_presented, 0, sizeof *ret_presented);
    if (token.len == 0)
        return th_answer_refuse(answer, "invalid_request", "subject_missing",
                                "'subject_token' is missing.");
    th_ledger_name(token, answer->subject);
    bool id_token = th_str_equal(type, TH_STR(TH_TYPE_ID_TOKEN));
    bool access_token =
        idp->settings.subject_access_token && th_str_equal(type, TH_STR(TH_TYPE_ACCESS_TOKEN));
    if (!id_token && !access_token)
        return th_answer_refuse(answer, "invalid_request", "subject_type",
                                "'subject_token_type' is invalid or not supported.");
    if (!check_token(idp, token, access_token, ret_presented, answer))
        return false;
    return id_token ? check_id_token(idp, ret_presented, answer)
                    : check_access_token(idp, ret_presented, answer);
}

void th_presented_fini(struct th_presented *presented)
{
    th_jwt_fini(&presented->jwt);
    memset(presented, 0, sizeof *presented);
}
