#include "lines.h"

#include "tokenhop/base/error.h"
#include "tokenhop/base/utf8.h"
#include "tokenhop/observe/writer.h"

void th_lines_init(struct th_lines *lines, struct th_writer_file *file, size_t max_line)
{
    *lines = (struct th_lines){.file = file, .time_s = -1};
    th_buf_init(&lines->buf, TH_LINES_FLUSH_SIZE + max_line);
}

void th_lines_fini(struct th_lines *lines)
{
    th_lines_flush(lines);
    th_buf_fini(&lines->buf);
}

void th_lines_flush(struct th_lines *lines)
{
    if (lines->n_lines == 0)
        return;
    if (!th_writer_put(lines->file, &lines->buf, lines->n_lines))
        lines->n_dropped += lines->n_lines;
    lines->n_lines = 0;
}

void th_lines_flush_full(struct th_lines *lines)
{
    if (lines->buf.len >= TH_LINES_FLUSH_SIZE)
        th_lines_flush(lines);
}

static void put_time(struct th_lines *lines, struct th_line *line, int64_t wall_ms)
{
    if (wall_ms < 0)
        wall_ms = 0;
    if (wall_ms / 1000 != lines->time_s) {
        lines->time_s = wall_ms / 1000;
        (void)th_format_time(lines->time, lines->time_s * 1000);
    }
    unsigned ms = (unsigned)(wall_ms % 1000);
    char *digits = line->at + TH_FORMAT_TIME_LEN - 4;
    memcpy(line->at, lines->time, TH_FORMAT_TIME_LEN);
    digits[0] = (char)('0' + ms / 100);
    digits[1] = (char)('0' + ms / 10 % 10);
    digits[2] = (char)('0' + ms % 10);
    line->at += TH_FORMAT_TIME_LEN;
}

bool th_lines_begin(struct th_lines *lines, struct th_line *line, size_t max_line, int64_t wall_ms)
{
    if (lines->file == NULL)
        return false;
    line->buf = &lines->buf;
    line->at = th_buf_reserve(&lines->buf, max_line);
    if (line->at == NULL) {
        lines->buf.failed = false; /* what was gathered before is whole */
        lines->n_dropped++;
        th_lines_flush(lines);
        return false;
    }
    th_line_put(line, TH_STR("{\"time\":\""));
    put_time(lines, line, wall_ms);
    *line->at++ = '"';
    return true;
}

/* Makes what was written by hand part of the buffer. */
static void line_commit(const struct th_line *line)
{
    struct th_buf *buf = line->buf;
    th_buf_commit(buf, (size_t)(line->at - (buf->ptr + buf->len)));
}

void th_lines_gather(struct th_lines *lines, struct th_line *line)
{
    th_line_put(line, TH_STR("}\n"));
    line_commit(line);
    lines->n_lines++;
}

void th_lines_end(struct th_lines *lines, struct th_line *line)
{
    th_lines_gather(lines, line);
    th_lines_flush_full(lines);
}

void th_line_put_quoted(struct th_line *line, struct th_str text, size_t max)
{
    text = th_utf8_cut(text, max);
    *line->at++ = '"';
    size_t n_plain = th_format_plain(line->at, text);
    line->at += n_plain;
    if (n_plain < text.len) {
        line_commit(line);
        th_buf_add_json(line->buf, (struct th_str){text.ptr + n_plain, text.len - n_plain});
        line->at = line->buf->ptr + line->buf->len;
    }
    *line->at++ = '"';
}

void th_line_put_string(struct th_line *line, struct th_str key, struct th_str text, size_t max)
{
    if (text.len == 0)
        return;
    th_line_put(line, key);
    th_line_put_quoted(line, text, max);
}

void th_line_put_error(struct th_line *line, int error)
{
    if (error == 0)
        return;
    const struct th_error_row *row = th_error_get(error);
    th_line_put_string(line, TH_STR(",\"code\":"), th_str_of(row->code), SIZE_MAX);
    th_line_put_string(line, TH_STR(",\"error\":"), th_str_of(row->name), SIZE_MAX);
}
