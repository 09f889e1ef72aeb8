/* What the process gives up before it holds a secret, and before it serves. Once, in main(), before
 * threads start, unless it says otherwise. */
#ifndef TOKENHOP_BASE_PROCESS_H
#define TOKENHOP_BASE_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tokenhop/base/error.h"
#include "tokenhop/base/str.h"

/* No core dumps and no tracing by the user's other processes (R16), no new privileges through exec,
 * and as many descriptors, and as much memory that is never swapped, as the system grants. A program
 * that is executed later is dumpable again, and keeps the rest. TH_E_IO when the kernel refuses. */
int th_process_harden(struct th_errinfo *reterr) TH_MUST;

/* What is made from now on is for its owner alone, unless it is given a mode by name. */
void th_process_keep_files_private(void);

/* Whom the process is to become. */
struct th_process_user {
    char name[64]; /* for people */
    uid_t uid;
    gid_t gid;
};

/* Finds them by name or number; an empty group: the user's own. TH_E_CONFIG when there is no such
 * one, or the process is neither root nor runs as them already. */
int th_process_find_user(struct th_str user, struct th_str group, struct th_process_user *ret_user,
                         struct th_errinfo *reterr) TH_MUST;
/* Before anything is opened that is to be opened again later: from now on the calling thread, and
 * those that it starts, see files as the user does and make them theirs; what is bound still may be
 * what only root may bind. The other groups of the user are taken on. */
int th_process_borrow_files(const struct th_process_user *user, struct th_errinfo *reterr) TH_MUST;
/* For good, in every thread: no capability is left, and root cannot be had back. */
int th_process_become(const struct th_process_user *user, struct th_errinfo *reterr) TH_MUST;

/* What holds of the process, asked of the kernel. Any thread. */
struct th_process_state {
    bool no_new_privileges;
    bool is_dumpable;
    bool may_dump_core;
    uid_t uid;
    gid_t gid;
    bool has_capabilities;
    unsigned seccomp; /* 0: no filter, 2: filters */
    /* All that secrets have been given is memory of their own, and never swapped. */
    bool secrets_locked;
};
void th_process_look(struct th_process_state *ret_state);

#endif
