#include "tokenhop/gate/egress.h"

#include <arpa/inet.h>
#include <string.h>

#include "tokenhop/base/check.h"

struct range4 {
    uint32_t address; /* host order */
    uint8_t prefix;
    enum th_address_class class;
};

/* IANA's special-purpose registry (RFC 6890 and successors). What is not here is public. */
static const struct range4 ranges4[] = {
    {0x00000000, 8, TH_ADDRESS_FORBIDDEN},  /* 0.0.0.0/8: "this network" */
    {0x0a000000, 8, TH_ADDRESS_PRIVATE},    /* 10.0.0.0/8 */
    {0x64400000, 10, TH_ADDRESS_PRIVATE},   /* 100.64.0.0/10: shared, RFC 6598 */
    {0x7f000000, 8, TH_ADDRESS_LOOPBACK},   /* 127.0.0.0/8 */
    {0xa9fe0000, 16, TH_ADDRESS_METADATA},  /* 169.254.0.0/16: link-local */
    {0xac100000, 12, TH_ADDRESS_PRIVATE},   /* 172.16.0.0/12 */
    {0xc0000000, 24, TH_ADDRESS_FORBIDDEN}, /* 192.0.0.0/24: protocol assignments */
    {0xc0000200, 24, TH_ADDRESS_FORBIDDEN}, /* 192.0.2.0/24: documentation */
    {0xc0586300, 24, TH_ADDRESS_FORBIDDEN}, /* 192.88.99.0/24: 6to4 relays */
    {0xc0a80000, 16, TH_ADDRESS_PRIVATE},   /* 192.168.0.0/16 */
    {0xc6120000, 15, TH_ADDRESS_FORBIDDEN}, /* 198.18.0.0/15: benchmarking */
    {0xc6336400, 24, TH_ADDRESS_FORBIDDEN}, /* 198.51.100.0/24: documentation */
    {0xcb007100, 24, TH_ADDRESS_FORBIDDEN}, /* 203.0.113.0/24: documentation */
    {0xe0000000, 4, TH_ADDRESS_FORBIDDEN},  /* 224.0.0.0/4: multicast */
    {0xf0000000, 4, TH_ADDRESS_FORBIDDEN},  /* 240.0.0.0/4: reserved, broadcast */
};

/* Addresses of metadata services that lie outside of the link-local ranges. */
static const uint32_t metadata4[] = {
    0x646464c8, /* 100.100.100.200 */
    0xc00000c0, /* 192.0.0.192 */
    0xa83f8110, /* 168.63.129.16 */
};

static enum th_address_class classify4(uint32_t address)
{
    for (size_t i = 0; i < TH_COUNT_OF(metadata4); i++)
        if (metadata4[i] == address)
            return TH_ADDRESS_METADATA;
    for (size_t i = 0; i < TH_COUNT_OF(ranges4); i++)
        if ((address ^ ranges4[i].address) >> (32 - ranges4[i].prefix) == 0)
            return ranges4[i].class;
    return TH_ADDRESS_PUBLIC;
}

static uint32_t load32(const uint8_t *b)
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static bool has_prefix(const uint8_t *address, const char *prefix, size_t bytes)
{
    return memcmp(address, prefix, bytes) == 0;
}

/* In a form by which an IPv4 address is reached through something on the way: what is not public there is nobody's
 * business. */
static enum th_address_class classify_carried4(uint32_t address)
{
    enum th_address_class class = classify4(address);

    return class == TH_ADDRESS_PUBLIC || class == TH_ADDRESS_METADATA ? class
                                                                      : TH_ADDRESS_FORBIDDEN;
}

static bool is_metadata6(const uint8_t *a)
{
    static const char *const known[] = {
        "\xfd\x00\x0e\xc2\0\0\0\0\0\0\0\0\0\0\x02\x54", /* fd00:ec2::254 */
        "\xfd\x00\x0e\xc2\0\0\0\0\0\0\0\0\0\0\x00\x23", /* fd00:ec2::23 */
        "\xfd\x20\x00\xce\0\0\0\0\0\0\0\0\0\0\x02\x54", /* fd20:ce::254 */
    };
    for (size_t i = 0; i < TH_COUNT_OF(known); i++)
        if (has_prefix(a, known[i], 16))
            return true;
    return false;
}

static enum th_address_class classify6(const uint8_t *a)
{
    static const uint8_t zero[16];

    if (has_prefix(a, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12)) /* mapped, RFC 4291 2.5.5.2 */
        return classify4(load32(a + 12));
    if (memcmp(a, zero, 15) == 0 && a[15] <= 1)
        return a[15] == 1 ? TH_ADDRESS_LOOPBACK : TH_ADDRESS_FORBIDDEN;
    if (memcmp(a, zero, 12) ==
        0) /* compatible, RFC 4291 2.5.5.1: deprecated, still routed by some */
        return classify_carried4(load32(a + 12));
    if (has_prefix(a, "\x00\x64\xff\x9b\0\0\0\0\0\0\0\0", 12)) /* NAT64, RFC 6052 */
        return classify_carried4(load32(a + 12));
    if (has_prefix(a, "\x00\x64\xff\x9b\x00\x01", 6)) /* local-use NAT64, RFC 8215 */
        return classify4(load32(a + 12)) == TH_ADDRESS_METADATA ? TH_ADDRESS_METADATA
                                                                : TH_ADDRESS_FORBIDDEN;
    if (has_prefix(a, "\x20\x02", 2)) /* 6to4, RFC 3056 */
        return classify_carried4(load32(a + 2));
    if (has_prefix(a, "\x20\x01\0\0", 4)) /* Teredo, RFC 4380 */
        return TH_ADDRESS_FORBIDDEN;
    if (has_prefix(a, "\x20\x01\x0d\xb8", 4)) /* documentation */
        return TH_ADDRESS_FORBIDDEN;
    if (is_metadata6(a) || (a[0] == 0xfe && (a[1] & 0xc0) == 0x80)) /* link-local, RFC 4291 2.5.6 */
        return TH_ADDRESS_METADATA;
    if ((a[0] & 0xfe) == 0xfc) /* unique-local, RFC 4193 */
        return TH_ADDRESS_PRIVATE;
    if ((a[0] & 0xe0) == 0x20) /* 2000::/3: global unicast */
        return TH_ADDRESS_PUBLIC;
    return TH_ADDRESS_FORBIDDEN; /* site-local, multicast, discard, unassigned */
}

enum th_address_class th_egress_classify(const struct th_address *address)
{
    struct in6_addr v6;

    th_address_to_v6(address, &v6);
    return classify6(v6.s6_addr);
}

/* By a network that it is in; `literally`: by the address itself. */
static bool is_allowed_by_name(const struct th_config_egress *egress,
                               const struct th_address *address, bool literally)
{
    struct in6_addr v6;

    th_address_to_v6(address, &v6);
    for (size_t i = 0; i < egress->n_allow; i++)
        if ((!literally || egress->allow[i].prefix == 128) &&
            th_config_network_holds(&egress->allow[i], &v6, th_address_port(address)))
            return true;
    return false;
}

static bool is_unspecified(const struct in6_addr *v6)
{
    static const uint8_t any4[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0};

    return IN6_IS_ADDR_UNSPECIFIED(v6) || memcmp(v6->s6_addr, any4, sizeof any4) == 0;
}

/* One that is for all addresses of IPv4 is met by none of IPv6; the other way round it may be, where it was handed
 * over. */
static bool is_for_all(const struct in6_addr *listener, const struct in6_addr *address)
{
    return is_unspecified(listener) &&
           (IN6_IS_ADDR_UNSPECIFIED(listener) || IN6_IS_ADDR_V4MAPPED(address));
}

/* R10: a listener on all addresses is met by each address of this machine. */
bool th_egress_meets(const struct th_address *listener, const struct th_address *address)
{
    struct in6_addr theirs, own;

    if (th_address_port(listener) != th_address_port(address))
        return false;
    th_address_to_v6(address, &theirs);
    th_address_to_v6(listener, &own);
    return memcmp(&own, &theirs, sizeof own) == 0 || is_unspecified(&theirs) ||
           (is_for_all(&own, &theirs) && th_address_is_of_this_machine(address));
}

static bool is_met(const struct sockaddr_storage *listener, socklen_t len,
                   const struct th_address *address)
{
    struct th_address bound;

    return th_address_from_sockaddr((const struct sockaddr *)listener, len, &bound) == 0 &&
           th_egress_meets(&bound, address);
}

static bool is_own_listener(const struct th_config_view *config, const struct th_address *address)
{
    for (size_t i = 0; i < config->n_listeners; i++)
        if (is_met(&config->listeners[i].address, config->listeners[i].address_len, address))
            return true;
    return config->admin.address_text.len > 0 && config->admin.path.len == 0 &&
           is_met(&config->admin.address, config->admin.address_len, address);
}

int th_egress_permit(const struct th_config_view *config, bool matched,
                     const struct th_address *address)
{
    enum th_address_class class = th_egress_classify(address);

    if (is_own_listener(config, address))
        return TH_E_LOOP;
    if (class == TH_ADDRESS_PUBLIC || (class == TH_ADDRESS_PRIVATE && matched))
        return 0;
    return is_allowed_by_name(&config->egress, address, class == TH_ADDRESS_METADATA)
               ? 0
               : TH_E_EGRESS_DENIED;
}
