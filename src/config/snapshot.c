#include "snapshot.h"

#include "tokenhop/base/mem.h"
#include "tokenhop/base/secret.h"

#define BLOCK_SIZE 16384
#define MAX_SIZE ((size_t)256 << 20) /* far above what a file of 4 MiB can come to */

struct th_config *th_config_new(void)
{
    struct th_config *config = th_calloc(1, sizeof(*config));
    if (config == NULL)
        return NULL;
    th_ref_init(&config->ref);
    th_arena_init(&config->arena, BLOCK_SIZE, MAX_SIZE);
    return config;
}

int th_config_hold(struct th_config *config, struct th_secret *secret)
{
    struct th_held_secret *held = th_arena_calloc(&config->arena, 1, sizeof(*held));
    if (held == NULL) {
        th_secret_unref(secret);
        return TH_E_NOMEM;
    }
    held->secret = secret;
    held->next = config->secrets;
    config->secrets = held;
    return 0;
}

void th_config_let_go(struct th_config *config, const struct th_secret *secret)
{
    for (struct th_held_secret *held = config->secrets; held != NULL; held = held->next)
        if (held->secret == secret)
            held->secret = th_secret_unref(held->secret);
}

int th_config_hold_identity(struct th_config *config, struct th_identity *identity)
{
    struct th_held_identity *held = th_arena_calloc(&config->arena, 1, sizeof(*held));
    if (held == NULL) {
        th_identity_unref(identity);
        return TH_E_NOMEM;
    }
    held->identity = identity;
    held->next = config->identities;
    config->identities = held;
    return 0;
}

const struct th_config_view *th_config_get(const struct th_config *config)
{
    return &config->view;
}

struct th_config *th_config_ref(struct th_config *config)
{
    th_ref_take(&config->ref);
    return config;
}

struct th_config *th_config_unref(struct th_config *config)
{
    if (config == NULL || !th_ref_release(&config->ref))
        return NULL;
    for (struct th_held_secret *held = config->secrets; held != NULL; held = held->next)
        th_secret_unref(held->secret);
    for (struct th_held_identity *held = config->identities; held != NULL; held = held->next)
        th_identity_unref(held->identity);
    th_arena_fini(&config->arena);
    th_free(config);
    return NULL;
}

void th_config_agent_registration(const struct th_config_agent *agent,
                                  const struct th_config_authorization_server *server,
                                  struct th_str *ret_client_id,
                                  const struct th_config_auth **ret_auth)
{
    *ret_client_id = agent->client_id;
    *ret_auth = &agent->auth;
    for (size_t i = 0; i < agent->n_registrations; i++) {
        if (agent->registrations[i].server == server) {
            *ret_client_id = agent->registrations[i].client_id;
            *ret_auth = &agent->registrations[i].auth;
            return;
        }
    }
}

bool th_config_network_holds(const struct th_config_network *network,
                             const struct in6_addr *address, uint16_t port)
{
    unsigned whole = network->prefix / 8, rest = network->prefix % 8;

    if (network->port != 0 && network->port != port)
        return false;
    if (memcmp(network->address.s6_addr, address->s6_addr, whole) != 0)
        return false;
    return rest == 0 ||
           ((network->address.s6_addr[whole] ^ address->s6_addr[whole]) >> (8 - rest)) == 0;
}

const char *th_config_shadow_name(enum th_shadow shadow)
{
    static const char *const names[] = {
        [TH_SHADOW_OFF] = "off", [TH_SHADOW_POLICY] = "policy", [TH_SHADOW_EXCHANGE] = "exchange"};

    return names[shadow];
}
