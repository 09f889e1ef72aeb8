/* Which files the process may use: Landlock (Linux 5.13), by a wrapper of our own, as Debian 12 has no
 * library. What is open already stays open. Once, in main(), before threads start: it holds for the
 * calling thread and those that it starts. */
#ifndef TOKENHOP_BASE_CONFINE_H
#define TOKENHOP_BASE_CONFINE_H

#include "tokenhop/base/error.h"

/* What may be done with a path, and with all below it where it is a folder. */
enum th_confine_use {
    TH_CONFINE_READ,  /* files read, folders listed */
    TH_CONFINE_WRITE, /* files made, written and read too: logs */
    TH_CONFINE_SOCKET /* sockets made and removed */
};

/* The version of what this kernel has; 0: nothing. */
unsigned th_confine_version(void);

struct th_confine;

/* Nothing may be done with any file, but what is allowed before it is enforced. TH_E_IO when the
 * kernel has none, or refuses. */
int th_confine_new(struct th_confine **ret_confine, struct th_errinfo *reterr) TH_MUST;
struct th_confine *th_confine_free(struct th_confine *confine); /* NULL is fine */
/* What is not there is left out: nothing is allowed by its name later. Symbolic links are followed. */
int th_confine_allow(struct th_confine *confine, const char *path, enum th_confine_use use,
                     struct th_errinfo *reterr) TH_MUST;
/* From now on, for good. Needs th_process_harden() before. */
int th_confine_enforce(struct th_confine *confine, struct th_errinfo *reterr) TH_MUST;

#endif
