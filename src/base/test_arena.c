#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokenhop/base/arena.h"

#include <string.h>

#include "tokenhop/base/mem.h"

static void pieces_are_aligned_and_apart(void **state)
{
    (void)state;
    struct th_arena arena;
    th_arena_init(&arena, 512, 1 << 20);
    char *pieces[200];
    size_t lens[200];
    for (size_t i = 0; i < 200; i++) {
        lens[i] = i * 7 % 300; /* some fill a block, some are 0 */
        pieces[i] = th_arena_alloc(&arena, lens[i]);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % 16, 0);
        memset(pieces[i], (int)i, lens[i]);
    }
    for (size_t i = 0; i < 200; i++) {
        for (size_t j = 0; j < lens[i]; j++)
            assert_int_equal((unsigned char)pieces[i][j], i);
        assert_true(i == 0 || pieces[i] != pieces[i - 1]);
    }
    th_arena_fini(&arena);
    th_arena_fini(&arena); /* twice is fine */
}

static void holds_its_maximum(void **state)
{
    (void)state;
    struct th_arena arena;
    th_arena_init(&arena, 256, 1000);
    assert_null(th_arena_alloc(&arena, 1001));
    assert_null(th_arena_alloc(&arena, SIZE_MAX));
    assert_non_null(th_arena_alloc(&arena, 600));
    assert_null(th_arena_alloc(&arena, 401));
    assert_non_null(th_arena_alloc(&arena, 400));
    assert_null(th_arena_alloc(&arena, 1));
    assert_null(th_arena_calloc(&arena, SIZE_MAX / 2, 4));
    assert_null(th_arena_strdup(&arena, TH_STR("x")));
    assert_null(th_arena_printf(&arena, "%d", 7));
    th_arena_reset(&arena);
    assert_non_null(th_arena_alloc(&arena, 1000));
    th_arena_fini(&arena);
}

static void an_outsized_piece_leaves_the_room_of_the_block(void **state)
{
    (void)state;
    struct th_arena arena;
    th_arena_init(&arena, 1024, 1 << 20);
    char *first = th_arena_alloc(&arena, 16);
    char *large = th_arena_alloc(&arena, 5000);
    char *second = th_arena_alloc(&arena, 16);
    assert_non_null(first);
    assert_non_null(large);
    assert_non_null(second);
    memset(large, 'x', 5000);
#ifndef TH_ARENA_MALLOC
    assert_ptr_equal(second, first + 16);
#endif
    th_arena_reset(&arena);
    assert_int_equal(arena.used, 0);
    th_arena_fini(&arena);
}

static void reset_reuses_one_block(void **state)
{
    (void)state;
    struct th_arena arena;
    th_arena_init(&arena, 1024, 1 << 20);
    for (int i = 0; i < 100; i++)
        assert_non_null(th_arena_alloc(&arena, 100));
    th_arena_reset(&arena);
    th_mem_fail_after(1, 1);
    void *piece = th_arena_alloc(&arena, 100);
    th_mem_fail_after(0, 0);
#if defined TH_ARENA_MALLOC && defined TH_FAIL_ALLOC
    assert_null(piece);
#else
    assert_non_null(piece); /* from the block that was kept */
#endif
    th_arena_fini(&arena);
}

static void texts(void **state)
{
    (void)state;
    struct th_arena arena;
    th_arena_init(&arena, 64, 4096);
    assert_string_equal(th_arena_strdup(&arena, TH_STR("agent1")), "agent1");
    assert_string_equal(th_arena_strdup(&arena, TH_STR_NONE), "");
    assert_string_equal(th_arena_printf(&arena, "%s:%d", "host", 443), "host:443");
    char *long_one = th_arena_printf(&arena, "%0200d", 7);
    assert_int_equal(strlen(long_one), 200);
    int *numbers = th_arena_calloc(&arena, 10, sizeof *numbers);
    for (int i = 0; i < 10; i++)
        assert_int_equal(numbers[i], 0);
    th_arena_fini(&arena);
}

/* Every allocation fails once: NULL comes back, what was there before stays. */
static void memory_is_short(void **state)
{
    (void)state;
#ifdef TH_FAIL_ALLOC
    for (unsigned long nth = 1; nth <= 5; nth++) {
        struct th_arena arena;
        th_arena_init(&arena, 256, 1 << 20);
        unsigned n_failed = 0;
        th_mem_fail_after(nth, 1);
        for (int i = 0; i < 20; i++) {
            char *piece = th_arena_alloc(&arena, 100);
            if (piece != NULL)
                memset(piece, 'x', 100);
            else
                n_failed++;
        }
        th_mem_fail_after(0, 0);
        assert_int_equal(n_failed, 1);
        assert_int_equal(arena.used, 1900);
        th_arena_fini(&arena);
    }
#else
    skip();
#endif
}

static void a_zeroed_one_ends(void **state)
{
    (void)state;
    struct th_arena arena = {0};
    assert_null(th_arena_alloc(&arena, 1));
    th_arena_reset(&arena);
    th_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_aligned_and_apart),
        cmocka_unit_test(holds_its_maximum),
        cmocka_unit_test(an_outsized_piece_leaves_the_room_of_the_block),
        cmocka_unit_test(reset_reuses_one_block),
        cmocka_unit_test(texts),
        cmocka_unit_test(memory_is_short),
        cmocka_unit_test(a_zeroed_one_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
