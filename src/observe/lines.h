/* JSON lines gathered in a buffer and handed to the writer 32 KiB at a time: what the access and
 * the audit log have in common. One thread. Nothing here asks for memory per line: a line is
 * written into room that was reserved for the longest there can be.
 *
 *     struct th_line line;
 *     if (!th_lines_begin(&lines, &line, MAX_LINE, wall_ms)) return;
 *     th_line_put_u64(&line, TH_STR(",\"status\":"), 200);
 *     th_lines_end(&lines, &line);
 */
#ifndef TOKENHOP_SRC_OBSERVE_LINES_H
#define TOKENHOP_SRC_OBSERVE_LINES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "format.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/base/str.h"

#define TH_LINES_FLUSH_SIZE ((size_t)32 * 1024)
#define TH_LINE_ESCAPED 6 /* bytes that one byte of a string can become */

struct th_writer_file;

struct th_lines {
    struct th_writer_file *file; /* NULL: nothing is written */
    struct th_buf buf;
    unsigned n_lines;
    uint64_t n_dropped;
    int64_t time_s; /* the second that `time` was formatted for */
    char time[TH_FORMAT_TIME_LEN];
};

struct th_line {
    struct th_buf *buf;
    char *at;
};

void th_lines_init(struct th_lines *lines, struct th_writer_file *file, size_t max_line);
void th_lines_fini(struct th_lines *lines); /* flushes */
void th_lines_flush(struct th_lines *lines);
void th_lines_flush_full(struct th_lines *lines); /* where there are 32 KiB */

/* Writes the beginning, with the time. False when nothing is to be written or memory is short. */
bool th_lines_begin(struct th_lines *lines, struct th_line *line, size_t max_line, int64_t wall_ms);
void th_lines_end(struct th_lines *lines, struct th_line *line);
/* As the end, but hands nothing over: before the next line begins, the caller does. */
void th_lines_gather(struct th_lines *lines, struct th_line *line);

static inline void th_line_put(struct th_line *line, struct th_str text)
{
    memcpy(line->at, text.ptr, text.len);
    line->at += text.len;
}

/* `key` is ,"name": in full, so that it is one copy. */
static inline void th_line_put_u64(struct th_line *line, struct th_str key, uint64_t value)
{
    th_line_put(line, key);
    line->at = th_format_u64(line->at, value);
}

/* Nothing when `value` is negative. */
static inline void th_line_put_known(struct th_line *line, struct th_str key, int64_t value)
{
    if (value >= 0)
        th_line_put_u64(line, key, (uint64_t)value);
}

static inline void th_line_put_flag(struct th_line *line, struct th_str key, bool value)
{
    th_line_put(line, key);
    th_line_put(line, value ? TH_STR("true") : TH_STR("false"));
}

/* In quotes and escaped, `max` bytes of it at most. Without a key nothing else; with one nothing
 * at all when the text is empty. */
void th_line_put_quoted(struct th_line *line, struct th_str text, size_t max);
void th_line_put_string(struct th_line *line, struct th_str key, struct th_str text, size_t max);
/* The code and the symbol of a TH_E_*; nothing for 0. */
void th_line_put_error(struct th_line *line, int error);

#endif
