/* What the writer's thread (writer_run.c) and those who hand it lines (writer.c) share. Private to the room. */
#ifndef TOKENHOP_SRC_OBSERVE_WRITER_PRIVATE_H
#define TOKENHOP_SRC_OBSERVE_WRITER_PRIVATE_H

#include <pthread.h>
#include <sys/types.h>

#include "receipt.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/base/list.h"
#include "tokenhop/observe/seal.h"
#include "tokenhop/observe/writer.h"

/* Blocks of at least this size are given back to whoever fills such, a few of them. */
#define TH_WRITER_RECYCLED_SIZE ((size_t)16 * 1024)
#define TH_WRITER_MAX_RECYCLED 4
#define TH_WRITER_POLL_MS 100 /* how often a stuck file looks whether it is to give up */

struct th_writer_file {
    struct th_writer *writer;
    char *name;
    int fd;
    int read_fd;  /* of a sealed regular one, the same file; -1: none */
    bool is_path; /* opened here: closed and reopened here */
    bool is_regular;
    bool is_torn; /* a line was written in part: the next one begins on a line of its own */
    bool is_sealed;
    off_t end;           /* of what is known of a sealed one; the thread's */
    struct th_seal seal; /* of the last whole line there; likewise */
    uint64_t
        n_missing; /* lines that could not be written behind that: their numbers stay free; likewise */
    struct th_buf sealed;         /* its room for what is sealed; likewise */
    struct th_writer_stats stats; /* under the lock */
};

struct th_writer_block {
    struct th_list link;
    struct th_writer_file *file;
    char *ptr;
    size_t len;
    size_t size;
    unsigned n_lines;
    struct th_writer_receipt *receipt; /* NULL: nobody waits */
};

/* Process. The lock is held for a few instructions, never while something is written. */
struct th_writer {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake; /* the thread: there is something to do */
    pthread_cond_t done; /* who waits: a block is written, or the thread has ended */
    size_t max_queued;

    /* under the lock */
    struct th_list queue;
    size_t n_queued; /* bytes, those being written included */
    uint64_t n_put;  /* blocks */
    uint64_t n_done; /* blocks written, or failed to be */
    bool must_reopen;
    bool must_stop;
    bool must_give_up; /* the time to stop in is over */
    bool has_ended;
    struct {
        char *ptr;
        size_t size;
    } recycled[TH_WRITER_MAX_RECYCLED];
    unsigned n_recycled;
    struct th_writer_file files[TH_WRITER_MAX_FILES];
    size_t n_files;
    struct th_list watches;
};

static inline void th_writer_lock(struct th_writer *writer)
{
    pthread_mutex_lock(&writer->lock);
}

static inline void th_writer_unlock(struct th_writer *writer)
{
    pthread_mutex_unlock(&writer->lock);
}

/* The thread; `writer` is its argument. */
void *th_writer_run(void *writer);
/* Not blocking, as opening a FIFO without a reader would wait for one. */
int th_writer_open_path(const char *path);
bool th_writer_is_regular(int fd);

#endif
