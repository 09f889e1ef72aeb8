/* What there is to know of the running process: probes, status, connections. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "admin_private.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/process.h"
#include "tokenhop/oauth/plan.h"

void th_admin_look(const struct th_admin *admin, struct th_admin_health *ret_health)
{
    int64_t now_ms = th_clock_monotonic_ms(admin->worker->clock);
    struct th_admin_health health = {
        .n_workers = admin->n_beats,
        .draining = atomic_load_explicit(&admin->draining, memory_order_relaxed),
    };

    for (size_t i = 0; i < admin->n_beats; i++) {
        int64_t at_ms = atomic_load_explicit(&admin->beats[i].answered_ms, memory_order_relaxed);
        int64_t ago_ms = now_ms - (at_ms != 0 ? at_ms : admin->started_ms);
        if (at_ms != 0 && ago_ms < TH_ADMIN_NOT_READY_MS)
            health.n_running++;
        if (ago_ms > health.longest_ms)
            health.longest_ms = ago_ms;
    }
    *ret_health = health;
}

static json_t *probe(bool fine, const char *why)
{
    return fine ? json_pack("{s:b}", "ok", 1) : json_pack("{s:b, s:s}", "ok", 0, "why", why);
}

int th_route_live(struct th_admin_request *request, struct th_admin_answer *answer)
{
    struct th_admin_health health;
    th_admin_look(request->admin, &health);
    bool fine = health.longest_ms < TH_ADMIN_NOT_LIVE_MS;
    return th_answer_json(answer, fine ? 200 : 503, probe(fine, "a worker has stalled"));
}

int th_route_ready(struct th_admin_request *request, struct th_admin_answer *answer)
{
    struct th_admin_health health;
    th_admin_look(request->admin, &health);
    bool fine = !health.draining && health.n_running == health.n_workers;
    return th_answer_json(answer, fine ? 200 : 503,
                          probe(fine, health.draining ? "draining" : "not all workers run"));
}

/* --- status --- */

static json_t *configuration_to_json(struct th_admin *admin)
{
    pthread_mutex_lock(&admin->lock);
    struct th_admin_loaded loaded = admin->loaded;
    pthread_mutex_unlock(&admin->lock);
    json_t *json = json_pack("{s:o, s:I}", "file", th_json_text(th_str_of(admin->config_path)),
                             "loaded_at", (json_int_t)(loaded.loaded_wall_ms / 1000));
    if (json != NULL && loaded.refused_wall_ms != 0)
        json_object_set_new(json, "refused",
                            json_pack("{s:I, s:I}", "at",
                                      (json_int_t)(loaded.refused_wall_ms / 1000), "mistakes",
                                      (json_int_t)loaded.n_mistakes));
    return json;
}

static json_int_t sum(const struct th_admin *admin, enum th_metric metric)
{
    return (json_int_t)th_metrics_sum(admin->metrics, metric);
}

static json_t *cache_to_json(const struct th_admin *admin, const struct th_config_view *config)
{
    struct th_broker_figures figures;
    th_broker_count(admin->broker, &figures);
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "entries", (json_int_t)figures.entries,
        "max_entries", (json_int_t)config->cache.max_entries, "bytes", (json_int_t)figures.bytes,
        "max_bytes", (json_int_t)config->cache.max_bytes, "exchanges", (json_int_t)figures.pending,
        "waiting", (json_int_t)figures.waiting, "hits", sum(admin, TH_METRIC_CACHE_HITS), "misses",
        sum(admin, TH_METRIC_CACHE_MISSES));
}

void th_admin_note_hardening(struct th_admin *admin, const char *seccomp, unsigned landlock)
{
    admin->seccomp = seccomp;
    admin->landlock = landlock;
}

/* As the kernel says, where it can be asked, not as it was asked for. */
static json_t *hardening_to_json(const struct th_admin *admin)
{
    struct th_process_state state;

    th_process_look(&state);
    return json_pack("{s:I, s:I, s:b, s:b, s:b, s:b, s:b, s:s, s:I}", "uid", (json_int_t)state.uid,
                     "gid", (json_int_t)state.gid, "capabilities", state.has_capabilities,
                     "no_new_privileges", state.no_new_privileges, "dumpable", state.is_dumpable,
                     "core_dumps", state.may_dump_core, "secrets_locked", state.secrets_locked,
                     "seccomp",
                     state.seccomp == 2 && admin->seccomp != NULL ? admin->seccomp : "off",
                     "landlock", (json_int_t)admin->landlock);
}

static const char *state_name(const struct th_admin_health *health)
{
    if (health->draining)
        return "draining";
    return health->n_running == health->n_workers ? "ready" : "not ready";
}

static json_t *shadows_to_json(const struct th_config_view *config)
{
    json_t *list = json_array();
    for (size_t i = 0; i < config->n_connections; i++)
        if (config->connections[i].shadow != TH_SHADOW_OFF)
            json_array_append_new(list, th_json_text(config->connections[i].name));
    return list;
}

json_t *th_status_to_json(const struct th_admin_request *request)
{
    struct th_admin *admin = request->admin;
    struct th_admin_health health;

    th_admin_look(admin, &health);
    return json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:{s:I, s:I, s:I}, s:o, s:s, s:I, s:{s:I, s:I, s:I}, "
        "s:{s:I, s:I}, s:o, s:o, s:o}",
        "version", TH_VERSION, "state", state_name(&health), "pid", (json_int_t)getpid(),
        "started_at", (json_int_t)(admin->started_wall_ms / 1000), "uptime_seconds",
        (json_int_t)((th_clock_monotonic_ms(admin->worker->clock) - admin->started_ms) / 1000),
        "workers", "count", (json_int_t)health.n_workers, "running", (json_int_t)health.n_running,
        "longest_turn_ms", (json_int_t)health.longest_ms, "configuration",
        configuration_to_json(admin), "log_level", th_log_level_name(th_log_get_level(admin->log)),
        "requests", sum(admin, TH_METRIC_REQUESTS), "open", "client_connections",
        sum(admin, TH_METRIC_CONNECTIONS_OPEN), "hops", sum(admin, TH_METRIC_HOPS_OPEN), "tunnels",
        sum(admin, TH_METRIC_TUNNELS_OPEN), "origin_connections", "open",
        sum(admin, TH_METRIC_ORIGIN_OPEN), "idle", sum(admin, TH_METRIC_ORIGIN_IDLE), "cache",
        cache_to_json(admin, th_config_get(request->config)), "hardening", hardening_to_json(admin),
        "in_shadow", shadows_to_json(th_config_get(request->config)));
}

int th_route_status(struct th_admin_request *request, struct th_admin_answer *answer)
{
    return th_answer_json(answer, 200, th_status_to_json(request));
}

/* --- connections --- */

static json_t *patterns_to_json(const struct th_config_connection *connection)
{
    json_t *list = json_array();
    for (size_t i = 0; i < connection->n_patterns; i++)
        json_array_append_new(list, th_json_text(connection->patterns[i].text));
    return list;
}

static json_t *agents_to_json(const struct th_config_connection *connection)
{
    json_t *list = json_array();
    for (size_t i = 0; i < connection->n_agents; i++)
        json_array_append_new(list, th_json_text(connection->agents[i]->name));
    return list;
}

/* Requests, and what went wrong last. */
static void add_figures(json_t *json, struct th_metrics *metrics, struct th_str name)
{
    struct th_metrics_connection_figures figures;

    th_metrics_sum_connection(metrics, name, &figures);
    json_object_set_new(json, "requests", json_integer((json_int_t)figures.requests));
    json_object_set_new(json, "cache_hits", json_integer((json_int_t)figures.hits));
    json_object_set_new(json, "failed_5xx", json_integer((json_int_t)figures.classes[5]));
    if (figures.last_error == 0)
        return;
    const struct th_error_row *row = th_error_get(figures.last_error);
    json_object_set_new(json, "last_error", json_string(row->code));
    json_object_set_new(json, "last_error_title", json_string(row->title));
    json_object_set_new(json, "last_error_at",
                        json_integer((json_int_t)(figures.last_error_wall_ms / 1000)));
}

static json_t *connection_to_json(struct th_metrics *metrics,
                                  const struct th_config_connection *connection, size_t n_cached)
{
    const struct th_config_authorization_server *server =
        connection->server != NULL ? connection->server
        : connection->n_agents > 0 ? connection->agents[0]->server
                                   : NULL;
    json_t *json =
        json_pack("{s:o, s:s, s:o, s:o, s:o, s:o, s:I, s:s}", "name",
                  th_json_text(connection->name), "type", th_plan_get(connection->type)->name,
                  "urls", patterns_to_json(connection), "agents", agents_to_json(connection),
                  "authorization_server", server != NULL ? th_json_text(server->name) : json_null(),
                  "scopes", th_json_text(connection->scope_text), "cached", (json_int_t)n_cached,
                  "shadow", th_config_shadow_name(connection->shadow));
    if (json != NULL)
        add_figures(json, metrics, connection->name);
    return json;
}

struct tally {
    const struct th_config_view *config;
    size_t *counts; /* by the connection's place in the file */
};

static bool count_entry(void *arg, const struct th_broker_listed *listed)
{
    struct tally *tally = arg;
    const struct th_config_connection *connection = listed->connection;
    /* The broker's directory may be of the configuration before or after. */
    if (connection == NULL || listed->expires_in_ms < 0 ||
        connection->index >= tally->config->n_connections ||
        !th_str_equal(tally->config->connections[connection->index].name, connection->name))
        return true;
    tally->counts[connection->index]++;
    return true;
}

json_t *th_connections_to_json(const struct th_admin_request *request)
{
    const struct th_config_view *config = th_config_get(request->config);
    struct th_broker_filter all = {0};
    TH_CLEANUP(th_freep)
    size_t *counts = th_calloc(config->n_connections + 1, sizeof *counts);
    struct tally tally = {config, counts};

    if (counts == NULL)
        return NULL;
    th_broker_list(request->admin->broker, &all, SIZE_MAX, count_entry, &tally);
    json_t *list = json_array();
    for (size_t i = 0; i < config->n_connections; i++)
        json_array_append_new(
            list, connection_to_json(request->admin->metrics, &config->connections[i], counts[i]));
    return json_pack("{s:o}", "connections", list);
}

int th_route_connections(struct th_admin_request *request, struct th_admin_answer *answer)
{
    return th_answer_json(answer, 200, th_connections_to_json(request));
}
