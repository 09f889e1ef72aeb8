#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokenhop/base/hash.h"

#include <endian.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <string.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"

/* From the paper of SipHash, appendix A. */
static void the_papers_vector(void **state)
{
    (void)state;
    const struct th_hash_key key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    const unsigned char message[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
    assert_true(th_hash_bytes(&key, message, sizeof message) == 0xa129ca6149be45e5);
}

/* Another implementation, for all lengths of the last word and some words before it. */
static void as_openssl_has_it(void **state)
{
    (void)state;
    unsigned char key_bytes[16], message[70];
    for (size_t i = 0; i < sizeof message; i++)
        message[i] = (unsigned char)(i * 37 + 11);
    memcpy(key_bytes, message, 16);
    uint64_t words[2];
    memcpy(words, key_bytes, 16);
    const struct th_hash_key key = {le64toh(words[0]), le64toh(words[1])};
    EVP_MAC *siphash = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
    assert_non_null(siphash);
    unsigned size = 8;
    for (size_t len = 0; len <= sizeof message; len++) {
        EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(siphash);
        OSSL_PARAM params[] = {OSSL_PARAM_construct_uint(OSSL_MAC_PARAM_SIZE, &size),
                               OSSL_PARAM_construct_end()};
        uint64_t expected;
        size_t expected_len;
        assert_int_equal(EVP_MAC_init(ctx, key_bytes, 16, params), 1);
        assert_int_equal(EVP_MAC_update(ctx, message, len), 1);
        assert_int_equal(EVP_MAC_final(ctx, (void *)&expected, &expected_len, 8), 1);
        assert_true(th_hash_bytes(&key, message, len) == le64toh(expected));
        EVP_MAC_CTX_free(ctx);
    }
    EVP_MAC_free(siphash);
}

struct item {
    struct th_hash_node node;
    unsigned value;
};

static bool item_has(const struct th_hash_node *node, const void *key)
{
    const struct item *item = TH_CONTAINER_OF(node, const struct item, node);
    return item->value == *(const unsigned *)key;
}

enum { N_ITEMS = 5000 };

/* `collisions`: how many items share a hash. */
static void fill_and_empty(unsigned collisions)
{
    static struct item items[N_ITEMS];
    const struct th_hash_key key = {1, 2};
    struct th_hash_table table;
    th_hash_table_init(&table);
    unsigned absent = N_ITEMS;
    assert_null(th_hash_table_find(&table, 7, item_has, &absent));
    for (unsigned i = 0; i < N_ITEMS; i++) {
        unsigned group = i / collisions;
        items[i].value = i;
        assert_int_equal(
            th_hash_table_insert(&table, &items[i].node, th_hash_bytes(&key, &group, sizeof group)),
            0);
    }
    assert_int_equal(table.n_items, N_ITEMS);
    assert_true(table.n_buckets >= N_ITEMS);
    for (unsigned i = 0; i < N_ITEMS; i += 2)
        th_hash_table_remove(&table, &items[i].node);
    assert_int_equal(table.n_items, N_ITEMS / 2);
    for (unsigned i = 0; i < N_ITEMS; i++) {
        struct th_hash_node *found = th_hash_table_find(&table, items[i].node.hash, item_has, &i);
        assert_ptr_equal(found, i % 2 == 0 ? NULL : &items[i].node);
    }
    th_hash_table_fini(&table);
    assert_null(th_hash_table_find(&table, 7, item_has, &absent));
}

static void finds_what_is_in(void **state)
{
    (void)state;
    fill_and_empty(1);
    fill_and_empty(10);
}

static void memory_is_short(void **state)
{
    (void)state;
#ifdef TH_FAIL_ALLOC
    static struct item items[100];
    struct th_hash_table table;
    th_hash_table_init(&table);
    th_mem_fail_after(1, 1);
    assert_int_equal(th_hash_table_insert(&table, &items[0].node, 0), TH_E_NOMEM);
    assert_int_equal(table.n_items, 0);
    th_mem_fail_after(2, 1000); /* the first buckets are had, no more */
    for (unsigned i = 0; i < 100; i++) {
        items[i].value = i;
        assert_int_equal(th_hash_table_insert(&table, &items[i].node, i), 0);
    }
    th_mem_fail_after(0, 0);
    for (unsigned i = 0; i < 100; i++)
        assert_ptr_equal(th_hash_table_find(&table, i, item_has, &i), &items[i].node);
    th_hash_table_fini(&table);
#else
    skip();
#endif
}

static uint64_t walk_on(const struct th_hash_table *table, uint64_t cursor, unsigned *met)
{
    for (struct th_hash_node *node = th_hash_table_chain(table, cursor); node != NULL;
         node = node->next)
        met[TH_CONTAINER_OF(node, struct item, node)->value]++;
    return th_hash_table_after(table, cursor);
}

/* While it grows from a few buckets to many, at every moment of the walk. */
static void a_walk_meets_each_once(void **state)
{
    (void)state;
    enum { FIRST = 40, ALL = 3000 };
    static struct item items[ALL];
    struct th_hash_key key = {1, 2};
    for (unsigned grows_at = 0; grows_at < 70; grows_at++) {
        struct th_hash_table table;
        unsigned met[ALL] = {0}, n = 0, steps = 0;
        th_hash_table_init(&table);
        assert_null(th_hash_table_chain(&table, 0));
        assert_int_equal(th_hash_table_after(&table, 0), 0);
        for (; n < FIRST; n++) {
            items[n].value = n;
            assert_int_equal(
                th_hash_table_insert(&table, &items[n].node, th_hash_bytes(&key, &n, sizeof n)), 0);
        }
        uint64_t cursor = 0;
        do {
            unsigned until = steps < grows_at ? FIRST : steps == grows_at ? 200 : ALL;
            for (; n < until; n++) {
                items[n].value = n;
                assert_int_equal(
                    th_hash_table_insert(&table, &items[n].node, th_hash_bytes(&key, &n, sizeof n)),
                    0);
            }
            cursor = walk_on(&table, cursor, met);
            steps++;
        } while (cursor != 0);
        for (unsigned i = 0; i < ALL; i++)
            assert_true(i < FIRST ? met[i] == 1 : met[i] <= 1);
        th_hash_table_fini(&table);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_papers_vector),      cmocka_unit_test(as_openssl_has_it),
        cmocka_unit_test(finds_what_is_in),       cmocka_unit_test(memory_is_short),
        cmocka_unit_test(a_walk_meets_each_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
