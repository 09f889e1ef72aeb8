#include "idp.h"

#include "answer.h"
#include "client_auth.h"
#include "provider.h"
#include "tokenhop/base/check.h"

/* What a busy test fills in the life of a token; a ledger entry is about 120 bytes. */
#define MAX_REMEMBERED 1000000

/* Which grant which server takes (reference, section 1). */
static const struct grant_row {
    const char *grant_type;
    bool org;
    bool custom;
    th_grant_fn *run;
} grants[] = {
    {TH_GRANT_EXCHANGE, true, true, th_grant_exchange},
    {TH_GRANT_JWT_BEARER, false, true, th_grant_jwt_bearer},
    {TH_GRANT_JWT_DPOP, false, true, th_grant_jwt_bearer},
    {TH_GRANT_CLIENT_CREDENTIALS, false, true, th_grant_client_credentials},
};

int th_idp_init(struct th_idp *idp, const struct th_registry *registry,
                const struct th_clock *clock)
{
    memset(idp, 0, sizeof *idp);
    idp->registry = registry;
    idp->clock = clock;
    th_sandbox_settings_init(&idp->settings);
    th_ledger_init(&idp->assertions, MAX_REMEMBERED);
    th_ledger_init(&idp->redeemed, MAX_REMEMBERED);
    th_ledger_init(&idp->issued, MAX_REMEMBERED);
    th_proof_desk_init(&idp->proofs);
    for (size_t i = 0; i < TH_RESOURCE_COUNT; i++)
        th_proof_desk_init(&idp->agent_proofs[i]);
    return th_vault_init(&idp->vault);
}

void th_idp_fini(struct th_idp *idp)
{
    th_ledger_fini(&idp->assertions);
    th_ledger_fini(&idp->redeemed);
    th_ledger_fini(&idp->issued);
    th_proof_desk_fini(&idp->proofs);
    for (size_t i = 0; i < TH_RESOURCE_COUNT; i++)
        th_proof_desk_fini(&idp->agent_proofs[i]);
    th_vault_fini(&idp->vault);
}

void th_idp_reset(struct th_idp *idp)
{
    th_ledger_clear(&idp->assertions);
    th_ledger_clear(&idp->redeemed);
    th_ledger_clear(&idp->issued);
    th_proof_desk_clear(&idp->proofs);
    for (size_t i = 0; i < TH_RESOURCE_COUNT; i++)
        th_proof_desk_clear(&idp->agent_proofs[i]);
    th_vault_reset(&idp->vault);
    memset(idp->rate_count, 0, sizeof idp->rate_count);
    memset(idp->id_jags, 0, sizeof idp->id_jags);
}

int64_t th_idp_now_ms(const struct th_idp *idp)
{
    return th_clock_wall_ms(idp->clock);
}

/* RFC 9449, 5 and 8. */
static bool check_proof(struct th_idp *idp, const struct th_idp_request *request,
                        struct th_idp_answer *answer)
{
    const struct th_sandbox_settings *settings = &idp->settings;
    const struct th_proof_request proof = {
        .proof = request->dpop,
        .n_proofs = request->n_dpop,
        .method = request->method,
        .url = th_str_of(request->server->token_url),
        .now_ms = th_idp_now_ms(idp),
        .window_s = settings->dpop_window,
        .wants_nonce = settings->dpop_nonce != 0,
        .requests_of_a_nonce = settings->dpop_nonce_requests,
    };
    bool required = settings->dpop == 3 || (settings->dpop == 2 && !request->server->row->org);
    if (settings->dpop == 0 || (request->n_dpop == 0 && !required))
        return true;
    const char *reason = th_proof_check(&idp->proofs, &proof, answer->jkt);
    if (proof.wants_nonce)
        memcpy(answer->nonce, idp->proofs.nonces.now, sizeof answer->nonce);
    if (reason == NULL)
        return true;
    if (strcmp(reason, TH_PROOF_NONCE) == 0)
        return th_answer_refuse(answer, "use_dpop_nonce", reason,
                                "Authorization server requires nonce in DPoP proof.");
    return th_answer_refuse(answer, "invalid_dpop_proof", reason,
                            request->n_dpop == 0 ? "The DPoP proof JWT header is missing."
                                                 : "The DPoP proof JWT is invalid.");
}

/* The grant's row at another server than Okta's; NULL: not taken there. */
static const struct th_provider_grant *find_grant(const struct th_provider_row *provider,
                                                  struct th_str grant)
{
    for (size_t i = 0; i < TH_PROVIDER_GRANTS && provider->grants[i].grant_type != NULL; i++) {
        if (th_str_equal(grant, th_str_of(provider->grants[i].grant_type)))
            return &provider->grants[i];
    }
    return NULL;
}

static void refuse_grant_type(struct th_str grant, struct th_idp_answer *answer)
{
    if (grant.len == 0)
        th_answer_refuse(answer, "invalid_request", "grant_missing", "'grant_type' is missing.");
    else
        th_answer_refuse(answer, "unsupported_grant_type", "grant_unsupported",
                         "The authorization server does not support the grant type.");
}

static void handle_provider_token(struct th_idp *idp, const struct th_idp_request *request,
                                  const struct th_form *form, struct th_idp_answer *answer)
{
    struct th_str grant = th_form_get(form, "grant_type");
    const struct th_provider_row *provider = th_provider_of(request->server);
    if (!th_client_auth_check(idp, request, form, request->server->token_url, answer) ||
        (!provider->opaque && !check_proof(idp, request, answer)))
        return;
    const struct th_provider_grant *row = find_grant(provider, grant);
    if (row == NULL) {
        refuse_grant_type(grant, answer);
        return;
    }
    answer->grant = row->grant_type;
    row->run(idp, request, form, answer);
}

static void handle_token(struct th_idp *idp, const struct th_idp_request *request,
                         const struct th_form *form, struct th_idp_answer *answer)
{
    struct th_str grant = th_form_get(form, "grant_type");
    if (!th_client_auth_check(idp, request, form, request->server->token_url, answer) ||
        !check_proof(idp, request, answer))
        return;
    for (size_t i = 0; i < TH_COUNT_OF(grants); i++) {
        if (!th_str_equal(grant, th_str_of(grants[i].grant_type)))
            continue;
        answer->grant = grants[i].grant_type;
        if (request->server->row->org ? grants[i].org : grants[i].custom)
            grants[i].run(idp, request, form, answer);
        else
            break;
        return;
    }
    refuse_grant_type(grant, answer);
}

static void handle_form(struct th_idp *idp, const struct th_idp_request *request,
                        struct th_idp_answer *answer)
{
    struct th_form form;
    const struct th_provider_row *provider = th_provider_of(request->server);
    switch (provider != NULL && provider->repeats ? th_form_init_repeating(&form, request->body)
                                                  : th_form_init(&form, request->body)) {
    case TH_FORM_FINE:
        if (request->endpoint == TH_ENDPOINT_TOKEN && provider != NULL)
            handle_provider_token(idp, request, &form, answer);
        else if (request->endpoint == TH_ENDPOINT_TOKEN)
            handle_token(idp, request, &form, answer);
        else
            th_grant_revoke(idp, request, &form, answer);
        break;
    case TH_FORM_MALFORMED:
        th_answer_refuse(answer, "invalid_request", "form_malformed", "The form is malformed.");
        break;
    case TH_FORM_DUPLICATE:
        th_answer_refuse(answer, "invalid_request", "form_duplicate",
                         "A parameter must not be sent more than once.");
        break;
    case TH_FORM_TOO_MANY:
        th_answer_refuse(answer, "invalid_request", "form_too_many", "Too many parameters.");
        break;
    case TH_FORM_NOMEM:
        th_answer_fail(answer, TH_E_NOMEM);
        break;
    }
    th_form_fini(&form);
}

/* "application/x-www-form-urlencoded", parameters allowed. */
static bool is_form(struct th_str content_type)
{
    const char *semicolon =
        content_type.len > 0 ? memchr(content_type.ptr, ';', content_type.len) : NULL;
    if (semicolon != NULL)
        content_type.len = (size_t)(semicolon - content_type.ptr);
    return th_str_equal_nocase(th_str_trim(content_type),
                               TH_STR("application/x-www-form-urlencoded"));
}

void th_idp_handle(struct th_idp *idp, const struct th_idp_request *request,
                   struct th_idp_answer *ret_answer)
{
    memset(ret_answer, 0, sizeof *ret_answer);
    ret_answer->status = 200;
    if (!th_str_equal(request->method, TH_STR("POST"))) {
        th_answer_refuse(ret_answer, "invalid_request", "method", "Only POST is allowed here.");
        ret_answer->status = 405;
    } else if (!is_form(request->content_type)) {
        th_answer_refuse(ret_answer, "invalid_request", "content_type",
                         "The content type must be application/x-www-form-urlencoded.");
        ret_answer->status = 415;
    } else {
        handle_form(idp, request, ret_answer);
    }
    const struct th_provider_row *provider = th_provider_of(request->server);
    if (provider != NULL && provider->shape != NULL)
        provider->shape(idp, request, ret_answer);
}
