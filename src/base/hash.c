#include "tokenhop/base/hash.h"

#include <endian.h>
#include <string.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"

#define FIRST_BUCKETS 16

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotl(uint64_t x, int by)
{
    return (x << by) | (x >> (64 - by));
}

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v1 = rotl(s->v1, 13) ^ s->v0;
    s->v0 = rotl(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotl(s->v1, 17) ^ s->v2;
    s->v2 = rotl(s->v2, 32);
}

static inline void sip_word(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    sip_round(s);
    s->v0 ^= word;
}

/* SipHash-2-4 (Aumasson and Bernstein, 2012). */
uint64_t th_hash_bytes(const struct th_hash_key *key, const void *bytes, size_t len)
{
    struct sip s = {
        .v0 = key->k0 ^ 0x736f6d6570736575,
        .v1 = key->k1 ^ 0x646f72616e646f6d,
        .v2 = key->k0 ^ 0x6c7967656e657261,
        .v3 = key->k1 ^ 0x7465646279746573,
    };
    const unsigned char *at = bytes;
    uint64_t word;
    for (size_t left = len; left >= 8; left -= 8, at += 8) {
        memcpy(&word, at, 8);
        sip_word(&s, le64toh(word));
    }
    word = (uint64_t)len << 56;
    for (size_t i = 0; i < (len & 7); i++)
        word |= (uint64_t)at[i] << (8 * i);
    sip_word(&s, word);
    s.v2 ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

void th_hash_table_init(struct th_hash_table *table)
{
    *table = (struct th_hash_table){0};
}

void th_hash_table_fini(struct th_hash_table *table)
{
    th_free(table->buckets);
    *table = (struct th_hash_table){0};
}

static struct th_hash_node **bucket_of(const struct th_hash_table *table, uint64_t hash)
{
    return &table->buckets[hash & (table->n_buckets - 1)];
}

struct th_hash_node *th_hash_table_find(const struct th_hash_table *table, uint64_t hash,
                                        th_hash_match_fn *match, const void *key)
{
    if (table->n_buckets == 0)
        return NULL;
    for (struct th_hash_node *node = *bucket_of(table, hash); node != NULL; node = node->next) {
        if (node->hash == hash && match(node, key))
            return node;
    }
    return NULL;
}

static bool table_grow(struct th_hash_table *table)
{
    struct th_hash_table larger = {
        .n_buckets = table->n_buckets != 0 ? table->n_buckets * 2 : FIRST_BUCKETS,
        .n_items = table->n_items,
    };
    if (larger.n_buckets == 0)
        return false;
    larger.buckets = th_calloc(larger.n_buckets, sizeof(struct th_hash_node *));
    if (larger.buckets == NULL)
        return false;
    for (size_t i = 0; i < table->n_buckets; i++) {
        for (struct th_hash_node *node = table->buckets[i], *next; node != NULL; node = next) {
            next = node->next;
            struct th_hash_node **bucket = bucket_of(&larger, node->hash);
            node->next = *bucket;
            *bucket = node;
        }
    }
    th_free(table->buckets);
    *table = larger;
    return true;
}

int th_hash_table_insert(struct th_hash_table *table, struct th_hash_node *node, uint64_t hash)
{
    /* Without memory to grow, longer chains do: only an empty table cannot go on. */
    if (table->n_items >= table->n_buckets && !table_grow(table) && table->n_buckets == 0)
        return TH_E_NOMEM;
    struct th_hash_node **bucket = bucket_of(table, hash);
    node->hash = hash;
    node->next = *bucket;
    *bucket = node;
    table->n_items++;
    return 0;
}

void th_hash_table_remove(struct th_hash_table *table, struct th_hash_node *node)
{
    TH_REQUIRE(table->n_buckets != 0);
    struct th_hash_node **place = bucket_of(table, node->hash);
    while (*place != NULL && *place != node)
        place = &(*place)->next;
    TH_REQUIRE(*place == node);
    *place = node->next;
    node->next = NULL;
    table->n_items--;
}

struct th_hash_node *th_hash_table_chain(const struct th_hash_table *table, uint64_t cursor)
{
    return table->n_buckets != 0 ? *bucket_of(table, cursor) : NULL;
}

uint64_t th_hash_table_after(const struct th_hash_table *table, uint64_t cursor)
{
    uint64_t bit = table->n_buckets / 2;
    for (; (cursor & bit) != 0; bit /= 2)
        cursor ^= bit;
    return cursor | bit;
}
