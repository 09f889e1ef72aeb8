#include "version.h"

#include <openssl/evp.h>
#include <stdlib.h>

#include "tokenhop/base/mem.h"

struct digest {
    EVP_MD_CTX *ctx;
    bool failed;
};

static void add_bytes(struct digest *d, const void *bytes, size_t len)
{
    if (len > 0 && EVP_DigestUpdate(d->ctx, bytes, len) != 1)
        d->failed = true;
}

static void add_number(struct digest *d, uint64_t number)
{
    add_bytes(d, &number, sizeof(number)); /* never leaves this process: any byte order will do */
}

/* With its length before it, so that no two lists of texts run together to the same bytes. */
static void add_text(struct digest *d, struct th_str text)
{
    add_number(d, text.len);
    add_bytes(d, text.ptr, text.len);
}

static void add_server(struct digest *d, const struct th_config_authorization_server *server)
{
    add_text(d, server->issuer);
    add_text(d, server->token_endpoint);
    add_text(d, server->jwks_uri);
    add_number(d, server->assertion_audience_issuer);
}

/* What a token may be bound to (RFC 8705, 3). */
static void add_identity(struct digest *d, const struct th_identity *identity)
{
    add_number(d, identity != NULL);
    if (identity != NULL)
        add_bytes(d, identity->sha256, sizeof(identity->sha256));
}

static void add_texts(struct digest *d, const struct th_str *texts, size_t n)
{
    add_number(d, n);
    for (size_t i = 0; i < n; i++)
        add_text(d, texts[i]);
}

static void add_servers(struct digest *d,
                        const struct th_config_authorization_server *const *servers, size_t n)
{
    add_number(d, n);
    for (size_t i = 0; i < n; i++)
        add_server(d, servers[i]);
}

/* Whose subject tokens it may present, as far as that is not the connection's own affair. */
static void add_trust(struct digest *d, const struct th_config_agent *agent,
                      const struct th_config_connection *connection)
{
    bool is_own = connection->n_subject_issuers > 0;
    add_texts(d, agent->linked_client_ids, agent->n_linked_client_ids);
    if (!is_own && connection->subject_verify != TH_SUBJECT_VERIFY_NEVER)
        add_servers(d, agent->subject_issuers, agent->n_subject_issuers);
}

static void add_agent(struct digest *d, const struct th_config_agent *agent,
                      const struct th_config_connection *connection)
{
    const struct th_config_authorization_server *server = connection->server;
    const struct th_config_auth *auth;
    struct th_str client_id;
    add_text(d, agent->name);
    add_text(d, agent->client_id);
    add_text(d, agent->resource);
    add_server(d, agent->server);
    add_trust(d, agent, connection);
    if (server != NULL) {
        th_config_agent_registration(agent, server, &client_id, &auth);
        add_text(d, client_id);
        add_identity(d, th_config_auth_is_by_certificate(auth) ? auth->identity : NULL);
    }
    th_config_agent_registration(agent, agent->server, &client_id, &auth);
    add_text(d, client_id);
    add_identity(d, th_config_auth_is_by_certificate(auth) ? auth->identity : NULL);
}

static int compare_agents(const void *left, const void *right)
{
    struct th_str a = (*(const struct th_config_agent *const *)left)->name;
    struct th_str b = (*(const struct th_config_agent *const *)right)->name;
    int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* The credential is kept as the field's value. */
static void add_inject(struct digest *d, const struct th_config_inject *inject)
{
    add_number(d, inject->scheme);
    add_text(d, inject->header);
    add_number(d, inject->n_parts);
    for (size_t i = 0; i < inject->n_parts; i++) {
        add_number(d, inject->parts[i].is_name);
        add_text(d, inject->parts[i].text);
    }
}

/* What the requests say beyond the agent's, the server's and the scopes. */
static void add_requests(struct digest *d, const struct th_config_connection *connection)
{
    const struct th_config_client *client = connection->subject_client;
    add_text(d, connection->audience);
    add_texts(d, connection->more_audiences, connection->n_more_audiences);
    add_text(d, connection->resource);
    add_texts(d, connection->more_resources, connection->n_more_resources);
    add_number(d, connection->second_leg_resource);
    add_text(d, connection->requested_token_type);
    add_text(d, connection->requested_token_use);
    add_text(d, connection->grant_type);
    add_number(d, connection->actor.source);
    add_text(d, connection->actor.token_type);
    add_text(d, connection->actor.scope_text);
    add_text(d, connection->actor.resource);
    add_number(d, connection->n_parameters);
    for (size_t i = 0; i < connection->n_parameters; i++) {
        add_text(d, connection->parameters[i].name);
        add_text(d, connection->parameters[i].value);
        add_number(d, connection->parameters[i].leg);
    }
    add_text(d, connection->subject_type_uri);
    add_number(d, client != NULL);
    if (client != NULL) {
        add_server(d, client->server);
        add_text(d, client->client_id);
        add_text(d, client->scope_text);
    }
}

static void add_connection(struct digest *d, const struct th_config_connection *connection)
{
    const struct th_config_issued_checks *checks = &connection->issued_checks;
    add_text(d, TH_STR("tokenhop connection 1"));
    add_text(d, connection->name);
    add_number(d, connection->type);
    if (connection->server != NULL)
        add_server(d, connection->server);
    add_requests(d, connection);
    add_text(d, connection->scope_text);
    add_text(d, connection->second_leg_scope_text);
    add_number(d, connection->subject_type);
    add_number(d, connection->dpop);
    add_identity(d, connection->client_certificate);
    add_inject(d, &connection->inject);
    add_number(d, connection->subject_verify);
    add_servers(d, connection->subject_issuers, connection->n_subject_issuers);
    add_number(d, checks->audience | checks->subject << 1 | checks->scope << 2 |
                      checks->chain << 3 | checks->type << 4);
}

int th_config_version_digest(const struct th_config_connection *connection, uint8_t ret_version[16])
{
    uint8_t whole[EVP_MAX_MD_SIZE];
    size_t n = connection->n_agents;
    struct digest d = {EVP_MD_CTX_new(), false};
    TH_CLEANUP(th_freep)
    const struct th_config_agent **agents = th_calloc(n, sizeof(const struct th_config_agent *));
    if (agents == NULL || d.ctx == NULL || EVP_DigestInit_ex(d.ctx, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(d.ctx);
        return TH_E_NOMEM;
    }
    add_connection(&d, connection);
    for (size_t i = 0; i < n; i++)
        agents[i] = connection->agents[i];
    qsort(agents, n, sizeof(const struct th_config_agent *), compare_agents);
    for (size_t i = 0; i < n; i++)
        add_agent(&d, agents[i], connection);
    if (EVP_DigestFinal_ex(d.ctx, whole, NULL) != 1)
        d.failed = true;
    EVP_MD_CTX_free(d.ctx);
    if (d.failed)
        return TH_E_NOMEM;
    memcpy(ret_version, whole, 16);
    return 0;
}
