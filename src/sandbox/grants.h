/* The grants: each runs after the client was authenticated (answer->client) and fills the answer. */
#ifndef TOKENHOP_SRC_SANDBOX_GRANTS_H
#define TOKENHOP_SRC_SANDBOX_GRANTS_H

#include "form.h"
#include "idp.h"

typedef void th_grant_fn(struct th_idp *idp, const struct th_idp_request *request,
                         const struct th_form *form, struct th_idp_answer *answer);

th_grant_fn th_grant_exchange; /* subject token -> ID-JAG, at the org */
th_grant_fn th_grant_secret;   /* subject token -> what the vault holds, likewise */
th_grant_fn th_grant_account;
th_grant_fn th_grant_sts;
th_grant_fn th_grant_behalf;             /* access token -> another, at a custom server */
th_grant_fn th_grant_jwt_bearer;         /* ID-JAG -> access token, at a custom server */
th_grant_fn th_grant_client_credentials; /* service apps, at a custom server */
th_grant_fn th_grant_revoke;             /* RFC 7009; authenticates the client itself */

/* Puts the token and what every answer has into answer->body, and takes the reference. */
bool th_grant_answer_token(struct th_idp_answer *answer, const struct th_idp_request *request,
                           struct th_secret *token, const char *token_type, long expires_in,
                           struct th_str scope);

#endif
