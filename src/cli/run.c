/* tokenhop run: the proxy in the foreground.
 *
 * SIGTERM, SIGINT  drain, then end; a second one ends at once
 * SIGHUP           read the configuration and open the log files anew */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "options.h"
#include "service.h"
#include "tokenhop/base/process.h"
#include "tokenhop/cli/command.h"
#include "tokenhop/config/load.h"

static const char usage[] =
    "usage: tokenhop run -c FILE\n"
    "\n"
    "Runs the proxy in the foreground, until SIGTERM or SIGINT: then it takes no more connections,\n"
    "lets requests end (timeouts.drain), and ends; a second signal ends it at once. SIGHUP reads the\n"
    "configuration anew: requests that begin afterwards go by it; a file with mistakes changes nothing.\n"
    "\n"
    "  -c, --config FILE   the configuration\n"
    "  -h, --help          this text\n";

static void reload(struct th_service *service, const char *path)
{
    struct th_config_mistakes mistakes = {0};
    struct th_config *config = NULL;
    struct th_log *log = th_service_log(service);
    int error = th_config_load(path, &config, &mistakes);

    if (error == 0)
        error = th_service_reload(service, config);
    if (error == 0)
        TH_LOG(log, TH_LEVEL_INFO, "config.reloaded", "The configuration was read anew");
    for (size_t i = 0; i < mistakes.count; i++)
        TH_LOG(log, TH_LEVEL_ERROR, "config.mistake", "The configuration has a mistake",
               TH_LOG_UINT("line", mistakes.items[i].line),
               TH_LOG_UINT("column", mistakes.items[i].column),
               TH_LOG_TEXT("path", mistakes.items[i].path),
               TH_LOG_TEXT("what", mistakes.items[i].what),
               TH_LOG_TEXT("mend", mistakes.items[i].mend));
    if (error != 0)
        TH_LOG(log, TH_LEVEL_ERROR, "config.kept", "The configuration was not changed",
               TH_LOG_ERR("error", error));
    th_config_mistakes_fini(&mistakes);
    th_config_unref(config);
    th_service_reopen_logs(service);
}

/* Serves until a signal asks to end. */
static void serve(struct th_service *service, const sigset_t *signals, const char *path)
{
    bool draining = false;

    while (!draining || !th_service_is_drained(service)) {
        struct timespec wait = {draining ? 0 : 1, draining ? 20 * 1000 * 1000 : 0};
        int signal = sigtimedwait(signals, NULL, &wait);
        if (signal == SIGHUP) {
            reload(service, path);
        } else if (signal == SIGTERM || signal == SIGINT) {
            if (draining)
                return;
            draining = true;
            TH_LOG(th_service_log(service), TH_LEVEL_INFO, "service.draining",
                   "No more connections are taken; requests under way may end");
            th_service_drain(service);
        } else {
            th_service_tick(service);
        }
    }
}

static void say_ready(struct th_service *service, const struct th_config_view *config)
{
    for (size_t i = 0; i < config->n_listeners; i++)
        TH_LOG(th_service_log(service), TH_LEVEL_INFO, "service.listening", "A listener is open",
               TH_LOG_STR("listener", config->listeners[i].name),
               TH_LOG_STR("address", config->listeners[i].address_text),
               TH_LOG_STR("agent", config->listeners[i].agent->name));
    TH_LOG(th_service_log(service), TH_LEVEL_INFO, "service.ready", "tokenhop is ready",
           TH_LOG_TEXT("version", TH_VERSION), TH_LOG_UINT("workers", config->workers),
           TH_LOG_UINT("connections", config->n_connections), TH_LOG_INT("pid", getpid()));
}

static int run_service(struct th_config *config, const char *path)
{
    struct th_service *service = NULL;
    struct th_errinfo info = {0};
    sigset_t signals;
    int status = TH_EXIT_FINE;

    /* Blocked before threads start, so that only this one gets them. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    if (th_process_harden(&info) < 0 || th_service_new(config, &service, &info) < 0 ||
        th_service_start(service, &info) < 0) {
        th_options_print_error("run", &info);
        status = TH_EXIT_USAGE;
    } else {
        say_ready(service, th_config_get(config));
        serve(service, &signals, path);
        TH_LOG(th_service_log(service), TH_LEVEL_INFO, "service.ended", "tokenhop has ended");
    }
    th_service_free(service);
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
