/* Documents: what authorization servers publish of themselves, metadata (metadata.h) and key sets
 * (jwks.h), held once for all workers.
 *
 *   documents   of the process, counted; a few hundred at most, the least recently asked leaves
 *   desk        of one worker: the fetches that were begun there
 *   document    one of them, parsed; counted and immutable, so that a reader never waits
 *
 * A document is fetched when it is first asked for, by one fetch for all workers; who asks
 * meanwhile waits. It is kept for as long as HTTP says it is fresh (RFC 9111), 5 minutes at least
 * and 24 hours at most, an hour if nothing is said. When a renewal fails, the one that is there
 * goes on to serve until it is 24 hours old, and the next renewal is tried half a minute later.
 * Without one, the failure is remembered: 1 s, doubled up to 30 s, or what Retry-After says.
 *
 * The one lock is a leaf: nothing is called, posted, parsed or allocated under it. A desk's
 * functions are its worker's thread's, those of documents and of a document any thread's. */
#ifndef TOKENHOP_OAUTH_DOCUMENTS_H
#define TOKENHOP_OAUTH_DOCUMENTS_H

#include "tokenhop/base/list.h"
#include "tokenhop/base/ref.h"
#include "tokenhop/net/fetch.h"
#include "tokenhop/net/worker.h"

#define TH_DOCUMENT_WHY_MAX 120

struct th_documents;
struct th_document_desk;

int th_documents_new(struct th_documents **ret_documents) TH_MUST;
struct th_documents *th_documents_ref(struct th_documents *documents);
struct th_documents *th_documents_unref(struct th_documents *documents); /* NULL is fine */

/* Holds `documents`; the fetcher stays the caller's and outlives it. */
int th_document_desk_new(struct th_documents *documents, struct th_worker *worker,
                         struct th_fetcher *fetcher, struct th_document_desk **ret_desk) TH_MUST;
/* On its worker's thread or after it has stopped, and before any worker is freed. Nobody may wait
 * at it any more; who waits elsewhere for its fetches is told, and asks again. NULL is fine. */
struct th_document_desk *th_document_desk_free(struct th_document_desk *desk);

struct th_document_waiter;
/* What was waited for may be there: ask again. On the waiter's worker, never from inside a call. */
typedef void th_document_fn(struct th_document_waiter *waiter);

/* Embedded in who waits, zeroed before; only `fn` is set. */
struct th_document_waiter {
    struct th_list link; /* under the lock of the documents */
    struct th_document_desk *desk;
    uint64_t handle; /* 0: does not wait */
    th_document_fn *fn;
};
void th_document_leave(struct th_document_waiter *waiter); /* not waiting is fine */

/* Why there is none. */
struct th_document_failure {
    int error;              /* TH_E_EXCHANGE_DOWN, TH_E_EXCHANGE_FAILED, TH_E_NOMEM */
    int64_t retry_after_ms; /* -1: unknown */
    char why[TH_DOCUMENT_WHY_MAX];
};

#endif
