#include "url.h"

#include <arpa/inet.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool is_unreserved(int c)
{
    return is_digit((char)c) || is_alpha((char)c) || c == '-' || c == '.' || c == '_' || c == '~';
}

static int bad(struct th_errinfo *reterr, const char *what, const char *mend)
{
    return th_errinfo_set(reterr, TH_E_CONFIG, NULL, mend, "%s", what);
}

/* Printable ASCII without space: what every other form is refused for first. */
static int check_bytes(struct th_str text, struct th_errinfo *reterr)
{
    if (text.len == 0)
        return bad(reterr, "this is empty", NULL);
    if (text.len > TH_URL_MAX_LEN)
        return bad(reterr, "this is longer than 2048 bytes", NULL);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c >= 0x80)
            return bad(reterr, "a URL holds ASCII only",
                       "write a host's name in its xn-- form, and a path percent-encoded");
        if (c <= 0x20 || c == 0x7f)
            return bad(reterr, "a URL holds no spaces or control characters", NULL);
        if (c == '\\')
            return bad(reterr, "a URL holds no backslash", "write '/'");
    }
    return 0;
}

static size_t find_any(struct th_str text, const char *set)
{
    size_t at = 0;
    while (at < text.len && strchr(set, text.ptr[at]) == NULL)
        at++;
    return at;
}

static struct th_str cut(struct th_str text, size_t from, size_t to)
{
    return (struct th_str){text.ptr + from, to - from};
}

/* The last label says whether a resolver may read the whole as an address: all digits, or 0x. */
static bool ends_in_number(struct th_str host)
{
    size_t from = host.len;
    while (from > 0 && host.ptr[from - 1] != '.')
        from--;
    struct th_str last = cut(host, from, host.len);
    if (last.len >= 2 && last.ptr[0] == '0' && (last.ptr[1] == 'x' || last.ptr[1] == 'X'))
        return true;
    for (size_t i = 0; i < last.len; i++) {
        if (!is_digit(last.ptr[i]))
            return false;
    }
    return last.len > 0;
}

static int check_name(struct th_str host, struct th_errinfo *reterr)
{
    size_t label = 0;
    if (host.len == 0)
        return bad(reterr, "the URL names no host", NULL);
    if (host.len > 253)
        return bad(reterr, "the host's name is longer than 253 bytes", NULL);
    if (host.ptr[host.len - 1] == '.')
        return bad(reterr, "the host ends in a dot", "leave the last dot out");
    for (size_t i = 0; i <= host.len; i++) {
        char c = i < host.len ? host.ptr[i] : '.';
        if (c == '.') {
            if (i == label)
                return bad(reterr, "the host has an empty label", NULL);
            if (i - label > 63)
                return bad(reterr, "a label of the host is longer than 63 bytes", NULL);
            if (host.ptr[label] == '-' || host.ptr[i - 1] == '-')
                return bad(reterr, "a label of the host begins or ends with a hyphen", NULL);
            label = i + 1;
        } else if (c == '*') {
            return bad(reterr, "'*' can only be the host's whole first label, of a pattern",
                       "write *.example.com for one label before example.com");
        } else if (!is_alpha(c) && !is_digit(c) && c != '-' && c != '_') {
            return bad(reterr, "the host holds a character that no host name has", NULL);
        }
    }
    return 0;
}

static int check_host(struct th_config_url *url, bool wildcard, struct th_errinfo *reterr)
{
    char text[INET_ADDRSTRLEN];
    struct in_addr address;
    if (th_str_starts_with(url->host, TH_STR("*.")) && wildcard) {
        url->wildcard = true;
        url->host = cut(url->host, 2, url->host.len);
    }
    if (!ends_in_number(url->host))
        return check_name(url->host, reterr);
    if (url->host.len < sizeof(text)) {
        memcpy(text, url->host.ptr, url->host.len);
        text[url->host.len] = '\0';
        url->ipv4 = inet_pton(AF_INET, text, &address) == 1;
    }
    if (!url->ipv4)
        return bad(reterr, "an IPv4 address is four decimal numbers without leading zeros",
                   "write it as 192.0.2.1");
    if (url->wildcard)
        return bad(reterr, "'*.' stands before an address", "write a name, or the address alone");
    url->loopback = (ntohl(address.s_addr) >> 24) == 127;
    return 0;
}

static int check_ipv6(struct th_config_url *url, struct th_errinfo *reterr)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (url->host.len == 0 || url->host.len >= sizeof(text))
        return bad(reterr, "no IPv6 address stands between the brackets", NULL);
    memcpy(text, url->host.ptr, url->host.len);
    text[url->host.len] = '\0';
    if (strchr(text, '%') != NULL)
        return bad(reterr, "an IPv6 address of a URL has no zone", "leave %zone out");
    if (inet_pton(AF_INET6, text, &address) != 1)
        return bad(reterr, "no IPv6 address stands between the brackets", NULL);
    url->ipv6 = true;
    url->loopback = IN6_IS_ADDR_LOOPBACK(&address) ||
                    (IN6_IS_ADDR_V4MAPPED(&address) && address.s6_addr[12] == 127);
    return 0;
}

/* Everything from the host to the path: "host", "host:port", "[address]:port". */
static int split_authority(struct th_config_url *url, struct th_str authority, bool wildcard,
                           struct th_errinfo *reterr)
{
    if (memchr(authority.ptr, '@', authority.len) != NULL)
        return bad(reterr, "the URL carries a user or password",
                   "leave out what stands before '@'");
    bool bracket = authority.len > 0 && authority.ptr[0] == '[';
    size_t end = find_any(authority, bracket ? "]" : ":");
    if (bracket && end == authority.len)
        return bad(reterr, "the bracket around the IPv6 address is not closed", NULL);
    url->host = cut(authority, bracket, end);
    int r = bracket ? check_ipv6(url, reterr) : check_host(url, wildcard, reterr);
    if (r < 0)
        return r;
    end += bracket;
    url->port = url->https ? 443 : 80;
    if (end == authority.len)
        return 0;
    uint64_t port = 0;
    struct th_str digits = cut(authority, end + 1, authority.len);
    if (authority.ptr[end] != ':' || digits.len == 0 || digits.ptr[0] == '0' ||
        th_str_to_u64(digits, 65535, &port) < 0)
        return bad(reterr, "the port is not a number from 1 to 65535",
                   authority.ptr[end] == ':' && memchr(digits.ptr, ':', digits.len) != NULL
                       ? "put an IPv6 address in brackets: [::1]:8080"
                       : NULL);
    url->port = (uint16_t)port;
    return 0;
}

int th_config_url_split(struct th_str text, bool wildcard, struct th_config_url *ret_url,
                        struct th_errinfo *reterr)
{
    struct th_config_url url = {0};
    int r = check_bytes(text, reterr);
    if (r < 0)
        return r;
    size_t scheme_len = find_any(text, ":");
    struct th_str scheme = cut(text, 0, scheme_len), rest = cut(text, scheme_len, text.len);
    url.https = th_str_equal_nocase(scheme, TH_STR("https"));
    if ((!url.https && !th_str_equal_nocase(scheme, TH_STR("http"))) ||
        !th_str_starts_with(rest, TH_STR("://")))
        return bad(reterr, "the URL begins neither with https:// nor with http://",
                   "write the whole URL, scheme included");
    rest = cut(rest, 3, rest.len);
    size_t end = find_any(rest, "/?#");
    r = split_authority(&url, cut(rest, 0, end), wildcard, reterr);
    if (r < 0)
        return r;
    rest = cut(rest, end, rest.len);
    if (memchr(rest.ptr, '#', rest.len) != NULL)
        return bad(reterr, "the URL has a fragment", "leave out '#' and what follows it");
    end = find_any(rest, "?");
    url.path = cut(rest, 0, end);
    url.query = cut(rest, end, rest.len);
    *ret_url = url;
    return 0;
}

static bool is_dot_segment(struct th_str segment)
{
    /* with parameters too: "..;x" is a dot segment to some servers */
    struct th_str name = cut(segment, 0, find_any(segment, ";"));
    return th_str_equal(name, TH_STR(".")) || th_str_equal(name, TH_STR(".."));
}

static int check_segment(struct th_str segment, struct th_errinfo *reterr)
{
    if (is_dot_segment(segment))
        return bad(reterr, "the path has a dot segment", "write the path that it leads to");
    for (size_t i = 0; i < segment.len; i++) {
        int c = (unsigned char)segment.ptr[i];
        if (c != '%') {
            if (!is_unreserved(c) && strchr("!$&'()*+,;=:@", c) == NULL)
                return bad(reterr, "the path holds a character that must be percent-encoded", NULL);
            continue;
        }
        int high = i + 2 < segment.len ? hex_value(segment.ptr[i + 1]) : -1;
        int low = i + 2 < segment.len ? hex_value(segment.ptr[i + 2]) : -1;
        if (high < 0 || low < 0)
            return bad(reterr, "'%' is not followed by two hexadecimal digits", NULL);
        c = high * 16 + low;
        if (c < 0x20 || c == 0x7f || c == '/' || c == '\\')
            return bad(reterr, "the path encodes a control character, slash or backslash",
                       "two servers may read it in two ways: use another path");
        if (is_unreserved(c))
            return bad(reterr, "the path encodes a character that needs no encoding",
                       "write the character itself");
        i += 2;
    }
    return 0;
}

int th_config_url_check_path(struct th_str path, struct th_errinfo *reterr)
{
    int r = check_bytes(path, reterr);
    if (r < 0)
        return r;
    if (path.ptr[0] != '/')
        return bad(reterr, "a path begins with '/'", NULL);
    for (size_t from = 1, at = 1; at <= path.len; at++) {
        if (at < path.len && path.ptr[at] != '/')
            continue;
        if (at == from && at < path.len)
            return bad(reterr, "the path has an empty segment", "write '/' once, not \"//\"");
        r = check_segment(cut(path, from, at), reterr);
        if (r < 0)
            return r;
        from = at + 1;
    }
    return 0;
}

int th_config_url_check_absolute(struct th_str text, struct th_errinfo *reterr)
{
    int r = check_bytes(text, reterr);
    if (r < 0)
        return r;
    size_t colon = find_any(text, ":");
    bool scheme = colon > 0 && is_alpha(text.ptr[0]) && colon + 1 < text.len;
    for (size_t i = 1; i < colon && scheme; i++) {
        char c = text.ptr[i];
        scheme = is_alpha(c) || is_digit(c) || c == '+' || c == '-' || c == '.';
    }
    if (!scheme)
        return bad(reterr, "this is not an absolute URI (RFC 8707)",
                   "begin it with a scheme, as in https://agent.example.com");
    if (memchr(text.ptr, '#', text.len) != NULL)
        return bad(reterr, "a resource has no fragment (RFC 8707)",
                   "leave out '#' and what follows");
    for (size_t i = 0; i < text.len; i++) {
        if (strchr("\"<>^`{|}", text.ptr[i]) != NULL)
            return bad(reterr, "this holds a character that no URI has", NULL);
    }
    struct th_config_url url;
    struct th_str name = cut(text, 0, colon);
    if (th_str_equal_nocase(name, TH_STR("https")) || th_str_equal_nocase(name, TH_STR("http")))
        return th_config_url_split(text, false, &url, reterr);
    return 0;
}
