#include "shared_file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tokenhop/base/mem.h"

#define LOCK_TRIES 5000 /* a millisecond each; who holds it writes, and no more */
#define PIECE ((size_t)64 * 1024)

static int lock_file(int fd)
{
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return 0;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return errno;
        (void)poll(NULL, 0, 1);
    }
    return ETIMEDOUT;
}

/* Takes whole lines off the front: whether all of them go on with the chain. */
static bool take_lines(struct th_seal *seal, struct th_buf *text)
{
    const char *end;
    size_t done = 0;
    while ((end = memchr(text->ptr + done, '\n', text->len - done)) != NULL) {
        size_t len = (size_t)(end - (text->ptr + done));
        if (th_seal_check(seal, (struct th_str){text->ptr + done, len}) != TH_SEAL_WHOLE)
            return false;
        done += len + 1;
    }
    memmove(text->ptr, text->ptr + done, text->len - done);
    text->len -= done;
    return true;
}

/* What others wrote behind our last line is taken for the chain only if it goes on with that. Else ours does, and it
 * shows that there is what does not belong there. */
static void catch_up(struct th_writer_file *file, off_t size)
{
    struct th_seal seal = file->seal;
    struct th_buf text;
    bool is_ours = true;
    th_buf_init(&text, TH_SEAL_LINE_MAX + PIECE);
    for (off_t at = file->end; is_ours && at < size;) {
        char *room = th_buf_reserve(&text, PIECE);
        ssize_t n = room != NULL ? pread(file->read_fd, room, PIECE, at) : 0;
        if (n <= 0)
            break;
        th_buf_commit(&text, (size_t)n);
        at += n;
        is_ours = take_lines(&seal, &text);
        if (is_ours && at >= size)
            file->seal = seal;
    }
    file->is_torn = is_ours && text.len > 0;
    th_buf_fini(&text);
    file->end = size;
}

/* Of the file that is locked. 0 or an errno. */
static int look(struct th_writer_file *file, struct stat *ret_st)
{
    if (fstat(file->fd, ret_st) != 0)
        return errno;
    if (ret_st->st_size > file->end)
        catch_up(file, ret_st->st_size);
    if (ret_st->st_size < file->end) { /* cut off, or emptied to go on with */
        char last = '\n';
        (void)!(ret_st->st_size > 0 && pread(file->read_fd, &last, 1, ret_st->st_size - 1) == 1);
        file->is_torn = last != '\n';
        file->end = ret_st->st_size;
    }
    return 0;
}

int th_shared_file_open(const char *path, int fd)
{
    struct stat st, other;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return -1;
    int read_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (read_fd >= 0 && fstat(read_fd, &other) == 0 && other.st_dev == st.st_dev &&
        other.st_ino == st.st_ino)
        return read_fd;
    if (read_fd >= 0)
        (void)close(read_fd);
    return -1;
}

static bool is_regular(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

/* The new one is there before the old one is left: whoever has the old one locked after that finds it. */
int th_shared_file_reopen(struct th_writer_file *file)
{
    struct stat st;
    int fd = th_writer_open_path(file->name);
    if (fd < 0)
        return errno;
    if (file->is_sealed && is_regular(file->fd) && lock_file(file->fd) == 0) {
        (void)look(file, &st);
        (void)flock(file->fd, LOCK_UN);
    }
    if (file->is_sealed && fstat(file->fd, &st) == 0) {
        struct stat now;
        if (fstat(fd, &now) == 0 && now.st_dev == st.st_dev && now.st_ino == st.st_ino) {
            (void)close(fd); /* it was not rotated */
            return 0;
        }
    }
    (void)close(file->fd);
    if (file->read_fd >= 0)
        (void)close(file->read_fd);
    file->fd = fd;
    file->read_fd = file->is_sealed ? th_shared_file_open(file->name, fd) : -1;
    file->end = 0;
    file->is_torn = false;
    return 0;
}

int th_shared_file_begin(struct th_writer_file *file)
{
    struct stat st, named;
    if (!file->is_path || !is_regular(file->fd))
        return 0;
    for (int tries = 0;; tries++) {
        int error = lock_file(file->fd);
        if (error != 0)
            return error;
        error = look(file, &st);
        if (error != 0 || tries > 2 || stat(file->name, &named) != 0 || !S_ISREG(named.st_mode) ||
            (named.st_dev == st.st_dev && named.st_ino == st.st_ino))
            return error;
        (void)flock(file->fd, LOCK_UN);
        if (th_shared_file_reopen(file) != 0)
            return lock_file(file->fd); /* goes on with the old one */
    }
}

void th_shared_file_end(struct th_writer_file *file)
{
    struct stat st;
    if (!file->is_path || fstat(file->fd, &st) != 0 || !S_ISREG(st.st_mode))
        return;
    file->end = st.st_size;
    (void)flock(file->fd, LOCK_UN);
}
