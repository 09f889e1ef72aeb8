/* What comes before the first request of a client connection, step by step:
 *
 *   proxy header   what a proxy before us tells of the client, where the listener lists that proxy
 *   TLS            of the listener: a step of its own here, after the header and before `done`
 *   done           requests come
 *
 * A step that waits is run again by the session's next event. All of them together have timeouts.head, which
 * the session's timer was set to as it came. Private to the room. */
#ifndef TOKENHOP_PROXY_ENTRY_H
#define TOKENHOP_PROXY_ENTRY_H

#include "session.h"

enum th_entry_step {
    TH_ENTRY_GO,  /* the stage has changed, or is done */
    TH_ENTRY_WAIT /* an event will tell, or the session is closed */
};

/* With which step the connection begins: it came from there, whatever it will say. */
enum th_entry_stage th_entry_begin(const struct th_desk_listener *listener,
                                   const struct th_address *from);
enum th_entry_step th_entry_run(struct th_session *session);
/* What was begun did not come in time; nothing where all is done. The session is the caller's to close. */
void th_entry_time_out(struct th_session *session);

#endif
