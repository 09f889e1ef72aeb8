
#include "tls_private.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/random.h"

/* Hosts that sessions are kept for, sessions of one host, and for how long after its certificate was looked at
 * one is good. Who takes a session up gets another from the server, and that is good no longer. */
#define HOSTS_MAX 1024
#define SESSIONS_MAX 4
#define FRESH_MS ((int64_t)60 * 60 * 1000)

struct item {
    struct th_hash_node node;
    struct th_list link;
    SSL_SESSION *sessions[SESSIONS_MAX]; /* oldest first */
    struct th_tls_verified verified[SESSIONS_MAX];
    unsigned n;
    uint16_t port;
    size_t host_len;
    char host[];
};

struct name {
    struct th_str host;
    uint16_t port;
};

static bool match(const struct th_hash_node *node, const void *key)
{
    const struct item *item = TH_CONTAINER_OF(node, struct item, node);
    const struct name *name = key;

    return item->port == name->port &&
           th_str_equal((struct th_str){item->host, item->host_len}, name->host);
}

static uint64_t hash_name(const struct th_tls_sessions *sessions, const struct name *name)
{
    return th_hash_bytes(&sessions->hash_key, name->host.ptr, name->host.len) + name->port;
}

int th_tls_sessions_init(struct th_tls_sessions *sessions)
{
    if (pthread_mutex_init(&sessions->lock, NULL) != 0)
        return TH_E_NOMEM;
    th_random_bytes(&sessions->hash_key, sizeof(sessions->hash_key));
    th_hash_table_init(&sessions->table);
    th_list_init(&sessions->used);
    return 0;
}

static void remove_oldest(struct item *item)
{
    SSL_SESSION_free(item->sessions[0]);
    item->n--;
    for (unsigned i = 0; i < item->n; i++) {
        item->sessions[i] = item->sessions[i + 1];
        item->verified[i] = item->verified[i + 1];
    }
}

static void remove_newest(struct item *item)
{
    SSL_SESSION_free(item->sessions[--item->n]);
}

static bool is_fresh(const struct th_tls_verified *verified, const struct th_tls_time *now)
{
    return now->now_ms < verified->at_ms + FRESH_MS && now->now_s < verified->end_s;
}

static void forget(struct th_tls_sessions *sessions, struct item *item)
{
    th_hash_table_remove(&sessions->table, &item->node);
    th_list_remove(&item->link);
    while (item->n > 0)
        remove_oldest(item);
    th_free(item);
}

void th_tls_sessions_fini(struct th_tls_sessions *sessions)
{
    TH_LIST_EACH(link, &sessions->used) {
        forget(sessions, TH_LIST_ENTRY(link, struct item, link));
    }
    th_hash_table_fini(&sessions->table);
    pthread_mutex_destroy(&sessions->lock);
}

static struct item *find(struct th_tls_sessions *sessions, const struct name *name, bool make)
{
    uint64_t hash = hash_name(sessions, name);
    struct th_hash_node *node = th_hash_table_find(&sessions->table, hash, match, name);
    struct item *item;

    if (node != NULL || !make)
        return node != NULL ? TH_CONTAINER_OF(node, struct item, node) : NULL;
    if (sessions->table.n_items >= HOSTS_MAX)
        forget(sessions, TH_LIST_ENTRY(sessions->used.next, struct item, link));
    item = th_calloc(1, sizeof(*item) + name->host.len);
    if (item == NULL)
        return NULL;
    item->port = name->port;
    item->host_len = name->host.len;
    memcpy(item->host, name->host.ptr, name->host.len);
    if (th_hash_table_insert(&sessions->table, &item->node, hash) < 0) {
        th_free(item);
        return NULL;
    }
    return item;
}

void th_tls_sessions_put(struct th_tls_sessions *sessions, struct th_str host, uint16_t port,
                         const SSL_SESSION *session, const struct th_tls_verified *verified)
{
    struct name name = {host, port};
    SSL_SESSION *copy = SSL_SESSION_dup(session);

    if (copy == NULL)
        return;
    pthread_mutex_lock(&sessions->lock);
    struct item *item = find(sessions, &name, true);
    if (item != NULL) {
        if (item->n == SESSIONS_MAX)
            remove_oldest(item);
        item->sessions[item->n] = th_take(&copy);
        item->verified[item->n++] = *verified;
        th_list_remove(&item->link);
        th_list_push_back(&sessions->used, &item->link);
    }
    pthread_mutex_unlock(&sessions->lock);
    SSL_SESSION_free(copy);
}

SSL_SESSION *th_tls_sessions_take(struct th_tls_sessions *sessions, struct th_str host,
                                  uint16_t port, const struct th_tls_time *now,
                                  struct th_tls_verified *ret_verified)
{
    struct name name = {host, port};
    SSL_SESSION *session = NULL;

    pthread_mutex_lock(&sessions->lock);
    struct item *item = find(sessions, &name, false);
    while (item != NULL && item->n > 0 && !is_fresh(&item->verified[item->n - 1], now))
        remove_newest(item);
    if (item != NULL && item->n > 0) {
        *ret_verified = item->verified[item->n - 1];
        session = item->sessions[item->n - 1];
        /* In TLS 1.2 a server gives a new one seldom: this one serves again. */
        if (SSL_SESSION_get_protocol_version(session) < TLS1_3_VERSION)
            session = SSL_SESSION_dup(session);
        else
            item->n--;
    }
    if (item != NULL && item->n == 0)
        forget(sessions, item);
    pthread_mutex_unlock(&sessions->lock);
    return session;
}
