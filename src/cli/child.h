/* A command in the place of this process, but that this one stays to clean up after it. Main thread of a
 * process without others. Private to the room. */
#ifndef TOKENHOP_CLI_CHILD_H
#define TOKENHOP_CLI_CHILD_H

#include <signal.h>

#define TH_EXIT_NOT_EXECUTABLE 126
#define TH_EXIT_NOT_FOUND 127

/* How signals were taken before they were held; the command takes them so again. This process holds them
 * until it ends: none may come between it and its cleaning up. */
struct th_signals {
    sigset_t before;
    struct sigaction child_before;
};
void th_signals_hold(struct th_signals *signals);

/* Runs it, found as execvp() finds it, and waits for its end. Signals that are sent to this process
 * go on to it; those of the terminal it gets anyway. The exit status to end with: its own, 128 and
 * the number of the signal that ended it, or TH_EXIT_NOT_*, with what is wrong on standard error. */
int th_child_run(const struct th_signals *signals, char *const *argv, char *const *envp);

#endif
