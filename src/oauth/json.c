#include "tokenhop/oauth/json.h"

#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/list.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/random.h"

/* jansson frees without saying how much: the size stands before each block, which stays aligned. */
union header {
    struct {
        size_t size;
        struct th_list link; /* of the parse that it was taken for, while that goes on */
    };
    max_align_t align;
};

/* A parse under way. When memory runs short it is left at once, for jansson 2.14 does not look whether a
 * string could grow: it goes on without some of its bytes, and where the closing quote is among those it
 * copies until it meets another one, far beyond the block. */
struct parse {
    jmp_buf out;
    struct th_list blocks; /* all that it holds */
};
static _Thread_local struct parse *parse; /* of the thread; NULL: none */

static void *json_memory_get(size_t size)
{
    union header *block = NULL;
    if (size <= SIZE_MAX - sizeof *block)
        block = th_malloc(sizeof *block + size);
    if (block == NULL) {
        if (parse != NULL)
            longjmp(parse->out, 1);
        return NULL;
    }
    block->size = size;
    block->link = (struct th_list){0};
    if (parse != NULL)
        th_list_push_back(&parse->blocks, &block->link);
    return block + 1;
}

static void json_memory_put(void *ptr)
{
    if (ptr == NULL)
        return;
    union header *block = (union header *)ptr - 1;
    th_list_remove(&block->link);
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

/* 0, and *ret_value, NULL when it is no JSON; TH_E_NOMEM. Nothing here must be needed after longjmp() that has
 * changed since setjmp(). */
static int load(struct th_str text, size_t flags, json_t **ret_value, json_error_t *ret_error)
{
    struct parse own;
    struct th_list *item;
    th_list_init(&own.blocks);
    parse = &own;
    if (setjmp(own.out) == 0) {
        *ret_value = json_loadb(text.ptr, text.len, flags, ret_error);
        parse = NULL;
        while (th_list_pop_front(&own.blocks) != NULL)
            ; /* the value's own from now on */
        /* What could not be read is not what is no JSON: a token would pass for nobody's. */
        return *ret_value == NULL && json_error_code(ret_error) == json_error_out_of_memory
                   ? TH_E_NOMEM
                   : 0;
    }
    parse = NULL;
    while ((item = th_list_pop_front(&own.blocks)) != NULL)
        json_memory_put(TH_CONTAINER_OF(item, union header, link) + 1);
    return TH_E_NOMEM;
}

int th_json_parse_object(struct th_str text, size_t max_len, json_t **ret_object)
{
    if (text.len == 0 || text.len > max_len || is_too_deep(text))
        return TH_E_BAD_REQUEST;
    json_error_t json_error;
    json_t *object = NULL;
    int error = load(text, JSON_REJECT_DUPLICATES, &object, &json_error);
    /* An integer beyond 64 bits is legal JSON; whoever wants it sees a very large real. */
    if (error == 0 && object == NULL && json_error_code(&json_error) == json_error_numeric_overflow)
        error = load(text, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &object, &json_error);
    if (error == 0 && !json_is_object(object)) {
        json_decref(object);
        error = TH_E_BAD_REQUEST;
    }
    if (error == 0)
        *ret_object = object;
    return error;
}
