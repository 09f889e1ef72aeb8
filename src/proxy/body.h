/* One direction of a hop's body: from what was received, through its framing, to data that can be
 * written on, framed anew. The bytes live in a room that the owner gives (a piece of a chunk):
 *
 *     room ........ data (decoded, to be written) .... raw (received, not decoded) .... free
 *
 * Nothing is received while data waits: one room's worth is all that a direction ever holds.
 *
 * A large body that leaves framed as it came goes past the room, by a pipe from stream to stream
 * (th_body_splice), where neither is TLS. */
#ifndef TOKENHOP_PROXY_BODY_H
#define TOKENHOP_PROXY_BODY_H

#include "outgoing.h"
#include "tokenhop/http/http1.h"

enum th_body_out { TH_BODY_AS_IT_IS, TH_BODY_CHUNKED };

struct th_body {
    enum th_framing framing;
    enum th_body_out out;
    uint64_t remaining; /* with TH_FRAMING_LENGTH: not yet decoded */
    struct th_chunked chunked;
    char *room;
    size_t room_size;
    char *raw;
    size_t raw_len;
    char *touched; /* the room's bytes up to here have held something: to be wiped */
    char *data;
    size_t data_len;
    uint64_t total; /* bytes of data so far */
    bool received;  /* its end has come in */
    bool queued;    /* its end has been handed to the outgoing */
    bool spliced;   /* some of it has gone by pipe */
    char line[TH_CHUNKED_LINE_MAX];
};

/* `raw` of `raw_len` bytes inside the room came together with the head. */
void th_body_init(struct th_body *body, const struct th_head *head, enum th_body_out out,
                  char *room, size_t room_size, char *raw, size_t raw_len);

/* Decodes raw bytes to data. 0, or TH_E_BAD_CHUNK. Sets `received` at the end. Only when there is
 * no data. */
int th_body_decode(struct th_body *body) TH_MUST;
/* Bytes have been received behind the raw ones, by th_body_recv() or by whoever reads ahead. */
void th_body_received(struct th_body *body, size_t n);
/* Receives once into the room: > 0 bytes; 0: the peer has ended (with close-delimited framing that
 * is the body's end); TH_AGAIN; an error. */
ssize_t th_body_recv(struct th_body *body, struct th_stream *stream) TH_MUST;
/* The same past the room, into the pipe of `out`, which is empty: > 0 bytes are on their way to the
 * stream `to` then, never any beyond the body's end. TH_OUTGOING_COPY: not this body, or not now;
 * use th_body_recv(). */
ssize_t th_body_splice(struct th_body *body, struct th_stream *from, struct th_stream *to,
                       struct th_outgoing *out) TH_MUST;
/* Hands all data, framed, and the body's end if it has come, to the outgoing; the data must stay
 * until written. */
void th_body_queue(struct th_body *body, struct th_outgoing *out);
/* After the outgoing has gone: the room of the data is free again. */
void th_body_written(struct th_body *body);

#endif
