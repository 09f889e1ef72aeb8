/* A session: one client connection. It carries one hop at a time; what it has received beyond that
 * (pipelined requests) waits in its chunk. Idle, it holds no chunk and no hop. Private to the room.
 */
#ifndef TOKENHOP_PROXY_SESSION_H
#define TOKENHOP_PROXY_SESSION_H

#include "desk.h"
#include "tokenhop/gate/caller.h"
#include "tokenhop/net/stream.h"
#include "tokenhop/token/account.h"

struct th_hop;
struct th_secure;
struct th_tunnel;

/* How far a connection has come before its first request: entry.h. */
enum th_entry_stage { TH_ENTRY_PROXY_HEADER, TH_ENTRY_DONE };

struct th_session {
    uint32_t magic;
    uint8_t entry;        /* enum th_entry_stage */
    bool closing : 1;     /* after the current hop: say goodbye */
    bool lingering : 1;   /* the answer is out, the client's bytes are read and thrown away */
    bool half_closed : 1; /* the client has ended its side */
    bool running : 1;     /* th_session_run() is on the stack */
    bool closed : 1;
    bool has_asked : 1;   /* at least one request has begun */
    bool is_admitted : 1; /* at least one was admitted: it is no newcomer (desk.h) */
    bool is_anybody : 1;  /* `peer` is a proxy, which could not say whose connection it passes on */
    struct th_stream stream;
    struct th_timer timer; /* head, idle, linger */
    struct th_list link;   /* of the desk */
    struct th_grave grave;
    struct th_soon soon; /* goes on in the next turn, after others had theirs */
    struct th_desk_listener *listener;
    struct th_hop *hop;
    struct th_chunk *in;
    struct th_secure *secure;       /* the listener's TLS; NULL: it speaks none */
    struct th_tunnel *tunnel;       /* inside of a CONNECT: what it named */
    struct th_address peer;         /* who connected, or whom a listed proxy named */
    struct th_unix_peer *unix_peer; /* NULL: it came over no unix socket */
    /* admit.h: among whose connections it is; and its own account, where it is told by its address */
    struct th_account *counted[TH_ACCOUNT_KINDS], *by_address;
    uint32_t lingered; /* bytes thrown away */
};

/* What the gate may tell a caller by. */
static inline struct th_caller_facts th_session_facts(const struct th_session *session)
{
    return (struct th_caller_facts){.peer = session->unix_peer};
}

/* Takes over the descriptor. */
void th_session_new(struct th_desk_listener *listener, int fd, const struct th_address *peer);
/* Who it is, for logs: "127.0.0.1:40000", "unix:uid=1000,gid=1000,pid=4711". */
void th_session_format_client(const struct th_session *session, char ret_text[TH_ADDRESS_TEXT_MAX]);
/* Its caller is known, and had room: who is new goes before it when there is no room for all. */
void th_session_note_admission(struct th_session *session);
/* Goes on with whatever is next: called when the client side has an event, and when a hop has
 * ended. */
void th_session_run(struct th_session *session);
/* Goes on in the next turn of the loop. */
void th_session_run_soon(struct th_session *session);
/* Now, whatever runs; a hop on it is cancelled. */
void th_session_close(struct th_session *session);
/* While a hop waits for something else: takes in what the client sends meanwhile, as far as there
 * is room, so that its leaving is noticed. False: it is gone. */
bool th_session_read_ahead(struct th_session *session);
/* Whether the client has sent more behind a request to switch protocols, which its hop is about to answer with
 * something else: what it meant by them nobody knows, and they must not be read as a request (RFC 9931). */
bool th_session_has_early_bytes(struct th_session *session);

#endif
