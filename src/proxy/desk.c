#include "desk.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "admit.h"
#include "endpoints.h"
#include "hop.h"
#include "own_ends.h"
#include "session.h"
#include "shadow.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/random.h"
#include "tokenhop/observe/access.h"
#include "tokenhop/observe/audit.h"

#define FLUSH_MS 200
#define BACKLOG 4096

/* --- what workers share --- */

/* What a listener is, no reload changes. */
static bool has_transparent(const struct th_config_view *config)
{
    for (size_t i = 0; i < config->n_listeners; i++)
        if (config->listeners[i].mode == TH_LISTENER_TRANSPARENT)
            return true;
    return false;
}

int th_proxy_new(struct th_config *config, struct th_proxy **ret_proxy)
{
    struct th_proxy *proxy = th_calloc(1, sizeof *proxy);
    uint32_t id;

    if (proxy == NULL)
        return TH_E_NOMEM;
    int error = th_snapshot_new(config, NULL, &proxy->snapshot);
    if (error == 0)
        error = th_seen_new(&proxy->seen);
    /* Of four helpers, and of the processors about as many as there are workers. */
    if (error == 0)
        error = th_passwords_new(th_config_get(config)->workers >= 4 ? 2 : 1, &proxy->passwords);
    if (error == 0 && has_transparent(proxy->snapshot->view))
        error = th_own_ends_new(&proxy->own_ends);
    if (error < 0) {
        th_proxy_free(proxy);
        return error;
    }
    th_random_bytes(&id, sizeof id);
    snprintf(proxy->via_name, sizeof proxy->via_name, "tokenhop-%08x", id);
    *ret_proxy = proxy;
    return 0;
}

int th_proxy_account(struct th_proxy *proxy, struct th_accounts *accounts)
{
    proxy->accounts = accounts;
    return th_admit_open(proxy->snapshot, accounts);
}

int th_proxy_measure(struct th_proxy *proxy, struct th_metrics *metrics)
{
    proxy->metrics = metrics;
    return th_snapshot_measure(proxy->snapshot, metrics);
}

struct th_proxy *th_proxy_free(struct th_proxy *proxy)
{
    if (proxy == NULL)
        return NULL;
    th_proxy_close_shared(proxy);
    th_own_ends_free(proxy->own_ends);
    th_seen_free(proxy->seen);
    th_passwords_free(proxy->passwords);
    th_snapshot_unref(proxy->snapshot);
    th_free(proxy);
    return NULL;
}

int th_proxy_reload(struct th_proxy *proxy, struct th_config *config,
                    struct th_snapshot_use **ret_uses, size_t n_uses)
{
    struct th_snapshot *snapshot;
    size_t n = 0;
    int error = th_snapshot_new(config, proxy->snapshot, &snapshot);

    if (error < 0)
        return error;
    error = th_snapshot_measure(snapshot, proxy->metrics);
    if (error == 0 && proxy->accounts != NULL)
        error = th_admit_open(snapshot, proxy->accounts);
    while (error == 0 && n < n_uses && (ret_uses[n] = th_snapshot_use_new(snapshot)) != NULL)
        n++;
    if (error == 0 && n < n_uses)
        error = TH_E_NOMEM;
    if (error < 0) {
        while (n > 0)
            th_snapshot_use_retire(ret_uses[--n]);
        th_snapshot_unref(snapshot);
        return error;
    }
    th_snapshot_unref(proxy->snapshot);
    proxy->snapshot = snapshot;
    th_passwords_keep(proxy->passwords, snapshot->view);
    return 0;
}

/* --- one worker's desk --- */

static uint16_t port_of(const struct th_config_listener *listener)
{
    struct th_address address;

    return th_address_from_sockaddr((const struct sockaddr *)&listener->address,
                                    listener->address_len, &address) == 0
               ? th_address_port(&address)
               : 0;
}

static void renew_listener(const struct th_snapshot *snapshot, struct th_desk_listener *listener)
{
    const struct th_config_view *config = snapshot->view;

    listener->config = NULL;
    listener->tls = NULL;
    listener->agent = NULL;
    listener->asks_callers = false;
    listener->n_header_sources = 0;
    listener->takes_unix_headers = false;
    for (size_t i = 0; i < config->n_listeners; i++) {
        if (!th_str_equal(config->listeners[i].name, th_str_of(listener->name)))
            continue;
        listener->config = &config->listeners[i];
        listener->tls = snapshot->listener_tls[i];
        listener->agent = config->listeners[i].agent;
        listener->mode = config->listeners[i].mode;
        listener->scheme = config->listeners[i].is_https ? TH_SCHEME_HTTPS : TH_SCHEME_HTTP;
        listener->original = config->listeners[i].original;
        listener->header_sources = config->listeners[i].header_sources;
        listener->n_header_sources = config->listeners[i].n_header_sources;
        listener->takes_unix_headers = config->listeners[i].takes_unix_headers;
        listener->port = port_of(&config->listeners[i]);
        listener->by_tproxy = config->listeners[i].by_tproxy;
        listener->by_name = config->listeners[i].by_name;
        listener->asks_callers = listener->agent == NULL;
    }
}

static void count_lost_lines(struct th_proxy_desk *desk)
{
    uint64_t n = th_access_dropped(desk->access_log) + th_audit_dropped(desk->audit_log);

    th_metrics_add(desk->metrics, TH_METRIC_LOG_LINES_DROPPED, (int64_t)(n - desk->n_lines_lost));
    desk->n_lines_lost = n;
}

/* Of all servers that new connections may come to. */
static void turn_ticket_keys(struct th_proxy_desk *desk)
{
    const struct th_snapshot *snapshot = desk->current->snapshot;

    for (size_t i = 0; i < desk->n_listeners; i++)
        if (desk->listeners[i].tls != NULL)
            th_tls_server_turn_keys(desk->listeners[i].tls, desk->worker->now_ms);
    if (snapshot->interceptor != NULL)
        th_tls_server_turn_keys(th_interceptor_tls(snapshot->interceptor), desk->worker->now_ms);
}

static void on_flush(struct th_timer *timer)
{
    struct th_proxy_desk *desk = TH_CONTAINER_OF(timer, struct th_proxy_desk, flush);

    th_access_flush(desk->access_log);
    count_lost_lines(desk);
    th_audit_flush(desk->audit_log);
    turn_ticket_keys(desk);
    th_timer_set(&desk->worker->wheel, timer, desk->worker->now_ms + FLUSH_MS);
}

static int make_listeners(struct th_proxy_desk *desk)
{
    const struct th_config_view *config = th_desk_config(desk);

    desk->listeners = th_calloc(config->n_listeners + 1, sizeof *desk->listeners);
    if (desk->listeners == NULL)
        return TH_E_NOMEM;
    desk->n_listeners = config->n_listeners;
    for (size_t i = 0; i < desk->n_listeners; i++) {
        struct th_desk_listener *listener = &desk->listeners[i];
        listener->desk = desk;
        snprintf(listener->name, sizeof listener->name, "%.*s",
                 TH_STR_ARGS(config->listeners[i].name));
        renew_listener(desk->current->snapshot, listener);
    }
    return 0;
}

static void on_drain_deadline(struct th_timer *timer);
static struct th_desk_post *post_new(struct th_proxy_desk *desk);
static void post_free(struct th_desk_post *post);

int th_proxy_desk_new(struct th_proxy *proxy, const struct th_proxy_desk_options *options,
                      struct th_proxy_desk **ret_desk)
{
    struct th_proxy_desk *desk = th_calloc(1, sizeof *desk);

    if (desk == NULL)
        return TH_E_NOMEM;
    desk->proxy = proxy;
    desk->worker = options->worker;
    desk->broker = options->broker;
    desk->documents = options->documents;
    desk->access_log = options->access_log;
    desk->audit_log = options->audit_log;
    desk->metrics = options->worker->metrics;
    th_list_init(&desk->doors);
    th_list_init(&desk->sessions);
    th_list_init(&desk->newcomers);
    th_list_init(&desk->free_hops);
    th_list_init(&desk->shadows);
    th_timer_init(&desk->flush, on_flush);
    th_timer_init(&desk->trim, th_hop_trim_free);
    th_timer_init(&desk->drain, on_drain_deadline);
    th_origin_pool_init(&desk->origins, desk);
    desk->current = th_snapshot_use_new(proxy->snapshot);
    desk->post = post_new(desk);
    if (desk->current == NULL || desk->post == NULL || make_listeners(desk) < 0 ||
        th_endpoints_new(desk, &desk->endpoints) < 0 || th_audit_post_begin(desk) < 0) {
        th_proxy_desk_free(desk);
        return TH_E_NOMEM;
    }
    if (desk->access_log != NULL || desk->audit_log != NULL)
        th_timer_set(&desk->worker->wheel, &desk->flush, desk->worker->now_ms + FLUSH_MS);
    desk->worker->proxy = desk;
    *ret_desk = desk;
    return 0;
}

static void close_listeners(struct th_proxy_desk *desk)
{
    for (size_t i = 0; i < desk->n_listeners; i++)
        desk->listeners[i].listener = th_listener_free(desk->listeners[i].listener);
    th_desk_close_doors(desk);
}

static void close_sessions(struct th_proxy_desk *desk, bool idle_only)
{
    struct th_list *all[] = {&desk->newcomers, &desk->sessions};

    for (size_t i = 0; i < TH_COUNT_OF(all); i++)
        TH_LIST_EACH(item, all[i]) {
            struct th_session *session = TH_LIST_ENTRY(item, struct th_session, link);
            if (!idle_only || session->hop == NULL)
                th_session_close(session);
        }
}

struct th_proxy_desk *th_proxy_desk_free(struct th_proxy_desk *desk)
{
    struct th_list *item;

    if (desk == NULL)
        return NULL;
    desk->on_drained = NULL;
    close_listeners(desk);
    close_sessions(desk, false);
    th_shadow_end(desk);
    th_origin_pool_clear(&desk->origins);
    th_endpoints_free(desk->endpoints);
    th_timer_stop(&desk->worker->wheel, &desk->flush);
    th_timer_stop(&desk->worker->wheel, &desk->trim);
    th_timer_stop(&desk->worker->wheel, &desk->drain);
    while ((item = th_list_pop_front(&desk->free_hops)) != NULL)
        th_free(TH_LIST_ENTRY(item, struct th_hop, link));
    th_access_flush(desk->access_log);
    th_audit_flush(desk->audit_log);
    th_snapshot_use_retire(desk->current);
    desk->worker->proxy = NULL; /* messages may still come */
    post_free(desk->post);
    th_audit_post_end(desk);
    th_free(desk->listeners);
    th_free(desk);
    return NULL;
}

static void on_accept(void *arg, int fd, const struct th_address *peer)
{
    th_session_new(arg, fd, peer);
}

int th_proxy_desk_listen(struct th_proxy_desk *desk, struct th_errinfo *reterr)
{
    const struct th_config_view *config = th_desk_config(desk);

    for (size_t i = 0; i < desk->n_listeners; i++) {
        struct th_address address;
        if (th_listener_is_shared(&config->listeners[i]))
            continue; /* th_proxy_listen() */
        int error = th_address_from_sockaddr((const struct sockaddr *)&config->listeners[i].address,
                                             config->listeners[i].address_len, &address);
        if (error == 0)
            error = th_listener_new(desk->worker, &address, BACKLOG, on_accept, &desk->listeners[i],
                                    &desk->listeners[i].listener, reterr);
        if (error == 0 && desk->listeners[i].by_tproxy)
            error = th_listener_set_transparent(desk->listeners[i].listener, reterr);
        if (error < 0)
            return error;
    }
    return 0;
}

void th_proxy_desk_accept(struct th_proxy_desk *desk, size_t listener, int fd,
                          const struct th_address *peer)
{
    TH_REQUIRE(listener < desk->n_listeners);
    th_session_new(&desk->listeners[listener], fd, peer);
}

/* --- drain --- */

static void on_drain_deadline(struct th_timer *timer)
{
    struct th_proxy_desk *desk = TH_CONTAINER_OF(timer, struct th_proxy_desk, drain);

    close_sessions(desk, false);
}

void th_desk_session_gone(struct th_proxy_desk *desk)
{
    void (*fn)(struct th_proxy_desk * desk, void *arg) = desk->on_drained;

    if (!desk->draining || fn == NULL || desk->n_sessions > 0)
        return;
    desk->on_drained = NULL;
    th_timer_stop(&desk->worker->wheel, &desk->drain);
    fn(desk, desk->on_drained_arg);
}

void th_proxy_desk_drain(struct th_proxy_desk *desk, int64_t deadline_ms,
                         void (*fn)(struct th_proxy_desk *desk, void *arg), void *arg)
{
    desk->draining = true;
    desk->on_drained = fn;
    desk->on_drained_arg = arg;
    close_listeners(desk);
    if (desk->n_sessions > 0) {
        th_timer_set(&desk->worker->wheel, &desk->drain, deadline_ms);
        close_sessions(desk, true);
    }
    th_origin_pool_clear(&desk->origins);
    th_desk_session_gone(desk);
}

/* --- reload --- */

static void go_over(struct th_proxy_desk *desk, struct th_snapshot_use *use)
{
    struct th_snapshot_use *before = desk->current;

    desk->current = use;
    th_origin_pool_renew(&desk->origins); /* what the old one permitted, the new one may not */
    th_snapshot_use_retire(before);
    for (size_t i = 0; i < desk->n_listeners; i++)
        renew_listener(desk->current->snapshot, &desk->listeners[i]);
    th_endpoints_renew(desk->endpoints);
}

static void on_post(struct th_job *job)
{
    struct th_desk_post *post = TH_CONTAINER_OF(job, struct th_desk_post, job);

    if (post->desk == NULL)
        th_free(post);
    else
        go_over(post->desk, atomic_exchange_explicit(&post->next, NULL, memory_order_acq_rel));
}

void th_proxy_desk_switch(struct th_proxy_desk *desk, struct th_snapshot_use *use)
{
    struct th_desk_post *post = desk->post;
    struct th_snapshot_use *before =
        atomic_exchange_explicit(&post->next, use, memory_order_acq_rel);

    if (before == NULL)
        th_worker_post_job(desk->worker, &post->job);
    else
        th_snapshot_use_retire(before); /* it has not been seen, and will not be */
}

static struct th_desk_post *post_new(struct th_proxy_desk *desk)
{
    struct th_desk_post *post = th_calloc(1, sizeof *post);

    if (post != NULL) {
        post->desk = desk;
        post->job.done = on_post;
        atomic_init(&post->next, NULL);
    }
    return post;
}

/* The worker has stopped. */
static void post_free(struct th_desk_post *post)
{
    if (post == NULL)
        return;
    struct th_snapshot_use *use = atomic_exchange(&post->next, NULL);
    post->desk = NULL;
    th_snapshot_use_retire(use);
    if (use == NULL)
        th_free(post); /* else its job is with the worker, and frees it */
}

void th_proxy_desk_count(const struct th_proxy_desk *desk, struct th_proxy_figures *ret_figures)
{
    ret_figures->sessions = desk->n_sessions;
    ret_figures->hops = desk->n_hops;
    ret_figures->origins_idle = desk->origins.n_idle;
}
