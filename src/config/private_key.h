/* Is this a private key that an algorithm can sign with? Asked when the configuration is loaded, so
 * that a wrong key is found by `tokenhop check` and not by the first exchange. The key itself is
 * kept as text; what signs parses it anew. */
#ifndef TOKENHOP_SRC_CONFIG_PRIVATE_KEY_H
#define TOKENHOP_SRC_CONFIG_PRIVATE_KEY_H

#include "tokenhop/base/error.h"
#include "tokenhop/base/str.h"
#include "tokenhop/config/model.h"

#define TH_PRIVATE_KEY_MAX_LEN 65536

/* PEM (unencrypted) or one JWK. 0, TH_E_CONFIG with `what` and `mend`, or TH_E_NOMEM. */
int th_private_key_check(struct th_str text, enum th_signing_alg alg,
                         struct th_errinfo *reterr) TH_MUST;

/* Whether it is the key of the identity's certificate. As above. */
int th_private_key_check_certificate(struct th_str text, const struct th_identity *identity,
                                     struct th_errinfo *reterr) TH_MUST;

#endif
