/* The filter in a process of its own, as it is for good: what is refused, and how, and what goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokenhop/base/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tokenhop/base/process.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

typedef int deed_fn(void);

/* In a child: 0 it was done; else errno, or 1000 + the signal that ended it. */
static int do_under(enum th_syscalls_mode mode, deed_fn *deed)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct th_errinfo info;
        if (th_process_harden(&info) != 0 || th_syscalls_filter(mode, &info) != 0)
            _exit(250);
        errno = 0;
        _exit(deed() == 0 ? 0 : errno);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status))
        return 1000 + WTERMSIG(status);
    assert_true(WEXITSTATUS(status) != 250);
    return WEXITSTATUS(status);
}

/* --- of no use to anybody but an attacker --- */

static int execute(void)
{
    char *const argv[] = {(char[]){"true"}, NULL};
    return execve("/bin/true", argv, NULL);
}

static int execute_descriptor(void)
{
    char *const argv[] = {(char[]){"true"}, NULL};
    return (int)syscall(SYS_execveat, AT_FDCWD, "/bin/true", argv, NULL, 0);
}

static int trace(void)
{
    return (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static int read_another(void)
{
    char room[8];
    struct iovec here = {room, sizeof room}, there = {room, sizeof room};
    return process_vm_readv(getppid(), &here, 1, &there, 1, 0) < 0 ? -1 : 0;
}

static int use_bpf(void)
{
    return syscall(SYS_bpf, 0, NULL, 0) < 0 ? -1 : 0;
}

static int mount_something(void)
{
    return syscall(SYS_mount, "none", "/tmp", "tmpfs", 0UL, NULL) < 0 ? -1 : 0;
}

static int leave_namespace(void)
{
    return syscall(SYS_unshare, 0x10000000) < 0 ? -1 : 0; /* CLONE_NEWUSER */
}

static int use_ring(void)
{
    return syscall(SYS_io_uring_setup, 1, NULL) < 0 ? -1 : 0;
}

static int load_kernel(void)
{
    return syscall(SYS_kexec_load, 0UL, 0UL, NULL, 0UL) < 0 ? -1 : 0;
}

static int use_keys(void)
{
    return syscall(SYS_keyctl, 0, -3, 0) < 0 ? -1 : 0;
}

static void hostile_calls_end_the_process(void **state)
{
    static const struct {
        const char *name;
        deed_fn *deed;
    } rows[] = {
        {"execve", execute},
        {"execveat", execute_descriptor},
        {"process_vm_readv", read_another},
        {"bpf", use_bpf},
        {"mount", mount_something},
        {"unshare", leave_namespace},
        {"io_uring", use_ring},
        {"kexec_load", load_kernel},
        {"keyctl", use_keys},
        {"ptrace", trace},
    };
    (void)state;
    size_t n = sizeof rows / sizeof rows[0] - (SANITIZED ? 1 : 0); /* whose leak checker traces */
    for (size_t i = 0; i < n; i++) {
        print_message("  %s\n", rows[i].name);
        assert_int_equal(do_under(TH_SYSCALLS_ON, rows[i].deed), 1000 + SIGSYS);
    }
}

/* --- of no use to a proxy --- */

static int open_to_write(void)
{
    return open("/dev/null", O_WRONLY | O_CLOEXEC);
}

static int open_to_cut(void)
{
    return open("/tmp/test_syscalls.none", O_WRONLY | O_APPEND | O_TRUNC | O_CLOEXEC);
}

static int open_both_ways(void)
{
    return open("/dev/null", O_RDWR | O_CLOEXEC);
}

static int open_packets(void)
{
    return socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
}

static int open_crypto(void)
{
    return socket(38 /* AF_ALG */, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
}

static int start_process(void)
{
    return syscall(SYS_clone, (unsigned long)SIGCHLD, NULL, NULL, NULL, 0UL) < 0 ? -1 : 0;
}

static int make_code(void)
{
    void *page =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED ? -1 : 0;
}

static int turn_data_to_code(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED ? -2 : mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static int signal_another(void)
{
    return kill(getppid(), 0);
}

static int change_user(void)
{
    return (int)syscall(SYS_setuid, 0);
}

static int make_link(void)
{
    return symlink("/etc/passwd", "/tmp/test_syscalls.link");
}

static void useless_calls_are_not_there(void **state)
{
    static const struct {
        const char *name;
        deed_fn *deed;
        bool is_of_sanitizers;
    } rows[] = {
        {"open for writing", open_to_write, false},
        {"open and cut", open_to_cut, false},
        {"open for both", open_both_ways, false},
        {"raw packets", open_packets, false},
        {"the kernel's ciphers", open_crypto, false},
        {"a process", start_process, true},
        {"memory written and executed", make_code, true},
        {"data made code", turn_data_to_code, true},
        {"a signal to another", signal_another, true},
        {"another user", change_user, false},
        {"a symbolic link", make_link, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (SANITIZED && rows[i].is_of_sanitizers)
            continue;
        print_message("  %s\n", rows[i].name);
        assert_int_equal(do_under(TH_SYSCALLS_ON, rows[i].deed), ENOSYS);
    }
}

/* --- of use --- */

static void *nothing(void *arg)
{
    return arg;
}

static int start_thread(void)
{
    pthread_t thread;
    return pthread_create(&thread, NULL, nothing, NULL) == 0 ? pthread_join(thread, NULL) : -1;
}

/* Files, a socket to ask the kernel, libraries: all that the resolver does. */
static int resolve(void)
{
    struct addrinfo *found = NULL;
    const struct addrinfo hints = {.ai_flags = AI_ADDRCONFIG, .ai_socktype = SOCK_STREAM};
    int r = getaddrinfo("localhost", "80", &hints, &found);
    if (found != NULL)
        freeaddrinfo(found);
    return r;
}

static int append(void)
{
    char path[] = "/tmp/test_syscalls.XXXXXX.log";
    memcpy(path + 19, "append", 6);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    bool fine = fd >= 0 && write(fd, "x", 1) == 1 && fdatasync(fd) == 0;
    return unlink(path) == 0 && fine ? 0 : -1;
}

static void what_a_proxy_does_goes_on(void **state)
{
    (void)state;
    assert_int_equal(do_under(TH_SYSCALLS_ON, start_thread), 0);
    assert_int_equal(do_under(TH_SYSCALLS_ON, resolve), 0);
    assert_int_equal(do_under(TH_SYSCALLS_ON, append), 0);
}

static void logged_only(void **state)
{
    (void)state;
    assert_int_equal(do_under(TH_SYSCALLS_LOG, open_to_write), 0);
    assert_int_equal(do_under(TH_SYSCALLS_LOG, execute), 0); /* true ends with 0 */
    assert_int_equal(do_under(TH_SYSCALLS_OFF, execute), 0);
}

/* --- every thread --- */

static int pipe_fds[2];

static void *execute_when_told(void *arg)
{
    char byte;
    (void)arg;
    if (read(pipe_fds[0], &byte, 1) == 1)
        (void)execute();
    return NULL;
}

static void holds_in_threads_from_before(void **state)
{
    int status;
    (void)state;
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct th_errinfo info;
        pthread_t thread;
        if (th_process_harden(&info) != 0 ||
            pthread_create(&thread, NULL, execute_when_told, NULL) != 0 ||
            th_syscalls_filter(TH_SYSCALLS_ON, &info) != 0 || write(pipe_fds[1], "x", 1) != 1)
            _exit(250);
        pthread_join(thread, NULL);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_calls_end_the_process),
        cmocka_unit_test(useless_calls_are_not_there),
        cmocka_unit_test(what_a_proxy_does_goes_on),
        cmocka_unit_test(logged_only),
        cmocka_unit_test(holds_in_threads_from_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
