/* Client authentication by the one method that a client is registered for (reference, section 2). */
#ifndef TOKENHOP_SRC_SANDBOX_CLIENT_AUTH_H
#define TOKENHOP_SRC_SANDBOX_CLIENT_AUTH_H

#include "form.h"
#include "idp.h"

/* `audience` is the URL of the endpoint that was called. False: refused, the answer is made. On
 * success answer->client is the client. The jti counts as seen only when all else is right, as whoever
 * cannot sign must not burn one. */
bool th_client_auth_check(struct th_idp *idp, const struct th_idp_request *request,
                          const struct th_form *form, const char *audience,
                          struct th_idp_answer *answer);

#endif
