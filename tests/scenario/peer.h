/* The far ends of the proxy's connections: clients and origins. A peer reads what comes at once, unless
 * it was told to hold, and remembers all of it. */
#ifndef TOKENHOP_TESTS_SCENARIO_PEER_H
#define TOKENHOP_TESTS_SCENARIO_PEER_H

#include "bytes.h"
#include "tokenhop/net/address.h"

enum peer_side { PEER_CLIENT, PEER_ORIGIN };

struct peer {
    struct peer *next;
    char name[32];
    enum peer_side side;
    struct th_address address; /* an origin's: what was connected to */
    int fd;                    /* -1: closed by this side */
    bool claimed;              /* an origin that the script has named */
    bool tcp;
    bool holds;           /* does not read */
    bool ended;           /* the proxy has closed, or reset */
    bool was_reset;       /* by the proxy */
    struct bytes got;     /* all that ever came */
    size_t used;          /* of it: what expectations have taken */
    struct bytes waiting; /* to be sent when the proxy takes it */
    bool shut;            /* half-closed once `waiting` is out */
    /* Of a message whose head alone was taken: what its end is known by. */
    bool inside;
    bool inside_chunked;
    bool inside_close;
    uint64_t inside_left;
};

/* A connected pair, non-blocking: over TCP where a reset matters, else AF_UNIX, which delivers at once. */
void peer_pair(bool tcp, int ret_fds[2]);
struct peer *peer_new(enum peer_side side, int fd, bool tcp);
void peer_free(struct peer *peer);
/* Moves what can be moved, at most `max` bytes in; whether anything did. */
bool peer_move(struct peer *peer, size_t max);
void peer_send(struct peer *peer, const void *bytes, size_t len);
void peer_close(struct peer *peer);
void peer_reset(struct peer *peer); /* TCP only */
static inline struct th_str peer_rest(const struct peer *peer)
{
    return (struct th_str){peer->got.ptr != NULL ? peer->got.ptr + peer->used : "",
                           peer->got.len - peer->used};
}

/* A message taken apart, by rules of this file's own: what is tested does not judge itself. */
#define MESSAGE_FIELDS_MAX 128
struct message {
    struct th_str start; /* the request or status line */
    struct {
        struct th_str name, value;
    } fields[MESSAGE_FIELDS_MAX];
    size_t n_fields;
    size_t head_len;
    size_t len; /* head, body and its framing */
    struct bytes body;
    bool chunked, close_ended;
    uint64_t content_length;
};

enum message_state { MESSAGE_WHOLE, MESSAGE_PARTIAL, MESSAGE_BAD };

/* `bodyless`: an answer to HEAD. `ended`: nothing more will come. */
enum message_state message_read(struct th_str bytes, bool is_response, bool bodyless, bool ended,
                                struct message *ret_message, const char **ret_why);
/* The head alone; MESSAGE_WHOLE when it is there. */
enum message_state message_read_head(struct th_str bytes, struct message *ret_message,
                                     const char **ret_why);
void message_fini(struct message *message);
/* The value of the first field of that name; ptr NULL: there is none. */
struct th_str message_find(const struct message *message, struct th_str name);
/* Data of a chunked body: WHOLE with *ret_len, PARTIAL, or BAD. */
enum message_state message_dechunk(struct th_str bytes, struct bytes *ret_body, size_t *ret_len);

#endif
