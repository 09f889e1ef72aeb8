/* Files that commands make: keys, certificates. Private to the room. */
#ifndef TOKENHOP_CLI_WRITE_FILE_H
#define TOKENHOP_CLI_WRITE_FILE_H

#include <stdbool.h>
#include <sys/types.h>

#include "tokenhop/base/error.h"
#include "tokenhop/base/str.h"

/* A new file, whole and on the disk, or none. `over`: in the place of one that may be there, so that
 * there is a whole one at any time; else one that is there is not touched. TH_E_IO. */
int th_write_file(const char *path, struct th_str text, mode_t mode, bool over,
                  struct th_errinfo *reterr) TH_MUST;
int th_write_all(int fd, struct th_str text) TH_MUST; /* -1 and errno */
/* Fills *reterr from an errno; returns TH_E_IO. */
int th_write_refuse(const char *path, const char *mend, const char *what, int err,
                    struct th_errinfo *reterr);

#endif
