#include "tokenhop/token/quota.h"

#include <pthread.h>
#include <string.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/hash.h"
#include "tokenhop/base/list.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/random.h"

#define NAME_MAX 64
#define DAY_MS INT64_C(86400000)

struct user {
    struct th_hash_node node;
    struct th_list link; /* who was longest without an exchange at the front */
    uint64_t check;      /* a second hash of the same: 128 bits tell users apart */
    uint32_t count;
};

struct server {
    char name[NAME_MAX + 1];
    uint64_t limit, exchanges, most, warned;
};

struct th_quotas {
    pthread_mutex_t lock;
    const struct th_clock *clock;
    struct th_hash_key keys[2];
    size_t max_users;
    int64_t month; /* since 1970 */
    struct th_hash_table users;
    struct th_list by_use;
    struct server servers[TH_QUOTA_SERVERS];
    size_t n_servers;
};

int th_quotas_new(const struct th_clock *clock, size_t max_users, struct th_quotas **ret_quotas)
{
    struct th_quotas *quotas = th_calloc(1, sizeof *quotas);
    if (quotas == NULL)
        return TH_E_NOMEM;
    TH_REQUIRE(pthread_mutex_init(&quotas->lock, NULL) == 0);
    quotas->clock = clock;
    quotas->max_users = max_users != 0 ? max_users : TH_QUOTA_USERS;
    th_random_bytes(quotas->keys, sizeof quotas->keys);
    th_hash_table_init(&quotas->users);
    th_list_init(&quotas->by_use);
    *ret_quotas = quotas;
    return 0;
}

static void free_users(struct th_list *users)
{
    struct th_list *item;
    while ((item = th_list_pop_front(users)) != NULL)
        th_free(TH_LIST_ENTRY(item, struct user, link));
}

struct th_quotas *th_quotas_free(struct th_quotas *quotas)
{
    if (quotas == NULL)
        return NULL;
    free_users(&quotas->by_use);
    th_hash_table_fini(&quotas->users);
    pthread_mutex_destroy(&quotas->lock);
    th_free(quotas);
    return NULL;
}

/* -- the month ----------------------------------------------------------------------------------- */

/* Of the proleptic Gregorian calendar, in UTC (Howard Hinnant's days_from_civil, the other way round): years
 * that begin in March have their leap day at the end. */
static int64_t month_of(int64_t wall_ms)
{
    int64_t day = wall_ms / DAY_MS + 719468; /* since the 1st of March of the year 0 */
    int64_t era = day / 146097;
    int64_t day_of_era = day % 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    return (era * 400 + year_of_era) * 12 + month_from_march;
}

/* Under the lock. What is counted of another month ends; `ret_users`: to be freed afterwards. */
static void turn_month(struct th_quotas *quotas, struct th_list *ret_users)
{
    int64_t month = month_of(th_clock_wall_ms(quotas->clock));
    if (month == quotas->month)
        return;
    quotas->month = month;
    quotas->n_servers = 0;
    th_hash_table_fini(&quotas->users);
    th_list_splice_back(ret_users, &quotas->by_use);
}

/* -- counting ------------------------------------------------------------------------------------ */

static struct server *find_server(struct th_quotas *quotas, struct th_str name)
{
    for (size_t i = 0; i < quotas->n_servers; i++)
        if (th_str_equal(th_str_of(quotas->servers[i].name), name))
            return &quotas->servers[i];
    if (quotas->n_servers == TH_QUOTA_SERVERS || name.len > NAME_MAX)
        return NULL;
    struct server *server = &quotas->servers[quotas->n_servers++];
    *server = (struct server){.limit = 0};
    memcpy(server->name, name.ptr, name.len);
    return server;
}

/* The texts with their lengths between, so that no two users read the same. */
static bool write_user(struct th_str server, struct th_str issuer, struct th_str subject,
                       char *text, size_t size, size_t *ret_len)
{
    const struct th_str parts[] = {server, issuer, subject};
    size_t len = 0;
    for (size_t i = 0; i < TH_COUNT_OF(parts); i++) {
        if (parts[i].len > size - len || size - len - parts[i].len < sizeof parts[i].len)
            return false;
        memcpy(text + len, &parts[i].len, sizeof parts[i].len);
        len += sizeof parts[i].len;
        memcpy(text + len, parts[i].ptr, parts[i].len);
        len += parts[i].len;
    }
    *ret_len = len;
    return true;
}

static bool is_user(const struct th_hash_node *node, const void *check)
{
    return TH_CONTAINER_OF(node, struct user, node)->check == *(const uint64_t *)check;
}

/* Under the lock. Its place among those by use is the last. NULL: there is no memory for it. */
static struct user *find_user(struct th_quotas *quotas, uint64_t hash, uint64_t check,
                              struct user **spare, struct th_list *ret_forgotten)
{
    struct th_hash_node *node = th_hash_table_find(&quotas->users, hash, is_user, &check);
    if (node == NULL) {
        struct user *user = *spare;
        if (user == NULL || th_hash_table_insert(&quotas->users, &user->node, hash) != 0)
            return NULL;
        *spare = NULL;
        user->check = check;
        th_list_push_back(&quotas->by_use, &user->link);
        if (quotas->users.n_items > quotas->max_users) {
            struct user *oldest = TH_LIST_ENTRY(quotas->by_use.next, struct user, link);
            th_hash_table_remove(&quotas->users, &oldest->node);
            th_list_remove(&oldest->link);
            th_list_push_back(ret_forgotten, &oldest->link);
        }
        return user;
    }
    struct user *user = TH_CONTAINER_OF(node, struct user, node);
    th_list_remove(&user->link);
    th_list_push_back(&quotas->by_use, &user->link);
    return user;
}

static uint64_t count_user(struct server *server, const struct th_config_quota *quota,
                           struct user *user)
{
    if (user == NULL)
        return 0;
    user->count++;
    if (user->count > server->most)
        server->most = user->count;
    if (user->count != quota->warn_at)
        return 0;
    server->warned++;
    return user->count;
}

uint64_t th_quotas_count(struct th_quotas *quotas,
                         const struct th_config_authorization_server *config, struct th_str issuer,
                         struct th_str subject)
{
    char text[512];
    size_t len = 0;
    bool counts_user = config->quota.exchanges_per_user_month > 0 && subject.len > 0 &&
                       write_user(config->name, issuer, subject, text, sizeof text, &len);
    struct user *spare = counts_user ? th_calloc(1, sizeof *spare) : NULL;
    uint64_t hash = counts_user ? th_hash_bytes(&quotas->keys[0], text, len) : 0;
    uint64_t check = counts_user ? th_hash_bytes(&quotas->keys[1], text, len) : 0;
    struct th_list gone;
    uint64_t reached = 0;
    th_list_init(&gone);
    pthread_mutex_lock(&quotas->lock);
    turn_month(quotas, &gone);
    struct server *server = find_server(quotas, config->name);
    if (server != NULL) {
        server->exchanges++;
        server->limit = config->quota.exchanges_per_user_month;
        if (counts_user)
            reached =
                count_user(server, &config->quota, find_user(quotas, hash, check, &spare, &gone));
    }
    pthread_mutex_unlock(&quotas->lock);
    free_users(&gone);
    th_free(spare);
    return reached;
}

void th_quotas_show(struct th_quotas *quotas, th_quota_fn *fn, void *arg)
{
    struct th_list gone;
    th_list_init(&gone);
    for (size_t i = 0;; i++) {
        pthread_mutex_lock(&quotas->lock);
        turn_month(quotas, &gone);
        bool is_there = i < quotas->n_servers;
        struct server server = is_there ? quotas->servers[i] : (struct server){.limit = 0};
        pthread_mutex_unlock(&quotas->lock);
        if (!is_there)
            break;
        const struct th_quota_shown shown = {.server = th_str_of(server.name),
                                             .limit = server.limit,
                                             .exchanges = server.exchanges,
                                             .most = server.most,
                                             .warned = server.warned};
        fn(arg, &shown);
    }
    free_users(&gone);
}
