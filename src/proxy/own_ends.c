#include "own_ends.h"

#include <pthread.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/hash.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/random.h"

struct ends {
    struct th_address near, far;
};

struct th_own_end {
    struct th_hash_node node;
    struct ends ends;
};

struct th_own_ends {
    pthread_mutex_t lock;
    struct th_hash_key key;
    struct th_hash_table table; /* of th_own_end.node, by its near end */
};

static uint64_t hash_of(const struct th_own_ends *ends, const struct th_address *address)
{
    struct {
        struct in6_addr host;
        uint16_t port;
    } what = {.port = th_address_port(address)};

    th_address_to_v6(address, &what.host);
    return th_hash_bytes(&ends->key, &what, sizeof what.host + sizeof what.port);
}

static bool has_ends(const struct th_hash_node *node, const void *key)
{
    const struct ends *own = &TH_CONTAINER_OF(node, struct th_own_end, node)->ends;
    const struct ends *asked = key;

    return th_address_equal(&own->near, &asked->near) && th_address_equal(&own->far, &asked->far);
}

int th_own_ends_new(struct th_own_ends **ret_ends)
{
    struct th_own_ends *ends = th_calloc(1, sizeof *ends);

    if (ends == NULL)
        return TH_E_NOMEM;
    if (pthread_mutex_init(&ends->lock, NULL) != 0) {
        th_free(ends);
        return TH_E_NOMEM;
    }
    th_random_bytes(&ends->key, sizeof ends->key);
    th_hash_table_init(&ends->table);
    *ret_ends = ends;
    return 0;
}

struct th_own_ends *th_own_ends_free(struct th_own_ends *ends)
{
    if (ends == NULL)
        return NULL;
    TH_REQUIRE(ends->table.n_items == 0);
    th_hash_table_fini(&ends->table);
    pthread_mutex_destroy(&ends->lock);
    th_free(ends);
    return NULL;
}

int th_own_ends_add(struct th_own_ends *ends, int fd, const struct th_address *far,
                    struct th_own_end **ret_end)
{
    struct sockaddr_storage own = {0};
    socklen_t len = sizeof own;
    struct th_address address;

    *ret_end = NULL;
    if (ends == NULL || getsockname(fd, (struct sockaddr *)&own, &len) < 0 ||
        th_address_from_sockaddr((struct sockaddr *)&own, len, &address) < 0)
        return 0;
    struct th_own_end *end = th_calloc(1, sizeof *end);
    if (end == NULL)
        return TH_E_NOMEM;
    end->ends = (struct ends){address, *far};
    pthread_mutex_lock(&ends->lock);
    int error = th_hash_table_insert(&ends->table, &end->node, hash_of(ends, &address));
    pthread_mutex_unlock(&ends->lock);
    if (error < 0)
        th_free(end);
    else
        *ret_end = end;
    return error;
}

void th_own_ends_remove(struct th_own_ends *ends, struct th_own_end *end)
{
    if (end == NULL)
        return;
    pthread_mutex_lock(&ends->lock);
    th_hash_table_remove(&ends->table, &end->node);
    pthread_mutex_unlock(&ends->lock);
    th_free(end);
}

bool th_own_ends_has(struct th_own_ends *ends, const struct th_address *near,
                     const struct th_address *far)
{
    const struct ends asked = {*near, *far};

    if (ends == NULL)
        return false;
    uint64_t hash = hash_of(ends, near);
    pthread_mutex_lock(&ends->lock);
    bool found = th_hash_table_find(&ends->table, hash, has_ends, &asked) != NULL;
    pthread_mutex_unlock(&ends->lock);
    return found;
}
