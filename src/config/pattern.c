/* URL patterns, as in "https://agent2.example.com/a2a/", to their normal form. */
#include <arpa/inet.h>
#include <stdio.h>

#include "tokenhop/config/load.h"
#include "url.h"

static int lower_host(struct th_arena *arena, const struct th_config_url *url,
                      struct th_str *ret_host)
{
    char *host = th_arena_strdup(arena, url->host);
    if (host == NULL)
        return TH_E_NOMEM;
    for (size_t i = 0; i < url->host.len; i++) {
        if (host[i] >= 'A' && host[i] <= 'Z')
            host[i] = (char)(host[i] - 'A' + 'a');
    }
    *ret_host = (struct th_str){host, url->host.len};
    return 0;
}

/* One address has many spellings; the normal one is RFC 5952's. */
static int normal_ipv6(struct th_arena *arena, const struct th_config_url *url,
                       struct th_str *ret_host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    snprintf(text, sizeof(text), "%.*s", TH_STR_ARGS(url->host));
    if (inet_pton(AF_INET6, text, &address) != 1 ||
        inet_ntop(AF_INET6, &address, text, sizeof(text)) == NULL)
        return TH_E_CONFIG;
    char *host = th_arena_strdup(arena, th_str_of(text));
    if (host == NULL)
        return TH_E_NOMEM;
    *ret_host = th_str_of(host);
    return 0;
}

/* Percent-encodings in upper case, as RFC 3986 6.2.2.1 has them. */
static int normal_path(struct th_arena *arena, struct th_str path, struct th_str *ret_path)
{
    char *copy = th_arena_strdup(arena, path.len > 0 ? path : TH_STR("/"));
    if (copy == NULL)
        return TH_E_NOMEM;
    for (char *c = copy; *c != '\0'; c++) {
        if (*c != '%')
            continue;
        for (int i = 1; i <= 2; i++) {
            if (c[i] >= 'a' && c[i] <= 'f')
                c[i] = (char)(c[i] - 'a' + 'A');
        }
    }
    *ret_path = th_str_of(copy);
    return 0;
}

int th_config_parse_pattern(struct th_arena *arena, struct th_str text,
                            struct th_config_pattern *ret_pattern, struct th_errinfo *reterr)
{
    struct th_config_url url;
    struct th_config_pattern pattern = {0};
    int r = th_config_url_split(text, true, &url, reterr);
    if (r < 0)
        return r;
    if (url.query.len > 0)
        return th_errinfo_set(reterr, TH_E_CONFIG, NULL, "leave out '?' and what follows it",
                              "a pattern has no query");
    if (url.path.len > 0) {
        r = th_config_url_check_path(url.path, reterr);
        if (r < 0)
            return r;
    }
    const char *copy = th_arena_strdup(arena, text);
    if (copy == NULL)
        return TH_E_NOMEM;
    pattern.text = (struct th_str){copy, text.len};
    pattern.scheme = url.https ? TH_STR("https") : TH_STR("http");
    pattern.wildcard = url.wildcard;
    pattern.port = url.port;
    r = url.ipv6 ? normal_ipv6(arena, &url, &pattern.host) : lower_host(arena, &url, &pattern.host);
    if (r == 0)
        r = normal_path(arena, url.path, &pattern.path);
    if (r == 0)
        *ret_pattern = pattern;
    return r;
}

bool th_config_path_covers(struct th_str pattern, struct th_str path)
{
    if (pattern.len > 0 && pattern.ptr[pattern.len - 1] == '/')
        pattern.len--;
    return path.len >= pattern.len && memcmp(path.ptr, pattern.ptr, pattern.len) == 0 &&
           (path.len == pattern.len || path.ptr[pattern.len] == '/');
}
