/* What a token endpoint demands of the user, for a challenge to who calls: RFC 9470, and Microsoft Entra's
 * claims. The values go into a header field: what is not of a form that fits there is left out. */
#include <openssl/evp.h>
#include <stdio.h>

#include "token_endpoint.h"
#include "tokenhop/oauth/jose.h"
#include "tokenhop/oauth/json.h"

#define ACR_VALUES_MAX 256
#define AGE_DIGITS_MAX 10
/* So that its Base64 and what stands around it fit. */
#define CLAIMS_MAX ((size_t)(TH_CHALLENGE_MAX - 64) / 4 * 3 - 3)

/* RFC 6750, 3: no quote, backslash or control character, so that none needs to be escaped. */
static bool is_quotable(struct th_str text, size_t max)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < 0x20 || text.ptr[i] > 0x7e || text.ptr[i] == '"' || text.ptr[i] == '\\')
            return false;
    }
    return text.len > 0 && text.len <= max;
}

/* OpenID Connect Core, 3.1.2.1: seconds. A number, or digits in a string. False: none that is one. */
static bool read_age(const json_t *object, long long *ret_age)
{
    const json_t *member = json_object_get(object, "max_age");
    struct th_str text = th_jwt_text(object, "max_age");
    uint64_t seconds;
    *ret_age = json_integer_value(member);
    if (json_is_integer(member))
        return *ret_age >= 0;
    if (text.len > AGE_DIGITS_MAX || th_str_to_u64(text, UINT32_MAX, &seconds) < 0)
        return false;
    *ret_age = (long long)seconds;
    return true;
}

static void challenge_login(struct th_token_answer *answer)
{
    char acr[ACR_VALUES_MAX + 32] = "", max_age[64] = "";
    struct th_str values = th_jwt_text(answer->object, "acr_values");
    long long age;
    if (is_quotable(values, ACR_VALUES_MAX))
        (void)snprintf(acr, sizeof acr, ", acr_values=\"%.*s\"", TH_STR_ARGS(values));
    if (read_age(answer->object, &age))
        (void)snprintf(max_age, sizeof max_age, ", max_age=\"%lld\"", age);
    (void)snprintf(answer->challenge, sizeof answer->challenge,
                   "error=\"insufficient_user_authentication\"%s%s", acr, max_age);
}

/* Reference, 10: the claims that the next token must have, JSON in a string. */
static void challenge_claims(struct th_token_answer *answer)
{
    struct th_str claims = th_jwt_text(answer->object, "claims");
    json_t *object;
    unsigned char encoded[TH_CHALLENGE_MAX - 64]; /* with its NUL */
    if (claims.len == 0 || claims.len > CLAIMS_MAX ||
        th_json_parse_object(claims, CLAIMS_MAX, &object) != 0)
        return;
    json_decref(object);
    EVP_EncodeBlock(encoded, (const unsigned char *)claims.ptr, (int)claims.len);
    (void)snprintf(answer->challenge, sizeof answer->challenge,
                   "error=\"insufficient_claims\", claims=\"%s\"", (const char *)encoded);
    answer->error = TH_E_SUBJECT_CLAIMS;
}

void th_token_error_challenge(struct th_token_answer *answer)
{
    if (strcmp(answer->oauth_error, "insufficient_user_authentication") == 0)
        challenge_login(answer);
    else if (answer->error == TH_E_INTERACTION)
        challenge_claims(answer);
}
