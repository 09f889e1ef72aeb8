#include "vault.h"

#include <stdio.h>

#include "tokenhop/base/mem.h"
#include "tokenhop/base/random.h"
#include "tokenhop/base/secret.h"

/* PREFIX and 32 hexadecimal digits. */
static void make_text(const char *prefix, char ret_text[TH_VAULT_TEXT_LEN + 1])
{
    uint8_t bytes[16];
    size_t len = strlen(prefix);
    th_random_bytes(bytes, sizeof bytes);
    memcpy(ret_text, prefix, len);
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(ret_text + len + 2 * i, 3, "%02x", bytes[i]);
}

void th_vault_rotate(struct th_vault_item *item)
{
    switch (item->row->kind) {
    case TH_VAULT_SECRET:
        make_text("key-", item->value);
        return;
    case TH_VAULT_ACCOUNT:
        make_text("pass:w\xc3\xb6rd-", item->value); /* what Basic must get right */
        return;
    case TH_VAULT_STS:
    case TH_VAULT_LINKED:
        return;
    }
}

void th_vault_reset(struct th_vault *vault)
{
    for (size_t i = 0; i < th_world_vault_count; i++) {
        struct th_vault_item *item = &vault->items[i];
        memset(item, 0, sizeof *item);
        item->row = &th_world_vault[i];
        th_vault_rotate(item);
    }
}

int th_vault_init(struct th_vault *vault)
{
    vault->items = th_calloc(th_world_vault_count, sizeof *vault->items);
    if (vault->items == NULL)
        return TH_E_NOMEM;
    th_vault_reset(vault);
    return 0;
}

void th_vault_fini(struct th_vault *vault)
{
    if (vault->items != NULL)
        th_wipe(vault->items, th_world_vault_count * sizeof *vault->items);
    th_free(vault->items);
    vault->items = NULL;
}

struct th_vault_item *th_vault_find(struct th_vault *vault, struct th_str name)
{
    for (size_t i = 0; i < th_world_vault_count; i++) {
        if (th_str_equal(name, th_str_of(vault->items[i].row->name)))
            return &vault->items[i];
    }
    return NULL;
}

struct th_vault_item *th_vault_find_connection(struct th_vault *vault, enum th_vault_kind kind,
                                               enum th_world_client agent, struct th_str resource)
{
    for (size_t i = 0; i < th_world_vault_count; i++) {
        const struct th_vault_row *row = vault->items[i].row;
        if (row->kind == kind && row->agent == agent &&
            th_str_equal(resource, th_str_of(row->resource)))
            return &vault->items[i];
    }
    return NULL;
}

struct th_vault_item *th_vault_find_kind(struct th_vault *vault, enum th_vault_kind kind)
{
    for (size_t i = 0; i < th_world_vault_count; i++) {
        if (vault->items[i].row->kind == kind)
            return &vault->items[i];
    }
    return NULL;
}

static bool has_passed(const struct th_vault_grant *grant, int64_t now_ms)
{
    return grant->handle_until_ms > 0 && grant->handle_until_ms <= now_ms;
}

const char *th_vault_get_token(struct th_vault_grant *grant, int64_t now_ms, int64_t lifetime_ms)
{
    if (grant->token[0] != '\0')
        return grant->token;
    if (grant->consented) {
        make_text("tpo_", grant->token);
        return grant->token;
    }
    if (grant->handle[0] == '\0' || has_passed(grant, now_ms)) {
        make_text("", grant->handle);
        grant->handle_until_ms = lifetime_ms > 0 ? now_ms + lifetime_ms : 0;
    }
    return NULL;
}

bool th_vault_consent(struct th_vault *vault, struct th_str handle, int64_t now_ms)
{
    for (size_t i = 0; i < th_world_vault_count; i++) {
        for (size_t u = 0; u < TH_USER_COUNT; u++) {
            struct th_vault_grant *grant = &vault->items[i].grants[u];
            if (handle.len == 0 || !th_str_equal(handle, th_str_of(grant->handle)) ||
                has_passed(grant, now_ms))
                continue;
            grant->handle[0] = '\0';
            grant->consented = true;
            return true;
        }
    }
    return false;
}

void th_vault_revoke(struct th_vault *vault, enum th_world_client agent, struct th_str token,
                     bool keeps_consent)
{
    for (size_t i = 0; i < th_world_vault_count; i++) {
        for (size_t u = 0; u < TH_USER_COUNT; u++) {
            struct th_vault_grant *grant = &vault->items[i].grants[u];
            if (vault->items[i].row->agent != agent ||
                !th_str_equal(token, th_str_of(grant->token)))
                continue;
            grant->token[0] = '\0';
            grant->dead = false;
            grant->consented = grant->consented && keeps_consent;
        }
    }
}

const struct th_user_row *th_vault_owner(const struct th_vault *vault, struct th_str token)
{
    for (size_t i = 0; i < th_world_vault_count; i++) {
        for (size_t u = 0; u < TH_USER_COUNT; u++) {
            const struct th_vault_grant *grant = &vault->items[i].grants[u];
            if (token.len > 0 && th_str_equal(token, th_str_of(grant->token)))
                return grant->dead ? NULL : &th_world_users[u];
        }
    }
    return NULL;
}

json_t *th_vault_json(const struct th_vault *vault)
{
    json_t *object = json_object();
    for (size_t i = 0; i < th_world_vault_count; i++) {
        const struct th_vault_item *item = &vault->items[i];
        json_t *grants = json_object();
        for (size_t u = 0; u < TH_USER_COUNT; u++) {
            const struct th_vault_grant *grant = &item->grants[u];
            json_object_set_new(grants, th_world_users[u].name,
                                json_pack("{s:s, s:b, s:b, s:s}", "token", grant->token,
                                          "consented", (int)grant->consented, "dead",
                                          (int)grant->dead, "handle", grant->handle));
        }
        json_object_set_new(object, item->row->name,
                            json_pack("{s:s, s:s?, s:s, s:o}", "resource", item->row->resource,
                                      "username", item->row->username, "value", item->value,
                                      "grants", grants));
    }
    return object;
}
