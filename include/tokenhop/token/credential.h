/* A credential: what an exchange yields, ready to be put on a request. Immutable, counted;
 * any thread. */
#ifndef TOKENHOP_TOKEN_CREDENTIAL_H
#define TOKENHOP_TOKEN_CREDENTIAL_H

#include <stdatomic.h>

#include "tokenhop/base/ref.h"
#include "tokenhop/base/secret.h"

struct th_credential {
    struct th_ref ref;
    struct th_secret *value; /* the whole field value: "Bearer eyJ..." */
    int64_t expires_ms;      /* monotonic; not used after */
    int64_t refresh_ms; /* monotonic; in use after this it is renewed ahead; INT64_MAX: never */
};

/* Takes over one reference of `value` (also when it fails). */
struct th_credential *th_credential_new(struct th_secret *value, int64_t expires_ms,
                                        int64_t refresh_ms) TH_MUST;
struct th_credential *th_credential_ref(struct th_credential *credential);
struct th_credential *th_credential_unref(
    struct th_credential *credential); /* NULL is fine; returns NULL */

#endif
