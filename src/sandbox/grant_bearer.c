/* Leg 2: jwt-bearer at a custom server (RFC 7523; reference 4.3, 4.4, 14). */
#include "answer.h"
#include "chain.h"
#include "grants.h"
#include "scopes.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokens.h"

/* The switches second_leg_scope and second_leg_resource. */
enum { SECOND_LEG_REFUSES, SECOND_LEG_TAKES, SECOND_LEG_WANTS };

static bool refuse_grant(struct th_idp_answer *answer, const char *reason, const char *description)
{
    return th_answer_refuse(answer, "invalid_grant", reason, description);
}

static bool verify_assertion(struct th_idp *idp, struct th_str text, struct th_jwt *jwt,
                             struct th_idp_answer *answer)
{
    const struct th_registry_server *server = NULL;
    switch (th_token_verify(idp, text, jwt, &server)) {
    case TH_TOKEN_FINE:
        break;
    case TH_TOKEN_MALFORMED:
        return refuse_grant(answer, "id_jag_malformed", "The assertion is not a JWT.");
    case TH_TOKEN_ISSUER:
        return refuse_grant(answer, "id_jag_issuer", "The assertion's issuer is not trusted.");
    case TH_TOKEN_SIGNATURE:
        return refuse_grant(answer, "id_jag_signature", "The assertion's signature is invalid.");
    case TH_TOKEN_EXPIRED:
        return refuse_grant(answer, "id_jag_expired", "The assertion is expired.");
    case TH_TOKEN_REVOKED:
        return refuse_grant(answer, "id_jag_revoked", "The assertion is revoked.");
    }
    if (!th_str_equal(th_jwt_text(jwt->header, "typ"), TH_STR("oauth-id-jag+jwt")))
        return refuse_grant(answer, "id_jag_typ", "The assertion is not an ID-JAG.");
    if (!server->row->org)
        return refuse_grant(answer, "id_jag_issuer", "The assertion's issuer is not trusted.");
    return true;
}

/* Who may redeem it. Where ID-JAGs have no client_id (a setting), the outermost actor says it. */
static bool check_client(const struct th_idp *idp, const struct th_idp_request *request,
                         const json_t *claims, struct th_idp_answer *answer)
{
    const char *client_id = answer->client->row->client_id;
    struct th_str aud = th_token_one_text(json_object_get(claims, "aud"));
    const json_t *act = json_object_get(claims, "act");
    struct th_str of = json_object_get(claims, "client_id") != NULL
                           ? th_jwt_text(claims, "client_id")
                           : th_jwt_text(act, "sub");
    if (!th_str_equal(aud, th_str_of(request->server->issuer)))
        return refuse_grant(answer, "id_jag_audience",
                            "The assertion's audience is not this authorization server.");
    if (!th_str_equal(of, th_str_of(client_id)))
        return refuse_grant(answer, "id_jag_client", "The assertion was issued to another client.");
    answer->user = th_registry_find_user(th_jwt_text(claims, "sub"));
    if (answer->user == NULL && !idp->settings.second_leg_machine)
        return refuse_grant(answer, "id_jag_machine", "The assertion's user is unknown.");
    return true;
}

/* draft-parecki-oauth-jwt-dpop-grant: a bound assertion is redeemed with a proof of the same key; the
 * grant for such takes no other. */
static bool check_binding(const struct th_form *form, const json_t *claims,
                          struct th_idp_answer *answer)
{
    struct th_str jkt = th_jwt_text(json_object_get(claims, "cnf"), "jkt");
    if (jkt.len == 0 && th_str_equal(th_form_get(form, "grant_type"), TH_STR(TH_GRANT_JWT_DPOP)))
        return refuse_grant(answer, "id_jag_unbound", "The assertion is not bound to a key.");
    if (jkt.len > 0 && !th_str_equal(jkt, th_str_of(answer->jkt)))
        return refuse_grant(answer, "id_jag_proof",
                            "The assertion is bound to a key that was not proved.");
    return true;
}

static bool check_policy(const struct th_idp *idp, const struct th_idp_request *request,
                         struct th_str scope, struct th_idp_answer *answer)
{
    const struct th_policy_row *rule =
        th_registry_find_policy(idp->registry, request->server, answer->client);
    if (rule == NULL || !rule->jwt_bearer || !th_scopes_within(scope, th_str_of(rule->scopes)))
        return th_answer_refuse(answer, "access_denied", "no_matching_policy",
                                "Policy evaluation failed for this request, please check the "
                                "policy configurations.");
    return true;
}

/* scope and resource of this leg: never wider than the ID-JAG's. */
static bool check_narrowing(const struct th_idp *idp, const struct th_form *form,
                            const json_t *claims, struct th_str *ret_scope,
                            struct th_idp_answer *answer)
{
    struct th_str asked = th_form_get(form, "scope");
    struct th_str resource = th_form_get(form, "resource");
    struct th_str carried = th_token_one_text(json_object_get(claims, "resource"));
    *ret_scope = th_jwt_text(claims, "scope");
    if (asked.len > 0 && idp->settings.second_leg_scope == SECOND_LEG_REFUSES)
        return th_answer_refuse(answer, "invalid_scope", "second_leg_scope",
                                "'scope' is not allowed for this grant: the assertion carries it.");
    if (asked.len > 0 &&
        (!th_scopes_are_well_formed(asked) || !th_scopes_within(asked, *ret_scope)))
        return th_answer_refuse(answer, "invalid_scope", "scope_wider",
                                "'scope' is wider than the assertion's.");
    if (resource.len > 0 && idp->settings.second_leg_resource == SECOND_LEG_REFUSES)
        return th_answer_refuse(answer, "invalid_request", "second_leg_resource",
                                "'resource' is not allowed for this grant.");
    if (resource.len == 0 && carried.len > 0 &&
        idp->settings.second_leg_resource == SECOND_LEG_WANTS)
        return th_answer_refuse(answer, "invalid_target", "resource_missing",
                                "'resource' is missing.");
    if (resource.len > 0 && !th_str_equal(resource, carried))
        return th_answer_refuse(answer, "invalid_target", "resource", "'resource' is invalid.");
    if (asked.len > 0 || idp->settings.second_leg_scope == SECOND_LEG_WANTS)
        *ret_scope = asked;
    return true;
}

static bool redeem_once(struct th_idp *idp, const json_t *claims, struct th_idp_answer *answer)
{
    struct th_str jti = th_jwt_text(claims, "jti");
    if (jti.len == 0)
        return refuse_grant(answer, "id_jag_jti", "The assertion has no jti.");
    if (!idp->settings.id_jag_single_use)
        return true;
    if (th_ledger_find(&idp->redeemed, &jti, 1) != NULL)
        return refuse_grant(answer, "id_jag_used", "The assertion was used before.");
    int e = th_ledger_add(&idp->redeemed, &jti, 1, th_jwt_time_ms(claims, "exp"),
                          th_idp_now_ms(idp), NULL);
    return e == 0 || th_answer_fail(answer, e);
}

static void issue(struct th_idp *idp, const struct th_idp_request *request, const json_t *jag,
                  struct th_str scope, struct th_idp_answer *answer)
{
    TH_CLEANUP(th_secret_unrefp) struct th_secret *token = NULL;
    struct th_str resource = th_token_one_text(json_object_get(jag, "resource"));
    const char *fallback = request->server->row->default_audience;
    struct th_token_plan plan = {
        .server = request->server,
        .client = answer->client,
        .user = answer->user,
        .sub = th_jwt_text(jag, "sub"),
        .aud = resource.len > 0 ? resource
                                : th_str_of(fallback != NULL ? fallback : request->server->issuer),
        .scope = scope,
        .act = json_object_get(jag, "act"),
        .jkt = answer->jkt,
    };
    json_t *claims = th_token_access_claims(idp, &plan);
    int e = claims == NULL ? TH_E_NOMEM
                           : th_token_sign_access(idp, &plan, claims, request->fault, &token);
    json_decref(claims);
    if (e != 0)
        th_answer_fail(answer, e);
    else
        th_grant_answer_token(answer, request, token, "Bearer", idp->settings.access_token_lifetime,
                              scope);
}

void th_grant_jwt_bearer(struct th_idp *idp, const struct th_idp_request *request,
                         const struct th_form *form, struct th_idp_answer *answer)
{
    struct th_str assertion = th_form_get(form, "assertion");
    struct th_str scope = TH_STR_NONE;
    struct th_jwt jwt = {0};
    if (answer->client->row->kind != TH_CLIENT_IS_AGENT) {
        th_answer_refuse(answer, "unauthorized_client", "grant_not_allowed",
                         "The client is not authorized to use the grant type.");
        return;
    }
    if (assertion.len == 0) {
        th_answer_refuse(answer, "invalid_request", "assertion_missing", "'assertion' is missing.");
        return;
    }
    th_ledger_name(assertion, answer->subject);
    if (verify_assertion(idp, assertion, &jwt, answer) &&
        check_client(idp, request, jwt.claims, answer) && check_binding(form, jwt.claims, answer) &&
        check_narrowing(idp, form, jwt.claims, &scope, answer) &&
        check_policy(idp, request, scope, answer) && redeem_once(idp, jwt.claims, answer))
        issue(idp, request, jwt.claims, scope, answer);
    th_jwt_fini(&jwt);
}
