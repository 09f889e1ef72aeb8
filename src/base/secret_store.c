#include "secret_store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fail.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/list.h"
#include "tokenhop/base/mem.h"

#ifdef TH_ARENA_MALLOC

void *th_secret_store_alloc(size_t size)
{
    return th_malloc(size);
}

void th_secret_store_free(void *ptr, size_t size)
{
    th_wipe(ptr, size);
    th_free(ptr);
}

size_t th_secret_store_mapped(void)
{
    return 0;
}

size_t th_secret_store_locked(void)
{
    return 0;
}

#else

/* A region is aligned to its size, so that a slot's address tells its region:
 *
 *     | header | slot | slot | ... | slots never used yet (not resident) ... |
 */
#define REGION_SIZE ((size_t)256 * 1024)
#define REGION_MAGIC 0x5ec4e7a1u

struct region {
    uint32_t magic;
    uint32_t n_used;
    struct size_class *class;
    struct th_list link; /* on the class's list while a slot is to be had */
    struct slot *free;   /* slots that came back */
    size_t fresh;        /* offset of the first slot never used */
    bool is_locked;
};

struct slot {
    struct slot *next;
};

/* Steps of sizes: a finer one where most tokens are. */
static const struct {
    size_t limit, step;
} bands[] = {{1024, 32}, {2048, 64}, {4096, 256}, {16384, 1024}};

#define N_CLASSES (1024 / 32 + 1024 / 64 + 2048 / 256 + 12288 / 1024)
#define MAX_SLOT ((size_t)16384)

struct size_class {
    pthread_mutex_t lock;
    struct th_list regions; /* that have a slot; zeroed before the first use */
};

/* Process-wide: there is one memory. Zeroes are the initial state of a mutex here, and of a list
 * that is first used under it. */
static struct size_class classes[N_CLASSES];
static atomic_size_t n_mapped, n_locked;

static struct size_class *class_of(size_t size, size_t *ret_slot_size)
{
    size_t below = 0, index = 0;
    for (size_t i = 0; i < TH_COUNT_OF(bands); i++) {
        size_t step = bands[i].step;
        if (size <= bands[i].limit) {
            size_t steps = size > below ? (size - below + step - 1) / step : 1;
            *ret_slot_size = below + steps * step;
            return &classes[index + steps - 1];
        }
        index += (bands[i].limit - below) / step;
        below = bands[i].limit;
    }
    th_check_abort(__FILE__, __LINE__, "a size beyond the classes");
}

static void *map_pages(size_t size)
{
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages != MAP_FAILED ? pages : NULL;
}

/* Returns whether it is kept out of swap as well. */
static bool keep_out_of_dumps(void *pages, size_t size)
{
    /* Best effort: the process is not dumpable anyway (th_process_harden). Not MADV_WIPEONFORK: a
     * child that frees what it inherited would find no headers. */
    (void)madvise(pages, size, MADV_DONTDUMP);
    atomic_fetch_add_explicit(&n_mapped, size, memory_order_relaxed);
    /* As pages are touched, as most of a region may never be. */
    bool is_locked = mlock2(pages, size, MLOCK_ONFAULT) == 0;
    if (is_locked)
        atomic_fetch_add_explicit(&n_locked, size, memory_order_relaxed);
    return is_locked;
}

static void unmap_pages(void *pages, size_t size, bool is_locked)
{
    TH_REQUIRE(munmap(pages, size) == 0);
    atomic_fetch_sub_explicit(&n_mapped, size, memory_order_relaxed);
    if (is_locked)
        atomic_fetch_sub_explicit(&n_locked, size, memory_order_relaxed);
}

static struct region *region_new(struct size_class *class)
{
    char *pages = map_pages(REGION_SIZE * 2);
    if (pages == NULL)
        return NULL;
    /* Cut to an aligned half. Where the kernel refuses to (too many mappings), what is left over
     * costs addresses only: it was never touched. */
    size_t before = -(uintptr_t)pages & (REGION_SIZE - 1);
    struct region *region = (struct region *)(void *)(pages + before);
    if (before != 0)
        (void)munmap(pages, before);
    (void)munmap(pages + before + REGION_SIZE, REGION_SIZE - before);
    bool is_locked = keep_out_of_dumps(region, REGION_SIZE);
    *region = (struct region){
        .magic = REGION_MAGIC,
        .class = class,
        .fresh = (sizeof *region + 63) & ~(size_t)63,
        .is_locked = is_locked,
    };
    th_list_push_back(&class->regions, &region->link);
    return region;
}

static bool region_has_slot(const struct region *region, size_t slot_size)
{
    return region->free != NULL || REGION_SIZE - region->fresh >= slot_size;
}

static void *region_take_slot(struct region *region, size_t slot_size)
{
    void *ptr = region->free;
    if (ptr != NULL) {
        region->free = region->free->next;
    } else {
        ptr = (char *)region + region->fresh;
        region->fresh += slot_size;
    }
    region->n_used++;
    if (!region_has_slot(region, slot_size))
        th_list_remove(&region->link);
    return ptr;
}

static size_t whole_pages(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (size + page - 1) / page * page;
}

/* Stands before one that is a mapping of its own. */
struct large {
    _Alignas(16) bool is_locked;
};

static void *large_alloc(size_t size)
{
    size_t whole = whole_pages(sizeof(struct large) + size);
    struct large *large = map_pages(whole);
    if (large == NULL)
        return NULL;
    large->is_locked = keep_out_of_dumps(large, whole);
    return large + 1;
}

void *th_secret_store_alloc(size_t size)
{
    if (th_mem_must_fail())
        return NULL;
    if (size > MAX_SLOT)
        return large_alloc(size);
    size_t slot_size;
    struct size_class *class = class_of(size, &slot_size);
    void *ptr = NULL;
    pthread_mutex_lock(&class->lock);
    if (class->regions.next == NULL)
        th_list_init(&class->regions);
    struct region *region = th_list_is_empty(&class->regions)
                                ? region_new(class)
                                : TH_LIST_ENTRY(class->regions.next, struct region, link);
    if (region != NULL)
        ptr = region_take_slot(region, slot_size);
    pthread_mutex_unlock(&class->lock);
    return ptr;
}

/* An empty region goes back to the system, but for the last of its class that has room: else one
 * secret made and freed over and over would map and unmap each time. */
static bool region_is_spare(const struct region *region)
{
    return region->n_used == 0 && region->link.next != region->link.prev;
}

void th_secret_store_free(void *ptr, size_t size)
{
    th_wipe(ptr, size);
    if (size > MAX_SLOT) {
        struct large *large = (struct large *)ptr - 1;
        unmap_pages(large, whole_pages(sizeof *large + size), large->is_locked);
        return;
    }
    struct region *region = (struct region *)((uintptr_t)ptr & ~(uintptr_t)(REGION_SIZE - 1));
    TH_REQUIRE(region->magic == REGION_MAGIC);
    struct size_class *class = region->class;
    struct slot *slot = ptr;
    pthread_mutex_lock(&class->lock);
    TH_REQUIRE(region->n_used > 0);
    region->n_used--;
    slot->next = region->free;
    region->free = slot;
    /* Fuller regions stay in front, so that the emptier ones have a chance to become empty. */
    if (!th_list_is_linked(&region->link))
        th_list_push_front(&class->regions, &region->link);
    bool is_spare = region_is_spare(region);
    if (is_spare)
        th_list_remove(&region->link);
    pthread_mutex_unlock(&class->lock);
    if (is_spare)
        unmap_pages(region, REGION_SIZE, region->is_locked);
}

size_t th_secret_store_locked(void)
{
    return atomic_load_explicit(&n_locked, memory_order_relaxed);
}

size_t th_secret_store_mapped(void)
{
    return atomic_load_explicit(&n_mapped, memory_order_relaxed);
}

#endif
