#include "tokenhop/base/process.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static int refused(struct th_errinfo *reterr, const char *what)
{
    int err = errno;
    return th_errinfo_set(reterr, TH_E_IO, what,
                          "look for a seccomp profile or security module that forbids it",
                          "the process could not be hardened: %s", strerror(err));
}

int th_process_harden(struct th_errinfo *reterr)
{
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return refused(reterr, "prctl(PR_SET_DUMPABLE)");
    /* A core pattern that pipes to a program ignores a limit of 0 unless the process is undumpable
     * too; one that writes files is stopped by either. */
    struct rlimit no_core = {0, 0};
    if (setrlimit(RLIMIT_CORE, &no_core) != 0)
        return refused(reterr, "setrlimit(RLIMIT_CORE)");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return refused(reterr, "prctl(PR_SET_NO_NEW_PRIVS)");
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return refused(reterr, "getrlimit(RLIMIT_NOFILE)");
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0)
        return refused(reterr, "setrlimit(RLIMIT_NOFILE)");
    return 0;
}
