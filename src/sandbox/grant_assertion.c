/* jwt-bearer (RFC 7523) at servers that are not Okta's: somebody else's assertion, identity chaining, an
 * ID-JAG; and Microsoft Entra's on-behalf-of, which is a grant of that name (reference, section 10). */
#include "answer.h"
#include "bearing.h"
#include "issue.h"
#include "tokens.h"

/* RFC 7523, 3: for this server, by its issuer or its token endpoint; an ID-JAG by the issuer alone. */
static bool check_audience(const struct th_idp_request *request, const json_t *claims, bool id_jag,
                           struct th_idp_answer *answer)
{
    const struct th_registry_server *server = request->server;
    struct th_str one = th_token_one_text(json_object_get(claims, "aud"));
    if (id_jag && one.len == 0)
        return th_answer_refuse(answer, "invalid_grant", "subject_audience",
                                "The assertion has more audiences than one.");
    if (th_jwt_has_audience(claims, th_str_of(server->issuer)) ||
        (!id_jag && th_jwt_has_audience(claims, th_str_of(server->token_url))))
        return true;
    return th_answer_refuse(answer, "invalid_grant", "subject_audience",
                            "The assertion's audience is not this authorization server.");
}

static bool check_client(const json_t *claims, struct th_idp_answer *answer)
{
    if (!th_str_equal(th_jwt_text(claims, "client_id"),
                      th_str_of(answer->registration->row->client_id)))
        return th_answer_refuse(answer, "invalid_grant", "id_jag_client",
                                "The assertion was issued to another client.");
    return true;
}

static bool redeem_once(struct th_idp *idp, const struct th_bearing *assertion,
                        struct th_idp_answer *answer)
{
    struct th_str pieces[2] = {th_str_of(assertion->server->issuer),
                               th_jwt_text(assertion->jwt.claims, "jti")};
    if (pieces[1].len == 0)
        return th_answer_refuse(answer, "invalid_grant", "assertion_jti",
                                "The assertion has no jti.");
    if (th_ledger_find(&idp->redeemed, pieces, 2) != NULL)
        return th_answer_refuse(answer, "invalid_grant", "assertion_used",
                                "The assertion was used before.");
    int e = th_ledger_add(&idp->redeemed, pieces, 2, th_jwt_time_ms(assertion->jwt.claims, "exp"),
                          th_idp_now_ms(idp), NULL);
    return e == 0 || th_answer_fail(answer, e);
}

void th_provider_assertion(struct th_idp *idp, const struct th_idp_request *request,
                           const struct th_form *form, struct th_idp_answer *answer)
{
    const struct th_provider_row *provider = th_provider_of(request->server);
    bool id_jag = provider->wants_id_jag;
    bool once = id_jag ? false : idp->settings.assertion_single_use != 0;
    struct th_str text = th_form_get(form, "assertion");
    struct th_bearing assertion = {0};
    struct th_asked asked;
    if (text.len == 0) {
        th_answer_refuse(answer, "invalid_request", "assertion_missing", "'assertion' is missing.");
        return;
    }
    th_ledger_name(text, answer->subject);
    if (th_bearing_verify(idp, text, provider->assertion_issuers, id_jag, "invalid_grant",
                          &assertion, answer) &&
        check_audience(request, assertion.jwt.claims, id_jag, answer) &&
        th_bearing_check_user(&assertion, "invalid_grant", answer) &&
        (!id_jag || check_client(assertion.jwt.claims, answer)) &&
        th_asked_read(idp, request, form, true, true, false,
                      th_jwt_text(assertion.jwt.claims, "scope"), &asked, answer) &&
        (!once || redeem_once(idp, &assertion, answer))) {
        struct th_issue issued = {
            .sub = assertion.sub,
            .user = assertion.user,
            .act = assertion.act,
            .token_type = "Bearer",
            .lifetime = idp->settings.access_token_lifetime,
            .always_scope = true,
        };
        th_issue_token(idp, request, &asked, &issued, answer);
    }
    th_bearing_fini(&assertion);
}

/* A user's token for this app, and the user's consent; the conditional-access switch wants more. */
static bool check_entra(const struct th_idp *idp, const struct th_bearing *assertion,
                        struct th_idp_answer *answer)
{
    char api[64];
    const char *audience = answer->registration->row->audience;
    const json_t *claims = assertion->jwt.claims;
    snprintf(api, sizeof api, "api://%s", audience);
    if (!th_jwt_has_audience(claims, th_str_of(audience)) &&
        !th_jwt_has_audience(claims, th_str_of(api)))
        return th_answer_refuse(answer, "invalid_grant", "subject_audience",
                                "The assertion was not issued for this application.");
    if (assertion->user == NULL)
        return th_answer_refuse(answer, "invalid_grant", "subject_unknown_user",
                                "The assertion is not a user's.");
    if (!idp->settings.entra_consent)
        return th_answer_refuse(answer, "invalid_grant", "consent_missing",
                                "The user or administrator has not consented to use the "
                                "application.");
    if (idp->settings.entra_claims && json_object_get(claims, "acrs") == NULL)
        return th_answer_refuse(answer, "interaction_required", "claims_challenge",
                                "The user must use multi-factor authentication.");
    return true;
}

/* offline_access brings a refresh token, which nobody should keep. */
static void add_entra_members(const struct th_idp *idp, const struct th_form *form,
                              struct th_idp_answer *answer)
{
    struct th_str scope = th_form_get(form, "scope");
    if (answer->reason != NULL || answer->body == NULL)
        return;
    json_object_set_new(answer->body, "ext_expires_in",
                        json_integer(idp->settings.access_token_lifetime));
    if (memmem(scope.ptr, scope.len, "offline_access", strlen("offline_access")) != NULL)
        json_object_set_new(answer->body, "refresh_token", json_string("1.AXo-never-to-be-used"));
}

void th_entra_assertion(struct th_idp *idp, const struct th_idp_request *request,
                        const struct th_form *form, struct th_idp_answer *answer)
{
    unsigned own = 1u << (size_t)(request->server - idp->registry->servers);
    struct th_str text = th_form_get(form, "assertion");
    struct th_bearing assertion = {0};
    struct th_asked asked;
    if (text.len == 0) {
        th_answer_refuse(answer, "invalid_request", "assertion_missing",
                         "The request body must contain: 'assertion'.");
        return;
    }
    if (!th_str_equal(th_form_get(form, "requested_token_use"), TH_STR("on_behalf_of"))) {
        th_answer_refuse(answer, "invalid_request", "token_use",
                         "'requested_token_use' must be on_behalf_of.");
        return;
    }
    th_ledger_name(text, answer->subject);
    if (th_bearing_verify(idp, text, own, false, "invalid_grant", &assertion, answer) &&
        th_bearing_check_user(&assertion, "invalid_grant", answer) &&
        check_entra(idp, &assertion, answer) &&
        th_asked_read(idp, request, form, false, false, true, TH_STR(""), &asked, answer)) {
        struct th_issue issued = {
            .sub = assertion.sub,
            .user = assertion.user,
            .token_type = "Bearer",
            .lifetime = idp->settings.access_token_lifetime,
            .always_scope = true,
        };
        th_issue_token(idp, request, &asked, &issued, answer);
        add_entra_members(idp, form, answer);
    }
    th_bearing_fini(&assertion);
}
