/* What interception needs at run time: the authority, one key for all leaves (P-256, made at start),
 * the leaves made so far, and what TLS connections of callers share.
 *
 * A leaf is a certificate for exactly one host. It is made when it is first asked for, on a helper
 * thread, once whoever asks meanwhile; it is used for a day and valid for a week, and the least
 * recently used go when there are too many.
 *
 * Counted; any thread. A waiter belongs to its worker's thread. */
#ifndef TOKENHOP_INTERCEPT_INTERCEPTOR_H
#define TOKENHOP_INTERCEPT_INTERCEPTOR_H

#include "tokenhop/base/clock.h"
#include "tokenhop/config/model.h"
#include "tokenhop/net/tls_server.h"
#include "tokenhop/net/worker.h"

#define TH_LEAVES_MAX 4096

struct th_interceptor;
struct th_leaf;

/* `config` as it was loaded, with its files. */
int th_interceptor_new(const struct th_config_interception *config, const struct th_clock *clock,
                       struct th_interceptor **ret_interceptor) TH_MUST;
struct th_interceptor *th_interceptor_ref(struct th_interceptor *interceptor);
struct th_interceptor *th_interceptor_unref(struct th_interceptor *interceptor); /* NULL is fine */
/* Whether it was made of the same files' content: a reload keeps it then, and its leaves. */
bool th_interceptor_is_of(const struct th_interceptor *interceptor,
                          const struct th_config_interception *config);
/* What its connections share. Borrowed. */
struct th_tls_server *th_interceptor_tls(const struct th_interceptor *interceptor);

struct th_leaf *th_leaf_unref(struct th_leaf *leaf); /* NULL is fine; returns NULL */
/* True for the first who asks: a leaf is counted once. */
bool th_leaf_is_new(struct th_leaf *leaf);
/* Borrowed. */
const struct th_tls_identity *th_leaf_identity(const struct th_leaf *leaf);

struct th_leaf_waiter;
/* `leaf` is the receiver's; NULL with the error. Called once, never from inside th_leaf_get(), nor
 * after th_leaf_cancel(). */
typedef void th_leaf_fn(struct th_leaf_waiter *waiter, int error, struct th_leaf *leaf);

/* Embedded in its owner. */
struct th_leaf_waiter {
    struct th_worker *worker;
    uint64_t handle; /* 0: it waits for nothing */
    th_leaf_fn *fn;
};

/* The leaf of a host in normal form (an IPv6 literal without brackets): 0 and one reference; TH_AGAIN,
 * and `fn` tells; TH_E_OVERLOADED, TH_E_NOMEM, TH_E_CONFIG (the authority has expired meanwhile).
 * Where the worker has no helpers it is made at once. */
int th_leaf_get(struct th_interceptor *interceptor, struct th_worker *worker, struct th_str host,
                struct th_leaf_waiter *waiter, th_leaf_fn *fn, struct th_leaf **ret_leaf) TH_MUST;
void th_leaf_cancel(struct th_leaf_waiter *waiter); /* one that waits for nothing is fine */

#endif
