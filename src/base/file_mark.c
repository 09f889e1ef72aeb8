#include "tokenhop/base/file_mark.h"

#include <sys/stat.h>

static int64_t nanoseconds(const struct timespec *time)
{
    return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

void th_file_mark_take(const char *path, struct th_file_mark *ret_mark)
{
    struct stat st;

    *ret_mark = (struct th_file_mark){0};
    if (stat(path, &st) != 0)
        return;
    ret_mark->exists = true;
    ret_mark->device = st.st_dev;
    ret_mark->inode = st.st_ino;
    ret_mark->size = (uint64_t)st.st_size;
    ret_mark->written_ns = nanoseconds(&st.st_mtim);
    ret_mark->changed_ns = nanoseconds(&st.st_ctim);
}

bool th_file_mark_is_alike(const struct th_file_mark *a, const struct th_file_mark *b)
{
    return a->exists == b->exists && a->device == b->device && a->inode == b->inode &&
           a->size == b->size && a->written_ns == b->written_ns && a->changed_ns == b->changed_ns;
}
