#include "tokenhop/gate/caller.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <strings.h>

#include "tokenhop/base/mem.h"
#include "tokenhop/token/broker.h"

#define BASIC_MAX ((size_t)1024) /* of "user:password", decoded; both are bounded at load */

static const char missing[] =
    "the caller must say who it is: put user and password into the proxy's URL "
    "(http://user:password@host:port), or send Proxy-Authorization";
static const char wrong[] = "the proxy credentials are not those of any caller";
static const char unknown_peer[] =
    "the process at the other end of this socket is none of the callers";
static const char unknown_certificate[] = "the client's certificate is that of none of the callers";
static const char many_names[] =
    "the client's certificate has more names than are looked at, and so is nobody's";
static const char no_certificate[] =
    "the caller must show a client certificate, by which it is known";
static const char several[] = "more than one Proxy-Authorization field";

/* RFC 9110, 11.4: a scheme in any case, spaces, and the rest. */
static bool split_scheme(struct th_str value, const char *scheme, struct th_str *ret_rest)
{
    size_t len = strlen(scheme);
    if (value.len <= len || strncasecmp(value.ptr, scheme, len) != 0 || value.ptr[len] != ' ')
        return false;
    while (len < value.len && value.ptr[len] == ' ')
        len++;
    *ret_rest = (struct th_str){value.ptr + len, value.len - len};
    return true;
}

/* RFC 7617, 2. Base64 in whole groups, as all clients write it. */
static bool digest_basic(struct th_str encoded, uint8_t ret_digest[32])
{
    unsigned char text[BASIC_MAX];
    if (encoded.len == 0 || encoded.len % 4 != 0 || encoded.len / 4 * 3 > sizeof text)
        return false;
    int len = EVP_DecodeBlock(text, (const unsigned char *)encoded.ptr, (int)encoded.len);
    if (len > 0 && encoded.ptr[encoded.len - 1] == '=')
        len -= encoded.ptr[encoded.len - 2] == '=' ? 2 : 1;
    if (len > 0)
        th_broker_digest((struct th_str){(const char *)text, (size_t)len}, ret_digest);
    th_wipe(text, sizeof text);
    return len > 0;
}

/* A user before a group; of groups the first in the file. */
static const struct th_config_caller *find_by_peer(const struct th_config_view *config,
                                                   const struct th_unix_peer *peer)
{
    const struct th_config_caller *of_group = NULL;
    for (size_t i = 0; peer != NULL && i < config->n_callers; i++) {
        const struct th_config_caller *caller = &config->callers[i];
        if (caller->proof != TH_CALLER_UNIX)
            continue;
        if (!caller->is_group && caller->unix_id == peer->uid)
            return caller;
        if (of_group == NULL && caller->is_group && th_unix_peer_is_of_group(peer, caller->unix_id))
            of_group = caller;
    }
    return of_group;
}

const struct th_config_caller *th_caller_find(const struct th_config_view *config,
                                              const struct th_caller_facts *facts,
                                              const struct th_caller_proof_shown *shown)
{
    const struct th_config_caller *found = NULL;
    if (shown->proof == TH_CALLER_UNIX)
        return find_by_peer(config, facts->peer);
    for (size_t i = 0; i < config->n_callers; i++) {
        const struct th_config_caller *caller = &config->callers[i];
        bool is_kind = caller->proof == shown->proof;
        bool is_same = CRYPTO_memcmp(caller->digest, shown->digest, sizeof shown->digest) == 0;
        if (is_kind & is_same)
            found = caller;
    }
    return found;
}

/* NULL: there is none, or *ret_detail says that there are several. */
static const struct th_field *only_field(const struct th_head *head, const char **ret_detail)
{
    const struct th_field *found = NULL;
    *ret_detail = NULL;
    for (uint16_t i = 0; i < head->n_fields; i++) {
        if (head->fields[i].id != TH_HEADER_PROXY_AUTHORIZATION)
            continue;
        if (found != NULL) {
            *ret_detail = several;
            return NULL;
        }
        found = &head->fields[i];
    }
    return found;
}

static bool has_fields(const struct th_config_view *config)
{
    for (size_t i = 0; i < config->n_callers; i++)
        if (config->callers[i].proof == TH_CALLER_BASIC ||
            config->callers[i].proof == TH_CALLER_BEARER ||
            config->callers[i].proof == TH_CALLER_KUBERNETES)
            return true;
    return false;
}

int th_caller_refusal(const struct th_config_view *config)
{
    return has_fields(config) ? TH_E_CALLER : TH_E_CALLER_UNKNOWN;
}

/* Names are no secrets: they are compared as it comes. */
static const struct th_config_caller *find_by_names(const struct th_config_view *config,
                                                    const struct th_caller_facts *facts)
{
    for (size_t i = 0; i < config->n_callers; i++) {
        const struct th_config_caller *caller = &config->callers[i];
        for (size_t k = 0; th_caller_is_by_certificate(caller->proof) && k < facts->n_names; k++)
            if (facts->names[k].proof == caller->proof &&
                memcmp(facts->names[k].digest, caller->digest, sizeof caller->digest) == 0)
                return caller;
    }
    return NULL;
}

static int tell_by_certificate(const struct th_config_view *config,
                               const struct th_caller_facts *facts,
                               const struct th_config_caller **ret_caller,
                               struct th_caller_proof_shown *ret_shown, const char **ret_detail)
{
    *ret_caller = find_by_names(config, facts);
    *ret_detail = facts->has_too_many_names ? many_names : unknown_certificate;
    if (*ret_caller == NULL)
        return th_caller_refusal(config);
    ret_shown->proof = (*ret_caller)->proof;
    memcpy(ret_shown->digest, (*ret_caller)->digest, sizeof ret_shown->digest);
    return 0;
}

static const char *what_is_missing(const struct th_config_view *config,
                                   const struct th_caller_facts *facts)
{
    if (facts->peer != NULL)
        return unknown_peer;
    return has_fields(config) ? missing : no_certificate;
}

static int tell_by_connection(const struct th_config_view *config,
                              const struct th_caller_facts *facts,
                              const struct th_config_caller **ret_caller,
                              struct th_caller_proof_shown *ret_shown, const char **ret_detail)
{
    if (facts->has_certificate)
        return tell_by_certificate(config, facts, ret_caller, ret_shown, ret_detail);
    *ret_detail = what_is_missing(config, facts);
    ret_shown->proof = TH_CALLER_UNIX;
    *ret_caller = find_by_peer(config, facts->peer);
    return *ret_caller != NULL ? 0 : th_caller_refusal(config);
}

int th_caller_tell(const struct th_config_view *config, const struct th_head *head,
                   const struct th_caller_facts *facts, const struct th_config_caller **ret_caller,
                   struct th_caller_proof_shown *ret_shown, const char **ret_detail)
{
    struct th_str rest;
    const struct th_field *field = only_field(head, ret_detail);
    bool is_shown = false;
    *ret_caller = NULL;
    *ret_shown = (struct th_caller_proof_shown){0};
    if (field == NULL && *ret_detail != NULL)
        return th_caller_refusal(config);
    if (field == NULL)
        return tell_by_connection(config, facts, ret_caller, ret_shown, ret_detail);
    *ret_detail = wrong;
    if (split_scheme(field->value, "basic", &rest)) {
        ret_shown->proof = TH_CALLER_BASIC;
        is_shown = digest_basic(rest, ret_shown->digest);
    } else if (split_scheme(field->value, "bearer", &rest)) {
        ret_shown->proof = TH_CALLER_BEARER;
        th_broker_digest(rest, ret_shown->digest);
        is_shown = true;
    }
    if (is_shown)
        *ret_caller = th_caller_find(config, facts, ret_shown);
    return *ret_caller != NULL ? 0 : th_caller_refusal(config);
}
