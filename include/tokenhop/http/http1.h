/* The HTTP/1.1 codec (RFC 9112): strict. What is ambiguous is refused, never repaired (R1 to R4),
 * and what is forwarded is written anew from what was parsed. No allocation, no I/O; any thread. */
#ifndef TOKENHOP_HTTP_HTTP1_H
#define TOKENHOP_HTTP_HTTP1_H

#include "tokenhop/base/error.h"
#include "tokenhop/http/message.h"

struct th_http1_limits {
    size_t head;   /* bytes of the whole head */
    size_t fields; /* at most the size of the array in th_head */
};

/* Parses a head at the front of `bytes`. The caller has set head->fields and max_fields.
 * `scanned` is the caller's memory of how far earlier calls have looked (starts 0, and is 0 again
 * when a head is complete or refused). Nothing else is kept: `head` and its fields may be other
 * ones, and the bytes may have moved. A head that drips in is gone through again only when another
 * line of it is complete.
 *
 * 0: complete: head->len bytes are the head; framing, keep_alive and the other facts are filled in,
 *    hop-by-hop fields and those that Connection names are marked dropped.
 * TH_AGAIN: more bytes are needed (and there are fewer than limits->head).
 * TH_E_*: refused. Requests: BAD_REQUEST, BAD_FRAMING, BAD_TARGET, VERSION, URI_TOO_LONG,
 *    HEAD_TOO_LARGE. Responses: ORIGIN_PROTOCOL, ORIGIN_HEAD_LARGE.
 *
 * A mistake in a line is found when the line is complete, not only when the head is. One empty line
 * before a request line is passed over (RFC 9112, 2.2) and counted in head->len. */
int th_http1_parse_request(struct th_head *head, const char *bytes, size_t len, size_t *scanned,
                           const struct th_http1_limits *limits) TH_MUST;
/* `request_method` decides framing: an answer to HEAD has no body, one to CONNECT (2xx) neither. */
int th_http1_parse_response(struct th_head *head, const char *bytes, size_t len, size_t *scanned,
                            const struct th_http1_limits *limits,
                            enum th_method request_method) TH_MUST;

/* --- chunked bodies (RFC 9112, 7.1) --- */

#define TH_CHUNKED_TRAILER_MAX 8192
#define TH_CHUNKED_DONE 1

struct th_chunked {
    uint8_t state;
    uint8_t digits;
    uint16_t line;       /* bytes of the current size line, extensions and trailer line */
    uint32_t extensions; /* bytes of extensions in all: bounded */
    uint64_t remaining;
    /* Trailer fields as received, each line with its CRLF, collected by the decoder if the caller
     * gave room. */
    char *trailer;
    size_t trailer_size;
    size_t trailer_len;
};

void th_chunked_init(struct th_chunked *chunked);
/* Decodes in place: takes *ret_taken of the `len` bytes and leaves *ret_data bytes of data, moved
 * together, at the front of `bytes`. 0: more to come. TH_CHUNKED_DONE: the last chunk and its
 * trailers are through; bytes after *ret_taken belong to what follows. TH_E_BAD_CHUNK: malformed.
 * Trailers beyond TH_CHUNKED_TRAILER_MAX or the limits of a head's fields are refused as well. */
int th_chunked_decode(struct th_chunked *chunked, char *bytes, size_t len, size_t *ret_taken,
                      size_t *ret_data) TH_MUST;
/* Parses collected trailer lines into fields; those that may not leave as trailers
 * (TH_HEADER_NO_TRAILER, HOP, FRAMING) are marked dropped (R3). The count, or TH_E_BAD_CHUNK. */
int th_chunked_parse_trailers(struct th_str trailer, struct th_field *fields,
                              size_t max_fields) TH_MUST;

#define TH_CHUNKED_LINE_MAX 20 /* size in hexadecimal, CRLF */
/* Writes the line before `size` > 0 bytes of data ("1f40\r\n") and returns its length. */
size_t th_chunked_write_line(char ret_line[TH_CHUNKED_LINE_MAX], uint64_t size);

/* --- writing --- */

/* Room that a head is written into. `overflow` sticks: write many times, check once. It is set as
 * well, and nothing written, when a field's name or value or a reason holds bytes that would end
 * its line (CR, LF, NUL, other controls). */
struct th_writer {
    char *ptr;
    size_t len;
    size_t size;
    bool overflow;
};

static inline void th_writer_init(struct th_writer *w, char *room, size_t size)
{
    *w = (struct th_writer){room, 0, size, false};
}

static inline void th_writer_add(struct th_writer *w, struct th_str text)
{
    if (w->size - w->len < text.len) {
        w->overflow = true;
        return;
    }
    memcpy(w->ptr + w->len, text.ptr, text.len);
    w->len += text.len;
}

void th_writer_add_u64(struct th_writer *w, uint64_t number);
/* "name: value\r\n" */
void th_writer_add_field(struct th_writer *w, struct th_str name, struct th_str value);
/* All fields that are not dropped, as they came, in their order, but for those of
 * TH_HEADER_FRAMING. */
void th_writer_add_fields(struct th_writer *w, const struct th_head *head);

/* "HTTP/1.1 200 OK\r\n"; the standard reason when `reason` is empty. */
void th_writer_add_status_line(struct th_writer *w, int status, struct th_str reason);
struct th_str th_http_reason(int status); /* empty when unknown */

#endif
