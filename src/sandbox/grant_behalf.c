/* Okta's on-behalf-of for apps, without agents: token exchange at a custom server (reference, section 10). The
 * app is the API that the subject token was for; what is issued has no chain. */
#include "answer.h"
#include "bearing.h"
#include "provider.h"
#include "scopes.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokens.h"

static const struct th_behalf_row *find_row(const struct th_idp *idp,
                                            const struct th_idp_request *request,
                                            const struct th_idp_answer *answer)
{
    for (size_t i = 0; i < th_world_behalf_count; i++) {
        const struct th_behalf_row *row = &th_world_behalf[i];
        if (&idp->registry->servers[row->server] == request->server &&
            &idp->registry->clients[row->client] == answer->client)
            return row;
    }
    return NULL;
}

/* Of this server, or of one that it trusts, for the app's own API. */
static bool check_subject(struct th_idp *idp, const struct th_form *form,
                          const struct th_behalf_row *row, struct th_bearing *ret_subject,
                          struct th_idp_answer *answer)
{
    struct th_str token = th_form_get(form, "subject_token");
    if (token.len == 0)
        return th_answer_refuse(answer, "invalid_request", "subject_missing",
                                "'subject_token' is missing.");
    if (!th_str_equal(th_form_get(form, "subject_token_type"), TH_STR(TH_TYPE_ACCESS_TOKEN)))
        return th_answer_refuse(answer, "invalid_request", "subject_type",
                                "'subject_token_type' is invalid or not supported.");
    th_ledger_name(token, answer->subject);
    if (!th_bearing_verify(idp, token, row->trusted | 1u << row->server, false, "invalid_grant",
                           ret_subject, answer) ||
        !th_bearing_check_user(ret_subject, "invalid_grant", answer))
        return false;
    if (!th_jwt_has_audience(ret_subject->jwt.claims,
                             th_str_of(idp->registry->resources[row->called].audience)))
        return th_answer_refuse(answer, "invalid_grant", "subject_audience",
                                "The subject token is not for the API of this app.");
    return true;
}

static bool check_asked(const struct th_idp_request *request, const struct th_form *form,
                        const struct th_behalf_row *row, struct th_idp_answer *answer)
{
    struct th_str scope = th_form_get(form, "scope");
    const char *audience = request->server->row->default_audience;
    if (audience == NULL || !th_str_equal(th_form_get(form, "audience"), th_str_of(audience)))
        return th_answer_refuse(answer, "invalid_target", "audience", "'audience' is invalid.");
    if (th_form_get(form, "resource").len > 0)
        return th_answer_refuse(answer, "invalid_target", "resource", "'resource' is invalid.");
    if (scope.len == 0 || !th_scopes_are_well_formed(scope) || th_scopes_have_system(scope))
        return th_answer_refuse(answer, "invalid_scope", "scope_malformed",
                                "One or more custom scopes are required.");
    if (!th_scopes_within(scope, th_str_of(row->scopes)))
        return th_answer_refuse(answer, "access_denied", "no_matching_policy",
                                "Policy evaluation failed for this request, please check the "
                                "policy configurations.");
    return true;
}

static void issue(struct th_idp *idp, const struct th_idp_request *request,
                  const struct th_form *form, const struct th_bearing *subject,
                  struct th_idp_answer *answer)
{
    TH_CLEANUP(th_secret_unrefp) struct th_secret *token = NULL;
    struct th_token_plan plan = {
        .server = request->server,
        .client = answer->client,
        .user = subject->user,
        .sub = subject->sub,
        .aud = th_str_of(request->server->row->default_audience),
        .scope = th_form_get(form, "scope"),
        .jkt = answer->jkt,
    };
    json_t *claims = th_token_access_claims(idp, &plan);
    int e = claims == NULL ? TH_E_NOMEM
                           : th_token_sign_access(idp, &plan, claims, request->fault, &token);
    json_decref(claims);
    answer->connection = request->server->row->name;
    if (e != 0)
        th_answer_fail(answer, e);
    else if (th_grant_answer_token(answer, request, token, "Bearer",
                                   idp->settings.access_token_lifetime, plan.scope))
        json_object_set_new(answer->body, "issued_token_type", json_string(TH_TYPE_ACCESS_TOKEN));
}

void th_grant_behalf(struct th_idp *idp, const struct th_idp_request *request,
                     const struct th_form *form, struct th_idp_answer *answer)
{
    const struct th_behalf_row *row = find_row(idp, request, answer);
    struct th_bearing subject = {0};
    if (row == NULL)
        th_answer_refuse(answer, "unauthorized_client", "grant_not_allowed",
                         "The client is not authorized to use the grant type.");
    else if (check_subject(idp, form, row, &subject, answer) &&
             check_asked(request, form, row, answer))
        issue(idp, request, form, &subject, answer);
    th_bearing_fini(&subject);
}
