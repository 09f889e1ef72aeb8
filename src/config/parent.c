#include "tokenhop/config/parent.h"

#include <arpa/inet.h>

/* --- whom it is for --- */

/* IPv4 as ::ffff:a.b.c.d; false: a name. */
static bool read_literal(struct th_str host, struct in6_addr *ret_address)
{
    char text[INET6_ADDRSTRLEN];
    struct in_addr v4;

    if (host.len == 0 || host.len >= sizeof text)
        return false;
    memcpy(text, host.ptr, host.len);
    text[host.len] = '\0';
    if (inet_pton(AF_INET, text, &v4) != 1)
        return inet_pton(AF_INET6, text, ret_address) == 1;
    memset(ret_address, 0, sizeof *ret_address);
    ret_address->s6_addr[10] = ret_address->s6_addr[11] = 0xff;
    memcpy(ret_address->s6_addr + 12, &v4, sizeof v4);
    return true;
}

static bool network_holds(const struct th_config_network *network, const struct in6_addr *address)
{
    unsigned whole = network->prefix / 8, rest = network->prefix % 8;

    if (memcmp(network->address.s6_addr, address->s6_addr, whole) != 0)
        return false;
    return rest == 0 ||
           ((network->address.s6_addr[whole] ^ address->s6_addr[whole]) >> (8 - rest)) == 0;
}

static bool is_below(struct th_str host, struct th_str above)
{
    if (host.len < above.len + 2 || host.ptr[host.len - above.len - 1] != '.')
        return false;
    return th_str_equal_nocase((struct th_str){host.ptr + host.len - above.len, above.len}, above);
}

static bool is_for(const struct th_config_parent_for *pattern, bool is_https, struct th_str host,
                   uint16_t port)
{
    struct in6_addr address;

    if (pattern->scheme.len > 0 && th_str_equal(pattern->scheme, TH_STR("https")) != is_https)
        return false;
    if (pattern->host.len == 0)
        return (pattern->network.port == 0 || pattern->network.port == port) &&
               read_literal(host, &address) && network_holds(&pattern->network, &address);
    if (pattern->port != 0 && pattern->port != port)
        return false;
    return pattern->wildcard ? is_below(host, pattern->host)
                             : th_str_equal_nocase(host, pattern->host);
}

/* RFC 6761, 6.3. */
static bool is_own_machine(struct th_str host)
{
    struct in6_addr address;
    bool is_literal = read_literal(host, &address);

    if (!is_literal)
        return th_str_equal_nocase(host, TH_STR("localhost")) ||
               th_str_equal_nocase(host, TH_STR("localhost.localdomain")) ||
               is_below(host, TH_STR("localhost"));
    return IN6_IS_ADDR_LOOPBACK(&address) ||
           (IN6_IS_ADDR_V4MAPPED(&address) && address.s6_addr[12] == 127);
}

static bool carries_it(const struct th_config_parent *parent, enum th_parent_carries carries)
{
    return parent->carries == TH_PARENT_CARRIES_ALL || parent->carries == carries;
}

const struct th_config_parent *th_config_find_parent(const struct th_config_view *view,
                                                     enum th_parent_carries carries, bool is_https,
                                                     struct th_str host, uint16_t port)
{
    for (size_t i = 0; i < view->n_parents; i++) {
        const struct th_config_parent *parent = &view->parents[i];
        if (!carries_it(parent, carries))
            continue;
        bool matches = parent->n_destinations == 0 && !is_own_machine(host);
        for (size_t k = 0; k < parent->n_destinations && !matches; k++)
            matches = is_for(&parent->destinations[k], is_https, host, port);
        if (matches)
            return parent->is_direct ? NULL : parent;
    }
    return NULL;
}

/* --- others --- */

bool th_config_parent_is_alike(const struct th_config_parent *a, const struct th_config_parent *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    if (a->is_https != b->is_https || a->port != b->port || !th_str_equal(a->host, b->host) ||
        !th_str_equal(a->ca_file, b->ca_file) ||
        (a->authorization == NULL) != (b->authorization == NULL))
        return false;
    return a->authorization == NULL || th_secret_equal(a->authorization, b->authorization);
}

bool th_config_parent_refuses(struct th_str host)
{
    static const struct th_str names[] = {{"metadata", 8},
                                          {"metadata.google.internal", 24},
                                          {"metadata.goog", 13},
                                          {"instance-data", 13},
                                          {"instance-data.ec2.internal", 26},
                                          {"metadata.azure.internal", 23},
                                          {"metadata.tencentyun.com", 23}};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (th_str_equal_nocase(host, names[i]) || is_below(host, names[i]))
            return true;
    return false;
}
