#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tokenhop/base/check.h"
#include "tokenhop/cli/command.h"

/* Those that a supervisor, a shell or a person sends. The signals of job control are not among them:
 * both processes are of the same group, and stop and go on together. */
static const int forwarded[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM,
                                SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH};

void th_signals_hold(struct th_signals *signals)
{
    /* With SIG_IGN inherited the kernel would keep no status of the child. */
    const struct sigaction by_default = {.sa_handler = SIG_DFL};
    sigset_t held;

    sigemptyset(&held);
    sigaddset(&held, SIGCHLD);
    for (size_t i = 0; i < TH_COUNT_OF(forwarded); i++)
        sigaddset(&held, forwarded[i]);
    TH_REQUIRE(sigprocmask(SIG_BLOCK, &held, &signals->before) == 0);
    TH_REQUIRE(sigaction(SIGCHLD, &by_default, &signals->child_before) == 0);
}

static void release(const struct th_signals *signals)
{
    (void)sigaction(SIGCHLD, &signals->child_before, NULL);
    (void)sigprocmask(SIG_SETMASK, &signals->before, NULL);
}

static _Noreturn void become(const struct th_signals *signals, int report_fd, char *const *argv,
                             char *const *envp)
{
    release(signals);
    execvpe(argv[0], argv, envp);
    int err = errno;
    (void)!write(report_fd, &err, sizeof err);
    _exit(TH_EXIT_NOT_FOUND);
}

/* The errno with which the command could not be executed; 0 once it is. */
static int read_report(int fd)
{
    int err = 0;
    ssize_t n;

    do
        n = read(fd, &err, sizeof err);
    while (n < 0 && errno == EINTR);
    return n == sizeof err ? err : 0;
}

static int wait_for(pid_t pid)
{
    sigset_t awaited;
    siginfo_t info;
    int status;

    sigemptyset(&awaited);
    sigaddset(&awaited, SIGCHLD);
    for (size_t i = 0; i < TH_COUNT_OF(forwarded); i++)
        sigaddset(&awaited, forwarded[i]);
    for (;;) {
        /* Any: in a container this may be process 1, whose children all orphans become. */
        for (pid_t ended; (ended = waitpid(-1, &status, WNOHANG)) != 0;) {
            if (ended == pid)
                return status;
            TH_REQUIRE(ended > 0);
        }
        int number = sigwaitinfo(&awaited, &info);
        /* From the terminal's driver it went to the whole group, so that the command has it. */
        if (number > 0 && number != SIGCHLD && info.si_code != SI_KERNEL)
            (void)kill(pid, number);
    }
}

static int refuse(const char *what, int err)
{
    (void)fprintf(stderr, "tokenhop exec: the command %s: %s\n", what, strerror(err));
    return err == ENOENT ? TH_EXIT_NOT_FOUND : TH_EXIT_NOT_EXECUTABLE;
}

int th_child_run(const struct th_signals *signals, char *const *argv, char *const *envp)
{
    int report[2];

    if (pipe2(report, O_CLOEXEC) != 0)
        return refuse("cannot be started", errno);
    pid_t pid = fork();
    if (pid == 0)
        become(signals, report[1], argv, envp);
    int err = errno;
    (void)close(report[1]);
    int not_executed = pid > 0 ? read_report(report[0]) : 0;
    (void)close(report[0]);
    if (pid < 0)
        return refuse("cannot be started", err == ENOENT ? EAGAIN : err);
    int status = wait_for(pid);
    if (not_executed != 0)
        return refuse(not_executed == ENOENT ? "is not there" : "cannot be executed", not_executed);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
