/* Runs while building: looks for multipliers that give every name of headers.def a slot of its own,
 * and prints the table. A new row needs no thought: if no multipliers fit, the build says so. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define SLOTS 256
#define MAX_FACTOR 64

static const char *const names[] = {
    "", /* TH_HEADER_UNKNOWN */
#define X(symbol, name, flags) name,
#include "tokenhop/http/headers.def"
#undef X
};

#define N_NAMES (sizeof(names) / sizeof(names[0]))

_Static_assert(N_NAMES <= 255, "ids must fit a byte, and slots");

static unsigned slot_of(const char *name, unsigned first, unsigned middle, unsigned last)
{
    size_t len = strlen(name);
    return (unsigned)(len + (unsigned char)name[0] * first + (unsigned char)name[len / 2] * middle +
                      (unsigned char)name[len - 1] * last) %
           SLOTS;
}

static bool fits(unsigned first, unsigned middle, unsigned last, uint8_t *ret_slots)
{
    memset(ret_slots, 0, SLOTS);
    for (size_t i = 1; i < N_NAMES; i++) {
        unsigned slot = slot_of(names[i], first, middle, last);
        if (ret_slots[slot] != 0)
            return false;
        ret_slots[slot] = (uint8_t)i;
    }
    return true;
}

int main(void)
{
    uint8_t slots[SLOTS];
    for (unsigned code = 0; code < MAX_FACTOR * MAX_FACTOR * MAX_FACTOR; code++) {
        unsigned first = code % MAX_FACTOR;
        unsigned middle = code / MAX_FACTOR % MAX_FACTOR;
        unsigned last = code / MAX_FACTOR / MAX_FACTOR;
        if (!fits(first, middle, last, slots))
            continue;
        printf("/* Made by gen_header_hash.c from headers.def. */\n"
               "#define HEADER_SLOT(len, first, middle, last) \\\n"
               "    (((len) + (first)*%uu + (middle)*%uu + (last)*%uu) %% %uu)\n"
               "static const uint8_t header_slots[%u] = {",
               first, middle, last, SLOTS, SLOTS);
        for (unsigned i = 0; i < SLOTS; i++)
            printf("%s%u,", i % 16 == 0 ? "\n    " : " ", slots[i]);
        printf("\n};\n");
        return 0;
    }
    fprintf(stderr, "headers.def: no perfect hash found; raise SLOTS in gen_header_hash.c\n");
    return 1;
}
