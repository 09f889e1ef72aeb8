#include "registry.h"

#include <stdio.h>
#include <unistd.h>

#include "certificate.h"
#include "keys.h"
#include "provider.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"

static char *join(const char *a, const char *b)
{
    size_t len = strlen(a) + strlen(b) + 1;
    char *text = th_malloc(len);
    if (text != NULL)
        snprintf(text, len, "%s%s", a, b);
    return text;
}

/* A path there is none of stays NULL. */
static bool join_path(char **ret_url, const char *base, const char *path)
{
    *ret_url = path != NULL ? join(base, path) : NULL;
    return path == NULL || *ret_url != NULL;
}

static int init_provider(struct th_registry_server *server, const struct th_provider_row *provider,
                         const char *folder, const char *base, struct th_errinfo *reterr)
{
    if (!join_path(&server->token_url, base, provider->token_path) ||
        !join_path(&server->revoke_url, base, provider->revoke_path) ||
        !join_path(&server->keys_url, base, provider->keys_path))
        return th_errinfo_set(reterr, TH_E_NOMEM, NULL, NULL, "out of memory");
    return th_sandbox_key_open(folder, server->row->name, server->row->name, TH_JWS_ES256,
                               &server->signing, reterr);
}

static int init_server(struct th_registry_server *server, const struct th_server_row *row,
                       const char *folder, const char *base, struct th_errinfo *reterr)
{
    server->row = row;
    server->issuer = join(base, row->path);
    if (server->issuer == NULL)
        return th_errinfo_set(reterr, TH_E_NOMEM, NULL, NULL, "out of memory");
    if (th_provider_of(server) != NULL)
        return init_provider(server, th_provider_of(server), folder, base, reterr);
    /* Okta's rule of derivation (reference, section 1). */
    server->token_url = join(server->issuer, row->org ? "/oauth2/v1/token" : "/v1/token");
    server->revoke_url = join(server->issuer, row->org ? "/oauth2/v1/revoke" : "/v1/revoke");
    server->keys_url = join(server->issuer, row->org ? "/oauth2/v1/keys" : "/v1/keys");
    if (server->token_url == NULL || server->revoke_url == NULL || server->keys_url == NULL)
        return th_errinfo_set(reterr, TH_E_NOMEM, NULL, NULL, "out of memory");
    return th_sandbox_key_open(folder, row->name, row->name, TH_JWS_RS256, &server->signing,
                               reterr);
}

static int init_client(struct th_registry_client *client, const struct th_client_row *row,
                       const char *folder, struct th_errinfo *reterr)
{
    char second[64];
    client->row = row;
    if (row->kind == TH_CLIENT_IS_WEB) /* signs users in, never authenticates here */
        return 0;
    int e = th_sandbox_key_open(folder, row->name, "k1", TH_JWS_RS256, &client->keys[0], reterr);
    if (e != 0)
        return e;
    snprintf(second, sizeof second, "%s-es256", row->name);
    e = th_sandbox_key_open(folder, second, "k2", TH_JWS_ES256, &client->keys[1], reterr);
    if (e != 0)
        return e;
    return th_sandbox_secret_open(folder, row->name, &client->secret, &client->secret_file, reterr);
}

static int init_registration(struct th_registry_registration *registration,
                             const struct th_registry_server *server,
                             const struct th_registry_client *client, const char *folder,
                             struct th_errinfo *reterr)
{
    char name[64];
    registration->client = client;
    snprintf(name, sizeof name, "%s-%s", server->row->name, client->row->name);
    switch (registration->row->method) {
    case TH_CLIENT_BY_BASIC:
    case TH_CLIENT_BY_POST:
    case TH_CLIENT_BY_SECRET_JWT:
        return th_sandbox_secret_open(folder, name, &registration->secret,
                                      &registration->secret_file, reterr);
    case TH_CLIENT_BY_CERTIFICATE:
        return th_sandbox_certificate_open(folder, name, client->keys[0].file, registration->x5t,
                                           registration->x5t_s256, &registration->certificate_file,
                                           reterr);
    case TH_CLIENT_BY_KEY:
    case TH_CLIENT_BY_NOTHING:
    case TH_CLIENT_BY_TLS:
        return 0;
    }
    return 0;
}

static int init_registrations(struct th_registry *registry, struct th_registry_server *server,
                              const char *folder, struct th_errinfo *reterr)
{
    const struct th_provider_row *provider = th_provider_of(server);
    int e = 0;
    for (size_t i = 0; e == 0 && provider != NULL && i < TH_REGISTRY_REGISTRATIONS; i++) {
        const struct th_registered_row *row = &provider->clients[i];
        server->registrations[i].row = row;
        if (row->client_id != NULL)
            e = init_registration(&server->registrations[i], server,
                                  &registry->clients[row->client], folder, reterr);
    }
    return e;
}

int th_registry_init(struct th_registry *registry, const char *folder, const char *base,
                     const char *const urls[TH_RESOURCE_COUNT], struct th_errinfo *reterr)
{
    int e = 0;
    for (size_t i = 0; e == 0 && i < TH_SERVER_COUNT; i++)
        e = init_server(&registry->servers[i], &th_world_servers[i], folder, base, reterr);
    for (size_t i = 0; e == 0 && i < TH_CLIENT_COUNT; i++)
        e = init_client(&registry->clients[i], &th_world_clients[i], folder, reterr);
    for (size_t i = 0; e == 0 && i < TH_SERVER_COUNT; i++)
        e = init_registrations(registry, &registry->servers[i], folder, reterr);
    for (size_t i = 0; e == 0 && i < TH_RESOURCE_COUNT; i++) {
        struct th_registry_resource *resource = &registry->resources[i];
        resource->row = &th_world_resources[i];
        resource->url = th_strdup(urls[i]);
        resource->audience =
            th_strdup(resource->row->by_default_audience
                          ? th_world_servers[resource->row->server].default_audience
                          : urls[i]);
        if (resource->url == NULL || resource->audience == NULL)
            e = th_errinfo_set(reterr, TH_E_NOMEM, NULL, NULL, "out of memory");
    }
    if (e == 0)
        e = th_sandbox_key_open(folder, "stranger-es256", "stranger", TH_JWS_ES256,
                                &registry->stranger_es256, reterr);
    if (e == 0)
        e = th_sandbox_key_open(folder, "stranger", "stranger", TH_JWS_RS256, &registry->stranger,
                                reterr);
    return e;
}

void th_registry_fini(struct th_registry *registry, bool remove_files)
{
    for (size_t i = 0; i < TH_SERVER_COUNT; i++) {
        struct th_registry_server *server = &registry->servers[i];
        th_free(server->issuer);
        th_free(server->token_url);
        th_free(server->revoke_url);
        th_free(server->keys_url);
        th_sandbox_key_close(&server->signing, remove_files);
        for (size_t k = 0; k < TH_REGISTRY_REGISTRATIONS; k++) {
            struct th_registry_registration *registration = &server->registrations[k];
            th_sandbox_secret_close(&registration->secret, &registration->secret_file,
                                    remove_files);
            th_sandbox_certificate_close(&registration->certificate_file, remove_files);
        }
    }
    for (size_t i = 0; i < TH_CLIENT_COUNT; i++) {
        for (size_t k = 0; k < TH_REGISTRY_CLIENT_KEYS; k++)
            th_sandbox_key_close(&registry->clients[i].keys[k], remove_files);
        th_sandbox_secret_close(&registry->clients[i].secret, &registry->clients[i].secret_file,
                                remove_files);
    }
    for (size_t i = 0; i < TH_RESOURCE_COUNT; i++) {
        th_free(registry->resources[i].url);
        th_free(registry->resources[i].audience);
    }
    th_sandbox_key_close(&registry->stranger, remove_files);
    th_sandbox_key_close(&registry->stranger_es256, remove_files);
    memset(registry, 0, sizeof *registry);
}

const struct th_registry_server *th_registry_find_issuer(const struct th_registry *registry,
                                                         struct th_str issuer)
{
    for (size_t i = 0; i < TH_SERVER_COUNT; i++) {
        if (th_str_equal(issuer, th_str_of(registry->servers[i].issuer)))
            return &registry->servers[i];
    }
    return NULL;
}

const struct th_registry_server *th_registry_find_server(const struct th_registry *registry,
                                                         struct th_str name)
{
    for (size_t i = 0; i < TH_SERVER_COUNT; i++) {
        if (th_str_equal(name, th_str_of(registry->servers[i].row->name)))
            return &registry->servers[i];
    }
    return NULL;
}

const struct th_registry_client *th_registry_find_client(const struct th_registry *registry,
                                                         struct th_str client_id)
{
    for (size_t i = 0; i < TH_CLIENT_COUNT; i++) {
        if (th_str_equal(client_id, th_str_of(registry->clients[i].row->client_id)))
            return &registry->clients[i];
    }
    return NULL;
}

const struct th_registry_registration *th_registry_find_registration(
    const struct th_registry_server *server, struct th_str client_id)
{
    for (size_t i = 0; i < TH_REGISTRY_REGISTRATIONS; i++) {
        const struct th_registry_registration *registration = &server->registrations[i];
        if (registration->client != NULL &&
            th_str_equal(client_id, th_str_of(registration->row->client_id)))
            return registration;
    }
    return NULL;
}

const struct th_registry_registration *th_registry_registration_of(
    const struct th_registry_server *server, const struct th_registry_client *client)
{
    for (size_t i = 0; client != NULL && i < TH_REGISTRY_REGISTRATIONS; i++) {
        if (server->registrations[i].client == client)
            return &server->registrations[i];
    }
    return NULL;
}

const struct th_registry_client *th_registry_find_client_name(const struct th_registry *registry,
                                                              struct th_str name)
{
    for (size_t i = 0; i < TH_CLIENT_COUNT; i++) {
        if (th_str_equal(name, th_str_of(registry->clients[i].row->name)))
            return &registry->clients[i];
    }
    return NULL;
}

const struct th_registry_key *th_registry_find_key(const struct th_registry_client *client,
                                                   struct th_str kid)
{
    for (size_t i = 0; i < TH_REGISTRY_CLIENT_KEYS; i++) {
        if (client->keys[i].key != NULL && th_str_equal(kid, th_str_of(client->keys[i].kid)))
            return &client->keys[i];
    }
    return NULL;
}

const struct th_user_row *th_registry_find_user(struct th_str subject)
{
    for (size_t i = 0; i < TH_USER_COUNT; i++) {
        if (th_str_equal(subject, th_str_of(th_world_users[i].id)) ||
            th_str_equal(subject, th_str_of(th_world_users[i].login)))
            return &th_world_users[i];
    }
    return NULL;
}

const struct th_user_row *th_registry_find_user_name(struct th_str name)
{
    for (size_t i = 0; i < TH_USER_COUNT; i++) {
        if (th_str_equal(name, th_str_of(th_world_users[i].name)))
            return &th_world_users[i];
    }
    return NULL;
}

const struct th_registry_resource *th_registry_find_resource(const struct th_registry *registry,
                                                             struct th_str name)
{
    for (size_t i = 0; i < TH_RESOURCE_COUNT; i++) {
        if (th_str_equal(name, th_str_of(registry->resources[i].row->name)))
            return &registry->resources[i];
    }
    return NULL;
}

const struct th_registry_resource *th_registry_find_url(const struct th_registry *registry,
                                                        struct th_str url)
{
    for (size_t i = 0; i < TH_RESOURCE_COUNT; i++) {
        if (th_str_equal(url, th_str_of(registry->resources[i].url)))
            return &registry->resources[i];
    }
    return NULL;
}

struct th_str th_registry_client_url(const struct th_registry *registry,
                                     const struct th_registry_client *client)
{
    if (client->row->kind != TH_CLIENT_IS_AGENT)
        return TH_STR("");
    const struct th_registry_resource *resource =
        th_registry_find_resource(registry, th_str_of(client->row->name));
    return resource != NULL ? th_str_of(resource->url) : TH_STR("");
}

bool th_registry_is_linked(const struct th_registry *registry,
                           const struct th_registry_client *from,
                           const struct th_registry_client *to)
{
    for (size_t i = 0; i < th_world_links_count; i++) {
        if (from == &registry->clients[th_world_links[i].from] &&
            to == &registry->clients[th_world_links[i].to])
            return true;
    }
    return false;
}

bool th_registry_is_assigned(const struct th_registry *registry, const struct th_user_row *user,
                             const struct th_registry_client *client)
{
    return client->row->user_access &&
           (user->assigned & (1u << (size_t)(client - registry->clients))) != 0;
}

const struct th_policy_row *th_registry_find_policy(const struct th_registry *registry,
                                                    const struct th_registry_server *server,
                                                    const struct th_registry_client *client)
{
    for (size_t i = 0; i < th_world_policies_count; i++) {
        const struct th_policy_row *row = &th_world_policies[i];
        if (server == &registry->servers[row->server] && client == &registry->clients[row->client])
            return row;
    }
    return NULL;
}
