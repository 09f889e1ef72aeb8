#include "body.h"

#include <string.h>

/* Below this a body, or what is left of it, is copied: two calls either way. */
#define SPLICE_MIN (64 * 1024)
/* In a room smaller than this none of it is left for the line before a chunk. */
#define HEADROOM_MIN 1024

void th_body_init(struct th_body *body, const struct th_head *head, enum th_body_out out,
                  char *room, size_t room_size, char *raw, size_t raw_len)
{
    body->framing = head->framing;
    body->out = out;
    body->remaining = head->framing == TH_FRAMING_LENGTH ? head->content_length : 0;
    if (head->framing == TH_FRAMING_CHUNKED)
        th_chunked_init(&body->chunked);
    body->room = room;
    body->room_size = room_size;
    body->raw = raw;
    body->raw_len = raw_len;
    body->touched = raw + raw_len;
    body->data = NULL;
    body->data_len = 0;
    body->total = 0;
    body->received = head->framing == TH_FRAMING_NONE ||
                     (head->framing == TH_FRAMING_LENGTH && head->content_length == 0);
    body->queued = body->received && out == TH_BODY_AS_IT_IS;
    body->spliced = false;
}

int th_body_decode(struct th_body *body)
{
    size_t taken = body->raw_len, data = body->raw_len;

    if (body->received || body->raw_len == 0)
        return 0;
    switch (body->framing) {
    case TH_FRAMING_NONE:
        return 0;
    case TH_FRAMING_LENGTH:
        if (taken > body->remaining)
            taken = data = (size_t)body->remaining;
        body->remaining -= taken;
        body->received = body->remaining == 0;
        break;
    case TH_FRAMING_CHUNKED: {
        int result = th_chunked_decode(&body->chunked, body->raw, body->raw_len, &taken, &data);
        if (result < 0)
            return result;
        body->received = result == TH_CHUNKED_DONE;
        break;
    }
    case TH_FRAMING_CLOSE:
        break;
    }
    body->data = body->raw;
    body->data_len = data;
    body->total += data;
    body->raw += taken;
    body->raw_len -= taken;
    if (data == 0)
        th_body_written(body);
    return 0;
}

void th_body_received(struct th_body *body, size_t n)
{
    body->raw_len += n;
    if (body->raw + body->raw_len > body->touched)
        body->touched = body->raw + body->raw_len;
}

ssize_t th_body_recv(struct th_body *body, struct th_stream *stream)
{
    char *tail = body->raw + body->raw_len;
    size_t room = (size_t)(body->room + body->room_size - tail);

    if (TH_CHECK_FAILS(room > 0))
        return TH_E_INTERNAL;
    ssize_t n = th_stream_recv(stream, tail, room);
    if (n > 0)
        th_body_received(body, (size_t)n);
    else if (n == 0 && body->framing == TH_FRAMING_CLOSE)
        body->received = true;
    return n;
}

/* How much may go by pipe: 0 when all must be copied. */
static size_t spliceable(const struct th_body *body)
{
    if (body->out != TH_BODY_AS_IT_IS || body->raw_len > 0 || body->data_len > 0)
        return 0;
    switch (body->framing) {
    case TH_FRAMING_NONE:
    case TH_FRAMING_CHUNKED: /* the framing must be seen */
        return 0;
    case TH_FRAMING_LENGTH: /* once it goes by pipe it does so to its end */
        return body->remaining >= SPLICE_MIN || body->spliced ? (size_t)body->remaining : 0;
    case TH_FRAMING_CLOSE: /* nobody knows whether there is more to come than there was */
        return body->total >= SPLICE_MIN ? SIZE_MAX : 0;
    }
    return 0;
}

ssize_t th_body_splice(struct th_body *body, struct th_stream *from, struct th_stream *to,
                       struct th_outgoing *out)
{
    size_t max = body->received ? 0 : spliceable(body);

    if (max == 0 || !from->readable || !th_pipe_joins(from, to))
        return TH_OUTGOING_COPY;
    ssize_t n = th_outgoing_fill(out, from, max);
    if (n == TH_AGAIN)
        return TH_OUTGOING_COPY; /* a receive knows for sure, and passes over urgent data */
    if (n > 0) {
        body->spliced = true;
        body->total += (uint64_t)n;
        if (body->framing == TH_FRAMING_LENGTH) {
            body->remaining -= (uint64_t)n;
            body->received = body->remaining == 0;
        }
        body->raw = body->room;
    } else if (n == 0 && body->framing == TH_FRAMING_CLOSE) {
        body->received = true;
    }
    return n;
}

/* Writes the framing around the data where it lies, if there is room: before it in the room are bytes
 * that have gone, behind it what framed it when it came. One piece instead of three is a send()
 * instead of a sendmsg(). */
static bool frame_in_place(const struct th_body *body, size_t line_len, const char *end,
                           size_t end_len)
{
    uintptr_t first = (uintptr_t)body->room, data = (uintptr_t)body->data;
    uintptr_t behind = data + body->data_len;
    uintptr_t limit = body->raw_len > 0 ? (uintptr_t)body->raw : first + body->room_size;

    if (data < first + line_len || behind + end_len > limit) /* no room, or a held copy elsewhere */
        return false;
    memcpy(body->data - line_len, body->line, line_len);
    memcpy(body->data + body->data_len, end, end_len);
    return true;
}

static void queue_chunk(struct th_body *body, struct th_outgoing *out)
{
    static const char ends[] = "\r\n0\r\n\r\n";
    size_t end_len = body->received ? sizeof ends - 1 : 2;
    size_t line_len = th_chunked_write_line(body->line, body->data_len);

    if (frame_in_place(body, line_len, ends, end_len)) {
        th_outgoing_add(out, body->data - line_len, line_len + body->data_len + end_len);
        return;
    }
    th_outgoing_add(out, body->line, line_len);
    th_outgoing_add(out, body->data, body->data_len);
    th_outgoing_add(out, ends, end_len);
}

void th_body_queue(struct th_body *body, struct th_outgoing *out)
{
    static const char last_chunk[] = "0\r\n\r\n";

    if (body->queued)
        return;
    if (body->out == TH_BODY_AS_IT_IS)
        th_outgoing_add(out, body->data, body->data_len);
    else if (body->data_len > 0)
        queue_chunk(body, out);
    else if (body->received)
        th_outgoing_add(out, last_chunk, sizeof last_chunk - 1);
    body->queued = body->received;
}

void th_body_written(struct th_body *body)
{
    body->data = NULL;
    body->data_len = 0;
    if (body->received) /* what is left belongs to what follows and stays where it is */
        return;
    if (body->raw_len > 0 && body->raw != body->room)
        memmove(body->room, body->raw, body->raw_len);
    body->raw = body->room;
    if (body->out == TH_BODY_CHUNKED && body->raw_len == 0 && body->room_size >= HEADROOM_MIN)
        body->raw += TH_CHUNKED_LINE_MAX; /* for frame_in_place() */
}
