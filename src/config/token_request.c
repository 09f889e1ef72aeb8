#include "token_request.h"

#include <ctype.h>

#include "tokenhop/base/check.h"
#include "tokenhop/config/load.h"
#include "url.h"

static const struct {
    const char *name;
    const char *uri;
} token_types[] = {
    {"auto", ""},
    {"access_token", "urn:ietf:params:oauth:token-type:access_token"},
    {"id_token", "urn:ietf:params:oauth:token-type:id_token"},
    {"jwt", "urn:ietf:params:oauth:token-type:jwt"},
    {"refresh_token", "urn:ietf:params:oauth:token-type:refresh_token"},
    {"saml1", "urn:ietf:params:oauth:token-type:saml1"},
    {"saml2", "urn:ietf:params:oauth:token-type:saml2"},
};

/* NULL: it is no short name. */
static const char *find_token_type(struct th_str text)
{
    for (size_t i = 0; i < TH_COUNT_OF(token_types); i++) {
        if (th_str_equal(text, th_str_of(token_types[i].name)))
            return token_types[i].uri;
    }
    return NULL;
}

int th_token_type_check(struct th_str text, struct th_errinfo *reterr)
{
    struct th_errinfo ignored;
    if (find_token_type(text) != NULL || th_config_url_check_absolute(text, &ignored) == 0)
        return 0;
    return th_errinfo_set(reterr, TH_E_CONFIG, NULL,
                          "write access_token, id_token, jwt, refresh_token, saml1, saml2, or an "
                          "absolute URI",
                          "this is not a type of token");
}

struct th_str th_token_type_uri(struct th_str text)
{
    const char *uri = find_token_type(text);
    return uri != NULL ? th_str_of(uri) : text;
}

/* All that plans and the ways of authentication send. The room of OAuth has their tables, and a test that
 * this list lacks none of it. */
static const char *const taken[] = {
    "actor_token",
    "actor_token_type",
    "assertion",
    "audience",
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_secret",
    "grant_type",
    "requested_token_type",
    "requested_token_use",
    "resource",
    "scope",
    "subject_token",
    "subject_token_type",
    "token",
    "token_type_hint",
    /* of other grants: a secret that does not belong here, or a request for another subject */
    "code",
    "code_verifier",
    "password",
    "refresh_token",
    "username",
};

/* Without case, and as PHP reads names: a dot is an underscore there. */
static bool is_read_as(struct th_str parameter, struct th_str name)
{
    if (parameter.len != name.len)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = parameter.ptr[i] == '.' ? '_' : parameter.ptr[i];
        if (tolower((unsigned char)c) != name.ptr[i])
            return false;
    }
    return true;
}

bool th_config_may_send(struct th_str parameter)
{
    for (size_t i = 0; i < TH_COUNT_OF(taken); i++) {
        if (is_read_as(parameter, th_str_of(taken[i])))
            return false;
    }
    return parameter.len > 0;
}

static bool is_name(struct th_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) &&
            (c == '\0' || strchr("-._", c) == NULL))
            return false;
    }
    return text.len > 0 && text.len <= 64;
}

int th_parameter_check(struct th_str text, struct th_errinfo *reterr)
{
    if (!is_name(text))
        return th_errinfo_set(reterr, TH_E_CONFIG, NULL,
                              "letters, digits, '.', '_' and '-', 64 at most",
                              "this is not the name of a parameter");
    if (!th_config_may_send(text))
        return th_errinfo_set(
            reterr, TH_E_CONFIG, NULL,
            "leave it out: a key of the connection, its subject or the agent says "
            "it where it may be said",
            "the exchange or the client's authentication has this parameter");
    return 0;
}
