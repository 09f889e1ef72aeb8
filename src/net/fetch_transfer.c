/* What curl is told of a fetch, and what curl calls: these functions only take note, as curl must
 * not be called from within them. */
#include <openssl/ssl.h>

#include "fetch_private.h"
#include "tokenhop/base/mem.h"

#define MAX_AGE_S 30 /* of a kept connection that idles: before most servers close theirs */

static size_t on_head(char *bytes, size_t size, size_t count, void *arg)
{
    struct th_fetch *fetch = arg;

    th_fetch_head_add(&fetch->head, (struct th_str){bytes, size * count});
    if (fetch->head.failed) {
        fetch->error = TH_E_EXCHANGE_FAILED;
        fetch->detail = "the head of the answer is too large";
        return 0;
    }
    return size * count;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct th_fetch *fetch = arg;
    size_t len = size * count;

    if (len > fetch->max_bytes - fetch->answer.len) {
        fetch->error = TH_E_EXCHANGE_FAILED;
        fetch->detail = "the answer is too large";
        return 0;
    }
    th_buf_add(&fetch->answer, bytes, len);
    if (fetch->answer.failed) {
        fetch->error = TH_E_NOMEM;
        fetch->detail = "out of memory for the answer";
        return 0;
    }
    return len;
}

static bool is_cleartext_denied(struct th_fetch *fetch, const struct th_address *address)
{
    /* Where the proxy is says nothing of where the server is. */
    if (fetch->https || fetch->allow_cleartext ||
        (fetch->proxy == NULL && th_address_is_loopback(address)))
        return false;
    fetch->error = TH_E_CLEARTEXT_DENIED;
    fetch->detail = "http:// beyond loopback needs allow_cleartext";
    return true;
}

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *sa)
{
    struct th_fetch *fetch = arg;
    struct th_address address;

    if (th_address_from_sockaddr(&sa->addr, sa->addrlen, &address) != 0 ||
        is_cleartext_denied(fetch, &address))
        return CURL_SOCKET_BAD;
    return th_fetch_loop_open(&fetch->pool->loop, sa);
}

/* Before each sending, on a new connection or a kept one. curl sends a request again by itself when
 * a kept connection turns out to be closed. An assertion must not be sent twice (R12), and whether
 * the first was received nobody knows: whoever asked makes a new one. */
static int on_before_sending(void *arg, char *peer, char *own, int peer_port, int own_port)
{
    struct th_fetch *fetch = arg;
    struct th_address address;

    if (fetch->n_sent++ > 0 && fetch->is_post) {
        fetch->error = TH_E_EXCHANGE_DOWN;
        fetch->detail = "a kept connection was closed while the request was sent";
        return CURL_PREREQFUNC_ABORT;
    }
    if (th_address_parse(th_str_of(peer), (uint16_t)peer_port, &address) != 0 ||
        is_cleartext_denied(fetch, &address))
        return CURL_PREREQFUNC_ABORT;
    return CURL_PREREQFUNC_OK;
}

/* libcurl makes a context for the TLS with the proxy and one for that with the server inside of it, and
 * does not tell which this is: the former alone has a highest version set (see set_proxy()). */
static bool is_for_proxy(const struct th_fetch *fetch, SSL_CTX *context)
{
    return fetch->proxy_is_https && SSL_CTX_get_max_proto_version(context) == TLS1_3_VERSION;
}

static CURLcode on_tls_context(CURL *easy, void *context, void *arg)
{
    struct th_fetch *fetch = arg;

    const struct th_identity *identity = fetch->pool->identity;

    if (is_for_proxy(fetch, context)) {
        SSL_CTX_set1_cert_store(context, fetch->pool->proxy_trust->store);
        return CURLE_OK;
    }
    SSL_CTX_set1_cert_store(context, fetch->pool->trust->store);
    if (identity == NULL)
        return CURLE_OK;
    /* Parsed before, so that no file is read and nothing is parsed here; and what is shown is the
     * chain as it is, not what the trusted certificates would make of it. */
    SSL_CTX_set_mode(context, SSL_MODE_NO_AUTO_CHAIN);
    return SSL_CTX_use_cert_and_key(context, identity->certificate, identity->key, identity->chain,
                                    1) == 1
               ? CURLE_OK
               : CURLE_SSL_CERTPROBLEM;
}

/* The first failure sticks: a list of settings is checked once. */
#define SET(option, value) (r = r == CURLE_OK ? curl_easy_setopt(easy, option, value) : r)

static CURLcode set_restraints(CURL *easy)
{
    CURLcode r = CURLE_OK;

    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_PROXY, ""); /* "" and not NULL: that one would ask the environment */
    SET(CURLOPT_NOPROXY, "*");
    SET(CURLOPT_HEADEROPT,
        (long)CURLHEADER_SEPARATE); /* what is for a server is not for its proxy */
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_PROXY_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_PROXY_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_PROXY_SSLVERSION, (long)(CURL_SSLVERSION_TLSv1_2 | CURL_SSLVERSION_MAX_TLSv1_3));
    SET(CURLOPT_PROXY_CAINFO, NULL);
    SET(CURLOPT_PROXY_CAPATH, NULL);
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_HTTP09_ALLOWED, 0L);
    SET(CURLOPT_ACCEPT_ENCODING, "identity");
    SET(CURLOPT_HTTP_CONTENT_DECODING, 0L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    /* A resumed session is not verified again, and curl finds one by host and options: it would
     * serve also who trusts other certificates than those that it was verified by. */
    SET(CURLOPT_SSL_SESSIONID_CACHE, 0L);
    /* The certificates come by on_tls_context() alone. */
    SET(CURLOPT_CAINFO, NULL);
    SET(CURLOPT_CAPATH, NULL);
    /* libcurl keeps the store of the first context of a multi handle and gives it to the next ones, after
     * on_tls_context(): the one for the proxy would be the server's as well. */
    SET(CURLOPT_CA_CACHE_TIMEOUT, 0L);
    SET(CURLOPT_MAXAGE_CONN, (long)MAX_AGE_S);
    SET(CURLOPT_USERAGENT, "tokenhop/" TH_VERSION);
    return r;
}

static CURLcode set_functions(CURL *easy)
{
    CURLcode r = CURLE_OK;

    SET(CURLOPT_HEADERFUNCTION, on_head);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    SET(CURLOPT_PREREQFUNCTION, on_before_sending);
    SET(CURLOPT_SSL_CTX_FUNCTION, on_tls_context);
    return r;
}

CURL *th_fetch_easy_new(void)
{
    CURL *easy = curl_easy_init();

    if (easy == NULL)
        return NULL;
    if (set_restraints(easy) != CURLE_OK || set_functions(easy) != CURLE_OK) {
        curl_easy_cleanup(easy);
        return NULL;
    }
    return easy;
}

/* For every fetch anew: an easy handle serves others afterwards. */
static CURLcode set_proxy(CURL *easy, const struct th_fetch *fetch)
{
    CURLcode r = CURLE_OK;

    SET(CURLOPT_PROXY, fetch->proxy != NULL ? fetch->proxy : "");
    SET(CURLOPT_NOPROXY, fetch->proxy != NULL ? "" : "*");
    SET(CURLOPT_PROXYHEADER, fetch->proxy_headers);
    return r;
}

int th_fetch_easy_prepare(struct th_fetch *fetch)
{
    CURL *easy = fetch->easy;
    CURLcode r = CURLE_OK;

    SET(CURLOPT_HEADERDATA, fetch);
    SET(CURLOPT_WRITEDATA, fetch);
    SET(CURLOPT_OPENSOCKETDATA, fetch);
    SET(CURLOPT_PREREQDATA, fetch);
    SET(CURLOPT_SSL_CTX_DATA, fetch);
    SET(CURLOPT_ERRORBUFFER, fetch->error_text);
    SET(CURLOPT_URL, fetch->url);
    SET(CURLOPT_HTTPHEADER, fetch->headers);
    SET(CURLOPT_RESOLVE, fetch->pin);
    if (r == CURLE_OK)
        r = set_proxy(easy, fetch);
    /* A length that is too large is refused before any of it is read. */
    SET(CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)fetch->max_bytes);
    if (fetch->is_post) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)fetch->body.len);
        SET(CURLOPT_POSTFIELDS, fetch->body.ptr != NULL ? fetch->body.ptr : "");
    } else {
        SET(CURLOPT_HTTPGET, 1L);
    }
    return r == CURLE_OK ? 0 : TH_E_NOMEM;
}

void th_fetch_easy_clear(CURL *easy)
{
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, NULL);
    curl_easy_setopt(easy, CURLOPT_PROXYHEADER, NULL);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_RESOLVE, NULL);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, NULL);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, NULL);
    curl_easy_setopt(easy, CURLOPT_URL, NULL);
}
