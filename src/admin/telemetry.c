#include "tokenhop/admin/telemetry.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "otlp.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/random.h"
#include "tokenhop/net/fetch.h"
#include "tokenhop/observe/log.h"

#define TICK_MS 1000
#define BATCH 256
#define BODY_MAX (4u << 20)
#define ANSWER_MAX 65536
#define FETCH_MS 10000
#define TRIES_MAX 5
#define PAUSE_MS 1000 /* doubled by each try */
#define PAUSE_MAX_MS 30000
#define FINISH_MS 2000

/* One kind of message on its way: the body is kept until it has been taken or given up. */
struct channel {
    struct th_telemetry *telemetry;
    const char *name;
    char *url;
    struct th_buf body; /* empty: nothing is under way */
    size_t n_spans;     /* in it */
    unsigned n_tries;
    int64_t again_ms; /* it is sent again then; 0: a request is under way */
    struct th_fetch *fetch;
};

struct th_telemetry {
    struct th_worker *worker;
    struct th_fetcher *fetcher;
    struct th_config *config;
    struct th_spans *spans;
    struct th_metrics *metrics;
    struct th_metrics_shard *shard;
    struct th_log *log;
    struct th_otlp_resource resource;
    struct channel traces, metric_points;
    int64_t metrics_due_ms;
    int64_t finish_ms;  /* 0: goes on; else it ends by then */
    uint64_t n_dropped; /* spans, as far as they were counted */
    struct th_timer tick;
    pthread_t thread;
    bool started;
    struct th_span batch[BATCH];
};

static const struct th_config_telemetry *config_of(const struct th_telemetry *telemetry)
{
    return &th_config_get(telemetry->config)->telemetry;
}

/* --- a message --- */

static void count_spans(struct channel *channel, enum th_metric metric)
{
    if (channel->n_spans > 0)
        th_metrics_add(channel->telemetry->shard, metric, (int64_t)channel->n_spans);
}

static void clear(struct channel *channel)
{
    th_buf_clear(&channel->body);
    channel->n_spans = 0;
    channel->n_tries = 0;
    channel->again_ms = 0;
}

static void give_up(struct channel *channel, int status, const char *why)
{
    count_spans(channel, TH_METRIC_SPANS_FAILED);
    TH_LOG(channel->telemetry->log, TH_LEVEL_WARN, "telemetry.failed",
           "The collector did not take a message", TH_LOG_TEXT("what", channel->name),
           TH_LOG_INT("status", status), TH_LOG_TEXT("detail", why),
           TH_LOG_UINT("tries", channel->n_tries), TH_LOG_UINT("spans", channel->n_spans));
    clear(channel);
}

/* OTLP/HTTP: these are to be tried again, all others are not. */
static bool is_passing(int error, int status)
{
    if (error != 0)
        return error == TH_E_EXCHANGE_DOWN || error == TH_E_EXCHANGE_TIMEOUT;
    return status == 429 || status == 502 || status == 503 || status == 504;
}

static void put_off(struct channel *channel, int64_t retry_after_ms)
{
    int64_t pause_ms = PAUSE_MS << (channel->n_tries - 1);
    if (retry_after_ms > pause_ms)
        pause_ms = retry_after_ms;
    if (pause_ms > PAUSE_MAX_MS)
        pause_ms = PAUSE_MAX_MS;
    channel->again_ms = channel->telemetry->worker->now_ms + pause_ms;
}

static void run(struct th_telemetry *telemetry);

static void on_answer(void *arg, int error, const struct th_fetch_response *response,
                      const char *detail)
{
    struct channel *channel = arg;
    struct th_telemetry *telemetry = channel->telemetry;
    int status = error == 0 ? response->status : 0;

    channel->fetch = NULL;
    if (error == 0 && status >= 200 && status <= 299) {
        count_spans(channel, TH_METRIC_SPANS_EXPORTED);
        clear(channel);
    } else if (is_passing(error, status) && channel->n_tries < TRIES_MAX &&
               telemetry->finish_ms == 0) {
        put_off(channel, error == 0 ? response->retry_after_ms : -1);
    } else {
        give_up(channel, status, error != 0 ? detail : "refused");
    }
    run(telemetry);
}

static void send_body(struct channel *channel)
{
    struct th_telemetry *telemetry = channel->telemetry;
    const struct th_config_telemetry *config = config_of(telemetry);
    struct th_fetch_request request = {
        .url = th_str_of(channel->url),
        .body = th_buf_str(&channel->body),
        .content_type = TH_STR("application/json"),
        .authorization =
            config->authorization != NULL ? th_secret_expose(config->authorization) : TH_STR_NONE,
        .ca_file = config->ca_file,
        .allow_cleartext = config->allow_cleartext,
        .timeout_ms = telemetry->finish_ms != 0 ? FINISH_MS : FETCH_MS,
        .max_bytes = ANSWER_MAX,
    };

    channel->again_ms = 0;
    channel->n_tries++;
    int error = telemetry->fetcher->start(telemetry->fetcher, &request, on_answer, channel,
                                          &channel->fetch);
    if (error != 0) {
        channel->fetch = NULL;
        give_up(channel, 0, th_error_get(error)->title);
    }
}

/* --- what is to be sent --- */

static bool is_busy(const struct channel *channel)
{
    return channel->fetch != NULL || channel->again_ms != 0;
}

static void send_spans(struct th_telemetry *telemetry)
{
    struct channel *channel = &telemetry->traces;
    size_t n = is_busy(channel) ? 0 : th_spans_take(telemetry->spans, telemetry->batch, BATCH);

    if (n == 0)
        return;
    th_otlp_write_traces(&channel->body, &telemetry->resource, telemetry->batch, n);
    channel->n_spans = n;
    if (channel->body.failed)
        give_up(channel, 0, "out of memory");
    else
        send_body(channel);
}

static void send_metrics(struct th_telemetry *telemetry)
{
    struct channel *channel = &telemetry->metric_points;
    int64_t interval_ms = config_of(telemetry)->metrics_interval_ms;

    if (interval_ms == 0 || is_busy(channel) ||
        telemetry->worker->now_ms < telemetry->metrics_due_ms)
        return;
    telemetry->metrics_due_ms = telemetry->worker->now_ms + interval_ms;
    th_otlp_write_metrics(&channel->body, &telemetry->resource, telemetry->metrics,
                          th_clock_wall_ms(telemetry->worker->clock));
    if (channel->body.failed)
        give_up(channel, 0, "out of memory");
    else
        send_body(channel);
}

static void send_again(struct channel *channel)
{
    if (channel->again_ms != 0 && (channel->again_ms <= channel->telemetry->worker->now_ms ||
                                   channel->telemetry->finish_ms != 0))
        send_body(channel);
}

static void count_dropped(struct th_telemetry *telemetry)
{
    uint64_t n = th_spans_dropped(telemetry->spans);
    th_metrics_add(telemetry->shard, TH_METRIC_SPANS_DROPPED, (int64_t)(n - telemetry->n_dropped));
    telemetry->n_dropped = n;
}

static void run(struct th_telemetry *telemetry)
{
    send_again(&telemetry->traces);
    send_again(&telemetry->metric_points);
    send_spans(telemetry);
    send_metrics(telemetry);
    bool idle = !is_busy(&telemetry->traces) && !is_busy(&telemetry->metric_points);
    if (telemetry->finish_ms != 0 && (idle || telemetry->worker->now_ms >= telemetry->finish_ms))
        th_worker_stop(telemetry->worker);
}

static void on_tick(struct th_timer *timer)
{
    struct th_telemetry *telemetry = TH_CONTAINER_OF(timer, struct th_telemetry, tick);
    count_dropped(telemetry);
    th_timer_set(&telemetry->worker->wheel, timer, telemetry->worker->now_ms + TICK_MS);
    run(telemetry);
}

/* --- made and ended --- */

static int make_channel(struct th_telemetry *telemetry, struct channel *channel, const char *name)
{
    struct th_str base = config_of(telemetry)->otlp_endpoint;
    size_t size = base.len + strlen(name) + 5;

    channel->telemetry = telemetry;
    channel->name = name;
    th_buf_init(&channel->body, BODY_MAX);
    channel->url = th_malloc(size);
    if (channel->url == NULL)
        return TH_E_NOMEM;
    snprintf(channel->url, size, "%.*s/v1/%s", TH_STR_ARGS(base), name);
    return 0;
}

int th_telemetry_new(const struct th_telemetry_options *options,
                     struct th_telemetry **ret_telemetry)
{
    struct th_telemetry *telemetry = th_calloc(1, sizeof *telemetry);
    struct th_worker_options worker = {
        .clock = options->clock,
        .log = options->log,
        .metrics = th_metrics_shard(options->metrics, TH_METRICS_SHARED),
        .mailbox_size = 16,
        .keep_chunks = 1,
    };
    uint64_t random;

    if (telemetry == NULL)
        return TH_E_NOMEM;
    telemetry->config = th_config_ref(options->config);
    telemetry->spans = options->spans;
    telemetry->metrics = options->metrics;
    telemetry->shard = worker.metrics;
    telemetry->log = options->log;
    telemetry->resource.service_name = config_of(telemetry)->service_name;
    th_random_bytes(&random, sizeof random);
    snprintf(telemetry->resource.instance, sizeof telemetry->resource.instance, "%016llx",
             (unsigned long long)random);
    th_timer_init(&telemetry->tick, on_tick);
    int error = th_worker_new(&worker, &telemetry->worker);
    if (error == 0)
        error = th_fetcher_new_curl(telemetry->worker, &telemetry->fetcher);
    if (error == 0)
        error = make_channel(telemetry, &telemetry->traces, "traces");
    if (error == 0)
        error = make_channel(telemetry, &telemetry->metric_points, "metrics");
    if (error != 0) {
        th_telemetry_free(telemetry);
        return error;
    }
    telemetry->metrics_due_ms =
        telemetry->worker->now_ms + config_of(telemetry)->metrics_interval_ms;
    th_timer_set(&telemetry->worker->wheel, &telemetry->tick, telemetry->worker->now_ms + TICK_MS);
    *ret_telemetry = telemetry;
    return 0;
}

static void *run_thread(void *arg)
{
    struct th_telemetry *telemetry = arg;
    th_worker_run(telemetry->worker);
    return NULL;
}

int th_telemetry_start(struct th_telemetry *telemetry, struct th_errinfo *reterr)
{
    if (pthread_create(&telemetry->thread, NULL, run_thread, telemetry) != 0)
        return th_errinfo_set(reterr, TH_E_IO, NULL, "raise the limit of threads",
                              "the thread of the exporter could not be started");
    telemetry->started = true;
    (void)pthread_setname_np(telemetry->thread, "telemetry");
    return 0;
}

/* The last metrics too, so that what happened since the interval began is not lost. */
static void on_finish(struct th_worker *worker, const struct th_message *message)
{
    struct th_telemetry *telemetry = message->payload;
    telemetry->finish_ms = worker->now_ms + FINISH_MS;
    telemetry->metrics_due_ms = 0;
    count_dropped(telemetry);
    run(telemetry);
    telemetry->metrics_due_ms = INT64_MAX;
}

static void stop(struct th_telemetry *telemetry)
{
    struct th_message message = {.fn = on_finish, .payload = telemetry};

    if (!telemetry->started)
        return;
    if (th_mailbox_post(telemetry->worker->mailbox, &message) < 0)
        th_worker_stop(telemetry->worker);
    pthread_join(telemetry->thread, NULL);
}

static void free_channel(struct channel *channel)
{
    if (channel->telemetry == NULL)
        return;
    th_buf_fini(&channel->body);
    th_free(channel->url);
}

struct th_telemetry *th_telemetry_free(struct th_telemetry *telemetry)
{
    if (telemetry == NULL)
        return NULL;
    stop(telemetry);
    if (telemetry->fetcher != NULL)
        telemetry->fetcher->free(telemetry->fetcher);
    if (telemetry->worker != NULL)
        th_timer_stop(&telemetry->worker->wheel, &telemetry->tick);
    th_worker_free(telemetry->worker);
    free_channel(&telemetry->traces);
    free_channel(&telemetry->metric_points);
    th_config_unref(telemetry->config);
    th_free(telemetry);
    return NULL;
}
