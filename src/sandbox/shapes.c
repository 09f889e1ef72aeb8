/* What answers look like at Keycloak, Auth0 and Microsoft Entra: the same facts in their words (reference,
 * section 10). The reason says what happened; what has no row stays as RFC 6749 has it. */
#include <stdio.h>
#include <time.h>

#include "answer.h"
#include "provider.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/base/check.h"
#include "tokens.h"

struct shape_row {
    const char *reason; /* or its beginning, when it ends in '*' */
    int status;
    const char *error;
    int code;                /* Entra's AADSTS number */
    const char *suberror;    /* Entra's */
    const char *description; /* NULL: as it is */
};

static const struct shape_row *find_row(const struct shape_row *rows, size_t n, const char *reason)
{
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(rows[i].reason);
        bool prefix = len > 0 && rows[i].reason[len - 1] == '*';
        if (prefix ? strncmp(rows[i].reason, reason, len - 1) == 0
                   : strcmp(rows[i].reason, reason) == 0)
            return &rows[i];
    }
    return NULL;
}

static void reword(struct th_idp_answer *answer, const struct shape_row *rows, size_t n)
{
    const struct shape_row *row = answer->reason != NULL ? find_row(rows, n, answer->reason) : NULL;
    if (row == NULL || answer->body == NULL)
        return;
    answer->status = row->status;
    json_object_set_new(answer->body, "error", json_string(row->error));
    if (row->description != NULL)
        json_object_set_new(answer->body, "error_description", json_string(row->description));
}

void th_keycloak_shape(const struct th_idp *idp, const struct th_idp_request *request,
                       struct th_idp_answer *answer)
{
    static const struct shape_row rows[] = {
        {"client_secret_*", 401, "unauthorized_client", 0, NULL,
         "Invalid client or Invalid client credentials"},
        {"client_*", 401, "invalid_client", 0, NULL,
         "Invalid client or Invalid client credentials"},
        {"subject_missing", 400, "invalid_request", 0, NULL,
         "Parameter 'subject_token' required for standard token exchange"},
        {"subject_type", 400, "invalid_request", 0, NULL,
         "Parameter 'subject_token' supports access tokens only"},
        {"subject_audience", 403, "access_denied", 0, NULL,
         "Client is not within the token audience"},
        {"subject_*", 400, "invalid_request", 0, NULL, "Invalid token"},
        {"user_not_assigned", 400, "invalid_request", 0, NULL, "Invalid token"},
        {"audience", 400, "invalid_request", 0, NULL, "Requested audience not available"},
        {"scope_*", 400, "invalid_scope", 0, NULL, "Invalid scopes"},
        {"requested_type", 400, "invalid_request", 0, NULL, "requested_token_type unsupported"},
    };
    reword(answer, rows, TH_COUNT_OF(rows));
    if (answer->reason != NULL || answer->body == NULL || request->endpoint != TH_ENDPOINT_TOKEN)
        return;
    json_object_set_new(answer->body, "refresh_expires_in", json_integer(0));
    json_object_set_new(answer->body, "not-before-policy", json_integer(0));
    json_object_set_new(answer->body, "session_state",
                        json_string("8a1b6c2e-0d3f-4f5a-9b7c-2d4e6f8a0b1c"));
}

void th_auth0_shape(const struct th_idp *idp, const struct th_idp_request *request,
                    struct th_idp_answer *answer)
{
    static const struct shape_row rows[] = {
        {"client_secret_*", 401, "access_denied", 0, NULL, "Unauthorized"},
        {"audience", 403, "access_denied", 0, NULL, "Service not found"},
        {"scope_unknown", 403, "access_denied", 0, NULL, "Client has not been granted scopes"},
        {"action_denied", 403, "access_denied", 0, NULL, NULL},
        {"user_not_assigned", 403, "access_denied", 0, NULL, NULL},
    };
    reword(answer, rows, TH_COUNT_OF(rows));
}

static const struct shape_row entra_rows[] = {
    {"client_secret_*", 401, "invalid_client", 7000215, NULL, "Invalid client secret provided."},
    {"client_unknown", 400, "unauthorized_client", 700016, NULL,
     "Application was not found in the directory."},
    {"client_unauthenticated", 401, "invalid_client", 7000218, NULL,
     "The request body must contain: 'client_assertion' or 'client_secret'."},
    {"assertion_expired", 401, "invalid_client", 700024, NULL,
     "Client assertion is not within its valid time range."},
    {"assertion_missing", 400, "invalid_request", 900144, NULL, NULL},
    {"assertion_*", 401, "invalid_client", 700027, NULL,
     "Client assertion contains an invalid signature, audience or certificate."},
    {"subject_audience", 400, "invalid_grant", 500131, NULL,
     "Assertion audience does not match the Client app presenting the assertion."},
    {"subject_expired", 400, "invalid_grant", 500133, NULL,
     "Assertion is not within its valid time range."},
    {"subject_*", 400, "invalid_grant", 50013, NULL, "Assertion failed signature validation."},
    {"user_not_assigned", 400, "invalid_grant", 50105, NULL,
     "The signed in user is not assigned to a role for the application."},
    {"consent_missing", 400, "invalid_grant", 65001, "consent_required", NULL},
    {"claims_challenge", 400, "interaction_required", 50076, "basic_action", NULL},
    {"resource", 400, "invalid_resource", 500011, NULL, NULL},
    {"scope_missing", 400, "invalid_request", 900144, NULL, NULL},
    {"scope_*", 400, "invalid_scope", 70011, NULL, NULL},
    {"two_resources", 400, "invalid_scope", 70011, NULL, NULL},
    {"grant_unsupported", 400, "unsupported_grant_type", 70003, NULL, NULL},
};

/* The numbers, ids and time that every error of Entra's bears. */
static void add_entra_error(const struct th_idp *idp, const struct shape_row *row, json_t *body)
{
    char trace[64], when[32];
    struct tm tm;
    struct th_buf text;
    time_t now = (time_t)(th_idp_now_ms(idp) / 1000);
    int code = row != NULL ? row->code : 900000;
    const char *said = json_string_value(json_object_get(body, "error_description"));
    th_token_make_id("", trace); /* cut to the form of a GUID */
    for (size_t i = 8; i <= 23; i += 5)
        trace[i] = '-';
    trace[36] = '\0';
    gmtime_r(&now, &tm);
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%SZ", &tm);
    th_buf_init(&text, 4096);
    th_buf_printf(&text, "AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s", code,
                  said != NULL ? said : "", trace, trace, when);
    if (!text.failed)
        json_object_set_new(body, "error_description", json_string(text.ptr));
    th_buf_fini(&text);
    json_object_set_new(body, "error_codes", json_pack("[i]", code));
    json_object_set_new(body, "timestamp", json_string(when));
    json_object_set_new(body, "trace_id", json_string(trace));
    json_object_set_new(body, "correlation_id", json_string(trace));
    if (row != NULL && row->suberror != NULL)
        json_object_set_new(body, "suberror", json_string(row->suberror));
    if (row != NULL && code == 50076)
        json_object_set_new(body, "claims",
                            json_string("{\"access_token\":{\"acrs\":{\"essential\":true,"
                                        "\"value\":\"c1\"}}}"));
}

void th_entra_shape(const struct th_idp *idp, const struct th_idp_request *request,
                    struct th_idp_answer *answer)
{
    if (answer->reason == NULL || answer->body == NULL)
        return;
    reword(answer, entra_rows, TH_COUNT_OF(entra_rows));
    add_entra_error(idp, find_row(entra_rows, TH_COUNT_OF(entra_rows), answer->reason),
                    answer->body);
}
