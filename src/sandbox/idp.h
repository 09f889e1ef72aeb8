/* The identity provider without its HTTP server: what a token or revocation request is answered.
 * Reference section 14 is followed to the letter. One thread; time is the clock's. */
#ifndef TOKENHOP_SRC_SANDBOX_IDP_H
#define TOKENHOP_SRC_SANDBOX_IDP_H

#include "dpop.h"
#include "faults.h"
#include "ledger.h"
#include "registry.h"
#include "settings.h"
#include "tokenhop/base/clock.h"
#include "vault.h"
#include <openssl/x509.h>

#define TH_GRANT_EXCHANGE "urn:ietf:params:oauth:grant-type:token-exchange"
#define TH_GRANT_JWT_BEARER "urn:ietf:params:oauth:grant-type:jwt-bearer"
#define TH_GRANT_JWT_DPOP "urn:ietf:params:oauth:grant-type:jwt-dpop" /* reference, 4.8 */
#define TH_GRANT_CLIENT_CREDENTIALS "client_credentials"
#define TH_TYPE_ID_JAG "urn:ietf:params:oauth:token-type:id-jag"
#define TH_TYPE_ID_TOKEN "urn:ietf:params:oauth:token-type:id_token"
#define TH_TYPE_ACCESS_TOKEN "urn:ietf:params:oauth:token-type:access_token"
#define TH_TYPE_VAULTED_SECRET "urn:okta:params:oauth:token-type:vaulted-secret"
#define TH_TYPE_SECRET_SHORT "urn:okta:params:oauth:token-type:secret"
#define TH_TYPE_ACCOUNT "urn:okta:params:oauth:token-type:service-account"
#define TH_TYPE_OAUTH_STS "urn:okta:params:oauth:token-type:oauth-sts"
#define TH_STS_PAGE "/oauth2/v1/sts/redirect" /* below the org's issuer */
#define TH_ASSERTION_TYPE "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#define TH_MAX_CHAIN 5 /* at Auth0; at Okta a setting says it */

struct th_idp {
    const struct th_registry *registry;
    const struct th_clock *clock;
    struct th_sandbox_settings settings;
    struct th_ledger assertions; /* jti of client assertions, by client */
    struct th_ledger redeemed;   /* jti of ID-JAGs */
    struct th_ledger issued;     /* access tokens */
    struct th_proof_desk proofs; /* at token endpoints */
    struct th_proof_desk agent_proofs[TH_RESOURCE_COUNT];
    struct th_vault vault;
    long id_jags[TH_USER_COUNT][TH_RESOURCE_COUNT]; /* issued, for the quota */
    int64_t rate_minute;                            /* the minute that rate_count counts */
    long rate_count[TH_CLIENT_COUNT];
};

int th_idp_init(struct th_idp *idp, const struct th_registry *registry,
                const struct th_clock *clock) TH_MUST; /* TH_E_NOMEM; fini in either case */
void th_idp_fini(struct th_idp *idp);
/* Forgets what was seen and issued; keeps the settings. */
void th_idp_reset(struct th_idp *idp);
int64_t th_idp_now_ms(const struct th_idp *idp);

enum th_idp_endpoint { TH_ENDPOINT_TOKEN, TH_ENDPOINT_REVOKE };

struct th_idp_request {
    const struct th_registry_server *server;
    enum th_idp_endpoint endpoint;
    struct th_str method;
    struct th_str content_type;
    struct th_str authorization; /* empty: none came */
    const X509 *certificate;     /* that was shown in TLS; NULL: none */
    struct th_str dpop;
    size_t n_dpop; /* how often that field came */
    struct th_str body;
    const struct th_fault *fault; /* of the phases CLAIMS and BODY; NULL: none */
};

/* What is answered, and what the record says of it. */
struct th_idp_answer {
    int status;
    json_t *body; /* owned; NULL: empty body */
    const char
        *reason; /* why it was refused: a constant name for records and tests; NULL: granted */
    bool challenge_basic;
    char nonce[TH_PROOF_NONCE_LEN + 1]; /* for DPoP-Nonce; empty: none */
    char jkt[TH_PROOF_JKT_LEN + 1];     /* what is issued is bound to that key; empty: to none */
    bool signed_by_stranger;
    /* for the record; borrowed from the registry's rows */
    const char *grant;
    const struct th_registry_client *client;
    const struct th_registry_registration *registration; /* at other servers than Okta's */
    const struct th_user_row *user;
    const char
        *who; /* name of the user or, for a machine, of the client that the token speaks of */
    const char *connection;
    char subject[TH_LEDGER_NAME_LEN + 1]; /* digest of the subject token or assertion */
    char issued[TH_LEDGER_NAME_LEN + 1];  /* digest of what was issued */
};

/* The answer is filled in any case, also when memory is short. */
void th_idp_handle(struct th_idp *idp, const struct th_idp_request *request,
                   struct th_idp_answer *ret_answer);
void th_idp_answer_fini(struct th_idp_answer *answer);

#endif
