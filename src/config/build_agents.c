/* Authorization servers and agents: from what the file says to the model. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader.h"
#include "text.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "url.h"

/* "did you mean", for a name that is none of `n` things that begin with their name. */
static void report_reference(struct th_loader *l, uint32_t place, const char *kind,
                             const struct th_nearest *nearest)
{
    char mend[160];
    if (nearest->best.len > 0)
        snprintf(mend, sizeof(mend), "did you mean \"%.*s\"?", TH_STR_ARGS(nearest->best));
    else
        snprintf(mend, sizeof(mend), "name one of \"%ss\", or add it there",
                 strcmp(kind, "agent") == 0 ? kind : "authorization_server");
    th_loader_report(l, place, mend, "there is no %s of this name", kind);
}

const struct th_config_authorization_server *th_build_find_server(struct th_loader *loader,
                                                                  struct th_str name,
                                                                  uint32_t place)
{
    const struct th_config_view *view = &loader->config->view;
    struct th_nearest nearest;
    if (name.ptr == NULL)
        return NULL;
    for (size_t i = 0; i < view->n_servers; i++) {
        if (th_str_equal(view->servers[i].name, name))
            return &view->servers[i];
    }
    th_nearest_init(&nearest, name);
    for (size_t i = 0; i < view->n_servers; i++)
        th_nearest_offer(&nearest, view->servers[i].name);
    report_reference(loader, place, "authorization server", &nearest);
    return NULL;
}

const struct th_config_agent *th_build_find_agent(struct th_loader *loader, struct th_str name,
                                                  uint32_t place)
{
    const struct th_config_view *view = &loader->config->view;
    struct th_nearest nearest;
    if (name.ptr == NULL)
        return NULL;
    for (size_t i = 0; i < view->n_agents; i++) {
        if (th_str_equal(view->agents[i].name, name))
            return &view->agents[i];
    }
    th_nearest_init(&nearest, name);
    for (size_t i = 0; i < view->n_agents; i++)
        th_nearest_offer(&nearest, view->agents[i].name);
    report_reference(loader, place, "agent", &nearest);
    return NULL;
}

/* --- authorization servers --- */

/* Reads a URL that tokens are sent to; false when it was reported. */
static bool check_server_url(struct th_loader *l, const struct th_raw_server *raw,
                             struct th_str text, const char *member, struct th_config_url *ret_url)
{
    struct th_errinfo info = {0};
    uint32_t place = th_loader_member(l, raw->head.place, member);
    if (text.ptr == NULL)
        return false;
    if (th_config_url_split(text, false, ret_url, &info) < 0) {
        th_loader_report_info(l, place, &info);
        return false;
    }
    if (!ret_url->https && !ret_url->loopback && !raw->allow_cleartext) {
        th_loader_report(l, place,
                         "write https://, or set \"allow_cleartext\": true on this server if its "
                         "network is trusted with every token",
                         "tokens would cross the network in cleartext");
        return false;
    }
    return true;
}

/* What Okta's endpoints begin with, after the issuer (reference, section 1); NULL: not Okta's
 * shape. */
static const char *okta_infix(const struct th_config_url *issuer)
{
    static const struct th_str prefix = TH_STR("/oauth2/");
    if (issuer->query.len > 0)
        return NULL;
    if (issuer->path.len == 0)
        return "/oauth2";
    if (!th_str_starts_with(issuer->path, prefix) || issuer->path.len == prefix.len ||
        memchr(issuer->path.ptr + prefix.len, '/', issuer->path.len - prefix.len) != NULL)
        return NULL;
    return "";
}

static struct th_str derive(struct th_loader *l, struct th_str issuer, const char *infix,
                            const char *name)
{
    char *url = th_arena_printf(l->arena, "%.*s%s/v1/%s", TH_STR_ARGS(issuer), infix, name);
    if (url == NULL)
        l->nomem = true;
    return th_str_of(url);
}

static void check_issuer(struct th_loader *l, const struct th_raw_server *raw,
                         struct th_config_authorization_server *server)
{
    struct th_config_url url;
    uint32_t place = th_loader_member(l, raw->head.place, "issuer");
    if (!check_server_url(l, raw, raw->issuer, "issuer", &url))
        return;
    if (url.query.len > 0) {
        th_loader_report(l, place, "leave out '?' and what follows it",
                         "an issuer has no query (RFC 8414)");
        return;
    }
    const char *infix = okta_infix(&url);
    if (infix == NULL)
        return; /* what is not configured is in its metadata */
    server->is_okta = server->token_endpoint.ptr == NULL;
    if (server->token_endpoint.ptr == NULL)
        server->token_endpoint = derive(l, raw->issuer, infix, "token");
    if (server->revocation_endpoint.ptr == NULL)
        server->revocation_endpoint = derive(l, raw->issuer, infix, "revoke");
    if (server->jwks_uri.ptr == NULL)
        server->jwks_uri = derive(l, raw->issuer, infix, "keys");
}

static void fclosep(FILE **file)
{
    if (*file != NULL)
        (void)fclose(*file);
}

static int no_password(char *buf, int size, int writing, void *arg)
{
    return -1;
}

/* NULL when the file is a regular one of certificates, all of which can be read, else what is
 * wrong. */
static const char *check_certificates(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    TH_CLEANUP(fclosep) FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (fd < 0 && errno == EACCES)
        return "the file of certificates cannot be opened: Permission denied: " TH_SECRET_MEND_DENIED;
    if (file == NULL) {
        if (fd >= 0)
            (void)close(fd);
        return "the file of certificates cannot be opened";
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return "the file of certificates is not a regular file";
    ERR_clear_error();
    bool found = false;
    X509 *certificate;
    while ((certificate = PEM_read_X509(file, NULL, no_password, NULL)) != NULL) {
        X509_free(certificate);
        found = true;
    }
    bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    if (!at_end)
        return "a certificate of the file cannot be read";
    return found ? NULL : "the file holds no certificate in PEM form";
}

struct th_str th_build_ca_file(struct th_loader *loader, struct th_str name, uint32_t place,
                               struct th_file_mark *ret_mark)
{
    if (name.ptr == NULL)
        return TH_STR_NONE;
    struct th_str file = th_loader_file(loader, name);
    const struct th_file_mark *mark = file.ptr != NULL ? th_loader_watch(loader, file) : NULL;
    const char *what = mark != NULL ? check_certificates(file.ptr) : NULL;
    if (ret_mark != NULL && mark != NULL)
        *ret_mark = *mark;
    if (what != NULL)
        th_loader_report(loader, th_loader_member(loader, place, "ca_file"),
                         "names are relative to the configuration file's folder", "%s", what);
    return file;
}

/* Rounded up: who may have 3 is not warned at the second. */
static void build_quota(const struct th_raw_quota *raw, struct th_config_quota *ret_quota)
{
    struct th_errinfo ignored;
    unsigned percent;
    if (raw->warn_at.ptr == NULL || th_text_to_percent(raw->warn_at, &percent, &ignored) < 0)
        return; /* was reported */
    ret_quota->exchanges_per_user_month = raw->exchanges_per_user_month;
    ret_quota->warn_at = (raw->exchanges_per_user_month * percent + 99) / 100;
}

void th_build_servers(struct th_loader *loader)
{
    static const struct th_str assertion_typs[] = {TH_STR(""), TH_STR("JWT"),
                                                   TH_STR("client-authentication+jwt")};
    const struct th_raw_server *raw = loader->raw.servers.items;
    size_t n = loader->raw.servers.n;
    struct th_config_authorization_server *servers = th_loader_alloc(loader, n, sizeof(*servers));
    if (servers == NULL)
        return;
    for (size_t i = 0; i < n; i++, raw++) {
        struct th_config_url url;
        servers[i].name = raw->head.name;
        servers[i].issuer = raw->issuer;
        servers[i].allow_cleartext = raw->allow_cleartext;
        servers[i].assertion_audience_issuer = raw->assertion_audience != 0;
        servers[i].assertion_typ = assertion_typs[raw->assertion_typ];
        servers[i].client_id_in_body = raw->client_id_in_body;
        servers[i].assertion_nbf = raw->assertion_nbf;
        build_quota(&raw->quota, &servers[i].quota);
        servers[i].token_endpoint = raw->token_endpoint;
        servers[i].revocation_endpoint = raw->revocation_endpoint;
        servers[i].jwks_uri = raw->jwks_uri;
        check_issuer(loader, raw, &servers[i]);
        (void)check_server_url(loader, raw, raw->token_endpoint, "token_endpoint", &url);
        (void)check_server_url(loader, raw, raw->revocation_endpoint, "revocation_endpoint", &url);
        (void)check_server_url(loader, raw, raw->jwks_uri, "jwks_uri", &url);
        servers[i].ca_file =
            th_build_ca_file(loader, raw->ca_file, raw->head.place, &servers[i].ca_mark);
    }
    loader->config->view.servers = servers;
    loader->config->view.n_servers = n;
}

/* --- agents --- */

/* Without TLS there would be nothing but the client id. An endpoint that the metadata has is looked at
 * when it is used. */
static void check_certificate_use(struct th_loader *l, const struct th_config_auth *auth,
                                  const struct th_config_authorization_server *server,
                                  uint32_t place)
{
    if (server != NULL && th_config_auth_is_by_certificate(auth) &&
        th_str_starts_with(server->token_endpoint, TH_STR("http://")))
        th_loader_report(l, th_loader_member(l, place, "method"),
                         "give the server an https:// token_endpoint, or choose another method",
                         "the server's token endpoint is http://, where no certificate is shown");
}

static void build_registrations(struct th_loader *l, const struct th_raw_agent *raw,
                                struct th_config_agent *agent)
{
    const struct th_raw_registration *from = raw->registrations.items;
    size_t n = raw->registrations.n;
    struct th_config_registration *to = th_loader_alloc(l, n, sizeof(*to));
    for (size_t i = 0; to != NULL && i < n; i++, from++) {
        to[i].server = th_build_find_server(l, from->head.name, from->head.place);
        to[i].client_id = from->client_id;
        th_build_auth(l, &from->auth, th_loader_member(l, from->head.place, "auth"), &to[i].auth);
        check_certificate_use(l, &to[i].auth, to[i].server,
                              th_loader_member(l, from->head.place, "auth"));
    }
    agent->registrations = to;
    agent->n_registrations = to != NULL ? n : 0;
}

/* Scheme, host and port: an org of Okta's, with its custom servers. False also for what was
 * reported. */
static bool same_origin(const struct th_config_authorization_server *a,
                        const struct th_config_authorization_server *b)
{
    struct th_config_url left, right;
    struct th_errinfo ignored;
    return a->issuer.ptr != NULL && b->issuer.ptr != NULL &&
           th_config_url_split(a->issuer, false, &left, &ignored) == 0 &&
           th_config_url_split(b->issuer, false, &right, &ignored) == 0 &&
           left.https == right.https && left.port == right.port &&
           th_str_equal_nocase(left.host, right.host);
}

static void build_issuers(struct th_loader *l, struct th_config_agent *agent)
{
    const struct th_config_view *view = &l->config->view;
    const struct th_config_authorization_server **issuers =
        th_loader_alloc(l, view->n_servers, sizeof(const struct th_config_authorization_server *));
    if (issuers == NULL || agent->server == NULL)
        return;
    for (size_t i = 0; i < view->n_servers; i++) {
        const struct th_config_authorization_server *server = &view->servers[i];
        if (server == agent->server || same_origin(server, agent->server))
            issuers[agent->n_subject_issuers++] = server;
    }
    agent->subject_issuers = issuers;
}

void th_build_agents(struct th_loader *loader)
{
    const struct th_raw_agent *raw = loader->raw.agents.items;
    size_t n = loader->raw.agents.n;
    struct th_config_agent *agents = th_loader_alloc(loader, n, sizeof(*agents));
    for (size_t i = 0; agents != NULL && i < n; i++, raw++) {
        uint32_t place = raw->head.place;
        agents[i].name = raw->head.name;
        agents[i].client_id = raw->client_id;
        agents[i].resource = raw->resource;
        agents[i].linked_client_ids = raw->linked_client_ids.items;
        agents[i].n_linked_client_ids = raw->linked_client_ids.n;
        agents[i].server = th_build_find_server(
            loader, raw->server, th_loader_member(loader, place, "authorization_server"));
        th_build_auth(loader, &raw->auth, th_loader_member(loader, place, "auth"), &agents[i].auth);
        check_certificate_use(loader, &agents[i].auth, agents[i].server,
                              th_loader_member(loader, place, "auth"));
        th_build_dpop_key(loader, raw, &agents[i].auth, &agents[i].dpop_key);
        build_registrations(loader, raw, &agents[i]);
        build_issuers(loader, &agents[i]);
    }
    loader->config->view.agents = agents;
    loader->config->view.n_agents = agents != NULL ? n : 0;
}
