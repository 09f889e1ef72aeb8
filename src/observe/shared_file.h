/* A sealed file that several processes write, as one that is restarted and the one that takes its place do: the chain
 * goes on from whatever line is last. The writer's thread only. Private to the room. */
#ifndef TOKENHOP_SRC_OBSERVE_SHARED_FILE_H
#define TOKENHOP_SRC_OBSERVE_SHARED_FILE_H

#include "writer_private.h"

/* Goes on with the chain where the file ends. Who holds its lock for seconds makes it fail. */
int th_shared_file_resume(struct th_writer_file *file, struct th_errinfo *reterr) TH_MUST;
/* From now until the end nobody else writes, and what others wrote is known. Where a new file has its path, which
 * another process has made in its place, that is gone over to. Of what is no regular file nothing is to be shared.
 * 0 or an errno. */
int th_shared_file_begin(struct th_writer_file *file);
void th_shared_file_end(struct th_writer_file *file);
/* Goes over to whatever the path leads to now, as after a rotation; not between begin and end. 0 or an errno, and
 * it is where it was. */
int th_shared_file_reopen(struct th_writer_file *file);

#endif
