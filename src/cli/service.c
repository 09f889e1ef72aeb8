#include "service.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "tokenhop/admin/admin.h"
#include "tokenhop/admin/telemetry.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/net/fetch.h"
#include "tokenhop/net/helpers.h"
#include "tokenhop/net/init.h"
#include "tokenhop/oauth/parents.h"
#include "tokenhop/observe/access.h"
#include "tokenhop/observe/audit.h"
#include "tokenhop/observe/metrics.h"
#include "tokenhop/observe/writer.h"
#include "tokenhop/proxy/proxy.h"
#include "tokenhop/token/revoker.h"

#define HELPERS 4
#define HELPERS_WAITING 4096
#define WRITER_STOP_MS 2000
#define ANCHOR_MS (INT64_C(3600) * 1000)

/* One worker with all that hangs on it, in the order in which it is made; freed in the reverse. */
struct place {
    struct th_service *service;
    struct th_worker *worker;
    struct th_fetcher *fetcher;
    struct th_exchanger *exchanger;
    struct th_broker_desk *broker_desk;
    struct th_revoker_desk *revoker_desk;
    struct th_access_log *access_log;
    struct th_audit_log *audit_log;
    struct th_proxy_desk *desk;
    /* The certificates that the fetcher trusts are those of `trusted`, and so are the proxies.
     * `newest`: the configuration whose they shall be; the job is with the worker exactly while it
     * is not NULL. */
    struct th_job renewal;
    _Atomic(struct th_config *) newest;
    struct th_config *trusted;
    pthread_t thread;
    bool started;
};

struct th_service {
    struct th_config *config;
    struct th_writer *writer;
    struct th_writer *audit_writer; /* its own, that no reader of another log holds up */
    struct th_writer_file *error_file;
    struct th_writer_file *access_file;
    struct th_writer_file *audit_file;
    struct th_log *log;
    struct th_metrics *metrics;
    struct th_helpers *helpers;
    struct th_documents *documents;
    struct th_broker *broker;
    struct th_revoker *revoker;
    struct th_breakers *breakers;
    struct th_dpop_keys *dpop_keys;
    struct th_grants *grants;
    struct th_proxy *proxy;
    struct th_admin *admin; /* NULL: none is configured */
    struct th_spans *spans; /* NULL: none are exported */
    struct th_telemetry *telemetry;
    struct place *places;
    size_t n_places;
    int64_t anchor_told_ms;
    atomic_size_t n_drained;
    atomic_bool revoked;
    bool net_ready;
};

static int open_logs(struct th_service *service, struct th_errinfo *reterr)
{
    const struct th_config_log *config = &th_config_get(service->config)->log;
    struct th_log_options options = {.level = (enum th_log_level)config->level,
                                     .clock = &th_clock_system};
    int error = th_writer_new(0, &service->writer, reterr);

    if (error == 0)
        error = th_writer_open_fd(service->writer, STDERR_FILENO, "standard error",
                                  &service->error_file, reterr);
    if (error == 0 && config->access_file.len > 0)
        error =
            th_writer_open(service->writer, config->access_file.ptr, &service->access_file, reterr);
    if (error == 0 && config->audit_file.len > 0)
        error = th_writer_new(0, &service->audit_writer, reterr);
    if (error == 0 && config->audit_file.len > 0)
        error = th_writer_open(service->audit_writer, config->audit_file.ptr, &service->audit_file,
                               reterr);
    if (error == 0 && service->audit_file != NULL)
        error = th_writer_seal(service->audit_file, reterr);
    if (error < 0)
        return error;
    options.writer = service->writer;
    options.file = service->error_file;
    options.audit_writer = service->audit_writer;
    service->log = th_log_new(&options);
    return service->log != NULL ? 0 : TH_E_NOMEM;
}

/* What has no place in the configuration that is in force from now on is dropped from the cache, and
 * revoked if the one before says so. */
static void enforce(struct th_service *service, struct th_directory *directory)
{
    const struct th_config_view *before = th_config_get(service->config);
    struct th_dropped dropped;
    size_t n_dropped = th_broker_set_directory(service->broker, directory, &dropped);

    if (n_dropped > 0)
        TH_LOG(service->log, TH_LEVEL_INFO, "cache.outdated",
               "Credentials of connections that were removed or changed were dropped",
               TH_LOG_UINT("entries", n_dropped));
    if (before->revoke_on_removal) {
        const struct th_revoker_batch batch = {.why = "removal",
                                               .limit_ms = before->timeouts.revoke_ms};
        th_revoker_start(service->revoker, &dropped, &batch);
    } else {
        th_dropped_fini(&dropped);
    }
}

/* Before the workers, which tell their spans. */
static int make_telemetry(struct th_service *service)
{
    const struct th_config_telemetry *config = &th_config_get(service->config)->telemetry;
    struct th_telemetry_options options = {
        .config = service->config, .metrics = service->metrics, .log = service->log};

    if (config->otlp_endpoint.len == 0)
        return 0;
    int error = th_spans_new(TH_TELEMETRY_QUEUE, (unsigned)config->sample_percent, &service->spans);
    options.spans = service->spans;
    return error == 0 ? th_telemetry_new(&options, &service->telemetry) : error;
}

static int make_shared(struct th_service *service)
{
    const struct th_config_view *config = th_config_get(service->config);
    struct th_broker_options options = {.max_entries = config->cache.max_entries,
                                        .max_bytes = config->cache.max_bytes,
                                        .margin_ms = config->cache.margin_ms,
                                        .max_lifetime_ms = config->cache.max_lifetime_ms,
                                        .max_waiting = config->limits.waiting_exchanges,
                                        .clock = &th_clock_system};
    struct th_directory *directory = NULL;
    int error = th_helpers_new(HELPERS, HELPERS_WAITING, &service->helpers);

    service->metrics = th_metrics_new((unsigned)config->workers);
    if (error == 0 && service->metrics == NULL)
        error = TH_E_NOMEM;
    if (error == 0)
        error = th_documents_new(&service->documents);
    if (error == 0)
        error = th_broker_new(&options, &service->broker);
    struct th_revoker_options revoker = {.clock = &th_clock_system,
                                         .log = service->log,
                                         .metrics =
                                             th_metrics_shard(service->metrics, TH_METRICS_SHARED)};
    if (error == 0)
        error = th_revoker_new(&revoker, &service->revoker);
    if (error == 0)
        error = th_breakers_new(&service->breakers);
    if (error == 0)
        error = th_dpop_keys_new(&service->dpop_keys);
    if (error == 0)
        error = th_grants_new(&service->grants);
    if (error == 0)
        error = th_proxy_new(service->config, &service->proxy);
    if (error == 0)
        error = th_proxy_measure(service->proxy, service->metrics);
    if (error == 0)
        error = th_proxy_account(service->proxy, th_broker_accounts(service->broker));
    if (error == 0)
        error = th_directory_new(service->config, &directory);
    if (error == 0)
        enforce(service, directory);
    th_directory_unref(directory);
    return error;
}

static void on_renewal(struct th_job *job);

static int make_place(struct th_service *service, size_t index, struct th_errinfo *reterr)
{
    struct place *place = &service->places[index];
    struct th_worker_options options = {
        .index = (unsigned)index,
        .clock = &th_clock_system,
        .network = th_network_system(),
        .helpers = service->helpers,
        .log = service->log,
        .metrics = th_metrics_shard(service->metrics, (unsigned)index),
        .spans = service->spans,
    };

    place->service = service;
    place->renewal.done = on_renewal;
    place->trusted = th_config_ref(service->config);
    int error = th_worker_new(&options, &place->worker);
    if (error == 0)
        error = th_fetcher_new_curl(place->worker, &place->fetcher);
    if (error == 0)
        th_fetcher_set_proxies(place->fetcher, th_oauth_choose_parent, &place->trusted);
    if (error == 0)
        error =
            th_exchanger_new(place->worker, place->fetcher, service->breakers, &place->exchanger);
    if (error == 0)
        error = th_exchanger_share(place->exchanger, service->documents);
    if (error == 0)
        th_exchanger_share_dpop_keys(place->exchanger, service->dpop_keys);
    if (error == 0)
        th_exchanger_share_grants(place->exchanger, service->grants);
    if (error == 0)
        error = th_broker_desk_new(service->broker, place->worker, &th_exchange_ops_real,
                                   place->exchanger, &place->broker_desk);
    if (error == 0)
        error = th_revoker_desk_new(service->revoker, place->worker, &th_exchange_ops_real,
                                    place->exchanger, &place->revoker_desk);
    if (error == 0 && service->access_file != NULL) {
        place->access_log = th_access_log_new(service->access_file);
        if (place->access_log == NULL)
            error = TH_E_NOMEM;
    }
    if (error == 0 && service->audit_file != NULL) {
        th_exchanger_keep_delegations(place->exchanger);
        place->audit_log = th_audit_log_new(service->audit_file,
                                            th_config_get(service->config)->log.audit_on_failure ==
                                                TH_CONFIG_AUDIT_REFUSE);
        if (place->audit_log == NULL)
            error = TH_E_NOMEM;
    }
    if (error != 0)
        return error;
    struct th_proxy_desk_options desk_options = {place->worker, place->broker_desk,
                                                 place->access_log, place->audit_log,
                                                 th_exchanger_documents(place->exchanger)};
    error = th_proxy_desk_new(service->proxy, &desk_options, &place->desk);
    if (error == 0)
        error = th_proxy_desk_listen(place->desk, reterr);
    return error;
}

/* Once all desks are there. */
static int listen_together(struct th_service *service, struct th_activation *activation,
                           struct th_errinfo *reterr)
{
    TH_CLEANUP(th_freep)
    struct th_proxy_desk **desks = th_calloc(service->n_places, sizeof(struct th_proxy_desk *));

    if (desks == NULL)
        return TH_E_NOMEM;
    for (size_t i = 0; i < service->n_places; i++)
        desks[i] = service->places[i].desk;
    return th_proxy_listen(service->proxy, desks, service->n_places, activation, reterr);
}

static int make_admin(struct th_service *service, const char *config_path,
                      struct th_errinfo *reterr)
{
    struct th_worker **workers = th_calloc(service->n_places, sizeof(struct th_worker *));
    struct th_admin_options options = {
        .config = service->config,
        .config_path = config_path,
        .metrics = service->metrics,
        .broker = service->broker,
        .revoker = service->revoker,
        .breakers = service->breakers,
        .grants = service->grants,
        .log = service->log,
        .workers = workers,
        .n_workers = service->n_places,
    };

    if (workers == NULL)
        return TH_E_NOMEM;
    for (size_t i = 0; i < service->n_places; i++)
        workers[i] = service->places[i].worker;
    int error = th_admin_new(&options, &service->admin, reterr);
    th_free(workers);
    return error;
}

int th_service_new(struct th_config *config, const char *config_path,
                   struct th_activation *activation, struct th_service **ret_service,
                   struct th_errinfo *reterr)
{
    const struct th_config_view *view = th_config_get(config);
    struct th_service *service = th_calloc(1, sizeof *service);

    *reterr = (struct th_errinfo){0};
    if (service == NULL)
        return th_errinfo_set(reterr, TH_E_NOMEM, NULL, NULL, "out of memory");
    service->config = th_config_ref(config);
    service->places = th_calloc(view->workers, sizeof *service->places);
    int error = service->places != NULL ? th_net_global_init() : TH_E_NOMEM;
    service->net_ready = error == 0;
    if (error == 0)
        error = open_logs(service, reterr);
    if (error == 0)
        error = make_shared(service);
    if (error == 0)
        error = make_telemetry(service);
    for (size_t i = 0; error == 0 && i < view->workers; i++) {
        service->n_places = i + 1;
        error = make_place(service, i, reterr);
    }
    if (error == 0)
        error = listen_together(service, activation, reterr);
    if (error == 0 && view->admin.address_text.len > 0)
        error = make_admin(service, config_path, reterr);
    if (error < 0) {
        if (reterr->error == 0)
            th_errinfo_set(reterr, error, NULL, NULL, "the service could not be put together: %s",
                           th_error_get(error)->title);
        th_service_free(service);
        return error;
    }
    *ret_service = service;
    return 0;
}

static void *run_place(void *arg)
{
    struct place *place = arg;

    th_worker_run(place->worker);
    return NULL;
}

/* For whoever keeps the ordinary log where the audit log cannot be written. */
static void tell_anchor(struct th_service *service)
{
    struct th_writer_stats stats[TH_WRITER_MAX_FILES];

    if (service->audit_writer == NULL || service->log == NULL)
        return;
    service->anchor_told_ms = th_clock_monotonic_ms(&th_clock_system);
    if (th_writer_get_stats(service->audit_writer, stats) > 0 && stats[0].seal.number > 0)
        TH_LOG(service->log, TH_LEVEL_INFO, "audit.anchor", "The audit log has come to this line",
               TH_LOG_TEXT("file", stats[0].name), TH_LOG_UINT("seq", stats[0].seal.number),
               TH_LOG_TEXT("digest", stats[0].seal.digest));
}

int th_service_start(struct th_service *service, struct th_errinfo *reterr)
{
    for (size_t i = 0; i < service->n_places; i++) {
        struct place *place = &service->places[i];
        char name[32];
        int err = pthread_create(&place->thread, NULL, run_place, place);
        if (err != 0)
            return th_errinfo_set(reterr, TH_E_IO, NULL, "raise the limit of threads",
                                  "worker %zu could not be started", i);
        place->started = true;
        snprintf(name, sizeof name, "worker-%u", (unsigned)(i % 1000));
        (void)pthread_setname_np(place->thread, name);
    }
    tell_anchor(service);
    int error = service->telemetry != NULL ? th_telemetry_start(service->telemetry, reterr) : 0;
    if (error == 0 && service->admin != NULL)
        error = th_admin_start(service->admin, reterr);
    return error;
}

/* --- reload --- */

static const struct th_config_authorization_server *find_by_ca(const struct th_config_view *config,
                                                               struct th_str ca_file)
{
    for (size_t i = 0; i < config->n_servers; i++)
        if (th_str_equal(config->servers[i].ca_file, ca_file))
            return &config->servers[i];
    return NULL;
}

static const struct th_config_parent *find_parent_by_ca(const struct th_config_view *config,
                                                        struct th_str ca_file)
{
    for (size_t i = 0; i < config->n_parents; i++)
        if (th_str_equal(config->parents[i].ca_file, ca_file))
            return &config->parents[i];
    return NULL;
}

static void forget_outdated(struct th_fetcher *fetcher, const struct th_config_view *before,
                            const struct th_config_view *after)
{
    for (size_t i = 0; i < before->n_servers; i++) {
        const struct th_config_authorization_server *old = &before->servers[i];
        const struct th_config_authorization_server *new = find_by_ca(after, old->ca_file);
        if (old->ca_file.len > 0 &&
            (new == NULL || !th_file_mark_is_alike(&old->ca_mark, &new->ca_mark)))
            th_fetcher_forget_ca(fetcher, old->ca_file);
    }
    for (size_t i = 0; i < before->n_parents; i++) {
        const struct th_config_parent *old = &before->parents[i];
        const struct th_config_parent *new = find_parent_by_ca(after, old->ca_file);
        if (old->ca_file.len > 0 &&
            (new == NULL || !th_file_mark_is_alike(&old->ca_mark, &new->ca_mark)))
            th_fetcher_forget_ca(fetcher, old->ca_file);
    }
}

/* On the worker, or when it is freed: then its fetcher has gone. */
static void on_renewal(struct th_job *job)
{
    struct place *place = TH_CONTAINER_OF(job, struct place, renewal);
    struct th_config *config = atomic_exchange_explicit(&place->newest, NULL, memory_order_acq_rel);

    if (place->fetcher != NULL)
        forget_outdated(place->fetcher, th_config_get(place->trusted), th_config_get(config));
    th_config_unref(place->trusted);
    place->trusted = config;
}

static void renew_trust(struct place *place, struct th_config *config)
{
    struct th_config *before =
        atomic_exchange_explicit(&place->newest, th_config_ref(config), memory_order_acq_rel);

    if (before == NULL)
        th_worker_post_job(place->worker, &place->renewal);
    th_config_unref(before);
}

int th_service_reload(struct th_service *service, struct th_config *config)
{
    struct th_directory *directory;
    TH_CLEANUP(th_freep)
    struct th_snapshot_use **uses = th_calloc(service->n_places, sizeof(struct th_snapshot_use *));
    if (uses == NULL)
        return TH_E_NOMEM;
    int error = th_directory_new(config, &directory);

    if (error < 0)
        return error;
    error = th_proxy_reload(service->proxy, config, uses, service->n_places);
    if (error == 0)
        enforce(service, directory);
    th_directory_unref(directory);
    if (error < 0)
        return error;
    for (size_t i = 0; i < service->n_places; i++) {
        renew_trust(&service->places[i], config);
        th_proxy_desk_switch(service->places[i].desk, uses[i]);
    }
    th_log_set_level(service->log, (enum th_log_level)th_config_get(config)->log.level);
    th_config_unref(service->config);
    service->config = th_config_ref(config);
    return 0;
}

void th_service_count_reload(struct th_service *service, bool succeeded)
{
    th_metrics_count(th_metrics_shard(service->metrics, TH_METRICS_SHARED),
                     succeeded ? TH_METRIC_RELOADS : TH_METRIC_RELOADS_FAILED);
}

void th_service_reopen_logs(struct th_service *service)
{
    th_writer_reopen(service->writer);
    if (service->audit_writer != NULL)
        th_writer_reopen(service->audit_writer);
    tell_anchor(service);
}

/* --- drain --- */

static void on_drained(struct th_proxy_desk *desk, void *arg)
{
    struct th_service *service = arg;

    (void)desk;
    atomic_fetch_add_explicit(&service->n_drained, 1, memory_order_release);
}

static void on_drain(struct th_worker *worker, const struct th_message *message)
{
    if (worker->proxy != NULL) /* else it has ended already */
        th_proxy_desk_drain(worker->proxy, worker->now_ms + message->number, on_drained,
                            message->payload);
}

void th_service_drain(struct th_service *service)
{
    for (size_t i = 0; i < service->n_places; i++) {
        struct th_message message = {.fn = on_drain,
                                     .payload = service,
                                     .number = th_config_get(service->config)->timeouts.drain_ms};
        if (th_mailbox_post(service->places[i].worker->mailbox, &message) < 0)
            on_drained(NULL, service); /* its sessions are cut when it is freed */
    }
}

bool th_service_is_drained(const struct th_service *service)
{
    return atomic_load_explicit(&service->n_drained, memory_order_acquire) >= service->n_places;
}

/* --- revoking on exit --- */

static void on_revoked(void *arg, const struct th_revoker_outcome *outcome)
{
    struct th_service *service = arg;

    (void)outcome; /* has been logged */
    atomic_store_explicit(&service->revoked, true, memory_order_release);
}

void th_service_revoke(struct th_service *service)
{
    const struct th_config_view *config = th_config_get(service->config);
    const struct th_revoker_batch batch = {
        .why = "exit", .limit_ms = config->timeouts.revoke_ms, .fn = on_revoked, .arg = service};
    const struct th_broker_filter all = {0};
    struct th_dropped dropped;

    if (!config->revoke_on_exit) {
        on_revoked(service, NULL);
        return;
    }
    (void)th_broker_drop(service->broker, &all, &dropped);
    th_revoker_start(service->revoker, &dropped, &batch);
}

bool th_service_is_revoked(const struct th_service *service)
{
    return atomic_load_explicit(&service->revoked, memory_order_acquire);
}

void th_service_tick(struct th_service *service)
{
    th_log_tick(service->log);
    if (service->audit_writer != NULL &&
        th_clock_monotonic_ms(&th_clock_system) - service->anchor_told_ms >= ANCHOR_MS)
        tell_anchor(service);
}

const struct th_config *th_service_config(const struct th_service *service)
{
    return service->config;
}

struct th_admin *th_service_admin(struct th_service *service)
{
    return service->admin;
}

struct th_log *th_service_log(struct th_service *service)
{
    return service->log;
}

/* --- end --- */

static void stop_threads(struct th_service *service)
{
    for (size_t i = 0; i < service->n_places; i++)
        if (service->places[i].started)
            th_worker_stop(service->places[i].worker);
    for (size_t i = 0; i < service->n_places; i++)
        if (service->places[i].started)
            pthread_join(service->places[i].thread, NULL);
}

struct th_service *th_service_free(struct th_service *service)
{
    if (service == NULL)
        return NULL;
    th_admin_stop(service->admin); /* it posts to workers */
    stop_threads(service);
    /* First all that may post to another worker's mailbox, then the workers. */
    for (size_t i = 0; i < service->n_places; i++) {
        struct place *place = &service->places[i];
        th_proxy_desk_free(place->desk);
        th_broker_desk_free(place->broker_desk);
        th_revoker_desk_free(place->revoker_desk);
        th_exchanger_free(place->exchanger);
        if (place->fetcher != NULL)
            place->fetcher = place->fetcher->free(place->fetcher);
        th_access_log_free(place->access_log);
        th_audit_log_free(place->audit_log);
    }
    if (service->helpers != NULL)
        th_helpers_stop(service->helpers);
    for (size_t i = 0; i < service->n_places; i++)
        th_worker_free(service->places[i].worker);
    for (size_t i = 0; i < service->n_places; i++)
        th_config_unref(service->places[i].trusted);
    th_admin_free(service->admin);
    th_telemetry_free(service->telemetry);
    th_spans_free(service->spans);
    th_helpers_free(service->helpers);
    th_proxy_free(service->proxy);
    th_revoker_free(service->revoker);
    th_broker_free(service->broker);
    th_documents_unref(service->documents);
    th_breakers_unref(service->breakers);
    th_dpop_keys_unref(service->dpop_keys);
    th_grants_unref(service->grants);
    bool is_flushed =
        service->audit_writer == NULL || th_writer_flush(service->audit_writer, WRITER_STOP_MS);
    tell_anchor(service);
    th_log_free(service->log); /* tells what the audit log lost */
    th_writer_free(service->audit_writer, is_flushed ? WRITER_STOP_MS : 0);
    th_writer_free(service->writer, WRITER_STOP_MS);
    th_metrics_free(service->metrics);
    if (service->net_ready)
        th_net_global_fini();
    th_config_unref(service->config);
    th_free(service->places);
    th_free(service);
    return NULL;
}
