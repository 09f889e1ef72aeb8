#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokenhop/base/process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
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

static struct th_process_user nobody(void)
{
    struct th_process_user user;
    struct th_errinfo info;
    assert_int_equal(th_process_find_user(TH_STR("nobody"), TH_STR_NONE, &user, &info), 0);
    return user;
}

static bool is_owned_by(const char *path, const struct th_process_user *user)
{
    struct stat st;
    return stat(path, &st) == 0 && st.st_uid == user->uid && st.st_gid == user->gid &&
           (st.st_mode & 0777) == 0600;
}

static void *look_from_thread(void *arg)
{
    th_process_look(arg);
    return NULL;
}

/* What it makes before is the user's already, a low port can be bound until then, and afterwards
 * neither this thread nor one from before can go back. */
static int become_and_look(const struct th_process_user *user, const char *folder)
{
    struct th_errinfo info;
    struct th_process_state state;
    char path[256];
    pthread_t thread;
    struct sockaddr_in low = {.sin_family = AF_INET, .sin_port = htons(77)};

    low.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    th_process_keep_files_private();
    if (th_process_harden(&info) != 0 || th_process_borrow_files(user, &info) != 0)
        return 1;
    snprintf(path, sizeof path, "%s/theirs", folder);
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (file < 0 || !is_owned_by(path, user))
        return 2;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&low, sizeof low) != 0)
        return 3;
    if (th_process_become(user, &info) != 0)
        return 4;
    th_process_look(&state);
    if (state.uid != user->uid || state.gid != user->gid || state.has_capabilities ||
        state.is_dumpable || !state.no_new_privileges || state.may_dump_core)
        return 5;
    if (setuid(0) == 0 || seteuid(0) == 0 || setfsuid(0) != (int)user->uid ||
        setfsuid(0) != (int)user->uid || open("/etc/shadow", O_RDONLY | O_CLOEXEC) >= 0)
        return 6;
    if (pthread_create(&thread, NULL, look_from_thread, &state) != 0 ||
        pthread_join(thread, NULL) != 0 || state.uid != user->uid || state.has_capabilities)
        return 7;
    return 0;
}

static void becomes_another_user(void **state)
{
    (void)state;
    char folder[] = "/tmp/test_process.XXXXXX", path[256];
    int status;

    assert_int_equal(geteuid(), 0); /* only root may become another user */
    struct th_process_user user = nobody();
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chown(folder, user.uid, user.gid), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(become_and_look(&user, folder));
    assert_int_equal(waitpid(child, &status, 0), child);
    snprintf(path, sizeof path, "%s/theirs", folder);
    unlink(path);
    assert_int_equal(rmdir(folder), 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void finds_users(void **state)
{
    (void)state;
    struct th_process_user user;
    struct th_errinfo info = {0};
    assert_int_equal(th_process_find_user(TH_STR("no-such-user"), TH_STR_NONE, &user, &info),
                     TH_E_CONFIG);
    assert_non_null(strstr(info.what, "no user \"no-such-user\""));
    assert_int_equal(th_process_find_user(TH_STR("root"), TH_STR("no-such-group"), &user, &info),
                     TH_E_CONFIG);
    assert_non_null(strstr(info.what, "no group \"no-such-group\""));
    char own[16];
    snprintf(own, sizeof own, "%u", (unsigned)getuid());
    assert_int_equal(th_process_find_user(th_str_of(own), TH_STR_NONE, &user, &info), 0);
    assert_int_equal(user.uid, getuid());
    assert_int_equal(geteuid(), 0);
    assert_int_equal(th_process_find_user(TH_STR("4711"), TH_STR("4712"), &user, &info), 0);
    assert_int_equal(user.uid, 4711);
    assert_int_equal(user.gid, 4712);
}

/* As another user: only root may become someone. */
static int find_as_nobody(const struct th_process_user *user)
{
    struct th_process_user other;
    struct th_errinfo info = {0};
    if (th_process_become(user, &info) != 0)
        return 1;
    if (th_process_find_user(TH_STR("root"), TH_STR_NONE, &other, &info) != TH_E_CONFIG ||
        strstr(info.what, "only root may become") == NULL)
        return 2;
    if (th_process_find_user(TH_STR("nobody"), TH_STR_NONE, &other, &info) != 0)
        return 3;
    return th_process_borrow_files(&other, &info) == 0 && th_process_become(&other, &info) == 0 ? 0
                                                                                                : 4;
}

static void only_root_may(void **state)
{
    (void)state;
    int status;
    assert_int_equal(geteuid(), 0);
    struct th_process_user user = nobody();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(find_as_nobody(&user));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_up_what_it_may),
        cmocka_unit_test(becomes_another_user),
        cmocka_unit_test(finds_users),
        cmocka_unit_test(only_root_may),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
