#include "read_input.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define PIECE 256 /* small, so that a buffer is filled nearly to its bound */

int th_read_input(struct th_buf *text, const char *too_long, struct th_errinfo *reterr)
{
    for (;;) {
        char *room = th_buf_reserve(text, PIECE);
        if (room == NULL)
            return th_errinfo_set(reterr, TH_E_CONFIG, "standard input", NULL, "%s", too_long);
        ssize_t n = read(STDIN_FILENO, room, PIECE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return th_errinfo_set(reterr, TH_E_IO, "standard input", NULL, "it cannot be read: %s",
                                  strerror(errno));
        if (n == 0)
            return 0;
        th_buf_commit(text, (size_t)n);
    }
}
