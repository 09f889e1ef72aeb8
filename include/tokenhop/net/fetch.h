/* Fetching: one bounded HTTP request of tokenhop's own, to a token endpoint or for metadata. A
 * table of operations, so that tests script the server: the real one (fetch_curl.h) is libcurl's
 * multi interface on the worker's loop, with connections kept.
 *
 * R12 holds for every implementation: no redirects followed, no netrc, no proxy from the
 * environment, no cookies, http and https only, TLS 1.2 or later verified, bounded total time,
 * bounded answer (max_bytes of decoded body), cleartext only to loopback or where allowed.
 *
 * A request with a body is sent once and never again by itself, also when a kept connection closes
 * under it (TH_E_EXCHANGE_DOWN): whoever asked makes a new assertion and asks again.
 *
 * The worker's thread only. `fn` is never called from inside start, nor after cancel. Inside `fn`
 * others may be started and cancelled; the fetcher itself must not be freed there. start returns
 * TH_E_BAD_TARGET for a URL that is none or not http(s), TH_E_BAD_REQUEST for a field value with a
 * control character, TH_E_NOMEM. */
#ifndef TOKENHOP_NET_FETCH_H
#define TOKENHOP_NET_FETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "tokenhop/base/buf.h"
#include "tokenhop/base/error.h"
#include "tokenhop/base/identity.h"
#include "tokenhop/base/secret.h"
#include "tokenhop/base/str.h"

struct th_fetcher;
struct th_fetch; /* one under way; the fetcher's */

struct th_fetch_request {
    struct th_str url;
    struct th_str body;          /* POST when ptr is not NULL, else GET; copied, the copy wiped */
    struct th_str content_type;  /* of the body */
    struct th_str authorization; /* a whole field value; ptr NULL: none; copied, the copy wiped */
    struct th_str dpop;          /* likewise */
    struct th_str ca_file;       /* empty: the system's store */
    /* Shown to a server that asks for a client certificate; NULL: nothing is; a reference is taken. No
     * connection that was opened with one ever serves a fetch with another, or without. For https
     * alone: TH_E_BAD_TARGET. */
    struct th_identity *identity;
    bool allow_cleartext;
    int64_t timeout_ms;
    size_t max_bytes; /* 0: 1 MiB */
};

struct th_fetch_response {
    int status;
    struct th_str content_type; /* as sent; may be empty */
    struct th_str dpop_nonce;
    struct th_str www_authenticate;
    int64_t retry_after_ms;      /* Retry-After in seconds or as a date; -1: none */
    int64_t rate_limit_reset_ms; /* X-Rate-Limit-Reset less the answer's Date; -1: none */
    int64_t fresh_ms;   /* RFC 9111, 4.2: for how long yet it is fresh; 0: not at all; -1: unsaid */
    struct th_str body; /* a secret: wiped by the fetcher after fn returns */
};

/* A proxy on the way to a server. */
struct th_fetch_proxy {
    struct th_str host; /* without brackets; of length 0: none */
    uint16_t port;
    bool is_https; /* it is spoken to by TLS, verified by `ca_file` (as above) */
    struct th_str ca_file;
    struct th_secret *authorization; /* a whole field value for it alone; NULL: none */
};
/* Which one for that server. What it fills in is used before anything else happens. */
typedef void th_fetch_choose_fn(void *arg, bool is_https, struct th_str host, uint16_t port,
                                struct th_fetch_proxy *ret_proxy);

/* `error` is 0 whenever a complete response came, whatever its status. Else response is NULL and
 * error is TH_E_EXCHANGE_DOWN (not reached, broken off), TH_E_EXCHANGE_TIMEOUT,
 * TH_E_EXCHANGE_FAILED (answer too large, not HTTP, TLS not verified), TH_E_CLEARTEXT_DENIED.
 * `detail` is a short text for the log, without secrets. */
typedef void th_fetch_fn(void *arg, int error, const struct th_fetch_response *response,
                         const char *detail);

struct th_fetcher {
    int (*start)(struct th_fetcher *fetcher, const struct th_fetch_request *request,
                 th_fetch_fn *fn, void *arg, struct th_fetch **ret_fetch);
    void (*cancel)(struct th_fetcher *fetcher, struct th_fetch *fetch);
    struct th_fetcher *(*free)(struct th_fetcher *fetcher); /* cancels all; NULL result */
};

struct th_worker;
/* The real one. */
int th_fetcher_new_curl(struct th_worker *worker, struct th_fetcher **ret_fetcher) TH_MUST;
/* Of the real one: fetches that start from now on go through the proxies that `fn` chooses; without,
 * through none. Cleartext through a proxy is cleartext beyond it, also where that is on loopback. */
void th_fetcher_set_proxies(struct th_fetcher *fetcher, th_fetch_choose_fn *fn, void *arg);
/* Of the real one: the certificates of that file were written anew. Fetches that start from now on read
 * them again, and use no connection that was verified by the old ones. */
void th_fetcher_forget_ca(struct th_fetcher *fetcher, struct th_str ca_file);

#endif
