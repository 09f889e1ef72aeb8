#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokenhop/base/random.h"

#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Lengths on both sides of the limit between the pool and a system call of its own. */
static void fills_exactly(void **state)
{
    (void)state;
    static const size_t lens[] = {0, 1, 7, 16, 63, 64, 65, 255, 256, 257, 5000};
    static unsigned char bytes[5002];
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        unsigned n_different = 0;
        for (int round = 0; round < 8; round++) {
            memset(bytes, 0xA5, sizeof bytes);
            th_random_bytes(bytes + 1, lens[i]);
            assert_int_equal(bytes[0], 0xA5);
            assert_int_equal(bytes[lens[i] + 1], 0xA5);
            n_different += lens[i] > 0 && bytes[lens[i]] != 0xA5;
        }
        assert_true(lens[i] == 0 || n_different > 0);
    }
}

/* No value of 64 bits comes twice: not within a pool, not from one pool to the next. */
static void does_not_repeat(void **state)
{
    (void)state;
    static uint64_t values[2000];
    for (size_t i = 0; i < 2000; i++) {
        th_random_bytes(&values[i], sizeof values[i]);
        for (size_t j = 0; j < i; j++)
            assert_true(values[i] != values[j]);
    }
}

static void *draw(void *ret_value)
{
    th_random_bytes(ret_value, sizeof(uint64_t));
    return NULL;
}

static void threads_and_children_differ(void **state)
{
    (void)state;
    uint64_t mine, of_thread, of_child;
    pthread_t thread;
    int ends[2];
    th_random_bytes(&mine, sizeof mine); /* leaves a pool that is partly used */
    assert_int_equal(pthread_create(&thread, NULL, draw, &of_thread), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        th_random_bytes(&mine, sizeof mine);
        _exit(write(ends[1], &mine, sizeof mine) == sizeof mine ? 0 : 1);
    }
    int status;
    th_random_bytes(&mine, sizeof mine); /* what the child would get from a copied pool */
    assert_int_equal(read(ends[0], &of_child, sizeof of_child), sizeof of_child);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(mine != of_thread);
    assert_true(mine != of_child);
    close(ends[0]);
    close(ends[1]);
}

/* 6 sigma of each cell: a fair source fails once in a hundred million runs. */
static void below_is_even(void **state)
{
    (void)state;
    enum { BOUND = 7, N = 70000 };
    unsigned counts[BOUND] = {0};
    for (int i = 0; i < N; i++) {
        uint32_t value = th_random_below(BOUND);
        assert_true(value < BOUND);
        counts[value]++;
    }
    for (int i = 0; i < BOUND; i++)
        assert_in_range(counts[i], N / BOUND - 556, N / BOUND + 556);
    assert_int_equal(th_random_below(0), 0);
    assert_int_equal(th_random_below(1), 0);
    for (int i = 0; i < 100; i++)
        assert_true(th_random_below(0x80000001) <= 0x80000000);
}

static void repeats_when_seeded(void **state)
{
    (void)state;
#ifdef TH_CHECKS
    unsigned char first[100], second[100];
    th_random_seed_for_tests(42);
    th_random_bytes(first, sizeof first);
    uint32_t below = th_random_below(1000);
    th_random_seed_for_tests(42);
    th_random_bytes(second, sizeof second);
    assert_memory_equal(first, second, sizeof first);
    assert_int_equal(th_random_below(1000), below);
    th_random_seed_for_tests(43);
    th_random_bytes(second, sizeof second);
    assert_memory_not_equal(first, second, sizeof first);
#else
    int status; /* refused: the process aborts */
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(STDERR_FILENO);
        th_random_seed_for_tests(42);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fills_exactly),
        cmocka_unit_test(does_not_repeat),
        cmocka_unit_test(threads_and_children_differ),
        cmocka_unit_test(below_is_even),
        cmocka_unit_test(repeats_when_seeded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
