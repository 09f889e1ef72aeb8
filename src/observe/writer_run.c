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
        size_t piece = len - *ret_written;
        if (piece > PIPE_BUF && !file->is_regular)
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
    bool is_waited;        /* by somebody */
    struct th_seal before; /* of a sealed file: what the first line goes on from */
    struct th_str text;    /* all of it, as it goes into the file */
};

/* Takes those from the front that can be written together: of a sealed regular file, whose lines are copied anyway,
 * and which has room for all or none. Of a pipe nobody knows when there is room for the second. */
static void run_take(struct run *run, struct th_list *blocks)
{
    size_t len = 0;
    run->n = 0;
    run->is_waited = false;
    while (!th_list_is_empty(blocks) && run->n < MAX_RUN) {
        struct th_writer_block *block = TH_LIST_ENTRY(blocks->next, struct th_writer_block, link);
        if (run->n > 0 && (block->file != run->file || len + block->len > MAX_RUN_SIZE ||
                           !run->file->is_sealed || !run->file->is_regular))
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
 * to write, and nobody else does. */
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

/* What goes into the file: of a sealed one, the lines with their seals. 0 or an errno. */
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
    run->before = file->seal;
    file->seal.number += file->n_missing;
    for (size_t i = 0; i < run->n; i++) {
        struct th_str lines = {run->blocks[i]->ptr, run->blocks[i]->len};
        if (th_seal_lines(&file->seal, lines, &file->sealed) != 0) {
            file->seal = run->before;
            return ENOMEM;
        }
    }
    run->text = th_buf_str(&file->sealed);
    return 0;
}

/* Back to the last line that was written whole, which is what other processes see and go on from. The numbers of the
 * others are not given to the next, so that it is seen that some are missing. */
static void run_unseal(struct run *run, size_t written)
{
    struct th_writer_file *file = run->file;
    struct th_str text = {run->text.ptr, written};
    uint64_t last = file->seal.number;
    const char *end;
    file->seal = run->before;
    while ((end = memchr(text.ptr, '\n', text.len)) != NULL) {
        size_t len = (size_t)(end - text.ptr);
        (void)th_seal_check(&file->seal, (struct th_str){text.ptr, len});
        text = (struct th_str){end + 1, text.len - len - 1};
    }
    file->n_missing = last - file->seal.number;
}

/* 0 or an errno, and how many lines were written in any case. */
static int run_write(struct run *run, unsigned *ret_n_lines)
{
    struct th_writer_file *file = run->file;
    size_t written = 0;
    *ret_n_lines = UINT_MAX; /* all */
    int error = run_seal(run);
    if (error != 0) {
        *ret_n_lines = 0;
        return error;
    }
    if (file->is_torn) {
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
    if (file->is_sealed && error != 0)
        run_unseal(run, written);
    else
        file->n_missing = 0;
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
    struct run run = {.file = NULL};
    while (!th_list_is_empty(blocks)) {
        unsigned n_lines = 0;
        run_take(&run, blocks);
        int error = run.is_waited ? await_room(run.file) : 0;
        bool is_begun = error == 0 && run.file->is_sealed;
        if (is_begun)
            error = th_shared_file_begin(run.file);
        is_begun = is_begun && error == 0;
        run_claim(&run);
        if (run.n > 0 && error == 0)
            error = run_write(&run, &n_lines);
        if (is_begun)
            th_shared_file_end(run.file);
        if (run.n == 0)
            continue;
        run_settle(&run, error, n_lines);
        tell_watches(writer);
    }
}

bool th_writer_is_regular(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
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
