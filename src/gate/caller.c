#include "tokenhop/gate/caller.h"

#include <openssl/evp.h>
#include <strings.h>

#include "tokenhop/base/mem.h"
#include "tokenhop/base/password.h"
#include "tokenhop/base/secret.h"
#include "tokenhop/token/broker.h"

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

/* RFC 7617, 2. Base64 in whole groups, as all clients write it. The length; 0: it is none. */
static size_t decode_basic(struct th_str encoded, char ret_text[TH_CALLER_TEXT_MAX])
{
    if (encoded.len == 0 || encoded.len % 4 != 0 || encoded.len / 4 * 3 > TH_CALLER_TEXT_MAX)
        return 0;
    int len = EVP_DecodeBlock((unsigned char *)ret_text, (const unsigned char *)encoded.ptr,
                              (int)encoded.len);
    if (len > 0 && encoded.ptr[encoded.len - 1] == '=')
        len -= encoded.ptr[encoded.len - 2] == '=' ? 2 : 1;
    return len > 0 ? (size_t)len : 0;
}

bool th_caller_read(const struct th_head *head, struct th_caller_text *ret_text)
{
    const char *several_fields;
    const struct th_field *field = only_field(head, &several_fields);
    struct th_str rest;

    if (field == NULL)
        return false;
    if (split_scheme(field->value, "bearer", &rest)) {
        ret_text->proof = TH_CALLER_BEARER;
        ret_text->whole = ret_text->password = rest;
        ret_text->user = TH_STR_NONE;
        return true;
    }
    if (!split_scheme(field->value, "basic", &rest))
        return false;
    size_t len = decode_basic(rest, ret_text->room);
    const char *colon = len > 0 ? memchr(ret_text->room, ':', len) : NULL;
    size_t user_len = colon != NULL ? (size_t)(colon - ret_text->room) : 0;
    if (colon == NULL || user_len + 1 == len) { /* nobody has no password */
        th_caller_wipe(ret_text);
        return false;
    }
    ret_text->proof = TH_CALLER_BASIC;
    ret_text->whole = (struct th_str){ret_text->room, len};
    ret_text->user = (struct th_str){ret_text->room, user_len};
    ret_text->password = (struct th_str){colon + 1, len - user_len - 1};
    return true;
}

void th_caller_wipe(struct th_caller_text *text)
{
    th_wipe(text->room, sizeof text->room);
}

/* As a line of a file of hashes is known (model.h), where it is a digest. */
static void digest_line(const struct th_caller_text *text, uint8_t ret_digest[32])
{
    char room[TH_CALLER_TEXT_MAX + 1 + TH_PASSWORD_DIGEST_LEN + 1];

    if (text->user.len > 0)
        memcpy(room, text->user.ptr, text->user.len);
    room[text->user.len] = '\0';
    th_password_digest(text->password, room + text->user.len + 1);
    th_broker_digest((struct th_str){room, text->user.len + 1 + TH_PASSWORD_DIGEST_LEN},
                     ret_digest);
    th_wipe(room, sizeof room);
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

/* All of them, in constant time. */
static bool has_line(const struct th_config_passwords *passwords, const uint8_t digest[32])
{
    bool found = false;
    for (size_t i = 0; i < passwords->n; i++)
        found |= th_secret_equal_bytes(passwords->items[i].digest, digest, 32);
    return found;
}

/* A caller with hashes has no digest of what is sent, and the other way around. */
static bool is_shown_by(const struct th_config_caller *caller,
                        const struct th_caller_proof_shown *shown)
{
    if (shown->is_line) {
        bool is_slow = has_line(&caller->slow, shown->digest);
        bool is_fast = has_line(&caller->fast, shown->digest); /* looked for in either case */
        return is_slow || is_fast;
    }
    return th_secret_equal_bytes(caller->digest, shown->digest, sizeof shown->digest) &
           (caller->slow.n + caller->fast.n == 0);
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
        bool is_same = is_shown_by(caller, shown);
        if (is_kind & is_same)
            found = caller;
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
                th_secret_equal_bytes(facts->names[k].digest, caller->digest,
                                      sizeof caller->digest))
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

static bool has_fast(const struct th_config_view *config, enum th_caller_proof proof)
{
    for (size_t i = 0; i < config->n_callers; i++)
        if (config->callers[i].proof == proof && config->callers[i].fast.n > 0)
            return true;
    return false;
}

int th_caller_tell(const struct th_config_view *config, const struct th_head *head,
                   const struct th_caller_facts *facts, const struct th_config_caller **ret_caller,
                   struct th_caller_proof_shown *ret_shown, const char **ret_detail)
{
    struct th_caller_text text;
    const struct th_field *field = only_field(head, ret_detail);
    *ret_caller = NULL;
    *ret_shown = (struct th_caller_proof_shown){0};
    if (field == NULL && *ret_detail != NULL)
        return th_caller_refusal(config);
    if (field == NULL)
        return tell_by_connection(config, facts, ret_caller, ret_shown, ret_detail);
    *ret_detail = wrong;
    if (th_caller_read(head, &text)) {
        ret_shown->proof = text.proof;
        th_broker_digest(text.whole, ret_shown->digest);
        *ret_caller = th_caller_find(config, facts, ret_shown);
        if (*ret_caller == NULL && has_fast(config, text.proof)) {
            ret_shown->is_line = true;
            digest_line(&text, ret_shown->digest);
            *ret_caller = th_caller_find(config, facts, ret_shown);
        }
        th_caller_wipe(&text);
    }
    return *ret_caller != NULL ? 0 : th_caller_refusal(config);
}
