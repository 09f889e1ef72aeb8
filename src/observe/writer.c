#include "tokenhop/observe/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/list.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/observe/seal.h"

#define DEFAULT_MAX_QUEUED ((size_t)4 * 1024 * 1024)
/* Blocks of at least this size are given back to whoever fills such, a few of them. */
#define RECYCLED_SIZE ((size_t)16 * 1024)
#define MAX_RECYCLED 4
#define POLL_MS 100 /* how often a stuck file looks whether it is to give up */

struct th_writer_file {
    struct th_writer *writer;
    char *name;
    int fd;
    bool is_path; /* opened here: closed and reopened here */
    bool is_torn; /* a line was written in part: the next one begins on a line of its own */
    bool is_sealed;
    struct th_seal seal;          /* the thread's */
    struct th_buf sealed;         /* its room for what is sealed; likewise */
    atomic_bool is_failing;       /* the last write did */
    struct th_writer_stats stats; /* under the lock */
};

struct block {
    struct th_list link;
    struct th_writer_file *file;
    char *ptr;
    size_t len;
    size_t size;
    unsigned n_lines;
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
    } recycled[MAX_RECYCLED];
    unsigned n_recycled;
    struct th_writer_file files[TH_WRITER_MAX_FILES];
    size_t n_files;
};

static void lock(struct th_writer *writer)
{
    pthread_mutex_lock(&writer->lock);
}

static void unlock(struct th_writer *writer)
{
    pthread_mutex_unlock(&writer->lock);
}

/* ---- the writer's thread ---- */

static bool gives_up(struct th_writer *writer)
{
    lock(writer);
    bool must_give_up = writer->must_give_up;
    unlock(writer);
    return must_give_up;
}

/* Waits until the descriptor takes bytes: 0, or the errno that ends the attempt. */
static int await_room(struct th_writer_file *file)
{
    for (;;) {
        struct pollfd room = {.fd = file->fd, .events = POLLOUT};
        int n = poll(&room, 1, POLL_MS);
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

/* What goes into the file: of a sealed one, the lines with their seals. Lines that are sealed and then cannot
 * be written are missing in the file, and are seen to be. 0 or an errno. */
static int block_seal(const struct block *block, struct th_str *ret_text)
{
    struct th_writer_file *file = block->file;
    *ret_text = (struct th_str){block->ptr, block->len};
    if (!file->is_sealed)
        return 0;
    th_buf_fini(&file->sealed);
    th_buf_init(&file->sealed, block->len + block->n_lines * TH_SEAL_ROOM);
    if (th_seal_lines(&file->seal, *ret_text, &file->sealed) != 0)
        return ENOMEM;
    *ret_text = th_buf_str(&file->sealed);
    return 0;
}

static void block_write(const struct block *block)
{
    struct th_writer_file *file = block->file;
    struct th_str text;
    size_t written = 0;
    int error = block_seal(block, &text);
    if (error == 0 && file->is_torn) {
        error = write_all(file, "\n", 1, &written);
        file->is_torn = error != 0;
        written = 0;
    }
    if (error == 0)
        error = write_all(file, text.ptr, text.len, &written);
    unsigned n_written = error == 0 ? block->n_lines : count_lines(text.ptr, written);
    if (error != 0 && written > 0)
        file->is_torn = text.ptr[written - 1] != '\n';
    atomic_store_explicit(&file->is_failing, error != 0, memory_order_relaxed);
    lock(file->writer);
    file->stats.n_written += n_written;
    file->stats.n_failed += block->n_lines - n_written;
    file->stats.write_errno = error;
    unlock(file->writer);
}

static void block_finish(struct th_writer *writer, struct block *block)
{
    char *ptr = block->ptr;
    lock(writer);
    writer->n_queued -= block->len;
    writer->n_done++;
    if (block->size >= RECYCLED_SIZE && writer->n_recycled < MAX_RECYCLED) {
        writer->recycled[writer->n_recycled].ptr = ptr;
        writer->recycled[writer->n_recycled++].size = block->size;
        ptr = NULL;
    }
    pthread_cond_broadcast(&writer->done);
    unlock(writer);
    th_free(ptr);
    th_free(block);
}

/* Not blocking, as opening a FIFO without a reader would wait for one. */
static int open_path(const char *path)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
}

static void reopen_all(struct th_writer *writer, size_t n_files)
{
    for (size_t i = 0; i < n_files; i++) {
        struct th_writer_file *file = &writer->files[i];
        if (!file->is_path)
            continue;
        int fd = open_path(file->name);
        int error = fd < 0 ? errno : 0;
        if (fd >= 0) {
            (void)close(file->fd);
            file->fd = fd;
            file->is_torn = false;
        }
        lock(writer);
        file->stats.reopen_errno = error;
        unlock(writer);
    }
}

static void *writer_run(void *argument)
{
    struct th_writer *writer = argument;
    for (;;) {
        struct th_list blocks;
        th_list_init(&blocks);
        lock(writer);
        while (th_list_is_empty(&writer->queue) && !writer->must_stop && !writer->must_reopen)
            pthread_cond_wait(&writer->wake, &writer->lock);
        bool must_reopen = writer->must_reopen;
        bool must_stop = writer->must_stop;
        size_t n_files = writer->n_files;
        writer->must_reopen = false;
        th_list_splice_back(&blocks, &writer->queue);
        unlock(writer);
        if (must_reopen)
            reopen_all(writer, n_files);
        if (must_stop && th_list_is_empty(&blocks))
            break;
        for (struct th_list *item; (item = th_list_pop_front(&blocks)) != NULL;) {
            struct block *block = TH_LIST_ENTRY(item, struct block, link);
            block_write(block);
            block_finish(writer, block);
        }
    }
    lock(writer);
    writer->has_ended = true;
    pthread_cond_broadcast(&writer->done);
    unlock(writer);
    return NULL;
}

/* ---- the others ---- */

static struct timespec deadline_in(int ms)
{
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += (long)(ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_nsec -= 1000000000;
        at.tv_sec++;
    }
    return at;
}

static bool sync_init(struct th_writer *writer)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr) != 0)
        return false;
    bool ok = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0;
    /* On Linux none of these allocates; they fail for wrong arguments only. */
    ok = ok && pthread_mutex_init(&writer->lock, NULL) == 0 &&
         pthread_cond_init(&writer->wake, &attr) == 0 &&
         pthread_cond_init(&writer->done, &attr) == 0;
    (void)pthread_condattr_destroy(&attr);
    return ok;
}

/* All signals are for the main thread; a reader that went away is EPIPE here, not SIGPIPE. */
static int start_thread(struct th_writer *writer)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    int error = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (error != 0)
        return error;
    error = pthread_create(&writer->thread, NULL, writer_run, writer);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0)
        (void)pthread_setname_np(writer->thread, "writer");
    return error;
}

int th_writer_new(size_t max_queued, struct th_writer **ret_writer, struct th_errinfo *reterr)
{
    TH_CLEANUP(th_freep) struct th_writer *writer = th_calloc(1, sizeof *writer);
    if (writer == NULL)
        return th_errinfo_set(reterr, TH_E_NOMEM, NULL, NULL, "no memory for the writer of logs");
    writer->max_queued = max_queued != 0 ? max_queued : DEFAULT_MAX_QUEUED;
    th_list_init(&writer->queue);
    if (TH_CHECK_FAILS(sync_init(writer)))
        return TH_E_INTERNAL;
    int error = start_thread(writer);
    if (error != 0)
        return th_errinfo_set(reterr, TH_E_IO, NULL, NULL,
                              "the thread that writes logs cannot be started: %s", strerror(error));
    *ret_writer = th_take(&writer);
    return 0;
}

struct th_writer *th_writer_free(struct th_writer *writer, int timeout_ms)
{
    if (writer == NULL)
        return NULL;
    struct timespec deadline = deadline_in(timeout_ms);
    lock(writer);
    writer->must_stop = true;
    pthread_cond_signal(&writer->wake);
    int error = 0;
    while (!writer->has_ended && error == 0)
        error = pthread_cond_timedwait(&writer->done, &writer->lock, &deadline);
    /* What waits in poll() notices; what the kernel holds in write() does not. */
    writer->must_give_up = true;
    deadline = deadline_in(5 * POLL_MS);
    error = 0;
    while (!writer->has_ended && error == 0)
        error = pthread_cond_timedwait(&writer->done, &writer->lock, &deadline);
    bool has_ended = writer->has_ended;
    unlock(writer);
    if (!has_ended) {
        (void)pthread_detach(writer->thread);
        return NULL;
    }
    (void)pthread_join(writer->thread, NULL);
    for (size_t i = 0; i < writer->n_files; i++) {
        if (writer->files[i].is_path)
            (void)close(writer->files[i].fd);
        th_free(writer->files[i].name);
        th_buf_fini(&writer->files[i].sealed);
    }
    while (writer->n_recycled > 0)
        th_free(writer->recycled[--writer->n_recycled].ptr);
    (void)pthread_cond_destroy(&writer->wake);
    (void)pthread_cond_destroy(&writer->done);
    (void)pthread_mutex_destroy(&writer->lock);
    th_free(writer);
    return NULL;
}

static int file_add(struct th_writer *writer, int fd, bool is_path, const char *name,
                    struct th_writer_file **ret_file, struct th_errinfo *reterr)
{
    if (writer->n_files == TH_WRITER_MAX_FILES)
        return th_errinfo_set(reterr, TH_E_CONFIG, name, NULL, "no more than %d log files",
                              TH_WRITER_MAX_FILES);
    char *own_name = th_strdup(name);
    if (own_name == NULL)
        return th_errinfo_set(reterr, TH_E_NOMEM, name, NULL, "no memory to open %s", name);
    struct th_writer_file *file = &writer->files[writer->n_files];
    *file = (struct th_writer_file){
        .writer = writer,
        .name = own_name,
        .fd = fd,
        .is_path = is_path,
        .stats = {.name = own_name},
    };
    lock(writer);
    writer->n_files++;
    unlock(writer);
    *ret_file = file;
    return 0;
}

int th_writer_seal(struct th_writer_file *file, struct th_errinfo *reterr)
{
    struct th_seal seal;
    bool is_torn = false;
    th_seal_init(&seal);
    int error = file->is_path ? th_seal_resume(&seal, file->name, &is_torn, reterr) : 0;
    if (error != 0)
        return error;
    lock(file->writer);
    file->seal = seal;
    file->is_torn = is_torn;
    file->is_sealed = true;
    unlock(file->writer);
    return 0;
}

bool th_writer_is_failing(const struct th_writer_file *file)
{
    return atomic_load_explicit(&file->is_failing, memory_order_relaxed);
}

int th_writer_open(struct th_writer *writer, const char *path, struct th_writer_file **ret_file,
                   struct th_errinfo *reterr)
{
    if (strcmp(path, "-") == 0)
        return file_add(writer, STDOUT_FILENO, false, "stdout", ret_file, reterr);
    int fd = open_path(path);
    if (fd < 0) {
        int err = errno;
        return th_errinfo_set(reterr, TH_E_IO, path,
                              err == ENXIO ? "start the reader of the FIFO first" : NULL,
                              "%s cannot be opened for writing: %s", path, strerror(err));
    }
    int error = file_add(writer, fd, true, path, ret_file, reterr);
    if (error != 0)
        (void)close(fd);
    return error;
}

int th_writer_open_fd(struct th_writer *writer, int fd, const char *name,
                      struct th_writer_file **ret_file, struct th_errinfo *reterr)
{
    return file_add(writer, fd, false, name, ret_file, reterr);
}

/* Gives `lines` a block that came back, where it lost one of that size. Under the lock. */
static void buf_refill(struct th_writer *writer, struct th_buf *lines, size_t lost_size)
{
    lines->ptr = NULL;
    lines->len = lines->size = 0;
    if (lost_size < RECYCLED_SIZE || writer->n_recycled == 0)
        return;
    writer->n_recycled--;
    lines->ptr = writer->recycled[writer->n_recycled].ptr;
    lines->size = writer->recycled[writer->n_recycled].size;
    lines->ptr[0] = '\0';
}

bool th_writer_put(struct th_writer_file *file, struct th_buf *lines, unsigned n_lines)
{
    struct th_writer *writer = file->writer;
    if (lines->len == 0)
        return true;
    TH_CLEANUP(th_freep) struct block *block = th_malloc(sizeof *block);
    lock(writer);
    bool fits = writer->max_queued - writer->n_queued >= lines->len;
    if (block == NULL || !fits || writer->must_stop) {
        file->stats.n_dropped += n_lines;
        unlock(writer);
        th_buf_clear(lines);
        return false;
    }
    *block = (struct block){
        .file = file,
        .ptr = lines->ptr,
        .len = lines->len,
        .size = lines->size,
        .n_lines = n_lines,
    };
    buf_refill(writer, lines, block->size);
    writer->n_queued += block->len;
    writer->n_put++;
    th_list_push_back(&writer->queue, &th_take(&block)->link);
    pthread_cond_signal(&writer->wake);
    unlock(writer);
    return true;
}

void th_writer_reopen(struct th_writer *writer)
{
    lock(writer);
    writer->must_reopen = true;
    pthread_cond_signal(&writer->wake);
    unlock(writer);
}

bool th_writer_flush(struct th_writer *writer, int timeout_ms)
{
    struct timespec deadline = deadline_in(timeout_ms);
    int error = 0;
    lock(writer);
    uint64_t until = writer->n_put;
    while (writer->n_done < until && error == 0)
        error = pthread_cond_timedwait(&writer->done, &writer->lock, &deadline);
    bool is_done = writer->n_done >= until;
    unlock(writer);
    return is_done;
}

size_t th_writer_get_stats(struct th_writer *writer,
                           struct th_writer_stats ret_stats[TH_WRITER_MAX_FILES])
{
    lock(writer);
    size_t n = writer->n_files;
    for (size_t i = 0; i < n; i++)
        ret_stats[i] = writer->files[i].stats;
    unlock(writer);
    return n;
}
