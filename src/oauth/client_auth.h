/* How an agent says at a server who it is (reference, section 2). One table of methods: another
 * method is a row, with what it proves and how that is put on the request.
 *
 * A proof is made anew for every request, retries included, and never kept (R12). */
#ifndef TOKENHOP_SRC_OAUTH_CLIENT_AUTH_H
#define TOKENHOP_SRC_OAUTH_CLIENT_AUTH_H

#include "tokenhop/base/buf.h"
#include "tokenhop/config/model.h"
#include "tokenhop/oauth/jose.h"

/* An agent's registration at one server. The key is counted, the rest is the snapshot's. */
struct th_client {
    struct th_str client_id;
    const struct th_config_authorization_server *server;
    const struct th_config_auth *auth;
    struct th_key *key; /* NULL where the method has none */
};

struct th_client_auth {
    const char *name; /* as in the configuration and in servers' metadata */
    bool has_key;     /* `auth->key` is to be parsed */
    /* Whether making the proof would hold up a worker: it belongs on a helper thread then. NULL: never. */
    bool (*is_slow)(const struct th_client *client);
    /* Any thread. TH_E_CONFIG when key or secret cannot do what is configured, TH_E_NOMEM. NULL: there
     * is no proof but what the configuration holds. */
    int (*prove)(const struct th_client *client, struct th_str audience, int64_t wall_ms,
                 struct th_secret **ret_proof);
    /* Adds fields to the form, or fills the value of the Authorization field; both are secret
     * buffers. */
    void (*present)(const struct th_client *client, const struct th_secret *proof,
                    struct th_buf *form, struct th_buf *authorization);
};
/* Never NULL: every method has a row. */
const struct th_client_auth *th_client_auth_get(enum th_auth_method method);

/* TH_JWS_NONE for what no key signs with. */
enum th_alg th_client_auth_alg(enum th_signing_alg alg);

/* For whom a client assertion is meant that goes to `endpoint` of the server. */
struct th_str th_client_auth_audience(const struct th_config_authorization_server *server,
                                      struct th_str endpoint);

#endif
