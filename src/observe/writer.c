#include "tokenhop/observe/writer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "shared_file.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/list.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/observe/seal.h"
#include "writer_private.h"

#define DEFAULT_MAX_QUEUED ((size_t)4 * 1024 * 1024)

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
    error = pthread_create(&writer->thread, NULL, th_writer_run, writer);
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
    th_list_init(&writer->watches);
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
    th_writer_lock(writer);
    writer->must_stop = true;
    pthread_cond_signal(&writer->wake);
    int error = 0;
    while (!writer->has_ended && error == 0)
        error = pthread_cond_timedwait(&writer->done, &writer->lock, &deadline);
    /* What waits in poll() notices; what the kernel holds in write() does not. */
    writer->must_give_up = true;
    deadline = deadline_in(5 * TH_WRITER_POLL_MS);
    error = 0;
    while (!writer->has_ended && error == 0)
        error = pthread_cond_timedwait(&writer->done, &writer->lock, &deadline);
    bool has_ended = writer->has_ended;
    th_writer_unlock(writer);
    if (!has_ended) {
        (void)pthread_detach(writer->thread);
        return NULL;
    }
    (void)pthread_join(writer->thread, NULL);
    for (size_t i = 0; i < writer->n_files; i++) {
        if (writer->files[i].is_path)
            (void)close(writer->files[i].fd);
        if (writer->files[i].read_fd >= 0)
            (void)close(writer->files[i].read_fd);
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
        .read_fd = -1,
        .is_path = is_path,
        .is_regular = th_writer_is_regular(fd),
        .stats = {.name = own_name},
    };
    th_writer_lock(writer);
    writer->n_files++;
    th_writer_unlock(writer);
    *ret_file = file;
    return 0;
}

int th_writer_seal(struct th_writer_file *file, struct th_errinfo *reterr)
{
    int error = th_shared_file_resume(file, reterr);
    if (error != 0)
        return error; /* the descriptors go with the writer */
    th_writer_lock(file->writer);
    file->stats.seal = file->seal;
    file->is_sealed = true;
    th_writer_unlock(file->writer);
    return 0;
}

int th_writer_open(struct th_writer *writer, const char *path, struct th_writer_file **ret_file,
                   struct th_errinfo *reterr)
{
    if (strcmp(path, "-") == 0)
        return file_add(writer, STDOUT_FILENO, false, "stdout", ret_file, reterr);
    int fd = th_writer_open_path(path);
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
    if (lost_size < TH_WRITER_RECYCLED_SIZE || writer->n_recycled == 0)
        return;
    writer->n_recycled--;
    lines->ptr = writer->recycled[writer->n_recycled].ptr;
    lines->size = writer->recycled[writer->n_recycled].size;
    lines->ptr[0] = '\0';
}

static bool put(struct th_writer_file *file, struct th_buf *lines, unsigned n_lines,
                struct th_writer_receipt *receipt)
{
    struct th_writer *writer = file->writer;
    TH_CLEANUP(th_freep) struct th_writer_block *block = th_malloc(sizeof *block);
    th_writer_lock(writer);
    bool fits = writer->max_queued - writer->n_queued >= lines->len;
    if (block == NULL || !fits || writer->must_stop) {
        file->stats.n_dropped += n_lines;
        th_writer_unlock(writer);
        th_buf_clear(lines);
        return false;
    }
    *block = (struct th_writer_block){
        .file = file,
        .ptr = lines->ptr,
        .len = lines->len,
        .size = lines->size,
        .n_lines = n_lines,
        .receipt = receipt,
    };
    buf_refill(writer, lines, block->size);
    writer->n_queued += block->len;
    writer->n_put++;
    th_list_push_back(&writer->queue, &th_take(&block)->link);
    pthread_cond_signal(&writer->wake);
    th_writer_unlock(writer);
    return true;
}

bool th_writer_put(struct th_writer_file *file, struct th_buf *lines, unsigned n_lines)
{
    return lines->len == 0 || put(file, lines, n_lines, NULL);
}

struct th_writer_receipt *th_writer_put_watched(struct th_writer_file *file, struct th_buf *lines,
                                                unsigned n_lines, struct th_writer_watch *watch)
{
    TH_CLEANUP(th_freep) struct th_writer_receipt *receipt = th_malloc(sizeof *receipt);
    if (receipt != NULL) {
        atomic_init(&receipt->state, TH_WRITER_PENDING);
        receipt->watch = watch;
    }
    if (receipt == NULL || lines->len == 0) {
        th_writer_lock(file->writer);
        file->stats.n_dropped += n_lines;
        th_writer_unlock(file->writer);
        th_buf_clear(lines);
        return NULL;
    }
    /* Once it is put it is the writer's as well. */
    return put(file, lines, n_lines, receipt) ? th_take(&receipt) : NULL;
}

struct th_writer_watch *th_writer_watch_new(struct th_writer_file *file)
{
    struct th_writer_watch *watch = th_calloc(1, sizeof *watch);
    if (watch == NULL)
        return NULL;
    watch->writer = file->writer;
    th_writer_lock(watch->writer);
    th_list_push_back(&watch->writer->watches, &watch->link);
    th_writer_unlock(watch->writer);
    return watch;
}

void th_writer_watch_set(struct th_writer_watch *watch, void (*fn)(void *arg), void *arg)
{
    th_writer_lock(watch->writer);
    watch->fn = fn;
    watch->arg = arg;
    th_writer_unlock(watch->writer);
}

struct th_writer_watch *th_writer_watch_free(struct th_writer_watch *watch)
{
    if (watch == NULL)
        return NULL;
    th_writer_lock(watch->writer);
    th_list_remove(&watch->link);
    th_writer_unlock(watch->writer);
    th_free(watch);
    return NULL;
}

void th_writer_reopen(struct th_writer *writer)
{
    th_writer_lock(writer);
    writer->must_reopen = true;
    pthread_cond_signal(&writer->wake);
    th_writer_unlock(writer);
}

bool th_writer_flush(struct th_writer *writer, int timeout_ms)
{
    struct timespec deadline = deadline_in(timeout_ms);
    int error = 0;
    th_writer_lock(writer);
    uint64_t until = writer->n_put;
    while (writer->n_done < until && error == 0)
        error = pthread_cond_timedwait(&writer->done, &writer->lock, &deadline);
    bool is_done = writer->n_done >= until;
    th_writer_unlock(writer);
    return is_done;
}

size_t th_writer_get_stats(struct th_writer *writer,
                           struct th_writer_stats ret_stats[TH_WRITER_MAX_FILES])
{
    th_writer_lock(writer);
    size_t n = writer->n_files;
    for (size_t i = 0; i < n; i++)
        ret_stats[i] = writer->files[i].stats;
    th_writer_unlock(writer);
    return n;
}
