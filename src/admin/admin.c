#include "tokenhop/admin/admin.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "admin_private.h"
#include "tokenhop/base/mem.h"

#define BEAT_MS 1000
#define MAILBOX_SIZE 1024
#define LAST_TURNS 16

/* --- the workers' loops --- */

static void on_beat(struct th_worker *worker, const struct th_message *message)
{
    struct th_admin_beat *beat = message->payload;
    atomic_store_explicit(&beat->answered_ms, th_clock_monotonic_ms(worker->clock),
                          memory_order_relaxed);
    atomic_store_explicit(&beat->asked, false, memory_order_release);
}

/* Asks each worker for a sign, but for those that owe one: a loop that has stalled is not sent more. */
static void on_ask(struct th_timer *timer)
{
    struct th_admin *admin = TH_CONTAINER_OF(timer, struct th_admin, beat);
    for (size_t i = 0; i < admin->n_beats; i++) {
        struct th_admin_beat *beat = &admin->beats[i];
        struct th_message message = {.fn = on_beat, .payload = beat};
        if (atomic_exchange_explicit(&beat->asked, true, memory_order_acquire))
            continue;
        if (th_mailbox_post(beat->mailbox, &message) < 0)
            atomic_store_explicit(&beat->asked, false, memory_order_relaxed);
    }
    th_timer_set(&admin->worker->wheel, timer, admin->worker->now_ms + BEAT_MS);
}

/* --- made and ended --- */

static int fill(struct th_admin *admin, const struct th_admin_options *options)
{
    struct th_worker_options worker = {
        .index = (unsigned)options->n_workers,
        .log = options->log,
        .metrics = th_metrics_shard(options->metrics, TH_METRICS_SHARED),
        .mailbox_size = MAILBOX_SIZE,
        .keep_chunks = 1,
    };

    admin->config_path = th_strdup(options->config_path);
    admin->beats = th_calloc(options->n_workers + 1, sizeof *admin->beats);
    if (admin->config_path == NULL || admin->beats == NULL)
        return TH_E_NOMEM;
    admin->n_beats = options->n_workers;
    for (size_t i = 0; i < admin->n_beats; i++)
        admin->beats[i].mailbox = options->workers[i]->mailbox;
    admin->command_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (admin->command_fd < 0)
        return TH_E_IO;
    int error = th_worker_new(&worker, &admin->worker);
    if (error < 0)
        return error;
    admin->started_ms = th_clock_monotonic_ms(admin->worker->clock);
    admin->started_wall_ms = th_clock_wall_ms(admin->worker->clock);
    admin->loaded.config = th_config_ref(options->config);
    admin->loaded.loaded_wall_ms = admin->started_wall_ms;
    return 0;
}

int th_admin_new(const struct th_admin_options *options, struct th_admin **ret_admin,
                 struct th_errinfo *reterr)
{
    struct th_admin *admin = th_calloc(1, sizeof *admin);
    int fd;

    if (admin == NULL)
        return TH_E_NOMEM;
    admin->metrics = options->metrics;
    admin->broker = options->broker;
    admin->revoker = options->revoker;
    admin->breakers = options->breakers;
    admin->grants = options->grants;
    admin->log = options->log;
    admin->command_fd = -1;
    th_list_init(&admin->peers);
    th_timer_init(&admin->beat, on_ask);
    TH_REQUIRE(pthread_mutex_init(&admin->lock, NULL) == 0);
    int error = fill(admin, options);
    if (error == 0)
        error = th_socket_listen(admin, &th_config_get(options->config)->admin, &fd, reterr);
    if (error == 0)
        error = th_listener_new_fd(admin->worker, fd, th_peer_accept, admin, &admin->listener);
    if (error < 0) {
        th_admin_stop(admin);
        th_admin_free(admin);
        return error;
    }
    *ret_admin = admin;
    return 0;
}

static void *run(void *arg)
{
    struct th_admin *admin = arg;
    on_ask(&admin->beat);
    th_worker_run(admin->worker);
    return NULL;
}

int th_admin_start(struct th_admin *admin, struct th_errinfo *reterr)
{
    if (pthread_create(&admin->thread, NULL, run, admin) != 0)
        return th_errinfo_set(reterr, TH_E_IO, NULL, "raise the limit of threads",
                              "the thread of the admin listener could not be started");
    admin->started = true;
    (void)pthread_setname_np(admin->thread, "admin");
    return 0;
}

void th_admin_stop(struct th_admin *admin)
{
    if (admin == NULL)
        return;
    if (admin->started) {
        th_worker_stop(admin->worker);
        pthread_join(admin->thread, NULL);
        admin->started = false;
        /* Who asked for the end is told that it has begun. */
        for (int i = 0; i < LAST_TURNS && th_worker_turn(admin->worker); i++) {
        }
    }
    admin->listener = th_listener_free(admin->listener);
    th_unix_remove(&admin->socket);
    if (admin->worker != NULL) {
        th_peer_close_all(admin);
        th_timer_stop(&admin->worker->wheel, &admin->beat);
    }
}

struct th_admin *th_admin_free(struct th_admin *admin)
{
    if (admin == NULL)
        return NULL;
    th_worker_free(admin->worker);
    if (admin->command_fd >= 0)
        close(admin->command_fd);
    th_config_unref(admin->loaded.config);
    pthread_mutex_destroy(&admin->lock);
    th_free(admin->beats);
    th_free(admin->config_path);
    th_free(admin);
    return NULL;
}

/* --- commands --- */

int th_admin_command_fd(const struct th_admin *admin)
{
    return admin->command_fd;
}

int th_route_command(struct th_admin_request *request, struct th_admin_answer *answer,
                     enum th_admin_verb verb)
{
    struct th_admin *admin = request->admin;
    uint64_t one = 1;

    pthread_mutex_lock(&admin->lock);
    bool full = admin->n_commands == TH_ADMIN_COMMANDS_MAX;
    if (!full)
        admin->commands[admin->n_commands++] =
            (struct th_admin_command){.verb = verb, .asker = request->asker};
    pthread_mutex_unlock(&admin->lock);
    if (full)
        return th_answer_refuse(answer, 503, "too many commands are waiting");
    ssize_t n = write(admin->command_fd, &one, sizeof one);
    (void)n; /* it fails when the count is full: it is readable then */
    return TH_AGAIN;
}

bool th_admin_take_command(struct th_admin *admin, struct th_admin_command *ret_command)
{
    uint64_t count;

    pthread_mutex_lock(&admin->lock);
    bool found = admin->n_commands > 0;
    if (found) {
        *ret_command = admin->commands[0];
        admin->n_commands--;
        memmove(admin->commands, admin->commands + 1,
                admin->n_commands * sizeof admin->commands[0]);
    } else {
        /* Under the lock: a command that comes now makes it readable again. */
        ssize_t n = read(admin->command_fd, &count, sizeof count);
        (void)n;
    }
    pthread_mutex_unlock(&admin->lock);
    return found;
}

struct reply {
    struct th_admin *admin;
    uint64_t asker;
    struct th_admin_answer answer;
};

static void on_reply(struct th_worker *worker, const struct th_message *message)
{
    struct reply *reply = message->payload;
    (void)worker;
    th_peer_answer(reply->admin, reply->asker, &reply->answer);
    th_free(reply);
}

static json_t *mistake_to_json(const struct th_config_mistake *mistake)
{
    return json_pack("{s:I, s:I, s:o, s:o, s:o}", "line", (json_int_t)mistake->line, "column",
                     (json_int_t)mistake->column, "path", th_json_text(th_str_of(mistake->path)),
                     "what", th_json_text(th_str_of(mistake->what)), "mend",
                     th_json_text(th_str_of(mistake->mend)));
}

static json_t *outcome_to_json(const struct th_admin *admin, enum th_admin_verb verb, int error,
                               const struct th_config_mistakes *mistakes)
{
    if (error == 0)
        return json_pack("{s:b}", verb == TH_ADMIN_RELOAD ? "reloaded" : "draining", 1);
    json_t *list = json_array();
    for (size_t i = 0; mistakes != NULL && i < mistakes->count; i++)
        json_array_append_new(list, mistake_to_json(&mistakes->items[i]));
    return json_pack("{s:s, s:o, s:o, s:I}", "error",
                     mistakes != NULL && mistakes->count > 0
                         ? "the configuration has mistakes; the one before is still in force"
                         : th_error_get(error)->title,
                     "file", th_json_text(th_str_of(admin->config_path)), "mistakes", list,
                     "left_out", (json_int_t)(mistakes != NULL ? mistakes->left_out : 0));
}

void th_admin_answer(struct th_admin *admin, const struct th_admin_command *command, int error,
                     const struct th_config_mistakes *mistakes)
{
    struct reply *reply = th_calloc(1, sizeof *reply);
    struct th_message message = {.fn = on_reply, .payload = reply};

    if (reply == NULL)
        return; /* who asked is told by its timer */
    reply->admin = admin;
    reply->asker = command->asker;
    th_buf_init(&reply->answer.body, TH_ADMIN_ANSWER_MAX);
    (void)th_answer_json(&reply->answer,
                         error == 0             ? 200
                         : error == TH_E_CONFIG ? 422
                                                : 503,
                         outcome_to_json(admin, command->verb, error, mistakes));
    if (th_mailbox_post(admin->worker->mailbox, &message) == 0)
        return;
    th_buf_fini(&reply->answer.body);
    th_free(reply);
}

/* --- what has changed --- */

void th_admin_note_reload(struct th_admin *admin, struct th_config *config, size_t n_mistakes)
{
    int64_t now_ms = th_clock_wall_ms(admin->worker->clock);
    struct th_config *before = NULL;

    pthread_mutex_lock(&admin->lock);
    if (config != NULL) {
        before = admin->loaded.config;
        admin->loaded = (struct th_admin_loaded){th_config_ref(config), now_ms, 0, 0};
    } else {
        admin->loaded.refused_wall_ms = now_ms;
        admin->loaded.n_mistakes = n_mistakes;
    }
    pthread_mutex_unlock(&admin->lock);
    th_config_unref(before);
}

void th_admin_note_drain(struct th_admin *admin)
{
    atomic_store_explicit(&admin->draining, true, memory_order_relaxed);
}
