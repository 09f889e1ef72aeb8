/* What a connection may say of its token requests. */
#ifndef TOKENHOP_SRC_CONFIG_TOKEN_REQUEST_H
#define TOKENHOP_SRC_CONFIG_TOKEN_REQUEST_H

#include "tokenhop/base/error.h"
#include "tokenhop/base/str.h"

/* The short names of RFC 8693, 3, "auto", or an absolute URI. */
#define TH_TOKEN_TYPE_PATTERN                                                                      \
    "^(auto|access_token|id_token|jwt|refresh_token|saml1|saml2|[A-Za-z][A-Za-z0-9+.-]*:[^\\s#]+)$"
int th_token_type_check(struct th_str text, struct th_errinfo *reterr) TH_MUST;
/* What is sent for it; "auto" is empty. */
struct th_str th_token_type_uri(struct th_str text);

/* RFC 6749, A: letters, digits, '-', '.' and '_'. And none that a plan or an authentication has. */
#define TH_PARAMETER_PATTERN "^[A-Za-z0-9._-]{1,64}$"
int th_parameter_check(struct th_str text, struct th_errinfo *reterr) TH_MUST;

#endif
