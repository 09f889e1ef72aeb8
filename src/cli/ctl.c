/* tokenhop ctl: speaks to the admin listener of a running tokenhop. */
#include "ctl.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <string.h>

#include "options.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/process.h"
#include "tokenhop/base/secret.h"
#include "tokenhop/cli/command.h"
#include "tokenhop/oauth/json.h"

#define DEFAULT_ADDRESS "unix:/run/tokenhop/admin.sock"
#define ANSWER_MAX (64u << 20)
#define CONNECT_SECONDS 5L
#define TOTAL_SECONDS 150L
#define TOKEN_MAX 512
#define PATH_MAX_LEN 512

static const char usage[] =
    "usage: tokenhop ctl [-c FILE | --address A] WHAT\n"
    "\n"
    "Looks at a running tokenhop, or steers it, through its admin listener.\n"
    "\n"
    "  status                what runs, since when, how busy it is\n"
    "  connections           the connections in force\n"
    "  cache list            the credentials that are kept (no token is shown)\n"
    "  cache purge           drops them: all, or those that the options below say\n"
    "  revoke                drops them and tells the authorization servers; wants --all or an option\n"
    "  reload                reads the configuration anew, and waits for the outcome\n"
    "  drain                 takes no more connections, and ends when requests have ended\n"
    "  log-level [LEVEL]     shows or sets it, until the next reload: error, warn, info, debug\n"
    "  metrics               in Prometheus' text form\n"
    "  ready, live           the probes\n"
    "\n"
    "      --connection NAME   of cache and revoke: those of this connection,\n"
    "      --agent NAME        of this agent,\n"
    "      --subject PRINT     of this subject token: its fingerprint, as in the access log\n"
    "      --all               all of them\n"
    "      --json              the answer as it came, in place of a table\n"
    "  -c, --config FILE       where the admin listener is, and its token; without it and --address:\n"
    "                          " DEFAULT_ADDRESS "\n"
    "      --address A         \"unix:PATH\" or \"127.0.0.1:9901\"\n"
    "      --token-file FILE   the admin token\n"
    "  -h, --help              this text\n"
    "\n"
    "Exit status 0 when it was done, 1 when it was refused or nobody answered, 2 on usage.\n";

struct verb {
    const char *name;
    const char *sub; /* the word that follows; NULL: none */
    const char *path;
    bool posts;
    bool filters;         /* takes --connection, --agent, --subject */
    bool wants_a_scope;   /* one of these, or --all */
    th_ctl_show_fn *show; /* NULL: as it came */
};

static const struct verb verbs[] = {
    {"status", NULL, "/status", false, false, false, th_ctl_show_status},
    {"connections", NULL, "/connections", false, false, false, th_ctl_show_connections},
    {"cache", "list", "/cache", false, true, false, th_ctl_show_cache},
    {"cache", "purge", "/cache/purge", true, true, false, th_ctl_show_purged},
    {"revoke", NULL, "/revoke", true, true, true, th_ctl_show_revoked},
    {"reload", NULL, "/reload", true, false, false, th_ctl_show_reloaded},
    {"drain", NULL, "/drain", true, false, false, th_ctl_show_draining},
    {"log-level", NULL, "/log-level", false, false, false, th_ctl_show_level},
    {"metrics", NULL, "/metrics", false, false, false, NULL},
    {"ready", NULL, "/ready", false, false, false, th_ctl_show_probe},
    {"live", NULL, "/live", false, false, false, th_ctl_show_probe},
};

struct asked {
    const struct verb *verb;
    const char *config_path, *address, *token_file;
    const char *connection, *agent, *subject;
    const char *level; /* to be set */
    bool all, json;
    char path[PATH_MAX_LEN];
    struct th_buf body;      /* of a POST */
    struct th_secret *token; /* NULL: none */
    char where[512];         /* the address in use */
};

/* --- what is asked --- */

static const struct verb *find_verb(const char *word, const char *next)
{
    for (size_t i = 0; i < TH_COUNT_OF(verbs); i++)
        if (strcmp(verbs[i].name, word) == 0 &&
            (verbs[i].sub == NULL || (next != NULL && strcmp(verbs[i].sub, next) == 0)))
            return &verbs[i];
    return NULL;
}

static int take_words(struct asked *asked, const char *const words[3])
{
    const char *level = NULL;

    if (words[0] == NULL)
        return th_options_refuse("ctl", "say what: status, connections, cache list, ...");
    asked->verb = find_verb(words[0], words[1]);
    if (asked->verb == NULL)
        return th_options_refuse("ctl", strcmp(words[0], "cache") == 0
                                            ? "say cache list or cache purge"
                                            : "that is none of the things it can do");
    const char *rest = asked->verb->sub == NULL ? words[1] : words[2];
    if (rest != NULL && strcmp(asked->verb->name, "log-level") == 0) {
        level = rest;
        rest = asked->verb->sub == NULL ? words[2] : NULL;
    }
    if (rest != NULL)
        return th_options_refuse("ctl", "there is a word too many");
    asked->level = level;
    bool filtered = asked->connection != NULL || asked->agent != NULL || asked->subject != NULL;
    if ((filtered || asked->all) && !asked->verb->filters)
        return th_options_refuse("ctl", "--connection, --agent, --subject and --all are of cache "
                                        "and revoke");
    if (filtered && asked->all)
        return th_options_refuse("ctl", "--all is not one of some");
    if (asked->verb->wants_a_scope && !filtered && !asked->all)
        return th_options_refuse("ctl", "say which: --connection, --agent, --subject or --all");
    return -1;
}

/* Names may have nothing that a URL or JSON would write otherwise. */
static bool is_plain(const char *value)
{
    size_t len = strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    return len > 0 && value[len] == '\0' && len <= 64;
}

static int add_filter(struct asked *asked, const char *name, const char *value)
{
    size_t len = strlen(asked->path);

    if (value == NULL)
        return -1;
    if (!is_plain(value))
        return th_options_refuse("ctl", "--%s: that cannot be the name of one", name);
    if (asked->verb->posts)
        th_buf_printf(&asked->body, "%s\"%s\": \"%s\"", asked->body.len > 1 ? ", " : "", name,
                      value);
    else
        snprintf(asked->path + len, sizeof asked->path - len, "%c%s=%s",
                 strchr(asked->path, '?') == NULL ? '?' : '&', name, value);
    return -1;
}

static int make_request(struct asked *asked)
{
    int status = -1;

    snprintf(asked->path, sizeof asked->path, "%s", asked->verb->path);
    th_buf_add_char(&asked->body, '{');
    if (asked->verb->filters) {
        status = add_filter(asked, "connection", asked->connection);
        if (status < 0)
            status = add_filter(asked, "agent", asked->agent);
        if (status < 0)
            status = add_filter(asked, "subject", asked->subject);
        if (asked->verb->posts && asked->body.len == 1)
            th_buf_printf(&asked->body, "\"all\": true");
    }
    if (asked->level != NULL && !is_plain(asked->level))
        return th_options_refuse("ctl", "a level is error, warn, info or debug");
    if (asked->level != NULL)
        th_buf_printf(&asked->body, "\"level\": \"%s\"", asked->level);
    th_buf_add_char(&asked->body, '}');
    return status;
}

/* --- whom --- */

static int take_config(struct asked *asked)
{
    struct th_config *config = NULL;
    int status = th_options_load(asked->config_path, &config);

    if (status != TH_EXIT_FINE) {
        fputs("tokenhop ctl: with --address (and --token-file) no configuration is needed\n",
              stderr);
        return status;
    }
    const struct th_config_admin *admin = &th_config_get(config)->admin;
    if (admin->path.len > 0)
        snprintf(asked->where, sizeof asked->where, "unix:%.*s", TH_STR_ARGS(admin->path));
    else
        snprintf(asked->where, sizeof asked->where, "%.*s", TH_STR_ARGS(admin->address_text));
    asked->token = admin->token != NULL ? th_secret_ref(admin->token) : NULL;
    th_config_unref(config);
    if (asked->where[0] == '\0')
        return th_options_refuse("ctl", "this configuration has no admin listener: add \"admin\"");
    return -1;
}

static int find_listener(struct asked *asked)
{
    struct th_errinfo info = {0};

    if (asked->config_path != NULL && asked->address != NULL)
        return th_options_refuse("ctl", "either --config or --address");
    if (asked->config_path != NULL) {
        int status = take_config(asked);
        if (status >= 0)
            return status;
    } else {
        snprintf(asked->where, sizeof asked->where, "%s",
                 asked->address != NULL ? asked->address : DEFAULT_ADDRESS);
    }
    if (asked->token_file == NULL)
        return -1;
    asked->token = th_secret_unref(asked->token);
    if (th_secret_read_file(asked->token_file, TOKEN_MAX, true, &asked->token, &info) < 0) {
        th_options_print_error("ctl", &info);
        return TH_EXIT_USAGE;
    }
    return -1;
}

/* --- the call --- */

static size_t on_bytes(char *bytes, size_t size, size_t count, void *arg)
{
    struct th_buf *answer = arg;
    th_buf_add(answer, bytes, size * count);
    return answer->failed ? 0 : size * count;
}

static struct curl_slist *make_fields(const struct asked *asked)
{
    struct th_buf field;
    struct curl_slist *list = curl_slist_append(NULL, "X-Tokenhop-Admin: 1");

    list = list != NULL ? curl_slist_append(list, "Content-Type: application/json") : NULL;
    if (list == NULL || asked->token == NULL)
        return list;
    struct th_str token = th_secret_expose(asked->token);
    th_buf_init_secret(&field, TOKEN_MAX + 64);
    th_buf_printf(&field, "Authorization: Bearer %.*s", TH_STR_ARGS(token));
    if (!field.failed)
        list = curl_slist_append(list, field.ptr);
    th_buf_fini(&field);
    return list;
}

static void set_up(CURL *curl, const struct asked *asked, struct curl_slist *fields,
                   struct th_buf *answer, char *why)
{
    char url[sizeof asked->where + sizeof asked->path + 16];
    bool local = strncmp(asked->where, "unix:", 5) == 0;

    snprintf(url, sizeof url, "http://%s%s", local ? "localhost" : asked->where, asked->path);
    if (local)
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, asked->where + 5);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, fields);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, TOTAL_SECONDS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    if (!asked->verb->posts && asked->level == NULL)
        return;
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, asked->body.ptr);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)asked->body.len);
}

/* libcurl knows of a unix socket no more than that it is not a host. */
static void say_unreached(const struct asked *asked, CURL *curl, CURLcode code, const char *why)
{
    long err = 0;

    curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &err);
    if (code == CURLE_COULDNT_CONNECT && err != 0)
        why = strerror((int)err);
    else if (why[0] == '\0')
        why = curl_easy_strerror(code);
    fprintf(stderr, "tokenhop ctl: %s: %s; is tokenhop running, and may you use its socket?\n",
            asked->where, why);
}

/* The HTTP status; 0: nobody answered, which was said. */
static long call(const struct asked *asked, struct th_buf *answer)
{
    char why[CURL_ERROR_SIZE] = "";
    long status = 0;
    CURL *curl = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? curl_easy_init() : NULL;
    struct curl_slist *fields = make_fields(asked);

    if (curl == NULL || fields == NULL) {
        fputs("tokenhop ctl: out of memory\n", stderr);
    } else {
        set_up(curl, asked, fields, answer, why);
        CURLcode code = curl_easy_perform(curl);
        if (code == CURLE_OK)
            curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        else
            say_unreached(asked, curl, code, why);
    }
    curl_slist_free_all(fields);
    curl_easy_cleanup(curl);
    curl_global_cleanup();
    return status;
}

static int show(const struct asked *asked, long status, const struct th_buf *answer)
{
    json_t *json = NULL;
    bool fine = status >= 200 && status <= 299;

    if (asked->json || (fine && asked->verb->show == NULL)) {
        fwrite(answer->ptr != NULL ? answer->ptr : "", 1, answer->len, stdout);
    } else if (th_json_parse_object(th_buf_str(answer), ANSWER_MAX, &json) < 0) {
        fprintf(stderr, "tokenhop ctl: %s: status %ld, and an answer that is not tokenhop's\n",
                asked->where, status);
        fine = false;
    } else if (fine) {
        asked->verb->show(stdout, json);
    } else {
        th_ctl_show_refusal(stderr, json);
    }
    json_decref(json);
    return fine ? TH_EXIT_FINE : TH_EXIT_NOT_SO;
}

static int run(struct asked *asked)
{
    struct th_buf answer;
    int status = make_request(asked);

    if (status < 0)
        status = find_listener(asked);
    if (status >= 0)
        return status;
    th_buf_init(&answer, ANSWER_MAX);
    long http_status = asked->body.failed ? 0 : call(asked, &answer);
    status = http_status != 0 ? show(asked, http_status, &answer) : TH_EXIT_NOT_SO;
    th_buf_fini(&answer);
    return status;
}

static int ctl(int argc, char **argv)
{
    struct asked asked = {0};
    struct th_errinfo info = {0};
    const char *words[3] = {NULL};
    const struct th_option options[] = {
        {"config", 'c', &asked.config_path, NULL},
        {"address", '\0', &asked.address, NULL},
        {"token-file", '\0', &asked.token_file, NULL},
        {"connection", '\0', &asked.connection, NULL},
        {"agent", '\0', &asked.agent, NULL},
        {"subject", '\0', &asked.subject, NULL},
        {"all", '\0', NULL, &asked.all},
        {"json", '\0', NULL, &asked.json},
    };
    int status = th_options_parse(argc, argv, usage, options, TH_COUNT_OF(options), words,
                                  TH_COUNT_OF(words));

    if (status < 0)
        status = take_words(&asked, words);
    if (status >= 0)
        return status;
    if (th_process_harden(&info) < 0) { /* it may read the admin token */
        th_options_print_error("ctl", &info);
        return TH_EXIT_USAGE;
    }
    th_buf_init(&asked.body, 4096);
    status = run(&asked);
    th_buf_fini(&asked.body);
    th_secret_unref(asked.token);
    return status;
}

const struct th_command th_command_ctl = {"ctl", "looks at a running one, and steers it", usage,
                                          ctl};
