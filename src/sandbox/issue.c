#include "issue.h"

#include <stdio.h>

#include "answer.h"
#include "scopes.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/secret.h"
#include "tokens.h"

static bool has_target(const struct th_asked *asked, const struct th_target_row *target)
{
    for (size_t i = 0; i < asked->n_targets; i++) {
        if (asked->targets[i] == target)
            return true;
    }
    return false;
}

static void add_target(struct th_asked *asked, const struct th_target_row *target)
{
    if (!has_target(asked, target))
        asked->targets[asked->n_targets++] = target;
}

/* RFC 8693, 2.1: an absolute URI, and without fragment. */
static bool is_resource(struct th_str text)
{
    const char *colon = memchr(text.ptr, ':', text.len);
    return colon != NULL && colon != text.ptr && memchr(text.ptr, '#', text.len) == NULL;
}

/* Another server that takes this one's assertions (identity chaining). */
static const struct th_registry_server *find_chained(const struct th_idp *idp,
                                                     const struct th_registry_server *own,
                                                     struct th_str name)
{
    const struct th_registry_server *server = th_registry_find_issuer(idp->registry, name);
    const struct th_provider_row *provider = server != NULL ? th_provider_of(server) : NULL;
    unsigned bit = 1u << (size_t)(own - idp->registry->servers);
    return provider != NULL && (provider->assertion_issuers & bit) != 0 ? server : NULL;
}

static bool read_names(const struct th_idp *idp, const struct th_idp_request *request,
                       const struct th_form *form, const char *parameter, struct th_asked *asked,
                       struct th_idp_answer *answer)
{
    bool resource = strcmp(parameter, "resource") == 0;
    for (size_t i = 0;; i++) {
        struct th_str name = th_form_get_at(form, parameter, i);
        if (name.len == 0)
            return true;
        const struct th_registry_server *chained = find_chained(idp, request->server, name);
        const struct th_target_row *target =
            th_provider_find_target(th_provider_of(request->server), name);
        if (resource && !is_resource(name))
            return th_answer_refuse(answer, "invalid_target", "resource_malformed",
                                    "'resource' is not an absolute URI without fragment.");
        if (target == NULL && chained == NULL)
            return th_answer_refuse(answer, "invalid_target", parameter,
                                    "A requested target is unknown.");
        if (target != NULL)
            add_target(asked, target);
        else if (asked->chained != NULL && asked->chained != chained)
            return th_answer_refuse(answer, "invalid_target", "two_servers",
                                    "Only one other server can be named.");
        else
            asked->chained = chained;
    }
}

static bool knows_scope(const struct th_asked *asked, struct th_str scope)
{
    for (size_t i = 0; i < asked->n_targets; i++) {
        if (th_scopes_contain(th_str_of(asked->targets[i]->scopes), scope))
            return true;
    }
    return false;
}

/* Where no target is named the first is meant that all the scopes fit. */
static void choose_target(const struct th_provider_row *provider, struct th_str scope,
                          struct th_asked *asked)
{
    for (size_t i = 0; i < TH_PROVIDER_TARGETS && provider->targets[i].name != NULL; i++) {
        if (th_scopes_within(scope, th_str_of(provider->targets[i].scopes))) {
            add_target(asked, &provider->targets[i]);
            return;
        }
    }
    add_target(asked, &provider->targets[0]);
}

static bool check_scope(struct th_str ceiling, struct th_asked *asked, struct th_idp_answer *answer)
{
    struct th_str rest = asked->scope, one;
    if (!th_scopes_are_well_formed(asked->scope))
        return th_answer_refuse(answer, "invalid_scope", "scope_malformed",
                                "'scope' is malformed.");
    while (asked->chained == NULL && th_scopes_next(&rest, &one)) {
        if (!knows_scope(asked, one))
            return th_answer_refuse(answer, "invalid_scope", "scope_unknown",
                                    "A requested scope is unknown.");
    }
    if (ceiling.len > 0 && !th_scopes_within(asked->scope, ceiling))
        return th_answer_refuse(answer, "invalid_scope", "scope_wider",
                                "'scope' is wider than the assertion's.");
    if (asked->scope.len > 0)
        return true;
    /* None asked for: what the assertion has, else the first of each target. */
    asked->scope = ceiling;
    if (ceiling.len == 0 && asked->chained == NULL) {
        const char *first = asked->targets[0]->scopes;
        asked->scope = (struct th_str){first, strcspn(first, " ")};
    }
    asked->scope_differs = true;
    return true;
}

/* TARGET/SCOPE and TARGET/.default, of one target; OpenID's scopes besides (reference, 10, Entra). */
static bool read_entra_scope(const struct th_provider_row *provider, struct th_str scope,
                             struct th_asked *asked, struct th_idp_answer *answer)
{
    struct th_str one;
    int len = 0;
    while (th_scopes_next(&scope, &one)) {
        size_t slash = one.len;
        while (slash > 0 && one.ptr[slash - 1] != '/')
            slash--;
        struct th_str name = {one.ptr, slash > 0 ? slash - 1 : 0};
        struct th_str rest = {one.ptr + slash, one.len - slash};
        const struct th_target_row *target = th_provider_find_target(provider, name);
        if (th_scopes_have_system(one))
            continue;
        if (target == NULL)
            return th_answer_refuse(answer, "invalid_target", "resource",
                                    "The resource principal was not found in the tenant.");
        add_target(asked, target);
        if (asked->n_targets > 1)
            return th_answer_refuse(answer, "invalid_scope", "two_resources",
                                    "The scopes are of more than one resource.");
        bool all = th_str_equal(rest, TH_STR(".default"));
        if (!all && !th_scopes_contain(th_str_of(target->scopes), rest))
            return th_answer_refuse(answer, "invalid_scope", "scope_unknown",
                                    "A requested scope does not exist on the resource.");
        struct th_str add = all ? th_str_of(target->scopes) : rest;
        len += snprintf(asked->text + len, sizeof asked->text - (size_t)len, "%s%.*s",
                        len > 0 ? " " : "", TH_STR_ARGS(add));
        if ((size_t)len >= sizeof asked->text)
            return th_answer_refuse(answer, "invalid_scope", "scope_malformed", "Too many scopes.");
    }
    asked->scope = (struct th_str){asked->text, (size_t)len};
    asked->scope_differs = true;
    return asked->n_targets == 1 ||
           th_answer_refuse(answer, "invalid_request", "scope_missing", "'scope' is missing.");
}

bool th_asked_read(const struct th_idp *idp, const struct th_idp_request *request,
                   const struct th_form *form, bool takes_audience, bool takes_resource,
                   bool target_required, struct th_str ceiling, struct th_asked *ret_asked,
                   struct th_idp_answer *answer)
{
    const struct th_provider_row *provider = th_provider_of(request->server);
    memset(ret_asked, 0, sizeof *ret_asked);
    ret_asked->scope = th_form_get(form, "scope");
    if ((!takes_audience && th_form_get(form, "audience").len > 0) ||
        (!takes_resource && th_form_get(form, "resource").len > 0))
        return th_answer_refuse(answer, "invalid_request", "target_parameter",
                                "A parameter is not taken by this server.");
    if (provider->scope_is_target)
        return read_entra_scope(provider, ret_asked->scope, ret_asked, answer);
    if (!read_names(idp, request, form, "audience", ret_asked, answer) ||
        !read_names(idp, request, form, "resource", ret_asked, answer))
        return false;
    if (ret_asked->chained != NULL && ret_asked->n_targets > 0)
        return th_answer_refuse(answer, "invalid_target", "two_servers",
                                "Another server and a target of this one were named.");
    if (ret_asked->n_targets == 0 && ret_asked->chained == NULL && target_required)
        return th_answer_refuse(answer, "invalid_request", "target_missing",
                                "Neither 'audience' nor 'resource' names a target.");
    if (ret_asked->n_targets == 0 && ret_asked->chained == NULL)
        choose_target(provider, ret_asked->scope, ret_asked);
    return check_scope(ceiling, ret_asked, answer);
}

/* One audience is a string, several are a list (RFC 7519, 4.1.3). */
static json_t *make_audience(const struct th_registry_registration *client,
                             const struct th_asked *asked, const struct th_issue *issue)
{
    if (issue->assertion)
        return json_string(asked->chained->issuer);
    if (issue->id_token)
        return json_string(client->row->client_id);
    if (asked->n_targets == 1)
        return json_string(asked->targets[0]->name);
    json_t *list = json_array();
    for (size_t i = 0; i < asked->n_targets; i++)
        json_array_append_new(list, json_string(asked->targets[i]->name));
    return list;
}

static json_t *make_claims(const struct th_idp *idp, const struct th_idp_request *request,
                           const struct th_asked *asked, const struct th_issue *issue,
                           const struct th_idp_answer *answer)
{
    char jti[64];
    const struct th_provider_row *provider = th_provider_of(request->server);
    json_int_t now = (json_int_t)(th_idp_now_ms(idp) / 1000);
    th_token_make_id("", jti);
    json_t *claims = json_pack("{s:s, s:s, s:s%, s:o, s:I, s:I}", "iss", request->server->issuer,
                               "jti", jti, "sub", issue->sub.ptr, issue->sub.len, "aud",
                               make_audience(answer->registration, asked, issue), "iat", now, "exp",
                               now + (json_int_t)issue->lifetime);
    if (claims == NULL)
        return NULL;
    json_object_set_new(claims, provider->client_claim,
                        json_string(answer->registration->row->client_id));
    if (!issue->id_token && asked->scope.len > 0)
        json_object_set_new(claims, provider->scope_claim,
                            json_stringn(asked->scope.ptr, asked->scope.len));
    if (answer->jkt[0] != '\0' && !issue->id_token)
        json_object_set_new(claims, "cnf", json_pack("{s:s}", "jkt", answer->jkt));
    if (issue->act != NULL)
        json_object_set_new(claims, "act", json_deep_copy(issue->act));
    return claims;
}

/* Only this server can say what it stands for; the ledger remembers whose it is. */
static int make_opaque(struct th_idp *idp, const struct th_idp_request *request,
                       const struct th_issue *issue, struct th_secret **ret_token)
{
    char text[64];
    struct th_ledger_entry *entry = NULL;
    th_token_make_id("ya29.", text);
    struct th_str token = th_str_of(text);
    int64_t now_ms = th_idp_now_ms(idp);
    int e = th_ledger_add(&idp->issued, &token, 1, now_ms + issue->lifetime * 1000, now_ms, &entry);
    if (e != 0)
        return e;
    entry->server = request->server;
    entry->user = issue->user;
    *ret_token = th_secret_new(token.ptr, token.len);
    th_wipe(text, sizeof text);
    return *ret_token != NULL ? 0 : TH_E_NOMEM;
}

static int make_token(struct th_idp *idp, const struct th_idp_request *request,
                      const struct th_asked *asked, const struct th_issue *issue,
                      const struct th_idp_answer *answer, struct th_secret **ret_token)
{
    const struct th_provider_row *provider = th_provider_of(request->server);
    struct th_token_plan plan = {
        .server = request->server, .client = answer->client, .user = issue->user};
    if (provider->opaque)
        return make_opaque(idp, request, issue, ret_token);
    json_t *claims = make_claims(idp, request, asked, issue, answer);
    int e = claims == NULL
                ? TH_E_NOMEM
                : th_token_sign_issued(idp, &plan,
                                       issue->id_token || issue->assertion ? "JWT" : provider->typ,
                                       claims, request->fault, ret_token);
    json_decref(claims);
    return e;
}

void th_issue_token(struct th_idp *idp, const struct th_idp_request *request,
                    const struct th_asked *asked, const struct th_issue *issue,
                    struct th_idp_answer *answer)
{
    TH_CLEANUP(th_secret_unrefp) struct th_secret *token = NULL;
    int e = make_token(idp, request, asked, issue, answer, &token);
    if (e != 0) {
        th_answer_fail(answer, e);
        return;
    }
    answer->connection =
        asked->chained != NULL ? asked->chained->row->name : request->server->row->name;
    if (!th_grant_answer_token(answer, request, token, issue->token_type, issue->lifetime,
                               asked->scope))
        return;
    if (!issue->always_scope && !asked->scope_differs)
        json_object_del(answer->body, "scope");
    if (issue->issued_token_type != NULL)
        json_object_set_new(answer->body, "issued_token_type",
                            json_string(issue->issued_token_type));
}
