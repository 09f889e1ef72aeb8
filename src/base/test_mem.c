#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokenhop/base/mem.h"

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Calls that must give NULL for their size alone, without asking the system. */
static void sizes_that_overflow(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t count, size;
    } rows[] = {
        {"the product wraps to 0", SIZE_MAX / 2 + 1, 2},
        {"the product wraps to a little", SIZE_MAX / 16 + 2, 16},
        {"both are huge", SIZE_MAX, SIZE_MAX},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("  %s\n", rows[i].name);
        assert_null(th_calloc(rows[i].count, rows[i].size));
        assert_null(th_realloc_array(NULL, rows[i].count, rows[i].size));
        assert_null(th_calloc_aligned(64, rows[i].count, rows[i].size));
    }
    assert_null(th_strndup("x", SIZE_MAX));
}

static void nothing_is_something(void **state)
{
    (void)state;
    void *blocks[] = {th_malloc(0), th_calloc(0, 8), th_calloc(8, 0), th_realloc_array(NULL, 0, 8)};
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        assert_non_null(blocks[i]);
        th_free(blocks[i]);
    }
    th_free(NULL);
}

static void zeroed_and_aligned(void **state)
{
    (void)state;
    for (size_t alignment = 16; alignment <= 4096; alignment *= 2) {
        unsigned char *block = th_calloc_aligned(alignment, 3, 100);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % alignment, 0);
        for (size_t i = 0; i < 300; i++)
            assert_int_equal(block[i], 0);
        th_free(block);
    }
}

static void copies_of_text(void **state)
{
    (void)state;
    TH_CLEANUP(th_freep) char *whole = th_strdup("token");
    TH_CLEANUP(th_freep) char *part = th_strndup("token", 3);
    TH_CLEANUP(th_freep) char *none = th_strndup(NULL, 0);
    assert_string_equal(whole, "token");
    assert_string_equal(part, "tok");
    assert_string_equal(none, "");
    char *taken = th_take(&whole);
    assert_null(whole);
    assert_string_equal(taken, "token");
    th_free(taken);
}

static void wipes(void **state)
{
    (void)state;
    char secret[64];
    memset(secret, 'x', sizeof secret);
    th_wipe(secret + 1, sizeof secret - 2);
    assert_int_equal(secret[0], 'x');
    assert_int_equal(secret[63], 'x');
    for (size_t i = 1; i < 63; i++)
        assert_int_equal(secret[i], 0);
    th_wipe(NULL, 0);
}

static bool allocates(void)
{
    void *block = th_malloc(1);
    th_free(block);
    return block != NULL;
}

static void fails_when_told(void **state)
{
    (void)state;
    th_mem_fail_after(3, 2);
#ifdef TH_FAIL_ALLOC
    static const bool expected[] = {true, true, false, false, true, true};
#else
    static const bool expected[] = {true, true, true, true, true, true};
#endif
    for (size_t i = 0; i < sizeof expected; i++)
        assert_int_equal(allocates(), expected[i]);
#ifdef TH_FAIL_ALLOC
    assert_int_equal(th_mem_count(), 6);
    th_mem_fail_after(1, ULONG_MAX); /* each function is one that fails */
    assert_null(th_malloc(1));
    assert_null(th_calloc(1, 1));
    assert_null(th_calloc_aligned(16, 1, 1));
    assert_null(th_realloc_array(NULL, 1, 1));
    assert_null(th_strdup("x"));
    assert_null(th_strndup("x", 1));
    th_mem_fail_after(0, 0);
    assert_int_equal(th_mem_count(), 0);
#else
    assert_int_equal(th_mem_count(), 0);
#endif
    th_mem_fail_after(0, 0);
    assert_true(allocates());
}

static void a_failed_growth_keeps_the_old(void **state)
{
    (void)state;
    char *block = th_strdup("kept");
    assert_non_null(block);
    th_mem_fail_after(1, 1);
    char *grown = th_realloc_array(block, 1000, 1);
    th_mem_fail_after(0, 0);
#ifdef TH_FAIL_ALLOC
    assert_null(grown);
    assert_string_equal(block, "kept");
    th_free(block);
#else
    assert_string_equal(grown, "kept");
    th_free(grown);
#endif
}

#define RETURNERS 8

static void *return_at_once(void *barrier)
{
    (void)pthread_barrier_wait(barrier);
    th_mem_return();
    return NULL;
}

/* A process whose first look at glibc's heap is by several threads at once, as it is where another allocator
 * stands in its place: each of them ends. */
static void child(void)
{
    pthread_barrier_t barrier;
    pthread_t threads[RETURNERS];
    if (pthread_barrier_init(&barrier, NULL, RETURNERS) != 0)
        _exit(2);
    for (size_t i = 0; i < RETURNERS; i++) {
        if (pthread_create(&threads[i], NULL, return_at_once, &barrier) != 0)
            _exit(2);
    }
    for (size_t i = 0; i < RETURNERS; i++)
        (void)pthread_join(threads[i], NULL);
    _exit(0);
}

static void threads_return_memory_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        int status;
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            child();
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_that_overflow),  cmocka_unit_test(threads_return_memory_at_once),
        cmocka_unit_test(nothing_is_something), cmocka_unit_test(zeroed_and_aligned),
        cmocka_unit_test(copies_of_text),       cmocka_unit_test(wipes),
        cmocka_unit_test(fails_when_told),      cmocka_unit_test(a_failed_growth_keeps_the_old),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
