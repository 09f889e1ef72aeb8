#include "tokenhop/http/header.h"

#include <ctype.h>

#include "tokenhop/base/check.h"

#include "header_hash.h" /* made by gen_header_hash.c */

static const struct th_header_row rows[TH_HEADER_COUNT] = {
#define X(symbol, text, bits) [TH_HEADER_##symbol] = {{text, sizeof(text) - 1}, bits},
#include "tokenhop/http/headers.def"
#undef X
};

_Static_assert(TH_HEADER_COUNT <= UINT8_MAX, "ids are kept in a byte of struct th_field");

static inline uint64_t load8(const char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof(word));
    return word;
}

static inline uint32_t load4(const char *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof(word));
    return word;
}

/* Zero when the bytes of `text` are those of `row` without regard to case. Names in the table are
 * of lower-case letters, digits and '-', of which only letters have bit 0x40: so bit 0x20 may
 * differ exactly where the row has a letter. */
static inline uint64_t differ8(uint64_t text, uint64_t row)
{
    return (text ^ row) & ~((row & UINT64_C(0x4040404040404040)) >> 1);
}

static bool name_matches(const char *text, const char *row, size_t len)
{
    uint64_t differ = 0;
    if (len >= 8) {
        for (size_t i = 0; i + 8 < len; i += 8)
            differ |= differ8(load8(text + i), load8(row + i));
        differ |= differ8(load8(text + len - 8), load8(row + len - 8));
    } else if (len >= 4) {
        differ =
            differ8(load4(text), load4(row)) | differ8(load4(text + len - 4), load4(row + len - 4));
    } else {
        for (size_t i = 0; i < len; i++)
            differ |= differ8((unsigned char)text[i], (unsigned char)row[i]);
    }
    return differ == 0;
}

enum th_header_id th_header_find(struct th_str name)
{
    if (name.len == 0)
        return TH_HEADER_UNKNOWN;
    unsigned first = (unsigned char)name.ptr[0] | 0x20u;
    unsigned middle = (unsigned char)name.ptr[name.len / 2] | 0x20u;
    unsigned last = (unsigned char)name.ptr[name.len - 1] | 0x20u;
    unsigned id = header_slots[HEADER_SLOT((unsigned)name.len, first, middle, last)];
    const struct th_header_row *row = &rows[id];
    if (row->name.len != name.len || !name_matches(name.ptr, row->name.ptr, name.len))
        return TH_HEADER_UNKNOWN;
    return (enum th_header_id)id;
}

const struct th_header_row *th_header_get(enum th_header_id id)
{
    TH_ASSERT((unsigned)id < TH_HEADER_COUNT);
    return &rows[id];
}

bool th_header_names_alike(struct th_str a, struct th_str b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++) {
        char x = a.ptr[i] == '_' ? '-' : a.ptr[i], y = b.ptr[i] == '_' ? '-' : b.ptr[i];
        if (tolower((unsigned char)x) != tolower((unsigned char)y))
            return false;
    }
    return true;
}
