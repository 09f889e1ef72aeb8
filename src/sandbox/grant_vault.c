/* Token exchange for what is named by a resource alone: secrets, accounts, third parties' tokens (reference,
 * sections 5, 6, 7, 14). */
#include <stdio.h>

#include "answer.h"
#include "grants.h"
#include "presented.h"

/* The connection of this agent with this resource, and nothing asked for besides. */
static struct th_vault_item *find_item(struct th_idp *idp, enum th_vault_kind kind,
                                       const struct th_form *form,
                                       const struct th_presented *presented,
                                       struct th_idp_answer *answer)
{
    struct th_str resource = th_form_get(form, "resource");
    if (presented->user == NULL && !idp->settings.vault_machine) {
        th_answer_refuse(answer, "invalid_grant", "subject_machine",
                         "The subject token is not a user's.");
        return NULL;
    }
    enum th_world_client agent = (enum th_world_client)(answer->client - idp->registry->clients);
    if (th_form_get(form, "audience").len > 0 || th_form_get(form, "scope").len > 0) {
        th_answer_refuse(answer, "invalid_request", "not_for_this_type",
                         "'audience' and 'scope' are not allowed for this requested token type.");
        return NULL;
    }
    struct th_vault_item *item = th_vault_find_connection(&idp->vault, kind, agent, resource);
    if (item == NULL)
        th_answer_refuse(answer, "invalid_target",
                         resource.len > 0 ? "resource" : "resource_missing",
                         "'resource' is invalid.");
    else
        answer->connection = item->row->name;
    return item;
}

static void answer_object(struct th_idp_answer *answer, const char *type, const char *name,
                          json_t *object, long lifetime)
{
    json_decref(answer->body);
    answer->body = json_pack("{s:s, s:o, s:s, s:I}", "issued_token_type", type, name, object,
                             "token_type", "N_A", "expires_in", (json_int_t)lifetime);
    if (answer->body == NULL)
        th_answer_fail(answer, TH_E_NOMEM);
}

void th_grant_secret(struct th_idp *idp, const struct th_idp_request *request,
                     const struct th_form *form, struct th_idp_answer *answer)
{
    struct th_presented presented;
    struct th_vault_item *item = NULL;
    bool is_short = idp->settings.short_secret_names;
    if (th_presented_check(idp, form, &presented, answer))
        item = find_item(idp, TH_VAULT_SECRET, form, &presented, answer);
    if (item != NULL) {
        th_ledger_name(th_str_of(item->value), answer->issued);
        answer_object(answer, is_short ? TH_TYPE_SECRET_SHORT : TH_TYPE_VAULTED_SECRET,
                      is_short ? "secret" : "vaulted_secret",
                      json_pack("{s:s, s:n, s:s}", "api_key", item->value, "region", "host",
                                "weather.sandbox.test"),
                      idp->settings.vault_lifetime);
    }
    th_presented_fini(&presented);
}

void th_grant_account(struct th_idp *idp, const struct th_idp_request *request,
                      const struct th_form *form, struct th_idp_answer *answer)
{
    struct th_presented presented;
    struct th_vault_item *item = NULL;
    if (th_presented_check(idp, form, &presented, answer))
        item = find_item(idp, TH_VAULT_ACCOUNT, form, &presented, answer);
    if (item != NULL) {
        th_ledger_name(th_str_of(item->value), answer->issued);
        answer_object(
            answer, TH_TYPE_ACCOUNT, "service_account",
            json_pack("{s:s, s:s}", "username", item->row->username, "password", item->value),
            idp->settings.vault_lifetime);
    }
    th_presented_fini(&presented);
}

/* Consent is a user's: a machine has nobody who could open the page. */
static void want_consent(const struct th_idp_request *request, const struct th_vault_grant *grant,
                         struct th_idp_answer *answer)
{
    char uri[512];
    th_answer_refuse(answer, "interaction_required", "interaction_required",
                     "The user must consent at the third party.");
    if (grant == NULL || answer->body == NULL)
        return;
    snprintf(uri, sizeof uri, "%s" TH_STS_PAGE "?dataHandle=%s", request->server->issuer,
             grant->handle);
    json_object_set_new(answer->body, "interaction_uri", json_string(uri));
}

static void issue_sts(struct th_idp *idp, const struct th_idp_request *request,
                      struct th_vault_item *item, const struct th_presented *presented,
                      struct th_idp_answer *answer)
{
    struct th_vault_grant *grant =
        presented->user != NULL ? &item->grants[presented->user - th_world_users] : NULL;
    const char *token = grant != NULL
                            ? th_vault_get_token(grant, th_idp_now_ms(idp),
                                                 idp->settings.interaction_lifetime * INT64_C(1000))
                            : NULL;
    if (token == NULL) {
        want_consent(request, grant, answer);
        return;
    }
    th_ledger_name(th_str_of(token), answer->issued);
    json_decref(answer->body);
    answer->body = json_pack("{s:s, s:s, s:s, s:I, s:s, s:s}", "issued_token_type",
                             TH_TYPE_OAUTH_STS, "access_token", token, "token_type", "Bearer",
                             "expires_in", (json_int_t)idp->settings.sts_lifetime, "scope",
                             "repo read:user", "refresh_token", "tpr_never-to-be-used");
    if (answer->body == NULL)
        th_answer_fail(answer, TH_E_NOMEM);
}

void th_grant_sts(struct th_idp *idp, const struct th_idp_request *request,
                  const struct th_form *form, struct th_idp_answer *answer)
{
    struct th_presented presented;
    struct th_vault_item *item = NULL;
    if (th_presented_check(idp, form, &presented, answer))
        item = find_item(idp, TH_VAULT_STS, form, &presented, answer);
    if (item != NULL)
        issue_sts(idp, request, item, &presented, answer);
    th_presented_fini(&presented);
}
