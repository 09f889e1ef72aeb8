#include "tokenhop/http/url.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "tokenhop/base/check.h"

#include "scan.h"

#define LABEL_MAX 63     /* RFC 1035, 2.3.4 */
#define NAME_MAX_LEN 253 /* of a name in text, without the last dot */
#define PORT_DIGITS_MAX 5

_Static_assert(TH_URL_HOST_MAX >= INET6_ADDRSTRLEN, "an address fits the room");
_Static_assert(TH_URL_HOST_MAX >= NAME_MAX_LEN, "a name fits the room");

uint16_t th_scheme_port(enum th_scheme scheme)
{
    switch (scheme) {
    case TH_SCHEME_HTTP:
        return 80;
    case TH_SCHEME_HTTPS:
        return 443;
    }
    return 0;
}

struct th_str th_scheme_text(enum th_scheme scheme)
{
    switch (scheme) {
    case TH_SCHEME_HTTP:
        return TH_STR("http");
    case TH_SCHEME_HTTPS:
        return TH_STR("https");
    }
    return TH_STR_NONE;
}

static inline char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* --- hosts --- */

/* R7: four decimals and nothing else; inet_aton's "127.1", "0x7f000001" and "0177.0.0.1" are ways
 * to write an address past a rule. No leading zeros: some read them as octal. */
static bool is_ipv4(struct th_str host)
{
    const char *p = host.ptr;
    const char *end = p + host.len;
    for (int i = 0; i < 4; i++) {
        const char *start = p;
        unsigned value = 0;
        while (p < end && p - start < 3 && th_scan_is(*p, TH_SCAN_DIGIT))
            value = value * 10 + (unsigned)(*p++ - '0');
        if (p == start || value > 255 || (*start == '0' && p - start > 1))
            return false;
        if (i < 3 && (p == end || *p++ != '.'))
            return false;
    }
    return p == end;
}

/* Whether some resolver takes it for an address: its last label is a number, decimal or "0x". */
static bool ends_in_number(struct th_str last_label)
{
    if (th_scan_all(last_label, TH_SCAN_DIGIT))
        return true;
    return last_label.len >= 2 && last_label.ptr[0] == '0' && lower(last_label.ptr[1]) == 'x' &&
           th_scan_all((struct th_str){last_label.ptr + 2, last_label.len - 2}, TH_SCAN_HEX);
}

/* Labels of letters, digits, '-' and '_' (which the names of some clusters have), none empty, none
 * with '-' at an end. Internationalized names come as punycode: nothing above ASCII passes. */
static int check_name(struct th_str host, bool *ret_has_capitals)
{
    if (host.len == 0 || host.len > NAME_MAX_LEN)
        return TH_E_BAD_TARGET;
    size_t label = 0; /* where it begins */
    *ret_has_capitals = false;
    for (size_t i = 0; i <= host.len; i++) {
        if (i == host.len || host.ptr[i] == '.') {
            size_t len = i - label;
            if (len == 0 || len > LABEL_MAX || host.ptr[label] == '-' || host.ptr[i - 1] == '-')
                return TH_E_BAD_TARGET;
            if (i < host.len)
                label = i + 1;
            continue;
        }
        if (!th_scan_is(host.ptr[i], TH_SCAN_HOST))
            return TH_E_BAD_TARGET;
        if (host.ptr[i] >= 'A' && host.ptr[i] <= 'Z')
            *ret_has_capitals = true;
    }
    struct th_str last = {host.ptr + label, host.len - label};
    return ends_in_number(last) && !is_ipv4(host) ? TH_E_BAD_TARGET : 0;
}

static int set_name(struct th_url *url, struct th_str host)
{
    bool has_capitals;
    int r = check_name(host, &has_capitals);
    if (r != 0)
        return r;
    if (has_capitals) {
        for (size_t i = 0; i < host.len; i++)
            url->host_room[i] = lower(host.ptr[i]);
        host.ptr = url->host_room;
    }
    url->host = host;
    url->host_is_ipv6 = false;
    url->host_is_literal = th_scan_is(host.ptr[host.len - 1], TH_SCAN_DIGIT) && is_ipv4(host);
    return 0;
}

/* The text between brackets. One address has many texts: it goes on in that of RFC 5952, so that
 * equal addresses are equal texts. inet_pton() takes no zone. */
static int set_ipv6(struct th_url *url, struct th_str text)
{
    char room[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (text.len == 0 || text.len >= sizeof(room) || memchr(text.ptr, '\0', text.len) != NULL)
        return TH_E_BAD_TARGET;
    memcpy(room, text.ptr, text.len);
    room[text.len] = '\0';
    if (inet_pton(AF_INET6, room, &address) != 1 ||
        inet_ntop(AF_INET6, &address, url->host_room, sizeof(url->host_room)) == NULL)
        return TH_E_BAD_TARGET;
    url->host = th_str_of(url->host_room);
    url->host_is_ipv6 = url->host_is_literal = true;
    return 0;
}

static int set_port(struct th_url *url, struct th_str digits)
{
    uint64_t port;
    /* "080" is no number in normal form */
    if (digits.len > PORT_DIGITS_MAX || digits.len == 0 || digits.ptr[0] == '0' ||
        th_str_to_u64(digits, UINT16_MAX, &port) != 0)
        return TH_E_BAD_TARGET;
    url->port = (uint16_t)port;
    url->port_named = true;
    return 0;
}

int th_url_parse_authority(struct th_str text, bool port_required, struct th_url *ret_url)
{
    ret_url->port = 0;
    ret_url->port_named = false;
    if (text.len == 0)
        return TH_E_BAD_TARGET;
    const char *end = text.ptr + text.len;
    const char *after; /* the host */
    int r;
    if (text.ptr[0] == '[') {
        const char *bracket = memchr(text.ptr, ']', text.len);
        if (bracket == NULL)
            return TH_E_BAD_TARGET;
        r = set_ipv6(ret_url, (struct th_str){text.ptr + 1, (size_t)(bracket - text.ptr - 1)});
        after = bracket + 1;
    } else {
        after = memchr(text.ptr, ':', text.len);
        if (after == NULL)
            after = end;
        r = set_name(ret_url, (struct th_str){text.ptr, (size_t)(after - text.ptr)});
    }
    if (r != 0)
        return r;
    if (after == end)
        return port_required ? TH_E_BAD_TARGET : 0;
    if (*after != ':')
        return TH_E_BAD_TARGET;
    return set_port(ret_url, (struct th_str){after + 1, (size_t)(end - after - 1)});
}

/* --- paths --- */

static bool percents_are_whole(const char *p, const char *end)
{
    while ((p = memchr(p, '%', (size_t)(end - p))) != NULL) {
        if (end - p < 3 || !th_scan_is(p[1], TH_SCAN_HEX) || !th_scan_is(p[2], TH_SCAN_HEX))
            return false;
        p += 3;
    }
    return true;
}

int th_url_parse_path_query(struct th_str text, struct th_url *ret_url)
{
    if (text.len == 0 || text.ptr[0] != '/')
        return TH_E_BAD_TARGET;
    const char *end = text.ptr + text.len;
    const char *path_end = th_scan_class(text.ptr, end, TH_SCAN_PATH);
    if (path_end < end) {
        if (*path_end != '?' || th_scan_class(path_end + 1, end, TH_SCAN_QUERY) != end)
            return TH_E_BAD_TARGET;
    }
    if (!percents_are_whole(text.ptr, end))
        return TH_E_BAD_TARGET;
    ret_url->path_query = text;
    ret_url->path = (struct th_str){text.ptr, (size_t)(path_end - text.ptr)};
    return 0;
}

/* Indexed by enum th_scheme. */
static const struct th_str http_names[] = {{"http", 4}, {"https", 5}};
static const struct th_str websocket_names[] = {{"ws", 2}, {"wss", 3}};

static int take_scheme(struct th_str *text, const struct th_str names[2],
                       enum th_scheme *ret_scheme)
{
    static const enum th_scheme schemes[] = {TH_SCHEME_HTTP, TH_SCHEME_HTTPS};
    for (size_t i = 0; i < TH_COUNT_OF(schemes); i++) {
        struct th_str name = names[schemes[i]];
        if (text->len < name.len + 3 ||
            !th_str_equal_nocase((struct th_str){text->ptr, name.len}, name) ||
            memcmp(text->ptr + name.len, "://", 3) != 0)
            continue;
        *ret_scheme = schemes[i];
        text->ptr += name.len + 3;
        text->len -= name.len + 3;
        return 0;
    }
    return TH_E_BAD_TARGET;
}

static int parse(struct th_str text, const struct th_str names[2], struct th_url *ret_url)
{
    int r = take_scheme(&text, names, &ret_url->scheme);
    if (r != 0)
        return r;
    size_t authority = 0;
    while (authority < text.len && text.ptr[authority] != '/' && text.ptr[authority] != '?' &&
           text.ptr[authority] != '#')
        authority++;
    /* an '@' is no byte of a host, so userinfo is refused with it */
    r = th_url_parse_authority((struct th_str){text.ptr, authority}, false, ret_url);
    if (r != 0)
        return r;
    if (!ret_url->port_named)
        ret_url->port = th_scheme_port(ret_url->scheme);
    if (authority == text.len) {
        ret_url->path_query = ret_url->path = TH_STR("/");
        return 0;
    }
    /* "http://host?query" would have to be mended to go on the wire: refused with the rest */
    return th_url_parse_path_query((struct th_str){text.ptr + authority, text.len - authority},
                                   ret_url);
}

int th_url_parse(struct th_str text, struct th_url *ret_url)
{
    return parse(text, http_names, ret_url);
}

int th_url_parse_websocket(struct th_str text, struct th_url *ret_url)
{
    return parse(text, websocket_names, ret_url);
}

/* --- what two servers may read in two ways --- */

/* The byte that "%xy" at `p` stands for, or -1. */
static int encoded_at(const char *p, const char *end)
{
    if (end - p < 3 || p[0] != '%' || !th_scan_is(p[1], TH_SCAN_HEX) ||
        !th_scan_is(p[2], TH_SCAN_HEX))
        return -1;
    return (int)(th_scan_hex_value(p[1]) << 4 | th_scan_hex_value(p[2]));
}

static bool is_dangerous(int byte)
{
    return byte == '.' || byte == '/' || byte == '\\' || (byte >= 0 && byte < 0x20) || byte == 0x7f;
}

/* The character that stands at *p once it is decoded, or -1 at the end; *p goes behind it. */
static int take_decoded(const char **p, const char *end)
{
    if (*p == end)
        return -1;
    int byte = encoded_at(*p, end);
    *p += byte >= 0 ? 3 : 1;
    return byte >= 0 ? byte : (unsigned char)(*p)[-1];
}

/* `p` is behind an encoded percent sign: the byte that it begins when what is decoded is decoded
 * again, or -1. Its digits may be encoded as well ("%25%32%65" is "%2e", is "."). */
static int encoded_twice_at(const char *p, const char *end)
{
    int high = take_decoded(&p, end);
    int low = take_decoded(&p, end);
    if (low < 0 || !th_scan_is((char)high, TH_SCAN_HEX) || !th_scan_is((char)low, TH_SCAN_HEX))
        return -1;
    return (int)(th_scan_hex_value((char)high) << 4 | th_scan_hex_value((char)low));
}

/* `p` is at a percent sign. Servers decode once or twice, and some take overlong UTF-8 ("%c0%ae")
 * for the character it would stand for. */
static bool encoding_is_ambiguous(const char *p, const char *end)
{
    int byte = encoded_at(p, end);
    if (byte < 0 || is_dangerous(byte))
        return true;
    int next = encoded_at(p + 3, end);
    switch (byte) {
    case '%':
        byte = encoded_twice_at(p + 3, end);
        return is_dangerous(byte) || byte == '%';
    case 0xc0:
    case 0xc1:
        return true;
    case 0xe0:
        return next >= 0x80 && next < 0xa0;
    case 0xf0:
        return next >= 0x80 && next < 0x90;
    }
    return false;
}

/* `p` is behind a slash. "." and "..", with parameters or without ("..;x" is ".." to servers that
 * strip parameters, and a name to others). */
static bool is_dot_segment(const char *p, const char *end)
{
    if (p == end || *p != '.')
        return false;
    p += end - p > 1 && p[1] == '.' ? 2 : 1;
    return p == end || *p == '/' || *p == ';' || encoded_at(p, end) == ';';
}

bool th_url_path_is_ambiguous(struct th_str path)
{
    if (path.len == 0 || path.ptr[0] != '/')
        return true;
    const char *end = path.ptr + path.len;
    for (const char *p = path.ptr; p < end; p++) {
        if (!th_scan_is(*p, TH_SCAN_PATH)) /* backslash, fragment, controls */
            return true;
        if (*p == '%' && encoding_is_ambiguous(p, end))
            return true;
        if (*p == '/' && (is_dot_segment(p + 1, end) || (p + 1 < end && p[1] == '/')))
            return true;
    }
    return false;
}

size_t th_url_write_authority(const struct th_url *url, char *room, size_t size)
{
    char port[1 + PORT_DIGITS_MAX];
    size_t port_len = 0;
    if (url->port != 0 && url->port != th_scheme_port(url->scheme)) {
        size_t at = sizeof(port);
        for (unsigned rest = url->port; rest > 0; rest /= 10)
            port[--at] = (char)('0' + rest % 10);
        port[--at] = ':';
        port_len = sizeof(port) - at;
        memmove(port, port + at, port_len);
    }
    size_t brackets = url->host_is_ipv6 ? 2 : 0;
    size_t len = url->host.len + brackets + port_len;
    if (url->host.len == 0 || len > size)
        return 0;
    if (url->host_is_ipv6) {
        room[0] = '[';
        room[1 + url->host.len] = ']';
    }
    memcpy(room + brackets / 2, url->host.ptr, url->host.len);
    memcpy(room + url->host.len + brackets, port, port_len);
    return len;
}
