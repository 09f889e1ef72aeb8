#include "agent_guard.h"

#include <openssl/evp.h>
#include <stdio.h>

#define KEY_FIELD "X-Api-Key"

static const struct guard_row {
    const char *name;
    const char *field;
    const char *challenge;
} guards[] = {
    [TH_VAULT_SECRET] = {"secret", KEY_FIELD, "ApiKey realm=\"sandbox\""},
    [TH_VAULT_ACCOUNT] = {"service_account", "Authorization", "Basic realm=\"sandbox\""},
    [TH_VAULT_STS] = {"resource_server", "Authorization", "Bearer error=\"invalid_token\""},
    [TH_VAULT_LINKED] = {"token_vault", "Authorization", "Bearer error=\"invalid_token\""},
};

static bool refuse(struct th_web_call *call, enum th_vault_kind kind, const char *reason)
{
    const struct th_sandbox_agent *agent = call->owner;
    th_stats_count(&agent->sandbox->stats, "agent_refused", agent->resource->row->name, reason);
    th_web_add_field(call, "WWW-Authenticate", guards[kind].challenge);
    th_web_reply_json(call, 401,
                      json_pack("{s:s, s:s}", "error", "unauthorized", "reason", reason));
    return false;
}

static struct th_vault *vault_of(const struct th_web_call *call)
{
    const struct th_sandbox_agent *agent = call->owner;
    return &agent->sandbox->idp.vault;
}

/* RFC 7617, 2. */
static bool is_basic(const struct th_vault_item *item, struct th_str value)
{
    char pair[128], text[256] = "Basic ";
    int len = snprintf(pair, sizeof pair, "%s:%s", item->row->username, item->value);
    if (len < 0 || (size_t)len >= sizeof pair)
        return false;
    (void)EVP_EncodeBlock((unsigned char *)text + 6, (const unsigned char *)pair, len);
    return th_str_equal(value, th_str_of(text));
}

/* Whose it is; NULL: not a credential that is taken. */
static const char *find_owner(const struct th_web_call *call, enum th_vault_kind kind)
{
    struct th_vault *vault = vault_of(call);
    const struct th_vault_item *item = th_vault_find_kind(vault, kind);
    const struct th_user_row *user;
    struct th_str value = th_web_field(call, guards[kind].field);
    switch (kind) {
    case TH_VAULT_SECRET:
        return th_str_equal(value, th_str_of(item->value)) ? item->row->name : NULL;
    case TH_VAULT_ACCOUNT:
        return is_basic(item, value) ? item->row->username : NULL;
    case TH_VAULT_STS:
    case TH_VAULT_LINKED:
        if (!th_str_starts_with(value, TH_STR("Bearer ")))
            return NULL;
        user = th_vault_owner(vault, (struct th_str){value.ptr + 7, value.len - 7});
        return user != NULL ? user->name : NULL;
    }
    return NULL;
}

bool th_agent_guard(struct th_web_call *call, enum th_vault_kind kind)
{
    size_t n_keys = th_web_field_count(call, KEY_FIELD);
    size_t n_authorization = th_web_field_count(call, "Authorization");
    size_t wanted = kind == TH_VAULT_SECRET ? n_keys : n_authorization;
    if (wanted == 0)
        return refuse(call, kind, "credential_missing");
    if (wanted > 1)
        return refuse(call, kind, "credential_twice");
    if (kind == TH_VAULT_SECRET && n_authorization > 0)
        return refuse(call, kind, "authorization_besides");
    if (find_owner(call, kind) == NULL)
        return refuse(call, kind, "credential_invalid");
    return true;
}

json_t *th_agent_guard_json(const struct th_web_call *call, enum th_vault_kind kind)
{
    char name[TH_LEDGER_NAME_LEN + 1];
    th_ledger_name(th_web_field(call, guards[kind].field), name);
    return json_pack("{s:s, s:s?, s:s}", "kind", guards[kind].name, "who", find_owner(call, kind),
                     "credential_sha256", name);
}
