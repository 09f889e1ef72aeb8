/* Which system calls the process may make: a seccomp filter, by libseccomp. */
#ifndef TOKENHOP_BASE_SYSCALLS_H
#define TOKENHOP_BASE_SYSCALLS_H

#include "tokenhop/base/error.h"

enum th_syscalls_mode {
    TH_SYSCALLS_OFF,
    TH_SYSCALLS_LOG, /* what would be refused is logged by the kernel, and done */
    TH_SYSCALLS_ON
};

/* From now on, for good, in every thread there is and comes: what a proxy needs may be done. A call
 * that it has no use for is ENOSYS, as from a kernel that does not know it, so that libraries do
 * without it; one that only an attacker has use for (another program, another process's memory, the
 * kernel, other namespaces) ends the process, which the kernel logs. Files are opened to be read, or
 * to be appended to. Memory is never both written and executed. Needs th_process_harden() before.
 * OFF is fine. */
int th_syscalls_filter(enum th_syscalls_mode mode, struct th_errinfo *reterr) TH_MUST;

#endif
