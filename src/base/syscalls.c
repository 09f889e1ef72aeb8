#include "tokenhop/base/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "tokenhop/base/check.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

/* In the order of how often they are made: those of a request come first. */
static const char *const allowed[] = {
    "recvfrom",
    "sendmsg",
    "epoll_wait",
    "read",
    "write",
    "writev",
    "splice",
    "readv",
    "recvmsg",
    "sendto",
    "futex",
    /* sockets; which kinds may be made: rules of their own */
    "accept4",
    "accept",
    "connect",
    "bind",
    "shutdown",
    "close",
    "socketpair",
    "getsockname",
    "getpeername",
    "getsockopt",
    "setsockopt",
    "sendmmsg",
    "recvmmsg",
    "sendfile",
    "tee",
    /* waiting and telling */
    "epoll_ctl",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_create1",
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "eventfd2",
    "timerfd_create",
    "timerfd_settime",
    "signalfd4",
    "pipe2",
    "pipe",
    /* files */
    "fstat",
    "newfstatat",
    "stat",
    "lstat",
    "statx",
    "fstatfs",
    "statfs",
    "lseek",
    "access",
    "faccessat",
    "faccessat2",
    "readlink",
    "readlinkat",
    "getdents64",
    "getcwd",
    "fcntl",
    "flock",
    "fsync",
    "fdatasync",
    "pread64",
    "pwrite64",
    "dup",
    "dup2",
    "dup3",
    "unlink",
    "unlinkat",
    "close_range",
    "fadvise64",
    /* memory; mmap and mprotect: rules of their own */
    "munmap",
    "mremap",
    "madvise",
    "mlock",
    "mlock2",
    "munlock",
    "brk",
    "membarrier",
    /* threads and time; clone: a rule of its own */
    "set_robust_list",
    "rseq",
    "exit",
    "exit_group",
    "sched_yield",
    "sched_getaffinity",
    "getcpu",
    "nanosleep",
    "clock_nanosleep",
    "clock_gettime",
    "clock_getres",
    "gettimeofday",
    "time",
    "restart_syscall",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigtimedwait",
    "sigaltstack",
    /* who and what this is */
    "getpid",
    "gettid",
    "getppid",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getgroups",
    "uname",
    "sysinfo",
    "getrusage",
    "times",
    "getrlimit",
    "capget",
    "getrandom",
};

static const char *const hostile[] = {
    /* another program, another process */
    "execve",
    "execveat",
    "process_vm_readv",
    "process_vm_writev",
    "pidfd_getfd",
    "kcmp",
    "process_madvise",
    /* another view of the machine */
    "mount",
    "umount2",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsconfig",
    "fsmount",
    "mount_setattr",
    "pivot_root",
    "chroot",
    "setns",
    "unshare",
    "open_by_handle_at",
    /* the kernel, and ways around this filter */
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "iopl",
    "ioperm",
    "keyctl",
    "add_key",
    "request_key",
    "reboot",
    "swapon",
    "swapoff",
    "acct",
    "settimeofday",
    "clock_settime",
    "sethostname",
    "personality",
#ifndef SANITIZED
    "ptrace",
#endif
};

/* The leak checker stops the process by a clone of it that traces it, and sanitizers map as they
 * like: in such builds, which are not what is run anywhere, these may be done. */
#ifdef SANITIZED
static const char *const sanitizers[] = {"ptrace", "clone",   "clone3",   "wait4",
                                         "prctl",  "mmap",    "mprotect", "tgkill",
                                         "kill",   "getpgrp", "prlimit64"};
#endif

/* A rule of a call; what the architecture does not have is left out. 0, or a negative errno. */
static int add(scmp_filter_ctx filter, uint32_t action, const char *name, unsigned n,
               const struct scmp_arg_cmp *wanted)
{
    int number = seccomp_syscall_resolve_name(name);

    if (number == __NR_SCMP_ERROR)
        return 0;
    int r = seccomp_rule_add_array(filter, action, number, n, wanted);
    return r == -EDOM ? 0 : r;
}

struct condition {
    const char *name;
    unsigned n;
    struct scmp_arg_cmp wanted[2];
};

#define MASKED(arg, mask, value)                                                                   \
    {                                                                                              \
        (arg), SCMP_CMP_MASKED_EQ, (mask), (value)                                                 \
    }
#define EQUAL(arg, value)                                                                          \
    {                                                                                              \
        (arg), SCMP_CMP_EQ, (value), 0                                                             \
    }
#define NAMESPACES                                                                                 \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |  \
     CLONE_NEWNET)

/* Each line is one way that is allowed. */
static const struct condition conditions[] = {
    /* Files: read, or appended to; nothing is overwritten or cut. */
    {"openat", 1, {MASKED(2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY)}},
    {"openat", 1, {MASKED(2, O_ACCMODE | O_APPEND | O_TRUNC, O_WRONLY | O_APPEND)}},
    {"open", 1, {MASKED(1, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY)}},
    /* Internet and unix sockets; netlink for the resolver, which asks what addresses there are. */
    {"socket", 1, {EQUAL(0, AF_INET)}},
    {"socket", 1, {EQUAL(0, AF_INET6)}},
    {"socket", 1, {EQUAL(0, AF_UNIX)}},
    {"socket", 2, {EQUAL(0, AF_NETLINK), EQUAL(2, 0 /* NETLINK_ROUTE */)}},
    /* Threads, no processes. clone3 keeps its flags in memory, where no filter sees them: it is
     * said not to be there, and the C library takes clone. */
    {"clone", 1, {MASKED(0, CLONE_VM | CLONE_THREAD | NAMESPACES, CLONE_VM | CLONE_THREAD)}},
    /* Memory that is executed comes from a file (the resolver's libraries), unchanged. */
    {"mmap", 1, {MASKED(2, PROT_EXEC, 0)}},
    {"mmap", 2, {MASKED(2, PROT_WRITE | PROT_EXEC, PROT_EXEC), MASKED(3, MAP_ANONYMOUS, 0)}},
    {"mprotect", 1, {MASKED(2, PROT_EXEC, 0)}},
    {"prctl", 1, {EQUAL(0, PR_SET_NAME)}},
    {"prctl", 1, {EQUAL(0, PR_GET_NO_NEW_PRIVS)}},
    {"prctl", 1, {EQUAL(0, PR_GET_DUMPABLE)}},
    {"prctl", 1, {EQUAL(0, PR_GET_SECCOMP)}},
    {"prctl", 1, {EQUAL(0, PR_GET_NAME)}},
    {"prlimit64", 1, {EQUAL(2, 0)}}, /* read only */
    {"ioctl", 1, {EQUAL(1, FIONREAD)}},
    {"ioctl", 1, {EQUAL(1, FIONBIO)}},
    {"ioctl", 1, {EQUAL(1, TCGETS)}},
};

static int add_rules(scmp_filter_ctx filter)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < TH_COUNT_OF(allowed); i++) {
        int number = seccomp_syscall_resolve_name(allowed[i]);
        r = add(filter, SCMP_ACT_ALLOW, allowed[i], 0, NULL);
        if (r == 0 && number >= 0 && i < 16)
            r = seccomp_syscall_priority(filter, number, (uint8_t)(255 - i));
    }
    for (size_t i = 0; r == 0 && i < TH_COUNT_OF(conditions); i++)
        r = add(filter, SCMP_ACT_ALLOW, conditions[i].name, conditions[i].n, conditions[i].wanted);
    /* To itself only: abort(), and what a library tells its own threads. */
    const struct scmp_arg_cmp itself[] = {EQUAL(0, (scmp_datum_t)getpid())};
    if (r == 0)
        r = add(filter, SCMP_ACT_ALLOW, "tgkill", 1, itself);
    return r;
}

#ifdef SANITIZED
static int add_sanitizers(scmp_filter_ctx filter)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < TH_COUNT_OF(sanitizers); i++)
        r = add(filter, SCMP_ACT_ALLOW, sanitizers[i], 0, NULL);
    return r;
}
#endif

static int make(scmp_filter_ctx filter, enum th_syscalls_mode mode)
{
    int r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);

    if (r == 0)
        r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_LOG, 1);
    /* A binary tree of comparisons in place of a list; nothing untrusted runs here as code, which is
     * what the mitigation that older kernels tie to filters is for. */
    if (r == 0)
        (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (r == 0)
        (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
    if (r == 0)
        r = add_rules(filter);
#ifdef SANITIZED
    if (r == 0)
        r = add_sanitizers(filter);
#endif
    if (mode == TH_SYSCALLS_ON)
        for (size_t i = 0; r == 0 && i < TH_COUNT_OF(hostile); i++)
            r = add(filter, SCMP_ACT_KILL_PROCESS, hostile[i], 0, NULL);
    return r == 0 ? seccomp_load(filter) : r;
}

int th_syscalls_filter(enum th_syscalls_mode mode, struct th_errinfo *reterr)
{
    if (mode == TH_SYSCALLS_OFF)
        return 0;
    scmp_filter_ctx filter =
        seccomp_init(mode == TH_SYSCALLS_ON ? SCMP_ACT_ERRNO(ENOSYS) : SCMP_ACT_LOG);
    int r = filter != NULL ? make(filter, mode) : -ENOMEM;
    if (filter != NULL)
        seccomp_release(filter);
    if (r == 0)
        return 0;
    return th_errinfo_set(reterr, TH_E_IO, "seccomp",
                          "\"hardening\": {\"seccomp\": \"off\"} goes without",
                          "the system calls cannot be filtered: %s", strerror(-r));
}
