/* tokenhop exec: an agent, with what its runtime must know of the proxy in its environment. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "child.h"
#include "environment.h"
#include "options.h"
#include "runtimes.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/password.h"
#include "tokenhop/cli/command.h"
#include "tokenhop/config/load.h"
#include "tokenhop/net/address.h"

#define FILE_MAX ((size_t)64 * 1024) /* of a password; or of hashes, with their comments */
#define TEXTS_MAX ((size_t)1 << 20)  /* of names */

static const char usage[] =
    "usage: tokenhop exec -c FILE [OPTION]... -- COMMAND [ARGUMENT]...\n"
    "       tokenhop exec -c FILE --print --dir DIR [OPTION]...\n"
    "       tokenhop exec --explain [RUNTIME]\n"
    "\n"
    "Runs an agent with every variable set that its runtime reads of a proxy and of whom to trust: of curl,\n"
    "wget, git, Python, Node, Deno, Go, Java, gRPC and the AWS tools. Where the configuration has an\n"
    "authority for interception, it is trusted besides the system's roots, not in their place. The\n"
    "files for that are in a folder of their own, which goes away when COMMAND has ended. No key and no\n"
    "other secret that the configuration names is read. Signals go on to COMMAND, and its exit status is\n"
    "the one of this command: 128 and the signal's number where it ended by one, 127 where it is not\n"
    "there, 126 where it cannot be executed; 1 and 2 also when something else is wrong.\n"
    "\n"
    "  -c, --config FILE     the configuration of the tokenhop that runs, or will\n"
    "      --listener NAME   which of its listeners (default: the only one of mode forward)\n"
    "      --host HOST[:PORT]  how the proxy is called from where COMMAND runs (default: as it listens)\n"
    "      --caller NAME     as which of its callers, where the listener asks: its password, from the file\n"
    "                        or variable that the configuration says, becomes part of the proxy's URL\n"
    "                        and can be read by whoever can read COMMAND's environment\n"
    "      --password-file FILE  where that password is, where the configuration has but its hash\n"
    "      --no-proxy LIST   hosts to call without the proxy, parted by commas; loopback is among them unless\n"
    "                        a connection is there. What the environment says of that is not taken over\n"
    "      --roots FILE      the roots to trust besides the authority, in PEM form (default: the system's)\n"
    "      --dir DIR         puts the files there, and leaves them\n"
    "      --print           shows the variables as a shell's exports, and runs nothing\n"
    "      --explain         what each runtime, or the one named, reads and ignores\n"
    "  -q, --quiet           no notes on standard error\n"
    "  -h, --help            this text\n"
    "\n"
    "  tokenhop exec -c tokenhop.jsonc -- python3 agent.py\n"
    "  eval \"$(tokenhop exec -c tokenhop.jsonc --dir ~/.tokenhop --print)\"\n";

struct order {
    const char *config;
    const char *listener;
    const char *host;
    const char *caller;
    const char *password;
    const char *more_direct;
    const char *roots;
    const char *folder;
    bool prints;
    bool explains;
    bool quiet;
    const char *runtime;
    char **command; /* NULL: none */
};

static void note(const struct order *order, const char *format, ...) TH_PRINTF(2, 3);

static void note(const struct order *order, const char *format, ...)
{
    va_list args;

    if (order->quiet)
        return;
    (void)fputs("tokenhop exec: note: ", stderr);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
}

/* --- which listener, and as whom --- */

static void print_forward(const struct th_config_view *view)
{
    for (size_t i = 0; i < view->n_listeners; i++)
        if (view->listeners[i].mode == TH_LISTENER_FORWARD)
            (void)fprintf(stderr, "  %.*s at %.*s\n", TH_STR_ARGS(view->listeners[i].name),
                          TH_STR_ARGS(view->listeners[i].address_text));
}

static const struct th_config_listener *choose_listener(const struct order *order,
                                                        const struct th_config_view *view)
{
    const struct th_config_listener *found = NULL;
    size_t n = 0;

    for (size_t i = 0; i < view->n_listeners; i++) {
        const struct th_config_listener *listener = &view->listeners[i];
        bool is_wanted = order->listener != NULL
                             ? th_str_equal(listener->name, th_str_of(order->listener))
                             : listener->mode == TH_LISTENER_FORWARD && listener->path.len == 0;
        if (is_wanted) {
            found = listener;
            n++;
        }
    }
    if (n == 1 && found->mode == TH_LISTENER_FORWARD)
        return found;
    if (n == 1)
        th_options_refuse(
            "exec", "this listener is no forward proxy: agents call a gateway by its own address");
    else if (n > 1)
        th_options_refuse("exec", "there are several listeners; say which one by --listener");
    else if (order->listener != NULL)
        th_options_refuse("exec", "no listener has the name that --listener says");
    else
        th_options_refuse("exec",
                          "the configuration has no listener of mode forward that has a port; few "
                          "clients can be told of a unix socket (curl --unix-socket)");
    print_forward(view);
    return NULL;
}

static const struct th_config_caller *find_caller(const struct th_config_view *view,
                                                  const char *name)
{
    for (size_t i = 0; i < view->n_callers; i++)
        if (th_str_equal(view->callers[i].name, th_str_of(name)))
            return &view->callers[i];
    return NULL;
}

static int read_password_file(const char *path, struct th_secret **ret_password)
{
    struct th_errinfo info = {0};
    int error = th_secret_read_file(path, FILE_MAX, true, ret_password, &info);

    if (error < 0)
        th_options_print_error("exec", &info);
    return error < 0 ? TH_EXIT_NOT_SO : -1;
}

/* From where tokenhop has it. */
static int read_password(const struct th_config_caller *caller, struct th_secret **ret_password)
{
    const char *value;

    if (caller->proof_file.len > 0)
        return read_password_file(caller->proof_file.ptr, ret_password);
    value = caller->proof_variable.len > 0 ? secure_getenv(caller->proof_variable.ptr) : NULL;
    if (value == NULL || value[0] == '\0') {
        (void)fprintf(stderr,
                      "tokenhop exec: the caller's password is in no file; set the variable %.*s\n",
                      TH_STR_ARGS(caller->proof_variable));
        return TH_EXIT_NOT_SO;
    }
    *ret_password = th_secret_new(value, strlen(value));
    return *ret_password != NULL ? -1 : TH_EXIT_NOT_SO;
}

/* -1: go on; *ret_password stays NULL where nobody asks for one. */
static int choose_caller(const struct order *order, const struct th_config_view *view,
                         const struct th_config_listener *listener,
                         const struct th_config_caller **ret_caller,
                         struct th_secret **ret_password)
{
    if (order->caller == NULL && listener->agent != NULL)
        return -1;
    if (order->caller == NULL)
        return th_options_refuse("exec",
                                 "this listener asks who calls; say as which caller by --caller");
    if (listener->agent != NULL)
        return th_options_refuse("exec",
                                 "this listener asks nobody who they are; leave --caller out");
    *ret_caller = find_caller(view, order->caller);
    if (*ret_caller == NULL)
        return th_options_refuse("exec", "no caller has the name that --caller says");
    if ((*ret_caller)->proof != TH_CALLER_BASIC)
        return th_options_refuse("exec",
                                 "a proxy's URL can hold a user and a password, and this caller "
                                 "proves itself by something else");
    int status = order->password != NULL ? read_password_file(order->password, ret_password)
                                         : read_password(*ret_caller, ret_password);
    /* Of another file the caller has said what it is: a password may begin as a hash does. */
    if (status < 0 && order->password == NULL &&
        th_password_is_hashed(th_secret_expose(*ret_password)))
        return th_options_refuse("exec", "of this caller's password there is only a hash; say by "
                                         "--password-file where the password is");
    return status;
}

/* --- what is called without it --- */

static bool is_loopback(struct th_str host)
{
    struct th_address address;

    return th_str_equal_nocase(host, TH_STR("localhost")) ||
           th_str_ends_with(host, TH_STR(".localhost")) ||
           (th_address_parse(host, 1, &address) == 0 && th_address_is_loopback(&address));
}

static bool has_loopback(const struct th_config_view *view)
{
    for (size_t i = 0; i < view->n_connections; i++)
        for (size_t k = 0; k < view->connections[i].n_patterns; k++)
            if (is_loopback(view->connections[i].patterns[k].host))
                return true;
    return false;
}

/* An agent's own helpers are on loopback, and no proxy could tell whose they are; but where a connection
 * is, nothing must go around it. */
static void choose_direct(const struct order *order, const struct th_proxy_place *place,
                          bool connection_is_there, struct th_buf *direct)
{
    bool is_v6 = strchr(place->host, ':') != NULL;

    if (!connection_is_there)
        th_buf_add_str(direct, TH_STR("localhost,127.0.0.1,::1"));
    /* A library that asks the proxy by itself (axios) calls it by http.request, which in newer Nodes goes to
     * the proxy as well, with a request for the proxy. Not all take an IPv6 address with a port. */
    if (!is_v6 && (connection_is_there || !is_loopback(th_str_of(place->host))))
        th_buf_printf(direct, "%s%s:%u", direct->len > 0 ? "," : "", place->host, place->port);
    if (order->more_direct != NULL && order->more_direct[0] != '\0') {
        if (direct->len > 0)
            th_buf_add_char(direct, ',');
        th_buf_add_str(direct, th_str_of(order->more_direct));
    }
    th_buf_add_char(direct, '\0'); /* a string, also when it is empty */
}

/* --- notes --- */

static bool has_https(const struct th_config_view *view)
{
    for (size_t i = 0; i < view->n_connections; i++)
        for (size_t k = 0; k < view->connections[i].n_patterns; k++)
            if (th_str_equal(view->connections[i].patterns[k].scheme, TH_STR("https")))
                return true;
    return false;
}

static void note_runtime(const struct order *order, const struct th_proxy_place *place,
                         bool connection_is_there, bool has_authority)
{
    const struct th_runtime *runtime =
        order->command != NULL ? th_runtime_of_command(order->command[0]) : NULL;

    for (size_t i = 0; runtime != NULL && i < runtime->n_notes; i++) {
        bool applies = false;
        switch (runtime->notes[i].when) {
        case TH_NOTE_EXPLAINED:
            break;
        case TH_NOTE_ALWAYS:
            applies = true;
            break;
        case TH_NOTE_LOOPBACK:
            applies = connection_is_there;
            break;
        case TH_NOTE_PASSWORD:
            applies = place->has_password;
            break;
        case TH_NOTE_TRUST:
            applies = has_authority;
            break;
        case TH_NOTE_TLS:
            applies = place->is_https;
            break;
        }
        if (applies)
            note(order, "%s ignores: %s", runtime->name, runtime->notes[i].text);
    }
}

static void note_all(const struct order *order, const struct th_config_view *view,
                     const struct th_proxy_place *place, bool connection_is_there)
{
    static const char *const inherited[] = {"no_proxy", "NO_PROXY"};
    bool has_authority = view->interception.cert_file.len > 0;
    const char *java = getenv("JAVA_TOOL_OPTIONS");

    if (!th_place_is_accepting(place))
        note(order, "nobody accepts connections at %s port %u yet; start it by tokenhop run -c %s",
             place->host, place->port, order->config);
    if (place->is_https && order->roots == NULL)
        note(
            order,
            "the proxy speaks TLS: where no authority of the system vouches for it, name the one that does by --roots");
    if (!has_authority && has_https(view))
        note(
            order,
            "https:// calls are not intercepted, and those to connections are refused: the configuration has "
            "no \"interception\"; http:// calls to them are carried over TLS");
    for (size_t i = 0; i < TH_COUNT_OF(inherited); i++) {
        const char *value = getenv(inherited[i]);
        if (value != NULL && value[0] != '\0')
            note(order, "%s of this environment is not taken over; say so by --no-proxy",
                 inherited[i]);
    }
    if (has_authority && java != NULL && strstr(java, "javax.net.ssl.trustStore=") != NULL)
        note(
            order,
            "JAVA_TOOL_OPTIONS names a trust store, which is left: import the authority into it (keytool)");
    note_runtime(order, place, connection_is_there, has_authority);
}

/* --- the run --- */

static int run_with(const struct order *order, const struct th_proxy_place *place,
                    const char *authority, const struct th_signals *signals)
{
    struct th_errinfo info = {0};
    struct th_environment environment = {0};
    struct th_trust trust;
    int status = TH_EXIT_NOT_SO;

    int error = th_trust_init(&trust, order->folder, order->roots, authority, &info);
    if (error == 0)
        error = th_environment_init(&environment, place, &trust, &info);
    if (error < 0) {
        th_options_print_error("exec", &info);
    } else if (order->prints) {
        th_environment_print(&environment, stdout);
        status = fflush(stdout) == 0 ? TH_EXIT_FINE : TH_EXIT_NOT_SO;
    } else {
        status = th_child_run(signals, order->command, environment.list);
    }
    th_environment_fini(&environment);
    th_trust_fini(&trust);
    return status;
}

/* What of the configuration is of use is copied, so that it is let go of while the command runs. */
static int prepare(const struct order *order, const struct th_config_view *view,
                   struct th_proxy_place *place, struct th_buf *texts, char **ret_authority)
{
    TH_CLEANUP(th_secret_unrefp) struct th_secret *password = NULL;
    const struct th_config_listener *listener = choose_listener(order, view);
    const struct th_config_caller *caller = NULL;
    struct th_errinfo info = {0};

    int status = listener != NULL ? -1 : TH_EXIT_USAGE;
    if (status < 0 && listener->tls.client_certificate == TH_CLIENT_CERTIFICATE_REQUIRED)
        return th_options_refuse(
            "exec", "this listener wants a certificate of its clients, which no variable names");
    if (status < 0 && th_place_find(listener, order->host, place, &info) < 0) {
        th_options_print_error("exec", &info);
        status = TH_EXIT_USAGE;
    }
    if (status < 0)
        place->is_https = listener->tls.is_spoken;
    if (status < 0)
        status = choose_caller(order, view, listener, &caller, &password);
    if (status < 0 &&
        th_place_make_url(place, caller != NULL ? caller->user : TH_STR_NONE, password) < 0)
        status = TH_EXIT_NOT_SO;
    if (status >= 0)
        return status;
    choose_direct(order, place, has_loopback(view), texts);
    size_t withheld_at = texts->len;
    for (const struct th_config_variable *at = view->secret_variables; at != NULL; at = at->next) {
        th_buf_add_str(texts, at->name);
        th_buf_add_char(texts, '\0');
    }
    th_buf_add_char(texts, '\0');
    if (texts->failed)
        return TH_EXIT_NOT_SO;
    place->direct = texts->ptr;
    place->withheld = texts->ptr + withheld_at;
    note_all(order, view, place, has_loopback(view));
    if (view->interception.cert_file.len > 0) {
        *ret_authority = th_strdup(view->interception.cert_file.ptr);
        if (*ret_authority == NULL)
            return TH_EXIT_NOT_SO;
    }
    return -1;
}

static int run(const struct order *order)
{
    TH_CLEANUP(th_freep) char *authority = NULL;
    struct th_config_mistakes mistakes = {0};
    struct th_proxy_place place = {.port = 0};
    struct th_config *config = NULL;
    struct th_signals signals;
    struct th_buf texts;

    /* The password is in memory; the command is dumpable again. */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    int error = th_config_load_without_files(order->config, &config, &mistakes);
    if (error < 0)
        th_config_mistakes_print(&mistakes, order->config, stderr);
    th_config_mistakes_fini(&mistakes);
    if (error < 0)
        return TH_EXIT_USAGE;
    th_buf_init(&texts, TEXTS_MAX);
    int status = prepare(order, th_config_get(config), &place, &texts, &authority);
    th_config_unref(config);
    if (status < 0) {
        /* From here on there is something to clean up, and then a status to end with. */
        th_signals_hold(&signals);
        status = run_with(order, &place, authority, &signals);
    }
    th_secret_unref(place.url);
    th_buf_fini(&texts);
    return status;
}

static int explain(const char *name)
{
    const struct th_runtime *runtime = name != NULL ? th_runtime_find(name) : NULL;

    if (name != NULL && runtime == NULL)
        return th_options_refuse("exec", "this runtime is not known; --explain alone shows all");
    for (size_t i = 0; i < th_runtimes_count; i++)
        if (runtime == NULL || runtime == &th_runtimes[i])
            th_runtime_print(stdout, &th_runtimes[i]);
    return TH_EXIT_FINE;
}

/* Ours end at "--": all beyond are the command's, options or not. Returns how many are ours. */
static int part_command(int argc, char **argv, struct order *order)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--") != 0)
            continue;
        order->command = i + 1 < argc ? &argv[i + 1] : NULL;
        return i;
    }
    return argc;
}

static int check_order(const struct order *order)
{
    if (order->config == NULL)
        return th_options_refuse("exec", "say which configuration; add -c FILE");
    if (order->runtime != NULL || (order->command == NULL && !order->prints))
        return th_options_refuse("exec",
                                 "say what to run, after --: tokenhop exec -c FILE -- COMMAND");
    if (order->command != NULL && order->prints)
        return th_options_refuse("exec", "--print runs nothing; leave it out, or the command");
    if (order->prints && order->folder == NULL)
        return th_options_refuse("exec", "with --print, say by --dir where the files are to stay");
    return -1;
}

static int exec(int argc, char **argv)
{
    struct order order = {0};
    const struct th_option options[] = {{"config", 'c', &order.config, NULL},
                                        {"listener", '\0', &order.listener, NULL},
                                        {"host", '\0', &order.host, NULL},
                                        {"caller", '\0', &order.caller, NULL},
                                        {"password-file", '\0', &order.password, NULL},
                                        {"no-proxy", '\0', &order.more_direct, NULL},
                                        {"roots", '\0', &order.roots, NULL},
                                        {"dir", '\0', &order.folder, NULL},
                                        {"print", '\0', NULL, &order.prints},
                                        {"explain", '\0', NULL, &order.explains},
                                        {"quiet", 'q', NULL, &order.quiet}};
    int ours = part_command(argc, argv, &order);
    int status =
        th_options_parse(ours, argv, usage, options, TH_COUNT_OF(options), &order.runtime, 1);

    if (status >= 0)
        return status;
    if (order.explains)
        return explain(order.runtime);
    status = check_order(&order);
    return status >= 0 ? status : run(&order);
}

const struct th_command th_command_exec = {
    "exec", "runs an agent that is told of the proxy by its environment", usage, exec};
