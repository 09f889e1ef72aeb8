#include "tokenhop/base/random.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"

#define POOL_SIZE 256
#define LARGE 64 /* from here on a system call of its own costs little by comparison */

/* State of the thread: one system call serves many small wishes. */
static _Thread_local struct {
    unsigned char bytes[POOL_SIZE];
    size_t left; /* unused ones, at the end */
    unsigned generation;
} pool;

/* Process-wide: a forked child must not hand out its parent's bytes again. */
static atomic_uint fork_generation = 1;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static void on_fork_in_child(void)
{
    atomic_fetch_add(&fork_generation, 1);
}

static void watch_forks(void)
{
    TH_REQUIRE(pthread_atfork(NULL, NULL, on_fork_in_child) == 0);
}

static void system_bytes(void *bytes, size_t len)
{
    unsigned char *at = bytes;
    while (len > 0) {
        ssize_t got = getrandom(at, len, 0);
        if (got < 0 && errno == EINTR)
            continue;
        TH_REQUIRE(got > 0);
        at += got;
        len -= (size_t)got;
    }
}

#ifdef TH_CHECKS
/* Process-wide on purpose: whichever thread asks takes the next step of the test's sequence. */
static atomic_bool is_seeded;
static atomic_uint_least64_t seeded_state;

void th_random_seed_for_tests(uint64_t seed)
{
    atomic_store(&seeded_state, seed);
    atomic_store(&is_seeded, true);
}

static bool seeded_bytes(void *bytes, size_t len)
{
    if (!atomic_load_explicit(&is_seeded, memory_order_acquire))
        return false;
    for (size_t done = 0; done < len; done += 8) {
        /* splitmix64 (Steele, Lea and Flood, 2014) */
        uint64_t z = atomic_fetch_add(&seeded_state, 0x9e3779b97f4a7c15) + 0x9e3779b97f4a7c15;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        z ^= z >> 31;
        memcpy((unsigned char *)bytes + done, &z, len - done < 8 ? len - done : 8);
    }
    return true;
}
#else
void th_random_seed_for_tests(uint64_t seed)
{
    (void)seed;
    th_check_abort(__FILE__, __LINE__, "repeatable randomness needs -Dchecks=true");
}

static bool seeded_bytes(void *bytes, size_t len)
{
    (void)bytes;
    (void)len;
    return false;
}
#endif

void th_random_bytes(void *ret_bytes, size_t len)
{
    if (len == 0 || seeded_bytes(ret_bytes, len))
        return;
    if (len >= LARGE) {
        system_bytes(ret_bytes, len);
        return;
    }
    unsigned generation = atomic_load_explicit(&fork_generation, memory_order_relaxed);
    if (pool.generation != generation || pool.left < len) {
        pthread_once(&fork_once, watch_forks);
        system_bytes(pool.bytes, POOL_SIZE);
        pool.left = POOL_SIZE;
        pool.generation = generation;
    }
    unsigned char *from = pool.bytes + POOL_SIZE - pool.left;
    memcpy(ret_bytes, from, len);
    th_wipe(from, len); /* what was handed out, as a key or jti, is not to be found here later */
    pool.left -= len;
}

uint32_t th_random_below(uint32_t bound)
{
    if (bound < 2)
        return 0;
    /* Lemire's method: the high half of a product, without the few values that would be favoured.
     */
    uint32_t favoured = -bound % bound;
    for (;;) {
        uint32_t word;
        th_random_bytes(&word, sizeof word);
        uint64_t product = (uint64_t)word * bound;
        if ((uint32_t)product >= favoured)
            return (uint32_t)(product >> 32);
    }
}
