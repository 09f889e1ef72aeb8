/* The thread that writes logs, so that no worker waits for a disk or a pipe. Blocks of whole lines
 * are handed over through a queue bounded in bytes; when it is full they are dropped and counted.
 *
 * One writer serves several files (error, access and audit log); one that is stuck holds the others
 * up. Any thread may call, but for new,
 * open and free: one thread, before the others start and after they ended. */
#ifndef TOKENHOP_OBSERVE_WRITER_H
#define TOKENHOP_OBSERVE_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tokenhop/base/buf.h"
#include "tokenhop/base/error.h"
#include "tokenhop/observe/seal.h"

#define TH_WRITER_MAX_FILES 8

struct th_writer;
struct th_writer_file;

/* `max_queued` bytes are queued at most, over all files (0: 4 MiB). Starts the thread. */
int th_writer_new(size_t max_queued, struct th_writer **ret_writer,
                  struct th_errinfo *reterr) TH_MUST;
/* Writes what is queued, but for `timeout_ms` at most, then stops. What a stuck reader or disk
 * holds up after that is lost, and the thread left behind. NULL is fine. */
struct th_writer *th_writer_free(struct th_writer *writer, int timeout_ms);

/* Appends to a path (made with mode 0640), or to standard output when it is "-". The file belongs
 * to the writer. */
int th_writer_open(struct th_writer *writer, const char *path, struct th_writer_file **ret_file,
                   struct th_errinfo *reterr) TH_MUST;
/* Writes to a descriptor that the caller keeps open, such as standard error. Not reopened. */
int th_writer_open_fd(struct th_writer *writer, int fd, const char *name,
                      struct th_writer_file **ret_file, struct th_errinfo *reterr) TH_MUST;

/* From the next line on, each is sealed (seal.h); a path goes on where its last line ends. Before anything is
 * put. */
int th_writer_seal(struct th_writer_file *file, struct th_errinfo *reterr) TH_MUST;

/* Takes the bytes out of `lines` (`n_lines` whole ones, each ended by a line feed) and leaves it
 * empty, perhaps with room that an earlier block gave back. False when they had to be dropped. */
bool th_writer_put(struct th_writer_file *file, struct th_buf *lines, unsigned n_lines);

/* Lines that somebody waits for, to do nothing before they are written, which means: taken by the kernel. */
enum th_writer_fate { TH_WRITER_PENDING, TH_WRITER_WRITTEN, TH_WRITER_LOST };

/* Whom to tell that some are settled: `fn` is called by the writer's thread, once for all that it has written at
 * once, under a lock: it must be short and not call the writer. Made with none, which is fine. NULL: memory is
 * short. */
struct th_writer_watch;
struct th_writer_watch *th_writer_watch_new(struct th_writer_file *file) TH_MUST;
void th_writer_watch_set(struct th_writer_watch *watch, void (*fn)(void *arg), void *arg);
/* `fn` is not called any more. All receipts must have gone. NULL is fine. */
struct th_writer_watch *th_writer_watch_free(struct th_writer_watch *watch);

/* As th_writer_put(). NULL: they had to be dropped. Else the caller's, who gives it back by one of the two below. */
struct th_writer_receipt;
struct th_writer_receipt *th_writer_put_watched(struct th_writer_file *file, struct th_buf *lines,
                                                unsigned n_lines,
                                                struct th_writer_watch *watch) TH_MUST;
enum th_writer_fate th_writer_receipt_fate(const struct th_writer_receipt *receipt);
/* What is not settled will be all the same. NULL is fine. */
struct th_writer_receipt *th_writer_receipt_free(struct th_writer_receipt *receipt);
/* Likewise given back: lines that are neither written nor being written never are. */
void th_writer_receipt_withdraw(struct th_writer_receipt *receipt);

/* Opens paths anew before the next line is written, after they were rotated. A path that cannot be
 * opened keeps its old descriptor and shows as `reopen_errno`. */
void th_writer_reopen(struct th_writer *writer);

/* Waits until all that was put so far is written: false when the time was over first. */
bool th_writer_flush(struct th_writer *writer, int timeout_ms) TH_MUST;

struct th_writer_stats {
    const char *name;     /* the path; the file's */
    uint64_t n_written;   /* lines */
    uint64_t n_dropped;   /* lines, as the queue was full or memory short */
    uint64_t n_failed;    /* lines that could not be written */
    uint64_t n_withdrawn; /* lines that nobody waited for any more before they were written */
    struct th_seal seal;  /* of the last line of a sealed one */
    int write_errno;      /* of the last write; 0 when it went well */
    int reopen_errno;     /* of the last reopening, likewise */
};

/* Of each file, in the order of opening; returns how many. */
size_t th_writer_get_stats(struct th_writer *writer,
                           struct th_writer_stats ret_stats[TH_WRITER_MAX_FILES]);

#endif
