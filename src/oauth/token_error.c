#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "printable.h"
#include "token_endpoint.h"
#include "tokenhop/base/check.h"
#include "tokenhop/oauth/jose.h"

#define AADSTS "AADSTS"
#define WRONG_AUDIENCE                                                                             \
    "audience must be the issuer of the destination's server, not its token endpoint"

/* Reference, section 8. `error` decides, not the status. */
static const struct error_row {
    const char *error;
    int meaning;
    const char *text;
} errors[] = {
    {"invalid_grant", TH_E_SUBJECT_REFUSED,
     "the token is expired, revoked or meant for another client, or no delegation link leads here"},
    {"invalid_token", TH_E_SUBJECT_REFUSED, "the token is expired, revoked or not of this issuer"},
    {"insufficient_user_authentication", TH_E_SUBJECT_REFUSED,
     "the user must log in with a stronger method"},
    {"invalid_request", TH_E_EXCHANGE_REQUEST,
     "a parameter is missing, malformed or not supported by this server"},
    {"invalid_subject_token_act_claim_depth", TH_E_ACCESS_DENIED,
     "the chain of actors would be longer than the server allows"},
    {"invalid_client", TH_E_EXCHANGE_CLIENT,
     "the agent's own authentication is refused: check its client_id, auth.method, key and kid or "
     "secret, and the clock"},
    {"unsupported_token_type", TH_E_EXCHANGE_REQUEST,
     "the server does not revoke tokens of this type"},
    {"unsupported_grant_type", TH_E_EXCHANGE_CLIENT,
     "the grant type is not enabled for this agent at this server"},
    {"unauthorized_client", TH_E_EXCHANGE_CLIENT,
     "the grant type is not allowed to this agent at this server"},
    {"invalid_scope", TH_E_ACCESS_DENIED,
     "a scope is unknown or not granted on the resource connection"},
    {"invalid_target", TH_E_ACCESS_DENIED,
     "resource or audience are not those of a resource connection of this agent, to the letter"},
    {"token_exchange_invalid_audience", TH_E_ACCESS_DENIED,
     "audience must be the issuer of the destination's authorization server"},
    {"access_denied", TH_E_ACCESS_DENIED, "a policy of the identity provider refuses it"},
    {"interaction_required", TH_E_INTERACTION, "the user must consent first"},
    {"consent_required", TH_E_INTERACTION, "the user must consent first"},
    {"login_required", TH_E_INTERACTION, "the user must log in first"},
    {"use_dpop_nonce", TH_E_EXCHANGE_REQUEST,
     "the server wants a DPoP proof: set \"dpop\" on the connection, \"all_legs\" for a first leg"},
    {"invalid_dpop_proof", TH_E_EXCHANGE_REQUEST,
     "the server wants a DPoP proof: set \"dpop\" on the connection, \"all_legs\" for a first leg"},
    {"temporarily_unavailable", TH_E_EXCHANGE_DOWN, "the server asks to come back later"},
    {"slow_down", TH_E_EXCHANGE_DOWN, "the server asks to come back later"},
    {"server_error", TH_E_EXCHANGE_DOWN, "the server failed"},
    /* Okta's API errors, which come as errorCode */
    {"E0000003", TH_E_EXCHANGE_REQUEST, "the server could not read the request"},
    {"E0000006", TH_E_ACCESS_DENIED, "the identity provider refuses it to this agent"},
    {"E0000007", TH_E_EXCHANGE_REQUEST, "there is no such endpoint: check the issuer"},
    {"E0000009", TH_E_EXCHANGE_DOWN, "the server failed"},
    {"E0000015", TH_E_EXCHANGE_REQUEST, "the feature is not enabled in this org"},
    {"E0000022", TH_E_EXCHANGE_REQUEST, "there is no such endpoint: check the issuer"},
    {"E0000047", TH_E_EXCHANGE_DOWN, "the rate limit of the org is reached"},
};

/* Reference, section 8, "Descriptions that name a cause": first match wins. */
static const struct cause_row {
    const char *error;   /* NULL: any */
    const char *said;    /* without case */
    const char *but_not; /* NULL, or what must not be said */
    int meaning;         /* 0: the error's own */
    const char *text;
} causes[] = {
    {"unauthorized_client", "scope", NULL, TH_E_ACCESS_DENIED,
     "a scope is not permitted on the resource connection of this agent"},
    {"invalid_request", "subject_token_type", NULL, 0,
     "the agent-to-agent feature is off there, or this kind of subject token is not taken"},
    {"invalid_request", "requested_token_type", NULL, 0,
     "this server does not issue what is asked: a token exchange goes to the org server"},
    {"invalid_request", "requested token type", NULL, 0,
     "this server does not issue what is asked: a token exchange goes to the org server"},
    {"invalid_request", "subject_token", NULL, TH_E_SUBJECT_REFUSED,
     "the subject token is malformed or not of an issuer that the server knows"},
    {"invalid_request", "subject token", NULL, TH_E_SUBJECT_REFUSED,
     "the subject token is malformed or not of an issuer that the server knows"},
    /* Microsoft Entra numbers its causes (reference, 10). */
    {NULL, "AADSTS65001", NULL, TH_E_INTERACTION,
     "the user or an administrator must consent to what the agent asks for"},
    {"invalid_grant", "AADSTS500131", NULL, 0,
     "the subject token is not meant for this agent: its audience must be the agent's application"},
    {"invalid_grant", "AADSTS50013", NULL, 0,
     "the subject token's signature, issuer or audience is not accepted there"},
    {NULL, "'resource'", NULL, 0,
     "resource is not to the letter that of the connection there, or this agent has none"},
    {"invalid_client", "kid", NULL, 0, "no key with this kid is registered for the agent"},
    {"invalid_client", "jwkset", NULL, 0, "no public key is registered for the agent"},
    {"invalid_client", "jwk set", NULL, 0, "no public key is registered for the agent"},
    {"invalid_client", "signature", NULL, 0, "another key than the registered one signs"},
    {"invalid_client", "audience", NULL, 0,
     "the client assertion names another audience than the server expects"},
    {"invalid_client", "'aud'", NULL, 0,
     "the client assertion names another audience than the server expects"},
    {"invalid_client", "jti", NULL, 0, "the client assertion was seen before"},
    {"invalid_client", "expired", NULL, 0,
     "the client assertion is expired there: check both clocks"},
    {"invalid_client", "'iat'", NULL, 0,
     "the client assertion is of the future there: check clocks"},
    /* Of the parameter; Keycloak and Microsoft Entra speak of a token's, with other errors. */
    {"invalid_target", "audience", "subject", 0, WRONG_AUDIENCE},
    {"invalid_request", "'audience'", "subject", 0, WRONG_AUDIENCE},
    {"token_exchange_invalid_audience", "audience", "subject", 0, WRONG_AUDIENCE},
    {NULL, "policy evaluation failed", NULL, 0,
     "the access policy of this server lacks the agent, its scopes, or the JWT Bearer grant"},
    {NULL, "no_matching_policy", NULL, 0,
     "the access policy of this server lacks the agent, its scopes, or the JWT Bearer grant"},
    {NULL, "only service app", NULL, 0,
     "the initiating client is a web app: client_credentials needs a service app"},
};

static const struct error_row *find_error(struct th_str error)
{
    for (size_t i = 0; i < TH_COUNT_OF(errors); i++) {
        if (th_str_equal(th_str_of(errors[i].error), error))
            return &errors[i];
    }
    return NULL;
}

/* By its number, which is no longer one's beginning; also where it is told as a number alone. */
static bool says_number(const json_t *object, const char *said, const char *description)
{
    const json_t *codes = json_object_get(object, "error_codes");
    json_int_t number = strtoll(said + strlen(AADSTS), NULL, 10);
    const char *at = strcasestr(description, said);
    if (at != NULL && !isdigit((unsigned char)at[strlen(said)]))
        return true;
    for (size_t i = 0; i < json_array_size(codes); i++) {
        if (json_integer_value(json_array_get(codes, i)) == number)
            return true;
    }
    return false;
}

static bool says(const json_t *object, const char *said, const char *description)
{
    if (strncmp(said, AADSTS, strlen(AADSTS)) == 0)
        return says_number(object, said, description);
    return strcasestr(description, said) != NULL;
}

static const struct cause_row *find_cause(const struct error_row *row, const json_t *object,
                                          const char *description)
{
    for (size_t i = 0; i < TH_COUNT_OF(causes); i++) {
        const struct cause_row *cause = &causes[i];
        if ((cause->error == NULL || strcmp(cause->error, row->error) == 0) &&
            says(object, cause->said, description) &&
            (cause->but_not == NULL || strcasestr(description, cause->but_not) == NULL))
            return cause;
    }
    return NULL;
}

/* An error that is not in the table is shown only if it is a plain word: it comes from elsewhere. */
static bool is_plain_word(struct th_str error)
{
    for (size_t i = 0; i < error.len; i++) {
        if (!islower((unsigned char)error.ptr[i]) && error.ptr[i] != '_')
            return false;
    }
    return error.len > 0 && error.len <= 40;
}

static int meaning_of_status(int status, const char **ret_text)
{
    if (status == 429 || status >= 500) {
        *ret_text = status == 429 ? "the rate limit is reached" : "the server failed";
        return TH_E_EXCHANGE_DOWN;
    }
    if (status >= 300 && status < 400)
        *ret_text = "it redirects, which is not followed: check the endpoint";
    else
        *ret_text = "the answer is not one of a token endpoint: check the issuer or endpoint";
    return TH_E_EXCHANGE_FAILED;
}

/* The server's own words, if they can be shown. */
static void add_description(struct th_token_answer *answer, struct th_str description)
{
    char text[sizeof answer->why];
    size_t len = strlen(answer->why);
    if (description.len == 0 || th_printable_hides_token(description))
        return;
    th_printable_copy(text, sizeof text, description);
    (void)snprintf(answer->why + len, sizeof answer->why - len, TH_ANSWER_SAYS "%s)", text);
}

void th_token_error_read(int status, struct th_token_answer *answer)
{
    struct th_str error = th_jwt_text(answer->object, "error");
    struct th_str description = th_jwt_text(answer->object, "error_description");
    if (error.len == 0) {
        error = th_jwt_text(answer->object, "errorCode");
        description = th_jwt_text(answer->object, "errorSummary");
    }
    const struct error_row *row = find_error(error);
    if (row == NULL) {
        const char *text;
        answer->error = meaning_of_status(status, &text);
        if (is_plain_word(error))
            th_printable_copy(answer->oauth_error, sizeof answer->oauth_error, error);
        (void)snprintf(answer->why, sizeof answer->why, "status %d: %s", status, text);
        add_description(answer, description);
        return;
    }
    /* A JSON string has no NUL inside here and one behind it, so that it can be searched. */
    const struct cause_row *cause = find_cause(row, answer->object, description.ptr);
    answer->error = cause != NULL && cause->meaning != 0 ? cause->meaning : row->meaning;
    answer->is_invalid_grant = strcmp(row->error, "invalid_grant") == 0;
    (void)snprintf(answer->oauth_error, sizeof answer->oauth_error, "%s", row->error);
    (void)snprintf(answer->why, sizeof answer->why, "%s", cause != NULL ? cause->text : row->text);
    if (cause == NULL)
        add_description(answer, description);
}

/* "https://host:port" of a URL; empty when it has no scheme of the web. */
static struct th_str origin_of(struct th_str url, size_t *ret_scheme_len)
{
    struct th_str https = TH_STR("https://"), http = TH_STR("http://");
    *ret_scheme_len = th_str_starts_with(url, https)  ? https.len
                      : th_str_starts_with(url, http) ? http.len
                                                      : 0;
    size_t len = *ret_scheme_len;
    while (len > 0 && len < url.len && strchr("/?#", url.ptr[len]) == NULL)
        len++;
    return (struct th_str){url.ptr, len};
}

bool th_token_error_uri_is_fine(struct th_str uri, struct th_str issuer)
{
    if (uri.len >= sizeof((struct th_token_answer *)0)->interaction_uri)
        return false;
    for (size_t i = 0; i < uri.len; i++) {
        /* no space, quote, angle bracket or backslash: it goes into a header field and to a browser */
        if (uri.ptr[i] <= 0x20 || uri.ptr[i] >= 0x7f || strchr("\"<>\\^`{|}", uri.ptr[i]) != NULL)
            return false;
    }
    size_t scheme_len, issuer_scheme_len;
    struct th_str origin = origin_of(uri, &scheme_len);
    struct th_str issuer_origin = origin_of(issuer, &issuer_scheme_len);
    if (scheme_len == 0 || issuer_scheme_len == 0 || scheme_len < issuer_scheme_len)
        return false;
    struct th_str host = {origin.ptr + scheme_len, origin.len - scheme_len};
    struct th_str issuer_host = {issuer_origin.ptr + issuer_scheme_len,
                                 issuer_origin.len - issuer_scheme_len};
    return host.len > 0 && th_str_equal_nocase(host, issuer_host);
}
