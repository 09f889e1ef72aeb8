#include "handles.h"

#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"

#define NO_SLOT UINT32_MAX
#define FIRST_SLOTS 64

struct slot {
    void *object; /* NULL: free */
    uint32_t generation;
    uint32_t next_free;
};

struct th_handles {
    struct slot *slots;
    uint32_t n_slots;
    uint32_t first_free;
};

struct th_handles *th_handles_new(void)
{
    struct th_handles *handles = th_calloc(1, sizeof(*handles));
    if (handles != NULL)
        handles->first_free = NO_SLOT;
    return handles;
}

struct th_handles *th_handles_free(struct th_handles *handles)
{
    if (handles != NULL) {
        th_free(handles->slots);
        th_free(handles);
    }
    return NULL;
}

static bool grow(struct th_handles *handles)
{
    uint32_t n = handles->n_slots != 0 ? handles->n_slots * 2 : FIRST_SLOTS;
    struct slot *slots;

    if (n <= handles->n_slots || n >= NO_SLOT)
        return false;
    slots = th_realloc_array(handles->slots, n, sizeof(*slots));
    if (slots == NULL)
        return false;
    for (uint32_t i = handles->n_slots; i < n; i++)
        slots[i] = (struct slot){NULL, 1, i + 1 < n ? i + 1 : NO_SLOT};
    handles->first_free = handles->n_slots;
    handles->slots = slots;
    handles->n_slots = n;
    return true;
}

uint64_t th_handle_new(struct th_handles *handles, void *object)
{
    uint32_t index;
    struct slot *slot;

    if (TH_CHECK_FAILS(object != NULL))
        return 0;
    if (handles->first_free == NO_SLOT && !grow(handles))
        return 0;
    index = handles->first_free;
    slot = &handles->slots[index];
    handles->first_free = slot->next_free;
    slot->object = object;
    return (uint64_t)slot->generation << 32 | index;
}

static struct slot *find_slot(const struct th_handles *handles, uint64_t handle)
{
    uint32_t index = (uint32_t)handle;
    struct slot *slot;

    if (handle == 0 || index >= handles->n_slots)
        return NULL;
    slot = &handles->slots[index];
    if (slot->generation != handle >> 32 || slot->object == NULL)
        return NULL;
    return slot;
}

void *th_handle_find(const struct th_handles *handles, uint64_t handle)
{
    struct slot *slot = find_slot(handles, handle);
    return slot != NULL ? slot->object : NULL;
}

void th_handle_drop(struct th_handles *handles, uint64_t handle)
{
    struct slot *slot = find_slot(handles, handle);

    if (slot == NULL)
        return;
    slot->object = NULL;
    if (++slot->generation == 0) /* 0 would make handle 0 of the first slot */
        slot->generation = 1;
    slot->next_free = handles->first_free;
    handles->first_free = (uint32_t)handle;
}
