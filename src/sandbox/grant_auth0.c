/* What only Auth0 has: custom token exchange, decided by an Action, and the token vault, which holds third
 * parties' tokens of users who linked their account (reference, section 10). */
#include "answer.h"
#include "bearing.h"
#include "issue.h"

/* The switch auth0_action. */
enum { ACTION_ALLOWS, ACTION_FINDS_INVALID, ACTION_DENIES };

/* The Action takes ID tokens of the org that were minted for the agent or its app. */
static bool run_action(struct th_idp *idp, struct th_bearing *subject, struct th_str token,
                       struct th_idp_answer *answer)
{
    const json_t *claims;
    if (!th_bearing_verify(idp, token, 1u << TH_SERVER_ORG, false, "invalid_request", subject,
                           answer))
        return false;
    claims = subject->jwt.claims;
    if (!th_jwt_has_audience(claims, th_str_of(answer->client->row->client_id)))
        return th_answer_refuse(answer, "invalid_request", "subject_audience",
                                "The subject token was minted for another client.");
    if (subject->user == NULL)
        return th_answer_refuse(answer, "invalid_request", "subject_unknown_user",
                                "The subject token's user is unknown.");
    if (!th_bearing_check_user(subject, "access_denied", answer))
        return false;
    if (idp->settings.auth0_action == ACTION_FINDS_INVALID)
        return th_answer_refuse(answer, "invalid_request", "action_invalid",
                                "Invalid subject_token: the Action does not know it.");
    if (idp->settings.auth0_action == ACTION_DENIES)
        return th_answer_refuse(answer, "access_denied", "action_denied",
                                "The Action denies the exchange.");
    return true;
}

static void exchange_custom(struct th_idp *idp, const struct th_idp_request *request,
                            const struct th_form *form, struct th_idp_answer *answer)
{
    struct th_str token = th_form_get(form, "subject_token");
    struct th_bearing subject = {0};
    struct th_asked asked;
    if (token.len == 0) {
        th_answer_refuse(answer, "invalid_request", "subject_missing",
                         "'subject_token' is missing.");
        return;
    }
    th_ledger_name(token, answer->subject);
    if (run_action(idp, &subject, token, answer) &&
        th_asked_read(idp, request, form, true, false, true, TH_STR(""), &asked, answer)) {
        struct th_issue issued = {
            .sub = subject.sub,
            .user = subject.user,
            .token_type = "Bearer",
            .issued_token_type = TH_TYPE_ACCESS_TOKEN,
            .lifetime = idp->settings.access_token_lifetime,
            .always_scope = true,
        };
        th_issue_token(idp, request, &asked, &issued, answer);
    }
    th_bearing_fini(&subject);
}

void th_auth0_exchange(struct th_idp *idp, const struct th_idp_request *request,
                       const struct th_form *form, struct th_idp_answer *answer)
{
    if (th_str_equal(th_form_get(form, "subject_token_type"), TH_STR(TH_AUTH0_SUBJECT_TYPE)))
        exchange_custom(idp, request, form, answer);
    else
        th_provider_exchange(idp, request, form, answer);
}

/* The user of a refresh token, which is opaque: only the ledger knows. */
static const struct th_user_row *find_refresh_user(struct th_idp *idp,
                                                   const struct th_idp_request *request,
                                                   struct th_str token,
                                                   struct th_idp_answer *answer)
{
    const struct th_ledger_entry *entry = th_ledger_find(&idp->issued, &token, 1);
    if (entry == NULL || entry->revoked || entry->server != request->server ||
        entry->client != answer->client || entry->expires_ms <= th_idp_now_ms(idp)) {
        th_answer_refuse(answer, "invalid_grant", "refresh_token",
                         "Unknown or invalid refresh token.");
        return NULL;
    }
    return entry->user;
}

static const struct th_user_row *find_vault_user(struct th_idp *idp,
                                                 const struct th_idp_request *request,
                                                 const struct th_form *form,
                                                 struct th_bearing *subject,
                                                 struct th_idp_answer *answer)
{
    struct th_str token = th_form_get(form, "subject_token");
    struct th_str type = th_form_get(form, "subject_token_type");
    unsigned own = 1u << TH_SERVER_AUTH0;
    th_ledger_name(token, answer->subject);
    if (th_str_equal(type, TH_STR(TH_TYPE_REFRESH_TOKEN)))
        return find_refresh_user(idp, request, token, answer);
    if (!th_str_equal(type, TH_STR(TH_TYPE_ACCESS_TOKEN))) {
        th_answer_refuse(answer, "invalid_request", "subject_type",
                         "'subject_token_type' is invalid or not supported.");
        return NULL;
    }
    if (!th_bearing_verify(idp, token, own, false, "invalid_grant", subject, answer) ||
        !th_bearing_check_user(subject, "invalid_grant", answer))
        return NULL;
    if (!th_jwt_has_audience(subject->jwt.claims, th_str_of(answer->registration->row->audience)))
        th_answer_refuse(answer, "invalid_grant", "subject_audience",
                         "The subject token is not for this client's API.");
    else if (subject->user == NULL)
        th_answer_refuse(answer, "invalid_grant", "subject_unknown_user",
                         "The subject token is not a user's.");
    else
        return subject->user;
    return NULL;
}

static void issue_linked(struct th_idp *idp, const struct th_user_row *user,
                         struct th_vault_item *item, struct th_idp_answer *answer)
{
    struct th_vault_grant *grant = &item->grants[user - th_world_users];
    const char *token = th_vault_get_token(grant, th_idp_now_ms(idp), 0);
    answer->user = user;
    answer->who = user->name;
    answer->connection = item->row->name;
    if (token == NULL) {
        th_answer_refuse(answer, "federated_connection_refresh_token_not_found", "not_linked",
                         "The user has no linked account for this connection.");
        answer->status = 401;
        return;
    }
    th_ledger_name(th_str_of(token), answer->issued);
    json_decref(answer->body);
    answer->body =
        json_pack("{s:s, s:s, s:s, s:I, s:s}", "access_token", token, "issued_token_type",
                  TH_TYPE_VAULT, "token_type", "Bearer", "expires_in",
                  (json_int_t)idp->settings.sts_lifetime, "scope", "repo read:user");
    if (answer->body == NULL)
        th_answer_fail(answer, TH_E_NOMEM);
}

void th_auth0_vault(struct th_idp *idp, const struct th_idp_request *request,
                    const struct th_form *form, struct th_idp_answer *answer)
{
    struct th_str connection = th_form_get(form, "connection");
    struct th_bearing subject = {0};
    struct th_vault_item *item = th_vault_find_connection(
        &idp->vault, TH_VAULT_LINKED,
        (enum th_world_client)(answer->client - idp->registry->clients), connection);
    if (!th_str_equal(th_form_get(form, "requested_token_type"), TH_STR(TH_TYPE_VAULT)))
        th_answer_refuse(answer, "invalid_request", "requested_type",
                         "'requested_token_type' is invalid or not supported.");
    else if (th_form_get(form, "scope").len > 0 || th_form_get(form, "audience").len > 0)
        th_answer_refuse(answer, "invalid_request", "not_for_this_type",
                         "'scope' and 'audience' are not allowed for this grant.");
    else if (item == NULL)
        th_answer_refuse(answer, "invalid_request", "connection",
                         "The connection is missing or unknown.");
    else {
        const struct th_user_row *user = find_vault_user(idp, request, form, &subject, answer);
        if (user != NULL)
            issue_linked(idp, user, item, answer);
    }
    th_bearing_fini(&subject);
}
