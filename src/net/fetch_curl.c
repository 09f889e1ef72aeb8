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
    struct th_list trusts;      /* struct th_trust.link */
    struct th_list outdated;    /* of these, those that serve only the fetches they have */
    struct th_soon sweep;       /* frees them, outside of their own callbacks */
    struct th_list pools;       /* struct th_fetch_pool.link, the last used at the end */
    struct th_list under_way;   /* struct th_fetch.link */
    th_fetch_choose_fn *choose; /* NULL: nothing goes through a proxy */
    void *choose_arg;
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
    fetch->pool->trust->n_fetches--;
    if (fetch->pool->proxy_trust != NULL)
        fetch->pool->proxy_trust->n_fetches--;
    if (!th_list_is_empty(&fetcher->outdated))
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
    wipe_list(fetch->proxy_headers);
    th_free(fetch->proxy);
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

static struct th_fetch *fetch_of(const struct curl_fetcher *fetcher, const CURL *easy)
{
    TH_LIST_EACH(it, &fetcher->under_way) {
        struct th_fetch *fetch = TH_LIST_ENTRY(it, struct th_fetch, link);
        if (fetch->easy == easy)
            return fetch;
    }
    return NULL;
}

static void on_done(void *arg, CURL *easy, CURLcode result)
{
    struct curl_fetcher *fetcher = arg;
    struct th_fetch_response response = {0};
    struct th_fetch *fetch = fetch_of(fetcher, easy);
    long status = 0;

    TH_REQUIRE(fetch != NULL); /* else it was taken out of the multi handle */
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
    if (curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK) {
        finish(fetch, TH_E_NOMEM, "out of memory for an answer", NULL);
        return;
    }
    response.status = (int)status;
    th_fetch_head_fill(&fetch->head, th_clock_wall_ms(fetcher->worker->clock), &response);
    response.body = th_buf_str(&fetch->answer);
    finish(fetch, 0, "", &response);
}

/* The steps from start to the transfer. */

static int choose_proxy(struct th_fetch *fetch, struct th_fetch_proxy *ret_proxy)
{
    const struct curl_fetcher *fetcher = fetch->fetcher;

    *ret_proxy = (struct th_fetch_proxy){0};
    if (fetcher->choose == NULL)
        return 0;
    fetcher->choose(fetcher->choose_arg, fetch->https, th_str_of(fetch->host), fetch->port,
                    ret_proxy);
    return ret_proxy->host.len > 0 ? th_fetch_use_proxy(fetch, ret_proxy) : 0;
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

static void on_trusted(struct th_trust_wait *wait, int error);

/* The proxy's authorities, and then the server's. */
static void want_trusts(struct th_fetch *fetch)
{
    struct th_fetch_pool *pool = fetch->pool;
    int r = 0;

    if (fetch->proxy_is_https && !fetch->proxy_is_trusted) {
        fetch->proxy_is_trusted = true;
        r = th_trust_want(pool->proxy_trust, &fetch->trust_wait, on_trusted);
        if (r == TH_AGAIN)
            return;
    }
    if (r == 0 && fetch->https && !fetch->is_trusted) {
        fetch->is_trusted = true;
        r = th_trust_want(pool->trust, &fetch->trust_wait, on_trusted);
        if (r == TH_AGAIN)
            return;
    }
    if (r == 0)
        run_transfer(fetch);
    else
        on_trusted(&fetch->trust_wait, r);
}

static void on_trusted(struct th_trust_wait *wait, int error)
{
    struct th_fetch *fetch = TH_CONTAINER_OF(wait, struct th_fetch, trust_wait);

    if (error == 0)
        want_trusts(fetch);
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

static int find_pool(struct th_fetch *fetch, const struct th_fetch_request *request,
                     const struct th_fetch_proxy *proxy)
{
    struct curl_fetcher *fetcher = fetch->fetcher;
    struct th_fetch_way way = {.identity = request->identity,
                               .proxy = fetch->proxy,
                               .proxy_authorization = proxy->authorization};
    struct th_fetch_pool *pool = NULL;
    int r = find_trust(fetcher, request->ca_file, &way.trust);

    if (r == 0 && fetch->proxy_is_https)
        r = find_trust(fetcher, proxy->ca_file, &way.proxy_trust);
    if (r != 0)
        return r;
    th_fetch_pool_sweep(&fetcher->pools, fetcher->worker->now_ms);
    TH_LIST_EACH(it, &fetcher->pools) {
        struct th_fetch_pool *other = TH_LIST_ENTRY(it, struct th_fetch_pool, link);
        if (th_fetch_pool_is_of(other, &way))
            pool = other;
    }
    if (pool == NULL)
        r = th_fetch_pool_new(fetcher->worker, &way, on_done, fetcher, &pool);
    if (r != 0)
        return r;
    th_list_remove(&pool->link);
    th_list_push_back(&fetcher->pools, &pool->link);
    th_fetch_pool_take(pool);
    way.trust->n_fetches++;
    if (way.proxy_trust != NULL)
        way.proxy_trust->n_fetches++;
    fetch->pool = pool;
    return 0;
}

void th_fetcher_set_proxies(struct th_fetcher *ops, th_fetch_choose_fn *fn, void *arg)
{
    struct curl_fetcher *fetcher = fetcher_of(ops);

    fetcher->choose = fn;
    fetcher->choose_arg = arg;
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
        if (cleartext_ok || (fetch->proxy == NULL && th_address_is_loopback(&addresses->items[i])))
            usable.items[usable.count++] = addresses->items[i];
    if (usable.count == 0) {
        finish(fetch, TH_E_CLEARTEXT_DENIED, "http:// beyond loopback needs allow_cleartext", NULL);
        return;
    }
    if (th_address_parse(th_str_of(fetch->host), fetch->port, &literal) != 0)
        r = pin_addresses(fetch, &usable);
    if (r == 0)
        want_trusts(fetch);
    else
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
    struct th_fetch_proxy proxy = {0};
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
    r = th_fetch_read_url(fetch, request->url);
    if (r == 0 && request->identity != NULL && !fetch->https)
        r = TH_E_BAD_TARGET;
    if (r == 0)
        r = th_fetch_add_headers(fetch, request);
    if (r == 0)
        r = choose_proxy(fetch, &proxy);
    if (r == 0)
        r = find_pool(fetch, request, &proxy);
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
