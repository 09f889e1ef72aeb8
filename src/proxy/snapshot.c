#include "snapshot.h"

#include "tokenhop/base/mem.h"
#include "tokenhop/observe/metrics.h"
#include "tokenhop/token/inject.h"

static bool is_https(const struct th_config_pattern *pattern)
{
    return th_str_equal(pattern->scheme, TH_STR("https"));
}

/* Reading the system's certificates takes longer than everything else at start: only where they
 * are of use. */
static bool needs_tls(const struct th_config_view *view)
{
    if (view->unmatched == TH_UNMATCHED_FORWARD)
        return true;
    for (size_t i = 0; i < view->n_unmatched_rules; i++)
        if (view->unmatched_rules[i].action == TH_UNMATCHED_FORWARD &&
            is_https(&view->unmatched_rules[i].pattern))
            return true;
    for (size_t i = 0; i < view->n_connections; i++)
        for (size_t k = 0; k < view->connections[i].n_patterns; k++)
            if (is_https(&view->connections[i].patterns[k]))
                return true;
    return false;
}

static int make_credential(const struct th_config_connection *connection,
                           struct th_credential **ret_credential)
{
    struct th_injected injected;
    int error = th_inject_static(connection, &injected);

    if (error < 0)
        return error;
    *ret_credential = th_credential_new(injected.value, INT64_MAX, INT64_MAX);
    if (*ret_credential == NULL)
        return TH_E_NOMEM;
    (*ret_credential)->secret_at = injected.secret_at;
    (*ret_credential)->secret_len = injected.secret_len;
    return 0;
}

/* What static connections send is made once, so that a request only refers to it. */
static int make_credentials(struct th_snapshot *snapshot)
{
    const struct th_config_view *view = snapshot->view;
    int error = 0;

    snapshot->credentials = th_calloc(view->n_connections + 1, sizeof(struct th_credential *));
    if (snapshot->credentials == NULL)
        return TH_E_NOMEM;
    for (size_t i = 0; error == 0 && i < view->n_connections; i++)
        if (view->connections[i].type == TH_TYPE_STATIC)
            error = make_credential(&view->connections[i], &snapshot->credentials[i]);
    return error;
}

/* The one of these settings that others have already, in this snapshot or the one before. */
static struct th_tls_context *find_tls(const struct th_snapshot *snapshot,
                                       const struct th_snapshot *before,
                                       const struct th_tls_settings *settings)
{
    for (size_t i = 0; snapshot->own_tls != NULL && i < snapshot->view->n_connections; i++) {
        struct th_tls_context *own = snapshot->own_tls[i];
        if (own != NULL && th_tls_context_has(own, settings))
            return own;
    }
    /* The connections that were verified by an old one are kept only if it stays the same. */
    if (before == NULL)
        return NULL;
    if (before->tls != NULL && th_tls_context_is_current_with(before->tls, settings))
        return before->tls;
    for (size_t i = 0; before->own_tls != NULL && i < before->view->n_connections; i++) {
        struct th_tls_context *own = before->own_tls[i];
        if (own != NULL && th_tls_context_is_current_with(own, settings))
            return own;
    }
    return NULL;
}

static int get_tls(const struct th_snapshot *snapshot, const struct th_snapshot *before,
                   const struct th_tls_settings *settings, struct th_tls_context **ret_context)
{
    struct th_tls_context *found = find_tls(snapshot, before, settings);

    if (found == NULL)
        return th_tls_context_new_with(settings, snapshot->tls, ret_context, NULL);
    *ret_context = th_tls_context_ref(found);
    return 0;
}

/* In shadow none is shown: what goes on as it came gains nothing by tokenhop's own. */
static struct th_identity *identity_of(const struct th_config_connection *connection)
{
    return connection->shadow == TH_SHADOW_OFF ? connection->client_certificate : NULL;
}

static bool has_own_tls(const struct th_config_connection *connection)
{
    return connection->ca_file.len > 0 || identity_of(connection) != NULL;
}

static int make_own_tls(struct th_snapshot *snapshot, const struct th_snapshot *before, size_t i)
{
    const struct th_config_view *view = snapshot->view;
    const struct th_config_connection *connection = &view->connections[i];
    struct th_tls_settings settings = {.ca_file = view->origin.ca_file,
                                       .crl_file = view->origin.crl_file,
                                       .identity = identity_of(connection)};

    if (connection->ca_file.len > 0) {
        settings.ca_file = connection->ca_file;
        settings.without_system = true;
    }
    if (connection->crl_file.len > 0)
        settings.crl_file = connection->crl_file;
    return get_tls(snapshot, before, &settings, &snapshot->own_tls[i]);
}

static int make_tls(struct th_snapshot *snapshot, const struct th_snapshot *before)
{
    const struct th_config_view *view = snapshot->view;
    const struct th_tls_settings settings = {.ca_file = view->origin.ca_file,
                                             .crl_file = view->origin.crl_file};

    if (!needs_tls(view))
        return 0;
    int error = get_tls(snapshot, before, &settings, &snapshot->tls);
    for (size_t i = 0; error == 0 && i < view->n_connections; i++) {
        if (!has_own_tls(&view->connections[i]))
            continue;
        if (snapshot->own_tls == NULL)
            snapshot->own_tls = th_calloc(view->n_connections, sizeof(struct th_tls_context *));
        error = snapshot->own_tls != NULL ? make_own_tls(snapshot, before, i) : TH_E_NOMEM;
    }
    return error;
}

/* Of the one before, where that is still what it was made of. */
static struct th_tls_context *find_parent_tls(const struct th_snapshot *before,
                                              const struct th_tls_settings *settings)
{
    for (size_t i = 0; before != NULL && before->parent_tls != NULL && i < before->view->n_parents;
         i++) {
        struct th_tls_context *own = before->parent_tls[i];
        if (own != NULL && th_tls_context_is_current_with(own, settings))
            return own;
    }
    return NULL;
}

static int make_parent_tls(struct th_snapshot *snapshot, const struct th_snapshot *before)
{
    const struct th_config_view *view = snapshot->view;
    int error = 0;

    for (size_t i = 0; error == 0 && i < view->n_parents; i++) {
        const struct th_config_parent *parent = &view->parents[i];
        const struct th_tls_settings settings = {.ca_file = parent->ca_file,
                                                 .without_system = parent->ca_file.len > 0};
        if (!parent->is_https)
            continue;
        if (snapshot->parent_tls == NULL)
            snapshot->parent_tls = th_calloc(view->n_parents, sizeof(struct th_tls_context *));
        if (snapshot->parent_tls == NULL)
            return TH_E_NOMEM;
        struct th_tls_context *found = find_parent_tls(before, &settings);
        if (found != NULL)
            snapshot->parent_tls[i] = th_tls_context_ref(found);
        else
            error =
                th_tls_context_new_with(&settings, snapshot->tls, &snapshot->parent_tls[i], NULL);
    }
    return error;
}

static void free_tls(struct th_snapshot *snapshot)
{
    for (size_t i = 0; snapshot->parent_tls != NULL && i < snapshot->view->n_parents; i++)
        th_tls_context_unref(snapshot->parent_tls[i]);
    th_free(snapshot->parent_tls);
    for (size_t i = 0; snapshot->own_tls != NULL && i < snapshot->view->n_connections; i++)
        th_tls_context_unref(snapshot->own_tls[i]);
    th_free(snapshot->own_tls);
    th_tls_context_unref(snapshot->tls);
}

/* The leaves and tickets of the one before stay good while the authority does. */
static int make_interceptor(struct th_snapshot *snapshot, const struct th_snapshot *before)
{
    const struct th_config_interception *config = &snapshot->view->interception;

    if (config->key == NULL)
        return 0;
    if (before == NULL || before->interceptor == NULL ||
        !th_interceptor_is_of(before->interceptor, config))
        return th_interceptor_new(config, &th_clock_system, &snapshot->interceptor);
    snapshot->interceptor = th_interceptor_ref(before->interceptor);
    return 0;
}

/* The one of the listener of that name, whose settings are the same: its tickets stay good, and what was
 * verified by it. */
static struct th_tls_server *find_listener_tls(const struct th_snapshot *before, struct th_str name,
                                               const struct th_tls_server_settings *settings)
{
    for (size_t i = 0; before != NULL && i < before->view->n_listeners; i++) {
        struct th_tls_server *server = before->listener_tls[i];
        if (server != NULL && th_str_equal(before->view->listeners[i].name, name) &&
            th_tls_server_has(server, settings))
            return th_tls_server_ref(server);
    }
    return NULL;
}

static int make_listener_tls(struct th_snapshot *snapshot, const struct th_snapshot *before)
{
    const struct th_config_view *view = snapshot->view;
    int error = 0;

    snapshot->listener_tls = th_calloc(view->n_listeners + 1, sizeof(struct th_tls_server *));
    if (snapshot->listener_tls == NULL)
        return TH_E_NOMEM;
    for (size_t i = 0; error == 0 && i < view->n_listeners; i++) {
        static const enum th_tls_clients clients[] = {
            [TH_CLIENT_CERTIFICATE_NONE] = TH_TLS_CLIENTS_ANY,
            [TH_CLIENT_CERTIFICATE_OPTIONAL] = TH_TLS_CLIENTS_MAY_SHOW,
            [TH_CLIENT_CERTIFICATE_REQUIRED] = TH_TLS_CLIENTS_MUST_SHOW,
        };
        const struct th_config_listener_tls *tls = &view->listeners[i].tls;
        const struct th_tls_server_settings settings = {
            .identity = tls->identity,
            .clients = clients[tls->client_certificate],
            .client_authorities = tls->client_authorities,
            .client_lists = tls->client_lists,
        };
        if (tls->identity == NULL)
            continue;
        snapshot->listener_tls[i] = find_listener_tls(before, view->listeners[i].name, &settings);
        if (snapshot->listener_tls[i] == NULL)
            error = th_tls_server_new_with(&settings, &snapshot->listener_tls[i], NULL);
    }
    return error;
}

static void free_listener_tls(struct th_snapshot *snapshot)
{
    for (size_t i = 0; snapshot->listener_tls != NULL && i < snapshot->view->n_listeners; i++)
        th_tls_server_unref(snapshot->listener_tls[i]);
    th_free(snapshot->listener_tls);
}

int th_snapshot_new(struct th_config *config, const struct th_snapshot *before,
                    struct th_snapshot **ret_snapshot)
{
    struct th_snapshot *snapshot = th_calloc(1, sizeof *snapshot);

    if (snapshot == NULL)
        return TH_E_NOMEM;
    th_ref_init(&snapshot->ref);
    snapshot->config = th_config_ref(config);
    snapshot->view = th_config_get(config);
    int error = th_routes_new(config, &snapshot->routes);
    if (error == 0)
        error = make_credentials(snapshot);
    if (error == 0)
        error = make_tls(snapshot, before);
    if (error == 0)
        error = make_parent_tls(snapshot, before);
    if (error == 0)
        error = make_interceptor(snapshot, before);
    if (error == 0)
        error = make_listener_tls(snapshot, before);
    if (error < 0) {
        th_snapshot_unref(snapshot);
        return error;
    }
    *ret_snapshot = snapshot;
    return 0;
}

static int measure_policy(struct th_snapshot *snapshot, struct th_metrics *metrics)
{
    size_t n = snapshot->view->n_policy;

    if (n == 0)
        return 0;
    snapshot->rule_rows = th_calloc(n + 1, sizeof *snapshot->rule_rows);
    if (snapshot->rule_rows == NULL)
        return TH_E_NOMEM;
    for (size_t i = 0; i < n; i++)
        snapshot->rule_rows[i] = th_metrics_rule(metrics, snapshot->view->policy[i].name);
    snapshot->rule_rows[n] = th_metrics_rule(metrics, TH_STR("(default)"));
    return 0;
}

int th_snapshot_measure(struct th_snapshot *snapshot, struct th_metrics *metrics)
{
    size_t n = snapshot->view->n_connections;

    if (metrics == NULL || n == 0)
        return 0;
    if (measure_policy(snapshot, metrics) < 0)
        return TH_E_NOMEM;
    snapshot->metric_rows = th_calloc(n, sizeof *snapshot->metric_rows);
    if (snapshot->metric_rows == NULL)
        return TH_E_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const struct th_config_connection *connection = &snapshot->view->connections[i];
        snapshot->metric_rows[i] = th_metrics_connection(metrics, connection->name);
        if (connection->shadow != TH_SHADOW_OFF)
            th_metrics_shadow(metrics, snapshot->metric_rows[i]);
    }
    return 0;
}

struct th_snapshot *th_snapshot_ref(struct th_snapshot *snapshot)
{
    th_ref_take(&snapshot->ref);
    return snapshot;
}

struct th_snapshot *th_snapshot_unref(struct th_snapshot *snapshot)
{
    if (snapshot == NULL || !th_ref_release(&snapshot->ref))
        return NULL;
    for (size_t i = 0; snapshot->credentials != NULL && i < snapshot->view->n_connections; i++)
        th_credential_unref(snapshot->credentials[i]);
    th_free(snapshot->credentials);
    free_tls(snapshot);
    free_listener_tls(snapshot);
    th_interceptor_unref(snapshot->interceptor);
    th_free(snapshot->metric_rows);
    th_free(snapshot->rule_rows);
    th_free(snapshot->opened);
    th_routes_free(snapshot->routes);
    th_config_unref(snapshot->config);
    th_free(snapshot);
    return NULL;
}

const struct th_config_connection *th_snapshot_find_alike(
    const struct th_snapshot *snapshot, const struct th_config_connection *connection)
{
    const struct th_config_view *view = snapshot->view;

    if (connection->index < view->n_connections && /* mostly it is at the same place */
        th_str_equal(view->connections[connection->index].name, connection->name))
        return &view->connections[connection->index];
    for (size_t i = 0; i < view->n_connections; i++)
        if (th_str_equal(view->connections[i].name, connection->name))
            return &view->connections[i];
    return NULL;
}

static bool may_use(const struct th_config_connection *connection,
                    const struct th_config_agent *agent)
{
    for (size_t i = 0; i < connection->n_agents; i++)
        if (th_str_equal(connection->agents[i]->name, agent->name))
            return true;
    return false;
}

static bool has_same_urls(const struct th_config_connection *a,
                          const struct th_config_connection *b)
{
    if (a->n_patterns != b->n_patterns)
        return false;
    for (size_t i = 0; i < a->n_patterns; i++)
        if (!th_str_equal(a->patterns[i].text, b->patterns[i].text))
            return false;
    return true;
}

struct th_credential *th_snapshot_find_newer(const struct th_snapshot *snapshot,
                                             const struct th_config_connection *connection,
                                             const struct th_config_agent *agent,
                                             const struct th_credential *sent)
{
    const struct th_config_connection *alike = th_snapshot_find_alike(snapshot, connection);

    if (alike == NULL || alike->type != TH_TYPE_STATIC || !may_use(alike, agent) ||
        !has_same_urls(alike, connection) ||
        alike->allow_cleartext != connection->allow_cleartext ||
        !th_str_equal(alike->inject.header, connection->inject.header))
        return NULL;
    struct th_credential *newer = snapshot->credentials[alike->index];
    return th_secret_equal(newer->value, sent->value) ? NULL : newer;
}

struct th_snapshot_use *th_snapshot_use_new(struct th_snapshot *snapshot)
{
    struct th_snapshot_use *use = th_calloc(1, sizeof *use);

    if (use != NULL)
        use->snapshot = th_snapshot_ref(snapshot);
    return use;
}

static void free_if_unused(struct th_snapshot_use *use)
{
    if (!use->retired || use->users > 0)
        return;
    th_policy_memo_free(use->memo);
    th_snapshot_unref(use->snapshot);
    th_free(use);
}

void th_snapshot_use_retire(struct th_snapshot_use *use)
{
    if (use == NULL)
        return;
    use->retired = true;
    free_if_unused(use);
}

void th_snapshot_use_give(struct th_snapshot_use *use)
{
    use->users--;
    free_if_unused(use);
}
