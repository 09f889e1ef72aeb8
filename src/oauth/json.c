#include "tokenhop/oauth/json.h"

#include <stdint.h>
#include <string.h>

#include "tokenhop/base/mem.h"
#include "tokenhop/base/random.h"

/* jansson frees without saying how much: the size stands before each block, which stays aligned. */
union header {
    size_t size;
    max_align_t align;
};

/* Of the thread: what jansson makes of a failed allocation is often a syntax error, but a peer is not
 * to blame for it (R28); or, where a string could not grow, a string that lacks a byte, and no error
 * at all: a token would be another. */
static _Thread_local bool memory_was_short;

static void *json_memory_get(size_t size)
{
    union header *block = NULL;
    if (size <= SIZE_MAX - sizeof *block)
        block = th_malloc(sizeof *block + size);
    if (block == NULL) {
        memory_was_short = true;
        return NULL;
    }
    block->size = size;
    return block + 1;
}

static void json_memory_put(void *ptr)
{
    if (ptr == NULL)
        return;
    union header *block = (union header *)ptr - 1;
    th_wipe(ptr, block->size);
    th_free(block);
}

void th_json_start(void)
{
    uint32_t seed;
    do
        th_random_bytes(&seed, sizeof seed);
    while (seed == 0); /* which would have jansson choose one by the time of day */
    json_set_alloc_funcs(json_memory_get, json_memory_put);
    json_object_seed(seed);
}

/* jansson's own limit is 2048 levels of recursion. */
static bool is_too_deep(struct th_str text)
{
    unsigned depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > TH_JSON_DEPTH_MAX)
                return true;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return false;
}

int th_json_parse_object(struct th_str text, size_t max_len, json_t **ret_object)
{
    if (text.len == 0 || text.len > max_len || is_too_deep(text))
        return TH_E_BAD_REQUEST;
    json_error_t error;
    memory_was_short = false;
    json_t *object = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &error);
    /* An integer beyond 64 bits is legal JSON; whoever wants it sees a very large real. */
    if (object == NULL && json_error_code(&error) == json_error_numeric_overflow)
        object = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL,
                            &error);
    if (memory_was_short || !json_is_object(object)) {
        json_decref(object);
        return memory_was_short ? TH_E_NOMEM : TH_E_BAD_REQUEST;
    }
    *ret_object = object;
    return 0;
}
