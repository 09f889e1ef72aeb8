/* client_credentials for service apps (reference, section 3, "Machine"), revocation (RFC 7009;
 * reference, section 9), and the form that every token answer has. */
#include "answer.h"
#include "client_auth.h"
#include "grants.h"
#include "scopes.h"
#include "tokenhop/base/mem.h"
#include "tokens.h"

bool th_grant_answer_token(struct th_idp_answer *answer, const struct th_idp_request *request,
                           struct th_secret *token, const char *token_type, long expires_in,
                           struct th_str scope)
{
    struct th_str text = th_secret_expose(token);
    if (answer->jkt[0] != '\0' && strcmp(token_type, "Bearer") == 0)
        token_type = "DPoP";
    json_decref(answer->body);
    answer->body = json_pack("{s:s, s:I, s:s%, s:s%}", "token_type", token_type, "expires_in",
                             (json_int_t)expires_in, "access_token", text.ptr, text.len, "scope",
                             scope.ptr, scope.len);
    if (answer->body == NULL)
        return th_answer_fail(answer, TH_E_NOMEM);
    th_ledger_name(text, answer->issued);
    return true;
}

static bool check_credentials_request(const struct th_idp *idp,
                                      const struct th_idp_request *request,
                                      const struct th_form *form,
                                      const struct th_registry_resource **ret_resource,
                                      struct th_idp_answer *answer)
{
    struct th_str scope = th_form_get(form, "scope");
    struct th_str url = th_form_get(form, "resource");
    const struct th_policy_row *rule =
        th_registry_find_policy(idp->registry, request->server, answer->client);
    *ret_resource = th_registry_find_url(idp->registry, url);
    if (answer->client->row->kind != TH_CLIENT_IS_SERVICE)
        return th_answer_refuse(answer, "unauthorized_client", "not_a_service_app",
                                "Only service apps can use the client_credentials grant.");
    if (scope.len == 0 || !th_scopes_are_well_formed(scope) || th_scopes_have_system(scope))
        return th_answer_refuse(answer, "invalid_scope", "scope_malformed",
                                "One or more custom scopes are required, and system scopes are "
                                "not allowed.");
    if (*ret_resource == NULL || (*ret_resource)->row->by_default_audience ||
        &idp->registry->servers[(*ret_resource)->row->server] != request->server)
        return th_answer_refuse(answer, "invalid_target", "resource", "'resource' is invalid.");
    if (!th_scopes_within(scope, th_str_of((*ret_resource)->row->scopes)))
        return th_answer_refuse(answer, "invalid_scope", "scope_unknown",
                                "One or more scopes are not configured for the authorization "
                                "server resource.");
    if (rule == NULL || !rule->client_credentials ||
        !th_scopes_within(scope, th_str_of(rule->scopes)))
        return th_answer_refuse(answer, "access_denied", "no_matching_policy",
                                "Policy evaluation failed for this request, please check the "
                                "policy configurations.");
    return true;
}

void th_grant_client_credentials(struct th_idp *idp, const struct th_idp_request *request,
                                 const struct th_form *form, struct th_idp_answer *answer)
{
    TH_CLEANUP(th_secret_unrefp) struct th_secret *token = NULL;
    const struct th_registry_resource *resource = NULL;
    if (!check_credentials_request(idp, request, form, &resource, answer))
        return;
    struct th_token_plan plan = {
        .server = request->server,
        .client = answer->client,
        .sub = th_str_of(answer->client->row->client_id),
        .aud = th_str_of(resource->audience),
        .scope = th_form_get(form, "scope"),
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
                              plan.scope);
}

/* 200 whether or not the token was known (RFC 7009, 2.2); only the client's own, of this server. */
void th_grant_revoke(struct th_idp *idp, const struct th_idp_request *request,
                     const struct th_form *form, struct th_idp_answer *answer)
{
    struct th_str token = th_form_get(form, "token");
    answer->grant = "revoke";
    if (request->server->revoke_url == NULL ||
        !th_client_auth_check(idp, request, form, request->server->revoke_url, answer))
        return;
    if (token.len == 0) {
        th_answer_refuse(answer, "invalid_request", "token_missing", "'token' is missing.");
        return;
    }
    th_ledger_name(token, answer->subject);
    struct th_ledger_entry *entry = th_ledger_find(&idp->issued, &token, 1);
    if (entry != NULL && entry->client == answer->client && entry->server == request->server)
        entry->revoked = true;
    if (request->server->row->org &&
        th_str_equal(th_form_get(form, "token_type_hint"), TH_STR("oauth_sts")))
        th_vault_revoke(&idp->vault,
                        (enum th_world_client)(answer->client - idp->registry->clients), token,
                        idp->settings.sts_keeps_consent);
}
