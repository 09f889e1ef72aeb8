#include "bytes.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenhop/base/check.h"

void bytes_add(struct bytes *bytes, const void *from, size_t len)
{
    if (bytes->size - bytes->len < len + 1) {
        bytes->size = 2 * (bytes->len + len + 1);
        bytes->ptr = realloc(bytes->ptr, bytes->size);
        TH_REQUIRE(bytes->ptr != NULL);
    }
    if (len > 0)
        memcpy(bytes->ptr + bytes->len, from, len);
    bytes->len += len;
    bytes->ptr[bytes->len] = '\0';
}

void bytes_add_str(struct bytes *bytes, struct th_str text)
{
    bytes_add(bytes, text.ptr, text.len);
}

void bytes_printf(struct bytes *bytes, const char *format, ...)
{
    char room[2048];
    va_list args;

    va_start(args, format);
    int len = vsnprintf(room, sizeof room, format, args);
    va_end(args);
    TH_REQUIRE(len >= 0 && (size_t)len < sizeof room);
    bytes_add(bytes, room, (size_t)len);
}

void bytes_cut_front(struct bytes *bytes, size_t len)
{
    memmove(bytes->ptr, bytes->ptr + len, bytes->len - len);
    bytes->len -= len;
    bytes->ptr[bytes->len] = '\0';
}

void bytes_fini(struct bytes *bytes)
{
    free(bytes->ptr);
    *bytes = (struct bytes){0};
}

bool bytes_have(const struct bytes *bytes, struct th_str what)
{
    return bytes->len >= what.len && memmem(bytes->ptr, bytes->len, what.ptr, what.len) != NULL;
}

const char *bytes_show(const char *from, size_t len, size_t max)
{
    static char rooms[4][2048];
    static unsigned turn;
    char *room = rooms[turn++ % 4], *to = room, *end = room + sizeof rooms[0] - 16;
    size_t shown = len < max ? len : max;

    for (size_t i = 0; i < shown && to < end; i++) {
        unsigned char c = (unsigned char)from[i];
        if (c == '\r')
            to += snprintf(to, 5, "\\r");
        else if (c == '\n')
            to += snprintf(to, 5, "\\n");
        else if (isprint(c))
            *to++ = (char)c;
        else
            to += snprintf(to, 5, "\\x%02x", c);
    }
    snprintf(to, 4, "%s", shown < len ? "..." : "");
    return room;
}

char *copy_text(const char *from, size_t len)
{
    char *copy = malloc(len + 1);

    TH_REQUIRE(copy != NULL);
    memcpy(copy, from, len);
    copy[len] = '\0';
    return copy;
}

void *zeroed(size_t size)
{
    void *room = calloc(1, size);

    TH_REQUIRE(room != NULL);
    return room;
}
