/* DPoP proofs, looked at as a strict server does (RFC 9449, 4.3), by rules of this file's own. */
#ifndef TOKENHOP_TESTS_SCENARIO_PROOF_H
#define TOKENHOP_TESTS_SCENARIO_PROOF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tokenhop/base/str.h"

struct proofs { /* all that was ever seen */
    char *jtis[4096];
    size_t n_jtis;
};

struct proof {
    char jkt[64];    /* thumbprint of the key that it was made with */
    char nonce[128]; /* empty: none */
};

/* NULL, and *ret_proof; else what is wrong with it. `token`: what the request bears; ptr NULL: none. */
const char *proof_check(struct proofs *proofs, struct th_str text, const char *method,
                        struct th_str url, struct th_str token, int64_t now_ms,
                        struct proof *ret_proof);
void proofs_fini(struct proofs *proofs);

#endif
