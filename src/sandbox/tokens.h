/* Making and verifying the provider's own tokens (reference 4.2, 4.4). One thread. */
#ifndef TOKENHOP_SRC_SANDBOX_TOKENS_H
#define TOKENHOP_SRC_SANDBOX_TOKENS_H

#include "idp.h"

enum th_token_state {
    TH_TOKEN_FINE,
    TH_TOKEN_MALFORMED,
    TH_TOKEN_ISSUER,
    TH_TOKEN_SIGNATURE,
    TH_TOKEN_EXPIRED,
    TH_TOKEN_REVOKED
};

/* Whether one of this provider's servers signed it, it lives, and nobody revoked it. *ret_jwt (zeroed
 * before; filled also when it is refused, as far as it goes) is the caller's to fini. */
enum th_token_state th_token_verify(struct th_idp *idp, struct th_str token, struct th_jwt *ret_jwt,
                                    const struct th_registry_server **ret_server);
/* Verification without revocation: what an agent does that only knows the server's keys. */
enum th_token_state th_token_verify_offline(const struct th_idp *idp, struct th_str token,
                                            struct th_jwt *ret_jwt,
                                            const struct th_registry_server **ret_server);
bool th_token_is_revoked(struct th_idp *idp, struct th_str token);

/* What goes into an access token. */
struct th_token_plan {
    const struct th_registry_server *server;
    const struct th_registry_client *client;
    const struct th_user_row *user; /* NULL: a machine */
    struct th_str sub;
    struct th_str aud;
    struct th_str scope;
    const json_t *act; /* NULL: none */
    const char *jkt;   /* of the key that it is bound to; NULL or empty: none */
};

/* Claims of an access token, as documented or as measured. NULL when memory is short. */
json_t *th_token_access_claims(const struct th_idp *idp, const struct th_token_plan *plan) TH_MUST;
/* Signs and remembers whose it is. `fault` may be NULL. */
int th_token_sign_access(struct th_idp *idp, const struct th_token_plan *plan, json_t *claims,
                         const struct th_fault *fault, struct th_secret **ret_token) TH_MUST;
/* The same with a header typ of the caller's choice; plan->client may be NULL. */
int th_token_sign_issued(struct th_idp *idp, const struct th_token_plan *plan, const char *typ,
                         json_t *claims, const struct th_fault *fault,
                         struct th_secret **ret_token) TH_MUST;
/* Signs with the server's key, or the stranger's when the fault says so. */
int th_token_sign(const struct th_idp *idp, const struct th_registry_server *server,
                  const char *typ, json_t *claims, const struct th_fault *fault,
                  struct th_secret **ret_token) TH_MUST;
/* A string, or the only one in an array; else empty. Borrowed. */
struct th_str th_token_one_text(const json_t *value);
/* PREFIX and 40 random hexadecimal digits. */
void th_token_make_id(const char *prefix, char ret_id[64]);
const char *th_token_access_typ(const struct th_idp *idp);

#endif
