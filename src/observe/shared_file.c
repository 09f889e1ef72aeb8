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

static bool is_shared(const struct th_writer_file *file)
{
    return file->is_path && file->is_regular;
}

/* Takes whole lines off the front: whether all of them go on with the chain. What is no sealed line is none of it,
 * as one that was half written, and one that the disk had no room for is missing: both are seen. */
static bool take_lines(struct th_seal *seal, struct th_buf *text)
{
    const char *end;
    size_t done = 0;
    while ((end = memchr(text->ptr + done, '\n', text->len - done)) != NULL) {
        struct th_str line = {text->ptr + done, (size_t)(end - (text->ptr + done))};
        struct th_seal_read read;
        bool follows =
            th_seal_read(line, &read) && th_str_equal(read.previous, th_str_of(seal->digest));
        enum th_seal_fault fault = th_seal_check(seal, line);
        if (fault != TH_SEAL_WHOLE && fault != TH_SEAL_UNSEALED &&
            !(fault == TH_SEAL_MISSING && follows))
            return false;
        done += line.len + 1;
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
    th_buf_fini(&text);
}

/* Of the file that is locked. 0 or an errno. */
static int look(struct th_writer_file *file, struct stat *ret_st)
{
    char last;
    if (fstat(file->fd, ret_st) != 0)
        return errno;
    if (ret_st->st_size > file->end)
        catch_up(file, ret_st->st_size);
    if (ret_st->st_size == file->end)
        return 0;
    /* Also where it was cut off, or emptied to go on with. */
    file->end = ret_st->st_size;
    file->is_torn =
        file->end > 0 && pread(file->read_fd, &last, 1, file->end - 1) == 1 && last != '\n';
    return 0;
}

static int lock_and_look(struct th_writer_file *file, struct stat *ret_st)
{
    int error = lock_file(file->fd);
    if (error != 0)
        return error;
    error = look(file, ret_st);
    if (error != 0)
        (void)flock(file->fd, LOCK_UN);
    return error;
}

/* To read what `fd` writes, a regular file. A descriptor of its own, as the confined process may open none for
 * both. ESTALE: the path leads to another. */
static int open_to_read(const char *path, int fd)
{
    struct stat st, other;
    int read_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (read_fd < 0)
        return -1;
    if (fstat(fd, &st) == 0 && fstat(read_fd, &other) == 0 && other.st_dev == st.st_dev &&
        other.st_ino == st.st_ino)
        return read_fd;
    (void)close(read_fd);
    errno = ESTALE;
    return -1;
}

/* The new one is there before the old one is left: whoever has the old one locked after that finds it. */
int th_shared_file_reopen(struct th_writer_file *file)
{
    struct stat st;
    int fd = th_writer_open_path(file->name);
    if (fd < 0)
        return errno;
    if (file->is_sealed && is_shared(file) && lock_and_look(file, &st) == 0)
        (void)flock(file->fd, LOCK_UN);
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
    file->is_regular = th_writer_is_regular(fd);
    file->read_fd = file->is_sealed && file->is_regular ? open_to_read(file->name, fd) : -1;
    file->end = 0;
    file->is_torn = false;
    return 0;
}

int th_shared_file_resume(struct th_writer_file *file, struct th_errinfo *reterr)
{
    struct stat st;
    th_seal_init(&file->seal);
    if (!is_shared(file))
        return 0;
    file->read_fd = open_to_read(file->name, file->fd);
    for (int tries = 0; file->read_fd < 0 && errno == ESTALE && tries < 3; tries++)
        if (th_shared_file_reopen(file) == 0) /* it is rotated right now */
            file->read_fd = open_to_read(file->name, file->fd);
    if (file->read_fd < 0)
        return th_errinfo_set(reterr, TH_E_IO, file->name,
                              "the last line is read, so that the chain goes on",
                              "%s cannot be read: %s", file->name, strerror(errno));
    int error = lock_file(file->fd);
    if (error != 0)
        return th_errinfo_set(reterr, TH_E_IO, file->name,
                              "who has it locked must let it go: see /proc/locks",
                              "%s cannot be locked: %s", file->name, strerror(error));
    error = th_seal_resume(&file->seal, file->read_fd, file->name, &file->is_torn, reterr);
    file->end = fstat(file->fd, &st) == 0 ? st.st_size : 0;
    (void)flock(file->fd, LOCK_UN);
    return error;
}

int th_shared_file_begin(struct th_writer_file *file)
{
    struct stat st, named;
    for (int tries = 0; is_shared(file); tries++) {
        int error = lock_and_look(file, &st);
        if (error != 0 || tries > 2 || stat(file->name, &named) != 0 || !S_ISREG(named.st_mode) ||
            (named.st_dev == st.st_dev && named.st_ino == st.st_ino))
            return error;
        (void)flock(file->fd, LOCK_UN);
        if (th_shared_file_reopen(file) != 0)
            return lock_and_look(file, &st); /* goes on with the old one */
    }
    return 0;
}

void th_shared_file_end(struct th_writer_file *file)
{
    struct stat st;
    if (!is_shared(file))
        return;
    if (fstat(file->fd, &st) == 0)
        file->end = st.st_size;
    (void)flock(file->fd, LOCK_UN);
}
