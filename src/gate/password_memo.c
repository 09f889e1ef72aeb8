#include "password_memo.h"

#include <openssl/crypto.h>
#include <stdlib.h>

#include "tokenhop/base/mem.h"

struct entry {
    struct th_hash_node node;
    struct th_list link;
    uint8_t key[32];
    uint8_t digest[32];
};

void th_password_memo_init(struct th_password_memo *memo, size_t max)
{
    th_hash_table_init(&memo->table);
    th_list_init(&memo->order);
    memo->n = 0;
    memo->max = max;
}

void th_password_memo_fini(struct th_password_memo *memo)
{
    th_password_memo_clear(memo);
    th_hash_table_fini(&memo->table);
}

static void drop(struct th_password_memo *memo, struct entry *entry)
{
    th_hash_table_remove(&memo->table, &entry->node);
    th_list_remove(&entry->link);
    memo->n--;
    th_wipe(entry, sizeof *entry);
    th_free(entry);
}

/* The key is a keyed digest: any part of it is as good as a hash. */
static uint64_t hash_of(const uint8_t key[32])
{
    uint64_t hash;

    memcpy(&hash, key, sizeof hash);
    return hash;
}

static bool is_it(const struct th_hash_node *node, const void *key)
{
    const struct entry *entry = TH_CONTAINER_OF(node, struct entry, node);

    return CRYPTO_memcmp(entry->key, key, sizeof entry->key) == 0;
}

static struct entry *find(struct th_password_memo *memo, const uint8_t key[32])
{
    struct th_hash_node *node = th_hash_table_find(&memo->table, hash_of(key), is_it, key);

    return node != NULL ? TH_CONTAINER_OF(node, struct entry, node) : NULL;
}

bool th_password_memo_find(struct th_password_memo *memo, const uint8_t key[32],
                           uint8_t ret_digest[32])
{
    struct entry *entry = find(memo, key);

    if (entry == NULL)
        return false;
    th_list_remove(&entry->link);
    th_list_push_back(&memo->order, &entry->link);
    memcpy(ret_digest, entry->digest, sizeof entry->digest);
    return true;
}

void th_password_memo_add(struct th_password_memo *memo, const uint8_t key[32],
                          const uint8_t digest[32])
{
    struct entry *entry = find(memo, key);

    if (entry == NULL) {
        if (memo->n >= memo->max)
            drop(memo, TH_LIST_ENTRY(memo->order.next, struct entry, link));
        entry = th_calloc(1, sizeof *entry);
        if (entry == NULL)
            return;
        memcpy(entry->key, key, sizeof entry->key);
        if (th_hash_table_insert(&memo->table, &entry->node, hash_of(key)) < 0) {
            th_free(entry);
            return;
        }
        th_list_push_back(&memo->order, &entry->link);
        memo->n++;
    }
    memcpy(entry->digest, digest, sizeof entry->digest);
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, 32);
}

static uint8_t (*list_lines(const struct th_config_view *config, size_t *ret_n))[32]
{
    uint8_t(*lines)[32];
    size_t n = 0;

    for (size_t i = 0; i < config->n_callers; i++)
        n += config->callers[i].slow.n;
    lines = th_calloc(n + 1, sizeof *lines);
    *ret_n = n;
    n = 0;
    for (size_t i = 0; lines != NULL && i < config->n_callers; i++)
        for (size_t k = 0; k < config->callers[i].slow.n; k++)
            memcpy(lines[n++], config->callers[i].slow.items[k].digest, sizeof *lines);
    if (lines != NULL)
        qsort(lines, n, sizeof *lines, compare);
    return lines;
}

void th_password_memo_keep(struct th_password_memo *memo, const struct th_config_view *config)
{
    size_t n;
    uint8_t(*lines)[32] = list_lines(config, &n);

    TH_LIST_EACH(item, &memo->order) {
        struct entry *entry = TH_LIST_ENTRY(item, struct entry, link);
        if (lines == NULL || bsearch(entry->digest, lines, n, sizeof *lines, compare) == NULL)
            drop(memo, entry);
    }
    th_free(lines);
}

void th_password_memo_clear(struct th_password_memo *memo)
{
    TH_LIST_EACH(item, &memo->order)
        drop(memo, TH_LIST_ENTRY(item, struct entry, link));
}
