#include "token_endpoint.h"

#include <stdarg.h>
#include <stdio.h>

#include "tokenhop/base/check.h"
#include "tokenhop/oauth/jose.h"
#include "tokenhop/oauth/json.h"
#include "tokenhop/oauth/subject.h"

#define ANSWER_MAX ((size_t)1024 * 1024)
#define RETRY_AFTER_MAX_MS ((int64_t)3600 * 1000)
#define RATE_LIMIT_MAX_MS ((int64_t)60 * 1000)

static void TH_PRINTF(3, 4) fail(struct th_token_answer *answer, int error, const char *format, ...)
{
    va_list args;
    answer->error = error;
    va_start(args, format);
    (void)vsnprintf(answer->why, sizeof answer->why, format, args);
    va_end(args);
}

static bool is_json(struct th_str content_type)
{
    const char *end = content_type.len > 0 ? memchr(content_type.ptr, ';', content_type.len) : NULL;
    size_t len = end != NULL ? (size_t)(end - content_type.ptr) : content_type.len;
    return th_str_equal_nocase(th_str_trim((struct th_str){content_type.ptr, len}),
                               TH_STR("application/json"));
}

/* A number, or digits in a string (reference, 10). What is neither, zero or negative must not be kept;
 * what is very long means as long as may be. */
static int64_t read_expires_in(const json_t *object)
{
    const json_t *member = json_object_get(object, "expires_in");
    double seconds = 0;
    if (member == NULL)
        return TH_ANSWER_EXPIRES_ABSENT;
    if (json_is_number(member)) {
        seconds = json_number_value(member);
    } else if (json_is_string(member)) {
        struct th_str text = th_jwt_text(object, "expires_in");
        bool is_digits = text.len > 0;
        for (size_t i = 0; i < text.len; i++) {
            is_digits = is_digits && text.ptr[i] >= '0' && text.ptr[i] <= '9';
            seconds = seconds * 10 + (text.ptr[i] - '0'); /* infinite at worst */
        }
        if (!is_digits)
            return 0;
    }
    if (seconds <= 0)
        return 0;
    if (seconds > (double)TH_ANSWER_EXPIRES_MAX_MS / 1000)
        return TH_ANSWER_EXPIRES_MAX_MS;
    return (int64_t)(seconds * 1000);
}

static bool is_token_type_fine(const struct th_plan_leg *leg, const struct th_token_answer *answer)
{
    return !leg->is_bearer || answer->is_dpop ||
           th_str_equal_nocase(th_jwt_text(answer->object, "token_type"), TH_STR("Bearer"));
}

bool th_token_answer_check_type(const struct th_plan_leg *leg, struct th_token_answer *answer)
{
    struct th_str type = th_jwt_text(answer->object, "issued_token_type");
    if (leg->issued_token_type == NULL || th_str_equal(type, th_str_of(leg->issued_token_type)) ||
        (leg->also_issued_as != NULL && th_str_equal(type, th_str_of(leg->also_issued_as))))
        return true;
    fail(answer, type.len > 0 ? TH_E_EXCHANGE_MISMATCH : TH_E_EXCHANGE_FAILED,
         "issued_token_type of the answer is not %s", leg->issued_token_type);
    return false;
}

void th_token_answer_read_token(const struct th_plan_leg *leg, struct th_token_answer *answer)
{
    struct th_str token = th_jwt_text(answer->object, "access_token");
    answer->is_dpop =
        th_str_equal_nocase(th_jwt_text(answer->object, "token_type"), TH_STR("DPoP"));
    if (!th_subject_is_token68(token)) {
        fail(answer, TH_E_EXCHANGE_FAILED,
             "the answer bears no access_token, or not one that can be used as a bearer token");
    } else if (!is_token_type_fine(leg, answer)) {
        fail(answer, TH_E_EXCHANGE_FAILED, "token_type of the answer is neither Bearer nor DPoP");
    } else if (th_token_answer_check_type(leg, answer)) {
        answer->token = th_secret_new(token.ptr, token.len);
        if (answer->token == NULL)
            fail(answer, TH_E_NOMEM, "no memory for the token");
    }
}

static int64_t read_retry_after(const struct th_fetch_response *response)
{
    if (response->retry_after_ms >= 0)
        return response->retry_after_ms < RETRY_AFTER_MAX_MS ? response->retry_after_ms
                                                             : RETRY_AFTER_MAX_MS;
    /* Stands on every answer of Okta's, and means something where the limit was reached. */
    if (response->status == 429 && response->rate_limit_reset_ms >= 0)
        return response->rate_limit_reset_ms < RATE_LIMIT_MAX_MS ? response->rate_limit_reset_ms
                                                                 : RATE_LIMIT_MAX_MS;
    return -1;
}

static void read_interaction(struct th_str issuer, struct th_token_answer *answer)
{
    const json_t *member = json_object_get(answer->object, "interaction_uri");
    struct th_str uri = th_jwt_text(answer->object, "interaction_uri");
    if (member == NULL)
        return;
    if (!th_token_error_uri_is_fine(uri, issuer)) {
        fail(answer, TH_E_EXCHANGE_FAILED,
             "the interaction_uri of the answer is not at the host of the issuer");
        return;
    }
    memcpy(answer->interaction_uri, uri.ptr, uri.len);
    answer->interaction_uri[uri.len] = '\0';
}

static bool has_error(const json_t *object)
{
    return json_object_get(object, "error") != NULL || json_object_get(object, "errorCode") != NULL;
}

void th_token_answer_read(const struct th_fetch_response *response, const struct th_plan_leg *leg,
                          struct th_str issuer, struct th_token_answer *ret_answer)
{
    struct th_token_answer *answer = ret_answer;
    *answer =
        (struct th_token_answer){.expires_in_ms = TH_ANSWER_EXPIRES_ABSENT, .retry_after_ms = -1};
    int error = TH_E_BAD_REQUEST;
    if (is_json(response->content_type))
        error = th_json_parse_object(response->body, ANSWER_MAX, &answer->object);
    if (error == TH_E_NOMEM) {
        fail(answer, TH_E_NOMEM, "no memory for the answer");
    } else if (response->status != 200 || answer->object == NULL || has_error(answer->object)) {
        th_token_error_read(response->status, answer);
        if (leg->unlinked_is_401 && response->status == 401 && answer->object != NULL &&
            answer->error != TH_E_EXCHANGE_CLIENT)
            fail(answer, TH_E_INTERACTION,
                 "the user must link an account of the third party first");
        th_token_error_challenge(answer);
        if (answer->error == TH_E_INTERACTION)
            read_interaction(issuer, answer);
    } else {
        answer->expires_in_ms = read_expires_in(answer->object);
        leg->read(leg, answer);
    }
    if (answer->error == TH_E_EXCHANGE_DOWN) {
        answer->retry_after_ms = read_retry_after(response);
        answer->asks_for_rest = response->retry_after_ms > 0;
    }
}

void th_token_answer_fini(struct th_token_answer *answer)
{
    json_decref(answer->object);
    th_secret_unref(answer->token);
    th_values_free(answer->values);
    *answer = (struct th_token_answer){0};
}
