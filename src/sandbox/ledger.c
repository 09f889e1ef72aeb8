#include "ledger.h"

#include <openssl/evp.h>
#include <stdio.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/random.h"

static bool digest_pieces(const struct th_str *pieces, size_t count, uint8_t ret[32])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool fine = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;
    for (size_t i = 0; fine && i < count; i++) {
        uint64_t len = pieces[i].len;
        fine = EVP_DigestUpdate(context, &len, sizeof len) == 1 &&
               EVP_DigestUpdate(context, pieces[i].ptr, pieces[i].len) == 1;
    }
    fine = fine && EVP_DigestFinal_ex(context, ret, NULL) == 1;
    EVP_MD_CTX_free(context);
    return fine;
}

static bool match_digest(const struct th_hash_node *node, const void *key)
{
    const struct th_ledger_entry *entry = TH_CONTAINER_OF(node, struct th_ledger_entry, node);
    return memcmp(entry->digest, key, TH_LEDGER_DIGEST_LEN) == 0;
}

static uint64_t hash_digest(const struct th_ledger *ledger, const uint8_t *digest)
{
    return th_hash_bytes(&ledger->key, digest, TH_LEDGER_DIGEST_LEN);
}

void th_ledger_init(struct th_ledger *ledger, size_t max)
{
    memset(ledger, 0, sizeof *ledger);
    th_hash_table_init(&ledger->table);
    th_list_init(&ledger->entries);
    th_random_bytes(&ledger->key, sizeof ledger->key);
    ledger->max = max;
}

static void drop(struct th_ledger *ledger, struct th_ledger_entry *entry)
{
    th_hash_table_remove(&ledger->table, &entry->node);
    th_list_remove(&entry->link);
    th_free(entry);
}

void th_ledger_clear(struct th_ledger *ledger)
{
    TH_LIST_EACH(it, &ledger->entries)
        drop(ledger, TH_LIST_ENTRY(it, struct th_ledger_entry, link));
}

void th_ledger_fini(struct th_ledger *ledger)
{
    if (ledger->max == 0)
        return;
    th_ledger_clear(ledger);
    th_hash_table_fini(&ledger->table);
    ledger->max = 0;
}

size_t th_ledger_count(const struct th_ledger *ledger)
{
    return ledger->table.n_items;
}

/* The oldest go when they have expired; what lives longer than its successors waits for the sweep,
 * which runs at most once a second and only when the ledger is full. */
static void forget_expired(struct th_ledger *ledger, int64_t now_ms)
{
    bool full = ledger->table.n_items >= ledger->max;
    bool sweep = full && now_ms >= ledger->next_sweep_ms;
    if (sweep)
        ledger->next_sweep_ms = now_ms + 1000;
    TH_LIST_EACH(it, &ledger->entries) {
        struct th_ledger_entry *entry = TH_LIST_ENTRY(it, struct th_ledger_entry, link);
        if (entry->expires_ms <= now_ms)
            drop(ledger, entry);
        else if (!sweep)
            break;
    }
}

struct th_ledger_entry *th_ledger_find(struct th_ledger *ledger, const struct th_str *pieces,
                                       size_t count)
{
    uint8_t digest[32];
    if (!digest_pieces(pieces, count, digest))
        return NULL;
    struct th_hash_node *node =
        th_hash_table_find(&ledger->table, hash_digest(ledger, digest), match_digest, digest);
    return node != NULL ? TH_CONTAINER_OF(node, struct th_ledger_entry, node) : NULL;
}

int th_ledger_add(struct th_ledger *ledger, const struct th_str *pieces, size_t count,
                  int64_t expires_ms, int64_t now_ms, struct th_ledger_entry **ret_entry)
{
    uint8_t digest[32];
    forget_expired(ledger, now_ms);
    if (ledger->table.n_items >= ledger->max)
        return TH_E_OVERLOADED;
    struct th_ledger_entry *entry = th_calloc(1, sizeof *entry);
    if (entry == NULL || !digest_pieces(pieces, count, digest)) {
        th_free(entry);
        return TH_E_NOMEM;
    }
    memcpy(entry->digest, digest, TH_LEDGER_DIGEST_LEN);
    entry->expires_ms = expires_ms;
    int e = th_hash_table_insert(&ledger->table, &entry->node, hash_digest(ledger, digest));
    if (e != 0) {
        th_free(entry);
        return e;
    }
    th_list_push_back(&ledger->entries, &entry->link);
    if (ret_entry != NULL)
        *ret_entry = entry;
    return 0;
}

void th_ledger_name(struct th_str token, char ret_name[TH_LEDGER_NAME_LEN + 1])
{
    uint8_t digest[32] = {0};
    if (EVP_Digest(token.ptr, token.len, digest, NULL, EVP_sha256(), NULL) != 1)
        memset(digest, 0, sizeof digest);
    for (size_t i = 0; i < TH_LEDGER_NAME_LEN / 2; i++)
        snprintf(ret_name + 2 * i, 3, "%02x", digest[i]);
}
