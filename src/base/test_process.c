#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokenhop/base/process.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* The number of the first thing that does not hold. */
static int harden_and_look(void)
{
    struct rlimit limit;
    struct th_errinfo info;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 1;
    limit.rlim_cur = 64;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || prctl(PR_GET_DUMPABLE) != 1)
        return 2;
    if (th_process_harden(&info) != 0)
        return 3;
    if (prctl(PR_GET_DUMPABLE) != 0)
        return 4;
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
        return 5;
    if (getrlimit(RLIMIT_CORE, &limit) != 0 || limit.rlim_cur != 0 || limit.rlim_max != 0)
        return 6;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur != limit.rlim_max)
        return 7;
    return 0;
}

static void gives_up_what_it_may(void **state)
{
    (void)state;
    int status;
    pid_t child = fork(); /* it cannot be undone */
    assert_true(child >= 0);
    if (child == 0)
        _exit(harden_and_look());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(gives_up_what_it_may)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
