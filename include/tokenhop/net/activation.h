/* Sockets that a supervisor opened and hands over (sd_listen_fds(3)): descriptors from 3 on, LISTEN_FDS of
 * them, named by LISTEN_FDNAMES, meant for the process LISTEN_PID. Main thread, before others start. */
#ifndef TOKENHOP_NET_ACTIVATION_H
#define TOKENHOP_NET_ACTIVATION_H

#include "tokenhop/base/error.h"
#include "tokenhop/base/str.h"

#define TH_ACTIVATION_MAX 256
#define TH_ACTIVATION_FIRST 3 /* SD_LISTEN_FDS_START */

/* Owns the descriptors that nobody has claimed yet. */
struct th_activation {
    size_t n;
    struct {
        int fd; /* -1: claimed */
        char name[256];
    } items[TH_ACTIVATION_MAX];
};

/* The variables, as the environment has them; NULL: not there. */
struct th_activation_variables {
    const char *pid, *fds, *names;
};

/* Who is meant and what is handed over: 0, nothing for another process; TH_E_IO with *reterr filled where
 * they contradict each other. `first`: the number of the first descriptor. Looks at no descriptor. */
int th_activation_read(const struct th_activation_variables *variables, long own_pid, int first,
                       struct th_activation *ret_activation, struct th_errinfo *reterr) TH_MUST;
/* The same of the process's environment, of which the variables are removed: no child shall think that it is
 * meant. The descriptors are closed on exec from now on. */
int th_activation_take(struct th_activation **ret_activation, struct th_errinfo *reterr) TH_MUST;
/* The next one of that name, non-blocking: 0 and *ret_fd, which is the caller's; TH_AGAIN: there is none (left).
 * TH_E_IO with *reterr filled for one that is no stream socket that listens, of TCP or unix. */
int th_activation_claim(struct th_activation *activation, struct th_str name, int *ret_fd,
                        struct th_errinfo *reterr) TH_MUST;
/* Whether all were claimed: 0, or TH_E_IO with *reterr filled. */
int th_activation_check_claimed(const struct th_activation *activation,
                                struct th_errinfo *reterr) TH_MUST;
/* Closes what was not claimed. NULL is fine. */
struct th_activation *th_activation_free(struct th_activation *activation);

#endif
