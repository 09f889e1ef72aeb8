/* Breakers: a token endpoint that fails is given a rest, so that callers are told at once when to come
 * back instead of each waiting for a server that does not answer, and so that the server is not met by
 * everybody when it returns. One set a process, shared by the exchangers of all workers; in it one
 * breaker an endpoint, found by its URL.
 *
 *   CLOSED      tries go through. TH_BREAKER_FAILURES failures in a row, or one whose answer asks for
 *               a rest (429 or 503 with Retry-After), open it
 *   OPEN        no try goes through until the rest is over: TH_BREAKER_REST_MS, doubled by each further
 *               failure up to TH_BREAKER_REST_MAX_MS; a longer Retry-After is kept, up to
 *               TH_BREAKER_RETRY_AFTER_MAX_MS. Both with jitter on top, so that several processes part
 *   PROBING     the first try after it, one over all workers, finds out; the others are turned away.
 *               Its failure opens the breaker again
 *   RECOVERING  the probe was answered: as many tries at once as were answered since, and one more, so
 *               that they double by the round trip; one that fails opens the breaker again. Ends by
 *               TH_BREAKER_RECOVERED answers or after TH_BREAKER_RECOVERY_MS
 *
 * A try that began before the breaker moved says nothing about it any more.
 *
 * What is a failure: no answer, or one that comes from no working token endpoint. A refusal, whatever
 * it means, is an answer: what one subject brings does not close the endpoint to another (R14). So is any 4xx
 * but 429, even if it is not JSON: a gateway that refuses a form for its size or looks says nothing
 * about the server behind, and a caller can make it say so.
 *
 * Any thread. One lock, a leaf, held for the look at a short list; none while no endpoint has ever
 * failed. */
#ifndef TOKENHOP_OAUTH_BREAKER_H
#define TOKENHOP_OAUTH_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#include "tokenhop/base/error.h"
#include "tokenhop/base/str.h"

#define TH_BREAKER_FAILURES 5
#define TH_BREAKER_REST_MS 1000
#define TH_BREAKER_REST_MAX_MS 30000
#define TH_BREAKER_RETRY_AFTER_MAX_MS 60000
#define TH_BREAKER_RECOVERED 32
#define TH_BREAKER_RECOVERY_MS 10000
/* What who is turned away from a probe or a recovery is told to wait. */
#define TH_BREAKER_TURNED_AWAY_MS 1000
/* Endpoints remembered. Beyond, the one longest without a try is forgotten. */
#define TH_BREAKERS_MAX 256

struct th_breakers; /* counted */

int th_breakers_new(struct th_breakers **ret_breakers) TH_MUST;
struct th_breakers *th_breakers_ref(struct th_breakers *breakers);
struct th_breakers *th_breakers_unref(struct th_breakers *breakers); /* NULL is fine */

/* A try's leave to call the endpoint. Every one is given back by th_breakers_leave(). */
struct th_breaker_pass {
    uint64_t generation; /* of the breaker: it has moved if it has another by then */
    bool is_counted;     /* it is the probe, or one of a recovery */
};

/* 0: the endpoint may be called. Else for how many ms not, and there is no pass. */
int64_t th_breakers_enter(struct th_breakers *breakers, struct th_str endpoint, int64_t now_ms,
                          struct th_breaker_pass *ret_pass) TH_MUST;

enum th_breaker_verdict {
    TH_BREAKER_UNTRIED, /* it was not called, or so that nothing follows from it */
    TH_BREAKER_ALIVE,
    TH_BREAKER_FAILED,
    TH_BREAKER_ASKS /* failed, and asks for a rest of retry_after_ms */
};

/* What is to be logged, once a change: a failed probe is none. */
enum th_breaker_event { TH_BREAKER_SAME, TH_BREAKER_OPENED, TH_BREAKER_CLOSED };

/* `retry_after_ms`: -1 for none. */
enum th_breaker_event th_breakers_leave(struct th_breakers *breakers, struct th_str endpoint,
                                        const struct th_breaker_pass *pass,
                                        enum th_breaker_verdict verdict, int64_t retry_after_ms,
                                        int64_t now_ms);

/* As metrics number them. */
enum th_breaker_state {
    TH_BREAKER_STATE_CLOSED,
    TH_BREAKER_STATE_OPEN,
    TH_BREAKER_STATE_PROBING,
    TH_BREAKER_STATE_RECOVERING
};

struct th_breaker_shown {
    struct th_str endpoint; /* without its query, which could hold a secret */
    enum th_breaker_state state;
};
typedef void th_breaker_show_fn(void *arg, const struct th_breaker_shown *shown);
/* Those of endpoints that have failed and are not forgotten. `fn` is called with the lock held: it must
 * not wait, nor call anything here. */
void th_breakers_show(struct th_breakers *breakers, th_breaker_show_fn *fn, void *arg);

#endif
