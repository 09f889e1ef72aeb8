/* One fetch, shared by its way (fetch_curl.c) and what curl is told and calls (fetch_transfer.c).
 */
#ifndef TH_NET_FETCH_PRIVATE_H
#define TH_NET_FETCH_PRIVATE_H

#include <curl/curl.h>

#include "fetch_head.h"
#include "fetch_pool.h"
#include "tokenhop/net/fetch.h"
#include "tokenhop/net/resolver.h"

struct curl_fetcher;

/* Request lifetime: from start to the end of `fn`. */
struct th_fetch {
    struct th_list link;
    struct curl_fetcher *fetcher;
    th_fetch_fn *fn;
    void *arg;
    struct th_timer deadline;
    struct th_resolve resolve;
    struct th_trust_wait trust_wait;
    struct th_fetch_pool *pool; /* counted among its users */
    struct th_soon soon;        /* tells an error that was known before start had returned */
    int error;
    const char *detail;
    bool starting;
    bool finished;

    bool https;
    bool allow_cleartext;
    bool is_post;
    uint16_t port;
    char *host;  /* without brackets: of who is connected to, the proxy if there is one */
    char *proxy; /* its URL; NULL: none */
    bool proxy_is_https;
    bool proxy_is_trusted, is_trusted; /* its authorities were asked for, and the server's */
    struct curl_slist *proxy_headers;  /* for it alone */
    char *url;
    struct th_buf body; /* of the request */
    size_t max_bytes;
    struct curl_slist *headers;
    struct curl_slist *pin;

    CURL *easy;
    bool added;      /* to the multi handle */
    unsigned n_sent; /* how often curl was about to send it */
    struct th_fetch_head head;
    struct th_buf answer;
    char error_text[CURL_ERROR_SIZE];
};

/* A handle with all options that are the same for every fetch. NULL when curl cannot do what it
 * must (R12). */
CURL *th_fetch_easy_new(void) TH_MUST;
/* Everything that is this fetch's; `body`, `headers` and `pin` must live as long as it runs. */
int th_fetch_easy_prepare(struct th_fetch *fetch) TH_MUST;
/* Lets go of all that was this fetch's. */
void th_fetch_easy_clear(CURL *easy);

/* fetch_request.c: to be done once each. TH_E_BAD_TARGET, TH_E_BAD_REQUEST, TH_E_NOMEM. */
int th_fetch_read_url(struct th_fetch *fetch, struct th_str text) TH_MUST;
int th_fetch_add_headers(struct th_fetch *fetch, const struct th_fetch_request *request) TH_MUST;
/* After the URL was read. */
int th_fetch_use_proxy(struct th_fetch *fetch, const struct th_fetch_proxy *proxy) TH_MUST;

#endif
