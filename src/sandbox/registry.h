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

/* How a client authenticates; the first in the order of the setting agent1_auth_method. */
enum th_client_method {
    TH_CLIENT_BY_KEY,
    TH_CLIENT_BY_BASIC,
    TH_CLIENT_BY_POST,
    TH_CLIENT_BY_SECRET_JWT,
    TH_CLIENT_BY_NOTHING,
    TH_CLIENT_BY_TLS,        /* a certificate of the key k1, shown in TLS (RFC 8705, 2.2) */
    TH_CLIENT_BY_CERTIFICATE /* an assertion by the key k1 that names its certificate */
};

#define TH_REGISTRY_CLIENT_KEYS 2
struct th_registry_client {
    const struct th_client_row *row;
    struct th_registry_key keys[TH_REGISTRY_CLIENT_KEYS]; /* k1 RS256, k2 ES256 */
    struct th_secret *secret; /* NULL: none. Only where the registered method is one of a secret */
    char *secret_file;        /* it holds nothing else */
};

/* What a client is at a server that is not Okta's: another id, and secrets of its own. */
#define TH_REGISTRY_REGISTRATIONS 2
struct th_registered_row;
struct th_registry_registration {
    const struct th_registered_row *row; /* provider.h */
    const struct th_registry_client *client;
    struct th_secret *secret; /* NULL: the method has none */
    char *secret_file;
    char *certificate_file; /* NULL: the method has none */
    char x5t[28];           /* SHA-1 and SHA-256 of it, base64url */
    char x5t_s256[44];
};

struct th_registry_server {
    const struct th_server_row *row;
    char *issuer;
    char *token_url;
    char *revoke_url; /* NULL: it has none; likewise the next */
    char *keys_url;
    struct th_registry_key signing;
    struct th_registry_registration
        registrations[TH_REGISTRY_REGISTRATIONS]; /* client NULL: none */
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
    /* These sign what must be refused; registered nowhere. */
    struct th_registry_key stranger;
    struct th_registry_key stranger_es256;
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
/* At a server that is not Okta's, by the id there. */
const struct th_registry_registration *th_registry_find_registration(
    const struct th_registry_server *server, struct th_str client_id);
const struct th_registry_registration *th_registry_registration_of(
    const struct th_registry_server *server, const struct th_registry_client *client);
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
