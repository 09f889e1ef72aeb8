/* What the net room keeps for a worker and nobody else looks at. */
#ifndef TH_NET_WORKER_PRIVATE_H
#define TH_NET_WORKER_PRIVATE_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdatomic.h>

#include "tokenhop/net/worker.h"

struct th_worker_private {
    struct th_worker *worker;
    atomic_bool stop;
    bool awake;       /* now_ms is of this turn */
    bool busy;        /* something has happened in this turn */
    uint64_t turn;    /* number of this turn */
    int64_t armed_ms; /* what wheel_event is set to; -1: not */
    struct event wheel_event;
    struct event wake_event;
    struct th_list soon;
    /* Streams whose last receive was short, and the timer that looks after them: see stream.c. */
    struct th_list unconfirmed;
    struct th_timer confirm;
    struct th_timer trim; /* set while there are more free chunks than are kept at rest */
    bool trimmed;         /* the last look has freed some */
};

/* th_worker_awake() without the call. */
static inline void worker_awake(struct th_worker *worker)
{
    struct th_worker_private *inner = worker->private;

    inner->busy = true;
    if (!inner->awake) {
        inner->awake = true;
        worker->now_ms = th_clock_monotonic_ms(worker->clock);
    }
}

/* stream.c: confirms that the streams in `unconfirmed` are drained. */
void th_stream_confirm_all(struct th_timer *timer);

#endif
