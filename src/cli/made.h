/* Which files of a folder that others may use are ours to write over: those that lie there as they were written. A
 * file tokenhop-exec.made says what was written, a line a content: its SHA-256 and the file's name. Private to the
 * room. */
#ifndef TOKENHOP_CLI_MADE_H
#define TOKENHOP_CLI_MADE_H

#include "tokenhop/base/error.h"
#include "tokenhop/base/str.h"

/* Before `text` is written to the file of that name: 0, and it is noted that it was; TH_E_IO where something lies
 * there that was not written here, or has been changed since. */
int th_made_claim(const char *folder, const char *name, struct th_str text,
                  struct th_errinfo *reterr) TH_MUST;

#endif
