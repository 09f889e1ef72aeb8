/* The compact form (RFC 7515, 7.1), for the files that sign. `token` is a secret buffer. */
#ifndef TOKENHOP_SRC_OAUTH_JWT_PARTS_H
#define TOKENHOP_SRC_OAUTH_JWT_PARTS_H

#include "tokenhop/oauth/jose.h"

#define TH_JWT_MAX ((size_t)64 * 1024)

/* "header.claims", which is what is signed. */
int th_jwt_add_signed_part(struct th_buf *token, struct th_str alg,
                           const struct th_jws_header *header, const json_t *claims) TH_MUST;
/* ".signature", and the whole as a secret. */
int th_jwt_finish(struct th_buf *token, struct th_str signature,
                  struct th_secret **ret_token) TH_MUST;

#endif
