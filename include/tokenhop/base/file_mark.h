/* What a file looked like at one moment, through symbolic links: two marks that are alike say that it
 * is the same file, not written since. Taken before a file is read, it tells later whether it must be
 * read again. Any thread; taking one may block (a disk, a network). */
#ifndef TOKENHOP_BASE_FILE_MARK_H
#define TOKENHOP_BASE_FILE_MARK_H

#include <stdbool.h>
#include <stdint.h>

struct th_file_mark {
    bool exists; /* all else is 0 where it does not, or cannot be looked at */
    uint64_t device, inode, size;
    int64_t written_ns; /* of content and of attributes, since 1970 by the file system's clock */
    int64_t changed_ns;
};

void th_file_mark_take(const char *path, struct th_file_mark *ret_mark);
bool th_file_mark_is_alike(const struct th_file_mark *a, const struct th_file_mark *b);

#endif
