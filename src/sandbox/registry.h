/* The world with addresses and keys: what world.h cannot know before the ports are bound and the
 * state folder is read. Made at start, constant afterwards, freed at exit. One thread. */
#ifndef TOKENHOP_SRC_SANDBOX_REGISTRY_H
#define TOKENHOP_SRC_SANDBOX_REGISTRY_H

#include "tokenhop/oauth/jose.h"
#include "world.h"

struct th_registry_key {
    const char *kid;
    enum th_alg alg;
    struct th_key *key; /* private */
    char *file;         /* its PEM in the state folder */
};

struct th_registry_server {
    const struct th_server_row *row;
    char *issuer;
    char *token_url;
    char *revoke_url;
    char *keys_url;
    struct th_registry_key signing;
};

#define TH_REGISTRY_CLIENT_KEYS 2
struct th_registry_client {
    const struct th_client_row *row;
    struct th_registry_key keys[TH_REGISTRY_CLIENT_KEYS]; /* k1 RS256, k2 ES256 */
    struct th_secret *secret; /* NULL: none. Only where the registered method is one of a secret */
    char *secret_file;        /* it holds nothing else */
};

struct th_registry_resource {
    const struct th_resource_row *row;
    char *url;      /* exact string */
    char *audience; /* of its tokens */
};

struct th_registry {
    struct th_registry_server servers[TH_SERVER_COUNT];
    struct th_registry_client clients[TH_CLIENT_COUNT];
    struct th_registry_resource resources[TH_RESOURCE_COUNT];
    struct th_registry_key stranger; /* signs what must be refused; registered nowhere */
};

/* `base` is the org's issuer without a slash at its end, `urls` those of the resources. Keys are read
 * from `folder`, and made there (0600) where they are missing. Blocking. Zeroed before; fini in
 * either case. */
int th_registry_init(struct th_registry *registry, const char *folder, const char *base,
                     const char *const urls[TH_RESOURCE_COUNT], struct th_errinfo *reterr) TH_MUST;
/* `remove_files`: the keys' files too. */
void th_registry_fini(struct th_registry *registry, bool remove_files);

/* All of these return NULL when there is none. */
const struct th_registry_server *th_registry_find_issuer(const struct th_registry *registry,
                                                         struct th_str issuer);
const struct th_registry_server *th_registry_find_server(const struct th_registry *registry,
                                                         struct th_str name);
const struct th_registry_client *th_registry_find_client(const struct th_registry *registry,
                                                         struct th_str client_id);
const struct th_registry_client *th_registry_find_client_name(const struct th_registry *registry,
                                                              struct th_str name);
const struct th_registry_key *th_registry_find_key(const struct th_registry_client *client,
                                                   struct th_str kid);
/* By id or by login. */
const struct th_user_row *th_registry_find_user(struct th_str subject);
const struct th_user_row *th_registry_find_user_name(struct th_str name);
const struct th_registry_resource *th_registry_find_resource(const struct th_registry *registry,
                                                             struct th_str name);
const struct th_registry_resource *th_registry_find_url(const struct th_registry *registry,
                                                        struct th_str url);
/* The URL of the agent that this client is; "" for other clients. */
struct th_str th_registry_client_url(const struct th_registry *registry,
                                     const struct th_registry_client *client);
bool th_registry_is_linked(const struct th_registry *registry,
                           const struct th_registry_client *from,
                           const struct th_registry_client *to);
bool th_registry_is_assigned(const struct th_registry *registry, const struct th_user_row *user,
                             const struct th_registry_client *client);
/* The policy's rule for this client at this server. */
const struct th_policy_row *th_registry_find_policy(const struct th_registry *registry,
                                                    const struct th_registry_server *server,
                                                    const struct th_registry_client *client);

#endif
