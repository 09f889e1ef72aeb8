/* A credential: what an exchange yields, ready to be put on a request. Immutable, counted;
 * any thread. */
#ifndef TOKENHOP_TOKEN_CREDENTIAL_H
#define TOKENHOP_TOKEN_CREDENTIAL_H

#include <stdatomic.h>

#include "tokenhop/base/ref.h"
#include "tokenhop/base/secret.h"
#include "tokenhop/oauth/delegation.h"

struct th_dpop_key;

struct th_credential {
    struct th_ref ref;
    bool is_revocable;       /* its server can be told that it is used no more */
    bool revoke_if_rejected; /* and must be, when the destination does not take it */
    bool is_renewed;         /* got ahead of the end of the one before */
    /* A bound token (RFC 9449): each request that bears it bears a proof by this key. Counted; NULL: none
     * is needed. */
    struct th_dpop_key *dpop_key;
    struct th_secret *value; /* the whole field value: "Bearer eyJ..." */
    uint32_t secret_at;      /* where in it what is secret stands: "eyJ..." */
    uint32_t secret_len;
    struct th_delegation *delegation; /* counted; NULL: not kept */
    int64_t expires_ms;               /* monotonic; not used after */
    int64_t refresh_ms; /* monotonic; in use after this it is renewed ahead; INT64_MAX: never */
};

static inline struct th_str th_credential_secret(const struct th_credential *credential)
{
    struct th_str value = th_secret_expose(credential->value);
    return (struct th_str){value.ptr + credential->secret_at, credential->secret_len};
}

/* All of the value is taken for secret, and not worth revoking. Takes over one reference of `value`
 * (also when it fails). */
struct th_credential *th_credential_new(struct th_secret *value, int64_t expires_ms,
                                        int64_t refresh_ms) TH_MUST;
struct th_credential *th_credential_ref(struct th_credential *credential);
struct th_credential *th_credential_unref(
    struct th_credential *credential); /* NULL is fine; returns NULL */

#endif
