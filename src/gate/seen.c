#include "tokenhop/gate/seen.h"

#include <stdatomic.h>
#include <string.h>

#include "tokenhop/base/mem.h"
#include "tokenhop/base/random.h"

/* Sets of WAYS slots, each slot 64 bits of a digest (SHA-256 is uniform; the salt keeps slots from
 * being chosen by who can choose tokens). A wrong "seen" has a chance of 2^-61 and only drops a
 * header field. */
#define SETS 16384
#define WAYS 4

struct th_seen {
    uint64_t salt;
    _Atomic uint64_t slots[SETS][WAYS];
};

int th_seen_new(struct th_seen **ret_seen)
{
    struct th_seen *seen = th_calloc(1, sizeof *seen);

    if (seen == NULL)
        return TH_E_NOMEM;
    th_random_bytes(&seen->salt, sizeof seen->salt);
    *ret_seen = seen;
    return 0;
}

struct th_seen *th_seen_free(struct th_seen *seen)
{
    th_free(seen);
    return NULL;
}

static uint64_t take_word(const uint8_t *digest)
{
    uint64_t word;

    memcpy(&word, digest, sizeof word);
    return word != 0 ? word : 1; /* 0 marks an empty slot */
}

static size_t find_set(const struct th_seen *seen, const uint8_t *digest)
{
    uint64_t word;

    memcpy(&word, digest + 8, sizeof word);
    word = (word ^ seen->salt) * 0x9e3779b97f4a7c15ULL;
    return (size_t)(word >> 50) % SETS;
}

void th_seen_add(struct th_seen *seen, const uint8_t digest[32])
{
    _Atomic uint64_t *set = seen->slots[find_set(seen, digest)];
    uint64_t word = take_word(digest);

    for (size_t i = 0; i < WAYS; i++)
        if (atomic_load_explicit(&set[i], memory_order_relaxed) == word)
            return;
    /* The newest first: the last one is forgotten. Two writers at once may lose one of both, which
     * the next request with that token mends. */
    for (size_t i = WAYS - 1; i > 0; i--)
        atomic_store_explicit(&set[i], atomic_load_explicit(&set[i - 1], memory_order_relaxed),
                              memory_order_relaxed);
    atomic_store_explicit(&set[0], word, memory_order_relaxed);
}

bool th_seen_has(const struct th_seen *seen, const uint8_t digest[32])
{
    const _Atomic uint64_t *set = seen->slots[find_set(seen, digest)];
    uint64_t word = take_word(digest);

    for (size_t i = 0; i < WAYS; i++)
        if (atomic_load_explicit(&set[i], memory_order_relaxed) == word)
            return true;
    return false;
}
