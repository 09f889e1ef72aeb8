/* tokenhop exchange: runs the plan of one connection once, and shows it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "options.h"
#include "read_input.h"
#include "show.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/process.h"
#include "tokenhop/cli/command.h"
#include "tokenhop/config/nearest.h"
#include "tokenhop/net/helpers.h"
#include "tokenhop/net/init.h"
#include "tokenhop/oauth/exchange.h"
#include "tokenhop/oauth/jose.h"
#include "tokenhop/oauth/parents.h"
#include "tokenhop/oauth/plan.h"
#include "tokenhop/token/inject.h"

#define SUBJECT_MAX ((size_t)64 * 1024)
#define NAME_SHOWN_MAX 64
#define HELPERS_WAITING 64

static const char usage[] =
    "usage: tokenhop exchange -c FILE --connection NAME [--agent NAME] [--subject-file FILE]\n"
    "\n"
    "Runs the exchange of one connection once, with the caches left aside, and shows each leg: what is\n"
    "asked, what is answered, what each token says, and the chain of actors at the end. Signatures,\n"
    "keys and opaque tokens are not shown. Exit status 1 when the exchange is refused or fails.\n"
    "\n"
    "  -c, --config FILE         the configuration\n"
    "      --connection NAME     the connection\n"
    "      --agent NAME          as which agent, where the connection has several\n"
    "      --subject-file FILE   the subject token, in a file that its owner alone can read;\n"
    "                            without it, it is read from standard input\n"
    "      --print-token         the access token to standard output, all else to standard error\n"
    "  -h, --help                this text\n"
    "\n"
    "  tokenhop exchange -c tokenhop.jsonc --connection agent2 --subject-file subject.jwt\n"
    "  tokenhop exchange -c tokenhop.jsonc --connection agent2 --print-token < subject.jwt\n";

struct order {
    const char *config;
    const char *connection;
    const char *agent;
    const char *subject_file;
    bool print_token;
};

/* One run, from the worker made for it to what it ended with. */
struct run {
    const struct order *order;
    FILE *out;
    struct th_config *config;
    const struct th_config_view *view;
    const struct th_config_connection *connection;
    const struct th_config_agent *agent;
    struct th_secret *subject;
    struct th_worker *worker;
    struct th_helpers *helpers;
    struct th_fetcher *fetcher;
    struct th_exchanger *exchanger;
    struct th_exchange *exchange; /* NULL: not under way */
    json_t *last_claims; /* of the token that the last leg yielded; NULL: none, or opaque */
    unsigned n_requests;
    int status;
};

/* --- what is asked for --- */

static int refuse_name(const char *kind, struct th_str name, const struct th_nearest *nearest)
{
    fprintf(stderr, "tokenhop exchange: there is no %s ", kind);
    if (name.len > NAME_SHOWN_MAX) { /* no name is as long; a token is */
        fputs("of this name", stderr);
    } else {
        fputc('"', stderr);
        th_show_text(stderr, name);
        fputc('"', stderr);
    }
    fputs(" in the configuration", stderr);
    if (nearest->best.len > 0)
        fprintf(stderr, "; did you mean \"%.*s\"?", TH_STR_ARGS(nearest->best));
    fputc('\n', stderr);
    return TH_EXIT_USAGE;
}

static int find_connection(struct run *run)
{
    struct th_str name = th_str_of(run->order->connection);
    struct th_nearest nearest;

    th_nearest_init(&nearest, name);
    for (size_t i = 0; i < run->view->n_connections; i++) {
        if (th_str_equal(run->view->connections[i].name, name)) {
            run->connection = &run->view->connections[i];
            return TH_EXIT_FINE;
        }
        th_nearest_offer(&nearest, run->view->connections[i].name);
    }
    return refuse_name("connection", name, &nearest);
}

static void print_agents(const struct th_config_connection *connection)
{
    for (size_t i = 0; i < connection->n_agents; i++)
        fprintf(stderr, "%s\"%.*s\"", i > 0 ? ", " : "", TH_STR_ARGS(connection->agents[i]->name));
    fputc('\n', stderr);
}

static int find_agent(struct run *run)
{
    const struct th_config_connection *connection = run->connection;
    struct th_str name = th_str_of(run->order->agent);
    struct th_nearest nearest;

    if (run->order->agent == NULL) {
        if (connection->n_agents == 1) {
            run->agent = connection->agents[0];
            return TH_EXIT_FINE;
        }
        fputs("tokenhop exchange: several agents may use this connection; add --agent with one of ",
              stderr);
        print_agents(connection);
        return TH_EXIT_USAGE;
    }
    th_nearest_init(&nearest, name);
    for (size_t i = 0; i < run->view->n_agents; i++) {
        if (th_str_equal(run->view->agents[i].name, name))
            run->agent = &run->view->agents[i];
        th_nearest_offer(&nearest, run->view->agents[i].name);
    }
    if (run->agent == NULL)
        return refuse_name("agent", name, &nearest);
    for (size_t i = 0; i < connection->n_agents; i++)
        if (connection->agents[i] == run->agent)
            return TH_EXIT_FINE;
    fputs("tokenhop exchange: the agent is not one that may use this connection (its \"agents\"); "
          "those are ",
          stderr);
    print_agents(connection);
    return TH_EXIT_USAGE;
}

/* --- the subject token --- */

static int take_trimmed(struct th_str text, const char *where, struct th_secret **ret_subject,
                        struct th_errinfo *reterr)
{
    text = th_str_trim_lines(text);
    if (text.len == 0)
        return th_errinfo_set(reterr, TH_E_SUBJECT_MISSING, where,
                              "put the token that the agent is called with there, alone",
                              "there is no subject token");
    *ret_subject = th_secret_new(text.ptr, text.len);
    return *ret_subject != NULL ? 0
                                : th_errinfo_set(reterr, TH_E_NOMEM, NULL, NULL, "out of memory");
}

/* What a caller would have to send, or what the configuration has in its place. */
static int read_subject(struct run *run, struct th_errinfo *reterr)
{
    const struct th_config_connection *connection = run->connection;
    const char *file = run->order->subject_file;
    int error;

    if (th_plan_get(connection->type)->n_legs == 0)
        return th_errinfo_set(reterr, TH_E_CONFIG, NULL, "name another connection",
                              "nothing is exchanged for a connection of this type");
    if (!th_config_asks_subject(connection) && file != NULL)
        return th_errinfo_set(reterr, TH_E_CONFIG, "--subject-file", "leave it out",
                              "no subject token is asked for by this connection");
    if (!th_config_asks_subject(connection)) {
        run->subject =
            connection->subject_token != NULL ? th_secret_ref(connection->subject_token) : NULL;
        return 0;
    }

    if (file != NULL) {
        TH_CLEANUP(th_secret_unrefp) struct th_secret *text = NULL;
        error = th_secret_read_file(file, SUBJECT_MAX + 4096, true, &text, reterr);
        return error < 0 ? error
                         : take_trimmed(th_secret_expose(text), file, &run->subject, reterr);
    }
    /* It would be shown while it is typed, and a terminal's line holds 4095 bytes. */
    if (isatty(STDIN_FILENO))
        return th_errinfo_set(reterr, TH_E_IO, "standard input",
                              "add --subject-file FILE, or write < FILE",
                              "a subject token is not read from a terminal");
    struct th_buf room;
    th_buf_init_secret(&room, SUBJECT_MAX + 8192);
    error = th_read_input(&room, "the subject token is longer than 65536 bytes", reterr);
    if (error == 0)
        error = take_trimmed(th_buf_str(&room), "standard input", &run->subject, reterr);
    th_buf_fini(&room);
    return error;
}

/* --- what is shown --- */

static void show_token(struct run *run, int indent, const json_t *header, const json_t *claims)
{
    if (claims == NULL) {
        fprintf(run->out, "%*s(an opaque token)\n", indent, "");
        return;
    }
    th_show_json(run->out, indent, header);
    th_show_json(run->out, indent, claims);
    th_show_expiry(run->out, indent, claims, th_clock_wall_ms(&th_clock_system));
}

static void show_subject(struct run *run)
{
    struct th_jwt jwt = {0};

    if (run->subject == NULL) {
        fputs(run->connection->subject_client != NULL
                  ? "\nsubject token\n  (got by the first request)\n"
                  : "\nsubject token\n  (none: the agent acts for itself)\n",
              run->out);
        return;
    }
    fputs("\nsubject token\n", run->out);
    if (th_jwt_parse(th_secret_expose(run->subject), &jwt) < 0)
        jwt = (struct th_jwt){0}; /* opaque */
    show_token(run, 2, jwt.header, jwt.claims);
    th_jwt_fini(&jwt);
}

/* Tokens that were shown before are only named: the subject token, and what the leg before yielded. */
static bool is_shown_above(const struct th_exchange_shown *shown)
{
    return th_str_equal(shown->name, TH_STR("subject_token")) ||
           th_str_equal(shown->name, TH_STR("assertion"));
}

static void show_all(struct run *run, const struct th_exchange_shown *shown, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        fputs("  ", run->out);
        th_show_text(run->out, shown[i].name);
        if (shown[i].is_token && is_shown_above(&shown[i])) {
            fputs(": the token shown above\n", run->out);
        } else if (shown[i].is_token) {
            fputc('\n', run->out);
            show_token(run, 4, shown[i].header, shown[i].claims);
        } else if (shown[i].text.ptr != NULL) {
            fputs(": ", run->out);
            th_show_text(run->out, shown[i].text);
            fputc('\n', run->out);
        } else {
            fputs(": (not shown)\n", run->out);
        }
    }
}

static void on_request(void *arg, const struct th_exchange_leg_report *leg,
                       const struct th_exchange_shown *parameters, size_t n_parameters)
{
    struct run *run = arg;

    fprintf(run->out, "\nrequest %u, leg %s\n  POST ", ++run->n_requests, leg->name);
    th_show_text(run->out, leg->endpoint);
    fputc('\n', run->out);
    show_all(run, parameters, n_parameters);
}

static void on_answer(void *arg, const struct th_exchange_leg_report *leg,
                      const struct th_exchange_shown *members, size_t n_members, const char *why)
{
    struct run *run = arg;

    if (leg->status != 0)
        fprintf(run->out, "answer %u: status %d", run->n_requests, leg->status);
    else
        fprintf(run->out, "answer %u: none", run->n_requests);
    fprintf(run->out, ", after %" PRId64 ".%" PRId64 " ms\n", leg->duration_us / 1000,
            leg->duration_us / 100 % 10);
    show_all(run, members, n_members);
    if (why[0] != '\0')
        fprintf(run->out, "  hint: %s\n", why);
    json_decref(run->last_claims);
    run->last_claims = NULL;
    for (size_t i = 0; i < n_members; i++)
        if (members[i].claims != NULL)
            run->last_claims = json_deep_copy(members[i].claims);
}

static void on_note(void *arg, const char *note)
{
    struct run *run = arg;

    fprintf(run->out, "  note: %s\n", note);
}

static const struct th_exchange_observer observer = {on_request, on_answer, on_note};

static void show_refusal(int error, const char *what, const char *mend)
{
    const struct th_error_row *row = th_error_get(error);

    fprintf(stderr, "tokenhop exchange: %s (%s)\n", row->title, row->code);
    if (what[0] != '\0')
        fprintf(stderr, "  %s\n", what);
    if (mend[0] != '\0')
        fprintf(stderr, "  %s\n", mend);
}

static void show_failure(const struct th_exchange_result *result)
{
    show_refusal(result->error, result->detail, "");
    if (result->interaction_uri[0] != '\0')
        fprintf(stderr, "  the user goes to %s\n", result->interaction_uri);
    if (result->retry_after_ms >= 0)
        fprintf(stderr, "  the server asks to wait %" PRId64 " s\n", result->retry_after_ms / 1000);
}

/* All that was said goes out before the token does, or before what went wrong. */
static int put_token(const struct th_secret *token)
{
    struct th_str rest = th_secret_expose(token);

    for (bool ended = false; !ended;) {
        ended = rest.len == 0;
        ssize_t n = write(STDOUT_FILENO, ended ? "\n" : rest.ptr, ended ? 1 : rest.len);
        if (n < 0 && errno != EINTR) {
            fprintf(stderr, "tokenhop exchange: standard output: %s\n", strerror(errno));
            return TH_EXIT_NOT_SO;
        }
        if (n > 0 && !ended)
            rest = (struct th_str){rest.ptr + n, rest.len - (size_t)n};
    }
    return TH_EXIT_FINE;
}

static void show_values(struct run *run, const struct th_values *values)
{
    fputs("\nvalues\n", run->out);
    for (size_t i = 0; i < values->n; i++)
        fprintf(run->out, "  %s\n", values->items[i].name);
    if (values->n == 0)
        fputs("  (none)\n", run->out);
}

static void show_yield(struct run *run, const struct th_exchange_result *result)
{
    const char *what = result->values != NULL ? "credential" : "access token";

    if (result->values != NULL) {
        show_values(run, result->values);
    } else {
        fputs("\nchain of actors\n", run->out);
        if (run->last_claims != NULL)
            th_show_chain(run->out, 2, run->last_claims, run->view);
        else
            fputs("  (the access token is opaque)\n", run->out);
    }
    if (result->lifetime_ms > 0)
        fprintf(run->out, "\nthe %s serves for %" PRId64 " s\n", what, result->lifetime_ms / 1000);
    else
        fprintf(run->out, "\nthe %s serves one request: its lifetime is over or not said\n", what);
}

/* Whether a request could bear what came. --print-token prints a token, or the field's value that is
 * made of what is none. */
static int try_inject(struct run *run, const struct th_exchange_result *result)
{
    const struct th_config_inject *inject = &run->connection->inject;
    struct th_injected injected;
    char why[TH_EXCHANGE_DETAIL_MAX];
    int error = th_inject_make(inject, result, &injected, why);
    TH_CLEANUP(th_secret_unrefp) struct th_secret *value = injected.value;

    if (error == 0)
        fprintf(run->out, "it is sent in the field %.*s%s\n", TH_STR_ARGS(inject->header),
                result->dpop_key != NULL ? ", by the scheme DPoP, with a proof for each request"
                                         : "");
    fflush(run->out);
    if (error != 0) {
        show_refusal(error, why, "");
        return TH_EXIT_NOT_SO;
    }
    if (!run->order->print_token)
        return TH_EXIT_FINE;
    return put_token(result->token != NULL ? result->token : value);
}

static void on_end(void *arg, const struct th_exchange_result *result)
{
    struct run *run = arg;

    run->exchange = NULL;
    run->status = TH_EXIT_NOT_SO;
    if (result->error == 0) {
        show_yield(run, result);
        run->status = try_inject(run, result);
    } else {
        fflush(run->out);
        show_failure(result);
    }
    th_worker_stop(run->worker);
}

/* --- the run --- */

static int make_worker(struct run *run)
{
    struct th_worker_options options = {.clock = &th_clock_system, .network = th_network_system()};
    int error = th_helpers_new(1, HELPERS_WAITING, &run->helpers); /* they look up names */

    options.helpers = run->helpers;
    if (error == 0)
        error = th_worker_new(&options, &run->worker);
    if (error == 0)
        error = th_fetcher_new_curl(run->worker, &run->fetcher);
    if (error == 0)
        th_fetcher_set_proxies(run->fetcher, th_oauth_choose_parent, &run->config);
    if (error == 0)
        error = th_exchanger_new(run->worker, run->fetcher, NULL, &run->exchanger);
    return error;
}

static void free_worker(struct run *run)
{
    th_exchanger_free(run->exchanger);
    if (run->fetcher != NULL)
        run->fetcher->free(run->fetcher);
    if (run->helpers != NULL)
        th_helpers_stop(run->helpers);
    th_worker_free(run->worker);
    th_helpers_free(run->helpers);
}

static int start(struct run *run, struct th_errinfo *reterr)
{
    const struct th_exchange_request request = {
        .config = run->config,
        .agent = run->agent,
        .connection = run->connection,
        .subject_token = run->subject != NULL ? th_secret_expose(run->subject) : TH_STR_NONE,
        .deadline_ms = th_clock_monotonic_ms(&th_clock_system) + run->view->timeouts.exchange_ms,
        .observer = &observer,
        .observer_arg = run,
    };

    return th_exchange_start(run->exchanger, &request, on_end, run, &run->exchange, reterr);
}

static int run_plan(struct run *run)
{
    struct th_errinfo info = {0};
    int error = th_net_global_init();
    bool has_net = error == 0;

    fprintf(run->out, "connection \"%.*s\" (%s), as agent \"%.*s\" (%.*s)\n",
            TH_STR_ARGS(run->connection->name), th_plan_get(run->connection->type)->name,
            TH_STR_ARGS(run->agent->name), TH_STR_ARGS(run->agent->client_id));
    show_subject(run);
    if (error == 0)
        error = make_worker(run);
    if (error == 0)
        error = start(run, &info);
    fflush(run->out);
    if (error == 0) {
        th_worker_run(run->worker);
    } else {
        show_refusal(error, info.what, info.mend);
        run->status = TH_EXIT_NOT_SO;
    }
    free_worker(run);
    if (has_net)
        th_net_global_fini();
    return run->status;
}

static int prepare(struct run *run)
{
    struct th_errinfo info = {0};
    int status = th_options_load(run->order->config, &run->config);

    if (status != TH_EXIT_FINE)
        return status;
    run->view = th_config_get(run->config);
    status = find_connection(run);
    if (status == TH_EXIT_FINE)
        status = find_agent(run);
    if (status == TH_EXIT_FINE && read_subject(run, &info) < 0) {
        th_options_print_error("exchange", &info);
        status = TH_EXIT_USAGE;
    }
    return status;
}

static int carry_out(const struct order *order)
{
    struct run run = {.order = order, .out = order->print_token ? stderr : stdout};
    struct th_errinfo info = {0};
    int status;

    if (th_process_harden(&info) < 0) {
        th_options_print_error("exchange", &info);
        return TH_EXIT_NOT_SO;
    }
    status = prepare(&run);
    if (status == TH_EXIT_FINE)
        status = run_plan(&run);
    json_decref(run.last_claims);
    th_secret_unref(run.subject);
    th_config_unref(run.config);
    return status;
}

static int exchange(int argc, char **argv)
{
    struct order order = {0};
    const struct th_option options[] = {{"config", 'c', &order.config, NULL},
                                        {"connection", '\0', &order.connection, NULL},
                                        {"agent", '\0', &order.agent, NULL},
                                        {"subject-file", '\0', &order.subject_file, NULL},
                                        {"print-token", '\0', NULL, &order.print_token}};
    int status = th_options_parse(argc, argv, usage, options, TH_COUNT_OF(options), NULL, 0);

    if (status >= 0)
        return status;
    if (order.config == NULL)
        return th_options_refuse(argv[0], "no configuration named; add -c FILE");
    if (order.connection == NULL)
        return th_options_refuse(argv[0], "no connection named; add --connection NAME");
    return carry_out(&order);
}

const struct th_command th_command_exchange = {
    "exchange", "runs the exchange of a connection once, and shows it", usage, exchange};
