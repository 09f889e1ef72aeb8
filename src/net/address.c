#include "tokenhop/net/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

/* inet_pton(AF_INET) also takes leading zeros in some C libraries, where others read them as
 * octal: what two readers may read in two ways is refused (R7). */
static bool has_leading_zero(struct th_str host)
{
    for (size_t i = 0; i + 1 < host.len; i++) {
        bool first = i == 0 || host.ptr[i - 1] == '.';
        if (first && host.ptr[i] == '0' && host.ptr[i + 1] != '.')
            return true;
    }
    return false;
}

int th_address_parse(struct th_str host, uint16_t port, struct th_address *ret_address)
{
    char text[INET6_ADDRSTRLEN];
    struct th_address address;

    if (host.len == 0 || host.len >= sizeof(text) || memchr(host.ptr, '\0', host.len) != NULL)
        return TH_E_BAD_TARGET;
    memcpy(text, host.ptr, host.len);
    text[host.len] = '\0';
    memset(&address, 0, sizeof(address));
    if (memchr(text, ':', host.len) == NULL) {
        if (has_leading_zero(host) || inet_pton(AF_INET, text, &address.v4.sin_addr) != 1)
            return TH_E_BAD_TARGET;
        address.v4.sin_family = AF_INET;
        address.v4.sin_port = htons(port);
    } else {
        if (inet_pton(AF_INET6, text, &address.v6.sin6_addr) != 1)
            return TH_E_BAD_TARGET;
        address.v6.sin6_family = AF_INET6;
        address.v6.sin6_port = htons(port);
    }
    *ret_address = address;
    return 0;
}

int th_address_from_sockaddr(const struct sockaddr *sa, socklen_t len,
                             struct th_address *ret_address)
{
    struct th_address address;

    memset(&address, 0, sizeof(address));
    if (len < sizeof(sa->sa_family))
        return TH_E_BAD_TARGET;
    if (sa->sa_family == AF_INET && len >= sizeof(address.v4))
        memcpy(&address.v4, sa, sizeof(address.v4));
    else if (sa->sa_family == AF_INET6 && len >= sizeof(address.v6))
        memcpy(&address.v6, sa, sizeof(address.v6));
    else
        return TH_E_BAD_TARGET;
    *ret_address = address;
    return 0;
}

socklen_t th_address_len(const struct th_address *address)
{
    return address->any.sa_family == AF_INET6 ? sizeof(address->v6) : sizeof(address->v4);
}

uint16_t th_address_port(const struct th_address *address)
{
    return ntohs(address->any.sa_family == AF_INET6 ? address->v6.sin6_port : address->v4.sin_port);
}

void th_address_format(const struct th_address *address, char ret_text[TH_ADDRESS_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN];

    if (address->any.sa_family == AF_INET6) {
        if (inet_ntop(AF_INET6, &address->v6.sin6_addr, host, sizeof(host)) == NULL)
            host[0] = '\0';
        snprintf(ret_text, TH_ADDRESS_TEXT_MAX, "[%s]:%u", host, th_address_port(address));
    } else if (address->any.sa_family == AF_INET) {
        if (inet_ntop(AF_INET, &address->v4.sin_addr, host, sizeof(host)) == NULL)
            host[0] = '\0';
        snprintf(ret_text, TH_ADDRESS_TEXT_MAX, "%s:%u", host, th_address_port(address));
    } else {
        snprintf(ret_text, TH_ADDRESS_TEXT_MAX, "%s",
                 address->any.sa_family == AF_UNIX ? "unix" : "unknown");
    }
}

bool th_address_is_same_host(const struct th_address *a, const struct th_address *b)
{
    if (a->any.sa_family != b->any.sa_family)
        return false;
    if (a->any.sa_family == AF_INET6)
        return a->v6.sin6_scope_id == b->v6.sin6_scope_id &&
               memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(a->v6.sin6_addr)) == 0;
    return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
}

bool th_address_equal(const struct th_address *a, const struct th_address *b)
{
    return th_address_is_same_host(a, b) && th_address_port(a) == th_address_port(b);
}

void th_address_to_v6(const struct th_address *address, struct in6_addr *ret_v6)
{
    if (address->any.sa_family == AF_INET6) {
        *ret_v6 = address->v6.sin6_addr;
        return;
    }
    memset(ret_v6, 0, sizeof(*ret_v6));
    ret_v6->s6_addr[10] = 0xff;
    ret_v6->s6_addr[11] = 0xff;
    memcpy(&ret_v6->s6_addr[12], &address->v4.sin_addr, 4);
}

bool th_address_is_loopback(const struct th_address *address)
{
    struct in6_addr v6;

    if (address->any.sa_family != AF_INET && address->any.sa_family != AF_INET6)
        return false;
    th_address_to_v6(address, &v6);
    if (IN6_IS_ADDR_V4MAPPED(&v6))
        return v6.s6_addr[12] == 127;
    return IN6_IS_ADDR_LOOPBACK(&v6);
}
