/* Landlock in a process of its own: where the kernel has it, what is not allowed cannot be done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokenhop/base/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tokenhop/base/process.h"

static char base[] = "/tmp/test_confine.XXXXXX";

static const char *path_of(const char *name)
{
    static char paths[8][256];
    static unsigned next;
    char *path = paths[next++ % 8];
    (void)snprintf(path, sizeof paths[0], "%s/%s", base, name);
    return path;
}

static void make_file(const char *name)
{
    int fd = open(path_of(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static int try_open(const char *name, int flags)
{
    int fd = open(path_of(name), flags | O_CLOEXEC, 0600);
    int err = errno;
    if (fd >= 0)
        close(fd);
    return fd >= 0 ? 0 : err;
}

static int try_socket(const char *name)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    (void)snprintf(un.sun_path, sizeof un.sun_path, "%s", path_of(name));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int r = bind(fd, (const struct sockaddr *)&un, sizeof un) == 0 ? 0 : errno;
    close(fd);
    return r;
}

/* The number of the first thing that does not hold. */
static int confine_and_look(void)
{
    struct th_errinfo info;
    struct th_confine *confine = NULL;
    int held = open(path_of("secret/held"), O_RDONLY | O_CLOEXEC);
    if (th_process_harden(&info) != 0 || th_confine_new(&confine, &info) != 0 || held < 0)
        return 1;
    if (th_confine_allow(confine, path_of("keys"), TH_CONFINE_READ, &info) != 0 ||
        th_confine_allow(confine, path_of("alone"), TH_CONFINE_READ, &info) != 0 ||
        th_confine_allow(confine, path_of("logs"), TH_CONFINE_WRITE, &info) != 0 ||
        th_confine_allow(confine, path_of("run"), TH_CONFINE_SOCKET, &info) != 0 ||
        th_confine_allow(confine, path_of("nowhere"), TH_CONFINE_WRITE, &info) != 0 ||
        th_confine_enforce(confine, &info) != 0)
        return 2;
    th_confine_free(confine);
    if (try_open("keys/a", O_RDONLY) != 0 || try_open("keys/a", O_WRONLY) != EACCES ||
        try_open("keys/new", O_WRONLY | O_CREAT) != EACCES)
        return 3;
    if (try_open("alone", O_RDONLY) != 0 || try_open("alone", O_WRONLY | O_APPEND) != EACCES)
        return 4;
    if (try_open("secret/held", O_RDONLY) != EACCES || read(held, (char[1]){0}, 1) != 0)
        return 5;
    if (try_open("logs/a", O_WRONLY | O_APPEND | O_CREAT) != 0 ||
        rename(path_of("logs/a"), path_of("keys/b")) == 0 || unlink(path_of("logs/a")) == 0)
        return 6;
    if (try_socket("run/s") != 0 || unlink(path_of("run/s")) != 0 || try_socket("logs/s") == 0 ||
        try_open("run/file", O_WRONLY | O_CREAT) != EACCES)
        return 7;
    if (mkdir(path_of("nowhere"), 0700) == 0 || mkdir(path_of("logs/d"), 0700) == 0 ||
        symlink("x", path_of("logs/l")) == 0 || try_open("", O_RDONLY | O_DIRECTORY) != EACCES)
        return 8;
    return execl("/bin/true", "true", (char *)NULL) == 0 || errno != EACCES ? 9 : 0;
}

static void only_what_is_allowed(void **state)
{
    int status;
    (void)state;
    if (th_confine_version() == 0) {
        struct th_confine *confine;
        struct th_errinfo info;
        assert_int_equal(th_confine_new(&confine, &info), TH_E_IO);
        return;
    }
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(confine_and_look());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int set_up(void **state)
{
    static const char *const folders[] = {"keys", "logs", "run", "secret"};
    (void)state;
    if (mkdtemp(base) == NULL)
        return -1;
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
        if (mkdir(path_of(folders[i]), 0700) != 0)
            return -1;
    make_file("keys/a");
    make_file("alone");
    make_file("secret/held");
    return 0;
}

static int tear_down(void **state)
{
    static const char *const files[] = {"keys/a", "alone", "secret/held", "logs/a"};
    static const char *const folders[] = {"keys", "logs", "run", "secret"};
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        unlink(path_of(files[i]));
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
        rmdir(path_of(folders[i]));
    return rmdir(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(only_what_is_allowed)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
