/* Whether a file was written that the configuration in force was read from. Looked at from time to time,
 * on the main thread; nothing else is known of them, so that any file system will do, and what a link
 * on the way leads to counts as what is in it (Kubernetes swaps links and writes no file).
 *
 *     th_watch_follow(watch, config);                            it is in force
 *     if (th_watch_look(watch, &path)) {
 *         th_watch_begin(watch);
 *         ... load the configuration anew ...
 *         th_watch_follow(watch, new); or th_watch_note_failure(watch);
 *     }
 *
 * A file that was written just now, or is missing, is given a moment: whoever writes it may not be done.
 * What could not be used is tried again when it, or the configuration file, is written again. */
#ifndef TOKENHOP_SRC_CLI_WATCH_H
#define TOKENHOP_SRC_CLI_WATCH_H

#include "tokenhop/base/clock.h"
#include "tokenhop/config/model.h"

struct th_watch;

/* `path` of the configuration file is borrowed. */
int th_watch_new(const struct th_clock *clock, const char *path,
                 struct th_watch **ret_watch) TH_MUST;
struct th_watch *th_watch_free(struct th_watch *watch); /* NULL is fine; returns NULL */

/* Holds the configuration. Without memory the files are not watched until the next one. */
void th_watch_follow(struct th_watch *watch, struct th_config *config);
/* Before the configuration is loaded, whoever asked for it: what is written from here on is another
 * change. */
void th_watch_begin(struct th_watch *watch);
/* It could not be loaded: the one before is in force still. */
void th_watch_note_failure(struct th_watch *watch);

/* How long until the next look, at most `max_ms`. */
int64_t th_watch_due_in(const struct th_watch *watch, int64_t max_ms);
/* Whether the configuration is to be loaded anew: then *ret_path is a file that was written, valid until
 * the next th_watch_follow(). Does nothing before it is due. */
bool th_watch_look(struct th_watch *watch, struct th_str *ret_path);

#endif
