#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokenhop/base/chunk.h"

#include <string.h>

#include "tokenhop/base/mem.h"

static void bytes_go_in_and_out(void **state)
{
    (void)state;
    struct th_chunk_pool pool;
    th_chunk_pool_init(&pool, 4);
    struct th_chunk *chunk = th_chunk_get(&pool);
    assert_non_null(chunk);
    assert_int_equal(th_chunk_len(chunk), 0);
    assert_int_equal(th_chunk_room(chunk), TH_CHUNK_SIZE);
    memcpy(th_chunk_tail(chunk), "GET / HTTP/1.1", 14);
    chunk->end += 14;
    chunk->start += 4;
    th_chunk_compact(chunk);
    assert_int_equal(th_chunk_len(chunk), 10);
    assert_int_equal(chunk->start, 0);
    assert_memory_equal(th_chunk_head(chunk), "/ HTTP/1.1", 10);
    chunk->start = chunk->end;
    th_chunk_compact(chunk);
    assert_int_equal(th_chunk_room(chunk), TH_CHUNK_SIZE);
    assert_null(th_chunk_put(&pool, chunk));
    th_chunk_pool_fini(&pool);
}

static void the_pool_keeps_some(void **state)
{
    (void)state;
    struct th_chunk_pool pool;
    th_chunk_pool_init(&pool, 2);
    struct th_chunk *chunks[4];
    for (int i = 0; i < 4; i++) {
        chunks[i] = th_chunk_get(&pool);
        assert_non_null(chunks[i]);
    }
    assert_int_equal(pool.n_used, 4);
    for (int i = 0; i < 4; i++)
        th_chunk_put(&pool, chunks[i]);
    assert_int_equal(pool.n_used, 0);
#ifndef TH_ARENA_MALLOC
    assert_int_equal(pool.n_free, 2);
    struct th_chunk *again = th_chunk_get(&pool);
    assert_ptr_equal(again, chunks[1]);
    assert_int_equal(pool.n_free, 1);
    th_chunk_put(&pool, again);
#else
    assert_int_equal(pool.n_free, 0);
#endif
    th_chunk_pool_fini(&pool);
    assert_int_equal(pool.n_free, 0);
}

static void large_ones_are_not_kept(void **state)
{
    (void)state;
    struct th_chunk_pool pool;
    th_chunk_pool_init(&pool, 2);
    struct th_chunk *chunk = th_chunk_get_large(&pool, 65536);
    assert_non_null(chunk);
    assert_int_equal(th_chunk_room(chunk), 65536);
    memset(th_chunk_tail(chunk), 'x', 65536);
    chunk->end = 65536;
    th_chunk_put(&pool, chunk);
    assert_int_equal(pool.n_free, 0);
    assert_int_equal(pool.n_used, 0);
    assert_null(th_chunk_get_large(&pool, (size_t)UINT32_MAX + 1));
    assert_null(th_chunk_put(&pool, NULL));
    th_chunk_pool_fini(&pool);
}

/* However the bytes were moved or forgotten, none is left in a chunk that was given back. */
static void no_token_stays(void **state)
{
    (void)state;
#ifndef TH_ARENA_MALLOC
    static const struct {
        const char *name;
        bool clears, compacts;
    } rows[] = {{"as it is", false, false},
                {"forgotten", true, false},
                {"moved to the front", false, true},
                {"moved, then forgotten", true, true}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("  %s\n", rows[i].name);
        struct th_chunk_pool pool;
        th_chunk_pool_init(&pool, 2);
        struct th_chunk *chunk = th_chunk_get(&pool);
        assert_non_null(chunk);
        memset(th_chunk_tail(chunk), 't', 5000);
        chunk->end = 5000;
        chunk->start = 4000;
        if (rows[i].compacts)
            th_chunk_compact(chunk);
        if (rows[i].clears)
            th_chunk_clear(chunk);
        th_chunk_put(&pool, chunk);
        struct th_chunk *again = th_chunk_get(&pool);
        assert_ptr_equal(again, chunk);
        for (size_t j = 0; j < 5000; j++)
            assert_int_equal(again->data[j], 0);
        th_chunk_put(&pool, again);
        th_chunk_pool_fini(&pool);
    }
#else
    skip(); /* it is not ours to look at any more */
#endif
}

static void leaves_its_owners_list(void **state)
{
    (void)state;
    struct th_chunk_pool pool;
    struct th_list owned;
    th_chunk_pool_init(&pool, 2);
    th_list_init(&owned);
    struct th_chunk *chunk = th_chunk_get(&pool);
    assert_non_null(chunk);
    th_list_push_back(&owned, &chunk->link);
    th_chunk_put(&pool, chunk);
    assert_true(th_list_is_empty(&owned));
    th_chunk_pool_fini(&pool);
}

static void memory_is_short(void **state)
{
    (void)state;
#ifdef TH_FAIL_ALLOC
    struct th_chunk_pool pool;
    th_chunk_pool_init(&pool, 2);
    th_mem_fail_after(1, 2);
    assert_null(th_chunk_get(&pool));
    assert_null(th_chunk_get_large(&pool, 40000));
    assert_int_equal(pool.n_used, 0);
    th_mem_fail_after(0, 0);
    th_chunk_pool_fini(&pool);
#else
    skip();
#endif
}

static void what_is_not_needed_is_freed(void **state)
{
    (void)state;
    struct th_chunk_pool pool;
    struct th_chunk *chunks[8];
    th_chunk_pool_init(&pool, 8);
    for (int i = 0; i < 8; i++) {
        chunks[i] = th_chunk_get(&pool);
        assert_non_null(chunks[i]);
    }
    for (int i = 0; i < 8; i++)
        th_chunk_put(&pool, chunks[i]);
#ifndef TH_ARENA_MALLOC
    /* all were needed a moment ago */
    assert_int_equal(th_chunk_pool_trim(&pool, 2), 0);
    assert_int_equal(pool.n_free, 8);
    /* three at once since */
    for (int i = 0; i < 3; i++)
        chunks[i] = th_chunk_get(&pool);
    for (int i = 0; i < 3; i++)
        th_chunk_put(&pool, chunks[i]);
    assert_int_equal(th_chunk_pool_trim(&pool, 2), 5);
    assert_int_equal(pool.n_free, 3);
    assert_ptr_equal(th_chunk_get(&pool), chunks[2]); /* the one used last stays */
    th_chunk_put(&pool, chunks[2]);
    assert_int_equal(th_chunk_pool_trim(&pool, 2), 1);
    assert_int_equal(pool.n_free, 2);
    assert_int_equal(th_chunk_pool_trim(&pool, 2), 0);
    assert_int_equal(th_chunk_pool_trim(&pool, 0), 2);
    assert_int_equal(th_chunk_pool_trim(&pool, 0), 0);
#else
    assert_int_equal(th_chunk_pool_trim(&pool, 0), 0);
#endif
    th_chunk_pool_fini(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_go_in_and_out),
        cmocka_unit_test(the_pool_keeps_some),
        cmocka_unit_test(what_is_not_needed_is_freed),
        cmocka_unit_test(large_ones_are_not_kept),
        cmocka_unit_test(no_token_stays),
        cmocka_unit_test(leaves_its_owners_list),
        cmocka_unit_test(memory_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
