/* The fetcher that tokenhop runs with. The way of one fetch, each step at once where nothing is to
 * be waited for:
 *
 *     start -> addresses (resolver) -> trust (https only) -> transfer (curl) -> finish
 *
 * curl resolves nothing itself, as its resolver threads are joined when a handle goes, which can
 * take the name server's time-out: it is given the addresses (CURLOPT_RESOLVE). Connections are
 * kept, handles are used again.
 *
 * Measured on loopback, cleartext, a form of 2 KB for an answer of 1 KB over a kept connection: 36
 * to 50 us of the worker's CPU a fetch, the kernel's half included (TH_MEASURE=1
 * test_net_fetch_curl prints it). */
#include "fetch_private.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"

#define FETCHER_MAGIC 0x66746368u
#define MAX_IDLE_HANDLES 16
#define MAX_ANSWER (1024 * 1024)
#define MAX_BODY (1024 * 1024)

struct curl_fetcher {
    struct th_fetcher ops;
    uint32_t magic;
    struct th_worker *worker;
    struct th_list trusts;    /* struct th_trust.link */
    struct th_list outdated;  /* of these, those that serve only the fetches they have */
    struct th_soon sweep;     /* frees them, outside of their own callbacks */
    struct th_list pools;     /* struct th_fetch_pool.link, the last used at the end */
    struct th_list under_way; /* struct th_fetch.link */
    CURL *idle[MAX_IDLE_HANDLES];
    size_t n_idle;
};

static struct curl_fetcher *fetcher_of(struct th_fetcher *ops)
{
    return TH_CAST(struct curl_fetcher, FETCHER_MAGIC,
                   TH_CONTAINER_OF(ops, struct curl_fetcher, ops));
}

/* The end: one way for all. */

static void wipe_list(struct curl_slist *list)
{
    for (struct curl_slist *it = list; it != NULL; it = it->next)
        th_wipe(it->data, strlen(it->data));
    curl_slist_free_all(list);
}

static void put_easy(struct curl_fetcher *fetcher, CURL *easy)
{
    if (fetcher->n_idle < MAX_IDLE_HANDLES) {
        th_fetch_easy_clear(easy);
        fetcher->idle[fetcher->n_idle++] = easy;
    } else {
        curl_easy_cleanup(easy);
    }
}

/* Takes the fetch out of everything that could call it. */
static void detach(struct th_fetch *fetch)
{
    struct th_worker *worker = fetch->fetcher->worker;

    th_timer_stop(&worker->wheel, &fetch->deadline);
    th_resolve_cancel(&fetch->resolve);
    th_trust_cancel(&fetch->trust_wait);
    th_soon_cancel(&fetch->soon);
    th_list_remove(&fetch->link);
    if (fetch->added)
        curl_multi_remove_handle(fetch->pool->loop.multi, fetch->easy);
    fetch->added = false;
    if (fetch->easy != NULL)
        put_easy(fetch->fetcher, fetch->easy);
    fetch->easy = NULL;
}

static void drop_pool(struct th_fetch *fetch)
{
    struct curl_fetcher *fetcher = fetch->fetcher;

    if (fetch->pool == NULL)
        return;
    if (--fetch->pool->trust->n_fetches == 0 && !th_list_is_empty(&fetcher->outdated))
        th_worker_soon(fetcher->worker, &fetcher->sweep);
    th_fetch_pool_give(fetch->pool);
    fetch->pool = NULL;
}

static void free_fetch(struct th_fetch *fetch)
{
    drop_pool(fetch);
    th_fetch_head_fini(&fetch->head);
    th_buf_fini(&fetch->answer);
    th_buf_fini(&fetch->body);
    wipe_list(fetch->headers);
    curl_slist_free_all(fetch->pin);
    th_free(fetch->host);
    th_free(fetch->url);
    th_free(fetch);
}

static void finish(struct th_fetch *fetch, int error, const char *detail,
                   const struct th_fetch_response *response)
{
    if (fetch->starting) {
        fetch->error = error;
        fetch->detail = detail;
        th_worker_soon(fetch->fetcher->worker, &fetch->soon);
        return;
    }
    detach(fetch);
    fetch->finished = true;
    fetch->fn(fetch->arg, error, response, detail);
    free_fetch(fetch);
}

static void on_soon(struct th_soon *soon)
{
    struct th_fetch *fetch = TH_CONTAINER_OF(soon, struct th_fetch, soon);

    finish(fetch, fetch->error, fetch->detail, NULL);
}

static void on_deadline(struct th_timer *timer)
{
    finish(TH_CONTAINER_OF(timer, struct th_fetch, deadline), TH_E_EXCHANGE_TIMEOUT,
           "no complete answer in time", NULL);
}

/* What curl's results mean to an exchange. */
static int error_of(const struct th_fetch *fetch, CURLcode result)
{
    switch ((int)result) {
    case CURLE_OPERATION_TIMEDOUT:
        return TH_E_EXCHANGE_TIMEOUT;
    case CURLE_OUT_OF_MEMORY:
        /* libcurl 7.88 says the same of a field beyond its own limit of 100 KiB: the server's doing. */
        return fetch->head.size > 0 ? TH_E_EXCHANGE_FAILED : TH_E_NOMEM;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_FILESIZE_EXCEEDED:
    case CURLE_WRITE_ERROR:
        return TH_E_EXCHANGE_FAILED;
    default:
        return TH_E_EXCHANGE_DOWN;
    }
}

static void on_done(CURL *easy, CURLcode result)
{
    struct th_fetch_response response = {0};
    struct th_fetch *fetch = NULL;
    long status = 0;

    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&fetch);
    fetch->added = false;
    if (fetch->error != 0) { /* a callback has refused */
        finish(fetch, fetch->error, fetch->detail, NULL);
        return;
    }
    if (result != CURLE_OK) {
        finish(fetch, error_of(fetch, result),
               fetch->error_text[0] != '\0' ? fetch->error_text : curl_easy_strerror(result), NULL);
        return;
    }
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    response.status = (int)status;
    th_fetch_head_fill(&fetch->head, th_clock_wall_ms(fetch->fetcher->worker->clock), &response);
    response.body = th_buf_str(&fetch->answer);
    finish(fetch, 0, "", &response);
}

/* The steps from start to the transfer. */

static int add_header(struct th_fetch *fetch, const char *name, struct th_str value)
{
    struct th_buf line;
    struct curl_slist *longer = NULL;

    if (value.ptr == NULL)
        return 0;
    /* A line break would make another field of it. */
    for (size_t i = 0; i < value.len; i++)
        if ((unsigned char)value.ptr[i] < ' ' || value.ptr[i] == 0x7f)
            return TH_E_BAD_REQUEST;
    th_buf_init_secret(&line, 64 * 1024);
    th_buf_add_str(&line, th_str_of(name));
    th_buf_add(&line, ": ", 2);
    th_buf_add_str(&line, value);
    if (!line.failed)
        longer = curl_slist_append(fetch->headers, line.ptr);
    th_buf_fini(&line);
    if (longer == NULL)
        return TH_E_NOMEM;
    fetch->headers = longer;
    return 0;
}

static int add_headers(struct th_fetch *fetch, const struct th_fetch_request *request)
{
    struct curl_slist *longer;
    int r = add_header(fetch, "Accept", TH_STR("application/json"));

    if (r == 0 && fetch->is_post)
        r = add_header(fetch, "Content-Type", request->content_type);
    if (r == 0)
        r = add_header(fetch, "Authorization", request->authorization);
    if (r == 0)
        r = add_header(fetch, "DPoP", request->dpop);
    if (r != 0)
        return r;
    longer = curl_slist_append(fetch->headers, "Expect:"); /* no 100-continue */
    if (longer == NULL)
        return TH_E_NOMEM;
    fetch->headers = longer;
    return 0;
}

static int take_part(CURLU *url, CURLUPart part, char **ret_text)
{
    return curl_url_get(url, part, ret_text, CURLU_DEFAULT_PORT) == CURLUE_OK ? 0 : TH_E_BAD_TARGET;
}

static int read_parts(struct th_fetch *fetch, CURLU *url)
{
    char *scheme = NULL;
    char *host = NULL;
    char *port = NULL;
    uint64_t number = 0;
    int r = take_part(url, CURLUPART_SCHEME, &scheme);

    if (r == 0)
        r = take_part(url, CURLUPART_HOST, &host);
    if (r == 0)
        r = take_part(url, CURLUPART_PORT, &port);
    if (r == 0 && strcmp(scheme, "https") != 0 && strcmp(scheme, "http") != 0)
        r = TH_E_BAD_TARGET;
    if (r == 0)
        r = th_str_to_u64(th_str_of(port), 65535, &number);
    if (r == 0) {
        size_t len = strlen(host);
        bool brackets = len > 2 && host[0] == '[';
        fetch->https = strcmp(scheme, "https") == 0;
        fetch->port = (uint16_t)number;
        fetch->host = th_strndup(brackets ? host + 1 : host, brackets ? len - 2 : len);
        r = fetch->host != NULL ? 0 : TH_E_NOMEM;
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    return r;
}

static int read_url(struct th_fetch *fetch, struct th_str text)
{
    CURLU *url;
    int r;

    if (text.len == 0 || memchr(text.ptr, '\0', text.len) != NULL)
        return TH_E_BAD_TARGET;
    fetch->url = th_strndup(text.ptr, text.len);
    url = curl_url();
    if (fetch->url == NULL || url == NULL)
        r = TH_E_NOMEM;
    else if (curl_url_set(url, CURLUPART_URL, fetch->url, CURLU_DISALLOW_USER) != CURLUE_OK)
        r = TH_E_BAD_TARGET;
    else
        r = read_parts(fetch, url);
    curl_url_cleanup(url);
    return r;
}

static void run_transfer(struct th_fetch *fetch)
{
    struct curl_fetcher *fetcher = fetch->fetcher;

    fetch->easy = fetcher->n_idle > 0 ? fetcher->idle[--fetcher->n_idle] : th_fetch_easy_new();
    if (fetch->easy == NULL || th_fetch_easy_prepare(fetch) != 0 ||
        th_fetch_loop_adopt(&fetch->pool->loop, fetch->easy) != 0) {
        finish(fetch, TH_E_NOMEM, "out of memory for a transfer", NULL);
        return;
    }
    fetch->added = true;
}

static void on_trusted(struct th_trust_wait *wait, int error)
{
    struct th_fetch *fetch = TH_CONTAINER_OF(wait, struct th_fetch, trust_wait);

    if (error == 0)
        run_transfer(fetch);
    else
        finish(fetch, error == TH_E_CONFIG ? TH_E_EXCHANGE_FAILED : error,
               "the CA file cannot be used", NULL);
}

/* The one that the file names, made when it is the first time. */
static int find_trust(struct curl_fetcher *fetcher, struct th_str ca_file,
                      struct th_trust **ret_trust)
{
    int r;

    TH_LIST_EACH(it, &fetcher->trusts) {
        struct th_trust *trust = TH_LIST_ENTRY(it, struct th_trust, link);
        if (th_str_equal(th_str_of(trust->ca_file), ca_file)) {
            *ret_trust = trust;
            return 0;
        }
    }
    r = th_trust_new(fetcher->worker, ca_file, ret_trust);
    if (r == 0)
        th_list_push_back(&fetcher->trusts, &(*ret_trust)->link);
    return r;
}

static int find_pool(struct th_fetch *fetch, const struct th_fetch_request *request)
{
    struct curl_fetcher *fetcher = fetch->fetcher;
    struct th_trust *trust;
    struct th_fetch_pool *pool = NULL;
    int r = find_trust(fetcher, request->ca_file, &trust);

    if (r != 0)
        return r;
    th_fetch_pool_sweep(&fetcher->pools, fetcher->worker->now_ms);
    TH_LIST_EACH(it, &fetcher->pools) {
        struct th_fetch_pool *other = TH_LIST_ENTRY(it, struct th_fetch_pool, link);
        if (other->trust == trust && th_identity_equal(other->identity, request->identity))
            pool = other;
    }
    if (pool == NULL)
        r = th_fetch_pool_new(fetcher->worker, trust, request->identity, on_done, &pool);
    if (r != 0)
        return r;
    th_list_remove(&pool->link);
    th_list_push_back(&fetcher->pools, &pool->link);
    th_fetch_pool_take(pool);
    trust->n_fetches++;
    fetch->pool = pool;
    return 0;
}

static void on_sweep(struct th_soon *soon)
{
    struct curl_fetcher *fetcher = TH_CONTAINER_OF(soon, struct curl_fetcher, sweep);

    TH_LIST_EACH(it, &fetcher->outdated) {
        struct th_trust *trust = TH_LIST_ENTRY(it, struct th_trust, link);
        if (trust->n_fetches > 0)
            continue;
        th_fetch_pool_free_of(&fetcher->pools, trust);
        th_trust_free(trust);
    }
}

void th_fetcher_forget_ca(struct th_fetcher *ops, struct th_str ca_file)
{
    struct curl_fetcher *fetcher = fetcher_of(ops);

    TH_LIST_EACH(it, &fetcher->trusts) {
        struct th_trust *trust = TH_LIST_ENTRY(it, struct th_trust, link);
        if (!th_str_equal(th_str_of(trust->ca_file), ca_file))
            continue;
        th_list_remove(&trust->link);
        th_list_push_back(&fetcher->outdated, &trust->link);
        th_worker_soon(fetcher->worker, &fetcher->sweep);
    }
}

/* Tells curl the addresses: "host:port:address,address". */
static int pin_addresses(struct th_fetch *fetch, const struct th_addresses *addresses)
{
    struct th_buf line;
    char text[TH_ADDRESS_TEXT_MAX];

    th_buf_init(&line, 2048);
    th_buf_printf(&line, "%s:%u:", fetch->host, fetch->port);
    for (size_t i = 0; i < addresses->count; i++) {
        th_address_format(&addresses->items[i], text);
        *strrchr(text, ':') = '\0'; /* the port */
        th_buf_printf(&line, "%s%s", i > 0 ? "," : "", text);
    }
    if (!line.failed)
        fetch->pin = curl_slist_append(NULL, line.ptr);
    th_buf_fini(&line);
    return fetch->pin != NULL ? 0 : TH_E_NOMEM;
}

static void use_addresses(struct th_fetch *fetch, const struct th_addresses *addresses)
{
    struct th_addresses usable = {0};
    struct th_address literal;
    bool cleartext_ok = fetch->https || fetch->allow_cleartext;
    int r = 0;

    for (size_t i = 0; i < addresses->count; i++)
        if (cleartext_ok || th_address_is_loopback(&addresses->items[i]))
            usable.items[usable.count++] = addresses->items[i];
    if (usable.count == 0) {
        finish(fetch, TH_E_CLEARTEXT_DENIED, "http:// beyond loopback needs allow_cleartext", NULL);
        return;
    }
    if (th_address_parse(th_str_of(fetch->host), fetch->port, &literal) != 0)
        r = pin_addresses(fetch, &usable);
    if (r == 0 && fetch->https)
        r = th_trust_want(fetch->pool->trust, &fetch->trust_wait, on_trusted);
    if (r == TH_AGAIN)
        return;
    on_trusted(&fetch->trust_wait, r);
}

static void on_resolved(struct th_resolve *resolve, int error, const struct th_addresses *addresses)
{
    struct th_fetch *fetch = TH_CONTAINER_OF(resolve, struct th_fetch, resolve);

    if (error == TH_E_ORIGIN_NAME)
        finish(fetch, TH_E_EXCHANGE_DOWN, "the name does not resolve", NULL);
    else if (error != 0)
        finish(fetch, error, "the name cannot be looked up now", NULL);
    else
        use_addresses(fetch, addresses);
}

static int fill_fetch(struct th_fetch *fetch, const struct th_fetch_request *request)
{
    int r;

    fetch->is_post = request->body.ptr != NULL;
    fetch->allow_cleartext = request->allow_cleartext;
    fetch->max_bytes = request->max_bytes != 0 ? request->max_bytes : MAX_ANSWER;
    th_timer_init(&fetch->deadline, on_deadline);
    fetch->soon.fn = on_soon;
    th_fetch_head_init(&fetch->head);
    th_buf_init_secret(&fetch->answer, fetch->max_bytes + 1);
    th_buf_init_secret(&fetch->body, MAX_BODY);
    if (fetch->is_post)
        th_buf_add_str(&fetch->body, request->body);
    if (fetch->body.failed)
        return request->body.len >= MAX_BODY ? TH_E_BAD_REQUEST : TH_E_NOMEM;
    r = read_url(fetch, request->url);
    if (r == 0 && request->identity != NULL && !fetch->https)
        r = TH_E_BAD_TARGET;
    if (r == 0)
        r = add_headers(fetch, request);
    if (r == 0)
        r = find_pool(fetch, request);
    return r;
}

static int start_fetch(struct th_fetcher *ops, const struct th_fetch_request *request,
                       th_fetch_fn *fn, void *arg, struct th_fetch **ret_fetch)
{
    struct curl_fetcher *fetcher = fetcher_of(ops);
    struct th_worker *worker = fetcher->worker;
    struct th_fetch *fetch = th_calloc(1, sizeof(*fetch));
    struct th_addresses addresses = {0};
    int r;

    if (fetch == NULL)
        return TH_E_NOMEM;
    fetch->fetcher = fetcher;
    fetch->fn = fn;
    fetch->arg = arg;
    r = fill_fetch(fetch, request);
    if (r != 0) {
        free_fetch(fetch);
        return r;
    }
    th_list_push_back(&fetcher->under_way, &fetch->link);
    th_timer_set(&worker->wheel, &fetch->deadline, worker->now_ms + request->timeout_ms);
    fetch->starting = true;
    r = th_resolver_ask(worker->resolver, th_str_of(fetch->host), fetch->port, &fetch->resolve,
                        on_resolved, &addresses);
    if (r != TH_AGAIN)
        on_resolved(&fetch->resolve, r, &addresses);
    fetch->starting = false;
    *ret_fetch = fetch;
    return 0;
}

static void cancel_fetch(struct th_fetcher *ops, struct th_fetch *fetch)
{
    if (fetch == NULL || fetch->finished)
        return;
    detach(fetch);
    free_fetch(fetch);
}

static struct th_fetcher *free_fetcher(struct th_fetcher *ops)
{
    struct curl_fetcher *fetcher;

    if (ops == NULL)
        return NULL;
    fetcher = fetcher_of(ops);
    TH_LIST_EACH(it, &fetcher->under_way)
        cancel_fetch(ops, TH_LIST_ENTRY(it, struct th_fetch, link));
    while (fetcher->n_idle > 0)
        curl_easy_cleanup(fetcher->idle[--fetcher->n_idle]);
    th_soon_cancel(&fetcher->sweep);
    th_list_splice_back(&fetcher->trusts, &fetcher->outdated);
    TH_LIST_EACH(it, &fetcher->pools)
        th_fetch_pool_free(TH_LIST_ENTRY(it, struct th_fetch_pool, link));
    TH_LIST_EACH(it, &fetcher->trusts)
        th_trust_free(TH_LIST_ENTRY(it, struct th_trust, link));
    th_free(fetcher);
    return NULL;
}

int th_fetcher_new_curl(struct th_worker *worker, struct th_fetcher **ret_fetcher)
{
    struct curl_fetcher *fetcher = th_calloc(1, sizeof(*fetcher));

    if (fetcher == NULL)
        return TH_E_NOMEM;
    fetcher->ops = (struct th_fetcher){start_fetch, cancel_fetch, free_fetcher};
    fetcher->magic = FETCHER_MAGIC;
    fetcher->worker = worker;
    th_list_init(&fetcher->trusts);
    th_list_init(&fetcher->outdated);
    fetcher->sweep.fn = on_sweep;
    th_list_init(&fetcher->pools);
    th_list_init(&fetcher->under_way);
    /* One at once: a libcurl that cannot do what R12 wants is found out at start. */
    fetcher->idle[0] = th_fetch_easy_new();
    if (fetcher->idle[0] == NULL) {
        th_free(fetcher);
        return TH_E_CONFIG;
    }
    fetcher->n_idle = 1;
    *ret_fetcher = &fetcher->ops;
    return 0;
}
