/* Keyed hashing (SipHash-2-4, so that peers cannot choose collisions) and a hash table with
 * intrusive links. The table grows by doubling and never shrinks; it owns its buckets, not its
 * elements. One thread at a time, or under the owner's lock. */
#ifndef TOKENHOP_BASE_HASH_H
#define TOKENHOP_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "tokenhop/base/error.h"

struct th_hash_key {
    uint64_t k0, k1;
};

uint64_t th_hash_bytes(const struct th_hash_key *key, const void *bytes, size_t len);

struct th_hash_node {
    struct th_hash_node *next;
    uint64_t hash;
};

/* Whether the element of `node` is the one that `key` asks for. */
typedef bool th_hash_match_fn(const struct th_hash_node *node, const void *key);

struct th_hash_table {
    struct th_hash_node **buckets;
    size_t n_buckets; /* power of two, or 0 before the first insertion */
    size_t n_items;
};

void th_hash_table_init(struct th_hash_table *table);
void th_hash_table_fini(struct th_hash_table *table);
struct th_hash_node *th_hash_table_find(const struct th_hash_table *table, uint64_t hash,
                                        th_hash_match_fn *match, const void *key);
int th_hash_table_insert(struct th_hash_table *table, struct th_hash_node *node,
                         uint64_t hash) TH_MUST;
void th_hash_table_remove(struct th_hash_table *table, struct th_hash_node *node);

/* A walk over the table in steps, between which it may change: a cursor, from 0 until it is 0 again. Every
 * item that is there all the time is met exactly once, also when the table grows, as buckets are taken in
 * the order of their reversed bits: those that one bucket is split into follow each other. */
struct th_hash_node *th_hash_table_chain(const struct th_hash_table *table,
                                         uint64_t cursor); /* the first; NULL: none there */
uint64_t th_hash_table_after(const struct th_hash_table *table, uint64_t cursor);

#endif
