#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared_file.h"
#include "tokenhop/base/mem.h"
#include "writer_private.h"

/* Blocks that are written at once. */
#define MAX_RUN 64
#define MAX_RUN_SIZE ((size_t)256 * 1024)

static bool gives_up(struct th_writer *writer)
{
    th_writer_lock(writer);
    bool must_give_up = writer->must_give_up;
    th_writer_unlock(writer);
    return must_give_up;
}

/* Waits until the descriptor takes bytes: 0, or the errno that ends the attempt. */
static int await_room(struct th_writer_file *file)
{
    for (;;) {
        struct pollfd room = {.fd = file->fd, .events = POLLOUT};
        int n = poll(&room, 1, TH_WRITER_POLL_MS);
        if (n > 0)
            return 0; /* of an error, write() tells which */
        if (n < 0 && errno != EINTR)
            return errno;
        if (gives_up(file->writer))
            return ETIMEDOUT;
    }
}

/* Writes all: 0 or an errno. Pieces of PIPE_BUF at most, as poll() promises no more than that to a
 * blocking pipe. Standard output's own flags are left alone: others share them. */
static int write_all(struct th_writer_file *file, const char *bytes, size_t len,
                     size_t *ret_written)
{
    *ret_written = 0;
    while (len > *ret_written) {
        int error = await_room(file); /* a regular file is always ready */
        if (error != 0)
            return error;
        struct stat st;
        size_t piece = len - *ret_written;
        if (piece > PIPE_BUF && (fstat(file->fd, &st) != 0 || !S_ISREG(st.st_mode)))
            piece = PIPE_BUF;
        ssize_t n = write(file->fd, bytes + *ret_written, piece);
        if (n > 0)
            *ret_written += (size_t)n;
        else if (n < 0 && errno != EINTR && errno != EAGAIN)
            return errno;
    }
    return 0;
}

static unsigned count_lines(const char *bytes, size_t len)
{
    unsigned n = 0;
    for (const char *end = bytes + len;
         (bytes = memchr(bytes, '\n', (size_t)(end - bytes))) != NULL; bytes++)
        n++;
    return n;
}

/* ---- blocks: some that go into one file, one after the other, are written at once ---- */

struct run {
    struct th_writer_file *file;
    struct th_writer_block *blocks[MAX_RUN];
    size_t n;
    bool is_waited;     /* by somebody */
    struct th_str text; /* all of it, as it goes into the file */
};

/* Takes those from the front that can be written together: of a sealed file, whose lines are copied anyway. */
static void run_take(struct run *run, struct th_list *blocks)
{
    size_t len = 0;
    run->n = 0;
    run->is_waited = false;
    while (!th_list_is_empty(blocks) && run->n < MAX_RUN) {
        struct th_writer_block *block = TH_LIST_ENTRY(blocks->next, struct th_writer_block, link);
        if (run->n > 0 &&
            (block->file != run->file || len + block->len > MAX_RUN_SIZE || !run->file->is_sealed))
            return;
        (void)th_list_pop_front(blocks);
        run->file = block->file;
        run->blocks[run->n++] = block;
        run->is_waited |= block->receipt != NULL;
        len += block->len;
    }
}

static void block_finish(struct th_writer *writer, struct th_writer_block *block)
{
    char *ptr = block->ptr;
    th_writer_lock(writer);
    writer->n_queued -= block->len;
    writer->n_done++;
    if (block->size >= TH_WRITER_RECYCLED_SIZE && writer->n_recycled < TH_WRITER_MAX_RECYCLED) {
        writer->recycled[writer->n_recycled].ptr = ptr;
        writer->recycled[writer->n_recycled++].size = block->size;
        ptr = NULL;
    }
    pthread_cond_broadcast(&writer->done);
    th_writer_unlock(writer);
    th_free(ptr);
    th_free(block);
}

/* What nobody wants written any more is left out. From now on it cannot be withdrawn: so not before there is room
 * to write. */
static void run_claim(struct run *run)
{
    struct th_writer *writer = run->file->writer;
    size_t n = 0;
    for (size_t i = 0; i < run->n; i++) {
        struct th_writer_block *block = run->blocks[i];
        if (th_writer_receipt_claim(block->receipt)) {
            run->blocks[n++] = block;
            continue;
        }
        th_writer_lock(writer);
        run->file->stats.n_withdrawn += block->n_lines;
        th_writer_unlock(writer);
        block_finish(writer, block);
    }
    run->n = n;
}

/* What goes into the file: of a sealed one, the lines with their seals. Lines that are sealed and then cannot
 * be written are missing in the file, and are seen to be. 0 or an errno. */
static int run_seal(struct run *run)
{
    struct th_writer_file *file = run->file;
    size_t size = 0;
    run->text = (struct th_str){run->blocks[0]->ptr, run->blocks[0]->len};
    if (!file->is_sealed)
        return 0;
    for (size_t i = 0; i < run->n; i++)
        size += run->blocks[i]->len + run->blocks[i]->n_lines * TH_SEAL_ROOM;
    th_buf_fini(&file->sealed);
    th_buf_init(&file->sealed, size);
    const struct th_seal before = file->seal;
    for (size_t i = 0; i < run->n; i++) {
        struct th_str lines = {run->blocks[i]->ptr, run->blocks[i]->len};
        if (th_seal_lines(&file->seal, lines, &file->sealed) != 0) {
            file->seal = before;
            return ENOMEM;
        }
    }
    run->text = th_buf_str(&file->sealed);
    return 0;
}

/* 0 or an errno, and how many lines were written in any case. */
static int run_write(struct run *run, unsigned *ret_n_lines)
{
    struct th_writer_file *file = run->file;
    size_t written = 0;
    *ret_n_lines = UINT_MAX; /* all */
    int error = run_seal(run);
    if (error == 0 && file->is_torn) {
        error = write_all(file, "\n", 1, &written);
        file->is_torn = error != 0;
        written = 0;
    }
    if (error == 0)
        error = write_all(file, run->text.ptr, run->text.len, &written);
    if (error != 0 && written > 0)
        file->is_torn = run->text.ptr[written - 1] != '\n';
    if (error != 0)
        *ret_n_lines = count_lines(run->text.ptr, written);
    return error;
}

static int run_share(struct run *run, unsigned *ret_n_lines)
{
    struct th_writer_file *file = run->file;
    if (!file->is_sealed)
        return run_write(run, ret_n_lines);
    int error = th_shared_file_begin(file);
    if (error != 0)
        return error;
    error = run_write(run, ret_n_lines);
    th_shared_file_end(file);
    return error;
}

static void run_settle(struct run *run, int error, unsigned n_written)
{
    struct th_writer *writer = run->file->writer;
    struct th_writer_stats *stats = &run->file->stats;
    unsigned n_left = n_written;
    for (size_t i = 0; i < run->n; i++) {
        struct th_writer_block *block = run->blocks[i];
        struct th_writer_watch *watch = block->receipt != NULL ? block->receipt->watch : NULL;
        unsigned n = block->n_lines < n_left ? block->n_lines : n_left;
        n_left -= n;
        /* Under the lock, as whoever sees it settled may free the watch. */
        th_writer_lock(writer);
        stats->n_written += n;
        stats->n_failed += block->n_lines - n;
        stats->write_errno = error;
        stats->seal = run->file->seal;
        if (th_writer_receipt_settle(block->receipt, n == block->n_lines))
            watch->is_due = true;
        th_writer_unlock(writer);
        block_finish(writer, block);
    }
}

static void tell_watches(struct th_writer *writer)
{
    th_writer_lock(writer);
    TH_LIST_EACH(item, &writer->watches) {
        struct th_writer_watch *watch = TH_LIST_ENTRY(item, struct th_writer_watch, link);
        bool is_due = watch->is_due;
        watch->is_due = false;
        if (is_due && watch->fn != NULL)
            watch->fn(watch->arg);
    }
    th_writer_unlock(writer);
}

static void write_blocks(struct th_writer *writer, struct th_list *blocks)
{
    struct run run;
    while (!th_list_is_empty(blocks)) {
        unsigned n_lines = 0;
        run_take(&run, blocks);
        int error = run.is_waited ? await_room(run.file) : 0;
        run_claim(&run);
        if (run.n == 0)
            continue;
        if (error == 0)
            error = run_share(&run, &n_lines);
        run_settle(&run, error, n_lines);
        tell_watches(writer);
    }
}

int th_writer_open_path(const char *path)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
}

static void reopen_all(struct th_writer *writer, size_t n_files)
{
    for (size_t i = 0; i < n_files; i++) {
        struct th_writer_file *file = &writer->files[i];
        if (!file->is_path)
            continue;
        int error = th_shared_file_reopen(file);
        th_writer_lock(writer);
        file->stats.reopen_errno = error;
        th_writer_unlock(writer);
    }
}

void *th_writer_run(void *argument)
{
    struct th_writer *writer = argument;
    for (;;) {
        struct th_list blocks;
        th_list_init(&blocks);
        th_writer_lock(writer);
        while (th_list_is_empty(&writer->queue) && !writer->must_stop && !writer->must_reopen)
            pthread_cond_wait(&writer->wake, &writer->lock);
        bool must_reopen = writer->must_reopen;
        bool must_stop = writer->must_stop;
        size_t n_files = writer->n_files;
        writer->must_reopen = false;
        th_list_splice_back(&blocks, &writer->queue);
        th_writer_unlock(writer);
        if (must_reopen)
            reopen_all(writer, n_files);
        if (must_stop && th_list_is_empty(&blocks))
            break;
        write_blocks(writer, &blocks);
    }
    th_writer_lock(writer);
    writer->has_ended = true;
    pthread_cond_broadcast(&writer->done);
    th_writer_unlock(writer);
    return NULL;
}
