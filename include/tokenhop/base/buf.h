/* A growing, bounded byte buffer (init/fini). Its maximum is an argument of init and cannot be
 * forgotten. Appending past it, or without memory, sets `failed`, which sticks: append many times,
 * check once. The bytes are always followed by a NUL once anything was appended.
 *
 *     struct th_buf b;
 *     th_buf_init(&b, 4096);
 *     th_buf_add(&b, "grant_type=", 11);
 *     th_buf_printf(&b, "%d", 7);
 *     if (b.failed) ...
 *     th_buf_fini(&b);
 *
 * One thread at a time. th_buf_wipe() overwrites the bytes before letting them go: for secrets. */
#ifndef TOKENHOP_BASE_BUF_H
#define TOKENHOP_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

#include "tokenhop/base/error.h"
#include "tokenhop/base/str.h"

struct th_buf {
    char *ptr;
    size_t len;
    size_t size;
    size_t max;
    bool failed;
    bool secret; /* every block is wiped before it is freed, when it grows too */
};

void th_buf_init(struct th_buf *buf, size_t max);
void th_buf_init_secret(struct th_buf *buf, size_t max);
void th_buf_add(struct th_buf *buf, const void *bytes, size_t len);
void th_buf_add_str(struct th_buf *buf, struct th_str text);
void th_buf_add_char(struct th_buf *buf, char c);
void th_buf_printf(struct th_buf *buf, const char *fmt, ...) TH_PRINTF(2, 3);
/* The inside of a JSON string, escaped; bytes that are not UTF-8 become U+FFFD. Without quotes. */
void th_buf_add_json(struct th_buf *buf, struct th_str text);
/* Room for `more` bytes at the end and a NUL, to be written there by hand and then committed. NULL,
 * and `failed` set, when there is none. */
char *th_buf_reserve(struct th_buf *buf, size_t more) TH_MUST;
void th_buf_commit(struct th_buf *buf, size_t len); /* of the reserved ones */
void th_buf_clear(struct th_buf *buf);              /* keeps the memory; clears `failed` */
void th_buf_fini(struct th_buf *buf);
static inline struct th_str th_buf_str(const struct th_buf *buf)
{
    return (struct th_str){buf->ptr, buf->len};
}

#endif
