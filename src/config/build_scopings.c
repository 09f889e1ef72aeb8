/* Which requests ask for other scopes than their connection's. Each set of scopes that can come of it is made
 * here, as a variant of the connection, so that nobody beyond needs to know of more than a connection's scopes. */
#include <string.h>

#include "loader.h"
#include "tokenhop/base/check.h"
#include "version.h"

/* Scopes of one variant, in the connection's order. */
struct scopes {
    struct th_str *items;
    size_t n;
};

static bool is_method(struct th_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if ((c < 'A' || c > 'Z') && c != '-' && c != '_')
            return false;
    }
    return text.len > 0;
}

static void check_scoping(struct th_loader *l, const struct th_raw_connection *connection,
                          const struct th_raw_scoping *raw, uint32_t place)
{
    for (size_t i = 0; i < raw->methods.n; i++) {
        if (raw->methods.items[i].ptr != NULL && !is_method(raw->methods.items[i]))
            th_loader_report(l, th_loader_item(l, place, "methods", i), NULL,
                             "a method is written in capital letters");
    }
    th_build_check_scopes(l, &raw->scopes, place, "scopes", true);
    for (size_t i = 0; i < raw->scopes.n; i++) {
        struct th_str scope = raw->scopes.items[i];
        if (scope.ptr != NULL &&
            !th_str_is_among(connection->scopes.items, connection->scopes.n, scope))
            th_loader_report(
                l, th_loader_item(l, place, "scopes", i),
                "add it to the connection's \"scopes\", or to \"step_up_scopes\" there",
                "fewer scopes are asked for here than else, never others");
    }
    if (raw->tools.n > 0 && raw->rpc_methods.n > 0 &&
        !th_str_is_among(raw->rpc_methods.items, raw->rpc_methods.n, TH_STR("tools/call")))
        th_loader_report(l, th_loader_member(l, place, "tools"), "leave out one of both",
                         "only the method \"tools/call\" names a tool");
}

static void build_scoping(struct th_loader *l, const struct th_raw_connection *connection,
                          const struct th_raw_scoping *raw, uint32_t place,
                          struct th_config_scoping *scoping)
{
    check_scoping(l, connection, raw, place);
    *scoping = (struct th_config_scoping){
        .methods = raw->methods.items,
        .n_methods = raw->methods.n,
        .paths = raw->paths.items,
        .n_paths = raw->paths.n,
        .rpc_methods = raw->rpc_methods.items,
        .n_rpc_methods = raw->rpc_methods.n,
        .tools = raw->tools.items,
        .n_tools = raw->tools.n,
        .scope_text = th_build_join(l, &raw->scopes, (char)connection->scope_separator)};
}

/* What is asked for on the second leg too, of what the connection asks for there. */
static struct th_str second_leg_text(struct th_loader *l, const struct th_raw_connection *raw,
                                     const struct th_config_connection *connection,
                                     const struct scopes *scopes)
{
    struct th_str *items = th_loader_alloc(l, scopes->n, sizeof *items);
    struct th_raw_list list = {items, 0};

    if (items == NULL || connection->second_leg_scope_text.len == 0)
        return TH_STR_NONE;
    bool all =
        th_source_find_member(&l->source, raw->head.place, "second_leg_scopes") == TH_SOURCE_NONE;
    for (size_t i = 0; i < scopes->n; i++) {
        struct th_str scope = scopes->items[i];
        if (all || th_str_is_among(raw->second_leg_scopes.items, raw->second_leg_scopes.n, scope) ||
            th_str_is_among(connection->step_up_scopes, connection->n_step_up_scopes, scope))
            items[list.n++] = scope;
    }
    return th_build_join(l, &list, connection->scope_separator);
}

/* The connection's variant that asks for `base` and the step-up scopes whose bits are set. */
static void build_variant(struct th_loader *l, const struct th_raw_connection *raw,
                          const struct th_config_connection *connection,
                          const struct th_raw_list *base, unsigned step_ups,
                          struct th_config_connection *variant)
{
    struct scopes scopes = {
        th_loader_alloc(l, base->n + connection->n_step_up_scopes, sizeof *scopes.items), 0};

    if (scopes.items == NULL)
        return;
    for (size_t i = 0; i < base->n; i++)
        scopes.items[scopes.n++] = base->items[i];
    for (size_t i = 0; i < connection->n_step_up_scopes; i++) {
        struct th_str scope = connection->step_up_scopes[i];
        if ((step_ups >> i & 1) != 0 && !th_str_is_among(scopes.items, scopes.n, scope))
            scopes.items[scopes.n++] = scope;
    }
    *variant = *connection;
    variant->scopings = NULL;
    variant->step_up_scopes = NULL;
    variant->variants = NULL;
    variant->n_scopings = variant->n_step_up_scopes = variant->n_variants = 0;
    variant->scopes = scopes.items;
    variant->n_scopes = scopes.n;
    struct th_raw_list list = {scopes.items, scopes.n};
    variant->scope_text = th_build_join(l, &list, connection->scope_separator);
    variant->second_leg_scope_text = second_leg_text(l, raw, connection, &scopes);
}

static void build_variants(struct th_loader *l, const struct th_raw_connection *raw,
                           struct th_config_connection *connection)
{
    const struct th_raw_scoping *scopings = raw->scopes_for.items;
    size_t n_step_ups = (size_t)1 << connection->n_step_up_scopes;
    size_t n = (connection->n_scopings + 1) * n_step_ups - 1;
    struct th_config_connection *variants = th_loader_alloc(l, n, sizeof *variants);

    if (variants == NULL)
        return;
    for (size_t i = 1; i <= n; i++)
        build_variant(l, raw, connection,
                      i < n_step_ups ? &raw->scopes : &scopings[i / n_step_ups - 1].scopes,
                      (unsigned)(i % n_step_ups), &variants[i - 1]);
    connection->variants = variants;
    connection->n_variants = n;
}

/* Others have none, which was reported. */
static bool asks_scopes(const struct th_config_connection *connection)
{
    switch (connection->type) {
    case TH_TYPE_AGENT_TO_AGENT:
    case TH_TYPE_AUTHORIZATION_SERVER:
    case TH_TYPE_TOKEN_EXCHANGE:
    case TH_TYPE_ON_BEHALF_OF:
    case TH_TYPE_CLIENT_CREDENTIALS:
        return true;
    case TH_TYPE_SECRET:
    case TH_TYPE_SERVICE_ACCOUNT:
    case TH_TYPE_RESOURCE_SERVER:
    case TH_TYPE_STATIC:
    case TH_TYPE_PASSTHROUGH:
        break;
    }
    return false;
}

void th_build_scopings(struct th_loader *loader, const struct th_raw_connection *raw,
                       struct th_config_connection *connection)
{
    const struct th_raw_scoping *items = raw->scopes_for.items;
    size_t n = raw->scopes_for.n;
    struct th_config_scoping *scopings = th_loader_alloc(loader, n, sizeof *scopings);

    if (!asks_scopes(connection))
        return;
    th_build_check_scopes(loader, &raw->step_up_scopes, raw->head.place, "step_up_scopes", true);
    if (raw->step_up_scopes.n > 0 && raw->scopes.n == 0)
        th_loader_report(loader, th_loader_member(loader, raw->head.place, "step_up_scopes"),
                         "name the \"scopes\" that are asked for else",
                         "what these would be added to is the server's choice");
    if (scopings == NULL)
        return;
    for (size_t i = 0; i < n; i++)
        build_scoping(loader, raw, &items[i],
                      th_loader_item(loader, raw->head.place, "scopes_for", i), &scopings[i]);
    connection->scopings = scopings;
    connection->n_scopings = n;
    connection->step_up_scopes = raw->step_up_scopes.items;
    connection->n_step_up_scopes = raw->step_up_scopes.n;
    if (loader->mistakes->count == 0 && n + raw->step_up_scopes.n > 0) /* of whole scopes only */
        build_variants(loader, raw, connection);
}

void th_build_versions(struct th_loader *loader, struct th_config_connection *connection)
{
    int error = th_config_version_digest(connection, connection->version);

    for (size_t i = 0; error == 0 && i < connection->n_variants; i++)
        error = th_config_version_digest(&connection->variants[i], connection->variants[i].version);
    loader->nomem |= error < 0;
}
