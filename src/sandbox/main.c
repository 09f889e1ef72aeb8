/* tokenhop-sandbox: start, serve until SIGTERM or SIGINT, clean up. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandbox.h"
#include "text.h"
#include "tokenhop/base/mem.h"

#define IDP_MAX_BODY (1024 * 1024)
#define AGENT_MAX_BODY (512 * 1024 * 1024)

static int open_folder(struct th_sandbox *sandbox, struct th_errinfo *reterr)
{
    const char *state = sandbox->options.state;
    const char *tmp = getenv("TMPDIR");
    int len = state != NULL ? snprintf(sandbox->folder, sizeof sandbox->folder, "%s", state)
                            : snprintf(sandbox->folder, sizeof sandbox->folder,
                                       "%s/tokenhop-sandbox-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (len < 0 || (size_t)len >= sizeof sandbox->folder)
        return th_errinfo_set(reterr, TH_E_CONFIG, "--state", NULL, "the name is too long");
    if (state != NULL ? mkdir(state, 0700) != 0 && errno != EEXIST
                      : mkdtemp(sandbox->folder) == NULL)
        return th_errinfo_set(reterr, TH_E_IO, sandbox->folder, NULL, "cannot make the folder: %s",
                              strerror(errno));
    sandbox->folder_is_ours = state == NULL;
    /* Absolute, since the configuration that names the keys may lie elsewhere. */
    char real[PATH_MAX];
    if (realpath(sandbox->folder, real) == NULL || strlen(real) >= sizeof sandbox->folder)
        return th_errinfo_set(reterr, TH_E_IO, sandbox->folder, NULL, "cannot resolve the folder");
    memcpy(sandbox->folder, real, strlen(real) + 1);
    return 0;
}

static int listen_all(struct th_sandbox *sandbox, struct th_errinfo *reterr)
{
    const struct th_sandbox_options *options = &sandbox->options;
    int e = th_web_listen(&sandbox->web, options->address, options->idp_port, IDP_MAX_BODY,
                          th_sandbox_serve_idp, sandbox, &sandbox->idp_port, reterr);
    for (size_t i = 0; e == 0 && i < TH_RESOURCE_COUNT; i++) {
        struct th_sandbox_agent *agent = &sandbox->agents[i];
        agent->sandbox = sandbox;
        agent->resource = &sandbox->registry.resources[i];
        if (th_world_resources[i].listens)
            e = th_web_listen(&sandbox->web, options->address, options->ports[i], AGENT_MAX_BODY,
                              th_sandbox_serve_agent, agent, &agent->port, reterr);
    }
    return e;
}

static void print_url(char ret_url[128], const char *address, int port)
{
    bool v6 = strchr(address, ':') != NULL;
    snprintf(ret_url, 128, "http://%s%s%s:%d", v6 ? "[" : "", address, v6 ? "]" : "", port);
}

static int listen_tls(struct th_sandbox *sandbox, struct th_errinfo *reterr)
{
    const struct th_sandbox_options *options = &sandbox->options;
    int e = 0;
    if (options->idp_tls_port >= 0) {
        e = th_web_tls_init(&sandbox->idp_tls, sandbox->folder, "idp-ca.pem", options->address,
                            NULL, true, reterr);
        if (e == 0)
            e = th_web_listen_tls(&sandbox->web, options->address, options->idp_tls_port,
                                  IDP_MAX_BODY, &sandbox->idp_tls, th_sandbox_serve_idp, sandbox,
                                  &sandbox->idp_tls_port, reterr);
    }
    if (e != 0 || options->agent2_tls_port < 0)
        return e;
    e = th_web_tls_init(&sandbox->tls, sandbox->folder, "agents-ca.pem", options->address,
                        options->urls[TH_RESOURCE_AGENT2], false, reterr);
    if (e == 0)
        e = th_web_listen_tls(&sandbox->web, options->address, options->agent2_tls_port,
                              AGENT_MAX_BODY, &sandbox->tls, th_sandbox_serve_agent,
                              &sandbox->agents[TH_RESOURCE_AGENT2], &sandbox->agent2_tls_port,
                              reterr);
    return e;
}

/* Nothing is served before the loop runs, so the ports may be bound first and the URLs made of them. */
static int make_registry(struct th_sandbox *sandbox, struct th_errinfo *reterr)
{
    const struct th_sandbox_options *options = &sandbox->options;
    char base[128], texts[TH_RESOURCE_COUNT][128];
    const char *urls[TH_RESOURCE_COUNT];
    print_url(base, options->address, sandbox->idp_port);
    for (size_t i = 0; i < TH_RESOURCE_COUNT; i++) {
        if (th_world_resources[i].listens)
            print_url(texts[i], options->address, sandbox->agents[i].port);
        else
            snprintf(texts[i], sizeof texts[i], "https://%s.sandbox.test",
                     th_world_resources[i].name);
        urls[i] = options->urls[i] != NULL ? options->urls[i] : texts[i];
    }
    return th_registry_init(&sandbox->registry, sandbox->folder,
                            options->idp_url != NULL ? options->idp_url : base, urls, reterr);
}

static int print_ready(const struct th_sandbox *sandbox, struct th_errinfo *reterr)
{
    json_t *description = th_sandbox_describe(sandbox);
    struct th_buf text;
    th_buf_init(&text, 1024 * 1024);
    th_text_add_json(&text, description, JSON_COMPACT);
    json_decref(description);
    bool fine = !text.failed && puts(text.ptr) >= 0 && fflush(stdout) == 0;
    th_buf_fini(&text);
    return fine ? 0 : th_errinfo_set(reterr, TH_E_IO, NULL, NULL, "cannot say that it is ready");
}

static void on_signal(evutil_socket_t number, short events, void *arg)
{
    event_base_loopbreak(arg);
}

static int serve(struct th_sandbox *sandbox, struct th_errinfo *reterr)
{
    struct event *term = evsignal_new(sandbox->web.base, SIGTERM, on_signal, sandbox->web.base);
    struct event *intr = evsignal_new(sandbox->web.base, SIGINT, on_signal, sandbox->web.base);
    int e = TH_E_NOMEM;
    if (term != NULL && intr != NULL && event_add(term, NULL) == 0 && event_add(intr, NULL) == 0)
        e = print_ready(sandbox, reterr);
    if (e == 0 && event_base_dispatch(sandbox->web.base) < 0)
        e = th_errinfo_set(reterr, TH_E_INTERNAL, NULL, NULL, "the event loop failed");
    if (term != NULL)
        event_free(term);
    if (intr != NULL)
        event_free(intr);
    return e;
}

static int run(struct th_sandbox *sandbox, struct th_errinfo *reterr)
{
    int e = th_stats_init(&sandbox->stats);
    if (sandbox->options.agent2_proxy_port != 0 && sandbox->options.agent2_proxy == NULL) {
        print_url(sandbox->agent2_proxy, "127.0.0.1", sandbox->options.agent2_proxy_port);
        sandbox->options.agent2_proxy = sandbox->agent2_proxy;
    }
    if (e == 0)
        e = open_folder(sandbox, reterr);
    if (e == 0)
        e = th_web_init(&sandbox->web, reterr);
    if (e == 0)
        e = listen_all(sandbox, reterr);
    if (e == 0)
        e = listen_tls(sandbox, reterr);
    if (e == 0)
        e = make_registry(sandbox, reterr);
    if (e == 0 && sandbox->options.write_config != NULL)
        e = th_sandbox_write_config(sandbox, sandbox->options.write_config, reterr);
    return e != 0 ? e : serve(sandbox, reterr);
}

static void clean_up(struct th_sandbox *sandbox)
{
    th_web_fini(&sandbox->web); /* first: what is under way uses all the rest */
    th_web_tls_fini(&sandbox->tls, sandbox->folder_is_ours);
    th_web_tls_fini(&sandbox->idp_tls, sandbox->folder_is_ours);
    th_faults_fini(&sandbox->faults);
    th_stats_fini(&sandbox->stats);
    th_idp_fini(&sandbox->idp);
    th_registry_fini(&sandbox->registry, sandbox->folder_is_ours);
    if (sandbox->folder_is_ours)
        rmdir(sandbox->folder);
}

/* As many descriptors as the system grants: tests come with thousands of connections. */
static void raise_limits(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    struct th_errinfo info = {0};
    struct th_sandbox *sandbox = th_calloc(1, sizeof *sandbox);
    if (sandbox == NULL)
        return 1;
    int e = th_sandbox_options_parse(argc, argv, &sandbox->options, &info);
    if (e == 0) {
        signal(SIGPIPE, SIG_IGN);
        raise_limits();
        th_faults_init(&sandbox->faults);
        e = th_idp_init(&sandbox->idp, &sandbox->registry, &th_clock_system);
        sandbox->idp.settings = sandbox->options.settings;
        if (e == 0)
            e = run(sandbox, &info);
        clean_up(sandbox);
    }
    th_free(sandbox);
    if (e < 0)
        fprintf(stderr, "tokenhop-sandbox: %s%s%s%s%s\n", info.where, info.where[0] ? ": " : "",
                info.what[0] ? info.what : th_error_get(e)->title, info.mend[0] ? "; " : "",
                info.mend);
    return e >= 0 ? 0 : e == TH_E_CONFIG ? 2 : 1;
}
