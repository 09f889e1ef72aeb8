/* Inside the room:
 *
 *   ca.c            makes the authority (tokenhop ca init)
 *   certificate.c   what making any certificate takes
 *   hello.c         the first message of a TLS client
 *   interceptor.c   what all connections share
 *   leaf.c          one certificate for one host
 *   leaves.c        those made so far, and who waits for one */
#ifndef TOKENHOP_SRC_INTERCEPT_INTERCEPTOR_H
#define TOKENHOP_SRC_INTERCEPT_INTERCEPTOR_H

#include <pthread.h>

#include "tokenhop/base/hash.h"
#include "tokenhop/base/list.h"
#include "tokenhop/base/ref.h"
#include "tokenhop/intercept/interceptor.h"

/* Immutable, but for `seen`. */
struct th_leaf {
    struct th_ref ref;
    atomic_flag seen;
    struct th_tls_identity identity;
    int64_t renew_at_s; /* not used for new connections from then on */
};

/* By host; least recently used first. `lock` is a leaf: nothing else is locked while it is held. */
struct th_leaves {
    pthread_mutex_t lock;
    struct th_hash_key hash_key;
    struct th_hash_table table;
    struct th_list used;
    size_t max;
};

struct th_interceptor {
    struct th_ref ref;
    const struct th_clock *clock;
    struct th_tls_server *tls;
    EVP_PKEY *authority_key;
    EVP_PKEY *leaf_key;
    EVP_PKEY *leaf_public;  /* of the same, as certificates are made with */
    STACK_OF(X509) * chain; /* the authority's own first */
    STACK_OF(X509) * shown; /* of these, what goes to clients after a leaf */
    int64_t expires_s;      /* the earliest of the chain */
    uint8_t digest[32];     /* of what it was made of */
    struct th_leaves leaves;
};

int th_leaves_init(struct th_leaves *leaves) TH_MUST;
void th_leaves_fini(struct th_leaves *leaves);

/* Takes some 0.1 ms. TH_E_NOMEM, or TH_E_CONFIG where the authority has expired. */
int th_leaf_make(const struct th_interceptor *interceptor, struct th_str host,
                 struct th_leaf **ret_leaf) TH_MUST;
struct th_leaf *th_leaf_ref(struct th_leaf *leaf);

#endif
