/* The inside of an exchanger and of an exchange under way. */
#ifndef TOKENHOP_SRC_OAUTH_EXCHANGE_PRIVATE_H
#define TOKENHOP_SRC_OAUTH_EXCHANGE_PRIVATE_H

#include "client_auth.h"
#include "token_endpoint.h"
#include "tokenhop/base/list.h"
#include "tokenhop/oauth/breaker.h"
#include "tokenhop/oauth/documents.h"
#include "tokenhop/oauth/exchange.h"
#include "tokenhop/oauth/plan.h"

#define TH_EXCHANGER_KEYS 64

/* A parsed key, found by the secret that it was parsed from: that one is held, so that its address
 * names it for good. */
struct th_cached_key {
    struct th_secret *secret;
    struct th_key *key;
    const struct th_config *config; /* whose it was last; only compared, never followed */
    bool is_superseded; /* as the first key of an agent: the next one was taken instead */
};

#define TH_REFUSED_MAX 32

/* An agent that a server refused; see refused.h. */
struct th_refused {
    const struct th_config_agent *agent;
    const struct th_config_authorization_server *server;
    const struct th_config_connection *connection; /* NULL: all of them */
    const struct th_config_client *client; /* it is this one that was refused; NULL: the agent */
    int64_t until_ms;
    int64_t rest_ms; /* the last one */
    char oauth_error[64];
    char detail[TH_EXCHANGE_DETAIL_MAX];
};

struct th_refused_list {
    struct th_config *config; /* counted: what the items point to is of it; NULL in tests without */
    struct th_refused items[TH_REFUSED_MAX];
    size_t n;
};

/* Worker's. */
struct th_exchanger {
    struct th_worker *worker;
    struct th_fetcher *fetcher;
    struct th_document_desk *documents;
    struct th_breakers *breakers;   /* counted; NULL: none */
    struct th_dpop_keys *dpop_keys; /* counted */
    struct th_grants *grants;       /* counted; NULL: none are kept */
    struct th_list running;
    struct th_cached_key keys[TH_EXCHANGER_KEYS];
    size_t n_keys;
    struct th_refused_list refused;
    bool keeps_delegations;
};

/* The key of `auth`, a new reference. TH_E_CONFIG when it cannot be parsed or is none to sign with. */
int th_exchanger_get_key(struct th_exchanger *exchanger, const struct th_config *config,
                         const struct th_config_auth *auth, struct th_key **ret_key) TH_MUST;

/* Of an agent's two keys the one that was accepted when the other was refused last; without two, and
 * until then, `auth` itself. Forgotten with the key, at the latest on a reload. */
const struct th_config_auth *th_exchanger_preferred_auth(const struct th_exchanger *exchanger,
                                                         const struct th_config_auth *auth);
void th_exchanger_prefer_auth(struct th_exchanger *exchanger, const struct th_config_auth *auth,
                              const struct th_config_auth *preferred);

#endif
