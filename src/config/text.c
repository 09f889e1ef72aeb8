#include "text.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

#include "tokenhop/base/check.h"

static int bad(struct th_errinfo *reterr, const char *what, const char *mend)
{
    return th_errinfo_set(reterr, TH_E_CONFIG, NULL, mend, "%s", what);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit duration_units[] = {{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
static const struct unit size_units[] = {
    {"GiB", 1u << 30}, {"MiB", 1u << 20}, {"KiB", 1u << 10}, {"B", 1}};

/* Digits and a unit, nothing between or around them; at most nine digits, so nothing overflows. */
static bool parse_quantity(struct th_str text, const struct unit *units, size_t n_units,
                           uint64_t *ret_value)
{
    size_t n_digits = 0;
    uint64_t number = 0;
    while (n_digits < text.len && is_digit(text.ptr[n_digits]))
        n_digits++;
    if (n_digits > 9 || (n_digits > 1 && text.ptr[0] == '0') ||
        th_str_to_u64((struct th_str){text.ptr, n_digits}, UINT32_MAX, &number) < 0)
        return false;
    struct th_str name = {text.ptr + n_digits, text.len - n_digits};
    for (size_t i = 0; i < n_units; i++) {
        if (th_str_equal(name, th_str_of(units[i].name))) {
            *ret_value = number * units[i].factor;
            return true;
        }
    }
    return false;
}

static void print_quantity(uint64_t value, const struct unit *units, size_t n_units, char *ret_text,
                           size_t size)
{
    size_t i = 0;
    while (i + 1 < n_units && (value % units[i].factor != 0 || value == 0))
        i++;
    snprintf(ret_text, size, "%llu%s", (unsigned long long)(value / units[i].factor),
             units[i].name);
}

int th_text_to_duration(struct th_str text, int64_t *ret_ms, struct th_errinfo *reterr)
{
    uint64_t value;
    if (!parse_quantity(text, duration_units, TH_COUNT_OF(duration_units), &value))
        return bad(reterr, "this is not a duration",
                   "write a whole number and its unit: \"250ms\", \"30s\", \"15m\" or \"1h\"");
    *ret_ms = (int64_t)value;
    return 0;
}

int th_text_to_size(struct th_str text, uint64_t *ret_bytes, struct th_errinfo *reterr)
{
    if (!parse_quantity(text, size_units, TH_COUNT_OF(size_units), ret_bytes))
        return bad(
            reterr, "this is not a size",
            "write a whole number and its unit: \"512B\", \"64KiB\", \"128MiB\" or \"1GiB\"");
    return 0;
}

void th_text_from_duration(int64_t ms, char *ret_text, size_t size)
{
    print_quantity((uint64_t)ms, duration_units, TH_COUNT_OF(duration_units), ret_text, size);
}

void th_text_from_size(uint64_t bytes, char *ret_text, size_t size)
{
    print_quantity(bytes, size_units, TH_COUNT_OF(size_units), ret_text, size);
}

int th_text_check_name(struct th_str text, struct th_errinfo *reterr)
{
    bool ok = text.len >= 1 && text.len <= 64;
    for (size_t i = 0; ok && i < text.len; i++)
        ok = is_alnum(text.ptr[i]) || strchr("._-", text.ptr[i]) != NULL;
    return ok ? 0
              : bad(reterr, "a name is 1 to 64 letters, digits, '.', '_' or '-'",
                    "choose a name of these, as it appears in logs and metrics");
}

int th_text_check_scope(struct th_str text, struct th_errinfo *reterr)
{
    if (text.len == 0 || text.len > 256)
        return bad(reterr, "a scope is 1 to 256 characters", NULL);
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == ' ')
            return bad(reterr, "a scope holds no space", "write each scope as its own string");
        if (c < 0x21 || c > 0x7e || c == '"' || c == '\\')
            return bad(reterr, "a scope holds only visible ASCII without '\"' and '\\'", NULL);
    }
    return 0;
}

int th_text_check_field(struct th_str text, struct th_errinfo *reterr)
{
    bool ok = text.len >= 1 && text.len <= 64;
    for (size_t i = 0; ok && i < text.len; i++)
        ok = is_alnum(text.ptr[i]) || strchr("!#$%&'*+-.^_`|~", text.ptr[i]) != NULL;
    return ok ? 0
              : bad(reterr, "this is not the name of a header field",
                    "write the name alone, without a colon: \"X-Api-Key\"");
}

int th_text_check_visible(struct th_str text, struct th_errinfo *reterr)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < 0x20 || text.ptr[i] > 0x7e)
            return bad(reterr, "this holds a character that is not printable ASCII", NULL);
    }
    return 0;
}

int th_text_check_variable(struct th_str text, struct th_errinfo *reterr)
{
    bool ok = text.len > 0 && !is_digit(text.ptr[0]);
    for (size_t i = 0; ok && i < text.len; i++)
        ok = is_alnum(text.ptr[i]) || text.ptr[i] == '_';
    return ok ? 0
              : bad(reterr, "this is not the name of an environment variable",
                    "write the variable's name, not its value");
}

int th_text_check_file(struct th_str text, struct th_errinfo *reterr)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c < 0x20 || c == 0x7f)
            return bad(reterr, "a file's name holds no control characters",
                       "write the name of a file; what is in it does not belong here");
    }
    if (th_str_starts_with(text, TH_STR("-----BEGIN")) || th_str_starts_with(text, TH_STR("{")))
        return bad(reterr, "this is the content of a key file, not its name",
                   "put it into a file of its own (mode 0600) and name that file here");
    return 0;
}

/* "ADDRESS", "ADDRESS:PORT", "[ADDRESS]:PORT"; an IPv6 address before a port is in brackets. */
static bool split_address(struct th_str text, struct in6_addr *ret_address, bool *ret_ipv4,
                          struct th_str *ret_port)
{
    char buf[INET6_ADDRSTRLEN];
    struct th_str host = text;
    struct in_addr ipv4;
    *ret_port = TH_STR_NONE;
    const char *colon = memrchr(text.ptr, ':', text.len);
    if (text.len > 0 && text.ptr[0] == '[') {
        const char *close = memchr(text.ptr, ']', text.len);
        if (close == NULL || (close + 1 != colon && close + 1 != text.ptr + text.len))
            return false;
        host = (struct th_str){text.ptr + 1, (size_t)(close - text.ptr) - 1};
    } else if (colon != NULL && memchr(text.ptr, ':', text.len) == colon) {
        host.len = (size_t)(colon - text.ptr);
    } else {
        colon = NULL; /* a bare IPv6 address, or no port at all */
    }
    if (colon != NULL && colon >= host.ptr + host.len) {
        ret_port->ptr = colon + 1;
        ret_port->len = text.len - (size_t)(colon + 1 - text.ptr);
    }
    if (host.len >= sizeof(buf))
        return false;
    memcpy(buf, host.ptr, host.len);
    buf[host.len] = '\0';
    *ret_ipv4 = text.ptr[0] != '[' && inet_pton(AF_INET, buf, &ipv4) == 1;
    if (!*ret_ipv4)
        return inet_pton(AF_INET6, buf, ret_address) == 1;
    memset(ret_address, 0, sizeof(*ret_address));
    memset(ret_address->s6_addr + 10, 0xff, 2);
    memcpy(ret_address->s6_addr + 12, &ipv4, 4);
    return true;
}

static bool parse_port(struct th_str text, uint16_t *ret_port)
{
    uint64_t port = 0;
    if (text.len == 0 || text.ptr[0] == '0' || th_str_to_u64(text, 65535, &port) < 0)
        return false;
    *ret_port = (uint16_t)port;
    return true;
}

int th_text_to_address(struct th_str text, struct sockaddr_storage *ret_address, socklen_t *ret_len,
                       struct th_errinfo *reterr)
{
    struct in6_addr address;
    struct th_str port_text;
    bool ipv4;
    uint16_t port;
    if (text.len == 0 || !split_address(text, &address, &ipv4, &port_text))
        return bad(
            reterr, "this is not an address in digits and a port",
            "write \"127.0.0.1:8080\" or \"[::1]:8080\" (0.0.0.0 or [::] for every address)");
    if (!parse_port(port_text, &port))
        return bad(reterr, "the port is not a number from 1 to 65535",
                   "write \"127.0.0.1:8080\" or \"[::1]:8080\"");
    memset(ret_address, 0, sizeof(*ret_address));
    if (ipv4) {
        struct sockaddr_in *in = (struct sockaddr_in *)ret_address;
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        memcpy(&in->sin_addr, address.s6_addr + 12, 4);
        *ret_len = sizeof(*in);
        return 0;
    }
    if (IN6_IS_ADDR_V4MAPPED(&address))
        return bad(reterr, "this is an IPv4 address in IPv6 form",
                   "write its four decimal numbers");
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret_address;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(port);
    in6->sin6_addr = address;
    *ret_len = sizeof(*in6);
    return 0;
}

int th_text_to_percent(struct th_str text, unsigned *ret_percent, struct th_errinfo *reterr)
{
    uint64_t percent = 0;
    bool ends = text.len > 1 && text.ptr[0] != '0' && text.ptr[text.len - 1] == '%';
    if (!ends || th_str_to_u64((struct th_str){text.ptr, text.len - 1}, 100, &percent) < 0)
        return bad(reterr, "this is not a percentage", "write \"1%\" to \"100%\"");
    *ret_percent = (unsigned)percent;
    return 0;
}

int th_text_check_percent(struct th_str text, struct th_errinfo *reterr)
{
    unsigned percent;
    return th_text_to_percent(text, &percent, reterr);
}

int th_text_to_mode(struct th_str text, uint32_t *ret_mode, struct th_errinfo *reterr)
{
    uint32_t mode = 0;
    bool ok = text.len == 4 && text.ptr[0] == '0';
    for (size_t i = 1; ok && i < text.len; i++) {
        ok = text.ptr[i] >= '0' && text.ptr[i] <= '7';
        mode = mode << 3 | (uint32_t)(text.ptr[i] - '0');
    }
    if (!ok)
        return bad(reterr, "this is not the mode of a socket",
                   "write four octal digits, the first of them 0: \"0660\"");
    *ret_mode = mode;
    return 0;
}

int th_text_check_mode(struct th_str text, struct th_errinfo *reterr)
{
    uint32_t mode;
    return th_text_to_mode(text, &mode, reterr);
}

static bool read_port(struct th_str text, uint16_t *ret_port)
{
    uint64_t port = 0;
    if (text.len == 0 || text.ptr[0] == '0' || th_str_to_u64(text, UINT16_MAX, &port) < 0)
        return false;
    *ret_port = (uint16_t)port;
    return true;
}

int th_text_to_ports(struct th_str text, struct th_config_ports *ret_ports,
                     struct th_errinfo *reterr)
{
    const char *dash = text.len > 0 ? memchr(text.ptr, '-', text.len) : NULL;
    struct th_str first = text, last = text;
    if (dash != NULL) {
        first.len = (size_t)(dash - text.ptr);
        last = (struct th_str){dash + 1, text.len - first.len - 1};
    }
    if (!read_port(first, &ret_ports->first) || !read_port(last, &ret_ports->last))
        return bad(reterr, "this is no port and no range of ports",
                   "write a number from 1 to 65535, or two of them, \"8000-8999\"");
    if (ret_ports->first > ret_ports->last)
        return bad(reterr, "this range ends before it begins", "write the smaller port first");
    return 0;
}

int th_text_check_ports(struct th_str text, struct th_errinfo *reterr)
{
    struct th_config_ports ports;
    return th_text_to_ports(text, &ports, reterr);
}

static bool has_bits_beyond(const struct in6_addr *address, unsigned prefix)
{
    for (unsigned bit = prefix; bit < 128; bit++) {
        if ((address->s6_addr[bit / 8] >> (7 - bit % 8)) & 1)
            return true;
    }
    return false;
}

int th_text_to_network(struct th_str text, struct th_config_network *ret_network,
                       struct th_errinfo *reterr)
{
    static const char how[] =
        "write \"10.1.0.0/16\", \"fd00::/8\", \"127.0.0.1:9001\" or \"[::1]:80\"";
    struct th_config_network network = {.prefix = 128};
    struct th_str address = text, port;
    bool ipv4;
    const char *slash = text.len > 0 ? memchr(text.ptr, '/', text.len) : NULL;
    if (slash != NULL)
        address.len = (size_t)(slash - text.ptr);
    if (address.len == 0 || !split_address(address, &network.address, &ipv4, &port))
        return bad(reterr, "this is neither an address nor a network in digits", how);
    if (port.ptr != NULL && !parse_port(port, &network.port))
        return bad(reterr, "the port is not a number from 1 to 65535", how);
    if (slash != NULL) {
        uint64_t prefix = 0;
        struct th_str digits = {slash + 1, text.len - address.len - 1};
        if (port.ptr != NULL || (digits.len > 1 && digits.ptr[0] == '0') ||
            th_str_to_u64(digits, ipv4 ? 32 : 128, &prefix) < 0)
            return bad(reterr, "the prefix's length is not a number of the address's bits", how);
        network.prefix = (uint8_t)(prefix + (ipv4 ? 96 : 0));
    }
    if (has_bits_beyond(&network.address, network.prefix))
        return bad(reterr, "the address has bits beyond the prefix's length",
                   "set what follows the prefix to zero, or write one address without '/'");
    *ret_network = network;
    return 0;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

#define MAX_DISTANCE_LEN 64

size_t th_text_distance(struct th_str a, struct th_str b)
{
    /* the last three rows of the usual matrix: two for the distance, one more for the swaps */
    size_t rows[3][MAX_DISTANCE_LEN + 1];
    if (a.len > MAX_DISTANCE_LEN || b.len > MAX_DISTANCE_LEN)
        return SIZE_MAX;
    size_t *before = rows[0], *previous = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b.len; j++)
        previous[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            bool same = lower(a.ptr[i - 1]) == lower(b.ptr[j - 1]);
            size_t best = previous[j - 1] + !same;
            if (previous[j] + 1 < best)
                best = previous[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && lower(a.ptr[i - 1]) == lower(b.ptr[j - 2]) &&
                lower(a.ptr[i - 2]) == lower(b.ptr[j - 1]) && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
        size_t *oldest = before;
        before = previous;
        previous = row;
        row = oldest;
    }
    return previous[b.len];
}

void th_nearest_init(struct th_nearest *nearest, struct th_str wanted)
{
    *nearest = (struct th_nearest){.wanted = wanted, .distance = SIZE_MAX};
}

void th_nearest_offer(struct th_nearest *nearest, struct th_str name)
{
    size_t distance = th_text_distance(nearest->wanted, name);
    size_t shorter = name.len < nearest->wanted.len ? name.len : nearest->wanted.len;
    /* a third of the letters may be wrong, or one name begins with the other ("scope_list") */
    size_t allowed = shorter / 3 > 0 ? shorter / 3 : 1;
    bool extends = shorter >= 4 && strncmp(name.ptr, nearest->wanted.ptr, shorter) == 0;
    if (distance < nearest->distance && ((distance <= allowed && distance < shorter) || extends)) {
        nearest->distance = distance;
        nearest->best = name;
    }
}
