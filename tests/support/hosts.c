/* Names for tests, without asking anybody: loaded into a program by LD_PRELOAD, it answers getaddrinfo() for the
 * names of TEST_HOSTS ("origin.example.com=127.0.0.1 ..."), and leaves every other to the system. There are
 * clients that never ask a proxy for localhost or 127.0.0.0/8, so that tests need names that mean loopback for
 * tokenhop and nothing at all for them. */
#include <dlfcn.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef int getaddrinfo_fn(const char *node, const char *service, const struct addrinfo *hints,
                           struct addrinfo **ret);

/* The address of a name; 0 where it is not one of ours. */
static size_t find(const char *name, char *ret_address, size_t size)
{
    const char *at = getenv("TEST_HOSTS");
    size_t name_len = strlen(name);

    for (size_t len; at != NULL && *at != '\0'; at += len + (at[len] == ' ')) {
        len = strcspn(at, " ");
        size_t address_len = len - name_len - 1;
        if (len > name_len + 1 && at[name_len] == '=' && memcmp(at, name, name_len) == 0 &&
            address_len < size) {
            memcpy(ret_address, at + name_len + 1, address_len);
            ret_address[address_len] = '\0';
            return address_len;
        }
    }
    return 0;
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret)
{
    /* of libc, or a sanitizer's */
    getaddrinfo_fn *next = (getaddrinfo_fn *)dlsym(RTLD_NEXT, "getaddrinfo");
    char address[64];

    /* whoever asks whether it is an address must hear that it is a name */
    bool numeric = hints != NULL && (hints->ai_flags & AI_NUMERICHOST) != 0;
    if (node != NULL && !numeric && find(node, address, sizeof address) > 0)
        node = address;
    return next(node, service, hints, ret);
}
