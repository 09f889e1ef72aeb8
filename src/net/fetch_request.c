/* What curl is given for a fetch: its URL, its fields, the proxy on the way. */
#include "fetch_private.h"
#include "tokenhop/base/mem.h"

static int add_header(struct curl_slist **list, const char *name, struct th_str value)
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
        longer = curl_slist_append(*list, line.ptr);
    th_buf_fini(&line);
    if (longer == NULL)
        return TH_E_NOMEM;
    *list = longer;
    return 0;
}

int th_fetch_add_headers(struct th_fetch *fetch, const struct th_fetch_request *request)
{
    struct curl_slist *longer;
    int r = add_header(&fetch->headers, "Accept", TH_STR("application/json"));

    if (r == 0 && fetch->is_post)
        r = add_header(&fetch->headers, "Content-Type", request->content_type);
    if (r == 0)
        r = add_header(&fetch->headers, "Authorization", request->authorization);
    if (r == 0)
        r = add_header(&fetch->headers, "DPoP", request->dpop);
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

int th_fetch_read_url(struct th_fetch *fetch, struct th_str text)
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

/* Who is connected to is the proxy then, whose URL libcurl gets. */
int th_fetch_use_proxy(struct th_fetch *fetch, const struct th_fetch_proxy *proxy)
{
    struct th_buf url;
    bool is_ipv6 = memchr(proxy->host.ptr, ':', proxy->host.len) != NULL;
    char *host = th_strndup(proxy->host.ptr, proxy->host.len);

    th_buf_init(&url, 512);
    th_buf_printf(&url, is_ipv6 ? "%s://[%.*s]:%u" : "%s://%.*s:%u",
                  proxy->is_https ? "https" : "http", TH_STR_ARGS(proxy->host), proxy->port);
    fetch->proxy = url.failed ? NULL : th_strndup(url.ptr, url.len);
    fetch->proxy_is_https = proxy->is_https;
    th_buf_fini(&url);
    if (host == NULL || fetch->proxy == NULL) {
        th_free(host);
        return TH_E_NOMEM;
    }
    th_free(fetch->host);
    fetch->host = host;
    fetch->port = proxy->port;
    return proxy->authorization == NULL ? 0
                                        : add_header(&fetch->proxy_headers, "Proxy-Authorization",
                                                     th_secret_expose(proxy->authorization));
}
