/* /sandbox/ on the provider's port: what tests and people steer the sandbox by. Nothing of this exists at a
 * real provider. */
#include "form.h"
#include "sandbox.h"
#include "tokenhop/base/check.h"

static void reply_info(struct th_web_call *call, int status, const struct th_errinfo *info)
{
    th_web_reply_json(call, status,
                      json_pack("{s:s, s:s}", "error", info->what, "where", info->where));
}

static json_t *read_json(struct th_web_call *call)
{
    return json_loadb(call->body.ptr, call->body.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY,
                      NULL);
}

static void get_info(struct th_web_call *call, struct th_sandbox *sandbox)
{
    th_web_reply_json(call, 200, th_sandbox_describe(sandbox));
}

static void get_stats(struct th_web_call *call, struct th_sandbox *sandbox)
{
    th_web_reply_json(call, 200, th_stats_json(&sandbox->stats, &sandbox->idp));
}

static void get_settings(struct th_web_call *call, struct th_sandbox *sandbox)
{
    th_web_reply_json(call, 200, th_sandbox_settings_json(&sandbox->idp.settings));
}

static void post_settings(struct th_web_call *call, struct th_sandbox *sandbox)
{
    struct th_errinfo info = {0};
    json_t *object = read_json(call);
    int e = th_sandbox_settings_merge(&sandbox->idp.settings, object, &info);
    json_decref(object);
    if (e != 0)
        reply_info(call, 400, &info);
    else
        get_settings(call, sandbox);
}

static void get_faults(struct th_web_call *call, struct th_sandbox *sandbox)
{
    th_web_reply_json(call, 200, th_faults_json(&sandbox->faults));
}

/* One rule or an array of rules; those before a bad one are kept. */
static void post_faults(struct th_web_call *call, struct th_sandbox *sandbox)
{
    struct th_errinfo info = {0};
    json_t *rules = read_json(call);
    int e = 0;
    if (json_is_array(rules)) {
        for (size_t i = 0; e == 0 && i < json_array_size(rules); i++)
            e = th_faults_add(&sandbox->faults, json_array_get(rules, i), &info);
    } else {
        e = th_faults_add(&sandbox->faults, rules, &info);
    }
    json_decref(rules);
    if (e != 0)
        reply_info(call, 400, &info);
    else
        get_faults(call, sandbox);
}

static void delete_faults(struct th_web_call *call, struct th_sandbox *sandbox)
{
    th_faults_clear(&sandbox->faults);
    get_faults(call, sandbox);
}

static void post_reset(struct th_web_call *call, struct th_sandbox *sandbox)
{
    th_faults_clear(&sandbox->faults);
    th_stats_reset(&sandbox->stats);
    th_idp_reset(&sandbox->idp);
    sandbox->idp.settings = sandbox->options.settings;
    th_web_reply_json(call, 200, json_object());
}

/* Revokes what was issued, as an administrator would: {} all, or {"server": name, "user": name}. */
static void post_revoke(struct th_web_call *call, struct th_sandbox *sandbox)
{
    json_t *object = read_json(call);
    const char *server = json_string_value(json_object_get(object, "server"));
    const char *user = json_string_value(json_object_get(object, "user"));
    json_int_t count = 0;
    TH_LIST_EACH(it, &sandbox->idp.issued.entries) {
        struct th_ledger_entry *entry = TH_LIST_ENTRY(it, struct th_ledger_entry, link);
        bool server_fits = server == NULL || strcmp(server, entry->server->row->name) == 0;
        bool user_fits =
            user == NULL || (entry->user != NULL && strcmp(user, entry->user->name) == 0);
        if (server_fits && user_fits && !entry->revoked) {
            entry->revoked = true;
            count++;
        }
    }
    json_decref(object);
    th_web_reply_json(call, 200, json_pack("{s:I}", "revoked", count));
}

/* What the provider holds for others, secrets and all. */
static void get_vault(struct th_web_call *call, struct th_sandbox *sandbox)
{
    th_web_add_field(call, "Cache-Control", "no-store");
    th_web_reply_json(call, 200, th_vault_json(&sandbox->idp.vault));
}

/* {"connection": name}: another value of a secret or account. With "user" too, at the third party: that
 * user's token is "dead" (true), or the consent given or withdrawn
 * ("consented"); so is an account linked. */
static void post_vault(struct th_web_call *call, struct th_sandbox *sandbox)
{
    json_t *object = read_json(call);
    const char *name = json_string_value(json_object_get(object, "connection"));
    const char *user_name = json_string_value(json_object_get(object, "user"));
    struct th_vault_item *item =
        name != NULL ? th_vault_find(&sandbox->idp.vault, th_str_of(name)) : NULL;
    const struct th_user_row *user =
        user_name != NULL ? th_registry_find_user_name(th_str_of(user_name)) : NULL;
    bool fine = item != NULL && (user_name == NULL || user != NULL);
    if (fine && user != NULL) {
        struct th_vault_grant *grant = &item->grants[user - th_world_users];
        grant->dead = grant->dead || json_is_true(json_object_get(object, "dead"));
        if (json_is_true(json_object_get(object, "consented")))
            grant->consented = true;
        if (json_is_false(json_object_get(object, "consented")))
            *grant = (struct th_vault_grant){.consented = false};
    } else if (fine) {
        th_vault_rotate(item);
    }
    json_decref(object);
    if (fine)
        get_vault(call, sandbox);
    else
        th_web_reply_error(call, 400, "no such connection or user");
}

static void any_mint(struct th_web_call *call, struct th_sandbox *sandbox)
{
    struct th_form form;
    struct th_errinfo info = {0};
    bool post = strcmp(call->method, "POST") == 0;
    if (th_form_init(&form, post ? call->body : th_str_of(call->query)) != TH_FORM_FINE) {
        th_web_reply_error(call, 400, "the parameters are malformed");
    } else {
        json_t *minted = th_sandbox_mint(sandbox, &form, &info);
        th_web_add_field(call, "Cache-Control", "no-store");
        if (minted == NULL) {
            reply_info(call, 400, &info);
        } else if (th_str_equal(th_form_get(&form, "format"), TH_STR("text"))) {
            th_web_reply(call, 200, "text/plain",
                         th_str_of(json_string_value(json_object_get(minted, "token"))));
            json_decref(minted);
        } else {
            th_web_reply_json(call, 200, minted);
        }
    }
    th_form_fini(&form);
}

/* Where the fault `redirect` leads: whoever comes here followed one, perhaps with a token in hand. */
static void any_followed(struct th_web_call *call, struct th_sandbox *sandbox)
{
    th_stats_count(&sandbox->stats, "endpoints", "followed", "requests");
    th_web_reply_json(call, 200,
                      json_pack("{s:s, s:s, s:i}", "access_token", "followed", "token_type",
                                "Bearer", "expires_in", 60));
}

static const struct admin_row {
    const char *path;
    const char *method; /* NULL: any */
    void (*serve)(struct th_web_call *call, struct th_sandbox *sandbox);
} rows[] = {
    {"/sandbox/info", "GET", get_info},           {"/sandbox/stats", "GET", get_stats},
    {"/sandbox/settings", "GET", get_settings},   {"/sandbox/settings", "POST", post_settings},
    {"/sandbox/faults", "GET", get_faults},       {"/sandbox/faults", "POST", post_faults},
    {"/sandbox/faults", "DELETE", delete_faults}, {"/sandbox/reset", "POST", post_reset},
    {"/sandbox/revoke", "POST", post_revoke},     {"/sandbox/mint", NULL, any_mint},
    {"/sandbox/followed", NULL, any_followed},    {"/sandbox/vault", "GET", get_vault},
    {"/sandbox/vault", "POST", post_vault},
};

void th_sandbox_serve_admin(struct th_web_call *call, struct th_sandbox *sandbox)
{
    bool path_known = false;
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        if (strcmp(rows[i].path, call->path) != 0)
            continue;
        path_known = true;
        if (rows[i].method == NULL || strcmp(rows[i].method, call->method) == 0) {
            rows[i].serve(call, sandbox);
            return;
        }
    }
    th_web_reply_error(call, path_known ? 405 : 404, path_known ? "other method" : "no such path");
}
