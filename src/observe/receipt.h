/* What becomes of lines that somebody waits for, between whoever put them and the writer's thread. Private to the
 * room. Freed by the one of the two who is done with it last. */
#ifndef TOKENHOP_SRC_OBSERVE_RECEIPT_H
#define TOKENHOP_SRC_OBSERVE_RECEIPT_H

#include <stdatomic.h>
#include <stdbool.h>

#include "tokenhop/base/list.h"
#include "tokenhop/observe/writer.h"

struct th_writer_receipt {
    atomic_int state; /* enum th_writer_fate, or what only the two know */
    struct th_writer_watch *watch;
};

struct th_writer_watch {
    struct th_writer *writer;
    struct th_list link; /* of the writer's */
    /* under the writer's lock */
    void (*fn)(void *arg);
    void *arg;
    bool is_due;
};

/* The writer's: whether the lines are to be written still. Until they are settled they cannot be withdrawn. NULL:
 * nobody waits. */
bool th_writer_receipt_claim(struct th_writer_receipt *receipt) TH_MUST;
/* Likewise: they were written, or lost. Whether somebody waits to be told. */
bool th_writer_receipt_settle(struct th_writer_receipt *receipt, bool is_written);

#endif
