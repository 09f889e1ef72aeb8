#include "write_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int th_write_refuse(const char *path, const char *mend, const char *what, int err,
                    struct th_errinfo *reterr)
{
    return th_errinfo_set(reterr, TH_E_IO, path, mend, "%s: %s", what, strerror(err));
}

int th_write_all(int fd, struct th_str text)
{
    while (text.len > 0) {
        ssize_t n = write(fd, text.ptr, text.len);
        if (n < 0 && errno != EINTR)
            return -1;
        if (n > 0)
            text = (struct th_str){text.ptr + n, text.len - (size_t)n};
    }
    return 0;
}

/* Fills a file that was just made, and lets go of it in any case. */
static int fill_file(int fd, struct th_str text, mode_t mode)
{
    /* The umask may have taken what the owner needs. */
    bool failed = fchmod(fd, mode) < 0 || th_write_all(fd, text) < 0 || fsync(fd) < 0;
    int err = errno;

    if (close(fd) < 0 && !failed) {
        failed = true;
        err = errno;
    }
    errno = err;
    return failed ? -1 : 0;
}

static int write_new(const char *path, struct th_str text, mode_t mode, struct th_errinfo *reterr)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0 && errno == EEXIST)
        return th_errinfo_set(reterr, TH_E_IO, path, "name another file, or add --force",
                              "there is a file already, and it is not overwritten");
    if (fd < 0)
        return th_write_refuse(path, NULL, "the file cannot be made", errno, reterr);
    if (fill_file(fd, text, mode) < 0) {
        int err = errno;
        unlink(path);
        return th_write_refuse(path, NULL, "it cannot be written", err, reterr);
    }
    return 0;
}

/* Beside it and renamed, so that there is a whole key at any time. */
static int replace(const char *path, struct th_str text, mode_t mode, struct th_errinfo *reterr)
{
    char room[4096];
    int len = snprintf(room, sizeof room, "%s.XXXXXX", path);

    if (len < 0 || (size_t)len >= sizeof room)
        return th_write_refuse(path, NULL, "the file cannot be made", ENAMETOOLONG, reterr);
    int fd = mkostemp(room, O_CLOEXEC);
    if (fd < 0)
        return th_write_refuse(path, NULL, "no file can be made beside it", errno, reterr);
    if (fill_file(fd, text, mode) < 0 || rename(room, path) < 0) {
        int err = errno;
        unlink(room);
        return th_write_refuse(path, NULL, "it cannot be written", err, reterr);
    }
    return 0;
}

int th_write_file(const char *path, struct th_str text, mode_t mode, bool over,
                  struct th_errinfo *reterr)
{
    return over ? replace(path, text, mode, reterr) : write_new(path, text, mode, reterr);
}
