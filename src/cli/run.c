/* tokenhop run: the proxy in the foreground.
 *
 * SIGTERM, SIGINT  drain, revoke (revoke_on_exit), then end; a second one ends at once
 * SIGHUP           read the configuration and open the log files anew
 *
 * A file that the configuration names and that was written is as good as a SIGHUP for it. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "harden.h"
#include "notify.h"
#include "options.h"
#include "service.h"
#include "tokenhop/admin/admin.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/cli/command.h"
#include "tokenhop/config/load.h"
#include "tokenhop/net/activation.h"
#include "watch.h"

static const char usage[] =
    "usage: tokenhop run -c FILE\n"
    "\n"
    "Runs the proxy in the foreground, until SIGTERM or SIGINT: then it takes no more connections,\n"
    "lets requests end (timeouts.drain), revokes the credentials it keeps (revoke_on_exit), and ends; a\n"
    "second signal ends it at once. SIGHUP reads the configuration anew: requests that begin\n"
    "afterwards go by it; a file with mistakes changes nothing.\n"
    "The files that it names (keys, secrets, certificates) are read anew when they were written.\n"
    "\n"
    "  -c, --config FILE   the configuration\n"
    "  -h, --help          this text\n";

static bool admin_stays(const struct th_config_view *before, const struct th_config_view *after)
{
    return th_str_equal(before->admin.address_text, after->admin.address_text) &&
           before->admin.for_group == after->admin.for_group;
}

static bool listener_stays(const struct th_config_listener *before,
                           const struct th_config_listener *after)
{
    return !th_str_equal(before->name, after->name) ||
           (th_str_equal(before->address_text, after->address_text) &&
            before->mode == after->mode && before->is_https == after->is_https &&
            before->original == after->original && before->tls.is_spoken == after->tls.is_spoken &&
            before->socket_mode == after->socket_mode &&
            before->socket_group == after->socket_group && before->by_tproxy == after->by_tproxy);
}

/* What is taken away or added waits for the next start; it is open, or not, as it was. */
static bool listeners_stay(const struct th_config_view *before, const struct th_config_view *after)
{
    for (size_t i = 0; i < before->n_listeners; i++) {
        for (size_t j = 0; j < after->n_listeners; j++) {
            if (!listener_stays(&before->listeners[i], &after->listeners[j]))
                return false;
        }
    }
    return true;
}

/* Listeners stay where they are and what they are: the gate keeps hops away from where the configuration
 * says that they are, and who was given answers is not of a sudden given credentials. */
static int check_places(const struct th_config *before, const struct th_config *after,
                        struct th_config_mistakes *mistakes)
{
    static const struct th_config_mistake admin_moved = {
        .path = "$.admin",
        .what = "the admin listener cannot be moved while tokenhop runs",
        .mend = "restart it, or put back its address and mode",
    };
    static const struct th_config_mistake listener_moved = {
        .path = "$.listeners",
        .what = "a listener cannot be moved, or get another mode, while tokenhop runs",
        .mend = "restart it, or put back what was there",
    };
    const struct th_config_view *old = th_config_get(before), *new = th_config_get(after);
    const struct th_config_mistake *mistake = !admin_stays(old, new)      ? &admin_moved
                                              : !listeners_stay(old, new) ? &listener_moved
                                                                          : NULL;
    if (mistake == NULL)
        return 0;
    mistakes->items = th_calloc(1, sizeof *mistakes->items);
    if (mistakes->items == NULL)
        return TH_E_NOMEM;
    mistakes->count = 1;
    mistakes->items[0] = *mistake;
    return TH_E_CONFIG;
}

/* What runs, and what it is told by. */
struct house {
    struct th_service *service;
    struct th_watch *watch;
    struct th_harden harden;
    const char *path; /* of the configuration file */
    int signal_fd;
    int notify_fd; /* of the supervisor; -1: none */
    bool draining;
};

/* At start and with every reload, so that nobody forgets them. */
static void warn_of_shadows(struct th_log *log, const struct th_config_view *config)
{
    for (size_t i = 0; i < config->n_connections; i++)
        if (config->connections[i].shadow != TH_SHADOW_OFF)
            TH_LOG(log, TH_LEVEL_WARN, "connection.in_shadow",
                   "A connection is in shadow: requests go on as they come, nothing is enforced",
                   TH_LOG_STR("connection", config->connections[i].name),
                   TH_LOG_TEXT("shadow", th_config_shadow_name(config->connections[i].shadow)));
}

/* Whoever asked for it: `command` of the admin listener, `file` that was written, or neither for a
 * signal. */
static void reload(struct house *house, const struct th_admin_command *command, struct th_str file)
{
    struct th_config_mistakes mistakes = {0};
    struct th_config *config = NULL;
    struct th_service *service = house->service;
    struct th_log *log = th_service_log(service);
    struct th_admin *admin = th_service_admin(service);

    th_notify_reloading(house->notify_fd);
    th_watch_begin(house->watch);
    int error = th_config_load(house->path, &config, &mistakes);

    if (error == 0)
        error = check_places(th_service_config(service), config, &mistakes);
    if (error == 0)
        error = th_service_reload(service, config);
    if (error == 0) {
        TH_LOG(log, TH_LEVEL_INFO, "config.reloaded", "The configuration was read anew",
               TH_LOG_STR("file", file));
        warn_of_shadows(log, th_config_get(config));
    }
    for (size_t i = 0; i < mistakes.count; i++)
        TH_LOG(log, TH_LEVEL_ERROR, "config.mistake", "The configuration has a mistake",
               TH_LOG_UINT("line", mistakes.items[i].line),
               TH_LOG_UINT("column", mistakes.items[i].column),
               TH_LOG_TEXT("path", mistakes.items[i].path),
               TH_LOG_TEXT("what", mistakes.items[i].what),
               TH_LOG_TEXT("mend", mistakes.items[i].mend));
    if (error != 0)
        TH_LOG(log, TH_LEVEL_ERROR, "config.kept", "The configuration was not changed",
               TH_LOG_ERR("error", error), TH_LOG_STR("file", file));
    if (error == 0)
        th_watch_follow(house->watch, config);
    else
        th_watch_note_failure(house->watch);
    th_service_count_reload(service, error == 0);
    if (admin != NULL)
        th_admin_note_reload(admin, error == 0 ? config : NULL, mistakes.count + mistakes.left_out);
    if (command != NULL)
        th_admin_answer(admin, command, error, &mistakes);
    th_config_mistakes_fini(&mistakes);
    th_config_unref(config);
    if (file.len == 0)
        th_service_reopen_logs(service);
    th_notify_ready(house->notify_fd);
}

static void drain(struct house *house)
{
    struct th_service *service = house->service;

    th_notify_stopping(house->notify_fd);
    TH_LOG(th_service_log(service), TH_LEVEL_INFO, "service.draining",
           "No more connections are taken; requests under way may end");
    if (th_service_admin(service) != NULL)
        th_admin_note_drain(th_service_admin(service));
    th_service_drain(service);
}

/* What the admin listener was asked for. */
static void run_commands(struct house *house)
{
    struct th_admin *admin = th_service_admin(house->service);
    struct th_admin_command command;

    while (admin != NULL && th_admin_take_command(admin, &command)) {
        switch (command.verb) {
        case TH_ADMIN_RELOAD:
            reload(house, &command, TH_STR_NONE);
            break;
        case TH_ADMIN_DRAIN:
            if (!house->draining)
                drain(house);
            house->draining = true;
            th_admin_answer(admin, &command, 0, NULL);
            break;
        }
    }
}

/* A key that was rotated, a secret that was written anew. */
static void look_at_files(struct house *house)
{
    struct th_str file;

    if (!house->draining && th_watch_look(house->watch, &file))
        reload(house, NULL, file);
}

/* The number of a signal, 0 when there is something else to do, or nothing for a while. */
static int wait_for_signal(const struct house *house)
{
    struct th_admin *admin = th_service_admin(house->service);
    struct signalfd_siginfo signal;
    struct pollfd fds[] = {
        {.fd = house->signal_fd, .events = POLLIN},
        {.fd = admin != NULL ? th_admin_command_fd(admin) : -1, .events = POLLIN},
    };
    int wait_ms = house->draining ? 20 : (int)th_watch_due_in(house->watch, 1000);

    (void)poll(fds, TH_COUNT_OF(fds), wait_ms);
    ssize_t n = read(house->signal_fd, &signal, sizeof signal);
    return n == (ssize_t)sizeof signal ? (int)signal.ssi_signo : 0;
}

/* Nobody is served any more. */
static void revoke_kept(struct house *house)
{
    th_service_revoke(house->service);
    while (!th_service_is_revoked(house->service)) {
        int signal = wait_for_signal(house);
        if (signal == SIGTERM || signal == SIGINT)
            return;
        run_commands(house);
        th_service_tick(house->service);
    }
}

/* Serves until a signal or command asks to end. */
static void serve(struct house *house)
{
    while (!house->draining || !th_service_is_drained(house->service)) {
        int signal = wait_for_signal(house);
        if (signal == SIGHUP) {
            reload(house, NULL, TH_STR_NONE);
        } else if (signal == SIGTERM || signal == SIGINT) {
            if (house->draining)
                return;
            house->draining = true;
            drain(house);
        } else {
            run_commands(house);
            look_at_files(house);
            th_service_tick(house->service);
        }
    }
    revoke_kept(house);
}

static void say_ready(struct th_service *service, const struct th_config_view *config)
{
    for (size_t i = 0; i < config->n_listeners; i++)
        TH_LOG(th_service_log(service), TH_LEVEL_INFO, "service.listening", "A listener is open",
               TH_LOG_STR("listener", config->listeners[i].name),
               TH_LOG_STR("address", config->listeners[i].address_text),
               TH_LOG_STR("agent", config->listeners[i].agent != NULL
                                       ? config->listeners[i].agent->name
                                       : TH_STR("of the caller")));
    if (th_service_admin(service) != NULL)
        TH_LOG(th_service_log(service), TH_LEVEL_INFO, "service.admin",
               "The admin listener is open", TH_LOG_STR("address", config->admin.address_text));
    warn_of_shadows(th_service_log(service), config);
    TH_LOG(th_service_log(service), TH_LEVEL_INFO, "service.ready", "tokenhop is ready",
           TH_LOG_TEXT("version", TH_VERSION), TH_LOG_UINT("workers", config->workers),
           TH_LOG_UINT("connections", config->n_connections), TH_LOG_INT("pid", getpid()));
}

/* Blocks the signals, before threads start, so that none gets them, and opens what they are read
 * from. */
static int open_signals(struct th_errinfo *reterr)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    int fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0)
        th_errinfo_set(reterr, TH_E_IO, NULL, NULL, "signalfd: %s", strerror(errno));
    return fd;
}

/* Nobody is served yet. */
static int finish_hardening(struct house *house, const struct th_config *config,
                            struct th_errinfo *reterr)
{
    int error = th_harden_finish(&house->harden, config, reterr);
    struct th_admin *admin = th_service_admin(house->service);

    if (error == 0 && admin != NULL)
        th_admin_note_hardening(admin, th_harden_seccomp_name(house->harden.seccomp),
                                house->harden.landlock);
    return error;
}

static int run_service(struct th_config *config, const char *path)
{
    struct th_errinfo info = {0};
    struct th_activation *activation = NULL;
    struct house house = {.path = path, .signal_fd = open_signals(&info)};
    int status = TH_EXIT_FINE;

    house.notify_fd = th_notify_open();
    if (house.signal_fd < 0 || th_activation_take(&activation, &info) < 0 ||
        th_harden_begin(&house.harden, config, path, &info) < 0 ||
        th_service_new(config, path, activation, &house.service, &info) < 0 ||
        finish_hardening(&house, config, &info) < 0 || th_service_start(house.service, &info) < 0) {
        th_options_print_error("run", &info);
        status = TH_EXIT_USAGE;
    } else if (th_watch_new(&th_clock_system, path, &house.watch) < 0) {
        fputs("tokenhop run: out of memory\n", stderr);
        status = TH_EXIT_USAGE;
    } else {
        th_watch_follow(house.watch, config);
        th_harden_tell(&house.harden, config, path, th_service_log(house.service));
        say_ready(house.service, th_config_get(config));
        th_notify_ready(house.notify_fd);
        serve(&house);
        TH_LOG(th_service_log(house.service), TH_LEVEL_INFO, "service.ended", "tokenhop has ended");
    }
    th_service_free(house.service);
    th_watch_free(house.watch);
    th_activation_free(activation);
    th_notify_close(house.notify_fd);
    if (house.signal_fd >= 0)
        close(house.signal_fd);
    return status;
}

static int run(int argc, char **argv)
{
    struct th_config *config = NULL;
    const char *path = NULL;
    int status = th_options_config(argc, argv, usage, &path);

    if (status >= 0)
        return status;
    status = th_options_load(path, &config);
    if (status == TH_EXIT_FINE)
        status = run_service(config, path);
    th_config_unref(config);
    return status;
}

const struct th_command th_command_run = {"run", "runs the proxy in the foreground", usage, run};
