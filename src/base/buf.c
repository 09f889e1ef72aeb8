#include "tokenhop/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/utf8.h"

#define FIRST_SIZE 64

void th_buf_init(struct th_buf *buf, size_t max)
{
    /* one byte is for the NUL, so that no sum below overflows */
    *buf = (struct th_buf){.max = max < SIZE_MAX ? max : SIZE_MAX - 1};
}

void th_buf_init_secret(struct th_buf *buf, size_t max)
{
    th_buf_init(buf, max);
    buf->secret = true;
}

static char *block_grow(struct th_buf *buf, size_t size)
{
    if (!buf->secret)
        return th_realloc_array(buf->ptr, size, 1);
    /* realloc would leave the old bytes behind */
    char *block = th_malloc(size);
    if (block == NULL)
        return NULL;
    if (buf->ptr != NULL) {
        memcpy(block, buf->ptr, buf->len);
        th_wipe(buf->ptr, buf->size);
        th_free(buf->ptr);
    }
    return block;
}

/* Makes room for `more` bytes and the NUL. */
static bool reserve(struct th_buf *buf, size_t more)
{
    if (buf->failed)
        return false;
    if (more <= buf->max && buf->len <= buf->max - more) {
        size_t need = buf->len + more + 1;
        if (need <= buf->size)
            return true;
        size_t size = buf->size < FIRST_SIZE ? FIRST_SIZE : buf->size;
        while (size < need)
            size = size > SIZE_MAX / 2 ? need : size * 2;
        if (size - 1 > buf->max)
            size = buf->max + 1;
        char *block = block_grow(buf, size);
        if (block != NULL) {
            buf->ptr = block;
            buf->size = size;
            return true;
        }
    }
    buf->failed = true;
    return false;
}

void th_buf_add(struct th_buf *buf, const void *bytes, size_t len)
{
    if (!reserve(buf, len))
        return;
    if (len > 0)
        memcpy(buf->ptr + buf->len, bytes, len);
    buf->len += len;
    buf->ptr[buf->len] = '\0';
}

void th_buf_add_str(struct th_buf *buf, struct th_str text)
{
    th_buf_add(buf, text.ptr, text.len);
}

void th_buf_add_char(struct th_buf *buf, char c)
{
    th_buf_add(buf, &c, 1);
}

void th_buf_printf(struct th_buf *buf, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (len < 0) {
        buf->failed = true;
        return;
    }
    if (!reserve(buf, (size_t)len))
        return;
    va_start(args, fmt);
    (void)vsnprintf(buf->ptr + buf->len, (size_t)len + 1, fmt, args);
    va_end(args);
    buf->len += (size_t)len;
}

char *th_buf_reserve(struct th_buf *buf, size_t more)
{
    return reserve(buf, more) ? buf->ptr + buf->len : NULL;
}

void th_buf_commit(struct th_buf *buf, size_t len)
{
    TH_REQUIRE(len < buf->size - buf->len);
    buf->len += len;
    buf->ptr[buf->len] = '\0';
}

static void add_json_ascii(struct th_buf *buf, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    static const char short_forms[] = "\bb\ff\nn\rr\tt\"\"\\\\";
    for (const char *s = short_forms; *s != '\0'; s += 2) {
        if ((unsigned char)s[0] == c) {
            th_buf_add(buf, (const char[]){'\\', s[1]}, 2);
            return;
        }
    }
    th_buf_add(buf, (const char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
}

void th_buf_add_json(struct th_buf *buf, struct th_str text)
{
    const unsigned char *s = (const unsigned char *)text.ptr;
    size_t done = 0, i = 0;
    while (i < text.len) {
        if (s[i] >= 0x20 && s[i] < 0x7F && s[i] != '"' && s[i] != '\\') {
            i++;
            continue;
        }
        int len = s[i] < 0x80 ? 0 : th_utf8_len(s + i, text.len - i);
        /* The C1 controls (U+0080..U+009F) steer terminals as the C0 ones do, and lines of a log
         * are read there. */
        bool is_c1 = len == 2 && s[i] == 0xC2 && s[i + 1] < 0xA0;
        if (len > 0 && !is_c1) {
            i += (size_t)len;
            continue;
        }
        th_buf_add(buf, s + done, i - done);
        if (len == 0) {
            add_json_ascii(buf, s[i]);
            i++;
        } else if (is_c1) {
            add_json_ascii(buf, s[i + 1]);
            i += 2;
        } else {
            th_buf_add_str(buf, TH_STR("\xEF\xBF\xBD"));
            i += (size_t)-len;
        }
        done = i;
    }
    if (text.len > done)
        th_buf_add(buf, s + done, text.len - done);
}

void th_buf_clear(struct th_buf *buf)
{
    if (buf->secret && buf->ptr != NULL)
        th_wipe(buf->ptr, buf->size);
    buf->len = 0;
    buf->failed = false;
    if (buf->ptr != NULL)
        buf->ptr[0] = '\0';
}

void th_buf_fini(struct th_buf *buf)
{
    if (buf->ptr != NULL) {
        if (buf->secret)
            th_wipe(buf->ptr, buf->size);
        th_free(buf->ptr);
    }
    buf->ptr = NULL;
    buf->len = buf->size = 0;
    buf->failed = false;
}
