/* Whom a fetch trusts: the certificates of one CA file, or the system's. The worker's thread only.
 *
 * Reading the system's certificates takes some 45 ms: a helper does it, at the first need and again
 * when the last time is an hour ago; meanwhile the old ones serve. */
#ifndef TH_NET_FETCH_TRUST_H
#define TH_NET_FETCH_TRUST_H

#include <openssl/x509_vfy.h>

#include "tokenhop/base/str.h"
#include "tokenhop/net/worker.h"

struct th_trust {
    struct th_list link; /* the fetcher's */
    unsigned n_fetches;  /* that point to it; kept by the fetcher */
    struct th_worker *worker;
    X509_STORE *store;      /* NULL: not read yet */
    int64_t due_ms;         /* when to read (again) */
    uint64_t handle;        /* not 0 while a helper reads */
    struct th_list waiting; /* struct th_trust_wait.link */
    char ca_file[];         /* "": the system's */
};

struct th_trust_wait {
    struct th_list link;
    void (*fn)(struct th_trust_wait *wait, int error);
};

int th_trust_new(struct th_worker *worker, struct th_str ca_file,
                 struct th_trust **ret_trust) TH_MUST;
/* Nobody waits any more. */
struct th_trust *th_trust_free(struct th_trust *trust);
/* 0: the store is there. TH_AGAIN: fn will be called. TH_E_CONFIG: the file cannot be used. */
int th_trust_want(struct th_trust *trust, struct th_trust_wait *wait,
                  void (*fn)(struct th_trust_wait *wait, int error)) TH_MUST;
void th_trust_cancel(struct th_trust_wait *wait); /* not waiting is fine */

#endif
